//! Clients that do not behave, through the port: what is announced too large, garbage, crowds, those that never
//! read, requests that are wrong or whose asker is gone. Each time the agent says what was wrong, keeps its size,
//! gives everything back, and serves the others.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test's helpers fail the test"
)]

mod common;

use std::{
    collections::BTreeSet,
    io::Write as _,
    net::SocketAddr,
    time::{Duration, Instant},
};

use common::{
    Agent, Serving as _,
    daemon::{Footprint, peak, resident},
    guarded,
    storage::Storage,
    wait_for,
    wire::{Wire, gone, message},
};
use serde_json::{Value, json};

const PING: &[u8] = br#"{"jsonrpc":"2.0","method":"Host.ping2","params":{},"id":"p"}"#;

/// Runs a scene with an agent, and looks whether the agent gave back what it took.
fn with_agent(more: &[common::Setting<'_>], scene: impl FnOnce(&Agent)) {
    let mut agent = Agent::start_with(more);
    let before = Footprint::of(agent.pid());
    scene(&agent);
    assert_eq!(agent.ok("Host.ping2", json!({})), json!(true));
    before.comes_back(agent.pid());
    assert!(agent.is_running());
    assert!(!agent.log().contains("panic"), "{}", agent.log_tail());
    agent.stop();
}

/// Waits for a line of the log that has all these words.
fn logged(agent: &Agent, words: &[&str]) {
    wait_for(&format!("a line with {words:?}"), || {
        let log = agent.log();
        log.lines()
            .any(|line| words.iter().all(|word| line.contains(word)))
            .then_some(())
    });
}

#[test]
fn a_frame_of_a_gibibyte_is_refused_before_memory_grows() {
    guarded!(|| with_agent(&[], |agent| {
        let before = resident(agent.pid());
        let head =
            b"SEND\ndestination:jms.topic.vdsm_requests\ncontent-length:1073741824\n\n" as &[u8];
        for greeted in [true, false] {
            let mut wire = if greeted {
                Wire::greeted(agent.address())
            } else {
                Wire::open(agent.address())
            };
            wire.send(head);
            let told = wire.next().expect("an ERROR frame");
            assert_eq!(told.command, "ERROR", "{told:?}");
            assert!(told.head.contains("exceeds 4194304 bytes"), "{}", told.head);
            // The peer goes on regardless: for a moment it is heard out, then the connection is closed.
            let (start, chunk) = (Instant::now(), vec![b'x'; 1 << 20]);
            while !wire.stream.write_all(&chunk).is_err_and(|it| gone(&it)) {
                assert!(
                    start.elapsed() < Duration::from_secs(10),
                    "it is still listened to"
                );
            }
        }
        logged(agent, &["malformed frame", "exceeds 4194304 bytes"]);
        let after = peak(agent.pid());
        println!("figure: resident before {before} KiB, at most {after} KiB");
        assert!(after < before + 4 * 1024, "{before} KiB -> {after} KiB");
    }));
}

#[test]
fn what_is_announced_and_does_not_come_takes_no_memory() {
    guarded!(|| with_agent(&[], |agent| {
        let before = resident(agent.pid());
        let wires: Vec<_> = (0..100)
            .map(|_| {
                let mut wire = Wire::greeted(agent.address());
                wire.send(
                    b"SEND\ndestination:jms.topic.vdsm_requests\ncontent-length:4000000\n\n[1,",
                );
                wire
            })
            .collect();
        assert_eq!(agent.ok("Host.ping2", json!({})), json!(true));
        let after = peak(agent.pid());
        println!("figure: 100 unfinished frames of 4 MB: {before} KiB -> {after} KiB");
        assert!(after < before + 16 * 1024, "{before} KiB -> {after} KiB");
        drop(wires);
    }));
}

#[test]
fn heads_without_end_are_cut_off() {
    guarded!(|| with_agent(&[], |agent| {
        let before = resident(agent.pid());
        let endless_name = vec![b'a'; 1 << 20];
        let headers = "name:value\n".repeat(100_000);
        for bytes in [
            [b"SEND\n" as &[u8], &endless_name].concat(),
            [b"SEND\n", headers.as_bytes()].concat(),
            endless_name.clone(),
        ] {
            let mut wire = Wire::greeted(agent.address());
            let _ = wire.stream.write_all(&bytes);
            wire.ends();
        }
        let after = peak(agent.pid());
        assert!(after < before + 4 * 1024, "{before} KiB -> {after} KiB");
    }));
}

#[test]
fn garbage_ends_its_connection_and_nothing_else() {
    guarded!(|| with_agent(&[], |agent| {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut samples: Vec<Vec<u8>> = [
            b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" as &[u8],
            b"\xff\xfe\xfd\xfc\n\n\0",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"POST /RPC2 HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc",
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"CONNECT\naccept-version:1.2\ncontent-length:-1\n\n\0",
            b"CONNECT\naccept-version:1.2\ncontent-length:99999999999999999999999\n\n\0",
            b"SEND\ndestination:\\x\n\n\0",
            b"SEND\n:\n\n\0",
            b"SEND\n\xc3\x28:\xc3\x28\n\n\0",
            b"CONNECTED\nversion:1.2\n\n\0NOTHING\n\n\0",
        ]
        .map(<[u8]>::to_vec)
        .to_vec();
        samples.extend((1..40).map(|size| random.bytes(size * 37)));
        for sample in &samples {
            let mut silent = Wire::open(agent.address());
            let _ = silent.stream.write_all(sample);
            let _ = silent.stream.shutdown(std::net::Shutdown::Write);
            silent.ends();
            let mut greeted = Wire::greeted(agent.address());
            let _ = greeted.stream.write_all(sample);
            let _ = greeted.stream.shutdown(std::net::Shutdown::Write);
            while drained(&mut greeted) {}
            assert_eq!(agent.ok("Host.ping2", json!({})), json!(true));
        }
    }));
}

/// Takes one frame, whatever it is; false at the end.
fn drained(wire: &mut Wire) -> bool {
    wire.next().is_some()
}

/// Xorshift: the same bytes at every run.
struct Random(u64);

impl Random {
    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let next = |_| {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0.to_le_bytes()[3]
        };
        (0..count).map(next).collect()
    }
}

