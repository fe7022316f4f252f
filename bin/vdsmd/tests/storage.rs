//! Storage through the port: a domain and a pool from nothing to nothing, volumes through tasks, images, and what
//! is refused. On a real file system, with real `qemu-img`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test's helpers fail the test"
)]

mod common;

use std::{fs, path::Path};

use common::{
    Agent, Serving as _, guarded,
    storage::{NONE, Storage, ended, finish, id},
};
use serde_json::{Value, json};

const MIB: u64 = 1024 * 1024;

#[test]
fn a_domain_and_a_pool_from_nothing_to_nothing() {
    guarded!(|| {
        let agent = Agent::start();
        let storage = Storage::build(&agent);
        let pool = json!({"storagepoolID": storage.pool});
        assert_eq!(
            agent.ok("Host.getConnectedStoragePools", json!({})),
            json!([storage.pool])
        );
        assert_eq!(
            agent.ok("Host.getStorageDomains", json!({})),
            json!([storage.domain])
        );

        let info = agent.ok("StorageDomain.getInfo", storage.ids());
        assert_eq!(
            info,
            json!({"uuid": storage.domain, "type": "LOCALFS", "class": "Data", "name": "local1", "role": "Master",
               "pool": [storage.pool], "version": "5", "block_size": 512, "alignment": 1_048_576,
               "remotePath": storage.path})
        );
        let stats = agent.ok("StorageDomain.getStats", storage.ids());
        let free: u64 = stats["diskfree"].as_str().unwrap().parse().unwrap();
        assert!(free > 0 && stats["mdavalid"] == json!(true), "{stats}");
        assert_eq!(
            agent.ok("StorageDomain.validate", storage.ids()),
            json!(true)
        );

        let full = agent.ok("StoragePool.getInfo", pool.clone());
        assert_eq!(
            full["info"]["domains"],
            json!(format!("{}:Active", storage.domain))
        );
        assert_eq!(full["info"]["pool_status"], "connected");
        assert_eq!(full["info"]["type"], "LOCALFS");
        assert_eq!(full["dominfo"][&storage.domain]["status"], "Active");
        let spm = agent.ok("StoragePool.getSpmStatus", pool.clone());
        assert_eq!(
            (&spm["spmStatus"], &spm["spmId"]),
            (&json!("SPM"), &json!(1))
        );

        common::wait_for("the monitor", || {
            let vitals = &agent.ok("Host.getStorageRepoStats", json!({}))[&storage.domain];
            (vitals["valid"] == true && vitals["actual"] == true && vitals["acquired"] == true)
                .then_some(())
        });
        let in_stats = &agent.ok("Host.getStats", json!({}))["storageDomains"][&storage.domain];
        assert!(
            in_stats["lastCheck"].is_string() && in_stats["delay"].is_string(),
            "{in_stats}"
        );

        agent.ok(
            "StorageDomain.deactivate",
            json!({
                "storagedomainID": storage.domain, "storagepoolID": storage.pool,
                "masterSdUUID": NONE, "masterVersion": 0,
            }),
        );
        take_down(&agent, &storage);
    });
}

fn take_down(agent: &Agent, storage: &Storage) {
    agent.ok(
        "StoragePool.destroy",
        json!({"storagepoolID": storage.pool, "hostID": 1, "scsiKey": "x"}),
    );
    assert_eq!(
        agent.ok("Host.getConnectedStoragePools", json!({})),
        json!([])
    );
    agent.ok(
        "StorageDomain.format",
        json!({"storagedomainID": storage.domain, "autoDetach": false}),
    );
    let answer = agent.ok("StoragePool.disconnectStorageServer", storage.server());
    assert_eq!(answer, json!([{"id": "c1", "status": 0}]));
    assert_eq!(
        fs::read_dir(&storage.path).unwrap().count(),
        0,
        "nothing is left on the storage"
    );
}

