//! The one place where errors of the domains become errors of the wire: a code of `schema::Code` and the
//! details as upstream prints them. [`mod@storage`] has storage's, this file the rest.

mod storage;

use host::fence::FenceError;
use network::{NetworkError, RootError};
use schema::{Code, VdsmError};
use tasks::TaskError;
use vm::VmError;

pub(crate) use storage::storage;

/// Upstream's code of a fence agent that failed. It is also that of a missing VM; Engine asks only whether it is 0.
const FENCE_FAILED: i32 = 1;

/// An error of a verb on a VM.
pub(crate) fn vm(error: VmError) -> VdsmError {
    match error {
        VmError::NoSuchVm(id) => VdsmError::no_such_vm(id),
        VmError::VmExists(_) => Code::VMExists.into(),
        VmError::VmIsDown(_) => Code::VMIsDown.into(),
        VmError::CannotCreate(why) => Code::CannotCreateVM.because(why),
        VmError::MissingParameter(name) => Code::MissingParameter.context([("parameter", name)]),
        VmError::AgentUnresponsive(_) => Code::NonResponsiveGuestAgent.into(),
        VmError::DestroyFailed { why, .. } => Code::VMDestroyFailed.because(why),
        VmError::NotBuilt(what) => Code::UnsupportedOperation.because(what),
        VmError::ResetFailed { why, .. } => Code::ResetFailed.because(why),
        VmError::Recovering => Code::RecoveryInProgress.into(),
        VmError::BadXml(why) => unexpected(format!("bad domain XML: {why}")),
        VmError::WrongState { verb, status } => unexpected(format!("cannot {verb} while {status}")),
        VmError::Hypervisor { verb, source } => unexpected(format!("cannot {verb}: {source}")),
        VmError::TimedOut { vm_id, verb } => {
            unexpected(format!("{verb}: VM {vm_id} does not answer in time"))
        }
    }
}

/// What needs iSCSI cannot be on this host.
pub(crate) fn no_iscsi(reason: &str) -> VdsmError {
    let why = format!("iSCSI is not available on this host: {reason}");
    Code::iSCSISetupError.value(why)
}

/// An error of a verb on networks: with upstream's numbers of networks its text is the reason alone.
pub(crate) fn network(error: NetworkError) -> VdsmError {
    /// `ERR_LOST_CONNECTION`; Engine calls it `noConPeer`.
    const LOST_CONNECTION: u32 = 10;
    let with = |code: u32, message: String| VdsmError {
        code: i32::try_from(code).unwrap_or(i32::MAX),
        message,
    };
    let text = error.to_string();
    match error {
        NetworkError::Refused(refused) => with(refused.code(), text),
        NetworkError::NotConfirmed { .. } | NetworkError::Orphaned { .. } => {
            with(LOST_CONNECTION, text)
        }
        NetworkError::Root(RootError::Refused { code, .. }) => with(code, text),
        NetworkError::Busy | NetworkError::Root(RootError::Busy | RootError::Stale) => {
            Code::ResourceUnavailable.because(text)
        }
        NetworkError::Unreadable(_)
        | NetworkError::Root(RootError::Absent(_) | RootError::Failed(_)) => unexpected(text),
    }
}

/// An error of fencing. What the agent says of its failure is the whole text, as upstream answers it.
pub(crate) fn fence(error: FenceError) -> VdsmError {
    match error {
        FenceError::UnsupportedAgent => Code::UnsupportedFenceAgent.into(),
        FenceError::Field { .. } => Code::InvalidParameterException.value(error.to_string()),
        FenceError::PolicyUnknowable => Code::UnsupportedOperation.because(error),
        FenceError::AgentFailed { code, said } => VdsmError {
            code,
            message: said,
        },
        FenceError::Agent(_) => VdsmError {
            code: FENCE_FAILED,
            message: error.to_string(),
        },
    }
}

/// An error of a verb on a task.
pub(crate) fn task(error: &TaskError) -> VdsmError {
    let state_error = |why: String| Code::TaskStateError.args([why]);
    match error {
        TaskError::Unknown { id } => Code::UnknownTask.args([id.as_str()]),
        TaskError::InvalidId { id } => {
            Code::InvalidParameterException.value(format!("taskID={id}"))
        }
        TaskError::NotClearable { state } => {
            state_error(format!("can't clean in state {}", state.name()))
        }
        TaskError::NotRunning { state } => state_error(state.name().to_owned()),
        TaskError::NotFinished { state } => {
            Code::TaskNotFinished.args([format!("can't rollback in state {}", state.name())])
        }
        TaskError::NotRevertable { state } => {
            Code::TaskStateTransitionError.args([format!("from {} to racquiring", state.name())])
        }
        TaskError::Refused { why } => Code::AddTaskError.args([why.as_str()]),
        TaskError::ShuttingDown => Code::ShuttingDownError.into(),
        TaskError::Persist(source) | TaskError::Open(source) => {
            Code::TaskPersistError.args([with_reasons(source)])
        }
    }
}

/// An error and what it came from, in one line.
fn with_reasons(error: &dyn std::error::Error) -> String {
    let reasons = std::iter::successors(error.source(), |error| error.source());
    reasons.fold(error.to_string(), |text, reason| {
        format!("{text}: {reason}")
    })
}

fn unexpected(why: String) -> VdsmError {
    Code::UnexpectedError.because(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first is from a transcript of the real agent, the others from upstream's classes.
    #[test]
    fn errors_of_tasks_have_upstreams_codes_and_texts() {
        let id = "ad869832-dcad-4735-864f-2f3f5af9f830".to_owned();
        let running = tasks::State::Running;
        for (error, code, text) in [
            (
                TaskError::Unknown { id: id.clone() },
                401,
                format!("Task id unknown: ('{id}',)"),
            ),
            (
                TaskError::NotClearable { state: running },
                410,
                "Operation is not allowed in this task state: (\"can't clean in state running\",)"
                    .to_owned(),
            ),
            (
                TaskError::InvalidId {
                    id: "a.b".to_owned(),
                },
                1000,
                "Invalid parameter: 'taskID=a.b'".to_owned(),
            ),
        ] {
            assert_eq!(
                task(&error),
                VdsmError {
                    code,
                    message: text
                }
            );
        }
    }

    #[test]
    fn a_host_without_iscsi_has_an_error_of_its_own() {
        let error = no_iscsi("iscsiadm is not installed");
        let text = "Failed to setup iSCSI subsystem: 'iSCSI is not available on this host: iscsiadm is not installed'";
        assert_eq!((error.code, error.message.as_str()), (465, text));
    }

    #[test]
    fn errors_of_vms_have_upstreams_codes() {
        let id = uuid::Uuid::nil();
        for (error, code) in [
            (VmError::NoSuchVm(id), 1),
            (VmError::VmExists(id), 4),
            (VmError::CannotCreate(String::new()), 9),
            (VmError::MissingParameter("xml"), 11),
            (VmError::BadXml(String::new()), 16),
            (VmError::Recovering, 99),
        ] {
            assert_eq!(vm(error).code, code);
        }
    }
}
