//! The client: many calls in flight on one connection, and subscriptions to events.
//!
//! States of a connection: *connecting* (TCP, TLS, CONNECT, CONNECTED, all within the timeout of
//! the configuration) -> *connected* -> *closed* with a reason. A lost connection fails every call
//! in flight and ends every subscription; there is no reconnecting here: whoever holds the client
//! knows whether a call may be repeated.

mod reach;
mod session;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::Stream;
use host_model::{Host, HostPort};
use rustls_pki_types::ServerName;
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::frame::{Command, Frame, FrameLimits};
use crate::jsonrpc::{self, Reply, RpcError};
use crate::link::{Link, LinkTimes};
use crate::outbox::Outbox;
use crate::tls::TlsFiles;
use crate::{Error, FLOW_ID_HEADER, REQUEST_QUEUE};

/// Events of one subscription that may wait for their reader; more are dropped, with a warning.
const WAITING_EVENTS: usize = 4096;
/// Bytes that may wait to be written; a server that takes nothing loses the connection.
const OUTGOING_BYTES: usize = 256 * 1024 * 1024;
/// Time in which a server must take some byte of what is queued.
const STALL: Duration = Duration::from_mins(1);
/// Largest answer taken.
const MAX_ANSWER: usize = 256 * 1024 * 1024;

/// Where to connect and how.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Where the server is.
    pub address: HostPort,
    /// Own certificate and key, and the CA that the server must chain to; `None`: plain TCP.
    pub tls: Option<TlsFiles>,
    /// Time for TCP, TLS and CONNECT together.
    pub timeout: Duration,
    /// Heart-beats offered.
    pub heart_beat: HeartBeat,
    /// Queue that requests go to.
    pub request_queue: String,
}

impl ClientConfig {
    /// Upstream's heart-beats, 15 s to connect (as upstream's client).
    pub fn new(address: HostPort, tls: Option<TlsFiles>) -> Self {
        Self {
            address,
            tls,
            timeout: Duration::from_secs(15),
            heart_beat: HeartBeat::default(),
            request_queue: REQUEST_QUEUE.to_owned(),
        }
    }
}

/// Heart-beats that a client offers; `None`: none that way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeartBeat {
    /// We send at least that often.
    pub send: Option<Duration>,
    /// We want something at least that often; twice this in silence and the connection is lost.
    pub expect: Option<Duration>,
}

impl Default for HeartBeat {
    fn default() -> Self {
        Self {
            send: None,
            expect: Some(Duration::from_secs(30)),
        }
    }
}

/// Why a call or a connection failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection, or the server did not speak as it should while connecting.
    #[error("connect to {address}")]
    Connect {
        /// `host:port`.
        address: String,
        /// Why.
        #[source]
        source: Arc<io::Error>,
    },
    /// The TLS files cannot be used.
    #[error("prepare TLS for {address}")]
    TlsFiles {
        /// `host:port`.
        address: String,
        /// Why.
        #[source]
        source: Arc<Error>,
    },
    /// The TLS handshake failed: either side refused the other's certificate, or no TLS is spoken.
    #[error("TLS handshake with {address}")]
    Tls {
        /// `host:port`.
        address: String,
        /// Why.
        #[source]
        source: Arc<io::Error>,
    },
    /// The time was up. A call may still be executed by the server.
    #[error("no answer to {what} within {} ms", after.as_millis())]
    Timeout {
        /// Verb or step of connecting.
        what: String,
        /// The time given.
        after: Duration,
    },
    /// The connection is lost or was closed. A call in flight may still be executed by the server.
    #[error("connection closed: {reason}")]
    Closed {
        /// Why.
        reason: String,
    },
    /// The server answered with an error.
    #[error("{0}")]
    Rpc(RpcError),
}

/// An event or other notification.
#[derive(Clone, Debug)]
pub struct Event {
    /// Method of the notification, e.g. `|virt|VM_status|<vm id>`.
    pub method: String,
    /// Its parameters.
    pub params: Option<Box<RawValue>>,
}

/// A connection to a server; clones share it. It is closed when the last clone is dropped.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Client")
            .field("address", &self.inner.address)
            .finish_non_exhaustive()
    }
}

struct Inner {
    address: String,
    request_queue: String,
    reply_queue: String,
    next_id: AtomicU64,
    shared: Arc<Shared>,
}

/// What the handles share with the connection's task.
struct Shared {
    outbox: Arc<Outbox>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    closed: Option<Lost>,
    /// JSON text of the id -> who waits.
    calls: HashMap<String, oneshot::Sender<Reply>>,
    /// Subscription id -> who listens.
    events: HashMap<String, mpsc::Sender<Event>>,
    last_subscription: u64,
}

/// How a connection ended.
#[derive(Clone)]
struct Lost {
    reason: String,
    /// TLS ended it: with TLS 1.3 a server refuses our certificate after our handshake is done.
    tls: bool,
}

