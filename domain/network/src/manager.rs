//! The policy of a change: read, refuse, ask root, wait for the client, make it last or have it undone.
//!
//! States of the one change that may be under way:
//!
//! ```text
//! idle ──setup──▶ made by root ──no check, or confirmed──▶ lasting ──▶ idle
//!                     └── not confirmed in time ──▶ undone by root ──▶ idle
//! ```
//!
//! A second change meanwhile is refused, as upstream refuses it. Whatever dies in the middle, root undoes what was not
//! confirmed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use net_model::{
    Config, Current, Desired, IfName, NetError, Plan, canonicalize, request::SetupRequest, validate,
};

use crate::{
    Change, Digest, LldpState, Look, NetworkError, NetworkInfo, Observer, Pending, Root, RootState,
    Shown, View,
    confirm::{Confirmations, Waited},
};

/// Beyond the time that a client has: root's own limit comes after the agent's, and is for an agent that hangs.
const GRACE: Duration = Duration::from_secs(30);

/// The host's networks as the verbs see them.
pub struct NetworkManager {
    observer: Arc<dyn Observer>,
    root: Arc<dyn Root>,
    shown: Shown,
    turn: Turn,
    confirmations: Confirmations,
    dirty: AtomicBool,
    /// How many changes were made or tried, and how the last of them left the networks if it lasts.
    left: Mutex<(u64, Option<Digest>)>,
}

/// What a dry run tells.
#[derive(Debug, Clone, PartialEq)]
pub struct Foreseen {
    /// The steps.
    pub plan: Plan,
    /// The networks after the last of them.
    pub info: NetworkInfo,
}

impl NetworkManager {
    /// A manager over these ports.
    pub fn new(observer: Arc<dyn Observer>, root: Arc<dyn Root>, shown: Shown) -> Self {
        let manager = Self {
            observer,
            root,
            shown,
            turn: Turn::default(),
            confirmations: Confirmations::default(),
            dirty: AtomicBool::new(false),
            left: Mutex::default(),
        };
        manager.look_for_dirt();
        manager
    }

    /// `Host.setupNetworks`: answers when the change lasts.
    pub fn setup(&self, request: &SetupRequest) -> Result<(), NetworkError> {
        let _taken = self.turn.take()?;
        let done = self.setup_in_turn(request);
        self.look_for_dirt();
        // Whoever's change lasts looks by himself; after one that does not, what came by itself meanwhile is to be told.
        let digest = done.is_ok().then(|| self.digest()).flatten();
        let mut left = lock(&self.left);
        *left = (left.0.wrapping_add(1), digest);
        drop(left);
        done
    }

    fn setup_in_turn(&self, request: &SetupRequest) -> Result<(), NetworkError> {
        let desired = self.desired(request)?;
        let options = &request.options;
        let time = Duration::from_secs(options.connectivity_timeout.into());
        let change = Change {
            desired,
            persist: options.commit_on_success,
            confirm_within: time + GRACE,
        };
        let pending = self.root.change(change)?;
        for step in pending.steps() {
            tracing::info!(target: "vdsm.network", "{}", step.trim());
        }
        if options.connectivity_check {
            match self.confirmations.wait(time, || pending.is_held()) {
                Waited::Confirmed => {}
                Waited::InVain => {
                    tracing::warn!(target: "vdsm.network", seconds = time.as_secs(), "nobody confirmed: the change is undone");
                    let left = undo(pending);
                    return Err(NetworkError::NotConfirmed { left });
                }
                Waited::Lost => {
                    tracing::warn!(target: "vdsm.network", "root died before the change was confirmed: its next start undoes it");
                    let left = undo(pending);
                    return Err(NetworkError::Orphaned { left });
                }
            }
        }
        Ok(pending.confirm()?)
    }

    /// `Host.setupNetworks` with `dryRun`: what would be done.
    pub fn foresee(&self, request: &SetupRequest) -> Result<Foreseen, NetworkError> {
        let _taken = self.turn.take()?;
        let desired = self.desired(request)?;
        let config = desired.after.clone();
        let plan = self.root.plan(desired)?;
        let mut info = self.info_of(&plan.result, &config, Some(&foreseen(&plan)));
        let persistent = self.persistent();
        info.dirty = !request.options.commit_on_success && !same(&config, &persistent);
        Ok(Foreseen { plan, info })
    }

    /// What a request makes of what is there, refused where it cannot be.
    fn desired(&self, request: &SetupRequest) -> Result<Desired, NetworkError> {
        for line in of_strangers(&request.strangers()) {
            tracing::warn!(target: "vdsm.network", "{line}");
        }
        let (running, problems) = self.observer.running()?;
        tell(&problems);
        let current = self.observer.current()?;
        let desired = canonicalize(request, &running, &current)?;
        validate(&current, &desired)?;
        Ok(desired)
    }

    /// What was set up last.
    pub fn running(&self) -> Result<Config, NetworkError> {
        self.observer.running().map(|(config, _)| config)
    }

    /// `Host.confirmConnectivity`.
    pub fn confirm(&self) {
        self.confirmations.note();
    }

    /// `Host.setSafeNetworkConfig`.
    pub fn set_safe(&self) -> Result<(), NetworkError> {
        let _taken = self.turn.take()?;
        self.root.persist()?;
        self.look_for_dirt();
        Ok(())
    }

