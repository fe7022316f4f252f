//! The cluster lock of sanlock, through its client library.
//!
//! The library is opened when first needed; where it is missing every call says so. Calls to the daemon may
//! hang with the storage beneath it, so each runs with a deadline, and joining a lockspace (about 20 s when
//! all is well, 2 to 3 minutes after a crash of this host) is asked for without waiting and then inquired.
//!
//! Leases belong to the process: the daemon frees them when the registered connection closes. There is one
//! such connection; if the daemon closes it while leases are held, they are lost, and the next call says so.
//! (Upstream ends its process then; here the policy decides.)
//!
//! Where to look next: `ffi.rs`, the only unsafe code of the crate.

mod ffi;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant},
};

use storage_model::ports::{ClusterLock, ClusterLockError, DomainLock, HostLease};

use crate::pool::Pool;
use ffi::{Connection, Library, Lockspace, Resource};

/// The library's name with the version of its interface.
const LIBRARY: &str = "libsanlock_client.so.1";

/// Bounds of sanlock calls.
#[derive(Debug, Clone)]
pub struct SanlockConfig {
    /// For joining and leaving a lockspace (upstream waits 180 s).
    pub join_timeout: Duration,
    /// For every other call.
    pub timeout: Duration,
    /// Seconds that sanlock gives one I/O (upstream `sanlock.io_timeout`, 10).
    pub io_timeout: u32,
}

impl Default for SanlockConfig {
    fn default() -> Self {
        Self {
            join_timeout: Duration::from_mins(3),
            timeout: Duration::from_mins(1),
            io_timeout: 10,
        }
    }
}

/// sanlock as cluster lock.
pub struct SanlockLock {
    config: SanlockConfig,
    pool: Pool,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    library: OnceLock<Result<Library, String>>,
    connection: Mutex<Registered>,
}

/// The registered connection, and the leases that hang on it.
#[derive(Default)]
struct Registered {
    connection: Option<Connection>,
    leases: Vec<(uuid::Uuid, String)>,
}

impl SanlockLock {
    /// sanlock with these bounds; nothing is opened yet.
    pub fn new(config: SanlockConfig) -> Self {
        Self {
            config,
            pool: Pool::new(4),
            state: Arc::default(),
        }
    }

    /// Is the library there and does the daemon answer? The daemon's version.
    pub fn probe(&self) -> Result<u32, ClusterLockError> {
        self.call("probe", self.config.timeout, |state| {
            state.library("probe")?.version().map_err(error("version"))
        })
    }

    /// Runs one call on a thread of its own.
    fn call<T: Send + 'static>(
        &self,
        verb: &'static str,
        timeout: Duration,
        call: impl FnOnce(&State) -> Result<T, ClusterLockError> + Send + 'static,
    ) -> Result<T, ClusterLockError> {
        let state = self.state.clone();
        let root = || PathBuf::from("sanlock");
        let result = self.pool.run(&root, timeout, move || {
            call(&state).map_err(|e| state.explain(e))
        });
        result.unwrap_or_else(|error| Err(plain(verb, -libc::ETIMEDOUT, error.to_string())))
    }

    /// Waits until the lockspace is ours.
    fn wait_joined(&self, space: &Lockspace) -> Result<(), ClusterLockError> {
        let deadline = Instant::now() + self.config.join_timeout;
        loop {
            let asked = space.clone();
            let answer = self.call("inq_lockspace", self.config.timeout, move |state| {
                Ok(state.library("inq_lockspace")?.inq_lockspace(&asked))
            })?;
            match answer {
                0 => return Ok(()),
                code if code == -libc::EINPROGRESS && Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(500));
                }
                code if code == -libc::EINPROGRESS => {
                    return Err(plain(
                        "add_lockspace",
                        -libc::ETIMEDOUT,
                        "joining takes too long".into(),
                    ));
                }
                // It was being joined and is not there any more: joining failed. The daemon's log knows why.
                code => return Err(error("add_lockspace")(code)),
            }
        }
    }
}

impl Default for SanlockLock {
    fn default() -> Self {
        Self::new(SanlockConfig::default())
    }
}

