//! The steps that a plan is made of: each one act of the kernel, or of one helper, with what undoes it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    Cidr, Current, Expiry, Family, HostQos, IfName, Mac, Nameserver, NetName, QosClass, Route,
    Rule, VlanId,
};

/// One act. All are idempotent in an executor's hands: what is so already is success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Make a bridge, down.
    CreateBridge {
        /// Its name.
        name: IfName,
        /// Its hardware address; nothing: the kernel chooses (and follows the lowest of its ports).
        mac: Option<Mac>,
    },
    /// Make a VLAN (802.1Q), down, with its parent's MTU and hardware address.
    CreateVlan {
        /// Its name.
        name: IfName,
        /// Interface beneath.
        parent: IfName,
        /// Its id.
        id: VlanId,
    },
    /// Make a bond, down, without ports.
    CreateBond {
        /// Its name.
        name: IfName,
        /// `mode`, the kernel's number 0 to 6.
        mode: u8,
        /// Its hardware address; nothing: the first port's.
        mac: Option<Mac>,
    },
    /// Remove a bridge, VLAN or bond. Its ports are released, its addresses, routes and VLANs go with it.
    DeleteLink {
        /// Its name.
        name: IfName,
    },
    /// Put an interface into a bridge or bond (it is down before a bond takes it).
    SetMaster {
        /// The interface.
        link: IfName,
        /// The bridge or bond.
        master: IfName,
    },
    /// Take an interface out of its bridge or bond.
    ClearMaster {
        /// The interface.
        link: IfName,
    },
    /// Set the MTU. Ports of a bond follow; VLANs of greater MTU are lowered by the kernel.
    SetMtu {
        /// The interface.
        link: IfName,
        /// Bytes.
        mtu: u32,
    },
    /// Set the hardware address.
    SetMac {
        /// The interface.
        link: IfName,
        /// The address.
        mac: Mac,
    },
    /// Set an interface up.
    SetUp {
        /// The interface.
        link: IfName,
    },
    /// Set an interface down: its routes and IPv6 addresses go.
    SetDown {
        /// The interface.
        link: IfName,
    },
    /// Set an attribute of a bridge.
    SetBridgeOption {
        /// The bridge.
        bridge: IfName,
        /// Name in sysfs: `stp_state`, `forward_delay`, ...
        #[serde(deserialize_with = "crate::bridge::checked_name")]
        option: String,
        /// Its value in sysfs's units.
        value: String,
    },
    /// Set an attribute of a bond.
    SetBondOption {
        /// The bond.
        bond: IfName,
        /// Name in sysfs: `miimon`, `lacp_rate`, ...
        #[serde(deserialize_with = "crate::bond::checked_name")]
        option: String,
        /// Its value, a number where the kernel has one; of `arp_ip_target` the whole list, with commas. Empty: none
        /// (`primary`, `arp_ip_target`).
        value: String,
    },
    /// Set a setting of IPv6 of an interface.
    SetIpv6 {
        /// The interface.
        link: IfName,
        /// Which.
        setting: Ipv6Setting,
        /// Value of the sysctl.
        value: u8,
    },
    /// Add an address that lasts; one that is there for a time only becomes lasting (`NLM_F_REPLACE`).
    AddAddress {
        /// The interface.
        link: IfName,
        /// The address.
        address: Cidr,
    },
    /// Give an address back that was there for a time, for what is left of it; nothing if it is over. One that is there
    /// for a time again stays as its owner has made it.
    ReturnAddress {
        /// The interface.
        link: IfName,
        /// The address.
        address: Cidr,
        /// When its time is over.
        expiry: Expiry,
    },
    /// Remove an address.
    RemoveAddress {
        /// The interface.
        link: IfName,
        /// The address.
        address: Cidr,
    },
    /// Add a route (`NLM_F_CREATE` alone: it goes before a foreign one of the same metric).
    AddRoute {
        /// The route.
        route: Route,
    },
    /// Remove a route.
    RemoveRoute {
        /// The route.
        route: Route,
    },
    /// Add a rule.
    AddRule {
        /// The rule.
        rule: Rule,
    },
    /// Remove a rule.
    RemoveRule {
        /// The rule.
        rule: Rule,
    },
    /// Shape a network's outgoing traffic on its base (see [`crate::qos`]).
    SetQos {
        /// The base device.
        device: IfName,
        /// Whose traffic.
        class: QosClass,
        /// How.
        qos: HostQos,
    },
    /// Shape it no longer.
    RemoveQos {
        /// The base device.
        device: IfName,
        /// Whose traffic.
        class: QosClass,
    },
    /// Start a DHCP client. It goes on by itself: the step does not wait for a lease.
    StartDhcp {
        /// The interface.
        link: IfName,
        /// The client.
        client: DhcpClient,
    },
    /// Stop a DHCP client; what it got goes: its addresses and routes.
    StopDhcp {
        /// The interface.
        link: IfName,
        /// Its family.
        family: Family,
    },
    /// Write the host's name servers.
    SetNameservers {
        /// In order.
        servers: Vec<Nameserver>,
    },
}

