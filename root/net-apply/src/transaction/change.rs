//! A change between its making and its end.

use std::time::{Duration, Instant};

use net_model::{Plan, Planned, Tables, netconf::generations::Act, undo};
use privileged::{Applied, NetworkSet, PendingStage, Stored};

use super::{
    ChangeError, Journal, Point, Record, Ticket, Transactions, UNDO_WITHIN, lines, millis,
};
use crate::store::{Prepared, Set};

/// A change that was made and verified. Dropped without a word, it is undone.
#[must_use = "dropping it undoes the change"]
pub struct Change<'a> {
    pub(super) all: &'a Transactions,
    pub(super) ticket: Option<Ticket>,
    pub(super) journal: Journal,
    pub(super) record: Record,
    pub(super) plan: Plan,
    pub(super) tables: Tables,
    pub(super) took: Duration,
    /// Steps that were done, or may have been.
    pub(super) done: Vec<Planned>,
    /// Confirmed or undone.
    pub(super) over: bool,
}

impl std::fmt::Debug for Change<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Change")
            .field("id", &self.record.id)
            .finish_non_exhaustive()
    }
}

/// One of the two sets, prepared.
struct Half {
    set: NetworkSet,
    folder: Set,
    prepared: Prepared,
    /// What was in force.
    old: Option<String>,
}

