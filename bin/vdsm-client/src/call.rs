//! The connection: one call, many calls, or a stretch of listening to events.
//!
//! A [`Session`] is one connection with a small runtime of its own, so that heart-beats go on while its owner
//! waits for something else. Connecting and each answer are bounded by the timeout.

use std::{future::Future, io::Write, time::Duration};

use host_model::HostPort;
use rpc::{Client, ClientConfig, ClientError, EVENT_QUEUE, Event, TlsFiles};
use schema::{Raw, VerbDecl};
use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};
use tokio::runtime::{Builder, Runtime};

use crate::{
    failure::{Failure, causes, remedy_of},
    output,
};

/// Where to connect and how.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    /// The agent's port.
    pub(crate) address: HostPort,
    /// Certificates; `None` for a plain connection.
    pub(crate) tls: Option<TlsFiles>,
    /// To connect, and again for each answer.
    pub(crate) timeout: Duration,
    /// Mark of the calls in the agent's log.
    pub(crate) flow_id: Option<String>,
    /// The options by which the same connection is made again, as words for a shell.
    pub(crate) options: String,
}

/// How to listen to events.
pub(crate) struct Listening {
    /// Where.
    pub(crate) connection: Connection,
    /// Only events whose method begins so.
    pub(crate) prefix: String,
    /// End after so many.
    pub(crate) count: Option<u64>,
    /// Fail if none comes for so long.
    pub(crate) silence: Option<Duration>,
}

/// A call, ready for the wire.
pub(crate) struct Request<'a> {
    /// The verb, `Host.ping2`.
    pub(crate) method: &'a str,
    /// Its parameters.
    pub(crate) params: &'a RawValue,
    /// Mark in the agent's log.
    pub(crate) flow_id: Option<&'a str>,
    /// Time for the answer.
    pub(crate) timeout: Duration,
}

impl Connection {
    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new(self.address.clone(), self.tls.clone());
        config.timeout = self.timeout;
        config
    }

    fn lost(&self, error: &ClientError) -> Failure {
        self.failed(causes(error), remedy_of(error, self.tls.is_some()))
    }

    fn failed(&self, reason: String, remedy: &'static str) -> Failure {
        Failure::Connection {
            address: self.address.to_string(),
            use_tls: self.tls.is_some(),
            reason,
            remedy,
        }
    }

    async fn open(&self) -> Result<Client, Failure> {
        Client::connect(self.config())
            .await
            .map_err(|error| self.lost(&error))
    }

    fn failure(&self, request: &Request<'_>, error: ClientError) -> Failure {
        // Parameters of a verb that is not declared may hold anything: they are not repeated.
        let args = || match schema::find(request.method) {
            Some(verb) => schema::redact(Some(request.params), Some(verb)),
            None => "{...}".to_owned(),
        };
        match error {
            ClientError::Rpc(error) => Failure::Verb {
                method: request.method.to_owned(),
                args: args(),
                code: error.code,
                message: error.message,
            },
            ClientError::Timeout { after, .. } => Failure::Timeout {
                what: format!("Request {} with args {}", request.method, args()),
                seconds: after.as_secs_f64(),
                remedy: "What was asked may still happen; --timeout SECONDS waits longer."
                    .to_owned(),
            },
            other => self.lost(&other),
        }
    }
}

/// An open connection.
pub(crate) struct Session<'a> {
    connection: &'a Connection,
    client: Client,
    // Dropped after the client, whose goodbye it writes.
    runtime: Runtime,
}

impl<'a> Session<'a> {
    /// Connects.
    pub(crate) fn open(connection: &'a Connection) -> Result<Self, Failure> {
        let runtime = runtime()?;
        let client = runtime.block_on(connection.open())?;
        Ok(Self {
            connection,
            client,
            runtime,
        })
    }

    /// The connection's options.
    pub(crate) fn connection(&self) -> &'a Connection {
        self.connection
    }

    /// Calls a verb with the connection's own timeout and flow id.
    pub(crate) async fn ask(&self, method: &str, params: &Value) -> Result<Raw, Failure> {
        let params = raw(params)?;
        let request = Request {
            method,
            params: &params,
            flow_id: self.connection.flow_id.as_deref(),
            timeout: self.connection.timeout,
        };
        self.call(&request).await
    }

    /// Calls a verb.
    pub(crate) async fn call(&self, request: &Request<'_>) -> Result<Raw, Failure> {
        self.client
            .call(
                request.method,
                Some(request.params),
                request.flow_id,
                request.timeout,
            )
            .await
            .map_err(|error| self.connection.failure(request, error))
    }

    /// Listens to all events.
    pub(crate) fn events(&self) -> Result<rpc::Subscription, Failure> {
        self.client
            .subscribe(EVENT_QUEUE)
            .map_err(|error| self.connection.lost(&error))
    }

    /// Waits for work on this connection.
    pub(crate) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }
}

/// Calls a verb.
pub(crate) fn once(
    connection: &Connection,
    verb: &'static VerbDecl,
    params: &Value,
) -> Result<Raw, Failure> {
    let session = Session::open(connection)?;
    session.run(session.ask(verb.method, params))
}

/// Prints events as lines of JSON until interrupted, or until there were enough.
pub(crate) fn listen(listening: &Listening, out: &mut dyn Write) -> Result<(), Failure> {
    let session = Session::open(&listening.connection)?;
    session.run(async {
        tokio::select! {
            // First, so that the signal is caught before the first event is printed.
            biased;
            interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Failure::from),
            ended = print_events(&session, listening, out) => ended,
        }
    })
}

async fn print_events(
    session: &Session<'_>,
    listening: &Listening,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let mut events = session.events()?;
    let mut printed = 0;
    while listening.count.is_none_or(|count| printed < count) {
        let event = within(listening, next_wanted(&mut events, &listening.prefix)).await?;
        let event = event.ok_or_else(|| {
            listening.connection.failed(
                "the agent closed it".to_owned(),
                "Events were lost from here on; listen again, and read the present state.",
            )
        })?;
        output::line(out, &as_json(&event))?;
        printed += 1;
    }
    Ok(())
}

async fn next_wanted(events: &mut rpc::Subscription, prefix: &str) -> Option<Event> {
    loop {
        let event = events.next_event().await?;
        if event.method.starts_with(prefix) {
            return Some(event);
        }
    }
}

async fn within(
    listening: &Listening,
    next: impl Future<Output = Option<Event>>,
) -> Result<Option<Event>, Failure> {
    match listening.silence {
        None => Ok(next.await),
        Some(silence) => tokio::time::timeout(silence, next)
            .await
            .map_err(|_| Failure::Timeout {
                what: "Waiting for an event".to_owned(),
                seconds: silence.as_secs_f64(),
                remedy: String::new(),
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

/// A value as JSON text.
pub(crate) fn raw(value: &Value) -> Result<Raw, Failure> {
    to_raw_value(value).map_err(|error| Failure::Internal(error.to_string()))
}

/// One thread beside the caller's: it reads and beats while the caller waits for something else.
fn runtime() -> Result<Runtime, Failure> {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Failure::Internal(format!("cannot start: {error}")))
}
