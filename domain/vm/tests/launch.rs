//! Launches that are refused, fail, or are cut off, and what stays of them: nothing. Over fakes.

mod common;

use std::time::Duration;

use common::{World, disk, eventually, request, vm_id, xml};
use sim::process::Fault;
use vm::{CreateRequest, VmError};
use vm_model::{
    exit::{ExitCode, ExitReason},
    stats::StatsBody,
    status::VmStatus,
};

#[test]
fn a_second_create_is_refused_in_every_state() {
    let world = World::with_volumes();
    let agent = world.agent();
    let exists = Err(VmError::VmExists(vm_id(1)));
    agent
        .process
        .fault_on("start", Fault::Hang(Duration::from_millis(50)));
    agent.create(1);
    assert_eq!(agent.manager.create(request(1)).map(|_| ()), exists);
    agent.wait_down(vm_id(1));
    assert_eq!(agent.manager.create(request(1)).map(|_| ()), exists);
    agent.manager.destroy(vm_id(1), 1).unwrap();
    agent.up(1);
    assert_eq!(agent.manager.create(request(1)).map(|_| ()), exists);
}

#[test]
fn many_creates_at_once_make_one_vm() {
    let world = World::with_volumes();
    let agent = world.agent();
    let made = std::thread::scope(|scope| {
        let all: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| agent.manager.create(request(1)).is_ok()))
            .collect();
        all.into_iter()
            .filter(|_| true)
            .map(|thread| thread.join().unwrap())
            .filter(|ok| *ok)
            .count()
    });
    assert_eq!(made, 1);
    agent.wait_status(vm_id(1), VmStatus::PoweringUp);
    assert_eq!(world.hypervisor.domains().len(), 1);
}

#[test]
fn bad_requests_are_refused_and_leave_nothing() {
    let world = World::with_volumes();
    let agent = world.agent();
    let create = |xml: String| {
        agent
            .manager
            .create(CreateRequest {
                vm_id: None,
                xml,
                launch_paused: false,
            })
            .map(|_| ())
    };
    assert_eq!(create(String::new()), Err(VmError::MissingParameter("xml")));
    for bad in [
        "<domain",
        "<vm/>",
        "<domain/>",
        "<domain><uuid>x</uuid></domain>",
        "text",
    ] {
        assert!(
            matches!(create(bad.to_owned()), Err(VmError::BadXml(_))),
            "{bad}"
        );
    }
    let good = xml(1, &[disk(1)]);
    let one_id_less = good.replace("ovirt-vm:poolID", "ovirt-vm:other");
    assert!(matches!(create(one_id_less), Err(VmError::BadXml(_))));
    let lun = good
        .replace(
            "<ovirt-vm:poolID>",
            "<ovirt-vm:GUID>g</ovirt-vm:GUID><ovirt-vm:x>",
        )
        .replace("</ovirt-vm:poolID>", "</ovirt-vm:x>")
        .replace("volumeID", "other");
    assert!(matches!(create(lun), Err(VmError::NotBuilt(_))));
    let other = CreateRequest {
        vm_id: Some(vm_id(2)),
        ..request(1)
    };
    assert!(matches!(
        agent.manager.create(other),
        Err(VmError::BadXml(_))
    ));
    assert_eq!(agent.manager.list(&[]), []);
    assert_eq!(world.hypervisor.domains(), []);
    assert_eq!(world.volumes.prepared(), 0);
}

#[test]
fn a_drive_that_does_not_exist_ends_the_launch_and_nothing_stays() {
    let world = World::with_volumes();
    let agent = world.agent();
    let xml = xml(1, &[disk(1), disk(9)]);
    agent
        .manager
        .create(CreateRequest { xml, ..request(1) })
        .unwrap();
    let exit = agent.wait_down(vm_id(1));
    assert_eq!(
        (exit.code, exit.reason),
        (ExitCode::Error, ExitReason::GenericError)
    );
    assert!(
        exit.message.contains("Bad volume specification"),
        "{}",
        exit.message
    );
    assert!(
        exit.message.contains(&disk(9).volume.to_string()),
        "{}",
        exit.message
    );
    assert_eq!(world.volumes.prepared(), 0);
    let StatsBody::Down { exit: told, .. } = agent.manager.stats(vm_id(1)).unwrap().body else {
        panic!("not down");
    };
    assert_eq!(told, exit);
    assert_eq!(agent.manager.list(&[])[0].status, VmStatus::Down);
    agent.manager.destroy(vm_id(1), 1).unwrap();
    assert_eq!(world.hypervisor.domains(), []);
}

#[test]
fn a_format_that_lies_is_refused() {
    let world = World::new();
    world.volumes.add(disk(1), "qcow2");
    let agent = world.agent();
    let id = agent.create(1);
    let exit = agent.wait_down(id);
    assert!(
        exit.message
            .contains("the XML says raw, but the volume is qcow2"),
        "{exit:?}"
    );
    assert_eq!(world.volumes.prepared(), 0);
}

#[test]
fn a_failing_step_of_the_launch_is_told_and_undone() {
    for step in ["list", "define", "prepare", "start"] {
        let world = World::with_volumes();
        let agent = world.agent();
        agent
            .process
            .fault_on(step, Fault::Fail("out of luck".to_owned()));
        let id = agent.create(1);
        let exit = agent.wait_down(id);
        assert_eq!(exit.code, ExitCode::Error, "{step}");
        assert!(
            exit.message.contains("out of luck"),
            "{step}: {}",
            exit.message
        );
        assert_eq!(world.volumes.prepared(), 0, "{step}");
        agent.manager.destroy(id, 1).unwrap();
        assert_eq!(world.hypervisor.domains(), [], "{step}");
        assert_eq!(agent.manager.list(&[]), [], "{step}");
        agent.up(1);
    }
}

#[test]
fn a_start_whose_answer_is_late_is_a_start() {
    let world = World::with_volumes();
    let agent = world.agent();
    agent
        .process
        .fault_on("start", Fault::LateAnswer(Duration::from_millis(20)));
    let id = agent.create(1);
    agent.wait_status(id, VmStatus::PoweringUp);
    assert_eq!(agent.manager.info(id).unwrap().status, VmStatus::Up);
    assert!(world.volumes.state(&disk(1)).unwrap().prepared);
}

#[test]
fn destroyed_during_its_startup() {
    let world = World::with_volumes();
    let agent = world.agent();
    agent
        .process
        .fault_on("prepare", Fault::Slow(Duration::from_millis(100)));
    let id = agent.create(1);
    eventually("preparing", || agent.process.names().contains(&"prepare"));
    agent.manager.destroy(id, 1).unwrap();
    assert_eq!(world.hypervisor.domains(), []);
    assert_eq!(world.volumes.prepared(), 0);
    assert_eq!(agent.manager.list(&[]), []);
    assert!(!agent.process.names().contains(&"start"));
}
