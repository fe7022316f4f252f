//! Virtual machines through the port: real QEMU under a private libvirt daemon, by software emulation.
//!
//! Starting libvirt takes seconds (it probes QEMU), so each test is a story of several scenes.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test's helpers fail the test"
)]

mod common;

use std::{fs, path::PathBuf};

use common::{
    Serving as _,
    session::{Session, disk, domain_xml, new_vm},
    storage::{Storage, id},
    wait_for,
};
use serde_json::{Value, json};

const MIB: u64 = 1024 * 1024;

fn status(session: &Session, vm: &str) -> String {
    session.ok("VM.getStats", json!({"vmID": vm}))[0]["status"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn until(session: &Session, vm: &str, wanted: &[&str]) {
    wait_for(&format!("{vm} to be {wanted:?}"), || {
        wanted.contains(&status(session, vm).as_str()).then_some(())
    });
}

#[test]
fn session_a_vm_from_create_to_destroy() {
    let Some(session) = Session::start() else {
        return;
    };
    let client = session.client();
    let mut events = client.events();
    let vm = id();
    let xml = domain_xml(&vm, "vm1", "", "");

    let created = session.ok("VM.create", new_vm(&vm, &xml));
    assert_eq!(
        (&created["vmId"], &created["status"]),
        (&json!(vm), &json!("WaitForLaunch"))
    );
    assert!(created["statusTime"].is_string());
    assert_eq!(
        session.code("VM.create", new_vm(&vm, &xml)),
        4,
        "a second create"
    );
    let topic = format!("|virt|VM_status|{vm}");
    let (_, up) = client.next_event(&mut events, |method, params| {
        method == topic && params[&vm]["status"] == "Powering up"
    });
    assert!(
        up["notify_time"].is_u64() && up[&vm]["displayInfo"].is_array(),
        "{up}"
    );
    until(&session, &vm, &["Powering up", "Up"]);

    let info = session.ok("VM.getInfo", json!({"vmID": vm}));
    assert_eq!(info["status"], "Up");
    let list = session.ok("Host.getVMList", json!({}));
    assert_eq!(
        (&list[0]["vmId"], list.as_array().unwrap().len()),
        (&json!(vm), 1)
    );
    assert_eq!(
        session.ok("Host.getVMList", json!({"onlyUUID": true})),
        json!([vm])
    );
    assert_eq!(
        session.ok("Host.getVMFullList", json!({}))[0]["vmId"],
        json!(vm)
    );
    let xmls = session.ok("Host.dumpxmls", json!({"vmList": [vm]}));
    let live = xmls[&vm].as_str().unwrap();
    assert!(
        live.contains("minGuaranteedMemoryMb") && live.contains("type='qemu'"),
        "{live}"
    );

    statistics(&session, &vm);
    pause_and_continue(&session, &vm);
    screenshot(&session, &vm);
    session.ok("VM.reset", json!({"vmID": vm}));

    shutdown(&session, &vm);
    session.ok("VM.destroy", json!({"vmID": vm}));
    assert_eq!(
        session.code("VM.destroy", json!({"vmID": vm})),
        1,
        "a second destroy"
    );
    assert_eq!(session.ok("Host.getVMList", json!({})), json!([]));
    wait_for("QEMU to be gone", || {
        session.qemus().is_empty().then_some(())
    });
}

fn statistics(session: &Session, vm: &str) {
    let stats = wait_for("samples", || {
        let stats = session.ok("Host.getAllVmStats", json!({}))[0].clone();
        (stats["cpuActual"] == true && stats["balloonInfo"].is_object()).then_some(stats)
    });
    for key in [
        "statusTime",
        "elapsedTime",
        "monitorResponse",
        "timeOffset",
        "cpuUser",
        "cpuSys",
        "cpuUsage",
        "hash",
        "kvmEnable",
        "acpiEnable",
        "memUsage",
        "vmName",
        "vmType",
    ] {
        assert!(stats[key].is_string(), "{key}: {}", stats[key]);
    }
    assert_eq!(
        (&stats["vmId"], &stats["monitorResponse"]),
        (&json!(vm), &json!("0"))
    );
    assert_eq!(stats["displayInfo"][0]["type"], "vnc");
    let used = |stats: &Value| stats["cpuUsage"].as_str().unwrap().parse::<f64>().unwrap();
    let before = used(&stats);
    assert!(before > 0.0, "{stats}");
    wait_for("CPU time to grow", || {
        (used(&session.ok("VM.getStats", json!({"vmID": vm}))[0]) > before).then_some(())
    });
}

fn pause_and_continue(session: &Session, vm: &str) {
    let nothing = json!({"vmList": {}});
    assert_eq!(session.ok("VM.pause", json!({"vmID": vm})), nothing);
    until(session, vm, &["Paused"]);
    assert_eq!(
        session.ok("VM.pause", json!({"vmID": vm})),
        nothing,
        "idempotent"
    );
    assert_eq!(session.ok("VM.cont", json!({"vmID": vm})), nothing);
    until(session, vm, &["Powering up", "Up"]);
}

/// A guest without a system hears neither agent nor power button: it is asked, then ended by force.
fn shutdown(session: &Session, vm: &str) {
    assert_eq!(session.qemus().len(), 1);
    let force = json!({"vmID": vm, "delay": "0", "timeout": "1", "message": "", "force": true});
    assert_eq!(session.ok("VM.shutdown", force), json!(true));
    until(session, vm, &["Powering down", "Down"]);
    until(session, vm, &["Down"]);
    let stats = session.ok("VM.getStats", json!({"vmID": vm}));
    assert_eq!(
        (&stats[0]["exitCode"], &stats[0]["exitReason"]),
        (&json!(0), &json!(6)),
        "{stats}"
    );
    assert_eq!(
        session.code("VM.pause", json!({"vmID": vm})),
        6,
        "it is down"
    );
}

fn screenshot(session: &Session, vm: &str) {
    let picture = session.ok("VM.screenshot", json!({"vmID": vm}));
    assert_eq!(
        (&picture["encoding"], &picture["mime_type"]),
        (&json!("base64"), &json!("image/png"))
    );
    assert!(
        picture["data"].as_str().unwrap().starts_with("iVBORw0KGgo"),
        "the signature of PNG"
    );
}

#[test]
fn session_disks_crashes_and_bad_input() {
    let Some(mut session) = Session::start() else {
        return;
    };
    let storage = Storage::build_in(&session);
    let (image, volume) = storage.create_volume(&session, 64 * MIB, 5, 2);

    bad_input(&session, &storage);

    let vm = id();
    let (disks, metadata) = disk(&storage, &image, &volume);
    let xml = domain_xml(&vm, "with-disk", &disks, &metadata);
    session.ok("VM.create", new_vm(&vm, &xml));
    until(&session, &vm, &["Powering up", "Up"]);
    let before = session.ok("VM.getStats", json!({"vmID": vm}))[0].clone();
    let stats = wait_for("a sample of the disk", || {
        let stats = session.ok("VM.getStats", json!({"vmID": vm}))[0].clone();
        stats["disks"]["vda"]["writeOps"]
            .is_string()
            .then_some(stats)
    });
    assert_eq!(stats["disks"]["vda"]["imageID"], json!(image));
    // The volume is sparse; libvirt would tell what is allocated as its size.
    let size = session.ok(
        "Volume.getSize",
        json!({"volumeID": volume, "storagepoolID": storage.pool,
               "storagedomainID": storage.domain, "imageID": image}),
    );
    let apparent = json!((64 * MIB).to_string());
    wait_for("the sizes that storage tells", || {
        let disk = session.ok("VM.getStats", json!({"vmID": vm}))[0]["disks"]["vda"].clone();
        (disk["apparentsize"] == apparent && disk["truesize"] == size["truesize"]).then_some(())
    });

    session.crash_and_restart();
    assert_eq!(session.qemus().len(), 1, "the VM outlives its agent");
    let after = session.ok("VM.getStats", json!({"vmID": vm}))[0].clone();
    for key in [
        "vmId",
        "vmName",
        "hash",
        "displayInfo",
        "timeOffset",
        "vmType",
    ] {
        assert_eq!(after[key], before[key], "{key}: {after}");
    }
    let seconds = |stats: &Value| {
        stats["elapsedTime"]
            .as_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    assert!(seconds(&after) >= seconds(&before));
    until(&session, &vm, &["Powering up", "Up"]);

    // No storage server and no pool is connected yet: the VM ends all the same, and leaves no link to its image.
    assert!(link_of(&session, &storage, &image).is_symlink());
    session.ok("VM.destroy", json!({"vmID": vm}));
    assert!(!link_of(&session, &storage, &image).is_symlink());
    wait_for("QEMU to be gone", || {
        session.qemus().is_empty().then_some(())
    });
    storage.connect_server(&session);
    storage.connect_pool(&session);

    killed_within_create(&mut session, &storage, &image, &volume);
}

/// The agent's link to an image that is prepared.
fn link_of(session: &Session, storage: &Storage, image: &str) -> PathBuf {
    let links = session.path("run").join("storage");
    links.join(&storage.domain).join(image)
}

fn bad_input(session: &Session, storage: &Storage) {
    let vm = id();
    for xml in [
        "",
        "<",
        "<domain/>",
        "no xml at all",
        "<domain><name>x</name></domain>",
        &"<a>".repeat(5000),
    ] {
        assert!(
            session.call("VM.create", new_vm(&vm, xml)).is_err(),
            "{xml:.40}"
        );
    }
    assert_eq!(
        session.code("VM.create", json!({"vmID": vm, "vmParams": {}})),
        11
    );
    assert_eq!(session.code("VM.create", json!({"vmID": vm})), -32602);
    for verb in [
        "VM.getStats",
        "VM.getInfo",
        "VM.pause",
        "VM.cont",
        "VM.reset",
        "VM.shutdown",
        "VM.screenshot",
    ] {
        assert_eq!(session.code(verb, json!({"vmID": vm})), 1, "{verb}");
    }
    // A disk that does not exist: the VM ends with a reason and holds nothing.
    let (disks, metadata) = disk(storage, &id(), &id());
    session.ok(
        "VM.create",
        new_vm(&vm, &domain_xml(&vm, "no-disk", &disks, &metadata)),
    );
    until(session, &vm, &["Down"]);
    let stats = session.ok("VM.getStats", json!({"vmID": vm}));
    assert_eq!(stats[0]["exitCode"], 1, "{stats}");
    assert!(!stats[0]["exitMessage"].as_str().unwrap().is_empty());
    session.ok("VM.destroy", json!({"vmID": vm}));
    assert_eq!(session.ok("Host.getVMList", json!({})), json!([]));
    assert_eq!(session.qemus(), Vec::<i32>::new());
}

/// kill -9 at several moments after `VM.create` was answered: the next agent tells what is, and leaves no orphan.
fn killed_within_create(session: &mut Session, storage: &Storage, image: &str, volume: &str) {
    for delay in [0, 20, 60, 150, 400] {
        let vm = id();
        let (disks, metadata) = disk(storage, image, volume);
        let xml = domain_xml(&vm, "killed", &disks, &metadata);
        session.ok("VM.create", new_vm(&vm, &xml));
        std::thread::sleep(std::time::Duration::from_millis(delay));
        session.crash_and_restart();
        storage.connect_server(session);
        storage.connect_pool(session);
        let list = session.ok("Host.getVMList", json!({"onlyUUID": true}));
        let running = session.qemus().len();
        if list == json!([vm]) {
            let alive = status(session, &vm) != "Down";
            assert_eq!(running, usize::from(alive), "after {delay} ms");
            session.ok("VM.destroy", json!({"vmID": vm}));
        } else {
            assert_eq!((list, running), (json!([]), 0), "after {delay} ms");
        }
        wait_for("QEMU to be gone", || {
            session.qemus().is_empty().then_some(())
        });
        assert_eq!(session.ok("Host.getVMList", json!({})), json!([]));
    }
}

#[test]
fn session_a_hung_vm_delays_no_other() {
    let Some(session) = Session::start() else {
        return;
    };
    let (hung, fine) = (id(), id());
    for (vm, name) in [(&hung, "hung"), (&fine, "fine")] {
        session.ok("VM.create", new_vm(vm, &domain_xml(vm, name, "", "")));
        until(&session, vm, &["Powering up", "Up"]);
    }
    let pid = qemu_of(&session, &hung);
    signal(pid, rustix::process::Signal::STOP);
    let pausing = session.client();
    let blocked = std::thread::spawn({
        let hung = hung.clone();
        move || pausing.call("VM.pause", json!({"vmID": hung}))
    });
    let start = std::time::Instant::now();
    session.ok("VM.pause", json!({"vmID": fine}));
    session.ok("VM.cont", json!({"vmID": fine}));
    session.ok("Host.getAllVmStats", json!({}));
    session.ok("Host.getStats", json!({}));
    let took = start.elapsed();
    assert!(
        !blocked.is_finished(),
        "the pause of the hung VM waits for it"
    );
    signal(pid, rustix::process::Signal::CONT);
    blocked.join().unwrap().unwrap();
    // Far below any deadline of a hung call, far above what it takes.
    assert!(took < std::time::Duration::from_secs(20), "{took:?}");
    for vm in [&hung, &fine] {
        session.ok("VM.destroy", json!({"vmID": vm}));
    }
}

fn qemu_of(session: &Session, vm: &str) -> i32 {
    let has = |pid: &i32| {
        fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|it| it.contains(vm))
    };
    session.qemus().into_iter().find(has).unwrap()
}

fn signal(pid: i32, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
}
