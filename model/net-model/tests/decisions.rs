//! Decisions beside the plan: tables, source routing, what upstream left, restoration, reachability, rates, aggregation; the
//! plan as people read it; a thousand networks.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on ends"
)]

mod common;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use common::{change, cidr, holds, ifname, net, planned, run, tables, world};
use net_model::{
    Base, Bond, BondState, BridgeConfig, Config, Current, Desired, FIRST_TABLE, Family, Ip, Kernel,
    Link, LinkKind, MAIN_TABLE, Mac, NetName, Network, OUR_PROTOCOL, Route, Rule, Scope, Stage,
    Step, Tables, VlanId, bond,
    probe::{Cause, Probe, ProbeConfig, Sample, Verdict, reported_device},
    rates::{Counters, advance, dropped, rates},
    restore::{dependents, fallout, restoration},
    source_routing::{RULE_PRIORITY, of_lease, of_network, upstream_table},
};
use proptest::prelude::*;

fn on_nic(nic: &str) -> Network {
    Network {
        base: Some(Base::Nic(ifname(nic))),
        bridge: Some(BridgeConfig::default()),
        ..Network::default()
    }
}

fn with_gateway(nic: &str, address: &str, gateway: &str) -> Network {
    let ip = Ip {
        addresses: vec![cidr(address)],
        gateway: Some(gateway.parse().unwrap()),
        ..Ip::default()
    };
    let mut network = on_nic(nic);
    match ip.addresses[0].family() {
        Family::V4 => network.ipv4 = ip,
        Family::V6 => network.ipv6 = ip,
    }
    network
}

fn config(networks: Vec<(&str, Network)>) -> Config {
    let networks = networks.into_iter().map(|(name, it)| (net(name), it));
    Config {
        networks: networks.collect(),
        ..Config::default()
    }
}

fn build(after: &Config) -> (Current, Tables) {
    let all = tables(&[after], &world());
    let plan = planned(&world(), &change(&Config::default(), after), &all);
    let mut kernel = Kernel::new(world());
    run(&mut kernel, &plan);
    (kernel.into_state(), all)
}

#[test]
fn four_thousand_vlans_have_four_thousand_tables() {
    let networks = (1..4095).map(|id| {
        let network = Network {
            vlan: Some(VlanId::new(id).unwrap()),
            bridge: None,
            ..with_gateway("eth0", "10.0.0.2/24", "10.0.0.1")
        };
        (net(&format!("net{id}")), network)
    });
    let config = Config {
        networks: networks.collect(),
        ..Config::default()
    };
    let taken: BTreeSet<u32> = [FIRST_TABLE + 1, FIRST_TABLE + 5].into();
    let mut tables = Tables::default();
    tables.allot(&config, &taken).unwrap();
    let all: BTreeSet<u32> = tables.all().map(|(_, table)| table).collect();
    assert_eq!(all.len(), 4094);
    assert!(all.is_disjoint(&taken));
    // Upstream's hash: the collision that its users met.
    assert_eq!(
        upstream_table(&ifname("net121")),
        upstream_table(&ifname("net202"))
    );
    assert_ne!(tables.get(&net("net121")), tables.get(&net("net202")));
    let again = Tables::decode(tables.encode().as_bytes()).unwrap();
    assert_eq!(again, tables);
    let mut more = again.clone();
    more.allot(&config, &BTreeSet::new()).unwrap();
    assert_eq!(more, again, "networks keep what they have");
    more.forget_others(&[]);
    assert_eq!(more, Tables::default());
}

