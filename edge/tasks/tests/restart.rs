//! Tasks over restarts, closing, failed undo, many at once.
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
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use common::{Undo, note, open, open_with, spec, step};
use tasks::{Config, State, TaskError, TaskFailure, TaskOutput};

const LONG: Duration = Duration::from_mins(1);

fn output() -> TaskOutput {
    TaskOutput(vec![("uuid".into(), "b3241c9c".into())])
}

#[test]
fn a_failed_undo_is_kept_and_retried_even_if_cleared() {
    let dir = tempfile::tempdir().unwrap();
    let undo = Arc::new(Undo::default());
    *undo.refusing.lock().unwrap() = true;
    let (manager, _) = open_with(dir.path(), Config::default(), &undo);
    let mut ids = Vec::new();
    for _ in 0..2 {
        let id = manager.submit(spec("x"), |context| {
            context.push_undo(note("first")).unwrap();
            context
                .push_undo(step("refuse", "second".as_ref()))
                .unwrap();
            context.push_undo(note("third")).unwrap();
            Err(TaskFailure::new(5, "no"))
        });
        ids.push(id.unwrap());
        let status = manager
            .wait(&ids.last().unwrap().to_string(), LONG)
            .unwrap();
        assert_eq!(status.state, State::Failed);
        assert_eq!(status.code, 5);
    }
    manager.clear(&ids[1].to_string()).unwrap();
    assert!(matches!(
        manager.status(&ids[1].to_string()),
        Err(TaskError::Unknown { .. })
    ));
    assert!(manager.close(LONG));
    drop(manager);
    undo.seen.lock().unwrap().clear();

    let (manager, report) = open_with(dir.path(), Config::default(), &undo);
    let failed: Vec<_> = report
        .failed
        .iter()
        .map(|failed| (failed.task, failed.step.name.as_str()))
        .collect();
    assert_eq!(
        failed,
        [(ids[1], "refuse"), (ids[0], "refuse")],
        "newest first"
    );
    assert_eq!(
        undo.seen(),
        ["refuse second", "refuse second"],
        "what was done is not done again"
    );
    assert_eq!(
        manager.statuses(None).len(),
        1,
        "a cleared one stays cleared"
    );
    drop(manager);

    *undo.refusing.lock().unwrap() = false;
    let (manager, report) = open_with(dir.path(), Config::default(), &undo);
    assert_eq!(report.recovered, [ids[1], ids[0]]);
    let status = manager.status(&ids[0].to_string()).unwrap();
    assert_eq!(
        (status.state, status.code),
        (State::Recovered, 5),
        "the first failure is kept"
    );
    drop(manager);
    let (_, report) = open_with(dir.path(), Config::default(), &undo);
    assert_eq!((report.done, report.recovered), (vec![ids[0]], vec![]));
}

#[test]
fn finished_tasks_survive_a_restart_until_cleared() {
    let dir = tempfile::tempdir().unwrap();
    let (manager, _, _) = open(dir.path());
    let ids: Vec<String> = (0..3)
        .map(|n| {
            let id = manager.submit(spec(&format!("verb{n}")), |context| {
                context.push_undo(note("x")).unwrap();
                Ok(output())
            });
            let id = id.unwrap().to_string();
            assert_eq!(manager.wait(&id, LONG).unwrap().state, State::Finished);
            id
        })
        .collect();
    manager.clear(&ids[1]).unwrap();
    let before = manager.all();
    assert!(manager.close(LONG));
    drop(manager);
    let (manager, report, undo) = open(dir.path());
    assert_eq!(manager.all(), before);
    assert_eq!(report.done.len(), 2);
    assert!(undo.seen().is_empty(), "what succeeded is not undone");
    manager.revert(&ids[2]).unwrap();
    assert_eq!(manager.wait(&ids[2], LONG).unwrap().state, State::Recovered);
    assert_eq!(undo.seen(), ["note x"], "but can still be reverted");
    let newer = manager.submit(spec("newer"), |_| Ok(output())).unwrap();
    assert_eq!(
        manager.infos(None).last().unwrap().id,
        newer,
        "order goes on after a restart"
    );
    assert!(manager.close(LONG));
}

