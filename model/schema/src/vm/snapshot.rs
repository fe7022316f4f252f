//! Snapshots of a running VM, with or without its memory; hibernation; sealing a template.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    desc::{Type, Wire},
    values::Done,
};

wire! {
    /// A disk of a snapshot by its volumes.
    pub struct SnapshotVolume {
        /// The image.
        image_id "imageID": Uuid,
        /// Its domain.
        domain_id "domainID": Uuid,
        /// The volume that is the leaf now.
        base_id "baseVolumeID": Uuid,
        /// The volume that will be the leaf.
        volume_id "volumeID": Uuid,
    }

    /// A disk of a snapshot by its LUNs.
    pub struct SnapshotLun {
        /// The LUN now.
        base_guid "baseGUID": String,
        /// The LUN afterwards.
        guid "GUID": String,
    }

    /// A disk of a snapshot by its UUIDs.
    pub struct SnapshotUuid {
        /// The disk now.
        base_uuid "baseUUID": Uuid,
        /// The disk afterwards.
        uuid "UUID": Uuid,
    }

    /// A volume by where it is.
    pub struct VolumeAddress {
        /// Its domain.
        domain_id "sd_id": Uuid,
        /// Its image.
        image_id "img_id": Uuid,
        /// The volume.
        volume_id "vol_id": Uuid,
    }
}

/// A disk of a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SnapshotDisk {
    /// By its volumes.
    Volume(SnapshotVolume),
    /// By its LUNs.
    Lun(SnapshotLun),
    /// By its UUIDs.
    Uuid(SnapshotUuid),
}

impl Wire for SnapshotDisk {
    const TYPE: &'static Type =
        &Type::Union(&[SnapshotVolume::TYPE, SnapshotLun::TYPE, SnapshotUuid::TYPE]);
}

namespace! {
    /// Snapshots of a VM.
    pub trait SnapshotApi = "VM";

    /// Makes a snapshot: from now on the disks write to new volumes.
    Virt fn snapshot "snapshot" (Snapshot {
        /// The VM.
        vm_id "vmID": Uuid,
        /// The disks.
        disks "snapDrives": Vec<SnapshotDisk>,
        /// Where its memory goes: ids of domain, pool, image, volume of the memory, then image and volume of the
        /// configuration, with commas between; without it the memory is not kept.
        memory "snapMemory": Option<String> = null,
        /// Has Engine frozen the file systems already?
        frozen: bool = false,
        /// The job; the statistics tell how it goes.
        job_id "jobUUID": Option<Uuid> = null,
        /// Minutes until it is given up.
        timeout: u32 = 30,
        /// Seconds that freezing may take.
        freeze_timeout: u32 = 8,
    }) -> Done = later;

    /// Asks the guest's agent to freeze the file systems.
    Virt fn freeze "freeze" (Freeze {
        /// The VM.
        vm_id "vmID": Uuid,
    }) -> Done = later;

    /// Asks the guest's agent to thaw the file systems.
    Virt fn thaw "thaw" (Thaw {
        /// The VM.
        vm_id "vmID": Uuid,
    }) -> Done = later;

    /// Writes the VM's memory to volumes and ends it.
    Virt fn hibernate "hibernate" (Hibernate {
        /// The VM.
        vm_id "vmID": Uuid,
        /// Where its memory goes: six ids with commas between, as for a snapshot.
        volumes "hibernationVolHandle": String,
    }) -> Done = later;

    /// Begins to clear the disks of a template of what belongs to one machine (`virt-sysprep`); a job.
    Storage fn seal "seal" (Seal {
        /// The VM.
        vm_id "vmID": Uuid,
        /// The new job.
        job_id: Uuid,
        /// Pool of the disks.
        pool_id "sp_id": Uuid,
        /// The disks.
        images: Vec<VolumeAddress>,
    }) -> Done = later;
}
