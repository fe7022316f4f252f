//! `dom_md/metadata`: `KEY=VALUE` lines, sorted, sealed by `_SHA_CKSUM`.
//!
//! Facts: `persistent.py` (lines, checksum), `sd.py` (`SD_MD_FIELDS`), `fileSD.py` (`REMOTE_PATH`),
//! `spbackends.py` (`SP_MD_FIELDS`: the pool's keys live in the master's file). Keys that are not known
//! here survive a change of others.

use std::collections::BTreeMap;

use sha1::{Digest, Sha1};
use uuid::Uuid;

use crate::{
    DomainClass, DomainRole, DomainStatus, DomainType, FormatError,
    error::bad_value,
    lines::{split_text, storable, strip_padding},
};

const WHAT: &str = "metadata of a storage domain";
const SEAL: &str = "_SHA_CKSUM";

/// The most bytes that are read.
pub const MAX_SIZE: usize = 64 * 1024;
/// Longest name of a domain and of a pool, characters.
pub const MAX_DESCRIPTION: usize = 50;
/// Versions of storage domains that exist.
pub const VERSIONS: [u32; 5] = [0, 2, 3, 4, 5];

/// Names of the keys.
#[allow(missing_docs, reason = "the names are the meaning")]
pub mod keys {
    pub const VERSION: &str = "VERSION";
    pub const SDUUID: &str = "SDUUID";
    pub const TYPE: &str = "TYPE";
    pub const ROLE: &str = "ROLE";
    pub const DESCRIPTION: &str = "DESCRIPTION";
    pub const CLASS: &str = "CLASS";
    pub const POOL_UUID: &str = "POOL_UUID";
    pub const BLOCK_SIZE: &str = "BLOCK_SIZE";
    pub const ALIGNMENT: &str = "ALIGNMENT";
    pub const LOCKPOLICY: &str = "LOCKPOLICY";
    pub const LOCKRENEWALINTERVALSEC: &str = "LOCKRENEWALINTERVALSEC";
    pub const LEASETIMESEC: &str = "LEASETIMESEC";
    pub const IOOPTIMEOUTSEC: &str = "IOOPTIMEOUTSEC";
    pub const LEASERETRIES: &str = "LEASERETRIES";
    pub const REMOTE_PATH: &str = "REMOTE_PATH";
    pub const POOL_DOMAINS: &str = "POOL_DOMAINS";
    pub const POOL_DESCRIPTION: &str = "POOL_DESCRIPTION";
    pub const POOL_SPM_LVER: &str = "POOL_SPM_LVER";
    pub const POOL_SPM_ID: &str = "POOL_SPM_ID";
    pub const MASTER_VERSION: &str = "MASTER_VERSION";
}

/// Keys without which no domain can be used; a file without checksum that lacks one was cut off.
const REQUIRED: [&str; 6] = [
    keys::VERSION,
    keys::TYPE,
    keys::SDUUID,
    keys::ROLE,
    keys::DESCRIPTION,
    keys::CLASS,
];

/// Parameters of the lease, seconds (tries for the last).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseParams {
    /// `LOCKRENEWALINTERVALSEC`.
    pub renewal_interval: u32,
    /// `LEASETIMESEC`.
    pub lease_time: u32,
    /// `IOOPTIMEOUTSEC`.
    pub io_timeout: u32,
    /// `LEASERETRIES`.
    pub retries: u32,
}

impl Default for LeaseParams {
    fn default() -> Self {
        Self {
            renewal_interval: 5,
            lease_time: 60,
            io_timeout: 10,
            retries: 3,
        }
    }
}

impl LeaseParams {
    /// The parameters of `StoragePool.create`: as given if all are above zero, else the default.
    #[must_use]
    pub fn or_default(self) -> Self {
        let all = [
            self.renewal_interval,
            self.lease_time,
            self.io_timeout,
            self.retries,
        ];
        if all.contains(&0) {
            Self::default()
        } else {
            self
        }
    }
}

