//! The life of tasks: success, failure, stop, revert, clear, restart, bounds.
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
    time::Duration,
};

use common::{Undo, note, open, open_with, spec, step};
use tasks::{Config, State, TaskError, TaskFailure, TaskOutput};

const LONG: Duration = Duration::from_mins(1);

fn output() -> TaskOutput {
    TaskOutput(vec![("uuid".into(), "b3241c9c".into())])
}

#[test]
fn success_as_the_transcript_shows_it() {
    let dir = tempfile::tempdir().unwrap();
    let (manager, report, _) = open(dir.path());
    assert_eq!(report, tasks::RecoveryReport::default());
    let (go, wait) = mpsc::channel();
    let (started, is_started) = mpsc::channel();
    let path = dir.path().to_owned();
    let id = manager
        .submit(spec("createVolume"), move |context| {
            let record = path.join(format!("{}.json", context.id()));
            started.send(record.exists()).unwrap();
            wait.recv().unwrap();
            Ok(output())
        })
        .unwrap()
        .to_string();
    assert!(
        is_started.recv().unwrap(),
        "the record is on disk before the job runs"
    );
    let status = manager.status(&id).unwrap();
    assert_eq!(status.state, State::Running);
    assert_eq!(
        (status.code, status.message.as_str()),
        (0, "running job 1 of 1")
    );
    go.send(()).unwrap();
    let status = manager.wait(&id, LONG).unwrap();
    assert_eq!(status.state, State::Finished);
    assert_eq!(
        (status.code, status.message.as_str()),
        (0, "1 jobs completed successfully")
    );
    assert_eq!(manager.info(&id).unwrap().verb, "createVolume");
    let all = manager.all();
    assert_eq!(
        (all[0].output.clone(), all[0].tag.as_str()),
        (output(), "spm")
    );
    manager.clear(&id).unwrap();
    assert!(matches!(
        manager.status(&id),
        Err(TaskError::Unknown { .. })
    ));
    assert!(
        matches!(manager.clear(&id), Err(TaskError::Unknown { .. })),
        "a second clear"
    );
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    assert!(manager.close(LONG));
}

#[test]
fn a_waiting_task_is_initializing() {
    let dir = tempfile::tempdir().unwrap();
    let undo = Arc::new(Undo::default());
    let (manager, _) = open_with(
        dir.path(),
        Config {
            threads: 1,
            queue: 2,
        },
        &undo,
    );
    let (go, wait) = mpsc::channel::<()>();
    let (started, is_started) = mpsc::channel();
    let first = manager
        .submit(spec("a"), move |_| {
            started.send(()).unwrap();
            let _ = wait.recv();
            Ok(TaskOutput::default())
        })
        .unwrap();
    is_started.recv().unwrap();
    let ran = Arc::new(AtomicUsize::new(0));
    let submit = || {
        let ran = ran.clone();
        manager.submit(spec("b"), move |_| {
            ran.fetch_add(1, Ordering::SeqCst);
            Ok(TaskOutput::default())
        })
    };
    let second = submit().unwrap().to_string();
    let third = submit().unwrap().to_string();
    assert!(
        matches!(submit(), Err(TaskError::Refused { .. })),
        "the queue is bounded"
    );
    let status = manager.status(&second).unwrap();
    assert_eq!(
        (status.state, status.message.as_str()),
        (State::Queued, "Task is initializing")
    );
    manager.stop(&second).unwrap();
    assert_eq!(manager.status(&second).unwrap().state, State::Aborting);
    go.send(()).unwrap();
    assert_eq!(manager.wait(&second, LONG).unwrap().state, State::Recovered);
    assert_eq!(manager.wait(&third, LONG).unwrap().state, State::Finished);
    assert_eq!(
        manager.wait(&first.to_string(), LONG).unwrap().state,
        State::Finished
    );
    assert_eq!(
        ran.load(Ordering::SeqCst),
        1,
        "a task that was stopped before it began never runs"
    );
    assert!(manager.close(LONG));
}

