//! Networks of their own: counters, news of interfaces, and the loop that asks for networks, against real links.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: what fails here is a failed test"
)]

use std::{
    fs,
    net::{IpAddr, UdpSocket},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, channel},
    },
    thread,
    time::{Duration, Instant},
};

use net_model::{
    IfName, NetName,
    probe::{Cause, ProbeConfig, Sample},
};
use netns::{LONG, Peer, eventually, ip};
use observe::{
    network::{
        counters::{self, Meter},
        watch::{LinkNews, LinkWatch},
    },
    probe::{Prober, Report, Solicitor, Watched},
};

fn let_ping() {
    fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647").unwrap();
}

fn nic(name: &str) -> IfName {
    IfName::new(name).unwrap()
}

fn watched(name: &str, device: &str, targets: &[&str]) -> Watched {
    Watched {
        network: NetName::new(name).unwrap(),
        device: nic(device),
        gateways: Vec::new(),
        config: ProbeConfig {
            targets: targets.iter().map(|it| it.parse().unwrap()).collect(),
            interval: 1,
            fail_after: 2,
            recover_after: 2,
        },
    }
}

fn start(solicitor: Option<Arc<dyn Solicitor>>) -> (Prober, Receiver<Report>) {
    let (sender, reports) = channel();
    let prober = Prober::start(solicitor, move |report| drop(sender.send(report))).unwrap();
    (prober, reports)
}

/// Waits for a report of this kind; others before it are of what was before.
fn wait_for(reports: &Receiver<Report>, wanted: &Report) {
    let end = Instant::now() + LONG;
    let mut last = None;
    while last.as_ref() != Some(wanted) {
        let left = end.saturating_duration_since(Instant::now());
        match reports.recv_timeout(left) {
            Ok(report) => last = Some(report),
            Err(error) => panic!("no {wanted:?}, but {last:?}: {error}"),
        }
    }
}

fn sample(name: &str, sample: Sample) -> Report {
    let network = NetName::new(name).unwrap();
    Report::Sample { network, sample }
}

fn good(name: &str) -> Report {
    sample(name, Sample::Good)
}

fn bad(name: &str, cause: Cause) -> Report {
    sample(name, Sample::Bad(cause))
}

#[test]
fn netns_counters_are_the_kernels() {
    guard::in_network!(|| {
        let peer = Peer::new();
        peer.link("vt0", "vt1");
        ip("address add 192.0.2.1/24 dev vt0\nlink set vt0 mtu 1400");
        peer.ip("address add 192.0.2.2/24 dev vt1");
        let mut meter = Meter::default();
        meter.push(counters::read(LONG, &["veth"]).unwrap());
        assert!(
            meter.statistics().unwrap().interfaces[&nic("vt0")]
                .rates
                .is_none()
        );
        let socket = UdpSocket::bind("192.0.2.1:0").unwrap();
        for _ in 0..100 {
            socket.send_to(&[7; 1000], "192.0.2.2:9").ok();
        }
        // What is still on its way (neighbours, answers) ends soon; a look is right if nothing moved around it.
        let end = Instant::now() + LONG;
        let reading = loop {
            let before = fs::read_to_string("/proc/net/dev").unwrap();
            let reading = counters::read(LONG, &["veth"]).unwrap();
            if before == fs::read_to_string("/proc/net/dev").unwrap() {
                break reading;
            }
            assert!(Instant::now() < end, "the links never rest");
        };
        let proc = fs::read_to_string("/proc/net/dev").unwrap();
        for (name, it) in &reading.interfaces {
            let line = proc.lines().find_map(|line| {
                let (of, rest) = line.split_once(':')?;
                (of.trim() == name.as_str()).then_some(rest)
            });
            let numbers: Vec<u64> = line
                .unwrap()
                .split_whitespace()
                .map(|it| it.parse().unwrap())
                .collect();
            // bytes packets errs drop ... of what came, then of what went.
            let counted = it.counters;
            let rx = [counted.rx_bytes, counted.rx_errors, counted.rx_dropped];
            let tx = [counted.tx_bytes, counted.tx_errors, counted.tx_dropped];
            assert_eq!(rx, [numbers[0], numbers[2], numbers[3]], "{name}");
            assert_eq!(tx, [numbers[8], numbers[10], numbers[11]], "{name}");
        }
        let link = &reading.interfaces[&nic("vt0")];
        assert!(link.up && link.counters.tx_bytes > 100_000, "{link:?}");
        assert!(link.speed > 0, "veth has a speed: {link:?}");
        thread::sleep(Duration::from_millis(5));
        meter.push(reading);
        let now = meter.statistics().unwrap();
        let rates = now.interfaces[&nic("vt0")].rates.unwrap();
        assert!(rates.tx_rate > 0.0 && rates.load.is_some(), "{rates:?}");
        peer.ip("link set vt1 down");
        let down = || !counters::read(LONG, &[]).unwrap().interfaces[&nic("vt0")].up;
        eventually("the link goes down", down);
    });
}

