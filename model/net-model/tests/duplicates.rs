//! IPv6 addresses that other hosts have: which of a change's are known to be, whether the kernel still asks, and that a plan makes it ask
//! again.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

use std::collections::BTreeSet;

use net_model::{
    Address, Base, Bond, BondState, BridgeConfig, BridgeState, Cidr, Config, Current, Desired,
    IfName, Link, LinkKind, Mac, NetName, Network, Scope, Step, Tables,
    duplicates::{Uniqueness, has_any, uniqueness},
    plan,
};

const OURS: &str = "2001:db8::2/64";

fn name(text: &str) -> IfName {
    IfName::new(text).unwrap()
}

fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

/// A card in the bridge `green`, and one by itself.
fn there() -> Current {
    let link = |kind| Link::new(kind, Mac::default());
    let mut links = [
        (name("eth0"), link(LinkKind::Nic)),
        (name("eth1"), link(LinkKind::Nic)),
        (
            name("green"),
            link(LinkKind::Bridge(BridgeState::default())),
        ),
    ];
    links[0].1.master = Some(name("green"));
    Current {
        links: links.into(),
        ipv6: true,
        ..Current::default()
    }
}

fn to(networks: &[(&str, Base, bool)]) -> Desired {
    let mut after = Config::default();
    for (text, base, bridged) in networks {
        let mut network = Network {
            base: Some(base.clone()),
            bridge: bridged.then(BridgeConfig::default),
            ..Network::default()
        };
        network.ipv6.addresses.push(cidr(OURS));
        after.networks.insert(NetName::new(text).unwrap(), network);
    }
    Desired {
        before: Config::default(),
        after,
        scope: Scope::All,
    }
}

fn green() -> Desired {
    to(&[("green", Base::Nic(name("eth0")), true)])
}

fn with(current: &mut Current, link: &str, text: &str, tentative: bool, dad_failed: bool) {
    let address = Address {
        tentative,
        dad_failed,
        ..Address::lasting(cidr(text))
    };
    let link = current.links.get_mut(&name(link)).unwrap();
    link.addresses.push(address);
}

fn lines(all: &Uniqueness) -> Vec<String> {
    all.duplicates.iter().map(ToString::to_string).collect()
}

#[test]
fn what_others_have_is_named() {
    let mut current = there();
    with(&mut current, "green", "2001:db8::9/64", true, true);
    with(&mut current, "eth1", OURS, true, true);
    assert_eq!(uniqueness(&current, &green()), Uniqueness::default());
    with(&mut current, "green", OURS, true, true);
    let found = uniqueness(&current, &green());
    assert!(!found.undecided);
    assert_eq!(
        lines(&found),
        [
            "green: 2001:db8::2/64 on green is a duplicate: another host of that link has the address, \
             one of the two needs another"
        ]
    );
    // Only what the change is about.
    let others = Desired {
        scope: Scope::Named {
            networks: BTreeSet::new(),
            bonds: BTreeSet::new(),
        },
        ..green()
    };
    assert!(has_any(&green()) && !has_any(&others));
    assert_eq!(uniqueness(&current, &others), Uniqueness::default());
}

#[test]
fn it_is_undecided_only_where_somebody_could_answer() {
    let undecided = |current: &Current, desired: &Desired| uniqueness(current, desired).undecided;
    let mut current = there();
    with(&mut current, "green", OURS, false, false);
    assert!(!undecided(&current, &green()), "it is in use");
    let mut current = there();
    with(&mut current, "green", OURS, true, false);
    assert!(undecided(&current, &green()));
    let set = |current: &mut Current, link: &str, up: bool, carrier: bool| {
        let link = current.links.get_mut(&name(link)).unwrap();
        (link.up, link.carrier) = (up, carrier);
    };
    set(&mut current, "green", true, false);
    assert!(undecided(&current, &green()), "its port has a carrier");
    set(&mut current, "eth0", true, false);
    assert!(!undecided(&current, &green()), "nothing is plugged in");
    set(&mut current, "eth0", true, true);
    set(&mut current, "green", false, false);
    assert!(!undecided(&current, &green()), "it is down");
}

#[test]
fn a_bond_without_carrier_may_get_one_from_its_ports() {
    let mut current = there();
    let bond = LinkKind::Bond(BondState::default());
    let mut link = Link::new(bond, Mac::default());
    link.carrier = false;
    current.links.insert(name("bond0"), link);
    with(&mut current, "bond0", OURS, true, false);
    let mut desired = to(&[("blue", Base::Bond(name("bond0")), false)]);
    desired.after.bonds.insert(name("bond0"), Bond::default());
    assert!(!uniqueness(&current, &desired).undecided);
    let port = current.links.get_mut(&name("eth1")).unwrap();
    port.master = Some(name("bond0"));
    assert!(uniqueness(&current, &desired).undecided);
}

/// The kernel asks once, when it gets the address.
#[test]
fn a_plan_has_the_kernel_ask_again() {
    let mut current = there();
    with(&mut current, "green", OURS, true, true);
    let desired = Desired {
        before: green().after,
        ..green()
    };
    let planned = |current: &Current| {
        let plan = plan(current, &desired, &Tables::default()).unwrap();
        let all = plan.steps.iter().map(|it| it.step.clone());
        let ours = all.filter(|it| {
            let (Step::AddAddress { address, .. } | Step::RemoveAddress { address, .. }) = it
            else {
                return false;
            };
            *address == cidr(OURS)
        });
        (ours.collect::<Vec<_>>(), plan.result)
    };
    let (link, address) = (name("green"), cidr(OURS));
    let (steps, result) = planned(&current);
    assert_eq!(
        steps,
        [
            Step::RemoveAddress {
                link: link.clone(),
                address
            },
            Step::AddAddress { link, address },
        ]
    );
    assert_eq!(planned(&result).0, vec![], "in the model it is none then");
    // Whether a plan was reached does not hang on it: that is told apart.
    current.overlook_duplicates();
    assert_eq!(planned(&current).0, vec![]);
    assert_eq!(uniqueness(&current, &desired).duplicates, vec![]);
}
