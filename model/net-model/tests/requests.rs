//! Requests: upstream's defaults and refusals (its unit tests, as facts), and what is refused here beyond them.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on ends"
)]

mod common;

use std::collections::BTreeMap;

use common::{FOREIGN, ifname, net, planned, run, tables, world};
use net_model::{
    Base, BridgeState, Config, Current, Desired, Kernel, LinkKind, NetError, Scope, canonicalize,
    request::{BondAttributes, NetworkAttributes, SetupRequest},
    validate::problems,
};
use serde_json::{Value, json};

fn request(networks: Value, bondings: Value) -> SetupRequest {
    let networks: BTreeMap<String, NetworkAttributes> = serde_json::from_value(networks).unwrap();
    let bondings: BTreeMap<String, BondAttributes> = serde_json::from_value(bondings).unwrap();
    SetupRequest {
        networks,
        bondings,
        ..SetupRequest::default()
    }
}

fn asked_on(
    current: &Current,
    running: &Config,
    networks: Value,
    bondings: Value,
) -> Result<Desired, NetError> {
    let desired = canonicalize(&request(networks, bondings), running, current)?;
    match problems(current, &desired).into_iter().next() {
        Some(error) => Err(error),
        None => Ok(desired),
    }
}

fn asked(networks: Value, bondings: Value) -> Result<Desired, NetError> {
    asked_on(&world(), &Config::default(), networks, bondings)
}

/// A host with these networks and bonds on it.
fn host(networks: Value, bondings: Value) -> (Current, Config) {
    let desired = asked(networks, bondings).unwrap();
    let all = tables(&[&desired.after], &world());
    let plan = planned(&world(), &desired, &all);
    let mut kernel = Kernel::new(world());
    run(&mut kernel, &plan);
    (kernel.into_state(), desired.after)
}

#[track_caller]
fn refused(result: Result<Desired, NetError>, code: u32, part: &str) {
    let error = result.map(|_| ()).unwrap_err();
    assert_eq!(error.code(), code, "{error}");
    assert!(error.to_string().contains(part), "{error}");
}

#[test]
fn what_engine_sends_is_understood() {
    let desired = asked(
        json!({
            "ovirtmgmt": {"nic": "eth3", "mtu": 1500, "bridged": "true", "STP": "no", "bootproto": "dhcp",
                "dhcpv6": false, "ipv6autoconf": true, "defaultRoute": true, "switch": "legacy"},
            "net10": {"bonding": "bond0", "vlan": "10", "mtu": "9000", "bridged": "false",
                "ipaddr": "198.51.100.7", "prefix": "24", "gateway": "198.51.100.1",
                "ipv6addr": "2001:0db8:0::7/64", "ipv6gateway": "::",
                "hostQos": {"out": {"ls": {"m2": 50}, "ul": {"m2": 8_000_000}}},
                "custom": {"bridge_opts": "x"}, "nameservers": []},
        }),
        json!({"bond0": {"nics": ["eth2", "eth1"], "options": "mode=802.3ad miimon=100", "switch": "legacy"}}),
    )
    .unwrap();
    let management = &desired.after.networks[&net("ovirtmgmt")];
    assert!(management.bridge.as_ref().is_some_and(|it| !it.stp));
    assert!(management.ipv4.dhcp && management.nameservers.is_empty());
    let ten = &desired.after.networks[&net("net10")];
    assert_eq!(ten.base, Some(Base::Bond(ifname("bond0"))));
    assert_eq!(ten.ipv4.addresses[0].to_string(), "198.51.100.7/24");
    assert_eq!(ten.ipv6.addresses[0].to_string(), "2001:db8::7/64");
    assert_eq!(ten.ipv6.gateway, None);
    assert_eq!(
        ten.custom["bridge_opts"], "x",
        "no bridge: not looked at, kept"
    );
    let bond = &desired.after.bonds[&ifname("bond0")];
    assert_eq!(bond.options.to_string(), "mode=4 miimon=100");
}

