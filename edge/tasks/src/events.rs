//! Telling others of changes.

use std::sync::{
    Mutex, PoisonError,
    mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
};

use crate::TaskStatus;

/// Events that a subscriber may be behind; then it loses the newest. Statuses stay the truth.
pub const EVENTS_BEHIND: usize = 4096;

/// A task was made, changed its state, made progress or was cleared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskEvent {
    /// The task as it is now.
    pub status: TaskStatus,
    /// Name of the operation.
    pub verb: String,
    /// Flow id of the request that made it.
    pub flow_id: Option<String>,
    /// It was cleared: there is no such task any more.
    pub cleared: bool,
}

/// Those who want to hear.
#[derive(Debug, Default)]
pub(crate) struct Subscribers(Mutex<Vec<SyncSender<TaskEvent>>>);

impl Subscribers {
    pub(crate) fn add(&self) -> Receiver<TaskEvent> {
        let (sender, receiver) = sync_channel(EVENTS_BEHIND);
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(sender);
        receiver
    }

    /// Tells all; never waits. Those who are gone are forgotten.
    pub(crate) fn tell(&self, event: &TaskEvent) {
        let mut senders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        senders.retain(|sender| {
            !matches!(
                sender.try_send(event.clone()),
                Err(TrySendError::Disconnected(_))
            )
        });
    }
}
