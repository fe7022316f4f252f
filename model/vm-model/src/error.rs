//! What can be wrong with domain XML and its metadata.

/// What can be wrong with domain XML and its metadata.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// The text is not XML, or more than is accepted. `at` is a byte offset.
    #[error("byte {at}: {why}")]
    Xml {
        /// Byte offset in the text.
        at: u64,
        /// What is wrong there.
        why: String,
    },
    /// Well-formed, but not what a domain has there.
    #[error("{element}: {why}")]
    Domain {
        /// Path of the element.
        element: String,
        /// What is wrong with it.
        why: String,
    },
    /// A disk that cannot be understood.
    #[error("drive {drive}: {why}")]
    Drive {
        /// Its target name, or its place among the disks.
        drive: String,
        /// What is wrong with it.
        why: String,
    },
    /// Understood, but the agent cannot do it yet.
    #[error("not built yet: {0}")]
    NotBuilt(String),
}

/// Result of reading or editing domain XML.
pub type ModelResult<T> = Result<T, ModelError>;

impl ModelError {
    pub(crate) fn domain(element: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Domain {
            element: element.into(),
            why: why.into(),
        }
    }

    pub(crate) fn drive(drive: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Drive {
            drive: drive.into(),
            why: why.into(),
        }
    }
}
