//! Real clients, real servers: leases of IPv4.

mod common;

use common::{Host, TABLE, client, give, passing, routes, rules};
use net_apply::dhcp::DhcpClients as _;
use net_model::{Family, MAIN_TABLE};
use netns::{Peer, ip, wait_for, wait_or};

const V4: Family = Family::V4;

/// A server for `192.0.2.0/24` at the other end of `c0`.
fn served(host: &Host, more: &[&str]) -> Peer {
    let mut peer = Peer::new();
    peer.link("c0", "s0");
    give(&peer, "s0", "192.0.2.1/24");
    let range = ["--dhcp-range=192.0.2.100,192.0.2.150,2m"];
    let args: Vec<&str> = range.iter().chain(more).copied().collect();
    peer.dnsmasq(host.folder.path(), "s0", &args);
    peer
}

fn leased(host: &Host, link: &str) -> String {
    let lease = || passing(link, V4).first().cloned();
    wait_or(
        &format!("a lease on {link}"),
        || format!("the clients' log:\n{}", host.log()),
        lease,
    )
}

#[test]
fn netns_a_lease_brings_all_and_a_stop_takes_all() {
    guard::in_network!(|| {
        need!();
        let host = Host::new();
        let far = "--dhcp-option=121,198.51.100.0/24,192.0.2.9,0.0.0.0/0,192.0.2.1";
        let peer = served(&host, &[far, "--dhcp-option=6,192.0.2.53"]);
        ip("address add 203.0.113.7/24 dev c0");
        host.start("c0", &client(V4, TABLE, true));
        let address = leased(&host, "c0");
        assert!(
            address.starts_with("192.0.2.1") && address.ends_with("/24"),
            "{address}"
        );
        let expected = [
            "192.0.2.0/24 dev c0 table 100001",
            "198.51.100.0/24 via 192.0.2.9 dev c0 table 100001",
            "default (IPv4) via 192.0.2.1 dev c0 table 100001",
        ];
        wait_for("routes", || (routes("c0") == expected).then_some(()));
        let expected = [
            "3200: from 192.0.2.0/24 lookup 100001",
            "3200: to 192.0.2.0/24 lookup 100001",
        ];
        wait_for("rules", || (rules() == expected).then_some(()));
        let servers = || host.resolv().servers().unwrap_or_default();
        wait_for("a name server", || servers().first().cloned());
        assert_eq!(servers()[0].as_str(), "192.0.2.53");
        // Started again, and by another helper: the same process goes on.
        let process = host.process("c0", "v4");
        host.start("c0", &client(V4, TABLE, true));
        assert_eq!(host.process("c0", "v4"), process);
        host.stop("c0", V4);
        host.stop("c0", V4);
        assert!(!process.is_alive() && host.clients.running().is_empty());
        assert!(passing("c0", V4).is_empty() && routes("c0").is_empty() && rules().is_empty());
        assert!(servers().is_empty());
        let kept = common::link("c0").addresses;
        assert!(
            kept.iter()
                .any(|it| it.cidr.to_string() == "203.0.113.7/24"),
            "a lasting address is not the client's: {kept:?}"
        );
        common::reap();
        drop(peer);
    });
}

#[test]
fn netns_clients_and_helpers_are_killed() {
    guard::in_network!(|| {
        need!();
        let mut host = Host::new();
        let peer = served(&host, &[]);
        host.start("c0", &client(V4, MAIN_TABLE, false));
        let address = leased(&host, "c0");
        wait_for("the default route", || {
            (routes("c0") == ["default (IPv4) via 192.0.2.1 dev c0"]).then_some(())
        });
        assert!(rules().is_empty(), "the main table needs none");
        let first = host.process("c0", "v4");
        // Another helper finds it.
        host.again();
        host.clients.heal();
        assert_eq!(host.process("c0", "v4"), first);
        assert_eq!(host.clients.running().len(), 1);
        // It is killed: the watch starts another, the address never goes.
        let watch = host.clients.watch().expect("a thread");
        first.signal(9).expect("killed");
        wait_for("its end", || (!first.is_alive()).then_some(()));
        let second = host.process("c0", "v4");
        assert_ne!(second, first);
        assert_eq!(leased(&host, "c0"), address);
        drop(watch);
        // Killed and nobody there: the next stop cleans up all the same.
        second.signal(9).expect("killed");
        wait_for("its end", || (!second.is_alive()).then_some(()));
        host.again();
        host.stop("c0", V4);
        assert!(passing("c0", V4).is_empty() && routes("c0").is_empty());
        common::reap();
        drop(peer);
    });
}

#[test]
fn netns_a_stop_that_was_cut_off_is_finished() {
    guard::in_network!(|| {
        need!();
        let mut host = Host::new();
        let peer = served(&host, &[]);
        host.start("c0", &client(V4, TABLE, false));
        leased(&host, "c0");
        wait_for("rules", || (rules().len() == 2).then_some(()));
        // As far as a helper came that was killed right after it took the wish back.
        let wish = host.folder.path().join("dhcp/c0.v4.wanted");
        std::fs::remove_file(wish).expect("removed");
        host.again();
        host.clients.heal();
        assert!(passing("c0", V4).is_empty() && routes("c0").is_empty() && rules().is_empty());
        common::reap();
        drop(peer);
    });
}

