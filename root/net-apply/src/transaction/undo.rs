//! Back to what was before a change.

use std::{collections::BTreeSet, time::Instant};

use net_model::{Config, Desired, IfName, Planned, Step, plan};

use super::{Point, Record, SETTLE_PAUSE, Transactions, chain, likeness, lines};

impl Transactions {
    /// Undoes a change by these steps; answers what is not as before. Idempotent.
    pub(super) fn back(&self, record: &Record, steps: &[Step], until: Instant) -> Vec<String> {
        self.at(&Point::Undoing);
        for error in self.machine.undo(steps, until) {
            tracing::warn!(error = chain(&error), "undoing");
        }
        let all = record.undo(record.stages.len());
        let mut touched: BTreeSet<IfName> = all.iter().filter_map(Step::device).cloned().collect();
        touched.extend(record.before.links.keys().cloned());
        let mut left = self.unlike(record, &touched, until);
        if !left.is_empty() {
            tracing::warn!(?left, "undoing step by step was not enough");
            if let Err(why) = self.plan_back(record, until) {
                tracing::error!(why, "planning back");
            }
            left = self.unlike(record, &touched, until);
        }
        self.at(&Point::Undone);
        lines(left)
    }

    /// What is not as before, when the kernel has had its time to show it.
    fn unlike(&self, record: &Record, touched: &BTreeSet<IfName>, until: Instant) -> Vec<String> {
        let settle = (Instant::now() + self.places.settle).min(until);
        loop {
            let left = match self.machine.current(until) {
                Ok(now) => likeness::differences(&record.before, &now, touched),
                Err(error) => vec![chain(&error)],
            };
            if left.is_empty() || Instant::now() >= settle {
                return left;
            }
            std::thread::sleep(SETTLE_PAUSE);
        }
    }

    /// From wherever it is, by a plan of its own.
    fn plan_back(&self, record: &Record, until: Instant) -> Result<(), String> {
        let current = self.machine.current(until).map_err(|it| chain(&it))?;
        let back = backwards(&record.desired);
        let tables = self
            .allotted(&[&back.before, &back.after], &current)
            .map_err(|it| chain(&it))?;
        let plan = plan(&current, &back, &tables).map_err(|it| chain(&it))?;
        let steps: Vec<String> = plan.steps.iter().map(Planned::to_string).collect();
        tracing::info!(?steps, "a plan back");
        let ran = self.machine.run(&plan.steps, until);
        ran.map_err(|it| chain(&it.source))
    }
}

/// The same change the other way: all that either side names may go, what was before shall be.
fn backwards(desired: &Desired) -> Desired {
    let mut before: Config = desired.before.clone();
    for (name, network) in &desired.after.networks {
        before.networks.insert(name.clone(), network.clone());
    }
    for (name, bond) in &desired.after.bonds {
        before.bonds.insert(name.clone(), bond.clone());
    }
    Desired {
        before,
        after: desired.before.clone(),
        scope: desired.scope.clone(),
    }
}
