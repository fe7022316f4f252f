//! Networks as they go over the wire: what clients ask, what Engine's parser takes, and that Engine finds what it asked for.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test's helpers fail the test"
)]

use std::collections::BTreeMap;

use ::network::{Foreseen, LinkFigures, NetworkInfo, RootState, Shown, View};
use net_model::{
    Address, BondState, BridgeState, Cidr, Config, Current, IfName, Link, LinkKind, MAIN_TABLE,
    Mac, Nameserver, Route, Scope, Tables, canonicalize, plan,
    rates::Counters,
    request::{Loose, SetupRequest},
};
use observe::network::counters::{Duplex, Interface, NetworkStatistics, Statistics};
use schema::{Verb, VerbDecl, host::network::SetupNetworks};
use serde_json::{Value, json, value::to_raw_value};

use super::{network, setup};

/// One interface that moved something.
pub(super) fn counted() -> NetworkStatistics {
    let interface = Interface {
        kind: LinkKind::Nic,
        mac: Mac::default(),
        master: None,
        up: true,
        speed: 0,
        duplex: Duplex::Unknown,
        counters: Counters {
            rx_bytes: 861_066_207,
            tx_bytes: 2_062_074,
            rx_dropped: 3,
            tx_dropped: 5,
            rx_errors: 1,
            tx_errors: 2,
        },
    };
    let eth0 = Statistics {
        interface,
        rates: None,
    };
    NetworkStatistics {
        unix: 1_795_329_582.474,
        interfaces: BTreeMap::from([(name("eth0"), eth0)]),
        rx_dropped: 3,
        tx_dropped: 5,
    }
}

fn name(text: &str) -> IfName {
    IfName::new(text).expect("a name")
}

fn cidr(text: &str) -> Cidr {
    text.parse().expect("an address")
}

fn link(kind: LinkKind, addresses: &[&str]) -> Link {
    let mut link = Link::new(kind, "02:fc:00:00:00:01".parse().expect("a MAC"));
    let lasting = addresses.iter().map(|it| Address::lasting(cidr(it)));
    link.addresses = lasting.collect();
    link
}

fn default_route(device: &str, via: &str, table: u32) -> Route {
    let via = via.parse().expect("an address");
    let any = net_model::Family::of(via).any();
    Route::ours(Some(name(device)), table, any, Some(via))
}

/// A host with two cards.
fn cards() -> Current {
    let eth0 = link(
        LinkKind::Nic,
        &[
            "198.51.100.9/24",
            "192.0.2.2/24",
            "fd00::2/64",
            "fe80::1/64",
        ],
    );
    Current {
        links: [
            (name("eth0"), eth0),
            (name("eth1"), link(LinkKind::Nic, &[])),
            (name("lo"), link(LinkKind::Loopback, &["127.0.0.1/8"])),
        ]
        .into(),
        routes: [
            default_route("eth0", "192.0.2.1", MAIN_TABLE),
            default_route("eth0", "fd00::1", MAIN_TABLE),
        ]
        .into(),
        nameservers: vec!["192.0.2.53".parse::<Nameserver>().expect("an address")],
        ipv6: true,
        ..Current::default()
    }
}

fn told(current: &Current, config: &Config, root: Option<&RootState>) -> Value {
    let figures = LinkFigures {
        speed: 10_000,
        ..LinkFigures::default()
    };
    let shown = Shown {
        hidden_nics: vec!["w*".into()],
        hidden_bonds: vec!["bondh?d".into()],
        ..Shown::default()
    };
    let info = NetworkInfo::of(&View {
        current,
        config,
        root,
        figures: &BTreeMap::from([(name("eth1"), figures)]),
        shown: &shown,
    });
    serde_json::to_value(network::told(info)).expect("JSON")
}

/// Parts of an answer, each compared whole.
#[track_caller]
fn has(answer: &Value, expected: &Value) {
    for (key, value) in expected.as_object().expect("an object") {
        assert_eq!(answer.get(key), Some(value), "{key}");
    }
}

