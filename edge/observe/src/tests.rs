//! Tests: parsers as tables, trees written for a test, and the machine beneath.

use std::{fs, path::Path};

use host_model::{CpuTimes, Kdump, Packages};
use proptest::prelude::*;
use rstest::rstest;

use crate::{Host, ObserveError, memory, mounts, os, proc};

/// A tree of files in a folder of its own.
fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("temporary folder");
    for (path, text) in files {
        let full = dir.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(full.parent().expect("a parent")).expect("folder");
        fs::write(full, text).expect("file");
    }
    dir
}

const STAT: &str = "cpu  100 5 50 1000 7 2 3 9 0 0\ncpu0 60 5 30 500 4 1 1 0 0 0\ncpu3 40 0 20 500 3 1 2 0 0 0\nintr 1 2 3\nbtime 1795326755\n";
const MEMINFO: &str = "MemTotal:       24684544 kB\nMemFree:        19582000 kB\nBuffers:           1000 kB\nCached:         1100000 kB\nSwapTotal:        2048 kB\nSwapFree:         1024 kB\nAnonHugePages:   3256320 kB\nSReclaimable:     20000 kB\nHugePages_Total:       0\n";

#[test]
fn stat_counts_nice_as_user_and_interrupts_as_system() {
    let stat = proc::stat(STAT).expect("valid");
    let times = |user, system, idle| CpuTimes { user, system, idle };
    assert_eq!(stat.total, times(105, 55, 1000));
    assert_eq!(stat.cpus.get(&0), Some(&times(65, 32, 500)));
    assert_eq!(stat.cpus.get(&3), Some(&times(40, 23, 500)));
    assert_eq!(stat.cpus.len(), 2);
    assert_eq!(stat.boot_time, Some(1_795_326_755));
}

#[rstest]
#[case("")]
#[case("cpu0 1 2 3 4\n")]
#[case("cpu 1 2 3\n")]
#[case("cpu 1 2 x 4\n")]
fn bad_stat_is_refused(#[case] text: &str) {
    assert!(proc::stat(text).is_err());
}

#[rstest]
#[case("7 (a) b) R 1 2 3 4 5 6 7 8 9 10 47 13 0 0", Some((47, 13)))]
#[case("7 (x) R 1 2 3 4 5 6 7 8 9 10 47", None)]
#[case("7 x R 1", None)]
fn pid_stat_survives_names(#[case] text: &str, #[case] expected: Option<(u64, u64)>) {
    let times = proc::pid_stat(text).ok().map(|t| (t.user, t.system));
    assert_eq!(times, expected);
}

#[rstest]
#[case("3.10 2.65 1.00 2/345 678\n", Some("2.65"))]
#[case("3.10", None)]
#[case("3.10 abc 1", None)]
#[case("3.10 NaN 1", None)]
fn loadavg_is_of_five_minutes(#[case] text: &str, #[case] expected: Option<&str>) {
    assert_eq!(proc::loadavg(text).ok().as_deref(), expected);
}

#[rstest]
#[case("0-3,8,10-11\n", Some(vec![0, 1, 2, 3, 8, 10, 11]))]
#[case("0", Some(vec![0]))]
#[case("\n", Some(vec![]))]
#[case("5-3", Some(vec![]))]
#[case("0-x", None)]
#[case("0-4294967295", None)]
#[case("0-65534,0-65534", None)]
fn lists_of_numbers(#[case] text: &str, #[case] expected: Option<Vec<u32>>) {
    assert_eq!(proc::list(text).ok(), expected);
}

#[test]
fn meminfo_counts_caches_as_available() {
    let memory = proc::meminfo(MEMINFO).expect("valid");
    assert_eq!(memory.total, 24_684_544);
    assert_eq!(memory.available(), 19_582_000 + 1_000 + 1_100_000 + 20_000);
    assert_eq!((memory.swap_total, memory.swap_free), (2048, 1024));
    assert!(proc::meminfo("MemTotal: 3 kB\n").is_err());
}

#[rstest]
#[case::x86("model name\t: Xeon\ncpu MHz\t\t: 2599.998\nflags\t\t: fpu vme\n\nmodel name\t: other\nflags\t: x\n", "Xeon", "2599.998", &["fpu", "vme"])]
#[case::arm("processor\t: 0\nBogoMIPS\t: 243.75\nFeatures\t: fp asimd\nCPU part\t: 0xd0c\n", "0xd0c", "243.75", &["fp", "asimd"])]
#[case::power("cpu\t\t: POWER9\nclock\t\t: 3800.000000MHz\n", "POWER9", "3800.000000", &[])]
fn cpuinfo_of_architectures(
    #[case] text: &str,
    #[case] model: &str,
    #[case] mhz: &str,
    #[case] flags: &[&str],
) {
    let info = proc::cpuinfo(text);
    assert_eq!(info.model.as_deref(), Some(model));
    assert_eq!(info.mhz.as_deref(), Some(mhz));
    assert_eq!(info.flags, flags);
}

