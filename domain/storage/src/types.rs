//! What callers ask for and what they are told: plain structs, no wire names, no codes.

use std::path::PathBuf;

use storage_model::{
    Allocation, DomainClass, DomainRole, DomainStatus, DomainType, LeaseParams, Legality,
    VolumeFormat, VolumeRole,
};
use uuid::Uuid;

use crate::StorageError;

/// One connection of `connectStorageServer`, as far as a local folder needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConnection {
    /// The caller's id of it; comes back with the status.
    pub id: String,
    /// The folder (`connection`).
    pub path: String,
}

/// What became of one connection. The call as a whole succeeds even if every connection fails.
#[derive(Debug)]
pub struct ConnectionStatus {
    /// The caller's id of it.
    pub id: String,
    /// Done, or why not.
    pub result: Result<(), StorageError>,
}

/// `StorageDomain.create`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateDomain {
    /// Its id.
    pub domain: Uuid,
    /// Only [`DomainType::LocalFs`] can be made here so far.
    pub domain_type: DomainType,
    /// What for.
    pub class: DomainClass,
    /// Its name (`DESCRIPTION`).
    pub name: String,
    /// The folder (`typeArgs`), connected before.
    pub remote_path: String,
    /// Format version; 5 is written here.
    pub version: u32,
    /// 512, 4096, or 0 for what the storage wants.
    pub block_size: u32,
    /// Hosts that may use it at most: decides the alignment of leases on 4096-byte storage.
    pub max_hosts: u32,
}

/// `StorageDomain.getInfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainInfo {
    /// Its id.
    pub domain: Uuid,
    /// What it lives on.
    pub domain_type: DomainType,
    /// What for.
    pub class: DomainClass,
    /// Its name.
    pub name: String,
    /// Role in its pool.
    pub role: DomainRole,
    /// Its pools: none or one, more only for ISO domains.
    pub pools: Vec<Uuid>,
    /// Format version.
    pub version: u32,
    /// 512 or 4096.
    pub block_size: u32,
    /// Bytes of a lease.
    pub alignment: u64,
    /// The folder behind the link.
    pub remote_path: String,
}

/// `StorageDomain.getStats`, bytes. The figures of LVM metadata are constant for file domains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DomainStats {
    /// Size of the file system.
    pub disk_total: u64,
    /// Free for us.
    pub disk_free: u64,
}

/// Filter of `Host.getStorageDomains`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DomainFilter {
    /// Only domains of this pool (which must be connected); nil and `None` mean all.
    pub pool: Option<Uuid>,
    /// Only this class.
    pub class: Option<DomainClass>,
    /// Only this type.
    pub domain_type: Option<DomainType>,
    /// Only the one of this folder.
    pub remote_path: Option<String>,
}

/// `StorageDomain.dump`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainDump {
    /// As `getInfo`.
    pub info: DomainInfo,
    /// Its volumes, those with broken metadata too.
    pub volumes: Vec<DumpedVolume>,
}

/// A volume of a dump; what its metadata did not tell is absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpedVolume {
    /// Its id as the file name tells it (may be no UUID).
    pub volume: String,
    /// Its image: of the metadata, else of the folder.
    pub image: String,
    /// Status.
    pub status: VolumeStatus,
    /// What its metadata says.
    pub metadata: storage_model::PartialVolumeMetadata,
    /// Bytes allocated.
    pub true_size: Option<u64>,
    /// Size of the file, bytes.
    pub apparent_size: Option<u64>,
}

/// State of a domain as its monitor saw it: `Host.getStorageRepoStats`.
#[derive(Debug, Clone, PartialEq)]
pub struct DomainHealth {
    /// `None`: fine.
    pub error: Option<StorageError>,
    /// Seconds that one uncached read took.
    pub read_delay: f64,
    /// Seconds since the last check ended.
    pub last_check: f64,
    /// False until the first check has ended.
    pub actual: bool,
    /// Is our host id held on it?
    pub acquired: bool,
    /// Format version, -1 until known.
    pub version: i64,
    /// Size and free bytes, if known.
    pub space: Option<DomainStats>,
    /// Is the master's folder there?
    pub master_mounted: bool,
    /// Is its tree whole?
    pub master_valid: bool,
}

