//! A VM's life through the manager's door, over fakes. Launches that are refused or fail are in `launch.rs`, how guests end
//! and begin anew in `power.rs`.

mod common;

use std::time::Duration;

use common::{World, config, disk, eventually, request, shutdown, vm_id, xml};
use sim::{process::Fault, volumes::VolumeStore};
use vm::{CreateRequest, VmError};
use vm_model::{
    domain::DomainXml,
    events::StatusDetail,
    exit::{ExitCode, ExitReason},
    ports::{DomainRunState, HypervisorEvent, LifecycleEvent},
    status::{PauseCode, VmStatus},
};

#[test]
fn create_answers_at_once_and_tells_of_the_start() {
    let world = World::with_volumes();
    let agent = world.agent();
    let answer = agent.manager.create(request(1)).unwrap();
    assert_eq!(answer.info.vm_id, vm_id(1));
    assert_eq!(answer.info.status, VmStatus::WaitForLaunch);
    assert!(answer.info.status_time_ms >= 2_147_483_647 + 1_000_000);
    assert_eq!(answer.xml, request(1).xml);
    let event = agent.wait(vm_id(1), |_| true);
    assert_eq!(event.status, VmStatus::PoweringUp);
    let StatusDetail::Running(running) = event.detail else {
        panic!("{:?}", event.detail)
    };
    assert_eq!(running.elapsed_seconds, 0);
    assert_eq!(running.monitor_response, 0);
    assert_eq!(running.pause_code, Some(PauseCode::NoErr));
    assert_eq!(running.cpu.user, "0.00");
    let display = &running.display_info[0];
    assert_eq!(
        (display.kind.as_str(), display.port.as_str()),
        ("vnc", "5900")
    );
    assert_eq!(
        (display.tls_port.as_str(), display.ip_address.as_str()),
        ("", "127.0.0.1")
    );
    assert!(running.hash.unwrap().parse::<u64>().is_ok());
    assert_eq!(agent.manager.info(vm_id(1)).unwrap().status, VmStatus::Up);
    assert_eq!(agent.manager.counts().active, 1);
}

#[test]
fn what_is_started_is_what_was_asked_for_on_this_host() {
    let world = World::with_volumes();
    let agent = world.agent();
    let id = agent.up(1);
    eventually("kept", || {
        let metadata = world.hypervisor.metadata(id).unwrap();
        metadata.text("agentPhase").as_deref() == Some("running")
    });
    let live = DomainXml::parse(&world.hypervisor.xml(id).unwrap()).unwrap();
    assert_eq!(live.vm_type(), "qemu");
    let drive = &live.drives().unwrap()[0];
    assert_eq!(drive.pdiv(), Some(disk(1)));
    assert_eq!(drive.path.as_deref(), VolumeStore::path(&disk(1)).to_str());
    let metadata = world.hypervisor.metadata(id).unwrap();
    assert_eq!(metadata.text("clusterVersion").as_deref(), Some("4.7"));
    assert_eq!(metadata.int("memGuaranteedSize"), Some(16));
    let device = metadata
        .device(&[("devtype", "disk"), ("name", "vda")])
        .unwrap();
    assert_eq!(device.chain_volumes(), [disk(1).volume.to_string()]);
    assert_eq!(world.volumes.state(&disk(1)).unwrap().prepares, 1);
    assert_eq!(
        agent.manager.dump_xmls(&[id]).unwrap()[0].1,
        live.to_string()
    );
}

#[test]
fn destroy_takes_everything_back_once() {
    let world = World::with_volumes();
    let agent = world.agent();
    let id = agent.up(1);
    agent.manager.destroy(id, 1).unwrap();
    let exit = agent.wait_down(id);
    assert_eq!(
        (exit.code, exit.reason),
        (ExitCode::Normal, ExitReason::AdminShutdown)
    );
    assert_eq!(agent.manager.list(&[]), []);
    assert_eq!(world.hypervisor.domains(), []);
    let volume = world.volumes.state(&disk(1)).unwrap();
    assert_eq!(
        (volume.prepares, volume.teardown_calls, volume.prepared),
        (1, 1, false)
    );
    assert_eq!(agent.manager.destroy(id, 1), Err(VmError::NoSuchVm(id)));
    assert_eq!(agent.manager.stats(id), Err(VmError::NoSuchVm(id)));
    let downs = agent
        .statuses(id)
        .iter()
        .filter(|s| **s == VmStatus::Down)
        .count();
    assert_eq!(downs, 1);
    // And it can come again.
    agent.up(1);
}

