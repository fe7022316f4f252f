//! `kill -9` of the agent in the middle of what it does on storage, and again in the middle of the start that takes
//! it back: the start after that leaves no file that belongs to nothing, tells of its tasks what is so, and serves.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test's helpers fail the test"
)]

mod common;

use std::{fs, path::Path, thread::sleep, time::Duration};

use common::{
    Agent, Serving as _, guarded,
    mounts::{Slow, Tmpfs},
    storage::{NONE, Storage, ended, finish, id, names_beneath},
    wait_for,
    wire::Wire,
};
use serde_json::{Value, json};
use storage_model::layout::{self, PendingPool};

const MIB: u64 = 1024 * 1024;
/// Moments after a request, or after a start, at which the agent is killed.
const MOMENTS: [u64; 12] = [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 40, 80];

/// Sends a request whose answer nobody waits for, and kills the agent a moment later.
fn kill_within(agent: &mut Agent, verb: &str, params: &Value, moment: u64) {
    let mut wire = Wire::subscribed(agent.address());
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": verb, "params": params});
    wire.request(request.to_string().as_bytes());
    sleep(Duration::from_millis(moment));
    agent.kill();
}

/// Starts the agent and lets it come to its end.
fn start(agent: &mut Agent) {
    agent.boot();
    agent.wait_until_serving();
}

/// All tasks have come to their end and can be cleared; their results, sorted.
fn settled(agent: &Agent) -> Vec<String> {
    let tasks = agent.ok("Host.getAllTasksStatuses", json!({}));
    let mut results = Vec::new();
    for (task, status) in tasks.as_object().unwrap() {
        assert_eq!(status["taskState"], "finished", "{status}");
        let result = status["taskResult"].as_str().unwrap();
        assert_eq!(result == "success", status["code"] == 0, "{status}");
        results.push(result.to_owned());
        agent.ok("Task.clear", json!({"taskID": task}));
    }
    assert_eq!(agent.ok("Host.getAllTasksStatuses", json!({})), json!({}));
    results.sort_unstable();
    results
}

/// Undo steps that are still to be run, by the records of tasks on disk.
fn steps_left(agent: &Agent) -> usize {
    let records = fs::read_dir(agent.path("state/tasks")).unwrap();
    let count = |path: &Path| {
        // A hidden one was being written: the old one beside it counts.
        let name = path.file_name()?.to_str()?;
        if name.starts_with('.') {
            return None;
        }
        let record: Option<Value> = serde_json::from_slice(&fs::read(path).ok()?).ok();
        let record = record?;
        let body = record.get("record").unwrap_or(&record);
        Some(body["undo"].as_array()?.len())
    };
    records
        .filter_map(|entry| count(&entry.unwrap().path()))
        .sum()
}

/// Nothing hidden or half is left among the links, and on the storage.
fn no_halves(agent: &Agent, storage: &Storage) {
    for folder in [agent.path("data-center"), Path::new(&storage.path).into()] {
        for name in names_beneath(&folder) {
            let last = name.rsplit('/').next().unwrap();
            let half = layout::is_leftover(last)
                || layout::removed_name(last).is_some()
                || last.ends_with(layout::NEW_SUFFIX)
                || PendingPool::is_file_name(last);
            assert!(!half, "{name} in {}", folder.display());
        }
    }
}