impl ClusterLock for SanlockLock {
    fn kind(&self) -> &'static str {
        "sanlock"
    }

    fn host_lease(&self, domain: uuid::Uuid, host_id: u32) -> Result<HostLease, ClusterLockError> {
        self.call("get_hosts", self.config.timeout, move |state| {
            let library = state.library("get_hosts")?;
            let host = library.host(&domain.to_string(), host_id.into());
            let host = host.map_err(error("get_hosts"))?;
            Ok(host.map_or(HostLease::Unavailable, |host| host.lease()))
        })
    }

    fn initialize(&self, lock: &DomainLock) -> Result<(), ClusterLockError> {
        let space = lockspace(lock, 0)?;
        let resource = resource(lock)?;
        let io_timeout = self.config.io_timeout;
        self.call("initialize", self.config.timeout, move |state| {
            let library = state.library("write_lockspace")?;
            check(
                "write_lockspace",
                library.write_lockspace(&space, io_timeout),
            )?;
            check("write_resource", library.write_resource(&resource))
        })
    }

    fn acquire_host_id(&self, lock: &DomainLock, host_id: u32) -> Result<(), ClusterLockError> {
        let space = lockspace(lock, host_id)?;
        let asked = space.clone();
        let io_timeout = self.config.io_timeout;
        let answer = self.call(
            "add_lockspace",
            self.config.timeout,
            move |state| match state
                .library("add_lockspace")?
                .add_lockspace(&asked, io_timeout)
            {
                code if code == -libc::ENOENT || code == -libc::ECONNREFUSED => {
                    Err(error("add_lockspace")(code))
                }
                code => Ok(code),
            },
        )?;
        match answer {
            code if code == -libc::EEXIST => Ok(()),
            code if code == 0 || code == -libc::EINPROGRESS => self.wait_joined(&space),
            code if code == -libc::EINVAL => Err(ClusterLockError::Held {
                what: format!("host id {host_id}"),
                why: "this host is in the lockspace with another id".into(),
            }),
            code => Err(error("add_lockspace")(code)),
        }
    }

    fn release_host_id(&self, lock: &DomainLock, host_id: u32) -> Result<(), ClusterLockError> {
        let space = lockspace(lock, host_id)?;
        let answer = self.call("rem_lockspace", self.config.join_timeout, move |state| {
            Ok(state.library("rem_lockspace")?.rem_lockspace(&space))
        })?;
        if answer == -libc::ENOENT {
            Ok(())
        } else {
            check("rem_lockspace", answer)
        }
    }

    fn has_host_id(&self, lock: &DomainLock, host_id: u32) -> Result<bool, ClusterLockError> {
        let space = lockspace(lock, host_id)?;
        let answer = self.call("inq_lockspace", self.config.timeout, move |state| {
            Ok(state.library("inq_lockspace")?.inq_lockspace(&space))
        })?;
        match answer {
            0 => Ok(true),
            code if code == -libc::ENOENT || code == -libc::EINPROGRESS => Ok(false),
            code => Err(error("inq_lockspace")(code)),
        }
    }

    fn acquire(&self, lock: &DomainLock, _host_id: u32) -> Result<(), ClusterLockError> {
        let (domain, name) = (lock.domain, lock.resource.clone());
        let resource = resource(lock)?;
        self.call("acquire", self.config.timeout, move |state| {
            state.acquire(domain, &name, &resource)
        })
    }

    fn release(&self, lock: &DomainLock) -> Result<(), ClusterLockError> {
        let (domain, name) = (lock.domain, lock.resource.clone());
        let resource = resource(lock)?;
        self.call("release", self.config.timeout, move |state| {
            state.release(domain, &name, &resource)
        })
    }

    fn inquire(&self, lock: &DomainLock) -> Result<Option<(u32, u64)>, ClusterLockError> {
        let domain = lock.domain;
        let resource = resource(lock)?;
        self.call("inquire", self.config.timeout, move |state| {
            state.inquire(domain, &resource)
        })
    }
}

impl State {
    fn library(&self, verb: &'static str) -> Result<&Library, ClusterLockError> {
        let loaded = self.library.get_or_init(|| Library::open(LIBRARY));
        loaded.as_ref().map_err(|why| {
            plain(
                verb,
                -libc::ENOENT,
                format!("sanlock is not installed: {why}"),
            )
        })
    }

    /// "No such file" may be the daemon's socket: says so if the daemon does not answer.
    fn explain(&self, error: ClusterLockError) -> ClusterLockError {
        let ClusterLockError::Failed { verb, code, why } = error else {
            return error;
        };
        let silent = |library: &Library| library.version().is_err();
        let missing = code == -libc::ENOENT || code == -libc::ECONNREFUSED;
        if missing && self.library("probe").is_ok_and(silent) {
            return plain(&verb, code, "the sanlock daemon does not run".into());
        }
        ClusterLockError::Failed { verb, code, why }
    }

