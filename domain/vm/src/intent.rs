//! What the agent alone knows of a VM, as it rides in the domain's metadata.
//!
//! Upstream's keys (`startTime`, `exitCode`, `exitMessage`, `exitReason`, `destroy_on_reboot`,
//! `memGuaranteedSize`, `balloonTarget`) keep their names and types. Our own are `agentPhase`
//! (how far the agent is with it, written before the act), `pauseCode` and `timeOffset`; a Python
//! agent keeps keys that it does not know.

use std::time::Duration;

use vm_model::{
    exit::{ExitCode, ExitInfo, ExitReason},
    metadata::{Scalar, VmMetadata},
    stats::compute::BalloonFacts,
    status::{PauseCode, ResumeBehavior},
};

use crate::machine::{Life, Machine};

/// How far the agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Volumes are prepared, the domain is defined and started. Found with a domain that does not
    /// run: undo it.
    Launching,
    /// It was seen running.
    Running,
    /// It ended; volumes are being taken back.
    Releasing,
    /// It ended, and all is taken back.
    Down,
}

impl Phase {
    const ALL: [Self; 4] = [Self::Launching, Self::Running, Self::Releasing, Self::Down];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Launching => "launching",
            Self::Running => "running",
            Self::Releasing => "releasing",
            Self::Down => "down",
        }
    }
}

const PHASE: &str = "agentPhase";
const START: &str = "startTime";
const PAUSE_CODE: &str = "pauseCode";
const TIME_OFFSET: &str = "timeOffset";
const DESTROY_ON_REBOOT: &str = "destroy_on_reboot";

/// Brings the metadata up to date with the machine.
pub(crate) fn write(metadata: &mut VmMetadata, machine: &Machine) {
    let phase = match &machine.life {
        Life::Launching => Phase::Launching,
        Life::Running(_) => Phase::Running,
        Life::Stopping(_) => Phase::Releasing,
        Life::Down(_) => Phase::Down,
    };
    metadata.set(PHASE, &Scalar::Text(phase.as_str().to_owned()));
    metadata.set(START, &Scalar::Float(machine.start_wall.as_secs_f64()));
    metadata.set(DESTROY_ON_REBOOT, &Scalar::Bool(machine.destroy_on_reboot));
    let guaranteed = guaranteed_mb(metadata);
    metadata.set("memGuaranteedSize", &Scalar::Int(guaranteed));
    match machine
        .pause_code()
        .filter(|code| *code != PauseCode::NoErr)
    {
        Some(code) => metadata.set(PAUSE_CODE, &Scalar::Text(code.as_str().to_owned())),
        None => metadata.unset(PAUSE_CODE),
    }
    if let Some(offset) = machine.time_offset {
        metadata.set(TIME_OFFSET, &Scalar::Int(offset));
    }
    for key in ["exitCode", "exitMessage", "exitReason"] {
        metadata.unset(key);
    }
    if let Life::Stopping(exit) | Life::Down(exit) = &machine.life {
        metadata.set("exitCode", &Scalar::Int(exit.code.code()));
        metadata.set("exitMessage", &Scalar::Text(exit.message.clone()));
        metadata.set("exitReason", &Scalar::Int(exit.reason.code()));
    }
}

/// How far an earlier agent was; `None` if it was not this one.
pub(crate) fn phase(metadata: &VmMetadata) -> Option<Phase> {
    let text = metadata.text(PHASE)?;
    Phase::ALL.into_iter().find(|phase| phase.as_str() == text)
}

/// When it was started, since 1970.
pub(crate) fn start_wall(metadata: &VmMetadata) -> Option<Duration> {
    Duration::try_from_secs_f64(metadata.float(START)?).ok()
}

/// How it ended, if that was known.
pub(crate) fn exit(metadata: &VmMetadata) -> Option<ExitInfo> {
    let reason = ExitReason::from_code(metadata.int("exitReason")?)?;
    let code = metadata
        .int("exitCode")
        .map_or(reason.exit_code(), ExitCode::from_code);
    let message = metadata
        .text("exitMessage")
        .filter(|message| !message.is_empty());
    Some(ExitInfo {
        code,
        reason,
        message: message.unwrap_or_else(|| reason.text().to_owned()),
    })
}

