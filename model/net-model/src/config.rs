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
    /// The network that carries the host's default route: the one that says so, else the first (by name) with an
    /// IPv4 gateway or client, else with an IPv6 one, if no other candidate is of its kind. It is the one to touch last and mend first.
    pub fn management(&self) -> Option<&NetName> {
        let told = self.networks.iter().find(|(_, it)| it.default_route);
        told.map(|(name, _)| name)
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
