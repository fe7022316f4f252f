//! A world of fakes, agents over it, and XML shaped as Engine sends it.
#![allow(dead_code, reason = "each test file uses some of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

use std::{fmt::Write, sync::Arc, time::Duration};

use sim::{
    hypervisor::SimHypervisor,
    process::Process,
    volumes::VolumeStore,
    watch::{EventLog, SimClock},
};
use uuid::Uuid;
use vm::{CreateRequest, Ports, ShutdownRequest, VmConfig, VmManager};
use vm_model::{
    events::{StatusDetail, VmEvent},
    exit::ExitInfo,
    ports::{Pdiv, VmId},
    preprocess::{Accelerator, HostFacts, HostOptions, SourceLabels},
    stats::{GuestInfo, RunningStats, StatsBody},
    status::VmStatus,
};

/// Long enough for anything that shall happen.
pub(crate) const SOON: Duration = Duration::from_mins(1);

pub(crate) struct World {
    pub(crate) hypervisor: Arc<SimHypervisor>,
    pub(crate) volumes: Arc<VolumeStore>,
    pub(crate) clock: Arc<SimClock>,
}

/// One life of the agent.
pub(crate) struct Agent {
    pub(crate) manager: VmManager,
    pub(crate) process: Arc<Process>,
    pub(crate) log: Arc<EventLog>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            hypervisor: Arc::new(SimHypervisor::new()),
            volumes: Arc::new(VolumeStore::new()),
            clock: Arc::new(SimClock::default()),
        }
    }

    /// With the volumes of VM 1 to 3.
    pub(crate) fn with_volumes() -> Self {
        let world = Self::new();
        for n in 1..=3 {
            world.volumes.add(disk(n), "raw");
        }
        world
    }

    /// An agent that has not recovered yet.
    pub(crate) fn boot(&self, config: VmConfig) -> Agent {
        let process = Arc::new(Process::new());
        let log = Arc::new(EventLog::new(Arc::clone(&process)));
        let ports = Ports {
            hypervisor: self.hypervisor.port(Arc::clone(&process)),
            volumes: self.volumes.port(Arc::clone(&process)),
            events: Arc::clone(&log) as _,
            clock: Arc::clone(&self.clock) as _,
            host: Arc::new(host_options),
        };
        let manager = VmManager::new(config, ports).unwrap();
        Agent {
            manager,
            process,
            log,
        }
    }

    /// An agent that has recovered.
    pub(crate) fn agent(&self) -> Agent {
        let agent = self.boot(config());
        agent.manager.recover().unwrap();
        agent
    }
}

impl Agent {
    /// Creates VM n and waits until it runs.
    pub(crate) fn up(&self, n: u32) -> VmId {
        let id = self.create(n);
        self.wait(id, |event| matches!(event.detail, StatusDetail::Running(_)));
        id
    }

    /// Asks for VM n.
    pub(crate) fn create(&self, n: u32) -> VmId {
        self.manager.create(request(n)).unwrap().info.vm_id
    }

    pub(crate) fn wait(&self, id: VmId, which: impl Fn(&VmEvent) -> bool) -> VmEvent {
        let found = self
            .log
            .wait(SOON, |event| event.vm_id == id && which(event));
        found.unwrap_or_else(|| panic!("no such event among {:#?}", self.log.all()))
    }

    pub(crate) fn wait_status(&self, id: VmId, status: VmStatus) -> VmEvent {
        self.wait(id, |event| event.status == status)
    }

