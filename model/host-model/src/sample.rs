//! One sample of what a host does.

use std::{collections::BTreeMap, time::Duration};

use crate::{HugePages, Memory, NumaNode};

/// One sample.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// Monotonic time since the host's start at which it was taken.
    pub monotonic: Duration,
    /// Wall clock at that time, seconds since 1970.
    pub unix: f64,
    /// Ticks in a second of all [`CpuTimes`].
    pub ticks_per_second: u64,
    /// All CPUs together.
    pub total: CpuTimes,
    /// CPU by number.
    pub cpus: BTreeMap<u32, CpuTimes>,
    /// This process.
    pub own: CpuTimes,
    /// Resident memory of this process, KiB.
    pub own_rss_kib: u64,
    /// Load of the last five minutes, as the kernel writes it.
    pub load: Option<String>,
    /// When the host was started, seconds since 1970.
    pub boot_time: Option<u64>,
    /// `/proc/meminfo`.
    pub memory: Memory,
    /// Sizes of huge pages (KiB) and their counts.
    pub hugepages: BTreeMap<u64, HugePages>,
    /// NUMA nodes.
    pub numa: Vec<NumaNode>,
    /// Transparent huge pages: `always`, `madvise`, `never`.
    pub thp: Option<String>,
    /// Path and bytes free there for the agent; `None` where it cannot be told.
    pub disks: Vec<(String, Option<u64>)>,
}

/// CPU time used, ticks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuTimes {
    /// By programs, niced ones included.
    pub user: u64,
    /// By the kernel for programs.
    pub system: u64,
    /// Idle.
    pub idle: u64,
}
