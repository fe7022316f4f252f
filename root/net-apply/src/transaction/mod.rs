//! A change of networks that is made whole or not at all.
//!
//! ```text
//!            validate, plan         run, verify              confirm             store
//!  (idle) ───────────────▶ planned ───────────▶ unconfirmed ─────────▶ confirmed ───────▶ (idle)
//!                             │ journal            │                      │
//!                             └──── undo ◀─────────┴──────────────────────┘ (files cannot be written)
//! ```
//!
//! The order of acts, with what a death after each means for the next start ([`Transactions::recover`]):
//!
//! 1. read the files and the kernel; refuse what cannot be; allot tables; plan. *Nothing has changed.*
//! 2. tables on disk (more than needed does no harm), then the journal with the undo of every stage; then other managers of the
//!    network are told what will be ours. *Undone: they are told what is ours.*
//! 3. run, stage by stage; verify: the plan of what is reached is empty, and nobody else has its IPv6 addresses. *Undone.*
//! 4. tell the asker, wait for its word. *Undone.*
//! 5. confirmed: prepare both sets of files beside those in force, synced. *Undone; the files are left over.*
//! 6. the word into the journal: from here on the change lasts. *The storing is finished (if the kernel still has the change, or the host
//!    was started anew; else undone).*
//! 7. both sets in force, by a rename each; forget tables; remove the journal, then the word.
//!
//! A failure at 3 to 7 undoes. Where undoing by the journal does not end in what was before, a plan back is made and run; what is
//! still not as before then is told.
//!
//! Look next: `journal.rs` (the records), `undo.rs` (back), `recover.rs` (after a death), `likeness.rs` (as before?),
//! `tables.rs`, `error.rs`; `../store.rs` writes the sets, `../restore.rs` restores at boot.

mod change;
mod error;
mod journal;
mod likeness;
mod recover;
mod tables;
mod undo;

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use net_model::{
    Config, Current, Desired, Plan, Stage, Tables,
    duplicates::{self, Uniqueness},
    netconf::{Netconf, generations::Act},
    plan, validate,
};
use observe::netconf::{Found, Netconfs};
use privileged::{NetworkSet, NetworkState, Pending, PendingStage, Recovered, Restored, Stored};

pub use change::Change;
pub use error::ChangeError;
pub(crate) use error::chain;
pub(crate) use tables::save as save_tables;

use crate::{ApplyError, Machine, managers::Held, store};
use journal::{Journal, Record};

/// For undoing, beyond a change's own deadline.
const UNDO_WITHIN: Duration = Duration::from_mins(1);

/// For other managers of the network to let go.
const OTHERS_WITHIN: Duration = Duration::from_secs(20);

/// Between two looks at whether it has settled.
const SETTLE_PAUSE: Duration = Duration::from_millis(100);

/// Most lines of what is missing or left that are told.
const MOST_LINES: usize = 20;

/// Where things are kept, and how long is waited for the kernel.
#[derive(Debug, Clone)]
pub struct Places {
    /// The two sets of files.
    pub netconfs: Netconfs,
    /// Folder of the journal and the tables, root's own.
    pub state: PathBuf,
    /// There if networks were restored since the host started, as upstream has it (`/run/vdsm/nets_restored`).
    pub restored: PathBuf,
    /// Where the kernel shows its devices: `/sys`.
    pub sysfs: PathBuf,
    /// Tells one start of the host from another (`/proc/sys/kernel/random/boot_id`).
    pub boot: String,
    /// How long the kernel may take to show what it was told, before a change counts as not made: 5 s.
    pub settle: Duration,
}

