//! Is the other end of each network there? One loop asks for all networks; what its answers mean is `net_model::probe`'s.
//!
//! ```text
//! each interval, each network:      an answer ──▶ good
//!   asks each target up to three times  ── all asked, time over ──▶ bad, with a cause
//!   (echo requests through its interface; where it has no address: root asks by ARP or neighbour solicitation)
//! ```
//!
//! States of a network in the loop: waiting for its next sample, or asking (`flight.rs`: sockets that live for one sample
//! and end with its first answer, so that 200 networks that answer have hardly a socket open). Networks start at
//! different times of their intervals. What the loop cannot ask for lack of permission is no sample: a host that may not
//! send echo requests has no networks that are down.
//!
//! Look next: `flight.rs` (one sample), `ping.rs` (sockets), `table.rs` (what is known of interfaces), `solicit.rs`
//! (asking root).

mod flight;
mod ping;
mod solicit;
mod table;

use std::{
    collections::BTreeMap,
    io,
    net::IpAddr,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{Builder, JoinHandle},
    time::{Duration, Instant},
};

use net_model::{
    IfName, NetName,
    probe::{ProbeConfig, Sample},
};
use netlink::NetlinkError;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use flight::{Ask, Flight, Outcome};
pub use solicit::Solicitor;
use solicit::{Answer, Askers, Question};
use table::Table;

/// The loop looks at everything at least this often.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// For each reading from the kernel.
const KERNEL: Duration = Duration::from_secs(5);

/// A network to be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Its name.
    pub network: NetName,
    /// The interface that carries its addresses ([`net_model::Network::top`]).
    pub device: IfName,
    /// Next hops of targets that are not on the link: one that is no neighbour is the cause.
    pub gateways: Vec<IpAddr>,
    /// Whom to ask, how often.
    pub config: ProbeConfig,
}

/// What the loop tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// What one interval of a network brought.
    Sample {
        /// Which network.
        network: NetName,
        /// Good or bad.
        sample: Sample,
    },
    /// Nobody could be asked: says nothing about the network.
    Unable {
        /// Which network.
        network: NetName,
        /// Why.
        why: String,
    },
}

/// Why there is no loop.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The kernel does not tell of interfaces.
    #[error("cannot watch interfaces")]
    Watch {
        /// Why.
        source: NetlinkError,
    },
    /// No descriptor or no thread.
    #[error("cannot start the loop that asks for networks")]
    Start {
        /// Why.
        source: io::Error,
    },
}

/// The loop. Dropping it ends it.
#[derive(Debug)]
pub struct Prober {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    watched: Mutex<Option<Vec<Watched>>>,
    end: AtomicBool,
    wake: Arc<OwnedFd>,
}

