//! vdsm.conf: the sections and options of the agent, parsed and typed.
//!
//! Owns the names, defaults, limits and meanings of all options. Pure: the caller reads the files and
//! hands over their texts in order of priority (see [`dropin_order`] and [`DROPIN_DIRS`]); this crate merges
//! them, resolves `%(name)s`, and answers either a whole [`Config`] with [`Warning`]s, or every error at once.
//!
//! Look next: `options.rs` (the table of options), `ini.rs` (the grammar), `value.rs` (kinds of values),
//! `merge.rs` (files over files, interpolation), `document.rs` (the documented default file),
//! `upstream.rs` (options of upstream that nothing reads yet).
#![forbid(unsafe_code)]

mod document;
mod error;
mod ini;
mod merge;
mod options;
mod upstream;
mod value;

use std::path::{Path, PathBuf};

pub use document::ini_text;
pub use error::{ConfigError, ConfigErrors, Warning, WarningKind};
pub use options::{Addresses, Config, Irs, Rpc, Sampling, Sanlock, Supervdsm, Vars};
pub use value::{Accelerator, LockMode, LogLevel, LogTarget, OwnerNames, Qcow2Compat};

/// Where the agent looks for its own configuration.
pub const DEFAULT_FILE: &str = "/etc/vdsm/vdsm.conf";

/// Folders whose `*.conf` files are read after the main file: vendor, run time, admin.
/// Files of all three are sorted together by name, see [`dropin_order`].
pub const DROPIN_DIRS: [&str; 3] = [
    "/usr/lib/vdsm/vdsm.conf.d",
    "/run/vdsm/vdsm.conf.d",
    "/etc/vdsm/vdsm.conf.d",
];

/// Largest file that is read, bytes.
pub const MAX_FILE_BYTES: usize = 1 << 20;

/// One file of configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Name for messages, usually its path.
    pub name: String,
    /// Its whole text.
    pub text: String,
}

impl Source {
    /// A source from its name and text.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
        }
    }
}

/// What came out of a set of files.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The options.
    pub config: Config,
    /// What is not an error but not used either; log each.
    pub warnings: Vec<Warning>,
}

impl Config {
    /// Merges the sources, later over earlier, and types every option.
    ///
    /// Errors: all that is wrong in any of the files, each with file and line.
    pub fn load(sources: &[Source]) -> Result<Loaded, ConfigErrors> {
        let mut errors = Vec::new();
        let merged = merge::Merged::of(sources, &mut errors);
        let warnings = merged.warnings();
        let mut reader = merge::Reader::new(&merged, &mut errors);
        match Self::read(&mut reader) {
            Some(config) if errors.is_empty() => Ok(Loaded { config, warnings }),
            _ => Err(ConfigErrors(errors)),
        }
    }

    /// The default file: every option with what it means, what is allowed, and its default, commented out.
    pub fn to_ini_documented() -> String {
        document::documented(&options::table())
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::load(&[])
            .expect("the defaults are valid: a test loads them")
            .config
    }
}

/// Sorts paths of drop-in files as they must be read: by file name, whatever their folder; of the same
/// name the one of the later folder in [`DROPIN_DIRS`] (the given order) comes last and wins.
pub fn dropin_order(paths: &mut [PathBuf]) {
    paths.sort_by(|a, b| name_of(a).cmp(&name_of(b)));
}

fn name_of(path: &Path) -> Option<&std::ffi::OsStr> {
    path.file_name()
}

#[cfg(test)]
mod tests;
