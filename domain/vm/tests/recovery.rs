//! Agents that die, and those that come after them, over one world of fakes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

mod common;

use std::time::Duration;

use common::{Agent, World, config, disk, eventually, request, vm_id, xml};
use sim::process::Fault;
use vm::{CreateRequest, VmConfig, VmError};
use vm_model::{
    events::StatusDetail,
    exit::ExitReason,
    ports::{DomainRunState, HypervisorEvent},
    stats::{RunningStats, StatsBody},
    status::{PauseCode, VmStatus},
};

/// Ends it as `kill -9` would.
fn kill(agent: Agent) {
    agent.process.kill();
    drop(agent);
}

#[test]
fn running_vms_are_reported_the_same() {
    let world = World::with_volumes();
    let first = world.agent();
    let (running, paused) = (first.up(1), first.up(2));
    world.clock.pass(Duration::from_secs(100));
    world.hypervisor.emit(&HypervisorEvent::RtcChange {
        id: running,
        offset: 7,
    });
    world.hypervisor.io_error(paused, "ua-disk0", "enospc");
    first.wait_status(paused, VmStatus::Paused);
    eventually("kept", || {
        let kept = |id| world.hypervisor.metadata(id).unwrap();
        kept(paused).text("pauseCode").is_some() && kept(running).int("timeOffset") == Some(7)
    });
    let still = |agent: &Agent, id| {
        let stats = agent.manager.stats(id).unwrap();
        let StatsBody::Alive {
            config,
            running,
            guest,
        } = stats.body
        else {
            panic!("down")
        };
        // Figures of samples are made anew.
        let running = RunningStats {
            cpu: vm_model::stats::CpuStats {
                user: String::new(),
                sys: String::new(),
                usage: String::new(),
                actual: false,
            },
            balloon: None,
            vcpu_count: None,
            disks: Vec::new(),
            ..*running
        };
        (
            stats.status,
            config,
            running,
            guest,
            agent.manager.info(id).unwrap().status,
        )
    };
    eventually("both are sampled", || {
        [running, paused]
            .iter()
            .all(|id| first.running(*id).monitor_response == 0)
    });
    let before = [running, paused].map(|id| still(&first, id));
    kill(first);
    let second = world.boot(config());
    let report = second.manager.recover().unwrap();
    assert_eq!(report.running, [running, paused]);
    assert_eq!([running, paused].map(|id| still(&second, id)), before);
    assert_eq!(before[1].2.pause_code, Some(PauseCode::Enospc));
    assert_eq!(before[0].2.elapsed_seconds, 100);
    // Told like a start.
    second.wait(running, |event| {
        matches!(event.detail, StatusDetail::Running(_))
    });
    // Volumes stay as they are, and go when their VM does.
    assert_eq!(world.volumes.state(&disk(1)).unwrap().prepares, 1);
    assert_eq!(second.manager.prepare_recovered(), []);
    assert_eq!(world.volumes.state(&disk(1)).unwrap().prepares, 1);
    second.manager.destroy(running, 1).unwrap();
    second.manager.destroy(paused, 1).unwrap();
    assert_eq!(world.volumes.prepared(), 0);
    assert_eq!(world.volumes.state(&disk(1)).unwrap().teardowns, 1);
}

/// Killed at each of its calls, before or after the call's effect: the next agent leaves no
/// orphan and tells no lie.
#[test]
fn killed_at_every_step_of_create() {
    let mut unharmed = 0;
    for number in 0.. {
        for fault in [Fault::KillBefore, Fault::KillAfter] {
            let world = World::with_volumes();
            let agent = quiet(&world);
            agent
                .process
                .fault_at(agent.process.calls() + number, fault.clone());
            let id = agent.create(1);
            eventually("it is up or dead", || {
                !agent.process.is_alive() || agent.statuses(id).contains(&VmStatus::PoweringUp)
            });
            let up = agent.process.is_alive();
            unharmed += usize::from(up);
            let trace = agent.process.names();
            kill(agent);
            no_orphan_and_no_lie(&world, &format!("{fault:?} at {number}: {trace:?}"));
        }
        if unharmed > 0 {
            assert!(number >= 7, "the launch has more steps than {number}");
            return;
        }
    }
}

