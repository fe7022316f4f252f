//! What the kernel tells by itself: a socket that hears multicast groups.
//!
//! States: hearing, and behind. When the kernel had more to say than the socket holds (`ENOBUFS`), what was lost is
//! told once as [`Heard::Lost`]: whoever keeps a picture reads it anew. A monitor is opened before the first picture
//! is read, so that nothing falls between the two.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd},
    time::{Duration, Instant},
};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use crate::{
    NetlinkError,
    channel::{DATAGRAM, inner},
    frames::frames,
};

/// Room for what was not taken yet; the kernel gives at most `net.core.rmem_max`.
const ROOM: usize = 1 << 20;
/// Datagrams taken at once, so that a flood of news does not keep its reader from its work.
const TOGETHER: usize = 256;

/// What can be heard (`enum rtnetlink_groups` of `linux/rtnetlink.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Interfaces.
    Link,
    /// Neighbours.
    Neighbour,
    /// IPv4 addresses.
    Ipv4Address,
    /// IPv4 routes.
    Ipv4Route,
    /// IPv6 addresses.
    Ipv6Address,
    /// IPv6 routes.
    Ipv6Route,
}

impl Group {
    fn number(self) -> u32 {
        match self {
            Self::Link => 1,
            Self::Neighbour => 3,
            Self::Ipv4Address => 5,
            Self::Ipv4Route => 7,
            Self::Ipv6Address => 9,
            Self::Ipv6Route => 11,
        }
    }
}

/// One piece of news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The kernel's message.
    News(Box<RouteNetlinkMessage>),
    /// Some was lost here: read everything anew.
    Lost,
}

/// A socket that hears.
pub struct Monitor {
    socket: Socket,
    buffer: Vec<u8>,
}

impl Monitor {
    /// Hears these groups in the network namespace of this thread, from now on. Needs no privilege.
    ///
    /// # Errors
    /// [`NetlinkError::Open`].
    pub fn open(groups: &[Group]) -> Result<Self, NetlinkError> {
        let socket = socket(groups).map_err(|source| NetlinkError::Open { source })?;
        Ok(Self {
            socket,
            buffer: Vec::with_capacity(DATAGRAM),
        })
    }

    /// What has come, waiting for it up to `timeout`; nothing when that has passed.
    ///
    /// # Errors
    /// [`NetlinkError::Receive`]; the monitor is of no further use.
    pub fn wait(&mut self, timeout: Duration) -> Result<Vec<Heard>, NetlinkError> {
        let failed = |source: io::Error| NetlinkError::Receive { source };
        let until = Instant::now() + timeout;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).ok();
            let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
            match poll(&mut fds, left.as_ref()) {
                Ok(0) => return Ok(Vec::new()),
                Ok(_) => return self.take(),
                Err(Errno::INTR) => {}
                Err(error) => return Err(failed(error.into())),
            }
        }
    }

    /// What is there already: for those who poll [`AsFd`] by themselves.
    ///
    /// # Errors
    /// [`NetlinkError::Receive`]; the monitor is of no further use.
    pub fn take(&mut self) -> Result<Vec<Heard>, NetlinkError> {
        let mut heard = Vec::new();
        let mut taken = 0;
        // A socket that lost something is deaf, and does not say so again, until all that it holds is taken; as long as
        // that is so nothing comes after.
        while taken < TOGETHER || heard.contains(&Heard::Lost) {
            taken += 1;
            self.buffer.clear();
            self.buffer.reserve(DATAGRAM);
            match self.socket.recv_from(&mut self.buffer, 0) {
                // Only the kernel's own word counts (port 0).
                Ok((_, from)) if from.port_number() != 0 => {}
                Ok(_) => self.read(&mut heard),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error()) => {
                    lost(&mut heard);
                }
                Err(source) => return Err(NetlinkError::Receive { source }),
            }
        }
        Ok(heard)
    }

    /// A message that cannot be read counts as lost.
    fn read(&self, heard: &mut Vec<Heard>) {
        for frame in frames(&self.buffer) {
            match frame.and_then(|it| inner(&it)) {
                Ok(Some(message)) => heard.push(Heard::News(Box::new(message))),
                Ok(None) => {}
                Err(_) => lost(heard),
            }
        }
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl std::fmt::Debug for Monitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Monitor")
            .field(&self.socket.as_raw_fd())
            .finish()
    }
}

/// What was heard before counts no more.
fn lost(heard: &mut Vec<Heard>) {
    heard.clear();
    heard.push(Heard::Lost);
}

fn socket(groups: &[Group]) -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind(&SocketAddr::new(0, 0))?;
    socket.set_non_blocking(true)?;
    // Less room is no reason to hear nothing.
    let _ = socket.set_rx_buf_sz(i32::try_from(ROOM).unwrap_or(i32::MAX));
    for group in groups {
        socket.add_membership(group.number())?;
    }
    Ok(socket)
}
