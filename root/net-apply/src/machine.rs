//! What a transaction changes: the host's network, or a model of it.

use std::time::Instant;

use net_model::{Current, Planned, Step};

use crate::{ApplyError, managers::Held};

/// The network of a host, in the hands of a transaction.
///
/// Nothing here decides: steps come planned, each with its undo. All calls end at `until`, whatever hangs.
pub trait Machine: Send + Sync {
    /// What is there now, with shaping and DHCP clients.
    fn current(&self, until: Instant) -> Result<Current, ApplyError>;

    /// Runs steps in their order; lanes ([`net_model::Plan::lanes`]) may run at the same time. Idempotent: what is
    /// so already is success. Stops at the first failure, when the lanes that run have come to their end.
    fn run(&self, steps: &[Planned], until: Instant) -> Result<(), Halted>;

    /// These interfaces are the host's networks' from now on, and no others: whoever else manages the host's network
    /// leaves them alone. Idempotent. True if somebody let go of one just now: what was read before may not hold.
    fn own(&self, _held: &Held, _until: Instant) -> Result<bool, ApplyError> {
        Ok(false)
    }

    /// Runs steps that undo, in their order, over every failure; answers what failed.
    fn undo(&self, steps: &[Step], until: Instant) -> Vec<ApplyError>;
}

/// A run that came to a halt.
#[derive(Debug, thiserror::Error)]
#[error("step {failed} failed")]
pub struct Halted {
    /// Which steps were done, by their places in the run, rising. With lanes it need not be the first so many.
    pub done: Vec<usize>,
    /// The place of the step that failed; whether it changed something is not known.
    pub failed: usize,
    /// Why.
    pub source: ApplyError,
    /// What failed in other lanes that ran at the same time.
    pub others: Vec<(usize, ApplyError)>,
}

impl Halted {
    /// Places of all steps that were done or may have been, rising.
    pub fn places(&self) -> Vec<usize> {
        let failed = std::iter::once(self.failed).chain(self.others.iter().map(|it| it.0));
        let mut places: Vec<usize> = self.done.iter().copied().chain(failed).collect();
        places.sort_unstable();
        places.dedup();
        places
    }
}
