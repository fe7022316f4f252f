//! The installed agent at its work: system libvirt, the root helper, the user `vdsm`; storage that outlives reboots
//! and power cuts; a wall clock that jumps; two hosts that see each other.
//!
//! The words of the scripts (`call`, `task`, `make_pool`, ...) are those of `lab/tests/agent.sh`.

use std::{path::PathBuf, time::Duration};

use hosts::{Host, Lab, LabError};
use lab_tests::installed;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// For what hangs: emulated hosts are slow, and on a busy machine much slower.
const LONG: Duration = Duration::from_mins(12);
/// A guest within an emulated host takes its time.
const GUEST: Duration = Duration::from_mins(20);
/// Emulated hosts are slow, and have no watchdog for sanlock.
const CONFIG: &str = "[rpc]\nhandshake_timeout = 300\nstart_hold = 50\n[vars]\nkvm_probe_timeout = 300\n[sanlock]\nmode = local\n";
const DAY: f64 = 86_400.0;

/// The guest of the demo, as `make lab-check` built it.
fn guest_image() -> PathBuf {
    std::env::var_os("VDSM_GUEST")
        .map(PathBuf::from)
        .expect("VDSM_GUEST names the guest's image (make lab-check sets it)")
}

fn agent(lab: &Lab, number: u8) -> Result<Host, LabError> {
    let host = installed(lab, number)?;
    host.write("/etc/vdsm/vdsm.conf.d/90-lab.conf", 0o644, CONFIG)?;
    host.write("/root/agent.sh", 0o644, include_str!("../../agent.sh"))?;
    Ok(host)
}

/// Runs a script in the words of `agent.sh`.
fn script(host: &Host, words: &str) -> Result<String, LabError> {
    host.check_for(&format!(". /root/agent.sh; {words}"), GUEST)
}

fn with_guest(lab: &Lab) -> Result<Host, Box<dyn std::error::Error>> {
    let host = agent(lab, 1)?;
    host.put(guest_image(), "/root/guest.raw")?;
    host.write(
        "/root/vm.xml",
        0o644,
        include_str!("../../../../demo/vm.xml"),
    )?;
    host.check_for("vdsm-tool configure --force 2>&1", LONG)?;
    script(&host, "make_pool; connect_pool; make_disk")?;
    Ok(host)
}

fn number(text: &str) -> f64 {
    text.trim().parse().expect("the script prints a number")
}

/// The guest's elapsed time is told in whole seconds, and so are the uptimes beside it.
const ROUNDED: f64 = 3.0;

/// The elapsed time that is told of the guest, and the host's uptime when it was asked for and when it was answered.
struct Elapsed {
    asked: f64,
    told: f64,
    answered: f64,
}

fn elapsed(host: &Host) -> Result<Elapsed, LabError> {
    let up = "cut -d. -f1 /proc/uptime";
    let said = script(host, &format!("{up}; vm_stats .elapsedTime; {up}"))?;
    let mut numbers = said.lines().map(number);
    let mut next = || numbers.next().expect("three numbers");
    Ok(Elapsed {
        asked: next(),
        told: next(),
        answered: next(),
    })
}

