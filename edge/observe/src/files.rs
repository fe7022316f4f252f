//! Bounded reading beneath a root; what made no sense is collected.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use crate::ObserveError;

/// Most that is read of a small file.
pub(crate) const SMALL: u64 = 1 << 20;
/// Most entries of a folder.
const MOST_ENTRIES: usize = 65_536;

/// Reads beneath a root and keeps what went wrong.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    root: &'a Path,
    pub(crate) problems: Vec<ObserveError>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(root: &'a Path) -> Self {
        Self {
            root,
            problems: Vec::new(),
        }
    }

    /// The path beneath the root.
    pub(crate) fn full(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// A small file; `None` if it is not there, not readable, or has no value now.
    pub(crate) fn text(&mut self, path: &str) -> Option<String> {
        let full = self.full(path);
        match read(&full, SMALL) {
            Ok(text) => Some(text),
            Err(ObserveError::Read { source, .. }) if is_absence(&source) => None,
            Err(error) => {
                self.problems.push(error);
                None
            }
        }
    }

    /// The same without white space around it; `None` if nothing is left.
    pub(crate) fn line(&mut self, path: &str) -> Option<String> {
        let text = self.text(path)?;
        let line = text.trim();
        (!line.is_empty()).then(|| line.to_owned())
    }

    /// A number.
    pub(crate) fn number<T: std::str::FromStr>(&mut self, path: &str) -> Option<T> {
        self.line(path)?.parse().ok()
    }

    /// A file through its parser.
    pub(crate) fn parsed<T>(
        &mut self,
        path: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(path)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(why) => {
                let path = self.full(path);
                self.problems.push(ObserveError::Parse { path, why });
                None
            }
        }
    }

    /// Names within a folder, sorted; empty if it is not there.
    pub(crate) fn names(&mut self, path: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.full(path)) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .take(MOST_ENTRIES)
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        self.full(path).exists()
    }
}

/// Reads at most `limit` bytes of a file; bytes that are no UTF-8 are replaced.
pub(crate) fn read(path: &Path, limit: u64) -> Result<String, ObserveError> {
    let read = || {
        let mut bytes = Vec::new();
        File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes: Vec<u8> = read().map_err(|source| ObserveError::Read {
        path: path.to_owned(),
        source,
    })?;
    if bytes.len() as u64 > limit {
        return Err(ObserveError::TooLarge {
            path: path.to_owned(),
            limit,
        });
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Errors of /proc and /sys that mean "there is no such value".
fn is_absence(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let absent = [
        Errno::NOENT,
        Errno::NOTDIR,
        Errno::ACCESS,
        Errno::PERM,
        Errno::INVAL,
        Errno::NODEV,
        Errno::NXIO,
        Errno::OPNOTSUPP,
        Errno::NODATA,
    ];
    let errno = error.raw_os_error();
    absent.iter().any(|e| Some(e.raw_os_error()) == errno)
}
