//! The JSON-RPC 2.0 envelope: requests, notifications and batches in, responses out.
//!
//! Parameters and results stay raw text; nothing here builds a value tree. Texts of the errors and
//! the spacing of the envelope are those that upstream's transcripts show, so that whoever compares
//! messages finds the ones known.
//!
//! Where upstream and the specification differ: an `id` of null makes a notification (upstream's
//! own client writes notifications so); an invalid request is answered once, under its id where it
//! has a usable one; a batch is always answered by one array.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The JSON text is none.
pub const PARSE_ERROR: i64 = -32700;
/// The JSON is no request object.
pub const INVALID_REQUEST: i64 = -32600;
/// There is no such verb.
pub const METHOD_NOT_FOUND: i64 = -32601;
/// Parameters are missing or of a wrong type.
pub const INVALID_PARAMS: i64 = -32602;
/// The agent failed.
pub const INTERNAL_ERROR: i64 = -32603;
/// VDSM's code for "too many requests at once" (upstream: its executor's queue is full).
pub const RESOURCE_EXHAUSTED: i64 = 1100;

/// What a call ends with: the result's JSON text or an error.
pub type Reply = Result<Box<RawValue>, RpcError>;

/// An error object on the wire: one of the codes of JSON-RPC (negative) or of VDSM (positive).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RpcError {
    /// Code; Engine reads it as a 32-bit integer.
    pub code: i64,
    /// Text for people and logs.
    pub message: String,
}

impl RpcError {
    /// An error with its code and finished text.
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// An error whose text carries its circumstances as upstream writes them:
    /// `message: {'key': 'value'}`.
    pub fn with_context(code: i64, message: &str, context: &[(&str, &str)]) -> Self {
        let pairs: Vec<String> = context
            .iter()
            .map(|(key, value)| format!("{}: {}", python_repr(key), python_repr(value)))
            .collect();
        Self::new(code, format!("{message}: {{{}}}", pairs.join(", ")))
    }

    /// -32700.
    pub fn parse() -> Self {
        Self::new(
            PARSE_ERROR,
            "Invalid JSON was received by the server. An error occurred on the server while \
             parsing the JSON text.",
        )
    }

    /// -32600 with what is wrong.
    pub fn invalid_request(reason: &str) -> Self {
        Self::with_context(INVALID_REQUEST, "Invalid request", &[("reason", reason)])
    }

    /// -32601 with the name asked for.
    pub fn method_not_found(method: &str) -> Self {
        Self::with_context(
            METHOD_NOT_FOUND,
            "The method does not exist or is not available",
            &[("method", method)],
        )
    }

    /// -32602 with what is wrong, naming the parameter.
    pub fn invalid_params(reason: &str) -> Self {
        Self::with_context(
            INVALID_PARAMS,
            "Invalid method parameter(s)",
            &[("reason", reason)],
        )
    }

    /// -32603 with what went wrong.
    pub fn internal(reason: &str) -> Self {
        Self::with_context(
            INTERNAL_ERROR,
            "Internal JSON-RPC error",
            &[("reason", reason)],
        )
    }
}

/// A string as Python's `repr` writes it; the texts of upstream's errors hold such.
pub fn python_repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for char in text.chars() {
        match char {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            other if other == quote => out.extend(['\\', other]),
            other if other.is_control() => {
                let _ =
                    fmt::Write::write_fmt(&mut out, format_args!("\\x{:02x}", u32::from(other)));
            }
            other => out.push(other),
        }
    }
    out.push(quote);
    out
}

/// A well-formed request or notification.
#[derive(Clone, Debug)]
pub struct Request {
    /// Id as it stood in the request, a string or a number; `None`: a notification.
    pub id: Option<Box<RawValue>>,
    /// Name of the verb, unchecked.
    pub method: String,
    /// Parameters: an object, an array, or absent.
    pub params: Option<Box<RawValue>>,
}

/// What stands in place of a request that is none.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// Its id, if it has a usable one.
    pub id: Option<Box<RawValue>>,
    /// The error to answer.
    pub error: RpcError,
}

/// The content of a message to a request queue.
#[derive(Clone, Debug)]
pub enum Incoming {
    /// One request, notification, or something wrong as a whole.
    Single(Result<Request, Rejected>),
    /// An array with at least one element.
    Batch(Vec<Result<Request, Rejected>>),
}

