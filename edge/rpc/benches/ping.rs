//! Pings per second and their 50th and 99th percentile: 1 and 8 connections, plain and TLS, one
//! request in flight per connection, against a server on a multi-thread runtime in this process.
//!
//! The asking side of the raw rows is a thread per connection with a blocking socket and the least
//! code there can be, so that the server is what is measured; the rows named `Client` use this
//! crate's client. Compare only within one run.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]
#![allow(clippy::unwrap_used, reason = "a bench may fail where it stands")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rpc::{
    Call, Client, ClientConfig, Reply, RpcError, Security, Server, ServerConfig, Service, TlsFiles,
};
use serde_json::value::RawValue;
use tempfile::TempDir;

/// How long each row is measured, after a tenth of it to warm up.
const TIME: Duration = Duration::from_secs(3);

struct Ping;

impl Service for Ping {
    async fn call(&self, call: Call) -> Reply {
        match call.method.as_str() {
            "Host.ping2" => Ok(RawValue::TRUE.to_owned()),
            other => Err(RpcError::method_not_found(other)),
        }
    }
}

/// One row's figures.
struct Row {
    per_second: f64,
    p50: Duration,
    p99: Duration,
}

impl Row {
    fn of(mut times: Vec<Duration>, took: Duration) -> Self {
        times.sort_unstable();
        let at = |share: usize| {
            times
                .get(times.len() * share / 100)
                .copied()
                .unwrap_or_default()
        };
        Self {
            per_second: times.len() as f64 / took.as_secs_f64(),
            p50: at(50),
            p99: at(99),
        }
    }
}

fn certificates() -> (TempDir, TlsFiles) {
    let dir = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let write = |name: &str, text: String| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let ca = write("ca.pem", params.self_signed(&key).unwrap().pem());
    let issuer = Issuer::new(params, key);
    let end_key = KeyPair::generate().unwrap();
    let end = CertificateParams::default()
        .signed_by(&end_key, &issuer)
        .unwrap();
    let files = TlsFiles {
        cert: write("cert.pem", end.pem()),
        key: write("key.pem", end_key.serialize_pem()),
        ca,
    };
    (dir, files)
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

fn open(address: SocketAddr, tls: Option<&TlsFiles>) -> Box<dyn Stream> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let Some(files) = tls else {
        return Box::new(stream);
    };
    let name = rustls_pki_types::ServerName::try_from("host").unwrap();
    let session = rustls::ClientConnection::new(files.client_config().unwrap(), name).unwrap();
    Box::new(rustls::StreamOwned::new(session, stream))
}

/// Reads until a frame ends; the frames of this bench hold no NUL within.
fn read_frame(stream: &mut dyn Stream) {
    let mut buffer = [0; 1024];
    loop {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "the server closed");
        if buffer.get(..count).unwrap().contains(&0) {
            return;
        }
    }
}

fn ask(address: SocketAddr, tls: Option<&TlsFiles>) -> Vec<Duration> {
    let mut stream = open(address, tls);
    stream
        .write_all(b"CONNECT\naccept-version:1.2\nheart-beat:0,0\n\n\0")
        .unwrap();
    read_frame(&mut *stream);
    let body = r#"{"jsonrpc": "2.0", "method": "Host.ping2", "params": {}, "id": "00000000-0000-0000-0000-000000002003"}"#;
    // Each thread has its own queue: replies go to all subscribers of one.
    let queue = format!("{:?}", thread::current().id());
    let queue = queue.replace(['(', ')'], "");
    write!(stream, "SUBSCRIBE\ndestination:{queue}\nid:1\n\n\0").unwrap();
    let request = format!(
        "SEND\ndestination:jms.topic.vdsm_requests\ncontent-type:application/json\n\
         reply-to:{queue}\ncontent-length:{}\n\n{body}\0",
        body.len()
    );
    let mut times = Vec::with_capacity(200_000);
    let (start, mut warm) = (Instant::now(), false);
    while start.elapsed() < TIME + TIME / 10 {
        if !warm && start.elapsed() > TIME / 10 {
            warm = true;
            times.clear();
        }
        let sent = Instant::now();
        stream.write_all(request.as_bytes()).unwrap();
        read_frame(&mut *stream);
        times.push(sent.elapsed());
    }
    times
}

fn raw(address: SocketAddr, tls: Option<&TlsFiles>, connections: usize) -> Row {
    let tls = tls.cloned();
    let threads: Vec<_> = (0..connections)
        .map(|_| {
            let tls = tls.clone();
            thread::spawn(move || ask(address, tls.as_ref()))
        })
        .collect();
    let times = threads
        .into_iter()
        .flat_map(|thread| thread.join().unwrap())
        .collect();
    Row::of(times, TIME)
}

async fn with_client(address: SocketAddr, tls: Option<TlsFiles>, in_flight: usize) -> Row {
    let config = ClientConfig::new(address.try_into().unwrap(), tls);
    let client = Client::connect(config).await.unwrap();
    let start = Instant::now();
    let tasks: Vec<_> = (0..in_flight)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                let mut times = Vec::with_capacity(200_000);
                while start.elapsed() < TIME {
                    let sent = Instant::now();
                    client.call("Host.ping2", None, None, TIME).await.unwrap();
                    times.push(sent.elapsed());
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    Row::of(times, TIME)
}

fn print(name: &str, row: &Row) {
    println!(
        "{name:<28} {:>9.0} pings/s   p50 {:>4} us   p99 {:>4} us",
        row.per_second,
        row.p50.as_micros(),
        row.p99.as_micros()
    );
}

fn ratio(name: &str, above: &Row, below: &Row) {
    println!(
        "ratio {name:<34} {:>6.2}",
        above.per_second / below.per_second
    );
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let (_dir, files) = certificates();
    let serve = |security| {
        let config = ServerConfig::new("127.0.0.1:0".parse().unwrap(), security);
        runtime.block_on(Server::bind(config, Ping)).unwrap()
    };
    let plain = serve(Security::Plain);
    let tls = serve(Security::Tls(files.server_config().unwrap()));
    let (plain, tls) = (Arc::new(plain), Arc::new(tls));

    let plain_1 = raw(plain.local_addr(), None, 1);
    print("plain, 1 connection", &plain_1);
    let plain_8 = raw(plain.local_addr(), None, 8);
    print("plain, 8 connections", &plain_8);
    let tls_1 = raw(tls.local_addr(), Some(&files), 1);
    print("TLS, 1 connection", &tls_1);
    let tls_8 = raw(tls.local_addr(), Some(&files), 8);
    print("TLS, 8 connections", &tls_8);
    let client_1 = runtime.block_on(with_client(plain.local_addr(), None, 1));
    print("Client, plain, 1 in flight", &client_1);
    let client_64 = runtime.block_on(with_client(plain.local_addr(), None, 64));
    print("Client, plain, 64 in flight", &client_64);
    let client_tls = runtime.block_on(with_client(tls.local_addr(), Some(files.clone()), 64));
    print("Client, TLS, 64 in flight", &client_tls);

    ratio("8 connections / 1, plain", &plain_8, &plain_1);
    ratio("8 connections / 1, TLS", &tls_8, &tls_1);
    ratio("TLS / plain, 1 connection", &tls_1, &plain_1);
    ratio("TLS / plain, 8 connections", &tls_8, &plain_8);
    ratio("Client / raw, plain, 1 in flight", &client_1, &plain_1);
}
