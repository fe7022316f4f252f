//! The ports through which the VM policy reaches the world.
//!
//! Ports are blocking on purpose: libvirt and files block, so their callers own threads; async ends
//! at the wire. Every implementation bounds each call by a deadline of its own and answers
//! [`HypervisorError::TimedOut`] when it passes; a hung domain must not delay calls on others.
//!
//! Implemented by `edge/libvirt` (for real) and `lab/sim` (stateful fakes); `Volumes` is implemented
//! in `bin/vdsmd`, which joins the VM domain with the storage domain.

use std::{path::PathBuf, sync::mpsc, time::Duration};

use uuid::Uuid;

/// The id of a VM: the UUID of its libvirt domain.
pub type VmId = Uuid;

/// State of a domain and libvirt's reason for it (`virDomainState`, `virDomain*Reason`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DomainState {
    /// What the domain does.
    pub state: DomainRunState,
    /// The `virDomain*Reason` number that goes with `state`.
    pub reason: i32,
}

/// `virDomainState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DomainRunState {
    /// No state known.
    NoState,
    /// Running.
    Running,
    /// Blocked on a resource.
    Blocked,
    /// Paused.
    Paused,
    /// Being shut down.
    Shutdown,
    /// Shut off.
    Shutoff,
    /// Crashed.
    Crashed,
    /// Suspended by guest power management.
    PmSuspended,
}

/// One domain of the hypervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainSummary {
    /// Its UUID.
    pub id: VmId,
    /// Its name.
    pub name: String,
    /// What it does now.
    pub state: DomainState,
}

/// Which XML of a domain to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XmlKind {
    /// The live configuration.
    Live,
    /// The configuration of the next start.
    Inactive,
}

/// How a guest is asked to shut down or restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestRequest {
    /// Through the QEMU guest agent.
    Agent,
    /// Through ACPI.
    Acpi,
}

/// What the hypervisor tells of a domain, in the order in which it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HypervisorEvent {
    /// `VIR_DOMAIN_EVENT_ID_LIFECYCLE`: event and detail numbers are libvirt's.
    Lifecycle {
        /// The domain.
        id: VmId,
        /// `virDomainEventType`.
        event: LifecycleEvent,
        /// `virDomainEvent*DetailType` of that event.
        detail: i32,
    },
    /// `VIR_DOMAIN_EVENT_ID_REBOOT`.
    Reboot {
        /// The domain.
        id: VmId,
    },
    /// `VIR_DOMAIN_EVENT_ID_RTC_CHANGE`: seconds by which the guest's clock is off.
    RtcChange {
        /// The domain.
        id: VmId,
        /// Offset from UTC in seconds.
        offset: i64,
    },
    /// `VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON`.
    IoError {
        /// The domain.
        id: VmId,
        /// The disk's path.
        path: String,
        /// The disk's alias.
        alias: String,
        /// `virDomainEventIOErrorAction`.
        action: i32,
        /// `enospc`, `eperm`, ... or empty.
        reason: String,
    },
    /// `VIR_DOMAIN_EVENT_ID_WATCHDOG`.
    Watchdog {
        /// The domain.
        id: VmId,
        /// `virDomainEventWatchdogAction`.
        action: i32,
    },
    /// `VIR_DOMAIN_EVENT_ID_GRAPHICS`: `phase` is `virDomainEventGraphicsPhase`.
    Graphics {
        /// The domain.
        id: VmId,
        /// 0 connect, 1 initialize, 2 disconnect.
        phase: i32,
        /// Address of the client.
        remote: String,
    },
    /// The connection was lost and is there again: re-read everything; events may be missing.
    Reconnected,
}

/// `virDomainEventType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LifecycleEvent {
    /// Defined.
    Defined,
    /// Undefined.
    Undefined,
    /// Started.
    Started,
    /// Suspended.
    Suspended,
    /// Resumed.
    Resumed,
    /// Stopped.
    Stopped,
    /// Shutdown began.
    Shutdown,
    /// Suspended by guest power management.
    PmSuspended,
    /// The guest crashed.
    Crashed,
}

/// One sample of a domain (`virConnectGetAllDomainStats`); `None` or absent where libvirt told nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DomainStats {
    /// The domain.
    pub id: VmId,
    /// State, if told.
    pub state: Option<DomainState>,
    /// CPU time used by all of the domain's threads, nanoseconds (`cpu.time`).
    pub cpu_time_ns: Option<u64>,
    /// User CPU time, nanoseconds (`cpu.user`).
    pub cpu_user_ns: Option<u64>,
    /// System CPU time, nanoseconds (`cpu.system`).
    pub cpu_system_ns: Option<u64>,
    /// Online virtual CPUs (`vcpu.current`).
    pub vcpu_current: Option<u32>,
    /// Most virtual CPUs (`vcpu.maximum`).
    pub vcpu_maximum: Option<u32>,
    /// Per virtual CPU: time in nanoseconds and, if told, wait time.
    pub vcpus: Vec<VcpuStats>,
    /// Balloon figures, KiB.
    pub balloon: BalloonStats,
    /// Per NIC.
    pub nets: Vec<NetStats>,
    /// Per disk.
    pub blocks: Vec<BlockStats>,
}

