//! The folder in which a helper and its clients leave word for one another. Root's alone, gone with the boot
//! (`/run`): nothing in it is a client's after that.
//!
//! | file | written by | says |
//! |---|---|---|
//! | `LINK.FAMILY.wanted` | the helper, before it starts a client | that there shall be one, and which |
//! | `LINK.FAMILY.lock` | | held by a client as long as it lives: never two |
//! | `LINK.FAMILY.process` | the client, holding the lock | its number and start time |
//! | `LINK.FAMILY.brought` | the client, before it touches the kernel | what it put there, and what it is about to |
//! | `resolv.lock` | | held while name servers are written |
//!
//! A client says who it is *before* it looks whether it is wanted; the helper takes the wish back *before* it looks
//! who runs. So either the client sees that it is not wanted, or the helper sees the client.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use exec::Process;
use net_model::{DhcpClient, Family, IfName};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::lease::Brought;

const WANTED: &str = "wanted";
const PROCESS: &str = "process";
const BROUGHT: &str = "brought";
/// Most that is read of a small file.
const MOST: u64 = 1 << 20;

/// Which client: at most one for an interface and a family.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Key {
    /// The interface.
    pub(super) link: IfName,
    /// The family.
    pub(super) family: Family,
}

impl Key {
    /// Of the name of a file of this kind.
    fn parse(file: &str, kind: &str) -> Option<Self> {
        let stem = file.strip_suffix(kind)?.strip_suffix('.')?;
        let (link, family) = stem.rsplit_once('.')?;
        let family = match family {
            "v4" => Family::V4,
            "v6" => Family::V6,
            _ => return None,
        };
        let link = IfName::new(link).ok()?;
        Some(Self { link, family })
    }

    /// `eth0.v4`; an interface may have dots in its name, the family has none.
    fn name(&self) -> String {
        let family = match self.family {
            Family::V4 => "v4",
            Family::V6 => "v6",
        };
        format!("{}.{family}", self.link)
    }
}

/// That there shall be a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wanted {
    pub(super) key: Key,
    pub(super) client: DhcpClient,
}

/// What a client brought, and how long its lease holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Remembered {
    pub(super) brought: Brought,
    /// Seconds since the machine's start, monotonic; nothing: no lease, or one for ever.
    pub(super) until: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct Identity {
    pid: i32,
    start_time: u64,
}

/// The folder.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    dir: PathBuf,
}

impl Folder {
    /// The folder; made if missing.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)?;
        let dir = dir.to_owned();
        Ok(Self { dir })
    }

    pub(super) fn path(&self) -> &Path {
        &self.dir
    }

    pub(super) fn want(&self, wanted: &Wanted) -> io::Result<()> {
        write(&self.file(&wanted.key, WANTED), wanted)
    }

    pub(super) fn unwant(&self, key: &Key) -> io::Result<bool> {
        persist::remove_durably(&self.file(key, WANTED))
    }

    pub(super) fn wanted(&self, key: &Key) -> io::Result<Option<Wanted>> {
        read(&self.file(key, WANTED))
    }

    /// All that are wanted. A damaged record is told and counts as none.
    pub(super) fn all_wanted(&self) -> io::Result<Vec<Wanted>> {
        let mut all = Vec::new();
        for key in self.keys(WANTED)? {
            match self.wanted(&key) {
                Ok(wanted) => all.extend(wanted),
                Err(error) => {
                    tracing::error!(?key, %error, "the record of a DHCP client is damaged");
                }
            }
        }
        Ok(all)
    }

    /// Clients that brought something and are not wanted: a stop was cut off.
    pub(super) fn orphans(&self) -> io::Result<Vec<Key>> {
        let wanted = self.keys(WANTED)?;
        let mut all = self.keys(BROUGHT)?;
        all.retain(|it| !wanted.contains(it));
        Ok(all)
    }

    fn keys(&self, kind: &str) -> io::Result<Vec<Key>> {
        let mut keys = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let name = entry?.file_name();
            keys.extend(name.to_str().and_then(|name| Key::parse(name, kind)));
        }
        keys.sort();
        Ok(keys)
    }

    /// The client that runs, if one does.
    pub(super) fn process(&self, key: &Key) -> Option<Process> {
        let identity: Identity = read(&self.file(key, PROCESS)).ok()??;
        let process = Process {
            pid: identity.pid,
            start_time: identity.start_time,
        };
        process.is_alive().then_some(process)
    }

    /// Says who this process is.
    pub(super) fn enlist(&self, key: &Key) -> io::Result<()> {
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let process = Process::find(pid).ok_or(io::ErrorKind::NotFound)?;
        let identity = Identity {
            pid,
            start_time: process.start_time,
        };
        write(&self.file(key, PROCESS), &identity)
    }

    pub(super) fn remembered(&self, key: &Key) -> io::Result<Remembered> {
        Ok(read(&self.file(key, BROUGHT))?.unwrap_or_default())
    }

    pub(super) fn remember(&self, key: &Key, what: &Remembered) -> io::Result<()> {
        write(&self.file(key, BROUGHT), what)
    }

    /// Nothing of this client is left.
    pub(super) fn forget(&self, key: &Key) -> io::Result<()> {
        for kind in [PROCESS, BROUGHT] {
            persist::remove_durably(&self.file(key, kind))?;
        }
        Ok(())
    }

    /// The lock of a client; nothing if another has it for so long.
    pub(super) fn lock(&self, key: &Key, wait: Duration) -> io::Result<Option<File>> {
        lock(&self.file(key, "lock"), wait)
    }

    /// The lock on name servers.
    pub(super) fn lock_nameservers(&self, wait: Duration) -> io::Result<Option<File>> {
        lock(&self.dir.join("resolv.lock"), wait)
    }

    fn file(&self, key: &Key, kind: &str) -> PathBuf {
        self.dir.join(format!("{}.{kind}", key.name()))
    }
}

fn lock(path: &Path, wait: Duration) -> io::Result<Option<File>> {
    let until = Instant::now() + wait;
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    use io::Read as _;
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(MOST).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some(serde_json::from_slice(&bytes)?))
}

fn write<T: Serialize>(path: &Path, what: &T) -> io::Result<()> {
    persist::write_atomic(path, &serde_json::to_vec(what)?, 0o600)
}