#[test]
fn a_frequency_that_is_no_number_is_none() {
    assert_eq!(proc::cpuinfo("cpu MHz : unavailable\n").mhz, None);
    assert_eq!(proc::cpuinfo("cpu MHz : inf\n").mhz, None);
}

#[rstest]
#[case("always [madvise] never\n", Some("madvise"))]
#[case("[always] madvise never\n", Some("always"))]
#[case("always madvise never\n", None)]
#[case("always [other] never\n", None)]
fn thp_is_one_of_three(#[case] text: &str, #[case] expected: Option<&str>) {
    assert_eq!(memory::thp(text).ok().as_deref(), expected);
}

#[rstest]
#[case("22 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 22 8:2 / /boot rw - ext4 /dev/sda2 rw\n", "/boot", Some((8, 2)))]
#[case("22 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 22 8:2 / /bo rw - ext4 x rw\n", "/boot", Some((8, 1)))]
#[case("22 1 8:1 / / rw - a b c\n23 1 0:5 / / rw - a b c\n", "/boot", Some((0, 5)))]
#[case("", "/boot", None)]
#[case("22 1 8 / / rw", "/boot", None)]
fn the_deepest_mount_holds_a_path(
    #[case] mountinfo: &str,
    #[case] path: &str,
    #[case] expected: Option<(u32, u32)>,
) {
    assert_eq!(mounts::device_of(mountinfo, path), expected);
}

#[test]
fn settings_of_etc() {
    let text = "# a comment\nInitiatorName=iqn.1993-08.org.debian:01:2d9\n";
    assert_eq!(
        os::initiator(text).as_deref(),
        Some("iqn.1993-08.org.debian:01:2d9")
    );
    assert_eq!(os::initiator("GenerateName=yes\n"), None);
    assert!(os::vnc_tls("vnc_tls = 1\n") && !os::vnc_tls("#vnc_tls = 1\nvnc_tls=0\n"));
    assert_eq!(os::value_of("A='b c'\n", "A").as_deref(), Some("b c"));
}

fn host_files() -> Vec<(&'static str, &'static str)> {
    let mut files = vec![
        ("/proc/stat", STAT),
        ("/proc/meminfo", MEMINFO),
        ("/proc/loadavg", "3.10 2.65 1.00 2/345 678\n"),
        (
            "/proc/self/stat",
            "7 (vdsmd) R 1 2 3 4 5 6 7 8 9 10 47 13 0 0\n",
        ),
        ("/proc/self/statm", "5000 1200 300 1 0 400 0\n"),
        ("/proc/cpuinfo", "model name : Xeon\nflags : fpu vme\n"),
        ("/proc/cmdline", "quiet ro\n"),
        ("/proc/sys/kernel/osrelease", "6.18.44-fc-v669\n"),
        ("/proc/sys/kernel/arch", "x86_64\n"),
        ("/proc/sys/kernel/numa_balancing", "1\n"),
        ("/proc/sys/crypto/fips_enabled", "1\n"),
        ("/proc/sys/net/ipv6/conf/eth0/autoconf", "1\n"),
        ("/proc/sys/net/ipv6/conf/eth0/accept_ra", "1\n"),
        (
            "/proc/net/vlan/config",
            "VLAN Dev name | VLAN ID\nName-Type: x\neth0.5 | 5  | eth0\n",
        ),
        ("/sys/devices/system/cpu/online", "0,3\n"),
        (
            "/sys/devices/system/cpu/cpu0/topology/physical_package_id",
            "0\n",
        ),
        ("/sys/devices/system/cpu/cpu0/topology/core_id", "0\n"),
        (
            "/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq",
            "2600001\n",
        ),
        (
            "/sys/devices/system/cpu/cpu3/topology/physical_package_id",
            "1\n",
        ),
        ("/sys/devices/system/cpu/cpu3/topology/core_id", "2\n"),
        ("/sys/devices/system/cpu/cpu3/topology/die_id", "-1\n"),
        (
            "/sys/devices/system/cpu/vulnerabilities/mds",
            "Not affected\n",
        ),
        (
            "/sys/kernel/mm/transparent_hugepage/enabled",
            "always [madvise] never\n",
        ),
        ("/sys/kernel/kexec_crash_loaded", "1\n"),
        ("/etc/kdump.conf", "path /x\nfence_kdump_nodes a b\n"),
        ("/sys/fs/selinux/enforce", "0"),
        ("/sys/module/kvm_intel/parameters/nested", "Y\n"),
        ("/sys/kernel/iommu_groups/0/type", "DMA\n"),
        ("/sys/class/iommu/dmar0/x", ""),
        ("/sys/class/dmi/id/sys_vendor", "Maker\n"),
        ("/sys/class/dmi/id/product_serial", "Not Specified\n"),
        ("/sys/class/dmi/id/product_uuid", "4c4c4544-0000\n"),
        ("/sys/class/fc_host/host3/node_name", "0x20000000c9\n"),
        ("/sys/class/fc_host/host3/port_name", "0x10000000c9\n"),
        ("/sys/class/scsi_host/host3/modelname", "LPe\n"),
        (
            "/etc/os-release",
            "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\n",
        ),
        ("/etc/debian_version", "12.11\n"),
        ("/etc/vdsm/vdsm.id", "0f0f\nsecond\n"),
        ("/etc/resolv.conf", "nameserver 10.255.255.53\n"),
        ("/etc/iscsi/initiatorname.iscsi", "InitiatorName=iqn.x\n"),
        ("/etc/libvirt/qemu.conf", "vnc_tls = 1\n"),
        ("/dev/random", ""),
    ];
    files.extend(node_files());
    files
}

