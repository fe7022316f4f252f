//! The helper's side with the real client, and what it did in the test's own network. Servers and routers are in networks
//! beside it ([`Peer`]).
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests: what fails here is a failed test"
)]

use std::{path::Path, sync::Arc, time::Instant};

use exec::Process;
use net_apply::{ClientSettings, Clients, ResolvConf, dhcp::DhcpClients};
use net_model::{Current, DhcpClient, Family, IfName, Link, Rule};
use netns::{LONG, Peer, wait_for};

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
    let programs = ["ip", "nsenter", "sleep", "dnsmasq"];
    let missing = programs.iter().find(|it| exec::command::find(it).is_none());
    missing.map(|it| format!("{it} is not here"))
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

/// An address there, at once usable.
pub fn give(peer: &Peer, there: &str, address: &str) {
    let nodad = if address.contains(':') { "nodad" } else { "" };
    peer.ip(&format!("address add {address} dev {there} {nodad}"));
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
