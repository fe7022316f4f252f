//! Where the domains are joined: ports of one domain implemented over another, or over an edge.

mod clock;
mod displays;
mod events;
mod fence;
mod journal;
mod network;
mod ownership;
pub(crate) mod png;
mod volumes;

pub(crate) use clock::Clocks;
pub(crate) use displays::WithDisplays;
pub(crate) use events::{HostConnectivity, VmStatusEvents};
pub(crate) use fence::{InstalledAgents, StorageLeases};
pub(crate) use journal::{StorageUndo, TaskJournal, failure};
pub(crate) use network::{HelperRoot, ThisHost, counted};
pub(crate) use ownership::HelperOwnership;
pub(crate) use volumes::StorageVolumes;
