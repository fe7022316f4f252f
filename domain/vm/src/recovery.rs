//! After a start: every VM is found again from libvirt alone.
//!
//! | domain | metadata | what becomes of it |
//! |---|---|---|
//! | any | none of ours | external: left alone, not listed |
//! | active | ours | runs on, listed as before |
//! | not active | phase `launching` | was never started: volumes and definition are taken back |
//! | not active | phase `releasing` | `Down` as the metadata says; volumes are taken back once more |
//! | not active | phase `down` | `Down` as the metadata says |
//! | not active | `running`, or none (a Python agent's) | `Down` as the metadata or libvirt says; volumes are taken back |

use std::sync::Arc;

use vm_model::{
    domain::DomainXml,
    exit::{ExitInfo, ExitReason},
    metadata::VM_URI,
    ports::{DomainRunState, DomainSummary, HypervisorError, VmId, XmlKind},
    status::PauseCode,
};

use crate::{
    api::RecoverReport,
    error::VmError,
    intent::{self, Phase},
    launch::{self, is_active},
    machine::{Cpus, Input, Life, Machine},
    record::{self, Core, Job, View},
    shared::{Shared, lock},
};

/// Finds all VMs. Domains that cannot be dealt with now are tried again by [`retry`].
pub(crate) fn recover(shared: &Arc<Shared>) -> Result<RecoverReport, VmError> {
    let failed = |source| VmError::Hypervisor {
        verb: "recover",
        source,
    };
    let mut domains = shared.ports.hypervisor.list().map_err(failed)?;
    // Those that run first: what they share with others must not be taken back.
    domains.sort_by_key(|domain| !is_active(domain.state));
    let mut report = RecoverReport::default();
    for domain in domains
        .iter()
        .filter(|domain| shared.find(domain.id).is_none())
    {
        match adopt(shared, domain, &mut report) {
            Ok(()) | Err(HypervisorError::NoDomain(_)) => {}
            Err(HypervisorError::Disconnected(why)) => {
                return Err(failed(HypervisorError::Disconnected(why)));
            }
            Err(error) => {
                tracing::warn!(vm = %domain.id, %error, "not recovered yet");
                lock(&shared.unsettled).insert(domain.id);
            }
        }
    }
    shared.recovered();
    for vm in shared.all() {
        // What happened meanwhile has told nobody.
        vm.order(&mut vm.core(), Job::Check);
    }
    Ok(report)
}

/// Tries again what [`recover`] could not do.
pub(crate) fn retry(shared: &Arc<Shared>) {
    let ids: Vec<VmId> = lock(&shared.unsettled).iter().copied().collect();
    if ids.is_empty() {
        return;
    }
    let Ok(domains) = shared.ports.hypervisor.list() else {
        return;
    };
    for id in ids {
        let domain = domains.iter().find(|domain| domain.id == id);
        let settled = match domain {
            None => true,
            Some(domain) if shared.find(domain.id).is_some() => true,
            Some(domain) => adopt(shared, domain, &mut RecoverReport::default()).is_ok(),
        };
        if settled {
            lock(&shared.unsettled).remove(&id);
        }
    }
}

fn adopt(
    shared: &Arc<Shared>,
    summary: &DomainSummary,
    report: &mut RecoverReport,
) -> Result<(), HypervisorError> {
    let hypervisor = &shared.ports.hypervisor;
    if hypervisor.metadata(summary.id, VM_URI)?.is_none() {
        report.external.push(summary.id);
        return Ok(());
    }
    let active = is_active(summary.state);
    let kind = if active {
        XmlKind::Live
    } else {
        XmlKind::Inactive
    };
    let xml = hypervisor.xml(summary.id, kind)?;
    let domain = match DomainXml::parse(&xml) {
        Ok(domain) => domain,
        Err(error) => {
            tracing::error!(vm = %summary.id, %error, "XML not understood: left alone");
            report.external.push(summary.id);
            return Ok(());
        }
    };
    let phase = intent::phase(&domain.metadata());
    if active {
        report.running.push(summary.id);
        adopt_running(shared, summary, &domain, &xml);
    } else if phase == Some(Phase::Launching) {
        launch::undo(shared, &**hypervisor, summary)?;
        report.undone.push(summary.id);
    } else {
        let exit = adopt_down(shared, summary, &domain, &xml, phase);
        report.down.push((summary.id, exit));
    }
    Ok(())
}