/// Why it was paused.
pub(crate) fn pause_code(metadata: &VmMetadata) -> Option<PauseCode> {
    PauseCode::parse(&metadata.text(PAUSE_CODE)?)
}

/// Seconds by which its guest's clock is off.
pub(crate) fn time_offset(metadata: &VmMetadata) -> Option<i64> {
    metadata.int(TIME_OFFSET)
}

/// Shall a reboot end it?
pub(crate) fn destroy_on_reboot(metadata: &VmMetadata) -> bool {
    metadata.bool(DESTROY_ON_REBOOT).unwrap_or(false)
}

/// Shall its CPUs be left stopped at the start?
pub(crate) fn launch_paused(metadata: &VmMetadata) -> bool {
    metadata.bool("launchPaused").unwrap_or(false)
}

/// What to do when an I/O error is over.
pub(crate) fn resume_behavior(metadata: &VmMetadata) -> ResumeBehavior {
    let text = metadata.text("resumeBehavior").unwrap_or_default();
    ResumeBehavior::parse(&text).unwrap_or_default()
}

/// What balloon figures need; `memory_kib` is that at boot.
pub(crate) fn balloon(metadata: &VmMetadata, memory_kib: u64) -> BalloonFacts {
    let target = metadata
        .int("balloonTarget")
        .and_then(|kib| u64::try_from(kib).ok());
    BalloonFacts {
        memory_kib,
        minimum_kib: u64::try_from(guaranteed_mb(metadata))
            .unwrap_or(0)
            .saturating_mul(1024),
        target_kib: target.unwrap_or(memory_kib),
        enabled: metadata.bool("ballooningEnabled").unwrap_or(true),
    }
}

/// Engine's figure before the kept one.
fn guaranteed_mb(metadata: &VmMetadata) -> i64 {
    ["minGuaranteedMemoryMb", "memGuaranteedSize"]
        .into_iter()
        .find_map(|key| metadata.int(key))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Cpus, Now};

    fn now() -> Now {
        Now {
            monotonic: Duration::from_secs(50),
            wall: Duration::from_millis(1_800_000_000_500),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let mut machine = Machine::launching(now());
        machine.life = Life::Running(Cpus::Paused {
            code: PauseCode::Enospc,
            since: Duration::ZERO,
        });
        machine.time_offset = Some(-7);
        machine.destroy_on_reboot = true;
        let mut metadata = VmMetadata::default();
        write(&mut metadata, &machine);
        let metadata = VmMetadata::parse(&metadata.to_libvirt()).unwrap();
        assert_eq!(phase(&metadata), Some(Phase::Running));
        assert_eq!(start_wall(&metadata), Some(now().wall));
        assert_eq!(pause_code(&metadata), Some(PauseCode::Enospc));
        assert_eq!(time_offset(&metadata), Some(-7));
        assert!(destroy_on_reboot(&metadata));
        assert_eq!(exit(&metadata), None);
    }

    #[test]
    fn an_end_is_kept_with_its_message() {
        let mut machine = Machine::launching(now());
        let info = ExitInfo::error(ExitReason::GenericError, "no such <volume>");
        machine.life = Life::Stopping(info.clone());
        let mut metadata = VmMetadata::default();
        write(&mut metadata, &machine);
        assert_eq!(phase(&metadata), Some(Phase::Releasing));
        machine.life = Life::Launching;
        let mut anew = metadata.clone();
        write(&mut anew, &machine);
        assert_eq!((phase(&anew), exit(&anew)), (Some(Phase::Launching), None));
        assert_eq!(
            exit(&VmMetadata::parse(&metadata.to_libvirt()).unwrap()),
            Some(info)
        );
    }

    #[test]
    fn of_a_python_agents_domain_the_phase_is_not_known() {
        let metadata = VmMetadata::parse(
            "<vm><startTime type=\"float\">1795329634.1900306</startTime>\
             <destroy_on_reboot type=\"bool\">False</destroy_on_reboot></vm>",
        )
        .unwrap();
        assert_eq!(phase(&metadata), None);
        assert_eq!(start_wall(&metadata).unwrap().as_secs(), 1_795_329_634);
        assert!(!destroy_on_reboot(&metadata));
    }
}