/// Reads a message to a request queue. A batch of more than `max_batch` elements is rejected as a
/// whole. Never fails: what cannot be read becomes a [`Rejected`].
pub fn parse(body: &[u8], max_batch: usize) -> Incoming {
    let reject = |error| Incoming::Single(Err(Rejected { id: None, error }));
    if body.trim_ascii_start().first() != Some(&b'[') {
        return match serde_json::from_slice::<Members<'_>>(body) {
            Ok(members) => Incoming::Single(request_of(&members)),
            // Only what is no request is read a second time, to say why.
            Err(_) if serde_json::from_slice::<&RawValue>(body).is_ok() => reject(not_an_object()),
            Err(_) => reject(RpcError::parse()),
        };
    }
    let reason = match serde_json::from_slice::<Elements<'_>>(body) {
        Ok(Elements { items, count })
            if count == items.len() && count <= max_batch && count > 0 =>
        {
            return Incoming::Batch(items.into_iter().map(parse_request).collect());
        }
        Ok(Elements { count: 0, .. }) => "request batch is empty",
        Ok(_) => "request batch is too large",
        Err(_) => return reject(RpcError::parse()),
    };
    reject(RpcError::invalid_request(reason))
}

fn not_an_object() -> RpcError {
    RpcError::invalid_request("request is not an object")
}

/// Elements of an array; kept are at most [`Elements::KEPT`], so that a huge batch of nothing costs
/// no memory.
struct Elements<'a> {
    items: Vec<&'a RawValue>,
    count: usize,
}

impl Elements<'_> {
    const KEPT: usize = 65_536;
}

impl<'de> Deserialize<'de> for Elements<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ElementsVisitor;
        impl<'de> Visitor<'de> for ElementsVisitor {
            type Value = Elements<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an array")
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut seq: A,
            ) -> Result<Elements<'de>, A::Error> {
                let mut elements = Elements {
                    items: Vec::new(),
                    count: 0,
                };
                while let Some(item) = seq.next_element::<&RawValue>()? {
                    elements.count += 1;
                    if elements.items.len() < Elements::KEPT {
                        elements.items.push(item);
                    }
                }
                Ok(elements)
            }
        }
        deserializer.deserialize_seq(ElementsVisitor)
    }
}

/// Members of an object that the envelope knows. Of a repeated member the last one counts, as in
/// Python; others are ignored.
#[derive(Default)]
struct Members<'a> {
    jsonrpc: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    method: Option<&'a RawValue>,
    params: Option<&'a RawValue>,
    result: Option<&'a RawValue>,
    error: Option<&'a RawValue>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Members::default();
        while let Some(Key(key)) = map.next_key::<Key<'de>>()? {
            match key.as_ref() {
                "jsonrpc" => members.jsonrpc = Some(map.next_value()?),
                "id" => members.id = Some(map.next_value()?),
                "method" => members.method = Some(map.next_value()?),
                "params" => members.params = Some(map.next_value()?),
                "result" => members.result = Some(map.next_value()?),
                "error" => members.error = Some(map.next_value()?),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(members)
    }
}

/// A member's name, borrowed unless it holds escapes.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Key<'a>(#[serde(borrow)] std::borrow::Cow<'a, str>);

fn parse_request(raw: &RawValue) -> Result<Request, Rejected> {
    match serde_json::from_str::<Members<'_>>(raw.get()) {
        Ok(members) => request_of(&members),
        Err(_) => Err(Rejected {
            id: None,
            error: not_an_object(),
        }),
    }
}

fn request_of(members: &Members<'_>) -> Result<Request, Rejected> {
    let reject = |id: Option<Box<RawValue>>, reason: &str| {
        Err(Rejected {
            id,
            error: RpcError::invalid_request(reason),
        })
    };
    let id = match members.id.map(|id| (id, id.get().as_bytes().first())) {
        None | Some((_, Some(b'n'))) => None,
        Some((id, Some(b'"' | b'-' | b'0'..=b'9'))) => Some(id.to_owned()),
        Some(_) => return reject(None, "wrong id type"),
    };
    let version = members.jsonrpc;
    if version.is_none_or(|it| it.get() != "\"2.0\"" && string(it).as_deref() != Some("2.0")) {
        return reject(id, "Wrong protocol version");
    }
    let Some(method) = members.method.filter(|method| method.get() != "null") else {
        return reject(id, "missing method header in method");
    };
    let Some(method) = string(method) else {
        return reject(id, "wrong method type");
    };
    if members
        .params
        .is_some_and(|params| !params.get().starts_with(['{', '[']))
    {
        return reject(id, "wrong params type");
    }
    Ok(Request {
        id,
        method,
        params: members.params.map(ToOwned::to_owned),
    })
}

