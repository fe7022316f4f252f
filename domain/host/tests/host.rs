//! What the host is and does, from facts and samples; and that no XML and no samples do harm.

use std::{collections::BTreeMap, time::Duration};

use host::{
    Capabilities, Features, HostStats, Hypervisor, Inputs, Sampler, Settings, Usage, Version,
    cluster_levels,
};
use host_model::{Cpu, CpuTimes, Facts, NumaNode, Part, Sample};
use proptest::prelude::*;

const CAPS: &str = r"<capabilities>
  <host><cpu><arch>x86_64</arch><counter name='tsc' frequency='2599998000' scaling='no'/></cpu></host>
  <guest><os_type>hvm</os_type><arch name='i686'><machine>old</machine></arch></guest>
  <guest><os_type>hvm</os_type><arch name='x86_64'>
    <machine maxCpus='255'>pc-i440fx-7.2</machine><machine canonical='pc-i440fx-7.2'>pc</machine>
    <domain type='qemu'/><domain type='kvm'><machine canonical='pc-q35-7.2'>q35</machine></domain>
  </arch></guest>
</capabilities>";

const DOMCAPS: &str = r"<domainCapabilities><cpu>
  <mode name='host-model' supported='yes'><model fallback='forbid'>Skylake</model>
    <feature policy='require' name='vmx'/><feature policy='disable' name='hle'/><feature policy='require' name='fpu'/></mode>
  <mode name='custom' supported='yes'><model usable='yes'>Nehalem-IBRS</model><model usable='no'>EPYC</model>
    <model usable='yes'>qemu64</model></mode>
</cpu></domainCapabilities>";

fn hypervisor(kvm: bool) -> Hypervisor {
    let versions = (Some(9_000_000), Some(7_002_000));
    Hypervisor::parse(kvm, "x86_64", CAPS, DOMCAPS, versions).expect("XML")
}

fn capabilities(facts: &Facts, settings: &Settings) -> Capabilities {
    Capabilities::of(&Inputs {
        facts,
        hypervisor: None,
        settings,
        features: &Features::default(),
        version: &Version::default(),
    })
}

#[test]
fn the_given_id_wins_over_the_firmwares() {
    let mut facts = Facts::default();
    facts.dmi.uuid = Some("4C4C-AA".into());
    let id = |facts: &Facts| capabilities(facts, &Settings::default()).id;
    assert_eq!(id(&facts).as_deref(), Some("4c4c-aa"));
    facts.vdsm_id = Some("given".into());
    assert_eq!(id(&facts).as_deref(), Some("given"));
}

#[test]
fn threads_count_as_cores_if_configured() {
    let cpu = |id, core| Cpu {
        id,
        core,
        ..Cpu::default()
    };
    let facts = Facts {
        cpus: vec![cpu(0, 0), cpu(1, 1), cpu(2, 1)],
        ..Facts::default()
    };
    let cores = |threads_as_cores| {
        let settings = Settings {
            threads_as_cores,
            ..Settings::default()
        };
        capabilities(&facts, &settings).cpu_counts.cores
    };
    assert_eq!((cores(false), cores(true)), (2, 3));
}

#[test]
fn a_realtime_kernel_is_told_from_its_version() {
    let mut facts = Facts::default();
    let realtime = |facts: &Facts| capabilities(facts, &Settings::default()).realtime_kernel;
    facts.kernel.version = "#1 SMP PREEMPT_DYNAMIC START 2026".into();
    assert!(!realtime(&facts));
    facts.kernel.version = "#1 SMP PREEMPT_RT Debian".into();
    assert!(realtime(&facts));
}

#[test]
fn machines_without_kvm_are_those_of_the_architecture() {
    let tcg = hypervisor(false);
    assert_eq!(tcg.machines, ["pc", "pc-i440fx-7.2"]);
    assert_eq!(hypervisor(true).machines, ["pc-q35-7.2", "q35"]);
}

#[test]
fn levels_follow_libvirt_and_qemu() {
    assert_eq!(cluster_levels(None, None).last(), Some(&"4.6"));
    assert_eq!(cluster_levels(Some((7, 9)), None).last(), Some(&"4.6"));
    assert_eq!(
        cluster_levels(Some((8, 0)), Some((7, 2))).last(),
        Some(&"4.7")
    );
    assert_eq!(
        cluster_levels(Some((10, 10)), Some((9, 0))).last(),
        Some(&"4.7")
    );
    assert_eq!(
        cluster_levels(Some((11, 0)), Some((10, 0))).last(),
        Some(&"4.8")
    );
}

fn sample(seconds: u64, user: u64, system: u64) -> Sample {
    let times = |user, system| CpuTimes {
        user,
        system,
        idle: 0,
    };
    Sample {
        monotonic: Duration::from_secs(seconds),
        ticks_per_second: 100,
        total: times(user * 2, system * 2),
        cpus: BTreeMap::from([(0, times(user, system)), (1, times(user, system))]),
        own: times(seconds, seconds.saturating_mul(2)),
        numa: vec![NumaNode {
            cpus: vec![0, 1, 2],
            ..NumaNode::default()
        }],
        ..Sample::default()
    }
}

fn stats_of(samples: Vec<Sample>) -> HostStats {
    let mut sampler = Sampler::default();
    for sample in samples {
        sampler.push(sample);
    }
    sampler.stats().expect("a sample")
}

