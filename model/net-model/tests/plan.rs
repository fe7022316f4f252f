//! What a plan must be, over random configurations: it ends in what is desired, is empty when that is reached, can be
//! undone from every step, touches nothing foreign.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on ends"
)]

mod common;

use common::{
    change, cidr, config, differences, foreign_part, holds, ifname, net, planned, run, tables,
    world,
};
use net_model::{
    Address, Base, Bond, BridgeConfig, Config, Current, DhcpClient, Expiry, Family, Ipv6Settings,
    Kernel, LinkKind, MAIN_TABLE, Network, OUR_PROTOCOL, Plan, Route, Stage, Step, Tables, plan,
    undo,
};
use proptest::prelude::*;

/// Two states alike, but for what the kernel does not tell or no undo can bring back: what DHCP brought (its client starts again),
/// carriers, and attributes of bonds and bridges that are the default of new ones.
fn alike(state: &Current) -> Current {
    let mut state = state.clone();
    for link in state.links.values_mut() {
        link.carrier = false;
        link.permanent_mac = None;
        link.addresses.sort_by_key(|it| match it.cidr.ip() {
            std::net::IpAddr::V4(_) => None,
            std::net::IpAddr::V6(_) => Some(it.cidr),
        });
        match &mut link.kind {
            LinkKind::Bridge(it) => it.options.retain(|option, value| {
                option != "stp_state"
                    && net_model::bridge::default_value(option) != Some(value.as_str())
            }),
            LinkKind::Bond(it) => it.options.retain(|option, value| {
                net_model::bond::default_value(option) != Some(value.as_str())
            }),
            _ => {}
        }
    }
    state
}

fn reach(current: &Current, before: &Config, after: &Config, all: &Tables) -> (Plan, Current) {
    let desired = change(before, after);
    let plan = planned(current, &desired, all);
    let mut kernel = Kernel::new(current.clone());
    for bridge in before.networks.keys().filter_map(|it| it.bridge().ok()) {
        kernel = kernel.with_pinned(bridge);
    }
    run(&mut kernel, &plan);
    (plan, kernel.into_state())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ends_in_what_is_desired_and_is_empty_then(first in config(), second in config()) {
        let start = world();
        let all = tables(&[&first, &second], &start);
        let (plan_a, there) = reach(&start, &Config::default(), &first, &all);
        prop_assert_eq!(holds(&there, &first, &all), Ok(()), "{}", plan_a);
        prop_assert_eq!(plan(&there, &change(&first, &first), &all).unwrap().steps, vec![]);
        let (plan_b, end) = reach(&there, &first, &second, &all);
        prop_assert_eq!(holds(&end, &second, &all), Ok(()), "{}", plan_b);
        prop_assert_eq!(plan(&end, &change(&second, &second), &all).unwrap().steps, vec![]);
        prop_assert_eq!(foreign_part(&end), foreign_part(&start));
    }

    #[test]
    fn every_start_of_it_can_be_undone(first in config(), second in config()) {
        let start = world();
        let all = tables(&[&first, &second], &start);
        let (_, there) = reach(&start, &Config::default(), &first, &all);
        let plan = planned(&there, &change(&first, &second), &all);
        let mut kernel = Kernel::new(there.clone());
        for done in 0..=plan.steps.len() {
            let mut back = kernel.clone();
            for step in plan.undo(done) {
                back.apply(&step).map_err(|it| TestCaseError::fail(
                    format!("{it} undoing {done} of:\n{plan}")
                ))?;
            }
            let wrong = differences(&alike(back.state()), &alike(&there));
            prop_assert!(wrong.is_empty(), "undoing {} of:\n{}{:#?}", done, plan, wrong);
            if let Some(it) = plan.steps.get(done) {
                kernel.apply(&it.step).unwrap();
            }
        }
    }

    #[test]
    fn lanes_run_in_any_order(first in config(), second in config(), seed in any::<u64>()) {
        let start = world();
        let all = tables(&[&first, &second], &start);
        let (_, there) = reach(&start, &Config::default(), &first, &all);
        let plan = planned(&there, &change(&first, &second), &all);
        let mut kernel = Kernel::new(there.clone());
        let mut done = Vec::new();
        let mut seed = seed;
        for run in plan.lanes() {
            let mut lanes: Vec<&[net_model::Planned]> = run;
            while !lanes.is_empty() {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = (seed >> 33) as usize % lanes.len();
                let (it, rest) = lanes[at].split_first().unwrap();
                kernel.apply(&it.step).unwrap();
                done.push(it.clone());
                if rest.is_empty() {
                    lanes.remove(at);
                } else {
                    lanes[at] = rest;
                }
            }
        }
        let wrong = differences(kernel.state(), &plan.result);
        prop_assert!(wrong.is_empty(), "{plan}{wrong:#?}");
        for step in undo(&done) {
            kernel.apply(&step).unwrap();
        }
        let wrong = differences(&alike(kernel.state()), &alike(&there));
        prop_assert!(wrong.is_empty(), "{plan}{wrong:#?}");
    }

    #[test]
    fn stages_follow_each_other(first in config(), second in config()) {
        let start = world();
        let all = tables(&[&first, &second], &start);
        let plan = planned(&start, &change(&Config::default(), &first), &all);
        let stages: Vec<Stage> = plan.steps.iter().map(|it| it.stage).collect();
        prop_assert!(stages.is_sorted());
        let links = |step: &Step| matches!(
            step,
            Step::CreateBridge { .. } | Step::CreateVlan { .. } | Step::SetMaster { .. }
        );
        for it in plan.steps.iter().filter(|it| it.stage == Stage::Addresses) {
            prop_assert!(!links(&it.step), "links come before addresses");
        }
    }
}

