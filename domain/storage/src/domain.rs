//! A storage domain: finding it, reading and changing its metadata.
//!
//! Nothing of the metadata is cached: another program may change it. Only the folder of a domain is
//! remembered, and looked for again when it is not there any more.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use storage_model::{
    DomainMetadata, DomainType,
    layout::{self, DomainPaths, METADATA_MODE},
    ports::{DomainLock, Files},
};
use uuid::Uuid;

use crate::{
    Result, StorageError,
    error::{bad_metadata, is_missing},
    fs,
    manager::{Core, guard},
};

/// Versions that can be used: older ones need locks that nobody has any more.
const USABLE_VERSIONS: std::ops::RangeInclusive<u32> = 3..=5;

/// A domain that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Domain {
    /// Its id.
    pub(crate) id: Uuid,
    /// Where its files are.
    pub(crate) paths: DomainPaths,
}

impl Domain {
    fn at(mount: &Path, id: Uuid) -> Self {
        Self {
            id,
            paths: DomainPaths::new(mount.join(id.to_string())),
        }
    }

    /// The link that it was found beneath.
    pub(crate) fn mount(&self) -> PathBuf {
        self.paths
            .root
            .parent()
            .map(Path::to_path_buf)
            .unwrap_or_default()
    }
}

impl Core {
    pub(crate) fn files(&self) -> &dyn Files {
        &*self.ports.files
    }

    /// Finds a domain beneath the connected folders.
    pub(crate) fn domain(&self, id: Uuid) -> Result<Domain> {
        let known = guard(&self.known).get(&id).cloned();
        if let Some(domain) = known.map(|mount| Domain::at(&mount, id)) {
            match fs::exists(self.files(), &domain.paths.metadata()) {
                Ok(true) => return Ok(domain),
                Ok(false) => {}
                Err(e) => return Err(unreachable(id, &e)),
            }
        }
        self.search(id)
    }

