//! A small world for the storage policy: files, `qemu-img`, cluster lock, clock and journal in memory, with
//! faults at any call.
//!
//! Every call of every port goes through one counter. A kill at call N lets the calls before it have their
//! effect and none after: what the process still does on its way out changes nothing. Then
//! [`StorageWorld::restart`] begins the next process on the same storage.
//!
//! Files are in `storage_files.rs`, `qemu-img` in `storage_qemu.rs`.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use storage_model::ports::{
    ClusterLock, ClusterLockError, DomainLock, HostLease, Journal, JournalError, Ownership,
    OwnershipError, UndoStep, WallClock,
};
use uuid::Uuid;

use crate::storage_files::Tree;

/// What happens at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process is killed before the call has any effect.
    Kill,
    /// The process is killed in the middle: calls of several steps have had the first ones.
    KillHalfway,
    /// The call fails with this kind of error, once.
    Error(io::ErrorKind),
}

/// The world.
#[derive(Clone, Default)]
pub struct StorageWorld {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Default)]
pub(crate) struct Inner {
    pub(crate) state: Mutex<State>,
    unhung: Condvar,
}

/// All that is in the world.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) tree: Tree,
    pub(crate) calls: u64,
    pub(crate) dead: bool,
    pub(crate) read_only: bool,
    pub(crate) full: bool,
    pub(crate) block_size: Option<u32>,
    /// Folders that are not the agent's.
    pub(crate) foreign: BTreeSet<PathBuf>,
    helper: Helper,
    faults: BTreeMap<u64, Fault>,
    hung: BTreeSet<PathBuf>,
    patience: Duration,
    locks: BTreeMap<Uuid, LockState>,
}

/// The root helper.
#[derive(Default)]
struct Helper {
    allowed: Vec<PathBuf>,
    asked: Vec<PathBuf>,
    dies: bool,
}

#[derive(Default, Clone)]
struct LockState {
    host_id: Option<u32>,
    owner: Option<u32>,
    other: Option<u32>,
    version: u64,
}

/// Does a call go on, and how far?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Go {
    /// All of it.
    On,
    /// Only its first steps.
    Halfway,
}

impl StorageWorld {
    /// An empty world; `dirs` are made with those above them.
    pub fn new(dirs: &[&str]) -> Self {
        let world = Self::default();
        {
            let mut state = world.state();
            state.patience = Duration::from_millis(200);
            for dir in dirs {
                state.tree.make_dirs(Path::new(dir));
            }
        }
        world
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Lets `fault` happen at the `call`th call from now (1 is the next).
    pub fn fault_in(&self, call: u64, fault: Fault) {
        let mut state = self.state();
        let at = state.calls + call;
        state.faults.insert(at, fault);
    }

    /// Was the process killed?
    pub fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// The next process begins: no faults are left, locks of the old one are gone.
    pub fn restart(&self) {
        let mut state = self.state();
        state.dead = false;
        state.faults.clear();
        for lock in state.locks.values_mut() {
            lock.host_id = None;
            lock.owner = None;
        }
    }

    /// Nothing can be written any more, or again.
    pub fn set_read_only(&self, read_only: bool) {
        self.state().read_only = read_only;
    }

    /// A folder becomes someone else's.
    pub fn set_foreign(&self, folder: impl Into<PathBuf>) {
        self.state().foreign.insert(folder.into());
    }

    /// Beneath these the root helper gives folders to the agent.
    pub fn allow_roots(&self, roots: &[&str]) {
        self.state().helper.allowed = roots.iter().map(PathBuf::from).collect();
    }

    /// The root helper is killed after each act, before it answers.
    pub fn helper_dies_after_the_act(&self) {
        self.state().helper.dies = true;
    }

    /// What the root helper was asked for.
    pub fn helper_asked(&self) -> Vec<PathBuf> {
        self.state().helper.asked.clone()
    }

    /// There is no space any more, or again.
    pub fn set_full(&self, full: bool) {
        self.state().full = full;
    }

    /// Block size of direct I/O that is found; 512 if nothing is said.
    pub fn set_block_size(&self, size: u32) {
        self.state().block_size = Some(size);
    }

    /// Calls on this path and below hang for `patience`, then fail with `TimedOut`.
    pub fn hang(&self, path: impl Into<PathBuf>, patience: Duration) {
        let mut state = self.state();
        state.hung.insert(path.into());
        state.patience = patience;
    }

    /// Nothing hangs any more.
    pub fn unhang(&self) {
        self.state().hung.clear();
        self.inner.unhung.notify_all();
    }

    /// Another host takes the lease of a domain, or gives it back.
    pub fn other_host_owns(&self, domain: Uuid, host_id: Option<u32>) {
        self.state().locks.entry(domain).or_default().other = host_id;
    }

    /// Every path of the world, sorted; folders end with `/`, links show their target.
    pub fn paths(&self) -> Vec<String> {
        self.state().tree.paths()
    }

    /// Changes the bytes of a file behind everybody's back.
    pub fn scribble(&self, path: &str, data: &[u8]) {
        self.state().tree.scribble(Path::new(path), data);
    }

    /// Counts a call, lets its fault happen and waits while its path hangs.
    pub(crate) fn enter(&self, path: &Path) -> io::Result<(MutexGuard<'_, State>, Go)> {
        let mut state = self.state();
        let deadline = Instant::now() + state.patience;
        while state.hangs(path) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            state = self
                .inner
                .unhung
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        let go = state.count()?;
        Ok((state, go))
    }
}

impl State {
    fn hangs(&self, path: &Path) -> bool {
        let real = self
            .tree
            .resolve_parents(path)
            .unwrap_or_else(|_| path.to_path_buf());
        self.hung
            .iter()
            .any(|hung| path.starts_with(hung) || real.starts_with(hung))
    }