#[test]
fn failure_undoes_last_first_and_keeps_the_code() {
    let dir = tempfile::tempdir().unwrap();
    let (manager, _, undo) = open(dir.path());
    let id = manager
        .submit(spec("x"), |context| {
            for name in ["one", "two", "three"] {
                context.push_undo(note(name)).unwrap();
            }
            Err(TaskFailure::new(205, "Volume already exists: ('v',)"))
        })
        .unwrap()
        .to_string();
    let status = manager.wait(&id, LONG).unwrap();
    assert_eq!((status.state, status.code), (State::Recovered, 205));
    assert_eq!(
        status.message,
        "value=Volume already exists: ('v',) abortedcode=205"
    );
    assert_eq!(status.state, State::Recovered);
    assert_eq!(undo.seen(), ["note three", "note two", "note one"]);
    assert!(matches!(
        manager.revert(&id),
        Err(TaskError::NotRevertable { .. })
    ));
    manager.stop(&id).unwrap();
    manager.clear(&id).unwrap();
    assert!(manager.close(LONG));
}

#[test]
fn stop_reaches_the_job_and_undoes() {
    let dir = tempfile::tempdir().unwrap();
    let (manager, _, _) = open(dir.path());
    let file = dir.path().join("made-by-the-job");
    let (started, is_started) = mpsc::channel();
    let (heard, is_heard) = mpsc::channel();
    let made = file.clone();
    let id = manager
        .submit(spec("x"), move |context| {
            context.push_undo(step("remove", &made)).unwrap();
            fs::write(&made, "half").unwrap();
            let _guard = context.on_cancel(move || heard.send(()).unwrap());
            started.send(()).unwrap();
            while !context.is_cancelled() {
                thread::sleep(Duration::from_millis(1));
            }
            Err(TaskFailure::stopped())
        })
        .unwrap()
        .to_string();
    is_started.recv().unwrap();
    assert!(file.exists());
    assert!(matches!(
        manager.clear(&id),
        Err(TaskError::NotClearable {
            state: State::Running
        })
    ));
    assert!(matches!(
        manager.revert(&id),
        Err(TaskError::NotFinished {
            state: State::Running
        })
    ));
    manager.stop(&id).unwrap();
    manager.stop(&id).unwrap();
    is_heard.recv().unwrap();
    let status = manager.wait(&id, LONG).unwrap();
    assert_eq!((status.state, status.code), (State::Recovered, 411));
    assert_eq!(status.message, "value=shutting down abortedcode=411");
    assert!(!file.exists());
    assert!(manager.close(LONG));
}

#[test]
fn a_job_that_does_not_hear_the_stop_is_undone_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (manager, _, undo) = open(dir.path());
    let (go, wait) = mpsc::channel::<()>();
    let (started, is_started) = mpsc::channel();
    let id = manager
        .submit(spec("x"), move |context| {
            context.push_undo(note("it")).unwrap();
            started.send(()).unwrap();
            wait.recv().unwrap();
            assert_eq!(context.on_cancel_called_at_once(), 1);
            Ok(output())
        })
        .unwrap()
        .to_string();
    is_started.recv().unwrap();
    manager.stop(&id).unwrap();
    assert_eq!(manager.status(&id).unwrap().state, State::Aborting);
    go.send(()).unwrap();
    assert_eq!(manager.wait(&id, LONG).unwrap().state, State::Recovered);
    assert_eq!(undo.seen(), ["note it"]);
    assert!(manager.close(LONG));
}

trait CalledAtOnce {
    fn on_cancel_called_at_once(&self) -> usize;
}

impl CalledAtOnce for tasks::TaskContext {
    fn on_cancel_called_at_once(&self) -> usize {
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = calls.clone();
        drop(self.on_cancel(move || {
            counter.fetch_add(1, Ordering::SeqCst);
        }));
        calls.load(Ordering::SeqCst)
    }
}

#[test]
fn revert_undoes_what_had_succeeded() {
    let dir = tempfile::tempdir().unwrap();
    let (manager, _, _) = open(&dir.path().join("tasks"));
    let file = dir.path().join("volume");
    let made = file.clone();
    let id = manager
        .submit(spec("x"), move |context| {
            context.push_undo(step("remove", &made)).unwrap();
            fs::write(&made, "whole").unwrap();
            Ok(output())
        })
        .unwrap()
        .to_string();
    assert_eq!(manager.wait(&id, LONG).unwrap().state, State::Finished);
    assert!(file.exists());
    manager.revert(&id).unwrap();
    assert_eq!(manager.wait(&id, LONG).unwrap().state, State::Recovered);
    assert!(!file.exists());
    assert!(manager.close(LONG));
}

