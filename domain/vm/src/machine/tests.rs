//! The state machine as data: every life against every verb and input.

use super::*;
use LifecycleEvent as E;

const START: Now = Now {
    monotonic: Duration::from_secs(1_000),
    wall: Duration::from_secs(1_795_000_000),
};

fn later(seconds: u64) -> Now {
    let time = Duration::from_secs(seconds);
    Now {
        monotonic: START.monotonic + time,
        wall: START.wall + time,
    }
}

fn paused(code: PauseCode) -> Life {
    Life::Running(Cpus::Paused {
        code,
        since: START.monotonic,
    })
}

fn exit() -> ExitInfo {
    ExitInfo::of(ExitReason::UserShutdown)
}

fn lives() -> [Life; 5] {
    [
        Life::Launching,
        Life::Running(Cpus::Running),
        paused(PauseCode::NoErr),
        Life::Stopping(exit()),
        Life::Down(exit()),
    ]
}

fn machine(life: Life) -> Machine {
    let mut machine = Machine {
        life,
        ..Machine::launching(START)
    };
    machine.told = machine.seen(START);
    machine
}

fn observed(state: DomainRunState, reason: i32) -> Input {
    Input::Observed(DomainState { state, reason })
}

fn stopped(detail: i32) -> Input {
    Input::Lifecycle {
        event: LifecycleEvent::Stopped,
        detail,
    }
}

fn inputs() -> Vec<Input> {
    let mut inputs = vec![
        Input::Launched(Cpus::Running),
        Input::Launched(Cpus::Paused {
            code: PauseCode::NoErr,
            since: START.monotonic,
        }),
        Input::LaunchFailed(ExitInfo::of(ExitReason::GenericError)),
        Input::Destroyed,
        Input::Released,
        Input::GuestReboot,
        Input::RtcChange(5),
        Input::IoError {
            code: PauseCode::Enospc,
            alias: "ua-1".to_owned(),
        },
        Input::Missing,
        Input::PausedTooLong,
        Input::Tick,
        observed(DomainRunState::Running, 1),
        observed(DomainRunState::Paused, 1),
        observed(DomainRunState::Paused, 5),
        observed(DomainRunState::Shutoff, 1),
        observed(DomainRunState::Crashed, 1),
        observed(DomainRunState::NoState, 0),
    ];
    for verb in VERBS {
        inputs.push(Input::Begin(verb));
        inputs.extend([true, false].map(|done| Input::Finished { verb, done }));
    }
    for event in [
        E::Defined,
        E::Undefined,
        E::Started,
        E::Suspended,
        E::Resumed,
        E::Stopped,
    ] {
        inputs.extend((0..8).map(|detail| Input::Lifecycle { event, detail }));
    }
    for event in [E::Shutdown, E::PmSuspended, E::Crashed] {
        inputs.extend((0..8).map(|detail| Input::Lifecycle { event, detail }));
    }
    inputs
}

const VERBS: [Verb; 7] = [
    Verb::Pause,
    Verb::Cont,
    Verb::Reset,
    Verb::Shutdown,
    Verb::Reboot,
    Verb::Screenshot,
    Verb::Destroy,
];

/// `+` may be tried, `g` gone, `d` is down, `w` wrong state; columns as [`lives`].
#[test]
fn verbs_per_life() {
    let table = [
        (Verb::Pause, "w++dd"),
        (Verb::Cont, "w++ww"),
        (Verb::Reset, "w++wg"),
        (Verb::Shutdown, "w++dg"),
        (Verb::Reboot, "w++dg"),
        (Verb::Screenshot, "d++dd"),
        (Verb::Destroy, "+++++"),
    ];
    for (verb, row) in table {
        for (life, expected) in lives().into_iter().zip(row.chars()) {
            let machine = machine(life);
            let answer = match permit(&machine, verb) {
                Ok(()) => '+',
                Err(Refusal::Gone) => 'g',
                Err(Refusal::IsDown) => 'd',
                Err(Refusal::WrongState(status)) => {
                    assert_eq!(status, machine.domain_status());
                    'w'
                }
            };
            assert_eq!(answer, expected, "{verb:?} in {:?}", machine.life);
        }
    }
}

