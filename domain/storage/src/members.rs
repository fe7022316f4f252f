//! Making and ending pools; their members: attach, activate, deactivate, detach.
//!
//! Each step is one atomic change of one domain's metadata, and each verb can be asked again: it goes on
//! where a killed one stopped. Creating a pool with several domains is recorded first, so that
//! [`StorageManager::recover`] can take an unfinished one back.
//!
//! Facts: `sp.py`, `spbackends.py`, `hsm.py`.

use storage_model::{
    DomainClass, DomainRole, DomainStatus,
    domain_metadata::{MAX_DESCRIPTION, keys},
    layout::{self, METADATA_MODE, PendingPool},
};
use uuid::Uuid;

use crate::{
    CreatePool, Result, StorageError, StorageManager,
    domain::Domain,
    error::{bad_metadata, invalid},
    fs,
    locks::Lock,
    manager::guard,
    pool::Pool,
};

const NO_SPM: i64 = -1;

impl StorageManager {
    /// `StoragePool.create`. The pool is not connected by it.
    pub fn create_pool(&self, request: &CreatePool) -> Result<()> {
        if !request.domains.contains(&request.master) {
            return Err(invalid("masterDomain", request.master));
        }
        if request.name.chars().count() > MAX_DESCRIPTION {
            return Err(StorageError::StoragePoolDescriptionTooLongError);
        }
        let locks = request.domains.iter().map(|d| Lock::exclusive(*d));
        let _lock = self.lock(locks.chain([Lock::exclusive(request.pool)]))?;
        let domains = self.unattached(request)?;
        let master = domains
            .iter()
            .find(|d| d.id == request.master)
            .ok_or_else(|| invalid("masterDomain", request.master))?;
        let record = PendingPool {
            pool: request.pool,
            master: request.master,
            domains: request.domains.clone(),
        };
        self.with_reserved_lock(master, || {
            self.write_record(&record)?;
            let made = self.attach_all(request, &domains, master);
            match made {
                Ok(()) => self.remove_record(request.pool),
                Err(error) => {
                    self.undo_pool(&record)?;
                    Err(error)
                }
            }
        })
    }

    fn unattached(&self, request: &CreatePool) -> Result<Vec<Domain>> {
        let mut domains = Vec::new();
        let mut versions = Vec::new();
        for id in &request.domains {
            let found = self
                .core
                .domain(*id)
                .and_then(|d| self.core.metadata(&d).map(|md| (d, md)));
            let (domain, md) = found.map_err(|e| StorageError::StorageDomainAccessError {
                domain: *id,
                reason: Some(e.to_string()),
            })?;
            let class = md.class().map_err(bad_metadata)?;
            if let Some(pool) = md.pools().map_err(bad_metadata)?.first()
                && class != DomainClass::Iso
            {
                return Err(StorageError::StorageDomainAlreadyAttached {
                    pool: *pool,
                    domain: *id,
                });
            }
            versions.push((*id, class, md.version().map_err(bad_metadata)?));
            domains.push(domain);
        }
        let master = versions
            .iter()
            .find(|(id, ..)| *id == request.master)
            .map(|(.., v)| *v);
        let master_version = master.unwrap_or_default();
        match versions
            .iter()
            .find(|(_, c, v)| *c == DomainClass::Data && *v != master_version)
        {
            Some((domain, _, version)) => Err(StorageError::MixedSDVersionError {
                domain: *domain,
                version: *version,
                master: request.master,
                master_version,
            }),
            None => Ok(domains),
        }
    }