#[test]
fn a_card_with_the_address_beside_its_gateway() {
    let answer = told(&cards(), &Config::default(), None);
    let expected = json!({
        "hwaddr": "02:fc:00:00:00:01", "addr": "192.0.2.2", "netmask": "255.255.255.0",
        "ipv4addrs": ["198.51.100.9/24", "192.0.2.2/24"], "ipv6addrs": ["fd00::2/64"],
        "ipv6autoconf": false, "gateway": "192.0.2.1", "ipv6gateway": "fd00::1", "mtu": "1500",
        "ipv4defaultroute": true, "dhcpv4": false, "dhcpv6": false, "speed": 0,
    });
    assert_eq!(answer["nics"]["eth0"], expected);
    has(
        &answer,
        &json!({
            "nameservers": ["192.0.2.53"], "supportsIPv6": true, "netConfigDirty": "False",
            "networks": {}, "bridges": {}, "bondings": {}, "vlans": {},
        }),
    );
}

#[test]
fn a_card_without_addresses() {
    let answer = told(&cards(), &Config::default(), None);
    has(
        &answer["nics"]["eth1"],
        &json!({
            "addr": "", "netmask": "", "ipv4addrs": [], "ipv6addrs": [], "gateway": "",
            "ipv6gateway": "::", "ipv4defaultroute": false, "speed": 10_000,
        }),
    );
}

#[test]
fn leased_and_advertised_addresses_are_told() {
    let mut current = cards();
    let eth0 = current.links.get_mut(&name("eth0")).expect("a link");
    let leased = |text: &str| Address {
        dynamic: true,
        ..Address::lasting(cidr(text))
    };
    eth0.addresses = ["10.0.0.9/8", "fd00::9/128", "fd00::a/64"]
        .map(leased)
        .into();
    // The gateway is in no subnet of the card and known only to another table; the first address counts.
    current.routes = [default_route("eth0", "192.0.2.1", 1000)].into();
    has(
        &told(&current, &Config::default(), None)["nics"]["eth0"],
        &json!({
            "addr": "10.0.0.9", "netmask": "255.0.0.0", "gateway": "192.0.2.1",
            "ipv4defaultroute": false, "dhcpv4": true, "dhcpv6": true, "ipv6autoconf": true,
        }),
    );
}

#[test]
fn of_several_gateways_the_main_tables_counts() {
    let mut current = cards();
    current
        .routes
        .insert(default_route("eth0", "192.0.2.254", 1000));
    let of = |current: &Current| told(current, &Config::default(), None)["nics"]["eth0"].clone();
    has(
        &of(&current),
        &json!({"gateway": "192.0.2.1", "ipv4defaultroute": true}),
    );
    let second = Route {
        metric: 5,
        ..default_route("eth0", "192.0.2.253", MAIN_TABLE)
    };
    current.routes.insert(second);
    has(
        &of(&current),
        &json!({"gateway": "", "ipv4defaultroute": false}),
    );
}