/// From every state by every input: only legal changes, a volume is released only at the step into
/// `Stopping`, `Down` is told once and is the end.
#[test]
fn nothing_illegal_ever_happens() {
    for life in lives() {
        for input in inputs() {
            let before = machine(life.clone());
            let (after, actions) = step(&before, input.clone(), later(1));
            let what = format!("{life:?} + {input:?} -> {:?} {actions:?}", after.life);
            let (from, to) = (before.domain_status(), after.domain_status());
            assert!(from.may_become(to), "{what}");
            assert!(
                before.seen(START).may_become(after.seen(later(1))),
                "{what}"
            );
            let releases = actions.contains(&Action::Release);
            let stops = !matches!(before.life, Life::Stopping(_))
                && matches!(after.life, Life::Stopping(_));
            assert_eq!(releases, stops, "{what}");
            if matches!(before.life, Life::Down(_)) {
                assert_eq!(after.life, before.life, "{what}");
                assert_eq!(actions, [], "{what}");
            }
            let tells_down = actions.iter().any(|a| matches!(a, Action::Publish(_)))
                && matches!(after.life, Life::Down(_));
            assert_eq!(
                tells_down,
                input == Input::Released && from != VmStatus::Down && stops_in(&before),
                "{what}"
            );
        }
    }
}

fn stops_in(machine: &Machine) -> bool {
    matches!(machine.life, Life::Stopping(_))
}

#[test]
fn the_same_input_gives_the_same_step() {
    for life in lives() {
        for input in inputs() {
            let machine = machine(life.clone());
            assert_eq!(
                step(&machine, input.clone(), START),
                step(&machine, input, START)
            );
        }
    }
}

/// Who said what before decides how an end is explained.
#[test]
fn reasons_of_ends() {
    let up = || machine(Life::Running(Cpus::Running));
    let after = |inputs: &[Input]| {
        let last = inputs
            .iter()
            .fold(up(), |m, input| step(&m, input.clone(), START).0);
        match last.life {
            Life::Stopping(exit) => (exit.code.code(), exit.reason),
            other => panic!("{other:?}"),
        }
    };
    let shutdown = |detail| Input::Lifecycle {
        event: LifecycleEvent::Shutdown,
        detail,
    };
    let cases: [(&[Input], (i64, ExitReason)); 12] = [
        (&[stopped(0)], (0, ExitReason::UserShutdown)),
        (&[stopped(1)], (1, ExitReason::LostQemuConnection)),
        (&[stopped(2)], (1, ExitReason::LostQemuConnection)),
        (&[stopped(5)], (1, ExitReason::LostQemuConnection)),
        (&[shutdown(1), stopped(0)], (0, ExitReason::UserShutdown)),
        (&[shutdown(2), stopped(0)], (1, ExitReason::HostShutdown)),
        (
            &[Input::Begin(Verb::Shutdown), shutdown(1), stopped(0)],
            (0, ExitReason::AdminShutdown),
        ),
        (
            &[Input::Begin(Verb::Destroy), stopped(1)],
            (0, ExitReason::AdminShutdown),
        ),
        (
            &[Input::Begin(Verb::Destroy), Input::Destroyed],
            (0, ExitReason::AdminShutdown),
        ),
        (&[Input::Missing], (1, ExitReason::LibvirtDomainMissing)),
        (
            &[observed(DomainRunState::Shutoff, 0)],
            (1, ExitReason::LostQemuConnection),
        ),
        (
            &[observed(DomainRunState::Shutoff, 1)],
            (0, ExitReason::UserShutdown),
        ),
    ];
    for (inputs, expected) in cases {
        assert_eq!(after(inputs), expected, "{inputs:?}");
    }
}

#[test]
fn a_destroy_that_failed_is_forgotten() {
    let begun = step(
        &machine(Life::Running(Cpus::Running)),
        Input::Begin(Verb::Destroy),
        START,
    )
    .0;
    assert!(begun.destroy_requested);
    let failed = step(
        &begun,
        Input::Finished {
            verb: Verb::Destroy,
            done: false,
        },
        START,
    )
    .0;
    assert!(!failed.destroy_requested);
    let (died, _) = step(&failed, stopped(0), START);
    assert_eq!(
        died.life,
        Life::Stopping(ExitInfo::of(ExitReason::UserShutdown))
    );
}

