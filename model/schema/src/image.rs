//! Namespace `Image`: chains of volumes as a whole.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::{secret::Secret, values::Done};

wire_enum! {
    /// Move or copy. Engine sends the numbers.
    pub enum MoveOperation {
        /// Not known; refused.
        Unknown = "UNKNOWN" | 0,
        /// Copy.
        Copy = "COPY" | 1,
        /// Move.
        Move = "MOVE" | 2,
    }

    /// Which volumes of a chain are copied.
    pub enum SyncPart {
        /// All.
        All = "ALL",
        /// All but the leaf.
        Internal = "INTERNAL",
        /// The leaf.
        Leaf = "LEAF",
    }
}

sealed! {
    /// A server from which an image comes, or to which it goes.
    pub struct TransferServer {
        /// `http`, or absent.
        method: Option<String>,
        /// Address of the image there.
        url: String,
        /// Headers of the request: they may let in.
        headers: Option<BTreeMap<String, Secret>>,
    }
}

wire! {
    /// A volume of a prepared image.
    pub struct ImageVolume {
        /// Storage domain.
        domain_id "domainID": Uuid,
        /// Image.
        image_id "imageID": Uuid,
        /// Volume.
        volume_id "volumeID": Uuid,
        /// Path for QEMU.
        path: String,
        /// Path of the file with its lease.
        lease_path "leasePath": Option<String>,
        /// Offset of the lease in that file, bytes.
        lease_offset "leaseOffset": Option<u64>,
    }

    /// How to open the leaf.
    pub struct LeafInfo {
        /// `file` or `block`.
        kind "type": String,
        /// Path for QEMU.
        path: String,
    }

    /// An image that is ready for use.
    pub struct PreparedImage {
        /// Path of the leaf for QEMU.
        path: String,
        /// How to open the leaf.
        info: LeafInfo,
        /// The chain, base first.
        volumes "imgVolumesInfo": Vec<ImageVolume>,
    }
}

namespace! {
    /// Images: chains of volumes.
    pub trait ImageApi = "Image";

    /// Makes an image ready for use on this host. Idempotent.
    Storage fn image_prepare "prepare" (Prepare {
        /// Pool of the domain.
        pool_id "storagepoolID": Uuid,
        /// Domain of the image.
        domain_id "storagedomainID": Uuid,
        /// The image.
        image_id "imageID": Uuid,
        /// Its leaf.
        volume_id "volumeID": Uuid,
        /// Also if a volume of the chain is marked illegal.
        allow_illegal "allowIllegal": bool = false,
    }) -> PreparedImage;

    /// Takes an image back from use. Idempotent.
    Storage fn image_teardown "teardown" (Teardown {
        /// Pool of the domain.
        pool_id "storagepoolID": Uuid,
        /// Domain of the image.
        domain_id "storagedomainID": Uuid,
        /// The image.
        image_id "imageID": Uuid,
        /// Its leaf.
        volume_id "volumeID": Option<Uuid> = null,
    }) -> Done;

    /// Deletes an image and all its volumes; answers the id of the task that does it.
    Storage fn image_delete "delete" (Delete {
        /// The image.
        image_id "imageID": Uuid,
        /// Pool of the domain.
        pool_id "storagepoolID": Uuid,
        /// Domain of the image.
        domain_id "storagedomainID": Uuid,
        /// Overwrite with zeroes first.
        post_zero "postZero": bool,
        /// Also if volumes depend on it.
        force: bool,
        /// Tell the storage that the blocks are free.
        discard: bool = false,
    }) -> Uuid;

    /// Ids of the volumes of an image.
    Storage fn image_get_volumes "getVolumes" (GetVolumes {
        /// The image.
        image_id "imageID": Uuid,
        /// Pool of the domain.
        pool_id "storagepoolID": Uuid,
        /// Domain of the image.
        domain_id "storagedomainID": Uuid,
    }) -> Vec<Uuid>;

