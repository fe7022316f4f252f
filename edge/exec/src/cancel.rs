//! A token by which one thread tells another's running program to stop.
//!
//! States: quiet, cancelled (for good). Costs no descriptor until somebody waits.

use std::{
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::event::{EventfdFlags, eventfd};

/// A cancellation token. Clones are the same token.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    cancelled: AtomicBool,
    wakers: Mutex<Vec<Weak<OwnedFd>>>,
}

impl Cancel {
    /// A token that nobody has cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancels: every program that runs with this token is killed, every later one does not start.
    pub fn cancel(&self) {
        self.inner.cancelled.store(true, Ordering::SeqCst);
        let mut wakers = self
            .inner
            .wakers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for fd in wakers.drain(..).filter_map(|weak| weak.upgrade()) {
            // A full counter wakes as well; there is no other way to fail.
            let _ = rustix::io::write(&*fd, &1_u64.to_ne_bytes());
        }
    }

    /// Has someone cancelled?
    pub fn is_cancelled(&self) -> bool {
        self.inner.cancelled.load(Ordering::SeqCst)
    }

    /// A descriptor that becomes readable when the token is cancelled; readable at once if it already is.
    pub(crate) fn waker(&self) -> std::io::Result<Arc<OwnedFd>> {
        let fd = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let mut wakers = self
            .inner
            .wakers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        wakers.retain(|weak| weak.strong_count() > 0);
        if self.is_cancelled() {
            rustix::io::write(&*fd, &1_u64.to_ne_bytes())?;
        } else {
            wakers.push(Arc::downgrade(&fd));
        }
        Ok(fd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waker_hears_what_came_before_and_after_it() {
        let token = Cancel::new();
        let before = token.waker().unwrap();
        let mut counter = [0_u8; 8];
        assert!(rustix::io::read(&*before, &mut counter).is_err());
        token.clone().cancel();
        assert!(token.is_cancelled());
        assert!(rustix::io::read(&*before, &mut counter).is_ok());
        let after = token.waker().unwrap();
        assert!(rustix::io::read(&*after, &mut counter).is_ok());
    }

    #[test]
    fn wakers_that_are_gone_are_forgotten() {
        let token = Cancel::new();
        for _ in 0..100 {
            drop(token.waker().unwrap());
        }
        assert!(token.inner.wakers.lock().unwrap().len() <= 1);
    }
}
