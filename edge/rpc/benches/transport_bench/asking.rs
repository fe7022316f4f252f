//! The asking side of the rows, and the echo that they are compared with.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rpc::{Client, ClientConfig, TlsFiles};
use tokio::runtime::Runtime;

use crate::{SLICE, TURNS};

/// Who is asked.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) files: Option<TlsFiles>,
    /// The same for all connections, as in a client that reads its files once.
    tls: Option<Arc<rustls::ClientConfig>>,
}

impl Target {
    pub(crate) fn plain(address: SocketAddr) -> Self {
        Self {
            address,
            files: None,
            tls: None,
        }
    }

    pub(crate) fn tls(address: SocketAddr, files: &TlsFiles) -> Self {
        Self {
            address,
            files: Some(files.clone()),
            tls: Some(files.client_config().unwrap()),
        }
    }
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// One raw connection.
pub(crate) struct Asker {
    stream: Box<dyn Stream>,
    queue: String,
    buffer: Vec<u8>,
}

impl Asker {
    /// Connected (STOMP), with heart-beats as given.
    pub(crate) fn open(target: &Target, beats: &str) -> Self {
        let stream = TcpStream::connect(target.address).unwrap();
        stream.set_nodelay(true).unwrap();
        let stream: Box<dyn Stream> = match &target.tls {
            None => Box::new(stream),
            Some(tls) => {
                let name = rustls_pki_types::ServerName::try_from("host").unwrap();
                let session = rustls::ClientConnection::new(tls.clone(), name).unwrap();
                Box::new(rustls::StreamOwned::new(session, stream))
            }
        };
        let mut asker = Self {
            stream,
            queue: String::new(),
            buffer: vec![0; 16 * 1024],
        };
        let connect = format!("CONNECT\naccept-version:1.2\nheart-beat:{beats}\n\n\0");
        asker.exchange(connect.as_bytes());
        asker
    }

    /// As [`Asker::open`], and subscribed to a queue of its own for answers.
    pub(crate) fn connect(target: &Target, queue: &str) -> Self {
        let mut asker = Self::open(target, "0,0");
        queue.clone_into(&mut asker.queue);
        let subscribe = format!("SUBSCRIBE\ndestination:{queue}\nid:1\nreceipt:1\n\n\0");
        asker.exchange(subscribe.as_bytes());
        asker
    }

    /// The frame that asks for a verb.
    pub(crate) fn request(&self, verb: &str) -> Vec<u8> {
        let body = format!(
            r#"{{"jsonrpc": "2.0", "method": "{verb}", "params": {{}}, "id": "00000000-0000-0000-0000-000000002003"}}"#
        );
        format!(
            "SEND\ndestination:jms.topic.vdsm_requests\ncontent-type:application/json\n\
             reply-to:{}\ncontent-length:{}\n\n{body}\0",
            self.queue,
            body.len()
        )
        .into_bytes()
    }

    /// Sends a frame and reads the answer, which ends with the only NUL in it; its length.
    pub(crate) fn exchange(&mut self, request: &[u8]) -> usize {
        self.stream.write_all(request).unwrap();
        self.stream.flush().unwrap();
        let mut length = 0;
        loop {
            let count = self.stream.read(&mut self.buffer).unwrap();
            assert!(count > 0, "the server closed");
            length += count;
            if self.buffer[count - 1] == 0 {
                return length;
            }
        }
    }

    /// A beat.
    pub(crate) fn beat(&mut self) {
        self.stream.write_all(b"\n").unwrap();
    }
}

/// An echo over plain TCP: whatever ends with NUL is answered by as many bytes as it was first told.
pub(crate) fn start_echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            thread::spawn(move || echo(stream));
        }
    });
    address
}

fn echo(mut stream: TcpStream) {
    stream.set_nodelay(true).unwrap();
    let mut length = [0; 8];
    if stream.read_exact(&mut length).is_err() {
        return;
    }
    let mut answer = vec![b'x'; usize::from_le_bytes(length)];
    *answer.last_mut().unwrap() = 0;
    let mut request = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut request) {
        if request[count - 1] == 0 && stream.write_all(&answer).is_err() {
            return;
        }
    }
}

/// One row's figures.
pub(crate) struct Row {
    per_second: f64,
    median: Duration,
    p99: Duration,
    /// Calls a second of the server's processor time, where that can be told from the asking side's.
    per_core: Option<f64>,
}

impl Row {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self {
            per_second: times.len() as f64 / (SLICE * TURNS).as_secs_f64(),
            median: times[times.len() / 2],
            p99: times[times.len() * 99 / 100],
            per_core: None,
        }
    }

    pub(crate) fn print_head() {
        println!(
            "  {:<26} {:>5} {:>8} {:>10} {:>10} | {:>8} {:>10} {:>10} | {:>6} {:>10}",
            "", "conn.", "per s", "median", "p99", "echo/s", "median", "p99", "ratio", "per core"
        );
    }

    pub(crate) fn print(&self, name: &str, connections: usize, baseline: &Self) {
        println!(
            "  {name:<26} {connections:>5} {:>8.0} {:>7} us {:>7} us | {:>8.0} {:>7} us {:>7} us | {:>6.1} {:>10}",
            self.per_second,
            self.median.as_micros(),
            self.p99.as_micros(),
            baseline.per_second,
            baseline.median.as_micros(),
            baseline.p99.as_micros(),
            self.median.as_secs_f64() / baseline.median.as_secs_f64(),
            self.per_core
                .map_or_else(String::new, |it| format!("{it:.0}")),
        );
    }
}

