//! `Host.getStats`: what the host does now.
//!
//! [`Sampler`] keeps the last two samples, which the caller takes every `host_sample_stats_interval`; rates come
//! from the two, everything else from the newer. With one sample rates are 0 and the CPUs count as idle.

use std::{collections::BTreeMap, time::Duration};

use host_model::{CpuTimes, HugePages, Link, NumaNode, Sample};
use serde::Serialize;

use crate::format::{gmt, two};

/// The last two samples.
#[derive(Debug, Clone, Default)]
pub struct Sampler {
    previous: Option<Sample>,
    last: Option<Sample>,
}

impl Sampler {
    /// Takes a new sample; one that is older than the last is dropped (its taker was stuck).
    pub fn push(&mut self, sample: Sample) {
        let stale = |last: &Sample| sample.monotonic <= last.monotonic;
        if self.last.as_ref().is_some_and(stale) {
            return;
        }
        self.previous = self.last.replace(sample);
    }

    /// The newest sample.
    pub fn last(&self) -> Option<&Sample> {
        self.last.as_ref()
    }

    /// The answer; `None` until there is a sample.
    pub fn stats(&self, live: &Live) -> Option<HostStats> {
        let last = self.last.as_ref()?;
        Some(HostStats::of(self.previous.as_ref(), last, live))
    }
}

/// What the answer needs beyond samples.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Live {
    /// Time since the agent's start.
    pub elapsed: Duration,
    /// Wall clock, seconds since 1970.
    pub unix: u64,
    /// Health of storage domains, by id.
    pub domains: BTreeMap<String, DomainHealth>,
    /// VMs.
    pub vms: VmCounts,
}

/// VMs by what they do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VmCounts {
    /// All.
    pub all: u32,
    /// Up.
    pub active: u32,
    /// Migrating to here.
    pub incoming: u32,
    /// Migrating from here.
    pub outgoing: u32,
}

/// Health of a storage domain as its monitor saw it last.
#[derive(Debug, Clone, PartialEq)]
pub struct DomainHealth {
    /// Error code; 0 is none.
    pub code: i32,
    /// Since the last check.
    pub last_check: Duration,
    /// Time that one read took, seconds.
    pub delay: f64,
    /// Is it usable?
    pub valid: bool,
    /// Its format.
    pub version: i32,
    /// Is the host's id in its lockspace ours?
    pub acquired: bool,
    /// Did a check take place at all?
    pub actual: bool,
}

