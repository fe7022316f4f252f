//! `VM.shutdown`: the guest is asked by its agent, then by ACPI, then (if that is wished) taken down.
//! Each way has its time; what was asked for, the end, or another request ends the waiting. A guest that restarts
//! has not shut down: upstream gives up then, and a reset just before a forced shutdown keeps the VM running.

use std::sync::Arc;

use vm_model::ports::{GuestRequest, HypervisorError, HypervisorResult};

use crate::{
    api::ShutdownRequest,
    ending,
    error::VmError,
    machine::{Input, Verb},
    record::{Core, Vm},
    shared::{Shared, short},
};

/// Begins it; the rest goes on on a thread.
pub(crate) fn begin(
    shared: &Arc<Shared>,
    vm: &Arc<Vm>,
    verb: Verb,
    request: ShutdownRequest,
) -> Result<(), VmError> {
    let ticket = {
        let mut core = vm.core();
        vm.apply_to(&mut core, Input::Begin(verb));
        Ticket {
            power_events: core.power_events,
            reboots: request.reboot.then_some(core.reboots),
        }
    };
    let thread = {
        let (shared, vm) = (Arc::clone(shared), Arc::clone(vm));
        move || run(&shared, &vm, &request, ticket)
    };
    shared
        .spawn(&format!("vm-off-{}", short(vm.id)), thread)
        .map_err(|error| {
            let source = HypervisorError::Other {
                code: 0,
                message: format!("no thread: {error}"),
            };
            VmError::Hypervisor {
                verb: verb.name(),
                source,
            }
        })
}

/// What the counters were when it began; a change ends it.
#[derive(Clone, Copy)]
struct Ticket {
    power_events: u64,
    /// Only of a restart.
    reboots: Option<u64>,
}

impl Ticket {
    fn is_over(self, core: &Core) -> bool {
        core.power_events != self.power_events
            || self.reboots.is_some_and(|before| core.reboots != before)
    }
}

fn run(shared: &Arc<Shared>, vm: &Arc<Vm>, request: &ShutdownRequest, ticket: Ticket) {
    let acpi = vm.core().view.acpi;
    let polite = [
        Some(GuestRequest::Agent),
        acpi.then_some(GuestRequest::Acpi),
    ];
    for how in polite.into_iter().flatten() {
        if over(shared, vm, ticket) {
            return;
        }
        match ask(shared, vm, request.reboot, how) {
            Ok(()) if wait(shared, vm, request, ticket) => return,
            Ok(()) => tracing::info!(vm = %vm.id, ?how, "the guest does not comply in time"),
            Err(error) => tracing::info!(vm = %vm.id, ?how, %error, "the guest cannot be asked"),
        }
    }
    if request.force && !over(shared, vm, ticket) {
        if request.reboot {
            if let Err(error) = shared.ports.hypervisor.reset(vm.id) {
                tracing::error!(vm = %vm.id, %error, "not reset");
            }
        } else {
            // A guest that restarted meanwhile has wiped why it ends.
            vm.apply(Input::Begin(Verb::Shutdown));
            ending::end(shared, vm);
        }
    }
}

fn ask(shared: &Shared, vm: &Vm, reboot: bool, how: GuestRequest) -> HypervisorResult<()> {
    if reboot {
        shared.ports.hypervisor.reboot(vm.id, how)
    } else {
        shared.ports.hypervisor.shutdown(vm.id, how)
    }
}

fn over(shared: &Shared, vm: &Vm, ticket: Ticket) -> bool {
    shared.ends() || ticket.is_over(&vm.core())
}

/// Waits for what was asked, in pieces, so that the end of the manager is noticed.
fn wait(shared: &Shared, vm: &Vm, request: &ShutdownRequest, ticket: Ticket) -> bool {
    const PIECE: std::time::Duration = std::time::Duration::from_millis(500);
    let mut left = request.timeout;
    while !left.is_zero() {
        let piece = left.min(PIECE);
        if vm.wait(piece, |core| ticket.is_over(core)) || shared.ends() {
            return true;
        }
        left = left.saturating_sub(piece);
    }
    false
}