fn bonded() -> Current {
    let options = [("mode", "4"), ("miimon", "100"), ("xmit_hash_policy", "2")];
    let options = options.map(|(k, v)| (k.to_owned(), v.to_owned()));
    let bond = LinkKind::Bond(BondState {
        options: options.into(),
        aggregator: Some(2),
        partner_mac: Some("02:00:00:00:00:77".parse().unwrap()),
        active_slave: None,
    });
    let mut port = link(LinkKind::Nic, &[]);
    port.master = Some(name("bond0"));
    port.permanent_mac = Some("02:00:00:00:00:55".parse().unwrap());
    port.aggregator = Some(2);
    let mut hidden_port = port.clone();
    hidden_port.master = Some(name("bondhid"));
    let parent = name("bond0");
    let fake = |kind: &str| link(LinkKind::Other(kind.to_owned()), &[]);
    let mut current = Current {
        links: [
            (name("bond0"), link(bond.clone(), &[])),
            (name("bondhid"), link(bond, &[])),
            (name("eth2"), port),
            (name("eth3"), hidden_port),
            (name("bond0.5"), link(LinkKind::Vlan { parent, id: 5 }, &[])),
            (name("wlan0"), link(LinkKind::Nic, &[])),
            (name("dummy_1"), fake("dummy")),
            (name("veth1"), fake("veth")),
            (name("vnet3"), fake("tun")),
            (
                name(";vdsmdummy;"),
                link(LinkKind::Bridge(BridgeState::default()), &[]),
            ),
        ]
        .into(),
        ..Current::default()
    };
    current.count_as_nics(&["dummy_*".to_owned(), "veth_*".to_owned()]);
    current
}

#[test]
fn interfaces_by_kind_and_configuration() {
    let mut current = bonded();
    let answer = told(&current, &Config::default(), None);
    let names = |key: &str| -> Vec<String> {
        let all = answer[key].as_object().expect("an object");
        all.keys().cloned().collect()
    };
    assert_eq!(names("nics"), ["dummy_1", "eth2"]);
    assert_eq!(names("bondings"), ["bond0"]);
    assert!(names("bridges").is_empty());
    has(
        &answer["bondings"]["bond0"],
        &json!({
            "slaves": ["eth2"], "opts": {"mode": "4", "miimon": "100", "xmit_hash_policy": "2"},
            "active_slave": "", "ad_aggregator_id": "2", "ad_partner_mac": "02:00:00:00:00:77",
            "switch": "legacy",
        }),
    );
    has(
        &answer["nics"]["eth2"],
        &json!({"permhwaddr": "02:00:00:00:00:55", "ad_aggregator_id": "2"}),
    );
    has(
        &answer["vlans"]["bond0.5"],
        &json!({"iface": "bond0", "vlanid": 5}),
    );
    // In other modes nothing is said of aggregation.
    for link in current.links.values_mut() {
        link.aggregator = None;
        if let LinkKind::Bond(state) = &mut link.kind {
            state.options.insert("mode".into(), "1".into());
        }
    }
    let bond = &told(&current, &Config::default(), None)["bondings"]["bond0"];
    assert_eq!(bond.get("ad_aggregator_id"), None);
    assert_eq!(bond.get("ad_partner_mac"), None);
    // Nulls are worse to Engine than what is absent.
    assert!(!answer.to_string().contains("null"), "{answer}");
}

fn asked(params: Value) -> SetupRequest {
    let decl: &VerbDecl = SetupNetworks::DECL;
    let raw = to_raw_value(&params).expect("JSON");
    let (value, _) = decl.read(Some(&raw)).expect("understood");
    setup::request(serde_json::from_value(value).expect("typed"))
}

/// As `HostSetupNetworksVDSCommand` of Engine writes it.
fn engines() -> Value {
    json!({
        "networks": {
            "ovirtmgmt": {
                "nic": "eth0", "mtu": 1500, "bridged": "true", "STP": "no", "bootproto": "none",
                "ipaddr": "192.0.2.2", "prefix": "24", "gateway": "192.0.2.1",
                "dhcpv6": false, "ipv6autoconf": false, "ipv6addr": "fd00::2/64", "ipv6gateway": "fd00::1",
                "defaultRoute": true, "switch": "legacy", "nameservers": ["192.0.2.53"],
                "custom": {"bridge_opts": "forward_delay=100"},
            },
            "storage": {
                "nic": "eth1", "vlan": "10", "mtu": 9000, "bridged": "false",
                "ipaddr": "198.51.100.2", "netmask": "255.255.255.0",
                "ipv6autoconf": false, "dhcpv6": false, "switch": "legacy",
                "hostQos": {"out": {"ls": {"m2": 50}, "ul": {"m2": 100_000_000_i64}}},
                "some_future_key": {"a": 1},
            },
            "lab": {
                "nic": "eth1", "vlan": "11", "mtu": 1500, "bridged": "true", "STP": "yes",
                "switch": "legacy",
                "ipv4addrs": ["203.0.113.2/24", "203.0.113.3/24"], "ipaddr": "203.0.113.2", "prefix": "24",
                "routes": [{"destination": "10.9.0.0/16", "via": "203.0.113.1", "metric": 7}],
            },
            "old": {"remove": "true"},
        },
        "bondings": {"bond9": {"remove": "true"}},
        "options": {
            "connectivityCheck": "true", "connectivityTimeout": 120, "commitOnSuccess": true,
            "_inRollback": true,
        },
    })
}

