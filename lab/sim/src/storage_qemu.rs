//! `qemu-img` of [`crate::storage::StorageWorld`]: remembers in the file's content what was asked for.

use std::{io, path::Path};

use storage_model::ports::{CreateImage, ImageInfo, Measure, QemuImg, QemuImgError};

use crate::{
    storage::{Go, StorageWorld, killed},
    storage_files::Inode,
};

const MAGIC: &str = "QFI";
/// Bytes of a fresh qcow2 file.
const FRESH_QCOW2: u64 = 196_616;

fn broken(verb: &str, error: &io::Error) -> QemuImgError {
    QemuImgError::Broken {
        verb: verb.to_owned(),
        why: error.to_string(),
    }
}

fn refused(verb: &str, stderr: &str) -> QemuImgError {
    QemuImgError::Failed {
        verb: verb.to_owned(),
        code: 1,
        stderr: stderr.to_owned(),
    }
}

fn header(size: u64, backing: Option<&str>, compat: Option<&str>) -> Vec<u8> {
    let backing = backing.unwrap_or_default();
    format!(
        "{MAGIC}\n{size}\n{backing}\n{}\n",
        compat.unwrap_or_default()
    )
    .into_bytes()
}

fn read_header(inode: &Inode) -> Option<(u64, Option<String>, Option<String>)> {
    let text = std::str::from_utf8(&inode.data).ok()?;
    let mut lines = text.lines();
    if lines.next() != Some(MAGIC) {
        return None;
    }
    let size = lines.next()?.parse().ok()?;
    let mut word = || lines.next().filter(|w| !w.is_empty()).map(str::to_owned);
    Some((size, word(), word()))
}

fn describe(inode: &Inode) -> ImageInfo {
    let cow = read_header(inode);
    let (virtual_size, backing_file, compat) = cow.clone().unwrap_or((inode.size, None, None));
    ImageInfo {
        format: if cow.is_some() { "qcow2" } else { "raw" }.to_owned(),
        virtual_size,
        actual_size: inode.allocated,
        backing_file,
        cluster_size: cow.map(|_| 65_536),
        compat,
    }
}

impl QemuImg for StorageWorld {
    fn create(&self, request: &CreateImage) -> Result<(), QemuImgError> {
        let failed = |e: io::Error| broken("create", &e);
        let (mut state, go) = self.enter(&request.path).map_err(failed)?;
        state.growable().map_err(failed)?;
        let inode = state.tree.inode_mut(&request.path).map_err(failed)?;
        if go == Go::Halfway {
            inode.size = 512;
            return Err(failed(killed()));
        }
        if request.format == "raw" {
            inode.size = request.size;
            inode.allocated = 4096;
        } else {
            let backing = request.backing.as_ref().map(|(name, _)| name.as_str());
            inode.data = header(request.size, backing, request.compat.as_deref());
            inode.size = FRESH_QCOW2;
            inode.allocated = FRESH_QCOW2;
        }
        Ok(())
    }

    fn info(&self, path: &Path, trusted_format: Option<&str>) -> Result<ImageInfo, QemuImgError> {
        let failed = |e: io::Error| broken("info", &e);
        let (state, _) = self.enter(path).map_err(failed)?;
        let info = describe(state.tree.inode(path).map_err(failed)?);
        match trusted_format {
            Some("qcow2") if info.format != "qcow2" => Err(refused("info", "not a qcow2 image")),
            _ => Ok(info),
        }
    }

    fn measure(
        &self,
        path: &Path,
        _format: &str,
        _target: &str,
        _backing: bool,
    ) -> Result<Measure, QemuImgError> {
        let info = self.info(path, None)?;
        Ok(Measure {
            required: info.actual_size,
            fully_allocated: info.virtual_size,
            bitmaps: None,
        })
    }

    fn resize(&self, path: &Path, format: &str, size: u64) -> Result<(), QemuImgError> {
        let failed = |e: io::Error| broken("resize", &e);
        let (mut state, go) = self.enter(path).map_err(failed)?;
        state.growable().map_err(failed)?;
        let inode = state.tree.inode_mut(path).map_err(failed)?;
        match (format, read_header(inode)) {
            ("qcow2", Some((_, backing, compat))) => {
                inode.data = header(size, backing.as_deref(), compat.as_deref());
            }
            ("raw", _) => inode.size = size,
            _ => return Err(refused("resize", "not that format")),
        }
        if go == Go::Halfway {
            Err(failed(killed()))
        } else {
            Ok(())
        }
    }
}
