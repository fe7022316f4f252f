//! Ctrl-C and its kin: they cancel a token instead of ending the process, so that what was started can be
//! ended in order. States: quiet, interrupted (once, for good).

use std::{
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use exec::Cancel;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

static TOKEN: OnceLock<Cancel> = OnceLock::new();

/// The token; from the first call on signals cancel it and do nothing else.
pub(crate) fn token() -> Result<Cancel> {
    if let Some(token) = TOKEN.get() {
        return Ok(token.clone());
    }
    let token = TOKEN.get_or_init(Cancel::new).clone();
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot catch signals")?;
    let cancelled = token.clone();
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            // Later signals are swallowed: the way down has its own deadlines.
            for _ in signals.forever() {
                cancelled.cancel();
            }
        })
        .context("cannot start a thread")?;
    Ok(token)
}

/// Polls `done` until it gives something. Errors: interrupted, or nothing by the deadline (`what` names it).
pub(crate) fn wait_for<T>(
    what: &str,
    timeout: Duration,
    cancel: &Cancel,
    mut done: impl FnMut(Duration) -> Result<Option<T>>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        if cancel.is_cancelled() {
            bail!("interrupted");
        }
        match done(started.elapsed()) {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            // Most likely the interruption itself: what ran with the token was ended.
            Err(_) if cancel.is_cancelled() => bail!("interrupted"),
            Err(error) => return Err(error),
        }
        if started.elapsed() >= timeout {
            bail!("{what}: not within {} s", timeout.as_secs());
        }
        thread::sleep(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_with_the_find_the_deadline_or_the_interruption() {
        let cancel = Cancel::new();
        let mut calls = 0;
        let found = wait_for("it", Duration::from_secs(5), &cancel, |_| {
            calls += 1;
            Ok((calls == 2).then_some(calls))
        });
        assert_eq!(found.unwrap(), 2);
        let late = wait_for("the thing", Duration::ZERO, &cancel, |_| Ok(None::<()>)).unwrap_err();
        assert_eq!(late.to_string(), "the thing: not within 0 s");
        cancel.cancel();
        let stopped =
            wait_for("it", Duration::from_secs(5), &cancel, |_| Ok(Some(()))).unwrap_err();
        assert_eq!(stopped.to_string(), "interrupted");
    }
}
