//! A VM's life with the real thing: private libvirtd, real QEMU in software emulation.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests are tests"
)]

mod common;
#[expect(
    dead_code,
    reason = "the daemon of the tests of the crate libvirt; some of it is used here"
)]
#[path = "../../../edge/libvirt/tests/common/mod.rs"]
mod daemon;

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use common::{SOON, config, disk, eventually, host_options, request, vm_id, xml};
use daemon::Daemon;
use libvirt::Libvirt;
use rustix::process::{Signal, kill_process};
use sim::{
    process::Process,
    watch::{EventLog, SimClock},
};
use vm::{CreateRequest, Ports, VmConfig, VmError, VmManager};
use vm_model::{
    domain::DomainXml,
    events::{StatusDetail, VmEvent},
    exit::ExitReason,
    ports::{Hypervisor, Pdiv, PreparedVolume, VmId, VolumeSize, Volumes, VolumesError},
    preprocess::HostOptions,
    status::VmStatus,
};

static PORTS: AtomicU32 = AtomicU32::new(0);

/// Files that are volumes; counts how often each is prepared.
struct Files {
    dir: PathBuf,
    prepared: Mutex<HashMap<Pdiv, i32>>,
}

impl Files {
    fn new(dir: &Path) -> Self {
        for n in 1..=3 {
            let file = fs::File::create(Self::path(dir, &disk(n))).unwrap();
            file.set_len(1 << 20).unwrap();
        }
        Self {
            dir: dir.to_owned(),
            prepared: Mutex::default(),
        }
    }

    fn path(dir: &Path, volume: &Pdiv) -> PathBuf {
        dir.join(volume.volume.to_string())
    }

    fn in_use(&self) -> i32 {
        self.prepared.lock().unwrap().values().sum()
    }
}

impl Volumes for Files {
    fn prepare(&self, volume: &Pdiv) -> Result<PreparedVolume, VolumesError> {
        let path = Self::path(&self.dir, volume);
        if !path.exists() {
            return Err(VolumesError::NotFound(*volume));
        }
        self.prepared.lock().unwrap().insert(*volume, 1);
        Ok(PreparedVolume {
            path,
            format: "raw".to_owned(),
            block: false,
            chain: Vec::new(),
        })
    }

    fn teardown(&self, volume: &Pdiv) -> Result<(), VolumesError> {
        self.prepared.lock().unwrap().remove(volume);
        Ok(())
    }

    fn size(&self, volume: &Pdiv) -> Result<VolumeSize, VolumesError> {
        let path = Self::path(&self.dir, volume);
        let file = path
            .metadata()
            .map_err(|_| VolumesError::NotFound(*volume))?;
        Ok(VolumeSize {
            apparent: file.len(),
            allocated: file.blocks() * 512,
        })
    }
}

struct World {
    daemon: Daemon,
    libvirt: Arc<Libvirt>,
    files: Arc<Files>,
    clock: Arc<SimClock>,
    dir: tempfile::TempDir,
}

struct Agent {
    manager: VmManager,
    log: Arc<EventLog>,
}

impl World {
    fn new() -> Option<Self> {
        let daemon = Daemon::start()?;
        let dir = tempfile::Builder::new().prefix("vm").tempdir().unwrap();
        let files = Arc::new(Files::new(dir.path()));
        open_to_all(dir.path());
        let libvirt = Arc::new(Libvirt::connect(daemon.config()).unwrap());
        Some(Self {
            daemon,
            libvirt,
            files,
            clock: Arc::default(),
            dir,
        })
    }

    fn host(&self) -> Arc<dyn Fn() -> HostOptions + Send + Sync> {
        let dir = self.dir.path().to_owned();
        Arc::new(move || HostOptions {
            channel_dir: Some(dir.clone()),
            display_address: Some("127.0.0.1".to_owned()),
            ..host_options()
        })
    }

    fn boot(&self) -> Agent {
        let log = Arc::new(EventLog::new(Arc::new(Process::new())));
        let ports = Ports {
            hypervisor: Arc::clone(&self.libvirt) as _,
            volumes: Arc::clone(&self.files) as _,
            events: Arc::clone(&log) as _,
            clock: Arc::clone(&self.clock) as _,
            host: self.host(),
        };
        let config = VmConfig {
            sample_interval: Duration::from_millis(200),
            verb_timeout: Duration::from_mins(1),
            ..config()
        };
        Agent {
            manager: VmManager::new(config, ports).unwrap(),
            log,
        }
    }

    fn agent(&self) -> Agent {
        let agent = self.boot();
        agent.manager.recover().unwrap();
        agent
    }

    fn is_empty(&self) -> bool {
        self.libvirt.list().unwrap().is_empty() && self.files.in_use() == 0
    }
}

/// The daemon is another user's.
fn open_to_all(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o777)).unwrap();
    for entry in fs::read_dir(dir).unwrap() {
        fs::set_permissions(entry.unwrap().path(), fs::Permissions::from_mode(0o666)).unwrap();
    }
}

