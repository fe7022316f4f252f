//! IPv6 addresses that another host on the link has (duplicate address detection): a change that gives this host one is undone, and
//! says which; one that turns out to be a duplicate later is an event, a warning and no address of the host's. Agent, root helper and
//! witness as in `network.rs`; the other host is the network at the other end of the cards. Needs root.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test's helpers fail the test"
)]

mod common;

use std::{fs, path::Path};

use common::{
    Serving as _, in_network,
    networks::{Twins, bridged, ip, link, setup, unchecked, witnessed},
};
use netns::{eventually, wait_or};
use serde_json::{Value, json};

fn twins() -> Option<Twins> {
    if !Path::new("/proc/sys/net/ipv6").exists() {
        println!("skipped: the kernel does no IPv6");
        return None;
    }
    Twins::start()
}

fn told(twins: &Twins, network: &str) -> Value {
    let caps = twins.ok("Host.getNetworkCapabilities", json!({}));
    caps["networks"][network].clone()
}

/// Does the kernel know that another host has an address of this interface?
fn is_duplicate(name: &str) -> bool {
    is_flagged(name, "dadfailed")
}

fn is_flagged(name: &str, flag: &str) -> bool {
    let link = link(name).unwrap();
    let all = link["addr_info"].as_array().unwrap();
    all.iter()
        .any(|it| it["scope"] == "global" && it[flag] == true)
}

fn kept(twins: &Twins, set: &str, network: &str) -> Option<Value> {
    let file = twins.path(&format!("{set}/netconf/nets/{network}"));
    let bytes = fs::read(file).ok()?;
    Some(serde_json::from_slice(&bytes).unwrap())
}

#[test]
fn netns_an_address_that_another_host_has_is_not_taken() {
    in_network!(|| {
        let Some(twins) = twins() else { return };
        let request = setup(json!({"green": bridged()}), unchecked());
        twins.ok("Host.setupNetworks", request);
        let before = witnessed();
        twins.peers.ip("addr add 2001:db8:1::2/64 dev pveth_a nodad
             addr add 2001:db8:1::9/64 dev pveth_a nodad\n");
        let mut green = bridged();
        green["ipv6addr"] = json!("2001:db8:1::2/64");
        green["ipv6addrs"] = json!(["2001:db8:1::2/64", "2001:db8:1::3/64"]);
        let blue = json!({"nic": "veth_b", "bridged": "true", "mtu": 1450, "switch": "legacy"});
        let mut routed = green.clone();
        routed["routes"] = json!([{
            "destination": "2001:db8:55::/64", "via": "2001:db8:1::9", "src": "2001:db8:1::2",
        }]);
        // Also where a route from that address cannot be made: the reason is told, not what comes of it.
        for wish in [&green, &routed] {
            let wish = json!({"green": wish, "blue": blue});
            let answer = twins.call("Host.setupNetworks", setup(wish, unchecked()));
            let (code, text) = answer.unwrap_err();
            assert_eq!(code, 22, "{text}");
            let named = "green: 2001:db8:1::2/64 on green is a duplicate";
            assert!(text.contains(named), "{text}");
            assert!(!text.contains("2001:db8:1::3"), "that one is free: {text}");
            eventually("all to be as it was", || witnessed() == before);
            for set in ["staging", "persistence"] {
                assert_eq!(kept(&twins, set, "blue"), None);
                let green = kept(&twins, set, "green").unwrap();
                assert!(!green.to_string().contains("2001:db8:1::"), "{green}");
            }
            assert_eq!(told(&twins, "green")["addr"], "192.0.2.2");
            assert_eq!(told(&twins, "blue"), Value::Null);
        }
        let helper = fs::read_to_string(twins.path("helper.log")).unwrap();
        assert!(helper.contains("undone") && helper.contains("is a duplicate"));
        // When the other host has given it up the same request lasts.
        twins.peers.ip("addr del 2001:db8:1::2/64 dev pveth_a\n");
        let wish = json!({"green": routed, "blue": blue});
        twins.ok("Host.setupNetworks", setup(wish, unchecked()));
        let both = json!(["2001:db8:1::2/64", "2001:db8:1::3/64"]);
        assert_eq!(told(&twins, "green")["ipv6addrs"], both);
        assert!(!is_duplicate("green"));
    });
}

const LATE: &str = "2001:db8:7::2/64";

fn late() -> Value {
    let blue = json!({
        "nic": "veth_b", "bridged": "false", "switch": "legacy", "ipv6addr": LATE,
        "ipaddr": "198.51.100.2", "prefix": "24",
    });
    setup(json!({"blue": blue}), unchecked())
}

fn warned(twins: &Twins) -> bool {
    let log = twins.log();
    log.lines().any(|line| {
        let words = [
            "WARN",
            "duplicate address",
            "veth_b",
            LATE,
            "set the network up again",
        ];
        words.iter().all(|it| line.contains(it))
    })
}

#[test]
fn netns_an_address_that_turns_out_to_be_a_duplicate_when_the_cable_is_plugged_in() {
    in_network!(|| {
        let Some(mut twins) = twins() else { return };
        twins.peers.ip("link set pveth_b down\n");
        // One that is up and has lost its carrier asks all the same, and is content; one that comes up without waits for it.
        ip(&["link", "set", "veth_b", "down"]);
        // There is nobody to ask: the change lasts.
        twins.ok("Host.setupNetworks", late());
        assert_eq!(told(&twins, "blue")["ipv6addrs"], json!([LATE]));
        assert!(is_flagged("veth_b", "tentative"));
        // It asks several times: the other host may not be ready at the first.
        fs::write("/proc/sys/net/ipv6/conf/veth_b/dad_transmits", "3").unwrap();
        let client = twins.client();
        let mut events = client.events();
        client.call("Host.ping2", json!({})).unwrap();
        twins.peers.ip(&format!(
            "addr add {LATE} dev pveth_b nodad\nlink set pveth_b up\n"
        ));
        eventually("the kernel to find out", || is_duplicate("veth_b"));
        client.next_event(&mut events, |method, _| method == "|net|host_conn|no_id");
        let tail = |twins: &Twins| twins.log_tail();
        wait_or(
            "a warning",
            || tail(&twins),
            || warned(&twins).then_some(()),
        );
        let blue = told(&twins, "blue");
        // Engine finds the network out of sync; the rest of it works.
        assert_eq!(blue["ipv6addrs"], json!([]), "{blue}");
        assert_eq!(blue["addr"], "198.51.100.2");
        // Another agent tells it again.
        twins.kill_agent();
        twins.start_agent();
        wait_or(
            "a warning",
            || tail(&twins),
            || warned(&twins).then_some(()),
        );
        // As long as the other host has it, setting it up again does not help, and leaves all as it is.
        let before = witnessed();
        let (code, text) = twins.call("Host.setupNetworks", late()).unwrap_err();
        assert_eq!(code, 22, "{text}");
        assert!(text.contains(LATE) && text.contains("veth_b"), "{text}");
        eventually("all to be as it was", || witnessed() == before);
        // Afterwards it does.
        twins.peers.ip(&format!("addr del {LATE} dev pveth_b\n"));
        twins.ok("Host.setupNetworks", late());
        assert!(!is_duplicate("veth_b"));
        assert_eq!(told(&twins, "blue")["ipv6addrs"], json!([LATE]));
    });
}
