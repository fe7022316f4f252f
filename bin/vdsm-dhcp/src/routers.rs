//! Hears what routers of the link advertise. The kernel checks that a message is whole; a filter lets through only
//! advertisements that no router has passed on (hop limit 255).

use std::{
    io,
    net::{Ipv6Addr, SocketAddrV6},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use net_apply::dhcp::{
    Advertised, Session,
    routers::{ADVERTISEMENT, ALL_ROUTERS, Advertisement, Routers, SOLICITATION},
};
use rustix::{
    io::Errno,
    net::{RecvFlags, recvfrom},
};
use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};
use tracing::{debug, info, warn};

/// Largest packet of an Ethernet with jumbo frames.
const PACKET: usize = 9216;
/// RFC 4861, 10: three solicitations, four seconds apart.
const SOLICITATIONS: u32 = 3;
const APART: Duration = Duration::from_secs(4);
/// The longest wait for a packet: a bound for what the system may have forgotten.
const LONGEST: Duration = Duration::from_mins(1);

/// Listens on a thread of its own until the process ends.
pub(crate) fn listen(session: &Arc<Session>) -> Result<()> {
    let socket = socket(session).context("cannot listen to routers")?;
    let session = Arc::clone(session);
    let thread = thread::Builder::new()
        .name("routers".to_owned())
        .spawn(move || hear(&session, &socket));
    thread.map(|_| ()).context("no thread")
}

fn socket(session: &Session) -> io::Result<Socket> {
    let interface = session.interface();
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    socket.attach_filter(&filter())?;
    socket.bind_device(Some(interface.name.as_str().as_bytes()))?;
    socket.set_multicast_if_v6(interface.index)?;
    socket.set_multicast_hops_v6(255)?;
    Ok(socket)
}

/// `struct sock_filter`s: of type 134, and with hop limit 255 (octet 7 of the IPv6 header, which the kernel keeps
/// before the message: `SKF_NET_OFF`).
fn filter() -> [SockFilter; 6] {
    const LOAD_OCTET: u16 = 0x30;
    const IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const NETWORK_HEADER: u32 = (-0x10_0000_i32).cast_unsigned();
    [
        SockFilter::new(LOAD_OCTET, 0, 0, 0),
        SockFilter::new(IF_EQUAL, 0, 3, ADVERTISEMENT.into()),
        SockFilter::new(LOAD_OCTET, 0, 0, NETWORK_HEADER + 7),
        SockFilter::new(IF_EQUAL, 0, 1, 255),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

fn hear(session: &Session, socket: &Socket) {
    let mut routers = Routers::new(session.interface().name.clone());
    let mut told = Advertised::default();
    let mut asked = 0;
    let mut ask_at = Instant::now();
    loop {
        let now = Instant::now();
        if asked < SOLICITATIONS && now >= ask_at {
            asked += 1;
            ask_at = now + APART;
            if let Err(error) = ask(socket, session.interface().index) {
                debug!(%error, "routers cannot be asked yet");
            }
        }
        let next = [(asked < SOLICITATIONS).then_some(ask_at), routers.next(now)];
        let until = next.into_iter().flatten().min();
        if let Some((from, said)) = receive(socket, until) {
            if routers.at(now) == Advertised::default() {
                info!(%from, ?said, "a router speaks");
            }
            asked = SOLICITATIONS;
            routers.hear(from, &said, Instant::now());
        }
        let holds = routers.at(Instant::now());
        if holds != told {
            info!(?holds, "routers advertise");
            match session.advertised(holds.clone()) {
                Ok(()) => told = holds,
                Err(error) => {
                    warn!(%error, "what routers advertise cannot be put in place");
                    // Not at once again: the next advertisement, or a while later.
                    thread::sleep(Duration::from_secs(1));
                }
            }
        }
    }
}

fn ask(socket: &Socket, index: u32) -> io::Result<()> {
    let all = SockAddr::from(SocketAddrV6::new(ALL_ROUTERS, 0, 0, index));
    socket.send_to(&SOLICITATION, &all).map(|_| ())
}

/// The next advertisement, if one comes in time.
fn receive(socket: &Socket, until: Option<Instant>) -> Option<(Ipv6Addr, Advertisement)> {
    let left = until.map_or(LONGEST, |it| it.saturating_duration_since(Instant::now()));
    let left = left.clamp(Duration::from_millis(1), LONGEST);
    socket.set_read_timeout(Some(left)).ok()?;
    let mut room = [0; PACKET];
    let (bytes, from) = match recvfrom(socket, &mut room[..], RecvFlags::empty()) {
        Ok((length, _, from)) => (room.get(..length)?, from?),
        Err(Errno::AGAIN | Errno::INTR) => return None,
        Err(error) => {
            // The interface is down, or going: whoever watches it ends the process.
            debug!(%error, "nothing heard");
            thread::sleep(Duration::from_millis(200));
            return None;
        }
    };
    let from = SocketAddrV6::try_from(from).ok()?;
    match Advertisement::parse(bytes) {
        Ok(said) => Some((*from.ip(), said)),
        Err(why) => {
            debug!(%from, why, "an advertisement that is none");
            None
        }
    }
}