#[test]
fn defaults_are_upstream_s() {
    let desired = asked(json!({"n": {"nic": "eth1"}}), json!({})).unwrap();
    let network = &desired.after.networks[&net("n")];
    assert!(network.bridge.as_ref().is_some_and(|it| !it.stp));
    assert_eq!((network.mtu, network.default_route), (1500, false));
    let desired = asked(
        json!({"n": {"nic": "eth1", "ipaddr": "10.0.0.2", "netmask": "255.255.255.0", "defaultRoute": true}}),
        json!({}),
    );
    let network = &desired.unwrap().after.networks[&net("n")];
    assert_eq!(network.nameservers[0].as_str(), "192.0.2.53", "the host's");
}

#[test]
fn the_default_route_is_handed_over() {
    let (current, running) = host(
        json!({"old": {"nic": "eth1", "ipaddr": "10.0.0.2", "netmask": "24", "gateway": "10.0.0.1",
            "defaultRoute": true, "nameservers": ["10.0.0.53"]}}),
        json!({}),
    );
    let new = json!({"new": {"nic": "eth2", "bootproto": "dhcp", "defaultRoute": true}});
    let desired = asked_on(&current, &running, new, json!({})).unwrap();
    let old = &desired.after.networks[&net("old")];
    assert!(!old.default_route && old.nameservers.is_empty());
    assert!(
        desired.scope.network(&net("old")),
        "it is part of the change"
    );
    let two = json!({"a": {"nic": "eth1", "defaultRoute": true}, "b": {"nic": "eth2", "defaultRoute": "true"}});
    refused(
        asked(two, json!({})),
        21,
        "Only a single default route network",
    );
}

#[test]
fn removals_are_of_what_is_there() {
    refused(
        asked(json!({"n": {"remove": true}}), json!({})),
        27,
        "doesn't exist",
    );
    let (current, running) = host(
        json!({"n": {"bonding": "bond0"}}),
        json!({"bond0": {"nics": ["eth1"]}}),
    );
    let more = json!({"n": {"remove": "true", "nic": "eth1"}});
    refused(
        asked_on(&current, &running, more, json!({})),
        21,
        "Cannot specify any attribute",
    );
    let fine = json!({"n": {"remove": "true", "custom": {"a": "b"}}});
    let bonds = json!({"bond0": {"remove": true}});
    let desired = asked_on(&current, &running, fine, bonds.clone()).unwrap();
    assert_eq!(desired.after, Config::default());
    // Upstream answers ERR_USED_BOND here; so does this.
    refused(asked_on(&current, &running, json!({}), bonds), 31, "bond0");
}

#[test]
fn names_are_checked() {
    let bridge = |name: &str| asked(json!({name: {"nic": "eth1"}}), json!({}));
    assert!(bridge("fifteen-letters").is_ok());
    for name in [
        "sixteen--letters",
        "",
        "-abc",
        "a:b",
        "a.b",
        "a b",
        "a\tb",
        "a/b",
        "ümlaut-ümlauts",
        "a%d",
    ] {
        refused(bridge(name), 27, "");
    }
    for name in [
        "bond",
        "bond bad",
        "jamesbond007",
        "bond-1",
        "bond_of_16_bytes",
    ] {
        refused(
            asked(json!({}), json!({name: {"nics": ["eth1"]}})),
            25,
            "bad bond name",
        );
        refused(
            asked(json!({"n": {"bonding": name}}), json!({})),
            25,
            "bad bond name",
        );
    }
    assert!(asked(json!({}), json!({"bond_name": {"nics": ["eth1"]}})).is_ok());
}

#[test]
fn vlans_are_checked() {
    let vlan = |id: Value| asked(json!({"n": {"nic": "eth1", "vlan": id}}), json!({}));
    assert!(vlan(json!(1)).is_ok() && vlan(json!("4094")).is_ok() && vlan(json!("")).is_ok());
    for id in [
        json!(0),
        json!("0"),
        json!(4095),
        json!(-1),
        json!("bad id"),
        json!(5000),
    ] {
        refused(vlan(id), 26, "VLAN id");
    }
    refused(
        asked(json!({"n": {"vlan": 3}}), json!({})),
        26,
        "requires south",
    );
    refused(
        asked(
            json!({"n": {"nic": "eth9", "vlan": 99, "bridged": false}, "m": {"nic": "eth9", "vlan": 99}}),
            json!({}),
        ),
        21,
        "similar vlans",
    );
}

