//! `VM.shutdown`: the guest is asked by its agent, then by ACPI, then (if that is wished) taken down.
//! Each way has its time; a reboot, an end, or another request ends the waiting.

use std::sync::Arc;

use vm_model::ports::{GuestRequest, HypervisorError, HypervisorResult};

use crate::{
    api::ShutdownRequest,
    ending,
    error::VmError,
    machine::{Input, Verb},
    record::Vm,
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
        core.power_events
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

fn run(shared: &Arc<Shared>, vm: &Arc<Vm>, request: &ShutdownRequest, ticket: u64) {
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

fn over(shared: &Shared, vm: &Vm, ticket: u64) -> bool {
    shared.ends() || vm.core().power_events != ticket
}

/// Waits for what was asked, in pieces, so that the end of the manager is noticed.
fn wait(shared: &Shared, vm: &Vm, request: &ShutdownRequest, ticket: u64) -> bool {
    const PIECE: std::time::Duration = std::time::Duration::from_millis(500);
    let mut left = request.timeout;
    while !left.is_zero() {
        let piece = left.min(PIECE);
        if vm.wait(piece, |core| core.power_events != ticket) || shared.ends() {
            return true;
        }
        left = left.saturating_sub(piece);
    }
    false
}
