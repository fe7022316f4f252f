//! Namespace `StorageDomain`: domains, and what is on them.
//!
//! A domain in a pool: unattached → attached → active and back; [`DomainStatus`] has the words. What a domain lies
//! on, and files that are no volumes, are in [`devices`].

pub mod devices;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    desc::{Type, Wire},
    pool::DomainAlert,
    values::{Done, Str},
    volume::{AllocationType, Legality, VolumeFormat, VolumeRole, VolumeStatus},
};

wire_enum! {
    /// Type of a domain. Engine sends the numbers, answers carry the names.
    pub enum DomainType {
        /// Not known.
        Unknown = "UNKNOWN" | 0,
        /// A mounted NFS export.
        Nfs = "NFS" | 1,
        /// Fibre Channel LUNs.
        Fcp = "FCP" | 2,
        /// iSCSI LUNs.
        Iscsi = "ISCSI" | 3,
        /// A folder of this host.
        Localfs = "LOCALFS" | 4,
        /// A mounted CIFS share.
        Cifs = "CIFS" | 5,
        /// Any mounted POSIX file system.
        Posixfs = "POSIXFS" | 6,
        /// A mounted Gluster volume.
        Glusterfs = "GLUSTERFS" | 7,
    }

    /// What a domain holds.
    pub enum DomainClass {
        /// Not known.
        Unknown = "Unknown" | 0,
        /// Disks.
        Data = "Data" | 1,
        /// ISO images.
        Iso = "Iso" | 2,
        /// Exports.
        Backup = "Backup" | 3,
    }

    /// Role of a domain in its pool.
    pub enum DomainRole {
        /// It holds the pool's metadata.
        Master = "Master",
        /// It does not.
        Regular = "Regular",
    }

    /// Status of a domain in its pool. Engine sends it in lower case, answers are capitalised.
    pub enum DomainStatus {
        /// In use.
        Active = "Active",
        /// Belongs to the pool, not in use.
        Attached = "Attached",
        /// Belongs to no pool.
        Unattached = "Unattached",
        /// Not known.
        Unknown = "Unknown",
    }
}

/// Where a new domain is: Engine sends the path or the volume group's id as a string, the API's documentation
/// has an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum DomainLocation {
    /// Path (LOCALFS), export (NFS), what is mounted (POSIXFS), or volume group (ISCSI, FCP).
    Text(String),
    /// The same, named.
    Named(NamedLocation),
}

impl DomainLocation {
    /// Path, export, or volume group; empty if none was named.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Named(named) => named
                .remote_path
                .as_deref()
                .or(named.vg_uuid.as_deref())
                .unwrap_or_default(),
        }
    }
}

impl Wire for DomainLocation {
    const TYPE: &'static Type = &Type::Union(&[NamedLocation::TYPE, String::TYPE]);
}

wire! {
    /// Where a new domain is.
    pub struct NamedLocation {
        /// Path, export, or what is mounted.
        remote_path "remotePath": Option<String>,
        /// Volume group.
        vg_uuid "vgUUID": Option<String>,
    }

    /// A domain.
    pub struct DomainInfo {
        /// The domain.
        uuid: Uuid,
        /// Its type.
        domain_type "type": DomainType,
        /// What it holds.
        class: DomainClass,
        /// Its name.
        name: String,
        /// Its role in the pool.
        role: DomainRole,
        /// The pools that it belongs to: none or one.
        pool: Vec<Uuid>,
        /// Format, in a string.
        version: Str<i32>,
        /// Bytes of a sector.
        block_size: u32,
        /// Bytes of a lease.
        alignment: u64,
        /// Path or export.
        remote_path "remotePath": Option<String>,
        /// Volume group.
        vguuid: Option<String>,
        /// Always `OK` for a volume group.
        state: Option<String>,
        /// Device that holds the metadata.
        metadata_device "metadataDevice": Option<String>,
        /// Device that holds the volume group's metadata.
        vg_metadata_device "vgMetadataDevice": Option<String>,
    }

    /// Space of a domain. Engine ignores sizes that are not strings.
    pub struct DomainStats {
        /// Bytes in all.
        disktotal: Str<u64>,
        /// Bytes free.
        diskfree: Str<u64>,
        /// Is the metadata area sound?
        mdavalid: bool,
        /// Has the metadata area enough room?
        mdathreshold: bool,
        /// Size of the metadata area, bytes.
        mdasize: u64,
        /// Free in the metadata area, bytes.
        mdafree: u64,
        /// Something wrong with the domain.
        alerts: Option<Vec<DomainAlert>>,
    }

    /// How the monitor of a domain does. Engine drops a domain with a wrong type in silence.
    pub struct DomainVitals {
        /// 0, or VDSM's code of the last failure.
        code: i32,
        /// Seconds since the last check.
        last_check "lastCheck": Str<f64>,
        /// Seconds that reading took.
        delay: Str<f64>,
        /// Is it fine?
        valid: bool,
        /// Format, -1 if unknown.
        version: i32,
        /// Is this host's id acquired?
        acquired: bool,
        /// Was it checked at all?
        actual: bool,
    }

    /// A volume as its metadata tells it; keys that cannot be read are absent.
    pub struct VolumeDump {
        /// Image.
        image: Uuid,
        /// Parent, or zeroes.
        parent: Option<Uuid>,
        /// Bytes that the guest sees.
        capacity: Option<u64>,
        /// Format.
        format: Option<VolumeFormat>,
        /// Allocation.
        allocation "type": Option<AllocationType>,
        /// Role in the chain.
        role "voltype": Option<VolumeRole>,
        /// What it holds, as its metadata has it: a word of `DiskType`, or `2` for the data of old volumes.
        disktype: Option<String>,
        /// Engine's description.
        description: Option<String>,
        /// Is it usable?
        legality: Option<Legality>,
        /// Seconds since 1970.
        ctime: Option<i64>,
        /// Counts changes.
        generation: Option<u64>,
        /// Counts snapshots.
        sequence: Option<u64>,
        /// Slot of its metadata on block storage.
        mdslot: Option<u64>,
        /// Is the metadata sound?
        status: VolumeStatus,
        /// Bytes that it takes.
        truesize: Option<u64>,
        /// Bytes of its file.
        apparentsize: Option<u64>,
    }

    /// A lease, or a host in the lockspace, as sanlock has it on the storage.
    pub struct LeaseRecord {
        /// Where it is, bytes.
        offset: u64,
        /// The lockspace: the domain's id.
        lockspace: String,
        /// What it is for; in a lockspace the host.
        resource: String,
        /// Seconds of its owner's monotonic clock when it was renewed, 0 if it is free.
        timestamp: u64,
        /// Host id of its owner.
        own: u64,
        /// Generation of its owner.
        generation "gen": u64,
        /// Version.
        version "lver": Option<u64>,
    }

    /// A lease in the index of external leases.
    pub struct IndexedLease {
        /// Where it is, bytes.
        offset: u64,
        /// Was it being changed when the host died?
        updating: bool,
    }

    /// A whole domain.
    pub struct DomainDump {
        /// The domain.
        metadata: DomainInfo,
        /// Its volumes.
        volumes: BTreeMap<Uuid, VolumeDump>,
        /// Its leases, if all was asked for.
        leases: Option<Vec<LeaseRecord>>,
        /// Hosts that use it, if all was asked for.
        lockspace: Option<Vec<LeaseRecord>>,
        /// Its external leases, if all was asked for.
        external_leases "xleases": Option<BTreeMap<Uuid, IndexedLease>>,
    }
}

