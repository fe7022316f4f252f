//! Being SPM: the one host of a pool that changes its storage.
//!
//! ```text
//! Free --spm_start--> Contend --lock acquired, master tree made--> Spm --spm_stop--> Free
//!                        \--anything fails: lock given back--> Free
//! ```
//!
//! The lock is the truth, the role here only says that we hold it. It ends with the process (as upstream's
//! `LocalLock`) or is kept by sanlock; the engine asks anew after a restart.
//!
//! Facts: `sp.py` (`startSpm`, `stopSpm`), `spbackends.py`.

use std::path::Path;

use storage_model::{
    layout::{self, DIR_MODE, TASKS, VMS},
    ports::ClusterLockError,
};
use uuid::Uuid;

use crate::{
    Result, SpmRole, SpmStatus, StorageError, StorageManager,
    domain::{Domain, writing},
    error::bad_metadata,
    fs,
    locks::Lock,
    manager::guard,
    pool::Pool,
};

const NONE: i64 = -1;

impl StorageManager {
    /// `StoragePool.getSpmStatus`.
    pub fn spm_status(&self, pool: Uuid) -> Result<SpmStatus> {
        let found = self.pool(pool)?;
        let (spm_id, lver) = self
            .spm_holder(&found)
            .map_err(|e| StorageError::StorageDomainMasterError(e.to_string()))?;
        let role = guard(&found.state).role;
        Ok(SpmStatus { role, lver, spm_id })
    }

    /// Host id and lease version of the SPM, -1 each if there is none.
    pub(crate) fn spm_holder(&self, pool: &Pool) -> Result<(i64, i64)> {
        let state = pool.state();
        let master = self.core.domain(state.master)?;
        if state.map.is_none() {
            return self.core.metadata(&master)?.spm().map_err(bad_metadata);
        }
        let lock = self.core.domain_lock(&master)?;
        let holder = self
            .core
            .ports
            .lock
            .inquire(&lock)
            .map_err(|e| lock_error(master.id, &e))?;
        let none_if_zero = |n: i64| if n == 0 { NONE } else { n };
        Ok(holder.map_or((NONE, NONE), |(id, version)| {
            let version = i64::try_from(version).unwrap_or(i64::MAX);
            (none_if_zero(i64::from(id)), none_if_zero(version))
        }))
    }

    /// What `StoragePool.spmStart` checks before its task starts: the pool is connected, we are not SPM
    /// already, the version exists.
    pub fn check_spm_start(&self, pool: Uuid, domain_version: Option<u32>) -> Result<()> {
        if let Some(version) = domain_version
            && !storage_model::domain_metadata::VERSIONS.contains(&version)
        {
            return Err(StorageError::UnsupportedDomainVersion(version.to_string()));
        }
        self.pool(pool)?.check_not_spm()
    }

    /// The task of `StoragePool.spmStart`. Already SPM: nothing to do.
    pub fn spm_start(&self, pool: Uuid, domain_version: Option<u32>) -> Result<()> {
        let _lock = self.lock([Lock::exclusive(pool)])?;
        let found = self.pool(pool)?;
        match guard(&found.state).role {
            SpmRole::Spm => return Ok(()),
            SpmRole::Contend => {
                return Err(StorageError::MiscOperationInProgress(format!(
                    "spm start {pool}"
                )));
            }
            SpmRole::Free => {}
        }
        self.update_monitors(&found)?;
        let master = self.core.domain(found.master())?;
        self.check_version(&master, domain_version)?;
        guard(&found.state).role = SpmRole::Contend;
        let started = self.take_spm(&found, &master);
        guard(&found.state).role = if started.is_ok() {
            SpmRole::Spm
        } else {
            SpmRole::Free
        };
        if started.is_ok() {
            tracing::info!(%pool, host_id = found.host_id, "this host is SPM");
        }
        started
    }

    fn check_version(&self, master: &Domain, wanted: Option<u32>) -> Result<()> {
        let current = self
            .core
            .metadata(master)?
            .version()
            .map_err(bad_metadata)?;
        let expected = wanted.unwrap_or(current);
        if current > expected {
            let domain = master.id;
            return Err(StorageError::CurrentVersionTooAdvancedError {
                domain,
                current,
                expected,
            });
        }
        if current < expected {
            return Err(StorageError::UnsupportedOperation {
                reason: "storage domains cannot be upgraded by this agent yet".to_owned(),
                context: format!("domain {} from version {current} to {expected}", master.id),
            });
        }
        Ok(())
    }

