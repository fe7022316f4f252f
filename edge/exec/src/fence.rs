//! Fence agents (`fence_ipmilan`, ...): programs that switch the power of other hosts.
//!
//! An agent is named, never pathed: `[a-z0-9_]+`, and `fence_<name>` must be a program directly in one folder.
//! What it is told goes through its standard input, a `key=value` a line, passwords among it; nothing of that is
//! in its arguments, its environment, our log or our errors. Its output is bounded, and at the deadline it is
//! killed with all that it has started, also what has left its session and lost its parent.
//!
//! Which keys, which actions, what the exit code means: the policy is `host`'s.

use std::{fmt, path::Path, time::Duration};

use zeroize::Zeroizing;

use crate::{Cancel, Command, ExecError, Output, SEARCH};

/// Where packages put fence agents (upstream: `/usr/sbin/fence_`).
pub const DIRECTORY: &str = "/usr/sbin";

/// Bytes kept of what an agent writes, of each of its two outputs.
pub const OUTPUT_LIMIT: usize = 64 << 10;

/// The longest name of an agent.
const LONGEST_NAME: usize = 64;

/// Between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// Name of a fence agent, without `fence_`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentName(String);

impl AgentName {
    /// `None` if it is not 1 to 64 of `[a-z0-9_]`.
    pub fn new(name: &str) -> Option<Self> {
        let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
        let fits = (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(plain);
        fits.then(|| Self(name.to_owned()))
    }

    /// The program, `fence_<name>`.
    pub fn program(&self) -> String {
        format!("fence_{}", self.0)
    }
}

/// Lines for an agent's standard input. Sealed: no `Debug` shows them, and they are overwritten when dropped.
#[derive(Default)]
pub struct Lines(Zeroizing<Vec<u8>>);

/// A key or a value that would become another line, or that an agent could not read as it was meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a control character in a line for a fence agent")]
pub struct NotOneLine;

impl Lines {
    /// None yet.
    pub fn new() -> Self {
        // Room for what agents are told: growing would leave copies behind that nobody overwrites.
        Self(Zeroizing::new(Vec::with_capacity(32 << 10)))
    }

    /// Adds `key=value`.
    ///
    /// # Errors
    /// [`NotOneLine`]; nothing was added.
    pub fn push(&mut self, key: &str, value: &str) -> Result<(), NotOneLine> {
        self.line(&[key, "=", value])
    }

    /// Adds a key alone.
    ///
    /// # Errors
    /// [`NotOneLine`]; nothing was added.
    pub fn push_flag(&mut self, key: &str) -> Result<(), NotOneLine> {
        self.line(&[key])
    }

    fn line(&mut self, parts: &[&str]) -> Result<(), NotOneLine> {
        let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        if parts.iter().any(|part| part.contains(breaks)) {
            return Err(NotOneLine);
        }
        for part in parts {
            self.0.extend_from_slice(part.as_bytes());
        }
        self.0.push(b'\n');
        Ok(())
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lines(..)")
    }
}

/// Runs an agent of a folder to its end. Any exit status is `Ok`.
///
/// # Errors
/// [`ExecError::NotFound`] if the folder has no such program; [`ExecError::TimedOut`] after the deadline, the
/// agent and all that it started killed.
pub fn run(
    folder: &Path,
    agent: &AgentName,
    lines: Lines,
    timeout: Duration,
    cancel: &Cancel,
) -> Result<Output, ExecError> {
    let mut lines = lines;
    Command::new(folder.join(agent.program()))
        // Some agents call other programs by name.
        .env("PATH", SEARCH.join(":"))
        .stdin(std::mem::take(&mut *lines.0))
        .timeout(timeout)
        .grace(GRACE)
        .cancel(cancel)
        .stdout_limit(OUTPUT_LIMIT)
        .stderr_limit(OUTPUT_LIMIT)
        .marked()
        .run()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_names() {
        for name in ["ipmilan", "ilo4", "cisco_ucs", &"a".repeat(64)] {
            assert!(AgentName::new(name).is_some(), "{name}");
        }
        for name in [
            "",
            "../../bin/sh",
            "ipmilan;rm",
            "ipmilan\n",
            "/bin/sh",
            ".",
            "..",
            "a b",
            "a-b",
            "IPMILAN",
            "a\0",
            "\u{e4}",
            &"a".repeat(65),
        ] {
            assert!(AgentName::new(name).is_none(), "{name:?}");
        }
    }

    #[test]
    fn a_line_stays_one_line() {
        let mut lines = Lines::new();
        lines
            .push("passwd", "100%s \u{fc} = \"x\" $(id) `id` ;")
            .unwrap();
        lines.push_flag("lanplus").unwrap();
        for bad in [
            "a\nb", "a\rb", "\0", "\u{85}", "\u{2028}", "\u{2029}", "\u{7f}", "\t",
        ] {
            assert_eq!(lines.push("key", bad), Err(NotOneLine), "{bad:?}");
            assert_eq!(lines.push(bad, "value"), Err(NotOneLine), "{bad:?}");
            assert_eq!(lines.push_flag(bad), Err(NotOneLine), "{bad:?}");
        }
        let written = String::from_utf8(lines.0.to_vec()).unwrap();
        assert_eq!(
            written,
            "passwd=100%s \u{fc} = \"x\" $(id) `id` ;\nlanplus\n"
        );
        assert_eq!(format!("{lines:?}"), "Lines(..)");
    }

    proptest! {
        #[test]
        fn there_are_as_many_lines_as_were_taken(fields in prop::collection::vec((".*", ".*"), 0..20)) {
            let mut lines = Lines::new();
            let taken = fields.iter().filter(|(key, value)| lines.push(key, value).is_ok()).count();
            let written = String::from_utf8(lines.0.to_vec()).unwrap();
            prop_assert_eq!(written.lines().count(), taken);
        }

        #[test]
        fn a_name_never_leaves_its_folder(name in "\\PC{0,80}") {
            if let Some(agent) = AgentName::new(&name) {
                let path = Path::new(DIRECTORY).join(agent.program());
                prop_assert_eq!(path.parent(), Some(Path::new(DIRECTORY)));
            }
        }
    }
}