#[test]
fn passwords_of_displays_are_not_told() {
    let world = World::with_volumes();
    let agent = world.agent();
    let secret = request(1).xml.replace("*****", "s3cr3t");
    let request = CreateRequest {
        xml: secret,
        ..request(1)
    };
    assert!(!format!("{request:?}").contains("s3cr3t"));
    agent
        .process
        .fault_on("define", Fault::Fail("no".to_owned()));
    agent.manager.create(request).unwrap();
    agent.wait_down(vm_id(1));
    let xml = agent.manager.dump_xmls(&[]).unwrap().remove(0).1;
    assert!(
        xml.contains("<graphics") && !xml.contains("s3cr3t"),
        "{xml}"
    );
}

#[test]
fn two_destroys_at_once_are_one() {
    let world = World::with_volumes();
    let agent = world.agent();
    let id = agent.up(1);
    let answers = std::thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| agent.manager.destroy(id, 1)));
        both.map(|thread| thread.join().unwrap())
    });
    assert_eq!(
        answers.iter().filter(|answer| answer.is_ok()).count(),
        1,
        "{answers:?}"
    );
    assert!(answers.contains(&Err(VmError::NoSuchVm(id))));
    assert_eq!(world.volumes.state(&disk(1)).unwrap().teardown_calls, 1);
}

#[test]
fn pause_and_cont_are_told_once_each() {
    let world = World::with_volumes();
    let agent = world.agent();
    let id = agent.up(1);
    agent.manager.pause(id).unwrap();
    assert_eq!(agent.manager.info(id).unwrap().status, VmStatus::Paused);
    agent.manager.pause(id).unwrap();
    agent.manager.cont(id).unwrap();
    agent.manager.cont(id).unwrap();
    eventually("five events", || agent.statuses(id).len() >= 5);
    let (up, paused) = (VmStatus::PoweringUp, VmStatus::Paused);
    assert_eq!(agent.statuses(id), [up, paused, paused, up, up]);
    assert_eq!(agent.running(id).pause_code, Some(PauseCode::NoErr));
}

#[test]
fn launched_paused_it_stays_paused_until_cont() {
    let world = World::with_volumes();
    let agent = world.agent();
    agent
        .manager
        .create(CreateRequest {
            launch_paused: true,
            ..request(1)
        })
        .unwrap();
    agent.wait_status(vm_id(1), VmStatus::Paused);
    agent.manager.cont(vm_id(1)).unwrap();
    let state = world.hypervisor.domain(vm_id(1)).unwrap().state.state;
    assert_eq!(state, DomainRunState::Running);
    // The metadata may ask for it as well.
    let xml = xml(2, &[disk(2)]).replace("launchPaused>false", "launchPaused>true");
    agent
        .manager
        .create(CreateRequest { xml, ..request(2) })
        .unwrap();
    agent.wait_status(vm_id(2), VmStatus::Paused);
}

#[test]
fn verbs_on_a_vm_that_is_down() {
    let world = World::with_volumes();
    let agent = world.agent();
    let id = agent.up(1);
    world.hypervisor.guest_powers_off(id);
    agent.wait_down(id);
    assert_eq!(agent.manager.pause(id), Err(VmError::VmIsDown(id)));
    assert_eq!(agent.manager.screenshot(id), Err(VmError::VmIsDown(id)));
    assert_eq!(agent.manager.reset(id), Err(VmError::NoSuchVm(id)));
    assert_eq!(
        agent.manager.shutdown(id, shutdown(true, false, 1)),
        Err(VmError::NoSuchVm(id))
    );
    let wrong = VmError::WrongState {
        verb: "cont",
        status: VmStatus::Down,
    };
    assert_eq!(agent.manager.cont(id), Err(wrong));
    assert!(agent.manager.dump_xmls(&[id]).is_ok());
    agent.manager.destroy(id, 1).unwrap();
}

