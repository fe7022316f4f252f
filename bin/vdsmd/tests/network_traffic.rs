//! What networks do once they are there: who hears of their changes, which of them answer, by which way traffic goes.
//! Agent, root helper and witness as in `network.rs`. Needs root.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test's helpers fail the test"
)]

mod common;

use std::{thread, time::Duration};

use common::{
    PATIENCE, Serving as _, in_network,
    networks::{Twins, address_of, bridged, ip, ip_json, link, setup, unchecked},
    wait_for,
};
use serde_json::{Value, json};

#[test]
fn netns_clients_are_told_when_networks_change_by_themselves() {
    in_network!(|| {
        let Some(twins) = Twins::start() else { return };
        let client = twins.client();
        let mut events = client.events();
        // Until the subscription stands an event may pass by.
        client.call("Host.ping2", json!({})).unwrap();
        twins.at_peers(&["ip", "link", "set", "pveth_b", "down"]);
        let ours = |method: &str, _: &Value| method.starts_with("|net|");
        let (method, params) = client.next_event(&mut events, ours);
        assert_eq!(method, "|net|host_conn|no_id");
        assert!(params["notify_time"].is_u64(), "{params}");
        let stats = twins.ok("Host.getStats", json!({}));
        assert_eq!(stats["network"]["veth_b"]["state"], "down");
        // A change that somebody asks for, and a guest's tap, are no news; an address is.
        let request = setup(json!({"green": bridged()}), unchecked());
        twins.ok("Host.setupNetworks", request);
        ip(&["tuntap", "add", "vnet7", "mode", "tap"]);
        ip(&["link", "set", "vnet7", "up", "master", "green"]);
        let quiet = Duration::from_secs(6);
        thread::sleep(quiet);
        let told = |twins: &Twins| {
            twins
                .log()
                .matches("networks changed by themselves")
                .count()
        };
        assert_eq!(told(&twins), 1, "{}", twins.log_tail());
        ip(&["addr", "add", "198.51.100.7/24", "dev", "veth_b"]);
        client.next_event(&mut events, ours);
    });
}

#[test]
fn netns_a_network_that_does_not_answer_is_shown_down() {
    in_network!(|| {
        // Who may send echo requests without privilege.
        let range = "/proc/sys/net/ipv4/ping_group_range";
        if std::fs::write(range, "0 2147483647").is_err() {
            println!("skipped: {range} cannot be written");
            return;
        }
        let Some(mut twins) = Twins::start() else {
            return;
        };
        let peer = ["192.0.2.9/24", "dev", "pveth_a"];
        twins.at_peers(&[&["ip", "addr", "add"], peer.as_slice()].concat());
        let mut green = bridged();
        green["custom"] = json!({
            "ping_target": "192.0.2.9", "ping_interval": "1", "ping_fail_count": "2",
            "ping_recover_count": "2",
        });
        twins.ok(
            "Host.setupNetworks",
            setup(json!({"green": green}), unchecked()),
        );
        let state = |twins: &Twins, link: &str| {
            let stats = twins.ok("Host.getStats", json!({}));
            stats["network"][link]["state"].as_str().unwrap().to_owned()
        };
        let comes = |twins: &Twins, link: &str, wanted: &str| {
            wait_for(wanted, || {
                thread::sleep(Duration::from_millis(100));
                (state(twins, link) == wanted).then_some(())
            });
        };
        let told = |twins: &Twins, what: &str| twins.log().contains(what);
        wait_for("its verdict", || {
            told(&twins, "network green answers").then_some(())
        });
        assert_eq!(state(&twins, "green"), "up");
        let client = twins.client();
        let mut events = client.events();
        client.call("Host.ping2", json!({})).unwrap();
        twins.at_peers(&[&["ip", "addr", "del"], peer.as_slice()].concat());
        client.next_event(&mut events, |method, _| method == "|net|host_conn|no_id");
        comes(&twins, "veth_a", "down");
        assert_eq!(
            (state(&twins, "green"), state(&twins, "veth_b")),
            ("down".into(), "up".into())
        );
        assert!(told(&twins, "network green is down: "));
        // A new agent knows it from the start.
        wait_for("it to be kept", || {
            twins
                .path("state/networks/reachability.json")
                .exists()
                .then_some(())
        });
        wait_for("the verdict to be kept", || {
            let kept =
                std::fs::read_to_string(twins.path("state/networks/reachability.json")).ok()?;
            kept.contains("down").then_some(())
        });
        twins.kill_agent();
        twins.start_agent();
        comes(&twins, "veth_a", "down");
        twins.at_peers(&[&["ip", "addr", "add"], peer.as_slice()].concat());
        comes(&twins, "veth_a", "up");
    });
}

