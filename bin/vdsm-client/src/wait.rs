//! Waiting for what a verb has started: a task of storage, or a job of the host.
//!
//! Which verbs start what follows from their declarations ([`Starts::by`]): a task's id is what they answer, a
//! job's id is what they are given. The state is polled; an event about a job brings the next poll forward.
//! States of a wait: calling -> following -> ended well | failed | too late | interrupted. Only the agent ends
//! what runs there: whoever stops waiting is told how to follow it further.

use std::{future::Future, time::Duration};

use schema::{
    VerbDecl,
    desc::Type,
    events::JOB_STATUS,
    task::{TaskResult, TaskState},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::{
    call::{Connection, Session},
    failure::Failure,
    progress::{Progress, Report},
};

/// The first pause between two polls; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Answers the id of a volume group, though its form is that of a task's.
const NO_TASKS: [&str; 1] = ["LVMVolumeGroup.create"];

/// How long to wait at most, if there is an end to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Patience(pub(crate) Option<Duration>);

/// How a verb and what it starts belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Starts {
    /// It answers a task's id.
    Task,
    /// It is given a job's id.
    Job,
    /// It starts nothing, it asks for a task.
    AsksTask,
    /// It starts nothing, it asks for jobs.
    AsksJobs,
}

impl Starts {
    /// What a verb starts, if that can be waited for.
    pub(crate) fn by(verb: &VerbDecl) -> Option<Self> {
        match verb.method {
            "Task.getStatus" => Some(Self::AsksTask),
            "Host.getJobs" => Some(Self::AsksJobs),
            _ if verb.params.field("job_id").is_some() => Some(Self::Job),
            method => {
                let is_id = matches!(verb.result, Type::Uuid);
                (is_id && !NO_TASKS.contains(&method)).then_some(Self::Task)
            }
        }
    }
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    Task(String),
    /// One at least.
    Jobs(Vec<String>),
}

/// How a wait ends.
enum End {
    /// What was waited for is over.
    Over(Result<Value, Failure>),
    TooLate,
    Interrupted,
}

/// One look at a target.
struct Look {
    report: Report,
    /// `None` while it goes on.
    end: Option<Result<Value, Failure>>,
}

/// Calls a verb and waits until what it started is over; answers its last state. `patience` bounds the whole.
pub(crate) fn run(
    connection: &Connection,
    verb: &'static VerbDecl,
    params: &Value,
    patience: Patience,
    progress: &mut Progress<'_>,
) -> Result<Value, Failure> {
    let starts = Starts::by(verb).ok_or_else(|| starts_nothing(verb))?;
    let session = &Session::open(connection)?;
    session.run(async {
        let mut target = None;
        let whole = call_and_follow(session, verb, params, starts, &mut target, progress);
        let end = tokio::select! {
            // First, so that the signal is caught before anything is begun.
            biased;
            _ = tokio::signal::ctrl_c() => End::Interrupted,
            over = within(patience, whole) => over.map_or(End::TooLate, End::Over),
        };
        match end {
            End::Over(outcome) => outcome,
            End::TooLate => Err(too_late(session, verb, target.as_ref(), patience)),
            End::Interrupted => Err(interrupted(session, verb, target.as_ref())),
        }
    })
}

async fn within<T>(patience: Patience, work: impl Future<Output = T>) -> Option<T> {
    match patience.0 {
        Some(limit) => timeout(limit, work).await.ok(),
        None => Some(work.await),
    }
}

async fn call_and_follow(
    session: &Session<'_>,
    verb: &'static VerbDecl,
    params: &Value,
    starts: Starts,
    target: &mut Option<Target>,
    progress: &mut Progress<'_>,
) -> Result<Value, Failure> {
    // Before the call, so that no event is missed.
    let mut events = session.events()?;
    let found = match starts {
        Starts::AsksTask => Target::Task(text_at(verb, params, "taskID")?),
        Starts::AsksJobs => Target::Jobs(texts_at(verb, params, "job_ids")?),
        Starts::Job => {
            let id = text_at(verb, params, "job_id")?;
            session.ask(verb.method, params).await?;
            Target::Jobs(vec![id])
        }
        Starts::Task => {
            let answer = session.ask(verb.method, params).await?;
            let id = serde_json::from_str(answer.get())
                .map_err(|_| Failure::Internal(format!("{}: no task id", verb.method)))?;
            Target::Task(id)
        }
    };
    follow(session, target.insert(found), &mut events, progress).await
}

