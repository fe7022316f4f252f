//! `Host.*` of networks: the handlers, and networks in the words of the wire. An empty address means none.
//!
//! Look next: `setup.rs` for what clients ask.

use std::{collections::BTreeMap, net::IpAddr};

use net_model::{Cidr, Curve, IfName, QosClass, Step, probe::Cause};
use network::{BondInfo, BridgeInfo, Foreseen, IpInfo, NetInfo, NetworkInfo, NicInfo, VlanInfo};
use observe::network::counters::{Interface, NetworkStatistics as Counted, Statistics};
use schema::{
    CallContext, Done, Str,
    host::{
        Bond, Bridge, DeviceQos, InterfaceStats, Network, Nic, Vlan,
        network::{
            BandwidthCurve, ConfirmConnectivity, GetLldp, GetNetworkCapabilities,
            GetNetworkStatistics, HostBandwidth, HostQos, Lldp, LldpStatement, NetworkApi,
            NetworkCapabilities, NetworkStatistics, PlannedStep, SetSafeNetworkConfig, SetupAnswer,
            SetupNetworks,
        },
    },
};

use super::{super::Answer, capabilities::small, setup};
use crate::{agent::Agent, errors, ports};

impl NetworkApi for Agent {
    fn setup_networks(&self, _: &CallContext, p: SetupNetworks) -> Answer<SetupAnswer> {
        let request = setup::request(p);
        if request.options.dry_run {
            let foreseen = self.networks.foresee(&request).map_err(errors::network)?;
            return Ok(planned(foreseen));
        }
        self.networks.setup(&request).map_err(errors::network)?;
        Ok(done())
    }

    fn confirm_connectivity(&self, _: &CallContext, _: ConfirmConnectivity) -> Answer<Done> {
        self.networks.confirm();
        Ok(Done)
    }

    fn set_safe_network_config(&self, _: &CallContext, _: SetSafeNetworkConfig) -> Answer<Done> {
        self.networks.set_safe().map_err(errors::network)?;
        Ok(Done)
    }

    fn get_network_capabilities(
        &self,
        _: &CallContext,
        _: GetNetworkCapabilities,
    ) -> Answer<NetworkCapabilities> {
        self.networks.info().map(told).map_err(errors::network)
    }

    fn get_network_statistics(
        &self,
        _: &CallContext,
        _: GetNetworkStatistics,
    ) -> Answer<NetworkStatistics> {
        let counted = ports::counted().map_err(errors::network)?;
        Ok(NetworkStatistics {
            rx_dropped: Str(counted.rx_dropped),
            tx_dropped: Str(counted.tx_dropped),
            network: statistics(counted, &self.reachable.down()),
        })
    }

    fn get_lldp(&self, _: &CallContext, p: GetLldp) -> Answer<BTreeMap<String, Lldp>> {
        let names = p.filter.get("devices").cloned().unwrap_or_default();
        let told = self.networks.lldp(&names).map_err(errors::network)?;
        Ok(told.into_iter().map(|(nic, it)| (nic, lldp(it))).collect())
    }
}

fn done() -> SetupAnswer {
    SetupAnswer {
        code: 0,
        message: "Done".to_owned(),
        steps: None,
        plan: None,
        result: None,
    }
}

/// What a dry run answers.
pub(super) fn planned(foreseen: Foreseen) -> SetupAnswer {
    let signed = |it: &Step| format!("{} {it}", it.sign());
    let steps = foreseen.plan.steps.iter().map(|it| PlannedStep {
        stage: it.stage.to_string(),
        network: it.network.as_ref().map(ToString::to_string),
        sign: it.step.sign().to_string(),
        step: it.step.to_string(),
        undo: it.undo.iter().map(signed).collect(),
    });
    SetupAnswer {
        steps: Some(steps.collect()),
        plan: Some(foreseen.plan.to_string()),
        result: Some(told(foreseen.info)),
        ..done()
    }
}

/// All networks, as `Host.getNetworkCapabilities` tells them.
pub(super) fn told(info: NetworkInfo) -> NetworkCapabilities {
    NetworkCapabilities {
        networks: each(info.networks, network),
        bridges: each(info.bridges, bridge),
        vlans: each(info.vlans, vlan),
        bondings: each(info.bonds, bond),
        nics: each(info.nics, nic),
        config_dirty: info.dirty.into(),
        supports_ipv6: info.ipv6,
        nameservers: info.nameservers,
    }
}

fn each<T, W>(all: BTreeMap<String, T>, on_wire: fn(T) -> W) -> BTreeMap<String, W> {
    all.into_iter()
        .map(|(name, one)| (name, on_wire(one)))
        .collect()
}

/// What all interfaces tell of their addresses.
struct Ip {
    addr: String,
    netmask: String,
    ipv4addrs: Vec<String>,
    ipv6addrs: Vec<String>,
    gateway: String,
    ipv6gateway: String,
}

impl Ip {
    fn of(ip: &IpInfo) -> Self {
        let text = |it: IpAddr| it.to_string();
        let all = |of: &[Cidr]| of.iter().map(ToString::to_string).collect();
        let netmask = ip.first.and_then(Cidr::netmask);
        Self {
            addr: ip.first.map(|it| text(it.ip())).unwrap_or_default(),
            netmask: netmask.map(|it| it.to_string()).unwrap_or_default(),
            ipv4addrs: all(&ip.ipv4),
            ipv6addrs: all(&ip.ipv6),
            gateway: ip.gateway.map(text).unwrap_or_default(),
            ipv6gateway: ip.ipv6_gateway.map_or("::".to_owned(), text),
        }
    }
}

