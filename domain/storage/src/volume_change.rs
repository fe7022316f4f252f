//! Deleting and extending volumes.
//!
//! A deletion that was begun cannot be taken back, so its undo step goes forward. The volume is illegal
//! first, then its parent is a leaf again, then its files go, the metadata last.
//!
//! Facts: `fileVolume.py` (`delete`, `_extendSize`), `volume.py` (`validateDelete`, `extendSize`).

use std::io;

use storage_model::{
    Allocation, Legality, VolumeFormat, VolumeMetadata, VolumeRole, layout::meta_path,
    ports::Journal,
};
use uuid::Uuid;

use crate::{
    Result, StorageError, StorageManager, VolumeId,
    domain::{reading, writing},
    error::invalid,
    fs,
    locks::Lock,
    manager::Core,
    undo::Undo,
    volume::{Volume, round_up},
};

impl StorageManager {
    /// The task of `Volume.delete` and `Image.deleteVolumes`: in the order given, children before parents.
    /// `post_zero` overwrites the content first (VDSM ignores it on file storage).
    #[allow(clippy::too_many_arguments, reason = "as the verb")]
    pub fn delete_volumes(
        &self,
        pool: Uuid,
        domain: Uuid,
        image: Uuid,
        volumes: &[Uuid],
        post_zero: bool,
        force: bool,
        journal: &dyn Journal,
    ) -> Result<()> {
        let _lock = self.lock([Lock::shared(domain), Lock::image(domain, image)])?;
        self.pool(pool)?.check_spm()?;
        for (done, volume) in volumes.iter().enumerate() {
            if journal.cancelled() {
                return Err(StorageError::ActionStopped);
            }
            let id = VolumeId {
                domain,
                image,
                volume: *volume,
            };
            self.core.check_delete(id, force)?;
            Undo::DeleteVolume { id, post_zero }.push(journal)?;
            self.core.finish_delete(id, post_zero)?;
            journal.progress(((done + 1) * 100 / volumes.len()) as u8);
        }
        Ok(())
    }

    /// The task of `Volume.extendSize`: the virtual size of a raw volume, rounded up to 4096. qcow2 volumes
    /// are left alone: their size is in their header (`Volume.updateSize`).
    pub fn extend_volume_size(
        &self,
        pool: Uuid,
        id: VolumeId,
        new_size: u64,
        journal: &dyn Journal,
    ) -> Result<()> {
        let new_size = round_up(new_size).ok_or_else(|| invalid("newSize", new_size))?;
        let _lock = self.lock([Lock::shared(id.domain), Lock::image(id.domain, id.image)])?;
        self.pool(pool)?.check_spm()?;
        let volume = self.core.volume(id)?;
        let md = self.core.volume_metadata(&volume)?;
        if md.role == VolumeRole::Shared {
            return Err(StorageError::VolumeNonWritable(id.volume));
        }
        if md.format != VolumeFormat::Raw {
            return Ok(());
        }
        if !md.parent.is_nil() && md.role != VolumeRole::Leaf {
            return Err(StorageError::VolumeNonWritable(id.volume));
        }
        let current = self.core.size_of(&volume)?.apparent;
        if new_size < current {
            return Err(StorageError::VolumeResizeValueError(new_size.to_string()));
        }
        if new_size > current {
            Undo::ExtendSize(id).push(journal)?;
            self.core.extend(&volume, &md, current, new_size, journal)?;
        }
        self.core.sync_capacity(id)
    }
}

