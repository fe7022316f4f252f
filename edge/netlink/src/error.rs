//! Why a conversation with the kernel failed.

use std::{io, time::Duration};

/// Why a conversation with the kernel failed. That the kernel refused one act is no failure of the
/// conversation: see [`crate::Refusal`].
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// No socket.
    #[error("cannot open a netlink socket")]
    Open {
        /// The system's answer.
        source: io::Error,
    },
    /// A request could not be handed over.
    #[error("cannot send over netlink")]
    Send {
        /// The system's answer.
        source: io::Error,
    },
    /// No answer could be taken. `ENOBUFS`: the kernel had more to say than the socket holds.
    #[error("cannot receive over netlink")]
    Receive {
        /// The system's answer.
        source: io::Error,
    },
    /// The kernel did not answer in time.
    #[error("no answer over netlink within {} ms", deadline.as_millis())]
    Late {
        /// The deadline that passed.
        deadline: Duration,
    },
    /// What came is not netlink.
    #[error("a netlink message cannot be read: {why}")]
    Malformed {
        /// What is wrong.
        why: String,
    },
    /// The kernel refused a dump.
    #[error("the kernel refuses a dump")]
    Refused {
        /// Its reason.
        source: crate::Refusal,
    },
    /// What was dumped changed during each attempt.
    #[error("the network changed during each of {attempts} dumps")]
    Restless {
        /// How often it was tried.
        attempts: u32,
    },
}