impl Change<'_> {
    /// As the asker is told.
    pub fn applied(&self) -> Applied {
        Applied {
            steps: self.plan.steps.iter().map(Planned::to_string).collect(),
            took_ms: millis(self.took),
        }
    }

    /// Makes it last.
    ///
    /// # Errors
    /// It could not be stored, and is undone.
    pub fn confirm(mut self) -> Result<Stored, ChangeError> {
        self.over = true;
        self.all.at(&Point::Asked);
        self.stage(PendingStage::Storing);
        let done = {
            let _files = self.all.files();
            self.store()
        };
        done.map_err(|why| self.undone(why))
    }

    /// Undoes it.
    ///
    /// # Errors
    /// Only [`ChangeError::Left`]: not all is as before.
    pub fn undo(mut self) -> Result<(), ChangeError> {
        self.over = true;
        match self.undone(ChangeError::Unconfirmed) {
            left @ ChangeError::Left { .. } => Err(left),
            _ => Ok(()),
        }
    }

    /// Runs and verifies it.
    pub(super) fn made(mut self, began: Instant, until: Instant) -> Result<Self, ChangeError> {
        self.stage(PendingStage::Running);
        match self.run(until) {
            Ok(()) => {
                self.all.at(&Point::Verified);
                self.took = began.elapsed();
                self.stage(PendingStage::Unconfirmed);
                Ok(self)
            }
            Err(why) => {
                self.over = true;
                Err(self.undone(why))
            }
        }
    }

    fn run(&mut self, until: Instant) -> Result<(), ChangeError> {
        for steps in self.plan.steps.chunk_by(|a, b| a.stage == b.stage) {
            if let Some(first) = steps.first() {
                self.journal.stage();
                self.all.at(&Point::Stage(first.stage));
            }
            match self.all.machine.run(steps, until) {
                Ok(()) => self.done.extend_from_slice(steps),
                Err(halted) => {
                    let places = halted.places();
                    self.done
                        .extend(places.iter().filter_map(|it| steps.get(*it).cloned()));
                    // A route from an address that is not used is refused, too: duplicates say why.
                    let found = self.all.no_duplicates(&self.record.desired, until);
                    let reason = found.err();
                    let reason = reason.filter(|it| matches!(it, ChangeError::Duplicates { .. }));
                    return Err(reason.unwrap_or(ChangeError::Halted(halted.source)));
                }
            }
        }
        let left = self
            .all
            .settled(&self.record.desired, &self.tables, until)?;
        if !left.is_empty() {
            let missing = lines(left.steps.iter().map(Planned::to_string));
            return Err(ChangeError::Unverified { missing });
        }
        self.all.unique(&self.record.desired, until)
    }

    fn stage(&self, stage: PendingStage) {
        if let Some(ticket) = &self.ticket {
            ticket.stage(stage);
        }
    }

    /// Undoes, and says why; with what is not as before, if anything.
    fn undone(&self, why: ChangeError) -> ChangeError {
        self.stage(PendingStage::Undoing);
        tracing::warn!(why = super::chain(&why), "the change of networks is undone");
        let until = Instant::now() + UNDO_WITHIN;
        let left = self.all.back(&self.record, &undo(&self.done), until);
        if left.is_empty() {
            self.end();
            return why;
        }
        // The journal stays: whoever starts or changes next tries again.
        ChangeError::Left {
            source: Box::new(why),
            left,
        }
    }

    /// Steps 5 to 7 of `mod.rs`.
    fn store(&self) -> Result<Stored, ChangeError> {
        let all = self.all;
        let running = all.read(NetworkSet::Running)?.netconf;
        let new = running.updated(&self.record.desired.after);
        let mut halves = Vec::new();
        let sets = [NetworkSet::Running, NetworkSet::Persistent];
        for set in sets.into_iter().take(1 + usize::from(self.record.persist)) {
            match self.half(set, &new) {
                Ok(half) => halves.extend(half),
                Err(error) => {
                    for it in &halves {
                        it.folder.abandon();
                    }
                    return Err(error);
                }
            }
        }
        all.at(&Point::Prepared);
        let done = self
            .journal
            .confirm(&self.record.id)
            .map_err(ChangeError::Journal)
            .and_then(|()| {
                all.at(&Point::Word);
                self.commit(&halves)
            });
        if let Err(error) = done {
            self.take_back(&halves);
            return Err(error);
        }
        all.at(&Point::Stored);
        // It lasts: nothing that fails from here on undoes it.
        if let Ok(persistent) = all.read(NetworkSet::Persistent) {
            let persistent = persistent.netconf.config().0;
            all.forget_tables(&[&self.record.desired.after, &persistent]);
        }
        self.end();
        Ok(all.stored().unwrap_or_default())
    }

    /// Prepares a set; nothing if it says so already.
    fn half(
        &self,
        set: NetworkSet,
        netconf: &net_model::netconf::Netconf,
    ) -> Result<Option<Half>, ChangeError> {
        let found = self.all.read(set)?;
        if found.there && found.netconf == *netconf && found.problems.is_empty() {
            return Ok(None);
        }
        let folder = self.all.set(set)?;
        let old = folder.listing().map_err(ChangeError::Store)?.target;
        let watch = |act: &Act| self.all.at(&Point::Act(set, act.clone()));
        let prepared = folder
            .prepare(netconf, &watch)
            .map_err(ChangeError::Store)?;
        Ok(Some(Half {
            set,
            folder,
            prepared,
            old,
        }))
    }

    fn commit(&self, halves: &[Half]) -> Result<(), ChangeError> {
        for half in halves {
            let watch = |act: &Act| self.all.at(&Point::Act(half.set, act.clone()));
            let done = half.folder.commit(&half.prepared, &watch);
            done.map_err(ChangeError::Store)?;
        }
        Ok(())
    }

    /// The sets as they were, and no word, as far as the disk allows.
    fn take_back(&self, halves: &[Half]) {
        for half in halves {
            let back = half.folder.listing().and_then(|it| {
                if it.target == half.old {
                    return Ok(());
                }
                // A plain folder has become the generation before.
                let old = half.old.clone().or_else(|| it.before(1));
                half.folder.point_back(old.as_deref())
            });
            if let Err(error) = back {
                tracing::error!(%error, set = %half.set, "network files are not as before");
            }
            half.folder.abandon();
        }
        if let Err(error) = self.journal.take_back() {
            tracing::error!(%error, "the journal says that the change lasts, yet it is undone");
        }
    }

    fn end(&self) {
        // As long as the journal is there the next start does this.
        if !self.plan.is_empty() {
            self.all.own_running();
        }
        if let Err(error) = self.journal.end() {
            tracing::error!(%error, "the journal of a change that is over stays");
        }
        self.all.at(&Point::Done);
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.over = true;
            let error = self.undone(ChangeError::Unconfirmed);
            if let ChangeError::Left { .. } = error {
                tracing::error!(%error, "a change of networks");
            }
        }
    }
}
