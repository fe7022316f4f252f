//! Backups of a running VM, and the checkpoints from which the next one counts.
//!
//! A backup is an NBD server in QEMU: it shows the disks as they were when it began. A key named `status` must not be
//! in these answers: Engine would take it for the call's.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::{events::JobError, values::CallStatus};

wire_enum! {
    /// What is backed up of a disk.
    pub enum BackupMode {
        /// All of it.
        Full = "full",
        /// What changed since the checkpoint.
        Incremental = "incremental",
    }

    /// What a scratch disk is.
    pub enum ScratchKind {
        /// A file.
        File = "FILE",
        /// A logical volume.
        Block = "BLOCK",
    }
}

wire! {
    /// Where old blocks go that the guest overwrites during the backup.
    pub struct ScratchDisk {
        /// Its path.
        path: String,
        /// What it is.
        kind "type": ScratchKind,
        /// Its domain.
        domain_id "domainID": Option<Uuid>,
        /// Its image.
        image_id "imageID": Option<Uuid>,
        /// Its volume.
        volume_id "volumeID": Option<Uuid>,
    }

    /// A disk of a backup.
    pub struct BackupDisk {
        /// Its volume.
        volume_id "volumeID": Uuid,
        /// Its image.
        image_id "imageID": Uuid,
        /// Its domain.
        domain_id "domainID": Uuid,
        /// Is it part of the new checkpoint?
        checkpoint: bool,
        /// How much of it.
        backup_mode: Option<BackupMode>,
        /// Where old blocks go; without it a file of this host.
        scratch_disk: Option<ScratchDisk>,
    }

    /// A backup.
    pub struct BackupConfig {
        /// Its id.
        backup_id: Uuid,
        /// Its disks.
        disks: Option<Vec<BackupDisk>>,
        /// The checkpoint from which it counts; without it everything is backed up.
        from_checkpoint_id: Option<Uuid>,
        /// The checkpoint that it makes.
        to_checkpoint_id: Option<Uuid>,
        /// The checkpoint before that.
        parent_checkpoint_id: Option<Uuid>,
        /// Fail if the file systems cannot be frozen?
        require_consistency: Option<bool>,
        /// When the checkpoint was made, seconds since 1970.
        creation_time: Option<u64>,
    }

    /// A backup that runs.
    pub struct BackupReport {
        /// Addresses of its disks by image: `nbd:unix:/...:exportname=...`.
        disks: BTreeMap<Uuid, String>,
        /// XML of its checkpoint.
        checkpoint: Option<String>,
    }

    /// A checkpoint to be made known to libvirt again.
    pub struct Checkpoint {
        /// Its id.
        id: Uuid,
        /// Its XML, as it was told when it was made.
        xml: Option<String>,
        /// The backup that made it, instead of its XML.
        config: Option<BackupConfig>,
    }

    /// What became of a list of checkpoints.
    pub struct CheckpointsReport {
        /// Those that it was done for.
        checkpoint_ids: Vec<Uuid>,
        /// Why it ended before the last one.
        error: Option<JobError>,
    }

    /// A checkpoint as libvirt knows it.
    pub struct CheckpointDump {
        /// Its XML.
        checkpoint: String,
    }
}

namespace! {
    /// Backups of a running VM.
    pub trait BackupApi = "VM";

    /// Begins a backup.
    Virt fn start_backup "start_backup" (StartBackup {
        /// The VM.
        vm_id "vmID": Uuid,
        /// The backup.
        config: BackupConfig,
    }) -> BackupReport = later;

    /// Ends a backup. The answer is a status.
    Virt fn stop_backup "stop_backup" (StopBackup {
        /// The VM.
        vm_id "vmID": Uuid,
        /// The backup.
        backup_id: Uuid,
    }) -> CallStatus = later;

    /// A backup that runs.
    Virt fn backup_info "backup_info" (BackupInfo {
        /// The VM.
        vm_id "vmID": Uuid,
        /// The backup.
        backup_id: Uuid,
        /// Tell this checkpoint's XML as well.
        checkpoint_id: Option<Uuid> = null,
    }) -> BackupReport = later;

    /// Forgets checkpoints, the oldest first.
    Virt fn delete_checkpoints "delete_checkpoints" (DeleteCheckpoints {
        /// The VM.
        vm_id "vmID": Uuid,
        /// The checkpoints, the oldest first.
        checkpoint_ids: Vec<Uuid>,
    }) -> CheckpointsReport = later;

    /// Makes checkpoints known to libvirt again, the oldest first.
    Virt fn redefine_checkpoints "redefine_checkpoints" (RedefineCheckpoints {
        /// The VM.
        vm_id "vmID": Uuid,
        /// The checkpoints, the oldest first.
        checkpoints: Vec<Checkpoint>,
    }) -> CheckpointsReport = later;

    /// Ids of the checkpoints that libvirt knows, the oldest first.
    Virt fn list_checkpoints "list_checkpoints" (ListCheckpoints {
        /// The VM.
        vm_id "vmID": Uuid,
    }) -> Vec<Uuid> = later;

    /// A checkpoint as libvirt knows it.
    Virt fn dump_checkpoint "dump_checkpoint" (DumpCheckpoint {
        /// The VM.
        vm_id "vmID": Uuid,
        /// The checkpoint.
        checkpoint_id: Uuid,
    }) -> CheckpointDump = later;
}
