//! The package as users install it: in, up, out; and systemd, which holds the port for the agent.
//!
//! Emulated hosts are slow: nothing here asserts how long a thing takes, the figures are printed.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use exec::Command;
use hosts::{Host, Lab, LabError};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// For what hangs: emulated hosts are slow, and on a busy machine much slower.
const LONG: Duration = Duration::from_mins(12);
/// Emulation is slow, and a crowd of clients slower: they get time for their handshakes.
const PATIENT: &str = "[rpc]\nhandshake_timeout = 300\nstart_hold = 50\n[vars]\nkvm_probe_timeout = 300\n[sanlock]\nmode = local\n";
/// Asks again while the agent says that it still starts (99), as Engine does: it answers no later than a minute, and a busy
/// emulated host may take longer to start it. How often is left in a file.
const PING: &str = "( for i in $(seq 100); do said=$(vdsm-client --timeout 600 Host ping2 2>&1) && { echo \"$said\"; exit; }; \
    case $said in *code=99,*) echo again >>/tmp/asked-again; sleep 1 ;; *) break ;; esac; done; echo \"$said\" >&2; exit 1 )";
/// Where systemd is told that emulated hosts are slow, as `installed.sh` does.
const SLOW: &str = "/etc/systemd/system/vdsmd.service.d";
/// What removal leaves, as Debian's policy has it: configuration, data, and what systemd remembers of units.
const KEPT: [&str; 8] = [
    "/etc/vdsm",
    "/etc/logrotate.d/vdsm",
    "/etc/iproute2/rt_protos.d/vdsm.conf",
    "/etc/pki/vdsm",
    "/var/lib/vdsm",
    "/var/lib/supervdsm",
    "/var/log/vdsm",
    "/etc/systemd/system",
];

/// The package that was built last.
fn package() -> PathBuf {
    if let Some(path) = std::env::var_os("VDSM_PACKAGE") {
        return path.into();
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target"),
        PathBuf::from,
    );
    let packages = fs::read_dir(target.join("package")).expect("make deb was run");
    packages
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|it| it == "deb"))
        .expect("make deb was run")
}

/// A host of its own with the package put in, but not installed; and the same package uncompressed beside it: to unpack
/// the true one costs an emulated host half a minute, each time.
fn with_package(lab: &Lab) -> Result<Host, LabError> {
    let host = lab.host(1).start()?;
    host.put(package(), "/root/vdsm.deb")?;
    host.put(repacked(lab, "whole", None), "/root/plain.deb")?;
    host.write(
        &format!("{SLOW}/lab.conf"),
        0o644,
        "[Service]\nTimeoutStartSec=600\nWatchdogSec=600\n",
    )?;
    host.write("/etc/vdsm/vdsm.conf.d/90-lab.conf", 0o644, PATIENT)?;
    Ok(host)
}

/// The package, uncompressed; without one of its files.
fn repacked(lab: &Lab, name: &str, without: Option<&str>) -> PathBuf {
    let folder = lab.dir().join(name);
    let deb = lab.dir().join(format!("{name}.deb"));
    let pack = |command: Command| {
        let done = command.timeout(LONG).run().and_then(exec::Output::check);
        done.expect("dpkg-deb does it")
    };
    pack(
        Command::new("dpkg-deb")
            .arg("-R")
            .args([&package(), &folder]),
    );
    if let Some(file) = without {
        fs::remove_file(folder.join(file)).expect("the package has the file");
    }
    pack(
        Command::new("dpkg-deb")
            .args(["--root-owner-group", "-Znone", "-b"])
            .args([&folder, &deb]),
    );
    deb
}

fn install(host: &Host, package: &str) -> Result<(), LabError> {
    host.check_for(&format!("dpkg -i /root/{package}.deb 2>&1"), LONG)
        .map(drop)
}

/// A host on which the package was installed before this test: from memory.
fn installed(lab: &Lab) -> Result<Host, LabError> {
    let host = lab_tests::installed(lab, 1)?;
    host.write("/etc/vdsm/vdsm.conf.d/90-lab.conf", 0o644, PATIENT)?;
    Ok(host)
}

