//! Owns: how many calls may be under way on one domain. A hung domain blocks only itself: once a call of a class
//! hangs, further calls of that class on that domain are refused at once until it returns.
//!
//! A call's slot: waiting → held → (hanging, when its caller gave up) → free, when the call returns.

use std::{
    collections::HashMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use vm_model::ports::VmId;

/// Calls that wait for the same thing inside libvirt, and so hang together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    /// What libvirt answers without asking QEMU.
    Query,
    /// Whatever takes the domain's job and QEMU's monitor.
    Command,
    /// What the guest agent is asked.
    Agent,
    /// Destroy that leaves QEMU the time to end by itself.
    Terminate,
    /// Destroy by force: the cure of a hung domain, never behind anything else.
    Kill,
    /// Bulk statistics: on no domain, but each call may be caught by one that hangs.
    Stats,
}

impl Class {
    /// Calls at the same time, hanging ones counted.
    fn limit(self) -> usize {
        match self {
            Self::Query => 2,
            Self::Command | Self::Agent | Self::Terminate | Self::Kill => 1,
            Self::Stats => 12,
        }
    }

    /// Hanging calls from which on further ones are refused.
    fn hang_limit(self) -> usize {
        match self {
            Self::Stats => 8,
            _ => 1,
        }
    }
}

type Key = (VmId, Class);

#[derive(Default)]
struct Entry {
    held: usize,
    hanging: usize,
}

/// Why there is no slot.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoSlot {
    /// An earlier call hangs.
    Hanging,
    /// Earlier calls took too long.
    Late,
}

/// The slots of all domains.
#[derive(Default)]
pub(crate) struct Gate {
    entries: Mutex<HashMap<Key, Entry>>,
    freed: Condvar,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a slot until `until`.
    pub(crate) fn enter(self: &Arc<Self>, key: Key, until: Instant) -> Result<Slot, NoSlot> {
        let mut entries = self.lock();
        loop {
            let entry = entries.entry(key).or_default();
            if entry.hanging >= key.1.hang_limit() {
                return Err(NoSlot::Hanging);
            }
            if entry.held < key.1.limit() {
                entry.held += 1;
                return Ok(Slot {
                    gate: Arc::clone(self),
                    key,
                    phase: Arc::new(Mutex::new(Phase::Held)),
                });
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(NoSlot::Late);
            }
            entries = self
                .freed
                .wait_timeout(entries, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Held,
    Hanging,
    Free,
}

/// The right to call; given back when dropped, by the thread that made the call.
pub(crate) struct Slot {
    gate: Arc<Gate>,
    key: Key,
    phase: Arc<Mutex<Phase>>,
}

impl Slot {
    /// The handle by which the caller says that it gives up.
    pub(crate) fn watch(&self) -> Watch {
        Watch {
            gate: Arc::clone(&self.gate),
            key: self.key,
            phase: Arc::clone(&self.phase),
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut entries = self.gate.lock();
        let mut phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get_mut(&self.key) {
            entry.held -= 1;
            if *phase == Phase::Hanging {
                entry.hanging -= 1;
            }
            if entry.held == 0 {
                entries.remove(&self.key);
            }
        }
        *phase = Phase::Free;
        self.gate.freed.notify_all();
    }
}

/// See [`Slot::watch`].
pub(crate) struct Watch {
    gate: Arc<Gate>,
    key: Key,
    phase: Arc<Mutex<Phase>>,
}

impl Watch {
    /// The caller gives up: the call counts as hanging until it returns.
    pub(crate) fn give_up(&self) {
        let mut entries = self.gate.lock();
        let mut phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        if *phase == Phase::Held {
            *phase = Phase::Hanging;
            if let Some(entry) = entries.get_mut(&self.key) {
                entry.hanging += 1;
            }
            self.gate.freed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    #[test]
    fn a_hanging_call_blocks_its_domain_and_class_alone() {
        let gate = Arc::new(Gate::default());
        let (a, b) = (VmId::from_u128(1), VmId::from_u128(2));
        let slot = gate.enter((a, Class::Command), soon()).ok().unwrap();
        assert_eq!(
            gate.enter((a, Class::Command), soon()).err(),
            Some(NoSlot::Late)
        );
        slot.watch().give_up();
        let before = Instant::now();
        assert_eq!(
            gate.enter((a, Class::Command), before + Duration::from_secs(9))
                .err(),
            Some(NoSlot::Hanging)
        );
        assert!(before.elapsed() < Duration::from_secs(8));
        assert!(gate.enter((b, Class::Command), soon()).is_ok());
        let gentle = gate.enter((a, Class::Terminate), soon()).ok().unwrap();
        gentle.watch().give_up();
        assert!(gate.enter((a, Class::Kill), soon()).is_ok());
        drop(gentle);
        drop(slot);
        assert!(gate.enter((a, Class::Command), soon()).is_ok());
        assert!(
            gate.lock().is_empty(),
            "nothing is kept of domains that are at rest"
        );
    }

    #[test]
    fn one_that_waits_is_told_when_the_call_before_it_hangs() {
        let gate = Arc::new(Gate::default());
        let key = (VmId::from_u128(1), Class::Command);
        let slot = gate.enter(key, soon()).ok().unwrap();
        let watch = slot.watch();
        let other = Arc::clone(&gate);
        let waiter = std::thread::spawn(move || {
            other
                .enter(key, Instant::now() + Duration::from_secs(30))
                .err()
        });
        std::thread::sleep(Duration::from_millis(20));
        watch.give_up();
        assert_eq!(waiter.join().unwrap(), Some(NoSlot::Hanging));
        drop(slot);
        watch.give_up();
        assert!(
            gate.lock().is_empty(),
            "giving up after the end counts nothing"
        );
    }
}
