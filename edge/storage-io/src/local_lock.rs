//! The explicit substitute for a cluster lock where only one host uses the storage.
//!
//! It does not pretend to be sanlock: on the storage it makes at most the two empty files that sanlock would
//! later initialise. Its truth is in a folder of this host: one lock file per domain (who is host N) and one
//! per lease (who is SPM), locked with `flock` by the agent that holds them, so that a killed agent holds
//! nothing; beside each the record of the newest owner. Two agents of one host exclude each other, two hosts
//! do not: the configuration says so aloud.
//!
//! States of a domain here: not joined, joined as N, joined and holding leases.

use std::{
    collections::HashMap,
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, OFlags, flock},
    io::Errno,
};
use serde::{Deserialize, Serialize};
use storage_model::ports::{ClusterLock, ClusterLockError, DomainLock, HostLease};
use uuid::Uuid;

/// A lock for this host only, in a folder of this host.
#[derive(Debug)]
pub struct LocalLock {
    dir: PathBuf,
    joined: Mutex<HashMap<Uuid, Joined>>,
}

#[derive(Debug)]
struct Joined {
    host_id: u32,
    /// Holds the `flock`.
    _lock: File,
    leases: HashMap<String, File>,
}

/// Who owned a lease last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Owner {
    /// `None`: released.
    host_id: Option<u32>,
    /// Boot in which it was taken.
    boot_id: String,
    /// Process that took it.
    pid: u32,
    /// One more with each owner.
    version: u64,
}

