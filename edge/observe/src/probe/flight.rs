//! One sample of one network: asking → answered (good) | its time over (bad) | nobody could be asked.
//!
//! Three requests to each target, a quarter of the interval apart (a second at most), and as long again for the last
//! answer. A target that no address of the interface's fits is root's to ask.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant},
};

use net_model::probe::{ATTEMPTS, Cause, Sample};

use super::{
    Answer, Question, Watched, interval,
    ping::{Back, NoPing, Ping},
    table::{Interface, Table},
};

/// Most time between two requests to a target.
const PACE: Duration = Duration::from_secs(1);
/// How much longer than the sample root may take to answer.
const ROOT_LATE: Duration = Duration::from_secs(2);

/// What a sample starts from.
pub(super) struct Ask<'a> {
    pub(super) watched: &'a Watched,
    pub(super) number: u64,
    pub(super) now: Instant,
    pub(super) may_ask_root: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Sample(Sample),
    Unable(String),
}

#[derive(Debug)]
pub(super) struct Flight {
    number: u64,
    index: Option<u32>,
    pings: Vec<Ping>,
    /// Asked by ourselves, each from the socket of this place.
    targets: BTreeMap<IpAddr, usize>,
    /// Root still asks.
    root: bool,
    sent: u16,
    pace: Duration,
    next: Instant,
    end: Instant,
    cause: Option<Cause>,
    unable: Option<String>,
    good: bool,
}

impl Flight {
    /// Opens what is needed; nothing is sent yet.
    pub(super) fn start(ask: &Ask<'_>, table: &Table) -> (Self, Option<Question>) {
        let pace = (interval(ask.watched) / (ATTEMPTS + 1)).min(PACE);
        let mut flight = Self {
            number: ask.number,
            index: None,
            pings: Vec::new(),
            targets: BTreeMap::new(),
            root: false,
            sent: 0,
            pace,
            next: ask.now,
            end: ask.now + pace * ATTEMPTS,
            cause: None,
            unable: None,
            good: false,
        };
        let interface = table.interface(&ask.watched.device);
        let Some(interface) = interface.filter(|it| it.running) else {
            flight.cause = Some(Cause::NoLink);
            return (flight, None);
        };
        flight.index = Some(interface.index);
        let roots = flight.open(ask, interface, table);
        let question = flight.question(ask, roots);
        (flight, question)
    }

    /// Sockets for what can be asked from here; answers what cannot.
    fn open(&mut self, ask: &Ask<'_>, interface: Interface, table: &Table) -> Vec<IpAddr> {
        let mut roots = Vec::new();
        for target in &ask.watched.config.targets {
            let Some(source) = table.source(interface.index, *target) else {
                roots.push(*target);
                continue;
            };
            match self.socket(ask, interface, source) {
                Ok(place) => {
                    self.targets.insert(*target, place);
                }
                Err(NoPing::Cannot(cause)) => self.cause = Some(cause),
                Err(NoPing::NotPermitted)
                    if ask.may_ask_root && table.is_near(interface.index, *target) =>
                {
                    roots.push(*target);
                }
                Err(NoPing::NotPermitted) => self.not_permitted(),
            }
        }
        roots
    }

    /// The place of the socket of this address.
    fn socket(
        &mut self,
        ask: &Ask<'_>,
        interface: Interface,
        source: IpAddr,
    ) -> Result<usize, NoPing> {
        let there = self.pings.iter().position(|it| it.source() == source);
        if let Some(place) = there {
            return Ok(place);
        }
        let ping = Ping::open(&ask.watched.device, interface.index, source)?;
        self.pings.push(ping);
        Ok(self.pings.len() - 1)
    }

    fn not_permitted(&mut self) {
        self.unable = Some(
            "echo requests are not permitted: net.ipv4.ping_group_range leaves the agent's group out"
                .to_owned(),
        );
    }