/// Asks by raw connections, and an echo, in turns.
pub(crate) fn raw(
    target: &Target,
    verb: &str,
    connections: usize,
    echo: &SocketAddr,
) -> (Row, Row) {
    let mut asker = Asker::connect(target, "first");
    let request = asker.request(verb);
    let length = asker.exchange(&request);
    let (mut times, mut baseline) = (Vec::new(), Vec::new());
    let (asked, mut spent) = (AtomicUsize::new(0), 0.0);
    for _ in 0..TURNS {
        baseline.extend(ask_echo(echo, request.len(), length, connections));
        let before = servers_cpu();
        times.extend(on_threads(connections, |number| {
            let mut asker = Asker::connect(target, &format!("queue.{number}"));
            let request = asker.request(verb);
            repeat(|| {
                asker.exchange(&request);
                asked.fetch_add(1, Ordering::Relaxed);
            })
        }));
        spent += servers_cpu() - before;
    }
    let mut row = Row::of(times);
    row.per_core = Some(asked.into_inner() as f64 / spent);
    (row, Row::of(baseline))
}

/// Processor time of the server's threads, seconds, connecting of clients included.
fn servers_cpu() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let stats = tasks.filter_map(|task| {
        let task = task.ok()?.path();
        let of = |file| std::fs::read_to_string(task.join(file)).ok();
        of("schedstat").zip(of("comm"))
    });
    stats
        .filter(|(_, name)| name.starts_with("tokio"))
        .map(|(stat, _)| {
            stat.split_whitespace()
                .next()
                .unwrap()
                .parse::<f64>()
                .unwrap()
                / 1e9
        })
        .sum()
}

fn ask_echo(echo: &SocketAddr, asked: usize, answered: usize, connections: usize) -> Vec<Duration> {
    on_threads(connections, |_| {
        let mut stream = TcpStream::connect(echo).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(&answered.to_le_bytes()).unwrap();
        let mut asker = Asker {
            stream: Box::new(stream),
            queue: String::new(),
            buffer: vec![0; 16 * 1024],
        };
        let mut request = vec![b'x'; asked];
        *request.last_mut().unwrap() = 0;
        repeat(|| {
            asker.exchange(&request);
        })
    })
}

fn on_threads(count: usize, ask: impl Fn(usize) -> Vec<Duration> + Sync) -> Vec<Duration> {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|number| {
                scope.spawn({
                    let ask = &ask;
                    move || ask(number)
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    })
}

/// Times of a step for a slice, after a tenth of it to warm up.
fn repeat(mut step: impl FnMut()) -> Vec<Duration> {
    let mut times = Vec::with_capacity(50_000);
    let (start, warm) = (Instant::now(), SLICE / 10);
    loop {
        let sent = Instant::now();
        let since = sent - start;
        if since >= SLICE + warm {
            return times;
        }
        step();
        if since >= warm {
            times.push(sent.elapsed());
        }
    }
}

/// Asks by this crate's client, a connection each, and an echo by raw connections, in turns.
pub(crate) fn by_client(
    runtime: &Runtime,
    target: &Target,
    connections: usize,
    echo: &SocketAddr,
) -> (Row, Row) {
    let (mut times, mut baseline) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        // As many bytes as the raw connections exchange.
        baseline.extend(ask_echo(echo, 213, 163, connections));
        let tasks: Vec<_> = (0..connections)
            .map(|_| runtime.spawn(ask_by_client(target.clone())))
            .collect();
        for task in tasks {
            times.extend(runtime.block_on(task).unwrap());
        }
    }
    (Row::of(times), Row::of(baseline))
}

async fn ask_by_client(target: Target) -> Vec<Duration> {
    let address = target.address.try_into().unwrap();
    let client = Client::connect(ClientConfig::new(address, target.files))
        .await
        .unwrap();
    let mut times = Vec::with_capacity(50_000);
    let (start, warm) = (Instant::now(), SLICE / 10);
    loop {
        let sent = Instant::now();
        let since = sent - start;
        if since >= SLICE + warm {
            return times;
        }
        let answer = client.call("Host.ping2", None, None, Duration::from_mins(1));
        answer.await.unwrap();
        if since >= warm {
            times.push(sent.elapsed());
        }
    }
}

/// From nothing to CONNECTED, and closed again.
pub(crate) fn connecting(sides: &[(&str, Target)]) {
    const TIMES: usize = 300;
    println!("\nconnecting, up to CONNECTED (both ends in this process)");
    let mut baseline = None;
    for (name, target) in sides {
        let mut times: Vec<_> = (0..TIMES)
            .map(|_| {
                let start = Instant::now();
                drop(Asker::open(target, "0,0"));
                start.elapsed()
            })
            .collect();
        times.sort_unstable();
        let (median, p99) = (times[TIMES / 2], times[TIMES * 99 / 100]);
        let first = *baseline.get_or_insert(median);
        println!(
            "  {name:<28} median {:>6} us   p99 {:>6} us   {:>5.1} x plain",
            median.as_micros(),
            p99.as_micros(),
            median.as_secs_f64() / first.as_secs_f64()
        );
    }
}
