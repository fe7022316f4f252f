//! What a domain lies on (its devices), files on it that are no volumes, and its description.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::values::{Done, Str};

wire! {
    /// A file of an ISO or export domain.
    pub struct FileStats {
        /// 0 if the file can be read, else a code.
        status: i32,
        /// Bytes, in a string.
        size: Option<Str<u64>>,
        /// When it was changed, seconds since 1970, in a string.
        ctime: Option<Str<f64>>,
    }
}

namespace! {
    /// Devices and files of a domain.
    pub trait DomainDeviceApi = "StorageDomain";

    /// Adds devices to a domain on block storage.
    Storage fn domain_extend "extend" (Extend {
        /// The domain.
        domain_id "storagedomainID": Uuid,
        /// The pool.
        pool_id "storagepoolID": Uuid,
        /// Ids of the devices in multipath.
        devices "devlist": Vec<String>,
        /// Also if something is on them.
        force: bool = false,
    }) -> Done = later;

    /// Tells a domain that one of its devices has grown; answers the device's size in bytes, in a string.
    Storage fn domain_resize_pv "resizePV" (ResizePv {
        /// The domain.
        domain_id "storagedomainID": Uuid,
        /// The pool.
        pool_id "storagepoolID": Uuid,
        /// Id of the device in multipath.
        guid: String,
    }) -> Str<u64> = later;

    /// Files of an ISO or export domain.
    Storage fn domain_get_file_stats "getFileStats" (GetFileStats {
        /// The domain.
        domain_id "storagedomainID": Uuid,
        /// Which, as a shell would match them: `*.iso`.
        pattern: String,
        /// Do capitals count?
        case_sensitive "caseSensitive": bool,
    }) -> BTreeMap<String, FileStats> = later;

    /// Replaces the description of a domain.
    Storage fn domain_set_description "setDescription" (SetDescription {
        /// The domain.
        domain_id "storagedomainID": Uuid,
        /// The description.
        description: String,
    }) -> Done = later;
}
