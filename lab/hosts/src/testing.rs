//! How a test uses the lab: a world for it, evidence if it fails, nothing left in any case.

use std::{
    error::Error,
    io::Write as _,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    time::Instant,
};

use crate::Lab;

/// Runs a test in a lab of its own. An error, a panic or something left behind fails it; the first two leave evidence in
/// `target/lab/<name>/`, and where is printed.
///
/// # Panics
/// When the test fails: that is how a test fails.
#[track_caller]
pub fn test<E: Into<Box<dyn Error>>>(name: &str, body: impl FnOnce(&Lab) -> Result<(), E>) {
    let lab = match Lab::start(name) {
        Ok(lab) => lab,
        Err(error) => fail(&chain(&error)),
    };
    let began = Instant::now();
    match catch_unwind(AssertUnwindSafe(|| body(&lab))) {
        Ok(Ok(())) => {
            if let Err(error) = lab.finish() {
                fail(&chain(&error));
            }
            note(&format!("{name}: {}", figures(began)));
        }
        Ok(Err(error)) => {
            tell(&lab, began);
            drop(lab);
            fail(&chain(error.into().as_ref()));
        }
        Err(panic) => {
            tell(&lab, began);
            drop(lab);
            resume_unwind(panic);
        }
    }
}

/// How long a test took, and how busy the machine is.
fn figures(began: Instant) -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    format!("{:.0} s, load {load}", began.elapsed().as_secs_f64())
}

fn tell(lab: &Lab, began: Instant) {
    let folder = lab.collect();
    note(&format!(
        "{} failed after {}: evidence in {}",
        lab.name(),
        figures(began),
        folder.display()
    ));
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// A line of progress. Not through `eprintln`, which a test's harness would hold back.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "lab: {text}");
}

#[expect(clippy::panic, reason = "a panic is how a test fails")]
#[track_caller]
fn fail(why: &str) -> ! {
    panic!("{why}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LabError;

    #[test]
    fn causes_are_told() {
        let error = LabError::file("read", "/x")(std::io::ErrorKind::NotFound.into());
        assert_eq!(chain(&error), "cannot read /x: entity not found");
    }
}
