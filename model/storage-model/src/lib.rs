//! Formats of storage domains, volumes and leases; the ports of storage. Pure: no I/O, no clock.
//!
//! - [`enums`] — the legal words (types, classes, roles, formats) and their numbers on the wire.
//! - [`domain_metadata`] — `dom_md/metadata`, `KEY=VALUE` lines under a checksum.
//! - [`volume_metadata`] — `<volume>.meta`.
//! - [`layout`] — names, modes and sizes of the files of a domain; links of the repository.
//! - [`xlease`] — the index of external leases.
//! - [`ports`] — how the policy reaches the world.
//!
//! What is stored was written by other hosts, maybe by other programs: every parser here takes bytes, is
//! bounded, never panics and says in a [`FormatError`] what is wrong.
#![forbid(unsafe_code)]

pub mod domain_metadata;
pub mod enums;
mod error;
pub mod layout;
mod lines;
pub mod ports;
pub mod volume_metadata;
pub mod xlease;

pub use domain_metadata::{DomainMetadata, LeaseParams, NewDomain};
pub use enums::{
    Allocation, DomainClass, DomainRole, DomainStatus, DomainType, Legality, VolumeFormat,
    VolumeRole, WordError,
};
pub use error::FormatError;
pub use volume_metadata::{PartialVolumeMetadata, VolumeMetadata};
