//! VMs and the storage beneath them: pauses on I/O errors and what follows them, sizes of disks.

mod common;

use std::time::{Duration, Instant};

use common::{Agent, World, config, disk, eventually, request, vm_id, xml};
use sim::{process::Fault, volumes::VolumeStore};
use vm::CreateRequest;
use vm_model::{
    events::StatusDetail,
    exit::{ExitCode, ExitReason},
    ports::{VmId, VolumeSize},
    status::{PauseCode, VmStatus},
};

#[test]
fn an_io_error_pauses_and_storage_resumes() {
    let world = World::with_volumes();
    let agent = world.agent();
    let id = agent.up(1);
    world.hypervisor.io_error(id, "ua-disk0", "enospc");
    // A sample may have seen the pause before the event tells why.
    let event = agent.wait(id, |e| matches!(e.detail, StatusDetail::IoError { .. }));
    assert_eq!(event.status, VmStatus::Paused);
    let StatusDetail::IoError {
        pause_code,
        alias,
        name,
        path,
    } = event.detail
    else {
        panic!("{:?}", event.detail)
    };
    assert_eq!(pause_code, PauseCode::Enospc);
    assert_eq!((alias.as_str(), name.as_deref()), ("ua-disk0", Some("vda")));
    assert_eq!(path.as_deref(), VolumeStore::path(&disk(1)).to_str());
    assert_eq!(agent.running(id).pause_code, Some(PauseCode::Enospc));
    eventually("kept", || {
        world
            .hypervisor
            .metadata(id)
            .unwrap()
            .text("pauseCode")
            .as_deref()
            == Some("ENOSPC")
    });
    let elsewhere = agent.manager.resume_after_io_error(disk(1).image);
    assert!(elsewhere.is_empty(), "none has a disk there");
    assert_eq!(agent.manager.info(id).unwrap().status, VmStatus::Paused);
    assert_eq!(agent.manager.resume_after_io_error(disk(1).domain), [id]);
    eventually("it runs on", || {
        agent.manager.info(id).unwrap().status == VmStatus::Up
    });
    let again = agent.manager.resume_after_io_error(disk(1).domain);
    assert!(again.is_empty(), "it runs");
    eventually("forgotten", || {
        world
            .hypervisor
            .metadata(id)
            .unwrap()
            .text("pauseCode")
            .is_none()
    });
}

/// The domains of all disks become well again; gives back the VMs that this concerns.
fn storage_is_well(agent: &Agent) -> Vec<VmId> {
    let resumed = (1..=3).map(|n| agent.manager.resume_after_io_error(disk(n).domain));
    resumed.flatten().collect()
}

#[test]
fn resume_behaviour_is_the_vms() {
    let world = World::with_volumes();
    let agent = world.agent();
    for (n, behavior) in [(1, "leave_paused"), (2, "kill"), (3, "auto_resume")] {
        let xml = xml(n, &[disk(n)]).replace("auto_resume", behavior);
        agent
            .manager
            .create(CreateRequest { xml, ..request(n) })
            .unwrap();
        agent.wait_status(vm_id(n), VmStatus::PoweringUp);
        world.hypervisor.io_error(vm_id(n), "ua-disk0", "");
        agent.wait(vm_id(n), |e| {
            matches!(e.detail, StatusDetail::IoError { .. })
        });
        assert_eq!(agent.running(vm_id(n)).pause_code, Some(PauseCode::Eother));
    }
    world.clock.pass(Duration::from_secs(81));
    assert_eq!(storage_is_well(&agent), [1, 2, 3].map(vm_id));
    let exit = agent.wait_down(vm_id(2));
    assert_eq!(exit.reason, ExitReason::DestroyedOnPauseTimeout);
    assert_eq!(exit.code, ExitCode::Error);
    assert_eq!(
        agent.manager.info(vm_id(1)).unwrap().status,
        VmStatus::Paused
    );
    eventually("it runs on", || {
        agent.manager.info(vm_id(3)).unwrap().status == VmStatus::Up
    });
}

