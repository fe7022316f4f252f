//! Random configurations on the real kernel: every step leaves what the model says, the plan of what was reached is
//! empty, every start of a plan can be undone, nothing foreign is touched. The generator is the model's own.
//!
//! `NET_CASES` says how many pairs of configurations are tried (6).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that cannot go on ends"
)]

mod common;
#[path = "../../../model/net-model/tests/common/mod.rs"]
mod generator;

use std::fmt::Write as _;

use common::{Host, compare::differences, kernel_defaults, soon};
use generator::{FOREIGN, change, config, tables};
use net_apply::Machine as _;
use net_model::{Config, Current, Kernel, Plan, Step, Tables, plan, validate};
use netns::{Peer, can_make, ip};
use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config as Settings, TestError, TestRunner},
};

/// What this kernel can do.
#[derive(Debug, Clone, Copy)]
struct Can {
    vlan: bool,
    bond: bool,
    shaping: bool,
}

impl Can {
    fn probe() -> Self {
        let can = Self {
            vlan: can_make("vlan"),
            bond: can_make("bond"),
            shaping: common::shapes(),
        };
        for (word, able) in [
            ("VLANs", can.vlan),
            ("bonds", can.bond),
            ("HFSC", can.shaping),
        ] {
            if !able {
                println!("skipped: configurations with {word}: this kernel has none");
            }
        }
        can
    }

    /// The configuration without what the kernel cannot do. What used to be a VLAN gets a bridge of its own.
    fn trim(self, mut config: Config) -> Config {
        if !self.bond {
            let bonds = std::mem::take(&mut config.bonds);
            config.networks.retain(|_, it| {
                it.base
                    .as_ref()
                    .is_none_or(|it| !bonds.contains_key(it.device()))
            });
        }
        if !self.vlan {
            config.networks.retain(|_, it| it.vlan.is_none());
        }
        if !self.shaping {
            config.networks.values_mut().for_each(|it| it.qos = None);
        }
        config
    }
}

/// The generator's world on the kernel: six cards, one with an administrator's addresses and routes; foreign things.
fn make_world(host: &Host, peers: &Peer, can: Can) {
    let mut lines = String::new();
    for name in ["eth0", "eth1", "eth2", "eth3", "eth4", "eth5", "eth9"] {
        let number = &name[3..];
        let netns = peers.pid();
        writeln!(
            lines,
            "link add {name} address 02:00:00:00:00:0{number} type veth peer name p{number} netns {netns}"
        )
        .unwrap();
    }
    lines.push_str("link set eth9 mtu 2000\n");
    lines.push_str("link add br-ext type bridge\nlink add vnet0 type veth peer name vnet0p\n");
    lines.push_str("link set vnet0 master br-ext\n");
    let mut ninth = "eth9";
    if can.vlan {
        ninth = "eth9.99";
        lines.push_str("link add link eth9 name eth9.99 type vlan id 99\n");
        lines.push_str("link set eth9.99 mtu 1900\n");
    }
    for number in [0, 1, 2, 3, 4, 5, 9] {
        writeln!(lines, "link set eth{number} up").unwrap();
    }
    lines.push_str("link set vnet0 up\nlink set br-ext up\n");
    writeln!(
        lines,
        "link set {ninth} up
         addr add 192.0.2.5/24 dev eth0
         addr add 2001:db8:99::5/64 dev eth0 valid_lft 90000 preferred_lft 90000 nodad
         addr add 203.0.113.9/24 dev {ninth}
         route add default via 192.0.2.1 dev eth0 proto static
         route add 198.51.100.0/24 via 203.0.113.1 dev {ninth} proto static
         route add 2001:db8:77::/64 dev eth9 proto static
         rule add from 203.0.113.0/24 lookup 77 priority 100 protocol 0"
    )
    .unwrap();
    ip(&lines);
    let up: Vec<String> = ["0", "1", "2", "3", "4", "5", "9"]
        .map(|it| format!("link set p{it} mtu 9300 up\n"))
        .into();
    peers.ip(&up.concat());
    host.set_nameservers(&["192.0.2.53".parse().unwrap()]);
}

