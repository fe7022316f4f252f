//! What the kernel has now: links, addresses, routes, rules, shaping; read by an edge, compared by the plan.

use core::net::IpAddr;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use crate::{
    Cidr, Config, DhcpClient, Family, HostQos, IfName, Ipv6Setting, Mac, Nameserver, QosClass,
    RouteKind,
    bridge::{AGEING_TIME, default_value},
};

/// The main routing table.
pub const MAIN_TABLE: u32 = 254;

/// `rtm_protocol` of every route and rule that this agent makes: who finds it knows whose it is. In no list of
/// iproute2 or of a routing daemon; `118 vdsm` in `/etc/iproute2/rt_protos.d/` names it.
pub const OUR_PROTOCOL: u8 = 118;

/// `rtm_protocol` of what routers advertise.
pub const RA_PROTOCOL: u8 = 9;

/// The state of the host's network.
///
/// Routes are all unicast, blackhole, unreachable and prohibit ones of every table but `local` (255), without
/// those that the kernel makes and drops by itself (`RTPROT_KERNEL`, `RTPROT_REDIRECT`). Rules are all but the
/// kernel's own three.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Current {
    /// Interfaces.
    pub links: BTreeMap<IfName, Link>,
    /// Routes, those of one interface beside each other.
    pub routes: BTreeSet<Route>,
    /// Rules.
    pub rules: BTreeSet<Rule>,
    /// Shaping of outgoing traffic by base device, as far as it has our shape (see [`crate::qos`]).
    pub qos: BTreeMap<IfName, BTreeMap<QosClass, HostQos>>,
    /// DHCP clients of ours that run.
    pub dhcp: BTreeMap<IfName, Vec<DhcpClient>>,
    /// Name servers of resolv.conf.
    pub nameservers: Vec<Nameserver>,
    /// Does the kernel do IPv6 at all?
    pub ipv6: bool,
    /// What new interfaces have (`/proc/sys/net/ipv6/conf/default/`).
    #[serde(default)]
    pub ipv6_defaults: Ipv6Settings,
    /// Addresses that the DHCP clients of ours have brought.
    #[serde(default)]
    pub leased: BTreeMap<IfName, Vec<Cidr>>,
}

impl Current {
    /// Routes over an interface.
    pub fn routes_of<'a>(&'a self, device: &'a IfName) -> impl Iterator<Item = &'a Route> {
        self.routes
            .range(Route::least_of(device.clone())..)
            .take_while(move |it| it.device.as_ref() == Some(device))
    }

    /// Interfaces whose master this is. Looks at all links: for many at once use [`crate::Kernel`].
    pub fn ports_of<'a>(&'a self, master: &'a IfName) -> impl Iterator<Item = &'a IfName> {
        self.links
            .iter()
            .filter(move |(_, it)| it.master.as_ref() == Some(master))
            .map(|(name, _)| name)
    }

    /// For whoever asks whether a plan was reached: an address that is a duplicate is there. That it is one is told apart
    /// ([`crate::duplicates`]).
    pub fn overlook_duplicates(&mut self) {
        let links = self.links.values_mut();
        for address in links.flat_map(|it| &mut it.addresses) {
            address.dad_failed = false;
        }
    }

    /// Fills in what the kernel does not tell while a spanning tree changes: the `ageing_time` of the bridges of these
    /// networks is what was asked for.
    pub fn assume(&mut self, config: &Config) {
        for (name, network) in &config.networks {
            let (Some(bridge), Ok(name)) = (&network.bridge, name.bridge()) else {
                continue;
            };
            let link = self.links.get_mut(&name);
            let Some(LinkKind::Bridge(state)) = link.map(|it| &mut it.kind) else {
                continue;
            };
            if state.tree_changes && !state.options.contains_key(AGEING_TIME) {
                let asked = bridge.options.get(AGEING_TIME).map(String::as_str);
                let value = asked.or_else(|| default_value(AGEING_TIME));
                let known = value.map(|it| (AGEING_TIME.to_owned(), it.to_owned()));
                state.options.extend(known);
            }
        }
    }

    /// Tables that a route or a rule mentions.
    pub fn tables(&self) -> BTreeSet<u32> {
        let routes = self.routes.iter().map(|it| it.table);
        routes.chain(self.rules.iter().map(|it| it.table)).collect()
    }
}

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// What it is.
    pub kind: LinkKind,
    /// Hardware address.
    pub mac: Mac,
    /// Hardware address that a port of a bond gets back when it leaves (`IFLA_BOND_SLAVE_PERM_HWADDR`).
    pub permanent_mac: Option<Mac>,
    /// MTU.
    pub mtu: u32,
    /// Greatest MTU of its driver (`IFLA_MAX_MTU`), if told.
    pub max_mtu: Option<u32>,
    /// Bridge or bond that it belongs to.
    pub master: Option<IfName>,
    /// Administratively up (`IFF_UP`).
    pub up: bool,
    /// Has a carrier (`IFLA_CARRIER`).
    pub carrier: bool,
    /// Addresses, in the kernel's order; IPv6's link-local ones too.
    pub addresses: Vec<Address>,
    /// Settings of IPv6, where the kernel does it for this interface.
    pub ipv6: Option<Ipv6Settings>,
    /// `ad_aggregator_id` of a port of an 802.3ad bond.
    pub aggregator: Option<u16>,
}

