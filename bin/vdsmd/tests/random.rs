//! Random calls over all verbs on a live agent with a pool, a volume and a VM: parameters of the declared types,
//! right ones and damaged ones, on several connections. It never ends, never panics, keeps its size, and each of its
//! own answers is as declared. `VDSM_RANDOM_CALLS=100000` makes more calls than the check does; `VDSM_RANDOM_SEED`
//! other ones.
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
    collections::BTreeMap,
    env,
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use common::{
    Agent, Serving as _,
    daemon::resident,
    guarded,
    params::{Guess, Random},
    storage::{NONE, Storage, id},
    wire::Wire,
};
use serde_json::{Value, json};

/// Calls in the ordinary check, and the time after which it makes no more.
const CALLS: usize = 20_000;
const TIME: Duration = Duration::from_secs(20);
/// Connections that call at one time.
const CONNECTIONS: usize = 4;
/// What the agent may grow by, KiB.
const SLACK: u64 = 128 * 1024;
/// Verbs that are not called: the log would fall silent, and nobody could see a panic.
const NOT_CALLED: [&str; 1] = ["Host.setLogLevel"];

/// Verbs that undo what the others work on: called more rarely.
const RARE: [&str; 8] = [
    "VM.destroy",
    "StoragePool.destroy",
    "StoragePool.disconnect",
    "StoragePool.disconnectStorageServer",
    "StoragePool.spmStop",
    "StorageDomain.deactivate",
    "StorageDomain.detach",
    "StorageDomain.format",
];

fn number(variable: &str) -> Option<usize> {
    env::var(variable).ok()?.parse().ok()
}

#[test]
fn random_calls_do_no_harm() {
    guarded!(|| {
        let wanted = number("VDSM_RANDOM_CALLS");
        let (calls, time) = wanted.map_or((CALLS, TIME), |it| (it, Duration::MAX));
        let seed = number("VDSM_RANDOM_SEED").unwrap_or(1) as u64;
        let mut agent = Agent::start_with(&[
            ("vars", "log_level", "info"),
            ("irs", "process_pool_timeout", "5"),
        ]);
        let storage = Storage::build(&agent);
        let (image, volume) = storage.create_volume(&agent, 1 << 20, 5, 2);
        let vm = id();
        let xml = format!(
            "<domain type='test'><name>{vm}</name><uuid>{vm}</uuid><memory>65536</memory>\
             <os><type>hvm</type></os><devices/></domain>"
        );
        agent.ok("VM.create", json!({"vmID": vm, "vmParams": {"xml": xml}}));
        let ids = [
            &storage.pool,
            &storage.domain,
            &image,
            &volume,
            &vm,
            &NONE.to_owned(),
            &id(),
        ];
        let ids = ids.map(Clone::clone);
        let texts = [
            storage.path.clone(),
            xml,
            vm,
            "/nonexistent".to_owned(),
            "5".to_owned(),
        ];
        let before = resident(agent.pid());
        let (start, made) = (Instant::now(), AtomicUsize::new(0));
        let address = agent.address();
        let outcomes: Vec<BTreeMap<i64, usize>> = std::thread::scope(|scope| {
            let (ids, texts, made) = (&ids, &texts, &made);
            let callers: Vec<_> = (0..CONNECTIONS)
                .map(|nth| {
                    scope.spawn(move || {
                        let guess = Guess {
                            random: Random::new(seed * 1000 + nth as u64),
                            ids,
                            texts,
                        };
                        let go_on = || {
                            made.fetch_add(1, Ordering::Relaxed) < calls && start.elapsed() < time
                        };
                        call(&mut Asker::new(address, nth), guess, go_on)
                    })
                })
                .collect();
            callers.into_iter().map(|it| it.join().unwrap()).collect()
        });
        let mut codes = BTreeMap::new();
        for (code, count) in outcomes.into_iter().flatten() {
            *codes.entry(code).or_insert(0) += count;
        }
        let after = resident(agent.pid());
        let count: usize = codes.values().sum();
        println!(
            "figure: {count} random calls in {:.1} s, resident {before} -> {after} KiB; answers by code: {codes:?}",
            start.elapsed().as_secs_f64()
        );
        assert!(agent.is_running(), "{}", agent.log_tail());
        assert_eq!(agent.ok("Host.ping2", json!({})), json!(true));
        agent.ok("Host.getStats", json!({}));
        assert!(!agent.log().contains("panic"), "{}", agent.log_tail());
        assert!(after < before + SLACK, "{before} -> {after} KiB");
        assert!(codes.len() > 5 && codes.contains_key(&0), "{codes:?}");
        assert!(!codes.contains_key(&-32603), "{}", agent.log_tail());
    });
}

/// A connection with a queue of its own: what is sent to a queue is heard by all who subscribe to it.
struct Asker {
    wire: Wire,
    queue: String,
}

impl Asker {
    fn new(address: SocketAddr, nth: usize) -> Self {
        let (mut wire, queue) = (Wire::greeted(address), format!("answers.{nth}"));
        wire.subscribe(&queue, "answers");
        Self { wire, queue }
    }

    fn ask(&mut self, body: &str) -> Value {
        let head = format!(
            "SEND\ndestination:{}\nreply-to:{}\ncontent-length:{}\n\n",
            rpc::REQUEST_QUEUE,
            self.queue,
            body.len()
        );
        self.wire
            .send(&[head.as_bytes(), body.as_bytes(), b"\0"].concat());
        self.wire.next().expect("an answer").json()
    }
}

/// Calls until it is enough; answers how often which code came.
fn call(asker: &mut Asker, mut guess: Guess<'_>, go_on: impl Fn() -> bool) -> BTreeMap<i64, usize> {
    let verbs: Vec<_> = schema::verbs()
        .filter(|verb| !NOT_CALLED.contains(&verb.method))
        .collect();
    let implemented: Vec<_> = verbs
        .iter()
        .filter(|verb| verb.implemented)
        .copied()
        .collect();
    let mut codes = BTreeMap::new();
    while go_on() {
        // What is not implemented has little to tell.
        let some = if guess.random.once_in(10) {
            &verbs
        } else {
            &implemented
        };
        let verb = loop {
            let verb = *guess.random.pick(some);
            if !RARE.contains(&verb.method) || guess.random.once_in(50) {
                break verb;
            }
        };
        let mut params = guess.params(verb);
        for _ in 0..guess.random.below(3) {
            guess.damage(&mut params);
        }
        if guess.random.once_in(20) {
            params = positional(params);
        }
        let request = json!({"jsonrpc": "2.0", "id": 7, "method": verb.method, "params": params});
        let answer = asker.ask(&request.to_string());
        assert_eq!(answer["id"], 7, "{request} {answer}");
        let code = answer["error"]["code"].as_i64().unwrap_or(0);
        assert_eq!(code == 0, answer.get("result").is_some(), "{answer}");
        if code == -32603 {
            println!("{request:.300} {answer:.300}");
        }
        *codes.entry(code).or_insert(0) += 1;
    }
    codes
}

fn positional(params: Value) -> Value {
    match params {
        Value::Object(map) => map.into_iter().map(|(_, value)| value).collect(),
        other => json!([other]),
    }
}
