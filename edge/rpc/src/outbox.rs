//! What one connection still has to write: a queue of whole frames, bounded in bytes.
//!
//! Anybody may push (the connection's own task, calls that end, the publisher, other connections);
//! only the connection's task takes. Pushing never waits: a queue that is over its bound turns the
//! outbox *ended*, and the connection's task then drops the connection.
//!
//! States, one way: *open* -> *draining* (nothing more is read, what runs is finished and written)
//! -> *ended*. A push after the end is dropped.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::link::CloseReason;

#[derive(Debug)]
pub(crate) struct Outbox {
    limit: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    frames: VecDeque<Bytes>,
    /// Bytes of the frames queued and of the one being written.
    bytes: usize,
    draining: bool,
    ended: Option<CloseReason>,
    waker: Option<Waker>,
}

/// What the connection's task finds in its outbox.
#[derive(Debug)]
pub(crate) enum Next {
    Frame(Bytes),
    Empty { draining: bool },
    Ended(CloseReason),
}

impl Outbox {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            inner: Mutex::default(),
        }
    }

    /// Queues a frame and wakes the connection's task.
    pub(crate) fn push(&self, frame: Bytes) {
        self.push_with(frame, true);
    }

    /// Queues a frame from within the connection's own task, which looks at its outbox anyway.
    pub(crate) fn push_quiet(&self, frame: Bytes) {
        self.push_with(frame, false);
    }

    fn push_with(&self, frame: Bytes, wake: bool) {
        let mut inner = self.lock();
        if inner.ended.is_some() {
            return;
        }
        // One frame is taken whatever its size: an answer may be larger than the bound.
        if inner.bytes > 0 && inner.bytes + frame.len() > self.limit {
            let queued = inner.bytes;
            inner.end(CloseReason::SlowReader { queued });
        } else {
            inner.bytes += frame.len();
            inner.frames.push_back(frame);
            if !wake {
                return;
            }
        }
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Lets the connection's task look again.
    pub(crate) fn wake(&self) {
        let waker = self.lock().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Reads nothing more, finishes and writes what is there, then closes.
    pub(crate) fn drain(&self) {
        self.lock().draining = true;
        self.wake();
    }

    /// The next frame to write; registers the task where there is none.
    pub(crate) fn next(&self, cx: &Context<'_>) -> Next {
        let mut inner = self.lock();
        if let Some(reason) = &inner.ended {
            return Next::Ended(reason.clone());
        }
        if let Some(frame) = inner.frames.pop_front() {
            return Next::Frame(frame);
        }
        inner.register(cx);
        Next::Empty {
            draining: inner.draining,
        }
    }

    /// Whether the connection was ended from outside while its task could not write.
    pub(crate) fn poll_ended(&self, cx: &Context<'_>) -> Poll<CloseReason> {
        let mut inner = self.lock();
        if let Some(reason) = &inner.ended {
            return Poll::Ready(reason.clone());
        }
        inner.register(cx);
        Poll::Pending
    }

    /// Bytes that went out.
    pub(crate) fn written(&self, bytes: usize) {
        let mut inner = self.lock();
        inner.bytes = inner.bytes.saturating_sub(bytes);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics midway; a poisoned queue is a whole one.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn end(&mut self, reason: CloseReason) {
        if self.ended.is_none() {
            self.ended = Some(reason);
            self.frames = VecDeque::new();
        }
    }

    fn register(&mut self, cx: &Context<'_>) {
        match &self.waker {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            _ => self.waker = Some(cx.waker().clone()),
        }
    }
}