namespace! {
    /// Storage domains.
    pub trait StorageDomainApi = "StorageDomain";

    /// Makes a domain on storage that is connected and empty.
    Storage fn domain_create "create" (Create {
        /// The new domain.
        domain_id "storagedomainID": Uuid,
        /// Its type.
        domain_type "domainType": DomainType,
        /// Where it is.
        location "typeArgs": DomainLocation,
        /// Its name.
        name: String,
        /// What it holds.
        class "domainClass": DomainClass,
        /// Format; without it the oldest.
        version: Option<i32> = null,
        /// Bytes of a sector: 0 (find out), 512, 4096.
        block_size "blockSize": u32 = 512,
        /// Most hosts.
        max_hosts "maxHosts": u32 = 2000,
    }) -> Done;

    /// Destroys a domain and all that is on it.
    Storage fn domain_format "format" (Format {
        /// The domain.
        domain_id "storagedomainID": Uuid,
        /// Also if it belongs to a pool.
        auto_detach "autoDetach": bool,
    }) -> Done;

    /// Takes a domain into a pool.
    Storage fn domain_attach "attach" (Attach {
        /// The domain.
        domain_id "storagedomainID": Uuid,
        /// The pool.
        pool_id "storagepoolID": Uuid,
    }) -> Done;

    /// Takes a domain of the pool into use.
    Storage fn domain_activate "activate" (Activate {
        /// The domain.
        domain_id "storagedomainID": Uuid,
        /// The pool.
        pool_id "storagepoolID": Uuid,
    }) -> Done;

    /// Takes a domain out of use; the master moves to the named domain first.
    Storage fn domain_deactivate "deactivate" (Deactivate {
        /// The domain.
        domain_id "storagedomainID": Uuid,
        /// The pool.
        pool_id "storagepoolID": Uuid,
        /// New master, or zeroes.
        master_id "masterSdUUID": Uuid,
        /// Version of the new master.
        master_version "masterVersion": i32,
    }) -> Done;

    /// Takes a domain out of its pool.
    Storage fn domain_detach "detach" (Detach {
        /// The domain.
        domain_id "storagedomainID": Uuid,
        /// The pool.
        pool_id "storagepoolID": Uuid,
        /// Not used.
        master_id "masterSdUUID": Option<Uuid> = null,
        /// Not used.
        master_version "masterVersion": i32 = 0,
        /// Also if the pool is not connected.
        force: bool = false,
    }) -> Done;

    /// A domain as its metadata tells it.
    Storage fn domain_get_info "getInfo" (GetInfo {
        /// The domain.
        domain_id "storagedomainID": Uuid,
    }) -> DomainInfo;

    /// Space of a domain.
    Storage fn domain_get_stats "getStats" (GetStats {
        /// The domain.
        domain_id "storagedomainID": Uuid,
    }) -> DomainStats;

    /// Is the domain accessible and sound? An error if not.
    Storage fn domain_validate "validate" (Validate {
        /// The domain.
        domain_id "storagedomainID": Uuid,
    }) -> Done;

    /// Ids of the images of a domain.
    Storage fn domain_get_images "getImages" (GetImages {
        /// The domain.
        domain_id "storagedomainID": Uuid,
    }) -> Vec<Uuid>;

    /// Ids of the volumes of a domain, or of one of its images.
    Storage fn domain_get_volumes "getVolumes" (GetVolumes {
        /// The domain.
        domain_id "storagedomainID": Uuid,
        /// The pool.
        pool_id "storagepoolID": Option<Uuid> = null,
        /// Only of this image.
        image_id "imageID": Option<Uuid> = null,
    }) -> Vec<Uuid>;

    /// All that the metadata of a domain and its volumes tells.
    Storage fn domain_dump "dump" (Dump {
        /// The domain.
        domain_id "sd_id": Uuid,
        /// Also sizes, leases and lockspace.
        full: bool = false,
    }) -> DomainDump;
}
