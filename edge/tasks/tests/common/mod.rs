//! An undo runner that acts on real files and remembers what it was asked.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests: what fails here is a failed test"
)]
#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    fs, io,
    path::Path,
    sync::{Arc, Mutex},
};

use tasks::{
    Config, RecoveryReport, TaskFailure, TaskId, TaskManager, TaskSpec, UndoRunner, UndoStep,
};

/// `remove` removes a file; `refuse` fails while `refusing`; `panic` panics.
#[derive(Default)]
pub(crate) struct Undo {
    pub(crate) seen: Mutex<Vec<String>>,
    pub(crate) refusing: Mutex<bool>,
}

impl UndoRunner for Undo {
    fn undo(&self, _: TaskId, step: &UndoStep) -> Result<(), TaskFailure> {
        let path = &step.args[0].1;
        self.seen
            .lock()
            .unwrap()
            .push(format!("{} {path}", step.name));
        match step.name.as_str() {
            "refuse" if *self.refusing.lock().unwrap() => Err(TaskFailure::new(77, "refused")),
            "refuse" | "note" => Ok(()),
            "panic" => panic!("undo panics"),
            _ => match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(TaskFailure::new(100, error.to_string()))
                }
                _ => Ok(()),
            },
        }
    }
}

impl Undo {
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

pub(crate) fn step(name: &str, path: &Path) -> UndoStep {
    UndoStep {
        name: name.into(),
        args: vec![("path".into(), path.display().to_string())],
    }
}

pub(crate) fn note(text: &str) -> UndoStep {
    step("note", Path::new(text))
}

pub(crate) fn spec(verb: &str) -> TaskSpec {
    TaskSpec {
        verb: verb.into(),
        tag: "spm".into(),
        flow_id: Some("flow-1".into()),
    }
}

pub(crate) fn open(dir: &Path) -> (TaskManager, RecoveryReport, Arc<Undo>) {
    let undo = Arc::new(Undo::default());
    let (manager, report) = open_with(dir, Config::default(), &undo);
    (manager, report, undo)
}

pub(crate) fn open_with(
    dir: &Path,
    config: Config,
    undo: &Arc<Undo>,
) -> (TaskManager, RecoveryReport) {
    TaskManager::open(dir, config, undo.clone()).unwrap()
}