    fn attach_all(&self, request: &CreatePool, domains: &[Domain], master: &Domain) -> Result<()> {
        for domain in domains.iter().filter(|d| d.id != master.id) {
            self.core.change_metadata(domain, |md| {
                md.set_pools(&[request.pool]);
                Ok(())
            })?;
        }
        let map: Vec<_> = std::iter::once((master.id, DomainStatus::Active))
            .chain(
                domains
                    .iter()
                    .filter(|d| d.id != master.id)
                    .map(|d| (d.id, DomainStatus::Attached)),
            )
            .collect();
        let lease = request.lease.or_default();
        self.core.change_metadata(master, |md| {
            md.set(keys::POOL_DESCRIPTION, &request.name)
                .map_err(bad_metadata)?;
            // upstream turns the policy on with its own parameters only
            if lease != request.lease {
                md.set(keys::LOCKPOLICY, "ON").map_err(bad_metadata)?;
            }
            md.set_spm(NO_SPM, Some(NO_SPM));
            md.set_master_version(request.master_version);
            md.set_pool_domains(&map);
            md.set_lease_params(lease);
            md.set_pools(&[request.pool]);
            md.set_role(DomainRole::Master);
            Ok(())
        })
    }

    fn write_record(&self, record: &PendingPool) -> Result<()> {
        let path = self
            .core
            .settings
            .repository
            .join(PendingPool::file_name(record.pool));
        self.core
            .files()
            .write_atomic(&path, &record.to_bytes(), METADATA_MODE)
            .map_err(|e| StorageError::MiscFileWriteException {
                path,
                what: e.to_string(),
            })
    }

    pub(crate) fn remove_record(&self, pool: Uuid) -> Result<()> {
        let path = self
            .core
            .settings
            .repository
            .join(PendingPool::file_name(pool));
        fs::remove_file(self.core.files(), &path).map_err(|e| {
            StorageError::MiscFileWriteException {
                path,
                what: e.to_string(),
            }
        })
    }

    /// Takes an unfinished pool back. If its master was written, it was finished: the master is written last.
    pub(crate) fn undo_pool(&self, record: &PendingPool) -> Result<()> {
        let master = self.core.domain(record.master)?;
        let md = self.core.metadata(&master)?;
        let finished = md.pools().map_err(bad_metadata)?.contains(&record.pool);
        if !finished {
            for id in &record.domains {
                let domain = self.core.domain(*id)?;
                self.core.change_metadata(&domain, |md| {
                    let mut pools = md.pools().map_err(bad_metadata)?;
                    pools.retain(|p| *p != record.pool);
                    md.set_pools(&pools);
                    Ok(())
                })?;
            }
        }
        self.remove_record(record.pool)
    }

    /// `StoragePool.destroy`: detaches all domains, the master last, ends the SPM and disconnects. SPM
    /// only; all but the master must be deactivated.
    pub fn destroy_pool(&self, pool: Uuid, host_id: i64) -> Result<()> {
        let found = self.pool(pool)?;
        if i64::from(found.host_id) != host_id {
            return Err(StorageError::HostIdMismatch(pool));
        }
        let members = self.pool_domains(&found)?;
        let locks = members.iter().map(|(id, _)| Lock::exclusive(*id));
        let own = [Lock::exclusive(pool), Lock::named("connected pool")];
        let _lock = self.lock(locks.chain(own))?;
        let found = self.pool(pool)?;
        found.check_spm()?;
        let master = found.master();
        for (id, _) in self
            .pool_domains(&found)?
            .into_iter()
            .filter(|(id, _)| *id != master)
        {
            self.detach_member(&found, id)?;
        }
        self.drop_member(&found, master)?;
        self.stop_spm(&found)?;
        self.leave(&self.core.domain(master)?, pool)?;
        self.disconnect(&found)
    }

    /// `StorageDomain.attach`. SPM only. A domain that is attached already is fine.
    pub fn attach_domain(&self, domain: Uuid, pool: Uuid) -> Result<()> {
        let _lock = self.lock([Lock::exclusive(pool), Lock::exclusive(domain)])?;
        let found = self.pool(pool)?;
        found.check_spm()?;
        let mut map = self.pool_domains(&found)?;
        if map.len() >= self.core.settings.maximum_domains_in_pool {
            return Err(StorageError::TooManyDomainsInStoragePoolError);
        }
        let member = self.core.domain(domain)?;
        let listed = map.iter().any(|(id, _)| *id == domain);
        let pools = self.core.metadata(&member)?.pools().map_err(bad_metadata)?;
        if listed && pools.contains(&pool) {
            tracing::warn!(%domain, %pool, "already attached");
            return Ok(());
        }
        self.check_versions(&found, &member)?;
        self.with_domain_lock(&member, found.host_id, || self.join(&member, pool))?;
        if !listed {
            map.push((domain, DomainStatus::Attached));
            self.set_pool_domains(&found, map)?;
        }
        self.link_domain(&found, &member)?;
        self.update_monitors(&found)
    }

