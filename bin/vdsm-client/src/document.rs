//! The API as a document: `--schema` (OpenRPC) and `--unimplemented`.

use std::io::Write;

use serde_json::{Value, json};

use crate::{
    failure::Failure,
    output::{self, Format},
};

/// Prints the OpenRPC document, or what it says of a namespace or of one verb.
pub(crate) fn schema(out: &mut dyn Write, of: Option<&str>, format: Format) -> Result<(), Failure> {
    let document = schema::openrpc();
    let shown = match of {
        None => document,
        Some(name) => part(&document, name)?,
    };
    output::as_it_is(out, &shown, format)
}

fn part(document: &Value, name: &str) -> Result<Value, Failure> {
    let methods = document
        .get("methods")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let named = |method: &&Value| method.get("name").and_then(Value::as_str) == Some(name);
    if let Some(method) = methods.iter().find(named) {
        return Ok(method.clone());
    }
    let within: Vec<&Value> = methods
        .iter()
        .filter(|method| {
            let method = method.get("name").and_then(Value::as_str);
            method
                .and_then(|method| method.split_once('.'))
                .is_some_and(|(space, _)| space == name)
        })
        .collect();
    if within.is_empty() {
        return Err(Failure::Usage(format!(
            "--schema: no namespace or verb is called {name:?}; a verb is written Host.getVMList"
        )));
    }
    Ok(json!(within))
}

/// Prints the verbs that are declared and not implemented, one a line; as `format` if one is asked for.
pub(crate) fn unimplemented(out: &mut dyn Write, format: Option<Format>) -> Result<(), Failure> {
    let methods: Vec<&str> = schema::unimplemented().map(|verb| verb.method).collect();
    if let Some(format) = format {
        return output::as_it_is(out, &json!(methods), format);
    }
    for method in methods {
        output::text(out, &format!("{method}\n"))?;
    }
    Ok(())
}