fn string(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

/// What comes to a client on a queue that it subscribed to.
#[derive(Clone, Debug)]
pub(crate) enum Received {
    /// The answer to a request; `id` is the id's JSON text, `None` where the server knew none.
    Response { id: Option<String>, reply: Reply },
    /// A notification.
    Event {
        method: String,
        params: Option<Box<RawValue>>,
    },
}

/// Reads a message to a client's queue; elements that are neither response nor notification are
/// left out.
pub(crate) fn parse_received(body: &[u8]) -> Vec<Received> {
    let Ok(raw) = serde_json::from_slice::<&RawValue>(body) else {
        return Vec::new();
    };
    match serde_json::from_str::<Elements<'_>>(raw.get()) {
        Ok(elements) => elements
            .items
            .into_iter()
            .filter_map(parse_one_received)
            .collect(),
        Err(_) => parse_one_received(raw).into_iter().collect(),
    }
}

fn parse_one_received(raw: &RawValue) -> Option<Received> {
    let members = serde_json::from_str::<Members<'_>>(raw.get()).ok()?;
    let id = members
        .id
        .map(|id| id.get().to_owned())
        .filter(|id| id != "null");
    if let Some(error) = members.error.filter(|error| error.get() != "null") {
        return Some(Received::Response {
            id,
            reply: Err(parse_error_object(error)),
        });
    }
    if let Some(result) = members.result {
        return Some(Received::Response {
            id,
            reply: Ok(result.to_owned()),
        });
    }
    let method = members.method.and_then(string)?;
    Some(Received::Event {
        method,
        params: members.params.map(ToOwned::to_owned),
    })
}

fn parse_error_object(raw: &RawValue) -> RpcError {
    #[derive(serde::Deserialize)]
    struct ErrorObject {
        code: i64,
        #[serde(default)]
        message: String,
    }
    match serde_json::from_str::<ErrorObject>(raw.get()) {
        Ok(object) => RpcError::new(object.code, object.message),
        Err(_) => RpcError::new(INTERNAL_ERROR, raw.get()),
    }
}

/// Appends a response object. Without an id it carries null.
pub fn write_response(out: &mut Vec<u8>, id: Option<&RawValue>, reply: &Reply) {
    out.extend_from_slice(b"{\"jsonrpc\": \"2.0\", \"id\": ");
    out.extend_from_slice(id.map_or("null", RawValue::get).as_bytes());
    match reply {
        Ok(result) => {
            out.extend_from_slice(b", \"result\": ");
            out.extend_from_slice(result.get().as_bytes());
        }
        Err(error) => {
            out.extend_from_slice(b", \"error\": {\"code\": ");
            out.extend_from_slice(error.code.to_string().as_bytes());
            out.extend_from_slice(b", \"message\": ");
            write_string(out, &error.message);
            out.push(b'}');
        }
    }
    out.push(b'}');
}

/// Appends a notification.
pub fn write_notification(out: &mut Vec<u8>, method: &str, params: Option<&RawValue>) {
    write_call(out, method, params);
    out.push(b'}');
}

/// Appends a request whose id is a string.
pub fn write_request(out: &mut Vec<u8>, id: &str, method: &str, params: Option<&RawValue>) {
    write_call(out, method, params);
    out.extend_from_slice(b", \"id\": ");
    write_string(out, id);
    out.push(b'}');
}

fn write_call(out: &mut Vec<u8>, method: &str, params: Option<&RawValue>) {
    out.extend_from_slice(b"{\"jsonrpc\": \"2.0\", \"method\": ");
    write_string(out, method);
    if let Some(params) = params {
        out.extend_from_slice(b", \"params\": ");
        out.extend_from_slice(params.get().as_bytes());
    }
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    // Writing a string into memory cannot fail; should it ever, an empty string keeps the JSON whole.
    let start = out.len();
    if serde_json::to_writer(&mut *out, text).is_err() {
        out.truncate(start);
        out.extend_from_slice(b"\"\"");
    }
}
