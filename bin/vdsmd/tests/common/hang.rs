//! Storage that hangs: a file of a storage domain becomes a pipe that nobody writes to, so that whoever opens it
//! waits in the kernel, as on a server that is gone.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
use tempfile::TempDir;

/// A file that hangs until this is dropped.
pub struct Hung {
    path: PathBuf,
    dir: TempDir,
}

impl Hung {
    /// From now on whoever opens the file waits.
    pub fn file(path: &Path) -> Self {
        let beside = path.parent().unwrap().parent().unwrap();
        let dir = tempfile::Builder::new()
            .prefix("hang-")
            .tempdir_in(beside)
            .unwrap();
        let pipe = dir.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
        fs::hard_link(path, dir.path().join("real")).unwrap();
        let entrance = dir.path().join("entrance");
        fs::hard_link(&pipe, &entrance).unwrap();
        fs::rename(entrance, path).unwrap();
        Self {
            path: path.to_owned(),
            dir,
        }
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        let _ = fs::rename(self.dir.path().join("real"), &self.path);
        // Who waits for a writer goes on.
        let _ = open(self.dir.path().join("pipe"), OFlags::RDWR, Mode::empty());
    }
}
