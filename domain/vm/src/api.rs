//! What callers hand in and get back: plain data, no wire.

use std::{fmt, sync::Arc, time::Duration};

use vm_model::{
    events::{Clock, VmEvents},
    exit::ExitInfo,
    ports::{Hypervisor, VmId, Volumes},
    preprocess::HostOptions,
    status::VmStatus,
};

/// The world as the manager sees it.
#[derive(Clone)]
pub struct Ports {
    /// libvirt.
    pub hypervisor: Arc<dyn Hypervisor>,
    /// Storage.
    pub volumes: Arc<dyn Volumes>,
    /// Who hears of changes.
    pub events: Arc<dyn VmEvents>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// What domain XML must know of the host. Asked for each VM that is created: it may wait until it is known
    /// whether KVM works.
    pub host: Arc<dyn Fn() -> HostOptions + Send + Sync>,
}

/// `VM.create`. Not printed: the XML may hold the password of a display.
#[derive(Clone, PartialEq, Eq)]
pub struct CreateRequest {
    /// `vmID`, if given: must be the one in the XML.
    pub vm_id: Option<VmId>,
    /// `vmParams.xml`.
    pub xml: String,
    /// Leave the CPUs stopped. The XML's metadata (`launchPaused`) may ask for it too.
    pub launch_paused: bool,
}

impl fmt::Debug for CreateRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateRequest")
            .field("vm_id", &self.vm_id)
            .finish_non_exhaustive()
    }
}

/// Answer of `VM.create`: the VM is accepted; its start goes on. Not printed, as the request.
#[derive(Clone, PartialEq, Eq)]
pub struct CreateAnswer {
    /// `vmId`, `status` (`WaitForLaunch`), `statusTime`.
    pub info: VmInfo,
    /// `xml`, as it was given.
    pub xml: String,
}

impl fmt::Debug for CreateAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateAnswer")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

/// Entry of `Host.getVMList` and `Host.getVMFullList`, answer of `VM.getInfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmInfo {
    /// `vmId`.
    pub vm_id: VmId,
    /// `status`. As upstream this is the state of the domain (`Up`), while statistics and events
    /// also tell what the guest does (`Powering up`).
    pub status: VmStatus,
    /// `statusTime`, written as string.
    pub status_time_ms: u64,
}

/// `VM.shutdown`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShutdownRequest {
    /// Grace for the user before anything happens; only agents that can tell users use it.
    pub delay: Duration,
    /// For the user.
    pub message: String,
    /// Restart instead.
    pub reboot: bool,
    /// How long each method (agent, ACPI) may take before the next is tried.
    pub timeout: Duration,
    /// At last end (or reset) it by force.
    pub force: bool,
}

/// A picture of the console.
pub type Screenshot = vm_model::ports::Screenshot;

/// What the manager must know of the host and its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmConfig {
    /// Time between two samples (`vars/vm_sample_interval`, 15 s).
    pub sample_interval: Duration,
    /// Time between two looks at the sizes of a VM's disks (upstream's `irs/vol_size_sample_interval`, 60 s).
    pub size_interval: Duration,
    /// Without a sample or answer for this long `monitorResponse` is -1 (`vars/vm_command_timeout`, 60 s).
    pub monitor_timeout: Duration,
    /// How long a verb waits for its turn on a VM that another verb holds.
    pub verb_timeout: Duration,
    /// A VM that paused on an I/O error longer ago than this may be ended (`vars/vm_kill_paused_time`, 80 s).
    pub kill_paused_after: Duration,
}

/// What recovery found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoverReport {
    /// VMs that run.
    pub running: Vec<VmId>,
    /// VMs that ended while nobody looked, listed as `Down`.
    pub down: Vec<(VmId, ExitInfo)>,
    /// VMs that were never started; their domains and volumes are taken back.
    pub undone: Vec<VmId>,
    /// Domains of others, left alone.
    pub external: Vec<VmId>,
}

/// How many VMs there are, for `Host.getStats`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VmCounts {
    /// `vmCount`: all that are listed.
    pub total: u32,
    /// `vmActive`: those that are neither `Down` nor waiting for their launch.
    pub active: u32,
}
