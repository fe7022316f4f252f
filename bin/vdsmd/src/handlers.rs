//! The verbs, a file per namespace: wire types in, domain types on, and back. No policy lives here.

mod domain;
mod host;
mod image;
mod pool;
mod task;
mod vm;
pub(crate) mod vm_stats;
mod volume;
mod words;

use schema::{Api, CallContext, Mismatch, VdsmError, VerbDecl};

use crate::agent::Agent;

/// Answer of a handler.
type Answer<T> = Result<T, VdsmError>;

impl Api for Agent {
    fn mismatched(&self, cx: &CallContext, verb: &'static VerbDecl, mismatches: &[Mismatch]) {
        let flow_id = cx.flow_id.as_deref().unwrap_or("");
        let client = cx.client.map(|it| it.to_string()).unwrap_or_default();
        for mismatch in mismatches {
            tracing::error!(target: "vdsm.schema", verb = verb.method, flow_id, client, "{mismatch}");
        }
    }
}
