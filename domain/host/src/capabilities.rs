//! `Host.getCapabilities`.
//!
//! Which keys there are and of what type: upstream `lib/vdsm/host/caps.py`; what Engine's parser does with each
//! was tried out key by key, and the types here are those that it takes.

use std::collections::{BTreeMap, BTreeSet};

use host_model::{Cpu, Facts, Kdump, NumaNode, PackageVersion, Packages};
use serde::Serialize;

use crate::{
    BondInfo, BridgeInfo, Hypervisor, Inputs, Ip, LibvirtVersion, NicInfo, Version, VlanInfo,
    interfaces::interfaces,
};

macro_rules! answer {
    ($(#[$meta:meta])* pub struct $name:ident { $( $(#[$fmeta:meta])* $field:ident: $type:ty = $key:literal, )+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Serialize)]
        pub struct $name {
            $( $(#[$fmeta])* #[serde(rename = $key)] pub $field: $type, )+
        }
    };
}

answer! {
    /// The answer. Fields are named as on the wire; see the serialised names for its exact keys.
    pub struct Capabilities {
        /// `"true"` or `"false"`.
        kvm_enabled: String = "kvmEnabled",
        /// Cores, as text.
        cpu_cores: String = "cpuCores",
        /// Threads, as text.
        cpu_threads: String = "cpuThreads",
        /// Sockets, as text.
        cpu_sockets: String = "cpuSockets",
        /// `0,1,...`.
        online_cpus: String = "onlineCpus",
        /// Place of each CPU.
        cpu_topology: Vec<CpuPlace> = "cpuTopology",
        /// MHz, as text; `0.0` where not known, for Engine refuses the whole answer without it.
        cpu_speed: String = "cpuSpeed",
        /// Name of the processor; empty where the kernel does not tell it.
        cpu_model: String = "cpuModel",
        /// Flags, features and `model_<name>` of usable models, with commas between.
        cpu_flags: String = "cpuFlags",
        /// CPUs that the agent itself may use.
        vdsm_to_cpus_affinity: Vec<u32> = "vdsmToCpusAffinity",
        /// Name of the release.
        version_name: String = "version_name",
        /// Version.
        software_version: String = "software_version",
        /// Revision.
        software_revision: String = "software_revision",
        /// Versions of Engine.
        supported_engines: Vec<&'static str> = "supportedENGINEs",
        /// Compatibility levels of clusters.
        cluster_levels: Vec<&'static str> = "clusterLevels",
        /// Networks of VDSM: none are made yet.
        networks: BTreeMap<String, Ip> = "networks",
        /// Bonds.
        bondings: BTreeMap<String, BondInfo> = "bondings",
        /// Bridges.
        bridges: BTreeMap<String, BridgeInfo> = "bridges",
        /// Network cards.
        nics: BTreeMap<String, NicInfo> = "nics",
        /// VLANs.
        vlans: BTreeMap<String, VlanInfo> = "vlans",
        /// Name servers.
        nameservers: Vec<String> = "nameservers",
        /// Is IPv6 there?
        supports_ipv6: bool = "supportsIPv6",
        /// Is OVN set up?
        ovn_configured: bool = "ovnConfigured",
        /// Hooks: none are run yet.
        hooks: BTreeMap<String, String> = "hooks",
        /// Distribution.
        operating_system: OperatingSystem = "operatingSystem",
        /// Id of the host.
        #[serde(skip_serializing_if = "Option::is_none")]
        uuid: Option<String> = "uuid",
        /// Versions of packages.
        packages2: BTreeMap<String, PackageInfo> = "packages2",
        /// Is the kernel a real-time one?
        realtime_kernel: bool = "realtimeKernel",
        /// Kernel command line.
        kernel_args: String = "kernelArgs",
        /// Can guests run guests?
        nested_virtualization: bool = "nestedVirtualization",
        /// Machine types.
        emulated_machines: Vec<String> = "emulatedMachines",
        /// Name of the iSCSI initiator.
        #[serde(skip_serializing_if = "Option::is_none")]
        iscsi_initiator_name: Option<String> = "ISCSIInitiatorName",
        /// Host adapters.
        hba_inventory: HbaInventory = "HBAInventory",
        /// `kvm`, Engine's only word for it.
        vm_types: Vec<&'static str> = "vmTypes",
        /// Memory, MiB, as text.
        mem_size: String = "memSize",
        /// Memory kept for the host, MiB, as text.
        reserved_mem: String = "reservedMem",
        /// Memory beyond a guest's own, MiB, as text.
        guest_overhead: String = "guestOverhead",
        /// Sources of random numbers.
        rng_sources: Vec<String> = "rngSources",
        /// NUMA nodes.
        numa_nodes: BTreeMap<String, NodeMemory> = "numaNodes",
        /// Their distances.
        numa_node_distance: BTreeMap<String, Vec<u32>> = "numaNodeDistance",
        /// 0 off, 1 on, 2 not known.
        auto_numa_balancing: u32 = "autoNumaBalancing",
        /// SELinux.
        selinux: Selinux = "selinux",
        /// `"true"` or `"false"`.
        live_snapshot: String = "liveSnapshot",
        /// `"true"` or `"false"`.
        live_merge: String = "liveMerge",
        /// -1 not known, 0 off, 1 on.
        kdump_status: i32 = "kdumpStatus",
        /// See [`crate::Features`].
        deferred_preallocation: bool = "deferred_preallocation",
        /// `"true"` or `"false"`.
        hostdev_passthrough: String = "hostdevPassthrough",
        /// See [`crate::Features`].
        additional_features: Vec<String> = "additionalFeatures",
        /// Is this a host of the hosted engine?
        hosted_engine_deployed: bool = "hostedEngineDeployed",
        /// Sizes of huge pages, KiB.
        hugepages: Vec<u64> = "hugepages",
        /// Vulnerabilities of the processor and what is done about them.
        kernel_features: BTreeMap<String, String> = "kernelFeatures",
        /// Is VNC encrypted?
        vnc_encrypted: bool = "vncEncrypted",
        /// See [`crate::Features`].
        backup_enabled: bool = "backupEnabled",
        /// See [`crate::Features`].
        cold_backup_enabled: bool = "coldBackupEnabled",
        /// See [`crate::Features`].
        clear_bitmaps_enabled: bool = "clearBitmapsEnabled",
        /// FIPS mode.
        fips_enabled: bool = "fipsEnabled",
        /// UUID of the file system of `/boot`, or empty.
        boot_uuid: String = "boot_uuid",
        /// Frequency of the time stamp counter, Hz, or empty.
        tsc_frequency: String = "tscFrequency",
        /// Can it be scaled?
        tsc_scaling: bool = "tscScaling",
        /// See [`crate::Features`].
        domain_versions: Vec<u32> = "domain_versions",
        /// See [`crate::Features`].
        supported_block_size: BTreeMap<String, Vec<u32>> = "supported_block_size",
        /// See [`crate::Features`].
        cd_change_pdiv: bool = "cd_change_pdiv",
        /// See [`crate::Features`].
        refresh_disk_supported: bool = "refresh_disk_supported",
        /// See [`crate::Features`].
        replicate_extend: bool = "replicate_extend",
        /// See [`crate::Features`].
        measure_subchain: bool = "measure_subchain",
        /// See [`crate::Features`].
        measure_active: bool = "measure_active",
        /// See [`crate::Features`].
        mailbox_events: bool = "mailbox_events",
        /// See [`crate::Features`].
        zerocopy_migrations: bool = "zerocopy_migrations",
        /// See [`crate::Features`].
        qemu_image_info_bitmaps: bool = "qemu_image_info_bitmaps",
        /// `"False"`: the agent changes no network, so none is unsaved.
        net_config_dirty: &'static str = "netConfigDirty",
        /// Interface of the last client.
        #[serde(skip_serializing_if = "Option::is_none")]
        last_client_iface: Option<String> = "lastClientIface",
    }
}

/// Place of a CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CpuPlace {
    /// Number.
    pub cpu_id: u32,
    /// NUMA node.
    pub numa_cell_id: u32,
    /// Socket.
    pub socket_id: u32,
    /// Die.
    pub die_id: u32,
    /// Core.
    pub core_id: u32,
}

/// `operatingSystem`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OperatingSystem {
    /// Release, or empty.
    pub release: String,
    /// Version.
    pub version: String,
    /// Name.
    pub name: String,
    /// Name for people.
    pub pretty_name: String,
}

/// One of `packages2`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackageInfo {
    /// Version.
    pub version: String,
    /// Release.
    pub release: String,
}

