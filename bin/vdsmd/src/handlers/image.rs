//! `Image.*`.

use schema::{
    CallContext, Done, ImageApi,
    image::{Delete, GetVolumes, ImageVolume, LeafInfo, Prepare, PreparedImage, Teardown},
};
use storage::VolumeId;
use uuid::Uuid;

use super::Answer;
use crate::{agent::Agent, errors};

impl ImageApi for Agent {
    fn image_prepare(&self, _: &CallContext, p: Prepare) -> Answer<PreparedImage> {
        let leaf = VolumeId {
            domain: p.domain_id,
            image: p.image_id,
            volume: p.volume_id,
        };
        let prepared = self.storage.prepare_image(p.pool_id, leaf, p.allow_illegal);
        let prepared = prepared.map_err(errors::storage)?;
        Ok(PreparedImage {
            path: prepared.path.display().to_string(),
            info: LeafInfo {
                kind: "file".to_owned(),
                path: prepared.info_path.display().to_string(),
            },
            volumes: prepared.volumes.into_iter().map(volume).collect(),
        })
    }

    fn image_teardown(&self, _: &CallContext, p: Teardown) -> Answer<Done> {
        let done = self.storage.teardown_image(p.domain_id, p.image_id);
        done.map(|()| Done).map_err(errors::storage)
    }

    fn image_delete(&self, cx: &CallContext, p: Delete) -> Answer<Uuid> {
        let purge =
            self.storage
                .delete_image(p.pool_id, p.domain_id, p.image_id, p.post_zero, p.discard);
        let purge = purge.map_err(errors::storage)?;
        let storage = self.storage.clone();
        self.submit("deleteImage", cx, move |journal| {
            storage.purge_image(&purge, journal)
        })
    }

    fn image_get_volumes(&self, _: &CallContext, p: GetVolumes) -> Answer<Vec<Uuid>> {
        self.storage
            .domain_volumes(p.domain_id, p.image_id)
            .map_err(errors::storage)
    }
}

fn volume(volume: storage::ImageVolume) -> ImageVolume {
    ImageVolume {
        domain_id: volume.id.domain,
        image_id: volume.id.image,
        volume_id: volume.id.volume,
        path: volume.path.display().to_string(),
        lease_path: volume
            .lease
            .as_ref()
            .map(|lease| lease.path.display().to_string()),
        lease_offset: volume.lease.map(|lease| lease.offset),
    }
}