#[test]
fn kill_in_a_task_and_again_and_again_in_its_recovery() {
    guarded!(|| {
        let Some(gate) = Slow::qemu_img() else {
            return;
        };
        let mut agent = Agent::start();
        let storage = Storage::build(&agent);
        let (image, base) = storage.create_volume(&agent, MIB, 5, 2);
        let before = storage.image_files();
        let before_base = agent.ok("Volume.getInfo", storage.volume(&image, &base));
        gate.close();
        let mut snapshot = storage.new_volume(&image, &id(), MIB, 4, 2);
        snapshot["srcImgUUID"] = json!(image);
        snapshot["srcVolUUID"] = json!(base);
        let alone =
            |format, allocation| storage.new_volume(&id(), &id(), 8 * MIB, format, allocation);
        let all = [
            snapshot,
            alone(5, 1),
            alone(5, 2),
            alone(4, 1),
            alone(4, 2),
            alone(5, 1),
            alone(4, 2),
            alone(5, 2),
        ];
        let tasks = all.len();
        for new in all {
            agent.ok("Volume.create", new);
        }
        wait_for("all tasks at the gate", || {
            (gate.waiting() == tasks).then_some(())
        });
        let steps = steps_left(&agent);
        assert!(steps >= 2 * tasks, "{steps} steps of {tasks} tasks");
        agent.kill();
        wait_for("what the agent started to be gone with it", || {
            (gate.waiting() == 0).then_some(())
        });
        // A little later each time, until a start has come through it.
        let (mut left, mut met, mut moment) = (steps, 0, 2);
        while left > 0 {
            agent.boot_for(Duration::from_millis(moment));
            let now = steps_left(&agent);
            assert!(now <= left, "{left} steps were left, now {now}");
            met += usize::from(now > 0 && now < steps);
            (left, moment) = (now, moment + 4);
            assert!(moment < 2_000, "{left} steps are left");
        }
        println!("figure: {met} kills met the recovery of {steps} steps in its middle");
        gate.open();
        start(&mut agent);
        assert_eq!(storage.image_files(), before);
        assert_eq!(settled(&agent), vec!["cleanSuccess"; tasks]);
        assert_eq!(
            names_beneath(&agent.path("state/tasks")),
            Vec::<String>::new()
        );
        storage.reconnect(&agent);
        let after_base = agent.ok("Volume.getInfo", storage.volume(&image, &base));
        for key in ["voltype", "legality", "status", "capacity"] {
            assert_eq!(after_base[key], before_base[key], "{key}");
        }
        no_halves(&agent, &storage);
        storage.create_volume(&agent, MIB, 5, 1);
    });
}

#[test]
fn kill_in_the_overwriting_of_an_image_and_in_its_continuation() {
    guarded!(|| {
        let mut agent = Agent::start();
        let storage = Storage::build(&agent);
        let keep = storage.create_volume(&agent, MIB, 5, 2);
        let before = storage.image_files();
        for moment in [0, 5, 20, 60] {
            let (image, _) = storage.create_volume(&agent, 384 * MIB, 5, 1);
            let delete = json!({"imageID": image, "storagepoolID": storage.pool,
                                "storagedomainID": storage.domain, "postZero": true, "force": false});
            kill_within(&mut agent, "Image.delete", &delete, moment);
            for again in [5, 15, 30] {
                agent.boot_for(Duration::from_millis(again));
            }
            start(&mut agent);
            storage.reconnect(&agent);
            if storage
                .image_files()
                .iter()
                .any(|name| name.starts_with(&image))
            {
                // It was killed before it had begun: nothing happened.
                assert_eq!(settled(&agent), Vec::<String>::new());
                finish(&agent, &agent.ok("Image.delete", delete));
            }
            settled(&agent);
            assert_eq!(storage.image_files(), before, "killed after {moment} ms");
            no_halves(&agent, &storage);
        }
        agent.ok("Volume.getInfo", storage.volume(&keep.0, &keep.1));
    });
}

#[test]
fn kill_in_the_deletion_of_an_image() {
    guarded!(|| {
        let mut agent = Agent::start();
        let storage = Storage::build(&agent);
        for moment in MOMENTS {
            let (image, volume) = storage.create_volume(&agent, MIB, 5, 1);
            let delete = json!({"imageID": image, "storagepoolID": storage.pool,
                                "storagedomainID": storage.domain, "postZero": false, "force": false});
            kill_within(&mut agent, "Image.delete", &delete, moment);
            start(&mut agent);
            storage.reconnect(&agent);
            settled(&agent);
            no_halves(&agent, &storage);
            let left = storage.image_files();
            if left.is_empty() {
                assert!(
                    agent
                        .call("Volume.getInfo", storage.volume(&image, &volume))
                        .is_err()
                );
                continue;
            }
            assert_eq!(left.len(), 3, "whole or gone: {left:?}");
            let info = agent.ok("Volume.getInfo", storage.volume(&image, &volume));
            assert_eq!(
                (&info["status"], &info["legality"]),
                (&json!("OK"), &json!("LEGAL"))
            );
            finish(&agent, &agent.ok("Image.delete", delete));
        }
    });
}

