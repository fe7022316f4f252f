//! The two sets of network files, as upstream keeps them: what was set up last, and what is safe.
//!
//! Written by root alone ([`net_model::netconf::generations`] says how), readable by everybody. The set in force is read through
//! one open folder, so that a new one that comes into force meanwhile does not mix in.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read as _},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use net_model::{
    NetError,
    netconf::{
        Kind, MAX_RECORD, Netconf, PERSISTENT, RUNNING,
        generations::{Listing, MANIFEST, verify},
    },
};
use rustix::fs::{Dir, Mode, OFlags, openat};

/// Most files of a folder of a set.
const MOST_FILES: usize = 65_536;
/// Most bytes of a manifest.
const MOST_MANIFEST: u64 = 16 << 20;

/// Where the two sets are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Netconfs {
    /// The link of the running set, upstream's `/var/lib/vdsm/staging/netconf`.
    pub running: PathBuf,
    /// The link of the persistent set, upstream's `/var/lib/vdsm/persistence/netconf`.
    pub persistent: PathBuf,
}

impl Default for Netconfs {
    fn default() -> Self {
        Self {
            running: RUNNING.into(),
            persistent: PERSISTENT.into(),
        }
    }
}

impl Netconfs {
    /// Beneath another root than `/`.
    pub fn at(root: &Path) -> Self {
        let beneath = |path: &str| root.join(path.trim_start_matches('/'));
        Self {
            running: beneath(RUNNING),
            persistent: beneath(PERSISTENT),
        }
    }
}

/// A set as it was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    /// Its records; empty if there is no set.
    pub netconf: Netconf,
    /// What of it could not be read or makes no sense: left out, and to be told.
    pub problems: Vec<NetError>,
    /// Is there a set at all?
    pub there: bool,
}

/// Why a set cannot be read at all.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the network files of {path}")]
pub struct NetconfError {
    /// The set's link, or a generation's folder.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// Reads the set that is in force at `link` (or any other folder of a set). None there is an empty set.
pub fn read(link: &Path) -> Result<Found, NetconfError> {
    let failed = |source: io::Error| NetconfError {
        path: link.to_owned(),
        source,
    };
    match open_folder(rustix::fs::CWD, link) {
        Ok(folder) => read_set(&folder).map_err(failed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::default()),
        Err(error) => Err(failed(error)),
    }
}

/// Reads the set that was in force `back` generations before the one at `link`; 0 is that one itself. Nothing: there is
/// no such generation.
pub fn read_older(link: &Path, back: usize) -> Result<Option<Found>, NetconfError> {
    let listing = listing(link)?;
    let name = match back {
        0 => listing.target.clone(),
        _ => listing.before(back),
    };
    match name {
        Some(name) => read(&link.with_file_name(name)).map(Some),
        None if back == 0 && listing.names.contains(&listing.link) => read(link).map(Some),
        None => Ok(None),
    }
}

/// What is beside a set's link: its generations.
pub fn listing(link: &Path) -> Result<Listing, NetconfError> {
    let failed = |source: io::Error| NetconfError {
        path: link.to_owned(),
        source,
    };
    let name = link.file_name().and_then(|it| it.to_str());
    let (Some(folder), Some(name)) = (link.parent(), name) else {
        return Err(failed(io::ErrorKind::InvalidInput.into()));
    };
    let names = match std::fs::read_dir(folder) {
        Ok(entries) => entries
            .take(MOST_FILES)
            .filter_map(|entry| {
                entry
                    .map(|it| it.file_name().into_string().ok())
                    .transpose()
            })
            .collect::<io::Result<BTreeSet<String>>>()
            .map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeSet::new(),
        Err(error) => return Err(failed(error)),
    };
    let target = match std::fs::read_link(link) {
        Ok(target) => target
            .file_name()
            .and_then(|it| it.to_str())
            .map(str::to_owned),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::InvalidInput
            ) =>
        {
            None
        }
        Err(error) => return Err(failed(error)),
    };
    Ok(Listing {
        names,
        target,
        link: name.to_owned(),
    })
}

