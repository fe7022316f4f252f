//! The agent as an ordinary user beside the root helper: a folder of root becomes the agent's where that is allowed,
//! and nothing else does; a helper that is gone or hangs costs one verb and no more. Needs root.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test's helpers fail the test"
)]

mod common;

use std::{
    fs::{self, File},
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
        net::UnixStream,
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use common::{
    Caller, Serving,
    programs::{AGENT, command, end, port_of},
    storage::Storage,
    wait_for,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;

/// `[supervdsm] request_timeout`.
const DEADLINE: Duration = Duration::from_secs(2);
/// The agent may not use the folder.
const DENIED: i64 = 469;

/// Agent and helper on one configuration, each a process of its own.
struct Host {
    dir: TempDir,
    helper: Option<Child>,
    agent: Option<Child>,
    port: u16,
}

impl Host {
    /// Starts both; `None`, with the reason printed, without root.
    fn start(enable: bool) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return None;
        }
        let dir = tempfile::Builder::new().prefix("vdsmd-").tempdir().unwrap();
        let mut host = Self {
            dir,
            helper: None,
            agent: None,
            port: 0,
        };
        host.lay_out(enable);
        host.start_helper();
        host.start_agent();
        Some(host)
    }

    fn lay_out(&self, enable: bool) {
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.dir.path(), open).unwrap();
        for sub in ["run", "state", "data-center", "log", "home"] {
            fs::create_dir(self.path(sub)).unwrap();
            chown(self.path(sub), Some(AGENT), Some(AGENT)).unwrap();
        }
        for sub in ["allowed", "elsewhere"] {
            fs::create_dir(self.path(sub)).unwrap();
        }
        for (name, log) in [("vdsmd.conf", "file"), ("supervdsmd.conf", "stderr")] {
            fs::write(self.path(name), self.configuration(enable, log)).unwrap();
        }
    }

    fn configuration(&self, enable: bool, log_target: &str) -> String {
        let at = |sub: &str| self.path(sub).display().to_string();
        let (ids, seconds) = (format!("{AGENT}:{AGENT}"), DEADLINE.as_secs());
        format!(
            "[vars]\nssl = false\nenable_lldp = false\nlibvirt_uri = test:///default\naccelerator = tcg\nstate_dir = {}\nrun_dir = {}\n\
             log_target = {log_target}\nlog_file = {}\n\
             [addresses]\nmanagement_ip = 127.0.0.1\nmanagement_port = 0\n\
             [irs]\nrepository = {}\n[sanlock]\nmode = local\n\
             [supervdsm]\nenable = {enable}\nsocket = {}\nclient_user = {AGENT}\nallowed_roots = {}\n\
             owner_vdsm = {ids}\nowner_qemu = {ids}\nrequest_timeout = {seconds}\n",
            at("state"),
            at("run"),
            at("log/vdsmd.log"),
            at("data-center"),
            at("sock"),
            at("allowed"),
        )
    }

    fn start_helper(&mut self) {
        let mut log = File::options();
        log.create(true).append(true);
        let log = log.open(self.path("helper.log")).unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_vdsmd")).with_file_name("supervdsmd");
        assert!(
            program.exists(),
            "{} is not built: cargo build --workspace",
            program.display()
        );
        let mut command = command(&program, &self.path("supervdsmd.conf"));
        command.env_remove("JOURNAL_STREAM").stderr(log);
        self.helper = Some(command.spawn().unwrap());
        wait_for("the helper", || UnixStream::connect(self.path("sock")).ok());
    }

    fn start_agent(&mut self) {
        let mut command = command(
            Path::new(env!("CARGO_BIN_EXE_vdsmd")),
            &self.path("vdsmd.conf"),
        );
        command.uid(AGENT).gid(AGENT).env("HOME", self.path("home"));
        self.agent = Some(command.stderr(Stdio::null()).spawn().unwrap());
        self.port = wait_for("the port", || port_of(&self.log()));
        wait_for("the agent to serve", || {
            self.client().call("Host.ping2", json!({})).ok()
        });
    }

    fn path(&self, sub: &str) -> PathBuf {
        self.dir.path().join(sub)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log/vdsmd.log")).unwrap_or_default()
    }

    /// What the helper was asked and what it did.
    fn audit(&self) -> Vec<String> {
        let log = fs::read_to_string(self.path("helper.log")).unwrap();
        let lines = log.lines().filter(|line| line.contains("set_ownership"));
        lines.map(str::to_owned).collect()
    }

    /// A folder of root's that nobody else may use.
    fn folder_of_root(&self, sub: &str) -> PathBuf {
        let path = self.path(sub);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        path
    }

    /// Connects a folder; the status of the connection.
    fn connect(&self, path: &Path) -> i64 {
        let storage = Storage::at(path.display().to_string());
        let answer = self.ok("StoragePool.connectStorageServer", storage.server());
        answer[0]["status"].as_i64().unwrap()
    }

    fn signal_helper(&self, signal: Signal) {
        let helper = self.helper.as_ref().unwrap();
        kill_process(Pid::from_child(helper), signal).unwrap();
    }

    fn kill_helper(&mut self) {
        end(&mut self.helper);
    }

    fn is_well(&self) {
        assert_eq!(self.ok("Host.ping2", json!({})), json!(true));
    }
}

