//! Disks beside the root: sparse raw files that one host has, or several at once.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::{LabError, Result};

/// A disk. In a host it is `/dev/disk/by-id/virtio-NAME`, or, for [`Disk::scsi`], `scsi-0QEMU_QEMU_HARDDISK_NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    name: String,
    path: PathBuf,
    scsi: bool,
}

impl Disk {
    /// Makes the file.
    pub(crate) fn create(dir: &Path, name: &str, mib: u64) -> Result<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if name.is_empty() || name.len() > 20 || !name.chars().all(plain) {
            let why = format!("a disk's name has 1 to 20 letters, digits and dashes: {name:?}");
            return Err(LabError::Wrong(why));
        }
        let path = dir.join(format!("{name}.raw"));
        let file = File::create_new(&path).map_err(LabError::file("make the disk", &path))?;
        file.set_len(mib << 20)
            .map_err(LabError::file("size the disk", &path))?;
        Ok(Self {
            name: name.to_owned(),
            path,
            scsi: false,
        })
    }

    /// The same disk, attached as a SCSI disk: hosts see vendor, serial number and world wide name.
    #[must_use]
    pub fn scsi(mut self) -> Self {
        self.scsi = true;
        self
    }

    /// Its name, which is its serial number.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file behind it, on the machine that runs the lab.
    pub fn file(&self) -> &Path {
        &self.path
    }

    /// Where a host has it.
    pub fn device(&self) -> String {
        if self.scsi {
            format!("/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_{}", self.name)
        } else {
            format!("/dev/disk/by-id/virtio-{}", self.name)
        }
    }

    pub(crate) fn node(&self) -> String {
        format!("node-{}", self.name)
    }

    pub(crate) fn device_id(&self) -> String {
        format!("disk-{}", self.name)
    }

    /// What `blockdev-add` and `-blockdev` take.
    pub(crate) fn backend(&self) -> Value {
        json!({
            "driver": "raw",
            "node-name": self.node(),
            "cache": { "no-flush": true },
            "discard": "unmap",
            "file": { "driver": "file", "filename": self.path, "locking": "off", "cache": { "no-flush": true } },
        })
    }

    /// What `device_add` and `-device` take.
    pub(crate) fn frontend(&self) -> Value {
        let mut device = json!({
            "driver": "virtio-blk-pci",
            "id": self.device_id(),
            "drive": self.node(),
            "serial": self.name,
            "share-rw": true,
        });
        if self.scsi
            && let Some(fields) = device.as_object_mut()
        {
            fields.insert("driver".to_owned(), json!("scsi-hd"));
            fields.insert("bus".to_owned(), json!("scsi.0"));
        }
        device
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_serial_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::create(dir.path(), "data-1", 10).unwrap();
        assert_eq!(disk.file().metadata().unwrap().len(), 10 << 20);
        assert_eq!(disk.device(), "/dev/disk/by-id/virtio-data-1");
        for odd in ["", "a/b", "a b", "123456789012345678901"] {
            assert!(Disk::create(dir.path(), odd, 1).is_err(), "{odd}");
        }
        assert!(Disk::create(dir.path(), "data-1", 1).is_err(), "twice");
    }
}
