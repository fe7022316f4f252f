//! The ports through which the storage policy reaches the world.
//!
//! Blocking on purpose; every implementation bounds each call by a deadline and answers
//! [`std::io::ErrorKind::TimedOut`] or [`QemuImgError::TimedOut`] when it passes.
//! Implemented by `edge/storage-io` (for real) and `lab/sim` (stateful fakes).

use std::{
    io,
    path::{Path, PathBuf},
};

use uuid::Uuid;

/// The file system beneath storage domains. Only what the policy needs, each call whole:
/// an implementation may run it in a worker process that can be killed.
pub trait Files: Send + Sync {
    /// Reads a whole small file (at most 1 MiB; larger is `InvalidData`).
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Replaces a file: temporary file beside it, fsync, rename, fsync of the folder. The temporary file is
    /// always `<path>.new` (upstream's name, which its readers skip), an older one is overwritten; the
    /// file gets exactly `mode`.
    fn write_atomic(&self, path: &Path, data: &[u8], mode: u32) -> io::Result<()>;
    /// Makes a sparse file of `size` bytes with exactly `mode` (no umask). `AlreadyExists` if it is there.
    fn create(&self, path: &Path, size: u64, mode: u32) -> io::Result<()>;
    /// Grows or shrinks a file (sparse).
    fn truncate(&self, path: &Path, size: u64) -> io::Result<()>;
    /// Allocates all blocks of `offset..offset+length`, growing the file if needed; reports bytes done
    /// through `progress`, which answers false to stop (`Interrupted`).
    fn allocate(
        &self,
        path: &Path,
        offset: u64,
        length: u64,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> io::Result<()>;
    /// Overwrites all of a file with zeroes, with progress as in `allocate`.
    fn zero(&self, path: &Path, progress: &mut dyn FnMut(u64) -> bool) -> io::Result<()>;
    /// Makes a folder with exactly `mode`; `AlreadyExists` if it is there.
    fn make_dir(&self, path: &Path, mode: u32) -> io::Result<()>;
    /// Makes a hard link, replacing an older `link` atomically by way of `<link>.new` (templates share their files with the
    /// images made from them).
    fn hard_link(&self, existing: &Path, link: &Path) -> io::Result<()>;
    /// Sets the permission bits.
    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()>;
    /// Makes a symbolic link, replacing an older one atomically by way of `<link>.new`.
    fn symlink(&self, target: &Path, link: &Path) -> io::Result<()>;
    /// Reads a symbolic link.
    fn read_link(&self, path: &Path) -> io::Result<PathBuf>;
    /// Names within a folder, sorted.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// What a path is (links followed).
    fn stat(&self, path: &Path) -> io::Result<FileStat>;
    /// What a path is (links not followed): what removing a tree must ask.
    fn kind(&self, path: &Path) -> io::Result<FileKind>;
    /// Renames, and syncs the folder(s).
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file or link.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty folder.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Space on the file system of a path.
    fn space(&self, path: &Path) -> io::Result<Space>;
    /// Can the agent read, write and search this folder?
    fn check_access(&self, path: &Path) -> io::Result<()>;
    /// Time, in seconds, that one direct (uncached) read of the file's first block takes: the domain's `delay`.
    fn read_delay(&self, path: &Path) -> io::Result<f64>;
    /// Finds the block size of direct I/O (512 or 4096) in this folder.
    fn probe_block_size(&self, dir: &Path) -> io::Result<u32>;
}

/// What a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStat {
    /// A folder?
    pub is_dir: bool,
    /// Bytes.
    pub size: u64,
    /// Bytes really allocated.
    pub allocated: u64,
    /// Seconds since 1970 of the last change of content.
    pub mtime: i64,
    /// Permission bits (`0o7777`).
    pub mode: u32,
}

/// What a path is, links not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A folder.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A device, pipe or socket.
    Other,
}

/// Space of a file system, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// All.
    pub total: u64,
    /// Free for the agent.
    pub free: u64,
}

