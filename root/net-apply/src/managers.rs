//! Other managers of the host's network, told which interfaces are ours: NetworkManager and systemd-networkd.
//!
//! Ours are set up by the kernel's own means, NetworkManager or not; where it runs it has to leave them alone. The other
//! way, its profiles, would make it a second keeper of what the configuration says, and another way of doing each step:
//! this one is the same with and without it. So DHCP, too, is always by clients of our own.
//!
//! How it is told, and why so (seen with NetworkManager 1.42):
//!
//! 1. a file in its `conf.d`, for its next start: `unmanaged-devices+=`, no profiles made up for spare interfaces, and,
//!    if a network of ours has the default route, no writing of resolv.conf;
//! 2. `Device.Managed = false` for each over D-Bus: it lets go at once and leaves addresses and routes where they are
//!    (what goes all the same is put back);
//! 3. `Reload(CONF)`: what it knows is what the file says. Not before 2: for an interface that it still manages it then
//!    removes the addresses.
//!
//! Back: without it in the file, reload, `Managed = true`. systemd-networkd is told by a `.network` file alone, which
//! it reads when it next starts: until then it does nothing to an interface that is set up.
//!
//! Where neither is, nothing is written and nobody is asked.
//!
//! Look next: `managers/network_manager.rs`.

mod network_manager;

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use net_model::{Config, Current, IfName, Planned, Step};

use crate::{ApplyError, Halted, Machine, dhcp};

/// Beneath the root of the host.
const NETWORK_MANAGER: &str = "etc/NetworkManager";
const OURS_THERE: &str = "etc/NetworkManager/conf.d/vdsm-rs.conf";
/// There since networkd first ran.
const NETWORKD_RUNS: &str = "run/systemd/netif";
const OURS_AT_NETWORKD: &str = "etc/systemd/network/00-vdsm-rs.network";
/// The kernel's answers.
const KERNEL: Duration = Duration::from_secs(20);

/// What is ours, for others to leave alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// Interfaces.
    pub devices: BTreeSet<IfName>,
    /// Are the host's name servers ours to write? So if a network of ours has the default route.
    pub nameservers: bool,
}

impl Held {
    /// All interfaces of these networks and bonds.
    pub fn of(configs: &[&Config]) -> Self {
        let mut held = Self::default();
        for config in configs {
            for (name, bond) in &config.bonds {
                held.devices.insert(name.clone());
                held.devices.extend(bond.slaves.iter().cloned());
            }
            for (name, network) in &config.networks {
                let base = network.base.as_ref().map(|it| it.device().clone());
                let made = [network.port(), network.top(name).map(Some)];
                let made = made.into_iter().filter_map(Result::ok).flatten();
                held.devices.extend(base.into_iter().chain(made));
                held.nameservers |= network.default_route;
            }
        }
        held
    }
}

/// A machine whose other managers are told.
pub struct Managed<M> {
    machine: M,
    managers: Managers,
}

impl<M: Machine> Managed<M> {
    /// This one, and those.
    pub fn new(machine: M, managers: Managers) -> Self {
        Self { machine, managers }
    }
}

impl<M: Machine> Machine for Managed<M> {
    fn current(&self, until: Instant) -> Result<Current, ApplyError> {
        self.machine.current(until)
    }

    fn run(&self, steps: &[Planned], until: Instant) -> Result<(), Halted> {
        self.machine.run(steps, until)
    }

    fn own(&self, held: &Held, until: Instant) -> Result<bool, ApplyError> {
        self.managers.hold(held, until)
    }

    fn undo(&self, steps: &[Step], until: Instant) -> Vec<ApplyError> {
        self.machine.undo(steps, until)
    }
}

/// The other managers of this host.
#[derive(Debug)]
pub struct Managers {
    root: PathBuf,
    /// One change at a time.
    turn: Mutex<()>,
}

impl Default for Managers {
    fn default() -> Self {
        Self::beneath("/")
    }
}

impl Managers {
    /// With the configuration of a host whose root is this folder; the system bus is the machine's.
    pub fn beneath(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            turn: Mutex::default(),
        }
    }

    /// Exactly these are ours from now on: others are told, and what was ours is given back. Idempotent: after a crash
    /// the next call does what is left. Bounded by `until`, also if a manager hangs.
    ///
    /// True if one let go of an interface just now.
    ///
    /// # Errors
    /// A file cannot be written, or a manager that runs does not do as it is told: nothing should be changed then.
    pub fn hold(&self, held: &Held, until: Instant) -> Result<bool, ApplyError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let nm = self.root.join(NETWORK_MANAGER).is_dir();
        let path = self.root.join(OURS_THERE);
        let before = read(&path).map_err(|error| failed("NetworkManager", &error))?;
        let given_back: Vec<IfName> = devices(&before)
            .into_iter()
            .filter(|it| !held.devices.contains(it))
            .collect();
        if nm {
            put(&path, &network_manager_file(held)).map_err(|it| failed("NetworkManager", &it))?;
        }
        let mut let_go = false;
        if nm && (!held.devices.is_empty() || !given_back.is_empty()) {
            let_go = tell(held, &given_back, until)?;
        }
        if self.root.join(NETWORKD_RUNS).is_dir() {
            let path = self.root.join(OURS_AT_NETWORKD);
            put(&path, &networkd_file(held)).map_err(|it| failed("systemd-networkd", &it))?;
        }
        Ok(let_go)
    }
}