#[test]
fn a_panic_is_a_failure_and_the_thread_goes_on() {
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
    let id = manager
        .submit(spec("x"), |context| {
            context.push_undo(note("it")).unwrap();
            panic!("boom");
        })
        .unwrap()
        .to_string();
    let status = manager.wait(&id, LONG).unwrap();
    assert_eq!((status.state, status.code), (State::Recovered, 100));
    assert!(status.message.contains("boom"), "{}", status.message);
    let id = manager
        .submit(spec("x"), |context| {
            context.push_undo(step("panic", "x".as_ref())).unwrap();
            Err(TaskFailure::new(1, "no"))
        })
        .unwrap()
        .to_string();
    assert_eq!(manager.wait(&id, LONG).unwrap().state, State::Failed);
    let id = manager
        .submit(spec("x"), |_| Ok(output()))
        .unwrap()
        .to_string();
    assert_eq!(manager.wait(&id, LONG).unwrap().state, State::Finished);
    assert!(manager.close(LONG));
}

#[test]
fn ids_from_the_wire() {
    let dir = tempfile::tempdir().unwrap();
    let (manager, _, _) = open(dir.path());
    for (id, possible) in [
        ("", false),
        ("a.b", false),
        ("../x", false),
        ("x", true),
        ("00000000-0000-0000-0000-000000000000", true),
    ] {
        let errors = [
            manager.status(id).err(),
            manager.info(id).err(),
            manager.stop(id).err(),
            manager.revert(id).err(),
            manager.clear(id).err(),
        ];
        for error in errors {
            match error.unwrap() {
                TaskError::Unknown { id: told } => assert!(possible && told == id),
                TaskError::InvalidId { id: told } => assert!(!possible && told == id),
                other => panic!("{id}: {other}"),
            }
        }
    }
}

#[test]
fn events_and_progress() {
    use State::{Finished, Queued, Running};

    let dir = tempfile::tempdir().unwrap();
    let (manager, _, _) = open(dir.path());
    let events = manager.subscribe();
    drop(manager.subscribe());
    let id = manager
        .submit(spec("x"), |context| {
            for percent in [10, 50, 40, 200] {
                context.progress(percent);
            }
            Ok(output())
        })
        .unwrap()
        .to_string();
    manager.wait(&id, LONG).unwrap();
    manager.clear(&id).unwrap();
    let seen: Vec<_> = events
        .try_iter()
        .map(|e| (e.status.state, e.status.progress, e.cleared))
        .collect();
    let wanted = [
        (Queued, None, false),
        (Running, None, false),
        (Running, Some(10), false),
        (Running, Some(50), false),
        (Running, Some(100), false),
        (Finished, Some(100), false),
        (Finished, Some(100), true),
    ];
    assert_eq!(seen, wanted);
    assert!(manager.close(LONG));
}

#[test]
fn a_context_that_outlives_its_job_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (manager, _, undo) = open(dir.path());
    let (send, receive) = mpsc::channel();
    let id = manager.submit(spec("x"), move |context| {
        send.send(context.clone()).unwrap();
        Ok(output())
    });
    manager.wait(&id.unwrap().to_string(), LONG).unwrap();
    let context = receive.recv().unwrap();
    assert!(matches!(
        context.push_undo(note("late")),
        Err(TaskError::NotRunning { .. })
    ));
    assert!(undo.seen().is_empty());
    assert!(manager.close(LONG));
}

#[test]
fn undo_steps_of_many_threads_of_one_job_are_all_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (manager, _, undo) = open(dir.path());
    let id = manager.submit(spec("x"), |context| {
        thread::scope(|scope| {
            for n in 0..8 {
                scope.spawn(move || context.push_undo(note(&n.to_string())).unwrap());
            }
        });
        Err(TaskFailure::new(1, "no"))
    });
    manager.wait(&id.unwrap().to_string(), LONG).unwrap();
    assert_eq!(undo.seen().len(), 8);
    assert!(manager.close(LONG));
}
