//! [`VmManager`]: the door to all VMs.
//!
//! Verbs run on their callers' threads and take turns per VM; nothing here holds a lock of more than
//! one VM across a call to the hypervisor.

use std::{sync::Arc, thread::JoinHandle, time::Duration};

use uuid::Uuid;
use vm_model::{
    domain::DomainXml,
    error::ModelError,
    ports::{HypervisorResult, VmId, XmlKind},
    preprocess,
    stats::VmStats,
    status::VmStatus,
};

use crate::{
    CreateAnswer, CreateRequest, Ports, RecoverReport, Screenshot, ShutdownRequest, VmConfig,
    VmCounts, VmError, VmInfo, dispatcher, ending, intent,
    machine::{Machine, Verb},
    powerdown,
    publisher::Publisher,
    record::{self, Core, Job, View, Vm},
    recovery, resume, sampler,
    shared::Shared,
    sizes, telling, verbs,
};

/// How long the end of the manager waits for its threads.
const END_PATIENCE: Duration = Duration::from_secs(2);

/// All VMs of this host. Made once; shared by reference (`Send + Sync`).
///
/// Dropping it ends its threads and leaves the domains alone, as the death of the process would.
pub struct VmManager {
    shared: Arc<Shared>,
    publisher: Option<JoinHandle<()>>,
}

impl VmManager {
    /// Starts the threads (events, samples, sizes of volumes, publisher). Until [`VmManager::recover`] has run through,
    /// every verb answers [`VmError::Recovering`]. An error says that there are no threads.
    pub fn new(config: VmConfig, ports: Ports) -> std::io::Result<Self> {
        let events = ports.hypervisor.events();
        let (publisher, thread) = Publisher::start(Arc::clone(&ports.events))?;
        let shared = Arc::new(Shared::new(config, ports, publisher));
        let manager = Self {
            shared: Arc::clone(&shared),
            publisher: Some(thread),
        };
        let dispatched = Arc::clone(&shared);
        shared.spawn("vm-events", move || dispatcher::run(&dispatched, &events))?;
        let sampled = Arc::clone(&shared);
        shared.spawn("vm-samples", move || sampler::run(&sampled))?;
        let measured = Arc::clone(&shared);
        shared.spawn("vm-sizes", move || sizes::run(&measured))?;
        Ok(manager)
    }

    /// Are VMs still being found? Every verb of the API answers code 99 then.
    pub fn is_recovering(&self) -> bool {
        self.shared.is_recovering()
    }

    /// Finds what runs, from libvirt alone; takes back what was never started. To be called again
    /// (after a pause) if it fails: [`VmManager::is_recovering`] stays true then.
    pub fn recover(&self) -> Result<RecoverReport, VmError> {
        recovery::recover(&self.shared)
    }

    /// Prepares the volumes of VMs that run (idempotent, best effort): to be called when their pool
    /// is connected after a recovery. Gives back those that failed.
    pub fn prepare_recovered(&self) -> Vec<(VmId, String)> {
        let mut failed = Vec::new();
        for vm in self.shared.all() {
            // Nobody takes them back meanwhile.
            let Some(_turn) = vm.ending.take(self.shared.config.verb_timeout) else {
                continue;
            };
            let volumes = {
                let core = vm.core();
                if core.machine.is_running() {
                    core.volumes.clone()
                } else {
                    Vec::new()
                }
            };
            for volume in volumes {
                if let Err(error) = self.shared.users.prepare(&volume, vm.id) {
                    failed.push((vm.id, error.to_string()));
                }
            }
            // Before, they may not have been found.
            vm.core().sizes.hurry();
        }
        failed
    }

