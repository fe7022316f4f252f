//! Atomic, versioned records on disk: what only the agent knows, written before the act.
//!
//! A record is one JSON file, `NAME.json` = `{"version":N, ...fields...}`. States of a file: absent, whole
//! (old or new, never between: temporary file beside it, fsync, rename, fsync of the folder), or, if someone
//! else damaged it, set aside as `NAME.json.bad-K` by [`Store::load_all`]. A killed writer leaves at most a
//! hidden temporary file, removed by the next [`Store::open`].
//!
//! Where to look next: [`Store`], and `file.rs` for the one write that everything rests on.
#![forbid(unsafe_code)]

mod error;
mod file;
mod store;

pub use error::PersistError;
pub use file::{remove_durably, write_atomic};
pub use store::{Loaded, MAX_RECORD, Quarantined, Store, Upgrade};