macro_rules! answer {
    ($(#[$meta:meta])* pub struct $name:ident { $( $(#[$fmeta:meta])* $field:ident: $type:ty = $key:literal, )+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Serialize)]
        pub struct $name {
            $( $(#[$fmeta])* #[serde(rename = $key)] pub $field: $type, )+
        }
    };
}

answer! {
    /// The answer. Percentages are of all CPUs together, 0 to 100, as text with two decimals.
    pub struct HostStats {
        /// Load of five minutes.
        cpu_load: String = "cpuLoad",
        /// Programs.
        cpu_user: String = "cpuUser",
        /// Kernel.
        cpu_sys: String = "cpuSys",
        /// Idle.
        cpu_idle: String = "cpuIdle",
        /// The agent itself, within the kernel; of one CPU.
        cpu_sys_vdsmd: String = "cpuSysVdsmd",
        /// The agent itself; of one CPU.
        cpu_user_vdsmd: String = "cpuUserVdsmd",
        /// Seconds since the agent's start.
        elapsed_time: String = "elapsedTime",
        /// Memory used, percent, as text.
        mem_used: String = "memUsed",
        /// Transparent huge pages in use, MiB, as text.
        anon_huge_pages: String = "anonHugePages",
        /// Interfaces.
        network: BTreeMap<String, LinkStats> = "network",
        /// Received packets dropped, all interfaces (upstream swaps this and the next).
        rx_dropped: String = "rxDropped",
        /// Packets dropped on sending, all interfaces.
        tx_dropped: String = "txDropped",
        /// Size of a huge page, KiB, and counts.
        hugepages: BTreeMap<String, HugePageCounts> = "hugepages",
        /// Free space of a few folders; one that cannot be read is left out.
        disk_stats: BTreeMap<String, DiskFree> = "diskStats",
        /// `always`, `madvise` or `never`.
        thp_state: String = "thpState",
        /// Seconds since 1970, as text.
        #[serde(skip_serializing_if = "Option::is_none")]
        boot_time: Option<String> = "bootTime",
        /// NUMA nodes.
        numa_node_mem_free: BTreeMap<String, NodeFree> = "numaNodeMemFree",
        /// CPUs; empty until there are two samples.
        cpu_statistics: BTreeMap<String, CoreStats> = "cpuStatistics",
        /// Conversions: none are run yet.
        v2v_jobs: BTreeMap<String, String> = "v2vJobs",
        /// Storage domains.
        storage_domains: BTreeMap<String, DomainReport> = "storageDomains",
        /// Multipath devices with faults: none are watched yet.
        multipath_health: BTreeMap<String, String> = "multipathHealth",
        /// MiB.
        mem_free: u64 = "memFree",
        /// MiB.
        swap_total: u64 = "swapTotal",
        /// MiB.
        swap_free: u64 = "swapFree",
        /// VMs.
        vm_count: u32 = "vmCount",
        /// VMs that are up.
        vm_active: u32 = "vmActive",
        /// VMs that migrate.
        vm_migrating: u32 = "vmMigrating",
        /// Those that come.
        incoming_vm_migrations: u32 = "incomingVmMigrations",
        /// Those that go.
        outgoing_vm_migrations: u32 = "outgoingVmMigrations",
        /// `2026-11-22T06:39:42 GMT`.
        date_time: String = "dateTime",
        /// `inactive`: there is no memory overcommitment manager.
        mom_status: &'static str = "momStatus",
        /// `"False"`: the agent changes no network, so none is unsaved.
        net_config_dirty: &'static str = "netConfigDirty",
        /// Hosted engine.
        ha_stats: HaStats = "haStats",
    }
}

/// One interface; counters are text.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LinkStats {
    /// Name.
    pub name: String,
    /// Bytes received.
    pub rx: String,
    /// Bytes sent.
    pub tx: String,
    /// `up` or `down`.
    pub state: &'static str,
    /// Received packets dropped.
    pub rx_dropped: String,
    /// Packets dropped on sending.
    pub tx_dropped: String,
    /// Receive errors.
    pub rx_errors: String,
    /// Send errors.
    pub tx_errors: String,
    /// Mbit/s; 1000 where not told, as VDSM says it.
    pub speed: String,
    /// `full`, `half` or `unknown`.
    pub duplex: String,
    /// When the counters were read, seconds since 1970.
    pub sample_time: f64,
}

/// Huge pages of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct HugePageCounts {
    /// Free.
    pub free_hugepages: u64,
    /// Free for VMs.
    #[serde(rename = "vm.free_hugepages")]
    pub vm_free_hugepages: u64,
    /// All.
    pub nr_hugepages: u64,
    /// By memory policy.
    pub nr_hugepages_mempolicy: u64,
    /// Overcommit limit.
    pub nr_overcommit_hugepages: u64,
    /// Reserved.
    pub resv_hugepages: u64,
    /// Surplus.
    pub surplus_hugepages: u64,
}

/// Free space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DiskFree {
    /// MiB, as text.
    pub free: String,
}

/// One of `numaNodeMemFree`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeFree {
    /// MiB, as text.
    pub mem_free: String,
    /// Percent used.
    pub mem_percent: u64,
    /// Size of a page, KiB, and how many are free.
    pub hugepages: BTreeMap<String, FreePages>,
}

/// Free pages of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FreePages {
    /// How many.
    #[serde(rename = "freePages")]
    pub free_pages: u64,
}

/// One CPU; percentages of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CoreStats {
    /// NUMA node.
    pub node_index: u32,
    /// Programs.
    pub cpu_user: String,
    /// Kernel.
    pub cpu_sys: String,
    /// Idle.
    pub cpu_idle: String,
}

