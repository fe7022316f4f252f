//! Namespace `Host`: the host as a whole, and questions about all VMs, tasks and domains.
//!
//! What it can do is [`Capabilities`], how it does is [`HostStats`]. Other subjects have files of their own:
//! [`network`], [`storage`] (devices, volume groups), [`devices`] (for guests), [`fence`], [`jobs`], [`transfer`]
//! (tickets of images), [`external`] (VMs from elsewhere), [`secrets`], [`tuning`] (memory, high availability).

mod caps;
pub mod devices;
pub mod external;
pub mod fence;
pub mod jobs;
mod net;
pub mod network;
pub mod secrets;
mod stats;
pub mod storage;
pub mod transfer;
pub mod tuning;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    desc::{Type, Wire},
    domain::{DomainClass, DomainType, DomainVitals},
    task::{TasksDetails, TasksInfo, TasksStatus},
    values::Done,
    vm::{VmStats, VmSummary},
};

pub use caps::*;
pub use net::*;
pub use stats::*;

wire_enum! {
    /// Least severity of what is logged.
    pub enum LogLevel {
        /// Everything.
        Debug = "DEBUG",
        /// What happens.
        Info = "INFO",
        /// What might be wrong.
        Warning = "WARNING",
        /// The same.
        Warn = "WARN",
        /// What failed.
        Error = "ERROR",
        /// What ends the agent.
        Critical = "CRITICAL",
        /// The same.
        Crit = "CRIT",
    }
}

wire! {
    /// What the firmware tells of the machine; what it does not tell is absent.
    pub struct HardwareInfo: Default {
        /// Who made it.
        manufacturer "systemManufacturer": Option<String>,
        /// What it is.
        product_name "systemProductName": Option<String>,
        /// Its version.
        version "systemVersion": Option<String>,
        /// Its serial number.
        serial_number "systemSerialNumber": Option<String>,
        /// Its UUID.
        uuid "systemUUID": Option<String>,
        /// Its family.
        family "systemFamily": Option<String>,
    }
}

/// A VM in a list: its id, or the VM in short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum VmListEntry {
    /// Only the id (`onlyUUID`).
    Id(Uuid),
    /// The VM in short.
    Vm(VmSummary),
}

impl Wire for VmListEntry {
    const TYPE: &'static Type = &Type::Union(&[VmSummary::TYPE, Uuid::TYPE]);
}

namespace! {
    /// The host, and what is on it.
    pub trait HostApi = "Host";

    /// Answers `true`; kept for old engines.
    Inline fn ping "ping" (Ping {}) -> Done;

    /// Answers `true` once recovery is over. Engine's sign of life.
    Inline fn ping2 "ping2" (Ping2 {}) -> Done;

    /// Answers what it was told.
    Inline fn echo "echo" (Echo {
        /// The text.
        message: String,
    }) -> String;

    /// What the host can do: processors, memory, networks, versions.
    Host fn get_capabilities "getCapabilities" (GetCapabilities {}) -> Capabilities;

    /// What the firmware tells of the machine.
    Query fn get_hardware_info "getHardwareInfo" (GetHardwareInfo {}) -> HardwareInfo;

    /// How the host does: load, memory, networks, domains.
    Query fn get_stats "getStats" (GetStats {}) -> HostStats;

    /// The VMs that the agent knows, in short.
    Inline fn get_vm_list "getVMList" (GetVMList {
        /// Not used.
        full_status "fullStatus": bool = false,
        /// Only these VMs; empty means all.
        vm_list "vmList": Vec<Uuid> = [],
        /// Only their ids.
        only_uuid "onlyUUID": bool = false,
    }) -> Vec<VmListEntry>;

    /// The VMs that the agent knows, in short: as `getVMList`, never ids alone.
    Inline fn get_vm_full_list "getVMFullList" (GetVMFullList {
        /// Only these VMs; empty means all.
        vm_list "vmList": Vec<Uuid> = [],
    }) -> Vec<VmSummary>;

    /// State and figures of all VMs.
    Inline fn get_all_vm_stats "getAllVmStats" (GetAllVmStats {}) -> Vec<VmStats>;

    /// Domain XML of VMs, as libvirt has it now, without secrets.
    Virt fn dumpxmls "dumpxmls" (DumpXmls {
        /// Only these VMs; empty means all.
        vm_list "vmList": Vec<Uuid> = [],
    }) -> BTreeMap<Uuid, String>;

    /// Ids of the domains that this host sees.
    Storage fn get_storage_domains "getStorageDomains" (GetStorageDomains {
        /// Only of this pool.
        pool_id "storagepoolID": Option<Uuid> = null,
        /// Only of this class.
        class "domainClass": Option<DomainClass> = null,
        /// Only of this type.
        domain_type "storageType": Option<DomainType> = null,
        /// Only at this path or export.
        remote_path "remotePath": Option<String> = null,
    }) -> Vec<Uuid>;

    /// How the monitors of domains do.
    Inline fn get_storage_repo_stats "getStorageRepoStats" (GetStorageRepoStats {
        /// Only of these domains; empty means all.
        domains: Vec<Uuid> = [],
    }) -> BTreeMap<Uuid, DomainVitals>;

    /// Ids of the pools that this host is connected to: none or one.
    Inline fn get_connected_storage_pools "getConnectedStoragePools" (GetConnectedStoragePools {}) -> Vec<Uuid>;

    /// All tasks with their details.
    Inline fn get_all_tasks "getAllTasks" (GetAllTasks {}) -> TasksDetails;

    /// What all tasks are for.
    Inline fn get_all_tasks_info "getAllTasksInfo" (GetAllTasksInfo {}) -> TasksInfo;

    /// State of all tasks.
    Inline fn get_all_tasks_statuses "getAllTasksStatuses" (GetAllTasksStatuses {}) -> TasksStatus;

    /// Sets the least severity of what is logged, until the agent ends.
    Inline fn set_log_level "setLogLevel" (SetLogLevel {
        /// The severity.
        level: LogLevel,
        /// Only of this part of the agent; empty means all.
        name: String = "",
    }) -> Done;
}
