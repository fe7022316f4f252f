//! The record of one VM: its machine and what is known of it, behind one lock that is never held
//! across a call to a port.
//!
//! [`Vm::apply`] is the only way to change the machine: under that lock it steps, hands news to the
//! publisher in order, and gives work to the VM's own thread (`worker`).

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc},
    time::{Duration, Instant},
};

use vm_model::{
    domain::{DomainXml, Nic},
    drive::Drive,
    error::ModelResult,
    events::{StatusDetail, VmEvent, event_time_ms},
    metadata::VmMetadata,
    ports::{DomainStats, Pdiv, VmId},
    stats::{DisplayInfo, GuestInfo, WatchdogInfo},
    status::VmStatus,
};

use crate::{
    api::{Ports, VmInfo},
    machine::{Action, Input, Life, Machine, News, Now, Verb, step},
    publisher::Publisher,
    sizes::Sizes,
    telling,
    turn::Turn,
};

/// Work for the VM's own thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Job {
    /// Start it.
    Launch,
    /// Bring the domain's metadata up to date.
    SaveMetadata,
    /// Ask the hypervisor how it is.
    Check,
    /// Take back what it used.
    Release,
    /// End it.
    Destroy,
    /// Storage is there again: let it run on if that is why it paused.
    Resume,
    /// The record is gone, or the manager.
    Stop,
}

/// One VM.
pub(crate) struct Vm {
    pub(crate) id: VmId,
    core: Mutex<Core>,
    changed: Condvar,
    /// Verbs that act on the domain take turns.
    pub(crate) verbs: Turn,
    /// So do those who take back what it used, or remove it.
    pub(crate) ending: Turn,
    /// And those who write its metadata.
    pub(crate) saves: Turn,
    worker: mpsc::Sender<Job>,
    publisher: Publisher,
    ports: Ports,
}

/// What is known of one VM.
pub(crate) struct Core {
    pub(crate) machine: Machine,
    /// The XML as it was given, or found.
    pub(crate) given_xml: String,
    /// Leave the CPUs stopped at the start.
    pub(crate) launch_paused: bool,
    pub(crate) view: Arc<View>,
    /// As it was last written, or is to be written.
    pub(crate) metadata: VmMetadata,
    /// Volumes that were prepared for it, or that it was about to have prepared.
    pub(crate) volumes: Vec<Pdiv>,
    /// Is a domain of ours defined?
    pub(crate) defined: bool,
    /// Is everything it used taken back?
    pub(crate) released: bool,
    /// A job of that kind waits already.
    pub(crate) queued: Vec<Job>,
    pub(crate) samples: Samples,
    pub(crate) sizes: Sizes,
    pub(crate) monitor: Monitor,
    pub(crate) client_ip: String,
    pub(crate) watchdog: Option<WatchdogInfo>,
    /// Counts what ends a wait for a shutdown or a restart: the end, another request.
    pub(crate) power_events: u64,
    /// Counts restarts of the guest: they end a wait for a restart.
    pub(crate) reboots: u64,
}

/// What is read from the domain's XML, once per change.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    pub(crate) name: String,
    pub(crate) vm_type: String,
    pub(crate) acpi: bool,
    pub(crate) memory_kib: u64,
    pub(crate) has_balloon: bool,
    pub(crate) drives: Vec<Drive>,
    pub(crate) nics: Vec<Nic>,
    pub(crate) displays: Vec<DisplayInfo>,
    pub(crate) cpu_bandwidth: (Option<i64>, Option<u64>),
    /// Only of a live domain: before, devices have no addresses yet.
    pub(crate) hash: Option<String>,
    /// The live XML.
    pub(crate) xml: Option<String>,
}

/// The two newest samples and when they were taken, monotonic.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples {
    pub(crate) first: Option<(Duration, Arc<DomainStats>)>,
    pub(crate) last: Option<(Duration, Arc<DomainStats>)>,
}

/// Does the domain answer?
#[derive(Debug, Clone, Copy)]
pub(crate) struct Monitor {
    /// When it last did, monotonic.
    pub(crate) answered: Duration,
    /// The last call did not come back in time.
    pub(crate) timed_out: bool,
}

impl View {
    /// Of XML that is not live.
    pub(crate) fn of(domain: &DomainXml) -> ModelResult<Self> {
        Ok(Self {
            name: domain.name(),
            vm_type: domain.vm_type().to_owned(),
            acpi: domain.acpi(),
            memory_kib: domain.memory_kib().unwrap_or(0),
            has_balloon: domain.has_balloon(),
            drives: domain.drives()?,
            nics: domain.nics(),
            displays: domain.displays(),
            cpu_bandwidth: domain.cpu_bandwidth(),
            hash: None,
            xml: None,
        })
    }

    /// Of the live domain.
    pub(crate) fn live(xml: &str) -> ModelResult<Self> {
        let domain = DomainXml::parse(xml)?;
        Ok(Self {
            hash: domain.devices_hash(),
            xml: Some(xml.to_owned()),
            ..Self::of(&domain)?
        })
    }
}

