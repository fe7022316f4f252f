//! What is desired, held against what is there: every refusal before the first change, with upstream's codes.
//!
//! What upstream checks (`netswitch/validator.py`, `link/validator.py`, `ip/validator.py`) is refused with its code. What it
//! leaves to the middle of the change, or lets pass, is here refused before: two networks on one base, NICs and
//! VLANs of others, foreign bridges, addresses that two networks share, MTUs beyond a driver's limit, tables.
//!
//! Checks that need no kernel are in `canonicalize.rs`.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Base, Cidr, Current, Desired, FIRST_TABLE, IfName, Link, LinkKind, NetError, NetName, Network,
    TABLES, VlanId,
};

/// Answers the first thing that is wrong.
///
/// # Errors
///
/// Each with VDSM's code, see [`NetError::code`].
pub fn validate(current: &Current, desired: &Desired) -> Result<(), NetError> {
    match problems(current, desired).into_iter().next() {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// All that is wrong, for people (`dryRun`).
pub fn problems(current: &Current, desired: &Desired) -> Vec<NetError> {
    let mut check = Check {
        current,
        desired,
        problems: Vec::new(),
        users: foreign_users(current, desired),
    };
    check.bases();
    check.networks();
    check.bonds();
    check.nic_usage();
    check.removals();
    check.addresses();
    check.devices();
    check.problems
}

struct Check<'a> {
    current: &'a Current,
    desired: &'a Desired,
    problems: Vec<NetError>,
    /// Foreign VLANs upon interfaces.
    users: BTreeMap<&'a IfName, BTreeSet<&'a IfName>>,
}

type Checked = Result<(), NetError>;

impl<'a> Check<'a> {
    fn note(&mut self, result: Checked) {
        self.problems.extend(result.err());
    }

    fn scoped_networks(&self) -> Vec<(&'a NetName, &'a Network)> {
        let desired = self.desired;
        let all = desired.after.networks.iter();
        all.filter(|(name, _)| desired.scope.network(name))
            .collect()
    }

    /// One untagged network on a base, one for each VLAN id.
    fn bases(&mut self) {
        let mut seen: BTreeMap<(&IfName, Option<VlanId>), &NetName> = BTreeMap::new();
        for (name, network) in &self.desired.after.networks {
            let Some(base) = &network.base else {
                continue;
            };
            if let Some(other) = seen.insert((base.device(), network.vlan), name) {
                self.problems.push(NetError::BadParams(format!(
                    "multiple networks/similar vlans cannot be defined on a single underlying device: \
                     {other} and {name} on {}",
                    base.device()
                )));
            }
        }
    }

    fn networks(&mut self) {
        for (name, network) in self.scoped_networks() {
            let results = [
                self.base_exists(network),
                self.mtu_fits(name, network),
                self.vlan_is_free(name, network),
                self.bridge_is_ours(name, network),
                self.port_is_free(name, network),
                check_tables(name, network),
            ];
            for it in results {
                self.note(it);
            }
        }
    }

    fn base_exists(&self, network: &Network) -> Checked {
        match &network.base {
            Some(Base::Nic(nic)) => self.nic_exists(nic),
            Some(Base::Bond(bond)) if !self.desired.after.bonds.contains_key(bond) => {
                Err(NetError::BadBonding(format!("Bond {bond} does not exist")))
            }
            _ => Ok(()),
        }
    }

    fn nic_exists(&self, nic: &IfName) -> Checked {
        match self.current.links.get(nic).map(|it| &it.kind) {
            Some(LinkKind::Nic) => Ok(()),
            Some(other) => Err(NetError::BadNic(format!(
                "Nic {nic} does not exist (there is a {} of this name)",
                other.word()
            ))),
            None => Err(NetError::BadNic(format!("Nic {nic} does not exist"))),
        }
    }

    fn mtu_fits(&self, name: &NetName, network: &Network) -> Checked {
        let nics: Vec<&IfName> = match &network.base {
            Some(Base::Nic(nic)) => vec![nic],
            Some(Base::Bond(bond)) => {
                let bond = self.desired.after.bonds.get(bond);
                bond.into_iter().flat_map(|it| &it.slaves).collect()
            }
            None => Vec::new(),
        };
        for nic in nics {
            let most = self.current.links.get(nic).and_then(|it| it.max_mtu);
            if let Some(most) = most.filter(|it| network.mtu > *it) {
                return Err(NetError::BadParams(format!(
                    "{name}: {nic} takes no MTU of {}, at most {most}",
                    network.mtu
                )));
            }
        }
        Ok(())
    }

    /// The VLAN's name is free or its own; its id on the base is, too.
    fn vlan_is_free(&self, name: &NetName, network: &Network) -> Checked {
        let (Some(base), Some(id)) = (&network.base, network.vlan) else {
            return Ok(());
        };
        let base = base.device();
        let device = base.vlan(id)?;
        let right = |link: &Link| {
            link.kind
                == LinkKind::Vlan {
                    parent: base.clone(),
                    id: id.get(),
                }
        };
        let there = self.current.links.get(&device);
        if there.is_some_and(|it| !right(it)) && !self.was_ours(&device) {
            return Err(NetError::BadVlan(format!(
                "{name}: there is another {device}, which is not VLAN {id} on {base}"
            )));
        }
        let on_base = self.users.get(base).into_iter().flatten();
        let mut twins = on_base.filter(|it| ***it != device);
        let same = |it: &&&IfName| self.current.links.get(**it).is_some_and(right);
        match twins.find(same) {
            Some(other) => Err(NetError::BadVlan(format!(
                "{name}: VLAN {id} on {base} is there, as {other}"
            ))),
            None => Ok(()),
        }
    }

    /// Did a network of ours have this VLAN device or bridge?
    fn was_ours(&self, device: &IfName) -> bool {
        let before = &self.desired.before;
        let bridge = NetName::new(device.as_str()).ok();
        let bridge = bridge.and_then(|it| before.networks.get(&it));
        bridge.is_some_and(|it| it.bridge.is_some())
            || before
                .networks
                .values()
                .any(|it| it.vlan_device().ok().flatten().as_ref() == Some(device))
    }

    fn bridge_is_ours(&self, name: &NetName, network: &Network) -> Checked {
        if network.bridge.is_none() {
            return Ok(());
        }
        let device = name.bridge()?;
        let Some(link) = self.current.links.get(&device) else {
            return Ok(());
        };
        let had = self.desired.before.networks.get(name);
        match &link.kind {
            LinkKind::Bridge(_) if had.is_some_and(|it| it.bridge.is_some()) => Ok(()),
            LinkKind::Bridge(_) => Err(NetError::UsedBridge(format!(
                "{name}: there is a bridge of this name that is not ours"
            ))),
            other => Err(NetError::BadBridge(format!(
                "{name}: there is a {} of this name",
                other.word()
            ))),
        }
    }

    /// What enters our bridge, or carries addresses, is in no bridge or bond of others.
    fn port_is_free(&self, name: &NetName, network: &Network) -> Checked {
        let Some(base) = &network.base else {
            return Ok(());
        };
        let base = base.device();
        let device = match network.vlan {
            Some(id) => base.vlan(id)?,
            None => base.clone(),
        };
        for device in [base, &device] {
            let link = self.current.links.get(device);
            let Some(master) = link.and_then(|it| it.master.as_ref()) else {
                continue;
            };
            let own = self.was_ours(master) || self.desired.before.bonds.contains_key(master);
            let to_be = self.desired.after.bonds.contains_key(master);
            if !own && !to_be {
                return Err(NetError::UsedNic(format!(
                    "{name}: {device} belongs to {master}, which is not ours"
                )));
            }
        }
        Ok(())
    }

    fn bonds(&mut self) {
        let desired = self.desired;
        let all = desired.after.bonds.iter();
        let scoped = all.filter(|(name, _)| desired.scope.bond(name));
        for (name, bond) in scoped {
            if bond.slaves.is_empty() {
                self.problems.push(NetError::BadParams(format!(
                    "{name}: Must specify nics for bonding"
                )));
            }
            let there = self.current.links.get(name);
            if let Some(link) = there.filter(|it| !matches!(it.kind, LinkKind::Bond(_))) {
                self.problems.push(NetError::BadBonding(format!(
                    "{name}: there is a {} of this name",
                    link.kind.word()
                )));
            }
            for slave in &bond.slaves {
                self.note(self.nic_exists(slave));
                self.note(self.slave_is_free(name, slave));
            }
            if let Some(why) = bond.options.why_not_kept() {
                self.problems
                    .push(NetError::BadBonding(format!("{name}: {why}")));
            }
            let primary = bond.options.get("primary");
            if let Some(primary) = primary.filter(|it| !bond.slaves.contains(*it)) {
                self.problems.push(NetError::BadBonding(format!(
                    "{name}: its primary {primary} is none of its nics"
                )));
            }
        }
    }

    fn slave_is_free(&self, name: &IfName, slave: &IfName) -> Checked {
        let link = self.current.links.get(slave);
        let master = link.and_then(|it| it.master.as_ref());
        let Some(master) = master.filter(|it| *it != name) else {
            return Ok(());
        };
        let before = &self.desired.before;
        if before.bonds.contains_key(master) || self.was_ours(master) {
            return Ok(());
        }
        Err(NetError::UsedNic(format!(
            "{name}: {slave} belongs to {master}, which is not ours"
        )))
    }

    /// A card serves one bond, or networks of its own, or foreign VLANs.
    fn nic_usage(&mut self) {
        let after = &self.desired.after;
        let mut slaves: BTreeMap<&IfName, &IfName> = BTreeMap::new();
        let mut problems = Vec::new();
        for (bond, slave) in after
            .bonds
            .iter()
            .flat_map(|(name, bond)| bond.slaves.iter().map(move |it| (name, it)))
        {
            if let Some(other) = slaves.insert(slave, bond) {
                problems.push(NetError::UsedNic(format!(
                    "Nics with multiple usages: {slave} in {other} and {bond}"
                )));
            }
        }
        for (name, network) in &after.networks {
            if let Some(Base::Nic(nic)) = &network.base
                && let Some(bond) = slaves.get(nic)
            {
                problems.push(NetError::UsedNic(format!(
                    "Nics with multiple usages: {nic} in {bond} and {name}"
                )));
            }
        }
        for (slave, bond) in slaves {
            if !self.desired.scope.bond(bond) {
                continue;
            }
            if let Some(vlans) = self.users.get(slave) {
                problems.push(NetError::UsedNic(format!(
                    "Nics with multiple usages: {slave} in {bond} and beneath {vlans:?}"
                )));
            }
        }
        self.problems.extend(problems);
    }

    /// Nothing that others use is taken away.
    fn removals(&mut self) {
        let Desired {
            before,
            after,
            scope,
        } = self.desired;
        let on_bonds: BTreeMap<&IfName, &NetName> = after
            .networks
            .iter()
            .filter_map(|(name, it)| match &it.base {
                Some(Base::Bond(bond)) => Some((bond, name)),
                _ => None,
            })
            .collect();
        for name in before.bonds.keys() {
            if after.bonds.contains_key(name) || !scope.bond(name) {
                continue;
            }
            if let Some(user) = on_bonds.get(name) {
                self.problems.push(NetError::UsedBond(format!(
                    "Cannot remove bonding {name}: used by network ({user})."
                )));
            }
            if let Some(vlans) = self.users.get(name) {
                self.problems.push(NetError::UsedBond(format!(
                    "Cannot remove bonding {name}: {vlans:?} are on it"
                )));
            }
        }
        let ports = ports_by_master(self.current);
        for (name, network) in &before.networks {
            if scope.network(name) {
                self.note(self.vlan_is_unused(name, network));
            }
            let stays = after.networks.get(name);
            let stays = stays.is_some_and(|it| it.bridge.is_some());
            if stays || !scope.network(name) || network.bridge.is_none() {
                continue;
            }
            self.note(bridge_is_empty(name, network, &ports));
        }
    }

    /// A VLAN that goes carries no VLAN of others.
    fn vlan_is_unused(&self, name: &NetName, network: &Network) -> Checked {
        let after = self.desired.after.networks.get(name);
        let stays = after.is_some_and(|it| (&it.base, it.vlan) == (&network.base, network.vlan));
        let vlan = network.vlan_device()?.filter(|_| !stays);
        match vlan.and_then(|it| self.users.get(&it)) {
            Some(users) => Err(NetError::UsedNic(format!(
                "Cannot remove the VLAN of network {name}: {users:?} are on it"
            ))),
            None => Ok(()),
        }
    }

    /// Names of records of devices are names of files.
    fn devices(&mut self) {
        for name in self.desired.after.devices.keys() {
            if NetName::new(name).is_err() {
                self.problems.push(NetError::BadParams(format!(
                    "{name:?} is no name of a device"
                )));
            }
        }
    }

    /// No address on two networks, no network's rule for another's addresses.
    fn addresses(&mut self) {
        let mut seen: BTreeMap<core::net::IpAddr, &NetName> = BTreeMap::new();
        let scope = &self.desired.scope;
        for (name, network) in &self.desired.after.networks {
            let all = [&network.ipv4, &network.ipv6];
            for address in all.into_iter().flat_map(|it| &it.addresses) {
                let Some(other) = seen.insert(address.ip(), name) else {
                    continue;
                };
                if scope.network(name) || scope.network(other) {
                    self.problems.push(NetError::BadAddress(format!(
                        "{other} and {name} have the same address {}",
                        address.ip()
                    )));
                }
            }
        }
        let foreign = foreign_addresses(self.current, self.desired);
        for (name, network) in self.scoped_networks() {
            let all = [&network.ipv4, &network.ipv6];
            for address in all.into_iter().flat_map(|it| &it.addresses) {
                if let Some(link) = foreign.get(&address.ip()) {
                    self.problems.push(NetError::BadAddress(format!(
                        "{name}: {link} has the address {}",
                        address.ip()
                    )));
                }
            }
        }
    }
}

/// VLANs of others, by the interface beneath.
fn foreign_users<'a>(
    current: &'a Current,
    desired: &'a Desired,
) -> BTreeMap<&'a IfName, BTreeSet<&'a IfName>> {
    let networks = [&desired.before, &desired.after];
    let networks = networks.into_iter().flat_map(|it| it.networks.values());
    let own: BTreeSet<IfName> = networks
        .filter_map(|it| it.vlan_device().ok().flatten())
        .collect();
    let mut users: BTreeMap<&IfName, BTreeSet<&IfName>> = BTreeMap::new();
    for (name, link) in &current.links {
        if let LinkKind::Vlan { parent, .. } = &link.kind
            && !own.contains(name)
        {
            users.entry(parent).or_default().insert(name);
        }
    }
    users
}

