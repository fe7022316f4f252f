//! A lock that is waited for only so long: verbs on one VM take turns, and a domain that hangs
//! must not hold its callers forever.

use std::{
    sync::{Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Whose turn is it?
#[derive(Debug, Default)]
pub(crate) struct Turn {
    taken: Mutex<bool>,
    freed: Condvar,
}

/// It is ours until this is dropped.
#[derive(Debug)]
pub(crate) struct Taken<'a>(&'a Turn);

impl Turn {
    /// Waits for it; `None` when the time is over.
    pub(crate) fn take(&self, within: Duration) -> Option<Taken<'_>> {
        let deadline = Instant::now() + within;
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while *taken {
            let left = deadline.checked_duration_since(Instant::now())?;
            let (guard, _) = self
                .freed
                .wait_timeout(taken, left)
                .unwrap_or_else(PoisonError::into_inner);
            taken = guard;
        }
        *taken = true;
        Some(Taken(self))
    }

    /// Waits for as long as it takes. For threads that nobody waits for.
    pub(crate) fn wait(&self) -> Taken<'_> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while *taken {
            taken = self
                .freed
                .wait(taken)
                .unwrap_or_else(PoisonError::into_inner);
        }
        *taken = true;
        Taken(self)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        *self.0.taken.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_not_forever() {
        let turn = Turn::default();
        let first = turn.take(Duration::ZERO).expect("free");
        assert!(turn.take(Duration::from_millis(20)).is_none());
        drop(first);
        assert!(turn.take(Duration::ZERO).is_some());
    }

    #[test]
    fn the_next_one_is_woken() {
        let turn = Turn::default();
        std::thread::scope(|scope| {
            let held = turn.take(Duration::ZERO).expect("free");
            let waiter = scope.spawn(|| turn.take(Duration::from_secs(10)).is_some());
            std::thread::sleep(Duration::from_millis(20));
            drop(held);
            assert!(waiter.join().unwrap());
        });
    }
}
