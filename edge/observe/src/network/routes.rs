//! Routes and rules.

use std::{collections::BTreeSet, net::IpAddr};

use net_model::{Cidr, Family, IfName, Route, RouteKind, Rule};
use netlink::{
    Channel, NetlinkError,
    packet::{
        AddressFamily, RouteNetlinkMessage,
        route::{
            RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteNextHop,
            RouteNextHopFlags, RouteProtocol, RouteType, RouteVia,
        },
        rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage},
    },
};

use super::Indexes;

const LOCAL_TABLE: u32 = 255;
/// Priorities of the kernel's own rules: local, main, default.
const KERNELS_PRIORITIES: [u32; 3] = [0, 32_766, 32_767];

/// The routes that [`net_model::Current`] holds; one with several next hops counts as one for each. There may be a million:
/// they are taken as they come.
pub(super) fn read(
    channel: &mut Channel,
    indexes: &Indexes,
) -> Result<BTreeSet<Route>, NetlinkError> {
    let request = RouteNetlinkMessage::GetRoute(RouteMessage::default());
    channel.gather(&request, is_wanted, |all, message| {
        if let RouteNetlinkMessage::NewRoute(route) = message {
            add(all, &route, indexes);
        }
    })
}

/// Is it for [`net_model::Current`], as far as `struct rtmsg` (linux/rtnetlink.h) tells? The kernel makes several routes for each
/// address, which are none.
fn is_wanted(body: &[u8]) -> bool {
    let Some(([family, _, _, _, table, protocol, _, kind], rest)) = body.split_first_chunk() else {
        return false;
    };
    let flags = rest.first_chunk().map_or(0, |it| u32::from_ne_bytes(*it));
    let (family, kind) = (AddressFamily::from(*family), RouteType::from(*kind));
    self::family(family).is_some()
        && self::kind(kind).is_some()
        && !is_transient((*protocol).into(), RouteFlags::from_bits_retain(flags))
        && u32::from(*table) != LOCAL_TABLE
}

/// The kernel's own, which comes and goes with an address or a packet.
fn is_transient(protocol: RouteProtocol, flags: RouteFlags) -> bool {
    matches!(
        protocol,
        RouteProtocol::Kernel | RouteProtocol::IcmpRedirect
    ) || flags.contains(RouteFlags::Cloned)
}

fn add(all: &mut BTreeSet<Route>, message: &RouteMessage, indexes: &Indexes) {
    let header = &message.header;
    let (Some(family), Some(kind)) = (family(header.address_family), kind(header.kind)) else {
        return;
    };
    if is_transient(header.protocol, header.flags) {
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

#[cfg(test)]
mod tests {
    use netlink::{core::Emitable as _, packet::route::RouteHeader};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What is passed over unread is what would have been left out.
        #[test]
        fn only_what_counts_is_wanted(
            family in prop::sample::select(vec![0_u8, 2, 7, 10, 28, 128]),
            table in prop::sample::select(vec![0_u8, 100, 252, 254, 255]),
            (protocol, kind) in (0_u8..20, 0_u8..14),
            flags in prop::sample::select(vec![0_u32, 0x4, 0x200, 0x204, 0x4000]),
        ) {
            let header = RouteHeader {
                address_family: family.into(),
                table,
                protocol: protocol.into(),
                kind: kind.into(),
                flags: RouteFlags::from_bits_retain(flags),
                ..RouteHeader::default()
            };
            let mut message = RouteMessage::default();
            message.header = header;
            let mut body = vec![0; message.buffer_len()];
            message.emit(&mut body);
            let mut all = BTreeSet::new();
            add(&mut all, &message, &Indexes::new());
            prop_assert_eq!(is_wanted(&body), !all.is_empty());
        }

        #[test]
        fn any_bytes_are_survived(body in prop::collection::vec(any::<u8>(), 0..16)) {
            prop_assert!(!is_wanted(&body) || body.len() >= 8);
        }
    }
}
