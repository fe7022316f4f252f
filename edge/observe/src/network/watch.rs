//! News of interfaces, as the kernel tells them: nothing is asked for again and again.
//!
//! States of a [`LinkWatch`]: it knows all interfaces, hears what changes, tells the difference. When the kernel had
//! more to say than could be heard, it reads all interfaces anew, tells what differs, and [`LinkNews::Resync`] behind
//! it: whoever keeps more than this does the same.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use net_model::{IfName, LinkKind, Mac};
use netlink::{
    Channel, Group, Heard, Monitor, NetlinkError,
    packet::{
        AddressFamily, RouteNetlinkMessage,
        link::{LinkAttribute, LinkEvent, LinkFlags, LinkMessage},
    },
};

use super::{Indexes, all_links, links};

/// What became of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkNews {
    /// It is there (new, or under a new name).
    Came(IfName),
    /// It is gone (or has another name).
    Gone(IfName),
    /// It came up with a carrier, or lost either.
    Carrier {
        /// Which.
        link: IfName,
        /// Is it up, with a carrier?
        up: bool,
    },
    /// It entered a bridge or bond, or left one.
    Master(IfName),
    /// A bond sends through another port.
    Failover(IfName),
    /// A bond has another aggregator or partner, or a port is in another aggregator (802.3ad).
    Aggregation(IfName),
    /// News were lost; what could be found again stands before this.
    Resync,
}

impl LinkNews {
    /// Is it for the event `|net|host_conn|no_id`? Upstream sends it when a bond fails over (`bond_monitor.py`).
    pub fn is_for_engine(&self) -> bool {
        matches!(
            self,
            Self::Failover(_) | Self::Aggregation(_) | Self::Resync
        )
    }
}

/// What is known of an interface, as far as news are made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    name: IfName,
    up: bool,
    master: Option<u32>,
    active: Option<IfName>,
    aggregator: Option<u16>,
    partner: Option<Mac>,
}

/// All interfaces of one network namespace, watched.
#[derive(Debug)]
pub struct LinkWatch {
    monitor: Monitor,
    deadline: Duration,
    known: BTreeMap<u32, Known>,
    /// Of those that are known: a host with a thousand VLANs has thousands of news.
    names: Indexes,
}

impl LinkWatch {
    /// Watches the namespace of this thread. `deadline` bounds each reading of all interfaces.
    ///
    /// # Errors
    /// The kernel did not tell.
    pub fn open(deadline: Duration) -> Result<Self, NetlinkError> {
        let monitor = Monitor::open(&[Group::Link])?;
        let known = read(deadline)?;
        Ok(Self {
            monitor,
            deadline,
            names: names(&known),
            known,
        })
    }

    /// What became of them, waiting for it up to `timeout`; nothing when that has passed.
    ///
    /// # Errors
    /// The kernel does not tell any more; open another.
    pub fn wait(&mut self, timeout: Duration) -> Result<Vec<LinkNews>, NetlinkError> {
        let heard = self.monitor.wait(timeout)?;
        self.hear(heard)
    }

    /// What became of them by now: for those who poll [`AsFd`] by themselves.
    ///
    /// # Errors
    /// As of [`Self::wait`].
    pub fn take(&mut self) -> Result<Vec<LinkNews>, NetlinkError> {
        let heard = self.monitor.take()?;
        self.hear(heard)
    }

    fn hear(&mut self, heard: Vec<Heard>) -> Result<Vec<LinkNews>, NetlinkError> {
        let mut news = Vec::new();
        if heard.contains(&Heard::Lost) {
            let now = read(self.deadline)?;
            let before = std::mem::replace(&mut self.known, now);
            self.names = names(&self.known);
            differences(&before, &self.known, &mut news);
            news.push(LinkNews::Resync);
            return Ok(news);
        }
        for heard in heard {
            if let Heard::News(message) = heard {
                self.one(&message, &mut news);
            }
        }
        Ok(news)
    }

    fn one(&mut self, message: &RouteNetlinkMessage, news: &mut Vec<LinkNews>) {
        // A port of a bridge that leaves it is "deleted" in the bridge's own family.
        let own = |it: &LinkMessage| it.header.interface_family == AddressFamily::Unspec;
        match message {
            RouteNetlinkMessage::NewLink(link) if own(link) => {
                let index = link.header.index;
                let Some(now) = known(link, &self.names) else {
                    return;
                };
                self.names.insert(index, now.name.clone());
                let before = self.known.insert(index, now.clone());
                let had = news.len();
                difference(before.as_ref(), Some(&now), news);
                let told = news.get(had..).unwrap_or_default();
                if failed_over(link) && !told.iter().any(|it| matches!(it, LinkNews::Failover(_))) {
                    news.push(LinkNews::Failover(now.name));
                }
            }
            RouteNetlinkMessage::DelLink(link) if own(link) => {
                self.names.remove(&link.header.index);
                let before = self.known.remove(&link.header.index);
                difference(before.as_ref(), None, news);
            }
            _ => {}
        }
    }
}

impl AsFd for LinkWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.monitor.as_fd()
    }
}

fn names(known: &BTreeMap<u32, Known>) -> Indexes {
    let names = known.iter().map(|(index, it)| (*index, it.name.clone()));
    names.collect()
}

