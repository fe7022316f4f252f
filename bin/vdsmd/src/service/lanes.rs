//! Lanes: how many calls of one class run and wait.
//!
//! A call takes a *place* (running or waiting; when none is left it is refused), then a *turn* (running), and gives
//! both back when it has ended, however it ends. A handler that panics gives its turn back as well.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rpc::Gone;
use schema::{Class, Raw, VdsmError, VerbDecl};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many calls of one class run and wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LaneLimits {
    /// At once.
    pub(crate) running: usize,
    /// Running and waiting for their turn.
    pub(crate) waiting: usize,
    /// After this time a call is logged as stuck.
    pub(crate) stuck_after: Duration,
}

/// The lanes of all classes that may block.
pub(super) struct Lanes {
    query: Lane,
    storage: Lane,
    virt: Lane,
    host: Lane,
    network: Lane,
}

impl Lanes {
    pub(super) fn new(limits: LaneLimits) -> Self {
        let lane = || Lane {
            turns: Arc::new(Semaphore::new(limits.running)),
            taken: Arc::default(),
            places: limits.waiting,
            stuck_after: limits.stuck_after,
        };
        Self {
            query: lane(),
            storage: lane(),
            virt: lane(),
            host: lane(),
            network: lane(),
        }
    }

    /// The lane of a class; none for what never blocks.
    pub(super) fn of(&self, class: Class) -> Option<&Lane> {
        match class {
            Class::Inline => None,
            Class::Query => Some(&self.query),
            Class::Storage => Some(&self.storage),
            Class::Virt => Some(&self.virt),
            Class::Host => Some(&self.host),
            Class::Network => Some(&self.network),
        }
    }
}

/// The lane of one class.
pub(super) struct Lane {
    turns: Arc<Semaphore>,
    taken: Arc<AtomicUsize>,
    places: usize,
    stuck_after: Duration,
}

impl Lane {
    /// Waits for a turn. A verb that only looks gives up when its asker is gone.
    pub(super) async fn turn(
        &self,
        verb: &'static VerbDecl,
        gone: &Gone,
    ) -> Result<Turn, VdsmError> {
        let place = self.place(verb)?;
        let turn = self.turns.clone().acquire_owned();
        let turn = if verb.only_looks() {
            tokio::select! {
                biased;
                () = gone.wait() => return Err(dropped(verb)),
                turn = turn => turn,
            }
        } else {
            turn.await
        };
        let permit = turn.map_err(|_| VdsmError::internal("the agent is stopping"))?;
        Ok(Turn {
            verb,
            stuck_after: self.stuck_after,
            held: (place, permit),
        })
    }

    fn place(&self, verb: &VerbDecl) -> Result<Place, VdsmError> {
        if self.taken.fetch_add(1, Ordering::Relaxed) >= self.places {
            self.taken.fetch_sub(1, Ordering::Relaxed);
            let why = format!(
                "{}: too many calls of its kind are waiting, try later",
                verb.method
            );
            return Err(VdsmError::internal(&why));
        }
        Ok(Place(self.taken.clone()))
    }
}

/// Nobody reads this answer; it is for the log.
fn dropped(verb: &VerbDecl) -> VdsmError {
    VdsmError::internal(&format!("{}: dropped, its asker is gone", verb.method))
}

/// A place in a lane, given back when dropped.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The right to run a call of a lane now.
pub(super) struct Turn {
    verb: &'static VerbDecl,
    stuck_after: Duration,
    held: (Place, OwnedSemaphorePermit),
}

impl Turn {
    /// Runs a handler on a blocking thread, which keeps the turn until the handler ends, though nobody may wait for
    /// it any more.
    pub(super) async fn run(
        self,
        handler: impl FnOnce() -> Result<Raw, VdsmError> + Send + 'static,
    ) -> Result<Raw, VdsmError> {
        let Self {
            verb,
            stuck_after,
            held,
        } = self;
        let mut run = tokio::task::spawn_blocking(move || {
            let answer = handler();
            drop(held);
            answer
        });
        let answer = loop {
            if let Ok(ended) = tokio::time::timeout(stuck_after, &mut run).await {
                break ended;
            }
            tracing::warn!(verb = verb.method, "the call has not ended yet");
        };
        answer.unwrap_or_else(|_| {
            // Why it panicked was told where it did, see `crate::panics`.
            tracing::error!(verb = verb.method, "the handler panicked");
            Err(VdsmError::internal(
                "the handler failed; see the agent's log",
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane() -> Lane {
        Lane {
            turns: Arc::new(Semaphore::new(1)),
            taken: Arc::default(),
            places: 2,
            stuck_after: Duration::from_mins(1),
        }
    }

    async fn turn(lane: &Lane) -> Turn {
        let verb = schema::find("Host.getStats").unwrap();
        Turn {
            verb,
            stuck_after: lane.stuck_after,
            held: (
                lane.place(verb).unwrap(),
                lane.turns.clone().acquire_owned().await.unwrap(),
            ),
        }
    }

    #[tokio::test]
    async fn a_handler_that_panics_gives_back_its_turn_and_tells_nobody_why() {
        let lane = lane();
        let secret = "a secret";
        let answer = turn(&lane).await.run(move || panic!("{secret}")).await;
        let error = answer.unwrap_err();
        assert_eq!(error.code, -32603);
        assert!(!error.message.contains(secret), "{error}");
        let calm = turn(&lane).await.run(|| Err(VdsmError::internal("calm")));
        assert!(calm.await.unwrap_err().message.contains("calm"));
        assert_eq!(lane.taken.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn who_finds_no_place_is_refused() {
        let lane = lane();
        let verb = schema::find("Host.getStats").unwrap();
        let places = (lane.place(verb).ok(), lane.place(verb).ok());
        assert!(places.0.is_some() && places.1.is_some());
        assert!(lane.place(verb).is_err());
        drop(places);
        assert!(lane.place(verb).is_ok());
    }
}
