//! What is written down before a change, so that whoever starts after a death knows how to go on.
//!
//! ```text
//! change.json     the change: how to undo it, from what to what; there before the first step
//! confirmed.json  "it lasts": there before the first set of files comes into force
//! progress        a line for each stage of the plan that was begun
//! ```
//!
//! `change` alone: undo. `change` and `confirmed` of the same id: finish the storing. `confirmed` alone: all was stored, remove it.
//! Both records are fsynced; `progress` is not: it says which steps a *process* has done, and a host that lost its power has
//! lost their effects as well. A change of another boot has nothing to be undone for the same reason.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
};

use net_model::{Current, Desired, Plan, Stage, Step, undo};
use persist::{PersistError, Store};
use serde::{Deserialize, Serialize};

const VERSION: u64 = 1;
const CHANGE: &str = "change";
const CONFIRMED: &str = "confirmed";
const PROGRESS: &str = "progress";

/// A change, before its first step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Random.
    pub(crate) id: String,
    /// Of which boot of the host.
    pub(crate) boot: String,
    /// The change.
    pub(crate) desired: Desired,
    /// Also into the persistent set.
    pub(crate) persist: bool,
    /// Generation of the running set that it started from.
    pub(crate) generation: Option<u64>,
    /// The stages of its plan, in order, each with what undoes it.
    pub(crate) stages: Vec<StageRecord>,
    /// What it touches, as it was.
    pub(crate) before: Current,
}

/// A stage of the plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StageRecord {
    pub(crate) stage: Stage,
    /// What undoes all of it, in order.
    pub(crate) undo: Vec<Step>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Confirmed {
    id: String,
}

/// What was found.
#[derive(Debug)]
pub(crate) enum Left {
    /// A change that was not confirmed.
    Open(Box<Record>),
    /// One that was.
    Confirmed(Box<Record>),
    /// A record that cannot be read: set aside.
    Damaged(String),
}

/// The records of the one change.
#[derive(Debug)]
pub(crate) struct Journal {
    changes: Store<Record>,
    words: Store<Confirmed>,
    progress: PathBuf,
}

impl Record {
    pub(crate) fn new(desired: Desired, persist: bool, plan: &Plan, boot: &str) -> Self {
        let stages = plan.steps.chunk_by(|a, b| a.stage == b.stage);
        let stages = stages.filter_map(|steps| {
            let stage = steps.first()?.stage;
            let undo = undo(steps);
            Some(StageRecord { stage, undo })
        });
        Self {
            id: random_id(),
            boot: boot.to_owned(),
            desired,
            persist,
            generation: None,
            stages: stages.collect(),
            before: Current::default(),
        }
    }

    /// What undoes the first `begun` stages.
    pub(crate) fn undo(&self, begun: usize) -> Vec<Step> {
        let begun = self.stages.get(..begun).unwrap_or(&self.stages);
        let steps = begun.iter().rev().flat_map(|it| &it.undo);
        steps.cloned().collect()
    }
}

impl Journal {
    /// Opens the folder; makes it if it is not there.
    pub(crate) fn open(dir: &Path) -> Result<Self, PersistError> {
        Ok(Self {
            changes: Store::open(dir.join("change"), VERSION)?,
            words: Store::open(dir.join("word"), VERSION)?,
            progress: dir.join(PROGRESS),
        })
    }

    /// Writes down a change that is about to begin.
    pub(crate) fn begin(&self, record: &Record) -> Result<(), PersistError> {
        let written = fs::write(&self.progress, format!("{}\n", record.id));
        written.map_err(|source| PersistError::Write {
            path: self.progress.clone(),
            source,
        })?;
        self.changes.put(CHANGE, record)
    }

    /// A stage begins. Not being written only means that more is undone than was done.
    pub(crate) fn stage(&self) {
        let file = OpenOptions::new().append(true).open(&self.progress);
        if let Err(error) = file.and_then(|mut it| it.write_all(b"+\n")) {
            tracing::warn!(%error, "the progress of the change cannot be written");
            // Without the file all stages count as begun.
            let _ = fs::remove_file(&self.progress);
        }
    }

