//! Care for the pool as a whole: its master domain, its format, its description.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::{domain::DomainStatus, values::Done};

wire_enum! {
    /// Has upgrading begun?
    pub enum UpgradeStatus {
        /// Yes; it goes on by itself.
        Started = "started",
    }
}

namespace! {
    /// Care for the pool as a whole.
    pub trait PoolMasterApi = "StoragePool";

    /// Makes another domain the master without the old one, which is lost.
    Storage fn reconstruct_master "reconstructMaster" (ReconstructMaster {
        /// The pool.
        pool_id "storagepoolID": Uuid,
        /// Id of this host in the pool.
        host_id "hostId": i32,
        /// Name of the pool.
        name: String,
        /// The new master.
        master_id "masterSdUUID": Uuid,
        /// Version of the new master.
        master_version "masterVersion": i32,
        /// Domains with their status.
        domains "domainDict": BTreeMap<Uuid, DomainStatus>,
        /// Seconds between renewals of the lock.
        lock_renewal_seconds "lockRenewalIntervalSec": Option<i32> = null,
        /// Seconds that a lease lasts.
        lease_seconds "leaseTimeSec": Option<i32> = null,
        /// Seconds that a write to storage may take.
        io_timeout_seconds "ioOpTimeoutSec": Option<i32> = null,
        /// Tries to renew a lease.
        lease_retries "leaseRetries": Option<i32> = null,
    }) -> Done = later;

    /// Reads the pool's metadata anew.
    Storage fn pool_refresh "refresh" (Refresh {
        /// The pool.
        pool_id "storagepoolID": Uuid,
        /// Its master domain.
        master_id "masterSdUUID": Uuid,
        /// Version of the master.
        master_version "masterVersion": i32,
    }) -> Done = later;

    /// Moves the master to another domain; answers the id of the task that does it.
    Storage fn switch_master "switchMaster" (SwitchMaster {
        /// The pool.
        pool_id "storagepoolID": Uuid,
        /// The master now.
        old_master_id "oldMasterUUID": Uuid,
        /// The master afterwards.
        new_master_id "newMasterUUID": Uuid,
        /// Version of the new master.
        master_version "masterVersion": i32,
    }) -> Uuid = later;

    /// Begins to upgrade the domains of the pool to a newer format.
    Storage fn pool_upgrade "upgrade" (Upgrade {
        /// The pool.
        pool_id "storagepoolID": Uuid,
        /// The format.
        version "targetDomVersion": i32,
    }) -> UpgradeStatus = later;

    /// Replaces the description of the pool.
    Storage fn pool_set_description "setDescription" (SetDescription {
        /// The pool.
        pool_id "storagepoolID": Uuid,
        /// The description.
        description: String,
    }) -> Done = later;

    /// Ids of the pool's domains that hold an image.
    Storage fn get_domains_containing_image "getDomainsContainingImage" (GetDomainsContainingImage {
        /// The pool.
        pool_id "storagepoolID": Uuid,
        /// The image.
        image_id "imageID": Uuid,
    }) -> Vec<Uuid> = later;
}
