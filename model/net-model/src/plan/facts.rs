//! What a plan reckons once, for all networks: their devices, who uses which base, the MTU of each base.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Config, Current, DEFAULT_MTU, Desired, IfName, LinkKind, NetError, NetName, Network, Tables,
};

/// The interfaces of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Devices {
    pub(super) base: Option<IfName>,
    pub(super) vlan: Option<IfName>,
    pub(super) bridge: Option<IfName>,
    /// What enters the bridge.
    pub(super) port: Option<IfName>,
    /// What has the addresses.
    pub(super) top: IfName,
}

impl Devices {
    pub(super) fn of(name: &NetName, network: &Network) -> Result<Self, NetError> {
        Ok(Self {
            base: network.base.as_ref().map(|it| it.device().clone()),
            vlan: network.vlan_device()?,
            bridge: network.bridge.as_ref().map(|_| name.bridge()).transpose()?,
            port: network.port()?,
            top: network.top(name)?,
        })
    }
}

/// A network with its devices.
pub(super) type Known<'a> = (&'a Network, Devices);

pub(super) struct Facts<'a> {
    pub(super) desired: &'a Desired,
    pub(super) tables: &'a Tables,
    pub(super) before: BTreeMap<&'a NetName, Known<'a>>,
    pub(super) after: BTreeMap<&'a NetName, Known<'a>>,
    /// VLANs that some network will have.
    pub(super) vlans: BTreeSet<IfName>,
    /// Interfaces that will carry some network's addresses.
    pub(super) tops: BTreeSet<IfName>,
    /// Bases that networks will have, and their MTUs.
    pub(super) bases: BTreeMap<IfName, u32>,
    /// Greatest MTU of the VLANs upon an interface that are not ours.
    foreign: BTreeMap<IfName, u32>,
    /// Ports of bonds to be, and whose.
    pub(super) slaves: BTreeMap<&'a IfName, &'a IfName>,
    /// The network to touch last and mend first, before and after.
    pub(super) management: BTreeSet<&'a NetName>,
}

impl<'a> Facts<'a> {
    pub(super) fn new(
        current: &Current,
        desired: &'a Desired,
        tables: &'a Tables,
    ) -> Result<Self, NetError> {
        let after = desired.after.networks.iter().map(|(name, network)| {
            let devices = Devices::of(name, network)?;
            Ok((name, (network, devices)))
        });
        let after: BTreeMap<_, _> = after.collect::<Result<_, NetError>>()?;
        let before = desired
            .before
            .networks
            .iter()
            .filter_map(|(name, network)| {
                let devices = Devices::of(name, network).ok()?;
                Some((name, (network, devices)))
            });
        let bonds = desired.after.bonds.iter();
        let slaves = bonds.flat_map(|(name, bond)| bond.slaves.iter().map(move |it| (it, name)));
        let management = [&desired.before, &desired.after];
        let devices = || after.values().map(|(_, it)| it);
        let foreign = foreign_vlan_mtus(current, desired);
        Ok(Self {
            desired,
            tables,
            before: before.collect(),
            vlans: devices().filter_map(|it| it.vlan.clone()).collect(),
            tops: devices().map(|it| it.top.clone()).collect(),
            bases: base_mtus(&foreign, &after),
            foreign,
            slaves: slaves.collect(),
            management: management
                .into_iter()
                .filter_map(Config::management)
                .collect(),
            after,
        })
    }

    /// Networks of the change, the others before the management network or after it.
    pub(super) fn networks_before(&self) -> Vec<(&'a NetName, &Known<'a>)> {
        let all = self.before.iter().map(|(name, known)| (*name, known));
        let mut all: Vec<_> = all
            .filter(|(name, _)| self.desired.scope.network(name))
            .collect();
        all.sort_by_key(|(name, _)| self.management.contains(name));
        all
    }

    /// Networks of the change to be: the management network, then the others.
    pub(super) fn networks_after(&self, management: bool) -> Vec<(&'a NetName, &Known<'a>)> {
        let all = self.after.iter().map(|(name, known)| (*name, known));
        all.filter(|(name, _)| self.desired.scope.network(name))
            .filter(|(name, _)| self.management.contains(name) == management)
            .collect()
    }

    /// Bases of networks of the change, the management network's first.
    pub(super) fn touched_bases(&self) -> Vec<IfName> {
        let scope = &self.desired.scope;
        let first = self.networks_after(true).into_iter();
        let second = self.networks_after(false).into_iter();
        let before = self.networks_before().into_iter();
        let of_networks = first
            .chain(second)
            .chain(before)
            .filter_map(|(_, (_, devices))| devices.base.clone());
        let bonds = self.desired.after.bonds.keys();
        let of_bonds = bonds.filter(|it| scope.bond(it)).cloned();
        let mut seen = BTreeSet::new();
        let all = of_networks.chain(of_bonds);
        all.filter(|it| seen.insert(it.clone())).collect()
    }

    /// The MTU of an interface that networks use, or do not use any more.
    pub(super) fn base_mtu(&self, name: &IfName) -> u32 {
        self.bases.get(name).copied().unwrap_or_else(|| {
            let foreign = self.foreign.get(name).copied();
            foreign.unwrap_or(DEFAULT_MTU).max(DEFAULT_MTU)
        })
    }
}

fn base_mtus(
    foreign: &BTreeMap<IfName, u32>,
    after: &BTreeMap<&NetName, Known<'_>>,
) -> BTreeMap<IfName, u32> {
    let mut mtus: BTreeMap<IfName, u32> = BTreeMap::new();
    for (network, devices) in after.values() {
        if let Some(base) = &devices.base {
            let least = foreign.get(base).copied().unwrap_or(0);
            let mtu = mtus.entry(base.clone()).or_insert(least);
            *mtu = network.mtu.max(*mtu);
        }
    }
    mtus
}

/// Greatest MTU of the VLANs on each interface that no network of ours has or had.
fn foreign_vlan_mtus(current: &Current, desired: &Desired) -> BTreeMap<IfName, u32> {
    let networks = [&desired.before, &desired.after];
    let networks = networks.into_iter().flat_map(|it| it.networks.values());
    let own: BTreeSet<IfName> = networks
        .filter_map(|it| it.vlan_device().ok().flatten())
        .collect();
    let mut mtus: BTreeMap<IfName, u32> = BTreeMap::new();
    for (name, link) in &current.links {
        if let LinkKind::Vlan { parent, .. } = &link.kind
            && !own.contains(name)
        {
            let mtu = mtus.entry(parent.clone()).or_default();
            *mtu = link.mtu.max(*mtu);
        }
    }
    mtus
}
