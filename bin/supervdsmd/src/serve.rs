//! One connection: who asks, what, is it allowed; the deed; the answer; one audit line.

use std::{
    fmt,
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use net_model::{IfName, NetName, Scope};
use privileged::{
    Call, FrameError, Owner, PROTOCOL, Refusal, Reply, Request, Timed, decode, encode, read_frame,
    write_frame,
};
use tracing::{debug, info};

use crate::{
    accounts::Ids,
    neighbours::{self, Neighbours},
    networks::{self, Networks},
    ownership,
};

/// For sending an answer: it fits into the socket's buffer, so that only a host without time for us needs any of it. Who is
/// told too late that his change was made would have it undone.
const ANSWER: Duration = Duration::from_secs(5);

/// An answer that a socket takes without anybody reading, bytes.
const SMALL: usize = 64 << 10;

/// For sending a larger one (plans).
const LARGE_ANSWER: Duration = Duration::from_secs(10);

/// What is allowed, from the configuration.
#[derive(Debug)]
pub(crate) struct Policy {
    /// User who may ask; root may as well.
    pub(crate) client: u32,
    /// Roots beneath which owners may be changed.
    pub(crate) roots: Vec<PathBuf>,
    /// The agent.
    pub(crate) vdsm: Option<Ids>,
    /// Guests.
    pub(crate) qemu: Option<Ids>,
    /// For reading a request, from its connection's accepting on.
    pub(crate) deadline: Duration,
}

/// What requests are served with.
pub(crate) struct Service {
    pub(crate) policy: Policy,
    pub(crate) networks: Networks,
    pub(crate) neighbours: Neighbours,
    /// Readable once a signal asked to end.
    pub(crate) ended: UnixStream,
}

impl Policy {
    pub(crate) fn ids(&self, owner: Owner) -> Option<Ids> {
        match owner {
            Owner::Vdsm => self.vdsm,
            Owner::Qemu => self.qemu,
        }
    }
}

/// Serves the one request of a connection. Its `place` is given back before a small answer goes out, so that a
/// client which asks one thing after the other never finds its own last request in the way. One that does not read a large answer
/// costs its place meanwhile: else it could have us hold as many as it likes.
pub(crate) fn connection<P>(stream: &UnixStream, service: &Arc<Service>, place: P) {
    let start = Instant::now();
    let policy = &service.policy;
    let mut timed = Timed::new(stream, start + policy.deadline);
    let mut audit = Audit::of(stream);
    let mut goes_on = false;
    let reply = match allowed(&audit, policy).and_then(|()| read(&mut timed)) {
        Ok(Some(request)) => {
            let what = Asked(Some(&request)).to_string();
            goes_on = matches!(
                request,
                Request::NetworkChange(_) | Request::NetworkRollback(_)
            );
            let reply = if goes_on {
                change(stream, service, &audit, &request, &what)
            } else {
                execute(service, &request, &what).unwrap_or_else(Reply::Refused)
            };
            audit.request = Some(what);
            reply
        }
        // Someone looked whether the helper is there, and left.
        Ok(None) => return,
        Err(refusal) => Reply::Refused(refusal),
    };
    // Before the answer: whoever is told that something was done finds it in the log.
    audit.line(&reply, start.elapsed());
    // A helper that ends waits for places: the asker of a change hears what became of it.
    last_answer(stream, &reply, goes_on, place);
}

fn last_answer<P>(stream: &UnixStream, reply: &Reply, keeps_place: bool, place: P) {
    let frame = encode(reply);
    let place = (keeps_place || frame.len() > SMALL).then_some(place);
    send(stream, &frame);
    drop(place);
}

/// A change of networks: made, told, pending; answers how it ended.
fn change(
    stream: &UnixStream,
    service: &Service,
    audit: &Audit,
    request: &Request,
    what: &str,
) -> Reply {
    let start = Instant::now();
    let pid = audit.peer.and_then(|(pid, _)| u32::try_from(pid).ok());
    let (change, within) = match service.networks.begin(request, what, pid) {
        Ok(begun) => begun,
        Err(refusal) => return Reply::Refused(refusal),
    };
    let applied = Reply::NetworkApplied(change.applied());
    let pending = Audit {
        peer: audit.peer,
        request: Some(what.to_owned()),
    };
    pending.line(&applied, start.elapsed());
    let end = if answer(stream, &applied) {
        networks::wait(stream, &service.ended, within)
    } else {
        networks::End::Closed
    };
    networks::end(change, &end)
}

/// Did the client take it?
fn answer(stream: &UnixStream, reply: &Reply) -> bool {
    send(stream, &encode(reply))
}

fn send(stream: &UnixStream, frame: &[u8]) -> bool {
    let within = if frame.len() > SMALL {
        LARGE_ANSWER
    } else {
        ANSWER
    };
    let mut timed = Timed::new(stream, Instant::now() + within);
    let sent = write_frame(&mut timed, frame);
    if let Err(error) = &sent {
        debug!(%error, "the client does not take its answer");
    }
    sent.is_ok()
}

/// Answers a connection that is one too many, without reading it.
pub(crate) fn busy(stream: &UnixStream) {
    let audit = Audit::of(stream);
    let reply = Reply::Refused(Refusal::Busy {});
    audit.line(&reply, Duration::ZERO);
    answer(stream, &reply);
}

fn allowed(audit: &Audit, policy: &Policy) -> Result<(), Refusal> {
    match audit.peer {
        Some((_, uid)) if uid == 0 || uid == policy.client => Ok(()),
        Some((_, uid)) => Err(Refusal::Peer { uid }),
        None => Err(Refusal::Peer { uid: u32::MAX }),
    }
}

fn read(timed: &mut Timed<'_>) -> Result<Option<Request>, Refusal> {
    let body = match read_frame(timed) {
        Ok(body) => body,
        Err(FrameError::Closed) => return Ok(None),
        Err(error) => {
            let why = error.to_string();
            return Err(Refusal::Frame { why });
        }
    };
    let call: Call = decode(&body).map_err(|why| Refusal::Request { why })?;
    if call.protocol != PROTOCOL {
        return Err(Refusal::Protocol {
            theirs: call.protocol,
            ours: PROTOCOL,
        });
    }
    Ok(Some(call.request))
}

fn execute(service: &Service, request: &Request, what: &str) -> Result<Reply, Refusal> {
    match request {
        Request::Ping {} => Ok(Reply::Pong {}),
        Request::Version {} => Ok(Reply::Version {
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }),
        Request::SetOwnership(request) => {
            let outcome = ownership::set(&service.policy, request)?;
            Ok(Reply::Ownership { outcome })
        }
        Request::ArpProbe(request) => neighbours::arp_probe(request),
        Request::Lldp(request) => service.neighbours.lldp(request),
        other => service.networks.answer(other, what),
    }
}

/// What the audit line tells of who asked and for what.
struct Audit {
    /// Process and user; `None` if the kernel does not tell.
    peer: Option<(i32, u32)>,
    /// As it is told.
    request: Option<String>,
}

impl Audit {
    fn of(stream: &UnixStream) -> Self {
        let peer = rustix::net::sockopt::socket_peercred(stream).ok();
        Self {
            peer: peer.map(|peer| (peer.pid.as_raw_nonzero().get(), peer.uid.as_raw())),
            request: None,
        }
    }

    fn line(&self, reply: &Reply, took: Duration) {
        let (pid, uid) = self
            .peer
            .map_or((-1, -1), |(pid, uid)| (pid, i64::from(uid)));
        let ms = took.as_secs_f64() * 1000.0;
        let request = tracing::field::display(self.request.as_deref().unwrap_or("none"));
        match reply {
            Reply::Refused(refusal) => {
                let why = refusal.to_string();
                info!(target: "audit", pid, uid, request, outcome = "refused", why, ms);
            }
            Reply::Ownership { outcome } => {
                info!(target: "audit", pid, uid, request, ?outcome, ms);
            }
            Reply::NetworkApplied(applied) => {
                let steps = applied.steps.len();
                info!(target: "audit", pid, uid, request, outcome = "pending", steps, ms);
            }
            Reply::NetworkRestored(restored) if !restored.is_whole() => {
                info!(target: "audit", pid, uid, request, outcome = "in part", ms);
            }
            _ => {
                info!(target: "audit", pid, uid, request, outcome = "done", ms);
            }
        }
    }
}

/// A request on one line; paths are quoted, so that a name cannot forge a line.
struct Asked<'a>(Option<&'a Request>);

