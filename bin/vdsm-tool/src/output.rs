//! What is said, and where: answers on standard output, everything else on standard error.
//!
//! A reader that has gone (a closed pipe) is no reason to stop half-way: errors of writing are ignored.

use std::io::{self, IsTerminal as _, Write as _};

/// A line of an answer.
pub(crate) fn line(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// A line that tells what happens.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Why it did not work.
pub(crate) fn problem(text: &str) {
    let _ = writeln!(io::stderr(), "vdsm-tool: {text}");
}

/// A line that the next one overwrites; nothing where nobody watches.
pub(crate) fn passing(text: &str) {
    if io::stdout().is_terminal() {
        let mut out = io::stdout().lock();
        let _ = write!(out, "\r\x1b[K{text}");
        let _ = out.flush();
    }
}

/// Takes a passing line away.
pub(crate) fn clear_passing() {
    passing("");
}
