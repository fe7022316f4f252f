//! Conditions that come true in their time.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::LONG;

/// Waits until it is so.
#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    wait_for(what, || is_so().then_some(()));
}

/// Waits for something; says what was waited for if it does not come within [`LONG`].
#[track_caller]
pub fn wait_for<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    wait_or(what, String::new, condition)
}

/// As [`wait_for`], and says more then.
#[track_caller]
pub fn wait_or<T>(
    what: &str,
    more: impl Fn() -> String,
    mut condition: impl FnMut() -> Option<T>,
) -> T {
    let until = Instant::now() + LONG;
    loop {
        if let Some(it) = condition() {
            return it;
        }
        let left = until > Instant::now();
        assert!(left, "{what}: not within {LONG:?}; {}", more());
        thread::sleep(Duration::from_millis(20));
    }
}
