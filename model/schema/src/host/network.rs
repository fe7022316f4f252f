//! The host's networks: changing them, keeping the change, and asking about them alone.
//!
//! A change is tried, and undone if Engine does not confirm within the time it set; `setSafeNetworkConfig` makes it
//! last over a restart. The networks as they are come with [`super::Capabilities`]. With `dryRun` (ours) the plan of a
//! change is answered, and nothing changes.

use std::collections::BTreeMap;

use super::{Bond, Bridge, InterfaceStats, Network, Nic, Vlan};
use crate::values::{Done, Open, PyBool, Str};

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

    /// A route of a network (ours).
    pub struct RouteWish {
        /// Where to: `10.9.0.0/16`, `default`.
        destination: String,
        /// Next hop; without one it is on the link.
        via: Option<String>,
        /// Lower wins.
        metric: Option<i64>,
        /// Routing table, instead of the main one.
        table: Option<i64>,
        /// Preferred source address.
        src: Option<String>,
        /// Greatest packet on the way, bytes.
        mtu: Option<i64>,
        /// Is the next hop on this link though no address says so?
        onlink: Option<bool>,
        /// `unicast`, `blackhole`, `unreachable` or `prohibit`.
        kind "type": Option<String>,
    }

    /// A network as it is wished. Absent keys mean the kernel's or oVirt's defaults; keys that stand not here are
    /// kept in the files of the configuration and mean nothing.
    pub struct NetworkWish: Default {
        /// Remove it; the other keys do not count.
        remove: Option<bool>,
        /// The NIC beneath, if there is no bond.
        nic: Option<String>,
        /// The bond beneath, if there is one.
        bonding: Option<String>,
        /// Number of its VLAN, 1 to 4094, in a string.
        vlan: Option<Str<i64>>,
        /// With a bridge, for VMs? Without the key: yes.
        bridged: Option<Str<bool>>,
        /// Spanning tree on its bridge: `yes`, `no`, `on`, `off`.
        stp "STP": Option<String>,
        /// The same, as it stands in the files of the configuration.
        stp_kept "stp": Option<Str<bool>>,
        /// Greatest packet, bytes.
        mtu: Option<i64>,
        /// IPv4: `dhcp` or `none`.
        bootproto: Option<String>,
        /// IPv4 address.
        ipaddr: Option<String>,
        /// IPv4 mask.
        netmask: Option<String>,
        /// Length of the IPv4 prefix, instead of a mask.
        prefix: Option<Str<i64>>,
        /// IPv4 gateway.
        gateway: Option<String>,
        /// All IPv4 addresses with the lengths of their prefixes, the first as `ipaddr` if that is given (ours).
        ipv4addrs: Option<Vec<String>>,
        /// IPv6 address with the length of its prefix.
        ipv6addr: Option<String>,
        /// All IPv6 addresses with the lengths of their prefixes, the first as `ipv6addr` if that is given (ours).
        ipv6addrs: Option<Vec<String>>,
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
        /// Routes of its own (ours).
        routes: Option<Vec<RouteWish>>,
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
    pub struct BondWish: Default {
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
    pub struct SetupOptions: Default {
        /// Undo the change unless Engine confirms it? Without the key: yes.
        connectivity_check "connectivityCheck": Option<Str<bool>>,
        /// Seconds to wait for the confirmation once the change is made; 4 without the key.
        connectivity_timeout "connectivityTimeout": Option<i64>,
        /// Keep the change over a restart at once, without `setSafeNetworkConfig`?
        commit_on_success "commitOnSuccess": Option<bool>,
        /// Only tell what would be done, and change nothing (ours).
        dry_run "dryRun": Option<bool>,
    }

    /// A step of a change (ours).
    pub struct PlannedStep {
        /// When: `remove`, `base`, `management`, `links`, `addresses`, `finish`.
        stage: String,
        /// The network that it serves, if it is one's.
        network: Option<String>,
        /// `+` something comes, `-` something goes, `~` something changes.
        sign: String,
        /// What is done.
        step: String,
        /// What would undo it, in order, with the sign of each before it.
        undo: Vec<String>,
    }

    /// How a change of networks went. With `dryRun`: how it would go.
    pub struct SetupAnswer {
        /// 0: failures are errors.
        code: i32,
        /// `Done`.
        message: String,
        /// The steps, in order (with `dryRun`).
        steps: Option<Vec<PlannedStep>>,
        /// The steps for people (with `dryRun`).
        plan: Option<String>,
        /// The networks after the last step (with `dryRun`).
        result: Option<NetworkCapabilities>,
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
        /// Packets dropped on sending, all interfaces.
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

    /// Changes networks and bonds; all of it happens, or nothing. The answer is a status. One change at a time: a
    /// second one is refused with code 40.
    Network fn setup_networks "setupNetworks" (SetupNetworks {
        /// Networks by name.
        networks: BTreeMap<String, Open<NetworkWish>>,
        /// Bonds by name.
        bondings: BTreeMap<String, Open<BondWish>>,
        /// How to change them.
        options: SetupOptions,
    }) -> SetupAnswer;

    /// Tells the agent that Engine still reaches it after a change of networks.
    Inline fn confirm_connectivity "confirmConnectivity" (ConfirmConnectivity {}) -> Done;

    /// Keeps the networks as they are over a restart.
    Network fn set_safe_network_config "setSafeNetworkConfig" (SetSafeNetworkConfig {}) -> Done;

    /// The networks part of the capabilities.
    Query fn get_network_capabilities "getNetworkCapabilities" (GetNetworkCapabilities {}) -> NetworkCapabilities;

    /// Figures of the host's interfaces.
    Query fn get_network_statistics "getNetworkStatistics" (GetNetworkStatistics {}) -> NetworkStatistics;

    /// What neighbours tell by LLDP, NIC by NIC.
    Network fn get_lldp "getLldp" (GetLldp {
        /// `{"devices": [NICs]}`; empty means all.
        filter: BTreeMap<String, Vec<String>>,
    }) -> BTreeMap<String, Lldp>;
}
