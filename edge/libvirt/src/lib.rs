//! The only crate that links libvirt: a safe layer with deadlines.
//!
//! [`Libvirt`] implements [`vm_model::ports::Hypervisor`].
#![deny(unsafe_code)]

mod calls;
mod config;
mod host;

pub use calls::Libvirt;
pub use config::{Credentials, Deadlines, LibvirtConfig};
pub use host::{DomainCapabilitiesQuery, NodeInfo, Version, Versions};
