//! Faults of storage and wrong requests about it, through the port: ids that nothing has, file systems that are full
//! or cannot be written, damaged metadata, the same thing asked for twice, tasks that are stopped. Each answers
//! upstream's code, leaves nothing half done on storage, and the agent serves on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test's helpers fail the test"
)]

mod common;

use std::{fs, path::Path, thread};

use common::{
    Agent, Serving as _, guarded,
    mounts::{Slow, Tmpfs},
    params,
    storage::{Storage, ended, finish, id, names_beneath},
    wait_for,
};
use schema::desc::{FieldDesc, Type};
use serde_json::{Map, Value, json};

const MIB: u64 = 1024 * 1024;

/// Waits for a task, which must fail with this code and be rolled back, and clears it.
fn fails(agent: &Agent, task: &Value, code: i64) {
    let status = ended(agent, task);
    assert_eq!(
        (&status["taskResult"], &status["code"]),
        (&json!("cleanSuccess"), &json!(code)),
        "{status}\n{}",
        agent.log_tail()
    );
    agent.ok("Task.clear", json!({"taskID": task}));
}

/// The code that a verb answers, or the one that its task ends with; 0 is success.
fn outcome(agent: &Agent, verb: &str, params: Value) -> (i64, String) {
    let answer = match agent.call(verb, params) {
        Err(error) => return error,
        Ok(answer) => answer,
    };
    let is_task = answer.is_string()
        && agent
            .call("Task.getInfo", json!({"taskID": answer}))
            .is_ok();
    if !is_task {
        return (0, answer.to_string());
    }
    let status = ended(agent, &answer);
    agent.ok("Task.clear", json!({"taskID": answer}));
    (
        status["code"].as_i64().unwrap(),
        status["message"].as_str().unwrap().to_owned(),
    )
}

/// Verbs that by design succeed for ids that nothing has.
const FORGIVING: [&str; 4] = [
    // A link must go even when its storage went first.
    "Image.teardown",
    // To be apart is what is asked for, and it is so (upstream alike).
    "StoragePool.disconnect",
    // The pool's id plays no part; each connection has its own answer.
    "StoragePool.connectStorageServer",
    "StoragePool.disconnectStorageServer",
];

#[test]
fn ids_that_nothing_has_are_named_by_upstreams_codes() {
    guarded!(|| {
        let agent = Agent::start();
        every_verb(&agent, &[]);
        let storage = Storage::build(&agent);
        let (image, volume) = storage.create_volume(&agent, MIB, 5, 2);
        let before = names_beneath(Path::new(&storage.path));
        let known = [
            ("storagepoolID", storage.pool.as_str()),
            ("storagedomainID", &storage.domain),
            ("sd_id", &storage.domain),
            ("imageID", &image),
            ("volumeID", &volume),
        ];
        // One id more is known each time, the next one is unknown.
        for count in [1, 3, 4] {
            every_verb(&agent, &known[..count]);
        }
        assert_eq!(names_beneath(Path::new(&storage.path)), before);
        finish(
            &agent,
            &agent.ok("Volume.delete", {
                let mut ids = storage.volume(&image, &volume);
                ids["postZero"] = json!(false);
                ids["force"] = json!(false);
                ids
            }),
        );
    });
}

/// Calls all verbs about storage that have an id which is not among the known ones.
fn every_verb(agent: &Agent, known: &[(&str, &str)]) {
    let mut called = 0;
    for namespace in schema::NAMESPACES {
        if !["StoragePool", "StorageDomain", "Volume", "Image", "Task"].contains(&namespace.name) {
            continue;
        }
        for verb in namespace.verbs {
            let fields: Vec<_> = verb
                .params
                .fields
                .iter()
                .filter(|it| it.required())
                .collect();
            let unknown = fields.iter().any(|it| looked_up(it, known));
            let asked = verb.implemented && !FORGIVING.contains(&verb.method);
            if !asked || !unknown || succeeds(verb.method, known) {
                continue;
            }
            called += 1;
            let params: Map<_, _> = fields
                .iter()
                .map(|field| (field.name.to_owned(), value_of(field, known)))
                .collect();
            let (code, text) = outcome(agent, verb.method, Value::Object(params));
            assert!(code > 0, "{}: {code} {text}", verb.method);
            assert_ne!(code, 16, "{}: unexpected: {text}", verb.method);
        }
    }
    assert!(called > 10, "{called} verbs");
}

