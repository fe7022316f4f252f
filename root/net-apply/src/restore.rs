//! Restoration at boot: from what is there to the persistent set, each network for itself (TODO 24, 25).
//!
//! First the virtual functions of cards (`sriov.rs`): what is on them is there then. One plan for all (`net_model::restore`): what does not differ has no step, the management network is last down and first up. A
//! step that fails fails its network, or the networks on that base: what was done of them is undone, the rest goes on.
//!
//! It has no journal: who dies in the middle runs it again, from whatever is there. At its end the running set says what is
//! restored, and the marker that upstream has (`nets_restored`) says that it ran since the host started.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::OpenOptions,
    io,
    os::unix::fs::OpenOptionsExt as _,
    time::Instant,
};

use net_model::{
    Config, NetError, NetName, Plan, Planned, Tables, duplicates, plan,
    restore::{fallout, restoration},
};
use observe::netconf::Found;
use privileged::{NetworkOutcome, NetworkSet, PendingStage, Restored, Trouble};

use crate::{
    sriov,
    transaction::{ChangeError, Transactions, chain, lock, millis, save_tables},
};

/// VDSM's number of a step that failed (`ERR_FAILED_IFUP`).
const FAILED: u32 = 29;

/// A restoration on its way.
struct Restoring {
    desired: net_model::Desired,
    plan: Plan,
    tables: Tables,
    failed: BTreeMap<NetName, Trouble>,
    others: Vec<Trouble>,
}

impl Transactions {
    /// Brings the persistent set back; `force`: also if that was done since the host started.
    ///
    /// # Errors
    /// Nothing was done: another change is under way, or what is there or what shall be cannot be read. What fails for one network is in
    /// the answer.
    pub fn restore(&self, force: bool, until: Instant) -> Result<Restored, ChangeError> {
        let began = Instant::now();
        let ticket = self.ticket(None)?;
        if !force && self.places.restored.exists() {
            tracing::info!("networks were restored since the host started");
            return Ok(Restored {
                already: true,
                ..Restored::default()
            });
        }
        self.recover_holding(&ticket, until)?;
        let persistent = self.read(NetworkSet::Persistent)?;
        let running = self.read(NetworkSet::Running)?;
        ticket.stage(PendingStage::Running);
        let functions = sriov::restore(&self.places.sysfs, &persistent.netconf.config().0, until);
        let mut it = self.restoring(&persistent, &running, until)?;
        let functions = functions.iter();
        it.others
            .extend(functions.map(|(card, error)| trouble(card, chain(error))));
        save_tables(&self.tables_file(), &it.tables).map_err(ChangeError::Tables)?;
        // A manager that hangs keeps no host from its networks.
        let ours = [&it.desired.before, &it.desired.after];
        if let Err(error) = self.own(&ours, until) {
            it.others.push(trouble("others", chain(&error)));
        }
        self.run_each(&mut it, until);
        self.verify_each(&mut it, until);
        ticket.stage(PendingStage::Storing);
        let running = running.netconf.config().0;
        self.end_restoration(&mut it, &persistent, until);
        self.own_running();
        let restored = it.report(&running, millis(began.elapsed()));
        tell(&restored);
        lock(&self.told).restored = Some(restored.clone());
        Ok(restored)
    }

    fn restoring(
        &self,
        persistent: &Found,
        running: &Found,
        until: Instant,
    ) -> Result<Restoring, ChangeError> {
        let current = self.machine.current(until).map_err(ChangeError::Unknown)?;
        let (wanted, mut problems) = persistent.netconf.config();
        problems.splice(0..0, persistent.problems.iter().cloned());
        let mut before = running.netconf.config().0;
        // A record that makes no sense is no order to remove its network.
        for name in problems.iter().filter_map(network_of) {
            before.networks.remove(&name);
        }
        let restoration = restoration(&wanted, &before, &current);
        let mut it = Restoring {
            plan: Plan::default(),
            tables: self.allotted(
                &[&restoration.desired.before, &restoration.desired.after],
                &current,
            )?,
            desired: restoration.desired,
            failed: BTreeMap::new(),
            others: Vec::new(),
        };
        for problem in problems {
            it.leave_out(problem.to_string(), &wanted, problem);
        }
        for (subject, error) in restoration.left_out {
            it.leave_out(subject, &wanted, error);
        }
        it.plan = plan(&current, &it.desired, &it.tables).map_err(ChangeError::Invalid)?;
        Ok(it)
    }

