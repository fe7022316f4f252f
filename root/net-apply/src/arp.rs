//! Who on this link has these addresses? Asked by ARP (RFC 5227 probes: the sender's address is zero, so that nobody's
//! table changes) and, in IPv6, by neighbour solicitation from the link-local address that the hardware address makes
//! (RFC 4291, appendix A), whether the interface has it or not. For networks that have no address of their own.
//!
//! One packet socket per question, bound to the interface; three requests to each target, evenly over the time; it
//! returns as soon as all have answered. What comes in is hostile: fixed offsets, nothing allocated from it.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsRawFd as _, OwnedFd},
    time::{Duration, Instant},
};

use net_model::{IfName, Mac};
use nix::{ifaddrs::getifaddrs, sys::socket::LinkAddr};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{
        AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send,
        socket_with,
    },
};

/// Requests to each target.
const ATTEMPTS: u32 = 3;
/// `ARPHRD_ETHER`.
const ETHER: u16 = 1;
/// `ETH_P_ALL`: ARP and IPv6 come by one socket, and frames of a VLAN are not asked for twice.
const ALL: u16 = 3;
const ARP: [u8; 2] = [0x08, 0x06];
const IPV6: [u8; 2] = [0x86, 0xdd];
const BROADCAST: [u8; 6] = [0xff; 6];
/// Frames taken before the clock is looked at again.
const TOGETHER: usize = 256;

/// Somebody who has an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The address.
    pub target: IpAddr,
    /// Whose it is.
    pub mac: Mac,
    /// How long the answer took.
    pub after: Duration,
}

/// Why nobody could be asked.
#[derive(Debug, thiserror::Error)]
pub enum ArpError {
    /// There is no such interface, or it is not Ethernet.
    #[error("{device} is no Ethernet interface")]
    NoEthernet {
        /// Which.
        device: IfName,
    },
    /// A system call said no.
    #[error("cannot {what} on {device}")]
    System {
        /// Which interface.
        device: IfName,
        /// What was tried.
        what: &'static str,
        /// The answer.
        source: io::Error,
    },
}

/// Asks on this interface, for at most `wait`. Those who answered, in the order of their coming.
///
/// # Errors
/// [`ArpError`]: nobody could be asked. That nobody answers is an empty list.
pub fn probe(device: &IfName, targets: &[IpAddr], wait: Duration) -> Result<Vec<Owner>, ArpError> {
    let start = Instant::now();
    let (socket, mac) = open(device)?;
    let mut missing: BTreeSet<IpAddr> = targets.iter().copied().collect();
    let mut owners = Vec::new();
    for attempt in 1..=ATTEMPTS {
        for target in &missing {
            let frame = request(mac, *target);
            send(&socket, &frame, SendFlags::empty())
                .map_err(|it| failed(device, "send", it.into()))?;
        }
        let until = start + wait * attempt / ATTEMPTS;
        while !missing.is_empty() && wait_for(&socket, until) {
            hear(&socket, start, &mut missing, &mut owners);
        }
    }
    Ok(owners)
}

fn failed(device: &IfName, what: &'static str, source: io::Error) -> ArpError {
    let device = device.clone();
    ArpError::System {
        device,
        what,
        source,
    }
}

/// A socket for frames of this interface, and its hardware address.
fn open(device: &IfName) -> Result<(OwnedFd, [u8; 6]), ArpError> {
    let all = getifaddrs().map_err(|it| failed(device, "look for it", it.into()))?;
    let mut own = all.filter(|it| it.interface_name == device.as_str());
    let link: Option<LinkAddr> = own.find_map(|it| it.address?.as_link_addr().copied());
    let link = link.filter(|it| it.hatype() == ETHER && it.halen() == 6);
    let mac = link.and_then(|it| it.addr());
    let (Some(link), Some(mac)) = (link, mac) else {
        let device = device.clone();
        return Err(ArpError::NoEthernet { device });
    };
    let protocol = std::num::NonZeroU32::new(u32::from(ALL.to_be())).map(Protocol::from_raw);
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, protocol)
        .map_err(|it| failed(device, "open a packet socket", it.into()))?;
    // The kernel takes the socket's own protocol for that of the address, which is 0 (`packet_bind`).
    nix::sys::socket::bind(socket.as_raw_fd(), &link)
        .map_err(|it| failed(device, "bind", it.into()))?;
    Ok((socket, mac))
}