/// A domain went from fine to not fine or back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DomainStateChange {
    /// Which.
    pub domain: Uuid,
    /// Fine now?
    pub valid: bool,
}

/// `StoragePool.create`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatePool {
    /// Its id.
    pub pool: Uuid,
    /// Its name, at most 50 characters.
    pub name: String,
    /// The master domain, one of `domains`.
    pub master: Uuid,
    /// Version of the master.
    pub master_version: i64,
    /// All domains.
    pub domains: Vec<Uuid>,
    /// Parameters of the lease; the default if any was zero or absent.
    pub lease: LeaseParams,
}

/// `StoragePool.connect`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectPool {
    /// Which.
    pub pool: Uuid,
    /// Our number among its hosts.
    pub host_id: i64,
    /// Its master domain.
    pub master: Uuid,
    /// Version of the master.
    pub master_version: i64,
    /// Domains and their status as the engine knows them; `None` reads them from the master.
    pub domains: Option<Vec<(Uuid, DomainStatus)>>,
}

/// `StoragePool.getInfo`.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolInfo {
    /// Its name; `No Description` where the engine keeps the map of domains.
    pub name: String,
    /// Its master domain.
    pub master: Uuid,
    /// Version of the master.
    pub master_version: i64,
    /// Lease version of the SPM, -1 if none.
    pub lver: i64,
    /// Host id of the SPM, -1 if none.
    pub spm_id: i64,
    /// Type of the master domain.
    pub domain_type: DomainType,
    /// Format version of the master domain.
    pub version: u32,
    /// Domains in the pool's order.
    pub domains: Vec<PoolDomain>,
}

/// A domain in `StoragePool.getInfo`.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolDomain {
    /// Which.
    pub domain: Uuid,
    /// Its status in the pool.
    pub status: DomainStatus,
    /// What its monitor says; only for active domains.
    pub health: Option<DomainHealth>,
}

/// What this host is in the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpmRole {
    /// Not SPM.
    Free,
    /// Trying.
    Contend,
    /// SPM.
    Spm,
}

impl SpmRole {
    /// `Free`, `Contend` or `SPM`, as `getSpmStatus` tells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Free => "Free",
            Self::Contend => "Contend",
            Self::Spm => "SPM",
        }
    }
}

/// `StoragePool.getSpmStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpmStatus {
    /// What this host is.
    pub role: SpmRole,
    /// Lease version, -1 if none.
    pub lver: i64,
    /// Host id of the SPM, -1 if none.
    pub spm_id: i64,
}

/// The ids of a volume within the connected storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VolumeId {
    /// Its domain.
    pub domain: Uuid,
    /// Its image.
    pub image: Uuid,
    /// Itself.
    pub volume: Uuid,
}

/// `Volume.create`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateVolume {
    /// The pool: must be connected, and we its SPM.
    pub pool: Uuid,
    /// Ids of the new volume.
    pub id: VolumeId,
    /// Virtual size, bytes; rounded up to 4096.
    pub capacity: u64,
    /// Raw or qcow2.
    pub format: VolumeFormat,
    /// Sparse or preallocated.
    pub allocation: Allocation,
    /// `DISKTYPE`.
    pub disk_type: String,
    /// `DESCRIPTION`, cut at 210 characters.
    pub description: String,
    /// Image of the parent; nil means the same image.
    pub source_image: Uuid,
    /// Parent; nil for none.
    pub source_volume: Uuid,
    /// Bytes to allocate at first: only for preallocated raw volumes, and there it changes nothing.
    pub initial_size: Option<u64>,
    /// Legal from the start?
    pub legal: bool,
    /// `SEQ`.
    pub sequence: u64,
    /// Copy the parent's bitmaps (not built: refused).
    pub add_bitmaps: bool,
    /// Make a bitmap of this name (not built: refused).
    pub bitmap: Option<Uuid>,
}

