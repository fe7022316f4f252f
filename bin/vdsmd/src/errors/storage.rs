//! Errors of storage on the wire. A variant has the name of upstream's exception class, and so its code; what
//! stands here is how upstream's classes print their arguments: as a tuple, or as one composed value.

use schema::{Code, VdsmError, error::Py};
use storage::{StorageError as E, VolumeId};
use uuid::Uuid;

/// An error of storage.
pub(crate) fn storage(error: E) -> VdsmError {
    general(error)
        .or_else(volume)
        .or_else(image)
        .or_else(pool)
        .or_else(domain)
        .or_else(domain_state)
        .or_else(lock)
        .or_else(metadata)
        .unwrap_or_else(|rest| VdsmError::internal(&rest.to_string()))
}

/// The error's place on the wire, or the error itself for the next group.
type Answer = Result<VdsmError, E>;

fn one(code: Code, detail: impl Into<Py>) -> VdsmError {
    code.args([detail])
}

fn value(code: Code, detail: String) -> VdsmError {
    code.value(detail)
}

fn general(error: E) -> Answer {
    Ok(match error {
        E::StorageException(why) => one(Code::StorageException, why),
        E::InvalidParameterException {
            name,
            value: text,
            reason,
        } => {
            let reason = reason.map(|it| format!(" ({it})")).unwrap_or_default();
            value(
                Code::InvalidParameterException,
                format!("{name}={text}{reason}"),
            )
        }
        E::UnsupportedOperation { reason, context } => value(
            Code::StorageUnsupportedOperation,
            format!("reason={reason}, context={context}"),
        ),
        E::ActionStopped => Code::ActionStopped.into(),
        E::MiscOperationInProgress(what) => one(Code::MiscOperationInProgress, what),
        E::MiscDirCleanupFailure(what) => one(Code::MiscDirCleanupFailure, what),
        E::ResourceTimeout(what) => one(Code::ResourceTimeout, what),
        E::MiscFileReadException { path, what } => {
            Code::MiscFileReadException.args([path.display().to_string(), what])
        }
        E::MiscFileWriteException { path, what } => {
            Code::MiscFileWriteException.args([path.display().to_string(), what])
        }
        E::TaskPersistError(why) => one(Code::TaskPersistError, why),
        E::InvalidRecovery(what) => one(Code::InvalidRecovery, what),
        other => return Err(other),
    })
}

/// Ids of a volume as upstream's `VolumeGeneralException` lists them.
fn ids(code: Code, id: VolumeId) -> VdsmError {
    code.args([
        format!("sdUUID: {}", id.domain),
        format!("imgUUID: {}", id.image),
        format!("volUUID: {}", id.volume),
    ])
}

fn volume(error: E) -> Answer {
    Ok(match error {
        E::VolumeDoesNotExist(id) => one(Code::VolumeDoesNotExist, id),
        E::IncorrectFormat(what) => one(Code::IncorrectFormat, what),
        E::IncorrectType(what) => one(Code::IncorrectType, what),
        E::VolumeImageHasChildren(id) => ids(Code::VolumeImageHasChildren, id),
        E::VolumeCreationError(why) => one(Code::VolumeCreationError, why),
        E::VolumeMetadataReadError(why) => one(Code::VolumeMetadataReadError, why),
        E::VolumeMetadataWriteError(why) => one(Code::VolumeMetadataWriteError, why),
        E::VolumeAccessError(why) => one(Code::VolumeAccessError, why),
        E::VolumeAlreadyExists(id) => one(Code::VolumeAlreadyExists, id),
        E::VolumeNonWritable(id) => one(Code::VolumeNonWritable, id),
        E::VolumeNonShareable(id) => ids(Code::VolumeNonShareable, id),
        E::VolumeOwnershipError(id) => ids(Code::VolumeOwnershipError, id),
        E::VolumeCannotGetParent(why) => one(Code::VolumeCannotGetParent, why),
        E::CannotCloneVolume { src, dst, msg } => value(
            Code::CannotCloneVolume,
            format!("src={}, dst={}: {msg}", src.display(), dst.display()),
        ),
        E::CannotShareVolume { src, dst, msg } => value(
            Code::CannotShareVolume,
            format!("src={}, dst={}: {msg}", src.display(), dst.display()),
        ),
        E::CannotDeleteVolume(why) => one(Code::CannotDeleteVolume, why),
        E::CannotDeleteSharedVolume(why) => one(Code::CannotDeleteSharedVolume, why),
        E::CreateIllegalVolumeSnapshotError(id) => one(Code::createIllegalVolumeSnapshotError, id),
        E::PrepareIllegalVolumeError(id) => one(Code::prepareIllegalVolumeError, id),
        E::VolumeResizeValueError(what) => one(Code::VolumeResizeValueError, what),
        other => return Err(other),
    })
}