/// False once the time is over.
fn wait_for(socket: &OwnedFd, until: Instant) -> bool {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let mut fds = [PollFd::new(socket, PollFlags::IN)];
        match poll(&mut fds, Timespec::try_from(left).ok().as_ref()) {
            Ok(0) => return false,
            Err(Errno::INTR) => {}
            // What is wrong with the socket `recv` says, and the time is bounded.
            Ok(_) | Err(_) => return true,
        }
    }
}

fn hear(socket: &OwnedFd, start: Instant, missing: &mut BTreeSet<IpAddr>, owners: &mut Vec<Owner>) {
    let mut buffer = [0; 128];
    for _ in 0..TOGETHER {
        let Ok((length, _)) = recv(socket, &mut buffer[..], RecvFlags::TRUNC) else {
            return;
        };
        let frame = buffer.get(..length.min(128)).unwrap_or_default();
        if let Some((target, mac)) = answer(frame)
            && missing.remove(&target)
        {
            let (mac, after) = (Mac::new(mac), start.elapsed());
            owners.push(Owner { target, mac, after });
        }
    }
}

fn request(mac: [u8; 6], target: IpAddr) -> Vec<u8> {
    match target {
        IpAddr::V4(target) => arp_request(mac, target),
        IpAddr::V6(target) => solicitation(mac, target),
    }
}

/// An ARP probe (RFC 826, RFC 5227 2.1.1).
fn arp_request(mac: [u8; 6], target: Ipv4Addr) -> Vec<u8> {
    let mut frame = Vec::with_capacity(60);
    frame.extend(BROADCAST);
    frame.extend(mac);
    frame.extend(ARP);
    // Ethernet, IPv4, their lengths, a request.
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend([0; 4]);
    frame.extend([0; 6]);
    frame.extend(target.octets());
    frame.resize(60, 0);
    frame
}

/// A neighbour solicitation (RFC 4861 4.3) to the target's solicited-node group.
fn solicitation(mac: [u8; 6], target: Ipv6Addr) -> Vec<u8> {
    let [.., t13, t14, t15] = target.octets();
    let source = link_local(mac).octets();
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0).octets();
    let mut group = group.to_vec();
    group.truncate(13);
    group.extend([t13, t14, t15]);
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    // Option: source link-layer address.
    message.extend([1, 1]);
    message.extend(mac);
    let sum = checksum(&source, &group, &message).to_be_bytes();
    if let Some(place) = message.get_mut(2..4) {
        place.copy_from_slice(&sum);
    }
    let mut frame = vec![0x33, 0x33, 0xff, t13, t14, t15];
    frame.extend(mac);
    frame.extend(IPV6);
    // Version 6, 32 bytes of ICMPv6, hop limit 255.
    frame.extend([0x60, 0, 0, 0, 0, 32, 58, 255]);
    frame.extend(source);
    frame.extend(group);
    frame.extend(message);
    frame
}

/// The address that the interface would give itself (EUI-64).
fn link_local(mac: [u8; 6]) -> Ipv6Addr {
    let [m0, m1, m2, m3, m4, m5] = mac;
    let bytes = [
        0xfe,
        0x80,
        0,
        0,
        0,
        0,
        0,
        0,
        m0 ^ 2,
        m1,
        m2,
        0xff,
        0xfe,
        m3,
        m4,
        m5,
    ];
    bytes.into()
}

