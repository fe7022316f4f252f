//! Verbs of storage domains that need no pool: create, format, look.
//!
//! A domain is built under a hidden name and renamed to its id: it is there whole or not at all. It is
//! taken away the other way round. [`StorageManager::recover`] removes what a killed process left.
//!
//! Facts: `localFsSD.py`, `fileSD.py`, `hsm.py` (`createStorageDomain`, `formatStorageDomain`).

use std::{io, path::Path};

use storage_model::{
    DomainClass, DomainMetadata, DomainStatus, NewDomain,
    domain_metadata::MAX_DESCRIPTION,
    layout::{self, DIR_MODE, DOM_MD_MODE, DomainPaths, ISO_IMAGE, METADATA_MODE, SPECIAL_MODE},
    ports::DomainLock,
};
use uuid::Uuid;

use crate::{
    CreateDomain, DomainFilter, DomainInfo, DomainStats, Result, StorageError, StorageManager,
    domain::{Domain, check_type, reading, unreachable, writing},
    error::{bad_metadata, invalid},
    fs,
    locks::Lock,
    manager::guard,
};

/// Versions that can be created here.
const CREATABLE_VERSIONS: std::ops::RangeInclusive<u32> = 3..=5;

impl StorageManager {
    /// `StorageDomain.create`. The folder must be connected and hold no other domain.
    pub fn create_domain(&self, request: &CreateDomain) -> Result<()> {
        check_request(request)?;
        let (path, link) = self.folder(&request.remote_path)?;
        if path != request.remote_path {
            return Err(StorageError::StorageDomainIllegalRemotePath(
                request.remote_path.clone(),
            ));
        }
        let _lock = self.lock([Lock::named(&path), Lock::exclusive(request.domain)])?;
        self.check_absent(request.domain)?;
        self.check_folder(&path, &link)?;
        let block_size = self.block_size(&link, request)?;
        let alignment = layout::alignment(block_size, request.max_hosts)
            .ok_or_else(|| invalid("max_hosts", request.max_hosts))?;
        let new = NewDomain {
            id: request.domain,
            domain_type: request.domain_type,
            class: request.class,
            name: request.name.clone(),
            version: request.version,
            remote_path: request.remote_path.clone(),
            block_size,
            alignment,
        };
        self.build_domain(&link, &new)?;
        guard(&self.core.known).insert(request.domain, link);
        tracing::info!(domain = %request.domain, folder = %path, "storage domain created");
        Ok(())
    }

    fn check_absent(&self, domain: Uuid) -> Result<()> {
        match self.core.domain(domain) {
            Ok(_) => Err(StorageError::StorageDomainAlreadyExists(domain)),
            Err(StorageError::StorageDomainMetadataNotFound { path, .. }) => Err(
                StorageError::StorageDomainNotEmpty(path.display().to_string()),
            ),
            Err(StorageError::StorageDomainDoesNotExist(_)) => Ok(()),
            Err(other) => Err(other),
        }
    }

    fn check_folder(&self, path: &str, link: &Path) -> Result<()> {
        let files = self.core.files();
        let denied = || StorageError::StorageServerAccessPermissionError(link.to_path_buf());
        files.check_access(link).map_err(|_| denied())?;
        for name in files.list(link).map_err(|e| reading(link, &e))? {
            let dom_md = link.join(&name).join(layout::DOM_MD);
            if !layout::is_leftover(&name)
                && fs::is_dir(files, &dom_md).map_err(|e| reading(&dom_md, &e))?
            {
                return Err(StorageError::StorageDomainNotEmpty(path.to_owned()));
            }
        }
        Ok(())
    }

