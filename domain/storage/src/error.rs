//! Why storage did not do it. Each variant has the name and the arguments of the exception of VDSM
//! (`storage/exception.py`) that it stands for; its number is chosen where it goes on the wire.

use std::{io, path::PathBuf};

use storage_model::{FormatError, ports};
use uuid::Uuid;

use crate::types::VolumeId;

/// Why storage did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "variants are named as upstream's exceptions; their messages say what they mean"
)]
pub enum StorageError {
    // general
    #[error("storage: {0}")]
    StorageException(String),
    #[error("{name}={value} is not a valid parameter{}", because(.reason.as_ref()))]
    InvalidParameterException {
        name: String,
        value: String,
        reason: Option<String>,
    },
    #[error("not supported: {reason} {context}")]
    UnsupportedOperation { reason: String, context: String },
    #[error("stopped on request")]
    ActionStopped,
    #[error("already under way: {0}")]
    MiscOperationInProgress(String),
    #[error("cannot clean up a folder: {0}")]
    MiscDirCleanupFailure(String),
    #[error("waited too long for {0}")]
    ResourceTimeout(String),
    #[error("{path}: {what}")]
    MiscFileReadException { path: PathBuf, what: String },
    #[error("{path}: {what}")]
    MiscFileWriteException { path: PathBuf, what: String },
    // volumes
    #[error("volume {0} does not exist")]
    VolumeDoesNotExist(Uuid),
    #[error("format {0} cannot be used here")]
    IncorrectFormat(String),
    #[error("allocation {0} cannot be used here")]
    IncorrectType(String),
    #[error("volume {} has children", .0.volume)]
    VolumeImageHasChildren(VolumeId),
    #[error("cannot create the volume: {0}")]
    VolumeCreationError(String),
    #[error("cannot read metadata of a volume: {0}")]
    VolumeMetadataReadError(String),
    #[error("cannot write metadata of a volume: {0}")]
    VolumeMetadataWriteError(String),
    #[error("no access to volume {0}")]
    VolumeAccessError(String),
    #[error("volume {0} exists")]
    VolumeAlreadyExists(Uuid),
    #[error("volume {0} cannot be written")]
    VolumeNonWritable(Uuid),
    #[error("volume {} is not a template", .0.volume)]
    VolumeNonShareable(VolumeId),
    #[error("volume {} belongs to the image it should be shared with", .0.volume)]
    VolumeOwnershipError(VolumeId),
    #[error("cannot get the parent: {0}")]
    VolumeCannotGetParent(String),
    #[error("cannot clone {src} to {dst}: {msg}")]
    CannotCloneVolume {
        src: PathBuf,
        dst: PathBuf,
        msg: String,
    },
    #[error("cannot share {src} as {dst}: {msg}")]
    CannotShareVolume {
        src: PathBuf,
        dst: PathBuf,
        msg: String,
    },
    #[error("cannot delete volume: {0}")]
    CannotDeleteVolume(String),
    #[error("a template in use cannot be deleted: {0}")]
    CannotDeleteSharedVolume(String),
    #[error("volume {0} is illegal, no snapshot can stand on it")]
    CreateIllegalVolumeSnapshotError(Uuid),
    #[error("volume {0} is illegal, it cannot be prepared")]
    PrepareIllegalVolumeError(Uuid),
    #[error("{0} is not a possible size for this volume")]
    VolumeResizeValueError(String),
    // images
    #[error("no access to the folder of the image: {0}")]
    ImagePathError(PathBuf),
    #[error("image {image} cannot be deleted: {list}")]
    ImageDeleteError { image: Uuid, list: String },
    #[error("image {image} is not in domain {domain}")]
    ImageDoesNotExistInSD { image: Uuid, domain: Uuid },
    #[error("the chain of image {0} is broken")]
    ImageIsNotLegalChain(Uuid),
    #[error("{domain} cannot discard: {reason}")]
    DiscardIsNotSupported { domain: Uuid, reason: String },
    // pools
    #[error("pool {0} is not connected")]
    StoragePoolUnknown(Uuid),
    #[error("no pool is connected")]
    StoragePoolNotConnected,
    #[error("pool {pool} has no master domain {master}")]
    StoragePoolMasterNotFound { pool: Uuid, master: Uuid },
    #[error("domain {domain} is not the master of pool {pool}, or not of that version")]
    StoragePoolWrongMaster { pool: Uuid, domain: Uuid },
    #[error("not while the pool is connected: {0}")]
    StoragePoolConnected(String),
    #[error("pool {0} is connected already, no second one can be")]
    CannotConnectMultiplePools(Uuid),
    #[error("the name of the pool is too long")]
    StoragePoolDescriptionTooLongError,
    #[error("the pool has as many domains as it may have")]
    TooManyDomainsInStoragePoolError,
    #[error("storage pool: {0}")]
    StoragePoolActionError(String),
    #[error("{0} is not our host id in this pool")]
    HostIdMismatch(Uuid),
    #[error("this host is SPM of pool {0}")]
    IsSpm(Uuid),
    #[error("this host is not SPM of pool {0}")]
    SpmStatusError(Uuid),
    #[error("SPM did not start: {0}")]
    SpmStartError(String),
    // domains
    #[error("storage domain {0} does not exist")]
    StorageDomainDoesNotExist(Uuid),
    #[error("storage domain {0} exists")]
    StorageDomainAlreadyExists(Uuid),
    #[error("there is another storage domain in {0}")]
    StorageDomainNotEmpty(String),
    #[error("storage domain {domain} has no metadata in {path}")]
    StorageDomainMetadataNotFound { domain: Uuid, path: PathBuf },
    #[error("cannot create metadata of a storage domain: {0}")]
    StorageDomainMetadataCreationError(String),
    #[error("storage domain {domain} cannot be reached{}", because(.reason.as_ref()))]
    StorageDomainAccessError {
        domain: Uuid,
        reason: Option<String>,
    },
    #[error("cannot create the storage domain: {0}")]
    StorageDomainCreationError(String),
    #[error("storage domain: {0}")]
    StorageDomainActionError(String),
    #[error("{0} is not a type of storage domain that can be used here")]
    StorageDomainTypeError(String),
    #[error("not a class of storage domains")]
    StorageDomainClassError,
    #[error("{0} is not a status of storage domains")]
    StorageDomainStatusError(String),
    #[error("the name of the storage domain is too long")]
    StorageDomainDescriptionTooLongError,
    #[error("{0} is not a path for a storage domain")]
    StorageDomainIllegalRemotePath(String),
    #[error("storage domain {domain} is {actual}, not {expected}")]
    StorageDomainIllegalStateError {
        domain: Uuid,
        expected: String,
        actual: String,
    },
    #[error("block size {block_size} was asked for, the storage has {storage_block_size}")]
    StorageDomainBlockSizeMismatch {
        block_size: u32,
        storage_block_size: u32,
    },
    #[error("the storage cannot be used: {0}")]
    StorageDomainTargetUnsupported(String),
    #[error("storage domain {domain} is attached to pool {pool}")]
    StorageDomainAlreadyAttached { pool: Uuid, domain: Uuid },
    #[error("storage domain {domain} does not say that it belongs to pool {pool}")]
    StorageDomainNotInPool { pool: Uuid, domain: Uuid },
    #[error("pool {pool} has no storage domain {domain}")]
    StorageDomainNotMemberOfPool { pool: Uuid, domain: Uuid },
    #[error("storage domain {0} belongs to the connected pool")]
    StorageDomainIsMemberOfPool(Uuid),
    #[error("storage domain {0} is not active")]
    StorageDomainNotActive(Uuid),
    #[error("storage domain {0} is the master")]
    CannotDetachMasterStorageDomain(Uuid),
    #[error("storage domain {0} is attached to a pool")]
    CannotFormatAttachedStorageDomain(Uuid),
    #[error("storage domain {0} belongs to the connected pool")]
    CannotFormatStorageDomainInConnectedPool(Uuid),
    #[error("master storage domain: {0}")]
    StorageDomainMasterError(String),
    #[error("storage domains of version {0} cannot be used here")]
    UnsupportedDomainVersion(String),
    #[error("storage domain {domain} has version {current}, only {expected} was expected")]
    CurrentVersionTooAdvancedError {
        domain: Uuid,
        current: u32,
        expected: u32,
    },
    #[error("domain {domain} has version {version}, master {master} has {master_version}")]
    MixedSDVersionError {
        domain: Uuid,
        version: u32,
        master: Uuid,
        master_version: u32,
    },
    #[error("storage domain {0} is full")]
    NoSpaceLeftOnDomain(Uuid),
    #[error("this domain holds no images")]
    ImagesNotSupportedError,
    // servers
    #[error("no permission to use {0}")]
    StorageServerAccessPermissionError(PathBuf),
    #[error("storage server: {0}")]
    StorageServerActionError(String),
    // locks
    #[error("cannot obtain lock {id}: {err} ({rc})")]
    AcquireLockFailure {
        id: Uuid,
        rc: i32,
        out: String,
        err: String,
    },
    #[error("cannot release lock: {0}")]
    ReleaseLockFailure(String),
    #[error("cannot acquire a host id: {0}")]
    AcquireHostIdFailure(String),
    #[error("cannot release a host id: {0}")]
    ReleaseHostIdFailure(String),
    #[error("cannot initialize the lock: {0}")]
    ClusterLockInitError(String),
    // metadata
    #[error("metadata: {0}")]
    MetaDataGeneralError(String),
    #[error("metadata key: {0}")]
    MetaDataKeyError(String),
    #[error("metadata: {0}")]
    InvalidMetadata(String),
    #[error("metadata is damaged: checksum {cksum}, computed {computed_cksum}")]
    MetaDataSealIsBroken {
        cksum: String,
        computed_cksum: String,
    },
    #[error("metadata is not valid: {0}")]
    MetaDataValidationError(String),
    #[error("metadata is too big: {0}")]
    MetadataOverflowError(String),
    #[error("metadata was cleared, the volume is partly deleted")]
    MetadataCleared,
    // tasks
    #[error("cannot persist the undo step: {0}")]
    TaskPersistError(String),
    #[error("not a known undo step: {0}")]
    InvalidRecovery(String),
}

