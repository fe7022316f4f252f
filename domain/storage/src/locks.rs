//! Named locks, shared or exclusive, with a deadline.
//!
//! An operation takes all its locks in one call, in the order of their names, so that two operations never
//! wait for each other in a circle; they are given back in the opposite order. Waiters are served in the
//! order in which they came: a stream of shared holders does not starve an exclusive one.
//! Names are upstream's namespaces (`resourceManager.py`, `constants.py`).

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use uuid::Uuid;

use crate::{Result, StorageError};

/// How a lock is held. Ordered: the stronger is the larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mode {
    Shared,
    Exclusive,
}

/// A lock that an operation wants.
#[derive(Debug, Clone)]
pub(crate) struct Lock {
    name: String,
    mode: Mode,
}

impl Lock {
    /// A pool or domain that others may use too.
    pub(crate) fn shared(id: Uuid) -> Self {
        Self {
            name: format!("00_storage.{id}"),
            mode: Mode::Shared,
        }
    }

    /// A pool or domain for oneself.
    pub(crate) fn exclusive(id: Uuid) -> Self {
        Self {
            name: format!("00_storage.{id}"),
            mode: Mode::Exclusive,
        }
    }

    /// A connected folder, or whatever else has a name, for oneself.
    pub(crate) fn named(name: &str) -> Self {
        Self {
            name: format!("00_storage.{name}"),
            mode: Mode::Exclusive,
        }
    }

    /// An image for oneself.
    pub(crate) fn image(domain: Uuid, image: Uuid) -> Self {
        Self {
            name: format!("01_img_{domain}.{image}"),
            mode: Mode::Exclusive,
        }
    }
}

#[derive(Default)]
struct Entry {
    shared: usize,
    exclusive: bool,
    waiting: VecDeque<u64>,
}

#[derive(Default)]
struct State {
    entries: HashMap<String, Entry>,
    next_ticket: u64,
}

/// All locks.
#[derive(Default)]
pub(crate) struct Locks {
    state: Mutex<State>,
    changed: Condvar,
}

/// Held locks.
pub(crate) struct Held {
    locks: Arc<Locks>,
    taken: Vec<Lock>,
}

impl Drop for Held {
    fn drop(&mut self) {
        while let Some(lock) = self.taken.pop() {
            self.locks.release(&lock);
        }
    }
}

/// Takes all of `wanted`, or none if `timeout` passes first.
pub(crate) fn acquire(
    locks: &Arc<Locks>,
    wanted: impl IntoIterator<Item = Lock>,
    timeout: Duration,
) -> Result<Held> {
    let deadline = Instant::now() + timeout;
    let mut merged: BTreeMap<String, Mode> = BTreeMap::new();
    for lock in wanted {
        let mode = merged.entry(lock.name).or_insert(lock.mode);
        *mode = lock.mode.max(*mode);
    }
    let mut held = Held {
        locks: Arc::clone(locks),
        taken: Vec::new(),
    };
    for (name, mode) in merged {
        let lock = Lock { name, mode };
        locks.take(&lock, deadline)?;
        held.taken.push(lock);
    }
    Ok(held)
}

impl Locks {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, lock: &Lock, deadline: Instant) -> Result<()> {
        let mut state = self.state();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state
            .entries
            .entry(lock.name.clone())
            .or_default()
            .waiting
            .push_back(ticket);
        loop {
            if state.try_take(lock, ticket) {
                self.changed.notify_all();
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.give_up(lock, ticket);
                self.changed.notify_all();
                return Err(StorageError::ResourceTimeout(lock.name.clone()));
            }
            state = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn release(&self, lock: &Lock) {
        let mut state = self.state();
        if let Some(entry) = state.entries.get_mut(&lock.name) {
            match lock.mode {
                Mode::Shared => entry.shared = entry.shared.saturating_sub(1),
                Mode::Exclusive => entry.exclusive = false,
            }
        }
        state.forget_if_unused(&lock.name);
        self.changed.notify_all();
    }
}

impl State {
    fn try_take(&mut self, lock: &Lock, ticket: u64) -> bool {
        let Some(entry) = self.entries.get_mut(&lock.name) else {
            return false;
        };
        let free = !entry.exclusive && (lock.mode == Mode::Shared || entry.shared == 0);
        if !free || entry.waiting.front() != Some(&ticket) {
            return false;
        }
        entry.waiting.pop_front();
        match lock.mode {
            Mode::Shared => entry.shared += 1,
            Mode::Exclusive => entry.exclusive = true,
        }
        true
    }

