//! How a VM ended: `exitCode`, `exitReason` and `exitMessage` of the wire.
//!
//! Numbers and texts are upstream's `vmexitreason.py` (the misspelling in the first text included):
//! Engine shows the text and decides by the number.

/// Why a VM ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExitReason {
    /// Ended well.
    Success,
    /// Any error.
    GenericError,
    /// QEMU is gone and nobody said why.
    LostQemuConnection,
    /// libvirt did not start it.
    LibvirtStartFailed,
    /// It runs on another host now.
    MigrationSucceeded,
    /// Its memory is on storage now.
    SaveStateSucceeded,
    /// Engine ended it.
    AdminShutdown,
    /// Its guest ended it.
    UserShutdown,
    /// It did not arrive here.
    MigrationFailed,
    /// libvirt does not know its domain any more.
    LibvirtDomainMissing,
    /// Destroyed before it was up.
    DestroyedOnStartup,
    /// The host goes down.
    HostShutdown,
    /// Migration failed after the switch-over.
    PostcopyMigrationFailed,
    /// It was to end at its next reboot.
    DestroyedOnReboot,
    /// It was paused for too long.
    DestroyedOnPauseTimeout,
}

impl ExitReason {
    /// All of them, by number.
    pub const ALL: [Self; 15] = [
        Self::Success,
        Self::GenericError,
        Self::LostQemuConnection,
        Self::LibvirtStartFailed,
        Self::MigrationSucceeded,
        Self::SaveStateSucceeded,
        Self::AdminShutdown,
        Self::UserShutdown,
        Self::MigrationFailed,
        Self::LibvirtDomainMissing,
        Self::DestroyedOnStartup,
        Self::HostShutdown,
        Self::PostcopyMigrationFailed,
        Self::DestroyedOnReboot,
        Self::DestroyedOnPauseTimeout,
    ];

    /// The number of the wire.
    pub const fn code(self) -> i64 {
        match self {
            Self::Success => 0,
            Self::GenericError => 1,
            Self::LostQemuConnection => 2,
            Self::LibvirtStartFailed => 3,
            Self::MigrationSucceeded => 4,
            Self::SaveStateSucceeded => 5,
            Self::AdminShutdown => 6,
            Self::UserShutdown => 7,
            Self::MigrationFailed => 8,
            Self::LibvirtDomainMissing => 9,
            Self::DestroyedOnStartup => 10,
            Self::HostShutdown => 11,
            Self::PostcopyMigrationFailed => 12,
            Self::DestroyedOnReboot => 13,
            Self::DestroyedOnPauseTimeout => 14,
        }
    }

    /// The reason with that number.
    pub fn from_code(code: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }

    /// The text of the wire.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Success => "VM terminated succesfully",
            Self::GenericError => "VM terminated with error",
            Self::LostQemuConnection => "Lost connection with qemu process",
            Self::LibvirtStartFailed => "failed to start libvirt vm",
            Self::MigrationSucceeded => "Migration succeeded",
            Self::SaveStateSucceeded => "SaveState succeeded",
            Self::AdminShutdown => "Admin shut down from the engine",
            Self::UserShutdown => "User shut down from within the guest",
            Self::MigrationFailed => "VM failed to migrate",
            Self::LibvirtDomainMissing => "Failed to find the libvirt domain",
            Self::DestroyedOnStartup => "VM destroyed during the startup",
            Self::HostShutdown => "VM has been terminated on the host",
            Self::PostcopyMigrationFailed => "Migration failed in post-copy",
            Self::DestroyedOnReboot => "Down as a part of the reboot process",
            Self::DestroyedOnPauseTimeout => "Down because paused for too long",
        }
    }

    /// Is this how a VM should end?
    pub const fn exit_code(self) -> ExitCode {
        match self {
            Self::Success
            | Self::MigrationSucceeded
            | Self::SaveStateSucceeded
            | Self::AdminShutdown
            | Self::UserShutdown
            | Self::DestroyedOnStartup
            | Self::DestroyedOnReboot => ExitCode::Normal,
            Self::GenericError
            | Self::LostQemuConnection
            | Self::LibvirtStartFailed
            | Self::MigrationFailed
            | Self::LibvirtDomainMissing
            | Self::HostShutdown
            | Self::PostcopyMigrationFailed
            | Self::DestroyedOnPauseTimeout => ExitCode::Error,
        }
    }

    /// Of a domain found shut off: `virDomainShutoffReason`.
    pub const fn from_shutoff_reason(reason: i32) -> Self {
        match reason {
            1 => Self::UserShutdown,
            2 => Self::AdminShutdown,
            4 => Self::MigrationSucceeded,
            5 => Self::SaveStateSucceeded,
            6 => Self::LibvirtStartFailed,
            _ => Self::GenericError,
        }
    }
}

/// `exitCode` of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExitCode {
    /// As intended.
    Normal,
    /// By an error.
    Error,
}

impl ExitCode {
    /// The number of the wire.
    pub const fn code(self) -> i64 {
        match self {
            Self::Normal => 0,
            Self::Error => 1,
        }
    }

    /// The code with that number; every number but 0 is an error.
    pub const fn from_code(code: i64) -> Self {
        if code == 0 { Self::Normal } else { Self::Error }
    }
}

/// How a VM ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExitInfo {
    /// `exitCode`.
    pub code: ExitCode,
    /// `exitReason`.
    pub reason: ExitReason,
    /// `exitMessage`.
    pub message: String,
}

impl ExitInfo {
    /// With the code and the text that go with the reason.
    pub fn of(reason: ExitReason) -> Self {
        Self {
            code: reason.exit_code(),
            reason,
            message: reason.text().to_owned(),
        }
    }

    /// An error with a text of its own.
    pub fn error(reason: ExitReason, message: impl Into<String>) -> Self {
        Self {
            code: ExitCode::Error,
            reason,
            message: message.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_dense_and_unique() {
        for (number, reason) in ExitReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.code(), i64::try_from(number).unwrap());
            assert_eq!(ExitReason::from_code(reason.code()), Some(reason));
            assert!(!reason.text().is_empty());
        }
        assert_eq!(ExitReason::from_code(15), None);
        assert_eq!(ExitReason::from_code(-1), None);
    }

    #[test]
    fn the_transcripts_end_is_reproduced() {
        let info = ExitInfo::of(ExitReason::AdminShutdown);
        assert_eq!(info.code.code(), 0);
        assert_eq!(info.reason.code(), 6);
        assert_eq!(info.message, "Admin shut down from the engine");
    }

    #[test]
    fn shutoff_reasons_of_libvirt() {
        for (reason, exit) in [
            (1, ExitReason::UserShutdown),
            (2, ExitReason::AdminShutdown),
            (3, ExitReason::GenericError),
            (6, ExitReason::LibvirtStartFailed),
            (99, ExitReason::GenericError),
        ] {
            assert_eq!(ExitReason::from_shutoff_reason(reason), exit);
        }
    }
}