impl Core {
    /// Of a VM whose launch begins or that was found.
    pub(crate) fn new(machine: Machine, given_xml: String, view: View, now: Now) -> Self {
        Self {
            machine,
            given_xml,
            launch_paused: false,
            view: Arc::new(view),
            metadata: VmMetadata::default(),
            volumes: Vec::new(),
            defined: false,
            released: false,
            queued: Vec::new(),
            samples: Samples::default(),
            sizes: Sizes::default(),
            monitor: Monitor {
                answered: now.monotonic,
                timed_out: false,
            },
            client_ip: String::new(),
            watchdog: None,
            power_events: 0,
            reboots: 0,
        }
    }
}

impl Vm {
    pub(crate) fn new(
        id: VmId,
        core: Core,
        ports: Ports,
        publisher: Publisher,
    ) -> (Arc<Self>, mpsc::Receiver<Job>) {
        let (worker, inbox) = mpsc::channel();
        let vm = Self {
            id,
            core: Mutex::new(core),
            changed: Condvar::new(),
            verbs: Turn::default(),
            ending: Turn::default(),
            saves: Turn::default(),
            worker,
            publisher,
            ports,
        };
        (Arc::new(vm), inbox)
    }

    pub(crate) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Now {
        now(&self.ports)
    }

    /// Steps the machine, and does or orders what follows.
    pub(crate) fn apply(&self, input: Input) {
        let mut core = self.core();
        self.apply_to(&mut core, input);
    }

    /// The same under a lock that is held already.
    pub(crate) fn apply_to(&self, core: &mut Core, input: Input) {
        let now = self.now();
        let rebooted = matches!(input, Input::GuestReboot);
        let ends_waits = matches!(
            input,
            Input::Begin(Verb::Shutdown | Verb::Reboot | Verb::Destroy)
        );
        let before = core.machine.domain_status();
        let (machine, actions) = step(&core.machine, input, now);
        core.machine = machine;
        let after = core.machine.domain_status();
        if before != after {
            tracing::info!(vm = %self.id, %before, %after, "VM status");
        }
        let ended = matches!(core.machine.life, Life::Stopping(_) | Life::Down(_));
        if ends_waits || ended {
            core.power_events += 1;
        }
        if rebooted {
            core.reboots += 1;
        }
        for action in actions {
            self.follow(core, action, now);
        }
        self.changed.notify_all();
    }

    fn follow(&self, core: &mut Core, action: Action, now: Now) {
        match action {
            Action::Publish(news) => self.tell(core, news, now),
            Action::SaveMetadata => self.order(core, Job::SaveMetadata),
            Action::Check => self.order(core, Job::Check),
            Action::Release => self.order(core, Job::Release),
            Action::Destroy => self.order(core, Job::Destroy),
        }
    }

    /// Gives the VM's thread something to do, unless it waits there already.
    pub(crate) fn order(&self, core: &mut Core, job: Job) {
        if !core.queued.contains(&job) {
            core.queued.push(job);
            // The thread is gone only when the record is.
            let _ = self.worker.send(job);
        }
    }

    fn tell(&self, core: &Core, news: News, now: Now) {
        let detail = match (news, &core.machine.life) {
            (News::Status, Life::Down(exit)) => StatusDetail::Down {
                exit: exit.clone(),
                time_offset: core.machine.time_offset,
            },
            (News::Status, _) => StatusDetail::None,
            (News::Running, _) => StatusDetail::Running(Box::new(telling::running(core, now))),
            (News::Guest, _) => StatusDetail::Guest(GuestInfo::default()),
            (News::IoError { code, alias }, _) => {
                let drives = &core.view.drives;
                let drive = drives
                    .iter()
                    .find(|drive| drive.alias.as_deref() == Some(&alias));
                StatusDetail::IoError {
                    pause_code: code,
                    name: drive.map(|drive| drive.name.clone()),
                    path: drive.and_then(|drive| drive.path.clone()),
                    alias,
                }
            }
        };
        self.publisher.tell(VmEvent {
            vm_id: self.id,
            notify_time_ms: event_time_ms(now.monotonic),
            status: core.machine.seen(now),
            detail,
        });
    }

    /// Waits until `until` holds; `false` when the time is over.
    pub(crate) fn wait(&self, within: Duration, until: impl Fn(&Core) -> bool) -> bool {
        let deadline = Instant::now() + within;
        let mut core = self.core();
        while !until(&core) {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                return false;
            };
            (core, _) = self
                .changed
                .wait_timeout(core, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
        true
    }

    /// As lists tell it.
    pub(crate) fn info(&self) -> VmInfo {
        let status = self.core().machine.domain_status();
        self.info_with(status)
    }

    /// As the answer of its creation tells it.
    pub(crate) fn info_with(&self, status: VmStatus) -> VmInfo {
        let status_time_ms = event_time_ms(self.now().monotonic);
        VmInfo {
            vm_id: self.id,
            status,
            status_time_ms,
        }
    }

    /// Notes whether the domain answered a call.
    pub(crate) fn note_answer(&self, answered: bool) {
        let now = self.now();
        let mut core = self.core();
        core.monitor.timed_out = !answered;
        if answered {
            core.monitor.answered = now.monotonic;
        }
    }
}

/// Both clocks.
pub(crate) fn now(ports: &Ports) -> Now {
    Now {
        monotonic: ports.clock.monotonic(),
        wall: ports.clock.wall(),
    }
}
