//! The thread of one VM: everything slow that nobody waits for. A domain that hangs holds this
//! thread, and no other VM's.

use std::sync::Arc;

use vm_model::{
    metadata::{VM_PREFIX, VM_URI},
    ports::{HypervisorError, XmlKind},
};

use crate::{
    ending, intent, launch,
    machine::Input,
    record::{Job, View, Vm},
    resume,
    shared::{Inbox, Shared},
};

/// Until [`Job::Stop`].
pub(crate) fn run(shared: &Arc<Shared>, vm: &Arc<Vm>, inbox: &Inbox) {
    while let Ok(job) = inbox.recv() {
        vm.core().queued.retain(|queued| *queued != job);
        if job == Job::Stop || shared.ends() {
            return;
        }
        match job {
            Job::Launch => launch::launch(shared, vm),
            Job::SaveMetadata => save(shared, vm),
            Job::Check => check(shared, vm),
            Job::Release => ending::release(shared, vm, &vm.ending.wait()),
            Job::Destroy => ending::end(shared, vm),
            Job::Resume => resume::resume(shared, vm),
            Job::Stop => {}
        }
    }
}

/// Writes what the agent knows into the domain's metadata.
pub(crate) fn save(shared: &Shared, vm: &Vm) {
    let _turn = vm.saves.wait();
    let xml = {
        let mut core = vm.core();
        if !core.defined {
            return;
        }
        let core = &mut *core;
        intent::write(&mut core.metadata, &core.machine);
        core.metadata.to_libvirt()
    };
    let hypervisor = &shared.ports.hypervisor;
    match hypervisor.set_metadata(vm.id, VM_PREFIX, VM_URI, Some(&xml)) {
        Ok(()) | Err(HypervisorError::NoDomain(_)) => {}
        Err(error) => tracing::warn!(vm = %vm.id, %error, "metadata not saved"),
    }
}

/// Asks the hypervisor how the domain is; for when events may have been missed.
pub(crate) fn check(shared: &Shared, vm: &Vm) {
    let Some(_turn) = vm.verbs.take(shared.config.verb_timeout) else {
        return;
    };
    if !vm.core().machine.is_running() {
        return;
    }
    match shared.ports.hypervisor.state(vm.id) {
        // libvirt knows it without asking QEMU: no sign that the domain answers.
        Ok(state) => vm.apply(Input::Observed(state)),
        Err(HypervisorError::NoDomain(_)) => vm.apply(Input::Missing),
        Err(HypervisorError::TimedOut { .. }) => vm.note_answer(false),
        Err(error) => tracing::debug!(vm = %vm.id, %error, "state not known"),
    }
}

/// Reads the live XML anew.
pub(crate) fn refresh(shared: &Shared, vm: &Vm) -> Result<(), HypervisorError> {
    let xml = shared.ports.hypervisor.xml(vm.id, XmlKind::Live)?;
    match View::live(&xml) {
        Ok(view) => vm.core().view = Arc::new(view),
        Err(error) => tracing::warn!(vm = %vm.id, %error, "live XML not understood"),
    }
    Ok(())
}