/// An address for a time on eth0: another's, who renews it.
fn leased(start: &mut Current, text: &str) -> Address {
    let address = Address {
        dynamic: true,
        expiry: Some(Expiry {
            valid: 5000,
            preferred: 4000,
        }),
        ..Address::lasting(cidr(text))
    };
    let eth0 = start.links.get_mut(&ifname("eth0")).unwrap();
    eth0.addresses.push(address);
    address
}

/// A network on eth0 itself.
fn plain(address: &str) -> Config {
    let mut network = Network {
        base: Some(Base::Nic(ifname("eth0"))),
        ..Network::default()
    };
    let address = cidr(address);
    let addresses = match address.ip() {
        std::net::IpAddr::V4(_) => &mut network.ipv4.addresses,
        std::net::IpAddr::V6(_) => &mut network.ipv6.addresses,
    };
    addresses.push(address);
    let mut config = Config::default();
    config.networks.insert(net("n"), network);
    config
}

#[test]
fn what_was_there_for_a_time_comes_back_for_a_time() {
    for (there, wanted) in [
        // Replaced, and made to last.
        ("192.0.2.77/24", "198.51.100.7/24"),
        ("192.0.2.77/24", "192.0.2.77/24"),
        ("2001:db8:5::7/64", "2001:db8:5::8/64"),
        ("2001:db8:5::7/64", "2001:db8:5::7/64"),
    ] {
        let mut start = world();
        let address = leased(&mut start, there);
        let config = plain(wanted);
        let all = tables(&[&config], &start);
        let plan = planned(&start, &change(&Config::default(), &config), &all);
        let mut kernel = Kernel::new(start.clone());
        run(&mut kernel, &plan);
        let of = |kernel: &Kernel| kernel.link("eth0").unwrap().addresses.clone();
        assert!(!of(&kernel).contains(&address), "{plan}");
        for step in plan.undo(plan.steps.len()) {
            kernel.apply(&step).unwrap();
        }
        let back = of(&kernel);
        let back = back.iter().find(|it| it.cidr == address.cidr).unwrap();
        assert!(
            back.dynamic && back.expiry == address.expiry,
            "{back:?} of {plan}"
        );
    }
}

#[test]
fn a_client_that_stops_takes_its_own_addresses_along_and_no_others() {
    let mut start = world();
    let (eth0, own) = (ifname("eth0"), leased(&mut start, "192.0.2.77/24"));
    let foreign = leased(&mut start, "192.0.2.78/24");
    let router = Address {
        advertised: true,
        ..leased(&mut start, "2001:db8:5::7/64")
    };
    let links = start.links.get_mut(&eth0).unwrap();
    *links.addresses.last_mut().unwrap() = router;
    start.leased.insert(eth0.clone(), vec![own.cidr]);
    let client = |family| DhcpClient {
        family,
        table: 254,
        dns: false,
        stateless: false,
    };
    let both = vec![client(Family::V4), client(Family::V6)];
    start.dhcp.insert(eth0.clone(), both);
    let mut kernel = Kernel::new(start);
    let has = |kernel: &Kernel, it: Address| kernel.link("eth0").unwrap().addresses.contains(&it);
    let stop = |family| Step::StopDhcp {
        link: eth0.clone(),
        family,
    };
    kernel.apply(&stop(Family::V4)).unwrap();
    assert!(!has(&kernel, own) && has(&kernel, foreign) && has(&kernel, router));
    assert!(kernel.state().leased.is_empty());
    kernel.apply(&stop(Family::V6)).unwrap();
    assert!(has(&kernel, foreign) && !has(&kernel, router));
}

/// A foreign default route of IPv6, and a network with another one.
fn rivals(metric: u32) -> (Current, Config, Route) {
    let mut start = world();
    let foreign = Route {
        protocol: 4,
        metric,
        ..Route::ours(
            Some(ifname("eth1")),
            MAIN_TABLE,
            cidr("::/0"),
            Some("fe80::99".parse().unwrap()),
        )
    };
    start.routes.insert(foreign.clone());
    let mut config = plain("2001:db8:5::7/64");
    let network = config.networks.get_mut("n").unwrap();
    network.default_route = true;
    network.ipv6.gateway = Some("2001:db8:5::1".parse().unwrap());
    (start, config, foreign)
}