/// Of ICMPv6, with its pseudo header (RFC 8200 8.1).
fn checksum(source: &[u8], destination: &[u8], message: &[u8]) -> u16 {
    let words = |bytes: &[u8]| {
        let words = bytes.chunks(2).map(|it| match it {
            [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
            [high] => u32::from(*high) << 8,
            _ => 0,
        });
        words.sum::<u32>()
    };
    let mut sum = words(source) + words(destination) + words(message);
    sum += message.len() as u32 + 58;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Who says in this frame that an address is his.
fn answer(frame: &[u8]) -> Option<(IpAddr, [u8; 6])> {
    let kind = frame.get(12..14)?;
    if kind == ARP {
        arp_answer(frame.get(14..)?)
    } else if kind == IPV6 {
        advertisement(frame)
    } else {
        None
    }
}

/// A reply, or a request: who asks from an address has it, too. A probe has none.
fn arp_answer(message: &[u8]) -> Option<(IpAddr, [u8; 6])> {
    let known = message.get(..6)? == [0, 1, 8, 0, 6, 4];
    let mac: [u8; 6] = *message.get(8..)?.first_chunk()?;
    let ip = Ipv4Addr::from(*message.get(14..)?.first_chunk::<4>()?);
    (known && !ip.is_unspecified()).then_some((ip.into(), mac))
}

/// A neighbour advertisement that came over no router (hop limit 255), by the address it is about.
fn advertisement(frame: &[u8]) -> Option<(IpAddr, [u8; 6])> {
    const ADVERTISEMENT: u8 = 136;
    let packet = frame.get(14..)?;
    let (next, hops) = (*packet.get(6)?, *packet.get(7)?);
    let message = packet.get(40..)?;
    if (next, hops, *message.first()?) != (58, 255, ADVERTISEMENT) {
        return None;
    }
    let target = Ipv6Addr::from(*message.get(8..)?.first_chunk::<16>()?);
    let mac = match message.get(24..32) {
        // Option: target link-layer address.
        Some([2, 1, mac @ ..]) => *mac.first_chunk()?,
        _ => *frame.get(6..)?.first_chunk()?,
    };
    Some((target.into(), mac))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const THEIRS: [u8; 6] = [2, 0, 0, 0, 0, 9];

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// What a neighbour answers to an ARP request.
    fn reply(request: &[u8]) -> Vec<u8> {
        let mut reply = request.to_vec();
        reply[21] = 2;
        reply[22..28].copy_from_slice(&THEIRS);
        let asked = request[38..42].to_vec();
        reply[28..32].copy_from_slice(&asked);
        reply
    }

    #[test]
    fn a_probe_claims_no_address() {
        let frame = request(OURS, ip("192.0.2.1"));
        assert_eq!(frame.len(), 60);
        assert_eq!(frame[28..32], [0; 4], "the sender's address");
        assert_eq!(answer(&frame), None, "and nobody learns from it");
        assert_eq!(answer(&reply(&frame)), Some((ip("192.0.2.1"), THEIRS)));
    }

    /// The example of RFC 4861 with a checksum reckoned by hand.
    #[test]
    fn a_solicitation_is_whole() {
        let frame = request(OURS, ip("fe80::12:3456"));
        assert_eq!(frame.len(), 14 + 40 + 32);
        assert_eq!(frame[..6], [0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
        assert_eq!(
            link_local(OURS),
            "fe80::ff:fe00:1".parse::<Ipv6Addr>().expect("an address")
        );
        // Summed with its checksum in place a message gives zero.
        assert_eq!(checksum(&frame[22..38], &frame[38..54], &frame[54..]), 0);
    }

    #[test]
    fn advertisements_are_of_the_link() {
        let mut frame = request(OURS, ip("2001:db8::1"));
        frame[54] = 136;
        frame[78] = 2;
        frame[80..86].copy_from_slice(&THEIRS);
        assert_eq!(answer(&frame), Some((ip("2001:db8::1"), THEIRS)));
        let mut routed = frame.clone();
        routed[21] = 254;
        assert_eq!(answer(&routed), None);
        frame[78] = 1;
        assert_eq!(
            answer(&frame),
            Some((ip("2001:db8::1"), OURS)),
            "the frame's own sender"
        );
    }

    proptest! {
        #[test]
        fn any_frame_is_survived(
            kind in prop::sample::select(vec![ARP, IPV6, [8, 0]]),
            bytes in prop::collection::vec(any::<u8>(), 0..128),
        ) {
            let mut frame = bytes;
            if let Some(place) = frame.get_mut(12..14) {
                place.copy_from_slice(&kind);
            }
            let _ = answer(&frame);
        }
    }
}
