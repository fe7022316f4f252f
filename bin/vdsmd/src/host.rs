//! The host as the verbs see it: facts read when asked, statistics from the samples of one thread.

use std::{
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use config::Config;
use host::{
    Availability, Capabilities, Features, HardwareInfo, HostStats, Hypervisor, Inputs, Sampler,
    Settings, Version,
};
use libvirt::{DomainCapabilitiesQuery, Libvirt};
use observe::{Host, ObserveError};
use vm_model::preprocess::HostFacts;

use crate::accelerator::Look;

/// The host as the verbs see it.
pub(crate) struct HostView {
    observed: Arc<Host>,
    started: Instant,
    settings: Settings,
    features: Features,
    hypervisor: Arc<Asked>,
    sampling: Arc<Sampling>,
}

#[derive(Default)]
struct Sampling {
    sampler: Mutex<Sampler>,
    stop: Mutex<bool>,
    wake: Condvar,
}

impl HostView {
    /// Takes the first sample and starts two threads: one takes the others, one asks libvirt about the hypervisor,
    /// which takes seconds when it probes QEMU and must not keep the agent from serving.
    pub(crate) fn start(config: &Config, libvirt: &Arc<Libvirt>, look: Look) -> Result<Self> {
        let observed = Arc::new(Host::new());
        let sampling = Arc::new(Sampling::default());
        let taker = Taker {
            observed: observed.clone(),
            sampling: sampling.clone(),
            paths: config.sampling.disk_stats_paths.clone(),
            interval: config.vars.host_sample_stats_interval,
        };
        taker.take();
        thread::Builder::new()
            .name("host-samples".to_owned())
            .spawn(move || taker.run())
            .context("cannot start a thread")?;
        let hypervisor = Arc::new(Asked {
            libvirt: libvirt.clone(),
            look,
            known: Mutex::default(),
        });
        let early = hypervisor.clone();
        thread::Builder::new()
            .name("hypervisor".to_owned())
            .spawn(move || early.get().is_some())
            .context("cannot start a thread")?;
        Ok(Self {
            observed,
            started: Instant::now(),
            settings: settings(config),
            features: features(),
            hypervisor,
            sampling,
        })
    }

    /// What domain XML wants to know of the host.
    pub(crate) fn placeholders(&self) -> HostFacts {
        let facts = self.observed.facts();
        report(&facts.problems);
        let os = &facts.value.os;
        HostFacts {
            os_name: os.name.clone(),
            os_version: format!("{}-{}", os.version, os.release),
            serial: facts
                .value
                .vdsm_id
                .or(facts.value.dmi.uuid)
                .unwrap_or_default(),
        }
    }

    /// `Host.getCapabilities`. Waits for what libvirt tells; its calls are bounded.
    pub(crate) fn capabilities(&self) -> Capabilities {
        let facts = self.observed.facts();
        report(&facts.problems);
        let hypervisor = self.hypervisor.get();
        Capabilities::of(&Inputs {
            facts: &facts.value,
            hypervisor: hypervisor.as_deref(),
            settings: &self.settings,
            features: &self.features,
            version: &Version::default(),
        })
    }

    /// Is iSCSI there? Looked for now, with a few looks at paths.
    pub(crate) fn iscsi(&self) -> Availability {
        host::iscsi(&self.observed.parts())
    }

    /// `Host.getHardwareInfo`.
    pub(crate) fn hardware(&self) -> HardwareInfo {
        let facts = self.observed.facts();
        report(&facts.problems);
        HardwareInfo::of(&facts.value)
    }

    /// What the host does, from the last two samples; `None` if none could be taken.
    pub(crate) fn stats(&self) -> Option<HostStats> {
        lock(&self.sampling.sampler).stats()
    }

    /// Time since the agent's start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

impl Drop for HostView {
    fn drop(&mut self) {
        *lock(&self.sampling.stop) = true;
        self.sampling.wake.notify_all();
    }
}

/// Takes samples on a thread of its own: a disk that hangs holds up no verb.
struct Taker {
    observed: Arc<Host>,
    sampling: Arc<Sampling>,
    paths: Vec<PathBuf>,
    interval: Duration,
}

impl Taker {
    fn take(&self) {
        match self.observed.sample(&self.paths) {
            Ok(sample) => {
                report(&sample.problems);
                lock(&self.sampling.sampler).push(sample.value);
            }
            Err(error) => tracing::error!("no sample of the host: {error}"),
        }
    }

    fn run(self) {
        let mut stop = lock(&self.sampling.stop);
        while !*stop {
            let (guard, timeout) = self
                .sampling
                .wake
                .wait_timeout(stop, self.interval)
                .unwrap_or_else(PoisonError::into_inner);
            stop = guard;
            if timeout.timed_out() && !*stop {
                drop(stop);
                self.take();
                stop = lock(&self.sampling.stop);
            }
        }
    }
}

/// What libvirt told of the hypervisor, once it did.
struct Asked {
    libvirt: Arc<Libvirt>,
    look: Look,
    known: Mutex<Option<Arc<Hypervisor>>>,
}

impl Asked {
    /// Asks if nothing is known yet; others wait for the answer meanwhile. libvirt's calls are bounded.
    fn get(&self) -> Option<Arc<Hypervisor>> {
        let mut known = lock(&self.known);
        if known.is_none() {
            match hypervisor(&self.libvirt, self.look.kvm_works()) {
                Ok(told) => *known = Some(Arc::new(told)),
                Err(error) => tracing::warn!("capabilities without libvirt: {error:#}"),
            }
        }
        known.clone()
    }
}

/// What libvirt tells of the hypervisor. Slow the first time: libvirt probes QEMU.
fn hypervisor(libvirt: &Libvirt, kvm: bool) -> Result<Hypervisor> {
    let versions = libvirt.versions().context("versions of libvirt")?;
    let capabilities = libvirt
        .capabilities_xml()
        .context("capabilities of libvirt")?;
    let query = DomainCapabilitiesQuery {
        arch: Some(std::env::consts::ARCH.to_owned()),
        virt_type: Some(if kvm { "kvm" } else { "qemu" }.to_owned()),
        ..DomainCapabilitiesQuery::default()
    };
    let domain_capabilities = libvirt.domain_capabilities_xml(&query);
    let domain_capabilities = domain_capabilities.unwrap_or_else(|error| {
        tracing::warn!("no domain capabilities: {error}");
        "<domainCapabilities/>".to_owned()
    });
    let numbers = (Some(versions.daemon.0), Some(versions.hypervisor.0));
    let machine = std::env::consts::ARCH;
    Ok(Hypervisor::parse(
        kvm,
        machine,
        &capabilities,
        &domain_capabilities,
        numbers,
    )?)
}

fn settings(config: &Config) -> Settings {
    let vars = &config.vars;
    Settings {
        reserved_mib: vars.host_mem_reserve.saturating_add(vars.extra_mem_reserve),
        guest_overhead_mib: vars.guest_ram_overhead,
        threads_as_cores: vars.report_host_threads_as_cores,
    }
}

/// What this agent can do: true only where the verbs exist.
fn features() -> Features {
    let sizes = vec![0, 512, 4096];
    Features {
        domain_versions: vec![5],
        block_sizes: [("LOCALFS".to_owned(), sizes)].into(),
        ..Features::default()
    }
}

fn report(problems: &[ObserveError]) {
    for problem in problems {
        tracing::warn!("facts of the host: {problem}");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
