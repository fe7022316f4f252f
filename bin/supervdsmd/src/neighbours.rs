//! What only root can ask of a link: who has an address (ARP, neighbour solicitation), and what the neighbour of a card
//! tells by LLDP.
//!
//! LLDP is lldpad's; without it, or on a card where it does not listen, nobody listens: `enabled` is false, as upstream
//! answers (`network/lldp/info.py`). What the neighbour says is read by `net_model::lldp`.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use exec::{ExecError, lldptool};
use net_apply::arp::{self, ArpError};
use net_model::{
    IfName,
    lldp::{self, Tlv},
};
use privileged::{
    Refusal, Reply,
    network::{ArpAnswer, ArpProbe, Lldp, LldpState, LldpTlv, MOST_TARGETS},
};
use tracing::{debug, warn};

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

/// Reads what the neighbours told.
pub(crate) fn lldp(request: &Lldp) -> Result<Reply, Refusal> {
    bounded(request.nics.len())?;
    let until = Instant::now() + request.deadline_ms.get();
    let cards = || cards(Path::new(NET));
    let nics = if request.nics.is_empty() {
        cards()
    } else {
        request.nics.iter().cloned().collect()
    };
    let mut told = BTreeMap::new();
    for nic in nics {
        let state = neighbour(&nic, until);
        told.insert(nic, state);
    }
    Ok(Reply::Lldp { nics: told })
}

/// Interfaces that have a device.
fn cards(net: &Path) -> Vec<IfName> {
    let entries = fs::read_dir(net).into_iter().flatten().flatten();
    let cards = entries.filter(|it| it.path().join("device").exists());
    let names = cards.filter_map(|it| IfName::new(it.file_name().to_str()?).ok());
    names.take(MOST_TARGETS).collect()
}

fn neighbour(nic: &IfName, until: Instant) -> LldpState {
    if !is_up(Path::new(NET), nic) {
        return LldpState::default();
    }
    match ask(nic, until) {
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

/// Its state of operation is `up`, or not told.
fn is_up(net: &Path, nic: &IfName) -> bool {
    let state = fs::read_to_string(net.join(nic.as_str()).join("operstate"));
    state.is_ok_and(|it| matches!(it.trim(), "up" | "unknown"))
}

fn ask(nic: &IfName, until: Instant) -> Result<LldpState, ExecError> {
    let left = || ONE_CALL.min(until.saturating_duration_since(Instant::now()));
    if !lldp::is_enabled(&lldptool::admin_status(nic.as_str(), left())?) {
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
    use std::collections::BTreeSet;

    use privileged::Millis;

    use super::*;

    #[test]
    fn cards_have_a_device_and_are_asked_only_when_up() {
        let net = tempfile::tempdir().unwrap();
        for (name, state, device) in [
            ("eth0", "up\n", true),
            ("eth1", "down\n", true),
            ("br0", "up\n", false),
        ] {
            let folder = net.path().join(name);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("operstate"), state).unwrap();
            if device {
                fs::create_dir(folder.join("device")).unwrap();
            }
        }
        let mut cards = cards(net.path());
        cards.sort();
        assert_eq!(
            cards.iter().map(IfName::as_str).collect::<Vec<_>>(),
            ["eth0", "eth1"]
        );
        let up: Vec<bool> = cards.iter().map(|it| is_up(net.path(), it)).collect();
        assert_eq!(up, [true, false]);
        assert!(!is_up(net.path(), &IfName::new("gone").unwrap()));
    }

    /// A card that is not there, with or without lldpad.
    #[test]
    fn nobody_listens_where_nothing_is() {
        let nic = IfName::new("vt-no-such").unwrap();
        let request = Lldp {
            nics: BTreeSet::from([nic.clone()]),
            deadline_ms: Millis::of(Duration::from_secs(30)),
        };
        let Ok(Reply::Lldp { nics }) = lldp(&request) else {
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