    fn count(&mut self) -> io::Result<Go> {
        if self.dead {
            return Err(killed());
        }
        self.calls += 1;
        match self.faults.remove(&self.calls) {
            None => Ok(Go::On),
            Some(Fault::Error(kind)) => Err(kind.into()),
            Some(Fault::Kill) => {
                self.dead = true;
                Err(killed())
            }
            Some(Fault::KillHalfway) => {
                self.dead = true;
                Ok(Go::Halfway)
            }
        }
    }

    /// May storage be changed?
    pub(crate) fn writable(&self) -> io::Result<()> {
        if self.read_only {
            Err(io::ErrorKind::ReadOnlyFilesystem.into())
        } else {
            Ok(())
        }
    }

    /// May storage grow?
    pub(crate) fn growable(&self) -> io::Result<()> {
        self.writable()?;
        if self.full {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            Ok(())
        }
    }
}

pub(crate) fn killed() -> io::Error {
    io::Error::other("the process was killed")
}

impl Ownership for StorageWorld {
    fn take(&self, folder: &Path) -> Result<(), OwnershipError> {
        let unknown = |error: io::Error| OwnershipError::Unknown(error.to_string());
        let (mut state, go) = self.enter(folder).map_err(unknown)?;
        state.helper.asked.push(folder.to_owned());
        let beneath = |root: &PathBuf| folder.starts_with(root) && folder != root;
        if !state.helper.allowed.iter().any(beneath) {
            return Err(OwnershipError::Outside(folder.to_owned()));
        }
        state.foreign.remove(folder);
        if go == Go::Halfway || state.helper.dies {
            return Err(unknown(killed()));
        }
        Ok(())
    }
}

impl WallClock for StorageWorld {
    fn now(&self) -> u64 {
        1_700_000_000
    }
}

impl StorageWorld {
    fn lock_call<T>(
        &self,
        verb: &str,
        lock: &DomainLock,
        act: impl FnOnce(&mut LockState) -> Result<T, ClusterLockError>,
    ) -> Result<T, ClusterLockError> {
        match self.enter(&lock.ids_path) {
            Ok((mut state, Go::On)) => act(state.locks.entry(lock.domain).or_default()),
            Ok((_, Go::Halfway)) => Err(failed(verb, &killed())),
            Err(error) => Err(failed(verb, &error)),
        }
    }
}

fn failed(verb: &str, error: &io::Error) -> ClusterLockError {
    ClusterLockError::Failed {
        verb: verb.to_owned(),
        code: -5,
        why: error.to_string(),
    }
}

fn held(what: &str, why: impl ToString) -> ClusterLockError {
    ClusterLockError::Held {
        what: what.to_owned(),
        why: why.to_string(),
    }
}

impl ClusterLock for StorageWorld {
    fn kind(&self) -> &'static str {
        "sim"
    }

