//! What a process has at one moment, from `/proc`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process,
};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::Watch;

/// Files of watched folders that are looked at.
const MOST_FILES: usize = 100_000;

/// Something that was not there before.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leak {
    /// An open descriptor.
    Descriptor {
        /// Its number.
        number: i32,
        /// What `readlink` shows.
        target: String,
    },
    /// A running thread.
    Thread {
        /// Its id.
        id: i32,
        /// Its name (at most 15 bytes).
        name: String,
    },
    /// A child, or an orphan that came back to us.
    Child {
        /// Its process id.
        pid: i32,
        /// Its name (at most 15 bytes).
        name: String,
        /// It has ended and nobody has collected it.
        zombie: bool,
    },
    /// A mount.
    Mount {
        /// Its line in `/proc/self/mountinfo`.
        line: String,
    },
    /// A file or folder.
    File {
        /// Its path.
        path: PathBuf,
    },
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Descriptor { number, target } => write!(f, "descriptor {number} -> {target}"),
            Self::Thread { id, name } => write!(f, "thread {id} ({name})"),
            Self::Child {
                pid,
                name,
                zombie: true,
            } => {
                write!(f, "child {pid} ({name}) has ended and was not waited for")
            }
            Self::Child {
                pid,
                name,
                zombie: false,
            } => write!(f, "child {pid} ({name}) runs"),
            Self::Mount { line } => write!(f, "mount {line}"),
            Self::File { path } => write!(f, "file {}", path.display()),
        }
    }
}

impl Leak {
    /// Ends a child that was left running: it is told of, and must not outlive that.
    pub(crate) fn end(&self) {
        if let Self::Child {
            pid, zombie: false, ..
        } = self
            && let Some(pid) = Pid::from_raw(*pid)
        {
            let _ = kill_process(pid, Signal::KILL);
            let _ = waitpid(Some(pid), WaitOptions::empty());
        }
    }
}

/// What a process has.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    /// Number, target, and device and inode of what it leads to.
    descriptors: BTreeSet<(i32, String, u64, u64)>,
    threads: BTreeMap<i32, String>,
    children: BTreeMap<i32, (String, bool)>,
    mounts: BTreeSet<String>,
    files: BTreeSet<PathBuf>,
}

impl Snapshot {
    pub(crate) fn take(watch: &Watch) -> Self {
        let mut files = BTreeSet::new();
        for folder in &watch.folders {
            walk(folder, &mut files);
        }
        Self {
            descriptors: descriptors(),
            threads: threads(),
            children: children(),
            mounts: if watch.mounts {
                mounts()
            } else {
                BTreeSet::new()
            },
            files,
        }
    }

    /// What is here and was not in `before`.
    pub(crate) fn new_since(&self, before: &Self, allowed: &[String]) -> Vec<Leak> {
        let mut leaks = Vec::new();
        let is_allowed = |target: &str| allowed.iter().any(|start| target.starts_with(start));
        let descriptors = self.descriptors.difference(&before.descriptors);
        leaks.extend(
            descriptors
                .filter(|(_, target, ..)| !is_allowed(target))
                .map(|(number, target, ..)| Leak::Descriptor {
                    number: *number,
                    target: target.clone(),
                }),
        );
        let threads = self
            .threads
            .iter()
            .filter(|(id, _)| !before.threads.contains_key(id));
        leaks.extend(threads.map(|(id, name)| Leak::Thread {
            id: *id,
            name: name.clone(),
        }));
        let children = self
            .children
            .iter()
            .filter(|(pid, _)| !before.children.contains_key(pid));
        leaks.extend(children.map(|(pid, (name, zombie))| Leak::Child {
            pid: *pid,
            name: name.clone(),
            zombie: *zombie,
        }));
        let mounts = self.mounts.difference(&before.mounts);
        leaks.extend(mounts.map(|line| Leak::Mount { line: line.clone() }));
        let files = self.files.difference(&before.files);
        leaks.extend(files.map(|path| Leak::File { path: path.clone() }));
        leaks
    }
}

/// Names in a folder of `/proc` that are numbers.
fn numbers(dir: &str) -> Vec<i32> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

fn descriptors() -> BTreeSet<(i32, String, u64, u64)> {
    let own_listing = format!("/proc/{}/fd", process::id());
    let describe = |number: i32| {
        let path = format!("/proc/self/fd/{number}");
        let target = fs::read_link(&path).ok()?.to_string_lossy().into_owned();
        let (device, inode) =
            fs::metadata(&path).map_or((0, 0), |metadata| (metadata.dev(), metadata.ino()));
        (target != own_listing).then_some((number, target, device, inode))
    };
    numbers("/proc/self/fd")
        .into_iter()
        .filter_map(describe)
        .collect()
}

fn threads() -> BTreeMap<i32, String> {
    let name = |id: i32| {
        let text = fs::read_to_string(format!("/proc/self/task/{id}/comm")).ok()?;
        Some((id, text.trim().to_owned()))
    };
    numbers("/proc/self/task")
        .into_iter()
        .filter_map(name)
        .collect()
}

/// What `/proc/PID/stat` says of a process.
struct Stat {
    name: String,
    state: char,
    parent: i32,
    group: i32,
    session: i32,
}

fn stat(pid: i32) -> Option<Stat> {
    let bytes = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, tail) = text.rsplit_once(')')?;
    let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
    Some(Stat {
        name: head.split_once('(')?.1.to_owned(),
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
    })
}

/// Our children. Ended orphans are nobody's to wait for but ours, who adopted them: they are collected here.
fn children() -> BTreeMap<i32, (String, bool)> {
    let own = process::id().cast_signed();
    let us = stat(own);
    let mut children = BTreeMap::new();
    for pid in numbers("/proc") {
        let Some(stat) = stat(pid).filter(|stat| stat.parent == own) else {
            continue;
        };
        let zombie = matches!(stat.state, 'Z' | 'X');
        if zombie && us.as_ref().is_some_and(|us| adopted(us, pid, &stat)) {
            let _ = waitpid(Pid::from_raw(pid), WaitOptions::NOHANG);
        } else {
            children.insert(pid, (stat.name, zombie));
        }
    }
    children
}

/// Our own children are of our session, and of our group or leaders of their own. A daemon is of another
/// session, a grandchild of its parent's group. (An orphan that made a group and no session is taken for a
/// child.)
fn adopted(us: &Stat, pid: i32, stat: &Stat) -> bool {
    stat.session != us.session || (stat.group != pid && stat.group != us.group)
}

fn mounts() -> BTreeSet<String> {
    let text = fs::read("/proc/self/mountinfo").unwrap_or_default();
    String::from_utf8_lossy(&text)
        .lines()
        .map(str::to_owned)
        .collect()
}

/// Everything beneath a folder; links are not followed.
fn walk(folder: &Path, files: &mut BTreeSet<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.filter_map(Result::ok) {
        if files.len() >= MOST_FILES {
            return;
        }
        files.insert(entry.path());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), files);
        }
    }
}
