//! Fails a test that leaves something behind: descriptors, threads, child processes, mounts, files.
//!
//! `cargo test` runs the tests of a binary on threads of one process, where nobody can say whose a
//! descriptor is. So a guarded test runs again in a process of its own:
//!
//! ```no_run
//! #[test]
//! fn opens_and_closes() {
//!     guard::isolated!(|| {
//!         let file = std::fs::File::open("/etc/hostname").unwrap();
//!         drop(file); // without this the test fails and names /etc/hostname
//!     });
//! }
//! ```
//!
//! In that process `TMPDIR` is a fresh folder that must be empty at the end, orphans (daemons that were
//! started and forgotten) come back to it and are found, and, for root, mounts are its own. Children that
//! were left running are ended after they are told of. A test binary with one test, or a program, can use
//! [`Guard`] directly.
//!
//! States of a guarded test: outside (starts the inner one and judges it), inside (runs, compares).
//! Where to look next: `snapshot.rs` what is seen, `isolated.rs` the process of its own.
#![forbid(unsafe_code)]

mod isolated;
mod snapshot;

use std::{
    fmt,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

pub use isolated::{Isolation, Outcome, is_inside, isolated, isolated_with, outcome, test_name};
pub use snapshot::Leak;
use snapshot::Snapshot;

/// Runs a closure as the test that this stands in, in a process of its own, and fails if it leaves
/// something. Only directly within a `#[test]` function.
#[macro_export]
macro_rules! isolated {
    ($test:expr) => {{
        fn here() {}
        $crate::isolated(
            &$crate::test_name(::std::any::type_name_of_val(&here)),
            $test,
        )
    }};
}

/// As [`isolated!`], in a network of its own ([`Isolation::network`]).
#[macro_export]
macro_rules! in_network {
    ($test:expr) => {{
        fn here() {}
        let isolation = $crate::Isolation {
            network: true,
            ..$crate::Isolation::default()
        };
        $crate::isolated_with(
            &$crate::test_name(::std::any::type_name_of_val(&here)),
            &isolation,
            $test,
        )
    }};
}

/// What is looked at, and what is let pass.
#[derive(Debug, Clone)]
pub struct Watch {
    /// Folders in which nothing new may be left.
    pub folders: Vec<PathBuf>,
    /// Beginnings of descriptor targets (as `readlink` shows them) that are opened once and kept, e.g. by
    /// a library: no leak.
    pub allowed: Vec<String>,
    /// Look at mounts. They belong to the mount namespace, so others' show too: true only in one's own.
    pub mounts: bool,
    /// How long threads and children may take to vanish after the test's end.
    pub grace: Duration,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            folders: Vec::new(),
            allowed: vec!["/dev/urandom".into(), "/dev/random".into()],
            mounts: false,
            grace: Duration::from_secs(2),
        }
    }
}

/// What was left. `Display` names each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaks(pub Vec<Leak>);

impl fmt::Display for Leaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} left behind:", self.0.len())?;
        self.0.iter().try_for_each(|leak| write!(f, "\n  {leak}"))
    }
}

impl std::error::Error for Leaks {}

/// Remembers what the process has; says later what is new. Dropped without [`Guard::finish`] it panics if
/// something is.
#[derive(Debug)]
#[must_use = "a guard that is dropped at once guards nothing"]
pub struct Guard {
    watch: Watch,
    before: Snapshot,
    armed: bool,
}

impl Default for Guard {
    fn default() -> Self {
        Self::new()
    }
}

impl Guard {
    /// Takes a snapshot now. Runtimes and the like that shall live longer are made before.
    pub fn new() -> Self {
        Self::with(Watch::default())
    }

    /// As [`Guard::new`], watching more or allowing more.
    pub fn with(watch: Watch) -> Self {
        let before = Snapshot::take(&watch);
        Self {
            watch,
            before,
            armed: true,
        }
    }

    /// Compares with the snapshot; waits up to the grace time for what is just ending.
    pub fn finish(mut self) -> Result<(), Leaks> {
        self.armed = false;
        self.compare()
    }

    fn compare(&self) -> Result<(), Leaks> {
        let deadline = Instant::now() + self.watch.grace;
        loop {
            let now = Snapshot::take(&self.watch);
            let leaks = now.new_since(&self.before, &self.watch.allowed);
            if leaks.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(Leaks(leaks));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.armed
            && !thread::panicking()
            && let Err(leaks) = self.compare()
        {
            fail(&leaks.to_string());
        }
    }
}

/// The one way in which a test fails here.
#[expect(clippy::panic, reason = "a panic is how a test fails")]
#[track_caller]
fn fail(why: &str) -> ! {
    panic!("{why}");
}
