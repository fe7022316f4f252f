//! Namespace `LVMVolumeGroup`: volume groups, before they become domains.

use uuid::Uuid;

use crate::{host::storage::VolumeGroup, values::Done};

namespace! {
    /// Volume groups, before they become domains.
    pub trait VolumeGroupApi = "LVMVolumeGroup";

    /// Makes a volume group out of devices; answers its id in LVM.
    Storage fn vg_create "create" (Create {
        /// Not used.
        vg_uuid "lvmvolumegroupID": Option<String> = null,
        /// Its name: the id of the domain to be.
        name: Uuid,
        /// Ids of the devices in multipath.
        devices "devlist": Vec<String>,
        /// Also if something is on them.
        force: bool = false,
    }) -> String = later;

    /// A volume group.
    Storage fn vg_get_info "getInfo" (GetInfo {
        /// Its id in LVM.
        vg_uuid "lvmvolumegroupID": String,
    }) -> VolumeGroup = later;

    /// Removes a volume group.
    Storage fn vg_remove "remove" (Remove {
        /// Its id in LVM.
        vg_uuid "lvmvolumegroupID": String,
    }) -> Done = later;
}
