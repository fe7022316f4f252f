//! Namespace `SDM`: jobs on storage that need no pool manager, since each takes the leases of its volumes. They are
//! told of by `Host.getJobs`.

use serde::Deserialize;
use uuid::Uuid;

use crate::{
    desc::{Type, Wire},
    lease::LeaseAddress,
    pool::merge::Subchain,
    secret::Secret,
    values::Done,
    volume::{Legality, VolumeRole},
};

wire! {
    /// A volume as one end of a copy, or as what a job works on.
    pub struct JobVolume {
        /// Its domain.
        domain_id "sd_id": Uuid,
        /// Its image.
        image_id "img_id": Uuid,
        /// The volume.
        volume_id "vol_id": Uuid,
        /// Generation that it must have.
        generation: Option<u64>,
        /// Copy: `div`.
        endpoint_type: Option<String>,
        /// Copy: is it prepared already?
        prepared: Option<bool>,
    }

    /// What may change of a qcow2 volume.
    pub struct Qcow2Attributes {
        /// Compatibility level: `0.10` or `1.1`.
        compat: Option<String>,
    }

    /// A device of a domain that shall be empty.
    pub struct DeviceMove {
        /// The domain.
        domain_id "sd_id": Uuid,
        /// Id of the device in multipath.
        source "src_guid": String,
        /// Devices of the domain that take its data; without it all others.
        destinations "dst_guids": Option<Vec<String>>,
    }

    /// A device that leaves its domain.
    pub struct DomainReduction {
        /// The domain.
        domain_id "sd_id": Uuid,
        /// Id of the device in multipath.
        guid: String,
    }

    /// What shall change of a volume's metadata; at least one key.
    pub struct VolumeAttributes {
        /// May it be used?
        legality: Option<Legality>,
        /// Engine's description.
        description: Option<String>,
        /// Generation afterwards.
        generation: Option<u64>,
        /// `SHARED`: it becomes a template.
        role "type": Option<VolumeRole>,
    }
}

sealed! {
    /// Something outside of all domains as one end of a copy.
    pub struct ExternalEndpoint {
        /// `external`.
        endpoint_type: Option<String>,
        /// Where it is; may hold a password.
        url: Secret,
        /// The lease of the job.
        lease: LeaseAddress,
        /// Generation that the lease must have.
        generation: u64,
        /// `raw` or `qcow2`.
        format: Option<String>,
        /// With holes?
        sparse: Option<bool>,
        /// Is it to be made?
        create: Option<bool>,
        /// Does it hold zeroes only?
        is_zero: Option<bool>,
    }
}

/// One end of a copy.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum CopyEndpoint {
    /// A volume.
    Volume(JobVolume),
    /// Something else.
    External(ExternalEndpoint),
}

impl Wire for CopyEndpoint {
    const TYPE: &'static Type = &Type::Union(&[JobVolume::TYPE, ExternalEndpoint::TYPE]);
}

namespace! {
    /// Jobs on storage without a pool manager.
    pub trait SdmApi = "SDM";

    /// Copies a volume.
    Storage fn copy_data "copy_data" (CopyData {
        /// The new job.
        job_id: Uuid,
        /// From here.
        source: CopyEndpoint,
        /// To there.
        destination: CopyEndpoint,
        /// Also its bitmaps.
        copy_bitmaps: bool = false,
    }) -> Done = later;

    /// Gives back room that the file systems on a volume do not use (`virt-sparsify`).
    Storage fn sparsify_volume "sparsify_volume" (SparsifyVolume {
        /// The new job.
        job_id: Uuid,
        /// The volume.
        volume "vol_info": JobVolume,
    }) -> Done = later;

    /// Moves the data of merged volumes, between `StoragePool.prepareMerge` and `finalizeMerge`.
    Storage fn sdm_merge "merge" (Merge {
        /// The new job.
        job_id: Uuid,
        /// The part of the chain.
        subchain "subchain_info": Subchain,
        /// Also the bitmaps.
        merge_bitmaps: bool = false,
    }) -> Done = later;

    /// Changes the format of a qcow2 volume.
    Storage fn amend_volume "amend_volume" (AmendVolume {
        /// The new job.
        job_id: Uuid,
        /// The volume.
        volume "vol_info": JobVolume,
        /// What changes.
        attributes "qcow2_attr": Qcow2Attributes,
    }) -> Done = later;

    /// Moves the data of a device to other devices of its domain.
    Storage fn move_domain_device "move_domain_device" (MoveDomainDevice {
        /// The new job.
        job_id: Uuid,
        /// The device, and where its data goes.
        order "move_params": DeviceMove,
    }) -> Done = later;

    /// Takes a device that is empty out of its domain.
    Storage fn reduce_domain "reduce_domain" (ReduceDomain {
        /// The new job.
        job_id: Uuid,
        /// The device.
        order "reduce_params": DomainReduction,
    }) -> Done = later;

    /// Changes metadata of a volume.
    Storage fn update_volume "update_volume" (UpdateVolume {
        /// The new job.
        job_id: Uuid,
        /// The volume.
        volume "vol_info": JobVolume,
        /// What changes.
        attributes "vol_attr": VolumeAttributes,
    }) -> Done = later;

    /// Adds a bitmap to a volume.
    Storage fn add_bitmap "add_bitmap" (AddBitmap {
        /// The new job.
        job_id: Uuid,
        /// The volume.
        volume "vol_info": JobVolume,
        /// Name of the bitmap.
        bitmap: String,
    }) -> Done = later;

    /// Removes a bitmap from a volume.
    Storage fn remove_bitmap "remove_bitmap" (RemoveBitmap {
        /// The new job.
        job_id: Uuid,
        /// The volume.
        volume "vol_info": JobVolume,
        /// Name of the bitmap.
        bitmap: String,
    }) -> Done = later;

    /// Removes all bitmaps from a volume.
    Storage fn clear_bitmaps "clear_bitmaps" (ClearBitmaps {
        /// The new job.
        job_id: Uuid,
        /// The volume.
        volume "vol_info": JobVolume,
    }) -> Done = later;
}
