//! The requests that need root: their types, their validation and the client.
//!
//! Between the agent and its root helper (`supervdsmd`) goes one [`Request`] and one [`Reply`] a connection,
//! over a unix stream socket, each a frame: four bytes of length (big endian), then JSON of a closed enum. A change of
//! networks goes on after its first reply ([`network`]).
//! Both sides validate by decoding: a value that exists is a valid one. Whoever holds a [`Request`] still
//! proves nothing: the helper checks peer credentials, allowed roots and the path beneath them itself.
//!
//! Look next: `request.rs` (what can be asked and answered), `network.rs` (of it, what is about networks), `frame.rs`
//! (bounded frames with a deadline), `client.rs` (the agent's side), `networks.rs` (its part for networks).
#![forbid(unsafe_code)]

mod client;
mod frame;
pub mod network;
mod networks;
mod request;

pub use client::{Client, ClientError};
pub use frame::{FrameError, MAX_FRAME, Timed, read_frame, write_frame};
pub use network::{
    Applied, ArpAnswer, ArpProbe, Lldp, LldpState, LldpTlv, Millis, NetworkChange, NetworkOutcome,
    NetworkPlan, NetworkRestore, NetworkRollback, NetworkSet, NetworkState, Pending, PendingStage,
    Recovered, Restored, Stored, Trouble, Word,
};
pub use networks::PendingChange;
pub use request::{
    AllowedRoot, Call, Mode, Outcome, Owner, PROTOCOL, Refusal, RelativePath, Reply, Request,
    SetOwnership, decode, encode,
};
