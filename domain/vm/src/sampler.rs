//! One bulk sample of all VMs per interval. Statistics are answered from the two newest; what a
//! sample shows otherwise than it is known makes the VM's thread look for itself.

use std::{collections::HashMap, sync::Arc, time::Duration};

use vm_model::ports::{DomainStats, VmId};

use crate::{
    machine::{Cpus, Input, Life},
    record::{Core, Job, Vm},
    recovery,
    shared::Shared,
};

/// Longest time between two looks at phases of guests, which end by the clock.
const TICK: Duration = Duration::from_secs(1);

/// Until the manager ends.
pub(crate) fn run(shared: &Arc<Shared>) {
    let interval = shared.config.sample_interval;
    let mut next = shared.ports.clock.monotonic();
    loop {
        let now = shared.ports.clock.monotonic();
        if shared.sleep(
            next.saturating_sub(now)
                .min(TICK)
                .max(Duration::from_millis(1)),
        ) {
            return;
        }
        if shared.is_recovering() {
            continue;
        }
        for vm in shared.all() {
            vm.apply(Input::Tick);
        }
        let now = shared.ports.clock.monotonic();
        if now >= next {
            next = now + interval;
            sample(shared, now);
            recovery::retry(shared);
        }
    }
}

/// Takes a sample. Its time is that before the call: a late answer must not look fresh.
pub(crate) fn sample(shared: &Shared, at: Duration) {
    let stats = match shared.ports.hypervisor.all_stats() {
        Ok(stats) => stats,
        Err(error) => {
            tracing::warn!(%error, "no sample");
            return;
        }
    };
    let mut stats: HashMap<VmId, DomainStats> = stats.into_iter().map(|s| (s.id, s)).collect();
    for vm in shared.all() {
        let sample = stats.remove(&vm.id);
        note(&vm, &mut vm.core(), sample, at);
    }
}

fn note(vm: &Vm, core: &mut Core, sample: Option<DomainStats>, at: Duration) {
    let Life::Running(cpus) = core.machine.life else {
        return;
    };
    let Some(sample) = sample else {
        // It hangs, or it is gone.
        vm.order(core, Job::Check);
        return;
    };
    let paused = matches!(cpus, Cpus::Paused { .. });
    let seen_paused = sample
        .state
        .map(|state| state.state == vm_model::ports::DomainRunState::Paused);
    if seen_paused.is_some_and(|seen| seen != paused) {
        vm.order(core, Job::Check);
    }
    core.monitor.answered = core.monitor.answered.max(at);
    core.monitor.timed_out = false;
    core.samples.first = core.samples.last.take();
    core.samples.last = Some((at, Arc::new(sample)));
}