/// Collects news until this one has come.
fn until(watch: &mut LinkWatch, wanted: &LinkNews) -> Vec<LinkNews> {
    let end = Instant::now() + LONG;
    let mut all = Vec::new();
    while !all.contains(wanted) {
        let left = end.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "no {wanted:?}, but {all:?}");
        all.extend(watch.wait(left).unwrap());
    }
    all
}

#[test]
fn netns_news_of_links_are_told_and_a_flood_is_survived() {
    guard::in_network!(|| {
        let mut watch = LinkWatch::open(LONG).unwrap();
        assert_eq!(watch.wait(Duration::from_millis(1)).unwrap(), []);
        ip("link add vt0 type veth peer name vt1\nlink add vtbr type bridge");
        until(&mut watch, &LinkNews::Came(nic("vtbr")));
        ip("link set vt0 up\nlink set vt1 up");
        let up = |it: &str, up| LinkNews::Carrier { link: nic(it), up };
        until(&mut watch, &up("vt0", true));
        ip("link set vt0 master vtbr");
        until(&mut watch, &LinkNews::Master(nic("vt0")));
        // A port that leaves is told as "deleted" in the bridge's family: it is not gone.
        ip("link set vt0 nomaster");
        let left = until(&mut watch, &LinkNews::Master(nic("vt0")));
        assert!(
            !left.iter().any(|it| matches!(it, LinkNews::Gone(_))),
            "{left:?}"
        );
        ip("link set vt1 down");
        until(&mut watch, &up("vt0", false));
        ip("link set vtbr name vtbr2");
        let renamed = until(&mut watch, &LinkNews::Came(nic("vtbr2")));
        assert!(
            renamed.contains(&LinkNews::Gone(nic("vtbr"))),
            "{renamed:?}"
        );
        // More than the socket holds, unread.
        let flood = "link set vt0 mtu 1000\nlink set vt0 mtu 1001\n".repeat(1500);
        ip(&format!("{flood}link del vtbr2"));
        let news = until(&mut watch, &LinkNews::Resync);
        assert!(news.contains(&LinkNews::Gone(nic("vtbr2"))), "{news:?}");
        ip("link del vt0");
        until(&mut watch, &LinkNews::Gone(nic("vt1")));
    });
}

