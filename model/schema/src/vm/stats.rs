//! Figures of a VM: [`VmStats`], for `VM.getStats`, `Host.getAllVmStats` and the event of its status.
//!
//! All keys are optional: a VM that ended has other keys than one that runs, and events carry only what changed.
//! Scalars are strings where Engine or upstream has strings, see [`Str`].

use std::collections::BTreeMap;

use uuid::Uuid;

use super::VmStatus;
use crate::values::{Percent, Str};

wire! {
    /// State and figures of a VM.
    pub struct VmStats: Default {
        /// The VM.
        vm_id "vmId": Option<Uuid>,
        /// Its state.
        status: Option<VmStatus>,
        /// Milliseconds of the monotonic clock at which this was so.
        status_time "statusTime": Option<Str<u64>>,
        /// Its name.
        vm_name "vmName": Option<String>,
        /// `kvm` or `qemu`.
        vm_type "vmType": Option<String>,
        /// Always `true`, as upstream.
        kvm_enable "kvmEnable": Option<Str<bool>>,
        /// Has it ACPI?
        acpi_enable "acpiEnable": Option<Str<bool>>,
        /// Seconds since it started.
        elapsed_time "elapsedTime": Option<Str<u64>>,
        /// `0` while its monitor answers, `-1` if not.
        monitor_response "monitorResponse": Option<Str<i32>>,
        /// Address of who looks at its console.
        client_ip "clientIp": Option<String>,
        /// Offset of its clock from UTC, seconds.
        time_offset "timeOffset": Option<Str<i64>>,
        /// Why it is paused: `NOERR`, `EIO`, `ENOSPC`, ...
        pause_code "pauseCode": Option<String>,
        /// Percent of one CPU used by QEMU outside the guest's CPUs.
        cpu_user "cpuUser": Option<Percent>,
        /// Percent of one CPU used by the guest's CPUs.
        cpu_sys "cpuSys": Option<Percent>,
        /// User and system time in nanoseconds; `0.00` before it is known.
        cpu_usage "cpuUsage": Option<String>,
        /// Are the CPU figures measured?
        cpu_actual "cpuActual": Option<bool>,
        /// CPUs online.
        vcpu_count "vcpuCount": Option<Str<u32>>,
        /// Microseconds per period that a CPU may use, -1 for all.
        vcpu_quota "vcpuQuota": Option<Str<i64>>,
        /// Microseconds of a period.
        vcpu_period "vcpuPeriod": Option<i64>,
        /// Percent to which the user limited the CPUs.
        vcpu_user_limit "vcpuUserLimit": Option<i64>,
        /// Consoles.
        display_info "displayInfo": Option<Vec<DisplayInfo>>,
        /// Changes when the devices change; Engine then reads the domain XML.
        hash: Option<String>,
        /// Changes when the TPM's state changes.
        tpm_hash "tpmHash": Option<String>,
        /// Changes when the firmware's variables change.
        nvram_hash "nvramHash": Option<String>,
        /// Block jobs; empty once none runs, absent while it is not known.
        vm_jobs "vmJobs": Option<BTreeMap<String, VmJob>>,
        /// Disks by their name in the guest.
        disks: Option<BTreeMap<String, DiskStats>>,
        /// NICs by their name on the host.
        network: Option<BTreeMap<String, NicStats>>,
        /// Balloon.
        balloon_info "balloonInfo": Option<BalloonInfo>,
        /// Memory as the guest sees it.
        memory_stats "memoryStats": Option<MemoryStats>,
        /// Limits of disks.
        io_tune "ioTune": Option<Vec<IoTune>>,
        /// Path of the medium.
        cdrom: Option<String>,
        /// Percent of a migration.
        migration_progress "migrationProgress": Option<u32>,
        /// What the watchdog did last.
        watchdog_event "watchdogEvent": Option<WatchdogEvent>,
        /// The disk that failed, in the event that tells of it.
        io_error "ioerror": Option<IoError>,
        /// Percent of memory in use, as the guest tells.
        mem_usage "memUsage": Option<Str<u32>>,
        /// User in the guest.
        username: Option<String>,
        /// State of the guest's session: `Unknown`, `Locked`, `Active`, ...
        session: Option<String>,
        /// CPUs that the guest has, -1 if it does not tell.
        guest_cpu_count "guestCPUCount": Option<i32>,
        /// Programs in the guest.
        apps_list "appsList": Option<Vec<String>>,
        /// Addresses of the guest.
        guest_ips "guestIPs": Option<String>,
        /// Full name of the guest.
        guest_fqdn "guestFQDN": Option<String>,
        /// Name of the guest.
        guest_name "guestName": Option<String>,
        /// System of the guest.
        guest_os "guestOs": Option<String>,
        /// More of the guest's system.
        guest_os_info "guestOsInfo": Option<BTreeMap<String, String>>,
        /// Time zone of the guest.
        guest_timezone "guestTimezone": Option<GuestTimezone>,
        /// File systems of the guest.
        disks_usage "disksUsage": Option<Vec<GuestMount>>,
        /// Interfaces of the guest.
        net_ifaces "netIfaces": Option<Vec<GuestInterface>>,
        /// How it ended: 0 as wished, 1 by an error.
        exit_code "exitCode": Option<i32>,
        /// Why it ended, for people.
        exit_message "exitMessage": Option<String>,
        /// Why it ended: upstream's `vmexitreason`.
        exit_reason "exitReason": Option<i32>,
    }

    /// A disk that failed.
    pub struct IoError {
        /// Alias of the disk.
        alias: String,
        /// Its name in the guest, if the disk is known.
        name: Option<String>,
        /// Its path, if the disk is known.
        path: Option<String>,
    }

    /// A console.
    pub struct DisplayInfo {
        /// `vnc` or `spice`.
        kind "type": String,
        /// Port, or `-1`.
        port: String,
        /// Port for TLS, `-1`, or empty.
        tls_port "tlsPort": String,
        /// Address.
        ip_address "ipAddress": String,
    }

    /// Figures of a disk.
    pub struct DiskStats {
        /// Bytes that its volume takes.
        truesize: Str<u64>,
        /// Bytes of its volume.
        apparentsize: Str<u64>,
        /// Nanoseconds per read.
        read_latency "readLatency": Str<f64>,
        /// Nanoseconds per write.
        write_latency "writeLatency": Str<f64>,
        /// Nanoseconds per flush.
        flush_latency "flushLatency": Str<f64>,
        /// Bytes written since the start.
        written_bytes "writtenBytes": Str<u64>,
        /// Writes since the start.
        write_ops "writeOps": Str<u64>,
        /// Reads since the start.
        read_ops "readOps": Str<u64>,
        /// Bytes read since the start.
        read_bytes "readBytes": Str<u64>,
        /// Bytes read per second.
        read_rate "readRate": Str<f64>,
        /// Bytes written per second.
        write_rate "writeRate": Str<f64>,
        /// Its image.
        image_id "imageID": Option<Uuid>,
        /// Its LUN.
        lun_guid "lunGUID": Option<String>,
    }

    /// Figures of a NIC. Counters are missing before the first sample.
    pub struct NicStats {
        /// Name of the interface on the host.
        name: String,
        /// Its address.
        mac_addr "macAddr": String,
        /// Megabits per second.
        speed: Str<u32>,
        /// Always `unknown`, as upstream.
        state: String,
        /// Bytes received.
        rx: Option<Str<u64>>,
        /// Bytes sent.
        tx: Option<Str<u64>>,
        /// Receive errors.
        rx_errors "rxErrors": Option<Str<u64>>,
        /// Received packets dropped.
        rx_dropped "rxDropped": Option<Str<u64>>,
        /// Send errors.
        tx_errors "txErrors": Option<Str<u64>>,
        /// Packets dropped on sending.
        tx_dropped "txDropped": Option<Str<u64>>,
        /// Seconds of the monotonic clock.
        sample_time "sampleTime": f64,
    }

    /// Balloon, KiB in strings.
    pub struct BalloonInfo {
        /// Most.
        max "balloon_max": Str<u64>,
        /// Least.
        min "balloon_min": Str<u64>,
        /// Now.
        current "balloon_cur": Str<u64>,
        /// Wanted.
        target "balloon_target": Str<u64>,
        /// Is there a balloon?
        enabled "ballooning_enabled": bool,
    }

    /// Memory as the guest sees it: KiB in strings, rates per second.
    pub struct MemoryStats: Default {
        /// All.
        mem_total: Option<Str<u64>>,
        /// Neither used nor caching.
        mem_unused: Option<Str<u64>>,
        /// Unused, buffers and caches.
        mem_free: Option<Str<u64>>,
        /// Buffers.
        mem_buffers: Option<Str<u64>>,
        /// Caches.
        mem_cached: Option<Str<u64>>,
        /// Pages swapped in.
        swap_in: Option<i64>,
        /// Pages swapped out.
        swap_out: Option<i64>,
        /// Major faults.
        majflt: Option<i64>,
        /// Minor faults.
        minflt: Option<i64>,
        /// All faults.
        pageflt: Option<i64>,
    }

    /// Limits of a disk.
    pub struct IoTune {
        /// Name in the guest.
        name: String,
        /// Its path.
        path: String,
        /// Limits by libvirt's names.
        io_tune "ioTune": BTreeMap<String, Str<u64>>,
    }

    /// A block job.
    pub struct VmJob {
        /// Its id.
        id: String,
        /// `block`.
        job_type "jobType": String,
        /// `commit`, `copy`, ...
        block_job_type "blockJobType": String,
        /// Megabytes per second, 0 for no limit.
        bandwidth: u64,
        /// Done, in a string.
        cur: Str<u64>,
        /// All, in a string.
        end: Str<u64>,
        /// Its image.
        image_id "imgUUID": Uuid,
    }

    /// What the watchdog did.
    pub struct WatchdogEvent {
        /// Seconds since 1970.
        time: f64,
        /// `Reset`, `Paused`, ...
        action: String,
    }

    /// Time zone of a guest.
    pub struct GuestTimezone {
        /// Minutes from UTC.
        offset: i32,
        /// Its name.
        zone: String,
    }

    /// A file system of a guest.
    pub struct GuestMount {
        /// Where it is mounted.
        path: String,
        /// Its type.
        fs: String,
        /// Bytes in all.
        total: Str<u64>,
        /// Bytes used.
        used: Str<u64>,
    }

    /// An interface of a guest.
    pub struct GuestInterface {
        /// Its name.
        name: String,
        /// Its address.
        hw: String,
        /// IPv4 addresses.
        inet: Vec<String>,
        /// IPv6 addresses.
        inet6: Vec<String>,
    }
}