#[test]
fn what_is_seen_depends_on_the_guest_and_the_time() {
    let up = machine(Life::Running(Cpus::Running));
    for (input, seconds, seen) in [
        (Input::Tick, 59, VmStatus::PoweringUp),
        (Input::Tick, 60, VmStatus::Up),
        (Input::Begin(Verb::Shutdown), 299, VmStatus::PoweringDown),
        (Input::Begin(Verb::Shutdown), 300, VmStatus::Up),
        (Input::GuestReboot, 59, VmStatus::RebootInProgress),
        (Input::Begin(Verb::Reset), 60, VmStatus::Up),
    ] {
        let (next, _) = step(&up, input.clone(), START);
        assert_eq!(
            next.seen(later(seconds)),
            seen,
            "{input:?} after {seconds} s"
        );
        assert_eq!(next.domain_status(), VmStatus::Up);
    }
    let (next, actions) = step(&up, Input::Tick, later(61));
    assert_eq!(actions, [Action::Publish(News::Status)]);
    assert_eq!(step(&next, Input::Tick, later(62)).1, []);
}

#[test]
fn io_errors_keep_their_code_until_someone_decides() {
    let up = machine(Life::Running(Cpus::Running));
    let io = Input::IoError {
        code: PauseCode::Enospc,
        alias: "ua-1".to_owned(),
    };
    let (broken, actions) = step(&up, io, START);
    assert_eq!(broken.pause_code(), Some(PauseCode::Enospc));
    assert!(matches!(
        actions.first(),
        Some(Action::Publish(News::IoError { .. }))
    ));
    // libvirt's own words about the same pause come after it.
    let (same, actions) = step(&broken, observed(DomainRunState::Paused, 5), later(1));
    assert_eq!(
        (same.pause_code(), actions),
        (Some(PauseCode::Enospc), vec![])
    );
    let pause = Input::Finished {
        verb: Verb::Pause,
        done: true,
    };
    assert_eq!(
        step(&broken, pause, later(1)).0.pause_code(),
        Some(PauseCode::NoErr)
    );
    let cont = Input::Finished {
        verb: Verb::Cont,
        done: true,
    };
    assert_eq!(
        step(&broken, cont, later(1)).0.life,
        Life::Running(Cpus::Running)
    );
}

#[test]
fn old_words_about_pauses_are_checked_not_believed() {
    let suspended = Input::Lifecycle {
        event: LifecycleEvent::Suspended,
        detail: 0,
    };
    let resumed = Input::Lifecycle {
        event: LifecycleEvent::Resumed,
        detail: 0,
    };
    for (life, input, checks) in [
        (Life::Running(Cpus::Running), &suspended, true),
        (Life::Running(Cpus::Running), &resumed, false),
        (paused(PauseCode::NoErr), &suspended, false),
        (paused(PauseCode::NoErr), &resumed, true),
        (Life::Launching, &suspended, false),
    ] {
        let (next, actions) = step(&machine(life.clone()), input.clone(), START);
        assert_eq!(next.life, life);
        assert_eq!(actions == [Action::Check], checks, "{life:?} {input:?}");
    }
}

#[test]
fn elapsed_time_survives_the_process_and_ignores_the_wall_clock() {
    let found = Machine::started_at(Duration::from_secs(1_794_999_500), START);
    assert_eq!(found.elapsed(START).as_secs(), 500);
    assert_eq!(found.seen(START), VmStatus::WaitForLaunch);
    let mut jumped = later(10);
    jumped.wall = Duration::ZERO;
    assert_eq!(found.elapsed(jumped).as_secs(), 510);
    // A start in the future (the clock was set back) is no negative time.
    assert_eq!(
        Machine::started_at(START.wall * 2, START).elapsed(START),
        Duration::ZERO
    );
    let (rebooted, _) = step(
        &Machine {
            life: Life::Running(Cpus::Running),
            ..found
        },
        Input::GuestReboot,
        later(10),
    );
    assert_eq!(rebooted.elapsed(later(12)).as_secs(), 2);
    assert_eq!(rebooted.start_wall, later(10).wall);
}
