//! Who is connected, and who subscribed to what.
//!
//! One table for all connections: destination -> subscribers. A message is queued into the outboxes
//! of its subscribers while the table is read-locked; nothing here waits for a socket.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::value::RawValue;

use super::ConnectionId;
use crate::frame::{Command, Frame, escape};
use crate::jsonrpc;
use crate::outbox::Outbox;

#[derive(Debug)]
pub(super) struct Hub {
    event_queue: String,
    subscribers: RwLock<HashMap<String, Vec<Subscriber>>>,
    connected: Mutex<Connected>,
}

#[derive(Debug, Default)]
struct Connected {
    last_id: u64,
    outboxes: HashMap<ConnectionId, Arc<Outbox>>,
    per_peer: HashMap<IpAddr, usize>,
    draining: bool,
}

#[derive(Debug)]
struct Subscriber {
    connection: ConnectionId,
    id: String,
    /// Head of a JSON message to this subscriber, up to the value of `content-length`.
    head: Bytes,
    outbox: Arc<Outbox>,
}

/// Why a connection is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("too many connections")]
    TooMany,
    #[error("too many connections from this address")]
    TooManyFromPeer,
}

impl Hub {
    pub(super) fn new(event_queue: String) -> Self {
        Self {
            event_queue,
            subscribers: RwLock::default(),
            connected: Mutex::default(),
        }
    }

    /// Admits a connection, within the limits.
    pub(super) fn admit(
        &self,
        peer: IpAddr,
        outbox: &Arc<Outbox>,
        limits: (usize, usize),
    ) -> Result<ConnectionId, Refused> {
        let mut connected = self.connected();
        if connected.outboxes.len() >= limits.0 {
            return Err(Refused::TooMany);
        }
        let from_peer = connected.per_peer.entry(peer).or_default();
        if *from_peer >= limits.1 {
            return Err(Refused::TooManyFromPeer);
        }
        *from_peer += 1;
        connected.last_id += 1;
        let id = ConnectionId(connected.last_id);
        connected.outboxes.insert(id, outbox.clone());
        if connected.draining {
            outbox.drain();
        }
        Ok(id)
    }

    /// Forgets a connection.
    pub(super) fn dismiss(&self, id: ConnectionId, peer: IpAddr) {
        let mut connected = self.connected();
        connected.outboxes.remove(&id);
        if let Some(count) = connected.per_peer.get_mut(&peer) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                connected.per_peer.remove(&peer);
            }
        }
    }

    pub(super) fn connections(&self) -> usize {
        self.connected().outboxes.len()
    }

    /// Has all connections, also those to come, finish what they do and close.
    pub(super) fn drain(&self) {
        let mut connected = self.connected();
        connected.draining = true;
        for outbox in connected.outboxes.values() {
            outbox.drain();
        }
    }

    pub(super) fn subscribe(
        &self,
        connection: ConnectionId,
        outbox: &Arc<Outbox>,
        destination: &str,
        id: &str,
    ) {
        let subscriber = Subscriber {
            connection,
            id: id.to_owned(),
            head: message_head(destination, id),
            outbox: outbox.clone(),
        };
        self.write()
            .entry(destination.to_owned())
            .or_default()
            .push(subscriber);
    }

    pub(super) fn unsubscribe(&self, connection: ConnectionId, destination: &str, id: &str) {
        let mut table = self.write();
        if let Some(list) = table.get_mut(destination) {
            list.retain(|it| it.connection != connection || it.id != id);
            if list.is_empty() {
                table.remove(destination);
            }
        }
    }

    /// Queues a reply to every subscriber of its queue, first to those on the connection that
    /// asked, whose task is not woken (it is the one that calls, or the caller wakes it). Returns
    /// the number of subscribers.
    pub(super) fn reply(&self, asker: ConnectionId, destination: &str, body: &[u8]) -> usize {
        let table = self.read();
        let Some(list) = table.get(destination) else {
            return 0;
        };
        for subscriber in list.iter().filter(|it| it.connection == asker) {
            subscriber
                .outbox
                .push_quiet(message(&subscriber.head, body));
        }
        for subscriber in list.iter().filter(|it| it.connection != asker) {
            subscriber.outbox.push(message(&subscriber.head, body));
        }
        list.len()
    }

    /// Forwards a client's SEND to the subscribers of its destination and of every dotted parent.
    /// Returns the number of subscribers.
    pub(super) fn forward(&self, destination: &str, frame: &Frame) -> usize {
        let table = self.read();
        if table.is_empty() {
            return 0;
        }
        let ends = destination
            .match_indices('.')
            .map(|(at, _)| at)
            .chain([destination.len()]);
        let names = ends.filter_map(|end| destination.get(..end));
        names
            .filter_map(|name| table.get(name))
            .flatten()
            .inspect(|subscriber| subscriber.forward(frame))
            .count()
    }

    fn publish(&self, destination: &str, body: &[u8]) -> usize {
        let table = self.read();
        let Some(list) = table.get(destination) else {
            return 0;
        };
        for subscriber in list {
            subscriber.outbox.push(message(&subscriber.head, body));
        }
        list.len()
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<String, Vec<Subscriber>>> {
        self.subscribers
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<String, Vec<Subscriber>>> {
        self.subscribers
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn connected(&self) -> MutexGuard<'_, Connected> {
        self.connected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscriber {
    fn forward(&self, frame: &Frame) {
        let mut copy = Frame::new(Command::Message).with_header("subscription", self.id.as_str());
        for (name, value) in frame.headers() {
            // These two speak of the SEND itself.
            if !matches!(name, "receipt" | "transaction") {
                copy = copy.with_header(name, value);
            }
        }
        match copy.with_body(frame.body.clone()).to_bytes() {
            Ok(bytes) => self.outbox.push(bytes),
            Err(error) => tracing::warn!(%error, "message not forwarded"),
        }
    }
}

fn message_head(destination: &str, id: &str) -> Bytes {
    format!(
        "MESSAGE\ndestination:{}\ncontent-type:application/json\nsubscription:{}\ncontent-length:",
        escape(destination),
        escape(id)
    )
    .into()
}

fn message(head: &Bytes, body: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(head.len() + body.len() + 24);
    frame.put_slice(head);
    // Writing into memory cannot fail.
    let _ = write!(frame, "{}\n\n", body.len());
    frame.put_slice(body);
    frame.put_u8(0);
    frame.freeze()
}

/// Sends events; cheap to clone, usable from any thread, never waits.
#[derive(Clone, Debug)]
pub struct Publisher {
    hub: Arc<Hub>,
}

impl Publisher {
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        Self { hub }
    }

    /// Queues a JSON-RPC notification to every subscriber of the event queue; `method` is e.g.
    /// `|virt|VM_status|<vm id>`, `params` an object (with `notify_time`, the caller's task).
    /// Returns the number of subscribers.
    pub fn publish_event(&self, method: &str, params: &RawValue) -> usize {
        self.publish(&self.hub.event_queue, method, params)
    }

    /// As [`Publisher::publish_event`], to another destination.
    pub fn publish(&self, destination: &str, method: &str, params: &RawValue) -> usize {
        let mut body = Vec::with_capacity(64 + method.len() + params.get().len());
        jsonrpc::write_notification(&mut body, method, Some(params));
        self.hub.publish(destination, &body)
    }
}