/// An interface of the wire: its own keys, and those of its addresses.
macro_rules! with_ip {
    ($wire:ident, $ip:expr, { $($own:tt)* }) => {{
        let told = Ip::of(&$ip);
        $wire {
            $($own)*
            addr: told.addr,
            netmask: told.netmask,
            ipv4addrs: told.ipv4addrs,
            ipv6addrs: told.ipv6addrs,
            gateway: told.gateway,
            ipv6gateway: told.ipv6gateway,
            ipv6autoconf: $ip.ipv6_autoconf,
            mtu: Str($ip.mtu),
            ipv4defaultroute: $ip.is_default_route,
            dhcpv4: $ip.dhcpv4,
            dhcpv6: $ip.dhcpv6,
        }
    }};
}

fn nic(nic: NicInfo) -> Nic {
    with_ip!(Nic, nic.ip, {
        hwaddr: nic.hwaddr,
        permhwaddr: nic.permanent_hwaddr,
        speed: small(nic.speed),
        ad_aggregator_id: nic.aggregator,
        qos: device_qos(nic.qos),
    })
}

fn bond(bond: BondInfo) -> Bond {
    with_ip!(Bond, bond.ip, {
        hwaddr: bond.hwaddr,
        slaves: bond.ports,
        active_slave: bond.active_port,
        opts: bond.options,
        speed: small(bond.speed),
        ad_aggregator_id: bond.aggregator,
        ad_partner_mac: bond.partner,
        switch: bond.switch.to_string(),
        qos: device_qos(bond.qos),
    })
}

fn bridge(bridge: BridgeInfo) -> Bridge {
    with_ip!(Bridge, bridge.ip, {
        ports: bridge.ports,
        opts: bridge.options,
        stp: stp(bridge.stp),
    })
}

fn vlan(vlan: VlanInfo) -> Vlan {
    with_ip!(Vlan, vlan.ip, {
        iface: vlan.device,
        vlanid: vlan.id.into(),
        speed: Some(small(vlan.speed)),
    })
}

fn network(network: NetInfo) -> Network {
    let (ports, stp) = match network.bridge {
        Some(bridge) => (Some(bridge.ports), Some(stp(bridge.stp))),
        None => (None, None),
    };
    with_ip!(Network, network.ip, {
        bridged: ports.is_some(),
        interface: ports.is_none().then(|| network.iface.clone()),
        iface: network.iface,
        switch: network.switch.to_string(),
        southbound: network.southbound,
        ports,
        stp,
        vlanid: network.vlan.map(i32::from),
        host_qos: network.qos.map(host_qos),
    })
}

fn stp(on: bool) -> String {
    if on { "on" } else { "off" }.to_owned()
}

/// Absent where nothing is shaped.
fn device_qos(all: Vec<(QosClass, net_model::HostQos)>) -> Option<Vec<DeviceQos>> {
    let all = all.into_iter().map(|(QosClass(vlan), qos)| DeviceQos {
        host_qos: host_qos(qos),
        vlan: vlan.map_or(-1, |it| it.get().into()),
    });
    let all: Vec<_> = all.collect();
    (!all.is_empty()).then_some(all)
}

fn host_qos(qos: net_model::HostQos) -> HostQos {
    let out = HostBandwidth {
        ul: qos.ul.map(curve),
        ls: qos.ls.map(curve),
        rt: qos.rt.map(curve),
    };
    HostQos { out: Some(out) }
}

fn curve(curve: Curve) -> BandwidthCurve {
    let number = |it: u64| i64::try_from(it).unwrap_or(i64::MAX);
    BandwidthCurve {
        d: Some(u32::try_from(curve.d).unwrap_or(u32::MAX)),
        m1: Some(number(curve.m1)),
        m2: number(curve.m2),
    }
}

/// Figures of all interfaces. Those of networks that do not answer are shown down.
pub(super) fn statistics(
    counted: Counted,
    down: &BTreeMap<IfName, Cause>,
) -> BTreeMap<String, InterfaceStats> {
    let all = counted.interfaces.into_iter();
    all.map(|(name, Statistics { mut interface, .. })| {
        interface.up &= !down.contains_key(&name);
        let name = name.to_string();
        (name.clone(), figures(name, &interface, counted.unix))
    })
    .collect()
}

fn figures(name: String, interface: &Interface, sample_time: f64) -> InterfaceStats {
    let counters = interface.counters;
    InterfaceStats {
        name,
        rx: Str(counters.rx_bytes),
        tx: Str(counters.tx_bytes),
        state: if interface.up { "up" } else { "down" }.to_owned(),
        rx_dropped: Str(counters.rx_dropped),
        tx_dropped: Str(counters.tx_dropped),
        rx_errors: Str(counters.rx_errors),
        tx_errors: Str(counters.tx_errors),
        // Where it is not told VDSM says this.
        speed: Str(if interface.speed == 0 {
            1000
        } else {
            interface.speed
        }),
        duplex: interface.duplex.word().to_owned(),
        sample_time,
    }
}

fn lldp(state: network::LldpState) -> Lldp {
    let tlvs = state.tlvs.into_iter().map(|it| LldpStatement {
        name: it.name,
        number: it.kind,
        oui: it.oui,
        subtype: it.subtype,
        properties: it.properties,
    });
    Lldp {
        enabled: state.enabled,
        tlvs: tlvs.collect(),
    }
}
