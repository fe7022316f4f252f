//! Names that the kernel and the file system accept, VLAN ids, hardware addresses: valid by construction.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::NetError;

/// Most bytes of an interface's name (`IFNAMSIZ` - 1).
pub const MAX_IF_NAME: usize = 15;

/// Most bytes of a network's name: it is the name of a file.
pub const MAX_NET_NAME: usize = 255;

/// The name of an interface that is there or may be made: 1 to 15 bytes, as `dev_valid_name` of the kernel
/// wants them (no `/`, no `:`, no white space, not `.` or `..`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IfName(Arc<str>);

impl IfName {
    /// Checks a name.
    pub fn new(name: &str) -> Result<Self, NetError> {
        let fits = !name.is_empty() && name.len() <= MAX_IF_NAME;
        let strange = |it: char| it == '/' || it == ':' || it.is_whitespace() || it.is_control();
        if !fits || matches!(name, "." | "..") || name.contains(strange) {
            return Err(NetError::BadNic(format!(
                "{name:?} is no name of an interface"
            )));
        }
        Ok(Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `base.id`: the name that oVirt gives a VLAN.
    pub fn vlan(&self, id: VlanId) -> Result<Self, NetError> {
        let name = format!("{self}.{id}");
        Self::new(&name).map_err(|_| {
            NetError::BadVlan(format!(
                "the VLAN's name {name} has more than {MAX_IF_NAME} bytes"
            ))
        })
    }
}

/// The name of a network: that of its bridge, and of its file. 1 to 255 bytes, no `/`, no control
/// characters, no leading dot (a bridge's name is narrower, see [`NetName::bridge`]).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NetName(Arc<str>);

impl NetName {
    /// Checks a name.
    pub fn new(name: &str) -> Result<Self, NetError> {
        let fits = !name.is_empty() && name.len() <= MAX_NET_NAME && !name.starts_with('.');
        if !fits || name.contains(|it: char| it == '/' || it.is_control()) {
            return Err(NetError::BadBridge(format!(
                "{name:?} is no name of a network"
            )));
        }
        Ok(Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of this network's bridge, where VDSM allows it: at most 15 bytes, none of `:`, `.`, `%`, no
    /// white space, no leading `-`.
    pub fn bridge(&self) -> Result<IfName, NetError> {
        let strange = self.0.starts_with('-') || self.0.contains([':', '.', '%']);
        match IfName::new(&self.0) {
            Ok(name) if !strange => Ok(name),
            _ => Err(NetError::BadBridge(format!(
                "Bridge name isn't valid: {self}"
            ))),
        }
    }
}

macro_rules! text_name {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.pad(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, out)
            }
        }
        impl FromStr for $name {
            type Err = NetError;
            fn from_str(text: &str) -> Result<Self, NetError> {
                Self::new(text)
            }
        }
        impl TryFrom<String> for $name {
            type Error = NetError;
            fn try_from(text: String) -> Result<Self, NetError> {
                Self::new(&text)
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

text_name!(IfName);
text_name!(NetName);

/// A VLAN id: 1 to 4094. 0 is priority tagging and 4095 reserved (IEEE 802.1Q); upstream lets 0 pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct VlanId(u16);

impl VlanId {
    /// Checks an id.
    pub fn new(id: i64) -> Result<Self, NetError> {
        match u16::try_from(id) {
            Ok(id @ 1..=4094) => Ok(Self(id)),
            _ => Err(NetError::BadVlan(format!(
                "VLAN id out of range: {id}, must be 1..4094"
            ))),
        }
    }

    /// The id.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for VlanId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl TryFrom<u16> for VlanId {
    type Error = NetError;
    fn try_from(id: u16) -> Result<Self, NetError> {
        Self::new(id.into())
    }
}

impl From<VlanId> for u16 {
    fn from(id: VlanId) -> Self {
        id.0
    }
}

/// A hardware address of Ethernet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac([u8; 6]);

impl Mac {
    /// Of six bytes.
    pub const fn new(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub fn bytes(self) -> [u8; 6] {
        self.0
    }

    /// Is it all zeroes? The kernel's word for "none".
    pub fn is_zero(self) -> bool {
        self.0 == [0; 6]
    }

    /// May an interface have it: neither zero nor a group's?
    pub fn is_usable(self) -> bool {
        let [first, ..] = self.0;
        !self.is_zero() && first & 1 == 0
    }
}

impl FromStr for Mac {
    type Err = NetError;
    fn from_str(text: &str) -> Result<Self, NetError> {
        let bad = || NetError::BadParams(format!("{text:?} is no hardware address"));
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().ok_or_else(bad)?;
            let hex = part.len() == 2 && part.bytes().all(|it| it.is_ascii_hexdigit());
            *byte = u8::from_str_radix(part, 16)
                .ok()
                .filter(|_| hex)
                .ok_or_else(bad)?;
        }
        parts.next().map_or(Ok(Self(bytes)), |_| Err(bad()))
    }
}

impl TryFrom<String> for Mac {
    type Error = NetError;
    fn try_from(text: String) -> Result<Self, NetError> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, rest @ ..] = self.0;
        write!(out, "{first:02x}")?;
        rest.iter().try_for_each(|it| write!(out, ":{it:02x}"))
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}
