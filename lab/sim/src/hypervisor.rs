//! libvirt and QEMU, faked: domains with states and XML, guests with manners, events.
//!
//! The world is a [`SimHypervisor`]; agents reach it through [`SimHypervisor::port`], each with its
//! own [`Process`]. Domains behave as libvirt's do where the agent can tell: a second definition
//! changes the first, a running domain that is undefined becomes transient, errors are those that
//! libvirt gives.

mod port;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, mpsc},
};

use vm_model::{
    domain::DomainXml,
    metadata::VmMetadata,
    ports::{
        BalloonStats, BlockStats, DomainRunState, DomainState, DomainStats, DomainSummary,
        GuestRequest, Hypervisor, HypervisorError, HypervisorEvent, HypervisorResult,
        LifecycleEvent, VmId,
    },
};

use self::port::Port;
use crate::process::{Process, lock};

/// What a guest does when it is asked to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manners {
    /// Its agent answers.
    pub agent: bool,
    /// It obeys ACPI.
    pub acpi: bool,
}

/// The world of domains; outlives processes.
#[derive(Debug, Default)]
pub struct SimHypervisor {
    world: Mutex<World>,
}

#[derive(Debug, Default)]
struct World {
    domains: BTreeMap<VmId, Domain>,
    listeners: Vec<(Arc<Process>, mpsc::Sender<HypervisorEvent>)>,
    losing_events: bool,
    samples: u64,
}

#[derive(Debug, Clone)]
struct Domain {
    name: String,
    /// The definition, unless it is transient.
    defined: Option<DomainXml>,
    /// The live configuration, while it is active.
    live: Option<DomainXml>,
    state: DomainState,
    hangs: bool,
    manners: Manners,
}

/// `virDomainShutoffReason` and kin, as far as they are told.
mod reason {
    pub(super) const UNKNOWN: i32 = 0;
    pub(super) const SHUTOFF_SHUTDOWN: i32 = 1;
    pub(super) const SHUTOFF_DESTROYED: i32 = 2;
    pub(super) const SHUTOFF_CRASHED: i32 = 3;
    pub(super) const RUNNING_BOOTED: i32 = 1;
    pub(super) const RUNNING_UNPAUSED: i32 = 5;
    pub(super) const PAUSED_USER: i32 = 1;
    pub(super) const PAUSED_IOERROR: i32 = 5;
    pub(super) const PAUSED_STARTING_UP: i32 = 11;
}

impl SimHypervisor {
    /// No domains.
    pub fn new() -> Self {
        Self::default()
    }

    /// The port, for one process.
    pub fn port(self: &Arc<Self>, process: Arc<Process>) -> Arc<dyn Hypervisor> {
        Arc::new(Port {
            hypervisor: Arc::clone(self),
            process,
        })
    }

    /// All domains.
    pub fn domains(&self) -> Vec<DomainSummary> {
        lock(&self.world).summaries()
    }

    /// One domain.
    pub fn domain(&self, id: VmId) -> Option<DomainSummary> {
        self.domains().into_iter().find(|domain| domain.id == id)
    }

    /// XML of a domain: live if it is active.
    pub fn xml(&self, id: VmId) -> Option<String> {
        let world = lock(&self.world);
        let domain = world.domains.get(&id)?;
        domain
            .live
            .as_ref()
            .or(domain.defined.as_ref())
            .map(ToString::to_string)
    }

    /// The `ovirt-vm` metadata of a domain.
    pub fn metadata(&self, id: VmId) -> Option<VmMetadata> {
        let world = lock(&self.world);
        let domain = world.domains.get(&id)?;
        let xml = domain.live.as_ref().or(domain.defined.as_ref())?;
        xml.has_metadata().then(|| xml.metadata())
    }

    /// Somebody else starts a domain.
    pub fn start_foreign(&self, xml: &str) -> HypervisorResult<VmId> {
        let mut world = lock(&self.world);
        let id = world.define(xml)?;
        world.start(id, false)?;
        Ok(id)
    }

    /// Somebody else defines a domain.
    pub fn define_foreign(&self, xml: &str) -> HypervisorResult<VmId> {
        lock(&self.world).define(xml)
    }

    /// The guest goes down by itself.
    pub fn guest_powers_off(&self, id: VmId) {
        lock(&self.world).guest_off(id, 1);
    }

    /// The guest restarts by itself.
    pub fn guest_reboots(&self, id: VmId) {
        lock(&self.world).emit(&HypervisorEvent::Reboot { id });
    }

    /// QEMU is killed from outside.
    pub fn qemu_dies(&self, id: VmId) {
        let mut world = lock(&self.world);
        world.shut_off(id, reason::SHUTOFF_CRASHED);
        world.lifecycle(id, LifecycleEvent::Stopped, 2);
    }

    /// The domain vanishes without an event, as if libvirt had lost it.
    pub fn vanish(&self, id: VmId) {
        lock(&self.world).domains.remove(&id);
    }

