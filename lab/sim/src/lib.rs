//! Stateful fakes of the ports.
#![forbid(unsafe_code)]

pub mod hypervisor;
pub mod process;
pub mod volumes;
pub mod watch;
