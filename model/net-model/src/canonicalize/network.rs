//! A network from its attributes, and back.

use core::net::IpAddr;
use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

use serde_json::Value;

use crate::{
    Base, BridgeConfig, Cidr, Curve, DEFAULT_MTU, Family, HostQos, IfName, Ip, MAX_MTU, MIN_MTU,
    MIN_MTU_V6, Nameserver, NetError, NetName, Network, RouteKind, StaticRoute, Switch, VlanId,
    bridge,
    request::{CurveAttributes, HostQosAttributes, Loose, NetworkAttributes, RouteAttributes},
};

/// Most addresses of a family.
const MAX_ADDRESSES: usize = 256;

/// Most routes of a network.
const MAX_ROUTES: usize = 4096;

/// Parses and checks the attributes of a network that is not to be removed.
///
/// `host_nameservers` are the default for a network with the default route and without DHCP (upstream); nothing where a file is
/// read, whose word is the last.
pub fn network(
    name: &NetName,
    attributes: &NetworkAttributes,
    host_nameservers: Option<&[Nameserver]>,
) -> Result<Network, NetError> {
    let custom = custom(attributes)?;
    let switch = match custom.get("ovs") {
        Some(text) if Loose::Text(text.clone()).truth() => switch(name.as_str(), Some("ovs"))?,
        _ => switch(name.as_str(), attributes.switch.as_deref())?,
    };
    let bridged = attributes.bridged.as_ref().is_none_or(Loose::truth);
    let mut network = Network {
        base: base(attributes)?,
        vlan: vlan(attributes)?,
        bridge: bridged
            .then(|| bridge_config(attributes, &custom))
            .transpose()?,
        mtu: mtu(attributes)?,
        ipv4: ipv4(attributes)?,
        ipv6: ipv6(attributes)?,
        default_route: default_route(attributes, &custom),
        routes: Vec::new(),
        nameservers: Vec::new(),
        qos: qos(attributes.host_qos.as_ref())?,
        custom,
        switch,
        extra: attributes.extra.clone(),
    };
    // What has a place of its own is not kept twice.
    network.custom.remove("default_route");
    if network.bridge.is_some() {
        network.custom.remove("bridge_opts");
    }
    if network.vlan.is_some() && network.base.is_none() {
        return Err(NetError::BadVlan(format!(
            "{name}: vlan device requires southbound device"
        )));
    }
    network.top(name)?;
    network.routes = routes(attributes.routes.as_deref().unwrap_or_default())?;
    network.nameservers = nameservers(attributes, &network, host_nameservers)?;
    check_together(name, &network)?;
    Ok(network)
}

pub(super) fn switch(subject: &str, text: Option<&str>) -> Result<Switch, NetError> {
    match text {
        None | Some("legacy") => Ok(Switch::Legacy),
        Some("ovs") => Err(NetError::OvsNotBuilt {
            subject: subject.to_owned(),
        }),
        Some(other) => Err(NetError::BadParams(format!(
            "{subject}: {other:?} is no switch type"
        ))),
    }
}

fn custom(attributes: &NetworkAttributes) -> Result<BTreeMap<String, String>, NetError> {
    let given = attributes.custom.iter().flatten();
    given
        .map(|(key, value)| match value {
            Value::String(text) => Ok((key.clone(), text.clone())),
            Value::Bool(_) | Value::Number(_) => Ok((key.clone(), value.to_string())),
            _ => Err(NetError::BadParams(format!(
                "the custom property {key:?} is no text"
            ))),
        })
        .collect()
}

fn base(attributes: &NetworkAttributes) -> Result<Option<Base>, NetError> {
    let given = |text: &Option<String>| text.clone().filter(|it| !it.is_empty());
    match (given(&attributes.nic), given(&attributes.bonding)) {
        (Some(_), Some(_)) => Err(NetError::BadParams(
            "a network has either a nic or a bonding".to_owned(),
        )),
        (Some(nic), None) => Ok(Some(Base::Nic(IfName::new(&nic)?))),
        (None, Some(bond)) => Ok(Some(Base::Bond(super::bond_name(&bond)?))),
        (None, None) => Ok(None),
    }
}

fn vlan(attributes: &NetworkAttributes) -> Result<Option<VlanId>, NetError> {
    let text = attributes.vlan.as_ref().map(Loose::text);
    match text.as_deref() {
        None | Some("") => Ok(None),
        Some(text) => {
            let bad = |_| NetError::BadVlan("VLAN id must be a number from 1 to 4094".to_owned());
            VlanId::new(text.trim().parse().map_err(bad)?).map(Some)
        }
    }
}