/// The kernel's state, its own words for what foreign links have.
fn foreign(state: &Current) -> Vec<String> {
    let is_foreign = |name: &net_model::IfName| FOREIGN.contains(&name.as_str());
    let mut all = Vec::new();
    for (name, link) in state.links.iter().filter(|(name, _)| is_foreign(name)) {
        let lasting = link.addresses.iter().filter(|it| !it.is_link_local());
        let lasting: Vec<_> = lasting.map(|it| it.cidr).collect();
        all.push(format!(
            "{name} {} {:?} {} {lasting:?}",
            link.mtu, link.master, link.up
        ));
    }
    let routes = state.routes.iter();
    let routes = routes.filter(|it| it.device.as_ref().is_some_and(is_foreign));
    all.extend(routes.map(|it| format!("{it:?}")));
    let rules = state.rules.iter();
    let rules = rules.filter(|it| it.protocol != net_model::OUR_PROTOCOL);
    all.extend(rules.map(|it| format!("{it:?}")));
    all
}

fn planned(current: &Current, before: &Config, after: &Config, all: &Tables) -> Plan {
    let desired = change(before, after);
    validate(current, &desired).unwrap();
    plan(current, &desired, all).unwrap()
}

fn fail(why: String) -> TestCaseError {
    TestCaseError::fail(why)
}

/// Runs a plan step by step, each twice; the kernel must agree with the model after each.
fn walk(host: &Host, plan: &Plan, pinned: &Config) -> Result<(), TestCaseError> {
    let mut model = Kernel::new(host.current());
    for bridge in pinned.networks.keys().filter_map(|it| it.bridge().ok()) {
        model = model.with_pinned(bridge);
    }
    for (at, it) in plan.steps.iter().enumerate() {
        let said = model.apply(&it.step);
        said.map_err(|error| fail(format!("{error} at {at} of\n{plan}")))?;
        for time in ["", " again"] {
            let one = [it.clone()];
            host.machine
                .run(&one, soon())
                .map_err(|halted| fail(format!("{:?} at {at}{time} of\n{plan}", halted.source)))?;
            let wrong = differences(model.state(), &host.current());
            if !wrong.is_empty() {
                return Err(fail(format!(
                    "{wrong:#?}\nafter {it} ({at}{time}) of\n{plan}"
                )));
            }
        }
    }
    Ok(())
}

/// Runs some of the plan, undoes it, compares.
fn back(host: &Host, plan: &Plan, done: usize) -> Result<(), TestCaseError> {
    let before = host.current();
    let steps = plan.steps.get(..done).unwrap();
    host.machine
        .run(steps, soon())
        .map_err(|halted| fail(format!("{halted:?} of\n{plan}")))?;
    let failed = host.machine.undo(&plan.undo(done), soon());
    let wrong = differences(&before, &host.current());
    if failed.is_empty() && wrong.is_empty() {
        return Ok(());
    }
    let undo: Vec<String> = plan.undo(done).iter().map(Step::to_string).collect();
    Err(fail(format!(
        "{failed:#?}{wrong:#?}\nundoing {done} of\n{plan}\nby {undo:#?}"
    )))
}