#[test]
fn cards_are_checked() {
    refused(
        asked(json!({"n": {"nic": "fakenic"}}), json!({})),
        23,
        "does not exist",
    );
    refused(
        asked(json!({"n": {"nic": "vnet0"}}), json!({})),
        23,
        "a tun of this name",
    );
    refused(
        asked(json!({"n": {"bonding": "bond7"}}), json!({})),
        25,
        "does not exist",
    );
    refused(
        asked(json!({"n": {"nic": "eth1", "bonding": "bond7"}}), json!({})),
        21,
        "either",
    );
    refused(
        asked(json!({"n": {"bridged": false}}), json!({})),
        21,
        "southbound",
    );
    let twice = json!({"a": {"nic": "eth1"}, "b": {"nic": "eth1", "bridged": false}});
    refused(asked(twice, json!({})), 21, "multiple networks");
    let both = json!({"n": {"nic": "eth1"}});
    refused(
        asked(both, json!({"bond0": {"nics": ["eth1", "eth2"]}})),
        24,
        "eth1",
    );
    let bonds = json!({"bond0": {"nics": ["eth1"]}, "bond1": {"nics": ["eth1", "eth2"]}});
    refused(asked(json!({}), bonds), 24, "eth1");
    refused(
        asked(json!({}), json!({"bond0": {"nics": ["eth9"]}})),
        24,
        "eth9.99",
    );
    let mut current = world();
    current.links.get_mut("eth1").unwrap().master = Some(ifname("br-ext"));
    let used = asked_on(
        &current,
        &Config::default(),
        json!({"n": {"nic": "eth1"}}),
        json!({}),
    );
    refused(used, 24, "br-ext");
}

#[test]
fn bonds_are_checked() {
    let bond = |attributes: Value| asked(json!({}), json!({"bond0": attributes}));
    refused(bond(json!({"nics": []})), 21, "Must specify nics");
    refused(bond(json!({})), 21, "Must specify nics");
    refused(bond(json!({"nics": ["eth1", "fakenic"]})), 23, "fakenic");
    assert!(bond(json!({"nics": ["eth1", "eth1"]})).is_ok());
    for (options, part) in [
        ("mode=4 foo=1", "not a valid bonding option"),
        ("mode=7", "no mode"),
        ("mode", "Error parsing"),
        ("mode=1 lacp_rate=1", "no option lacp_rate"),
        ("mode=4 primary=eth1", "no option primary"),
        ("mode=4 arp_interval=100", "no option arp_interval"),
        ("mode=4 lacp_rate=quick", "cannot be"),
        ("miimon=-1", "cannot be"),
        (
            "mode=1 miimon=100 arp_interval=100 arp_ip_target=10.0.0.1",
            "either miimon or",
        ),
        ("mode=1 arp_interval=100", "needs arp_ip_target"),
        (
            "mode=1 arp_interval=1 arp_ip_target=10.0.0.256",
            "cannot be",
        ),
        ("updelay=100", "need miimon"),
        ("mode=1 peer_notif_delay=100", "need miimon"),
        ("mode=1 miimon=100 primary=eth5", "none of its nics"),
    ] {
        refused(
            bond(json!({"nics": ["eth1"], "options": options})),
            25,
            part,
        );
    }
    let ovs = json!({"nics": ["eth1"], "switch": "ovs"});
    refused(bond(ovs), 32, "not built yet");
    refused(
        bond(json!({"nics": ["eth1"], "hwaddr": "01:00:5e:00:00:01"})),
        21,
        "hardware address",
    );
}

