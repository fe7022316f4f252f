//! The layer against a private libvirtd with real QEMU: what only real domains do, and what happens when a domain or
//! the daemon hangs or dies.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests"
)]

#[path = "common/mod.rs"]
mod common;

use std::{
    sync::mpsc::Receiver,
    thread::sleep,
    time::{Duration, Instant},
};

use common::Daemon;
use libvirt::{Deadlines, DomainCapabilitiesQuery, Libvirt, LibvirtConfig};
use rustix::process::{Signal, kill_process};
use uuid::Uuid;
use vm_model::ports::{
    DomainRunState, DomainStats, GuestRequest, Hypervisor, HypervisorError, HypervisorEvent,
    HypervisorResult, LifecycleEvent, VmId, XmlKind,
};

const URI: &str = "http://example.org/vm/1.0";

fn started(daemon: &Daemon, libvirt: &Libvirt, name: &str) -> VmId {
    let id = libvirt.define(&daemon.xml(Uuid::new_v4(), name)).unwrap();
    libvirt.start(id, false).unwrap();
    id
}

fn run_state(libvirt: &Libvirt, id: VmId) -> DomainRunState {
    libvirt.state(id).unwrap().state
}

/// The answer and how long it took.
fn timed<T>(act: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let answer = act();
    (answer, began.elapsed())
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_mins(1);
    while !condition() {
        assert!(Instant::now() < end, "{what}: never");
        sleep(Duration::from_millis(20));
    }
}

fn is_timeout<T>(answer: &HypervisorResult<T>) -> bool {
    matches!(answer, Err(HypervisorError::TimedOut { .. }))
}

fn until_lifecycle(
    events: &Receiver<HypervisorEvent>,
    vm: VmId,
    last: LifecycleEvent,
) -> Vec<LifecycleEvent> {
    let end = Instant::now() + Duration::from_secs(20);
    let mut seen = Vec::new();
    while seen.last() != Some(&last) {
        match events.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(HypervisorEvent::Lifecycle { id, event, .. }) if id == vm => seen.push(event),
            Ok(_) => {}
            Err(error) => panic!("{error} after {seen:?}"),
        }
    }
    seen
}

#[test]
fn session_a_domain_lives() {
    let Some(daemon) = Daemon::start() else {
        return;
    };
    let libvirt = Libvirt::connect(daemon.config()).unwrap();
    let events = libvirt.events();
    let id = Uuid::new_v4();
    assert_eq!(libvirt.define(&daemon.xml(id, "a")), Ok(id));
    libvirt.start(id, true).unwrap();
    assert_eq!(run_state(&libvirt, id), DomainRunState::Paused);
    libvirt.resume(id).unwrap();
    libvirt.suspend(id).unwrap();
    libvirt.resume(id).unwrap();
    libvirt.reset(id).unwrap();
    libvirt.shutdown(id, GuestRequest::Acpi).unwrap();
    assert_eq!(
        run_state(&libvirt, id),
        DomainRunState::Running,
        "firmware hears no power button"
    );
    check_errors(&daemon, &libvirt, id);
    check_metadata(&libvirt, id);
    check_stats(&libvirt, id);
    check_screenshot(&libvirt, id);
    libvirt.destroy(id, true).unwrap();
    assert_eq!(run_state(&libvirt, id), DomainRunState::Shutoff);
    libvirt.undefine(id).unwrap();
    assert_eq!(libvirt.list(), Ok(Vec::new()));
    let seen = until_lifecycle(&events, id, LifecycleEvent::Undefined);
    let expected = [
        LifecycleEvent::Defined,
        LifecycleEvent::Started,
        LifecycleEvent::Suspended,
        LifecycleEvent::Resumed,
        LifecycleEvent::Suspended,
        LifecycleEvent::Resumed,
        LifecycleEvent::Stopped,
        LifecycleEvent::Undefined,
    ];
    assert_eq!(without_shutdown(seen), expected);
    check_host(&libvirt);
}