fn case(
    host: &Host,
    first: &Config,
    second: &Config,
    starts: &[usize],
) -> Result<(), TestCaseError> {
    let start = host.current();
    let all = tables(&[first, second], &start);
    let none = Config::default();
    let one = planned(&start, &none, first, &all);
    walk(host, &one, &none)?;
    let there = host.current();
    let again = planned(&there, first, first, &all);
    prop_assert!(again.is_empty(), "after\n{one}again\n{again}");
    let two = planned(&there, first, second, &all);
    for start in starts {
        back(host, &two, start % (two.steps.len() + 1))?;
    }
    host.machine
        .run(&two.steps, soon())
        .map_err(|halted| fail(format!("{halted:?} of\n{two}")))?;
    let end = host.current();
    let again = planned(&end, second, second, &all);
    prop_assert!(again.is_empty(), "after\n{two}again\n{again}");
    let wrong = differences(&two.result, &end);
    prop_assert!(wrong.is_empty(), "{wrong:#?}\nafter\n{two}");
    prop_assert_eq!(foreign(&end), foreign(&start));
    Ok(())
}

fn cases() -> u32 {
    let number = std::env::var("NET_CASES");
    number.ok().and_then(|it| it.parse().ok()).unwrap_or(6)
}

/// In a fresh network: the thread is of that namespace, the process is not.
fn in_world<T: Send>(can: Can, test: impl FnOnce(&Host) -> T + Send) -> T {
    let (here, peers) = (Peer::new(), Peer::new());
    here.within(|| {
        kernel_defaults();
        let host = Host::new();
        make_world(&host, &peers, can);
        test(&host)
    })
}

/// What new interfaces of this network begin with from now on: `disable_ipv6`, and the same for all of the others.
fn new_ones_have(disabled: bool, routers: bool) {
    for (name, value) in [
        ("disable_ipv6", disabled),
        ("autoconf", routers),
        ("accept_ra", routers),
        ("accept_ra_defrtr", routers),
    ] {
        let path = format!("/proc/sys/net/ipv6/conf/default/{name}");
        std::fs::write(path, u8::from(value).to_string()).unwrap();
    }
}

fn on_random_worlds(
    cases: u32,
    test: impl Fn(&Host, &Config, &Config, &[usize]) -> Result<(), TestCaseError> + Sync,
) {
    let can = Can::probe();
    let settings = Settings {
        cases,
        failure_persistence: None,
        max_shrink_iters: 40,
        ..Settings::default()
    };
    let starts = prop::collection::vec(any::<usize>(), 3);
    let result =
        TestRunner::new(settings).run(&(config(), config(), starts), |(first, second, starts)| {
            let (first, second) = (can.trim(first), can.trim(second));
            in_world(can, |host| test(host, &first, &second, &starts))
        });
    match result {
        Ok(()) => {}
        // The reason holds the plan; the configurations would hide it.
        Err(TestError::Fail(reason, _)) => panic!("{reason}"),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn netns_plans_end_in_what_the_model_says() {
    guard::in_network!(|| on_random_worlds(cases(), case));
}

#[test]
fn netns_plans_are_true_where_new_interfaces_have_other_settings() {
    guard::in_network!(|| {
        for (disabled, routers) in [(true, true), (false, false)] {
            on_random_worlds(cases().div_ceil(3), |host, first, second, starts| {
                new_ones_have(disabled, routers);
                case(host, first, second, starts)
            });
        }
    });
}

#[test]
fn netns_every_start_of_a_plan_can_be_undone() {
    guard::in_network!(|| {
        let can = Can::probe();
        let mut runner = TestRunner::deterministic();
        let (first, second) = loop {
            let pair = (config(), config())
                .new_tree(&mut runner)
                .unwrap()
                .current();
            let pair = (can.trim(pair.0), can.trim(pair.1));
            // One with something to lose and something to gain.
            if pair.0.networks.len() >= 2 && pair.1.networks.len() >= 2 {
                break pair;
            }
        };
        in_world(can, |host| {
            let start = host.current();
            let all = tables(&[&first, &second], &start);
            let one = planned(&start, &Config::default(), &first, &all);
            host.machine.run(&one.steps, soon()).unwrap();
            let two = planned(&host.current(), &first, &second, &all);
            for done in 0..=two.steps.len() {
                if let Err(error) = back(host, &two, done) {
                    panic!("{error}");
                }
            }
        });
    });
}
