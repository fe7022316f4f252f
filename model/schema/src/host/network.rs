//! The host's networks: changing them, keeping the change, and asking about them alone.
//!
//! A change is tried, and undone if Engine does not confirm within the time it set; `setSafeNetworkConfig` makes it
//! last over a restart. The networks as they are come with [`super::Capabilities`].

use std::collections::BTreeMap;

use super::{Bond, Bridge, InterfaceStats, Network, Nic, Vlan};
use crate::values::{CallStatus, Done, PyBool, Str};

wire! {
    /// A service curve of the kernel's HFSC scheduler, as the API has it.
    pub struct BandwidthCurve {
        /// Length of the first part, microseconds.
        d: Option<u32>,
        /// Slope of the first part, bits per second.
        m1: Option<i64>,
        /// Slope afterwards, bits per second.
        m2: i64,
    }

    /// Bandwidth of a network.
    pub struct HostBandwidth {
        /// At most.
        ul: Option<BandwidthCurve>,
        /// Its share beside others.
        ls: Option<BandwidthCurve>,
        /// At least.
        rt: Option<BandwidthCurve>,
    }

    /// Quality of service of a network on this host.
    pub struct HostQos {
        /// Of what it sends.
        out: Option<HostBandwidth>,
    }

    /// A network as it is wished. Absent keys mean the kernel's or oVirt's defaults.
    pub struct NetworkWish {
        /// Remove it; the other keys do not count.
        remove: Option<bool>,
        /// The NIC beneath, if there is no bond.
        nic: Option<String>,
        /// The bond beneath, if there is one.
        bonding: Option<String>,
        /// Number of its VLAN, 0 to 4094, in a string.
        vlan: Option<Str<u32>>,
        /// With a bridge, for VMs? Without the key: yes.
        bridged: Option<Str<bool>>,
        /// Spanning tree on its bridge: `yes`, `no`, `on`, `off`.
        stp "STP": Option<String>,
        /// Greatest packet, bytes.
        mtu: Option<u32>,
        /// IPv4: `dhcp` or `none`.
        bootproto: Option<String>,
        /// IPv4 address.
        ipaddr: Option<String>,
        /// IPv4 mask.
        netmask: Option<String>,
        /// Length of the IPv4 prefix, instead of a mask.
        prefix: Option<Str<u32>>,
        /// IPv4 gateway.
        gateway: Option<String>,
        /// IPv6 address with the length of its prefix.
        ipv6addr: Option<String>,
        /// IPv6 gateway.
        ipv6gateway: Option<String>,
        /// IPv6 by router advertisements?
        ipv6autoconf: Option<bool>,
        /// IPv6 by DHCP?
        dhcpv6: Option<bool>,
        /// Shall the default route leave through it?
        default_route "defaultRoute": Option<bool>,
        /// Name servers of the host.
        nameservers: Option<Vec<String>>,
        /// `legacy` or `ovs`.
        switch: Option<String>,
        /// Quality of service.
        host_qos "hostQos": Option<HostQos>,
        /// Custom properties: `bridge_opts`, `ethtool_opts`, ...
        custom: Option<BTreeMap<String, String>>,
        /// Not used: DHCP never blocks.
        blocking_dhcp "blockingdhcp": Option<bool>,
    }

    /// A bond as it is wished.
    pub struct BondWish {
        /// Remove it; the other keys do not count.
        remove: Option<bool>,
        /// Its NICs.
        nics: Option<Vec<String>>,
        /// Its options by the kernel's names: `mode=4 miimon=100`.
        options: Option<String>,
        /// Its address.
        hwaddr: Option<String>,
        /// `legacy` or `ovs`.
        switch: Option<String>,
    }

    /// How to change networks.
    pub struct SetupOptions {
        /// Undo the change unless Engine confirms it?
        connectivity_check "connectivityCheck": Option<Str<bool>>,
        /// Seconds to wait for the confirmation.
        connectivity_timeout "connectivityTimeout": Option<u32>,
        /// Keep the change over a restart at once, without `setSafeNetworkConfig`?
        commit_on_success "commitOnSuccess": Option<bool>,
    }

    /// The networks part of the capabilities.
    pub struct NetworkCapabilities {
        /// oVirt networks.
        networks: BTreeMap<String, Network>,
        /// Bridges.
        bridges: BTreeMap<String, Bridge>,
        /// VLANs.
        vlans: BTreeMap<String, Vlan>,
        /// Bonds.
        bondings: BTreeMap<String, Bond>,
        /// NICs.
        nics: BTreeMap<String, Nic>,
        /// Does what is configured differ from what will come after a restart?
        config_dirty "netConfigDirty": Str<PyBool>,
        /// Has the kernel IPv6?
        supports_ipv6 "supportsIPv6": bool,
        /// Name servers.
        nameservers: Vec<String>,
    }

    /// Figures of the host's interfaces.
    pub struct NetworkStatistics {
        /// Each interface.
        network: BTreeMap<String, InterfaceStats>,
        /// Sent packets dropped, all interfaces.
        tx_dropped "txDropped": Str<u64>,
        /// Received packets dropped, all interfaces.
        rx_dropped "rxDropped": Str<u64>,
    }

    /// A statement of a neighbour's LLDP frame. Engine needs the numbers as numbers.
    pub struct LldpStatement {
        /// Its name: `Port VLAN Id`, `System Name`, ...
        name: String,
        /// Its type, 0 to 127.
        number "type": u32,
        /// Organisation that defined it (type 127).
        oui: Option<u32>,
        /// Its number within that organisation.
        subtype: Option<u32>,
        /// What it says.
        properties: BTreeMap<String, String>,
    }

    /// What a neighbour tells a NIC by LLDP.
    pub struct Lldp {
        /// Does anybody listen on this NIC?
        enabled: bool,
        /// What was told.
        tlvs: Vec<LldpStatement>,
    }
}

namespace! {
    /// The host's networks.
    pub trait NetworkApi = "Host";

    /// Changes networks and bonds; all of it happens, or nothing. The answer is a status.
    Host fn setup_networks "setupNetworks" (SetupNetworks {
        /// Networks by name.
        networks: BTreeMap<String, NetworkWish>,
        /// Bonds by name.
        bondings: BTreeMap<String, BondWish>,
        /// How to change them.
        options: SetupOptions,
    }) -> CallStatus = later;

    /// Tells the agent that Engine still reaches it after a change of networks.
    Inline fn confirm_connectivity "confirmConnectivity" (ConfirmConnectivity {}) -> Done = later;

    /// Keeps the networks as they are over a restart.
    Host fn set_safe_network_config "setSafeNetworkConfig" (SetSafeNetworkConfig {}) -> Done = later;

    /// The networks part of the capabilities.
    Query fn get_network_capabilities "getNetworkCapabilities" (GetNetworkCapabilities {}) -> NetworkCapabilities = later;

    /// Figures of the host's interfaces.
    Query fn get_network_statistics "getNetworkStatistics" (GetNetworkStatistics {}) -> NetworkStatistics = later;

    /// What neighbours tell by LLDP, NIC by NIC.
    Query fn get_lldp "getLldp" (GetLldp {
        /// `{"devices": [NICs]}`; empty means all.
        filter: BTreeMap<String, Vec<String>>,
    }) -> BTreeMap<String, Lldp> = later;
}
