//! What the end of a fence agent means.
//!
//! | exit | `status` | `on`, `off`, `reboot` |
//! |---|---|---|
//! | 0 | power on | initiated |
//! | 1 | error 1 | error 1 |
//! | 2 | power off | error 2 |
//! | other, signal | error 1 | error 1 |
//!
//! Facts: upstream `API.py`; fence-agents' API (0 success or on, 1 failure, 2 off).

use super::{FenceAction, FenceError};

/// How an agent ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentExit {
    /// Its exit code; 128 and more for a signal.
    pub code: i32,
    /// The end of its standard output.
    pub stdout: Vec<u8>,
    /// The end of its standard error.
    pub stderr: Vec<u8>,
}

/// Power of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// It has power.
    On,
    /// It has none.
    Off,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FenceAnswer {
    /// The action `status`.
    Power(Power),
    /// The agent did it.
    Initiated,
    /// The policy held it back.
    Skipped,
}

impl AgentExit {
    /// All that it said, its output before its errors, as upstream joins them.
    pub(super) fn said(&self) -> String {
        let both = [&self.stdout, &self.stderr];
        let texts = both.map(|bytes| String::from_utf8_lossy(bytes));
        texts.concat()
    }
}

/// The answer to an end. `said` is masked already.
pub(super) fn judge(
    action: FenceAction,
    code: i32,
    said: String,
) -> Result<FenceAnswer, FenceError> {
    let failed = |code| {
        Err(FenceError::AgentFailed {
            code,
            said: said.clone(),
        })
    };
    match (action, code) {
        (FenceAction::Status, 0) => Ok(FenceAnswer::Power(Power::On)),
        (FenceAction::Status, 2) => Ok(FenceAnswer::Power(Power::Off)),
        (_, 0) => Ok(FenceAnswer::Initiated),
        (_, 2) => failed(2),
        _ => failed(1),
    }
}
