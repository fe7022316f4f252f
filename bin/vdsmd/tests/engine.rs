//! Every answer that is implemented, fetched from a live agent with a pool, a volume, a task and a VM, is as it is
//! declared and as oVirt Engine's parser reads it. (The same is looked at for each answer of every other test, see
//! `common`.)
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test's helpers fail the test"
)]

mod common;

use std::collections::BTreeSet;

use common::{
    Agent, Serving, guarded, params,
    session::{Session, disk, domain_xml, new_vm},
    storage::{Storage, ended, id},
    wait_for,
};
use schema::VerbDecl;
use serde_json::{Value, json};

/// Verbs that look, and cannot succeed on every machine or without more than is there.
const MAY_FAIL: [&str; 3] = ["VM.screenshot", "StorageDomain.validate", "Host.getLldp"];

/// What there is to be asked about, by the names of parameters.
type Known = Vec<(&'static str, Value)>;

/// Pool, domain, volume and a task that has ended.
fn stored(agent: &impl Serving, storage: &Storage) -> (Known, String, String) {
    let (image, volume) = storage.create_volume(agent, 1 << 20, 5, 2);
    let new = storage.new_volume(&id(), &id(), 1 << 20, 5, 2);
    let task = agent.ok("Volume.create", new);
    ended(agent, &task);
    let known = vec![
        ("storagepoolID", json!(storage.pool)),
        ("storagedomainID", json!(storage.domain)),
        ("sd_id", json!(storage.domain)),
        ("imageID", json!(image)),
        ("volumeID", json!(volume)),
        ("taskID", task),
        ("message", json!("text")),
    ];
    (known, image, volume)
}

/// Asks all verbs that only look; answers those that were answered.
fn ask_all(agent: &impl Serving, known: &Known) -> BTreeSet<&'static str> {
    let mut asked = BTreeSet::new();
    for verb in schema::verbs().filter(|verb| verb.implemented && verb.only_looks()) {
        match agent.call(verb.method, parameters(verb, known)) {
            Ok(answer) => {
                let wrong = schema::check(&answer, verb.result);
                assert!(wrong.is_empty(), "{}: {wrong:?}", verb.method);
                asked.insert(verb.method);
            }
            Err(error) => assert!(
                MAY_FAIL.contains(&verb.method),
                "{}: {error:?}\n{}",
                verb.method,
                agent.log_tail()
            ),
        }
    }
    asked
}

fn parameters(verb: &VerbDecl, known: &Known) -> Value {
    let mut made = params::minimal(verb);
    for (name, value) in known {
        let field = verb.params.field(name);
        if field.is_some_and(schema::desc::FieldDesc::required) {
            made[*name] = value.clone();
        }
    }
    made
}

fn running(agent: &impl Serving, vm: &str) {
    wait_for("the VM to run", || {
        let stats = agent.ok("VM.getStats", json!({"vmID": vm}));
        let status = stats[0]["status"].as_str().unwrap().to_owned();
        assert_ne!(status, "Down", "{stats}");
        (status != "WaitForLaunch").then_some(())
    });
}

/// Through the rest of the life of VM and storage; each answer is looked at on its way.
fn wind_up(agent: &impl Serving, storage: &Storage, vm: &str) {
    agent.ok("VM.destroy", json!({"vmID": vm}));
    agent.ok(
        "StorageDomain.deactivate",
        json!({
            "storagedomainID": storage.domain, "storagepoolID": storage.pool,
            "masterSdUUID": common::storage::NONE, "masterVersion": 1,
        }),
    );
    let pool = json!({"storagepoolID": storage.pool});
    agent.ok("StoragePool.spmStop", pool);
    let connection = json!({"storagepoolID": storage.pool, "hostID": 1, "scsiKey": storage.pool});
    agent.ok("StoragePool.disconnect", connection);
    agent.ok("StoragePool.disconnectStorageServer", storage.server());
}

fn told(asked: &BTreeSet<&str>) {
    let all = schema::verbs().filter(|verb| verb.implemented && verb.only_looks());
    let all: BTreeSet<_> = all.map(|verb| verb.method).collect();
    let left: Vec<_> = all.difference(asked).collect();
    println!(
        "figure: {} answers as Engine reads them, without {left:?}",
        asked.len()
    );
    assert!(asked.len() >= 20, "{asked:?}");
}

#[test]
fn every_answer_is_as_engine_reads_it() {
    guarded!(|| {
        let agent = Agent::start();
        let storage = Storage::build(&agent);
        let (mut known, ..) = stored(&agent, &storage);
        let vm = id();
        let xml = format!(
            "<domain type='test'><name>{vm}</name><uuid>{vm}</uuid><memory>65536</memory>\
             <os><type>hvm</type></os><devices/></domain>"
        );
        agent.ok("VM.create", new_vm(&vm, &xml));
        running(&agent, &vm);
        known.push(("vmID", json!(vm)));
        told(&ask_all(&agent, &known));
        wind_up(&agent, &storage, &vm);
    });
}

#[test]
fn session_every_answer_about_a_real_guest_is_as_engine_reads_it() {
    let Some(session) = Session::start() else {
        return;
    };
    let storage = Storage::build_in(&session);
    let (mut known, image, volume) = stored(&session, &storage);
    let vm = id();
    let (device, metadata) = disk(&storage, &image, &volume);
    session.ok("Image.prepare", storage.volume(&image, &volume));
    session.ok(
        "VM.create",
        new_vm(&vm, &domain_xml(&vm, "read", &device, &metadata)),
    );
    running(&session, &vm);
    // Figures of disks and interfaces come with the second sample.
    wait_for("figures of the disk", || {
        let stats = session.ok("VM.getStats", json!({"vmID": vm}));
        stats[0]["disks"].is_object().then_some(())
    });
    known.push(("vmID", json!(vm)));
    told(&ask_all(&session, &known));
    wind_up(&session, &storage, &vm);
}
