//! Limits of a running VM: its balloon, its CPUs, its disks.

use uuid::Uuid;

use crate::values::CallStatus;

wire! {
    /// Limits of a disk: 0 or absent for none.
    pub struct DiskRates: Default {
        /// Bytes per second.
        total_bytes_sec: Option<u64>,
        /// Bytes read per second.
        read_bytes_sec: Option<u64>,
        /// Bytes written per second.
        write_bytes_sec: Option<u64>,
        /// Requests per second.
        total_iops_sec: Option<u64>,
        /// Reads per second.
        read_iops_sec: Option<u64>,
        /// Writes per second.
        write_iops_sec: Option<u64>,
    }

    /// A disk and its limits.
    pub struct DiskTune {
        /// Name in the guest; name or path is needed.
        name: Option<String>,
        /// Its path.
        path: Option<String>,
        /// Its limits.
        io_tune "ioTune": DiskRates,
    }

    /// A disk and the bounds within which the memory overcommit manager moves its limits.
    pub struct DiskLimits {
        /// Name in the guest.
        name: Option<String>,
        /// Its path.
        path: Option<String>,
        /// Its domain.
        domain_id "domainID": Option<Uuid>,
        /// Pool of the domain.
        pool_id "poolID": Option<Uuid>,
        /// Its image.
        image_id "imageID": Option<Uuid>,
        /// Its volume.
        volume_id "volumeID": Option<Uuid>,
        /// Never more than this.
        maximum: DiskRates,
        /// Never less than this.
        guaranteed: DiskRates,
    }

    /// What a VM may use.
    pub struct VmPolicy: Default {
        /// Percent of its CPUs.
        vcpu_limit "vcpuLimit": Option<i32>,
        /// Bounds of its disks.
        io_tune "ioTune": Option<Vec<DiskLimits>>,
    }
}

namespace! {
    /// Limits of a running VM.
    pub trait VmTuningApi = "VM";

    /// Sets how much memory the balloon leaves to the guest.
    Virt fn set_balloon_target "setBalloonTarget" (SetBalloonTarget {
        /// The VM.
        vm_id "vmID": Uuid,
        /// KiB.
        target: u64,
    }) -> CallStatus = later;

    /// Sets limits of disks.
    Virt fn set_io_tune "setIoTune" (SetIoTune {
        /// The VM.
        vm_id "vmID": Uuid,
        /// The disks.
        tunables: Vec<DiskTune>,
    }) -> CallStatus = later;

    /// Limits of all disks.
    Virt fn get_io_tune "getIoTune" (GetIoTune {
        /// The VM.
        vm_id "vmID": Uuid,
    }) -> Vec<DiskTune> = later;

    /// Bounds of the limits of all disks, as Engine wishes them.
    Inline fn get_io_tune_policy "getIoTunePolicy" (GetIoTunePolicy {
        /// The VM.
        vm_id "vmID": Uuid,
    }) -> Vec<DiskLimits> = later;

    /// Sets how long each CPU may run in a period.
    Virt fn set_cpu_tune_quota "setCpuTuneQuota" (SetCpuTuneQuota {
        /// The VM.
        vm_id "vmID": Uuid,
        /// Microseconds, or -1 for no limit.
        quota: i32,
    }) -> CallStatus = later;

    /// Sets how long a period of the quota is.
    Virt fn set_cpu_tune_period "setCpuTunePeriod" (SetCpuTunePeriod {
        /// The VM.
        vm_id "vmID": Uuid,
        /// Microseconds.
        period: i32,
    }) -> CallStatus = later;

    /// Sets what the VM may use; kept in its metadata.
    Virt fn update_vm_policy "updateVmPolicy" (UpdateVmPolicy {
        /// The VM.
        vm_id "vmID": Uuid,
        /// What it may use.
        policy "params": VmPolicy,
    }) -> CallStatus = later;
}