/// One of `storageDomains`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DomainReport {
    /// Error code.
    pub code: i32,
    /// Seconds, as text with one decimal.
    pub last_check: String,
    /// Seconds, as text.
    pub delay: String,
    /// Is it usable?
    pub valid: bool,
    /// Format.
    pub version: i32,
    /// Is the host's id ours?
    pub acquired: bool,
    /// Did a check take place?
    pub actual: bool,
}

/// Hosted engine: not set up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HaStats {
    /// Set up?
    pub configured: bool,
    /// Active?
    pub active: bool,
    /// Score.
    pub score: i32,
    /// In maintenance, all hosts.
    pub global_maintenance: bool,
    /// In maintenance, this host.
    pub local_maintenance: bool,
}

impl HostStats {
    /// The answer for two samples and the state of the agent.
    pub fn of(previous: Option<&Sample>, now: &Sample, live: &Live) -> Self {
        let window = previous.and_then(|previous| Window::new(previous, now));
        let cpus = now.cpus.len().max(1) as f64;
        let (user, sys) = window
            .as_ref()
            .map_or((0.0, 0.0), |w| w.rates(w.previous.total, now.total, cpus));
        let (own_user, own_sys) = window
            .as_ref()
            .map_or((0.0, 0.0), |w| w.rates(w.previous.own, now.own, 1.0));
        let dropped = |of: fn(&Link) -> u64| {
            let all = now.links.iter().map(of).fold(0, u64::saturating_add);
            all.to_string()
        };
        Self {
            cpu_load: now.load.clone().unwrap_or_else(|| "0.0".to_owned()),
            cpu_user: two(user),
            cpu_sys: two(sys),
            cpu_idle: two((100.0 - user - sys).max(0.0)),
            cpu_sys_vdsmd: two(own_sys),
            cpu_user_vdsmd: two(own_user),
            elapsed_time: two(live.elapsed.as_secs_f64()),
            mem_used: mem_used(now).to_string(),
            anon_huge_pages: (now.memory.anon_huge / 1024).to_string(),
            network: now.links.iter().map(|l| link_stats(l, now.unix)).collect(),
            rx_dropped: dropped(|link| link.counters.rx_dropped),
            tx_dropped: dropped(|link| link.counters.tx_dropped),
            hugepages: now.hugepages.iter().map(huge_pages).collect(),
            disk_stats: now.disks.iter().filter_map(disk_free).collect(),
            thp_state: now.thp.clone().unwrap_or_else(|| "never".to_owned()),
            boot_time: now.boot_time.map(|time| time.to_string()),
            numa_node_mem_free: now.numa.iter().map(node_free).collect(),
            cpu_statistics: window.map(|w| w.cores()).unwrap_or_default(),
            v2v_jobs: BTreeMap::new(),
            storage_domains: live.domains.iter().map(domain_report).collect(),
            multipath_health: BTreeMap::new(),
            mem_free: now.memory.available() / 1024,
            swap_total: now.memory.swap_total / 1024,
            swap_free: now.memory.swap_free / 1024,
            vm_count: live.vms.all,
            vm_active: live.vms.active,
            vm_migrating: live.vms.incoming.saturating_add(live.vms.outgoing),
            incoming_vm_migrations: live.vms.incoming,
            outgoing_vm_migrations: live.vms.outgoing,
            date_time: gmt(live.unix),
            mom_status: "inactive",
            net_config_dirty: "False",
            ha_stats: HaStats::default(),
        }
    }
}

/// Two samples with time between them.
struct Window<'a> {
    previous: &'a Sample,
    now: &'a Sample,
    /// Ticks of one CPU between the two.
    ticks: f64,
}

impl<'a> Window<'a> {
    fn new(previous: &'a Sample, now: &'a Sample) -> Option<Self> {
        let seconds = now.monotonic.checked_sub(previous.monotonic)?.as_secs_f64();
        let ticks = seconds * now.ticks_per_second as f64;
        (ticks > 0.0).then_some(Self {
            previous,
            now,
            ticks,
        })
    }

