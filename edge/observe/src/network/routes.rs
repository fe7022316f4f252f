//! Routes and rules.

use std::{collections::BTreeSet, net::IpAddr};

use net_model::{Cidr, Family, IfName, Route, RouteKind, Rule};
use netlink::packet::{
    AddressFamily, RouteNetlinkMessage,
    route::{
        RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteNextHop,
        RouteNextHopFlags, RouteProtocol, RouteType, RouteVia,
    },
    rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage},
};

use super::Indexes;

const LOCAL_TABLE: u32 = 255;
/// Priorities of the kernel's own rules: local, main, default.
const KERNELS_PRIORITIES: [u32; 3] = [0, 32_766, 32_767];

/// The routes that [`net_model::Current`] holds; one with several next hops counts as one for each.
pub(super) fn routes(messages: &[RouteNetlinkMessage], indexes: &Indexes) -> BTreeSet<Route> {
    let mut all = BTreeSet::new();
    for message in messages {
        if let RouteNetlinkMessage::NewRoute(route) = message {
            add(&mut all, route, indexes);
        }
    }
    all
}

fn add(all: &mut BTreeSet<Route>, message: &RouteMessage, indexes: &Indexes) {
    let header = &message.header;
    let (Some(family), Some(kind)) = (family(header.address_family), kind(header.kind)) else {
        return;
    };
    let transient = matches!(
        header.protocol,
        RouteProtocol::Kernel | RouteProtocol::IcmpRedirect
    );
    if transient || header.flags.contains(RouteFlags::Cloned) {
        return;
    }
    let mut route = Route {
        kind,
        protocol: u8::from(header.protocol),
        metric: 0,
        ..Route::ours(None, header.table.into(), family.any(), None)
    };
    let mut hops: &[RouteNextHop] = &[];
    route.onlink = header.flags.contains(RouteFlags::Onlink);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(it) => {
                let destination = ip(it).map(|it| Cidr::new(it, header.destination_prefix_length));
                let Some(Ok(destination)) = destination else {
                    return;
                };
                route.destination = destination;
            }
            RouteAttribute::MultiPath(it) => hops = it,
            other => set(&mut route, other, indexes),
        }
    }
    if route.table == LOCAL_TABLE {
        return;
    }
    if kind != RouteKind::Unicast {
        // IPv6 hangs them on the loopback.
        route.device = None;
    }
    if hops.is_empty() {
        all.insert(route);
    } else {
        all.extend(hops.iter().map(|hop| through(&route, hop, indexes)));
    }
}

fn set(route: &mut Route, attribute: &RouteAttribute, indexes: &Indexes) {
    match attribute {
        RouteAttribute::Table(it) => route.table = *it,
        RouteAttribute::Priority(it) => route.metric = *it,
        RouteAttribute::Oif(it) => route.device = indexes.get(it).cloned(),
        RouteAttribute::Gateway(it) => route.via = ip(it),
        RouteAttribute::Via(RouteVia::Inet(it)) => route.via = Some((*it).into()),
        RouteAttribute::Via(RouteVia::Inet6(it)) => route.via = Some((*it).into()),
        RouteAttribute::PrefSource(it) => route.source = ip(it),
        RouteAttribute::Metrics(all) => {
            route.mtu = all.iter().find_map(|it| match it {
                RouteMetric::Mtu(mtu) => Some(*mtu),
                _ => None,
            });
        }
        _ => {}
    }
}

fn through(route: &Route, hop: &RouteNextHop, indexes: &Indexes) -> Route {
    let device: Option<IfName> = indexes.get(&hop.interface_index).cloned();
    let mut one = Route {
        device,
        onlink: hop.flags.contains(RouteNextHopFlags::Onlink),
        ..route.clone()
    };
    hop.attributes
        .iter()
        .for_each(|it| set(&mut one, it, indexes));
    one
}

/// All rules but the kernel's own three.
pub(super) fn rules(messages: &[RouteNetlinkMessage]) -> BTreeSet<Rule> {
    let all = messages.iter().filter_map(|it| match it {
        RouteNetlinkMessage::NewRule(rule) => self::rule(rule),
        _ => None,
    });
    all.collect()
}

fn rule(message: &RuleMessage) -> Option<Rule> {
    let header = &message.header;
    let mut rule = Rule {
        table: header.table.into(),
        priority: 0,
        family: family(header.family)?,
        from: None,
        to: None,
        protocol: 0,
        more: header.action != RuleAction::ToTable
            || header.tos != 0
            || header.flags.contains(RuleFlags::Invert),
    };
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Table(it) => rule.table = *it,
            RuleAttribute::Priority(it) => rule.priority = *it,
            RuleAttribute::Protocol(it) => rule.protocol = u8::from(*it),
            RuleAttribute::Source(it) => rule.from = Cidr::new(*it, header.src_len).ok(),
            RuleAttribute::Destination(it) => rule.to = Cidr::new(*it, header.dst_len).ok(),
            // Always told; all ones is "none".
            RuleAttribute::SuppressPrefixLen(u32::MAX) | RuleAttribute::L3MDev(false) => {}
            _ => rule.more = true,
        }
    }
    let kernels = u8::from(RouteProtocol::Kernel) == rule.protocol
        && KERNELS_PRIORITIES.contains(&rule.priority)
        && rule.from.is_none()
        && rule.to.is_none();
    (!kernels).then_some(rule)
}

fn family(family: AddressFamily) -> Option<Family> {
    match family {
        AddressFamily::Inet => Some(Family::V4),
        AddressFamily::Inet6 => Some(Family::V6),
        _ => None,
    }
}

fn kind(kind: RouteType) -> Option<RouteKind> {
    match kind {
        RouteType::Unicast => Some(RouteKind::Unicast),
        RouteType::BlackHole => Some(RouteKind::Blackhole),
        RouteType::Unreachable => Some(RouteKind::Unreachable),
        RouteType::Prohibit => Some(RouteKind::Prohibit),
        _ => None,
    }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(it) => Some((*it).into()),
        RouteAddress::Inet6(it) => Some((*it).into()),
        _ => None,
    }
}