#[test]
fn kill_in_the_creation_of_a_domain() {
    guarded!(|| {
        let mut agent = Agent::start();
        let mut made = 0;
        for moment in MOMENTS {
            let storage = Storage::plan(&agent);
            storage.connect_server(&agent);
            kill_within(
                &mut agent,
                "StorageDomain.create",
                &storage.new_domain(),
                moment,
            );
            start(&mut agent);
            storage.connect_server(&agent);
            no_halves(&agent, &storage);
            let names = names_beneath(Path::new(&storage.path));
            let whole = |name: &String| name.starts_with(&storage.domain);
            assert!(names.iter().all(whole), "{names:?}");
            if names.is_empty() {
                assert_eq!(agent.code("StorageDomain.getInfo", storage.ids()), 358);
                storage.create_domain(&agent);
            } else {
                made += 1;
                assert_eq!(
                    agent.code("StorageDomain.create", storage.new_domain()),
                    365
                );
            }
            agent.ok("StorageDomain.validate", storage.ids());
            let format = json!({"storagedomainID": storage.domain, "autoDetach": false});
            kill_within(&mut agent, "StorageDomain.format", &format, moment);
            start(&mut agent);
            storage.connect_server(&agent);
            no_halves(&agent, &storage);
            if !names_beneath(Path::new(&storage.path)).is_empty() {
                agent.ok("StorageDomain.validate", storage.ids());
                agent.ok("StorageDomain.format", format);
            }
        }
        println!(
            "figure: {made} of {} domains were made before the kill",
            MOMENTS.len()
        );
    });
}

#[test]
fn kill_in_the_creation_of_a_pool() {
    guarded!(|| {
        let mut agent = Agent::start();
        let mut made = 0;
        for moment in MOMENTS {
            let storage = Storage::plan(&agent);
            storage.connect_server(&agent);
            storage.create_domain(&agent);
            let create = json!({
                "storagepoolID": storage.pool, "name": "pool1", "masterSdUUID": storage.domain,
                "masterVersion": 1, "domainList": [storage.domain],
            });
            kill_within(&mut agent, "StoragePool.create", &create, moment);
            start(&mut agent);
            storage.connect_server(&agent);
            no_halves(&agent, &storage);
            let info = agent.ok("StorageDomain.getInfo", storage.ids());
            let member = info["pool"] == json!([storage.pool]);
            let role = if member { "Master" } else { "Regular" };
            assert_eq!(info["role"], role, "{info}");
            if member {
                made += 1;
            } else {
                assert_eq!(info["pool"], json!([]), "{info}");
                agent.ok("StoragePool.create", create);
            }
            storage.reconnect(&agent);
            agent.ok("StorageDomain.activate", storage.ids());
            storage.create_volume(&agent, MIB, 5, 2);
            let destroy = json!({"storagepoolID": storage.pool, "hostID": 1, "scsiKey": "x"});
            agent.ok("StoragePool.destroy", destroy);
            agent.ok(
                "StorageDomain.format",
                json!({"storagedomainID": storage.domain, "autoDetach": false}),
            );
        }
        println!(
            "figure: {made} of {} pools were made before the kill",
            MOMENTS.len()
        );
    });
}