/// A setting of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ipv6Setting {
    /// `disable_ipv6`.
    Disable,
    /// `autoconf`.
    Autoconf,
    /// `accept_ra`.
    AcceptRa,
    /// `accept_ra_defrtr`.
    AcceptRaDefrtr,
}

impl Ipv6Setting {
    /// All of them, in the order in which they are set.
    pub const ALL: [Self; 4] = [
        Self::AcceptRaDefrtr,
        Self::AcceptRa,
        Self::Autoconf,
        Self::Disable,
    ];

    /// Its name beneath `/proc/sys/net/ipv6/conf/NAME/`.
    pub fn sysctl(self) -> &'static str {
        match self {
            Self::Disable => "disable_ipv6",
            Self::Autoconf => "autoconf",
            Self::AcceptRa => "accept_ra",
            Self::AcceptRaDefrtr => "accept_ra_defrtr",
        }
    }
}

/// A DHCP client of an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhcpClient {
    /// DHCP or DHCPv6.
    pub family: Family,
    /// The table that its routes go to: the main one on the network with the default route, else the network's own.
    pub table: u32,
    /// Does it bring the host's name servers?
    pub dns: bool,
    /// IPv6 only: it asks for no lease and hears routers alone (SLAAC: the kernel makes the addresses, the client the
    /// routes, rules and name servers that go with them).
    #[serde(default)]
    pub stateless: bool,
}

/// A step in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// What to do.
    pub step: Step,
    /// What undoes it, in order, given that nothing but the steps before it was done.
    pub undo: Vec<Step>,
    /// When.
    pub stage: Stage,
    /// The network that it serves; nothing: several.
    pub network: Option<NetName>,
}

/// The stages of a plan, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// What goes: first of all others, last of the management network.
    Remove,
    /// Bonds, MTUs and bases that many share.
    Base,
    /// The management network, links and addresses, before all others.
    Management,
    /// Links of all other networks, in order of dependence.
    Links,
    /// Addresses, routes, rules and DHCP. Steps of different networks do not depend on one another and may run at
    /// the same time ([`Plan::lanes`]); those of one network in their order.
    Addresses,
    /// Shaping and name servers.
    Finish,
}

/// What is to be done, in order, and where it leads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Planned>,
    /// The state after the last of them.
    pub result: Current,
}

impl Plan {
    /// Is there nothing to do?
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The steps in runs (see [`lanes`]).
    pub fn lanes(&self) -> Vec<Vec<&[Planned]>> {
        lanes(&self.steps)
    }

    /// What undoes the first `done` steps, in order.
    pub fn undo(&self, done: usize) -> Vec<Step> {
        let done = self.steps.get(..done).unwrap_or(&self.steps);
        undo(done)
    }
}

/// Steps in runs: each run after the one before it, the lanes of one run at the same time if the executor likes.
/// Only [`Stage::Addresses`] has more than one lane. Together they are the steps, in order.
pub fn lanes(steps: &[Planned]) -> Vec<Vec<&[Planned]>> {
    let mut runs: Vec<Vec<&[Planned]>> = Vec::new();
    for part in steps.chunk_by(|a, b| (a.stage, &a.network) == (b.stage, &b.network)) {
        let stage = part.first().map(|it| it.stage);
        let parallel = stage == Some(Stage::Addresses);
        let joins = runs.last().is_some_and(|run| {
            let last = run.last().and_then(|lane| lane.first());
            last.map(|it| it.stage) == stage
        });
        match runs.last_mut() {
            Some(run) if joins && parallel => run.push(part),
            _ => runs.push(vec![part]),
        }
    }
    runs
}

/// What undoes these steps (done in this order), in order.
pub fn undo(done: &[Planned]) -> Vec<Step> {
    let back = done.iter().rev();
    back.flat_map(|it| it.undo.iter().cloned()).collect()
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateBridge { name, .. } => write!(out, "bridge {name}"),
            Self::CreateVlan { name, parent, id } => {
                write!(out, "vlan {name} (id {id} on {parent})")
            }
            Self::CreateBond { name, mode, .. } => write!(out, "bond {name} (mode {mode})"),
            Self::DeleteLink { name } => write!(out, "link {name}"),
            Self::SetMaster { link, master } => write!(out, "{link} in {master}"),
            Self::ClearMaster { link } => write!(out, "{link} out of its master"),
            Self::SetMtu { link, mtu } => write!(out, "{link}: mtu {mtu}"),
            Self::SetMac { link, mac } => write!(out, "{link}: address {mac}"),
            Self::SetUp { link } => write!(out, "{link}: up"),
            Self::SetDown { link } => write!(out, "{link}: down"),
            Self::SetBridgeOption {
                bridge: link,
                option,
                value,
            }
            | Self::SetBondOption {
                bond: link,
                option,
                value,
            } => write!(out, "{link}: {option} {value}"),
            Self::SetIpv6 {
                link,
                setting,
                value,
            } => write!(out, "{link}: {} {value}", setting.sysctl()),
            Self::AddAddress { link, address } | Self::RemoveAddress { link, address } => {
                write!(out, "{link}: address {address}")
            }
            Self::ReturnAddress { link, address, .. } => {
                write!(out, "{link}: address {address} for a time")
            }
            Self::AddRoute { route } | Self::RemoveRoute { route } => write!(out, "route {route}"),
            Self::AddRule { rule } | Self::RemoveRule { rule } => write!(out, "rule {rule}"),
            Self::SetQos { device, class, qos } => write!(out, "{device}: qos of {class}: {qos}"),
            Self::RemoveQos { device, class } => write!(out, "{device}: qos of {class}"),
            Self::StartDhcp { link, client } if client.stateless => {
                write!(out, "{link}: advertisements of routers")
            }
            Self::StartDhcp { link, client } => write!(out, "{link}: dhcp {}", client.family),
            Self::StopDhcp { link, family } => write!(out, "{link}: dhcp {family}"),
            Self::SetNameservers { servers } => {
                write!(out, "nameservers")?;
                servers.iter().try_for_each(|it| write!(out, " {it}"))
            }
        }
    }
}