fn mtu(attributes: &NetworkAttributes) -> Result<u32, NetError> {
    let Some(given) = &attributes.mtu else {
        return Ok(DEFAULT_MTU);
    };
    let mtu = given.int().and_then(|it| u32::try_from(it).ok());
    mtu.filter(|it| (MIN_MTU..=MAX_MTU).contains(it))
        .ok_or_else(|| {
            NetError::BadParams(format!(
                "{:?} is no MTU, must be {MIN_MTU}..{MAX_MTU}",
                given.text()
            ))
        })
}

fn bridge_config(
    attributes: &NetworkAttributes,
    custom: &BTreeMap<String, String>,
) -> Result<BridgeConfig, NetError> {
    let stp = attributes.stp.as_ref().or(attributes.stp_upper.as_ref());
    let stp = match stp {
        None => false,
        Some(Loose::Bool(it)) => *it,
        Some(other) => match other.text().to_lowercase().as_str() {
            "true" | "on" | "yes" => true,
            "false" | "off" | "no" => false,
            other => {
                return Err(NetError::BadParams(format!(
                    "{other:?} is not a valid bridge STP value."
                )));
            }
        },
    };
    let options = custom.get("bridge_opts").map(|it| bridge::parse(it));
    Ok(BridgeConfig {
        stp,
        options: options.transpose()?.unwrap_or_default(),
    })
}

fn default_route(attributes: &NetworkAttributes, custom: &BTreeMap<String, String>) -> bool {
    match custom.get("default_route") {
        Some(text) => Loose::Text(text.clone()).truth(),
        None => attributes.default_route.as_ref().is_some_and(Loose::truth),
    }
}

fn present(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|it| !it.is_empty())
}

fn parse_ip(text: &str, family: Family) -> Result<IpAddr, NetError> {
    let ip = IpAddr::from_str(text).ok();
    ip.filter(|it| Family::of(*it) == family)
        .ok_or_else(|| NetError::BadAddress(format!("{text:?} is no {family} address")))
}

fn ipv4(attributes: &NetworkAttributes) -> Result<Ip, NetError> {
    let dhcp = match present(attributes.bootproto.as_ref()) {
        None | Some("none" | "static") => false,
        Some("dhcp") => true,
        Some(other) => {
            return Err(NetError::BadParams(format!("{other:?} is no bootproto")));
        }
    };
    let single = single_v4(attributes)?;
    let addresses = addresses(single, attributes.ipv4addrs.as_deref(), Family::V4)?;
    let gateway = present(attributes.gateway.as_ref());
    let gateway = gateway.map(|it| parse_ip(it, Family::V4)).transpose()?;
    if addresses.is_empty() && gateway.is_some() {
        return bad_address("gateway or netmask were given without ip address");
    }
    if dhcp && !addresses.is_empty() {
        return bad_address("mixing static ip configuration with dhcp is not allowed");
    }
    let ip = Ip {
        dhcp,
        autoconf: false,
        addresses,
        gateway: gateway.filter(|it| !it.is_unspecified()),
    };
    check_gateway(&ip)?;
    Ok(ip)
}

fn bad_address<T>(why: &str) -> Result<T, NetError> {
    Err(NetError::BadAddress(why.to_owned()))
}

fn single_v4(attributes: &NetworkAttributes) -> Result<Option<Cidr>, NetError> {
    let mask = present(attributes.netmask.as_ref());
    let prefix = attributes.prefix.as_ref().map(Loose::text);
    let prefix = prefix.filter(|it| !it.is_empty());
    if mask.is_some() && prefix.is_some() {
        return Err(NetError::BadParams(
            "Both PREFIX and NETMASK supplied".to_owned(),
        ));
    }
    let mask = prefix.as_deref().or(mask);
    match (present(attributes.ipaddr.as_ref()), mask) {
        (None, None) => Ok(None),
        (None, Some(_)) => bad_address("gateway or netmask were given without ip address"),
        (Some(_), None) => bad_address("an ip address was given without netmask"),
        (Some(ip), Some(mask)) => {
            Cidr::new(parse_ip(ip, Family::V4)?, Cidr::prefix_of_mask(mask)?).map(Some)
        }
    }
}