/// An end by SIGTERM is told as a shutdown first, but not by every version of libvirt.
fn without_shutdown(mut seen: Vec<LifecycleEvent>) -> Vec<LifecycleEvent> {
    seen.retain(|event| *event != LifecycleEvent::Shutdown);
    seen
}

fn check_errors(daemon: &Daemon, libvirt: &Libvirt, running: VmId) {
    let again = libvirt.start(running, false);
    assert!(
        matches!(again, Err(HypervisorError::InvalidState(_))),
        "{again:?}"
    );
    let agent = libvirt.shutdown(running, GuestRequest::Agent);
    assert!(
        matches!(agent, Err(HypervisorError::AgentUnresponsive(_))),
        "{agent:?}"
    );
    let agent = libvirt.reboot(running, GuestRequest::Agent);
    assert!(
        matches!(agent, Err(HypervisorError::AgentUnresponsive(_))),
        "{agent:?}"
    );
    let twice = libvirt.define(&daemon.xml(Uuid::new_v4(), "a"));
    assert!(
        matches!(twice, Err(HypervisorError::Exists(_))),
        "{twice:?}"
    );
    let good = daemon.xml(Uuid::new_v4(), "bad");
    for (what, bad) in [
        ("cut", good[..good.len() / 2].to_owned()),
        (
            "no such machine",
            good.replace("machine='pc'", "machine='abacus'"),
        ),
        ("no such bus", good.replace("bus='virtio'", "bus='coach'")),
        (
            "no memory",
            good.replace("<memory unit='MiB'>32</memory>", ""),
        ),
        (
            "no such hypervisor",
            good.replace("type='qemu'>", "type='bhyve'>"),
        ),
    ] {
        let refused = libvirt.define(&bad);
        assert!(
            matches!(refused, Err(HypervisorError::BadXml(_))),
            "{what}: {refused:?}"
        );
    }
    let gone = Uuid::new_v4();
    assert_eq!(
        libvirt.screenshot(gone),
        Err(HypervisorError::NoDomain(gone))
    );
    assert_eq!(
        libvirt.destroy(gone, false),
        Err(HypervisorError::NoDomain(gone))
    );
}

fn check_metadata(libvirt: &Libvirt, id: VmId) {
    assert!(
        libvirt
            .metadata(id, URI)
            .unwrap()
            .unwrap()
            .contains("kept>yes</"),
        "what the XML brought is kept"
    );
    libvirt
        .set_metadata(id, "o", URI, Some("<vm><new>1</new></vm>"))
        .unwrap();
    for kind in [XmlKind::Live, XmlKind::Inactive] {
        let xml = libvirt.xml(id, kind).unwrap();
        assert!(xml.contains("new>1</") && !xml.contains("kept"), "{xml}");
    }
    assert_eq!(libvirt.metadata(id, "http://example.org/other"), Ok(None));
}

fn check_stats(libvirt: &Libvirt, id: VmId) {
    let stats = all_sampled(libvirt, 1);
    let sample = &stats[0];
    assert_eq!(
        (sample.id, sample.state.unwrap().state),
        (id, DomainRunState::Running)
    );
    assert!(sample.cpu_time_ns.unwrap() > 0);
    assert_eq!(
        (sample.vcpu_current, sample.vcpu_maximum),
        (Some(1), Some(1))
    );
    assert!(sample.vcpus[0].time_ns.unwrap() > 0, "{sample:?}");
    assert_eq!(
        (sample.balloon.current, sample.balloon.maximum),
        (Some(32 << 10), Some(32 << 10))
    );
    assert!(sample.balloon.rss.unwrap() > 1 << 10);
    let block = &sample.blocks[0];
    assert_eq!(
        (block.name.as_str(), block.capacity),
        ("vda", Some(1 << 20)),
        "{block:?}"
    );
    assert!(block.path.as_ref().unwrap().ends_with("disks/a"));
    assert!(
        block.rd_reqs.is_some() && block.wr_bytes.is_some() && block.fl_times.is_some(),
        "{block:?}"
    );
}