fn ports_by_master(current: &Current) -> BTreeMap<&IfName, BTreeSet<&IfName>> {
    let mut ports: BTreeMap<&IfName, BTreeSet<&IfName>> = BTreeMap::new();
    for (name, link) in &current.links {
        if let Some(master) = &link.master {
            ports.entry(master).or_default().insert(name);
        }
    }
    ports
}

/// A bridge goes only if none but our own port is in it: no guest's tap.
fn bridge_is_empty(
    name: &NetName,
    network: &Network,
    ports: &BTreeMap<&IfName, BTreeSet<&IfName>>,
) -> Checked {
    let device = name.bridge()?;
    let own = network.port()?;
    let inside = ports.get(&device).into_iter().flatten();
    let others: Vec<_> = inside.filter(|it| Some(**it) != own.as_ref()).collect();
    if others.is_empty() {
        return Ok(());
    }
    Err(NetError::UsedBridge(format!(
        "Cannot remove the bridge of network {name}: {others:?} are in it"
    )))
}

/// Addresses of interfaces that no network of ours has or will have. Bases and ports are ours: what they have goes.
fn foreign_addresses<'a>(
    current: &'a Current,
    desired: &Desired,
) -> BTreeMap<core::net::IpAddr, &'a IfName> {
    let mut own: BTreeSet<IfName> = BTreeSet::new();
    for config in [&desired.before, &desired.after] {
        for (name, network) in &config.networks {
            own.extend(network.base.as_ref().map(|it| it.device().clone()));
            own.extend(network.vlan_device().ok().flatten());
            own.extend(network.bridge.as_ref().and_then(|_| name.bridge().ok()));
        }
        own.extend(
            config
                .bonds
                .values()
                .flat_map(|it| it.slaves.iter().cloned()),
        );
        own.extend(config.bonds.keys().cloned());
    }
    let foreign = current
        .links
        .iter()
        .filter(|(name, _)| !own.contains(*name));
    let addresses = foreign.flat_map(|(name, link)| {
        let its = link.addresses.iter();
        let its = its.filter(|it| !it.is_link_local());
        its.map(move |it| (Cidr::ip(it.cidr), name))
    });
    addresses.collect()
}

/// A route's table is not one that the agent allots, and none of the kernel's own (`local` and its kin).
fn check_tables(name: &NetName, network: &Network) -> Checked {
    let allotted = FIRST_TABLE..FIRST_TABLE + TABLES;
    let mut own = network.routes.iter().filter_map(|it| it.table);
    if let Some(table) = own.find(|it| matches!(it, 0 | 253 | 255)) {
        return Err(NetError::BadParams(format!(
            "{name}: the routing table {table} is reserved"
        )));
    }
    let mut tables = network.routes.iter().filter_map(|it| it.table);
    match tables.find(|it| allotted.contains(it)) {
        Some(table) => Err(NetError::BadParams(format!(
            "{name}: the routing table {table} is one that networks get by themselves"
        ))),
        None => Ok(()),
    }
}
