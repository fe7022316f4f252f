//! The state machine of one VM: pure, no clock, no port.
//!
//! ```text
//!             Launched                 died: Stopped, Missing, Destroyed        Released
//! Launching ───────────▶ Running ─────────────────────────────────▶ Stopping ───────────▶ Down
//!     │                 (CPUs run or are paused)                        ▲
//!     └──────────────────── LaunchFailed ──────────────────────────────┘
//! ```
//!
//! [`step`] takes what happened and says what follows; the driver (`driver`) does it. [`permit`]
//! says whether a verb may be tried. What is seen from outside is [`Machine::seen`] (statistics,
//! events) and [`Machine::domain_status`] (lists), which differ as they do upstream.

use std::time::Duration;

use vm_model::{
    exit::{ExitInfo, ExitReason},
    ports::{DomainRunState, DomainState, LifecycleEvent},
    status::{PauseCode, VmStatus},
};

#[cfg(test)]
mod tests;

/// For this long a VM is said to power up, or to reboot, unless its guest says more.
const GUEST_PHASE: Duration = Duration::from_mins(1);
/// For this long it is said to power down after it was asked to.
const GUEST_POWERING_DOWN: Duration = Duration::from_mins(5);

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Now {
    pub(crate) monotonic: Duration,
    pub(crate) wall: Duration,
}

/// Where a VM is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Life {
    /// Its start goes on.
    Launching,
    /// Its domain is active.
    Running(Cpus),
    /// Its domain is gone; what it used is being taken back.
    Stopping(ExitInfo),
    /// All is taken back but its definition.
    Down(ExitInfo),
}

/// What the virtual CPUs do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cpus {
    Running,
    Paused {
        code: PauseCode,
        /// Monotonic.
        since: Duration,
    },
}

/// What the guest is taken to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GuestPhase {
    PoweringUp,
    PoweringDown,
    Rebooting,
}

/// The state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) life: Life,
    pub(crate) guest: GuestPhase,
    /// Since when, monotonic.
    pub(crate) guest_since: Duration,
    /// When it was started, since 1970; what the metadata keeps.
    pub(crate) start_wall: Duration,
    /// How long it ran at `elapsed_at`, so that jumps of the wall clock do not count.
    pub(crate) elapsed: Duration,
    /// Monotonic.
    pub(crate) elapsed_at: Duration,
    /// Who began its end, if anybody.
    pub(crate) shutdown_reason: Option<ExitReason>,
    /// It shall end; a launch that goes on gives up.
    pub(crate) destroy_requested: bool,
    /// A reboot of the guest ends it.
    pub(crate) destroy_on_reboot: bool,
    /// Seconds by which the guest's clock is off, if it ever told.
    pub(crate) time_offset: Option<i64>,
    /// The status last told by an event.
    pub(crate) told: VmStatus,
}

/// What callers may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Pause,
    Cont,
    Reset,
    Shutdown,
    Reboot,
    Screenshot,
    Destroy,
}

impl Verb {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Cont => "cont",
            Self::Reset => "reset",
            Self::Shutdown => "shutdown",
            Self::Reboot => "reboot",
            Self::Screenshot => "screenshot",
            Self::Destroy => "destroy",
        }
    }
}

/// Why a verb may not be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// To that verb a VM that is down does not exist.
    Gone,
    /// It needs a domain that runs.
    IsDown,
    /// Not in this state.
    WrongState(VmStatus),
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Input {
    /// The domain is active.
    Launched(Cpus),
    /// It will not be.
    LaunchFailed(ExitInfo),
    /// A verb goes to the hypervisor now.
    Begin(Verb),
    /// And came back.
    Finished { verb: Verb, done: bool },
    /// The hypervisor ended the domain at our wish.
    Destroyed,
    /// Everything it used is taken back.
    Released,
    /// The hypervisor's event.
    Lifecycle { event: LifecycleEvent, detail: i32 },
    /// The guest restarted.
    GuestReboot,
    /// The guest set its clock.
    RtcChange(i64),
    /// A disk failed and stopped the CPUs.
    IoError { code: PauseCode, alias: String },
    /// Asked, the hypervisor says that the domain is so.
    Observed(DomainState),
    /// Asked, the hypervisor says that there is no such domain.
    Missing,
    /// It was paused for too long.
    PausedTooLong,
    /// Time went on.
    Tick,
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Tell the status and what goes with it.
    Publish(News),
    /// Bring the metadata of the domain up to date.
    SaveMetadata,
    /// Take back what it used; then comes [`Input::Released`].
    Release,
    /// Ask the hypervisor how it is; then comes [`Input::Observed`] or [`Input::Missing`].
    Check,
    /// End the domain; then comes [`Input::Destroyed`].
    Destroy,
}