impl Link {
    /// One of a kind, up, nothing set.
    pub fn new(kind: LinkKind, mac: Mac) -> Self {
        Self {
            kind,
            mac,
            permanent_mac: None,
            mtu: crate::network::DEFAULT_MTU,
            max_mtu: None,
            master: None,
            up: true,
            carrier: true,
            addresses: Vec::new(),
            ipv6: Some(Ipv6Settings::default()),
            aggregator: None,
        }
    }

    /// Has it this address?
    pub fn has(&self, address: Cidr) -> bool {
        self.addresses.iter().any(|it| it.cidr == address)
    }
}

/// What an interface is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkKind {
    /// A network card, or what the configuration lets stand in for one (veth, dummy).
    Nic,
    /// The loopback.
    Loopback,
    /// A VLAN (802.1Q) of an interface of this namespace.
    Vlan {
        /// Interface beneath.
        parent: IfName,
        /// Its id, 0 to 4094.
        id: u16,
    },
    /// A bond.
    Bond(BondState),
    /// A Linux bridge.
    Bridge(BridgeState),
    /// Anything else: taps, tunnels, 802.1ad, ...
    Other(String),
}

impl LinkKind {
    /// One word for people.
    pub fn word(&self) -> &str {
        match self {
            Self::Nic => "nic",
            Self::Loopback => "loopback",
            Self::Vlan { .. } => "vlan",
            Self::Bond(_) => "bond",
            Self::Bridge(_) => "bridge",
            Self::Other(kind) => kind,
        }
    }
}

/// A bond's state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BondState {
    /// Attributes by sysfs's names, values as numbers where the kernel has both (`mode` = `4`, not
    /// `802.3ad`); see [`crate::bond::normal_value`].
    pub options: BTreeMap<String, String>,
    /// The port that sends, if the mode has one.
    pub active_slave: Option<IfName>,
    /// `ad_aggregator`.
    pub aggregator: Option<u16>,
    /// `ad_partner_mac`.
    pub partner_mac: Option<Mac>,
}

/// A bridge's state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeState {
    /// Spanning tree protocol.
    pub stp: bool,
    /// Attributes by sysfs's names.
    pub options: BTreeMap<String, String>,
    /// The spanning tree has just changed: for as long the kernel tells a shortened `ageing_time`, which is left out of the
    /// attributes.
    #[serde(default)]
    pub tree_changes: bool,
}

/// Settings of IPv6 of an interface (`/proc/sys/net/ipv6/conf/NAME/`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipv6Settings {
    /// `disable_ipv6`: no address, not even a link-local one.
    pub disabled: bool,
    /// `autoconf`: addresses from the prefixes of router advertisements.
    pub autoconf: bool,
    /// `accept_ra`: 0 no, 1 if not forwarding, 2 always.
    pub accept_ra: u8,
    /// `accept_ra_defrtr`: routers become default routes of the main table.
    pub accept_ra_defrtr: bool,
}

impl Ipv6Settings {
    /// A setting's value in /proc.
    pub fn get(&self, setting: Ipv6Setting) -> u8 {
        match setting {
            Ipv6Setting::Disable => self.disabled.into(),
            Ipv6Setting::Autoconf => self.autoconf.into(),
            Ipv6Setting::AcceptRa => self.accept_ra,
            Ipv6Setting::AcceptRaDefrtr => self.accept_ra_defrtr.into(),
        }
    }

    /// Changes one.
    pub fn set(&mut self, setting: Ipv6Setting, value: u8) {
        match setting {
            Ipv6Setting::Disable => self.disabled = value != 0,
            Ipv6Setting::Autoconf => self.autoconf = value != 0,
            Ipv6Setting::AcceptRa => self.accept_ra = value,
            Ipv6Setting::AcceptRaDefrtr => self.accept_ra_defrtr = value != 0,
        }
    }
}

impl Default for Ipv6Settings {
    /// The kernel's.
    fn default() -> Self {
        Self {
            disabled: false,
            autoconf: true,
            accept_ra: 1,
            accept_ra_defrtr: true,
        }
    }
}

/// When an address that is there for a time is over, in seconds of the monotonic clock since the machine's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expiry {
    /// It may not be used any more.
    pub valid: u64,
    /// It is not to be used for new connections any more.
    pub preferred: u64,
}

/// An address of an interface. Two are the same whatever is left of their time, and whether they are in use yet or not.
#[derive(Debug, Clone, Copy, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The address and its network.
    pub cidr: Cidr,
    /// For a time only (not `IFA_F_PERMANENT`): by DHCP or router advertisements.
    pub dynamic: bool,
    /// Another host has it (`IFA_F_DADFAILED`).
    pub dad_failed: bool,
    /// The kernel does not know yet whether another host has it (`IFA_F_TENTATIVE`): it is not used until then.
    #[serde(default)]
    pub tentative: bool,
    /// The kernel has made it of what a router advertises (`IFA_F_MANAGETEMPADDR`, `IFA_F_TEMPORARY`).
    #[serde(default)]
    pub advertised: bool,
    /// Of a dynamic one, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiry: Option<Expiry>,
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        let what = |it: &Self| (it.cidr, it.dynamic, it.dad_failed);
        what(self) == what(other)
    }
}

