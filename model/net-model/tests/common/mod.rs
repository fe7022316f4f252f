//! Worlds, random configurations and the oracle of the plan's tests.
#![allow(dead_code, reason = "each test file takes what it needs")]

use std::collections::{BTreeMap, BTreeSet};

use net_model::{
    Address, Base, Bond, BridgeConfig, BridgeState, Cidr, Config, Current, Curve, Desired, Family,
    HostQos, IfName, Ip, Kernel, Link, LinkKind, MAIN_TABLE, Mac, NetName, Network, OUR_PROTOCOL,
    Plan, QosClass, Route, RouteKind, Rule, Scope, StaticRoute, Tables, VlanId, plan, validate,
};
use proptest::prelude::*;

pub(crate) fn ifname(text: &str) -> IfName {
    IfName::new(text).unwrap()
}

pub(crate) fn net(text: &str) -> NetName {
    NetName::new(text).unwrap()
}

pub(crate) fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

fn link(kind: LinkKind, number: u8) -> Link {
    Link {
        max_mtu: Some(9216),
        ..Link::new(kind, Mac::new([2, 0, 0, 0, 0, number]))
    }
}

/// Six cards to use, one of them with an administrator's addresses and routes; and foreign things: a card with a VLAN, a
/// bridge with a guest's tap, rules, a blackhole.
pub(crate) fn world() -> Current {
    let mut links = BTreeMap::new();
    links.insert(ifname("lo"), Link::new(LinkKind::Loopback, Mac::default()));
    for number in 0..6 {
        let name = ifname(&format!("eth{number}"));
        links.insert(name, link(LinkKind::Nic, number));
    }
    let first = links.get_mut("eth0").unwrap();
    first.addresses.push(Address::lasting(cidr("192.0.2.5/24")));
    first.addresses.push(Address {
        dynamic: true,
        expiry: Some(net_model::Expiry {
            valid: 90_000,
            preferred: 80_000,
        }),
        ..Address::lasting(cidr("2001:db8:99::5/64"))
    });
    foreign(&mut links);
    let route = |to: &str, via: Option<&str>, device: &str| Route {
        protocol: 4,
        ..Route::ours(
            Some(ifname(device)),
            MAIN_TABLE,
            cidr(to),
            via.map(|it| it.parse().unwrap()),
        )
    };
    let routes = [
        route("0.0.0.0/0", Some("192.0.2.1"), "eth0"),
        route("198.51.100.0/24", Some("203.0.113.1"), "eth9.99"),
        route("2001:db8:77::/64", None, "eth9"),
    ];
    let rule = Rule {
        table: 77,
        priority: 100,
        family: Family::V4,
        from: Some(cidr("203.0.113.0/24")),
        to: None,
        protocol: 0,
        more: false,
    };
    Current {
        links,
        routes: routes.into_iter().collect(),
        rules: [rule].into_iter().collect(),
        nameservers: vec!["192.0.2.53".parse().unwrap()],
        ipv6: true,
        ..Current::default()
    }
}

fn foreign(links: &mut BTreeMap<IfName, Link>) {
    let mut card = link(LinkKind::Nic, 9);
    card.mtu = 2000;
    links.insert(ifname("eth9"), card);
    let kind = LinkKind::Vlan {
        parent: ifname("eth9"),
        id: 99,
    };
    let mut vlan = link(kind, 9);
    vlan.mtu = 1900;
    vlan.addresses
        .push(Address::lasting(cidr("203.0.113.9/24")));
    links.insert(ifname("eth9.99"), vlan);
    let bridge = link(LinkKind::Bridge(BridgeState::default()), 20);
    links.insert(ifname("br-ext"), bridge);
    let mut tap = link(LinkKind::Other("tun".to_owned()), 21);
    tap.master = Some(ifname("br-ext"));
    links.insert(ifname("vnet0"), tap);
}