/// What goes with a status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    /// Nothing, or how it ended.
    Status,
    /// All that changes while it runs.
    Running,
    /// What the guest agent tells.
    Guest,
    /// Which disk failed.
    IoError { code: PauseCode, alias: String },
}

impl Machine {
    /// A VM whose launch begins.
    pub(crate) fn launching(now: Now) -> Self {
        Self {
            life: Life::Launching,
            guest: GuestPhase::PoweringUp,
            guest_since: now.monotonic,
            start_wall: now.wall,
            elapsed: Duration::ZERO,
            elapsed_at: now.monotonic,
            shutdown_reason: None,
            destroy_requested: false,
            destroy_on_reboot: false,
            time_offset: None,
            told: VmStatus::WaitForLaunch,
        }
    }

    /// A VM that was started at `start_wall` (since 1970) by an earlier process.
    pub(crate) fn started_at(start_wall: Duration, now: Now) -> Self {
        let elapsed = now.wall.saturating_sub(start_wall);
        Self {
            start_wall,
            elapsed,
            guest_since: now.monotonic.saturating_sub(elapsed),
            ..Self::launching(now)
        }
    }

    /// Seconds since its start.
    pub(crate) fn elapsed(&self, now: Now) -> Duration {
        self.elapsed + now.monotonic.saturating_sub(self.elapsed_at)
    }

    /// The state of the domain, as lists tell it.
    pub(crate) fn domain_status(&self) -> VmStatus {
        match self.life {
            Life::Launching => VmStatus::WaitForLaunch,
            Life::Running(Cpus::Running) => VmStatus::Up,
            Life::Running(Cpus::Paused { .. }) => VmStatus::Paused,
            Life::Stopping(_) => VmStatus::PoweringDown,
            Life::Down(_) => VmStatus::Down,
        }
    }

    /// The state with what the guest does, as statistics and events tell it.
    pub(crate) fn seen(&self, now: Now) -> VmStatus {
        if self.life != Life::Running(Cpus::Running) {
            return self.domain_status();
        }
        let age = now.monotonic.saturating_sub(self.guest_since);
        match self.guest {
            GuestPhase::PoweringDown if age < GUEST_POWERING_DOWN => VmStatus::PoweringDown,
            GuestPhase::PoweringUp if age < GUEST_PHASE => VmStatus::PoweringUp,
            GuestPhase::Rebooting if age < GUEST_PHASE => VmStatus::RebootInProgress,
            _ => VmStatus::Up,
        }
    }

    /// Why its CPUs stand still.
    pub(crate) fn pause_code(&self) -> Option<PauseCode> {
        match self.life {
            Life::Running(Cpus::Paused { code, .. }) => Some(code),
            _ => None,
        }
    }

    /// Is its domain active, as far as is known?
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.life, Life::Running(_))
    }

    fn guest_does(&mut self, phase: GuestPhase, now: Now) {
        self.guest = phase;
        self.guest_since = now.monotonic;
    }

    /// The domain is gone: what it used is taken back once, whoever tells it first.
    fn died(&mut self, exit: ExitInfo) -> Vec<Action> {
        match self.life {
            Life::Launching | Life::Running(_) => {
                self.life = Life::Stopping(exit);
                vec![Action::Release]
            }
            Life::Stopping(_) | Life::Down(_) => Vec::new(),
        }
    }

    /// Somebody's reason if there is one, else what the hypervisor's tells.
    fn exit(&self, otherwise: ExitReason) -> ExitInfo {
        ExitInfo::of(self.shutdown_reason.unwrap_or(otherwise))
    }
}

/// May the verb be tried?
pub(crate) fn permit(machine: &Machine, verb: Verb) -> Result<(), Refusal> {
    let status = machine.domain_status();
    match (&machine.life, verb) {
        (_, Verb::Destroy) | (Life::Running(_), _) => Ok(()),
        (Life::Down(_), Verb::Reset | Verb::Shutdown | Verb::Reboot) => Err(Refusal::Gone),
        (Life::Down(_) | Life::Stopping(_), Verb::Pause)
        | (Life::Down(_) | Life::Stopping(_) | Life::Launching, Verb::Screenshot)
        | (Life::Stopping(_), Verb::Shutdown | Verb::Reboot) => Err(Refusal::IsDown),
        _ => Err(Refusal::WrongState(status)),
    }
}