    /// The networks part of the capabilities. Answers while a change is under way, and without root.
    pub fn info(&self) -> Result<NetworkInfo, NetworkError> {
        let current = self.observer.current()?;
        let (running, problems) = self.observer.running()?;
        tell(&problems);
        let state = match self.root.state() {
            Ok(state) => Some(state),
            Err(error) => {
                tracing::debug!(target: "vdsm.network", %error, "networks without what root knows");
                None
            }
        };
        let mut info = self.info_of(&current, &running, state.as_ref());
        info.dirty = !same(&running, &self.persistent());
        self.dirty.store(info.dirty, Ordering::Relaxed);
        Ok(info)
    }

    fn info_of(&self, current: &Current, config: &Config, root: Option<&RootState>) -> NetworkInfo {
        let figures = self.observer.figures().unwrap_or_else(|error| {
            tracing::warn!(target: "vdsm.network", %error, "interfaces without speed");
            BTreeMap::new()
        });
        NetworkInfo::of(&View {
            current,
            config,
            root,
            figures: &figures,
            shown: &self.shown,
        })
    }

    /// `Host.getLldp`: what neighbours tell those of these cards that are there; none named: all cards.
    pub fn lldp(&self, names: &[String]) -> Result<BTreeMap<String, LldpState>, NetworkError> {
        let asked: BTreeSet<IfName> = if names.is_empty() {
            let all = self.info()?.nics.into_keys();
            all.filter_map(|it| IfName::new(&it).ok()).collect()
        } else {
            let all = names.iter().map(|it| IfName::new(it));
            all.collect::<Result<_, _>>()?
        };
        if asked.is_empty() {
            return Ok(BTreeMap::new());
        }
        let told = self.root.lldp(asked)?.into_iter();
        Ok(told.map(|(nic, it)| (nic.to_string(), it)).collect())
    }

    /// Does the running configuration differ from the one that will come back after a start of the host? As it was seen
    /// last: after each change, and whenever capabilities were asked for.
    pub fn is_dirty(&self) -> bool {
        self.dirty.load(Ordering::Relaxed)
    }

    /// One look, to be compared with the next; nothing while a change is under way, or if nothing can be seen.
    pub fn look(&self) -> Option<Look> {
        let settled = || (!self.turn.is_taken()).then(|| lock(&self.left).clone());
        let (changes, left) = settled()?;
        let digest = self.digest()?;
        let meanwhile = settled()?.0 != changes;
        (!meanwhile).then_some(Look {
            digest,
            changes,
            left,
        })
    }

    fn digest(&self) -> Option<Digest> {
        let current = self.observer.interfaces().ok()?;
        Some(Digest::of(&current, &self.shown))
    }

    fn look_for_dirt(&self) {
        if let Ok((running, _)) = self.observer.running() {
            let dirty = !same(&running, &self.persistent());
            self.dirty.store(dirty, Ordering::Relaxed);
        }
    }

    /// One that cannot be read is told, and counts as empty: a restart would bring nothing back.
    fn persistent(&self) -> Config {
        match self.observer.persistent() {
            Ok((config, _)) => config,
            Err(error) => {
                tracing::warn!(target: "vdsm.network", "{error}");
                Config::default()
            }
        }
    }
}

/// The turn of the one change.
#[derive(Debug, Default)]
struct Turn(AtomicBool);

impl Turn {
    fn take(&self) -> Result<Taken<'_>, NetworkError> {
        if self.0.swap(true, Ordering::AcqRel) {
            return Err(NetworkError::Busy);
        }
        Ok(Taken(&self.0))
    }

    fn is_taken(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Given back when dropped, also by a panic.
struct Taken<'a>(&'a AtomicBool);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn same(running: &Config, persistent: &Config) -> bool {
    running.networks == persistent.networks && running.bonds == persistent.bonds
}

/// What is told of keys that nobody knows: few lines of bounded length, whatever a client sends.
fn of_strangers(keys: &[String]) -> Vec<String> {
    const MOST: usize = 10;
    const LONGEST: usize = 120;
    let mut lines: Vec<String> = keys
        .iter()
        .take(MOST)
        .map(|key| {
            let short: String = key.chars().take(LONGEST).collect();
            format!("{short:?}: nobody knows this key; it is kept in the files")
        })
        .collect();
    let more = keys.len().saturating_sub(MOST);
    if more > 0 {
        lines.push(format!("and {more} more keys that nobody knows"));
    }
    lines
}

fn tell(problems: &[NetError]) {
    for problem in problems {
        tracing::warn!(target: "vdsm.network", "{problem}");
    }
}

/// Has a change undone; answers why it is not known to be, if so.
fn undo(pending: Box<dyn Pending>) -> Option<String> {
    let error = pending.undo().err()?;
    tracing::error!(target: "vdsm.network", %error, "the change is not known to be undone");
    Some(error.to_string())
}

/// What root would know after a plan.
fn foreseen(plan: &Plan) -> RootState {
    RootState {
        clients: plan.result.dhcp.clone(),
        qos: plan.result.qos.clone(),
        ..RootState::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_clients_are_no_lines_of_the_log() {
        let forged = "networks.a.x\n2026-01-01 ERROR forged".to_owned();
        let mut keys = vec![forged, "y".repeat(1 << 20)];
        keys.extend((0..100_000).map(|it| format!("networks.a.{it}")));
        let lines = of_strangers(&keys);
        assert_eq!(lines.len(), 11);
        assert!(lines.iter().all(|it| !it.contains('\n') && it.len() < 400));
        assert!(
            lines[0].starts_with(r#""networks.a.x\n2026"#),
            "{}",
            lines[0]
        );
        assert_eq!(
            lines.last().map(String::as_str),
            Some("and 99992 more keys that nobody knows")
        );
        assert!(of_strangers(&[]).is_empty());
    }
}