/// Names of what no plan may touch.
pub(crate) const FOREIGN: [&str; 5] = ["lo", "eth9", "eth9.99", "br-ext", "vnet0"];

/// What belongs to others: their links, the routes over them, their rules.
pub(crate) fn foreign_part(state: &Current) -> Current {
    let foreign = |name: &IfName| FOREIGN.contains(&name.as_str());
    let mut part = state.clone();
    part.links.retain(|name, _| foreign(name));
    part.routes
        .retain(|it| it.device.as_ref().is_some_and(foreign));
    part.rules.retain(|it| it.protocol != OUR_PROTOCOL);
    part.nameservers.clear();
    part.qos.clear();
    part.dhcp.clear();
    part
}

fn slaves(numbers: &[u8]) -> BTreeSet<IfName> {
    numbers
        .iter()
        .map(|it| ifname(&format!("eth{it}")))
        .collect()
}

fn bond_strategy() -> impl Strategy<Value = BTreeMap<IfName, Bond>> {
    let options = prop::sample::select(vec![
        "",
        "mode=4 miimon=100",
        "mode=802.3ad lacp_rate=fast miimon=100 xmit_hash_policy=layer2+3",
        "mode=1 miimon=50 updelay=100",
        "mode=1 miimon=100 updelay=100 downdelay=200",
        "mode=1 miimon=20 updelay=40 peer_notif_delay=60",
        "mode=1 arp_interval=100 arp_ip_target=192.0.2.1,192.0.2.2",
        "mode=6 fail_over_mac=1 miimon=100",
        "mode=2 xmit_hash_policy=1",
    ]);
    let one = (options, prop::option::weighted(0.2, 0_u8..3)).prop_map(|(text, mac)| Bond {
        options: text.parse().unwrap(),
        hwaddr: mac.map(|it| Mac::new([6, 0, 0, 0, 0, it])),
        ..Bond::default()
    });
    let layout = prop::sample::select(vec![
        vec![],
        vec![vec![0, 1]],
        vec![vec![1, 2]],
        vec![vec![0], vec![1, 2]],
        vec![vec![0, 2], vec![1]],
    ]);
    (layout, one.clone(), one).prop_map(|(layout, a, b)| {
        let names = ["bond0", "bond1"].into_iter().zip([a, b]);
        let pairs = names.zip(layout);
        pairs
            .map(|((name, bond), numbers)| {
                let slaves = slaves(&numbers);
                (ifname(name), Bond { slaves, ..bond })
            })
            .collect()
    })
}

#[derive(Debug, Clone)]
struct Draft {
    base: u8,
    vlan: Option<u16>,
    bridged: bool,
    mtu: u32,
    four: u8,
    six: u8,
    gateway: bool,
    route: bool,
    qos: Option<u64>,
    stp: bool,
    forward_delay: bool,
    order: bool,
}

fn draft() -> impl Strategy<Value = Option<Draft>> {
    let first = (
        0_u8..9,
        prop::option::of(1_u16..4),
        any::<bool>(),
        prop::sample::select(vec![1500_u32, 9000, 1400]),
        0_u8..6,
        0_u8..5,
    );
    let second = (
        any::<bool>(),
        any::<bool>(),
        prop::option::of(1_u64..4),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    );
    let one = (first, second).prop_map(|(first, second)| {
        let (base, vlan, bridged, mtu, four, six) = first;
        let (gateway, route, qos, stp, forward_delay, order) = second;
        Draft {
            base,
            vlan,
            bridged,
            mtu,
            four,
            six,
            gateway,
            route,
            qos,
            stp,
            forward_delay,
            order,
        }
    });
    prop::option::weighted(0.8, one)
}

