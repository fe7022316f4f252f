//! File systems: free space, and which one holds a path.

use std::{io, os::unix::fs::MetadataExt as _, path::Path};

use crate::files::Reader;

/// Bytes free for unprivileged users on the file system of a path (`statvfs`). May hang where the file
/// system does: not for mounts of storage domains.
pub fn space_free(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// `major:minor` of the file system that holds `path`, from the text of mountinfo: of the mounts that are
/// above it the deepest, of those at the same place the last.
pub(crate) fn device_of(mountinfo: &str, path: &str) -> Option<(u32, u32)> {
    let mut best: Option<(usize, &str)> = None;
    for line in mountinfo.lines() {
        let mut words = line.split(' ');
        let (Some(device), Some(point)) = (words.nth(2), words.nth(1)) else {
            continue;
        };
        if Path::new(path).starts_with(point) && best.is_none_or(|(len, _)| point.len() >= len) {
            best = Some((point.len(), device));
        }
    }
    let (major, minor) = best?.1.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// UUID of the file system of `/boot`, by the device that udev's link leads to.
pub(crate) fn boot_uuid(reader: &mut Reader<'_>) -> Option<String> {
    const BY_UUID: &str = "/dev/disk/by-uuid";
    let mountinfo = reader.text("/proc/self/mountinfo")?;
    let device = device_of(&mountinfo, "/boot")?;
    reader.names(BY_UUID).into_iter().find(|name| {
        let path = reader.full(&format!("{BY_UUID}/{name}"));
        std::fs::metadata(path).is_ok_and(|found| {
            let number = found.rdev();
            (rustix::fs::major(number), rustix::fs::minor(number)) == device
        })
    })
}