    fn check_versions(&self, pool: &Pool, domain: &Domain) -> Result<()> {
        let md = self.core.metadata(domain)?;
        let master = self.core.domain(pool.master())?;
        let version = md.version().map_err(bad_metadata)?;
        let master_version = self
            .core
            .metadata(&master)?
            .version()
            .map_err(bad_metadata)?;
        if md.class() == Ok(DomainClass::Data) && version > master_version {
            return Err(StorageError::MixedSDVersionError {
                domain: domain.id,
                version,
                master: master.id,
                master_version,
            });
        }
        Ok(())
    }

    /// The domain says that it belongs to the pool.
    fn join(&self, domain: &Domain, pool: Uuid) -> Result<()> {
        self.core.change_metadata(domain, |md| {
            let mut pools = md.pools().map_err(bad_metadata)?;
            if pools.contains(&pool) {
                return Ok(());
            }
            if let Some(other) = pools.first()
                && md.class() != Ok(DomainClass::Iso)
            {
                let (pool, domain) = (*other, domain.id);
                return Err(StorageError::StorageDomainAlreadyAttached { pool, domain });
            }
            pools.push(pool);
            md.set_pools(&pools);
            Ok(())
        })
    }

    /// The domain says that it does not.
    pub(crate) fn leave(&self, domain: &Domain, pool: Uuid) -> Result<()> {
        self.core.change_metadata(domain, |md| {
            let mut pools = md.pools().map_err(bad_metadata)?;
            if pools.contains(&pool) {
                pools.retain(|p| *p != pool);
                md.set_pools(&pools);
                md.set_role(DomainRole::Regular);
            }
            Ok(())
        })
    }

    /// `StorageDomain.activate`. SPM only.
    pub fn activate_domain(&self, domain: Uuid, pool: Uuid) -> Result<()> {
        let _lock = self.lock([Lock::exclusive(pool), Lock::exclusive(domain)])?;
        let found = self.pool(pool)?;
        found.check_spm()?;
        let member = self.core.domain(domain)?;
        self.check_owned(&found, &member)?;
        let mut map = self.pool_domains(&found)?;
        let Some(entry) = map.iter_mut().find(|(id, _)| *id == domain) else {
            return Err(StorageError::StorageDomainNotMemberOfPool { pool, domain });
        };
        if entry.1 == DomainStatus::Active {
            return Ok(());
        }
        entry.1 = DomainStatus::Active;
        self.check_same_version(&found, &member)?;
        self.link_domain(&found, &member)?;
        let on_disk = guard(&found.state).map.is_none();
        self.core.change_metadata(&member, |md| {
            if on_disk {
                md.set_master_version(0);
            }
            md.set_role(DomainRole::Regular);
            Ok(())
        })?;
        if self.core.metadata(&member)?.class() == Ok(DomainClass::Backup) {
            self.make_master_tree(&member)?;
        }
        self.set_pool_domains(&found, map)?;
        self.update_monitors(&found)
    }

    fn check_same_version(&self, pool: &Pool, domain: &Domain) -> Result<()> {
        let md = self.core.metadata(domain)?;
        let version = md.version().map_err(bad_metadata)?;
        let master = self.core.domain(pool.master())?;
        let wanted = self
            .core
            .metadata(&master)?
            .version()
            .map_err(bad_metadata)?;
        if md.class() == Ok(DomainClass::Data) && version != wanted {
            return Err(StorageError::UnsupportedOperation {
                reason: "storage domains cannot be upgraded by this agent yet".to_owned(),
                context: format!("domain {} from version {version} to {wanted}", domain.id),
            });
        }
        Ok(())
    }

