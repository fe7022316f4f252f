//! Owns: the streams of events, one per receiver. A receiver is fresh → behind (its queue was full; events are being
//! dropped) → told (`Reconnected` was put into its queue: re-read everything) → fresh; or it is gone and removed.
//!
//! Publishing never waits, since it happens on libvirt's event loop.

use std::sync::{
    Mutex, PoisonError,
    mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
};

use vm_model::ports::HypervisorEvent;

struct Stream {
    sender: SyncSender<HypervisorEvent>,
    behind: bool,
}

impl Stream {
    /// Puts `event` into the queue. `Err` means that nobody reads any more.
    fn send(&mut self, event: &HypervisorEvent) -> Result<(), ()> {
        if self.behind {
            self.catch_up()?;
            if self.behind {
                return Ok(());
            }
        }
        match self.sender.try_send(event.clone()) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => {
                self.behind = true;
                Ok(())
            }
            Err(TrySendError::Disconnected(_)) => Err(()),
        }
    }

    fn catch_up(&mut self) -> Result<(), ()> {
        match self.sender.try_send(HypervisorEvent::Reconnected) {
            Ok(()) => self.behind = false,
            Err(TrySendError::Full(_)) => {}
            Err(TrySendError::Disconnected(_)) => return Err(()),
        }
        Ok(())
    }
}

/// All receivers.
pub(crate) struct Fanout {
    streams: Mutex<Vec<Stream>>,
    capacity: usize,
}

impl Fanout {
    /// Queues hold `capacity` events each.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            streams: Mutex::default(),
            capacity: capacity.max(1),
        }
    }

    /// One more receiver, of events from now on.
    pub(crate) fn subscribe(&self) -> Receiver<HypervisorEvent> {
        let (sender, receiver) = sync_channel(self.capacity);
        self.streams
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Stream {
                sender,
                behind: false,
            });
        receiver
    }

    /// Tells all receivers. True if one of them is behind and [`Self::catch_up`] shall be called later.
    pub(crate) fn publish(&self, event: &HypervisorEvent) -> bool {
        self.each(|stream| stream.send(event))
    }

    /// Tells receivers that are behind, where there is room by now. True if one still is.
    pub(crate) fn catch_up(&self) -> bool {
        self.each(|stream| {
            if stream.behind {
                stream.catch_up()
            } else {
                Ok(())
            }
        })
    }

    fn each(&self, mut act: impl FnMut(&mut Stream) -> Result<(), ()>) -> bool {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.retain_mut(|stream| act(stream).is_ok());
        streams.iter().any(|stream| stream.behind)
    }
}

#[cfg(test)]
mod tests {
    use vm_model::ports::VmId;

    use super::*;

    fn event(number: u128) -> HypervisorEvent {
        HypervisorEvent::Reboot {
            id: VmId::from_u128(number),
        }
    }

    #[test]
    fn each_receiver_gets_all_in_order() {
        let fanout = Fanout::new(8);
        let (a, b) = (fanout.subscribe(), fanout.subscribe());
        for number in 0..4 {
            assert!(!fanout.publish(&event(number)));
        }
        let expected: Vec<_> = (0..4).map(event).collect();
        assert_eq!(a.try_iter().collect::<Vec<_>>(), expected);
        assert_eq!(b.try_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn one_that_does_not_read_is_told_to_read_everything_again() {
        let fanout = Fanout::new(2);
        let (slow, quick) = (fanout.subscribe(), fanout.subscribe());
        assert!(!fanout.publish(&event(0)) && !fanout.publish(&event(1)));
        assert_eq!(quick.try_iter().count(), 2);
        assert!(fanout.publish(&event(2)), "slow is behind");
        assert_eq!(quick.try_recv(), Ok(event(2)), "quick misses nothing");
        assert!(fanout.catch_up(), "still no room");
        assert_eq!(slow.try_iter().collect::<Vec<_>>(), [event(0), event(1)]);
        assert!(!fanout.catch_up());
        fanout.publish(&event(3));
        assert_eq!(
            slow.try_iter().collect::<Vec<_>>(),
            [HypervisorEvent::Reconnected, event(3)]
        );
    }

    #[test]
    fn receivers_that_are_gone_are_removed() {
        let fanout = Fanout::new(2);
        drop(fanout.subscribe());
        fanout.publish(&event(0));
        assert!(fanout.streams.lock().unwrap().is_empty());
    }
}
