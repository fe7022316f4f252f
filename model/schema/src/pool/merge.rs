//! The manager's part in merging a snapshot of a VM that does not run: before and after the data moves
//! (`SDM.merge`), and giving back room afterwards.

use uuid::Uuid;

wire! {
    /// A part of a chain: the volumes above `base_id` up to `top_id` become part of it.
    pub struct Subchain {
        /// Its domain.
        domain_id "sd_id": Uuid,
        /// Its image.
        image_id "img_id": Uuid,
        /// Highest volume.
        top_id: Uuid,
        /// Lowest volume.
        base_id: Uuid,
        /// Generation that the lowest volume must have.
        base_generation: Option<u64>,
    }
}

namespace! {
    /// Merging a snapshot of a VM that does not run.
    pub trait MergeApi = "StoragePool";

    /// Makes the lowest volume ready to take the others in; answers the id of the task that does it.
    Storage fn prepare_merge "prepareMerge" (PrepareMerge {
        /// The pool.
        pool_id "storagepoolID": Uuid,
        /// The part of the chain.
        subchain "subchainInfo": Subchain,
    }) -> Uuid = later;

    /// Takes the merged volumes out of the chain; answers the id of the task that does it.
    Storage fn finalize_merge "finalizeMerge" (FinalizeMerge {
        /// The pool.
        pool_id "storagepoolID": Uuid,
        /// The part of the chain.
        subchain "subchainInfo": Subchain,
    }) -> Uuid = later;

    /// Gives back room that a volume does not need; answers the id of the task that does it.
    Storage fn reduce_volume "reduceVolume" (ReduceVolume {
        /// The pool.
        pool_id "storagepoolID": Uuid,
        /// Its domain.
        domain_id "storagedomainID": Uuid,
        /// Its image.
        image_id "imageID": Uuid,
        /// The volume.
        volume_id "volumeID": Uuid,
        /// Also if a VM uses it.
        allow_active "allowActive": bool = false,
    }) -> Uuid = later;
}
