//! Host networks as data: what is desired, what is there, what to do about it, how to undo it.
//!
//! Pure: no socket, no file, no clock. The way of a change:
//!
//! 1. [`request`]: what a client asks; [`mod@canonicalize`] makes a [`Desired`] of it, with upstream's defaults;
//! 2. [`mod@validate`] holds it against [`Current`], what the kernel has: all refusals, with VDSM's codes, come before the first change;
//! 3. [`plan()`] answers ordered [`Step`]s, each with its undo, and the state they lead to;
//! 4. an edge runs them (`net-apply`); the plan of what it reached is empty.
//!
//! Beside it: [`netconf`] (upstream's files), [`netconf::generations`] (what to write where so that no crash hurts), [`restore`] (which networks,
//! in what order), [`Tables`] and [`source_routing`], [`probe`] (reachability with hysteresis), [`rates`]
//! (counters to rates), [`qos`], [`bond`], [`lldp`] (what neighbours tell),
//! [`duplicates`] (IPv6 addresses that others have).
//!
//! Look next: `network.rs` and `bond/` (desired), `current.rs` (there), `step.rs`, `plan/`, `kernel.rs` (what the kernel makes of a step).
#![forbid(unsafe_code)]

mod address;
mod addresses;
pub mod bond;
pub mod bridge;
pub mod canonicalize;
mod config;
mod current;
pub mod duplicates;
mod error;
mod kernel;
pub mod lldp;
mod names;
pub mod netconf;
mod network;
mod pattern;
mod plan;
pub mod probe;
pub mod qos;
pub mod rates;
pub mod request;
pub mod restore;
pub mod source_routing;
mod step;
mod tables;
mod undo;
pub mod validate;

pub use address::{Cidr, Family, Nameserver};
pub use bond::{Bond, BondMode, BondOptions};
pub use canonicalize::canonicalize;
pub use config::{Config, Desired, Scope};
pub use current::{
    Address, BondState, BridgeState, Current, Expiry, Ipv6Settings, Link, LinkKind, MAIN_TABLE,
    OUR_PROTOCOL, RA_PROTOCOL, Route, Rule, V6_DEFAULT_METRIC,
};
pub use error::NetError;
pub use kernel::{Effects, Kernel};
pub use names::{IfName, MAX_IF_NAME, MAX_NET_NAME, Mac, NetName, VlanId};
pub use network::{
    Base, BridgeConfig, DEFAULT_MTU, Ip, MAX_MTU, MIN_MTU, MIN_MTU_V6, Network, RouteKind,
    StaticRoute, Switch,
};
pub use pattern::matches;
pub use plan::plan;
pub use qos::{Curve, HostQos, QosClass};
pub use step::{DhcpClient, Ipv6Setting, Plan, Planned, Stage, Step, lanes, undo};
pub use tables::{FIRST_TABLE, TABLES, Tables, needs_table};
pub use validate::validate;
