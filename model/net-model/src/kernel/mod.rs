//! What the kernel makes of a step: the state after it, and what else went with it.
//!
//! The plan runs on this model, so that it knows what a step breaks (a bond that goes down loses its routes,
//! a removed primary address takes its secondaries along) and mends it; `dryRun` shows its end. Where kernels
//! differ (a bridge whose MTU somebody set, `promote_secondaries`) it assumes the worse; steps are idempotent,
//! so that the better does no harm.
//!
//! Look next: `links.rs` (what happens to links), `upper.rs` (addresses, routes, clients), `undo.rs` (from [`Effects`] to the steps back).

mod links;
mod upper;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{
    Address, BondState, BridgeState, Current, DhcpClient, HostQos, IfName, Link, LinkKind, Mac,
    NetError, OUR_PROTOCOL, QosClass, Route, Step, network::DEFAULT_MTU,
};

/// A state with what is needed to change it quickly.
#[derive(Debug, Clone)]
pub struct Kernel {
    state: Current,
    ports: HashMap<IfName, BTreeSet<IfName>>,
    vlans: HashMap<IfName, BTreeSet<IfName>>,
    ids: HashMap<(IfName, u16), IfName>,
    pinned: BTreeSet<IfName>,
}

/// What a step changed beyond its own name: old values, lost things.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effects {
    /// Did anything change?
    pub changed: bool,
    /// Old MTUs, those beneath first.
    pub mtus: Vec<(IfName, u32)>,
    /// Links that were up or down before, those beneath first.
    pub ups: Vec<(IfName, bool)>,
    /// Old hardware addresses.
    pub macs: Vec<(IfName, Mac)>,
    /// Old addresses of links that lost or got some.
    pub addresses: Vec<(IfName, Vec<Address>)>,
    /// Lost routes.
    pub routes: Vec<Route>,
    /// Removed links, those beneath first.
    pub links: Vec<(IfName, Link)>,
    /// Released ports, and of whom.
    pub ports: Vec<(IfName, IfName)>,
    /// Lost shaping.
    pub qos: Vec<(IfName, BTreeMap<QosClass, HostQos>)>,
    /// Lost DHCP clients.
    pub dhcp: Vec<(IfName, Vec<DhcpClient>)>,
}

type Applied = Result<Effects, String>;

impl Kernel {
    /// From what there is.
    pub fn new(state: Current) -> Self {
        let mut kernel = Self {
            ports: HashMap::new(),
            vlans: HashMap::new(),
            ids: HashMap::new(),
            pinned: BTreeSet::new(),
            state: Current::default(),
        };
        for (name, link) in &state.links {
            kernel.index(name, link);
        }
        kernel.state = state;
        kernel.find_pinned();
        kernel
    }

    /// A bridge with another MTU than its ports give it must have been told.
    fn find_pinned(&mut self) {
        let told = self.state.links.iter().filter(|(name, link)| {
            matches!(link.kind, LinkKind::Bridge(_)) && link.mtu != self.mtu_of_ports(name)
        });
        self.pinned = told.map(|(name, _)| name.clone()).collect();
    }

    fn mtu_of_ports(&self, bridge: &IfName) -> u32 {
        let ports = self.ports(bridge.as_str());
        let mtus = ports.filter_map(|it| self.link(it.as_str()));
        mtus.map(|it| it.mtu).min().unwrap_or(DEFAULT_MTU)
    }

    /// A bridge whose MTU somebody has set: it does not follow its ports any more. The kernel does not tell.
    #[must_use]
    pub fn with_pinned(mut self, bridge: IfName) -> Self {
        if self.state.links.contains_key(&bridge) {
            self.pinned.insert(bridge);
        }
        self
    }

    /// The state.
    pub fn state(&self) -> &Current {
        &self.state
    }

    /// The state, for good.
    pub fn into_state(self) -> Current {
        self.state
    }

