//! `Task.*`.

use schema::{
    CallContext, Done, TaskApi,
    task::{
        Clear, GetInfo, GetStatus, Revert, Stop, TaskDetails, TaskInfo, TaskResult, TaskState,
        TaskStatus,
    },
};
use serde_json::Value;
use tasks::State;

use super::Answer;
use crate::{agent::Agent, errors};

impl TaskApi for Agent {
    fn task_get_status(&self, _: &CallContext, p: GetStatus) -> Answer<TaskStatus> {
        let found = self
            .tasks
            .status(&p.task_id.to_string())
            .map_err(|error| errors::task(&error))?;
        Ok(status(&found))
    }

    fn task_get_info(&self, _: &CallContext, p: GetInfo) -> Answer<TaskInfo> {
        let found = self
            .tasks
            .info(&p.task_id.to_string())
            .map_err(|error| errors::task(&error))?;
        Ok(info(found))
    }

    fn task_stop(&self, _: &CallContext, p: Stop) -> Answer<Done> {
        self.tasks
            .stop(&p.task_id.to_string())
            .map(|()| Done)
            .map_err(|error| errors::task(&error))
    }

    fn task_revert(&self, _: &CallContext, p: Revert) -> Answer<Done> {
        self.tasks
            .revert(&p.task_id.to_string())
            .map(|()| Done)
            .map_err(|error| errors::task(&error))
    }

    fn task_clear(&self, _: &CallContext, p: Clear) -> Answer<Done> {
        self.tasks
            .clear(&p.task_id.to_string())
            .map(|()| Done)
            .map_err(|error| errors::task(&error))
    }
}

/// `Task.getStatus`.
pub(super) fn status(status: &tasks::TaskStatus) -> TaskStatus {
    TaskStatus {
        task_id: status.id.0,
        task_state: state(status.state),
        task_result: result(status.state),
        code: status.code,
        message: status.message.clone(),
    }
}

/// `Task.getInfo`.
pub(super) fn info(info: tasks::TaskInfo) -> TaskInfo {
    TaskInfo {
        id: info.id.0,
        verb: info.verb,
    }
}

/// An entry of `Host.getAllTasks`.
pub(super) fn details(details: tasks::TaskDetails) -> TaskDetails {
    let output = details.output.0;
    let result = if output.is_empty() {
        Value::String(String::new())
    } else {
        output
            .into_iter()
            .map(|(key, value)| (key, Value::String(value)))
            .collect()
    };
    TaskDetails {
        id: details.status.id.0,
        verb: details.verb,
        state: details.status.state.name().to_owned(),
        code: details.status.code,
        message: details.status.message,
        result: Some(result),
        tag: details.tag,
    }
}

fn state(state: State) -> TaskState {
    match state {
        State::Queued | State::Running => TaskState::Running,
        State::Aborting => TaskState::Aborting,
        State::Recovering => TaskState::Cleaning,
        State::Finished | State::Recovered | State::Failed => TaskState::Finished,
    }
}

fn result(state: State) -> TaskResult {
    match state {
        State::Finished => TaskResult::Success,
        State::Recovered => TaskResult::CleanSuccess,
        State::Failed => TaskResult::CleanFailure,
        State::Queued | State::Running | State::Aborting | State::Recovering => TaskResult::None,
    }
}