impl Shared {
    fn watched(&self) -> MutexGuard<'_, Option<Vec<Watched>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Prober {
    /// Starts the loop, in the network namespace of this thread, with nothing to ask for. `report` is called on the loop's
    /// thread and must not block.
    ///
    /// # Errors
    /// [`ProbeError`]; nothing was started.
    pub fn start(
        solicitor: Option<Arc<dyn Solicitor>>,
        report: impl FnMut(Report) + Send + 'static,
    ) -> Result<Self, ProbeError> {
        let failed = |source: io::Error| ProbeError::Start { source };
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let wake = Arc::new(eventfd(0, flags).map_err(|it| failed(it.into()))?);
        let table = Table::open(KERNEL).map_err(|source| ProbeError::Watch { source })?;
        let askers = solicitor.map(|it| Askers::start(&it, &wake)).transpose();
        let shared = Arc::new(Shared {
            watched: Mutex::default(),
            end: AtomicBool::new(false),
            wake,
        });
        let mut all = Loop {
            shared: Arc::clone(&shared),
            table,
            askers: askers.map_err(failed)?,
            lanes: BTreeMap::new(),
            flights: 0,
            report: Box::new(report),
        };
        let thread = Builder::new().name("net-probe".into());
        let thread = thread.spawn(move || all.run()).map_err(failed)?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// From now on these are asked for; one that was so before goes on as it was.
    pub fn watch(&self, networks: Vec<Watched>) {
        *self.shared.watched() = Some(networks);
        rouse(&self.shared.wake);
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.shared.end.store(true, Ordering::Release);
        rouse(&self.shared.wake);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Wakes the loop. A counter that is full wakes it, too.
fn rouse(wake: &OwnedFd) {
    let _ = rustix::io::write(wake, &1_u64.to_ne_bytes());
}

/// One network in the loop.
struct Lane {
    watched: Watched,
    next: Instant,
    flight: Option<Flight>,
}

struct Loop {
    shared: Arc<Shared>,
    table: Table,
    askers: Option<Askers>,
    lanes: BTreeMap<NetName, Lane>,
    flights: u64,
    report: Box<dyn FnMut(Report) + Send>,
}

impl Loop {
    fn run(&mut self) {
        while !self.shared.end.load(Ordering::Acquire) {
            self.take_watched();
            // The older picture serves until the kernel tells again; nobody needs one where nothing is watched.
            if !self.lanes.is_empty() {
                let _ = self.table.refresh();
            }
            self.take_answers();
            self.step();
            self.sleep();
        }
    }

    fn take_watched(&mut self) {
        let Some(networks) = self.shared.watched().take() else {
            return;
        };
        let mut before = std::mem::take(&mut self.lanes);
        let (now, count) = (Instant::now(), networks.len().max(1));
        for (place, watched) in networks.into_iter().enumerate() {
            let name = watched.network.clone();
            let lane = match before.remove(&name) {
                Some(lane) if lane.watched == watched => lane,
                _ => {
                    let share = place as f64 / count as f64;
                    let next = now + interval(&watched).mul_f64(share);
                    Lane {
                        watched,
                        next,
                        flight: None,
                    }
                }
            };
            self.lanes.insert(name, lane);
        }
    }

    fn take_answers(&mut self) {
        let answers: Vec<Answer> = self.askers.iter().flat_map(Askers::answers).collect();
        for answer in answers {
            let lane = self.lanes.get_mut(&answer.network);
            if let Some(flight) = lane.and_then(|it| it.flight.as_mut()) {
                flight.answered(answer);
            }
        }
    }

    /// Starts what is due, asks again, ends what has come to its end.
    fn step(&mut self) {
        let now = Instant::now();
        for (name, lane) in &mut self.lanes {
            if lane.flight.is_none() && lane.next <= now {
                lane.next = after(lane.next, interval(&lane.watched), now);
                self.flights += 1;
                let ask = Ask {
                    watched: &lane.watched,
                    number: self.flights,
                    now,
                    may_ask_root: self.askers.is_some(),
                };
                let (flight, question) = Flight::start(&ask, &self.table);
                lane.flight = Some(flight);
                if let (Some(askers), Some(question)) = (&self.askers, question) {
                    askers.ask(question);
                }
            }
            let Some(flight) = &mut lane.flight else {
                continue;
            };
            let Some(outcome) = flight.step(now, &lane.watched, &mut self.table) else {
                continue;
            };
            lane.flight = None;
            let network = name.clone();
            (self.report)(match outcome {
                Outcome::Sample(sample) => Report::Sample { network, sample },
                Outcome::Unable(why) => Report::Unable { network, why },
            });
        }
    }

    /// Until something comes, or something is due.
    fn sleep(&mut self) {
        let now = Instant::now();
        let lanes = self.lanes.values();
        let due = lanes.map(|lane| lane.flight.as_ref().map_or(lane.next, Flight::due));
        let refresh = self.table.due().filter(|_| !self.lanes.is_empty());
        let due = due.chain(refresh).min();
        let left = due.map_or(LONGEST_SLEEP, |it| it.saturating_duration_since(now));
        let left = Timespec::try_from(left.min(LONGEST_SLEEP)).ok();
        let pings = self.lanes.values().filter_map(|it| it.flight.as_ref());
        let pings = pings.flat_map(Flight::sockets);
        let own = [self.shared.wake.as_fd(), self.table.as_fd()];
        let mut fds: Vec<_> = own
            .into_iter()
            .chain(pings)
            .map(|it| PollFd::from_borrowed_fd(it, PollFlags::IN))
            .collect();
        // An interrupted sleep is a short one.
        let _ = poll(&mut fds, left.as_ref());
        let ready: Vec<bool> = fds.iter().map(|it| !it.revents().is_empty()).collect();
        drop(fds);
        self.read(&ready);
    }

    /// In the order of the descriptors of [`Self::sleep`].
    fn read(&mut self, ready: &[bool]) {
        let mut ready = ready.iter().copied();
        if ready.next() == Some(true) {
            let _ = rustix::io::read(&self.shared.wake, &mut [0; 8]);
        }
        if ready.next() == Some(true) && self.table.hear().is_err() {
            // The kernel does not tell any more: another ear.
            if let Ok(table) = Table::open(KERNEL) {
                self.table = table;
            }
        }
        for lane in self.lanes.values_mut() {
            if let Some(flight) = &mut lane.flight {
                flight.receive(&mut ready);
            }
        }
    }
}

fn interval(watched: &Watched) -> Duration {
    Duration::from_secs(watched.config.interval.into())
}

/// The next time of a rhythm that is still to come: what was slept through is not made up for.
fn after(last: Instant, interval: Duration, now: Instant) -> Instant {
    let next = last + interval;
    if next > now { next } else { now + interval }
}
