//! What can go wrong with a change.

use net_model::Step;
use netlink::{NetlinkError, Refusal};

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The kernel did not tell what is there.
    #[error("cannot read the state of the network")]
    Read {
        /// Why.
        source: NetlinkError,
    },
    /// The kernel refused a step.
    #[error("the kernel refuses \"{step}\"")]
    Refused {
        /// The step.
        step: Box<Step>,
        /// Its answer.
        source: Refusal,
    },
    /// Something else stands where the step wants to put its own.
    #[error("\"{step}\" cannot be done: {why}")]
    InTheWay {
        /// The step.
        step: Box<Step>,
        /// What is there.
        why: String,
    },
    /// The kernel did not answer.
    #[error("no answer to \"{step}\"")]
    Unanswered {
        /// The step.
        step: Box<Step>,
        /// Why.
        source: NetlinkError,
    },
    /// A file of the kernel or of the system could not be written.
    #[error("cannot write {path} for \"{step}\"")]
    File {
        /// The step.
        step: Box<Step>,
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A DHCP client could not be started, found or ended.
    #[error("DHCP on {link}: {why}")]
    Dhcp {
        /// The interface.
        link: String,
        /// What is wrong.
        why: String,
    },
    /// Another manager of the host's network does not leave an interface to us.
    #[error("{manager}: {why}")]
    Manager {
        /// Who.
        manager: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The deadline passed before a step's turn came.
    #[error("no time was left for \"{step}\"")]
    Late {
        /// The step.
        step: Box<Step>,
    },
}