#[test]
fn rates_come_from_two_samples_and_the_rest_from_one() {
    assert!(Sampler::default().stats().is_none());
    let one = stats_of(vec![sample(1000, 250, 500)]);
    assert_eq!((one.cpu, one.cores.len()), (Usage::default(), 0));
    let two = stats_of(vec![sample(1000, 0, 0), sample(1010, 250, 500)]);
    let busy = Usage {
        user: 25.0,
        sys: 50.0,
    };
    assert_eq!((two.cpu, two.cpu.idle()), (busy, 25.0));
    assert_eq!(
        two.own,
        Usage {
            user: 1.0,
            sys: 2.0
        }
    );
    assert_eq!(two.cores.keys().copied().collect::<Vec<_>>(), [0, 1]);
    assert!(two.cores.values().all(|core| core.usage == busy));
}

#[test]
fn a_late_sample_of_a_stuck_taker_is_dropped() {
    let samples = || vec![sample(1000, 0, 0), sample(1010, 250, 500)];
    let mut late = samples();
    late.push(sample(1005, 9999, 9999));
    late.push(sample(1010, 9999, 9999));
    assert_eq!(stats_of(late), stats_of(samples()));
}

#[test]
fn counters_that_went_back_are_still_and_rates_end_at_100() {
    let back = stats_of(vec![sample(1000, 500, 500), sample(1010, 100, 100)]);
    assert_eq!((back.cpu, back.cpu.idle()), (Usage::default(), 100.0));
    let over = stats_of(vec![sample(1000, 0, 0), sample(1001, 5000, 5000)]);
    let all = Usage {
        user: 100.0,
        sys: 100.0,
    };
    assert_eq!((over.cpu, over.cpu.idle()), (all, 0.0));
}

#[test]
fn the_start_of_the_host_is_reckoned_where_it_is_not_told() {
    let mut now = sample(1000, 0, 0);
    now.unix = 5000.5;
    assert_eq!(stats_of(vec![now.clone()]).boot_time, 4000);
    now.boot_time = Some(17);
    assert_eq!(stats_of(vec![now]).boot_time, 17);
}

#[test]
fn xml_that_is_none_is_an_error() {
    for (caps, domcaps, what) in [
        ("<a", DOMCAPS, "capabilities"),
        (CAPS, "", "domain capabilities"),
    ] {
        let error =
            Hypervisor::parse(true, "x86_64", caps, domcaps, (None, None)).expect_err("no XML");
        assert!(error.to_string().contains(what), "{error}");
    }
    let empty = Hypervisor::parse(true, "x86_64", "<a/>", "<b/>", (None, None)).expect("XML");
    assert!(empty.machines.is_empty() && empty.models.is_empty() && empty.libvirt.is_none());
}

proptest! {
    #[test]
    fn any_xml_is_survived(cut in 0..CAPS.len(), text in "[<>/a-z='\" ]{0,60}") {
        let mut caps = CAPS.to_owned();
        caps.insert_str(cut, &text);
        let _ = Hypervisor::parse(true, "x86_64", &caps, DOMCAPS, (Some(u64::MAX), None));
    }


    /// Whatever two samples say, percentages stay within 0 to 100.
    #[test]
    fn rates_are_percentages(a in any::<[u64; 3]>(), b in any::<[u64; 3]>(), ticks in any::<u64>()) {
        let make = |[time, user, system]: [u64; 3]| {
            let mut it = sample(time, 0, 0);
            it.total = CpuTimes { user, system, idle: 0 };
            it.ticks_per_second = ticks;
            it.memory.free = user;
            it
        };
        let stats = HostStats::of(Some(&make(a)), &make(b));
        let used = f64::from(stats.memory_used);
        for value in [stats.cpu.user, stats.cpu.sys, stats.cpu.idle(), used] {
            prop_assert!((0.0..=100.0).contains(&value), "{}", value);
        }
    }
}

#[test]
fn what_a_host_lacks_is_named_with_what_to_do() {
    let mut facts = Facts::default();
    let of = |facts: &Facts, name: &str| {
        let all = host::optional(facts, None);
        all.get(name).cloned().expect("a feature of this name")
    };
    for (name, it) in host::optional(&facts, None) {
        assert!(!it.available && !it.reason.is_empty(), "{name}: {it:?}");
    }
    assert!(of(&facts, "iscsi").reason.contains("open-iscsi"));

    facts.parts.present.insert(Part::Iscsiadm);
    assert!(of(&facts, "iscsi").available && host::iscsi(&facts.parts).available);
    assert!(
        of(&facts, "iscsi").reason.contains("no use of it yet"),
        "nothing is promised"
    );
    facts.parts.masked.insert("iscsid.service".into());
    let masked = host::iscsi(&facts.parts);
    assert!(!masked.available && masked.reason.contains("systemctl unmask iscsid.service"));

    // Installed, then running; masked goes before not running.
    facts.parts.present.insert(Part::SanlockLibrary);
    assert!(of(&facts, "sanlock").reason.contains("does not run"));
    facts.parts.masked.insert("sanlock.service".into());
    assert!(of(&facts, "sanlock").reason.contains("is masked"));
    facts.parts.masked.clear();
    facts.parts.present.insert(Part::SanlockSocket);
    assert!(of(&facts, "sanlock").available);
}

#[test]
fn kvm_is_what_guests_run_by() {
    let kvm = |device: bool, hypervisor: Option<&Hypervisor>| {
        let mut facts = Facts::default();
        if device {
            facts.parts.present.insert(Part::KvmDevice);
        }
        host::optional(&facts, hypervisor)["kvm"].clone()
    };
    assert!(kvm(true, Some(&hypervisor(true))).available);
    let broken = kvm(true, Some(&hypervisor(false)));
    assert!(!broken.available && broken.reason.contains("did not work"));
    assert!(
        kvm(false, Some(&hypervisor(false)))
            .reason
            .contains("no /dev/kvm")
    );
    assert!(kvm(true, None).reason.contains("libvirt"));
}
