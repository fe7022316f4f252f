//! What no file tells: addresses, routes, kinds of interfaces, by a dump over rtnetlink.
//!
//! Messages are written and read by hand, bounded and without trust in their lengths: three dumps and a dozen
//! attributes (constants of `linux/rtnetlink.h`, `if_addr.h`, `if_link.h`).

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

use host_model::{Address, AddressScope, Route};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with, sockopt,
};

const DEADLINE: Duration = Duration::from_secs(2);
const MOST_BYTES: usize = 64 << 20;

const ERROR: u16 = 2;
const DONE: u16 = 3;
const NEWLINK: u16 = 16;
const GETLINK: u16 = 18;
const NEWADDR: u16 = 20;
const GETADDR: u16 = 22;
const NEWROUTE: u16 = 24;
const GETROUTE: u16 = 26;
const HEADER: usize = 16;

/// What was asked.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Dump {
    /// Interfaces by index.
    pub(crate) links: BTreeMap<u32, LinkInfo>,
    /// Addresses by index of their interface, in the kernel's order.
    pub(crate) addresses: Vec<(u32, Address)>,
    /// Default routes by index of their interface.
    pub(crate) routes: Vec<(u32, Route)>,
}

/// One interface.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct LinkInfo {
    pub(crate) name: String,
    /// `IFLA_INFO_KIND`: `bridge`, `veth`, ...; a real card has none.
    pub(crate) kind: Option<String>,
    /// Index of the interface that it belongs to.
    pub(crate) master: Option<u32>,
    /// `ARPHRD_*`.
    pub(crate) hardware: u16,
}

/// Asks the kernel for all three.
pub(crate) fn dump() -> io::Result<Dump> {
    let fd = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        None, // protocol 0 is NETLINK_ROUTE
    )?;
    sockopt::set_socket_timeout(&fd, sockopt::Timeout::Recv, Some(DEADLINE))?;
    let mut dump = Dump::default();
    for (kind, payload) in [(GETLINK, 16), (GETADDR, 8), (GETROUTE, 12)] {
        send(&fd, &request(kind, payload), SendFlags::empty())?;
        receive(&fd, &mut dump)?;
    }
    Ok(dump)
}

