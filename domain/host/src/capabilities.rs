//! What the host can do.
//!
//! Which facts there are: upstream `lib/vdsm/host/caps.py`. How they are written on the wire is the business of
//! whoever answers `Host.getCapabilities`.

use std::collections::{BTreeMap, BTreeSet};

use host_model::{Cpu, Facts, FcHost, Kdump, NumaNode, Os, PackageVersion, Packages};

use crate::{Availability, Features, Hypervisor, Inputs, LibvirtVersion, Version, optional};

/// What the host can do. What is not known is `None`, or empty.
#[derive(Debug, Clone)]
pub struct Capabilities {
    /// Do guests run under KVM?
    pub kvm: bool,
    /// Counts of sockets, cores, threads.
    pub cpu_counts: CpuCounts,
    /// Each thread of the processors, and where it is.
    pub cpus: Vec<Cpu>,
    /// Frequency of the processor.
    pub cpu_mhz: Option<f64>,
    /// Name of the processor.
    pub cpu_model: Option<String>,
    /// Flags of the kernel and features of libvirt, sorted, each once.
    pub cpu_flags: Vec<String>,
    /// Models of processors that guests can have.
    pub cpu_models: Vec<String>,
    /// CPUs that the agent itself may use.
    pub affinity: Vec<u32>,
    /// What the agent calls itself.
    pub version: Version,
    /// Versions of Engine that fit.
    pub engines: Vec<&'static str>,
    /// Compatibility levels of clusters that fit.
    pub cluster_levels: Vec<&'static str>,
    /// Distribution.
    pub os: Os,
    /// Id of the host.
    pub id: Option<String>,
    /// Versions of programs, by the names that upstream gives them.
    pub packages: BTreeMap<String, PackageVersion>,
    /// Is the kernel a real-time one?
    pub realtime_kernel: bool,
    /// Command line of the kernel.
    pub kernel_args: String,
    /// Can guests run guests?
    pub nested: bool,
    /// Machine types.
    pub machines: Vec<String>,
    /// Name of the iSCSI initiator.
    pub iscsi_initiator: Option<String>,
    /// Fibre Channel adapters.
    pub fc_hosts: Vec<FcHost>,
    /// Memory, MiB.
    pub memory_mib: u64,
    /// Memory kept for the host, MiB.
    pub reserved_mib: u32,
    /// Memory beyond a guest's own, MiB.
    pub guest_overhead_mib: u32,
    /// Sources of random numbers.
    pub rng_sources: Vec<String>,
    /// NUMA nodes.
    pub numa: Vec<NumaNode>,
    /// Is NUMA balancing on?
    pub numa_balancing: Option<bool>,
    /// SELinux: 1 enforcing, 0 permissive; `None`: off.
    pub selinux: Option<u32>,
    /// kdump for fencing.
    pub kdump: Kdump,
    /// Can devices of the host be given to guests?
    pub iommu: bool,
    /// Sizes of huge pages, KiB.
    pub hugepages: Vec<u64>,
    /// Vulnerabilities of the processor and what is done about them, in the kernel's words.
    pub vulnerabilities: BTreeMap<String, String>,
    /// Is VNC encrypted?
    pub vnc_tls: bool,
    /// FIPS mode.
    pub fips: bool,
    /// UUID of the file system of `/boot`.
    pub boot_uuid: Option<String>,
    /// Frequency of the time stamp counter, Hz, as libvirt writes it; or empty.
    pub tsc_frequency: String,
    /// Can it be scaled?
    pub tsc_scaling: bool,
    /// What the agent itself can do.
    pub features: Features,
    /// What the host may lack, by name.
    pub optional: BTreeMap<&'static str, Availability>,
}

