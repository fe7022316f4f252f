//! Who belongs to which group: user and group names differ from one distribution to another, and groups come with
//! packages that may be installed later or never. Only accounts that exist are joined.

use anyhow::Result;

use super::plan::{Change, World};

/// The agent's user, made by the package.
pub(crate) const AGENT: &str = "vdsm";
/// Groups of which the agent's user becomes a member: /dev/kvm; files of guests; libvirt's socket, where a group
/// decides on it (Debian); leases.
const AGENT_GROUPS: [&str; 5] = ["kvm", "qemu", "libvirt-qemu", "libvirt", "sanlock"];
/// Users that guests run as.
const GUEST_USERS: [&str; 2] = ["qemu", "libvirt-qemu"];
/// Groups of guests, for sanlock's files.
const GUEST_GROUPS: [&str; 2] = ["qemu", "libvirt-qemu"];

/// What /etc/passwd and /etc/group tell.
struct Accounts {
    passwd: String,
    group: String,
}

impl Accounts {
    fn read(world: &World) -> Result<Self> {
        Ok(Self {
            passwd: world.read("/etc/passwd")?.unwrap_or_default(),
            group: world.read("/etc/group")?.unwrap_or_default(),
        })
    }

    /// The number of a user's primary group.
    fn primary(&self, user: &str) -> Option<&str> {
        lines(&self.passwd)
            .find(|fields| fields.first() == Some(&user))
            .and_then(|fields| fields.get(3).copied())
    }

    fn group_of_number(&self, number: &str) -> Option<&str> {
        lines(&self.group)
            .find(|fields| fields.get(2) == Some(&number))
            .and_then(|fields| fields.first().copied())
    }

    fn group(&self, name: &str) -> Option<Vec<&str>> {
        lines(&self.group).find(|fields| fields.first() == Some(&name))
    }

    fn is_member(&self, user: &str, group: &str) -> bool {
        let Some(fields) = self.group(group) else {
            return false;
        };
        let named = fields
            .get(3)
            .is_some_and(|members| members.split(',').any(|member| member == user));
        named || fields.get(2).copied() == self.primary(user)
    }

    /// The groups, of those that exist, which the user is not in.
    fn missing(&self, user: &str, groups: &[&str]) -> Option<Change> {
        self.primary(user)?;
        let missing: Vec<String> = groups
            .iter()
            .filter(|group| self.group(group).is_some() && !self.is_member(user, group))
            .map(|group| (*group).to_owned())
            .collect();
        (!missing.is_empty()).then(|| Change::Groups {
            user: user.to_owned(),
            groups: missing,
        })
    }
}

fn lines(table: &str) -> impl Iterator<Item = Vec<&str>> {
    table.lines().map(|line| line.split(':').collect())
}

/// Why there is nothing to configure; `None` if there is.
pub(crate) fn absent(world: &World) -> Result<Option<String>> {
    let missing = Accounts::read(world)?.primary(AGENT).is_none();
    Ok(missing.then(|| format!("there is no user {AGENT}: the package makes it")))
}

/// Memberships that are missing.
pub(crate) fn plan(world: &World) -> Result<Vec<Change>> {
    let accounts = Accounts::read(world)?;
    let shared = accounts
        .primary(AGENT)
        .and_then(|number| accounts.group_of_number(number));
    let shared: Vec<&str> = shared.into_iter().collect();
    let mut changes = vec![accounts.missing(AGENT, &AGENT_GROUPS)];
    for user in GUEST_USERS {
        changes.push(accounts.missing(user, &shared));
    }
    let leases: Vec<&str> = shared.iter().copied().chain(GUEST_GROUPS).collect();
    changes.push(accounts.missing("sanlock", &leases));
    Ok(changes.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn plan_of(passwd: &str, group: &str) -> Vec<(String, String)> {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        fs::write(dir.path().join("etc/passwd"), passwd).unwrap();
        fs::write(dir.path().join("etc/group"), group).unwrap();
        let changes = plan(&World::new(dir.path())).unwrap();
        changes
            .into_iter()
            .map(|change| match change {
                Change::Groups { user, groups } => (user, groups.join(",")),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn debian_with_libvirt_and_sanlock() {
        let passwd = "root:x:0:0::/root:/bin/sh\nvdsm:x:36:36::/:/x\n\
                      libvirt-qemu:x:64055:104::/:/x\nsanlock:x:110:118::/:/x\n";
        let group =
            "vdsm:x:36:\nkvm:x:104:vdsm\nlibvirt:x:117:\nlibvirt-qemu:x:64055:\nsanlock:x:118:\n";
        let expected = [
            ("vdsm", "libvirt-qemu,libvirt,sanlock"),
            ("libvirt-qemu", "vdsm"),
            ("sanlock", "vdsm,libvirt-qemu"),
        ];
        let found = plan_of(passwd, group);
        let found: Vec<(&str, &str)> = found.iter().map(|(a, b)| (&**a, &**b)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn fedora_configured_already() {
        let passwd = "vdsm:x:36:36::/:/x\nqemu:x:107:107::/:/x\nsanlock:x:179:179::/:/x\n";
        let group = "kvm:x:36:qemu,sanlock\nqemu:x:107:vdsm,sanlock\nsanlock:x:179:vdsm\n";
        assert_eq!(plan_of(passwd, group), []);
    }

    #[test]
    fn a_host_without_anything_and_broken_tables() {
        assert_eq!(plan_of("vdsm:x:36:36::/:/x\n", "vdsm:x:36:\n"), []);
        assert_eq!(plan_of("vdsm\n::\n", "kvm\n:::\n"), []);
    }
}