impl LocalLock {
    /// In this folder (made with mode 0700 if missing), which only this host may see.
    pub fn new(dir: impl Into<PathBuf>) -> io::Result<Self> {
        let dir = dir.into();
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        Ok(Self {
            dir,
            joined: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Joined>> {
        self.joined.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn host_file(&self, lock: &DomainLock) -> PathBuf {
        self.dir.join(format!("{}.host", lock.domain))
    }

    /// A lease's file; its name is as harmless as its resource's, which must be.
    fn lease_file(&self, lock: &DomainLock) -> Result<PathBuf, ClusterLockError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if lock.resource.is_empty() || lock.resource.len() > 48 || !lock.resource.bytes().all(plain)
        {
            let why = format!("{:?} cannot name a resource", lock.resource);
            return Err(failed(
                "resource",
                &io::Error::new(io::ErrorKind::InvalidInput, why),
            ));
        }
        Ok(self
            .dir
            .join(format!("{}.lease.{}", lock.domain, lock.resource)))
    }
}

impl ClusterLock for LocalLock {
    fn kind(&self) -> &'static str {
        "local"
    }

    /// Of other hosts nothing is known; that this one lives needs no proof.
    fn host_lease(&self, domain: Uuid, host_id: u32) -> Result<HostLease, ClusterLockError> {
        let joined = self.lock().get(&domain).map(|joined| joined.host_id);
        Ok(if joined == Some(host_id) {
            HostLease::Live
        } else {
            HostLease::Unavailable
        })
    }

    fn initialize(&self, lock: &DomainLock) -> Result<(), ClusterLockError> {
        for path in [&lock.ids_path, &lock.leases_path] {
            make_empty(path).map_err(|error| failed("initialize", &error))?;
        }
        Ok(())
    }

    fn acquire_host_id(&self, lock: &DomainLock, host_id: u32) -> Result<(), ClusterLockError> {
        let mut joined = self.lock();
        if let Some(known) = joined.get(&lock.domain) {
            if known.host_id == host_id {
                return Ok(());
            }
            let why = format!("this agent is host {} of the domain", known.host_id);
            return Err(ClusterLockError::Held {
                what: format!("host id {host_id}"),
                why,
            });
        }
        let what = format!("host id {host_id}");
        let file = take(&self.host_file(lock), &what)?;
        let entry = Joined {
            host_id,
            _lock: file,
            leases: HashMap::new(),
        };
        joined.insert(lock.domain, entry);
        Ok(())
    }

    fn release_host_id(&self, lock: &DomainLock, host_id: u32) -> Result<(), ClusterLockError> {
        let mut joined = self.lock();
        let Some(known) = joined.get(&lock.domain) else {
            return Ok(());
        };
        let refuse = |why: String| {
            Err(failed(
                "release_host_id",
                &io::Error::new(io::ErrorKind::ResourceBusy, why),
            ))
        };
        if known.host_id != host_id {
            return refuse(format!(
                "this agent is host {} of the domain",
                known.host_id
            ));
        }
        if !known.leases.is_empty() {
            return refuse("leases of the domain are still held".into());
        }
        joined.remove(&lock.domain);
        Ok(())
    }

    fn has_host_id(&self, lock: &DomainLock, host_id: u32) -> Result<bool, ClusterLockError> {
        Ok(self
            .lock()
            .get(&lock.domain)
            .is_some_and(|known| known.host_id == host_id))
    }

    fn acquire(&self, lock: &DomainLock, host_id: u32) -> Result<(), ClusterLockError> {
        let path = self.lease_file(lock)?;
        let mut joined = self.lock();
        let Some(known) = joined
            .get_mut(&lock.domain)
            .filter(|known| known.host_id == host_id)
        else {
            let why = format!("this agent is not host {host_id} of the domain");
            return Err(failed(
                "acquire",
                &io::Error::new(io::ErrorKind::NotFound, why),
            ));
        };
        if known.leases.contains_key(&lock.resource) {
            return Ok(());
        }
        let file = take(&path, &lock.resource)?;
        let version = read_owner(&path).map_or(0, |owner| owner.version) + 1;
        let owner = Owner {
            host_id: Some(host_id),
            boot_id: boot_id(),
            pid: std::process::id(),
            version,
        };
        write_owner(&path, &owner).map_err(|error| failed("acquire", &error))?;
        known.leases.insert(lock.resource.clone(), file);
        Ok(())
    }

    fn release(&self, lock: &DomainLock) -> Result<(), ClusterLockError> {
        let path = self.lease_file(lock)?;
        let mut joined = self.lock();
        let Some(known) = joined.get_mut(&lock.domain) else {
            return Ok(());
        };
        if !known.leases.contains_key(&lock.resource) {
            return Ok(());
        }
        if let Some(owner) = read_owner(&path) {
            let released = Owner {
                host_id: None,
                ..owner
            };
            write_owner(&path, &released).map_err(|error| failed("release", &error))?;
        }
        known.leases.remove(&lock.resource);
        Ok(())
    }

    fn inquire(&self, lock: &DomainLock) -> Result<Option<(u32, u64)>, ClusterLockError> {
        let path = self.lease_file(lock)?;
        let joined = self.lock();
        let Some(owner) = read_owner(&path) else {
            return Ok(None);
        };
        let Some(host_id) = owner.host_id else {
            return Ok(None);
        };
        let ours = joined
            .get(&lock.domain)
            .is_some_and(|known| known.leases.contains_key(&lock.resource));
        let held = ours || is_locked(&path).map_err(|error| failed("inquire", &error))?;
        Ok(held.then_some((host_id, owner.version)))
    }
}

fn failed(verb: &str, error: &io::Error) -> ClusterLockError {
    let code = error.raw_os_error().unwrap_or(0);
    ClusterLockError::Failed {
        verb: verb.to_owned(),
        code,
        why: error.to_string(),
    }
}

/// Makes an empty file where sanlock's would be; what is there stays.
fn make_empty(path: &Path) -> io::Result<()> {
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    File::options()
        .append(true)
        .create(true)
        .mode(0o660)
        .custom_flags(flags)
        .open(path)
        .map(drop)
}

fn open(path: &Path) -> io::Result<File> {
    File::options()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

/// Locks a file, or says who holds it. Tries for a moment: someone may just be asking whether it is held.
fn take(path: &Path, what: &str) -> Result<File, ClusterLockError> {
    let file = open(path).map_err(|error| failed("lock", &error))?;
    for _ in 0..10 {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(Errno::WOULDBLOCK) => thread::sleep(Duration::from_millis(10)),
            Err(errno) => return Err(failed("lock", &errno.into())),
        }
    }
    let owner =
        read_owner(path).map_or_else(String::new, |owner| format!(" (process {})", owner.pid));
    let why = format!("another agent of this host has it{owner}");
    Err(ClusterLockError::Held {
        what: what.to_owned(),
        why,
    })
}

/// Does anyone hold it?
fn is_locked(path: &Path) -> io::Result<bool> {
    match flock(open(path)?, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(errno) => Err(errno.into()),
    }
}

/// The record beside a lock file. Damaged or missing is none: then versions begin anew.
fn read_owner(path: &Path) -> Option<Owner> {
    let data = fs::read(path.with_added_extension("owner")).ok()?;
    serde_json::from_slice(&data).ok()
}

/// Replaces the record: temporary file, fsync, rename. Only the holder of the lock writes.
fn write_owner(path: &Path, owner: &Owner) -> io::Result<()> {
    let record = path.with_added_extension("owner");
    let temporary = path.with_added_extension("owner.new");
    let file = File::create(&temporary)?;
    serde_json::to_writer(&file, owner)?;
    file.sync_all()?;
    fs::rename(&temporary, &record)
}

fn boot_id() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(dir: &Path) -> DomainLock {
        DomainLock {
            domain: Uuid::from_u128(7),
            ids_path: dir.join("ids"),
            leases_path: dir.join("leases"),
            resource: "SDM".into(),
            resource_offset: 1 << 20,
            block_size: 512,
            alignment: 1 << 20,
        }
    }

    #[test]
    fn a_whole_life() {
        let dir = tempfile::tempdir().unwrap();
        let lock = LocalLock::new(dir.path().join("locks")).unwrap();
        let domain = domain(dir.path());
        assert_eq!(lock.kind(), "local");
        fs::write(&domain.ids_path, b"what is there stays").unwrap();
        lock.initialize(&domain).unwrap();
        assert_eq!(fs::read(&domain.ids_path).unwrap(), b"what is there stays");
        assert_eq!(fs::read(&domain.leases_path).unwrap(), b"");
        assert!(
            matches!(
                lock.acquire(&domain, 1),
                Err(ClusterLockError::Failed { .. })
            ),
            "not joined"
        );
        assert_eq!(lock.inquire(&domain).unwrap(), None);
        lock.acquire_host_id(&domain, 1).unwrap();
        lock.acquire_host_id(&domain, 1).unwrap();
        assert!(matches!(
            lock.acquire_host_id(&domain, 2),
            Err(ClusterLockError::Held { .. })
        ));
        assert!(lock.has_host_id(&domain, 1).unwrap() && !lock.has_host_id(&domain, 2).unwrap());
        assert!(lock.acquire(&domain, 2).is_err());
        lock.acquire(&domain, 1).unwrap();
        lock.acquire(&domain, 1).unwrap();
        assert_eq!(lock.inquire(&domain).unwrap(), Some((1, 1)));
        assert!(lock.release_host_id(&domain, 1).is_err(), "a lease is held");
        lock.release(&domain).unwrap();
        lock.release(&domain).unwrap();
        assert_eq!(lock.inquire(&domain).unwrap(), None);
        lock.acquire(&domain, 1).unwrap();
        assert_eq!(
            lock.inquire(&domain).unwrap(),
            Some((1, 2)),
            "one more with each owner"
        );
        lock.release(&domain).unwrap();
        assert!(lock.release_host_id(&domain, 2).is_err());
        lock.release_host_id(&domain, 1).unwrap();
        lock.release_host_id(&domain, 1).unwrap();
        assert!(!lock.has_host_id(&domain, 1).unwrap());
        assert_eq!(
            fs::metadata(&domain.leases_path).unwrap().len(),
            0,
            "nothing on the storage"
        );
    }

    /// Two agents of one host; `flock` is by open file, so two locks in one process are like two processes.
    #[test]
    fn two_agents_exclude_each_other_and_a_dead_one_holds_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let domain = domain(dir.path());
        let first = LocalLock::new(dir.path()).unwrap();
        let second = LocalLock::new(dir.path()).unwrap();
        first.acquire_host_id(&domain, 1).unwrap();
        first.acquire(&domain, 1).unwrap();
        let held = second.acquire_host_id(&domain, 1);
        assert!(
            matches!(held, Err(ClusterLockError::Held { .. })),
            "{held:?}"
        );
        assert_eq!(
            second.inquire(&domain).unwrap(),
            Some((1, 1)),
            "the other sees the owner"
        );
        drop(first);
        assert_eq!(
            second.inquire(&domain).unwrap(),
            None,
            "gone without release"
        );
        second.acquire_host_id(&domain, 2).unwrap();
        second.acquire(&domain, 2).unwrap();
        assert_eq!(second.inquire(&domain).unwrap(), Some((2, 2)));
    }

    #[test]
    fn a_damaged_record_and_an_odd_name() {
        let dir = tempfile::tempdir().unwrap();
        let lock = LocalLock::new(dir.path()).unwrap();
        let mut domain = domain(dir.path());
        lock.acquire_host_id(&domain, 1).unwrap();
        let owner = lock
            .lease_file(&domain)
            .unwrap()
            .with_added_extension("owner");
        fs::write(&owner, b"{\"host").unwrap();
        assert_eq!(lock.inquire(&domain).unwrap(), None);
        lock.acquire(&domain, 1).unwrap();
        assert_eq!(lock.inquire(&domain).unwrap(), Some((1, 1)));
        domain.resource = "../x".into();
        assert!(lock.acquire(&domain, 1).is_err() && lock.inquire(&domain).is_err());
    }
}
