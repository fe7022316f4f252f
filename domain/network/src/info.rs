//! The host's networks as they are told: by kind of interface, and by network.
//!
//! Which keys there are: upstream `netinfo/cache.py`. How they are written on the wire is the business of whoever
//! answers.

use std::{collections::BTreeMap, net::IpAddr};

use net_model::{
    BondOptions, BondState, Config, Current, HostQos, IfName, Link, LinkKind, NetName, Network,
    QosClass, Switch, bond, matches,
};

use crate::{IpInfo, LinkFigures, RootState, ip};

/// A bridge that upstream keeps for itself.
const DUMMY_BRIDGE: &str = ";vdsmdummy;";

/// Which interfaces are told of: patterns of names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    /// Cards that are not.
    pub hidden_nics: Vec<String>,
    /// Bonds that are not, with their ports.
    pub hidden_bonds: Vec<String>,
    /// VLANs that are not.
    pub hidden_vlans: Vec<String>,
}

/// VLANs upon VLANs that are looked through; the kernel stacks no more.
const DEEPEST: usize = 8;

impl Shown {
    /// Is it told of?
    pub(crate) fn has(&self, current: &Current, name: &IfName, link: &Link) -> bool {
        let is = |patterns: &[String], name: &IfName| matches(patterns, name.as_str());
        match &link.kind {
            LinkKind::Nic => {
                let of_hidden = link.master.as_ref().is_some_and(|master| {
                    is_bond(current, master) && is(&self.hidden_bonds, master)
                });
                !is(&self.hidden_nics, name) && !of_hidden
            }
            LinkKind::Bond(_) => !is(&self.hidden_bonds, name),
            LinkKind::Vlan { parent, .. } => {
                !is(&self.hidden_vlans, name) && self.carries(current, parent)
            }
            LinkKind::Bridge(_) => name.as_str() != DUMMY_BRIDGE,
            LinkKind::Loopback | LinkKind::Other(_) => false,
        }
    }

    /// Is a VLAN's base told of? Engine looks for it among cards, bonds and VLANs, and refuses all capabilities where it is none of
    /// them (a bridge, somebody's tunnel, a hidden card).
    fn carries(&self, current: &Current, base: &IfName) -> bool {
        let mut base = base;
        for _ in 0..DEEPEST {
            let Some(link) = current.links.get(base) else {
                return false;
            };
            match &link.kind {
                LinkKind::Vlan { parent, .. } if !matches(&self.hidden_vlans, base.as_str()) => {
                    base = parent;
                }
                LinkKind::Nic | LinkKind::Bond(_) => return self.has(current, base, link),
                _ => return false,
            }
        }
        false
    }
}

fn is_bond(current: &Current, name: &IfName) -> bool {
    let link = current.links.get(name);
    link.is_some_and(|it| matches!(it.kind, LinkKind::Bond(_)))
}

/// What [`NetworkInfo`] is made of.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// What the kernel has.
    pub current: &'a Current,
    /// What was set up.
    pub config: &'a Config,
    /// What root knows, if it could be asked.
    pub root: Option<&'a RootState>,
    /// Speeds.
    pub figures: &'a BTreeMap<IfName, LinkFigures>,
    /// What is told of.
    pub shown: &'a Shown,
}

/// The host's networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkInfo {
    /// Networks that are there.
    pub networks: BTreeMap<String, NetInfo>,
    /// Bridges.
    pub bridges: BTreeMap<String, BridgeInfo>,
    /// VLANs.
    pub vlans: BTreeMap<String, VlanInfo>,
    /// Bonds.
    pub bonds: BTreeMap<String, BondInfo>,
    /// Network cards.
    pub nics: BTreeMap<String, NicInfo>,
    /// Name servers.
    pub nameservers: Vec<String>,
    /// Does the kernel do IPv6?
    pub ipv6: bool,
    /// Does what is configured differ from what comes back after a start of the host?
    pub dirty: bool,
    /// Whose address is it? Of all interfaces, hidden ones too.
    pub owners: BTreeMap<IpAddr, String>,
}

/// A network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetInfo {
    /// The interface that carries its addresses.
    pub iface: String,
    /// Addresses.
    pub ip: IpInfo,
    /// Its bridge.
    pub bridge: Option<BridgeInfo>,
    /// Where its traffic leaves; nothing: nowhere.
    pub southbound: Option<String>,
    /// Its VLAN.
    pub vlan: Option<u16>,
    /// Shaping of what it sends.
    pub qos: Option<HostQos>,
    /// What switches it.
    pub switch: Switch,
}