    fn give_up(&mut self, lock: &Lock, ticket: u64) {
        if let Some(entry) = self.entries.get_mut(&lock.name) {
            entry.waiting.retain(|t| *t != ticket);
        }
        self.forget_if_unused(&lock.name);
    }

    fn forget_if_unused(&mut self, name: &str) {
        let unused = self
            .entries
            .get(name)
            .is_some_and(|e| e.shared == 0 && !e.exclusive && e.waiting.is_empty());
        if unused {
            self.entries.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        thread,
    };

    use super::*;

    const SOON: Duration = Duration::from_millis(30);
    const LONG: Duration = Duration::from_secs(20);

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    #[test]
    fn shared_together_exclusive_alone() {
        let locks = Arc::new(Locks::default());
        let one = acquire(&locks, [Lock::shared(id(1))], SOON).unwrap();
        let two = acquire(&locks, [Lock::shared(id(1))], SOON).unwrap();
        assert!(matches!(
            acquire(&locks, [Lock::exclusive(id(1))], SOON),
            Err(StorageError::ResourceTimeout(_))
        ));
        drop((one, two));
        let alone = acquire(&locks, [Lock::exclusive(id(1))], SOON).unwrap();
        assert!(acquire(&locks, [Lock::shared(id(1))], SOON).is_err());
        assert!(acquire(&locks, [Lock::shared(id(2))], SOON).is_ok());
        drop(alone);
        assert!(locks.state().entries.is_empty());
    }

    #[test]
    fn the_same_name_twice_is_taken_once_in_its_stronger_mode() {
        let locks = Arc::new(Locks::default());
        let held = acquire(&locks, [Lock::shared(id(1)), Lock::exclusive(id(1))], SOON).unwrap();
        assert!(acquire(&locks, [Lock::shared(id(1))], SOON).is_err());
        drop(held);
        assert!(acquire(&locks, [Lock::exclusive(id(1))], SOON).is_ok());
    }

    #[test]
    fn a_failed_acquisition_leaves_nothing_held() {
        let locks = Arc::new(Locks::default());
        let high = acquire(&locks, [Lock::exclusive(id(9))], SOON).unwrap();
        assert!(
            acquire(
                &locks,
                [Lock::exclusive(id(1)), Lock::exclusive(id(9))],
                SOON
            )
            .is_err()
        );
        assert!(acquire(&locks, [Lock::exclusive(id(1))], SOON).is_ok());
        drop(high);
    }

    #[test]
    fn an_exclusive_waiter_is_not_starved() {
        let locks = Arc::new(Locks::default());
        let first = acquire(&locks, [Lock::shared(id(1))], SOON).unwrap();
        let waiter = thread::spawn({
            let locks = Arc::clone(&locks);
            move || drop(acquire(&locks, [Lock::exclusive(id(1))], LONG).unwrap())
        });
        while locks.state().entries.values().all(|e| e.waiting.is_empty()) {
            thread::yield_now();
        }
        assert!(
            acquire(&locks, [Lock::shared(id(1))], SOON).is_err(),
            "came later, waits behind"
        );
        drop(first);
        waiter.join().unwrap();
    }

    #[test]
    fn crossed_orders_do_not_deadlock() {
        let locks = Arc::new(Locks::default());
        let done = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..8_u128)
            .map(|n| {
                let (locks, done) = (Arc::clone(&locks), Arc::clone(&done));
                thread::spawn(move || {
                    for round in 0..50 {
                        let (a, b) = (id((n + round) % 4), id((n * 3 + round) % 4));
                        drop(acquire(&locks, [Lock::exclusive(a), Lock::shared(b)], LONG).unwrap());
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(done.load(Ordering::Relaxed), 400);
        assert!(locks.state().entries.is_empty());
    }
}
