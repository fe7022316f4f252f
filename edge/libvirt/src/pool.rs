//! Owns: the threads on which calls into libvirt run, and the waiting for them.
//!
//! A call: admitted → running → done, or abandoned (its caller's time was over: it hangs) → returned. A thread of an
//! abandoned call is left behind and another takes its place; both are bounded. Threads end when idle for a while.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{RecvTimeoutError, sync_channel},
    },
    thread::Builder,
    time::{Duration, Instant},
};

/// Idle time after which a thread ends.
const IDLE: Duration = Duration::from_secs(10);

/// How long the end of threads is waited for when the pool is dropped.
const END_WAIT: Duration = Duration::from_secs(1);

/// Stack of a thread: libvirt's parsers run on it for drivers inside the process.
const STACK: usize = 1 << 20;

type Job = Box<dyn FnOnce() + Send>;

/// Why a call has no answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// Too many calls hang: not asked.
    Crowded,
    /// It was not its turn before its time was over: not asked.
    Late,
    /// Asked, and no answer in time. It counts as hanging until it returns.
    Hanging,
    /// No thread could be made, or the call panicked.
    Broken,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    threads: usize,
    /// Threads within a call, up to its end.
    busy: usize,
    running: usize,
    hanging: usize,
    ending: bool,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    room: Condvar,
    workers: usize,
    max_hanging: usize,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pool.
pub(crate) struct Pool {
    shared: Arc<Shared>,
}

impl Pool {
    /// At most `workers` calls run and `max_hanging` hang at the same time; urgent ones come on top.
    pub(crate) fn new(workers: usize, max_hanging: usize) -> Self {
        let shared = Shared {
            state: Mutex::default(),
            work: Condvar::new(),
            room: Condvar::new(),
            workers: workers.max(1),
            max_hanging: max_hanging.max(1),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Calls that run and that hang now.
    #[cfg(test)]
    fn load(&self) -> (usize, usize) {
        let state = self.shared.lock();
        (state.running, state.hanging)
    }

    /// Runs `call` on a thread and waits for it until `until`. `urgent` passes by the bounds (its own bound is the
    /// gate's).
    pub(crate) fn run<T: Send + 'static>(
        &self,
        until: Instant,
        urgent: bool,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NoAnswer> {
        let mut state = self.admit(until, urgent)?;
        state.running += 1;
        let ticket = Arc::new(Mutex::new(Phase::Running));
        let (sender, receiver) = sync_channel(1);
        let (shared, phase) = (Arc::clone(&self.shared), Arc::clone(&ticket));
        state.queue.push_back(Box::new(move || {
            let answer = catch_unwind(AssertUnwindSafe(call));
            finish(&shared, &phase);
            // The caller may have gone; its answer is dropped here then, on this thread.
            let _ = sender.send(answer.map_err(|_| NoAnswer::Broken));
        }));
        if let Err(error) = self.ensure_thread(&mut state) {
            tracing::error!(%error, "no thread for a call to libvirt");
            state.queue.pop_back();
            state.running -= 1;
            return Err(NoAnswer::Broken);
        }
        drop(state);
        self.shared.work.notify_one();
        match receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Disconnected) => Err(NoAnswer::Broken),
            Err(RecvTimeoutError::Timeout) => {
                if abandon(&self.shared, &ticket) {
                    return Err(NoAnswer::Hanging);
                }
                // It ended just now: the answer is there or comes within moments.
                receiver.recv().unwrap_or(Err(NoAnswer::Broken))
            }
        }
    }

