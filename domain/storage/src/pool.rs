//! The connected pool: who its master is, which domains it has, what we are in it.
//!
//! Which pool is connected is the engine's intention: it is forgotten at a restart, as in VDSM. Domains of
//! the pool are known either from the engine (`domainDict` of `StoragePool.connect`; then nothing is
//! written) or from the master's metadata.
//!
//! Facts: `sp.py`, `spbackends.py`, `hsm.py`.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use storage_model::{
    DomainRole, DomainStatus,
    layout::{MASTER_LINK, id_of_name},
};
use uuid::Uuid;

use crate::{
    ConnectPool, PoolDomain, PoolInfo, Result, SpmRole, StorageError, StorageManager,
    domain::Domain,
    domains::is_active,
    error::{bad_metadata, invalid},
    fs,
    locks::Lock,
    manager::guard,
};

/// Name of a pool whose name nobody told.
const NO_NAME: &str = "No Description";
/// Largest id of a host.
const MAX_HOST_ID: i64 = 2000;

/// The connected pool.
pub(crate) struct Pool {
    /// Its id.
    pub(crate) id: Uuid,
    /// Our number among its hosts.
    pub(crate) host_id: u32,
    /// What changes while it is connected. Never held while storage is touched.
    pub(crate) state: Mutex<PoolState>,
}

/// What changes while a pool is connected.
#[derive(Debug, Clone)]
pub(crate) struct PoolState {
    /// Its master domain.
    pub(crate) master: Uuid,
    /// Version of the master.
    pub(crate) master_version: i64,
    /// Its domains, as the engine told; `None`: the master's metadata tells.
    pub(crate) map: Option<Vec<(Uuid, DomainStatus)>>,
    /// What we are.
    pub(crate) role: SpmRole,
}

impl Pool {
    pub(crate) fn state(&self) -> PoolState {
        guard(&self.state).clone()
    }

    pub(crate) fn master(&self) -> Uuid {
        guard(&self.state).master
    }

    /// Fails unless this host is SPM.
    pub(crate) fn check_spm(&self) -> Result<()> {
        match guard(&self.state).role {
            SpmRole::Spm => Ok(()),
            _ => Err(StorageError::SpmStatusError(self.id)),
        }
    }

    /// Fails unless this host is not SPM and does not try to be.
    pub(crate) fn check_not_spm(&self) -> Result<()> {
        match guard(&self.state).role {
            SpmRole::Free => Ok(()),
            _ => Err(StorageError::IsSpm(self.id)),
        }
    }
}

impl StorageManager {
    /// `Host.getConnectedStoragePools`.
    pub fn connected_pools(&self) -> Vec<Uuid> {
        self.current_pool().map(|p| p.id).into_iter().collect()
    }

    pub(crate) fn current_pool(&self) -> Option<Arc<Pool>> {
        guard(&self.pool).clone()
    }

    /// The pool, if it is the connected one.
    pub(crate) fn pool(&self, id: Uuid) -> Result<Arc<Pool>> {
        self.current_pool()
            .filter(|p| p.id == id)
            .ok_or(StorageError::StoragePoolUnknown(id))
    }

    /// `StoragePool.connect`. Again with the same pool: takes the new map and refreshes the links.
    pub fn connect_pool(&self, request: &ConnectPool) -> Result<()> {
        let host_id = u32::try_from(request.host_id)
            .ok()
            .filter(|_| (1..=MAX_HOST_ID).contains(&request.host_id))
            .ok_or_else(|| invalid("hostID", request.host_id))?;
        let _lock = self.lock([Lock::exclusive(request.pool), Lock::named("connected pool")])?;
        match self.current_pool() {
            Some(other) if other.id != request.pool => {
                Err(StorageError::CannotConnectMultiplePools(other.id))
            }
            Some(pool) => self.refresh_pool(&pool, request, host_id),
            None => self.connect_new(request, host_id),
        }
    }

    fn connect_new(&self, request: &ConnectPool, host_id: u32) -> Result<()> {
        let state = PoolState {
            master: request.master,
            master_version: request.master_version,
            map: request.domains.clone(),
            role: SpmRole::Free,
        };
        let pool = Arc::new(Pool {
            id: request.pool,
            host_id,
            state: Mutex::new(state),
        });
        self.rebuild(&pool)?;
        *guard(&self.pool) = Some(Arc::clone(&pool));
        self.update_monitors(&pool)?;
        tracing::info!(pool = %pool.id, host_id, master = %request.master, "storage pool connected");
        Ok(())
    }

