//! What routers of a link advertise (RFC 4861, 8106): read, and kept as long as it holds. Pure; nothing here trusts
//! what came.
//!
//! The kernel makes addresses of advertisements, and in the main table routes. It does not tell which router said
//! what, so a network with a table of its own needs somebody who listens: the client of its IPv6.
//!
//! A prefix goes when its time is over, when its router says so (valid for 0 seconds: at once, unlike the kernel, which
//! then keeps addresses for two hours), and when the router advertises others without it: a renumbered network.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

use net_model::{Cidr, IfName, Nameserver};

use super::lease::Advertised;

/// `ND_ROUTER_ADVERT`.
pub const ADVERTISEMENT: u8 = 134;
/// `ND_ROUTER_SOLICIT`, with its empty rest; the kernel fills in the checksum.
pub const SOLICITATION: [u8; 8] = [133, 0, 0, 0, 0, 0, 0, 0];
/// Who hears a solicitation: all routers of the link.
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// Octets before the options.
const HEADER: usize = 16;
const PREFIX: u8 = 3;
const SERVERS: u8 = 25;
/// For ever.
const INFINITE: u32 = u32::MAX;
/// Routers that are listened to on a link.
const MOST_ROUTERS: usize = 16;
/// Prefixes of a router.
const MOST_PREFIXES: usize = 64;
/// Name servers of a router; the C library uses three.
const MOST_SERVERS: usize = 6;

/// An advertisement, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertisement {
    /// Seconds for which it is a default router; 0: it is none.
    pub lifetime: u16,
    /// High (1), medium (0) or low (-1).
    pub preference: i8,
    /// Networks on the link, or that hosts take addresses of, and their seconds.
    pub prefixes: Vec<(Cidr, u32)>,
    /// Name servers and their seconds.
    pub servers: Vec<(Ipv6Addr, u32)>,
}

impl Advertisement {
    /// Reads an ICMPv6 message.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let (header, mut rest) = bytes
            .split_first_chunk::<HEADER>()
            .ok_or("it is too short")?;
        let [kind, code, _, _, _, flags, l0, l1, ..] = *header;
        if (kind, code) != (ADVERTISEMENT, 0) {
            return Err("it is no advertisement");
        }
        let mut all = Self {
            lifetime: u16::from_be_bytes([l0, l1]),
            preference: match flags >> 3 & 3 {
                1 => 1,
                3 => -1,
                _ => 0,
            },
            prefixes: Vec::new(),
            servers: Vec::new(),
        };
        while let Some((head, _)) = rest.split_first_chunk::<2>() {
            let [kind, units] = *head;
            let length = usize::from(units) * 8;
            if length == 0 {
                return Err("an option has no length");
            }
            let option = rest.get(..length).ok_or("an option is cut off")?;
            all.read_option(kind, option);
            rest = rest.get(length..).unwrap_or_default();
        }
        Ok(all)
    }

    fn read_option(&mut self, kind: u8, option: &[u8]) {
        match kind {
            PREFIX if self.prefixes.len() < MOST_PREFIXES => {
                self.prefixes.extend(read_prefix(option));
            }
            SERVERS => {
                let Some(lifetime) = number(option, 4) else {
                    return;
                };
                let addresses = option.get(8..).unwrap_or_default();
                for address in addresses.as_chunks::<16>().0 {
                    let address = Ipv6Addr::from(*address);
                    let usable = !address.is_unspecified() && !address.is_multicast();
                    if usable && self.servers.len() < MOST_SERVERS {
                        self.servers.push((address, lifetime));
                    }
                }
            }
            _ => {}
        }
    }
}

fn number(option: &[u8], at: usize) -> Option<u32> {
    let bytes = option.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*bytes))
}

fn read_prefix(option: &[u8]) -> Option<(Cidr, u32)> {
    const ON_LINK: u8 = 0x80;
    const AUTONOMOUS: u8 = 0x40;
    let [_, _, bits, flags] = *option.first_chunk::<4>()?;
    let valid = number(option, 4)?;
    let address = Ipv6Addr::from(*option.get(16..)?.first_chunk::<16>()?);
    let network = Cidr::new(address.into(), bits).ok()?.network();
    let IpAddr::V6(base) = network.ip() else {
        return None;
    };
    let usable = bits > 0
        && flags & (ON_LINK | AUTONOMOUS) != 0
        && !base.is_unspecified()
        && !base.is_unicast_link_local()
        && !base.is_multicast()
        && !base.is_loopback();
    usable.then_some((network, valid))
}

/// When something is over; nothing: never.
type End = Option<Instant>;

/// The routers of a link and what they said.
#[derive(Debug)]
pub struct Routers {
    link: IfName,
    known: BTreeMap<Ipv6Addr, Router>,
}

#[derive(Debug)]
struct Router {
    default: End,
    preference: i8,
    prefixes: BTreeMap<Cidr, End>,
    servers: Vec<(Ipv6Addr, End)>,
}