#[test]
fn lab_agent_runs_a_guest_and_its_disk_outlives_a_reboot() {
    hosts::test("lab_agent_runs_a_guest", |lab| -> Outcome {
        let host = with_guest(lab)?;
        script(&host, "start_vm")?;
        assert_eq!(host.check("ps -o user= -C vdsmd")?.trim(), "vdsm");
        let domains = host.check_for("virsh -c qemu:///system list --name", LONG)?;
        assert_eq!(domains.trim(), "vdsm-demo", "it is the system's libvirt");
        // A lab host has a KVM that works. Without it a guest within takes ten times as long.
        let kvm =
            host.check("pgrep -f guest=vdsm-demo | xargs -I@ cat /proc/@/cmdline | tr '\\0' ' '")?;
        assert!(kvm.contains("-accel kvm"), "{kvm}");
        // The guest writes; its disk is on the agent's storage.
        let writes = "vm_stats .disks.vda.writeOps";
        let before = number(&script(&host, writes)?);
        host.wait_until(
            "the guest writes",
            &format!(". /root/agent.sh; test $({writes}) -gt {before}"),
            LONG,
        )?;
        assert!(script(&host, "cat /root/console")?.contains("boot=1"));
        host.wait_until(
            "the guest is recorded as a duty",
            "test -e /var/lib/vdsm/duties/vms",
            LONG,
        )?;

        // The agent is killed: the guest goes on, and the next agent knows it.
        host.check("kill -9 $(systemctl show -P MainPID vdsmd)")?;
        assert_eq!(script(&host, "call Host.getVMList | jq length")?, "1");
        // That KVM works is known by now: a guest that starts changes the device's times, and nothing else.
        let probes = host.check("journalctl -b -u vdsmd --no-pager | grep -c 'probed KVM'")?;
        assert_eq!(probes, "1");

        // The host restarts. As Engine would: storage again, and the VM from its disk.
        script(
            &host,
            "call VM.destroy '{\"vmID\":\"'$vm'\"}' >/dev/null; sync",
        )?;
        host.reboot()?;
        // Its pool is a duty: nobody has asked for anything.
        host.wait_until("the agent is up unasked", "systemctl is-active vdsmd", LONG)?;
        assert_eq!(script(&host, "call Host.getVMList | jq length")?, "0");
        script(&host, "connect_pool; start_vm")?;
        let console = script(&host, "cat /root/console")?;
        assert!(console.contains("boot=2"), "{console}");
        Ok(())
    });
}

#[test]
fn lab_agent_power_pulled_while_a_volume_is_made() {
    hosts::test("lab_agent_power_pulled", |lab| -> Outcome {
        let host = agent(lab, 1)?;
        script(&host, "make_pool; connect_pool; sync")?;
        // Written whole, so that it lasts; the power goes while it does.
        let id = script(&host, "create_volume 4294967296 1")?;
        host.wait_until(
            "the volume's file is there",
            ". /root/agent.sh; ls $store/$domain/images/$image/$volume",
            LONG,
        )?;
        host.pull_power();
        host.boot()?;
        script(&host, "connect_pool")?;
        // Finished or undone, never between: a volume that is listed is whole, one that is not has left nothing.
        let state = format!(
            "call Task.getStatus '{{\"taskID\":\"{id}\"}}' 2>/dev/null | jq -r .taskState || echo gone"
        );
        host.wait_until(
            "the task is over",
            &format!(". /root/agent.sh; case $({state}) in running | queued | preparing | aborting) false ;; esac"),
            LONG,
        )?;
        let ends = script(&host, &state)?;
        println!("figure: the task after the power cut: {ends}");
        let listed = script(
            &host,
            "call StorageDomain.getVolumes \"{$ids}\" 2>/dev/null | jq -r '.[]' || true",
        )?;
        if listed.is_empty() {
            let left = script(&host, "find $store/$domain/images -name '*'$volume'*'")?;
            assert_eq!(left, "", "what was begun is undone");
        } else {
            let info = script(&host, "call Volume.getInfo \"{$ids}\"")?;
            assert!(
                info.contains("LEGAL") && info.contains("4294967296"),
                "{info}"
            );
            script(
                &host,
                "task Volume.delete \"{$ids,\\\"postZero\\\":false,\\\"force\\\":false,\\\"discard\\\":false}\"",
            )?;
        }
        // The same ids are free again.
        script(
            &host,
            "id=$(create_volume 1048576 2); until [ $(call Task.getStatus '{\"taskID\":\"'$id'\"}' | jq -r .taskState) = finished ]; \
             do sleep 1; done; call Volume.getInfo \"{$ids}\" | jq -e '.legality == \"LEGAL\"'",
        )?;
        Ok(())
    });
}