/// An agent whose calls can be counted: it samples once.
fn quiet(world: &World) -> Agent {
    let agent = world.boot(VmConfig {
        sample_interval: Duration::from_hours(1),
        size_interval: Duration::from_hours(1),
        ..config()
    });
    agent.manager.recover().unwrap();
    eventually("the first sample", || {
        agent.process.names().contains(&"all_stats")
    });
    agent
}

fn no_orphan_and_no_lie(world: &World, what: &str) {
    let id = vm_id(1);
    let next = world.agent();
    let listed = next.manager.list(&[]);
    let domain = world.hypervisor.domain(id);
    match listed.as_slice() {
        [] => {
            assert_eq!(domain, None, "{what}");
            assert_eq!(world.volumes.prepared(), 0, "{what}");
        }
        [vm] => {
            assert_eq!(vm.status, VmStatus::Up, "{what}");
            let state = domain
                .unwrap_or_else(|| panic!("{what}: a VM without a domain"))
                .state;
            assert_eq!(state.state, DomainRunState::Running, "{what}");
            assert!(world.volumes.state(&disk(1)).unwrap().prepared, "{what}");
            next.manager.destroy(id, 1).unwrap();
        }
        more => panic!("{what}: {more:?}"),
    }
    assert_eq!(world.hypervisor.domains(), [], "{what}");
    let volume = world.volumes.state(&disk(1)).unwrap();
    assert!(!volume.prepared, "{what}");
    // And the VM can be created.
    next.up(1);
}

#[test]
fn killed_at_every_step_of_destroy() {
    for number in 0.. {
        let mut done = false;
        for fault in [Fault::KillBefore, Fault::KillAfter] {
            let world = World::with_volumes();
            let agent = quiet(&world);
            let id = agent.up(1);
            eventually("it rests", || {
                let metadata = world.hypervisor.metadata(id).unwrap();
                metadata.text("agentPhase").as_deref() == Some("running")
            });
            std::thread::sleep(Duration::from_millis(30));
            agent
                .process
                .fault_at(agent.process.calls() + number, fault.clone());
            let answer = agent.manager.destroy(id, 1);
            done |= agent.process.is_alive();
            let trace = agent.process.names();
            kill(agent);
            let what = format!("{fault:?} at {number}, {answer:?}: {trace:?}");
            let next = world.agent();
            match next.manager.list(&[]).as_slice() {
                [] => assert_eq!(world.hypervisor.domains(), [], "{what}"),
                [vm] if vm.status == VmStatus::Up => next.manager.destroy(id, 1).unwrap(),
                [_] => {
                    eventually("down", || {
                        next.manager.info(id).unwrap().status == VmStatus::Down
                    });
                    let StatsBody::Down { exit, .. } = next.manager.stats(id).unwrap().body else {
                        panic!("{what}")
                    };
                    assert_eq!(exit.reason, ExitReason::AdminShutdown, "{what}");
                    next.manager.destroy(id, 1).unwrap();
                }
                more => panic!("{what}: {more:?}"),
            }
            assert_eq!(world.hypervisor.domains(), [], "{what}");
            assert_eq!(world.volumes.prepared(), 0, "{what}");
        }
        if done {
            assert!(number >= 4, "the end has more steps than {number}");
            return;
        }
    }
}