/// What a new domain is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDomain {
    /// Its id.
    pub id: Uuid,
    /// What it lives on.
    pub domain_type: DomainType,
    /// What for.
    pub class: DomainClass,
    /// Its name.
    pub name: String,
    /// Version of the format.
    pub version: u32,
    /// Where it is, as the engine names it.
    pub remote_path: String,
    /// 512 or 4096.
    pub block_size: u32,
    /// Bytes of a lease.
    pub alignment: u64,
}

/// The metadata of a storage domain, and of its pool if it is the master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainMetadata {
    values: BTreeMap<String, String>,
    sealed: bool,
}

impl DomainMetadata {
    /// Metadata of a new, unattached domain.
    pub fn new(domain: &NewDomain) -> Result<Self, FormatError> {
        let mut md = Self {
            values: BTreeMap::new(),
            sealed: true,
        };
        md.set(keys::VERSION, &domain.version.to_string())?;
        md.set(keys::SDUUID, &domain.id.to_string())?;
        md.set(keys::TYPE, domain.domain_type.as_str())?;
        md.set(keys::CLASS, domain.class.as_str())?;
        md.set(keys::DESCRIPTION, &domain.name)?;
        md.set(keys::LOCKPOLICY, "")?;
        md.set(keys::REMOTE_PATH, &domain.remote_path)?;
        md.set_role(DomainRole::Regular);
        md.set_pools(&[]);
        md.set_lease_params(LeaseParams::default());
        if domain.version > 4 {
            md.set(keys::ALIGNMENT, &domain.alignment.to_string())?;
            md.set(keys::BLOCK_SIZE, &domain.block_size.to_string())?;
        }
        Ok(md)
    }

    /// Reads the file. Without a checksum it is believed if it is whole (as upstream does), see
    /// [`DomainMetadata::sealed`].
    pub fn parse(data: &[u8]) -> Result<Self, FormatError> {
        if data.len() > MAX_SIZE {
            return Err(FormatError::TooLarge {
                what: WHAT,
                size: data.len(),
                limit: MAX_SIZE,
            });
        }
        let text = std::str::from_utf8(strip_padding(data))
            .map_err(|_| FormatError::NotUtf8 { what: WHAT })?;
        let mut values = BTreeMap::new();
        for line in split_text(text) {
            if let Some((key, value)) = line.split_once('=') {
                values.insert(key.trim().to_owned(), value.to_owned());
            }
        }
        let declared = values.remove(SEAL);
        if values.is_empty() {
            return Err(FormatError::Empty { what: WHAT });
        }
        let sealed = declared.is_some();
        match declared {
            Some(declared) => verify(&values, declared)?,
            None => whole(&values)?,
        }
        Ok(Self { values, sealed })
    }

