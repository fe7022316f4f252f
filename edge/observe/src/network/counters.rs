//! What the interfaces have moved, and how fast they are: one dump of all links, and a look at sysfs for the speed of
//! those that are up.
//!
//! [`read`] is one look; [`Meter`] keeps the last two and makes rates of them (`net_model::rates`, monotonic time). All
//! counters are the kernel's of 64 bits (`IFLA_STATS64`). Nothing here needs a privilege.
//!
//! Speed, as upstream reckons it (`link/nic.py`, `link/bond/bond_speed.py`, `link/vlan.py`): a card's own while it is
//! up; a bond's by its mode: that of the active port (`active-backup`), the least (`broadcast`), the sum (all others);
//! a VLAN's that of the bond beneath, or of its card; nothing for all else.

use std::{collections::BTreeMap, path::Path, time::Duration};

use net_model::{
    BondState, IfName, LinkKind, Mac,
    rates::{self, Counters, Rates},
};
use netlink::{
    Channel, NetlinkError,
    packet::{
        RouteNetlinkMessage,
        link::{LinkAttribute, LinkFlags, LinkMessage, Stats64},
    },
};

use super::{Indexes, links};
use crate::{clock, files};

/// A number of sysfs is shorter.
const SHORT: u64 = 64;
/// More than this many Mbit/s is the kernel's way to say "not known" (`SPEED_UNKNOWN`, as 16 or 32 bits).
const FASTEST: u32 = 10_000_000;

/// Half or full duplex.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Duplex {
    /// One direction at a time.
    Half,
    /// Both.
    Full,
    /// Not told.
    #[default]
    Unknown,
}

impl Duplex {
    /// The kernel's word, which is upstream's, too.
    pub fn word(self) -> &'static str {
        match self {
            Self::Half => "half",
            Self::Full => "full",
            Self::Unknown => "unknown",
        }
    }
}

/// An interface at one look.
#[derive(Debug, Clone, PartialEq)]
pub struct Interface {
    /// What it is.
    pub kind: LinkKind,
    /// Hardware address.
    pub mac: Mac,
    /// Bridge or bond that it belongs to.
    pub master: Option<IfName>,
    /// Up, with a carrier (`IFF_UP` and `IFF_RUNNING`): upstream's `state` is `up`, else `down`.
    pub up: bool,
    /// Mbit/s by upstream's rules; 0 where not known. (On the wire upstream says 1000 for 0.)
    pub speed: u32,
    /// Half or full duplex.
    pub duplex: Duplex,
    /// What it moved since it was made.
    pub counters: Counters,
}

/// All interfaces at one look.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    /// Monotonic time of the look.
    pub at: Duration,
    /// Seconds since 1970: upstream's `sampleTime`.
    pub unix: f64,
    /// The interfaces of this namespace.
    pub interfaces: BTreeMap<IfName, Interface>,
}

/// One interface: the newest look, and what it did between the last two.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    /// The newest look.
    pub interface: Interface,
    /// What it did a second; nothing until it was seen twice.
    pub rates: Option<Rates>,
}

/// What the host's interfaces do.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NetworkStatistics {
    /// Seconds since 1970 of the newest look: upstream's `sampleTime`.
    pub unix: f64,
    /// By name.
    pub interfaces: BTreeMap<IfName, Statistics>,
    /// Received packets dropped, all interfaces (upstream answers the sent ones here).
    pub rx_dropped: u64,
    /// Sent packets dropped, all interfaces (upstream answers the received ones here).
    pub tx_dropped: u64,
}

/// Looks at all interfaces of this thread's namespace. `nics` as for [`super::network`].
///
/// # Errors
/// The kernel did not tell within `deadline`.
pub fn read(deadline: Duration, nics: &[&str]) -> Result<Reading, NetlinkError> {
    let mut channel = Channel::open(deadline)?;
    look(&mut channel, nics)
}

fn look(channel: &mut Channel, nics: &[&str]) -> Result<Reading, NetlinkError> {
    let (at, unix) = (clock::monotonic(), clock::now_unix_f64());
    // Without a mask of ours the kernel tells the counters.
    let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
    let links = channel.dump(&request)?;
    let indexes = links::indexes(&links);
    let interfaces = interfaces(&links, &indexes, nics, Path::new("/sys/class/net"));
    Ok(Reading {
        at,
        unix,
        interfaces,
    })
}

