//! Networks whose addresses come by DHCP, asked for through the port: agent, root helper and client of ours, real servers
//! (dnsmasq) at the other end of the cards. What a change waits for, what it does not; what is told; what is undone.
//! Needs root and dnsmasq.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test's helpers fail the test"
)]

mod common;

use std::{
    sync::{atomic::AtomicBool, mpsc},
    thread,
    time::Instant,
};

use common::{
    PATIENCE, Serving as _, in_network,
    networks::{Twins, address_of, beside, ip_json, link, setup, unchecked},
    peers::{asks_for_a_lease, hear},
};
use netns::{Peer, eventually, wait_or};
use serde_json::{Value, json};

fn twins() -> Option<Twins> {
    for (there, what) in [
        (exec::command::find("dnsmasq").is_some(), "installed"),
        (beside("vdsm-dhcp").exists(), "built"),
    ] {
        if !there {
            let program = if what == "built" {
                "vdsm-dhcp"
            } else {
                "dnsmasq"
            };
            println!("skipped: {program} is not {what}");
            return None;
        }
    }
    Twins::start()
}

/// As Engine asks for a network with DHCP.
fn leased(nic: &str) -> Value {
    json!({
        "nic": nic, "bridged": "true", "STP": "no", "bootproto": "dhcp", "dhcpv6": false,
        "ipv6autoconf": false, "switch": "legacy",
    })
}

fn has_lease(twins: &Twins, bridge: &str) -> String {
    wait_or(
        &format!("a lease on {bridge}"),
        || twins.log_tail(),
        || link(bridge).and_then(|it| address_of(&it).first().cloned()),
    )
}

fn network(twins: &Twins, name: &str) -> Value {
    let caps = twins.ok("Host.getNetworkCapabilities", json!({}));
    caps["networks"][name].clone()
}

fn acknowledged(twins: &Twins, card: &str) -> usize {
    let log = std::fs::read_to_string(twins.path(&format!("dnsmasq-{card}")));
    log.unwrap_or_default().matches("DHCPACK(").count()
}

