//! The one table of VDSM's error codes: name, number, how upstream prints details, text.
//!
//! Names, numbers and texts are those of upstream's exception classes (`vdsm.common.exception`,
//! `vdsm.storage.exception`): Engine looks the numbers up, people search logs for the texts. Codes above 5000 are
//! Engine's own. The codes of JSON-RPC are in [`super`].

use super::Style;

/// Declares [`Code`] and its table.
macro_rules! codes {
    ($( $name:ident = $number:literal $style:ident $text:literal; )*) => {
        /// Why a verb failed, by the name of upstream's exception class.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[expect(non_camel_case_types, reason = "the names are upstream's")]
        pub enum Code {
            $( #[doc = concat!(stringify!($number), ": ", $text, ".")] $name, )*
        }

        impl Code {
            /// All of them.
            pub const ALL: &'static [Self] = &[$( Self::$name ),*];

            /// The number on the wire.
            pub const fn number(self) -> i32 {
                match self { $( Self::$name => $number, )* }
            }

            /// The text, before any details.
            pub const fn text(self) -> &'static str {
                match self { $( Self::$name => $text, )* }
            }

            /// The name of upstream's exception class.
            pub const fn name(self) -> &'static str {
                match self { $( Self::$name => stringify!($name), )* }
            }

            /// How upstream prints details behind the text.
            pub const fn style(self) -> Style {
                match self { $( Self::$name => Style::$style, )* }
            }
        }
    };
}

