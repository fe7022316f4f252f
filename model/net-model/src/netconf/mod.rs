//! Upstream's files of networks, readable and writable by Python VDSM, byte for byte (TODO 34).
//!
//! A set is a folder with `nets/NAME`, `bonds/NAME`, `devices/NAME`, each a JSON object as Python's
//! `json.dump(indent=4)` writes it (`netconfpersistence.py`). There are two sets: the running one
//! (`/var/lib/vdsm/staging/netconf`: what was set up last) and the persistent one
//! (`/var/lib/vdsm/persistence/netconf`: what is safe, and restored at boot).
//!
//! A record that nobody changed keeps its bytes; keys that nobody knows survive. What ours alone can say (lists of addresses, routes) is
//! written only where it is needed, beside what upstream reads.
//!
//! Look next: `json.rs` (Python's JSON), `generations.rs` (what to write where so that no crash hurts).

pub mod generations;
mod json;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

pub use json::to_python;

use crate::{
    Bond, Config, IfName, NetError, NetName, Network, canonicalize,
    request::{BondAttributes, NetworkAttributes},
};

/// Most bytes of a record.
pub const MAX_RECORD: usize = 1 << 20;

/// Where upstream keeps the running set.
pub const RUNNING: &str = "/var/lib/vdsm/staging/netconf";

/// Where upstream keeps the persistent set.
pub const PERSISTENT: &str = "/var/lib/vdsm/persistence/netconf";

/// The three folders of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Networks.
    Nets,
    /// Bonds.
    Bonds,
    /// Devices.
    Devices,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Nets, Self::Bonds, Self::Devices];

    /// Its folder.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Nets => "nets",
            Self::Bonds => "bonds",
            Self::Devices => "devices",
        }
    }
}

/// A record: a JSON object, and the bytes that it was read from.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    attributes: Map<String, Value>,
    bytes: Vec<u8>,
}

impl Record {
    /// From a file's content.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > MAX_RECORD {
            return Err(format!("it is larger than {MAX_RECORD} bytes"));
        }
        let attributes = serde_json::from_slice(bytes).map_err(|it| it.to_string())?;
        Ok(Self {
            attributes,
            bytes: bytes.to_vec(),
        })
    }

    /// Of attributes.
    pub fn new(attributes: Map<String, Value>) -> Self {
        let bytes = to_python(&attributes).into_bytes();
        Self { attributes, bytes }
    }

    /// The file's content.
    pub fn encode(&self) -> &[u8] {
        &self.bytes
    }

    /// The attributes.
    pub fn attributes(&self) -> &Map<String, Value> {
        &self.attributes
    }

    fn network(&self, name: &str) -> Result<(NetName, Network), NetError> {
        let name = NetName::new(name)?;
        let attributes: NetworkAttributes = self.typed()?;
        let network = canonicalize::network(&name, &attributes, None)?;
        Ok((name, network))
    }

    fn bond(&self, name: &str) -> Result<(IfName, Bond), NetError> {
        let name = IfName::new(name)?;
        let mut attributes: BondAttributes = self.typed()?;
        // A pair for hooks of old; upstream drops it, too.
        let options = attributes.options.unwrap_or_default();
        let words = options.split_whitespace();
        let words: Vec<&str> = words.filter(|it| !it.starts_with("custom=")).collect();
        attributes.options = Some(words.join(" "));
        let mut bond = canonicalize::bond(&name, &attributes)?;
        bond.options = bond.options.as_kept();
        Ok((name, bond))
    }

    fn typed<T: serde::de::DeserializeOwned>(&self) -> Result<T, NetError> {
        let mut attributes = self.attributes.clone();
        attributes.retain(|_, value| !value.is_null());
        serde_json::from_value(Value::Object(attributes))
            .map_err(|it| NetError::BadParams(it.to_string()))
    }

    /// The same record with other attributes: keys that stay keep their places.
    fn changed(&self, new: Map<String, Value>) -> Self {
        let mut new = new;
        let mut attributes = Map::new();
        for key in self.attributes.keys() {
            if let Some(value) = new.shift_remove(key) {
                attributes.insert(key.clone(), value);
            }
        }
        attributes.extend(new);
        Self::new(attributes)
    }
}