fn ipv6(attributes: &NetworkAttributes) -> Result<Ip, NetError> {
    let dhcp = attributes.dhcpv6.as_ref().is_some_and(Loose::truth);
    let autoconf = attributes.ipv6autoconf.as_ref().is_some_and(Loose::truth);
    let single = match present(attributes.ipv6addr.as_ref()) {
        Some(text) => Some(text.parse::<Cidr>()?),
        None => None,
    };
    let addresses = addresses(single, attributes.ipv6addrs.as_deref(), Family::V6)?;
    let gateway = present(attributes.ipv6gateway.as_ref());
    let gateway = gateway.map(|it| parse_ip(it, Family::V6)).transpose()?;
    let ip = Ip {
        dhcp,
        autoconf,
        addresses,
        gateway: gateway.filter(|it| !it.is_unspecified()),
    };
    if ip.is_off() && ip.gateway.is_some() {
        return bad_address("ipv6gateway was given without ipv6addr");
    }
    check_gateway(&ip)?;
    Ok(ip)
}

/// The single address of older clients and the list of newer ones say the same or one of them is silent.
fn addresses(
    single: Option<Cidr>,
    list: Option<&[String]>,
    family: Family,
) -> Result<Vec<Cidr>, NetError> {
    let list = list.unwrap_or_default();
    if list.len() > MAX_ADDRESSES {
        return bad_address("too many addresses");
    }
    let list = list.iter().map(|it| it.parse::<Cidr>());
    let list = list.collect::<Result<Vec<_>, _>>()?;
    let conflict = |it: Cidr| list.first().is_some_and(|first| *first != it);
    if single.is_some_and(conflict) {
        return bad_address("the first of all addresses is another one than the single address");
    }
    let all = if list.is_empty() {
        single.into_iter().collect()
    } else {
        list
    };
    let mut seen = BTreeSet::new();
    for address in &all {
        if address.family() != family {
            return bad_address(&format!("{address} is no {family} address"));
        }
        if let Some(why) = address.why_not_assignable() {
            return bad_address(&format!("{address} cannot be an address: {why}"));
        }
        if !seen.insert(address.ip()) {
            return bad_address(&format!("{address} is there twice"));
        }
    }
    Ok(all)
}

/// A gateway may be in no network of ours (a provider's `/32` with a gateway elsewhere): its routes are then
/// marked as on the link.
fn check_gateway(ip: &Ip) -> Result<(), NetError> {
    let Some(gateway) = ip.gateway else {
        return Ok(());
    };
    if gateway.is_multicast() || gateway.is_loopback() {
        return bad_address(&format!("{gateway} can be no gateway"));
    }
    if ip.addresses.iter().any(|it| it.ip() == gateway) {
        return bad_address(&format!("the gateway {gateway} is our own address"));
    }
    Ok(())
}

fn nameservers(
    attributes: &NetworkAttributes,
    network: &Network,
    of_host: Option<&[Nameserver]>,
) -> Result<Vec<Nameserver>, NetError> {
    let Some(given) = &attributes.nameservers else {
        let wanted = network.default_route && !network.ipv4.dhcp;
        let of_host = of_host.filter(|_| wanted).unwrap_or_default();
        return Ok(of_host.to_vec());
    };
    if !given.is_empty() && !network.default_route {
        return Err(NetError::BadParams(
            "Name servers may only be defined on the default host network".to_owned(),
        ));
    }
    given.iter().map(|it| it.parse()).collect()
}

fn qos(given: Option<&HostQosAttributes>) -> Result<Option<HostQos>, NetError> {
    let Some(out) = given.and_then(|it| it.out.as_ref()) else {
        return Ok(None);
    };
    let qos = HostQos {
        ls: curve(out.ls.as_ref())?,
        ul: curve(out.ul.as_ref())?,
        rt: curve(out.rt.as_ref())?,
    };
    if qos.is_empty() {
        return Ok(None);
    }
    if qos.ls.is_none() && qos.rt.is_none() {
        return Err(NetError::BadParams(
            "hostQos: an upper limit needs a link share or a real-time rate".to_owned(),
        ));
    }
    Ok(Some(qos))
}

