//! Hears whether a server refuses what this client asks for (`DHCPNAK`): `mozim` 0.3.4 hears none where it renews a lease.
//!
//! A packet socket, filtered in the kernel to DHCP over this interface, sees both directions, so that a refusal can be told from
//! one that answers somebody else. It sends nothing.

use std::{io, net::Ipv4Addr, thread, time::Duration};

use anyhow::{Context as _, Result};
use net_apply::dhcp::{Interface, refusals::Refusals};
use rustix::{
    io::Errno,
    net::{RecvFlags, recvfrom},
};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tracing::debug;

/// More than a client can have asked for meanwhile.
const MOST: usize = 4;
/// Largest message that is looked at; options that count stand at the beginning.
const PACKET: usize = 1500;

/// Listens on a thread of its own until the process ends.
pub(crate) fn listen(interface: &Interface) -> Result<Receiver<Ipv4Addr>> {
    let socket = socket(interface.index).context("cannot listen to refusals")?;
    let (sender, receiver) = channel(MOST);
    let refusals = Refusals::new(interface.mac);
    let thread = thread::Builder::new()
        .name("refusals".to_owned())
        .spawn(move || hear(&socket, refusals, &sender));
    thread.map(|_| receiver).context("no thread")
}

fn socket(index: u32) -> io::Result<Socket> {
    /// `ETH_P_ALL`: of no other protocol are sent packets told.
    const ALL: u16 = 3;
    let all = Protocol::from(i32::from(ALL.to_be()));
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(all))?;
    socket.attach_filter(&filter(index))?;
    Ok(socket)
}

/// `struct sock_filter`s: over this interface, of IPv4 and UDP, not a later fragment, to one of DHCP's ports. The packet begins
/// with its IPv4 header.
fn filter(index: u32) -> [SockFilter; 14] {
    const LOAD_WORD: u16 = 0x20;
    const LOAD_HALF: u16 = 0x28;
    const LOAD_OCTET: u16 = 0x30;
    const LOAD_HEADER_LENGTH: u16 = 0xb1;
    const LOAD_HALF_BEHIND: u16 = 0x48;
    const IF_EQUAL: u16 = 0x15;
    const IF_ANY_BIT: u16 = 0x45;
    const RETURN: u16 = 0x06;
    /// `SKF_AD_OFF`: what the kernel knows beside the packet; 0 its protocol, 8 its interface.
    const BESIDE: u32 = (-0x1000_i32).cast_unsigned();
    [
        SockFilter::new(LOAD_WORD, 0, 0, BESIDE + 8),
        SockFilter::new(IF_EQUAL, 0, 11, index),
        SockFilter::new(LOAD_HALF, 0, 0, BESIDE),
        SockFilter::new(IF_EQUAL, 0, 9, 0x0800),
        SockFilter::new(LOAD_OCTET, 0, 0, 9),
        SockFilter::new(IF_EQUAL, 0, 7, 17),
        SockFilter::new(LOAD_HALF, 0, 0, 6),
        SockFilter::new(IF_ANY_BIT, 5, 0, 0x1fff),
        SockFilter::new(LOAD_HEADER_LENGTH, 0, 0, 0),
        SockFilter::new(LOAD_HALF_BEHIND, 0, 0, 2),
        SockFilter::new(IF_EQUAL, 1, 0, 67),
        SockFilter::new(IF_EQUAL, 0, 1, 68),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

fn hear(socket: &Socket, mut refusals: Refusals, sender: &Sender<Ipv4Addr>) {
    loop {
        let mut room = [0; PACKET];
        let packet = match recvfrom(socket, &mut room[..], RecvFlags::empty()) {
            Ok((length, ..)) => room.get(..length).unwrap_or_default(),
            Err(Errno::INTR) => continue,
            Err(error) => {
                debug!(%error, "nothing heard");
                thread::sleep(Duration::from_millis(200));
                continue;
            }
        };
        if let Some(server) = refusals.hear(packet) {
            // A client that has not yet acted on the one before needs no other.
            let _ = sender.try_send(server);
        }
    }
}
