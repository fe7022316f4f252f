//! From a request of `rpc` to a handler and back: on which thread a verb runs, and the one line that is logged
//! for it.
//!
//! Verbs of class `Inline` answer from memory and run where the request was read. The others run on blocking
//! threads, in a *lane* of their class: so many at once, so many waiting, the rest refused. Hung calls fill their
//! lane and delay no other. Until the agent stands, every verb answers code 99, as upstream does while it recovers.
//!
//! States of a call in a lane: *waiting* -> *running* -> answered. One that only looks and whose asker is gone is
//! *dropped* while it waits; what changes something is carried out, whoever is gone.
//!
//! Look next: `service/lanes.rs`.

mod lanes;

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use rpc::{Call, Reply, RpcError, Service};
use schema::{Code, Raw, VdsmError, VerbDecl};

pub(crate) use lanes::LaneLimits;
use lanes::Lanes;

use crate::{agent::Agent, checks};

/// What serves the port. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Front {
    agent: Arc<OnceLock<Arc<Agent>>>,
    lanes: Arc<Lanes>,
    document: Arc<OnceLock<Raw>>,
}

impl Front {
    /// A front without an agent behind it yet.
    pub(crate) fn new(limits: LaneLimits) -> Self {
        Self {
            agent: Arc::default(),
            lanes: Arc::new(Lanes::new(limits)),
            document: Arc::default(),
        }
    }

    /// From now on the agent answers.
    pub(crate) fn install(&self, agent: Arc<Agent>) {
        if self.agent.set(agent).is_err() {
            tracing::error!("an agent is installed already");
        }
    }

    fn ready(&self) -> Result<Arc<Agent>, VdsmError> {
        let agent = self.agent.get().filter(|agent| !agent.recovering());
        agent
            .cloned()
            .ok_or_else(|| Code::RecoveryInProgress.into())
    }

    /// Are verbs answered?
    pub(crate) fn serves(&self) -> bool {
        self.ready().is_ok()
    }

    async fn answer(&self, call: &Call, verb: &'static VerbDecl) -> Result<Raw, VdsmError> {
        let agent = self.ready()?;
        let context = context_of(call);
        let Some(lane) = self.lanes.of(verb.class) else {
            return checks::dispatch(&agent, &context, verb, call.params.as_deref());
        };
        if !verb.implemented {
            return Err(agent.not_implemented(verb));
        }
        let turn = lane.turn(verb, &call.context.gone).await?;
        let params = call.params.clone();
        turn.run(move || checks::dispatch(&agent, &context, verb, params.as_deref()))
            .await
    }

    /// The document of the API, made once.
    fn discover(&self) -> Result<Raw, VdsmError> {
        if let Some(made) = self.document.get() {
            return Ok(made.clone());
        }
        let made = serde_json::value::to_raw_value(&schema::openrpc::document())
            .map_err(|error| VdsmError::internal(&format!("the document of the API: {error}")))?;
        Ok(self.document.get_or_init(|| made).clone())
    }
}

impl Service for Front {
    async fn call(&self, call: Call) -> Reply {
        let start = Instant::now();
        let verb = schema::find(&call.method);
        let answer = match verb {
            Some(verb) => self.answer(&call, verb).await,
            None if call.method == schema::openrpc::METHOD => self.discover(),
            None => Err(VdsmError::method_not_found(&call.method)),
        };
        log(&call, verb, start.elapsed(), &answer);
        answer.map_err(|error| RpcError {
            code: error.code.into(),
            message: error.message,
        })
    }
}

fn context_of(call: &Call) -> schema::CallContext {
    schema::CallContext {
        flow_id: call.context.flow_id.clone(),
        client: Some(call.context.peer.address),
        local: Some(call.context.peer.local_address),
    }
}

/// One line a call, and at level DEBUG one more with its parameters. Pings that went well are told at level DEBUG
/// only: they come by the thousand.
fn log(call: &Call, verb: Option<&VerbDecl>, took: Duration, answer: &Result<Raw, VdsmError>) {
    let name = named(call, verb);
    let flow_id = call.context.flow_id.as_deref().unwrap_or("");
    let client = &call.context.peer.address;
    let seconds = took.as_secs_f64();
    match answer {
        Ok(_) if matches!(name, "Host.ping" | "Host.ping2" | "Host.echo") => {
            tracing::debug!(target: "vdsm.api", verb = name, flow_id, %client, seconds, outcome = "ok");
            return;
        }
        Ok(_) => {
            tracing::info!(target: "vdsm.api", verb = name, flow_id, %client, seconds, outcome = "ok");
        }
        Err(error) => {
            let (code, message) = (error.code, error.message.as_str());
            tracing::info!(target: "vdsm.api", verb = name, flow_id, %client, seconds, outcome = "error", code, message);
        }
    }
    tracing::debug!(target: "vdsm.api", verb = name, flow_id, params = schema::redact(call.params.as_deref(), verb));
}

/// The method of a request for a verb that is not declared, bounded: it may be anything.
fn named<'a>(call: &'a Call, verb: Option<&'a VerbDecl>) -> &'a str {
    const LONGEST: usize = 80;
    let mut end = call.method.len().min(LONGEST);
    while !call.method.is_char_boundary(end) {
        end -= 1;
    }
    verb.map_or_else(
        || call.method.get(..end).unwrap_or_default(),
        |verb| verb.method,
    )
}
