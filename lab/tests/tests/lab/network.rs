//! Networks through the installed product: bonds, VLANs, jumbo frames; kept over a reboot, brought back from drift; whole
//! or undone whatever is killed.
//!
//! The words of the scripts are those of `lab/tests/agent.sh` and `lab/tests/network.sh`.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests are tests"
)]

use hosts::{Host, Lab, LabError, Network};
use lab_tests::network::{LONG, agent, put_words, script, until};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// The gateway that the other host is.
const PEER: &str = "192.0.2.2";

/// The lab's interfaces tell no speed, and a port without one takes part in no aggregate.
const SPEED: &str = "SUBSYSTEM==\"net\", ACTION==\"add\", ATTR{address}==\"52:54:00:1a:0[0-7]:*\", \
                     RUN+=\"/usr/sbin/ethtool -s $name speed 1000 duplex full\"\n";

/// udev's rules start programs for each interface: under emulation they would be most of a test's time. Until the next boot.
const NO_RULES: &str = "udevadm control --stop-exec-queue";

fn with_speed(host: &Host) -> Result<(), LabError> {
    host.write("/etc/udev/rules.d/70-lab-speed.rules", 0o644, SPEED)?;
    host.check("udevadm control --reload; for nic in data0 data1; do ethtool -s $nic speed 1000 duplex full; done")?;
    Ok(())
}

/// Host 2, a plain one: a bond of two ports, addresses without and with a VLAN.
fn peer(lab: &Lab, networks: [&Network; 2], mode: &str) -> Result<Host, LabError> {
    let host = lab.host(2).nic(networks[0]).nic(networks[1]).start()?;
    put_words(&host)?;
    with_speed(&host)?;
    host.check(&format!(
        "modprobe bonding max_bonds=0; ip link add bond0 type bond mode {mode} miimon 100 && \
         for nic in data0 data1; do ip link set $nic down; ip link set $nic master bond0; done && \
         ip link set bond0 mtu 9000 && ip link set bond0 up && \
         ip link add link bond0 name bond0.7 type vlan id 7 && ip link set bond0.7 up && \
         ip addr add {PEER}/24 dev bond0 && ip -6 addr add 2001:db8::2/64 dev bond0 nodad && \
         ip addr add 198.51.100.2/24 dev bond0.7"
    ))?;
    Ok(host)
}

/// What the two states have not in common, for a message.
fn differs(before: &str, after: &str) -> String {
    let only = |a: &str, b: &str, sign: &str| -> Vec<String> {
        let b: Vec<&str> = b.lines().collect();
        let lines = a.lines().filter(|line| !b.contains(line));
        lines.map(|line| format!("{sign} {line}")).collect()
    };
    [only(before, after, "-"), only(after, before, "+")]
        .concat()
        .join("\n")
}

fn same(before: &str, after: &str, when: &str) {
    assert!(before == after, "{when}:\n{}", differs(before, after));
}

const STACK: &str = r#"setup '
  "ovirtmgmt":{"bonding":"bond0","bridged":true,"ipaddr":"192.0.2.1","prefix":24,"gateway":"192.0.2.2",
               "ipv6addr":"2001:db8::1/64","ipv6gateway":"2001:db8::2","defaultRoute":true},
  "storage":{"bonding":"bond0","vlan":7,"bridged":false,"mtu":9000,"ipv4addrs":["198.51.100.1/24","198.51.100.9/24"]},
  "vms":{"bonding":"bond0","vlan":8,"bridged":true,"mtu":9000,"stp":"yes"},
  "third":{"nic":"data2","bridged":true,"ipaddr":"203.0.113.1","prefix":24}' \
  '"bond0":{"nics":["data0","data1"],"options":"mode=4 miimon=100 lacp_rate=1"}' \
  '"connectivityCheck":false,"commitOnSuccess":true'"#;