    fn admit(&self, until: Instant, urgent: bool) -> Result<MutexGuard<'_, State>, NoAnswer> {
        let mut state = self.shared.lock();
        if urgent {
            return Ok(state);
        }
        loop {
            if state.hanging >= self.shared.max_hanging {
                return Err(NoAnswer::Crowded);
            }
            if state.running < self.shared.workers {
                return Ok(state);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(NoAnswer::Late);
            }
            state = self
                .shared
                .room
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// A thread for each job that waits.
    fn ensure_thread(&self, state: &mut State) -> std::io::Result<()> {
        if state.threads - state.busy >= state.queue.len() {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        Builder::new()
            .name("libvirt-call".into())
            .stack_size(STACK)
            .spawn(move || work(&shared))?;
        state.threads += 1;
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.ending = true;
        self.shared.work.notify_all();
        let end = Instant::now() + END_WAIT;
        while state.threads > state.hanging {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self
                .shared
                .room
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    Hanging,
    Done,
}

/// Both of these change a call's phase with the pool locked, so that each call is counted in one place.
fn finish(shared: &Shared, phase: &Mutex<Phase>) {
    let mut state = shared.lock();
    let mut phase = phase.lock().unwrap_or_else(PoisonError::into_inner);
    // Free from here on: what is left is to hand over the answer.
    state.busy -= 1;
    match *phase {
        Phase::Hanging => state.hanging -= 1,
        Phase::Running | Phase::Done => state.running -= 1,
    }
    *phase = Phase::Done;
    shared.room.notify_all();
}

fn abandon(shared: &Shared, phase: &Mutex<Phase>) -> bool {
    let mut state = shared.lock();
    let mut phase = phase.lock().unwrap_or_else(PoisonError::into_inner);
    if *phase == Phase::Done {
        return false;
    }
    *phase = Phase::Hanging;
    state.running -= 1;
    state.hanging += 1;
    shared.room.notify_all();
    true
}

fn work(shared: &Shared) {
    let mut state = shared.lock();
    loop {
        if let Some(job) = state.queue.pop_front() {
            state.busy += 1;
            drop(state);
            job();
            state = shared.lock();
            continue;
        }
        if state.ending {
            break;
        }
        let (next, waited) = shared
            .work
            .wait_timeout(state, IDLE)
            .unwrap_or_else(PoisonError::into_inner);
        state = next;
        if waited.timed_out() && state.queue.is_empty() {
            break;
        }
    }
    state.threads -= 1;
    shared.room.notify_all();
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc::channel, thread::sleep};

    use super::*;

    fn within(milliseconds: u64) -> Instant {
        Instant::now() + Duration::from_millis(milliseconds)
    }

    fn eventually(mut condition: impl FnMut() -> bool) {
        let end = within(60_000);
        while !condition() {
            assert!(Instant::now() < end, "the condition never holds");
            sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn answers_come_back_and_threads_are_reused() {
        let pool = Pool::new(4, 4);
        for number in 0..1_000 {
            assert_eq!(
                pool.run(within(5_000), false, move || number * 2),
                Ok(number * 2)
            );
        }
        assert!(pool.shared.lock().threads <= 4);
        assert_eq!(pool.load(), (0, 0));
    }

    #[test]
    fn a_panic_is_the_calls_own() {
        let pool = Pool::new(1, 1);
        let answer = pool.run(within(5_000), false, || {
            if std::thread::panicking() {
                1
            } else {
                panic!("seeded")
            }
        });
        assert_eq!(answer, Err(NoAnswer::Broken));
        assert_eq!(pool.run(within(5_000), false, || 3), Ok(3));
        assert_eq!(pool.load(), (0, 0));
    }

    #[test]
    fn calls_that_hang_leave_room_for_others_up_to_the_bound() {
        let pool = Pool::new(1, 2);
        let (release, gate) = channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        for _ in 0..2 {
            let gate = Arc::clone(&gate);
            let answer = pool.run(within(20), false, move || {
                gate.lock().unwrap().recv().is_err()
            });
            assert_eq!(answer, Err(NoAnswer::Hanging));
        }
        assert_eq!(pool.load(), (0, 2));
        let before = Instant::now();
        assert_eq!(pool.run(within(5_000), false, || 1), Err(NoAnswer::Crowded));
        assert!(before.elapsed() < Duration::from_secs(4), "refused at once");
        assert_eq!(
            pool.run(within(5_000), true, || 1),
            Ok(1),
            "urgent ones pass"
        );
        drop(release);
        eventually(|| pool.load() == (0, 0));
        assert_eq!(pool.run(within(5_000), false, || 1), Ok(1));
    }

    #[test]
    fn calls_beyond_the_workers_wait_for_their_turn() {
        let pool = Arc::new(Pool::new(1, 1));
        let other = Arc::clone(&pool);
        let slow = std::thread::spawn(move || {
            other.run(within(5_000), false, || sleep(Duration::from_millis(200)))
        });
        eventually(|| pool.load().0 == 1);
        assert_eq!(pool.run(within(20), false, || 1), Err(NoAnswer::Late));
        assert_eq!(pool.run(within(5_000), false, || 1), Ok(1));
        assert_eq!(slow.join().unwrap(), Ok(()));
    }
}
