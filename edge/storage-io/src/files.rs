//! The port `Files` over the local system calls.
//!
//! Links: what is made (`create`, `write_atomic`) is made where it is named, never through a link that
//! someone has put there; what is written in place (`truncate`, `allocate`, `zero`) is not opened through a
//! link. Reading follows links: images and servers are reached by them. Links in the folders *above* a
//! path are followed everywhere; who may write those folders is the policy's matter.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustix::fs::{Access, OFlags};
use storage_model::ports::{FileKind, FileStat, Files, Space};

use crate::{
    allocate::{ALLOCATE_STEP, Target, WRITE_STEP, steps},
    direct,
    pool::Pool,
    roots::{mount_points, root_of},
};

/// Bounds of file access.
#[derive(Debug, Clone)]
pub struct FilesConfig {
    /// How long one call, or one step of a long one, may take (upstream `irs.process_pool_timeout`, 60 s).
    pub timeout: Duration,
    /// Calls that may hang on one root before it answers `TimedOut` at once.
    pub hung_limit: usize,
    /// Folders whose entries are each a storage of their own, e.g. `/rhev/data-center/mnt`.
    pub mount_dirs: Vec<PathBuf>,
}

impl Default for FilesConfig {
    fn default() -> Self {
        let mnt = Path::new("/rhev/data-center/mnt");
        let mount_dirs = vec![mnt.to_owned(), mnt.join("glusterSD"), mnt.join("blockSD")];
        Self {
            timeout: Duration::from_mins(1),
            hung_limit: 3,
            mount_dirs,
        }
    }
}

/// Files of this host, each call bounded.
///
/// A call that timed out may still take effect later, when the storage comes back.
pub struct LocalFiles {
    pool: Pool,
    config: FilesConfig,
}

impl Default for LocalFiles {
    fn default() -> Self {
        Self::new(FilesConfig::default())
    }
}

impl LocalFiles {
    /// Files with these bounds.
    pub fn new(config: FilesConfig) -> Self {
        Self {
            pool: Pool::new(config.hung_limit),
            config,
        }
    }

    /// Calls that hang on the root of this path now.
    pub fn hung(&self, path: &Path) -> usize {
        self.pool.hung(&self.root(path))
    }

    fn root(&self, path: &Path) -> PathBuf {
        root_of(path, &self.config.mount_dirs, &mount_points())
    }

    /// Runs one call with the deadline.
    fn call<T: Send + 'static>(
        &self,
        path: &Path,
        call: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let owned = path.to_owned();
        self.pool
            .run(&|| self.root(path), self.config.timeout, move || {
                call(&owned)
            })?
    }

    /// As `call`, for two paths on the same root.
    fn call2<T: Send + 'static>(
        &self,
        first: &Path,
        second: &Path,
        call: impl FnOnce(&Path, &Path) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let other = first.to_owned();
        self.call(second, move |second| call(&other, second))
    }

    /// Runs the steps of a long write, telling after each how many bytes are done.
    fn in_steps(
        &self,
        path: &Path,
        target: &Arc<Target>,
        steps: impl Iterator<Item = (u64, u64)>,
        progress: &mut dyn FnMut(u64) -> bool,
        step: fn(&Target, u64, u64) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut done = 0;
        for (offset, length) in steps {
            let target = target.clone();
            self.call(path, move |_| step(&target, offset, length))?;
            done += length;
            if !progress(done) {
                return Err(io::Error::new(io::ErrorKind::Interrupted, "asked to stop"));
            }
        }
        let target = target.clone();
        self.call(path, move |_| target.sync())
    }
}

