//! Routes, rules and addresses as messages.

use std::net::IpAddr;

use net_model::{Cidr, Expiry, Family, Route, RouteKind, Rule};
use netlink::packet::{
    AddressFamily,
    address::{AddressAttribute, AddressMessage, CacheInfo},
    route::{
        RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteProtocol,
        RouteScope, RouteType,
    },
    rule::{RuleAction, RuleAttribute, RuleMessage},
};

/// The longest time that is not for ever (`INFINITY_LIFE_TIME`).
const LONGEST: u32 = u32::MAX - 1;

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

/// The same for what is left of its time; nothing if that is over. `now`: seconds of the monotonic clock.
pub(crate) fn address_for_a_time(
    index: u32,
    cidr: Cidr,
    expiry: Expiry,
    now: u64,
) -> Option<AddressMessage> {
    // What never ends is no address for a time.
    let left =
        |end: u64| u32::try_from(end.saturating_sub(now)).map_or(LONGEST, |it| it.min(LONGEST));
    let mut times = CacheInfo::default();
    times.ifa_valid = left(expiry.valid);
    times.ifa_preferred = left(expiry.preferred).min(times.ifa_valid);
    let mut message = address_of(index, cidr);
    message.attributes.push(AddressAttribute::CacheInfo(times));
    (times.ifa_valid > 0).then_some(message)
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
    fn an_address_comes_back_for_what_is_left_of_its_time() {
        let times = |valid, preferred| {
            let cidr = "192.0.2.5/24".parse().expect("an address");
            let expiry = Expiry { valid, preferred };
            let message = address_for_a_time(7, cidr, expiry, 1000)?;
            message.attributes.into_iter().find_map(|it| match it {
                AddressAttribute::CacheInfo(it) => Some((it.ifa_valid, it.ifa_preferred)),
                _ => None,
            })
        };
        assert_eq!(times(1060, 1030), Some((60, 30)));
        assert_eq!(times(1060, 990), Some((60, 0)), "deprecated");
        assert_eq!(times(1000, 1000), None, "over");
        assert_eq!(times(u64::MAX, u64::MAX), Some((LONGEST, LONGEST)));
    }

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
