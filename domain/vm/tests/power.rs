//! How guests end and begin anew: asked by their agent, by ACPI, by force, by reset; over fakes.

mod common;

use std::time::Duration;

use common::{World, disk, eventually, request, shutdown, vm_id, xml};
use sim::{hypervisor::Manners, process::Fault};
use vm::CreateRequest;
use vm_model::{
    exit::{ExitCode, ExitReason},
    status::VmStatus,
};

#[test]
fn shutdown_by_the_agent_then_acpi_then_force() {
    let cases = [
        (
            Manners {
                agent: true,
                acpi: false,
            },
            false,
            true,
        ),
        (
            Manners {
                agent: false,
                acpi: true,
            },
            false,
            true,
        ),
        (
            Manners {
                agent: false,
                acpi: false,
            },
            true,
            true,
        ),
        (
            Manners {
                agent: false,
                acpi: false,
            },
            false,
            false,
        ),
    ];
    for (manners, force, ends) in cases {
        let world = World::with_volumes();
        let agent = world.agent();
        let id = agent.up(1);
        world.hypervisor.set_manners(id, manners);
        agent
            .manager
            .shutdown(id, shutdown(force, false, 40))
            .unwrap();
        if !ends {
            std::thread::sleep(Duration::from_millis(200));
            assert_eq!(
                agent.manager.stats(id).unwrap().status,
                VmStatus::PoweringDown
            );
            assert_eq!(agent.manager.info(id).unwrap().status, VmStatus::Up);
            continue;
        }
        let exit = agent.wait_down(id);
        assert_eq!(exit.reason, ExitReason::AdminShutdown, "{manners:?}");
        // Listed until it is destroyed.
        assert_eq!(agent.manager.list(&[])[0].status, VmStatus::Down);
        assert_eq!(world.volumes.prepared(), 0);
        agent.manager.destroy(id, 1).unwrap();
        assert_eq!(world.hypervisor.domains(), []);
        assert_eq!(world.volumes.state(&disk(1)).unwrap().teardown_calls, 1);
    }
}

/// A reset is told of late: the shutdown that follows it at once is carried out all the same.
#[test]
fn a_guest_that_restarts_is_shut_down_all_the_same() {
    let world = World::with_volumes();
    let agent = world.agent();
    let id = agent.up(1);
    let stubborn = Manners {
        agent: false,
        acpi: false,
    };
    world.hypervisor.set_manners(id, stubborn);
    agent
        .manager
        .shutdown(id, shutdown(true, false, 300))
        .unwrap();
    world.hypervisor.guest_reboots(id);
    assert_eq!(agent.wait_down(id).reason, ExitReason::AdminShutdown);
}

#[test]
fn a_vm_without_acpi_is_not_asked_by_acpi() {
    let world = World::with_volumes();
    let agent = world.agent();
    let xml = xml(1, &[disk(1)]).replace("<acpi/>", "");
    agent
        .manager
        .create(CreateRequest { xml, ..request(1) })
        .unwrap();
    agent.wait_status(vm_id(1), VmStatus::PoweringUp);
    agent
        .manager
        .shutdown(vm_id(1), shutdown(false, false, 20))
        .unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let asked = agent
        .process
        .names()
        .iter()
        .filter(|name| **name == "shutdown")
        .count();
    assert_eq!(asked, 1);
}

#[test]
fn reboot_keeps_the_vm() {
    let world = World::with_volumes();
    let agent = world.agent();
    let id = agent.up(1);
    agent
        .manager
        .shutdown(id, shutdown(false, true, 500))
        .unwrap();
    agent.wait_reboot(id);
    assert_eq!(agent.manager.info(id).unwrap().status, VmStatus::Up);
    // Where nothing else helps, by reset.
    world.hypervisor.set_manners(
        id,
        Manners {
            agent: false,
            acpi: false,
        },
    );
    agent
        .manager
        .shutdown(id, shutdown(true, true, 20))
        .unwrap();
    eventually("reset", || agent.process.names().contains(&"reset"));
}

#[test]
fn a_reboot_that_shall_end_it_does() {
    let world = World::with_volumes();
    let agent = world.agent();
    let xml = xml(1, &[disk(1)]).replace("<devices>", "<on_reboot>destroy</on_reboot><devices>");
    agent
        .manager
        .create(CreateRequest { xml, ..request(1) })
        .unwrap();
    agent.wait_status(vm_id(1), VmStatus::PoweringUp);
    let defined = world.hypervisor.xml(vm_id(1)).unwrap();
    assert!(!defined.contains("on_reboot>destroy"), "{defined}");
    world.hypervisor.guest_reboots(vm_id(1));
    let exit = agent.wait_down(vm_id(1));
    assert_eq!(
        (exit.code, exit.reason),
        (ExitCode::Normal, ExitReason::DestroyedOnReboot)
    );
    assert_eq!(world.volumes.prepared(), 0);
}

#[test]
fn what_does_not_end_gracefully_in_time_is_ended_by_force() {
    let world = World::with_volumes();
    let agent = world.agent();
    let id = agent.up(1);
    let hang = Fault::Hang(Duration::from_millis(50));
    agent.process.fault_on("destroy", hang);
    agent.manager.destroy(id, 1).unwrap();
    let names = agent.process.names();
    let asked = names.iter().filter(|name| **name == "destroy").count();
    assert_eq!(asked, 2);
    assert_eq!(world.hypervisor.domains(), []);
    assert_eq!(world.volumes.prepared(), 0);
}

#[test]
fn reset_is_told_as_reboot() {
    let world = World::with_volumes();
    let agent = world.agent();
    let id = agent.up(1);
    world.clock.pass(Duration::from_secs(100));
    agent.manager.reset(id).unwrap();
    let guest = agent.wait_reboot(id);
    assert_eq!((guest.username.as_str(), guest.cpu_count), ("Unknown", -1));
    assert_eq!(agent.running(id).elapsed_seconds, 0);
    world.clock.pass(Duration::from_secs(61));
    agent.wait_status(id, VmStatus::Up);
}
