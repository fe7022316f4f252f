//! What the host does now.
//!
//! [`Sampler`] keeps the last two samples, which the caller takes every `host_sample_stats_interval`; rates come
//! from the two, everything else from the newer. With one sample rates are 0 and the CPUs count as idle.

use std::{collections::BTreeMap, time::Duration};

use host_model::{CpuTimes, HugePages, NumaNode, Sample};

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

    /// What the host does; `None` until there is a sample.
    pub fn stats(&self) -> Option<HostStats> {
        let last = self.last.as_ref()?;
        Some(HostStats::of(self.previous.as_ref(), last))
    }
}

/// What the host does. Percentages of the CPUs are of all together, 0 to 100.
#[derive(Debug, Clone, PartialEq)]
pub struct HostStats {
    /// Load of five minutes.
    pub load: f64,
    /// Use of all CPUs.
    pub cpu: Usage,
    /// Use by the agent itself, of one CPU.
    pub own: Usage,
    /// Memory used, percent.
    pub memory_used: u32,
    /// Memory that guests could get, MiB.
    pub memory_free_mib: u64,
    /// Transparent huge pages in use, MiB.
    pub anon_huge_mib: u64,
    /// Swap, MiB.
    pub swap_total_mib: u64,
    /// Swap that is free, MiB.
    pub swap_free_mib: u64,
    /// Sizes of huge pages, KiB, and counts.
    pub hugepages: BTreeMap<u64, HugePages>,
    /// Free space of a few folders, MiB; one that cannot be read is left out.
    pub disks: BTreeMap<String, u64>,
    /// Transparent huge pages: `always`, `madvise` or `never`.
    pub thp: String,
    /// When the host was started, seconds since 1970.
    pub boot_time: u64,
    /// NUMA nodes.
    pub numa: Vec<NodeStats>,
    /// CPUs by number; empty until there are two samples.
    pub cores: BTreeMap<u32, CoreStats>,
}

/// Use of CPUs, percent.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// By programs.
    pub user: f64,
    /// By the kernel.
    pub sys: f64,
}

impl Usage {
    /// What is left.
    pub fn idle(&self) -> f64 {
        (100.0 - self.user - self.sys).max(0.0)
    }
}

/// Memory of a NUMA node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStats {
    /// Its number.
    pub id: u32,
    /// Free, MiB.
    pub free_mib: u64,
    /// Percent used.
    pub used: u32,
    /// Sizes of pages, KiB, and how many are free.
    pub free_pages: BTreeMap<u64, u64>,
}

/// One CPU.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CoreStats {
    /// Its NUMA node.
    pub node: u32,
    /// Use of it.
    pub usage: Usage,
}

impl HostStats {
    /// From two samples, or one.
    pub fn of(previous: Option<&Sample>, now: &Sample) -> Self {
        let window = previous.and_then(|previous| Window::new(previous, now));
        let cpus = now.cpus.len().max(1) as f64;
        let usage = |of: fn(&Sample) -> CpuTimes, cpus: f64| {
            let rates = |w: &Window<'_>| w.rates(of(w.previous), of(now), cpus);
            window.as_ref().map(rates).unwrap_or_default()
        };
        Self {
            load: now
                .load
                .as_ref()
                .and_then(|it| it.parse().ok())
                .unwrap_or(0.0),
            cpu: usage(|sample| sample.total, cpus),
            own: usage(|sample| sample.own, 1.0),
            memory_used: used_percent(now.memory.available(), now.memory.total),
            memory_free_mib: now.memory.available() / 1024,
            anon_huge_mib: now.memory.anon_huge / 1024,
            swap_total_mib: now.memory.swap_total / 1024,
            swap_free_mib: now.memory.swap_free / 1024,
            hugepages: now.hugepages.clone(),
            disks: now.disks.iter().filter_map(disk_free).collect(),
            thp: now.thp.clone().unwrap_or_else(|| "never".to_owned()),
            boot_time: now.boot_time.unwrap_or_else(|| started(now)),
            numa: now.numa.iter().map(node_stats).collect(),
            cores: window.map(|w| w.cores()).unwrap_or_default(),
        }
    }
}

/// When the host was started, where the kernel does not tell it.
fn started(now: &Sample) -> u64 {
    let since = now.unix - now.monotonic.as_secs_f64();
    Duration::try_from_secs_f64(since).map_or(0, |since| since.as_secs())
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
    fn rates(&self, from: CpuTimes, to: CpuTimes, cpus: f64) -> Usage {
        let percent = |from: u64, to: u64| {
            let used = to.saturating_sub(from) as f64;
            (used * 100.0 / self.ticks / cpus).min(100.0)
        };
        Usage {
            user: percent(from.user, to.user),
            sys: percent(from.system, to.system),
        }
    }

    fn cores(&self) -> BTreeMap<u32, CoreStats> {
        let mut out = BTreeMap::new();
        for node in &self.now.numa {
            for cpu in &node.cpus {
                let (Some(from), Some(to)) = (self.previous.cpus.get(cpu), self.now.cpus.get(cpu))
                else {
                    continue;
                };
                let usage = self.rates(*from, *to, 1.0);
                out.insert(
                    *cpu,
                    CoreStats {
                        node: node.id,
                        usage,
                    },
                );
            }
        }
        out
    }
}

fn used_percent(free: u64, total: u64) -> u32 {
    let free = u128::from(free.min(total)) * 100;
    let part = free.checked_div(u128::from(total)).unwrap_or(0);
    100 - u32::try_from(part).unwrap_or(100)
}

fn disk_free((path, free): &(String, Option<u64>)) -> Option<(String, u64)> {
    Some((path.clone(), free.as_ref()? / (1 << 20)))
}

fn node_stats(node: &NumaNode) -> NodeStats {
    NodeStats {
        id: node.id,
        free_mib: node.free_kib / 1024,
        used: used_percent(node.free_kib, node.total_kib),
        free_pages: node
            .pages
            .iter()
            .map(|(size, count)| (*size, count.free))
            .collect(),
    }
}
