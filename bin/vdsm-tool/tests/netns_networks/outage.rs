//! What a restoration of many networks costs the traffic of those that need none, and of the management network: counted by
//! echo requests of others, one every 20 ms.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    mem::MaybeUninit,
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use exec::{Command, Stdio};
use netns::{Peer, eventually};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketType, connect, ipproto, recv, send, socket, sockopt,
};

use super::{Host, LONG, MANAGEMENT, ip, lacking, state};

const EVERY: Duration = Duration::from_millis(20);
/// Beside the management network.
const NETWORKS: usize = 30;

/// Echo requests to one address until it is told to end.
struct Stream {
    to: Ipv4Addr,
    end: Arc<AtomicBool>,
    sender: JoinHandle<Vec<Instant>>,
    receiver: JoinHandle<()>,
    answered: Arc<Mutex<BTreeSet<usize>>>,
}

/// What came of a stream.
struct Tally {
    sent: Vec<Instant>,
    answered: BTreeSet<usize>,
}

impl Stream {
    fn start(peer: &Peer, to: &str) -> Self {
        let to: Ipv4Addr = to.parse().unwrap();
        let socket = || socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP)).unwrap();
        let socket = Arc::new(peer.within(socket));
        connect(&*socket, &SocketAddrV4::new(to, 0)).unwrap();
        // Room for what comes while this process is not let run.
        sockopt::set_socket_recv_buffer_size_force(&*socket, 8 << 20).unwrap();
        let a_moment = Some(Duration::from_millis(100));
        sockopt::set_socket_timeout(&*socket, sockopt::Timeout::Recv, a_moment).unwrap();
        let end = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(Mutex::new(BTreeSet::new()));
        let sender = {
            let (socket, end) = (Arc::clone(&socket), Arc::clone(&end));
            thread::spawn(move || send_until(&socket, &end))
        };
        let receiver = {
            let (end, answered) = (Arc::clone(&end), Arc::clone(&answered));
            thread::spawn(move || receive_until(&socket, &end, &answered))
        };
        let stream = Self {
            to,
            end,
            sender,
            receiver,
            answered,
        };
        let count = || stream.answered.lock().unwrap().len();
        eventually("the first answers", || count() >= 5);
        stream
    }

    /// Ends it when it is answered again, and what is on its way has come, or has not for a long time.
    fn finish(self) -> Tally {
        let count = || self.answered.lock().unwrap().len();
        let so_far = count();
        eventually("answers", || count() > so_far + 5);
        self.end.store(true, Ordering::SeqCst);
        let sent = self.sender.join().unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        while count() < sent.len() && Instant::now() < until {
            thread::sleep(EVERY);
            // The last one is there, in order: what is missing before it is lost.
            if self.answered.lock().unwrap().contains(&(sent.len() - 1)) {
                break;
            }
        }
        self.receiver.join().unwrap();
        let answered = self.answered.lock().unwrap().clone();
        println!(
            "figure: {}: {} sent, {} lost",
            self.to,
            sent.len(),
            sent.len() - answered.len()
        );
        Tally { sent, answered }
    }
}

impl Tally {
    fn lost(&self) -> usize {
        self.sent.len() - self.answered.len()
    }

    /// The longest time between two that were answered with some between them that were not.
    fn outage(&self) -> Duration {
        let all: Vec<usize> = self.answered.iter().copied().collect();
        let gaps = all.windows(2).filter(|it| it[1] > it[0] + 1);
        let times = gaps.map(|it| self.sent[it[1]] - self.sent[it[0]]);
        times.max().unwrap_or_default()
    }

    /// From a moment on until one was answered.
    fn answered_after(&self, moment: Instant) -> Duration {
        let times = self.answered.iter().map(|it| self.sent[*it]);
        let first = times.filter(|it| *it > moment).min().unwrap();
        first - moment
    }
}

fn send_until(socket: &OwnedFd, end: &AtomicBool) -> Vec<Instant> {
    let mut sent = Vec::new();
    while !end.load(Ordering::SeqCst) {
        let [high, low] = u16::try_from(sent.len()).unwrap().to_be_bytes();
        // Type 8, code 0, checksum, identifier 7, sequence.
        let sum = 0x0800 + 7 + u32::from(high) * 256 + u32::from(low);
        let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
        let [first, second] = sum.to_be_bytes();
        let request = [8, 0, first, second, 0, 7, high, low];
        sent.push(Instant::now());
        // Nobody there, told by the kernel, is a request that is not answered.
        let _ = send(socket, &request, SendFlags::empty());
        thread::sleep(EVERY);
    }
    sent
}

fn receive_until(socket: &OwnedFd, end: &AtomicBool, answered: &Mutex<BTreeSet<usize>>) {
    let mut quiet = 0;
    // A second without anything after the end.
    while quiet < 10 {
        let mut buffer = [MaybeUninit::uninit(); 256];
        let Ok(((answer, _), _)) = recv(socket, &mut buffer, RecvFlags::empty()) else {
            quiet = if end.load(Ordering::SeqCst) {
                quiet + 1
            } else {
                0
            };
            continue;
        };
        // Behind the header of IP: type 0, identifier 7, sequence.
        if let Some(&[0, 0, _, _, 0, 7, high, low]) = answer.get(20..28) {
            let which = u16::from_be_bytes([high, low]);
            answered.lock().unwrap().insert(which.into());
        }
    }
}

