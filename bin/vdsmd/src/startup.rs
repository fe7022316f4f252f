//! The order in which the agent is put together after the port is open, on a thread of its own:
//!
//! 1. storage: links of the repository; what a killed process left is finished or undone;
//! 2. tasks: those that were not finished are rolled back through storage;
//! 3. libvirt: tried until it answers;
//! 4. VMs: found again from libvirt alone; tried until libvirt tells of them.
//!
//! The look at KVM goes on beside all that, and longer where it must ([`crate::accelerator`]).
//!
//! Then the agent is installed, and verbs are answered. A step that cannot succeed without an operator (a folder
//! that cannot be made) ends the process with an error; a step that waits for another daemon is tried again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use config::{Config, LockMode};
use host::fence::Fencer;
use libvirt::{Libvirt, LibvirtConfig};
use network::{NetworkManager, Shown};
use rpc::Publisher;
use storage::{Settings, StorageManager};
use storage_io::{FilesConfig, LocalFiles, LocalLock, QemuImgTool, SanlockConfig, SanlockLock};
use storage_model::ports::{ClusterLock, Ownership};
use tasks::TaskManager;
use vm::{VmConfig, VmManager};
use vm_model::preprocess::{Accelerator, HostOptions, SourceLabels};

use crate::{
    accelerator::Look,
    agent::Agent,
    checks::Teller,
    duties,
    host::HostView,
    network_events,
    ports::{
        Clocks, HelperOwnership, HelperRoot, HostConnectivity, InstalledAgents, StorageLeases,
        StorageUndo, StorageVolumes, ThisHost, VmStatusEvents, WithDisplays,
    },
    reachability::Reachable,
    service::Front,
    storage_events,
};

/// Pause between attempts to reach a daemon.
const RETRY: Duration = Duration::from_millis(500);

/// The start-up, on its way or done.
pub(crate) struct Startup {
    cancelled: Arc<AtomicBool>,
}

impl Startup {
    /// Gives up what has not been put together yet.
    pub(crate) fn stop(self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}

/// Begins; answers at once.
pub(crate) fn begin(config: &Arc<Config>, front: Front, publisher: Publisher) -> Result<Startup> {
    let cancelled = Arc::new(AtomicBool::new(false));
    let builder = Builder {
        config: config.clone(),
        cancelled: cancelled.clone(),
        publisher,
        mismatches: Arc::new(Teller::new(observe::clock::monotonic)),
    };
    thread::Builder::new()
        .name("startup".to_owned())
        .spawn(move || match builder.build() {
            Ok(Some(agent)) => {
                if let Err(error) = duties::start(&agent.config.vars.state_dir, &agent) {
                    tracing::warn!(%error, "duties are not recorded");
                }
                front.install(agent);
                tracing::info!("serving");
            }
            Ok(None) => tracing::info!("given up on the way"),
            Err(error) => fail(&error),
        })
        .context("cannot start a thread")?;
    Ok(Startup { cancelled })
}

/// An agent that cannot serve must not look alive: systemd restarts it, and the log says why.
fn fail(error: &anyhow::Error) {
    tracing::error!("cannot start: {error:#}");
    #[expect(clippy::print_stderr, reason = "somebody may wait at a terminal")]
    {
        eprintln!("vdsmd: cannot start: {error:#}");
    }
    std::process::exit(1);
}

struct Builder {
    config: Arc<Config>,
    cancelled: Arc<AtomicBool>,
    publisher: Publisher,
    mismatches: Arc<Teller>,
}

impl Builder {
    /// `None` if it was given up on the way.
    fn build(self) -> Result<Option<Arc<Agent>>> {
        let look = Look::begin(&self.config, fail)?;
        let storage = Arc::new(self.storage()?);
        let tasks = self.tasks(&storage)?;
        let Some(libvirt) = self.retry("libvirt", || self.connect()) else {
            return Ok(None);
        };
        let libvirt = Arc::new(libvirt);
        let view = HostView::start(&self.config, &libvirt, look.clone())?;
        let vms = Arc::new(self.vms(&libvirt, &storage, look, &view)?);
        let Some(report) = self.retry("recovery of VMs", || vms.recover().map_err(Into::into))
        else {
            return Ok(None);
        };
        tracing::info!(?report, "VMs were found again");
        storage_events::start(&storage, &vms).context("cannot start a thread")?;
        let fencer = Fencer::new(
            Arc::new(InstalledAgents::new(&self.config)),
            Arc::new(StorageLeases(storage.clone())),
        );
        let networks = Arc::new(self.networks());
        let reachable = Arc::new(Reachable::start(&self.config, self.connectivity()));
        if let Err(error) = network_events::start(&networks, &reachable, self.connectivity()) {
            tracing::warn!(%error, "nobody is told when networks change");
        }
        let config = self.config;
        Ok(Some(Arc::new(Agent {
            config,
            fencer,
            vms,
            storage,
            tasks,
            host: view,
            networks,
            reachable,
            mismatches: self.mismatches,
        })))
    }

