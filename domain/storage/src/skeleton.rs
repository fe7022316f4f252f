//! Signatures whose bodies follow.
#![allow(clippy::todo, unused_variables, reason = "replaced piece by piece")]

use std::{path::PathBuf, sync::mpsc};

use storage_model::{
    DomainType, Legality, VolumeFormat,
    ports::{ImageInfo, Journal, Measure, UndoStep},
};
use uuid::Uuid;

use crate::{Ports, Result, Settings, StorageManager, types::*};

impl StorageManager {
    /// Makes the repository's folders if they are missing. Reads no storage.
    pub fn open(ports: Ports, settings: Settings) -> Result<Self> {
        todo!()
    }

    /// Finishes or takes back what a killed process left. Call it once, before requests are served and
    /// before tasks are recovered. Never fails as a whole: what went wrong is told in the answer.
    pub fn recover(&self) -> Recovery {
        todo!()
    }

    /// Ends the monitors, keeps host ids and the SPM lease as they are (VMs may hold leases).
    pub fn shutdown(&self) {
        todo!()
    }

    // --- servers

    /// `StoragePool.connectStorageServer`. Fails only if `connections` is empty or the type cannot be used here.
    pub fn connect_storage_server(
        &self,
        domain_type: DomainType,
        connections: &[ServerConnection],
    ) -> Result<Vec<ConnectionStatus>> {
        todo!()
    }

    /// `StoragePool.disconnectStorageServer`. An empty list is answered with an empty list.
    pub fn disconnect_storage_server(
        &self,
        domain_type: DomainType,
        connections: &[ServerConnection],
    ) -> Result<Vec<ConnectionStatus>> {
        todo!()
    }

    // --- domains

    /// `StorageDomain.create`.
    pub fn create_domain(&self, request: &CreateDomain) -> Result<()> {
        todo!()
    }
    /// `StorageDomain.format`: removes a domain that is in no pool (or in any but the connected, with `auto_detach`).
    pub fn format_domain(&self, domain: Uuid, auto_detach: bool) -> Result<()> {
        todo!()
    }
    /// `StorageDomain.validate`.
    pub fn validate_domain(&self, domain: Uuid) -> Result<()> {
        todo!()
    }
    /// `StorageDomain.getInfo`.
    pub fn domain_info(&self, domain: Uuid) -> Result<DomainInfo> {
        todo!()
    }
    /// `StorageDomain.getStats`.
    pub fn domain_stats(&self, domain: Uuid) -> Result<DomainStats> {
        todo!()
    }
    /// `StorageDomain.setDescription`. SPM only.
    pub fn set_domain_description(&self, domain: Uuid, description: &str) -> Result<()> {
        todo!()
    }
    /// `StorageDomain.getImages`.
    pub fn domain_images(&self, domain: Uuid) -> Result<Vec<Uuid>> {
        todo!()
    }
    /// `StorageDomain.getVolumes`, `Image.getVolumes`; nil image means all.
    pub fn domain_volumes(&self, domain: Uuid, image: Uuid) -> Result<Vec<Uuid>> {
        todo!()
    }
    /// `StorageDomain.dump`.
    pub fn dump_domain(&self, domain: Uuid) -> Result<DomainDump> {
        todo!()
    }
    /// `Host.getStorageDomains`.
    pub fn storage_domains(&self, filter: &DomainFilter) -> Result<Vec<Uuid>> {
        todo!()
    }

    // --- health

    /// `Host.getStorageRepoStats`: domains that are monitored, all or those given. Never touches storage.
    pub fn repo_stats(&self, domains: &[Uuid]) -> Vec<(Uuid, DomainHealth)> {
        todo!()
    }
    /// `Host.startMonitoringDomain`.
    pub fn start_monitoring_domain(&self, domain: Uuid, host_id: i64) -> Result<()> {
        todo!()
    }
    /// `Host.stopMonitoringDomain`.
    pub fn stop_monitoring_domain(&self, domain: Uuid) -> Result<()> {
        todo!()
    }
    /// Changes of health from now on. Each call makes one more independent stream.
    pub fn domain_state_changes(&self) -> mpsc::Receiver<DomainStateChange> {
        todo!()
    }

    // --- pools

    /// `StoragePool.create`.
    pub fn create_pool(&self, request: &CreatePool) -> Result<()> {
        todo!()
    }
    /// `StoragePool.connect`. Again with the same pool: refreshes it.
    pub fn connect_pool(&self, request: &ConnectPool) -> Result<()> {
        todo!()
    }
    /// `StoragePool.disconnect`. A pool that is not connected is fine.
    pub fn disconnect_pool(&self, pool: Uuid) -> Result<()> {
        todo!()
    }
    /// `StoragePool.destroy`: detaches all domains, the master last, and disconnects. SPM must be stopped? No: started.
    pub fn destroy_pool(&self, pool: Uuid, host_id: i64) -> Result<()> {
        todo!()
    }
    /// `Host.getConnectedStoragePools`.
    pub fn connected_pools(&self) -> Vec<Uuid> {
        todo!()
    }
    /// `StoragePool.getInfo`.
    pub fn pool_info(&self, pool: Uuid) -> Result<PoolInfo> {
        todo!()
    }
    /// `StoragePool.getSpmStatus`.
    pub fn spm_status(&self, pool: Uuid) -> Result<SpmStatus> {
        todo!()
    }
    /// What `StoragePool.spmStart` checks before its task starts: connected, not SPM already, version possible.
    pub fn check_spm_start(&self, pool: Uuid, domain_version: Option<u32>) -> Result<()> {
        todo!()
    }
    /// The task of `StoragePool.spmStart`.
    pub fn spm_start(&self, pool: Uuid, domain_version: Option<u32>) -> Result<()> {
        todo!()
    }
    /// `StoragePool.spmStop`. Whether tasks still run is the caller's question.
    pub fn spm_stop(&self, pool: Uuid) -> Result<()> {
        todo!()
    }
    /// `StorageDomain.attach`. SPM only.
    pub fn attach_domain(&self, domain: Uuid, pool: Uuid) -> Result<()> {
        todo!()
    }
    /// `StorageDomain.activate`. SPM only.
    pub fn activate_domain(&self, domain: Uuid, pool: Uuid) -> Result<()> {
        todo!()
    }
    /// `StorageDomain.deactivate`. SPM only. The master with a nil new master is left as it is, as upstream does.
    pub fn deactivate_domain(
        &self,
        domain: Uuid,
        pool: Uuid,
        new_master: Uuid,
        master_version: i64,
    ) -> Result<()> {
        todo!()
    }
    /// `StorageDomain.detach`; `force` with a nil pool takes it out of whatever pool it says it is in. SPM only, unless so.
    pub fn detach_domain(&self, domain: Uuid, pool: Uuid, force: bool) -> Result<()> {
        todo!()
    }