    /// The file's content.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = String::new();
        for (key, value) in &self.values {
            push_line(&mut text, key, value);
        }
        push_line(&mut text, SEAL, &checksum(&self.values));
        text.into_bytes()
    }

    /// Did the file have a checksum (that was right)?
    pub fn sealed(&self) -> bool {
        self.sealed
    }

    /// A value as it is stored.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// Stores a value. Refuses line breaks: they would break the file for every reader.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), FormatError> {
        if !storable(value) {
            return Err(FormatError::Unwritable {
                key: key.to_owned(),
            });
        }
        self.values.insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    fn put(&mut self, key: &str, value: String) {
        self.values.insert(key.to_owned(), value);
    }

    fn need(&self, key: &'static str) -> Result<&str, FormatError> {
        self.get(key).ok_or(FormatError::MissingKey { key })
    }

    fn number<T: std::str::FromStr>(&self, key: &'static str) -> Result<T, FormatError> {
        let value = self.need(key)?;
        value.trim().parse().map_err(|_| bad_value(key, value))
    }

    fn word<T>(
        &self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, crate::WordError>,
    ) -> Result<T, FormatError> {
        let value = self.need(key)?;
        parse(value).map_err(|_| bad_value(key, value))
    }

    /// Version of the format: one of [`VERSIONS`].
    pub fn version(&self) -> Result<u32, FormatError> {
        let version = self.number(keys::VERSION)?;
        if VERSIONS.contains(&version) {
            Ok(version)
        } else {
            Err(FormatError::UnknownVersion(version.to_string()))
        }
    }

    /// Id of the domain.
    pub fn id(&self) -> Result<Uuid, FormatError> {
        let value = self.need(keys::SDUUID)?;
        Uuid::parse_str(value).map_err(|_| bad_value(keys::SDUUID, value))
    }

    /// What it lives on.
    pub fn domain_type(&self) -> Result<DomainType, FormatError> {
        self.word(keys::TYPE, |w| DomainType::from_word(&w.to_uppercase()))
    }

    /// What for.
    pub fn class(&self) -> Result<DomainClass, FormatError> {
        self.word(keys::CLASS, DomainClass::from_word)
    }

    /// Role in its pool.
    pub fn role(&self) -> Result<DomainRole, FormatError> {
        self.word(keys::ROLE, DomainRole::from_word)
    }

    /// Changes its role.
    pub fn set_role(&mut self, role: DomainRole) {
        self.put(keys::ROLE, role.as_str().to_owned());
    }

    /// Its name; empty if it has none.
    pub fn description(&self) -> &str {
        self.get(keys::DESCRIPTION).unwrap_or_default()
    }

    /// Pools that it says it is in. The nil id of old versions means none.
    pub fn pools(&self) -> Result<Vec<Uuid>, FormatError> {
        let value = self.get(keys::POOL_UUID).unwrap_or_default();
        let mut pools = Vec::new();
        for word in value.split(',').filter(|w| !w.is_empty()) {
            let pool =
                Uuid::parse_str(word.trim()).map_err(|_| bad_value(keys::POOL_UUID, value))?;
            if !pool.is_nil() {
                pools.push(pool);
            }
        }
        Ok(pools)
    }

    /// Changes them.
    pub fn set_pools(&mut self, pools: &[Uuid]) {
        let words: Vec<_> = pools.iter().map(Uuid::to_string).collect();
        self.put(keys::POOL_UUID, words.join(","));
    }

    /// 512 or 4096; before version 5 always 512.
    pub fn block_size(&self) -> Result<u32, FormatError> {
        let size = match self.get(keys::BLOCK_SIZE) {
            None => return Ok(512),
            Some(_) => self.number(keys::BLOCK_SIZE)?,
        };
        match size {
            512 | 4096 => Ok(size),
            other => Err(bad_value(keys::BLOCK_SIZE, &other.to_string())),
        }
    }

    /// Bytes of a lease: 1, 2, 4 or 8 MiB; before version 5 always 1 MiB.
    pub fn alignment(&self) -> Result<u64, FormatError> {
        const MIB: u64 = 1024 * 1024;
        let size: u64 = match self.get(keys::ALIGNMENT) {
            None => return Ok(MIB),
            Some(_) => self.number(keys::ALIGNMENT)?,
        };
        if [MIB, 2 * MIB, 4 * MIB, 8 * MIB].contains(&size) {
            Ok(size)
        } else {
            Err(bad_value(keys::ALIGNMENT, &size.to_string()))
        }
    }

    /// Parameters of the lease; a value that is no number is replaced by the default, as upstream does.
    pub fn lease_params(&self) -> LeaseParams {
        let default = LeaseParams::default();
        LeaseParams {
            renewal_interval: self
                .number(keys::LOCKRENEWALINTERVALSEC)
                .unwrap_or(default.renewal_interval),
            lease_time: self
                .number(keys::LEASETIMESEC)
                .unwrap_or(default.lease_time),
            io_timeout: self
                .number(keys::IOOPTIMEOUTSEC)
                .unwrap_or(default.io_timeout),
            retries: self.number(keys::LEASERETRIES).unwrap_or(default.retries),
        }
    }

    /// Changes them.
    pub fn set_lease_params(&mut self, lease: LeaseParams) {
        self.put(
            keys::LOCKRENEWALINTERVALSEC,
            lease.renewal_interval.to_string(),
        );
        self.put(keys::LEASETIMESEC, lease.lease_time.to_string());
        self.put(keys::IOOPTIMEOUTSEC, lease.io_timeout.to_string());
        self.put(keys::LEASERETRIES, lease.retries.to_string());
    }

    /// Domains of the pool, in the order of the file.
    pub fn pool_domains(&self) -> Result<Vec<(Uuid, DomainStatus)>, FormatError> {
        let value = self.need(keys::POOL_DOMAINS)?;
        let bad = || bad_value(keys::POOL_DOMAINS, value);
        let mut domains: Vec<(Uuid, DomainStatus)> = Vec::new();
        for word in value.split(',').filter(|w| !w.is_empty()) {
            let (id, status) = word.split_once(':').ok_or_else(bad)?;
            let id = Uuid::parse_str(id.trim_matches('\'')).map_err(|_| bad())?;
            let status =
                DomainStatus::from_any_case(status.trim_matches('\'')).map_err(|_| bad())?;
            match domains.iter_mut().find(|(known, _)| *known == id) {
                Some(known) => known.1 = status,
                None => domains.push((id, status)),
            }
        }
        Ok(domains)
    }

    /// Changes them.
    pub fn set_pool_domains(&mut self, domains: &[(Uuid, DomainStatus)]) {
        self.put(keys::POOL_DOMAINS, format_pool_domains(domains));
    }

    /// Name of the pool.
    pub fn pool_description(&self) -> &str {
        self.get(keys::POOL_DESCRIPTION).unwrap_or_default()
    }

    /// Version of the master.
    pub fn master_version(&self) -> Result<i64, FormatError> {
        self.number(keys::MASTER_VERSION)
    }

    /// Changes it.
    pub fn set_master_version(&mut self, version: i64) {
        self.put(keys::MASTER_VERSION, version.to_string());
    }

    /// Host id of the SPM and its lease version, -1 each if there is none.
    pub fn spm(&self) -> Result<(i64, i64), FormatError> {
        Ok((
            self.number(keys::POOL_SPM_ID)?,
            self.number(keys::POOL_SPM_LVER)?,
        ))
    }

    /// Changes the host id of the SPM and, if given, its lease version.
    pub fn set_spm(&mut self, id: i64, lver: Option<i64>) {
        self.put(keys::POOL_SPM_ID, id.to_string());
        if let Some(lver) = lver {
            self.put(keys::POOL_SPM_LVER, lver.to_string());
        }
    }
}

