//! The process is killed in the middle of a task, or the disk is full: no orphan, no lie.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests: what fails here is a failed test"
)]

mod common;

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use common::{Undo, open, open_with, spec, step};
use tasks::{Config, State, TaskError, TaskFailure, TaskOutput};

/// Set for the process that is killed: its folder.
const MARK: &str = "TASKS_TEST_WORK_IN";

/// The child: makes files in tasks, a task for each three files, without end. Not a test by itself.
#[test]
fn work_until_killed() {
    let Ok(dir) = std::env::var(MARK) else { return };
    let dir = Path::new(&dir);
    let (manager, _, _) = open(&dir.join("tasks"));
    for round in 0.. {
        let files = dir.join("files");
        let id = manager.submit(spec("make"), move |context| {
            for n in 0..3 {
                let file = files.join(format!("{}-{n}", context.id()));
                context
                    .push_undo(step("remove", &file))
                    .map_err(|e| TaskFailure::new(413, e.to_string()))?;
                fs::write(&file, "made").unwrap();
                context.progress(n * 33);
            }
            if round % 4 == 3 {
                Err(TaskFailure::new(9, "every fourth fails"))
            } else {
                Ok(TaskOutput::default())
            }
        });
        manager
            .wait(&id.unwrap().to_string(), Duration::from_secs(10))
            .unwrap();
    }
}

fn files_of(dir: &Path, id: &str) -> usize {
    let names = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(id)).count()
}

#[test]
fn killed_at_any_moment_the_next_start_leaves_no_orphan() {
    let dir = tempfile::tempdir().unwrap();
    let files = dir.path().join("files");
    fs::create_dir(&files).unwrap();
    let mut unfinished = 0;
    for round in 0_u64..25 {
        kill_in_the_middle(dir.path(), Duration::from_millis(15 + round * 13 % 37));
        let (manager, report, undo) = open(&dir.path().join("tasks"));
        assert!(
            report.failed.is_empty() && report.quarantined.is_empty(),
            "{report:?}"
        );
        unfinished += report.recovered.len();
        check_order(&undo.seen());
        let mut wanted = 0;
        for status in manager.statuses(None) {
            let id = status.id.to_string();
            let made = if status.state == State::Finished {
                3
            } else {
                0
            };
            assert!(status.state.is_done(), "{status:?}");
            assert_eq!(files_of(&files, &id), made, "{status:?}");
            wanted += made;
        }
        assert_eq!(
            fs::read_dir(&files).unwrap().count(),
            wanted,
            "no file without a task"
        );
        for status in manager.statuses(None) {
            manager.clear(&status.id.to_string()).unwrap();
        }
        fs::remove_dir_all(&files).unwrap();
        fs::create_dir(&files).unwrap();
    }
    println!("killed 25 times, {unfinished} tasks were unfinished");
    assert!(unfinished > 0, "no task was ever caught in the middle");
}

fn kill_in_the_middle(dir: &Path, after: Duration) {
    let mut worker = exec::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "work_until_killed", "--nocapture"])
        .env(MARK, dir)
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while fs::read_dir(dir.join("files")).unwrap().count() == 0 {
        assert!(Instant::now() < deadline, "the worker makes nothing");
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(after);
    worker.signal(9).unwrap();
    worker.wait(Duration::from_secs(10)).unwrap();
}

/// Within a task, steps are undone last first.
fn check_order(seen: &[String]) {
    for pair in seen.windows(2) {
        let (left, right) = (
            pair[0].rsplit_once('-').unwrap(),
            pair[1].rsplit_once('-').unwrap(),
        );
        assert!(left.0 != right.0 || left.1 > right.1, "{pair:?}");
    }
}

/// A file system of 64 KiB.
struct Small(tempfile::TempDir);

impl Small {
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", dir.path(), "tmpfs", flags, c"size=64k").ok()?;
        Some(Self(dir))
    }

    fn fill(&self) {
        let _ = fs::write(self.0.path().join("ballast"), vec![1; 1 << 20]);
    }

    fn empty(&self) {
        fs::remove_file(self.0.path().join("ballast")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn netns_a_full_disk_starts_no_job_and_stops_one_at_its_next_step() {
    let Some(small) = Small::new() else {
        println!("skipped: cannot mount a tmpfs (needs root)");
        return;
    };
    let undo = Arc::new(Undo::default());
    let (manager, _) = open_with(&small.0.path().join("tasks"), Config::default(), &undo);
    small.fill();
    let ran = Arc::new(AtomicBool::new(false));
    let mark = ran.clone();
    let refused = manager.submit(spec("x"), move |_| {
        mark.store(true, Ordering::SeqCst);
        Ok(TaskOutput::default())
    });
    assert!(matches!(refused, Err(TaskError::Persist(_))));
    assert!(manager.statuses(None).is_empty());
    small.empty();

    let ballast = small.0.path().join("ballast");
    let id = manager
        .submit(spec("x"), move |context| {
            context.push_undo(common::note("first")).unwrap();
            fs::write(&ballast, vec![1; 1 << 20]).unwrap_err();
            let result = context.push_undo(common::note("second"));
            assert!(matches!(result, Err(TaskError::Persist(_))));
            fs::remove_file(&ballast).unwrap();
            Err(TaskFailure::new(413, "no room"))
        })
        .unwrap()
        .to_string();
    let status = manager.wait(&id, Duration::from_secs(10)).unwrap();
    assert_eq!((status.state, status.code), (State::Recovered, 413));
    assert_eq!(
        undo.seen(),
        ["note first"],
        "what was not noted was not done"
    );

    let ballast = small.0.path().join("ballast");
    let id = manager
        .submit(spec("x"), move |context| {
            context.push_undo(common::note("only")).unwrap();
            fs::write(&ballast, vec![1; 1 << 20]).unwrap_err();
            Ok(TaskOutput::default())
        })
        .unwrap()
        .to_string();
    let status = manager.wait(&id, Duration::from_secs(10)).unwrap();
    assert_eq!(
        (status.state, status.code),
        (State::Recovered, 413),
        "success that cannot be noted is none"
    );
    assert_eq!(undo.seen().last().unwrap(), "note only");
    assert!(!ran.load(Ordering::SeqCst));
    assert!(manager.close(Duration::from_secs(10)));
}

#[test]
fn damaged_and_strange_records_do_not_stop_the_start() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("7f3bd5de-0000-4000-8000-000000000001.json"),
        "{\"version\":1,",
    )
    .unwrap();
    let strange = r#"{"version":1,"sequence":1,"verb":"v","tag":"t","flow_id":null,"state":"finished","code":0,"message":"m","output":[],"undo":[],"hidden":false}"#;
    fs::write(dir.path().join("notes.json"), strange).unwrap();
    let good = dir.path().join("7f3bd5de-0000-4000-8000-000000000002.json");
    fs::write(good, strange).unwrap();
    let (manager, report, _) = open(dir.path());
    assert_eq!(report.quarantined.len(), 1);
    assert_eq!(report.strangers, ["notes"]);
    assert_eq!(report.done.len(), 1);
    assert_eq!(
        manager.infos(Some("t"))[0].verb,
        "v",
        "the shape of version 1 loads"
    );
}
