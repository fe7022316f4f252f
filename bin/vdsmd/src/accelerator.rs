//! How guests run: KVM only if a few bytes boot under it, else software emulation, said plainly.
//!
//! A KVM that hangs costs the probe's whole deadline, so its verdict is kept in the run folder: it holds until the
//! host or QEMU changes, and an agent that starts again after a crash does not wait.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Result, bail};
use config::{Accelerator, Config};
use exec::kvm;
use serde::{Deserialize, Serialize};

/// The program that guests run in.
const EMULATOR: &str = "qemu-system-x86_64";
/// How long a few bytes may take to boot under KVM.
const PROBE: Duration = Duration::from_secs(5);
/// New at each boot of the host.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Do guests run under KVM?
pub(crate) fn kvm_works(config: &Config) -> Result<bool> {
    let wanted = config.vars.accelerator;
    if wanted == Accelerator::Tcg {
        tracing::info!("guests run by software emulation, as configured");
        return Ok(false);
    }
    let verdict = Verdict::kept_or_probed(&config.vars.run_dir.join("kvm.json"));
    if verdict.works {
        tracing::info!("guests run under KVM");
        return Ok(true);
    }
    if wanted == Accelerator::Kvm {
        bail!("[vars] accelerator = kvm, but {}", verdict.words);
    }
    tracing::warn!(
        "{}: guests run by software emulation, which is slow",
        verdict.words
    );
    Ok(false)
}

/// What the probe found, and under which circumstances.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Verdict {
    works: bool,
    words: String,
    circumstances: Circumstances,
}

/// A verdict holds while these stay as they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Circumstances {
    boot: String,
    /// Device, inode, change time of QEMU and of /dev/kvm (whose mode may change).
    files: Vec<Option<(u64, u64, i64, i64)>>,
}

impl Circumstances {
    fn now() -> Self {
        let emulator = exec::command::find(EMULATOR).unwrap_or_else(|| PathBuf::from(EMULATOR));
        let identity = |path: &Path| {
            let it = fs::metadata(path).ok()?;
            Some((it.dev(), it.ino(), it.ctime(), it.ctime_nsec()))
        };
        Self {
            boot: fs::read_to_string(BOOT_ID)
                .unwrap_or_default()
                .trim()
                .to_owned(),
            files: vec![identity(&emulator), identity(Path::new("/dev/kvm"))],
        }
    }
}

impl Verdict {
    fn kept_or_probed(path: &Path) -> Self {
        let circumstances = Circumstances::now();
        if let Some(kept) = Self::kept(path, &circumstances) {
            return kept;
        }
        let found = kvm::probe(EMULATOR, PROBE);
        let verdict = Self {
            works: found.works(),
            words: found.to_string(),
            circumstances,
        };
        if let Err(error) = verdict.keep(path) {
            tracing::warn!("the verdict on KVM is not kept: {error:#}");
        }
        verdict
    }

    fn kept(path: &Path, now: &Circumstances) -> Option<Self> {
        let kept: Self = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        (kept.circumstances == *now && !now.boot.is_empty()).then_some(kept)
    }

    fn keep(&self, path: &Path) -> Result<()> {
        persist::write_atomic(path, &serde_json::to_vec(self)?, 0o640)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_holds_until_something_changes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kvm.json");
        let now = Circumstances {
            boot: "b1".to_owned(),
            files: vec![None, Some((1, 2, 3, 4))],
        };
        assert_eq!(Verdict::kept(&path, &now), None);
        let verdict = Verdict {
            works: false,
            words: "it hangs".to_owned(),
            circumstances: now.clone(),
        };
        verdict.keep(&path).unwrap();
        assert_eq!(Verdict::kept(&path, &now), Some(verdict));
        let rebooted = Circumstances {
            boot: "b2".to_owned(),
            ..now.clone()
        };
        assert_eq!(Verdict::kept(&path, &rebooted), None);
        let upgraded = Circumstances {
            files: vec![None, None],
            ..now.clone()
        };
        assert_eq!(Verdict::kept(&path, &upgraded), None);
        fs::write(&path, b"{").unwrap();
        assert_eq!(Verdict::kept(&path, &now), None);
    }
}