/// What happened changes the state; what follows is told.
pub(crate) fn step(machine: &Machine, input: Input, now: Now) -> (Machine, Vec<Action>) {
    let mut next = machine.clone();
    let mut actions = advance(&mut next, input, now);
    if actions
        .iter()
        .any(|action| matches!(action, Action::Publish(_)))
    {
        next.told = next.seen(now);
    }
    if matches!(next.life, Life::Stopping(_)) && actions.contains(&Action::Release) {
        // Dead is dead: nothing else is worth telling or saving now.
        actions.retain(|action| *action == Action::Release);
    }
    (next, actions)
}

fn advance(machine: &mut Machine, input: Input, now: Now) -> Vec<Action> {
    match input {
        Input::Launched(cpus) => launched(machine, cpus),
        Input::LaunchFailed(exit) if machine.life == Life::Launching => machine.died(exit),
        Input::Begin(verb) => begin(machine, verb, now),
        Input::Finished { verb, done } => finished(machine, verb, done, now),
        Input::Destroyed => {
            let exit = machine.exit(ExitReason::AdminShutdown);
            machine.died(exit)
        }
        Input::Released => match &machine.life {
            Life::Stopping(exit) => {
                machine.life = Life::Down(exit.clone());
                vec![Action::Publish(News::Status)]
            }
            _ => Vec::new(),
        },
        Input::Lifecycle { event, detail } => lifecycle(machine, event, detail),
        Input::GuestReboot => guest_reboot(machine, now),
        Input::RtcChange(offset) => {
            machine.time_offset = Some(offset);
            if machine.is_running() {
                vec![Action::SaveMetadata]
            } else {
                Vec::new()
            }
        }
        Input::IoError { code, alias } => io_error(machine, code, alias, now),
        Input::Observed(state) => observed(machine, state, now),
        Input::Missing if machine.is_running() => {
            let exit = machine.exit(ExitReason::LibvirtDomainMissing);
            machine.died(exit)
        }
        Input::PausedTooLong if machine.pause_code().is_some() => {
            machine.shutdown_reason = Some(ExitReason::DestroyedOnPauseTimeout);
            vec![Action::Destroy]
        }
        Input::Tick => tell_change(machine, now),
        Input::LaunchFailed(_) | Input::Missing | Input::PausedTooLong => Vec::new(),
    }
}

fn launched(machine: &mut Machine, cpus: Cpus) -> Vec<Action> {
    if machine.life != Life::Launching {
        return Vec::new();
    }
    machine.life = Life::Running(cpus);
    vec![Action::SaveMetadata, Action::Publish(News::Running)]
}

fn begin(machine: &mut Machine, verb: Verb, now: Now) -> Vec<Action> {
    match verb {
        Verb::Reset | Verb::Reboot => machine.guest_does(GuestPhase::Rebooting, now),
        Verb::Shutdown => {
            machine.guest_does(GuestPhase::PoweringDown, now);
            machine.shutdown_reason = Some(ExitReason::AdminShutdown);
        }
        Verb::Destroy => {
            machine.destroy_requested = true;
            let was_alive = matches!(machine.life, Life::Launching | Life::Running(_));
            if was_alive {
                machine.shutdown_reason = Some(ExitReason::AdminShutdown);
            }
        }
        Verb::Pause | Verb::Cont | Verb::Screenshot => {}
    }
    Vec::new()
}

fn finished(machine: &mut Machine, verb: Verb, done: bool, now: Now) -> Vec<Action> {
    if verb == Verb::Destroy && !done {
        machine.destroy_requested = false;
        machine.shutdown_reason = None;
        return Vec::new();
    }
    if !done {
        return if machine.is_running() {
            tell_change(machine, now)
        } else {
            Vec::new()
        };
    }
    match (&machine.life, verb) {
        (Life::Running(_), Verb::Pause) => {
            // Also one that paused by itself: now it is someone's will.
            pause(machine, PauseCode::NoErr, now);
            vec![Action::Publish(News::Status), Action::SaveMetadata]
        }
        (Life::Running(_), Verb::Cont) => {
            machine.life = Life::Running(Cpus::Running);
            vec![Action::Publish(News::Status), Action::SaveMetadata]
        }
        _ => Vec::new(),
    }
}