fn node_files() -> Vec<(&'static str, &'static str)> {
    vec![
        ("/sys/devices/system/node/online", "0-1\n"),
        ("/sys/devices/system/node/node0/cpulist", "0\n"),
        ("/sys/devices/system/node/node0/distance", "10 21\n"),
        (
            "/sys/devices/system/node/node0/meminfo",
            "Node 0 MemTotal:  8388608 kB\nNode 0 MemFree:  4194304 kB\n",
        ),
        (
            "/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages",
            "1024\n",
        ),
        (
            "/sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages",
            "1000\n",
        ),
        ("/sys/devices/system/node/node1/cpulist", "3\n"),
        ("/sys/devices/system/node/node1/distance", "21 10\n"),
        (
            "/sys/devices/system/node/node1/meminfo",
            "Node 1 MemTotal:  0 kB\n",
        ),
        (
            "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages",
            "1024\n",
        ),
        (
            "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages",
            "1000\n",
        ),
        (
            "/sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages",
            "3\n",
        ),
        ("/sys/kernel/mm/hugepages/other/nr_hugepages", "9\n"),
    ]
}

#[test]
fn facts_of_a_recorded_host() {
    let dir = tree(&host_files());
    let observed = Host::at(dir.path()).facts();
    assert!(observed.problems.is_empty(), "{:?}", observed.problems);
    let facts = observed.value;
    assert_eq!(facts.cpu.mhz.as_deref(), Some("2600.001"), "from cpufreq");
    let places: Vec<_> = facts
        .cpus
        .iter()
        .map(|c| (c.id, c.node, c.socket, c.die, c.core))
        .collect();
    assert_eq!(places, [(0, 0, 0, 0, 0), (3, 1, 1, 0, 2)]);
    assert_eq!(facts.numa_balancing, Some(1));
    assert_eq!(
        (facts.selinux, facts.fips, facts.nested, facts.iommu),
        (Some(0), true, true, true)
    );
    assert_eq!(facts.kdump, Kdump::Enabled);
    assert_eq!(facts.kernel.release, "6.18.44-fc-v669");
    assert_eq!(facts.kernel.command_line, "quiet ro");
    assert_eq!(
        (facts.os.name.as_str(), facts.os.version.as_str()),
        ("Debian", "12.11")
    );
    assert_eq!(facts.os.pretty_name, "Debian GNU/Linux 12 (bookworm)");
    assert_eq!(facts.vdsm_id.as_deref(), Some("0f0f"));
    assert_eq!(facts.dmi.manufacturer.as_deref(), Some("Maker"));
    assert_eq!(
        (facts.dmi.serial.as_deref(), facts.dmi.uuid.as_deref()),
        (None, Some("4c4c4544-0000"))
    );
    assert_eq!(facts.vulnerabilities["mds"], "Not affected");
    assert_eq!(facts.rng_sources, ["random"]);
    assert_eq!(
        (
            facts.fc_hosts[0].wwnn.as_str(),
            facts.fc_hosts[0].model.as_str()
        ),
        ("20000000c9", "LPe")
    );
    assert_eq!(
        (facts.iscsi_initiator.as_deref(), facts.vnc_tls),
        (Some("iqn.x"), Some(true))
    );
    assert!(facts.affinity.is_empty());
    assert!(matches!(facts.packages, Packages::Unknown(_)));
}