    /// `StorageDomain.deactivate`. SPM only. The master with a nil new master is left as it is, as in VDSM.
    pub fn deactivate_domain(
        &self,
        domain: Uuid,
        pool: Uuid,
        new_master: Uuid,
        master_version: i64,
    ) -> Result<()> {
        let _lock = self.lock([Lock::exclusive(pool), Lock::exclusive(domain)])?;
        let found = self.pool(pool)?;
        found.check_spm()?;
        let mut map = self.pool_domains(&found)?;
        let Some(entry) = map.iter_mut().find(|(id, _)| *id == domain) else {
            return Err(StorageError::StorageDomainNotMemberOfPool { pool, domain });
        };
        if found.master() == domain {
            if new_master.is_nil() {
                tracing::info!(%domain, "the master is not deactivated without a new one");
                return Ok(());
            }
            return Err(StorageError::UnsupportedOperation {
                reason: "the master cannot be moved by this agent yet".to_owned(),
                context: format!("from {domain} to {new_master}, version {master_version}"),
            });
        }
        entry.1 = DomainStatus::Attached;
        self.set_pool_domains(&found, map)?;
        self.update_monitors(&found)
    }

    /// `StorageDomain.detach`. SPM only. With `force` and a nil pool: takes the domain out of whatever pool
    /// it says it is in, without a pool being connected.
    pub fn detach_domain(&self, domain: Uuid, pool: Uuid, force: bool) -> Result<()> {
        if force && pool.is_nil() {
            return self.detach_from_all(domain);
        }
        let _lock = self.lock([Lock::exclusive(pool), Lock::exclusive(domain)])?;
        let found = self.pool(pool)?;
        found.check_spm()?;
        if !force {
            return self.detach_member(&found, domain);
        }
        if found.master() == domain {
            return Err(StorageError::CannotDetachMasterStorageDomain(domain));
        }
        self.drop_member(&found, domain)
    }

    fn detach_from_all(&self, domain: Uuid) -> Result<()> {
        let _lock = self.lock([Lock::exclusive(domain)])?;
        let found = self.core.domain(domain)?;
        let host_id = self
            .current_pool()
            .map_or(layout::MAX_HOST_ID, |p| p.host_id);
        self.with_domain_lock(&found, host_id, || {
            for pool in self.core.metadata(&found)?.pools().map_err(bad_metadata)? {
                self.leave(&found, pool)?;
            }
            Ok(())
        })
    }

    fn check_owned(&self, pool: &Pool, domain: &Domain) -> Result<()> {
        self.check_member(pool, domain.id)?;
        let pools = self.core.metadata(domain)?.pools().map_err(bad_metadata)?;
        if pools.contains(&pool.id) {
            return Ok(());
        }
        Err(StorageError::StorageDomainNotInPool {
            pool: pool.id,
            domain: domain.id,
        })
    }

    fn detach_member(&self, pool: &Pool, domain: Uuid) -> Result<()> {
        let member = self.core.domain(domain)?;
        let map = self.pool_domains(pool)?;
        let status = map
            .iter()
            .find(|(id, _)| *id == domain)
            .map(|(_, status)| *status);
        match status {
            None => {
                return Err(StorageError::StorageDomainNotMemberOfPool {
                    pool: pool.id,
                    domain,
                });
            }
            Some(DomainStatus::Attached) => {}
            Some(other) => {
                return Err(StorageError::StorageDomainIllegalStateError {
                    domain,
                    expected: DomainStatus::Attached.to_string(),
                    actual: other.to_string(),
                });
            }
        }
        if pool.master() == domain {
            return Err(StorageError::CannotDetachMasterStorageDomain(domain));
        }
        self.leave(&member, pool.id)?;
        self.drop_member(pool, domain)
    }

    /// Takes a domain off the pool's list.
    fn drop_member(&self, pool: &Pool, domain: Uuid) -> Result<()> {
        let mut map = self.pool_domains(pool)?;
        map.retain(|(id, _)| *id != domain);
        self.set_pool_domains(pool, map)?;
        self.unlink_domain(pool, domain);
        self.update_monitors(pool)
    }
}