#[test]
fn a_thousand_idle_connections_cost_little_and_hinder_nobody() {
    guarded!(|| {
        many_descriptors();
        let settings = [("rpc", "handshake_timeout", "120")];
        with_agent(&settings, |agent| {
            let before = resident(agent.pid());
            let silent: Vec<_> = (0..500).map(|_| Wire::open(agent.address())).collect();
            let connected: Vec<_> = (0..500).map(|_| Wire::greeted(agent.address())).collect();
            wait_for("the connections", || {
                (Footprint::of(agent.pid()).descriptors >= 1000).then_some(())
            });
            let slowest = slowest_ping(agent.address(), 200);
            let after = resident(agent.pid());
            let each = (after - before) * 1024 / 1000;
            println!(
                "figure: 1000 idle connections: {before} -> {after} KiB, {each} bytes each; slowest of 200 pings {slowest:?}"
            );
            assert!(slowest < Duration::from_secs(5), "{slowest:?}");
            assert!(each < 64 * 1024, "{each} bytes each");
            drop((silent, connected));
        });
    });
}

/// The test holds one end of each connection.
fn many_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
}

fn slowest_ping(address: SocketAddr, count: usize) -> Duration {
    let mut wire = Wire::subscribed(address);
    let time = |_| {
        let start = Instant::now();
        wire.request(PING);
        assert_eq!(wire.next().expect("an answer").json()["result"], true);
        start.elapsed()
    };
    (0..count).map(time).max().unwrap()
}

#[test]
fn who_says_nothing_is_closed_and_who_is_too_many_is_refused() {
    guarded!(|| {
        let settings = [
            ("rpc", "handshake_timeout", "1"),
            ("rpc", "idle_timeout", "2"),
            ("rpc", "max_connections", "8"),
        ];
        with_agent(&settings, |agent| {
            let mut silent = Wire::open(agent.address());
            let mut half = Wire::open(agent.address());
            half.send(b"CONN");
            let mut idle = Wire::greeted(agent.address());
            let mut listening = Wire::subscribed(agent.address());
            let mut crowd: Vec<_> = (0..8).map(|_| Wire::open(agent.address())).collect();
            logged(agent, &["connection refused", "too many connections"]);
            crowd.iter_mut().for_each(Wire::ends);
            silent.ends();
            half.ends();
            idle.ends();
            for why in ["no complete frame within 1 s", "nothing was said for 2 s"] {
                logged(agent, &["closed", why]);
            }
            // Who has subscribed may be silent for as long as it likes.
            listening.request(PING);
            assert_eq!(listening.next().expect("an answer").json()["result"], true);
        });
    });
}