fn image(error: E) -> Answer {
    Ok(match error {
        E::ImagePathError(path) => one(Code::ImagePathError, path.display().to_string()),
        E::ImageDeleteError { image, list } => {
            Code::ImageDeleteError.args([image.to_string(), list])
        }
        E::ImageDoesNotExistInSD { image, domain } => value(
            Code::ImageDoesNotExistInSD,
            format!("image={image}, domain={domain}"),
        ),
        E::ImageIsNotLegalChain(id) => one(Code::ImageIsNotLegalChain, id),
        E::ImagesNotSupportedError => Code::ImagesNotSupportedError.into(),
        E::DiscardIsNotSupported { domain, reason } => value(
            Code::DiscardIsNotSupported,
            format!("sdUUID={domain}, reason={reason}"),
        ),
        other => return Err(other),
    })
}

fn pool(error: E) -> Answer {
    Ok(match error {
        E::StoragePoolUnknown(id) => one(Code::StoragePoolUnknown, id),
        E::StoragePoolNotConnected => Code::StoragePoolNotConnected.into(),
        E::StoragePoolMasterNotFound { pool, master } => value(
            Code::StoragePoolMasterNotFound,
            format!("spUUID={pool}, msdUUID={master}"),
        ),
        E::StoragePoolWrongMaster { pool, domain } => value(
            Code::StoragePoolWrongMaster,
            format!("SD={domain}, pool={pool}"),
        ),
        E::StoragePoolConnected(what) => one(Code::StoragePoolConnected, what),
        E::CannotConnectMultiplePools(id) => one(Code::CannotConnectMultiplePools, id),
        E::StoragePoolDescriptionTooLongError => Code::StoragePoolDescriptionTooLongError.into(),
        E::TooManyDomainsInStoragePoolError => Code::TooManyDomainsInStoragePoolError.into(),
        E::StoragePoolActionError(why) => one(Code::StoragePoolActionError, why),
        E::HostIdMismatch(id) => one(Code::HostIdMismatch, id),
        E::IsSpm(id) => one(Code::IsSpm, id),
        E::SpmStatusError(id) => one(Code::SpmStatusError, id),
        E::SpmStartError(why) => one(Code::SpmStartError, why),
        E::StorageServerAccessPermissionError(path) => one(
            Code::StorageServerAccessPermissionError,
            path.display().to_string(),
        ),
        E::StorageServerActionError(why) => one(Code::StorageServerActionError, why),
        other => return Err(other),
    })
}

fn domain(error: E) -> Answer {
    Ok(match error {
        E::StorageDomainDoesNotExist(id) => one(Code::StorageDomainDoesNotExist, id),
        E::StorageDomainAlreadyExists(id) => one(Code::StorageDomainAlreadyExists, id),
        E::StorageDomainNotEmpty(what) => one(Code::StorageDomainNotEmpty, what),
        E::StorageDomainMetadataNotFound { domain, path } => {
            let path = path.display();
            value(
                Code::StorageDomainMetadataNotFound,
                format!("sdUUID={domain}, metafile path={path}"),
            )
        }
        E::StorageDomainMetadataCreationError(why) => {
            one(Code::StorageDomainMetadataCreationError, why)
        }
        E::StorageDomainAccessError { domain, reason } => {
            let reason = reason.map(|it| format!(" reason={it}")).unwrap_or_default();
            value(
                Code::StorageDomainAccessError,
                format!("domain={domain}{reason}"),
            )
        }
        E::StorageDomainCreationError(why) => one(Code::StorageDomainCreationError, why),
        E::StorageDomainActionError(why) => one(Code::StorageDomainActionError, why),
        E::StorageDomainTypeError(what) => one(Code::StorageDomainTypeError, what),
        E::StorageDomainClassError => Code::StorageDomainClassError.into(),
        E::StorageDomainStatusError(what) => one(Code::StorageDomainStatusError, what),
        E::StorageDomainDescriptionTooLongError => {
            Code::StorageDomainDescriptionTooLongError.into()
        }
        E::StorageDomainIllegalRemotePath(path) => one(Code::StorageDomainIllegalRemotePath, path),
        E::StorageDomainBlockSizeMismatch {
            block_size,
            storage_block_size,
        } => value(
            Code::StorageDomainBlockSizeMismatch,
            format!("block_size={block_size}, storage_block_size={storage_block_size}"),
        ),
        E::StorageDomainTargetUnsupported(why) => one(Code::StorageDomainTargetUnsupported, why),
        E::StorageDomainMasterError(why) => one(Code::StorageDomainMasterError, why),
        E::UnsupportedDomainVersion(version) => worded(
            Code::UnsupportedDomainVersion,
            format!("Domain version `{version}` is unsupported by this version of VDSM"),
        ),
        E::NoSpaceLeftOnDomain(id) => no_space(id),
        other => return Err(other),
    })
}