    /// Runs the plan, and without what fails on and on.
    fn run_each(&self, it: &mut Restoring, until: Instant) {
        let mut done: Vec<usize> = Vec::new();
        let mut rest: Vec<usize> = (0..it.plan.steps.len()).collect();
        while !rest.is_empty() {
            if Instant::now() >= until {
                return it.late(&rest);
            }
            let steps: Vec<Planned> = rest
                .iter()
                .filter_map(|number| it.plan.steps.get(*number).cloned())
                .collect();
            let Err(halted) = self.machine.run(&steps, until) else {
                return;
            };
            let place = |place: &usize| rest.get(*place).copied();
            done.extend(halted.done.iter().filter_map(place));
            let mut bad = vec![(halted.failed, chain(&halted.source))];
            bad.extend(halted.others.iter().map(|(at, why)| (*at, chain(why))));
            let bad: Vec<(usize, String)> = bad
                .into_iter()
                .filter_map(|(at, why)| Some((place(&at)?, why)))
                .collect();
            // Whether a failed step changed something is not known: it is undone with those before it.
            done.extend(bad.iter().map(|it| it.0));
            done.sort_unstable();
            for (number, why) in bad {
                rest = it.fall(number, &why, &done, |steps| {
                    for error in self.machine.undo(steps, until) {
                        tracing::warn!(error = chain(&error), "undoing a network");
                    }
                });
            }
        }
    }

    /// What is not as it should be, though its steps were done.
    fn verify_each(&self, it: &mut Restoring, until: Instant) {
        let mut desired = it.desired.clone();
        for name in it.failed.keys() {
            desired.before.networks.remove(name);
            desired.after.networks.remove(name);
        }
        match self.settled(&desired, &it.tables, until) {
            Ok(left) => {
                for step in left.steps {
                    let why = format!("still to do: {step}");
                    match step.network {
                        Some(name) => it.fail(&name, why),
                        None => it.others.push(trouble("plan", why)),
                    }
                }
            }
            Err(error) => it.others.push(trouble("verification", chain(&error))),
        }
        it.others.extend(self.duplicates(&desired, until));
    }

    /// What the kernel knows already of IPv6 addresses that others have. Their networks are restored: all else of them works. Nobody waits
    /// here for what it finds out later, which the agent tells.
    fn duplicates(&self, desired: &net_model::Desired, until: Instant) -> Vec<Trouble> {
        if !duplicates::has_any(desired) {
            return Vec::new();
        }
        let current = match self.machine.current(until) {
            Ok(current) => current,
            Err(error) => return vec![trouble("duplicate addresses", chain(&error))],
        };
        let all = duplicates::uniqueness(&current, desired).duplicates;
        let all = all.into_iter();
        let code = NetError::BadAddress(String::new()).code();
        all.map(|it| Trouble {
            subject: it.network.to_string(),
            code,
            why: it.to_string(),
        })
        .collect()
    }

    /// The running set says what is restored; the marker that it was.
    fn end_restoration(&self, it: &mut Restoring, persistent: &Found, until: Instant) {
        let now = self.reached(it, until);
        let wanted = persistent.netconf.config().0;
        let files = self.files();
        // Records of what did not change keep the bytes that the persistent set has.
        let new = persistent.netconf.updated(&now);
        let same = self
            .read(NetworkSet::Running)
            .is_ok_and(|found| found.there && found.netconf == new);
        if !same && let Err(error) = self.store_one(NetworkSet::Running, &new) {
            it.others.push(trouble("running set", chain(&error)));
        }
        drop(files);
        self.forget_tables(&[&now, &wanted]);
        if let Err(error) = self.mark() {
            let path = self.places.restored.display().to_string();
            it.others.push(trouble(&path, error.to_string()));
        }
    }

    /// What is restored; and what should have gone and did not is still ours.
    fn reached(&self, it: &Restoring, until: Instant) -> Config {
        let mut now = it.desired.after.clone();
        now.networks.retain(|name, _| !it.failed.contains_key(name));
        for name in it.failed.keys() {
            let stays = it.desired.before.networks.get(name);
            let stays = stays.filter(|_| !it.desired.after.networks.contains_key(name));
            let stays = stays.map(|old| (name.clone(), old.clone()));
            now.networks.extend(stays);
        }
        let links = self.machine.current(until).map(|it| it.links);
        let links = links.unwrap_or_default();
        for (name, bond) in &it.desired.before.bonds {
            if links.contains_key(name) && !now.bonds.contains_key(name) {
                now.bonds.insert(name.clone(), bond.clone());
            }
        }
        now
    }

