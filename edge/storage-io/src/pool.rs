//! Calls that may hang, each with a deadline.
//!
//! A call runs on a thread of the pool; the caller waits for it, not longer than its deadline. States of a
//! call: running, done, abandoned (the caller has gone; its thread is counted as hung on its root until it
//! comes back, which may be never).

use std::{
    collections::{HashMap, VecDeque},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// Threads that are kept for the next call when there is nothing to do.
const KEPT: usize = 4;

type Job = Box<dyn FnOnce() + Send>;

/// The pool. Dropping it ends its threads, except those that hang.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    hung_limit: usize,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    idle: usize,
    hung: HashMap<PathBuf, usize>,
    closed: bool,
}

/// What a call has come to.
enum Slot<T> {
    Running,
    Done(T),
    Abandoned,
}

struct Reply<T> {
    slot: Mutex<Slot<T>>,
    changed: Condvar,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    /// A pool that gives a root up when this many calls hang on it.
    pub(crate) fn new(hung_limit: usize) -> Self {
        Self {
            shared: Arc::default(),
            hung_limit: hung_limit.max(1),
        }
    }

    /// Does anything hang anywhere?
    pub(crate) fn anything_hangs(&self) -> bool {
        !lock(&self.shared.state).hung.is_empty()
    }

    /// Calls that hang on this root now.
    pub(crate) fn hung(&self, root: &Path) -> usize {
        lock(&self.shared.state)
            .hung
            .get(root)
            .copied()
            .unwrap_or(0)
    }

    /// Runs `call`; `TimedOut` if it has not come back in time (it goes on and its result is dropped), or
    /// at once if too many calls hang on the root already. The root is asked for only when it is needed.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        root: &dyn Fn() -> PathBuf,
        timeout: Duration,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        if self.anything_hangs() && self.hung(&root()) >= self.hung_limit {
            return Err(timed_out("the storage does not answer (calls hang on it)"));
        }
        let reply = Arc::new(Reply {
            slot: Mutex::new(Slot::Running),
            changed: Condvar::new(),
        });
        let answer = reply.clone();
        let key = Arc::new(Mutex::new(PathBuf::new()));
        let (shared, hung_on) = (self.shared.clone(), key.clone());
        self.start(Box::new(move || {
            let result = call();
            let mut slot = lock(&answer.slot);
            if matches!(*slot, Slot::Abandoned) {
                drop(slot);
                shared.came_back(&lock(&hung_on));
                return;
            }
            *slot = Slot::Done(result);
            answer.changed.notify_one();
        }))?;
        self.wait(&reply, timeout, &key, root)
    }

    fn wait<T>(
        &self,
        reply: &Reply<T>,
        timeout: Duration,
        key: &Mutex<PathBuf>,
        root: &dyn Fn() -> PathBuf,
    ) -> io::Result<T> {
        let deadline = Instant::now() + timeout;
        let mut slot = lock(&reply.slot);
        loop {
            match std::mem::replace(&mut *slot, Slot::Running) {
                Slot::Done(result) => return Ok(result),
                Slot::Running | Slot::Abandoned => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            slot = reply
                .changed
                .wait_timeout(slot, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        // Still under the slot's lock: the thread cannot come back between these steps.
        let root = root();
        tracing::warn!(target: "storage_io", root = %root.display(), ?timeout, "a call hangs");
        lock(key).clone_from(&root);
        *lock(&self.shared.state).hung.entry(root).or_default() += 1;
        *slot = Slot::Abandoned;
        Err(timed_out("the storage did not answer in time"))
    }

    /// Hands a job to an idle thread, or to a new one: none ever waits behind another.
    fn start(&self, job: Job) -> io::Result<()> {
        let mut state = lock(&self.shared.state);
        state.queue.push_back(job);
        if state.idle >= state.queue.len() {
            self.shared.work.notify_one();
            return Ok(());
        }
        let shared = self.shared.clone();
        let started = thread::Builder::new()
            .name("storage-io".into())
            .spawn(move || shared.serve());
        if let Err(error) = started {
            state.queue.pop_back();
            return Err(error);
        }
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        lock(&self.shared.state).closed = true;
        self.shared.work.notify_all();
    }
}

impl Shared {
    /// The life of a thread.
    fn serve(&self) {
        let mut state = lock(&self.state);
        loop {
            if let Some(job) = state.queue.pop_front() {
                drop(state);
                job();
                state = lock(&self.state);
                continue;
            }
            if state.closed || state.idle >= KEPT {
                return;
            }
            state.idle += 1;
            state = self
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    /// A hung call has come back.
    fn came_back(&self, root: &Path) {
        let mut state = lock(&self.state);
        let gone = state.hung.get_mut(root).is_some_and(|count| {
            *count -= 1;
            *count == 0
        });
        if gone {
            state.hung.remove(root);
            tracing::info!(target: "storage_io", root = %root.display(), "hung calls came back");
        }
    }
}

pub(crate) fn timed_out(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn root() -> PathBuf {
        PathBuf::from("/r")
    }

    #[test]
    fn results_come_back_and_threads_are_used_again() {
        let pool = Pool::new(2);
        let mut names = Vec::new();
        for n in 0..50 {
            let id = pool.run(&root, Duration::from_secs(5), move || {
                (n, thread::current().id())
            });
            let (got, id) = id.unwrap();
            assert_eq!(got, n);
            names.push(id);
            thread::sleep(Duration::from_millis(1));
        }
        names.dedup();
        assert!(
            names.len() < 10,
            "{} threads for calls one after another",
            names.len()
        );
    }

    #[test]
    fn hung_calls_are_bounded_per_root_and_healed() {
        let pool = Pool::new(2);
        let (release, hold) = mpsc::channel::<()>();
        let hold = Arc::new(Mutex::new(hold));
        for _ in 0..2 {
            let hold = hold.clone();
            let call = move || lock(&hold).recv();
            let result = pool.run(&root, Duration::from_millis(30), call);
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::TimedOut);
        }
        assert_eq!(pool.hung(&root()), 2);
        let started = Instant::now();
        let refused = pool.run(&root, Duration::from_secs(5), || ());
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(started.elapsed() < Duration::from_secs(4), "at once");
        let other = || PathBuf::from("/other");
        assert_eq!(
            pool.run(&other, Duration::from_secs(5), || 7).unwrap(),
            7,
            "others go on"
        );
        drop(release);
        let deadline = Instant::now() + Duration::from_secs(5);
        while pool.anything_hangs() {
            assert!(Instant::now() < deadline);
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(
            pool.run(&root, Duration::from_secs(5), || 8).unwrap(),
            8,
            "healed"
        );
    }

    #[test]
    fn many_calls_at_once() {
        let pool = Arc::new(Pool::new(2));
        let threads: Vec<_> = (0..8)
            .map(|n| {
                let pool = pool.clone();
                thread::spawn(move || {
                    for i in 0..200 {
                        assert_eq!(
                            pool.run(&root, Duration::from_secs(20), move || n * i)
                                .unwrap(),
                            n * i
                        );
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
    }
}
