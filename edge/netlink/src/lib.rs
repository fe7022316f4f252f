//! The rtnetlink socket: the one place that speaks to the kernel about its network.
//!
//! A [`Channel`] dumps what there is ([`Channel::dump`], a consistent list or an error) and acts
//! ([`Channel::act`]: many requests in one system call, each answered with success or with the kernel's reason).
//! A [`Monitor`] hears what the kernel tells by itself.
//! It blocks, never beyond its deadline. What the messages mean is the business of those who send them:
//! `observe` reads with it, `net-apply` changes with it. The messages themselves are those of
//! `netlink-packet-route`, which this crate hands on.
//!
//! States of a channel: open, and broken. After an error of the socket (a deadline missed, an answer lost)
//! answers to earlier requests may still come; each call skips what does not carry its own numbers, so a channel
//! stays usable.

#![forbid(unsafe_code)]

mod act;
mod channel;
mod error;
mod frames;
mod monitor;

pub use act::{Act, Refusal};
pub use channel::Channel;
pub use error::NetlinkError;
pub use monitor::{Group, Heard, Monitor};
pub use netlink_packet_core as core;
pub use netlink_packet_route as packet;
