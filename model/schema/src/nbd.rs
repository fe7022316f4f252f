//! Namespace `NBD`: NBD servers of this host, one for a volume, through which images are transferred.

use uuid::Uuid;

use crate::values::Done;

wire! {
    /// What an NBD server shows, and how.
    pub struct NbdConfig {
        /// Domain of the volume.
        domain_id "sd_id": Uuid,
        /// Image of the volume.
        image_id "img_id": Uuid,
        /// The volume.
        volume_id "vol_id": Uuid,
        /// Nobody may write.
        readonly: Option<bool>,
        /// Give back the room of blocks that are discarded.
        discard: Option<bool>,
        /// Write blocks of zeroes as holes.
        detect_zeroes: Option<bool>,
        /// Show the whole chain, not this volume alone; without the key: yes.
        backing_chain: Option<bool>,
        /// Show which blocks this bitmap marks.
        bitmap: Option<Uuid>,
    }
}

namespace! {
    /// NBD servers for single volumes.
    pub trait NbdApi = "NBD";

    /// Starts a server; answers its address: `nbd:unix:/...`.
    Storage fn nbd_start_server "start_server" (StartServer {
        /// The new server.
        server_id: Uuid,
        /// What it shows.
        config: NbdConfig,
    }) -> String = later;

    /// Ends a server. Idempotent.
    Storage fn nbd_stop_server "stop_server" (StopServer {
        /// The server.
        server_id: Uuid,
    }) -> Done = later;
}