/// Is the installed product well? Else what is not, by name.
fn well(host: &Host) -> Result<(), String> {
    let run = |command: &str| {
        host.run_for(command, LONG)
            .map_err(|error| error.to_string())
    };
    // The image leaves documentation out of every package.
    let missing = run(
        "dpkg --verify vdsm-rs | grep -vE '/usr/share/(doc|man)'; for u in $(dpkg -L vdsm-rs | grep system/); do test -e $u || echo missing $u; done",
    )?;
    if !missing.stdout.trim().is_empty() {
        return Err(format!("not as packaged: {}", missing.stdout));
    }
    let ping = run(PING)?;
    let failed = run("systemctl --failed --no-legend --plain")?;
    if !failed.stdout.trim().is_empty() || !ping.success() {
        let told = run("systemctl status vdsmd.socket vdsmd.service --no-pager --lines 5 2>&1")?;
        let (stderr, units) = (ping.stderr, failed.stdout);
        return Err(format!(
            "the agent answers: {stderr}; units that failed: {units}\n{}",
            told.stdout
        ));
    }
    Ok(())
}

fn is_active(host: &Host, unit: &str) -> Result<String, LabError> {
    Ok(host
        .run(&format!("systemctl is-active {unit}"))?
        .stdout
        .trim()
        .to_owned())
}

fn systemd_holds_the_port(host: &Host) -> Outcome {
    assert_eq!(is_active(host, "vdsmd.socket")?, "active");
    assert_eq!(is_active(host, "vdsmd.service")?, "inactive");
    let holder = host.check("ss -ltnpH 'sport = :54321'")?;
    assert!(holder.contains("\"systemd\""), "{holder}");
    Ok(())
}

#[test]
fn lab_package_goes_in_serves_and_goes() {
    hosts::test("lab_package_goes_in_serves_and_goes", |lab| -> Outcome {
        let host = with_package(lab)?;
        install(&host, "vdsm")?;
        systemd_holds_the_port(&host)?;
        let start = Instant::now();
        assert_eq!(host.check_for(PING, LONG)?, "true");
        println!(
            "figure: first request after {:.1} s",
            start.elapsed().as_secs_f64()
        );
        well(&host)?;
        let owner = host.check("ps -o user= -C vdsmd")?;
        assert_eq!(owner.trim(), "vdsm");
        let capabilities =
            host.check_for("vdsm-client --timeout 600 Host getCapabilities", LONG)?;
        assert!(capabilities.contains("\"hooks\"") || capabilities.contains("\"clusterLevels\""));

        // Emulation translates each program when it is first run: what a start takes by itself is seen the second time.
        host.check("systemctl stop vdsmd.service 2>/dev/null")?;
        let start = Instant::now();
        assert_eq!(host.check_for(PING, LONG)?, "true");
        println!(
            "figure: first request to an agent that ran before after {:.1} s",
            start.elapsed().as_secs_f64()
        );

        // The same package over itself, while the agent runs: an upgrade.
        install(&host, "plain")?;
        well(&host)?;

        host.check_for("dpkg -r vdsm-rs 2>&1", LONG)?;
        assert_eq!(
            host.check("ss -ltnH 'sport = :54321'; pgrep -u vdsm || true")?,
            ""
        );
        let left = host.check(
            "find /usr /etc /run /rhev /var/lib /var/log -xdev -iname '*vdsm*' -not -path '/var/lib/dpkg/*' \
             -not -path '/var/lib/systemd/*' 2>/dev/null || true",
        )?;
        let unexpected: Vec<&str> = left
            .lines()
            .filter(|path| !KEPT.iter().any(|kept| path.starts_with(kept)))
            .collect();
        assert!(unexpected.is_empty(), "left after removal: {unexpected:?}");

        host.check_for(&format!("rm -r {SLOW}; dpkg -P vdsm-rs 2>&1"), LONG)?;
        let left = host.check(
            "find /usr /etc /run /rhev /var /opt -xdev -iname '*vdsm*' -not -path '/var/lib/dpkg/info/*' 2>/dev/null || true",
        )?;
        assert_eq!(left, "", "left after a purge");
        // And once more, as if for the first time.
        install(&host, "plain")?;
        assert_eq!(host.check_for(PING, LONG)?, "true");
        Ok(())
    });
}

