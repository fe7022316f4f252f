//! CPUs and NUMA nodes of /sys/devices/system.

use std::collections::BTreeMap;

use host_model::{Cpu, NumaNode, PageCount};

use crate::{files::Reader, memory, proc};

const CPUS: &str = "/sys/devices/system/cpu";
const NODES: &str = "/sys/devices/system/node";

/// NUMA nodes; a kernel without NUMA is one node with all CPUs.
pub(crate) fn nodes(reader: &mut Reader<'_>, base_page_kib: u64) -> Vec<NumaNode> {
    let mut numbers = reader
        .parsed(&format!("{NODES}/online"), proc::list)
        .unwrap_or_default();
    numbers.retain(|id| reader.exists(&format!("{NODES}/node{id}")));
    if let [] | [_] = numbers.as_slice() {
        return vec![only_node(reader, numbers.first().copied(), base_page_kib)];
    }
    numbers
        .into_iter()
        .map(|id| node(reader, id, base_page_kib))
        .collect()
}

fn node(reader: &mut Reader<'_>, id: u32, base_page_kib: u64) -> NumaNode {
    let dir = format!("{NODES}/node{id}");
    let meminfo = reader.text(&format!("{dir}/meminfo")).unwrap_or_default();
    let lines = proc::memory_lines(&meminfo);
    let get = |name| lines.get(name).copied().unwrap_or(0);
    let (total_kib, free_kib) = (get("MemTotal"), get("MemFree"));
    let huge = memory::page_counts(reader, &format!("{dir}/hugepages"));
    let distances = reader.line(&format!("{dir}/distance")).unwrap_or_default();
    NumaNode {
        id,
        cpus: reader
            .parsed(&format!("{dir}/cpulist"), proc::list)
            .unwrap_or_default(),
        total_kib,
        free_kib,
        pages: pages(huge, (total_kib, free_kib), base_page_kib),
        distances: distances
            .split_ascii_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect(),
    }
}

/// The one node of a host has all its memory: the node's own count may lag behind memory that was added.
fn only_node(reader: &mut Reader<'_>, id: Option<u32>, base_page_kib: u64) -> NumaNode {
    let memory = reader
        .parsed("/proc/meminfo", proc::meminfo)
        .unwrap_or_default();
    let huge = memory::page_counts(reader, memory::HUGEPAGES);
    NumaNode {
        id: id.unwrap_or(0),
        cpus: online(reader),
        total_kib: memory.total,
        free_kib: memory.free,
        pages: pages(huge, (memory.total, memory.free), base_page_kib),
        distances: vec![10],
    }
}

/// Counts of all sizes; base pages are what huge pages leave.
fn pages(
    mut pages: BTreeMap<u64, PageCount>,
    (total_kib, free_kib): (u64, u64),
    base_page_kib: u64,
) -> BTreeMap<u64, PageCount> {
    let huge = pages.iter().fold(0_u64, |sum, (size, count)| {
        sum.saturating_add(size.saturating_mul(count.total))
    });
    let base = PageCount {
        total: total_kib.saturating_sub(huge) / base_page_kib.max(1),
        free: free_kib / base_page_kib.max(1),
    };
    pages.insert(base_page_kib, base);
    pages
}

/// Numbers of online CPUs.
pub(crate) fn online(reader: &mut Reader<'_>) -> Vec<u32> {
    reader
        .parsed(&format!("{CPUS}/online"), proc::list)
        .unwrap_or_default()
}

/// Online CPUs and their places.
pub(crate) fn cpus(reader: &mut Reader<'_>, nodes: &[NumaNode]) -> Vec<Cpu> {
    let numbers = online(reader);
    numbers
        .into_iter()
        .map(|id| {
            let mut place = |name: &str| {
                let path = format!("{CPUS}/cpu{id}/topology/{name}");
                // Where the firmware tells nothing the kernel says -1.
                reader.number::<u32>(&path).unwrap_or(0)
            };
            let socket = place("physical_package_id");
            let die = place("die_id");
            let core = place("core_id");
            let node = nodes.iter().find(|node| node.cpus.contains(&id));
            Cpu {
                id,
                node: node.map_or(0, |node| node.id),
                socket,
                die,
                core,
            }
        })
        .collect()
}

/// Highest frequency in MHz, where cpuinfo tells none.
pub(crate) fn max_mhz(reader: &mut Reader<'_>) -> Option<String> {
    let khz: u64 = reader.number(&format!("{CPUS}/cpu0/cpufreq/cpuinfo_max_freq"))?;
    Some(format!("{}.{:03}", khz / 1000, khz % 1000))
}
