//! Volumes: finding them, their metadata, what does not take long.
//!
//! A volume is a file and its `.meta` in the folder of its image. A template's files are hard links in the
//! folders of the images made from it. The `.meta` is what makes it a volume: it is written last and
//! removed last.
//!
//! Facts: `fileVolume.py`, `volume.py`.

use std::{collections::BTreeSet, io, path::PathBuf};

use storage_model::{
    FormatError, Legality, PartialVolumeMetadata, VolumeFormat, VolumeMetadata, VolumeRole,
    layout::{METADATA_MODE, meta_path, volume_of_meta},
    ports::{ImageInfo, Measure, QemuImgError},
    volume_metadata::cut_description,
};
use uuid::Uuid;

use crate::{
    Result, StorageError, StorageManager, VolumeId, VolumeInfo, VolumeReport, VolumeSize,
    VolumeStatus,
    domain::{Domain, reading},
    error::{bad_metadata, invalid, is_missing},
    fs,
    locks::Lock,
    manager::Core,
};

/// Sizes of volumes are multiples of this.
pub(crate) const BLOCK: u64 = 4096;

/// A volume that was found.
#[derive(Debug, Clone)]
pub(crate) struct Volume {
    pub(crate) id: VolumeId,
    pub(crate) domain: Domain,
    /// The volume file.
    pub(crate) path: PathBuf,
}

impl Domain {
    /// A volume by its ids, without looking whether it is there.
    pub(crate) fn volume(&self, image: Uuid, volume: Uuid) -> Volume {
        Volume {
            id: VolumeId {
                domain: self.id,
                image,
                volume,
            },
            path: self.paths.volume(image, volume),
            domain: self.clone(),
        }
    }
}

impl Core {
    /// Finds a volume: its folder, file and metadata must be there.
    pub(crate) fn volume(&self, id: VolumeId) -> Result<Volume> {
        for (name, value) in [("imgUUID", id.image), ("volUUID", id.volume)] {
            if value.is_nil() {
                return Err(invalid(name, value));
            }
        }
        let domain = self.domain(id.domain)?;
        let dir = domain.paths.image(id.image);
        if !fs::is_dir(self.files(), &dir).map_err(|e| reading(&dir, &e))? {
            return Err(StorageError::ImagePathError(dir));
        }
        let volume = domain.volume(id.image, id.volume);
        for path in [volume.path.clone(), meta_path(&volume.path)] {
            if !fs::exists(self.files(), &path).map_err(|e| reading(&path, &e))? {
                return Err(StorageError::VolumeDoesNotExist(id.volume));
            }
        }
        Ok(volume)
    }

    pub(crate) fn volume_metadata(&self, volume: &Volume) -> Result<VolumeMetadata> {
        let path = meta_path(&volume.path);
        let data = self.files().read(&path).map_err(|e| {
            StorageError::VolumeMetadataReadError(format!("{}: {e}", path.display()))
        })?;
        VolumeMetadata::parse(&data).map_err(bad_metadata)
    }

