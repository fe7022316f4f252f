//! Changes of networks by the helper as a process, in a network of its own: made, confirmed, undone by whoever dies. Needs root.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on ends, with the log of what it looked at"
)]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use exec::{Child, Command, Stdio};
use net_model::{
    Base, BridgeConfig, Config, Current, Desired, IfName, LinkKind, NetName, Network, Scope,
};
use netns::{LONG, ip, wait_or};
use observe::netconf::Netconfs;
use privileged::{
    Client, ClientError, Millis, NetworkChange, NetworkOutcome, NetworkRestore, NetworkRollback,
    NetworkSet, Recovered, Refusal,
};
use rustix::process::{Pid, Signal, kill_process};

/// Networks of a change that takes its time.
const MANY: usize = 120;
const ASKER: &str = "VDSM_ASKER_OF_NETWORKS";

fn name(text: &str) -> IfName {
    IfName::new(text).unwrap()
}

fn net(text: &str) -> NetName {
    NetName::new(text).unwrap()
}

/// The helper, its files, and a client.
struct Host {
    dir: tempfile::TempDir,
    child: Option<Child>,
}

impl Host {
    fn start(options: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path).display().to_string();
        let text = format!(
            "[vars]\nlog_target = stderr\nfake_nics = veth_*\n[supervdsm]\nclient_user = 0\nowner_vdsm = 0:0\nowner_qemu = 0:0\n\
             socket = {}\nnetconf_running = {}\nnetconf_persistent = {}\nnetwork_state = {}\n\
             networks_restored = {}\nnetwork_managers = false\ndhcp_dir = {}\nresolv_conf = {}\n{options}",
            at("sock"),
            at("staging/netconf"),
            at("persistence/netconf"),
            at("state"),
            at("nets_restored"),
            at("dhcp"),
            at("resolv.conf"),
        );
        fs::write(dir.path().join("conf"), text).unwrap();
        let mut host = Self { dir, child: None };
        host.restart();
        host
    }

    fn restart(&mut self) {
        let log = self.dir.path().join("log");
        let helper = Command::new(env!("CARGO_BIN_EXE_supervdsmd"))
            .arg("--config")
            .arg(self.dir.path().join("conf"))
            .stderr_to(file(&log))
            // As its unit has it.
            .umask(0o077)
            .die_with_parent();
        self.child = Some(helper.spawn().unwrap());
        self.eventually("serves", |host| host.client().ping().is_ok());
    }

    fn client(&self) -> Client {
        Client::new(self.socket(), LONG)
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("sock")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    #[track_caller]
    fn eventually(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        wait_or(what, || self.log(), || is_so(self).then_some(()));
    }

    /// Ends the helper; true if it ended well.
    fn end(&mut self, signal: Signal) -> bool {
        let mut child = self.child.take().unwrap();
        let pid = Pid::from_raw(child.pid()).unwrap();
        kill_process(pid, signal).unwrap();
        child.wait(LONG).is_some_and(exec::Exit::success)
    }

    fn running(&self) -> Config {
        let netconfs = Netconfs {
            running: self.dir.path().join("staging/netconf"),
            persistent: PathBuf::new(),
        };
        let found = observe::netconf::read(&netconfs.running).unwrap();
        assert!(found.problems.is_empty(), "{:?}", found.problems);
        found.netconf.config().0
    }

    fn change(&self, after: &Config) -> NetworkChange {
        NetworkChange {
            desired: Desired {
                before: self.running(),
                after: after.clone(),
                scope: Scope::All,
            },
            persist: true,
            deadline_ms: Millis::of(LONG),
            confirm_within_ms: None,
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.end(Duration::from_secs(20));
        }
        if thread::panicking() {
            println!("the helper's log:\n{}", self.log());
        }
    }
}

fn file(path: &Path) -> Stdio {
    let mut options = fs::File::options();
    let file = options.create(true).append(true).open(path).unwrap();
    Stdio::File(file.into())
}

/// Cards: ends of veth pairs whose other ends are up.
fn cards(count: usize) {
    for it in 0..count {
        ip(&format!(
            "link add veth_{it} type veth peer name peer_{it}\nlink set peer_{it} up\nlink set veth_{it} up\n"
        ));
    }
}

