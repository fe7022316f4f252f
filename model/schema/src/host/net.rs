//! The host's networks as `Host.getCapabilities` tells them.
//!
//! Engine: `dhcpv4` and such must be booleans, `speed` and `vlanid` numbers, `mtu` may be a string; an empty
//! address means none.

use std::collections::BTreeMap;

use super::network::HostQos;
use crate::values::Str;

wire! {
    /// Quality of service of one network on the NIC or bond beneath it.
    pub struct DeviceQos {
        /// The network's.
        host_qos "hostQos": HostQos,
        /// Number of its VLAN, -1 without one.
        vlan: i32,
    }

    /// An interface that a guest's traffic may leave through: a NIC.
    pub struct Nic {
        /// Its address.
        hwaddr: String,
        /// Its address before it joined a bond.
        permhwaddr: Option<String>,
        /// Megabits per second, 0 if unknown.
        speed: i32,
        /// First IPv4 address, or empty.
        addr: String,
        /// IPv4 addresses with their prefix lengths.
        ipv4addrs: Vec<String>,
        /// IPv6 addresses with their prefix lengths.
        ipv6addrs: Vec<String>,
        /// Does it configure itself by router advertisements?
        ipv6autoconf: bool,
        /// IPv4 gateway, or empty.
        gateway: String,
        /// IPv6 gateway, or empty.
        ipv6gateway: String,
        /// Greatest packet, bytes.
        mtu: Str<u32>,
        /// IPv4 mask, or empty.
        netmask: String,
        /// Does the IPv4 default route leave through it?
        ipv4defaultroute: bool,
        /// DHCPv4?
        dhcpv4: bool,
        /// DHCPv6?
        dhcpv6: bool,
        /// Aggregator of 802.3ad.
        ad_aggregator_id: Option<String>,
        /// Quality of service of the networks on it, by VLAN.
        qos: Option<Vec<DeviceQos>>,
    }

    /// A bond.
    pub struct Bond {
        /// Its address.
        hwaddr: String,
        /// Its NICs.
        slaves: Vec<String>,
        /// The NIC in use.
        active_slave: String,
        /// Its options by the kernel's names.
        opts: BTreeMap<String, String>,
        /// Megabits per second, 0 if unknown.
        speed: i32,
        /// First IPv4 address, or empty.
        addr: String,
        /// IPv4 addresses with their prefix lengths.
        ipv4addrs: Vec<String>,
        /// IPv6 addresses with their prefix lengths.
        ipv6addrs: Vec<String>,
        /// Does it configure itself by router advertisements?
        ipv6autoconf: bool,
        /// IPv4 gateway, or empty.
        gateway: String,
        /// IPv6 gateway, or empty.
        ipv6gateway: String,
        /// Greatest packet, bytes.
        mtu: Str<u32>,
        /// IPv4 mask, or empty.
        netmask: String,
        /// Does the IPv4 default route leave through it?
        ipv4defaultroute: bool,
        /// DHCPv4?
        dhcpv4: bool,
        /// DHCPv6?
        dhcpv6: bool,
        /// Aggregator of 802.3ad.
        ad_aggregator_id: Option<String>,
        /// Partner of 802.3ad.
        ad_partner_mac: Option<String>,
        /// `legacy` or `ovs`.
        switch: String,
        /// Quality of service of the networks on it, by VLAN.
        qos: Option<Vec<DeviceQos>>,
    }

    /// A bridge.
    pub struct Bridge {
        /// Its ports.
        ports: Vec<String>,
        /// `on` or `off`: spanning tree.
        stp: String,
        /// Its options by the kernel's names.
        opts: BTreeMap<String, String>,
        /// First IPv4 address, or empty.
        addr: String,
        /// IPv4 addresses with their prefix lengths.
        ipv4addrs: Vec<String>,
        /// IPv6 addresses with their prefix lengths.
        ipv6addrs: Vec<String>,
        /// Does it configure itself by router advertisements?
        ipv6autoconf: bool,
        /// IPv4 gateway, or empty.
        gateway: String,
        /// IPv6 gateway, or empty.
        ipv6gateway: String,
        /// Greatest packet, bytes.
        mtu: Str<u32>,
        /// IPv4 mask, or empty.
        netmask: String,
        /// Does the IPv4 default route leave through it?
        ipv4defaultroute: bool,
        /// DHCPv4?
        dhcpv4: bool,
        /// DHCPv6?
        dhcpv6: bool,
    }

    /// A VLAN.
    pub struct Vlan {
        /// The interface beneath.
        iface: String,
        /// Its number.
        vlanid: i32,
        /// Megabits per second, 0 if unknown.
        speed: Option<i32>,
        /// First IPv4 address, or empty.
        addr: String,
        /// IPv4 addresses with their prefix lengths.
        ipv4addrs: Vec<String>,
        /// IPv6 addresses with their prefix lengths.
        ipv6addrs: Vec<String>,
        /// Does it configure itself by router advertisements?
        ipv6autoconf: bool,
        /// IPv4 gateway, or empty.
        gateway: String,
        /// IPv6 gateway, or empty.
        ipv6gateway: String,
        /// Greatest packet, bytes.
        mtu: Str<u32>,
        /// IPv4 mask, or empty.
        netmask: String,
        /// Does the IPv4 default route leave through it?
        ipv4defaultroute: bool,
        /// DHCPv4?
        dhcpv4: bool,
        /// DHCPv6?
        dhcpv6: bool,
    }

    /// An oVirt network on this host. Engine refuses all capabilities if `switch` is missing.
    pub struct Network {
        /// Its bridge, or the interface beneath.
        iface: String,
        /// Is there a bridge?
        bridged: bool,
        /// `legacy` or `ovs`.
        switch: String,
        /// Where the traffic leaves.
        southbound: Option<String>,
        /// Without a bridge: the interface, as `iface`.
        interface: Option<String>,
        /// Ports of its bridge.
        ports: Option<Vec<String>>,
        /// `on` or `off`: spanning tree of its bridge.
        stp: Option<String>,
        /// First IPv4 address, or empty.
        addr: String,
        /// IPv4 addresses with their prefix lengths.
        ipv4addrs: Vec<String>,
        /// IPv6 addresses with their prefix lengths.
        ipv6addrs: Vec<String>,
        /// Does it configure itself by router advertisements?
        ipv6autoconf: bool,
        /// IPv4 gateway, or empty.
        gateway: String,
        /// IPv6 gateway, or empty.
        ipv6gateway: String,
        /// Greatest packet, bytes.
        mtu: Str<u32>,
        /// IPv4 mask, or empty.
        netmask: String,
        /// Does the IPv4 default route leave through it?
        ipv4defaultroute: bool,
        /// DHCPv4?
        dhcpv4: bool,
        /// DHCPv6?
        dhcpv6: bool,
        /// Number of its VLAN.
        vlanid: Option<i32>,
        /// Quality of service.
        host_qos "hostQos": Option<HostQos>,
    }
}
