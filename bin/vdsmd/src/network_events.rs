//! Tells clients that the host's networks changed by themselves: `|net|host_conn|no_id`, upon which Engine reads the
//! capabilities again.
//!
//! A thread of its own hears the kernel's news of interfaces and addresses. News come in bursts: it waits until there
//! is a pause (but not for ever), looks, and tells if what it sees differs from the last time in anything that counts
//! ([`network::Digest`]). What a change of networks does is not told: who asked for it looks by himself; what comes by itself
//! meanwhile is looked at afterwards ([`network::News`]). The same thread tells [`Reachable`] when there is another configuration.

use std::{
    io,
    sync::{Arc, Weak},
    thread,
    time::{Duration, Instant},
};

use netlink::{Group, Monitor, NetlinkError};
use network::{NetworkManager, News};

use crate::{ports::HostConnectivity, reachability::Reachable};

/// What is heard.
const GROUPS: [Group; 3] = [Group::Link, Group::Ipv4Address, Group::Ipv6Address];
/// How often it is looked whether the agent still is there.
const LOOK: Duration = Duration::from_secs(2);
/// A burst has ended when nothing came for so long,
const PAUSE: Duration = Duration::from_millis(300);
/// or when it took so long.
const BURST: Duration = Duration::from_secs(3);
/// After a look nothing is looked at for so many times as long as it took, where bursts go on: a host of thousands of
/// interfaces that somebody changes has to do something else, too.
const REST: u32 = 4;
/// The most of that.
const LONGEST_REST: Duration = Duration::from_secs(10);
/// Between attempts to hear again.
const RETRY: Duration = Duration::from_secs(5);

/// Starts the thread. It hears when this returns.
pub(crate) fn start(
    networks: &Arc<NetworkManager>,
    reachable: &Arc<Reachable>,
    events: HostConnectivity,
) -> io::Result<()> {
    let monitor = Monitor::open(&GROUPS).map_err(io::Error::other)?;
    let mut teller = Teller {
        networks: Arc::downgrade(networks),
        reachable: Arc::downgrade(reachable),
        events,
        news: News::since(networks.look()),
    };
    thread::Builder::new()
        .name("networks".to_owned())
        .spawn(move || teller.run(monitor))
        .map(drop)
}

struct Teller {
    networks: Weak<NetworkManager>,
    reachable: Weak<Reachable>,
    events: HostConnectivity,
    news: News,
}

impl Teller {
    fn run(&mut self, mut monitor: Monitor) {
        while let (Some(networks), Some(reachable)) =
            (self.networks.upgrade(), self.reachable.upgrade())
        {
            reachable.follow(&networks);
            drop((networks, reachable));
            match burst(&mut monitor) {
                Ok(heard) if self.news.is_look_needed(heard) => self.tell(),
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot hear of networks; trying again");
                    thread::sleep(RETRY);
                    if let Ok(again) = Monitor::open(&GROUPS) {
                        monitor = again;
                    }
                    if self.news.is_look_needed(true) {
                        self.tell();
                    }
                }
            }
        }
    }

    /// Looks, tells; and rests: what is heard meanwhile stays with the monitor.
    fn tell(&mut self) {
        let began = Instant::now();
        let now = self.networks.upgrade().and_then(|it| it.look());
        if self.news.take(now) {
            tracing::info!(target: "vdsm.network", "networks changed by themselves");
            self.events.publish();
        }
        thread::sleep((began.elapsed() * REST).min(LONGEST_REST));
    }
}

/// Waits for news, and until they have come to a pause; false if there were none.
fn burst(monitor: &mut Monitor) -> Result<bool, NetlinkError> {
    if monitor.wait(LOOK)?.is_empty() {
        return Ok(false);
    }
    let began = Instant::now();
    while began.elapsed() < BURST && !monitor.wait(PAUSE)?.is_empty() {}
    Ok(true)
}
