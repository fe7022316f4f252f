//! What those at the other end of a host's cards do beside `netns::Peer`: they listen to frames and ask for echoes.

use std::{
    mem::MaybeUninit,
    net::{Ipv4Addr, SocketAddrV4},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use netns::Peer;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketType, bind, eth, ipproto, recv, recvfrom, sendto,
    socket, sockopt,
};

/// Hears every frame that comes by in another network, until one is what was listened for (true) or it is told to end.
pub fn hear(peer: &Peer, end: &AtomicBool, is_it: impl Fn(&[u8]) -> bool + Send) -> bool {
    peer.within(move || {
        let ear = socket(AddressFamily::PACKET, SocketType::RAW, Some(eth::ALL)).unwrap();
        let a_moment = Some(Duration::from_millis(100));
        sockopt::set_socket_timeout(&ear, sockopt::Timeout::Recv, a_moment).unwrap();
        let mut frame = [0_u8; 2048];
        while !end.load(Ordering::Relaxed) {
            let heard = recv(&ear, &mut frame[..], RecvFlags::empty());
            if heard.is_ok_and(|(length, _)| is_it(&frame[..length])) {
                return true;
            }
        }
        false
    })
}

/// Is this frame a request to a DHCP server of IPv4?
pub fn asks_for_a_lease(frame: &[u8]) -> bool {
    // Ethernet 14 bytes, of IPv4; a header of IP without options, of UDP; to port 67.
    frame.get(12..15) == Some(&[8, 0, 0x45])
        && frame.get(23) == Some(&17)
        && frame.get(36..38) == Some(&[0, 67])
}

/// From one of a peer's addresses: one echo request after the other until one is answered (true) or the time is over.
pub fn is_answered_from(peer: &Peer, source: &str, address: &str, time: Duration) -> bool {
    let source: Ipv4Addr = source.parse().unwrap();
    let address: Ipv4Addr = address.parse().unwrap();
    peer.within(move || echo(source, address, time))
}

fn echo(source: Ipv4Addr, address: Ipv4Addr, time: Duration) -> bool {
    let socket = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP)).unwrap();
    let a_moment = Some(Duration::from_millis(300));
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, a_moment).unwrap();
    bind(&socket, &SocketAddrV4::new(source, 0)).unwrap();
    // Type 8, code 0, checksum, identifier 7, sequence 1.
    let request = [8, 0, 0xf7, 0xf7, 0, 7, 0, 1];
    let to = SocketAddrV4::new(address, 0);
    let until = Instant::now() + time;
    while Instant::now() < until {
        if sendto(&socket, &request, SendFlags::empty(), &to).is_err() {
            std::thread::sleep(Duration::from_millis(50));
            continue;
        }
        let mut buffer = [MaybeUninit::uninit(); 256];
        while let Ok(((answer, _), _, _)) = recvfrom(&socket, &mut buffer, RecvFlags::empty()) {
            // Behind the header of IP: type 0, from whom we asked.
            let from = answer.get(12..16) == Some(&address.octets());
            if from && answer.get(20) == Some(&0) && answer.get(24..28) == Some(&[0, 7, 0, 1]) {
                return true;
            }
        }
    }
    false
}