fn domain_state(error: E) -> Answer {
    Ok(match error {
        E::StorageDomainIllegalStateError {
            domain,
            expected,
            actual,
        } => value(
            Code::StorageDomainIllegalStateError,
            format!("sdUUID={domain}, expected state={expected}, actual state={actual}"),
        ),
        E::StorageDomainAlreadyAttached { pool, domain } => value(
            Code::StorageDomainAlreadyAttached,
            format!("domain={domain}, pool={pool}"),
        ),
        E::StorageDomainNotInPool { pool, domain } => value(
            Code::StorageDomainNotInPool,
            format!("domain={domain}, pool={pool}"),
        ),
        E::StorageDomainNotMemberOfPool { pool, domain } => value(
            Code::StorageDomainNotMemberOfPool,
            format!("pool={pool}, domain={domain}"),
        ),
        E::StorageDomainIsMemberOfPool(id) => one(Code::StorageDomainIsMemberOfPool, id),
        E::StorageDomainNotActive(id) => one(Code::StorageDomainNotActive, id),
        E::CannotDetachMasterStorageDomain(id) => one(Code::CannotDetachMasterStorageDomain, id),
        E::CannotFormatAttachedStorageDomain(id) => {
            one(Code::CannotFormatAttachedStorageDomain, id)
        }
        E::CannotFormatStorageDomainInConnectedPool(id) => {
            one(Code::CannotFormatStorageDomainInConnectedPool, id)
        }
        E::CurrentVersionTooAdvancedError {
            domain,
            current,
            expected,
        } => worded(
            Code::CurrentVersionTooAdvancedError,
            format!(
                "Current domain `{domain}` version is too advanced, expected `{expected}` and found `{current}`"
            ),
        ),
        E::MixedSDVersionError {
            domain,
            version,
            master,
            master_version,
        } => worded(
            Code::MixedSDVersionError,
            format!(
                "Domain `{domain}` version ({version}) is different from msd {master} version ({master_version})"
            ),
        ),
        other => return Err(other),
    })
}

fn lock(error: E) -> Answer {
    Ok(match error {
        E::AcquireLockFailure { id, rc, out, err } => value(
            Code::AcquireLockFailure,
            format!("id={id}, rc={rc}, out={out}, err={err}"),
        ),
        E::ReleaseLockFailure(why) => one(Code::ReleaseLockFailure, why),
        E::AcquireHostIdFailure(why) => one(Code::AcquireHostIdFailure, why),
        E::ReleaseHostIdFailure(why) => one(Code::ReleaseHostIdFailure, why),
        E::ClusterLockInitError(why) => one(Code::ClusterLockInitError, why),
        other => return Err(other),
    })
}

fn metadata(error: E) -> Answer {
    Ok(match error {
        E::MetaDataGeneralError(why) => one(Code::MetaDataGeneralError, why),
        E::MetaDataKeyError(why) => one(Code::MetaDataKeyError, why),
        E::InvalidMetadata(why) => one(Code::InvalidMetadata, why),
        E::MetaDataSealIsBroken {
            cksum,
            computed_cksum,
        } => value(
            Code::MetaDataSealIsBroken,
            format!("cksum={cksum}, computed_cksum={computed_cksum}"),
        ),
        E::MetaDataValidationError(why) => one(Code::MetaDataValidationError, why),
        E::MetadataOverflowError(why) => one(Code::MetadataOverflowError, why),
        E::MetadataCleared => Code::MetadataCleared.into(),
        other => return Err(other),
    })
}

/// Classes whose text is made of their arguments and whose value is empty.
fn worded(code: Code, text: String) -> VdsmError {
    VdsmError {
        code: code.number(),
        message: format!("{text}: ''"),
    }
}

fn no_space(id: Uuid) -> VdsmError {
    VdsmError {
        code: Code::NoSpaceLeftOnDomain.number(),
        message: format!("No space left on domain {id}: '{id}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_printed_as_upstream_prints_them() {
        let id = Uuid::nil();
        for (error, code, text) in [
            (E::SpmStatusError(id), 654, format!("('{id}',)")),
            (
                E::IsSpm(id),
                656,
                format!("Operation not allowed while SPM is active: ('{id}',)"),
            ),
            (E::StorageDomainDoesNotExist(id), 358, format!("('{id}',)")),
            (
                E::StoragePoolWrongMaster {
                    pool: id,
                    domain: id,
                },
                324,
                format!("'SD={id}, pool={id}'"),
            ),
            (
                E::NoSpaceLeftOnDomain(id),
                397,
                format!("No space left on domain {id}: '{id}'"),
            ),
        ] {
            let wire = storage(error);
            assert_eq!(wire.code, code);
            assert!(wire.message.ends_with(&text), "{}", wire.message);
        }
    }
}
