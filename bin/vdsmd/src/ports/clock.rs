//! Time for the domains, from the one module that reads the wall clock.

use std::time::Duration;

use observe::clock;

/// Both clocks.
pub(crate) struct Clocks;

impl vm_model::events::Clock for Clocks {
    fn wall(&self) -> Duration {
        clock::since_epoch()
    }

    fn monotonic(&self) -> Duration {
        clock::monotonic()
    }
}

impl storage_model::ports::WallClock for Clocks {
    fn now(&self) -> u64 {
        clock::now_unix()
    }
}