fn check_screenshot(libvirt: &Libvirt, id: VmId) {
    let picture = libvirt.screenshot(id).unwrap();
    let head: &[u8] = match picture.mime.as_str() {
        "image/x-portable-pixmap" => b"P6\n",
        "image/png" => b"\x89PNG",
        other => panic!("a picture of type {other}"),
    };
    assert!(
        picture.data.starts_with(head) && picture.data.len() > 1_000,
        "{} bytes",
        picture.data.len()
    );
}

fn check_host(libvirt: &Libvirt) {
    let versions = libvirt.versions().unwrap();
    assert!(
        versions.hypervisor.major() >= 4 && versions.daemon.major() >= 6,
        "{versions:?}"
    );
    assert!(libvirt.capabilities_xml().unwrap().contains("<guest>"));
    let query = DomainCapabilitiesQuery {
        arch: Some("x86_64".into()),
        machine: Some("q35".into()),
        virt_type: Some("qemu".into()),
        ..DomainCapabilitiesQuery::default()
    };
    assert!(
        libvirt
            .domain_capabilities_xml(&query)
            .unwrap()
            .contains("<domainCapabilities>")
    );
    let unknown = DomainCapabilitiesQuery {
        arch: Some("abacus".into()),
        ..query
    };
    assert!(matches!(
        libvirt.domain_capabilities_xml(&unknown),
        Err(HypervisorError::Other { .. })
    ));
    assert!(
        libvirt
            .cpu_model_names("x86_64")
            .unwrap()
            .iter()
            .any(|model| model == "Nehalem")
    );
    assert!(libvirt.free_memory().unwrap() > 0 && libvirt.node_info().unwrap().cpus > 0);
}

/// Deadline of calls that shall hang.
const HANGS: Duration = Duration::from_secs(8);

/// What answers within it did not wait for a deadline.
const FAST: Duration = Duration::from_secs(7);

/// Deadlines short enough for a test in which domains hang.
fn impatient(daemon: &Daemon) -> LibvirtConfig {
    LibvirtConfig {
        deadlines: Deadlines {
            query: Duration::from_secs(10),
            command: HANGS,
            screenshot: HANGS,
            destroy: HANGS,
            stats: 5 * HANGS,
            stats_attempt: HANGS,
            ..Deadlines::default()
        },
        ..daemon.config()
    }
}