impl Capabilities {
    /// The capabilities for these inputs.
    pub fn of(inputs: &Inputs<'_>) -> Self {
        let Inputs {
            facts,
            settings,
            features,
            version,
            ..
        } = *inputs;
        let none = Hypervisor::default();
        let hypervisor = inputs.hypervisor.unwrap_or(&none);
        Self {
            kvm: hypervisor.kvm,
            cpu_counts: CpuCounts::of(&facts.cpus, settings.threads_as_cores),
            cpus: facts.cpus.clone(),
            cpu_mhz: facts.cpu.mhz.as_ref().and_then(|mhz| mhz.parse().ok()),
            cpu_model: facts.cpu.model.clone(),
            cpu_flags: cpu_flags(facts, hypervisor),
            cpu_models: hypervisor.models.clone(),
            affinity: facts.affinity.clone(),
            version: version.clone(),
            engines: vec!["4.2", "4.3", "4.4", "4.5"],
            cluster_levels: cluster_levels(hypervisor.libvirt, hypervisor.qemu),
            os: facts.os.clone(),
            id: host_id(facts),
            packages: packages(facts, version),
            realtime_kernel: is_realtime(&facts.kernel.version),
            kernel_args: facts.kernel.command_line.clone(),
            nested: facts.nested,
            machines: hypervisor.machines.clone(),
            iscsi_initiator: facts.iscsi_initiator.clone(),
            fc_hosts: facts.fc_hosts.clone(),
            memory_mib: facts.memory.total / 1024,
            reserved_mib: settings.reserved_mib,
            guest_overhead_mib: settings.guest_overhead_mib,
            rng_sources: facts.rng_sources.clone(),
            numa: facts.numa.clone(),
            numa_balancing: numa_balancing(facts.numa_balancing),
            selinux: facts.selinux,
            kdump: facts.kdump,
            iommu: facts.iommu,
            hugepages: facts.hugepages.keys().copied().collect(),
            vulnerabilities: facts.vulnerabilities.clone(),
            vnc_tls: facts.vnc_tls.unwrap_or(false),
            fips: facts.fips,
            boot_uuid: facts.boot_uuid.clone(),
            tsc_frequency: hypervisor.tsc_frequency.clone(),
            tsc_scaling: hypervisor.tsc_scaling,
            features: features.clone(),
            optional: optional(facts, inputs.hypervisor),
        }
    }
}

/// Compatibility levels: 4.7 needs libvirt 8.0, 4.8 libvirt 10.10 and QEMU 9.1.
pub fn cluster_levels(
    libvirt: Option<LibvirtVersion>,
    qemu: Option<LibvirtVersion>,
) -> Vec<&'static str> {
    let mut levels = vec!["4.2", "4.3", "4.4", "4.5", "4.6"];
    if libvirt >= Some((8, 0)) {
        levels.push("4.7");
    }
    if libvirt >= Some((10, 10)) && qemu >= Some((9, 1)) {
        levels.push("4.8");
    }
    levels
}

/// How many there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuCounts {
    /// Sockets.
    pub sockets: u32,
    /// Cores of all sockets; threads, where threads count as cores.
    pub cores: u32,
    /// Threads of all cores.
    pub threads: u32,
}

impl CpuCounts {
    fn of(cpus: &[Cpu], threads_as_cores: bool) -> Self {
        let sockets: BTreeSet<_> = cpus.iter().map(|cpu| cpu.socket).collect();
        let cores: BTreeSet<_> = cpus.iter().map(|c| (c.socket, c.die, c.core)).collect();
        let cores = if threads_as_cores {
            cpus.len()
        } else {
            cores.len()
        };
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Self {
            sockets: count(sockets.len()),
            cores: count(cores),
            threads: count(cpus.len()),
        }
    }
}

fn numa_balancing(told: Option<u32>) -> Option<bool> {
    match told {
        Some(0) => Some(false),
        Some(1) => Some(true),
        _ => None,
    }
}

/// Flags of the kernel and features of libvirt; `spec_ctrl` where a usable model ends in `-IBRS`, for Engine asks
/// for it.
fn cpu_flags(facts: &Facts, hypervisor: &Hypervisor) -> Vec<String> {
    let both = facts.cpu.flags.iter().chain(&hypervisor.features);
    let mut flags: BTreeSet<&str> = both.map(String::as_str).collect();
    if hypervisor.models.iter().any(|m| m.ends_with("-IBRS")) {
        flags.insert("spec_ctrl");
    }
    flags.into_iter().map(str::to_owned).collect()
}

/// The id that was given to the host, else its firmware's.
fn host_id(facts: &Facts) -> Option<String> {
    let dmi = facts.dmi.uuid.as_ref().map(|uuid| uuid.to_lowercase());
    facts.vdsm_id.clone().or(dmi)
}

fn packages(facts: &Facts, version: &Version) -> BTreeMap<String, PackageVersion> {
    let mut out = BTreeMap::new();
    let (kernel, release) = facts
        .kernel
        .release
        .split_once('-')
        .unwrap_or((&facts.kernel.release, ""));
    let info = |version: &str, release: &str| PackageVersion {
        version: version.to_owned(),
        release: release.to_owned(),
    };
    out.insert("kernel".to_owned(), info(kernel, release));
    out.insert("vdsm".to_owned(), info(&version.version, &version.revision));
    if let Packages::Known(known) = &facts.packages {
        out.extend(known.iter().map(|(name, v)| (name.clone(), v.clone())));
    }
    out
}

/// `PREEMPT_RT` or `RT` as a word of `uname -v`.
fn is_realtime(version: &str) -> bool {
    version
        .split_whitespace()
        .any(|word| matches!(word, "RT" | "PREEMPT_RT"))
}