/// `vcpu.<n>.*`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct VcpuStats {
    /// Number of the virtual CPU.
    pub index: u32,
    /// `virVcpuState`.
    pub state: Option<i32>,
    /// Nanoseconds run.
    pub time_ns: Option<u64>,
    /// Nanoseconds waited.
    pub wait_ns: Option<u64>,
}

/// `balloon.*`, KiB.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BalloonStats {
    /// `balloon.current`.
    pub current: Option<u64>,
    /// `balloon.maximum`.
    pub maximum: Option<u64>,
    /// `balloon.rss`.
    pub rss: Option<u64>,
    /// `balloon.available`.
    pub available: Option<u64>,
    /// `balloon.unused`.
    pub unused: Option<u64>,
    /// `balloon.usable`.
    pub usable: Option<u64>,
    /// `balloon.disk_caches`.
    pub disk_caches: Option<u64>,
    /// `balloon.swap_in`.
    pub swap_in: Option<u64>,
    /// `balloon.swap_out`.
    pub swap_out: Option<u64>,
    /// `balloon.major_fault`.
    pub major_fault: Option<u64>,
    /// `balloon.minor_fault`.
    pub minor_fault: Option<u64>,
}

/// `net.<n>.*`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NetStats {
    /// Name of the host's interface.
    pub name: String,
    /// Bytes received.
    pub rx_bytes: Option<u64>,
    /// Packets received.
    pub rx_pkts: Option<u64>,
    /// Receive errors.
    pub rx_errs: Option<u64>,
    /// Received packets dropped.
    pub rx_drop: Option<u64>,
    /// Bytes sent.
    pub tx_bytes: Option<u64>,
    /// Packets sent.
    pub tx_pkts: Option<u64>,
    /// Send errors.
    pub tx_errs: Option<u64>,
    /// Packets dropped on sending.
    pub tx_drop: Option<u64>,
}

/// `block.<n>.*`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BlockStats {
    /// Target name in the guest (`vda`).
    pub name: String,
    /// Path, if it has one.
    pub path: Option<String>,
    /// Read requests.
    pub rd_reqs: Option<u64>,
    /// Bytes read.
    pub rd_bytes: Option<u64>,
    /// Nanoseconds spent reading.
    pub rd_times: Option<u64>,
    /// Write requests.
    pub wr_reqs: Option<u64>,
    /// Bytes written.
    pub wr_bytes: Option<u64>,
    /// Nanoseconds spent writing.
    pub wr_times: Option<u64>,
    /// Flush requests.
    pub fl_reqs: Option<u64>,
    /// Nanoseconds spent flushing.
    pub fl_times: Option<u64>,
    /// Highest byte written.
    pub allocation: Option<u64>,
    /// Virtual size, bytes.
    pub capacity: Option<u64>,
    /// Size of the container, bytes.
    pub physical: Option<u64>,
}

/// A picture of a console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Screenshot {
    /// The type that the hypervisor named, e.g. `image/x-portable-pixmap` or `image/png`.
    pub mime: String,
    /// The picture.
    pub data: Vec<u8>,
}

/// Why the hypervisor did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HypervisorError {
    /// No domain has that id (`VIR_ERR_NO_DOMAIN`).
    #[error("no domain {0}")]
    NoDomain(VmId),
    /// A domain of that name or id is there already (`VIR_ERR_DOM_EXIST` and kin).
    #[error("domain exists: {0}")]
    Exists(String),
    /// The XML was refused.
    #[error("libvirt refuses the XML: {0}")]
    BadXml(String),
    /// Not possible in the domain's present state (`VIR_ERR_OPERATION_INVALID`).
    #[error("not possible now: {0}")]
    InvalidState(String),
    /// Not answered within the deadline. What was asked may still happen.
    #[error("{what}: no answer within {deadline:?}")]
    TimedOut {
        /// What was asked.
        what: String,
        /// How long it was waited for.
        deadline: Duration,
    },
    /// No connection to the hypervisor now.
    #[error("no connection to libvirt: {0}")]
    Disconnected(String),
    /// The guest agent does not answer (`VIR_ERR_AGENT_UNRESPONSIVE`).
    #[error("guest agent does not answer: {0}")]
    AgentUnresponsive(String),
    /// Anything else, with libvirt's error number and message.
    #[error("libvirt error {code}: {message}")]
    Other {
        /// `virErrorNumber`.
        code: i32,
        /// libvirt's message.
        message: String,
    },
}

/// Answer of the hypervisor.
pub type HypervisorResult<T> = Result<T, HypervisorError>;