    fn block_size(&self, link: &Path, request: &CreateDomain) -> Result<u32> {
        let wanted = request.block_size;
        // the probe writes a file
        let found = self.core.files().probe_block_size(link);
        let found = found.map_err(|e| match e.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                StorageError::NoSpaceLeftOnDomain(request.domain)
            }
            _ => StorageError::StorageDomainTargetUnsupported(format!(
                "no block size for direct I/O on {}: {e}",
                link.display()
            )),
        })?;
        match (wanted, found) {
            (0, 512 | 4096) => Ok(found),
            // 1: the file system takes any
            (0, 1) => Ok(512),
            (512 | 4096, 1) => Ok(wanted),
            _ if wanted == found => Ok(wanted),
            _ => Err(StorageError::StorageDomainBlockSizeMismatch {
                block_size: wanted,
                storage_block_size: found,
            }),
        }
    }

    fn build_domain(&self, link: &Path, new: &NewDomain) -> Result<()> {
        let files = self.core.files();
        let building = link.join(layout::building_name(new.id));
        let cleared = fs::remove_tree(files, &building);
        let built = cleared
            .map_err(|e| writing(new.id, &building, &e))
            .and_then(|()| self.fill_domain(&building, new))
            .and_then(|()| {
                let home = link.join(new.id.to_string());
                files
                    .rename(&building, &home)
                    .map_err(|e| writing(new.id, &home, &e))
            });
        if built.is_err()
            && let Err(error) = fs::remove_tree(files, &building)
        {
            tracing::warn!(path = %building.display(), %error, "an unfinished domain is left for recovery");
        }
        built
    }

    fn fill_domain(&self, root: &Path, new: &NewDomain) -> Result<()> {
        let paths = DomainPaths::new(root);
        let metadata = DomainMetadata::new(new).map_err(bad_metadata)?;
        self.make_files(&paths, new, &metadata.to_bytes())
            .map_err(|e| match e.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    StorageError::NoSpaceLeftOnDomain(new.id)
                }
                _ => StorageError::StorageDomainMetadataCreationError(e.to_string()),
            })?;
        self.core
            .ports
            .lock
            .initialize(&DomainLock {
                domain: new.id,
                ids_path: paths.ids(),
                leases_path: paths.leases(),
                resource: layout::SPM_RESOURCE.to_owned(),
                resource_offset: layout::SPM_SLOT * new.alignment,
                block_size: new.block_size,
                alignment: new.alignment,
            })
            .map_err(|e| StorageError::ClusterLockInitError(e.to_string()))
    }

    fn make_files(&self, paths: &DomainPaths, new: &NewDomain, metadata: &[u8]) -> io::Result<()> {
        let files = self.core.files();
        files.make_dir(&paths.root, DIR_MODE)?;
        files.make_dir(&paths.dom_md(), DOM_MD_MODE)?;
        for file in layout::special_files(new.domain_type, new.version) {
            files.create(&paths.dom_md().join(file.name), file.size, SPECIAL_MODE)?;
        }
        files.make_dir(&paths.images(), DIR_MODE)?;
        if new.class == DomainClass::Iso {
            files.make_dir(&paths.image(ISO_IMAGE), DIR_MODE)?;
        }
        files.write_atomic(&paths.metadata(), metadata, METADATA_MODE)
    }

    /// `StorageDomain.format`: removes a domain with all that is in it. Refused for one of the connected
    /// pool; one of another pool only with `auto_detach`. A domain with broken metadata can be formatted.
    pub fn format_domain(&self, domain: Uuid, auto_detach: bool) -> Result<()> {
        let _lock = self.lock([Lock::exclusive(domain)])?;
        if let Some(pool) = self.current_pool()
            && self
                .pool_domains(&pool)?
                .iter()
                .any(|(id, _)| *id == domain)
        {
            return Err(StorageError::CannotFormatStorageDomainInConnectedPool(
                domain,
            ));
        }
        let found = self.core.domain(domain)?;
        match self
            .core
            .metadata(&found)
            .and_then(|md| md.pools().map_err(bad_metadata))
        {
            Ok(pools) if !pools.is_empty() && !auto_detach => {
                return Err(StorageError::CannotFormatAttachedStorageDomain(domain));
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%domain, %error, "formatting a domain with broken metadata");
            }
        }
        self.remove_domain(&found)
    }

    fn remove_domain(&self, domain: &Domain) -> Result<()> {
        let files = self.core.files();
        let failed = |e: io::Error| {
            StorageError::MiscDirCleanupFailure(format!("{}: {e}", domain.paths.root.display()))
        };
        let dying = domain.mount().join(layout::dying_name(domain.id));
        fs::remove_tree(files, &dying).map_err(failed)?;
        files.rename(&domain.paths.root, &dying).map_err(failed)?;
        guard(&self.core.known).remove(&domain.id);
        fs::remove_tree(files, &dying).map_err(failed)?;
        tracing::info!(domain = %domain.id, "storage domain removed");
        Ok(())
    }

    /// `StorageDomain.validate`.
    pub fn validate_domain(&self, domain: Uuid) -> Result<()> {
        let found = self.core.domain(domain)?;
        self.core.metadata(&found).map(|_| ())
    }

    /// `StorageDomain.getInfo`.
    pub fn domain_info(&self, domain: Uuid) -> Result<DomainInfo> {
        let _lock = self.lock([Lock::shared(domain)])?;
        self.info(&self.core.domain(domain)?)
    }

    pub(crate) fn info(&self, domain: &Domain) -> Result<DomainInfo> {
        let md = self.core.metadata(domain)?;
        let mount = domain.mount();
        let folder = self
            .core
            .files()
            .read_link(&mount)
            .map_err(|e| reading(&mount, &e))?;
        Ok(DomainInfo {
            domain: domain.id,
            domain_type: md.domain_type().map_err(bad_metadata)?,
            class: md.class().map_err(bad_metadata)?,
            name: md.description().to_owned(),
            role: md.role().map_err(bad_metadata)?,
            pools: md.pools().map_err(bad_metadata)?,
            version: md.version().map_err(bad_metadata)?,
            block_size: md.block_size().map_err(bad_metadata)?,
            alignment: md.alignment().map_err(bad_metadata)?,
            remote_path: folder.display().to_string(),
        })
    }

    /// `StorageDomain.getStats`.
    pub fn domain_stats(&self, domain: Uuid) -> Result<DomainStats> {
        let _lock = self.lock([Lock::shared(domain)])?;
        let found = self.core.domain(domain)?;
        self.core.space(&found)
    }

    /// `StorageDomain.setDescription`. SPM only.
    pub fn set_domain_description(&self, domain: Uuid, description: &str) -> Result<()> {
        if description.chars().count() > MAX_DESCRIPTION {
            return Err(StorageError::StorageDomainDescriptionTooLongError);
        }
        let found = self.core.domain(domain)?;
        let _lock = self.lock([Lock::shared(domain)])?;
        let pools = self.core.metadata(&found)?.pools().map_err(bad_metadata)?;
        let owner = *pools.first().ok_or(StorageError::StoragePoolNotConnected)?;
        let pool = self.pool(owner)?;
        pool.check_spm()?;
        self.check_member(&pool, domain)?;
        self.core.change_metadata(&found, |md| {
            md.set(
                storage_model::domain_metadata::keys::DESCRIPTION,
                description,
            )
            .map_err(bad_metadata)
        })
    }

    /// `Host.getStorageDomains`. Domains that cannot be read are left out.
    pub fn storage_domains(&self, filter: &DomainFilter) -> Result<Vec<Uuid>> {
        let mount = match &filter.remote_path {
            Some(path) if !path.is_empty() => Some(self.folder(path)?.1),
            _ => None,
        };
        let all = match filter.pool.filter(|id| !id.is_nil()) {
            Some(pool) => self
                .pool_domains(&*self.pool(pool)?)?
                .into_iter()
                .map(|(id, _)| id)
                .collect(),
            None => self.core.all_domains()?,
        };
        Ok(all
            .into_iter()
            .filter(|id| self.matches(*id, filter, mount.as_deref()))
            .collect())
    }

    fn matches(&self, id: Uuid, filter: &DomainFilter, mount: Option<&Path>) -> bool {
        let found = self
            .core
            .domain(id)
            .and_then(|d| self.core.metadata(&d).map(|md| (d, md)));
        match found {
            Ok((domain, md)) => {
                filter.domain_type.is_none_or(|t| md.domain_type() == Ok(t))
                    && filter.class.is_none_or(|c| md.class() == Ok(c))
                    && mount.is_none_or(|m| domain.mount() == m)
            }
            Err(error) => {
                tracing::warn!(domain = %id, %error, "left out of the list of storage domains");
                false
            }
        }
    }
}