/// One state for many facts: bonds of two hosts that find each other, VLANs upon them, what a reboot and a drift leave.
#[test]
fn lab_network_stack_is_kept_over_a_reboot_and_brought_back_from_drift() {
    hosts::test("lab_network_stack", |lab| -> Outcome {
        let (a, b, c) = (lab.network()?, lab.network()?, lab.network()?);
        let host = agent(lab, &[&a, &b, &c])?;
        let other = peer(lab, [&a, &b], "802.3ad lacp_rate fast")?;
        with_speed(&host)?;
        host.check(NO_RULES)?;
        script(&host, STACK)?;
        stack_works(&host)?;
        script(
            &host,
            "setup \"$(many 30 100 data2)\" '' '\"connectivityCheck\":false,\"commitOnSuccess\":true'",
        )?;
        let state = script(&host, "fingerprint")?;
        for name in ["ovirtmgmt", "storage", "n30"] {
            let file = format!("jq -e . /var/lib/vdsm/persistence/netconf/nets/{name}");
            host.check(&file)?;
        }
        reboot_without_a_card(&host, &c)?;
        same(&state, &script(&host, "fingerprint")?, "after the reboot");
        drift_is_mended(&host, &other, &state)?;
        Ok(())
    });
}

/// What the stack must do, as the other host and the agent tell it.
fn stack_works(host: &Host) -> Outcome {
    until(host, "the other host answers", "ping -c1 -W1 192.0.2.2")?;
    until(host, "and by IPv6", "ping -c1 -W1 2001:db8::2")?;
    until(
        host,
        "and large packets through the VLAN",
        "ping -c1 -W1 -M do -s 8972 198.51.100.2",
    )?;
    host.check("ping -c1 -W5 -I 198.51.100.9 198.51.100.2")?;
    until(
        host,
        "both ports are in one aggregate with the other host",
        "call Host.getCapabilities | jq -e '.bondings.bond0 | \
         (.ad_aggregator_id | length > 0) and (.ad_partner_mac | test(\"^00:00:00\") | not)'",
    )?;
    let told = script(
        host,
        "call Host.getCapabilities | jq -r '[.networks.storage.mtu, .networks.vms.mtu, .networks.ovirtmgmt.addr, \
         .networks.ovirtmgmt.gateway, (.networks.storage.ipv4addrs | sort | join(\" \"))] | join(\";\")'",
    )?;
    assert_eq!(
        told,
        "9000;9000;192.0.2.1;192.0.2.2;198.51.100.1/24 198.51.100.9/24"
    );
    // The name of our protocol is installed with the package.
    let ours = host.check("ip route show table all proto vdsm")?;
    assert!(ours.contains("default via 192.0.2.2"), "{ours}");
    Ok(())
}

/// Restored before the host counts as online, without the agent; a card that is missing fails its own networks alone.
fn reboot_without_a_card(host: &Host, third: &Network) -> Outcome {
    host.check("systemctl mask --now vdsmd.service vdsmd.socket 2>&1")?;
    host.write(
        "/etc/systemd/system/lab-online.service",
        0o644,
        "[Unit]\nWants=network-online.target\nAfter=network-online.target\n[Service]\nType=oneshot\n\
         ExecStart=/bin/sh -c 'ip -o -4 addr show ovirtmgmt >/root/online'\n[Install]\nWantedBy=multi-user.target\n",
    )?;
    host.check("systemctl enable lab-online.service 2>&1; sync")?;
    let card = host.nics()[2];
    host.unplug(card)?;
    host.reboot()?;
    until(
        host,
        "the boot is over",
        "systemctl is-system-running --wait || true",
    )?;
    assert_eq!(
        host.run("systemctl is-active vdsmd")?.stdout.trim(),
        "inactive"
    );
    let online = host.check("cat /root/online")?;
    assert!(online.contains("192.0.2.1/24"), "when online: {online}");
    until(host, "the other host answers", "ping -c1 -W1 192.0.2.2")?;
    let unit = host.check("systemctl show -P Result vdsm-network.service")?;
    assert_eq!(unit, "exit-code", "networks without a card are a failure");
    let journal = host.check("journalctl -b -u vdsm-network --no-pager -o cat")?;
    for words in ["third: FAILED", "n30: FAILED", "not restored: "] {
        assert!(journal.contains(words), "{journal}");
    }
    // Told once; and again only if asked.
    let again = host.check("vdsm-tool restore-nets 2>&1 || true")?;
    assert!(again.contains("already"), "{again}");

    host.plug(third)?;
    host.wait_until("the card is back", "ip link show data2", LONG)?;
    let whole = host.check_for("vdsm-tool restore-nets --force 2>&1", LONG)?;
    assert!(
        whole.contains("third: restored") && whole.contains("ovirtmgmt: unchanged"),
        "{whole}"
    );
    host.check("systemctl unmask vdsmd.service vdsmd.socket 2>&1; systemctl start vdsmd.socket")?;
    Ok(())
}

