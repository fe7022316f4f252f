//! What all threads of the manager share: configuration, ports, the registry of VMs, the sign to stop.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{Builder, JoinHandle},
    time::{Duration, Instant},
};

use vm_model::{ports::VmId, preprocess::HostOptions};

use crate::{
    api::{Ports, VmConfig},
    error::VmError,
    publisher::Publisher,
    record::{Core, Job, Vm},
    users::VolumeUsers,
    worker,
};

/// Shared by all threads.
pub(crate) struct Shared {
    pub(crate) config: VmConfig,
    pub(crate) ports: Ports,
    pub(crate) users: VolumeUsers,
    pub(crate) publisher: Publisher,
    /// Never held across a call to a port.
    registry: RwLock<BTreeMap<VmId, Arc<Vm>>>,
    recovering: AtomicBool,
    /// Domains that recovery could not deal with yet; tried again with every sample.
    pub(crate) unsettled: Mutex<BTreeSet<VmId>>,
    stopped: Mutex<bool>,
    stop: Condvar,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Shared {
    pub(crate) fn new(config: VmConfig, ports: Ports, publisher: Publisher) -> Self {
        Self {
            users: VolumeUsers::new(Arc::clone(&ports.volumes)),
            config,
            ports,
            publisher,
            registry: RwLock::default(),
            recovering: AtomicBool::new(true),
            unsettled: Mutex::default(),
            stopped: Mutex::new(false),
            stop: Condvar::new(),
            threads: Mutex::default(),
        }
    }

    /// May wait until it is known whether KVM works: never to be called with a lock held.
    pub(crate) fn host_options(&self) -> HostOptions {
        (self.ports.host)()
    }

    pub(crate) fn is_recovering(&self) -> bool {
        self.recovering.load(Ordering::Acquire)
    }

    pub(crate) fn recovered(&self) {
        self.recovering.store(false, Ordering::Release);
    }

    /// The VM, unless VMs are still being found.
    pub(crate) fn vm(&self, id: VmId) -> Result<Arc<Vm>, VmError> {
        if self.is_recovering() {
            return Err(VmError::Recovering);
        }
        self.find(id).ok_or(VmError::NoSuchVm(id))
    }

    /// The VM, in any case.
    pub(crate) fn find(&self, id: VmId) -> Option<Arc<Vm>> {
        self.registry
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .cloned()
    }

    /// All VMs, by id.
    pub(crate) fn all(&self) -> Vec<Arc<Vm>> {
        let registry = self.registry.read().unwrap_or_else(PoisonError::into_inner);
        registry.values().cloned().collect()
    }

    /// Adds a VM and starts its thread. `false` if one with that id is there.
    pub(crate) fn add(self: &Arc<Self>, id: VmId, core: Core) -> Result<Arc<Vm>, VmError> {
        let (vm, inbox) = Vm::new(id, core, self.ports.clone(), self.publisher.clone());
        {
            let mut registry = self
                .registry
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            if registry.contains_key(&id) {
                return Err(VmError::VmExists(id));
            }
            registry.insert(id, Arc::clone(&vm));
        }
        let started = self.spawn(&format!("vm-{}", short(id)), {
            let (shared, vm) = (Arc::clone(self), Arc::clone(&vm));
            move || worker::run(&shared, &vm, &inbox)
        });
        if let Err(error) = started {
            self.forget(id);
            return Err(VmError::CannotCreate(format!("no thread: {error}")));
        }
        Ok(vm)
    }

    /// Removes a VM and ends its thread.
    pub(crate) fn forget(&self, id: VmId) {
        let removed = {
            let mut registry = self
                .registry
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            registry.remove(&id)
        };
        if let Some(vm) = removed {
            vm.order(&mut vm.core(), Job::Stop);
        }
    }

    pub(crate) fn spawn(
        &self,
        name: &str,
        run: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<()> {
        let thread = Builder::new().name(name.to_owned()).spawn(run)?;
        let mut threads = lock(&self.threads);
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread);
        Ok(())
    }

    /// Sleeps; `true` at once when the manager ends.
    pub(crate) fn sleep(&self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        let mut stopped = lock(&self.stopped);
        while !*stopped {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                return false;
            };
            let waited = self.stop.wait_timeout(stopped, left);
            (stopped, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        true
    }

    /// Does the manager end?
    pub(crate) fn ends(&self) -> bool {
        *lock(&self.stopped)
    }

    /// Ends the threads. Those that hang in a call to a port are left to end with the process.
    pub(crate) fn end(&self, patience: Duration) {
        *lock(&self.stopped) = true;
        self.stop.notify_all();
        for vm in self.all() {
            vm.order(&mut vm.core(), Job::Stop);
        }
        let deadline = Instant::now() + patience;
        let mut threads = std::mem::take(&mut *lock(&self.threads));
        while !threads.is_empty() && Instant::now() < deadline {
            let (done, left): (Vec<_>, Vec<_>) =
                threads.into_iter().partition(JoinHandle::is_finished);
            for thread in done {
                // Its panic, if it was one, has been told where it happened.
                let _ = thread.join();
            }
            threads = left;
            if !threads.is_empty() {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        if !threads.is_empty() {
            tracing::warn!(
                threads = threads.len(),
                "VM threads that do not end are left behind"
            );
        }
    }
}

/// The first eight characters, for names of threads.
pub(crate) fn short(id: VmId) -> String {
    id.simple().to_string().chars().take(8).collect()
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a VM's thread listens to.
pub(crate) type Inbox = mpsc::Receiver<Job>;
