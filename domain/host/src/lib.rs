//! What the host is and does: capabilities, hardware, statistics, fencing of others.
//!
//! Pure functions from facts (`host-model`) and a few inputs of the caller to what the verbs of the host answer:
//! [`Capabilities`], [`HardwareInfo`], [`HostStats`]. They know nothing of the wire: numbers are numbers, what is
//! not known is `None`. The only state is [`Sampler`]: the last two samples.
//!
//! Look next: `inputs.rs`, `capabilities.rs`, `optional.rs` (what the host may lack), `hypervisor.rs` (what libvirt's
//! XML tells), `stats.rs`, `hardware.rs`.
#![forbid(unsafe_code)]

mod capabilities;
mod error;
pub mod fence;
mod hardware;
mod hypervisor;
mod inputs;
mod optional;
mod stats;

pub use capabilities::{Capabilities, CpuCounts, cluster_levels};
pub use error::HostError;
pub use hardware::HardwareInfo;
pub use hypervisor::{Hypervisor, LibvirtVersion};
pub use inputs::{Features, Inputs, Settings, Version};
pub use optional::{Availability, iscsi, optional};
pub use stats::{CoreStats, HostStats, NodeStats, Sampler, Usage};