#[test]
fn a_default_route_of_ipv6_is_not_merged_with_a_foreign_one() {
    let main = |state: &Current| -> Vec<(u32, u8)> {
        let all = state.routes.iter();
        let all = all.filter(|it| it.table == MAIN_TABLE && it.destination == cidr("::/0"));
        let mut all: Vec<_> = all.map(|it| (it.metric, it.protocol)).collect();
        all.sort_unstable();
        all
    };
    for (metric, expected) in [
        (1024, vec![(1023, 118), (1024, 4)]),
        (1000, vec![(1000, 4), (1024, 118)]),
    ] {
        let (start, config, foreign) = rivals(metric);
        let all = tables(&[&config], &start);
        let (plan_a, there) = reach(&start, &Config::default(), &config, &all);
        assert_eq!(main(&there), expected, "{plan_a}");
        let again = plan(&there, &change(&config, &config), &all).unwrap();
        assert_eq!(again.steps, vec![], "{again}");
        let (plan_b, end) = reach(&there, &config, &Config::default(), &all);
        assert_eq!(main(&end), [(metric, 4)], "{plan_b}");
        assert!(end.routes.contains(&foreign));
    }
}

#[test]
fn a_foreign_way_beside_ours_is_not_taken_for_ours() {
    let (mut start, config, foreign) = rivals(1024);
    start.routes.remove(&foreign);
    let all = tables(&[&config], &start);
    let (_, mut there) = reach(&start, &Config::default(), &config, &all);
    // Somebody appends a way; of the route that the kernel makes of both it tells one maker.
    let merged = Route {
        protocol: OUR_PROTOCOL,
        ..foreign
    };
    there.routes.insert(merged.clone());
    let again = plan(&there, &change(&config, &config), &all).unwrap();
    assert_eq!(again.steps, vec![], "{again}");
    // Another gateway of ours is no such way: the old one goes.
    let mut other = config.clone();
    let network = other.networks.get_mut("n").unwrap();
    network.ipv6.gateway = Some("2001:db8:5::2".parse().unwrap());
    let (plan_b, end) = reach(&there, &config, &other, &all);
    let by = |via: &str| {
        let via = Some(via.parse().unwrap());
        let mut all = end.routes.iter();
        all.any(|it| it.table == MAIN_TABLE && it.via == via)
    };
    assert!(by("2001:db8:5::2") && !by("2001:db8:5::1"), "{plan_b}");
}

#[test]
fn new_interfaces_have_what_the_host_says() {
    let mut start = world();
    start.ipv6_defaults = Ipv6Settings {
        disabled: true,
        autoconf: false,
        accept_ra: 0,
        accept_ra_defrtr: false,
    };
    let mut config = plain("2001:db8:5::7/64");
    let network = config.networks.get_mut("n").unwrap();
    network.bridge = Some(BridgeConfig::default());
    let all = tables(&[&config], &start);
    let (plan_a, there) = reach(&start, &Config::default(), &config, &all);
    assert_eq!(holds(&there, &config, &all), Ok(()), "{plan_a}");
    let words = plan_a.to_string();
    assert!(words.contains("disable_ipv6 0 (was 1)"), "{words}");
    assert!(!words.contains("autoconf"), "so already: {words}");
}

/// A bond with these options on two cards.
fn bonded(options: &str) -> Config {
    let bond = Bond {
        slaves: [ifname("eth0"), ifname("eth1")].into(),
        options: options.parse().unwrap(),
        ..Bond::default()
    };
    let mut config = Config::default();
    config.bonds.insert(ifname("bond0"), bond);
    config
}

/// Settings of a bond in the order of a plan.
fn settings(plan: &Plan) -> Vec<String> {
    let set = plan.steps.iter().filter_map(|it| match &it.step {
        Step::SetBondOption { option, value, .. } => Some(format!("{option} {value}")),
        _ => None,
    });
    set.collect()
}

/// The kernel takes no delay where miimon is off, not even none, and keeps delays as so many times miimon.
#[test]
fn delays_of_bonds_go_before_miimon_and_come_after_it() {
    let start = world();
    let first = bonded("mode=1 miimon=50 updelay=100");
    let all = tables(&[&first], &start);
    let (_, there) = reach(&start, &Config::default(), &first, &all);
    for (options, wanted) in [
        (
            "mode=1 arp_interval=100 arp_ip_target=192.0.2.1",
            &[
                "updelay 0",
                "miimon 0",
                "arp_ip_target 192.0.2.1",
                "arp_interval 100",
            ][..],
        ),
        (
            "mode=1 miimon=100 updelay=100",
            &["updelay 0", "miimon 100", "updelay 100"],
        ),
        ("mode=1 miimon=100", &["updelay 0", "miimon 100"]),
        (
            "mode=1 miimon=30 peer_notif_delay=60 updelay=90",
            &[
                "updelay 0",
                "miimon 30",
                "peer_notif_delay 60",
                "updelay 90",
            ],
        ),
    ] {
        let second = bonded(options);
        let (plan, end) = reach(&there, &first, &second, &all);
        assert_eq!(settings(&plan), wanted, "{options}");
        assert_eq!(holds(&end, &second, &all), Ok(()), "{options}");
    }
}
