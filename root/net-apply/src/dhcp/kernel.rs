//! What a client brings, into the kernel and out of it. Both idempotent: what is so already is success.

use std::{net::IpAddr, time::Duration};

use net_model::{Cidr, Current, Family, IfName, Link, Route, Rule};
use netlink::{
    Act, Channel, NetlinkError, Refusal,
    packet::{
        AddressFamily, RouteNetlinkMessage,
        address::{AddressAttribute, AddressMessage, CacheInfo},
        route::{
            RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteProtocol, RouteScope,
            RouteType,
        },
        rule::{RuleAction, RuleAttribute, RuleMessage},
    },
};
use rustix::io::Errno;

use super::lease::{Brought, Lease};
use crate::kernel::address_for_a_time;

/// How long an address stays at most without being said again. A lease for ever is given this, too: an address
/// without an end would look like one that an administrator gave.
const LONGEST: u32 = u32::MAX - 1;

/// How long the kernel may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A way to the kernel for one interface.
pub(super) struct Kernel {
    channel: Channel,
    index: u32,
}

/// Why something was not brought or not taken away.
#[derive(Debug, thiserror::Error)]
pub(super) enum BringError {
    /// There is no such interface.
    #[error("no such interface")]
    NoLink,
    /// The kernel does not answer.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// It refuses.
    #[error("the kernel refuses {what}")]
    Refused {
        /// What.
        what: String,
        /// Why.
        source: Refusal,
    },
}

impl Kernel {
    /// For this interface; none if it is not there.
    pub(super) fn of(link: &IfName, deadline: Duration) -> Result<Self, BringError> {
        let channel = Channel::open(deadline)?;
        let index = channel.index_of(link.as_str()).ok_or(BringError::NoLink)?;
        Ok(Self { channel, index })
    }

    /// The address, or its lifetimes anew.
    pub(super) fn lease(&mut self, lease: &Lease) -> Result<(), BringError> {
        let mut message = address(lease.address, self.index);
        let mut times = CacheInfo::default();
        times.ifa_valid = lease.valid.min(LONGEST);
        times.ifa_preferred = lease.preferred.min(times.ifa_valid);
        message.attributes.push(AddressAttribute::CacheInfo(times));
        let act = Act::replace(RouteNetlinkMessage::NewAddress(message));
        self.act(act, &format!("address {}", lease.address), &[])
    }

    /// Routes and rules; then the first one that was refused.
    pub(super) fn bring(&mut self, brought: &Brought) -> Result<(), BringError> {
        let mut first = Ok(());
        for it in &brought.routes {
            let act = Act::prepend(RouteNetlinkMessage::NewRoute(route(it, self.index)));
            let done = self.act(act, &format!("route {it}"), &[Errno::EXIST]);
            first = first.and(done);
        }
        for it in &brought.rules {
            let act = Act::create(RouteNetlinkMessage::NewRule(rule(it)));
            let done = self.act(act, &format!("rule {it}"), &[Errno::EXIST]);
            first = first.and(done);
        }
        first
    }

    /// Addresses, routes and rules go; over every refusal, then the first of them.
    pub(super) fn take_away(&mut self, brought: &Brought) -> Result<(), BringError> {
        // No such: gone already, or the interface went with it.
        const GONE: [Errno; 4] = [Errno::NOENT, Errno::SRCH, Errno::ADDRNOTAVAIL, Errno::NODEV];
        let mut first = Ok(());
        for it in &brought.rules {
            let act = Act::change(RouteNetlinkMessage::DelRule(rule(it)));
            first = first.and(self.act(act, &format!("rule {it}"), &GONE));
        }
        for it in brought.routes.iter().rev() {
            let act = Act::change(RouteNetlinkMessage::DelRoute(route(it, self.index)));
            first = first.and(self.act(act, &format!("route {it}"), &GONE));
        }
        for it in &brought.addresses {
            let message = address(*it, self.index);
            let act = Act::change(RouteNetlinkMessage::DelAddress(message));
            first = first.and(self.act(act, &format!("address {it}"), &GONE));
        }
        first
    }

    fn act(&mut self, act: Act, what: &str, fine: &[Errno]) -> Result<(), BringError> {
        match self.channel.act_one(act)? {
            Ok(()) => Ok(()),
            Err(refusal) if fine.iter().any(|it| refusal.is(*it)) => Ok(()),
            Err(source) => Err(BringError::Refused {
                what: what.to_owned(),
                source,
            }),
        }
    }
}

