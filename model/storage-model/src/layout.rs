//! Names, modes and sizes of the files of a domain; links of the repository.
//!
//! ```text
//! <repository>/mnt/_srv_data -> /srv/data                 one link per connected folder
//! <repository>/<pool>/<domain> -> .../mnt/_srv_data/<domain>
//! <repository>/<pool>/mastersd -> .../mnt/_srv_data/<master>
//! /srv/data/<domain>/dom_md/{metadata,ids,leases,inbox,outbox[,xleases]}
//!                   /images/<image>/<volume>{,.meta[,.lease]}
//!                   /images/_remove_me_<image>            an image being deleted
//!                   /master/{vms,tasks}                   of a master domain
//! ```
//!
//! Facts: `fileSD.py`, `sd.py`, `constants.py`, `fileUtils.transformPath`. Local domains have neither volume
//! leases nor external leases in VDSM (`localFsSD.py`, `LocalLock.supports_multiple_leases`), and its image
//! deletion fails on files that it does not expect: none are made there.

use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::{DomainType, FormatError};

/// Folder of metadata within a domain.
pub const DOM_MD: &str = "dom_md";
/// Folder of images within a domain.
pub const IMAGES: &str = "images";
/// Folder of the master's tree within a domain.
pub const MASTER: &str = "master";
/// Within [`MASTER`].
pub const VMS: &str = "vms";
/// Within [`MASTER`].
pub const TASKS: &str = "tasks";
/// Within [`DOM_MD`].
pub const METADATA: &str = "metadata";
/// Within [`DOM_MD`]: the lockspace.
pub const IDS: &str = "ids";
/// Within [`DOM_MD`]: the SPM lease.
pub const LEASES: &str = "leases";
/// Within [`DOM_MD`]: external leases.
pub const XLEASES: &str = "xleases";
/// Folder of links to storage within the repository.
pub const MNT: &str = "mnt";
/// Link to the master domain within a pool's folder.
pub const MASTER_LINK: &str = "mastersd";
/// What the folder of a deleted image is renamed to, before its id.
pub const REMOVED_PREFIX: &str = "_remove_me_";
/// The same for an image whose content is to be overwritten first. It begins with [`REMOVED_PREFIX`].
pub const ZEROED_PREFIX: &str = "_remove_me_ZERO_";
/// Suffix of a volume's metadata.
pub const META_SUFFIX: &str = ".meta";
/// Suffix of a volume's lease.
pub const LEASE_SUFFIX: &str = ".lease";
/// Suffix of a file that is being replaced.
pub const NEW_SUFFIX: &str = ".new";
/// Folder of the one image of an ISO domain.
pub const ISO_IMAGE: Uuid = Uuid::from_u128(0x1111_1111_1111_1111_1111_1111_1111_1111);
/// Name of the SPM lease.
pub const SPM_RESOURCE: &str = "SDM";
/// Slot of the SPM lease in [`LEASES`].
pub const SPM_SLOT: u64 = 1;
/// Largest host id.
pub const MAX_HOST_ID: u32 = 250;

/// Mode of [`DOM_MD`].
pub const DOM_MD_MODE: u32 = 0o775;
/// Mode of other folders.
pub const DIR_MODE: u32 = 0o755;
/// Mode of the files in [`DOM_MD`] but `metadata`.
pub const SPECIAL_MODE: u32 = 0o660;
/// Mode of `metadata` and of `.meta`.
pub const METADATA_MODE: u32 = 0o644;
/// Mode of volumes.
pub const VOLUME_MODE: u32 = 0o660;

const MIB: u64 = 1024 * 1024;

/// A file of [`DOM_MD`] that is made with a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpecialFile {
    /// Its name.
    pub name: &'static str,
    /// Its size, bytes; 0 where it grows with use.
    pub size: u64,
}