fn adopt_running(shared: &Arc<Shared>, summary: &DomainSummary, domain: &DomainXml, xml: &str) {
    let mut core = core(shared, domain, xml);
    core.view = Arc::new(View::live(xml).unwrap_or_else(|error| {
        tracing::error!(vm = %summary.id, %error, "devices not understood");
        bare_view(domain)
    }));
    let cpus = match summary.state.state {
        DomainRunState::Paused => Cpus::Paused {
            code: pause_code(summary, &core),
            since: record::now(&shared.ports).monotonic,
        },
        _ => Cpus::Running,
    };
    for volume in &core.volumes {
        shared.users.adopt(volume, summary.id);
    }
    match shared.add(summary.id, core) {
        Ok(vm) => vm.apply(Input::Launched(cpus)),
        Err(error) => tracing::error!(vm = %summary.id, %error, "not listed"),
    }
}

fn adopt_down(
    shared: &Arc<Shared>,
    summary: &DomainSummary,
    domain: &DomainXml,
    xml: &str,
    phase: Option<Phase>,
) -> ExitInfo {
    let mut core = core(shared, domain, xml);
    let exit = intent::exit(&core.metadata)
        .unwrap_or_else(|| ExitInfo::of(ExitReason::from_shutoff_reason(summary.state.reason)));
    let released = phase == Some(Phase::Down);
    if released {
        core.machine.life = Life::Down(exit.clone());
        core.machine.told = core.machine.domain_status();
        core.released = true;
    } else {
        for volume in &core.volumes {
            shared.users.adopt(volume, summary.id);
        }
    }
    match shared.add(summary.id, core) {
        Ok(vm) if !released => vm.apply(Input::LaunchFailed(exit.clone())),
        Ok(_) => {}
        Err(error) => tracing::error!(vm = %summary.id, %error, "not listed"),
    }
    exit
}

fn core(shared: &Shared, domain: &DomainXml, xml: &str) -> Core {
    let now = record::now(&shared.ports);
    let metadata = domain.metadata();
    let mut machine = match intent::start_wall(&metadata) {
        Some(start) => Machine::started_at(start, now),
        None => Machine::launching(now),
    };
    machine.destroy_on_reboot = intent::destroy_on_reboot(&metadata);
    machine.time_offset = intent::time_offset(&metadata);
    let view = View::of(domain).unwrap_or_else(|_| bare_view(domain));
    let mut core = Core::new(machine, xml.to_owned(), view, now);
    core.volumes = metadata.volumes();
    core.metadata = metadata;
    core.defined = true;
    core
}

/// Of a domain whose drives cannot be understood: it runs, so it is listed all the same.
fn bare_view(domain: &DomainXml) -> View {
    View {
        name: domain.name(),
        vm_type: domain.vm_type().to_owned(),
        acpi: domain.acpi(),
        memory_kib: domain.memory_kib().unwrap_or(0),
        displays: domain.displays(),
        ..View::default()
    }
}

/// What was kept, as long as libvirt still says that it was an I/O error.
fn pause_code(summary: &DomainSummary, core: &Core) -> PauseCode {
    const PAUSED_IOERROR: i32 = 5;
    if summary.state.reason == PAUSED_IOERROR {
        intent::pause_code(&core.metadata).unwrap_or(PauseCode::Eio)
    } else {
        PauseCode::NoErr
    }
}
