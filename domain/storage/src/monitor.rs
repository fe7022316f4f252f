//! Health of domains: one thread each, so that a domain that hangs delays no other and no request.
//!
//! ```text
//! started (actual=false) --first check--> valid <--checks--> invalid     every change is published
//! stopped: the host id is given back; at shutdown it is kept (VMs may hold leases)
//! ```
//!
//! Facts: `monitor.py`, `hsm.py` (`_getRepoStats`).

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Condvar, Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use storage_model::{DomainClass, DomainMetadata, DomainRole, layout, ports::HostLease};
use uuid::Uuid;

use crate::{
    DomainHealth, DomainStateChange, DomainStats, Result, StorageError, StorageManager,
    domain::{Domain, unreachable},
    error::{bad_metadata, invalid},
    fs,
    manager::{Core, guard},
};

/// How long a stopped monitor is waited for; one that hangs ends by itself when its call does.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// How a monitor ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The domain is left: give the host id back.
    Leave,
    /// The process ends: keep it.
    Shutdown,
}

/// What one check found.
#[derive(Debug, Clone)]
struct Sample {
    error: Option<StorageError>,
    actual: bool,
    read_delay: f64,
    at: Instant,
    space: Option<DomainStats>,
    version: i64,
    acquired: bool,
    master: (bool, bool),
}

impl Sample {
    /// Before the first check: looks fine, but says that it is not real.
    fn initial() -> Self {
        Self {
            error: None,
            actual: false,
            read_delay: 0.0,
            at: Instant::now(),
            space: None,
            version: -1,
            acquired: false,
            master: (false, false),
        }
    }

    fn health(&self) -> DomainHealth {
        DomainHealth {
            error: self.error.clone(),
            read_delay: self.read_delay,
            last_check: self.at.elapsed().as_secs_f64(),
            actual: self.actual,
            acquired: self.acquired,
            version: self.version,
            space: self.space,
            master_mounted: self.master.0,
            master_valid: self.master.1,
        }
    }
}

/// What a monitor's thread and its owner share.
struct Watch {
    domain: Uuid,
    host_id: u32,
    end: Mutex<Option<End>>,
    ended: Condvar,
    done: Mutex<bool>,
    done_changed: Condvar,
    last: Mutex<Sample>,
}

struct Monitor {
    watch: Arc<Watch>,
    /// Started for the pool, not by `startMonitoringDomain`.
    of_pool: bool,
    /// Not joined: a thread that hangs must not hang its owner. Kept so that a panic would be seen in a debugger.
    _thread: JoinHandle<()>,
}

type Subscribers = Arc<Mutex<Vec<mpsc::Sender<DomainStateChange>>>>;

/// All monitors.
pub(crate) struct Monitors {
    core: Arc<Core>,
    running: Mutex<BTreeMap<Uuid, Monitor>>,
    subscribers: Subscribers,
}

impl Monitors {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self {
            core,
            running: Mutex::default(),
            subscribers: Arc::default(),
        }
    }

    /// Watches exactly these domains for the pool; those of `startMonitoringDomain` stay.
    pub(crate) fn watch_pool(&self, domains: &[Uuid], host_id: u32) {
        let gone = {
            let mut running = guard(&self.running);
            let gone: Vec<Uuid> = running
                .iter()
                .filter(|(id, m)| m.of_pool && !domains.contains(id))
                .map(|(id, _)| *id)
                .collect();
            gone.iter()
                .filter_map(|id| running.remove(id))
                .collect::<Vec<_>>()
        };
        stop(gone, End::Leave);
        for domain in domains {
            self.start(*domain, host_id, true);
        }
    }

    fn start(&self, domain: Uuid, host_id: u32, of_pool: bool) {
        let mut running = guard(&self.running);
        if let Some(monitor) = running.get_mut(&domain) {
            monitor.of_pool |= of_pool;
            return;
        }
        match spawn(&self.core, &self.subscribers, domain, host_id) {
            Ok((watch, thread)) => {
                running.insert(
                    domain,
                    Monitor {
                        watch,
                        of_pool,
                        _thread: thread,
                    },
                );
            }
            Err(error) => tracing::error!(%domain, %error, "cannot start a monitor"),
        }
    }

    /// Is this domain watched?
    pub(crate) fn watches(&self, domain: Uuid) -> bool {
        guard(&self.running).contains_key(&domain)
    }

    /// What is known of a domain that is watched.
    pub(crate) fn health(&self, domain: Uuid) -> Option<DomainHealth> {
        guard(&self.running)
            .get(&domain)
            .map(|m| guard(&m.watch.last).health())
    }

    pub(crate) fn shutdown(&self) {
        let all = std::mem::take(&mut *guard(&self.running));
        stop(all.into_values().collect(), End::Shutdown);
    }
}

