//! Namespace `StoragePool`: the pool of a data centre, its manager (SPM), and connections to storage servers.
//!
//! Other subjects have files of their own: [`master`] (master domain, format), [`merge`] (snapshots of VMs that do
//! not run), [`ovf`] (descriptions of VMs).

pub mod master;
pub mod merge;
pub mod ovf;

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::{
    domain::{DomainStatus, DomainType},
    secret::Secret,
    values::{Done, Str},
};

wire_enum! {
    /// Role of this host in the pool.
    pub enum SpmRole {
        /// It manages the pool.
        Spm = "SPM",
        /// It is becoming the manager.
        Contend = "Contend",
        /// It does not manage the pool.
        Free = "Free",
    }

    /// Is the pool connected?
    pub enum PoolStatus {
        /// Yes.
        Connected = "connected",
        /// No.
        Uninitialized = "uninitialized",
    }
}

wire! {
    /// Who manages the pool.
    pub struct SpmStatus {
        /// Role of this host.
        role "spmStatus": SpmRole,
        /// Version of the manager's lease, -1 where the lock does not count.
        lease_version "spmLver": i64,
        /// Host id of the manager, -1 if there is none.
        host_id "spmId": i32,
    }

    /// The pool.
    pub struct PoolInfo {
        /// Its name.
        name: String,
        /// Type of its master domain.
        domain_type "type": DomainType,
        /// Its domains with their status: `<uuid>:Active,<uuid>:Attached`.
        domains: String,
        /// Its master domain.
        master_uuid: Uuid,
        /// Version of the master.
        master_ver: i32,
        /// Version of the manager's lease.
        lver: i64,
        /// Host id of the manager.
        spm_id: i32,
        /// Path of the ISO domain's files, or empty.
        isoprefix: String,
        /// Connected or not.
        pool_status: PoolStatus,
        /// Format of its domains, in a string.
        version: Str<i32>,
    }

    /// Something wrong with a domain.
    pub struct DomainAlert {
        /// VDSM's code; Engine needs a number.
        code: i32,
        /// Text for people.
        message: String,
    }

    /// A domain of the pool. Engine ignores sizes that are not strings.
    pub struct PoolDomain {
        /// Its status in the pool.
        status: DomainStatus,
        /// Something wrong with it.
        alerts: Vec<DomainAlert>,
        /// Path of its ISO files, or empty.
        isoprefix: String,
        /// Format, -1 if unknown.
        version: Option<i32>,
        /// Bytes in all.
        disktotal: Option<Str<u64>>,
        /// Bytes free.
        diskfree: Option<Str<u64>>,
    }

    /// The pool and its domains.
    pub struct PoolFullInfo {
        /// The pool.
        info: PoolInfo,
        /// Its domains.
        dominfo: BTreeMap<Uuid, PoolDomain>,
    }

    /// How connecting went.
    pub struct ConnectionStatus {
        /// The connection's id, as it was given.
        id: String,
        /// 0, or VDSM's code.
        status: i32,
    }
}

sealed! {
    /// A storage server. Which keys count depends on the type of the domain; Engine sends the others empty.
    pub struct ConnectionParams {
        /// Engine's id of the connection; comes back in the answer.
        id: String,
        /// LOCALFS: path of the folder. NFS: `host:/path`. POSIXFS: what to mount. ISCSI: address of the portal.
        connection: Option<String>,
        /// NFS: version (`3`, `4`, `4.1`, `auto`).
        protocol_version: Option<String>,
        /// NFS: tenths of a second before a retry.
        timeout: Option<i32>,
        /// NFS: retries.
        retrans: Option<i32>,
        /// POSIXFS: type of the file system.
        vfs_type: Option<String>,
        /// POSIXFS, NFS: mount options.
        mnt_options: Option<String>,
        /// ISCSI: name of the target.
        iqn: Option<String>,
        /// ISCSI: port.
        port: Option<Str<u32>>,
        /// ISCSI: group of the portal.
        tpgt: Option<Str<i32>>,
        /// ISCSI: is the portal's address an IPv6 one?
        ipv6_enabled: Option<Str<bool>>,
        /// ISCSI: user of CHAP.
        user: Option<String>,
        /// ISCSI: password of CHAP.
        password: Option<Secret>,
        /// ISCSI: interface.
        iface_name "ifaceName": Option<String>,
        /// ISCSI: initiator.
        initiator_name "initiatorName": Option<String>,
        /// ISCSI: network interface.
        net_iface_name "netIfaceName": Option<String>,
    }
}

