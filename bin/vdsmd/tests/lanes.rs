//! Calls that hang, and callers that are gone: the first hold up none of another kind, the second are not worked for.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test's helpers fail the test"
)]

mod common;

use std::time::{Duration, Instant};

use common::{
    Agent, Serving, guarded,
    hang::Hung,
    session::Session,
    storage::{Storage, id},
    wait_for,
    wire::Wire,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// Generous: what is not held up answers in milliseconds, what is in minutes.
const AT_ONCE: Duration = Duration::from_secs(10);
/// Longer than any test: what hangs hangs.
const NEVER: &str = "3600";

fn request(id: usize, verb: &str, params: &Value) -> Vec<u8> {
    json!({"jsonrpc": "2.0", "id": id, "method": verb, "params": params})
        .to_string()
        .into_bytes()
}

/// Waits for an answer. Others come as well: whoever subscribes to a queue hears all of it.
fn answered(wire: &mut Wire, id: usize) {
    while wire.next().expect("an answer").json()["id"] != id {}
}

/// Waits until so many lines of the log have all these words.
fn logged(agent: &Agent, count: usize, words: &[&str]) {
    wait_for(&format!("{count} lines with {words:?}"), || {
        (lines(agent, words) >= count).then_some(())
    });
}

fn lines(agent: &Agent, words: &[&str]) -> usize {
    let log = agent.log();
    let has_all = |line: &&str| words.iter().all(|word| line.contains(word));
    log.lines().filter(has_all).count()
}

fn at_once(agent: &impl Serving, verb: &str, params: Value) {
    let start = Instant::now();
    agent.ok(verb, params);
    let took = start.elapsed();
    assert!(took < AT_ONCE, "{verb} took {took:?}");
}

#[test]
fn a_hundred_hung_storage_calls_hold_up_nothing_else() {
    guarded!(|| {
        let mut agent = Agent::start_with(&[
            ("irs", "process_pool_timeout", NEVER),
            ("rpc", "tasks_per_worker", "20"),
            ("rpc", "worker_timeout", "1"),
        ]);
        let storage = Storage::build(&agent);
        let hung = Hung::file(&storage.inside("dom_md/metadata"));
        let mut wire = Wire::subscribed(agent.address());
        for number in 0..100 {
            wire.request(&request(number, "StorageDomain.getInfo", &storage.ids()));
        }
        logged(&agent, 8, &["StorageDomain.getInfo", "has not ended yet"]);
        for _ in 0..3 {
            for verb in [
                "Host.ping2",
                "Host.getStats",
                "Host.getAllVmStats",
                "Host.getVMList",
                "Host.getCapabilities",
                "Host.getStorageRepoStats",
                "Host.getAllTasksStatuses",
                "Host.dumpxmls",
            ] {
                at_once(&agent, verb, json!({}));
            }
        }
        drop(hung);
        for _ in 0..100 {
            assert!(wire.next().is_some());
        }
        agent.ok("StorageDomain.getInfo", storage.ids());
        drop(wire);
        agent.stop();
    });
}

#[test]
fn what_nobody_waits_for_is_dropped_and_what_changes_something_is_done() {
    guarded!(|| {
        let agent = Agent::start_with(&[
            ("irs", "process_pool_timeout", NEVER),
            ("rpc", "worker_threads", "1"),
            ("rpc", "tasks_per_worker", "100"),
        ]);
        let storage = Storage::build(&agent);
        let other = agent.path("other");
        std::fs::create_dir(&other).unwrap();
        let before = lines(
            &agent,
            &["vdsm.api", "verb=\"StorageDomain.getInfo\"", "outcome"],
        );
        let hung = Hung::file(&storage.inside("dom_md/metadata"));
        // One that runs and hangs: its asker stays.
        let mut patient = Wire::subscribed(agent.address());
        patient.request(&request(1, "StorageDomain.getInfo", &storage.ids()));
        let asked = Instant::now();
        // Fifty that wait and one that changes something: their asker goes.
        let mut hasty = Wire::subscribed(agent.address());
        for number in 0..50 {
            hasty.request(&request(number, "StorageDomain.getInfo", &storage.ids()));
        }
        let connect = json!({"storagepoolID": storage.pool, "domainType": 4,
            "connectionParams": [{"id": id(), "connection": other.display().to_string()}]});
        hasty.request(&request(99, "StoragePool.connectStorageServer", &connect));
        hasty.request(&request(100, "Host.ping2", &json!({})));
        answered(&mut hasty, 100);
        drop(hasty);
        let dropped = ["StorageDomain.getInfo", "dropped, its asker is gone"];
        logged(&agent, 50, &dropped);
        println!(
            "figure: fifty were dropped {:?} after they were asked",
            asked.elapsed()
        );
        let link = || links(&agent, "other");
        assert_eq!(
            link(),
            0,
            "the one that changes something waits for its turn"
        );
        drop(hung);
        answered(&mut patient, 1);
        wait_for("the connection to be made", || (link() == 1).then_some(()));
        agent.ok("StorageDomain.getInfo", storage.ids());
        let all = || {
            lines(
                &agent,
                &["vdsm.api", "verb=\"StorageDomain.getInfo\"", "outcome"],
            )
        };
        wait_for("the lines", || (all() >= before + 52).then_some(()));
        assert_eq!((all() - before, lines(&agent, &dropped)), (52, 50));
    });
}

/// Connections to a folder of this name.
fn links(agent: &Agent, name: &str) -> usize {
    let folder = std::fs::read_dir(agent.path("data-center/mnt"));
    let names = folder.into_iter().flatten();
    names
        .filter(|entry| {
            let entry = entry.as_ref().unwrap().file_name();
            entry.to_string_lossy().ends_with(name)
        })
        .count()
}

#[test]
fn session_a_hung_libvirt_holds_up_no_storage() {
    let Some(session) = Session::start() else {
        return;
    };
    let storage = Storage::build_in(&session);
    let daemon = Pid::from_raw(session.libvirt_pid()).unwrap();
    let _awake = Asleep::put(daemon);
    let client = session.client();
    std::thread::scope(|scope| {
        for _ in 0..20 {
            // It ends when the daemon goes on.
            scope.spawn(|| session.call("Host.dumpxmls", json!({})));
        }
        let hung = Instant::now();
        while hung.elapsed() < Duration::from_secs(1) {
            for (verb, params) in [
                ("Host.ping2", json!({})),
                ("Host.getStats", json!({})),
                ("Host.getAllVmStats", json!({})),
                ("StorageDomain.getInfo", storage.ids()),
                ("StorageDomain.getStats", storage.ids()),
                ("Host.getStorageDomains", json!({})),
            ] {
                let start = Instant::now();
                client.call(verb, params).unwrap();
                assert!(start.elapsed() < AT_ONCE, "{verb}");
            }
        }
        kill_process(daemon, Signal::CONT).unwrap();
    });
}

/// A process that is stopped, and goes on when this is dropped.
struct Asleep(Pid);

impl Asleep {
    fn put(process: Pid) -> Self {
        kill_process(process, Signal::STOP).unwrap();
        Self(process)
    }
}

impl Drop for Asleep {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::CONT);
    }
}
