//! How a run can fail, and the exit code of each: 1 the agent answered an error, 2 wrong usage, 3 no connection,
//! 4 no answer in time.

use std::{
    error::Error,
    fmt::Write as _,
    io::{self, Write},
};

use rpc::ClientError;

use crate::output::clean;

/// A run that did not end well.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line is wrong: text of the parser, finished.
    #[error("{0}")]
    Clap(String),
    /// The command line is right in form, and wrong in meaning.
    #[error("{0}")]
    Usage(String),
    /// A file of parameters cannot be read.
    #[error("cannot read {file}: {source}")]
    File {
        /// Its name, or `standard input`.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// There is no connection, or it was lost.
    #[error("Connection to {address} with use_tls={use_tls} failed: {reason}")]
    Connection {
        /// `host:port`.
        address: String,
        /// Over TLS?
        use_tls: bool,
        /// Why, with all causes.
        reason: String,
    },
    /// No answer, or no event, in time.
    #[error("{what} timed out after {seconds} seconds")]
    Timeout {
        /// What was asked.
        what: String,
        /// How long it was waited for.
        seconds: f64,
    },
    /// The agent answered an error.
    #[error("Command {method} with args {args} failed:\n(code={code}, message={message})")]
    Verb {
        /// The verb.
        method: &'static str,
        /// Its parameters, secrets masked.
        args: String,
        /// Code.
        code: i64,
        /// Text.
        message: String,
    },
    /// The answer cannot be printed.
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
    /// The answer is no JSON, or a runtime could not be made.
    #[error("{0}")]
    Internal(String),
}

impl Failure {
    /// The exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            // Whoever reads our output has seen enough (`| head`).
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Verb { .. } | Self::Output(_) | Self::Internal(_) => 1,
            Self::Clap(_) | Self::Usage(_) | Self::File { .. } => 2,
            Self::Connection { .. } => 3,
            Self::Timeout { .. } => 4,
        }
    }

    /// Tells what went wrong.
    pub(crate) fn tell(&self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Clap(text) => write!(out, "{text}"),
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => writeln!(out, "vdsm-client: {}", clean(&other.to_string())),
        }
    }
}

/// An error with all its causes in one line.
pub(crate) fn causes(error: &ClientError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a string cannot fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}
