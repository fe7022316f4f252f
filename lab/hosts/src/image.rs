//! Where the lab keeps its things, and the image that hosts boot from. `lab/hosts/image/build.sh` makes it.
//!
//! ```text
//! $LAB_DIR (else ${XDG_CACHE_HOME:-~/.cache}/vdsm-rs/lab)
//!   current -> images/<hash of the inputs>/
//!       root.img  vmlinuz  initrd  key  known_hosts
//!       layers/<name>/            see snapshot.rs
//!   run/<owner>/                  what runs now, see lab.rs
//!   standing/                     the hosts of `make lab`
//! ```

use std::{
    env,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{LabError, Result};

/// QEMU's program.
pub(crate) const QEMU: &str = "qemu-system-x86_64";

/// The lab's folder: `LAB_DIR`, else below the user's cache.
pub fn lab_dir() -> PathBuf {
    if let Some(dir) = env::var_os("LAB_DIR").filter(|dir| !dir.is_empty()) {
        return dir.into();
    }
    let cache = env::var_os("XDG_CACHE_HOME")
        .filter(|dir| !dir.is_empty())
        .map_or_else(
            || PathBuf::from(env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(".cache"),
            PathBuf::from,
        );
    cache.join("vdsm-rs/lab")
}

/// An image.
#[derive(Debug, Clone)]
pub struct Image {
    dir: PathBuf,
}

impl Image {
    /// The one that was built last.
    pub fn current() -> Result<Self> {
        let link = lab_dir().join("current");
        let dir = link
            .canonicalize()
            .map_err(|_| LabError::NoImage { dir: lab_dir() })?;
        let image = Self { dir };
        if image.root().is_file() && image.kernel().is_file() {
            Ok(image)
        } else {
            Err(LabError::NoImage { dir: image.dir })
        }
    }

    /// The one in this folder.
    pub(crate) fn at(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.join("root.img")
    }

    pub(crate) fn kernel(&self) -> PathBuf {
        self.dir.join("vmlinuz")
    }

    pub(crate) fn initrd(&self) -> PathBuf {
        self.dir.join("initrd")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.dir.join("key")
    }

    pub(crate) fn known_hosts(&self) -> PathBuf {
        self.dir.join("known_hosts")
    }
}

/// KVM or software, decided once for each start of the machine (the probe can take seconds where KVM hangs).
/// `VDSM_LAB_ACCEL=kvm|tcg` decides instead.
pub(crate) fn accelerator() -> &'static str {
    match env::var("VDSM_LAB_ACCEL").as_deref() {
        Ok("kvm") => return "kvm",
        Ok("tcg") => return "tcg",
        _ => {}
    }
    let note = lab_dir().join("accelerator");
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let known = std::fs::read_to_string(&note).unwrap_or_default();
    if let Some(verdict) = known.strip_prefix(boot.as_str()) {
        return if verdict == "kvm" { "kvm" } else { "tcg" };
    }
    let works = exec::kvm::probe(QEMU, Duration::from_secs(5)).works();
    let verdict = if works { "kvm" } else { "tcg" };
    // Not kept: asked again next time.
    let _ = std::fs::write(&note, format!("{boot}{verdict}"));
    verdict
}
