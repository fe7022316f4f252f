//! The client's side of a STOMP session: CONNECTED, answers, events, errors.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::{Event, HeartBeat, Lost, Shared};
use crate::frame::{Command, Frame, FrameError};
use crate::jsonrpc::{self, Received};
use crate::link::{CloseReason, Role, Verdict};

/// Id of the subscription to the own reply queue.
pub(super) const REPLIES: &str = "replies";

pub(super) struct Session {
    shared: Arc<Shared>,
    heart_beat: HeartBeat,
    /// Told once: connected, or refused with the server's words.
    connected: Option<oneshot::Sender<Result<(), String>>>,
    last_error: Option<String>,
}

impl Session {
    pub(super) fn new(
        shared: Arc<Shared>,
        heart_beat: HeartBeat,
        connected: oneshot::Sender<Result<(), String>>,
    ) -> Self {
        Self {
            shared,
            heart_beat,
            connected: Some(connected),
            last_error: None,
        }
    }

    pub(super) fn connect_frame(&self, host: &str) -> Frame {
        let HeartBeat { send, expect } = self.heart_beat;
        Frame::new(Command::Connect)
            .with_header("accept-version", "1.2")
            .with_header("host", host)
            .with_header("heart-beat", format!("{},{}", millis(send), millis(expect)))
    }

    /// The end of the connection in words.
    pub(super) fn lost(&self, reason: &CloseReason) -> Lost {
        let tls = matches!(reason, CloseReason::Tls(_));
        let reason = match &self.last_error {
            Some(error) => format!("{reason} (the server's last error: {error})"),
            None => reason.to_string(),
        };
        Lost { reason, tls }
    }

    fn connected(&mut self, frame: &Frame) -> Verdict {
        if let Some(connected) = self.connected.take() {
            // Nobody listening any more means that connecting was given up.
            let _ = connected.send(Ok(()));
        }
        let header = frame.header("heart-beat").unwrap_or_default();
        let (sends, wants) = header.split_once(',').unwrap_or_default();
        Verdict::HeartBeat {
            send: agreed(self.heart_beat.send, wants),
            expect: agreed(self.heart_beat.expect, sends),
        }
    }

    fn message(&self, frame: &Frame) {
        let listener = frame
            .header("subscription")
            .and_then(|id| self.shared.state().events.get(id).cloned());
        for received in jsonrpc::parse_received(&frame.body) {
            match received {
                Received::Response {
                    id: Some(id),
                    reply,
                } => {
                    let call = self.shared.state().calls.remove(&id);
                    // A caller that stops waiting just now does not care any more.
                    if call.is_none_or(|call| call.send(reply).is_err()) {
                        tracing::debug!(%id, "answer that nobody waits for");
                    }
                }
                Received::Response { id: None, reply } => {
                    tracing::warn!(error = ?reply.err(), "answer without id");
                }
                Received::Event { method, params } => {
                    deliver(listener.as_ref(), Event { method, params });
                }
            }
        }
    }

    fn error(&mut self, frame: &Frame) {
        let text = String::from_utf8_lossy(&frame.body);
        let text = frame.header("message").unwrap_or(&text).to_owned();
        tracing::warn!(error = %text, "the server reports an error");
        if let Some(connected) = self.connected.take() {
            let _ = connected.send(Err(text.clone()));
        }
        self.last_error = Some(text);
    }
}

impl Role for Session {
    fn frame(&mut self, frame: Frame) -> Verdict {
        match frame.command {
            Command::Connected => return self.connected(&frame),
            Command::Message => self.message(&frame),
            Command::Error => self.error(&frame),
            Command::Receipt => {}
            other => tracing::warn!(command = other.as_str(), "not a command of servers"),
        }
        Verdict::Continue
    }

    fn malformed(&mut self, error: &FrameError) {
        self.last_error = Some(error.to_string());
    }

    fn busy(&self) -> bool {
        false
    }

    fn waits(&self) -> bool {
        true
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Only if the task was dropped midway: its end has set a better reason.
        self.shared.close(Lost {
            reason: "the runtime stopped".to_owned(),
            tls: false,
        });
    }
}

fn deliver(listener: Option<&mpsc::Sender<Event>>, event: Event) {
    let Some(listener) = listener else {
        return tracing::debug!(method = %event.method, "event that nobody listens to");
    };
    if let Err(mpsc::error::TrySendError::Full(event)) = listener.try_send(event) {
        tracing::warn!(method = %event.method, "event dropped: its reader is too slow");
    }
}

fn millis(interval: Option<Duration>) -> u128 {
    interval.map_or(0, |interval| interval.as_millis())
}

/// The longer of both intervals, if both sides want it.
fn agreed(ours: Option<Duration>, theirs: &str) -> Option<Duration> {
    let theirs = theirs.trim().parse::<u32>().ok().filter(|ms| *ms > 0)?;
    Some(ours?.max(Duration::from_millis(theirs.into())))
}
