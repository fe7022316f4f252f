//! One socket that sends echo requests through one interface, and what comes back on it.
//!
//! "Ping" sockets (`SOCK_DGRAM` of ICMP) need no privilege where `net.ipv4.ping_group_range` lets the group in; systemd
//! opens it for all. The kernel gives each an identifier of its own, so that nobody's answer is taken for ours; it
//! makes checksums, too. Errors that routers and the own stack answer come by the socket's error queue (ip(7),
//! `IP_RECVERR`).

use std::{
    io::IoSliceMut,
    net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
};

use net_model::{IfName, probe::Cause};
use nix::{
    cmsg_space, libc,
    sys::socket::{
        ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt,
        sockopt::{BindToDevice, Ipv4RecvErr, Ipv6RecvErr},
    },
};
use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, ipproto, recvfrom,
        sendto, socket_with,
    },
};

/// Bytes behind the header of a request: as many as ping(8) sends.
const PAYLOAD: usize = 56;
const HEADER: usize = 8;
/// Messages taken at once.
const TOGETHER: usize = 64;

/// What came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Back {
    /// An answer.
    Reply {
        /// From whom.
        from: IpAddr,
    },
    /// Somebody on the way, or the own stack, says that it cannot be.
    Failed(Cause),
}

/// Why there is no socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoPing {
    /// This process may not: `net.ipv4.ping_group_range` leaves its group out.
    NotPermitted,
    /// It cannot be bound to the interface or to the address, or sockets have run out.
    Cannot(Cause),
}

/// A socket bound to an interface and to an address of it.
#[derive(Debug)]
pub(super) struct Ping {
    socket: OwnedFd,
    source: IpAddr,
    index: u32,
}