#[test]
fn verbs_on_a_vm_that_waits_for_its_launch() {
    let world = World::with_volumes();
    let agent = world.agent();
    agent
        .process
        .fault_on("prepare", Fault::Slow(Duration::from_millis(300)));
    let id = agent.create(1);
    let wrong = |verb| {
        Err(VmError::WrongState {
            verb,
            status: VmStatus::WaitForLaunch,
        })
    };
    assert_eq!(agent.manager.pause(id), wrong("pause"));
    assert_eq!(agent.manager.cont(id), wrong("cont"));
    assert_eq!(
        agent.manager.shutdown(id, shutdown(false, false, 1)),
        wrong("shutdown")
    );
    assert!(matches!(
        agent.manager.reset(id),
        Err(VmError::ResetFailed { .. })
    ));
    assert_eq!(agent.manager.screenshot(id), Err(VmError::VmIsDown(id)));
    assert_eq!(
        agent.manager.stats(id).unwrap().status,
        VmStatus::WaitForLaunch
    );
    assert_eq!(agent.running(id).hash, None);
    agent.wait_status(id, VmStatus::PoweringUp);
}

#[test]
fn verbs_on_a_vm_that_does_not_exist() {
    let world = World::new();
    let agent = world.agent();
    let id = vm_id(7);
    let none = Err(VmError::NoSuchVm(id));
    assert_eq!(agent.manager.pause(id), none);
    assert_eq!(agent.manager.cont(id), none);
    assert_eq!(agent.manager.reset(id), none);
    assert_eq!(agent.manager.shutdown(id, shutdown(false, false, 1)), none);
    assert_eq!(agent.manager.destroy(id, 1), none);
    assert_eq!(agent.manager.info(id), Err(VmError::NoSuchVm(id)));
    assert_eq!(agent.manager.dump_xmls(&[id]), Err(VmError::NoSuchVm(id)));
    assert_eq!(agent.manager.list(&[id]), []);
}

#[test]
fn the_guest_says_no_more_than_a_minute_that_it_powers_up() {
    let world = World::with_volumes();
    let agent = world.agent();
    let id = agent.up(1);
    assert_eq!(
        agent.manager.stats(id).unwrap().status,
        VmStatus::PoweringUp
    );
    world.clock.pass(Duration::from_secs(61));
    assert_eq!(agent.manager.stats(id).unwrap().status, VmStatus::Up);
    agent.wait_status(id, VmStatus::Up);
    assert_eq!(agent.running(id).elapsed_seconds, 61);
}

#[test]
fn jumps_of_the_wall_clock_do_not_count() {
    let world = World::with_volumes();
    let agent = world.agent();
    let id = agent.up(1);
    world.clock.pass(Duration::from_secs(10));
    world.clock.set_wall(-3_600);
    assert_eq!(agent.running(id).elapsed_seconds, 10);
    world.clock.set_wall(7_200);
    assert_eq!(agent.running(id).elapsed_seconds, 10);
}

#[test]
fn ends_from_outside_are_told_with_their_reason() {
    let world = World::with_volumes();
    let agent = world.agent();
    for n in 1..=3 {
        agent.up(n);
    }
    world.hypervisor.guest_powers_off(vm_id(1));
    world.hypervisor.qemu_dies(vm_id(2));
    world.hypervisor.set_losing_events(true);
    world.hypervisor.vanish(vm_id(3));
    let reasons = [1, 2, 3].map(|n| agent.wait_down(vm_id(n)).reason);
    assert_eq!(
        reasons,
        [
            ExitReason::UserShutdown,
            ExitReason::LostQemuConnection,
            ExitReason::LibvirtDomainMissing
        ]
    );
    assert_eq!(world.volumes.prepared(), 0);
}

#[test]
fn lost_events_are_made_up_for_by_samples() {
    let world = World::with_volumes();
    let agent = world.agent();
    let id = agent.up(1);
    world.hypervisor.set_losing_events(true);
    world.hypervisor.guest_powers_off(id);
    assert_eq!(agent.wait_down(id).reason, ExitReason::UserShutdown);
}

