//! What a running `vdsmd` takes of the machine, from `/proc`; and that it gives it back.

use std::{
    fs,
    time::{Duration, Instant},
};

use rustix::process::{Pid, WaitOptions, waitpid};

/// Counts may differ by this many: threads for blocking calls come and go.
const TOLERANCE: usize = 2;
/// How long counts may take to settle: the runtime keeps idle threads for 10 s.
const SETTLE: Duration = Duration::from_secs(30);

/// Descriptors and threads of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Open descriptors.
    pub descriptors: usize,
    /// Threads.
    pub threads: usize,
}

impl Footprint {
    /// What a process has now.
    pub fn of(pid: u32) -> Self {
        let count = |what: &str| fs::read_dir(format!("/proc/{pid}/{what}")).unwrap().count();
        Self {
            descriptors: count("fd"),
            threads: count("task"),
        }
    }

    /// Waits until the process has no more than this, within the tolerance.
    pub fn comes_back(self, pid: u32) {
        let start = Instant::now();
        loop {
            let now = Self::of(pid);
            let settled = now.descriptors <= self.descriptors + TOLERANCE
                && now.threads <= self.threads + TOLERANCE;
            if settled {
                return;
            }
            assert!(start.elapsed() < SETTLE, "before {self:?}, now {now:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Programs that a process runs.
pub fn children(pid: u32) -> Vec<Pid> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten();
    let of = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("children")).ok();
    let lists: Vec<_> = threads.filter_map(|thread| of(thread.ok()?)).collect();
    let pids = lists.iter().flat_map(|list| list.split_whitespace());
    pids.filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
        .collect()
}

/// Waits for programs whose parent was killed: in a guarded test they become the test's children. Those that
/// outlive their parent are left for the guard to find.
pub fn collect(orphans: &[Pid]) {
    let start = Instant::now();
    for orphan in orphans {
        while let Ok(None) = waitpid(Some(*orphan), WaitOptions::NOHANG)
            && start.elapsed() < Duration::from_secs(2)
        {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Resident memory of a process, KiB.
pub fn resident(pid: u32) -> u64 {
    field(pid, "VmRSS:")
}

/// The most resident memory that a process ever had, KiB.
pub fn peak(pid: u32) -> u64 {
    field(pid, "VmHWM:")
}

fn field(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.unwrap().trim().trim_end_matches(" kB");
    number.parse().unwrap()
}
