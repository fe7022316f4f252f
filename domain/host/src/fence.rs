//! Fencing: this host switches the power of another one, at Engine's word (`Host.fenceNode`).
//!
//! ```text
//! request --checked--> order --policy--> skipped | refused
//!                              \--> the fence agent runs, bounded --> power | initiated | failed
//! ```
//!
//! - `request.rs`: what Engine sends becomes an [`Order`], or a typed error names the field; nothing ran.
//! - `policy.rs`: a table of rules decides whether the power may be touched. Pure.
//! - `outcome.rs`: what the exit code of an agent means. Pure.
//! - this file: the ports ([`FenceAgents`], [`HostLeases`]) and the driver ([`Fencer`]) over them.
//!
//! The agent is waited for, as upstream does: its failure is the answer, and Engine then tries another host.
//! Facts: upstream `API.py` (`fenceNode`); Engine `FenceVdsVDSCommand`, `VdsFenceOptions`.

mod outcome;
mod policy;
mod request;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use uuid::Uuid;

pub use outcome::{AgentExit, FenceAnswer, Power};
pub use policy::{FencePolicy, Lease, Verdict, decide, leases_needed};
pub use request::{FenceAction, FenceRequest, FieldError, Line, Order, Sealed};

/// After this time no more leases are asked for; what was not asked is unavailable, as it is to upstream when
/// the question fails.
const LEASES_TIME: Duration = Duration::from_secs(30);

/// Programs that switch power. Implemented over `exec`.
pub trait FenceAgents: Send + Sync {
    /// Runs an agent to its end, within a deadline of its own.
    ///
    /// # Errors
    /// [`AgentError`]; never with anything of the order in it.
    fn run(&self, order: &Order) -> Result<AgentExit, AgentError>;
}

/// Who renews its leases. Implemented over the cluster lock of storage domains.
pub trait HostLeases: Send + Sync {
    /// The lease of a host in a domain, as this host sees it; never touches storage for long.
    fn lease(&self, domain: Uuid, host_id: i32) -> Lease;
}

/// Why an agent did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AgentError {
    /// There is no such agent.
    #[error("there is no such fence agent")]
    NotInstalled,
    /// It did not end in time, and was killed with all that it had started.
    #[error("it did not end within {} seconds and was killed", .0.as_secs_f64())]
    TimedOut(Duration),
    /// It could not be started, or talking to it failed.
    #[error("it could not be run: {0}")]
    Broken(String),
}

/// Why the power was not touched, or is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FenceError {
    /// No agent of that name can be run here.
    #[error("the fence agent is not supported")]
    UnsupportedAgent,
    /// A field of the request cannot be handed to an agent.
    #[error("{field}: {why}")]
    Field {
        /// Its name on the wire.
        field: &'static str,
        /// What is wrong with it.
        why: FieldError,
    },
    /// The policy asks for something that this agent cannot find out; nothing was done.
    #[error("the policy depends on Gluster, whose state this host cannot tell; nothing was done")]
    PolicyUnknowable,
    /// The agent says that it failed.
    #[error("{said}")]
    AgentFailed {
        /// Upstream's code for it: 1, or 2 if the agent ended so.
        code: i32,
        /// What it said, secrets masked, bounded.
        said: String,
    },
    /// The agent did not come to its end.
    #[error("fence agent: {0}")]
    Agent(AgentError),
}

/// The driver: one order after another from any thread; it keeps no state.
pub struct Fencer {
    agents: Arc<dyn FenceAgents>,
    leases: Arc<dyn HostLeases>,
}

impl Fencer {
    /// Over these ports.
    pub fn new(agents: Arc<dyn FenceAgents>, leases: Arc<dyn HostLeases>) -> Self {
        Self { agents, leases }
    }

    /// Checks, decides, runs.
    ///
    /// # Errors
    /// [`FenceError`]; whether the power was touched is known by the variant: only the last two may have.
    pub fn fence(&self, request: FenceRequest) -> Result<FenceAnswer, FenceError> {
        let policy = request.policy.clone();
        let order = Order::of(request)?;
        match self.consult(order.action, policy.as_ref()) {
            Verdict::Fence(why) => {
                tracing::info!(agent = order.agent(), action = %order.action, address = %order.address, why, "fencing");
            }
            Verdict::Skip(why) => {
                tracing::warn!(agent = order.agent(), action = %order.action, address = %order.address, why, "fencing is skipped");
                return Ok(FenceAnswer::Skipped);
            }
            Verdict::Refuse(why) => {
                tracing::error!(agent = order.agent(), action = %order.action, address = %order.address, why, "fencing is refused");
                return Err(FenceError::PolicyUnknowable);
            }
        }
        self.run(&order)
    }

    fn consult(&self, action: FenceAction, policy: Option<&FencePolicy>) -> Verdict {
        let started = Instant::now();
        let mut known = Vec::new();
        for (domain, host_id) in leases_needed(action, policy) {
            let lease = if started.elapsed() < LEASES_TIME {
                self.leases.lease(domain, host_id)
            } else {
                Lease::Unavailable
            };
            tracing::info!(%domain, host_id, ?lease, "lease of the host to be fenced");
            known.push(lease);
        }
        decide(action, policy, &known)
    }

    fn run(&self, order: &Order) -> Result<FenceAnswer, FenceError> {
        let started = Instant::now();
        let ended = self.agents.run(order);
        let seconds = started.elapsed().as_secs_f64();
        let exit = ended.map_err(|error| {
            tracing::error!(agent = order.agent(), %error, seconds, "the fence agent failed");
            match error {
                AgentError::NotInstalled => FenceError::UnsupportedAgent,
                other => FenceError::Agent(other),
            }
        })?;
        let said = order.masked(&exit.said());
        tracing::debug!(agent = order.agent(), said, "the fence agent said");
        let answer = outcome::judge(order.action, exit.code, said);
        match &answer {
            Ok(answer) => {
                tracing::info!(agent = order.agent(), exit.code, ?answer, seconds, "fenced");
            }
            Err(error) => {
                tracing::error!(agent = order.agent(), exit.code, %error, seconds, "the fence agent failed");
            }
        }
        answer
    }
}