impl Ping {
    /// `index` is the interface's number, for addresses of the link.
    pub(super) fn open(device: &IfName, index: u32, source: IpAddr) -> Result<Self, NoPing> {
        let (family, protocol) = match source {
            IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
            IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(family, SocketType::DGRAM, flags, Some(protocol));
        let socket = socket.map_err(|errno| match errno {
            Errno::ACCESS | Errno::PERM => NoPing::NotPermitted,
            _ => NoPing::Cannot(Cause::CannotSend),
        })?;
        bind_to(&socket, device)?;
        let ping = Self {
            socket,
            source,
            index,
        };
        bind(&ping.socket, &ping.address(source)).map_err(|errno| NoPing::Cannot(cause(errno)))?;
        // Without it answers still come; only causes are less exact.
        let _ = match source {
            IpAddr::V4(_) => setsockopt(&ping.socket, Ipv4RecvErr, &true),
            IpAddr::V6(_) => setsockopt(&ping.socket, Ipv6RecvErr, &true),
        };
        Ok(ping)
    }

    fn address(&self, ip: IpAddr) -> SocketAddr {
        match ip {
            IpAddr::V4(ip) => SocketAddrV4::new(ip, 0).into(),
            IpAddr::V6(ip) => {
                let scope = if ip.is_unicast_link_local() {
                    self.index
                } else {
                    0
                };
                SocketAddrV6::new(ip, 0, 0, scope).into()
            }
        }
    }

    /// Sends one request. An error that an earlier request left on the socket is told by [`Self::receive`].
    pub(super) fn send(&self, target: IpAddr, sequence: u16) -> Result<(), Cause> {
        let request = request(target, sequence);
        let address = self.address(target);
        let once = || sendto(&self.socket, &request, SendFlags::empty(), &address);
        // A pending error of the socket is answered instead of sending, once.
        match once().or_else(|_| once()) {
            Ok(_) => Ok(()),
            Err(errno) => Err(cause(errno)),
        }
    }

    /// Whose family it is.
    pub(super) fn source(&self) -> IpAddr {
        self.source
    }

    /// What has come.
    pub(super) fn receive(&self) -> Vec<Back> {
        let mut all = Vec::new();
        let mut buffer = [0; 256];
        for _ in 0..TOGETHER {
            match recvfrom(&self.socket, &mut buffer[..], RecvFlags::empty()) {
                Ok((length, _, from)) => {
                    let from = from.and_then(|it| SocketAddr::try_from(it).ok());
                    let bytes = buffer.get(..length).unwrap_or_default();
                    if let Some(from) = from.filter(|it| is_reply(it.ip(), bytes)) {
                        all.push(Back::Reply { from: from.ip() });
                    }
                }
                Err(Errno::AGAIN) => break,
                Err(_) => {}
            }
        }
        self.failures(&mut all);
        all
    }

    /// The error queue.
    fn failures(&self, all: &mut Vec<Back>) {
        for _ in 0..TOGETHER {
            let mut packet = [0; 256];
            let mut slices = [IoSliceMut::new(&mut packet)];
            let mut space = cmsg_space!(
                libc::sock_extended_err,
                libc::sockaddr_in6,
                libc::sockaddr_in6
            );
            let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
            let got = recvmsg::<SockaddrStorage>(
                self.socket.as_raw_fd(),
                &mut slices,
                Some(&mut space),
                flags,
            );
            let Ok(message) = got else { return };
            let Ok(messages) = message.cmsgs() else {
                return;
            };
            for one in messages {
                all.extend(self.failure(&one).map(Back::Failed));
            }
        }
    }

    fn failure(&self, message: &ControlMessageOwned) -> Option<Cause> {
        match message {
            ControlMessageOwned::Ipv4RecvErr(error, from) => {
                let from = from.map(|it| IpAddr::V4(u32::from_be(it.sin_addr.s_addr).into()));
                told_v4(error, from == Some(self.source))
            }
            ControlMessageOwned::Ipv6RecvErr(error, from) => {
                let from = from.map(|it| IpAddr::V6(it.sin6_addr.s6_addr.into()));
                told_v6(error, from == Some(self.source))
            }
            _ => None,
        }
    }
}

impl AsFd for Ping {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Before Linux 5.7 this takes a privilege; then the address alone chooses the way.
fn bind_to(socket: &OwnedFd, device: &IfName) -> Result<(), NoPing> {
    match setsockopt(socket, BindToDevice, &device.as_str().into()) {
        Ok(()) | Err(nix::errno::Errno::EPERM) => Ok(()),
        Err(_) => Err(NoPing::Cannot(Cause::NoLink)),
    }
}

/// Echo request, without its checksum and identifier (RFC 792, RFC 4443).
fn request(target: IpAddr, sequence: u16) -> [u8; HEADER + PAYLOAD] {
    let kind = match target {
        IpAddr::V4(_) => 8,
        IpAddr::V6(_) => 128,
    };
    let [high, low] = sequence.to_be_bytes();
    let mut bytes = [0x76; HEADER + PAYLOAD];
    for (place, byte) in bytes.iter_mut().zip([kind, 0, 0, 0, 0, 0, high, low]) {
        *place = byte;
    }
    bytes
}

/// An echo reply? Whose it is the kernel has looked at.
fn is_reply(from: IpAddr, bytes: &[u8]) -> bool {
    let kind = match from {
        IpAddr::V4(_) => 0,
        IpAddr::V6(_) => 129,
    };
    bytes.len() >= HEADER && bytes.first() == Some(&kind)
}

/// What sending said.
fn cause(errno: Errno) -> Cause {
    match errno {
        Errno::NETDOWN | Errno::NODEV | Errno::NXIO | Errno::ADDRNOTAVAIL => Cause::NoLink,
        Errno::NETUNREACH => Cause::Unreachable,
        // The own stack's word for an address that nobody on the link has.
        Errno::HOSTUNREACH => Cause::NoNeighbour,
        // A route of the type `prohibit`.
        Errno::ACCESS => Cause::Prohibited,
        _ => Cause::CannotSend,
    }
}

/// `ee_origin` of what came by ICMP (linux/errqueue.h).
const BY_ICMP: u8 = 2;
const BY_ICMP6: u8 = 3;

/// `own`: the own stack says it.
fn told_v4(error: &libc::sock_extended_err, own: bool) -> Option<Cause> {
    const UNREACHABLE: u8 = 3;
    const TIME_EXCEEDED: u8 = 11;
    match (error.ee_origin, error.ee_type, error.ee_code) {
        (BY_ICMP, UNREACHABLE, 9 | 10 | 13) => Some(Cause::Prohibited),
        (BY_ICMP, UNREACHABLE, 1) if own => Some(Cause::NoNeighbour),
        (BY_ICMP, UNREACHABLE | TIME_EXCEEDED, _) => Some(Cause::Unreachable),
        _ => None,
    }
}

fn told_v6(error: &libc::sock_extended_err, own: bool) -> Option<Cause> {
    const UNREACHABLE: u8 = 1;
    const TIME_EXCEEDED: u8 = 3;
    match (error.ee_origin, error.ee_type, error.ee_code) {
        (BY_ICMP6, UNREACHABLE, 1 | 5 | 6) => Some(Cause::Prohibited),
        (BY_ICMP6, UNREACHABLE, 3) if own => Some(Cause::NoNeighbour),
        (BY_ICMP6, UNREACHABLE | TIME_EXCEEDED, _) => Some(Cause::Unreachable),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn error(origin: u8, kind: u8, code: u8) -> libc::sock_extended_err {
        libc::sock_extended_err {
            ee_errno: 113,
            ee_origin: origin,
            ee_type: kind,
            ee_code: code,
            ee_pad: 0,
            ee_info: 0,
            ee_data: 0,
        }
    }

    #[test]
    fn causes_are_told_apart() {
        let v4 = |kind, code, own| told_v4(&error(BY_ICMP, kind, code), own);
        assert_eq!(v4(3, 13, false), Some(Cause::Prohibited));
        assert_eq!(v4(3, 1, false), Some(Cause::Unreachable));
        assert_eq!(v4(3, 1, true), Some(Cause::NoNeighbour));
        assert_eq!(v4(11, 0, false), Some(Cause::Unreachable));
        assert_eq!(v4(5, 0, false), None, "a redirect is no failure");
        assert_eq!(told_v4(&error(1, 3, 1), false), None);
        let v6 = |kind, code, own| told_v6(&error(BY_ICMP6, kind, code), own);
        assert_eq!(v6(1, 1, false), Some(Cause::Prohibited));
        assert_eq!(v6(1, 3, true), Some(Cause::NoNeighbour));
        assert_eq!(v6(1, 0, false), Some(Cause::Unreachable));
        assert_eq!(v6(2, 0, false), None, "a packet too big is no failure");
    }

    #[test]
    fn requests_and_replies() {
        let (v4, v6): (IpAddr, IpAddr) = ([192, 0, 2, 1].into(), [0; 16].into());
        assert_eq!(request(v4, 258)[..8], [8, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(request(v6, 1)[..8], [128, 0, 0, 0, 0, 0, 0, 1]);
        assert!(is_reply(v4, &[0; 8]) && !is_reply(v6, &[0; 8]) && !is_reply(v4, &[0; 7]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let reply = is_reply(IpAddr::from([127, 0, 0, 1]), &bytes);
            prop_assert_eq!(reply, bytes.len() >= HEADER && bytes[0] == 0);
        }
    }
}
