//! What would have to change, as data: it can be shown as a diff, applied, and told apart from what is done already.
//!
//! A file is replaced whole or not at all (temporary file, fsync, rename). Before the tool changes a file for the first
//! time it keeps the original in [`BACKUP`], where only root can write: that is the way back. Killed anywhere, the same
//! call again finishes: plans are made from what is there.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use exec::Command;

/// Folder of originals. Not beneath /var/lib/vdsm, which belongs to the agent's user: what root restores, only root
/// may have written.
const BACKUP: &str = "/var/lib/vdsm-tool/backup";
/// Largest file that is edited, bytes.
const LARGEST: u64 = 1 << 20;

/// The host, or a folder that looks like one (for tests).
#[derive(Debug, Clone)]
pub(crate) struct World {
    root: PathBuf,
}

impl World {
    /// The host beneath `root`, which is `/` but for tests.
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// Is this the machine itself?
    pub(crate) fn is_live(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Where an absolute path of the host lies.
    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Is it there?
    pub(crate) fn has(&self, path: &str) -> bool {
        self.at(path).exists()
    }

    /// Is a program installed?
    pub(crate) fn has_program(&self, name: &str) -> bool {
        ["/usr/sbin", "/sbin", "/usr/bin", "/bin"]
            .iter()
            .any(|folder| self.has(&format!("{folder}/{name}")))
    }

    /// A text file; `None` if it is not there.
    pub(crate) fn read(&self, path: &str) -> Result<Option<String>> {
        read_text(&self.at(path))
    }

    fn backup(&self, path: &str) -> PathBuf {
        let name = path.trim_start_matches('/').replace('/', "!");
        self.at(BACKUP).join(name)
    }

    /// The original of a file that was changed; `None` if none is kept.
    pub(crate) fn original(&self, path: &str) -> Result<Option<String>> {
        read_text(&self.backup(path))
    }
}

fn read_text(path: &Path) -> Result<Option<String>> {
    let read = || -> io::Result<String> {
        if fs::metadata(path)?.len() > LARGEST {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        fs::read_to_string(path)
    };
    match read() {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// One thing to be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// A file of the host gets this text; `None` takes it away.
    File {
        /// Absolute path on the host.
        path: &'static str,
        /// Its text.
        text: Option<String>,
    },
    /// A user becomes a member of groups.
    Groups {
        /// The user.
        user: String,
        /// Groups that it is not in yet.
        groups: Vec<String>,
    },
    /// Self-signed certificates are made.
    Certificates,
    /// The devices of these volume groups go into LVM's devices file.
    LvmDevices(Vec<String>),
    /// Booleans of SELinux are switched on for good.
    Sebools(Vec<&'static str>),
}

/// The change of a file, if there is one.
pub(crate) fn file(
    world: &World,
    path: &'static str,
    text: Option<String>,
) -> Result<Option<Change>> {
    let now = world.read(path)?;
    Ok((now != text).then_some(Change::File { path, text }))
}

impl Change {
    /// What it would do, for people: a unified diff, or one line.
    pub(crate) fn show(&self, world: &World) -> Result<String> {
        Ok(match self {
            Self::File { path, text } => {
                let old = world.read(path)?.unwrap_or_default();
                let new = text.as_deref().unwrap_or_default();
                let after = if text.is_some() { path } else { "/dev/null" };
                similar::TextDiff::from_lines(old.as_str(), new)
                    .unified_diff()
                    .header(path, after)
                    .to_string()
                    .trim_end()
                    .to_owned()
            }
            Self::Groups { user, groups } => {
                format!("user {user} joins {}", groups.join(", "))
            }
            Self::Certificates => "self-signed certificates are made in /etc/pki/vdsm".to_owned(),
            Self::LvmDevices(groups) => {
                format!(
                    "LVM's devices file lists the devices of {}",
                    groups.join(", ")
                )
            }
            Self::Sebools(names) => format!("SELinux allows {}", names.join(", ")),
        })
    }

    /// Does it.
    pub(crate) fn apply(&self, world: &World) -> Result<()> {
        match self {
            Self::File { path, text } => write(world, path, text.as_deref()),
            Self::Groups { user, groups } => {
                live(world)?;
                let command = Command::new("usermod").args(["-a", "-G", &groups.join(","), user]);
                run(command)
            }
            Self::Certificates => super::certificates::make(world),
            Self::LvmDevices(groups) => {
                live(world)?;
                // The switch comes last, and without it LVM writes no devices file.
                let switched = ["vgimportdevices", "--config", "devices/use_devicesfile=1"];
                let import = |group| Command::new("lvm").args(switched).arg(group);
                groups.iter().try_for_each(|group| run(import(group)))
            }
            Self::Sebools(names) => {
                live(world)?;
                let values = names.iter().map(|name| format!("{name}=1"));
                run(Command::new("setsebool").arg("-P").args(values))
            }
        }
    }
}

fn live(world: &World) -> Result<()> {
    if world.is_live() {
        return Ok(());
    }
    bail!("accounts, SELinux and LVM can be changed on the host itself only, not beneath --root")
}

fn run(command: Command) -> Result<()> {
    command.run()?.check()?;
    Ok(())
}

fn write(world: &World, path: &str, text: Option<&str>) -> Result<()> {
    // A link stays a link: what it leads to is written.
    let target = world.at(path);
    let target = fs::canonicalize(&target).unwrap_or(target);
    let Some(text) = text else {
        return persist::remove_durably(&target)
            .map(drop)
            .with_context(|| format!("cannot remove {path}"));
    };
    keep_original(world, path, &target)?;
    // A file that is there and cannot be looked at must not get another owner and mode.
    let before = match fs::metadata(&target) {
        Ok(found) => Some(found),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(|| format!("cannot look at {path}")),
    };
    let mode = before
        .as_ref()
        .map_or(0o644, |it| it.permissions().mode() & 0o7777);
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    persist::write_atomic(&target, text.as_bytes(), mode)
        .with_context(|| format!("cannot write {path}"))?;
    if let Some(before) = before.filter(|it| it.uid() != 0 || it.gid() != 0) {
        std::os::unix::fs::lchown(&target, Some(before.uid()), Some(before.gid()))
            .with_context(|| format!("cannot give {path} back to its owner"))?;
    }
    relabel(world, &target);
    Ok(())
}

/// A new file has the label of its folder: where SELinux decides, it gets that of its name.
fn relabel(world: &World, target: &Path) {
    if world.is_live() && world.has("/sys/fs/selinux/enforce") {
        let _ = Command::new("restorecon").arg(target.as_os_str()).run();
    }
}

/// Once: a later call must not take our own text for the original.
fn keep_original(world: &World, path: &str, target: &Path) -> Result<()> {
    let backup = world.backup(path);
    if backup.exists() || !target.exists() {
        return Ok(());
    }
    let keep = || -> io::Result<()> {
        if let Some(folder) = backup.parent() {
            fs::create_dir_all(folder)?;
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
        }
        persist::write_atomic(&backup, &fs::read(target)?, 0o600)
    };
    keep().with_context(|| format!("cannot keep the original of {path} in {}", backup.display()))
}

/// Forgets the original: it is back in its place.
pub(crate) fn forget_original(world: &World, path: &str) -> Result<()> {
    persist::remove_durably(&world.backup(path))
        .map(drop)
        .with_context(|| format!("cannot remove the kept original of {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world() -> (tempfile::TempDir, World) {
        let dir = tempfile::tempdir().unwrap();
        let world = World::new(dir.path());
        (dir, world)
    }

    #[test]
    fn the_first_original_is_kept_and_modes_stay() {
        let (_dir, world) = world();
        let path = "/etc/x/y.conf";
        fs::create_dir_all(world.at("/etc/x")).unwrap();
        fs::write(world.at(path), "one\n").unwrap();
        fs::set_permissions(world.at(path), fs::Permissions::from_mode(0o600)).unwrap();
        for text in ["two\n", "three\n"] {
            let change = file(&world, path, Some(text.to_owned())).unwrap().unwrap();
            change.apply(&world).unwrap();
            assert_eq!(file(&world, path, Some(text.to_owned())).unwrap(), None);
        }
        assert_eq!(world.original(path).unwrap().as_deref(), Some("one\n"));
        let mode = fs::metadata(world.at(path)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_link_stays_a_link() {
        let (_dir, world) = world();
        fs::create_dir_all(world.at("/etc")).unwrap();
        fs::write(world.at("/etc/real"), "one\n").unwrap();
        std::os::unix::fs::symlink("real", world.at("/etc/link")).unwrap();
        write(&world, "/etc/link", Some("two\n")).unwrap();
        assert!(
            fs::symlink_metadata(world.at("/etc/link"))
                .unwrap()
                .is_symlink()
        );
        assert_eq!(world.read("/etc/real").unwrap().as_deref(), Some("two\n"));
    }

    #[test]
    fn a_diff_shows_what_changes() {
        let (_dir, world) = world();
        fs::create_dir_all(world.at("/etc")).unwrap();
        fs::write(world.at("/etc/f"), "a = 1\nb = 2\n").unwrap();
        let change = file(&world, "/etc/f", Some("a = 1\nb = 3\n".to_owned()));
        let shown = change.unwrap().unwrap().show(&world).unwrap();
        assert!(
            shown.contains("-b = 2") && shown.contains("+b = 3"),
            "{shown}"
        );
        assert_eq!(world.read("/etc/f").unwrap().unwrap(), "a = 1\nb = 2\n");
    }

    #[test]
    fn accounts_beneath_another_root_are_refused() {
        let (_dir, world) = world();
        let change = Change::Groups {
            user: "vdsm".to_owned(),
            groups: vec!["kvm".to_owned()],
        };
        assert!(change.apply(&world).is_err());
    }
}