#[test]
fn kill_in_the_growth_and_the_snapshot_of_a_volume() {
    guarded!(|| {
        let mut agent = Agent::start();
        let storage = Storage::build(&agent);
        for moment in MOMENTS {
            let (image, volume) = storage.create_volume(&agent, MIB, 5, 1);
            let ids = storage.volume(&image, &volume);
            let mut extend = ids.clone();
            extend["newSize"] = json!((64 * MIB).to_string());
            kill_within(&mut agent, "Volume.extendSize", &extend, moment);
            start(&mut agent);
            storage.reconnect(&agent);
            settled(&agent);
            let info = agent.ok("Volume.getInfo", ids.clone());
            assert_eq!(info["capacity"], info["apparentsize"], "{info}");
            let top = id();
            let mut snapshot = storage.new_volume(&image, &top, 64 * MIB, 4, 2);
            snapshot["srcImgUUID"] = json!(image);
            snapshot["srcVolUUID"] = json!(volume);
            kill_within(&mut agent, "Volume.create", &snapshot, moment);
            start(&mut agent);
            storage.reconnect(&agent);
            settled(&agent);
            no_halves(&agent, &storage);
            let child = agent.call("Volume.getInfo", storage.volume(&image, &top));
            let parent = agent.ok("Volume.getInfo", ids.clone());
            let wanted = if child.is_ok() { "INTERNAL" } else { "LEAF" };
            assert_eq!(parent["voltype"], wanted, "{child:?}");
            let files = if child.is_ok() { 5 } else { 3 };
            assert_eq!(storage.image_files().len(), files);
            let leaf = if child.is_ok() { &top } else { &volume };
            agent.ok("Image.prepare", storage.volume(&image, leaf));
            agent.ok("Image.teardown", storage.volume(&image, leaf));
            let delete = json!({"imageID": image, "storagepoolID": storage.pool,
                                "storagedomainID": storage.domain, "postZero": false, "force": false});
            finish(&agent, &agent.ok("Image.delete", delete));
            assert_eq!(storage.image_files(), Vec::<String>::new());
        }
    });
}

#[test]
fn a_folder_of_tasks_that_fills_up_in_the_middle_of_a_task() {
    guarded!(|| {
        let (Some(gate), Some(state)) = (Slow::qemu_img(), Tmpfs::mebibytes(1)) else {
            return;
        };
        for killed in [false, true] {
            let mut agent =
                Agent::start_with(&[("vars", "state_dir", state.path().to_str().unwrap())]);
            let storage = Storage::build(&agent);
            gate.close();
            let task = agent.ok("Volume.create", storage.new_volume(&id(), &id(), MIB, 5, 1));
            gate.reached();
            let ballast = state.fill(0);
            if killed {
                agent.kill();
                gate.open();
                start(&mut agent);
            } else {
                gate.open();
            }
            let status = ended(&agent, &task);
            assert_eq!(status["taskResult"], "cleanSuccess", "{status}");
            assert_eq!(status["code"], if killed { 411 } else { 413 }, "{status}");
            assert_eq!(storage.image_files(), Vec::<String>::new());
            agent.ok("Task.clear", json!({"taskID": task}));
            fs::remove_file(ballast).unwrap();
            agent.crash_and_restart();
            assert_eq!(agent.ok("Host.getAllTasksStatuses", json!({})), json!({}));
            storage.reconnect(&agent);
            storage.create_volume(&agent, MIB, 5, 1);
        }
    });
}

#[test]
fn a_record_of_a_task_that_is_damaged_is_set_aside() {
    guarded!(|| {
        let mut agent = Agent::start();
        let storage = Storage::build(&agent);
        let new = storage.new_volume(&id(), &id(), MIB, 5, 2);
        let task = agent.ok("Volume.create", new);
        assert_eq!(ended(&agent, &task)["taskResult"], "success");
        let folder = agent.path("state/tasks");
        for (name, content) in [
            (format!("{}.json", id()), &b"{"[..]),
            (format!("{}.json", id()), b""),
            (format!("{}.json", id()), b"\xff\xff"),
            (format!("{NONE}.json"), b"{}"),
            ("a-stranger.json".to_owned(), b"[]"),
        ] {
            fs::write(folder.join(name), content).unwrap();
        }
        agent.crash_and_restart();
        let tasks = agent.ok("Host.getAllTasksStatuses", json!({}));
        assert_eq!(tasks.as_object().unwrap().len(), 1, "{tasks}");
        assert_eq!(tasks[task.as_str().unwrap()]["taskResult"], "success");
        settled(&agent);
    });
}
