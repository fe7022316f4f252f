//! Namespace `VM`: one virtual machine, from `VM.create` until `VM.destroy`.
//!
//! Its states are [`VmStatus`]; while it runs and after it ended it is reported as [`VmStats`]. This file has its
//! life; other subjects have files of their own: [`hotplug`], [`disks`] (media, mirroring, merging), [`snapshot`]
//! (also hibernation), [`backup`], [`migration`], [`guest`] (console, session), [`state`] (TPM, firmware),
//! [`tuning`] (limits).

pub mod backup;
pub mod disks;
pub mod guest;
pub mod hotplug;
pub mod migration;
pub mod snapshot;
pub mod state;
mod stats;
pub mod tuning;

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::{
    secret::{DomainXml, Secret},
    values::{Done, Str},
};

pub use stats::*;

wire_enum! {
    /// State of a VM.
    pub enum VmStatus {
        /// It runs, and its guest has answered or had time enough.
        Up = "Up",
        /// It is over; kept until it is destroyed.
        Down = "Down",
        /// It is leaving for another host.
        MigrationSource = "Migration Source",
        /// It is coming from another host.
        MigrationDestination = "Migration Destination",
        /// Its CPUs are stopped.
        Paused = "Paused",
        /// Its guest was asked to shut down.
        PoweringDown = "Powering down",
        /// It runs, and its guest has not answered yet.
        PoweringUp = "Powering up",
        /// Its guest restarts.
        RebootInProgress = "RebootInProgress",
        /// Its memory is being read from a file.
        RestoringState = "Restoring state",
        /// Its memory is being written to a file.
        SavingState = "Saving State",
        /// It is being started.
        WaitForLaunch = "WaitForLaunch",
    }
}

wire! {
    /// A VM in short. `VM.create` adds the XML, with passwords masked.
    pub struct VmSummary {
        /// The VM.
        vm_id "vmId": Uuid,
        /// Its state.
        status: VmStatus,
        /// Milliseconds of the monotonic clock at which this was so; Engine orders news by it.
        status_time "statusTime": Str<u64>,
        /// Its domain XML, masked.
        xml: Option<String>,
    }

    /// What pausing and resuming answer: upstream's empty leftover.
    pub struct VmListAnswer {
        /// Always empty.
        vm_list "vmList": BTreeMap<String, String>,
    }

    /// A picture of the console. A key named `status` must not be here: Engine would take it for the call's.
    pub struct Screenshot {
        /// The picture.
        data: String,
        /// How it is written: `base64`.
        encoding: String,
        /// Its type, e.g. `image/png`.
        mime_type: String,
    }
}

sealed! {
    /// A VM to be made. Engine describes it by `xml` alone; other keys of older engines are passed over.
    pub struct VmParams {
        /// The VM, once more; not used.
        vm_id "vmId": Option<Uuid>,
        /// The domain XML with `ovirt-vm` metadata.
        xml: Option<DomainXml>,
        /// Start with CPUs stopped.
        launch_paused "launchPaused": Option<Str<bool>>,
        /// Where the memory of a suspended VM is kept.
        memory_dump_volume "memoryDumpVolume": Option<serde_json::Map<String, serde_json::Value>>,
        /// State of the TPM.
        tpm_data "_X_tpmdata": Option<Secret>,
        /// Variables of the firmware.
        nvram_data "_X_nvramdata": Option<Secret>,
    }
}

namespace! {
    /// One virtual machine.
    pub trait VmApi = "VM";

    /// Makes and starts a VM; answers as soon as it is known, the start goes on.
    Virt fn vm_create "create" (Create {
        /// The VM.
        vm_id "vmID": Uuid,
        /// What it is.
        params "vmParams": VmParams,
    }) -> VmSummary;

    /// The VM in short.
    Inline fn vm_get_info "getInfo" (GetInfo {
        /// The VM.
        vm_id "vmID": Uuid,
    }) -> VmSummary;

    /// State and figures of the VM: a list of one.
    Inline fn vm_get_stats "getStats" (GetStats {
        /// The VM.
        vm_id "vmID": Uuid,
    }) -> Vec<VmStats>;

    /// Stops the CPUs. Idempotent.
    Virt fn vm_pause "pause" (Pause {
        /// The VM.
        vm_id "vmID": Uuid,
    }) -> VmListAnswer;

    /// Lets the CPUs run again.
    Virt fn vm_cont "cont" (Cont {
        /// The VM.
        vm_id "vmID": Uuid,
    }) -> VmListAnswer;

    /// Asks the guest to shut down or restart, by its agent and then by ACPI; by force in the end, if told so.
    Virt fn vm_shutdown "shutdown" (Shutdown {
        /// The VM.
        vm_id "vmID": Uuid,
        /// Seconds that users in the guest are given; without it the configured.
        delay: Option<Str<i64>> = null,
        /// Said to users in the guest.
        message: Option<String> = null,
        /// Restart instead.
        reboot: bool = false,
        /// Seconds before the next way is tried; without it the configured.
        timeout: Option<Str<i64>> = null,
        /// By force if nothing else helps.
        force: bool = false,
    }) -> Done;

    /// Ends the VM at once and forgets it. What held its end in the agent's memory is gone after this.
    Virt fn vm_destroy "destroy" (Destroy {
        /// The VM.
        vm_id "vmID": Uuid,
        /// How often to try without SIGKILL.
        graceful_attempts "gracefulAttempts": u32 = 1,
    }) -> Done;

    /// Presses the reset button.
    Virt fn vm_reset "reset" (Reset {
        /// The VM.
        vm_id "vmID": Uuid,
    }) -> Done;

    /// A picture of the console.
    Virt fn vm_screenshot "screenshot" (TakeScreenshot {
        /// The VM.
        vm_id "vmID": Uuid,
    }) -> Screenshot;
}
