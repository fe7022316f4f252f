//! The one place where errors of the domains become errors of the wire: a code of `schema::Code` and the
//! details as upstream prints them. [`storage`] has storage's, this file the rest.

mod storage;

use schema::{Code, VdsmError};
use tasks::TaskError;
use vm::VmError;

pub(crate) use storage::storage;

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
            Code::TaskPersistError.args([source.to_string()])
        }
    }
}

fn unexpected(why: String) -> VdsmError {
    Code::UnexpectedError.because(why)
}