#[test]
fn a_vm_that_ended_while_nobody_looked_is_down_with_its_reason() {
    let world = World::with_volumes();
    let agent = world.agent();
    agent.up(1);
    agent.up(2);
    eventually("kept", || {
        let phase = |n| {
            world
                .hypervisor
                .metadata(vm_id(n))
                .unwrap()
                .text("agentPhase")
        };
        [1, 2]
            .iter()
            .all(|n| phase(*n).as_deref() == Some("running"))
    });
    kill(agent);
    world.hypervisor.guest_powers_off(vm_id(1));
    world.hypervisor.qemu_dies(vm_id(2));
    let next = world.boot(config());
    let report = next.manager.recover().unwrap();
    let reasons: Vec<_> = report.down.iter().map(|(_, exit)| exit.reason).collect();
    assert_eq!(
        reasons,
        [ExitReason::UserShutdown, ExitReason::GenericError]
    );
    next.wait_down(vm_id(1));
    next.wait_down(vm_id(2));
    assert_eq!(world.volumes.prepared(), 0);
    eventually("kept", || {
        let phase = |n| {
            world
                .hypervisor
                .metadata(vm_id(n))
                .unwrap()
                .text("agentPhase")
        };
        [1, 2].iter().all(|n| phase(*n).as_deref() == Some("down"))
    });
    // It stays so for the one after, who tells it again and takes nothing back twice.
    kill(next);
    let last = world.agent();
    assert_eq!(last.manager.list(&[]).len(), 2);
    assert!(
        last.manager
            .list(&[])
            .iter()
            .all(|vm| vm.status == VmStatus::Down)
    );
    for n in [1, 2] {
        last.manager.destroy(vm_id(n), 1).unwrap();
        assert_eq!(world.volumes.state(&disk(n)).unwrap().teardown_calls, 1);
    }
    assert_eq!(world.hypervisor.domains(), []);
}

#[test]
fn a_failed_launch_is_still_known_to_the_next_agent() {
    let world = World::with_volumes();
    let agent = world.agent();
    agent
        .manager
        .create(CreateRequest {
            xml: xml(1, &[disk(9)]),
            ..request(1)
        })
        .unwrap();
    let exit = agent.wait_down(vm_id(1));
    eventually("kept", || {
        let kept = world.hypervisor.metadata(vm_id(1));
        kept.is_some_and(|kept| kept.text("agentPhase").as_deref() == Some("down"))
    });
    kill(agent);
    let next = world.boot(config());
    assert_eq!(next.manager.recover().unwrap().down, [(vm_id(1), exit)]);
    next.manager.destroy(vm_id(1), 1).unwrap();
    assert_eq!(world.hypervisor.domains(), []);
}

fn foreign(n: u32) -> String {
    let id = vm_id(n);
    format!(
        "<domain type='qemu'><name>theirs{n}</name><uuid>{id}</uuid><memory>1024</memory>\
         <os><type>hvm</type></os><devices/></domain>"
    )
}

#[test]
fn domains_of_others_are_never_touched() {
    let world = World::with_volumes();
    world.hypervisor.start_foreign(&foreign(1)).unwrap();
    world.hypervisor.define_foreign(&foreign(2)).unwrap();
    let before: Vec<_> = [1, 2].map(|n| world.hypervisor.xml(vm_id(n))).to_vec();
    let agent = world.boot(config());
    let report = agent.manager.recover().unwrap();
    assert_eq!(report.external, [vm_id(1), vm_id(2)]);
    assert_eq!(agent.manager.list(&[]), []);
    assert_eq!(
        agent.manager.destroy(vm_id(1), 1),
        Err(VmError::NoSuchVm(vm_id(1)))
    );
    // A VM with the same id does not replace them, whether they run or not.
    for n in [1, 2] {
        let id = agent.create(n);
        let exit = agent.wait_down(id);
        assert!(exit.message.contains("already exists"), "{exit:?}");
        agent.manager.destroy(id, 1).unwrap();
    }
    world.hypervisor.guest_powers_off(vm_id(1));
    let names: Vec<_> = world
        .hypervisor
        .domains()
        .into_iter()
        .map(|d| d.name)
        .collect();
    assert_eq!(names, ["theirs1", "theirs2"]);
    assert_eq!(world.hypervisor.xml(vm_id(2)), before[1]);
    assert_eq!(world.volumes.prepared(), 0);
}

#[test]
fn a_python_agents_vms_are_taken_over() {
    let world = World::with_volumes();
    let theirs = xml(1, &[disk(1)]).replace(
        "<ovirt-vm:custom/>",
        "<ovirt-vm:startTime type='float'>1795329534.19</ovirt-vm:startTime>",
    );
    world.hypervisor.start_foreign(&theirs).unwrap();
    let agent = world.agent();
    assert_eq!(agent.manager.list(&[])[0].status, VmStatus::Up);
    assert_eq!(agent.running(vm_id(1)).elapsed_seconds, 99);
    agent.manager.destroy(vm_id(1), 1).unwrap();
    assert_eq!(world.volumes.state(&disk(1)).unwrap().teardown_calls, 1);
}

