//! The model's state against the kernel's.

use std::collections::{BTreeMap, BTreeSet};

use net_model::{Current, Family, IfName, Link, LinkKind, RA_PROTOCOL, Route, bond, bridge};

/// What differs between what the model says (or what was) and what the kernel has, in few words.
///
/// Not compared: what the model does not know (carriers, the hardware address of a bridge that nobody gave one,
/// attributes of bridges and bonds that nobody set; the hardware addresses of bonds, of their ports and VLANs, which
/// depend on who came in first, and on the mode), and what IPv6 makes by itself.
pub(crate) fn differences(model: &Current, real: &Current) -> Vec<String> {
    let mut all = Vec::new();
    let names: BTreeSet<&IfName> = model.links.keys().chain(real.links.keys()).collect();
    for name in names {
        match (model.links.get(name), real.links.get(name)) {
            (Some(a), Some(b)) => link(name, a, b, follows(name, b, real), &mut all),
            (Some(_), None) => all.push(format!("{name} is not there")),
            (None, _) => all.push(format!("{name} is there")),
        }
    }
    let (a, b) = (routes(model), routes(real));
    all.extend(a.difference(&b).map(|it| format!("no route {it:?}")));
    all.extend(b.difference(&a).map(|it| format!("a route {it:?}")));
    let rules = model.rules.difference(&real.rules);
    all.extend(rules.map(|it| format!("no rule {it:?}")));
    let rules = real.rules.difference(&model.rules);
    all.extend(rules.map(|it| format!("a rule {it:?}")));
    say("qos", &model.qos, &real.qos, &mut all);
    say("dhcp", &model.dhcp, &real.dhcp, &mut all);
    say(
        "nameservers",
        &model.nameservers,
        &real.nameservers,
        &mut all,
    );
    all
}

fn say<T: PartialEq + std::fmt::Debug>(what: &str, a: &T, b: &T, all: &mut Vec<String>) {
    if a != b {
        all.push(format!("{what}: not {a:?} but {b:?}"));
    }
}

fn routes(state: &Current) -> BTreeSet<Route> {
    let all = state.routes.iter().filter(|it| it.protocol != RA_PROTOCOL);
    all.cloned().collect()
}

/// Has it its hardware address from others: a bridge that nobody gave one the least of its ports, bonds and what is
/// in or on them that of the first port?
fn follows(name: &IfName, link: &Link, state: &Current) -> bool {
    let is_bond = |name: &IfName| {
        let link = state.links.get(name);
        link.is_some_and(|it| matches!(it.kind, LinkKind::Bond(_)))
    };
    let above_bond = matches!(&link.kind, LinkKind::Vlan { parent, .. } if is_bond(parent));
    if is_bond(name) || above_bond || link.master.as_ref().is_some_and(is_bond) {
        return true;
    }
    let ports = state.ports_of(name).filter_map(|it| state.links.get(it));
    let least = ports.map(|it| it.mac).min();
    matches!(link.kind, LinkKind::Bridge(_)) && least == Some(link.mac)
}

fn link(name: &IfName, a: &Link, b: &Link, follows: bool, all: &mut Vec<String>) {
    let mut differs = |what: &str, a: String, b: String| {
        if a != b {
            all.push(format!("{name}: {what} is not {a} but {b}"));
        }
    };
    differs("its kind", kind(&a.kind), kind(&b.kind));
    differs("its MTU", a.mtu.to_string(), b.mtu.to_string());
    differs("up", a.up.to_string(), b.up.to_string());
    differs(
        "its master",
        format!("{:?}", a.master),
        format!("{:?}", b.master),
    );
    if !a.mac.is_zero() && !follows {
        differs("its address", a.mac.to_string(), b.mac.to_string());
    }
    for family in Family::ALL {
        differs("its addresses", addresses(a, family), addresses(b, family));
    }
    if let (Some(a), Some(b)) = (a.ipv6, b.ipv6) {
        differs("its IPv6", format!("{a:?}"), format!("{b:?}"));
    }
    let changes = |it: &LinkKind| matches!(it, LinkKind::Bridge(it) if it.tree_changes);
    let hidden = changes(&a.kind) || changes(&b.kind);
    for (option, value) in options(&a.kind) {
        if hidden && option == bridge::AGEING_TIME {
            continue;
        }
        let now = options(&b.kind).remove(&option).unwrap_or_default();
        if !bridge::same_value(&value, &now) {
            differs(&option, value, now);
        }
    }
}

fn kind(kind: &LinkKind) -> String {
    match kind {
        LinkKind::Bond(_) => "bond".to_owned(),
        LinkKind::Bridge(_) => "bridge".to_owned(),
        other => format!("{other:?}"),
    }
}

fn options(kind: &LinkKind) -> BTreeMap<String, String> {
    match kind {
        LinkKind::Bridge(it) => {
            let mut all = it.options.clone();
            all.insert("stp_state".to_owned(), u8::from(it.stp).to_string());
            all.retain(|name, value| {
                name == "stp_state" || bridge::default_value(name).is_some_and(|it| it != value)
            });
            all
        }
        LinkKind::Bond(it) => {
            let mut all = it.options.clone();
            all.retain(|name, value| {
                name == "mode" || bond::default_value(name).is_some_and(|it| it != value)
            });
            all
        }
        _ => BTreeMap::new(),
    }
}

/// Those of IPv4 have an order.
fn addresses(link: &Link, family: Family) -> String {
    let all = link.addresses.iter();
    let all = all.filter(|it| it.cidr.family() == family && !it.is_link_local());
    let mut all: Vec<_> = all.map(|it| (it.cidr, it.dynamic)).collect();
    if family == Family::V6 {
        all.sort();
    }
    format!("{all:?}")
}
