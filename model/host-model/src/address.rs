//! Addresses as people and peers write them: [`Host`] and [`HostPort`], read and written in one way everywhere.
//!
//! Read: `192.0.2.1:54321`, `host.example:54321`, `[2001:db8::1]:54321`, `[fe80::1%eth0]:54321`, and each without
//! a port where the caller has a default. An IPv6 address without brackets is taken whole and never split: in
//! `::1` nothing is a port. What is written ([`std::fmt::Display`]) reads back as the same value.
//!
//! Pure: no name is resolved here; `rpc` connects. Facts: RFC 3986 3.2.2 and 3.2.3 (brackets), RFC 4007 11
//! (zones), RFC 1123 2.1 (labels; the underscore is taken too, as resolvers do).
//!
//! Look next: `address/host.rs` for the part before the port.

mod host;

use core::{fmt, num::NonZeroU16, str::FromStr};

pub use host::{Host, HostError, Zone};

/// The longest text that is read: a name, brackets and a port are shorter.
const LONGEST: usize = 300;

/// A host and a port. Never port 0.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    host: Host,
    port: NonZeroU16,
}

/// Why a text is no `host:port`. The text itself is not repeated: it may be long, or not for everyone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostPortError {
    /// Longer than any address.
    #[error("it is longer than {LONGEST} bytes")]
    TooLong,
    /// The part before the port.
    #[error(transparent)]
    Host(#[from] HostError),
    /// `[::1` or `::1]`.
    #[error("its brackets do not match")]
    Brackets,
    /// `[::1]80`.
    #[error("there is something other than :port behind the brackets")]
    AfterBracket,
    /// `host:`.
    #[error("there is nothing behind the colon")]
    EmptyPort,
    /// `host:http`, `host:+80`.
    #[error("its port is not a number")]
    PortNotNumber,
    /// `host:0`, `host:65536`.
    #[error("its port is not within 1 to 65535")]
    PortRange,
    /// No port, and the caller has no default.
    #[error("it has no port")]
    NoPort,
}

impl HostPort {
    /// Of parts.
    pub fn new(host: Host, port: NonZeroU16) -> Self {
        Self { host, port }
    }

    /// Reads `host[:port]`; without a port it is `default`.
    ///
    /// # Errors
    /// [`HostPortError`] names the reason; nothing is guessed.
    pub fn parse(text: &str, default: u16) -> Result<Self, HostPortError> {
        let (host, port) = Self::split(text)?;
        let port = match port {
            Some(port) => port,
            None => NonZeroU16::new(default).ok_or(HostPortError::PortRange)?,
        };
        Ok(Self { host, port })
    }

    /// Reads `host[:port]` and says whether there was a port.
    ///
    /// # Errors
    /// [`HostPortError`] names the reason.
    pub fn split(text: &str) -> Result<(Host, Option<NonZeroU16>), HostPortError> {
        if text.len() > LONGEST {
            return Err(HostPortError::TooLong);
        }
        if let Some(inner) = text.strip_prefix('[') {
            let (inner, after) = inner.split_once(']').ok_or(HostPortError::Brackets)?;
            let host = Host::parse_v6(inner)?;
            let port = match after.strip_prefix(':') {
                Some(port) => Some(read_port(port)?),
                None if after.is_empty() => None,
                None => return Err(HostPortError::AfterBracket),
            };
            return Ok((host, port));
        }
        if text.contains(']') {
            return Err(HostPortError::Brackets);
        }
        match text.split_once(':') {
            None => Ok((text.parse()?, None)),
            // More than one colon: an IPv6 address as a whole, or nothing.
            Some((_, rest)) if rest.contains(':') => Ok((Host::parse_v6(text)?, None)),
            Some((host, port)) => Ok((host.parse()?, Some(read_port(port)?))),
        }
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port, never 0.
    pub fn port(&self) -> u16 {
        self.port.get()
    }

    /// The same host, another port.
    #[must_use]
    pub fn with_port(self, port: NonZeroU16) -> Self {
        Self { port, ..self }
    }
}

fn read_port(text: &str) -> Result<NonZeroU16, HostPortError> {
    if text.is_empty() {
        return Err(HostPortError::EmptyPort);
    }
    // `u16::from_str` takes a plus sign.
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(HostPortError::PortNotNumber);
    }
    text.parse().map_err(|_| HostPortError::PortRange)
}

/// Without a default: there must be a port.
impl FromStr for HostPort {
    type Err = HostPortError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, port) = Self::split(text)?;
        let port = port.ok_or(HostPortError::NoPort)?;
        Ok(Self { host, port })
    }
}

/// `host:port`, an IPv6 address in brackets.
impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            host @ Host::V6 { .. } => write!(f, "[{host}]:{}", self.port),
            host => write!(f, "{host}:{}", self.port),
        }
    }
}

/// A zone travels as its number.
impl TryFrom<core::net::SocketAddr> for HostPort {
    type Error = HostPortError;

    fn try_from(address: core::net::SocketAddr) -> Result<Self, Self::Error> {
        let port = NonZeroU16::new(address.port()).ok_or(HostPortError::PortRange)?;
        let host = match address {
            core::net::SocketAddr::V4(v4) => Host::V4(*v4.ip()),
            core::net::SocketAddr::V6(v6) => Host::V6 {
                address: *v6.ip(),
                zone: Zone::of_number(v6.scope_id()),
            },
        };
        Ok(Self { host, port })
    }
}