/// `qemu-img`, the verbs that volumes need. Formats are `raw` and `qcow2`.
pub trait QemuImg: Send + Sync {
    /// `qemu-img create`; with a backing file also `-u` (the size is given, the chain need not be readable).
    fn create(&self, request: &CreateImage) -> Result<(), QemuImgError>;
    /// `qemu-img info --output json -U` of one image, not its chain; the image may be in use.
    fn info(&self, path: &Path, trusted_format: Option<&str>) -> Result<ImageInfo, QemuImgError>;
    /// `qemu-img measure -U`: bytes needed in the target format; the image may be in use.
    fn measure(
        &self,
        path: &Path,
        format: &str,
        target: &str,
        backing: bool,
    ) -> Result<Measure, QemuImgError>;
    /// `qemu-img resize` (grows only).
    fn resize(&self, path: &Path, format: &str, size: u64) -> Result<(), QemuImgError>;
}

/// What `qemu-img create` is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateImage {
    /// The file, which may exist.
    pub path: PathBuf,
    /// `raw` or `qcow2`.
    pub format: String,
    /// Virtual size, bytes.
    pub size: u64,
    /// Backing file and its format; the name is stored as given and resolved from the image's folder.
    pub backing: Option<(String, String)>,
    /// qcow2 compat level, `0.10` or `1.1`.
    pub compat: Option<String>,
}

/// `qemu-img info`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageInfo {
    /// `raw`, `qcow2`.
    pub format: String,
    /// Virtual size, bytes.
    pub virtual_size: u64,
    /// Bytes allocated.
    pub actual_size: u64,
    /// Name of the backing file as stored.
    pub backing_file: Option<String>,
    /// Bytes of a cluster.
    pub cluster_size: Option<u64>,
    /// qcow2 compat level.
    pub compat: Option<String>,
}

/// `qemu-img measure`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measure {
    /// Bytes for the data there is.
    pub required: u64,
    /// Bytes if all of it were written.
    pub fully_allocated: u64,
    /// Bytes for bitmaps.
    pub bitmaps: Option<u64>,
}

/// Why `qemu-img` did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QemuImgError {
    /// It said no.
    #[error("qemu-img {verb} failed with exit code {code}: {stderr}")]
    Failed {
        /// `create`, `info`, ...
        verb: String,
        /// Exit code.
        code: i32,
        /// What it wrote, shortened.
        stderr: String,
    },
    /// It did not end in time and was killed.
    #[error("qemu-img {verb} did not end in time")]
    TimedOut {
        /// `create`, `info`, ...
        verb: String,
    },
    /// It could not be started, or its report not be read.
    #[error("qemu-img {verb}: {why}")]
    Broken {
        /// `create`, `info`, ...
        verb: String,
        /// Why.
        why: String,
    },
}

/// The cluster lock of a storage domain: who may be host N, who is SPM. sanlock, or a single-host substitute.
pub trait ClusterLock: Send + Sync {
    /// Name for logs and `getInfo`: `sanlock` or `local`.
    fn kind(&self) -> &'static str;
    /// Writes an empty lockspace and the SPM lease into `ids` and `leases` (of a new domain).
    fn initialize(&self, lock: &DomainLock) -> Result<(), ClusterLockError>;
    /// Joins the lockspace as host `host_id`. Idempotent for the same id.
    fn acquire_host_id(&self, lock: &DomainLock, host_id: u32) -> Result<(), ClusterLockError>;
    /// Leaves it.
    fn release_host_id(&self, lock: &DomainLock, host_id: u32) -> Result<(), ClusterLockError>;
    /// Is it ours now?
    fn has_host_id(&self, lock: &DomainLock, host_id: u32) -> Result<bool, ClusterLockError>;
    /// Takes the SPM lease.
    fn acquire(&self, lock: &DomainLock, host_id: u32) -> Result<(), ClusterLockError>;
    /// Gives it back.
    fn release(&self, lock: &DomainLock) -> Result<(), ClusterLockError>;
    /// Who holds it: host id and lease version.
    fn inquire(&self, lock: &DomainLock) -> Result<Option<(u32, u64)>, ClusterLockError>;
    /// Does a host renew its lease in a lockspace that this host has joined? Asks the lock manager alone, never
    /// the storage. A lock manager that does not see other hosts cannot tell.
    fn host_lease(&self, domain: Uuid, host_id: u32) -> Result<HostLease, ClusterLockError> {
        let _ = (domain, host_id);
        Ok(HostLease::Unavailable)
    }
}