impl crate::manager::Core {
    /// Space of a domain's file system.
    pub(crate) fn space(&self, domain: &Domain) -> Result<DomainStats> {
        let space = self
            .files()
            .space(&domain.paths.root)
            .map_err(|e| unreachable(domain.id, &e))?;
        Ok(DomainStats {
            disk_total: space.total,
            disk_free: space.free,
        })
    }
}

fn check_request(request: &CreateDomain) -> Result<()> {
    check_type(request.domain_type)?;
    if request.domain.is_nil() {
        return Err(invalid("sdUUID", request.domain));
    }
    if !CREATABLE_VERSIONS.contains(&request.version) {
        return Err(StorageError::UnsupportedDomainVersion(
            request.version.to_string(),
        ));
    }
    let sizes: &[u32] = if request.version < 5 {
        &[512]
    } else {
        &[0, 512, 4096]
    };
    if !sizes.contains(&request.block_size) {
        return Err(invalid("block_size", request.block_size));
    }
    if !(1..=2000).contains(&request.max_hosts) {
        return Err(invalid("max_hosts", request.max_hosts));
    }
    if layout::normalize(&request.remote_path).as_deref() != Some(request.remote_path.as_str()) {
        return Err(StorageError::StorageDomainIllegalRemotePath(
            request.remote_path.clone(),
        ));
    }
    Ok(())
}

/// Is this domain active in that map?
pub(crate) fn is_active(map: &[(Uuid, DomainStatus)], domain: Uuid) -> bool {
    map.contains(&(domain, DomainStatus::Active))
}