fn curve(given: Option<&CurveAttributes>) -> Result<Option<Curve>, NetError> {
    let Some(given) = given else {
        return Ok(None);
    };
    let number = |it: &Option<Loose>| match it {
        None => Ok(0),
        Some(it) => it
            .int()
            .and_then(|it| u64::try_from(it).ok())
            .ok_or_else(|| NetError::BadParams(format!("hostQos: {:?} is no rate", it.text()))),
    };
    let curve = Curve {
        m1: number(&given.m1)?,
        d: number(&given.d)?,
        m2: number(&given.m2)?,
    };
    Ok((curve != Curve::default()).then_some(curve))
}

fn routes(given: &[RouteAttributes]) -> Result<Vec<StaticRoute>, NetError> {
    if given.len() > MAX_ROUTES {
        return Err(NetError::BadParams("too many routes".to_owned()));
    }
    let routes = given.iter().map(route).collect::<Result<Vec<_>, _>>()?;
    let mut seen = BTreeSet::new();
    for it in &routes {
        if !seen.insert((it.destination, it.table, it.metric)) {
            return bad_address(&format!("the route to {} is there twice", it.destination));
        }
    }
    Ok(routes)
}

fn route(given: &RouteAttributes) -> Result<StaticRoute, NetError> {
    let via = present(given.via.as_ref()).map(|it| {
        IpAddr::from_str(it).map_err(|_| NetError::BadAddress(format!("{it:?} is no next hop")))
    });
    let via = via.transpose()?;
    let destination = destination(&given.destination, via)?;
    let source = present(given.src.as_ref());
    let source = source.map(|it| parse_ip(it, destination.family()));
    let table = number(given.table.as_ref(), "table")?;
    if table.is_some_and(|it| matches!(it, 0 | 253..=255)) && table != Some(crate::MAIN_TABLE) {
        return Err(NetError::BadParams(format!(
            "the routing table {} is reserved",
            table.unwrap_or_default()
        )));
    }
    let route = StaticRoute {
        destination,
        via,
        metric: number(given.metric.as_ref(), "metric")?,
        table: table.filter(|it| *it != crate::MAIN_TABLE),
        source: source.transpose()?,
        mtu: number(given.mtu.as_ref(), "mtu")?,
        onlink: given.onlink.as_ref().is_some_and(Loose::truth),
        kind: kind(given.kind.as_deref())?,
    };
    check_route(&route)?;
    Ok(route)
}

fn destination(text: &str, via: Option<IpAddr>) -> Result<Cidr, NetError> {
    if text == "default" {
        return Ok(via.map_or(Family::V4, Family::of).any());
    }
    text.parse()
}

fn number(given: Option<&Loose>, what: &str) -> Result<Option<u32>, NetError> {
    let Some(given) = given else {
        return Ok(None);
    };
    let number = given.int().and_then(|it| u32::try_from(it).ok());
    let bad = || NetError::BadParams(format!("{:?} is no {what} of a route", given.text()));
    number.map(Some).ok_or_else(bad)
}

fn kind(text: Option<&str>) -> Result<RouteKind, NetError> {
    match text.unwrap_or("unicast") {
        "unicast" => Ok(RouteKind::Unicast),
        "blackhole" => Ok(RouteKind::Blackhole),
        "unreachable" => Ok(RouteKind::Unreachable),
        "prohibit" => Ok(RouteKind::Prohibit),
        other => Err(NetError::BadParams(format!(
            "{other:?} is no type of a route"
        ))),
    }
}

fn check_route(route: &StaticRoute) -> Result<(), NetError> {
    let to = route.destination;
    if !to.is_network() {
        return bad_address(&format!(
            "{to} has bits of a host: no destination of a route"
        ));
    }
    if to.ip().is_multicast() || to.ip().is_loopback() {
        return bad_address(&format!("{to} is no destination of a route"));
    }
    if route.via.is_some_and(|via| Family::of(via) != to.family()) {
        return bad_address(&format!("the route to {to} mixes IPv4 and IPv6"));
    }
    if route.kind != RouteKind::Unicast && (route.via.is_some() || route.source.is_some()) {
        return Err(NetError::BadParams(format!(
            "a {} route has no next hop",
            route.kind.word()
        )));
    }
    Ok(())
}