    /// Replaces the metadata of a volume: whole or not at all.
    pub(crate) fn write_volume_metadata(&self, volume: &Volume, md: &VolumeMetadata) -> Result<()> {
        let version = self
            .metadata(&volume.domain)?
            .version()
            .map_err(bad_metadata)?;
        let data = md.to_bytes(version).map_err(|e| match e {
            FormatError::Overflow { .. } => StorageError::MetadataOverflowError(e.to_string()),
            other => bad_metadata(other),
        })?;
        let path = meta_path(&volume.path);
        self.files()
            .write_atomic(&path, &data, METADATA_MODE)
            .map_err(|e| match e.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    StorageError::NoSpaceLeftOnDomain(volume.id.domain)
                }
                _ => StorageError::VolumeMetadataWriteError(format!("{}: {e}", path.display())),
            })
    }

    /// Reads, changes, writes. The caller holds the lock of the image.
    pub(crate) fn change_volume(
        &self,
        volume: &Volume,
        change: impl FnOnce(&mut VolumeMetadata),
    ) -> Result<()> {
        let before = self.volume_metadata(volume)?;
        let mut after = before.clone();
        change(&mut after);
        if after == before {
            Ok(())
        } else {
            self.write_volume_metadata(volume, &after)
        }
    }

    /// Volumes in the folder of an image, with its template; none if there is no such image.
    pub(crate) fn volumes_in(&self, domain: &Domain, image: Uuid) -> Result<BTreeSet<Uuid>> {
        let dir = domain.paths.image(image);
        let names = fs::list(self.files(), &dir).map_err(|e| reading(&dir, &e))?;
        Ok(names.iter().filter_map(|n| volume_of_meta(n)).collect())
    }

    /// Volumes of the same image that stand on this one.
    pub(crate) fn children(&self, volume: &Volume) -> Result<Vec<Uuid>> {
        let mut children = Vec::new();
        for id in self.volumes_in(&volume.domain, volume.id.image)? {
            let other = volume.domain.volume(volume.id.image, id);
            let child = self.parent_of(&other)? == Some(volume.id.volume);
            if child && id != volume.id.volume {
                children.push(id);
            }
        }
        Ok(children)
    }

    /// The parent that a volume names, even if the rest of its metadata is broken; `None` if it has gone.
    fn parent_of(&self, volume: &Volume) -> Result<Option<Uuid>> {
        let path = meta_path(&volume.path);
        match self.files().read(&path) {
            Ok(data) => Ok(PartialVolumeMetadata::parse(&data).0.parent),
            Err(e) if is_missing(&e) => Ok(None),
            Err(e) => {
                let text = format!("{}: {e}", path.display());
                Err(StorageError::VolumeMetadataReadError(text))
            }
        }
    }

    /// Makes a volume a leaf or not, as its children say, `gone` not counted. Templates stay what they are.
    pub(crate) fn recheck_leaf(&self, volume: &Volume, gone: Option<Uuid>) -> Result<()> {
        let leaf = self.children(volume)?.iter().all(|c| Some(*c) == gone);
        self.change_volume(volume, |md| {
            if md.role != VolumeRole::Shared {
                md.role = if leaf {
                    VolumeRole::Leaf
                } else {
                    VolumeRole::Internal
                };
            }
        })
    }

    pub(crate) fn size_of(&self, volume: &Volume) -> Result<VolumeSize> {
        let stat = self
            .files()
            .stat(&volume.path)
            .map_err(|e| reading(&volume.path, &e))?;
        Ok(VolumeSize {
            apparent: stat.size,
            truesize: stat.allocated,
        })
    }

    /// The capacity that a volume should have, if its metadata has less: an update that did not end left it
    /// so, and a snapshot made from it would be too small. Templates never change.
    pub(crate) fn capacity_to_repair(&self, volume: &Volume) -> Result<Option<u64>> {
        let md = self.volume_metadata(volume)?;
        if md.role == VolumeRole::Shared {
            return Ok(None);
        }
        let actual = match md.format {
            VolumeFormat::Raw => self.size_of(volume)?.apparent,
            _ => self.image_info(volume, &md)?.virtual_size,
        };
        Ok((md.capacity < actual).then_some(actual))
    }

    pub(crate) fn image_info(&self, volume: &Volume, md: &VolumeMetadata) -> Result<ImageInfo> {
        let format = qemu_format(md.format)?;
        self.ports
            .qemu
            .info(&volume.path, Some(format))
            .map_err(qemu_error)
    }
}

/// QEMU's name of a format.
pub(crate) fn qemu_format(format: VolumeFormat) -> Result<&'static str> {
    format
        .qemu()
        .ok_or_else(|| StorageError::IncorrectFormat(format.to_string()))
}

/// `qemu-img` failed.
pub(crate) fn qemu_error(error: QemuImgError) -> StorageError {
    StorageError::StorageException(error.to_string())
}

/// Rounded up to [`BLOCK`]; `None` beyond 64 bits.
pub(crate) fn round_up(size: u64) -> Option<u64> {
    size.checked_next_multiple_of(BLOCK)
}

impl StorageManager {
    /// `Volume.getInfo`. Broken metadata is no error, as with VDSM; a volume that is not there is one.
    pub fn volume_info(&self, id: VolumeId) -> Result<VolumeReport> {
        let volume = self.core.volume(id)?;
        match self.core.volume_metadata(&volume) {
            Ok(md) => self.describe(&volume, md).map(VolumeReport::Readable),
            Err(error) => {
                tracing::warn!(volume = %id.volume, %error, "metadata of a volume is broken");
                Ok(VolumeReport::Broken(error))
            }
        }
    }

    fn describe(&self, volume: &Volume, md: VolumeMetadata) -> Result<VolumeInfo> {
        let status = match md.legality {
            Legality::Illegal => VolumeStatus::Illegal,
            Legality::Legal | Legality::Fake => VolumeStatus::Ok,
        };
        Ok(VolumeInfo {
            id: VolumeId {
                domain: md.domain,
                image: md.image,
                volume: volume.id.volume,
            },
            allocation: md.allocation,
            format: md.format,
            disk_type: md.disk_type,
            role: md.role,
            capacity: md.capacity,
            parent: md.parent,
            description: md.description,
            ctime: md.ctime,
            legality: md.legality,
            generation: md.generation,
            sequence: md.sequence,
            size: self.core.size_of(volume)?,
            status,
            lease: None,
        })
    }

    /// `Volume.getSize`.
    pub fn volume_size(&self, id: VolumeId) -> Result<VolumeSize> {
        self.core.size_of(&self.core.volume(id)?)
    }

