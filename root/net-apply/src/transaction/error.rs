//! Why a change was not made, or does not last; and how the asker is told.

use std::{error::Error, fmt::Write as _, time::Duration};

use net_model::{NetError, duplicates::Duplicate};
use observe::netconf::NetconfError;
use persist::PersistError;
use privileged::{NetworkSet, Refusal};

use super::lines;
use crate::{ApplyError, store::StoreError};

/// VDSM's number of a change that the kernel did not take (`ERR_FAILED_IFUP`).
const FAILED: u32 = 29;

/// VDSM's number of what nobody expects (`unexpected`).
const UNEXPECTED: u32 = 16;

/// Why a change was not made, or does not last. Where nothing else is said, nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// One at a time.
    #[error("another change of networks is under way")]
    Busy {
        /// For how long.
        since: Duration,
    },
    /// It starts from a configuration that is not the running one any more.
    #[error("the running configuration has changed since the request was made")]
    Stale,
    /// It cannot be.
    #[error("the change cannot be")]
    Invalid(#[source] NetError),
    /// What is there cannot be read.
    #[error("the state of the network is not known")]
    Unknown(#[source] ApplyError),
    /// The network files cannot be read.
    #[error("the network files cannot be read")]
    Files(#[source] NetconfError),
    /// There is no such generation.
    #[error("the {set} configuration has no generation {back} before the one in force")]
    NoGeneration {
        /// Whose.
        set: NetworkSet,
        /// How many back.
        back: u16,
    },
    /// How to undo the change cannot be written down, so it was not begun; or that it was confirmed.
    #[error("the journal of the change cannot be written")]
    Journal(#[source] PersistError),
    /// A set of files cannot be written.
    #[error("the configuration cannot be stored")]
    Store(#[source] StoreError),
    /// The table of routing tables cannot be written.
    #[error("the routing tables of the networks cannot be stored")]
    Tables(#[source] std::io::Error),
    /// A step failed; what was done is undone.
    #[error("a step failed")]
    Halted(#[source] ApplyError),
    /// All steps were done, yet it is not as desired; undone.
    #[error("after all steps these are still to do: {}", missing.join("; "))]
    Unverified {
        /// What a plan would still do.
        missing: Vec<String>,
    },
    /// All steps were done, yet the kernel has found out that other hosts have addresses of the networks; undone.
    #[error("{}", all(duplicates))]
    Duplicates {
        /// Which.
        duplicates: Vec<Duplicate>,
    },
    /// It was undone, but not all is as before.
    #[error("it is undone, but not all is as before: {}", left.join("; "))]
    Left {
        /// Why it was undone.
        source: Box<ChangeError>,
        /// What is not as before.
        left: Vec<String>,
    },
    /// Nobody confirmed it; undone.
    #[error("the change was not confirmed")]
    Unconfirmed,
}

impl ChangeError {
    /// VDSM's number.
    pub fn code(&self) -> u32 {
        match self {
            Self::Invalid(error) => error.code(),
            Self::NoGeneration { .. } => NetError::BadParams(String::new()).code(),
            Self::Halted(_) | Self::Unverified { .. } => FAILED,
            Self::Duplicates { .. } => NetError::BadAddress(String::new()).code(),
            Self::Unconfirmed => NetError::LostConnection.code(),
            Self::Left { source, .. } => source.code(),
            _ => UNEXPECTED,
        }
    }

    /// As the asker is told.
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::Busy { since } => Refusal::NetworkBusy {
                since_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            },
            Self::Stale => Refusal::NetworkStale {},
            Self::Invalid(error) => Refusal::Network {
                code: error.code(),
                message: error.to_string(),
            },
            Self::Left { source, left } => Refusal::NetworkLeft {
                code: source.code(),
                message: chain(source.as_ref()),
                left: left.clone(),
            },
            other => Refusal::Network {
                code: other.code(),
                message: chain(other),
            },
        }
    }
}

fn all(duplicates: &[Duplicate]) -> String {
    lines(duplicates.iter().map(Duplicate::to_string)).join("; ")
}

/// An error and its reasons on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        // Writing to a string cannot fail.
        let _ = write!(text, ": {error}");
        next = error.source();
    }
    text
}
