//! The end of a VM: its domain stopped, what it used taken back once, its definition and its record
//! removed.
//!
//! Ends come from several sides at once (an event, a verb, the guest); [`Vm::ending`] lets one at a
//! time work, and the record remembers what is done.

use std::sync::Arc;

use vm_model::ports::HypervisorError;

use crate::{
    error::VmError,
    machine::{Input, Life, Verb},
    record::Vm,
    shared::Shared,
    turn::Taken,
    worker,
};

/// `VM.destroy`.
pub(crate) fn destroy(shared: &Shared, vm: &Arc<Vm>, graceful: u32) -> Result<(), VmError> {
    vm.apply(Input::Begin(Verb::Destroy));
    let patience = shared.config.verb_timeout;
    let failed = |why: String| VmError::DestroyFailed { vm_id: vm.id, why };
    if !vm.wait(patience, |core| core.machine.life != Life::Launching) {
        // The wish stands: the launch gives up as soon as it can.
        return Err(failed("its launch does not end".to_owned()));
    }
    let Some(turn) = vm.ending.take(patience) else {
        return Err(failed("another end of it goes on".to_owned()));
    };
    if !shared
        .find(vm.id)
        .is_some_and(|found| Arc::ptr_eq(&found, vm))
    {
        return Err(VmError::NoSuchVm(vm.id));
    }
    stop_domain(shared, vm, graceful).inspect_err(|_| {
        vm.apply(Input::Finished {
            verb: Verb::Destroy,
            done: false,
        });
    })?;
    vm.apply(Input::Destroyed);
    release(shared, vm, &turn);
    undefine(shared, vm)?;
    shared.forget(vm.id);
    Ok(())
}

/// Ends the domain for a reason that the machine knows; the VM stays listed as `Down`.
pub(crate) fn end(shared: &Shared, vm: &Arc<Vm>) {
    let turn = vm.ending.wait();
    if !vm.core().machine.is_running() {
        return;
    }
    match stop_domain(shared, vm, 1) {
        Ok(()) => {
            vm.apply(Input::Destroyed);
            release(shared, vm, &turn);
        }
        Err(error) => tracing::error!(vm = %vm.id, %error, "VM not ended"),
    }
}

/// Takes back what a VM used whose domain is gone. Whoever comes second finds it done.
pub(crate) fn release(shared: &Shared, vm: &Vm, _turn: &Taken<'_>) {
    let volumes = {
        let core = vm.core();
        if core.released || !matches!(core.machine.life, Life::Stopping(_)) {
            return;
        }
        core.volumes.clone()
    };
    worker::save(shared, vm);
    for volume in volumes {
        if let Err(error) = shared.users.release(&volume, vm.id) {
            tracing::error!(vm = %vm.id, %error, "volume not taken back");
        }
    }
    {
        let mut core = vm.core();
        core.released = true;
        vm.apply_to(&mut core, Input::Released);
    }
    worker::save(shared, vm);
}

/// Stops the domain: gracefully so many times, then by force where QEMU had its time to end by SIGTERM
/// (it may still be writing).
fn stop_domain(shared: &Shared, vm: &Vm, graceful: u32) -> Result<(), VmError> {
    let may_be_active = {
        let core = vm.core();
        core.defined && !core.released && !matches!(core.machine.life, Life::Stopping(_))
    };
    if !may_be_active {
        return Ok(());
    }
    let hypervisor = &shared.ports.hypervisor;
    let mut outcome = None;
    for attempt in 0..graceful {
        match hypervisor.destroy(vm.id, true) {
            Ok(()) => return Ok(()),
            Err(error) if is_gone(&error) => return Ok(()),
            Err(error) => {
                tracing::warn!(vm = %vm.id, attempt, %error, "VM not destroyed gracefully");
                outcome = Some(error);
            }
        }
    }
    let outcome = match outcome {
        Some(error) if !is_safe_to_force(&error) => Err(error),
        _ => hypervisor.destroy(vm.id, false),
    };
    match outcome {
        Ok(()) => Ok(()),
        Err(error) if is_gone(&error) => Ok(()),
        Err(error) => {
            if matches!(error, HypervisorError::TimedOut { .. }) {
                vm.note_answer(false);
            }
            Err(VmError::DestroyFailed {
                vm_id: vm.id,
                why: error.to_string(),
            })
        }
    }
}

fn is_gone(error: &HypervisorError) -> bool {
    matches!(
        error,
        HypervisorError::NoDomain(_) | HypervisorError::InvalidState(_)
    )
}

/// Has SIGTERM been tried for as long as libvirt does? `VIR_ERR_OPERATION_FAILED` and
/// `VIR_ERR_SYSTEM_ERROR`, as upstream; also where no answer came in time: libvirt 9 sends SIGTERM
/// first and then waits for whoever asks the same QEMU (statistics), which hangs as long as QEMU does.
fn is_safe_to_force(error: &HypervisorError) -> bool {
    matches!(
        error,
        HypervisorError::Other { code: 9 | 38, .. } | HypervisorError::TimedOut { .. }
    )
}

/// Without this the VM would come back with the next agent: it is no success if it fails.
fn undefine(shared: &Shared, vm: &Vm) -> Result<(), VmError> {
    let _turn = vm.saves.wait();
    if !vm.core().defined {
        return Ok(());
    }
    match shared.ports.hypervisor.undefine(vm.id) {
        Ok(()) | Err(HypervisorError::NoDomain(_)) => {
            vm.core().defined = false;
            Ok(())
        }
        Err(error) => {
            let why = format!("its definition stays: {error}");
            Err(VmError::DestroyFailed { vm_id: vm.id, why })
        }
    }
}
