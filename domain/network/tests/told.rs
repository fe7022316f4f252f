//! What is told of networks that Engine's own reading makes something of: gateways of IPv6, what VLANs are on.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: what fails here is a failed test"
)]

use std::collections::BTreeMap;

use net_model::{
    Address, Config, Current, DhcpClient, Family, IfName, Ip, Link, LinkKind, MAIN_TABLE, Mac,
    NetName, Network, Route,
};
use network::{NetworkInfo, RootState, Shown, View};

fn name(text: &str) -> IfName {
    IfName::new(text).unwrap()
}

fn with(links: &[(&str, LinkKind)]) -> Current {
    let links = links.iter();
    Current {
        links: links
            .map(|(text, kind)| (name(text), Link::new(kind.clone(), Mac::default())))
            .collect(),
        ipv6: true,
        ..Current::default()
    }
}

fn told(current: &Current, config: &Config, shown: &Shown) -> NetworkInfo {
    NetworkInfo::of(&View {
        current,
        config,
        root: None,
        figures: &BTreeMap::new(),
        shown,
    })
}

fn router(table: u32) -> Route {
    let gateway = "fe80::1".parse().unwrap();
    Route::ours(Some(name("eth0")), table, Family::V6.any(), Some(gateway))
}

/// Engine's `IsDefaultRouteOnInterfacePredicate` knows no other word for a default route of IPv6 than a gateway.
#[test]
fn a_router_of_a_network_without_the_default_route_is_no_gateway_to_engine() {
    let mut current = with(&[("eth0", LinkKind::Nic)]);
    current.routes.insert(router(100_001));
    let network = Network {
        base: Some(net_model::Base::Nic(name("eth0"))),
        ipv6: Ip {
            autoconf: true,
            ..Ip::default()
        },
        ..Network::default()
    };
    let config = Config {
        networks: [(NetName::new("blue").unwrap(), network)].into(),
        ..Config::default()
    };
    let gateway = |current: &Current| {
        let info = told(current, &config, &Shown::default());
        assert_eq!(
            info.nics["eth0"].ip.ipv6_gateway,
            info.networks["blue"].ip.ipv6_gateway
        );
        info.networks["blue"].ip.ipv6_gateway
    };
    assert_eq!(gateway(&current), None);
    current.routes.insert(router(MAIN_TABLE));
    assert_eq!(gateway(&current), Some("fe80::1".parse().unwrap()));
}

fn on(parent: &str, id: u16) -> LinkKind {
    LinkKind::Vlan {
        parent: name(parent),
        id,
    }
}

/// Engine's `setVlanSpeeds` takes the base of every VLAN that it is told of out of the cards, bonds and VLANs, and fails where it is
/// none of them: with that, all capabilities of the host.
#[test]
fn vlans_are_told_with_what_they_are_on() {
    let current = with(&[
        ("eth0", LinkKind::Nic),
        ("eth1", LinkKind::Nic),
        ("br0", LinkKind::Bridge(net_model::BridgeState::default())),
        ("tun0", LinkKind::Other("tun".to_owned())),
        ("eth0.5", on("eth0", 5)),
        ("eth0.5.6", on("eth0.5", 6)),
        ("br0.7", on("br0", 7)),
        ("br0.7.8", on("br0.7", 8)),
        ("tun0.9", on("tun0", 9)),
        ("gone.1", on("gone", 1)),
        // Its base is in another network; here the number is its own.
        ("itself", on("itself", 1)),
        ("eth1.2", on("eth1", 2)),
        ("hid.3", on("eth0", 3)),
        ("hid.3.4", on("hid.3", 4)),
    ]);
    let shown = Shown {
        hidden_nics: vec!["eth1".to_owned()],
        hidden_vlans: vec!["hid.?".to_owned()],
        ..Shown::default()
    };
    let info = told(&current, &Config::default(), &shown);
    let vlans: Vec<&str> = info.vlans.keys().map(String::as_str).collect();
    assert_eq!(vlans, ["eth0.5", "eth0.5.6"]);
}

/// Engine's boot protocols of IPv6: `AUTOCONF` is not `POLY_DHCP_AUTOCONF`, though a client of ours hears routers for both.
#[test]
fn who_only_hears_routers_is_no_dhcp() {
    let current = with(&[("eth0", LinkKind::Nic)]);
    let dhcpv6 = |dhcp: bool| {
        let network = Network {
            base: Some(net_model::Base::Nic(name("eth0"))),
            ipv6: Ip {
                autoconf: true,
                dhcp,
                ..Ip::default()
            },
            ..Network::default()
        };
        let config = Config {
            networks: [(NetName::new("blue").unwrap(), network)].into(),
            ..Config::default()
        };
        let client = DhcpClient {
            family: Family::V6,
            table: MAIN_TABLE,
            dns: false,
            stateless: !dhcp,
        };
        let root = RootState {
            clients: [(name("eth0"), vec![client])].into(),
            ..RootState::default()
        };
        let info = NetworkInfo::of(&View {
            current: &current,
            config: &config,
            root: Some(&root),
            figures: &BTreeMap::new(),
            shown: &Shown::default(),
        });
        info.networks["blue"].ip.dhcpv6
    };
    assert!(dhcpv6(true) && !dhcpv6(false));
}

/// Engine holds the first address against what it asked for: a network whose address is not used is out of sync.
#[test]
fn an_address_that_another_host_has_is_not_told() {
    let mut current = with(&[("eth0", LinkKind::Nic)]);
    let address = |text: &str, dad_failed| Address {
        dad_failed,
        tentative: true,
        ..Address::lasting(text.parse().unwrap())
    };
    let link = current.links.get_mut(&name("eth0")).unwrap();
    link.addresses = vec![
        address("2001:db8::2/64", true),
        address("2001:db8::3/64", false),
    ];
    let network = Network {
        base: Some(net_model::Base::Nic(name("eth0"))),
        ipv6: Ip {
            addresses: vec!["2001:db8::2/64".parse().unwrap()],
            ..Ip::default()
        },
        ..Network::default()
    };
    let config = Config {
        networks: [(NetName::new("blue").unwrap(), network)].into(),
        ..Config::default()
    };
    let info = told(&current, &config, &Shown::default());
    let left = ["2001:db8::3/64".parse().unwrap()];
    assert_eq!(info.networks["blue"].ip.ipv6, left);
    assert_eq!(info.nics["eth0"].ip.ipv6, left);
}
