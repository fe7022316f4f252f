//! Interfaces that the host tells of: network cards, bonds, bridges, VLANs.

use std::{collections::BTreeMap, net::IpAddr};

use host_model::{Address, AddressScope, Link, LinkKind, Network, Route};

use crate::Settings;

/// Number of the kernel's main routing table.
const MAIN_TABLE: u32 = 254;
/// A bridge that VDSM keeps for itself.
const DUMMY_BRIDGE: &str = ";vdsmdummy;";

/// Addresses of an interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ip {
    /// The IPv4 address that stands for all: the one in the gateway's subnet, else the first.
    pub first: Option<Address>,
    /// All IPv4 addresses.
    pub ipv4: Vec<Address>,
    /// All IPv6 addresses but those of the link.
    pub ipv6: Vec<Address>,
    /// IPv4 gateway.
    pub gateway: Option<IpAddr>,
    /// IPv6 gateway.
    pub ipv6_gateway: Option<IpAddr>,
    /// Is the IPv4 gateway the host's default?
    pub is_default_route: bool,
    /// Is an IPv4 address leased?
    pub dhcpv4: bool,
    /// Is an IPv6 address leased?
    pub dhcpv6: bool,
    /// Is an IPv6 address from router advertisements?
    pub ipv6_autoconf: bool,
    /// MTU.
    pub mtu: u32,
}

/// A network card.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NicInfo {
    /// Addresses.
    pub ip: Ip,
    /// Hardware address.
    pub hwaddr: String,
    /// Permanent hardware address, of a bond's port.
    pub permanent_hwaddr: Option<String>,
    /// Aggregator, of a bond's port.
    pub aggregator: Option<String>,
    /// Mbit/s; 0 where not told.
    pub speed: u32,
}

/// A bond.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BondInfo {
    /// Addresses.
    pub ip: Ip,
    /// Hardware address.
    pub hwaddr: String,
    /// Ports.
    pub ports: Vec<String>,
    /// The active port, or empty.
    pub active_port: String,
    /// Options.
    pub options: BTreeMap<String, String>,
    /// Aggregator and hardware address of the partner: both or none.
    pub aggregation: Option<(String, String)>,
    /// Mbit/s; 0 where not told.
    pub speed: u32,
}

/// A bridge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BridgeInfo {
    /// Addresses.
    pub ip: Ip,
    /// Ports.
    pub ports: Vec<String>,
    /// Spanning tree protocol.
    pub stp: bool,
}

/// A VLAN.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VlanInfo {
    /// Addresses.
    pub ip: Ip,
    /// Interface beneath.
    pub device: String,
    /// VLAN id.
    pub id: u32,
}

/// All interfaces that are told of, by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// Network cards.
    pub nics: BTreeMap<String, NicInfo>,
    /// Bonds.
    pub bondings: BTreeMap<String, BondInfo>,
    /// Bridges.
    pub bridges: BTreeMap<String, BridgeInfo>,
    /// VLANs.
    pub vlans: BTreeMap<String, VlanInfo>,
}

pub(crate) fn interfaces(network: &Network, settings: &Settings) -> Interfaces {
    let mut out = Interfaces::default();
    for link in &network.links {
        if hidden(link, &network.links, settings) {
            continue;
        }
        let name = link.name.clone();
        let ip = ip(link, &network.routes);
        match &link.kind {
            LinkKind::Nic | LinkKind::Vf => {
                out.nics.insert(name, nic(link, ip));
            }
            LinkKind::Fake if matches(&settings.fake_nics, &link.name) => {
                out.nics.insert(name, nic(link, ip));
            }
            LinkKind::Bond(bond) => {
                out.bondings.insert(name, bond_info(link, bond, ip));
            }
            LinkKind::Bridge(bridge) => {
                let (ports, stp) = (bridge.ports.clone(), bridge.stp);
                out.bridges.insert(name, BridgeInfo { ip, ports, stp });
            }
            LinkKind::Vlan(vlan) => {
                let (device, id) = (vlan.device.clone(), vlan.id);
                out.vlans.insert(name, VlanInfo { ip, device, id });
            }
            LinkKind::Fake | LinkKind::Loopback | LinkKind::Other => {}
        }
    }
    out
}

