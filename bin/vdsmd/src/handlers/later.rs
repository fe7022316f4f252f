//! Subjects of the API of which nothing is implemented yet: their traits have no method, and their verbs answer
//! that they are declared only. Whoever implements the first verb of a subject gives it a file beside this one and
//! takes its line from here.

use schema::{domain, host, iscsi, lease, lvm, managed, nbd, pool, sdm, vm};

use crate::agent::Agent;

macro_rules! later {
    ($($subject:path),* $(,)?) => { $( impl $subject for Agent {} )* };
}

later! {
    host::storage::HostStorageApi,
    host::devices::HostDeviceApi,
    host::jobs::JobApi,
    host::transfer::TransferApi,
    host::external::ExternalVmApi,
    host::secrets::SecretsApi,
    host::tuning::HostTuningApi,
    vm::hotplug::HotplugApi,
    vm::disks::DiskApi,
    vm::snapshot::SnapshotApi,
    vm::backup::BackupApi,
    vm::migration::MigrationApi,
    vm::guest::GuestApi,
    vm::state::VmStateApi,
    vm::tuning::VmTuningApi,
    pool::master::PoolMasterApi,
    pool::merge::MergeApi,
    pool::ovf::OvfApi,
    domain::devices::DomainDeviceApi,
    sdm::SdmApi,
    lease::LeaseApi,
    lvm::VolumeGroupApi,
    iscsi::IscsiApi,
    managed::ManagedVolumeApi,
    nbd::NbdApi,
}
