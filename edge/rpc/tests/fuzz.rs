//! Hostile bytes: the corpus beneath `tests/corpus`, replayed by every run, and mutations of it.
//!
//! A run makes a bounded number of mutations, each run others (the seed is printed). `VDSM_FUZZ_SECONDS=600`
//! mutates for that long in each test instead; `VDSM_FUZZ_SEED` repeats a run. What breaks a rule is written to
//! a file beside the test's program, whose name is told; put it into the corpus with the fix.
//!
//! The rules: nothing panics; frames keep to the limits, do not depend on how bytes were split, and read back as
//! what they were; any text is a request or an error; a server that got any bytes still serves others.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test's helpers fail the test"
)]

mod common;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use common::certs::Ca;
use common::{TestService, Wire, local, log, plain_with};
use rpc::frame::{Codec, Frame, FrameLimits};
use rpc::jsonrpc::{Incoming, Rejected, Request, parse, write_response};
use rpc::{Client, ClientConfig, Security, Server, ServerConfig};
use tokio::io::AsyncWriteExt;
use tokio_util::codec::Decoder;

/// Pieces that get far into parsers.
const TOKENS: &[&[u8]] = &[
    b"\0",
    b"\n",
    b"\r\n",
    b"\n\n",
    b"\n\n\0",
    b":",
    b"\\",
    b"\\c",
    b"\\m",
    b"content-length:",
    b"content-length:0\n",
    b"content-length:4294967296\n",
    b"destination:r\n",
    b"id:1\n",
    b"receipt:x\n",
    b"reply-to:r\n",
    b"heart-beat:1,1\n",
    b"jms.topic.vdsm_requests",
    b"CONNECT\n",
    b"SEND\n",
    b"SUBSCRIBE\n",
    b"DISCONNECT\n",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b"\"",
    b"null",
    b"-1",
    b"1e999",
    b"\\ud800",
    b"\"id\":",
    b"\"method\":",
    b"\"jsonrpc\":\"2.0\"",
    b"\xff",
    b"\xf0\x9f\x98\x80",
    b"\x16\x03\x01",
    b"GET /",
];

/// Numbers that repeat with their seed (xorshift).
struct Dice(u64);

impl Dice {
    fn seeded() -> Self {
        let given = std::env::var("VDSM_FUZZ_SEED").ok();
        let seed = given.map_or_else(
            || u64::from(uuid::Uuid::new_v4().as_fields().0),
            |it| it.parse().unwrap(),
        );
        println!("VDSM_FUZZ_SEED={seed}");
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 32).unwrap() % bound.max(1)
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }
}

fn corpus(kind: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus")
        .join(kind);
    let mut all: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    all.sort();
    assert!(all.len() > 20, "the corpus is not there");
    all
}

