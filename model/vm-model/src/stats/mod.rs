//! Statistics of a VM: the types that answers carry; [`compute`] makes them from two samples.
//!
//! Names in the comments are the keys of the wire (upstream's `vmstats.py`, `vm.py`). A field of
//! type `String` holds exactly the text of the wire; other fields say how they are written.

pub mod compute;

use crate::{
    exit::ExitInfo,
    ports::VmId,
    status::{PauseCode, VmStatus},
};

/// One entry of `Host.getAllVmStats` or `VM.getStats`.
#[derive(Debug, Clone, PartialEq)]
pub struct VmStats {
    /// `vmId`.
    pub vm_id: VmId,
    /// `statusTime`, written as string.
    pub status_time_ms: u64,
    /// `status`.
    pub status: VmStatus,
    /// The rest.
    pub body: StatsBody,
}

/// What is told depends on whether the VM lives.
#[derive(Debug, Clone, PartialEq)]
pub enum StatsBody {
    /// Status is [`VmStatus::Down`].
    Down {
        /// `exitCode`, `exitMessage`, `exitReason`.
        exit: ExitInfo,
        /// `timeOffset`, seconds, as string; absent if never told.
        time_offset: Option<i64>,
    },
    /// Any other status.
    Alive {
        /// What does not change.
        config: ConfigStats,
        /// What does.
        running: Box<RunningStats>,
        /// What the guest agent tells.
        guest: GuestInfo,
    },
}

/// What does not change after the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigStats {
    /// `vmName`.
    pub vm_name: String,
    /// `vmType`: `kvm` or `qemu`.
    pub vm_type: String,
    /// `kvmEnable`: `"true"`, as upstream whatever the accelerator.
    pub kvm_enable: bool,
    /// `acpiEnable`: `"true"` or `"false"`.
    pub acpi_enable: bool,
}

/// What changes while a VM runs; also the detail of the event that tells of its start.
#[derive(Debug, Clone, PartialEq)]
pub struct RunningStats {
    /// `elapsedTime`: seconds since start, written as string.
    pub elapsed_seconds: u64,
    /// `monitorResponse`: `"0"`, or `"-1"` where the domain does not answer.
    pub monitor_response: i32,
    /// `clientIp` of the console; may be empty.
    pub client_ip: String,
    /// `timeOffset`, seconds, written as string.
    pub time_offset: i64,
    /// `pauseCode`; absent where it is not known or not paused.
    pub pause_code: Option<PauseCode>,
    /// `cpuUser`, `cpuSys`, `cpuUsage`, `cpuActual`.
    pub cpu: CpuStats,
    /// `balloonInfo`; absent without samples or balloon device.
    pub balloon: Option<BalloonInfo>,
    /// `vcpuCount`, written as string; absent without samples.
    pub vcpu_count: Option<u32>,
    /// `network`: map by interface name; absent if empty.
    pub networks: Vec<NicStats>,
    /// `disks`: map by drive name; absent if empty.
    pub disks: Vec<DiskStats>,
    /// `memoryStats`; absent where the balloon driver tells nothing.
    pub memory: Option<MemoryStats>,
    /// `displayInfo`.
    pub display_info: Vec<DisplayInfo>,
    /// `hash` of the devices' XML; absent before the domain runs.
    pub hash: Option<String>,
    /// `watchdogEvent`.
    pub watchdog: Option<WatchdogInfo>,
    /// `vcpuQuota`, a string on the wire.
    pub vcpu_quota: Option<i64>,
    /// `vcpuPeriod`, a number on the wire.
    pub vcpu_period: Option<u64>,
}

/// `cpu*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuStats {
    /// `cpuUser`: percent of one CPU, two decimals.
    pub user: String,
    /// `cpuSys`: percent of one CPU, two decimals.
    pub sys: String,
    /// `cpuUsage`: nanoseconds of CPU time so far; `0.00` without samples.
    pub usage: String,
    /// `cpuActual` (a boolean on the wire): do the others hold measured values?
    pub actual: bool,
}

/// `balloonInfo`, KiB, all written as strings except `ballooning_enabled`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BalloonInfo {
    /// `balloon_max`.
    pub max: u64,
    /// `balloon_min`.
    pub min: u64,
    /// `balloon_cur`.
    pub cur: u64,
    /// `balloon_target`.
    pub target: u64,
    /// `ballooning_enabled`, a boolean on the wire.
    pub enabled: bool,
}

