//! The states of a task, their legal transitions and their words on the wire.
//!
//! Upstream has more states; those that only say which lock a task waits for (`init`, `preparing`,
//! `blocked`, `acquiring`, `racquiring`, `waitrecover`, `raborting`) have no counterpart here: locks are
//! taken before a task is made, and a rollback always starts by itself.

use serde::{Deserialize, Serialize};

/// State of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Waits for a thread.
    Queued,
    /// Its job runs.
    Running,
    /// Its job succeeded.
    Finished,
    /// Its job failed or is asked to stop.
    Aborting,
    /// Its undo steps run.
    Recovering,
    /// Everything was undone.
    Recovered,
    /// An undo step failed.
    Failed,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Running,
        Self::Finished,
        Self::Aborting,
        Self::Recovering,
        Self::Recovered,
        Self::Failed,
    ];

    /// Its name, as `Host.getAllTasks` gives it (`state`).
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Aborting => "aborting",
            Self::Recovering => "recovering",
            Self::Recovered => "recovered",
            Self::Failed => "failed",
        }
    }

    /// Has it come to its end? Only then may it be cleared or reverted.
    pub fn is_done(self) -> bool {
        matches!(self, Self::Finished | Self::Recovered | Self::Failed)
    }

    /// May this state be followed by that one?
    pub fn may_become(self, next: Self) -> bool {
        match next {
            Self::Queued => false,
            Self::Running => self == Self::Queued,
            Self::Finished => self == Self::Running,
            Self::Aborting => matches!(self, Self::Queued | Self::Running),
            Self::Recovering => matches!(self, Self::Aborting | Self::Finished | Self::Failed),
            Self::Recovered | Self::Failed => self == Self::Recovering,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Upstream's two tables (`State.DEPRECATED_STATE`, `DEPRECATED_RESULT`).
    #[test]
    fn wire_words() {
        let rows = [
            "queued",
            "running",
            "finished",
            "aborting",
            "recovering",
            "recovered",
            "failed",
        ];
        for (state, name) in State::ALL.into_iter().zip(rows) {
            assert_eq!(state.name(), name);
            assert_eq!(
                serde_json::to_string(&state).unwrap(),
                format!("\"{name}\"")
            );
        }
    }

    #[test]
    fn transitions() {
        use State::{Aborting, Failed, Finished, Queued, Recovered, Recovering, Running};

        let legal: Vec<(State, State)> = State::ALL
            .into_iter()
            .flat_map(|from| State::ALL.map(|to| (from, to)))
            .filter(|(from, to)| from.may_become(*to))
            .collect();
        let wanted = [
            (Queued, Running),
            (Queued, Aborting),
            (Running, Finished),
            (Running, Aborting),
            (Finished, Recovering),
            (Aborting, Recovering),
            (Recovering, Recovered),
            (Recovering, Failed),
            (Failed, Recovering),
        ];
        assert_eq!(legal.len(), wanted.len());
        assert!(wanted.iter().all(|pair| legal.contains(pair)));
    }
}