#[test]
fn a_raw_and_a_cow_volume_live_and_die_through_tasks() {
    guarded!(|| {
        let agent = Agent::start();
        let storage = Storage::build(&agent);
        for (format, name, qemu) in [(5, "RAW", "raw"), (4, "COW", "qcow2")] {
            let (image, volume) = storage.create_volume(&agent, 64 * MIB, format, 2);
            let ids = storage.volume(&image, &volume);
            let info = agent.ok("Volume.getInfo", ids.clone());
            assert_eq!(info["format"], name);
            assert_eq!(info["capacity"], (64 * MIB).to_string());
            assert_eq!(
                (&info["type"], &info["voltype"], &info["legality"]),
                (&json!("SPARSE"), &json!("LEAF"), &json!("LEGAL"))
            );
            assert_eq!(
                (&info["status"], &info["parent"], &info["disktype"]),
                (&json!("OK"), &json!(NONE), &json!("DATA"))
            );
            let size = agent.ok("Volume.getSize", ids.clone());
            assert!(size["truesize"].is_string() && size["apparentsize"].is_string());
            let qemu_info = agent.ok("Volume.getQemuImageInfo", ids.clone());
            assert_eq!(
                (&qemu_info["format"], &qemu_info["virtualsize"]),
                (&json!(qemu), &json!(64 * MIB))
            );
            let images = agent.ok("StorageDomain.getImages", storage.ids());
            assert!(
                images.as_array().unwrap().contains(&json!(image)),
                "{images}"
            );
            assert_eq!(
                agent.ok("StorageDomain.getVolumes", storage.ids()),
                json!([volume])
            );
            let delete = with(&ids, json!({"postZero": false, "force": false}));
            finish(&agent, &agent.ok("Volume.delete", delete));
            assert_eq!(agent.code("Volume.getInfo", ids), 201);
            assert_eq!(
                agent.ok("StorageDomain.getVolumes", storage.ids()),
                json!([])
            );
        }
    });
}

#[test]
fn a_preallocated_volume_has_its_blocks() {
    guarded!(|| {
        let agent = Agent::start();
        let storage = Storage::build(&agent);
        let (image, volume) = storage.create_volume(&agent, 32 * MIB, 5, 1);
        let size = agent.ok("Volume.getSize", storage.volume(&image, &volume));
        let allocated: u64 = size["truesize"].as_str().unwrap().parse().unwrap();
        assert!(allocated >= 32 * MIB, "{size}");
    });
}

#[test]
fn a_snapshot_stands_on_its_parent() {
    guarded!(|| {
        let agent = Agent::start();
        let storage = Storage::build(&agent);
        let (image, base) = storage.create_volume(&agent, 64 * MIB, 5, 2);
        let top = id();
        let new = with(
            &storage.new_volume(&image, &top, 64 * MIB, 4, 2),
            json!({"srcImgUUID": image, "srcVolUUID": base}),
        );
        finish(&agent, &agent.ok("Volume.create", new));
        let of = |volume: &str| agent.ok("Volume.getInfo", storage.volume(&image, volume));
        assert_eq!(
            (of(&base)["voltype"].clone(), of(&top)["voltype"].clone()),
            (json!("INTERNAL"), json!("LEAF"))
        );
        assert_eq!(of(&top)["parent"], json!(base));
        let prepared = agent.ok("Image.prepare", storage.volume(&image, &top));
        let path = prepared["path"].as_str().unwrap();
        assert!(Path::new(path).exists(), "{path}");
        let chain: Vec<_> = prepared["imgVolumesInfo"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["volumeID"].clone())
            .collect();
        assert_eq!(chain, [json!(base), json!(top)]);
        // The parent cannot go while the child stands on it.
        let delete = with(
            &storage.volume(&image, &base),
            json!({"postZero": false, "force": false}),
        );
        let task = agent.ok("Volume.delete", delete);
        let status = ended(&agent, &task);
        assert_ne!(status["code"], 0, "{status}");
        assert_eq!(of(&base)["legality"], "LEGAL");
        agent.ok(
            "Image.teardown",
            json!({
                "storagepoolID": storage.pool, "storagedomainID": storage.domain, "imageID": image,
            }),
        );
        let delete = with(
            &storage.volume(&image, &top),
            json!({"postZero": true, "force": false}),
        );
        finish(&agent, &agent.ok("Image.delete", delete));
        assert_eq!(
            agent.ok("StorageDomain.getImages", storage.ids()),
            json!([])
        );
    });
}

