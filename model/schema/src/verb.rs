//! A verb as data ([`VerbDecl`]), what a call brings with it ([`CallContext`]), and the two ends of a call:
//! reading its parameters and writing its answer.

use core::net::SocketAddr;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};

use crate::{
    coerce,
    desc::{ObjectDesc, Type, Wire},
    error::VdsmError,
    mismatch::Mismatch,
};

/// JSON text, kept as it is.
pub type Raw = Box<RawValue>;

/// How long a verb may hold its thread; by this the server chooses on which thread it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Answers from memory and never blocks.
    Inline,
    /// A short blocking read.
    Query,
    /// Storage: may block for long.
    Storage,
    /// Hypervisor: may block for long.
    Virt,
    /// The host itself: its devices, fencing of others. May block for long.
    Host,
    /// The host's networks: may block until a change is confirmed or undone.
    Network,
}

/// A verb, declared.
#[derive(Debug)]
pub struct VerbDecl {
    /// `Host`, `VM`, ...
    pub namespace: &'static str,
    /// `getVMList`, ...
    pub name: &'static str,
    /// `Host.getVMList`, ...
    pub method: &'static str,
    /// What it does.
    pub doc: &'static str,
    /// How long it may take.
    pub class: Class,
    /// Is it served in this version? If not, calling it answers [`VdsmError::not_implemented`].
    pub implemented: bool,
    /// Its parameters; their order is that of positional parameters.
    pub params: &'static ObjectDesc,
    /// What it answers.
    pub result: &'static Type,
    /// Makes the typed parameters of an object that was read, and forgets them.
    pub(crate) typed: fn(Value) -> Result<(), VdsmError>,
}

impl VerbDecl {
    /// Reads parameters leniently: answers an object that has every declared key, and what had to be coerced.
    ///
    /// # Errors
    /// -32602 naming the path, the expected and the found, for what cannot be understood.
    pub fn read(&self, raw: Option<&RawValue>) -> Result<(Value, Vec<Mismatch>), VdsmError> {
        self.examine(raw)
            .map_err(|refused| VdsmError::invalid_params(&refused))
    }

    /// As [`VerbDecl::read`]; what cannot be understood is told as data.
    ///
    /// # Errors
    /// What cannot be understood.
    pub fn examine(&self, raw: Option<&RawValue>) -> Result<(Value, Vec<Mismatch>), Vec<Mismatch>> {
        coerce::read_params(self.params, raw)
    }

    /// Reads parameters as the server does, down to their Rust types, without calling anything. For tests and for
    /// clients that want to know before they ask.
    ///
    /// # Errors
    /// As [`VerbDecl::read`]; -32603 would be a fault of the declaration.
    pub fn try_params(&self, raw: Option<&RawValue>) -> Result<(), VdsmError> {
        self.read(raw).and_then(|(params, _)| (self.typed)(params))
    }

    /// Does it only look? Such a verb may be dropped once nobody waits for its answer; all others are carried out.
    ///
    /// By its name: the API calls what looks `get...` and a few words more, and everything else by what it does.
    pub fn only_looks(&self) -> bool {
        const WORDS: [&str; 15] = [
            "backup_info",
            "dump",
            "dump_checkpoint",
            "dumpxmls",
            "echo",
            "hostdevListByCaps",
            "info",
            "list_checkpoints",
            "measure",
            "ping",
            "ping2",
            "screenshot",
            "status",
            "validate",
            "volumes_info",
        ];
        self.name.starts_with("get") || WORDS.contains(&self.name)
    }

    /// The first line of the documentation.
    pub fn summary(&self) -> &'static str {
        self.doc.lines().next().unwrap_or_default().trim()
    }
}

/// A group of verbs.
#[derive(Debug)]
pub struct Namespace {
    /// `Host`, `VM`, ...
    pub name: &'static str,
    /// What it is about.
    pub doc: &'static str,
    /// Its verbs, in declared order.
    pub verbs: &'static [&'static VerbDecl],
}

/// Verbs of one namespace that belong together, as one file declares them.
#[derive(Debug)]
pub(crate) struct Subject {
    /// What they are about.
    pub(crate) doc: &'static str,
    /// The verbs, in declared order.
    pub(crate) verbs: &'static [&'static VerbDecl],
}

/// The subject that speaks for its namespace.
#[expect(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler: with no subject nothing builds"
)]
pub(crate) const fn first(subjects: &'static [Subject]) -> &'static Subject {
    &subjects[0]
}

/// How many verbs there are in all.
pub(crate) const fn count(mut subjects: &[Subject]) -> usize {
    let mut count = 0;
    while let [first, rest @ ..] = subjects {
        count += first.verbs.len();
        subjects = rest;
    }
    count
}

/// The verbs of all subjects in one list; `N` is their [`count`].
#[expect(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler: with an index out of bounds nothing builds"
)]
pub(crate) const fn joined<const N: usize>(subjects: &[Subject]) -> [&'static VerbDecl; N] {
    let mut all = [subjects[0].verbs[0]; N];
    let (mut at, mut of) = (0, 0);
    while of < subjects.len() {
        let mut nth = 0;
        while nth < subjects[of].verbs.len() {
            all[at] = subjects[of].verbs[nth];
            at += 1;
            nth += 1;
        }
        of += 1;
    }
    all
}

/// The parameters of a verb name the verb and its answer.
pub trait Verb: DeserializeOwned {
    /// What the verb answers.
    type Answer: Wire + Serialize + DeserializeOwned;
    /// The verb.
    const DECL: &'static VerbDecl;

    /// Reads parameters as the server does; what was coerced is forgotten.
    ///
    /// # Errors
    /// As [`VerbDecl::read`].
    fn read(raw: Option<&RawValue>) -> Result<Self, VdsmError> {
        Self::DECL.read(raw).and_then(|(value, _)| decode(value))
    }
}

/// What a call brings besides its parameters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallContext {
    /// `ovirtCorrelationId` of the request: the flow id of logs.
    pub flow_id: Option<String>,
    /// Where the client is.
    pub client: Option<SocketAddr>,
    /// Our end of the connection (`lastClientIface` is the interface that has this address).
    pub local: Option<SocketAddr>,
}

/// Makes the typed parameters of an object that was read.
pub(crate) fn decode<V: Verb>(params: Value) -> Result<V, VdsmError> {
    serde_json::from_value(params).map_err(|error| {
        // Reading has checked every field, so this is a fault of a declaration. Nothing of the value is shown.
        VdsmError::internal(&format!("{}: {:?} error", V::DECL.method, error.classify()))
    })
}

/// Writes an answer.
pub(crate) fn encode<T: Serialize>(answer: &T) -> Result<Raw, VdsmError> {
    to_raw_value(answer).map_err(|error| VdsmError::internal(&error.to_string()))
}
