//! One client's STOMP session: its subscriptions, and what each command does.
//!
//! As upstream, a session needs no CONNECT before it subscribes and sends (Engine's Java client may
//! write its SUBSCRIBEs first), and an ERROR frame for a wrong request leaves the connection open.
//! A frame that cannot be read closes it after the ERROR frame.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::calls::Caller;
use super::{ConnectionId, PeerInfo, Shared};
use crate::FLOW_ID_HEADER;
use crate::frame::{Command, Frame, FrameError};
use crate::link::{CloseReason, Role, Verdict};
use crate::outbox::Outbox;

/// Shortest heart-beat interval agreed to, in milliseconds, either way.
const MIN_HEART_BEAT: u64 = 1000;

pub(super) struct Session {
    shared: Arc<Shared>,
    id: ConnectionId,
    outbox: Arc<Outbox>,
    caller: Arc<Caller>,
    /// Subscription id -> destination.
    subscriptions: HashMap<String, String>,
}

/// A request that is wrong, in the words of the ERROR frame.
type Wrong = &'static str;

impl Session {
    pub(super) fn new(
        shared: Arc<Shared>,
        id: ConnectionId,
        peer: Arc<PeerInfo>,
        outbox: Arc<Outbox>,
    ) -> Self {
        let caller = Arc::new(Caller::new(shared.clone(), id, peer, outbox.clone()));
        Self {
            shared,
            id,
            outbox,
            caller,
            subscriptions: HashMap::new(),
        }
    }

    fn connect(&mut self, frame: &Frame) -> Verdict {
        let versions = frame.header("accept-version").unwrap_or_default();
        if !versions.split(',').any(|version| version.trim() == "1.2") {
            self.error(None, "Version unsupported");
            return Verdict::Continue;
        }
        let (client_sends, client_wants) = heart_beat(frame.header("heart-beat"));
        self.send(
            &Frame::new(Command::Connected)
                .with_header("version", "1.2")
                .with_header("heart-beat", format!("{client_wants},{client_sends}")),
        );
        let interval = |ms| (ms > 0).then(|| Duration::from_millis(ms));
        Verdict::HeartBeat {
            send: interval(client_wants),
            expect: interval(client_sends),
        }
    }

    fn subscribe(&mut self, frame: &Frame) -> Result<(), Wrong> {
        let (Some(destination), Some(id)) = (given(frame, "destination"), given(frame, "id"))
        else {
            return Err("Missing destination or subscription id header");
        };
        if self.subscriptions.contains_key(id) {
            return Err("Subscription id already exists");
        }
        if self.subscriptions.len() >= self.shared.config.limits.subscriptions {
            return Err("Too many subscriptions");
        }
        self.shared
            .hub
            .subscribe(self.id, &self.outbox, destination, id);
        self.subscriptions
            .insert(id.to_owned(), destination.to_owned());
        Ok(())
    }

    fn unsubscribe(&mut self, frame: &Frame) -> Result<(), Wrong> {
        let id = given(frame, "id").ok_or("Missing id header")?;
        if let Some(destination) = self.subscriptions.remove(id) {
            self.shared.hub.unsubscribe(self.id, &destination, id);
        }
        Ok(())
    }

    fn unsubscribe_all(&mut self) {
        for (id, destination) in self.subscriptions.drain() {
            self.shared.hub.unsubscribe(self.id, &destination, &id);
        }
    }

    fn message(&mut self, frame: &Frame) -> Result<(), Wrong> {
        let destination = given(frame, "destination").ok_or("Missing destination header")?;
        if frame.header("transaction").is_some() {
            return Err("Transactions are not supported");
        }
        let subscribers = self.shared.hub.forward(destination, frame);
        if self.is_request_queue(destination) {
            let reply_to = given(frame, "reply-to").map(ToOwned::to_owned);
            let flow_id = given(frame, FLOW_ID_HEADER).map(ToOwned::to_owned);
            self.caller.serve(&frame.body, reply_to, flow_id);
            return Ok(());
        }
        if subscribers == 0 {
            Err("Subscription not available")
        } else {
            Ok(())
        }
    }