/// A valid configuration of up to six networks.
pub(crate) fn config() -> impl Strategy<Value = Config> {
    let drafts = prop::collection::vec(draft(), 6);
    let default = prop::option::of(0_usize..6);
    (bond_strategy(), drafts, default).prop_map(|(bonds, drafts, default)| {
        let mut config = Config {
            bonds,
            ..Config::default()
        };
        let mut used = BTreeSet::new();
        for (number, draft) in drafts.iter().enumerate() {
            let Some(draft) = draft else { continue };
            let mut network = network(number, draft, &config);
            let key = (network.base.clone(), network.vlan);
            let free = network.base.is_none() || used.insert(key);
            if !free || (network.base.is_none() && network.bridge.is_none()) {
                continue;
            }
            network.default_route = default == Some(number);
            if network.default_route {
                network.nameservers = vec!["192.0.2.54".parse().unwrap()];
            }
            config
                .networks
                .insert(net(&format!("net{number}")), network);
        }
        config
    })
}

fn network(number: usize, draft: &Draft, config: &Config) -> Network {
    let bonds: Vec<&IfName> = config.bonds.keys().collect();
    let slaves: BTreeSet<&IfName> = config.bonds.values().flat_map(|it| &it.slaves).collect();
    let nic = ifname(&format!("eth{}", draft.base.min(5)));
    let base = match draft.base {
        0..6 if !slaves.contains(&nic) => Some(Base::Nic(nic)),
        6.. => bonds
            .get(usize::from(draft.base) - 6)
            .map(|it| Base::Bond((*it).clone())),
        _ => None,
    };
    let options = if draft.forward_delay {
        net_model::bridge::parse("forward_delay=200").unwrap()
    } else {
        BTreeMap::new()
    };
    let ipv4 = ipv4(number, draft);
    let qos = draft.qos.map(|it| HostQos {
        ls: Some(Curve {
            m2: it,
            ..Curve::default()
        }),
        ..HostQos::default()
    });
    Network {
        vlan: draft
            .vlan
            .filter(|_| base.is_some())
            .map(|it| VlanId::new(it.into()).unwrap()),
        qos: qos.filter(|_| base.is_some()),
        base,
        bridge: draft.bridged.then_some(BridgeConfig {
            stp: draft.stp,
            options,
        }),
        mtu: draft.mtu,
        routes: routes(number, draft, &ipv4),
        ipv4,
        ipv6: ipv6(number, draft),
        ..Network::default()
    }
}

fn ipv4(number: usize, draft: &Draft) -> Ip {
    let mut list: Vec<Cidr> = match draft.four {
        0 => vec![],
        1 => {
            return Ip {
                dhcp: true,
                ..Ip::default()
            };
        }
        2 => vec![cidr(&format!("10.{number}.0.5/24"))],
        3 => vec![
            cidr(&format!("10.{number}.0.5/24")),
            cidr(&format!("10.{number}.0.6/24")),
        ],
        4 => vec![
            cidr(&format!("10.{number}.0.6/24")),
            cidr(&format!("10.{number}.1.5/24")),
            cidr(&format!("10.{number}.0.5/24")),
        ],
        _ => vec![
            cidr(&format!("10.{number}.0.5/24")),
            cidr(&format!("10.{number}.2.5/30")),
        ],
    };
    if draft.order {
        list.reverse();
    }
    let gateway = draft.gateway && !list.is_empty();
    Ip {
        addresses: list,
        gateway: gateway.then(|| format!("10.{number}.0.1").parse().unwrap()),
        ..Ip::default()
    }
}

fn ipv6(number: usize, draft: &Draft) -> Ip {
    let addresses = vec![
        cidr(&format!("2001:db8:{number}::5/64")),
        cidr(&format!("fd00:{number}::5/64")),
    ];
    match draft.six {
        0 => Ip::default(),
        1 => Ip {
            autoconf: true,
            ..Ip::default()
        },
        2 => Ip {
            dhcp: true,
            ..Ip::default()
        },
        _ => Ip {
            addresses,
            gateway: draft.gateway.then(|| "fe80::1".parse().unwrap()),
            ..Ip::default()
        },
    }
}