impl fmt::Display for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("none"),
            Some(Request::NetworkChange(it)) => {
                let scope = Scoped(&it.desired.scope);
                write!(f, "network_change({scope}, persist: {})", it.persist)
            }
            Some(Request::NetworkRollback(it)) => {
                write!(f, "network_rollback({}, {})", it.set, it.back)
            }
            Some(Request::NetworkPlan(_)) => f.write_str("network_plan"),
            Some(Request::NetworkState {}) => f.write_str("network_state"),
            Some(Request::NetworkPersist {}) => f.write_str("network_persist"),
            Some(Request::NetworkRestore(it)) => write!(f, "network_restore(force: {})", it.force),
            Some(Request::ArpProbe(it)) => {
                write!(f, "arp_probe({}, {} targets)", it.device, it.targets.len())
            }
            Some(Request::Lldp(it)) => write!(f, "lldp({} nics)", it.nics.len()),
            Some(Request::Ping {}) => f.write_str("ping"),
            Some(Request::Version {}) => f.write_str("version"),
            Some(Request::SetOwnership(it)) => write!(
                f,
                "set_ownership({:?}, {:?}, {}, {:o})",
                it.root.as_str(),
                it.path.as_str(),
                it.owner,
                it.mode.bits()
            ),
        }
    }
}

/// What a change is about; a few names, so that a line stays one.
struct Scoped<'a>(&'a Scope);

impl fmt::Display for Scoped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 5;
        let Scope::Named { networks, bonds } = self.0 else {
            return f.write_str("all networks");
        };
        let names = networks.iter().map(NetName::as_str);
        let names: Vec<&str> = names.chain(bonds.iter().map(IfName::as_str)).collect();
        write!(f, "{:?}", names.get(..MOST).unwrap_or(&names))?;
        match names.len().saturating_sub(MOST) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{TryRecvError, channel};

    use super::*;

    /// A large answer that nobody reads costs its place until it is read; a small one gives it back at once.
    #[test]
    fn what_is_not_read_costs_its_place() {
        for (length, keeps) in [(1 << 20, true), (10, false)] {
            let (ours, mut theirs) = UnixStream::pair().expect("a pair");
            let (place, freed) = channel::<()>();
            let version = "x".repeat(length);
            let thread = std::thread::spawn(move || {
                last_answer(&ours, &Reply::Version { version }, false, place);
            });
            if keeps {
                // The first byte is there: it is being sent.
                let mut head = [0; 1];
                std::io::Read::read_exact(&mut theirs, &mut head).expect("sent");
                assert_eq!(freed.try_recv(), Err(TryRecvError::Empty));
            } else {
                freed.recv().expect_err("given back");
            }
            std::io::copy(&mut theirs, &mut std::io::sink()).expect("the rest");
            freed.recv().expect_err("given back");
            thread.join().expect("ends");
        }
    }
}
