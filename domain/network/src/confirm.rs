//! The confirmations of clients: counted as they come, waited for by the one change that is pending.
//!
//! Upstream looks at the age of a file that each confirmation touches; as there, one that came before the change was
//! made does not count.

use std::{
    sync::{Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

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

    /// Waits for one that comes from now on; true if it came in time.
    pub(crate) fn wait(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *count;
        loop {
            if *count != before {
                return true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let woken = self.came.wait_timeout(count, left);
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
        assert!(!all.wait(Duration::from_millis(50)));
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
        assert!(all.wait(Duration::from_mins(1)));
        drop(all);
        client.join().unwrap();
    }

    #[test]
    fn no_time_is_no_wait() {
        assert!(!Confirmations::default().wait(Duration::ZERO));
    }
}