    /// Percent of user and system time of `cpus` CPUs. Counters that went back count as still.
    fn rates(&self, from: CpuTimes, to: CpuTimes, cpus: f64) -> (f64, f64) {
        let percent = |from: u64, to: u64| {
            let used = to.saturating_sub(from) as f64;
            (used * 100.0 / self.ticks / cpus).min(100.0)
        };
        let user = percent(from.user, to.user);
        let system = percent(from.system, to.system);
        (user, system)
    }

    fn cores(&self) -> BTreeMap<String, CoreStats> {
        let mut out = BTreeMap::new();
        for node in &self.now.numa {
            for cpu in &node.cpus {
                let (Some(from), Some(to)) = (self.previous.cpus.get(cpu), self.now.cpus.get(cpu))
                else {
                    continue;
                };
                let (user, sys) = self.rates(*from, *to, 1.0);
                let stats = CoreStats {
                    node_index: node.id,
                    cpu_user: two(user),
                    cpu_sys: two(sys),
                    cpu_idle: two((100.0 - user - sys).max(0.0)),
                };
                out.insert(cpu.to_string(), stats);
            }
        }
        out
    }
}

fn used_percent(free: u64, total: u64) -> u64 {
    let free = u128::from(free.min(total)) * 100;
    let part = free.checked_div(u128::from(total)).unwrap_or(0);
    100 - u64::try_from(part).unwrap_or(100)
}

fn mem_used(sample: &Sample) -> u64 {
    used_percent(sample.memory.available(), sample.memory.total)
}

fn link_stats(link: &Link, unix: f64) -> (String, LinkStats) {
    let counters = link.counters;
    let speed = if link.speed == 0 { 1000 } else { link.speed };
    let stats = LinkStats {
        name: link.name.clone(),
        rx: counters.rx_bytes.to_string(),
        tx: counters.tx_bytes.to_string(),
        state: if link.carrier { "up" } else { "down" },
        rx_dropped: counters.rx_dropped.to_string(),
        tx_dropped: counters.tx_dropped.to_string(),
        rx_errors: counters.rx_errors.to_string(),
        tx_errors: counters.tx_errors.to_string(),
        speed: speed.to_string(),
        duplex: link.duplex.clone(),
        sample_time: unix,
    };
    (link.name.clone(), stats)
}

fn huge_pages((size, pages): (&u64, &HugePages)) -> (String, HugePageCounts) {
    let counts = HugePageCounts {
        free_hugepages: pages.free,
        vm_free_hugepages: pages.free,
        nr_hugepages: pages.total,
        nr_hugepages_mempolicy: pages.mempolicy,
        nr_overcommit_hugepages: pages.overcommit,
        resv_hugepages: pages.reserved,
        surplus_hugepages: pages.surplus,
    };
    (size.to_string(), counts)
}

fn disk_free((path, free): &(String, Option<u64>)) -> Option<(String, DiskFree)> {
    let free = (free.as_ref()? / (1 << 20)).to_string();
    Some((path.clone(), DiskFree { free }))
}

fn node_free(node: &NumaNode) -> (String, NodeFree) {
    let pages = node.pages.iter().map(|(size, count)| {
        let free_pages = count.free;
        (size.to_string(), FreePages { free_pages })
    });
    let free = NodeFree {
        mem_free: (node.free_kib / 1024).to_string(),
        mem_percent: used_percent(node.free_kib, node.total_kib),
        hugepages: pages.collect(),
    };
    (node.id.to_string(), free)
}

fn domain_report((id, health): (&String, &DomainHealth)) -> (String, DomainReport) {
    let report = DomainReport {
        code: health.code,
        last_check: format!("{:.1}", health.last_check.as_secs_f64()),
        delay: health.delay.to_string(),
        valid: health.valid,
        version: health.version,
        acquired: health.acquired,
        actual: health.actual,
    };
    (id.clone(), report)
}
