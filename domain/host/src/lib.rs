//! What the host is and does: capabilities, hardware, statistics.
//!
//! Pure functions from facts (`host-model`) and a few inputs of the caller to the answers of
//! `Host.getCapabilities`, `Host.getHardwareInfo` and `Host.getStats`. The answers serialise to the names and
//! types that oVirt Engine parses: numbers as strings where it wants strings, absent where nothing is known
//! (a null is worse to it than an absent key). The only state is [`Sampler`]: the last two samples.
//!
//! Look next: `inputs.rs`, `capabilities.rs`, `interfaces.rs` (its network part), `hypervisor.rs` (what libvirt's XML tells),
//! `stats.rs`, `hardware.rs`.
#![forbid(unsafe_code)]

mod capabilities;
mod error;
mod format;
mod hardware;
mod hypervisor;
mod inputs;
mod interfaces;
mod stats;

pub use capabilities::{
    Capabilities, CpuPlace, Hba, HbaInventory, NodeMemory, NodePages, OperatingSystem, PackageInfo,
    Selinux, cluster_levels,
};
pub use error::HostError;
pub use hardware::HardwareInfo;
pub use hypervisor::{Hypervisor, LibvirtVersion};
pub use inputs::{Features, Inputs, Settings, Version};
pub use interfaces::{BondInfo, BridgeInfo, Ip, NicInfo, VlanInfo};
pub use stats::{
    CoreStats, DiskFree, DomainHealth, DomainReport, FreePages, HaStats, HostStats, HugePageCounts,
    LinkStats, Live, NodeFree, Sampler, VmCounts,
};
