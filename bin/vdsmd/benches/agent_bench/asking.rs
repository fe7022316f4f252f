//! The asking side: a thread a connection, a blocking socket, one request in flight, the least code there can be,
//! so that the answering side is what is measured. The echo is asked by the same code.

use std::{
    io::{BufRead as _, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rpc::TlsFiles;
use rustls_pki_types::ServerName;

/// The argument that makes this program the echo.
pub(crate) const ECHO: &str = "--echo";
/// How long each side of a row is measured at a time, after a tenth of it to warm up.
const SLICE: Duration = Duration::from_millis(500);
/// How often: the sides take turns, so that other work on the machine hits both.
const TURNS: u32 = 6;

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// Whom to ask.
pub(crate) enum Target {
    /// An agent without TLS.
    Plain(SocketAddr),
    /// An agent with TLS, and the files of the asking side.
    Tls(SocketAddr, TlsFiles),
    /// An echo, and how many bytes it answers.
    Echo(SocketAddr, usize),
}

impl Target {
    /// Opens a connection. Answers come to a queue of the name given: each needs one of its own.
    pub(crate) fn connect(&self, queue: &str) -> Asker {
        let (Self::Plain(address) | Self::Tls(address, _) | Self::Echo(address, _)) = self;
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        self.begin(stream, queue)
    }

    fn begin(&self, mut stream: TcpStream, queue: &str) -> Asker {
        if let Self::Echo(_, length) = self {
            stream.write_all(&length.to_le_bytes()).unwrap();
            return Asker::new(Box::new(stream), queue);
        }
        let stream: Box<dyn Stream> = match self {
            Self::Tls(_, files) => {
                let name = ServerName::try_from("host").unwrap();
                let config = files.client_config().unwrap();
                let session = rustls::ClientConnection::new(config, name).unwrap();
                Box::new(rustls::StreamOwned::new(session, stream))
            }
            _ => Box::new(stream),
        };
        let mut asker = Asker::new(stream, queue);
        asker.exchange(b"CONNECT\naccept-version:1.2\nheart-beat:0,0\n\n\0");
        let subscribe = format!("SUBSCRIBE\ndestination:{queue}\nid:1\n\n\0");
        asker.stream.write_all(subscribe.as_bytes()).unwrap();
        asker
    }
}

/// One connection.
pub(crate) struct Asker {
    stream: Box<dyn Stream>,
    queue: String,
    answer: Vec<u8>,
}

impl Asker {
    fn new(stream: Box<dyn Stream>, queue: &str) -> Self {
        Self {
            stream,
            queue: queue.to_owned(),
            answer: vec![0; 1 << 20],
        }
    }

    /// The frame that asks for a verb without parameters.
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

    /// Sends a frame and reads the answer, which ends with the only NUL in it.
    pub(crate) fn exchange(&mut self, request: &[u8]) -> &[u8] {
        self.stream.write_all(request).unwrap();
        self.stream.flush().unwrap();
        let mut length = 0;
        loop {
            let count = self.stream.read(&mut self.answer[length..]).unwrap();
            assert!(
                count > 0,
                "the other side closed, or the answer is too long"
            );
            length += count;
            if self.answer[length - 1] == 0 {
                return &self.answer[..length];
            }
        }
    }

    /// Is a ping answered with `true`? Else it must be code 99.
    pub(crate) fn serves(&mut self) -> bool {
        let request = self.request("Host.ping2");
        let answer = String::from_utf8_lossy(self.exchange(&request));
        let serves = !answer.contains("\"error\"");
        assert!(serves || answer.contains("99"), "{answer}");
        serves
    }
}

/// The echo: this program again, in a process of its own, so that both sides of each row are two processes.
pub(crate) struct Echo {
    process: Child,
    address: SocketAddr,
}

impl Echo {
    /// Starts it.
    pub(crate) fn start() -> Self {
        #[expect(clippy::disallowed_methods, reason = "a bench starts what it measures")]
        let mut process = Command::new(std::env::current_exe().unwrap())
            .arg(ECHO)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.trim().parse().unwrap();
        Self { process, address }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        self.process.wait().unwrap();
    }
}

/// The echo's own process: ends with its standard input. Each connection first says how long answers are.
pub(crate) fn answer_echoes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            thread::spawn(move || echo(stream));
        }
    });
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
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
struct Figures {
    per_second: f64,
    median: Duration,
    p99: Duration,
}

impl Figures {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self {
            per_second: times.len() as f64 / (SLICE * TURNS).as_secs_f64(),
            median: times[times.len() / 2],
            p99: times[times.len() * 99 / 100],
        }
    }
}

fn measure(target: &Target, verb: &str, connections: usize) -> Vec<Duration> {
    thread::scope(|scope| {
        let askers: Vec<_> = (0..connections)
            .map(|number| scope.spawn(move || ask(target, verb, number)))
            .collect();
        askers
            .into_iter()
            .flat_map(|asker| asker.join().unwrap())
            .collect()
    })
}

fn ask(target: &Target, verb: &str, number: usize) -> Vec<Duration> {
    let mut asker = target.connect(&format!("bench.{number}"));
    let request = asker.request(verb);
    let mut times = Vec::with_capacity(100_000);
    let (start, warm) = (Instant::now(), SLICE / 10);
    loop {
        let sent = Instant::now();
        let since = sent - start;
        if since >= SLICE + warm {
            return times;
        }
        asker.exchange(&request);
        if since >= warm {
            times.push(sent.elapsed());
        }
    }
}

/// The head of the table that [`calls`] prints rows of.
pub(crate) fn print_calls_head() {
    println!(
        "\ncalls (baseline: an echo of as many bytes over plain TCP; last column: ratio of medians)"
    );
    println!(
        "  {:<30} {:>5} {:>6} {:>8} {:>9} {:>9} | {:>8} {:>9} {:>9} | {:>6}",
        "verb", "conn.", "bytes", "per s", "median", "p99", "echo/s", "median", "p99", "ratio"
    );
}

/// Measures a verb and prints the row.
pub(crate) fn calls(echo: &Echo, name: &str, target: &Target, verb: &str, connections: usize) {
    let mut asker = target.connect("bench.first");
    let request = asker.request(verb);
    let answer = asker.exchange(&request);
    let (bytes, text) = (answer.len(), String::from_utf8_lossy(answer));
    assert!(!text.contains("\"error\""), "{text}");
    let (mut baseline, mut row) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        let bytes_back = Target::Echo(echo.address, bytes);
        baseline.extend(measure(&bytes_back, verb, connections));
        row.extend(measure(target, verb, connections));
    }
    let (baseline, row) = (Figures::of(baseline), Figures::of(row));
    println!(
        "  {name:<30} {connections:>5} {bytes:>6} {:>8.0} {:>6} us {:>6} us | {:>8.0} {:>6} us {:>6} us | {:>6.1}",
        row.per_second,
        row.median.as_micros(),
        row.p99.as_micros(),
        baseline.per_second,
        baseline.median.as_micros(),
        baseline.p99.as_micros(),
        row.median.as_secs_f64() / baseline.median.as_secs_f64()
    );
}
