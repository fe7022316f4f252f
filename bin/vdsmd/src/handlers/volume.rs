//! `Volume.*`.

use schema::{
    CallContext, Done, Str, VolumeApi,
    volume::{
        BrokenVolume, Create, Delete, ExtendSize, GetInfo, GetQemuImageInfo, GetSize, Measure,
        MeasureVolume, QemuImageInfo, SetDescription, SetLegality, VolumeInfo, VolumeLease,
        VolumeReport, VolumeSize, VolumeStatus,
    },
};
use storage::{CreateVolume, VolumeId};
use uuid::Uuid;

use super::{Answer, words};
use crate::{agent::Agent, errors};

impl VolumeApi for Agent {
    fn volume_create(&self, cx: &CallContext, p: Create) -> Answer<Uuid> {
        let request = CreateVolume {
            pool: p.pool_id,
            id: id(p.domain_id, p.image_id, p.volume_id),
            capacity: p.size.0,
            format: words::format_of(p.format),
            allocation: words::allocation_of(p.allocation),
            disk_type: p.disk_type.as_str().to_owned(),
            description: p.description,
            source_image: p.parent_image,
            source_volume: p.parent_volume,
            initial_size: p.initial_size.map(|Str(it)| it),
            legal: p.legal,
            sequence: u64::try_from(p.sequence).unwrap_or(0),
            add_bitmaps: p.add_bitmaps,
            bitmap: p.bitmap,
        };
        self.storage
            .check_create_volume(&request)
            .map_err(errors::storage)?;
        let storage = self.storage.clone();
        self.submit("createVolume", cx, move |journal| {
            storage.create_volume(&request, journal).map(drop)
        })
    }

    fn volume_delete(&self, cx: &CallContext, p: Delete) -> Answer<Uuid> {
        self.storage
            .check_spm_task(p.pool_id, p.domain_id)
            .map_err(errors::storage)?;
        let storage = self.storage.clone();
        self.submit("deleteVolume", cx, move |journal| {
            storage.delete_volumes(
                p.pool_id,
                p.domain_id,
                p.image_id,
                &[p.volume_id],
                p.post_zero,
                p.force,
                journal,
            )
        })
    }

    fn volume_get_info(&self, _: &CallContext, p: GetInfo) -> Answer<VolumeReport> {
        let id = id(p.domain_id, p.image_id, p.volume_id);
        let report = self.storage.volume_info(id).map_err(errors::storage)?;
        let told = report.readable().and_then(info);
        Ok(told.map_or_else(broken, VolumeReport::Readable))
    }

    fn volume_get_size(&self, _: &CallContext, p: GetSize) -> Answer<VolumeSize> {
        let id = id(p.domain_id, p.image_id, p.volume_id);
        let size = self.storage.volume_size(id).map_err(errors::storage)?;
        Ok(VolumeSize {
            apparentsize: Str(size.apparent),
            truesize: Str(size.truesize),
        })
    }

    fn volume_extend_size(&self, cx: &CallContext, p: ExtendSize) -> Answer<Uuid> {
        self.storage
            .check_spm_task(p.pool_id, p.domain_id)
            .map_err(errors::storage)?;
        let id = id(p.domain_id, p.image_id, p.volume_id);
        let storage = self.storage.clone();
        self.submit("extendVolumeSize", cx, move |journal| {
            storage.extend_volume_size(p.pool_id, id, p.new_size.0, journal)
        })
    }

    fn volume_set_legality(&self, _: &CallContext, p: SetLegality) -> Answer<Done> {
        let id = id(p.domain_id, p.image_id, p.volume_id);
        let set = self
            .storage
            .set_volume_legality(p.pool_id, id, words::legality_of(p.legality));
        set.map(|()| Done).map_err(errors::storage)
    }

    fn volume_set_description(&self, _: &CallContext, p: SetDescription) -> Answer<Done> {
        let id = id(p.domain_id, p.image_id, p.volume_id);
        let set = self
            .storage
            .set_volume_description(p.pool_id, id, &p.description);
        set.map(|()| Done).map_err(errors::storage)
    }

    fn volume_measure(&self, _: &CallContext, p: MeasureVolume) -> Answer<Measure> {
        let id = id(p.domain_id, p.image_id, p.volume_id);
        let format = words::format_of(p.format);
        let measured = self
            .storage
            .measure_volume(id, format, p.backing_chain, p.base_id);
        let measured = measured.map_err(errors::storage)?;
        Ok(Measure {
            required: measured.required,
            fully_allocated: Some(measured.fully_allocated),
            bitmaps: measured.bitmaps,
        })
    }

    fn volume_get_qemu_image_info(
        &self,
        _: &CallContext,
        p: GetQemuImageInfo,
    ) -> Answer<QemuImageInfo> {
        let id = id(p.domain_id, p.image_id, p.volume_id);
        let info = self.storage.qemu_image_info(id).map_err(errors::storage)?;
        Ok(QemuImageInfo {
            format: info.format,
            virtualsize: info.virtual_size,
            clustersize: info.cluster_size,
            backingfile: info.backing_file,
            compat: info.compat,
            bitmaps: None,
        })
    }
}

fn id(domain: Uuid, image: Uuid, volume: Uuid) -> VolumeId {
    VolumeId {
        domain,
        image,
        volume,
    }
}

/// `None` if a word of its metadata is none of the wire's.
fn info(info: storage::VolumeInfo) -> Option<VolumeInfo> {
    Some(VolumeInfo {
        uuid: info.id.volume,
        allocation: words::allocation(info.allocation)?,
        format: words::format(info.format)?,
        disktype: info.disk_type,
        role: words::volume_role(info.role),
        capacity: Str(info.capacity),
        parent: info.parent,
        description: info.description,
        pool: String::new(),
        domain: info.id.domain,
        image: info.id.image,
        ctime: Str(info.ctime),
        mtime: Str(0),
        legality: words::legality(info.legality),
        generation: info.generation,
        sequence: info.sequence,
        apparentsize: Str(info.size.apparent),
        truesize: Str(info.size.truesize),
        status: words::volume_status(info.status),
        children: Vec::new(),
        lease: info.lease.as_ref().map(|lease| VolumeLease {
            path: lease.path.display().to_string(),
            offset: lease.offset,
            owners: None,
            version: None,
        }),
    })
}

/// Upstream's answer where the metadata does not make sense: these keys and no others.
fn broken() -> VolumeReport {
    VolumeReport::Broken(BrokenVolume {
        apparentsize: Str(0),
        truesize: Str(0),
        status: VolumeStatus::Invalid,
        children: Vec::new(),
    })
}
