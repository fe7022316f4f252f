//! What the loop knows of the host's network: interfaces, addresses, neighbours.
//!
//! Interfaces and addresses are read when the kernel says that they changed, at most twice a second, and seldom enough to be
//! no burden where reading takes long; neighbours when somebody did not answer, at most once a second.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant},
};

use net_model::{Cidr, Family, IfName};
use netlink::{
    Channel, Group, Monitor, NetlinkError,
    packet::{
        RouteNetlinkMessage,
        address::{AddressAttribute, AddressFlags, AddressMessage},
        link::LinkFlags,
        neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
    },
};

use crate::network::{all_links, links};

const BETWEEN_READS: Duration = Duration::from_millis(500);
/// The most: a picture that is older makes a network that has just come look as if it did not answer.
const LONGEST_BETWEEN_READS: Duration = Duration::from_secs(2);
/// Reading takes at most one part in so many of the time, until then: the kernel changes nothing while it tells its interfaces.
const SHARE: u32 = 4;
/// Before the next reading, by how long one took.
fn pause(took: Duration) -> Duration {
    (took * SHARE).clamp(BETWEEN_READS, LONGEST_BETWEEN_READS)
}

const NEIGHBOURS_HOLD: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy)]
pub(super) struct Interface {
    pub(super) index: u32,
    /// Up, with a carrier.
    pub(super) running: bool,
}

/// By interface and address: has the kernel asked in vain?
type Neighbours = BTreeMap<(u32, IpAddr), bool>;

#[derive(Debug)]
pub(super) struct Table {
    monitor: Monitor,
    deadline: Duration,
    stale: bool,
    /// When it may be read again, if it has been.
    next: Option<Instant>,
    interfaces: BTreeMap<IfName, Interface>,
    addresses: BTreeMap<u32, Vec<Cidr>>,
    neighbours: Option<(Instant, Neighbours)>,
}

impl Table {
    pub(super) fn open(deadline: Duration) -> Result<Self, NetlinkError> {
        let groups = [Group::Link, Group::Ipv4Address, Group::Ipv6Address];
        Ok(Self {
            monitor: Monitor::open(&groups)?,
            deadline,
            stale: true,
            next: None,
            interfaces: BTreeMap::new(),
            addresses: BTreeMap::new(),
            neighbours: None,
        })
    }

    /// Takes what the kernel said.
    pub(super) fn hear(&mut self) -> Result<(), NetlinkError> {
        self.stale |= !self.monitor.take()?.is_empty();
        Ok(())
    }

    /// When it wants to be read again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.stale.then(|| self.next.unwrap_or_else(Instant::now))
    }

    /// Reads interfaces and addresses, if it is time.
    pub(super) fn refresh(&mut self) -> Result<(), NetlinkError> {
        if self.due().is_none_or(|it| it > Instant::now()) {
            return Ok(());
        }
        self.stale = false;
        let began = Instant::now();
        let read = self.read_now();
        self.next = Some(Instant::now() + pause(began.elapsed()));
        // Until the kernel can be asked again the older picture is the best there is.
        self.stale |= read.is_err();
        read
    }

    fn read_now(&mut self) -> Result<(), NetlinkError> {
        let mut channel = Channel::open(self.deadline)?;
        let all = channel.dump(&all_links())?;
        let addresses =
            channel.dump(&RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
        self.interfaces = links::messages(&all)
            .filter_map(|it| {
                let flags = it.header.flags;
                let running = flags.contains(LinkFlags::Up) && flags.contains(LinkFlags::Running);
                let index = it.header.index;
                Some((links::name(it)?, Interface { index, running }))
            })
            .collect();
        self.addresses.clear();
        for message in &addresses {
            if let RouteNetlinkMessage::NewAddress(message) = message
                && let Some(address) = usable(message)
            {
                let index = message.header.index;
                self.addresses.entry(index).or_default().push(address);
            }
        }
        Ok(())
    }

    pub(super) fn interface(&self, name: &IfName) -> Option<Interface> {
        self.interfaces.get(name).copied()
    }

    /// The own address that a target is asked from.
    pub(super) fn source(&self, index: u32, target: IpAddr) -> Option<IpAddr> {
        source(self.addresses.get(&index)?, target)
    }

    /// Is the target in a network of this interface?
    pub(super) fn is_near(&self, index: u32, target: IpAddr) -> bool {
        let own = self.addresses.get(&index);
        own.is_some_and(|own| own.iter().any(|it| it.contains(target)))
    }

    /// Does nobody on the link have any of these addresses, as far as the kernel has asked for them?
    pub(super) fn lacks_neighbour(&mut self, index: u32, of: &[IpAddr]) -> bool {
        let old = |at: &Instant| at.elapsed() >= NEIGHBOURS_HOLD;
        if self.neighbours.as_ref().is_none_or(|(at, _)| old(at)) {
            self.neighbours = neighbours(self.deadline)
                .ok()
                .map(|it| (Instant::now(), it));
        }
        let Some((_, all)) = &self.neighbours else {
            return false;
        };
        let mut known = of.iter().filter_map(|ip| all.get(&(index, *ip)).copied());
        known.next().is_some_and(|failed| failed) && known.all(|failed| failed)
    }
}

