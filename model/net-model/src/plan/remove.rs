//! What goes: rules, clients, bridges, VLANs and bonds of networks that are removed or move elsewhere.

use super::{
    Planner,
    facts::{Devices, Facts, Known},
};
use crate::{
    Family, IfName, LinkKind, NetError, NetName, QosClass, Route, Rule, Stage, Step,
    kernel::is_ours, source_routing,
};

impl Planner<'_> {
    pub(super) fn remove(&mut self, facts: &Facts<'_>) -> Result<(), NetError> {
        let (late, early): (Vec<_>, Vec<_>) = facts
            .networks_before()
            .into_iter()
            .partition(|(name, _)| facts.management.contains(name));
        let last_base = late.iter().find_map(|(_, (_, it))| it.base.clone());
        for (name, known) in early {
            self.remove_network(facts, name, known)?;
        }
        self.remove_bonds(facts, |it| last_base.as_ref() != Some(it))?;
        for (name, known) in late {
            self.remove_network(facts, name, known)?;
        }
        self.remove_bonds(facts, |_| true)
    }

    fn remove_network(
        &mut self,
        facts: &Facts<'_>,
        name: &NetName,
        (network, old): &Known<'_>,
    ) -> Result<(), NetError> {
        self.at(Stage::Remove, Some(name));
        let new = facts.after.get(name);
        let devices = new.map(|(_, it)| it);
        if new.is_none() {
            self.remove_rules(facts, name, &old.top)?;
        }
        if devices.map(|it| &it.top) != Some(&old.top) {
            let goes = old.bridge.is_some() || old.vlan.is_some();
            if !goes {
                self.leave_table(facts.tables.get(name), &old.top)?;
            }
            self.leave_top(facts, old)?;
        }
        let moved = devices.map(|it| (&it.base, &it.vlan)) != Some((&old.base, &old.vlan));
        if network.qos.is_some() && moved {
            self.remove_qos(old.base.as_ref(), QosClass(network.vlan))?;
        }
        if let Some(bridge) = &old.bridge
            && devices.and_then(|it| it.bridge.as_ref()).is_none()
        {
            self.delete(bridge, |kind| matches!(kind, LinkKind::Bridge(_)))?;
        }
        self.leave_port(old, devices)?;
        if let Some(vlan) = old.vlan.as_ref().filter(|it| !facts.vlans.contains(*it)) {
            self.delete(vlan, |kind| matches!(kind, LinkKind::Vlan { .. }))?;
        }
        self.leave_base(facts, old)
    }

    pub(super) fn remove_qos(
        &mut self,
        base: Option<&IfName>,
        class: QosClass,
    ) -> Result<(), NetError> {
        match base {
            Some(base) => self.push(Step::RemoveQos {
                device: base.clone(),
                class,
            }),
            None => Ok(()),
        }
    }

    /// All rules of a network's table, ours and upstream's.
    fn remove_rules(
        &mut self,
        facts: &Facts<'_>,
        name: &NetName,
        top: &IfName,
    ) -> Result<(), NetError> {
        let table = facts.tables.get(name);
        let ours = table.into_iter().flat_map(|it| self.rules_of(it));
        let ours = ours.filter(|it| it.protocol == crate::OUR_PROTOCOL);
        let theirs = self.rules_of(source_routing::upstream_table(top));
        let theirs = theirs.filter(|it| source_routing::is_upstream_rule(it, top));
        let all: Vec<Rule> = ours.chain(theirs).cloned().collect();
        for rule in all {
            self.push(Step::RemoveRule { rule })?;
        }
        Ok(())
    }

    /// Rules that look up a table.
    pub(super) fn rules_of(&self, table: u32) -> impl Iterator<Item = &Rule> {
        let least = Rule {
            table,
            priority: 0,
            family: Family::V4,
            from: None,
            to: None,
            protocol: 0,
            more: false,
        };
        let rules = self.kernel.state().rules.range(least..);
        rules.take_while(move |it| it.table == table)
    }

    /// Another network may have this interface: what was the old one's goes.
    fn leave_table(&mut self, table: Option<u32>, top: &IfName) -> Result<(), NetError> {
        self.remove_routes(top, |it| is_ours(it) && Some(it.table) == table)
    }

    pub(super) fn remove_routes(
        &mut self,
        link: &IfName,
        which: impl Fn(&Route) -> bool,
    ) -> Result<(), NetError> {
        let mut routes = self.routes_now(link);
        routes.retain(which);
        routes.sort_by_key(|it| it.via.is_none());
        let mut routes = routes.into_iter();
        routes.try_for_each(|route| self.push(Step::RemoveRoute { route }))
    }

    /// The interface that had the addresses will not have them any more. If it stays, it is emptied.
    fn leave_top(&mut self, facts: &Facts<'_>, old: &Devices) -> Result<(), NetError> {
        let top = &old.top;
        self.stop_clients(top)?;
        let goes = old.bridge.is_some() || old.vlan.is_some();
        if goes || facts.tops.contains(top) || self.link(top).is_none() {
            return Ok(());
        }
        self.remove_routes(top, |_| true)?;
        self.remove_addresses(top, |_| true)
    }

    pub(super) fn stop_clients(&mut self, link: &IfName) -> Result<(), NetError> {
        for family in Family::ALL {
            self.push(Step::StopDhcp {
                link: link.clone(),
                family,
            })?;
        }
        Ok(())
    }

    /// Removes the addresses that the kernel does not make by itself.
    pub(super) fn remove_addresses(
        &mut self,
        link: &IfName,
        which: impl Fn(&crate::Address) -> bool,
    ) -> Result<(), NetError> {
        let addresses = self.link(link).map(|it| it.addresses.clone());
        let addresses = addresses.unwrap_or_default().into_iter().rev();
        for address in addresses.filter(|it| !it.is_link_local() && which(it)) {
            self.push(Step::RemoveAddress {
                link: link.clone(),
                address: address.cidr,
            })?;
        }
        Ok(())
    }

    /// What entered the old bridge and will not enter the new one goes out of it.
    fn leave_port(&mut self, old: &Devices, new: Option<&Devices>) -> Result<(), NetError> {
        let (Some(bridge), Some(port)) = (&old.bridge, &old.port) else {
            return Ok(());
        };
        let stays = new.is_some_and(|it| it.bridge.is_some() && it.port.as_ref() == Some(port));
        let inside = self
            .link(port)
            .is_some_and(|it| it.master.as_ref() == Some(bridge));
        if inside && !stays {
            self.push(Step::ClearMaster { link: port.clone() })?;
        }
        Ok(())
    }

    fn leave_base(&mut self, facts: &Facts<'_>, old: &Devices) -> Result<(), NetError> {
        let Some(base) = &old.base else {
            return Ok(());
        };
        let gone = facts.desired.before.bonds.contains_key(base)
            && !facts.desired.after.bonds.contains_key(base);
        let used = facts.bases.contains_key(base) || facts.slaves.contains_key(base);
        if used || gone || self.link(base).is_none() {
            return Ok(());
        }
        self.push(Step::SetMtu {
            link: base.clone(),
            mtu: facts.base_mtu(base),
        })
    }

    fn remove_bonds(
        &mut self,
        facts: &Facts<'_>,
        which: impl Fn(&IfName) -> bool,
    ) -> Result<(), NetError> {
        self.at(Stage::Remove, None);
        let desired = facts.desired;
        for name in desired.before.bonds.keys() {
            let goes = desired.scope.bond(name) && !desired.after.bonds.contains_key(name);
            if !goes || !which(name) {
                continue;
            }
            let slaves: Vec<IfName> = self.kernel.ports(name.as_str()).cloned().collect();
            self.delete(name, |kind| matches!(kind, LinkKind::Bond(_)))?;
            for slave in slaves {
                self.free_slave(facts, &slave)?;
            }
        }
        Ok(())
    }

    /// The kernel gives a released port the MTU that it had before it came in, which nobody knows.
    pub(super) fn free_slave(&mut self, facts: &Facts<'_>, slave: &IfName) -> Result<(), NetError> {
        if facts.slaves.contains_key(slave) {
            return Ok(());
        }
        self.push_anyway(Step::SetMtu {
            link: slave.clone(),
            mtu: facts.base_mtu(slave),
        })
    }

    fn delete(&mut self, name: &IfName, is_it: impl Fn(&LinkKind) -> bool) -> Result<(), NetError> {
        match self.link(name) {
            Some(link) if is_it(&link.kind) => self.push(Step::DeleteLink { name: name.clone() }),
            _ => Ok(()),
        }
    }
}