fn current() -> Current {
    let (mut current, _) = observe::network::network(LONG, &[]).unwrap();
    current.count_as_nics(&["veth_*".to_owned()]);
    current
}

fn bridged(base: usize, address: &str) -> Network {
    let mut network = Network {
        base: Some(Base::Nic(name(&format!("veth_{base}")))),
        bridge: Some(BridgeConfig::default()),
        ..Network::default()
    };
    network.ipv4.addresses.push(address.parse().unwrap());
    network
}

/// One with a gateway, so that it has a table and rules.
fn one() -> Config {
    let mut config = Config::default();
    let mut network = bridged(0, "192.0.2.2/24");
    network.ipv4.gateway = Some("192.0.2.1".parse().unwrap());
    network.default_route = true;
    config.networks.insert(net("ovirtmgmt"), network);
    config
}

fn many() -> Config {
    let mut config = one();
    for number in 0..MANY {
        let mut network = bridged(0, &format!("10.9.{number}.1/24"));
        network.base = None;
        config.networks.insert(net(&format!("n{number}")), network);
    }
    config
}

/// Links, routes and rules of a state, as far as they do not come by themselves.
fn shape(current: &Current) -> BTreeMap<String, String> {
    let mut shape = BTreeMap::new();
    for (name, link) in &current.links {
        let addresses = link.addresses.iter().filter(|it| !it.is_link_local());
        let addresses: Vec<String> = addresses.map(|it| it.cidr.to_string()).collect();
        let word = format!("{:?} {} {} {addresses:?}", link.master, link.mtu, link.up);
        shape.insert(name.to_string(), word);
    }
    let routes: Vec<String> = current.routes.iter().map(ToString::to_string).collect();
    let rules: Vec<String> = current.rules.iter().map(ToString::to_string).collect();
    shape.insert("routes".to_owned(), format!("{routes:?} {rules:?}"));
    shape
}

fn has_bridge(name: &str) -> bool {
    let current = current();
    let link = current.links.get(name);
    link.is_some_and(|it| matches!(it.kind, LinkKind::Bridge(_)))
}

fn refusal(error: ClientError) -> Refusal {
    match error {
        ClientError::Refused { source, .. } => source,
        other => panic!("{other:?}"),
    }
}

#[test]
fn netns_a_confirmed_change_lasts_and_comes_back() {
    guard::in_network!(|| {
        cards(2);
        let mut host = Host::start("");
        let pid = host.child.as_ref().unwrap().pid();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        // Those for files (0, 1, 3), CAP_NET_BIND_SERVICE 10, CAP_NET_ADMIN 12, CAP_NET_RAW 13.
        for set in ["CapEff", "CapPrm", "CapBnd"] {
            let line = format!("{set}:\t000000000000340b");
            assert!(status.contains(&line), "{set}: {status}");
        }
        let before = shape(&current());
        let plan = host
            .client()
            .network_plan(host.change(&one()).desired)
            .unwrap();
        assert!(plan.to_string().contains("bridge ovirtmgmt"), "{plan}");
        assert_eq!(shape(&current()), before, "a plan changes nothing");
        let pending = host.client().network_change(host.change(&one())).unwrap();
        assert_eq!(pending.steps().len(), plan.steps.len());
        assert!(has_bridge("ovirtmgmt"));
        let stored = pending.confirm().unwrap();
        assert_eq!((stored.running, stored.persistent), (Some(1), Some(1)));
        assert_eq!(host.running(), one());
        for path in ["staging", "staging/netconf", "persistence/netconf/nets"] {
            let found = fs::metadata(host.dir.path().join(path)).unwrap();
            assert_eq!(found.permissions().mode() & 0o777, 0o755, "{path}");
        }
        let state = host.client().network_state().unwrap();
        assert!(state.tables.get(&net("ovirtmgmt")).is_some() && state.pending.is_none());
        // The helper may come and go.
        assert!(host.end(Signal::TERM));
        host.restart();
        let nothing = host.client().network_change(host.change(&one())).unwrap();
        assert!(nothing.steps().is_empty(), "{:?}", nothing.steps());
        nothing.undo().unwrap();
        assert!(has_bridge("ovirtmgmt"));
        // All gone, and back from the files.
        ip("link del ovirtmgmt");
        let restore = NetworkRestore {
            force: false,
            deadline_ms: Millis::of(LONG),
        };
        let restored = host.client().network_restore(restore).unwrap();
        let outcome = &restored.networks[&net("ovirtmgmt")];
        assert!(
            restored.is_whole() && matches!(outcome, NetworkOutcome::Restored { .. }),
            "{restored:?}"
        );
        assert!(has_bridge("ovirtmgmt"));
        assert!(host.client().network_restore(restore).unwrap().already);
        // And to nothing again, by way of a rollback.
        let empty = host
            .client()
            .network_change(host.change(&Config::default()));
        empty.unwrap().confirm().unwrap();
        assert_eq!(shape(&current()), before);
        let rollback = NetworkRollback {
            set: NetworkSet::Persistent,
            back: 1,
            deadline_ms: Millis::of(LONG),
            confirm_within_ms: None,
        };
        host.client()
            .network_rollback(rollback)
            .unwrap()
            .confirm()
            .unwrap();
        assert!(has_bridge("ovirtmgmt"));
        assert_eq!(host.running(), one());
        let log = host.log();
        for words in [
            "network_change",
            "outcome=\"pending\"",
            "network_rollback",
            "network_restore",
        ] {
            assert!(log.contains(words), "{words}: {log}");
        }
    });
}

