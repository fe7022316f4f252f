//! Does it carry packets? A host with two networks, a router that lets each network's packets pass on its own side
//! alone, a client behind it.
//!
//! ```text
//! host: one (bridge on eth0) 10.1.0.2 ── r0 ┐
//!                                           router r2 ── c0 client: 10.9.0.2, 10.77.0.2 behind it
//!       eth1                 10.2.0.2 ── r1 ┘
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that cannot go on ends"
)]

mod common;

use std::{
    fs,
    io::ErrorKind,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use common::{Host, compare::differences, ifname, kernel_defaults, soon};
use net_apply::Machine as _;
use net_model::{
    Base, BridgeConfig, Config, Current, Desired, Ip, NetName, Network, Scope, StaticRoute, Step,
    Tables, plan, validate,
};
use netns::{Peer, eventually, ip};

struct Lan {
    router: Peer,
    client: Peer,
}

fn lan() -> Lan {
    let (router, client) = (Peer::new(), Peer::new());
    let pid = router.pid();
    ip(&format!(
        "link add eth0 type veth peer name r0 netns {pid}
         link add eth1 type veth peer name r1 netns {pid}
         link set eth0 up
         link set eth1 up\n"
    ));
    router.within(|| {
        for family in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            fs::write(format!("/proc/sys/net/{family}"), "1").unwrap();
        }
    });
    router.ip(&format!(
        "link add r2 type veth peer name c0 netns {}
         link set r0 up
         link set r1 up
         link set r2 up
         addr add 10.1.0.1/24 dev r0
         addr add 10.2.0.1/24 dev r1
         addr add 10.9.0.1/24 dev r2
         addr add fd01::1/64 dev r0 nodad
         addr add fd02::1/64 dev r1 nodad
         addr add fd09::1/64 dev r2 nodad
         route add 10.77.0.0/24 via 10.9.0.2
         rule add iif r0 from 10.2.0.0/24 prohibit
         rule add iif r1 from 10.1.0.0/24 prohibit
         rule add iif r0 to 10.77.0.0/24 prohibit\n",
        client.pid()
    ));
    router.ip6(
        "rule add iif r0 from fd02::/64 prohibit
         rule add iif r1 from fd01::/64 prohibit\n",
    );
    client.ip("link set c0 up
         addr add 10.9.0.2/24 dev c0
         addr add 10.77.0.2/24 dev lo
         addr add fd09::2/64 dev c0 nodad
         route add default via 10.9.0.1
         route add default via fd09::1\n");
    Lan { router, client }
}

fn ip_of(address: &str, gateway: &str) -> Ip {
    Ip {
        addresses: vec![address.parse().unwrap()],
        gateway: Some(gateway.parse().unwrap()),
        ..Ip::default()
    }
}

fn net(name: &str) -> NetName {
    NetName::new(name).unwrap()
}

fn two_networks() -> Config {
    let one = Network {
        base: Some(Base::Nic(ifname("eth0"))),
        bridge: Some(BridgeConfig::default()),
        default_route: true,
        ipv4: ip_of("10.1.0.2/24", "10.1.0.1"),
        ipv6: ip_of("fd01::2/64", "fd01::1"),
        ..Network::default()
    };
    let far = StaticRoute {
        destination: "10.77.0.0/24".parse().unwrap(),
        via: Some("10.2.0.1".parse().unwrap()),
        metric: None,
        table: None,
        source: None,
        mtu: None,
        onlink: false,
        kind: net_model::RouteKind::Unicast,
    };
    let two = Network {
        base: Some(Base::Nic(ifname("eth1"))),
        ipv4: ip_of("10.2.0.2/24", "10.2.0.1"),
        ipv6: ip_of("fd02::2/64", "fd02::1"),
        routes: vec![far],
        ..Network::default()
    };
    Config {
        networks: [(net("one"), one), (net("two"), two)].into(),
        ..Config::default()
    }
}

fn go(host: &Host, before: &Config, after: &Config, tables: &Tables) -> Current {
    let desired = Desired {
        before: before.clone(),
        after: after.clone(),
        scope: Scope::All,
    };
    let current = host.current();
    validate(&current, &desired).unwrap();
    let plan = plan(&current, &desired, tables).unwrap();
    host.machine.run(&plan.steps, soon()).unwrap();
    host.current()
}

/// Nobody listens there: a refusal is an answer, and has come all the way back.
fn answers(address: &str) -> bool {
    let address = SocketAddr::new(address.parse().unwrap(), 7);
    match TcpStream::connect_timeout(&address, Duration::from_secs(2)) {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::ConnectionRefused,
    }
}

#[test]
fn netns_what_came_in_by_a_network_goes_out_by_it() {
    guard::in_network!(|| {
        kernel_defaults();
        let lan = lan();
        let host = Host::new();
        let start = host.current();
        let config = two_networks();
        let mut tables = Tables::default();
        tables.allot(&config, &start.tables()).unwrap();
        let none = Config::default();
        let there = go(&host, &none, &config, &tables);
        for address in ["10.1.0.2", "10.2.0.2", "fd01::2", "fd02::2"] {
            let asks = || lan.client.within(|| answers(address));
            eventually(&format!("{address} answers the client"), asks);
        }
        for address in ["10.77.0.2", "10.9.0.2", "fd09::2"] {
            let asks = || answers(address);
            eventually(&format!("the host reaches {address}"), asks);
        }
        assert!(lan.router.within(|| answers("10.2.0.2")));
        // Without our rules the second network's answers take the first one's way and are lost: the test can fail.
        let rules = there.rules.iter();
        let rules: Vec<Step> = rules
            .map(|it| Step::RemoveRule { rule: it.clone() })
            .collect();
        assert_eq!(rules.len(), 8);
        host.steps(&rules).unwrap();
        assert!(!lan.client.within(|| answers("10.2.0.2")));
        assert!(!lan.client.within(|| answers("fd02::2")));
        assert!(lan.client.within(|| answers("10.1.0.2")));
        // They come back by the same plan, and all goes by the next.
        go(&host, &config, &config, &tables);
        let asks = || lan.client.within(|| answers("fd02::2"));
        eventually("the second network answers again", asks);
        let mut end = go(&host, &config, &none, &tables);
        for link in end.links.values_mut().filter_map(|it| it.ipv6.as_mut()) {
            // A card that is nobody's keeps what was said of routers and IPv6 to it.
            *link = net_model::Ipv6Settings::default();
        }
        let wrong = differences(&start, &end);
        assert!(wrong.is_empty(), "{wrong:#?}");
    });
}