    /// `VM.create`: accepts the VM; its start goes on on a thread and is told by events.
    ///
    /// Errors: [`VmError::VmExists`], [`VmError::BadXml`], [`VmError::MissingParameter`],
    /// [`VmError::NotBuilt`]; failures of the start itself become `Down` with an exit message.
    pub fn create(&self, request: CreateRequest) -> Result<CreateAnswer, VmError> {
        if self.is_recovering() {
            return Err(VmError::Recovering);
        }
        if request.xml.trim().is_empty() {
            return Err(VmError::MissingParameter("xml"));
        }
        let given = DomainXml::parse(&request.xml).map_err(bad_xml)?;
        let id = given.id();
        if let Some(asked) = request.vm_id.filter(|asked| *asked != id) {
            return Err(VmError::BadXml(format!("its uuid is {id}, not {asked}")));
        }
        if self.shared.find(id).is_some() {
            return Err(VmError::VmExists(id));
        }
        let mut prepared = given.clone();
        preprocess::prepare(&mut prepared, &self.shared.host_options()).map_err(bad_xml)?;
        let view = View::of(&prepared).map_err(bad_xml)?;
        let now = record::now(&self.shared.ports);
        let mut core = Core::new(Machine::launching(now), request.xml.clone(), view, now);
        core.metadata = prepared.metadata();
        core.launch_paused = request.launch_paused || intent::launch_paused(&core.metadata);
        let vm = self.shared.add(id, core)?;
        let info = vm.info_with(VmStatus::WaitForLaunch);
        vm.order(&mut vm.core(), Job::Launch);
        tracing::info!(vm = %id, "VM accepted");
        Ok(CreateAnswer {
            info,
            xml: request.xml,
        })
    }

    /// `Host.getVMList`: all, or those of `ids` that exist.
    pub fn list(&self, ids: &[VmId]) -> Vec<VmInfo> {
        let vms = self.shared.all();
        vms.iter()
            .filter(|vm| ids.is_empty() || ids.contains(&vm.id))
            .map(|vm| vm.info())
            .collect()
    }

    /// `Host.getVMFullList`: as upstream the same entries as [`VmManager::list`].
    pub fn full_list(&self, ids: &[VmId]) -> Vec<VmInfo> {
        self.list(ids)
    }

    /// `VM.getInfo`.
    pub fn info(&self, id: VmId) -> Result<VmInfo, VmError> {
        Ok(self.shared.vm(id)?.info())
    }

    /// `VM.getStats`, from memory.
    pub fn stats(&self, id: VmId) -> Result<VmStats, VmError> {
        let vm = self.shared.vm(id)?;
        Ok(telling::stats(&vm, self.shared.config.monitor_timeout))
    }

    /// `Host.getAllVmStats`, from memory.
    pub fn all_stats(&self) -> Vec<VmStats> {
        let silent_after = self.shared.config.monitor_timeout;
        self.shared
            .all()
            .iter()
            .map(|vm| telling::stats(vm, silent_after))
            .collect()
    }

    /// For `Host.getStats`.
    pub fn counts(&self) -> VmCounts {
        let mut counts = VmCounts::default();
        for vm in self.shared.all() {
            counts.total += 1;
            let status = vm.core().machine.domain_status();
            if !matches!(status, VmStatus::Down | VmStatus::WaitForLaunch) {
                counts.active += 1;
            }
        }
        counts
    }

    /// `Host.dumpxmls`: the live XML of each (all, if none is named), the last one known where the
    /// domain does not run or answer.
    pub fn dump_xmls(&self, ids: &[VmId]) -> Result<Vec<(VmId, String)>, VmError> {
        let vms = if ids.is_empty() {
            self.shared.all()
        } else {
            ids.iter()
                .map(|id| self.shared.vm(*id))
                .collect::<Result<_, _>>()?
        };
        Ok(vms.iter().map(|vm| (vm.id, self.dump_xml(vm))).collect())
    }