/// The kernel keeps a delay as so many times miimon, rounded down: what it would make something else of is refused before.
#[test]
fn delays_of_bonds_are_multiples_of_miimon() {
    let bond = |options: &str| {
        let attributes = json!({"nics": ["eth1"], "options": options});
        asked(json!({}), json!({"bond0": attributes}))
    };
    for (options, part) in [
        (
            "mode=1 miimon=100 updelay=250",
            "bond0: updelay of a bond is a multiple of its miimon (100 ms): 200 or 300, not 250",
        ),
        (
            "mode=4 downdelay=99 miimon=100",
            "downdelay of a bond is a multiple of its miimon (100 ms): 0 or 100, not 99",
        ),
        (
            "mode=1 miimon=100 updelay=200 downdelay=1001",
            "1000 or 1100, not 1001",
        ),
        ("mode=1 miimon=7 peer_notif_delay=15", "peer_notif_delay"),
        // No multiple above is a number of milliseconds to the kernel.
        (
            "mode=1 miimon=2147483646 updelay=2147483647",
            "2147483646, not",
        ),
        ("mode=1 miimon=70001 peer_notif_delay=299999", "280004, not"),
    ] {
        refused(bond(options), 25, part);
    }
    for good in [
        "mode=1 miimon=100 updelay=200 downdelay=100 peer_notif_delay=300",
        "mode=1 miimon=100 updelay=0",
        "mode=1 arp_interval=100 arp_ip_target=192.0.2.1 updelay=0 downdelay=0",
        "mode=4 miimon=1 updelay=31",
    ] {
        assert!(bond(good).is_ok(), "{good}");
    }
}

#[test]
fn addresses_are_checked() {
    let four = |ip: &str, mask: &str, more: Value| {
        let mut it = json!({"nic": "eth1", "ipaddr": ip, "netmask": mask});
        it.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        asked(json!({"n": it}), json!({}))
    };
    assert!(four("10.0.0.2", "255.255.255.0", json!({"gateway": "10.0.0.1"})).is_ok());
    assert!(
        four("10.0.0.2", "32", json!({"gateway": "10.9.9.1"})).is_ok(),
        "a provider's /32"
    );
    for (ip, mask, more) in [
        ("10.10.10.10.10", "255.255.255.0", json!({})),
        ("10.10.10.10", "355.255.255.0", json!({})),
        ("10.10.10.10", "255.0.255.0", json!({})),
        ("10.10.10.10", "33", json!({})),
        ("10.10.10.10", "", json!({})),
        ("", "255.255.255.0", json!({})),
        ("10.10.10.10", "255.255.255.0", json!({"gateway": "abcdef"})),
        (
            "10.10.10.10",
            "255.255.255.0",
            json!({"gateway": "10.10.10.10"}),
        ),
        ("10.10.10.10", "255.255.255.0", json!({"bootproto": "dhcp"})),
        ("10.10.10.0", "24", json!({})),
        ("10.10.10.255", "24", json!({})),
        ("224.0.0.1", "24", json!({})),
        ("127.0.0.2", "8", json!({})),
        ("10.0.0.2", "24", json!({"ipv4addrs": ["10.0.0.3/24"]})),
        (
            "10.0.0.2",
            "24",
            json!({"ipv4addrs": ["10.0.0.2/24", "10.0.0.2/16"]}),
        ),
        ("10.0.0.2", "24", json!({"ipv6addr": "::ffff:10.0.0.1/96"})),
        ("10.0.0.2", "24", json!({"ipv6addr": "2001:db8::1/129"})),
        ("10.0.0.2", "24", json!({"ipv6addr": "10.0.0.2/24"})),
        ("10.0.0.2", "24", json!({"ipv6gateway": "2001:db8::1"})),
        (
            "10.0.0.2",
            "24",
            json!({"defaultRoute": true, "nameservers": ["a.8.8.8"]}),
        ),
        (
            "10.0.0.2",
            "24",
            json!({"defaultRoute": true, "nameservers": ["2001:bla::1"]}),
        ),
        ("203.0.113.9", "24", json!({})),
    ] {
        refused(four(ip, mask, more), 22, "");
    }
    let servers = json!({"nameservers": ["8.8.8.8"]});
    refused(four("10.0.0.2", "24", servers), 21, "default host network");
    refused(
        four("10.0.0.2", "24", json!({"prefix": 24})),
        21,
        "Both PREFIX and NETMASK",
    );
    let same = json!({"a": {"nic": "eth1", "ipaddr": "10.0.0.2", "netmask": "24"}, "b": {"nic": "eth2", "ipaddr": "10.0.0.2", "netmask": "16"}});
    refused(asked(same, json!({})), 22, "the same address");
    let gateway = json!({"n": {"nic": "eth1", "gateway": "10.0.0.1"}});
    refused(asked(gateway, json!({})), 22, "without ip address");
}