impl Agent {
    fn wait(&self, id: VmId, which: impl Fn(&VmEvent) -> bool) -> VmEvent {
        let found = self
            .log
            .wait(SOON * 6, |event| event.vm_id == id && which(event));
        found.unwrap_or_else(|| panic!("no such event among {:#?}", self.log.all()))
    }

    fn up(&self, request: CreateRequest) -> VmEvent {
        let id = self.manager.create(request).unwrap().info.vm_id;
        self.wait(id, |event| {
            matches!(
                event.status,
                VmStatus::PoweringUp | VmStatus::Paused | VmStatus::Down
            )
        })
    }
}

/// A port of 127.0.0.1 for a guest's screen. Other daemons on this machine choose ports of their own, and from 32768
/// on the kernel gives ports to whoever connects.
fn free_port() -> u32 {
    let is_free = |port: &u32| std::net::TcpListener::bind(("127.0.0.1", *port as u16)).is_ok();
    let next = || 20_000 + (std::process::id() + PORTS.fetch_add(1, Ordering::Relaxed)) % 12_000;
    std::iter::repeat_with(next).find(is_free).unwrap()
}

/// With what Engine sends and a session daemon could not take: host CPU, labels, a network to listen on.
fn engine_like(n: u32) -> CreateRequest {
    let id = vm_id(n);
    let port = free_port();
    let xml = xml(n, &[disk(n)])
        .replace("port='-1'", &format!("port='{port}' autoport='no'"))
        .replace(
            "<vcpu current='1'>4</vcpu>",
            "<vcpu current='1'>4</vcpu><cpu mode='host-passthrough' match='exact'>\
             <topology cores='1' threads='1' sockets='4'/></cpu><clock offset='variable' \
             adjustment='0'><timer name='hypervclock' present='yes'/></clock><sysinfo type='smbios'>\
             <system><entry name='product'>OS-NAME:</entry><entry name='version'>OS-VERSION:</entry>\
             </system></sysinfo>",
        )
        .replace("<features><acpi/>", "<features><acpi/><hyperv><relaxed state='on'/></hyperv>")
        .replace("<source file='/engine/guess'/>", "<source file='/engine/guess'><seclabel model='dac' type='none' relabel='no'/></source>")
        .replace("<listen type='address' address='127.0.0.1'/>", "<listen type='network' network='vdsm-ovirtmgmt'/>")
        .replace(
            "<memballoon",
            &format!(
                "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/>\
                 <source mode='bind' path='/var/lib/libvirt/qemu/channels/{id}.org.qemu.guest_agent.0'/>\
                 </channel><video><model type='vga'/></video><memballoon"
            ),
        );
    CreateRequest { xml, ..request(n) }
}

#[test]
fn session_a_life_with_real_qemu() {
    let Some(world) = World::new() else { return };
    let agent = world.agent();
    let id = vm_id(1);
    let event = agent.up(engine_like(1));
    let StatusDetail::Running(running) = event.detail else {
        panic!("{:?}", event.detail)
    };
    let display = running.display_info.first().unwrap();
    assert_eq!(
        (display.kind.as_str(), display.ip_address.as_str()),
        ("vnc", "127.0.0.1")
    );
    assert!(display.port.parse::<u16>().unwrap() >= 5_900);

    let live = DomainXml::parse(&agent.manager.dump_xmls(&[id]).unwrap().remove(0).1).unwrap();
    assert_eq!(live.vm_type(), "qemu");
    assert_eq!(
        live.drives().unwrap().first().unwrap().pdiv(),
        Some(disk(1))
    );
    eventually("the metadata says that it runs", || {
        let live = world
            .libvirt
            .xml(id, vm_model::ports::XmlKind::Live)
            .unwrap();
        let metadata = DomainXml::parse(&live).unwrap().metadata();
        metadata.text("agentPhase").as_deref() == Some("running")
    });
    assert_eq!(
        live.metadata().text("clusterVersion").as_deref(),
        Some("4.7")
    );

    eventually("two samples", || {
        let stats = agent.manager.stats(id).unwrap();
        matches!(stats.body, vm_model::stats::StatsBody::Alive { running, .. }
            if running.cpu.actual && running.disks.len() == 1 && running.balloon.is_some())
    });
    agent.manager.pause(id).unwrap();
    agent.manager.pause(id).unwrap();
    assert_eq!(agent.manager.info(id).unwrap().status, VmStatus::Paused);
    agent.manager.cont(id).unwrap();
    agent.manager.cont(id).unwrap();
    assert_eq!(agent.manager.info(id).unwrap().status, VmStatus::Up);
    assert!(!agent.manager.screenshot(id).unwrap().data.is_empty());
    agent.manager.reset(id).unwrap();
    agent.wait(id, |event| event.status == VmStatus::RebootInProgress);

    let created_again = agent.manager.create(engine_like(1)).map(|_| ());
    assert_eq!(created_again, Err(VmError::VmExists(id)));
    agent.manager.destroy(id, 1).unwrap();
    agent.wait(id, |event| event.status == VmStatus::Down);
    assert!(world.is_empty());
    assert_eq!(agent.manager.destroy(id, 1), Err(VmError::NoSuchVm(id)));
}

