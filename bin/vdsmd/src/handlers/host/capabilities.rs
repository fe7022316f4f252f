//! Capabilities of the host in the words of the wire. Numbers are strings where Engine parses strings; what is not
//! known is left out or has the word that Engine takes for it: a null is worse to it than an absent key.

use std::collections::BTreeMap;

use ::network::NetworkInfo;
use host_model::{Cpu, FcHost, Kdump, NumaNode};
use schema::{
    Str,
    host::{
        self as wire, CpuPlace, FcHba, HbaInventory, IscsiHba, NumaPages, OperatingSystem,
        PackageVersion, SeLinux,
    },
};

use super::network;

/// `Host.getCapabilities`.
pub(super) fn capabilities(
    host: host::Capabilities,
    networks: NetworkInfo,
    last_client_iface: Option<String>,
) -> wire::Capabilities {
    let counts = host.cpu_counts;
    let features = host.features;
    let net = network::told(networks);
    wire::Capabilities {
        kvm_enabled: Str(host.kvm),
        cpu_cores: Str(counts.cores),
        cpu_threads: Str(counts.threads),
        cpu_sockets: Str(counts.sockets),
        online_cpus: joined(host.cpus.iter().map(|cpu| cpu.id.to_string())),
        cpu_topology: host.cpus.iter().map(place).collect(),
        // Engine refuses the whole answer without it.
        cpu_speed: Str(host.cpu_mhz.unwrap_or(0.0)),
        cpu_model: host.cpu_model.unwrap_or_default(),
        cpu_flags: flags(host.cpu_flags, &host.cpu_models),
        vdsm_to_cpus_affinity: host.affinity,
        version_name: host.version.name,
        software_version: host.version.version,
        software_revision: host.version.revision,
        supported_engines: words(&host.engines),
        cluster_levels: words(&host.cluster_levels),
        networks: net.networks,
        bondings: net.bondings,
        bridges: net.bridges,
        nics: net.nics,
        vlans: net.vlans,
        nameservers: net.nameservers,
        supports_ipv6: net.supports_ipv6,
        ovn_configured: false,
        // None are run yet.
        hooks: BTreeMap::new(),
        operating_system: OperatingSystem {
            name: host.os.name,
            version: host.os.version,
            release: host.os.release,
            pretty_name: host.os.pretty_name,
        },
        uuid: host.id,
        packages: each(host.packages, package),
        realtime_kernel: host.realtime_kernel,
        kernel_args: host.kernel_args,
        nested_virtualization: host.nested,
        emulated_machines: host.machines,
        hba_inventory: hbas(host.iscsi_initiator.as_ref(), host.fc_hosts),
        // A host without iSCSI says so, as upstream does.
        iscsi_initiator_name: Some(host.iscsi_initiator.unwrap_or_default()),
        // Engine's only word for it.
        vm_types: words(&["kvm"]),
        mem_size: Str(host.memory_mib),
        reserved_mem: Str(host.reserved_mib.into()),
        guest_overhead: Str(host.guest_overhead_mib.into()),
        rng_sources: host.rng_sources,
        numa_node_distance: host.numa.iter().map(distances).collect(),
        numa_nodes: host.numa.into_iter().map(node).collect(),
        auto_numa_balancing: host.numa_balancing.map_or(2, i32::from),
        selinux: SeLinux {
            mode: Str(host
                .selinux
                .and_then(|it| i32::try_from(it).ok())
                .unwrap_or(-1)),
        },
        live_snapshot: Str(features.live_snapshot),
        live_merge: Str(features.live_merge),
        kdump_status: kdump(host.kdump),
        deferred_preallocation: features.deferred_preallocation,
        hostdev_passthrough: Str(host.iommu),
        additional_features: features.additional,
        hosted_engine_deployed: false,
        hugepages: host.hugepages,
        kernel_features: host.vulnerabilities.into_iter().map(mitigation).collect(),
        vnc_encrypted: host.vnc_tls,
        backup_enabled: features.backup,
        cold_backup_enabled: features.cold_backup,
        clear_bitmaps_enabled: features.clear_bitmaps,
        fips_enabled: host.fips,
        boot_uuid: host.boot_uuid.unwrap_or_default(),
        tsc_frequency: host.tsc_frequency,
        tsc_scaling: host.tsc_scaling,
        domain_versions: features.domain_versions.into_iter().map(small).collect(),
        supported_block_size: features.block_sizes,
        cd_change_pdiv: features.cd_change_pdiv,
        refresh_disk_supported: features.refresh_disk,
        replicate_extend: features.replicate_extend,
        measure_subchain: features.measure_subchain,
        measure_active: features.measure_active,
        mailbox_events: features.mailbox_events,
        zerocopy_migrations: features.zerocopy_migrations,
        qemu_image_info_bitmaps: features.qemu_image_info_bitmaps,
        net_config_dirty: net.config_dirty,
        last_client_iface,
        boot_time: None,
        connector_info: None,
        features: Some(host.optional.into_iter().map(optional).collect()),
    }
}

