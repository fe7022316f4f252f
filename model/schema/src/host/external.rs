//! VMs from elsewhere: looking at them on another hypervisor or in an OVA, and converting them with virt-v2v.
//!
//! A conversion is a job: started by `convertExternalVm`, told of by `Host.getStats` (`v2vJobs`), and over with
//! `getConvertedVm`, `abortV2VJob` or `deleteV2VJob`.

use uuid::Uuid;

use crate::{
    secret::Secret,
    values::{Done, Str},
    volume::{AllocationType, VolumeFormat},
};

wire! {
    /// A disk of a VM from elsewhere. Engine reads the sizes out of strings alone.
    pub struct ExternalDisk: Default {
        /// Its name in the guest.
        dev: Option<String>,
        /// `disk`, `cdrom`, ...
        kind "type": Option<String>,
        /// Its path over there.
        alias: Option<String>,
        /// Bytes that the guest sees.
        capacity: Option<Str<u64>>,
        /// Bytes that it takes.
        allocation: Option<Str<u64>>,
        /// `RAW` or `COW`.
        format: Option<VolumeFormat>,
    }

    /// A NIC of a VM from elsewhere.
    pub struct ExternalNic: Default {
        /// Its name over there.
        dev: Option<String>,
        /// `bridge`, `network`, `interface`.
        kind "type": Option<String>,
        /// Its address.
        mac_addr "macAddr": Option<String>,
        /// Its bridge over there.
        bridge: Option<String>,
        /// `virtio`, `e1000`, ...
        model: Option<String>,
    }

    /// A VM from elsewhere.
    pub struct ExternalVm {
        /// Its name.
        vm_name "vmName": String,
        /// Its id over there; an OVA has none.
        vm_id "vmId": Option<Uuid>,
        /// `Up` or `Down`.
        status: String,
        /// MiB.
        mem_size "memSize": Option<u32>,
        /// CPUs.
        smp: Option<u32>,
        /// Architecture of its CPUs.
        arch: Option<String>,
        /// Model of its CPUs.
        cpu_model "cpuModel": Option<String>,
        /// Machine that it has.
        emulated_machine "emulatedMachine": Option<String>,
        /// Its disks.
        disks: Option<Vec<ExternalDisk>>,
        /// Its NICs.
        networks: Option<Vec<ExternalNic>>,
        /// `vnc` or `spice`.
        graphics: Option<String>,
        /// Model of its graphics card.
        video: Option<String>,
        /// Has it snapshots? Then it cannot be converted.
        has_snapshots: Option<bool>,
        /// Who made the OVA.
        origin_type "originType": Option<String>,
        /// Format that its disks shall have.
        format: Option<VolumeFormat>,
        /// Allocation that its disks shall have.
        allocation: Option<AllocationType>,
        /// Drivers for Windows.
        virtio_iso_path: Option<String>,
    }

    /// Volume for a disk of a converted VM.
    pub struct ExternalDiskTarget {
        /// Its image.
        image_id "imageID": Uuid,
        /// The volume.
        volume_id "volumeID": Uuid,
    }

    /// Where a converted VM goes.
    pub struct ExternalVmTarget {
        /// Its name.
        vm_name "vmName": String,
        /// Pool of the domain.
        pool_id "poolID": Uuid,
        /// Domain of its disks.
        domain_id "domainID": Uuid,
        /// Volumes for its disks, in their order.
        disks: Option<Vec<ExternalDiskTarget>>,
        /// Format of the volumes.
        format: Option<VolumeFormat>,
        /// Allocation of the volumes.
        allocation: Option<AllocationType>,
        /// Compatibility level of qcow2: `0.10` or `1.1`.
        qcow2_compat: Option<String>,
        /// Drivers for Windows.
        virtio_iso_path: Option<String>,
    }
}

namespace! {
    /// VMs from other hypervisors.
    pub trait ExternalVmApi = "Host";

    /// VMs of another hypervisor.
    Host fn get_external_vms "getExternalVMs" (GetExternalVms {
        /// The hypervisor, as libvirt names it: `vpx://...`, `xen+ssh://...`, `qemu+tcp://...`.
        uri: String,
        /// User over there.
        username: String,
        /// Password over there.
        password: Secret,
        /// Only VMs of these names.
        names "vm_names": Option<Vec<String>> = null,
    }) -> Vec<ExternalVm> = later;

    /// Names of the VMs of another hypervisor.
    Host fn get_external_vm_names "getExternalVMNames" (GetExternalVmNames {
        /// The hypervisor, as libvirt names it.
        uri: String,
        /// User over there.
        username: String,
        /// Password over there.
        password: Secret,
    }) -> Vec<String> = later;

    /// The VM in an OVA file of this host.
    Host fn get_external_vm_from_ova "getExternalVmFromOva" (GetExternalVmFromOva {
        /// Path of the OVA.
        ova_path: String,
    }) -> ExternalVm = later;

    /// Begins to convert the VM in an OVA file.
    Host fn convert_external_vm_from_ova "convertExternalVmFromOva" (ConvertExternalVmFromOva {
        /// Path of the OVA.
        ova_path: String,
        /// Where the VM goes.
        target "vminfo": ExternalVmTarget,
        /// The new job.
        job_id "jobid": Uuid,
    }) -> Done = later;

    /// Begins to convert a VM of another hypervisor.
    Host fn convert_external_vm "convertExternalVm" (ConvertExternalVm {
        /// The hypervisor, as libvirt names it.
        uri: String,
        /// User over there.
        username: String,
        /// Password over there.
        password: Secret,
        /// Where the VM goes.
        target "vminfo": ExternalVmTarget,
        /// The new job.
        job_id "jobid": Uuid,
    }) -> Done = later;

    /// The OVF of a VM that was converted.
    Query fn get_converted_vm "getConvertedVm" (GetConvertedVm {
        /// The job.
        job_id "jobid": Uuid,
    }) -> String = later;

    /// Ends a conversion that runs.
    Host fn abort_v2v_job "abortV2VJob" (AbortV2vJob {
        /// The job.
        job_id "jobid": Uuid,
    }) -> Done = later;

    /// Forgets a conversion that is over.
    Query fn delete_v2v_job "deleteV2VJob" (DeleteV2vJob {
        /// The job.
        job_id "jobid": Uuid,
    }) -> Done = later;
}
