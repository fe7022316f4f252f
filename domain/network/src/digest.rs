//! Has something happened that clients should look at? Upstream tells them of an address that a DHCP server gave and
//! of a bond that sends by another port; here carriers, ports and addresses of all that capabilities tell of count, and
//! nothing that guests do: their taps come and go. An address that turns out to be another host's, too, is an event and a warning.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use net_model::{Cidr, Current, IfName, LinkKind};

use crate::Shown;

/// What of the networks is worth an event when it differs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Digest {
    links: BTreeMap<IfName, LinkDigest>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct LinkDigest {
    carrier: bool,
    master: Option<IfName>,
    active: Option<IfName>,
    aggregator: Option<u16>,
    addresses: BTreeSet<Cidr>,
    /// Addresses that other hosts have: they are not used.
    duplicates: BTreeSet<Cidr>,
}

/// One look at the networks, for comparison with the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    pub(crate) digest: Digest,
    /// How many changes had been made or tried.
    pub(crate) changes: u64,
    /// How the last of them left the networks, if it lasts.
    pub(crate) left: Option<Digest>,
}

impl Look {
    /// Do the networks differ from an earlier look by more than what changes of ours did?
    pub fn is_news_after(&self, before: &Self) -> bool {
        let known = match &self.left {
            Some(left) if self.changes != before.changes => left,
            _ => &before.digest,
        };
        self.digest != *known
    }
}

/// One look after the other. What was heard while a change was under way, or while nothing could be seen, is looked at as soon as
/// that is over: an event is late then, not lost.
#[derive(Debug)]
pub struct News {
    last: Option<Look>,
    owed: bool,
}

impl News {
    /// From this look on; none: from the first that can be taken.
    pub fn since(first: Option<Look>) -> Self {
        if let Some(first) = &first {
            first.digest.warn_after(&Digest::default());
        }
        Self {
            owed: false,
            last: first,
        }
    }

    /// Is a look needed, if something was `heard` of the networks since the last call, or not?
    pub fn is_look_needed(&mut self, heard: bool) -> bool {
        self.owed |= heard;
        self.owed
    }

    /// The look that was needed; none if it could not be taken. Is it news?
    pub fn take(&mut self, now: Option<Look>) -> bool {
        let Some(now) = now else { return false };
        self.owed = false;
        let is_news = self.last.as_ref().is_some_and(|it| now.is_news_after(it));
        let none = Digest::default();
        let last = self.last.as_ref().map_or(&none, |it| &it.digest);
        now.digest.warn_after(last);
        self.last = Some(now);
        is_news
    }
}

impl Digest {
    /// Of what is there.
    pub fn of(current: &Current, shown: &Shown) -> Self {
        let links = current.links.iter();
        let told = links.filter(|(name, link)| shown.has(current, name, link));
        let links = told.map(|(name, link)| {
            let lasting = link.addresses.iter();
            let lasting = lasting.filter(|it| !it.is_link_local() && !it.dad_failed);
            let duplicates = link.addresses.iter().filter(|it| it.dad_failed);
            let mut digest = LinkDigest {
                carrier: link.carrier,
                master: link.master.clone(),
                aggregator: link.aggregator,
                addresses: lasting.map(|it| it.cidr).collect(),
                duplicates: duplicates.map(|it| it.cidr).collect(),
                active: None,
            };
            match &link.kind {
                LinkKind::Bond(state) => {
                    digest.active.clone_from(&state.active_slave);
                    digest.aggregator = state.aggregator;
                }
                // It has one as soon as a guest's tap is in it.
                LinkKind::Bridge(_) => digest.carrier = true,
                _ => {}
            }
            (name.clone(), digest)
        });
        Self {
            links: links.collect(),
        }
    }

    /// Addresses that other hosts have, by interface.
    pub fn duplicates(&self) -> BTreeSet<(&IfName, Cidr)> {
        let all = self.links.iter();
        all.flat_map(|(name, it)| it.duplicates.iter().map(move |cidr| (name, *cidr)))
            .collect()
    }

    /// Tells of duplicates that were none before, whoever gave them to this host; and of those that are none any more.
    fn warn_after(&self, before: &Self) {
        let (now, then) = (self.duplicates(), before.duplicates());
        for (interface, address) in now.difference(&then) {
            tracing::warn!(
                target: "vdsm.network", %interface, %address,
                "{}", remedy(*address)
            );
        }
        for (interface, address) in then.difference(&now) {
            tracing::info!(target: "vdsm.network", %interface, %address, "no duplicate address any more");
        }
    }
}

fn remedy(address: Cidr) -> &'static str {
    let of_the_link = matches!(address.ip(), IpAddr::V6(it) if it.is_unicast_link_local());
    if of_the_link {
        "duplicate address: another host of that link has it, so this one does not do IPv6 there; look for two cards with one hardware address"
    } else {
        "duplicate address: another host of that link has it, so this one does not use it; give one of the two another \
         address, or take it from the other and set the network up again"
    }
}