#[test]
fn routes_are_checked() {
    let route = |routes: Value, more: Value| {
        let mut it =
            json!({"nic": "eth1", "ipaddr": "10.0.0.2", "netmask": "24", "routes": routes});
        it.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        asked(json!({"n": it}), json!({}))
    };
    let good = json!([
        {"destination": "10.9.0.0/16", "via": "10.0.0.1", "metric": 7, "table": "40"},
        {"destination": "10.8.0.0/16", "via": "10.7.0.1", "onlink": true, "src": "10.0.0.2", "mtu": 1400},
        {"destination": "10.6.0.0/16", "type": "blackhole"},
        {"destination": "2001:db8:9::/48", "via": "fe80::1"},
    ]);
    assert!(route(good, json!({})).is_ok());
    let to = |destination: &str, via: &str| json!([{"destination": destination, "via": via}]);
    for routes in [
        to("10.9.0.0/16", "10.7.0.1"),
        to("10.9.0.0/16", "2001:db8::1"),
        to("10.9.0.1/16", "10.0.0.1"),
        to("10.9.0.0/33", "10.0.0.1"),
        to("224.0.0.0/4", "10.0.0.1"),
        to("10.9.0.0/16", "10.0.0.2"),
        json!([{"destination": "10.9.0.0/16", "via": "10.0.0.1"}, {"destination": "10.9.0.0/16", "via": "10.0.0.3"}]),
        json!([{"destination": "10.9.0.0/16", "src": "10.0.0.3"}]),
    ] {
        refused(route(routes, json!({})), 22, "");
    }
    for table in [0, 253, 255, 100_001] {
        let routes = json!([{"destination": "10.9.0.0/16", "via": "10.0.0.1", "table": table}]);
        refused(route(routes, json!({})), 21, "table");
    }
    let routes = json!([{"destination": "default", "via": "10.0.0.1"}]);
    refused(
        route(routes, json!({"gateway": "10.0.0.1", "defaultRoute": true})),
        21,
        "twice",
    );
    let routes = json!([{"destination": "10.9.0.0/16", "via": "10.0.0.1", "type": "blackhole"}]);
    refused(route(routes, json!({})), 21, "no next hop");
}

#[test]
fn mtus_and_options_of_bridges_are_checked() {
    let network = |more: Value| {
        let mut it = json!({"nic": "eth1"});
        it.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        asked(json!({"n": it}), json!({}))
    };
    assert!(network(json!({"mtu": 9216})).is_ok());
    for mtu in [json!(67), json!(65_536), json!("x"), json!(-1)] {
        refused(network(json!({"mtu": mtu})), 21, "no MTU");
    }
    refused(network(json!({"mtu": 9217})), 21, "at most 9216");
    refused(
        network(json!({"mtu": 1000, "ipv6autoconf": true})),
        21,
        "1280",
    );
    refused(network(json!({"stp": "maybe"})), 21, "STP value");
    refused(network(json!({"bootproto": "bootp"})), 21, "bootproto");
    for options in [
        "nope=1",
        "forward_delay",
        "forward_delay=4000",
        "vlan_filtering=2",
    ] {
        refused(
            network(json!({"custom": {"bridge_opts": options}})),
            21,
            "bridge_opts",
        );
    }
    refused(network(json!({"switch": "ovs"})), 32, "not built yet");
    refused(
        network(json!({"custom": {"ovs": "true"}})),
        32,
        "not built yet",
    );
    refused(network(json!({"switch": "hub"})), 21, "no switch type");
    refused(
        network(json!({"hostQos": {"out": {"ul": {"m2": 1}}}})),
        21,
        "link share",
    );
}

#[test]
fn foreign_bridges_are_not_taken() {
    let bridge = json!({"br-ext": {"nic": "eth1"}});
    refused(asked(bridge, json!({})), 28, "not ours");
    refused(
        asked(json!({"eth2": {"nic": "eth1"}}), json!({})),
        27,
        "a nic of this name",
    );
    let (mut current, running) = host(json!({"n": {"nic": "eth1"}}), json!({}));
    current.links.get_mut("vnet0").unwrap().master = Some(ifname("n"));
    let remove = json!({"n": {"remove": true}});
    refused(asked_on(&current, &running, remove, json!({})), 28, "vnet0");
    let edit = json!({"n": {"nic": "eth2", "mtu": 9000}});
    let desired = asked_on(&current, &running, edit, json!({})).unwrap();
    let all = tables(&[], &current);
    let plan = planned(&current, &desired, &all);
    assert_eq!(
        plan.result.links["vnet0"].master,
        Some(ifname("n")),
        "a guest keeps its bridge"
    );
}