/// Is it the id of something that must exist, and does not?
fn looked_up(field: &FieldDesc, known: &[(&str, &str)]) -> bool {
    matches!(field.ty, Type::Uuid)
        && !field.name.starts_with("src")
        && known.iter().all(|(name, _)| *name != field.name)
}

/// Verbs for which an unknown image is as it should be once its domain is known: one makes it, the other says (as
/// upstream) that it has no volumes.
fn succeeds(method: &str, known: &[(&str, &str)]) -> bool {
    let domain_known = known.iter().any(|(name, _)| *name == "storagedomainID");
    domain_known && ["Volume.create", "Image.getVolumes"].contains(&method)
}

fn value_of(field: &FieldDesc, known: &[(&str, &str)]) -> Value {
    let id_known = known.iter().find(|(name, _)| *name == field.name);
    match id_known {
        Some((_, id)) => json!(id),
        None => params::of_type(field.ty, field.name),
    }
}

#[test]
fn a_domain_on_a_full_file_system_leaves_nothing() {
    guarded!(|| {
        let Some(disks) = Tmpfs::mebibytes(64) else {
            return;
        };
        let mut agent = Agent::start();
        let storage = Storage::at(disks.path().display().to_string());
        storage.connect_server(&agent);
        // Room for nothing, for one block; for one file, for another: until it is enough.
        let ballast = disks.fill(0);
        let answer = agent.call("StorageDomain.create", storage.new_domain());
        assert_eq!(answer.unwrap_err().0, 397);
        assert_eq!(names_beneath(disks.path()), ["ballast"]);
        fs::remove_file(ballast).unwrap();
        let mut files = 1;
        loop {
            disks.limit_files(files);
            let answer = agent.call("StorageDomain.create", storage.new_domain());
            let Err((code, text)) = answer else { break };
            assert_eq!(code, 397, "{files} files: {text}");
            assert_eq!(names_beneath(disks.path()), Vec::<String>::new());
            files += 1;
        }
        // The folder, dom_md, images, and the special files.
        assert!((8..20).contains(&files), "{files}");
        agent.ok("StorageDomain.getInfo", storage.ids());
        assert!(agent.is_running());
    });
}

#[test]
fn a_volume_on_a_full_domain_leaves_nothing() {
    guarded!(|| {
        let Some(disks) = Tmpfs::mebibytes(96) else {
            return;
        };
        let agent = Agent::start();
        let storage = Storage::at(disks.path().display().to_string()).built(&agent);
        let (image, small) = storage.create_volume(&agent, MIB, 5, 2);
        let before = storage.image_files();
        for (format, size) in [(5, 256 * MIB), (4, 256 * MIB), (5, 96 * MIB)] {
            let new = storage.new_volume(&id(), &id(), size, format, 1);
            fails(&agent, &agent.ok("Volume.create", new), 397);
            assert_eq!(storage.image_files(), before);
        }
        let mut extend = storage.volume(&image, &small);
        extend["newSize"] = json!((256 * MIB).to_string());
        // A sparse volume takes nothing when it grows; what is full says so to what takes.
        finish(&agent, &agent.ok("Volume.extendSize", extend));
        let ballast = disks.fill(0);
        let new = storage.new_volume(&id(), &id(), MIB, 5, 2);
        let status = ended(&agent, &agent.ok("Volume.create", new));
        assert!(status["code"].as_i64().unwrap() > 0, "{status}");
        assert_eq!(storage.image_files(), before);
        let mut describe = storage.volume(&image, &small);
        describe["description"] = json!("new words");
        assert_eq!(agent.code("Volume.setDescription", describe.clone()), 397);
        assert_eq!(storage.image_files(), before, "no half of a .meta");
        let info = agent.ok("Volume.getInfo", storage.volume(&image, &small));
        assert_eq!(info["description"], "d1", "the old one is whole");
        fs::remove_file(ballast).unwrap();
        agent.ok("Volume.setDescription", describe);
        storage.create_volume(&agent, MIB, 5, 1);
    });
}