#[test]
fn session_a_hung_domain_blocks_only_itself() {
    let Some(daemon) = Daemon::start() else {
        return;
    };
    let libvirt = Libvirt::connect(impatient(&daemon)).unwrap();
    let (hung, well) = (
        started(&daemon, &libvirt, "hung"),
        started(&daemon, &libvirt, "well"),
    );
    all_sampled(&libvirt, 2);
    let qemu = daemon.qemu("hung");
    kill_process(qemu, Signal::STOP).unwrap();

    let (answer, took) = timed(|| libvirt.suspend(hung));
    assert!(
        is_timeout(&answer) && took >= HANGS,
        "{answer:?} in {took:?}"
    );
    let (answer, took) = timed(|| libvirt.resume(hung));
    assert!(
        is_timeout(&answer) && took < FAST,
        "further commands are refused at once: {answer:?} in {took:?}"
    );
    let (answer, took) = timed(|| libvirt.screenshot(hung));
    assert!(is_timeout(&answer) && took < FAST, "{answer:?} in {took:?}");

    let (state, took) = timed(|| libvirt.state(hung));
    assert!(
        state.is_ok() && took < FAST,
        "what libvirt knows by itself is told: {state:?} in {took:?}"
    );
    assert!(libvirt.xml(hung, XmlKind::Live).is_ok() && libvirt.metadata(hung, URI).is_ok());
    for _ in 0..3 {
        let (answer, took) = timed(|| libvirt.suspend(well).and_then(|()| libvirt.resume(well)));
        assert!(
            answer.is_ok() && took < FAST,
            "another domain: {answer:?} in {took:?}"
        );
        let (stats, took) = timed(|| libvirt.all_stats().unwrap());
        assert!(took < FAST, "statistics in {took:?}");
        assert_eq!(
            stats.iter().map(|sample| sample.id).collect::<Vec<_>>(),
            [well]
        );
        assert!(stats[0].blocks[0].rd_reqs.is_some() && stats[0].balloon.rss.is_some());
    }
    assert!(libvirt.screenshot(well).is_ok());

    // SIGTERM does not end a stopped QEMU; force does, even while the gentle attempt goes on.
    let ended = libvirt.destroy(hung, true);
    assert!(is_timeout(&ended), "{ended:?}");
    let forced = libvirt.destroy(hung, false);
    if let Err(HypervisorError::TimedOut { what, .. }) = &forced {
        assert!(!what.contains("not asked"), "{what}");
    }
    // libvirt keeps the domain locked while it waits for QEMU's end, so questions about it may wait too.
    eventually("it ends", || {
        libvirt
            .state(hung)
            .is_ok_and(|now| now.state == DomainRunState::Shutoff)
    });
    eventually("the hung call returns", || {
        matches!(libvirt.suspend(hung), Err(HypervisorError::InvalidState(_)))
    });
}

#[test]
fn session_statistics_pass_by_domains_that_hang_and_take_them_back() {
    let Some(daemon) = Daemon::start() else {
        return;
    };
    let libvirt = Libvirt::connect(impatient(&daemon)).unwrap();
    let names: Vec<String> = (0..6).map(|number| format!("vm{number}")).collect();
    let ids: Vec<VmId> = names
        .iter()
        .map(|name| started(&daemon, &libvirt, name))
        .collect();
    all_sampled(&libvirt, 6);

    // One that hangs catches the first attempt, and is left out from then on.
    kill_process(daemon.qemu(&names[0]), Signal::STOP).unwrap();
    let (stats, took) = timed(|| libvirt.all_stats().unwrap());
    assert!(took >= HANGS && took < 2 * HANGS, "{took:?}");
    assert_eq!(stats.len(), 5);
    let (stats, took) = timed(|| libvirt.all_stats().unwrap());
    assert!(
        stats.len() == 5 && took < FAST,
        "{} in {took:?}",
        stats.len()
    );

    // Three more of them, and time for one attempt only: at least the states are told.
    for name in &names[1..4] {
        kill_process(daemon.qemu(name), Signal::STOP).unwrap();
    }
    let hurried = impatient(&daemon);
    let hurried = LibvirtConfig {
        deadlines: Deadlines {
            stats: HANGS,
            ..hurried.deadlines
        },
        ..hurried
    };
    let hurried = Libvirt::connect(hurried).unwrap();
    let (stats, took) = timed(|| hurried.all_stats().unwrap());
    assert!(took >= HANGS && took < 2 * HANGS, "{took:?}");
    let sample = stats.iter().find(|sample| sample.id == ids[5]).unwrap();
    assert_eq!(
        (sample.state.unwrap().state, sample.cpu_time_ns),
        (DomainRunState::Running, None)
    );

    // With more time each attempt leaves one more of them behind, until the others are sampled in full.
    let (stats, took) = timed(|| libvirt.all_stats().unwrap());
    assert!(took < 4 * HANGS, "{took:?}");
    let sampled: Vec<VmId> = stats
        .iter()
        .filter(|sample| sample.cpu_time_ns.is_some())
        .map(|sample| sample.id)
        .collect();
    assert!(
        sampled.len() == 2 && sampled.contains(&ids[4]) && sampled.contains(&ids[5]),
        "{stats:?}"
    );
    let (answer, took) = timed(|| {
        libvirt
            .suspend(ids[5])
            .and_then(|()| libvirt.resume(ids[5]))
    });
    assert!(answer.is_ok() && took < FAST, "{answer:?} in {took:?}");
    assert_eq!(libvirt.list().unwrap().len(), 6);

    for name in &names[..4] {
        kill_process(daemon.qemu(name), Signal::CONT).unwrap();
    }
    all_sampled(&libvirt, 6);
}