fn routes(number: usize, draft: &Draft, ipv4: &Ip) -> Vec<StaticRoute> {
    if !draft.route || ipv4.addresses.is_empty() {
        return Vec::new();
    }
    let plain = StaticRoute {
        destination: cidr(&format!("10.{number}.64.0/20")),
        via: Some(format!("10.{number}.0.9").parse().unwrap()),
        metric: Some(7),
        table: None,
        source: None,
        mtu: None,
        onlink: false,
        kind: RouteKind::Unicast,
    };
    let hole = StaticRoute {
        destination: cidr(&format!("10.{number}.128.0/20")),
        via: None,
        kind: RouteKind::Blackhole,
        ..plain.clone()
    };
    vec![plain, hole]
}

/// A change of everything.
pub(crate) fn change(before: &Config, after: &Config) -> Desired {
    Desired {
        before: before.clone(),
        after: after.clone(),
        scope: Scope::All,
    }
}

pub(crate) fn tables(configs: &[&Config], current: &Current) -> Tables {
    let mut tables = Tables::default();
    for config in configs {
        tables.allot(config, &current.tables()).unwrap();
    }
    tables
}

/// Plans, after validation.
pub(crate) fn planned(current: &Current, desired: &Desired, tables: &Tables) -> Plan {
    validate(current, desired).unwrap();
    plan(current, desired, tables).unwrap()
}

/// Runs a plan on a kernel.
pub(crate) fn run(kernel: &mut Kernel, plan: &Plan) {
    for it in &plan.steps {
        kernel.apply(&it.step).unwrap();
    }
}

/// Is it so, as far as a plan is to bring it about? Written from what a network means, not from the planner.
pub(crate) fn holds(state: &Current, config: &Config, tables: &Tables) -> Result<(), String> {
    for (name, bond) in &config.bonds {
        bond_holds(state, name, bond).map_err(|it| format!("{name}: {it}"))?;
    }
    for (name, network) in &config.networks {
        network_holds(state, name, network, config, tables)
            .map_err(|it| format!("{name}: {it} of {network:?}"))?;
    }
    let made = state.links.values();
    let bridges = made
        .filter(|it| matches!(it.kind, LinkKind::Bridge(_)))
        .count();
    let wanted = config
        .networks
        .values()
        .filter(|it| it.bridge.is_some())
        .count();
    ensure(
        bridges == wanted + 1,
        "as many bridges as networks and the foreign one",
    )?;
    let vlans = state.links.values();
    let vlans = vlans
        .filter(|it| matches!(it.kind, LinkKind::Vlan { .. }))
        .count();
    let wanted = config
        .networks
        .values()
        .filter(|it| it.vlan.is_some())
        .count();
    ensure(
        vlans == wanted + 1,
        "as many VLANs as networks and the foreign one",
    )?;
    let rules = state.rules.iter().filter(|it| it.protocol == OUR_PROTOCOL);
    let known: BTreeSet<u32> = config
        .networks
        .keys()
        .filter_map(|it| tables.get(it))
        .collect();
    for rule in rules {
        ensure(
            known.contains(&rule.table),
            "no rule of a network that is gone",
        )?;
    }
    for route in state.routes.iter().filter(|it| it.protocol == OUR_PROTOCOL) {
        let in_own = route.table == MAIN_TABLE || known.contains(&route.table);
        ensure(in_own, "no route of a network that is gone")?;
    }
    Ok(())
}

fn ensure(so: bool, what: &str) -> Result<(), String> {
    so.then_some(()).ok_or_else(|| format!("not so: {what}"))
}

