//! Runs lanes of steps at the same time: the next step of each lane that is ready travels with those of the others.
//!
//! A lane is *ready* (its next step can begin), *waiting* (the kernel is to be asked again in a moment), *away* (a
//! DHCP client or a file of name servers is at work on a thread of its own), or at its *end* (all done, or one
//! failed). A lane that fails stops; the others go on to their ends. The steps of one lane are never in flight
//! together: the kernel goes on after a refusal, a lane does not.

use std::{
    sync::mpsc::{Receiver, Sender, channel},
    thread::{self, Scope},
    time::{Duration, Instant},
};

use net_model::Step;
use netlink::{Act, NetlinkError, Refusal};

use super::{
    KernelMachine,
    steps::{Begun, Meaning, begin, meaning},
    talk::{Talk, Trouble},
};
use crate::ApplyError;

/// How long a step that may be done in a moment is tried: duplicate address detection takes two seconds at most.
const PATIENCE: Duration = Duration::from_secs(5);
/// And how often.
const PAUSE: Duration = Duration::from_millis(50);

/// Steps one after the other.
pub(super) struct Lane<'a> {
    /// Each with its place in the whole run.
    steps: Vec<(usize, &'a Step)>,
    next: usize,
    state: State,
    /// Since when the next step is tried.
    since: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ready,
    Waiting(Instant),
    Away,
    Ended,
}

impl<'a> Lane<'a> {
    pub(super) fn new(steps: Vec<(usize, &'a Step)>) -> Self {
        let state = if steps.is_empty() {
            State::Ended
        } else {
            State::Ready
        };
        Self {
            steps,
            next: 0,
            state,
            since: None,
        }
    }

    fn step(&self) -> Option<&'a Step> {
        self.steps.get(self.next).map(|(_, step)| *step)
    }

    /// The place of its next step in the run.
    fn place(&self) -> usize {
        self.steps.get(self.next).map_or(0, |(place, _)| *place)
    }

    fn go_on(&mut self) {
        self.next += 1;
        self.since = None;
        self.state = if self.next < self.steps.len() {
            State::Ready
        } else {
            State::Ended
        };
    }
}

/// What came of lanes.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Places of the steps that were done, in the order in which they were.
    pub(super) done: Vec<usize>,
    /// Places of those that failed.
    pub(super) failed: Vec<(usize, ApplyError)>,
}

type Answer = (usize, Result<(), ApplyError>);

/// Runs lanes to their ends.
pub(super) fn run(machine: &KernelMachine, talk: &mut Talk, lanes: Vec<Lane<'_>>) -> Outcome {
    let (sender, answers) = channel();
    thread::scope(|scope| {
        let mut driver = Driver {
            machine,
            talk,
            lanes,
            sender,
            answers,
            outcome: Outcome::default(),
        };
        while driver.turn(scope) {}
        driver.outcome
    })
}

struct Driver<'a, 'm> {
    machine: &'m KernelMachine,
    talk: &'a mut Talk,
    lanes: Vec<Lane<'m>>,
    sender: Sender<Answer>,
    answers: Receiver<Answer>,
    outcome: Outcome,
}