    fn dump_xml(&self, vm: &Vm) -> String {
        let (running, silent, known) = {
            let core = vm.core();
            let known = core
                .view
                .xml
                .clone()
                .unwrap_or_else(|| masked(&core.given_xml));
            (core.machine.is_running(), core.monitor.timed_out, known)
        };
        if !running || silent {
            return known;
        }
        match self.shared.ports.hypervisor.xml(vm.id, XmlKind::Live) {
            Ok(xml) => xml,
            Err(error) => {
                tracing::debug!(vm = %vm.id, %error, "XML as last known");
                known
            }
        }
    }

    /// `VM.pause`.
    pub fn pause(&self, id: VmId) -> Result<(), VmError> {
        let hypervisor = &self.shared.ports.hypervisor;
        self.act(id, Verb::Pause, || hypervisor.suspend(id))
    }

    /// `VM.cont`. One that runs already is content.
    pub fn cont(&self, id: VmId) -> Result<(), VmError> {
        verbs::cont(&self.shared, &*self.shared.vm(id)?)
    }

    /// `VM.reset`.
    pub fn reset(&self, id: VmId) -> Result<(), VmError> {
        let hypervisor = &self.shared.ports.hypervisor;
        self.act(id, Verb::Reset, || hypervisor.reset(id))
    }

    /// `VM.shutdown`: answers at once; agent, ACPI and, if forced, the end follow on a thread.
    pub fn shutdown(&self, id: VmId, request: ShutdownRequest) -> Result<(), VmError> {
        let vm = self.shared.vm(id)?;
        let verb = if request.reboot {
            Verb::Reboot
        } else {
            Verb::Shutdown
        };
        verbs::check(&vm, verb)?;
        powerdown::begin(&self.shared, &vm, verb, request)
    }

    /// `VM.destroy`: ends the domain (gracefully for `graceful_attempts` times first), takes its
    /// volumes back, removes its definition and forgets it.
    pub fn destroy(&self, id: VmId, graceful_attempts: u32) -> Result<(), VmError> {
        let vm = self.shared.vm(id)?;
        ending::destroy(&self.shared, &vm, graceful_attempts)
    }

    /// `VM.screenshot`: picture of the first console, in the hypervisor's format.
    pub fn screenshot(&self, id: VmId) -> Result<Screenshot, VmError> {
        let hypervisor = &self.shared.ports.hypervisor;
        self.act(id, Verb::Screenshot, || hypervisor.screenshot(id))
    }

    /// Storage domain `domain` is there again: VMs with a disk on it that paused on an I/O error run
    /// on, stay paused, or end, as their `resumeBehavior` says. Each is dealt with on its own thread;
    /// gives back those.
    pub fn resume_after_io_error(&self, domain: Uuid) -> Vec<VmId> {
        let vms = self.shared.all();
        let asked = vms.iter().filter(|vm| resume::order(vm, domain));
        asked.map(|vm| vm.id).collect()
    }

    fn act<T>(
        &self,
        id: VmId,
        verb: Verb,
        call: impl FnOnce() -> HypervisorResult<T>,
    ) -> Result<T, VmError> {
        verbs::act(&self.shared, &*self.shared.vm(id)?, verb, call)
    }
}

impl Drop for VmManager {
    fn drop(&mut self) {
        self.shared.end(END_PATIENCE);
        self.shared.publisher.stop();
        if let Some(thread) = self.publisher.take() {
            // Its panic, if it was one, has been told where it happened.
            let _ = thread.join();
        }
    }
}

/// XML as libvirt would show it: without passwords of displays.
fn masked(xml: &str) -> String {
    let Ok(mut domain) = DomainXml::parse(xml) else {
        return String::new();
    };
    for display in domain
        .devices_mut()
        .elements_mut()
        .filter(|e| e.name == "graphics")
    {
        display.remove_attribute("passwd");
    }
    domain.to_string()
}

fn bad_xml(error: ModelError) -> VmError {
    match error {
        ModelError::NotBuilt(what) => VmError::NotBuilt(what),
        error => VmError::BadXml(error.to_string()),
    }
}
