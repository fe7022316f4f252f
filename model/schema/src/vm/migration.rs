//! Moving a running VM to another host: what Engine asks of the source, what the source asks of the destination.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::{GuestInterface, VmStatus};
use crate::{
    secret::DomainXml,
    values::{Done, Str},
};

wire_enum! {
    /// Where a VM goes.
    pub enum MigrationMode {
        /// To another host.
        Remote = "remote",
        /// Into a file: hibernation.
        File = "file",
    }

    /// How a VM goes.
    pub enum MigrationMethod {
        /// It runs on meanwhile.
        Online = "online",
    }
}

wire! {
    /// Something done when a migration makes no headway.
    pub struct ConvergenceAction {
        /// `setDowntime`, `abort`, `postcopy`.
        name: String,
        /// Its parameters: milliseconds of downtime.
        params: Vec<String>,
    }

    /// What to do after how many iterations without headway.
    pub struct ConvergenceStep {
        /// Iterations, or -1 for the end of all steps.
        limit: i32,
        /// What to do then.
        action: ConvergenceAction,
    }

    /// What to do when a migration makes no headway.
    pub struct ConvergenceSchedule {
        /// At the start.
        init: Vec<ConvergenceAction>,
        /// Later, in order.
        stalling: Vec<ConvergenceStep>,
    }

    /// How a VM shall move.
    pub struct MigrationOrder {
        /// The destination's agent: `host:port`.
        dst: Option<String>,
        /// The source as Engine names it; not used.
        src: Option<String>,
        /// Address of the destination for QEMU's traffic.
        dst_qemu "dstqemu": Option<String>,
        /// Hibernation: file of the VM's parameters.
        dst_params "dstparams": Option<String>,
        /// The VM, once more; not used.
        vm_id "vmId": Option<Uuid>,
        /// Where it goes; without it to another host.
        mode: Option<MigrationMode>,
        /// How it goes.
        method: Option<MigrationMethod>,
        /// Milliseconds that its CPUs may stand still in the end.
        downtime: Option<Str<u32>>,
        /// Slow the guest down when it writes faster than it moves?
        auto_converge "autoConverge": Option<Str<bool>>,
        /// Compress pages?
        compressed: Option<Str<bool>>,
        /// Through libvirt's connection?
        tunneled: Option<Str<bool>>,
        /// Encrypted by TLS?
        encrypted: Option<bool>,
        /// Give up when the guest stops for an input or output error?
        abort_on_error "abortOnError": Option<Str<bool>>,
        /// Address of the destination for consoles.
        console_address "consoleAddress": Option<String>,
        /// MiB per second at most.
        max_bandwidth "maxBandwidth": Option<i32>,
        /// Connections beside each other; 0 or absent means one.
        parallel: Option<u32>,
        /// Send pages without copying them first?
        zerocopy: Option<bool>,
        /// What to do when it makes no headway.
        convergence_schedule "convergenceSchedule": Option<ConvergenceSchedule>,
        /// Tell the guest's agent before and after?
        enable_guest_events "enableGuestEvents": Option<bool>,
        /// Most migrations to the destination at once.
        incoming_limit "incomingLimit": Option<u32>,
        /// Most migrations from this host at once.
        outgoing_limit "outgoingLimit": Option<u32>,
        /// CPUs of the destination for each of its CPUs.
        cpusets: Option<Vec<String>>,
        /// NUMA nodes of the destination for each of its nodes.
        numa_nodesets "numaNodesets": Option<Vec<String>>,
    }

    /// What may change while a migration runs.
    pub struct MigrationChange {
        /// MiB per second at most.
        max_bandwidth "maxBandwidth": Option<i32>,
    }

    /// How a migration goes.
    pub struct MigrationReport: Default {
        /// The VM.
        vm_id "vmId": Option<Uuid>,
        /// How the call went; Engine reads only its message.
        status: Option<crate::values::CallStatus>,
        /// Percent.
        progress: Option<u32>,
        /// Milliseconds that the CPUs stood still.
        downtime: Option<u32>,
    }

    /// The destination is ready.
    pub struct MigrationTarget {
        /// Always 0: libvirt finds its port itself.
        port "migrationPort": i32,
        /// The VM as the destination has it.
        params: Map<String, Value>,
    }
}

sealed! {
    /// A VM as the source describes it to the destination.
    pub struct IncomingVm {
        /// The VM, once more.
        vm_id "vmId": Option<Uuid>,
        /// Domain XML as Engine made it.
        xml: Option<DomainXml>,
        /// Domain XML of the source as libvirt has it.
        source_xml "_srcDomXML": Option<DomainXml>,
        /// Its state at the source.
        status: Option<VmStatus>,
        /// Seconds that it has been running.
        elapsed_time_offset "elapsedTimeOffset": Option<f64>,
        /// Full name of the guest.
        guest_fqdn "guestFQDN": Option<String>,
        /// User in the guest.
        username: Option<String>,
        /// Interfaces of the guest.
        net_ifaces "netIfaces": Option<Vec<GuestInterface>>,
        /// Will the guest's agent be told?
        enable_guest_events "enableGuestEvents": Option<bool>,
        /// Always `libvirt`.
        migration_dest "migrationDest": Option<String>,
        /// Offset of its clock from UTC, seconds.
        time_offset "timeOffset": Option<Str<i64>>,
        /// Custom properties.
        custom: Option<BTreeMap<String, String>>,
    }
}

namespace! {
    /// Moving a running VM to another host.
    pub trait MigrationApi = "VM";

    /// Begins to move the VM; its state and the events tell how it goes.
    Virt fn migrate "migrate" (Migrate {
        /// The VM.
        vm_id "vmID": Uuid,
        /// How.
        order "params": MigrationOrder,
    }) -> Done = later;

    /// Ends a migration; the VM stays here.
    Virt fn migrate_cancel "migrateCancel" (MigrateCancel {
        /// The VM.
        vm_id "vmID": Uuid,
    }) -> Done = later;

    /// Changes a migration that runs.
    Virt fn migrate_change_params "migrateChangeParams" (MigrateChangeParams {
        /// The VM.
        vm_id "vmID": Uuid,
        /// What changes.
        change "params": MigrationChange,
    }) -> Done = later;

    /// Asked by the source's agent: makes the VM ready to arrive here.
    Virt fn migration_create "migrationCreate" (MigrationCreate {
        /// The VM.
        vm_id "vmID": Uuid,
        /// What it is.
        vm "params": IncomingVm,
        /// Most migrations to this host at once.
        incoming_limit "incomingLimit": Option<u32> = null,
    }) -> MigrationTarget = later;

    /// How a migration goes. Engine reads the events instead.
    Inline fn get_migration_status "getMigrationStatus" (GetMigrationStatus {
        /// The VM.
        vm_id "vmID": Uuid,
    }) -> MigrationReport = later;
}
