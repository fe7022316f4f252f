//! Namespace `Image`: chains of volumes as a whole.

use uuid::Uuid;

use crate::values::Done;

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
}
