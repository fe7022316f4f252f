//! The network of this host: steps become acts of the kernel, over netlink, in the namespace of the thread that runs
//! them.
//!
//! Idempotent: what is so already is success; something else of the same name is a failure, never taken over or away.
//! Calls of the kernel do not block beyond its own lock; all waits end at the run's deadline.
//!
//! Look next: `steps.rs` (a step and its act, a refusal and its meaning), `lanes.rs` (many at the same time), `qos.rs`.

mod lanes;
mod options;
mod qos;
mod raw;
mod routes;
mod steps;
mod talk;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use net_model::{Current, Planned, Step};
use netlink::NetlinkError;
use observe::network::Indexes;

use crate::{ApplyError, DhcpClients, Halted, Machine, Resolver};
use lanes::{Lane, Outcome};
use talk::Talk;

/// The host's network.
pub struct KernelMachine {
    nics: Vec<String>,
    dhcp: Arc<dyn DhcpClients>,
    resolver: Arc<dyn Resolver>,
}

impl KernelMachine {
    /// `nics`: kinds of interfaces that count as network cards although the kernel makes them by software
    /// (`veth`, `dummy`), and patterns of names of such (`veth_*`; the configuration's `fake_nics`).
    pub fn new(nics: Vec<String>, dhcp: Arc<dyn DhcpClients>, resolver: Arc<dyn Resolver>) -> Self {
        Self {
            nics,
            dhcp,
            resolver,
        }
    }

    /// What is no business of the kernel.
    fn elsewhere(&self, step: &Step, until: Instant) -> Result<(), ApplyError> {
        match step {
            Step::StartDhcp { link, client } => self.dhcp.start(link, client, until),
            Step::StopDhcp { link, family } => self.dhcp.stop(link, *family, until),
            Step::SetNameservers { servers } => self.resolver.set(servers, until),
            _ => Ok(()),
        }
    }
}

impl Machine for KernelMachine {
    fn current(&self, until: Instant) -> Result<Current, ApplyError> {
        let failed = |source| ApplyError::Read { source };
        let nics: Vec<&str> = self.nics.iter().map(String::as_str).collect();
        let (mut current, indexes) =
            observe::network::network(left(until), &nics).map_err(failed)?;
        current.count_as_nics(&self.nics);
        let mut talk = Talk::open(until).map_err(failed)?;
        current.qos = qos::read(&mut talk, &indexes).map_err(failed)?;
        current.dhcp = self.dhcp.running();
        if let Some(servers) = self.resolver.now() {
            current.nameservers = servers;
        }
        Ok(current)
    }

    fn run(&self, steps: &[Planned], until: Instant) -> Result<(), Halted> {
        let mut talk = match Talk::open(until) {
            Ok(talk) => talk,
            Err(error) => return first_fails(steps, error),
        };
        let mut done = Vec::new();
        let mut first = 0;
        for run in net_model::lanes(steps) {
            let mut lanes = Vec::new();
            for part in run {
                let all = part.iter().map(|it| &it.step).collect();
                lanes.push(Lane::new(first, all));
                first += part.len();
            }
            let outcome = lanes::run(self, &mut talk, lanes);
            done.extend(outcome.done);
            if let Some(halted) = halted(&done, outcome.failed) {
                return Err(halted);
            }
        }
        Ok(())
    }

    fn undo(&self, steps: &[Step], until: Instant) -> Vec<ApplyError> {
        let mut talk = match Talk::open(until) {
            Ok(talk) => talk,
            Err(source) => return vec![ApplyError::Read { source }],
        };
        let mut failed = Vec::new();
        for step in steps {
            let Outcome { failed: some, .. } =
                lanes::run(self, &mut talk, vec![Lane::new(0, vec![step])]);
            failed.extend(some.into_iter().map(|(_, error)| error));
        }
        failed
    }
}

fn first_fails(steps: &[Planned], source: NetlinkError) -> Result<(), Halted> {
    let Some(first) = steps.first() else {
        return Ok(());
    };
    let step = Box::new(first.step.clone());
    let error = ApplyError::Unanswered { step, source };
    halted(&[], vec![(0, error)]).map_or(Ok(()), Err)
}

/// Nothing if nothing failed.
fn halted(done: &[usize], mut failed: Vec<(usize, ApplyError)>) -> Option<Halted> {
    let mut done = done.to_vec();
    done.sort_unstable();
    failed.sort_by_key(|(place, _)| *place);
    let mut failed = failed.into_iter();
    let (place, source) = failed.next()?;
    Some(Halted {
        done,
        failed: place,
        source,
        others: failed.collect(),
    })
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}

/// What is there, for the rare step that has to compare.
fn there(talk: &Talk) -> Result<(Current, Indexes), NetlinkError> {
    observe::network::network(left(talk.until()), &[])
}
