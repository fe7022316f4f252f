//! The manager: its ports, settings and what it remembers.

use std::{path::PathBuf, sync::Arc, time::Duration};

use storage_model::ports::{ClusterLock, Files, QemuImg, WallClock};

/// The ports that the policy acts through.
#[derive(Clone)]
pub struct Ports {
    /// Files.
    pub files: Arc<dyn Files>,
    /// `qemu-img`.
    pub qemu: Arc<dyn QemuImg>,
    /// Who may be host N, who is SPM.
    pub lock: Arc<dyn ClusterLock>,
    /// Time stamps.
    pub clock: Arc<dyn WallClock>,
}

/// What `vdsm.conf` decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `[irs] repository`: the data center folder; links to folders are beneath its `mnt`.
    pub repository: PathBuf,
    /// Folder for links to prepared images (`/run/vdsm/storage`).
    pub run_dir: PathBuf,
    /// `[irs] maximum_domains_in_pool` (100).
    pub maximum_domains_in_pool: usize,
    /// `[irs] sd_health_check_delay` (10 s).
    pub monitor_interval: Duration,
    /// `[irs] task_resource_default_timeout` (120 s): longest wait for a lock.
    pub lock_timeout: Duration,
}

/// Storage as this host sees it.
pub struct StorageManager {
    pub(crate) ports: Ports,
    pub(crate) settings: Settings,
}
