//! Parsers of /proc.

use std::collections::BTreeMap;

use host_model::{CpuInfo, CpuTimes, Memory};

/// `/proc/stat`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) total: CpuTimes,
    pub(crate) cpus: BTreeMap<u32, CpuTimes>,
    pub(crate) boot_time: Option<u64>,
}

pub(crate) fn stat(text: &str) -> Result<Stat, String> {
    let mut stat = Stat::default();
    let mut has_total = false;
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("cpu") => {
                stat.total = cpu_times(words)?;
                has_total = true;
            }
            Some("btime") => stat.boot_time = words.next().and_then(|word| word.parse().ok()),
            Some(name) => {
                let number = name.strip_prefix("cpu").and_then(|n| n.parse().ok());
                if let Some(number) = number {
                    stat.cpus.insert(number, cpu_times(words)?);
                }
            }
            None => {}
        }
    }
    if has_total {
        Ok(stat)
    } else {
        Err("no line of all CPUs".to_owned())
    }
}

/// user nice system idle iowait irq softirq: niced programs are programs, interrupts are the kernel's work.
fn cpu_times<'a>(words: impl Iterator<Item = &'a str>) -> Result<CpuTimes, String> {
    let numbers: Vec<u64> = words
        .take(7)
        .map(str::parse)
        .collect::<Result<_, _>>()
        .map_err(|_| "CPU times are no numbers".to_owned())?;
    let at = |index: usize| numbers.get(index).copied().unwrap_or(0);
    if numbers.len() < 4 {
        return Err("fewer than four CPU times".to_owned());
    }
    Ok(CpuTimes {
        user: at(0).saturating_add(at(1)),
        system: at(2).saturating_add(at(5)).saturating_add(at(6)),
        idle: at(3),
    })
}

/// utime and stime of `/proc/<pid>/stat`; the name in brackets may hold anything.
pub(crate) fn pid_stat(text: &str) -> Result<CpuTimes, String> {
    let (_, rest) = text.rsplit_once(')').ok_or("no name in brackets")?;
    let mut words = rest.split_ascii_whitespace().skip(11);
    let mut next = || words.next().and_then(|word| word.parse().ok());
    let (user, system) = (next().ok_or("no utime")?, next().ok_or("no stime")?);
    Ok(CpuTimes {
        user,
        system,
        idle: 0,
    })
}

/// Resident pages of `/proc/<pid>/statm`.
pub(crate) fn statm_resident(text: &str) -> Result<u64, String> {
    let word = text.split_ascii_whitespace().nth(1);
    word.and_then(|word| word.parse().ok())
        .ok_or_else(|| "no resident pages".to_owned())
}

/// The five-minute load of `/proc/loadavg`, as written.
pub(crate) fn loadavg(text: &str) -> Result<String, String> {
    let word = text.split_ascii_whitespace().nth(1).unwrap_or_default();
    let load: f64 = word.parse().map_err(|_| "no load".to_owned())?;
    if load.is_finite() {
        Ok(word.to_owned())
    } else {
        Err("no load".to_owned())
    }
}

/// Lines `Name:   123 kB` of meminfo, of the host or of one NUMA node (there with `Node N` before them).
pub(crate) fn memory_lines(text: &str) -> BTreeMap<&str, u64> {
    text.lines()
        .filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            let name = name.split_ascii_whitespace().last()?;
            let number = value.split_ascii_whitespace().next()?.parse().ok()?;
            Some((name, number))
        })
        .collect()
}

pub(crate) fn meminfo(text: &str) -> Result<Memory, String> {
    let lines = memory_lines(text);
    let get = |name: &str| lines.get(name).copied();
    Ok(Memory {
        total: get("MemTotal").ok_or("no MemTotal")?,
        free: get("MemFree").ok_or("no MemFree")?,
        cached: get("Cached").unwrap_or(0),
        buffers: get("Buffers").unwrap_or(0),
        reclaimable: get("SReclaimable").unwrap_or(0),
        swap_total: get("SwapTotal").unwrap_or(0),
        swap_free: get("SwapFree").unwrap_or(0),
        anon_huge: get("AnonHugePages").unwrap_or(0),
    })
}

/// `/proc/cpuinfo`, of whatever architecture: the first value of each key counts.
pub(crate) fn cpuinfo(text: &str) -> CpuInfo {
    let mut info = CpuInfo::default();
    let mut mhz = None;
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.trim();
        match key.trim() {
            "flags" | "Features" | "features" if info.flags.is_empty() => {
                info.flags = value.split_ascii_whitespace().map(str::to_owned).collect();
            }
            "cpu MHz" | "BogoMIPS" | "cpu MHz dynamic" if mhz.is_none() => mhz = Some(value),
            "clock" if mhz.is_none() => mhz = value.strip_suffix("MHz"),
            "model name" | "CPU part" | "cpu" if info.model.is_none() => {
                info.model = Some(value.to_owned());
            }
            _ => {}
        }
    }
    let is_number = |text: &&str| text.parse::<f64>().is_ok_and(f64::is_finite);
    info.mhz = mhz.filter(is_number).map(str::to_owned);
    info
}

/// Numbers of a list as the kernel writes it: `0-3,8,10-11`. At most 65,536.
pub(crate) fn list(text: &str) -> Result<Vec<u32>, String> {
    const MOST: usize = 65_536;
    let mut out = Vec::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let number = |word: &str| word.parse::<u32>().map_err(|_| format!("no range: {part}"));
        let (from, to) = (number(from)?, number(to)?);
        if (to.saturating_sub(from) as usize) >= MOST - out.len().min(MOST) {
            return Err("too many numbers".to_owned());
        }
        out.extend(from..=to);
    }
    Ok(out)
}