/// Everything drifts; it is brought back while both hosts talk over the management network and over one that is as it was.
fn drift_is_mended(host: &Host, other: &Host, state: &str) -> Outcome {
    host.check(NO_RULES)?;
    script(other, "pings 192.0.2.1 198.51.100.1")?;
    host.check(
        "ip -6 addr del 2001:db8::1/64 dev ovirtmgmt; ip route del default; ip link set vms type bridge stp_state 0; \
         ip link del third; for i in $(seq 2 2 30); do ip link del data2.$((100 + i)); done; ip addr add 198.18.0.1/24 dev n1",
    )?;
    host.check(
        "setsid ip -o monitor link addr route >/root/monitor 2>&1 </dev/null & disown; sleep 1",
    )?;
    let planned = host.check_for("vdsm-tool restore-nets --dry-run", LONG)?;
    assert!(planned.contains("+ bridge third"), "{planned}");
    let restored = host.check_for("vdsm-tool restore-nets --force 2>&1", LONG)?;
    let monitor = host.check("sleep 1; pkill -x ip; cat /root/monitor")?;
    assert!(
        restored.contains("storage: unchanged") && restored.contains("n2: restored"),
        "{restored}"
    );
    // Unchanged: the kernel has nothing to tell of it.
    let touched: Vec<&str> = monitor
        .lines()
        .filter(|line| line.contains("bond0.7") || line.contains("n3:") || line.contains("n3 "))
        .collect();
    assert!(touched.is_empty(), "{touched:?}");
    same(state, &script(host, "fingerprint")?, "after the drift");
    for (address, name) in [("192.0.2.1", "management"), ("198.51.100.1", "unchanged")] {
        let told = script(other, &format!("pinged {address}"))?;
        println!(
            "figure: restoration of 33 networks, pings on the {name} network (answered, lost, lost in a row): {told}"
        );
        let run: u32 = told.rsplit(' ').next().unwrap_or_default().parse()?;
        assert!(run < 100, "{name}: {run} pings at 10 ms in a row were lost");
    }
    let second = host.check_for("vdsm-tool restore-nets --force --json", LONG)?;
    assert!(
        !second.contains("\"restored\":"),
        "nothing is left to do: {second}"
    );
    Ok(())
}

/// A change that is cut off, at any moment and by whoever's death, has happened or has not.
#[test]
fn lab_network_change_is_whole_or_undone() {
    hosts::test("lab_network_change_is_whole", |lab| -> Outcome {
        let (a, b) = (lab.network()?, lab.network()?);
        let host = agent(lab, &[&a, &b])?;
        host.check(NO_RULES)?;
        script(
            &host,
            "setup '\"ovirtmgmt\":{\"nic\":\"data0\",\"ipaddr\":\"192.0.2.1\",\"prefix\":24,\"gateway\":\"192.0.2.254\",\
             \"defaultRoute\":true}' '' '\"connectivityCheck\":false,\"commitOnSuccess\":true'",
        )?;
        let before = script(&host, "fingerprint")?;
        nobody_confirms(&host, &before)?;
        for (victim, moment) in [
            ("supervdsmd", "ip link show data1.1001"),
            ("supervdsmd", "ip link show data1.1007"),
            ("vdsmd", "ip link show data1.1001"),
            ("vdsmd", "ip addr show n12 | grep 10.100.12.1"),
            (
                "supervdsmd",
                "vdsm-tool net-state --json | jq -e '.pending.stage == \"unconfirmed\"'",
            ),
        ] {
            killed(&host, &before, victim, moment)?;
        }
        power_pulled(&host, &before)?;
        rolled_back(&host, &before)?;
        Ok(())
    });
}

/// The management network changes, the cable is pulled, and no word comes: the change goes by itself.
fn nobody_confirms(host: &Host, before: &str) -> Outcome {
    script(
        host,
        "later setup setup '\"ovirtmgmt\":{\"nic\":\"data0\",\"vlan\":9,\"ipaddr\":\"198.51.100.7\",\"prefix\":24}' '' \
         '\"connectivityCheck\":true,\"connectivityTimeout\":20'",
    )?;
    until(
        host,
        "the change is made",
        "ip addr show ovirtmgmt | grep 198.51.100.7",
    )?;
    let card = host.nics()[0];
    host.set_link(card, false)?;
    until(host, "an answer", "test -s /root/setup.code")?;
    let told = host.check("cat /root/setup.code /root/setup.out")?;
    let lost = told.contains("code=10,") || told.contains("\"code\":10");
    assert!(!told.starts_with('0') && lost, "{told}");
    host.set_link(card, true)?;
    script(host, "settled")?;
    same(before, &script(host, "fingerprint")?, "unconfirmed");
    let running = host.check("ls /var/lib/vdsm/staging/netconf/nets; jq -r .ipaddr /var/lib/vdsm/staging/netconf/nets/ovirtmgmt")?;
    assert_eq!(running, "ovirtmgmt\n192.0.2.1");
    Ok(())
}

