//! The task framework: long jobs that a client starts, watches, stops and clears. Knows no storage.
//!
//! A task is a record on disk before its job starts. While the job runs it pushes, before each act, the
//! step that undoes the act; the step is on disk before the act begins. What then happens:
//!
//! ```text
//! queued ── running ── finished ──(revert)─┐          kept until cleared, also over restarts
//!    │         │ failure or stop           │
//!    └──────── aborting ── recovering ─────┴─ recovered   undo steps run, last first
//!                              └───────────── failed      an undo step failed: kept, retried at next open
//! ```
//!
//! A process that was killed leaves records in `queued`, `running`, `aborting` or `recovering`: the next
//! [`TaskManager::open`] rolls them back before anything else. So undo steps must be idempotent: one may run
//! again if the process ended between the step and the note that it is done.
//!
//! Names, states and messages are those of upstream's tasks (`storage/task.py`): see [`State`] for the wire,
//! [`TaskError`] for what is refused and with which code.
//!
//! Where to look next: [`TaskManager`] the interface, `worker.rs` the life of a task, `recovery.rs` the
//! start after a crash.
#![forbid(unsafe_code)]

mod context;
mod error;
mod events;
mod manager;
mod model;
mod queue;
mod recovery;
mod state;
mod task;
mod worker;

pub use context::{CancelGuard, TaskContext};
pub use error::TaskError;
pub use events::{EVENTS_BEHIND, TaskEvent};
pub use manager::{Config, TaskManager};
pub use model::{
    TaskDetails, TaskFailure, TaskId, TaskInfo, TaskOutput, TaskSpec, TaskStatus, UndoRunner,
    UndoStep,
};
pub use recovery::{FailedUndo, RecoveryReport};
pub use state::State;
