//! Why a program did not do what it was started for, and how programs end.

use std::{fmt, io, time::Duration};

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Someone else collected its status (only if the process ignores SIGCHLD).
    Unknown,
}

impl Exit {
    /// Exit code 0?
    pub fn success(self) -> bool {
        self == Self::Code(0)
    }

    /// The exit code, or what a shell would say of a signal: 128 + its number.
    pub fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
            Self::Unknown => -1,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::Unknown => f.write_str("an unknown end"),
        }
    }
}

/// Why a program did not do what it was started for. No variant ever holds what went through stdin.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// No such program in the folders searched.
    #[error("program {program} is not installed")]
    NotFound {
        /// As asked for.
        program: String,
    },
    /// An argument, a variable or a path holds a zero byte, or the path is relative.
    #[error("cannot run {program}: {why}")]
    Invalid {
        /// As asked for.
        program: String,
        /// What is wrong.
        why: &'static str,
    },
    /// It could not be started.
    #[error("cannot start {program} ({step})")]
    Start {
        /// As asked for.
        program: String,
        /// The step between clone and execve that failed: `execve`, `chdir`, `setuid`, ...
        step: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// It did not end in time; it and its children were killed.
    #[error("{program} did not end within {after:?}, killed")]
    TimedOut {
        /// As asked for.
        program: String,
        /// The time it was given.
        after: Duration,
        /// The end of its standard error.
        stderr: String,
    },
    /// The caller cancelled; it and its children were killed.
    #[error("{program} was cancelled")]
    Cancelled {
        /// As asked for.
        program: String,
    },
    /// It ended, and not with exit code 0. Only from [`crate::Output::check`].
    #[error("{program} ended with {exit}: {stderr}")]
    Failed {
        /// As asked for.
        program: String,
        /// How it ended.
        exit: Exit,
        /// The end of its standard error.
        stderr: String,
    },
    /// Its standard output was longer than allowed. Only from [`crate::Output::whole_stdout`].
    #[error("{program} wrote {dropped} bytes more than allowed")]
    TooMuchOutput {
        /// As asked for.
        program: String,
        /// Bytes lost from its beginning.
        dropped: u64,
    },
    /// Talking to it failed.
    #[error("cannot talk to {program}")]
    Io {
        /// As asked for.
        program: String,
        /// The system's answer.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_as_a_shell_says_them() {
        assert!(Exit::Code(0).success());
        assert!(!Exit::Code(1).success());
        assert!(!Exit::Signal(9).success());
        assert_eq!(Exit::Signal(9).code(), 137);
        assert_eq!(Exit::Code(3).code(), 3);
        assert_eq!(Exit::Signal(15).to_string(), "signal 15");
    }
}