impl Address {
    /// A lasting one.
    pub fn lasting(cidr: Cidr) -> Self {
        Self {
            cidr,
            dynamic: false,
            dad_failed: false,
            tentative: false,
            advertised: false,
            expiry: None,
        }
    }

    /// IPv6's link-local address, which the kernel makes by itself.
    pub fn is_link_local(&self) -> bool {
        matches!(self.cidr.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local())
    }
}

/// A route. The order of the fields is the order of [`Current::routes`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Route {
    /// Interface; none for a blackhole and its like.
    pub device: Option<IfName>,
    /// Routing table.
    pub table: u32,
    /// Where to.
    pub destination: Cidr,
    /// Metric; in IPv6 never 0 (the kernel makes it 1024).
    pub metric: u32,
    /// Next hop.
    pub via: Option<IpAddr>,
    /// What it does.
    pub kind: RouteKind,
    /// Who made it.
    pub protocol: u8,
    /// Preferred source address.
    pub source: Option<IpAddr>,
    /// Path MTU.
    pub mtu: Option<u32>,
    /// The next hop need not be in a network of ours.
    pub onlink: bool,
}

/// Metric that the kernel gives an IPv6 route without one (`IP6_RT_PRIO_USER`).
pub const V6_DEFAULT_METRIC: u32 = 1024;

impl Route {
    /// A plain one of ours.
    pub fn ours(
        device: Option<IfName>,
        table: u32,
        destination: Cidr,
        via: Option<IpAddr>,
    ) -> Self {
        let metric = match destination.family() {
            Family::V4 => 0,
            Family::V6 => V6_DEFAULT_METRIC,
        };
        Self {
            device,
            table,
            destination,
            metric,
            via,
            kind: RouteKind::Unicast,
            protocol: OUR_PROTOCOL,
            source: None,
            mtu: None,
            onlink: false,
        }
    }

    fn least_of(device: IfName) -> Self {
        Self {
            metric: 0,
            protocol: 0,
            ..Self::ours(Some(device), 0, Family::V4.any(), None)
        }
    }

    /// Its family.
    pub fn family(&self) -> Family {
        self.destination.family()
    }

    /// Does it lead where `other` leads, whoever made it?
    pub fn leads_like(&self, other: &Self) -> bool {
        let protocol = self.protocol;
        Self {
            protocol,
            ..other.clone()
        } == *self
    }

    /// Its scope in IPv4 (`RT_SCOPE_LINK` without a next hop, else `RT_SCOPE_UNIVERSE`); IPv6 has none.
    pub fn scope(&self) -> u8 {
        const LINK: u8 = 253;
        let link = self.kind == RouteKind::Unicast && self.via.is_none();
        if link && self.family() == Family::V4 {
            LINK
        } else {
            0
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.kind.word();
        if !word.is_empty() {
            write!(out, "{word} ")?;
        }
        if self.destination.is_any() {
            write!(out, "default ({})", self.family())?;
        } else {
            write!(out, "{}", self.destination)?;
        }
        if let Some(via) = self.via {
            write!(out, " via {via}")?;
        }
        if let Some(device) = &self.device {
            write!(out, " dev {device}")?;
        }
        if self.table != MAIN_TABLE {
            write!(out, " table {}", self.table)?;
        }
        let usual = matches!(
            (self.family(), self.metric),
            (Family::V4, 0) | (Family::V6, V6_DEFAULT_METRIC)
        );
        if !usual {
            write!(out, " metric {}", self.metric)?;
        }
        if let Some(source) = self.source {
            write!(out, " src {source}")?;
        }
        if let Some(mtu) = self.mtu {
            write!(out, " mtu {mtu}")?;
        }
        if self.onlink {
            write!(out, " onlink")?;
        }
        Ok(())
    }
}

/// A rule of policy routing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Rule {
    /// Table that it looks up.
    pub table: u32,
    /// Lower is asked first.
    pub priority: u32,
    /// Family.
    pub family: Family,
    /// Source network.
    pub from: Option<Cidr>,
    /// Destination network.
    pub to: Option<Cidr>,
    /// Who made it (`FRA_PROTOCOL`).
    pub protocol: u8,
    /// It has selectors or actions beyond these (marks, interfaces, ports, not, ...): never ours.
    pub more: bool,
}

impl fmt::Display for Rule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:", self.priority)?;
        if let Some(from) = self.from {
            write!(out, " from {from}")?;
        }
        if let Some(to) = self.to {
            write!(out, " to {to}")?;
        }
        if self.from.is_none() && self.to.is_none() {
            write!(out, " all ({})", self.family)?;
        }
        write!(out, " lookup {}", self.table)
    }
}
