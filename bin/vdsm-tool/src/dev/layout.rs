//! What is where beneath the folder of a private agent, and whether the folder will do.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::Account;
use crate::certs::Certificates;

/// Longest folder: vdsmd puts sockets `run/channels/<id of the VM>.org.qemu.guest_agent.0` beneath it,
/// libvirt `cfg/libvirt/qemu/lib/domain-NNN-<20 characters>/monitor.sock`; a socket's path has at most
/// 107 bytes.
const LONGEST: usize = 34;

/// The folder and all paths in it. Names are short because paths of sockets are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    /// The folder, absolute.
    pub(crate) dir: PathBuf,
}

impl Layout {
    /// Paths beneath `dir`, made absolute. Nothing is touched.
    pub(crate) fn new(dir: &Path) -> Result<Self> {
        let dir = std::path::absolute(dir).context("cannot tell the current folder")?;
        Ok(Self { dir })
    }

    /// Refuses a folder whose name would break sockets or vdsm.conf.
    pub(crate) fn check_name(&self) -> Result<()> {
        let name = self.dir.to_string_lossy();
        if name.len() > LONGEST {
            bail!(
                "{name} is too long: sockets lie beneath it, so at most {LONGEST} bytes (it has {})",
                name.len()
            );
        }
        let fine = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
        if let Some(bad) = name.chars().find(|c| !fine(*c)) {
            bail!(
                "{name}: {bad:?} cannot be in the name of the folder (letters, digits, and . _ - + can)"
            );
        }
        Ok(())
    }

    /// The lock that one command at a time holds.
    pub(crate) fn lock(&self) -> PathBuf {
        self.dir.join("lock")
    }

    /// What runs.
    pub(crate) fn record(&self) -> PathBuf {
        self.dir.join("dev.json")
    }

    /// Configuration of the agent.
    pub(crate) fn conf(&self) -> PathBuf {
        self.dir.join("vdsm.conf")
    }

    /// Certificates, as `trust_store_path`.
    pub(crate) fn pki(&self) -> PathBuf {
        self.dir.join("pki")
    }

    /// Paths of the certificates.
    pub(crate) fn certificates(&self) -> Certificates {
        Certificates::beneath(&self.pki())
    }

    /// Log files.
    pub(crate) fn log(&self, program: &str) -> PathBuf {
        self.dir.join("log").join(format!("{program}.log"))
    }

    /// `HOME` of what runs.
    pub(crate) fn home(&self) -> PathBuf {
        self.dir.join("home")
    }

    /// `XDG_RUNTIME_DIR`: sockets.
    pub(crate) fn run(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// `XDG_CONFIG_HOME`: libvirt's definitions and QEMU's monitors.
    pub(crate) fn config_home(&self) -> PathBuf {
        self.dir.join("cfg")
    }

    /// Folder with the pid files of libvirt's QEMU processes.
    pub(crate) fn qemu_pids(&self) -> PathBuf {
        self.run().join("libvirt/qemu/run")
    }

    /// libvirt's socket.
    pub(crate) fn libvirt_socket(&self, daemon: &str) -> PathBuf {
        let name = if daemon == "libvirtd" {
            "libvirt-sock".to_owned()
        } else {
            format!("{daemon}-sock")
        };
        self.run().join("libvirt").join(name)
    }

    /// `[vars] run_dir`: no folder of its own, because paths of the guests' sockets are long.
    pub(crate) fn vdsm_run(&self) -> PathBuf {
        self.run()
    }

    /// `[vars] state_dir`.
    pub(crate) fn vdsm_state(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// `[irs] repository`.
    pub(crate) fn repository(&self) -> PathBuf {
        self.dir.join("rhev")
    }

    /// A folder that can serve as storage.
    pub(crate) fn storage(&self) -> PathBuf {
        self.dir.join("storage")
    }

    /// A copy of vdsmd, where the agent's user cannot reach the original.
    pub(crate) fn vdsmd_copy(&self) -> PathBuf {
        self.dir.join("bin/vdsmd")
    }

    /// Everything that what runs may write to.
    pub(crate) fn writable(&self) -> Vec<PathBuf> {
        let mut folders: Vec<PathBuf> =
            ["cache", "data"].iter().map(|n| self.dir.join(n)).collect();
        folders.extend([
            self.home(),
            self.run(),
            self.config_home(),
            self.config_home().join("libvirt"),
            self.vdsm_state(),
            self.repository(),
            self.storage(),
        ]);
        folders
    }

    /// The environment of what runs. `XDG_RUNTIME_DIR` is also how it is found again.
    pub(crate) fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        vec![
            ("HOME", self.home()),
            ("XDG_RUNTIME_DIR", self.run()),
            ("XDG_CONFIG_HOME", self.config_home()),
            ("XDG_CACHE_HOME", self.dir.join("cache")),
            ("XDG_DATA_HOME", self.dir.join("data")),
            ("TMPDIR", PathBuf::from("/tmp")),
            (
                "PATH",
                PathBuf::from(
                    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/libexec",
                ),
            ),
        ]
    }
}

/// A program of this project: beside the running one, else installed.
pub(crate) fn sibling(name: &str) -> Result<PathBuf> {
    let own = env::current_exe().context("cannot tell where this program lies")?;
    let beside = own
        .parent()
        .map(|folder| folder.join(name))
        .filter(|path| path.is_file());
    beside
        .or_else(|| exec::command::find(name))
        .with_context(|| format!("no {name} beside {} and none installed", own.display()))
}

/// The first folder above (or the folder itself) that the account may not pass through.
pub(crate) fn barrier(path: &Path, account: &Account) -> Option<PathBuf> {
    let mut above: Vec<&Path> = path.ancestors().collect();
    above.reverse();
    above
        .into_iter()
        .filter_map(|folder| Some((folder, fs::metadata(folder).ok()?)))
        .find(|(_, meta)| meta.is_dir() && !account.may_search(meta))
        .map(|(folder, _)| folder.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn long_and_odd_folders_are_refused_by_name() {
        let long = Layout::new(Path::new("/tmp/0123456789012345678901234567890123456789")).unwrap();
        assert!(
            long.check_name()
                .unwrap_err()
                .to_string()
                .contains("too long")
        );
        for odd in ["/tmp/a b", "/tmp/50%", "/tmp/ä", "/tmp/a\nb"] {
            assert!(
                Layout::new(Path::new(odd)).unwrap().check_name().is_err(),
                "{odd}"
            );
        }
        assert!(
            Layout::new(Path::new("/tmp/vdsm-demo.x1Y2"))
                .unwrap()
                .check_name()
                .is_ok()
        );
    }

    #[test]
    fn the_longest_folder_leaves_room_for_sockets() {
        let id = "0".repeat(36);
        let channel = format!("/run/channels/{id}.org.qemu.guest_agent.0");
        assert!(LONGEST + channel.len() <= 107);
        let tail = format!(
            "/cfg/libvirt/qemu/lib/domain-9999-{}/monitor.sock",
            "x".repeat(20)
        );
        assert!(LONGEST + tail.len() <= 107);
    }

    #[test]
    fn a_closed_folder_above_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("closed/inner");
        fs::create_dir_all(&inner).unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(dir.path().join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
        let stranger = Account {
            name: "x".into(),
            uid: 54_321,
            gid: 54_321,
            groups: vec![],
            switch: true,
        };
        assert_eq!(barrier(&inner, &stranger), Some(dir.path().join("closed")));
        fs::set_permissions(dir.path().join("closed"), fs::Permissions::from_mode(0o711)).unwrap();
        assert_eq!(barrier(&inner, &stranger), None);
    }
}