fn interfaces(
    messages: &[RouteNetlinkMessage],
    indexes: &Indexes,
    nics: &[&str],
    sysfs: &Path,
) -> BTreeMap<IfName, Interface> {
    let mut all = BTreeMap::new();
    for message in links::messages(messages) {
        let Some(name) = links::name(message) else {
            continue;
        };
        let link = links::link(message, indexes, nics);
        let up = message.header.flags;
        let up = up.contains(LinkFlags::Up) && up.contains(LinkFlags::Running);
        let is_nic = matches!(link.kind, LinkKind::Nic | LinkKind::Vlan { .. });
        let folder = sysfs.join(name.as_str());
        let interface = Interface {
            kind: link.kind,
            mac: link.mac,
            master: link.master,
            up,
            speed: if up && is_nic { speed(&folder) } else { 0 },
            duplex: duplex(&folder),
            counters: counters(message),
        };
        all.insert(name, interface);
    }
    let reckoned: Vec<_> = all
        .iter()
        .filter_map(|(name, it)| Some((name.clone(), reckoned_speed(name, it, &all)?)))
        .collect();
    for (name, speed) in reckoned {
        if let Some(interface) = all.get_mut(&name) {
            interface.speed = speed;
        }
    }
    all
}

/// The speed of an interface that has it from others; nothing for one that has its own.
fn reckoned_speed(
    name: &IfName,
    interface: &Interface,
    all: &BTreeMap<IfName, Interface>,
) -> Option<u32> {
    match &interface.kind {
        LinkKind::Bond(state) => Some(bond_speed(name, state, all)),
        LinkKind::Vlan { parent, .. } => match &all.get(parent)?.kind {
            LinkKind::Bond(state) => Some(bond_speed(parent, state, all)),
            LinkKind::Nic => None,
            _ => Some(0),
        },
        _ => None,
    }
}

fn bond_speed(name: &IfName, state: &BondState, all: &BTreeMap<IfName, Interface>) -> u32 {
    let ports = all.values().filter(|it| it.master.as_ref() == Some(name));
    let ports = ports.map(|it| it.speed);
    match state.options.get("mode").map(String::as_str) {
        Some("1") => {
            let active = state.active_slave.as_ref().and_then(|it| all.get(it));
            active.map_or(0, |it| it.speed)
        }
        Some("3") => ports.min().unwrap_or(0),
        Some(_) => ports.fold(0, u32::saturating_add),
        None => 0,
    }
}

/// Mbit/s; not to be read of an interface that is down, nor of one that has none (`EINVAL`).
fn speed(folder: &Path) -> u32 {
    let text = files::read(&folder.join("speed"), SHORT).unwrap_or_default();
    let speed = text.trim().parse().ok();
    speed
        .filter(|it| *it <= FASTEST && *it != 65_535)
        .unwrap_or(0)
}

fn duplex(folder: &Path) -> Duplex {
    let text = files::read(&folder.join("duplex"), SHORT).unwrap_or_default();
    match text.trim() {
        "half" => Duplex::Half,
        "full" => Duplex::Full,
        _ => Duplex::Unknown,
    }
}

fn counters(message: &LinkMessage) -> Counters {
    let stats = message.attributes.iter().find_map(|it| match it {
        LinkAttribute::Stats64(stats) => Some(*stats),
        _ => None,
    });
    let stats: Stats64 = stats.unwrap_or_default();
    Counters {
        rx_bytes: stats.rx_bytes,
        tx_bytes: stats.tx_bytes,
        rx_dropped: stats.rx_dropped,
        tx_dropped: stats.tx_dropped,
        rx_errors: stats.rx_errors,
        tx_errors: stats.tx_errors,
    }
}

/// The last two looks.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    previous: Option<Reading>,
    last: Option<Reading>,
}

impl Meter {
    /// Takes a look; one that is not newer than the last is dropped.
    pub fn push(&mut self, reading: Reading) {
        let stale = |last: &Reading| reading.at <= last.at;
        if !self.last.as_ref().is_some_and(stale) {
            self.previous = self.last.replace(reading);
        }
    }

    /// The newest look.
    pub fn last(&self) -> Option<&Reading> {
        self.last.as_ref()
    }

    /// What the interfaces do; nothing until there is a look.
    pub fn statistics(&self) -> Option<NetworkStatistics> {
        let last = self.last.as_ref()?;
        let counters = last.interfaces.values().map(|it| it.counters);
        let (rx_dropped, tx_dropped) = rates::dropped(counters);
        let each = last.interfaces.iter().map(|(name, interface)| {
            let statistics = Statistics {
                interface: interface.clone(),
                rates: self.rates(name, interface, last.at),
            };
            (name.clone(), statistics)
        });
        Some(NetworkStatistics {
            unix: last.unix,
            interfaces: each.collect(),
            rx_dropped,
            tx_dropped,
        })
    }