#[test]
fn numa_nodes_with_pages() {
    let dir = tree(&host_files());
    let nodes = Host::at(dir.path()).facts().value.numa;
    assert_eq!(nodes.len(), 2);
    assert_eq!(
        (nodes[0].total_kib, nodes[0].free_kib),
        (8_388_608, 4_194_304)
    );
    assert_eq!(nodes[0].distances, [10, 21]);
    let base = crate::facts::base_page_kib();
    let (huge, small) = (nodes[0].pages[&2048], nodes[0].pages[&base]);
    assert_eq!((huge.total, huge.free), (1024, 1000));
    assert_eq!(small.total, (8_388_608 - 2048 * 1024) / base);
    assert_eq!(
        (nodes[1].total_kib, nodes[1].cpus.as_slice()),
        (0, &[3][..])
    );
}

#[test]
fn a_kernel_without_numa_is_one_node() {
    let files: Vec<_> = host_files()
        .into_iter()
        .filter(|(path, _)| !path.contains("/node"))
        .collect();
    let dir = tree(&files);
    let nodes = Host::at(dir.path()).facts().value.numa;
    assert_eq!((nodes.len(), nodes[0].total_kib), (1, 24_684_544));
    assert_eq!(
        (nodes[0].cpus.as_slice(), nodes[0].distances.as_slice()),
        (&[0, 3][..], &[10][..])
    );
}

#[test]
fn the_only_node_has_all_memory_whatever_it_says_itself() {
    let dir = tree(&host_files());
    fs::write(dir.path().join("sys/devices/system/node/online"), "0\n").expect("write");
    let nodes = Host::at(dir.path()).facts().value.numa;
    assert_eq!(nodes.len(), 1);
    assert_eq!(
        (nodes[0].total_kib, nodes[0].free_kib),
        (24_684_544, 19_582_000)
    );
    assert_eq!(nodes[0].cpus, [0, 3]);
}

#[test]
fn a_sample_of_a_recorded_host() {
    let dir = tree(&host_files());
    let host = Host::at(dir.path());
    let disks = ["/proc".into(), "/nowhere".into()];
    let sample = host.sample(&disks).expect("a sample").value;
    assert_eq!((sample.own.user, sample.own.system), (47, 13));
    assert_eq!(sample.own_rss_kib, 1200 * crate::facts::base_page_kib());
    assert_eq!(sample.load.as_deref(), Some("2.65"));
    assert_eq!(sample.thp.as_deref(), Some("madvise"));
    assert_eq!(sample.hugepages[&2048].reserved, 3);
    assert_eq!(sample.hugepages.len(), 1);
    assert!(sample.disks[0].1.expect("there") > 0);
    assert_eq!(sample.disks[1], ("/nowhere".to_owned(), None));
}

#[rstest]
#[case("/proc/stat", None)]
#[case("/proc/meminfo", None)]
#[case("/proc/stat", Some("nonsense"))]
fn no_sample_without_its_files(#[case] path: &str, #[case] text: Option<&str>) {
    let dir = tree(&host_files());
    let full = dir.path().join(path.trim_start_matches('/'));
    match text {
        Some(text) => fs::write(&full, text).expect("write"),
        None => fs::remove_file(&full).expect("remove"),
    }
    let error = Host::at(dir.path()).sample(&[]).expect_err("no sample");
    assert!(
        matches!(&error, ObserveError::Parse { path, .. } if *path == full),
        "{error}"
    );
}

#[test]
fn nonsense_is_told_and_left_out() {
    let mut files = host_files();
    files.push(("/sys/devices/system/node/node0/cpulist", "x-y\n"));
    let dir = tree(&files);
    let observed = Host::at(dir.path()).facts();
    assert_eq!(observed.problems.len(), 1, "{:?}", observed.problems);
    assert!(observed.value.numa[0].cpus.is_empty());
}

#[test]
fn a_file_without_end_is_cut_off() {
    let error = crate::files::read(Path::new("/dev/zero"), 4096).expect_err("endless");
    assert!(matches!(error, ObserveError::TooLarge { limit: 4096, .. }));
}