/// A change of twelve networks, and a process that is killed in the middle of it.
fn killed(host: &Host, before: &str, victim: &str, moment: &str) -> Outcome {
    script(
        host,
        "later setup setup \"$(many 12 1000 data1)\" '' '\"connectivityCheck\":true,\"connectivityTimeout\":120'",
    )?;
    script(
        host,
        &format!(
            "until {moment} >/dev/null 2>&1; do [ ! -s /root/setup.code ] || {{ cat /root/setup.out; exit 1; }}; done; \
             kill -9 $(systemctl show -P MainPID {victim})"
        ),
    )?;
    until(host, "the call is over", "test -s /root/setup.code")?;
    script(host, "settled")?;
    let after = script(host, "fingerprint")?;
    same(before, &after, &format!("{victim} killed at {moment}"));
    let ping = script(
        host,
        "call Host.ping2; systemctl is-active supervdsmd vdsmd",
    )?;
    assert_eq!(ping, "true\nactive\nactive");
    let files = host.check("ls /var/lib/vdsm/staging/netconf/nets")?;
    assert_eq!(files, "ovirtmgmt");
    Ok(())
}

/// Power goes in the middle of a change: the next boot has what was safe.
fn power_pulled(host: &Host, before: &str) -> Outcome {
    host.check("sync")?;
    script(
        host,
        "later setup setup \"$(many 12 1000 data1)\" '' '\"connectivityCheck\":false,\"commitOnSuccess\":true'",
    )?;
    until(host, "it is in the middle", "ip link show data1.1005")?;
    host.pull_power();
    host.boot()?;
    until(
        host,
        "the boot is over",
        "systemctl is-system-running --wait || true",
    )?;
    script(host, "settled")?;
    let after = script(host, "fingerprint")?;
    let count = host.check("ls /var/lib/vdsm/persistence/netconf/nets | wc -l")?;
    println!("figure: networks that are safe after the power cut: {count}");
    match count.trim() {
        "1" => same(before, &after, "after the power cut"),
        "13" => {
            assert!(after.contains("n12"), "{after}");
            script(
                host,
                "setup \"$(gone 12)\" '' '\"connectivityCheck\":false,\"commitOnSuccess\":true'",
            )?;
            host.check("ip link set data1 down")?;
            same(before, &script(host, "fingerprint")?, "after the removal");
        }
        other => panic!("{other} networks are neither the ones before nor the ones after"),
    }
    Ok(())
}

/// An operator takes back what is safe already.
fn rolled_back(host: &Host, before: &str) -> Outcome {
    script(
        host,
        "setup '\"wrong\":{\"nic\":\"data1\",\"ipaddr\":\"198.51.100.1\",\"prefix\":24}' '' \
         '\"connectivityCheck\":false,\"commitOnSuccess\":true'",
    )?;
    host.write(
        "/root/request.json",
        0o644,
        r#"{"networks": {"wrong": {"remove": true}, "right": {"nic": "data1"}}}"#,
    )?;
    let plan = host.check_for(
        "vdsm-tool net-plan /root/request.json --exit-code || test $? -eq 3",
        LONG,
    )?;
    assert!(
        plan.contains("- link wrong") && plan.contains("+ bridge right"),
        "{plan}"
    );
    let generations = host.check("vdsm-tool net-rollback --list")?;
    assert!(
        generations
            .lines()
            .next()
            .is_some_and(|it| it.starts_with('*') && it.contains("wrong")),
        "{generations}"
    );
    let undone = host.run_for("echo no | vdsm-tool net-rollback --confirm-within 60", LONG)?;
    assert_eq!(undone.code, 1, "{}", undone.stderr);
    assert!(script(host, "fingerprint")?.contains("\"wrong\""));
    host.check_for("vdsm-tool net-rollback", LONG)?;
    // A card that was switched on for a network stays on.
    host.check("ip link set data1 down")?;
    same(before, &script(host, "fingerprint")?, "after the rollback");
    let kept = host.check("ls /var/lib/vdsm/persistence/netconf/nets")?;
    assert_eq!(kept, "ovirtmgmt");
    Ok(())
}