#[test]
fn who_never_reads_its_answers_is_cut_off() {
    guarded!(|| {
        let settings = [("rpc", "max_outgoing_bytes", "1048576")];
        with_agent(&settings, |agent| {
            let before = resident(agent.pid());
            let mut deaf = Wire::subscribed(agent.address());
            let echo = json!({"jsonrpc": "2.0", "id": 1, "method": "Host.echo",
                              "params": {"message": "x".repeat(200_000)}});
            let frame = message(rpc::REQUEST_QUEUE, echo.to_string().as_bytes());
            let mut served = 0;
            let cut = (0..500).any(|_| {
                assert_eq!(agent.ok("Host.ping2", json!({})), json!(true));
                served += 1;
                deaf.stream.write_all(&frame).is_err_and(|it| gone(&it))
            });
            assert!(cut, "100 MB of answers were queued for one who reads none");
            logged(agent, &["closed", "the peer does not read"]);
            let after = peak(agent.pid());
            println!(
                "figure: cut off after {served} requests of 200 kB; {before} KiB -> at most {after} KiB"
            );
            assert!(after < before + 16 * 1024, "{before} KiB -> {after} KiB");
        });
    });
}

#[test]
fn who_never_reads_its_events_is_cut_off_and_others_get_them() {
    guarded!(|| {
        let settings = [("rpc", "max_outgoing_bytes", "1048576")];
        with_agent(&settings, |agent| {
            let before = resident(agent.pid());
            let mut deaf = Wire::greeted(agent.address());
            deaf.subscribe(rpc::EVENT_QUEUE, "events");
            let mut eager = Wire::greeted(agent.address());
            eager.subscribe(rpc::EVENT_QUEUE, "events");
            let mut speaker = Wire::greeted(agent.address());
            let text = "e".repeat(100_000);
            for number in 0..200 {
                let event = json!({"jsonrpc": "2.0", "method": "|test|event|",
                                   "params": {"number": number, "text": text}});
                speaker.message(rpc::EVENT_QUEUE, event.to_string().as_bytes());
                let got = eager.next().expect("the event").json();
                assert_eq!(got["params"]["number"], number);
            }
            logged(agent, &["closed", "the peer does not read"]);
            let after = peak(agent.pid());
            println!("figure: 20 MB of events: {before} KiB -> at most {after} KiB");
            assert!(after < before + 16 * 1024, "{before} KiB -> {after} KiB");
        });
    });
}

#[test]
fn wrong_json_is_answered_and_the_connection_goes_on() {
    guarded!(|| with_agent(&[], |agent| {
        let mut wire = Wire::subscribed(agent.address());
        let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
        let deep_params = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"Host.echo","params":{{"message":{deep}}}}}"#
        );
        let many = format!("[{}]", vec!["1"; 2000].join(","));
        for (body, codes) in [
            (&b""[..], &[-32700][..]),
            (b"{", &[-32700]),
            (b"nonsense", &[-32700]),
            (
                b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"Host.ping2\"",
                &[-32700],
            ),
            (b"\xff\xfe{}", &[-32700]),
            (b"{} {}", &[-32700]),
            (b"{}", &[-32600]),
            (b"[]", &[-32600]),
            (b"17", &[-32600]),
            (b"null", &[-32600]),
            (b"\"Host.ping2\"", &[-32600]),
            (
                br#"{"jsonrpc":"1.0","id":1,"method":"Host.ping2"}"#,
                &[-32600],
            ),
            (br#"{"jsonrpc":"2.0","id":1,"method":7}"#, &[-32600]),
            (
                br#"{"jsonrpc":"2.0","id":{"a":1},"method":"Host.ping2"}"#,
                &[-32600],
            ),
            (
                br#"{"jsonrpc":"2.0","id":1,"method":"Host.ping2","params":"x"}"#,
                &[-32600],
            ),
            (many.as_bytes(), &[-32600]),
            (deep.as_bytes(), &[-32700, -32600]),
            (deep_params.as_bytes(), &[-32700, -32600, -32602]),
        ] {
            wire.request(body);
            let answer = wire.next().expect("an answer").json();
            // A list of one list is a batch of one.
            let answer = answer.get(0).unwrap_or(&answer);
            let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
            let code = answer["error"]["code"].as_i64().unwrap_or_else(|| {
                panic!("{shown}: {:.100}", answer.to_string());
            });
            assert!(codes.contains(&code), "{shown}: {answer}");
            assert!(!answer["error"]["message"].as_str().unwrap().is_empty());
        }
        wire.request(PING);
        assert_eq!(wire.next().expect("an answer").json()["result"], true);
    }));
}

