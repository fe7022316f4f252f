//! Many connections that do nothing, or nothing but beat: held by this program in a process of its own, so that
//! the server's process holds the server's side alone.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

use rpc::{Server, TlsFiles};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::allocated;
use crate::asking::{Asker, Target};

/// The argument that makes the holder of this program; count, address, heart-beats and PEM files follow.
pub(crate) const HOLD: &str = "--hold";
/// Connections of each figure.
const MANY: usize = 1000;
/// How long beats are counted.
const BEATING: Duration = Duration::from_secs(10);
/// Ticks of processor time a second: USER_HZ is 100 on every architecture that Linux tells it on.
const TICKS: f64 = 100.0;

fn raise_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}

/// The holder's own process: ends with its standard input.
pub(crate) fn hold(arguments: &[String]) {
    raise_descriptors();
    let count: usize = arguments[0].parse().unwrap();
    let address: SocketAddr = arguments[1].parse().unwrap();
    let target = match &arguments[3..] {
        [cert, key, ca, ..] if !cert.starts_with('-') => {
            let files = TlsFiles {
                cert: cert.into(),
                key: key.into(),
                ca: ca.into(),
            };
            Target::tls(address, &files)
        }
        _ => Target::plain(address),
    };
    let mut held: Vec<_> = (0..count)
        .map(|_| Asker::open(&target, &arguments[2]))
        .collect();
    println!("ready");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
            over.store(true, Ordering::Relaxed);
        });
        while !over.load(Ordering::Relaxed) {
            let round = Instant::now();
            if arguments[2] != "0,0" {
                held.iter_mut().for_each(Asker::beat);
            }
            thread::sleep(Duration::from_secs(1).saturating_sub(round.elapsed()));
        }
    });
}

struct Holder(Child);

impl Holder {
    fn start(target: &Target, beats: &str) -> Self {
        raise_descriptors();
        let mut arguments = vec![HOLD.to_owned(), MANY.to_string()];
        arguments.extend([target.address.to_string(), beats.to_owned()]);
        if let Some(files) = &target.files {
            let paths = [&files.cert, &files.key, &files.ca];
            arguments.extend(paths.map(|path| path.display().to_string()));
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "a bench starts what it measures with"
        )]
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

/// Memory of a connection that has said CONNECT and nothing since.
pub(crate) fn idle(name: &str, target: &Target, server: &Server) {
    let (heap, resident) = (allocated(), resident());
    let holder = Holder::start(target, "0,0");
    thread::sleep(Duration::from_secs(1));
    let per =
        |before: usize, after: usize| after.saturating_sub(before) as f64 / MANY as f64 / 1000.0;
    println!(
        "\nidle connections, {name}: {:.1} kB allocated each, {:.1} kB resident (of {MANY})",
        per(heap, allocated()),
        per(resident, self::resident())
    );
    drop(holder);
    while server.connections() > 0 {
        thread::sleep(Duration::from_millis(50));
    }
}

/// Processor time of many connections that beat once a second, both ways.
pub(crate) fn beats(target: &Target) {
    let rest = cpu_over(Duration::from_secs(3));
    let holder = Holder::start(target, "1000,1000");
    thread::sleep(Duration::from_secs(2));
    let busy = cpu_over(BEATING);
    println!(
        "\n{MANY} connections that beat once a second both ways: {:.1} % of a processor (at rest {:.1} %)",
        busy * 100.0,
        rest * 100.0
    );
    std::io::stdout().flush().unwrap();
    drop(holder);
}

/// Share of a processor that this process takes.
fn cpu_over(time: Duration) -> f64 {
    let (before, start) = (cpu_seconds(), Instant::now());
    thread::sleep(time);
    (cpu_seconds() - before) / start.elapsed().as_secs_f64()
}

fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / TICKS
}

fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.unwrap().trim().trim_end_matches(" kB");
    kib.parse::<usize>().unwrap() * 1024
}