/// Messages to the kernel that a program's threads of this name sent since this was asked last.
fn sent(host: &Host, comm: &str) -> Result<u64, Box<dyn std::error::Error>> {
    let told = host.check(&format!(
        "cd /sys/kernel/tracing/events/syscalls; for call in sendto sendmsg; do cat sys_enter_$call/hist; \
         echo '!hist:keys=common_pid.execname' >sys_enter_$call/trigger; \
         echo 'hist:keys=common_pid.execname' >sys_enter_$call/trigger; done | \
         awk '$3 == \"{comm}\" {{ sum += $NF }} END {{ print sum + 0 }}'"
    ))?;
    Ok(told.trim().parse()?)
}

/// VLANs with a bridge and an address each, 10 and 100 of them: the time and the messages, and those of `ip -batch` for the same.
/// Under emulation a thousand (`LAB_NETWORKS=1000`) take longer than all other tests together.
/// udev's programs would be what is measured.
#[test]
fn lab_network_many_vlans() {
    let counts = std::env::var("LAB_NETWORKS").unwrap_or_else(|_| "10 100".to_owned());
    let counts = counts.split_whitespace();
    let counts: Vec<u32> = counts
        .map(|it| it.parse().expect("LAB_NETWORKS holds numbers"))
        .collect();
    hosts::test("lab_network_many_vlans", |lab| -> Outcome {
        let network = lab.network()?;
        let host = agent(lab, &[&network])?;
        script(&host, "call Host.ping2; vdsm-tool net-state")?;
        host.check(NO_RULES)?;
        host.check("ip link set data0 up")?;
        counts.iter().try_for_each(|many| vlans(&host, *many))
    });
}

fn timed(host: &Host, words: &str) -> Result<f64, Box<dyn std::error::Error>> {
    let told = script(
        host,
        &format!(
            "start=$(cut -d' ' -f1 /proc/uptime); {words} >/dev/null; end=$(cut -d' ' -f1 /proc/uptime); \
             echo \"$end $start\" | awk '{{ print $1 - $2 }}'"
        ),
    )?;
    Ok(told.trim().parse()?)
}

fn vlans(host: &Host, many: u32) -> Outcome {
    host.check(&format!(
        "for i in $(seq {many}); do echo \"link add link data0 name data0.$i group 7 type vlan id $i\"; \
         echo \"link add b$i group 7 type bridge\"; \
         echo \"link set data0.$i master b$i up\"; echo \"link set b$i up\"; \
         echo \"addr add 10.$((100 + i / 250)).$((i % 250)).1/24 dev b$i\"; done >/root/batch",
    ))?;
    sent(host, "ip")?;
    let batch = timed(host, "ip -batch /root/batch")?;
    let batch_sent = sent(host, "ip")?;
    host.check_for("ip link del group 7", LONG)?;
    sent(host, "request")?;
    let made = timed(host, &format!("setup \"$(many {many} 0 data0)\""))?;
    let made_sent = sent(host, "request")?;
    let bridges = host.check("ip -o link show type bridge | wc -l")?;
    assert_eq!(bridges, many.to_string());
    let addresses = host.check("ip -o -4 addr show | grep -c ' n[0-9]* .* 10\\.1'")?;
    assert_eq!(addresses, many.to_string());
    let last = format!("\"n{many}\":{{\"nic\":\"data0\",\"vlan\":{many},\"mtu\":1400}}");
    let one = timed(host, &format!("setup '{last}'"))?;
    let nothing = timed(host, "setup \"$(many 1 0 data0)\"")?;
    let removed = timed(host, &format!("setup \"$(gone {many})\""))?;
    assert_eq!(host.check("ip -o link show type bridge | wc -l")?, "0");
    println!(
        "figure: {many} VLAN networks: made in {made} s with {made_sent} messages of root's (ip -batch: {batch} s, \
         {batch_sent}), one of them changed in {one} s, one left as it is in {nothing} s, all removed in {removed} s"
    );
    Ok(())
}
