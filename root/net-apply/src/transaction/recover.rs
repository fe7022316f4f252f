//! What a death in the middle of a change means for the next start, and for the next change.

use std::time::Instant;

use net_model::plan;
use privileged::{NetworkSet, PendingStage, Recovered};

use super::{
    ChangeError, Ticket, Transactions, chain,
    journal::{Journal, Left, Record},
    lock,
};

impl Transactions {
    /// Ends what a death in the middle of a change has left: undone if it was not confirmed, stored if it was. Nothing was left: nothing
    /// is done. Call it at the start; every change does, too.
    pub fn recover(&self, until: Instant) -> Result<Option<Recovered>, ChangeError> {
        let ticket = self.ticket(None)?;
        self.recover_holding(&ticket, until)
    }

    pub(crate) fn recover_holding(
        &self,
        ticket: &Ticket,
        until: Instant,
    ) -> Result<Option<Recovered>, ChangeError> {
        let journal = self.journal()?;
        let Some(left) = journal.left().map_err(ChangeError::Journal)? else {
            return Ok(None);
        };
        if let Left::Open(record) | Left::Confirmed(record) = &left
            && record.boot == self.places.boot
        {
            // Who cannot see what is there can neither undo it nor say that it is done: the journal stays.
            self.machine.current(until).map_err(ChangeError::Unknown)?;
        }
        let recovered = match left {
            Left::Damaged(why) => Recovered::Left { what: vec![why] },
            Left::Confirmed(record) if self.lasts(&record, until) => {
                ticket.stage(PendingStage::Storing);
                self.finish(&journal, &record, until)
            }
            Left::Confirmed(record) | Left::Open(record) => {
                ticket.stage(PendingStage::Undoing);
                self.undo_left(&journal, &record, until)
            }
        };
        // It may have died after others were told what would be ours.
        self.own_running();
        journal.end().map_err(ChangeError::Journal)?;
        match &recovered {
            Recovered::Left { what } => tracing::error!(
                ?what,
                "a change of networks was cut off, and not all is as before"
            ),
            other => tracing::warn!(?other, "a change of networks was cut off"),
        }
        lock(&self.told).recovered = Some(recovered.clone());
        Ok(Some(recovered))
    }

    /// A confirmed change lasts if its files do already, if the host was started anew (restoration makes the kernel follow the
    /// files), or if the kernel still has it.
    fn lasts(&self, record: &Record, until: Instant) -> bool {
        if record.boot != self.places.boot || self.is_stored(record) {
            return true;
        }
        let desired = &record.desired;
        let Ok(mut current) = self.machine.current(until) else {
            return false;
        };
        current.assume(&desired.after);
        current.overlook_duplicates();
        let Ok(tables) = self.allotted(&[&desired.before, &desired.after], &current) else {
            return false;
        };
        plan(&current, desired, &tables).is_ok_and(|it| it.is_empty())
    }

    fn is_stored(&self, record: &Record) -> bool {
        let running = self.read(NetworkSet::Running);
        running.is_ok_and(|it| it.there && it.netconf.config().0 == record.desired.after)
    }

    /// Stores what was confirmed; where that cannot be, the change goes.
    fn finish(&self, journal: &Journal, record: &Record, until: Instant) -> Recovered {
        match self.store_confirmed(record) {
            Ok(()) => Recovered::Finished {},
            Err(error) => {
                tracing::error!(
                    error = chain(&error),
                    "a confirmed change cannot be stored, so it is undone"
                );
                self.undo_left(journal, record, until)
            }
        }
    }

    fn store_confirmed(&self, record: &Record) -> Result<(), ChangeError> {
        let _files = self.files();
        let running = self.read(NetworkSet::Running)?;
        let new = running.netconf.updated(&record.desired.after);
        if !running.there || running.netconf != new {
            self.store_one(NetworkSet::Running, &new)?;
        }
        let persistent = self.read(NetworkSet::Persistent)?;
        if record.persist && (!persistent.there || persistent.netconf != new) {
            self.store_one(NetworkSet::Persistent, &new)?;
        }
        let persistent = self.read(NetworkSet::Persistent)?.netconf.config().0;
        self.forget_tables(&[&record.desired.after, &persistent]);
        Ok(())
    }

    fn undo_left(&self, journal: &Journal, record: &Record, until: Instant) -> Recovered {
        for set in [NetworkSet::Running, NetworkSet::Persistent] {
            if let Ok(folder) = self.set(set) {
                folder.abandon();
            }
        }
        let steps = record.undo(journal.begun(record));
        if record.boot != self.places.boot {
            // The host was started anew: nothing of it is there any more.
            return Recovered::Undone { steps: 0 };
        }
        let left = self.back(record, &steps, until);
        if left.is_empty() {
            let steps = steps.len() as u64;
            Recovered::Undone { steps }
        } else {
            Recovered::Left { what: left }
        }
    }
}
