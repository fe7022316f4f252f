//! How a verb acts on a domain: permitted by the machine, in its turn, and what came of it told to
//! the machine.

use vm_model::ports::{DomainRunState, HypervisorError, HypervisorResult};

use crate::{
    error::VmError,
    machine::{Input, Refusal, Verb, permit},
    record::{Job, Vm},
    shared::Shared,
};

/// Waits its turn, then acts on the domain and tells the machine what came of it.
pub(crate) fn act<T>(
    shared: &Shared,
    vm: &Vm,
    verb: Verb,
    call: impl FnOnce() -> HypervisorResult<T>,
) -> Result<T, VmError> {
    check(vm, verb)?;
    let timed_out = VmError::TimedOut {
        vm_id: vm.id,
        verb: verb.name(),
    };
    let _turn = vm.verbs.take(shared.config.verb_timeout).ok_or(timed_out)?;
    check(vm, verb)?;
    vm.apply(Input::Begin(verb));
    let result = call();
    match &result {
        Ok(_) => vm.note_answer(true),
        Err(HypervisorError::TimedOut { .. }) => vm.note_answer(false),
        Err(_) => {}
    }
    vm.apply(Input::Finished {
        verb,
        done: result.is_ok(),
    });
    result.map_err(|error| explain(vm, verb, error))
}

/// `VM.cont`. One that runs already is content.
pub(crate) fn cont(shared: &Shared, vm: &Vm) -> Result<(), VmError> {
    let hypervisor = &shared.ports.hypervisor;
    act(shared, vm, Verb::Cont, || match hypervisor.resume(vm.id) {
        Err(HypervisorError::InvalidState(why)) => match hypervisor.state(vm.id)?.state {
            DomainRunState::Running => Ok(()),
            _ => Err(HypervisorError::InvalidState(why)),
        },
        other => other,
    })
}

fn explain(vm: &Vm, verb: Verb, error: HypervisorError) -> VmError {
    let vm_id = vm.id;
    // What was asked may still happen; and a domain that is gone has not told yet.
    vm.order(&mut vm.core(), Job::Check);
    match error {
        error if verb == Verb::Reset => VmError::ResetFailed {
            vm_id,
            why: error.to_string(),
        },
        HypervisorError::NoDomain(_) => VmError::VmIsDown(vm_id),
        HypervisorError::AgentUnresponsive(_) => VmError::AgentUnresponsive(vm_id),
        HypervisorError::TimedOut { .. } => VmError::TimedOut {
            vm_id,
            verb: verb.name(),
        },
        source => VmError::Hypervisor {
            verb: verb.name(),
            source,
        },
    }
}

/// May the verb be tried now?
pub(crate) fn check(vm: &Vm, verb: Verb) -> Result<(), VmError> {
    let permitted = permit(&vm.core().machine, verb);
    permitted.map_err(|refusal| match refusal {
        Refusal::Gone => VmError::NoSuchVm(vm.id),
        Refusal::IsDown => VmError::VmIsDown(vm.id),
        Refusal::WrongState(status) if verb == Verb::Reset => VmError::ResetFailed {
            vm_id: vm.id,
            why: format!("it is {status}"),
        },
        Refusal::WrongState(status) => VmError::WrongState {
            verb: verb.name(),
            status,
        },
    })
}