/// Addresses that an interface had and lost, and the routes over it, come back as they were: what was there for a time, for
/// what is left of it. What cannot come back is told.
pub(crate) fn put_back(link: &IfName, before: &Current, after: &Current) {
    let addresses = |of: &Current| {
        let addresses = of.links.get(link).map(|it| it.addresses.clone());
        addresses.unwrap_or_default()
    };
    let there: Vec<Cidr> = addresses(after).iter().map(|it| it.cidr).collect();
    let mut lost = addresses(before);
    lost.retain(|it| !there.contains(&it.cidr) && !it.is_link_local());
    let routes = before.routes_of(link);
    let routes: Vec<&Route> = routes.filter(|it| !after.routes.contains(it)).collect();
    if lost.is_empty() && routes.is_empty() {
        return;
    }
    tracing::warn!(%link, ?lost, routes = routes.len(), "what went with the interface's manager comes back");
    let mut kernel = match Kernel::of(link, PATIENCE) {
        Ok(kernel) => kernel,
        Err(error) => return tracing::error!(%link, %error, "it does not come back"),
    };
    let mut acts = Vec::new();
    let now = observe::clock::monotonic().as_secs();
    for it in &lost {
        let message = match it.expiry {
            Some(expiry) => address_for_a_time(kernel.index, it.cidr, expiry, now),
            None => Some(address(it.cidr, kernel.index)),
        };
        let Some(message) = message.map(RouteNetlinkMessage::NewAddress) else {
            continue;
        };
        acts.push((Act::replace(message), format!("address {}", it.cidr)));
    }
    for it in routes {
        let message = RouteNetlinkMessage::NewRoute(route(it, kernel.index));
        acts.push((Act::prepend(message), format!("route {it}")));
    }
    for (act, what) in acts {
        if let Err(error) = kernel.act(act, &what, &[Errno::EXIST]) {
            tracing::error!(%link, %error, "it does not come back");
        }
    }
}

/// What the kernel made of advertisements, if it is of this family.
pub(super) fn advertised(link: &Link, family: Family) -> Vec<Cidr> {
    let all = link.addresses.iter();
    all.filter(|it| it.dynamic && it.advertised && it.cidr.family() == family)
        .map(|it| it.cidr)
        .collect()
}

fn family(family: Family) -> AddressFamily {
    match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    }
}

fn address(cidr: Cidr, index: u32) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(cidr.family());
    message.header.prefix_len = cidr.prefix();
    message.header.index = index;
    let ip = cidr.ip();
    message.attributes.push(AddressAttribute::Local(ip));
    message.attributes.push(AddressAttribute::Address(ip));
    if let Some(broadcast) = broadcast(cidr) {
        let broadcast = AddressAttribute::Broadcast(broadcast);
        message.attributes.push(broadcast);
    }
    message
}

fn broadcast(cidr: Cidr) -> Option<std::net::Ipv4Addr> {
    match cidr.ip() {
        IpAddr::V4(ip) if cidr.prefix() < 31 => {
            let mask = cidr.netmask()?;
            Some((ip.to_bits() | !mask.to_bits()).into())
        }
        _ => None,
    }
}

fn bare(ip: IpAddr) -> RouteAddress {
    match ip {
        IpAddr::V4(ip) => RouteAddress::Inet(ip),
        IpAddr::V6(ip) => RouteAddress::Inet6(ip),
    }
}

fn route(route: &Route, index: u32) -> RouteMessage {
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family = family(route.family());
    header.destination_prefix_length = route.destination.prefix();
    header.protocol = RouteProtocol::from(route.protocol);
    header.kind = RouteType::Unicast;
    header.scope = match (route.family(), route.via) {
        (Family::V4, None) => RouteScope::Link,
        _ => RouteScope::Universe,
    };
    if route.onlink {
        header.flags |= RouteFlags::Onlink;
    }
    let attributes = &mut message.attributes;
    if !route.destination.is_any() {
        let destination = bare(route.destination.ip());
        attributes.push(RouteAttribute::Destination(destination));
    }
    attributes.push(RouteAttribute::Table(route.table));
    attributes.push(RouteAttribute::Oif(index));
    if let Some(via) = route.via {
        attributes.push(RouteAttribute::Gateway(bare(via)));
    }
    if route.metric != 0 {
        attributes.push(RouteAttribute::Priority(route.metric));
    }
    message
}

fn rule(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = family(rule.family);
    message.header.action = RuleAction::ToTable;
    let attributes = &mut message.attributes;
    attributes.push(RuleAttribute::Table(rule.table));
    attributes.push(RuleAttribute::Priority(rule.priority));
    let protocol = RouteProtocol::from(rule.protocol);
    attributes.push(RuleAttribute::Protocol(protocol));
    if let Some(from) = rule.from {
        message.header.src_len = from.prefix();
        attributes.push(RuleAttribute::Source(from.ip()));
    }
    if let Some(to) = rule.to {
        message.header.dst_len = to.prefix();
        attributes.push(RuleAttribute::Destination(to.ip()));
    }
    message
}
