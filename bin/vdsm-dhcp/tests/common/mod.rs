//! A network of the test's own, and real servers and routers (dnsmasq) in networks beside it.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests: what fails here is a failed test"
)]

use std::{
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use exec::{Child, Command, Process, Stdio};
use net_apply::{ClientSettings, Clients, ResolvConf, dhcp::DhcpClients};
use net_model::{Current, DhcpClient, Family, IfName, Link, Rule};

/// A bound for what hangs, not a measure: the machine may be busy.
pub const LONG: Duration = Duration::from_mins(3);

/// A table of a network's own.
pub const TABLE: u32 = 100_001;

/// Why this machine cannot run it, if so.
pub fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root".to_owned());
    }
    if !Path::new("/proc/sys/net/ipv6").exists() {
        return Some("the kernel does no IPv6".to_owned());
    }
    let programs = ["ip", "unshare", "nsenter", "sleep", "dnsmasq"];
    let missing = programs.iter().find(|it| exec::command::find(it).is_none());
    missing.map(|it| format!("{it} is not here"))
}

/// Where a program is: `nsenter` looks in fewer places.
fn found(program: &str) -> String {
    exec::command::find(program).unwrap().display().to_string()
}

/// Says so and returns where this machine cannot run it.
#[macro_export]
macro_rules! need {
    () => {
        if let Some(why) = common::missing() {
            println!("skipped: {why}");
            return;
        }
    };
}

pub fn name(text: &str) -> IfName {
    IfName::new(text).unwrap()
}

/// Runs it to its end, which must be good.
pub fn run(line: &str) -> String {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let (program, args) = words.split_first().unwrap();
    let output = Command::new(program).args(args).run().unwrap();
    let output = output
        .check()
        .unwrap_or_else(|error| panic!("{line}: {error}"));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Waits for a condition; says what was waited for if it does not come.
pub fn wait_for<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    wait_or(what, String::new, condition)
}

/// As [`wait_for`], and says more then.
pub fn wait_or<T>(
    what: &str,
    more: impl Fn() -> String,
    mut condition: impl FnMut() -> Option<T>,
) -> T {
    let until = Instant::now() + LONG;
    loop {
        if let Some(it) = condition() {
            return it;
        }
        let left = until > Instant::now();
        assert!(left, "{what}: not within {LONG:?}; {}", more());
        thread::sleep(Duration::from_millis(50));
    }
}

/// Another network, held by a process that sleeps.
pub struct Peer {
    child: Child,
    servers: Vec<Child>,
}

impl Peer {
    pub fn new() -> Self {
        let command = Command::new("unshare").args(["--net", "sleep", "3600"]);
        let child = command
            .stdout_to(Stdio::Null)
            .stderr_to(Stdio::Null)
            .spawn()
            .unwrap();
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        let path = format!("/proc/{}/ns/net", child.pid());
        wait_for("a network", || {
            std::fs::read_link(&path).ok().filter(|it| *it != own)
        });
        let servers = Vec::new();
        let peer = Self { child, servers };
        peer.run("ip link set lo up");
        peer
    }

    pub fn run(&self, line: &str) -> String {
        let (program, args) = line.split_once(' ').unwrap();
        let program = found(program);
        run(&format!(
            "nsenter -n -t {} {program} {args}",
            self.child.pid()
        ))
    }

    /// A cable: `here` in this network, `there` in that, both up.
    pub fn cable(&self, here: &str, there: &str) {
        run(&format!("ip link add {here} type veth peer name {there}"));
        run(&format!("ip link set {there} netns {}", self.child.pid()));
        run(&format!("ip link set {here} up"));
        self.run(&format!("ip link set {there} up"));
    }

    /// An address there, at once usable.
    pub fn address(&self, there: &str, address: &str) {
        let nodad = if address.contains(':') { "nodad" } else { "" };
        self.run(&format!("ip address add {address} dev {there} {nodad}"));
    }

    /// A server that listens there; answers its place in the list.
    pub fn dnsmasq(&mut self, folder: &Path, there: &str, args: &[&str]) -> usize {
        let leases = folder.join(format!("leases-{there}"));
        let command = Command::new("nsenter")
            .args(["-n", "-t", &self.child.pid().to_string(), &found("dnsmasq")])
            .args(["--keep-in-foreground", "--conf-file=/dev/null", "--port=0"])
            .args([
                "--no-resolv",
                "--no-hosts",
                "--no-ping",
                "--bind-interfaces",
            ])
            .args([
                "--user=root",
                "--pid-file=",
                "--log-facility=-",
                "--log-dhcp",
            ])
            .arg(format!("--interface={there}"))
            .arg(format!("--dhcp-leasefile={}", leases.display()))
            .arg("--except-interface=lo")
            .args(args);
        let log = std::fs::File::create(folder.join(format!("dnsmasq-{there}"))).unwrap();
        let child = command
            .stdout_to(Stdio::Null)
            .stderr_to(Stdio::File(log.into()))
            .spawn()
            .unwrap();
        self.servers.push(child);
        self.servers.len() - 1
    }

