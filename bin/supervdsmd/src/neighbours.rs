//! What only root can ask of a link: who has an address (ARP, neighbour solicitation), and what the neighbour of a card
//! tells by LLDP.
//!
//! LLDP is lldpad's; without it, or on a card where it does not listen, nobody listens: `enabled` is false, as upstream
//! answers (`network/lldp/info.py`). It does not listen by itself: this helper has it listen on cards, as upstream's does when it
//! starts (`network/initializer.py`). What the neighbour says is read by `net_model::lldp`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread::Builder,
    time::{Duration, Instant},
};

use config::{Supervdsm, Vars};
use exec::{ExecError, lldptool};
use net_apply::arp::{self, ArpError};
use net_model::{
    Current, IfName, LinkKind,
    lldp::{self, Tlv},
};
use privileged::{
    Refusal, Reply,
    network::{ArpAnswer, ArpProbe, Lldp, LldpState, LldpTlv, MOST_TARGETS},
};
use tracing::{debug, info, warn};

use crate::serve::Service;

const NET: &str = "/sys/class/net";
/// For one call of `lldptool`: lldpad answers within milliseconds or not at all.
const ONE_CALL: Duration = Duration::from_secs(5);

/// Asks for addresses.
pub(crate) fn arp_probe(request: &ArpProbe) -> Result<Reply, Refusal> {
    bounded(request.targets.len())?;
    let wait = request.wait_ms.get();
    let owners = arp::probe(&request.device, &request.targets, wait).map_err(refusal)?;
    let answers = owners.into_iter().map(|it| ArpAnswer {
        target: it.target,
        mac: it.mac,
        micros: u64::try_from(it.after.as_micros()).unwrap_or(u64::MAX),
    });
    Ok(Reply::Arp {
        answers: answers.collect(),
    })
}

fn bounded(count: usize) -> Result<(), Refusal> {
    if count > MOST_TARGETS {
        let why = format!("{count} are more than {MOST_TARGETS}");
        return Err(Refusal::Request { why });
    }
    Ok(())
}

fn refusal(error: ArpError) -> Refusal {
    match error {
        ArpError::NoEthernet { .. } => Refusal::NotHere {
            what: "arp_probe".to_owned(),
            why: error.to_string(),
        },
        ArpError::System { what, source, .. } => Refusal::System {
            call: what.to_owned(),
            errno: source.raw_os_error().unwrap_or(0),
        },
    }
}

/// What neighbours tell by LLDP.
pub(crate) struct Neighbours {
    /// Shall lldpad listen on cards on which it does nothing yet?
    listens: bool,
    /// Patterns of links that stand in for cards.
    fakes: Vec<String>,
    /// Cards on which this helper had it listen: who ends that on a card is obeyed.
    begun: Mutex<BTreeSet<IfName>>,
}

impl Neighbours {
    pub(crate) fn new(options: &Supervdsm, vars: &Vars) -> Self {
        Self {
            listens: options.networks && vars.enable_lldp,
            fakes: vars.fake_nics.clone(),
            begun: Mutex::default(),
        }
    }

    /// Has lldpad listen on all cards, beside whoever is served meanwhile. Where it runs later, or a card comes later, that is
    /// done when somebody asks for the card.
    pub(crate) fn start(service: &Arc<Service>) {
        if !service.neighbours.listens {
            info!("LLDP stays as it is on all cards: [vars] enable_lldp, [supervdsm] networks");
            return;
        }
        let service = Arc::clone(service);
        let thread = Builder::new().name("lldp".to_owned());
        let started = thread.spawn(move || {
            let cards = service.neighbours.cards();
            for nic in &cards {
                match service.neighbours.is_heard(nic, &cards, ONE_CALL) {
                    Ok(_) => {}
                    // There is no lldpad: there is none for the others.
                    Err(ExecError::NotFound { .. }) => return,
                    Err(error) => debug!(%nic, %error, "LLDP"),
                }
            }
        });
        if let Err(error) = started {
            warn!(%error, "no thread for LLDP: it begins with the first question");
        }
    }

    /// Reads what the neighbours told.
    pub(crate) fn lldp(&self, request: &Lldp) -> Result<Reply, Refusal> {
        bounded(request.nics.len())?;
        let until = Instant::now() + request.deadline_ms.get();
        let cards = self.cards();
        let nics = if request.nics.is_empty() {
            cards.iter().take(MOST_TARGETS).cloned().collect()
        } else {
            request.nics.clone()
        };
        let mut told = BTreeMap::new();
        for nic in nics {
            let state = self.neighbour(&nic, &cards, until);
            told.insert(nic, state);
        }
        Ok(Reply::Lldp { nics: told })
    }

    /// What a cable can be put into: a guest's tap is none, nor is a function of a card that guests get. Upstream takes the same.
    fn cards(&self) -> BTreeSet<IfName> {
        let links = observe::network::interfaces(ONE_CALL).unwrap_or_else(|error| {
            warn!(%error, "the kernel does not tell of cards");
            BTreeMap::new()
        });
        let mut current = Current {
            links,
            ..Current::default()
        };
        current.count_as_nics(&self.fakes);
        let cards = current.links.into_iter();
        let cards = cards.filter(|(name, it)| it.kind == LinkKind::Nic && !is_virtual(name));
        cards.map(|(name, _)| name).collect()
    }