async fn follow(
    session: &Session<'_>,
    target: &Target,
    events: &mut rpc::Subscription,
    progress: &mut Progress<'_>,
) -> Result<Value, Failure> {
    let mut pause = FIRST_PAUSE;
    loop {
        let look = target.look(session).await?;
        progress.show(&target.to_string(), &look.report);
        if let Some(end) = look.end {
            return end;
        }
        target.sleep(events, pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

impl Target {
    /// Waits for an event about it, at most for so long.
    async fn sleep(&self, events: &mut rpc::Subscription, pause: Duration) {
        let until = Instant::now() + pause;
        while let Ok(Some(event)) = tokio::time::timeout_at(until, events.next_event()).await {
            if self.is_about(&event.method) {
                return;
            }
        }
        // A connection that is lost has no more events: the next poll tells.
        tokio::time::sleep_until(until).await;
    }

    fn is_about(&self, event: &str) -> bool {
        match (self, event.strip_prefix(JOB_STATUS.prefix)) {
            (Self::Jobs(ids), Some(id)) => ids.iter().any(|known| known == id),
            _ => false,
        }
    }

    async fn look(&self, session: &Session<'_>) -> Result<Look, Failure> {
        match self {
            Self::Task(id) => {
                let answer = session
                    .ask("Task.getStatus", &json!({ "taskID": id }))
                    .await?;
                look_at_task(self, answer.get())
            }
            Self::Jobs(ids) => {
                let answer = session
                    .ask("Host.getJobs", &json!({ "job_ids": ids }))
                    .await?;
                look_at_jobs(self, ids, answer.get())
            }
        }
    }

    /// The verb by which it is followed.
    fn command(&self) -> String {
        match self {
            Self::Task(id) => format!("Task getStatus taskID={id}"),
            Self::Jobs(ids) => format!("Host getJobs 'job_ids={}'", json!(ids)),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Task(id) => write!(f, "task {id}"),
            Self::Jobs(ids) => match ids.as_slice() {
                [id] => write!(f, "job {id}"),
                ids => write!(f, "{} jobs", ids.len()),
            },
        }
    }
}

/// What is read of `Task.getStatus`.
#[derive(Deserialize)]
struct Task {
    #[serde(rename = "taskState")]
    state: String,
    #[serde(rename = "taskResult")]
    result: String,
    code: i64,
    message: String,
}

/// What is read of a job of `Host.getJobs`.
#[derive(Deserialize)]
struct Job {
    status: String,
    description: Option<String>,
    progress: Option<f64>,
    error: Option<JobError>,
}

#[derive(Deserialize)]
struct JobError {
    code: i64,
    message: String,
}

fn look_at_task(target: &Target, text: &str) -> Result<Look, Failure> {
    let task: Task = parsed("Task.getStatus", text)?;
    let value = parsed("Task.getStatus", text)?;
    let end = match task.state.as_str() {
        state if state != TaskState::Finished.as_str() => None,
        _ if task.result == TaskResult::Success.as_str() => Some(Ok(value)),
        _ => Some(Err(Failure::Ended {
            what: target.to_string(),
            outcome: task_outcome(&task.result),
            code: task.code,
            message: task.message.clone(),
        })),
    };
    Ok(Look {
        report: Report {
            state: task.state,
            message: task.message,
            percent: None,
        },
        end,
    })
}

fn task_outcome(result: &str) -> String {
    if result == TaskResult::CleanSuccess.as_str() {
        "failed and was undone".to_owned()
    } else if result == TaskResult::CleanFailure.as_str() {
        "failed and could not be undone".to_owned()
    } else {
        format!("ended with {result:?}")
    }
}

fn look_at_jobs(target: &Target, ids: &[String], text: &str) -> Result<Look, Failure> {
    let value: Value = parsed("Host.getJobs", text)?;
    let jobs = ids
        .iter()
        .map(|id| match value.get(id) {
            Some(job) => Job::deserialize(job)
                .map_err(|error| Failure::Internal(format!("Host.getJobs: {error}"))),
            None => Err(unknown_job(id)),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let active = jobs.iter().filter(|job| job.is_active()).count();
    let end = (active == 0).then(
        || match ids.iter().zip(&jobs).find(|(_, job)| !job.is_done()) {
            Some((id, job)) => Err(job.failure(id)),
            None => Ok(value),
        },
    );
    Ok(Look {
        report: report_of(target, &jobs, active),
        end,
    })
}

impl Job {
    fn is_active(&self) -> bool {
        matches!(self.status.as_str(), "pending" | "running" | "aborting")
    }

    fn is_done(&self) -> bool {
        self.status == "done"
    }

    fn failure(&self, id: &str) -> Failure {
        let error = self.error.as_ref();
        Failure::Ended {
            what: format!("job {id}"),
            outcome: self.status.clone(),
            code: error.map_or(0, |error| error.code),
            message: error.map_or_else(String::new, |error| error.message.clone()),
        }
    }
}

fn report_of(target: &Target, jobs: &[Job], active: usize) -> Report {
    let percents: Vec<f64> = jobs.iter().filter_map(|job| job.progress).collect();
    // The least: all are waited for.
    let percent = percents.into_iter().reduce(f64::min);
    match (target, jobs) {
        (Target::Jobs(_), [job]) => Report {
            state: job.status.clone(),
            message: job.description.clone().unwrap_or_default(),
            percent,
        },
        _ => Report {
            state: format!("{active} active"),
            message: String::new(),
            percent,
        },
    }
}

fn parsed<T: serde::de::DeserializeOwned>(method: &str, text: &str) -> Result<T, Failure> {
    serde_json::from_str(text).map_err(|error| Failure::Internal(format!("{method}: {error}")))
}

fn text_at(verb: &VerbDecl, params: &Value, name: &str) -> Result<String, Failure> {
    params
        .get(name)
        .and_then(Value::as_str)
        .map(str::to_owned)
        .ok_or_else(|| needs(verb, name))
}

fn texts_at(verb: &VerbDecl, params: &Value, name: &str) -> Result<Vec<String>, Failure> {
    let texts: Option<Vec<String>> = params.get(name).and_then(Value::as_array).and_then(|ids| {
        ids.iter()
            .map(|id| id.as_str().map(str::to_owned))
            .collect()
    });
    texts
        .filter(|ids| !ids.is_empty())
        .ok_or_else(|| needs(verb, name))
}

fn needs(verb: &VerbDecl, name: &str) -> Failure {
    Failure::Usage(format!(
        "{} with --wait needs the parameter {name}: it says what to wait for",
        verb.method
    ))
}

fn starts_nothing(verb: &VerbDecl) -> Failure {
    Failure::Usage(format!(
        "{} starts neither a task nor a job: there is nothing to --wait for",
        verb.method
    ))
}

fn unknown_job(id: &str) -> Failure {
    Failure::Ended {
        what: format!("job {id}"),
        outcome: "is not known to the agent: it ended long ago, or the agent was restarted"
            .to_owned(),
        code: 0,
        message: String::new(),
    }
}

fn interrupted(session: &Session<'_>, verb: &VerbDecl, target: Option<&Target>) -> Failure {
    let (what, remedy) = left(session, verb, target);
    Failure::Interrupted { what, remedy }
}

fn too_late(
    session: &Session<'_>,
    verb: &VerbDecl,
    target: Option<&Target>,
    patience: Patience,
) -> Failure {
    let (what, remedy) = left(session, verb, target);
    Failure::Timeout {
        what: format!("waiting ({what})"),
        seconds: patience.0.unwrap_or_default().as_secs_f64(),
        remedy,
    }
}

/// What goes on without us, and how to follow it.
fn left(session: &Session<'_>, verb: &VerbDecl, target: Option<&Target>) -> (String, String) {
    match target {
        Some(target) => (
            format!("{target} goes on"),
            format!(
                "Follow it: vdsm-client {}--wait {}",
                session.connection().options,
                target.command()
            ),
        ),
        None => (
            format!("{} was not answered yet, and may still happen", verb.method),
            String::new(),
        ),
    }
}
