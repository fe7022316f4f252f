//! Read-only views of /proc, /sys, a few files of /etc, netlink and the clock.
//!
//! [`Host`] reads beneath a root folder, so that tests run on recorded trees; every read is bounded; every
//! parser is a pure function over text or bytes. What is not there or not readable is absent in the result,
//! what is there and makes no sense is a [`ObserveError`] beside it. Nothing is spawned, nothing is written.
//!
//! [`clock`] is the only place of the wall clock.
//!
//! Look next: `facts.rs` (what a host is), `sample.rs` (what it does), and the parsers: `proc.rs`, `cpu.rs`,
//! `memory.rs`, `os.rs`, `packages.rs`, `firmware.rs`, `mounts.rs`; `parts.rs` (what is optional); `network/` is the network in the words
//! of `net-model`, `netconf.rs` its files.
#![forbid(unsafe_code)]

pub mod clock;
mod cpu;
mod facts;
mod files;
mod firmware;
mod memory;
mod mounts;
pub mod netconf;
pub mod network;
mod os;
mod packages;
mod parts;
pub mod probe;
mod proc;
mod sample;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Mutex,
};

pub use mounts::space_free;

/// A host, seen through the files of one root folder.
#[derive(Debug)]
pub struct Host {
    root: PathBuf,
    packages: Mutex<packages::Cache>,
}

impl Default for Host {
    fn default() -> Self {
        Self::at("/")
    }
}

impl Host {
    /// The machine beneath us.
    pub fn new() -> Self {
        Self::default()
    }

    /// A recorded tree. This process's affinity, which is in no file, is only there if the root is `/`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            packages: Mutex::default(),
        }
    }

    fn is_live(&self) -> bool {
        self.root == Path::new("/")
    }
}

/// A result, and what made no sense on the way to it (to be logged).
#[derive(Debug)]
pub struct Observed<T> {
    /// The result.
    pub value: T,
    /// What is missing in it because it could not be understood.
    pub problems: Vec<ObserveError>,
}

/// What could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// A file that is there could not be read.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is larger than anything sensible.
    #[error("{path} is larger than {limit} bytes")]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// Bytes that were read.
        limit: u64,
    },
    /// A file does not hold what it should.
    #[error("{path}: {why}")]
    Parse {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

#[cfg(test)]
mod tests;
