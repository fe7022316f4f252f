//! Disks and media of a running VM: another CD, growing, mirroring to another domain, merging a snapshot away.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    desc::{Type, Wire},
    values::{Done, Leftover, Str},
    volume::VolumeSize,
};

wire_enum! {
    /// Kind of a drive.
    pub enum DriveKind {
        /// A disk.
        Disk = "disk",
        /// A CD.
        Cdrom = "cdrom",
        /// A floppy.
        Floppy = "floppy",
        /// A LUN that the guest talks SCSI with.
        Lun = "lun",
    }
}

wire! {
    /// A drive by its volume.
    pub struct DriveVolume {
        /// Its volume.
        volume_id "volumeID": Uuid,
        /// Its image.
        image_id "imageID": Uuid,
        /// Its domain.
        domain_id "domainID": Uuid,
        /// Pool of the domain.
        pool_id "poolID": Option<Uuid>,
        /// Kind of the drive.
        device: Option<DriveKind>,
        /// Mirroring: type of the disk, `block` or `file`.
        disk_type "diskType": Option<String>,
    }

    /// A drive by its LUN.
    pub struct DriveLun {
        /// Id of the LUN in multipath.
        guid "GUID": String,
    }

    /// A drive by its path.
    pub struct DrivePath {
        /// The path.
        path: String,
    }

    /// A medium, and the drive that it goes into.
    pub struct DriveMedium {
        /// `ide`, `sata`, `scsi`: where the drive hangs.
        iface: String,
        /// Which drive there.
        index: i32,
        /// Path of the medium; empty to take it out.
        path: Option<String>,
        /// The medium as a volume; empty to take it out.
        drive_spec: Option<MediumVolume>,
    }

    /// A medium that is a volume.
    pub struct MediumVolume {
        /// Its volume.
        volume_id "volumeID": Option<Uuid>,
        /// Its image.
        image_id "imageID": Option<Uuid>,
        /// Its domain.
        domain_id "domainID": Option<Uuid>,
        /// Pool of the domain.
        pool_id "poolID": Option<Uuid>,
        /// Kind of the drive.
        device: Option<DriveKind>,
    }
}

/// A drive or a medium, by one of several ways to name it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Drive {
    /// A medium for a drive.
    Medium(DriveMedium),
    /// By its volume.
    Volume(DriveVolume),
    /// By its LUN.
    Lun(DriveLun),
    /// By its path.
    Path(DrivePath),
    /// By its path alone, as old engines send it; empty to take the medium out.
    Text(String),
}

impl Wire for Drive {
    const TYPE: &'static Type = &Type::Union(&[
        DriveMedium::TYPE,
        DriveVolume::TYPE,
        DriveLun::TYPE,
        DrivePath::TYPE,
        String::TYPE,
    ]);
}

namespace! {
    /// Disks and media of a running VM.
    pub trait DiskApi = "VM";

    /// Puts another CD in, or takes it out.
    Virt fn change_cd "changeCD" (ChangeCd {
        /// The VM.
        vm_id "vmID": Uuid,
        /// The CD and its drive.
        drive "driveSpec": Drive,
    }) -> Leftover = later;

    /// Puts another floppy in, or takes it out.
    Virt fn change_floppy "changeFloppy" (ChangeFloppy {
        /// The VM.
        vm_id "vmID": Uuid,
        /// The floppy.
        drive "driveSpec": Drive,
    }) -> Leftover = later;

    /// Tells the guest that a disk has grown; answers its new size in bytes, in a string.
    Virt fn disk_size_extend "diskSizeExtend" (DiskSizeExtend {
        /// The VM.
        vm_id "vmID": Uuid,
        /// The disk.
        drive "driveSpecs": Drive,
        /// Bytes.
        new_size "newSize": Str<u64>,
    }) -> Str<u64> = later;

    /// Begins to mirror a disk to another volume.
    Virt fn disk_replicate_start "diskReplicateStart" (DiskReplicateStart {
        /// The VM.
        vm_id "vmID": Uuid,
        /// The disk.
        source "srcDisk": DriveVolume,
        /// The other volume.
        destination "dstDisk": DriveVolume,
        /// Must the other volume grow with the disk?
        need_extend "needExtend": bool = true,
    }) -> Done = later;

    /// Ends mirroring: from now on the disk is `dstDisk`, which may be the old one.
    Virt fn disk_replicate_finish "diskReplicateFinish" (DiskReplicateFinish {
        /// The VM.
        vm_id "vmID": Uuid,
        /// The disk.
        source "srcDisk": DriveVolume,
        /// What it is from now on.
        destination "dstDisk": DriveVolume,
    }) -> Done = later;

    /// Begins to merge volumes of a disk downwards; the statistics of the VM tell how it goes (`vmJobs`).
    Virt fn merge "merge" (Merge {
        /// The VM.
        vm_id "vmID": Uuid,
        /// The disk.
        drive: DriveVolume,
        /// Lowest volume: the others become part of it.
        base_id "baseVolUUID": Uuid,
        /// Highest volume.
        top_id "topVolUUID": Uuid,
        /// MiB per second at most, 0 for no limit.
        bandwidth: i32 = 0,
        /// The new job.
        job_id "jobUUID": Option<Uuid> = null,
    }) -> Done = later;

    /// Are the partitions of a disk aligned? Asked with a VM id of zeroes only.
    Storage fn get_disk_alignment "getDiskAlignment" (GetDiskAlignment {
        /// Zeroes.
        vm_id "vmID": Uuid,
        /// The disk.
        disk: DriveVolume,
    }) -> BTreeMap<String, bool> = later;

    /// Reads the size of a disk's volume anew, after it grew elsewhere.
    Virt fn refresh_disk "refresh_disk" (RefreshDisk {
        /// The VM.
        vm_id "vmID": Uuid,
        /// The disk.
        drive: DriveVolume,
    }) -> VolumeSize = later;
}
