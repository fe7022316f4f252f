//! The start of a VM, on its own thread.
//!
//! Intent first: a placeholder domain is defined with metadata that says `launching` and names all
//! volumes, before the first of them is touched. Then volumes are prepared, the real domain is
//! defined and started, and the metadata says `running`. Killed anywhere between, the next agent
//! finds either nothing, or a domain that says what to undo, or a VM that runs.

use std::{sync::Arc, time::Duration};

use vm_model::{
    domain::DomainXml,
    exit::{ExitInfo, ExitReason},
    metadata::VM_URI,
    ports::{ChainLink, DomainRunState, DomainState, DomainSummary, Hypervisor, HypervisorError},
    preprocess,
    status::PauseCode,
};

use crate::{
    intent,
    machine::{Cpus, Input},
    record::{Job, Vm},
    shared::Shared,
    worker,
};

/// Pause between two tries to learn whether a start has happened.
const SETTLE_PAUSE: Duration = Duration::from_millis(500);

/// Starts it; what comes of it is told by events.
pub(crate) fn launch(shared: &Arc<Shared>, vm: &Arc<Vm>) {
    match start(shared, vm) {
        Ok(cpus) => {
            let mut core = vm.core();
            vm.apply_to(&mut core, Input::Launched(cpus));
            // It may have ended between the last look and now.
            vm.order(&mut core, Job::Check);
        }
        Err(exit) => {
            tracing::warn!(vm = %vm.id, message = %exit.message, "VM not started");
            vm.apply(Input::LaunchFailed(exit));
        }
    }
}

fn start(shared: &Shared, vm: &Vm) -> Result<Cpus, ExitInfo> {
    let (xml, paused) = {
        let core = vm.core();
        (core.given_xml.clone(), core.launch_paused)
    };
    let mut domain = DomainXml::parse(&xml).map_err(generic)?;
    preprocess::prepare(&mut domain, &shared.host_options()).map_err(generic)?;
    give_up_if_asked(vm)?;
    clear_stale(shared, vm, &domain.name())?;
    define_placeholder(shared, vm, &mut domain)?;
    prepare_volumes(shared, vm, &mut domain)?;
    give_up_if_asked(vm)?;
    shared
        .ports
        .hypervisor
        .define(&domain.to_string())
        .map_err(refused)?;
    give_up_if_asked(vm)?;
    run(shared, vm, paused)
}

fn define_placeholder(shared: &Shared, vm: &Vm, domain: &mut DomainXml) -> Result<(), ExitInfo> {
    {
        let mut core = vm.core();
        let core = &mut *core;
        core.metadata = domain.metadata();
        core.machine.destroy_on_reboot = intent::destroy_on_reboot(&core.metadata);
        intent::write(&mut core.metadata, &core.machine);
        domain.set_metadata(&core.metadata);
        // Even if the answer does not come, it may be defined.
        core.defined = true;
    }
    match shared
        .ports
        .hypervisor
        .define(&preprocess::placeholder(domain))
    {
        Ok(_) => Ok(()),
        Err(error) => {
            let unsure = matches!(
                error,
                HypervisorError::TimedOut { .. } | HypervisorError::Disconnected(_)
            );
            vm.core().defined = unsure;
            Err(refused(error))
        }
    }
}

fn prepare_volumes(shared: &Shared, vm: &Vm, domain: &mut DomainXml) -> Result<(), ExitInfo> {
    let drives = domain.drives().map_err(generic)?;
    let mut metadata = domain.metadata();
    let mut links: Vec<ChainLink> = Vec::new();
    for drive in &drives {
        let Some(pdiv) = drive.pdiv() else { continue };
        give_up_if_asked(vm)?;
        vm.core().volumes.push(pdiv);
        let volume = shared.users.prepare(&pdiv, vm.id).map_err(|error| {
            let message = format!("Bad volume specification: drive {}: {error}", drive.name);
            ExitInfo::error(ExitReason::GenericError, message)
        })?;
        preprocess::place_volume(domain, drive, &volume).map_err(generic)?;
        metadata.set_volume_chain(&drive.name, &volume.chain);
        links.extend(volume.chain);
    }
    preprocess::place_leases(domain, &links).map_err(generic)?;
    domain.set_metadata(&metadata);
    vm.core().metadata = metadata;
    Ok(())
}

fn run(shared: &Shared, vm: &Vm, paused: bool) -> Result<Cpus, ExitInfo> {
    match shared.ports.hypervisor.start(vm.id, paused) {
        Ok(()) => {}
        Err(HypervisorError::TimedOut { .. } | HypervisorError::Disconnected(_)) => {
            settle(shared, vm)?;
        }
        Err(error) => return Err(refused(error)),
    }
    if vm.core().machine.destroy_requested {
        stop(shared, vm);
        return Err(ExitInfo::of(ExitReason::DestroyedOnStartup));
    }
    look(shared, vm)
}