/// Where a change or restoration is: for logs, and for whoever wants to stop it there.
#[derive(Debug, Clone, PartialEq)]
pub enum Point {
    /// The tables are on disk.
    Tables,
    /// The journal is.
    Journal,
    /// A stage of the plan begins.
    Stage(Stage),
    /// All is run and verified.
    Verified,
    /// The asker has confirmed.
    Asked,
    /// An act on files is about to be done.
    Act(NetworkSet, Act),
    /// Both sets are prepared.
    Prepared,
    /// The word is in the journal.
    Word,
    /// Both sets are in force.
    Stored,
    /// The journal is removed.
    Done,
    /// Undoing begins.
    Undoing,
    /// It is undone; the journal is still there.
    Undone,
}

/// Is told where a change is.
pub trait Watcher: Send + Sync {
    /// It is here.
    fn at(&self, point: &Point);
}

/// Watches by writing to the log.
#[derive(Debug, Clone, Copy, Default)]
pub struct Logged;

impl Watcher for Logged {
    fn at(&self, point: &Point) {
        match point {
            Point::Act(set, act) => tracing::trace!(%set, ?act, "network files"),
            other => tracing::debug!(point = ?other, "change of networks"),
        }
    }
}

/// All changes of the host's networks, one at a time.
pub struct Transactions {
    pub(crate) machine: Arc<dyn Machine>,
    pub(crate) places: Places,
    pub(crate) watcher: Arc<dyn Watcher>,
    ticket: Arc<Mutex<Option<Under>>>,
    /// Held while files are written.
    files: Mutex<()>,
    pub(crate) told: Mutex<Told>,
}

/// What is remembered for [`NetworkState`].
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) restored: Option<Restored>,
    pub(crate) recovered: Option<Recovered>,
}

/// A change under way.
#[derive(Debug)]
struct Under {
    since: Instant,
    stage: PendingStage,
    pid: Option<u32>,
    steps: usize,
}

/// The right to change; given back when dropped.
pub(crate) struct Ticket(Arc<Mutex<Option<Under>>>);

/// What a change is asked for with.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The change.
    pub desired: Desired,
    /// Into the persistent set, too.
    pub persist: bool,
    /// For reading, planning, running and verifying.
    pub until: Instant,
    /// Process that asks.
    pub pid: Option<u32>,
}

