//! The layer against `test:///default`: libvirt's driver inside the client library, without a daemon or QEMU.
//!
//! All connections of a process share that driver's state, so each test works on domains of its own.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::{
    sync::mpsc::Receiver,
    time::{Duration, Instant},
};

use libvirt::{DomainCapabilitiesQuery, Libvirt, LibvirtConfig};
use uuid::Uuid;
use vm_model::ports::{
    DomainRunState, GuestRequest, Hypervisor, HypervisorError, HypervisorEvent, LifecycleEvent,
    VmId, XmlKind,
};

const URI: &str = "http://example.org/vm/1.0";

fn connect() -> Libvirt {
    Libvirt::connect(LibvirtConfig::new("test:///default")).unwrap()
}

fn xml(id: VmId, name: &str) -> String {
    format!(
        "<domain type='test'><name>{name}</name><uuid>{id}</uuid><memory>65536</memory><vcpu>2</vcpu>\
         <os><type>hvm</type></os></domain>"
    )
}

/// A domain of its own, taken away at the end.
struct Vm<'l> {
    libvirt: &'l Libvirt,
    id: VmId,
    name: String,
}

impl<'l> Vm<'l> {
    fn define(libvirt: &'l Libvirt) -> Self {
        let id = Uuid::new_v4();
        let name = format!("vm-{id}");
        assert_eq!(libvirt.define(&xml(id, &name)), Ok(id));
        Self { libvirt, id, name }
    }

    fn run_state(&self) -> DomainRunState {
        self.libvirt.state(self.id).unwrap().state
    }
}

impl Drop for Vm<'_> {
    fn drop(&mut self) {
        let _ = self.libvirt.destroy(self.id, false);
        let _ = self.libvirt.undefine(self.id);
    }
}

fn lifecycle(events: &Receiver<HypervisorEvent>, vm: VmId, count: usize) -> Vec<LifecycleEvent> {
    let end = Instant::now() + Duration::from_secs(10);
    let mut seen = Vec::new();
    while seen.len() < count {
        match events.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(HypervisorEvent::Lifecycle { id, event, .. }) if id == vm => seen.push(event),
            Ok(_) => {}
            Err(error) => panic!("{error} after {seen:?}"),
        }
    }
    seen
}

#[test]
fn a_domain_goes_through_its_life_and_tells_of_it() {
    let libvirt = connect();
    let (events, more) = (libvirt.events(), libvirt.events());
    let vm = Vm::define(&libvirt);
    assert_eq!(vm.run_state(), DomainRunState::Shutoff);
    // This driver cannot start a domain paused.
    libvirt.start(vm.id, false).unwrap();
    assert_eq!(vm.run_state(), DomainRunState::Running);
    libvirt.suspend(vm.id).unwrap();
    assert_eq!(vm.run_state(), DomainRunState::Paused);
    libvirt.resume(vm.id).unwrap();
    libvirt.destroy(vm.id, true).unwrap();
    assert_eq!(vm.run_state(), DomainRunState::Shutoff);
    libvirt.undefine(vm.id).unwrap();
    assert_eq!(libvirt.state(vm.id), Err(HypervisorError::NoDomain(vm.id)));
    for events in [events, more] {
        assert_eq!(
            lifecycle(&events, vm.id, 6),
            [
                LifecycleEvent::Defined,
                LifecycleEvent::Started,
                LifecycleEvent::Suspended,
                LifecycleEvent::Resumed,
                LifecycleEvent::Stopped,
                LifecycleEvent::Undefined
            ]
        );
    }
}

#[test]
fn list_and_xml_tell_of_running_and_resting_domains() {
    let libvirt = connect();
    let (resting, running) = (Vm::define(&libvirt), Vm::define(&libvirt));
    libvirt.start(running.id, false).unwrap();
    let list = libvirt.list().unwrap();
    for (vm, state) in [
        (&resting, DomainRunState::Shutoff),
        (&running, DomainRunState::Running),
    ] {
        let found = list.iter().find(|domain| domain.id == vm.id).unwrap();
        assert_eq!((found.state.state, &found.name), (state, &vm.name));
        assert_eq!(found.state, libvirt.state(vm.id).unwrap());
    }
    assert!(
        libvirt
            .xml(running.id, XmlKind::Live)
            .unwrap()
            .contains("<domain type='test' id=")
    );
    assert!(
        !libvirt
            .xml(running.id, XmlKind::Inactive)
            .unwrap()
            .contains(" id=")
    );
}

#[test]
fn metadata_is_kept_replaced_and_removed_live_and_persistent() {
    let libvirt = connect();
    let vm = Vm::define(&libvirt);
    for running in [false, true] {
        if running {
            libvirt.start(vm.id, false).unwrap();
        }
        assert_eq!(libvirt.metadata(vm.id, URI), Ok(None));
        for value in ["1", "2"] {
            libvirt
                .set_metadata(vm.id, "x", URI, Some(&format!("<vm><a>{value}</a></vm>")))
                .unwrap();
            let kept = libvirt.metadata(vm.id, URI).unwrap().unwrap();
            assert!(kept.contains(&format!("<a>{value}</a>")), "{kept}");
            for kind in [XmlKind::Live, XmlKind::Inactive] {
                let xml = libvirt.xml(vm.id, kind).unwrap();
                assert!(
                    xml.contains(&format!("<x:vm xmlns:x=\"{URI}\">")),
                    "{kind:?}: {xml}"
                );
            }
        }
        libvirt.set_metadata(vm.id, "x", URI, None).unwrap();
        libvirt.set_metadata(vm.id, "x", URI, None).unwrap();
        assert!(!libvirt.xml(vm.id, XmlKind::Inactive).unwrap().contains(URI));
    }
    let refused = libvirt.set_metadata(vm.id, "x", URI, Some("<vm><a></vm>"));
    assert!(
        matches!(refused, Err(HypervisorError::BadXml(_))),
        "{refused:?}"
    );
    let gone = Uuid::new_v4();
    assert_eq!(
        libvirt.metadata(gone, URI),
        Err(HypervisorError::NoDomain(gone))
    );
}

