//! Volumes for VMs, made ready by storage.

use std::sync::Arc;

use storage::{ImageVolume, StorageError, StorageManager, VolumeId};
use vm_model::ports::{
    ChainLink, Pdiv, PreparedVolume, VolumeLease, VolumeSize, Volumes, VolumesError,
};

/// Storage as VMs see it.
pub(crate) struct StorageVolumes(pub(crate) Arc<StorageManager>);

impl Volumes for StorageVolumes {
    fn prepare(&self, volume: &Pdiv) -> Result<PreparedVolume, VolumesError> {
        let prepared = self
            .0
            .prepare_image(volume.pool, id(volume), false)
            .map_err(|e| why(volume, &e))?;
        let format = prepared
            .format
            .qemu()
            .ok_or_else(|| VolumesError::Unusable {
                id: *volume,
                why: "its format is not known".to_owned(),
            })?;
        Ok(PreparedVolume {
            path: prepared.path,
            format: format.to_owned(),
            block: false,
            chain: prepared
                .volumes
                .into_iter()
                .map(|link| chain_link(volume, link))
                .collect(),
        })
    }

    fn teardown(&self, volume: &Pdiv) -> Result<(), VolumesError> {
        match self.0.teardown_image(volume.domain, volume.image) {
            Ok(()) => Ok(()),
            Err(error) if is_gone(&error) => Ok(()),
            Err(error) => Err(why(volume, &error)),
        }
    }

    fn size(&self, volume: &Pdiv) -> Result<VolumeSize, VolumesError> {
        let size = self
            .0
            .volume_size(id(volume))
            .map_err(|e| why(volume, &e))?;
        Ok(VolumeSize {
            apparent: size.apparent,
            allocated: size.truesize,
        })
    }
}

fn id(volume: &Pdiv) -> VolumeId {
    VolumeId {
        domain: volume.domain,
        image: volume.image,
        volume: volume.volume,
    }
}

fn chain_link(of: &Pdiv, link: ImageVolume) -> ChainLink {
    let id = link.id;
    ChainLink {
        volume: Pdiv {
            pool: of.pool,
            domain: id.domain,
            image: id.image,
            volume: id.volume,
        },
        path: link.path,
        lease: link.lease.map(|lease| VolumeLease {
            path: lease.path,
            offset: lease.offset,
        }),
    }
}

fn is_gone(error: &StorageError) -> bool {
    matches!(
        error,
        StorageError::VolumeDoesNotExist(_)
            | StorageError::ImageDoesNotExistInSD { .. }
            | StorageError::StorageDomainDoesNotExist(_)
    )
}

fn why(volume: &Pdiv, error: &StorageError) -> VolumesError {
    if is_gone(error) {
        VolumesError::NotFound(*volume)
    } else {
        VolumesError::Unusable {
            id: *volume,
            why: error.to_string(),
        }
    }
}