impl Core {
    fn check_delete(&self, id: VolumeId, force: bool) -> Result<()> {
        let volume = self.domain(id.domain)?.volume(id.image, id.volume);
        let meta = meta_path(&volume.path);
        // the metadata goes last: with it alone the volume is one whose deletion did not end
        if !fs::exists(self.files(), &meta).map_err(|e| reading(&meta, &e))? {
            return Err(StorageError::VolumeDoesNotExist(id.volume));
        }
        if force {
            return Ok(());
        }
        match self.volume_metadata(&volume) {
            Ok(md) if md.role == VolumeRole::Shared => {
                let text = format!("img {} vol {}", id.image, id.volume);
                return Err(StorageError::CannotDeleteSharedVolume(text));
            }
            Ok(_) => {}
            Err(error @ StorageError::VolumeMetadataReadError(_)) => return Err(error),
            Err(error) => {
                tracing::warn!(volume = %id.volume, %error, "deleting a volume with broken metadata");
            }
        }
        if self.children(&volume)?.is_empty() {
            Ok(())
        } else {
            Err(StorageError::VolumeImageHasChildren(id))
        }
    }

    /// Deletes a volume, from wherever a former deletion stopped.
    pub(crate) fn finish_delete(&self, id: VolumeId, post_zero: bool) -> Result<()> {
        let volume = self.domain(id.domain)?.volume(id.image, id.volume);
        let meta = meta_path(&volume.path);
        if fs::exists(self.files(), &meta).map_err(|e| reading(&meta, &e))? {
            match self.volume_metadata(&volume) {
                Ok(md) => self.retire(&volume, &md, post_zero)?,
                Err(error @ StorageError::VolumeMetadataReadError(_)) => return Err(error),
                Err(_) => {}
            }
        }
        self.remove_files(&volume)?;
        tracing::info!(domain = %id.domain, image = %id.image, volume = %id.volume, "volume deleted");
        Ok(())
    }

    fn retire(&self, volume: &Volume, md: &VolumeMetadata, post_zero: bool) -> Result<()> {
        if md.image != volume.id.image {
            // a link to a template: the template stays
            return Ok(());
        }
        self.change_volume(volume, |md| md.legality = Legality::Illegal)?;
        if !md.parent.is_nil() {
            let parent = VolumeId {
                volume: md.parent,
                ..volume.id
            };
            match self.volume(parent) {
                Ok(parent) => self.recheck_leaf(&parent, Some(volume.id.volume))?,
                Err(StorageError::VolumeDoesNotExist(_)) => {}
                Err(error) => return Err(error),
            }
        }
        if post_zero {
            self.overwrite(volume, &mut |_| true)?;
        }
        Ok(())
    }

    /// Overwrites the content of a volume with zeroes.
    pub(crate) fn overwrite(
        &self,
        volume: &Volume,
        report: &mut dyn FnMut(u64) -> bool,
    ) -> Result<()> {
        match self.files().zero(&volume.path, report) {
            Ok(()) => Ok(()),
            Err(e) if crate::error::is_missing(&e) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Err(StorageError::ActionStopped),
            Err(e) => Err(writing(volume.id.domain, &volume.path, &e)),
        }
    }

    fn extend(
        &self,
        volume: &Volume,
        md: &VolumeMetadata,
        from: u64,
        to: u64,
        journal: &dyn Journal,
    ) -> Result<()> {
        let length = to.saturating_sub(from).max(1);
        let mut report = |done: u64| {
            let percent = u128::from(done.min(length)) * 100 / u128::from(length);
            journal.progress(percent as u8);
            !journal.cancelled()
        };
        let grown = match md.allocation {
            Allocation::Preallocated => {
                self.files()
                    .allocate(&volume.path, from, length, &mut report)
            }
            _ => self.files().truncate(&volume.path, to),
        };
        grown.map_err(|e| match e.kind() {
            io::ErrorKind::Interrupted => StorageError::ActionStopped,
            _ => writing(volume.id.domain, &volume.path, &e),
        })
    }

    /// Makes the metadata of a raw volume say what its size is.
    pub(crate) fn sync_capacity(&self, id: VolumeId) -> Result<()> {
        let volume = self.volume(id)?;
        let size = self.size_of(&volume)?.apparent;
        self.change_volume(&volume, |md| {
            if md.format == VolumeFormat::Raw {
                md.capacity = size;
            }
        })
    }
}