#[test]
fn netns_who_does_not_confirm_changes_nothing() {
    guard::in_network!(|| {
        cards(2);
        let mut host = Host::start("");
        let before = shape(&current());
        let gone = |host: &Host, what: &str| {
            host.eventually(what, |host| {
                host.client().network_state().unwrap().pending.is_none()
            });
            assert_eq!(shape(&current()), before, "{what}");
            assert_eq!(host.running(), Config::default(), "{what}");
        };
        let pending = host.client().network_change(host.change(&one())).unwrap();
        let busy = refusal(
            host.client()
                .network_change(host.change(&one()))
                .unwrap_err(),
        );
        assert!(matches!(busy, Refusal::NetworkBusy { .. }), "{busy:?}");
        let busy = refusal(host.client().network_persist().unwrap_err());
        assert!(matches!(busy, Refusal::NetworkBusy { .. }), "{busy:?}");
        drop(pending);
        gone(&host, "the connection ended");
        let pending = host.client().network_change(host.change(&one())).unwrap();
        pending.undo().unwrap();
        gone(&host, "given up");
        let late = NetworkChange {
            confirm_within_ms: Some(Millis::of(Duration::from_millis(200))),
            ..host.change(&one())
        };
        let pending = host.client().network_change(late).unwrap();
        host.eventually("late", |host| {
            host.client().network_state().unwrap().pending.is_none()
        });
        let error = refusal(pending.confirm().unwrap_err());
        assert!(
            matches!(error, Refusal::Network { code: 10, .. }),
            "{error:?}"
        );
        gone(&host, "the time has passed");
        let pending = host.client().network_change(host.change(&one())).unwrap();
        assert!(host.end(Signal::TERM), "{}", host.log());
        refusal(pending.confirm().unwrap_err());
        assert_eq!(shape(&current()), before, "the helper ended");
        host.restart();
        gone(&host, "the helper is back");
    });
}

/// Not a test by itself: the asker that is killed.
#[test]
fn asker() {
    let Ok(dir) = std::env::var(ASKER) else {
        return;
    };
    let dir = Path::new(&dir);
    let change = fs::read(dir.join("change")).unwrap();
    let change: NetworkChange = privileged::decode(&change).unwrap();
    let pending = Client::new(dir.join("sock"), LONG).network_change(change);
    fs::write(dir.join("made"), "").unwrap();
    thread::sleep(LONG);
    drop(pending);
}