#[test]
fn what_engine_asks_is_understood() {
    let request = asked(engines());
    let options = &request.options;
    assert!(options.connectivity_check && options.commit_on_success && !options.dry_run);
    assert_eq!(options.connectivity_timeout, 120);
    assert!(
        request.networks["old"]
            .remove
            .as_ref()
            .is_some_and(Loose::truth)
    );
    assert!(
        request.bondings["bond9"]
            .remove
            .as_ref()
            .is_some_and(Loose::truth)
    );
    let storage = &request.networks["storage"];
    assert_eq!(storage.vlan, Some(Loose::Int(10)));
    assert_eq!(storage.extra["some_future_key"], json!({"a": 1}));
    assert_eq!(
        request.strangers(),
        ["networks.storage.some_future_key"],
        "and nothing of the options"
    );
    let nothing = asked(json!({"networks": {}, "bondings": {}, "options": {}}));
    assert_eq!(nothing, SetupRequest::default());
    let timeout = |given: i64| {
        let options = json!({"connectivityTimeout": given});
        asked(json!({"networks": {}, "bondings": {}, "options": options}))
            .options
            .connectivity_timeout
    };
    assert_eq!((timeout(-5), timeout(i64::MAX)), (0, 86_400));
}

/// What Engine asked for, planned, and told as the kernel would have it then.
fn foreseen() -> Foreseen {
    let mut params = engines();
    params["networks"]
        .as_object_mut()
        .expect("networks")
        .remove("old");
    params["bondings"] = json!({});
    let current = cards();
    let desired = canonicalize(&asked(params), &Config::default(), &current).expect("it can be");
    net_model::validate(&current, &desired).expect("it can be");
    assert!(matches!(desired.scope, Scope::Named { .. }));
    let mut tables = Tables::default();
    let taken = current.tables();
    tables.allot(&desired.after, &taken).expect("tables");
    let plan = plan(&current, &desired, &tables).expect("a plan");
    let root = RootState {
        qos: plan.result.qos.clone(),
        clients: plan.result.dhcp.clone(),
        tables,
    };
    let info = NetworkInfo::of(&View {
        current: &plan.result,
        config: &desired.after,
        root: Some(&root),
        figures: &BTreeMap::new(),
        shown: &Shown::default(),
    });
    Foreseen { plan, info }
}

