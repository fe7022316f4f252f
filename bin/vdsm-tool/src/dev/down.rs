//! Ending a private agent: vdsmd, then its virtual machines, then libvirt, then whatever is left.
//!
//! Processes are known by the record (number and start time), by libvirt's pid files, and at last by their
//! environment, which names the folder; never by a program's name. Every wait has a deadline, a second
//! call finds nothing to do.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Result, bail};
use exec::Process;

use super::{Layout, record::Record, up};
use crate::cli::DownArgs;

/// Between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(10);

/// The same for libvirt: told to end while it still starts it may not hear, and it holds nothing to lose.
const LIBVIRT_GRACE: Duration = Duration::from_secs(3);

/// So many looks in a row must find nobody.
const CLEAN_LOOKS: usize = 2;
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// What was ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    /// vdsmd.
    pub(crate) vdsmd: bool,
    /// Its private libvirt daemon.
    pub(crate) libvirt: bool,
    /// Virtual machines.
    pub(crate) guests: usize,
    /// Others that were found beneath the folder.
    pub(crate) others: usize,
    /// The folder.
    pub(crate) folder: bool,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        parts.extend(self.vdsmd.then(|| "vdsmd".to_owned()));
        parts.extend(self.libvirt.then(|| "libvirt".to_owned()));
        parts.extend((self.guests > 0).then(|| format!("{} virtual machine(s)", self.guests)));
        parts.extend((self.others > 0).then(|| format!("{} other process(es)", self.others)));
        match (parts.is_empty(), self.folder) {
            (true, false) => f.write_str("nothing ran"),
            (true, true) => f.write_str("nothing ran; folder removed"),
            (false, false) => write!(f, "ended: {}", parts.join(", ")),
            (false, true) => write!(f, "ended: {}; folder removed", parts.join(", ")),
        }
    }
}

/// `dev down`. A folder that is not there is fine; one that vdsm-tool did not make is left alone.
pub(crate) fn down(args: &DownArgs) -> Result<Ended> {
    let layout = Layout::new(&args.dir)?;
    if !layout.dir.exists() {
        return Ok(Ended::default());
    }
    if !layout.lock().exists() {
        bail!(
            "{} is not the folder of a private agent",
            layout.dir.display()
        );
    }
    let _lock = up::lock_and_interrupt(&layout)?;
    let mut ended = end_all(&layout)?;
    if args.remove {
        fs::remove_dir_all(&layout.dir)?;
        ended.folder = true;
    }
    Ok(ended)
}

/// Ends everything beneath the folder. The caller holds the lock.
pub(crate) fn end_all(layout: &Layout) -> Result<Ended> {
    let record = Record::load(layout)?;
    let recorded = |pick: fn(&Record) -> Option<super::record::Started>| {
        record
            .as_ref()
            .and_then(pick)
            .map(super::record::Started::process)
    };
    let vdsmd = end("vdsmd", recorded(|r| r.vdsmd), GRACE)?;
    let guests = end_guests(layout)?;
    let libvirt = end("libvirt", recorded(|r| r.libvirt), LIBVIRT_GRACE)?;
    let others = end_others(layout)?;
    Record::remove(layout)?;
    Ok(Ended {
        vdsmd,
        libvirt,
        guests,
        others,
        folder: false,
    })
}

/// Ends one process; true if it ran.
fn end(what: &str, process: Option<Process>, grace: Duration) -> Result<bool> {
    let Some(process) = process.filter(Process::is_alive) else {
        return Ok(false);
    };
    if !process.terminate(grace) {
        bail!("{what} (pid {}) does not end", process.pid);
    }
    Ok(true)
}

/// Ends the QEMU processes that libvirt's pid files name. A file may be old and its number someone else's:
/// only a process whose command line names a path beneath the folder is one of ours.
fn end_guests(layout: &Layout) -> Result<usize> {
    let Ok(entries) = fs::read_dir(layout.qemu_pids()) else {
        return Ok(0);
    };
    let files = entries.filter_map(Result::ok).map(|entry| entry.path());
    let mut count = 0;
    // `driver.pid` is the daemon's own.
    let of_guest = |path: &PathBuf| {
        path.extension().is_some_and(|e| e == "pid") && !path.ends_with("driver.pid")
    };
    for path in files.filter(of_guest) {
        let pid = fs::read_to_string(&path)
            .ok()
            .and_then(|text| text.trim().parse().ok());
        let Some(process) = pid.and_then(Process::find) else {
            continue;
        };
        if command_line_names(process.pid, &layout.dir) {
            count += usize::from(end("a virtual machine", Some(process), GRACE)?);
        }
    }
    Ok(count)
}