fn mutate(dice: &mut Dice, seeds: &[(PathBuf, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = seeds[dice.below(seeds.len())].1.clone();
    for _ in 0..=dice.below(6) {
        let (at, length) = (dice.below(bytes.len() + 1), 1 + dice.below(24));
        let end = (at + length).min(bytes.len());
        match dice.below(8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            1 if at < bytes.len() => bytes[at] = dice.byte(),
            2 => drop(bytes.drain(at..end)),
            3 => bytes.truncate(at),
            4 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            5 => {
                let other = &seeds[dice.below(seeds.len())].1;
                let from = dice.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => drop(bytes.splice(at..at, TOKENS[dice.below(TOKENS.len())].iter().copied())),
        }
    }
    bytes
}

/// How long to go on: so many inputs, or the time that the environment gives.
struct Budget {
    inputs: usize,
    until: Option<Instant>,
}

impl Budget {
    fn of(inputs: usize) -> Self {
        let seconds = std::env::var("VDSM_FUZZ_SECONDS").ok();
        let until = seconds.map(|text| Instant::now() + Duration::from_secs(text.parse().unwrap()));
        Self { inputs, until }
    }

    fn goes_on(&self, done: usize) -> bool {
        match self.until {
            Some(end) => Instant::now() < end,
            None => done < self.inputs,
        }
    }
}

/// Tries the corpus of a kind and mutations of it.
fn try_all(kind: &str, inputs: usize, rule: impl Fn(&mut Dice, &[u8])) {
    let (seeds, mut dice) = (corpus(kind), Dice::seeded());
    for (path, bytes) in &seeds {
        println!("{}", path.display());
        rule(&mut dice, bytes);
    }
    let (budget, mut done) = (Budget::of(inputs), 0);
    while budget.goes_on(done) {
        let bytes = mutate(&mut dice, &seeds);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| rule(&mut dice, &bytes))) {
            keep(kind, &bytes);
            std::panic::resume_unwind(panic);
        }
        done += 1;
    }
    println!("{kind}: {done} mutations");
}

fn keep(kind: &str, bytes: &[u8]) {
    let name = format!("fuzz-{kind}-{}", uuid::Uuid::new_v4());
    let path = std::env::current_exe().unwrap().with_file_name(name);
    fs::write(&path, bytes).unwrap();
    println!("kept: {}", path.display());
}

fn frames(limits: FrameLimits, chunks: &[&[u8]]) -> (Vec<Frame>, Option<String>) {
    let (mut codec, mut src, mut all) = (Codec::new(limits), BytesMut::new(), Vec::new());
    for chunk in chunks {
        src.extend_from_slice(chunk);
        loop {
            match codec.decode(&mut src) {
                Ok(Some(frame)) => all.push(frame),
                Ok(None) => break,
                Err(error) => return (all, Some(error.to_string())),
            }
        }
    }
    (all, None)
}

#[test]
fn frames_of_any_bytes() {
    let small = FrameLimits {
        head: 200,
        headers: 5,
        body: 64,
    };
    try_all("frames", 6_000, |dice, bytes| {
        for limits in [small, FrameLimits::default()] {
            let whole = frames(limits, &[bytes]);
            let (first, rest) = bytes.split_at(dice.below(bytes.len() + 1));
            let (second, third) = rest.split_at(dice.below(rest.len() + 1));
            assert_eq!(frames(limits, &[first, second, third]), whole);
            for frame in whole.0 {
                assert!(
                    frame.body.len() <= limits.body && frame.headers().count() <= limits.headers
                );
                // Carriage returns within a line of a frame without escapes have no form to be written in.
                if let Ok(written) = frame.to_bytes() {
                    let roomy = FrameLimits {
                        head: usize::MAX,
                        headers: usize::MAX,
                        ..limits
                    };
                    assert_eq!(frames(roomy, &[&written]), (vec![frame], None));
                }
            }
        }
    });
}

#[test]
fn requests_of_any_text() {
    let check = |item: Result<Request, Rejected>| {
        let (id, reply) = match item {
            Ok(request) => {
                assert!(
                    request
                        .params
                        .is_none_or(|it| it.get().starts_with(['{', '[']))
                );
                (request.id, Ok(common::raw("true")))
            }
            Err(rejected) => {
                assert!(rejected.error.code < 0);
                (rejected.id, Err(rejected.error))
            }
        };
        let mut answer = Vec::new();
        write_response(&mut answer, id.as_deref(), &reply);
        // Whatever came, what is answered is JSON; numbers may be beyond what a parser of values takes.
        let answer: &serde_json::value::RawValue = serde_json::from_slice(&answer).unwrap();
        assert!(answer.get().starts_with("{\"jsonrpc\": \"2.0\", \"id\": "));
    };
    try_all("json", 20_000, |_, bytes| match parse(bytes, 100) {
        Incoming::Single(item) => check(item),
        Incoming::Batch(items) => {
            assert!(!items.is_empty() && items.len() <= 100);
            items.into_iter().for_each(check);
        }
    });
}

/// Sends bytes and hangs up, or waits for the server to.
async fn throw(server: &Server, bytes: &[u8], wait: bool) {
    let mut wire = Wire::connect(server).await;
    // A server that has closed already is as good.
    let _ = wire.stream.write_all(bytes).await;
    if wait {
        let _ = wire.stream.shutdown().await;
        wire.rest().await;
    }
}

fn on_a_runtime(scene: impl Future<Output = ()>) {
    log::init();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(scene);
}

async fn throw_all(kinds: &[&str], inputs: usize, server: &Server, lives: impl AsyncFn()) {
    let seeds: Vec<_> = kinds.iter().flat_map(|kind| corpus(kind)).collect();
    for (_, bytes) in &seeds {
        throw(server, bytes, true).await;
    }
    lives().await;
    let (mut dice, budget, mut done) = (Dice::seeded(), Budget::of(inputs), 0);
    while budget.goes_on(done) {
        let bytes = mutate(&mut dice, &seeds);
        throw(server, &bytes, dice.below(4) > 0).await;
        done += 1;
        if done % 500 == 0 {
            lives().await;
            assert!(!log::has("panicked"), "a call panicked");
        }
    }
    lives().await;
    common::until("all are forgotten", || server.connections() == 0).await;
    assert!(!log::has("panicked"), "a call panicked");
    println!("{kinds:?}: {done} mutations");
}

#[test]
fn a_plain_server_lives_through_any_bytes() {
    on_a_runtime(async {
        let (server, _) = plain_with(|config| {
            config.limits.first_frame = Duration::from_secs(2);
        })
        .await;
        throw_all(&["frames", "first-bytes"], 600, &server, async || {
            Wire::ready(&server).await.works().await;
        })
        .await;
    });
}

#[test]
fn a_tls_server_lives_through_any_bytes() {
    on_a_runtime(async {
        let ca = Ca::new("CA");
        let security = Security::Tls(ca.end("host").server_config().unwrap());
        let mut config = ServerConfig::new(local(), security);
        config.limits.first_frame = Duration::from_secs(2);
        let server = Server::bind(config, TestService::default()).await.unwrap();
        let own = ca.end("engine");
        throw_all(&["first-bytes"], 600, &server, async || {
            let address = server.local_addr().try_into().unwrap();
            let client = Client::connect(ClientConfig::new(address, Some(own.clone())));
            let client = client.await.unwrap();
            let answer = client.call("Host.ping2", None, None, common::PATIENCE);
            assert_eq!(answer.await.unwrap().get(), "true");
        })
        .await;
    });
}
