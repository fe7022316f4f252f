//! One verb through `vdsm-client`: parameters in a file, the answer as JSON, its time.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use exec::Cancel;
use serde_json::{Value, json};

use super::{Home, view};
use crate::{dev::ClientLine, interrupt::wait_for};

/// Longest time of one verb.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Longest time of one task.
const TASK_TIMEOUT: Duration = Duration::from_mins(2);

/// Calls verbs and remembers how long each took.
pub(crate) struct Caller {
    line: ClientLine,
    params: PathBuf,
    cancel: Cancel,
    /// Every call: its verb and its time.
    pub(crate) times: Vec<(String, Duration)>,
}

impl Caller {
    /// A caller for an agent.
    pub(crate) fn new(line: ClientLine, home: &Home, cancel: &Cancel) -> Self {
        let params = home.dir().join("parameters.json");
        Self {
            line,
            params,
            cancel: cancel.clone(),
            times: Vec::new(),
        }
    }

    /// Calls `Namespace.verb` without a word. An error of the agent is an error.
    pub(crate) fn quietly(&mut self, verb: &str, params: &Value) -> Result<(Value, Duration)> {
        let (namespace, name) = verb.split_once('.').context("a verb is Namespace.name")?;
        fs::write(&self.params, serde_json::to_vec(params)?)
            .context("cannot write the parameters")?;
        let command = self
            .line
            .command()
            .args(["-o", "json", "-f"])
            .arg(&self.params);
        let command = command.args([namespace, name]).stdout_limit(16 << 20);
        let started = Instant::now();
        let output = command.timeout(TIMEOUT).cancel(&self.cancel).run()?;
        let time = started.elapsed();
        self.times.push((verb.to_owned(), time));
        if !output.exit.success() {
            bail!("{verb}: {}", output.stderr_text());
        }
        let answer = output.whole_stdout()?;
        let value = serde_json::from_slice(&answer).with_context(|| format!("{verb}: not JSON"))?;
        Ok((value, time))
    }

    /// Calls a verb and prints it with its time; `tell` says what of the answer is worth a word.
    pub(crate) fn call(
        &mut self,
        verb: &str,
        params: &Value,
        tell: impl FnOnce(&Value) -> String,
    ) -> Result<Value> {
        view::calling(verb);
        let (value, time) = self.quietly(verb, params)?;
        view::called(verb, time, &tell(&value));
        Ok(value)
    }

    /// Calls a verb that starts a task, waits for its end, and clears it.
    pub(crate) fn task(&mut self, verb: &str, params: &Value) -> Result<()> {
        let answer = self.call(verb, params, |id| format!("task {}", short(id)))?;
        let id = answer
            .as_str()
            .with_context(|| format!("{verb} answered no task id"))?
            .to_owned();
        let task = json!({ "taskID": id });
        let started = Instant::now();
        let cancel = self.cancel.clone();
        let status = wait_for(verb, TASK_TIMEOUT, &cancel, |_| {
            let (status, _) = self.quietly("Task.getStatus", &task)?;
            let state = status
                .get("taskState")
                .and_then(Value::as_str)
                .unwrap_or_default();
            Ok(matches!(state, "finished" | "aborted" | "failed" | "recovered").then_some(status))
        })?;
        let result = status
            .get("taskResult")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let message = status
            .get("message")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if result != "success" {
            bail!("the task of {verb} ended with {result:?}: {message}");
        }
        view::called(
            "Task.getStatus",
            started.elapsed(),
            &format!("{result}: {message}"),
        );
        self.call("Task.clear", &task, |_| String::new())?;
        Ok(())
    }
}

/// The beginning of an id.
fn short(id: &Value) -> String {
    id.as_str().unwrap_or("?").chars().take(8).collect()
}
