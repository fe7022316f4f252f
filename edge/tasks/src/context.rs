//! What a running job has of its task.

use std::sync::Arc;

use crate::{State, TaskError, TaskId, UndoStep, manager::Inner, task::Task};

/// A running job's side of its task. Clones are the same task.
#[derive(Clone)]
pub struct TaskContext {
    pub(crate) inner: Arc<Inner>,
    pub(crate) task: Arc<Task>,
}

/// Takes a callback back when dropped.
#[must_use = "the callback is taken back when this is dropped"]
pub struct CancelGuard {
    task: Arc<Task>,
    number: Option<u64>,
}

impl TaskContext {
    /// The task.
    pub fn id(&self) -> TaskId {
        self.task.id
    }

    /// Puts an undo step on disk. Returns when it is durable: only then may the act begin. On an error the
    /// job must end with a failure.
    pub fn push_undo(&self, step: UndoStep) -> Result<(), TaskError> {
        let _writing = self.task.writing();
        let mut record = self.task.record().ok_or_else(|| unknown(self.task.id))?;
        if !matches!(record.state, State::Running | State::Aborting) {
            return Err(TaskError::NotRunning {
                state: record.state,
            });
        }
        record.undo.push(step);
        self.inner
            .save(&self.task, &record)
            .map_err(TaskError::Persist)?;
        if let Some(live) = &mut self.task.lock().record {
            live.undo = record.undo;
        }
        Ok(())
    }

    /// Percent done, 0 to 100; smaller than before is ignored.
    pub fn progress(&self, percent: u8) {
        let percent = percent.min(100);
        {
            let mut live = self.task.lock();
            if live.progress.is_some_and(|before| before >= percent) {
                return;
            }
            live.progress = Some(percent);
        }
        self.inner.tell(&self.task);
    }

    /// Has someone asked to stop? The job then ends as soon as it can, with [`crate::TaskFailure::stopped`].
    pub fn is_cancelled(&self) -> bool {
        self.task.lock().cancelled
    }

    /// Calls `callback` when someone asks to stop: at once if someone has. It runs on the thread of the one
    /// who stops and must be short, e.g. tell an external program to end.
    pub fn on_cancel(&self, callback: impl FnOnce() + Send + 'static) -> CancelGuard {
        let mut live = self.task.lock();
        if live.cancelled {
            drop(live);
            callback();
            return CancelGuard {
                task: self.task.clone(),
                number: None,
            };
        }
        let number = live.next_callback;
        live.next_callback += 1;
        live.callbacks.insert(number, Box::new(callback));
        CancelGuard {
            task: self.task.clone(),
            number: Some(number),
        }
    }
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.task.lock().callbacks.remove(&number);
        }
    }
}

pub(crate) fn unknown(id: TaskId) -> TaskError {
    TaskError::Unknown { id: id.to_string() }
}
