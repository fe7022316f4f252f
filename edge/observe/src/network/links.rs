//! Interfaces and their addresses.

use std::{collections::BTreeMap, net::IpAddr};

use net_model::{Address, Cidr, Expiry, IfName, Ipv6Settings, Link, LinkKind, Mac};
use netlink::packet::{
    RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressMessage},
    link::{
        AfSpecInet6, AfSpecUnspec, InfoBondPort, InfoData, InfoPortData, InfoVlan, LinkAttribute,
        LinkFlags, LinkInfo, LinkLayerType, LinkMessage, VlanProtocol,
    },
};

use super::{Indexes, bond, bridge};

/// Which index has which name.
pub(super) fn indexes(links: &[RouteNetlinkMessage]) -> Indexes {
    let named = messages(links).filter_map(|it| Some((it.header.index, name(it)?)));
    named.collect()
}

/// The interfaces, without addresses.
pub(super) fn links(
    links: &[RouteNetlinkMessage],
    indexes: &Indexes,
    nics: &[&str],
) -> BTreeMap<IfName, Link> {
    let named = messages(links).filter_map(|it| Some((name(it)?, link(it, indexes, nics))));
    named.collect()
}

/// Gives each interface its addresses, in the kernel's order.
pub(super) fn add_addresses(
    links: &mut BTreeMap<IfName, Link>,
    addresses: &[RouteNetlinkMessage],
    indexes: &Indexes,
) {
    let now = crate::clock::monotonic().as_secs();
    for message in addresses {
        let RouteNetlinkMessage::NewAddress(message) = message else {
            continue;
        };
        let link = indexes
            .get(&message.header.index)
            .and_then(|name| links.get_mut(name));
        if let (Some(link), Some(address)) = (link, address(message, now)) {
            link.addresses.push(address);
        }
    }
}

pub(crate) fn messages(links: &[RouteNetlinkMessage]) -> impl Iterator<Item = &LinkMessage> {
    links.iter().filter_map(|it| match it {
        RouteNetlinkMessage::NewLink(link) => Some(link),
        _ => None,
    })
}

pub(crate) fn name(link: &LinkMessage) -> Option<IfName> {
    link.attributes.iter().find_map(|it| match it {
        LinkAttribute::IfName(name) => IfName::new(name).ok(),
        _ => None,
    })
}

pub(super) fn link(message: &LinkMessage, indexes: &Indexes, nics: &[&str]) -> Link {
    let flags = message.header.flags;
    let mut link = Link::new(kind(message, indexes, nics), Mac::default());
    link.up = flags.contains(LinkFlags::Up);
    link.carrier = flags.contains(LinkFlags::LowerUp);
    link.ipv6 = None;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Address(it) => link.mac = mac(it).unwrap_or_default(),
            LinkAttribute::PermAddress(it) => link.permanent_mac = mac(it),
            LinkAttribute::Mtu(it) => link.mtu = *it,
            LinkAttribute::MaxMtu(it) => link.max_mtu = (*it != 0).then_some(*it),
            LinkAttribute::Controller(it) => link.master = indexes.get(it).cloned(),
            LinkAttribute::LinkInfo(it) => add_port(&mut link, it),
            LinkAttribute::AfSpecUnspec(it) => link.ipv6 = ipv6(it),
            _ => {}
        }
    }
    link
}

/// What a port of a bond tells beside.
fn add_port(link: &mut Link, info: &[LinkInfo]) {
    let port = info.iter().find_map(|it| match it {
        LinkInfo::PortData(InfoPortData::BondPort(port)) => Some(port),
        _ => None,
    });
    for attribute in port.into_iter().flatten() {
        match attribute {
            InfoBondPort::PermHwaddr(it) => link.permanent_mac = mac(it),
            InfoBondPort::AdAggregatorId(it) => link.aggregator = Some(*it),
            _ => {}
        }
    }
}

