//! From a request of `rpc` to a handler and back: on which thread a verb runs, and the one line that is logged
//! for it.
//!
//! Verbs of class `Inline` answer from memory and run where the request was read. The others run on blocking
//! threads, in a *lane* of their class: so many at once, so many waiting, the rest refused. Hung calls fill their
//! lane and delay no other. Until the agent stands, every verb answers code 99, as upstream does while it recovers.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rpc::{Call, Reply, RpcError, Service};
use schema::{Class, Code, Raw, VdsmError, VerbDecl};
use tokio::sync::Semaphore;

use crate::agent::Agent;

/// What serves the port. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Front {
    agent: Arc<OnceLock<Arc<Agent>>>,
    lanes: Arc<Lanes>,
}

/// How many calls of one class run and wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LaneLimits {
    /// At once.
    pub(crate) running: usize,
    /// Waiting for their turn.
    pub(crate) waiting: usize,
    /// After this time a call is logged as stuck.
    pub(crate) stuck_after: Duration,
}

struct Lanes {
    query: Lane,
    storage: Lane,
    virt: Lane,
    stuck_after: Duration,
}

struct Lane {
    turn: Semaphore,
    waiting: AtomicUsize,
    most_waiting: usize,
}

impl Front {
    /// A front without an agent behind it yet.
    pub(crate) fn new(limits: LaneLimits) -> Self {
        let lane = || Lane {
            turn: Semaphore::new(limits.running),
            waiting: AtomicUsize::new(0),
            most_waiting: limits.waiting,
        };
        let lanes = Lanes {
            query: lane(),
            storage: lane(),
            virt: lane(),
            stuck_after: limits.stuck_after,
        };
        Self {
            agent: Arc::default(),
            lanes: Arc::new(lanes),
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

    async fn answer(&self, call: &Call, verb: &'static VerbDecl) -> Result<Raw, VdsmError> {
        let agent = self.ready()?;
        let context = context_of(call);
        let Some(lane) = self.lanes.of(verb.class) else {
            return schema::dispatch(&*agent, &context, verb.method, call.params.as_deref());
        };
        let _place = lane.place(verb)?;
        let turn = lane.turn.acquire().await;
        let turn = turn.map_err(|_| VdsmError::internal("the agent is stopping"))?;
        let params = call.params.clone();
        let mut run = tokio::task::spawn_blocking(move || {
            schema::dispatch(&*agent, &context, verb.method, params.as_deref())
        });
        let answer = loop {
            if let Ok(ended) = tokio::time::timeout(self.lanes.stuck_after, &mut run).await {
                break ended;
            }
            tracing::warn!(verb = verb.method, "the call has not ended yet");
        };
        drop(turn);
        answer.unwrap_or_else(|error| {
            tracing::error!(verb = verb.method, %error, "the handler panicked");
            Err(VdsmError::internal(
                "the handler failed; see the agent's log",
            ))
        })
    }
}

impl Lanes {
    fn of(&self, class: Class) -> Option<&Lane> {
        match class {
            Class::Inline => None,
            Class::Query => Some(&self.query),
            Class::Storage => Some(&self.storage),
            Class::Virt => Some(&self.virt),
        }
    }
}

impl Lane {
    fn place(&self, verb: &VerbDecl) -> Result<Place<'_>, VdsmError> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.most_waiting {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            let why = format!(
                "{}: too many calls of its kind are waiting, try later",
                verb.method
            );
            return Err(VdsmError::internal(&why));
        }
        Ok(Place(self))
    }
}

/// A place in a lane, given back when dropped.
struct Place<'a>(&'a Lane);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Service for Front {
    async fn call(&self, call: Call) -> Reply {
        let start = Instant::now();
        let verb = schema::find(&call.method);
        let answer = match verb {
            Some(verb) => self.answer(&call, verb).await,
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

/// One line a call. Pings that went well are told at level DEBUG only: they come by the thousand.
fn log(call: &Call, verb: Option<&VerbDecl>, took: Duration, answer: &Result<Raw, VdsmError>) {
    let name = named(call, verb);
    let flow_id = call.context.flow_id.as_deref().unwrap_or("");
    let client = &call.context.peer.address;
    let seconds = took.as_secs_f64();
    match answer {
        Ok(_) if matches!(name, "Host.ping" | "Host.ping2" | "Host.echo") => {
            tracing::debug!(target: "vdsm.api", verb = name, flow_id, %client, seconds, outcome = "ok");
        }
        Ok(_) => {
            tracing::info!(target: "vdsm.api", verb = name, flow_id, %client, seconds, outcome = "ok");
            tracing::debug!(target: "vdsm.api", verb = name, flow_id, params = schema::redact(call.params.as_deref(), verb));
        }
        Err(error) => {
            let (code, message) = (error.code, error.message.as_str());
            tracing::info!(target: "vdsm.api", verb = name, flow_id, %client, seconds, outcome = "error", code, message);
        }
    }
}

/// The method of a request for a verb that is not declared, bounded: it may be anything.
fn named<'a>(call: &'a Call, verb: Option<&'a VerbDecl>) -> &'a str {
    const LONGEST: usize = 80;
    match verb {
        Some(verb) => verb.method,
        None => call.method.get(..LONGEST).unwrap_or(&call.method),
    }
}
