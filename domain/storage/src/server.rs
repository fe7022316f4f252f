//! Connecting folders: a link `<repository>/mnt/_<escaped path>` to each.
//!
//! A folder that the agent may not use is refused (469, as VDSM) unless the root helper makes it the agent's;
//! VDSM leaves that to the administrator (`chown vdsm:kvm`).
//!
//! Facts: `storageServer.py` (`LocalDirectoryConnection`), `hsm.py` (`connectStorageServer`).

use std::{io, path::Path};

use storage_model::{DomainType, layout};

use crate::{
    ConnectionStatus, Result, ServerConnection, StorageError, StorageManager,
    error::{invalid, is_missing},
    fs,
    locks::Lock,
    manager::guard,
};

impl StorageManager {
    /// `StoragePool.connectStorageServer`. Fails as a whole only if `connections` is empty or the type
    /// cannot be used here; else each connection has its own result.
    pub fn connect_storage_server(
        &self,
        domain_type: DomainType,
        connections: &[ServerConnection],
    ) -> Result<Vec<ConnectionStatus>> {
        if connections.is_empty() {
            return Err(invalid("conList", "[]"));
        }
        check_server_type(domain_type)?;
        Ok(connections
            .iter()
            .map(|c| ConnectionStatus {
                id: c.id.clone(),
                result: self.connect_folder(&c.path),
            })
            .collect())
    }

    /// `StoragePool.disconnectStorageServer`. An empty list is answered with an empty list.
    pub fn disconnect_storage_server(
        &self,
        domain_type: DomainType,
        connections: &[ServerConnection],
    ) -> Result<Vec<ConnectionStatus>> {
        if connections.is_empty() {
            return Ok(Vec::new());
        }
        check_server_type(domain_type)?;
        Ok(connections
            .iter()
            .map(|c| ConnectionStatus {
                id: c.id.clone(),
                result: self.disconnect_folder(&c.path),
            })
            .collect())
    }

    fn connect_folder(&self, path: &str) -> Result<()> {
        let (path, link) = self.folder(path)?;
        let files = self.core.files();
        let target = Path::new(&path);
        if !fs::is_dir(files, target).map_err(|e| folder_error(target, &e))? {
            return Err(StorageError::InvalidParameterException {
                name: "path".to_owned(),
                value: path.clone(),
                reason: Some("not a directory".to_owned()),
            });
        }
        self.check_usable(target)
            .map_err(|e| folder_error(target, &e))?;
        let lock = self.lock([Lock::named(&path)])?;
        if files.read_link(&link).is_ok_and(|found| found == target) {
            return Ok(());
        }
        files
            .symlink(target, &link)
            .map_err(|e| folder_error(&link, &e))?;
        // nobody can be at work in a folder that was not connected until now
        let mut found = crate::Recovery::default();
        self.recover_folder(&link, &mut found);
        drop(lock);
        self.recover_pools(&mut found);
        found.log();
        Ok(())
    }

    /// May the agent use the folder? Where it may not, the root helper, if there is one, is asked once to make
    /// it the agent's. Its answer is only logged: what counts is whether the folder can be used then.
    fn check_usable(&self, folder: &Path) -> io::Result<()> {
        let files = self.core.files();
        let refused = match files.check_access(folder) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => error,
            other => return other,
        };
        let Some(ownership) = &self.core.ports.ownership else {
            return Err(refused);
        };
        match ownership.take(folder) {
            Ok(()) => tracing::info!(folder = %folder.display(), "made the agent's own"),
            Err(error) => {
                tracing::warn!(folder = %folder.display(), %error, "cannot be made the agent's own");
            }
        }
        files.check_access(folder)
    }

    fn disconnect_folder(&self, path: &str) -> Result<()> {
        let (path, link) = self.folder(path)?;
        let _lock = self.lock([Lock::named(&path)])?;
        guard(&self.core.known).retain(|_, mount| *mount != link);
        match self.core.files().remove_file(&link) {
            Err(e) if !is_missing(&e) => Err(folder_error(&link, &e)),
            _ => Ok(()),
        }
    }

    /// The folder as it is stored, and its link.
    pub(crate) fn folder(&self, path: &str) -> Result<(String, std::path::PathBuf)> {
        let clean = layout::normalize(path).ok_or_else(|| invalid("path", path))?;
        let link = self.core.mounts().join(layout::escape_path(&clean));
        Ok((clean, link))
    }
}

fn check_server_type(domain_type: DomainType) -> Result<()> {
    match domain_type {
        DomainType::LocalFs => Ok(()),
        other => Err(StorageError::StorageServerActionError(format!(
            "{other} storage cannot be connected by this agent yet"
        ))),
    }
}

fn folder_error(path: &Path, error: &io::Error) -> StorageError {
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            StorageError::StorageServerAccessPermissionError(path.to_path_buf())
        }
        _ => StorageError::StorageServerActionError(format!("{}: {error}", path.display())),
    }
}