impl Drop for Monitors {
    fn drop(&mut self) {
        self.shutdown();
    }
}

fn stop(monitors: Vec<Monitor>, how: End) {
    for monitor in &monitors {
        *guard(&monitor.watch.end) = Some(how);
        monitor.watch.ended.notify_all();
    }
    let deadline = Instant::now() + STOP_TIMEOUT;
    for monitor in monitors {
        if !monitor.watch.wait_done(deadline) {
            tracing::warn!(domain = %monitor.watch.domain, "a monitor hangs; it ends when its call does");
        }
    }
}

fn spawn(
    core: &Arc<Core>,
    subscribers: &Subscribers,
    domain: Uuid,
    host_id: u32,
) -> std::io::Result<(Arc<Watch>, JoinHandle<()>)> {
    let watch = Arc::new(Watch {
        domain,
        host_id,
        end: Mutex::new(None),
        ended: Condvar::new(),
        done: Mutex::new(false),
        done_changed: Condvar::new(),
        last: Mutex::new(Sample::initial()),
    });
    let name: String = domain.to_string().chars().take(7).collect();
    let thread = thread::Builder::new()
        .name(format!("monitor/{name}"))
        .spawn({
            let (core, watch, subscribers) = (
                Arc::clone(core),
                Arc::clone(&watch),
                Arc::clone(subscribers),
            );
            move || {
                watch.run(&core, &subscribers);
                *guard(&watch.done) = true;
                watch.done_changed.notify_all();
            }
        })?;
    Ok((watch, thread))
}

impl Watch {
    fn run(&self, core: &Core, subscribers: &Subscribers) {
        let end = loop {
            let sample = self.sample(core);
            self.publish(sample, subscribers);
            if let Some(end) = self.wait_end(core.settings.monitor_interval) {
                break end;
            }
        };
        if end == End::Leave {
            self.leave(core);
        }
    }

