//! The manager: its ports, settings and what it remembers.
//!
//! [`Core`] is what the monitors share with it: ports, settings and the way to domains.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use storage_model::{
    layout,
    ports::{ClusterLock, Files, Ownership, QemuImg, WallClock},
};
use uuid::Uuid;

use crate::{
    Result, StorageError,
    fs::make_dirs,
    locks::{self, Held, Lock, Locks},
    monitor::Monitors,
    pool::Pool,
};

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
    /// Who gives folders to the agent; `None` if nobody shall.
    pub ownership: Option<Arc<dyn Ownership>>,
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

/// What the monitors share with the manager.
pub(crate) struct Core {
    pub(crate) ports: Ports,
    pub(crate) settings: Settings,
    /// Folder of domains that were found, so that a folder that hangs is not asked for others.
    pub(crate) known: Mutex<HashMap<Uuid, PathBuf>>,
    /// One writer of a domain's metadata at a time.
    pub(crate) metadata_locks: Mutex<HashMap<Uuid, Arc<Mutex<()>>>>,
}

impl Core {
    /// `<repository>/mnt`.
    pub(crate) fn mounts(&self) -> PathBuf {
        self.settings.repository.join(layout::MNT)
    }
}

/// Storage as this host sees it.
pub struct StorageManager {
    pub(crate) core: Arc<Core>,
    pub(crate) locks: Arc<Locks>,
    pub(crate) monitors: Monitors,
    pub(crate) pool: Mutex<Option<Arc<Pool>>>,
}

impl StorageManager {
    /// Makes the repository's folders if they are missing. Reads no storage.
    pub fn open(ports: Ports, settings: Settings) -> Result<Self> {
        let core = Arc::new(Core {
            ports,
            settings,
            known: Mutex::default(),
            metadata_locks: Mutex::default(),
        });
        for dir in [core.mounts(), core.settings.run_dir.clone()] {
            make_dirs(&*core.ports.files, &dir).map_err(|e| {
                StorageError::StorageException(format!("cannot make {}: {e}", dir.display()))
            })?;
        }
        Ok(Self {
            monitors: Monitors::new(Arc::clone(&core)),
            core,
            locks: Arc::default(),
            pool: Mutex::default(),
        })
    }

    /// Ends the monitors, keeps host ids and the SPM lease as they are (VMs may hold leases).
    pub fn shutdown(&self) {
        self.monitors.shutdown();
    }

    /// Folder of a pool (`<repository>/<pool>`).
    pub fn pool_path(&self, pool: Uuid) -> PathBuf {
        self.core.settings.repository.join(pool.to_string())
    }

    /// Takes locks, all or none.
    pub(crate) fn lock(&self, wanted: impl IntoIterator<Item = Lock>) -> Result<Held> {
        locks::acquire(&self.locks, wanted, self.core.settings.lock_timeout)
    }
}

/// Locks a mutex; a thread that panicked with it cannot have left these maps half changed.
pub(crate) fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