fn bond_holds(state: &Current, name: &IfName, bond: &Bond) -> Result<(), String> {
    let link = state.links.get(name).ok_or("it is there")?;
    let LinkKind::Bond(kernel) = &link.kind else {
        return Err("it is a bond".to_owned());
    };
    ensure(link.up, "up")?;
    let mode = bond.options.mode().number().to_string();
    ensure(kernel.options.get("mode") == Some(&mode), "mode")?;
    for (option, value) in bond.options.others() {
        let now = kernel.options.get(option).map(String::as_str);
        let now = now.or_else(|| net_model::bond::default_value(option));
        ensure(now == Some(value), option)?;
    }
    if let Some(mac) = bond.hwaddr {
        ensure(link.mac == mac, "hardware address")?;
    }
    let ports: BTreeSet<IfName> = state.ports_of(name).cloned().collect();
    ensure(ports == bond.slaves, "its ports")?;
    for port in &ports {
        let port = state.links.get(port).unwrap();
        ensure(port.up && port.mtu == link.mtu, "ports up, with its MTU")?;
        ensure(
            port.addresses.iter().all(net_model::Address::is_link_local),
            "ports without addresses",
        )?;
    }
    Ok(())
}

fn network_holds(
    state: &Current,
    name: &NetName,
    network: &Network,
    config: &Config,
    tables: &Tables,
) -> Result<(), String> {
    let top = network.top(name).unwrap();
    let link = state.links.get(&top).ok_or("it is there")?;
    ensure(link.up, "up")?;
    if let Some(port) = network.port().unwrap() {
        let beneath = state.links.get(&port).ok_or("its port is there")?;
        ensure(beneath.up, "port up")?;
        if network.bridge.is_some() {
            ensure(beneath.master.as_ref() == Some(&top), "its port is in it")?;
            let empty = beneath.addresses.iter().all(Address::is_link_local);
            ensure(empty, "its port has no addresses")?;
            ensure(
                state.routes_of(&port).next().is_none(),
                "its port has no routes",
            )?;
        } else {
            ensure(beneath.master.is_none(), "it is in no bridge")?;
        }
        mtu_holds(state, network, &port, config)?;
    }
    if let Some(bridge) = &network.bridge {
        let LinkKind::Bridge(kernel) = &link.kind else {
            return Err("it is a bridge".to_owned());
        };
        ensure(kernel.stp == bridge.stp, "STP")?;
        let delay = kernel
            .options
            .get("forward_delay")
            .map_or("1500", String::as_str);
        let wanted = bridge
            .options
            .get("forward_delay")
            .map_or("1500", String::as_str);
        ensure(delay == wanted, "forward delay")?;
        ensure(link.mtu == network.mtu, "its bridge's MTU")?;
    }
    ip_holds(state, network, &top, link)?;
    routing_holds(state, network, &top, tables.get(name))?;
    qos_holds(state, network)
}

fn mtu_holds(
    state: &Current,
    network: &Network,
    port: &IfName,
    config: &Config,
) -> Result<(), String> {
    let mtu = state.links[port].mtu;
    if network.vlan.is_some() {
        return ensure(mtu == network.mtu, "its VLAN's MTU");
    }
    let same = config
        .networks
        .values()
        .filter(|it| it.base == network.base);
    let most = same.map(|it| it.mtu).max();
    ensure(
        Some(mtu) == most,
        "its base's MTU is the greatest of its networks",
    )
}

fn ip_holds(state: &Current, network: &Network, top: &IfName, link: &Link) -> Result<(), String> {
    for family in Family::ALL {
        let ip = network.ip(family);
        let of_family = |it: &&Address| it.cidr.family() == family && !it.is_link_local();
        let lasting = link
            .addresses
            .iter()
            .filter(of_family)
            .filter(|it| !it.dynamic);
        let lasting: Vec<Cidr> = lasting.map(|it| it.cidr).collect();
        let wanted: BTreeSet<Cidr> = ip.addresses.iter().copied().collect();
        ensure(
            lasting.iter().copied().collect::<BTreeSet<_>>() == wanted,
            "addresses",
        )?;
        if family == Family::V4 {
            ensure(lasting.first() == ip.addresses.first(), "the first address")?;
        }
        if !ip.dhcp && !ip.autoconf {
            let dynamic = link.addresses.iter().filter(of_family).any(|it| it.dynamic);
            ensure(!dynamic, "no address of a client that is not wanted")?;
        }
        let clients = state.dhcp.get(top).into_iter().flatten();
        let runs = clients.filter(|it| it.family == family).count();
        ensure(runs == usize::from(ip.dhcp || ip.autoconf), "DHCP client")?;
    }
    let settings = link.ipv6.unwrap();
    ensure(
        settings.disabled == network.ipv6.is_off(),
        "IPv6 off if not wanted",
    )?;
    let on = !network.ipv6.is_off();
    ensure(
        !on || settings.autoconf == network.ipv6.autoconf,
        "autoconf",
    )
}