    fn rates(&self, name: &IfName, now: &Interface, at: Duration) -> Option<Rates> {
        let previous = self.previous.as_ref()?;
        let before = previous.interfaces.get(name)?;
        let apart = at.checked_sub(previous.at)?.as_nanos();
        let apart = u64::try_from(apart).ok()?;
        rates::rates(before.counters, now.counters, apart, now.speed)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use net_model::BondState;
    use rstest::rstest;

    use super::*;

    fn name(name: &str) -> IfName {
        IfName::new(name).expect("a name")
    }

    fn interface(kind: LinkKind, master: Option<&str>, speed: u32) -> Interface {
        Interface {
            kind,
            mac: Mac::default(),
            master: master.map(name),
            up: true,
            speed,
            duplex: Duplex::Full,
            counters: Counters::default(),
        }
    }

    /// A bond of two ports (1 and 10 Gbit/s) with a VLAN, beside a card with one, and a bridge.
    fn host(mode: &str, active: Option<&str>) -> BTreeMap<IfName, Interface> {
        let bond = BondState {
            options: [("mode".to_owned(), mode.to_owned())].into(),
            active_slave: active.map(name),
            ..BondState::default()
        };
        let vlan = |parent: &str| LinkKind::Vlan {
            parent: name(parent),
            id: 7,
        };
        let all = [
            ("eth0", interface(LinkKind::Nic, Some("bond0"), 1000)),
            ("eth1", interface(LinkKind::Nic, Some("bond0"), 10_000)),
            ("eth2", interface(LinkKind::Nic, None, 100)),
            ("bond0", interface(LinkKind::Bond(bond), None, 0)),
            ("bond0.7", interface(vlan("bond0"), None, 1)),
            ("eth2.7", interface(vlan("eth2"), None, 100)),
        ];
        all.map(|(it, interface)| (name(it), interface)).into()
    }

    #[rstest]
    #[case::round_robin("0", None, 11_000)]
    #[case::active("1", Some("eth1"), 10_000)]
    #[case::nobody_active("1", None, 0)]
    #[case::active_is_gone("1", Some("eth9"), 0)]
    #[case::broadcast("3", None, 1000)]
    #[case::lacp("4", None, 11_000)]
    fn a_bond_is_as_fast_as_its_mode_lets_it(
        #[case] mode: &str,
        #[case] active: Option<&str>,
        #[case] speed: u32,
    ) {
        let all = host(mode, active);
        let of = |it: &str| reckoned_speed(&name(it), &all[it], &all);
        assert_eq!(of("bond0"), Some(speed));
        assert_eq!(of("bond0.7"), Some(speed));
        assert_eq!((of("eth0"), of("eth2.7")), (None, None), "their own");
    }

    #[test]
    fn a_speed_that_is_not_known_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let told = |text: &str| {
            fs::write(folder.path().join("speed"), text).expect("written");
            speed(folder.path())
        };
        assert_eq!(speed(folder.path()), 0);
        for (text, speed) in [
            ("1000\n", 1000),
            ("400000\n", 400_000),
            ("-1\n", 0),
            ("65535\n", 0),
            ("4294967295\n", 0),
            ("", 0),
        ] {
            assert_eq!(told(text), speed, "{text:?}");
        }
        fs::write(folder.path().join("duplex"), "half\n").expect("written");
        assert_eq!(duplex(folder.path()).word(), "half");
        assert_eq!(duplex(&folder.path().join("gone")).word(), "unknown");
    }

    #[test]
    fn rates_come_from_two_looks_and_each_direction_is_its_own() {
        let look = |at, rx_bytes, rx_dropped, tx_dropped| {
            let mut eth0 = interface(LinkKind::Nic, None, 1000);
            eth0.counters = Counters {
                rx_bytes,
                rx_dropped,
                tx_dropped,
                ..Counters::default()
            };
            Reading {
                at: Duration::from_secs(at),
                unix: at as f64,
                interfaces: [(name("eth0"), eth0)].into(),
            }
        };
        let mut meter = Meter::default();
        assert_eq!(meter.statistics(), None);
        meter.push(look(10, 1000, 5, 1));
        meter.push(look(12, 2_001_000, 7, 1));
        // A look that is older came late.
        meter.push(look(11, 9, 9, 9));
        let now = meter.statistics().expect("two looks");
        assert_eq!((now.rx_dropped, now.tx_dropped), (7, 1));
        let rates = now.interfaces["eth0"].rates.expect("two looks");
        assert!(
            (rates.rx_rate - 1e6).abs() < 1e-6 && rates.tx_rate.abs() < 1e-9,
            "{rates:?}"
        );
        assert!((rates.rx_dropped - 1.0).abs() < 1e-9, "{rates:?}");
    }
}