/// Answer of storage.
pub type Result<T> = std::result::Result<T, StorageError>;

fn because(reason: Option<&String>) -> String {
    reason.map(|r| format!(": {r}")).unwrap_or_default()
}

impl From<ports::JournalError> for StorageError {
    fn from(error: ports::JournalError) -> Self {
        Self::TaskPersistError(error.0)
    }
}

/// An error that a wrong parameter causes.
pub(crate) fn invalid(name: &str, value: impl ToString) -> StorageError {
    StorageError::InvalidParameterException {
        name: name.to_owned(),
        value: value.to_string(),
        reason: None,
    }
}

/// Metadata of a domain that cannot be understood.
pub(crate) fn bad_metadata(error: FormatError) -> StorageError {
    match error {
        FormatError::BrokenSeal { declared, computed } => StorageError::MetaDataSealIsBroken {
            cksum: declared,
            computed_cksum: computed,
        },
        FormatError::MissingKey { .. } => StorageError::MetaDataKeyError(error.to_string()),
        FormatError::Cleared => StorageError::MetadataCleared,
        FormatError::UnknownVersion(version) => StorageError::UnsupportedDomainVersion(version),
        FormatError::Overflow { .. } => StorageError::MetadataOverflowError(error.to_string()),
        FormatError::Invalid(_) | FormatError::BadValue { .. } => {
            StorageError::InvalidMetadata(error.to_string())
        }
        FormatError::Unwritable { key } => StorageError::InvalidParameterException {
            name: key.to_lowercase(),
            value: String::new(),
            reason: Some("it has a control character".to_owned()),
        },
        other => StorageError::MetaDataGeneralError(other.to_string()),
    }
}

/// Is it that something is not there?
pub(crate) fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
