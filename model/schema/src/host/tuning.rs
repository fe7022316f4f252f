//! Policies of the host: memory overcommit (MOM), same-page merging (KSM), high availability, limits of all disks.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    values::{CallStatus, Done},
    vm::tuning::{DiskLimits, DiskTune},
};

wire_enum! {
    /// Whose maintenance is meant.
    pub enum MaintenanceScope {
        /// That of all hosts of the hosted engine.
        Global = "GLOBAL",
        /// That of this host.
        Local = "LOCAL",
    }
}

wire! {
    /// How the kernel merges alike pages.
    pub struct KsmTuning: Default {
        /// 1 to merge, 0 not to.
        run: Option<i32>,
        /// Milliseconds between scans.
        sleep_millisecs: Option<i32>,
        /// Pages of a scan.
        pages_to_scan: Option<i32>,
        /// 1 to merge pages of different NUMA nodes, 0 not to.
        merge_across_nodes: Option<i32>,
    }

    /// Limits of the disks of a VM.
    pub struct VmDiskLimits {
        /// As Engine wishes them.
        policy: Vec<DiskLimits>,
        /// As they are.
        current_values: Vec<DiskTune>,
    }
}

namespace! {
    /// Policies of the host.
    pub trait HostTuningApi = "Host";

    /// Replaces the policy of the memory overcommit manager.
    Host fn set_mom_policy "setMOMPolicy" (SetMomPolicy {
        /// The policy in MOM's language.
        policy: String,
    }) -> Done = later;

    /// Sets variables of the memory overcommit manager's policy.
    Host fn set_mom_policy_parameters "setMOMPolicyParameters" (SetMomPolicyParameters {
        /// Variables: `balloonEnabled`, `ksmEnabled`, `ksmMergeAcrossNodes`.
        variables "key_value_store": Map<String, Value>,
    }) -> Done = later;

    /// Sets how the kernel merges alike pages. The answer is a status.
    Host fn set_ksm_tune "setKsmTune" (SetKsmTune {
        /// Only what shall change.
        tuning "tuningParams": KsmTuning,
    }) -> CallStatus = later;

    /// Begins or ends maintenance of the hosted engine.
    Host fn set_ha_maintenance_mode "setHaMaintenanceMode" (SetHaMaintenanceMode {
        /// Whose.
        mode: MaintenanceScope,
        /// Begin, not end.
        enabled: bool,
    }) -> CallStatus = later;

    /// Limits of the disks of all VMs.
    Inline fn get_all_vm_io_tune_policies "getAllVmIoTunePolicies" (GetAllVmIoTunePolicies {}) -> BTreeMap<Uuid, VmDiskLimits> = later;
}