#[test]
fn netns_nobody_waits_for_a_lease_and_it_is_told_when_it_comes() {
    in_network!(|| {
        let Some(mut twins) = twins() else { return };
        // Nobody serves: the change is made all the same, whether asked to block or not, as by upstream's nmstate.
        for blocking in [true, false] {
            let mut green = leased("veth_a");
            green["blockingdhcp"] = json!(blocking);
            green["defaultRoute"] = json!(true);
            let request = setup(json!({"green": green}), unchecked());
            let answer = twins.ok("Host.setupNetworks", request);
            assert_eq!(answer["code"], 0, "blocking: {blocking}");
            let green = network(&twins, "green");
            assert_eq!(
                (&green["dhcpv4"], &green["addr"]),
                (&json!(true), &json!("")),
                "blocking: {blocking}"
            );
        }
        let kept = std::fs::read_to_string(twins.path("persistence/netconf/nets/green")).unwrap();
        assert!(
            kept.contains("dhcp") && !kept.contains("blockingdhcp"),
            "{kept}"
        );

        let client = twins.client();
        let mut events = client.events();
        client.call("Host.ping2", json!({})).unwrap();
        twins.at_peers(&["ip", "addr", "add", "192.0.2.1/24", "dev", "pveth_a"]);
        // The server says when to renew: half of its two minutes would be long to wait.
        let folder = twins.path("");
        let renew = ["--dhcp-option=option:T1,4", "--dhcp-option=option:T2,100"];
        let range = "--dhcp-range=192.0.2.100,192.0.2.150,2m";
        twins
            .peers
            .dnsmasq(&folder, "pveth_a", &[range, renew[0], renew[1]]);
        let address = has_lease(&twins, "green");
        client.next_event(&mut events, |method, _| method == "|net|host_conn|no_id");
        let seen = link("green").unwrap();
        assert_eq!(seen["addr_info"][0]["dynamic"], true, "{seen}");
        let bare = address.split('/').next().unwrap().to_owned();
        assert!(bare.starts_with("192.0.2.1"), "{bare}");
        let mut green = json!(null);
        eventually("the default route", || {
            green = network(&twins, "green");
            green["gateway"] == "192.0.2.1"
        });
        for (key, value) in [
            ("addr", json!(bare)),
            ("netmask", json!("255.255.255.0")),
            ("ipv4addrs", json!([address])),
            ("dhcpv4", json!(true)),
            ("dhcpv6", json!(false)),
            ("ipv4defaultroute", json!(true)),
        ] {
            assert_eq!(green[key], value, "{key} of {green}");
        }
        let caps = twins.ok("Host.getCapabilities", json!({}));
        assert_eq!(caps["bridges"]["green"]["addr"], json!(bare));
        assert_eq!(caps["bridges"]["green"]["dhcpv4"], true);
        assert_eq!(caps["netConfigDirty"], "False");
        assert!(twins.is_answered(&bare, PATIENCE));

        eventually("renewals", || acknowledged(&twins, "pveth_a") >= 3);
        assert_eq!(address_of(&link("green").unwrap()), [address.as_str()]);
        // Neither daemon is needed for that.
        let process = twins.dhcp_client("green.v4").unwrap();
        twins.kill_helper();
        twins.kill_agent();
        let so_far = acknowledged(&twins, "pveth_a");
        eventually("renewals", || acknowledged(&twins, "pveth_a") > so_far + 1);
        twins.start_helper();
        twins.start_agent();
        assert_eq!(network(&twins, "green")["addr"], json!(bare));
        assert_eq!(twins.dhcp_client("green.v4"), Some(process));

        // To an address of its own, and back; then away.
        let mut fixed = leased("veth_a");
        fixed["bootproto"] = json!("none");
        fixed["ipaddr"] = json!("192.0.2.2");
        fixed["prefix"] = json!("24");
        let request = setup(json!({"green": fixed}), unchecked());
        twins.ok("Host.setupNetworks", request);
        assert_eq!(address_of(&link("green").unwrap()), ["192.0.2.2/24"]);
        assert_eq!(network(&twins, "green")["dhcpv4"], false);
        assert_eq!(twins.dhcp_client("green.v4"), None);
        let request = setup(json!({"green": leased("veth_a")}), unchecked());
        twins.ok("Host.setupNetworks", request);
        eventually("the lease again", || {
            link("green").is_some_and(|it| address_of(&it) == [address.as_str()])
        });
        let removal = setup(json!({"green": {"remove": "true"}}), unchecked());
        twins.ok("Host.setupNetworks", removal);
        assert!(link("green").is_none() && twins.dhcp_client("green.v4").is_none());
        let left = ip_json(&["route", "show", "table", "all", "proto", "118"]);
        assert_eq!(left, json!([]));
    });
}

#[test]
fn netns_a_lease_that_nobody_confirms_goes_with_its_network() {
    in_network!(|| {
        let Some(mut twins) = twins() else { return };
        twins.at_peers(&["ip", "addr", "add", "192.0.2.1/24", "dev", "pveth_a"]);
        let folder = twins.path("");
        let range = ["--dhcp-range=192.0.2.100,192.0.2.150,2m"];
        twins.peers.dnsmasq(&folder, "pveth_a", &range);
        let checked = json!({"connectivityCheck": "true", "connectivityTimeout": 600});
        let request = setup(json!({"green": leased("veth_a")}), checked);
        let port = twins.port();
        let asker = thread::spawn(move || {
            // Its connection ends without an answer.
            let _ = std::panic::catch_unwind(|| {
                common::Caller::connect(port).call("Host.setupNetworks", request)
            });
        });
        has_lease(&twins, "green");
        let client = twins.dhcp_client("green.v4");
        assert!(client.is_some());
        twins.kill_agent();
        asker.join().unwrap();
        eventually("both layers to be undone", || {
            link("green").is_none() && twins.dhcp_client("green.v4").is_none()
        });
        twins.start_agent();
        assert_eq!(address_of(&link("veth_a").unwrap()), [""; 0]);
        let caps = twins.ok("Host.getCapabilities", json!({}));
        assert_eq!(caps["networks"], json!({}));
    });
}

/// The cards `veth_0` to `veth_9`; the last one leads to another network than the others.
fn ten_cards(twins: &mut Twins) -> Peer {
    let mut slow = Peer::new();
    let mut others = Vec::new();
    for n in 0..10 {
        let (card, there) = (format!("veth_{n}"), format!("pveth_{n}"));
        let peer = if n == 9 { &slow } else { &twins.peers };
        peer.link(&card, &there);
        // Of the eighth nobody is at home.
        if n != 8 {
            peer.ip(&format!("addr add 10.{n}.0.1/24 dev {there}"));
        }
        if n < 8 {
            others.push(format!("--dhcp-range=10.{n}.0.100,10.{n}.0.150,2m"));
            others.push(format!("--interface={there}"));
        }
    }
    // One process for eight networks: its answers are quick. Another is slow.
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    let folder = twins.path("");
    twins.peers.dnsmasq(&folder, "pveth_0", &others);
    let range = [
        "--dhcp-range=10.9.0.100,10.9.0.150,2m",
        "--dhcp-reply-delay=5",
    ];
    slow.dnsmasq(&folder, "pveth_9", &range);
    slow
}