fn routing_holds(
    state: &Current,
    network: &Network,
    top: &IfName,
    table: Option<u32>,
) -> Result<(), String> {
    for family in Family::ALL {
        let ip = network.ip(family);
        let default = state
            .routes_of(top)
            .find(|it| it.table == MAIN_TABLE && it.destination == family.any());
        let wanted = ip.gateway.filter(|_| network.default_route);
        ensure(default.and_then(|it| it.via) == wanted, "default route")?;
        let Some(gateway) = ip.gateway else { continue };
        let table = table.ok_or("it has a table")?;
        let own: Vec<&Route> = state
            .routes_of(top)
            .filter(|it| it.table == table)
            .collect();
        let by = own.iter().find(|it| it.destination == family.any());
        ensure(
            by.and_then(|it| it.via) == Some(gateway),
            "default route of its table",
        )?;
        for address in &ip.addresses {
            let network = address.network();
            let linked = own
                .iter()
                .any(|it| it.destination == network && it.via.is_none());
            ensure(linked, "its network in its table")?;
            let rules = state.rules.iter().filter(|it| it.table == table);
            let from = rules
                .clone()
                .any(|it| it.from == Some(network) && it.priority == 3200);
            let to = rules
                .clone()
                .any(|it| it.to == Some(network) && it.priority == 3200);
            ensure(from && to, "rules of its network")?;
        }
    }
    for route in &network.routes {
        let there = state.routes.iter().any(|it| {
            it.destination == route.destination
                && it.via == route.via
                && it.kind == route.kind
                && it.metric == route.metric.unwrap_or(0)
                && it.protocol == OUR_PROTOCOL
        });
        ensure(there, "its own routes")?;
    }
    Ok(())
}

fn qos_holds(state: &Current, network: &Network) -> Result<(), String> {
    let Some(base) = &network.base else {
        return Ok(());
    };
    let classes = state.qos.get(base.device());
    let now = classes.and_then(|it| it.get(&QosClass(network.vlan)));
    ensure(now.copied() == network.qos, "shaping")
}

/// What differs between two states, in few words.
pub(crate) fn differences(a: &Current, b: &Current) -> Vec<String> {
    let mut all = Vec::new();
    let names: BTreeSet<&IfName> = a.links.keys().chain(b.links.keys()).collect();
    for name in names {
        let (left, right) = (a.links.get(name), b.links.get(name));
        if left != right {
            all.push(format!("{name}: {left:?}\n  is not {right:?}"));
        }
    }
    let routes = a.routes.symmetric_difference(&b.routes);
    all.extend(routes.map(|it| format!("route {it:?}")));
    let rules = a.rules.symmetric_difference(&b.rules);
    all.extend(rules.map(|it| format!("rule {it:?}")));
    for (left, right) in [
        (format!("{:?}", a.qos), format!("{:?}", b.qos)),
        (format!("{:?}", a.dhcp), format!("{:?}", b.dhcp)),
        (
            format!("{:?}", a.nameservers),
            format!("{:?}", b.nameservers),
        ),
    ] {
        if left != right {
            all.push(format!("{left}\n  is not {right}"));
        }
    }
    all
}