    fn wait_end(&self, interval: Duration) -> Option<End> {
        let end = guard(&self.end);
        *self
            .ended
            .wait_timeout_while(end, interval, |end| end.is_none())
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    fn wait_done(&self, deadline: Instant) -> bool {
        let done = guard(&self.done);
        let left = deadline.saturating_duration_since(Instant::now());
        *self
            .done_changed
            .wait_timeout_while(done, left, |done| !*done)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    fn publish(&self, sample: Sample, subscribers: &Subscribers) {
        let valid = sample.error.is_none();
        let changed = {
            let mut last = guard(&self.last);
            let changed = !last.actual || last.error.is_none() != valid;
            *last = sample;
            changed
        };
        if !changed {
            return;
        }
        tracing::info!(domain = %self.domain, valid, "health of a storage domain");
        let change = DomainStateChange {
            domain: self.domain,
            valid,
        };
        guard(subscribers).retain(|subscriber| subscriber.send(change).is_ok());
    }

    fn sample(&self, core: &Core) -> Sample {
        let mut sample = Sample {
            actual: true,
            ..Sample::initial()
        };
        if let Err(error) = self.check(core, &mut sample) {
            tracing::warn!(domain = %self.domain, %error, "a storage domain is not well");
            sample.error = Some(error);
        }
        sample.at = Instant::now();
        sample
    }

    fn check(&self, core: &Core, sample: &mut Sample) -> Result<()> {
        let domain = core.domain(self.domain)?;
        let files = core.files();
        sample.read_delay = files
            .read_delay(&domain.paths.metadata())
            .map_err(|e| unreachable(domain.id, &e))?;
        sample.space = Some(core.space(&domain)?);
        let md = core.metadata(&domain)?;
        sample.version = i64::from(md.version().map_err(bad_metadata)?);
        sample.master = master_state(core, &domain, &md)?;
        if md.class().map_err(bad_metadata)? != DomainClass::Iso {
            sample.acquired = self.hold_host_id(core, &domain)?;
        }
        Ok(())
    }

    /// Holds our host id while the domain is well. Failing to is no illness of the domain, as in VDSM.
    fn hold_host_id(&self, core: &Core, domain: &Domain) -> Result<bool> {
        let lock = core.domain_lock(domain)?;
        let manager = &core.ports.lock;
        match manager.has_host_id(&lock, self.host_id) {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(e) => return Err(StorageError::AcquireHostIdFailure(e.to_string())),
        }
        if guard(&self.end).is_some() {
            return Ok(false);
        }
        let acquired = manager.acquire_host_id(&lock, self.host_id);
        if let Err(error) = &acquired {
            tracing::error!(domain = %domain.id, host_id = self.host_id, %error, "no host id");
        }
        Ok(acquired.is_ok())
    }

    fn leave(&self, core: &Core) {
        let lock = match core.domain(self.domain).and_then(|d| core.domain_lock(&d)) {
            Ok(lock) => lock,
            Err(error) => {
                tracing::warn!(domain = %self.domain, %error, "the host id is not given back");
                return;
            }
        };
        let manager = &core.ports.lock;
        if matches!(manager.has_host_id(&lock, self.host_id), Ok(true))
            && let Err(error) = manager.release_host_id(&lock, self.host_id)
        {
            tracing::warn!(domain = %self.domain, %error, "the host id is not given back");
        }
    }
}

/// Is the master's folder there, and is its tree whole?
fn master_state(core: &Core, domain: &Domain, md: &DomainMetadata) -> Result<(bool, bool)> {
    if md.role().map_err(bad_metadata)? != DomainRole::Master {
        return Ok((true, true));
    }
    let there =
        |path: &Path| fs::is_dir(core.files(), path).map_err(|e| unreachable(domain.id, &e));
    let master = domain.paths.master();
    if !there(&master)? {
        return Ok((false, true));
    }
    let whole = there(&master.join(layout::VMS))? && there(&master.join(layout::TASKS))?;
    Ok((true, whole))
}

impl StorageManager {
    /// `Host.getStorageRepoStats`: domains that are monitored, all or those given. Never touches storage.
    pub fn repo_stats(&self, domains: &[Uuid]) -> Vec<(Uuid, DomainHealth)> {
        guard(&self.monitors.running)
            .iter()
            .filter(|(id, _)| domains.is_empty() || domains.contains(id))
            .map(|(id, monitor)| (*id, guard(&monitor.watch.last).health()))
            .collect()
    }

    /// Does a host renew its lease in a domain? `Unavailable` where that cannot be told: the domain is not
    /// monitored here, or the lock manager does not answer. Never touches storage.
    pub fn host_lease(&self, domain: Uuid, host_id: i32) -> HostLease {
        let monitored = guard(&self.monitors.running).contains_key(&domain);
        let Some(host_id) = u32::try_from(host_id).ok().filter(|_| monitored) else {
            return HostLease::Unavailable;
        };
        let lease = self.core.ports.lock.host_lease(domain, host_id);
        lease.unwrap_or_else(|error| {
            tracing::warn!(%domain, host_id, %error, "the lease of a host is not known");
            HostLease::Unavailable
        })
    }

    /// `Host.startMonitoringDomain`. A domain that is monitored already is fine.
    pub fn start_monitoring_domain(&self, domain: Uuid, host_id: i64) -> Result<()> {
        let host_id = u32::try_from(host_id).map_err(|_| invalid("hostID", host_id))?;
        self.monitors.start(domain, host_id, false);
        Ok(())
    }

    /// `Host.stopMonitoringDomain`. Refused for a domain of the connected pool.
    pub fn stop_monitoring_domain(&self, domain: Uuid) -> Result<()> {
        let monitor = {
            let mut running = guard(&self.monitors.running);
            match running.get(&domain) {
                None => return Ok(()),
                Some(monitor) if monitor.of_pool => {
                    return Err(StorageError::StorageDomainIsMemberOfPool(domain));
                }
                Some(_) => running.remove(&domain),
            }
        };
        stop(monitor.into_iter().collect(), End::Leave);
        Ok(())
    }

    /// Changes of health from now on. Each call makes one more independent stream.
    pub fn domain_state_changes(&self) -> mpsc::Receiver<DomainStateChange> {
        let (sender, receiver) = mpsc::channel();
        guard(&self.monitors.subscribers).push(sender);
        receiver
    }
}