    /// A disk of the guest fails and stops its CPUs.
    pub fn io_error(&self, id: VmId, alias: &str, reason: &str) {
        let mut world = lock(&self.world);
        world.set_state(id, DomainRunState::Paused, reason::PAUSED_IOERROR);
        world.emit(&HypervisorEvent::IoError {
            id,
            path: String::new(),
            alias: alias.to_owned(),
            action: 1,
            reason: reason.to_owned(),
        });
        world.lifecycle(id, LifecycleEvent::Suspended, 2);
    }

    /// The QEMU process is stopped (as by SIGSTOP), or goes on.
    pub fn set_hanging(&self, id: VmId, hangs: bool) {
        if let Some(domain) = lock(&self.world).domains.get_mut(&id) {
            domain.hangs = hangs;
        }
    }

    /// How the guest takes requests to go.
    pub fn set_manners(&self, id: VmId, manners: Manners) {
        if let Some(domain) = lock(&self.world).domains.get_mut(&id) {
            domain.manners = manners;
        }
    }

    /// From now on events are lost, or come again.
    pub fn set_losing_events(&self, losing: bool) {
        lock(&self.world).losing_events = losing;
    }

    /// Tells an event as it is.
    pub fn emit(&self, event: &HypervisorEvent) {
        lock(&self.world).emit(event);
    }
}

impl World {
    fn summaries(&self) -> Vec<DomainSummary> {
        let summary = |(id, domain): (&VmId, &Domain)| DomainSummary {
            id: *id,
            name: domain.name.clone(),
            state: domain.state,
        };
        self.domains.iter().map(summary).collect()
    }

    fn emit(&mut self, event: &HypervisorEvent) {
        if self.losing_events {
            return;
        }
        self.listeners.retain(|(process, listener)| {
            process.is_alive() && listener.send(event.clone()).is_ok()
        });
    }

    fn lifecycle(&mut self, id: VmId, event: LifecycleEvent, detail: i32) {
        self.emit(&HypervisorEvent::Lifecycle { id, event, detail });
    }

    fn domain(&mut self, id: VmId) -> HypervisorResult<&mut Domain> {
        self.domains
            .get_mut(&id)
            .ok_or(HypervisorError::NoDomain(id))
    }

    /// An active domain.
    fn active(&mut self, id: VmId) -> HypervisorResult<&mut Domain> {
        let domain = self.domain(id)?;
        if domain.live.is_none() {
            return Err(HypervisorError::InvalidState(
                "domain is not running".to_owned(),
            ));
        }
        Ok(domain)
    }

    fn define(&mut self, xml: &str) -> HypervisorResult<VmId> {
        let xml = DomainXml::parse(xml).map_err(|e| HypervisorError::BadXml(e.to_string()))?;
        let (id, name) = (xml.id(), xml.name());
        if xml.root().child("memory").is_none() || name.is_empty() {
            return Err(HypervisorError::BadXml("missing name or memory".to_owned()));
        }
        if xml.root().find("os/type").is_none() {
            return Err(HypervisorError::BadXml(
                "an os <type> must be specified".to_owned(),
            ));
        }
        let rival = self
            .domains
            .iter()
            .find(|(other, d)| (**other == id) != (d.name == name));
        if let Some((other, domain)) = rival {
            let what = format!("domain '{}' already exists with uuid {other}", domain.name);
            return Err(HypervisorError::Exists(what));
        }
        let domain = self.domains.entry(id).or_insert_with(|| Domain {
            name,
            defined: None,
            live: None,
            state: DomainState {
                state: DomainRunState::Shutoff,
                reason: reason::UNKNOWN,
            },
            hangs: false,
            manners: Manners {
                agent: false,
                acpi: true,
            },
        });
        domain.defined = Some(xml);
        self.lifecycle(id, LifecycleEvent::Defined, 0);
        Ok(id)
    }

    fn start(&mut self, id: VmId, paused: bool) -> HypervisorResult<()> {
        let domain = self.domain(id)?;
        if domain.live.is_some() {
            return Err(HypervisorError::InvalidState(
                "domain is already running".to_owned(),
            ));
        }
        domain.live = domain.defined.as_ref().map(live);
        domain.hangs = false;
        domain.state = if paused {
            DomainState {
                state: DomainRunState::Paused,
                reason: reason::PAUSED_STARTING_UP,
            }
        } else {
            DomainState {
                state: DomainRunState::Running,
                reason: reason::RUNNING_BOOTED,
            }
        };
        self.lifecycle(id, LifecycleEvent::Started, 0);
        let event = if paused {
            LifecycleEvent::Suspended
        } else {
            LifecycleEvent::Resumed
        };
        self.lifecycle(id, event, 0);
        Ok(())
    }

    fn set_state(&mut self, id: VmId, state: DomainRunState, reason: i32) {
        if let Some(domain) = self.domains.get_mut(&id) {
            domain.state = DomainState { state, reason };
        }
    }

