//! Beside a `NetworkManager` that has the cards, as on every host of the EL family: what it made is taken over with its
//! addresses, stays ours whatever it does, comes back after a reboot, and is its own again afterwards.

use std::path::Path;

use hosts::Host;
use lab_tests::network::{LONG, agent, put_words, script, until};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// The other host: gateway and DHCP server on the first cable, there on VLAN 7, too, and on the second cable.
const PEER: &str = "\
    ip addr add 192.0.2.2/24 dev data0; ip link set data0 up; modprobe 8021q; \
    ip link add link data0 name data0.7 type vlan id 7; ip addr add 198.51.100.2/24 dev data0.7; ip link set data0.7 up; \
    ip addr add 203.0.113.2/24 dev data1; ip link set data1 up; mkdir -p /run/lab; \
    dnsmasq --user=root --conf-file=/dev/null --interface=data0 --bind-interfaces --port=0 --dhcp-range=192.0.2.100,192.0.2.110,1h \
    --dhcp-option=3,192.0.2.2 --dhcp-leasefile=/run/lab/leases --pid-file=/run/lab/dnsmasq.pid";

/// What an administrator has: a card with DHCP, a VLAN upon it, a bond.
const PROFILES: &str = "\
    add() { nmcli connection add ipv6.method disabled \"$@\" >/dev/null; }; set -e; \
    add type ethernet con-name cable ifname data0 ipv4.method auto; \
    add type vlan con-name tagged ifname data0.7 dev data0 id 7 ipv4.method manual ipv4.addresses 198.51.100.50/24; \
    add type bond con-name bond ifname bond0 bond.options mode=active-backup,miimon=100 ipv4.method manual \
        ipv4.addresses 203.0.113.50/24; \
    add type ethernet con-name port ifname data1 master bond0; \
    for it in cable port bond tagged; do nmcli connection up $it >/dev/null; done";

/// The same as networks.
const NETWORKS: &str = r#"setup '
  "ovirtmgmt":{"nic":"data0","bootproto":"dhcp","defaultRoute":true},
  "storage":{"nic":"data0","vlan":7,"bridged":false,"ipaddr":"198.51.100.50","prefix":24},
  "migration":{"bonding":"bond0","bridged":false,"ipaddr":"203.0.113.50","prefix":24}' \
  '"bond0":{"nics":["data1"],"options":"mode=1 miimon=100"}' '"connectivityCheck":false,"commitOnSuccess":true'"#;

const GONE: &str = r#"setup '"ovirtmgmt":{"remove":true},"storage":{"remove":true},"migration":{"remove":true}' \
  '"bond0":{"remove":true}' '"connectivityCheck":false,"commitOnSuccess":true'"#;

#[test]
fn lab_network_beside_networkmanager() {
    hosts::test("lab_network_beside_networkmanager", |lab| -> Outcome {
        let (a, b) = (lab.network()?, lab.network()?);
        let host = agent(lab, &[&a, &b])?;
        let other = lab.host(2).nic(&a).nic(&b).start()?;
        put_words(&other)?;
        other.check(PEER)?;
        host.check_for("systemctl enable --now NetworkManager.service 2>&1", LONG)?;
        until(&host, "NetworkManager runs", "nmcli -t general status")?;
        host.check_for(PROFILES, LONG)?;
        let leased = address(&host, "data0")?;
        taken_over(&host, &other, &leased)?;
        let state = script(&host, "fingerprint")?;
        for what in [
            "systemctl restart NetworkManager.service",
            "nmcli networking off && sleep 2 && nmcli networking on",
            "systemctl restart supervdsmd.service vdsmd.service",
        ] {
            host.check_for(what, LONG)?;
            // Whoever was restarted has looked at everything by then.
            host.check("sleep 5")?;
            stays(&host, &state, what)?;
        }
        host.reboot()?;
        until(
            &host,
            "the boot is over",
            "systemctl is-system-running --wait || true",
        )?;
        until(&host, "NetworkManager runs", "nmcli -t general status")?;
        stays(&host, &state, "a reboot")?;
        assert_eq!(address(&host, "ovirtmgmt")?, leased, "after the reboot");
        given_back(&host)
    });
}

