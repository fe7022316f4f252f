//! The states of a VM as the wire names them, their legal transitions, and why a VM is paused.
//!
//! The exact strings are upstream's `vmstatus.py`; Engine parses them. The machine that walks
//! through these states is in the crate `vm`.

use std::fmt;

/// State of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VmStatus {
    /// Accepted, not yet started.
    WaitForLaunch,
    /// Runs; its guest has not told that it is up, and not a minute has passed.
    PoweringUp,
    /// Runs.
    Up,
    /// Its CPUs are stopped.
    Paused,
    /// Asked to go down, or being taken down.
    PoweringDown,
    /// The guest restarts.
    RebootInProgress,
    /// Leaves for another host.
    MigrationSource,
    /// Arrives from another host.
    MigrationDestination,
    /// Its memory is written to storage.
    SavingState,
    /// Its memory is read back from storage.
    RestoringState,
    /// Ended; listed until `VM.destroy`.
    Down,
}

impl VmStatus {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::WaitForLaunch,
        Self::PoweringUp,
        Self::Up,
        Self::Paused,
        Self::PoweringDown,
        Self::RebootInProgress,
        Self::MigrationSource,
        Self::MigrationDestination,
        Self::SavingState,
        Self::RestoringState,
        Self::Down,
    ];

    /// The string of the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WaitForLaunch => "WaitForLaunch",
            Self::PoweringUp => "Powering up",
            Self::Up => "Up",
            Self::Paused => "Paused",
            Self::PoweringDown => "Powering down",
            Self::RebootInProgress => "RebootInProgress",
            Self::MigrationSource => "Migration Source",
            Self::MigrationDestination => "Migration Destination",
            Self::SavingState => "Saving State",
            Self::RestoringState => "Restoring state",
            Self::Down => "Down",
        }
    }

    /// The state that the wire names so.
    pub fn parse(wire: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == wire)
    }

    /// May a VM that is in this state be seen in `next` right after it? Staying is always legal;
    /// nothing follows [`VmStatus::Down`].
    pub fn may_become(self, next: Self) -> bool {
        use VmStatus as S;
        if self == next {
            return true;
        }
        match self {
            S::Down => false,
            S::WaitForLaunch => !matches!(next, S::SavingState),
            S::RestoringState | S::MigrationDestination => {
                matches!(
                    next,
                    S::PoweringUp | S::Up | S::Paused | S::PoweringDown | S::Down
                )
            }
            S::PoweringDown => {
                matches!(
                    next,
                    S::Up | S::PoweringUp | S::Paused | S::RebootInProgress | S::Down
                )
            }
            S::PoweringUp | S::Up | S::Paused | S::RebootInProgress => !matches!(
                next,
                S::WaitForLaunch | S::RestoringState | S::MigrationDestination
            ),
            S::MigrationSource | S::SavingState => {
                matches!(
                    next,
                    S::PoweringUp | S::Up | S::Paused | S::PoweringDown | S::Down
                )
            }
        }
    }
}

impl fmt::Display for VmStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why the CPUs stand still: `pauseCode` of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PauseCode {
    /// No error: someone asked for it.
    NoErr,
    /// No space left beneath a disk.
    Enospc,
    /// A disk could not be read or written.
    Eio,
    /// A disk must not be written.
    Eperm,
    /// Another error of a disk.
    Eother,
    /// In the post-copy phase of a migration.
    Postcopy,
}

impl PauseCode {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::NoErr,
        Self::Enospc,
        Self::Eio,
        Self::Eperm,
        Self::Eother,
        Self::Postcopy,
    ];

    /// The string of the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoErr => "NOERR",
            Self::Enospc => "ENOSPC",
            Self::Eio => "EIO",
            Self::Eperm => "EPERM",
            Self::Eother => "EOTHER",
            Self::Postcopy => "POSTCOPY",
        }
    }

    /// The code that the wire names so.
    pub fn parse(wire: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == wire)
    }

    /// From the reason of libvirt's I/O error event (`enospc`, ..., or empty for anything else).
    pub fn from_io_error(reason: &str) -> Self {
        Self::parse(&reason.to_ascii_uppercase())
            .filter(|code| matches!(code, Self::Enospc | Self::Eio | Self::Eperm))
            .unwrap_or(Self::Eother)
    }
}

impl fmt::Display for PauseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is done with a VM whose I/O error went away (`resumeBehavior` in the metadata).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ResumeBehavior {
    /// Let it run again.
    #[default]
    AutoResume,
    /// Leave it paused.
    LeavePaused,
    /// End it if it was paused for too long, else let it run again.
    Kill,
}

impl ResumeBehavior {
    /// The string in the metadata.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AutoResume => "auto_resume",
            Self::LeavePaused => "leave_paused",
            Self::Kill => "kill",
        }
    }

    /// The behaviour that the metadata names so.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::AutoResume, Self::LeavePaused, Self::Kill]
            .into_iter()
            .find(|behavior| behavior.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_strings_are_upstreams() {
        let strings: Vec<_> = VmStatus::ALL.iter().map(|s| s.as_str()).collect();
        assert_eq!(
            strings,
            [
                "WaitForLaunch",
                "Powering up",
                "Up",
                "Paused",
                "Powering down",
                "RebootInProgress",
                "Migration Source",
                "Migration Destination",
                "Saving State",
                "Restoring state",
                "Down",
            ]
        );
        for status in VmStatus::ALL {
            assert_eq!(VmStatus::parse(status.as_str()), Some(status));
        }
        assert_eq!(VmStatus::parse("down"), None);
    }

    #[test]
    fn down_is_the_end_and_can_be_reached_from_everywhere() {
        for status in VmStatus::ALL {
            assert!(status.may_become(VmStatus::Down), "{status}");
            assert!(status.may_become(status));
            assert_eq!(VmStatus::Down.may_become(status), status == VmStatus::Down);
        }
    }

    #[test]
    fn nothing_goes_back_to_its_launch() {
        for status in VmStatus::ALL
            .into_iter()
            .filter(|s| *s != VmStatus::WaitForLaunch)
        {
            assert!(!status.may_become(VmStatus::WaitForLaunch), "{status}");
        }
    }

    #[test]
    fn io_errors_become_pause_codes() {
        for (reason, code) in [
            ("enospc", PauseCode::Enospc),
            ("eio", PauseCode::Eio),
            ("", PauseCode::Eother),
            ("eperm", PauseCode::Eperm),
            ("noerr", PauseCode::Eother),
            ("something", PauseCode::Eother),
        ] {
            assert_eq!(PauseCode::from_io_error(reason), code, "{reason}");
        }
    }
}