#[test]
fn batches_are_answered_member_by_member() {
    guarded!(|| with_agent(&[], |agent| {
        let mut wire = Wire::subscribed(agent.address());
        let batch = json!([
            {"jsonrpc": "2.0", "id": "ping", "method": "Host.ping2", "params": {}},
            {"jsonrpc": "2.0", "method": "Host.setLogLevel", "params": {"level": "DEBUG"}},
            {"jsonrpc": "2.0", "id": 7, "method": "Host.getStorageDomains", "params": {}},
            {"jsonrpc": "2.0", "id": "none", "method": "Host.noSuch"},
            {"jsonrpc": "2.0", "id": null, "method": "Host.echo", "params": {"message": "a note"}},
            {"jsonrpc": "2.0", "id": "bad", "method": "Host.echo", "params": {}},
            {"jsonrpc": "2.0", "id": "task", "method": "Task.getStatus",
             "params": {"taskID": "8c0e1c4f-1d51-4a6e-9e5f-6a0f6f1d2c3b"}},
            17,
        ]);
        wire.request(batch.to_string().as_bytes());
        let answers = wire.next().expect("one answer for the batch").json();
        let outcome = |id: &Value| {
            let of: Vec<_> = answers
                .as_array()
                .unwrap()
                .iter()
                .filter(|it| it["id"] == *id)
                .collect();
            assert_eq!(of.len(), 1, "{id}: {answers}");
            of[0]["error"]["code"].as_i64().unwrap_or(0)
        };
        assert_eq!(answers.as_array().unwrap().len(), 6, "{answers}");
        for (id, code) in [
            (json!("ping"), 0),
            (json!(7), 0),
            (json!("none"), -32601),
            (json!("bad"), -32602),
            (json!("task"), 401),
            (json!(null), -32600),
        ] {
            assert_eq!(outcome(&id), code, "{id}");
        }
        // Nobody asked for an answer: none comes before the next one.
        let notes = json!([
            {"jsonrpc": "2.0", "method": "Host.ping2", "params": {}},
            {"jsonrpc": "2.0", "method": "Host.getStorageDomains", "params": {}},
        ]);
        wire.request(notes.to_string().as_bytes());
        wire.request(PING);
        assert_eq!(wire.next().expect("the ping's answer").json()["id"], "p");
    }));
}

#[test]
fn the_same_id_at_once_is_answered_to_each_asker() {
    guarded!(|| with_agent(&[], |agent| {
        let mut wires: Vec<_> = (0..2).map(|_| Wire::greeted(agent.address())).collect();
        for (number, wire) in wires.iter_mut().enumerate() {
            // Queues of their own: a queue is heard by all who subscribe to it.
            wire.subscribe(&format!("answers.{number}"), "answers");
        }
        for round in 0..50 {
            for (number, wire) in wires.iter_mut().enumerate() {
                for part in ["a", "b"] {
                    let body = json!({"jsonrpc": "2.0", "id": "same", "method": "Host.echo",
                                      "params": {"message": format!("{round} {number} {part}")}});
                    let body = body.to_string();
                    let frame = format!(
                        "SEND\ndestination:{}\nreply-to:answers.{number}\ncontent-length:{}\n\n{body}\0",
                        rpc::REQUEST_QUEUE,
                        body.len()
                    );
                    wire.send(frame.as_bytes());
                }
            }
            for (number, wire) in wires.iter_mut().enumerate() {
                let got: BTreeSet<_> = (0..2)
                    .map(|_| {
                        let answer = wire.next().expect("an answer").json();
                        assert_eq!(answer["id"], "same");
                        answer["result"].as_str().unwrap().to_owned()
                    })
                    .collect();
                let wanted = ["a", "b"].map(|part| format!("{round} {number} {part}"));
                assert_eq!(got, BTreeSet::from(wanted));
            }
        }
        // An answer to a queue that nobody hears is dropped, and that is all.
        wires[0].request(PING);
        wires[1].request(PING);
    }));
}

#[test]
fn a_request_is_carried_out_though_its_asker_is_gone() {
    guarded!(|| with_agent(&[], |agent| {
        let storage = Storage::plan(agent);
        let connect = json!({"jsonrpc": "2.0", "id": 1, "method": "StoragePool.connectStorageServer",
                             "params": storage.server()});
        let mut wire = Wire::subscribed(agent.address());
        wire.request(connect.to_string().as_bytes());
        wire.finish();
        drop(wire);
        wait_for("the folder to be connected", || {
            let link = agent.path("data-center/mnt");
            std::fs::read_dir(link)
                .is_ok_and(|mut it| it.next().is_some())
                .then_some(())
        });
        // A hundred who leave at once, in the middle of their requests.
        for number in 0..100 {
            let mut wire = Wire::subscribed(agent.address());
            let slow = json!({"jsonrpc": "2.0", "id": number, "method": "Host.getCapabilities", "params": {}});
            let frame = message(rpc::REQUEST_QUEUE, slow.to_string().as_bytes());
            wire.send(&frame);
            wire.send(&frame[..frame.len() / 2]);
        }
        assert_eq!(agent.ok("Host.getStorageDomains", json!({})), json!([]));
    }));
}
