//! The process itself: how long until it answers, and what memory it holds.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    AS_INSTALLED,
    asking::Target,
    common::{Agent, PATIENCE},
};

const VDSMD: &str = env!("CARGO_BIN_EXE_vdsmd");
/// Starts that are measured.
const STARTS: usize = 15;
/// Pause between looks.
const LOOK: Duration = Duration::from_micros(200);

/// Measures starts of an agent on libvirt's test driver, and prints them.
pub(crate) fn start_times() {
    let port = free_port().to_string();
    let mut settings = AS_INSTALLED.to_vec();
    settings.push(("addresses", "management_port", &port));
    let mut agent = Agent::start_with(&settings);
    let address = agent.address();
    agent.kill();
    print_starts("test driver, ", &agent.path("vdsm.conf"), address, STARTS);
}

/// Measures starts with a configuration and prints them; no agent with it may run meanwhile.
pub(crate) fn print_starts(name: &str, conf: &Path, address: SocketAddr, count: usize) {
    let (mut bare, mut first, mut serving) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..count {
        bare.push(run_bare());
        let (answer, truth) = run_until_serving(conf, address);
        first.push(answer);
        serving.push(truth);
    }
    let baseline = median(&mut bare);
    for (what, mut times) in [("first answer", first), ("first true", serving)] {
        let half = median(&mut times);
        println!(
            "  {:<40} median {:>6.1} ms   worst of {count} {:>6.1} ms   {:>5.1} x {:.1} ms",
            format!("{name}{what}"),
            millis(half),
            millis(times[times.len() - 1]),
            half.as_secs_f64() / baseline.as_secs_f64(),
            millis(baseline)
        );
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn spawn(arguments: &[&str]) -> Child {
    #[expect(clippy::disallowed_methods, reason = "a bench starts what it measures")]
    Command::new(VDSMD)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn run_bare() -> Duration {
    let start = Instant::now();
    spawn(&["--version"]).wait().unwrap();
    start.elapsed()
}

fn run_until_serving(conf: &Path, address: SocketAddr) -> (Duration, Duration) {
    let start = Instant::now();
    let mut process = Running(spawn(&["--config", conf.to_str().unwrap()]));
    while TcpStream::connect(address).is_err() {
        assert!(process.0.try_wait().unwrap().is_none(), "vdsmd ended");
        assert!(start.elapsed() < PATIENCE, "the port does not open");
        thread::sleep(LOOK);
    }
    let mut asker = Target::Plain(address).connect("bench.start");
    let mut serves = asker.serves();
    let first = start.elapsed();
    while !serves {
        assert!(start.elapsed() < PATIENCE, "it does not serve");
        thread::sleep(LOOK);
        serves = asker.serves();
    }
    (first, start.elapsed())
}

/// A process that ends with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// Prints what memory a process holds: all that is resident, and how much of it is its own alone (the rest are
/// pages of files, shared with every process that maps them).
pub(crate) fn print_memory(name: &str, pid: u32) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let mib = |kib: u64| kib as f64 / 1024.0;
    println!(
        "  {name:<40} resident {:>5.1} MiB   its own {:>5.1} MiB   anonymous {:>5.1} MiB   threads {}",
        mib(field(&status, "VmRSS:")),
        mib(field(&rollup, "Private_Clean:") + field(&rollup, "Private_Dirty:")),
        mib(field(&rollup, "Anonymous:")),
        field(&status, "Threads:")
    );
}

fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    number.unwrap().parse().unwrap()
}