    fn storage(&self) -> Result<StorageManager> {
        let irs = &self.config.irs;
        let mnt = irs.repository.join("mnt");
        let files = FilesConfig {
            timeout: irs.process_pool_timeout,
            mount_dirs: vec![mnt.join("glusterSD"), mnt.join("blockSD"), mnt],
            ..FilesConfig::default()
        };
        let ports = storage::Ports {
            files: Arc::new(LocalFiles::new(files)),
            qemu: Arc::new(QemuImgTool::new(irs.process_pool_timeout)),
            lock: self.cluster_lock()?,
            clock: Arc::new(Clocks),
            ownership: self.ownership(),
        };
        let settings = Settings {
            repository: irs.repository.clone(),
            run_dir: self.config.vars.run_dir.join("storage"),
            maximum_domains_in_pool: 100,
            monitor_interval: irs.sd_health_check_delay,
            lock_timeout: Duration::from_millis(irs.task_resource_default_timeout),
        };
        let storage = StorageManager::open(ports, settings).context("storage")?;
        let recovery = storage.recover();
        if recovery != storage::Recovery::default() {
            tracing::warn!(?recovery, "storage was left unfinished");
        }
        Ok(storage)
    }

    fn ownership(&self) -> Option<Arc<dyn Ownership>> {
        let options = &self.config.supervdsm;
        options
            .enable
            .then(|| Arc::new(HelperOwnership::new(options)) as Arc<dyn Ownership>)
    }

    fn networks(&self) -> NetworkManager {
        let vars = &self.config.vars;
        NetworkManager::new(
            Arc::new(ThisHost::new(&self.config)),
            Arc::new(HelperRoot::new(&self.config.supervdsm)),
            Shown {
                hidden_nics: vars.hidden_nics.clone(),
                hidden_bonds: vars.hidden_bonds.clone(),
                hidden_vlans: vars.hidden_vlans.clone(),
            },
        )
    }

    fn connectivity(&self) -> HostConnectivity {
        HostConnectivity {
            publisher: self.publisher.clone(),
            mismatches: self.mismatches.clone(),
            strict: self.config.devel.api_strict_mode,
        }
    }

    fn cluster_lock(&self) -> Result<Arc<dyn ClusterLock>> {
        match self.config.sanlock.mode {
            LockMode::Sanlock => {
                let io_timeout = self.config.sanlock.io_timeout;
                let lock = SanlockLock::new(SanlockConfig {
                    io_timeout,
                    ..Default::default()
                });
                if let Err(error) = lock.probe() {
                    tracing::warn!(
                        "{error}: storage that needs a lock answers errors until sanlock runs"
                    );
                }
                Ok(Arc::new(lock))
            }
            LockMode::Local => {
                tracing::warn!(
                    "[sanlock] mode = local: storage is guarded against processes of this host only; \
                     never share it with another host"
                );
                let dir = self.config.vars.run_dir.join("locks");
                let lock = LocalLock::new(&dir);
                Ok(Arc::new(
                    lock.with_context(|| format!("locks in {}", dir.display()))?,
                ))
            }
        }
    }

