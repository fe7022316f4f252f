//! Interfaces as capabilities tell of them: nics, bondings, bridges, vlans.

use std::{collections::BTreeMap, net::IpAddr};

use host_model::{Address, AddressScope, Link, LinkKind, Network, Route};
use serde::Serialize;

use crate::Settings;

/// Number of the kernel's main routing table.
const MAIN_TABLE: u32 = 254;
/// A bridge that VDSM keeps for itself.
const DUMMY_BRIDGE: &str = ";vdsmdummy;";

/// Addresses of an interface.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Ip {
    /// IPv4 address, the one in the gateway's subnet first; empty where there is none.
    pub addr: String,
    /// Its mask, `255.255.255.0`.
    pub netmask: String,
    /// All IPv4 addresses, `192.0.2.2/24`.
    pub ipv4addrs: Vec<String>,
    /// All IPv6 addresses but those of the link.
    pub ipv6addrs: Vec<String>,
    /// IPv4 gateway, or empty.
    pub gateway: String,
    /// IPv6 gateway, or `::`.
    pub ipv6gateway: String,
    /// Is the gateway the host's default?
    pub ipv4defaultroute: bool,
    /// Is an IPv4 address leased?
    pub dhcpv4: bool,
    /// Is an IPv6 address leased?
    pub dhcpv6: bool,
    /// Is an IPv6 address from router advertisements?
    pub ipv6autoconf: bool,
    /// MTU, as text.
    pub mtu: String,
}

/// One of `nics`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NicInfo {
    /// Addresses.
    #[serde(flatten)]
    pub ip: Ip,
    /// Hardware address.
    pub hwaddr: String,
    /// Permanent hardware address, of a bond's port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permhwaddr: Option<String>,
    /// Aggregator, of a bond's port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ad_aggregator_id: Option<String>,
    /// Mbit/s; 0 where not told.
    pub speed: u32,
}

/// One of `bondings`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BondInfo {
    /// Addresses.
    #[serde(flatten)]
    pub ip: Ip,
    /// Hardware address.
    pub hwaddr: String,
    /// Ports.
    pub slaves: Vec<String>,
    /// The active port, or empty.
    pub active_slave: String,
    /// Options.
    pub opts: BTreeMap<String, String>,
    /// Aggregator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ad_aggregator_id: Option<String>,
    /// Hardware address of the partner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ad_partner_mac: Option<String>,
    /// `legacy`: the kernel's own.
    pub switch: &'static str,
    /// Mbit/s; 0 where not told.
    pub speed: u32,
}

/// One of `bridges`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BridgeInfo {
    /// Addresses.
    #[serde(flatten)]
    pub ip: Ip,
    /// Ports.
    pub ports: Vec<String>,
    /// `on` or `off`.
    pub stp: &'static str,
}

/// One of `vlans`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct VlanInfo {
    /// Addresses.
    #[serde(flatten)]
    pub ip: Ip,
    /// Interface beneath.
    pub iface: String,
    /// VLAN id.
    pub vlanid: u32,
}

/// All interfaces that are told of.
#[derive(Debug, Default)]
pub(crate) struct Interfaces {
    pub(crate) nics: BTreeMap<String, NicInfo>,
    pub(crate) bondings: BTreeMap<String, BondInfo>,
    pub(crate) bridges: BTreeMap<String, BridgeInfo>,
    pub(crate) vlans: BTreeMap<String, VlanInfo>,
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
                let stp = if bridge.stp { "on" } else { "off" };
                let ports = bridge.ports.clone();
                out.bridges.insert(name, BridgeInfo { ip, ports, stp });
            }
            LinkKind::Vlan(vlan) => {
                let iface = vlan.device.clone();
                let vlanid = vlan.id;
                out.vlans.insert(name, VlanInfo { ip, iface, vlanid });
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
        permhwaddr: link.permanent_hwaddr.clone(),
        ad_aggregator_id: link.aggregator.clone(),
        speed: link.speed,
    }
}

fn bond_info(link: &Link, bond: &host_model::Bond, ip: Ip) -> BondInfo {
    let both = bond.aggregator.is_some() && bond.partner_mac.is_some();
    BondInfo {
        ip,
        hwaddr: link.hwaddr.clone(),
        slaves: bond.slaves.clone(),
        active_slave: bond.active_slave.clone(),
        opts: bond.options.iter().cloned().collect(),
        ad_aggregator_id: bond.aggregator.clone().filter(|_| both),
        ad_partner_mac: bond.partner_mac.clone().filter(|_| both),
        switch: "legacy",
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
        addr: first.map(|a| a.ip.to_string()).unwrap_or_default(),
        netmask: first.map(|a| netmask(a.prefix)).unwrap_or_default(),
        ipv4addrs: v4.iter().map(|a| cidr(a)).collect(),
        ipv6addrs: v6.iter().map(|a| cidr(a)).collect(),
        gateway: gateway.map(|gw| gw.to_string()).unwrap_or_default(),
        ipv6gateway: self::gateway(routes, &link.name, IpAddr::is_ipv6)
            .map_or("::".to_owned(), |gw| gw.to_string()),
        ipv4defaultroute: default,
        dhcpv4: v4.iter().any(|a| a.dynamic),
        dhcpv6: v6.iter().any(|a| a.dynamic && a.prefix == 128),
        ipv6autoconf: link.ipv6_autoconf && v6.iter().any(|a| a.dynamic && a.prefix < 128),
        mtu: link.mtu.to_string(),
    }
}

fn cidr(address: &Address) -> String {
    format!("{}/{}", address.ip, address.prefix)
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

fn netmask(prefix: u8) -> String {
    let bits = u32::MAX
        .checked_shl(32 - u32::from(prefix.min(32)))
        .unwrap_or(0);
    std::net::Ipv4Addr::from_bits(bits).to_string()
}

fn same_subnet(address: &Address, gateway: IpAddr) -> bool {
    let (IpAddr::V4(a), IpAddr::V4(b)) = (address.ip, gateway) else {
        return false;
    };
    let shift = 32 - u32::from(address.prefix.min(32));
    (a.to_bits() ^ b.to_bits()).checked_shr(shift).unwrap_or(0) == 0
}