/// How the links were when the first request for a lease came by on any of these networks, and what `change` brought.
fn at_the_first_request<T>(peers: &[&Peer], change: impl FnOnce() -> T) -> (Value, T) {
    let (tell, told) = mpsc::channel();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for peer in peers {
            let (tell, over) = (tell.clone(), &over);
            scope.spawn(move || {
                if hear(peer, over, asks_for_a_lease) {
                    let _ = tell.send(());
                }
            });
        }
        let witness = scope.spawn(move || {
            let heard = told.recv_timeout(netns::LONG);
            heard.map(|()| ip_json(&["link"]))
        });
        let done = change();
        let links = witness.join().unwrap().unwrap();
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        (links, done)
    })
}

#[test]
fn netns_ten_networks_in_one_call_with_a_slow_and_a_dead_server() {
    in_network!(|| {
        let Some(mut twins) = twins() else { return };
        let slow = ten_cards(&mut twins);
        let mut wishes = json!({});
        for n in 0..10 {
            let mut wish = leased(&format!("veth_{n}"));
            wish["blockingdhcp"] = json!(n % 2 == 0);
            wishes[format!("net{n}")] = wish;
        }
        let began = Instant::now();
        let (links, took) = at_the_first_request(&[&twins.peers, &slow], || {
            twins.ok("Host.setupNetworks", setup(wishes, unchecked()));
            began.elapsed()
        });
        // All links are there, and in their places, before anybody asks for an address.
        let links = links.as_array().unwrap();
        for n in 0..10 {
            let card = format!("veth_{n}");
            let card = links.iter().find(|it| it["ifname"] == card).unwrap();
            assert_eq!(card["master"], format!("net{n}"), "{card}");
            assert!(card["flags"].as_array().unwrap().contains(&json!("UP")));
        }
        // The next change waits for none of them.
        let other = json!({"other": {"nic": "veth_b", "ipaddr": "192.0.2.2", "prefix": "24"}});
        twins.ok("Host.setupNetworks", setup(other, unchecked()));
        for n in (0..8).chain([9]) {
            let address = has_lease(&twins, &format!("net{n}"));
            assert!(address.starts_with(&format!("10.{n}.0.1")), "{address}");
            println!("figure: net{n} has its lease after {:?}", began.elapsed());
        }
        println!("figure: the call was answered after {took:?}");
        assert_eq!(address_of(&link("net8").unwrap()), [""; 0]);
        // None was undone, none is forgotten.
        let caps = twins.ok("Host.getCapabilities", json!({}));
        for n in 0..10 {
            let net = &caps["networks"][format!("net{n}")];
            let answers = n != 8;
            assert_eq!(net["dhcpv4"], true, "{net}");
            assert_eq!(net["addr"] != "", answers, "{net}");
            let file = twins.path(&format!("persistence/netconf/nets/net{n}"));
            assert!(file.exists(), "net{n}");
        }
        // The dead one comes back from the dead.
        twins.peers.ip("addr add 10.8.0.1/24 dev pveth_8");
        let folder = twins.path("");
        twins.peers.end_server(0);
        let range = ["--dhcp-range=10.8.0.100,10.8.0.150,2m"];
        twins.peers.dnsmasq(&folder, "pveth_8", &range);
        let address = has_lease(&twins, "net8");
        assert!(address.starts_with("10.8.0.1"), "{address}");
        let mut gone = json!({"other": {"remove": true}});
        for n in 0..10 {
            gone[format!("net{n}")] = json!({"remove": true});
        }
        twins.ok("Host.setupNetworks", setup(gone, unchecked()));
        let caps = twins.ok("Host.getCapabilities", json!({}));
        assert_eq!(caps["networks"], json!({}));
        assert!((0..10).all(|n| twins.dhcp_client(&format!("net{n}.v4")).is_none()));
    });
}