#[test]
fn closing_stops_what_runs_and_keeps_what_waits() {
    let dir = tempfile::tempdir().unwrap();
    let undo = Arc::new(Undo::default());
    let (manager, _) = open_with(
        dir.path(),
        Config {
            threads: 1,
            queue: 10,
        },
        &undo,
    );
    let (started, is_started) = mpsc::channel();
    let running = manager.submit(spec("running"), move |context| {
        started.send(()).unwrap();
        while !context.is_cancelled() {
            thread::sleep(Duration::from_millis(1));
        }
        Err(TaskFailure::stopped())
    });
    let waiting = manager
        .submit(spec("waiting"), |_| panic!("never"))
        .unwrap();
    is_started.recv().unwrap();
    assert!(manager.close(LONG));
    assert!(matches!(
        manager.submit(spec("late"), |_| Ok(output())),
        Err(TaskError::ShuttingDown)
    ));
    assert_eq!(
        manager.status(&running.unwrap().to_string()).unwrap().state,
        State::Recovered
    );
    drop(manager);
    let (manager, report) = open_with(dir.path(), Config::default(), &undo);
    assert_eq!(report.recovered, [waiting]);
    let status = manager.status(&waiting.to_string()).unwrap();
    assert_eq!((status.state, status.code), (State::Recovered, 411));
    assert!(status.message.contains("restarted"), "{}", status.message);
}

#[test]
fn a_job_that_never_ends_does_not_hold_the_close() {
    let dir = tempfile::tempdir().unwrap();
    let (manager, _, _) = open(dir.path());
    let (go, wait) = mpsc::channel::<()>();
    let (started, is_started) = mpsc::channel();
    manager
        .submit(spec("x"), move |_| {
            started.send(()).unwrap();
            let _ = wait.recv();
            Ok(output())
        })
        .unwrap();
    is_started.recv().unwrap();
    let before = Instant::now();
    assert!(!manager.close(Duration::from_millis(100)));
    assert!(before.elapsed() < Duration::from_mins(1));
    drop(go);
    assert!(manager.close(LONG));
}

#[test]
fn a_thousand_tasks() {
    let dir = tempfile::tempdir().unwrap();
    let undo = Arc::new(Undo::default());
    let config = Config {
        threads: 4,
        queue: 2000,
    };
    let (manager, _) = open_with(dir.path(), config, &undo);
    let most = Arc::new(AtomicUsize::new(0));
    let now = Arc::new(AtomicUsize::new(0));
    let ids: Vec<String> = (0..1000)
        .map(|n| {
            let (most, now) = (most.clone(), now.clone());
            let id = manager.submit(spec("x"), move |_| {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                thread::yield_now();
                now.fetch_sub(1, Ordering::SeqCst);
                if n % 2 == 0 {
                    Ok(TaskOutput::default())
                } else {
                    Err(TaskFailure::new(1, "odd"))
                }
            });
            id.unwrap().to_string()
        })
        .collect();
    for (n, id) in ids.iter().enumerate() {
        let state = manager.wait(id, Duration::from_mins(1)).unwrap().state;
        assert_eq!(
            state,
            if n % 2 == 0 {
                State::Finished
            } else {
                State::Recovered
            }
        );
    }
    assert!(most.load(Ordering::SeqCst) <= 4, "threads are bounded");
    let listed: Vec<String> = manager
        .statuses(Some("spm"))
        .iter()
        .map(|s| s.id.to_string())
        .collect();
    assert_eq!(listed, ids, "in the order of making");
    assert!(manager.statuses(Some("other")).is_empty());
    assert!(manager.close(LONG));
    drop(manager);
    let (manager, report) = open_with(dir.path(), config, &undo);
    assert_eq!(report.done.len(), 1000);
    for id in &ids {
        manager.clear(id).unwrap();
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
