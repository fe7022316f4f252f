//! From two samples of libvirt's bulk statistics to the figures of the wire (upstream's `vmstats.py`).
//!
//! Counters that went backwards (a domain restarted between the samples) count as no change.

use std::collections::BTreeMap;

use super::{BalloonInfo, CpuStats, DiskStats, MemoryRates, MemoryStats, NicStats};
use crate::{
    domain::Nic,
    drive::{Drive, DriveSource},
    ports::{BlockStats, DomainStats, Pdiv, VolumeSize},
};

/// Two samples and the time between them.
#[derive(Debug, Clone, Copy)]
pub struct Window<'a> {
    /// The older one, if there are two.
    pub first: Option<&'a DomainStats>,
    /// The newer one, if there is any.
    pub last: Option<&'a DomainStats>,
    /// Seconds between them.
    pub seconds: f64,
}

impl<'a> Window<'a> {
    /// Both, if there are two with time between them.
    fn both(&self) -> Option<(&'a DomainStats, &'a DomainStats)> {
        if self.seconds > 0.0 {
            Some((self.first?, self.last?))
        } else {
            None
        }
    }
}

/// `cpuUser`, `cpuSys`, `cpuUsage`, `cpuActual`.
pub fn cpu(window: &Window<'_>) -> CpuStats {
    let zero = || "0.00".to_owned();
    let none = CpuStats {
        user: zero(),
        sys: zero(),
        usage: zero(),
        actual: false,
    };
    let Some((first, last)) = window.both() else {
        return none;
    };
    let used =
        |sample: &DomainStats| Some(sample.cpu_user_ns?.saturating_add(sample.cpu_system_ns?));
    let (Some(before), Some(now)) = (used(first), used(last)) else {
        return none;
    };
    let percent = |ns: u64| format!("{:.2}", 100.0 * ns as f64 / window.seconds / 1e9);
    let sys = now.saturating_sub(before);
    let mut stats = CpuStats {
        sys: percent(sys),
        usage: now.to_string(),
        ..none
    };
    if let (Some(before), Some(now)) = (first.cpu_time_ns, last.cpu_time_ns) {
        stats.user = percent(now.saturating_sub(before).saturating_sub(sys));
        stats.actual = true;
    }
    stats
}

/// What balloon figures need beside the sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BalloonFacts {
    /// Memory at boot, KiB.
    pub memory_kib: u64,
    /// Guaranteed memory, KiB.
    pub minimum_kib: u64,
    /// Target, KiB.
    pub target_kib: u64,
    /// Is ballooning wanted?
    pub enabled: bool,
}

/// `balloonInfo`; nothing without a sample, as incomplete figures mislead the memory policy.
pub fn balloon(window: &Window<'_>, facts: Option<BalloonFacts>) -> Option<BalloonInfo> {
    let (facts, last) = (facts?, window.last?);
    Some(BalloonInfo {
        max: facts.memory_kib,
        min: facts.minimum_kib,
        cur: last.balloon.current.unwrap_or(0),
        target: facts.target_kib,
        enabled: facts.enabled,
    })
}

/// `memoryStats`; nothing where the guest's balloon driver tells nothing.
pub fn memory(window: &Window<'_>) -> Option<MemoryStats> {
    let last = &window.last?.balloon;
    let unused = last.unused.unwrap_or(0);
    Some(MemoryStats {
        total: last.available?,
        unused,
        free: unused.saturating_add(last.disk_caches.unwrap_or(0)),
        rates: memory_rates(window),
    })
}

fn memory_rates(window: &Window<'_>) -> Option<MemoryRates> {
    let (first, last) = window.both()?;
    let (first, last) = (&first.balloon, &last.balloon);
    let rate = |before: Option<u64>, now: Option<u64>| {
        let change = now.unwrap_or(0).saturating_sub(before.unwrap_or(0));
        (change as f64 / window.seconds).round_ties_even() as i64
    };
    Some(MemoryRates {
        swap_in: rate(first.swap_in, last.swap_in),
        swap_out: rate(first.swap_out, last.swap_out),
        major_faults: rate(first.major_fault, last.major_fault),
        minor_faults: rate(first.minor_fault, last.minor_fault),
    })
}

/// `network`: the NICs that are in both samples. `sampled_at` is seconds since boot.
pub fn networks(window: &Window<'_>, nics: &[Nic], sampled_at: f64) -> Vec<NicStats> {
    let Some((first, last)) = window.both() else {
        return Vec::new();
    };
    let entry = |nic: &Nic| {
        let name = nic.name.as_deref()?;
        let sample = last.nets.iter().find(|net| net.name == name)?;
        first.nets.iter().find(|net| net.name == name)?;
        let fast = matches!(nic.model.as_str(), "e1000" | "e1000e" | "virtio");
        Some(NicStats {
            name: name.to_owned(),
            mac_addr: nic.mac.clone(),
            speed: if fast { 1000 } else { 100 },
            state: "unknown",
            rx_errors: sample.rx_errs,
            rx_dropped: sample.rx_drop,
            tx_errors: sample.tx_errs,
            tx_dropped: sample.tx_drop,
            rx: sample.rx_bytes,
            tx: sample.tx_bytes,
            sample_time: sampled_at,
        })
    };
    nics.iter().filter_map(entry).collect()
}

