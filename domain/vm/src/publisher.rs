//! The one publisher: events leave in the order in which they were decided, on a thread of its
//! own, so that no lock is held while the world is told.

use std::{
    sync::{Arc, mpsc},
    thread,
};

use vm_model::events::{VmEvent, VmEvents};

/// Hands events to the publisher's thread.
#[derive(Debug, Clone)]
pub(crate) struct Publisher {
    queue: mpsc::Sender<Option<VmEvent>>,
}

impl Publisher {
    /// Starts the thread.
    pub(crate) fn start(
        events: Arc<dyn VmEvents>,
    ) -> std::io::Result<(Self, thread::JoinHandle<()>)> {
        let (queue, inbox) = mpsc::channel::<Option<VmEvent>>();
        let publish = move || {
            while let Ok(Some(event)) = inbox.recv() {
                events.publish(event);
            }
        };
        let thread = thread::Builder::new()
            .name("vm-publisher".to_owned())
            .spawn(publish)?;
        Ok((Self { queue }, thread))
    }

    /// Tells it, soon.
    pub(crate) fn tell(&self, event: VmEvent) {
        // Nobody listens any more only while the agent ends.
        let _ = self.queue.send(Some(event));
    }

    /// Ends the thread after what was told before.
    pub(crate) fn stop(&self) {
        let _ = self.queue.send(None);
    }
}
