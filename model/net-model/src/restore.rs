//! What to restore at boot, and what a failure of one network means for the others (TODO 24, 25).
//!
//! Restoration is one change from what is there to the persistent set. What does not differ yields no step; the
//! management network is last down and first up (`plan/mod.rs`); what cannot be (a card that is not there, a record
//! that makes no sense) is left out beforehand and told, so that it can neither delay nor fail the rest.

use std::collections::BTreeSet;

use crate::{
    Base, Config, Current, Desired, IfName, LinkKind, NetError, NetName, Plan, Scope, Step, undo,
    validate,
};

/// What is to be restored.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Restoration {
    /// The change.
    pub desired: Desired,
    /// What is left out, and why: each for an ERROR in the journal and the exit code of the unit.
    pub left_out: Vec<(String, NetError)>,
}

/// Decides what to restore. `running` is what was set up last, before the reboot or now: what is not persistent of it
/// goes.
pub fn restoration(persistent: &Config, running: &Config, current: &Current) -> Restoration {
    let mut left_out = Vec::new();
    let mut wanted = persistent.clone();
    keep_present_nics(&mut wanted, current, &mut left_out);
    drop_baseless(&mut wanted, current, &mut left_out);
    one_default_route(&mut wanted, running, &mut left_out);
    let mut before = running.clone();
    for (name, network) in &persistent.networks {
        let entry = before.networks.entry(name.clone());
        entry.or_insert_with(|| network.clone());
    }
    for (name, bond) in &persistent.bonds {
        let entry = before.bonds.entry(name.clone());
        entry.or_insert_with(|| bond.clone());
    }
    let mut desired = Desired {
        before,
        after: Config {
            bonds: wanted.bonds.clone(),
            devices: wanted.devices.clone(),
            ..Config::default()
        },
        scope: Scope::All,
    };
    let mut names: Vec<NetName> = wanted.networks.keys().cloned().collect();
    let management = wanted.management().cloned();
    names.sort_by_key(|it| management.as_ref() != Some(it));
    admit(&wanted, &names, current, &mut desired, &mut left_out);
    // What is left out though it is ours is left alone, not torn down.
    let left: BTreeSet<String> = left_out.iter().map(|(name, _)| name.clone()).collect();
    desired.before.networks.retain(|name, _| {
        desired.after.networks.contains_key(name) || !left.contains(name.as_str())
    });
    desired
        .before
        .bonds
        .retain(|name, _| desired.after.bonds.contains_key(name) || !left.contains(name.as_str()));
    Restoration { desired, left_out }
}

/// A bond comes up with those of its cards that are there; without any it is left out.
fn keep_present_nics(
    wanted: &mut Config,
    current: &Current,
    left_out: &mut Vec<(String, NetError)>,
) {
    let present = |it: &IfName| {
        current
            .links
            .get(it)
            .is_some_and(|it| it.kind == LinkKind::Nic)
    };
    for (name, bond) in &mut wanted.bonds {
        let missing: Vec<IfName> = bond
            .slaves
            .iter()
            .filter(|it| !present(it))
            .cloned()
            .collect();
        bond.slaves.retain(present);
        if !missing.is_empty() {
            let why = NetError::BadNic(format!("{missing:?} of bond {name} are missing"));
            left_out.push((
                missing
                    .iter()
                    .map(IfName::as_str)
                    .collect::<Vec<_>>()
                    .join(","),
                why,
            ));
        }
    }
    let empty: Vec<IfName> = wanted
        .bonds
        .iter()
        .filter(|(_, it)| it.slaves.is_empty())
        .map(|(name, _)| name.clone())
        .collect();
    for name in empty {
        wanted.bonds.remove(&name);
        let why = NetError::BadBonding(format!("none of the nics of {name} is there"));
        left_out.push((name.to_string(), why));
    }
}

fn drop_baseless(wanted: &mut Config, current: &Current, left_out: &mut Vec<(String, NetError)>) {
    let bonds = &wanted.bonds;
    wanted.networks.retain(|name, network| {
        let why = match &network.base {
            Some(Base::Nic(nic)) if !current.links.contains_key(nic) => {
                NetError::BadNic(format!("Nic {nic} does not exist"))
            }
            Some(Base::Bond(bond)) if !bonds.contains_key(bond) => {
                NetError::BadBonding(format!("Bond {bond} does not exist"))
            }
            _ => return true,
        };
        left_out.push((name.to_string(), why));
        false
    });
}

