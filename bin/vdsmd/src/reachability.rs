//! Do the networks answer? Joins the loop that asks (`observe::probe`) with the policy that judges
//! (`network::Reachability`), tells clients of verdicts that change, and keeps them over a restart.
//!
//! States: watching what the running configuration names ([`Reachable::follow`], called again and again), or, where the
//! loop could not be started, silent: then no network is shown down.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use config::Config;
use net_model::{
    IfName, NetName,
    probe::{Cause, Probe},
};
use network::{Asked, Kept, NetworkManager, Notice, Reachability};
use observe::probe::{Prober, Report, Solicitor, Watched};
use persist::Store;
use privileged::{
    Client,
    network::{ArpProbe, Millis},
};
use serde::{Deserialize, Serialize};

use crate::ports::HostConnectivity;

/// Name of the one record.
const RECORD: &str = "reachability";

/// A verdict as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Remembered {
    targets: Vec<IpAddr>,
    probe: Probe,
}

type Memory = BTreeMap<String, Remembered>;

/// What is known of the networks' other ends.
pub(crate) struct Reachable {
    shared: Arc<Shared>,
    prober: Option<Prober>,
    running: PathBuf,
    followed: Mutex<Option<Stamp>>,
    store: Option<Store<Memory>>,
}

struct Shared {
    thought: Mutex<Reachability>,
    events: HostConnectivity,
    /// Is there something that is not kept yet?
    news: AtomicBool,
}

/// Tells one set of files from another.
type Stamp = Option<(u64, i64, i64)>;

impl Reachable {
    /// Starts the loop, with nothing to ask for; the first [`Self::follow`] names it.
    pub(crate) fn start(config: &Config, events: HostConnectivity) -> Self {
        let store = Store::open(config.vars.state_dir.join("networks"), 1);
        let store = store
            .map_err(|error| tracing::warn!(%error, "verdicts of networks are not kept"))
            .ok();
        let shared = Arc::new(Shared {
            thought: Mutex::new(Reachability::new(remembered(store.as_ref()))),
            events,
            news: AtomicBool::new(false),
        });
        let options = &config.supervdsm;
        let root = || RootAsks(Client::new(&options.socket, options.request_timeout));
        let root = options
            .enable
            .then(|| Arc::new(root()) as Arc<dyn Solicitor>);
        let judge = Arc::clone(&shared);
        let prober = Prober::start(root, move |report| judge.hear(report));
        let prober = prober
            .map_err(|error| tracing::warn!(%error, "nobody asks whether networks answer"))
            .ok();
        Self {
            shared,
            prober,
            running: options.netconf_running.clone(),
            followed: Mutex::default(),
            store,
        }
    }

    /// Names what is to be asked for if the running configuration is another one than at the last call, and keeps
    /// verdicts that changed.
    pub(crate) fn follow(&self, networks: &NetworkManager) {
        self.keep();
        let stamp = stamp(&self.running);
        let mut followed = lock(&self.followed);
        if *followed == Some(stamp) {
            return;
        }
        let config = match networks.running() {
            Ok(config) => config,
            Err(error) => {
                tracing::warn!(%error, "whom to ask for is not known");
                return;
            }
        };
        let (asked, problems, withdrawn) = lock(&self.shared.thought).configure(&config);
        for problem in problems {
            tracing::warn!(target: "vdsm.network", "{problem}");
        }
        for notice in &withdrawn {
            self.shared.tell(notice);
        }
        if let Some(prober) = &self.prober {
            prober.watch(asked.into_iter().map(watched).collect());
        }
        *followed = Some(stamp);
    }

    /// Interfaces that are to be shown down, and why.
    pub(crate) fn down(&self) -> BTreeMap<IfName, Cause> {
        lock(&self.shared.thought).down()
    }

