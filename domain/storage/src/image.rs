//! Images: made ready for QEMU, taken back, deleted.
//!
//! A deletion has two halves: renaming the folder to `_remove_me_<image>`, after which nobody sees the image,
//! and removing what is in it, which may take long. The name says whether it is overwritten first, so that
//! this is not forgotten with the process. A killed second half is finished by its undo step, by
//! [`StorageManager::recover`], or by VDSM's own collector of such folders.
//!
//! Facts: `hsm.py` (`prepareImage`, `deleteImage`), `fileSD.py`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use storage_model::{
    DomainClass, Legality, VolumeMetadata, VolumeRole,
    layout::{LEASE_SUFFIX, META_SUFFIX, NEW_SUFFIX, id_of_name, volume_of_meta},
    ports::Journal,
};
use uuid::Uuid;

use crate::{
    ImageVolume, PreparedImage, PurgeImage, Result, StorageError, StorageManager, VolumeId,
    domain::{Domain, reading},
    error::bad_metadata,
    fs,
    locks::Lock,
    manager::Core,
    undo::Undo,
    volume::Volume,
};

type Chain = BTreeMap<Uuid, (Volume, VolumeMetadata)>;

impl StorageManager {
    /// `Image.prepare`. A nil pool needs no connected pool: so also for VMs found running after a restart.
    /// Idempotent.
    pub fn prepare_image(
        &self,
        pool: Uuid,
        leaf: VolumeId,
        allow_illegal: bool,
    ) -> Result<PreparedImage> {
        if !pool.is_nil() {
            self.pool(pool)?;
        }
        let volumes = {
            let _lock = self.lock([Lock::shared(leaf.domain)])?;
            self.core.image_volumes(leaf, allow_illegal)?
        };
        self.repair(leaf, &volumes)?;
        let (top, md) = volumes
            .get(&leaf.volume)
            .ok_or(StorageError::VolumeDoesNotExist(leaf.volume))?;
        let link = self.link_image(&top.domain, leaf.image)?;
        let path = if pool.is_nil() {
            link.join(leaf.volume.to_string())
        } else {
            top.path.clone()
        };
        Ok(PreparedImage {
            path,
            info_path: top.path.clone(),
            format: md.format,
            volumes: base_first(leaf, &volumes)?,
        })
    }

    fn repair(&self, leaf: VolumeId, volumes: &Chain) -> Result<()> {
        for (volume, _) in volumes.values() {
            if self.core.capacity_to_repair(volume)?.is_none() {
                continue;
            }
            let _lock = self.lock([
                Lock::shared(leaf.domain),
                Lock::image(leaf.domain, leaf.image),
            ])?;
            if let Some(actual) = self.core.capacity_to_repair(volume)? {
                tracing::warn!(volume = %volume.id.volume, actual, "capacity repaired");
                self.core.change_volume(volume, |md| md.capacity = actual)?;
            }
        }
        Ok(())
    }

    fn run_link(&self, domain: Uuid, image: Uuid) -> PathBuf {
        self.core
            .settings
            .run_dir
            .join(domain.to_string())
            .join(image.to_string())
    }

    fn link_image(&self, domain: &Domain, image: Uuid) -> Result<PathBuf> {
        let link = self.run_link(domain.id, image);
        let failed = |e| StorageError::StorageException(format!("{}: {e}", link.display()));
        if let Some(dir) = link.parent() {
            fs::make_dirs(self.core.files(), dir).map_err(failed)?;
        }
        let target = domain.paths.image(image);
        if !self
            .core
            .files()
            .read_link(&link)
            .is_ok_and(|t| t == target)
        {
            self.core.files().symlink(&target, &link).map_err(failed)?;
        }
        Ok(link)
    }

    /// `Image.teardown`. Idempotent; an image or domain that has gone is fine.
    pub fn teardown_image(&self, domain: Uuid, image: Uuid) -> Result<()> {
        let link = self.run_link(domain, image);
        fs::remove_file(self.core.files(), &link)
            .map_err(|e| StorageError::StorageException(format!("{}: {e}", link.display())))
    }

