//! What looking at networks costs: reading what the kernel has where somebody else has many routes, beside `ip route show table
//! all`; news of interfaces that come by the hundred; and asking 200 networks whether they answer, beside the least code that asks
//! as often.
//!
//! `cargo bench -p observe --bench networks` as root; nothing of the machine's network is touched. Processor time is that of this
//! process, which does nothing else meanwhile (`/proc/self/task/*/schedstat`); what the kernel does for the other end of a cable
//! while a packet is sent is in it, for both sides.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a measurement that cannot go on ends"
)]
#![allow(clippy::print_stdout, reason = "its figures are what it is for")]

use std::{
    collections::BTreeSet,
    env, fs,
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::OwnedFd,
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use exec::{Command, Stdio};
use net_model::{
    IfName, NetName,
    probe::{ProbeConfig, Sample},
};
use netns::{LONG, Peer, ip};
use nix::sys::socket::{setsockopt, sockopt::BindToDevice};
use observe::{
    network::watch::LinkWatch,
    probe::{Prober, Report, Watched},
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, ipproto, recv, sendto,
        socket_with,
    },
};

/// Set in the process that measures.
const INSIDE: &str = "NET_BENCH_INSIDE";
/// Networks that are asked.
const NETWORKS: u32 = 200;
/// Seconds between samples of one: the default.
const INTERVAL: u32 = 5;
/// How long processor time is taken.
const WATCHED: Duration = Duration::from_secs(30);

fn main() {
    if env::var_os(INSIDE).is_some() {
        reading();
        news();
        probing();
        return;
    }
    let inner = Command::new(env::current_exe().unwrap())
        .env(INSIDE, "1")
        .timeout(Duration::from_mins(15));
    match inner.private_network().run() {
        Ok(output) => {
            print!("{}", String::from_utf8_lossy(&output.stdout));
            assert!(output.exit.success(), "{}", output.stderr_text());
        }
        Err(error) => println!("skipped: no network of its own: {error}"),
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Processor time of all threads of this process.
fn spent() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let each = tasks.map(|it| {
        let text = fs::read_to_string(it.unwrap().path().join("schedstat"));
        let first = text.ok().and_then(|it| it.split(' ').next()?.parse().ok());
        Duration::from_nanos(first.unwrap_or(0))
    });
    each.sum()
}

/// The least and the middle of them.
fn summary(mut times: Vec<Duration>) -> (f64, f64) {
    times.sort_unstable();
    let middle = times.get(times.len() / 2).unwrap();
    (millis(*times.first().unwrap()), millis(*middle))
}

/// `ip` of iproute2, its words thrown away.
fn shown(family: &str) {
    let args = [family, "route", "show", "table", "all"];
    let ip = Command::new("ip").args(args).stdout_to(Stdio::Null);
    let exit = ip.spawn().unwrap().wait(LONG);
    assert!(exit.is_some_and(exec::Exit::success));
}

/// Interfaces, addresses, rules and routes of both families; `ip` is asked for routes alone.
fn reading() {
    let peer = Peer::new();
    peer.link("vt0", "vt1");
    ip("address add 10.255.0.1/24 dev vt0");
    println!(
        "| foreign routes | read whole, ms: least / middle | `ip -4` and `ip -6 route show table all`, ms: least / middle | \
         ratio of middles |"
    );
    println!("|---|---|---|---|");
    let mut there = 0;
    for number in [0, 1_000, 10_000, 100_000] {
        let new = (there..number).map(|it: u32| {
            let to = Ipv4Addr::from(0x0a00_0000 + it);
            format!("route add {to}/32 via 10.255.0.2 dev vt0 table 9999 proto 186\n")
        });
        ip(&new.collect::<String>());
        there = number;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..11 {
            let start = Instant::now();
            let (current, _) = observe::network::network(LONG, &["veth"]).unwrap();
            ours.push(start.elapsed());
            assert_eq!(current.routes.len(), number as usize);
            drop(current);
            let start = Instant::now();
            shown("-4");
            shown("-6");
            theirs.push(start.elapsed());
        }
        let (ours, theirs) = (summary(ours), summary(theirs));
        println!(
            "| {number} | {:.1} / {:.1} | {:.1} / {:.1} | {:.2} |",
            ours.0,
            ours.1,
            theirs.0,
            theirs.1,
            ours.1 / theirs.1
        );
    }
    ip("link del vt0");
}

/// Interfaces that `ip` makes and removes: the processor time of hearing of it.
fn news() {
    println!("\n| bridges made and removed | news | processor time of hearing, ms |");
    println!("|---|---|---|");
    for number in [100, 1_000] {
        let mut watch = LinkWatch::open(LONG).unwrap();
        let all = |verb: &str, kind: &str| -> String {
            let lines = (0..number).map(|it| format!("link {verb} br{it} {kind}\n"));
            lines.collect()
        };
        let (made, gone) = (all("add", "type bridge"), all("del", ""));
        let before = spent();
        let maker = thread::spawn(move || {
            ip(&made);
            ip(&gone);
        });
        let mut heard = 0;
        while !maker.is_finished() {
            heard += watch.wait(Duration::from_millis(50)).unwrap().len();
        }
        heard += watch.take().unwrap().len();
        let used = spent().saturating_sub(before);
        maker.join().unwrap();
        println!("| {number} | {heard} | {:.1} |", millis(used));
    }
}

fn start() -> (Prober, Receiver<Report>) {
    let (sender, reports) = channel();
    let prober = Prober::start(None, move |report| drop(sender.send(report))).unwrap();
    let watched = (0..NETWORKS).map(|it| Watched {
        network: NetName::new(&format!("n{it}")).unwrap(),
        device: IfName::new("vt0").unwrap(),
        gateways: Vec::new(),
        config: ProbeConfig {
            targets: vec![target(it).into()],
            interval: INTERVAL,
            fail_after: 5,
            recover_after: 3,
        },
    });
    prober.watch(watched.collect());
    (prober, reports)
}

fn target(network: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0002 + (network << 8))
}

