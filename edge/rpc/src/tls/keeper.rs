//! TLS files of a server that runs: looked at again and again, loaded anew when they have changed.
//!
//! States: *used* (what serves is what lies there) -> *unsettled* (changed, cannot be used yet: perhaps only
//! half is written) -> *used* by a later look, or *broken* (told once; what served before goes on) -> *used*
//! when they change again. Files are told apart by their status alone (device, inode, size, times): whoever
//! renews a certificate writes the file or puts another in its place, and either shows there.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use super::ServerTls;
use crate::Error;

/// Keeps the TLS of a server up to date. Reads files when asked, blocking; has no thread of its own.
#[derive(Debug)]
pub struct Keeper {
    source: ServerTls,
    used: Stamps,
    /// What could not be used, and whether that was told.
    refused: Option<(Stamps, bool)>,
}

/// What a look at the files found.
#[derive(Debug)]
pub enum Refresh {
    /// Nothing new.
    Unchanged,
    /// They have changed and can be used: serve with this from now on.
    Renewed(Arc<rustls::ServerConfig>),
    /// They have changed and cannot be used; told once for each change. What served before goes on.
    Broken(Error),
}

/// Device, inode, size, time of contents and time of status of each file; `None` where it is missing.
type Stamps = Vec<Option<[i64; 7]>>;

impl Keeper {
    /// Loads the files for the first time.
    ///
    /// # Errors
    /// As [`ServerTls::load`].
    pub fn new(source: ServerTls) -> Result<(Self, Arc<rustls::ServerConfig>), Error> {
        // First the look, then the load: what changes in between is found by the next look.
        let used = stamps(&source);
        let config = source.load()?;
        let keeper = Self {
            source,
            used,
            refused: None,
        };
        Ok((keeper, config))
    }

    /// The files that are kept.
    pub fn source(&self) -> &ServerTls {
        &self.source
    }

    /// Looks whether the files have changed. Files that cannot be used are told broken by the second look
    /// that finds them so: between two looks (some seconds) whoever writes them can finish.
    pub fn look(&mut self) -> Refresh {
        let now = stamps(&self.source);
        if now == self.used {
            self.refused = None;
            return Refresh::Unchanged;
        }
        match &self.refused {
            Some((same, true)) if *same == now => Refresh::Unchanged,
            Some((same, false)) if *same == now => self.load(now),
            _ => match self.load(now.clone()) {
                Refresh::Broken(_) => {
                    self.refused = Some((now, false));
                    Refresh::Unchanged
                }
                other => other,
            },
        }
    }

    /// Loads the files whether they have changed or not, since somebody says they have.
    pub fn reload(&mut self) -> Refresh {
        let now = stamps(&self.source);
        self.load(now)
    }

    fn load(&mut self, now: Stamps) -> Refresh {
        match self.source.load() {
            Ok(config) => {
                self.used = now;
                self.refused = None;
                Refresh::Renewed(config)
            }
            Err(error) => {
                self.refused = Some((now, true));
                Refresh::Broken(error)
            }
        }
    }
}

fn stamps(source: &ServerTls) -> Stamps {
    let files = &source.files;
    [&files.cert, &files.key, &files.ca]
        .into_iter()
        .chain(&source.revoked)
        .map(|path| stamp(path))
        .collect()
}

fn stamp(path: &Path) -> Option<[i64; 7]> {
    let of = |data: Metadata| {
        [
            data.dev().cast_signed(),
            data.ino().cast_signed(),
            data.size().cast_signed(),
            data.mtime(),
            data.mtime_nsec(),
            data.ctime(),
            data.ctime_nsec(),
        ]
    };
    fs::metadata(path).ok().map(of)
}