    fn question(&mut self, ask: &Ask<'_>, targets: Vec<IpAddr>) -> Option<Question> {
        if targets.is_empty() {
            return None;
        }
        if !ask.may_ask_root {
            self.unable = Some("it takes root to ask without an address".to_owned());
            return None;
        }
        self.root = true;
        Some(Question {
            network: ask.watched.network.clone(),
            flight: self.number,
            device: ask.watched.device.clone(),
            targets,
            wait: self.pace * ATTEMPTS,
        })
    }

    /// When it wants to be looked at.
    pub(super) fn due(&self) -> Instant {
        if self.good || self.is_idle() {
            Instant::now()
        } else if self.asks() {
            self.next
        } else if self.root {
            self.end + ROOT_LATE
        } else {
            self.end
        }
    }

    /// Nobody is asked, by nobody.
    fn is_idle(&self) -> bool {
        self.targets.is_empty() && !self.root
    }

    fn asks(&self) -> bool {
        !self.targets.is_empty() && u32::from(self.sent) < ATTEMPTS
    }

    /// Sends what is due; its outcome, once there is one.
    pub(super) fn step(
        &mut self,
        now: Instant,
        watched: &Watched,
        table: &mut Table,
    ) -> Option<Outcome> {
        if self.good {
            return Some(Outcome::Sample(Sample::Good));
        }
        if self.asks() && self.next <= now {
            self.send(now);
        }
        let waits = if self.root {
            self.end + ROOT_LATE
        } else {
            self.end
        };
        if !self.is_idle() && now < waits {
            return None;
        }
        Some(self.bad(watched, table))
    }

    fn send(&mut self, now: Instant) {
        self.sent += 1;
        self.next = now + self.pace;
        // A late start leaves as much time for answers as a timely one.
        self.end = self.end.max(now + self.pace);
        for (target, place) in &self.targets {
            let sent = self.pings.get(*place).map(|it| it.send(*target, self.sent));
            if let Some(Err(cause)) = sent {
                self.cause = Some(cause);
            }
        }
    }

    fn bad(&self, watched: &Watched, table: &mut Table) -> Outcome {
        if let Some(why) = &self.unable
            && self.targets.is_empty()
        {
            return Outcome::Unable(why.clone());
        }
        let cause = match (self.cause, self.index) {
            (Some(cause), _) => cause,
            // Root asked on the link itself.
            (None, _) if self.targets.is_empty() => Cause::NoNeighbour,
            (None, Some(index)) if self.is_alone(index, watched, table) => Cause::NoNeighbour,
            (None, _) => Cause::NoReply,
        };
        Outcome::Sample(Sample::Bad(cause))
    }

    /// Is nobody there to hand the requests to: neither the targets that are near, nor a gateway to the others?
    fn is_alone(&self, index: u32, watched: &Watched, table: &mut Table) -> bool {
        let is_near = |it: &&IpAddr| table.is_near(index, **it);
        let near: Vec<IpAddr> = self.targets.keys().filter(is_near).copied().collect();
        let any_far = near.len() < self.targets.len();
        (near.is_empty() || table.lacks_neighbour(index, &near))
            && (!any_far || table.lacks_neighbour(index, &watched.gateways))
    }

    /// Its sockets.
    pub(super) fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.pings.iter().map(AsFd::as_fd)
    }

    /// Takes what has come to its sockets, which are `ready` in their order.
    pub(super) fn receive(&mut self, ready: &mut impl Iterator<Item = bool>) {
        for ping in &self.pings {
            if ready.next() != Some(true) {
                continue;
            }
            for back in ping.receive() {
                match back {
                    Back::Reply { from } => self.good |= self.targets.contains_key(&from),
                    Back::Failed(cause) => self.cause = Some(cause),
                }
            }
        }
    }

    /// Takes what root heard.
    pub(super) fn answered(&mut self, answer: Answer) {
        if answer.flight != self.number {
            return;
        }
        self.root = false;
        match answer.answered {
            Ok(answered) => self.good |= !answered.is_empty(),
            Err(why) => self.unable = Some(why),
        }
    }
}
