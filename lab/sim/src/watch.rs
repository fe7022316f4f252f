//! Who listens and what time it is: an [`EventLog`] that tests wait on, and a [`SimClock`] that they
//! turn.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use vm_model::events::{Clock, VmEvent, VmEvents};

use crate::process::{Process, lock};

/// Keeps the events that one process told.
#[derive(Debug)]
pub struct EventLog {
    process: Arc<Process>,
    events: Mutex<Vec<VmEvent>>,
    more: Condvar,
}

impl EventLog {
    /// An empty log of that process.
    pub fn new(process: Arc<Process>) -> Self {
        Self {
            process,
            events: Mutex::default(),
            more: Condvar::new(),
        }
    }

    /// All so far.
    pub fn all(&self) -> Vec<VmEvent> {
        lock(&self.events).clone()
    }

    /// Waits for an event; `None` when the time is over.
    pub fn wait(&self, within: Duration, which: impl Fn(&VmEvent) -> bool) -> Option<VmEvent> {
        let deadline = Instant::now() + within;
        let mut events = lock(&self.events);
        loop {
            if let Some(event) = events.iter().find(|event| which(event)) {
                return Some(event.clone());
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            let waited = self.more.wait_timeout(events, left);
            (events, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl VmEvents for EventLog {
    fn publish(&self, event: VmEvent) {
        if self.process.is_alive() {
            lock(&self.events).push(event);
            self.more.notify_all();
        }
    }
}

/// Clocks that go with the real one, and that tests may turn forward. One for the whole world: it
/// outlives processes.
#[derive(Debug)]
pub struct SimClock {
    began: Instant,
    turned: Mutex<Turned>,
}

#[derive(Debug, Default)]
struct Turned {
    both: Duration,
    wall: i64,
}

impl Default for SimClock {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            turned: Mutex::default(),
        }
    }
}

impl SimClock {
    /// Boot was 1000 s before the test began.
    const UPTIME: Duration = Duration::from_secs(1_000);
    /// A moment of 2026.
    const WALL: i64 = 1_795_329_634;

    /// Lets time pass at once, on both clocks.
    pub fn pass(&self, time: Duration) {
        lock(&self.turned).both += time;
    }

    /// Sets the wall clock alone forward or back.
    pub fn set_wall(&self, seconds: i64) {
        lock(&self.turned).wall += seconds;
    }
}

impl Clock for SimClock {
    fn wall(&self) -> Duration {
        let turned = lock(&self.turned);
        let seconds = u64::try_from(Self::WALL + turned.wall).unwrap_or(0);
        Duration::from_secs(seconds) + self.began.elapsed() + turned.both
    }

    fn monotonic(&self) -> Duration {
        Self::UPTIME + self.began.elapsed() + lock(&self.turned).both
    }
}