#[test]
fn what_a_running_vm_shares_is_not_taken_back() {
    let world = World::with_volumes();
    let agent = world.agent();
    let shared = |n| CreateRequest {
        xml: xml(n, &[disk(n), disk(3)]),
        ..request(n)
    };
    agent.manager.create(shared(2)).unwrap();
    agent.wait_status(vm_id(2), VmStatus::PoweringUp);
    agent.process.fault_on("start", Fault::KillBefore);
    agent.manager.create(shared(1)).unwrap();
    eventually("dead", || !agent.process.is_alive());
    kill(agent);
    let next = world.boot(config());
    let report = next.manager.recover().unwrap();
    assert_eq!(
        (report.undone, report.running),
        (vec![vm_id(1)], vec![vm_id(2)])
    );
    assert!(!world.volumes.state(&disk(1)).unwrap().prepared);
    assert!(world.volumes.state(&disk(3)).unwrap().prepared);
    next.manager.destroy(vm_id(2), 1).unwrap();
    assert_eq!(world.volumes.prepared(), 0);
}

#[test]
fn recovery_that_fails_is_tried_again() {
    let world = World::with_volumes();
    let agent = world.agent();
    agent.up(1);
    kill(agent);
    let next = world.boot(config());
    next.process
        .fault_on("list", Fault::Fail("not yet".to_owned()));
    assert!(next.manager.recover().is_err());
    assert!(next.manager.is_recovering());
    assert_eq!(next.manager.pause(vm_id(1)), Err(VmError::Recovering));
    next.manager.recover().unwrap();
    assert_eq!(next.manager.list(&[]).len(), 1);
}

#[test]
fn one_domain_that_cannot_be_read_does_not_hold_the_others() {
    let world = World::with_volumes();
    let agent = world.agent();
    agent.up(1);
    agent.up(2);
    kill(agent);
    let next = world.boot(config());
    next.process
        .fault_on("xml", Fault::Hang(Duration::from_millis(10)));
    let report = next.manager.recover().unwrap();
    assert_eq!(report.running, [vm_id(2)]);
    eventually("found later", || next.manager.list(&[]).len() == 2);
}

#[test]
fn volumes_that_cannot_be_taken_back_yet_keep_their_trace() {
    let world = World::with_volumes();
    let agent = world.agent();
    agent.process.fault_on("start", Fault::KillBefore);
    agent.create(1);
    eventually("dead", || !agent.process.is_alive());
    kill(agent);
    assert!(world.volumes.state(&disk(1)).unwrap().prepared);
    let next = world.boot(config());
    next.process.fault_on(
        "teardown",
        Fault::Fail("the pool is not connected".to_owned()),
    );
    let report = next.manager.recover().unwrap();
    assert!(report.undone.is_empty());
    assert_eq!(next.manager.list(&[]), []);
    eventually("taken back later", || {
        world.hypervisor.domains().is_empty() && world.volumes.prepared() == 0
    });
}

#[test]
fn after_a_lost_connection_everything_is_looked_at() {
    let world = World::with_volumes();
    let agent = world.agent();
    let ids = [agent.up(1), agent.up(2), agent.up(3)];
    world.hypervisor.set_losing_events(true);
    world.hypervisor.guest_powers_off(ids[0]);
    world.hypervisor.vanish(ids[1]);
    world.hypervisor.set_losing_events(false);
    world.hypervisor.emit(&HypervisorEvent::Reconnected);
    assert_eq!(agent.wait_down(ids[0]).reason, ExitReason::UserShutdown);
    assert_eq!(
        agent.wait_down(ids[1]).reason,
        ExitReason::LibvirtDomainMissing
    );
    assert_eq!(agent.manager.info(ids[2]).unwrap().status, VmStatus::Up);
}