/// The hypervisor, in libvirt's terms.
pub trait Hypervisor: Send + Sync {
    /// Defines a persistent domain (`virDomainDefineXMLFlags`, validated by libvirt).
    fn define(&self, xml: &str) -> HypervisorResult<VmId>;
    /// Starts a defined domain; `paused` leaves its CPUs stopped.
    fn start(&self, id: VmId, paused: bool) -> HypervisorResult<()>;
    /// Removes the definition; a running domain becomes transient.
    fn undefine(&self, id: VmId) -> HypervisorResult<()>;
    /// Stops the CPUs.
    fn suspend(&self, id: VmId) -> HypervisorResult<()>;
    /// Lets the CPUs run.
    fn resume(&self, id: VmId) -> HypervisorResult<()>;
    /// Asks the guest to shut down.
    fn shutdown(&self, id: VmId, how: GuestRequest) -> HypervisorResult<()>;
    /// Asks the guest to restart.
    fn reboot(&self, id: VmId, how: GuestRequest) -> HypervisorResult<()>;
    /// Presses the reset button.
    fn reset(&self, id: VmId) -> HypervisorResult<()>;
    /// Ends the domain; `graceful` never kills QEMU with SIGKILL (it may flush first).
    fn destroy(&self, id: VmId, graceful: bool) -> HypervisorResult<()>;
    /// State of one domain.
    fn state(&self, id: VmId) -> HypervisorResult<DomainState>;
    /// All domains, running or only defined.
    fn list(&self) -> HypervisorResult<Vec<DomainSummary>>;
    /// XML of one domain.
    fn xml(&self, id: VmId, kind: XmlKind) -> HypervisorResult<String>;
    /// The element kept under `uri` in the domain's metadata; `None` if there is none.
    fn metadata(&self, id: VmId, uri: &str) -> HypervisorResult<Option<String>>;
    /// Sets (or, with `None`, removes) the element kept under `uri`, live and persistent.
    fn set_metadata(
        &self,
        id: VmId,
        prefix: &str,
        uri: &str,
        xml: Option<&str>,
    ) -> HypervisorResult<()>;
    /// One sample of every running domain; domains that hang are left out.
    fn all_stats(&self) -> HypervisorResult<Vec<DomainStats>>;
    /// Picture of the first console.
    fn screenshot(&self, id: VmId) -> HypervisorResult<Screenshot>;
    /// Events from now on. Each call makes one more independent stream.
    fn events(&self) -> mpsc::Receiver<HypervisorEvent>;
}

/// The four ids that name a volume of oVirt storage (poolID, domainID, imageID, volumeID).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pdiv {
    /// Storage pool.
    pub pool: Uuid,
    /// Storage domain.
    pub domain: Uuid,
    /// Image.
    pub image: Uuid,
    /// Volume.
    pub volume: Uuid,
}

/// One link of a prepared chain, as `volumeChain` in drive metadata wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainLink {
    /// Its ids.
    pub volume: Pdiv,
    /// Path for QEMU.
    pub path: PathBuf,
    /// Its lease, on storage that has leases for volumes.
    pub lease: Option<VolumeLease>,
}

/// Where the lease of a volume lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeLease {
    /// The file.
    pub path: PathBuf,
    /// Offset in that file, bytes.
    pub offset: u64,
}

/// A volume that is ready for use by QEMU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedVolume {
    /// Path for QEMU.
    pub path: PathBuf,
    /// `raw` or `qcow2`.
    pub format: String,
    /// True where the path is a block device.
    pub block: bool,
    /// Chain, base first.
    pub chain: Vec<ChainLink>,
}

/// How big a volume is, as storage tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VolumeSize {
    /// Size of its file, bytes.
    pub apparent: u64,
    /// What of that is allocated, bytes.
    pub allocated: u64,
}

/// Why a volume was not made ready.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VolumesError {
    /// There is none with these ids.
    #[error("volume {volume} of image {image} is not in domain {domain}", volume = .0.volume, image = .0.image, domain = .0.domain)]
    NotFound(Pdiv),
    /// It is there but cannot be used.
    #[error("volume {volume} cannot be used: {why}", volume = .id.volume)]
    Unusable {
        /// Which.
        id: Pdiv,
        /// Why.
        why: String,
    },
}

/// Storage as the VM policy sees it.
pub trait Volumes: Send + Sync {
    /// Makes a volume and its chain ready for QEMU. Idempotent.
    fn prepare(&self, volume: &Pdiv) -> Result<PreparedVolume, VolumesError>;
    /// Takes it back. Idempotent; a volume that is gone is no error.
    fn teardown(&self, volume: &Pdiv) -> Result<(), VolumesError>;
    /// Its size now. May take as long as storage does; needs no preparing.
    fn size(&self, volume: &Pdiv) -> Result<VolumeSize, VolumesError>;
}
