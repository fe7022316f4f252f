//! What must not be seen: [`Secret`] (passwords, keys, state of a TPM), [`DomainXml`] (a document that may
//! hold passwords) and [`SealedJson`] (values of unknown shape that may).
//!
//! None has `Debug`, `Display`, `Serialize` or `Clone`; the text leaves by a call that says so, and its
//! memory is overwritten when it is dropped. Logs go through [`mod@crate::redact`]. What an answer hands to its
//! client although no log may show it is [`Disclosed`].

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::desc::{Type, Wire};

/// A text that no log may show. It has no `Debug`, no `Display`, no `Serialize`:
///
/// ```compile_fail,E0277
/// fn shows<T: std::fmt::Debug>() {}
/// shows::<schema::Secret>();
/// ```
/// ```compile_fail,E0277
/// fn prints<T: std::fmt::Display>() {}
/// prints::<schema::Secret>();
/// ```
/// ```compile_fail,E0277
/// fn travels<T: serde::Serialize>() {}
/// travels::<schema::Secret>();
/// ```
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Seals a text.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text. Hand it on through stdin or a file descriptor, never through argv or a log.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Wire for Secret {
    const TYPE: &'static Type = &Type::Secret;
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Moves the allocation of an owned value: no second copy of the text is made.
        String::deserialize(deserializer).map(Self::new)
    }
}

/// A domain XML as Engine sends it, with whatever passwords it holds. Nor has the parameters' struct around it:
///
/// ```compile_fail,E0277
/// fn shows<T: std::fmt::Debug>() {}
/// shows::<schema::vm::Create>();
/// ```
pub struct DomainXml(Zeroizing<String>);

impl DomainXml {
    /// Seals a document.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The document with its secrets.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The document for logs and answers: passwords and payload files masked.
    pub fn masked(&self) -> String {
        crate::redact::mask_xml(&self.0).into_owned()
    }
}

impl Wire for DomainXml {
    const TYPE: &'static Type = &Type::DomainXml;
}

impl<'de> Deserialize<'de> for DomainXml {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// JSON of any shape that no log may show: how to connect a managed volume, with whatever keys its driver needs.
pub struct SealedJson(Value);

impl SealedJson {
    /// Seals a value.
    pub fn new(value: Value) -> Self {
        Self(value)
    }

    /// The value. Hand it on through stdin or a file descriptor, never through argv or a log.
    pub fn expose(&self) -> &Value {
        &self.0
    }
}

impl Wire for SealedJson {
    const TYPE: &'static Type = &Type::SecretJson;
}

impl<'de> Deserialize<'de> for SealedJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self)
    }
}

/// A secret in an answer, on its way to the client who asked for it. It is written to the wire, and prints masked.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Disclosed(String);

impl Disclosed {
    /// Makes it part of an answer.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Disclosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(crate::redact::MASK)
    }
}

impl Wire for Disclosed {
    const TYPE: &'static Type = &Type::Secret;
}