/// A bridge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BridgeInfo {
    /// Addresses.
    pub ip: IpInfo,
    /// Ports.
    pub ports: Vec<String>,
    /// Spanning tree protocol.
    pub stp: bool,
    /// Options by sysfs's names.
    pub options: BTreeMap<String, String>,
}

/// A VLAN.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VlanInfo {
    /// Addresses.
    pub ip: IpInfo,
    /// Interface beneath.
    pub device: String,
    /// Its id.
    pub id: u16,
    /// Mbit/s of the interface beneath; 0 where not told.
    pub speed: u32,
}

/// A bond.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BondInfo {
    /// Addresses.
    pub ip: IpInfo,
    /// Hardware address.
    pub hwaddr: String,
    /// Ports.
    pub ports: Vec<String>,
    /// The port that sends, or empty.
    pub active_port: String,
    /// Mode, and options that are not the default.
    pub options: BTreeMap<String, String>,
    /// Aggregator, of 802.3ad.
    pub aggregator: Option<String>,
    /// Hardware address of the partner, of 802.3ad.
    pub partner: Option<String>,
    /// Mbit/s; 0 where not told.
    pub speed: u32,
    /// What switches its networks.
    pub switch: Switch,
    /// Shaping of the networks on it.
    pub qos: Vec<(QosClass, HostQos)>,
}

/// A network card.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NicInfo {
    /// Addresses.
    pub ip: IpInfo,
    /// Hardware address.
    pub hwaddr: String,
    /// Permanent hardware address, of a bond's port.
    pub permanent_hwaddr: Option<String>,
    /// Aggregator, of a port of an 802.3ad bond.
    pub aggregator: Option<String>,
    /// Mbit/s; 0 where not told.
    pub speed: u32,
    /// Shaping of the networks on it.
    pub qos: Vec<(QosClass, HostQos)>,
}

impl NetworkInfo {
    /// Of what was seen.
    pub fn of(view: &View<'_>) -> Self {
        let nameservers = view.current.nameservers.iter();
        let mut info = Self {
            nameservers: nameservers.map(|it| it.as_str().to_owned()).collect(),
            ipv6: view.current.ipv6,
            ..Self::default()
        };
        for (name, link) in &view.current.links {
            let all = link.addresses.iter().map(|it| it.cidr.ip());
            info.owners.extend(all.map(|ip| (ip, name.to_string())));
        }
        let all = Teller::new(view);
        for (name, link) in &view.current.links {
            if view.shown.has(view.current, name, link) {
                all.link(&mut info, name, link);
            }
        }
        for (name, network) in &view.config.networks {
            if let Some(network) = all.network(&info, name, network) {
                info.networks.insert(name.to_string(), network);
            }
        }
        info
    }
}

/// What is reckoned once for all interfaces.
struct Teller<'a> {
    view: &'a View<'a>,
    ways: ip::Ways<'a>,
    tops: BTreeMap<IfName, &'a Network>,
    ports: BTreeMap<&'a IfName, Vec<String>>,
}

impl<'a> Teller<'a> {
    fn new(view: &'a View<'a>) -> Self {
        let tops = ip::tops(view.config).into_iter();
        let mut ports: BTreeMap<_, Vec<String>> = BTreeMap::new();
        for (name, link) in &view.current.links {
            if let Some(master) = &link.master {
                ports.entry(master).or_default().push(name.to_string());
            }
        }
        Self {
            view,
            ways: ip::Ways::new(view.current, view.root),
            tops: tops.map(|(top, _, network)| (top, network)).collect(),
            ports,
        }
    }

    fn ip(&self, name: &IfName, link: &Link) -> IpInfo {
        ip::of(&self.ways, name, link, self.tops.get(name).copied())
    }

    fn ports(&self, name: &IfName) -> Vec<String> {
        self.ports.get(name).cloned().unwrap_or_default()
    }

    fn speed(&self, name: &IfName) -> u32 {
        self.view.figures.get(name).map_or(0, |it| it.speed)
    }

    fn link(&self, info: &mut NetworkInfo, name: &IfName, link: &Link) {
        let key = name.to_string();
        match &link.kind {
            LinkKind::Nic => {
                info.nics.insert(key, self.nic(name, link));
            }
            LinkKind::Bond(state) => {
                info.bonds.insert(key, self.bond(name, link, state));
            }
            LinkKind::Bridge(_) => {
                if let Some(bridge) = self.bridge(name) {
                    info.bridges.insert(key, bridge);
                }
            }
            LinkKind::Vlan { parent, id } => {
                let vlan = VlanInfo {
                    ip: self.ip(name, link),
                    device: parent.to_string(),
                    id: *id,
                    speed: self.speed(parent),
                };
                info.vlans.insert(key, vlan);
            }
            LinkKind::Loopback | LinkKind::Other(_) => {}
        }
    }