namespace! {
    /// The storage pool of a data centre.
    pub trait StoragePoolApi = "StoragePool";

    /// Connects this host to a pool; again, to tell it the domains and the master. Idempotent.
    Storage fn pool_connect "connect" (Connect {
        /// The pool.
        pool_id "storagepoolID": Uuid,
        /// Id of this host in the pool, 1 to 2000.
        host_id "hostID": i32,
        /// Not used.
        scsi_key "scsiKey": String,
        /// Master domain.
        master_id "masterSdUUID": Uuid,
        /// Version of the master.
        master_version "masterVersion": i32,
        /// Domains with their status; without it the pool's metadata tells them.
        domains "domainDict": Option<BTreeMap<Uuid, DomainStatus>> = null,
    }) -> Done;

    /// Disconnects this host from a pool. Idempotent.
    Storage fn pool_disconnect "disconnect" (Disconnect {
        /// The pool.
        pool_id "storagepoolID": Uuid,
        /// Id of this host in the pool.
        host_id "hostID": i32,
        /// Not used.
        scsi_key "scsiKey": String,
        /// Not used.
        remove: bool = false,
    }) -> Done;

    /// Makes a pool out of domains.
    Storage fn pool_create "create" (Create {
        /// The new pool.
        pool_id "storagepoolID": Uuid,
        /// Its name.
        name: String,
        /// Its master domain.
        master_id "masterSdUUID": Uuid,
        /// Version of the master.
        master_version "masterVersion": i32,
        /// Its domains.
        domains "domainList": Vec<Uuid>,
        /// Seconds between renewals of the lock.
        lock_renewal_seconds "lockRenewalIntervalSec": Option<i32> = null,
        /// Seconds that a lease lasts.
        lease_seconds "leaseTimeSec": Option<i32> = null,
        /// Seconds that a write to storage may take.
        io_timeout_seconds "ioOpTimeoutSec": Option<i32> = null,
        /// Tries to renew a lease.
        lease_retries "leaseRetries": Option<i32> = null,
    }) -> Done;

    /// Dissolves a pool; its master domain is detached.
    Storage fn pool_destroy "destroy" (Destroy {
        /// The pool.
        pool_id "storagepoolID": Uuid,
        /// Id of this host in the pool.
        host_id "hostID": i32,
        /// Not used.
        scsi_key "scsiKey": String,
    }) -> Done;

    /// The pool and its domains with their space.
    Storage fn pool_get_info "getInfo" (GetInfo {
        /// The pool.
        pool_id "storagepoolID": Uuid,
    }) -> PoolFullInfo;

    /// Makes this host the pool's manager; answers the id of the task that does it.
    Storage fn spm_start "spmStart" (SpmStart {
        /// The pool.
        pool_id "storagepoolID": Uuid,
        /// Host id of the manager before, or -1.
        previous_id "prevID": i32,
        /// Version of its lease, or -1.
        previous_version "prevLver": Str<i64>,
        /// Not used.
        scsi_fencing "enableScsiFencing": Str<bool>,
        /// Greatest host id of the pool.
        max_host_id "maxHostID": Option<i32> = null,
        /// Format to which domains are upgraded first.
        domain_version "domVersion": Option<Str<i32>> = null,
    }) -> Uuid;

    /// Ends this host's management of the pool.
    Storage fn spm_stop "spmStop" (SpmStop {
        /// The pool.
        pool_id "storagepoolID": Uuid,
    }) -> Done;

    /// Who manages the pool.
    Storage fn get_spm_status "getSpmStatus" (GetSpmStatus {
        /// The pool.
        pool_id "storagepoolID": Uuid,
    }) -> SpmStatus;

    /// Connects storage servers; each tells for itself how it went.
    Storage fn connect_storage_server "connectStorageServer" (ConnectStorageServer {
        /// The pool.
        pool_id "storagepoolID": Uuid,
        /// Type of the servers.
        domain_type "domainType": DomainType,
        /// The servers.
        connections "connectionParams": Vec<ConnectionParams>,
    }) -> Vec<ConnectionStatus>;

    /// Disconnects storage servers; each tells for itself how it went.
    Storage fn disconnect_storage_server "disconnectStorageServer" (DisconnectStorageServer {
        /// The pool.
        pool_id "storagepoolID": Uuid,
        /// Type of the servers.
        domain_type "domainType": DomainType,
        /// The servers.
        connections "connectionParams": Vec<ConnectionParams>,
    }) -> Vec<ConnectionStatus>;
}
