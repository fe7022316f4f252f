//! The legal words of storage and their numbers on the wire.
//!
//! Facts: `sd.py` (`DOMAIN_TYPES`, `DOMAIN_CLASSES`, statuses, roles) and `constants.py` (`_TYPE2NAME`,
//! `VOL_DISKTYPE`, legality) of VDSM; the numbers are those of its schema.

use std::fmt;

/// A word or number that is not one of a closed list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not a {what}")]
pub struct WordError {
    /// What it should be, e.g. `volume format`.
    pub what: &'static str,
    /// What it is.
    pub value: String,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal, { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// The word as it is stored and sent.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// From the word, exactly as written.
            pub fn from_word(word: &str) -> Result<Self, WordError> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(WordError { what: $what, value: crate::error::shorten(word) }),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

macro_rules! numbers {
    ($name:ident, $what:literal, { $($variant:ident = $number:literal,)+ }) => {
        impl $name {
            /// The number on the wire.
            pub fn number(self) -> i64 {
                match self { $(Self::$variant => $number,)+ }
            }

            /// From the number on the wire.
            pub fn from_number(number: i64) -> Result<Self, WordError> {
                match number {
                    $($number => Ok(Self::$variant),)+
                    _ => Err(WordError { what: $what, value: number.to_string() }),
                }
            }
        }
    };
}

words!(
    /// What a storage domain lives on.
    DomainType, "storage domain type", {
        /// Not told.
        Unknown = "UNKNOWN",
        /// NFS.
        Nfs = "NFS",
        /// Fibre Channel.
        Fcp = "FCP",
        /// iSCSI.
        Iscsi = "ISCSI",
        /// A local folder.
        LocalFs = "LOCALFS",
        /// CIFS.
        Cifs = "CIFS",
        /// Any POSIX file system.
        PosixFs = "POSIXFS",
        /// Gluster.
        GlusterFs = "GLUSTERFS",
    }
);
numbers!(DomainType, "storage domain type", {
    Unknown = 0, Nfs = 1, Fcp = 2, Iscsi = 3, LocalFs = 4, Cifs = 5, PosixFs = 6, GlusterFs = 7,
});

words!(
    /// What a storage domain is for.
    DomainClass, "storage domain class", {
        /// Disks of VMs.
        Data = "Data",
        /// Installation images.
        Iso = "Iso",
        /// Exports.
        Backup = "Backup",
    }
);
numbers!(DomainClass, "storage domain class", { Data = 1, Iso = 2, Backup = 3, });

words!(
    /// Role of a domain in its pool.
    DomainRole, "storage domain role", {
        /// It carries the lock and the metadata of the pool.
        Master = "Master",
        /// Any other.
        Regular = "Regular",
    }
);

words!(
    /// Status of a domain in its pool.
    DomainStatus, "storage domain status", {
        /// Not known.
        Unknown = "Unknown",
        /// Belongs to the pool, not in use.
        Attached = "Attached",
        /// Belongs to no pool.
        Unattached = "Unattached",
        /// In use.
        Active = "Active",
    }
);

impl DomainStatus {
    /// From a word in any case, as `StoragePool.connect` gives it (`active`, `attached`).
    pub fn from_any_case(word: &str) -> Result<Self, WordError> {
        let mut capital = word.to_lowercase();
        if let Some(first) = capital.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        Self::from_word(&capital).map_err(|e| WordError {
            what: e.what,
            value: crate::error::shorten(word),
        })
    }
}

words!(
    /// How the space of a volume is allocated.
    Allocation, "volume allocation", {
        /// Not told.
        Unknown = "UNKNOWN",
        /// All at once.
        Preallocated = "PREALLOCATED",
        /// As it is written.
        Sparse = "SPARSE",
    }
);
numbers!(Allocation, "volume allocation", { Unknown = 0, Preallocated = 1, Sparse = 2, });

words!(
    /// Format of a volume's content.
    VolumeFormat, "volume format", {
        /// Not told.
        Unknown = "UNKNOWN",
        /// qcow2.
        Cow = "COW",
        /// Raw.
        Raw = "RAW",
    }
);
numbers!(VolumeFormat, "volume format", { Unknown = 3, Cow = 4, Raw = 5, });

impl VolumeFormat {
    /// QEMU's name of it: `raw` or `qcow2`; `None` for [`VolumeFormat::Unknown`].
    pub fn qemu(self) -> Option<&'static str> {
        match self {
            Self::Unknown => None,
            Self::Cow => Some("qcow2"),
            Self::Raw => Some("raw"),
        }
    }
}

words!(
    /// Place of a volume in its chain.
    VolumeRole, "volume role", {
        /// A template: others stand on it, it never changes.
        Shared = "SHARED",
        /// Others of the same image stand on it.
        Internal = "INTERNAL",
        /// The top, the one that is written.
        Leaf = "LEAF",
    }
);
numbers!(VolumeRole, "volume role", { Shared = 6, Internal = 7, Leaf = 8, });

words!(
    /// May the content of a volume be used?
    Legality, "volume legality", {
        /// Yes.
        Legal = "LEGAL",
        /// No: an operation on it did not end.
        Illegal = "ILLEGAL",
        /// A stand-in for a template on a backup domain.
        Fake = "FAKE",
    }
);

/// The words that `DISKTYPE` may have; the last two are of old engines and of virt-v2v.
pub const DISK_TYPES: [&str; 12] = [
    "DATA", "ISOF", "MEMD", "MEMM", "OVFS", "HEVD", "HESD", "HEMD", "HECI", "SCRD", "2", "1",
];

/// May a new volume have this `DISKTYPE`?
pub fn is_disk_type(word: &str) -> bool {
    DISK_TYPES.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_numbers_are_upstreams() {
        assert_eq!(DomainType::from_number(4), Ok(DomainType::LocalFs));
        assert_eq!(DomainType::LocalFs.as_str(), "LOCALFS");
        assert_eq!(
            VolumeFormat::from_number(4).map(VolumeFormat::qemu),
            Ok(Some("qcow2"))
        );
        assert_eq!(Allocation::from_number(2), Ok(Allocation::Sparse));
        assert_eq!(VolumeRole::Leaf.number(), 8);
        assert_eq!(
            DomainClass::from_word("Backup").map(DomainClass::number),
            Ok(3)
        );
        assert!(VolumeFormat::from_word("cow").is_err());
        assert!(VolumeFormat::from_number(6).is_err());
    }

    #[test]
    fn statuses_come_in_any_case() {
        assert_eq!(
            DomainStatus::from_any_case("active"),
            Ok(DomainStatus::Active)
        );
        assert_eq!(
            DomainStatus::from_any_case("ATTACHED"),
            Ok(DomainStatus::Attached)
        );
        assert!(DomainStatus::from_any_case("").is_err());
        assert!(DomainStatus::from_any_case("ä").is_err());
    }
}
