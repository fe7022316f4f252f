//! Changes of the host's network, as root: what runs the plans of `net-model`, and the transaction around them.
//!
//! Only `supervdsmd` knows this crate. Two halves that meet in [`Machine`]: a transaction takes its checkpoint, has
//! a plan run, verifies, and undoes; a machine (the kernel and its DHCP clients, or a model of it in tests) does.
//!
//! Beside it [`arp`]: who has an address.
//!
//! Look next: `machine.rs`, `kernel/`, `transaction/`.
#![forbid(unsafe_code)]

pub mod arp;
pub mod dhcp;
mod error;
mod kernel;
mod machine;
pub mod managers;
mod resolv;
mod resolver;
pub mod restore;
mod sriov;
pub mod store;
mod transaction;

pub use dhcp::{ClientSettings, Clients, DhcpClients};
pub use error::ApplyError;
pub use kernel::KernelMachine;
pub use machine::{Halted, Machine};
pub use resolv::ResolvConf;
pub use resolver::Resolver;
pub use transaction::{Asked, Change, ChangeError, Logged, Places, Point, Transactions, Watcher};
