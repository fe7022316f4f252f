//! What runs beneath a folder, remembered across commands.

use std::{fs, io, path::Path};

use anyhow::{Context as _, Result, bail};
use exec::Process;
use serde::{Deserialize, Serialize};

use super::Layout;

/// Form of the record; another one is not understood and said so.
const VERSION: u32 = 1;

/// One process: number and start time name it for this boot of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Started {
    /// Process id.
    pub(crate) pid: i32,
    /// Clock ticks since boot at its start.
    pub(crate) start_time: u64,
}

impl From<Process> for Started {
    fn from(process: Process) -> Self {
        Self {
            pid: process.pid,
            start_time: process.start_time,
        }
    }
}

impl Started {
    /// The process, to ask or end it.
    pub(crate) fn process(self) -> Process {
        Process {
            pid: self.pid,
            start_time: self.start_time,
        }
    }
}

/// The record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// [`VERSION`].
    pub(crate) version: u32,
    /// The boot of the machine in which it was written (`/proc/sys/kernel/random/boot_id`).
    pub(crate) boot: String,
    /// Port of the agent.
    pub(crate) port: u16,
    /// No TLS.
    pub(crate) plain: bool,
    /// Name of the user it runs as.
    pub(crate) user: String,
    /// Its libvirt.
    pub(crate) libvirt_uri: String,
    /// The private libvirt daemon, once started.
    pub(crate) libvirt: Option<Started>,
    /// vdsmd, once started.
    pub(crate) vdsmd: Option<Started>,
}

impl Record {
    /// A record of nothing started yet.
    pub(crate) fn new(port: u16, plain: bool, user: &str, libvirt_uri: &str) -> Self {
        Self {
            version: VERSION,
            boot: boot_id(),
            port,
            plain,
            user: user.to_owned(),
            libvirt_uri: libvirt_uri.to_owned(),
            libvirt: None,
            vdsmd: None,
        }
    }

    /// The record of a folder; none if nothing was started there since the machine started.
    pub(crate) fn load(layout: &Layout) -> Result<Option<Self>> {
        let path = layout.record();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        let record: Self = serde_json::from_slice(&text)
            .with_context(|| format!("{} is not a record of vdsm-tool", path.display()))?;
        if record.version != VERSION {
            bail!(
                "{} has version {}, this is {VERSION}",
                path.display(),
                record.version
            );
        }
        Ok((record.boot == boot_id()).then_some(record))
    }

    /// Writes it, whole or not at all.
    pub(crate) fn save(&self, layout: &Layout) -> Result<()> {
        let path = layout.record();
        let text = serde_json::to_vec_pretty(self)?;
        persist::write_atomic(&path, &text, 0o644)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Removes it; it may be gone already.
    pub(crate) fn remove(layout: &Layout) -> Result<()> {
        match fs::remove_file(layout.record()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).context("cannot remove the record")
            }
            _ => Ok(()),
        }
    }

    /// Does its vdsmd run?
    pub(crate) fn vdsmd_runs(&self) -> bool {
        self.vdsmd
            .is_some_and(|started| started.process().is_alive())
    }

    /// Does its private libvirt run? True where it has none.
    pub(crate) fn libvirt_runs(&self) -> bool {
        self.libvirt
            .is_none_or(|started| started.process().is_alive())
    }
}

/// Which boot of the machine this is.
fn boot_id() -> String {
    fs::read_to_string(Path::new("/proc/sys/kernel/random/boot_id"))
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_and_garbage_is_said_so() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path()).unwrap();
        assert_eq!(Record::load(&layout).unwrap(), None);
        let mut record = Record::new(54321, false, "nobody", "qemu:///session");
        record.vdsmd = Some(Started {
            pid: 4_000_000,
            start_time: 7,
        });
        record.save(&layout).unwrap();
        assert_eq!(Record::load(&layout).unwrap(), Some(record.clone()));
        assert!(!record.vdsmd_runs());
        fs::write(layout.record(), b"{\"version\": 1").unwrap();
        assert!(Record::load(&layout).is_err());
        Record::remove(&layout).unwrap();
        Record::remove(&layout).unwrap();
    }

    #[test]
    fn a_record_of_another_boot_names_no_process() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path()).unwrap();
        let record = Record {
            boot: "another".into(),
            ..Record::new(1, true, "x", "y")
        };
        record.save(&layout).unwrap();
        assert_eq!(Record::load(&layout).unwrap(), None);
    }
}
