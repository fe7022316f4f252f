//! Small file systems of a test's own, and programs that wait: both need mounts, which only a process with a
//! mount namespace of its own may make. Use them within `guard::isolated!`, which makes one for root.

use std::{
    collections::HashMap,
    env,
    ffi::CString,
    fs,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, mount_remount, unmount};
use tempfile::TempDir;

use super::wait_for;

/// Set by `guard` if this process has mounts of its own.
const OWN_MOUNTS: &str = "VDSM_GUARD_OWN_MOUNTS";

/// May this process mount? If not it says why the test is skipped.
pub fn permitted() -> bool {
    let own = env::var_os(OWN_MOUNTS).is_some();
    if !own {
        println!("skipped: mounts of its own need root");
    }
    own
}

/// A `tmpfs` of a given size; gone when dropped.
pub struct Tmpfs {
    dir: TempDir,
}

impl Tmpfs {
    /// Mounts one; `None`, with the reason printed, where this machine cannot, or where it has no direct I/O.
    pub fn mebibytes(size: usize) -> Option<Self> {
        if !permitted() {
            return None;
        }
        let dir = tempfile::Builder::new().prefix("tmpfs-").tempdir().unwrap();
        let options = CString::new(format!("size={size}m,mode=0777")).unwrap();
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        if let Err(error) = mount("none", dir.path(), "tmpfs", flags, options.as_c_str()) {
            println!("skipped: no tmpfs can be mounted: {error}");
            return None;
        }
        let mounted = Self { dir };
        if mounted.has_direct_io() {
            return Some(mounted);
        }
        println!("skipped: tmpfs has no direct I/O on this kernel");
        None
    }

    fn has_direct_io(&self) -> bool {
        let probe = self.path().join("probe");
        let flags = i32::try_from(rustix::fs::OFlags::DIRECT.bits()).unwrap();
        let opened = fs::File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .custom_flags(flags)
            .open(&probe);
        let _ = fs::remove_file(&probe);
        opened.is_ok()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Forbids or permits writing.
    pub fn read_only(&self, on: bool) {
        let more = if on {
            MountFlags::RDONLY
        } else {
            MountFlags::empty()
        };
        let flags = MountFlags::NOSUID | MountFlags::NODEV | more;
        mount_remount(self.path(), flags, c"").unwrap();
    }

    /// How many files and folders there may be, the root among them.
    pub fn limit_files(&self, count: usize) {
        let options = CString::new(format!("nr_inodes={count}")).unwrap();
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount_remount(self.path(), flags, options.as_c_str()).unwrap();
    }

    /// Takes all that is left but `spare` bytes. The file is to be removed by the caller.
    pub fn fill(&self, spare: u64) -> PathBuf {
        let ballast = self.path().join("ballast");
        let file = fs::File::create(&ballast).unwrap();
        let space = rustix::fs::statvfs(self.path()).unwrap();
        let left = (space.f_bavail * space.f_frsize).saturating_sub(spare);
        if left > 0 {
            let no_flags = rustix::fs::FallocateFlags::empty();
            rustix::fs::fallocate(&file, no_flags, 0, left).unwrap();
        }
        ballast
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = unmount(self.dir.path(), UnmountFlags::DETACH);
    }
}

/// A program that waits at a gate before it does what it is asked for: so who asked it can be met in the middle.
pub struct Slow {
    dir: TempDir,
    program: PathBuf,
}

impl Slow {
    /// A `qemu-img`.
    pub fn qemu_img() -> Option<Self> {
        Self::install("qemu-img", "exec '{real}' \"$@\"")
    }

    /// A QEMU that gives the sign of a guest under KVM (`exec::kvm`), and does nothing else.
    pub fn kvm() -> Option<Self> {
        Self::install("qemu-system-x86_64", "exit 85")
    }

    /// Puts it in the place of the real one, for this process and its children; the gate is open.
    fn install(name: &str, then: &str) -> Option<Self> {
        if !permitted() {
            return None;
        }
        let Some(program) = exec::command::find(name) else {
            println!("skipped: {name} is not installed");
            return None;
        };
        let dir = tempfile::Builder::new().prefix("gate-").tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let script = format!(
            "#!/bin/sh\nwhile [ -e '{}' ]; do sleep 0.01; done\n{}\n",
            at("gate"),
            then.replace("{real}", &at("real")),
        );
        fs::write(at("script"), script).unwrap();
        fs::set_permissions(at("script"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(at("real"), "").unwrap();
        mount_bind(&program, at("real")).unwrap();
        mount_bind(at("script"), &program).unwrap();
        Some(Self { dir, program })
    }

    /// From now on it waits.
    pub fn close(&self) {
        fs::write(self.dir.path().join("gate"), "").unwrap();
    }

    /// How many wait at the closed gate.
    pub fn waiting(&self) -> usize {
        let script = self.program.as_os_str().as_encoded_bytes();
        // Other tests have gates too, in name spaces of their own.
        let ours = fs::read_link("/proc/self/ns/mnt").unwrap();
        let waits = |entry: fs::DirEntry| {
            let space = fs::read_link(entry.path().join("ns/mnt")).ok()?;
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            let mut words = line.split(|byte| *byte == 0);
            let named = words.next()? == b"/bin/sh" && words.next()? == script;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.to_owned();
            (named && space == ours).then_some((entry.file_name().into_string().ok()?, parent))
        };
        let entries = fs::read_dir("/proc").unwrap();
        let waiting: HashMap<_, _> = entries.filter_map(|entry| waits(entry.ok()?)).collect();
        // Between the fork and the exec of its sleep a shell is there twice.
        let forked = |parent: &&String| !waiting.contains_key(*parent);
        waiting.values().filter(forked).count()
    }

    /// Waits until one has come to the closed gate.
    pub fn reached(&self) {
        wait_for("somebody at the gate", || {
            (self.waiting() > 0).then_some(())
        });
    }

    /// Lets it go on.
    pub fn open(&self) {
        fs::remove_file(self.dir.path().join("gate")).unwrap();
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.dir.path().join("gate"));
        let _ = unmount(&self.program, UnmountFlags::DETACH);
        let _ = unmount(self.dir.path().join("real"), UnmountFlags::DETACH);
    }
}
