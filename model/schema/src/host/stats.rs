//! How the host does: [`HostStats`], the answer of `Host.getStats`.
//!
//! Engine refuses the whole answer without the CPU figures, without `vm.free_hugepages` of a size of huge pages,
//! and without memory of a NUMA node that is told.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::{
    domain::DomainVitals,
    values::{Percent, PyBool, Str},
};

wire! {
    /// How the host does.
    pub struct HostStats {
        /// Load of the last minute.
        cpu_load "cpuLoad": Percent,
        /// Percent of all CPUs used by programs.
        cpu_user "cpuUser": Percent,
        /// Percent of all CPUs used by the kernel.
        cpu_sys "cpuSys": Percent,
        /// Percent of all CPUs idle.
        cpu_idle "cpuIdle": Percent,
        /// Percent of a CPU that the agent used in the kernel.
        cpu_sys_vdsmd "cpuSysVdsmd": Percent,
        /// Percent of a CPU that the agent used.
        cpu_user_vdsmd "cpuUserVdsmd": Percent,
        /// Seconds since the agent started.
        elapsed_time "elapsedTime": Percent,
        /// Percent of memory in use.
        mem_used "memUsed": Str<u32>,
        /// Anonymous huge pages, MiB.
        anon_huge_pages "anonHugePages": Str<u64>,
        /// Interfaces by name.
        network: BTreeMap<String, InterfaceStats>,
        /// Received packets dropped, all interfaces.
        rx_dropped "rxDropped": Str<u64>,
        /// Packets dropped on sending, all interfaces.
        tx_dropped "txDropped": Str<u64>,
        /// Huge pages by size in KiB.
        hugepages: BTreeMap<u64, HugePages>,
        /// Space at some paths.
        disk_stats "diskStats": BTreeMap<String, PathStats>,
        /// Transparent huge pages: `always`, `madvise`, `never`.
        thp_state "thpState": String,
        /// Seconds since 1970 at which the host started.
        boot_time "bootTime": Str<u64>,
        /// NUMA nodes by number.
        numa_node_mem_free "numaNodeMemFree": BTreeMap<String, NumaMemory>,
        /// Threads of the processor by number.
        cpu_statistics "cpuStatistics": BTreeMap<String, CpuStats>,
        /// Imports by id.
        v2v_jobs "v2vJobs": BTreeMap<String, V2vJob>,
        /// How the monitors of domains do.
        storage_domains "storageDomains": BTreeMap<Uuid, DomainVitals>,
        /// Multipath devices that miss paths.
        multipath_health "multipathHealth": BTreeMap<String, MultipathHealth>,
        /// Memory that VMs could get, MiB.
        mem_free "memFree": u64,
        /// Memory shared by KSM, MiB.
        mem_shared "memShared": Option<u64>,
        /// Does KSM run?
        ksm_state "ksmState": Option<bool>,
        /// Pages that KSM looks at in one go.
        ksm_pages "ksmPages": Option<u64>,
        /// Percent of a CPU used by KSM.
        ksm_cpu "ksmCpu": Option<u32>,
        /// Does KSM share across NUMA nodes?
        ksm_merge_across_nodes "ksmMergeAcrossNodes": Option<bool>,
        /// Swap, MiB.
        swap_total "swapTotal": u64,
        /// Swap free, MiB.
        swap_free "swapFree": u64,
        /// VMs known.
        vm_count "vmCount": u32,
        /// VMs up.
        vm_active "vmActive": u32,
        /// VMs that come or go.
        vm_migrating "vmMigrating": u32,
        /// VMs that come.
        incoming_vm_migrations "incomingVmMigrations": u32,
        /// VMs that go.
        outgoing_vm_migrations "outgoingVmMigrations": u32,
        /// Now: `2026-11-22T06:39:42 GMT`.
        date_time "dateTime": String,
        /// Memory overcommitment manager: `active`, `inactive`, `disabled`.
        mom_status "momStatus": String,
        /// Was a network changed and not saved?
        net_config_dirty "netConfigDirty": Str<PyBool>,
        /// Hosted Engine.
        ha_stats "haStats": HostedEngine,
        /// Score of Hosted Engine.
        ha_score "haScore": Option<i32>,
    }

    /// Figures of an interface.
    pub struct InterfaceStats {
        /// Its name.
        name: String,
        /// Bytes received.
        rx: Str<u64>,
        /// Bytes sent.
        tx: Str<u64>,
        /// `up` or `down`.
        state: String,
        /// Received packets dropped.
        rx_dropped "rxDropped": Str<u64>,
        /// Packets dropped on sending.
        tx_dropped "txDropped": Str<u64>,
        /// Receive errors.
        rx_errors "rxErrors": Str<u64>,
        /// Send errors.
        tx_errors "txErrors": Str<u64>,
        /// Megabits per second.
        speed: Str<u32>,
        /// `full`, `half`, `unknown`.
        duplex: String,
        /// Seconds since 1970.
        sample_time "sampleTime": f64,
    }

    /// Huge pages of one size.
    pub struct HugePages {
        /// Free.
        free "free_hugepages": u64,
        /// Free for VMs.
        vm_free "vm.free_hugepages": u64,
        /// All.
        total "nr_hugepages": u64,
        /// All, by memory policy.
        total_mempolicy "nr_hugepages_mempolicy": u64,
        /// That may be made beyond the reserved.
        overcommit "nr_overcommit_hugepages": u64,
        /// Promised, not yet taken.
        reserved "resv_hugepages": u64,
        /// Beyond the reserved.
        surplus "surplus_hugepages": u64,
    }

    /// Space at a path.
    pub struct PathStats {
        /// Free, MiB.
        free: Str<u64>,
    }

    /// Memory of a NUMA node.
    pub struct NumaMemory {
        /// Free, MiB.
        mem_free "memFree": Str<u64>,
        /// Percent in use.
        mem_percent "memPercent": u32,
        /// Huge pages by size in KiB.
        hugepages: BTreeMap<u64, NumaFreePages>,
    }

    /// Huge pages of a NUMA node.
    pub struct NumaFreePages {
        /// Free.
        free_pages "freePages": u64,
    }

    /// Figures of a thread of the processor.
    pub struct CpuStats {
        /// Its NUMA node.
        node_index "nodeIndex": u32,
        /// Percent used by programs.
        cpu_user "cpuUser": Percent,
        /// Percent used by the kernel.
        cpu_sys "cpuSys": Percent,
        /// Percent idle.
        cpu_idle "cpuIdle": Percent,
    }

    /// An import.
    pub struct V2vJob {
        /// Its state.
        status: String,
        /// What it does.
        description: String,
        /// Percent done.
        progress: u32,
    }

    /// Paths of a multipath device.
    pub struct MultipathHealth {
        /// Paths that work.
        valid_paths: u32,
        /// Paths that do not.
        failed_paths: Vec<String>,
    }

    /// Hosted Engine.
    pub struct HostedEngine: Default {
        /// Is it set up?
        configured: bool,
        /// Does it run?
        active: bool,
        /// Fitness of this host to run it.
        score: i32,
        /// Global maintenance?
        global_maintenance "globalMaintenance": bool,
        /// Maintenance of this host?
        local_maintenance "localMaintenance": bool,
    }
}
