//! A process that may die, or be let down by its surroundings, at any of its calls.
//!
//! Fakes of ports are reached through a [`Process`], as real ones are reached from a process: when
//! it is dead, nothing that it does has any effect any more, while the world behind the fakes goes
//! on. That is how a test kills an agent at call N and starts another one over the same world.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// What goes wrong at a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The call fails, nothing is done.
    Fail(String),
    /// Nothing is done; after this time the call gives up.
    Hang(Duration),
    /// It takes this time, then all is well.
    Slow(Duration),
    /// It is done, but the answer does not come: after this time the call gives up.
    LateAnswer(Duration),
    /// The process dies before the call has an effect.
    KillBefore,
    /// The process dies when the call has had its effect, before it knows.
    KillAfter,
}

/// Which call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// The n-th of all, from 0.
    Number(usize),
    /// The next of that name.
    Name(&'static str),
}

/// One life of an agent, as the fakes see it.
#[derive(Debug, Default)]
pub struct Process {
    dead: AtomicBool,
    calls: AtomicUsize,
    faults: Mutex<Vec<(When, Fault)>>,
    names: Mutex<Vec<&'static str>>,
}

/// How a call goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gate {
    /// It has its effect; then [`Process::leave`] is asked.
    Go(Option<Fault>),
    /// It fails.
    Fail(String),
    /// It gives up, after this time has been slept.
    TimedOut(Duration),
    /// The process is dead.
    Dead,
}

impl Process {
    /// A process that lives.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the n-th call (from 0) go wrong.
    pub fn fault_at(&self, number: usize, fault: Fault) {
        lock(&self.faults).push((When::Number(number), fault));
    }

    /// Lets the next call of that name go wrong.
    pub fn fault_on(&self, name: &'static str, fault: Fault) {
        lock(&self.faults).push((When::Name(name), fault));
    }

    /// Ends it.
    pub fn kill(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }

    /// Does it live?
    pub fn is_alive(&self) -> bool {
        !self.dead.load(Ordering::SeqCst)
    }

    /// Calls so far.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Names of the calls so far.
    pub fn names(&self) -> Vec<&'static str> {
        lock(&self.names).clone()
    }

    /// Begins a call.
    pub fn enter(&self, name: &'static str) -> Gate {
        if !self.is_alive() {
            return Gate::Dead;
        }
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        lock(&self.names).push(name);
        let fault = {
            let mut faults = lock(&self.faults);
            let place = faults.iter().position(|(when, _)| match when {
                When::Number(at) => *at == number,
                When::Name(of) => *of == name,
            });
            place.map(|place| faults.remove(place).1)
        };
        match fault {
            None => Gate::Go(None),
            Some(Fault::Fail(why)) => Gate::Fail(why),
            Some(Fault::Hang(time)) => {
                std::thread::sleep(time);
                Gate::TimedOut(time)
            }
            Some(Fault::Slow(time)) => {
                std::thread::sleep(time);
                if self.is_alive() {
                    Gate::Go(None)
                } else {
                    Gate::Dead
                }
            }
            Some(Fault::KillBefore) => {
                self.kill();
                Gate::Dead
            }
            Some(after) => Gate::Go(Some(after)),
        }
    }

    /// Ends a call that had its effect.
    pub fn leave(&self, fault: Option<Fault>) -> Gate {
        match fault {
            Some(Fault::LateAnswer(time)) => {
                std::thread::sleep(time);
                Gate::TimedOut(time)
            }
            Some(Fault::KillAfter) => {
                self.kill();
                Gate::Dead
            }
            _ if self.is_alive() => Gate::Go(None),
            _ => Gate::Dead,
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