    fn tasks(&self, storage: &Arc<StorageManager>) -> Result<TaskManager> {
        let irs = &self.config.irs;
        let limits = tasks::Config {
            threads: irs.thread_pool_size as usize,
            queue: irs.max_tasks as usize,
        };
        let dir = self.config.vars.state_dir.join("tasks");
        let undo = Arc::new(StorageUndo(storage.clone()));
        let (tasks, report) = TaskManager::open(&dir, limits, undo)
            .with_context(|| format!("tasks in {}", dir.display()))?;
        tracing::info!(?report, "tasks were found again");
        Ok(tasks)
    }

    fn connect(&self) -> Result<Libvirt> {
        let mut config = LibvirtConfig::new(self.config.vars.libvirt_uri.clone());
        config.deadlines.command = self.config.vars.vm_command_timeout;
        Ok(Libvirt::connect(config)?)
    }

    fn vms(
        &self,
        libvirt: &Arc<Libvirt>,
        storage: &Arc<StorageManager>,
        look: Look,
        view: &HostView,
    ) -> Result<VmManager> {
        let vars = &self.config.vars;
        let ports = vm::Ports {
            hypervisor: Arc::new(self.with_displays(libvirt)),
            volumes: Arc::new(StorageVolumes(storage.clone())),
            events: Arc::new(VmStatusEvents {
                publisher: self.publisher.clone(),
                mismatches: self.mismatches.clone(),
                strict: self.config.devel.api_strict_mode,
            }),
            clock: Arc::new(Clocks),
            host: self.host_options(look, view)?,
        };
        let config = VmConfig {
            sample_interval: vars.vm_sample_interval,
            size_interval: Duration::from_mins(1),
            monitor_timeout: vars.vm_command_timeout,
            verb_timeout: vars.vm_command_timeout,
            kill_paused_after: Duration::from_secs(80),
        };
        VmManager::new(config, ports).context("cannot start the threads of VMs")
    }

    fn with_displays(&self, libvirt: &Arc<Libvirt>) -> WithDisplays {
        let host = ThisHost::new(&self.config);
        let running = move || {
            let read = network::Observer::running(&host);
            let read = read.map_err(|error| tracing::warn!(%error, "networks are not known"));
            read.ok().map(|(config, _)| config)
        };
        WithDisplays::new(libvirt.clone(), Box::new(running))
    }

    fn host_options(
        &self,
        look: Look,
        view: &HostView,
    ) -> Result<Arc<dyn Fn() -> HostOptions + Send + Sync>> {
        let session = vars_are_of_a_session(&self.config.vars.libvirt_uri);
        let sockets = session.then(|| self.config.vars.run_dir.join("channels"));
        if let Some(dir) = &sockets {
            std::fs::create_dir_all(dir)
                .with_context(|| format!("cannot make {}", dir.display()))?;
        }
        let facts = view.placeholders();
        Ok(Arc::new(move || HostOptions {
            facts: facts.clone(),
            accelerator: if look.kvm_works() {
                Accelerator::Kvm
            } else {
                Accelerator::Tcg
            },
            emulator: None,
            channel_dir: sockets.clone(),
            console_dir: sockets.clone(),
            display_address: session.then(|| "127.0.0.1".to_owned()),
            source_labels: if session {
                SourceLabels::Strip
            } else {
                SourceLabels::Ensure
            },
        }))
    }

    /// Tries until it succeeds or the agent is to end; tells of each new reason once.
    fn retry<T>(&self, what: &str, mut attempt: impl FnMut() -> Result<T>) -> Option<T> {
        let mut told = String::new();
        while !self.cancelled.load(Ordering::Relaxed) {
            match attempt() {
                Ok(done) => return Some(done),
                Err(error) => {
                    let why = format!("{error:#}");
                    if why != told {
                        tracing::warn!("{what}: {why}; trying again");
                        told = why;
                    }
                    thread::sleep(RETRY);
                }
            }
        }
        None
    }
}

/// A session daemon: no security drivers, no networks of the system, sockets beneath our own folder.
fn vars_are_of_a_session(uri: &str) -> bool {
    uri.contains("/session") || uri.contains("/embed")
}