    pub fn end_server(&mut self, which: usize) {
        self.servers[which].end(Duration::from_secs(2));
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        for server in &mut self.servers {
            server.end(Duration::from_secs(2));
        }
        self.child.end(Duration::ZERO);
    }
}

/// The helper's side, with the real client.
pub struct Host {
    pub folder: tempfile::TempDir,
    pub clients: Arc<Clients>,
}

impl Host {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clients = Arc::new(Clients::open(settings(folder.path())).unwrap());
        Self { folder, clients }
    }

    /// As after a restart of the helper.
    pub fn again(&mut self) {
        self.clients = Arc::new(Clients::open(settings(self.folder.path())).unwrap());
    }

    pub fn start(&self, link: &str, client: &DhcpClient) {
        let until = Instant::now() + LONG;
        let started = self.clients.start(&name(link), client, until);
        started.unwrap_or_else(|error| panic!("{error}"));
    }

    pub fn stop(&self, link: &str, family: Family) {
        let until = Instant::now() + LONG;
        let stopped = self.clients.stop(&name(link), family, until);
        stopped.unwrap_or_else(|error| panic!("{error}"));
    }

    pub fn resolv(&self) -> ResolvConf {
        settings(self.folder.path()).resolv
    }

    /// What clients wrote.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The client's process, once it has said who it is.
    pub fn process(&self, link: &str, family: &str) -> Process {
        let path = self
            .folder
            .path()
            .join(format!("dhcp/{link}.{family}.process"));
        wait_for("a client", || {
            let text = std::fs::read_to_string(&path).ok()?;
            let digits: String = text
                .split_once("\"pid\":")?
                .1
                .chars()
                .take_while(char::is_ascii_digit)
                .collect();
            Process::find(digits.parse().ok()?).filter(Process::is_alive)
        })
    }

    /// A dead client's lease is over in three seconds.
    pub fn soon_over(&self, client: &str) {
        let path = self.folder.path().join(format!("dhcp/{client}.brought"));
        let text = std::fs::read_to_string(&path).unwrap();
        let (head, end) = text.rsplit_once("\"until\":").unwrap();
        assert!(end.starts_with(|it: char| it.is_ascii_digit()), "{text}");
        let soon = observe::clock::monotonic().as_secs() + 3;
        std::fs::write(&path, format!("{head}\"until\":{soon}}}")).unwrap();
    }

    /// Ends all that still runs, and collects it.
    pub fn end(&self) {
        for (link, clients) in self.clients.running() {
            for client in clients {
                self.stop(link.as_str(), client.family);
            }
        }
        reap();
    }
}

/// Those who started them are gone: they are this process's to collect.
pub fn reap() {
    use rustix::process::{WaitOptions, wait};
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
}

fn settings(folder: &Path) -> ClientSettings {
    ClientSettings {
        folder: folder.join("dhcp"),
        program: env!("CARGO_BIN_EXE_vdsm-dhcp").into(),
        log: folder.join("log"),
        resolv: ResolvConf::at(folder.join("resolv.conf")),
    }
}

pub fn client(family: Family, table: u32, dns: bool) -> DhcpClient {
    DhcpClient {
        family,
        table,
        dns,
        stateless: false,
    }
}

pub fn network() -> Current {
    observe::network::network(LONG, &["veth"]).unwrap().0
}

pub fn link(which: &str) -> Link {
    network().links[&name(which)].clone()
}

/// Its passing addresses of a family, as text.
pub fn passing(which: &str, family: Family) -> Vec<String> {
    let link = link(which);
    let all = link.addresses.iter();
    all.filter(|it| it.dynamic && it.cidr.family() == family && !it.is_link_local())
        .map(|it| it.cidr.to_string())
        .collect()
}

/// Our rules, as text.
pub fn rules() -> Vec<String> {
    let ours = |it: &&Rule| it.protocol == net_model::OUR_PROTOCOL;
    let mut all: Vec<String> = network()
        .rules
        .iter()
        .filter(ours)
        .map(ToString::to_string)
        .collect();
    all.sort();
    all
}

/// Our routes over an interface, as text.
pub fn routes(which: &str) -> Vec<String> {
    let network = network();
    let link = name(which);
    let ours = network
        .routes_of(&link)
        .filter(|it| it.protocol == net_model::OUR_PROTOCOL);
    let mut all: Vec<String> = ours.map(ToString::to_string).collect();
    all.sort();
    all
}
