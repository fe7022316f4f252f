//! The connection: one call, or a stretch of listening to events.
//!
//! One thread and one small runtime per run. Connecting and the answer are each bounded by the timeout.

use std::{future::Future, io::Write, time::Duration};

use rpc::{Client, ClientConfig, ClientError, EVENT_QUEUE, Event, TlsFiles};
use schema::{Raw, VerbDecl};
use serde_json::{Value, value::to_raw_value};

use crate::{
    failure::{Failure, causes},
    output,
};

/// Where to connect and how.
pub(crate) struct Connection {
    /// Name or address.
    pub(crate) host: String,
    /// Port.
    pub(crate) port: u16,
    /// Certificates; `None` for a plain connection.
    pub(crate) tls: Option<TlsFiles>,
    /// To connect, and again for the answer.
    pub(crate) timeout: Duration,
    /// Mark of the call in the agent's log.
    pub(crate) flow_id: Option<String>,
}

/// How to listen to events.
pub(crate) struct Listening {
    /// Where.
    pub(crate) connection: Connection,
    /// End after so many.
    pub(crate) count: Option<u64>,
    /// Fail if none comes for so long.
    pub(crate) silence: Option<Duration>,
}

impl Connection {
    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new(self.host.clone(), self.tls.clone());
        config.port = self.port;
        config.timeout = self.timeout;
        config
    }

    fn lost(&self, error: &ClientError) -> Failure {
        self.failed(causes(error))
    }

    fn failed(&self, reason: String) -> Failure {
        Failure::Connection {
            address: format!("{}:{}", self.host, self.port),
            use_tls: self.tls.is_some(),
            reason,
        }
    }

    async fn open(&self) -> Result<Client, Failure> {
        Client::connect(self.config())
            .await
            .map_err(|error| self.lost(&error))
    }
}

/// Calls a verb.
pub(crate) fn once(
    connection: &Connection,
    verb: &'static VerbDecl,
    params: &Value,
) -> Result<Raw, Failure> {
    let params = to_raw_value(params).map_err(|error| Failure::Internal(error.to_string()))?;
    run(async {
        let client = connection.open().await?;
        let flow_id = connection.flow_id.as_deref();
        let answer = client
            .call(verb.method, Some(&params), flow_id, connection.timeout)
            .await;
        answer.map_err(|error| match error {
            ClientError::Rpc(error) => Failure::Verb {
                method: verb.method,
                args: schema::redact(Some(&params), Some(verb)),
                code: error.code,
                message: error.message,
            },
            ClientError::Timeout { after, .. } => Failure::Timeout {
                what: format!(
                    "Request {} with args {}",
                    verb.method,
                    schema::redact(Some(&params), Some(verb))
                ),
                seconds: after.as_secs_f64(),
            },
            other => connection.lost(&other),
        })
    })
}

/// Prints events as lines of JSON until interrupted, or until there were enough.
pub(crate) fn listen(listening: &Listening, out: &mut dyn Write) -> Result<(), Failure> {
    run(async {
        tokio::select! {
            ended = print_events(listening, out) => ended,
            interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Failure::from),
        }
    })
}

async fn print_events(listening: &Listening, out: &mut dyn Write) -> Result<(), Failure> {
    let connection = &listening.connection;
    let client = connection.open().await?;
    let mut events = client
        .subscribe(EVENT_QUEUE)
        .map_err(|error| connection.lost(&error))?;
    let mut printed = 0;
    while listening.count.is_none_or(|count| printed < count) {
        let event = within(listening.silence, events.next_event()).await?;
        let event = event.ok_or_else(|| connection.failed("the agent closed it".to_owned()))?;
        output::line(out, &as_json(&event))?;
        printed += 1;
    }
    Ok(())
}

async fn within(
    silence: Option<Duration>,
    next: impl Future<Output = Option<Event>>,
) -> Result<Option<Event>, Failure> {
    match silence {
        None => Ok(next.await),
        Some(silence) => tokio::time::timeout(silence, next)
            .await
            .map_err(|_| Failure::Timeout {
                what: "Waiting for an event".to_owned(),
                seconds: silence.as_secs_f64(),
            }),
    }
}

fn as_json(event: &Event) -> Value {
    // The text was parsed when the event came.
    let params = event
        .params
        .as_ref()
        .and_then(|params| serde_json::from_str(params.get()).ok());
    serde_json::json!({ "method": event.method, "params": params.unwrap_or(Value::Null) })
}

fn run<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Internal(format!("cannot start: {error}")))?;
    runtime.block_on(work)
}
