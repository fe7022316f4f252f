//! What the agent must be there for although nobody asks: virtual machines, and a connected pool.
//!
//! Where systemd starts the agent at the first request only, these must bring it up after a boot by themselves: guests
//! fill their disks and storage must be watched. The record is a folder with an empty file per duty,
//! `STATE_DIR/duties/{vms,pools}`; `vdsmd-duties.service` starts the agent at boot if the folder is not empty. It
//! is a hint for that unit and nothing else: the truth stays with libvirt and storage.
//!
//! States of a duty: recorded, not recorded. A pool that an earlier process had stays recorded until this one has had
//! a pool and let go of it: after a boot Engine connects it anew, however late.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    thread,
    time::Duration,
};

use crate::agent::Agent;

/// Pause between looks. Both questions are answered from memory.
const LOOK: Duration = Duration::from_secs(2);

/// Starts the thread that keeps the record.
pub(crate) fn start(state_dir: &Path, agent: &Arc<Agent>) -> io::Result<()> {
    let dir = state_dir.join("duties");
    std::fs::create_dir_all(&dir)?;
    let agent = Arc::downgrade(agent);
    thread::Builder::new()
        .name("duties".to_owned())
        .spawn(move || keep(&dir, &agent))
        .map(drop)
}

fn keep(dir: &Path, agent: &Weak<Agent>) {
    let mut vms = Record::open(dir.join("vms"));
    let mut pools = Record::open(dir.join("pools"));
    let mut had_pool = false;
    while let Some(agent) = agent.upgrade() {
        let pool = !agent.storage.connected_pools().is_empty();
        let some_vm = agent.vms.counts().active > 0;
        drop(agent);
        vms.set(some_vm);
        if pool || had_pool {
            pools.set(pool);
        }
        had_pool |= pool;
        thread::sleep(LOOK);
    }
}

/// One duty on disk.
struct Record {
    path: PathBuf,
    there: bool,
}

impl Record {
    fn open(path: PathBuf) -> Self {
        let there = path.exists();
        Self { path, there }
    }

    /// Writes a change; one that cannot be written is tried again at the next look.
    fn set(&mut self, there: bool) {
        if there == self.there {
            return;
        }
        let done = if there {
            persist::write_atomic(&self.path, b"", 0o644)
        } else {
            persist::remove_durably(&self.path).map(drop)
        };
        match done {
            Ok(()) => self.there = there,
            Err(error) => tracing::warn!(
                path = %self.path.display(), %error,
                "a duty is not recorded: after a boot the agent may wait for the first request"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_follows_and_survives() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vms");
        let mut record = Record::open(path.clone());
        record.set(true);
        assert!(path.exists());
        let mut next = Record::open(path.clone());
        assert!(next.there);
        next.set(false);
        assert!(!path.exists());
        next.set(false);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_cannot_be_written_is_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let gone = dir.path().join("later");
        let mut record = Record::open(gone.join("vms"));
        record.set(true);
        assert!(!record.there);
        std::fs::create_dir(&gone).unwrap();
        record.set(true);
        assert!(gone.join("vms").exists());
    }
}
