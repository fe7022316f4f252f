//! Stateful fakes of the ports.
#![forbid(unsafe_code)]

pub mod hypervisor;
pub mod process;
pub mod storage;
mod storage_files;
mod storage_qemu;
pub mod volumes;
pub mod watch;
