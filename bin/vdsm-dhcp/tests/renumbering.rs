//! How soon a network that is given another prefix goes by it: from the router's word on to the rules. The router is this test:
//! it says what it says at a moment that is known.

mod common;

use std::{
    net::{Ipv6Addr, SocketAddrV6},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use common::{Host, TABLE, client, passing, routes, rules};
use net_model::{DhcpClient, Family};
use netns::{Peer, eventually, wait_for};
use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket, sockopt};

const V6: Family = Family::V6;
/// As it is asked for.
const SOON: Duration = Duration::from_secs(5);
const TRIES: u8 = 8;

/// Somebody who advertises a prefix on a link.
struct Router {
    socket: OwnedFd,
    everybody: SocketAddrV6,
}

impl Router {
    fn new(peer: &Peer, card: &str) -> Self {
        wait_for("the router's address", || {
            let all = peer.run(&format!(
                "ip -6 -o address show dev {card} scope link -tentative"
            ));
            all.contains("fe80").then_some(())
        });
        let told = peer.run(&format!("ip -o link show dev {card}"));
        let index = told.split(':').next().unwrap_or_default();
        let index = index.trim().parse().expect("an index");
        let socket = peer.within(|| {
            let icmp = Some(ipproto::ICMPV6);
            let socket = socket(AddressFamily::INET6, SocketType::RAW, icmp).expect("a socket");
            sockopt::set_ipv6_multicast_hops(&socket, 255).expect("the hop limit");
            socket
        });
        let all = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        let everybody = SocketAddrV6::new(all, 0, 0, index);
        Self { socket, everybody }
    }

    /// A router for half an hour; `2001:db8:N::/64` is on the link, for addresses, for ten minutes.
    fn advertise(&self, n: u8) {
        let mut told = vec![134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
        told.extend([3, 4, 64, 0xc0, 0, 0, 2, 88, 0, 0, 2, 88, 0, 0, 0, 0]);
        told.extend([0x20, 0x01, 0x0d, 0xb8, 0, n, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        sendto(&self.socket, &told, SendFlags::empty(), &self.everybody).expect("sent");
    }
}

fn expected(n: u8) -> [String; 2] {
    ["from", "to"].map(|way| format!("3200: {way} 2001:db8:{n}::/64 lookup {TABLE}"))
}

#[test]
fn netns_a_new_prefix_has_its_rules_soon_and_the_old_one_has_none() {
    guard::in_network!(|| {
        need!();
        let (host, peer) = (Host::new(), Peer::new());
        peer.link("c0", "s0");
        for (name, value) in [("accept_ra_defrtr", 0), ("accept_ra", 2), ("autoconf", 1)] {
            let path = format!("/proc/sys/net/ipv6/conf/c0/{name}");
            std::fs::write(path, value.to_string()).expect("a sysctl");
        }
        let router = Router::new(&peer, "s0");
        let stateless = DhcpClient {
            stateless: true,
            ..client(V6, TABLE, false)
        };
        host.start("c0", &stateless);
        eventually("the first prefix", || {
            router.advertise(1);
            rules() == expected(1)
        });
        let mut took: Vec<Duration> = (2..2 + TRIES)
            .map(|n| {
                let began = Instant::now();
                router.advertise(n);
                // These, and no others: the one before is over.
                eventually("the rules of the new prefix", || rules() == expected(n));
                began.elapsed()
            })
            .collect();
        took.sort_unstable();
        println!("figure: from an advertisement to its rules: {took:?}");
        // A machine that stands still for a while makes some late, not half of them.
        assert!(
            took.iter()
                .take(usize::from(TRIES / 2))
                .all(|it| *it < SOON)
        );
        let last = format!("2001:db8:{}:", 1 + TRIES);
        eventually("an address of this prefix, and of no other", || {
            let all = passing("c0", V6);
            !all.is_empty() && all.iter().all(|it| it.starts_with(&last))
        });
        host.stop("c0", V6);
        assert!(passing("c0", V6).is_empty() && routes("c0").is_empty() && rules().is_empty());
        common::reap();
    });
}
