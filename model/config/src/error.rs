//! What can be wrong with the files: errors stop the agent, warnings are logged.

use std::fmt;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A line that is no section, option, comment or continuation; or a name given twice in one file.
    #[error("{file}:{line}: {why}")]
    Syntax {
        /// Name of the source.
        file: String,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// The file is larger than [`crate::MAX_FILE_BYTES`].
    #[error("{file}: {bytes} bytes are more than the {limit} allowed")]
    TooLarge {
        /// Name of the source.
        file: String,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// `%(name)s` that cannot be resolved, or a lone `%`.
    #[error("{place}: [{section}] {option}: {why}")]
    Interpolation {
        /// File and line, or `default`.
        place: String,
        /// Section.
        section: String,
        /// Option.
        option: String,
        /// What is wrong.
        why: String,
    },
    /// A value that the option cannot have.
    #[error("{place}: [{section}] {option} = {value:?} is not allowed: it must be {allowed}")]
    BadValue {
        /// File and line, or `default`.
        place: String,
        /// Section.
        section: String,
        /// Option.
        option: String,
        /// The value found.
        value: String,
        /// What is allowed.
        allowed: String,
    },
}

/// All that is wrong in a set of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Something that is set and has no effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Name of the source.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Section.
    pub section: String,
    /// Option; empty where the whole section is meant.
    pub option: String,
    /// Why it has no effect.
    pub kind: WarningKind,
}

/// Why an option has no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WarningKind {
    /// No such section.
    UnknownSection,
    /// No such option in that section.
    UnknownOption,
    /// An option of the Python VDSM that this agent does not read yet.
    NotReadYet,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            section,
            option,
            kind,
        } = self;
        match kind {
            WarningKind::UnknownSection => {
                write!(f, "{file}:{line}: there is no section [{section}]")
            }
            WarningKind::UnknownOption => {
                write!(
                    f,
                    "{file}:{line}: there is no option {option} in [{section}]"
                )
            }
            WarningKind::NotReadYet => write!(
                f,
                "{file}:{line}: [{section}] {option} is an option of VDSM that has no effect here yet"
            ),
        }
    }
}