impl Files for LocalFiles {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.call(path, direct::read_whole)
    }

    fn write_atomic(&self, path: &Path, data: &[u8], mode: u32) -> io::Result<()> {
        let data = data.to_vec();
        self.call(path, move |path| write_atomic(path, &data, mode))
    }

    fn create(&self, path: &Path, size: u64, mode: u32) -> io::Result<()> {
        self.call(path, move |path| create(path, size, mode))
    }

    fn truncate(&self, path: &Path, size: u64) -> io::Result<()> {
        self.call(path, move |path| {
            let flags = direct::flags(OFlags::NOFOLLOW);
            let file = File::options().write(true).custom_flags(flags).open(path)?;
            file.set_len(size)?;
            file.sync_all()
        })
    }

    fn allocate(
        &self,
        path: &Path,
        offset: u64,
        length: u64,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> io::Result<()> {
        if length == 0 {
            return Ok(());
        }
        offset
            .checked_add(length)
            .ok_or(io::ErrorKind::InvalidInput)?;
        let first = length.min(ALLOCATE_STEP);
        let (target, native) = self.call(path, move |path| {
            let target = Target::open(path)?;
            let native = target.fallocate(offset, first)?;
            Ok((Arc::new(target), native))
        })?;
        if native {
            let all = steps(offset, length, ALLOCATE_STEP);
            self.in_steps(path, &target, all, progress, |target, offset, length| {
                target.fallocate(offset, length).map(drop)
            })
        } else {
            let all = steps(offset, length, WRITE_STEP);
            self.in_steps(path, &target, all, progress, Target::rewrite)
        }
    }

    fn zero(&self, path: &Path, progress: &mut dyn FnMut(u64) -> bool) -> io::Result<()> {
        let (target, size) = self.call(path, |path| {
            let target = Target::open(path)?;
            let size = target.size()?;
            Ok((Arc::new(target), size))
        })?;
        self.in_steps(
            path,
            &target,
            steps(0, size, WRITE_STEP),
            progress,
            Target::write_zeroes,
        )
    }

    fn make_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.call(path, move |path| {
            DirBuilder::new().mode(mode).create(path)?;
            fs::set_permissions(path, Permissions::from_mode(mode))
                .inspect_err(|_| drop(fs::remove_dir(path)))?;
            sync_parent(path)
        })
    }

    fn hard_link(&self, existing: &Path, link: &Path) -> io::Result<()> {
        self.call2(existing, link, |existing, link| {
            replace_by(link, &|temporary| fs::hard_link(existing, temporary))
        })
    }

    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.call(path, move |path| {
            fs::set_permissions(path, Permissions::from_mode(mode))
        })
    }

    fn symlink(&self, target: &Path, link: &Path) -> io::Result<()> {
        self.call2(target, link, |target, link| {
            replace_by(link, &|temporary| {
                std::os::unix::fs::symlink(target, temporary)
            })
        })
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.call(path, |path| fs::read_link(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.call(path, list)
    }

    fn stat(&self, path: &Path) -> io::Result<FileStat> {
        self.call(path, |path| {
            fs::metadata(path).map(|metadata| file_stat(&metadata))
        })
    }

    fn kind(&self, path: &Path) -> io::Result<FileKind> {
        self.call(path, |path| {
            fs::symlink_metadata(path).map(|m| file_kind(m.file_type()))
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call2(from, to, |from, to| {
            fs::rename(from, to)?;
            sync_parent(to)?;
            if from.parent() == to.parent() {
                Ok(())
            } else {
                sync_parent(from)
            }
        })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.call(path, |path| {
            fs::remove_file(path)?;
            sync_parent(path)
        })
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.call(path, |path| {
            fs::remove_dir(path)?;
            sync_parent(path)
        })
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.call(path, |path| {
            let seen = rustix::fs::statvfs(path)?;
            let bytes = |blocks: u64| blocks.saturating_mul(seen.f_frsize);
            Ok(Space {
                total: bytes(seen.f_blocks),
                free: bytes(seen.f_bavail),
            })
        })
    }

    fn check_access(&self, path: &Path) -> io::Result<()> {
        let wanted = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
        self.call(path, move |path| Ok(rustix::fs::access(path, wanted)?))
    }

    fn read_delay(&self, path: &Path) -> io::Result<f64> {
        self.call(path, direct::read_delay)
    }

    fn probe_block_size(&self, dir: &Path) -> io::Result<u32> {
        self.call(dir, direct::probe_block_size)
    }
}

/// Fsync of the folder that holds a path.
fn sync_parent(path: &Path) -> io::Result<()> {
    let dir = path
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}

/// `path` with something appended to its name.
fn beside(path: &Path, ending: &str) -> io::Result<PathBuf> {
    let mut name = path
        .file_name()
        .ok_or(io::ErrorKind::InvalidInput)?
        .to_owned();
    name.push(ending);
    Ok(path.with_file_name(name))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn write_atomic(path: &Path, data: &[u8], mode: u32) -> io::Result<()> {
    let temporary = beside(path, ".new")?;
    remove_if_there(&temporary)?;
    let fill = || {
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&temporary)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(data)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    fill().inspect_err(|_| drop(fs::remove_file(&temporary)))?;
    sync_parent(path)
}

fn create(path: &Path, size: u64, mode: u32) -> io::Result<()> {
    let file = File::options()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    let fill = || {
        file.set_permissions(Permissions::from_mode(mode))?;
        file.set_len(size)?;
        file.sync_all()
    };
    fill().inspect_err(|_| drop(fs::remove_file(path)))?;
    sync_parent(path)
}

/// Makes something beside `link` and renames it over. Renaming one hard link of a file over another does
/// nothing at all, so what is left is removed.
fn replace_by(link: &Path, make: &dyn Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    let temporary = beside(link, ".new")?;
    remove_if_there(&temporary)?;
    make(&temporary)?;
    let renamed = fs::rename(&temporary, link);
    let cleared = remove_if_there(&temporary);
    renamed.and(cleared)?;
    sync_parent(link)
}

/// Names that are UTF-8; nothing of ours is named otherwise.
fn list(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        names.extend(entry?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

fn file_stat(metadata: &fs::Metadata) -> FileStat {
    FileStat {
        is_dir: metadata.is_dir(),
        size: metadata.len(),
        allocated: metadata.blocks().saturating_mul(512),
        mtime: metadata.mtime(),
        mode: metadata.mode() & 0o7777,
    }
}

fn file_kind(kind: fs::FileType) -> FileKind {
    if kind.is_symlink() {
        FileKind::Symlink
    } else if kind.is_dir() {
        FileKind::Dir
    } else if kind.is_file() {
        FileKind::File
    } else {
        FileKind::Other
    }
}