#[test]
fn netns_what_a_dead_client_left_holds_until_its_end() {
    guard::in_network!(|| {
        need!();
        let mut host = Host::new();
        let mut peer = served(&host, &[]);
        host.start("c0", &client(V4, TABLE, false));
        let address = leased(&host, "c0");
        wait_for("rules", || (rules().len() == 2).then_some(()));
        peer.end_server(0);
        let dead = host.process("c0", "v4");
        dead.signal(9).expect("killed");
        wait_for("its end", || (!dead.is_alive()).then_some(()));
        assert_eq!(passing("c0", V4), [address]);
        host.soon_over("c0.v4");
        host.again();
        // Its threads may hold its lock a moment longer than it shows as alive: the watch tries again, once may not do.
        let watch = host.clients.watch().expect("a thread");
        wait_for("the end of the lease", || {
            (passing("c0", V4).is_empty() && rules().is_empty()).then_some(())
        });
        drop(watch);
        host.end();
        drop(peer);
    });
}

#[test]
fn netns_a_client_in_the_place_of_another_leaves_nothing_of_it() {
    guard::in_network!(|| {
        need!();
        let host = Host::new();
        let peer = served(&host, &[]);
        host.start("c0", &client(V4, TABLE, false));
        let address = leased(&host, "c0");
        wait_for("rules", || (rules().len() == 2).then_some(()));
        host.start("c0", &client(V4, MAIN_TABLE, false));
        wait_for("the other's", || rules().is_empty().then_some(()));
        let expected = ["default (IPv4) via 192.0.2.1 dev c0"];
        wait_for("routes", || (routes("c0") == expected).then_some(()));
        assert_eq!(passing("c0", V4), [address]);
        host.end();
        drop(peer);
    });
}

#[test]
fn netns_a_dead_server_and_a_slow_one_keep_nobody_waiting() {
    guard::in_network!(|| {
        need!();
        let host = Host::new();
        let (mut quick, mut slow) = (Peer::new(), Peer::new());
        let folder = host.folder.path();
        for n in 0..10 {
            let peer = if n == 9 { &mut slow } else { &mut quick };
            let (here, there) = (format!("c{n}"), format!("s{n}"));
            peer.link(&here, &there);
            if n == 8 {
                // The dead one.
                continue;
            }
            give(peer, &there, &format!("10.{n}.0.1/24"));
        }
        // One process for eight networks: its answers are quick.
        let ranges: Vec<String> = (0..8)
            .map(|n| format!("--dhcp-range=10.{n}.0.100,10.{n}.0.150,2m"))
            .chain((1..8).map(|n| format!("--interface=s{n}")))
            .collect();
        let ranges: Vec<&str> = ranges.iter().map(String::as_str).collect();
        quick.dnsmasq(folder, "s0", &ranges);
        slow.dnsmasq(
            folder,
            "s9",
            &[
                "--dhcp-range=10.9.0.100,10.9.0.150,2m",
                "--dhcp-reply-delay=5",
            ],
        );
        for n in 0..10 {
            host.start(&format!("c{n}"), &client(V4, TABLE + n, false));
        }
        for n in 0..8 {
            let link = format!("c{n}");
            let address = leased(&host, &link);
            assert!(address.starts_with(&format!("10.{n}.0.1")), "{address}");
        }
        assert!(passing("c8", V4).is_empty(), "nobody answers there");
        let address = leased(&host, "c9");
        assert!(address.starts_with("10.9.0.1"), "{address}");
        assert_eq!(host.clients.running().len(), 10);
        host.end();
        assert!(rules().is_empty());
    });
}

#[test]
fn netns_a_lease_is_renewed_and_one_that_is_over_goes() {
    guard::in_network!(|| {
        need!();
        let host = Host::new();
        // Half of its two minutes would be long to wait: the server says when.
        let mut peer = served(
            &host,
            &["--dhcp-option=option:T1,4", "--dhcp-option=option:T2,100"],
        );
        host.start("c0", &client(V4, TABLE, false));
        leased(&host, "c0");
        let renewals = || host.log().matches(" a lease ").count();
        wait_for("a renewal", || (renewals() >= 3).then_some(()));
        wait_for("rules", || (rules().len() == 2).then_some(()));
        // The server dies: the lease holds for two minutes at most.
        peer.end_server(0);
        wait_for("the end of the lease", || {
            (passing("c0", V4).is_empty() && rules().is_empty() && routes("c0").is_empty())
                .then_some(())
        });
        host.end();
        drop(peer);
    });
}

#[test]
fn netns_an_interface_that_goes_takes_its_client_along_and_brings_it_back() {
    guard::in_network!(|| {
        need!();
        let host = Host::new();
        let peer = served(&host, &[]);
        host.start("c0", &client(V4, TABLE, false));
        leased(&host, "c0");
        let first = host.process("c0", "v4");
        let watch = host.clients.watch().expect("a thread");
        ip("link del c0");
        wait_for("its end", || (!first.is_alive()).then_some(()));
        drop(peer);
        let peer = served(&host, &[]);
        assert_ne!(host.process("c0", "v4"), first);
        leased(&host, "c0");
        drop(watch);
        host.end();
        drop(peer);
    });
}