    /// The first half of `Image.delete`, before its task: checks, and takes the image out of sight.
    pub fn delete_image(
        &self,
        pool: Uuid,
        domain: Uuid,
        image: Uuid,
        post_zero: bool,
        discard: bool,
    ) -> Result<PurgeImage> {
        let found = self.pool(pool)?;
        let home = self.core.domain(domain)?;
        found.check_spm()?;
        let _lock = self.lock([Lock::shared(domain), Lock::image(domain, image)])?;
        self.core.check_image_delete(&home, image)?;
        if discard {
            let reason = "file storage domain".to_owned();
            return Err(StorageError::DiscardIsNotSupported { domain, reason });
        }
        let purge = PurgeImage {
            pool,
            domain,
            image,
            post_zero,
        };
        // what is left of an older image of this id
        self.core.purge(&purge, &mut |_| true)?;
        let (from, to) = (
            home.paths.image(image),
            home.paths.removed_image(image, post_zero),
        );
        self.core
            .files()
            .rename(&from, &to)
            .map_err(|e| StorageError::ImageDeleteError {
                image,
                list: e.to_string(),
            })?;
        tracing::info!(%domain, %image, "image deleted, to be purged");
        Ok(purge)
    }

    /// The task of `Image.delete`: removes the files of an image that is out of sight. Cannot be stopped
    /// without leaving the rest to the next start.
    pub fn purge_image(&self, purge: &PurgeImage, journal: &dyn Journal) -> Result<()> {
        let _lock = self.lock([Lock::shared(purge.domain)])?;
        let (domain, image) = (purge.domain, purge.image);
        Undo::PurgeImage {
            domain,
            image,
            post_zero: purge.post_zero,
        }
        .push(journal)?;
        self.core.purge(purge, &mut |percent| {
            journal.progress(percent);
            !journal.cancelled()
        })
    }
}

/// The chain of a leaf, base first, then what else is in the image.
fn base_first(leaf: VolumeId, volumes: &Chain) -> Result<Vec<ImageVolume>> {
    let mut order = Vec::new();
    let mut seen = BTreeSet::new();
    let mut next = leaf.volume;
    while !next.is_nil() {
        let Some((_, md)) = volumes.get(&next).filter(|_| seen.insert(next)) else {
            tracing::error!(image = %leaf.image, volume = %next, "the chain is broken");
            return Err(StorageError::ImageIsNotLegalChain(leaf.image));
        };
        order.insert(0, next);
        next = if md.role == VolumeRole::Shared {
            Uuid::nil()
        } else {
            md.parent
        };
    }
    order.extend(volumes.keys().filter(|id| !seen.contains(*id)));
    Ok(order
        .iter()
        .filter_map(|id| volumes.get(id))
        .map(|(volume, _)| ImageVolume {
            id: volume.id,
            path: volume.path.clone(),
            lease: None,
        })
        .collect())
}

impl Core {
    fn image_volumes(&self, leaf: VolumeId, allow_illegal: bool) -> Result<Chain> {
        let domain = self.domain(leaf.domain)?;
        let mut volumes = Chain::new();
        for id in self.volumes_in(&domain, leaf.image)? {
            let volume = domain.volume(leaf.image, id);
            let md = self.volume_metadata(&volume)?;
            volumes.insert(id, (volume, md));
        }
        if !volumes.contains_key(&leaf.volume) {
            return Err(StorageError::VolumeDoesNotExist(leaf.volume));
        }
        for (id, (volume, md)) in &volumes {
            if md.legality == Legality::Illegal && !allow_illegal {
                return Err(StorageError::PrepareIllegalVolumeError(*id));
            }
            self.let_group_in(volume)?;
        }
        Ok(volumes)
    }

    /// QEMU gets in by the group: what the owner may, the group may.
    fn let_group_in(&self, volume: &Volume) -> Result<()> {
        let mode = match self.files().stat(&volume.path) {
            Ok(stat) => stat.mode,
            Err(e) if crate::error::is_missing(&e) => {
                return Err(StorageError::VolumeDoesNotExist(volume.id.volume));
            }
            Err(e) => return Err(reading(&volume.path, &e)),
        };
        let wanted = mode | ((mode & 0o700) >> 3);
        if wanted == mode {
            return Ok(());
        }
        self.files()
            .set_mode(&volume.path, wanted)
            .map_err(|_| StorageError::VolumeAccessError(volume.path.display().to_string()))
    }

