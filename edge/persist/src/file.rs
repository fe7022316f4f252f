//! The one write that everything rests on: a file is replaced whole or not at all, and durably.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// What a temporary file's name ends with.
const ENDING: &str = ".vdsm-tmp";

/// Replaces `path` by `data` with this mode: temporary file beside it, fsync, rename, fsync of the folder.
/// On any error the old content is intact and the temporary file is gone. If only the folder's fsync fails,
/// the new content is in place, though perhaps not durable, and the error is answered.
pub fn write_atomic(path: &Path, data: &[u8], mode: u32) -> io::Result<()> {
    let temporary = temporary_name(path)?;
    let result = fill(&temporary, data, mode).and_then(|()| fs::rename(&temporary, path));
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result?;
    sync_folder_of(path)
}

/// Removes a file and syncs its folder. False if it was not there.
pub fn remove_durably(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => sync_folder_of(path).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn fill(path: &Path, data: &[u8], mode: u32) -> io::Result<()> {
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(data)?;
    file.sync_all()
}

/// Fsync of the folder that holds `path`.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    let dir = path
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}

/// `.NAME.PID.COUNT.vdsm-tmp`, beside `path`.
fn temporary_name(path: &Path) -> io::Result<PathBuf> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut hidden = OsString::from(".");
    hidden.push(name);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    hidden.push(format!(".{}.{count}{ENDING}", std::process::id()));
    Ok(path.with_file_name(hidden))
}

/// Is this the name of a temporary file of ours?
pub(crate) fn is_temporary(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(ENDING)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn replaces_whole_and_sets_the_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write_atomic(&path, b"old", 0o600).unwrap();
        write_atomic(&path, b"newer", 0o640).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"newer");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o640
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(remove_durably(&path).unwrap());
        assert!(!remove_durably(&path).unwrap());
    }

    #[test]
    fn a_folder_in_the_way_is_an_error_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::create_dir(&path).unwrap();
        assert!(write_atomic(&path, b"x", 0o600).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(write_atomic(&dir.path().join("none/a"), b"x", 0o600).is_err());
    }

    #[test]
    fn names_of_temporary_files_are_known_again() {
        let path = temporary_name(Path::new("/x/some.json")).unwrap();
        assert!(is_temporary(path.file_name().unwrap().to_str().unwrap()));
        assert!(!is_temporary("some.json"));
        assert!(!is_temporary(".some.json"));
    }
}
