//! Booleans of SELinux that guests and leases on shared storage need.

use super::plan::{Change, World};

const FOLDER: &str = "/sys/fs/selinux/booleans";
const NAMES: [&str; 7] = [
    "virt_use_fusefs",
    "virt_use_nfs",
    "virt_use_samba",
    "virt_use_sanlock",
    "sanlock_use_fusefs",
    "sanlock_use_nfs",
    "sanlock_use_samba",
];

/// Why there is nothing to configure; `None` if there is.
pub(crate) fn absent(world: &World) -> Option<String> {
    (!world.has(FOLDER)).then(|| "SELinux is not in use".to_owned())
}

/// Booleans that this policy knows and that are off. The kernel tells `now pending`, each 0 or 1.
pub(crate) fn plan(world: &World) -> Vec<Change> {
    let off = |name: &str| {
        let value = world.read(&format!("{FOLDER}/{name}"));
        matches!(value, Ok(Some(text)) if text.contains('0'))
    };
    let names: Vec<&'static str> = NAMES.iter().copied().filter(|name| off(name)).collect();
    if names.is_empty() {
        return Vec::new();
    }
    vec![Change::Sebools(names)]
}