/// One entry of `network`.
#[derive(Debug, Clone, PartialEq)]
pub struct NicStats {
    /// `name` and the key.
    pub name: String,
    /// `macAddr`.
    pub mac_addr: String,
    /// `speed`, Mbit/s, as string.
    pub speed: u32,
    /// `state`: `unknown`.
    pub state: &'static str,
    /// `rxErrors`, as string; like all that follow absent where libvirt tells nothing.
    pub rx_errors: Option<u64>,
    /// `rxDropped`, as string.
    pub rx_dropped: Option<u64>,
    /// `txErrors`, as string.
    pub tx_errors: Option<u64>,
    /// `txDropped`, as string.
    pub tx_dropped: Option<u64>,
    /// `rx`, bytes, as string.
    pub rx: Option<u64>,
    /// `tx`, bytes, as string.
    pub tx: Option<u64>,
    /// `sampleTime`: seconds since boot, a double on the wire.
    pub sample_time: f64,
}

/// One entry of `disks`. All strings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskStats {
    /// The key: `vda`.
    pub name: String,
    /// `truesize`, bytes.
    pub truesize: u64,
    /// `apparentsize`, bytes.
    pub apparentsize: u64,
    /// `readLatency`, nanoseconds per operation.
    pub read_latency: String,
    /// `writeLatency`, nanoseconds per operation.
    pub write_latency: String,
    /// `flushLatency`, nanoseconds per operation.
    pub flush_latency: String,
    /// `readOps`.
    pub read_ops: u64,
    /// `writeOps`.
    pub write_ops: u64,
    /// `readBytes`.
    pub read_bytes: u64,
    /// `writtenBytes`.
    pub written_bytes: u64,
    /// `readRate`, bytes per second.
    pub read_rate: String,
    /// `writeRate`, bytes per second.
    pub write_rate: String,
    /// `imageID`, for images of oVirt storage.
    pub image_id: Option<uuid::Uuid>,
    /// `lunGUID`, for LUNs.
    pub lun_guid: Option<String>,
}

/// `memoryStats`. `mem_*` are strings, the others numbers on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryStats {
    /// `mem_total`, KiB.
    pub total: u64,
    /// `mem_unused`, KiB.
    pub unused: u64,
    /// `mem_free`: unused and caches, KiB.
    pub free: u64,
    /// The figures per second; absent with less than two samples.
    pub rates: Option<MemoryRates>,
}

/// Figures per second within `memoryStats`, all numbers on the wire; `pageflt` is the sum of both faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryRates {
    /// `swap_in`.
    pub swap_in: i64,
    /// `swap_out`.
    pub swap_out: i64,
    /// `majflt`.
    pub major_faults: i64,
    /// `minflt`.
    pub minor_faults: i64,
}

/// One entry of `displayInfo`. All strings, empty where not set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisplayInfo {
    /// `type`: `vnc` or `spice`.
    pub kind: String,
    /// `port`.
    pub port: String,
    /// `tlsPort`.
    pub tls_port: String,
    /// `ipAddress`.
    pub ip_address: String,
}

/// `watchdogEvent`.
#[derive(Debug, Clone, PartialEq)]
pub struct WatchdogInfo {
    /// `time`: seconds since 1970, a double on the wire.
    pub time: f64,
    /// `action`: `Reset`, `Poweroff`, ...
    pub action: &'static str,
}

/// What the guest agent tells; without one, upstream's placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestInfo {
    /// `username`.
    pub username: String,
    /// `session`.
    pub session: String,
    /// `memUsage`: percent, as string.
    pub mem_usage: u32,
    /// `guestCPUCount`: a number, -1 where not known.
    pub cpu_count: i32,
    /// `appsList`.
    pub apps: Vec<String>,
    /// `guestIPs`.
    pub ips: String,
    /// `guestFQDN`.
    pub fqdn: String,
}

impl Default for GuestInfo {
    fn default() -> Self {
        Self {
            username: "Unknown".to_owned(),
            session: "Unknown".to_owned(),
            mem_usage: 0,
            cpu_count: -1,
            apps: Vec::new(),
            ips: String::new(),
            fqdn: String::new(),
        }
    }
}