    /// A link.
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.state.links.get(name)
    }

    /// Ports of a bridge or bond.
    pub fn ports(&self, master: &str) -> impl Iterator<Item = &IfName> {
        self.ports.get(master).into_iter().flatten()
    }

    /// VLANs upon an interface.
    pub fn vlans(&self, parent: &str) -> impl Iterator<Item = &IfName> {
        self.vlans.get(parent).into_iter().flatten()
    }

    /// Runs a step. What is so already changes nothing.
    pub fn apply(&mut self, step: &Step) -> Result<Effects, NetError> {
        self.run(step).map_err(|why| NetError::Refused {
            step: step.to_string(),
            why,
        })
    }

    fn run(&mut self, step: &Step) -> Applied {
        match step {
            Step::CreateBridge { name, mac } => {
                let kind = LinkKind::Bridge(BridgeState::default());
                self.create(name, kind, mac.unwrap_or_default(), DEFAULT_MTU)
            }
            Step::CreateVlan { name, parent, id } => self.create_vlan(name, parent, id.get()),
            Step::CreateBond { name, mode, mac } => {
                let mut state = BondState::default();
                state.options.insert("mode".to_owned(), mode.to_string());
                let kind = LinkKind::Bond(state);
                self.create(name, kind, mac.unwrap_or_default(), DEFAULT_MTU)
            }
            Step::DeleteLink { name } => self.delete(name),
            Step::SetMaster { link, master } => self.set_master(link, master),
            Step::ClearMaster { link } => self.clear_master(link),
            Step::SetMtu { link, mtu } => self.set_mtu(link, *mtu),
            Step::SetMac { link, mac } => self.set_mac(link, *mac),
            Step::SetUp { link } => self.set_up(link),
            Step::SetDown { link } => self.set_down(link),
            Step::SetBridgeOption {
                bridge,
                option,
                value,
            } => self.set_bridge_option(bridge, option, value),
            Step::SetBondOption {
                bond,
                option,
                value,
            } => self.set_bond_option(bond, option, value),
            Step::SetIpv6 {
                link,
                setting,
                value,
            } => self.set_ipv6(link, *setting, *value),
            _ => self.run_upper(step),
        }
    }

    fn run_upper(&mut self, step: &Step) -> Applied {
        let mut effects = Effects::default();
        let state = &mut self.state;
        effects.changed = match step {
            Step::AddAddress { link, address } => return self.add_address(link, *address),
            Step::ReturnAddress {
                link,
                address,
                expiry,
            } => return self.return_address(link, *address, *expiry),
            Step::RemoveAddress { link, address } => return self.remove_address(link, *address),
            Step::AddRoute { route } => return self.add_route(route),
            Step::RemoveRoute { route } => state.routes.remove(route),
            Step::AddRule { rule } => state.rules.insert(rule.clone()),
            Step::RemoveRule { rule } => state.rules.remove(rule),
            Step::SetQos { device, class, qos } => {
                self.need(device)?;
                let classes = self.state.qos.entry(device.clone()).or_default();
                classes.insert(*class, *qos) != Some(*qos)
            }
            Step::RemoveQos { device, class } => remove_class(state, device, *class),
            Step::StartDhcp { link, client } => return self.start_dhcp(link, client),
            Step::StopDhcp { link, family } => return Ok(self.stop_dhcp(link, *family)),
            Step::SetNameservers { servers } => {
                let changed = state.nameservers != *servers;
                state.nameservers.clone_from(servers);
                changed
            }
            _ => false,
        };
        Ok(effects)
    }

    fn need(&self, name: &IfName) -> Result<&Link, String> {
        let link = self.state.links.get(name);
        link.ok_or_else(|| format!("there is no {name}"))
    }

    fn need_mut(&mut self, name: &IfName) -> Result<&mut Link, String> {
        let link = self.state.links.get_mut(name);
        link.ok_or_else(|| format!("there is no {name}"))
    }

    fn index(&mut self, name: &IfName, link: &Link) {
        if let Some(master) = &link.master {
            let ports = self.ports.entry(master.clone()).or_default();
            ports.insert(name.clone());
        }
        if let LinkKind::Vlan { parent, id } = &link.kind {
            self.ids.insert((parent.clone(), *id), name.clone());
            let vlans = self.vlans.entry(parent.clone()).or_default();
            vlans.insert(name.clone());
        }
    }
}

fn changed() -> Effects {
    Effects {
        changed: true,
        ..Effects::default()
    }
}

fn remove_class(state: &mut Current, device: &IfName, class: QosClass) -> bool {
    let Some(classes) = state.qos.get_mut(device) else {
        return false;
    };
    let gone = classes.remove(&class).is_some();
    if classes.is_empty() {
        state.qos.remove(device);
    }
    gone
}

/// Is the route one that this agent made?
pub(crate) fn is_ours(route: &Route) -> bool {
    route.protocol == OUR_PROTOCOL
}