    fn search(&self, id: Uuid) -> Result<Domain> {
        guard(&self.known).remove(&id);
        let mut failed = None;
        for mount in self.links()? {
            let domain = Domain::at(&mount, id);
            match fs::is_dir(self.files(), &domain.paths.dom_md()) {
                Ok(true) => return self.found(domain, mount),
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(folder = %mount.display(), %error, "cannot look for a storage domain");
                    failed = Some(error);
                }
            }
        }
        match failed {
            // it may be there: saying that it does not exist could be a lie
            Some(error) => Err(unreachable(id, &error)),
            None => Err(StorageError::StorageDomainDoesNotExist(id)),
        }
    }

    fn found(&self, domain: Domain, mount: PathBuf) -> Result<Domain> {
        let metadata = domain.paths.metadata();
        match fs::exists(self.files(), &metadata) {
            Ok(true) => {
                guard(&self.known).insert(domain.id, mount);
                Ok(domain)
            }
            Ok(false) => Err(StorageError::StorageDomainMetadataNotFound {
                domain: domain.id,
                path: metadata,
            }),
            Err(error) => Err(unreachable(domain.id, &error)),
        }
    }

    /// Links to connected folders.
    pub(crate) fn links(&self) -> Result<Vec<PathBuf>> {
        let mounts = self.mounts();
        let names = self
            .files()
            .list(&mounts)
            .map_err(|e| reading(&mounts, &e))?;
        Ok(names
            .into_iter()
            .filter(|n| n.starts_with('_'))
            .map(|n| mounts.join(n))
            .collect())
    }

    /// Ids of the domains in a connected folder.
    pub(crate) fn domains_at(&self, mount: &Path) -> io::Result<Vec<Uuid>> {
        let mut ids = Vec::new();
        for id in self
            .files()
            .list(mount)?
            .iter()
            .filter_map(|n| layout::id_of_name(n))
        {
            if fs::is_dir(self.files(), &Domain::at(mount, id).paths.dom_md())? {
                ids.push(id);
            }
        }
        Ok(ids)
    }

    /// Domains of all connected folders; folders that cannot be read are passed over.
    pub(crate) fn all_domains(&self) -> Result<Vec<Uuid>> {
        let mut all = Vec::new();
        for mount in self.links()? {
            match self.domains_at(&mount) {
                Ok(ids) => all.extend(ids),
                Err(e) if is_missing(&e) => {}
                Err(error) => {
                    tracing::warn!(folder = %mount.display(), %error, "cannot list storage domains");
                }
            }
        }
        Ok(all)
    }

    /// Reads the metadata of a domain and checks that it is the domain's.
    pub(crate) fn metadata(&self, domain: &Domain) -> Result<DomainMetadata> {
        let path = domain.paths.metadata();
        let data = self.files().read(&path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => StorageError::StorageDomainMetadataNotFound {
                domain: domain.id,
                path: path.clone(),
            },
            _ => reading(&path, &e),
        })?;
        let md = DomainMetadata::parse(&data).map_err(bad_metadata)?;
        if !md.sealed() {
            tracing::warn!(domain = %domain.id, "metadata has no checksum, it is believed as it is");
        }
        let id = md.id().map_err(bad_metadata)?;
        if id != domain.id {
            let text = format!("the metadata of domain {} says that it is {id}", domain.id);
            return Err(StorageError::MetaDataValidationError(text));
        }
        let version = md.version().map_err(bad_metadata)?;
        if !USABLE_VERSIONS.contains(&version) {
            return Err(StorageError::UnsupportedDomainVersion(version.to_string()));
        }
        Ok(md)
    }

    /// Changes the metadata of a domain: whole or not at all. Nothing is written if nothing changed.
    pub(crate) fn change_metadata(
        &self,
        domain: &Domain,
        change: impl FnOnce(&mut DomainMetadata) -> Result<()>,
    ) -> Result<()> {
        let lock = Arc::clone(guard(&self.metadata_locks).entry(domain.id).or_default());
        let _one_writer = guard(&lock);
        let before = self.metadata(domain)?;
        let mut after = before.clone();
        change(&mut after)?;
        if after == before {
            return Ok(());
        }
        let path = domain.paths.metadata();
        self.files()
            .write_atomic(&path, &after.to_bytes(), METADATA_MODE)
            .map_err(|e| writing(domain.id, &path, &e))
    }

    /// Where the lock of a domain lies.
    pub(crate) fn domain_lock(&self, domain: &Domain) -> Result<DomainLock> {
        let md = self.metadata(domain)?;
        let alignment = md.alignment().map_err(bad_metadata)?;
        Ok(DomainLock {
            domain: domain.id,
            ids_path: domain.paths.ids(),
            leases_path: domain.paths.leases(),
            resource: layout::SPM_RESOURCE.to_owned(),
            resource_offset: layout::SPM_SLOT * alignment,
            block_size: md.block_size().map_err(bad_metadata)?,
            alignment,
        })
    }
}

/// Can a domain of this type be used here?
pub(crate) fn check_type(domain_type: DomainType) -> Result<()> {
    match domain_type {
        DomainType::LocalFs => Ok(()),
        other => Err(StorageError::StorageDomainTypeError(
            other.number().to_string(),
        )),
    }
}

/// Reading failed.
pub(crate) fn reading(path: &Path, error: &io::Error) -> StorageError {
    StorageError::MiscFileReadException {
        path: path.to_path_buf(),
        what: error.to_string(),
    }
}

/// Writing into a domain failed.
pub(crate) fn writing(domain: Uuid, path: &Path, error: &io::Error) -> StorageError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            StorageError::NoSpaceLeftOnDomain(domain)
        }
        _ => StorageError::MiscFileWriteException {
            path: path.to_path_buf(),
            what: error.to_string(),
        },
    }
}

/// A domain's folder does not answer.
pub(crate) fn unreachable(domain: Uuid, error: &io::Error) -> StorageError {
    StorageError::StorageDomainAccessError {
        domain,
        reason: Some(error.to_string()),
    }
}
