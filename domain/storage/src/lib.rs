//! Storage pools, domains, images and volumes: policy over the ports of storage-model.
//!
//! [`StorageManager`] is the whole of it; its methods are VDSM's verbs. Blocking: callers own threads.
//! Long operations take a [`storage_model::ports::Journal`] and push an undo step before each act;
//! [`StorageManager::undo`] runs one step, also in a later process. Verbs that change storage without a
//! task are whole or nothing: built under a hidden name and renamed, or finished by
//! [`StorageManager::recover`].
//!
//! What is remembered: which pool is connected, its role, and which folders hold which domain; everything
//! else is read from storage. After a restart the engine connects anew, as with VDSM; the links beneath
//! the repository stay, so images of running VMs can be found and torn down at once.
#![forbid(unsafe_code)]

mod contents;
mod domain;
mod domains;
mod error;
mod fs;
mod image;
mod locks;
mod manager;
mod members;
mod monitor;
mod pool;
mod recover;
mod server;
mod spm;
mod types;
mod undo;
mod volume;
mod volume_change;
mod volume_create;

pub use error::{Result, StorageError};
pub use manager::{Ports, Settings, StorageManager};
pub use types::*;