#[test]
fn a_foreign_bond_is_taken_over_as_it_is() {
    let (mut current, _) = host(
        json!({}),
        json!({"bond0": {"nics": ["eth1", "eth2"], "options": "mode=4 lacp_rate=1"}}),
    );
    let LinkKind::Bond(state) = &mut current.links.get_mut("bond0").unwrap().kind else {
        panic!("it is a bond");
    };
    state
        .options
        .insert("mii_status".to_owned(), "up".to_owned());
    let network = json!({"n": {"bonding": "bond0", "bridged": false}});
    let desired = asked_on(&current, &Config::default(), network, json!({})).unwrap();
    let bond = &desired.after.bonds[&ifname("bond0")];
    assert_eq!(bond.options.to_string(), "mode=4 lacp_rate=1");
    assert_eq!(bond.slaves.len(), 2);
    assert!(bond.hwaddr.is_some());
    let plan = planned(&current, &desired, &tables(&[], &current));
    let touches = |it: &&net_model::Planned| {
        it.step
            .device()
            .is_some_and(|it| it.as_str().starts_with("eth"))
    };
    assert_eq!(plan.steps.iter().filter(touches).count(), 0, "{plan}");
}

#[test]
fn the_scope_is_what_was_asked_for() {
    let (mut current, running) = host(
        json!({"a": {"nic": "eth1"}, "b": {"nic": "eth2", "ipaddr": "10.0.0.2", "netmask": "24"}}),
        json!({}),
    );
    current.links.get_mut("b").unwrap().addresses.clear();
    let again = asked_on(&current, &running, json!({"a": {"nic": "eth1"}}), json!({})).unwrap();
    assert!(planned(&current, &again, &tables(&[], &current)).is_empty());
    let all = Desired {
        scope: Scope::All,
        ..again
    };
    let plan = planned(&current, &all, &tables(&[], &current));
    assert_eq!(
        plan.to_string(),
        "addresses b:\n  + b: address 10.0.0.2/24\n"
    );
}

#[test]
fn names_of_files_cannot_be_smuggled_between_processes() {
    let step = |text: &str| serde_json::from_str::<net_model::Step>(text);
    let bridge = |option: &str| {
        step(&format!(
            r#"{{"set_bridge_option":{{"bridge":"n","option":"{option}","value":"1"}}}}"#
        ))
    };
    assert!(bridge("stp_state").is_ok() && bridge("forward_delay").is_ok());
    assert!(bridge("../../../../etc/passwd").is_err());
    let bond = r#"{"set_bond_option":{"bond":"bond0","option":"../mtu","value":"1"}}"#;
    assert!(step(bond).is_err());
    assert!(step(r#"{"set_up":{"link":"../x"}}"#).is_err());
    let config = r#"{"stp":false,"options":{"../x":"1"}}"#;
    assert!(serde_json::from_str::<net_model::BridgeConfig>(config).is_err());
}

#[test]
fn strangers_are_told_and_kept() {
    let it = request(
        json!({"n": {"nic": "eth1", "colour": "red"}}),
        json!({"bond0": {"nics": ["eth2"], "speed": 1}}),
    );
    assert_eq!(
        it.strangers(),
        ["networks.n.colour", "bondings.bond0.speed"]
    );
    let desired = canonicalize(&it, &Config::default(), &world()).unwrap();
    assert_eq!(desired.after.networks[&net("n")].extra["colour"], "red");
}

#[test]
fn what_belongs_to_others_is_named_in_the_world() {
    let world = world();
    assert!(FOREIGN.iter().all(|it| world.links.contains_key(*it)));
    assert_eq!(
        world.links["br-ext"].kind,
        LinkKind::Bridge(BridgeState::default())
    );
}