#[test]
fn statistics_come_from_two_samples_and_without_a_call() {
    let world = World::with_volumes();
    let agent = world.agent();
    let id = agent.up(1);
    eventually("two samples", || agent.running(id).cpu.actual);
    let running = agent.running(id);
    let disk_stats = &running.disks[0];
    assert_eq!(disk_stats.name, "vda");
    assert_eq!(disk_stats.image_id, Some(disk(1).image));
    assert_eq!(disk_stats.read_latency, "100.0");
    assert_eq!(disk_stats.write_latency, "200.0");
    assert_eq!(disk_stats.flush_latency, "500.0");
    assert!(disk_stats.write_rate.parse::<f64>().unwrap() > 0.0);
    let balloon = running.balloon.unwrap();
    assert_eq!(
        (balloon.max, balloon.min, balloon.cur),
        (32_768, 16_384, 32_768)
    );
    assert_eq!(running.vcpu_count, Some(1));
    // A hundred answers cost no call. The sampler's and those of who looks after sizes go on meanwhile, far fewer.
    let calls = |of: fn(&str) -> bool| agent.process.names().iter().filter(|it| of(it)).count();
    let sizes: fn(&str) -> bool = |name| name == "size";
    let others: fn(&str) -> bool = |name| name != "size" && name != "all_stats";
    let before = (calls(others), calls(sizes));
    for _ in 0..100 {
        assert_eq!(agent.manager.all_stats().len(), 1);
    }
    assert_eq!(calls(others), before.0);
    let sizes = calls(sizes) - before.1;
    assert!(sizes < 50, "sizes were asked for {sizes} times");
}

#[test]
fn a_domain_that_hangs_delays_nobody_else() {
    let world = World::with_volumes();
    let agent = world.agent();
    let (hung, well) = (agent.up(1), agent.up(2));
    world.hypervisor.set_hanging(hung, true);
    std::thread::scope(|scope| {
        let stuck = scope.spawn(|| agent.manager.pause(hung));
        let began = std::time::Instant::now();
        for _ in 0..5 {
            agent.manager.pause(well).unwrap();
            agent.manager.cont(well).unwrap();
            agent.manager.all_stats();
            agent.manager.list(&[]);
        }
        assert!(
            // One after another behind the hung one they would take many times its deadline.
            began.elapsed() < Duration::from_secs(3),
            "{:?}",
            began.elapsed()
        );
        let answer = stuck.join().unwrap();
        assert_eq!(
            answer,
            Err(VmError::TimedOut {
                vm_id: hung,
                verb: "pause"
            })
        );
    });
    assert_eq!(agent.running(hung).monitor_response, -1);
    assert_eq!(agent.running(well).monitor_response, 0);
    // QEMU that does not answer is ended all the same.
    agent.manager.destroy(hung, 1).unwrap();
    assert_eq!(world.hypervisor.domains().len(), 1);
    assert_eq!(agent.manager.list(&[]).len(), 1);
}

#[test]
fn silence_is_told_after_its_time_and_ends_with_a_sample() {
    let world = World::with_volumes();
    let agent = world.agent();
    let id = agent.up(1);
    world.hypervisor.set_hanging(id, true);
    world.clock.pass(Duration::from_secs(61));
    // Its state is still known to libvirt, so that alone does not make it silent.
    world.hypervisor.set_hanging(id, false);
    eventually("it answers", || agent.running(id).monitor_response == 0);
}

#[test]
fn a_failing_destroy_leaves_the_vm_as_it_was() {
    let world = World::with_volumes();
    let agent = world.agent();
    let id = agent.up(1);
    agent
        .process
        .fault_on("destroy", Fault::Fail("no".to_owned()));
    assert!(matches!(
        agent.manager.destroy(id, 1),
        Err(VmError::DestroyFailed { .. })
    ));
    assert_eq!(agent.manager.info(id).unwrap().status, VmStatus::Up);
    assert!(world.volumes.state(&disk(1)).unwrap().prepared);
    // A definition that stays would come back: no success either.
    agent
        .process
        .fault_on("undefine", Fault::Fail("no".to_owned()));
    assert!(matches!(
        agent.manager.destroy(id, 1),
        Err(VmError::DestroyFailed { .. })
    ));
    assert_eq!(agent.manager.info(id).unwrap().status, VmStatus::Down);
    agent.manager.destroy(id, 1).unwrap();
    assert_eq!(world.hypervisor.domains(), []);
    assert_eq!(world.volumes.state(&disk(1)).unwrap().teardown_calls, 1);
}

#[test]
fn a_shared_volume_is_taken_back_by_the_last() {
    let world = World::with_volumes();
    let agent = world.agent();
    for n in [1, 2] {
        let xml = xml(n, &[disk(n), disk(3)]);
        agent
            .manager
            .create(CreateRequest { xml, ..request(n) })
            .unwrap();
        agent.wait_status(vm_id(n), VmStatus::PoweringUp);
    }
    agent.manager.destroy(vm_id(1), 1).unwrap();
    assert!(world.volumes.state(&disk(3)).unwrap().prepared);
    agent.manager.destroy(vm_id(2), 1).unwrap();
    let shared = world.volumes.state(&disk(3)).unwrap();
    assert_eq!((shared.prepared, shared.teardown_calls), (false, 1));
}

