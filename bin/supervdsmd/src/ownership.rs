//! Setting owner and mode of a path beneath an allowed root.
//!
//! The path is resolved by the kernel in one call that leaves the root for nothing (`openat2` with
//! `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`), the root itself without symbolic links either; then only the
//! open descriptor is used, so that nothing can be put in its place. Owner before mode: killed in between, the
//! same request again finishes.

use std::path::Path;

use privileged::{Outcome, Refusal, SetOwnership};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{
        FileType, Gid, Mode, OFlags, RawMode, ResolveFlags, Stat, Uid, fchmod, fchown, fstat,
        openat2,
    },
    io::Errno,
};

use crate::{accounts::Ids, serve::Policy};

/// Permission bits of `st_mode`, set-uid and its kin among them.
const PERMISSIONS: RawMode = 0o7777;

pub(crate) fn set(policy: &Policy, request: &SetOwnership) -> Result<Outcome, Refusal> {
    let owner = request.owner;
    let ids = policy.ids(owner).ok_or(Refusal::Owner { owner })?;
    if !policy
        .roots
        .iter()
        .any(|root| root == request.root.as_path())
    {
        return Err(Refusal::Root {});
    }
    let root = open_root(request.root.as_path())?;
    let path = request.path.as_path();
    // Looked at without opening first: opening a device may do something.
    let seen = open_beneath(&root, path, OFlags::PATH | OFlags::NOFOLLOW)?;
    check(policy, &stat(&seen)?)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
    let file = open_beneath(&root, path, flags)?;
    let now = stat(&file)?;
    check(policy, &now)?;
    apply(&file, &now, ids, request.mode.bits())
}

fn open_root(root: &Path) -> Result<OwnedFd, Refusal> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS;
    openat2(rustix::fs::CWD, root, flags, Mode::empty(), resolve).map_err(|e| refusal("openat2", e))
}

fn open_beneath(root: &OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Refusal> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = flags | OFlags::CLOEXEC;
    openat2(root, path, flags, Mode::empty(), resolve).map_err(|e| refusal("openat2", e))
}

fn stat(fd: impl AsFd) -> Result<Stat, Refusal> {
    fstat(fd).map_err(|e| refusal("fstat", e))
}

/// Only files and folders; a file with several names only if it is one of the agent's already, for another name
/// of it may lie anywhere on the file system.
fn check(policy: &Policy, stat: &Stat) -> Result<(), Refusal> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Ok(()),
        FileType::RegularFile => {
            let uid = stat.st_uid;
            let known = [policy.vdsm, policy.qemu]
                .into_iter()
                .flatten()
                .any(|ids| ids.uid == uid);
            if stat.st_nlink > 1 && !known {
                return Err(Refusal::Linked { uid });
            }
            Ok(())
        }
        FileType::Symlink => Err(Refusal::Escape {}),
        _ => Err(Refusal::Kind {}),
    }
}

fn apply(file: &OwnedFd, now: &Stat, ids: Ids, mode: u32) -> Result<Outcome, Refusal> {
    let owned = (now.st_uid, now.st_gid) == (ids.uid, ids.gid);
    if owned && now.st_mode & PERMISSIONS == mode {
        return Ok(Outcome::Identity);
    }
    if !owned {
        let (uid, gid) = (Uid::from_raw(ids.uid), Gid::from_raw(ids.gid));
        fchown(file, Some(uid), Some(gid)).map_err(|e| refusal("fchown", e))?;
    }
    fchmod(file, Mode::from_raw_mode(mode)).map_err(|e| refusal("fchmod", e))?;
    Ok(Outcome::Changed)
}

fn refusal(call: &str, errno: Errno) -> Refusal {
    match errno {
        Errno::NOENT | Errno::NOTDIR => Refusal::NotFound {},
        Errno::LOOP | Errno::XDEV => Refusal::Escape {},
        errno => Refusal::System {
            call: call.to_owned(),
            errno: errno.raw_os_error(),
        },
    }
}