#[test]
fn a_second_domain_joins_the_pool_and_leaves_it() {
    guarded!(|| {
        let agent = Agent::start();
        let storage = Storage::build(&agent);
        let more = agent.path("more");
        fs::create_dir(&more).unwrap();
        let second = Storage {
            pool: storage.pool.clone(),
            domain: id(),
            path: more.display().to_string(),
        };
        second.connect_server(&agent);
        second.create_domain(&agent);
        let status = || {
            let pool = json!({"storagepoolID": storage.pool});
            agent.ok("StoragePool.getInfo", pool)["dominfo"][&second.domain]["status"].clone()
        };
        assert_eq!(status(), Value::Null);
        agent.ok("StorageDomain.attach", second.ids());
        assert_eq!(status(), "Attached");
        assert_eq!(
            agent.ok("StorageDomain.getInfo", second.ids())["role"],
            "Regular"
        );
        agent.ok("StorageDomain.activate", second.ids());
        assert_eq!(status(), "Active");
        let (image, volume) = second.create_volume(&agent, MIB, 5, 2);
        assert_eq!(
            agent.code("StorageDomain.detach", second.ids()),
            347,
            "it is in use"
        );
        agent.ok("Volume.getInfo", second.volume(&image, &volume));
        agent.ok(
            "StorageDomain.deactivate",
            with(
                &second.ids(),
                json!({"masterSdUUID": NONE, "masterVersion": 0}),
            ),
        );
        assert_eq!(status(), "Attached");
        agent.ok("StorageDomain.detach", second.ids());
        assert_eq!(status(), Value::Null);
        assert_eq!(
            agent.ok("StorageDomain.getInfo", second.ids())["pool"],
            json!([])
        );
        agent.ok(
            "StorageDomain.format",
            json!({"storagedomainID": second.domain, "autoDetach": false}),
        );
        assert_eq!(fs::read_dir(&more).unwrap().count(), 0);
    });
}

#[test]
fn what_is_there_can_be_listed() {
    guarded!(|| {
        let agent = Agent::start();
        let storage = Storage::build(&agent);
        let (image, volume) = (id(), id());
        let task = agent.ok(
            "Volume.create",
            storage.new_volume(&image, &volume, MIB, 5, 2),
        );
        let status = ended(&agent, &task);
        let task = task.as_str().unwrap();
        assert_eq!(
            agent.ok("Host.getAllTasksInfo", json!({}))[task],
            json!({"id": task, "verb": "createVolume"})
        );
        assert_eq!(
            agent.ok("Host.getAllTasksStatuses", json!({}))[task],
            status
        );
        let details = &agent.ok("Host.getAllTasks", json!({}))[task];
        assert_eq!(
            (&details["verb"], &details["tag"]),
            (&json!("createVolume"), &json!("spm"))
        );
        let info = agent.ok("Task.getInfo", json!({"taskID": task}));
        assert_eq!(info, json!({"id": task, "verb": "createVolume"}));

        let dump = agent.ok("StorageDomain.dump", json!({"sd_id": storage.domain}));
        assert_eq!(
            dump["metadata"],
            agent.ok("StorageDomain.getInfo", storage.ids())
        );
        let dumped = &dump["volumes"][&volume];
        assert_eq!(
            (&dumped["image"], &dumped["capacity"]),
            (&json!(image), &json!(MIB))
        );
        let of_image = with(&storage.ids(), json!({"imageID": image}));
        assert_eq!(agent.ok("Image.getVolumes", of_image), json!([volume]));
    });
}