#[test]
fn a_domain_that_hangs_keeps_no_other_paused() {
    let world = World::with_volumes();
    let agent = world.agent();
    for n in 1..=3 {
        let id = agent.up(n);
        world.hypervisor.io_error(id, "ua-disk0", "");
        agent.wait(id, |e| matches!(e.detail, StatusDetail::IoError { .. }));
    }
    // One that someone paused is no business of storage.
    agent.manager.pause(vm_id(3)).unwrap();
    agent
        .process
        .fault_on("resume", Fault::Hang(Duration::from_secs(5)));
    assert_eq!(storage_is_well(&agent), [1, 2].map(vm_id));
    let up = |n| agent.manager.info(vm_id(n)).unwrap().status == VmStatus::Up;
    eventually("one runs on", || up(1) || up(2));
    assert!(!(up(1) && up(2)), "the other hangs");
    assert_eq!(
        agent.manager.info(vm_id(3)).unwrap().status,
        VmStatus::Paused
    );
}

/// Sizes of the disk of VM n, as statistics tell them: allocated, then apparent.
fn told_sizes(agent: &Agent, n: u32) -> Option<(u64, u64)> {
    let disks = agent.running(vm_id(n)).disks;
    disks.first().map(|d| (d.truesize, d.apparentsize))
}

#[test]
fn sizes_of_disks_are_those_of_storage() {
    let world = World::with_volumes();
    let agent = world.agent();
    agent.up(1);
    eventually("measured", || {
        told_sizes(&agent, 1) == Some((1 << 16, 1 << 26))
    });
    let grown = VolumeSize {
        apparent: 1 << 27,
        allocated: 1 << 20,
    };
    world.volumes.resize(&disk(1), grown);
    eventually("measured again", || {
        told_sizes(&agent, 1) == Some((1 << 20, 1 << 27))
    });
}

/// What libvirt tells in the world of fakes: allocated, then physical.
const OF_LIBVIRT: (u64, u64) = (1 << 20, 1 << 21);

#[test]
fn sizes_are_told_while_storage_does_not_answer() {
    let world = World::with_volumes();
    let first = world.agent();
    let hung = first.up(1);
    eventually("measured", || {
        told_sizes(&first, 1) == Some((1 << 16, 1 << 26))
    });
    let calls = |agent: &Agent| {
        let names = agent.process.names();
        names.iter().filter(|name| **name == "size").count()
    };
    let hang = Duration::from_secs(5);
    first.process.fault_on("size", Fault::Hang(hang));
    eventually("it hangs", || {
        let before = calls(&first);
        std::thread::sleep(Duration::from_millis(200));
        calls(&first) == before
    });
    // The other VM is measured all the same, samples go on, and nobody asks for the hung one again.
    first.up(2);
    let start = Instant::now();
    eventually("the other", || {
        told_sizes(&first, 2) == Some((1 << 16, 1 << 26))
    });
    assert!(start.elapsed() < hang);
    assert_eq!(told_sizes(&first, 1), Some((1 << 16, 1 << 26)));
    // Destroyed while its storage hangs.
    first.manager.destroy(hung, 1).unwrap();
    assert!(start.elapsed() < hang);
    drop(first);
    // An agent that never heard of a size tells libvirt's.
    let second = world.boot(config());
    for _ in 0..100 {
        let fault = Fault::Fail("no such domain is connected".to_owned());
        second.process.fault_on("size", fault);
    }
    second.manager.recover().unwrap();
    eventually("samples", || told_sizes(&second, 2).is_some());
    assert_eq!(told_sizes(&second, 2), Some(OF_LIBVIRT));
    eventually("measured at last", || {
        told_sizes(&second, 2) == Some((1 << 16, 1 << 26))
    });
}
