//! Many calls over one connection: a call per line of standard input, an answer per line of standard output.
//!
//! A line is what one would type (`Host getVMList onlyUUID=true`) or a JSON object
//! (`{"method": "Host.getVMList", "params": {...}, "id": ..., "flow_id": ..., "timeout": ...}`); empty lines and those
//! that begin with `#` are passed over. Answers come in the order of the calls, each written at once, so that a
//! script can ask and read in turns.

use std::{
    io::{BufRead, BufReader, Read, Write},
    time::Duration,
};

use schema::Raw;
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use crate::{
    call::{Connection, Request, Session, raw},
    failure::Failure,
    output, params, words,
};

/// Longest line, bytes.
const LONGEST: u64 = 64 * 1024 * 1024;

/// A call as JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    method: String,
    params: Option<Box<RawValue>>,
    id: Option<Value>,
    flow_id: Option<String>,
    /// Seconds.
    timeout: Option<f64>,
}

/// What is printed for a call.
#[derive(Serialize)]
struct Answered<'a> {
    /// Counted from 1.
    line: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(flatten)]
    outcome: Outcome<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome<'a> {
    Result(&'a Value),
    Error(Told),
}

#[derive(Serialize)]
struct Told {
    /// `agent`, `usage`, `timeout`, `connection`.
    class: &'static str,
    /// The agent's.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<i64>,
    message: String,
}

/// A call that was understood.
struct Asked {
    method: String,
    params: Raw,
    id: Option<Value>,
    flow_id: Option<String>,
    timeout: Duration,
}

/// Runs until standard input ends or the connection is lost.
pub(crate) fn run(
    connection: &Connection,
    input: &mut dyn Read,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let session = Session::open(connection)?;
    let mut batch = Batch {
        session: &session,
        calls: 0,
        failed: 0,
        exit_code: 0,
    };
    let mut lines = BufReader::new(input);
    let mut number = 0;
    while let Some(line) = next_line(&mut lines)? {
        number += 1;
        let line = line.trim();
        if !(line.is_empty() || line.starts_with('#')) {
            batch.answer(number, line, out)?;
        }
    }
    batch.end()
}

struct Batch<'a> {
    session: &'a Session<'a>,
    calls: u64,
    failed: u64,
    exit_code: u8,
}

impl Batch<'_> {
    /// Fails only where nothing can follow.
    fn answer(&mut self, line: u64, text: &str, out: &mut dyn Write) -> Result<(), Failure> {
        self.calls += 1;
        let (id, method, outcome) = match self.understand(text) {
            Ok(asked) => {
                let outcome = self.ask(&asked);
                (asked.id, Some(asked.method), outcome)
            }
            Err(failure) => (None, None, Err(failure)),
        };
        let answered = Answered {
            line,
            id,
            method,
            outcome: match &outcome {
                Ok(result) => Outcome::Result(result),
                Err(failure) => Outcome::Error(told(failure)),
            },
        };
        let value = serde_json::to_value(&answered)
            .map_err(|error| Failure::Internal(error.to_string()))?;
        output::line(out, &value)?;
        match outcome {
            Err(lost @ Failure::Connection { .. }) => Err(lost),
            Err(failure) => {
                self.count(&failure);
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }

    fn count(&mut self, failure: &Failure) {
        self.failed += 1;
        if self.exit_code == 0 {
            self.exit_code = failure.exit_code();
        }
    }

    fn ask(&self, asked: &Asked) -> Result<Value, Failure> {
        let request = Request {
            method: &asked.method,
            params: &asked.params,
            flow_id: asked.flow_id.as_deref(),
            timeout: asked.timeout,
        };
        let answer = self.session.run(self.session.call(&request))?;
        serde_json::from_str(answer.get())
            .map_err(|error| Failure::Internal(format!("the answer is no JSON: {error}")))
    }

    fn understand(&self, text: &str) -> Result<Asked, Failure> {
        let connection = self.session.connection();
        let asked = if text.starts_with('{') {
            as_json(text)?
        } else {
            as_words(text)?
        };
        Ok(Asked {
            params: match asked.params {
                Some(params) => params,
                None => raw(&Value::Object(serde_json::Map::new()))?,
            },
            timeout: match asked.timeout {
                Some(seconds) => Duration::try_from_secs_f64(seconds)
                    .map_err(|error| Failure::Usage(format!("timeout: {error}")))?,
                None => connection.timeout,
            },
            flow_id: asked.flow_id.or_else(|| connection.flow_id.clone()),
            method: asked.method,
            id: asked.id,
        })
    }

    fn end(self) -> Result<(), Failure> {
        if self.failed == 0 {
            return Ok(());
        }
        Err(Failure::Batch {
            failed: self.failed,
            calls: self.calls,
            exit_code: self.exit_code,
        })
    }
}

fn as_json(text: &str) -> Result<Line, Failure> {
    let line: Line =
        serde_json::from_str(text).map_err(|error| Failure::Usage(error.to_string()))?;
    let has_parts = |params: &Raw| params.get().trim_start().starts_with(['{', '[']);
    if line
        .params
        .as_ref()
        .is_some_and(|params| !has_parts(params))
    {
        return Err(Failure::Usage(
            "params: an object or a list is needed".into(),
        ));
    }
    Ok(line)
}

fn as_words(text: &str) -> Result<Line, Failure> {
    let words = words::split(text).map_err(|error| Failure::Usage(error.to_string()))?;
    let [namespace, name, rest @ ..] = words.as_slice() else {
        return Err(Failure::Usage(
            "NAMESPACE VERB [arg=value]... or a JSON object with \"method\" is needed".into(),
        ));
    };
    let method = format!("{namespace}.{name}");
    let verb = schema::find(&method)
        .ok_or_else(|| Failure::Usage(format!("{method} is not a verb that is known here")))?;
    let rest: Vec<&String> = rest.iter().collect();
    // Standard input is where the calls come from.
    let params = params::read(verb, &rest, None, &mut std::io::empty())?;
    Ok(Line {
        method,
        params: Some(raw(&params)?),
        id: None,
        flow_id: None,
        timeout: None,
    })
}

fn told(failure: &Failure) -> Told {
    match failure {
        Failure::Verb { code, message, .. } => Told {
            class: failure.class(),
            code: Some(*code),
            message: message.clone(),
        },
        other => Told {
            class: other.class(),
            code: None,
            message: other.to_string(),
        },
    }
}

fn next_line(lines: &mut impl BufRead) -> Result<Option<String>, Failure> {
    let mut bytes = Vec::new();
    let fail = |source| Failure::File {
        file: "standard input".to_owned(),
        source,
    };
    let read = lines
        .by_ref()
        .take(LONGEST)
        .read_until(b'\n', &mut bytes)
        .map_err(fail)?;
    if read as u64 == LONGEST && bytes.last() != Some(&b'\n') {
        return Err(Failure::Usage(
            "standard input: a line is longer than 64 MiB".into(),
        ));
    }
    Ok((read > 0).then(|| String::from_utf8_lossy(&bytes).into_owned()))
}
