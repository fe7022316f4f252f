//! Why a verb on a VM did not happen. Each variant goes to one VDSM code (upstream's
//! `common/exception.py`), named in its comment; the mapping itself is in `bin/vdsmd`.

use vm_model::{
    ports::{HypervisorError, VmId},
    status::VmStatus,
};

/// Why a verb on a VM did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VmError {
    /// Code 1 `noVM` (NoSuchVM).
    #[error("Virtual machine does not exist: {{'vmId': '{0}'}}")]
    NoSuchVm(VmId),
    /// Code 4 `exist` (VMExists).
    #[error("Virtual machine already exists")]
    VmExists(VmId),
    /// Code 6 `down` (VMIsDown): the verb needs a domain that runs.
    #[error("Virtual machine is down")]
    VmIsDown(VmId),
    /// Code 9 `createErr` (CannotCreateVM).
    #[error("Error creating the requested VM: {0}")]
    CannotCreate(String),
    /// Code 11 `MissParam` (MissingParameter).
    #[error("Missing required parameter: {0}")]
    MissingParameter(&'static str),
    /// Code 16 `unexpected` (UnexpectedError): the XML of the VM cannot be used.
    #[error("Unexpected exception: bad domain XML: {0}")]
    BadXml(String),
    /// Code 16 `unexpected`: the verb is not possible in this state.
    #[error("Unexpected exception: cannot {verb} while {status}")]
    WrongState {
        /// What was asked.
        verb: &'static str,
        /// What the VM does.
        status: VmStatus,
    },
    /// Code 16 `unexpected`: the hypervisor refused.
    #[error("Unexpected exception: cannot {verb}: {source}")]
    Hypervisor {
        /// What was asked.
        verb: &'static str,
        /// What it said.
        source: HypervisorError,
    },
    /// Code 16 `unexpected`: another verb holds the VM, or the domain does not answer, past the deadline.
    #[error("Unexpected exception: {verb}: VM {vm_id} does not answer")]
    TimedOut {
        /// The VM.
        vm_id: VmId,
        /// What was asked.
        verb: &'static str,
    },
    /// Code 19 `nonresp` (NonResponsiveGuestAgent).
    #[error("Guest agent non-responsive")]
    AgentUnresponsive(VmId),
    /// Code 42 `destroyErr` (VMDestroyFailed).
    #[error("Virtual machine destroy error: {why}")]
    DestroyFailed {
        /// The VM.
        vm_id: VmId,
        /// Why.
        why: String,
    },
    /// Code 75 (UnsupportedOperation): known, but not built yet.
    #[error("Operation not supported: {0}")]
    NotBuilt(String),
    /// Code 90 (ResetFailed).
    #[error("Failed to reset VM.: {why}")]
    ResetFailed {
        /// The VM.
        vm_id: VmId,
        /// Why.
        why: String,
    },
    /// Code 99 (RecoveryInProgress): VMs are still being found after a start.
    #[error("Recovering from crash or Initializing")]
    Recovering,
}
