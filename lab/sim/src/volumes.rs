//! Storage as VMs see it, faked: volumes that exist, and how often each was prepared and taken back.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use uuid::Uuid;
use vm_model::ports::{
    ChainLink, Pdiv, PreparedVolume, VolumeLease, VolumeSize, Volumes, VolumesError,
};

use crate::process::{Gate, Process, lock};

/// What is known of one volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeState {
    /// `raw` or `qcow2`.
    pub format: String,
    /// Is it prepared now?
    pub prepared: bool,
    /// How often it became prepared; being asked again while it is does not count.
    pub prepares: usize,
    /// How often it was taken back; being asked again when it is does not count.
    pub teardowns: usize,
    /// How often it was asked to be taken back.
    pub teardown_calls: usize,
    /// Its size.
    pub size: VolumeSize,
}

/// The storage; outlives processes.
#[derive(Debug, Default)]
pub struct VolumeStore {
    volumes: Mutex<BTreeMap<Key, VolumeState>>,
}

type Key = (Uuid, Uuid, Uuid, Uuid);

fn key(volume: &Pdiv) -> Key {
    (volume.pool, volume.domain, volume.image, volume.volume)
}

impl VolumeStore {
    /// Empty storage.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a volume of that format.
    pub fn add(&self, volume: Pdiv, format: &str) {
        let state = VolumeState {
            format: format.to_owned(),
            prepared: false,
            prepares: 0,
            teardowns: 0,
            teardown_calls: 0,
            size: VolumeSize {
                apparent: 1 << 26,
                allocated: 1 << 16,
            },
        };
        lock(&self.volumes).insert(key(&volume), state);
    }

    /// What is known of it; `None` if it does not exist.
    pub fn state(&self, volume: &Pdiv) -> Option<VolumeState> {
        lock(&self.volumes).get(&key(volume)).cloned()
    }

    /// Lets a volume have another size.
    pub fn resize(&self, volume: &Pdiv, size: VolumeSize) {
        if let Some(state) = lock(&self.volumes).get_mut(&key(volume)) {
            state.size = size;
        }
    }

    /// How many are prepared now.
    pub fn prepared(&self) -> usize {
        lock(&self.volumes)
            .values()
            .filter(|state| state.prepared)
            .count()
    }

    /// The port, for one process.
    pub fn port(self: &Arc<Self>, process: Arc<Process>) -> Arc<dyn Volumes> {
        Arc::new(SimVolumes {
            store: Arc::clone(self),
            process,
        })
    }

    /// Path of a volume, as preparing it gives it.
    pub fn path(volume: &Pdiv) -> PathBuf {
        PathBuf::from(format!(
            "/sim/{}/{}/{}",
            volume.domain, volume.image, volume.volume
        ))
    }
}

struct SimVolumes {
    store: Arc<VolumeStore>,
    process: Arc<Process>,
}

impl SimVolumes {
    /// A call with its faults.
    fn call<T>(
        &self,
        name: &'static str,
        volume: &Pdiv,
        effect: impl FnOnce(&mut BTreeMap<Key, VolumeState>) -> Result<T, VolumesError>,
    ) -> Result<T, VolumesError> {
        let unusable = |why: &str| VolumesError::Unusable {
            id: *volume,
            why: why.to_owned(),
        };
        let refuse = |gate: Gate| match gate {
            Gate::Go(fault) => Ok(fault),
            Gate::Fail(why) => Err(unusable(&why)),
            Gate::TimedOut(_) => Err(unusable("storage does not answer")),
            Gate::Dead => Err(unusable("the process is dead")),
        };
        let fault = refuse(self.process.enter(name))?;
        let result = effect(&mut lock(&self.store.volumes));
        refuse(self.process.leave(fault))?;
        result
    }
}

impl Volumes for SimVolumes {
    fn prepare(&self, volume: &Pdiv) -> Result<PreparedVolume, VolumesError> {
        self.call("prepare", volume, |volumes| {
            let state = volumes
                .get_mut(&key(volume))
                .ok_or(VolumesError::NotFound(*volume))?;
            if !state.prepared {
                state.prepared = true;
                state.prepares += 1;
            }
            let path = VolumeStore::path(volume);
            Ok(PreparedVolume {
                format: state.format.clone(),
                block: false,
                chain: vec![ChainLink {
                    volume: *volume,
                    lease: Some(VolumeLease {
                        path: path.with_extension("lease"),
                        offset: 0,
                    }),
                    path: path.clone(),
                }],
                path,
            })
        })
    }

    fn teardown(&self, volume: &Pdiv) -> Result<(), VolumesError> {
        self.call("teardown", volume, |volumes| {
            if let Some(state) = volumes.get_mut(&key(volume)) {
                state.teardown_calls += 1;
                if state.prepared {
                    state.prepared = false;
                    state.teardowns += 1;
                }
            }
            Ok(())
        })
    }

    fn size(&self, volume: &Pdiv) -> Result<VolumeSize, VolumesError> {
        self.call("size", volume, |volumes| {
            let state = volumes.get(&key(volume));
            state
                .map(|state| state.size)
                .ok_or(VolumesError::NotFound(*volume))
        })
    }
}
