//! What a killed process left: found, finished or taken back.
//!
//! Only what is certainly unfinished is touched: hidden names of this agent, images marked for removal,
//! `.new` files. Data without metadata is never removed here, only by the undo step of its own task.

use std::path::Path;

use storage_model::layout::{
    self, DomainPaths, META_SUFFIX, NEW_SUFFIX, PendingPool, id_of_name, removed_name,
};
use uuid::Uuid;

use crate::{
    PurgeImage, Recovery, StorageError, StorageManager, domain::Domain, error::is_missing, fs,
    locks::Lock,
};

impl Recovery {
    /// One line, if there was anything.
    pub(crate) fn log(&self) {
        if *self != Self::default() {
            tracing::warn!(recovery = ?self, "leftovers of an interrupted process");
        }
    }

    fn fail(&mut self, what: impl std::fmt::Display, error: impl std::fmt::Display) {
        self.failures.push(format!("{what}: {error}"));
    }
}

impl StorageManager {
    /// Finishes or takes back what a killed process left. Call it once, before requests are served; before or
    /// after the undo steps of tasks (before, it tells of files that these will remove). Never fails as a whole: what went wrong is told in the answer.
    pub fn recover(&self) -> Recovery {
        let mut found = Recovery::default();
        match self.core.links() {
            Ok(links) => {
                for link in links {
                    self.recover_folder(&link, &mut found);
                }
            }
            Err(error) => found.fail("connected folders", error),
        }
        self.remove_new_files(&self.core.settings.repository, &mut found);
        self.recover_pools(&mut found);
        found.log();
        found
    }

    /// What is left in one connected folder. Nobody else may be at work in it.
    pub(crate) fn recover_folder(&self, link: &Path, found: &mut Recovery) {
        let files = self.core.files();
        let names = match files.list(link) {
            Ok(names) => names,
            Err(error) => return found.fail(link.display(), error),
        };
        for name in names.iter().filter(|n| layout::is_leftover(n)) {
            let path = link.join(name);
            match fs::remove_tree(files, &path) {
                Ok(()) => found.removed_domains.push(path),
                Err(error) => found.fail(path.display(), error),
            }
        }
        for id in names.iter().filter_map(|n| id_of_name(n)) {
            let paths = DomainPaths::new(link.join(id.to_string()));
            if fs::is_dir(files, &paths.dom_md()).unwrap_or(false) {
                self.recover_domain(&Domain { id, paths }, found);
            }
        }
    }

    fn recover_domain(&self, domain: &Domain, found: &mut Recovery) {
        self.remove_new_files(&domain.paths.dom_md(), found);
        let images = domain.paths.images();
        let names = match fs::list(self.core.files(), &images) {
            Ok(names) => names,
            Err(error) => return found.fail(images.display(), error),
        };
        for name in names {
            if let Some((image, zero)) = removed_name(&name) {
                self.finish_purge(domain, image, zero, found);
            } else if id_of_name(&name).is_some() {
                self.recover_image(&images.join(name), found);
            }
        }
    }

    fn finish_purge(&self, domain: &Domain, image: Uuid, zero: bool, found: &mut Recovery) {
        if zero {
            tracing::warn!(domain = %domain.id, %image, "overwriting a deleted image, which takes time");
        }
        let (pool, id) = (Uuid::nil(), domain.id);
        let purge = PurgeImage {
            pool,
            domain: id,
            image,
            post_zero: zero,
        };
        match self.core.purge(&purge, &mut |_| true) {
            Ok(()) => found.purged_images.push((id, image)),
            Err(error) => found.fail(format!("image {image} of domain {id}"), error),
        }
    }

    fn recover_image(&self, dir: &Path, found: &mut Recovery) {
        self.remove_new_files(dir, found);
        let Ok(names) = fs::list(self.core.files(), dir) else {
            return;
        };
        for name in names.iter().filter(|n| id_of_name(n).is_some()) {
            if !names.contains(&format!("{name}{META_SUFFIX}")) {
                found.halfbaked.push(dir.join(name));
            }
        }
    }

    fn remove_new_files(&self, dir: &Path, found: &mut Recovery) {
        let Ok(names) = fs::list(self.core.files(), dir) else {
            return;
        };
        for name in names.iter().filter(|n| n.ends_with(NEW_SUFFIX)) {
            if let Err(error) = fs::remove_file(self.core.files(), &dir.join(name)) {
                found.fail(dir.join(name).display(), error);
            }
        }
    }

    /// Takes back pools whose creation did not end. Records of pools whose domains are not connected stay.
    pub(crate) fn recover_pools(&self, found: &mut Recovery) {
        let repository = &self.core.settings.repository;
        let names = match self.core.files().list(repository) {
            Ok(names) => names,
            Err(error) => return found.fail(repository.display(), error),
        };
        for name in names.iter().filter(|n| PendingPool::is_file_name(n)) {
            let path = repository.join(name);
            match self.recover_pool(&path) {
                Ok(pool) => found.undone_pools.extend(pool),
                Err(StorageError::StorageDomainDoesNotExist(_)) => {}
                Err(error) => found.fail(path.display(), error),
            }
        }
    }

    fn recover_pool(&self, path: &Path) -> crate::Result<Option<Uuid>> {
        let Some(record) = self.pending_pool(path)? else {
            return Ok(None);
        };
        // one that is being created right now is nobody's leftover
        let locks = record.domains.iter().map(|d| Lock::exclusive(*d));
        let _lock = self.lock(locks.chain([Lock::exclusive(record.pool)]))?;
        let Some(record) = self.pending_pool(path)? else {
            return Ok(None);
        };
        self.undo_pool(&record)?;
        Ok(Some(record.pool))
    }

    fn pending_pool(&self, path: &Path) -> crate::Result<Option<PendingPool>> {
        let failed = |e: String| StorageError::StorageException(e);
        match self.core.files().read(path) {
            Ok(data) => PendingPool::parse(&data)
                .map(Some)
                .map_err(|e| failed(e.to_string())),
            Err(e) if is_missing(&e) => Ok(None),
            Err(e) => Err(failed(e.to_string())),
        }
    }
}
