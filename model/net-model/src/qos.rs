//! Outgoing traffic shaped by HFSC: what Engine asks for, and the numbers that `tc` gets.
//!
//! On each base device with shaping there is, exactly as upstream makes it (`configurators/qos.py`), so that
//! either agent understands the other's work:
//!
//! - a root qdisc `hfsc`, handle [`ROOT_HANDLE`] (major), default class [`UNTAGGED_CLASS`]; an `ingress` qdisc;
//! - a class `ROOT:vlan` for each network with QoS (VLAN id in hexadecimal; [`UNTAGGED_CLASS`] for the one without a VLAN), beneath it
//!   a `fq_codel` with the class's minor as its handle's major;
//! - the default class even if no network has it: link share [`default_share`];
//! - a filter for each class, preference = its minor: `basic match meta(vlan eq ID)`, or `u32 match u8 0 0` for the untagged.
//!
//! All of it goes with the last class.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::VlanId;

/// Minor of the class of untagged traffic, also the default one.
pub const UNTAGGED_CLASS: u16 = 5000;

/// Major of the root qdisc.
pub const ROOT_HANDLE: u16 = 5001;

/// Shaping of one network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HostQos {
    /// Link share: relative weights.
    pub ls: Option<Curve>,
    /// Upper limit, bits a second.
    pub ul: Option<Curve>,
    /// Real time: guaranteed, bits a second.
    pub rt: Option<Curve>,
}

impl HostQos {
    /// Is nothing asked for?
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A service curve.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Curve {
    /// Slope of the first part.
    pub m1: u64,
    /// Length of the first part, µs.
    pub d: u64,
    /// Slope of the rest.
    pub m2: u64,
}

/// What a curve means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CurveKind {
    /// Relative weights.
    LinkShare,
    /// Bits a second.
    Rate,
}

impl Curve {
    /// The slopes that the kernel takes (`struct tc_service_curve`: bytes a second, in units of which it has
    /// 32 bits). Weights pass as they are (upstream multiplies them by 8 and `tc` divides).
    pub fn kernel_slopes(self, kind: CurveKind) -> (u32, u32) {
        let bytes = |slope: u64| match kind {
            CurveKind::LinkShare => slope,
            CurveKind::Rate => slope / 8,
        };
        let fit = |slope: u64| u32::try_from(bytes(slope)).unwrap_or(u32::MAX);
        (fit(self.m1), fit(self.m2))
    }

    /// The other way: what the kernel's slopes were asked for as.
    pub fn from_kernel(kind: CurveKind, m1: u32, d: u64, m2: u32) -> Self {
        let factor = match kind {
            CurveKind::LinkShare => 1,
            CurveKind::Rate => 8,
        };
        Self {
            m1: u64::from(m1) * factor,
            d,
            m2: u64::from(m2) * factor,
        }
    }
}

/// The class of a network on its base: by VLAN id, or the untagged one.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "u16", into = "u16")]
pub struct QosClass(pub Option<VlanId>);

impl QosClass {
    /// Minor of its class id, preference of its filter.
    pub fn minor(self) -> u16 {
        self.0.map_or(UNTAGGED_CLASS, VlanId::get)
    }
}

impl TryFrom<u16> for QosClass {
    type Error = crate::NetError;
    fn try_from(minor: u16) -> Result<Self, Self::Error> {
        if minor == UNTAGGED_CLASS {
            return Ok(Self(None));
        }
        VlanId::new(minor.into()).map(|id| Self(Some(id)))
    }
}

impl From<QosClass> for u16 {
    fn from(class: QosClass) -> Self {
        class.minor()
    }
}

/// Link share of the default class if no network has QoS on untagged traffic: as much as the greatest one,
/// so that shaping some networks starves nobody.
pub fn default_share(classes: &BTreeMap<QosClass, HostQos>) -> Option<Curve> {
    let shares = classes.values().filter_map(|it| it.ls);
    shares.max_by_key(|it| it.m2).map(|it| Curve {
        m1: 0,
        d: 0,
        m2: it.m2,
    })
}

impl fmt::Display for Curve {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.m1 != 0 || self.d != 0 {
            write!(out, "m1 {} d {} ", self.m1, self.d)?;
        }
        write!(out, "m2 {}", self.m2)
    }
}

impl fmt::Display for HostQos {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut gap = "";
        for (name, curve) in [("ls", self.ls), ("ul", self.ul), ("rt", self.rt)] {
            if let Some(curve) = curve {
                write!(out, "{gap}{name} {curve}")?;
                gap = ", ";
            }
        }
        Ok(())
    }
}

impl fmt::Display for QosClass {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(id) => write!(out, "VLAN {id}"),
            None => out.write_str("untagged"),
        }
    }
}
