//! Processes as the kernel shows them: identities that survive the reuse of numbers, trees, ending them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::fd::{AsFd, OwnedFd},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal},
};

use crate::command::MARK;

/// What `/proc/PID/stat` says that is used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) state: u8,
    pub(crate) parent: i32,
    /// Clock ticks since boot.
    pub(crate) start: u64,
}

/// Parses `/proc/PID/stat`. The name in parentheses may hold anything, also `)`.
pub(crate) fn parse_stat(text: &str) -> Option<Stat> {
    let rest = text.get(text.rfind(')')? + 1..)?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    Some(Stat {
        state: *fields.first()?.as_bytes().first()?,
        parent: fields.get(1)?.parse().ok()?,
        start: fields.get(19)?.parse().ok()?,
    })
}

pub(crate) fn stat(pid: i32) -> Option<Stat> {
    let bytes = fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(&String::from_utf8_lossy(&bytes))
}

/// A process by number and start time: the pair names one process of this boot, for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// Clock ticks since boot at its start (`/proc/PID/stat`, field 22).
    pub start_time: u64,
}

impl Process {
    /// The process that has this number now.
    pub fn find(pid: i32) -> Option<Self> {
        stat(pid).map(|stat| Self {
            pid,
            start_time: stat.start,
        })
    }

    /// Does it still run? A zombie does not.
    pub fn is_alive(&self) -> bool {
        stat(self.pid)
            .is_some_and(|s| s.start == self.start_time && !matches!(s.state, b'Z' | b'X'))
    }

    /// Its process id's descriptor, if it still is the same process.
    fn open(&self) -> Option<OwnedFd> {
        let fd = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        self.is_alive().then_some(fd)
    }

    /// Sends a signal to this process only. `NotFound` if it has ended.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        let fd = self
            .open()
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let signal = Signal::from_named_raw(signal)
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(pidfd_send_signal(&fd, signal)?)
    }

    /// Waits until it has ended; false if it had not by then.
    pub fn wait(&self, timeout: Duration) -> bool {
        let Some(fd) = self.open() else { return true };
        wait_readable(&fd, Instant::now() + timeout)
    }

    /// Ends it and its descendants: SIGTERM to it, after `grace` SIGKILL to it and all that it had started.
    /// True when it is gone (at most 5 s after the SIGKILL). Idempotent.
    pub fn terminate(&self, grace: Duration) -> bool {
        let Some(fd) = self.open() else { return true };
        let tree = Tree::of(self.pid);
        let _ = pidfd_send_signal(&fd, Signal::TERM);
        let gone = wait_readable(&fd, Instant::now() + grace);
        tree.kill();
        if !gone {
            let _ = pidfd_send_signal(&fd, Signal::KILL);
        }
        gone || wait_readable(&fd, Instant::now() + Duration::from_secs(5))
    }
}

/// Waits until a descriptor is readable (a pidfd: until the process has ended).
pub(crate) fn wait_readable(fd: &impl AsFd, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(fd, PollFlags::IN)];
        match poll(&mut fds, Some(&timespec(left))) {
            Ok(0) if left.is_zero() => return false,
            Ok(ready) if ready > 0 => return true,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

/// A duration for `poll`, at most a day.
pub(crate) fn timespec(duration: Duration) -> Timespec {
    let capped = duration.min(Duration::from_hours(24));
    Timespec {
        tv_sec: i64::try_from(capped.as_secs()).unwrap_or(86_400),
        tv_nsec: i64::from(capped.subsec_nanos()),
    }
}

/// The descendants of a process at one moment, each held by a pidfd, so that none can be mistaken later.
#[derive(Debug)]
pub(crate) struct Tree {
    members: Vec<OwnedFd>,
}

impl Tree {
    /// Descendants of `root`, without it: also those that left its process group.
    pub(crate) fn of(root: i32) -> Self {
        let parents = parents();
        let mut known = BTreeSet::from([root]);
        let mut members = Vec::new();
        // Children often have larger numbers than parents, not always: repeat until nothing is new.
        loop {
            let before = known.len();
            for (pid, parent) in &parents {
                if known.contains(parent) && !known.contains(pid) {
                    known.insert(*pid);
                    members.extend(hold(*pid, *parent));
                }
            }
            if known.len() == before {
                return Self { members };
            }
        }
    }

    /// SIGKILL to each that still runs.
    pub(crate) fn kill(&self) {
        for fd in &self.members {
            let _ = pidfd_send_signal(fd, Signal::KILL);
        }
    }
}

#[cfg(test)]
impl Tree {
    /// Is one of them called so (`/proc/PID/comm`)? Not exact: names are read from numbers.
    pub(crate) fn has_program(&self, name: &str) -> bool {
        let numbers = self.members.iter().filter_map(|fd| {
            use std::os::fd::AsRawFd;
            let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).ok()?;
            info.lines()
                .find_map(|line| line.strip_prefix("Pid:")?.trim().parse::<i32>().ok())
        });
        numbers
            .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).ok())
            .any(|comm| comm.trim() == name)
    }
}

/// A mark that no other start of this boot has, as a variable for the environment.
pub(crate) fn mark() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let own = std::process::id();
    let since = stat(own.cast_signed()).map_or(0, |stat| stat.start);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("{MARK}={own}-{since}-{number}")
}

/// SIGKILL to every process that carries the mark, again until none is found that was not yet killed: one of
/// them may be starting others meanwhile.
pub(crate) fn kill_marked(mark: &str) {
    for _ in 0..20 {
        let Ok(entries) = fs::read_dir("/proc") else {
            return;
        };
        let numbers = entries
            .filter_map(Result::ok)
            .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let found: Vec<_> = numbers.filter_map(|pid| carrier(pid, mark)).collect();
        if found.is_empty() {
            return;
        }
        Tree { members: found }.kill();
    }
}

/// A pidfd of a process that carries the mark and has not ended.
fn carrier(pid: i32, mark: &str) -> Option<OwnedFd> {
    let carries = || {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == mark.as_bytes())
    };
    if !carries() {
        return None;
    }
    let fd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    // Again, now that the number cannot become another process's.
    carries().then_some(fd)
}

/// A pidfd of a process, if it still has that parent.
fn hold(pid: i32, parent: i32) -> Option<OwnedFd> {
    let fd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    (stat(pid)?.parent == parent).then_some(fd)
}

/// Every process of the machine and its parent.
fn parents() -> BTreeMap<i32, i32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return BTreeMap::new();
    };
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter_map(|pid| Some((pid, stat(pid)?.parent)))
        .collect()
}

/// A signal to a process group whose leader is our unreaped child.
pub(crate) fn signal_group(leader: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(leader) {
        let _ = kill_process_group(pid, signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stat_with_an_odd_name() {
        let tail = "S 7 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        let seen = parse_stat(&format!("12 (a) b (c)) {tail}")).unwrap();
        assert_eq!(
            seen,
            Stat {
                state: b'S',
                parent: 7,
                start: 4242
            }
        );
    }

    #[test]
    fn own_process_is_alive_and_another_start_time_is_not() {
        let own = Process::find(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(own.is_alive());
        let other = Process {
            start_time: own.start_time + 1,
            ..own
        };
        assert!(!other.is_alive());
        assert!(other.wait(Duration::ZERO));
        assert_eq!(
            other.signal(15).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        assert!(other.terminate(Duration::ZERO), "a stranger is left alone");
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "\\PC{0,200}") {
            let _ = parse_stat(&text);
        }
    }
}