#[test]
fn session_agents_come_and_go_and_qemu_dies() {
    let Some(mut world) = World::new() else {
        return;
    };
    let first = world.agent();
    for n in [1, 2] {
        first.up(engine_like(n));
    }
    let hash = |agent: &Agent, id| match agent.manager.stats(id).unwrap().body {
        vm_model::stats::StatsBody::Alive {
            running, config, ..
        } => (config.vm_name, running.hash, running.display_info),
        vm_model::stats::StatsBody::Down { exit, .. } => panic!("{exit:?}"),
    };
    let before = [1, 2].map(|n| hash(&first, vm_id(n)));
    drop(first);

    let second = world.boot();
    let mut found = second.manager.recover().unwrap().running;
    found.sort();
    assert_eq!(found, [vm_id(1), vm_id(2)]);
    assert_eq!([1, 2].map(|n| hash(&second, vm_id(n))), before);

    kill_process(world.daemon.qemu("vm1"), Signal::KILL).unwrap();
    let down = second.wait(vm_id(1), |event| event.status == VmStatus::Down);
    let StatusDetail::Down { exit, .. } = down.detail else {
        panic!("{:?}", down.detail)
    };
    assert_eq!(exit.reason, ExitReason::LostQemuConnection);
    assert_eq!(second.manager.list(&[]).len(), 2);

    // The daemon dies with its events; the VM goes on.
    world.daemon.kill();
    world.daemon.restart();
    eventually("the connection is there again", || {
        world.libvirt.list().is_ok()
    });
    assert_eq!(second.manager.info(vm_id(2)).unwrap().status, VmStatus::Up);
    drop(second);

    let third = world.boot();
    let report = third.manager.recover().unwrap();
    assert_eq!(
        report.down.first().map(|(id, exit)| (*id, exit.reason)),
        Some((vm_id(1), ExitReason::LostQemuConnection))
    );
    for n in [1, 2] {
        third.manager.destroy(vm_id(n), 1).unwrap();
    }
    assert!(world.is_empty());
}

#[test]
fn session_what_was_never_started_is_taken_back_and_others_stay() {
    let Some(world) = World::new() else { return };
    let theirs = world
        .libvirt
        .define(&world.daemon.xml(vm_id(9), "theirs"))
        .unwrap();
    let left = xml(1, &[disk(1)])
        .replace("<domain type='kvm'", "<domain type='qemu'")
        .replace(
            "<ovirt-vm:custom/>",
            "<ovirt-vm:agentPhase>launching</ovirt-vm:agentPhase>",
        );
    world.libvirt.define(&left).unwrap();
    let _ = world.files.prepare(&disk(1));

    let agent = world.boot();
    let report = agent.manager.recover().unwrap();
    assert_eq!(
        (report.undone, report.external),
        (vec![vm_id(1)], vec![theirs])
    );
    assert_eq!(world.files.in_use(), 0);
    let left: Vec<_> = world
        .libvirt
        .list()
        .unwrap()
        .into_iter()
        .map(|d| d.name)
        .collect();
    assert_eq!(left, ["theirs"]);

    // A start that libvirt refuses is told, and leaves nothing behind.
    let odd = engine_like(2);
    let xml = odd.xml.replace("machine='pc'", "machine='abacus'");
    let event = agent.up(CreateRequest { xml, ..odd });
    let StatusDetail::Down { exit, .. } = event.detail else {
        panic!("{event:?}")
    };
    println!("refused: {}", exit.message);
    assert_eq!(exit.reason, ExitReason::GenericError);
    agent.manager.destroy(vm_id(2), 1).unwrap();
    agent.up(engine_like(2));
    agent.manager.destroy(vm_id(2), 1).unwrap();
    world.libvirt.undefine(theirs).unwrap();
    assert!(world.is_empty());
}

#[test]
fn session_qemu_that_hangs_is_ended_and_delays_nobody() {
    let Some(world) = World::new() else { return };
    let agent = world.agent();
    let (hung, well) = (vm_id(1), vm_id(2));
    for n in [1, 2] {
        agent.up(engine_like(n));
    }
    kill_process(world.daemon.qemu("vm1"), Signal::STOP).unwrap();
    std::thread::scope(|scope| {
        let stuck = scope.spawn(|| agent.manager.destroy(hung, 1));
        let began = std::time::Instant::now();
        for _ in 0..3 {
            agent.manager.pause(well).unwrap();
            agent.manager.cont(well).unwrap();
            agent.manager.all_stats();
        }
        println!("six verbs beside a hanging domain: {:?}", began.elapsed());
        assert!(!stuck.is_finished(), "it was to hang meanwhile");
        stuck.join().unwrap().unwrap();
        println!("destroyed after {:?}", began.elapsed());
    });
    assert_eq!(agent.manager.list(&[]).len(), 1);
    agent.manager.destroy(well, 1).unwrap();
    assert!(world.is_empty());
}
