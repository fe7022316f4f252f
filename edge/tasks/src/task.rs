//! One task in memory and on disk.

use std::{
    collections::BTreeMap,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};

use crate::{
    State, TaskDetails, TaskEvent, TaskFailure, TaskId, TaskInfo, TaskOutput, TaskStatus, UndoStep,
};

/// Version of [`Record`] on disk.
pub(crate) const RECORD_VERSION: u64 = 1;

/// What is shown of a task that has not started (upstream's words).
pub(crate) const INITIALIZING: &str = "Task is initializing";
/// While its one job runs (upstream's words).
pub(crate) const RUNNING: &str = "running job 1 of 1";
/// When it has succeeded (upstream's words).
pub(crate) const COMPLETED: &str = "1 jobs completed successfully";

/// A task as it lies on disk, in the file that its id names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Order of making; newer is larger.
    pub(crate) sequence: u64,
    pub(crate) verb: String,
    pub(crate) tag: String,
    pub(crate) flow_id: Option<String>,
    pub(crate) state: State,
    pub(crate) code: i32,
    pub(crate) message: String,
    pub(crate) output: TaskOutput,
    /// Undo steps, in the order in which they were pushed.
    pub(crate) undo: Vec<UndoStep>,
    /// The client has cleared it, but its undo has still to be done.
    pub(crate) hidden: bool,
}

impl Record {
    /// Goes to another state; one that may not follow is a mistake of ours.
    pub(crate) fn advance(&mut self, next: State) {
        debug_assert!(
            self.state == next || self.state.may_become(next),
            "{:?} to {next:?}",
            self.state
        );
        self.state = next;
    }

    pub(crate) fn note_failure(&mut self, failure: &TaskFailure) {
        self.code = failure.code;
        self.message = failure.wire_message();
    }
}

/// What a stop calls. Numbered so that a guard can take its own back.
pub(crate) type Callbacks = BTreeMap<u64, Box<dyn FnOnce() + Send>>;

/// The part of a task that changes.
#[derive(Default)]
pub(crate) struct Live {
    pub(crate) record: Option<Record>,
    pub(crate) progress: Option<u8>,
    /// Someone asked to stop.
    pub(crate) cancelled: bool,
    /// Its job has succeeded and only the note of it is missing: too late to stop.
    pub(crate) committed: bool,
    pub(crate) callbacks: Callbacks,
    pub(crate) next_callback: u64,
}

/// One task. `live.record` is `None` once it is cleared.
pub(crate) struct Task {
    pub(crate) id: TaskId,
    live: Mutex<Live>,
    pub(crate) changed: Condvar,
    /// Held from reading the record to showing what was written in its place.
    writing: Mutex<()>,
}

impl Task {
    pub(crate) fn new(id: TaskId, record: Record) -> Self {
        let live = Live {
            record: Some(record),
            ..Live::default()
        };
        Self {
            id,
            live: Mutex::new(live),
            changed: Condvar::new(),
            writing: Mutex::new(()),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Only the holder writes this task's record.
    pub(crate) fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy of the record, unless cleared.
    pub(crate) fn record(&self) -> Option<Record> {
        self.lock().record.clone()
    }

    pub(crate) fn status(&self) -> Option<TaskStatus> {
        self.lock().status(self.id)
    }

    pub(crate) fn info(&self) -> Option<TaskInfo> {
        self.record().map(|record| TaskInfo {
            id: self.id,
            verb: record.verb,
        })
    }

    pub(crate) fn details(&self) -> Option<TaskDetails> {
        let live = self.lock();
        let status = live.status(self.id)?;
        let record = live.record.as_ref()?;
        Some(TaskDetails {
            status,
            verb: record.verb.clone(),
            tag: record.tag.clone(),
            output: record.output.clone(),
        })
    }
}

impl Live {
    pub(crate) fn status(&self, id: TaskId) -> Option<TaskStatus> {
        self.record.as_ref().map(|record| TaskStatus {
            id,
            state: record.state,
            code: record.code,
            message: record.message.clone(),
            progress: self.progress,
        })
    }

    pub(crate) fn event(&self, id: TaskId, cleared: bool) -> Option<TaskEvent> {
        let status = self.status(id)?;
        let record = self.record.as_ref()?;
        Some(TaskEvent {
            status,
            verb: record.verb.clone(),
            flow_id: record.flow_id.clone(),
            cleared,
        })
    }
}
