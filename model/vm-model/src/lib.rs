//! Domain XML, oVirt metadata, devices, VM states; the ports [`Hypervisor`](ports::Hypervisor) and
//! [`Volumes`](ports::Volumes). Pure: no I/O, no clock.
//!
//! Where to look: [`xml`] is the tree that keeps everything; [`domain`] reads and edits a domain
//! through it; [`metadata`] is the `ovirt-vm` element; [`drive`] says where a disk's bytes are;
//! [`preprocess`] turns what Engine sends into what this host can start; [`status`] and [`exit`]
//! are the states of a VM and how it ends; [`stats`] computes statistics from two samples;
//! [`events`] is what the world is told.
#![forbid(unsafe_code)]

pub mod domain;
pub mod drive;
pub mod error;
pub mod events;
pub mod exit;
pub mod metadata;
pub mod ports;
pub mod preprocess;
pub mod stats;
pub mod status;
pub mod xml;