/// All cards lead to one other network, where the first and the last of them have addresses of their own.
fn world() -> Peer {
    let peer = Peer::new();
    peer.link("veth_a", "peer_a");
    peer.ip("addr add 192.0.2.254/24 dev peer_a");
    for n in 0..NETWORKS {
        peer.link(&format!("veth_{n}"), &format!("peer_{n}"));
        peer.ip(&format!("addr add 10.7.{n}.2/24 dev peer_{n}"));
    }
    peer
}

fn set_up(host: &Host) {
    host.set_up(MANAGEMENT);
    let mut networks = String::new();
    for n in 0..NETWORKS {
        let comma = if n == 0 { "" } else { "," };
        write!(
            networks,
            r#"{comma}"net{n}": {{"nic": "veth_{n}", "ipaddr": "10.7.{n}.1", "prefix": 24}}"#
        )
        .unwrap();
    }
    host.set_up(&format!(r#"{{"networks": {{{networks}}}}}"#));
}

/// What is heard of links and addresses meanwhile, in the kernel's order.
fn monitored<T>(folder: &std::path::Path, what: impl FnOnce() -> T) -> (String, T) {
    let path = folder.join("monitor");
    let file = fs::File::create(&path).unwrap();
    let monitor = Command::new("ip")
        .args(["-o", "monitor", "link", "address"])
        .stdout_to(Stdio::File(file.into()));
    let mut monitor = monitor.spawn().unwrap();
    let heard = || fs::read_to_string(&path).unwrap();
    let probe = |name: &str| {
        eventually("the monitor", || {
            ip(&format!("link add {name} type bridge"));
            ip(&format!("link del {name}"));
            heard().contains(name)
        });
    };
    probe("probe_1");
    let done = what();
    probe("probe_2");
    monitor.end(Duration::from_secs(1));
    (heard(), done)
}

#[test]
fn netns_restoration_of_thirty_networks_beside_traffic() {
    if let Some(why) = lacking() {
        println!("skipped: {why}");
        return;
    }
    guard::in_network!(|| {
        let peer = world();
        let host = Host::start();
        set_up(&host);
        let wanted = state();
        // All but two are gone; the management network and the first one are as they should be.
        for n in 1..NETWORKS {
            ip(&format!("link del net{n}"));
        }
        let streams = ["192.0.2.1", "10.7.0.1"].map(|to| Stream::start(&peer, to));
        let told = host.told(&["restore-nets", "--force"], "", 0);
        for verdict in ["ovirtmgmt: unchanged", "net0: unchanged", "net29: restored"] {
            assert!(told.contains(verdict), "{told}");
        }
        for stream in streams {
            assert_eq!(
                stream.finish().lost(),
                0,
                "nothing that is unchanged is touched"
            );
        }
        assert_eq!(state(), wanted);

        // Of the management network what does not carry the stream is wrong: it is mended in its place.
        for n in 0..NETWORKS {
            ip(&format!("link del net{n}"));
        }
        ip("-4 route del default");
        ip("addr add 192.0.2.77/24 dev ovirtmgmt");
        let stream = Stream::start(&peer, "192.0.2.1");
        let told = host.told(&["restore-nets", "--force"], "", 0);
        assert!(told.contains("ovirtmgmt: restored"), "{told}");
        assert_eq!(stream.finish().lost(), 0, "it is mended in its place");
        assert_eq!(state(), wanted);

        // It is gone like all others, one of which cannot come back.
        let stream = Stream::start(&peer, "192.0.2.1");
        for n in 0..NETWORKS {
            ip(&format!("link del net{n}"));
        }
        ip("link del veth_29");
        ip("link del ovirtmgmt");
        let (heard, (began, took)) = monitored(host.root.path(), || {
            let began = Instant::now();
            let told = host.told(&["restore-nets", "--force"], "", 1);
            assert!(told.contains("ovirtmgmt: restored"), "{told}");
            assert!(told.contains("not restored: net29"), "{told}");
            (began, began.elapsed())
        });
        let tally = stream.finish();
        println!(
            "figure: all of {NETWORKS} networks and the management network restored in {took:?}; the latter answered {:?} after \
             the call, {:?} after it was lost",
            tally.answered_after(began),
            tally.outage()
        );
        let places = |words: &str| {
            heard
                .find(words)
                .unwrap_or_else(|| panic!("{words}: {heard}"))
        };
        let management = places("192.0.2.1/24");
        for n in 0..NETWORKS - 1 {
            assert!(
                management < places(&format!(": net{n}:")),
                "net{n}: {heard}"
            );
        }
        assert!(tally.outage() < LONG);
    });
}