/// Status of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VolumeStatus {
    /// Usable.
    Ok,
    /// Marked illegal.
    Illegal,
    /// Its metadata cannot be read.
    Invalid,
    /// Its image is being deleted.
    Removed,
}

impl VolumeStatus {
    /// `OK`, `ILLEGAL`, `INVALID`, `REMOVED`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Illegal => "ILLEGAL",
            Self::Invalid => "INVALID",
            Self::Removed => "REMOVED",
        }
    }
}

/// Answer of `Volume.getInfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeReport {
    /// What is known of the volume.
    Readable(VolumeInfo),
    /// It is there, but its metadata cannot be read or understood: status `INVALID`, nothing else is told.
    Broken(StorageError),
}

impl VolumeReport {
    /// What is known, if its metadata can be read.
    pub fn readable(self) -> Option<VolumeInfo> {
        match self {
            Self::Readable(info) => Some(info),
            Self::Broken(_) => None,
        }
    }
}

/// What `Volume.getInfo` tells of a volume with readable metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeInfo {
    /// Its ids; image and domain as its metadata tells them.
    pub id: VolumeId,
    /// Sparse or preallocated.
    pub allocation: Allocation,
    /// Format.
    pub format: VolumeFormat,
    /// `DISKTYPE`.
    pub disk_type: String,
    /// Place in its chain.
    pub role: VolumeRole,
    /// Virtual size, bytes.
    pub capacity: u64,
    /// Parent, nil for none.
    pub parent: Uuid,
    /// `DESCRIPTION`.
    pub description: String,
    /// Seconds since 1970.
    pub ctime: i64,
    /// Legality.
    pub legality: Legality,
    /// `GEN`.
    pub generation: u64,
    /// `SEQ`.
    pub sequence: u64,
    /// Sizes.
    pub size: VolumeSize,
    /// Status.
    pub status: VolumeStatus,
    /// Its lease, on domains that have leases (local ones have none).
    pub lease: Option<LeaseLocation>,
}

/// `Volume.getSize`, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VolumeSize {
    /// Size of the file.
    pub apparent: u64,
    /// Allocated.
    pub truesize: u64,
}

/// Where a lease lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseLocation {
    /// The file.
    pub path: PathBuf,
    /// Offset, bytes.
    pub offset: u64,
}

/// `Image.prepare`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedImage {
    /// Path of the leaf for QEMU; without a pool the one beneath the run folder.
    pub path: PathBuf,
    /// `info.path`: the leaf within its domain. `info.type` is always `file` here.
    pub info_path: PathBuf,
    /// Format of the leaf.
    pub format: VolumeFormat,
    /// All volumes of the image, base first (upstream's order is arbitrary).
    pub volumes: Vec<ImageVolume>,
}

/// One volume of a prepared image (`imgVolumesInfo`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageVolume {
    /// Its ids.
    pub id: VolumeId,
    /// Its path.
    pub path: PathBuf,
    /// Its lease; `None` on local domains: `leasePath`, `leaseOffset` are then left out.
    pub lease: Option<LeaseLocation>,
}

/// An image that is out of sight and waits to be purged: what `delete_image` hands to its task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurgeImage {
    /// Its pool.
    pub pool: Uuid,
    /// Its domain.
    pub domain: Uuid,
    /// Itself.
    pub image: Uuid,
    /// Overwrite first.
    pub post_zero: bool,
}

/// What [`crate::StorageManager::recover`] found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Unfinished domains that were taken away, and half-formatted ones whose removal was finished.
    pub removed_domains: Vec<PathBuf>,
    /// Pools whose creation did not end; taken back.
    pub undone_pools: Vec<Uuid>,
    /// Images whose deletion was finished.
    pub purged_images: Vec<(Uuid, Uuid)>,
    /// Volume files without metadata: left alone here (undo steps of tasks take them away), told for the log.
    pub halfbaked: Vec<PathBuf>,
    /// What could not be looked at or finished.
    pub failures: Vec<String>,
}