#[test]
fn a_volume_can_grow_and_be_described() {
    guarded!(|| {
        let agent = Agent::start();
        let storage = Storage::build(&agent);
        let (image, volume) = storage.create_volume(&agent, 64 * MIB, 5, 2);
        let ids = storage.volume(&image, &volume);
        finish(
            &agent,
            &agent.ok(
                "Volume.extendSize",
                with(&ids, json!({"newSize": (96 * MIB).to_string()})),
            ),
        );
        assert_eq!(
            agent.ok("Volume.getInfo", ids.clone())["capacity"],
            (96 * MIB).to_string()
        );
        agent.ok(
            "Volume.setDescription",
            with(&ids, json!({"description": "{\"DiskAlias\":\"ü\"}"})),
        );
        assert_eq!(
            agent.ok("Volume.getInfo", ids.clone())["description"],
            "{\"DiskAlias\":\"ü\"}"
        );
        agent.ok(
            "Volume.setLegality",
            with(&ids, json!({"legality": "ILLEGAL"})),
        );
        assert_eq!(
            agent.ok("Volume.getInfo", ids.clone())["legality"],
            "ILLEGAL"
        );
        assert_eq!(agent.code("Image.prepare", ids.clone()), 227);
        agent.ok(
            "Volume.setLegality",
            with(&ids, json!({"legality": "LEGAL"})),
        );
        let measured = agent.ok("Volume.measure", with(&ids, json!({"dstVolFormat": 4})));
        assert!(measured["required"].is_u64(), "{measured}");
    });
}

#[test]
fn what_cannot_be_is_refused_with_upstreams_codes() {
    guarded!(|| {
        let agent = Agent::start();
        let unknown = Storage {
            pool: id(),
            domain: id(),
            path: String::new(),
        };
        assert_eq!(agent.code("StorageDomain.getInfo", unknown.ids()), 358);
        assert_eq!(
            agent.code(
                "StoragePool.getInfo",
                json!({"storagepoolID": unknown.pool})
            ),
            309
        );
        assert_eq!(
            agent.code(
                "StoragePool.getSpmStatus",
                json!({"storagepoolID": unknown.pool})
            ),
            309
        );
        assert_eq!(agent.code("Task.getStatus", json!({"taskID": id()})), 401);
        let storage = Storage::plan(&agent);
        storage.connect_server(&agent);
        storage.create_domain(&agent);
        // The folder is taken, by this domain or any other.
        assert_eq!(
            agent.code("StorageDomain.create", storage.new_domain()),
            365
        );
        let other = Storage {
            domain: id(),
            pool: id(),
            path: storage.path.clone(),
        };
        assert_eq!(agent.code("StorageDomain.create", other.new_domain()), 361);
        storage.create_pool(&agent);
        storage.connect_pool(&agent);
        let new = storage.new_volume(&id(), &id(), MIB, 5, 2);
        assert_eq!(agent.code("Volume.create", new.clone()), 654, "not SPM yet");
        storage.start_spm(&agent);
        assert_eq!(agent.code("StoragePool.spmStart", json!({
        "storagepoolID": storage.pool, "prevID": -1, "prevLver": "-1", "enableScsiFencing": "false",
    })), 656);
        finish(&agent, &agent.ok("Volume.create", new.clone()));
        let again = agent.call("Volume.create", new);
        let code = match again {
            Err((code, _)) => code,
            Ok(task) => ended(&agent, &task)["code"].as_i64().unwrap(),
        };
        assert_eq!(code, 212, "a second volume of the same id");
        assert_eq!(
            agent.code(
                "StorageDomain.format",
                json!({"storagedomainID": storage.domain, "autoDetach": false})
            ),
            392
        );
    });
}

#[test]
fn a_folder_that_cannot_be_used_is_told_per_connection() {
    guarded!(|| {
        let agent = Agent::start();
        let server = |path: &str| json!({"storagepoolID": NONE, "domainType": 4, "connectionParams": [{"id": "c", "connection": path}]});
        for path in ["/nonexistent/folder", "relative", "", "/etc/passwd"] {
            let answer = agent.ok("StoragePool.connectStorageServer", server(path));
            assert_eq!(answer[0]["id"], "c");
            assert_ne!(answer[0]["status"], 0, "{path}: {answer}");
        }
    });
}

