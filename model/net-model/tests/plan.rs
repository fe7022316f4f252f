//! What a plan must be, over random configurations: it ends in what is desired, is empty when that is reached, can be
//! undone from every step, touches nothing foreign.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on ends"
)]

mod common;

use common::{change, config, differences, foreign_part, holds, planned, run, tables, world};
use net_model::{Config, Current, Kernel, LinkKind, Plan, Stage, Step, Tables, plan, undo};
use proptest::prelude::*;

/// Two states alike, but for what the kernel does not tell or no undo can bring back: what DHCP brought (its client starts again),
/// carriers, and attributes of bonds and bridges that are the default of new ones.
fn alike(state: &Current) -> Current {
    let mut state = state.clone();
    for link in state.links.values_mut() {
        link.carrier = false;
        link.permanent_mac = None;
        link.addresses
            .retain(|it| it.cidr.to_string() != "2001:db8:99::5/64");
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