fn probing() {
    fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647").unwrap();
    let peer = Peer::new();
    peer.link("vt0", "vt1");
    let each = |end: u8| -> String {
        let dev = end - 1;
        let lines = (0..NETWORKS).map(|it| format!("address add 10.0.{it}.{end}/24 dev vt{dev}\n"));
        lines.collect()
    };
    ip(&each(1));
    peer.ip(&each(2));
    println!("\n| what | samples | processor time of one, µs | % of one CPU |");
    println!("|---|---|---|---|");
    let (prober, reports) = start();
    // Until each has answered once: neighbours are known then.
    let mut first = BTreeSet::new();
    while first.len() < NETWORKS as usize {
        if let Report::Sample {
            network,
            sample: Sample::Good,
        } = reports.recv_timeout(LONG).unwrap()
        {
            first.insert(network);
        }
    }
    let _ = reports.try_iter().count();
    let before = spent();
    thread::sleep(WATCHED);
    let used = spent().saturating_sub(before);
    let samples = reports.try_iter().count();
    let what = format!("{NETWORKS} networks, every {INTERVAL} s, all answering");
    tell(&what, samples, used);
    drop(prober);

    let pace = Duration::from_secs(INTERVAL.into()) / NETWORKS;
    let end = Instant::now() + WATCHED;
    let before = spent();
    let mut asked = 0;
    while Instant::now() < end {
        ask(target(asked % NETWORKS));
        asked += 1;
        thread::sleep(pace);
    }
    let used = spent().saturating_sub(before);
    let what = "the least code: a socket, a request, its answer";
    tell(what, asked as usize, used);
}

fn tell(what: &str, samples: usize, used: Duration) {
    let share = used.as_secs_f64() / WATCHED.as_secs_f64() * 100.0;
    let each = used.as_secs_f64() * 1e6 / samples as f64;
    println!("| {what} | {samples} | {each:.0} | {share:.2} |");
}

/// One echo request through the card, and its answer.
fn ask(target: Ipv4Addr) {
    let (flags, icmp) = (SocketFlags::CLOEXEC, Some(ipproto::ICMP));
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, icmp);
    let socket: OwnedFd = socket.unwrap();
    setsockopt(&socket, BindToDevice, &"vt0".into()).unwrap();
    let source = Ipv4Addr::from(u32::from(target) - 1);
    bind(&socket, &SocketAddrV4::new(source, 0)).unwrap();
    let mut bytes = [0x76; 64];
    bytes[..8].copy_from_slice(&[8, 0, 0, 0, 0, 0, 0, 1]);
    let to = SocketAddrV4::new(target, 0);
    sendto(&socket, &bytes, SendFlags::empty(), &to).unwrap();
    poll(&mut [PollFd::new(&socket, PollFlags::IN)], None).unwrap();
    let (length, _) = recv(&socket, &mut bytes[..], RecvFlags::empty()).unwrap();
    assert!(length > 0);
}
