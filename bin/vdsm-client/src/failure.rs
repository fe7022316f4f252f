//! How a run can fail: its words, the remedy that follows them, and the exit code of each class.
//!
//! 1 the agent answered an error, 2 wrong usage, 3 no connection, 4 no answer in time, 5 what was waited for
//! failed, 130 interrupted while waiting. Upstream's client knows 1 and 2.

use std::{
    error::Error,
    fmt::Write as _,
    io::{self, Write},
};

use rpc::ClientError;
use schema::RpcCode;

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
        /// What may help.
        remedy: &'static str,
    },
    /// No answer, or no event, in time.
    #[error("{what} timed out after {seconds} seconds")]
    Timeout {
        /// What was asked.
        what: String,
        /// How long it was waited for.
        seconds: f64,
        /// What may help.
        remedy: String,
    },
    /// The agent answered an error.
    #[error("Command {method} with args {args} failed:\n(code={code}, message={message})")]
    Verb {
        /// The verb.
        method: String,
        /// Its parameters, secrets masked.
        args: String,
        /// Code.
        code: i64,
        /// Text.
        message: String,
    },
    /// A task or a job was waited for, and did not do what it should.
    #[error("{what} {outcome} (code={code}, message={message})")]
    Ended {
        /// Which, with its id.
        what: String,
        /// How it ended.
        outcome: String,
        /// VDSM's code of the failure.
        code: i64,
        /// The agent's text.
        message: String,
    },
    /// Interrupted while something was waited for.
    #[error("interrupted: {what}")]
    Interrupted {
        /// What goes on without us.
        what: String,
        /// How to follow it.
        remedy: String,
    },
    /// Some calls of a batch failed; each was told in its own line.
    #[error("{failed} of {calls} calls failed")]
    Batch {
        /// So many.
        failed: u64,
        /// Of so many.
        calls: u64,
        /// Exit code of the first that failed.
        exit_code: u8,
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
            Self::Ended { .. } => 5,
            Self::Batch { exit_code, .. } => *exit_code,
            Self::Interrupted { .. } => 130,
        }
    }

    /// Its class in a line of a batch.
    pub(crate) fn class(&self) -> &'static str {
        match self {
            Self::Verb { .. } => "agent",
            Self::Clap(_) | Self::Usage(_) | Self::File { .. } => "usage",
            Self::Connection { .. } => "connection",
            Self::Timeout { .. } => "timeout",
            _ => "client",
        }
    }

    /// Tells what went wrong, and what may help.
    pub(crate) fn tell(&self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Clap(text) => write!(out, "{text}"),
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => {
                writeln!(out, "vdsm-client: {}", clean(&other.to_string()))?;
                match other.remedy() {
                    Some(remedy) => writeln!(out, "{}", clean(&remedy)),
                    None => Ok(()),
                }
            }
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Connection { remedy, .. } => Some((*remedy).to_owned()),
            Self::Timeout { remedy, .. } | Self::Interrupted { remedy, .. } => Some(remedy.clone()),
            Self::Verb { method, code, .. } => remedy_of_code(method, *code),
            _ => None,
        }
        .filter(|remedy| !remedy.is_empty())
    }
}

fn remedy_of_code(method: &str, code: i64) -> Option<String> {
    let words = method.replacen('.', " ", 1);
    let is = |known: i32| code == i64::from(known);
    if is(RpcCode::MethodNotFound.number()) {
        Some("This agent does not have the verb: it is of another version.".to_owned())
    } else if is(RpcCode::InvalidParams.number()) {
        Some(format!(
            "Its parameters and their types: vdsm-client {words} -h"
        ))
    } else if is(RpcCode::NotImplemented.number()) {
        Some("All verbs that are still to come: vdsm-client --unimplemented".to_owned())
    } else {
        None
    }
}

/// What may help against a connection that failed.
pub(crate) fn remedy_of(error: &ClientError, use_tls: bool) -> &'static str {
    match error {
        ClientError::TlsFiles { .. } => {
            "Name readable PEM files with --cert, --key and --ca; an agent without TLS wants --insecure."
        }
        ClientError::Tls { .. } => {
            "The agent's certificate must chain to --ca, and the agent must know the issuer of --cert; \
             an agent without TLS wants --insecure."
        }
        ClientError::Connect { .. } | ClientError::Timeout { .. } if use_tls => {
            "Does the agent run there (systemctl status vdsmd)? --host and --port say where."
        }
        ClientError::Connect { .. } | ClientError::Timeout { .. } => {
            "Does the agent run there (systemctl status vdsmd)? --host and --port say where; \
             an agent with TLS wants no --insecure."
        }
        _ => "The agent went away or was restarted: what was asked may have happened, or not.",
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
