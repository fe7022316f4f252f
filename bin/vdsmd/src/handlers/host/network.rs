//! Interfaces of the host in the words of the wire. An empty address means none.

use std::net::IpAddr;

use host::{BondInfo, BridgeInfo, NicInfo, VlanInfo};
use host_model::Address;
use schema::{
    Str,
    host::{Bond, Bridge, Nic, Vlan},
};

use super::capabilities::small;

/// What all interfaces tell of their addresses.
struct Ip {
    addr: String,
    netmask: String,
    ipv4addrs: Vec<String>,
    ipv6addrs: Vec<String>,
    gateway: String,
    ipv6gateway: String,
}

impl Ip {
    fn of(ip: &host::Ip) -> Self {
        let text = |address: IpAddr| address.to_string();
        Self {
            addr: ip.first.as_ref().map(|it| text(it.ip)).unwrap_or_default(),
            netmask: ip
                .first
                .as_ref()
                .map(|it| netmask(it.prefix))
                .unwrap_or_default(),
            ipv4addrs: ip.ipv4.iter().map(cidr).collect(),
            ipv6addrs: ip.ipv6.iter().map(cidr).collect(),
            gateway: ip.gateway.map(text).unwrap_or_default(),
            ipv6gateway: ip.ipv6_gateway.map_or("::".to_owned(), text),
        }
    }
}

fn cidr(address: &Address) -> String {
    format!("{}/{}", address.ip, address.prefix)
}

fn netmask(prefix: u8) -> String {
    let bits = u32::MAX
        .checked_shl(32 - u32::from(prefix.min(32)))
        .unwrap_or(0);
    std::net::Ipv4Addr::from_bits(bits).to_string()
}

/// One of `nics`.
pub(super) fn nic(nic: NicInfo) -> Nic {
    let ip = Ip::of(&nic.ip);
    Nic {
        hwaddr: nic.hwaddr,
        permhwaddr: nic.permanent_hwaddr,
        speed: small(nic.speed),
        addr: ip.addr,
        ipv4addrs: ip.ipv4addrs,
        ipv6addrs: ip.ipv6addrs,
        ipv6autoconf: nic.ip.ipv6_autoconf,
        gateway: ip.gateway,
        ipv6gateway: ip.ipv6gateway,
        mtu: Str(nic.ip.mtu),
        netmask: ip.netmask,
        ipv4defaultroute: nic.ip.is_default_route,
        dhcpv4: nic.ip.dhcpv4,
        dhcpv6: nic.ip.dhcpv6,
        ad_aggregator_id: nic.aggregator,
    }
}

/// One of `bondings`.
pub(super) fn bond(bond: BondInfo) -> Bond {
    let ip = Ip::of(&bond.ip);
    let (aggregator, partner) = bond.aggregation.unzip();
    Bond {
        hwaddr: bond.hwaddr,
        slaves: bond.ports,
        active_slave: bond.active_port,
        opts: bond.options,
        speed: small(bond.speed),
        addr: ip.addr,
        ipv4addrs: ip.ipv4addrs,
        ipv6addrs: ip.ipv6addrs,
        ipv6autoconf: bond.ip.ipv6_autoconf,
        gateway: ip.gateway,
        ipv6gateway: ip.ipv6gateway,
        mtu: Str(bond.ip.mtu),
        netmask: ip.netmask,
        ipv4defaultroute: bond.ip.is_default_route,
        dhcpv4: bond.ip.dhcpv4,
        dhcpv6: bond.ip.dhcpv6,
        ad_aggregator_id: aggregator,
        ad_partner_mac: partner,
    }
}

/// One of `bridges`.
pub(super) fn bridge(bridge: BridgeInfo) -> Bridge {
    let ip = Ip::of(&bridge.ip);
    Bridge {
        ports: bridge.ports,
        // Not read yet; upstream tells the kernel's files of the bridge.
        opts: std::collections::BTreeMap::new(),
        stp: if bridge.stp { "on" } else { "off" }.to_owned(),
        addr: ip.addr,
        ipv4addrs: ip.ipv4addrs,
        ipv6addrs: ip.ipv6addrs,
        ipv6autoconf: bridge.ip.ipv6_autoconf,
        gateway: ip.gateway,
        ipv6gateway: ip.ipv6gateway,
        mtu: Str(bridge.ip.mtu),
        netmask: ip.netmask,
        ipv4defaultroute: bridge.ip.is_default_route,
        dhcpv4: bridge.ip.dhcpv4,
        dhcpv6: bridge.ip.dhcpv6,
    }
}

/// One of `vlans`.
pub(super) fn vlan(vlan: VlanInfo) -> Vlan {
    let ip = Ip::of(&vlan.ip);
    Vlan {
        iface: vlan.device,
        vlanid: small(vlan.id),
        speed: None,
        addr: ip.addr,
        ipv4addrs: ip.ipv4addrs,
        ipv6addrs: ip.ipv6addrs,
        ipv6autoconf: vlan.ip.ipv6_autoconf,
        gateway: ip.gateway,
        ipv6gateway: ip.ipv6gateway,
        mtu: Str(vlan.ip.mtu),
        netmask: ip.netmask,
        ipv4defaultroute: vlan.ip.is_default_route,
        dhcpv4: vlan.ip.dhcpv4,
        dhcpv6: vlan.ip.dhcpv6,
    }
}
