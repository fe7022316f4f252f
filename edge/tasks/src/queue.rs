//! Work that waits, and the threads that do it: made when needed, at most as many as allowed, asleep without
//! a timer when there is nothing to do.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::TaskError;

/// Something to be done by a worker.
pub(crate) type Work = Box<dyn FnOnce() + Send>;

/// The queue. States: open, closed (nothing comes in, nothing that waits is started).
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<Waiting>,
    /// Work came, or the queue was closed.
    changed: Condvar,
    /// A thread ended.
    ended: Condvar,
}

#[derive(Default)]
struct Waiting {
    work: VecDeque<Work>,
    /// Places promised to tasks that are being written.
    reserved: usize,
    threads: usize,
    idle: usize,
    closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Promises a place, so that a task which was written is never refused afterwards.
    pub(crate) fn reserve(&self, limit: usize) -> Result<(), TaskError> {
        let mut state = self.lock();
        if state.closed {
            return Err(TaskError::ShuttingDown);
        }
        if state.work.len() + state.reserved >= limit {
            return Err(TaskError::Refused {
                why: format!("{limit} tasks are waiting"),
            });
        }
        state.reserved += 1;
        Ok(())
    }

    /// Gives a promised place back.
    pub(crate) fn release(&self) {
        let mut state = self.lock();
        state.reserved = state.reserved.saturating_sub(1);
    }

    /// Uses a promised place. After `close` the work is dropped: its task stays on disk as unfinished.
    pub(crate) fn push(self: &Arc<Self>, work: Work, max_threads: usize) -> Result<(), TaskError> {
        let mut state = self.lock();
        state.reserved = state.reserved.saturating_sub(1);
        if state.closed {
            return Err(TaskError::ShuttingDown);
        }
        state.work.push_back(work);
        if state.idle < state.work.len() && state.threads < max_threads {
            match self.start_thread(state.threads) {
                Ok(()) => state.threads += 1,
                Err(error) if state.threads == 0 => {
                    state.work.pop_back();
                    return Err(TaskError::Refused {
                        why: error.to_string(),
                    });
                }
                Err(error) => tracing::warn!(target: "tasks", %error, "fewer threads than allowed"),
            }
        }
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    fn start_thread(self: &Arc<Self>, number: usize) -> std::io::Result<()> {
        let queue = Arc::clone(self);
        let name = format!("task-{number}");
        thread::Builder::new()
            .name(name)
            .spawn(move || queue.serve())
            .map(drop)
    }

    /// The life of a thread.
    fn serve(&self) {
        let mut state = self.lock();
        loop {
            if state.closed {
                break;
            }
            if let Some(work) = state.work.pop_front() {
                drop(state);
                work();
                state = self.lock();
                continue;
            }
            state.idle += 1;
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
        state.threads -= 1;
        drop(state);
        self.ended.notify_all();
    }

    /// Lets nothing more begin; what waits is dropped.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let dropped = std::mem::take(&mut state.work);
        drop(state);
        drop(dropped);
        self.changed.notify_all();
    }

    /// After `close`: waits until the threads have ended; false if some had not by then.
    pub(crate) fn join(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut state = self.lock();
        while state.threads > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.ended.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}