impl fmt::Debug for Transactions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transactions")
            .field("places", &self.places)
            .finish_non_exhaustive()
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ticket {
    pub(crate) fn stage(&self, stage: PendingStage) {
        if let Some(under) = lock(&self.0).as_mut() {
            under.stage = stage;
        }
    }

    fn steps(&self, steps: usize) {
        if let Some(under) = lock(&self.0).as_mut() {
            under.steps = steps;
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        *lock(&self.0) = None;
    }
}

impl Transactions {
    /// Nothing is done yet: call [`Self::recover`] first.
    pub fn new(machine: Arc<dyn Machine>, places: Places, watcher: Arc<dyn Watcher>) -> Self {
        Self {
            machine,
            places,
            watcher,
            ticket: Arc::default(),
            files: Mutex::default(),
            told: Mutex::default(),
        }
    }

    /// Makes a change: afterwards it is there, verified, and goes away with what is answered unless that is confirmed.
    ///
    /// # Errors
    /// All is as before, but for [`ChangeError::Left`], which says what is not.
    pub fn begin(&self, asked: Asked) -> Result<Change<'_>, ChangeError> {
        let began = Instant::now();
        let ticket = self.ticket(asked.pid)?;
        self.recover_holding(&ticket, asked.until)?;
        let running = self.read(NetworkSet::Running)?;
        if asked.desired.before != running.netconf.config().0 {
            return Err(ChangeError::Stale);
        }
        let ready = self.ready(&asked.desired, asked.until)?;
        let journal = self.journal()?;
        let written = self.write_down(&asked, &ready, &journal);
        let ours = written.and_then(|record| self.ours(&asked, &journal, ready, record));
        let (ready, record) = match ours {
            Ok(ours) => ours,
            Err(error) => {
                // Nothing was begun. A record that stays is of a change without effects.
                self.own_running();
                if let Err(error) = journal.end() {
                    tracing::error!(%error, "the journal of a change that was not begun stays");
                }
                return Err(error);
            }
        };
        ticket.steps(ready.plan.steps.len());
        let change = Change {
            all: self,
            ticket: Some(ticket),
            journal,
            record,
            plan: ready.plan,
            tables: ready.tables,
            took: Duration::ZERO,
            done: Vec::new(),
            over: false,
        };
        change.made(began, asked.until)
    }

    /// Tables and journal.
    fn write_down(
        &self,
        asked: &Asked,
        ready: &Ready,
        journal: &Journal,
    ) -> Result<Record, ChangeError> {
        tables::save(&self.tables_file(), &ready.tables).map_err(ChangeError::Tables)?;
        self.at(&Point::Tables);
        let (desired, plan) = (asked.desired.clone(), &ready.plan);
        let mut record = Record::new(desired, asked.persist, plan, &self.places.boot);
        record.before = likeness::part(&ready.current, &likeness::touched(&plan.steps));
        journal.begin(&record).map_err(ChangeError::Journal)?;
        self.at(&Point::Journal);
        Ok(record)
    }

    /// What will be ours is let go by others before the first step; if that may have changed something, the plan is
    /// made again.
    fn ours(
        &self,
        asked: &Asked,
        journal: &Journal,
        ready: Ready,
        record: Record,
    ) -> Result<(Ready, Record), ChangeError> {
        if ready.plan.is_empty() {
            return Ok((ready, record));
        }
        let configs = [&asked.desired.before, &asked.desired.after];
        if !self
            .own(&configs, asked.until)
            .map_err(ChangeError::Halted)?
        {
            return Ok((ready, record));
        }
        let ready = self.ready(&asked.desired, asked.until)?;
        let record = self.write_down(asked, &ready, journal)?;
        Ok((ready, record))
    }

    /// Tells other managers of the network that the interfaces of these are ours, and no others.
    pub(crate) fn own(
        &self,
        configs: &[&net_model::Config],
        until: Instant,
    ) -> Result<bool, ApplyError> {
        let until = until.min(Instant::now() + OTHERS_WITHIN);
        self.machine.own(&Held::of(configs), until)
    }

    /// As the running set has it. Failing is told; the next change tries again.
    pub(crate) fn own_running(&self) {
        let Ok(running) = self.read(NetworkSet::Running) else {
            return;
        };
        let until = Instant::now() + OTHERS_WITHIN;
        if let Err(error) = self.own(&[&running.netconf.config().0], until) {
            tracing::warn!(error = chain(&error), "interfaces are not given back");
        }
    }

    /// What would a change do?
    pub fn plan(&self, desired: &Desired, until: Instant) -> Result<Plan, ChangeError> {
        Ok(self.ready(desired, until)?.plan)
    }

    /// The change back to the generation `back` before the one in force.
    pub fn older(&self, set: NetworkSet, back: u16) -> Result<Desired, ChangeError> {
        let link = self.link(set);
        let found = observe::netconf::read_older(link, back.into()).map_err(ChangeError::Files)?;
        let found = found.ok_or(ChangeError::NoGeneration { set, back })?;
        if let Some(problem) = found.problems.into_iter().next() {
            return Err(ChangeError::Invalid(problem));
        }
        let (after, problems) = found.netconf.config();
        if let Some(problem) = problems.into_iter().next() {
            return Err(ChangeError::Invalid(problem));
        }
        let before = self.read(NetworkSet::Running)?.netconf.config().0;
        Ok(Desired {
            before,
            after,
            scope: net_model::Scope::All,
        })
    }

    /// Makes the running set the persistent one.
    pub fn persist(&self) -> Result<Stored, ChangeError> {
        if let Some(under) = lock(&self.ticket).as_ref() {
            let since = under.since.elapsed();
            return Err(ChangeError::Busy { since });
        }
        let _files = lock(&self.files);
        let running = self.read(NetworkSet::Running)?.netconf;
        let persistent = self.read(NetworkSet::Persistent)?;
        if persistent.netconf != running || !persistent.there {
            self.store_one(NetworkSet::Persistent, &running)?;
        }
        self.stored()
    }

    /// What is known here, and nowhere else.
    pub fn state(&self, until: Instant) -> Result<NetworkState, ChangeError> {
        let current = self.machine.current(until).map_err(ChangeError::Unknown)?;
        let pending = lock(&self.ticket).as_ref().map(|it| Pending {
            stage: it.stage,
            since_ms: millis(it.since.elapsed()),
            pid: it.pid,
            steps: it.steps as u64,
        });
        let told = lock(&self.told);
        Ok(NetworkState {
            clients: current.dhcp,
            qos: current.qos,
            tables: tables::load(&self.tables_file()).map_err(ChangeError::Tables)?,
            pending,
            restored: told.restored.clone(),
            recovered: told.recovered.clone(),
            running: self.generations(NetworkSet::Running)?,
            persistent: self.generations(NetworkSet::Persistent)?,
        })
    }

    /// Is a change being made, or does one wait to be confirmed?
    pub fn is_pending(&self) -> bool {
        lock(&self.ticket).is_some()
    }

    pub(crate) fn ticket(&self, pid: Option<u32>) -> Result<Ticket, ChangeError> {
        let mut ticket = lock(&self.ticket);
        if let Some(under) = ticket.as_ref() {
            let since = under.since.elapsed();
            return Err(ChangeError::Busy { since });
        }
        *ticket = Some(Under {
            since: Instant::now(),
            stage: PendingStage::Planning,
            pid,
            steps: 0,
        });
        Ok(Ticket(Arc::clone(&self.ticket)))
    }

    pub(crate) fn at(&self, point: &Point) {
        self.watcher.at(point);
    }

    pub(crate) fn journal(&self) -> Result<Journal, ChangeError> {
        Journal::open(&self.places.state).map_err(ChangeError::Journal)
    }

    pub(crate) fn tables_file(&self) -> PathBuf {
        self.places.state.join("tables.json")
    }

    fn link(&self, set: NetworkSet) -> &std::path::Path {
        match set {
            NetworkSet::Running => &self.places.netconfs.running,
            NetworkSet::Persistent => &self.places.netconfs.persistent,
        }
    }

    /// A set as it is in force; what makes no sense in it is told in the log.
    pub(crate) fn read(&self, set: NetworkSet) -> Result<Found, ChangeError> {
        let found = observe::netconf::read(self.link(set)).map_err(ChangeError::Files)?;
        for problem in &found.problems {
            tracing::error!(%set, %problem, "network files");
        }
        Ok(found)
    }

    /// Everything before the first act.
    fn ready(&self, desired: &Desired, until: Instant) -> Result<Ready, ChangeError> {
        let current = self.machine.current(until).map_err(ChangeError::Unknown)?;
        validate(&current, desired).map_err(ChangeError::Invalid)?;
        let tables = self.allotted(&[&desired.before, &desired.after], &current)?;
        let plan = plan(&current, desired, &tables).map_err(ChangeError::Invalid)?;
        Ok(Ready {
            current,
            tables,
            plan,
        })
    }

    /// The tables with what these need.
    pub(crate) fn allotted(
        &self,
        configs: &[&Config],
        current: &Current,
    ) -> Result<Tables, ChangeError> {
        let mut tables = tables::load(&self.tables_file()).map_err(ChangeError::Tables)?;
        let mut taken = current.tables();
        taken.extend(tables::named());
        for config in configs {
            tables.allot(config, &taken).map_err(ChangeError::Invalid)?;
        }
        Ok(tables)
    }

    /// Waits until nothing is left to do for `desired`; answers what still is.
    pub(crate) fn settled(
        &self,
        desired: &Desired,
        tables: &Tables,
        until: Instant,
    ) -> Result<Plan, ChangeError> {
        let settle = (Instant::now() + self.places.settle).min(until);
        loop {
            let mut current = self.machine.current(until).map_err(ChangeError::Unknown)?;
            current.assume(&desired.after);
            current.overlook_duplicates();
            let left = plan(&current, desired, tables).map_err(ChangeError::Invalid)?;
            if left.is_empty() || Instant::now() >= settle {
                return Ok(left);
            }
            std::thread::sleep(SETTLE_PAUSE);
        }
    }

    /// Waits until the kernel knows of the fixed IPv6 addresses of a change whether other hosts have them. What it does not know by
    /// then counts as good: there may be nobody to answer, and what it finds out later is told by the agent.
    fn unique(&self, desired: &Desired, until: Instant) -> Result<(), ChangeError> {
        let settle = (Instant::now() + self.places.settle).min(until);
        while self.no_duplicates(desired, until)? && Instant::now() < settle {
            std::thread::sleep(SETTLE_PAUSE);
        }
        Ok(())
    }

    /// Is it undecided whether there are any?
    fn no_duplicates(&self, desired: &Desired, until: Instant) -> Result<bool, ChangeError> {
        if !duplicates::has_any(desired) {
            return Ok(false);
        }
        let current = self.machine.current(until).map_err(ChangeError::Unknown)?;
        let Uniqueness {
            duplicates,
            undecided,
        } = duplicates::uniqueness(&current, desired);
        if duplicates.is_empty() {
            return Ok(undecided);
        }
        Err(ChangeError::Duplicates { duplicates })
    }

    pub(crate) fn set(&self, set: NetworkSet) -> Result<store::Set, ChangeError> {
        store::Set::open(self.link(set)).map_err(ChangeError::Store)
    }

    /// One set by itself.
    pub(crate) fn store_one(&self, set: NetworkSet, netconf: &Netconf) -> Result<u64, ChangeError> {
        let folder = self.set(set)?;
        let watch = |act: &Act| self.at(&Point::Act(set, act.clone()));
        let prepared = folder
            .prepare(netconf, &watch)
            .map_err(ChangeError::Store)?;
        folder.commit(&prepared, &watch).map_err(|error| {
            folder.abandon();
            ChangeError::Store(error)
        })
    }

    /// Forgets the tables of networks that are in no set any more. Not being written does no harm.
    pub(crate) fn forget_tables(&self, configs: &[&Config]) {
        let file = self.tables_file();
        let done = tables::load(&file).and_then(|mut tables| {
            tables.forget_others(configs);
            tables::save(&file, &tables)
        });
        if let Err(error) = done {
            tracing::warn!(%error, "tables of removed networks are still remembered");
        }
    }

    pub(crate) fn generations(&self, set: NetworkSet) -> Result<Vec<u64>, ChangeError> {
        let listing = observe::netconf::listing(self.link(set)).map_err(ChangeError::Files)?;
        let all = listing.generations().into_iter();
        Ok(all.map(|(number, _)| number).collect())
    }

    pub(crate) fn stored(&self) -> Result<Stored, ChangeError> {
        Ok(Stored {
            running: self.generations(NetworkSet::Running)?.first().copied(),
            persistent: self.generations(NetworkSet::Persistent)?.first().copied(),
        })
    }

    pub(crate) fn files(&self) -> MutexGuard<'_, ()> {
        lock(&self.files)
    }
}

/// What is known before the first act.
struct Ready {
    current: Current,
    tables: Tables,
    plan: Plan,
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The first lines, and how many more there are.
pub(crate) fn lines(all: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut all: Vec<String> = all.into_iter().collect();
    let more = all.len().saturating_sub(MOST_LINES);
    if more > 0 {
        all.truncate(MOST_LINES);
        all.push(format!("and {more} more"));
    }
    all
}
