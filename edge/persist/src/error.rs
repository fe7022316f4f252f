//! Why a record could not be kept or found.

use std::{io, path::PathBuf};

/// Why a record could not be kept or found.
#[derive(Debug, thiserror::Error)]
pub enum PersistError {
    /// The folder of records cannot be made or read.
    #[error("cannot open the folder of records {}", dir.display())]
    Open {
        /// The folder.
        dir: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A name that could leave the folder or hide in it: allowed are 1 to 200 of `A-Za-z0-9._-`, no dot first.
    #[error("{name:?} cannot name a record")]
    Name {
        /// The name.
        name: String,
    },
    /// The record could not be made durable; the old one, if any, is intact.
    #[error("cannot write the record {}", path.display())]
    Write {
        /// Its file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The record cannot be expressed as a JSON object, or is larger than [`crate::MAX_RECORD`].
    #[error("cannot express the record {name}: {why}")]
    Express {
        /// Its name.
        name: String,
        /// Why.
        why: String,
    },
    /// The record cannot be read.
    #[error("cannot read the record {}", path.display())]
    Read {
        /// Its file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The record's content is not what it should be.
    #[error("the record {} is damaged: {why}", path.display())]
    Damaged {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The record could not be removed.
    #[error("cannot remove the record {}", path.display())]
    Remove {
        /// Its file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}
