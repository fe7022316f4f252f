//! Namespace `Volume`: single volumes of an image.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    desc::{Type, Wire},
    values::{Done, Str},
};

wire_enum! {
    /// Format of a volume. Engine sends the numbers, answers carry the names.
    pub enum VolumeFormat {
        /// qcow2.
        Cow = "COW" | 4,
        /// Raw.
        Raw = "RAW" | 5,
    }

    /// Allocation of a volume. Engine sends the numbers, answers carry the names.
    pub enum AllocationType {
        /// All blocks at once.
        Preallocated = "PREALLOCATED" | 1,
        /// Blocks as they are written.
        Sparse = "SPARSE" | 2,
    }

    /// Role of a volume in its chain.
    pub enum VolumeRole {
        /// A template, shared by chains.
        Shared = "SHARED" | 6,
        /// Has children.
        Internal = "INTERNAL" | 7,
        /// Has no children.
        Leaf = "LEAF" | 8,
    }

    /// May a volume be used?
    pub enum Legality {
        /// Yes.
        Legal = "LEGAL",
        /// No.
        Illegal = "ILLEGAL",
        /// A placeholder for a template that is elsewhere.
        Fake = "FAKE",
    }

    /// Does a volume's metadata make sense?
    pub enum VolumeStatus {
        /// Yes.
        Ok = "OK",
        /// It is marked illegal.
        Illegal = "ILLEGAL",
        /// No.
        Invalid = "INVALID",
        /// It is being deleted.
        Removed = "REMOVED",
    }

    /// What a volume holds. `2` and `1` are old words for `DATA`.
    pub enum DiskType {
        /// A disk.
        Data = "DATA" | 2,
        /// A disk made by old versions of virt-v2v.
        LegacyV2vData = "1" | 1,
        /// An ISO image.
        Isof = "ISOF",
        /// Memory of a VM.
        Memd = "MEMD",
        /// Metadata of a VM's memory.
        Memm = "MEMM",
        /// OVF store.
        Ovfs = "OVFS",
        /// Hosted Engine: disk of the VM.
        Hevd = "HEVD",
        /// Hosted Engine: lockspace.
        Hesd = "HESD",
        /// Hosted Engine: metadata.
        Hemd = "HEMD",
        /// Hosted Engine: configuration.
        Heci = "HECI",
        /// Scratch disk of a backup.
        Scrd = "SCRD",
    }
}

wire! {
    /// Who holds the lease of a volume.
    pub struct VolumeLease {
        /// File with the lease.
        path: String,
        /// Offset in that file, bytes.
        offset: u64,
        /// Host ids of the holders.
        owners: Option<Vec<u32>>,
        /// Version of the lease.
        version: Option<i64>,
    }

    /// A volume as its metadata and its file tell it. Engine reads the numbers out of strings.
    pub struct VolumeInfo {
        /// The volume.
        uuid: Uuid,
        /// Its allocation.
        allocation "type": AllocationType,
        /// Its format.
        format: VolumeFormat,
        /// What it holds, as its metadata has it: a word of `DiskType`, or `2` for the data of old volumes.
        disktype: String,
        /// Its role in the chain.
        role "voltype": VolumeRole,
        /// Bytes that the guest sees.
        capacity: Str<u64>,
        /// Its parent, or zeroes.
        parent: Uuid,
        /// Engine's description.
        description: String,
        /// Always empty.
        pool: String,
        /// Its domain.
        domain: Uuid,
        /// Its image.
        image: Uuid,
        /// When it was made, seconds since 1970.
        ctime: Str<i64>,
        /// Always `0`.
        mtime: Str<i64>,
        /// May it be used?
        legality: Legality,
        /// Counts changes.
        generation: u64,
        /// Counts snapshots.
        sequence: u64,
        /// Bytes of its file.
        apparentsize: Str<u64>,
        /// Bytes that it takes.
        truesize: Str<u64>,
        /// Does all this make sense?
        status: VolumeStatus,
        /// Always empty.
        children: Vec<Uuid>,
        /// Who holds its lease.
        lease: Option<VolumeLease>,
    }

    /// A volume whose metadata does not make sense: nothing is told but that.
    pub struct BrokenVolume {
        /// Always `0`.
        apparentsize: Str<u64>,
        /// Always `0`.
        truesize: Str<u64>,
        /// `INVALID`.
        status: VolumeStatus,
        /// Always empty.
        children: Vec<Uuid>,
    }

    /// Sizes of a volume.
    pub struct VolumeSize {
        /// Bytes of its file.
        apparentsize: Str<u64>,
        /// Bytes that it takes.
        truesize: Str<u64>,
    }

    /// Room that a copy would need.
    pub struct Measure {
        /// Bytes, without bitmaps.
        required: u64,
        /// Bytes if every block were written.
        fully_allocated "fully-allocated": Option<u64>,
        /// Bytes for bitmaps.
        bitmaps: Option<u64>,
    }

    /// A dirty bitmap of a qcow2 file.
    pub struct Bitmap {
        /// Its name.
        name: String,
        /// Bytes per bit.
        granularity: u64,
        /// `in-use`, `auto`.
        flags: Vec<String>,
    }

    /// What `qemu-img info` tells of a volume.
    pub struct QemuImageInfo {
        /// `raw` or `qcow2`.
        format: String,
        /// Bytes that the guest sees.
        virtualsize: u64,
        /// Bytes of a cluster (qcow2).
        clustersize: Option<u64>,
        /// Backing file as written in the volume (qcow2).
        backingfile: Option<String>,
        /// `0.10` or `1.1` (qcow2).
        compat: Option<String>,
        /// Dirty bitmaps (qcow2).
        bitmaps: Option<Vec<Bitmap>>,
    }
}