#[test]
fn a_read_only_file_system_is_told_and_left_as_it_is() {
    guarded!(|| {
        let Some(disks) = Tmpfs::mebibytes(96) else {
            return;
        };
        let agent = Agent::start();
        let storage = Storage::at(disks.path().display().to_string());
        disks.read_only(true);
        let answer = agent.ok("StoragePool.connectStorageServer", storage.server());
        assert_eq!(answer, json!([{"id": "c1", "status": 469}]));
        disks.read_only(false);
        storage.connect_server(&agent);
        disks.read_only(true);
        assert_eq!(
            agent.code("StorageDomain.create", storage.new_domain()),
            469
        );
        disks.read_only(false);
        assert_eq!(names_beneath(disks.path()), Vec::<String>::new());
        let storage = storage.built(&agent);
        let (image, volume) = storage.create_volume(&agent, MIB, 5, 2);
        let before = names_beneath(disks.path());
        disks.read_only(true);
        read_only(&agent, &storage, &image, &volume);
        disks.read_only(false);
        assert_eq!(names_beneath(disks.path()), before);
        storage.create_volume(&agent, MIB, 5, 1);
    });
}

fn read_only(agent: &Agent, storage: &Storage, image: &str, volume: &str) {
    let ids = storage.volume(image, volume);
    let of = |more: Value| {
        let mut all = ids.clone();
        for (key, value) in more.as_object().unwrap() {
            all[key] = value.clone();
        }
        all
    };
    for (verb, params) in [
        ("Volume.create", storage.new_volume(&id(), &id(), MIB, 5, 2)),
        ("Volume.create", storage.new_volume(&id(), &id(), MIB, 4, 1)),
        ("Volume.setDescription", of(json!({"description": "new"}))),
        ("Volume.setLegality", of(json!({"legality": "ILLEGAL"}))),
        (
            "Volume.extendSize",
            of(json!({"newSize": (2 * MIB).to_string()})),
        ),
        (
            "Image.delete",
            of(json!({"postZero": true, "force": false})),
        ),
    ] {
        let (code, text) = outcome(agent, verb, params);
        assert!([208, 256, 2002].contains(&code), "{verb}: {code} {text}");
    }
    let info = agent.ok("Volume.getInfo", ids.clone());
    assert_eq!(
        (&info["status"], &info["legality"]),
        (&json!("OK"), &json!("LEGAL"))
    );
    assert_eq!(
        agent.ok("StorageDomain.getVolumes", storage.ids()),
        json!([volume])
    );
}

#[test]
fn damaged_domain_metadata_is_named_and_repaired_by_its_return() {
    guarded!(|| {
        let mut agent = Agent::start();
        let storage = Storage::build(&agent);
        let (image, volume) = storage.create_volume(&agent, MIB, 5, 2);
        let metadata = storage.inside("dom_md/metadata");
        let good = fs::read_to_string(&metadata).unwrap();
        let checksum = good
            .lines()
            .find(|it| it.starts_with("_SHA_CKSUM="))
            .unwrap();
        let seal_broken: &[i64] = &[752];
        let unreadable: &[i64] = &[749, 752, 753, 754, 755, 756, 757, 358, 364];
        for (bad, codes) in [
            (
                good.replace(
                    checksum,
                    "_SHA_CKSUM=0123456789abcdef0123456789abcdef01234567",
                ),
                seal_broken,
            ),
            (
                good.replace("DESCRIPTION=local1", "DESCRIPTION=locall"),
                seal_broken,
            ),
            (good.replace("VERSION=5", "VERSION=6"), seal_broken),
            (good[..good.len() / 2].to_owned(), unreadable),
            (String::new(), unreadable),
            ("\0".repeat(512), unreadable),
            ("no equals sign".to_owned(), unreadable),
        ] {
            fs::write(&metadata, &bad).unwrap();
            for verb in ["StorageDomain.getInfo", "StorageDomain.validate"] {
                let answer = agent.call(verb, storage.ids());
                let Err((code, text)) = answer else {
                    panic!("{verb} of {bad:?}: {answer:?}");
                };
                assert!(codes.contains(&code), "{verb}: {code} {text}\nof {bad:?}");
            }
            // What changes the metadata does not write over what it cannot read.
            let attach = json!({"storagedomainID": storage.domain, "storagepoolID": storage.pool});
            let _ = agent.call("StorageDomain.activate", attach);
            assert_eq!(fs::read_to_string(&metadata).unwrap(), bad);
        }
        fs::remove_file(&metadata).unwrap();
        assert!(agent.code("StorageDomain.getInfo", storage.ids()) > 0);
        fs::write(&metadata, &good).unwrap();
        agent.ok("StorageDomain.getInfo", storage.ids());
        agent.ok("Volume.getInfo", storage.volume(&image, &volume));
        // A damaged master is no reason not to start.
        fs::write(&metadata, &good[..40]).unwrap();
        agent.crash_and_restart();
        storage.connect_server(&agent);
        assert!(agent.code("StoragePool.connect", storage.connection()) > 0);
        fs::write(&metadata, &good).unwrap();
        storage.reconnect(&agent);
        agent.ok("Volume.getInfo", storage.volume(&image, &volume));
    });
}