    // --- volumes

    /// What `Volume.create` checks before its task starts.
    pub fn check_create_volume(&self, request: &CreateVolume) -> Result<()> {
        todo!()
    }
    /// The task of `Volume.create`.
    pub fn create_volume(&self, request: &CreateVolume, journal: &dyn Journal) -> Result<Uuid> {
        todo!()
    }
    /// What verbs of the SPM check before their task starts: pool connected, domain there, we are SPM.
    /// For `Volume.delete`, `Image.deleteVolumes`, `Volume.extendSize`.
    pub fn check_spm_task(&self, pool: Uuid, domain: Uuid) -> Result<()> {
        todo!()
    }
    /// The task of `Volume.delete` and `Image.deleteVolumes`.
    #[allow(clippy::too_many_arguments, reason = "as the verb")]
    pub fn delete_volumes(
        &self,
        pool: Uuid,
        domain: Uuid,
        image: Uuid,
        volumes: &[Uuid],
        post_zero: bool,
        force: bool,
        journal: &dyn Journal,
    ) -> Result<()> {
        todo!()
    }
    /// `Volume.getInfo`.
    pub fn volume_info(&self, id: VolumeId) -> Result<VolumeInfo> {
        todo!()
    }
    /// `Volume.getSize`.
    pub fn volume_size(&self, id: VolumeId) -> Result<VolumeSize> {
        todo!()
    }
    /// The task of `Volume.extendSize`.
    pub fn extend_volume_size(
        &self,
        pool: Uuid,
        id: VolumeId,
        new_size: u64,
        journal: &dyn Journal,
    ) -> Result<()> {
        todo!()
    }
    /// `Volume.updateSize` (qcow2 leaf): the new virtual size.
    pub fn update_volume_size(&self, pool: Uuid, id: VolumeId, new_size: u64) -> Result<u64> {
        todo!()
    }
    /// `Volume.setSize`: writes the capacity into the metadata, rounded up to 4096.
    pub fn set_volume_size(&self, id: VolumeId, capacity: u64) -> Result<()> {
        todo!()
    }
    /// `Volume.setDescription`. SPM only.
    pub fn set_volume_description(
        &self,
        pool: Uuid,
        id: VolumeId,
        description: &str,
    ) -> Result<()> {
        todo!()
    }
    /// `Volume.setLegality`. SPM only.
    pub fn set_volume_legality(&self, pool: Uuid, id: VolumeId, legality: Legality) -> Result<()> {
        todo!()
    }
    /// `Volume.refresh`: nothing to do for files but to see that the volume is there.
    pub fn refresh_volume(&self, id: VolumeId) -> Result<()> {
        todo!()
    }
    /// `Volume.measure`; `base` only as the parent itself (measures without the chain then).
    pub fn measure_volume(
        &self,
        id: VolumeId,
        format: VolumeFormat,
        backing: bool,
        base: Option<Uuid>,
    ) -> Result<Measure> {
        todo!()
    }
    /// `Volume.getQemuImageInfo`.
    pub fn qemu_image_info(&self, id: VolumeId) -> Result<ImageInfo> {
        todo!()
    }

    // --- images

    /// `Image.prepare`. A nil pool (also: for VMs found running after a restart) needs no connected pool.
    pub fn prepare_image(
        &self,
        pool: Uuid,
        leaf: VolumeId,
        allow_illegal: bool,
    ) -> Result<PreparedImage> {
        todo!()
    }
    /// `Image.teardown`. Idempotent.
    pub fn teardown_image(&self, domain: Uuid, image: Uuid) -> Result<()> {
        todo!()
    }
    /// The first half of `Image.delete`, before its task: checks, and takes the image out of sight by renaming.
    pub fn delete_image(
        &self,
        pool: Uuid,
        domain: Uuid,
        image: Uuid,
        post_zero: bool,
        discard: bool,
    ) -> Result<PurgeImage> {
        todo!()
    }
    /// The task of `Image.delete`.
    pub fn purge_image(&self, purge: &PurgeImage, journal: &dyn Journal) -> Result<()> {
        todo!()
    }

    // --- tasks

    /// Runs one undo step. Idempotent; means the same after a restart.
    pub fn undo(&self, step: &UndoStep) -> Result<()> {
        todo!()
    }

    /// Folder of a connected pool (`<repository>/<pool>`).
    pub fn pool_path(&self, pool: Uuid) -> PathBuf {
        self.settings.repository.join(pool.to_string())
    }
}
