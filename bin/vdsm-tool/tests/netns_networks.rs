//! The networks from a shell, with the real root helper, in a network of its own: a boot's restoration, drift, a plan, a
//! rollback that is kept and one that is not; and (`outage.rs`) what a restoration costs the traffic. Needs root, `ip`, and a
//! built `supervdsmd`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests are tests"
)]

#[path = "netns_networks/outage.rs"]
mod outage;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use exec::{Child, Command, Output, Stdio};
use net_model::{canonicalize, request::SetupRequest};
use netns::{run, wait_for};
use privileged::{Client, Millis, NetworkChange};
use rustix::process::geteuid;
use serde_json::Value;

const TOOL: &str = env!("CARGO_BIN_EXE_vdsm-tool");
/// A bound for what hangs: the machine may be busy.
const LONG: Duration = Duration::from_mins(4);

/// A host beneath a folder: its configuration, its files, a helper that runs.
struct Host {
    root: tempfile::TempDir,
    helper: Option<Child>,
}

impl Host {
    fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path.trim_start_matches('/'));
        for folder in [
            "etc/vdsm",
            "run/vdsm",
            "var/lib/vdsm/staging",
            "var/lib/vdsm/persistence",
            "state",
        ] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        fs::write(at("resolv.conf"), "nameserver 192.0.2.99\n").unwrap();
        // The tool reads the configuration of the host beneath its root; the helper has no such notion.
        fs::write(at("etc/vdsm/vdsm.conf"), conf(Path::new(""))).unwrap();
        fs::write(at("helper.conf"), conf(root.path())).unwrap();
        let mut host = Self { root, helper: None };
        host.start_helper();
        host
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn start_helper(&mut self) {
        let program = Path::new(TOOL).with_file_name("supervdsmd");
        let helper = Command::new(program)
            .arg("--config")
            .arg(self.at("helper.conf"))
            .stdout_to(Stdio::Null)
            .stderr_to(Stdio::Null);
        self.helper = Some(helper.spawn().unwrap());
        wait_for("the helper's answer", || self.client().ping().ok());
    }

    fn client(&self) -> Client {
        Client::new(self.at("run/vdsm/svdsm.sock"), LONG)
    }

    fn tool(&self, args: &[&str], input: &str) -> Output {
        let socket = self.at("run/vdsm/svdsm.sock");
        Command::new(TOOL)
            .args(args)
            .arg("--root")
            .arg(self.root.path())
            .arg("--socket")
            .arg(socket)
            .stdin(input)
            .timeout(LONG)
            .run()
            .unwrap()
    }

    /// The output of a call that must end so.
    fn told(&self, args: &[&str], input: &str, code: i32) -> String {
        let output = self.tool(args, input);
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        let error = output.stderr_text();
        assert_eq!(output.exit.code(), code, "{args:?}: {text}{error}");
        format!("{text}{error}")
    }

    /// A change that lasts over a boot, as the agent would make it.
    fn set_up(&self, request: &str) {
        let mut all: Value = serde_json::from_str(request).unwrap();
        let request = SetupRequest {
            networks: serde_json::from_value(all["networks"].take()).unwrap(),
            ..SetupRequest::default()
        };
        let files = observe::netconf::Netconfs::at(self.root.path());
        let running = observe::netconf::read(&files.running).unwrap();
        let (current, _) = observe::network::network(LONG, &["veth"]).unwrap();
        let desired = canonicalize(&request, &running.netconf.config().0, &current).unwrap();
        let change = NetworkChange {
            desired,
            persist: true,
            deadline_ms: Millis::of(LONG),
            confirm_within_ms: None,
        };
        let pending = self.client().network_change(change).unwrap();
        pending.confirm().unwrap();
    }

    fn persistent(&self, name: &str) -> PathBuf {
        self.at("var/lib/vdsm/persistence/netconf/nets").join(name)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(helper) = &mut self.helper {
            helper.end(Duration::from_secs(30));
        }
    }
}

fn conf(root: &Path) -> String {
    let root = root.display();
    format!(
        "[vars]\nlog_target = stderr\nfake_nics = veth\n[supervdsm]\nclient_user = root\nowner_vdsm = root:root\n\
         owner_qemu = root:root\nsocket = {root}/run/vdsm/svdsm.sock\nnetconf_running = {root}/var/lib/vdsm/staging/netconf\n\
         netconf_persistent = {root}/var/lib/vdsm/persistence/netconf\nnetwork_state = {root}/state\n\
         networks_restored = {root}/run/vdsm/nets_restored\nnetwork_managers = false\ndhcp_dir = {root}/run/dhcp\nresolv_conf = {root}/resolv.conf\n"
    )
}

fn ip(words: &str) -> String {
    run(&format!("ip {words}"))
}

/// Why the test cannot run here, if it cannot.
fn lacking() -> Option<&'static str> {
    if !geteuid().is_root() {
        return Some("needs root");
    }
    if exec::command::find("ip").is_none() {
        return Some("ip is not installed");
    }
    let helper = Path::new(TOOL).with_file_name("supervdsmd");
    (!helper.is_file()).then_some("supervdsmd is not built")
}