#[test]
fn a_second_create_of_the_same_is_refused_and_changes_nothing() {
    guarded!(|| {
        let agent = Agent::start();
        let storage = Storage::build(&agent);
        let (image, volume) = storage.create_volume(&agent, MIB, 5, 1);
        let before = contents(&storage);
        assert_eq!(
            agent.code("StorageDomain.create", storage.new_domain()),
            365
        );
        let pool = json!({
            "storagepoolID": storage.pool, "name": "again", "masterSdUUID": storage.domain,
            "masterVersion": 1, "domainList": [storage.domain],
        });
        let (code, text) = agent.call("StoragePool.create", pool.clone()).unwrap_err();
        assert_eq!(code, 380, "{text}");
        let mut other = pool;
        other["storagepoolID"] = json!(id());
        let (code, text) = agent.call("StoragePool.create", other).unwrap_err();
        assert_eq!(code, 380, "{text}");
        for (format, allocation, size) in [(5, 1, MIB), (5, 2, 2 * MIB), (4, 2, MIB)] {
            let new = storage.new_volume(&image, &volume, size, format, allocation);
            assert_eq!(outcome(&agent, "Volume.create", new).0, 212);
        }
        assert_eq!(contents(&storage), before);
    });
}

/// Every file of the domain with its size and, if it is small, its content; not what the monitor writes.
fn contents(storage: &Storage) -> Vec<(String, Vec<u8>)> {
    let root = Path::new(&storage.path);
    let names = names_beneath(root).into_iter();
    names
        .filter(|name| root.join(name).is_file() && !name.ends_with("dom_md/ids"))
        .map(|name| {
            let data = fs::read(root.join(&name)).unwrap();
            (name, data)
        })
        .collect()
}

#[test]
fn of_two_who_create_the_same_at_once_one_wins() {
    guarded!(|| {
        let agent = Agent::start();
        let storage = Storage::build(&agent);
        for round in 0..10 {
            let (image, volume) = (id(), id());
            let codes = at_once(|number| {
                let new = storage.new_volume(&image, &volume, (number + 1) * MIB, 5, 1);
                outcome(&agent, "Volume.create", new).0
            });
            assert_eq!(codes, [0, 212, 212], "round {round}");
            let info = agent.ok("Volume.getInfo", storage.volume(&image, &volume));
            assert_eq!(info["status"], "OK");
            assert_eq!(info["capacity"], info["apparentsize"], "{info}");
        }
        let folder = agent.path("more-disks");
        fs::create_dir(&folder).unwrap();
        let second = Storage::at(folder.display().to_string());
        second.connect_server(&agent);
        let codes = at_once(|_| outcome(&agent, "StorageDomain.create", second.new_domain()).0);
        assert_eq!(codes, [0, 365, 365]);
        agent.ok("StorageDomain.getInfo", second.ids());
    });
}

/// What three clients are answered who do the same at once, sorted.
fn at_once(act: impl Fn(u64) -> i64 + Sync) -> Vec<i64> {
    let act = &act;
    let mut codes: Vec<_> = thread::scope(|scope| {
        let all: Vec<_> = (0..3)
            .map(|number| scope.spawn(move || act(number)))
            .collect();
        all.into_iter().map(|it| it.join().unwrap()).collect()
    });
    codes.sort_unstable();
    codes
}

#[test]
fn connecting_and_disconnecting_twice_is_as_once() {
    guarded!(|| {
        let agent = Agent::start();
        let storage = Storage::build(&agent);
        let ids = json!({"storagepoolID": storage.pool, "hostID": 1, "scsiKey": "x"});
        for _ in 0..2 {
            storage.connect_server(&agent);
            storage.connect_pool(&agent);
            agent.ok("StorageDomain.activate", storage.ids());
        }
        let links = names_beneath(&agent.path("data-center"));
        let pool = json!({"storagepoolID": storage.pool});
        assert_eq!(
            agent.code("StoragePool.disconnect", ids.clone()),
            656,
            "still SPM"
        );
        for _ in 0..2 {
            agent.ok("StoragePool.spmStop", pool.clone());
        }
        for _ in 0..2 {
            agent.ok("StoragePool.disconnect", ids.clone());
            assert_eq!(
                agent.ok("Host.getConnectedStoragePools", json!({})),
                json!([])
            );
        }
        for _ in 0..2 {
            let answer = agent.ok("StoragePool.disconnectStorageServer", storage.server());
            assert_eq!(answer, json!([{"id": "c1", "status": 0}]));
        }
        assert_eq!(agent.code("StorageDomain.getInfo", storage.ids()), 358);
        storage.reconnect(&agent);
        agent.ok("StorageDomain.getInfo", storage.ids());
        assert_eq!(names_beneath(&agent.path("data-center")), links);
    });
}