#[test]
fn lab_agent_does_not_mind_a_clock_that_jumps() {
    hosts::test("lab_agent_does_not_mind_a_clock", |lab| -> Outcome {
        let host = with_guest(lab)?;
        script(&host, "start_vm")?;
        let pid = host.check("systemctl show -P MainPID vdsmd")?;
        for jump in [DAY, -DAY] {
            let before = elapsed(&host)?;
            let now = number(&host.check("date +%s")?);
            host.set_clock(now + jump)?;
            let cpu = "vm_stats .cpuUser";
            let samples = [
                script(&host, cpu)?,
                script(&host, "sleep 20; vm_stats .cpuUser")?,
            ];
            for sample in samples {
                let load = number(&sample);
                assert!(
                    (0.0..=1000.0).contains(&load),
                    "cpuUser {load} after {jump} s"
                );
            }
            // What has passed is what the monotonic clock says: it was read before and after each question.
            let after = elapsed(&host)?;
            let passed = after.told - before.told;
            let [least, most] = [after.asked - before.answered, after.answered - before.asked];
            assert!(
                passed >= least - ROUNDED && passed <= most + ROUNDED,
                "elapsedTime went by {passed} s while {least} to {most} s passed and the clock jumped by {jump} s"
            );
            assert_eq!(
                script(&host, "vm_stats .status")?,
                script(&host, "vm_stats .status")?
            );
            // Storage is still seen as fresh, tasks still end.
            let check = "call Host.getStats | jq -r '.storageDomains | to_entries[0].value | [.valid, .lastCheck] | @tsv'";
            let told = script(&host, check)?;
            let (valid, age) = told.split_once('\t').expect("two words");
            assert_eq!(valid, "true");
            assert!((0.0..300.0).contains(&number(age)), "lastCheck {age}");
        }
        assert_eq!(
            host.check("systemctl show -P MainPID vdsmd")?,
            pid,
            "no restart"
        );
        script(&host, "call VM.destroy '{\"vmID\":\"'$vm'\"}'")?;
        Ok(())
    });
}

#[test]
fn lab_agent_pair_sees_each_other_and_the_loss_of_one() {
    hosts::test("lab_agent_pair", |lab| -> Outcome {
        let (network, disk) = (lab.network()?, lab.disk("shared", 64)?);
        let mut pair = Vec::new();
        for number in [1, 2] {
            let host = agent(lab, number)?;
            // What a snapshot starts without is plugged in as on a running machine.
            host.plug(&network)?;
            host.attach(&disk)?;
            host.wait_until("the cable is in", "ip link show data0", LONG)?;
            host.check(&format!(
                "ip addr add 10.77.0.{number}/24 dev data0; ip link set data0 up"
            ))?;
            pair.push(host);
        }
        let [one, two] = pair.try_into().map_err(|_| "two hosts")?;
        // Each has its own CA; a client of the other needs what the other's CA signed.
        for (from, to) in [(&one, &two), (&two, &one)] {
            for name in ["certs/cacert.pem", "certs/vdsmcert.pem", "keys/vdsmkey.pem"] {
                let pem = from.read(&format!("/etc/pki/vdsm/{name}"))?;
                let file = name.rsplit('/').next().unwrap_or(name);
                to.write(&format!("/root/peer/{file}"), 0o600, pem)?;
            }
        }
        let ping = |peer: u8| {
            format!(
                "vdsm-client --timeout 600 --host 10.77.0.{peer} --ca /root/peer/cacert.pem \
                 --cert /root/peer/vdsmcert.pem --key /root/peer/vdsmkey.pem Host ping2"
            )
        };
        assert_eq!(one.check_for(&ping(2), LONG)?, "true");
        assert_eq!(two.check_for(&ping(1), LONG)?, "true");
        // Without the peer's certificate: no.
        let stranger = one.run_for(
            "vdsm-client --timeout 600 --host 10.77.0.2 Host ping2",
            LONG,
        )?;
        assert!(!stranger.success(), "{}", stranger.stdout);

        let device = disk.device();
        one.check(&format!(
            "echo from one | dd of={device} bs=4096 conv=sync oflag=direct status=none"
        ))?;
        let read = format!("dd if={device} bs=4096 count=1 iflag=direct status=none | tr -d '\\0'");
        assert_eq!(two.check(&read)?, "from one");

        two.pull_power();
        let lost = one.run_for(&ping(2).replace("600", "10"), LONG)?;
        assert!(!lost.success(), "a host without power answers");
        assert_eq!(
            one.check_for("vdsm-client --timeout 600 Host ping2", LONG)?,
            "true"
        );
        assert_eq!(one.check(&read)?, "from one");
        Ok(())
    });
}