fn optional((name, it): (&'static str, host::Availability)) -> (String, wire::Feature) {
    let feature = wire::Feature {
        available: it.available,
        reason: it.reason,
    };
    (name.to_owned(), feature)
}

/// `Host.getHardwareInfo`.
pub(super) fn hardware(host: host::HardwareInfo) -> wire::HardwareInfo {
    wire::HardwareInfo {
        manufacturer: host.manufacturer,
        product_name: host.product,
        version: host.version,
        serial_number: host.serial,
        uuid: host.uuid,
        family: host.family,
    }
}

fn each<T, W>(all: BTreeMap<String, T>, on_wire: fn(T) -> W) -> BTreeMap<String, W> {
    all.into_iter()
        .map(|(name, one)| (name, on_wire(one)))
        .collect()
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn joined(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(",")
}

/// Flags, then `model_<name>` of each model.
fn flags(flags: Vec<String>, models: &[String]) -> String {
    let models = models.iter().map(|model| format!("model_{model}"));
    joined(flags.into_iter().chain(models))
}

/// Numbers of processors and formats are small.
pub(super) fn small(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn place(cpu: &Cpu) -> CpuPlace {
    CpuPlace {
        cpu_id: small(cpu.id),
        numa_cell_id: small(cpu.node),
        socket_id: small(cpu.socket),
        die_id: small(cpu.die),
        core_id: small(cpu.core),
    }
}

fn package(known: host_model::PackageVersion) -> PackageVersion {
    PackageVersion {
        version: known.version,
        release: known.release,
    }
}

/// Both lists are always there.
fn hbas(initiator: Option<&String>, fc: Vec<FcHost>) -> HbaInventory {
    let iscsi = initiator.map(|name| IscsiHba {
        initiator_name: name.clone(),
    });
    let fc = fc.into_iter().map(|host| FcHba {
        model: host.model,
        wwpn: host.wwpn,
        wwnn: host.wwnn,
    });
    HbaInventory {
        iscsi: iscsi.into_iter().collect(),
        fc: fc.collect(),
    }
}

fn distances(node: &NumaNode) -> (String, Vec<u32>) {
    (node.id.to_string(), node.distances.clone())
}

fn node(node: NumaNode) -> (String, wire::NumaNode) {
    let pages = node.pages.into_iter().map(|(size, count)| {
        let total_pages = Str(count.total);
        (size, NumaPages { total_pages })
    });
    let told = wire::NumaNode {
        total_memory: Str(node.total_kib / 1024),
        hugepages: pages.collect(),
        cpus: node.cpus,
    };
    (node.id.to_string(), told)
}

fn kdump(state: Kdump) -> i32 {
    match state {
        Kdump::Unknown => -1,
        Kdump::Disabled => 0,
        Kdump::Enabled => 1,
    }
}

/// `MDS: (Not affected)`.
fn mitigation((name, text): (String, String)) -> (String, String) {
    (name.to_uppercase(), format!("({text})"))
}