/// What is told of a volume (`volume.py`, `getInfo`). Upstream's document knows nothing of the short answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time, on its way to the wire"
)]
pub enum VolumeReport {
    /// What its metadata and its file tell.
    Readable(VolumeInfo),
    /// Its metadata does not make sense.
    Broken(BrokenVolume),
}

impl Wire for VolumeReport {
    const TYPE: &'static Type = &Type::Union(&[VolumeInfo::TYPE, BrokenVolume::TYPE]);
}

namespace! {
    /// Volumes.
    pub trait VolumeApi = "Volume";

    /// Makes a volume; answers the id of the task that does it.
    Storage fn volume_create "create" (Create {
        /// The new volume.
        volume_id "volumeID": Uuid,
        /// Pool of the domain.
        pool_id "storagepoolID": Uuid,
        /// Domain of the image.
        domain_id "storagedomainID": Uuid,
        /// The image; made if it is not there.
        image_id "imageID": Uuid,
        /// Bytes that the guest sees.
        size: Str<u64>,
        /// Format.
        format "volFormat": VolumeFormat,
        /// Allocation.
        allocation "preallocate": AllocationType,
        /// What it will hold.
        disk_type "diskType": DiskType,
        /// Engine's description.
        description "desc": String,
        /// Image of the parent, or zeroes.
        parent_image "srcImgUUID": Uuid,
        /// Parent, or zeroes.
        parent_volume "srcVolUUID": Uuid,
        /// Bytes to allocate at first (sparse volumes on block storage).
        initial_size "initialSize": Option<Str<u64>> = null,
        /// Copy the parent's bitmaps.
        add_bitmaps "addBitmaps": bool = false,
        /// May it be used at once?
        legal: bool = true,
        /// Counts snapshots.
        sequence: i64 = 0,
        /// Bitmap to add.
        bitmap: Option<Uuid> = null,
    }) -> Uuid;

    /// Deletes a volume that has no children; answers the id of the task that does it.
    Storage fn volume_delete "delete" (Delete {
        /// The volume.
        volume_id "volumeID": Uuid,
        /// Pool of the domain.
        pool_id "storagepoolID": Uuid,
        /// Domain of the image.
        domain_id "storagedomainID": Uuid,
        /// The image.
        image_id "imageID": Uuid,
        /// Overwrite with zeroes first.
        post_zero "postZero": bool,
        /// Also if it has children.
        force: bool,
        /// Tell the storage that the blocks are free.
        discard: bool = false,
    }) -> Uuid;

    /// A volume as its metadata and its file tell it.
    Storage fn volume_get_info "getInfo" (GetInfo {
        /// The volume.
        volume_id "volumeID": Uuid,
        /// Pool of the domain.
        pool_id "storagepoolID": Uuid,
        /// Domain of the image.
        domain_id "storagedomainID": Uuid,
        /// The image.
        image_id "imageID": Uuid,
    }) -> VolumeReport;

    /// Sizes of a volume.
    Storage fn volume_get_size "getSize" (GetSize {
        /// The volume.
        volume_id "volumeID": Uuid,
        /// Pool of the domain.
        pool_id "storagepoolID": Uuid,
        /// Domain of the image.
        domain_id "storagedomainID": Uuid,
        /// The image.
        image_id "imageID": Uuid,
    }) -> VolumeSize;

    /// Grows a volume that no VM uses; answers the id of the task that does it.
    Storage fn volume_extend_size "extendSize" (ExtendSize {
        /// Pool of the domain.
        pool_id "storagepoolID": Uuid,
        /// Domain of the image.
        domain_id "storagedomainID": Uuid,
        /// The image.
        image_id "imageID": Uuid,
        /// The volume.
        volume_id "volumeID": Uuid,
        /// New size, bytes.
        new_size "newSize": Str<u64>,
    }) -> Uuid;

