//! What the agent owns: networks, bonds, and the settings of devices. One value before a change, one after.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Bond, IfName, NetName, Network};

/// Networks and bonds of the agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Networks.
    pub networks: BTreeMap<NetName, Network>,
    /// Bonds.
    pub bonds: BTreeMap<IfName, Bond>,
    /// Settings of devices (virtual functions); not touched by a plan.
    pub devices: BTreeMap<String, Map<String, Value>>,
}

impl Config {
    /// The network to touch last and mend first: the one with the default route, else the first (by name) with an IPv4 gateway, else with an IPv6 one.
    pub fn management(&self) -> Option<&NetName> {
        let first = |is: fn(&Network) -> bool| {
            let mut all = self.networks.iter();
            all.find(|(_, it)| is(it)).map(|(name, _)| name)
        };
        first(|it| it.default_route)
            .or_else(|| first(|it| it.ipv4.gateway.is_some()))
            .or_else(|| first(|it| it.ipv6.gateway.is_some()))
    }
}

/// Which networks and bonds a change may touch. What others share with them (the MTU of a common base, say)
/// is reckoned for all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// All: restoration, or a check for drift.
    #[default]
    All,
    /// Only these.
    Named {
        /// Networks.
        networks: BTreeSet<NetName>,
        /// Bonds.
        bonds: BTreeSet<IfName>,
    },
}

impl Scope {
    /// May this network be touched?
    pub fn network(&self, name: &NetName) -> bool {
        match self {
            Self::All => true,
            Self::Named { networks, .. } => networks.contains(name),
        }
    }

    /// May this bond be touched?
    pub fn bond(&self, name: &IfName) -> bool {
        match self {
            Self::All => true,
            Self::Named { bonds, .. } => bonds.contains(name),
        }
    }
}

/// A change: from what the agent owns to what it shall own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Desired {
    /// What the agent made before: only that may be removed.
    pub before: Config,
    /// What shall be, whole.
    pub after: Config,
    /// What of it this change is about.
    pub scope: Scope,
}
