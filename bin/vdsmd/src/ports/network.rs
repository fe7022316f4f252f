//! The ports of networks: who looks (netlink, the files of the configuration) and who may (the root helper).

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use config::{Config as Configuration, Supervdsm};
use net_model::{Config, Current, Desired, IfName, NetError, Plan};
use network::{
    Change, LinkFigures, LldpState, NetworkError, Observer, Pending, Root, RootError, RootState,
    Tlv,
};
use observe::{
    netconf::{self, Netconfs},
    network::counters::{self, NetworkStatistics},
};
use privileged::{
    Client, ClientError, FrameError, PendingChange, Refusal,
    network::{Lldp, MOST_TARGETS, Millis, NetworkChange, Recovered, UNDO_WITHIN},
};

/// For one look at the kernel's tables.
const LOOK: Duration = Duration::from_secs(10);
/// For making and verifying a change: a thousand networks, links that come up slowly.
const CHANGE: Duration = Duration::from_mins(5);
/// Between two questions to a helper that starts.
const PAUSE: Duration = Duration::from_millis(300);
/// For `lldptool`, of all cards together.
const LLDP: Duration = Duration::from_secs(30);

/// This host.
pub(crate) struct ThisHost {
    fake_nics: Vec<String>,
    netconfs: Netconfs,
    /// Where root writes the host's name servers, if that is not where every host has them.
    resolv_conf: Option<PathBuf>,
}

/// Where every host has its name servers.
const RESOLV_CONF: &str = "/etc/resolv.conf";

impl ThisHost {
    /// As configured.
    pub(crate) fn new(config: &Configuration) -> Self {
        Self {
            fake_nics: config.vars.fake_nics.clone(),
            netconfs: Netconfs {
                running: config.supervdsm.netconf_running.clone(),
                persistent: config.supervdsm.netconf_persistent.clone(),
            },
            resolv_conf: Some(config.supervdsm.resolv_conf.clone())
                .filter(|it| it != Path::new(RESOLV_CONF)),
        }
    }
}

impl Observer for ThisHost {
    fn current(&self) -> Result<Current, NetworkError> {
        let (mut current, _) = observe::network::network(LOOK, &[]).map_err(unreadable)?;
        current.count_as_nics(&self.fake_nics);
        if let Some(path) = &self.resolv_conf {
            current.nameservers = observe::network::nameservers(path);
        }
        Ok(current)
    }

    fn interfaces(&self) -> Result<Current, NetworkError> {
        let mut current = Current {
            links: observe::network::interfaces(LOOK).map_err(unreadable)?,
            ..Current::default()
        };
        current.count_as_nics(&self.fake_nics);
        Ok(current)
    }

    fn running(&self) -> Result<(Config, Vec<NetError>), NetworkError> {
        configuration(&self.netconfs.running)
    }

    fn persistent(&self) -> Result<(Config, Vec<NetError>), NetworkError> {
        configuration(&self.netconfs.persistent)
    }

    fn figures(&self) -> Result<BTreeMap<IfName, LinkFigures>, NetworkError> {
        let reading = counters::read(LOOK, &[]).map_err(unreadable)?;
        let all = reading.interfaces.into_iter().map(|(name, it)| {
            let figures = LinkFigures {
                speed: it.speed,
                duplex: it.duplex.word().to_owned(),
                up: it.up,
                counters: it.counters,
            };
            (name, figures)
        });
        Ok(all.collect())
    }
}

/// What the interfaces of this host moved, and how fast they are, now.
pub(crate) fn counted() -> Result<NetworkStatistics, NetworkError> {
    let reading = counters::read(LOOK, &[]).map_err(unreadable)?;
    let mut meter = counters::Meter::default();
    meter.push(reading);
    Ok(meter.statistics().unwrap_or_default())
}

fn configuration(link: &std::path::Path) -> Result<(Config, Vec<NetError>), NetworkError> {
    let found = netconf::read(link).map_err(unreadable)?;
    let (config, problems) = found.netconf.config();
    Ok((config, found.problems.into_iter().chain(problems).collect()))
}

fn unreadable(error: impl Into<anyhow::Error>) -> NetworkError {
    NetworkError::Unreadable(format!("{:#}", error.into()))
}

/// For what root knows, which capabilities can do without: a helper that hangs does not hold them up.
const KNOWN: Duration = Duration::from_secs(3);

/// The root helper as networks see it.
pub(crate) struct HelperRoot {
    client: Option<Client>,
    quick: Option<Client>,
}

impl HelperRoot {
    /// Reaches nobody yet: a helper that is down may come up later.
    pub(crate) fn new(options: &Supervdsm) -> Self {
        let within = options.request_timeout;
        let client = |within| Client::new(&options.socket, within);
        Self {
            client: options.enable.then(|| client(within)),
            quick: options.enable.then(|| client(within.min(KNOWN))),
        }
    }

    fn client(&self) -> Result<&Client, RootError> {
        self.client.as_ref().ok_or_else(disabled)
    }
}

impl Root for HelperRoot {
    fn change(&self, change: Change) -> Result<Box<dyn Pending>, RootError> {
        let change = NetworkChange {
            desired: change.desired,
            persist: change.persist,
            deadline_ms: Millis::of(CHANGE),
            confirm_within_ms: bounded(change.confirm_within),
        };
        let client = self.client()?;
        let pending = client.network_change(change).map_err(failed)?;
        let client = client.clone();
        Ok(Box::new(Unconfirmed { pending, client }))
    }

    fn plan(&self, desired: Desired) -> Result<Plan, RootError> {
        self.client()?.network_plan(desired).map_err(failed)
    }

    fn persist(&self) -> Result<(), RootError> {
        self.client()?.network_persist().map(drop).map_err(failed)
    }