/// Tells the one that runs, and looks after what it may take along.
fn tell(held: &Held, given_back: &[IfName], until: Instant) -> Result<bool, ApplyError> {
    let take: Vec<IfName> = held.devices.iter().cloned().collect();
    let current = || observe::network::network(KERNEL, &[]).map(|it| it.0);
    let before = current().map_err(|it| failed("NetworkManager", &it))?;
    let told = network_manager::tell(&take, given_back, until);
    let let_go = told.map_err(|why| ApplyError::Manager {
        manager: "NetworkManager",
        why,
    })?;
    if let_go.is_empty() {
        return Ok(false);
    }
    let after = current().map_err(|it| failed("NetworkManager", &it))?;
    for link in &let_go {
        dhcp::put_back(link, &before, &after);
    }
    Ok(true)
}

fn failed(manager: &'static str, error: &dyn std::error::Error) -> ApplyError {
    ApplyError::Manager {
        manager,
        why: error.to_string(),
    }
}

const HEAD: &str = "# Written by vdsm: its interfaces. Changes are lost.\n";
const UNMANAGED: &str = "unmanaged-devices+=";
const SPEC: &str = "interface-name:=";

/// NetworkManager.conf(5). `+=` adds to what the administrator says elsewhere; `=` behind the colon: no wildcards.
fn network_manager_file(held: &Held) -> String {
    if held.devices.is_empty() {
        return String::new();
    }
    let nameservers = if held.nameservers {
        "dns=none\nrc-manager=unmanaged\n"
    } else {
        ""
    };
    let devices = held.devices.iter();
    let devices: Vec<String> = devices.map(|it| format!("{SPEC}{it};")).collect();
    let devices = devices.concat();
    format!("{HEAD}[main]\nno-auto-default=*\n{nameservers}\n[keyfile]\n{UNMANAGED}{devices}\n")
}

/// systemd.network(5).
fn networkd_file(held: &Held) -> String {
    if held.devices.is_empty() {
        return String::new();
    }
    let names: Vec<&str> = held.devices.iter().map(IfName::as_str).collect();
    let names = names.join(" ");
    format!("{HEAD}[Match]\nName={names}\n\n[Link]\nUnmanaged=yes\n")
}

/// The interfaces that a file of ours for NetworkManager names.
fn devices(text: &str) -> BTreeSet<IfName> {
    let lines = text.lines().filter_map(|it| it.strip_prefix(UNMANAGED));
    lines
        .flat_map(|line| line.split(';'))
        .filter_map(|it| IfName::new(it.strip_prefix(SPEC)?).ok())
        .collect()
}

fn read(path: &Path) -> io::Result<String> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
    }
}

/// This text, or no file if there is none.
fn put(path: &Path, text: &str) -> io::Result<()> {
    if text.is_empty() {
        return persist::remove_durably(path).map(|_| ()).or_else(|error| {
            // Nor is there a folder.
            match error.kind() {
                io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            }
        });
    }
    if read(path)? == text {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    persist::write_atomic(path, text.as_bytes(), 0o644)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn held(names: &[&str], nameservers: bool) -> Held {
        let devices = names.iter().map(|it| IfName::new(it).expect("a name"));
        Held {
            devices: devices.collect(),
            nameservers,
        }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_mins(1)
    }

    #[test]
    fn where_nobody_is_nothing_is_written() {
        let root = tempfile::tempdir().expect("a folder");
        let managers = Managers::beneath(root.path());
        managers
            .hold(&held(&["eth1"], true), soon())
            .expect("nobody to tell");
        assert_eq!(fs::read_dir(root.path()).expect("it").count(), 0);
    }

    #[test]
    fn networkd_reads_a_file() {
        let root = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(root.path().join(NETWORKD_RUNS)).expect("a folder");
        let managers = Managers::beneath(root.path());
        managers
            .hold(&held(&["eth1", "ovirtmgmt"], true), soon())
            .expect("told");
        let path = root.path().join(OURS_AT_NETWORKD);
        let text = fs::read_to_string(&path).expect("a file");
        assert!(text.ends_with("[Match]\nName=eth1 ovirtmgmt\n\n[Link]\nUnmanaged=yes\n"));
        managers.hold(&Held::default(), soon()).expect("given back");
        assert!(!path.exists());
    }

    #[test]
    fn networkmanagers_file_says_what_is_ours() {
        let text = network_manager_file(&held(&["eth1", "bond0.7"], false));
        assert!(
            text.contains("unmanaged-devices+=interface-name:=bond0.7;interface-name:=eth1;\n")
        );
        assert!(text.contains("no-auto-default=*\n") && !text.contains("rc-manager"));
        assert_eq!(devices(&text), held(&["eth1", "bond0.7"], false).devices);
        let text = network_manager_file(&held(&["eth1"], true));
        assert!(text.contains("rc-manager=unmanaged\n"));
        assert_eq!(network_manager_file(&Held::default()), "");
    }

    proptest! {
        #[test]
        fn any_file_is_survived(text in "(unmanaged-devices\\+=)?\\PC{0,60}") {
            let _ = devices(&text);
        }
    }
}