fn read_set(folder: &OwnedFd) -> io::Result<Found> {
    let mut found = Found {
        there: true,
        ..Found::default()
    };
    for kind in Kind::ALL {
        let inner = match open_folder(folder, Path::new(kind.folder())) {
            Ok(inner) => inner,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for name in names(&inner)? {
            let done = match read_file(&inner, &name, MAX_RECORD as u64) {
                Ok(bytes) => found.netconf.add(kind, &name, &bytes),
                Err(error) => Err(NetError::Record {
                    path: format!("{}/{name}", kind.folder()),
                    why: error.to_string(),
                }),
            };
            found.problems.extend(done.err());
        }
    }
    let manifest = match read_file(folder, MANIFEST, MOST_MANIFEST) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let whole = verify(&found.netconf, manifest.as_deref());
    found.problems.extend(whole.err());
    Ok(found)
}

fn open_folder(at: impl std::os::fd::AsFd, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(at, path, flags, Mode::empty())?)
}

fn names(folder: &OwnedFd) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)?.take(MOST_FILES) {
        let entry = entry?;
        if let Ok(name) = entry.file_name().to_str()
            && !matches!(name, "." | "..")
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// A plain file, whole. What is none (a pipe, a link) is an error, and nobody waits for it.
fn read_file(folder: &OwnedFd, name: &str, most: u64) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(folder, name, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it is no plain file",
        ));
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn set(folder: &Path, nets: &[(&str, &str)]) {
        fs::create_dir_all(folder.join("nets")).expect("a folder");
        for (name, text) in nets {
            fs::write(folder.join("nets").join(name), text).expect("written");
        }
    }

    #[test]
    fn a_set_is_read_through_its_link() {
        let dir = tempfile::tempdir().expect("a folder");
        let link = dir.path().join("netconf");
        assert_eq!(read(&link).expect("none"), Found::default());
        set(&dir.path().join("netconf.g0000001"), &[("a", "{}")]);
        set(
            &dir.path().join("netconf.g0000002"),
            &[("a", "{}"), ("b", "{\"mtu\": 1500}")],
        );
        symlink("netconf.g0000002", &link).expect("a link");
        let found = read(&link).expect("read");
        assert!(found.there && found.problems.is_empty());
        assert!(found.netconf.get(Kind::Nets, "b").is_some());
        let older = read_older(&link, 1).expect("read").expect("there");
        assert!(older.netconf.get(Kind::Nets, "b").is_none());
        assert!(older.netconf.get(Kind::Nets, "a").is_some());
        assert_eq!(read_older(&link, 0).expect("read").expect("there"), found);
        assert_eq!(read_older(&link, 2).expect("read"), None);
    }

    #[test]
    fn what_makes_no_sense_is_left_out_and_told() {
        let dir = tempfile::tempdir().expect("a folder");
        let link = dir.path().join("netconf");
        set(&link, &[("good", "{}"), ("bad", "{"), ("array", "[]")]);
        let large = format!("{{\"a\": \"{}\"}}", "x".repeat(MAX_RECORD));
        fs::write(link.join("nets/large"), large).expect("written");
        symlink("good", link.join("nets/linked")).expect("a link");
        fs::create_dir(link.join("nets/folder")).expect("a folder");
        let found = read(&link).expect("read");
        assert!(found.netconf.get(Kind::Nets, "good").is_some());
        assert_eq!(found.netconf.files().count(), 1);
        assert_eq!(found.problems.len(), 5, "{:?}", found.problems);
        assert_eq!(read_older(&link, 0).expect("read"), Some(found));
        fs::write(
            link.join("manifest"),
            "{\"version\":1,\"files\":{\"nets/good\":1}}",
        )
        .expect("written");
        assert_eq!(read(&link).expect("read").problems.len(), 6);
    }
}