/// What is wanted of the kernel here, as lines that do not change by themselves.
fn state() -> String {
    let links = ip("-o -4 addr show");
    let own = links.lines().filter(|line| !line.contains(": lo "));
    // Without its number, and without the times behind.
    let one = |line: &str| {
        line.split_whitespace()
            .skip(1)
            .take(3)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let addresses: Vec<String> = own.map(one).collect();
    let routes = ip("-4 route show table all");
    let routes: Vec<&str> = routes
        .lines()
        .filter(|it| it.contains("proto 118"))
        .collect();
    format!("{addresses:?}\n{routes:?}\n{}", ip("-4 rule show"))
}

const MANAGEMENT: &str = r#"{"networks": {"ovirtmgmt": {"nic": "veth_a", "ipaddr": "192.0.2.1", "prefix": 24,
    "gateway": "192.0.2.254", "defaultRoute": true, "nameservers": ["192.0.2.53"]}}}"#;

#[test]
fn netns_networks_are_restored_planned_and_rolled_back() {
    if let Some(why) = lacking() {
        println!("skipped: {why}");
        return;
    }
    guard::in_network!(|| {
        for pair in ["a", "b"] {
            ip(&format!(
                "link add veth_{pair} type veth peer name peer_{pair}"
            ));
            ip(&format!("link set peer_{pair} up"));
        }
        let host = Host::start();
        restoration(&host);
        rollback(&host);
    });
}

fn restoration(host: &Host) {
    assert!(
        host.told(&["restore-nets"], "", 0).is_empty(),
        "nothing was ever set up"
    );
    host.set_up(MANAGEMENT);
    host.set_up(
        r#"{"networks": {"second": {"nic": "veth_b", "ipaddr": "198.51.100.1", "prefix": 24}}}"#,
    );
    let wanted = state();
    assert!(
        wanted.contains("192.0.2.1/24") && wanted.contains("198.51.100.1/24"),
        "{wanted}"
    );
    // Once a boot; then only if asked.
    assert!(host.told(&["restore-nets"], "", 0).contains("already"));

    ip("link del second");
    ip("-4 route del default");
    let plan = host.told(&["restore-nets", "--dry-run"], "", 0);
    for line in ["+ bridge second", "+ route default (IPv4) via 192.0.2.254"] {
        assert!(plan.contains(line), "{plan}");
    }
    assert_ne!(state(), wanted, "a plan changes nothing");
    let told = host.told(&["restore-nets", "--force"], "", 0);
    assert!(
        told.contains("second: restored") && told.contains("ovirtmgmt: restored"),
        "{told}"
    );
    assert_eq!(state(), wanted);
    let told = host.told(&["restore-nets", "--force"], "", 0);
    assert!(
        told.contains("second: unchanged") && told.contains("ovirtmgmt: unchanged"),
        "{told}"
    );

    // A card that is gone fails its network, and that one alone.
    ip("link del veth_b");
    ip("-4 route del default");
    let told = host.told(&["restore-nets", "--force"], "", 1);
    for words in [
        "second: FAILED",
        "not restored: second",
        "ovirtmgmt: restored",
    ] {
        assert!(told.contains(words), "{told}");
    }
    let told = host.told(&["net-state"], "", 0);
    assert!(
        told.contains("no change is under way") && told.contains("second: FAILED"),
        "{told}"
    );
    ip("link add veth_b type veth peer name peer_b");
    ip("link set peer_b up");
    host.told(&["restore-nets", "--force"], "", 0);
    assert_eq!(state(), wanted);
}

fn rollback(host: &Host) {
    let before = state();
    host.set_up(r#"{"networks": {"second": {"remove": true}, "third": {"nic": "veth_b"}}}"#);
    let after = state();
    assert!(host.persistent("third").exists() && !host.persistent("second").exists());
    let request = r#"{"networks": {"third": {"nic": "veth_b"}}}"#;
    let plan = host.told(&["net-plan", "-", "--exit-code"], request, 0);
    assert_eq!(plan.trim(), "nothing to do");
    let plan = host.told(&["net-rollback", "--dry-run"], "", 0);
    assert!(
        plan.contains("+ bridge second") && plan.contains("- link third"),
        "{plan}"
    );

    let told = host.told(&["net-rollback", "--confirm-within", "60"], "no\n", 1);
    assert!(told.contains("as they were before"), "{told}");
    assert_eq!(state(), after);
    assert!(host.persistent("third").exists());

    host.told(&["net-rollback", "--confirm-within", "60"], "yes\n", 0);
    assert_eq!(state(), before);
    assert!(host.persistent("second").exists() && !host.persistent("third").exists());
    let list = host.told(&["net-rollback", "--list"], "", 0);
    let first = list.lines().next().unwrap_or_default();
    assert!(first.starts_with('*') && first.contains("second"), "{list}");
    assert!(list.lines().count() >= 3, "{list}");
}
