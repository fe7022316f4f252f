//! What can be wrong with something that was stored.

/// Why bytes from storage are not what they should be, or why something cannot be stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// More than this format can ever have: not read at all.
    #[error("{what} has {size} bytes, more than the {limit} that are possible")]
    TooLarge {
        /// What was read.
        what: &'static str,
        /// Its size, bytes.
        size: usize,
        /// The bound, bytes.
        limit: usize,
    },
    /// Not text.
    #[error("{what} is not UTF-8")]
    NotUtf8 {
        /// What was read.
        what: &'static str,
    },
    /// Nothing in it.
    #[error("{what} is empty")]
    Empty {
        /// What was read.
        what: &'static str,
    },
    /// It ends too early: the checksum line is missing, and so are keys.
    #[error("{what} is cut off: no checksum, and the key {missing} is missing")]
    Truncated {
        /// What was read.
        what: &'static str,
        /// The first key that is not there.
        missing: &'static str,
    },
    /// The checksum does not fit the content.
    #[error("checksum {declared} was declared, the content gives {computed}")]
    BrokenSeal {
        /// `_SHA_CKSUM`.
        declared: String,
        /// What it should be.
        computed: String,
    },
    /// A key that must be there is not.
    #[error("the key {key} is missing")]
    MissingKey {
        /// Which.
        key: &'static str,
    },
    /// A value that cannot be understood.
    #[error("{key} has the value {value:?}, which is not possible")]
    BadValue {
        /// Which key.
        key: String,
        /// Its value, shortened.
        value: String,
    },
    /// A version of the format that is not known here.
    #[error("version {0} of the format is not known")]
    UnknownVersion(String),
    /// The metadata of a volume was blanked while it was being deleted (versions before 4.2.5).
    #[error("the metadata was cleared, the volume is partly deleted")]
    Cleared,
    /// Several things are wrong with the metadata of a volume.
    #[error("{}", list(.0))]
    Invalid(Vec<FormatError>),
    /// A value with a line break or another control character: it would change the meaning of the file.
    #[error("{key} cannot hold a line break or another control character")]
    Unwritable {
        /// Which key.
        key: String,
    },
    /// More than the slot for it holds.
    #[error("{what} would have {size} bytes, the slot holds {limit}")]
    Overflow {
        /// What was to be written.
        what: &'static str,
        /// Its size, bytes.
        size: usize,
        /// The bound, bytes.
        limit: usize,
    },
}

fn list(errors: &[FormatError]) -> String {
    errors
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

/// A value for a message: shortened, since it may be anything.
pub(crate) fn shorten(value: &str) -> String {
    const MOST: usize = 80;
    if value.chars().count() <= MOST {
        return value.to_owned();
    }
    let mut short: String = value.chars().take(MOST).collect();
    short.push('…');
    short
}

/// The error for a value that cannot be understood.
pub(crate) fn bad_value(key: &str, value: &str) -> FormatError {
    FormatError::BadValue {
        key: key.to_owned(),
        value: shorten(value),
    }
}