/// Numbers of `detail` are libvirt's, per event.
fn lifecycle(machine: &mut Machine, event: LifecycleEvent, detail: i32) -> Vec<Action> {
    match event {
        // A guest that panicked (`Crashed`) is still there; if it is to end, `Stopped` follows.
        LifecycleEvent::Stopped if machine.is_running() => {
            let exit = machine.exit(stopped_reason(detail));
            machine.died(exit)
        }
        // These may be older than what a verb has done since: the hypervisor is asked.
        LifecycleEvent::Suspended if machine.life == Life::Running(Cpus::Running) => {
            vec![Action::Check]
        }
        LifecycleEvent::Resumed if machine.pause_code().is_some() => vec![Action::Check],
        LifecycleEvent::Shutdown => {
            const SHUTDOWN_HOST: i32 = 2;
            let reason = if detail == SHUTDOWN_HOST {
                ExitReason::HostShutdown
            } else {
                ExitReason::UserShutdown
            };
            machine.shutdown_reason.get_or_insert(reason);
            Vec::new()
        }
        _ => Vec::new(),
    }
}

fn stopped_reason(detail: i32) -> ExitReason {
    const STOPPED_SHUTDOWN: i32 = 0;
    if detail == STOPPED_SHUTDOWN {
        ExitReason::UserShutdown
    } else {
        ExitReason::LostQemuConnection
    }
}

fn guest_reboot(machine: &mut Machine, now: Now) -> Vec<Action> {
    if !machine.is_running() {
        return Vec::new();
    }
    machine.guest_does(GuestPhase::Rebooting, now);
    machine.start_wall = now.wall;
    machine.elapsed = Duration::ZERO;
    machine.elapsed_at = now.monotonic;
    let mut actions = vec![Action::SaveMetadata, Action::Publish(News::Guest)];
    if machine.destroy_on_reboot {
        machine.shutdown_reason = Some(ExitReason::DestroyedOnReboot);
        actions.push(Action::Destroy);
    } else {
        // An end that was asked for as a reboot has become one.
        machine.shutdown_reason = None;
    }
    actions
}

fn io_error(machine: &mut Machine, code: PauseCode, alias: String, now: Now) -> Vec<Action> {
    if !machine.is_running() {
        return Vec::new();
    }
    pause(machine, code, now);
    vec![
        Action::Publish(News::IoError { code, alias }),
        Action::SaveMetadata,
    ]
}

fn pause(machine: &mut Machine, code: PauseCode, now: Now) {
    let since = match machine.life {
        Life::Running(Cpus::Paused { since, .. }) => since,
        _ => now.monotonic,
    };
    machine.life = Life::Running(Cpus::Paused { code, since });
}

/// Numbers of reasons are libvirt's, per state.
fn observed(machine: &mut Machine, state: DomainState, now: Now) -> Vec<Action> {
    const PAUSED_IOERROR: i32 = 5;
    let Life::Running(cpus) = machine.life else {
        return Vec::new();
    };
    match (state.state, cpus) {
        (DomainRunState::Running | DomainRunState::Blocked, Cpus::Paused { .. }) => {
            machine.life = Life::Running(Cpus::Running);
            tell_change(machine, now)
        }
        (DomainRunState::Paused, Cpus::Running) => {
            let io = state.reason == PAUSED_IOERROR;
            pause(
                machine,
                if io { PauseCode::Eio } else { PauseCode::NoErr },
                now,
            );
            tell_change(machine, now)
        }
        (DomainRunState::Shutoff, _) => {
            let exit = machine.exit(shutoff_reason(state.reason));
            machine.died(exit)
        }
        _ => Vec::new(),
    }
}

/// Of a domain that ended while the agent looked away.
fn shutoff_reason(reason: i32) -> ExitReason {
    match ExitReason::from_shutoff_reason(reason) {
        ExitReason::GenericError => ExitReason::LostQemuConnection,
        reason => reason,
    }
}

fn tell_change(machine: &Machine, now: Now) -> Vec<Action> {
    if machine.is_running() && machine.seen(now) != machine.told {
        vec![Action::Publish(News::Status)]
    } else {
        Vec::new()
    }
}
