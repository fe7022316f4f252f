//! Storage's journal, kept by the task framework; and the way back of its tasks after a crash.

use std::sync::Arc;

use storage::{StorageError, StorageManager};
use storage_model::ports::{Journal, JournalError, UndoStep};
use tasks::{TaskContext, TaskFailure, TaskId, UndoRunner};

use crate::errors;

/// The journal of one task.
pub(crate) struct TaskJournal<'a>(pub(crate) &'a TaskContext);

impl Journal for TaskJournal<'_> {
    fn push_undo(&self, step: UndoStep) -> Result<(), JournalError> {
        let step = tasks::UndoStep {
            name: step.name,
            args: step.args,
        };
        self.0
            .push_undo(step)
            .map_err(|error| JournalError(error.to_string()))
    }

    fn progress(&self, percent: u8) {
        self.0.progress(percent);
    }

    fn cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}

/// Rolls back storage's tasks.
pub(crate) struct StorageUndo(pub(crate) Arc<StorageManager>);

impl UndoRunner for StorageUndo {
    fn undo(&self, task: TaskId, step: &tasks::UndoStep) -> Result<(), TaskFailure> {
        tracing::info!(target: "vdsm.tasks", %task, step = step.name, "undo");
        let step = UndoStep {
            name: step.name.clone(),
            args: step.args.clone(),
        };
        self.0.undo(&step).map_err(failure)
    }
}

/// An error of storage as the failure of a task.
pub(crate) fn failure(error: StorageError) -> TaskFailure {
    if error == StorageError::ActionStopped {
        return TaskFailure::stopped();
    }
    let error = errors::storage(error);
    TaskFailure::new(error.code, error.message)
}
