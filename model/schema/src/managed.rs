//! Namespace `ManagedVolume`: volumes that a Cinder driver keeps outside of any domain (managed block storage).

use uuid::Uuid;

use crate::{secret::SealedJson, values::Done};

sealed! {
    /// How to reach a volume, as its Cinder driver says. The data may hold passwords and keys.
    pub struct VolumeConnection {
        /// `rbd`, `iscsi`, `fibre_channel`, ...
        driver_volume_type: String,
        /// What the driver needs.
        data: SealedJson,
        /// Adapter of the host.
        adapter: Option<String>,
    }
}

wire! {
    /// How a volume is attached to this host.
    pub struct VolumeAttachment {
        /// Path that the driver made.
        path: String,
        /// `block` or `file`.
        kind "type": Option<String>,
        /// WWN of the SCSI device.
        scsi_wwn: Option<String>,
        /// Id in multipath.
        multipath_id: Option<String>,
        /// Configuration file of the driver.
        conf: Option<String>,
    }

    /// How to reach a volume, without what its driver needs to know.
    pub struct KnownConnection {
        /// `rbd`, `iscsi`, `fibre_channel`, ...
        driver_volume_type: String,
    }

    /// A managed volume on this host.
    pub struct ManagedVolume {
        /// The volume.
        vol_id: Uuid,
        /// Is its device there?
        exists: Option<bool>,
        /// How to reach it.
        connection_info: Option<KnownConnection>,
        /// Path of its device.
        path: Option<String>,
        /// Path that VMs use: it stays while the device's changes.
        managed_path: Option<String>,
        /// How it is attached.
        attachment: Option<VolumeAttachment>,
    }
}

namespace! {
    /// Managed block storage.
    pub trait ManagedVolumeApi = "ManagedVolume";

    /// Attaches a volume to this host.
    Storage fn attach_volume "attach_volume" (AttachVolume {
        /// The volume.
        vol_id: Uuid,
        /// How to reach it.
        connection_info: VolumeConnection,
        /// Its domain as Engine counts it.
        domain_id "sd_id": Uuid = "00000000-0000-0000-0000-000000000000",
    }) -> ManagedVolume = later;

    /// Detaches a volume from this host.
    Storage fn detach_volume "detach_volume" (DetachVolume {
        /// The volume.
        vol_id: Uuid,
        /// Its domain as Engine counts it.
        domain_id "sd_id": Uuid = "00000000-0000-0000-0000-000000000000",
    }) -> Done = later;

    /// Volumes that this host knows.
    Query fn volumes_info "volumes_info" (VolumesInfo {
        /// Only these; empty means all.
        vol_ids: Vec<Uuid> = [],
    }) -> Vec<ManagedVolume> = later;
}
