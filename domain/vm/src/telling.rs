//! Statistics of one VM, from memory.

use vm_model::{
    events::event_time_ms,
    stats::{
        ConfigStats, GuestInfo, RunningStats, StatsBody, VmStats,
        compute::{self, Window},
    },
    status::PauseCode,
};

use crate::{
    intent,
    machine::{Life, Now},
    record::{Core, Vm},
};

/// Entry of `Host.getAllVmStats`. `silent_after` is how long a domain may be silent.
pub(crate) fn stats(vm: &Vm, silent_after: std::time::Duration) -> VmStats {
    let now = vm.now();
    let core = vm.core();
    let body = match &core.machine.life {
        Life::Down(exit) => StatsBody::Down {
            exit: exit.clone(),
            time_offset: core.machine.time_offset,
        },
        _ => alive(&core, now, silent_after),
    };
    VmStats {
        vm_id: vm.id,
        status_time_ms: event_time_ms(now.monotonic),
        status: core.machine.seen(now),
        body,
    }
}

fn alive(core: &Core, now: Now, silent_after: std::time::Duration) -> StatsBody {
    let mut running = running(core, now);
    let silent = now.monotonic.saturating_sub(core.monitor.answered) >= silent_after;
    if core.machine.is_running() && silent {
        running.monitor_response = -1;
    }
    let mem_usage = compute::memory_usage(running.memory.as_ref(), core.view.memory_kib);
    StatsBody::Alive {
        config: ConfigStats {
            vm_name: core.view.name.clone(),
            vm_type: core.view.vm_type.clone(),
            kvm_enable: true,
            acpi_enable: core.view.acpi,
        },
        running: Box::new(running),
        guest: GuestInfo {
            mem_usage,
            ..GuestInfo::default()
        },
    }
}

/// What changes while it runs.
pub(crate) fn running(core: &Core, now: Now) -> RunningStats {
    let (first, last) = (&core.samples.first, &core.samples.last);
    let window = Window {
        first: first.as_ref().map(|(_, sample)| &**sample),
        last: last.as_ref().map(|(_, sample)| &**sample),
        seconds: match (first, last) {
            (Some((then, _)), Some((at, _))) => at.saturating_sub(*then).as_secs_f64(),
            _ => 0.0,
        },
    };
    let sampled_at = last
        .as_ref()
        .map_or(now.monotonic, |(at, _)| *at)
        .as_secs_f64();
    let view = &core.view;
    let balloon = view
        .has_balloon
        .then(|| intent::balloon(&core.metadata, view.memory_kib));
    RunningStats {
        elapsed_seconds: core.machine.elapsed(now).as_secs(),
        monitor_response: if core.monitor.timed_out { -1 } else { 0 },
        client_ip: core.client_ip.clone(),
        time_offset: core.machine.time_offset.unwrap_or(0),
        pause_code: core
            .machine
            .is_running()
            .then(|| core.machine.pause_code().unwrap_or(PauseCode::NoErr)),
        cpu: compute::cpu(&window),
        balloon: compute::balloon(&window, balloon),
        vcpu_count: window.last.and_then(|sample| sample.vcpu_current),
        networks: compute::networks(&window, &view.nics, sampled_at),
        disks: compute::disks(&window, &view.drives, &core.sizes.known),
        memory: compute::memory(&window),
        display_info: view.displays.clone(),
        hash: view.hash.clone(),
        watchdog: core.watchdog.clone(),
        vcpu_quota: view.cpu_bandwidth.0,
        vcpu_period: view.cpu_bandwidth.1,
    }
}
