//! Real clients, real routers: DHCPv6 and advertisements.

mod common;

use common::{Host, TABLE, client, give, passing, routes, rules};
use net_model::{DhcpClient, Family, MAIN_TABLE};
use netns::{Peer, run, wait_for};

const V6: Family = Family::V6;

/// A host whose `c0` leads to `s0` of another network.
fn world(autoconf: u8) -> (Host, Peer) {
    let (host, peer) = (Host::new(), Peer::new());
    peer.link("c0", "s0");
    accept("c0", autoconf);
    (host, peer)
}

fn stateless(table: u32, dns: bool) -> DhcpClient {
    DhcpClient {
        stateless: true,
        ..client(V6, table, dns)
    }
}

/// Nothing of the client stays.
fn stop(host: &Host) {
    host.stop("c0", V6);
    assert!(passing("c0", V6).is_empty() && routes("c0").is_empty() && rules().is_empty());
}

/// As the executor sets it for networks with DHCPv6 or SLAAC that are not the default one.
fn accept(link: &str, autoconf: u8) {
    for (name, value) in [
        ("accept_ra_defrtr", 0),
        ("accept_ra", 2),
        ("autoconf", autoconf),
    ] {
        let path = format!("/proc/sys/net/ipv6/conf/{link}/{name}");
        std::fs::write(path, value.to_string()).expect("a sysctl");
    }
}

fn gateway(peer: &Peer) -> String {
    let text = wait_for("the router's address", || {
        let text = peer.run("ip -6 -o address show dev s0 scope link -tentative");
        Some(text).filter(|it| it.contains("fe80"))
    });
    let address = text.split_ascii_whitespace().nth(3).expect("an address");
    address.split('/').next().expect("an address").to_owned()
}

#[test]
fn netns_dhcpv6_with_its_router() {
    guard::in_network!(|| {
        need!();
        let (host, mut peer) = world(0);
        give(&peer, "s0", "2001:db8:1::1/64");
        let router = gateway(&peer);
        peer.dnsmasq(
            host.folder.path(),
            "s0",
            &[
                "--dhcp-range=2001:db8:1::100,2001:db8:1::1ff,64,2m",
                "--enable-ra",
                "--dhcp-option=option6:dns-server,[2001:db8:1::53]",
            ],
        );
        host.start("c0", &client(V6, TABLE, true));
        let address = wait_for("a lease", || passing("c0", V6).first().cloned());
        assert!(
            address.starts_with("2001:db8:1::1") && address.ends_with("/128"),
            "{address}"
        );
        wait_for("rules", || {
            let rules = rules();
            let all =
                ["from", "to"].map(|way| format!("3200: {way} 2001:db8:1::/64 lookup {TABLE}"));
            all.iter().all(|it| rules.contains(it)).then_some(())
        });
        let default = format!("default (IPv6) via {router} dev c0 table {TABLE}");
        wait_for("the way out", || {
            routes("c0").contains(&default).then_some(())
        });
        let servers = || host.resolv().servers().unwrap_or_default();
        wait_for("a name server", || {
            servers()
                .iter()
                .any(|it| it.as_str() == "2001:db8:1::53")
                .then_some(())
        });
        // What is for the network's own goes by its table.
        let asked = run("ip -6 route get 2001:db8:ffff::1 from 2001:db8:1::5 iif lo");
        assert!(
            asked.contains(&router) && asked.contains("table 100001"),
            "{asked}"
        );
        stop(&host);
        assert!(servers().is_empty());
        common::reap();
        drop(peer);
    });
}

#[test]
fn netns_what_a_dead_client_of_ipv6_left_is_taken_over_or_ends() {
    guard::in_network!(|| {
        need!();
        let (mut host, mut peer) = world(0);
        give(&peer, "s0", "2001:db8:1::1/64");
        let range = "--dhcp-range=2001:db8:1::100,2001:db8:1::1ff,64,2m";
        peer.dnsmasq(host.folder.path(), "s0", &[range]);
        host.start("c0", &client(V6, TABLE, false));
        let first = wait_for("a lease", || passing("c0", V6).first().cloned());
        wait_for("rules", || (rules().len() == 2).then_some(()));
        for server in [true, false] {
            if !server {
                peer.end_server(0);
            }
            let dead = host.process("c0", "v6");
            dead.signal(9).expect("killed");
            wait_for("its end", || (!dead.is_alive()).then_some(()));
            host.soon_over("c0.v6");
            let leases = host.log().matches(" a lease ").count();
            host.again();
            // Once may not do: its threads may hold its lock a moment longer than it shows as alive.
            let watch = host.clients.watch().expect("a thread");
            if server {
                wait_for("a lease again", || {
                    (host.log().matches(" a lease ").count() > leases).then_some(())
                });
                // The end that the dead one knew passes.
                std::thread::sleep(std::time::Duration::from_secs(4));
                assert_eq!(passing("c0", V6).as_slice(), std::slice::from_ref(&first));
                assert_eq!(rules().len(), 2);
            } else {
                wait_for("the end of the lease", || {
                    (passing("c0", V6).is_empty() && rules().is_empty()).then_some(())
                });
            }
            drop(watch);
        }
        host.end();
        drop(peer);
    });
}

#[test]
fn netns_a_renumbered_network_and_its_rules() {
    guard::in_network!(|| {
        need!();
        let (host, mut peer) = world(1);
        host.start("c0", &stateless(TABLE, false));
        for (n, server) in [(1, 0), (2, 1)] {
            give(&peer, "s0", &format!("2001:db8:{n}::1/64"));
            let range = format!("--dhcp-range=2001:db8:{n}::,ra-only,64,10m");
            let args = [range.as_str(), "--enable-ra", "--ra-param=s0,4,600"];
            assert_eq!(peer.dnsmasq(host.folder.path(), "s0", &args), server);
            let expected =
                ["from", "to"].map(|way| format!("3200: {way} 2001:db8:{n}::/64 lookup {TABLE}"));
            wait_for("the rules of this prefix, and of no other", || {
                (rules() == expected).then_some(())
            });
            wait_for("an address of this prefix, and of no other", || {
                let all = passing("c0", V6);
                let mine = all
                    .iter()
                    .all(|it| it.starts_with(&format!("2001:db8:{n}:")));
                (mine && !all.is_empty()).then_some(())
            });
            peer.end_server(server);
            peer.run(&format!("ip address del 2001:db8:{n}::1/64 dev s0"));
        }
        stop(&host);
        common::reap();
        drop(peer);
    });
}

#[test]
fn netns_the_default_network_leaves_routes_to_the_kernel() {
    guard::in_network!(|| {
        need!();
        let (host, mut peer) = world(1);
        host.start("c0", &stateless(MAIN_TABLE, true));
        give(&peer, "s0", "2001:db8:1::1/64");
        peer.dnsmasq(
            host.folder.path(),
            "s0",
            &[
                "--dhcp-range=2001:db8:1::,ra-only,64,10m",
                "--enable-ra",
                "--dhcp-option=option6:dns-server,[2001:db8:1::53]",
            ],
        );
        let servers = || host.resolv().servers().unwrap_or_default();
        wait_for("a name server", || servers().first().cloned());
        assert_eq!(servers()[0].as_str(), "2001:db8:1::53");
        assert!(rules().is_empty() && routes("c0").is_empty());
        host.end();
        assert!(servers().is_empty());
        drop(peer);
    });
}