#[test]
fn netns_each_way_of_not_answering_has_its_cause() {
    guard::in_network!(|| {
        let_ping();
        let peer = Peer::new();
        peer.link("vt0", "vt1");
        ip("address add 192.0.2.1/24 dev vt0\nroute add default via 192.0.2.2");
        peer.ip("address add 192.0.2.2/24 dev vt1");
        peer.sysctl("ipv4/ip_forward", "1");
        // Routers say "no" once a second at most, Linux less often.
        peer.sysctl("ipv4/icmp_ratelimit", "0");
        let (prober, reports) = start(None);
        prober.watch(vec![watched("a", "vt0", &["192.0.2.2"])]);
        wait_for(&reports, &good("a"));

        // The carrier stays, and nobody replies.
        peer.sysctl("ipv4/icmp_echo_ignore_all", "1");
        wait_for(&reports, &bad("a", Cause::NoReply));
        peer.sysctl("ipv4/icmp_echo_ignore_all", "0");
        wait_for(&reports, &good("a"));

        // Nobody has the address.
        peer.ip("address del 192.0.2.2/24 dev vt1\naddress add 192.0.2.3/24 dev vt1");
        ip("neigh flush dev vt0");
        wait_for(&reports, &bad("a", Cause::NoNeighbour));
        peer.ip("address add 192.0.2.2/24 dev vt1");
        wait_for(&reports, &good("a"));

        // Beyond a router that says no.
        peer.ip("route add prohibit 198.51.100.0/25\nroute add unreachable 198.51.100.128/25");
        prober.watch(vec![watched("b", "vt0", &["198.51.100.1"])]);
        wait_for(&reports, &bad("b", Cause::Prohibited));
        prober.watch(vec![watched("c", "vt0", &["198.51.100.200"])]);
        wait_for(&reports, &bad("c", Cause::Unreachable));
        // One target that answers is enough.
        prober.watch(vec![watched("d", "vt0", &["198.51.100.200", "192.0.2.2"])]);
        wait_for(&reports, &good("d"));

        // Two networks of one interface: each target is asked from its own.
        ip("address add 203.0.113.1/24 dev vt0");
        peer.ip("address add 203.0.113.2/24 dev vt1\nroute add prohibit 192.0.2.1/32");
        prober.watch(vec![watched("e", "vt0", &["192.0.2.2", "203.0.113.2"])]);
        wait_for(&reports, &good("e"));
        peer.ip("route del prohibit 192.0.2.1/32");
        prober.watch(vec![watched("d", "vt0", &["192.0.2.2"])]);

        // No carrier; no interface.
        peer.ip("link set vt1 down");
        wait_for(&reports, &bad("d", Cause::NoLink));
        peer.ip("link set vt1 up");
        wait_for(&reports, &good("d"));
        ip("link del vt0");
        wait_for(&reports, &bad("d", Cause::NoLink));
    });
}

#[test]
fn netns_ipv6_alone_and_addresses_of_the_link() {
    guard::in_network!(|| {
        let_ping();
        if fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "0").is_err() {
            println!("skipped: this kernel has no IPv6");
            return;
        }
        let peer = Peer::new();
        peer.sysctl("ipv6/conf/default/disable_ipv6", "0");
        peer.link("vt0", "vt1");
        ip("address add 2001:db8::1/64 dev vt0 nodad\naddress add fe80::a/64 dev vt0 nodad");
        peer.ip("address add 2001:db8::2/64 dev vt1 nodad\naddress add fe80::b/64 dev vt1 nodad");
        let (prober, reports) = start(None);
        prober.watch(vec![
            watched("six", "vt0", &["2001:db8::2"]),
            watched("link", "vt0", &["fe80::b"]),
        ]);
        wait_for(&reports, &good("six"));
        wait_for(&reports, &good("link"));
        peer.ip("address del 2001:db8::2/64 dev vt1");
        ip("neigh flush dev vt0");
        wait_for(&reports, &bad("six", Cause::NoNeighbour));
        wait_for(&reports, &good("link"));
    });
}

/// Answers as it is told to; writes down whom it was asked for.
#[derive(Default)]
struct Root {
    answers: Mutex<Vec<IpAddr>>,
    asked: Mutex<Vec<(String, Vec<IpAddr>)>>,
}

impl Solicitor for Root {
    fn solicit(
        &self,
        device: &IfName,
        targets: &[IpAddr],
        _wait: Duration,
    ) -> Result<Vec<IpAddr>, String> {
        let asked = (device.to_string(), targets.to_vec());
        self.asked.lock().unwrap().push(asked);
        Ok(self.answers.lock().unwrap().clone())
    }
}

#[test]
fn netns_root_is_asked_where_there_is_no_address() {
    guard::in_network!(|| {
        let_ping();
        ip("link add vt0 type veth peer name vt1\nlink set vt0 up\nlink set vt1 up");
        let root = Arc::new(Root::default());
        let (prober, reports) = start(Some(Arc::clone(&root) as Arc<dyn Solicitor>));
        prober.watch(vec![watched("a", "vt0", &["192.0.2.2"])]);
        wait_for(&reports, &bad("a", Cause::NoNeighbour));
        let target: IpAddr = "192.0.2.2".parse().unwrap();
        root.answers.lock().unwrap().push(target);
        wait_for(&reports, &good("a"));
        assert_eq!(
            root.asked.lock().unwrap()[0],
            ("vt0".to_owned(), vec![target])
        );
    });
}

