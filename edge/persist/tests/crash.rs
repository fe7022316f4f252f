//! Writers that are killed, disks that are full: a record is old or new, never between.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests: what fails here is a failed test"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use persist::{PersistError, Store};
use serde::{Deserialize, Serialize};

/// Set for the process that writes until it is killed: the folder.
const MARK: &str = "PERSIST_TEST_WRITE_INTO";

/// Filled with one number, so that a mixture of two generations shows.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Filled {
    number: u64,
    filling: Vec<u64>,
}

impl Filled {
    /// Sizes differ from one generation to the next: shorter ones would leave the tail of longer ones.
    fn new(number: u64) -> Self {
        Self {
            number,
            filling: vec![number; usize::try_from(number % 7).unwrap() * 500 + 1],
        }
    }
}

/// The child: not a test by itself.
#[test]
fn write_until_killed() {
    let Ok(dir) = std::env::var(MARK) else { return };
    let store: Store<Filled> = Store::open(PathBuf::from(dir), 1).unwrap();
    let records = store.load_all().unwrap().records;
    let newest = records
        .values()
        .map(|record| record.number)
        .max()
        .unwrap_or(0);
    for number in newest + 1.. {
        store
            .put(
                ["a", "b"][usize::try_from(number % 2).unwrap()],
                &Filled::new(number),
            )
            .unwrap();
    }
}

#[test]
fn a_writer_killed_at_any_moment_leaves_whole_records() {
    let dir = tempfile::tempdir().unwrap();
    let mut newest = 0;
    let mut torn = 0;
    for round in 0_u64..40 {
        let mut writer = exec::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "write_until_killed", "--nocapture"])
            .env(MARK, dir.path())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_millis(20 + round * 7 % 31));
        writer.signal(9).unwrap();
        writer.wait(Duration::from_secs(10)).unwrap();
        torn += usize::from(has_temporary(dir.path()));
        let store: Store<Filled> = Store::open(dir.path(), 1).unwrap();
        assert!(!has_temporary(dir.path()), "leftovers are removed");
        let loaded = store.load_all().unwrap();
        assert!(loaded.quarantined.is_empty(), "{:?}", loaded.quarantined);
        for (name, record) in &loaded.records {
            assert_eq!(*record, Filled::new(record.number), "{name} is whole");
        }
        let now = loaded
            .records
            .values()
            .map(|record| record.number)
            .max()
            .unwrap_or(0);
        assert!(
            now >= newest,
            "nothing that was there is lost: {newest}, {now}"
        );
        newest = now;
    }
    println!("{newest} writes, killed in the middle of one {torn} times of 40");
    assert!(newest > 40, "the writer really wrote");
}

fn has_temporary(dir: &Path) -> bool {
    let names = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    names
        .into_iter()
        .any(|name| name.to_str().unwrap().ends_with(".vdsm-tmp"))
}

/// A file system of 64 KiB that goes when dropped.
struct Small(tempfile::TempDir);

impl Small {
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let options = c"size=64k";
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", dir.path(), "tmpfs", flags, options).ok()?;
        Some(Self(dir))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn netns_a_full_disk_leaves_the_old_record() {
    let Some(small) = Small::new() else {
        println!("skipped: cannot mount a tmpfs (needs root)");
        return;
    };
    let store: Store<Filled> = Store::open(small.0.path().join("records"), 1).unwrap();
    store.put("a", &Filled::new(1)).unwrap();
    let large = Filled {
        number: 2,
        filling: vec![u64::MAX; 10_000],
    };
    let Err(PersistError::Write { source, .. }) = store.put("a", &large) else {
        panic!()
    };
    assert_eq!(source.raw_os_error(), Some(28), "ENOSPC");
    assert_eq!(
        store.get("a").unwrap(),
        Some(Filled::new(1)),
        "the old record is intact"
    );
    assert!(!has_temporary(store.dir()), "and the torn file is gone");
    store.put("a", &Filled::new(3)).unwrap();
    assert_eq!(store.load_all().unwrap().records["a"], Filled::new(3));
}

/// The same without root: the kernel ends a writer whose file grows over its limit.
#[test]
fn a_writer_ended_by_its_file_limit_leaves_the_old_record() {
    let dir = tempfile::tempdir().unwrap();
    let store: Store<Filled> = Store::open(dir.path(), 1).unwrap();
    store.put("a", &Filled::new(1)).unwrap();
    let output = exec::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "write_until_killed", "--nocapture"])
        .env(MARK, dir.path())
        .file_limit(4096)
        .run()
        .unwrap();
    assert_eq!(
        output.exit,
        exec::Exit::Signal(25),
        "SIGXFSZ: {}",
        output.stderr_text()
    );
    assert!(has_temporary(dir.path()), "it was in the middle of a write");
    let store: Store<Filled> = Store::open(dir.path(), 1).unwrap();
    for (name, record) in store.load_all().unwrap().records {
        assert_eq!(record, Filled::new(record.number), "{name}");
    }
    assert!(!has_temporary(dir.path()));
}

/// A folder that cannot be written (as it is after a disk went read-only).
#[test]
fn a_read_only_folder_is_an_error() {
    let result = Store::<Filled>::open("/proc/no/such/folder", 1);
    assert!(matches!(result, Err(PersistError::Open { .. })));
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(matches!(
        Store::<Filled>::open(file.path(), 1),
        Err(PersistError::Open { .. })
    ));
}
