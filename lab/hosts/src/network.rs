//! Networks between lab hosts: a hub of UDP frames on loopback, one port for each interface.
//!
//! Two ways to break one: a cable pulled at a host ([`crate::Host::set_link`]: the interface sees no carrier), and a
//! network that swallows everything ([`Network::swallow`]: carrier stays, nothing arrives).

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{LabError, Result};

/// How often the hub looks whether it shall end.
const TICK: Duration = Duration::from_millis(100);

/// The longest datagram.
const FRAME: usize = 65_536;

/// A network. Clones are the same network.
#[derive(Debug, Clone)]
pub struct Network {
    hub: Arc<Hub>,
}

#[derive(Debug)]
struct Hub {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    ports: Mutex<Vec<SocketAddr>>,
    swallows: AtomicBool,
    ends: AtomicBool,
    frames: AtomicU64,
}

/// Where one interface sends its frames, and where it listens for others'. Both on loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wire {
    pub(crate) own: SocketAddr,
    pub(crate) peer: SocketAddr,
}

impl Network {
    pub(crate) fn start() -> Result<Self> {
        let failed = |error: std::io::Error| LabError::Wrong(format!("no network: {error}"));
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        socket.set_read_timeout(Some(TICK)).map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        let shared = Arc::new(Shared::default());
        let hub = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("lab-network".to_owned())
            .spawn(move || hub.carry(&socket))
            .map_err(failed)?;
        let thread = Some(thread);
        Ok(Self {
            hub: Arc::new(Hub {
                address,
                shared,
                thread,
            }),
        })
    }

    /// Swallows all frames, or carries them again.
    pub fn swallow(&self, all: bool) {
        self.hub.shared.swallows.store(all, Ordering::SeqCst);
    }

    /// Frames that came from hosts so far.
    pub fn frames(&self) -> u64 {
        self.hub.shared.frames.load(Ordering::SeqCst)
    }

    /// A new port.
    pub(crate) fn port(&self) -> Result<Wire> {
        let own = free_port()?;
        let mut ports = self.hub.shared.lock();
        ports.push(own);
        Ok(Wire {
            own,
            peer: self.hub.address,
        })
    }
}

impl Wire {
    /// The two ends of a cable without a hub.
    pub(crate) fn cable() -> Result<(Self, Self)> {
        let (a, b) = (free_port()?, free_port()?);
        Ok((Self { own: a, peer: b }, Self { own: b, peer: a }))
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<SocketAddr>> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn carry(&self, socket: &UdpSocket) {
        let mut frame = vec![0_u8; FRAME];
        while !self.ends.load(Ordering::SeqCst) {
            let Ok((length, from)) = socket.recv_from(&mut frame) else {
                continue;
            };
            let ports = self.lock().clone();
            if !ports.contains(&from) {
                continue;
            }
            self.frames.fetch_add(1, Ordering::SeqCst);
            if self.swallows.load(Ordering::SeqCst) {
                continue;
            }
            for port in ports.iter().filter(|port| **port != from) {
                // A host that is off does not listen: its frames are lost, as on a cable.
                let _ = socket.send_to(frame.get(..length).unwrap_or_default(), port);
            }
        }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A port that nobody had a moment ago. QEMU binds it; if someone else was faster, its start says so.
fn free_port() -> Result<SocketAddr> {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|socket| socket.local_addr())
        .map_err(|error| LabError::Wrong(format!("no free port: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn plugged(network: &Network) -> UdpSocket {
        let wire = network.port().unwrap();
        let socket = UdpSocket::bind(wire.own).unwrap();
        socket.connect(wire.peer).unwrap();
        socket.set_read_timeout(Some(LONG)).unwrap();
        socket
    }

    fn heard(socket: &UdpSocket) -> Vec<u8> {
        let mut frame = [0_u8; 100];
        let length = socket.recv(&mut frame).unwrap();
        frame[..length].to_vec()
    }

    #[test]
    fn all_others_hear_a_frame_and_the_sender_does_not() {
        let network = Network::start().unwrap();
        let hosts = [plugged(&network), plugged(&network), plugged(&network)];
        hosts[0].send(b"one").unwrap();
        assert_eq!(heard(&hosts[1]), b"one");
        assert_eq!(heard(&hosts[2]), b"one");
        hosts[1].send(b"two").unwrap();
        // Its own "one" would come first.
        assert_eq!(heard(&hosts[0]), b"two");
    }

    #[test]
    fn a_network_swallows_until_it_carries_again() {
        let network = Network::start().unwrap();
        let hosts = [plugged(&network), plugged(&network)];
        network.swallow(true);
        hosts[0].send(b"lost").unwrap();
        while network.frames() == 0 {
            thread::sleep(Duration::from_millis(5));
        }
        // Counted before it is swallowed: one more makes sure that the first is decided upon.
        hosts[0].send(b"lost").unwrap();
        while network.frames() < 2 {
            thread::sleep(Duration::from_millis(5));
        }
        thread::sleep(Duration::from_millis(50));
        network.swallow(false);
        hosts[0].send(b"kept").unwrap();
        assert_eq!(heard(&hosts[1]), b"kept");
    }

    #[test]
    fn strangers_are_not_heard() {
        let network = Network::start().unwrap();
        let hosts = [plugged(&network), plugged(&network)];
        let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        stranger
            .send_to(b"odd", hosts[0].peer_addr().unwrap())
            .unwrap();
        hosts[0].send(b"own").unwrap();
        assert_eq!(heard(&hosts[1]), b"own");
    }
}