    fn registered(&self) -> MutexGuard<'_, Registered> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn acquire(
        &self,
        domain: uuid::Uuid,
        name: &str,
        resource: &Resource,
    ) -> Result<(), ClusterLockError> {
        let library = self.library("acquire")?;
        let mut registered = self.registered();
        let key = (domain, name.to_owned());
        if registered.leases.contains(&key) {
            return Ok(());
        }
        loop {
            let connection = registered.connect(library)?;
            match library.acquire(connection, resource) {
                0 => {
                    registered.leases.push(key);
                    return Ok(());
                }
                // The daemon was restarted since: with no lease at stake a new connection will do.
                code if code == -libc::EPIPE => registered.lost("acquire")?,
                code if HELD.contains(&code) => {
                    let why = ffi::meaning(Some(library), code);
                    return Err(ClusterLockError::Held {
                        what: name.to_owned(),
                        why,
                    });
                }
                code => return Err(error("acquire")(code)),
            }
        }
    }

    fn release(
        &self,
        domain: uuid::Uuid,
        name: &str,
        resource: &Resource,
    ) -> Result<(), ClusterLockError> {
        let library = self.library("release")?;
        let mut registered = self.registered();
        let key = (domain, name.to_owned());
        if !registered.leases.contains(&key) {
            return Ok(());
        }
        let connection = registered.connect(library)?;
        match library.release(connection, resource) {
            0 => {
                registered.leases.retain(|held| *held != key);
                Ok(())
            }
            code if code == -libc::EPIPE => registered.lost("release"),
            code => Err(error("release")(code)),
        }
    }

    /// As upstream's `inspect`: an owner that is dead, or has come again since, owns nothing.
    fn inquire(
        &self,
        domain: uuid::Uuid,
        resource: &Resource,
    ) -> Result<Option<(u32, u64)>, ClusterLockError> {
        let library = self.library("inquire")?;
        let (version, owners) = library
            .read_owners(resource)
            .map_err(error("read_resource_owners"))?;
        let Some(owner) = owners.first() else {
            return Ok(None);
        };
        let held = Some((u32::try_from(owner.id).unwrap_or(u32::MAX), version));
        match library.host(&domain.to_string(), owner.id) {
            Ok(Some(host)) if host.generation != owner.generation || host.is_gone() => Ok(None),
            Ok(_) => Ok(held),
            // Not known yet whether that host lives: it may hold the lease.
            Err(code) if code == -libc::EAGAIN => Ok(held),
            Err(code) => Err(error("get_hosts")(code)),
        }
    }
}

impl Registered {
    fn connect(&mut self, library: &Library) -> Result<&Connection, ClusterLockError> {
        if self.connection.is_none() {
            self.connection = Some(library.register().map_err(error("register"))?);
        }
        self.connection
            .as_ref()
            .ok_or_else(|| plain("register", 0, "no connection".into()))
    }

    /// The daemon closed the connection. An error if leases are gone with it.
    fn lost(&mut self, verb: &'static str) -> Result<(), ClusterLockError> {
        self.connection = None;
        let leases = std::mem::take(&mut self.leases);
        if leases.is_empty() {
            tracing::warn!(target: "storage_io", "sanlock closed the connection, registering anew");
            return Ok(());
        }
        tracing::error!(target: "storage_io", ?leases, "sanlock closed the connection, leases are lost");
        let why = format!(
            "sanlock closed the connection, {} leases are lost",
            leases.len()
        );
        Err(plain(verb, -libc::EPIPE, why))
    }
}

/// Answers that mean that someone else has the lease (`sanlock_rv.h`: IDLIVE, OWNED, OTHER, OWNED_RETRY), or
/// that this process has.
const HELD: [i32; 5] = [-243, -244, -245, -247, -libc::EEXIST];

fn plain(verb: &str, code: i32, why: String) -> ClusterLockError {
    ClusterLockError::Failed {
        verb: verb.to_owned(),
        code,
        why,
    }
}

fn error(verb: &'static str) -> impl Fn(i32) -> ClusterLockError {
    move |code| plain(verb, code, ffi::meaning(None, code))
}

fn check(verb: &'static str, code: i32) -> Result<(), ClusterLockError> {
    if code >= 0 {
        Ok(())
    } else {
        Err(error(verb)(code))
    }
}

fn invalid(error: &io::Error) -> ClusterLockError {
    plain("arguments", -libc::EINVAL, error.to_string())
}

fn lockspace(lock: &DomainLock, host_id: u32) -> Result<Lockspace, ClusterLockError> {
    let flags = layout_flags(lock)?;
    Lockspace::new(
        &lock.domain.to_string(),
        host_id,
        path(&lock.ids_path),
        flags,
    )
    .map_err(|e| invalid(&e))
}

fn resource(lock: &DomainLock) -> Result<Resource, ClusterLockError> {
    let flags = layout_flags(lock)?;
    let space = lock.domain.to_string();
    let (path, offset) = (path(&lock.leases_path), lock.resource_offset);
    Resource::new(&space, &lock.resource, path, offset, flags).map_err(|e| invalid(&e))
}

fn path(path: &Path) -> &[u8] {
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes()
}

/// `SANLK_LSF_ALIGN*` and `SANLK_LSF_SECTOR*` (the same numbers as `SANLK_RES_*`); the pairs that sanlock
/// allows.
fn layout_flags(lock: &DomainLock) -> Result<u32, ClusterLockError> {
    const MIB: u64 = 1 << 20;
    match (lock.alignment, lock.block_size) {
        (MIB, 512) => Ok(0x10 | 0x100),
        (MIB, 4096) => Ok(0x10 | 0x200),
        (size, 4096) if size == 2 * MIB => Ok(0x20 | 0x200),
        (size, 4096) if size == 4 * MIB => Ok(0x40 | 0x200),
        (size, 4096) if size == 8 * MIB => Ok(0x80 | 0x200),
        (alignment, block_size) => {
            let why =
                format!("no layout with leases of {alignment} and sectors of {block_size} bytes");
            Err(plain("arguments", -libc::EINVAL, why))
        }
    }
}