impl Serving for Host {
    fn client(&self) -> Caller {
        Caller::connect(self.port)
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        end(&mut self.agent);
        end(&mut self.helper);
    }
}

/// Owner, group and mode.
fn owner_of(path: &Path) -> (u32, u32, u32) {
    let found = fs::symlink_metadata(path).unwrap();
    (found.uid(), found.gid(), found.mode() & 0o7777)
}

#[test]
fn netns_a_folder_of_root_becomes_the_agents_and_storage() {
    let Some(host) = Host::start(true) else {
        return;
    };
    let folder = host.folder_of_root("allowed/disks");
    fs::write(folder.join("other"), "x").unwrap();
    let storage = Storage::at(folder.display().to_string()).built(&host);
    assert_eq!(owner_of(&folder), (AGENT, AGENT, 0o755));
    assert_eq!(owner_of(&folder.join("other")).0, 0, "only the folder");
    assert_eq!(owner_of(&host.path("allowed")), (0, 0, 0o755));
    storage.create_volume(&host, 1 << 20, 5, 2);
    storage.connect_server(&host);
    let audit = host.audit();
    assert_eq!(audit.len(), 1, "asked once: {audit:?}");
    let asked = format!(
        "set_ownership({:?}, \"disks\", vdsm, 755)",
        host.path("allowed")
    );
    for part in [asked.as_str(), "uid=65534", "Changed"] {
        assert!(audit[0].contains(part), "{part}: {audit:?}");
    }
}

#[test]
fn netns_what_is_not_allowed_stays_as_it_is() {
    let Some(host) = Host::start(true) else {
        return;
    };
    let outside = host.folder_of_root("elsewhere/disks");
    let (link, root) = (host.path("allowed/link"), host.path("allowed"));
    symlink(&outside, &link).unwrap();
    let through = host.path("allowed/../elsewhere/disks");
    for path in [&outside, &root, &through] {
        assert_eq!(host.connect(path), DENIED, "{}", path.display());
        assert!(host.audit().is_empty(), "asked in vain: {:?}", host.audit());
    }
    assert!(host.log().contains("is not beneath an allowed root"));
    assert_eq!(host.connect(&link), DENIED);
    let audit = host.audit();
    assert!(
        audit.len() == 1 && audit[0].contains("refused"),
        "{audit:?}"
    );
    assert!(host.log().contains("goes over a symbolic link"));
    assert_eq!(owner_of(&outside), (0, 0, 0o700));
    assert_eq!(owner_of(&root), (0, 0, 0o755));
    host.is_well();
}

#[test]
fn netns_a_helper_that_is_gone_or_hangs_costs_one_verb() {
    let Some(mut host) = Host::start(true) else {
        return;
    };
    let folder = host.folder_of_root("allowed/disks");
    // Hangs: given up in time.
    host.signal_helper(Signal::STOP);
    let start = Instant::now();
    assert_eq!(host.connect(&folder), DENIED);
    assert!(start.elapsed() < DEADLINE * 3, "{:?}", start.elapsed());
    host.is_well();
    // Killed with the request in its hands.
    let before = unknown(&host);
    let status = thread::scope(|scope| {
        let connecting = scope.spawn(|| host.connect(&folder));
        thread::sleep(DEADLINE / 4);
        host.signal_helper(Signal::KILL);
        connecting.join().unwrap()
    });
    assert_eq!((status, unknown(&host)), (DENIED, before + 1));
    host.kill_helper();
    // Gone.
    assert_eq!(host.connect(&folder), DENIED);
    assert!(host.log().contains("cannot reach the root helper"));
    host.is_well();
    assert_eq!(owner_of(&folder), (0, 0, 0o700));
    assert!(host.audit().is_empty(), "{:?}", host.audit());
    // Back: the same verb succeeds.
    host.start_helper();
    assert_eq!(host.connect(&folder), 0);
    assert_eq!(owner_of(&folder), (AGENT, AGENT, 0o755));
    assert_eq!(host.audit().len(), 1);
}

/// How often the log tells that it is not known whether the helper did it.
fn unknown(host: &Host) -> usize {
    host.log().matches("not known to be done").count()
}

#[test]
fn netns_a_helper_that_shall_not_be_used_is_not_asked() {
    let Some(host) = Host::start(false) else {
        return;
    };
    let folder = host.folder_of_root("allowed/disks");
    assert_eq!(host.connect(&folder), DENIED);
    assert!(host.audit().is_empty());
    assert_eq!(owner_of(&folder), (0, 0, 0o700));
}