#[test]
fn statistics_are_of_running_domains() {
    let libvirt = connect();
    let (resting, running) = (Vm::define(&libvirt), Vm::define(&libvirt));
    libvirt.start(running.id, false).unwrap();
    let stats = libvirt.all_stats().unwrap();
    assert!(stats.iter().all(|sample| sample.id != resting.id));
    let sample = stats.iter().find(|sample| sample.id == running.id).unwrap();
    assert_eq!(sample.state.unwrap().state, DomainRunState::Running);
}

#[test]
fn refusals_have_their_own_errors() {
    let libvirt = connect();
    let vm = Vm::define(&libvirt);
    for bad in [
        "",
        "<domain",
        "<domain type='test'/>",
        "a\0b",
        "<domain type='test'><name>n</name></domain>",
    ] {
        let refused = libvirt.define(bad);
        assert!(
            matches!(refused, Err(HypervisorError::BadXml(_))),
            "{bad}: {refused:?}"
        );
    }
    let twice = libvirt.define(&xml(Uuid::new_v4(), &vm.name));
    assert!(
        matches!(twice, Err(HypervisorError::Exists(_))),
        "{twice:?}"
    );
    let not_running = libvirt.destroy(vm.id, false);
    assert!(
        matches!(not_running, Err(HypervisorError::InvalidState(_))),
        "{not_running:?}"
    );
    let gone = Uuid::new_v4();
    let calls: [(&str, Result<(), HypervisorError>); 8] = [
        ("start", libvirt.start(gone, true)),
        ("undefine", libvirt.undefine(gone)),
        ("resume", libvirt.resume(gone)),
        ("shutdown", libvirt.shutdown(gone, GuestRequest::Acpi)),
        ("reboot", libvirt.reboot(gone, GuestRequest::Agent)),
        ("destroy", libvirt.destroy(gone, false)),
        ("xml", libvirt.xml(gone, XmlKind::Live).map(drop)),
        ("screenshot", libvirt.screenshot(gone).map(drop)),
    ];
    for (what, answer) in calls {
        assert_eq!(answer, Err(HypervisorError::NoDomain(gone)), "{what}");
    }
}

#[test]
fn the_host_is_described() {
    let libvirt = connect();
    assert!(libvirt.is_alive());
    assert!(
        libvirt
            .capabilities_xml()
            .unwrap()
            .contains("<capabilities>")
    );
    assert!(!libvirt.hostname().unwrap().is_empty());
    let versions = libvirt.versions().unwrap();
    assert!(versions.client.major() >= 6, "{}", versions.client);
    assert_eq!(
        versions.client, versions.daemon,
        "the driver is part of the client"
    );
    let node = libvirt.node_info().unwrap();
    assert!(
        node.memory_kib > 0 && node.cpus > 0 && !node.model.is_empty(),
        "{node:?}"
    );
    let caps = libvirt.domain_capabilities_xml(&DomainCapabilitiesQuery::default());
    assert!(
        caps.is_ok() || matches!(caps, Err(HypervisorError::Other { .. })),
        "{caps:?}"
    );
}

#[test]
fn connections_that_cannot_be_made_say_so() {
    for uri in [
        "nonsense://",
        "test:///no/such/file.xml",
        "qemu:///session?socket=/no/such/socket",
        "a\0b",
    ] {
        let refused = Libvirt::connect(LibvirtConfig::new(uri));
        assert!(
            matches!(refused, Err(HypervisorError::Disconnected(_))),
            "{uri}: {refused:?}"
        );
    }
}

#[test]
fn many_threads_share_one_connection() {
    let libvirt = connect();
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let vm = Vm::define(&libvirt);
                    libvirt.start(vm.id, false).unwrap();
                    assert_eq!(vm.run_state(), DomainRunState::Running);
                    assert!(
                        libvirt
                            .list()
                            .unwrap()
                            .iter()
                            .any(|domain| domain.id == vm.id)
                    );
                }
            });
        }
    });
}

#[test]
fn credentials_are_never_printed() {
    let config = LibvirtConfig {
        credentials: Some(libvirt::Credentials::new("vdsm@ovirt", "hunter2")),
        ..LibvirtConfig::new("test:///default")
    };
    let text = format!("{config:?}");
    assert!(
        text.contains("vdsm@ovirt") && !text.contains("hunter2"),
        "{text}"
    );
    assert!(
        Libvirt::connect(config).unwrap().is_alive(),
        "a driver that asks for none is fine with them"
    );
}