#[test]
fn netns_an_asker_that_is_killed_changes_nothing() {
    guard::in_network!(|| {
        cards(1);
        let host = Host::start("");
        let before = shape(&current());
        let change = privileged::encode(&host.change(&many()));
        fs::write(host.dir.path().join("change"), change).unwrap();
        for early in [false, true] {
            let asker = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "asker", "--nocapture"])
                .env(ASKER, host.dir.path())
                .stderr_to(file(&host.dir.path().join("asker")));
            let asker = asker.die_with_parent().spawn().unwrap();
            let made = host.dir.path().join("made");
            host.eventually("it asks", |_| {
                if early {
                    has_bridge("n0")
                } else {
                    made.exists()
                }
            });
            let mut asker = asker;
            kill_process(Pid::from_raw(asker.pid()).unwrap(), Signal::KILL).unwrap();
            asker.end(Duration::from_secs(1));
            let _ = fs::remove_file(&made);
            host.eventually("undone", |host| {
                host.client().network_state().unwrap().pending.is_none()
            });
            assert_eq!(shape(&current()), before, "early: {early}");
            assert_eq!(host.running(), Config::default());
        }
    });
}

#[test]
fn netns_a_helper_that_is_killed_undoes_at_its_next_start() {
    guard::in_network!(|| {
        cards(1);
        let mut host = Host::start("");
        let before = shape(&current());
        // At its first steps, in the middle, near the end, and when all is made.
        for when in ["n0", "n50", "n99", ""] {
            let (client, change) = (host.client(), host.change(&many()));
            let asking = thread::spawn(move || client.network_change(change));
            if when.is_empty() {
                let pending = asking.join().unwrap().unwrap();
                host.end(Signal::KILL);
                assert!(has_bridge("n0"));
                drop(pending);
            } else {
                host.eventually(when, |_| has_bridge(when));
                host.end(Signal::KILL);
                drop(asking.join().unwrap());
            }
            host.restart();
            let state = host.client().network_state().unwrap();
            let recovered = state.recovered;
            assert!(
                matches!(recovered, Some(Recovered::Undone { .. })),
                "{when}: {recovered:?}"
            );
            assert_eq!(shape(&current()), before, "killed at {when}");
            assert_eq!(host.running(), Config::default());
            assert!(host.log().contains("a change of networks was cut off"));
        }
        host.client()
            .network_change(host.change(&one()))
            .unwrap()
            .confirm()
            .unwrap();
        assert!(has_bridge("ovirtmgmt"));
    });
}

#[test]
fn netns_the_kernels_refusal_undoes_what_was_done() {
    guard::in_network!(|| {
        cards(3);
        let host = Host::start("");
        let before = shape(&current());
        let mut config = one();
        // A source address that is nobody's: the kernel refuses the route when the links are made.
        let mut network = bridged(1, "10.8.0.1/24");
        network.routes.push(net_model::StaticRoute {
            destination: "10.77.0.0/16".parse().unwrap(),
            via: Some("10.8.0.2".parse().unwrap()),
            metric: None,
            table: None,
            source: Some("10.8.0.99".parse().unwrap()),
            mtu: None,
            onlink: false,
            kind: net_model::RouteKind::Unicast,
        });
        config.networks.insert(net("bad"), network);
        let error = refusal(
            host.client()
                .network_change(host.change(&config))
                .unwrap_err(),
        );
        let Refusal::Network { message, .. } = error else {
            panic!("{error:?}");
        };
        assert!(message.contains("the kernel refuses"), "{message}");
        assert_eq!(shape(&current()), before);
        assert_eq!(host.running(), Config::default());
    });
}

#[test]
fn netns_a_helper_that_may_not_says_so() {
    guard::in_network!(|| {
        let host = Host::start("networks = false\n");
        let error = refusal(host.client().network_state().unwrap_err());
        let Refusal::NotHere { why, .. } = &error else {
            panic!("{error:?}");
        };
        assert!(why.contains("networks is false"), "{why}");
        let error = refusal(
            host.client()
                .network_change(host.change(&one()))
                .unwrap_err(),
        );
        assert!(matches!(error, Refusal::NotHere { .. }), "{error:?}");
        assert!(!host.dir.path().join("state").exists());
    });
}
