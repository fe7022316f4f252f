//! The socket, and the two ways to use it.

use std::{
    io,
    time::{Duration, Instant},
};

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use crate::{
    Act, NetlinkError, Refusal,
    frames::{Frame, frames},
};

/// `NLMSG_ERROR`: an acknowledgement or a refusal.
const ERROR: u16 = 2;
/// `NLMSG_DONE`: the end of a dump.
const DONE: u16 = 3;
/// Greatest datagram that the kernel makes for a dump (it takes 32 KiB pages at most).
pub(crate) const DATAGRAM: usize = 64 << 10;
/// Acts in one datagram: their acknowledgements fit into the smallest usual receive buffer.
const TOGETHER: usize = 64;
/// How often a dump is tried while what it dumps changes.
const ATTEMPTS: u32 = 20;

/// A conversation with the kernel. One user at a time; open another for another thread.
pub struct Channel {
    socket: Socket,
    sequence: u32,
    deadline: Duration,
    buffer: Vec<u8>,
}

impl Channel {
    /// Opens a socket in the network namespace of this thread. `deadline` bounds each call.
    pub fn open(deadline: Duration) -> Result<Self, NetlinkError> {
        let socket = socket().map_err(|source| NetlinkError::Open { source })?;
        Ok(Self {
            socket,
            sequence: 0,
            deadline,
            buffer: Vec::with_capacity(DATAGRAM),
        })
    }

    /// Bounds each call from here on.
    pub fn set_deadline(&mut self, deadline: Duration) {
        self.deadline = deadline;
    }

    /// The index of the interface of this name, in the namespace of the socket.
    pub fn index_of(&self, name: &str) -> Option<u32> {
        rustix::net::netdevice::name_to_index(&self.socket, name).ok()
    }

    /// One thing that a `Get...` message names; or the kernel's reason why not.
    pub fn get(
        &mut self,
        request: &RouteNetlinkMessage,
    ) -> Result<Result<RouteNetlinkMessage, Refusal>, NetlinkError> {
        let until = Instant::now() + self.deadline;
        let sequence = self.next();
        let mut bytes = Vec::new();
        append(&mut bytes, request, NLM_F_REQUEST, sequence);
        self.send(&bytes)?;
        loop {
            self.receive(until)?;
            for frame in frames(&self.buffer) {
                let frame = frame?;
                if frame.sequence != sequence {
                    continue;
                }
                if frame.kind == ERROR
                    && let Some(refusal) = Refusal::read(frame.flags, frame.payload)
                {
                    return Ok(Err(refusal));
                }
                if let Some(found) = inner(&frame)? {
                    return Ok(Ok(found));
                }
            }
        }
    }

    /// Everything of a kind: `request` is one of the `Get...` messages. A list that changed while it was made
    /// (`NLM_F_DUMP_INTR`) is made again.
    pub fn dump(
        &mut self,
        request: &RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        self.gather(request, |_| true, Vec::push)
    }

    /// As [`Self::dump`], for lists that can be long: each message goes to `add` and is forgotten. What `is_wanted` refuses by the
    /// body that the kernel sent (behind `struct nlmsghdr`) is not read at all. A list that is made again begins with a new `T`.
    pub fn gather<T: Default>(
        &mut self,
        request: &RouteNetlinkMessage,
        is_wanted: impl Fn(&[u8]) -> bool,
        mut add: impl FnMut(&mut T, RouteNetlinkMessage),
    ) -> Result<T, NetlinkError> {
        let until = Instant::now() + self.deadline;
        for _ in 0..ATTEMPTS {
            let mut whole = T::default();
            let mut take = |frame: &Frame<'_>| {
                if is_wanted(frame.payload)
                    && let Some(message) = inner(frame)?
                {
                    add(&mut whole, message);
                }
                Ok(())
            };
            if self.gather_once(request, until, &mut take)? {
                return Ok(whole);
            }
        }
        Err(NetlinkError::Restless { attempts: ATTEMPTS })
    }

    /// False, if it changed on the way.
    fn gather_once(
        &mut self,
        request: &RouteNetlinkMessage,
        until: Instant,
        take: &mut impl FnMut(&Frame<'_>) -> Result<(), NetlinkError>,
    ) -> Result<bool, NetlinkError> {
        let sequence = self.next();
        let mut bytes = Vec::new();
        append(&mut bytes, request, NLM_F_REQUEST | NLM_F_DUMP, sequence);
        self.send(&bytes)?;
        let mut torn = false;
        loop {
            self.receive(until)?;
            if let Some(whole) = listed(&self.buffer, sequence, &mut torn, take)? {
                return Ok(whole);
            }
        }
    }

    /// Does all of these, in their order, whatever becomes of each; the answers are in the same order. Many
    /// travel in one system call.
    pub fn act(&mut self, acts: &[Act]) -> Result<Vec<Result<(), Refusal>>, NetlinkError> {
        let mut answers = Vec::with_capacity(acts.len());
        for some in acts.chunks(TOGETHER) {
            let until = Instant::now() + self.deadline;
            self.act_together(some, until, &mut answers)?;
        }
        Ok(answers)
    }

    /// Does one.
    pub fn act_one(&mut self, act: Act) -> Result<Result<(), Refusal>, NetlinkError> {
        let mut answers = self.act(&[act])?;
        Ok(answers.pop().unwrap_or(Ok(())))
    }

    fn act_together(
        &mut self,
        acts: &[Act],
        until: Instant,
        answers: &mut Vec<Result<(), Refusal>>,
    ) -> Result<(), NetlinkError> {
        let first = self.sequence.wrapping_add(1);
        let mut bytes = Vec::new();
        for act in acts {
            let sequence = self.next();
            append(&mut bytes, &act.message, act.flags, sequence);
        }
        self.send(&bytes)?;
        let mut awaited = 0;
        while awaited < acts.len() {
            self.receive(until)?;
            for frame in frames(&self.buffer) {
                let frame = frame?;
                // The kernel answers in the order of the requests.
                if frame.kind == ERROR && frame.sequence == first.wrapping_add(awaited as u32) {
                    answers.push(Refusal::read(frame.flags, frame.payload).map_or(Ok(()), Err));
                    awaited += 1;
                }
            }
        }
        Ok(())
    }

    fn next(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    fn send(&self, bytes: &[u8]) -> Result<(), NetlinkError> {
        match self.socket.send(bytes, 0) {
            Ok(_) => Ok(()),
            Err(source) => Err(NetlinkError::Send { source }),
        }
    }

    /// Waits for the next datagram, into the buffer.
    fn receive(&mut self, until: Instant) -> Result<(), NetlinkError> {
        let failed = |source| NetlinkError::Receive { source };
        self.wait(until)?;
        self.buffer.clear();
        self.buffer.reserve(DATAGRAM);
        let length = self.socket.recv(&mut self.buffer, 0).map_err(failed)?;
        if length > self.buffer.len() {
            let why = format!("a datagram of {length} bytes was cut");
            return Err(NetlinkError::Malformed { why });
        }
        Ok(())
    }

    fn wait(&self, until: Instant) -> Result<(), NetlinkError> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).ok();
            let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
            match poll(&mut fds, timeout.as_ref()) {
                Ok(0) => {
                    return Err(NetlinkError::Late {
                        deadline: self.deadline,
                    });
                }
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => {
                    return Err(NetlinkError::Receive {
                        source: error.into(),
                    });
                }
            }
        }
    }
}

