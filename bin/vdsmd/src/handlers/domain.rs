//! `StorageDomain.*`.

use schema::{
    CallContext, Done, StorageDomainApi, Str,
    domain::{
        Activate, Attach, Create, Deactivate, Detach, DomainDump, DomainInfo, DomainStats, Dump,
        Format, GetImages, GetInfo, GetStats, GetVolumes, Validate, VolumeDump,
    },
};
use storage::{CreateDomain, DumpedVolume};
use uuid::Uuid;

use super::{Answer, words};
use crate::{agent::Agent, errors};

impl StorageDomainApi for Agent {
    fn domain_create(&self, _: &CallContext, p: Create) -> Answer<Done> {
        let request = CreateDomain {
            domain: p.domain_id,
            domain_type: words::domain_type_of(p.domain_type),
            class: words::domain_class_of(p.class)?,
            name: p.name,
            remote_path: p.location.as_str().to_owned(),
            version: p.version.and_then(|it| u32::try_from(it).ok()).unwrap_or(0),
            block_size: p.block_size,
            max_hosts: p.max_hosts,
        };
        self.storage
            .create_domain(&request)
            .map(|()| Done)
            .map_err(errors::storage)
    }

    fn domain_format(&self, _: &CallContext, p: Format) -> Answer<Done> {
        let formatted = self.storage.format_domain(p.domain_id, p.auto_detach);
        formatted.map(|()| Done).map_err(errors::storage)
    }

    fn domain_attach(&self, _: &CallContext, p: Attach) -> Answer<Done> {
        let attached = self.storage.attach_domain(p.domain_id, p.pool_id);
        attached.map(|()| Done).map_err(errors::storage)
    }

    fn domain_activate(&self, _: &CallContext, p: Activate) -> Answer<Done> {
        let activated = self.storage.activate_domain(p.domain_id, p.pool_id);
        activated.map(|()| Done).map_err(errors::storage)
    }

    fn domain_deactivate(&self, _: &CallContext, p: Deactivate) -> Answer<Done> {
        let deactivated = self.storage.deactivate_domain(
            p.domain_id,
            p.pool_id,
            p.master_id,
            p.master_version.into(),
        );
        deactivated.map(|()| Done).map_err(errors::storage)
    }

    fn domain_detach(&self, _: &CallContext, p: Detach) -> Answer<Done> {
        let detached = self.storage.detach_domain(p.domain_id, p.pool_id, p.force);
        detached.map(|()| Done).map_err(errors::storage)
    }

    fn domain_get_info(&self, _: &CallContext, p: GetInfo) -> Answer<DomainInfo> {
        self.storage
            .domain_info(p.domain_id)
            .map(info)
            .map_err(errors::storage)
    }

    fn domain_get_stats(&self, _: &CallContext, p: GetStats) -> Answer<DomainStats> {
        let stats = self
            .storage
            .domain_stats(p.domain_id)
            .map_err(errors::storage)?;
        Ok(DomainStats {
            disktotal: Str(stats.disk_total),
            diskfree: Str(stats.disk_free),
            mdavalid: true,
            mdathreshold: true,
            mdasize: 0,
            mdafree: 0,
            alerts: None,
        })
    }

    fn domain_validate(&self, _: &CallContext, p: Validate) -> Answer<Done> {
        self.storage
            .validate_domain(p.domain_id)
            .map(|()| Done)
            .map_err(errors::storage)
    }

    fn domain_get_images(&self, _: &CallContext, p: GetImages) -> Answer<Vec<Uuid>> {
        self.storage
            .domain_images(p.domain_id)
            .map_err(errors::storage)
    }

    fn domain_get_volumes(&self, _: &CallContext, p: GetVolumes) -> Answer<Vec<Uuid>> {
        let image = p.image_id.unwrap_or_default();
        self.storage
            .domain_volumes(p.domain_id, image)
            .map_err(errors::storage)
    }

    fn domain_dump(&self, _: &CallContext, p: Dump) -> Answer<DomainDump> {
        let dump = self
            .storage
            .dump_domain(p.domain_id)
            .map_err(errors::storage)?;
        let volumes = dump.volumes.iter().filter_map(|volume| {
            // Names that are no UUIDs have no place in this answer; upstream takes them for no volumes either.
            Some((volume.volume.parse().ok()?, dumped(volume)?))
        });
        Ok(DomainDump {
            volumes: volumes.collect(),
            metadata: info(dump.info),
            leases: None,
            lockspace: None,
            external_leases: None,
        })
    }
}

fn info(info: storage::DomainInfo) -> DomainInfo {
    DomainInfo {
        uuid: info.domain,
        domain_type: words::domain_type(info.domain_type),
        class: words::domain_class(info.class),
        name: info.name,
        role: words::domain_role(info.role),
        pool: info.pools,
        version: Str(i32::try_from(info.version).unwrap_or(-1)),
        block_size: info.block_size,
        alignment: info.alignment,
        remote_path: Some(info.remote_path),
        vguuid: None,
        state: None,
        metadata_device: None,
        vg_metadata_device: None,
    }
}

fn dumped(volume: &DumpedVolume) -> Option<VolumeDump> {
    let metadata = &volume.metadata;
    Some(VolumeDump {
        image: volume.image.parse().ok()?,
        parent: metadata.parent,
        capacity: metadata.capacity,
        format: metadata.format.and_then(words::format),
        allocation: metadata.allocation.and_then(words::allocation),
        role: metadata.role.map(words::volume_role),
        disktype: metadata.disk_type.clone(),
        description: metadata.description.clone(),
        legality: metadata.legality.map(words::legality),
        ctime: metadata.ctime,
        generation: metadata.generation,
        sequence: metadata.sequence,
        mdslot: None,
        status: words::volume_status(volume.status),
        truesize: volume.true_size,
        apparentsize: volume.apparent_size,
    })
}
