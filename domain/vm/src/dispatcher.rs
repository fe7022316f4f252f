//! The hypervisor's events, on one thread that never calls the hypervisor: each is handed to its
//! VM's machine, and what takes time goes to that VM's own thread.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use vm_model::{
    ports::{HypervisorEvent, VmId},
    stats::WatchdogInfo,
    status::PauseCode,
};

use crate::{
    machine::Input,
    record::{Job, Vm},
    shared::Shared,
};

/// How often the sign to stop is looked for.
const LOOK: Duration = Duration::from_millis(200);
/// `VIR_DOMAIN_EVENT_IO_ERROR_PAUSE`.
const IO_ERROR_PAUSE: i32 = 1;
/// `virDomainEventGraphicsPhase`: initialize, disconnect.
const GRAPHICS_INITIALIZE: i32 = 1;
const GRAPHICS_DISCONNECT: i32 = 2;

/// Until the manager ends.
pub(crate) fn run(shared: &Arc<Shared>, events: &mpsc::Receiver<HypervisorEvent>) {
    while !shared.ends() {
        match events.recv_timeout(LOOK) {
            Ok(event) => dispatch(shared, event),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                tracing::error!("the hypervisor's events have ended; only samples tell of changes");
                return;
            }
        }
    }
}

fn dispatch(shared: &Arc<Shared>, event: HypervisorEvent) {
    let with = |id: VmId, act: &dyn Fn(&Vm)| {
        if let Some(vm) = shared.find(id) {
            act(&vm);
        }
    };
    match event {
        HypervisorEvent::Lifecycle { id, event, detail } => {
            with(id, &|vm| vm.apply(Input::Lifecycle { event, detail }));
        }
        HypervisorEvent::Reboot { id } => with(id, &|vm| vm.apply(Input::GuestReboot)),
        HypervisorEvent::RtcChange { id, offset } => {
            with(id, &|vm| vm.apply(Input::RtcChange(offset)));
        }
        HypervisorEvent::IoError {
            id,
            alias,
            action,
            reason,
            ..
        } => with(id, &|vm| {
            if action == IO_ERROR_PAUSE {
                let code = PauseCode::from_io_error(&reason);
                vm.apply(Input::IoError {
                    code,
                    alias: alias.clone(),
                });
            }
        }),
        HypervisorEvent::Watchdog { id, action } => with(id, &|vm| watchdog(vm, action)),
        HypervisorEvent::Graphics { id, phase, remote } => {
            with(id, &|vm| graphics(vm, phase, &remote));
        }
        HypervisorEvent::Reconnected => {
            for vm in shared.all() {
                vm.order(&mut vm.core(), Job::Check);
            }
        }
    }
}

fn watchdog(vm: &Vm, action: i32) {
    let action = match action {
        0 => "ignore",
        1 => "pause",
        2 => "reset",
        3 => "destroy",
        4 => "shutdown",
        5 => "log",
        _ => "unknown",
    };
    let time = vm.now().wall.as_secs_f64();
    vm.core().watchdog = Some(WatchdogInfo { time, action });
}

fn graphics(vm: &Vm, phase: i32, remote: &str) {
    let mut core = vm.core();
    match phase {
        GRAPHICS_INITIALIZE => remote.clone_into(&mut core.client_ip),
        GRAPHICS_DISCONNECT if core.client_ip == remote => core.client_ip.clear(),
        _ => {}
    }
}
