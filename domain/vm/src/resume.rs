//! What becomes of VMs that paused on an I/O error when their storage is there again (upstream's
//! `clientIF.contEIOVms` and `Vm.maybe_resume`).
//!
//! [`order`] is asked per storage domain and never waits; [`resume`] runs on the VM's own thread, so
//! that a domain that hangs keeps no other VM paused.

use std::time::Duration;

use uuid::Uuid;
use vm_model::status::{PauseCode, ResumeBehavior};

use crate::{
    intent,
    machine::{Cpus, Input, Life},
    record::{Core, Job, Vm},
    shared::Shared,
    verbs,
};

/// Lets the VM's thread deal with it if it paused on an I/O error and has a disk on `domain`.
pub(crate) fn order(vm: &Vm, domain: Uuid) -> bool {
    let mut core = vm.core();
    let concerned =
        paused_since(&core).is_some() && core.volumes.iter().any(|volume| volume.domain == domain);
    if concerned {
        vm.order(&mut core, Job::Resume);
    }
    concerned
}

/// Lets it run on, leaves it, or ends it.
pub(crate) fn resume(shared: &Shared, vm: &Vm) {
    let behavior = {
        let now = vm.now();
        let core = vm.core();
        let Some(since) = paused_since(&core) else {
            return;
        };
        let paused_for = now.monotonic.saturating_sub(since);
        let too_long = paused_for > shared.config.kill_paused_after;
        (intent::resume_behavior(&core.metadata), too_long)
    };
    match behavior {
        (ResumeBehavior::LeavePaused, _) => {
            tracing::info!(vm = %vm.id, "stays paused, as it shall");
        }
        (ResumeBehavior::Kill, true) => vm.apply(Input::PausedTooLong),
        (ResumeBehavior::Kill | ResumeBehavior::AutoResume, _) => match verbs::cont(shared, vm) {
            Ok(()) => tracing::info!(vm = %vm.id, "runs on after an I/O error"),
            Err(error) => tracing::error!(vm = %vm.id, %error, "not resumed after an I/O error"),
        },
    }
}

/// Since when it is paused by an I/O error, monotonic; `None` if it is not.
fn paused_since(core: &Core) -> Option<Duration> {
    match core.machine.life {
        Life::Running(Cpus::Paused { code, since })
            if !matches!(code, PauseCode::NoErr | PauseCode::Postcopy) =>
        {
            Some(since)
        }
        _ => None,
    }
}
