//! Namespace `ISCSIConnection`: what an iSCSI portal offers. Connecting is `StoragePool.connectStorageServer`.

use crate::secret::Secret;

namespace! {
    /// Discovery of iSCSI targets.
    pub trait IscsiApi = "ISCSIConnection";

    /// Asks a portal for its targets; answers `address:port,group name` for each.
    Storage fn discover_send_targets "discoverSendTargets" (DiscoverSendTargets {
        /// Address of the portal.
        host: String,
        /// Port of the portal.
        port: u32,
        /// User of CHAP.
        user: String = "",
        /// Password of CHAP.
        password: Secret = "",
        /// Is the address an IPv6 one?
        ipv6_enabled: bool = false,
    }) -> Vec<String> = later;
}