#[test]
fn an_empty_root_is_a_host_without_facts() {
    let dir = tree(&[]);
    let observed = Host::at(dir.path()).facts();
    assert!(observed.problems.is_empty());
    assert_eq!(observed.value.memory, host_model::Memory::default());
    assert!(observed.value.cpus.is_empty());
}

#[test]
fn optional_parts_are_seen_when_they_come_and_go() {
    use host_model::Part;
    let dir = tree(&[
        ("/usr/sbin/fence_ipmilan", ""),
        ("/usr/sbin/iscsid", ""),
        ("/bin/lvm", ""),
    ]);
    let host = Host::at(dir.path());
    let present = || host.parts().present;
    assert_eq!(present(), [Part::Lvm, Part::FenceAgent].into());
    std::fs::write(dir.path().join("usr/sbin/iscsiadm"), "").expect("a file");
    assert!(present().contains(&Part::Iscsiadm));
    std::fs::remove_file(dir.path().join("usr/sbin/fence_ipmilan")).expect("it was there");
    assert_eq!(present(), [Part::Lvm, Part::Iscsiadm].into());
    let library = format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let library = dir.path().join(library);
    std::fs::create_dir_all(&library).expect("a folder");
    std::fs::write(library.join("libsanlock_client.so.1"), "").expect("a file");
    assert!(present().contains(&Part::SanlockLibrary));
}

#[test]
fn masked_units_are_links_to_null() {
    let dir = tree(&[("/etc/systemd/system/own.service", "[Unit]\n")]);
    let units = dir.path().join("etc/systemd/system");
    for (name, target) in [
        ("iscsid.service", "/dev/null"),
        ("alias.service", "own.service"),
    ] {
        std::os::unix::fs::symlink(target, units.join(name)).expect("a link");
    }
    let masked = Host::at(dir.path()).parts().masked;
    assert_eq!(masked, ["iscsid.service".to_owned()].into());
}

#[test]
fn packages_are_read_again_when_they_change() {
    let stanza = |version: &str| {
        format!("Package: lvm2\nStatus: install ok installed\nVersion: {version}\n\n")
    };
    let dir = tree(&[("/var/lib/dpkg/status", &stanza("2.03.16-2"))]);
    let host = Host::at(dir.path());
    let lvm = |host: &Host| match host.facts().value.packages {
        Packages::Known(known) => known["lvm2"].version.clone(),
        Packages::Unknown(why) => panic!("{why}"),
    };
    assert_eq!(lvm(&host), "2.03.16");
    fs::write(dir.path().join("var/lib/dpkg/status"), stanza("2.03.111-1")).expect("write");
    assert_eq!(lvm(&host), "2.03.111");
}

/// The machine that runs the tests is a host too.
#[test]
fn the_machine_beneath_has_facts() {
    let host = Host::new();
    let observed = host.facts();
    assert!(observed.problems.is_empty(), "{:?}", observed.problems);
    let facts = observed.value;
    assert!(!facts.cpus.is_empty() && !facts.affinity.is_empty() && facts.memory.total > 0);
    let in_nodes: usize = facts.numa.iter().map(|node| node.cpus.len()).sum();
    assert_eq!(in_nodes, facts.cpus.len());
    let sample = host.sample(&["/tmp".into()]).expect("a sample").value;
    assert!(sample.total.user > 0 && sample.boot_time.is_some() && sample.own_rss_kib > 0);
    assert_eq!(sample.cpus.len(), facts.cpus.len());
}

proptest! {
    #[test]
    fn any_text_is_survived(text in "(?s)[ -~\\n\\t\u{e9}]{0,300}") {
        let _ = proc::stat(&text);
        let _ = proc::pid_stat(&text);
        let _ = proc::statm_resident(&text);
        let _ = proc::loadavg(&text);
        let _ = proc::meminfo(&text);
        let _ = proc::cpuinfo(&text);
        let _ = proc::list(&text);
        let _ = memory::thp(&text);
        let _ = mounts::device_of(&text, "/boot");
        let _ = os::initiator(&text);
    }

    #[test]
    fn lists_stay_bounded(parts in prop::collection::vec((any::<u32>(), any::<u32>()), 0..6)) {
        let text = parts.iter().map(|(a, b)| format!("{a}-{b}")).collect::<Vec<_>>().join(",");
        if let Ok(numbers) = proc::list(&text) {
            prop_assert!(numbers.len() <= 65_536);
        }
    }
}