/// A set of records.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Netconf {
    records: BTreeMap<(Kind, String), Record>,
}

impl Netconf {
    /// Adds a file of the set. A name that no file may have, or a content that is no JSON object, is an error: that file is to be
    /// left alone and told; the others are good.
    pub fn add(&mut self, kind: Kind, name: &str, bytes: &[u8]) -> Result<(), NetError> {
        let bad = |why: String| NetError::Record {
            path: format!("{}/{name}", kind.folder()),
            why,
        };
        NetName::new(name).map_err(|it| bad(it.to_string()))?;
        let record = Record::decode(bytes).map_err(bad)?;
        self.records.insert((kind, name.to_owned()), record);
        Ok(())
    }

    /// A record.
    pub fn get(&self, kind: Kind, name: &str) -> Option<&Record> {
        self.records.get(&(kind, name.to_owned()))
    }

    /// The files of the set: path in it, content.
    pub fn files(&self) -> impl Iterator<Item = (String, &[u8])> {
        self.records
            .iter()
            .map(|((kind, name), it)| (format!("{}/{name}", kind.folder()), it.encode()))
    }

    /// What the records mean. Those that make no sense are left out and told.
    pub fn config(&self) -> (Config, Vec<NetError>) {
        let mut config = Config::default();
        let mut problems = Vec::new();
        for ((kind, name), record) in &self.records {
            let done = match kind {
                Kind::Nets => record
                    .network(name)
                    .map(|(name, it)| drop(config.networks.insert(name, it))),
                Kind::Bonds => record
                    .bond(name)
                    .map(|(name, it)| drop(config.bonds.insert(name, it))),
                Kind::Devices => {
                    let attributes = record.attributes.clone();
                    config.devices.insert(name.clone(), attributes);
                    Ok(())
                }
            };
            problems.extend(done.err().map(|it| NetError::Record {
                path: format!("{}/{name}", kind.folder()),
                why: it.to_string(),
            }));
        }
        (config, problems)
    }

    /// The set that says `config`. Records that say it already stay as they are; those of what is gone go.
    #[must_use]
    pub fn updated(&self, config: &Config) -> Self {
        let mut records = BTreeMap::new();
        for (name, network) in &config.networks {
            let same = |it: &Record| {
                it.network(name.as_str())
                    .is_ok_and(|(_, it)| it == *network)
            };
            let attributes = || canonicalize::network_attributes(network);
            let record = self.renewed(Kind::Nets, name.as_str(), same, attributes);
            records.insert((Kind::Nets, name.to_string()), record);
        }
        for (name, bond) in &config.bonds {
            let same = |it: &Record| it.bond(name.as_str()).is_ok_and(|(_, it)| it == *bond);
            let attributes = || canonicalize::bond_attributes(bond);
            let record = self.renewed(Kind::Bonds, name.as_str(), same, attributes);
            records.insert((Kind::Bonds, name.to_string()), record);
        }
        for (name, device) in &config.devices {
            let same = |it: &Record| it.attributes == *device;
            let record = self.renewed(Kind::Devices, name, same, || device.clone());
            records.insert((Kind::Devices, name.clone()), record);
        }
        Self { records }
    }

    fn renewed<T: serde::Serialize>(
        &self,
        kind: Kind,
        name: &str,
        same: impl Fn(&Record) -> bool,
        attributes: impl Fn() -> T,
    ) -> Record {
        let old = self.get(kind, name);
        if let Some(old) = old.filter(|it| same(it)) {
            return old.clone();
        }
        let map = match serde_json::to_value(attributes()) {
            Ok(Value::Object(map)) => map,
            _ => Map::new(),
        };
        match old {
            Some(old) => old.changed(map),
            None => Record::new(map),
        }
    }
}
