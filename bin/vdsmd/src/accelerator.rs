//! How guests run: KVM only if a few bytes boot under it, else software emulation, said plainly.
//!
//! A KVM that hangs costs the probe's whole deadline, so its verdict is kept in the run folder: it holds until the
//! host or QEMU changes, and an agent that starts again after a crash does not wait. An agent with duties starts early in
//! the host's boot, when the kernel may not have loaded KVM yet: then it waits for the device a little.
//!
//! The look goes on beside the start: the agent serves meanwhile, and only who must know waits ([`Look::kvm_works`]):
//! `VM.create` and what `Host.getCapabilities` tells of the hypervisor.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use config::{Accelerator, Config};
use exec::kvm::{self, KvmVerdict};
use serde::{Deserialize, Serialize};

/// The program that guests run in.
const EMULATOR: &str = "qemu-system-x86_64";
/// The device.
const DEVICE: &str = "/dev/kvm";
/// For how long after the host's boot its module may still be on its way, and how long it is waited for.
const BOOTING: Duration = Duration::from_mins(5);
const MODULE: Duration = Duration::from_secs(30);
/// New at each boot of the host.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A look at KVM, under way or done.
#[derive(Clone)]
pub(crate) struct Look(Arc<OnceLock<bool>>);

impl Look {
    /// Begins; answers at once. `fail` is called if KVM is demanded by the configuration and does not work.
    pub(crate) fn begin(
        config: &Arc<Config>,
        fail: impl FnOnce(&anyhow::Error) + Send + 'static,
    ) -> Result<Self> {
        let found = Arc::new(OnceLock::new());
        let (config, result) = (config.clone(), found.clone());
        thread::Builder::new()
            .name("accelerator".to_owned())
            .spawn(move || match kvm_works(&config) {
                Ok(works) => drop(result.set(works)),
                Err(error) => fail(&error),
            })
            .context("cannot start a thread")?;
        Ok(Self(found))
    }

    /// Do guests run under KVM? Waits for the look: some milliseconds where KVM works, `[vars] kvm_probe_timeout`
    /// where it hangs, and the time of its module early in the host's boot.
    pub(crate) fn kvm_works(&self) -> bool {
        *self.0.wait()
    }
}

fn kvm_works(config: &Config) -> Result<bool> {
    let wanted = config.vars.accelerator;
    if wanted == Accelerator::Tcg {
        tracing::info!("guests run by software emulation, as configured");
        return Ok(false);
    }
    await_module();
    let kept = config.vars.run_dir.join("kvm.json");
    let verdict = Verdict::kept_or_probed(&kept, config.vars.kvm_probe_timeout);
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

/// Waits for the device, if it may still come.
fn await_module() {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let deadline = Instant::now() + MODULE;
    while !Path::new(DEVICE).exists()
        && Instant::now() < deadline
        && may_come(&read("/proc/cpuinfo"), &read("/proc/uptime"))
    {
        thread::sleep(Duration::from_millis(100));
    }
}

/// Can the processor virtualize (the kernel leaves the flag out if the firmware forbids it), and has the host only just
/// been started?
fn may_come(cpuinfo: &str, uptime: &str) -> bool {
    let able = cpuinfo
        .lines()
        .find(|line| line.starts_with("flags"))
        .is_some_and(|line| {
            line.split_whitespace()
                .any(|flag| matches!(flag, "vmx" | "svm"))
        });
    let up = uptime.split('.').next().and_then(|text| text.parse().ok());
    able && up.is_some_and(|seconds| Duration::from_secs(seconds) < BOOTING)
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
    /// Device, inode and change time of QEMU.
    emulator: Option<(u64, u64, i64, i64)>,
    /// Device, inode, number, mode, user and group of /dev/kvm. Not its times: each virtual machine that starts is an event of
    /// the device (`KVM_CREATE_VM`), and udev touches the node then (systemd's `udev-node.c`).
    device: Option<(u64, u64, u64, u32, u32, u32)>,
}

impl Circumstances {
    fn now() -> Self {
        let emulator = exec::command::find(EMULATOR).unwrap_or_else(|| PathBuf::from(EMULATOR));
        let identity = |it: fs::Metadata| (it.dev(), it.ino(), it.ctime(), it.ctime_nsec());
        let node =
            |it: fs::Metadata| (it.dev(), it.ino(), it.rdev(), it.mode(), it.uid(), it.gid());
        Self {
            boot: fs::read_to_string(BOOT_ID)
                .unwrap_or_default()
                .trim()
                .to_owned(),
            emulator: fs::metadata(emulator).ok().map(identity),
            device: fs::metadata(DEVICE).ok().map(node),
        }
    }
}

impl Verdict {
    fn kept_or_probed(path: &Path, deadline: Duration) -> Self {
        let circumstances = Circumstances::now();
        if let Some(kept) = Self::kept(path, &circumstances) {
            return kept;
        }
        let found = kvm::probe(EMULATOR, deadline);
        let verdict = Self {
            works: found.works(),
            words: found.to_string(),
            circumstances,
        };
        // What costs nothing is asked anew: the groups of this process may be others the next time.
        let costly = !matches!(found, KvmVerdict::Absent | KvmVerdict::NotPermitted);
        if costly && let Err(error) = verdict.keep(path) {
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
    fn the_module_is_waited_for_early_and_where_it_can_come() {
        let able = "processor\t: 0\nflags\t\t: fpu svm sse\n";
        assert!(may_come(able, "35.29 12.00\n"));
        assert!(may_come("flags : vmx", "0.10 0.00"));
        assert!(!may_come(able, "301.00 12.00"));
        assert!(!may_come("flags\t\t: fpu svm_lock sse", "35.29 12.00"));
        for (cpuinfo, uptime) in [("", ""), (able, ""), (able, "x"), ("", "1.0 1.0")] {
            assert!(!may_come(cpuinfo, uptime), "{cpuinfo} {uptime}");
        }
    }

    #[test]
    fn a_verdict_holds_until_something_changes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kvm.json");
        let now = Circumstances {
            boot: "b1".to_owned(),
            emulator: Some((1, 2, 3, 4)),
            device: Some((5, 6, 7, 0o20660, 0, 104)),
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
            emulator: Some((1, 2, 4, 4)),
            ..now.clone()
        };
        let closed = Circumstances {
            device: Some((5, 6, 7, 0o20600, 0, 104)),
            ..now.clone()
        };
        let reloaded = Circumstances {
            device: None,
            ..now.clone()
        };
        for other in [upgraded, closed, reloaded] {
            assert_eq!(Verdict::kept(&path, &other), None);
        }
        fs::write(&path, b"{").unwrap();
        assert_eq!(Verdict::kept(&path, &now), None);
    }
}
