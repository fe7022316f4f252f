//! A private agent for one test: started in a folder of its own, driven through its port, gone afterwards.
//!
//! [`Agent::start`] runs `vdsmd` on libvirt's `test:///default`, which lives in the client library: no daemon, no
//! privilege, up within a moment. Tests that need guests start one by `vdsm-tool dev up`: see [`session`].
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

pub mod authority;
pub mod canary;
pub mod daemon;
pub mod hang;
pub mod mounts;
pub mod networks;
pub mod params;
pub mod peers;
pub mod programs;
pub mod session;
pub mod storage;
pub mod wire;

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use host_model::HostPort;
use rpc::{Client, ClientConfig, ClientError, Event, Subscription};
use serde_json::{Value, json, value::to_raw_value};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Runs a test in a process of its own, which must leave nothing behind: see the crate `guard`.
#[allow(unused_macros, reason = "each test binary uses its part")]
macro_rules! guarded {
    ($test:expr) => {{
        $crate::common::open_what_tokio_keeps();
        guard::isolated!($test)
    }};
}
#[allow(unused_imports, reason = "each test binary uses its part")]
pub(crate) use guarded;

/// The same in a network of its own.
#[allow(unused_macros, reason = "each test binary uses its part")]
macro_rules! in_network {
    ($test:expr) => {{
        $crate::common::open_what_tokio_keeps();
        guard::in_network!($test)
    }};
}
#[allow(unused_imports, reason = "each test binary uses its part")]
pub(crate) use in_network;

/// The first runtime of a process opens a pair of sockets for signals, which stays for good.
pub fn open_what_tokio_keeps() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    drop(runtime.unwrap());
}

/// How long a test waits for anything.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Code that the agent answers while it recovers.
const RECOVERING: i64 = 99;

/// An agent and its folder.
pub struct Agent {
    /// Folder of configuration, state, log and storage.
    pub dir: TempDir,
    process: Option<Child>,
    address: SocketAddr,
}