    /// Waits until the guest itself has begun anew: that it shall is told a moment before, without details.
    pub(crate) fn wait_reboot(&self, id: VmId) -> GuestInfo {
        let reboots = |event: &VmEvent| {
            event.status == VmStatus::RebootInProgress
                && matches!(event.detail, StatusDetail::Guest(_))
        };
        match self.wait(id, reboots).detail {
            StatusDetail::Guest(guest) => guest,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn wait_down(&self, id: VmId) -> ExitInfo {
        match self.wait_status(id, VmStatus::Down).detail {
            StatusDetail::Down { exit, .. } => exit,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn statuses(&self, id: VmId) -> Vec<VmStatus> {
        let events = self.log.all();
        events
            .iter()
            .filter(|event| event.vm_id == id)
            .map(|event| event.status)
            .collect()
    }

    pub(crate) fn running(&self, id: VmId) -> RunningStats {
        match self.manager.stats(id).unwrap().body {
            StatsBody::Alive { running, .. } => *running,
            StatsBody::Down { exit, .. } => panic!("down: {exit:?}"),
        }
    }
}

/// Waits for something that is told by no event.
pub(crate) fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + SOON;
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn config() -> VmConfig {
    VmConfig {
        sample_interval: Duration::from_millis(20),
        size_interval: Duration::from_millis(20),
        monitor_timeout: Duration::from_mins(1),
        verb_timeout: Duration::from_secs(2),
        kill_paused_after: Duration::from_secs(80),
    }
}

pub(crate) fn host_options() -> HostOptions {
    HostOptions {
        facts: HostFacts {
            os_name: "Debian".to_owned(),
            os_version: "12.11-".to_owned(),
            serial: "host-serial".to_owned(),
        },
        accelerator: Accelerator::Tcg,
        emulator: None,
        channel_dir: None,
        console_dir: None,
        display_address: None,
        source_labels: SourceLabels::Strip,
    }
}

pub(crate) fn vm_id(n: u32) -> VmId {
    Uuid::from_u128(0x1111_1111_aaaa_4bbb_8ccc_0000_0000_0000 + u128::from(n))
}

pub(crate) fn disk(n: u32) -> Pdiv {
    let id = |kind: u128| Uuid::from_u128((kind << 64) + u128::from(n));
    Pdiv {
        pool: id(0xa),
        domain: id(0xb),
        image: id(0xc),
        volume: id(0xd),
    }
}

pub(crate) fn request(n: u32) -> CreateRequest {
    CreateRequest {
        vm_id: Some(vm_id(n)),
        xml: xml(n, &[disk(n)]),
        launch_paused: false,
    }
}

/// Drives are `vda`, `vdb`, ...
pub(crate) fn xml(n: u32, disks: &[Pdiv]) -> String {
    let id = vm_id(n);
    let (mut devices, mut metadata) = (String::new(), String::new());
    for (k, pdiv) in disks.iter().enumerate() {
        let name = format!("vd{}", char::from(b'a' + u8::try_from(k).unwrap()));
        let _ = write!(
            devices,
            "<disk type='file' device='disk' snapshot='no'><target dev='{name}' bus='virtio'/>\
             <source file='/engine/guess'/><driver name='qemu' type='raw' cache='none'/>\
             <alias name='ua-disk{k}'/></disk>"
        );
        let Pdiv {
            pool,
            domain,
            image,
            volume,
        } = pdiv;
        let _ = write!(
            metadata,
            "<ovirt-vm:device devtype='disk' name='{name}'><ovirt-vm:poolID>{pool}</ovirt-vm:poolID>\
             <ovirt-vm:domainID>{domain}</ovirt-vm:domainID><ovirt-vm:imageID>{image}</ovirt-vm:imageID>\
             <ovirt-vm:volumeID>{volume}</ovirt-vm:volumeID></ovirt-vm:device>"
        );
    }
    format!(
        "<?xml version='1.0' encoding='UTF-8'?>\
         <domain type='kvm' xmlns:ovirt-tune='http://ovirt.org/vm/tune/1.0' \
         xmlns:ovirt-vm='http://ovirt.org/vm/1.0'><name>vm{n}</name><uuid>{id}</uuid>\
         <memory>32768</memory><vcpu current='1'>4</vcpu><features><acpi/></features>\
         <os><type arch='x86_64' machine='pc'>hvm</type></os>\
         <devices>{devices}<memballoon model='virtio'/>\
         <graphics type='vnc' port='-1' passwd='*****' passwdValidTo='1970-01-01T00:00:01'>\
         <listen type='address' address='127.0.0.1'/></graphics></devices>\
         <metadata><ovirt-tune:qos/><ovirt-vm:vm>\
         <ovirt-vm:minGuaranteedMemoryMb type='int'>16</ovirt-vm:minGuaranteedMemoryMb>\
         <ovirt-vm:clusterVersion>4.7</ovirt-vm:clusterVersion><ovirt-vm:custom/>\
         <ovirt-vm:launchPaused>false</ovirt-vm:launchPaused>\
         <ovirt-vm:resumeBehavior>auto_resume</ovirt-vm:resumeBehavior>{metadata}\
         </ovirt-vm:vm></metadata></domain>"
    )
}

/// How a guest is asked to end or begin anew; `timeout` in ms.
pub(crate) fn shutdown(force: bool, reboot: bool, timeout: u64) -> ShutdownRequest {
    ShutdownRequest {
        delay: Duration::ZERO,
        message: "bye".to_owned(),
        reboot,
        timeout: Duration::from_millis(timeout),
        force,
    }
}
