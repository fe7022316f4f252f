//! What a verb answers when it fails: [`VdsmError`], a number and a text as upstream writes them.
//!
//! Details follow the text as Python prints them (`Task id unknown: ('<uuid>',)`), since tools and people match on
//! that. The codes of VDSM are in [`codes`]; those of JSON-RPC here. The server's one place that turns errors of
//! the domains into these lives in `bin/vdsmd`.

pub mod codes;
mod python;

use std::fmt;

pub use codes::Code;
pub use python::Py;

use crate::mismatch::Mismatch;

/// A failed call, ready for the wire.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (code {code})")]
pub struct VdsmError {
    /// VDSM's code (positive) or JSON-RPC's (negative).
    pub code: i32,
    /// Text with details.
    pub message: String,
}

/// How upstream prints details behind the text of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Style {
    /// Not at all: `Virtual machine already exists`.
    Plain,
    /// As a dictionary: `Virtual machine does not exist: {'vmId': '...'}`.
    Context,
    /// As a tuple, or one value: `Task id unknown: ('...',)`.
    Args,
    /// The reason alone, without the text before it (errors of networks).
    Reason,
}

/// The codes of JSON-RPC 2.0 and of upstream's transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RpcCode {
    /// The text is not JSON.
    Parse,
    /// The JSON is not a request.
    InvalidRequest,
    /// No such verb.
    MethodNotFound,
    /// The parameters cannot be understood.
    InvalidParams,
    /// A fault of the agent.
    Internal,
    /// Nothing to dispatch to.
    NoBindings,
    /// No response came.
    NoResponse,
    /// The verb is declared, and not implemented in this version.
    ///
    /// Ours alone. JSON-RPC leaves -32099 to -32000 to the server, upstream has none of these, and neither has
    /// Engine: its log shows number and text, and the call fails as one with an unknown code. The codes that exist
    /// say something else: -32601 that the agent does not know the verb, 44 (`MethodNotImplemented`) and 75
    /// (`UnsupportedOperation`) are answers of verbs that were tried.
    NotImplemented,
}

impl RpcCode {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Parse,
        Self::InvalidRequest,
        Self::MethodNotFound,
        Self::InvalidParams,
        Self::Internal,
        Self::NoBindings,
        Self::NoResponse,
        Self::NotImplemented,
    ];

    /// The number on the wire.
    pub const fn number(self) -> i32 {
        match self {
            Self::Parse => -32700,
            Self::InvalidRequest => -32600,
            Self::MethodNotFound => -32601,
            Self::InvalidParams => -32602,
            Self::Internal => -32603,
            Self::NoBindings => -32604,
            Self::NoResponse => -32605,
            Self::NotImplemented => -32001,
        }
    }

    /// The text: upstream's, but for what is ours.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Parse => {
                "Invalid JSON was received by the server. An error occurred on the server while parsing the JSON text."
            }
            Self::InvalidRequest => "Invalid request",
            Self::MethodNotFound => "The method does not exist or is not available",
            Self::InvalidParams => "Invalid method parameter(s)",
            Self::Internal => "Internal JSON-RPC error",
            Self::NoBindings => "Missing bindings for JSON-RPC.",
            Self::NoResponse => "No response for JSON-RPC request",
            Self::NotImplemented => "The method is declared, and not implemented in this version",
        }
    }

    /// The error with details: `text: {'key': 'value'}`.
    pub fn context<K: AsRef<str>, V: Into<Py>>(
        self,
        details: impl IntoIterator<Item = (K, V)>,
    ) -> VdsmError {
        VdsmError {
            code: self.number(),
            message: with(self.text(), &python::dict(details)),
        }
    }
}

impl From<RpcCode> for VdsmError {
    fn from(code: RpcCode) -> Self {
        Self {
            code: code.number(),
            message: code.text().to_owned(),
        }
    }
}

impl Code {
    /// The error with named details: `text: {'vmId': '...'}`, as codes of [`Style::Context`] print them.
    pub fn context<K: AsRef<str>, V: Into<Py>>(
        self,
        details: impl IntoIterator<Item = (K, V)>,
    ) -> VdsmError {
        VdsmError {
            code: self.number(),
            message: with(self.text(), &python::dict(details)),
        }
    }

    /// The error with details in a row: `text: ('...', '...')`, as codes of [`Style::Args`] print them.
    pub fn args<V: Into<Py>>(self, details: impl IntoIterator<Item = V>) -> VdsmError {
        VdsmError {
            code: self.number(),
            message: with(self.text(), &python::tuple(details)),
        }
    }

    /// The error with one composed detail: `text: 'UUID=...'`, as classes with a constructor of their own print it.
    pub fn value(self, detail: impl Into<Py>) -> VdsmError {
        VdsmError {
            code: self.number(),
            message: with(self.text(), &detail.into().to_string()),
        }
    }

    /// The error in the agent's own words behind the text: in the style of the code, as `reason`.
    pub fn because(self, reason: impl fmt::Display) -> VdsmError {
        match self.style() {
            Style::Plain => VdsmError {
                code: self.number(),
                message: with(self.text(), &reason.to_string()),
            },
            Style::Reason => VdsmError {
                code: self.number(),
                message: reason.to_string(),
            },
            Style::Context => self.context([("reason", reason.to_string())]),
            Style::Args => self.args([reason.to_string()]),
        }
    }

    /// The code of a number: the first declared, if several classes share it.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|code| code.number() == number)
    }
}

/// Without details. A code of [`Style::Args`] prints an empty tuple, as upstream does.
impl From<Code> for VdsmError {
    fn from(code: Code) -> Self {
        match code.style() {
            Style::Args => code.args::<Py>([]),
            Style::Plain | Style::Context | Style::Reason => Self {
                code: code.number(),
                message: code.text().to_owned(),
            },
        }
    }
}

impl VdsmError {
    /// No such verb (-32601).
    pub fn method_not_found(method: &str) -> Self {
        RpcCode::MethodNotFound.context([("method", method)])
    }

    /// A verb that is declared, and not implemented in this version (-32001).
    pub fn not_implemented(method: &str) -> Self {
        RpcCode::NotImplemented.context([("method", method)])
    }

    /// Parameters that cannot be understood (-32602): `path: expected X, found Y; ...`.
    pub fn invalid_params(mismatches: &[Mismatch]) -> Self {
        let reasons: Vec<_> = mismatches.iter().map(Mismatch::to_string).collect();
        RpcCode::InvalidParams.context([("reason", reasons.join("; "))])
    }

    /// A fault of the agent (-32603).
    pub fn internal(reason: &str) -> Self {
        RpcCode::Internal.context([("reason", reason)])
    }

    /// No such VM (1), with its id as upstream tells it.
    pub fn no_such_vm(id: impl fmt::Display) -> Self {
        Code::NoSuchVM.context([("vmId", id.to_string())])
    }
}

fn with(text: &str, details: &str) -> String {
    format!("{text}: {details}")
}

#[cfg(test)]
mod tests;
