//! Storage that this host sees: block devices, volume groups, and watching over domains that no pool holds.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::{
    domain::DomainType,
    secret::Disclosed,
    values::{Done, Str},
};

wire_enum! {
    /// How a block device is reached. Engine sends numbers of domain types as well.
    pub enum BlockDeviceType {
        /// Fibre Channel, and all that is not iSCSI.
        Fcp = "FCP" | 2,
        /// Both.
        Mixed = "MIXED",
        /// iSCSI.
        Iscsi = "iSCSI" | 3,
    }

    /// May a block device become part of a domain?
    pub enum BlockDeviceStatus {
        /// Yes: nothing is on it.
        Free = "free",
        /// Something is on it.
        Used = "used",
        /// It was not looked at.
        Unknown = "unknown",
    }

    /// State of a path to a block device.
    pub enum PathState {
        /// It works.
        Active = "active",
        /// It does not.
        Failed = "failed",
    }

    /// Are all devices of a volume group there?
    pub enum VolumeGroupState {
        /// Yes.
        Ok = "OK",
        /// No.
        Partial = "PARTIAL",
    }
}

wire! {
    /// A path to a block device. Engine reads the sizes out of strings alone.
    pub struct BlockDevicePath {
        /// The kernel's name of the disk: `sdb`.
        physdev: String,
        /// How it is reached.
        kind "type": BlockDeviceType,
        /// Does it work?
        state: PathState,
        /// Bytes.
        capacity: Option<Str<u64>>,
        /// Number of the LUN at its target.
        lun: Str<u32>,
    }

    /// The iSCSI session behind a path.
    pub struct IscsiSession {
        /// Address of the portal.
        connection: String,
        /// Port of the portal.
        port: Str<u32>,
        /// Group of the portal.
        portal: String,
        /// Name of the target.
        iqn: String,
        /// Name of the initiator.
        initiator_name "initiatorname": Option<String>,
        /// User of CHAP.
        user: Option<String>,
        /// Password of CHAP.
        password: Option<Disclosed>,
    }

    /// A block device with all its paths.
    pub struct BlockDevice {
        /// Its id in multipath.
        guid "GUID": String,
        /// What may be done with it.
        status: Option<BlockDeviceStatus>,
        /// Bytes, in a string.
        capacity: Str<u64>,
        /// Bytes of the device beneath a physical volume, in a string.
        device_capacity "devcapacity": Option<Str<u64>>,
        /// Who made it.
        vendor_id "vendorID": String,
        /// What it is.
        product_id "productID": String,
        /// Version of its firmware.
        firmware "fwrev": String,
        /// Its serial number.
        serial: String,
        /// How it is reached.
        device_type "devtype": BlockDeviceType,
        /// Bytes of a sector as addressed, in a string.
        logical_block_size "logicalblocksize": Option<Str<u32>>,
        /// Bytes of a sector as written, in a string.
        physical_block_size "physicalblocksize": Option<Str<u32>>,
        /// Most bytes discarded by one request; 0 if it cannot discard.
        discard_max_bytes: u64,
        /// Always 0.
        discard_zeroes_data: Option<u32>,
        /// Physical volume on it, or empty.
        pv_uuid "pvUUID": String,
        /// Bytes of the physical volume in a string, or empty.
        pv_size "pvsize": String,
        /// Volume group that it belongs to, or empty.
        vg_uuid "vgUUID": Option<String>,
        /// Domain that it belongs to.
        vg_name "vgName": Option<String>,
        /// Extents of the physical volume.
        extents "pe_count": Option<Str<u64>>,
        /// Extents in use.
        extents_used "pe_alloc_count": Option<Str<u64>>,
        /// Sessions of iSCSI.
        sessions "pathlist": Vec<IscsiSession>,
        /// Paths.
        paths "pathstatus": Vec<BlockDevicePath>,
    }

    /// Attributes of a volume group, a letter each as `vgs` prints them.
    pub struct VolumeGroupAttributes {
        /// `w` or `r`: may it be written?
        permission: String,
        /// `z`: can it be resized?
        resizeable: String,
        /// `x`: is it exported?
        exported: String,
        /// `p`: are devices missing?
        partial: String,
        /// `n`, `c`, `l`, `a` or `i`: how room is found.
        allocation: String,
        /// `c`: is it shared in a cluster?
        clustered: String,
    }

    /// A volume group.
    pub struct VolumeGroup {
        /// Its id in LVM.
        vg_uuid "vgUUID": String,
        /// Its name: the domain's id.
        name: String,
        /// Bytes, in a string.
        size "vgsize": Str<u64>,
        /// Bytes free, in a string.
        free "vgfree": Str<u64>,
        /// Attributes.
        attributes "attr": VolumeGroupAttributes,
        /// Are all devices there?
        state: VolumeGroupState,
        /// Type of the domain that it makes.
        domain_type "type": DomainType,
        /// Its devices.
        devices "pvlist": Option<Vec<BlockDevice>>,
    }
}

namespace! {
    /// Block storage that this host sees.
    pub trait HostStorageApi = "Host";

    /// Block devices that could be, or are, part of a domain.
    Storage fn get_device_list "getDeviceList" (GetDeviceList {
        /// Only those reached so.
        storage_type "storageType": Option<BlockDeviceType> = null,
        /// Only these; empty means all.
        guids: Vec<String> = [],
        /// Find out what may be done with each? Slow where there are many.
        check_status "checkStatus": bool = true,
        /// Look for new devices first.
        refresh: bool = true,
    }) -> Vec<BlockDevice> = later;

    /// Does this host see these devices?
    Storage fn get_devices_visibility "getDevicesVisibility" (GetDevicesVisibility {
        /// Their ids in multipath.
        guids "guidList": Vec<String>,
    }) -> BTreeMap<String, bool> = later;

    /// Volume groups that this host sees.
    Storage fn get_lvm_volume_groups "getLVMVolumeGroups" (GetLvmVolumeGroups {
        /// Only those reached so.
        storage_type "storageType": Option<BlockDeviceType> = null,
    }) -> Vec<VolumeGroup> = later;

    /// Watches over a domain that belongs to no pool of this host.
    Storage fn start_monitoring_domain "startMonitoringDomain" (StartMonitoringDomain {
        /// The domain.
        domain_id "sdUUID": Uuid,
        /// Id of this host in it, 1 to 2000.
        host_id "hostID": i32,
    }) -> Done = later;

    /// Ends that watch.
    Storage fn stop_monitoring_domain "stopMonitoringDomain" (StopMonitoringDomain {
        /// The domain.
        domain_id "sdUUID": Uuid,
    }) -> Done = later;
}