impl Agent {
    /// Starts an agent with the defaults for tests.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts an agent; `more` goes into its `vdsm.conf`.
    pub fn start_with(more: &[Setting<'_>]) -> Self {
        let agent = Self::boot_only(more);
        agent.wait_until_serving();
        agent
    }

    /// As [`Agent::start_with`], but does not wait until verbs are answered.
    pub fn boot_only(more: &[Setting<'_>]) -> Self {
        let mut agent = Self::prepare(more);
        agent.boot();
        agent
    }

    /// Starts an agent whose configuration must make it end, and answers what it says.
    pub fn refused(more: &[Setting<'_>]) -> String {
        let mut agent = Self::prepare(more);
        let output = agent.spawn().wait_with_output().unwrap();
        agent.process = None;
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    }

    fn prepare(more: &[Setting<'_>]) -> Self {
        let dir = tempfile::Builder::new().prefix("vdsmd-").tempdir().unwrap();
        for sub in ["run", "state", "data-center", "disks"] {
            fs::create_dir(dir.path().join(sub)).unwrap();
        }
        fs::write(
            dir.path().join("vdsm.conf"),
            configuration(dir.path(), more),
        )
        .unwrap();
        Self {
            dir,
            process: None,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
        }
    }

    /// Runs `vdsmd` in the folder and waits until its port is open.
    pub fn boot(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        let _ = fs::remove_file(self.log_path());
        self.process = Some(self.spawn());
        self.address = wait_for("the port", || listening(&self.log()));
    }

    fn spawn(&self) -> Child {
        #[expect(clippy::disallowed_methods, reason = "a test starts what it tests")]
        Command::new(env!("CARGO_BIN_EXE_vdsmd"))
            .arg("--config")
            .arg(self.path("vdsm.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Waits until verbs are answered.
    pub fn wait_until_serving(&self) {
        wait_for("the agent to serve", || {
            match self.client().call("Host.ping2", json!({})) {
                Err((RECOVERING, _)) => None,
                other => Some(other.unwrap()),
            }
        });
    }

    /// SIGKILL, as a crash.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let children = daemon::children(process.id());
            process.kill().unwrap();
            process.wait().unwrap();
            daemon::collect(&children);
        }
    }

    /// Starts it and kills it after a while, wherever it is by then.
    pub fn boot_for(&mut self, time: Duration) {
        assert!(self.process.is_none(), "it runs already");
        self.process = Some(self.spawn());
        std::thread::sleep(time);
        self.kill();
    }

    /// SIGKILL and a new start.
    pub fn crash_and_restart(&mut self) {
        self.kill();
        self.boot();
        self.wait_until_serving();
    }

    /// The lines of the log about answers and events that are not as declared: there must be none.
    pub fn false_answers(&self) -> Vec<String> {
        let log = self.log();
        let told = log.lines().filter(|line| line.contains("vdsm.schema"));
        told.filter(|line| !line.contains("of=\"parameters\""))
            .map(ToOwned::to_owned)
            .collect()
    }

    /// SIGTERM; the exit must be clean.
    pub fn stop(&mut self) {
        let Some(mut process) = self.process.take() else {
            return;
        };
        let pid = rustix::process::Pid::from_child(&process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = process.wait().unwrap();
        assert!(status.success(), "{status}\n{}", self.log());
    }

    /// SIGTERM, as [`Agent::stop`]; answers what it wrote to standard error.
    pub fn stop_hearing(&mut self) -> String {
        use std::io::Read as _;
        let process = self.process.as_mut().expect("it runs");
        let mut stderr = process.stderr.take().unwrap();
        self.stop();
        let mut heard = String::new();
        stderr.read_to_string(&mut heard).unwrap();
        heard
    }

    /// Process id of `vdsmd`.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    /// Has the process ended by itself?
    pub fn is_running(&mut self) -> bool {
        self.process
            .as_mut()
            .is_some_and(|process| process.try_wait().unwrap().is_none())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A path in the folder.
    pub fn path(&self, sub: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(sub)
    }

    fn log_path(&self) -> PathBuf {
        self.path("vdsmd.log")
    }

    /// The log of this start.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }
}

impl Serving for Agent {
    fn client(&self) -> Caller {
        Caller::connect(self.address.port())
    }

    fn log_tail(&self) -> String {
        last_lines(&self.log())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
        if !std::thread::panicking() {
            assert_eq!(self.false_answers(), Vec::<String>::new());
            let log = self.log();
            let panics: Vec<_> = log.lines().filter(|it| it.contains(" panic ")).collect();
            assert_eq!(panics, Vec::<&str>::new());
        }
    }
}

/// One option of `vdsm.conf`: section, name, value.
pub type Setting<'a> = (&'a str, &'a str, &'a str);

fn configuration(dir: &Path, more: &[Setting<'_>]) -> String {
    let at = |sub: &str| dir.join(sub).display().to_string();
    let (state, run, log, repository) =
        (at("state"), at("run"), at("vdsmd.log"), at("data-center"));
    let defaults: &[Setting<'_>] = &[
        ("vars", "ssl", "false"),
        ("vars", "libvirt_uri", "test:///default"),
        ("vars", "accelerator", "tcg"),
        ("vars", "state_dir", &state),
        ("vars", "run_dir", &run),
        ("vars", "log_target", "file"),
        ("vars", "log_file", &log),
        ("vars", "log_level", "debug"),
        ("vars", "vm_sample_interval", "1"),
        ("vars", "host_sample_stats_interval", "1"),
        ("addresses", "management_ip", "127.0.0.1"),
        ("addresses", "management_port", "0"),
        ("irs", "repository", &repository),
        ("irs", "sd_health_check_delay", "1"),
        ("sanlock", "mode", "local"),
        ("supervdsm", "enable", "false"),
    ];
    let mut sections: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    for (section, name, value) in defaults.iter().chain(more) {
        sections.entry(section).or_default().insert(name, value);
    }
    let section = |(name, options): (&str, BTreeMap<&str, &str>)| {
        let options: Vec<_> = options
            .iter()
            .map(|(name, value)| format!("{name} = {value}"))
            .collect();
        format!("[{name}]\n{}\n", options.join("\n"))
    };
    sections
        .into_iter()
        .map(section)
        .collect::<Vec<_>>()
        .concat()
}

fn listening(log: &str) -> Option<SocketAddr> {
    let line = log.lines().find(|line| line.contains("listening"))?;
    line.rsplit_once("address=")?
        .1
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

/// The last lines of a log.
fn last_lines(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

/// Something that serves the API.
pub trait Serving {
    /// A new connection.
    fn client(&self) -> Caller;

    /// The end of its log, for the message of a test that fails.
    fn log_tail(&self) -> String;

    /// Calls a verb on a connection of its own.
    fn call(&self, verb: &str, params: Value) -> Answer {
        self.client().call(verb, params)
    }

    /// Calls a verb that must succeed.
    fn ok(&self, verb: &str, params: Value) -> Value {
        self.call(verb, params)
            .unwrap_or_else(|e| panic!("{verb}: {e:?}\n{}", self.log_tail()))
    }

    /// Calls a verb that must fail, and answers the code.
    fn code(&self, verb: &str, params: Value) -> i64 {
        match self.call(verb, params) {
            Err((code, _)) => code,
            Ok(answer) => panic!("{verb} should fail, but answers {answer}"),
        }
    }
}

/// What a verb answers: its result, or code and message.
pub type Answer = Result<Value, (i64, String)>;

/// A connection for blocking code.
pub struct Caller {
    runtime: Runtime,
    client: Client,
}

impl Caller {
    /// Connects without TLS.
    pub fn connect(port: u16) -> Self {
        Self::connect_to("127.0.0.1", port).unwrap()
    }

    /// As [`Caller::connect`], to another address, from the network that this thread is in.
    pub fn connect_to(address: &str, port: u16) -> Result<Self, ClientError> {
        let address = HostPort::parse(address, port).unwrap();
        let config = ClientConfig::new(address, None);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let client = runtime.block_on(Client::connect(config))?;
        Ok(Self { runtime, client })
    }

    /// Calls a verb.
    pub fn call(&self, verb: &str, params: Value) -> Answer {
        let params = to_raw_value(&params).unwrap();
        let answer = self
            .client
            .call(verb, Some(&params), Some("test-flow"), PATIENCE);
        match self.runtime.block_on(answer) {
            Ok(raw) => {
                let answer = serde_json::from_str(raw.get()).unwrap();
                as_engine_reads_it(verb, &answer);
                Ok(answer)
            }
            Err(ClientError::Rpc(error)) => Err((error.code, error.message)),
            Err(other) => panic!("{verb}: {other}"),
        }
    }

    /// Subscribes to events.
    pub fn events(&self) -> Subscription {
        let _in = self.runtime.enter();
        self.client.subscribe(rpc::EVENT_QUEUE).unwrap()
    }

    /// The next event that `wanted` accepts, within [`PATIENCE`].
    pub fn next_event(
        &self,
        events: &mut Subscription,
        wanted: impl Fn(&str, &Value) -> bool,
    ) -> (String, Value) {
        self.runtime.block_on(async {
            tokio::time::timeout(PATIENCE, async {
                loop {
                    let Event { method, params } = events.next_event().await.expect("events end");
                    let params =
                        serde_json::from_str(params.as_ref().map_or("null", |it| it.get()));
                    let params: Value = params.unwrap();
                    if wanted(&method, &params) {
                        return (method, params);
                    }
                }
            })
            .await
            .expect("the event does not come")
        })
    }
}

/// Each answer of each test is one that Engine's parser takes.
fn as_engine_reads_it(verb: &str, answer: &Value) {
    // Of a volume whose metadata cannot be read upstream tells no more than this.
    if verb == "Volume.getInfo" && answer["status"] == "INVALID" {
        return;
    }
    let wrong = schema::engine::check_answer(verb, answer);
    assert!(wrong.is_empty(), "{verb}: {wrong:?}\n{answer}");
}

/// Waits, within [`PATIENCE`], until something is there.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