impl From<&PackageVersion> for PackageInfo {
    fn from(package: &PackageVersion) -> Self {
        Self {
            version: package.version.clone(),
            release: package.release.clone(),
        }
    }
}

/// `HBAInventory`: both lists are always there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct HbaInventory {
    /// iSCSI.
    #[serde(rename = "iSCSI")]
    pub iscsi: Vec<Hba>,
    /// Fibre Channel.
    #[serde(rename = "FC")]
    pub fc: Vec<Hba>,
}

/// A host adapter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Hba {
    /// iSCSI.
    Iscsi {
        /// Name of the initiator.
        #[serde(rename = "InitiatorName")]
        initiator: String,
    },
    /// Fibre Channel.
    Fc {
        /// World-wide port name.
        wwpn: String,
        /// World-wide node name.
        wwnn: String,
        /// Model.
        model: String,
    },
}

/// One of `numaNodes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeMemory {
    /// MiB, as text.
    #[serde(rename = "totalMemory")]
    pub total_memory: String,
    /// Size of a page (KiB) and how many there are.
    pub hugepages: BTreeMap<String, NodePages>,
    /// CPUs.
    pub cpus: Vec<u32>,
}

/// Pages of one size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodePages {
    /// How many, as text.
    #[serde(rename = "totalPages")]
    pub total_pages: String,
}

