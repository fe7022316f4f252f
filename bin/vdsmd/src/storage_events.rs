//! What VMs must know of storage: a storage domain that is well again lets those run on that paused when it was not
//! (upstream's `clientIF.contEIOVms`).
//!
//! One thread from the start of the agent to its end. A domain that is monitored for the first time counts as well
//! again, so that VMs that paused before a restart of the agent are resumed too.

use std::{
    io,
    sync::{Arc, Weak, mpsc},
    thread,
};

use storage::{DomainStateChange, StorageManager};
use vm::VmManager;

/// Starts the thread.
pub(crate) fn start(storage: &StorageManager, vms: &Arc<VmManager>) -> io::Result<()> {
    let changes = storage.domain_state_changes();
    let vms = Arc::downgrade(vms);
    thread::Builder::new()
        .name("storage-events".to_owned())
        .spawn(move || run(&changes, &vms))
        .map(drop)
}

/// Until storage or VMs are gone.
fn run(changes: &mpsc::Receiver<DomainStateChange>, vms: &Weak<VmManager>) {
    for change in changes {
        let Some(vms) = vms.upgrade() else {
            return;
        };
        if !change.valid {
            continue;
        }
        let resumed = vms.resume_after_io_error(change.domain);
        if !resumed.is_empty() {
            tracing::info!(domain = %change.domain, vms = ?resumed, "storage is well again: paused VMs are looked after");
        }
    }
}
