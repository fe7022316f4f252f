//! A closed manager leaves no thread and no descriptor.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests: what fails here is a failed test"
)]

mod common;

use std::time::Duration;

use common::{note, open, spec};
use tasks::{TaskFailure, TaskOutput};

#[test]
fn a_closed_manager_leaves_nothing() {
    guard::isolated!(|| {
        let dir = tempfile::tempdir().unwrap();
        let (manager, _, _) = open(dir.path());
        let ids: Vec<String> = (0..40)
            .map(|n| {
                let id = manager.submit(spec("x"), move |context| {
                    context.push_undo(note("x")).unwrap();
                    match n % 3 {
                        0 => Ok(TaskOutput::default()),
                        1 => Err(TaskFailure::new(1, "no")),
                        _ => panic!("in a job"),
                    }
                });
                id.unwrap().to_string()
            })
            .collect();
        for id in &ids {
            manager.wait(id, Duration::from_secs(30)).unwrap();
            manager.clear(id).unwrap();
        }
        assert!(manager.close(Duration::from_secs(10)));
    });
}

/// Dropping alone ends idle threads too.
#[test]
fn a_dropped_manager_leaves_nothing() {
    guard::isolated!(|| {
        let dir = tempfile::tempdir().unwrap();
        let (manager, _, _) = open(dir.path());
        let id = manager
            .submit(spec("x"), |_| Ok(TaskOutput::default()))
            .unwrap();
        manager
            .wait(&id.to_string(), Duration::from_secs(30))
            .unwrap();
        drop(manager);
    });
}
