//! Namespace `Lease`: sanlock leases on a domain that belong to VMs or to Engine's jobs (`xleases`).

use uuid::Uuid;

use crate::values::Done;

wire_enum! {
    /// What a lease with metadata is for.
    pub enum LeasePurpose {
        /// A job of Engine.
        Job = "JOB",
    }

    /// State of a job that holds a lease.
    pub enum LeaseJobStatus {
        /// It may still begin.
        Pending = "PENDING",
        /// It failed.
        Failed = "FAILED",
        /// It did what it should.
        Succeeded = "SUCCEEDED",
        /// It must not begin any more.
        Fenced = "FENCED",
    }
}

wire! {
    /// A lease by where it is.
    pub struct LeaseAddress {
        /// Its domain.
        domain_id "sd_id": Uuid,
        /// The lease.
        lease_id: Uuid,
    }

    /// What is written on the lease of a job.
    pub struct LeaseMetadata {
        /// What the lease is for.
        purpose "type": LeasePurpose,
        /// State of the job.
        job_status: LeaseJobStatus,
        /// Counts changes.
        generation: u64,
        /// The job.
        job_id: Uuid,
        /// When it was written first, seconds since 1970.
        created: Option<u64>,
        /// When it was written last, seconds since 1970.
        modified: Option<u64>,
        /// The host that wrote it.
        host_hardware_id: Option<String>,
    }

    /// Where sanlock finds a lease.
    pub struct LeaseInfo {
        /// Its domain.
        domain_id "sd_id": Uuid,
        /// The lease.
        lease_id: Uuid,
        /// File or device that holds it.
        path: String,
        /// Where it begins there, bytes.
        offset: u64,
    }

    /// Who holds a lease.
    pub struct LeaseStatus {
        /// Host ids of the holders: none or one.
        owners: Vec<u32>,
        /// Version of the lease; nothing if it was never held.
        version: Option<u64>,
        /// What is written on it, if it is free.
        metadata: Option<LeaseMetadata>,
    }
}

namespace! {
    /// Leases of VMs and jobs.
    pub trait LeaseApi = "Lease";

    /// Makes a lease; answers the id of the task that does it.
    Storage fn lease_create "create" (Create {
        /// The lease.
        lease: LeaseAddress,
        /// What is written on it.
        metadata: Option<LeaseMetadata> = null,
    }) -> Uuid = later;

    /// Deletes a lease; answers the id of the task that does it.
    Storage fn lease_delete "delete" (Delete {
        /// The lease.
        lease: LeaseAddress,
    }) -> Uuid = later;

    /// Where sanlock finds a lease.
    Storage fn lease_info "info" (Info {
        /// The lease.
        lease: LeaseAddress,
    }) -> LeaseInfo = later;

    /// Who holds a lease.
    Storage fn lease_status "status" (Status {
        /// The lease.
        lease: LeaseAddress,
    }) -> LeaseStatus = later;

    /// Marks a job's lease so that the job cannot begin any more.
    Storage fn lease_fence "fence" (Fence {
        /// The lease.
        lease: LeaseAddress,
        /// What must be written on it.
        metadata: LeaseMetadata,
    }) -> Done = later;

    /// Builds the index of a domain's leases anew; answers the id of the task that does it.
    Storage fn rebuild_leases "rebuild_leases" (RebuildLeases {
        /// The domain.
        domain_id "sd_id": Uuid,
    }) -> Uuid = later;
}
