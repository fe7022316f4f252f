//! `<volume>.meta`: `KEY=VALUE` lines, sorted, ended by `EOF`, at most 512 bytes.
//!
//! Facts: `volumemetadata.py`, `constants.py`. Sizes are bytes (`CAP`); before version 5 they are sectors
//! (`SIZE`). On block domains the same text lies in a 512-byte slot, hence the bound.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::{
    Allocation, FormatError, Legality, VolumeFormat, VolumeRole, WordError,
    error::bad_value,
    lines::{split_bytes, storable, strip_padding},
};

const WHAT: &str = "metadata of a volume";

/// The slot that the metadata must fit.
pub const MAX_STORED: usize = 512;
/// The most bytes that are read.
pub const MAX_SIZE: usize = 64 * 1024;
/// Characters of a description that are kept.
pub const MAX_DESCRIPTION: usize = 210;
/// `GEN` wraps to 0 after this.
pub const MAX_GENERATION: u64 = 999;

/// The metadata of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeMetadata {
    /// `DOMAIN`.
    pub domain: Uuid,
    /// `IMAGE`.
    pub image: Uuid,
    /// `PUUID`: the parent, nil for none.
    pub parent: Uuid,
    /// `CAP`: virtual size, bytes.
    pub capacity: u64,
    /// `FORMAT`.
    pub format: VolumeFormat,
    /// `TYPE`.
    pub allocation: Allocation,
    /// `VOLTYPE`.
    pub role: VolumeRole,
    /// `DISKTYPE`.
    pub disk_type: String,
    /// `DESCRIPTION`.
    pub description: String,
    /// `LEGALITY`.
    pub legality: Legality,
    /// `CTIME`: seconds since 1970.
    pub ctime: i64,
    /// `GEN`.
    pub generation: u64,
    /// `SEQ`.
    pub sequence: u64,
}

/// What could be understood of a volume's metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields of VolumeMetadata")]
pub struct PartialVolumeMetadata {
    pub domain: Option<Uuid>,
    pub image: Option<Uuid>,
    pub parent: Option<Uuid>,
    pub capacity: Option<u64>,
    pub format: Option<VolumeFormat>,
    pub allocation: Option<Allocation>,
    pub role: Option<VolumeRole>,
    pub disk_type: Option<String>,
    pub description: Option<String>,
    pub legality: Option<Legality>,
    pub ctime: Option<i64>,
    pub generation: Option<u64>,
    pub sequence: Option<u64>,
}

impl VolumeMetadata {
    /// Reads the file.
    pub fn parse(data: &[u8]) -> Result<Self, FormatError> {
        let (md, errors) = PartialVolumeMetadata::parse(data);
        md.complete().ok_or_else(|| one(errors))
    }

    /// The file's content. Fails if it would not fit its slot or if a value has a line break.
    pub fn to_bytes(&self, domain_version: u32) -> Result<Vec<u8>, FormatError> {
        let mut lines: BTreeMap<&str, String> = BTreeMap::from([
            ("CTIME", self.ctime.to_string()),
            ("DESCRIPTION", self.description.clone()),
            ("DISKTYPE", self.disk_type.clone()),
            ("DOMAIN", self.domain.to_string()),
            ("FORMAT", self.format.to_string()),
            ("GEN", self.generation.to_string()),
            ("IMAGE", self.image.to_string()),
            ("LEGALITY", self.legality.to_string()),
            ("PUUID", self.parent.to_string()),
            ("TYPE", self.allocation.to_string()),
            ("VOLTYPE", self.role.to_string()),
        ]);
        if domain_version < 5 {
            lines.insert("MTIME", "0".to_owned());
            lines.insert("SIZE", (self.capacity / 512).to_string());
        } else {
            lines.insert("CAP", self.capacity.to_string());
            lines.insert("SEQ", self.sequence.to_string());
        }
        render(&lines)
    }

    /// The generation after this one.
    pub fn next_generation(&self) -> u64 {
        if self.generation >= MAX_GENERATION {
            0
        } else {
            self.generation + 1
        }
    }
}

/// A description as it is kept: cut, never refused for its length (old engines send long ones).
pub fn cut_description(text: &str) -> String {
    text.chars().take(MAX_DESCRIPTION).collect()
}

fn render(lines: &BTreeMap<&str, String>) -> Result<Vec<u8>, FormatError> {
    let mut text = String::new();
    for (key, value) in lines {
        if !storable(value) {
            return Err(FormatError::Unwritable {
                key: (*key).to_owned(),
            });
        }
        text.push_str(key);
        text.push('=');
        text.push_str(value);
        text.push('\n');
    }
    text.push_str("EOF\n");
    if text.len() > MAX_STORED {
        return Err(FormatError::Overflow {
            what: WHAT,
            size: text.len(),
            limit: MAX_STORED,
        });
    }
    Ok(text.into_bytes())
}