    /// `Volume.updateSize`: grows a qcow2 leaf that no VM uses; the new virtual size. A raw volume is left
    /// as it is and its size told. Killed in the middle, the capacity stays 0 until the image is prepared.
    pub fn update_volume_size(&self, pool: Uuid, id: VolumeId, new_size: u64) -> Result<u64> {
        self.pool(pool)?;
        let _lock = self.lock([Lock::shared(id.domain), Lock::image(id.domain, id.image)])?;
        let volume = self.core.volume(id)?;
        let md = self.core.volume_metadata(&volume)?;
        if md.role != VolumeRole::Leaf {
            return Err(StorageError::VolumeNonWritable(id.volume));
        }
        if md.format != VolumeFormat::Cow {
            return Ok(self.core.size_of(&volume)?.apparent);
        }
        if md.legality == Legality::Illegal {
            return Err(StorageError::PrepareIllegalVolumeError(id.volume));
        }
        if self.core.image_info(&volume, &md)?.virtual_size > new_size {
            return Err(StorageError::VolumeResizeValueError(new_size.to_string()));
        }
        self.core.change_volume(&volume, |md| md.capacity = 0)?;
        let resized = self.core.ports.qemu.resize(&volume.path, "qcow2", new_size);
        // also after a failure: the capacity must say what the file is
        let actual = self.core.image_info(&volume, &md)?.virtual_size;
        self.core
            .change_volume(&volume, |md| md.capacity = actual)?;
        resized.map_err(qemu_error)?;
        Ok(actual)
    }

    /// `Volume.setSize`: writes the capacity into the metadata, rounded up to 4096.
    pub fn set_volume_size(&self, id: VolumeId, capacity: u64) -> Result<()> {
        let capacity = round_up(capacity).ok_or_else(|| invalid("capacity", capacity))?;
        let _lock = self.lock([Lock::shared(id.domain), Lock::image(id.domain, id.image)])?;
        let volume = self.core.volume(id)?;
        self.core
            .change_volume(&volume, |md| md.capacity = capacity)
    }

    /// `Volume.setDescription`. SPM only. Cut at 210 characters.
    pub fn set_volume_description(
        &self,
        pool: Uuid,
        id: VolumeId,
        description: &str,
    ) -> Result<()> {
        let description = cut_description(description);
        self.change_as_spm(pool, id, |md| md.description = description)
    }

    /// `Volume.setLegality`. SPM only.
    pub fn set_volume_legality(&self, pool: Uuid, id: VolumeId, legality: Legality) -> Result<()> {
        self.change_as_spm(pool, id, |md| md.legality = legality)
    }

    fn change_as_spm(
        &self,
        pool: Uuid,
        id: VolumeId,
        change: impl FnOnce(&mut VolumeMetadata),
    ) -> Result<()> {
        let _lock = self.lock([Lock::shared(id.domain), Lock::image(id.domain, id.image)])?;
        let found = self.pool(pool)?;
        found.check_spm()?;
        self.check_member(&found, id.domain)?;
        let volume = self.core.volume(id)?;
        self.core.change_volume(&volume, change)
    }

    /// `Volume.refresh`: nothing to do for files but to see that the volume is there.
    pub fn refresh_volume(&self, id: VolumeId) -> Result<()> {
        self.core.volume(id).map(|_| ())
    }

    /// `Volume.measure`. With `base`, which must be the parent: the volume and its parent alone, which can
    /// be told here only if the parent has none itself.
    pub fn measure_volume(
        &self,
        id: VolumeId,
        format: VolumeFormat,
        backing: bool,
        base: Option<Uuid>,
    ) -> Result<Measure> {
        let volume = self.core.volume(id)?;
        let md = self.core.volume_metadata(&volume)?;
        let base = base.filter(|_| backing);
        if let Some(base) = base
            && base != md.parent
        {
            return Err(StorageError::UnsupportedOperation {
                reason: "only the parent can be the base of a measurement".to_owned(),
                context: format!("base {base}, parent {}", md.parent),
            });
        }
        if let Some(base) = base {
            self.check_chain_ends(&volume, base)?;
        }
        self.core
            .ports
            .qemu
            .measure(
                &volume.path,
                qemu_format(md.format)?,
                qemu_format(format)?,
                backing,
            )
            .map_err(qemu_error)
    }

    fn check_chain_ends(&self, volume: &Volume, base: Uuid) -> Result<()> {
        let base = volume.domain.volume(volume.id.image, base);
        let parent = self.core.volume_metadata(&base)?.parent;
        if parent.is_nil() {
            return Ok(());
        }
        Err(StorageError::UnsupportedOperation {
            reason: "a part of a chain cannot be measured by this agent yet".to_owned(),
            context: format!("base {} stands on {parent}", base.id.volume),
        })
    }

    /// `Volume.getQemuImageInfo`.
    pub fn qemu_image_info(&self, id: VolumeId) -> Result<ImageInfo> {
        let _lock = self.lock([Lock::shared(id.domain)])?;
        let volume = self.core.volume(id)?;
        let md = self.core.volume_metadata(&volume)?;
        self.core.image_info(&volume, &md)
    }
}
