//! The index of external leases: which lease lies in which slot of `xleases`.
//!
//! Facts: `xlease.py`. The index starts at one alignment into the file: 512 bytes of metadata, then
//! records of 64 bytes. Record `n` belongs to the slot `n + 3`; the offset in the record is for people.

use std::ops::Range;

use uuid::Uuid;

use crate::{FormatError, error::bad_value};

/// Bytes of the index.
pub const INDEX_SIZE: usize = 62 * 4096;
/// Records of the index.
pub const MAX_RECORDS: usize = (INDEX_SIZE - METADATA_SIZE) / RECORD_SIZE;

const WHAT: &str = "index of leases";
const METADATA_SIZE: usize = 512;
const RECORD_SIZE: usize = 64;
const RESERVED_SLOTS: u64 = 3;
const MAGIC: [u8; 4] = 0x1215_2016_u32.to_be_bytes();
const VERSION: u32 = 1;
const UPDATING: u8 = b'u';
const IDLE: u8 = b'-';

// metadata: magic, NUL, version[4], NUL, lockspace[48], NUL, mtime[10], NUL, flag, zeroes, newline
const VERSION_AT: Range<usize> = 5..9;
const LOCKSPACE_AT: Range<usize> = 10..58;
const MTIME_AT: Range<usize> = 59..69;
const FLAG_AT: usize = 70;
// record: resource[48], NUL, offset[11], NUL, flag, reserved, newline
const RESOURCE_AT: Range<usize> = 0..48;
const OFFSET_AT: Range<usize> = 49..60;
const RECORD_FLAG_AT: usize = 61;

/// Head of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexMetadata {
    /// Name of the lockspace: the domain's id.
    pub lockspace: String,
    /// Seconds since 1970 of the last formatting or rebuild.
    pub mtime: u64,
    /// A change of the whole index did not end: it must be formatted or rebuilt.
    pub updating: bool,
}

/// A lease in the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Name of the lease; empty for a free record.
    pub resource: String,
    /// Left by an older version: to be treated as if it were not there.
    pub updating: bool,
}

/// Offset of the lease of record `number` in `xleases`.
pub fn lease_offset(number: usize, alignment: u64) -> u64 {
    (RESERVED_SLOTS + number as u64) * alignment
}

/// An index without leases, to be written at offset `alignment` of `xleases`.
pub fn format_index(domain: Uuid, mtime: u64) -> Vec<u8> {
    let head = IndexMetadata {
        lockspace: domain.to_string(),
        mtime,
        updating: false,
    }
    .to_bytes();
    let mut index = Vec::with_capacity(INDEX_SIZE);
    index.extend_from_slice(&head);
    let free = Record {
        resource: String::new(),
        updating: false,
    }
    .to_bytes(0);
    for _ in 0..MAX_RECORDS {
        index.extend_from_slice(&free);
    }
    index
}

impl IndexMetadata {
    /// Reads the head of an index.
    pub fn parse(index: &[u8]) -> Result<Self, FormatError> {
        let data = index.get(..METADATA_SIZE).ok_or(FormatError::Truncated {
            what: WHAT,
            missing: "metadata",
        })?;
        if data.get(..4) != Some(&MAGIC) {
            return Err(bad_value("magic", &format!("{:02x?}", data.get(..4))));
        }
        let version = number(data, VERSION_AT, "version")?;
        if version != u64::from(VERSION) {
            return Err(FormatError::UnknownVersion(version.to_string()));
        }
        Ok(Self {
            lockspace: text(data, LOCKSPACE_AT, "lockspace")?.to_owned(),
            mtime: number(data, MTIME_AT, "mtime")?,
            updating: data.get(FLAG_AT) == Some(&UPDATING),
        })
    }