    fn host_lease(&self, domain: Uuid, host_id: u32) -> Result<HostLease, ClusterLockError> {
        let world = self.state();
        let there = world.locks.get(&domain).map(|it| [it.host_id, it.other]);
        Ok(match there {
            Some(hosts) if hosts.contains(&Some(host_id)) => HostLease::Live,
            _ => HostLease::Free,
        })
    }

    fn initialize(&self, lock: &DomainLock) -> Result<(), ClusterLockError> {
        self.lock_call("initialize", lock, |state| {
            *state = LockState::default();
            Ok(())
        })
    }

    fn acquire_host_id(&self, lock: &DomainLock, host_id: u32) -> Result<(), ClusterLockError> {
        self.lock_call("acquire_host_id", lock, |state| match state.host_id {
            Some(other) if other != host_id => Err(held("host id", other)),
            _ => {
                state.host_id = Some(host_id);
                Ok(())
            }
        })
    }

    fn release_host_id(&self, lock: &DomainLock, host_id: u32) -> Result<(), ClusterLockError> {
        self.lock_call("release_host_id", lock, |state| {
            if state.owner.is_some() {
                return Err(held("lease", "it is still acquired"));
            }
            match state.host_id {
                Some(other) if other != host_id => Err(held("host id", other)),
                _ => {
                    state.host_id = None;
                    Ok(())
                }
            }
        })
    }

    fn has_host_id(&self, lock: &DomainLock, host_id: u32) -> Result<bool, ClusterLockError> {
        self.lock_call("has_host_id", lock, |state| {
            Ok(state.host_id == Some(host_id))
        })
    }

    fn acquire(&self, lock: &DomainLock, host_id: u32) -> Result<(), ClusterLockError> {
        self.lock_call("acquire", lock, |state| {
            if let Some(other) = state.other {
                return Err(held("SDM", other));
            }
            if state.host_id != Some(host_id) {
                return Err(held("SDM", "no host id"));
            }
            if state.owner.is_none() {
                state.owner = Some(host_id);
                state.version += 1;
            }
            Ok(())
        })
    }

    fn release(&self, lock: &DomainLock) -> Result<(), ClusterLockError> {
        self.lock_call("release", lock, |state| {
            state.owner = None;
            Ok(())
        })
    }

    fn inquire(&self, lock: &DomainLock) -> Result<Option<(u32, u64)>, ClusterLockError> {
        self.lock_call("inquire", lock, |state| {
            Ok(state
                .other
                .or(state.owner)
                .map(|host| (host, state.version)))
        })
    }
}

/// A journal that is as durable as the world: steps that were pushed before a kill are there after it.
#[derive(Clone)]
pub struct SimJournal {
    world: StorageWorld,
    steps: Arc<Mutex<Vec<UndoStep>>>,
    cancel_at: u8,
    percent: Arc<AtomicU8>,
}

impl SimJournal {
    /// An empty one.
    pub fn new(world: &StorageWorld) -> Self {
        Self {
            world: world.clone(),
            steps: Arc::default(),
            cancel_at: u8::MAX,
            percent: Arc::default(),
        }
    }

    /// Somebody asks to stop when so many percent are done.
    #[must_use]
    pub fn cancelled_at(mut self, percent: u8) -> Self {
        self.cancel_at = percent;
        self
    }

    /// The steps, in the order in which they must be undone: last first.
    pub fn undo_order(&self) -> Vec<UndoStep> {
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        steps.iter().rev().cloned().collect()
    }

    /// Percent done.
    pub fn percent(&self) -> u8 {
        self.percent.load(Ordering::Relaxed)
    }
}

impl Journal for SimJournal {
    fn push_undo(&self, step: UndoStep) -> Result<(), JournalError> {
        match self.world.enter(Path::new("/journal")) {
            Ok((_, go)) => {
                self.steps
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(step);
                // killed after the step was persisted
                if go == Go::On {
                    Ok(())
                } else {
                    Err(JournalError("killed".to_owned()))
                }
            }
            Err(error) => Err(JournalError(error.to_string())),
        }
    }

    fn progress(&self, percent: u8) {
        self.percent.store(percent, Ordering::Relaxed);
    }

    fn cancelled(&self) -> bool {
        self.percent() >= self.cancel_at
    }
}