    fn check_image_delete(&self, domain: &Domain, image: Uuid) -> Result<()> {
        let volumes = self.volumes_in(domain, image)?;
        if volumes.is_empty() {
            return Err(StorageError::ImageDoesNotExistInSD {
                image,
                domain: domain.id,
            });
        }
        if self.metadata(domain)?.class().map_err(bad_metadata)? == DomainClass::Backup {
            return Err(StorageError::UnsupportedOperation {
                reason: "images of backup domains cannot be deleted by this agent yet".to_owned(),
                context: format!("domain {}", domain.id),
            });
        }
        for id in volumes {
            let volume = domain.volume(image, id);
            if self.is_template_in_use(&volume)? {
                let text = format!("image {image}, volume {id}");
                return Err(StorageError::CannotDeleteSharedVolume(text));
            }
        }
        Ok(())
    }

    /// Is this the template's own volume, and do other images have links to it?
    fn is_template_in_use(&self, volume: &Volume) -> Result<bool> {
        let own = match self.volume_metadata(volume) {
            Ok(md) => md.image == volume.id.image,
            Err(error @ StorageError::VolumeMetadataReadError(_)) => return Err(error),
            // broken metadata: told by whether others have it
            Err(_) => true,
        };
        Ok(own && self.images_with(&volume.domain, volume.id.volume)?.len() > 1)
    }

    /// Images that have this volume or a link to it.
    fn images_with(&self, domain: &Domain, volume: Uuid) -> Result<Vec<Uuid>> {
        let mut images = Vec::new();
        for image in self.images(domain)? {
            let path = domain.paths.volume(image, volume);
            if fs::exists(self.files(), &path).map_err(|e| reading(&path, &e))? {
                images.push(image);
            }
        }
        Ok(images)
    }

    /// Images of a domain.
    pub(crate) fn images(&self, domain: &Domain) -> Result<Vec<Uuid>> {
        let dir = domain.paths.images();
        let names = self.files().list(&dir).map_err(|e| reading(&dir, &e))?;
        Ok(names.iter().filter_map(|n| id_of_name(n)).collect())
    }

    /// Removes an image that was renamed. Gone is fine.
    pub(crate) fn purge(
        &self,
        purge: &PurgeImage,
        report: &mut dyn FnMut(u8) -> bool,
    ) -> Result<()> {
        let domain = self.domain(purge.domain)?;
        let dir = domain.paths.removed_image(purge.image, purge.post_zero);
        self.purge_dir(&dir, purge, report)?;
        tracing::info!(domain = %purge.domain, image = %purge.image, "image purged");
        Ok(())
    }

    fn purge_dir(
        &self,
        dir: &Path,
        purge: &PurgeImage,
        report: &mut dyn FnMut(u8) -> bool,
    ) -> Result<()> {
        let failed = |e: std::io::Error| StorageError::ImageDeleteError {
            image: purge.image,
            list: e.to_string(),
        };
        let names = fs::list(self.files(), dir).map_err(failed)?;
        // data before metadata: what a volume was is known until it is gone
        let mut ordered: Vec<&String> = names.iter().collect();
        ordered.sort_by_key(|n| {
            [META_SUFFIX, LEASE_SUFFIX, NEW_SUFFIX]
                .iter()
                .any(|s| n.ends_with(s))
        });
        for (done, name) in ordered.iter().enumerate() {
            if !report((done * 100 / ordered.len()) as u8) {
                return Err(StorageError::ActionStopped);
            }
            if purge.post_zero && self.is_own_data(dir, name, purge.image) {
                let keep_on = &mut |_| report((done * 100 / ordered.len()) as u8);
                let zeroed = self.files().zero(&dir.join(name), keep_on);
                zeroed.map_err(|e| match e.kind() {
                    std::io::ErrorKind::Interrupted => StorageError::ActionStopped,
                    _ => failed(e),
                })?;
            }
            fs::remove_tree(self.files(), &dir.join(name)).map_err(failed)?;
        }
        fs::remove_dir(self.files(), dir).map_err(failed)?;
        report(100);
        Ok(())
    }

    /// Is this file a volume of the image itself? A template's link must never be overwritten.
    fn is_own_data(&self, dir: &Path, name: &str, image: Uuid) -> bool {
        let meta = format!("{name}{META_SUFFIX}");
        if volume_of_meta(&meta).is_none() {
            return false;
        }
        let data = self.files().read(&dir.join(meta));
        data.ok()
            .and_then(|d| VolumeMetadata::parse(&d).ok())
            .is_some_and(|md| md.image == image)
    }
}
