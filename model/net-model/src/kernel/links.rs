//! What the kernel makes of steps on links: made, removed, in and out of masters, MTUs, up and down, options.

use super::{Applied, Effects, Kernel, changed};
use crate::{
    Address, BondState, Family, IfName, Ipv6Setting, Link, LinkKind, Mac, Route, bond,
    network::{MIN_MTU, MIN_MTU_V6},
};

impl Kernel {
    pub(super) fn create(&mut self, name: &IfName, kind: LinkKind, mac: Mac, mtu: u32) -> Applied {
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
            ipv6: self.state.ipv6.then_some(self.state.ipv6_defaults),
            ..Link::new(kind, mac)
        };
        self.index(name, &link);
        self.state.links.insert(name.clone(), link);
        Ok(changed())
    }

    pub(super) fn create_vlan(&mut self, name: &IfName, parent: &IfName, id: u16) -> Applied {
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
        let taken = self.ids.get(&(parent.clone(), id));
        match taken {
            Some(other) => Err(format!("{other} has id {id} on {parent}")),
            None => self.create(name, kind, mac, mtu),
        }
    }

    pub(super) fn delete(&mut self, name: &IfName) -> Applied {
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

    pub(super) fn drop_link(&mut self, name: &IfName, effects: &mut Effects) {
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
        if let LinkKind::Vlan { parent, id } = &link.kind {
            self.ids.remove(&(parent.clone(), *id));
            if let Some(siblings) = self.vlans.get_mut(parent) {
                siblings.remove(name);
            }
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

    pub(super) fn drop_routes(
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

    pub(super) fn set_master(&mut self, name: &IfName, master: &IfName) -> Applied {
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

    pub(super) fn enter(&mut self, name: &IfName, master: &IfName) {
        if let Some(link) = self.state.links.get_mut(name) {
            link.master = Some(master.clone());
        }
        let ports = self.ports.entry(master.clone()).or_default();
        ports.insert(name.clone());
    }

    pub(super) fn enter_bridge(&mut self, name: &IfName, master: &IfName) -> Effects {
        let mut effects = changed();
        self.enter(name, master);
        self.follow_ports(master, &mut effects);
        effects
    }

    pub(super) fn enter_bond(&mut self, name: &IfName, master: &IfName) -> Applied {
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

    pub(super) fn clear_master(&mut self, name: &IfName) -> Applied {
        let mut effects = Effects::default();
        if self.need(name)?.master.is_some() {
            effects.changed = true;
            self.release(name, &mut effects);
        }
        Ok(effects)
    }

    pub(super) fn release(&mut self, name: &IfName, effects: &mut Effects) {
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
    pub(super) fn follow_ports(&mut self, bridge: &IfName, effects: &mut Effects) {
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

    pub(super) fn set_mtu(&mut self, name: &IfName, mtu: u32) -> Applied {
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

    pub(super) fn change_mtu(
        &mut self,
        name: &IfName,
        mtu: u32,
        effects: &mut Effects,
    ) -> Result<(), String> {
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

    pub(super) fn set_mac(&mut self, name: &IfName, mac: Mac) -> Applied {
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

    pub(super) fn set_up(&mut self, name: &IfName) -> Applied {
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

    pub(super) fn bring_up(&mut self, name: &IfName, effects: &mut Effects) {
        if let Some(link) = self.state.links.get_mut(name).filter(|it| !it.up) {
            link.up = true;
            effects.ups.push((name.clone(), false));
        }
        for vlan in self.vlans.get(name).cloned().unwrap_or_default() {
            self.bring_up(&vlan, effects);
        }
    }

    pub(super) fn set_down(&mut self, name: &IfName) -> Applied {
        let mut effects = Effects::default();
        if self.need(name)?.up {
            effects.changed = true;
            self.take_down(name, &mut effects);
        }
        Ok(effects)
    }

    pub(super) fn take_down(&mut self, name: &IfName, effects: &mut Effects) {
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
    pub(super) fn drop_ipv6(&mut self, name: &IfName, effects: &mut Effects) {
        self.lose(name, |it| it.cidr.family() == Family::V6, effects);
        self.drop_routes(name, |it| it.family() == Family::V6, effects);
    }

    pub(super) fn lose(
        &mut self,
        name: &IfName,
        which: impl Fn(&Address) -> bool,
        effects: &mut Effects,
    ) {
        let Some(link) = self.state.links.get_mut(name) else {
            return;
        };
        if link.addresses.iter().any(&which) {
            let old = link.addresses.clone();
            link.addresses.retain(|it| !which(it));
            effects.addresses.push((name.clone(), old));
        }
    }

    pub(super) fn set_bridge_option(
        &mut self,
        name: &IfName,
        option: &str,
        value: &str,
    ) -> Applied {
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

    pub(super) fn set_bond_option(&mut self, name: &IfName, option: &str, value: &str) -> Applied {
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
        let miimon = number_of(state, "miimon");
        let is_delay = bond::DELAYS.contains(&option);
        if is_delay && miimon == 0 {
            // `_bond_option_delay_set` of drivers/net/bonding: EPERM, whatever the value.
            return Err(format!("{name} has no miimon"));
        }
        if option == "miimon" && miimon != 0 {
            rescale(state, value);
        }
        state.options.insert(option.to_owned(), value.to_owned());
        if is_delay {
            let kept = bond::kept_delay(number_of(state, option), miimon);
            state.options.insert(option.to_owned(), kept.to_string());
        }
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

    pub(super) fn set_ipv6(&mut self, name: &IfName, setting: Ipv6Setting, value: u8) -> Applied {
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
}

/// An option's number; 0 where it is not set.
fn number_of(bond: &BondState, option: &str) -> u32 {
    let text = bond.options.get(option);
    text.and_then(|it| it.parse().ok()).unwrap_or(0)
}

/// The kernel keeps delays as so many times miimon.
fn rescale(bond: &mut BondState, miimon: &str) {
    let old = number_of(bond, "miimon");
    let new = miimon.parse::<u32>().unwrap_or(0);
    for delay in bond::DELAYS {
        let times = number_of(bond, delay).checked_div(old).unwrap_or(0);
        if let Some(value) = bond.options.get_mut(delay) {
            *value = times.saturating_mul(new).to_string();
        }
    }
}
