//! The server: one port, STOMP over TLS or plain TCP, requests to a [`Service`], events to
//! subscribers.
//!
//! `accept` takes connections and enforces limits and TLS, `detect` looks at the first bytes,
//! `session` is one client's STOMP state, `calls` its JSON-RPC requests, `hub` knows who subscribed
//! to what. States of a [`Server`]: *serving* -> *draining* ([`Server::shutdown`]) -> *stopped*.

mod accept;
mod calls;
mod config;
mod detect;
mod hub;
mod session;

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Error;
use crate::jsonrpc::Reply;
use calls::DynService;
use hub::Hub;

pub use config::{Limits, Security, ServerConfig};
pub use hub::Publisher;

/// Look-ups of names at one time, see [`ServerConfig::verify_names`].
const LOOKUPS: usize = 2;

/// Whoever answers requests.
///
/// `call` is polled once where the request was read: a call whose answer is ready there costs no
/// task and delays nobody. One that is not ready goes on as a task of its own, runs beside the
/// others, and is finished even if its connection is gone by then. A call must not block its
/// thread; one that panics answers -32603.
pub trait Service: Send + Sync + 'static {
    /// Answers one request, or acts on one notification (whose answer is thrown away).
    fn call(&self, call: Call) -> impl Future<Output = Reply> + Send;
}

/// One request or notification.
#[derive(Debug)]
pub struct Call {
    /// Name of the verb as it came, e.g. `Host.ping2`; unchecked, may be anything.
    pub method: String,
    /// Parameters: an object or an array, or absent.
    pub params: Option<Box<RawValue>>,
    /// Who calls, and how.
    pub context: CallContext,
}

/// Circumstances of a call.
#[derive(Clone, Debug)]
pub struct CallContext {
    /// Flow id for logs, header `ovirtCorrelationId`.
    pub flow_id: Option<String>,
    /// The other end.
    pub peer: Arc<PeerInfo>,
    /// The connection that the request came by.
    pub connection: ConnectionId,
    /// A notification: nobody gets the answer.
    pub notification: bool,
    /// Tells when the connection has ended, for verbs that are safe to stop then.
    pub gone: Gone,
}

/// Whether the connection that a call came by has ended. A client that closed its half only, or a server
/// that stops in peace, is not gone: its answers are still awaited. Nothing is stopped by itself: a call
/// runs to its end unless it looks here.
#[derive(Clone, Debug)]
pub struct Gone(CancellationToken);

impl Gone {
    /// Has it ended?
    pub fn is_gone(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Returns when it has ended.
    pub async fn wait(&self) {
        self.0.cancelled().await;
    }
}

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// Its address and port.
    pub address: SocketAddr,
    /// Our address that it connected to (upstream derives `lastClientIface` from it).
    pub local_address: SocketAddr,
    /// Common name of its certificate; `None` on a plain connection.
    pub common_name: Option<String>,
}

/// Number of a connection, unique within a server's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// How a shutdown ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// All that ran was finished and answered.
    Finished,
    /// The deadline came first; what still ran was dropped.
    Cut,
}

/// A serving server. Dropped without [`Server::shutdown`] it stops at once.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    local_addr: SocketAddr,
}

/// What all tasks of a server share.
struct Shared {
    config: ServerConfig,
    security: RwLock<Security>,
    /// Look-ups of names at one time.
    lookups: Semaphore,
    service: Arc<dyn DynService>,
    hub: Arc<Hub>,
    /// Stop accepting.
    stop: CancellationToken,
    /// Drop everything.
    kill: CancellationToken,
    connections: TaskTracker,
    calls: TaskTracker,
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Shared")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Listens and starts to serve on the current tokio runtime.
    ///
    /// # Errors
    /// [`Error::Listen`].
    pub async fn bind<S: Service>(config: ServerConfig, service: S) -> Result<Self, Error> {
        let address = config.listen;
        let fail = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(fail)?;
        let mut server = Self::closed(config, service);
        server.local_addr = listener.local_addr().map_err(fail)?;
        server.accept_from(listener);
        Ok(server)
    }

    /// A server that listens nowhere until [`Server::open`].
    pub fn closed<S: Service>(config: ServerConfig, service: S) -> Self {
        let local_addr = config.listen;
        let shared = Arc::new(Shared {
            security: RwLock::new(config.security.clone()),
            lookups: Semaphore::new(LOOKUPS),
            hub: Arc::new(Hub::new(config.event_queue.clone())),
            service: Arc::new(service),
            stop: CancellationToken::new(),
            kill: CancellationToken::new(),
            connections: TaskTracker::new(),
            calls: TaskTracker::new(),
            config,
        });
        Self { shared, local_addr }
    }

    /// Serves a socket that listens already, such as one of the service manager's; what waits in its queue is
    /// taken first. Any number of sockets can be served. On the current tokio runtime.
    ///
    /// # Errors
    /// [`Error::Listen`] with the socket's own address.
    pub fn open(&self, listener: std::net::TcpListener) -> Result<(), Error> {
        let address = listener.local_addr().unwrap_or(self.local_addr);
        let fail = |source| Error::Listen { address, source };
        listener.set_nonblocking(true).map_err(fail)?;
        self.accept_from(TcpListener::from_std(listener).map_err(fail)?);
        Ok(())
    }

    fn accept_from(&self, listener: TcpListener) {
        let shared = &self.shared;
        let address = listener.local_addr().unwrap_or(self.local_addr);
        let accepting = accept::serve(shared.clone(), listener);
        shared.connections.spawn(accepting);
        tracing::info!(%address, "listening");
    }

    /// Address that is listened on, with the port that the system chose if none was given.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// A handle that sends events.
    pub fn publisher(&self) -> Publisher {
        Publisher::new(self.shared.hub.clone())
    }

    /// Connections that are open now, including those still in their handshake.
    pub fn connections(&self) -> usize {
        self.shared.hub.connections()
    }

    /// Uses other certificates for connections accepted from now on (a renewed host certificate).
    pub fn set_security(&self, security: Security) {
        *self
            .shared
            .security
            .write()
            .unwrap_or_else(PoisonError::into_inner) = security;
    }

    /// Stops accepting and reading, finishes and answers what runs, closes all connections. What
    /// still runs when `deadline` has passed is dropped.
    pub async fn shutdown(self, deadline: Duration) -> Shutdown {
        let shared = &self.shared;
        shared.stop.cancel();
        shared.connections.close();
        shared.calls.close();
        shared.hub.drain();
        let finished = async {
            shared.calls.wait().await;
            shared.connections.wait().await;
        };
        if tokio::time::timeout(deadline, finished).await.is_ok() {
            tracing::info!("stopped");
            return Shutdown::Finished;
        }
        let (calls, connections) = (shared.calls.len(), shared.connections.len());
        tracing::warn!(calls, connections, "stopped at the deadline");
        shared.kill.cancel();
        shared.calls.wait().await;
        shared.connections.wait().await;
        // Connections that only waited for their peer to close count as finished.
        if calls == 0 {
            Shutdown::Finished
        } else {
            Shutdown::Cut
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.cancel();
        self.shared.kill.cancel();
    }
}