    /// Marks a volume usable or not.
    Storage fn volume_set_legality "setLegality" (SetLegality {
        /// The volume.
        volume_id "volumeID": Uuid,
        /// Pool of the domain.
        pool_id "storagepoolID": Uuid,
        /// Domain of the image.
        domain_id "storagedomainID": Uuid,
        /// The image.
        image_id "imageID": Uuid,
        /// The mark.
        legality: Legality,
    }) -> Done;

    /// Replaces Engine's description of a volume.
    Storage fn volume_set_description "setDescription" (SetDescription {
        /// The volume.
        volume_id "volumeID": Uuid,
        /// Pool of the domain.
        pool_id "storagepoolID": Uuid,
        /// Domain of the image.
        domain_id "storagedomainID": Uuid,
        /// The image.
        image_id "imageID": Uuid,
        /// The description.
        description: String,
    }) -> Done;

    /// Room that a copy in the given format would need.
    Storage fn volume_measure "measure" (MeasureVolume {
        /// The volume.
        volume_id "volumeID": Uuid,
        /// Pool of the domain.
        pool_id "storagepoolID": Uuid,
        /// Domain of the image.
        domain_id "storagedomainID": Uuid,
        /// The image.
        image_id "imageID": Uuid,
        /// Format of the copy.
        format "dstVolFormat": VolumeFormat,
        /// Count the whole chain, not only this volume.
        backing_chain: bool = true,
        /// Count the chain down to this volume only.
        base_id "baseID": Option<Uuid> = null,
    }) -> Measure;

    /// What `qemu-img info` tells of a volume; it may be in use.
    Storage fn volume_get_qemu_image_info "getQemuImageInfo" (GetQemuImageInfo {
        /// The volume.
        volume_id "volumeID": Uuid,
        /// Pool of the domain.
        pool_id "storagepoolID": Uuid,
        /// Domain of the image.
        domain_id "storagedomainID": Uuid,
        /// The image.
        image_id "imageID": Uuid,
    }) -> QemuImageInfo;

    /// Copies a volume to another image or domain; answers the id of the task that does it.
    Storage fn volume_copy "copy" (CopyVolume {
        /// The volume.
        volume_id "volumeID": Uuid,
        /// Pool of the domains.
        pool_id "storagepoolID": Uuid,
        /// Domain of the image.
        domain_id "storagedomainID": Uuid,
        /// The image.
        image_id "imageID": Uuid,
        /// Domain of the copy.
        destination_domain "dstSdUUID": Uuid,
        /// Image of the copy.
        destination_image "dstImgUUID": Uuid,
        /// The copy.
        destination_volume "dstVolUUID": Uuid,
        /// Engine's description of the copy.
        description "desc": String,
        /// Role of the copy: a template, or a leaf.
        role "volType": VolumeRole,
        /// Format of the copy.
        format "volFormat": VolumeFormat,
        /// Allocation of the copy.
        allocation "preallocate": AllocationType,
        /// Overwrite with zeroes what is deleted.
        post_zero "postZero": bool,
        /// Also if the copy is there already.
        force: bool,
        /// Tell the storage that the blocks are free.
        discard: bool = false,
    }) -> Uuid = later;

    /// Looks for traps in a volume that a user has uploaded: a format or a backing file other than its metadata says.
    Storage fn volume_verify_untrusted "verify_untrusted" (VerifyUntrusted {
        /// Pool of the domain.
        pool_id "storagepoolID": Uuid,
        /// Domain of the image.
        domain_id "storagedomainID": Uuid,
        /// The image.
        image_id "imageID": Uuid,
        /// The volume.
        volume_id "volumeID": Uuid,
    }) -> Done = later;

    /// Reads the size of a volume's device anew, after it grew elsewhere.
    Storage fn volume_refresh "refresh" (Refresh {
        /// The volume.
        volume_id "volumeID": Uuid,
        /// Pool of the domain.
        pool_id "storagepoolID": Uuid,
        /// Domain of the image.
        domain_id "storagedomainID": Uuid,
        /// The image.
        image_id "imageID": Uuid,
    }) -> Done = later;

    /// Takes a volume of block storage back from use on this host.
    Storage fn volume_teardown "teardown" (Teardown {
        /// Domain of the image.
        domain_id "storagedomainID": Uuid,
        /// The image.
        image_id "imageID": Uuid,
        /// The volume.
        volume_id "volumeID": Uuid,
    }) -> Done = later;
}