/// `disks`: all drives; figures only for those in both samples. Sizes are those that storage told;
/// of drives that are not in `sizes` they are libvirt's, which for a sparse file tells what is
/// allocated as its size.
pub fn disks(
    window: &Window<'_>,
    drives: &[Drive],
    sizes: &BTreeMap<Pdiv, VolumeSize>,
) -> Vec<DiskStats> {
    let Some((first, last)) = window.both() else {
        return Vec::new();
    };
    drives
        .iter()
        .map(|drive| {
            let of = |sample: &'_ DomainStats| {
                sample
                    .blocks
                    .iter()
                    .find(|block| block.name == drive.name)
                    .cloned()
            };
            let stats = match (of(first), of(last)) {
                (Some(first), Some(last)) => measured(drive, &first, &last, window.seconds),
                _ => unmeasured(drive),
            };
            let size = drive.pdiv().and_then(|pdiv| sizes.get(&pdiv));
            match size {
                Some(size) => DiskStats {
                    truesize: size.allocated,
                    apparentsize: size.apparent,
                    ..stats
                },
                None => stats,
            }
        })
        .collect()
}

fn unmeasured(drive: &Drive) -> DiskStats {
    let text = |zero: &str| zero.to_owned();
    DiskStats {
        name: drive.name.clone(),
        truesize: 0,
        apparentsize: 0,
        read_latency: text("0"),
        write_latency: text("0"),
        flush_latency: text("0"),
        read_ops: 0,
        write_ops: 0,
        read_bytes: 0,
        written_bytes: 0,
        read_rate: text("0.0"),
        write_rate: text("0.0"),
        image_id: drive.pdiv().map(|pdiv| pdiv.image),
        lun_guid: match &drive.source {
            DriveSource::Lun(guid) => Some(guid.clone()),
            _ => None,
        },
    }
}

fn measured(drive: &Drive, first: &BlockStats, last: &BlockStats, seconds: f64) -> DiskStats {
    DiskStats {
        truesize: last.allocation.unwrap_or(0),
        apparentsize: last.physical.unwrap_or(0),
        read_latency: latency(
            [first.rd_times, first.rd_reqs],
            [last.rd_times, last.rd_reqs],
        ),
        write_latency: latency(
            [first.wr_times, first.wr_reqs],
            [last.wr_times, last.wr_reqs],
        ),
        flush_latency: latency(
            [first.fl_times, first.fl_reqs],
            [last.fl_times, last.fl_reqs],
        ),
        read_ops: last.rd_reqs.unwrap_or(0),
        write_ops: last.wr_reqs.unwrap_or(0),
        read_bytes: last.rd_bytes.unwrap_or(0),
        written_bytes: last.wr_bytes.unwrap_or(0),
        read_rate: rate(first.rd_bytes, last.rd_bytes, seconds),
        write_rate: rate(first.wr_bytes, last.wr_bytes, seconds),
        ..unmeasured(drive)
    }
}

/// Nanoseconds per operation between two pairs of time and operations.
fn latency(first: [Option<u64>; 2], last: [Option<u64>; 2]) -> String {
    let [Some(time_before), Some(ops_before)] = first else {
        return "0".to_owned();
    };
    let [Some(time_now), Some(ops_now)] = last else {
        return "0".to_owned();
    };
    match ops_now.saturating_sub(ops_before) {
        0 => "0".to_owned(),
        ops => format!(
            "{:?}",
            time_now.saturating_sub(time_before) as f64 / ops as f64
        ),
    }
}

/// Bytes per second.
fn rate(before: Option<u64>, now: Option<u64>, seconds: f64) -> String {
    match (before, now) {
        (Some(before), Some(now)) => format!("{:?}", now.saturating_sub(before) as f64 / seconds),
        _ => "0.0".to_owned(),
    }
}

/// `memUsage` in percent, from the balloon's figures.
pub fn memory_usage(memory: Option<&MemoryStats>, memory_kib: u64) -> u32 {
    let Some(memory) = memory.filter(|_| memory_kib > 0) else {
        return 0;
    };
    let used = u128::from(memory_kib.saturating_sub(memory.free));
    u32::try_from(used * 100 / u128::from(memory_kib)).unwrap_or(100)
}
