//! Routing tables of networks: allotted, remembered, never shared (TODO 31).
//!
//! Upstream hashes the interface's name (`adler32`), so that over `eth0.1` to `eth0.4094` only 886 tables differ
//! and networks take each other's routes. Here each network that needs one gets the lowest free number of
//! [`FIRST_TABLE`]`..`, kept in a file of ours as long as the network is there.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{Config, Family, NetError, NetName, Network};

/// The first table that is allotted. Beyond 0, 253 to 255, the small numbers of administrators and what else counts from 1.
pub const FIRST_TABLE: u32 = 100_001;

/// How many are there to allot.
pub const TABLES: u32 = 65_536;

/// Most bytes of the file.
pub(crate) const MAX_FILE: usize = 16 << 20;

/// Which network has which table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tables {
    networks: BTreeMap<NetName, u32>,
}

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    networks: BTreeMap<NetName, u32>,
}

/// Does a network route by its own table: has it a gateway, or may it get one?
pub fn needs_table(network: &Network) -> bool {
    let routed = |family| {
        let ip = network.ip(family);
        ip.gateway.is_some() || ip.dhcp || ip.autoconf
    };
    Family::ALL.into_iter().any(routed)
}

impl Tables {
    /// The table of a network.
    pub fn get(&self, network: &NetName) -> Option<u32> {
        self.networks.get(network).copied()
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = (&NetName, u32)> {
        self.networks.iter().map(|(name, table)| (name, *table))
    }

    /// Gives each network of `config` that needs one a table, beside those in `taken` (what the kernel
    /// mentions, what `/etc/iproute2/rt_tables` names). Networks keep what they have.
    pub fn allot(&mut self, config: &Config, taken: &BTreeSet<u32>) -> Result<(), NetError> {
        let own: BTreeSet<u32> = self.networks.values().copied().collect();
        let mut free = (FIRST_TABLE..FIRST_TABLE + TABLES)
            .filter(|it| !own.contains(it) && !taken.contains(it));
        for (name, network) in &config.networks {
            if needs_table(network) && !self.networks.contains_key(name) {
                let table = free.next().ok_or(NetError::NoTableLeft(TABLES))?;
                self.networks.insert(name.clone(), table);
            }
        }
        Ok(())
    }

    /// Forgets the networks that are in none of these: after their routes and rules are gone.
    pub fn forget_others(&mut self, configs: &[&Config]) {
        let known = |name: &NetName| configs.iter().any(|it| it.networks.contains_key(name));
        self.networks.retain(|name, _| known(name));
    }

    /// The file: `{"version":1,"networks":{"NAME":TABLE}}`.
    pub fn encode(&self) -> String {
        let file = File {
            version: 1,
            networks: self.networks.clone(),
        };
        serde_json::to_string(&file).unwrap_or_default()
    }

    /// Reads the file. Two networks with one table, or a table out of the range, make it bad: it is to be set aside
    /// and tables allotted anew.
    pub fn decode(bytes: &[u8]) -> Result<Self, NetError> {
        let bad = |why: String| NetError::Record {
            path: "tables".to_owned(),
            why,
        };
        if bytes.len() > MAX_FILE {
            return Err(bad("it is too large".to_owned()));
        }
        let file: File = serde_json::from_slice(bytes).map_err(|it| bad(it.to_string()))?;
        if file.version != 1 {
            return Err(bad(format!("version {} is not known", file.version)));
        }
        let mut seen = BTreeSet::new();
        for (name, table) in &file.networks {
            let inside = (FIRST_TABLE..FIRST_TABLE + TABLES).contains(table);
            if !inside || !seen.insert(*table) {
                return Err(bad(format!("network {name} cannot have table {table}")));
            }
        }
        Ok(Self {
            networks: file.networks,
        })
    }
}