/// While a spanning tree changes the kernel tells a shortened time, which is read as none.
#[test]
fn an_ageing_time_that_is_not_told_is_what_was_asked_for() {
    let with = |time: &str| {
        let bridge = BridgeConfig {
            stp: true,
            options: [("ageing_time".to_owned(), time.to_owned())].into(),
        };
        let network = Network {
            bridge: Some(bridge),
            ..on_nic("eth1")
        };
        Config {
            networks: [(net("n"), network)].into(),
            ..Config::default()
        }
    };
    let (one, two) = (with("20000"), with("40000"));
    let (mut there, all) = build(&one);
    let LinkKind::Bridge(state) = &mut there.links.get_mut("n").unwrap().kind else {
        panic!("no bridge");
    };
    state.tree_changes = true;
    state.options.remove("ageing_time");
    let texts = |plan: &net_model::Plan| -> Vec<String> {
        let undo = plan.undo(plan.steps.len());
        let done = plan.steps.iter().map(|it| it.step.to_string());
        done.chain(undo.iter().map(Step::to_string)).collect()
    };
    assert!(planned(&there, &change(&one, &one), &all).is_empty());
    assert_eq!(
        texts(&planned(&there, &change(&one, &two), &all)),
        ["n: ageing_time 40000", "n: ageing_time 20000"]
    );
    let gone = planned(&there, &change(&one, &Config::default()), &all);
    assert!(texts(&gone).contains(&"n: ageing_time 20000".to_owned()));
    // After the change: what was set is believed.
    there.assume(&two);
    assert!(planned(&there, &change(&one, &two), &all).is_empty());
}

