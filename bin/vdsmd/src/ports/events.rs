//! Changes of VMs and of the host's networks, told to the subscribers of the queue of events.

use std::sync::Arc;

use rpc::Publisher;
use schema::events::{EventDecl, HOST_CONNECTIVITY, Notification, VM_STATUS};
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
        send(
            &self.publisher,
            &self.mismatches,
            self.strict,
            &VM_STATUS,
            event,
        );
    }
}

fn send(
    publisher: &Publisher,
    mismatches: &Teller,
    strict: bool,
    kind: &EventDecl,
    event: &Notification,
) {
    if checks::event(mismatches, strict, kind.prefix, &event.params) {
        publisher.publish_event(&event.method, &event.params);
    }
}

/// Publishes `|net|host_conn|no_id`.
pub(crate) struct HostConnectivity {
    /// To whom.
    pub(crate) publisher: Publisher,
    /// Tells what is not as declared.
    pub(crate) mismatches: Arc<Teller>,
    /// Is an event that is not as declared kept back?
    pub(crate) strict: bool,
}

impl HostConnectivity {
    /// The networks changed.
    pub(crate) fn publish(&self) {
        let now = observe::clock::monotonic().as_millis();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        match schema::events::host_connectivity(now) {
            Ok(event) => send(
                &self.publisher,
                &self.mismatches,
                self.strict,
                &HOST_CONNECTIVITY,
                &event,
            ),
            Err(error) => tracing::error!(%error, "cannot write the event"),
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
