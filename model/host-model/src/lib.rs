//! Facts of a host as data: what the kernel, the hypervisor and a few files tell.
//!
//! `edge/observe` fills them, `domain/host` turns them into the answers of the API; neither knows the other.
//! Pure data: absent facts are `None` or empty, never a made-up value. [`Facts`] changes slowly (read for
//! capabilities), [`Sample`] is taken every few seconds (two of them make statistics).
//!
//! Beside facts there is [`HostPort`]: how hosts and ports are written wherever they are.
//!
//! Look next: `sample.rs` for samples; `parts.rs` for what
//! is optional; `address.rs` for `host:port`.
#![forbid(unsafe_code)]

mod address;
mod parts;
mod sample;

use std::collections::BTreeMap;

pub use address::{Host, HostError, HostPort, HostPortError, Zone};
pub use parts::{Part, Parts, Place};
pub use sample::{CpuTimes, Sample};

/// What a host is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// Processor as the kernel names it.
    pub cpu: CpuInfo,
    /// CPUs that are online, by number.
    pub cpus: Vec<Cpu>,
    /// NUMA nodes; a host without NUMA has one.
    pub numa: Vec<NumaNode>,
    /// `kernel.numa_balancing`: `Some(0)` off, `Some(1)` on, `None` not told.
    pub numa_balancing: Option<u32>,
    /// `/proc/meminfo`.
    pub memory: Memory,
    /// Sizes of huge pages (KiB) and their counts.
    pub hugepages: BTreeMap<u64, HugePages>,
    /// Kernel.
    pub kernel: Kernel,
    /// Distribution.
    pub os: Os,
    /// Installed packages that matter.
    pub packages: Packages,
    /// What the firmware tells of the machine.
    pub dmi: Dmi,
    /// Id from `/etc/vdsm/vdsm.id`.
    pub vdsm_id: Option<String>,
    /// `/sys/devices/system/cpu/vulnerabilities`: name and text.
    pub vulnerabilities: BTreeMap<String, String>,
    /// SELinux: `Some(1)` enforcing, `Some(0)` permissive, `None` off or not there.
    pub selinux: Option<u32>,
    /// FIPS mode.
    pub fips: bool,
    /// kdump, see [`Kdump`].
    pub kdump: Kdump,
    /// Can KVM guests run guests themselves?
    pub nested: bool,
    /// Are devices behind an IOMMU, so that they can be passed to guests?
    pub iommu: bool,
    /// Sources of random numbers for guests: `random`, `hwrng`.
    pub rng_sources: Vec<String>,
    /// Name of the iSCSI initiator.
    pub iscsi_initiator: Option<String>,
    /// Fibre Channel host adapters.
    pub fc_hosts: Vec<FcHost>,
    /// UUID of the file system that holds `/boot`.
    pub boot_uuid: Option<String>,
    /// `vnc_tls = 1` in libvirt's `qemu.conf`; `None` where the file cannot be read.
    pub vnc_tls: Option<bool>,
    /// CPUs that this process may use.
    pub affinity: Vec<u32>,
    /// What is optional, and there.
    pub parts: Parts,
}

/// `/proc/cpuinfo`, of the first processor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuInfo {
    /// `model name` or what stands for it on this architecture.
    pub model: Option<String>,
    /// `flags`.
    pub flags: Vec<String>,
    /// MHz as the kernel writes it, e.g. `2599.998`.
    pub mhz: Option<String>,
}

/// One online CPU.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cpu {
    /// Its number.
    pub id: u32,
    /// NUMA node.
    pub node: u32,
    /// `physical_package_id`.
    pub socket: u32,
    /// `die_id`.
    pub die: u32,
    /// `core_id`.
    pub core: u32,
}

/// One NUMA node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NumaNode {
    /// Its number.
    pub id: u32,
    /// Its CPUs.
    pub cpus: Vec<u32>,
    /// Memory, KiB.
    pub total_kib: u64,
    /// Free memory, KiB.
    pub free_kib: u64,
    /// Size of a page (KiB, the base page among them) and counts.
    pub pages: BTreeMap<u64, PageCount>,
    /// Distances to all nodes, in order of their numbers.
    pub distances: Vec<u32>,
}

/// Pages of one size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PageCount {
    /// All.
    pub total: u64,
    /// Free.
    pub free: u64,
}

/// `/proc/meminfo`, KiB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// `MemTotal`.
    pub total: u64,
    /// `MemFree`.
    pub free: u64,
    /// `Cached`.
    pub cached: u64,
    /// `Buffers`.
    pub buffers: u64,
    /// `SReclaimable`.
    pub reclaimable: u64,
    /// `SwapTotal`.
    pub swap_total: u64,
    /// `SwapFree`.
    pub swap_free: u64,
    /// `AnonHugePages`.
    pub anon_huge: u64,
}

impl Memory {
    /// Memory that is free or would be if asked for, KiB, as VDSM counts it.
    pub fn available(&self) -> u64 {
        [self.free, self.cached, self.buffers, self.reclaimable]
            .into_iter()
            .fold(0, u64::saturating_add)
            .min(self.total)
    }
}

/// `/sys/kernel/mm/hugepages/hugepages-<size>kB`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HugePages {
    /// `free_hugepages`.
    pub free: u64,
    /// `nr_hugepages`.
    pub total: u64,
    /// `nr_hugepages_mempolicy`.
    pub mempolicy: u64,
    /// `nr_overcommit_hugepages`.
    pub overcommit: u64,
    /// `resv_hugepages`.
    pub reserved: u64,
    /// `surplus_hugepages`.
    pub surplus: u64,
}

/// The running kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kernel {
    /// `uname -r`.
    pub release: String,
    /// `uname -v`.
    pub version: String,
    /// `uname -m`, e.g. `x86_64`.
    pub machine: String,
    /// `/proc/cmdline`.
    pub command_line: String,
}

/// The distribution.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Os {
    /// VDSM's name of it: `Debian`, `RHEL`, `Fedora`, `oVirt Node`, `unknown`.
    pub name: String,
    /// `12.11`.
    pub version: String,
    /// Release of the release package, where there is such a thing.
    pub release: String,
    /// `PRETTY_NAME` of os-release.
    pub pretty_name: String,
}

/// Installed packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packages {
    /// VDSM's name of the package (`libvirt`, `qemu-kvm`, ...) and its version.
    Known(BTreeMap<String, PackageVersion>),
    /// Why they are not known.
    Unknown(String),
}

impl Default for Packages {
    fn default() -> Self {
        Self::Unknown("not read".to_owned())
    }
}

/// Version of a package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackageVersion {
    /// Version of the software.
    pub version: String,
    /// Release of the package.
    pub release: String,
}

/// `/sys/class/dmi/id`; what is not readable (serial and UUID need root) is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dmi {
    /// `sys_vendor`.
    pub manufacturer: Option<String>,
    /// `product_name`.
    pub product: Option<String>,
    /// `product_version`.
    pub version: Option<String>,
    /// `product_serial`.
    pub serial: Option<String>,
    /// `product_uuid`.
    pub uuid: Option<String>,
    /// `product_family`.
    pub family: Option<String>,
}

/// State of kdump.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kdump {
    /// Not known.
    #[default]
    Unknown,
    /// No crash kernel, or not set up for fencing.
    Disabled,
    /// Crash kernel loaded and `fence_kdump` set up.
    Enabled,
}

/// `/sys/class/fc_host/<host>`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FcHost {
    /// World-wide node name, without `0x`.
    pub wwnn: String,
    /// World-wide port name, without `0x`.
    pub wwpn: String,
    /// Model and description, if told.
    pub model: String,
}
