//! What a task is made of, and what is told of it.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::State;

/// Id of a task, made here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(pub Uuid);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is known of a task before it starts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskSpec {
    /// Name of the operation as `Task.getInfo` gives it (`verb`), e.g. `createVolume`.
    pub verb: String,
    /// Kind of task for lists, e.g. `spm`.
    pub tag: String,
    /// Flow id of the request that made it, for the log.
    pub flow_id: Option<String>,
}

/// One step back, as data: it must mean the same to the next process, and may be run twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndoStep {
    /// Name of the step, e.g. `delete_volume`.
    pub name: String,
    /// Its arguments.
    pub args: Vec<(String, String)>,
}

/// Runs undo steps: the domain that pushed them. Bounded in time by its own means; idempotent.
pub trait UndoRunner: Send + Sync {
    /// Undoes what the step names. `Ok` also if there was nothing to undo.
    fn undo(&self, task: TaskId, step: &UndoStep) -> Result<(), TaskFailure>;
}

/// What a job leaves for `Host.getAllTasks` (`result`): names and values; empty is an empty string there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskOutput(pub Vec<(String, String)>);

/// Why a job or an undo step failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (code {code})")]
pub struct TaskFailure {
    /// Upstream's code of the error.
    pub code: i32,
    /// Its text.
    pub message: String,
}

impl TaskFailure {
    /// Code of an error that has none of its own (`GeneralException`).
    pub const GENERAL: i32 = 100;
    /// Code of a stopped task (`TaskAborted`).
    pub const ABORTED: i32 = 411;
    /// Code of a record that could not be written (`TaskPersistError`).
    pub const PERSIST: i32 = 413;

    /// A failure with this code and text.
    pub fn new(code: i32, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// What a job answers when it ends because it was asked to stop.
    pub fn stopped() -> Self {
        Self::new(Self::ABORTED, "shutting down")
    }

    /// The text that a failed task shows: upstream wraps both parts into one (`TaskAborted.value`).
    pub fn wire_message(&self) -> String {
        format!("value={} abortedcode={}", self.message, self.code)
    }
}

/// `Task.getStatus`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskStatus {
    /// The task.
    pub id: TaskId,
    /// Its state.
    pub state: State,
    /// 0, or the code of its failure.
    pub code: i32,
    /// For people.
    pub message: String,
    /// Percent done, 0 to 100, if its job has ever said so. Never goes back.
    pub progress: Option<u8>,
}

/// `Task.getInfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskInfo {
    /// The task.
    pub id: TaskId,
    /// Name of the operation.
    pub verb: String,
}

/// One entry of `Host.getAllTasks`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskDetails {
    /// Id, state, code, message.
    pub status: TaskStatus,
    /// Name of the operation.
    pub verb: String,
    /// Kind of task.
    pub tag: String,
    /// What its job left.
    pub output: TaskOutput,
}