fn request(kind: u16, payload: usize) -> Vec<u8> {
    const REQUEST_AND_DUMP: u16 = 0x301;
    let length = HEADER + payload;
    let mut message = Vec::with_capacity(length);
    message.extend((length as u32).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(REQUEST_AND_DUMP.to_ne_bytes());
    message.resize(length, 0);
    message
}

fn receive(fd: &rustix::fd::OwnedFd, dump: &mut Dump) -> io::Result<()> {
    let until = Instant::now() + DEADLINE;
    let mut buffer = vec![0_u8; 64 << 10];
    let mut total = 0;
    while Instant::now() < until && total < MOST_BYTES {
        let (read, _) = recv(fd, buffer.as_mut_slice(), RecvFlags::empty())?;
        total += read;
        if take(buffer.get(..read).unwrap_or_default(), dump)? {
            return Ok(());
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// Takes the messages of one datagram; true at the end of the dump.
pub(crate) fn take(mut bytes: &[u8], dump: &mut Dump) -> io::Result<bool> {
    while let (Some(length), Some(kind)) = (u32_at(bytes, 0), u16_at(bytes, 4)) {
        let length = length as usize;
        let Some(body) = bytes.get(HEADER..length) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        match kind {
            DONE => return Ok(true),
            ERROR => {
                let code = u32_at(body, 0).unwrap_or_default().cast_signed();
                return Err(io::Error::from_raw_os_error(code.saturating_neg()));
            }
            NEWLINK => link(body, dump),
            NEWADDR => dump.addresses.extend(address(body)),
            NEWROUTE => dump.routes.extend(route(body)),
            _ => {}
        }
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
    }
    Ok(false)
}

fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let part = bytes.get(at..at.checked_add(2)?)?;
    part.try_into().ok().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let part = bytes.get(at..at.checked_add(4)?)?;
    part.try_into().ok().map(u32::from_ne_bytes)
}

/// Attributes: length (2), type (2, flags in the upper bits), value.
fn attributes(mut bytes: &[u8]) -> BTreeMap<u16, &[u8]> {
    let mut out = BTreeMap::new();
    while let (Some(length), Some(kind)) = (u16_at(bytes, 0), u16_at(bytes, 2)) {
        let length = usize::from(length);
        let Some(value) = bytes.get(4..length) else {
            break;
        };
        out.entry(kind & 0x3fff).or_insert(value);
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
    }
    out
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

fn link(body: &[u8], dump: &mut Dump) {
    const IFNAME: u16 = 3;
    const MASTER: u16 = 10;
    const LINKINFO: u16 = 18;
    const INFO_KIND: u16 = 1;
    let (Some(hardware), Some(index)) = (u16_at(body, 2), u32_at(body, 4)) else {
        return;
    };
    let attributes_of = attributes(body.get(16..).unwrap_or_default());
    let info = attributes_of.get(&LINKINFO).map(|info| attributes(info));
    let link = LinkInfo {
        name: attributes_of
            .get(&IFNAME)
            .map(|b| text(b))
            .unwrap_or_default(),
        kind: info.and_then(|info| info.get(&INFO_KIND).map(|b| text(b))),
        master: attributes_of.get(&MASTER).and_then(|b| u32_at(b, 0)),
        hardware,
    };
    dump.links.insert(index, link);
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(v4).into());
    }
    let v6 = <[u8; 16]>::try_from(bytes).ok()?;
    Some(Ipv6Addr::from(v6).into())
}

fn address(body: &[u8]) -> Option<(u32, Address)> {
    const ADDRESS: u16 = 1;
    const LOCAL: u16 = 2;
    const FLAGS: u16 = 8;
    const SECONDARY: u32 = 0x01;
    const PERMANENT: u32 = 0x80;
    let (prefix, scope) = (*body.get(1)?, *body.get(3)?);
    let index = u32_at(body, 4)?;
    let attributes = attributes(body.get(8..)?);
    let flags = attributes.get(&FLAGS).and_then(|b| u32_at(b, 0));
    let flags = flags.unwrap_or_else(|| u32::from(body.get(2).copied().unwrap_or(0)));
    let value = attributes
        .get(&LOCAL)
        .or_else(|| attributes.get(&ADDRESS))?;
    let address = Address {
        ip: ip(value)?,
        prefix,
        scope: match scope {
            0 => AddressScope::Global,
            253 => AddressScope::Link,
            254 => AddressScope::Host,
            other => AddressScope::Other(other),
        },
        secondary: flags & SECONDARY != 0,
        dynamic: flags & PERMANENT == 0,
    };
    Some((index, address))
}

/// A default route through a gateway; anything else is none of ours.
fn route(body: &[u8]) -> Option<(u32, Route)> {
    const OIF: u16 = 4;
    const GATEWAY: u16 = 5;
    const PRIORITY: u16 = 6;
    const TABLE: u16 = 15;
    const UNICAST: u8 = 1;
    let (to_bits, table, kind) = (*body.get(1)?, *body.get(4)?, *body.get(7)?);
    if to_bits != 0 || kind != UNICAST {
        return None;
    }
    let attributes = attributes(body.get(12..)?);
    let number = |kind: u16| attributes.get(&kind).and_then(|b| u32_at(b, 0));
    let route = Route {
        device: String::new(),
        gateway: ip(attributes.get(&GATEWAY)?)?,
        metric: number(PRIORITY).unwrap_or(0),
        table: number(TABLE).unwrap_or(u32::from(table)),
    };
    Some((number(OIF)?, route))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut out = ((4 + value.len()) as u16).to_ne_bytes().to_vec();
        out.extend(kind.to_ne_bytes());
        out.extend(value);
        out.resize(aligned(out.len()), 0);
        out
    }

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut out = request(kind, 0);
        out.extend(body);
        let length = out.len() as u32;
        out[..4].copy_from_slice(&length.to_ne_bytes());
        out.resize(aligned(out.len()), 0);
        out
    }

    #[test]
    fn messages_are_understood() {
        let mut bytes = message(NEWLINK, &{
            let mut body = vec![0, 0, 1, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            body.extend(attribute(3, b"br0\0"));
            body.extend(attribute(0x8012, &attribute(1, b"bridge\0")));
            body.extend(attribute(10, &3_u32.to_ne_bytes()));
            body
        });
        bytes.extend(message(NEWADDR, &{
            let mut body = vec![2, 24, 0x80, 0, 7, 0, 0, 0];
            body.extend(attribute(2, &[192, 0, 2, 2]));
            body
        }));
        bytes.extend(message(NEWADDR, &{
            let mut body = vec![10, 64, 0, 253, 7, 0, 0, 0];
            body.extend(attribute(
                1,
                &[0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            ));
            body.extend(attribute(8, &0x101_u32.to_ne_bytes()));
            body
        }));
        bytes.extend(message(NEWROUTE, &{
            let mut body = vec![2, 0, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0];
            body.extend(attribute(5, &[192, 0, 2, 1]));
            body.extend(attribute(4, &7_u32.to_ne_bytes()));
            body.extend(attribute(15, &1000_u32.to_ne_bytes()));
            body
        }));
        bytes.extend(message(NEWROUTE, &[2, 24, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0]));
        let mut dump = Dump::default();
        assert!(!take(&bytes, &mut dump).expect("valid"));
        assert!(take(&message(DONE, &[]), &mut dump).expect("valid"));
        let link = &dump.links[&7];
        assert_eq!(
            (link.name.as_str(), link.kind.as_deref()),
            ("br0", Some("bridge"))
        );
        assert_eq!((link.master, link.hardware), (Some(3), 1));
        let told: Vec<_> = dump
            .addresses
            .iter()
            .map(|(i, a)| {
                (
                    *i,
                    a.ip.to_string(),
                    a.prefix,
                    a.scope,
                    a.secondary,
                    a.dynamic,
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                (
                    7,
                    "192.0.2.2".to_owned(),
                    24,
                    AddressScope::Global,
                    false,
                    false
                ),
                (7, "fe80::1".to_owned(), 64, AddressScope::Link, true, true),
            ]
        );
        assert_eq!(dump.routes.len(), 1);
        assert_eq!((dump.routes[0].0, dump.routes[0].1.table), (7, 1000));
    }

    #[test]
    fn an_error_of_the_kernel_is_one() {
        let error = take(
            &message(ERROR, &(-1_i32).to_ne_bytes()),
            &mut Dump::default(),
        );
        assert_eq!(
            error.expect_err("EPERM").kind(),
            io::ErrorKind::PermissionDenied
        );
    }

    #[test]
    fn the_kernel_answers() {
        let dump = dump().expect("rtnetlink needs no privilege");
        assert!(
            dump.links
                .values()
                .any(|link| link.name == "lo" && link.kind.is_none())
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = take(&bytes, &mut Dump::default());
        }

        #[test]
        fn any_bodies_are_survived(kind in 14_u16..28, body in prop::collection::vec(0_u8..20, 0..120)) {
            let _ = take(&message(kind, &body), &mut Dump::default());
        }
    }
}
