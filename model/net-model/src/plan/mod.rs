//! From what is there to what shall be: ordered steps, each with its undo.
//!
//! The planner runs the kernel's model (`kernel.rs`) beside it: a step that changes nothing is not planned, and what
//! a step breaks is seen and mended. Hence the plan of a reached state is empty.
//!
//! ```text
//! Remove      networks that go or move: rules, clients, bridges, VLANs, bonds; management network last
//! Base        bonds, MTUs of bases, bases up; what a bond's fall took along comes back
//! Management  links and addresses of the network with the default route, before all others
//! Links       VLANs, bridges, ports, MTUs of the others
//! Addresses   addresses, routes, rules, DHCP: a lane for each network, at the same time
//! Finish      shaping, name servers
//! ```
//!
//! Look next: `facts.rs` (reckoned once), `remove.rs`, `base.rs`, `links.rs`, `upper.rs`, `finish.rs`.

mod base;
mod facts;
mod finish;
mod links;
mod remove;
mod upper;

use facts::Facts;

use crate::{
    Current, Desired, IfName, Kernel, Link, NetError, NetName, Plan, Planned, Stage, Step, Tables,
};

/// Plans a change. `tables` holds the tables of the networks before and after ([`Tables::allot`]).
///
/// # Errors
///
/// [`NetError::Refused`] where the kernel would refuse a step: validation ([`crate::validate()`]) is to find that
/// before, with the code that Engine knows.
pub fn plan(current: &Current, desired: &Desired, tables: &Tables) -> Result<Plan, NetError> {
    let facts = Facts::new(current, desired, tables)?;
    let mut told = current.clone();
    told.assume(&desired.before);
    told.assume(&desired.after);
    let mut planner = Planner {
        origin: current,
        kernel: Kernel::new(told),
        steps: Vec::new(),
        stage: Stage::Remove,
        network: None,
    };
    planner.remove(&facts)?;
    planner.base(&facts)?;
    planner.networks(&facts)?;
    planner.finish(&facts)?;
    Ok(Plan {
        steps: planner.steps,
        result: planner.kernel.into_state(),
    })
}

struct Planner<'a> {
    origin: &'a Current,
    kernel: Kernel,
    steps: Vec<Planned>,
    stage: Stage,
    network: Option<NetName>,
}

impl Planner<'_> {
    fn push(&mut self, step: Step) -> Result<(), NetError> {
        if let Some(undo) = self.kernel.apply_undoable(&step)? {
            self.note(step, undo);
        }
        Ok(())
    }

    /// A step whose need cannot be seen: done even if the model sees no change.
    fn push_anyway(&mut self, step: Step) -> Result<(), NetError> {
        let undo = self.kernel.apply_undoable(&step)?;
        self.note(step, undo.unwrap_or_default());
        Ok(())
    }

    fn note(&mut self, step: Step, undo: Vec<Step>) {
        self.steps.push(Planned {
            step,
            undo,
            stage: self.stage,
            network: self.network.clone(),
        });
    }

    fn link(&self, name: &IfName) -> Option<&Link> {
        self.kernel.link(name.as_str())
    }

    fn at(&mut self, stage: Stage, network: Option<&NetName>) {
        self.stage = stage;
        self.network = network.cloned();
    }

    /// The management network whole, then the links of the others, then their addresses.
    fn networks(&mut self, facts: &Facts<'_>) -> Result<(), NetError> {
        for (name, known) in facts.networks_after(true) {
            self.at(Stage::Management, Some(name));
            self.links_of(facts, name, known)?;
            self.addresses_of(facts, name, known)?;
        }
        let others = facts.networks_after(false);
        for (name, known) in &others {
            self.at(Stage::Links, Some(name));
            self.links_of(facts, name, known)?;
        }
        for (name, known) in &others {
            self.at(Stage::Addresses, Some(name));
            self.addresses_of(facts, name, known)?;
        }
        Ok(())
    }
}
