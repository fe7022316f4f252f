//! Devices of the host that can be given to a guest: PCI, USB, SCSI, mediated devices, NVDIMMs.

use std::collections::BTreeMap;

use crate::values::{Done, Str};

wire! {
    /// Where a device is: PCI has domain, bus, slot and function; USB bus and device; SCSI host, bus, target and lun.
    pub struct DeviceAddress: Default {
        /// PCI domain.
        domain: Option<Str<u32>>,
        /// Bus.
        bus: Option<Str<u32>>,
        /// PCI slot.
        slot: Option<Str<u32>>,
        /// PCI function.
        function: Option<Str<u32>>,
        /// USB device.
        device: Option<Str<u32>>,
        /// SCSI host.
        host: Option<Str<u32>>,
        /// SCSI target.
        target: Option<Str<u32>>,
        /// SCSI LUN.
        lun: Option<Str<u64>>,
    }

    /// A type of mediated device that a device can make.
    pub struct MdevType {
        /// Its name for people.
        name: Option<String>,
        /// How many more can be made.
        available_instances: Option<String>,
        /// What it is.
        description: Option<String>,
    }

    /// A device. Engine needs `capability` and `parent`, and refuses null anywhere.
    pub struct HostDeviceParams {
        /// `pci`, `usb_device`, `scsi`, `mdev`, `net`, `storage`, `system`, `nvdimm`, ...
        capability: String,
        /// The device that it hangs on, by libvirt's name.
        parent: Option<String>,
        /// May a guest get it?
        is_assignable: Str<bool>,
        /// Who made it.
        vendor: Option<String>,
        /// Number of who made it: `0x8086`.
        vendor_id: Option<String>,
        /// What it is.
        product: Option<String>,
        /// Number of what it is.
        product_id: Option<String>,
        /// The kernel's driver.
        driver: Option<String>,
        /// Interface of a NIC.
        interface: Option<String>,
        /// Path of a SCSI generic device.
        udev_path: Option<String>,
        /// Path of its block device.
        block_path: Option<String>,
        /// Where it is.
        address: Option<DeviceAddress>,
        /// Group of devices that only go together, in a string.
        iommu_group: Option<Str<u32>>,
        /// The physical function that this virtual function belongs to.
        physfn: Option<String>,
        /// How many virtual functions it can have.
        totalvfs: Option<u32>,
        /// Types of mediated devices that it can make, by name.
        mdev: Option<BTreeMap<String, MdevType>>,
        /// NUMA node, in a string.
        numa_node: Option<String>,
        /// NVDIMM: path of its device.
        device_path: Option<String>,
        /// NVDIMM: its mode.
        mode: Option<String>,
        /// NVDIMM: alignment, bytes.
        align_size: Option<u64>,
        /// NVDIMM: size, bytes.
        device_size: Option<u64>,
    }

    /// A device of the host.
    pub struct HostDevice {
        /// What it is and where.
        params: HostDeviceParams,
    }
}

namespace! {
    /// Devices of the host for guests.
    pub trait HostDeviceApi = "Host";

    /// The host's devices by libvirt's names.
    Query fn hostdev_list_by_caps "hostdevListByCaps" (HostdevListByCaps {
        /// Only of these kinds (`pci`, `usb_device`, ...).
        caps: Option<Vec<String>> = null,
    }) -> BTreeMap<String, HostDevice> = later;

    /// Sets how many virtual functions a NIC has.
    Host fn hostdev_change_numvfs "hostdevChangeNumvfs" (HostdevChangeNumvfs {
        /// The NIC's device by libvirt's name.
        device_name "deviceName": String,
        /// How many.
        count "numvfs": u32,
    }) -> Done = later;

    /// Gives a device back to the host.
    Host fn hostdev_reattach "hostdevReattach" (HostdevReattach {
        /// The device by libvirt's name.
        device_name "deviceName": String,
    }) -> Done = later;
}