    fn is_request_queue(&self, destination: &str) -> bool {
        self.shared.config.request_queues.iter().any(|queue| {
            destination
                .strip_prefix(queue.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }

    /// Confirms a frame or says what is wrong with it.
    fn conclude(&mut self, frame: &Frame, outcome: Result<(), Wrong>) {
        let receipt = frame.header("receipt");
        match (outcome, receipt) {
            (Ok(()), None) => {}
            (Ok(()), Some(receipt)) => {
                self.send(&Frame::new(Command::Receipt).with_header("receipt-id", receipt));
            }
            (Err(wrong), receipt) => self.error(receipt, wrong),
        }
    }

    /// `message` is what Engine's Java client logs, the body what upstream's Python client reads.
    fn error(&self, receipt: Option<&str>, text: &str) {
        tracing::info!(connection = %self.id, error = text, "wrong frame");
        let mut frame = Frame::new(Command::Error).with_header("message", text);
        if let Some(receipt) = receipt {
            frame = frame.with_header("receipt-id", receipt);
        }
        self.send(&frame.with_body(text.to_owned()));
    }

    fn send(&self, frame: &Frame) {
        match frame.to_bytes() {
            Ok(bytes) => self.outbox.push_quiet(bytes),
            Err(error) => tracing::warn!(connection = %self.id, %error, "frame not sent"),
        }
    }
}

impl Role for Session {
    fn frame(&mut self, frame: Frame) -> Verdict {
        let outcome = match frame.command {
            Command::Connect | Command::Stomp => return self.connect(&frame),
            Command::Send => self.message(&frame),
            Command::Subscribe => self.subscribe(&frame),
            Command::Unsubscribe => self.unsubscribe(&frame),
            Command::Disconnect => {
                self.unsubscribe_all();
                self.conclude(&frame, Ok(()));
                return Verdict::Close(CloseReason::Disconnected);
            }
            // Every subscription is acknowledged by itself: no message ever asks for it.
            Command::Ack | Command::Nack => Err("No acknowledgement is expected"),
            Command::Begin | Command::Commit | Command::Abort => {
                Err("Transactions are not supported")
            }
            Command::Connected | Command::Message | Command::Receipt | Command::Error => {
                Err("Not a command of clients")
            }
        };
        self.conclude(&frame, outcome);
        Verdict::Continue
    }

    fn malformed(&mut self, error: &FrameError) {
        self.error(None, &error.to_string());
    }

    fn busy(&self) -> bool {
        self.caller.busy()
    }

    fn waits(&self) -> bool {
        !self.subscriptions.is_empty()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.caller.hang_up();
        self.unsubscribe_all();
    }
}

/// A header that is there and not empty.
fn given<'a>(frame: &'a Frame, name: &str) -> Option<&'a str> {
    frame.header(name).filter(|value| !value.is_empty())
}

/// What the client can send and what it wants, in milliseconds, as far as we agree; 0: none.
fn heart_beat(header: Option<&str>) -> (u64, u64) {
    let sane = |text: &str| match text.trim().parse::<u64>() {
        Ok(0) | Err(_) => 0,
        Ok(ms) => ms.clamp(MIN_HEART_BEAT, u64::from(u32::MAX)),
    };
    header
        .and_then(|it| it.split_once(','))
        .map_or((0, 0), |(sends, wants)| (sane(sends), sane(wants)))
}

#[cfg(test)]
mod tests {
    use super::heart_beat;

    #[test]
    fn heart_beats_are_raised_to_a_second_and_bad_ones_are_none() {
        assert_eq!(heart_beat(Some("5000,3000")), (5000, 3000));
        assert_eq!(heart_beat(Some("0,500")), (0, 1000));
        assert_eq!(heart_beat(Some("1,0")), (1000, 0));
        assert_eq!(heart_beat(Some("x,2000")), (0, 2000));
        for header in [None, Some(""), Some("5000"), Some("-1,-1"), Some("a,b,c")] {
            assert_eq!(heart_beat(header), (0, 0), "{header:?}");
        }
    }
}