/// Reachable next hops, sources of ours, no second default route, MTUs that IPv6 can live with.
fn check_together(name: &NetName, network: &Network) -> Result<(), NetError> {
    if network.mtu < MIN_MTU_V6 && !network.ipv6.is_off() {
        return Err(NetError::BadParams(format!(
            "{name}: IPv6 needs an MTU of {MIN_MTU_V6}"
        )));
    }
    for route in &network.routes {
        let to = route.destination;
        let ip = network.ip(to.family());
        if to.is_any() && route.table.is_none() && network.default_route {
            return Err(NetError::BadParams(format!(
                "{name}: its default route is there twice"
            )));
        }
        let local = |it: IpAddr| ip.addresses.iter().any(|own| own.ip() == it);
        if route.source.is_some_and(|it| !local(it)) && !ip.dhcp && !ip.autoconf {
            return bad_address(&format!(
                "{name}: the source of the route to {to} is not ours"
            ));
        }
        let Some(via) = route.via else {
            continue;
        };
        let near = matches!(via, IpAddr::V6(it) if it.is_unicast_link_local());
        let inside = ip.addresses.iter().any(|it| it.contains(via));
        let maybe = ip.dhcp || ip.autoconf;
        if !(near || inside || route.onlink || maybe) || local(via) {
            return bad_address(&format!(
                "{name}: the next hop {via} of the route to {to} is not on the link"
            ));
        }
    }
    Ok(())
}

/// A network's attributes as they stand in its file: what upstream reads, by its own names; ours (lists of
/// addresses, routes) only where upstream's cannot say it.
pub fn network_attributes(network: &Network) -> NetworkAttributes {
    let mut attributes = NetworkAttributes {
        bridged: Some(network.bridge.is_some().into()),
        mtu: Some(i64::from(network.mtu).into()),
        stp: network.bridge.as_ref().map(|it| it.stp.into()),
        bootproto: Some(if network.ipv4.dhcp { "dhcp" } else { "none" }.to_owned()),
        ipv6autoconf: Some(network.ipv6.autoconf.into()),
        dhcpv6: Some(network.ipv6.dhcp.into()),
        default_route: Some(network.default_route.into()),
        nameservers: Some(
            network
                .nameservers
                .iter()
                .map(ToString::to_string)
                .collect(),
        ),
        host_qos: network.qos.map(Into::into),
        switch: Some(network.switch.to_string()),
        extra: network.extra.clone(),
        vlan: network.vlan.map(|it| i64::from(it.get()).into()),
        ..NetworkAttributes::default()
    };
    match &network.base {
        Some(Base::Nic(name)) => attributes.nic = Some(name.to_string()),
        Some(Base::Bond(name)) => attributes.bonding = Some(name.to_string()),
        None => {}
    }
    let mut custom = network.custom.clone();
    if let Some(bridge) = network.bridge.as_ref().filter(|it| !it.options.is_empty()) {
        custom.insert("bridge_opts".to_owned(), bridge::to_text(&bridge.options));
    }
    if !custom.is_empty() {
        let pairs = custom.into_iter();
        attributes.custom = Some(
            pairs
                .map(|(key, value)| (key, Value::String(value)))
                .collect(),
        );
    }
    address_attributes(network, &mut attributes);
    if !network.routes.is_empty() {
        attributes.routes = Some(network.routes.iter().map(route_attributes).collect());
    }
    attributes
}

fn address_attributes(network: &Network, attributes: &mut NetworkAttributes) {
    let text = |ip: &IpAddr| ip.to_string();
    let list = |ip: &Ip| {
        let many = ip.addresses.len() > 1;
        many.then(|| ip.addresses.iter().map(ToString::to_string).collect())
    };
    if let Some(first) = network.ipv4.addresses.first() {
        attributes.ipaddr = Some(first.ip().to_string());
        attributes.netmask = first.netmask().map(|it| it.to_string());
    }
    attributes.ipv4addrs = list(&network.ipv4);
    attributes.gateway = network.ipv4.gateway.as_ref().map(text);
    attributes.ipv6addr = network.ipv6.addresses.first().map(ToString::to_string);
    attributes.ipv6addrs = list(&network.ipv6);
    attributes.ipv6gateway = network.ipv6.gateway.as_ref().map(text);
}

fn route_attributes(route: &StaticRoute) -> RouteAttributes {
    let number = |it: Option<u32>| it.map(|it| Loose::Int(it.into()));
    RouteAttributes {
        destination: route.destination.to_string(),
        via: route.via.map(|it| it.to_string()),
        metric: number(route.metric),
        table: number(route.table),
        src: route.source.map(|it| it.to_string()),
        mtu: number(route.mtu),
        onlink: route.onlink.then_some(Loose::Bool(true)),
        kind: (route.kind != RouteKind::Unicast).then(|| route.kind.word().to_owned()),
    }
}