#[test]
fn a_storm_of_events_changes_nothing_but_what_they_say() {
    let world = World::with_volumes();
    let agent = world.agent();
    let (id, stranger) = (agent.up(1), vm_id(99));
    for round in 0..2_000 {
        for target in [id, stranger] {
            let event = match round % 5 {
                0 => HypervisorEvent::RtcChange {
                    id: target,
                    offset: round,
                },
                1 => HypervisorEvent::Graphics {
                    id: target,
                    phase: 1,
                    remote: format!("10.0.0.{}", round % 250),
                },
                2 => HypervisorEvent::Watchdog {
                    id: target,
                    action: 99,
                },
                3 => HypervisorEvent::Lifecycle {
                    id: target,
                    event: LifecycleEvent::Defined,
                    detail: -1,
                },
                _ => HypervisorEvent::Reconnected,
            };
            world.hypervisor.emit(&event);
        }
    }
    world.hypervisor.guest_powers_off(id);
    for _ in 0..100 {
        world.hypervisor.emit(&HypervisorEvent::Lifecycle {
            id,
            event: LifecycleEvent::Stopped,
            detail: 0,
        });
    }
    assert_eq!(agent.wait_down(id).reason, ExitReason::UserShutdown);
    std::thread::sleep(Duration::from_millis(50));
    let downs = agent
        .statuses(id)
        .iter()
        .filter(|s| **s == VmStatus::Down)
        .count();
    assert_eq!(downs, 1);
    assert_eq!(world.volumes.state(&disk(1)).unwrap().teardown_calls, 1);
}

#[test]
fn consoles_and_clocks_are_told() {
    let world = World::with_volumes();
    let agent = world.agent();
    let id = agent.up(1);
    let graphics = |phase| HypervisorEvent::Graphics {
        id,
        phase,
        remote: "10.1.2.3".to_owned(),
    };
    world.hypervisor.emit(&graphics(1));
    eventually("connected", || agent.running(id).client_ip == "10.1.2.3");
    world.hypervisor.emit(&graphics(2));
    eventually("gone", || agent.running(id).client_ip.is_empty());
    world
        .hypervisor
        .emit(&HypervisorEvent::RtcChange { id, offset: -42 });
    eventually("offset", || agent.running(id).time_offset == -42);
    world
        .hypervisor
        .emit(&HypervisorEvent::Watchdog { id, action: 2 });
    eventually("watchdog", || {
        agent
            .running(id)
            .watchdog
            .is_some_and(|w| w.action == "reset")
    });
}

#[test]
fn every_change_of_status_that_is_told_is_legal() {
    let world = World::with_volumes();
    let agent = world.agent();
    let id = agent.up(1);
    agent.manager.pause(id).unwrap();
    agent.manager.cont(id).unwrap();
    agent.manager.reset(id).unwrap();
    agent.wait_status(id, VmStatus::RebootInProgress);
    agent
        .manager
        .shutdown(id, shutdown(true, false, 50))
        .unwrap();
    agent.wait_down(id);
    let statuses = agent.statuses(id);
    for pair in statuses.windows(2) {
        assert!(pair[0].may_become(pair[1]), "{statuses:?}");
    }
}

#[test]
fn the_end_of_the_manager_leaves_the_domains_alone() {
    let world = World::with_volumes();
    let agent = world.agent();
    agent.up(1);
    let domains = world.hypervisor.domains();
    let began = std::time::Instant::now();
    drop(agent);
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(
        world.hypervisor.domains(),
        domains,
        "the domains are left alone"
    );
}

#[test]
fn before_recovery_every_verb_waits() {
    let world = World::with_volumes();
    let agent = world.boot(config());
    assert!(agent.manager.is_recovering());
    assert_eq!(
        agent.manager.create(request(1)).map(|_| ()),
        Err(VmError::Recovering)
    );
    assert_eq!(agent.manager.pause(vm_id(1)), Err(VmError::Recovering));
    assert_eq!(agent.manager.destroy(vm_id(1), 1), Err(VmError::Recovering));
    agent.manager.recover().unwrap();
    assert!(!agent.manager.is_recovering());
    agent.up(1);
}
