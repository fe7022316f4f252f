//! STOMP 1.2 over TLS or plain TCP, and JSON-RPC 2.0 on top of it: server and client.
//!
//! The crate carries bytes, frames, sessions, subscriptions and the JSON-RPC envelope. It knows no
//! verb by name: whoever serves gives a [`Service`], whoever tells gives a method and parameters.
//!
//! ```text
//! socket -> server::accept (limits, TLS) -> server::detect (STOMP, HTTP, garbage)
//!        -> link (one task: read, decode, write, timers) -> server::session (STOMP commands)
//!        -> server::calls (JSON-RPC envelope, fast path) -> Service
//! Service's answer, events -> server::hub (who subscribes) -> outbox (bounded) -> link -> socket
//! ```
//!
//! Where to look: [`frame`] for the codec, [`jsonrpc`] for the envelope and its error texts, [`tls`]
//! for certificates, [`server`] and [`client`] for the two ends. `link` and `outbox` are shared by
//! both ends: one connection is one task, and what it still has to write is one bounded queue.
#![forbid(unsafe_code)]

pub mod client;
mod error;
pub mod frame;
pub mod jsonrpc;
mod link;
mod outbox;
pub mod server;
pub mod tls;

pub use client::{Client, ClientConfig, ClientError, Event, HeartBeat, Subscription};
pub use error::Error;
pub use jsonrpc::{Reply, RpcError};
pub use server::{
    Call, CallContext, ConnectionId, Gone, Limits, PeerInfo, Publisher, Security, Server,
    ServerConfig, Service, Shutdown,
};
pub use tls::keeper::{Keeper, Refresh};
pub use tls::validity::Validity;
pub use tls::{ServerTls, TlsFiles};

/// Queue that requests go to, as Engine and upstream's client name it.
pub const REQUEST_QUEUE: &str = "jms.topic.vdsm_requests";
/// Second request queue, used by internal requests of other hosts (upstream's default set).
pub const IRS_REQUEST_QUEUE: &str = "jms.topic.vdsm_irs_requests";
/// Queue that events are sent to.
pub const EVENT_QUEUE: &str = "jms.queue.events";
/// Port of the agent on every host.
pub const DEFAULT_PORT: u16 = 54321;
/// STOMP header that carries the flow id of the caller's logs.
pub const FLOW_ID_HEADER: &str = "ovirtCorrelationId";
