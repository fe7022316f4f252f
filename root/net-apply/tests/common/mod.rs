//! The executor over the kernel of the thread's network, with fakes of what is no kernel's business.
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
    sync::{Arc, Mutex},
    time::Instant,
};

use exec::Command;
use net_apply::{ApplyError, DhcpClients, KernelMachine, Machine, Resolver};
use net_model::{Current, DhcpClient, Family, IfName, Nameserver, Planned, Stage, Step};
use netlink::Channel;
use netns::{LONG, ip};

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
