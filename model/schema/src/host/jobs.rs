//! Jobs of this host (`Host.getJobs`): what namespace `SDM` and `VM.seal` began. Unlike tasks they need no pool.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::events::{JobInfo, JobType};

namespace! {
    /// Jobs of this host.
    pub trait JobApi = "Host";

    /// Jobs that run, and those that ended and were not collected yet.
    Inline fn get_jobs "getJobs" (GetJobs {
        /// Only of this kind.
        job_type: Option<JobType> = null,
        /// Only these; empty means all.
        job_ids: Vec<Uuid> = [],
    }) -> BTreeMap<Uuid, JobInfo> = later;
}
