//! A host by name or address: [`Host`].

use core::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// The longest name, without the dot at its end (RFC 1035 2.3.4).
const LONGEST_NAME: usize = 253;
/// The longest label of a name.
const LONGEST_LABEL: usize = 63;
/// The longest zone: the name of an interface (`IFNAMSIZ` - 1).
const LONGEST_ZONE: usize = 15;

/// A host by name or address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address.
    V6 {
        /// The address.
        address: Ipv6Addr,
        /// The interface that a link-local address needs.
        zone: Option<Zone>,
    },
    /// A name, as it was written; valid, not resolved.
    Name(String),
}

/// The zone of an IPv6 address: name or number of an interface.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Zone(String);

/// Why a text is no host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Nothing.
    #[error("there is no host")]
    Empty,
    /// A space or another blank.
    #[error("there is a blank in it")]
    Blank,
    /// A control character.
    #[error("there is a control character in it")]
    Control,
    /// Several colons or brackets, and no IPv6 address.
    #[error("it is no IPv6 address")]
    NotV6,
    /// What follows `%` names no interface.
    #[error("its zone cannot name an interface")]
    Zone,
    /// It ends in a number, so it must be an IPv4 address, and is none.
    #[error("it is no IPv4 address")]
    NotV4,
    /// A label is empty, longer than 63, begins or ends with a hyphen, or holds what no label may.
    #[error("a label of the name is not valid")]
    Label,
    /// More than 253 characters.
    #[error("the name is longer than {LONGEST_NAME} characters")]
    NameTooLong,
}

impl Host {
    /// The address, if it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::V4(address) => Some(IpAddr::V4(*address)),
            Self::V6 { address, .. } => Some(IpAddr::V6(*address)),
            Self::Name(_) => None,
        }
    }

    /// Reads `address[%zone]`, without brackets.
    pub(super) fn parse_v6(text: &str) -> Result<Self, HostError> {
        check_characters(text)?;
        let (address, zone) = match text.split_once('%') {
            None => (text, None),
            Some((address, zone)) => (address, Some(zone)),
        };
        let address = address.parse().map_err(|_| HostError::NotV6)?;
        let zone = zone.map(str::parse).transpose()?;
        Ok(Self::V6 { address, zone })
    }

    fn parse_name(text: &str) -> Result<Self, HostError> {
        let plain = text.strip_suffix('.').unwrap_or(text);
        if plain.len() > LONGEST_NAME {
            return Err(HostError::NameTooLong);
        }
        if !plain.split('.').all(is_label) {
            return Err(HostError::Label);
        }
        // `10.0.0.256`, `1.2.3`, `0x7f.1`: to a resolver an address, and not the one that was meant.
        if plain.rsplit('.').next().is_some_and(is_number) {
            return Err(HostError::NotV4);
        }
        Ok(Self::Name(text.to_owned()))
    }
}

fn check_characters(text: &str) -> Result<(), HostError> {
    if text.is_empty() {
        return Err(HostError::Empty);
    }
    if text.contains(|c: char| c.is_control()) {
        return Err(HostError::Control);
    }
    if text.contains(char::is_whitespace) {
        return Err(HostError::Blank);
    }
    Ok(())
}

fn is_label(label: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=LONGEST_LABEL).contains(&label.len())
        && label.bytes().all(plain)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Would the resolver take it for a part of an IPv4 address?
fn is_number(label: &str) -> bool {
    let hex = label
        .strip_prefix("0x")
        .or_else(|| label.strip_prefix("0X"));
    match hex {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// An IPv4 address, an IPv6 address with or without brackets, or a name.
impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        check_characters(text)?;
        if let Some(inner) = text.strip_prefix('[') {
            return Self::parse_v6(inner.strip_suffix(']').ok_or(HostError::NotV6)?);
        }
        if text.contains([':', '%']) {
            return Self::parse_v6(text);
        }
        match text.parse() {
            Ok(address) => Ok(Self::V4(address)),
            Err(_) => Self::parse_name(text),
        }
    }
}

/// Without brackets, as resolvers take it.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(address) => address.fmt(f),
            Self::V6 {
                address,
                zone: None,
            } => address.fmt(f),
            Self::V6 {
                address,
                zone: Some(zone),
            } => write!(f, "{address}%{zone}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl From<IpAddr> for Host {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => Self::V6 {
                address,
                zone: None,
            },
        }
    }
}

impl Zone {
    /// By number; 0 is none.
    pub(super) fn of_number(number: u32) -> Option<Self> {
        (number != 0).then(|| Self(number.to_string()))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What Linux takes as the name of an interface, less what would not read back.
impl FromStr for Zone {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"/:%[]".contains(&byte);
        let named = (1..=LONGEST_ZONE).contains(&text.len()) && !matches!(text, "." | "..");
        if named && text.bytes().all(plain) {
            return Ok(Self(text.to_owned()));
        }
        Err(HostError::Zone)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