/// Two networks with gateways, several addresses, a route of its own.
fn routed() -> Value {
    json!({
        "green": {
            "nic": "veth_a", "bridged": "true", "switch": "legacy", "defaultRoute": true,
            "ipv4addrs": ["192.0.2.2/24", "192.0.2.3/24", "198.51.100.2/24"], "gateway": "192.0.2.1",
            "ipv6addrs": ["2001:db8:1::2/64", "2001:db8:1::3/64"], "ipv6gateway": "2001:db8:1::1",
            "routes": [{"destination": "203.0.113.0/24", "via": "192.0.2.9", "metric": 7}],
        },
        "blue": {
            "nic": "veth_b", "bridged": "false", "switch": "legacy",
            "ipaddr": "10.7.0.2", "prefix": "24", "gateway": "10.7.0.1",
            "ipv6addr": "2001:db8:7::2/64", "ipv6gateway": "2001:db8:7::1",
        },
    })
}

/// The rules of ours, and which tables they look up.
fn tables_by_rules(family: &str) -> Vec<(String, String)> {
    let rules = ip_json(&[family, "rule"]);
    let ours = rules.as_array().unwrap().iter();
    ours.filter(|it| it["priority"] == 3200 && it["src"] != "all")
        .map(|it| {
            let word = |key: &str| it[key].as_str().unwrap().to_owned();
            (format!("{}/{}", word("src"), it["srclen"]), word("table"))
        })
        .collect()
}

#[test]
fn netns_what_came_in_by_a_network_goes_out_by_it() {
    in_network!(|| {
        let Some(twins) = Twins::start() else {
            return;
        };
        twins.ok("Host.setupNetworks", setup(routed(), unchecked()));
        let by_v4 = tables_by_rules("-4");
        let networks: Vec<_> = by_v4.iter().map(|(from, _)| from.as_str()).collect();
        for network in ["192.0.2.0/24", "198.51.100.0/24", "10.7.0.0/24"] {
            assert!(networks.contains(&network), "{network}: {by_v4:?}");
        }
        let blue = by_v4
            .iter()
            .find(|(from, _)| from == "10.7.0.0/24")
            .unwrap();
        let by_v6 = tables_by_rules("-6");
        let blue6 = by_v6.iter().find(|(from, _)| from == "2001:db8:7::/64");
        assert_eq!(blue6.map(|it| &it.1), Some(&blue.1), "one table: {by_v6:?}");
        let way = |words: &[&str]| ip_json(&[&["route", "get"], words].concat())[0].clone();
        let out = way(&["172.31.9.9", "from", "10.7.0.2"]);
        assert_eq!(
            (&out["dev"], &out["gateway"]),
            (&json!("veth_b"), &json!("10.7.0.1"))
        );
        let out = way(&["172.31.9.9"]);
        assert_eq!(
            (&out["dev"], &out["gateway"]),
            (&json!("green"), &json!("192.0.2.1"))
        );
        let out = way(&["203.0.113.5"]);
        assert_eq!(out["gateway"], "192.0.2.9", "the network's own route");
        // Somebody far away, behind the gateway of blue; by the default route nobody answers.
        twins.at_peers(&["ip", "addr", "add", "10.7.0.1/24", "dev", "pveth_b"]);
        twins.at_peers(&["ip", "link", "set", "lo", "up"]);
        twins.at_peers(&["ip", "addr", "add", "172.31.9.9/32", "dev", "lo"]);
        assert!(twins.is_answered_from("172.31.9.9", "10.7.0.2", PATIENCE));

        let caps = twins.ok("Host.getCapabilities", json!({}));
        let green = &caps["networks"]["green"];
        let addresses = &routed()["green"];
        assert_eq!(green["ipv4addrs"], addresses["ipv4addrs"]);
        assert_eq!(green["ipv6addrs"], addresses["ipv6addrs"]);
        assert_eq!(
            (&green["gateway"], &green["ipv4defaultroute"]),
            (&json!("192.0.2.1"), &json!(true))
        );
        let of_blue = &caps["networks"]["blue"];
        for (key, value) in [
            ("gateway", json!("10.7.0.1")),
            // Engine would take any for the default route of IPv6.
            ("ipv6gateway", json!("::")),
            ("ipv4defaultroute", json!(false)),
            ("iface", json!("veth_b")),
        ] {
            assert_eq!(of_blue[key], value, "{key}");
        }

        // Another order, one address less: the first is the primary.
        let mut request = routed();
        request["green"]["ipv4addrs"] = json!(["198.51.100.2/24", "192.0.2.2/24"]);
        let green = json!({"green": request["green"]});
        twins.ok("Host.setupNetworks", setup(green, unchecked()));
        let mut seen = address_of(&link("green").unwrap());
        seen.sort();
        assert_eq!(seen, ["192.0.2.2/24", "198.51.100.2/24"]);
        let caps = twins.ok("Host.getNetworkCapabilities", json!({}));
        assert_eq!(caps["networks"]["green"]["addr"], "198.51.100.2");
        assert_eq!(
            caps["networks"]["blue"]["gateway"], "10.7.0.1",
            "others are left alone"
        );

        let removal = json!({"green": {"remove": "true"}, "blue": {"remove": "true"}});
        twins.ok("Host.setupNetworks", setup(removal, unchecked()));
        assert!(tables_by_rules("-4").is_empty() && tables_by_rules("-6").is_empty());
        let left = ip_json(&["route", "show", "table", "all", "proto", "118"]);
        assert_eq!(left, json!([]));
    });
}
