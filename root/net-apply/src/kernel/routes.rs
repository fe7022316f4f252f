//! Routes, rules and addresses as messages.

use std::net::IpAddr;

use net_model::{Cidr, Family, Route, RouteKind, Rule};
use netlink::packet::{
    AddressFamily,
    address::{AddressAttribute, AddressMessage},
    route::{
        RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteProtocol,
        RouteScope, RouteType,
    },
    rule::{RuleAction, RuleAttribute, RuleMessage},
};

/// The message of a route; `device` is the index of its interface.
pub(super) fn route(route: &Route, device: Option<u32>) -> RouteMessage {
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family = family(route.family());
    header.destination_prefix_length = route.destination.prefix();
    header.table = short_table(route.table);
    header.protocol = RouteProtocol::from(route.protocol);
    header.scope = RouteScope::from(route.scope());
    header.kind = match route.kind {
        RouteKind::Unicast => RouteType::Unicast,
        RouteKind::Blackhole => RouteType::BlackHole,
        RouteKind::Unreachable => RouteType::Unreachable,
        RouteKind::Prohibit => RouteType::Prohibit,
    };
    if route.onlink {
        header.flags = RouteFlags::Onlink;
    }
    let all = [
        Some(RouteAttribute::Table(route.table)),
        (!route.destination.is_any())
            .then(|| RouteAttribute::Destination(address(route.destination.ip()))),
        (route.metric != 0).then_some(RouteAttribute::Priority(route.metric)),
        route.via.map(|it| RouteAttribute::Gateway(address(it))),
        route
            .source
            .map(|it| RouteAttribute::PrefSource(address(it))),
        device.map(RouteAttribute::Oif),
        route
            .mtu
            .map(|it| RouteAttribute::Metrics(vec![RouteMetric::Mtu(it)])),
    ];
    message.attributes = all.into_iter().flatten().collect();
    message
}

/// The message of a rule.
pub(super) fn rule(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    let header = &mut message.header;
    header.family = family(rule.family);
    header.table = short_table(rule.table);
    header.action = RuleAction::ToTable;
    header.src_len = rule.from.map_or(0, Cidr::prefix);
    header.dst_len = rule.to.map_or(0, Cidr::prefix);
    let all = [
        Some(RuleAttribute::Table(rule.table)),
        Some(RuleAttribute::Priority(rule.priority)),
        rule.from.map(|it| RuleAttribute::Source(it.ip())),
        rule.to.map(|it| RuleAttribute::Destination(it.ip())),
        Some(RuleAttribute::Protocol(RouteProtocol::from(rule.protocol))),
    ];
    message.attributes = all.into_iter().flatten().collect();
    message
}

/// The message of an address; `index` is that of its interface.
pub(super) fn address_of(index: u32, cidr: Cidr) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(cidr.family());
    message.header.prefix_len = cidr.prefix();
    message.header.index = index;
    message.attributes = vec![
        AddressAttribute::Local(cidr.ip()),
        AddressAttribute::Address(cidr.ip()),
    ];
    if let Some(broadcast) = broadcast(cidr) {
        message
            .attributes
            .push(AddressAttribute::Broadcast(broadcast));
    }
    message
}

/// The broadcast address of a network that has one.
fn broadcast(cidr: Cidr) -> Option<std::net::Ipv4Addr> {
    let IpAddr::V4(ip) = cidr.ip() else {
        return None;
    };
    let host = u32::MAX.checked_shr(u32::from(cidr.prefix()))?;
    (host > 1).then(|| (ip.to_bits() | host).into())
}

fn family(family: Family) -> AddressFamily {
    match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    }
}

/// The header has a byte for the table; a greater number stands in an attribute alone.
fn short_table(table: u32) -> u8 {
    u8::try_from(table).unwrap_or(0)
}

fn address(ip: IpAddr) -> RouteAddress {
    match ip {
        IpAddr::V4(it) => RouteAddress::Inet(it),
        IpAddr::V6(it) => RouteAddress::Inet6(it),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcast_addresses() {
        let of = |text: &str| broadcast(text.parse().expect("an address")).map(|it| it.to_string());
        assert_eq!(of("192.0.2.5/24").as_deref(), Some("192.0.2.255"));
        assert_eq!(of("10.0.0.1/30").as_deref(), Some("10.0.0.3"));
        assert_eq!(of("10.0.0.0/31"), None);
        assert_eq!(of("10.0.0.1/32"), None);
        assert_eq!(of("2001:db8::1/64"), None);
    }
}
