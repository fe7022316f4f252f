//! What several operations do with files: folders with their parents, trees, existence.

use std::{io, path::Path};

use storage_model::{
    layout::DIR_MODE,
    ports::{FileKind, Files},
};

use crate::error::is_missing;

/// Folders nest so deep at most in a domain; a deeper tree is not ours.
const MAX_DEPTH: usize = 16;

/// Is something there (links followed)?
pub(crate) fn exists(files: &dyn Files, path: &Path) -> io::Result<bool> {
    match files.stat(path) {
        Ok(_) => Ok(true),
        Err(e) if is_missing(&e) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Is there a folder (links followed)?
pub(crate) fn is_dir(files: &dyn Files, path: &Path) -> io::Result<bool> {
    match files.stat(path) {
        Ok(stat) => Ok(stat.is_dir),
        Err(e) if is_missing(&e) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Makes a folder and those above it that are missing.
pub(crate) fn make_dirs(files: &dyn Files, path: &Path) -> io::Result<()> {
    if is_dir(files, path)? {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_dirs(files, parent)?;
    }
    ensure_dir(files, path, DIR_MODE)
}

/// Makes a folder, unless it is there.
pub(crate) fn ensure_dir(files: &dyn Files, path: &Path, mode: u32) -> io::Result<()> {
    match files.make_dir(path, mode) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Removes a file or link, unless it is gone.
pub(crate) fn remove_file(files: &dyn Files, path: &Path) -> io::Result<()> {
    match files.remove_file(path) {
        Err(e) if is_missing(&e) => Ok(()),
        other => other,
    }
}

/// Removes an empty folder, unless it is gone.
pub(crate) fn remove_dir(files: &dyn Files, path: &Path) -> io::Result<()> {
    match files.remove_dir(path) {
        Err(e) if is_missing(&e) => Ok(()),
        other => other,
    }
}

/// Names within a folder; none if it is gone.
pub(crate) fn list(files: &dyn Files, path: &Path) -> io::Result<Vec<String>> {
    match files.list(path) {
        Err(e) if is_missing(&e) => Ok(Vec::new()),
        other => other,
    }
}

/// Removes whatever is at `path`, with all that is in it. Links are removed, not followed. Gone is fine.
pub(crate) fn remove_tree(files: &dyn Files, path: &Path) -> io::Result<()> {
    remove_below(files, path, MAX_DEPTH)
}

fn remove_below(files: &dyn Files, path: &Path, depth: usize) -> io::Result<()> {
    match files.kind(path) {
        Ok(FileKind::Dir) => {}
        Ok(_) => return remove_file(files, path),
        Err(e) if is_missing(&e) => return Ok(()),
        Err(e) => return Err(e),
    }
    let Some(left) = depth.checked_sub(1) else {
        return Err(io::Error::other(format!(
            "{} is nested too deep",
            path.display()
        )));
    };
    for name in list(files, path)? {
        remove_below(files, &path.join(name), left)?;
    }
    remove_dir(files, path)
}