    /// Deletes volumes of an image that nothing depends on; answers the id of the task that does it.
    Storage fn image_delete_volumes "deleteVolumes" (DeleteVolumes {
        /// The image.
        image_id "imageID": Uuid,
        /// Pool of the domain.
        pool_id "storagepoolID": Uuid,
        /// Domain of the image.
        domain_id "storagedomainID": Uuid,
        /// The volumes.
        volumes "volumeList": Vec<Uuid>,
        /// Overwrite with zeroes first.
        post_zero "postZero": bool = false,
        /// Also if volumes depend on them.
        force: bool = false,
        /// Tell the storage that the blocks are free.
        discard: bool = false,
    }) -> Uuid = later;

    /// Moves or copies an image to another domain of the pool; answers the id of the task that does it.
    Storage fn image_move "move" (MoveImage {
        /// The image.
        image_id "imageID": Uuid,
        /// Pool of the domains.
        pool_id "storagepoolID": Uuid,
        /// Domain of the image.
        domain_id "storagedomainID": Uuid,
        /// The other domain.
        destination_id "dstSdUUID": Uuid,
        /// Move or copy.
        operation: MoveOperation,
        /// Overwrite with zeroes what is deleted.
        post_zero "postZero": bool,
        /// Also if the image is there already.
        force: bool,
        /// Tell the storage that the blocks are free.
        discard: bool = false,
    }) -> Uuid = later;

    /// Makes the volumes of an image on another domain, without their data; answers the id of the task that does it.
    Storage fn image_clone_structure "cloneStructure" (CloneStructure {
        /// The image.
        image_id "imageID": Uuid,
        /// Pool of the domains.
        pool_id "storagepoolID": Uuid,
        /// Domain of the image.
        domain_id "storagedomainID": Uuid,
        /// The other domain.
        destination_id "dstSdUUID": Uuid,
    }) -> Uuid = later;

    /// Copies data between the same image on two domains; answers the id of the task that does it.
    Storage fn image_sync_data "syncData" (SyncData {
        /// The image.
        image_id "imageID": Uuid,
        /// Pool of the domains.
        pool_id "storagepoolID": Uuid,
        /// Domain of the image.
        domain_id "storagedomainID": Uuid,
        /// The other domain.
        destination_id "dstSdUUID": Uuid,
        /// Which volumes.
        part "syncType": SyncPart,
    }) -> Uuid = later;

    /// Fetches the content of an image from a server; answers the id of the task that does it.
    Storage fn image_download "download" (Download {
        /// The server.
        server "methodArgs": TransferServer,
        /// Pool of the domain.
        pool_id "storagepoolID": Uuid,
        /// Domain of the image.
        domain_id "storagedomainID": Uuid,
        /// The image.
        image_id "imageID": Uuid,
        /// The volume; without it the leaf.
        volume_id "volumeID": Option<Uuid> = null,
    }) -> Uuid = later;

    /// Sends the content of an image to a server; answers the id of the task that does it.
    Storage fn image_upload "upload" (Upload {
        /// The server.
        server "methodArgs": TransferServer,
        /// Pool of the domain.
        pool_id "storagepoolID": Uuid,
        /// Domain of the image.
        domain_id "storagedomainID": Uuid,
        /// The image.
        image_id "imageID": Uuid,
        /// The volume; without it the leaf.
        volume_id "volumeID": Option<Uuid> = null,
    }) -> Uuid = later;

    /// Mends the metadata of a chain after a merge that was cut short; answers the ids of its volumes, base first.
    Storage fn image_reconcile_volume_chain "reconcileVolumeChain" (ReconcileVolumeChain {
        /// Pool of the domain.
        pool_id "storagepoolID": Uuid,
        /// Domain of the image.
        domain_id "storagedomainID": Uuid,
        /// The image.
        image_id "imageID": Uuid,
        /// The leaf that the VM used last.
        leaf_id "leafVolID": Uuid,
    }) -> Vec<Uuid> = later;
}
