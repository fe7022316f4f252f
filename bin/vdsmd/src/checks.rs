//! Do parameters, results and events look as they are declared?
//!
//! Parameters are looked at always: what can be understood is understood, and told in the log; what cannot is -32602.
//! Results and events are compared with their declarations in debug builds, and so in all tests, and in strict mode.
//! In strict mode (`[devel] api_strict_mode`) whatever is not as declared is an error. A mismatch is told by
//! [`Teller`]: one line, at most once a minute for the same mismatch.
//!
//! Look next: `checks/teller.rs`.

mod teller;

use schema::{CallContext, Mismatch, Raw, VdsmError, VerbDecl, desc::Type};
use serde_json::Value;

pub(crate) use teller::{Origin, Teller, What};

use crate::agent::Agent;

/// Calls a verb, and compares what it answers with its declaration.
pub(crate) fn dispatch(
    agent: &Agent,
    cx: &CallContext,
    verb: &'static VerbDecl,
    params: Option<&serde_json::value::RawValue>,
) -> Result<Raw, VdsmError> {
    let answer = schema::dispatch(agent, cx, verb.method, params)?;
    let strict = agent.strict_api();
    if !(strict || cfg!(debug_assertions)) {
        return Ok(answer);
    }
    let mismatches = compare(&answer, verb.result);
    if mismatches.is_empty() {
        return Ok(answer);
    }
    let origin = Origin {
        what: What::Result,
        name: verb.method,
        cx: Some(cx),
    };
    agent.mismatches.tell(&origin, &mismatches);
    if strict {
        Err(VdsmError::internal("the answer is not as declared"))
    } else {
        Ok(answer)
    }
}

/// Where an answer differs from its declaration.
fn compare(answer: &Raw, ty: &Type) -> Vec<Mismatch> {
    // Only nesting beyond the parser's limit cannot be read back; no declared answer is that deep.
    serde_json::from_str::<Value>(answer.get())
        .map_or_else(|_| Vec::new(), |value| schema::check(&value, ty))
}

/// Compares the parameters of an event with their declaration; answers whether it may be sent.
pub(crate) fn event(teller: &Teller, strict: bool, prefix: &'static str, params: &Raw) -> bool {
    if !(strict || cfg!(debug_assertions)) {
        return true;
    }
    let declared = schema::events::EVENTS
        .iter()
        .find(|event| event.prefix == prefix);
    let Some(declared) = declared else {
        tracing::error!(event = prefix, "the event is not declared");
        return !strict;
    };
    let Ok(Value::Object(mut params)) = serde_json::from_str(params.get()) else {
        tracing::error!(event = prefix, "the event's parameters are no object");
        return !strict;
    };
    params.remove("notify_time");
    let mismatches = schema::check(&Value::Object(params), declared.params);
    if mismatches.is_empty() {
        return true;
    }
    let origin = Origin {
        what: What::Event,
        name: prefix,
        cx: None,
    };
    teller.tell(&origin, &mismatches);
    !strict
}
