//! What to write where, so that a set of files is whole at every instant, old or new, and older ones can come back.
//!
//! As upstream has it, `netconf` is a symbolic link beside the folder that it names, and one `rename` changes the whole
//! set. Unlike upstream's, the folder has a number, is fsynced with its entries, carries a manifest with checksums, and the last
//! [`KEEP`] folders stay.
//!
//! ```text
//! persistence/netconf              -> netconf.g0000042      (one rename)
//! persistence/netconf.g0000042/manifest, nets/…, bonds/…, devices/…
//! persistence/netconf.g0000041/…                            (older generations)
//! ```
//!
//! States after a crash: a folder with a greater number than the link's, or a `.ln`: unfinished, removed by the next [`store`]; else
//! finished.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Kind, Netconf};
use crate::NetError;

/// How many generations stay beside the one in force.
pub const KEEP: usize = 10;

/// Name of the manifest in a set.
pub const MANIFEST: &str = "manifest";

/// One act on files; paths are relative to the folder that holds the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Make a folder.
    MakeFolder(String),
    /// Write a file, fsync it.
    WriteFile {
        /// Its path.
        path: String,
        /// Its content.
        bytes: Vec<u8>,
    },
    /// fsync a folder; `""` is the one that holds the link.
    SyncFolder(String),
    /// Make a symbolic link, relative.
    Link {
        /// Its path.
        path: String,
        /// What it names.
        target: String,
    },
    /// Rename over what is there.
    Rename {
        /// From.
        from: String,
        /// To.
        to: String,
    },
    /// Exchange two names (`RENAME_EXCHANGE`).
    Exchange {
        /// One.
        a: String,
        /// Other.
        b: String,
    },
    /// Remove a file or folder with all in it; what is gone is fine.
    Remove(String),
}

/// What the folder that holds the link has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Names in it.
    pub names: BTreeSet<String>,
    /// Target of the link (its last component), if it is one.
    pub target: Option<String>,
    /// Name of the link, `netconf`.
    pub link: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    version: u32,
    files: BTreeMap<String, u32>,
}

impl Listing {
    fn generation(&self, name: &str) -> Option<u64> {
        let rest = name.strip_prefix(&self.link)?.strip_prefix(".g")?;
        let digits = rest.len() == 7 && rest.bytes().all(|it| it.is_ascii_digit());
        digits.then(|| rest.parse().ok()).flatten()
    }

    fn name(&self, generation: u64) -> String {
        format!("{}.g{generation:07}", self.link)
    }

    fn in_force(&self) -> Option<u64> {
        self.target.as_deref().and_then(|it| self.generation(it))
    }

    /// Generations that are whole, the newest first; the one in force is the first, if it is one.
    pub fn generations(&self) -> Vec<(u64, String)> {
        let most = self.in_force().unwrap_or(u64::MAX);
        let all = self.names.iter();
        let mut all: Vec<_> = all
            .filter_map(|name| Some((self.generation(name)?, name.clone())))
            .filter(|(number, _)| *number <= most)
            .collect();
        all.sort_by(|a, b| b.cmp(a));
        all
    }

    /// The generation that a rollback takes: `back` before the one in force.
    pub fn before(&self, back: usize) -> Option<String> {
        let all = self.generations();
        let older = all
            .into_iter()
            .filter(|(it, _)| Some(*it) != self.in_force());
        older.map(|(_, name)| name).nth(back.saturating_sub(1))
    }

    /// What an unfinished store left: to be removed at any time.
    pub fn leftovers(&self) -> Vec<String> {
        let most = self.in_force();
        let prefix = format!("{}.", self.link);
        let unfinished = |name: &&String| {
            let own = name.starts_with(&prefix);
            let newer = match (self.generation(name), most) {
                (Some(number), Some(most)) => number > most,
                // Upstream's folders have random names: all but the one in force are left over.
                (None, _) => self.target.as_ref() != Some(*name),
                (Some(_), None) => false,
            };
            own && newer
        };
        self.names.iter().filter(unfinished).cloned().collect()
    }
}