impl Routers {
    /// None yet.
    pub fn new(link: IfName) -> Self {
        let known = BTreeMap::new();
        Self { link, known }
    }

    /// One of them said this. `from` is a link-local address; others are no routers of the link (RFC 4861, 6.1.2).
    pub fn hear(&mut self, from: Ipv6Addr, said: &Advertisement, now: Instant) {
        self.forget(now);
        let new = !self.known.contains_key(&from);
        if !from.is_unicast_link_local() || (new && self.known.len() >= MOST_ROUTERS) {
            return;
        }
        let router = self.known.entry(from).or_insert(Router {
            default: Some(now),
            preference: 0,
            prefixes: BTreeMap::new(),
            servers: Vec::new(),
        });
        router.default = Some(now + Duration::from_secs(said.lifetime.into()));
        router.preference = said.preference;
        let prefixes = said.prefixes.iter().filter(|(_, valid)| *valid > 0);
        let prefixes: BTreeMap<_, _> = prefixes.map(|it| (it.0, end(it.1, now))).collect();
        if !said.prefixes.is_empty() {
            router.prefixes = prefixes;
        }
        if !said.servers.is_empty() {
            let servers = said.servers.iter().filter(|(_, valid)| *valid > 0);
            router.servers = servers.map(|it| (it.0, end(it.1, now))).collect();
        }
    }

    /// What holds now.
    pub fn at(&mut self, now: Instant) -> Advertised {
        self.forget(now);
        let routers = self.known.values();
        let prefixes = routers.clone().flat_map(|it| it.prefixes.keys().copied());
        let mut nameservers: Vec<Nameserver> = Vec::new();
        for (address, _) in routers.flat_map(|it| &it.servers) {
            nameservers.extend(self.server(*address));
        }
        nameservers.dedup();
        let defaults = self
            .known
            .iter()
            .filter(|(_, it)| it.default.is_some_and(|end| end > now));
        // Of the same preference always the same one: the least address.
        let best = defaults.min_by_key(|(address, it)| (-it.preference, **address));
        Advertised {
            prefixes: prefixes.collect(),
            gateway: best.map(|(address, _)| IpAddr::V6(*address)),
            nameservers,
        }
    }

    /// When it next changes by itself.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        let routers = self.known.values();
        let ends = routers.flat_map(|it| {
            let prefixes = it.prefixes.values().copied();
            let servers = it.servers.iter().map(|it| it.1);
            prefixes.chain(servers).chain([it.default])
        });
        ends.flatten().filter(|end| *end > now).min()
    }

    fn server(&self, address: Ipv6Addr) -> Option<Nameserver> {
        let text = if address.is_unicast_link_local() {
            format!("{address}%{}", self.link)
        } else {
            address.to_string()
        };
        text.parse().ok()
    }

    fn forget(&mut self, now: Instant) {
        let holds = |end: End| end.is_none_or(|end| end > now);
        self.known.retain(|_, it| {
            it.prefixes.retain(|_, end| holds(*end));
            it.servers.retain(|(_, end)| holds(*end));
            holds(it.default) || !it.prefixes.is_empty() || !it.servers.is_empty()
        });
    }
}

