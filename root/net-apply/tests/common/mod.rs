//! A network of its own for each test: namespaces, cards (ends of veth pairs), fakes of what is no kernel's business.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests: what fails here is a failed test; each file takes what it needs"
)]

pub(crate) mod compare;

use std::{
    collections::BTreeMap,
    fs,
    os::fd::AsFd as _,
    panic::resume_unwind,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use exec::{Child, Command};
use net_apply::{ApplyError, DhcpClients, KernelMachine, Machine, Resolver};
use net_model::{Current, DhcpClient, Family, IfName, Nameserver, Planned, Stage, Step};
use netlink::Channel;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// No test waits so long for anything.
pub(crate) const LONG: Duration = Duration::from_mins(2);

pub(crate) fn soon() -> Instant {
    Instant::now() + LONG
}

pub(crate) fn ifname(text: &str) -> IfName {
    IfName::new(text).unwrap()
}

/// DHCP clients that only remember that they run, and end with their interface.
#[derive(Default)]
pub(crate) struct FakeDhcp(Mutex<BTreeMap<IfName, Vec<DhcpClient>>>);

impl DhcpClients for FakeDhcp {
    fn running(&self) -> BTreeMap<IfName, Vec<DhcpClient>> {
        let channel = Channel::open(LONG).unwrap();
        let mut all = self.0.lock().unwrap();
        all.retain(|link, clients| {
            !clients.is_empty() && channel.index_of(link.as_str()).is_some()
        });
        all.clone()
    }

    fn start(&self, link: &IfName, client: &DhcpClient, _: Instant) -> Result<(), ApplyError> {
        let mut all = self.0.lock().unwrap();
        let clients = all.entry(link.clone()).or_default();
        clients.retain(|it| it.family != client.family);
        clients.push(client.clone());
        clients.sort_by_key(|it| it.family);
        Ok(())
    }

    fn stop(&self, link: &IfName, family: Family, _: Instant) -> Result<(), ApplyError> {
        if let Some(clients) = self.0.lock().unwrap().get_mut(link) {
            clients.retain(|it| it.family != family);
        }
        Ok(())
    }
}

/// Name servers, remembered.
#[derive(Default)]
pub(crate) struct FakeResolver(Mutex<Vec<Nameserver>>);

impl Resolver for FakeResolver {
    fn set(&self, servers: &[Nameserver], _: Instant) -> Result<(), ApplyError> {
        *self.0.lock().unwrap() = servers.to_vec();
        Ok(())
    }
}

/// The kernel of the thread's namespace, with fakes of the rest.
pub(crate) struct Host {
    pub(crate) machine: KernelMachine,
    resolver: Arc<FakeResolver>,
}

impl Host {
    pub(crate) fn new() -> Self {
        Self::with(Arc::new(FakeDhcp::default()))
    }

    pub(crate) fn with(dhcp: Arc<dyn DhcpClients>) -> Self {
        let resolver = Arc::new(FakeResolver::default());
        let nics = vec!["veth".to_owned()];
        let machine = KernelMachine::new(nics, dhcp, Arc::clone(&resolver) as Arc<dyn Resolver>);
        Self { machine, resolver }
    }

    pub(crate) fn current(&self) -> Current {
        let mut current = self.machine.current(soon()).unwrap();
        let servers = self.resolver.0.lock().unwrap();
        current.nameservers.clone_from(&servers);
        current
    }

    pub(crate) fn set_nameservers(&self, servers: &[Nameserver]) {
        self.resolver.set(servers, soon()).unwrap();
    }

    /// Runs single steps, one after the other.
    pub(crate) fn steps(&self, steps: &[Step]) -> Result<(), net_apply::Halted> {
        let planned: Vec<Planned> = steps.iter().cloned().map(plain).collect();
        self.machine.run(&planned, soon())
    }
}

pub(crate) fn plain(step: Step) -> Planned {
    Planned {
        step,
        undo: Vec::new(),
        stage: Stage::Links,
        network: None,
    }
}

/// Another network: that of a process that sleeps.
pub(crate) struct Other(Child);

impl Other {
    pub(crate) fn new() -> Self {
        let sleep = Command::new("sleep").arg("3600").private_network();
        Self(sleep.die_with_parent().spawn().unwrap())
    }

    pub(crate) fn pid(&self) -> i32 {
        self.0.pid()
    }

    /// A program in it.
    pub(crate) fn command(&self, program: &str) -> Command {
        let pid = self.pid().to_string();
        Command::new("nsenter").args(["-t", &pid, "-n", "--", program])
    }

    pub(crate) fn ip(&self, lines: &str) {
        batch(self.command("ip"), lines);
    }

    /// As [`Other::ip`], where the family cannot be told from the words.
    pub(crate) fn ip6(&self, lines: &str) {
        batch(self.command("ip").arg("-6"), lines);
    }

    /// Does something in it, on a thread of its own: the thread moves, the process stays.
    pub(crate) fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let namespace = fs::File::open(format!("/proc/{}/ns/net", self.pid())).unwrap();
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let network = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(namespace.as_fd(), network).unwrap();
                act()
            });
            inside.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.0.end(Duration::from_secs(1));
    }
}

/// Lines for `ip -batch`.
pub(crate) fn ip(lines: &str) {
    batch(Command::new("ip"), lines);
}

fn batch(ip: Command, lines: &str) {
    let output = ip.args(["-batch", "-"]).stdin(lines).timeout(LONG).run();
    let output = output.unwrap();
    assert!(output.exit.success(), "{lines}\n{}", output.stderr_text());
}

/// Does the kernel (with its modules) make such a link?
pub(crate) fn can_make(kind: &str) -> bool {
    // A VLAN on the loopback is refused for another reason than a kind that nobody knows.
    let base: &[&str] = if kind == "vlan" {
        &[
            "link", "add", "link", "lo", "name", "probe0", "type", "vlan", "id", "9",
        ]
    } else {
        &["link", "add", "probe0", "type", kind]
    };
    let made = Command::new("ip").args(base);
    let output = made.timeout(LONG).run().unwrap();
    let unknown = output.stderr_text().contains("Unknown device type");
    if output.exit.success() {
        ip("link del probe0");
    }
    !unknown
}

/// Writes what new interfaces begin with: the model's defaults, whatever the machine's are.
pub(crate) fn kernel_defaults() {
    for (name, value) in [
        ("disable_ipv6", "0"),
        ("autoconf", "1"),
        ("accept_ra", "1"),
        ("accept_ra_defrtr", "1"),
    ] {
        fs::write(format!("/proc/sys/net/ipv6/conf/default/{name}"), value).unwrap();
    }
}

/// Waits until it is so.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = soon();
    while !is_so() {
        assert!(Instant::now() < until, "never: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Does the kernel shape by HFSC, and classify VLANs?
pub(crate) fn shapes() -> bool {
    ip("link add probe0 type veth peer name probe1");
    let hfsc = [
        "qdisc", "add", "dev", "probe0", "root", "handle", "1:", "hfsc", "default", "1",
    ];
    let fair = ["qdisc", "add", "dev", "probe1", "root", "fq_codel"];
    let basic = [
        "filter",
        "add",
        "dev",
        "probe0",
        "parent",
        "1:",
        "protocol",
        "all",
        "pref",
        "1",
        "basic",
        "match",
        "meta(vlan eq 1)",
        "flowid",
        "1:1",
    ];
    let mut all = [&hfsc[..], &fair, &basic].into_iter();
    let able = all.all(|words| {
        let output = Command::new("tc").args(words).timeout(LONG).run();
        output.is_ok_and(|it| it.exit.success())
    });
    ip("link del probe0");
    able
}