    /// Never through a symbolic link: the folder is the agent's.
    fn mark(&self) -> io::Result<()> {
        let path = &self.places.restored;
        let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o644)
            .custom_flags(flags)
            .open(path)
            .map(drop)
    }
}

impl Restoring {
    /// Something is left out: of a network its failure, else told beside.
    fn leave_out(&mut self, subject: String, wanted: &Config, error: NetError) {
        let told = Trouble {
            code: error.code(),
            why: error.to_string(),
            subject: subject.clone(),
        };
        let network = NetName::new(&subject).ok();
        let network = network.filter(|name| wanted.networks.contains_key(name));
        match network.or_else(|| network_of(&error)) {
            Some(name) => {
                let subject = name.to_string();
                self.failed.insert(name, Trouble { subject, ..told });
            }
            None => self.others.push(told),
        }
    }

    /// A step failed: its networks fall, what was done of them goes back; answers what is left to do.
    fn fall(
        &mut self,
        number: usize,
        why: &str,
        done: &[usize],
        undo: impl FnOnce(&[net_model::Step]),
    ) -> Vec<usize> {
        let step = self.plan.steps.get(number);
        let words = step.map(|it| it.step.to_string()).unwrap_or_default();
        let network = step.and_then(|it| it.network.clone());
        let dropped: BTreeSet<NetName> = self.failed.keys().cloned().collect();
        let fallout = fallout(&self.plan, &self.desired.after, done, number, &dropped);
        let fresh: Vec<NetName> = fallout.networks.difference(&dropped).cloned().collect();
        if fresh.is_empty() && network.is_none_or(|it| !dropped.contains(&it)) {
            self.others.push(trouble(&words, why.to_owned()));
        }
        for name in fresh {
            self.fail(&name, why.to_owned());
        }
        undo(&fallout.undo);
        fallout.rest
    }

    /// What was not come to fails; a restoration after this one goes on from there.
    fn late(&mut self, rest: &[usize]) {
        let steps: Vec<Planned> = rest
            .iter()
            .filter_map(|number| self.plan.steps.get(*number).cloned())
            .collect();
        for step in steps {
            let why = format!("no time was left for: {}", step.step);
            match step.network {
                Some(name) => self.fail(&name, why),
                None => self.others.push(trouble("plan", why)),
            }
        }
    }

    fn fail(&mut self, name: &NetName, why: String) {
        let told = trouble(name.as_str(), why);
        self.failed.entry(name.clone()).or_insert(told);
    }

    fn report(self, running: &Config, took_ms: u64) -> Restored {
        let mut steps: BTreeMap<&NetName, u64> = BTreeMap::new();
        for name in self.plan.steps.iter().filter_map(|it| it.network.as_ref()) {
            *steps.entry(name).or_default() += 1;
        }
        let mut networks: BTreeMap<NetName, NetworkOutcome> = BTreeMap::new();
        for name in self.desired.after.networks.keys() {
            let outcome = match steps.get(name) {
                Some(steps) => NetworkOutcome::Restored { steps: *steps },
                None => NetworkOutcome::Unchanged {},
            };
            networks.insert(name.clone(), outcome);
        }
        for name in running.networks.keys() {
            if !self.desired.after.networks.contains_key(name) {
                networks.insert(name.clone(), NetworkOutcome::Removed {});
            }
        }
        let failed = self.failed.into_iter();
        networks.extend(failed.map(|(name, told)| (name, NetworkOutcome::Failed(told))));
        Restored {
            already: false,
            networks,
            others: self.others,
            took_ms,
        }
    }
}

/// The network whose record a problem is about.
fn network_of(error: &NetError) -> Option<NetName> {
    match error {
        NetError::Record { path, .. } => NetName::new(path.strip_prefix("nets/")?).ok(),
        _ => None,
    }
}

fn trouble(subject: &str, why: String) -> Trouble {
    Trouble {
        subject: subject.to_owned(),
        code: FAILED,
        why,
    }
}

fn tell(restored: &Restored) {
    for (name, outcome) in &restored.networks {
        match outcome {
            NetworkOutcome::Failed(trouble) => tracing::error!(%name, %trouble, "not restored"),
            other => tracing::info!(%name, ?other, "restoration"),
        }
    }
    for trouble in &restored.others {
        tracing::error!(%trouble, "restoration");
    }
}
