//! The confirmations of clients: counted as they come, waited for by the one change that is pending.
//!
//! Upstream looks at the age of a file that each confirmation touches; as there, one that came before the change was
//! made does not count.

use std::{
    sync::{Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Between two looks whether there is still somebody to tell.
const LOOK: Duration = Duration::from_millis(500);

/// What came of waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    /// A confirmation.
    Confirmed,
    /// The end of the time.
    InVain,
    /// Nobody holds the change any more.
    Lost,
}

/// How many came.
#[derive(Debug, Default)]
pub(crate) struct Confirmations {
    count: Mutex<u64>,
    came: Condvar,
}

impl Confirmations {
    /// One came.
    pub(crate) fn note(&self) {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        *count = count.wrapping_add(1);
        drop(count);
        self.came.notify_all();
    }

    /// Waits for one that comes from now on, as long as the change is `held`.
    pub(crate) fn wait(&self, time: Duration, held: impl Fn() -> bool) -> Waited {
        let until = Instant::now() + time;
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *count;
        loop {
            if *count != before {
                return Waited::Confirmed;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Waited::InVain;
            }
            if !held() {
                return Waited::Lost;
            }
            let woken = self.came.wait_timeout(count, left.min(LOOK));
            (count, _) = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn only_what_comes_after_counts() {
        let all = Arc::new(Confirmations::default());
        all.note();
        let waited = all.wait(Duration::from_millis(50), || true);
        assert_eq!(waited, Waited::InVain);
        let other = all.clone();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let client = std::thread::spawn(move || {
            wait.recv().ok();
            // Again and again, as Engine does: the waiter may not wait yet.
            while Arc::strong_count(&other) > 1 {
                other.note();
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        go.send(()).unwrap();
        let waited = all.wait(Duration::from_mins(1), || true);
        assert_eq!(waited, Waited::Confirmed);
        drop(all);
        client.join().unwrap();
    }

    #[test]
    fn no_time_is_no_wait() {
        let waited = Confirmations::default().wait(Duration::ZERO, || false);
        assert_eq!(waited, Waited::InVain);
    }

    #[test]
    fn nobody_waits_for_what_is_lost() {
        let looks = std::cell::Cell::new(0);
        let held = || looks.replace(looks.get() + 1) < 2;
        let waited = Confirmations::default().wait(Duration::from_hours(1), held);
        assert_eq!((waited, looks.get()), (Waited::Lost, 3));
    }
}
