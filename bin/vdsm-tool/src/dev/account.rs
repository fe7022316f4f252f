//! As whom a private agent runs: as the caller, or, if that is root, as someone without privileges.
//!
//! Never as root: its `qemu:///session` is the machine's own libvirt, and guests must not run as root.

use std::{
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use exec::Command;
use rustix::process::{getegid, geteuid};

/// A user to run as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    /// Its name.
    pub(crate) name: String,
    /// User id.
    pub(crate) uid: u32,
    /// Group id.
    pub(crate) gid: u32,
    /// Supplementary groups.
    pub(crate) groups: Vec<u32>,
    /// Must programs be started as it (true), or is the caller it already?
    pub(crate) switch: bool,
}

impl Account {
    /// Whom to run as: `asked` or `vdsm` or `nobody` for root, else the caller.
    pub(crate) fn choose(asked: Option<&str>) -> Result<Self> {
        let uid = geteuid().as_raw();
        if uid != 0 {
            if asked.is_some() {
                bail!("only root can start an agent as another user");
            }
            let name = lookup(&uid.to_string()).map_or_else(|| uid.to_string(), |found| found.name);
            let gid = getegid().as_raw();
            return Ok(Self {
                name,
                uid,
                gid,
                groups: Vec::new(),
                switch: false,
            });
        }
        let account = match asked {
            Some(name) => lookup(name).with_context(|| format!("there is no user {name}"))?,
            None => lookup("vdsm")
                .or_else(|| lookup("nobody"))
                .context("there is no user nobody")?,
        };
        if account.uid == 0 {
            bail!("a private agent does not run as root: guests would");
        }
        Ok(Self {
            groups: device_group().into_iter().collect(),
            ..account
        })
    }

    /// The program as this account.
    pub(crate) fn apply(&self, command: Command) -> Command {
        if self.switch {
            command.user(self.uid, self.gid, &self.groups)
        } else {
            command
        }
    }

    /// Gives a path to this account, if the caller is another.
    pub(crate) fn give(&self, path: &Path) -> Result<()> {
        if !self.switch {
            return Ok(());
        }
        std::os::unix::fs::lchown(path, Some(self.uid), Some(self.gid))
            .with_context(|| format!("cannot give {} to {}", path.display(), self.name))
    }

    /// May it pass through a folder? By its mode alone: access lists are not looked at.
    pub(crate) fn may_search(&self, folder: &fs::Metadata) -> bool {
        let mode = folder.permissions().mode();
        if self.uid == folder.uid() {
            mode & 0o100 != 0
        } else if self.gid == folder.gid() || self.groups.contains(&folder.gid()) {
            mode & 0o010 != 0
        } else {
            mode & 0o001 != 0
        }
    }
}

/// The group that may open /dev/kvm, so that KVM can be tried.
fn device_group() -> Option<u32> {
    let device = fs::metadata("/dev/kvm").ok()?;
    let open_to_group = device.permissions().mode() & 0o060 == 0o060;
    (device.file_type().is_char_device() && open_to_group && device.gid() != 0)
        .then(|| device.gid())
}

/// A user by name or number, from whatever the system asks (`getent`).
fn lookup(key: &str) -> Option<Account> {
    let output = Command::new("getent")
        .args(["passwd", key])
        .run()
        .ok()?
        .check()
        .ok()?;
    parse(&String::from_utf8_lossy(&output.stdout))
}

/// The first line of passwd(5).
fn parse(text: &str) -> Option<Account> {
    let mut fields = text.lines().next()?.split(':');
    let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
    let uid = fields.nth(1)?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    Some(Account {
        name,
        uid,
        gid,
        groups: Vec::new(),
        switch: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwd_lines() {
        let found = parse("nobody:x:65534:65533:nobody:/nonexistent:/usr/sbin/nologin\n").unwrap();
        assert_eq!(
            (found.name.as_str(), found.uid, found.gid),
            ("nobody", 65534, 65533)
        );
        for bad in [
            "",
            "\n",
            "nobody",
            "nobody:x",
            "nobody:x:a:b",
            ":x:1:1",
            "n:x:-1:0",
        ] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn nobody_is_found_and_never_root() {
        let found = lookup("nobody").unwrap();
        assert_ne!(found.uid, 0);
        assert_eq!(lookup("no-such-user-here"), None);
    }

    #[test]
    fn root_is_refused() {
        assert!(Account::choose(Some("root")).is_err());
    }
}