    fn refresh_pool(&self, pool: &Pool, request: &ConnectPool, host_id: u32) -> Result<()> {
        if pool.host_id != host_id {
            let text = format!("hostId={}, newHostId={host_id}", pool.host_id);
            return Err(StorageError::StoragePoolConnected(text));
        }
        let before = pool.state();
        if before.map.is_some() && request.domains.is_none() {
            let text = "the engine keeps the map of its domains".to_owned();
            return Err(StorageError::StoragePoolConnected(text));
        }
        {
            let mut state = guard(&pool.state);
            state.master = request.master;
            state.master_version = request.master_version;
            state.map.clone_from(&request.domains);
        }
        if let Err(error) = self.rebuild(pool) {
            let mut state = guard(&pool.state);
            let role = state.role;
            *state = PoolState { role, ..before };
            return Err(error);
        }
        self.update_monitors(pool)
    }

    /// Checks the master and makes the pool's links.
    fn rebuild(&self, pool: &Pool) -> Result<()> {
        let state = pool.state();
        let wrong = StorageError::StoragePoolWrongMaster {
            pool: pool.id,
            domain: state.master,
        };
        let master = self.core.domain(state.master).map_err(|e| match e {
            StorageError::StorageDomainDoesNotExist(master) => {
                StorageError::StoragePoolMasterNotFound {
                    pool: pool.id,
                    master,
                }
            }
            other => other,
        })?;
        let md = self.core.metadata(&master)?;
        let ours = md.role().map_err(bad_metadata)? == DomainRole::Master
            && md.pools().map_err(bad_metadata)?.contains(&pool.id);
        let version_fits = state.map.is_some() || md.master_version() == Ok(state.master_version);
        let map = self.pool_domains(pool)?;
        if !ours || !version_fits || !is_active(&map, master.id) {
            tracing::error!(pool = %pool.id, master = %master.id, ours, version_fits, "not the master");
            return Err(wrong);
        }
        let dir = self.pool_path(pool.id);
        fs::make_dirs(self.core.files(), &dir).map_err(|e| link_error(&dir, &e))?;
        self.link_domains(pool, &map)
    }

    fn link_domains(&self, pool: &Pool, map: &[(Uuid, DomainStatus)]) -> Result<()> {
        for (id, _) in map.iter().filter(|(_, s)| *s == DomainStatus::Active) {
            match self.core.domain(*id) {
                Ok(domain) => self.link_domain(pool, &domain)?,
                // its monitor tells of it; the pool can be used without it
                Err(error) => tracing::warn!(pool = %pool.id, domain = %id, %error, "not linked"),
            }
        }
        let dir = self.pool_path(pool.id);
        let names = self
            .core
            .files()
            .list(&dir)
            .map_err(|e| link_error(&dir, &e))?;
        for stale in names
            .iter()
            .filter_map(|n| id_of_name(n))
            .filter(|id| !is_active(map, *id))
        {
            self.unlink_domain(pool, stale);
        }
        Ok(())
    }

    pub(crate) fn link_domain(&self, pool: &Pool, domain: &Domain) -> Result<()> {
        let dir = self.pool_path(pool.id);
        let mut links = vec![dir.join(domain.id.to_string())];
        if pool.master() == domain.id {
            links.push(dir.join(MASTER_LINK));
        }
        for link in links {
            let there = self
                .core
                .files()
                .read_link(&link)
                .is_ok_and(|t| t == domain.paths.root);
            if !there {
                let made = self.core.files().symlink(&domain.paths.root, &link);
                made.map_err(|e| link_error(&link, &e))?;
            }
        }
        Ok(())
    }

    pub(crate) fn unlink_domain(&self, pool: &Pool, domain: Uuid) {
        let link = self.pool_path(pool.id).join(domain.to_string());
        if let Err(error) = fs::remove_file(self.core.files(), &link) {
            tracing::warn!(link = %link.display(), %error, "a link is left");
        }
    }

