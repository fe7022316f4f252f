//! Namespace `Task`: long jobs of storage, from the verb that answered an id until they are cleared.
//!
//! States: `init` → `running` → `finished`, with `aborting` and `cleaning` on the way back. The verbs report
//! upstream's reduced states ([`TaskState`]) and results ([`TaskResult`]).

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::values::Done;

wire_enum! {
    /// What a task does now, reduced as `Task.getStatus` tells it.
    pub enum TaskState {
        /// Not yet running.
        Init = "init",
        /// Running.
        Running = "running",
        /// Over: see the result.
        Finished = "finished",
        /// Being stopped.
        Aborting = "aborting",
        /// Undoing what it did.
        Cleaning = "cleaning",
        /// Not known.
        Unknown = "unknown",
    }

    /// How a task ended, reduced as `Task.getStatus` tells it.
    pub enum TaskResult {
        /// It did what it should.
        Success = "success",
        /// It failed or was stopped and was undone.
        CleanSuccess = "cleanSuccess",
        /// It failed and could not be undone.
        CleanFailure = "cleanFailure",
        /// It is not over.
        None = "",
    }
}

wire! {
    /// State of a task. Engine needs `code` as a number and drops a task without `taskResult`.
    pub struct TaskStatus {
        /// The task.
        task_id "taskID": Uuid,
        /// What it does now.
        task_state "taskState": TaskState,
        /// How it ended.
        task_result "taskResult": TaskResult,
        /// 0, or VDSM's code of the failure.
        code: i32,
        /// `Task is initializing`, `1 jobs completed successfully`, or the failure.
        message: String,
    }

    /// What a task is for.
    pub struct TaskInfo {
        /// The task.
        id: Uuid,
        /// The storage call that made it, e.g. `createVolume`; Engine knows these names.
        verb: String,
    }

    /// Everything about a task (`Host.getAllTasks`).
    pub struct TaskDetails {
        /// The task.
        id: Uuid,
        /// The storage call that made it.
        verb: String,
        /// Its own, unreduced state: `running`, `finished`, `aborting`, `raborting`, `recovered`, ...
        state: String,
        /// 0, or VDSM's code of the failure.
        code: i32,
        /// Text for people.
        message: String,
        /// What it answered, if it did.
        result: Option<serde_json::Value>,
        /// `spm` for tasks of the pool.
        tag: String,
    }
}

/// Tasks by id.
pub type TasksStatus = BTreeMap<Uuid, TaskStatus>;
/// Tasks by id.
pub type TasksInfo = BTreeMap<Uuid, TaskInfo>;
/// Tasks by id.
pub type TasksDetails = BTreeMap<Uuid, TaskDetails>;

namespace! {
    /// Long jobs of storage.
    pub trait TaskApi = "Task";

    /// State of a task.
    Inline fn task_get_status "getStatus" (GetStatus {
        /// The task.
        task_id "taskID": Uuid,
    }) -> TaskStatus;

    /// What a task is for.
    Inline fn task_get_info "getInfo" (GetInfo {
        /// The task.
        task_id "taskID": Uuid,
    }) -> TaskInfo;

    /// Asks a task to stop; it ends as soon as it can and is undone.
    Storage fn task_stop "stop" (Stop {
        /// The task.
        task_id "taskID": Uuid,
    }) -> Done;

    /// Undoes a task that is over.
    Storage fn task_revert "revert" (Revert {
        /// The task.
        task_id "taskID": Uuid,
    }) -> Done;

    /// Forgets a task that is over.
    Storage fn task_clear "clear" (Clear {
        /// The task.
        task_id "taskID": Uuid,
    }) -> Done;
}
