//! Addresses with their prefixes, families, name servers.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::NetError;

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// Of an address.
    pub fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// Bits of an address.
    pub fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// The address of zeroes.
    pub fn unspecified(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Self::V6 => Ipv6Addr::UNSPECIFIED.into(),
        }
    }

    /// Everything: the destination of a default route.
    pub fn any(self) -> Cidr {
        Cidr {
            ip: self.unspecified(),
            prefix: 0,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// An address and the bits of its network: `192.0.2.7/24`. Also a network, where the other bits are zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    ip: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// Checks the prefix: at most 32 bits in IPv4, 128 in IPv6.
    pub fn new(ip: IpAddr, prefix: u8) -> Result<Self, NetError> {
        if prefix > Family::of(ip).bits() {
            return Err(NetError::BadAddress(format!(
                "{ip}/{prefix}: the prefix has too many bits"
            )));
        }
        Ok(Self { ip, prefix })
    }

    /// A single address.
    pub fn host(ip: IpAddr) -> Self {
        let prefix = Family::of(ip).bits();
        Self { ip, prefix }
    }

    /// The address.
    pub fn ip(self) -> IpAddr {
        self.ip
    }

    /// Bits of the network.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Its family.
    pub fn family(self) -> Family {
        Family::of(self.ip)
    }

    /// The network, other bits cleared.
    #[must_use]
    pub fn network(self) -> Self {
        let ip = match self.ip {
            IpAddr::V4(ip) => IpAddr::V4((ip.to_bits() & mask4(self.prefix)).into()),
            IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() & mask6(self.prefix)).into()),
        };
        Self { ip, ..self }
    }

    /// Are all bits outside of the prefix zero?
    pub fn is_network(self) -> bool {
        self == self.network()
    }

    /// Is the address in this network?
    pub fn contains(self, ip: IpAddr) -> bool {
        Family::of(ip) == self.family()
            && Self {
                ip,
                prefix: self.prefix,
            }
            .network()
                == self.network()
    }

    /// Does it hold every address of `other`?
    pub fn covers(self, other: Self) -> bool {
        self.prefix <= other.prefix && self.contains(other.ip)
    }

    /// Is it the default destination?
    pub fn is_any(self) -> bool {
        self.prefix == 0
    }

    /// The mask of an IPv4 prefix: `255.255.255.0`.
    pub fn netmask(self) -> Option<Ipv4Addr> {
        self.ip.is_ipv4().then(|| mask4(self.prefix).into())
    }

    /// The prefix of a mask as VDSM takes it: dotted, or a number of bits.
    pub fn prefix_of_mask(text: &str) -> Result<u8, NetError> {
        let bad = || NetError::BadAddress(format!("{text:?} is no netmask"));
        if let Ok(prefix) = text.parse::<u8>() {
            return (prefix <= 32).then_some(prefix).ok_or_else(bad);
        }
        let bits = text.parse::<Ipv4Addr>().map_err(|_| bad())?.to_bits();
        let prefix = bits.leading_ones() as u8;
        (mask4(prefix) == bits).then_some(prefix).ok_or_else(bad)
    }

    /// Why no interface may have this address, if so.
    pub fn why_not_assignable(self) -> Option<&'static str> {
        let ip = self.ip;
        match ip {
            _ if self.prefix == 0 => Some("its prefix has no bits"),
            _ if ip.is_unspecified() => Some("it is no address"),
            _ if ip.is_multicast() => Some("it is a multicast address"),
            _ if ip.is_loopback() => Some("it is a loopback address"),
            IpAddr::V6(it) if it.to_ipv4_mapped().is_some() => {
                Some("it is an IPv4 address in IPv6's clothes")
            }
            IpAddr::V4(_) if self.prefix < 31 && self.is_network() => {
                Some("it is the address of its network")
            }
            IpAddr::V4(it) if self.prefix < 31 && it.to_bits() | mask4(self.prefix) == u32::MAX => {
                Some("it is the broadcast address of its network")
            }
            _ => None,
        }
    }
}

fn mask4(prefix: u8) -> u32 {
    u32::MAX
        .checked_shl(32 - u32::from(prefix.min(32)))
        .unwrap_or(0)
}

fn mask6(prefix: u8) -> u128 {
    u128::MAX
        .checked_shl(128 - u32::from(prefix.min(128)))
        .unwrap_or(0)
}

impl FromStr for Cidr {
    type Err = NetError;

    /// `ip/bits`; an address alone has all bits.
    fn from_str(text: &str) -> Result<Self, NetError> {
        let bad = || NetError::BadAddress(format!("{text:?} is no address"));
        let (ip, prefix) = match text.split_once('/') {
            Some((ip, prefix)) => (ip, Some(prefix)),
            None => (text, None),
        };
        let ip: IpAddr = ip.parse().map_err(|_| bad())?;
        match prefix {
            None => Ok(Self::host(ip)),
            Some(bits) if bits.bytes().all(|it| it.is_ascii_digit()) => {
                Self::new(ip, bits.parse().map_err(|_| bad())?)
            }
            Some(_) => Err(bad()),
        }
    }
}

impl TryFrom<String> for Cidr {
    type Error = NetError;
    fn try_from(text: String) -> Result<Self, NetError> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> Self {
        cidr.to_string()
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.ip, self.prefix)
    }
}

impl fmt::Debug for Cidr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// A name server: an address, in IPv6 with a zone where it is link-local (`fe80::1%eth0`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Nameserver(String);

impl Nameserver {
    /// As it stands in resolv.conf.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Nameserver {
    type Err = NetError;
    fn from_str(text: &str) -> Result<Self, NetError> {
        let bad = || NetError::BadAddress(format!("{text:?} is no address of a name server"));
        let (address, zone) = match text.split_once('%') {
            Some((address, zone)) => (address, Some(zone)),
            None => (text, None),
        };
        let ip: IpAddr = address.parse().map_err(|_| bad())?;
        let zoned = zone.is_none_or(|zone| ip.is_ipv6() && crate::IfName::new(zone).is_ok());
        zoned.then(|| Self(text.to_owned())).ok_or_else(bad)
    }
}

impl TryFrom<String> for Nameserver {
    type Error = NetError;
    fn try_from(text: String) -> Result<Self, NetError> {
        text.parse()
    }
}

impl From<Nameserver> for String {
    fn from(server: Nameserver) -> Self {
        server.0
    }
}

impl fmt::Display for Nameserver {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for Nameserver {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}