fn nic(link: &Link, ip: Ip) -> NicInfo {
    NicInfo {
        ip,
        hwaddr: link.hwaddr.clone(),
        permanent_hwaddr: link.permanent_hwaddr.clone(),
        aggregator: link.aggregator.clone(),
        speed: link.speed,
    }
}

fn bond_info(link: &Link, bond: &host_model::Bond, ip: Ip) -> BondInfo {
    BondInfo {
        ip,
        hwaddr: link.hwaddr.clone(),
        ports: bond.slaves.clone(),
        active_port: bond.active_slave.clone(),
        options: bond.options.iter().cloned().collect(),
        aggregation: bond.aggregator.clone().zip(bond.partner_mac.clone()),
        speed: link.speed,
    }
}

fn hidden(link: &Link, all: &[Link], settings: &Settings) -> bool {
    match &link.kind {
        LinkKind::Nic | LinkKind::Vf | LinkKind::Fake => {
            let of_hidden_bond = link.master.as_ref().is_some_and(|master| {
                let bond = |l: &&Link| l.name == *master && matches!(l.kind, LinkKind::Bond(_));
                all.iter().any(|l| bond(&l)) && matches(&settings.hidden_bonds, master)
            });
            matches(&settings.hidden_nics, &link.name) || of_hidden_bond
        }
        LinkKind::Bond(_) => matches(&settings.hidden_bonds, &link.name),
        LinkKind::Vlan(_) => matches(&settings.hidden_vlans, &link.name),
        LinkKind::Bridge(_) => link.name == DUMMY_BRIDGE,
        LinkKind::Loopback | LinkKind::Other => true,
    }
}

fn matches(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| {
        let pattern: Vec<char> = pattern.chars().collect();
        let name: Vec<char> = name.chars().collect();
        glob(&pattern, &name)
    })
}

/// Shell-like pattern with `*` and `?`.
fn glob(pattern: &[char], name: &[char]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some(('*', rest)), _) => {
            glob(rest, name) || name.split_first().is_some_and(|(_, n)| glob(pattern, n))
        }
        (Some(('?', rest)), Some((_, name))) => glob(rest, name),
        (Some((p, rest)), Some((n, name))) => p == n && glob(rest, name),
        _ => false,
    }
}

fn ip(link: &Link, routes: &[Route]) -> Ip {
    let (v4, v6): (Vec<&Address>, Vec<&Address>) = link
        .addresses
        .iter()
        .filter(|address| address.scope != AddressScope::Link)
        .partition(|address| address.ip.is_ipv4());
    let gateway = gateway(routes, &link.name, IpAddr::is_ipv4);
    let first = v4
        .iter()
        .find(|a| !a.secondary && gateway.is_some_and(|gw| same_subnet(a, gw)))
        .or(v4.first());
    let default = gateway.is_some_and(|gw| {
        let is_main = |r: &Route| r.table == MAIN_TABLE && r.gateway == gw;
        routes.iter().any(is_main)
    });
    Ip {
        first: first.copied().cloned(),
        gateway,
        ipv6_gateway: self::gateway(routes, &link.name, IpAddr::is_ipv6),
        is_default_route: default,
        dhcpv4: v4.iter().any(|a| a.dynamic),
        dhcpv6: v6.iter().any(|a| a.dynamic && a.prefix == 128),
        ipv6_autoconf: link.ipv6_autoconf && v6.iter().any(|a| a.dynamic && a.prefix < 128),
        mtu: link.mtu,
        ipv4: v4.into_iter().cloned().collect(),
        ipv6: v6.into_iter().cloned().collect(),
    }
}

/// The default gateway of an interface over all tables; none where several differ.
fn gateway(routes: &[Route], device: &str, family: fn(&IpAddr) -> bool) -> Option<IpAddr> {
    let mut gateways = routes
        .iter()
        .filter(|route| route.device == device && family(&route.gateway))
        .map(|route| route.gateway);
    let first = gateways.next()?;
    gateways.all(|other| other == first).then_some(first)
}

fn same_subnet(address: &Address, gateway: IpAddr) -> bool {
    let (IpAddr::V4(a), IpAddr::V4(b)) = (address.ip, gateway) else {
        return false;
    };
    let shift = 32 - u32::from(address.prefix.min(32));
    (a.to_bits() ^ b.to_bits()).checked_shr(shift).unwrap_or(0) == 0
}
