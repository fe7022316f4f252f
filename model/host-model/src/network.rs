//! Interfaces, addresses and routes, as the kernel has them.

use core::net::IpAddr;

/// The network of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// Interfaces, in order of their names.
    pub links: Vec<Link>,
    /// Default routes.
    pub routes: Vec<Route>,
    /// Name servers of resolv.conf.
    pub nameservers: Vec<String>,
    /// Is IPv6 there at all?
    pub ipv6: bool,
}

/// One interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: LinkKind,
    /// Hardware address.
    pub hwaddr: String,
    /// MTU.
    pub mtu: u32,
    /// `operstate`: `up`, `down`, `unknown`, ...
    pub operstate: String,
    /// `IFF_RUNNING`-like: does the interface have a carrier?
    pub carrier: bool,
    /// Mbit/s; 0 where not told.
    pub speed: u32,
    /// `full`, `half`, `unknown`.
    pub duplex: String,
    /// The interface (bond, bridge) that it belongs to.
    pub master: Option<String>,
    /// `ad_aggregator_id` of a bond's port.
    pub aggregator: Option<String>,
    /// Permanent hardware address of a bond's port.
    pub permanent_hwaddr: Option<String>,
    /// IPv6 addresses are taken from router advertisements.
    pub ipv6_autoconf: bool,
    /// Addresses, in the kernel's order.
    pub addresses: Vec<Address>,
    /// Counters.
    pub counters: LinkCounters,
}

/// What an interface is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum LinkKind {
    /// A network card.
    Nic,
    /// A virtual function of one.
    Vf,
    /// The loopback.
    Loopback,
    /// A VLAN upon another interface.
    Vlan(VlanLink),
    /// A bond.
    Bond(Bond),
    /// A Linux bridge.
    Bridge(Bridge),
    /// `veth`, `dummy` or `macvlan`: reported as cards where the configuration says so.
    Fake,
    /// Anything else: taps, tunnels, ifb, ...
    #[default]
    Other,
}

/// A VLAN.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VlanLink {
    /// Interface beneath.
    pub device: String,
    /// VLAN id.
    pub id: u32,
}

/// A bond.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bond {
    /// Its ports.
    pub slaves: Vec<String>,
    /// The active one, or empty.
    pub active_slave: String,
    /// Options that matter: `mode` (its number), `miimon`, `xmit_hash_policy`, ...
    pub options: Vec<(String, String)>,
    /// `ad_aggregator`.
    pub aggregator: Option<String>,
    /// `ad_partner_mac`.
    pub partner_mac: Option<String>,
}

/// A bridge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bridge {
    /// Its ports, sorted.
    pub ports: Vec<String>,
    /// Spanning tree protocol.
    pub stp: bool,
}

/// Counters since the interface came up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Received packets dropped.
    pub rx_dropped: u64,
    /// Packets dropped on sending.
    pub tx_dropped: u64,
    /// Receive errors.
    pub rx_errors: u64,
    /// Send errors.
    pub tx_errors: u64,
}

/// One address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// Bits of its prefix.
    pub prefix: u8,
    /// Its scope.
    pub scope: AddressScope,
    /// A secondary address of its subnet?
    pub secondary: bool,
    /// Was it got for a time only (DHCP, router advertisement)?
    pub dynamic: bool,
}

/// Scope of an address (`rt_scope_t`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressScope {
    /// Everywhere.
    Global,
    /// This link only.
    Link,
    /// This host only.
    Host,
    /// Any other.
    Other(u8),
}

/// A default route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Interface.
    pub device: String,
    /// Gateway.
    pub gateway: IpAddr,
    /// Metric.
    pub metric: u32,
    /// Routing table; 254 is the main one.
    pub table: u32,
}