    /// Domains of a pool and their status.
    pub(crate) fn pool_domains(&self, pool: &Pool) -> Result<Vec<(Uuid, DomainStatus)>> {
        let state = pool.state();
        if let Some(map) = state.map {
            return Ok(map);
        }
        let md = self.core.metadata(&self.core.domain(state.master)?)?;
        md.pool_domains().map_err(bad_metadata)
    }

    /// Changes them where they are kept.
    pub(crate) fn set_pool_domains(
        &self,
        pool: &Pool,
        map: Vec<(Uuid, DomainStatus)>,
    ) -> Result<()> {
        let master = {
            let mut state = guard(&pool.state);
            if state.map.is_some() {
                state.map = Some(map);
                return Ok(());
            }
            state.master
        };
        self.core.change_metadata(&self.core.domain(master)?, |md| {
            md.set_pool_domains(&map);
            Ok(())
        })
    }

    pub(crate) fn check_member(&self, pool: &Pool, domain: Uuid) -> Result<()> {
        if self.pool_domains(pool)?.iter().any(|(id, _)| *id == domain) {
            Ok(())
        } else {
            Err(StorageError::StorageDomainNotMemberOfPool {
                pool: pool.id,
                domain,
            })
        }
    }

    /// Monitors exactly the active domains of the pool.
    pub(crate) fn update_monitors(&self, pool: &Pool) -> Result<()> {
        let map = self.pool_domains(pool)?;
        let active: Vec<_> = map
            .iter()
            .filter(|(_, s)| *s == DomainStatus::Active)
            .map(|(id, _)| *id)
            .collect();
        self.monitors.watch_pool(&active, pool.host_id);
        Ok(())
    }

    /// `StoragePool.disconnect`. A pool that is not connected is fine.
    pub fn disconnect_pool(&self, pool: Uuid) -> Result<()> {
        let Ok(found) = self.pool(pool) else {
            tracing::warn!(%pool, "already disconnected");
            return Ok(());
        };
        found.check_not_spm()?;
        let _lock = self.lock([Lock::exclusive(pool), Lock::named("connected pool")])?;
        self.disconnect(&*self.pool(pool)?)
    }

    pub(crate) fn disconnect(&self, pool: &Pool) -> Result<()> {
        pool.check_not_spm()?;
        *guard(&self.pool) = None;
        self.monitors.watch_pool(&[], pool.host_id);
        let dir = self.pool_path(pool.id);
        fs::remove_tree(self.core.files(), &dir).map_err(|e| link_error(&dir, &e))?;
        tracing::info!(pool = %pool.id, "storage pool disconnected");
        Ok(())
    }

    /// `StoragePool.getInfo`.
    pub fn pool_info(&self, pool: Uuid) -> Result<PoolInfo> {
        let _lock = self.lock([Lock::shared(pool)])?;
        let found = self.pool(pool)?;
        let state = found.state();
        let missing = |_| StorageError::StoragePoolMasterNotFound {
            pool,
            master: state.master,
        };
        let master = self.core.domain(state.master).map_err(missing)?;
        let md = self.core.metadata(&master).map_err(missing)?;
        let (spm_id, lver) = self.spm_holder(&found)?;
        let (name, master_version) = match &state.map {
            Some(_) => (NO_NAME.to_owned(), state.master_version),
            None => (
                md.pool_description().to_owned(),
                md.master_version().map_err(bad_metadata)?,
            ),
        };
        Ok(PoolInfo {
            name,
            master: state.master,
            master_version,
            lver,
            spm_id,
            domain_type: md.domain_type().map_err(bad_metadata)?,
            version: md.version().map_err(bad_metadata)?,
            domains: self.domains_with_health(&found)?,
        })
    }

    fn domains_with_health(&self, pool: &Pool) -> Result<Vec<PoolDomain>> {
        let map = self.pool_domains(pool)?;
        Ok(map
            .into_iter()
            .map(|(domain, status)| PoolDomain {
                domain,
                status,
                health: (status == DomainStatus::Active)
                    .then(|| self.monitors.health(domain))
                    .flatten(),
            })
            .collect())
    }
}

fn link_error(path: &Path, error: &std::io::Error) -> StorageError {
    StorageError::StoragePoolActionError(format!("{}: {error}", path.display()))
}
