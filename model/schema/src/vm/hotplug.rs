//! Devices that come and go while the VM runs: NICs, disks, leases, memory, CPUs, devices of the host.
//!
//! Engine describes a device by a domain XML with that device alone. Where upstream answered the whole VM once, the
//! answer is empty now ([`Leftover`]).

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::{
    secret::{DomainXml, Secret},
    values::{Done, Leftover},
};

sealed! {
    /// A device to plug or unplug.
    pub struct DeviceOrder {
        /// The VM, once more; not used.
        vm_id "vmId": Option<Uuid>,
        /// A domain XML with the device and its metadata.
        xml: Option<DomainXml>,
    }

    /// Memory to plug or unplug.
    pub struct MemoryOrder {
        /// The VM, once more; not used.
        vm_id "vmId": Option<Uuid>,
        /// A domain XML with the memory device.
        xml: Option<DomainXml>,
        /// Guaranteed to the VM from now on, MiB.
        guaranteed "memGuaranteedSize": Option<u64>,
    }

    /// A device to change. `deviceType` decides which other keys count.
    pub struct DeviceChange {
        /// `interface` or `graphics`.
        device_type "deviceType": Option<String>,
        /// The NIC: a domain XML with it.
        xml: Option<DomainXml>,
        /// NIC: its alias.
        alias: Option<String>,
        /// NIC: is its cable in?
        link_active "linkActive": Option<bool>,
        /// NIC: its network, or empty.
        network: Option<String>,
        /// NIC: networks whose traffic it mirrors.
        port_mirroring "portMirroring": Option<Vec<String>>,
        /// NIC: its network filter.
        filter: Option<String>,
        /// NIC: parameters of the filter.
        filter_parameters "filterParameters": Option<Vec<FilterParameter>>,
        /// NIC: custom properties.
        custom: Option<BTreeMap<String, String>>,
        /// NIC: greatest packet, bytes.
        mtu: Option<u32>,
        /// NIC: may it talk to other isolated ports?
        port_isolated: Option<bool>,
        /// Graphics: `vnc` or `spice`.
        graphics_type "graphicsType": Option<String>,
        /// Graphics: the ticket.
        password: Option<Secret>,
        /// Graphics: seconds that the ticket holds.
        ttl: Option<i32>,
        /// Graphics: what becomes of who is connected.
        existing_connection "existingConnAction": Option<super::guest::ConnectedAction>,
        /// Graphics: what to do when the user leaves.
        disconnect_action "disconnectAction": Option<String>,
        /// Graphics: minutes until that is done.
        disconnect_delay "consoleDisconnectActionDelay": Option<u32>,
        /// Graphics: more about the user.
        params: Option<BTreeMap<String, String>>,
    }
}

wire! {
    /// A parameter of a network filter.
    pub struct FilterParameter {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    }

    /// The lease of a VM, as a device.
    pub struct LeaseDevice {
        /// `lease`.
        kind "type": String,
        /// Domain of the lease.
        domain_id "sd_id": Uuid,
        /// The lease.
        lease_id: Uuid,
    }
}

namespace! {
    /// Devices that come and go while the VM runs.
    pub trait HotplugApi = "VM";

    /// Plugs a NIC.
    Virt fn hotplug_nic "hotplugNic" (HotplugNic {
        /// The VM.
        vm_id "vmID": Uuid,
        /// The NIC.
        order "params": DeviceOrder,
    }) -> Leftover = later;

    /// Unplugs a NIC.
    Virt fn hotunplug_nic "hotunplugNic" (HotunplugNic {
        /// The VM.
        vm_id "vmID": Uuid,
        /// The NIC.
        order "params": DeviceOrder,
    }) -> Leftover = later;

    /// Plugs a disk.
    Virt fn hotplug_disk "hotplugDisk" (HotplugDisk {
        /// The VM.
        vm_id "vmID": Uuid,
        /// The disk.
        order "params": DeviceOrder,
    }) -> Leftover = later;

    /// Unplugs a disk.
    Virt fn hotunplug_disk "hotunplugDisk" (HotunplugDisk {
        /// The VM.
        vm_id "vmID": Uuid,
        /// The disk.
        order "params": DeviceOrder,
    }) -> Leftover = later;

    /// Plugs a lease: from now on the VM holds it.
    Virt fn hotplug_lease "hotplugLease" (HotplugLease {
        /// The VM.
        vm_id "vmID": Uuid,
        /// The lease.
        lease: LeaseDevice,
    }) -> Leftover = later;

    /// Unplugs a lease.
    Virt fn hotunplug_lease "hotunplugLease" (HotunplugLease {
        /// The VM.
        vm_id "vmID": Uuid,
        /// The lease.
        lease: LeaseDevice,
    }) -> Leftover = later;

    /// Plugs memory.
    Virt fn hotplug_memory "hotplugMemory" (HotplugMemory {
        /// The VM.
        vm_id "vmID": Uuid,
        /// The memory.
        order "params": MemoryOrder,
    }) -> Leftover = later;

    /// Asks the guest to let memory go.
    Virt fn hotunplug_memory "hotunplugMemory" (HotunplugMemory {
        /// The VM.
        vm_id "vmID": Uuid,
        /// The memory.
        order "params": MemoryOrder,
    }) -> Done = later;

    /// Plugs devices of the host; answers those that were plugged.
    Virt fn hotplug_hostdev "hotplugHostdev" (HotplugHostdev {
        /// The VM.
        vm_id "vmID": Uuid,
        /// The devices by libvirt's names.
        devices: Vec<String>,
    }) -> Vec<String> = later;

    /// Unplugs devices of the host; answers those that were unplugged.
    Virt fn hotunplug_hostdev "hotunplugHostdev" (HotunplugHostdev {
        /// The VM.
        vm_id "vmID": Uuid,
        /// The devices by libvirt's names.
        devices: Vec<String>,
    }) -> Vec<String> = later;

    /// Sets how many CPUs are online.
    Virt fn set_number_of_cpus "setNumberOfCpus" (SetNumberOfCpus {
        /// The VM.
        vm_id "vmID": Uuid,
        /// How many.
        count "numberOfCpus": i32,
        /// CPUs of the host for each of them.
        cpusets: Option<Vec<String>> = null,
    }) -> Leftover = later;

    /// Changes a NIC or the graphics of a VM that runs.
    Virt fn update_device "updateDevice" (UpdateDevice {
        /// The VM.
        vm_id "vmID": Uuid,
        /// What changes.
        change "params": DeviceChange,
    }) -> Leftover = later;
}