    fn keep(&self) {
        if !self.shared.news.swap(false, Ordering::AcqRel) {
            return;
        }
        let all = lock(&self.shared.thought).keep().into_iter();
        let all = all.map(|(name, Kept { targets, probe })| {
            (name.to_string(), Remembered { targets, probe })
        });
        let Some(store) = &self.store else { return };
        if let Err(error) = store.put(RECORD, &all.collect()) {
            tracing::warn!(%error, "verdicts of networks are not kept");
            self.shared.news.store(true, Ordering::Release);
        }
    }
}

impl Shared {
    fn hear(&self, report: Report) {
        match report {
            Report::Sample { network, sample } => {
                let notice = lock(&self.thought).observe(&network, sample);
                if let Some(notice) = notice {
                    self.tell(&notice);
                }
            }
            Report::Unable { network, why } => {
                if lock(&self.thought).unable(&network) {
                    tracing::warn!(target: "vdsm.network", "network {network} cannot be asked for: {why}");
                }
            }
        }
    }

    fn tell(&self, notice: &Notice) {
        if notice.is_bad() {
            tracing::warn!(target: "vdsm.network", "{notice}");
        } else {
            tracing::info!(target: "vdsm.network", "{notice}");
        }
        self.news.store(true, Ordering::Release);
        if notice.is_event() {
            self.events.publish();
        }
    }
}

fn watched(asked: Asked) -> Watched {
    Watched {
        network: asked.network,
        device: asked.device,
        gateways: asked.gateways,
        config: asked.config,
    }
}

fn remembered(store: Option<&Store<Memory>>) -> BTreeMap<NetName, Kept> {
    let memory = store.and_then(|it| {
        let read = it.get(RECORD);
        read.map_err(|error| tracing::warn!(%error, "earlier verdicts of networks are lost"))
            .ok()?
    });
    let known = memory.into_iter().flatten().filter_map(|(name, it)| {
        let Remembered { targets, probe } = it;
        Some((NetName::new(&name).ok()?, Kept { targets, probe }))
    });
    known.collect()
}

/// A new generation is a new folder behind the link; a plain folder that others write has other times.
fn stamp(link: &Path) -> Stamp {
    let found = std::fs::metadata(link).ok()?;
    Some((found.ino(), found.ctime(), found.ctime_nsec()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Root asks by ARP and neighbour solicitation.
struct RootAsks(Client);

impl Solicitor for RootAsks {
    fn solicit(
        &self,
        device: &IfName,
        targets: &[IpAddr],
        wait: Duration,
    ) -> Result<Vec<IpAddr>, String> {
        let probe = ArpProbe {
            device: device.clone(),
            targets: targets.to_vec(),
            wait_ms: Millis::of(wait),
        };
        let answers = self.0.arp_probe(probe);
        let answers = answers.map_err(|error| format!("{:#}", anyhow::Error::from(error)))?;
        Ok(answers.into_iter().map(|it| it.target).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_survive_in_their_file() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 1).unwrap();
        let memory = Memory::from([(
            "green".to_owned(),
            Remembered {
                targets: vec!["192.0.2.1".parse().unwrap()],
                probe: Probe::default(),
            },
        )]);
        store.put(RECORD, &memory).unwrap();
        let kept = remembered(Some(&store));
        let green = NetName::new("green").unwrap();
        assert_eq!(kept[&green].targets, memory["green"].targets);
        std::fs::write(dir.path().join(format!("{RECORD}.json")), "{").unwrap();
        assert!(remembered(Some(&store)).is_empty(), "damage is no end");
    }

    #[test]
    fn another_set_of_files_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("netconf");
        assert_eq!(stamp(&link), None);
        for generation in ["a", "b"] {
            std::fs::create_dir(dir.path().join(generation)).unwrap();
        }
        std::os::unix::fs::symlink("a", &link).unwrap();
        let first = stamp(&link);
        assert!(first.is_some() && first == stamp(&link));
        std::fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink("b", &link).unwrap();
        assert_ne!(stamp(&link), first);
    }
}
