//! The verbs on simulated storage: what they answer, what they refuse and with which error.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

#[path = "../common/mod.rs"]
mod common;
mod domains;
mod health;
mod images;
mod pools;
mod volumes;

use std::path::Path;

use common::{DOMAIN, FOLDER};
use sim::storage::StorageWorld;
use storage_model::{DomainMetadata, VolumeMetadata, ports::Files};
use uuid::Uuid;

pub(crate) const CHILD: Uuid = Uuid::from_u128(0x21);
pub(crate) const COPY: Uuid = Uuid::from_u128(0x11);

pub(crate) fn metadata(world: &StorageWorld, domain: Uuid, folder: &str) -> DomainMetadata {
    let path = format!("{folder}/{domain}/dom_md/metadata");
    DomainMetadata::parse(&world.read(Path::new(&path)).unwrap()).unwrap()
}

pub(crate) fn volume_file(image: Uuid, volume: Uuid) -> String {
    format!("{FOLDER}/{DOMAIN}/images/{image}/{volume}")
}

pub(crate) fn volume_metadata(world: &StorageWorld, image: Uuid, volume: Uuid) -> VolumeMetadata {
    let path = format!("{}.meta", volume_file(image, volume));
    VolumeMetadata::parse(&world.read(Path::new(&path)).unwrap()).unwrap()
}
