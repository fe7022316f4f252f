//! The network of this host: steps become acts of the kernel, over netlink, in the namespace of the thread that runs
//! them.
//!
//! Idempotent: what is so already is success; something else of the same name is a failure, never taken over or away.
//! Calls of the kernel do not block beyond its own lock; all waits end at the run's deadline.
//!
//! Look next: `steps.rs` (a step and its act, a refusal and its meaning), `lanes.rs` (many at the same time), `removal.rs`, `qos.rs`.

mod lanes;
mod options;
mod qos;
mod raw;
mod removal;
mod routes;
mod steps;
mod talk;

use std::{
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use net_model::{Current, Planned, Step};
use netlink::NetlinkError;
use observe::network::Indexes;

pub(crate) use routes::address_for_a_time;

use crate::{ApplyError, DhcpClients, Halted, Machine, Resolver};
use lanes::{Lane, Outcome};
use removal::Part;
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

    /// Runs steps by their lanes, to the first run that fails.
    fn run_lanes(&self, talk: &mut Talk, steps: &[Planned], first: usize) -> Outcome {
        let mut all = Outcome::default();
        let mut first = first;
        for run in net_model::lanes(steps) {
            let mut lanes = Vec::new();
            for part in run {
                let places = first..;
                lanes.push(Lane::new(
                    places.zip(part.iter().map(|it| &it.step)).collect(),
                ));
                first += part.len();
            }
            let outcome = lanes::run(self, talk, lanes);
            all.done.extend(outcome.done);
            all.failed = outcome.failed;
            if !all.failed.is_empty() {
                break;
            }
        }
        all
    }

    /// Runs steps that take away: the links last, together.
    fn remove(&self, talk: &mut Talk, all: &[&Step], places: Range<usize>) -> Outcome {
        let some = places.filter_map(|place| Some((place, *all.get(place)?)));
        let (links, others): (Vec<_>, Vec<_>) =
            some.partition(|(_, step)| removal::deleted(step).is_some());
        let mut outcome = lanes::run(self, talk, vec![Lane::new(others)]);
        if outcome.failed.is_empty() {
            let names = links.iter().filter_map(|(_, step)| removal::deleted(step));
            // What this does not remove is removed one by one, and told.
            let _ = removal::together(talk, names);
            let last = lanes::run(self, talk, vec![Lane::new(links)]);
            outcome.done.extend(last.done);
            outcome.failed = last.failed;
        }
        outcome
    }

    /// Runs each, whatever becomes of the others; answers what failed.
    fn one_by_one(&self, talk: &mut Talk, steps: Vec<(usize, &Step)>) -> Vec<(usize, ApplyError)> {
        let mut failed = Vec::new();
        for step in steps {
            failed.extend(lanes::run(self, talk, vec![Lane::new(vec![step])]).failed);
        }
        failed
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
        current.leased = self.dhcp.leased();
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
        let all: Vec<&Step> = steps.iter().map(|it| &it.step).collect();
        let mut done = Vec::new();
        for part in removal::parts(&mut talk, &all) {
            let runs = match &part {
                Part::Removals(places) => self.remove(&mut talk, &all, places.clone()),
                Part::Others(places) => {
                    let some = steps.get(places.clone()).unwrap_or_default();
                    self.run_lanes(&mut talk, some, places.start)
                }
            };
            done.extend(runs.done);
            if let Some(halted) = halted(&done, runs.failed) {
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
        let all: Vec<&Step> = steps.iter().collect();
        let mut failed = Vec::new();
        for part in removal::parts(&mut talk, &all) {
            let together = matches!(part, Part::Removals(_));
            let some = part
                .places()
                .filter_map(|place| Some((place, *all.get(place)?)));
            let (links, others): (Vec<_>, Vec<_>) =
                some.partition(|(_, step)| together && removal::deleted(step).is_some());
            failed.extend(self.one_by_one(&mut talk, others));
            let names = links.iter().filter_map(|(_, step)| removal::deleted(step));
            let _ = removal::together(&mut talk, names);
            failed.extend(self.one_by_one(&mut talk, links));
        }
        failed.into_iter().map(|(_, error)| error).collect()
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