    fn take_spm(&self, pool: &Pool, master: &Domain) -> Result<()> {
        let lock = self.core.domain_lock(master)?;
        let manager = &self.core.ports.lock;
        let lver = self.spm_holder(pool)?.1;
        manager
            .acquire_host_id(&lock, pool.host_id)
            .map_err(|e| StorageError::AcquireHostIdFailure(e.to_string()))?;
        manager
            .acquire(&lock, pool.host_id)
            .map_err(|e| lock_error(master.id, &e))?;
        let ready = self
            .write_spm(pool, master, i64::from(pool.host_id), Some(lver + 1))
            .and_then(|()| self.make_master_tree(master));
        if ready.is_err() {
            if let Err(error) = self.write_spm(pool, master, NONE, None) {
                tracing::warn!(pool = %pool.id, %error, "the metadata still names this host as SPM");
            }
            if let Err(error) = manager.release(&lock) {
                tracing::error!(pool = %pool.id, %error, "the SPM lease is still held");
            }
        }
        ready
    }

    /// Writes who is SPM, where the pool's metadata is kept on storage.
    fn write_spm(&self, pool: &Pool, master: &Domain, id: i64, lver: Option<i64>) -> Result<()> {
        if guard(&pool.state).map.is_some() {
            return Ok(());
        }
        self.core.change_metadata(master, |md| {
            md.set_spm(id, lver);
            Ok(())
        })
    }

    /// `master`, `master/vms`, `master/tasks`.
    pub(crate) fn make_master_tree(&self, domain: &Domain) -> Result<()> {
        let master = domain.paths.master();
        let make = |path: &Path| {
            fs::ensure_dir(self.core.files(), path, DIR_MODE)
                .map_err(|e| writing(domain.id, path, &e))
        };
        make(&master)?;
        make(&master.join(VMS))?;
        make(&master.join(TASKS))
    }

    /// `StoragePool.spmStop`. Whether tasks still run is the caller's question. Not SPM: nothing to do. If
    /// the lease cannot be given back this host stays SPM and says so.
    pub fn spm_stop(&self, pool: Uuid) -> Result<()> {
        let _lock = self.lock([Lock::exclusive(pool)])?;
        self.stop_spm(&*self.pool(pool)?)
    }

    pub(crate) fn stop_spm(&self, pool: &Pool) -> Result<()> {
        if guard(&pool.state).role == SpmRole::Free {
            return Ok(());
        }
        let master = self.core.domain(pool.master())?;
        if let Err(error) = self.write_spm(pool, &master, NONE, None) {
            tracing::warn!(pool = %pool.id, %error, "the metadata still names this host as SPM");
        }
        let lock = self.core.domain_lock(&master)?;
        let released = self.core.ports.lock.release(&lock);
        released.map_err(|e| StorageError::ReleaseLockFailure(e.to_string()))?;
        guard(&pool.state).role = SpmRole::Free;
        tracing::info!(pool = %pool.id, "this host is not SPM any more");
        Ok(())
    }

    /// Does something under the lock of a domain that is in no pool of ours yet.
    pub(crate) fn with_reserved_lock(
        &self,
        domain: &Domain,
        act: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        self.with_domain_lock(domain, layout::MAX_HOST_ID, act)
    }

    /// Does something under the lock of a domain, giving back only what was taken for it.
    pub(crate) fn with_domain_lock(
        &self,
        domain: &Domain,
        host_id: u32,
        act: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let lock = self.core.domain_lock(domain)?;
        let manager = &self.core.ports.lock;
        let had_id = manager
            .has_host_id(&lock, host_id)
            .map_err(|e| StorageError::AcquireHostIdFailure(e.to_string()))?;
        if !had_id {
            manager
                .acquire_host_id(&lock, host_id)
                .map_err(|e| StorageError::AcquireHostIdFailure(e.to_string()))?;
        }
        let done = match manager.acquire(&lock, host_id) {
            Ok(()) => {
                let done = act();
                if let Err(error) = manager.release(&lock) {
                    tracing::error!(domain = %domain.id, %error, "the lease of a domain is still held");
                }
                done
            }
            Err(error) => Err(lock_error(domain.id, &error)),
        };
        if !had_id
            && !self.monitors.watches(domain.id)
            && let Err(error) = manager.release_host_id(&lock, host_id)
        {
            tracing::error!(domain = %domain.id, %error, "the host id is still held");
        }
        done
    }
}

pub(crate) fn lock_error(id: Uuid, error: &ClusterLockError) -> StorageError {
    let rc = match error {
        ClusterLockError::Held { .. } => 0,
        ClusterLockError::Failed { code, .. } => *code,
    };
    StorageError::AcquireLockFailure {
        id,
        rc,
        out: "the lease was not acquired".to_owned(),
        err: error.to_string(),
    }
}
