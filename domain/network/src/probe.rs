//! Which networks answer: who is asked for, what is thought of each, where it is shown, what is told.
//!
//! Pure policy over `net_model::probe`: samples go in, a [`Notice`] comes out when a verdict changes. It has no clock and
//! no socket; `observe::probe` asks. What it knows survives a restart as [`Kept`].
//!
//! Where a network that is down is shown (`state` of `Host.getStats`): on its VLAN, or on its base, and on its bridge. A
//! base that carries others is shown down only when all of its networks are: Engine takes a base that is down for the end
//! of every VLAN on it (its `NetworkMonitoringHelper` looks at the base alone).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};

use net_model::{
    Base, Config, IfName, NetError, NetName, Network,
    probe::{Cause, Probe, ProbeConfig, Sample, Verdict, reported_device},
};

/// A network to be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Its name.
    pub network: NetName,
    /// The interface that carries its addresses.
    pub device: IfName,
    /// Its gateways.
    pub gateways: Vec<IpAddr>,
    /// Whom to ask, how often.
    pub config: ProbeConfig,
}

/// What is kept over a restart, network by network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Whom it was asked of: another target starts anew.
    pub targets: Vec<IpAddr>,
    /// What was thought of it.
    pub probe: Probe,
}

/// A verdict that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Which network.
    pub network: NetName,
    /// What was thought before.
    pub from: Verdict,
    /// What is thought now.
    pub to: Verdict,
}

impl Notice {
    /// Does it change what clients are told: a reason for the event `|net|host_conn|no_id`, once?
    pub fn is_event(&self) -> bool {
        let down = |it| matches!(it, Verdict::Down(_));
        down(self.from) != down(self.to)
    }

    /// Is it bad news: a line of level WARN, once?
    pub fn is_bad(&self) -> bool {
        matches!(self.to, Verdict::Down(_))
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let network = &self.network;
        match self.to {
            Verdict::Down(cause) => write!(f, "network {network} is down: {}", words(cause)),
            Verdict::Up => write!(f, "network {network} answers"),
            Verdict::Unknown => write!(f, "network {network} is not asked for any more"),
        }
    }
}

/// A cause for people.
pub fn words(cause: Cause) -> &'static str {
    match cause {
        Cause::NoReply => "no target replies",
        Cause::NoNeighbour => "nobody on the link has the address",
        Cause::Unreachable => "a router says that no target can be reached",
        Cause::Prohibited => "a firewall prohibits it",
        Cause::NoLink => "its interface is gone or has no carrier",
        Cause::CannotSend => "nothing can be sent",
    }
}

/// One network.
#[derive(Debug, Clone)]
struct Lane {
    asked: Asked,
    probe: Probe,
    /// Why it could not be asked for, once told.
    unable: bool,
}

/// What is thought of all networks.
#[derive(Debug, Clone, Default)]
pub struct Reachability {
    lanes: BTreeMap<NetName, Lane>,
    networks: BTreeMap<NetName, Network>,
    /// Of networks that were not configured yet.
    kept: BTreeMap<NetName, Kept>,
}

impl Reachability {
    /// With what was thought before a restart.
    pub fn new(kept: BTreeMap<NetName, Kept>) -> Self {
        Self {
            kept,
            ..Self::default()
        }
    }

    /// Takes the running configuration. Answers whom to ask for now, what of the networks' properties makes no sense (these
    /// are not asked for), and verdicts that are withdrawn.
    pub fn configure(&mut self, config: &Config) -> (Vec<Asked>, Vec<NetError>, Vec<Notice>) {
        let mut before = std::mem::take(&mut self.lanes);
        let mut problems = Vec::new();
        for (name, network) in &config.networks {
            match asked(name, network) {
                Ok(Some(asked)) => {
                    let same = before
                        .get(name)
                        .is_some_and(|it| it.asked.config.targets == asked.config.targets);
                    let lane = if same { before.remove(name) } else { None };
                    self.lanes.insert(name.clone(), self.lane(lane, asked));
                }
                Ok(None) => {}
                Err(error) => problems.push(error),
            }
        }
        self.networks.clone_from(&config.networks);
        // What was kept of networks that are not there is of no use to others of the same name.
        self.kept.clear();
        let withdrawn = before.into_iter().map(|(network, lane)| Notice {
            network,
            from: lane.probe.verdict(),
            to: Verdict::Unknown,
        });
        let withdrawn = withdrawn.filter(|it| it.from != it.to).collect();
        let all = self.lanes.values().map(|it| it.asked.clone()).collect();
        (all, problems, withdrawn)
    }