impl Client {
    /// Connects, and waits until the server has said CONNECTED.
    ///
    /// # Errors
    /// [`ClientError::Connect`], [`ClientError::TlsFiles`], [`ClientError::Tls`],
    /// [`ClientError::Timeout`].
    pub async fn connect(config: ClientConfig) -> Result<Self, ClientError> {
        let address = config.address.to_string();
        let limit = config.timeout;
        timeout(limit, connect(config, address.clone()))
            .await
            .unwrap_or_else(|_| {
                Err(ClientError::Timeout {
                    what: format!("connecting to {address}"),
                    after: limit,
                })
            })
    }

    /// Calls a verb. `params` is an object or an array. `flow_id` goes into the server's logs.
    ///
    /// # Errors
    /// [`ClientError::Timeout`], [`ClientError::Closed`], [`ClientError::Rpc`].
    pub async fn call(
        &self,
        method: &str,
        params: Option<&RawValue>,
        flow_id: Option<&str>,
        limit: Duration,
    ) -> Result<Box<RawValue>, ClientError> {
        let id = self.inner.next_id.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}-{id:x}", self.inner.reply_queue);
        let mut body = Vec::with_capacity(128);
        jsonrpc::write_request(&mut body, &id, method, params);
        let mut frame = Frame::new(Command::Send)
            .with_header("destination", self.inner.request_queue.as_str())
            .with_header("content-type", "application/json")
            .with_header("reply-to", self.inner.reply_queue.as_str());
        if let Some(flow_id) = flow_id {
            frame = frame.with_header(FLOW_ID_HEADER, flow_id);
        }
        let waiting = self.inner.shared.expect_reply(format!("\"{id}\""))?;
        self.inner.shared.send(&frame.with_body(body))?;
        match timeout(limit, waiting.receiver()).await {
            Ok(Some(reply)) => reply.map_err(ClientError::Rpc),
            Ok(None) => Err(self.inner.shared.closed()),
            Err(_) => Err(ClientError::Timeout {
                what: method.to_owned(),
                after: limit,
            }),
        }
    }

    /// Sends a notification to a destination, e.g. an event to the event queue; its subscribers get
    /// it. A destination without subscribers makes the server log an error, and us none.
    ///
    /// # Errors
    /// [`ClientError::Closed`].
    pub fn notify(
        &self,
        destination: &str,
        method: &str,
        params: Option<&RawValue>,
    ) -> Result<(), ClientError> {
        let mut body = Vec::with_capacity(128);
        jsonrpc::write_notification(&mut body, method, params);
        self.inner.shared.send(
            &Frame::new(Command::Send)
                .with_header("destination", destination)
                .with_header("content-type", "application/json")
                .with_body(body),
        )
    }

    /// Listens to the notifications of a destination. Dropping the subscription ends it.
    ///
    /// # Errors
    /// [`ClientError::Closed`].
    pub fn subscribe(&self, destination: &str) -> Result<Subscription, ClientError> {
        let (sender, receiver) = mpsc::channel(WAITING_EVENTS);
        let id = self.inner.shared.add_listener(sender)?;
        self.inner.shared.send(&subscribe_frame(destination, &id))?;
        Ok(Subscription {
            id,
            receiver,
            shared: self.inner.shared.clone(),
            _client: self.clone(),
        })
    }

    /// Whether the connection is lost.
    pub fn is_closed(&self) -> bool {
        self.inner.shared.state().closed.is_some()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Where the connection is lost already, this goes nowhere.
        let _ = self.shared.send(&Frame::new(Command::Disconnect));
        self.shared.outbox.drain();
    }
}

/// The notifications of one destination, as a stream that ends with the connection.
pub struct Subscription {
    id: String,
    receiver: mpsc::Receiver<Event>,
    shared: Arc<Shared>,
    /// Keeps the connection open.
    _client: Client,
}

impl fmt::Debug for Subscription {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Subscription")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Subscription {
    /// The next notification; `None` when the connection is lost.
    pub async fn next_event(&mut self) -> Option<Event> {
        self.receiver.recv().await
    }
}

impl Stream for Subscription {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.receiver.poll_recv(cx)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shared.state().events.remove(&self.id);
        let frame = Frame::new(Command::Unsubscribe).with_header("id", self.id.as_str());
        // A closed connection has no subscription to end.
        let _ = self.shared.send(&frame);
    }
}

/// A call's place among those in flight, given back when the caller stops waiting.
struct Waiting<'a> {
    id: String,
    receiver: oneshot::Receiver<Reply>,
    shared: &'a Shared,
}

