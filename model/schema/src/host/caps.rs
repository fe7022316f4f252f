//! What the host can do: [`Capabilities`], the answer of `Host.getCapabilities`.
//!
//! Numbers are strings where Engine parses strings. Engine refuses the whole answer without `HBAInventory`,
//! `cpuSpeed`, the ids of `cpuTopology`, `nics`, `switch` of a network and `totalMemory` of a NUMA node.

use std::collections::BTreeMap;

use super::net::{Bond, Bridge, Network, Nic, Vlan};
use crate::values::{PyBool, Str};

wire! {
    /// What the host can do.
    pub struct Capabilities {
        /// Does KVM work?
        kvm_enabled "kvmEnabled": Str<bool>,
        /// Cores of all sockets.
        cpu_cores "cpuCores": Str<u32>,
        /// Threads of all cores.
        cpu_threads "cpuThreads": Str<u32>,
        /// Sockets.
        cpu_sockets "cpuSockets": Str<u32>,
        /// Numbers of the threads that are online, with commas.
        online_cpus "onlineCpus": String,
        /// Where each thread is.
        cpu_topology "cpuTopology": Vec<CpuPlace>,
        /// Megahertz, with decimals.
        cpu_speed "cpuSpeed": Str<f64>,
        /// Name of the processor.
        cpu_model "cpuModel": String,
        /// Features of the processor and `model_*` names of usable models, with commas.
        cpu_flags "cpuFlags": String,
        /// Threads to which the agent keeps.
        vdsm_to_cpus_affinity "vdsmToCpusAffinity": Vec<u32>,
        /// Name of the version.
        version_name: String,
        /// Version of the agent.
        software_version: String,
        /// Revision of the agent.
        software_revision: String,
        /// Versions of Engine that fit.
        supported_engines "supportedENGINEs": Vec<String>,
        /// Cluster levels that fit.
        cluster_levels "clusterLevels": Vec<String>,
        /// oVirt networks by name.
        networks: BTreeMap<String, Network>,
        /// Bonds by name.
        bondings: BTreeMap<String, Bond>,
        /// Bridges by name.
        bridges: BTreeMap<String, Bridge>,
        /// NICs by name.
        nics: BTreeMap<String, Nic>,
        /// VLANs by name.
        vlans: BTreeMap<String, Vlan>,
        /// Name servers.
        nameservers: Vec<String>,
        /// Is there IPv6?
        supports_ipv6 "supportsIPv6": bool,
        /// Is OVN set up?
        ovn_configured "ovnConfigured": bool,
        /// Hook scripts by the point at which they run, and by name.
        hooks: BTreeMap<String, BTreeMap<String, HookScript>>,
        /// Operating system.
        operating_system "operatingSystem": OperatingSystem,
        /// UUID of the host.
        uuid: Option<String>,
        /// Versions of programs by name.
        packages "packages2": BTreeMap<String, PackageVersion>,
        /// Is the kernel a real-time one?
        realtime_kernel "realtimeKernel": bool,
        /// Command line of the kernel.
        kernel_args "kernelArgs": String,
        /// Can guests be hypervisors?
        nested_virtualization "nestedVirtualization": bool,
        /// Machine types of QEMU.
        emulated_machines "emulatedMachines": Vec<String>,
        /// Name of the iSCSI initiator.
        iscsi_initiator_name "ISCSIInitiatorName": Option<String>,
        /// Host bus adapters.
        hba_inventory "HBAInventory": HbaInventory,
        /// `kvm`.
        vm_types "vmTypes": Vec<String>,
        /// Memory, MiB.
        mem_size "memSize": Str<u64>,
        /// Memory kept for the host, MiB.
        reserved_mem "reservedMem": Str<u64>,
        /// Memory that a VM costs beside the guest's, MiB.
        guest_overhead "guestOverhead": Str<u64>,
        /// Sources of randomness: `random`, `hwrng`.
        rng_sources "rngSources": Vec<String>,
        /// NUMA nodes by number.
        numa_nodes "numaNodes": BTreeMap<String, NumaNode>,
        /// Distances between NUMA nodes.
        numa_node_distance "numaNodeDistance": BTreeMap<String, Vec<u32>>,
        /// Automatic NUMA balancing: 0 off, 1 on, 2 unknown.
        auto_numa_balancing "autoNumaBalancing": i32,
        /// SELinux.
        selinux: SeLinux,
        /// Snapshots of running VMs?
        live_snapshot "liveSnapshot": Str<bool>,
        /// Merges on running VMs?
        live_merge "liveMerge": Str<bool>,
        /// kdump for fencing: 0 off, 1 on, -1 unknown.
        kdump_status "kdumpStatus": i32,
        /// Preallocation after creation?
        deferred_preallocation: bool,
        /// PCI passthrough?
        hostdev_passthrough "hostdevPassthrough": Str<bool>,
        /// More features by name.
        additional_features "additionalFeatures": Vec<String>,
        /// Is Hosted Engine set up?
        hosted_engine_deployed "hostedEngineDeployed": bool,
        /// Sizes of huge pages, KiB.
        hugepages: Vec<u64>,
        /// Faults of the processor and what is done about them, by name.
        kernel_features "kernelFeatures": BTreeMap<String, String>,
        /// VNC with TLS?
        vnc_encrypted "vncEncrypted": bool,
        /// Backups of running VMs?
        backup_enabled "backupEnabled": bool,
        /// Backups of VMs that are down?
        cold_backup_enabled "coldBackupEnabled": bool,
        /// Can bitmaps be removed?
        clear_bitmaps_enabled "clearBitmapsEnabled": bool,
        /// FIPS mode?
        fips_enabled "fipsEnabled": bool,
        /// UUID of the boot device.
        boot_uuid: String,
        /// Hertz of the time stamp counter, in a string; empty if unknown.
        tsc_frequency "tscFrequency": String,
        /// Can the time stamp counter be scaled?
        tsc_scaling "tscScaling": bool,
        /// Formats of storage domains.
        domain_versions: Vec<i32>,
        /// Sizes of sectors by type of domain; 0 stands for "find out".
        supported_block_size: BTreeMap<String, Vec<u32>>,
        /// Media changed by their ids?
        cd_change_pdiv: bool,
        /// Disks of running VMs refreshed?
        refresh_disk_supported: bool,
        /// Replicas extended?
        replicate_extend: bool,
        /// Parts of chains measured?
        measure_subchain: bool,
        /// Active volumes measured?
        measure_active: bool,
        /// Mailbox with events?
        mailbox_events: bool,
        /// Migrations without copies?
        zerocopy_migrations: bool,
        /// Bitmaps in `Volume.getQemuImageInfo`?
        qemu_image_info_bitmaps: bool,
        /// Was a network changed and not saved?
        net_config_dirty "netConfigDirty": Str<PyBool>,
        /// Interface through which this call came.
        last_client_iface "lastClientIface": Option<String>,
        /// Seconds since 1970 at which the host started.
        boot_time "bootTime": Option<Str<u64>>,
        /// What cinderlib needs to connect.
        connector_info: Option<BTreeMap<String, serde_json::Value>>,
        /// What a host may lack (iSCSI, sanlock, Open vSwitch, ...), by name; looked for at each call. Not of VDSM.
        features: Option<BTreeMap<String, Feature>>,
    }

    /// Something of the host that the agent does without if need be.
    pub struct Feature {
        /// Is all there that it needs?
        available: bool,
        /// Why not, and what to do; or what else is to know of it. Empty if there is nothing to say.
        reason: String,
    }

    /// Where a thread of the processor is. Engine needs numbers.
    pub struct CpuPlace {
        /// The thread.
        cpu_id: i32,
        /// Its NUMA node.
        numa_cell_id: i32,
        /// Its socket.
        socket_id: i32,
        /// Its die.
        die_id: i32,
        /// Its core.
        core_id: i32,
    }

    /// A hook script.
    pub struct HookScript {
        /// Its checksum.
        checksum: String,
    }

    /// Operating system. What is not known is empty.
    pub struct OperatingSystem {
        /// Its name: `Debian`, `RHEL`, ...
        name: String,
        /// Its version.
        version: String,
        /// Its release.
        release: String,
        /// Its name for people.
        pretty_name: String,
    }

    /// Version of a program. Engine needs strings.
    pub struct PackageVersion {
        /// Version.
        version: String,
        /// Release.
        release: String,
    }

    /// Host bus adapters.
    pub struct HbaInventory {
        /// iSCSI initiators.
        iscsi "iSCSI": Vec<IscsiHba>,
        /// Fibre Channel adapters.
        fc "FC": Vec<FcHba>,
    }

    /// An iSCSI initiator.
    pub struct IscsiHba {
        /// Its name.
        initiator_name "InitiatorName": String,
    }

    /// A Fibre Channel adapter.
    pub struct FcHba {
        /// Its model.
        model: String,
        /// Its port name.
        wwpn: String,
        /// Its node name.
        wwnn: String,
    }

    /// A NUMA node.
    pub struct NumaNode {
        /// Memory, MiB.
        total_memory "totalMemory": Str<u64>,
        /// Its threads.
        cpus: Vec<u32>,
        /// Huge pages by size in KiB.
        hugepages: BTreeMap<u64, NumaPages>,
    }

    /// Huge pages of a NUMA node.
    pub struct NumaPages {
        /// Pages.
        total_pages "totalPages": Str<u64>,
    }

    /// SELinux.
    pub struct SeLinux {
        /// `1` enforcing, `0` permissive, `-1` off.
        mode: Str<i32>,
    }
}
