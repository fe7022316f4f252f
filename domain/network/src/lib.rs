//! The host's networks: changing them, and telling of them.
//!
//! [`NetworkManager`] is the policy of the verbs: one change at a time, refused before root is asked, undone unless the
//! client confirms. It sees the host through [`Observer`] and changes it through [`Root`]. What it tells is
//! [`NetworkInfo`], a pure function of what was seen and of what was set up. [`Digest`] says whether something happened
//! that clients should look at.
//!
//! Nothing is kept here but the turn of the one change: what is, the kernel and the files say.
//!
//! Look next: `manager.rs`, `info.rs` (the whole), `ip.rs` (addresses and gateways), `digest.rs`,
//! `probe.rs` (which networks answer).
#![forbid(unsafe_code)]

mod confirm;
mod digest;
mod error;
mod info;
mod ip;
mod manager;
mod ports;
mod probe;

pub use digest::{Digest, Look, News};
pub use error::{NetworkError, RootError};
pub use info::{BondInfo, BridgeInfo, NetInfo, NetworkInfo, NicInfo, Shown, View, VlanInfo};
pub use ip::IpInfo;
pub use manager::{Foreseen, NetworkManager};
pub use ports::{Change, LinkFigures, LldpState, Observer, Pending, Root, RootState, Tlv};
pub use probe::{Asked, Kept, Notice, Reachability, words};