/// Ends processes that no file names: those whose `XDG_RUNTIME_DIR`, `HOME` or the like lies beneath.
///
/// One look is not enough: a process that forks while the list is read, or is within its exec, is not seen. libvirt's
/// daemon starts QEMUs to ask what they can, and may end with one of them half started.
fn end_others(layout: &Layout) -> Result<usize> {
    let mut count = 0;
    let mut clean = 0;
    while clean < CLEAN_LOOKS {
        let found = beneath(&layout.dir);
        clean = if found.is_empty() { clean + 1 } else { 0 };
        for process in found {
            let what = "a process beneath the folder";
            count += usize::from(end(what, Some(process), LIBVIRT_GRACE)?);
        }
        std::thread::sleep(BETWEEN_LOOKS);
    }
    Ok(count)
}

/// Processes whose environment puts their files beneath a folder.
pub(crate) fn beneath(dir: &Path) -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let own = std::process::id();
    let pids = entries
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != own)
        .filter_map(|pid| i32::try_from(pid).ok());
    pids.filter_map(Process::find)
        .filter(|process| process.is_alive() && environment_names(process.pid, dir))
        .collect()
}

/// Does a command line name a path beneath the folder?
fn command_line_names(pid: i32, dir: &Path) -> bool {
    let wanted = format!("{}/", dir.display());
    fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(&wanted))
}

/// Is one of the folders that we give to what we start the folder's, or beneath it?
fn environment_names(pid: i32, dir: &Path) -> bool {
    let Ok(bytes) = fs::read(format!("/proc/{pid}/environ")) else {
        return false;
    };
    let text = String::from_utf8_lossy(&bytes);
    text.split('\0')
        .filter_map(|entry| entry.split_once('='))
        .any(|(name, value)| {
            matches!(
                name,
                "XDG_RUNTIME_DIR" | "XDG_CONFIG_HOME" | "XDG_CACHE_HOME" | "XDG_DATA_HOME"
            ) && Path::new(value).starts_with(dir)
        })
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use exec::{Command, Daemon};

    use super::*;

    fn args(dir: &Path, remove: bool) -> DownArgs {
        DownArgs {
            dir: dir.to_owned(),
            remove,
        }
    }

    #[test]
    fn a_folder_of_someone_else_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.txt"), "do not lose").unwrap();
        assert!(down(&args(dir.path(), true)).is_err());
        assert!(dir.path().join("thesis.txt").exists());
        let gone = dir.path().join("never");
        assert_eq!(down(&args(&gone, true)).unwrap(), Ended::default());
    }

    #[test]
    fn what_no_record_names_is_found_and_ended_twice_is_fine() {
        let dir = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        File::create(dir.path().join("lock")).unwrap();
        let sleeper = |home: &Path| {
            let command = Command::new("sleep")
                .arg("600")
                .env("XDG_RUNTIME_DIR", home.join("run"));
            command
                .spawn_daemon(&Daemon {
                    log: other.path().join("log"),
                })
                .unwrap()
        };
        let (ours, stranger) = (sleeper(dir.path()), sleeper(other.path()));
        let ended = down(&args(dir.path(), false)).unwrap();
        assert_eq!(
            ended,
            Ended {
                others: 1,
                ..Ended::default()
            }
        );
        assert!(!ours.is_alive() && stranger.is_alive());
        assert_eq!(down(&args(dir.path(), false)).unwrap(), Ended::default());
        assert!(stranger.terminate(Duration::from_secs(1)));
        assert!(down(&args(dir.path(), true)).unwrap().folder);
        assert!(!dir.path().exists());
    }

    #[test]
    fn a_stale_pid_file_harms_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path()).unwrap();
        fs::create_dir_all(layout.qemu_pids()).unwrap();
        fs::write(
            layout.qemu_pids().join("old.pid"),
            std::process::id().to_string(),
        )
        .unwrap();
        fs::write(layout.qemu_pids().join("bad.pid"), "not a number").unwrap();
        assert_eq!(end_guests(&layout).unwrap(), 0);
    }
}