fn kind(message: &LinkMessage, indexes: &Indexes, nics: &[&str]) -> LinkKind {
    if message.header.link_layer_type == LinkLayerType::Loopback {
        return LinkKind::Loopback;
    }
    let mut word = None;
    let mut data = None;
    for info in message.attributes.iter().filter_map(link_info).flatten() {
        match info {
            LinkInfo::Kind(kind) => word = Some(kind.to_string()),
            LinkInfo::Data(it) => data = Some(it),
            _ => {}
        }
    }
    match (word, data) {
        (None, _) if message.header.link_layer_type == LinkLayerType::Ether => LinkKind::Nic,
        (None, _) => LinkKind::Other(message.header.link_layer_type.to_string().to_lowercase()),
        (_, Some(InfoData::Bond(it))) => LinkKind::Bond(bond::state(it, indexes)),
        (_, Some(InfoData::Bridge(it))) => LinkKind::Bridge(bridge::state(it)),
        (Some(word), Some(InfoData::Vlan(it))) => {
            vlan(message, it, indexes).unwrap_or(LinkKind::Other(word))
        }
        (Some(word), _) if nics.contains(&word.as_str()) => LinkKind::Nic,
        (Some(word), _) => LinkKind::Other(word),
    }
}

fn link_info(attribute: &LinkAttribute) -> Option<&[LinkInfo]> {
    match attribute {
        LinkAttribute::LinkInfo(info) => Some(info),
        _ => None,
    }
}

/// Nothing, if it is of another kind (802.1ad), or its parent lies in another namespace.
fn vlan(message: &LinkMessage, attributes: &[InfoVlan], indexes: &Indexes) -> Option<LinkKind> {
    let mut found = None;
    for attribute in attributes {
        match attribute {
            InfoVlan::Id(it) => found = Some(*it),
            InfoVlan::Protocol(it) if *it != VlanProtocol::Ieee8021Q => return None,
            _ => {}
        }
    }
    let mut parent = None;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Link(index) => parent = indexes.get(index).cloned(),
            LinkAttribute::LinkNetNsId(_) => return None,
            _ => {}
        }
    }
    Some(LinkKind::Vlan {
        parent: parent?,
        id: found?,
    })
}

fn ipv6(families: &[AfSpecUnspec]) -> Option<Ipv6Settings> {
    let inet6 = families.iter().find_map(|it| match it {
        AfSpecUnspec::Inet6(it) => Some(it),
        _ => None,
    });
    inet6?.iter().find_map(|it| match it {
        AfSpecInet6::DevConf(it) => Some(Ipv6Settings {
            disabled: it.disable_ipv6 != 0,
            autoconf: it.autoconf != 0,
            accept_ra: u8::try_from(it.accept_ra).unwrap_or(0),
            accept_ra_defrtr: it.accept_ra_defrtr != 0,
        }),
        _ => None,
    })
}

fn mac(bytes: &[u8]) -> Option<Mac> {
    Some(Mac::new(<[u8; 6]>::try_from(bytes).ok()?))
}

/// `now`: seconds of the monotonic clock.
fn address(message: &AddressMessage, now: u64) -> Option<Address> {
    let (mut local, mut peer, mut flags) = (None, None, AddressFlags::empty());
    let mut left = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(it) => local = Some(*it),
            AddressAttribute::Address(it) => peer = Some(*it),
            AddressAttribute::Flags(it) => flags = *it,
            AddressAttribute::CacheInfo(it) => left = Some(*it),
            _ => {}
        }
    }
    let ip: IpAddr = local.or(peer)?;
    let dynamic = !flags.contains(AddressFlags::Permanent);
    let end = |left: u32| now.saturating_add(left.into());
    let expiry = left.map(|it| Expiry {
        valid: end(it.ifa_valid),
        preferred: end(it.ifa_preferred),
    });
    Some(Address {
        cidr: Cidr::new(ip, message.header.prefix_len).ok()?,
        dynamic,
        expiry: expiry.filter(|_| dynamic),
        dad_failed: flags.contains(AddressFlags::Dadfailed),
        tentative: flags.contains(AddressFlags::Tentative),
        advertised: flags.intersects(AddressFlags::Managetempaddr | AddressFlags::Secondary)
            && ip.is_ipv6(),
    })
}