const SPECIAL_FILES: [SpecialFile; 5] = [
    SpecialFile { name: IDS, size: 0 },
    SpecialFile {
        name: "inbox",
        size: 16 * MIB,
    },
    SpecialFile {
        name: "outbox",
        size: 16 * MIB,
    },
    SpecialFile {
        name: LEASES,
        size: 0,
    },
    SpecialFile {
        name: XLEASES,
        size: 0,
    },
];

/// What a kind of domain can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// Volumes have leases.
    pub volume_leases: bool,
    /// Leases that belong to no volume.
    pub external_leases: bool,
    /// Hosts ask the SPM for space through mailboxes.
    pub mailbox: bool,
}

/// What a domain of this type and version can do.
pub fn abilities(domain_type: DomainType, version: u32) -> Abilities {
    let local = domain_type == DomainType::LocalFs;
    Abilities {
        volume_leases: !local && version >= 3,
        external_leases: !local && version >= 4,
        mailbox: !local,
    }
}

/// The files of [`DOM_MD`] besides `metadata`.
pub fn special_files(domain_type: DomainType, version: u32) -> impl Iterator<Item = SpecialFile> {
    let leases = abilities(domain_type, version).external_leases;
    SPECIAL_FILES
        .into_iter()
        .filter(move |f| leases || f.name != XLEASES)
}

/// Bytes of a lease for so many hosts on storage with such blocks; `None` if that cannot be.
pub fn alignment(block_size: u32, max_hosts: u32) -> Option<u64> {
    match (block_size, max_hosts) {
        (_, 0 | 2001..) => None,
        (512, _) | (4096, 1..=250) => Some(MIB),
        (4096, 251..=500) => Some(2 * MIB),
        (4096, 501..=1000) => Some(4 * MIB),
        (4096, _) => Some(8 * MIB),
        _ => None,
    }
}

/// Name of the link to a folder: `_` doubled, `/` as `_`.
pub fn escape_path(path: &str) -> String {
    path.replace('_', "__").replace('/', "_")
}

/// A path without `.`, `..`, double and trailing slashes, as Python's `os.path.normpath` does for an
/// absolute path. `None` if it is not absolute or has a NUL.
pub fn normalize(path: &str) -> Option<String> {
    if !path.starts_with('/') || path.contains('\0') {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    Some(format!("/{}", parts.join("/")))
}

/// Paths within a domain's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainPaths {
    /// The folder.
    pub root: PathBuf,
}

impl DomainPaths {
    /// Of this folder.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// `dom_md`.
    pub fn dom_md(&self) -> PathBuf {
        self.root.join(DOM_MD)
    }

    /// `dom_md/metadata`.
    pub fn metadata(&self) -> PathBuf {
        self.dom_md().join(METADATA)
    }

    /// `dom_md/ids`.
    pub fn ids(&self) -> PathBuf {
        self.dom_md().join(IDS)
    }

    /// `dom_md/leases`.
    pub fn leases(&self) -> PathBuf {
        self.dom_md().join(LEASES)
    }

    /// `master`.
    pub fn master(&self) -> PathBuf {
        self.root.join(MASTER)
    }

    /// `images`.
    pub fn images(&self) -> PathBuf {
        self.root.join(IMAGES)
    }

    /// `images/<image>`.
    pub fn image(&self, image: Uuid) -> PathBuf {
        self.images().join(image.to_string())
    }

    /// `images/_remove_me_<image>`, or `images/_remove_me_ZERO_<image>` if it is to be overwritten.
    pub fn removed_image(&self, image: Uuid, zero: bool) -> PathBuf {
        let prefix = if zero { ZEROED_PREFIX } else { REMOVED_PREFIX };
        self.images().join(format!("{prefix}{image}"))
    }

    /// `images/<image>/<volume>`.
    pub fn volume(&self, image: Uuid, volume: Uuid) -> PathBuf {
        self.image(image).join(volume.to_string())
    }
}

/// The metadata file of a volume file.
pub fn meta_path(volume: &Path) -> PathBuf {
    with_suffix(volume, META_SUFFIX)
}

/// The lease file of a volume file.
pub fn lease_path(volume: &Path) -> PathBuf {
    with_suffix(volume, LEASE_SUFFIX)
}