#[test]
fn lab_package_a_crowd_starts_the_agent_and_nobody_is_refused() {
    hosts::test("lab_package_a_crowd_starts_the_agent", |lab| -> Outcome {
        let host = installed(lab)?;
        systemd_holds_the_port(&host)?;
        let crowd = format!(
            "cd /tmp; for i in $(seq 100); do ({PING} >out.$i 2>&1; echo $? >code.$i) & done; wait; \
             cat code.* | sort | uniq -c; cat out.* | sort | uniq -c"
        );
        let said = host.check_for(&crowd, Duration::from_mins(20))?;
        let words: Vec<&str> = said.split_whitespace().collect();
        assert_eq!(words, ["100", "0", "100", "true"], "{said}");
        let again = host.check("cat /tmp/asked-again 2>/dev/null | wc -l")?;
        println!("figure: 100 clients, of which {again} were told to ask again");
        Ok(())
    });
}

/// About 50 connections a second, by one process: to start others costs an emulated host all it has.
const LOAD: &str = "exec 4<> <(:); refused=0 made=0
while [ ! -e /tmp/stop ]; do
    if { exec 3<>/dev/tcp/127.0.0.1/54321; } 2>/tmp/why; then made=$((made+1)); exec 3>&-; else refused=$((refused+1)); cat /tmp/why; fi
    read -r -t 0.02 -u 4
done
echo made $made refused $refused >/tmp/load.out
";

#[test]
fn lab_package_restarts_and_crashes_refuse_nobody() {
    hosts::test("lab_package_restarts_and_crashes", |lab| -> Outcome {
        let host = installed(lab)?;
        assert_eq!(host.check_for(PING, LONG)?, "true");
        // Connections without end, of which none may be refused; a few whole calls beside.
        host.write("/root/load", 0o755, LOAD)?;
        let load = "setsid bash /root/load >/tmp/load.log 2>&1 </dev/null &";
        host.check(load)?;
        for _ in 0..2 {
            host.check_for("systemctl restart vdsmd", LONG)?;
            assert_eq!(host.check_for(PING, LONG)?, "true");
        }
        host.check("kill -9 $(systemctl show -P MainPID vdsmd)")?;
        assert_eq!(host.check_for(PING, LONG)?, "true");
        host.check("systemctl stop vdsmd 2>/dev/null")?;
        assert_eq!(host.check_for(PING, LONG)?, "true");
        host.check("touch /tmp/stop")?;
        host.wait_until("the load has ended", "test -s /tmp/load.out", LONG)?;
        let told = host.check("cat /tmp/load.out")?;
        println!("figure: load: {told}");
        assert!(
            told.ends_with("refused 0"),
            "{told}: {}",
            host.check("cat /tmp/load.log")?
        );
        assert!(!told.contains("made 0"), "{told}");
        Ok(())
    });
}

#[test]
fn lab_package_a_port_scan_causes_no_start_loop() {
    hosts::test("lab_package_a_port_scan", |lab| -> Outcome {
        let host = installed(lab)?;
        host.check_for(
            "for i in $(seq 300); do (exec 3<>/dev/tcp/127.0.0.1/54321); done; \
             for i in $(seq 30); do (exec 3<>/dev/tcp/::1/54321; head -c 300 /dev/urandom >&3) 2>/dev/null; done; true",
            LONG,
        )?;
        assert_eq!(host.check_for(PING, LONG)?, "true");
        assert_eq!(host.check("systemctl show -P NRestarts vdsmd")?, "0");
        assert_eq!(is_active(&host, "vdsmd.socket")?, "active");
        assert_eq!(is_active(&host, "vdsmd.service")?, "active");
        Ok(())
    });
}

#[test]
fn lab_package_an_agent_that_cannot_start_is_not_given_up() {
    hosts::test("lab_package_an_agent_that_cannot_start", |lab| -> Outcome {
        let host = installed(lab)?;
        host.check("mv /etc/pki/vdsm/certs/cacert.pem /root/")?;
        // The client could not begin either, without the authority; anybody who connects starts the agent.
        host.check("exec 3<>/dev/tcp/127.0.0.1/54321")?;
        host.wait_until(
            "systemd has tried several times",
            "test $(systemctl show -P NRestarts vdsmd) -ge 3",
            LONG,
        )?;
        assert_eq!(is_active(&host, "vdsmd.socket")?, "active");
        let told = host.check("journalctl -u vdsmd --no-pager")?;
        assert!(told.contains("cacert.pem"), "{told}");
        host.check("mv /root/cacert.pem /etc/pki/vdsm/certs/")?;
        assert_eq!(host.check_for(PING, LONG)?, "true");
        Ok(())
    });
}