/// Takes what one datagram brings of a list. Nothing, if there is more to come; else, whether it is whole: the kernel says of one
/// that changed on the way that it did (`NLM_F_DUMP_INTR`), in any message of it, its end among them.
fn listed(
    datagram: &[u8],
    sequence: u32,
    torn: &mut bool,
    take: &mut impl FnMut(&Frame<'_>) -> Result<(), NetlinkError>,
) -> Result<Option<bool>, NetlinkError> {
    for frame in frames(datagram) {
        let frame = frame?;
        if frame.sequence != sequence {
            continue;
        }
        *torn |= frame.flags & NLM_F_DUMP_INTR != 0;
        match frame.kind {
            DONE => return Ok(Some(!*torn)),
            ERROR => match Refusal::read(frame.flags, frame.payload) {
                Some(source) => return Err(NetlinkError::Refused { source }),
                None => return Ok(Some(!*torn)),
            },
            // What is thrown away is not read.
            _ if *torn => {}
            _ => take(&frame)?,
        }
    }
    Ok(None)
}

/// A socket that hears the kernel alone.
fn socket() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    // Older kernels do without.
    let _ = socket.set_ext_ack(true);
    let _ = socket.set_cap_ack(true);
    Ok(socket)
}

fn append(bytes: &mut Vec<u8>, message: &RouteNetlinkMessage, flags: u16, sequence: u32) {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    header.sequence_number = sequence;
    let payload = NetlinkPayload::from(message.clone());
    let mut whole = NetlinkMessage::new(header, payload);
    whole.finalize();
    let start = bytes.len();
    let length = whole.buffer_len();
    bytes.resize(start + crate::frames::aligned(length), 0);
    if let Some(room) = bytes.get_mut(start..start + length) {
        whole.serialize(room);
    }
}

pub(crate) fn inner(frame: &Frame<'_>) -> Result<Option<RouteNetlinkMessage>, NetlinkError> {
    let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(frame.whole);
    match message.map(|it| it.payload) {
        Ok(NetlinkPayload::InnerMessage(inner)) => Ok(Some(inner)),
        Ok(_) => Ok(None),
        Err(error) => Err(NetlinkError::Malformed {
            why: error.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTE: u16 = 24;
    const MULTI: u16 = 2;

    fn message(kind: u16, flags: u16, sequence: u32) -> Vec<u8> {
        let mut bytes = 20_u32.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes
    }

    /// Of datagrams, what came of the list, and how many of its messages were read.
    fn list(datagrams: &[Vec<u8>]) -> (Option<bool>, usize) {
        let (mut torn, mut read) = (false, 0);
        let mut take = |_: &Frame<'_>| {
            read += 1;
            Ok(())
        };
        let mut all = datagrams.iter();
        let end = all.find_map(|it| listed(it, 7, &mut torn, &mut take).expect("a list"));
        (end, read)
    }

    #[test]
    fn a_list_that_the_kernel_tore_is_not_whole() {
        let one = || message(ROUTE, MULTI, 7);
        let torn = || message(ROUTE, MULTI | NLM_F_DUMP_INTR, 7);
        let end = |flags: u16| message(DONE, MULTI | flags, 7);
        let others = message(DONE, MULTI | NLM_F_DUMP_INTR, 6);
        let whole = [[one(), one()].concat(), [others, one(), end(0)].concat()];
        assert_eq!(list(&whole), (Some(true), 3));
        assert_eq!(list(&whole[..1]), (None, 2));
        let midway = [[one(), torn()].concat(), one(), end(0)];
        assert_eq!(list(&midway), (Some(false), 1));
        let at_the_end = [one(), end(NLM_F_DUMP_INTR)];
        assert_eq!(list(&at_the_end), (Some(false), 1));
    }
}