#[test]
fn a_task_that_runs_can_be_stopped_and_is_taken_back() {
    guarded!(|| {
        let Some(gate) = Slow::qemu_img() else {
            return;
        };
        let agent = Agent::start();
        let storage = Storage::build(&agent);
        let before = storage.image_files();
        let of = |task: &Value| json!({"taskID": task});
        for (format, allocation) in [(5, 1), (5, 2), (4, 2), (4, 1)] {
            gate.close();
            let new = storage.new_volume(&id(), &id(), 64 * MIB, format, allocation);
            let task = agent.ok("Volume.create", new);
            gate.reached();
            let status = agent.ok("Task.getStatus", of(&task));
            assert_eq!(status["taskState"], "running");
            assert_ne!(storage.image_files(), before, "it has begun");
            assert_eq!(agent.code("Task.clear", of(&task)), 410);
            assert_eq!(agent.code("Task.revert", of(&task)), 403);
            for _ in 0..2 {
                agent.ok("Task.stop", of(&task));
                assert_eq!(agent.code("Task.clear", of(&task)), 410);
            }
            gate.open();
            let status = ended(&agent, &task);
            assert_eq!(
                (&status["taskResult"], &status["code"]),
                (&json!("cleanSuccess"), &json!(411)),
                "{status}"
            );
            assert_eq!(storage.image_files(), before);
            assert_eq!(agent.code("Task.revert", of(&task)), 441);
            agent.ok("Task.stop", of(&task));
            agent.ok("Task.clear", of(&task));
            assert_eq!(agent.code("Task.clear", of(&task)), 401);
        }
        assert_eq!(agent.ok("Host.getAllTasks", json!({})), json!({}));
    });
}

#[test]
fn a_task_that_succeeded_can_be_reverted() {
    guarded!(|| {
        let agent = Agent::start();
        let storage = Storage::build(&agent);
        let before = storage.image_files();
        let (image, volume) = (id(), id());
        let task = agent.ok(
            "Volume.create",
            storage.new_volume(&image, &volume, MIB, 5, 1),
        );
        assert_eq!(ended(&agent, &task)["taskResult"], "success");
        agent.ok("Task.revert", json!({"taskID": task}));
        wait_for("the way back", || {
            let status = agent.ok("Task.getStatus", json!({"taskID": task}));
            (status["taskResult"] == "cleanSuccess").then_some(())
        });
        assert_eq!(storage.image_files(), before);
        let code = agent.code("Volume.getInfo", storage.volume(&image, &volume));
        assert!(matches!(code, 201 | 254), "{code}");
        agent.ok("Task.clear", json!({"taskID": task}));
    });
}

#[test]
fn a_task_that_cannot_be_noted_is_not_begun() {
    guarded!(|| {
        let Some(state) = Tmpfs::mebibytes(1) else {
            return;
        };
        let mut agent = Agent::start_with(&[("vars", "state_dir", state.path().to_str().unwrap())]);
        let storage = Storage::build(&agent);
        let before = storage.image_files();
        let ballast = state.fill(0);
        let new = storage.new_volume(&id(), &id(), MIB, 5, 1);
        for _ in 0..3 {
            let (code, text) = agent.call("Volume.create", new.clone()).unwrap_err();
            assert_eq!(code, 413, "{text}");
            assert!(text.contains("No space left"), "{text}");
        }
        assert_eq!(agent.ok("Host.getAllTasksStatuses", json!({})), json!({}));
        assert_eq!(storage.image_files(), before);
        fs::remove_file(ballast).unwrap();
        finish(&agent, &agent.ok("Volume.create", new));
        agent.crash_and_restart();
        assert_eq!(agent.ok("Host.getAllTasksStatuses", json!({})), json!({}));
    });
}