    fn neighbour(&self, nic: &IfName, cards: &BTreeSet<IfName>, until: Instant) -> LldpState {
        if !is_up(Path::new(NET), nic) {
            return LldpState::default();
        }
        match self.ask(nic, cards, until) {
            Ok(state) => state,
            Err(error) => {
                match &error {
                    ExecError::NotFound { .. } | ExecError::Failed { .. } => {
                        debug!(%nic, %error, "nobody listens to LLDP");
                    }
                    _ => warn!(%nic, %error, "lldptool"),
                }
                LldpState::default()
            }
        }
    }

    fn ask(
        &self,
        nic: &IfName,
        cards: &BTreeSet<IfName>,
        until: Instant,
    ) -> Result<LldpState, ExecError> {
        let left = || ONE_CALL.min(until.saturating_duration_since(Instant::now()));
        if !self.is_heard(nic, cards, left())? {
            return Ok(LldpState::default());
        }
        // It listens, and has heard nothing yet or cannot tell: enabled all the same.
        let text = lldptool::neighbour(nic.as_str(), left()).unwrap_or_else(|error| {
            warn!(%nic, %error, "lldptool does not tell of the neighbour");
            String::new()
        });
        Ok(LldpState {
            enabled: true,
            tlvs: lldp::parse(&text).into_iter().map(tlv).collect(),
        })
    }

    /// Does lldpad listen on it? It does so from now on if it shall, and this helper did not have it do so before.
    fn is_heard(
        &self,
        nic: &IfName,
        cards: &BTreeSet<IfName>,
        timeout: Duration,
    ) -> Result<bool, ExecError> {
        let begun = || self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let is_enabled = lldp::is_enabled(&lldptool::admin_status(nic.as_str(), timeout)?);
        if is_enabled {
            begun().insert(nic.clone());
            return Ok(true);
        }
        if !self.listens || !cards.contains(nic) || !begun().insert(nic.clone()) {
            return Ok(false);
        }
        match lldptool::listen(nic.as_str(), timeout) {
            Ok(()) => info!(%nic, "lldpad listens from now on"),
            Err(error) => warn!(%nic, %error, "lldpad does not listen"),
        }
        Ok(lldp::is_enabled(&lldptool::admin_status(
            nic.as_str(),
            timeout,
        )?))
    }
}

/// A virtual function of a card (SR-IOV).
fn is_virtual(nic: &IfName) -> bool {
    Path::new(NET)
        .join(nic.as_str())
        .join("device/physfn")
        .exists()
}

/// Its state of operation is `up`, or not told.
fn is_up(net: &Path, nic: &IfName) -> bool {
    let state = fs::read_to_string(net.join(nic.as_str()).join("operstate"));
    state.is_ok_and(|it| matches!(it.trim(), "up" | "unknown"))
}

fn tlv(tlv: Tlv) -> LldpTlv {
    LldpTlv {
        kind: tlv.kind,
        oui: tlv.oui,
        subtype: tlv.subtype,
        name: tlv.name,
        properties: tlv.properties,
    }
}

#[cfg(test)]
mod tests {
    use privileged::Millis;

    use super::*;

    fn neighbours(listens: bool) -> Neighbours {
        Neighbours {
            listens,
            fakes: Vec::new(),
            begun: Mutex::default(),
        }
    }

    #[test]
    fn cards_are_asked_only_when_up() {
        let net = tempfile::tempdir().unwrap();
        for (name, state) in [("eth0", "up\n"), ("eth1", "down\n"), ("eth2", "unknown\n")] {
            let folder = net.path().join(name);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("operstate"), state).unwrap();
        }
        let up = |name: &str| is_up(net.path(), &IfName::new(name).unwrap());
        assert_eq!(
            ["eth0", "eth1", "eth2", "gone"].map(up),
            [true, false, true, false]
        );
        let all = neighbours(true).cards();
        assert!(!all.contains(&IfName::new("lo").unwrap()), "{all:?}");
    }

    /// A card that is not there, with or without lldpad.
    #[test]
    fn nobody_listens_where_nothing_is() {
        let nic = IfName::new("vt-no-such").unwrap();
        let request = Lldp {
            nics: BTreeSet::from([nic.clone()]),
            deadline_ms: Millis::of(Duration::from_secs(30)),
        };
        let Ok(Reply::Lldp { nics }) = neighbours(true).lldp(&request) else {
            panic!("no answer");
        };
        assert_eq!(nics, BTreeMap::from([(nic.clone(), LldpState::default())]));
        let probe = ArpProbe {
            device: nic,
            targets: vec![[192, 0, 2, 1].into()],
            wait_ms: Millis::of(Duration::from_millis(10)),
        };
        let refused = arp_probe(&probe).expect_err("there is no such interface");
        assert!(refused.to_string().contains("vt-no-such"), "{refused}");
        let many = ArpProbe {
            targets: vec![[192, 0, 2, 1].into(); MOST_TARGETS + 1],
            ..probe
        };
        assert!(matches!(arp_probe(&many), Err(Refusal::Request { .. })));
    }
}
