//! What the kernel makes of a step: the state after it, and what else went with it.
//!
//! The plan runs on this model, so that it knows what a step breaks (a bond that goes down loses its routes,
//! a removed primary address takes its secondaries along) and mends it; `dryRun` shows its end. Where kernels
//! differ (a bridge whose MTU somebody set, `promote_secondaries`) it assumes the worse; steps are idempotent,
//! so that the better does no harm.
//!
//! Look next: `undo.rs` (from [`Effects`] to the steps back).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{
    Address, BondState, BridgeState, Cidr, Current, DhcpClient, Family, HostQos, IfName,
    Ipv6Setting, Ipv6Settings, Link, LinkKind, Mac, NetError, OUR_PROTOCOL, QosClass, Route,
    RouteKind, Step, addresses, bond,
    network::{DEFAULT_MTU, MIN_MTU, MIN_MTU_V6},
};

/// A state with what is needed to change it quickly.
#[derive(Debug, Clone)]
pub struct Kernel {
    state: Current,
    ports: HashMap<IfName, BTreeSet<IfName>>,
    vlans: HashMap<IfName, BTreeSet<IfName>>,
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
        if let LinkKind::Vlan { parent, .. } = &link.kind {
            let vlans = self.vlans.entry(parent.clone()).or_default();
            vlans.insert(name.clone());
        }
    }

    fn create(&mut self, name: &IfName, kind: LinkKind, mac: Mac, mtu: u32) -> Applied {
        if let Some(link) = self.state.links.get(name) {
            if link.kind.word() == kind.word() {
                return Ok(Effects::default());
            }
            return Err(format!("{name} is there, a {}", link.kind.word()));
        }
        let link = Link {
            mtu,
            up: false,
            carrier: false,
            ipv6: self.state.ipv6.then(Ipv6Settings::default),
            ..Link::new(kind, mac)
        };
        self.index(name, &link);
        self.state.links.insert(name.clone(), link);
        Ok(changed())
    }

    fn create_vlan(&mut self, name: &IfName, parent: &IfName, id: u16) -> Applied {
        let kind = LinkKind::Vlan {
            parent: parent.clone(),
            id,
        };
        if let Some(link) = self.state.links.get(name) {
            let same = link.kind == kind;
            return same
                .then(Effects::default)
                .ok_or(format!("{name} is there, another one"));
        }
        let beneath = self.need(parent)?;
        if beneath.kind == LinkKind::Loopback {
            return Err(format!("{parent} can carry no VLAN"));
        }
        let (mac, mtu) = (beneath.mac, beneath.mtu);
        let taken = self.vlans(parent.as_str()).find(|it| {
            let kind = self.link(it.as_str()).map(|it| &it.kind);
            matches!(kind, Some(LinkKind::Vlan { id: other, .. }) if *other == id)
        });
        match taken {
            Some(other) => Err(format!("{other} has id {id} on {parent}")),
            None => self.create(name, kind, mac, mtu),
        }
    }

    fn delete(&mut self, name: &IfName) -> Applied {
        let Some(link) = self.state.links.get(name) else {
            return Ok(Effects::default());
        };
        match link.kind {
            LinkKind::Bridge(_) | LinkKind::Vlan { .. } | LinkKind::Bond(_) => {}
            _ => return Err(format!("{name} is a {}", link.kind.word())),
        }
        let mut effects = changed();
        self.drop_link(name, &mut effects);
        Ok(effects)
    }

    fn drop_link(&mut self, name: &IfName, effects: &mut Effects) {
        let at = effects.links.len();
        let Some(mut link) = self.state.links.get(name).cloned() else {
            return;
        };
        for vlan in self.vlans.remove(name).unwrap_or_default() {
            self.drop_link(&vlan, effects);
        }
        for port in self.ports.get(name).cloned().unwrap_or_default() {
            self.release(&port, effects);
        }
        self.ports.remove(name);
        self.state.links.remove(name);
        self.drop_routes(name, |_| true, effects);
        if let Some(classes) = self.state.qos.remove(name) {
            effects.qos.push((name.clone(), classes));
        }
        if let Some(clients) = self.state.dhcp.remove(name) {
            effects.dhcp.push((name.clone(), clients));
        }
        if let LinkKind::Vlan { parent, .. } = &link.kind
            && let Some(siblings) = self.vlans.get_mut(parent)
        {
            siblings.remove(name);
        }
        if let Some(master) = link.master.clone() {
            if let Some(siblings) = self.ports.get_mut(&master) {
                siblings.remove(name);
            }
            self.follow_ports(&master, effects);
        }
        self.pinned.remove(name);
        link.addresses.retain(|it| !it.is_link_local());
        effects.links.insert(at, (name.clone(), link));
    }

    fn drop_routes(
        &mut self,
        device: &IfName,
        which: impl Fn(&Route) -> bool,
        effects: &mut Effects,
    ) {
        let routes = self.state.routes_of(device).filter(|it| which(it));
        let routes: Vec<Route> = routes.cloned().collect();
        for route in routes {
            self.state.routes.remove(&route);
            effects.routes.push(route);
        }
    }

    fn set_master(&mut self, name: &IfName, master: &IfName) -> Applied {
        let above = self.need(master)?;
        let link = self.need(name)?;
        if link.master.as_ref() == Some(master) {
            return Ok(Effects::default());
        }
        if let Some(other) = &link.master {
            return Err(format!("{name} belongs to {other}"));
        }
        match (&above.kind, &link.kind) {
            (_, LinkKind::Loopback) => Err(format!("{name} is the loopback")),
            (LinkKind::Bridge(_), LinkKind::Bridge(_)) => Err(format!("{name} is a bridge")),
            (LinkKind::Bridge(_), _) => Ok(self.enter_bridge(name, master)),
            (LinkKind::Bond(_), _) if link.up => Err(format!("{name} is up")),
            (LinkKind::Bond(_), LinkKind::Bond(_) | LinkKind::Bridge(_)) => {
                Err(format!("{name} is a {}", link.kind.word()))
            }
            (LinkKind::Bond(_), _) => self.enter_bond(name, master),
            _ => Err(format!("{master} is a {}", above.kind.word())),
        }
    }

    fn enter(&mut self, name: &IfName, master: &IfName) {
        if let Some(link) = self.state.links.get_mut(name) {
            link.master = Some(master.clone());
        }
        let ports = self.ports.entry(master.clone()).or_default();
        ports.insert(name.clone());
    }

    fn enter_bridge(&mut self, name: &IfName, master: &IfName) -> Effects {
        let mut effects = changed();
        self.enter(name, master);
        self.follow_ports(master, &mut effects);
        effects
    }

    fn enter_bond(&mut self, name: &IfName, master: &IfName) -> Applied {
        let mut effects = changed();
        let own = self.need(name)?.mac;
        let bond = self.need_mut(master)?;
        let mtu = bond.mtu;
        if bond.mac.is_zero() {
            effects.macs.push((master.clone(), bond.mac));
            bond.mac = own;
        }
        let mac = bond.mac;
        self.change_mtu(name, mtu, &mut effects)?;
        let link = self.need_mut(name)?;
        link.permanent_mac = link.permanent_mac.or(Some(own));
        link.mac = mac;
        link.up = true;
        self.enter(name, master);
        Ok(effects)
    }

    fn clear_master(&mut self, name: &IfName) -> Applied {
        let mut effects = Effects::default();
        if self.need(name)?.master.is_some() {
            effects.changed = true;
            self.release(name, &mut effects);
        }
        Ok(effects)
    }

    fn release(&mut self, name: &IfName, effects: &mut Effects) {
        let Some(link) = self.state.links.get_mut(name) else {
            return;
        };
        let Some(master) = link.master.take() else {
            return;
        };
        effects.ports.push((name.clone(), master.clone()));
        if let Some(siblings) = self.ports.get_mut(&master) {
            siblings.remove(name);
        }
        let bond = self.state.links.get(&master).map(|it| &it.kind);
        if matches!(bond, Some(LinkKind::Bond(_))) {
            if let Some(link) = self.state.links.get_mut(name) {
                link.mac = link.permanent_mac.take().unwrap_or(link.mac);
            }
            self.take_down(name, effects);
        } else {
            self.follow_ports(&master, effects);
        }
    }

    /// A bridge whose MTU nobody set has the least MTU of its ports (`br_mtu_auto_adjust`).
    fn follow_ports(&mut self, bridge: &IfName, effects: &mut Effects) {
        if self.pinned.contains(bridge) {
            return;
        }
        let least = self.mtu_of_ports(bridge);
        if let Some(link) = self.state.links.get_mut(bridge)
            && matches!(link.kind, LinkKind::Bridge(_))
            && link.mtu != least
        {
            effects.mtus.push((bridge.clone(), link.mtu));
            link.mtu = least;
        }
    }

    fn set_mtu(&mut self, name: &IfName, mtu: u32) -> Applied {
        let link = self.need(name)?;
        if let LinkKind::Vlan { parent, .. } = &link.kind {
            let most = self.need(parent)?.mtu;
            if mtu > most {
                return Err(format!("{parent} has MTU {most}"));
            }
        }
        let is_bridge = matches!(link.kind, LinkKind::Bridge(_));
        let mut effects = Effects::default();
        self.change_mtu(name, mtu, &mut effects)?;
        if is_bridge && !effects.mtus.is_empty() {
            self.pinned.insert(name.clone());
        }
        if matches!(self.need(name)?.kind, LinkKind::Bond(_)) {
            for port in self.ports.get(name).cloned().unwrap_or_default() {
                self.change_mtu(&port, mtu, &mut effects)?;
            }
        }
        effects.changed = !effects.mtus.is_empty();
        Ok(effects)
    }

    fn change_mtu(&mut self, name: &IfName, mtu: u32, effects: &mut Effects) -> Result<(), String> {
        let link = self.need_mut(name)?;
        if link.mtu == mtu {
            return Ok(());
        }
        let most = link.max_mtu.unwrap_or(u32::MAX);
        if mtu < MIN_MTU || mtu > most {
            return Err(format!("{name} takes no MTU of {mtu}"));
        }
        effects.mtus.push((name.clone(), link.mtu));
        link.mtu = mtu;
        let master = link.master.clone();
        if mtu < MIN_MTU_V6 {
            self.drop_ipv6(name, effects);
        }
        for vlan in self.vlans.get(name).cloned().unwrap_or_default() {
            if self.need(&vlan)?.mtu > mtu {
                self.change_mtu(&vlan, mtu, effects)?;
            }
        }
        if let Some(master) = master {
            self.follow_ports(&master, effects);
        }
        Ok(())
    }

    fn set_mac(&mut self, name: &IfName, mac: Mac) -> Applied {
        let mut effects = Effects::default();
        let old = self.need(name)?.mac;
        if old == mac {
            return Ok(effects);
        }
        effects.changed = true;
        let is_bond = matches!(self.need(name)?.kind, LinkKind::Bond(_));
        let mut followers = self.vlans.get(name).cloned().unwrap_or_default();
        if is_bond {
            followers.extend(self.ports(name.as_str()).cloned());
        }
        effects.macs.push((name.clone(), old));
        self.need_mut(name)?.mac = mac;
        for follower in followers {
            let link = self.need_mut(&follower)?;
            if link.mac == old {
                link.mac = mac;
            }
        }
        Ok(effects)
    }

    fn set_up(&mut self, name: &IfName) -> Applied {
        let mut effects = Effects::default();
        let link = self.need(name)?;
        if let LinkKind::Vlan { parent, .. } = &link.kind
            && !self.need(parent)?.up
        {
            return Err(format!("{parent} is down"));
        }
        if !link.up {
            effects.changed = true;
            self.bring_up(name, &mut effects);
        }
        Ok(effects)
    }

    fn bring_up(&mut self, name: &IfName, effects: &mut Effects) {
        if let Some(link) = self.state.links.get_mut(name).filter(|it| !it.up) {
            link.up = true;
            effects.ups.push((name.clone(), false));
        }
        for vlan in self.vlans.get(name).cloned().unwrap_or_default() {
            self.bring_up(&vlan, effects);
        }
    }

    fn set_down(&mut self, name: &IfName) -> Applied {
        let mut effects = Effects::default();
        if self.need(name)?.up {
            effects.changed = true;
            self.take_down(name, &mut effects);
        }
        Ok(effects)
    }

    fn take_down(&mut self, name: &IfName, effects: &mut Effects) {
        let Some(link) = self.state.links.get_mut(name).filter(|it| it.up) else {
            return;
        };
        link.up = false;
        effects.ups.push((name.clone(), true));
        self.drop_ipv6(name, effects);
        self.drop_routes(name, |_| true, effects);
        for vlan in self.vlans.get(name).cloned().unwrap_or_default() {
            self.take_down(&vlan, effects);
        }
    }

    /// IPv6's addresses and routes of an interface go.
    fn drop_ipv6(&mut self, name: &IfName, effects: &mut Effects) {
        self.lose(name, |it| it.cidr.family() == Family::V6, effects);
        self.drop_routes(name, |it| it.family() == Family::V6, effects);
    }

    fn lose(&mut self, name: &IfName, which: impl Fn(&Address) -> bool, effects: &mut Effects) {
        let Some(link) = self.state.links.get_mut(name) else {
            return;
        };
        if link.addresses.iter().any(&which) {
            let old = link.addresses.clone();
            link.addresses.retain(|it| !which(it));
            effects.addresses.push((name.clone(), old));
        }
    }

    fn set_bridge_option(&mut self, name: &IfName, option: &str, value: &str) -> Applied {
        let mut effects = Effects::default();
        let LinkKind::Bridge(state) = &mut self.need_mut(name)?.kind else {
            return Err(format!("{name} is no bridge"));
        };
        if option == "stp_state" {
            let on = value != "0";
            effects.changed = state.stp != on;
            state.stp = on;
        }
        let old = state.options.insert(option.to_owned(), value.to_owned());
        effects.changed |= option != "stp_state" && old.as_deref() != Some(value);
        Ok(effects)
    }

    fn set_bond_option(&mut self, name: &IfName, option: &str, value: &str) -> Applied {
        let crowded = self.ports(name.as_str()).next().is_some();
        let link = self.need_mut(name)?;
        let up = link.up;
        let LinkKind::Bond(state) = &mut link.kind else {
            return Err(format!("{name} is no bond"));
        };
        let old = state.options.get(option).map(String::as_str);
        if old.or(bond::default_value(option)) == Some(value) {
            return Ok(Effects::default());
        }
        if bond::needs_no_ports(option) && crowded {
            return Err(format!("{name} has ports"));
        }
        if up && (bond::needs_down(option) || option == "mode") {
            return Err(format!("{name} is up"));
        }
        state.options.insert(option.to_owned(), value.to_owned());
        let rival = match option {
            "miimon" => Some("arp_interval"),
            "arp_interval" => Some("miimon"),
            _ => None,
        };
        if let Some(rival) = rival.filter(|_| value != "0") {
            state.options.remove(rival);
        }
        Ok(changed())
    }

    fn set_ipv6(&mut self, name: &IfName, setting: Ipv6Setting, value: u8) -> Applied {
        let mut effects = Effects::default();
        let link = self.need_mut(name)?;
        let settings = link.ipv6.as_mut();
        let settings = settings.ok_or_else(|| format!("{name} does no IPv6"))?;
        effects.changed = settings.get(setting) != value;
        settings.set(setting, value);
        if setting == Ipv6Setting::Disable && value != 0 {
            self.drop_ipv6(name, &mut effects);
        }
        Ok(effects)
    }

    fn add_address(&mut self, name: &IfName, cidr: Cidr) -> Applied {
        let mut effects = Effects::default();
        let link = self.need_mut(name)?;
        let old = link.addresses.clone();
        if let Some(found) = link.addresses.iter_mut().find(|it| it.cidr == cidr) {
            if found.dynamic {
                found.dynamic = false;
                effects.changed = true;
                effects.addresses.push((name.clone(), old));
            }
            return Ok(effects);
        }
        let six = cidr.family() == Family::V6;
        if six && (link.mtu < MIN_MTU_V6 || link.ipv6.is_none_or(|it| it.disabled)) {
            return Err(format!("{name} does no IPv6"));
        }
        let lists: Vec<Cidr> = old.iter().map(|it| it.cidr).collect();
        let at = addresses::place_of(&lists, cidr);
        link.addresses.insert(at, Address::lasting(cidr));
        effects.changed = true;
        effects.addresses.push((name.clone(), old));
        Ok(effects)
    }

    fn remove_address(&mut self, name: &IfName, cidr: Cidr) -> Applied {
        let mut effects = Effects::default();
        let link = self.need(name)?;
        let Some(at) = link.addresses.iter().position(|it| it.cidr == cidr) else {
            return Ok(effects);
        };
        effects.changed = true;
        let four = |it: &Address| it.cidr.family() == Family::V4;
        let beside = |it: &Address| four(it) && it.cidr.network() == cidr.network();
        let is_first = link.addresses.iter().position(beside) == Some(at);
        let gone: Vec<Cidr> = link
            .addresses
            .iter()
            .filter(|it| it.cidr == cidr || (is_first && beside(it)))
            .map(|it| it.cidr)
            .collect();
        self.lose(name, |it| gone.contains(&it.cidr), &mut effects);
        let last = !self.need(name)?.addresses.iter().any(four);
        let flush = last && cidr.family() == Family::V4;
        self.drop_routes(
            name,
            |it| {
                let orphan = it
                    .source
                    .is_some_and(|ip| gone.iter().any(|it| it.ip() == ip));
                orphan || (flush && it.family() == Family::V4)
            },
            &mut effects,
        );
        Ok(effects)
    }

    fn add_route(&mut self, route: &Route) -> Applied {
        let mut effects = Effects::default();
        if self.state.routes.contains(route) {
            return Ok(effects);
        }
        if route.kind == RouteKind::Unicast {
            let device = route.device.as_ref().ok_or("it has no interface")?;
            let link = self.need(device)?;
            if !link.up {
                return Err(format!("{device} is down"));
            }
            if route
                .via
                .is_some_and(|via| !self.reaches(device, via, route))
            {
                return Err("its next hop is not on the link".to_owned());
            }
        }
        effects.changed = self.state.routes.insert(route.clone());
        Ok(effects)
    }

    fn reaches(&self, device: &IfName, via: core::net::IpAddr, route: &Route) -> bool {
        let near = matches!(via, core::net::IpAddr::V6(ip) if ip.is_unicast_link_local());
        let link = self.link(device.as_str());
        let addresses = link.map_or(&[][..], |it| &it.addresses);
        route.onlink
            || near
            || addresses.iter().any(|it| it.cidr.contains(via))
            || self
                .state
                .routes_of(device)
                .any(|it| it.via.is_none() && it.destination.contains(via))
    }

    fn start_dhcp(&mut self, name: &IfName, client: &DhcpClient) -> Applied {
        let mut effects = Effects::default();
        self.need(name)?;
        let clients = self.state.dhcp.entry(name.clone()).or_default();
        if !clients.contains(client) {
            clients.retain(|it| it.family != client.family);
            clients.push(client.clone());
            clients.sort_by_key(|it| it.family);
            effects.changed = true;
        }
        Ok(effects)
    }

    fn stop_dhcp(&mut self, name: &IfName, family: Family) -> Effects {
        let mut effects = Effects::default();
        let Some(clients) = self.state.dhcp.get_mut(name) else {
            return effects;
        };
        if clients.iter().all(|it| it.family != family) {
            return effects;
        }
        effects.changed = true;
        effects.dhcp.push((name.clone(), clients.clone()));
        clients.retain(|it| it.family != family);
        if clients.is_empty() {
            self.state.dhcp.remove(name);
        }
        self.lose(
            name,
            |it| it.dynamic && it.cidr.family() == family && !it.is_link_local(),
            &mut Effects::default(),
        );
        effects
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