    fn to_bytes(&self) -> [u8; METADATA_SIZE] {
        let mut data = [0; METADATA_SIZE];
        put(&mut data, 0, &MAGIC);
        put(
            &mut data,
            VERSION_AT.start,
            format!("{VERSION:04}").as_bytes(),
        );
        put(&mut data, LOCKSPACE_AT.start, self.lockspace.as_bytes());
        put(
            &mut data,
            MTIME_AT.start,
            format!("{:010}", self.mtime).as_bytes(),
        );
        put(
            &mut data,
            FLAG_AT,
            &[if self.updating { UPDATING } else { IDLE }],
        );
        put(&mut data, METADATA_SIZE - 1, b"\n");
        data
    }
}

impl Record {
    /// Reads record `number` of an index.
    pub fn parse(index: &[u8], number_: usize) -> Result<Self, FormatError> {
        let start = METADATA_SIZE.saturating_add(number_.saturating_mul(RECORD_SIZE));
        let data =
            index
                .get(start..start.saturating_add(RECORD_SIZE))
                .ok_or(FormatError::Truncated {
                    what: WHAT,
                    missing: "record",
                })?;
        number(data, OFFSET_AT, "offset")?;
        Ok(Self {
            resource: text(data, RESOURCE_AT, "resource")?.to_owned(),
            updating: data.get(RECORD_FLAG_AT) == Some(&UPDATING),
        })
    }

    /// The record's bytes; `offset` is where its lease lies.
    pub fn to_bytes(&self, offset: u64) -> [u8; RECORD_SIZE] {
        let mut data = [0; RECORD_SIZE];
        let name: Vec<u8> = self.resource.bytes().take(RESOURCE_AT.len()).collect();
        put(&mut data, RESOURCE_AT.start, &name);
        put(
            &mut data,
            OFFSET_AT.start,
            format!("{offset:011}").as_bytes(),
        );
        put(
            &mut data,
            RECORD_FLAG_AT,
            &[if self.updating { UPDATING } else { IDLE }, IDLE, b'\n'],
        );
        data
    }
}

/// The leases of an index and the numbers of their records; broken records are passed over, as upstream does.
pub fn leases(index: &[u8]) -> Vec<(usize, Record)> {
    let count = index.len().saturating_sub(METADATA_SIZE) / RECORD_SIZE;
    (0..count.min(MAX_RECORDS))
        .filter_map(|n| Record::parse(index, n).ok().map(|r| (n, r)))
        .filter(|(_, r)| !r.resource.is_empty())
        .collect()
}

fn put(data: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = data.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

fn text<'a>(data: &'a [u8], at: Range<usize>, what: &str) -> Result<&'a str, FormatError> {
    let bytes = crate::lines::strip_padding(data.get(at).unwrap_or_default());
    match std::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => Ok(text),
        _ => Err(bad_value(what, &String::from_utf8_lossy(bytes))),
    }
}

fn number(data: &[u8], at: Range<usize>, what: &str) -> Result<u64, FormatError> {
    let text = text(data, at, what)?;
    text.trim().parse().map_err(|_| bad_value(what, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_index_has_no_leases() {
        let index = format_index(Uuid::from_u128(5), 1_700_000_000);
        assert_eq!(index.len(), INDEX_SIZE);
        let head = IndexMetadata::parse(&index).unwrap();
        assert_eq!((head.mtime, head.updating), (1_700_000_000, false));
        assert_eq!(head.lockspace, Uuid::from_u128(5).to_string());
        assert!(leases(&index).is_empty());
        assert!(Record::parse(&index, MAX_RECORDS - 1).is_ok());
        assert!(Record::parse(&index, MAX_RECORDS).is_err());
        assert!(Record::parse(&index, usize::MAX).is_err());
    }

    #[test]
    fn records_come_back() {
        let mut index = format_index(Uuid::nil(), 0);
        let record = Record {
            resource: "lease".to_owned(),
            updating: false,
        };
        let at = METADATA_SIZE + 2 * RECORD_SIZE;
        index[at..at + RECORD_SIZE].copy_from_slice(&record.to_bytes(lease_offset(2, 1 << 20)));
        assert_eq!(leases(&index), [(2, record)]);
        assert_eq!(lease_offset(2, 1 << 20), 5 << 20);
    }
}