fn end(seconds: u32, now: Instant) -> End {
    (seconds != INFINITE).then(|| now + Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn option(kind: u8, body: &[u8]) -> Vec<u8> {
        let units = (body.len() + 2).div_ceil(8);
        let mut bytes = vec![kind, units as u8];
        bytes.extend(body);
        bytes.resize(units * 8, 0);
        bytes
    }

    fn prefix(text: &str, flags: u8, valid: u32) -> Vec<u8> {
        let cidr: Cidr = text.parse().expect("a prefix");
        let IpAddr::V6(ip) = cidr.ip() else {
            panic!("IPv6 only")
        };
        let mut body = vec![cidr.prefix(), flags];
        body.extend(valid.to_be_bytes());
        body.extend([0; 8]);
        body.extend(ip.octets());
        option(PREFIX, &body)
    }

    fn servers(lifetime: u32, all: &[&str]) -> Vec<u8> {
        let mut body = vec![0, 0];
        body.extend(lifetime.to_be_bytes());
        for it in all {
            body.extend(it.parse::<Ipv6Addr>().expect("an address").octets());
        }
        option(SERVERS, &body)
    }

    fn said(lifetime: u16, flags: u8, options: &[Vec<u8>]) -> Advertisement {
        let [high, low] = lifetime.to_be_bytes();
        let mut bytes = vec![ADVERTISEMENT, 0, 1, 2, 64, flags, high, low];
        bytes.extend([0; 8]);
        bytes.extend(options.concat());
        Advertisement::parse(&bytes).expect("an advertisement")
    }

    fn cidr(text: &str) -> Cidr {
        text.parse().expect("a network")
    }

    #[test]
    fn what_matters_is_read() {
        let read = said(
            1800,
            0x08,
            &[
                option(1, &[2, 0, 0, 0, 0, 1]),
                prefix("2001:db8:1::7/64", 0xc0, 600),
                prefix("2001:db8:2::/64", 0, 600),
                prefix("fe80::/64", 0xc0, 600),
                servers(30, &["2001:db8::53", "::", "fe80::1"]),
            ],
        );
        assert_eq!((read.lifetime, read.preference), (1800, 1));
        assert_eq!(read.prefixes, [(cidr("2001:db8:1::/64"), 600)]);
        assert_eq!(read.servers.len(), 2);
    }

    #[test]
    fn lengths_that_lie_are_errors() {
        let whole = [vec![ADVERTISEMENT, 0], vec![0; 14]].concat();
        for (bytes, why) in [
            (whole[..15].to_vec(), "it is too short"),
            ([vec![133], vec![0; 15]].concat(), "it is no advertisement"),
            (
                [whole.clone(), vec![3, 0, 0]].concat(),
                "an option has no length",
            ),
            (
                [whole.clone(), vec![3, 4, 0]].concat(),
                "an option is cut off",
            ),
        ] {
            assert_eq!(Advertisement::parse(&bytes), Err(why));
        }
        Advertisement::parse(&whole).expect("no options are fine");
    }

    #[test]
    fn a_renumbered_network_changes_at_once() {
        let mut routers = Routers::new(IfName::new("eth1").expect("a name"));
        let from: Ipv6Addr = "fe80::1".parse().expect("an address");
        let start = Instant::now();
        let first = prefix("2001:db8:1::/64", 0xc0, INFINITE);
        let second = prefix("2001:db8:2::/64", 0xc0, 600);
        routers.hear(from, &said(60, 0, std::slice::from_ref(&first)), start);
        let now = routers.at(start);
        assert_eq!(now.prefixes, [cidr("2001:db8:1::/64")].into());
        assert_eq!(now.gateway, Some(from.into()));
        // One that says nothing of prefixes takes nothing back.
        routers.hear(from, &said(60, 0, &[]), start);
        assert_eq!(routers.at(start), now);
        routers.hear(from, &said(60, 0, std::slice::from_ref(&second)), start);
        assert_eq!(routers.at(start).prefixes, [cidr("2001:db8:2::/64")].into());
        let gone = prefix("2001:db8:2::/64", 0xc0, 0);
        routers.hear(from, &said(60, 0, &[gone]), start);
        assert!(routers.at(start).prefixes.is_empty());
        routers.hear(from, &said(0, 0, &[first]), start);
        assert_eq!(routers.at(start).gateway, None);
    }

    #[test]
    fn what_is_over_goes_by_itself() {
        let mut routers = Routers::new(IfName::new("eth1").expect("a name"));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let (one, two) = ("fe80::1".parse(), "fe80::2".parse());
        let (one, two): (Ipv6Addr, Ipv6Addr) = (one.expect("one"), two.expect("two"));
        let options = [
            prefix("2001:db8:1::/64", 0xc0, 20),
            servers(30, &["fe80::53"]),
        ];
        routers.hear(one, &said(10, 0x18, &options), start);
        routers.hear(two, &said(40, 0, &[]), start);
        assert_eq!(routers.at(start).gateway, Some(two.into()), "preferred");
        assert_eq!(routers.next(start), Some(at(10)));
        assert_eq!(routers.next(at(10)), Some(at(20)));
        assert_eq!(routers.at(at(19)).prefixes.len(), 1);
        assert!(routers.at(at(21)).prefixes.is_empty());
        let server = &routers.at(at(29)).nameservers;
        assert_eq!(server[0].as_str(), "fe80::53%eth1");
        assert!(routers.at(at(31)).nameservers.is_empty());
        assert_eq!(routers.at(at(41)), Advertised::default());
        assert!(routers.known.is_empty());
    }

    #[test]
    fn strangers_and_crowds_are_not_listened_to() {
        let mut routers = Routers::new(IfName::new("eth1").expect("a name"));
        let start = Instant::now();
        let far = "2001:db8::1".parse().expect("an address");
        routers.hear(far, &said(60, 0, &[]), start);
        assert!(routers.known.is_empty());
        for n in 0..100_u16 {
            let from = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, n + 1);
            routers.hear(from, &said(60, 0, &[]), start);
        }
        assert_eq!(routers.known.len(), MOST_ROUTERS);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), as_advertisement: bool) {
            if let (true, Some(first)) = (as_advertisement, bytes.first_chunk_mut::<2>()) {
                *first = [ADVERTISEMENT, 0];
            }
            let mut routers = Routers::new(IfName::new("eth1").expect("a name"));
            if let Ok(read) = Advertisement::parse(&bytes) {
                let now = Instant::now();
                prop_assert!(read.prefixes.len() <= MOST_PREFIXES);
                routers.hear("fe80::1".parse().expect("an address"), &read, now);
                let _ = (routers.at(now), routers.next(now));
            }
        }
    }
}