    fn lane(&self, before: Option<Lane>, asked: Asked) -> Lane {
        if let Some(lane) = before {
            return Lane { asked, ..lane };
        }
        let kept = self.kept.get(&asked.network);
        let kept = kept.filter(|it| it.targets == asked.config.targets);
        Lane {
            asked,
            probe: kept.map(|it| it.probe).unwrap_or_default(),
            unable: false,
        }
    }

    /// Takes a sample; what changed by it.
    pub fn observe(&mut self, network: &NetName, sample: Sample) -> Option<Notice> {
        let lane = self.lanes.get_mut(network)?;
        lane.unable = false;
        let changed = lane.probe.observe(&lane.asked.config, sample)?;
        Some(Notice {
            network: network.clone(),
            from: changed.from,
            to: changed.to,
        })
    }

    /// It could not be asked for. True if that was not told yet.
    pub fn unable(&mut self, network: &NetName) -> bool {
        let lane = self.lanes.get_mut(network);
        lane.is_some_and(|it| !std::mem::replace(&mut it.unable, true))
    }

    /// What is thought of a network; nothing if it is not asked for.
    pub fn verdict(&self, network: &NetName) -> Option<Verdict> {
        self.lanes.get(network).map(|it| it.probe.verdict())
    }

    /// Interfaces that are to be shown down, whatever the kernel says of them, and why.
    pub fn down(&self) -> BTreeMap<IfName, Cause> {
        let mut all = BTreeMap::new();
        for (name, network) in &self.networks {
            let Some(cause) = self.cause(name) else {
                continue;
            };
            let own = reported_device(network).filter(|_| network.vlan.is_some());
            let bridge = network.bridge.as_ref().and_then(|_| name.bridge().ok());
            all.extend(own.into_iter().chain(bridge).map(|it| (it, cause)));
        }
        for (base, names) in self.by_base() {
            let causes: Option<Vec<Cause>> = names.iter().map(|it| self.cause(it)).collect();
            if let Some(cause) = causes.and_then(|it| it.first().copied()) {
                all.insert(base, cause);
            }
        }
        all
    }

    fn cause(&self, name: &NetName) -> Option<Cause> {
        match self.verdict(name) {
            Some(Verdict::Down(cause)) => Some(cause),
            _ => None,
        }
    }

    fn by_base(&self) -> BTreeMap<IfName, BTreeSet<&NetName>> {
        let mut all: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for (name, network) in &self.networks {
            if let Some(base) = network.base.as_ref().map(Base::device) {
                all.entry(base.clone()).or_default().insert(name);
            }
        }
        all
    }

    /// What to keep for the next start.
    pub fn keep(&self) -> BTreeMap<NetName, Kept> {
        let each = self.lanes.iter().map(|(name, lane)| {
            let kept = Kept {
                targets: lane.asked.config.targets.clone(),
                probe: lane.probe,
            };
            (name.clone(), kept)
        });
        each.collect()
    }
}

fn asked(name: &NetName, network: &Network) -> Result<Option<Asked>, NetError> {
    let Some(config) = ProbeConfig::of(name, network)? else {
        return Ok(None);
    };
    let gateways = [network.ipv4.gateway, network.ipv6.gateway];
    Ok(Some(Asked {
        network: name.clone(),
        device: network.top(name)?,
        gateways: gateways.into_iter().flatten().collect(),
        config,
    }))
}
