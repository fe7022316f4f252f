//! Why a verb of networks fails. The number of each for Engine is chosen by whoever answers.

use net_model::NetError;

/// Why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// What was asked for cannot be; nothing was done.
    #[error(transparent)]
    Refused(#[from] NetError),
    /// Another change is being made, or waits to be confirmed.
    #[error("another change of networks is under way")]
    Busy,
    /// The client did not confirm in time; the change is undone, or what is not is told.
    #[error("connectivity check failed{}", rest(.left.as_deref()))]
    NotConfirmed {
        /// Why it is not known to be undone, if so.
        left: Option<String>,
    },
    /// Root died before the client confirmed; the change is undone, or what is not is told.
    #[error("the root helper ended before the change was confirmed{}", rest(.left.as_deref()))]
    Orphaned {
        /// Why it is not known to be undone, if so.
        left: Option<String>,
    },
    /// What the host has could not be read.
    #[error("cannot read the host's networks: {0}")]
    Unreadable(String),
    /// The root helper.
    #[error(transparent)]
    Root(#[from] RootError),
}

fn rest(left: Option<&str>) -> String {
    let told = left.map(|it| format!("; not known to be undone: {it}"));
    told.unwrap_or_default()
}

/// Why the root helper did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootError {
    /// It is not there, or not configured; nothing was done.
    #[error("this needs the root helper: {0}")]
    Absent(String),
    /// It makes another change.
    #[error("another change of networks is under way")]
    Busy,
    /// The running configuration changed since it was read; nothing was done.
    #[error("the networks were changed by somebody else meanwhile")]
    Stale,
    /// It said no, or failed and undid what it had done.
    #[error("{message}")]
    Refused {
        /// VDSM's number.
        code: u32,
        /// Why.
        message: String,
    },
    /// Anything else; what was done is not known to the agent.
    #[error("{0}")]
    Failed(String),
}