    fn state(&self) -> Result<RootState, RootError> {
        let client = self.quick.as_ref().ok_or_else(disabled)?;
        let state = client.network_state().map_err(failed)?;
        Ok(RootState {
            clients: state.clients,
            qos: state.qos,
            tables: state.tables,
        })
    }

    fn lldp(&self, nics: BTreeSet<IfName>) -> Result<BTreeMap<IfName, LldpState>, RootError> {
        let until = Instant::now() + LLDP;
        let nics: Vec<IfName> = nics.into_iter().collect();
        let mut all = BTreeMap::new();
        for part in nics.chunks(MOST_TARGETS) {
            let asked = Lldp {
                nics: part.iter().cloned().collect(),
                deadline_ms: Millis::of(until.saturating_duration_since(Instant::now())),
            };
            let told = self.client()?.lldp(asked).map_err(failed)?;
            all.extend(told.into_iter().map(|(nic, it)| (nic, lldp(it))));
        }
        Ok(all)
    }
}

/// The limit that root itself keeps; beyond what it knows, the agent's own, and the end of the connection, are all there is: root
/// must not undo what a client still has time to confirm.
fn bounded(confirm_within: Duration) -> Option<Millis> {
    let most = Duration::from_millis(Millis::MOST);
    (confirm_within <= most).then(|| Millis::of(confirm_within))
}

/// A change that root made and that does not last yet.
struct Unconfirmed {
    pending: PendingChange,
    client: Client,
}

impl Pending for Unconfirmed {
    fn steps(&self) -> &[String] {
        self.pending.steps()
    }

    fn is_held(&self) -> bool {
        self.pending.is_held()
    }

    fn confirm(self: Box<Self>) -> Result<(), RootError> {
        self.pending.confirm().map(drop).map_err(failed)
    }

    fn undo(self: Box<Self>) -> Result<(), RootError> {
        match self.pending.undo() {
            Err(ClientError::Lost { source, .. }) if !matches!(source, FrameError::TimedOut) => {
                undone_by_the_next(&self.client)
            }
            other => other.map_err(failed),
        }
    }
}

/// Waits until the helper that starts after the death of one has undone its change.
fn undone_by_the_next(client: &Client) -> Result<(), RootError> {
    let until = Instant::now() + UNDO_WITHIN;
    loop {
        let state = match client.network_state() {
            Ok(state) if state.pending.is_some() => Err("the root helper is undoing it".to_owned()),
            Ok(state) => Ok(state.recovered),
            Err(error) => Err(failed(error).to_string()),
        };
        match state {
            Ok(Some(Recovered::Undone { .. })) => return Ok(()),
            Ok(Some(Recovered::Left { what })) => return Err(RootError::Failed(what.join("; "))),
            Ok(Some(Recovered::Finished {}) | None) => {
                let why = "the root helper that was started anew knows nothing of it";
                return Err(RootError::Failed(why.to_owned()));
            }
            Err(why) if Instant::now() >= until => return Err(RootError::Failed(why)),
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

fn disabled() -> RootError {
    RootError::Absent("[supervdsm] enable = false in the configuration".to_owned())
}

fn failed(error: ClientError) -> RootError {
    match error {
        ClientError::Connect { .. } => {
            RootError::Absent(format!("{:#}", anyhow::Error::from(error)))
        }
        ClientError::Refused { source, .. } => match source {
            Refusal::NetworkBusy { .. } => RootError::Busy,
            Refusal::NetworkStale {} => RootError::Stale,
            Refusal::Network { code, message } => RootError::Refused { code, message },
            Refusal::NetworkLeft { code, .. } => RootError::Refused {
                code,
                message: source.to_string(),
            },
            Refusal::NotHere { .. } | Refusal::Busy {} | Refusal::Peer { .. } => {
                RootError::Absent(source.to_string())
            }
            other => RootError::Failed(other.to_string()),
        },
        other => RootError::Failed(format!("{:#}", anyhow::Error::from(other))),
    }
}

fn lldp(state: privileged::network::LldpState) -> LldpState {
    let tlvs = state.tlvs.into_iter().map(|it| Tlv {
        kind: it.kind.into(),
        oui: it.oui,
        subtype: it.subtype.map(u32::from),
        name: it.name,
        properties: it.properties,
    });
    LldpState {
        enabled: state.enabled,
        tlvs: tlvs.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_told_from_where_root_writes_them() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Configuration::default();
        config.supervdsm.resolv_conf = dir.path().join("resolv.conf");
        std::fs::write(&config.supervdsm.resolv_conf, "nameserver 192.0.2.53\n").unwrap();
        let current = ThisHost::new(&config).current().unwrap();
        let told: Vec<_> = current
            .nameservers
            .iter()
            .map(net_model::Nameserver::as_str)
            .collect();
        assert_eq!(told, ["192.0.2.53"]);
    }

    #[test]
    fn root_never_ends_a_clients_time_early() {
        let of = |seconds| bounded(Duration::from_secs(seconds)).map(Millis::get);
        assert_eq!(of(150), Some(Duration::from_secs(150)));
        assert_eq!(of(600), Some(Duration::from_mins(10)));
        assert_eq!(of(86_430), None);
    }

    #[test]
    fn nobody_there_is_said_so() {
        let dir = tempfile::tempdir().unwrap();
        for (enable, what) in [(true, "cannot reach the root helper"), (false, "enable")] {
            let options = Supervdsm {
                socket: dir.path().join("sock"),
                enable,
                ..Configuration::default().supervdsm
            };
            let error = HelperRoot::new(&options).persist();
            let told = matches!(&error, Err(RootError::Absent(why)) if why.contains(what));
            assert!(told, "{error:?}");
        }
    }
}
