//! What is in a domain: images, volumes, the dump of all metadata.
//!
//! Facts: `fileSD.py` (`getAllImages`, `getAllVolumes`, `dump`).

use std::{collections::BTreeSet, path::Path};

use storage_model::{
    PartialVolumeMetadata,
    layout::{META_SUFFIX, id_of_name, removed_name},
};
use uuid::Uuid;

use crate::{
    DomainDump, DumpedVolume, Result, StorageManager, VolumeStatus,
    domain::{Domain, reading},
    locks::Lock,
};

impl StorageManager {
    /// `StorageDomain.getImages`.
    pub fn domain_images(&self, domain: Uuid) -> Result<Vec<Uuid>> {
        let _lock = self.lock([Lock::shared(domain)])?;
        self.core.images(&self.core.domain(domain)?)
    }

    /// `StorageDomain.getVolumes`, `Image.getVolumes`; a nil image means all. An image has its template's
    /// volume too. Unknown images have none.
    pub fn domain_volumes(&self, domain: Uuid, image: Uuid) -> Result<Vec<Uuid>> {
        let _lock = self.lock([Lock::shared(domain)])?;
        let found = self.core.domain(domain)?;
        let images = if image.is_nil() {
            self.core.images(&found)?
        } else {
            vec![image]
        };
        let mut all = BTreeSet::new();
        for image in images {
            all.extend(self.core.volumes_in(&found, image)?);
        }
        Ok(all.into_iter().collect())
    }

    /// `StorageDomain.dump` (without leases, of which local domains have none).
    pub fn dump_domain(&self, domain: Uuid) -> Result<DomainDump> {
        let _lock = self.lock([Lock::shared(domain)])?;
        let found = self.core.domain(domain)?;
        Ok(DomainDump {
            info: self.info(&found)?,
            volumes: self.dump_volumes(&found)?,
        })
    }

    fn dump_volumes(&self, domain: &Domain) -> Result<Vec<DumpedVolume>> {
        let dir = domain.paths.images();
        let mut volumes: Vec<DumpedVolume> = Vec::new();
        for name in self
            .core
            .files()
            .list(&dir)
            .map_err(|e| reading(&dir, &e))?
        {
            let removed = removed_name(&name).is_some();
            if !removed && id_of_name(&name).is_none() {
                continue;
            }
            let image = dir.join(&name);
            let files = self
                .core
                .files()
                .list(&image)
                .map_err(|e| reading(&image, &e))?;
            for volume in files.iter().filter_map(|n| n.strip_suffix(META_SUFFIX)) {
                let dumped = self.dump_volume(&image, &name, volume, removed);
                // a template is in several images; told once, by its own
                match volumes.iter_mut().find(|v| v.volume == dumped.volume) {
                    None => volumes.push(dumped),
                    Some(known) if dumped.image == name => *known = dumped,
                    Some(_) => {}
                }
            }
        }
        Ok(volumes)
    }

    fn dump_volume(&self, dir: &Path, image: &str, volume: &str, removed: bool) -> DumpedVolume {
        let files = self.core.files();
        let (metadata, sound) = match files.read(&dir.join(format!("{volume}{META_SUFFIX}"))) {
            Ok(data) => {
                let (metadata, errors) = PartialVolumeMetadata::parse(&data);
                (metadata, errors.is_empty())
            }
            Err(_) => (PartialVolumeMetadata::default(), false),
        };
        let stat = files.stat(&dir.join(volume)).ok();
        let status = match (removed, sound && stat.is_some()) {
            (true, _) => VolumeStatus::Removed,
            (false, true) => VolumeStatus::Ok,
            (false, false) => VolumeStatus::Invalid,
        };
        DumpedVolume {
            volume: volume.to_owned(),
            image: metadata
                .image
                .map_or_else(|| image.to_owned(), |id| id.to_string()),
            status,
            metadata,
            true_size: stat.map(|s| s.allocated),
            apparent_size: stat.map(|s| s.size),
        }
    }
}
