//! OVF descriptions of VMs that the pool's domains keep: what an export domain is made of.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::values::Done;

wire! {
    /// A VM to be kept.
    pub struct VmOvf {
        /// The VM.
        vm: Uuid,
        /// Its description in OVF.
        ovf: String,
        /// Ids of its images, with commas between.
        images "imglist": String,
    }
}

namespace! {
    /// VMs kept on the pool's domains.
    pub trait OvfApi = "StoragePool";

    /// OVF descriptions of VMs kept on a domain.
    Storage fn get_backed_up_vms_info "getBackedUpVmsInfo" (GetBackedUpVmsInfo {
        /// The pool.
        pool_id "storagepoolID": Uuid,
        /// The domain.
        domain_id "storagedomainID": Uuid,
        /// The VMs; empty means all.
        vms "vmList": Vec<Uuid>,
    }) -> BTreeMap<Uuid, String> = later;

    /// Ids of the VMs kept on a domain.
    Storage fn get_backed_up_vms_list "getBackedUpVmsList" (GetBackedUpVmsList {
        /// The pool.
        pool_id "storagepoolID": Uuid,
        /// The domain.
        domain_id "storagedomainID": Uuid,
    }) -> Vec<Uuid> = later;

    /// Keeps VMs on a domain.
    Storage fn update_vms "updateVMs" (UpdateVms {
        /// The pool.
        pool_id "storagepoolID": Uuid,
        /// The VMs.
        vms "vmList": Vec<VmOvf>,
        /// The domain; without it the master.
        domain_id "storagedomainID": Option<Uuid> = null,
    }) -> Done = later;

    /// Removes a VM from a domain.
    Storage fn remove_vm "removeVM" (RemoveVm {
        /// The pool.
        pool_id "storagepoolID": Uuid,
        /// The VM.
        vm_id "vmUUID": Uuid,
        /// The domain; without it the master.
        domain_id "storagedomainID": Option<Uuid> = null,
    }) -> Done = later;
}