impl fmt::Display for Plan {
    /// A line a step, in order, `+` for what comes, `-` for what goes, `~` for what changes (with what it was),
    /// beneath the stage and the network.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return writeln!(out, "nothing to do");
        }
        let mut last = None;
        for it in &self.steps {
            let here = (it.stage, &it.network);
            if last != Some(here) {
                write!(out, "{}", it.stage)?;
                if let Some(network) = &it.network {
                    write!(out, " {network}")?;
                }
                writeln!(out, ":")?;
                last = Some(here);
            }
            writeln!(out, "  {it}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Remove => "remove",
            Self::Base => "base",
            Self::Management => "management",
            Self::Links => "links",
            Self::Addresses => "addresses",
            Self::Finish => "finish",
        })
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.step.sign(), self.step)?;
        match self.undo.first().and_then(Step::value) {
            Some(old) if self.step.sign() == '~' => write!(out, " (was {old})"),
            _ => Ok(()),
        }
    }
}

impl Step {
    /// `+`: something comes, `-`: something goes, `~`: something changes.
    pub fn sign(&self) -> char {
        match self {
            Self::CreateBridge { .. }
            | Self::CreateVlan { .. }
            | Self::CreateBond { .. }
            | Self::SetMaster { .. }
            | Self::AddAddress { .. }
            | Self::ReturnAddress { .. }
            | Self::AddRoute { .. }
            | Self::AddRule { .. }
            | Self::StartDhcp { .. } => '+',
            Self::DeleteLink { .. }
            | Self::ClearMaster { .. }
            | Self::RemoveAddress { .. }
            | Self::RemoveRoute { .. }
            | Self::RemoveRule { .. }
            | Self::RemoveQos { .. }
            | Self::StopDhcp { .. } => '-',
            _ => '~',
        }
    }

    /// The value that it sets.
    fn value(&self) -> Option<String> {
        match self {
            Self::SetMtu { mtu, .. } => Some(mtu.to_string()),
            Self::SetMac { mac, .. } => Some(mac.to_string()),
            Self::SetUp { .. } => Some("up".to_owned()),
            Self::SetDown { .. } => Some("down".to_owned()),
            Self::SetBridgeOption { value, .. } | Self::SetBondOption { value, .. } => {
                Some(value.clone())
            }
            Self::SetIpv6 { value, .. } => Some(value.to_string()),
            Self::SetQos { qos, .. } => Some(qos.to_string()),
            Self::RemoveQos { .. } => Some("unshaped".to_owned()),
            Self::SetNameservers { servers } => {
                let words: Vec<&str> = servers.iter().map(Nameserver::as_str).collect();
                Some(words.join(" "))
            }
            _ => None,
        }
    }
}

impl Step {
    /// The interface that it acts on, if on one.
    pub fn device(&self) -> Option<&IfName> {
        match self {
            Self::CreateBridge { name, .. }
            | Self::CreateVlan { name, .. }
            | Self::CreateBond { name, .. }
            | Self::DeleteLink { name } => Some(name),
            Self::SetMaster { link, .. }
            | Self::ClearMaster { link }
            | Self::SetMtu { link, .. }
            | Self::SetMac { link, .. }
            | Self::SetUp { link }
            | Self::SetDown { link }
            | Self::SetBridgeOption { bridge: link, .. }
            | Self::SetBondOption { bond: link, .. }
            | Self::SetIpv6 { link, .. }
            | Self::AddAddress { link, .. }
            | Self::ReturnAddress { link, .. }
            | Self::RemoveAddress { link, .. }
            | Self::SetQos { device: link, .. }
            | Self::RemoveQos { device: link, .. }
            | Self::StartDhcp { link, .. }
            | Self::StopDhcp { link, .. } => Some(link),
            Self::AddRoute { route } | Self::RemoveRoute { route } => route.device.as_ref(),
            Self::AddRule { .. } | Self::RemoveRule { .. } | Self::SetNameservers { .. } => None,
        }
    }
}
