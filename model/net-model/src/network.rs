//! A network as it should be: what carries it, its bridge, its addresses and routes.
//!
//! Addresses are lists everywhere (TODO 27, 28); the first of a family is the primary one.

use core::net::IpAddr;
use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Cidr, Family, HostQos, IfName, Nameserver, NetError, NetName, VlanId};

/// MTU where none is asked for.
pub const DEFAULT_MTU: u32 = 1500;

/// Least MTU of Ethernet (`ETH_MIN_MTU`).
pub const MIN_MTU: u32 = 68;

/// Least MTU with which an interface can do IPv6.
pub const MIN_MTU_V6: u32 = 1280;

/// Greatest MTU of any interface (`ETH_MAX_MTU`).
pub const MAX_MTU: u32 = 65_535;

/// A network of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// What carries it; nothing: a bridge for VMs of this host only.
    pub base: Option<Base>,
    /// Tagged with this id.
    pub vlan: Option<VlanId>,
    /// Its bridge; nothing: a network without VMs, on its base or VLAN itself.
    pub bridge: Option<BridgeConfig>,
    /// Bytes of a packet.
    pub mtu: u32,
    /// IPv4.
    pub ipv4: Ip,
    /// IPv6.
    pub ipv6: Ip,
    /// Do the gateways serve the whole host?
    pub default_route: bool,
    /// Routes of its own.
    pub routes: Vec<StaticRoute>,
    /// Name servers of the host: on the network with the default route only.
    pub nameservers: Vec<Nameserver>,
    /// Share of the base's outgoing traffic.
    pub qos: Option<HostQos>,
    /// Custom properties, as they came, but for those that have a place of their own: `default_route`, and
    /// `bridge_opts` of a bridge ([`BridgeConfig::options`]).
    pub custom: BTreeMap<String, String>,
    /// What switches it.
    pub switch: Switch,
    /// Keys that nobody here knows: kept in the files, never used.
    pub extra: Map<String, Value>,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            base: None,
            vlan: None,
            bridge: None,
            mtu: DEFAULT_MTU,
            ipv4: Ip::default(),
            ipv6: Ip::default(),
            default_route: false,
            routes: Vec::new(),
            nameservers: Vec::new(),
            qos: None,
            custom: BTreeMap::new(),
            switch: Switch::Legacy,
            extra: Map::new(),
        }
    }
}

impl Network {
    /// Its settings in one family.
    pub fn ip(&self, family: Family) -> &Ip {
        match family {
            Family::V4 => &self.ipv4,
            Family::V6 => &self.ipv6,
        }
    }

    /// The interface of its VLAN: `base.id`.
    pub fn vlan_device(&self) -> Result<Option<IfName>, NetError> {
        match (&self.base, self.vlan) {
            (Some(base), Some(id)) => base.device().vlan(id).map(Some),
            _ => Ok(None),
        }
    }

    /// What enters the bridge: the VLAN or the base.
    pub fn port(&self) -> Result<Option<IfName>, NetError> {
        let vlan = self.vlan_device()?;
        Ok(vlan.or_else(|| self.base.as_ref().map(|it| it.device().clone())))
    }

    /// The interface that carries its addresses: the bridge, else the VLAN, else the base.
    pub fn top(&self, name: &NetName) -> Result<IfName, NetError> {
        if self.bridge.is_some() {
            return name.bridge();
        }
        self.port()?.ok_or_else(|| {
            NetError::BadParams(format!(
                "southbound device not specified for non-bridged network \"{name}\""
            ))
        })
    }
}

/// What carries a network.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Base {
    /// A network card.
    Nic(IfName),
    /// A bond.
    Bond(IfName),
}

impl Base {
    /// Its interface.
    pub fn device(&self) -> &IfName {
        match self {
            Self::Nic(name) | Self::Bond(name) => name,
        }
    }
}

/// What switches a network.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    /// A Linux bridge.
    #[default]
    Legacy,
    /// Open vSwitch: refused, see [`NetError::OvsNotBuilt`].
    Ovs,
}

impl fmt::Display for Switch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Legacy => "legacy",
            Self::Ovs => "ovs",
        })
    }
}

/// The bridge of a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeConfig {
    /// Spanning tree protocol.
    pub stp: bool,
    /// Attributes of sysfs (`/sys/class/net/NAME/bridge/`), from the custom property `bridge_opts`.
    #[serde(deserialize_with = "crate::bridge::checked")]
    pub options: BTreeMap<String, String>,
}

/// Addresses of one family.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ip {
    /// By DHCP.
    pub dhcp: bool,
    /// By router advertisements (IPv6 only).
    pub autoconf: bool,
    /// Given ones; the first is the primary.
    pub addresses: Vec<Cidr>,
    /// Gateway of this network.
    pub gateway: Option<IpAddr>,
}

impl Ip {
    /// Is there nothing: no address, no client?
    pub fn is_off(&self) -> bool {
        !self.dhcp && !self.autoconf && self.addresses.is_empty()
    }
}

/// A route that a network brings (TODO 26).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StaticRoute {
    /// Where to.
    pub destination: Cidr,
    /// Next hop; nothing: on the link.
    pub via: Option<IpAddr>,
    /// Lower wins; nothing: the kernel's default (0 in IPv4, 1024 in IPv6).
    pub metric: Option<u32>,
    /// Nothing: the main table.
    pub table: Option<u32>,
    /// Preferred source address.
    pub source: Option<IpAddr>,
    /// Path MTU.
    pub mtu: Option<u32>,
    /// The next hop is on this link though no address of ours says so.
    pub onlink: bool,
    /// What happens to packets.
    pub kind: RouteKind,
}

/// What a route does (`rtm_type`).
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum RouteKind {
    /// Sends them on.
    #[default]
    Unicast,
    /// Drops them.
    Blackhole,
    /// Answers "unreachable".
    Unreachable,
    /// Answers "prohibited".
    Prohibit,
}

impl RouteKind {
    /// The word of `ip route`, empty for [`Self::Unicast`].
    pub fn word(self) -> &'static str {
        match self {
            Self::Unicast => "",
            Self::Blackhole => "blackhole",
            Self::Unreachable => "unreachable",
            Self::Prohibit => "prohibit",
        }
    }
}
