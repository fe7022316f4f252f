//! Who uses which volume. A volume that two VMs share is taken back when the last one ends, and
//! preparing one and taking it back never cross.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use vm_model::ports::{Pdiv, PreparedVolume, VmId, Volumes, VolumesError};

type Entry = Arc<Mutex<HashSet<VmId>>>;

/// The users of all volumes. The map's lock is never held across a call to storage; that of one
/// volume is, so that storage that hangs holds only those who want that volume.
pub(crate) struct VolumeUsers {
    volumes: Arc<dyn Volumes>,
    entries: Mutex<HashMap<Pdiv, Entry>>,
}

impl VolumeUsers {
    pub(crate) fn new(volumes: Arc<dyn Volumes>) -> Self {
        Self {
            volumes,
            entries: Mutex::default(),
        }
    }

    /// Prepares the volume for the VM.
    pub(crate) fn prepare(&self, volume: &Pdiv, vm: VmId) -> Result<PreparedVolume, VolumesError> {
        let entry = self.entry(volume);
        let mut users = lock(&entry);
        users.insert(vm);
        self.volumes.prepare(volume)
    }

    /// The VM uses it already: an earlier process prepared it.
    pub(crate) fn adopt(&self, volume: &Pdiv, vm: VmId) {
        lock(&self.entry(volume)).insert(vm);
    }

    /// The VM does not use it any more. On an error it still counts as a user.
    pub(crate) fn release(&self, volume: &Pdiv, vm: VmId) -> Result<(), VolumesError> {
        let entry = self.entry(volume);
        let mut users = lock(&entry);
        if users.iter().all(|user| *user == vm) {
            self.volumes.teardown(volume)?;
        }
        users.remove(&vm);
        let unused = users.is_empty();
        drop(users);
        if unused {
            self.forget(volume);
        }
        Ok(())
    }

    fn entry(&self, volume: &Pdiv) -> Entry {
        Arc::clone(lock(&self.entries).entry(*volume).or_default())
    }

    /// Drops the entry unless someone has taken hold of it since.
    fn forget(&self, volume: &Pdiv) {
        let mut entries = lock(&self.entries);
        let idle = entries
            .get(volume)
            .is_some_and(|entry| Arc::strong_count(entry) == 2 && lock(entry).is_empty());
        if idle {
            entries.remove(volume);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