#[test]
fn damaged_metadata_is_told_and_not_the_end() {
    guarded!(|| {
        let agent = Agent::start();
        let storage = Storage::build(&agent);
        let (image, volume) = storage.create_volume(&agent, MIB, 5, 2);
        let meta = Path::new(&storage.path)
            .join(&storage.domain)
            .join("images")
            .join(&image)
            .join(format!("{volume}.meta"));
        let good = fs::read(&meta).unwrap();
        for bad in [
            &b""[..],
            &good[..good.len() / 2],
            b"CAP=x\nEOF\n",
            &[0xff; 512],
        ] {
            fs::write(&meta, bad).unwrap();
            assert_eq!(
                agent.ok("Volume.getInfo", storage.volume(&image, &volume)),
                json!({"apparentsize": "0", "truesize": "0", "status": "INVALID", "children": []})
            );
        }
        let old = String::from_utf8(good.clone()).unwrap();
        fs::write(&meta, old.replace("DISKTYPE=DATA", "DISKTYPE=2")).unwrap();
        let info = agent.ok("Volume.getInfo", storage.volume(&image, &volume));
        assert_eq!(
            (&info["disktype"], &info["status"]),
            (&json!("2"), &json!("OK"))
        );
        fs::write(&meta, &good).unwrap();
        agent.ok("Volume.getInfo", storage.volume(&image, &volume));

        let metadata = Path::new(&storage.path)
            .join(&storage.domain)
            .join("dom_md/metadata");
        let good = fs::read_to_string(&metadata).unwrap();
        fs::write(&metadata, good.replace("local1", "local2")).unwrap();
        assert_eq!(
            agent.code("StorageDomain.getInfo", storage.ids()),
            752,
            "the checksum does not fit"
        );
        fs::write(&metadata, good).unwrap();
        agent.ok("StorageDomain.getInfo", storage.ids());
    });
}

#[test]
fn a_crash_forgets_connections_and_keeps_storage() {
    guarded!(|| {
        let mut agent = Agent::start();
        let storage = Storage::build(&agent);
        let (image, volume) = storage.create_volume(&agent, MIB, 5, 2);
        agent.crash_and_restart();
        // As upstream: what is connected is Engine's intention, it connects again.
        assert_eq!(
            agent.ok("Host.getConnectedStoragePools", json!({})),
            json!([])
        );
        storage.connect_server(&agent);
        storage.connect_pool(&agent);
        storage.start_spm(&agent);
        agent.ok("Volume.getInfo", storage.volume(&image, &volume));
    });
}

#[test]
fn kill_at_any_moment_of_volume_creation_leaves_a_volume_or_none() {
    guarded!(|| {
        let mut agent = Agent::start();
        let storage = Storage::build(&agent);
        for delay in [0, 1, 2, 4, 8, 16, 32, 64] {
            let (image, volume) = (id(), id());
            let new = storage.new_volume(&image, &volume, 256 * MIB, 5, 1);
            let _ = agent.ok("Volume.create", new);
            std::thread::sleep(std::time::Duration::from_millis(delay));
            agent.crash_and_restart();
            storage.connect_server(&agent);
            storage.connect_pool(&agent);
            storage.start_spm(&agent);
            let tasks = agent.ok("Host.getAllTasksStatuses", json!({}));
            let create = tasks
                .as_object()
                .unwrap()
                .values()
                .find(|it| it["taskState"] == "finished")
                .cloned();
            let there = agent.call("Volume.getInfo", storage.volume(&image, &volume));
            let left = left_of(&storage, &image);
            match there {
                Ok(info) => assert_eq!(
                    (info["status"].clone(), left),
                    (json!("OK"), 2),
                    "{create:?}"
                ),
                // 254: not even the image's folder is there.
                Err((code, _)) => assert!(
                    matches!(code, 201 | 254) && left == 0,
                    "{code} {left} {create:?}"
                ),
            }
            for task in tasks.as_object().unwrap().keys() {
                agent.ok("Task.clear", json!({"taskID": task}));
            }
        }
    });
}

/// Files of an image on the storage.
fn left_of(storage: &Storage, image: &str) -> usize {
    let dir = Path::new(&storage.path)
        .join(&storage.domain)
        .join("images")
        .join(image);
    fs::read_dir(dir).map_or(0, Iterator::count)
}

fn with(base: &Value, more: Value) -> Value {
    let mut all = base.as_object().unwrap().clone();
    all.extend(more.as_object().unwrap().clone());
    Value::Object(all)
}