/// QEMU is slow to answer while it starts, and tells late of having been stopped for a moment: one that is not seen
/// to run has no sample. Answers the samples that were whole.
fn all_sampled(libvirt: &Libvirt, count: usize) -> Vec<DomainStats> {
    let mut stats = Vec::new();
    eventually("all are sampled", || {
        stats = libvirt.all_stats().unwrap();
        let whole = |sample: &DomainStats| sample.blocks[0].rd_reqs.is_some();
        stats.len() == count && stats.iter().all(whole)
    });
    stats
}

#[test]
fn session_the_connection_mends_itself() {
    let Some(mut daemon) = Daemon::start() else {
        return;
    };
    let config = LibvirtConfig {
        keepalive_interval: 1,
        keepalive_count: 2,
        ..impatient(&daemon)
    };
    let libvirt = Libvirt::connect(config).unwrap();
    let id = started(&daemon, &libvirt, "a");
    let events = libvirt.events();

    daemon.kill();
    eventually("the loss is noticed", || !libvirt.is_alive());
    let (answer, took) = timed(|| libvirt.list());
    assert!(
        matches!(answer, Err(HypervisorError::Disconnected(_))) && took < FAST,
        "{answer:?} in {took:?}"
    );
    sleep(Duration::from_millis(500));
    assert!(matches!(
        libvirt.state(id),
        Err(HypervisorError::Disconnected(_))
    ));
    daemon.restart();
    expect_reconnected(&events);
    assert!(libvirt.is_alive());
    assert_eq!(
        run_state(&libvirt, id),
        DomainRunState::Running,
        "the domain went on without the daemon"
    );
    libvirt.suspend(id).unwrap();
    until_lifecycle(&events, id, LifecycleEvent::Suspended);

    // A daemon that hangs: calls time out, then keepalive gives it up; it comes back when it answers again.
    daemon.signal(Signal::STOP);
    let answer = libvirt.resume(id);
    assert!(
        is_timeout(&answer) || matches!(answer, Err(HypervisorError::Disconnected(_))),
        "{answer:?}"
    );
    eventually("keepalive gives up", || {
        matches!(libvirt.list(), Err(HypervisorError::Disconnected(_)))
    });
    daemon.signal(Signal::CONT);
    expect_reconnected(&events);
    assert!(libvirt.state(id).is_ok());
    libvirt.destroy(id, false).unwrap();
    until_lifecycle(&events, id, LifecycleEvent::Stopped);
}

fn expect_reconnected(events: &Receiver<HypervisorEvent>) {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        match events.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(HypervisorEvent::Reconnected) => return,
            Ok(_) => {}
            Err(error) => panic!("no word of the new connection: {error}"),
        }
    }
}

#[test]
fn session_a_daemon_that_never_answers_is_given_up() {
    let Some(daemon) = Daemon::start() else {
        return;
    };
    daemon.signal(Signal::STOP);
    let config = LibvirtConfig {
        connect_timeout: Duration::from_secs(1),
        ..daemon.config()
    };
    let (answer, took) = timed(|| Libvirt::connect(config));
    assert!(
        is_timeout(&answer) && took < Duration::from_secs(5),
        "{answer:?} in {took:?}"
    );
    daemon.signal(Signal::CONT);
    assert!(
        Libvirt::connect(daemon.config())
            .unwrap()
            .list()
            .unwrap()
            .is_empty()
    );
}
