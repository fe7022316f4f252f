//! What is refused. `Display` is upstream's text for the wire, byte for byte where upstream has one.

use std::fmt::Write;

use persist::PersistError;

use crate::State;

/// Why a request about tasks was refused. Each variant names upstream's code.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// No such task. Code 401 (`UnknownTask`).
    #[error("Task id unknown: ({},)", quoted(id))]
    Unknown {
        /// The id as it was given.
        id: String,
    },
    /// An id that can be no task's: empty, or with a dot. Code 1000 (`InvalidParameterException`).
    #[error("Invalid parameter: {}", quoted(&format!("taskID={id}")))]
    InvalidId {
        /// The id as it was given.
        id: String,
    },
    /// A task can be cleared only when it has come to its end. Code 410 (`TaskStateError`).
    #[error(
        "Operation is not allowed in this task state: ({},)",
        quoted(&format!("can't clean in state {}", state.name()))
    )]
    NotClearable {
        /// Its state.
        state: State,
    },
    /// A task can be reverted only when it has come to its end. Code 403 (`TaskNotFinished`).
    #[error("Task not finished: ({},)", quoted(&format!("can't rollback in state {}", state.name())))]
    NotFinished {
        /// Its state.
        state: State,
    },
    /// A task that was rolled back cannot be reverted once more. Code 441 (`TaskStateTransitionError`).
    #[error(
        "cannot move task to requested state: ({},)",
        quoted(&format!("from {} to racquiring", state.name()))
    )]
    NotRevertable {
        /// Its state.
        state: State,
    },
    /// Too many tasks wait. Code 405 (`AddTaskError`).
    #[error("TaskManager error, unable to add task: ({},)", quoted(why))]
    Refused {
        /// Why.
        why: String,
    },
    /// The agent is about to end. Code 3001 (`ShuttingDownError`).
    #[error("Shutdown in progress: ()")]
    ShuttingDown,
    /// The record could not be written, so nothing was done. Code 413 (`TaskPersistError`).
    #[error("Can't persist task")]
    Persist(#[source] PersistError),
    /// An undo step came when the task was no longer running. Code 410 (`TaskStateError`).
    #[error("Operation is not allowed in this task state: ({},)", quoted(state.name()))]
    NotRunning {
        /// Its state.
        state: State,
    },
    /// The folder of tasks could not be opened.
    #[error("cannot open the folder of tasks")]
    Open(#[source] PersistError),
}

impl TaskError {
    /// Upstream's code for it.
    pub fn upstream_code(&self) -> i32 {
        match self {
            Self::Unknown { .. } => 401,
            Self::InvalidId { .. } => 1000,
            Self::NotFinished { .. } => 403,
            Self::Refused { .. } => 405,
            Self::NotClearable { .. } | Self::NotRunning { .. } => 410,
            Self::Persist(_) | Self::Open(_) => 413,
            Self::NotRevertable { .. } => 441,
            Self::ShuttingDown => 3001,
        }
    }
}

/// A text as Python's `repr` shows it: in single quotes, in double ones if it holds a single one.
fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut shown = String::from(quote);
    for letter in text.chars() {
        match letter {
            '\\' => shown.push_str("\\\\"),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            letter if letter == quote => shown.extend(['\\', letter]),
            letter if (letter as u32) < 0x20 || letter as u32 == 0x7f => {
                let _ = write!(shown, "\\x{:02x}", letter as u32);
            }
            letter => shown.push(letter),
        }
    }
    shown.push(quote);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first is from a transcript of the real agent, the others from its source.
    #[test]
    fn texts_are_upstreams() {
        let id = "ad869832-dcad-4735-864f-2f3f5af9f830".to_owned();
        let unknown = TaskError::Unknown { id };
        assert_eq!(
            unknown.to_string(),
            "Task id unknown: ('ad869832-dcad-4735-864f-2f3f5af9f830',)"
        );
        let clear = TaskError::NotClearable {
            state: State::Running,
        };
        let wanted =
            "Operation is not allowed in this task state: (\"can't clean in state running\",)";
        assert_eq!(clear.to_string(), wanted);
        let invalid = TaskError::InvalidId { id: "a.b".into() };
        assert_eq!(invalid.to_string(), "Invalid parameter: 'taskID=a.b'");
        let revert = TaskError::NotRevertable {
            state: State::Recovered,
        };
        let wanted = "cannot move task to requested state: ('from recovered to racquiring',)";
        assert_eq!(revert.to_string(), wanted);
    }

    #[test]
    fn quoting_as_python() {
        assert_eq!(quoted("a"), "'a'");
        assert_eq!(quoted("it's"), "\"it's\"");
        assert_eq!(quoted("it's \"x\""), "'it\\'s \"x\"'");
        assert_eq!(quoted("a\\\n\u{1}"), "'a\\\\\\n\\x01'");
    }
}
