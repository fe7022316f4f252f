//! Changes of VMs, told to the subscribers of the queue of events.

use rpc::Publisher;
use vm_model::events::{VmEvent, VmEvents};

use crate::handlers::vm_stats;

/// Publishes `|virt|VM_status|<id>`.
pub(crate) struct VmStatusEvents(pub(crate) Publisher);

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
            Ok(event) => {
                self.0.publish_event(&event.method, &event.params);
            }
            Err(error) => tracing::error!(%vm_id, %error, "cannot write the event"),
        }
    }
}
