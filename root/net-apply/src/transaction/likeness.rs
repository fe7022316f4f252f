//! Is what a change touched as it was before? What comes and goes by itself (carriers, leases, router advertisements) does not count.

use std::collections::BTreeSet;

use net_model::{
    Address, Current, DhcpClient, Family, IfName, Link, LinkKind, OUR_PROTOCOL, Planned,
    RA_PROTOCOL, Route, Step,
};

/// Interfaces that the steps act on, and those that they mention.
pub(crate) fn touched<'a>(steps: impl IntoIterator<Item = &'a Planned>) -> BTreeSet<IfName> {
    let mut names = BTreeSet::new();
    for it in steps {
        let all = std::iter::once(&it.step).chain(&it.undo);
        names.extend(all.filter_map(Step::device).cloned());
    }
    names
}

/// That part of a state that a change touches, and what belongs to no interface.
pub(crate) fn part(state: &Current, touched: &BTreeSet<IfName>) -> Current {
    let mut part = state.clone();
    part.links.retain(|name, _| touched.contains(name));
    part.routes
        .retain(|it| it.device.as_ref().is_some_and(|it| touched.contains(it)));
    part.rules.retain(|it| it.protocol == OUR_PROTOCOL);
    part.qos.retain(|name, _| touched.contains(name));
    part.dhcp.retain(|name, _| touched.contains(name));
    part
}

/// What is not as it was, each on a line; `before` is a [`part`].
pub(crate) fn differences(
    before: &Current,
    now: &Current,
    touched: &BTreeSet<IfName>,
) -> Vec<String> {
    let now = part(now, touched);
    let mut lines = Vec::new();
    for name in touched {
        match (before.links.get(name), now.links.get(name)) {
            (None, None) => {}
            (Some(_), None) => lines.push(format!("{name} is gone")),
            (None, Some(_)) => lines.push(format!("{name} is there")),
            (Some(old), Some(new)) => compare(name, old, new, &mut lines),
        }
    }
    let leased = !before.dhcp.is_empty() || !now.dhcp.is_empty();
    if !leased {
        sets("route", routes(before), routes(&now), &mut lines);
        sets("rule", before.rules.iter(), now.rules.iter(), &mut lines);
    }
    if before.qos != now.qos {
        lines.push("the shaping differs".to_owned());
    }
    if clients(before) != clients(&now) {
        lines.push("the DHCP clients differ".to_owned());
    }
    lines
}

fn clients(state: &Current) -> BTreeSet<(&IfName, Family, u32, bool)> {
    let all = state.dhcp.iter();
    all.flat_map(|(name, clients)| {
        let of = move |it: &DhcpClient| (name, it.family, it.table, it.dns);
        clients.iter().map(of)
    })
    .collect()
}

fn compare(name: &IfName, old: &Link, new: &Link, lines: &mut Vec<String>) {
    if word(old) != word(new) {
        lines.push(format!("{name} is a {}, it was a {}", word(new), word(old)));
    }
    if old.mtu != new.mtu {
        lines.push(format!("{name} has mtu {}, it had {}", new.mtu, old.mtu));
    }
    if old.up != new.up {
        let up = if new.up { "up" } else { "down" };
        lines.push(format!("{name} is {up}"));
    }
    if old.master != new.master {
        lines.push(format!("{name} is not in the bridge or bond it was in"));
    }
    let lasting = |link: &Link| -> BTreeSet<String> {
        let all = link.addresses.iter();
        let all = all.filter(|it: &&Address| !it.dynamic && !it.is_link_local());
        all.map(|it| it.cidr.to_string()).collect()
    };
    let what = format!("{name}: address");
    sets(&what, lasting(old).iter(), lasting(new).iter(), lines);
}

fn word(link: &Link) -> &str {
    match &link.kind {
        // What a card is called is no matter of ours.
        LinkKind::Nic | LinkKind::Other(_) => "card",
        other => other.word(),
    }
}

/// Routes that somebody has made, and that no client or router brings.
fn routes(state: &Current) -> impl Iterator<Item = &Route> {
    state.routes.iter().filter(|it| it.protocol != RA_PROTOCOL)
}

fn sets<T: Ord + std::fmt::Display>(
    what: &str,
    old: impl Iterator<Item = T>,
    new: impl Iterator<Item = T>,
    lines: &mut Vec<String>,
) {
    let (old, new): (BTreeSet<T>, BTreeSet<T>) = (old.collect(), new.collect());
    lines.extend(
        old.difference(&new)
            .map(|it| format!("{what} {it} is gone")),
    );
    lines.extend(
        new.difference(&old)
            .map(|it| format!("{what} {it} is there")),
    );
}