/// A host's lease on its id in a lockspace, as upstream calls it (`clusterlock.py`); times are those of sanlock's
/// default I/O timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostLease {
    /// It cannot be told.
    Unavailable,
    /// There is one, and not yet known whether it is renewed.
    Unknown,
    /// The host has none.
    Free,
    /// Renewed within the last 80 s.
    Live,
    /// Not renewed for 80 s.
    Fail,
    /// Not renewed for 140 s.
    Dead,
}

/// Where the lock of a domain lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainLock {
    /// The domain: name of the lockspace.
    pub domain: Uuid,
    /// `dom_md/ids`.
    pub ids_path: PathBuf,
    /// `dom_md/leases`.
    pub leases_path: PathBuf,
    /// Name of the SPM resource: `SDM` (V4+) at offset 1 MiB, as upstream.
    pub resource: String,
    /// Offset of that resource in `leases`.
    pub resource_offset: u64,
    /// Bytes of a sector: 512 or 4096.
    pub block_size: u32,
    /// Bytes of a lease: 1 MiB, 2 MiB, ...
    pub alignment: u64,
}

/// Why the cluster lock refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClusterLockError {
    /// Someone else holds it.
    #[error("{what} is held by another host: {why}")]
    Held {
        /// Host id or resource.
        what: String,
        /// What the lock manager said.
        why: String,
    },
    /// The daemon is not there, or anything else.
    #[error("{verb}: {why} (error {code})")]
    Failed {
        /// The call.
        verb: String,
        /// Its error number.
        code: i32,
        /// Its meaning.
        why: String,
    },
}

/// Wall clock, for time stamps in metadata only.
pub trait WallClock: Send + Sync {
    /// Seconds since 1970.
    fn now(&self) -> u64;
}

/// Gives folders to the agent, which only root may: the root helper.
pub trait Ownership: Send + Sync {
    /// Makes a folder the agent's own (user and group as configured, mode 0755). Idempotent. An error of
    /// [`OwnershipError::Unknown`] may have come after the act.
    fn take(&self, folder: &Path) -> Result<(), OwnershipError>;
}

/// Why a folder is not the agent's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OwnershipError {
    /// It is beneath none of the folders that may be given; nobody was asked.
    #[error("{} is not beneath an allowed root", .0.display())]
    Outside(PathBuf),
    /// Whoever may do it refused; nothing was done.
    #[error("refused: {0}")]
    Refused(String),
    /// Nobody was there, or nobody answered in time; it may have been done.
    #[error("not known to be done: {0}")]
    Unknown(String),
}

/// How a long operation tells of itself and hears that it shall stop. Implemented over the task framework.
pub trait Journal: Send + Sync {
    /// Persists how to undo what comes next, **before** it is done. Undone last first.
    fn push_undo(&self, step: UndoStep) -> Result<(), JournalError>;
    /// Percent done, 0 to 100.
    fn progress(&self, percent: u8);
    /// Has someone asked to stop?
    fn cancelled(&self) -> bool;
}

/// One step back, as data: it must mean the same to the next process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndoStep {
    /// Name of the step, e.g. `delete_volume`.
    pub name: String,
    /// Its arguments.
    pub args: Vec<(String, String)>,
}

/// The step could not be persisted: the operation must not go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot persist the undo step: {0}")]
pub struct JournalError(pub String);
