//! The life of virtual machines: policy over the ports of vm-model.
//!
//! [`VmManager`] is the door. Every VM has one pure state machine (`machine`), one driver that acts
//! on what the machine decides, and all share one publisher thread. Nothing is kept here that
//! libvirt holds: what only the agent knows rides in the domain's metadata, written before the act.
#![forbid(unsafe_code)]

mod api;
mod dispatcher;
mod ending;
mod error;
mod intent;
mod launch;
mod machine;
mod manager;
mod powerdown;
mod publisher;
mod record;
mod recovery;
mod resume;
mod sampler;
mod shared;
mod sizes;
mod telling;
mod turn;
mod users;
mod verbs;
mod worker;

pub use api::{
    CreateAnswer, CreateRequest, Ports, RecoverReport, Screenshot, ShutdownRequest, VmConfig,
    VmCounts, VmInfo,
};
pub use error::VmError;
pub use manager::VmManager;