#[test]
fn bad_files_of_tables_are_refused() {
    for text in [
        "",
        "[]",
        "{}",
        r#"{"version":2,"networks":{}}"#,
        r#"{"version":1,"networks":{"a":254}}"#,
        r#"{"version":1,"networks":{"a":100001,"b":100001}}"#,
        r#"{"version":1,"networks":{"../a":100001}}"#,
    ] {
        assert!(Tables::decode(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn both_families_are_routed_by_source() {
    let mut network = with_gateway("eth1", "10.1.0.2/24", "10.1.0.1");
    network.ipv6 = with_gateway("eth1", "2001:db8:1::2/64", "fe80::1").ipv6;
    network.ipv6.addresses.push(cidr("fd00::2/64"));
    let routing = of_network(&network, &ifname("n"), Some(100_001));
    let lines: Vec<String> = routing.routes.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "10.1.0.0/24 dev n table 100001",
            "2001:db8:1::/64 dev n table 100001",
            "fd00::/64 dev n table 100001",
            "default (IPv4) via 10.1.0.1 dev n table 100001",
            "default (IPv6) via fe80::1 dev n table 100001",
        ]
    );
    assert_eq!(routing.routes[0].scope(), 253, "scope link");
    assert_eq!(routing.rules.len(), 6);
    assert!(
        routing
            .rules
            .iter()
            .all(|it| it.priority == RULE_PRIORITY && it.protocol == OUR_PROTOCOL)
    );
    let lease = of_lease(
        cidr("10.1.0.2/24"),
        network.ipv4.gateway,
        &ifname("n"),
        100_001,
    );
    assert!(lease.rules.is_subset(&routing.rules));
    let far = with_gateway("eth1", "10.1.0.2/32", "10.9.0.1");
    let routing = of_network(&far, &ifname("n"), Some(100_001));
    assert!(
        routing.routes.iter().any(|it| it.onlink),
        "a gateway elsewhere"
    );
}

/// A network as Python VDSM left it: its hashed table, rules without our protocol, a default route of NetworkManager.
#[test]
fn what_upstream_left_is_taken_over() {
    let mut after = with_gateway("eth1", "10.1.0.2/24", "10.1.0.1");
    after.default_route = true;
    let after = config(vec![("n", after)]);
    let (mut current, all) = build(&after);
    let hashed = upstream_table(&ifname("n"));
    let theirs = |it: &Route| Route {
        protocol: 4,
        table: if it.table == MAIN_TABLE {
            MAIN_TABLE
        } else {
            hashed
        },
        ..it.clone()
    };
    current.routes = current
        .routes
        .iter()
        .map(|it| {
            if it.protocol == OUR_PROTOCOL {
                theirs(it)
            } else {
                it.clone()
            }
        })
        .collect();
    current.rules = current
        .rules
        .iter()
        .map(|it| {
            let ours = it.protocol == OUR_PROTOCOL;
            Rule {
                table: if ours { hashed } else { it.table },
                protocol: 0,
                ..it.clone()
            }
        })
        .collect();
    let plan = planned(&current, &change(&after, &after), &all);
    let main = |it: &Step| matches!(it, Step::RemoveRoute { route } if route.table == MAIN_TABLE);
    assert!(
        !plan.steps.iter().any(|it| main(&it.step)),
        "the default route stays up: {plan}"
    );
    assert!(plan.result.rules.iter().all(|it| it.table != hashed));
    assert!(plan.result.routes.iter().all(|it| it.table != hashed));
    let rules = plan
        .result
        .rules
        .iter()
        .filter(|it| it.protocol == OUR_PROTOCOL);
    assert_eq!(rules.count(), 2);
    let gone = planned(&current, &change(&after, &Config::default()), &all);
    assert!(
        gone.result.rules.iter().all(|it| it.table != hashed),
        "{gone}"
    );
    assert!(
        gone.result.rules.iter().any(|it| it.table == 77),
        "foreign rules stay"
    );
}

#[test]
fn management_is_last_down_and_first_up() {
    let mut management = with_gateway("eth3", "10.3.0.2/24", "10.3.0.1");
    management.default_route = true;
    let names = ["a", "m", "z"];
    let before = config(vec![
        ("a", on_nic("eth1")),
        ("m", management),
        ("z", on_nic("eth2")),
    ]);
    let (current, all) = build(&before);
    let mut after = before.clone();
    for (name, vlan) in names.iter().zip(5..) {
        let network = after.networks.get_mut(&net(name)).unwrap();
        network.vlan = Some(VlanId::new(vlan).unwrap());
    }
    let plan = planned(&current, &change(&before, &after), &all);
    let of = |it: &net_model::Planned| it.network.as_ref().map(NetName::as_str) == Some("m");
    let last_other = plan
        .steps
        .iter()
        .rposition(|it| it.stage == Stage::Remove && !of(it));
    let first_down = plan.steps.iter().position(of);
    let up = plan
        .steps
        .iter()
        .rposition(|it| it.stage == Stage::Management)
        .unwrap();
    let others_up = plan
        .steps
        .iter()
        .position(|it| it.stage == Stage::Links)
        .unwrap();
    assert!(last_other < first_down && up < others_up, "{plan}");
    let same = planned(&current, &change(&before, &before), &all);
    assert!(same.is_empty(), "untouched if it does not differ");
}

#[test]
fn restoration_leaves_out_what_cannot_be() {
    let mut first = on_nic("eth1");
    first.default_route = true;
    let mut second = on_nic("eth2");
    second.default_route = true;
    let mut clash = on_nic("eth4");
    clash.ipv4.addresses = vec![cidr("203.0.113.9/24")];
    let mut persistent = config(vec![
        ("aaa", second),
        ("management", first),
        ("missing", on_nic("eth77")),
        ("clash", clash),
        ("br-ext", on_nic("eth5")),
    ]);
    let mut bonded = on_nic("eth0");
    bonded.base = Some(Base::Bond(ifname("bond0")));
    persistent.networks.insert(net("bonded"), bonded);
    let bond = Bond {
        slaves: [ifname("eth3"), ifname("eth66")].into(),
        ..Bond::default()
    };
    persistent.bonds.insert(ifname("bond0"), bond);
    let running = config(vec![
        (
            "management",
            persistent.networks[&net("management")].clone(),
        ),
        ("extra", on_nic("eth4")),
    ]);
    let it = restoration(&persistent, &running, &world());
    let names: Vec<&str> = it
        .desired
        .after
        .networks
        .keys()
        .map(NetName::as_str)
        .collect();
    assert_eq!(names, ["aaa", "bonded", "br-ext", "management"]);
    assert!(it.desired.after.networks[&net("management")].default_route);
    assert!(!it.desired.after.networks[&net("aaa")].default_route);
    assert_eq!(it.desired.after.bonds[&ifname("bond0")].slaves.len(), 1);
    let left: Vec<(&str, u32)> = it
        .left_out
        .iter()
        .map(|(name, why)| (name.as_str(), why.code()))
        .collect();
    assert_eq!(
        left,
        [
            ("eth66", 23),
            ("missing", 23),
            ("aaa.defaultRoute", 21),
            ("clash", 22)
        ]
    );
    assert!(
        it.desired.before.networks.contains_key(&net("extra")),
        "what is not persistent goes"
    );
}

#[test]
fn a_restoration_of_what_is_there_does_nothing() {
    let persistent = config(vec![
        ("a", on_nic("eth1")),
        ("b", with_gateway("eth2", "10.2.0.2/24", "10.2.0.1")),
    ]);
    let (current, all) = build(&persistent);
    let it = restoration(&persistent, &persistent, &current);
    assert_eq!(it.left_out, vec![]);
    assert!(planned(&current, &it.desired, &all).is_empty());
}

#[test]
fn a_failure_of_one_network_is_its_own() {
    let mut vlan = on_nic("eth1");
    vlan.vlan = Some(VlanId::new(7).unwrap());
    let after = config(vec![
        ("a", with_gateway("eth1", "10.1.0.2/24", "10.1.0.1")),
        ("v", vlan),
        ("z", with_gateway("eth2", "10.2.0.2/24", "10.2.0.1")),
    ]);
    let all = tables(&[&after], &world());
    let plan = planned(&world(), &change(&Config::default(), &after), &all);
    for failed in 0..plan.steps.len() {
        let mut kernel = Kernel::new(world());
        let done: Vec<usize> = (0..failed).collect();
        let all_of = |kernel: &mut Kernel, numbers: &[usize]| {
            for number in numbers {
                kernel.apply(&plan.steps[*number].step).unwrap();
            }
        };
        all_of(&mut kernel, &done);
        let it = fallout(&plan, &after, &done, failed, &BTreeSet::new());
        for step in &it.undo {
            kernel.apply(step).unwrap();
        }
        all_of(&mut kernel, &it.rest);
        let mut left = after.clone();
        left.networks.retain(|name, _| !it.networks.contains(name));
        assert!(!left.networks.is_empty(), "step {failed} fails not all");
        assert_eq!(
            holds(kernel.state(), &left, &all),
            Ok(()),
            "step {failed} of\n{plan}"
        );
    }
    assert_eq!(dependents(&after, &ifname("eth1")).len(), 2);
}

fn probing(custom: &[(&str, &str)]) -> Network {
    let mut network = with_gateway("eth1", "10.1.0.2/24", "10.1.0.1");
    let pairs = custom
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    network.custom = pairs.collect();
    network
}

#[test]
fn probes_are_configured_by_custom_properties() {
    let of = |custom: &[(&str, &str)]| ProbeConfig::of(&net("n"), &probing(custom));
    assert_eq!(of(&[]).unwrap(), None);
    let it = of(&[
        ("ping_target", "gateway, 10.1.0.9"),
        ("ping_fail_count", "7"),
    ])
    .unwrap()
    .unwrap();
    assert_eq!(
        (
            it.targets.len(),
            it.interval,
            it.fail_after,
            it.recover_after
        ),
        (2, 5, 7, 3)
    );
    assert!(
        of(&[("ping_target", "192.0.2.9")]).unwrap().is_some(),
        "by the gateway"
    );
    for target in [
        "host.example",
        "10.1.0.2",
        "10.1.0.255",
        "10.1.0.0",
        "224.0.0.1",
        "0.0.0.0",
        "127.0.0.1",
        ",",
        "1.1.1.1,2.2.2.2,3.3.3.3,4.4.4.4,5.5.5.5,6.6.6.6,7.7.7.7,8.8.8.8,9.9.9.9",
    ] {
        assert_eq!(
            of(&[("ping_target", target)]).map_err(|it| matches!(it.code(), 21 | 22)),
            Err(true),
            "{target}"
        );
    }
    assert!(of(&[("ping_target", "gateway"), ("ping_interval", "0")]).is_err());
    let mut vlan = probing(&[]);
    vlan.vlan = Some(VlanId::new(5).unwrap());
    assert_eq!(
        reported_device(&vlan),
        Some(ifname("eth1.5")),
        "not its siblings' base"
    );
}

#[test]
fn a_verdict_changes_late_and_comes_back_late() {
    let config = ProbeConfig::of(&net("n"), &probing(&[("ping_target", "gateway")]))
        .unwrap()
        .unwrap();
    let mut probe = Probe::default();
    assert_eq!(
        probe.observe(&config, Sample::Good).unwrap().to,
        Verdict::Up
    );
    let bad = Sample::Bad(Cause::NoReply);
    for _ in 0..4 {
        assert_eq!(probe.observe(&config, bad), None);
    }
    let down = probe
        .observe(&config, Sample::Bad(Cause::Prohibited))
        .unwrap();
    assert_eq!(
        (down.from, down.to),
        (Verdict::Up, Verdict::Down(Cause::Prohibited))
    );
    assert_eq!(probe.observe(&config, bad), None, "one event");
    assert_eq!(probe.observe(&config, Sample::Good), None);
    assert_eq!(probe.observe(&config, bad), None);
    for _ in 0..2 {
        assert_eq!(probe.observe(&config, Sample::Good), None);
    }
    let text = serde_json::to_string(&probe).unwrap();
    let mut again: Probe = serde_json::from_str(&text).unwrap();
    assert_eq!(
        again.observe(&config, Sample::Good).unwrap().to,
        Verdict::Up,
        "over a restart"
    );
    let mut fresh = Probe::default();
    for _ in 0..4 {
        fresh.observe(&config, bad);
    }
    assert_eq!(fresh.observe(&config, bad).unwrap().from, Verdict::Unknown);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn verdicts_never_flap_on_short_runs(samples in prop::collection::vec(any::<bool>(), 0..300)) {
        let config = ProbeConfig::of(&net("n"), &probing(&[("ping_target", "gateway")])).unwrap().unwrap();
        let mut probe = Probe::default();
        let mut last: Option<usize> = None;
        for (at, good) in samples.iter().enumerate() {
            let sample = if *good { Sample::Good } else { Sample::Bad(Cause::NoReply) };
            if let Some(changed) = probe.observe(&config, sample) {
                prop_assert_ne!(changed.from, changed.to);
                if let Some(last) = last.filter(|_| changed.from != Verdict::Unknown) {
                    prop_assert!(at - last >= 3, "at least the shorter run between changes");
                }
                last = Some(at);
            }
        }
    }

    #[test]
    fn counters_go_on_over_the_top(before in any::<u64>(), step in 0_u64..1_000_000_000) {
        prop_assert_eq!(advance(before, before.wrapping_add(step), 1_000_000_000), step);
    }
}

#[test]
fn rates_tell_received_from_sent() {
    let before = Counters {
        rx_bytes: u64::MAX - 499,
        tx_bytes: 1000,
        rx_dropped: 5,
        tx_dropped: 50,
        ..Counters::default()
    };
    let after = Counters {
        rx_bytes: 500,
        tx_bytes: 2_001_000,
        rx_dropped: 7,
        tx_dropped: 90,
        ..Counters::default()
    };
    let it = rates(before, after, 2_000_000_000, 10).unwrap();
    assert_eq!((it.rx_rate, it.tx_rate), (500.0, 1e6));
    assert_eq!((it.rx_dropped, it.tx_dropped), (1.0, 20.0));
    assert_eq!(it.load, Some(80.0));
    assert_eq!(rates(before, after, 0, 10), None);
    assert_eq!(rates(before, after, 1, 0).unwrap().load, None);
    assert_eq!(
        advance(5_000_000_000_000, 700, 1_000_000_000),
        700,
        "made anew"
    );
    assert_eq!(dropped([before, after]), (12, 140));
}

#[test]
fn aggregation_is_told_in_strings() {
    let mut state = BondState {
        aggregator: Some(2),
        partner_mac: Some(Mac::new([2, 0, 0, 0, 0, 7])),
        ..BondState::default()
    };
    assert_eq!(
        bond::aggregation(&state),
        None,
        "keys are absent in other modes"
    );
    state.options.insert("mode".to_owned(), "4".to_owned());
    let it = bond::aggregation(&state).unwrap();
    assert_eq!(
        (it.aggregator_id.as_str(), it.partner_mac.as_str()),
        ("2", "02:00:00:00:00:07")
    );
    state.partner_mac = None;
    assert_eq!(
        bond::aggregation(&state).unwrap().partner_mac,
        "00:00:00:00:00:00"
    );
    assert!(bond::is_split([Some(1), Some(2), None]) && !bond::is_split([Some(1), Some(1), None]));
}

#[test]
fn a_plan_is_a_readable_diff() {
    let mut after = with_gateway("eth1", "10.1.0.2/24", "10.1.0.1");
    after.vlan = Some(VlanId::new(7).unwrap());
    after.mtu = 9000;
    let after = config(vec![("n", after)]);
    let all = tables(&[&after], &world());
    let plan = planned(&world(), &change(&Config::default(), &after), &all);
    let text = plan.to_string();
    assert_eq!(
        text,
        "\
base:
  ~ eth1: mtu 9000 (was 1500)
management n:
  + vlan eth1.7 (id 7 on eth1)
  ~ eth1.7: up (was down)
  ~ eth1.7: disable_ipv6 1 (was 0)
  + bridge n
  + eth1.7 in n
  ~ n: up (was down)
  ~ n: disable_ipv6 1 (was 0)
  + n: address 10.1.0.2/24
  + route 10.1.0.0/24 dev n table 100001
  + route default (IPv4) via 10.1.0.1 dev n table 100001
  + rule 3200: to 10.1.0.0/24 lookup 100001
  + rule 3200: from 10.1.0.0/24 lookup 100001
"
    );
    let json = serde_json::to_string(&plan).unwrap();
    let again: net_model::Plan = serde_json::from_str(&json).unwrap();
    assert_eq!(
        again, plan,
        "a plan is data: it can be written before it is run"
    );
    assert_eq!(net_model::Plan::default().to_string(), "nothing to do\n");
}

fn thousand(number: u32) -> (Current, Config) {
    let mut current = world();
    let trunk = Link {
        max_mtu: Some(9216),
        ..Link::new(LinkKind::Nic, Mac::new([2, 0, 0, 0, 1, 0]))
    };
    current.links.insert(ifname("trunk"), trunk);
    let networks = (0..number).map(|number| {
        let mut network = with_gateway(
            "trunk",
            &format!("10.{}.{}.2/24", number / 250, number % 250),
            &format!("10.{}.{}.1", number / 250, number % 250),
        );
        network.vlan = Some(VlanId::new(i64::from(number) + 1).unwrap());
        (net(&format!("net{number}")), network)
    });
    (
        current,
        Config {
            networks: networks.collect(),
            ..Config::default()
        },
    )
}

/// Not a measurement (that is `cargo bench -p net-model`): only that nothing is quadratic, on however slow a machine.
#[test]
fn a_thousand_networks_are_planned_at_once() {
    let time = |number| {
        let (current, config) = thousand(number);
        let all = tables(&[&config], &current);
        let begun = Instant::now();
        let plan = planned(&current, &change(&Config::default(), &config), &all);
        let there = plan.result;
        let empty = planned(&there, &change(&config, &config), &all);
        let gone = planned(&there, &change(&config, &Config::default()), &all);
        assert!(empty.is_empty());
        assert_eq!(gone.result.links.len(), current.links.len());
        let one = Desired {
            scope: Scope::Named {
                networks: [net("net7")].into(),
                bonds: BTreeSet::new(),
            },
            ..change(&config, &config)
        };
        assert!(planned(&there, &one, &all).is_empty());
        begun.elapsed()
    };
    let (small, large) = (time(100), time(1000));
    let most = (small * 60).max(Duration::from_secs(30));
    assert!(large < most, "100: {small:?}, 1000: {large:?}");
}