/// The acts that put a set in force, in order. Killed after any of them, the set in force is the old one or the new
/// one, whole.
pub fn store(listing: &Listing, netconf: &Netconf, keep: usize) -> Vec<Act> {
    let mut acts: Vec<Act> = listing.leftovers().into_iter().map(Act::Remove).collect();
    let generations = listing.generations();
    let last = generations.iter().map(|(number, _)| *number).max();
    let number = last.unwrap_or(0) + 1;
    // A plain folder in the link's place (made by hand, or by an old agent) becomes the generation before.
    let plain = listing.names.contains(&listing.link) && listing.target.is_none();
    let (old, number) = (number, number + u64::from(plain));
    let folder = listing.name(number);
    write_set(&folder, netconf, &mut acts);
    let link = format!("{folder}.ln");
    acts.push(Act::Link {
        path: link.clone(),
        target: folder,
    });
    acts.push(Act::SyncFolder(String::new()));
    if plain {
        acts.push(Act::Exchange {
            a: link.clone(),
            b: listing.link.clone(),
        });
        acts.push(Act::Rename {
            from: link,
            to: listing.name(old),
        });
    } else {
        acts.push(Act::Rename {
            from: link,
            to: listing.link.clone(),
        });
    }
    acts.push(Act::SyncFolder(String::new()));
    let foreign = listing.target.as_ref();
    let foreign = foreign.filter(|it| listing.generation(it).is_none());
    acts.extend(foreign.cloned().map(Act::Remove));
    let surplus = generations.into_iter().skip(keep);
    acts.extend(surplus.map(|(_, name)| Act::Remove(name)));
    acts
}

fn write_set(folder: &str, netconf: &Netconf, acts: &mut Vec<Act>) {
    acts.push(Act::MakeFolder(folder.to_owned()));
    for kind in Kind::ALL {
        acts.push(Act::MakeFolder(format!("{folder}/{}", kind.folder())));
    }
    for (path, bytes) in netconf.files() {
        acts.push(Act::WriteFile {
            path: format!("{folder}/{path}"),
            bytes: bytes.to_vec(),
        });
    }
    acts.push(Act::WriteFile {
        path: format!("{folder}/{MANIFEST}"),
        bytes: manifest(netconf).into_bytes(),
    });
    for kind in Kind::ALL {
        acts.push(Act::SyncFolder(format!("{folder}/{}", kind.folder())));
    }
    acts.push(Act::SyncFolder(folder.to_owned()));
}

/// The manifest of a set: which files it has, and their checksums. Upstream looks at the three folders only.
pub fn manifest(netconf: &Netconf) -> String {
    let files = netconf.files();
    let manifest = Manifest {
        version: 1,
        files: files.map(|(path, bytes)| (path, checksum(bytes))).collect(),
    };
    serde_json::to_string_pretty(&manifest).unwrap_or_default()
}

/// Is the set what its manifest says? A set that Python VDSM wrote has none and is believed.
pub fn verify(netconf: &Netconf, manifest: Option<&[u8]>) -> Result<(), NetError> {
    let Some(bytes) = manifest else {
        return Ok(());
    };
    let bad = |path: &str, why: &str| NetError::Record {
        path: path.to_owned(),
        why: why.to_owned(),
    };
    let told: Manifest =
        serde_json::from_slice(bytes).map_err(|it| bad(MANIFEST, &it.to_string()))?;
    let found: BTreeMap<String, u32> = netconf
        .files()
        .map(|(path, bytes)| (path, checksum(bytes)))
        .collect();
    for (path, sum) in &told.files {
        match found.get(path) {
            None => return Err(bad(path, "it is missing")),
            Some(other) if other != sum => return Err(bad(path, "it is damaged")),
            Some(_) => {}
        }
    }
    match found.keys().find(|it| !told.files.contains_key(*it)) {
        Some(path) => Err(bad(path, "it is not of this set")),
        None => Ok(()),
    }
}

/// Adler-32.
fn checksum(bytes: &[u8]) -> u32 {
    const MODULUS: u32 = 65_521;
    let (a, b) = bytes.iter().fold((1_u32, 0_u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % MODULUS;
        (a, (a + b) % MODULUS)
    });
    b << 16 | a
}