/// What a crate asks of it: that it lets go, that it may hang, that it need not run.
#[test]
fn lab_networkmanager_is_told_by_the_executor() {
    hosts::test("lab_networkmanager", |lab| -> Outcome {
        let program = std::env::var("VDSM_NETWORKMANAGER_TESTS")
            .expect("VDSM_NETWORKMANAGER_TESTS names the built tests (make lab-check sets it)");
        let host = lab.host(1).start()?;
        host.put(Path::new(&program), "/root/netns-tests")?;
        let run = host.run_for(
            "modprobe -a veth bridge; cd /root && chmod 0755 netns-tests && ./netns-tests netns_ --test-threads=1 --show-output 2>&1",
            LONG,
        )?;
        let told = &run.stdout;
        // Not as the harness prints its own: results are counted.
        assert!(run.success(), "  | {}", told.replace('\n', "\n  | "));
        let passed = told.lines().filter(|it| it.ends_with(" ... ok")).count();
        assert!(passed > 0 && !told.contains("skipped:"), "{told}");
        Ok(())
    });
}

/// The first address of an interface, when it has one.
fn address(host: &Host, link: &str) -> Result<String, Box<dyn std::error::Error>> {
    let told = script(
        host,
        &format!(
            "until ip -o -4 addr show {link} | grep -oE 'inet [0-9.]+' | cut -d' ' -f2 | grep .; do sleep 0.5; done"
        ),
    )?;
    Ok(told.trim().to_owned())
}

/// The addresses that were there are there, and whoever talks to them hardly notices.
#[expect(clippy::print_stdout, reason = "figures")]
fn taken_over(host: &Host, other: &Host, leased: &str) -> Outcome {
    script(other, &format!("pings {leased} 198.51.100.50 203.0.113.50"))?;
    script(host, NETWORKS)?;
    assert_eq!(address(host, "ovirtmgmt")?, leased, "the lease is another");
    until(host, "the gateway", "ping -c1 -W1 192.0.2.2")?;
    for (address, of) in [
        (leased, "a card with DHCP, now a bridge's port"),
        ("198.51.100.50", "its VLAN"),
        ("203.0.113.50", "a bond"),
    ] {
        let told = script(other, &format!("pinged {address}"))?;
        println!(
            "figure: taken over from NetworkManager, pings at 10 ms (answered, lost, lost in a row): {told} ({of})"
        );
        let run: u32 = told.rsplit(' ').next().unwrap_or_default().parse()?;
        assert!(
            address == leased || run < 100,
            "{of}: {run} pings at 10 ms in a row were lost"
        );
    }
    Ok(())
}

/// All is as it was, and nothing of ours is managed by it.
fn stays(host: &Host, state: &str, after: &str) -> Outcome {
    script(host, "settled; call Host.ping2")?;
    until(host, "the gateway answers", "ping -c1 -W1 192.0.2.2")?;
    until(host, "and the bond's end", "ping -c1 -W1 203.0.113.2")?;
    until(host, "and the VLAN's", "ping -c1 -W1 198.51.100.2")?;
    let now = script(host, "fingerprint")?;
    assert!(state == now, "before:\n{state}\nafter {after}:\n{now}");
    let managed = host.check(
        "nmcli -t -f DEVICE,STATE device | grep -E '^(ovirtmgmt|bond0|data)' | grep -v ':unmanaged$' || true",
    )?;
    assert_eq!(managed, "", "managed after {after}");
    Ok(())
}

/// Without networks of ours the cards are `NetworkManager`'s again.
fn given_back(host: &Host) -> Outcome {
    script(host, GONE)?;
    let left = script(
        host,
        "fingerprint | grep -E 'ovirtmgmt|proto vdsm|^3200' || true",
    )?;
    assert_eq!(left, "", "nothing is left");
    until(
        host,
        "the card is NetworkManager's again",
        "nmcli -t -f DEVICE,STATE device | grep -E '^data0:(connect|disconnect)'",
    )?;
    Ok(())
}