/// The file that replaces another, until it is renamed.
pub fn new_path(path: &Path) -> PathBuf {
    with_suffix(path, NEW_SUFFIX)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The image in the name of a folder that is being removed, and whether it is to be overwritten.
pub fn removed_name(name: &str) -> Option<(Uuid, bool)> {
    let zeroed = name.strip_prefix(ZEROED_PREFIX).map(|id| (id, true));
    let (id, zero) = zeroed.or_else(|| name.strip_prefix(REMOVED_PREFIX).map(|id| (id, false)))?;
    id_of_name(id).map(|id| (id, zero))
}

/// The id in a name of the form that this agent writes (36 characters, lower case). Other spellings are other names.
pub fn id_of_name(name: &str) -> Option<Uuid> {
    let id = Uuid::parse_str(name).ok()?;
    (id.to_string() == name).then_some(id)
}

/// The volume that a file of an image's folder is the metadata of.
pub fn volume_of_meta(name: &str) -> Option<Uuid> {
    id_of_name(name.strip_suffix(META_SUFFIX)?)
}

/// Name under which a domain is built before it is renamed to its id. It starts with a dot and has no
/// dashes: VDSM's search for domains does not see it.
pub fn building_name(domain: Uuid) -> String {
    format!("{BUILDING}{}", domain.simple())
}

/// Name that a domain gets before its files are removed.
pub fn dying_name(domain: Uuid) -> String {
    format!("{DYING}{}", domain.simple())
}

const BUILDING: &str = ".building_";
const DYING: &str = ".dying_";

/// Is this one of the names of [`building_name`] and [`dying_name`]?
pub fn is_leftover(name: &str) -> bool {
    [BUILDING, DYING].iter().any(|prefix| {
        name.strip_prefix(prefix)
            .is_some_and(|id| id.len() == 32 && Uuid::try_parse(id).is_ok())
    })
}

/// A pool that is being created: written into the repository first, so that an unfinished one can be taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingPool {
    /// The pool.
    pub pool: Uuid,
    /// Its master.
    pub master: Uuid,
    /// All its domains.
    pub domains: Vec<Uuid>,
}

impl PendingPool {
    const PREFIX: &'static str = ".creating_pool_";
    const WHAT: &'static str = "record of a pool being created";
    /// The most bytes that are read.
    const MAX_SIZE: usize = 64 * 1024;

    /// Its name in the repository.
    pub fn file_name(pool: Uuid) -> String {
        format!("{}{}", Self::PREFIX, pool.simple())
    }

    /// Is this such a name?
    pub fn is_file_name(name: &str) -> bool {
        name.strip_prefix(Self::PREFIX)
            .is_some_and(|id| id.len() == 32 && Uuid::try_parse(id).is_ok())
    }

