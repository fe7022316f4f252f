//! How big the disks of running VMs are, as storage tells it: `apparentsize` and `truesize` (upstream's
//! `UpdateVolumes`). libvirt's own figures stand in until storage has told.
//!
//! One thread looks which VM is due: right after its launch or recovery, then once per interval. Each
//! is measured on a thread of its own, which is waited for a moment only: as long as storage answers,
//! one VM is measured at a time; storage that hangs holds the threads of its VMs and nothing else.
//! Nobody asks for the same VM meanwhile, so a late answer never replaces a newer one.

use std::{
    collections::BTreeMap,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use vm_model::{
    drive::DriveKind,
    ports::{Pdiv, VolumeSize},
};

use crate::{
    record::{Core, Vm},
    shared::{Shared, short},
};

/// Longest time until a VM that was just started is measured.
const TICK: Duration = Duration::from_secs(1);
/// How long one VM's storage is waited for before the next VM is measured beside it.
const GRACE: Duration = Duration::from_millis(100);

/// What is known of one VM's sizes.
#[derive(Debug, Default)]
pub(crate) struct Sizes {
    /// As last told. Stays while storage does not answer.
    pub(crate) known: BTreeMap<Pdiv, VolumeSize>,
    /// When they are due again; at once if never measured.
    next: Option<Instant>,
    /// Is a measurement under way?
    measuring: bool,
}

impl Sizes {
    /// What storage tells has changed: they are due at once.
    pub(crate) fn hurry(&mut self) {
        self.next = None;
    }
}

/// Until the manager ends.
pub(crate) fn run(shared: &Arc<Shared>) {
    let pause = shared.config.size_interval.min(TICK);
    while !shared.sleep(pause) {
        if shared.is_recovering() {
            continue;
        }
        for vm in shared.all() {
            if shared.ends() {
                return;
            }
            let volumes = due(&mut vm.core(), Instant::now(), shared.config.size_interval);
            if !volumes.is_empty() {
                begin(shared, &vm, volumes);
            }
        }
    }
}

/// The volumes to be measured now; it counts as under way then.
fn due(core: &mut Core, now: Instant, interval: Duration) -> Vec<Pdiv> {
    let waits = core.sizes.next.is_some_and(|next| now < next);
    if core.sizes.measuring || waits || !core.machine.is_running() {
        return Vec::new();
    }
    core.sizes.next = Some(now + interval);
    let disks = core.view.drives.iter();
    let volumes: Vec<Pdiv> = disks
        .filter(|drive| drive.kind == DriveKind::Disk)
        .filter_map(vm_model::drive::Drive::pdiv)
        .collect();
    core.sizes
        .known
        .retain(|volume, _| volumes.contains(volume));
    core.sizes.measuring = !volumes.is_empty();
    volumes
}

fn begin(shared: &Arc<Shared>, vm: &Arc<Vm>, volumes: Vec<Pdiv>) {
    let (running, ended) = mpsc::channel::<()>();
    let thread = {
        let (shared, vm) = (Arc::clone(shared), Arc::clone(vm));
        move || {
            measure(&shared, &vm, &volumes);
            drop(running);
        }
    };
    if let Err(error) = shared.spawn(&format!("vm-size-{}", short(vm.id)), thread) {
        tracing::warn!(vm = %vm.id, %error, "disks not measured: no thread");
        vm.core().sizes.measuring = false;
        return;
    }
    // Nothing is ever sent: it hangs up, or it is passed by.
    let _ = ended.recv_timeout(GRACE);
}

fn measure(shared: &Shared, vm: &Vm, volumes: &[Pdiv]) {
    for volume in volumes {
        if shared.ends() {
            break;
        }
        match shared.ports.volumes.size(volume) {
            Ok(size) => {
                vm.core().sizes.known.insert(*volume, size);
            }
            Err(error) => tracing::debug!(vm = %vm.id, %error, "size as last known"),
        }
    }
    vm.core().sizes.measuring = false;
}