impl AsFd for Table {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.monitor.as_fd()
    }
}

fn source(own: &[Cidr], target: IpAddr) -> Option<IpAddr> {
    let link_local = |ip: IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    let family = Family::of(target);
    let fits = |it: &&Cidr| it.family() == family && link_local(it.ip()) == link_local(target);
    let near = own.iter().filter(fits).find(|it| it.contains(target));
    near.or_else(|| own.iter().find(fits)).map(|it| it.ip())
}

/// An address that can be sent from now.
fn usable(message: &AddressMessage) -> Option<Cidr> {
    let (mut local, mut address, mut flags) = (None, None, AddressFlags::empty());
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(it) => local = Some(*it),
            AddressAttribute::Address(it) => address = Some(*it),
            AddressAttribute::Flags(it) => flags = *it,
            _ => {}
        }
    }
    if flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed) {
        return None;
    }
    Cidr::new(local.or(address)?, message.header.prefix_len).ok()
}

/// Neighbours that the kernel has asked for: did nobody answer?
fn neighbours(deadline: Duration) -> Result<Neighbours, NetlinkError> {
    let request = RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default());
    let all = Channel::open(deadline)?.dump(&request)?;
    let known = all.iter().filter_map(|it| match it {
        RouteNetlinkMessage::NewNeighbour(it) => neighbour(it),
        _ => None,
    });
    Ok(known.collect())
}

fn neighbour(message: &NeighbourMessage) -> Option<((u32, IpAddr), bool)> {
    let ip = message.attributes.iter().find_map(|it| match it {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => Some(IpAddr::V4(*ip)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => Some(IpAddr::V6(*ip)),
        _ => None,
    })?;
    let state = message.header.state;
    let failed = matches!(state, NeighbourState::Failed | NeighbourState::Incomplete);
    Some(((message.header.ifindex, ip), failed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_is_near_the_target() {
        let own: Vec<Cidr> = ["10.0.0.2/8", "192.0.2.7/24", "fe80::2/64", "2001:db8::2/64"]
            .iter()
            .map(|it| it.parse().expect("an address"))
            .collect();
        let of = |target: &str| {
            let target = target.parse().expect("an address");
            source(&own, target).map(|it| it.to_string())
        };
        assert_eq!(of("192.0.2.1").as_deref(), Some("192.0.2.7"));
        assert_eq!(of("8.8.8.8").as_deref(), Some("10.0.0.2"));
        assert_eq!(of("fe80::1").as_deref(), Some("fe80::2"));
        assert_eq!(of("2001:db8:1::1").as_deref(), Some("2001:db8::2"));
        let v4: Vec<Cidr> = own
            .iter()
            .copied()
            .filter(|it| it.family() == Family::V4)
            .collect();
        assert_eq!(source(&v4, "::2".parse().expect("an address")), None);
    }
}
