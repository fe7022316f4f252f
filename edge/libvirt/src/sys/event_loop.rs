//! Owns: the one thread of the process that runs libvirt's event loop.
//!
//! States: stopped (no user) ⇄ running (at least one [`EventLoop`] lives). The loop is a matter of the whole process:
//! libvirt knows only one. It delivers events, sends keepalive messages and notices lost connections. A timer wakes
//! it when it shall stop; before it ends it runs what libvirt left to be freed.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{Builder, JoinHandle},
    time::Duration,
};

use libc::{c_int, c_void};

use super::{
    check,
    failure::{Failure, SysResult},
    init,
};

/// Rounds that the loop goes on after it was told to stop: libvirt frees handles and timers of closed connections
/// when the loop has nothing more urgent to do, and what is freed may leave more to be freed.
const DRAIN_ROUNDS: usize = 4;

/// Counts the calls of [`freed`].
static FREED: AtomicUsize = AtomicUsize::new(0);

struct Running {
    users: usize,
    timer: c_int,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

static LOOP: Mutex<Option<Running>> = Mutex::new(None);

/// Keeps the event loop running while it lives.
#[derive(Debug)]
pub(crate) struct EventLoop(());

impl EventLoop {
    /// Starts the loop, or joins its users.
    pub(crate) fn start() -> SysResult<Self> {
        init()?;
        let mut guard = LOOP.lock().unwrap_or_else(PoisonError::into_inner);
        match guard.as_mut() {
            Some(running) => running.users += 1,
            None => *guard = Some(spawn()?),
        }
        Ok(Self(()))
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        let mut guard = LOOP.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(running) = guard.as_mut() else {
            return;
        };
        running.users -= 1;
        if running.users > 0 {
            return;
        }
        if let Some(running) = guard.take() {
            stop(running);
        }
    }
}

/// The timer's only task is to end the wait inside the loop.
extern "C" fn wake(_timer: c_int, _opaque: *mut c_void) {}

/// Called by the loop when a timer that was removed is freed.
extern "C" fn freed(_opaque: *mut c_void) {
    FREED.fetch_add(1, Ordering::AcqRel);
}

/// Adds a timer that never fires unless it is told to.
fn add_timer() -> SysResult<c_int> {
    // SAFETY: both functions live as long as the program and use no opaque data.
    check(unsafe {
        virt_sys::virEventAddTimeout(-1, Some(wake), std::ptr::null_mut(), Some(freed))
    })
}

fn remove_timer(timer: c_int) {
    // SAFETY: takes the number of a timer; one that is not there is an error and nothing else.
    unsafe { virt_sys::virEventRemoveTimeout(timer) };
}

fn spawn() -> SysResult<Running> {
    let timer = add_timer()?;
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let thread = Builder::new()
        .name("libvirt-events".into())
        .spawn(move || run(&flag, timer))
        .map_err(|error| {
            remove_timer(timer);
            Failure::internal(format!("thread for events: {error}"))
        })?;
    Ok(Running {
        users: 1,
        timer,
        stop,
        thread,
    })
}

fn run(stop: &AtomicBool, timer: c_int) {
    while !stop.load(Ordering::Acquire) {
        iterate();
    }
    drain(timer);
}

/// Runs what libvirt left to be freed. The loop frees in turn, so that whatever was there before a timer of ours was
/// removed is free when that timer is; no time is involved.
fn drain(mut timer: c_int) {
    for _ in 0..DRAIN_ROUNDS {
        let before = FREED.load(Ordering::Acquire);
        remove_timer(timer);
        while FREED.load(Ordering::Acquire) == before && iterate() {}
        match add_timer() {
            Ok(next) => timer = next,
            Err(_) => return,
        }
    }
    remove_timer(timer);
}

/// One turn. False if it failed, which is not expected ever.
fn iterate() -> bool {
    // SAFETY: the default implementation is registered (init came first) and only this thread runs it: `LOOP`
    // holds at most one thread, and it is joined before another one starts.
    if unsafe { virt_sys::virEventRunDefaultImpl() } == 0 {
        return true;
    }
    tracing::error!(error = %Failure::last().message, "libvirt's event loop failed");
    std::thread::sleep(Duration::from_millis(100));
    false
}

/// Called with `LOOP` locked, so that no second loop starts meanwhile. Callbacks never take that lock.
fn stop(running: Running) {
    running.stop.store(true, Ordering::Release);
    // SAFETY: the timer was made by `spawn`; one that the thread has removed already is an error and nothing else.
    unsafe { virt_sys::virEventUpdateTimeout(running.timer, 0) };
    if running.thread.join().is_err() {
        tracing::error!("the thread of libvirt's events panicked");
    }
}
