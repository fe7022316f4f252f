//! What a server needs to know: where to listen, how to protect, which queues, which limits.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::frame::FrameLimits;
use crate::{EVENT_QUEUE, IRS_REQUEST_QUEUE, REQUEST_QUEUE};

/// Configuration of a [`Server`](crate::Server).
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Address and port; port 0 lets the system choose. `[::]` serves IPv4 too.
    pub listen: SocketAddr,
    /// TLS or not.
    pub security: Security,
    /// Whether a name of a client's certificate must belong to the address that it comes from (upstream's
    /// `verify_client_cert`); without it the chain to the CA alone counts.
    pub verify_names: bool,
    /// Destinations whose messages are requests; so are those of their dotted children.
    pub request_queues: Vec<String>,
    /// Destination of [`Publisher::publish_event`](crate::Publisher::publish_event).
    pub event_queue: String,
    /// Bounds.
    pub limits: Limits,
}

impl ServerConfig {
    /// A configuration with upstream's queues and the default limits.
    pub fn new(listen: SocketAddr, security: Security) -> Self {
        Self {
            listen,
            security,
            verify_names: false,
            request_queues: vec![REQUEST_QUEUE.to_owned(), IRS_REQUEST_QUEUE.to_owned()],
            event_queue: EVENT_QUEUE.to_owned(),
            limits: Limits::default(),
        }
    }
}

/// Protection of the port.
#[derive(Clone, Debug)]
pub enum Security {
    /// Plain TCP, nobody is asked who they are.
    Plain,
    /// TLS with client certificates, see
    /// [`TlsFiles::server_config`](crate::TlsFiles::server_config).
    Tls(Arc<rustls::ServerConfig>),
}

/// Bounds that protect the agent from its clients.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Sizes of a frame.
    pub frame: FrameLimits,
    /// Bytes that may wait to be written to one connection; a client that lets more pile up is
    /// disconnected. A single frame is sent whatever its size.
    pub outgoing_bytes: usize,
    /// Time for the TLS handshake, and from then for the first complete frame.
    pub first_frame: Duration,
    /// Time in which a client with something to read must take some byte of it.
    pub stall: Duration,
    /// A client without heart-beats, subscriptions and running requests is closed after this time of silence;
    /// `None`: never.
    pub idle: Option<Duration>,
    /// Open connections.
    pub connections: usize,
    /// Open connections from one address.
    pub connections_per_peer: usize,
    /// Requests of one connection that run at once; more are answered with an error.
    pub in_flight: usize,
    /// Requests in one batch.
    pub batch: usize,
    /// Subscriptions of one connection.
    pub subscriptions: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame: FrameLimits::default(),
            outgoing_bytes: 64 * 1024 * 1024,
            first_frame: Duration::from_secs(10),
            stall: Duration::from_mins(1),
            idle: Some(Duration::from_mins(15)),
            connections: 4096,
            connections_per_peer: 2048,
            in_flight: 1024,
            batch: 1024,
            subscriptions: 256,
        }
    }
}