    /// The record: version, pool, master, then one domain a line.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut lines = vec![
            "1".to_owned(),
            self.pool.to_string(),
            self.master.to_string(),
        ];
        lines.extend(self.domains.iter().map(Uuid::to_string));
        let mut text = lines.join("\n");
        text.push('\n');
        text.into_bytes()
    }

    /// Reads it.
    pub fn parse(data: &[u8]) -> Result<Self, FormatError> {
        if data.len() > Self::MAX_SIZE {
            let (size, limit) = (data.len(), Self::MAX_SIZE);
            return Err(FormatError::TooLarge {
                what: Self::WHAT,
                size,
                limit,
            });
        }
        let text =
            std::str::from_utf8(data).map_err(|_| FormatError::NotUtf8 { what: Self::WHAT })?;
        let mut lines = text.lines();
        match lines.next() {
            Some("1") => {}
            Some(other) => return Err(FormatError::UnknownVersion(crate::error::shorten(other))),
            None => return Err(FormatError::Empty { what: Self::WHAT }),
        }
        let mut ids = lines
            .map(|line| Uuid::parse_str(line).map_err(|_| crate::error::bad_value("id", line)));
        let cut = |missing| FormatError::Truncated {
            what: Self::WHAT,
            missing,
        };
        let pool = ids.next().ok_or(cut("pool"))??;
        let master = ids.next().ok_or(cut("master"))??;
        let domains = ids.collect::<Result<_, _>>()?;
        Ok(Self {
            pool,
            master,
            domains,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_escaped_as_upstream_does() {
        assert_eq!(escape_path("/srv/my_data"), "_srv_my__data");
        assert_eq!(normalize("/srv//a/./b/../c/"), Some("/srv/a/c".to_owned()));
        assert_eq!(normalize("/.."), Some("/".to_owned()));
        assert_eq!(normalize("srv"), None);
        assert_eq!(normalize("/a\0b"), None);
    }

    #[test]
    fn local_domains_have_no_leases_of_their_own() {
        let names: Vec<_> = special_files(DomainType::LocalFs, 5)
            .map(|f| f.name)
            .collect();
        assert_eq!(names, ["ids", "inbox", "outbox", "leases"]);
        assert!(special_files(DomainType::Nfs, 5).any(|f| f.name == XLEASES));
        assert!(special_files(DomainType::Nfs, 3).all(|f| f.name != XLEASES));
        assert!(!abilities(DomainType::LocalFs, 5).volume_leases);
        assert!(abilities(DomainType::Nfs, 5).volume_leases);
    }

    #[test]
    fn alignment_follows_blocks_and_hosts() {
        assert_eq!(alignment(512, 2000), Some(MIB));
        assert_eq!(alignment(4096, 250), Some(MIB));
        assert_eq!(alignment(4096, 251), Some(2 * MIB));
        assert_eq!(alignment(4096, 1000), Some(4 * MIB));
        assert_eq!(alignment(4096, 2000), Some(8 * MIB));
        assert_eq!(alignment(512, 0), None);
        assert_eq!(alignment(512, 2001), None);
        assert_eq!(alignment(1024, 1), None);
    }

    #[test]
    fn hidden_names_are_known_again() {
        let id = Uuid::from_u128(7);
        assert!(is_leftover(&building_name(id)) && is_leftover(&dying_name(id)));
        assert!(!is_leftover(&id.to_string()) && !is_leftover(".building_x"));
        assert!(!building_name(id).contains('-'));
        let paths = DomainPaths::new("/d");
        for zero in [true, false] {
            let path = paths.removed_image(id, zero);
            let name = path.file_name().and_then(|n| n.to_str()).unwrap();
            assert_eq!(removed_name(name), Some((id, zero)));
        }
        assert_eq!(removed_name("_remove_me_x"), None);
        assert_eq!(removed_name(&id.to_string()), None);
        assert!(PendingPool::is_file_name(&PendingPool::file_name(id)));
        assert!(!PendingPool::is_file_name(".creating_pool_"));
    }

    #[test]
    fn a_pending_pool_comes_back_and_a_cut_one_does_not() {
        let ids = [1, 2, 3].map(Uuid::from_u128);
        let record = PendingPool {
            pool: ids[0],
            master: ids[1],
            domains: vec![ids[1], ids[2]],
        };
        let data = record.to_bytes();
        assert_eq!(PendingPool::parse(&data), Ok(record));
        assert!(PendingPool::parse(b"").is_err());
        assert!(PendingPool::parse(b"2\n").is_err());
        assert!(PendingPool::parse(&data[..10]).is_err());
        assert!(PendingPool::parse(&data[..data.len() - 5]).is_err());
    }

    #[test]
    fn names_are_ids_only_in_their_one_spelling() {
        let id = Uuid::from_u128(0xabc);
        assert_eq!(id_of_name(&id.to_string()), Some(id));
        assert_eq!(id_of_name(&id.to_string().to_uppercase()), None);
        assert_eq!(id_of_name(&id.simple().to_string()), None);
        assert_eq!(volume_of_meta(&format!("{id}.meta")), Some(id));
        assert_eq!(volume_of_meta(&format!("{id}.meta.new")), None);
    }
}
