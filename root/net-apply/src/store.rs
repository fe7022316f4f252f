//! The writer of network files: does the acts of [`net_model::netconf::generations`] on a real folder, crash-safe at every
//! system call.
//!
//! States of a set: in force (a link names it), prepared (written and synced beside it, nobody names it), in force anew (one
//! `rename` of a link). Who dies while preparing leaves a folder that the next store removes; so whoever has to store two sets prepares both
//! before one comes into force: a full disk is met while everything is still as it was.
//!
//! All is done relative to one open folder, reached without symbolic links: the folder above may belong to the agent, and this
//! process is root. Files are readable by everybody whatever the umask.

use std::{
    fs::{DirBuilder, File},
    io::{self, Write as _},
    os::{fd::OwnedFd, unix::fs::DirBuilderExt as _},
    path::{Path, PathBuf},
};

use net_model::netconf::{
    Netconf,
    generations::{Act, KEEP, Listing, store},
};
use rustix::{
    fs::{
        AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, ResolveFlags, fchmod, fstat,
        mkdirat, openat, openat2, renameat, renameat_with, symlinkat, unlinkat,
    },
    io::Errno,
    process::geteuid,
};

/// How deep a folder that is removed may be.
const DEEPEST: usize = 8;

/// Files that are open at a time.
const MOST_OPEN: usize = 256;

/// Threads that sync them.
const SYNCERS: usize = 16;

/// An act on network files that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} in {}", folder.display())]
pub struct StoreError {
    /// What.
    act: String,
    /// Where.
    folder: PathBuf,
    /// Why.
    source: io::Error,
}

/// Told before each act: how many were done in this half.
pub type Watch<'a> = &'a dyn Fn(&Act);

/// The folder of a set's link.
#[derive(Debug)]
pub struct Set {
    path: PathBuf,
    link: PathBuf,
    folder: OwnedFd,
}

/// A set that is written and waits to come into force.
#[derive(Debug)]
pub struct Prepared {
    acts: Vec<Act>,
    /// Number of the generation.
    generation: u64,
}

impl Set {
    /// Opens the folder that holds `link`; makes it if it is not there.
    pub fn open(link: &Path) -> Result<Self, StoreError> {
        let path = link.parent().unwrap_or(Path::new("/")).to_owned();
        let opened = DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&path)
            .and_then(|()| Ok(open_folder(&path)?))
            .and_then(|folder| Ok(opened_to_all(folder)?));
        match opened {
            Ok(folder) => Ok(Self {
                path,
                link: link.to_owned(),
                folder,
            }),
            Err(source) => Err(StoreError {
                act: "open the folder".to_owned(),
                folder: path,
                source,
            }),
        }
    }

    /// Writes and syncs a new generation, without putting it in force.
    pub fn prepare(&self, netconf: &Netconf, watch: Watch<'_>) -> Result<Prepared, StoreError> {
        let listing = self.listing()?;
        let acts = store(&listing, netconf, KEEP);
        let link = |it: &String| *it == listing.link;
        let in_force = acts.iter().position(|it| {
            matches!(it, Act::Rename { to, .. } if link(to))
                || matches!(it, Act::Exchange { b, .. } if link(b))
        });
        let mut acts = acts;
        let rest = acts.split_off(in_force.unwrap_or(acts.len()));
        let made = acts.iter().find_map(|it| match it {
            Act::MakeFolder(name) => Some(name.clone()),
            _ => None,
        });
        let generation = made.as_deref().and_then(number).unwrap_or_default();
        if let Err(error) = self.all(&acts, watch) {
            self.abandon();
            return Err(error);
        }
        Ok(Prepared {
            acts: rest,
            generation,
        })
    }

    /// Puts a prepared generation in force; answers its number. What is in the way afterwards (older generations) is not
    /// an error.
    pub fn commit(&self, prepared: &Prepared, watch: Watch<'_>) -> Result<u64, StoreError> {
        let last = |it: &Act| matches!(it, Act::SyncFolder(_));
        let end = prepared.acts.iter().position(last);
        let end = end.map_or(prepared.acts.len(), |it| it + 1);
        let (needed, surplus) = prepared.acts.split_at(end);
        self.all(needed, watch)?;
        if let Err(error) = self.all(surplus, watch) {
            tracing::warn!(%error, "an older generation of network files stays");
        }
        Ok(prepared.generation)
    }

    /// Removes what was prepared, as far as that goes; the next store does it in any case.
    pub fn abandon(&self) {
        let Ok(listing) = self.listing() else { return };
        for name in listing.leftovers() {
            if let Err(error) = self.act(&Act::Remove(name)) {
                tracing::warn!(%error, "unfinished network files stay until the next change");
            }
        }
    }

    /// Puts the generation of that name in force again; none was: there is no set any more.
    pub(crate) fn point_back(&self, target: Option<&str>) -> Result<(), StoreError> {
        let link = self.listing()?.link;
        let new = format!("{link}.back.ln");
        let mut acts = vec![Act::Remove(new.clone())];
        match target {
            Some(target) => acts.extend([
                Act::Link {
                    path: new.clone(),
                    target: target.to_owned(),
                },
                Act::Rename {
                    from: new,
                    to: link,
                },
            ]),
            None => acts.push(Act::Remove(link)),
        }
        acts.push(Act::SyncFolder(String::new()));
        self.all(&acts, &|_| ())
    }

    /// What is there.
    pub fn listing(&self) -> Result<Listing, StoreError> {
        observe::netconf::listing(&self.link).map_err(|error| StoreError {
            act: "look at the generations".to_owned(),
            folder: self.path.clone(),
            source: error.source,
        })
    }

    /// One after the other; files that follow each other are written first and synced together then, which spares a disk
    /// most of its waiting.
    fn all(&self, acts: &[Act], watch: Watch<'_>) -> Result<(), StoreError> {
        let is_file = |act: &Act| matches!(act, Act::WriteFile { .. });
        for run in acts.chunk_by(|a, b| is_file(a) == is_file(b)) {
            let mut written = Vec::new();
            for act in run {
                watch(act);
                match act {
                    Act::WriteFile { path, bytes } => {
                        let file = write_file(&self.folder, path, bytes);
                        written.push((act, file.map_err(|it| self.failed(act, it))?));
                    }
                    _ => self.act(act)?,
                }
                if written.len() == MOST_OPEN {
                    self.sync(&std::mem::take(&mut written))?;
                }
            }
            self.sync(&written)?;
        }
        Ok(())
    }

    /// At the same time: a journaling file system ends many in one go.
    fn sync(&self, files: &[(&Act, File)]) -> Result<(), StoreError> {
        let part = files.len().div_ceil(SYNCERS).max(1);
        let one = |part: &[(&Act, File)]| {
            part.iter().try_for_each(|(act, file)| {
                let done = file.sync_all();
                done.map_err(|it| self.failed(act, it))
            })
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = files
                .chunks(part)
                .map(|part| scope.spawn(move || one(part)))
                .collect();
            let ends = threads.into_iter().map(|it| match it.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            // All are waited for.
            let ends: Vec<Result<(), StoreError>> = ends.collect();
            ends.into_iter().collect()
        })
    }

    /// One act.
    pub fn act(&self, act: &Act) -> Result<(), StoreError> {
        self.perform(act).map_err(|it| self.failed(act, it))
    }

    fn failed(&self, act: &Act, source: io::Error) -> StoreError {
        StoreError {
            act: words(act),
            folder: self.path.clone(),
            source,
        }
    }

    fn perform(&self, act: &Act) -> io::Result<()> {
        let at = &self.folder;
        match act {
            Act::MakeFolder(path) => make_folder(at, path)?,
            Act::WriteFile { path, bytes } => write_file(at, path, bytes)?.sync_all()?,
            Act::SyncFolder(path) => File::from(open_beneath(at, path)?).sync_all()?,
            Act::Link { path, target } => symlinkat(target, at, path)?,
            Act::Rename { from, to } => renameat(at, from, at, to)?,
            Act::Exchange { a, b } => renameat_with(at, a, at, b, RenameFlags::EXCHANGE)?,
            Act::Remove(path) => remove(at, path, DEEPEST)?,
        }
        Ok(())
    }
}