#[test]
fn netns_what_may_not_be_asked_is_no_sample() {
    guard::in_network!(|| {
        fs::write("/proc/sys/net/ipv4/ping_group_range", "1 0").unwrap();
        ip(
            "link add vt0 type veth peer name vt1\nlink set vt0 up\nlink set vt1 up\n\
            address add 192.0.2.1/24 dev vt0",
        );
        let (prober, reports) = start(None);
        prober.watch(vec![
            watched("a", "vt0", &["192.0.2.2"]),
            watched("b", "vt1", &["192.0.2.1"]),
        ]);
        let mut unable = std::collections::BTreeMap::new();
        let end = Instant::now() + LONG;
        while unable.len() < 2 {
            let left = end.saturating_duration_since(Instant::now());
            match reports.recv_timeout(left).unwrap() {
                Report::Unable { network, why } => drop(unable.insert(network, why)),
                other @ Report::Sample { .. } => panic!("{other:?}"),
            }
        }
        let whys: Vec<_> = unable.values().collect();
        assert!(
            whys[0].contains("ping_group_range") && whys[1].contains("root"),
            "{whys:?}"
        );
        // Root asks for what is on the link, and it is enough.
        let root = Arc::new(Root::default());
        root.answers
            .lock()
            .unwrap()
            .push("192.0.2.2".parse().unwrap());
        let (prober, reports) = start(Some(root));
        prober.watch(vec![watched("a", "vt0", &["192.0.2.2"])]);
        wait_for(&reports, &good("a"));
    });
}

/// CPU time of this process so far.
fn cpu_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .collect();
    let ticks = |place: usize| fields.get(place).unwrap().parse::<u64>().unwrap();
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

#[test]
fn netns_two_hundred_networks_take_few_sockets_and_little_time() {
    guard::in_network!(|| {
        let_ping();
        let peer = Peer::new();
        peer.link("vt0", "vt1");
        let each = |end: u8| -> String {
            let dev = end - 1;
            let lines = (0..200).map(|it| format!("address add 10.0.{it}.{end}/24 dev vt{dev}"));
            lines.collect::<Vec<_>>().join("\n")
        };
        ip(&each(1));
        peer.ip(&each(2));
        let (prober, reports) = start(None);
        let all: Vec<Watched> = (0..200)
            .map(|it| {
                let mut one = watched(&format!("n{it}"), "vt0", &[&format!("10.0.{it}.2")]);
                one.config.interval = 5;
                one
            })
            .collect();
        prober.watch(all);
        let mut first = std::collections::BTreeSet::new();
        let end = Instant::now() + LONG;
        while first.len() < 200 {
            let left = end.saturating_duration_since(Instant::now());
            // On a machine that stands still for a while there may be a bad one before.
            if let Report::Sample {
                network,
                sample: Sample::Good,
            } = reports.recv_timeout(left).unwrap()
            {
                first.insert(network);
            }
        }
        let (began, spent) = (Instant::now(), cpu_time());
        let mut open = Vec::new();
        while began.elapsed() < Duration::from_secs(10) {
            thread::sleep(Duration::from_millis(50));
            open.push(fs::read_dir("/proc/self/fd").unwrap().count());
        }
        let share = cpu_time().saturating_sub(spent).as_secs_f64() / began.elapsed().as_secs_f64();
        open.sort_unstable();
        let usual = open.get(open.len() / 2).copied().unwrap();
        println!(
            "figure: 200 networks: {:.2} % of a CPU, usually {usual} descriptors, at most {:?}",
            share * 100.0,
            open.last()
        );
        // A debug build, and the looks of this test at its descriptors.
        assert!(share < 0.2, "{share}");
        assert!(usual < 50, "{usual} descriptors");
        drop(prober);
    });
}