/// The start may have happened, or may still: nothing is taken back before that is known.
fn settle(shared: &Shared, vm: &Vm) -> Result<(), ExitInfo> {
    loop {
        match shared.ports.hypervisor.state(vm.id) {
            Ok(state) if is_active(state) => return Ok(()),
            // Destroying waits for a start that is still under way: only then it is certain.
            Ok(_) if stop(shared, vm) => {
                return Err(ExitInfo::of(ExitReason::LibvirtStartFailed));
            }
            Err(HypervisorError::NoDomain(_)) => {
                return Err(ExitInfo::of(ExitReason::LibvirtStartFailed));
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(vm = %vm.id, %error, "is it started?"),
        }
        if vm.core().machine.destroy_requested && stop(shared, vm) {
            return Err(ExitInfo::of(ExitReason::DestroyedOnStartup));
        }
        if shared.sleep(SETTLE_PAUSE) {
            // The next agent finds out.
            return Err(ExitInfo::of(ExitReason::GenericError));
        }
    }
}

/// How the domain is right after its start.
fn look(shared: &Shared, vm: &Vm) -> Result<Cpus, ExitInfo> {
    if let Err(error) = worker::refresh(shared, vm) {
        tracing::warn!(vm = %vm.id, %error, "live XML not read");
    }
    let since = vm.now().monotonic;
    match shared.ports.hypervisor.state(vm.id) {
        Ok(DomainState {
            state: DomainRunState::Paused,
            ..
        }) => Ok(Cpus::Paused {
            code: PauseCode::NoErr,
            since,
        }),
        Ok(state) if !is_active(state) => Err(ExitInfo::of(ExitReason::LostQemuConnection)),
        Err(HypervisorError::NoDomain(_)) => Err(ExitInfo::of(ExitReason::LibvirtDomainMissing)),
        Ok(_) | Err(_) => Ok(Cpus::Running),
    }
}

/// Ends a domain whose VM is not wanted any more; `false` if it may still be there.
fn stop(shared: &Shared, vm: &Vm) -> bool {
    match shared.ports.hypervisor.destroy(vm.id, false) {
        Ok(()) | Err(HypervisorError::NoDomain(_) | HypervisorError::InvalidState(_)) => true,
        Err(error) => {
            tracing::warn!(vm = %vm.id, %error, "not destroyed during its startup");
            false
        }
    }
}

/// Takes away what an earlier agent left of this VM; refuses to touch what is not ours or runs.
fn clear_stale(shared: &Shared, vm: &Vm, name: &str) -> Result<(), ExitInfo> {
    let hypervisor = &shared.ports.hypervisor;
    let domains = hypervisor.list().map_err(refused)?;
    for stale in domains
        .iter()
        .filter(|domain| domain.id == vm.id || domain.name == name)
    {
        let exists = |why: &str| {
            let message = format!("Virtual machine already exists: domain {} {why}", stale.id);
            ExitInfo::error(ExitReason::GenericError, message)
        };
        if is_active(stale.state) {
            return Err(exists("runs"));
        }
        if stale.id != vm.id && shared.find(stale.id).is_some() {
            return Err(exists("has the same name"));
        }
        if !undo(shared, &**hypervisor, stale).map_err(refused)? {
            return Err(exists("is not ours"));
        }
    }
    Ok(())
}

/// Takes back the volumes of a domain that does not run, then its definition. `false`, and nothing
/// is touched, if it is not ours.
pub(crate) fn undo(
    shared: &Shared,
    hypervisor: &dyn Hypervisor,
    domain: &DomainSummary,
) -> Result<bool, HypervisorError> {
    let Some(xml) = hypervisor.metadata(domain.id, VM_URI)? else {
        return Ok(false);
    };
    let Ok(metadata) = vm_model::metadata::VmMetadata::parse(&xml) else {
        return Ok(false);
    };
    for volume in metadata.volumes() {
        shared
            .users
            .release(&volume, domain.id)
            .map_err(|error| HypervisorError::Other {
                code: 0,
                message: format!("domain {}: its volumes are kept: {error}", domain.id),
            })?;
    }
    match hypervisor.undefine(domain.id) {
        Ok(()) | Err(HypervisorError::NoDomain(_)) => Ok(true),
        Err(error) => Err(error),
    }
}

fn give_up_if_asked(vm: &Vm) -> Result<(), ExitInfo> {
    if vm.core().machine.destroy_requested {
        Err(ExitInfo::of(ExitReason::DestroyedOnStartup))
    } else {
        Ok(())
    }
}

/// Is there a QEMU process?
pub(crate) fn is_active(state: DomainState) -> bool {
    !matches!(
        state.state,
        DomainRunState::Shutoff | DomainRunState::NoState
    )
}

fn refused(error: HypervisorError) -> ExitInfo {
    match error {
        HypervisorError::NoDomain(_) => ExitInfo::of(ExitReason::LibvirtDomainMissing),
        error => generic(error),
    }
}

fn generic(error: impl std::fmt::Display) -> ExitInfo {
    ExitInfo::error(ExitReason::GenericError, error.to_string())
}