    fn nic(&self, name: &IfName, link: &Link) -> NicInfo {
        let of_bond = link.master.as_ref();
        let of_bond = of_bond.is_some_and(|it| is_bond(self.view.current, it));
        let permanent = link.permanent_mac.filter(|it| of_bond && !it.is_zero());
        NicInfo {
            ip: self.ip(name, link),
            hwaddr: link.mac.to_string(),
            permanent_hwaddr: permanent.map(|it| it.to_string()),
            aggregator: link.aggregator.map(|it| it.to_string()),
            speed: self.speed(name),
            qos: self.qos(name),
        }
    }

    fn bond(&self, name: &IfName, link: &Link, state: &BondState) -> BondInfo {
        let aggregation = bond::aggregation(state);
        let (aggregator, partner) = aggregation
            .map(|it| (it.aggregator_id, it.partner_mac))
            .unzip();
        let active = state.active_slave.as_ref();
        let configured = self.view.config.bonds.get(name);
        BondInfo {
            ip: self.ip(name, link),
            hwaddr: link.mac.to_string(),
            ports: self.ports(name),
            active_port: active.map(ToString::to_string).unwrap_or_default(),
            options: options(state),
            aggregator,
            partner,
            speed: self.speed(name),
            switch: configured.map(|it| it.switch).unwrap_or_default(),
            qos: self.qos(name),
        }
    }

    fn bridge(&self, name: &IfName) -> Option<BridgeInfo> {
        let link = self.view.current.links.get(name)?;
        let LinkKind::Bridge(state) = &link.kind else {
            return None;
        };
        Some(BridgeInfo {
            ip: self.ip(name, link),
            ports: self.ports(name),
            stp: state.stp,
            options: state.options.clone(),
        })
    }

    /// Nothing, if it is not there.
    fn network(&self, info: &NetworkInfo, name: &NetName, network: &Network) -> Option<NetInfo> {
        let top = network.top(name).ok()?;
        let link = self.view.current.links.get(&top)?;
        let bridge = match network.bridge {
            Some(_) => Some(self.bridge(&top)?),
            None => None,
        };
        let southbound = match &bridge {
            Some(bridge) => southbound(info, &bridge.ports),
            None => Some(top.to_string()),
        };
        let vlan = southbound.as_ref().and_then(|it| info.vlans.get(it));
        Some(NetInfo {
            iface: top.to_string(),
            ip: self.ip(&top, link),
            bridge,
            vlan: vlan.map(|it| it.id),
            southbound,
            qos: self.qos_of(network),
            switch: network.switch,
        })
    }

    /// As root sees it in the kernel; if root cannot be asked: as it was set up.
    fn qos_of(&self, network: &Network) -> Option<HostQos> {
        let Some(root) = self.view.root else {
            return network.qos;
        };
        let of_base = root.qos.get(network.base.as_ref()?.device())?;
        of_base.get(&QosClass(network.vlan)).copied()
    }

    /// Of the networks on a card or bond, the untagged one first.
    fn qos(&self, base: &IfName) -> Vec<(QosClass, HostQos)> {
        let networks = self.view.config.networks.values();
        let here = networks.filter(|it| it.base.as_ref().is_some_and(|it| it.device() == base));
        let shaped = here.filter_map(|it| Some((QosClass(it.vlan), self.qos_of(it)?)));
        let mut all: Vec<_> = shaped.collect();
        all.sort();
        all
    }
}

/// The one bond, card or VLAN among the ports.
fn southbound(info: &NetworkInfo, ports: &[String]) -> Option<String> {
    fn only<T>(ports: &[String], kind: &BTreeMap<String, T>) -> Option<String> {
        let mut found = ports.iter().filter(|it| kind.contains_key(*it));
        let first = found.next()?;
        found.next().is_none().then(|| first.clone())
    }
    only(ports, &info.bonds)
        .or_else(|| only(ports, &info.nics))
        .or_else(|| only(ports, &info.vlans))
}

/// The mode, and what differs from the defaults.
fn options(state: &BondState) -> BTreeMap<String, String> {
    let options = BondOptions::of_kernel(&state.options);
    let others = options.others();
    let mut all: BTreeMap<String, String> = others
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    all.insert("mode".to_owned(), options.mode().number().to_string());
    all
}