/// Domains as `POOL_DOMAINS` and `StoragePool.getInfo` write them: `id:Status,id:Status`.
pub fn format_pool_domains(domains: &[(Uuid, DomainStatus)]) -> String {
    let words: Vec<_> = domains
        .iter()
        .map(|(id, status)| format!("{id}:{status}"))
        .collect();
    words.join(",")
}

fn push_line(text: &mut String, key: &str, value: &str) {
    text.push_str(key);
    text.push('=');
    text.push_str(value);
    text.push('\n');
}

fn verify(values: &BTreeMap<String, String>, declared: String) -> Result<(), FormatError> {
    let computed = checksum(values);
    if declared == computed {
        Ok(())
    } else {
        Err(FormatError::BrokenSeal {
            declared: crate::error::shorten(&declared),
            computed,
        })
    }
}

fn whole(values: &BTreeMap<String, String>) -> Result<(), FormatError> {
    match REQUIRED.into_iter().find(|key| !values.contains_key(*key)) {
        Some(missing) => Err(FormatError::Truncated {
            what: WHAT,
            missing,
        }),
        None => Ok(()),
    }
}

/// SHA-1 of the lines without line ends, non-ASCII characters as `&#NNN;`.
fn checksum(values: &BTreeMap<String, String>) -> String {
    let mut hash = Sha1::new();
    for (key, value) in values {
        hash.update(ascii(key));
        hash.update(b"=");
        hash.update(ascii(value));
    }
    format!("{:x}", hash.finalize())
}

fn ascii(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() {
            out.push(c as u8);
        } else {
            out.extend_from_slice(format!("&#{};", u32::from(c)).as_bytes());
        }
    }
    out
}