/// Of two networks with the default route the one that has it now keeps it, else the first by name.
fn one_default_route(
    wanted: &mut Config,
    running: &Config,
    left_out: &mut Vec<(String, NetError)>,
) {
    let claims = wanted.networks.iter().filter(|(_, it)| it.default_route);
    let claims: Vec<NetName> = claims.map(|(name, _)| name.clone()).collect();
    let has = |it: &&NetName| running.networks.get(*it).is_some_and(|it| it.default_route);
    let Some(winner) = claims.iter().find(has).or(claims.first()) else {
        return;
    };
    for name in claims.iter().filter(|it| *it != winner) {
        if let Some(network) = wanted.networks.get_mut(name) {
            network.default_route = false;
            network.nameservers.clear();
        }
        let why = NetError::BadParams(format!(
            "Only a single default route network is allowed: {winner} has it"
        ));
        left_out.push((format!("{name}.defaultRoute"), why));
    }
}

/// Takes in the networks that can be together with those before them; halves what cannot until the bad ones are found.
fn admit(
    wanted: &Config,
    names: &[NetName],
    current: &Current,
    desired: &mut Desired,
    left_out: &mut Vec<(String, NetError)>,
) {
    let without = desired.after.networks.clone();
    for name in names {
        if let Some(network) = wanted.networks.get(name) {
            desired.after.networks.insert(name.clone(), network.clone());
        }
    }
    let Err(why) = validate(current, &as_if_alone(wanted, desired)) else {
        return;
    };
    desired.after.networks = without;
    match names {
        [] => {}
        [name] => left_out.push((name.to_string(), why)),
        _ => {
            let (first, second) = names.split_at(names.len() / 2);
            admit(wanted, first, current, desired, left_out);
            admit(wanted, second, current, desired, left_out);
        }
    }
}

/// The change as if what is not taken in yet did not exist: it is not removed by it.
fn as_if_alone(wanted: &Config, desired: &Desired) -> Desired {
    let mut it = desired.clone();
    let after = &desired.after.networks;
    let later = |name: &NetName| wanted.networks.contains_key(name) && !after.contains_key(name);
    it.before.networks.retain(|name, _| !later(name));
    it
}

/// What a failed step means where networks are restored each for itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fallout {
    /// Networks that fail with it.
    pub networks: BTreeSet<NetName>,
    /// Steps of theirs that were done, back.
    pub undo: Vec<Step>,
    /// Steps that are left to do, by number.
    pub rest: Vec<usize>,
}

/// Steps of a network fail that network; steps of a base fail all networks upon it. Their done steps are undone, the
/// rest of the plan goes on without them.
///
/// `done` are the numbers of the steps done so far, in order; `failed` is the number of the failed one; `dropped`
/// are networks that failed before.
pub fn fallout(
    plan: &Plan,
    config: &Config,
    done: &[usize],
    failed: usize,
    dropped: &BTreeSet<NetName>,
) -> Fallout {
    let mut networks = dropped.clone();
    if let Some(step) = plan.steps.get(failed) {
        match &step.network {
            Some(name) => drop(networks.insert(name.clone())),
            None => networks.extend(
                step.step
                    .device()
                    .into_iter()
                    .flat_map(|it| dependents(config, it)),
            ),
        }
    }
    let theirs = |number: &usize| {
        let step = plan.steps.get(*number);
        let network = step.and_then(|it| it.network.as_ref());
        network.is_some_and(|it| networks.contains(it))
    };
    let fresh = |number: &&usize| {
        let network = plan.steps.get(**number).and_then(|it| it.network.as_ref());
        network.is_some_and(|it| networks.contains(it) && !dropped.contains(it))
    };
    let back: Vec<_> = done
        .iter()
        .filter(fresh)
        .filter_map(|it| plan.steps.get(*it).cloned())
        .collect();
    let rest = (0..plan.steps.len())
        .filter(|it| *it != failed && !done.contains(it) && !theirs(it))
        .collect();
    Fallout {
        undo: undo(&back),
        rest,
        networks,
    }
}

/// Networks that an interface carries: as their base, or as a port of the bond that is.
pub fn dependents(config: &Config, device: &IfName) -> BTreeSet<NetName> {
    let bond = config
        .bonds
        .iter()
        .find(|(_, it)| it.slaves.contains(device));
    let base = bond.map_or(device, |(name, _)| name);
    let all = config.networks.iter();
    all.filter(|(name, network)| {
        let on = |it: &Base| it.device() == base;
        network.base.as_ref().is_some_and(on) || network.top(name).ok().as_ref() == Some(device)
    })
    .map(|(name, _)| name.clone())
    .collect()
}
