//! What the agent tells of itself: notifications on the queue of events.
//!
//! The method of a notification is a path that ends in the id of its subject, e.g. `|virt|VM_status|<vm id>`;
//! its parameters carry `notify_time`, milliseconds of the monotonic clock.

use std::collections::BTreeMap;

use serde::Serialize;
use uuid::Uuid;

use crate::{
    desc::{Type, Wire},
    error::VdsmError,
    verb::{Raw, encode},
    vm::VmStats,
};

/// A kind of event, declared.
#[derive(Debug)]
pub struct EventDecl {
    /// The beginning of its method; the id of the subject follows.
    pub prefix: &'static str,
    /// When it is sent.
    pub doc: &'static str,
    /// Its parameters, without `notify_time`.
    pub params: &'static Type,
}

/// A VM changed its state, or figures of it did.
pub static VM_STATUS: EventDecl = EventDecl {
    prefix: "|virt|VM_status|",
    doc: "A VM changed its state, or figures of it did. Only what changed is told.",
    params: <BTreeMap<Uuid, VmStats> as Wire>::TYPE,
};

/// How a migration goes.
pub static VM_MIGRATION_STATUS: EventDecl = EventDecl {
    prefix: "|virt|VM_migration_status|",
    doc: "How the migration of a VM away from this host goes.",
    params: <BTreeMap<Uuid, MigrationProgress> as Wire>::TYPE,
};

/// The host's networks changed.
pub static HOST_CONNECTIVITY: EventDecl = EventDecl {
    prefix: "|net|host_conn|",
    doc: "The host's networks changed: Engine reads the capabilities again.",
    params: &Type::Dict,
};

/// A job changed its state.
pub static JOB_STATUS: EventDecl = EventDecl {
    prefix: "|jobs|status|",
    doc: "A job changed its state.",
    params: JobInfo::TYPE,
};

/// All kinds of events.
pub static EVENTS: &[&EventDecl] = &[
    &VM_STATUS,
    &VM_MIGRATION_STATUS,
    &HOST_CONNECTIVITY,
    &JOB_STATUS,
];

wire_enum! {
    /// State of a job.
    pub enum JobStatus {
        /// It waits for its turn.
        Pending = "pending",
        /// It runs.
        Running = "running",
        /// It did what it should.
        Done = "done",
        /// It is being stopped.
        Aborting = "aborting",
        /// It was stopped.
        Aborted = "aborted",
        /// It failed.
        Failed = "failed",
    }

    /// Kind of a job.
    pub enum JobType {
        /// On volumes and domains.
        Storage = "storage",
        /// Converts a VM.
        V2v = "v2v",
        /// On a VM that does not run.
        Virt = "virt",
    }
}

wire! {
    /// A job (`Host.getJobs`, `|jobs|status|<id>`).
    pub struct JobInfo {
        /// The job.
        id: Uuid,
        /// Its state.
        status: JobStatus,
        /// Its kind.
        job_type: JobType,
        /// What it does.
        description: String,
        /// Percent done, as a decimal number: Engine reads `10.0`, and null out of `10`.
        progress: Option<f64>,
        /// Why it failed.
        error: Option<JobError>,
    }

    /// How a migration goes.
    pub struct MigrationProgress {
        /// Percent.
        progress: u32,
        /// Does it run at the destination already, fetching its memory as it goes?
        postcopy: bool,
        /// Milliseconds that the CPUs stood still; known in the end.
        downtime: Option<u32>,
    }

    /// Why a job failed.
    pub struct JobError {
        /// VDSM's code.
        code: i32,
        /// Its text.
        message: String,
    }
}

/// A notification, ready for the wire.
#[derive(Debug, Clone)]
pub struct Notification {
    /// Its method.
    pub method: String,
    /// Its parameters.
    pub params: Raw,
}

/// The event of a VM's state or figures. `notify_time` is milliseconds of the monotonic clock.
///
/// # Errors
/// -32603 if the figures cannot be written as JSON.
pub fn vm_status(id: Uuid, stats: VmStats, notify_time: u64) -> Result<Notification, VdsmError> {
    let of_vm = BTreeMap::from([(id, stats)]);
    notification(&VM_STATUS, &id.to_string(), &of_vm, notify_time)
}

/// The event of a migration's progress.
///
/// # Errors
/// -32603 if it cannot be written as JSON.
pub fn vm_migration_status(
    id: Uuid,
    progress: MigrationProgress,
    notify_time: u64,
) -> Result<Notification, VdsmError> {
    let of_vm = BTreeMap::from([(id, progress)]);
    notification(&VM_MIGRATION_STATUS, &id.to_string(), &of_vm, notify_time)
}

/// The event of changed networks.
///
/// # Errors
/// -32603 if it cannot be written as JSON.
pub fn host_connectivity(notify_time: u64) -> Result<Notification, VdsmError> {
    notification(
        &HOST_CONNECTIVITY,
        "no_id",
        &BTreeMap::<String, String>::new(),
        notify_time,
    )
}

/// The event of a job.
///
/// # Errors
/// -32603 if the job cannot be written as JSON.
pub fn job_status(job: &JobInfo, notify_time: u64) -> Result<Notification, VdsmError> {
    notification(&JOB_STATUS, &job.id.to_string(), job, notify_time)
}

/// Parameters beside the time at which they were so.
#[derive(Serialize)]
struct Timed<'a, T> {
    #[serde(flatten)]
    params: &'a T,
    notify_time: u64,
}

fn notification<T: Serialize>(
    decl: &EventDecl,
    subject: &str,
    params: &T,
    notify_time: u64,
) -> Result<Notification, VdsmError> {
    let method = format!("{}{subject}", decl.prefix);
    Ok(Notification {
        method,
        params: encode(&Timed {
            params,
            notify_time,
        })?,
    })
}