impl Waiting<'_> {
    /// The reply; `None` if the connection was lost first.
    async fn receiver(mut self) -> Option<Reply> {
        (&mut self.receiver).await.ok()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shared.state().calls.remove(&self.id);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expect_reply(&self, id: String) -> Result<Waiting<'_>, ClientError> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state();
        state.check_open()?;
        state.calls.insert(id.clone(), sender);
        Ok(Waiting {
            id,
            receiver,
            shared: self,
        })
    }

    fn add_listener(&self, sender: mpsc::Sender<Event>) -> Result<String, ClientError> {
        let mut state = self.state();
        state.check_open()?;
        state.last_subscription += 1;
        let id = format!("events-{}", state.last_subscription);
        state.events.insert(id.clone(), sender);
        Ok(id)
    }

    fn send(&self, frame: &Frame) -> Result<(), ClientError> {
        let bytes = frame.to_bytes().map_err(|error| ClientError::Closed {
            reason: format!("frame not sent: {error}"),
        })?;
        self.state().check_open()?;
        self.outbox.push(bytes);
        Ok(())
    }

    fn closed(&self) -> ClientError {
        ClientError::Closed {
            reason: self.lost().reason,
        }
    }

    fn lost(&self) -> Lost {
        let unknown = || Lost {
            reason: "no reason known".to_owned(),
            tls: false,
        };
        self.state().closed.clone().unwrap_or_else(unknown)
    }

    /// Fails whoever waits and whoever comes.
    fn close(&self, lost: Lost) {
        let mut state = self.state();
        state.closed.get_or_insert(lost);
        state.calls.clear();
        state.events.clear();
    }
}

impl State {
    fn check_open(&self) -> Result<(), ClientError> {
        match &self.closed {
            Some(lost) => Err(ClientError::Closed {
                reason: lost.reason.clone(),
            }),
            None => Ok(()),
        }
    }
}

fn subscribe_frame(destination: &str, id: &str) -> Frame {
    Frame::new(Command::Subscribe)
        .with_header("destination", destination)
        .with_header("ack", "auto")
        .with_header("id", id)
}

async fn connect(config: ClientConfig, address: String) -> Result<Client, ClientError> {
    let fail = |source: io::Error| ClientError::Connect {
        address: address.clone(),
        source: Arc::new(source),
    };
    let tls = match &config.tls {
        None => None,
        Some(files) => Some(
            files
                .client_config()
                .map_err(|source| ClientError::TlsFiles {
                    address: address.clone(),
                    source: Arc::new(source),
                })?,
        ),
    };
    let stream = reach::connect(&config.address).await.map_err(fail)?;
    stream.set_nodelay(true).map_err(fail)?;
    let Some(tls) = tls else {
        return open(stream, config, address).await;
    };
    let name = server_name(config.address.host()).map_err(fail)?;
    match TlsConnector::from(tls).connect(name, stream).await {
        Ok(stream) => open(stream, config, address).await,
        Err(source) => Err(ClientError::Tls {
            address,
            source: Arc::new(source),
        }),
    }
}

/// The name for TLS; it is not compared with the certificate's.
fn server_name(host: &Host) -> io::Result<ServerName<'static>> {
    match host.ip() {
        Some(ip) => Ok(ServerName::IpAddress(ip.into())),
        None => ServerName::try_from(host.to_string()).map_err(io::Error::other),
    }
}

/// Speaks STOMP on an open stream.
async fn open<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    config: ClientConfig,
    address: String,
) -> Result<Client, ClientError> {
    let outbox = Arc::new(Outbox::new(OUTGOING_BYTES));
    let shared = Arc::new(Shared {
        outbox: outbox.clone(),
        state: Mutex::default(),
    });
    let limits = FrameLimits {
        body: MAX_ANSWER,
        ..FrameLimits::default()
    };
    let times = LinkTimes {
        first_frame: None,
        stall: STALL,
        idle: None,
    };
    let link = Link::new(stream, BytesMut::new(), limits, outbox, times);
    let (connected, is_connected) = oneshot::channel();
    let mut session = session::Session::new(shared.clone(), config.heart_beat, connected);
    shared.send(&session.connect_frame(&config.address.host().to_string()))?;
    let reply_queue = uuid::Uuid::new_v4().to_string();
    shared.send(&subscribe_frame(&reply_queue, session::REPLIES))?;
    let inner = Inner {
        address: address.clone(),
        request_queue: config.request_queue,
        reply_queue,
        next_id: AtomicU64::new(1),
        shared: shared.clone(),
    };
    // From here on a dropped connect drops `inner`, which ends the task.
    let client = Client {
        inner: Arc::new(inner),
    };
    let task_shared = shared.clone();
    tokio::spawn(async move {
        let reason = link.run(&mut session).await;
        task_shared.close(session.lost(&reason));
    });
    match is_connected.await {
        Ok(Ok(())) => Ok(client),
        Ok(Err(reason)) => Err(refused(address, Lost { reason, tls: false })),
        // The task ended first; its reason is set before the sender is dropped with the session.
        Err(_) => Err(refused(address, shared.lost())),
    }
}

fn refused(address: String, lost: Lost) -> ClientError {
    let source = Arc::new(io::Error::other(lost.reason));
    if lost.tls {
        ClientError::Tls { address, source }
    } else {
        ClientError::Connect { address, source }
    }
}
