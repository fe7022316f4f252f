//! State that outlives a run of the VM: its TPM, variables of its firmware, what a restart of the guest means.

use uuid::Uuid;

use crate::{secret::Disclosed, values::Done};

wire! {
    /// State of a device.
    pub struct ExternalData {
        /// The state, packed and in base64; absent if the hash is the one that was asked with.
        data "_X_data": Option<Disclosed>,
        /// Changes when the state does.
        hash: Option<String>,
    }
}

namespace! {
    /// State that outlives a run of the VM.
    pub trait VmStateApi = "VM";

    /// State of the TPM or of the firmware.
    Virt fn get_external_data "getExternalData" (GetExternalData {
        /// The VM.
        vm_id "vmID": Uuid,
        /// `tpm` or `nvram`.
        kind: String,
        /// Hash of the state that the asker has.
        last_hash "lastHash": Option<String> = null,
        /// Read the state now, not as it was when it last came to rest.
        force_update "forceUpdate": bool = true,
    }) -> ExternalData = later;

    /// From now on a restart of the guest ends the VM.
    Virt fn set_destroy_on_reboot "setDestroyOnReboot" (SetDestroyOnReboot {
        /// The VM.
        vm_id "vmID": Uuid,
    }) -> Done = later;
}
