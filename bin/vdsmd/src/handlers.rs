//! The verbs, a file per namespace: wire types in, domain types on, and back. No policy lives here.

mod domain;
mod fence;
mod host;
mod image;
mod later;
mod pool;
mod task;
mod vm;
pub(crate) mod vm_stats;
mod volume;
mod words;

use schema::{Api, CallContext, Mismatch, VdsmError, VerbDecl};

use crate::{
    agent::Agent,
    checks::{Origin, What},
};

/// Answer of a handler.
type Answer<T> = Result<T, VdsmError>;

impl Api for Agent {
    fn mismatched(&self, cx: &CallContext, verb: &'static VerbDecl, mismatches: &[Mismatch]) {
        let origin = Origin {
            what: What::Parameters,
            name: verb.method,
            cx: Some(cx),
        };
        self.mismatches.tell(&origin, mismatches);
    }

    fn strict(&self) -> bool {
        self.strict_api()
    }
}
