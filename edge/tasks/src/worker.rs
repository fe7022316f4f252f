//! The life of a task on its thread: job, then success or rollback.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{
    State, TaskContext, TaskFailure, TaskId, TaskOutput, UndoRunner, UndoStep,
    task::{COMPLETED, RUNNING, Record},
};

/// Runs a job to its end, whatever it does.
pub(crate) fn run<J>(context: &TaskContext, job: J)
where
    J: FnOnce(&TaskContext) -> Result<TaskOutput, TaskFailure>,
{
    let result = begin(context).and_then(|()| call(context, job));
    let result = result.and_then(|output| commit(context, output));
    if let Err(failure) = result {
        abort(context, &failure);
        roll_back(context);
    }
}

/// From queued to running, unless it was stopped before.
fn begin(context: &TaskContext) -> Result<(), TaskFailure> {
    let record = {
        let mut live = context.task.lock();
        if live.cancelled {
            return Err(TaskFailure::stopped());
        }
        let record = live.record.as_mut().ok_or_else(TaskFailure::stopped)?;
        record.advance(State::Running);
        record.message = RUNNING.into();
        record.clone()
    };
    // Not being able to note that it runs is no reason not to: the older record is rolled back alike.
    if let Err(error) = context.inner.save(&context.task, &record) {
        tracing::warn!(target: "tasks", task = %context.id(), %error, "cannot note that it runs");
    }
    context.inner.tell(&context.task);
    Ok(())
}

fn call<J>(context: &TaskContext, job: J) -> Result<TaskOutput, TaskFailure>
where
    J: FnOnce(&TaskContext) -> Result<TaskOutput, TaskFailure>,
{
    let result = catch_unwind(AssertUnwindSafe(|| job(context)));
    let output = result.unwrap_or_else(|panic| Err(panic_failure(&*panic)))?;
    // Too late for the job to notice, not too late for the one who stops.
    let mut live = context.task.lock();
    if live.cancelled {
        return Err(TaskFailure::stopped());
    }
    live.committed = true;
    Ok(output)
}

/// Notes success. If it cannot be noted it is none: after a restart the task would be rolled back.
fn commit(context: &TaskContext, output: TaskOutput) -> Result<(), TaskFailure> {
    let Some(mut record) = context.task.record() else {
        return Ok(());
    };
    record.state = State::Finished;
    record.message = COMPLETED.into();
    record.output = output;
    if let Err(error) = context.inner.save(&context.task, &record) {
        tracing::error!(target: "tasks", task = %context.id(), %error, "cannot note success");
        return Err(TaskFailure::new(
            TaskFailure::PERSIST,
            format!("Can't persist task: {error}"),
        ));
    }
    show(context, record);
    tracing::info!(target: "tasks", task = %context.id(), "task finished");
    Ok(())
}

/// Notes a failure; the rollback follows.
fn abort(context: &TaskContext, failure: &TaskFailure) {
    let Some(mut record) = context.task.record() else {
        return;
    };
    record.state = State::Aborting;
    record.note_failure(failure);
    let (code, message) = (failure.code, failure.message.as_str());
    tracing::warn!(target: "tasks", task = %context.id(), code, message, "task failed");
    save_or_warn(context, &record);
    show(context, record);
}

/// Runs the undo steps, last first, and comes to `recovered` or `failed`.
pub(crate) fn roll_back(context: &TaskContext) {
    let Some(mut record) = context.task.record() else {
        return;
    };
    record.state = State::Recovering;
    save_or_warn(context, &record);
    show(context, record.clone());
    let save = |record: &Record| save_or_warn(context, record);
    if let Err((step, failure)) = undo_all(&*context.inner.undo, context.id(), &mut record, &save) {
        let task = context.id();
        tracing::error!(target: "tasks", %task, step = step.name, %failure, "undo failed, kept");
    }
    save_or_warn(context, &record);
    show(context, record);
}

/// Undoes until nothing is left or a step fails; each step is noted as done before the next.
/// Leaves the record in `recovered` or `failed`.
pub(crate) fn undo_all(
    runner: &dyn UndoRunner,
    task: TaskId,
    record: &mut Record,
    save: &dyn Fn(&Record),
) -> Result<(), (UndoStep, TaskFailure)> {
    while let Some(step) = record.undo.last().cloned() {
        let result = catch_unwind(AssertUnwindSafe(|| runner.undo(task, &step)));
        if let Err(failure) = result.unwrap_or_else(|panic| Err(panic_failure(&*panic))) {
            record.advance(State::Failed);
            return Err((step, failure));
        }
        record.undo.pop();
        save(record);
    }
    record.advance(State::Recovered);
    Ok(())
}

/// A rollback goes on though its notes cannot be written: steps that are run again do no harm.
fn save_or_warn(context: &TaskContext, record: &Record) {
    if let Err(error) = context.inner.save(&context.task, record) {
        let state = record.state.name();
        tracing::warn!(target: "tasks", task = %context.id(), state, %error, "cannot note a state");
    }
}

/// Makes a record the visible one.
fn show(context: &TaskContext, record: Record) {
    if let Some(live) = &mut context.task.lock().record {
        *live = record;
    }
    context.inner.tell(&context.task);
}

fn panic_failure(panic: &(dyn std::any::Any + Send)) -> TaskFailure {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("panic");
    TaskFailure::new(TaskFailure::GENERAL, format!("internal error: {text}"))
}