    /// QEMU is gone; a transient domain goes with it.
    fn shut_off(&mut self, id: VmId, why: i32) {
        let Some(domain) = self.domains.get_mut(&id) else {
            return;
        };
        domain.live = None;
        domain.hangs = false;
        domain.state = DomainState {
            state: DomainRunState::Shutoff,
            reason: why,
        };
        if domain.defined.is_none() {
            self.domains.remove(&id);
        }
    }

    /// `detail` of the event `Shutdown`: 1 by the guest, 2 by the host.
    fn guest_off(&mut self, id: VmId, detail: i32) {
        self.lifecycle(id, LifecycleEvent::Shutdown, detail);
        self.shut_off(id, reason::SHUTOFF_SHUTDOWN);
        self.lifecycle(id, LifecycleEvent::Stopped, 0);
    }

    fn undefine(&mut self, id: VmId) -> HypervisorResult<()> {
        let domain = self.domain(id)?;
        domain.defined = None;
        if domain.live.is_none() {
            self.domains.remove(&id);
        }
        self.lifecycle(id, LifecycleEvent::Undefined, 0);
        Ok(())
    }

    fn ask(&mut self, id: VmId, how: GuestRequest, reboot: bool) -> HypervisorResult<()> {
        let domain = self.active(id)?;
        let obeys = match how {
            GuestRequest::Agent if !domain.manners.agent => {
                return Err(HypervisorError::AgentUnresponsive(
                    "it is not connected".to_owned(),
                ));
            }
            GuestRequest::Agent => true,
            GuestRequest::Acpi => domain.manners.acpi,
        };
        match (obeys, reboot) {
            (false, _) => {}
            (true, true) => self.emit(&HypervisorEvent::Reboot { id }),
            (true, false) => self.guest_off(id, 1),
        }
        Ok(())
    }

    fn destroy(&mut self, id: VmId, graceful: bool) -> HypervisorResult<()> {
        let domain = self.active(id)?;
        if domain.hangs && graceful {
            return Err(HypervisorError::Other {
                code: 38,
                message: "Failed to terminate process with SIGTERM: Device or resource busy"
                    .to_owned(),
            });
        }
        self.shut_off(id, reason::SHUTOFF_DESTROYED);
        self.lifecycle(id, LifecycleEvent::Stopped, 1);
        Ok(())
    }

    fn set_metadata(&mut self, id: VmId, xml: Option<&str>) -> HypervisorResult<()> {
        let domain = self.domain(id)?;
        let metadata = match xml {
            Some(xml) => {
                VmMetadata::parse(xml).map_err(|e| HypervisorError::BadXml(e.to_string()))?
            }
            None => VmMetadata::default(),
        };
        for xml in [&mut domain.defined, &mut domain.live]
            .into_iter()
            .flatten()
        {
            xml.set_metadata(&metadata);
        }
        Ok(())
    }

    /// Figures that grow with every sample.
    fn stats(&mut self) -> Vec<DomainStats> {
        self.samples += 1;
        let n = self.samples;
        let active = self
            .domains
            .iter()
            .filter(|(_, d)| d.live.is_some() && !d.hangs);
        active.map(|(id, domain)| sample(*id, domain, n)).collect()
    }
}

fn sample(id: VmId, domain: &Domain, n: u64) -> DomainStats {
    let drives = domain
        .live
        .as_ref()
        .and_then(|live| live.drives().ok())
        .unwrap_or_default();
    let block = |name: String| BlockStats {
        name,
        rd_reqs: Some(10 * n),
        rd_bytes: Some(4_096 * n),
        rd_times: Some(1_000 * n),
        wr_reqs: Some(20 * n),
        wr_bytes: Some(8_192 * n),
        wr_times: Some(4_000 * n),
        fl_reqs: Some(n),
        fl_times: Some(500 * n),
        allocation: Some(1 << 20),
        capacity: Some(1 << 30),
        physical: Some(1 << 21),
        path: None,
    };
    DomainStats {
        id,
        state: Some(domain.state),
        cpu_time_ns: Some(3_000_000 * n),
        cpu_user_ns: Some(1_000_000 * n),
        cpu_system_ns: Some(500_000 * n),
        vcpu_current: Some(1),
        vcpu_maximum: Some(4),
        balloon: BalloonStats {
            current: Some(32_768),
            ..BalloonStats::default()
        },
        blocks: drives.into_iter().map(|drive| block(drive.name)).collect(),
        ..DomainStats::default()
    }
}

/// What libvirt adds at the start, as far as the agent reads it: aliases and ports of displays.
fn live(defined: &DomainXml) -> DomainXml {
    let mut live = defined.clone();
    let mut disks = 0;
    for device in live.devices_mut().elements_mut() {
        match device.name.as_str() {
            "disk" if device.child("alias").is_none() => {
                device
                    .child_or_add("alias")
                    .set_attribute("name", format!("disk{disks}"));
                disks += 1;
            }
            "graphics" => device.set_attribute("port", "5900"),
            _ => {}
        }
    }
    live
}