#[test]
fn lab_package_a_boot_starts_the_agent_for_duties_only() {
    hosts::test("lab_package_a_boot_starts_the_agent", |lab| -> Outcome {
        let host = installed(lab)?;
        host.reboot()?;
        host.wait_until("it is up", "systemctl is-system-running --wait; true", LONG)?;
        systemd_holds_the_port(&host)?;
        connect_a_pool(&host)?;
        host.wait_until(
            "the duty is recorded",
            "test -e /var/lib/vdsm/duties/pools",
            LONG,
        )?;
        // Power gone, not a shutdown in peace.
        host.check("sync")?;
        host.pull_power();
        host.boot()?;
        host.wait_until("the agent is up unasked", "systemctl is-active vdsmd", LONG)?;
        assert_eq!(host.check_for(PING, LONG)?, "true");
        host.check("systemctl stop vdsmd 2>/dev/null; rm /var/lib/vdsm/duties/pools")?;
        host.reboot()?;
        host.wait_until("it is up", "systemctl is-system-running --wait; true", LONG)?;
        systemd_holds_the_port(&host)
    });
}

/// A local storage domain beneath a root of the helper's, and a pool of it.
fn connect_a_pool(host: &Host) -> Outcome {
    let script = r#"
set -e
store=/var/lib/vdsm/store; mkdir -p $store
none=00000000-0000-0000-0000-000000000000
domain=$(cat /proc/sys/kernel/random/uuid); pool=$(cat /proc/sys/kernel/random/uuid)
call() { verb=$1; shift; echo "$*" | vdsm-client --timeout 600 ${verb%.*} ${verb#*.} -f -; }
call StoragePool.connectStorageServer '{"storagepoolID":"'$none'","domainType":4,"connectionParams":[{"id":"'$none'","connection":"'$store'","user":"","iqn":"","port":""}]}' | grep '"status": 0'
call StorageDomain.create '{"storagedomainID":"'$domain'","domainType":4,"typeArgs":"'$store'","name":"x","domainClass":1,"version":5,"blockSize":512,"maxHosts":250}'
call StoragePool.create '{"storagepoolID":"'$pool'","name":"x","masterSdUUID":"'$domain'","masterVersion":1,"domainList":["'$domain'"],"lockRenewalIntervalSec":5,"leaseTimeSec":60,"ioOpTimeoutSec":10,"leaseRetries":3}'
call StoragePool.connect '{"storagepoolID":"'$pool'","hostID":1,"scsiKey":"'$pool'","masterSdUUID":"'$domain'","masterVersion":1,"domainDict":{"'$domain'":"active"}}'
"#;
    host.write("/root/pool.sh", 0o755, script)?;
    host.check_for("bash /root/pool.sh 2>&1", LONG)?;
    Ok(())
}

/// The image has no iSCSI; everything else works, and what comes later is seen without a restart.
#[test]
fn lab_package_without_iscsi_and_with_it_later() {
    hosts::test("lab_package_without_iscsi", |lab| -> Outcome {
        let host = installed(lab)?;
        let ask = "vdsm-client --timeout 600 -o json Host getCapabilities >/tmp/told";
        let capability = |path: &str| host.check(&format!("jq -r '{path}' /tmp/told"));
        let discover = "echo '{\"host\":\"127.0.0.1\",\"port\":\"3260\"}' | vdsm-client --timeout 600 ISCSIConnection discoverSendTargets -f -";
        assert_eq!(
            host.run("command -v iscsiadm")?.code,
            1,
            "the image has no open-iscsi"
        );
        for _ in 0..2 {
            host.check_for(ask, LONG)?;
            assert_eq!(capability(".ISCSIInitiatorName")?, "");
        }
        let told = capability(".features.iscsi | \"\\(.available) \\(.reason)\"")?;
        assert!(
            told.starts_with("false iscsiadm is not installed"),
            "{told}"
        );
        // What the image has is there; what of it does not run is told.
        assert_eq!(
            capability(".features | [.lvm, .nfs, .multipath, .lldp] | map(.available) | all")?,
            "true"
        );
        let ovs = capability(".features.ovs | \"\\(.available) \\(.reason)\"")?;
        assert!(ovs.starts_with("false its daemons do not run"), "{ovs}");
        let errors =
            host.check("journalctl -u vdsmd -p err --no-pager -q | grep -i iscsi || true")?;
        assert_eq!(errors, "");
        connect_a_pool(&host)?;
        let refused = host.run_for(discover, LONG)?;
        assert!(!refused.success());
        for word in ["465", "iSCSI is not available on this host"] {
            assert!(refused.stderr.contains(word), "{}", refused.stderr);
        }
        let before = host.check("systemctl show -P MainPID vdsmd")?;
        host.check_for(
            "dpkg -i /var/lib/lab/debs/open-iscsi_*.deb /var/lib/lab/debs/lib*isns*.deb /var/lib/lab/debs/lib*iscsi*.deb 2>&1 || \
             dpkg -i /var/lib/lab/debs/*.deb 2>&1",
            LONG,
        )?;
        // An administrator's hands find it in order, too: the lab's own copy of the packages is whole.
        assert!(
            host.check("iscsiadm --version")?
                .contains("iscsiadm version")
        );
        host.check_for(ask, LONG)?;
        let initiator = capability(".ISCSIInitiatorName")?;
        assert!(
            initiator.starts_with("iqn."),
            "seen at once: \"{initiator}\"; {}",
            host.run("ls -l /etc/iscsi; getfacl -p /etc/iscsi/initiatorname.iscsi")?
                .stdout
        );
        assert_eq!(capability(".features.iscsi.available")?, "true");
        let refused = host.run_for(discover, LONG)?;
        assert!(
            !refused.stderr.contains("iSCSI is not available"),
            "{}",
            refused.stderr
        );
        host.check("systemctl mask --now iscsid.service iscsid.socket 2>&1")?;
        host.check_for(ask, LONG)?;
        let masked = capability(".features.iscsi.reason")?;
        assert!(masked.contains("iscsid.service is masked"), "{masked}");
        assert_eq!(
            host.check("systemctl show -P MainPID vdsmd")?,
            before,
            "no restart"
        );
        Ok(())
    });
}

#[test]
fn lab_package_configures_the_host_and_takes_it_back() {
    hosts::test("lab_package_configures_the_host", |lab| -> Outcome {
        let host = installed(lab)?;
        let state = "cat /etc/libvirt/*.conf /etc/multipath.conf /etc/lvm/*.conf /etc/sanlock/*.conf 2>/dev/null | sha1sum";
        let before = host.check(state)?;
        assert_ne!(host.run("vdsm-tool is-configured")?.code, 0);
        host.check("vdsm-tool configure --dry-run")?;
        assert_eq!(host.check(state)?, before);
        host.check_for("vdsm-tool configure --force 2>&1", LONG)?;
        host.check("vdsm-tool is-configured && vdsm-tool validate-config")?;
        host.check_for("virsh -c qemu:///system version", LONG)?;
        host.check_for(
            "lvm config devices/scan_lvs | grep 0 && multipath -t >/dev/null",
            LONG,
        )?;
        // The agent's user reaches libvirt, nobody else without privilege does.
        host.check_for("runuser -u vdsm -- virsh -c qemu:///system list", LONG)?;
        assert_ne!(
            host.run_for("runuser -u nobody -- virsh -c qemu:///system list", LONG)?
                .code,
            0
        );
        well(&host)?;
        host.check_for("vdsm-tool remove-config", LONG)?;
        assert_eq!(host.check(state)?, before);
        Ok(())
    });
}

/// A package that lacks a file is named, and so is a unit that fails.
#[test]
fn lab_package_control_a_file_and_a_unit() {
    hosts::test("lab_package_control_a_file_and_a_unit", |lab| -> Outcome {
        let host = with_package(lab)?;
        let unit = "usr/lib/systemd/system/vdsmd.service";
        host.put(repacked(lab, "broken", Some(unit)), "/root/broken.deb")?;
        install(&host, "broken")?;
        let told = well(&host).unwrap_err();
        assert!(told.contains("vdsmd.service"), "{told}");

        install(&host, "plain")?;
        well(&host)?;
        host.write(
            "/etc/systemd/system/vdsmd-duties.service.d/broken.conf",
            0o644,
            "[Unit]\nConditionDirectoryNotEmpty=\n[Service]\nExecStart=\nExecStart=/bin/false\n",
        )?;
        host.run("systemctl daemon-reload; systemctl start vdsmd-duties")?;
        let told = well(&host).unwrap_err();
        assert!(told.contains("vdsmd-duties.service"), "{told}");
        Ok(())
    });
}
