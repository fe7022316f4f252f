//! What an interface tells of its addresses and gateways.
//!
//! An interface that carries a network of ours tells what was configured first, as far as it is there: Engine holds the
//! first address and the gateway against what it asked for. Others tell as upstream (`netinfo/addresses.py`,
//! `netinfo/routes.py`).

use std::{collections::BTreeSet, net::IpAddr};

use net_model::{
    Address, Cidr, Config, Current, DhcpClient, Family, IfName, Link, MAIN_TABLE, NetName, Network,
    Route, RouteKind,
};

use crate::RootState;

/// Addresses of an interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IpInfo {
    /// The IPv4 address that stands for all.
    pub first: Option<Cidr>,
    /// All IPv4 addresses, the primary of a network first.
    pub ipv4: Vec<Cidr>,
    /// All IPv6 addresses but those of the link, the primary of a network first.
    pub ipv6: Vec<Cidr>,
    /// IPv4 gateway.
    pub gateway: Option<IpAddr>,
    /// IPv6 gateway.
    pub ipv6_gateway: Option<IpAddr>,
    /// Is the IPv4 gateway the host's default?
    pub is_default_route: bool,
    /// Does a DHCP client give it IPv4 addresses?
    pub dhcpv4: bool,
    /// Does a DHCP client give it IPv6 addresses?
    pub dhcpv6: bool,
    /// Does it take IPv6 addresses from router advertisements?
    pub ipv6_autoconf: bool,
    /// MTU.
    pub mtu: u32,
}

/// Which network lies on which interface.
pub(crate) fn tops(config: &Config) -> Vec<(IfName, &NetName, &Network)> {
    let all = config.networks.iter();
    all.filter_map(|(name, network)| Some((network.top(name).ok()?, name, network)))
        .collect()
}

/// What is asked about all links alike.
pub(crate) struct Ways<'a> {
    current: &'a Current,
    root: Option<&'a RootState>,
    /// Where the host's default routes lead.
    defaults: BTreeSet<IpAddr>,
}

impl<'a> Ways<'a> {
    pub(crate) fn new(current: &'a Current, root: Option<&'a RootState>) -> Self {
        let routes = current.routes.iter();
        let defaults = routes.filter(|it| it.table == MAIN_TABLE && is_gateway(it, Family::V4));
        Self {
            current,
            root,
            defaults: defaults.filter_map(|it| it.via).collect(),
        }
    }
}

/// Addresses of a link; `network` is ours that it carries.
pub(crate) fn of(ways: &Ways<'_>, name: &IfName, link: &Link, network: Option<&Network>) -> IpInfo {
    let Ways { current, root, .. } = *ways;
    let ipv4 = addresses(link, network, Family::V4);
    let ipv6 = addresses(link, network, Family::V6);
    let gateway = gateway(current, name, network, Family::V4);
    IpInfo {
        first: first(&ipv4, gateway, network),
        is_default_route: gateway.is_some_and(|it| ways.defaults.contains(&it)),
        gateway,
        ipv6_gateway: self::gateway(current, name, network, Family::V6),
        dhcpv4: dhcp(root, name, link, network, Family::V4),
        dhcpv6: dhcp(root, name, link, network, Family::V6),
        ipv6_autoconf: autoconf(link, network),
        mtu: link.mtu,
        ipv4,
        ipv6,
    }
}

/// In the kernel's order, but for those that were configured: these come first, in their order. One that another host has is not
/// used, and not told: where it was configured Engine finds the network out of sync.
fn addresses(link: &Link, network: Option<&Network>, family: Family) -> Vec<Cidr> {
    let wanted = network.map(|it| it.ip(family).addresses.as_slice());
    let wanted = wanted.unwrap_or_default();
    let shown = |it: &&Address| it.cidr.family() == family && !it.is_link_local() && !it.dad_failed;
    let there: Vec<Cidr> = link
        .addresses
        .iter()
        .filter(shown)
        .map(|it| it.cidr)
        .collect();
    let known = wanted.iter().filter(|it| there.contains(it)).copied();
    let others = there.iter().filter(|it| !wanted.contains(it)).copied();
    known.chain(others).collect()
}

/// What was configured as the first; else the one beside the gateway; else the first.
fn first(all: &[Cidr], gateway: Option<IpAddr>, network: Option<&Network>) -> Option<Cidr> {
    let primary = network.and_then(|it| it.ipv4.addresses.first());
    let primary = primary.filter(|it| all.contains(it)).copied();
    let beside = || {
        let gateway = gateway?;
        all.iter().find(|it| it.contains(gateway)).copied()
    };
    primary.or_else(beside).or_else(|| all.first().copied())
}

fn is_gateway(route: &Route, family: Family) -> bool {
    route.kind == RouteKind::Unicast
        && route.family() == family
        && route.destination.is_any()
        && route.via.is_some()
}

/// The gateway of an interface: in IPv4 over all tables, in IPv6 of the main table alone. Of several: the one that was configured,
/// if it is among them; else the main table's, if it has but one; else none, as upstream says it.
///
/// There is no `ipv4defaultroute` for IPv6: Engine takes any IPv6 gateway for the host's default route
/// (`IsDefaultRouteOnInterfacePredicate`), and a network that is not to have it for out of sync.
fn gateway(
    current: &Current,
    device: &IfName,
    network: Option<&Network>,
    family: Family,
) -> Option<IpAddr> {
    let all = || {
        let routes = current.routes_of(device);
        routes.filter(move |it| {
            is_gateway(it, family) && (family == Family::V4 || it.table == MAIN_TABLE)
        })
    };
    let wanted = network.and_then(|it| it.ip(family).gateway);
    if let Some(wanted) = wanted.filter(|it| all().any(|route| route.via == Some(*it))) {
        return Some(wanted);
    }
    only(all().filter_map(|it| it.via)).or_else(|| {
        only(
            all()
                .filter(|it| it.table == MAIN_TABLE)
                .filter_map(|it| it.via),
        )
    })
}

fn only(mut all: impl Iterator<Item = IpAddr>) -> Option<IpAddr> {
    let first = all.next()?;
    all.all(|it| it == first).then_some(first)
}

/// On ours: does root run a client that asks for addresses, not one that only hears routers (if root cannot be asked: was one asked
/// for)? On others: is an address leased?
fn dhcp(
    root: Option<&RootState>,
    name: &IfName,
    link: &Link,
    network: Option<&Network>,
    family: Family,
) -> bool {
    let Some(network) = network else {
        return link.addresses.iter().any(|it| is_leased(it, family));
    };
    match root {
        Some(root) => {
            let clients = root.clients.get(name).into_iter().flatten();
            let leases = |it: &DhcpClient| it.family == family && !it.stateless;
            clients.into_iter().any(leases)
        }
        None => network.ip(family).dhcp,
    }
}

/// In IPv6 DHCP gives single addresses, routers give networks.
fn is_leased(address: &Address, family: Family) -> bool {
    let whole = family == Family::V4 || address.cidr.prefix() == family.bits();
    address.cidr.family() == family && address.dynamic && whole && !address.is_link_local()
}

/// On ours: the kernel's setting. The kernel has it set everywhere else, too; there it is told if it brought an address.
fn autoconf(link: &Link, network: Option<&Network>) -> bool {
    let set = link
        .ipv6
        .is_some_and(|it| !it.disabled && it.autoconf && it.accept_ra != 0);
    let advertised = |it: &Address| {
        let ip = it.cidr;
        ip.family() == Family::V6 && it.dynamic && ip.prefix() < 128 && !it.is_link_local()
    };
    set && (network.is_some() || link.addresses.iter().any(advertised))
}