    /// From here on it lasts.
    pub(crate) fn confirm(&self, id: &str) -> Result<(), PersistError> {
        self.words.put(CONFIRMED, &Confirmed { id: id.to_owned() })
    }

    /// From here on it does not last, after all.
    pub(crate) fn take_back(&self) -> Result<(), PersistError> {
        self.words.remove(CONFIRMED).map(drop)
    }

    /// It is over. The change goes before the word: alone it would be undone.
    pub(crate) fn end(&self) -> Result<(), PersistError> {
        self.changes.remove(CHANGE)?;
        self.words.remove(CONFIRMED)?;
        let _ = fs::remove_file(&self.progress);
        Ok(())
    }

    /// What a death has left.
    pub(crate) fn left(&self) -> Result<Option<Left>, PersistError> {
        let mut changes = self.changes.load_all()?;
        let words = self.words.load_all()?;
        let word = words.records.get(CONFIRMED);
        if let Some(record) = changes.records.remove(CHANGE) {
            let confirmed = word.is_some_and(|it| it.id == record.id);
            let record = Box::new(record);
            return Ok(Some(if confirmed {
                Left::Confirmed(record)
            } else {
                Left::Open(record)
            }));
        }
        let damaged = changes.quarantined.into_iter().next();
        if damaged.is_none() && word.is_some() {
            self.end()?;
        }
        Ok(damaged.map(|it| Left::Damaged(format!("{}: {}", it.path.display(), it.why))))
    }

    /// How many stages were begun; all if that is not known.
    pub(crate) fn begun(&self, record: &Record) -> usize {
        let all = record.stages.len();
        let Ok(text) = fs::read_to_string(&self.progress) else {
            return all;
        };
        let mut lines = text.lines();
        if lines.next() == Some(record.id.as_str()) {
            lines.count().min(all)
        } else {
            all
        }
    }
}

fn random_id() -> String {
    let mut bytes = [0_u8; 8];
    // Before the pool is ready the id is zero; it only tells one change from another of the same folder.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    format!("{:016x}", u64::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str) -> Record {
        Record {
            id: id.to_owned(),
            ..Record::new(Desired::default(), false, &Plan::default(), "boot")
        }
    }

    #[test]
    fn records_say_what_a_death_left() {
        let dir = tempfile::tempdir().expect("a folder");
        let journal = Journal::open(dir.path()).expect("opened");
        assert!(journal.left().expect("read").is_none());
        journal.begin(&record("a")).expect("written");
        assert!(matches!(journal.left(), Ok(Some(Left::Open(it))) if it.id == "a"));
        journal.confirm("b").expect("written");
        assert!(
            matches!(journal.left(), Ok(Some(Left::Open(_)))),
            "another's word"
        );
        journal.confirm("a").expect("written");
        assert!(matches!(journal.left(), Ok(Some(Left::Confirmed(_)))));
        journal.take_back().expect("removed");
        assert!(matches!(journal.left(), Ok(Some(Left::Open(_)))));
        journal.end().expect("removed");
        assert!(journal.left().expect("read").is_none());
        journal.confirm("a").expect("written");
        assert!(journal.left().expect("read").is_none(), "a word alone");
        fs::write(dir.path().join("change/change.json"), "{").expect("written");
        assert!(matches!(journal.left(), Ok(Some(Left::Damaged(_)))));
        assert!(journal.left().expect("read").is_none(), "told once");
    }

    #[test]
    fn progress_counts_stages_of_this_change() {
        let dir = tempfile::tempdir().expect("a folder");
        let journal = Journal::open(dir.path()).expect("opened");
        let stage = |stage| StageRecord {
            stage,
            undo: Vec::new(),
        };
        let mut it = record("a");
        it.stages = vec![stage(Stage::Remove), stage(Stage::Base)];
        assert_eq!(journal.begun(&it), 2, "not known");
        journal.begin(&it).expect("written");
        assert_eq!(journal.begun(&it), 0);
        journal.stage();
        assert_eq!(journal.begun(&it), 1);
        assert_eq!(
            journal.begun(&Record {
                id: "b".into(),
                ..it
            }),
            2
        );
    }
}
