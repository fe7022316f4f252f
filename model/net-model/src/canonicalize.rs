//! From a request, as loose as clients are, to what is desired: upstream's defaults, older keys, hand-over of the
//! default route, foreign bonds taken over.
//!
//! Upstream's order is kept (`canonicalize.py`). What upstream only writes into the attributes is here parsed
//! at once: past this point there are types only.
//!
//! Look next: `canonicalize/network.rs`, `canonicalize/bond.rs`; `validate.rs` for what needs the kernel's state.

mod bond;
mod network;

use std::collections::{BTreeMap, BTreeSet};

pub use bond::{bond, bond_attributes};
pub use network::{network, network_attributes};

use crate::{
    Base, Bond, BondOptions, Config, Current, Desired, IfName, LinkKind, NetError, NetName,
    Network, Scope,
    request::{Loose, NetworkAttributes, SetupRequest},
};

/// What a request makes of what the agent owns.
///
/// # Errors
///
/// All that can be seen without the kernel: names, addresses, options of bonds, two default routes, removal of
/// what is not there.
pub fn canonicalize(
    request: &SetupRequest,
    running: &Config,
    current: &Current,
) -> Result<Desired, NetError> {
    let mut desired = Desired {
        before: running.clone(),
        after: running.clone(),
        scope: Scope::All,
    };
    let mut networks = BTreeSet::new();
    for (name, attributes) in &request.networks {
        let name = NetName::new(name)?;
        one_network(&name, attributes, current, &mut desired)?;
        networks.insert(name);
    }
    hand_over_default_route(&mut desired, &mut networks)?;
    let mut bonds = BTreeSet::new();
    for (name, attributes) in &request.bondings {
        let name = bond_name(name)?;
        if is_removal(attributes.remove.as_ref()) {
            desired.after.bonds.remove(&name);
        } else {
            let mut it = bond(&name, attributes)?;
            it.hwaddr = it.hwaddr.or_else(|| kept_address(&name, running, current));
            desired.after.bonds.insert(name.clone(), it);
        }
        bonds.insert(name);
    }
    take_over_bonds(&mut desired, current, &mut bonds, &networks)?;
    desired.scope = Scope::Named { networks, bonds };
    Ok(desired)
}

fn one_network(
    name: &NetName,
    attributes: &NetworkAttributes,
    current: &Current,
    desired: &mut Desired,
) -> Result<(), NetError> {
    if is_removal(attributes.remove.as_ref()) {
        let only = NetworkAttributes {
            remove: attributes.remove.clone(),
            custom: attributes.custom.clone(),
            ..NetworkAttributes::default()
        };
        if *attributes != only {
            return Err(NetError::BadParams(
                "Cannot specify any attribute when removing (except custom)).".to_owned(),
            ));
        }
        return match desired.after.networks.remove(name) {
            Some(_) => Ok(()),
            None => Err(NetError::BadBridge(format!(
                "Cannot delete network {name}: It doesn't exist in the system"
            ))),
        };
    }
    let network = network(name, attributes, Some(&current.nameservers))?;
    desired.after.networks.insert(name.clone(), network);
    Ok(())
}

pub(crate) fn is_removal(remove: Option<&Loose>) -> bool {
    remove.is_some_and(Loose::truth)
}

/// Upstream's names of bonds: `bond`, then letters, digits and underscores.
pub(crate) fn bond_name(name: &str) -> Result<IfName, NetError> {
    let bad = || NetError::BadBonding(format!("bad bond name(s): {name}"));
    let rest = name.strip_prefix("bond").ok_or_else(bad)?;
    let words = rest.chars().all(|it| it.is_alphanumeric() || it == '_');
    if rest.is_empty() || !words {
        return Err(bad());
    }
    IfName::new(name).map_err(|_| bad())
}

/// One network has the default route. Who had it before and is not in the request loses it, with its name servers.
fn hand_over_default_route(
    desired: &mut Desired,
    networks: &mut BTreeSet<NetName>,
) -> Result<(), NetError> {
    let after = desired.after.networks.iter();
    let asked: Vec<&NetName> = after
        .filter(|(name, it)| it.default_route && networks.contains(*name))
        .map(|(name, _)| name)
        .collect();
    if asked.len() > 1 {
        return Err(NetError::BadParams(
            "Only a single default route network is allowed.".to_owned(),
        ));
    }
    if asked.is_empty() {
        return Ok(());
    }
    for (name, other) in &mut desired.after.networks {
        if other.default_route && !networks.contains(name) {
            other.default_route = false;
            other.nameservers.clear();
            networks.insert(name.clone());
        }
    }
    Ok(())
}

/// A bond that is there already and was not made by the agent keeps its hardware address, as one whose address was given does.
fn kept_address(name: &IfName, running: &Config, current: &Current) -> Option<crate::Mac> {
    let there = current.links.get(name)?;
    let is_bond = matches!(there.kind, LinkKind::Bond(_));
    let enforced = running.bonds.get(name).is_none_or(|it| it.hwaddr.is_some());
    (is_bond && enforced && there.mac.is_usable()).then_some(there.mac)
}

/// Bonds of the kernel that networks of the request are on and that nobody mentions become ours as they are.
fn take_over_bonds(
    desired: &mut Desired,
    current: &Current,
    bonds: &mut BTreeSet<IfName>,
    networks: &BTreeSet<NetName>,
) -> Result<(), NetError> {
    let mut taken: BTreeMap<IfName, Bond> = BTreeMap::new();
    for name in networks {
        let Some(Network {
            base: Some(Base::Bond(base)),
            switch,
            ..
        }) = desired.after.networks.get(name)
        else {
            continue;
        };
        bond_name(base.as_str())?;
        let link = current.links.get(base);
        let Some(LinkKind::Bond(state)) = link.map(|it| &it.kind) else {
            continue;
        };
        if desired.after.bonds.contains_key(base)
            || bonds.contains(base)
            || taken.contains_key(base)
        {
            continue;
        }
        let bond = Bond {
            slaves: current.ports_of(base).cloned().collect(),
            options: BondOptions::of_kernel(&state.options),
            hwaddr: link.map(|it| it.mac).filter(|it| it.is_usable()),
            switch: *switch,
            extra: serde_json::Map::new(),
        };
        taken.insert(base.clone(), bond);
    }
    bonds.extend(taken.keys().cloned());
    desired.after.bonds.extend(taken);
    Ok(())
}
