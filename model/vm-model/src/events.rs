//! What the world is told of VMs, and the clock that stamps it: the ports [`VmEvents`] and [`Clock`].
//!
//! One event is one notification `|virt|VM_status|<vm id>` of the wire, whose parameters are
//! `{<vm id>: {status, ...detail}, notify_time}`. Shapes are those of upstream's transcripts.

use std::time::Duration;

use crate::{
    exit::ExitInfo,
    ports::VmId,
    stats::{GuestInfo, RunningStats},
    status::{PauseCode, VmStatus},
};

/// A change of a VM's status.
#[derive(Debug, Clone, PartialEq)]
pub struct VmEvent {
    /// The VM.
    pub vm_id: VmId,
    /// `notify_time`: [`event_time_ms`].
    pub notify_time_ms: u64,
    /// `status`.
    pub status: VmStatus,
    /// What else goes into the same map.
    pub detail: StatusDetail,
}

/// What goes beside `status` into the event's map.
#[derive(Debug, Clone, PartialEq)]
pub enum StatusDetail {
    /// Nothing.
    None,
    /// After the launch or recovery: `elapsedTime`, `monitorResponse`, ..., `displayInfo`, `hash`.
    Running(Box<RunningStats>),
    /// After a reboot of the guest: `username`, `session`, ..., `guestFQDN`.
    Guest(GuestInfo),
    /// The end: `vmId`, `exitCode`, `exitMessage`, `exitReason` and, if known, `timeOffset`.
    Down {
        /// How it ended.
        exit: ExitInfo,
        /// `timeOffset`, seconds.
        time_offset: Option<i64>,
    },
    /// A disk failed: `pauseCode` and `ioerror: {alias, name, path}`.
    IoError {
        /// `pauseCode`.
        pause_code: PauseCode,
        /// `ioerror.alias`.
        alias: String,
        /// `ioerror.name`, if the disk is known.
        name: Option<String>,
        /// `ioerror.path`, if the disk is known.
        path: Option<String>,
    },
}

/// Who tells the world. Called from one thread, in order; must not block for long.
pub trait VmEvents: Send + Sync {
    /// Tells it.
    fn publish(&self, event: VmEvent);
}

/// Both clocks. Implemented over `observe::clock` in `bin/vdsmd`.
pub trait Clock: Send + Sync {
    /// Time since 1970: for `startTime` in the metadata, which outlives the process.
    fn wall(&self) -> Duration;
    /// Time since boot (`CLOCK_MONOTONIC`): for everything else.
    fn monotonic(&self) -> Duration;
}

/// `statusTime` and `notify_time` of the wire: milliseconds since boot, above `i32::MAX` because
/// old Engines misread smaller numbers.
pub fn event_time_ms(monotonic: Duration) -> u64 {
    let millis = u64::try_from(monotonic.as_millis()).unwrap_or(u64::MAX / 2);
    2_147_483_647_u64.saturating_add(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_times_are_above_the_old_limit() {
        assert_eq!(event_time_ms(Duration::ZERO), 2_147_483_647);
        assert_eq!(
            event_time_ms(Duration::from_millis(2_878_524)),
            2_150_362_171
        );
    }
}
