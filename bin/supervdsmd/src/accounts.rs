//! Names of users and groups to numbers, from /etc/passwd and /etc/group.
//!
//! Only local accounts: the helper asks no network service on behalf of root. A number stands for itself.

use anyhow::{Context as _, Result};
use config::OwnerNames;

/// User and group by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Accounts of this host.
#[derive(Debug)]
pub(crate) struct Accounts {
    passwd: String,
    group: String,
}

impl Accounts {
    pub(crate) fn read() -> Result<Self> {
        let read = |path: &str| {
            std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))
        };
        Ok(Self {
            passwd: read("/etc/passwd")?,
            group: read("/etc/group")?,
        })
    }

    pub(crate) fn user(&self, name: &str) -> Option<u32> {
        number(&self.passwd, name)
    }

    pub(crate) fn owner(&self, names: &OwnerNames) -> Option<Ids> {
        Some(Ids {
            uid: self.user(&names.user)?,
            gid: number(&self.group, &names.group)?,
        })
    }
}

/// The third field of the line that starts with the name. The highest number means "no change" to chown and is
/// no account.
fn number(table: &str, name: &str) -> Option<u32> {
    let found = name.parse().ok().or_else(|| {
        table.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(name)).then_some(fields.nth(1)?.parse().ok()?)
        })
    });
    found.filter(|id| *id != u32::MAX)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/bash\nvdsm:x:36:36::/:/bin/false\nbad:x:y:1\nshort\n";

    #[rstest]
    #[case("vdsm", Some(36))]
    #[case("36", Some(36))]
    #[case("4294967295", None)]
    #[case("bad", None)]
    #[case("short", None)]
    #[case("vds", None)]
    #[case("", None)]
    fn names_to_numbers(#[case] name: &str, #[case] expected: Option<u32>) {
        assert_eq!(number(PASSWD, name), expected);
    }
}
