//! The start after a crash: what was unfinished is rolled back, newest first.

use std::{collections::HashMap, sync::Arc};

use persist::{Quarantined, Store};
use uuid::Uuid;

use crate::{
    State, TaskError, TaskFailure, TaskId, UndoRunner, UndoStep,
    task::{Record, Task},
    worker::undo_all,
};

/// What [`crate::TaskManager::open`] found and did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Came to their end before; shown as they were.
    pub done: Vec<TaskId>,
    /// Rolled back now.
    pub recovered: Vec<TaskId>,
    /// Could not be rolled back; will be tried at the next open.
    pub failed: Vec<FailedUndo>,
    /// Records that could not be read, set aside.
    pub quarantined: Vec<Quarantined>,
    /// Records whose names are no task's; left alone.
    pub strangers: Vec<String>,
}

/// An undo step that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedUndo {
    /// The task.
    pub task: TaskId,
    /// The step.
    pub step: UndoStep,
    /// Why.
    pub failure: TaskFailure,
}

/// Loads all tasks and rolls back what needs it.
pub(crate) fn recover(
    store: &Store<Record>,
    undo: &dyn UndoRunner,
) -> Result<(HashMap<TaskId, Arc<Task>>, RecoveryReport), TaskError> {
    let loaded = store.load_all().map_err(TaskError::Open)?;
    let mut report = RecoveryReport {
        quarantined: loaded.quarantined,
        ..RecoveryReport::default()
    };
    let mut records = Vec::new();
    for (name, record) in loaded.records {
        match Uuid::try_parse(&name) {
            Ok(uuid) => records.push((TaskId(uuid), record)),
            Err(_) => report.strangers.push(name),
        }
    }
    records.sort_by_key(|(_, record)| std::cmp::Reverse(record.sequence));
    let mut tasks = HashMap::new();
    for (id, mut record) in records {
        settle(store, undo, id, &mut record, &mut report);
        if !record.hidden {
            tasks.insert(id, Arc::new(Task::new(id, record)));
        }
    }
    Ok((tasks, report))
}

/// Brings one record to its end.
fn settle(
    store: &Store<Record>,
    undo: &dyn UndoRunner,
    id: TaskId,
    record: &mut Record,
    report: &mut RecoveryReport,
) {
    let undone = record.state == State::Failed && !record.undo.is_empty();
    if record.state.is_done() && !undone {
        report.done.push(id);
        return;
    }
    if !undone && record.code == 0 {
        record.note_failure(&TaskFailure::new(
            TaskFailure::ABORTED,
            "the agent was restarted",
        ));
    }
    if matches!(record.state, State::Queued | State::Running) {
        record.advance(State::Aborting);
    }
    record.advance(State::Recovering);
    let save = |record: &Record| save_or_warn(store, id, record);
    let result = undo_all(undo, id, record, &save);
    let verb = record.verb.as_str();
    match result {
        Ok(()) => {
            tracing::info!(target: "tasks", task = %id, verb, "rolled back after a restart");
            report.recovered.push(id);
        }
        Err((step, failure)) => {
            tracing::error!(target: "tasks", task = %id, verb, step = step.name, %failure, "undo failed, kept");
            report.failed.push(FailedUndo {
                task: id,
                step,
                failure,
            });
        }
    }
    if record.hidden && record.undo.is_empty() {
        if let Err(error) = store.remove(&id.to_string()) {
            tracing::warn!(target: "tasks", task = %id, %error, "cannot remove a record");
        }
        return;
    }
    save(record);
}

fn save_or_warn(store: &Store<Record>, id: TaskId, record: &Record) {
    if let Err(error) = store.put(&id.to_string(), record) {
        tracing::warn!(target: "tasks", task = %id, %error, "cannot note a recovered state");
    }
}
