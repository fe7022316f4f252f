//! Figures of VMs in the words of the wire: answers and events.

use std::{collections::BTreeMap, str::FromStr};

use schema::{
    Str,
    vm::{self as wire, VmStats},
};
use vm_model::{
    events::StatusDetail,
    exit::ExitInfo,
    stats::{
        self as model, BalloonInfo, DiskStats, DisplayInfo, GuestInfo, MemoryStats, NicStats,
        RunningStats, StatsBody,
    },
    status::VmStatus,
};

use super::words;

/// An entry of `VM.getStats` and `Host.getAllVmStats`.
pub(crate) fn stats(stats: model::VmStats) -> VmStats {
    let mut wire = match stats.body {
        StatsBody::Down { exit, time_offset } => down(&exit, time_offset),
        StatsBody::Alive {
            config,
            running,
            guest,
        } => VmStats {
            vm_name: Some(config.vm_name),
            vm_type: Some(config.vm_type),
            kvm_enable: Some(Str(config.kvm_enable)),
            acpi_enable: Some(Str(config.acpi_enable)),
            vm_jobs: Some(BTreeMap::new()),
            ..with_guest(running_stats(*running), guest)
        },
    };
    wire.vm_id = Some(stats.vm_id);
    wire.status = Some(words::vm_status(stats.status));
    wire.status_time = Some(Str(stats.status_time_ms));
    wire
}

/// What an event tells of one VM.
pub(crate) fn event(vm_id: uuid::Uuid, status: VmStatus, detail: StatusDetail) -> VmStats {
    let mut wire = match detail {
        StatusDetail::None => VmStats::default(),
        StatusDetail::Running(running) => running_stats(*running),
        StatusDetail::Guest(guest) => with_guest(VmStats::default(), guest),
        StatusDetail::Down { exit, time_offset } => VmStats {
            vm_id: Some(vm_id),
            ..down(&exit, time_offset)
        },
        StatusDetail::IoError {
            pause_code,
            alias,
            name,
            path,
        } => VmStats {
            pause_code: Some(pause_code.as_str().to_owned()),
            io_error: Some(wire::IoError { alias, name, path }),
            ..VmStats::default()
        },
    };
    wire.status = Some(words::vm_status(status));
    wire
}

fn down(exit: &ExitInfo, time_offset: Option<i64>) -> VmStats {
    VmStats {
        exit_code: small(exit.code.code()),
        exit_message: Some(exit.message.clone()),
        exit_reason: small(exit.reason.code()),
        time_offset: time_offset.map(Str),
        ..VmStats::default()
    }
}

fn small(number: i64) -> Option<i32> {
    i32::try_from(number).ok()
}

fn running_stats(stats: RunningStats) -> VmStats {
    VmStats {
        elapsed_time: Some(Str(stats.elapsed_seconds)),
        monitor_response: Some(Str(stats.monitor_response)),
        client_ip: Some(stats.client_ip),
        time_offset: Some(Str(stats.time_offset)),
        pause_code: stats.pause_code.map(|code| code.as_str().to_owned()),
        cpu_user: number(&stats.cpu.user),
        cpu_sys: number(&stats.cpu.sys),
        cpu_usage: Some(stats.cpu.usage),
        cpu_actual: Some(stats.cpu.actual),
        balloon_info: stats.balloon.as_ref().map(balloon),
        vcpu_count: stats.vcpu_count.map(Str),
        network: some_map(stats.networks, |nic| (nic.name.clone(), network(nic))),
        disks: some_map(stats.disks, |one| (one.name.clone(), disk(one))),
        memory_stats: stats.memory.as_ref().map(memory),
        display_info: Some(stats.display_info.into_iter().map(display).collect()),
        hash: stats.hash,
        watchdog_event: stats.watchdog.map(|event| wire::WatchdogEvent {
            time: event.time,
            action: event.action.to_owned(),
        }),
        vcpu_quota: stats.vcpu_quota.map(Str),
        vcpu_period: stats
            .vcpu_period
            .and_then(|period| i64::try_from(period).ok()),
        ..VmStats::default()
    }
}

fn with_guest(stats: VmStats, guest: GuestInfo) -> VmStats {
    VmStats {
        username: Some(guest.username),
        session: Some(guest.session),
        mem_usage: Some(Str(guest.mem_usage)),
        guest_cpu_count: Some(guest.cpu_count),
        apps_list: Some(guest.apps),
        guest_ips: Some(guest.ips),
        guest_fqdn: Some(guest.fqdn),
        ..stats
    }
}

/// A number that the model keeps as the text of the wire.
fn number<T: FromStr>(text: &str) -> Option<Str<T>> {
    text.parse().ok().map(Str)
}

fn some_map<T, V>(items: Vec<T>, entry: impl Fn(T) -> (String, V)) -> Option<BTreeMap<String, V>> {
    (!items.is_empty()).then(|| items.into_iter().map(entry).collect())
}

fn display(info: DisplayInfo) -> wire::DisplayInfo {
    wire::DisplayInfo {
        kind: info.kind,
        port: info.port,
        tls_port: info.tls_port,
        ip_address: info.ip_address,
    }
}

fn balloon(info: &BalloonInfo) -> wire::BalloonInfo {
    wire::BalloonInfo {
        max: Str(info.max),
        min: Str(info.min),
        current: Str(info.cur),
        target: Str(info.target),
        enabled: info.enabled,
    }
}

fn network(nic: NicStats) -> wire::NicStats {
    wire::NicStats {
        name: nic.name,
        mac_addr: nic.mac_addr,
        speed: Str(nic.speed),
        state: nic.state.to_owned(),
        rx: nic.rx.map(Str),
        tx: nic.tx.map(Str),
        rx_errors: nic.rx_errors.map(Str),
        rx_dropped: nic.rx_dropped.map(Str),
        tx_errors: nic.tx_errors.map(Str),
        tx_dropped: nic.tx_dropped.map(Str),
        sample_time: nic.sample_time,
    }
}

fn disk(disk: DiskStats) -> wire::DiskStats {
    let float = |text: &str| number(text).unwrap_or_default();
    wire::DiskStats {
        truesize: Str(disk.truesize),
        apparentsize: Str(disk.apparentsize),
        read_latency: float(&disk.read_latency),
        write_latency: float(&disk.write_latency),
        flush_latency: float(&disk.flush_latency),
        written_bytes: Str(disk.written_bytes),
        write_ops: Str(disk.write_ops),
        read_ops: Str(disk.read_ops),
        read_bytes: Str(disk.read_bytes),
        read_rate: float(&disk.read_rate),
        write_rate: float(&disk.write_rate),
        image_id: disk.image_id,
        lun_guid: disk.lun_guid,
    }
}

fn memory(memory: &MemoryStats) -> wire::MemoryStats {
    let mut stats = wire::MemoryStats {
        mem_total: Some(Str(memory.total)),
        mem_unused: Some(Str(memory.unused)),
        mem_free: Some(Str(memory.free)),
        ..wire::MemoryStats::default()
    };
    if let Some(rates) = memory.rates {
        stats.swap_in = Some(rates.swap_in);
        stats.swap_out = Some(rates.swap_out);
        stats.majflt = Some(rates.major_faults);
        stats.minflt = Some(rates.minor_faults);
        stats.pageflt = Some(rates.major_faults.saturating_add(rates.minor_faults));
    }
    stats
}