codes! {
    // vdsm.common.exception
    VdsmException = 0 Plain "Vdsm Exception";
    NoSuchVM = 1 Context "Virtual machine does not exist";
    AccessTimeout = 3 Plain "Image repository access timeout";
    VMExists = 4 Plain "Virtual machine already exists";
    UnsupportedVMType = 5 Plain "Unsupported VM type";
    VMIsDown = 6 Plain "Virtual machine is down";
    CopyFailed = 7 Plain "Copy failed";
    CannotCreateSparse = 8 Plain "Sparse creation failed";
    CannotCreateVM = 9 Plain "Error creating the requested VM";
    NoConnectionToPeer = 10 Plain "Could not connect to peer VDS";
    MissingParameter = 11 Context "Missing required parameter";
    MigrationError = 12 Plain "Fatal error during migration";
    ImageFileNotFound = 13 Context "Drive image file could not be found";
    OutOfMemory = 14 Plain "Not enough free memory to create VM";
    UnexpectedError = 16 Plain "Unexpected exception";
    UnsupportedImageFormat = 17 Plain "Unsupported image format";
    SpiceTicketError = 18 Plain "Error while setting spice ticket";
    NonResponsiveGuestAgent = 19 Plain "Guest agent non-responsive";
    UnsupportedDriveType = 36 Context "Unsupported drive type";
    LUNDoesNotExist = 37 Context "LUN does not exist";
    ResourceUnavailable = 40 Plain "Resource unavailable";
    ChangeDiskFailed = 41 Plain "Failed to change disk image";
    VMDestroyFailed = 42 Plain "Virtual machine destroy error";
    UnsupportedFenceAgent = 43 Plain "Unsupported fencing agent";
    MethodNotImplemented = 44 Plain "Not implemented";
    HotplugDiskFailed = 45 Plain "Failed to hotplug disk";
    HotunplugDiskFailed = 46 Plain "Failed to hotunplug disk";
    MigrationCancelationFailed = 47 Plain "Migration not in progress";
    SnapshotFailed = 48 Plain "Snapshot failed";
    HotplugNicFailed = 49 Plain "Failed to hotplug NIC";
    HotunplugNicFailed = 50 Plain "Failed to hotunplug NIC";
    MigrationInProgress = 51 Context "Command not supported during migration";
    MergeFailed = 52 Context "Merge failed";
    BalloonError = 53 Plain "Balloon operation is not available";
    MOMPolicyUpdateFailed = 54 Plain "Failed to set mom policy";
    ReplicaError = 55 Plain "Drive replication error";
    UpdateDeviceFailed = 56 Plain "Failed to update device";
    CannotRetrieveHWInfo = 57 Plain "Failed to read hardware information";
    BadDiskResizeParameter = 58 Plain "Wrong resize disk parameter";
    TransientError = 59 Plain "Action not permitted on a VM with transient disks";
    SetNumberOfCpusFailed = 60 Plain "Failed to set the number of cpus";
    SetHAPolicyFailed = 61 Plain "Failed to set Hosted Engine HA policy";
    CpuTuneError = 62 Plain "CpuTune operation is not available";
    UpdateVMPolicyFailed = 63 Plain "Failed to update VM SLA policy";
    UpdateIOTuneError = 64 Context "Failed to update ioTune values";
    V2VConnectionError = 65 Plain "error connecting to hypervisor";
    NoSuchJob = 66 Plain "Job Id does not exists";
    V2VNoSuchOVF = 67 Plain "OVF file does not exists";
    JobNotDone = 68 Plain "Job status is not done";
    JobExists = 69 Plain "Job id already exists";
    HotplugMemFailed = 70 Plain "Failed to hotplug memory";
    KSMUpdateFailed = 71 Plain "Failed to update KSM values";
    BadSecretRequest = 72 Plain "Bad secret request";
    SecretRegistrationFailed = 73 Plain "Error registering Libvirt secret";
    SecretUnregistrationFailed = 74 Plain "Error unregistering Libvirt secret";
    UnsupportedOperation = 75 Context "Operation not supported";
    FreezeGuestFSFailed = 76 Plain "Unable to freeze guest filesystems";
    ThawGuestFSFailed = 77 Plain "Unable to thaw guest filesystems";
    HookFailed = 78 Plain "Hook error";
    DestinationVolumeTooSmall = 79 Context "Destination volume is too small";
    AbortNotSupported = 80 Plain "Job does not support aborting";
    MigrationNotInProgress = 81 Plain "Migration not in progress";
    MigrationLimitExceeded = 82 Plain "Incoming migration limit exceeded";
    HostdevDetachFailed = 83 Plain "Could not detach host device";
    JobNotActive = 84 Plain "Job is not active";
    HotunplugMemFailed = 85 Context "Failed to hotunplug memory";
    HotplugLeaseFailed = 86 Context "Failed to hotplug lease";
    HotunplugLeaseFailed = 87 Context "Failed to hotunplug lease";
    ReplicationNotInProgress = 88 Context "Replication not in progress.";
    ExternalDataFailed = 89 Context "Failed to handle external VM data";
    ResetFailed = 90 Context "Failed to reset VM.";
    InvalidParameter = 91 Context "Invalid parameter";
    RecoveryInProgress = 99 Plain "Recovering from crash or Initializing";
    GeneralException = 100 Args "General Exception";
    InvalidConfiguration = 101 Context "Invalid configuration value";
    MigrationOperationError = 102 Plain "Error occurred during migration";
    ActionStopped = 443 Args "Action was stopped";
    ResourceExhausted = 1100 Context "Not enough resources";
    HookError = 1500 Args "Hook Error";
    BackupError = 1600 Context "Backup Error";
    NoSuchBackupError = 1601 Context "No such backup Error";
    CheckpointError = 1610 Context "Checkpoint Error";
    NoSuchCheckpointError = 1611 Context "No such checkpoint Error";
    InconsistentCheckpointError = 1612 Context "Inconsistent checkpoint Error";
    AddBitmapError = 1620 Context "Failed to add bitmap";
    MergeBitmapError = 1621 Context "Failed to merge bitmaps";
    RemoveBitmapError = 1622 Context "Failed to remove bitmap";
    CannotPrepareImage = 1630 Context "Failed to prepare image";
    DriveRefreshError = 1640 Context "Failed to refresh drive";
    CannotRefreshDisk = 1650 Context "Failed to refresh disk on the destination";
    DiskRefreshNotSupported = 1651 Context "Disk refresh is not supported by the host";

    // vdsm.storage.exception
    InvalidParameterException = 1000 Args "Invalid parameter";
    InvalidDefaultExceptionException = 1001 Args "Cannot set exception as default, type not supported";
    StorageException = 200 Args "General Storage Exception";
    ResourceException = 3000 Args "Resource operation failed";
    ShuttingDownError = 3001 Args "Shutdown in progress";
    VolumeGeneralException = 4000 Args "Volume exception";
    UnicodeArgumentException = 4900 Args "Unicode arguments are not supported";
    MiscNotImplementedException = 2000 Args "Method not implemented";
    MiscFileReadException = 2001 Args "Internal file read failure";
    MiscFileWriteException = 2002 Args "Internal file write failure";
    MiscBlockReadException = 2003 Args "Internal block device read failure";
    MiscBlockWriteException = 2004 Args "Internal block device write failure";
    MiscOperationInProgress = 2005 Args "Operation is already in progress";
    MiscBlockWriteIncomplete = 2006 Args "Internal block device write incomplete";
    MiscBlockReadIncomplete = 2007 Args "Internal block device read incomplete";
    MiscDirCleanupFailure = 2008 Args "Directory cleanup failure";
    // upstream names this class UnsupportedOperation too, in its storage module
    StorageUnsupportedOperation = 2009 Args "Unsupported operation";
    VolumeDoesNotExist = 201 Args "Volume does not exist";
    IncorrectFormat = 202 Args "Incorrect Volume format";
    VolumeIsBusy = 203 Args "Volume is busy";
    VolumeImageHasChildren = 204 Args "Cannot delete volume which has children (non-ethical)";
    VolumeCreationError = 205 Args "Error creating a new volume";
    VolumeExtendingError = 206 Args "Error extending volume";
    VolumeMetadataReadError = 207 Args "Error while processing volume meta data";
    VolumeMetadataWriteError = 208 Args "Error while updating volume meta data";
    VolumeAccessError = 209 Args "Error accessing a volume";
    VolumeUnlinkError = 210 Args "Volume unlink failed";
    OrphanVolumeError = 211 Args "Orphan volume, volume hasn't image";
    VolumeAlreadyExists = 212 Args "Volume already exists";
    VolumeNonWritable = 213 Args "Volume cannot be access to writes";
    VolumeNonShareable = 214 Args "Volume cannot be shared, it's not Shared/Template volume";
    VolumeOwnershipError = 215 Args "Volume ownership error";
    VolumeCannotGetParent = 216 Args "Cannot get parent volume";
    CannotCloneVolume = 217 Args "Cannot clone volume";
    CannotShareVolume = 218 Args "Cannot share volume";
    SharedVolumeNonWritable = 219 Args "Shared volume is read only";
    InternalVolumeNonWritable = 220 Args "Volume cannot be access to writes, it's Internal volume";
    CannotModifyVolumeTime = 221 Args "Cannot change volume's modify time";
    CannotDeleteVolume = 222 Args "Volume deletion error";
    CannotDeleteSharedVolume = 223 Args "Shared Volume cannot be deleted";
    NonLeafVolumeNotWritable = 224 Args "Volume cannot be accessed to writes, it's not a leaf volume";
    VolumeCopyError = 225 Args "Volume copy failed";
    createIllegalVolumeSnapshotError = 226 Args "Cannot create volume snapshot from illegal volume";
    prepareIllegalVolumeError = 227 Args "Cannot prepare illegal volume";
    createVolumeSizeError = 229 Args "Requested size is too small. Must be larger or equal to 1";
    VolumeWasNotPreparedBeforeTeardown = 230 Args "Volume was not prepared before being torn down";
    IncorrectType = 231 Args "Incorrect Volume Preallocate Type";
    VolumeResizeValueError = 232 Args "Incorrect size value for volume resize";
    InvalidVolumeUpdate = 235 Args "Cannot update volume attributes";
    ImagesActionError = 250 Args "Error images action";
    TemplateCreationError = 251 Args "Error creating template from VM";
    MergeSnapshotsError = 252 Args "Error merging snapshots";
    MoveImageError = 253 Args "Error moving image";
    ImagePathError = 254 Args "Image path does not exist or cannot be accessed/created";
    ImageValidationError = 255 Args "Image validation error";
    ImageDeleteError = 256 Args "Could not remove all image's volumes";
    ImageIsEmpty_deprecated_vdsm23 = 258 Args "Image is empty. Deprecated in vdsm2.3";
    SourceImageActionError = 259 Args "Error during source image manipulation";
    DestImageActionError = 260 Args "Error during destination image manipulation";
    CopyImageError = 261 Args "low level Image copy failed";
    ImageIsNotLegalChain = 262 Args "Image is not a legal chain";
    CouldNotValideTemplateOnTargetDomain = 263 Args "Cannot validate template on target domain";
    MultipleMoveImageError = 264 Args "Error moving multiple image";
    OverwriteImageError = 265 Args "Can't overwrite image";
    MoveTemplateImageError = 266 Args "Cannot move template's image because it is used by a VM";
    ImageDoesNotExistInSD = 268 Args "Image does not exist in domain";
    StoragePoolActionError = 300 Args "Error storage pool action";
    StoragePoolCreationError = 301 Args "Error creating a storage pool";
    StoragePoolConnectionError = 302 Args "Error storage pool connection";
    StoragePoolDisconnectionError = 303 Args "Error storage pool disconnection";
    StoragePoolMasterNotFound = 304 Args "Cannot find master domain";
    StorageUpdateVmError = 305 Args "Cannot update VM";
    ReconstructMasterError = 306 Args "Cannot reconstruct master domain";
    StoragePoolTooManyMasters = 307 Args "Too many masters for StoragePool";
    StoragePoolDestroyingError = 308 Args "Error destroying a storage pool";
    StoragePoolUnknown = 309 Args "Unknown pool id, pool not connected";
    StoragePoolHasPotentialMaster = 310 Args "Master role should be moved to another domain";
    StoragePoolInternalError = 311 Args "Storage pool not defined";
    ImageMissingFromVm = 312 Args "Image missing from VM";
    StoragePoolNotConnected = 313 Args "Storage pool not connected";
    StoragePoolAlreadyExists = 316 Args "Error creating a storage pool - pool already exists";
    IsoCannotBeMasterDomain = 317 Args "ISO domain cannot be a master storage domain";
    StoragePoolCheckError = 318 Args "Pool check failed";
    BackupCannotBeMasterDomain = 319 Args "Backup domain cannot be a master storage domain";
    MissingOvfFileFromVM = 320 Args "Missing OVF file from VM";
    ImageNotOnTargetDomain = 321 Args "Image cannot be found on the specified domain";
    VMPathNotExists = 322 Args "Cannot find VMs directory";
    CannotConnectMultiplePools = 323 Args "Cannot connect pool, already connected to another pool";
    StoragePoolWrongMaster = 324 Args "Wrong Master domain or its version";
    StoragePoolConnected = 325 Args "Cannot perform action while storage pool is connected";
    StoragePoolHigherVersionMasterFound = 326 Args "Found master domain with higher master version than input";
    StoragePoolDescriptionTooLongError = 327 Args "Storage pool description is too long";
    TooManyDomainsInStoragePoolError = 328 Args "Too many domains in Storage pool";
    ImagesNotSupportedError = 329 Args "This domain does not support images";
    GetFileStatsError = 330 Args "Cannot get file stats";
    TarCommandError = 331 Args "Tar command failed";
    StorageDomainIllegalStateError = 347 Args "Storage domain is in illegal state";
    StorageDomainBlockSizeMismatch = 348 Args "Block size does not match storage block size";
    DiscardIsNotSupported = 349 Args "Discard is not supported by storage domain";
    StorageDomainActionError = 350 Args "Error in storage domain action";
    StorageDomainCreationError = 351 Args "Error creating a storage domain";
    StorageDomainFormatError = 352 Args "Error formatting a storage domain";
    StorageDomainNotInPool = 353 Args "Storage domain not in pool";
    StorageDomainAttachError = 354 Args "Error attaching storage domain";
    StorageDomainMasterError = 355 Args "Error validating master storage domain";
    StorageDomainDetachError = 356 Args "Error detaching storage domain";
    StorageDomainDeactivateError = 357 Args "Error deactivating storage domain";
    StorageDomainDoesNotExist = 358 Args "Storage domain does not exist";
    StorageDomainActivateError = 359 Args "Error activating storage domain";
    StorageDomainFSNotMounted = 360 Args "Storage domain remote path not mounted";
    StorageDomainNotEmpty = 361 Args "Storage domain is not empty - requires cleaning";
    StorageDomainMetadataCreationError = 362 Args "Error creating a storage domain's metadata";
    StorageDomainMetadataFileMissing = 363 Args "Could not retrieve metadata file name for domain";
    StorageDomainMetadataNotFound = 364 Args "Storage domain invalid, metadata not found";
    StorageDomainAlreadyExists = 365 Args "Storage domain already exists";
    StorageDomainMasterUnmountError = 366 Args "Error unmounting master storage domain";
    BlockStorageDomainMasterFSCKError = 367 Args "BlockSD master file system FSCK error";
    BlockStorageDomainMasterMountError = 368 Args "BlockSD master file system mount error";
    StorageDomainNotActive = 369 Args "Storage domain not active";
    StorageDomainMasterCopyError = 370 Args "Error copying master storage domain's data";
    StorageDomainLayoutError = 371 Args "Storage domain layout corrupted";
    StorageDomainTypeError = 372 Args "Unsupported Storage Domain type";
    GetStorageDomainListError = 373 Args "Cannot get Storage Domains list";
    VolumesZeroingError = 374 Args "Cannot zero out volume";
    StorageDomainNotMemberOfPool = 375 Args "Domain is not member in pool";
    StorageDomainStatusError = 376 Args "Unsupported Storage Domain status";
    StorageDomainCheckError = 377 Args "Domain has errors";
    StorageDomainTypeNotBackup = 378 Args "Domain type should be 'backup' but is not";
    StorageDomainAccessError = 379 Args "Domain is either partially accessible or entirely inaccessible";
    StorageDomainAlreadyAttached = 380 Args "Storage domain already attached to pool";
    StorageDomainStateTransitionIllegal = 381 Args "Domain state change illegal";
    StorageDomainActive = 382 Args "Illegal action, domain active";
    CannotDetachMasterStorageDomain = 383 Args "Illegal action";
    FileStorageDomainStaleNFSHandle = 384 Args "Stale NFS handle on underlying NFS server";
    StorageDomainInsufficientPermissions = 385 Args "Insufficient access permissions to underlying storage";
    StorageDomainClassError = 386 Args "Invalid domain class value";
    StorageDomainDescriptionTooLongError = 387 Args "Storage domain description is too long";
    TooManyPVsInVG = 389 Args "Tried to create a VG from too many PVs";
    StorageDomainIllegalRemotePath = 390 Args "Remote path is illegal";
    CannotFormatAttachedStorageDomain = 391 Args "Cannot format attached storage domain";
    CannotFormatStorageDomainInConnectedPool = 392 Args "Cannot format storage domain in connected pool";
    StorageDomainRefreshError = 393 Args "Cannot refresh storage domain";
    UnsupportedDomainVersion = 394 Args "General Storage Exception";
    CurrentVersionTooAdvancedError = 395 Args "General Storage Exception";
    PoolUpgradeInProgress = 396 Args "General Storage Exception";
    NoSpaceLeftOnDomain = 397 Args "General Storage Exception";
    MixedSDVersionError = 398 Args "General Storage Exception";
    StorageDomainTargetUnsupported = 399 Args "Storage Domain target is unsupported";
    InvalidTask = 400 Args "Task invalid";
    UnknownTask = 401 Args "Task id unknown";
    TaskClearError = 402 Args "Could not clear task";
    TaskNotFinished = 403 Args "Task not finished";
    InvalidTaskType = 404 Args "Invalid task type";
    AddTaskError = 405 Args "TaskManager error, unable to add task";
    TaskInProgress = 406 Args "Running Task in progress";
    TaskMetaDataSaveError = 407 Args "Can't save Task Metadata";
    TaskMetaDataLoadError = 408 Args "Can't load Task Metadata";
    TaskDirError = 409 Args "can't find/access task dir";
    TaskStateError = 410 Args "Operation is not allowed in this task state";
    TaskAborted = 411 Args "Task is aborted";
    UnmanagedTask = 412 Args "Operation can't be performed on unmanaged task";
    TaskPersistError = 413 Args "Can't persist task";
    InvalidJob = 420 Args "Job is invalid";
    InvalidRecovery = 430 Args "Recovery is invalid";
    InvalidTaskMng = 440 Args "invalid Task Manager";
    TaskStateTransitionError = 441 Args "cannot move task to requested state";
    TaskHasRefs = 442 Args "operation cannot be performed - task has active references";
    StorageServerActionError = 450 Args "Error storage server action";
    StorageServerConnectionError = 451 Args "Error storage server connection";
    StorageServerDisconnectionError = 452 Args "Error storage server disconnection";
    StorageServerValidationError = 453 Args "The specified path does not exist or cannot be reached. Verify the path is correct and for remote storage, check the connection to your storage.";
    StorageServeriSCSIError = 454 Args "iSCSI connection error";
    MultipathReloadError = 455 Args "Multipath service reload error";
    GetiSCSISessionListError = 456 Args "Get iSCSI session list error";
    AddiSCSIPortalError = 457 Args "Add iSCSI portal error";
    RemoveiSCSIPortalError = 458 Args "Remove iSCSI portal error";
    RemoveiSCSINodeError = 459 Args "Remove iSCSI node error";
    AddiSCSINodeError = 460 Args "Add iSCSI node error";
    SetiSCSIAuthError = 461 Args "Set iSCSI authentication error";
    SetiSCSIUsernameError = 462 Args "Set iSCSI username error";
    SetiSCSIPasswdError = 463 Args "Set iSCSI password error";
    iSCSILoginError = 464 Args "Failed to login to iSCSI node";
    iSCSISetupError = 465 Args "Failed to setup iSCSI subsystem";
    MultipathSetupError = 467 Args "Failed to setup multipath";
    StorageTypeError = 468 Args "Storage type error";
    StorageServerAccessPermissionError = 469 Args "Permission settings on the specified path do not allow access to the storage. Verify permission settings on the specified storage path.";
    MountTypeError = 470 Args "Mount type error";
    MountParsingError = 471 Args "Mount parsing error";
    InvalidIpAddress = 472 Args "Invalid IP address";
    iSCSIifaceError = 473 Args "iscsiadm iface error";
    iSCSILogoutError = 474 Args "Failed to logout from iSCSI node";
    iSCSIDiscoveryError = 475 Args "Failed discovery of iSCSI targets";
    iSCSILoginAuthError = 476 Args "Failed to login to iSCSI node due to authorization failure";
    MountError = 477 Args "Problem while trying to mount target";
    StorageServerConnectionRefIdAlreadyInUse = 478 Args "Connection Reference ID is already in use";
    StorageServerConnectionRefIdDoesNotExist = 479 Args "Connection Reference ID was not registered";
    UnsupportedGlusterVolumeReplicaCountError = 480 Args "Gluster volume replica count is not supported";
    ImageTicketsError = 481 Args "Cannot communicate with image daemon";
    ImageDaemonError = 482 Args "Image daemon request failed";
    ImageDaemonUnsupported = 483 Args "Image daemon is unsupported";
    ImageVerificationError = 484 Args "Image verification failed";
    LVMCommandError = 621 Args "LVM command failed";
    VolumeGroupActionError = 500 Args "Error volume group action";
    VolumeGroupPermissionsError = 501 Args "Could not update/change volume group permissions";
    VolumeGroupCreateError = 502 Args "Cannot create Volume Group";
    VolumeGroupExtendError = 503 Args "Cannot extend Volume Group";
    VolumeGroupSizeError = 504 Args "Volume Group not big enough";
    VolumeGroupAlreadyExistsError = 505 Args "Volume Group Already Exists";
    VolumeGroupDoesNotExist = 506 Args "Volume Group does not exist";
    VolumeGroupRenameError = 507 Args "Volume Group rename error";
    VolumeGroupRemoveError = 508 Args "Volume Group remove error";
    VolumeGroupUninitialized = 509 Args "Volume Group not initialize";
    VolumeGroupReadTagError = 510 Args "Read Volume Group's tag error";
    VolumeGroupScanError = 513 Args "Volume Group scanning error";
    GetVolumeGroupListError = 514 Args "Get Volume Group list error";
    VolumeGroupHasDomainTag = 515 Args "Volume Group has domain tag - requires cleaning";
    VolumeGroupReplaceTagError = 516 Args "Replace Volume Group tag error";
    VolumeGroupBlockSizeError = 517 Args "All devices in domain must have the same block size";
    DeviceBlockSizeError = 518 Args "Device block size is not supported";
    VolumeGroupReduceError = 519 Args "Cannot reduce the Volume Group";
    CannotCreateLogicalVolume = 550 Args "Cannot create Logical Volume";
    CannotRemoveLogicalVolume = 551 Args "Cannot remove Logical Volume";
    CannotDeactivateLogicalVolume = 552 Args "Cannot deactivate Logical Volume";
    CannotAccessLogicalVolume = 553 Args "Cannot access Logical Volume";
    LogicalVolumeExtendError = 554 Args "Logical Volume extend failed";
    LogicalVolumesListError = 555 Args "Cannot get Logical Volumes list from Volume Group";
    LogicalVolumeRefreshError = 556 Args "Cannot refresh Logical Volume";
    LogicalVolumeScanError = 557 Args "Logical volume scanning error";
    CannotActivateLogicalVolume = 558 Args "Cannot activate Logical Volume";
    LogicalVolumePermissionsError = 559 Args "Cannot update/change logical volume permissions";
    LogicalVolumeAddTagError = 560 Args "Add tag to Logical Volume error";
    LogicalVolumeRemoveTagError = 561 Args "Remove tag from Logical Volume error";
    GetLogicalVolumeTagError = 562 Args "Cannot get tags of Logical Volumes";
    GetLogicalVolumesByTagError = 563 Args "Cannot get Logical Volumes with specific tag";
    GetAllLogicalVolumeTagsError = 564 Args "Cannot get tags of all Logical Volumes of Volume Group";
    GetLogicalVolumeDevError = 565 Args "Cannot get physical devices of logical volume";
    LogicalVolumeRenameError = 566 Args "Cannot rename Logical Volume";
    CannotWriteAccessLogialVolume = 567 Args "Cannot access logical volume for write";
    CannotSetRWLogicalVolume = 568 Args "Cannot set Logical volume RW permission";
    LogicalVolumesScanError = 569 Args "Logical volume scanning error";
    CannotActivateLogicalVolumes = 570 Args "Cannot activate Logical Volumes";
    GetLogicalVolumeDataError = 571 Args "Cannot get Logical Volume Info";
    LogicalVolumeReplaceTagError = 572 Args "Replace Logical Volume tag error";
    LogicalVolumeRemoveError = 573 Args "Cannot remove Logical Volume";
    BlockDeviceActionError = 600 Args "Error block device action";
    PhysDevInitializationError = 601 Args "Failed to initialize physical device";
    LVMSetupError = 602 Args "LVM setup failed";
    CouldNotRetrievePhysicalVolumeList = 603 Args "Could not retrieve pv list";
    LogicalVolumeAlreadyExists = 604 Args "Cannot create logical volume - already exists";
    CouldNotRetrieveLogicalVolumesList = 605 Args "Could not retrieve lv list";
    InaccessiblePhysDev = 606 Args "Multipath cannot access physical device(s)";
    PartitionedPhysDev = 607 Args "Partitioned physical device";
    MkfsError = 608 Args "Cannot create filesystem on device";
    MissingTagOnLogicalVolume = 609 Args "Missing logical volume tag.";
    LogicalVolumeDoesNotExistError = 610 Args "Logical volume does not exist";
    LogicalVolumeCachingError = 611 Args "Logical volume cache error";
    LogicalVolumeWrongTagError = 612 Args "Wrong logical volume tag";
    VgMetadataCriticallyFull = 613 Args "Error - The system has reached the high watermark on the VG metadata area size. This is due high number of Vdisks or large Vdisks size allocated on this specific VG. Please call Support to address the issue";
    SmallVgMetadata = 614 Args "Warning - The allocated VG metadata area size is too small, which might limit its capacity (the number of Vdisks and/or their size). Refer to GSS knowledge base to understand the issue and how to resolve it";
    CouldNotResizePhysicalVolume = 615 Args "Could not resize PV";
    UnexpectedVolumeGroupMetadata = 616 Args "Volume Group metadata isn't as expected";
    ForbiddenPhysicalVolumeOperation = 617 Args "The operation couldn't be performed on the provided pv";
    CouldNotMovePVData = 618 Args "Could not move PV data, there might be leftovers that require manual handling - please refer to the pvmove man page";
    NoSuchPhysicalVolume = 619 Args "No such PV";
    NoSuchDestinationPhysicalVolumes = 620 Args "No such destination PVs";
    SpmStartError = 650 Args "Error starting SPM";
    AcquireLockFailure = 651 Args "Cannot obtain lock";
    SpmParamsMismatch = 652 Args "Pool previous lver/id don't match request";
    SpmStopError = 653 Args "Error stopping SPM, SPM has unfinished task(s)";
    SpmStatusError = 654 Args "Not SPM";
    IsSpm = 656 Args "Operation not allowed while SPM is active";
    DomainAlreadyLocked = 657 Args "Cannot acquire lock, resource marked as locked";
    DomainLockDoesNotExist = 658 Args "Cannot release lock, resource not found";
    ReleaseLockFailure = 660 Args "Cannot release lock";
    AcquireHostIdFailure = 661 Args "Cannot acquire host id";
    ReleaseHostIdFailure = 662 Args "Cannot release host id";
    HostIdMismatch = 700 Args "Host id not found or does not match manager host id";
    ClusterLockInitError = 701 Args "Could not initialize cluster lock";
    InspectNotSupportedError = 702 Args "Cluster lock inspect isnt supported";
    SanlockLVBError = 703 Args "LVB operation failed";
    SanlockInquireError = 704 Args "Inquire sanlock daemon failed";
    MetaDataGeneralError = 749 Args "General Meta data error";
    MetaDataKeyError = 750 Args "Meta data key error";
    InvalidMetadata = 751 Args "Meta Data key not found error";
    MetaDataSealIsBroken = 752 Args "Meta Data seal is broken (checksum mismatch)";
    MetaDataValidationError = 753 Args "Meta Data self-validation failed";
    MetaDataMappingError = 754 Args "Meta Data mapping failed";
    MetadataOverflowError = 756 Args "Metadata is too big. Cannot change Metadata";
    MetadataCleared = 757 Args "Metadata was cleared, volume is partly deleted";
    ImportError = 800 Args "Error importing image";
    ImportInfoError = 801 Args "Import candidate info error";
    ImportUnknownType = 802 Args "Unknown import type";
    ExportError = 803 Args "Error exporting VM";
    ResourceNamespaceNotEmpty = 850 Args "Resource Namespace is not empty";
    ResourceTimeout = 851 Args "Resource timeout";
    InvalidResourceName = 853 Args "Invalid resource name";
    ResourceReferenceInvalid = 854 Args "Cannot perform operation. This resource has been released or expired.";
    ResourceAcqusitionFailed = 855 Args "Could not acquire resource. Probably resource factory threw an exception.";
    StorageDomainIsMemberOfPool = 900 Args "Storage domain is member of pool";
    DomainHasGarbage = 910 Args "Operation failed because garbage was found";
    GenerationMismatch = 911 Args "The provided generation does not match the actual generation";
    JobStatusMismatch = 912 Args "The provided job status does not match the expected job status";
    VolumeIsNotInChain = 920 Args "Volume is not part of the chain.";
    WrongParentVolume = 921 Args "Wrong parent volume.";
    UnexpectedVolumeState = 922 Args "Unexpected volume state.";
    ManagedVolumeNotSupported = 925 Args "Managed Volume Not Supported. Missing package os-brick.";
    ManagedVolumeHelperFailed = 926 Args "Managed Volume Helper failed.";
    ManagedVolumeAlreadyAttached = 927 Args "Managed Volume is already attached.";
    ManagedVolumeUnsupportedDevice = 928 Args "Unsupported Device: missing multipath_id";
    ManagedVolumeConnectionMismatch = 929 Args "Attach existing volume with different connection information";
    NoSuchLease = 936 Args "No such lease";
    TransientDiskAlreadyExists = 941 Args "Transient disk already exists";
    InvalidBitmapChain = 946 Args "Invalid bitmap chain";
    BitmapDoesNotExist = 947 Args "Bitmap does not exist";

    // vdsm.network.errors: constants; the text of an answer is the reason alone
    ERR_BAD_PARAMS = 21 Reason "Bad parameters of a network";
    ERR_BAD_ADDR = 22 Reason "Bad address";
    ERR_BAD_NIC = 23 Reason "Bad NIC";
    ERR_USED_NIC = 24 Reason "NIC in use";
    ERR_BAD_BONDING = 25 Reason "Bad bond";
    ERR_BAD_VLAN = 26 Reason "Bad VLAN";
    ERR_BAD_BRIDGE = 27 Reason "Bad bridge";
    ERR_FAILED_IFUP = 29 Reason "Interface does not come up";
    ERR_USED_BOND = 31 Reason "Bond in use";
    ERR_OVS_CONNECTION = 32 Reason "Open vSwitch does not answer";
}
