//! How the host does, in the words of the wire: counters and percentages are text with two decimals or none.

use std::{collections::BTreeMap, time::Duration};

use host::{CoreStats, NodeStats};
use net_model::{IfName, probe::Cause};
use observe::network::counters::NetworkStatistics;
use schema::{
    Str,
    domain::DomainVitals,
    host::{CpuStats, HostStats, HostedEngine, HugePages, NumaFreePages, NumaMemory, PathStats},
};
use uuid::Uuid;

use super::network;

/// What `Host.getStats` tells beside the host's own figures.
pub(super) struct Live {
    /// Time since the agent's start.
    pub(super) elapsed: Duration,
    /// Wall clock, seconds since 1970.
    pub(super) unix: u64,
    /// How the monitors of domains do.
    pub(super) domains: BTreeMap<Uuid, DomainVitals>,
    /// VMs.
    pub(super) vms: u32,
    /// VMs that are up.
    pub(super) active_vms: u32,
    /// What the interfaces moved.
    pub(super) network: NetworkStatistics,
    /// Interfaces of networks that do not answer.
    pub(super) down: BTreeMap<IfName, Cause>,
    /// Are there networks that a start of the host would not bring back?
    pub(super) dirty: bool,
}

/// `Host.getStats`.
pub(super) fn stats(host: host::HostStats, live: Live) -> HostStats {
    HostStats {
        cpu_load: host.load.into(),
        cpu_user: host.cpu.user.into(),
        cpu_sys: host.cpu.sys.into(),
        cpu_idle: host.cpu.idle().into(),
        cpu_sys_vdsmd: host.own.sys.into(),
        cpu_user_vdsmd: host.own.user.into(),
        elapsed_time: live.elapsed.as_secs_f64().into(),
        mem_used: Str(host.memory_used),
        anon_huge_pages: Str(host.anon_huge_mib),
        // Upstream swaps these two.
        rx_dropped: Str(live.network.rx_dropped),
        tx_dropped: Str(live.network.tx_dropped),
        network: network::statistics(live.network, &live.down),
        hugepages: host.hugepages.into_iter().map(huge_pages).collect(),
        disk_stats: host.disks.into_iter().map(path).collect(),
        thp_state: host.thp,
        boot_time: Str(host.boot_time),
        numa_node_mem_free: host.numa.into_iter().map(node).collect(),
        cpu_statistics: host.cores.into_iter().map(core).collect(),
        // Conversions: none are run yet.
        v2v_jobs: BTreeMap::new(),
        storage_domains: live.domains,
        // Multipath devices: none are watched yet.
        multipath_health: BTreeMap::new(),
        mem_free: host.memory_free_mib,
        mem_shared: None,
        ksm_state: None,
        ksm_pages: None,
        ksm_cpu: None,
        ksm_merge_across_nodes: None,
        swap_total: host.swap_total_mib,
        swap_free: host.swap_free_mib,
        vm_count: live.vms,
        vm_active: live.active_vms,
        // There are no migrations yet.
        vm_migrating: 0,
        incoming_vm_migrations: 0,
        outgoing_vm_migrations: 0,
        date_time: gmt(live.unix),
        // There is no memory overcommitment manager.
        mom_status: "inactive".to_owned(),
        net_config_dirty: live.dirty.into(),
        ha_stats: HostedEngine::default(),
        ha_score: None,
    }
}

fn huge_pages((size, pages): (u64, host_model::HugePages)) -> (u64, HugePages) {
    let counts = HugePages {
        free: pages.free,
        vm_free: pages.free,
        total: pages.total,
        total_mempolicy: pages.mempolicy,
        overcommit: pages.overcommit,
        reserved: pages.reserved,
        surplus: pages.surplus,
    };
    (size, counts)
}

fn path((path, free): (String, u64)) -> (String, PathStats) {
    (path, PathStats { free: Str(free) })
}

fn node(node: NodeStats) -> (String, NumaMemory) {
    let pages = node.free_pages.into_iter();
    let memory = NumaMemory {
        mem_free: Str(node.free_mib),
        mem_percent: node.used,
        hugepages: pages
            .map(|(size, free_pages)| (size, NumaFreePages { free_pages }))
            .collect(),
    };
    (node.id.to_string(), memory)
}

fn core((cpu, core): (u32, CoreStats)) -> (String, CpuStats) {
    let stats = CpuStats {
        node_index: core.node,
        cpu_user: core.usage.user.into(),
        cpu_sys: core.usage.sys.into(),
        cpu_idle: core.usage.idle().into(),
    };
    (cpu.to_string(), stats)
}

/// `2026-11-22T06:39:42 GMT` from seconds since 1970.
fn gmt(unix: u64) -> String {
    let (days, rest) = (unix / 86_400, unix % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02} GMT")
}

/// Gregorian date of a day since 1970-01-01; years are counted from March so that leap days come last.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_gmt() {
        assert_eq!(gmt(0), "1970-01-01T00:00:00 GMT");
        assert_eq!(gmt(951_782_400), "2000-02-29T00:00:00 GMT");
        assert_eq!(gmt(1_795_329_582), "2026-11-22T06:39:42 GMT");
        assert_eq!(gmt(4_107_542_399), "2100-02-28T23:59:59 GMT");
        assert_eq!(gmt(4_107_542_400), "2100-03-01T00:00:00 GMT");
    }
}
