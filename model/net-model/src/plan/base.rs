//! What carries networks: bonds with their ports, MTUs of bases, bases up.

use super::{Planner, facts::Facts};
use crate::{
    Bond, BondMode, BondOptions, BondState, Cidr, IfName, Ipv6Setting, LinkKind, NetError,
    RA_PROTOCOL, Route, Stage, Step, bond,
};

impl Planner<'_> {
    pub(super) fn base(&mut self, facts: &Facts<'_>) -> Result<(), NetError> {
        self.at(Stage::Base, None);
        let bonds = bonds_in_order(facts);
        for (name, bond) in &bonds {
            self.release_ports(facts, name, bond)?;
        }
        let mut before = Vec::new();
        for (name, bond) in &bonds {
            self.remember(name, &mut before);
            self.ensure_bond(facts, name, bond)?;
        }
        for base in facts.touched_bases() {
            self.ensure_base(facts, &base)?;
        }
        for memory in before {
            self.mend_link(&memory)?;
        }
        Ok(())
    }

    /// What a bond and the VLANs upon it have before it may have to go down.
    fn remember(&self, name: &IfName, memories: &mut Vec<Memory>) {
        let Some(link) = self.link(name).filter(|it| it.up) else {
            return;
        };
        let lasting = link.addresses.iter();
        let lasting = lasting.filter(|it| !it.is_link_local() && !it.dynamic);
        memories.push(Memory {
            name: name.clone(),
            addresses: lasting.map(|it| it.cidr).collect(),
            routes: self.routes_now(name),
        });
        for vlan in self.kernel.vlans(name.as_str()) {
            self.remember(vlan, memories);
        }
    }

    pub(super) fn routes_now(&self, name: &IfName) -> Vec<Route> {
        self.kernel.state().routes_of(name).cloned().collect()
    }

    /// Ports that shall be elsewhere go, of all bonds before any bond takes new ones.
    fn release_ports(
        &mut self,
        facts: &Facts<'_>,
        name: &IfName,
        bond: &Bond,
    ) -> Result<(), NetError> {
        let ports = self.kernel.ports(name.as_str());
        let gone = ports.filter(|it| !bond.slaves.contains(*it));
        let gone: Vec<IfName> = gone.cloned().collect();
        for link in gone {
            self.push(Step::ClearMaster { link: link.clone() })?;
            self.free_slave(facts, &link)?;
        }
        Ok(())
    }

    fn ensure_bond(
        &mut self,
        facts: &Facts<'_>,
        name: &IfName,
        bond: &Bond,
    ) -> Result<(), NetError> {
        if self.link(name).is_none() {
            self.push(Step::CreateBond {
                name: name.clone(),
                mode: bond.options.mode().number(),
                mac: bond.hwaddr,
            })?;
        }
        let had = facts.desired.before.bonds.get(name);
        self.set_bond_options(name, &bond.options, had.map(|it| &it.options))?;
        for slave in &bond.slaves {
            self.enslave(slave, name)?;
        }
        if let Some(mac) = bond.hwaddr {
            self.push(Step::SetMac {
                link: name.clone(),
                mac,
            })?;
        }
        self.push(Step::SetUp { link: name.clone() })
    }

    fn set_bond_options(
        &mut self,
        name: &IfName,
        wanted: &BondOptions,
        had: Option<&BondOptions>,
    ) -> Result<(), NetError> {
        let changes = self.option_changes(name, wanted, had);
        if changes
            .iter()
            .any(|(option, _)| bond::needs_no_ports(option))
        {
            let ports: Vec<IfName> = self.kernel.ports(name.as_str()).cloned().collect();
            for link in ports {
                self.push(Step::ClearMaster { link })?;
            }
        }
        let down = |(option, _): &(String, String)| {
            bond::needs_no_ports(option) || bond::needs_down(option)
        };
        if changes.iter().any(down) {
            self.push(Step::SetDown { link: name.clone() })?;
        }
        for (option, value) in changes {
            self.push(Step::SetBondOption {
                bond: name.clone(),
                option,
                value,
            })?;
        }
        Ok(())
    }

    /// What is wanted, and the defaults of what was wanted before; in the order in which the kernel takes it.
    fn option_changes(
        &self,
        name: &IfName,
        wanted: &BondOptions,
        had: Option<&BondOptions>,
    ) -> Vec<(String, String)> {
        let Some(LinkKind::Bond(state)) = self.link(name).map(|it| &it.kind) else {
            return Vec::new();
        };
        let mode = wanted.mode();
        let was = state.options.get("mode").and_then(|it| it.parse().ok());
        let was = was.unwrap_or(mode);
        let dropped = had.into_iter().flat_map(BondOptions::others);
        let dropped = dropped
            .filter(|(option, _)| wanted.get(option).is_none())
            .filter(|(option, _)| takes(mode, option) || takes(was, option))
            .filter_map(|(option, _)| Some((option, bond::default_value(option)?)));
        let all = dropped.chain(rival_off(wanted)).chain(wanted.others());
        let all: Vec<_> = all.collect();
        let monitor = now(state, "miimon");
        let monitored = all.iter().rev().find(|(option, _)| *option == "miimon");
        let another = monitored.is_some_and(|(_, value)| monitor != *value);
        let again = another && monitor != "0";
        // The kernel keeps delays as multiples of miimon, and takes none without: they are reset before it changes.
        let reset = bond::DELAYS.map(|option| (option, "0"));
        let reset = reset
            .into_iter()
            .filter(|(option, _)| again && now(state, option) != "0");
        let delayed = |option: &str| again && bond::DELAYS.contains(&option);
        let mut changes: Vec<(String, String)> = all
            .iter()
            .copied()
            .filter(|(option, value)| now(state, option) != *value || delayed(option))
            .filter(|(option, value)| !(delayed(option) && *value == "0"))
            .chain(reset)
            .map(|(option, value)| (option.to_owned(), value.to_owned()))
            .collect();
        let number = mode.number().to_string();
        if state.options.get("mode").is_some_and(|it| *it != number) {
            changes.push(("mode".to_owned(), number));
        }
        // What the mode does not take is reset before it.
        changes.sort_by_key(|(option, value)| {
            let fits = option == "mode" || takes(mode, option);
            (fits, bond::set_order(option, value))
        });
        changes.dedup();
        changes
    }

    fn enslave(&mut self, slave: &IfName, bond: &IfName) -> Result<(), NetError> {
        let Some(link) = self.link(slave) else {
            return Err(NetError::BadNic(format!("Nic {slave} does not exist")));
        };
        if link.master.as_ref() != Some(bond) {
            if link.master.is_some() {
                self.push(Step::ClearMaster {
                    link: slave.clone(),
                })?;
            }
            self.empty(slave)?;
            self.push(Step::SetDown {
                link: slave.clone(),
            })?;
            self.push(Step::SetMaster {
                link: slave.clone(),
                master: bond.clone(),
            })?;
        }
        self.empty(slave)?;
        self.push(Step::SetUp {
            link: slave.clone(),
        })
    }

    /// A port has no addresses and routes of its own, nor IPv6.
    pub(super) fn empty(&mut self, port: &IfName) -> Result<(), NetError> {
        self.stop_clients(port)?;
        self.remove_routes(port, |_| true)?;
        self.remove_addresses(port, |_| true)?;
        self.set_ipv6(port, Ipv6Setting::Disable, 1)
    }

    pub(super) fn set_ipv6(
        &mut self,
        link: &IfName,
        setting: Ipv6Setting,
        value: u8,
    ) -> Result<(), NetError> {
        match self.link(link) {
            Some(it) if it.ipv6.is_some() => self.push(Step::SetIpv6 {
                link: link.clone(),
                setting,
                value,
            }),
            _ => Ok(()),
        }
    }

    fn ensure_base(&mut self, facts: &Facts<'_>, base: &IfName) -> Result<(), NetError> {
        let wanted = facts.bases.get(base).copied();
        let Some(link) = self.link(base) else {
            return match wanted {
                Some(_) => Err(NetError::BadNic(format!("{base} does not exist"))),
                None => Ok(()),
            };
        };
        let is_bond = matches!(link.kind, LinkKind::Bond(_));
        let free = wanted.is_none() && !is_bond;
        if free || facts.slaves.contains_key(base) {
            return Ok(());
        }
        let mtu = wanted.unwrap_or_else(|| facts.base_mtu(base));
        self.push(Step::SetMtu {
            link: base.clone(),
            mtu,
        })?;
        let ports: Vec<IfName> = self.kernel.ports(base.as_str()).cloned().collect();
        for link in ports.into_iter().filter(|_| is_bond) {
            self.push(Step::SetMtu { link, mtu })?;
        }
        self.push(Step::SetUp { link: base.clone() })
    }

    /// A bond that went down took routes and IPv6 addresses of its VLANs along, foreign ones too: they come back.
    fn mend_link(&mut self, memory: &Memory) -> Result<(), NetError> {
        let name = &memory.name;
        let Some(link) = self.link(name).filter(|it| it.up) else {
            return Ok(());
        };
        let disabled = link.ipv6.is_none_or(|it| it.disabled);
        let lost = memory.addresses.iter().filter(|it| !link.has(**it));
        let lost: Vec<Cidr> = lost
            .filter(|it| !(it.ip().is_ipv6() && disabled))
            .copied()
            .collect();
        for address in lost {
            self.push(Step::AddAddress {
                link: name.clone(),
                address,
            })?;
        }
        self.mend_routes(name, &memory.routes, |_| true)
    }

    /// Routes that were there, and that no router or kernel brings back, come again where they still can.
    pub(super) fn mend_routes(
        &mut self,
        name: &IfName,
        were: &[Route],
        which: impl Fn(&Route) -> bool,
    ) -> Result<(), NetError> {
        let state = self.kernel.state();
        let lost = were.iter();
        let lost = lost.filter(|it| it.protocol != RA_PROTOCOL && which(it));
        let mut lost: Vec<Route> = lost
            .filter(|it| !state.routes.contains(*it))
            .cloned()
            .collect();
        lost.sort_by_key(|it| it.via.is_some());
        lost.retain(|it| it.source.is_none_or(|ip| self.has_ip(name, ip)));
        for route in lost {
            match self.push(Step::AddRoute { route }) {
                // Its next hop is out of reach now: it would be gone without us, too.
                Err(NetError::Refused { .. }) | Ok(()) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }

    fn has_ip(&self, name: &IfName, ip: core::net::IpAddr) -> bool {
        let link = self.link(name);
        link.is_some_and(|it| it.addresses.iter().any(|it| it.cidr.ip() == ip))
    }
}

struct Memory {
    name: IfName,
    addresses: Vec<Cidr>,
    routes: Vec<Route>,
}

fn bonds_in_order<'a>(facts: &Facts<'a>) -> Vec<(&'a IfName, &'a Bond)> {
    let desired = facts.desired;
    let first = |name: &IfName| {
        let bases = facts.after.iter();
        let mut bases = bases.filter(|(it, _)| facts.management.contains(*it));
        bases.any(|(_, (_, devices))| devices.base.as_ref() == Some(name))
    };
    let bonds = desired.after.bonds.iter();
    let mut bonds: Vec<_> = bonds.filter(|(name, _)| desired.scope.bond(name)).collect();
    bonds.sort_by_key(|(name, _)| !first(name));
    bonds
}

/// An option's value, or the kernel's default.
fn now<'a>(state: &'a BondState, option: &str) -> &'a str {
    let now = state.options.get(option).map(String::as_str);
    now.or_else(|| bond::default_value(option))
        .unwrap_or_default()
}

fn takes(mode: BondMode, option: &str) -> bool {
    bond::option_rule(option).is_some_and(|it| it.fits(mode))
}

/// A bond has one monitor: that of two which is not wanted goes.
fn rival_off(wanted: &BondOptions) -> Option<(&'static str, &'static str)> {
    let on = |name| wanted.get(name).is_some_and(|it| it != "0");
    if on("miimon") {
        Some(("arp_interval", "0"))
    } else {
        on("arp_interval").then_some(("miimon", "0"))
    }
}
