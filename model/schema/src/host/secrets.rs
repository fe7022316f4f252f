//! Secrets of storage (Ceph, iSCSI) that libvirt keeps for VMs that need them.

use uuid::Uuid;

use crate::{secret::Secret, values::Done};

wire_enum! {
    /// What a secret is for.
    pub enum SecretUsage {
        /// Ceph.
        Ceph = "ceph",
        /// iSCSI.
        Iscsi = "iscsi",
        /// An encrypted volume.
        Volume = "volume",
    }
}

sealed! {
    /// A secret for libvirt.
    pub struct StorageSecret {
        /// Its id; the disks of VMs name it.
        uuid: Uuid,
        /// What it is for.
        usage_type "usageType": SecretUsage,
        /// What it is for, by name.
        usage_id "usageID": String,
        /// The secret, in base64.
        password: Secret,
        /// For people.
        description: Option<String>,
    }
}

namespace! {
    /// Secrets of storage.
    pub trait SecretsApi = "Host";

    /// Gives secrets to libvirt, which keeps them in memory only.
    Virt fn register_secrets "registerSecrets" (RegisterSecrets {
        /// The secrets.
        secrets: Vec<StorageSecret>,
        /// Forget all others of oVirt first.
        clear: bool = false,
    }) -> Done = later;

    /// Takes secrets from libvirt; those it does not have are passed over.
    Virt fn unregister_secrets "unregisterSecrets" (UnregisterSecrets {
        /// Their ids.
        uuids: Vec<Uuid>,
    }) -> Done = later;
}