fn words(act: &Act) -> String {
    match act {
        Act::MakeFolder(path) => format!("make the folder {path}"),
        Act::WriteFile { path, .. } => format!("write {path}"),
        Act::SyncFolder(path) => format!("sync the folder {path:?}"),
        Act::Link { path, .. } => format!("make the link {path}"),
        Act::Rename { from, to } => format!("rename {from} to {to}"),
        Act::Exchange { a, b } => format!("exchange {a} and {b}"),
        Act::Remove(path) => format!("remove {path}"),
    }
}

/// `netconf.g0000007` is 7.
pub(crate) fn number(name: &str) -> Option<u64> {
    name.rsplit_once(".g")?.1.parse().ok()
}

fn open_folder(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
}

/// A folder of ours that the umask has closed is for everybody to read.
fn opened_to_all(folder: OwnedFd) -> Result<OwnedFd, Errno> {
    const READ: u32 = 0o055;
    let found = fstat(&folder)?;
    if found.st_uid == geteuid().as_raw() && found.st_mode & READ != READ {
        fchmod(&folder, Mode::from_raw_mode(0o755))?;
    }
    Ok(folder)
}

fn open_beneath(at: &OwnedFd, path: &str) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { "." } else { path };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    openat2(at, path, flags, Mode::empty(), resolve)
}

fn make_folder(at: &OwnedFd, path: &str) -> Result<(), Errno> {
    let mode = Mode::from_raw_mode(0o755);
    mkdirat(at, path, mode)?;
    fchmod(open_beneath(at, path)?, mode)
}

/// Written, not yet synced.
fn write_file(at: &OwnedFd, path: &str, bytes: &[u8]) -> io::Result<File> {
    let mode = Mode::from_raw_mode(0o644);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    let mut file = File::from(openat2(at, path, flags, mode, resolve)?);
    fchmod(&file, mode)?;
    file.write_all(bytes)?;
    Ok(file)
}

/// A file, link or folder with all in it; no link is followed.
fn remove(at: &OwnedFd, name: &str, deepest: usize) -> Result<(), Errno> {
    match unlinkat(at, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) if deepest > 0 => {}
        Err(error) => return Err(error),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = openat(at, name, flags, Mode::empty())?;
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        let Ok(inner) = entry.file_name().to_str() else {
            return Err(Errno::ILSEQ);
        };
        if matches!(inner, "." | "..") {
            continue;
        }
        match entry.file_type() {
            FileType::Directory | FileType::Unknown => remove(&folder, inner, deepest - 1)?,
            _ => unlinkat(&folder, inner, AtFlags::empty())?,
        }
    }
    match unlinkat(at, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error),
    }
}