impl<'m> Driver<'_, 'm> {
    /// One step of each lane that is ready. Says whether there is more to do.
    fn turn<'s>(&mut self, scope: &'s Scope<'s, '_>) -> bool
    where
        'm: 's,
    {
        self.collect();
        let now = Instant::now();
        let mut acts: Vec<(usize, Act)> = Vec::new();
        for at in 0..self.lanes.len() {
            let Some(lane) = self.lanes.get_mut(at) else {
                continue;
            };
            match lane.state {
                State::Waiting(when) if when <= now => lane.state = State::Ready,
                _ => {}
            }
            if lane.state == State::Ready
                && let Some(act) = self.begin(scope, at)
            {
                acts.push((at, act));
            }
        }
        if acts.is_empty() {
            return self.wait();
        }
        self.send(acts);
        true
    }

    /// Begins the next step of a lane; answers the act that it needs, if so.
    fn begin<'s>(&mut self, scope: &'s Scope<'s, '_>, at: usize) -> Option<Act>
    where
        'm: 's,
    {
        let step = self.lanes.get(at)?.step()?;
        if self.talk.left().is_none() {
            let step = Box::new(step.clone());
            self.end(at, Err(ApplyError::Late { step }));
            return None;
        }
        if is_elsewhere(step) {
            self.send_away(scope, at, step);
            return None;
        }
        match begin(self.talk, step) {
            Ok(Begun::Act(act)) => return Some(act),
            Ok(Begun::Done) => self.end(at, Ok(())),
            Err(trouble) => self.end(at, Err(trouble.of(step))),
        }
        None
    }

    /// Has it done on a thread of its own, so that nobody waits for it.
    fn send_away<'s>(&mut self, scope: &'s Scope<'s, '_>, at: usize, step: &'m Step)
    where
        'm: 's,
    {
        let (sender, until) = (self.sender.clone(), self.talk.until());
        let machine = self.machine;
        if let Some(lane) = self.lanes.get_mut(at) {
            lane.state = State::Away;
        }
        scope.spawn(move || {
            let _ = sender.send((at, machine.elsewhere(step, until)));
        });
    }

    fn send(&mut self, acts: Vec<(usize, Act)>) {
        let (places, acts): (Vec<usize>, Vec<Act>) = acts.into_iter().unzip();
        match self.talk.act(&acts) {
            Ok(answers) => {
                for (at, answer) in places.into_iter().zip(answers) {
                    self.judge(at, answer);
                }
            }
            Err(error) => {
                let mut first = Some(error);
                for at in places {
                    let error = first.take().unwrap_or(NetlinkError::Late {
                        deadline: Duration::ZERO,
                    });
                    self.fail(at, Trouble::Unanswered(error));
                }
            }
        }
    }

    fn judge(&mut self, at: usize, answer: Result<(), Refusal>) {
        let refusal = match answer {
            Ok(()) => return self.end(at, Ok(())),
            Err(refusal) => refusal,
        };
        let Some(step) = self.lanes.get(at).and_then(Lane::step) else {
            return;
        };
        match meaning(self.talk, step, refusal.clone()) {
            Ok(Meaning::Done) => self.end(at, Ok(())),
            Ok(Meaning::Act(act)) => match self.talk.act_one(act) {
                Ok(Ok(())) => self.end(at, Ok(())),
                Ok(Err(refusal)) => self.fail(at, Trouble::Refused(refusal)),
                Err(error) => self.fail(at, Trouble::Unanswered(error)),
            },
            Ok(Meaning::Later) if self.may_wait(at) => {}
            Ok(Meaning::Later) => self.fail(at, Trouble::Refused(refusal)),
            Ok(Meaning::Refused(refusal)) => self.fail(at, Trouble::Refused(refusal)),
            Err(trouble) => self.fail(at, trouble),
        }
    }

    fn may_wait(&mut self, at: usize) -> bool {
        let now = Instant::now();
        let Some(lane) = self.lanes.get_mut(at) else {
            return false;
        };
        let since = *lane.since.get_or_insert(now);
        let patient = now < since + PATIENCE && self.talk.left().is_some();
        if patient {
            lane.state = State::Waiting(now + PAUSE);
        }
        patient
    }

    fn fail(&mut self, at: usize, trouble: Trouble) {
        if let Some(step) = self.lanes.get(at).and_then(Lane::step) {
            self.end(at, Err(trouble.of(step)));
        }
    }

    /// The next step of a lane has ended.
    fn end(&mut self, at: usize, result: Result<(), ApplyError>) {
        let Some(lane) = self.lanes.get_mut(at) else {
            return;
        };
        match result {
            Ok(()) => {
                self.outcome.done.push(lane.place());
                lane.go_on();
            }
            Err(error) => {
                self.outcome.failed.push((lane.place(), error));
                lane.state = State::Ended;
            }
        }
    }

    /// Takes what came back from elsewhere.
    fn collect(&mut self) {
        while let Ok((at, result)) = self.answers.try_recv() {
            self.end(at, result);
        }
    }

    /// Nothing to send: waits for what is elsewhere or not yet. Says whether a lane goes on.
    fn wait(&mut self) -> bool {
        let states = || self.lanes.iter().map(|it| it.state);
        if states().any(|it| it == State::Ready) {
            return true;
        }
        let now = Instant::now();
        let soon = states().filter_map(|it| match it {
            State::Waiting(when) => Some(when.saturating_duration_since(now)),
            _ => None,
        });
        let came = match soon.min() {
            Some(pause) => self.answers.recv_timeout(pause).ok(),
            None if states().any(|it| it == State::Away) => self.answers.recv().ok(),
            None => return false,
        };
        if let Some((at, result)) = came {
            self.end(at, result);
        }
        true
    }
}

/// Is it not the kernel's business?
fn is_elsewhere(step: &Step) -> bool {
    matches!(
        step,
        Step::StartDhcp { .. } | Step::StopDhcp { .. } | Step::SetNameservers { .. }
    )
}