/// Engine compares what it asked for with what it is told (`NetworkInSyncWithVdsNetworkInterface`).
#[test]
fn engine_finds_networks_in_sync() {
    let answer = serde_json::to_value(network::told(foreseen().info)).expect("JSON");
    let networks = &answer["networks"];
    has(
        &networks["ovirtmgmt"],
        &json!({
            "iface": "ovirtmgmt", "bridged": true, "switch": "legacy", "southbound": "eth0", "ports": ["eth0"],
            "stp": "off", "addr": "192.0.2.2", "netmask": "255.255.255.0", "gateway": "192.0.2.1",
            "ipv6addrs": ["fd00::2/64"], "ipv6gateway": "fd00::1", "ipv4defaultroute": true,
            "dhcpv4": false, "dhcpv6": false, "ipv6autoconf": false, "mtu": "1500",
        }),
    );
    // Engine reads addresses of bridged networks from their bridges, MTU and QoS's device from cards and VLANs.
    has(
        &answer["bridges"]["ovirtmgmt"],
        &json!({"addr": "192.0.2.2", "gateway": "192.0.2.1", "ports": ["eth0"], "ipv6gateway": "fd00::1"}),
    );
    assert_eq!(
        answer["bridges"]["ovirtmgmt"]["opts"]["forward_delay"],
        "100"
    );
    assert_eq!(answer["nameservers"], json!(["192.0.2.53"]));
    has(
        &networks["storage"],
        &json!({
            "iface": "eth1.10", "interface": "eth1.10", "bridged": false, "vlanid": 10, "mtu": "9000",
            "addr": "198.51.100.2", "netmask": "255.255.255.0", "gateway": "", "ipv4defaultroute": false,
            "southbound": "eth1.10",
        }),
    );
    assert_eq!(networks["storage"].get("ports"), None);
    assert_eq!(networks["storage"]["hostQos"]["out"]["ls"]["m2"], 50);
    assert_eq!(
        networks["storage"]["hostQos"]["out"]["ul"]["m2"],
        100_000_000
    );
    assert_eq!(
        answer["nics"]["eth1"]["qos"],
        json!([{"hostQos": networks["storage"]["hostQos"], "vlan": 10}])
    );
    has(
        &answer["vlans"]["eth1.10"],
        &json!({"iface": "eth1", "vlanid": 10, "mtu": "9000"}),
    );
    has(
        &networks["lab"],
        &json!({
            "addr": "203.0.113.2", "ipv4addrs": ["203.0.113.2/24", "203.0.113.3/24"], "stp": "on",
            "southbound": "eth1.11", "vlanid": 11,
        }),
    );
    assert!(!answer.to_string().contains("null"), "{answer}");
}

#[test]
fn a_dry_run_tells_steps_plan_and_result() {
    let answer = serde_json::to_value(network::planned(foreseen())).expect("JSON");
    assert_eq!(answer["code"], 0);
    let steps = answer["steps"].as_array().expect("steps");
    let bridge = json!({
        "stage": "management", "network": "ovirtmgmt", "sign": "+", "step": "bridge ovirtmgmt",
        "undo": ["- link ovirtmgmt"],
    });
    assert!(steps.contains(&bridge), "{steps:?}");
    let plan = answer["plan"].as_str().expect("a text");
    for step in steps {
        let line = format!(
            "  {} {}",
            step["sign"].as_str().expect("a sign"),
            step["step"].as_str().expect("a step")
        );
        assert!(plan.contains(&line), "{line} in\n{plan}");
    }
    assert_eq!(answer["result"]["networks"]["storage"]["mtu"], "9000");
}

#[test]
fn a_network_whose_interface_is_gone_is_not_told() {
    let mut config = Config::default();
    let request = asked(json!({
        "networks": {"n": {"nic": "eth7", "bridged": "false"}}, "bondings": {}, "options": {},
    }));
    let desired = canonicalize(&request, &config, &cards()).expect("names fit");
    config = desired.after;
    assert_eq!(told(&cards(), &config, None)["networks"], json!({}));
}

/// Root tells which clients run; without root the configuration speaks.
#[test]
fn dhcp_is_told_by_who_runs_it() {
    let request = asked(json!({
        "networks": {"n": {"nic": "eth1", "bridged": "false", "bootproto": "dhcp"}},
        "bondings": {}, "options": {},
    }));
    let desired = canonicalize(&request, &Config::default(), &cards()).expect("it can be");
    let of = |root: Option<&RootState>| {
        told(&cards(), &desired.after, root)["networks"]["n"]["dhcpv4"].clone()
    };
    assert_eq!(of(None), true);
    assert_eq!(of(Some(&RootState::default())), false);
}
