//! The only crate that links libvirt: a safe layer with deadlines.
//!
//! [`Libvirt`] implements [`vm_model::ports::Hypervisor`]. What it adds to libvirt:
//! - a deadline on every call, and a domain that hangs blocks only itself (`gate`, `pool`);
//! - a connection that mends itself, with events that go on (`link`, `fanout`);
//! - libvirt's networks of ours, as one picture kept by events (`networks`);
//! - libvirt's errors and figures as the port's types (`errors`, `stats`, `states`).
//!
//! Everything `unsafe` is beneath `sys`. One thread per process runs libvirt's event loop while a connection lives,
//! one per [`Libvirt`] looks after its connections; calls run on further ones, at most `workers + max_hanging` and two
//! per domain that is being destroyed. Users of `qemu:///session` should set `LIBVIRT_AUTOSTART=0` where the daemon
//! shall not be started by the connection.
#![deny(unsafe_code)]

mod calls;
mod config;
mod errors;
mod fanout;
mod gate;
mod host;
mod hypervisor;
mod link;
mod networks;
mod pool;
mod states;
mod stats;
#[expect(
    unsafe_code,
    reason = "the calls into the C library, behind safe signatures"
)]
mod sys;

pub use calls::Libvirt;
pub use config::{Credentials, Deadlines, LibvirtConfig};
pub use host::{DomainCapabilitiesQuery, NodeInfo, Version, Versions};
pub use networks::{
    LibvirtNetwork, NetworkDevice, NetworkOutcome, NetworkSnapshot, PREFIX as NETWORK_PREFIX,
};
