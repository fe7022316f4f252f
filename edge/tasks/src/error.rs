//! What is refused. Which code and text the wire has for it is chosen where it goes on the wire.

use persist::PersistError;

use crate::State;

/// Why a request about tasks was refused. Each variant names upstream's class.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// `UnknownTask`.
    #[error("there is no task {id:?}")]
    Unknown {
        /// The id as it was given.
        id: String,
    },
    /// `InvalidParameterException`: an id that can be no task's, empty or with a dot.
    #[error("{id:?} is not an id of tasks")]
    InvalidId {
        /// The id as it was given.
        id: String,
    },
    /// `TaskStateError`: a task can be cleared only when it has come to its end.
    #[error("a task that is {} cannot be cleared", state.name())]
    NotClearable {
        /// Its state.
        state: State,
    },
    /// `TaskNotFinished`: a task can be reverted only when it has come to its end.
    #[error("a task that is {} cannot be reverted", state.name())]
    NotFinished {
        /// Its state.
        state: State,
    },
    /// `TaskStateTransitionError`: a task that was rolled back cannot be reverted once more.
    #[error("a task that is {} was rolled back already", state.name())]
    NotRevertable {
        /// Its state.
        state: State,
    },
    /// `AddTaskError`: too many tasks wait.
    #[error("{why}")]
    Refused {
        /// Why.
        why: String,
    },
    /// `ShuttingDownError`: the agent is about to end.
    #[error("the agent is about to end")]
    ShuttingDown,
    /// `TaskPersistError`: the record could not be written, so nothing was done.
    #[error("cannot persist the task")]
    Persist(#[source] PersistError),
    /// `TaskStateError`: an undo step came when the task was no longer running.
    #[error("the task is {}, it takes no more undo steps", state.name())]
    NotRunning {
        /// Its state.
        state: State,
    },
    /// The folder of tasks could not be opened.
    #[error("cannot open the folder of tasks")]
    Open(#[source] PersistError),
}
