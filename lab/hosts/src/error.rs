//! What can go wrong with a lab host. Every variant names the host (or the place) and the step.

use std::{io, path::PathBuf, time::Duration};

use exec::{ExecError, Exit};

/// Why the lab did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// There is no image to boot from.
    #[error("no image of a lab host in {}: `make lab` builds it", dir.display())]
    NoImage {
        /// Where it was looked for.
        dir: PathBuf,
    },
    /// Something with the lab's own files failed.
    #[error("cannot {step} {}", path.display())]
    File {
        /// What was done.
        step: &'static str,
        /// To what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The paths of the lab's sockets would be longer than the kernel allows.
    #[error("the path {} is too long for a socket: choose a shorter LAB_DIR", path.display())]
    LongPath {
        /// The path.
        path: PathBuf,
    },
    /// A program could not be run.
    #[error("{host}: cannot run a program ({step})")]
    Program {
        /// The host that it was for.
        host: String,
        /// What for.
        step: &'static str,
        /// Why.
        source: ExecError,
    },
    /// QEMU ended by itself.
    #[error("{host}: QEMU ended with {exit} while {step}: {said}")]
    Ended {
        /// The host.
        host: String,
        /// What was under way.
        step: &'static str,
        /// How it ended.
        exit: Exit,
        /// The end of what QEMU, or else the console, said.
        said: String,
    },
    /// It did not become ready in time.
    #[error(
        "{host}: not ready within {after:?} ({step}); ssh said: {ssh}; its console ends with:\n{console}"
    )]
    NotReady {
        /// The host.
        host: String,
        /// What was waited for.
        step: &'static str,
        /// How long.
        after: Duration,
        /// What ssh said last.
        ssh: String,
        /// The end of the serial console's log.
        console: String,
    },
    /// The host has no power.
    #[error("{host}: is off (asked for: {step})")]
    Off {
        /// The host.
        host: String,
        /// What was asked for.
        step: String,
    },
    /// QEMU's monitor did not do what it was told.
    #[error("{host}: QEMU's monitor, {command}: {why}")]
    Monitor {
        /// The host.
        host: String,
        /// The monitor's command.
        command: String,
        /// What it, or the system, said.
        why: String,
    },
    /// A command could not be brought to the host, or its end was not heard of.
    #[error("{host}: no way to run `{command}`: {why}")]
    Channel {
        /// The host.
        host: String,
        /// The command.
        command: String,
        /// What ssh said.
        why: String,
    },
    /// A command did not end in time; it was killed.
    #[error("{host}: `{command}` did not end within {after:?}: {stderr}")]
    TimedOut {
        /// The host.
        host: String,
        /// The command.
        command: String,
        /// The time it was given.
        after: Duration,
        /// The end of its standard error.
        stderr: String,
    },
    /// A command that had to succeed did not.
    #[error("{host}: `{command}` ended with {code}\n{stdout}{stderr}")]
    Failed {
        /// The host.
        host: String,
        /// The command.
        command: String,
        /// Its exit code.
        code: i32,
        /// The end of its output.
        stdout: String,
        /// The end of its standard error.
        stderr: String,
    },
    /// A condition did not come true in time.
    #[error("{host}: {what} not within {after:?}; last: {last}")]
    NeverTrue {
        /// The host.
        host: String,
        /// What was waited for.
        what: String,
        /// How long.
        after: Duration,
        /// How the last try ended.
        last: String,
    },
    /// At the end of a test something was left on the machine that runs the lab.
    #[error("left behind: {what}")]
    Leak {
        /// What.
        what: String,
    },
    /// A test asked for something that the lab does not have.
    #[error("{0}")]
    Wrong(String),
    /// Ctrl-C, or its kin.
    #[error("interrupted")]
    Interrupted,
}

impl LabError {
    /// For `map_err` on the lab's own files.
    pub(crate) fn file(
        step: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { step, path, source }
    }
}

/// What everything here answers.
pub type Result<T, E = LabError> = std::result::Result<T, E>;