fn one(mut errors: Vec<FormatError>) -> FormatError {
    if errors.len() == 1 {
        errors.remove(0)
    } else {
        FormatError::Invalid(errors)
    }
}

impl PartialVolumeMetadata {
    /// Reads what can be read, and tells what could not.
    pub fn parse(data: &[u8]) -> (Self, Vec<FormatError>) {
        if data.len() > MAX_SIZE {
            let error = FormatError::TooLarge {
                what: WHAT,
                size: data.len(),
                limit: MAX_SIZE,
            };
            return (Self::default(), vec![error]);
        }
        let (values, mut errors) = read_lines(data);
        if values.is_empty() {
            errors.push(FormatError::Empty { what: WHAT });
            return (Self::default(), errors);
        }
        if values.contains_key("NONE") {
            errors.push(FormatError::Cleared);
            return (Self::default(), errors);
        }
        let mut reader = Reader {
            values: &values,
            errors,
        };
        let md = reader.read();
        (md, reader.errors)
    }

    /// The whole, if nothing is missing.
    pub fn complete(self) -> Option<VolumeMetadata> {
        Some(VolumeMetadata {
            domain: self.domain?,
            image: self.image?,
            parent: self.parent?,
            capacity: self.capacity?,
            format: self.format?,
            allocation: self.allocation?,
            role: self.role?,
            disk_type: self.disk_type?,
            description: self.description?,
            legality: self.legality?,
            ctime: self.ctime?,
            generation: self.generation?,
            sequence: self.sequence?,
        })
    }
}

fn read_lines(data: &[u8]) -> (BTreeMap<String, String>, Vec<FormatError>) {
    let mut values = BTreeMap::new();
    let mut errors = Vec::new();
    for line in split_bytes(strip_padding(data)) {
        let Ok(line) = std::str::from_utf8(line) else {
            errors.push(FormatError::NotUtf8 { what: WHAT });
            continue;
        };
        if line.starts_with("EOF") {
            break;
        }
        if let Some((key, value)) = line.split_once('=') {
            values.insert(key.trim().to_owned(), value.trim().to_owned());
        }
    }
    (values, errors)
}

struct Reader<'a> {
    values: &'a BTreeMap<String, String>,
    errors: Vec<FormatError>,
}

impl Reader<'_> {
    fn read(&mut self) -> PartialVolumeMetadata {
        PartialVolumeMetadata {
            domain: self.id("DOMAIN"),
            image: self.id("IMAGE"),
            parent: self.id("PUUID"),
            capacity: self.capacity(),
            format: self.word("FORMAT", VolumeFormat::from_word),
            allocation: self.word("TYPE", Allocation::from_word),
            role: self.word("VOLTYPE", VolumeRole::from_word),
            disk_type: self.text("DISKTYPE").map(str::to_owned),
            description: self.text("DESCRIPTION").map(cut_description),
            legality: self.word("LEGALITY", Legality::from_word),
            ctime: self.number("CTIME"),
            generation: self.number_or_zero("GEN"),
            sequence: self.number_or_zero("SEQ"),
        }
    }

    fn text(&mut self, key: &'static str) -> Option<&str> {
        let value = self.values.get(key).map(String::as_str);
        if value.is_none() {
            self.errors.push(FormatError::MissingKey { key });
        }
        value
    }

    fn take<T>(&mut self, key: &'static str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let value = self.text(key)?.to_owned();
        let parsed = parse(&value);
        if parsed.is_none() {
            self.errors.push(bad_value(key, &value));
        }
        parsed
    }

    fn id(&mut self, key: &'static str) -> Option<Uuid> {
        self.take(key, |v| Uuid::parse_str(v).ok())
    }

    fn word<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, WordError>,
    ) -> Option<T> {
        self.take(key, |v| parse(v).ok())
    }

    fn number<T: std::str::FromStr>(&mut self, key: &'static str) -> Option<T> {
        self.take(key, |v| v.parse().ok())
    }

    fn number_or_zero(&mut self, key: &'static str) -> Option<u64> {
        if self.values.contains_key(key) {
            self.number(key)
        } else {
            Some(0)
        }
    }

    fn capacity(&mut self) -> Option<u64> {
        if self.values.contains_key("CAP") || !self.values.contains_key("SIZE") {
            return self.number("CAP");
        }
        self.take("SIZE", |v| v.parse::<u64>().ok()?.checked_mul(512))
    }
}
