//! A request to set up networks, from a file: the parameters of `Host.setupNetworks`, or a whole call of it.
//!
//! A key that nobody knows at the top is an error, so that a slip of the pen is not taken for "nothing to do"; within a
//! network or a bond it is told, as the agent does.

use std::{collections::BTreeMap, fs::File, io::Read, path::Path};

use anyhow::{Context as _, Result, bail};
use net_model::request::SetupRequest;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Largest request that is read, bytes.
const MOST: u64 = 32 << 20;
/// The verb whose parameters these are.
const VERB: &str = "Host.setupNetworks";

/// Reads a request; `-` is standard input.
pub(super) fn read(path: &Path) -> Result<SetupRequest> {
    let name = path.display();
    let mut text = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(MOST + 1).read_to_end(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(MOST + 1).read_to_end(&mut text))
    };
    read.with_context(|| format!("cannot read {name}"))?;
    if text.len() as u64 > MOST {
        bail!("{name} is larger than {MOST} bytes");
    }
    parse(&text).with_context(|| name.to_string())
}

/// Understands a request.
pub(super) fn parse(text: &[u8]) -> Result<SetupRequest> {
    let value = serde_json::from_slice(text).context("it is no JSON")?;
    let mut params = parameters(value)?;
    let networks = each(params.remove("networks"), "networks")?;
    let bondings = each(params.remove("bondings"), "bondings")?;
    object(params.remove("options"), "options")?;
    if let Some(key) = params.keys().next() {
        bail!("{key}: there is no such parameter; there are networks, bondings and options");
    }
    Ok(SetupRequest {
        networks,
        bondings,
        // They say how a change is made lasting, not what it does.
        ..SetupRequest::default()
    })
}

/// The parameters, out of a call if it is one.
fn parameters(value: Value) -> Result<Map<String, Value>> {
    let mut map = object(Some(value), "the request")?;
    match map.remove("method") {
        None => Ok(map),
        Some(Value::String(method)) if method == VERB => object(map.remove("params"), "params"),
        Some(other) => bail!("it is a call of {other}, not of {VERB}"),
    }
}

fn object(value: Option<Value>, name: &str) -> Result<Map<String, Value>> {
    match value {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(map)) => Ok(map),
        Some(_) => bail!("{name}: not an object"),
    }
}

fn each<T: DeserializeOwned>(value: Option<Value>, name: &str) -> Result<BTreeMap<String, T>> {
    object(value, name)?
        .into_iter()
        .map(|(key, it)| {
            let read = serde_json::from_value(it);
            let read = read.with_context(|| format!("{name}.{key}"))?;
            Ok((key, read))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use net_model::request::Loose;
    use proptest::prelude::*;

    use super::*;

    const PARAMS: &str = r#"{"networks": {"n": {"nic": "eth1", "vlan": "7"}, "old": {"remove": true}},
        "bondings": {"bond0": {"nics": ["eth2"]}}, "options": {"connectivityCheck": "false"}}"#;

    #[test]
    fn parameters_alone_and_within_a_call_are_the_same() {
        let alone = parse(PARAMS.as_bytes()).unwrap();
        assert_eq!(alone.networks["n"].vlan, Some(Loose::from("7")));
        assert_eq!(alone.bondings["bond0"].nics, Some(vec!["eth2".to_owned()]));
        let call =
            format!(r#"{{"jsonrpc": "2.0", "method": "{VERB}", "id": 1, "params": {PARAMS}}}"#);
        assert_eq!(parse(call.as_bytes()).unwrap(), alone);
        assert_eq!(parse(b"{}").unwrap(), SetupRequest::default());
    }

    #[test]
    fn what_is_none_is_named() {
        for (text, expected) in [
            ("", "it is no JSON"),
            ("[]", "the request: not an object"),
            (r#"{"network": {}}"#, "network: there is no such parameter"),
            (r#"{"networks": []}"#, "networks: not an object"),
            (r#"{"networks": {"n": 5}}"#, "networks.n: "),
            (r#"{"networks": {"n": {"ipv4addrs": "x"}}}"#, "networks.n: "),
            (
                r#"{"method": "Host.ping", "params": {}}"#,
                "not of Host.setupNetworks",
            ),
        ] {
            let error = format!("{:#}", parse(text.as_bytes()).unwrap_err());
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = read(Path::new("/nonexistent/request.json")).unwrap_err();
        assert!(
            error.to_string().contains("/nonexistent/request.json"),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&text);
        }

        #[test]
        fn any_values_are_survived(key in "[a-z_]{0,12}", value in "[-0-9a-z\\[\\]{}\",:.]{0,40}") {
            let text = format!("{{\"networks\": {{\"n\": {{\"{key}\": {value}}}}}}}");
            let _ = parse(text.as_bytes());
        }
    }
}