/// `selinux`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Selinux {
    /// `1` enforcing, `0` permissive, `-1` off.
    pub mode: String,
}

impl Capabilities {
    /// The answer for these inputs.
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
        let counts = CpuCounts::of(&facts.cpus);
        let cores = if settings.threads_as_cores {
            counts.threads
        } else {
            counts.cores
        };
        let net = interfaces(&facts.network, settings);
        Self {
            kvm_enabled: hypervisor.kvm.to_string(),
            cpu_cores: cores.to_string(),
            cpu_threads: counts.threads.to_string(),
            cpu_sockets: counts.sockets.to_string(),
            online_cpus: joined(facts.cpus.iter().map(|cpu| cpu.id.to_string())),
            cpu_topology: facts.cpus.iter().map(place).collect(),
            cpu_speed: facts.cpu.mhz.clone().unwrap_or_else(|| "0.0".to_owned()),
            cpu_model: facts.cpu.model.clone().unwrap_or_default(),
            cpu_flags: cpu_flags(facts, hypervisor),
            vdsm_to_cpus_affinity: facts.affinity.clone(),
            version_name: version.name.clone(),
            software_version: version.version.clone(),
            software_revision: version.revision.clone(),
            supported_engines: vec!["4.2", "4.3", "4.4", "4.5"],
            cluster_levels: cluster_levels(hypervisor.libvirt, hypervisor.qemu),
            networks: BTreeMap::new(),
            bondings: net.bondings,
            bridges: net.bridges,
            nics: net.nics,
            vlans: net.vlans,
            nameservers: facts.network.nameservers.clone(),
            supports_ipv6: facts.network.ipv6,
            ovn_configured: false,
            hooks: BTreeMap::new(),
            operating_system: operating_system(facts),
            uuid: host_id(facts),
            packages2: packages(facts, version),
            realtime_kernel: is_realtime(&facts.kernel.version),
            kernel_args: facts.kernel.command_line.clone(),
            nested_virtualization: facts.nested,
            emulated_machines: hypervisor.machines.clone(),
            iscsi_initiator_name: facts.iscsi_initiator.clone(),
            hba_inventory: hbas(facts),
            vm_types: vec!["kvm"],
            mem_size: (facts.memory.total / 1024).to_string(),
            reserved_mem: settings.reserved_mib.to_string(),
            guest_overhead: settings.guest_overhead_mib.to_string(),
            rng_sources: facts.rng_sources.clone(),
            numa_nodes: facts.numa.iter().map(node_memory).collect(),
            numa_node_distance: facts.numa.iter().map(node_distances).collect(),
            auto_numa_balancing: facts.numa_balancing.filter(|n| *n < 2).unwrap_or(2),
            selinux: selinux(facts),
            live_snapshot: features.live_snapshot.to_string(),
            live_merge: features.live_merge.to_string(),
            kdump_status: kdump(facts.kdump),
            deferred_preallocation: features.deferred_preallocation,
            hostdev_passthrough: facts.iommu.to_string(),
            additional_features: features.additional.clone(),
            hosted_engine_deployed: false,
            hugepages: facts.hugepages.keys().copied().collect(),
            kernel_features: kernel_features(facts),
            vnc_encrypted: facts.vnc_tls.unwrap_or(false),
            backup_enabled: features.backup,
            cold_backup_enabled: features.cold_backup,
            clear_bitmaps_enabled: features.clear_bitmaps,
            fips_enabled: facts.fips,
            boot_uuid: facts.boot_uuid.clone().unwrap_or_default(),
            tsc_frequency: hypervisor.tsc_frequency.clone(),
            tsc_scaling: hypervisor.tsc_scaling,
            domain_versions: features.domain_versions.clone(),
            supported_block_size: features.block_sizes.clone(),
            cd_change_pdiv: features.cd_change_pdiv,
            refresh_disk_supported: features.refresh_disk,
            replicate_extend: features.replicate_extend,
            measure_subchain: features.measure_subchain,
            measure_active: features.measure_active,
            mailbox_events: features.mailbox_events,
            zerocopy_migrations: features.zerocopy_migrations,
            qemu_image_info_bitmaps: features.qemu_image_info_bitmaps,
            net_config_dirty: "False",
            last_client_iface: inputs.last_client_iface.map(str::to_owned),
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

struct CpuCounts {
    sockets: usize,
    cores: usize,
    threads: usize,
}

impl CpuCounts {
    fn of(cpus: &[Cpu]) -> Self {
        let sockets: BTreeSet<_> = cpus.iter().map(|cpu| cpu.socket).collect();
        let cores: BTreeSet<_> = cpus.iter().map(|c| (c.socket, c.die, c.core)).collect();
        Self {
            sockets: sockets.len(),
            cores: cores.len(),
            threads: cpus.len(),
        }
    }
}

fn joined(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(",")
}

fn place(cpu: &Cpu) -> CpuPlace {
    CpuPlace {
        cpu_id: cpu.id,
        numa_cell_id: cpu.node,
        socket_id: cpu.socket,
        die_id: cpu.die,
        core_id: cpu.core,
    }
}

/// Flags of the kernel and features of libvirt, each once; `spec_ctrl` where a usable model ends in `-IBRS`,
/// for Engine asks for it; then the models.
fn cpu_flags(facts: &Facts, hypervisor: &Hypervisor) -> String {
    let both = facts.cpu.flags.iter().chain(&hypervisor.features);
    let mut flags: BTreeSet<&str> = both.map(String::as_str).collect();
    if hypervisor.models.iter().any(|m| m.ends_with("-IBRS")) {
        flags.insert("spec_ctrl");
    }
    let models = hypervisor.models.iter().map(|m| format!("model_{m}"));
    joined(flags.into_iter().map(str::to_owned).chain(models))
}

fn operating_system(facts: &Facts) -> OperatingSystem {
    let os = facts.os.clone();
    OperatingSystem {
        release: os.release,
        version: os.version,
        name: os.name,
        pretty_name: os.pretty_name,
    }
}

/// The id that was given to the host, else its firmware's.
fn host_id(facts: &Facts) -> Option<String> {
    let dmi = facts.dmi.uuid.as_ref().map(|uuid| uuid.to_lowercase());
    facts.vdsm_id.clone().or(dmi)
}

fn packages(facts: &Facts, version: &Version) -> BTreeMap<String, PackageInfo> {
    let mut out = BTreeMap::new();
    let (kernel, release) = facts
        .kernel
        .release
        .split_once('-')
        .unwrap_or((&facts.kernel.release, ""));
    let info = |version: &str, release: &str| PackageInfo {
        version: version.to_owned(),
        release: release.to_owned(),
    };
    out.insert("kernel".to_owned(), info(kernel, release));
    out.insert("vdsm".to_owned(), info(&version.version, &version.revision));
    if let Packages::Known(known) = &facts.packages {
        out.extend(known.iter().map(|(name, v)| (name.clone(), v.into())));
    }
    out
}

/// `PREEMPT_RT` or `RT` as a word of `uname -v`.
fn is_realtime(version: &str) -> bool {
    version
        .split_whitespace()
        .any(|word| matches!(word, "RT" | "PREEMPT_RT"))
}

fn hbas(facts: &Facts) -> HbaInventory {
    let iscsi = facts.iscsi_initiator.iter().map(|name| Hba::Iscsi {
        initiator: name.clone(),
    });
    let fc = facts.fc_hosts.iter().map(|host| Hba::Fc {
        wwpn: host.wwpn.clone(),
        wwnn: host.wwnn.clone(),
        model: host.model.clone(),
    });
    HbaInventory {
        iscsi: iscsi.collect(),
        fc: fc.collect(),
    }
}

fn node_memory(node: &NumaNode) -> (String, NodeMemory) {
    let pages = node.pages.iter().map(|(size, count)| {
        let total_pages = count.total.to_string();
        (size.to_string(), NodePages { total_pages })
    });
    let memory = NodeMemory {
        total_memory: (node.total_kib / 1024).to_string(),
        hugepages: pages.collect(),
        cpus: node.cpus.clone(),
    };
    (node.id.to_string(), memory)
}

fn node_distances(node: &NumaNode) -> (String, Vec<u32>) {
    (node.id.to_string(), node.distances.clone())
}

fn selinux(facts: &Facts) -> Selinux {
    let mode = facts.selinux.map_or("-1".to_owned(), |n| n.to_string());
    Selinux { mode }
}

fn kdump(state: Kdump) -> i32 {
    match state {
        Kdump::Unknown => -1,
        Kdump::Disabled => 0,
        Kdump::Enabled => 1,
    }
}

fn kernel_features(facts: &Facts) -> BTreeMap<String, String> {
    let entry = |(name, text): (&String, &String)| (name.to_uppercase(), format!("({text})"));
    facts.vulnerabilities.iter().map(entry).collect()
}