fn read(deadline: Duration) -> Result<BTreeMap<u32, Known>, NetlinkError> {
    let messages = Channel::open(deadline)?.dump(&all_links())?;
    let indexes = links::indexes(&messages);
    let all = links::messages(&messages);
    Ok(all
        .filter_map(|it| Some((it.header.index, known(it, &indexes)?)))
        .collect())
}

fn known(message: &LinkMessage, indexes: &Indexes) -> Option<Known> {
    let link = links::link(message, indexes, &[]);
    let flags = message.header.flags;
    let (active, aggregator, partner) = match link.kind {
        LinkKind::Bond(state) => (state.active_slave, state.aggregator, state.partner_mac),
        _ => (None, link.aggregator, None),
    };
    Some(Known {
        name: links::name(message)?,
        up: flags.contains(LinkFlags::Up) && flags.contains(LinkFlags::Running),
        master: message.attributes.iter().find_map(|it| match it {
            LinkAttribute::Controller(index) => Some(*index),
            _ => None,
        }),
        active,
        aggregator,
        partner,
    })
}

fn failed_over(message: &LinkMessage) -> bool {
    let failover = LinkAttribute::Event(LinkEvent::BondingFailover);
    message.attributes.contains(&failover)
}

fn differences(
    before: &BTreeMap<u32, Known>,
    now: &BTreeMap<u32, Known>,
    news: &mut Vec<LinkNews>,
) {
    for (index, before) in before {
        if !now.contains_key(index) {
            difference(Some(before), None, news);
        }
    }
    for (index, now) in now {
        difference(before.get(index), Some(now), news);
    }
}

fn difference(before: Option<&Known>, now: Option<&Known>, news: &mut Vec<LinkNews>) {
    match (before, now) {
        (None, None) => {}
        (Some(before), None) => news.push(LinkNews::Gone(before.name.clone())),
        (None, Some(now)) => came(now, news),
        (Some(before), Some(now)) if before.name != now.name => {
            news.push(LinkNews::Gone(before.name.clone()));
            came(now, news);
        }
        (Some(before), Some(now)) => changed(before, now, news),
    }
}

fn came(now: &Known, news: &mut Vec<LinkNews>) {
    news.push(LinkNews::Came(now.name.clone()));
    if now.up {
        let (link, up) = (now.name.clone(), true);
        news.push(LinkNews::Carrier { link, up });
    }
}

fn changed(before: &Known, now: &Known, news: &mut Vec<LinkNews>) {
    let link = || now.name.clone();
    if before.up != now.up {
        news.push(LinkNews::Carrier {
            link: link(),
            up: now.up,
        });
    }
    if before.master != now.master {
        news.push(LinkNews::Master(link()));
    }
    if before.active != now.active {
        news.push(LinkNews::Failover(link()));
    }
    if (before.aggregator, before.partner) != (now.aggregator, now.partner) {
        news.push(LinkNews::Aggregation(link()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str) -> Known {
        Known {
            name: IfName::new(name).expect("a name"),
            up: true,
            master: None,
            active: None,
            aggregator: None,
            partner: None,
        }
    }

    fn told(before: Option<&Known>, now: Option<&Known>) -> Vec<LinkNews> {
        let mut news = Vec::new();
        difference(before, now, &mut news);
        news
    }

    #[test]
    fn each_difference_is_told() {
        let name = |it: &str| IfName::new(it).expect("a name");
        let bond = known("bond0");
        let up = |it: &str, up| LinkNews::Carrier { link: name(it), up };
        assert_eq!(told(Some(&bond), Some(&bond)), []);
        assert_eq!(told(Some(&bond), None), [LinkNews::Gone(name("bond0"))]);
        let came = [LinkNews::Came(name("bond0")), up("bond0", true)];
        assert_eq!(told(None, Some(&bond)), came);
        let down = Known {
            up: false,
            active: Some(name("eth1")),
            aggregator: Some(2),
            master: Some(9),
            ..bond.clone()
        };
        assert_eq!(
            told(Some(&bond), Some(&down)),
            [
                up("bond0", false),
                LinkNews::Master(name("bond0")),
                LinkNews::Failover(name("bond0")),
                LinkNews::Aggregation(name("bond0")),
            ]
        );
        let renamed = told(Some(&bond), Some(&known("bond1")));
        assert_eq!(
            renamed[..2],
            [LinkNews::Gone(name("bond0")), LinkNews::Came(name("bond1"))]
        );
    }

    #[test]
    fn what_was_missed_is_found_again() {
        let before = BTreeMap::from([(1, known("lo")), (2, known("a")), (3, known("b"))]);
        let now = BTreeMap::from([(1, known("lo")), (3, known("c")), (4, known("d"))]);
        let mut news = Vec::new();
        differences(&before, &now, &mut news);
        let gone: Vec<_> = news
            .iter()
            .filter(|it| matches!(it, LinkNews::Gone(_)))
            .collect();
        let came: Vec<_> = news
            .iter()
            .filter(|it| matches!(it, LinkNews::Came(_)))
            .collect();
        assert_eq!((gone.len(), came.len()), (2, 2), "{news:?}");
    }
}
