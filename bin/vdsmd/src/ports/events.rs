//! Changes of VMs, told to the subscribers of the queue of events.

use std::sync::Arc;

use rpc::Publisher;
use schema::events::{Notification, VM_STATUS};
use vm_model::events::{VmEvent, VmEvents};

use crate::{
    checks::{self, Teller},
    handlers::vm_stats,
};

/// Publishes `|virt|VM_status|<id>`.
pub(crate) struct VmStatusEvents {
    /// To whom.
    pub(crate) publisher: Publisher,
    /// Tells what is not as declared.
    pub(crate) mismatches: Arc<Teller>,
    /// Is an event that is not as declared kept back?
    pub(crate) strict: bool,
}

impl VmStatusEvents {
    fn send(&self, event: &Notification) {
        if checks::event(
            &self.mismatches,
            self.strict,
            VM_STATUS.prefix,
            &event.params,
        ) {
            self.publisher.publish_event(&event.method, &event.params);
        }
    }
}

impl VmEvents for VmStatusEvents {
    fn publish(&self, event: VmEvent) {
        let VmEvent {
            vm_id,
            notify_time_ms,
            status,
            detail,
        } = event;
        tracing::info!(target: "vdsm.vm", %vm_id, status = status.as_str(), "status");
        let stats = vm_stats::event(vm_id, status, detail);
        match schema::events::vm_status(vm_id, stats, notify_time_ms) {
            Ok(event) => self.send(&event),
            Err(error) => tracing::error!(%vm_id, %error, "cannot write the event"),
        }
    }
}
