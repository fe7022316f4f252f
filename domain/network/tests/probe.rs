//! Reachability: verdicts, where they are shown, what is told, what survives a restart.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: what fails here is a failed test"
)]

use net_model::{
    Base, BridgeConfig, Config, IfName, NetName, Network, VlanId,
    probe::{Cause, Sample, Verdict},
};
use network::{Notice, Reachability};

const BAD: Sample = Sample::Bad(Cause::NoReply);

fn nic(name: &str) -> IfName {
    IfName::new(name).unwrap()
}

fn name(name: &str) -> NetName {
    NetName::new(name).unwrap()
}

/// A network with a probe (or none), on a NIC, perhaps with a VLAN.
fn network(base: &str, vlan: Option<i64>, target: Option<&str>) -> Network {
    let mut network = Network {
        base: Some(Base::Nic(nic(base))),
        vlan: vlan.map(|it| VlanId::new(it).unwrap()),
        ..Network::default()
    };
    if let Some(target) = target {
        for (key, value) in [
            ("ping_target", target),
            ("ping_fail_count", "2"),
            ("ping_recover_count", "2"),
        ] {
            network.custom.insert(key.to_owned(), value.to_owned());
        }
    }
    network
}

fn config(all: &[(&str, Network)]) -> Config {
    Config {
        networks: all
            .iter()
            .map(|(it, net)| (name(it), net.clone()))
            .collect(),
        ..Config::default()
    }
}

fn samples(all: &mut Reachability, network: &str, samples: &[Sample]) -> Vec<Notice> {
    let network = name(network);
    samples
        .iter()
        .filter_map(|it| all.observe(&network, *it))
        .collect()
}

fn shown(all: &Reachability) -> Vec<String> {
    all.down().keys().map(ToString::to_string).collect()
}

#[test]
fn one_notice_each_way() {
    let mut all = Reachability::default();
    let (asked, problems, _) = all.configure(&config(&[
        ("a", network("eth0", None, Some("192.0.2.1"))),
        ("b", network("eth1", None, None)),
    ]));
    assert_eq!((asked.len(), problems.len()), (1, 0));
    assert_eq!(asked[0].device, nic("eth0"));
    let first = samples(&mut all, "a", &[Sample::Good, Sample::Good]);
    assert!(
        matches!(first.as_slice(), [it] if !it.is_event() && !it.is_bad()),
        "{first:?}"
    );
    let down = samples(&mut all, "a", &[BAD; 5]);
    assert!(
        matches!(down.as_slice(), [it] if it.is_event() && it.is_bad()),
        "{down:?}"
    );
    assert_eq!(down[0].to_string(), "network a is down: no target replies");
    assert_eq!(shown(&all), ["eth0"]);
    let flapping = [Sample::Good, BAD, Sample::Good, BAD];
    assert_eq!(samples(&mut all, "a", &flapping), []);
    let up = samples(&mut all, "a", &[Sample::Good; 4]);
    assert!(
        matches!(up.as_slice(), [it] if it.is_event() && !it.is_bad()),
        "{up:?}"
    );
    assert!(shown(&all).is_empty());
    assert_eq!(samples(&mut all, "b", &[BAD; 9]), [], "nobody asks for it");
}

#[test]
fn siblings_keep_their_base() {
    let mut all = Reachability::default();
    let bridged = Network {
        bridge: Some(BridgeConfig::default()),
        ..network("bond0", Some(7), Some("192.0.2.1"))
    };
    let before = config(&[
        ("seven", bridged.clone()),
        ("eight", network("bond0", Some(8), Some("192.0.2.1"))),
        ("bare", network("bond0", None, None)),
    ]);
    all.configure(&before);
    samples(&mut all, "seven", &[BAD; 2]);
    assert_eq!(shown(&all), ["bond0.7", "seven"]);
    samples(&mut all, "eight", &[BAD; 2]);
    assert_eq!(
        shown(&all),
        ["bond0.7", "bond0.8", "seven"],
        "nobody asks for the third"
    );
    // Without the third all on the base are down: so is the base.
    all.configure(&config(&[
        ("seven", bridged),
        ("eight", network("bond0", Some(8), Some("192.0.2.1"))),
    ]));
    assert_eq!(shown(&all), ["bond0", "bond0.7", "bond0.8", "seven"]);
    samples(&mut all, "eight", &[Sample::Good; 2]);
    assert_eq!(shown(&all), ["bond0.7", "seven"]);
}

#[test]
fn an_untagged_network_beside_vlans_does_not_take_them_along() {
    let mut all = Reachability::default();
    all.configure(&config(&[
        ("bare", network("eth0", None, Some("192.0.2.1"))),
        ("vlan", network("eth0", Some(5), None)),
    ]));
    let down = samples(&mut all, "bare", &[BAD; 2]);
    assert!(down[0].is_event());
    assert!(shown(&all).is_empty());
}

#[test]
fn what_was_thought_survives_a_restart() {
    let before = config(&[("a", network("eth0", None, Some("192.0.2.1")))]);
    let mut all = Reachability::default();
    all.configure(&before);
    samples(&mut all, "a", &[BAD; 2]);
    let mut next = Reachability::new(all.keep());
    next.configure(&before);
    assert_eq!(
        next.verdict(&name("a")),
        Some(Verdict::Down(Cause::NoReply))
    );
    assert_eq!(shown(&next), ["eth0"]);
    // One good sample is not enough, as if there had been no restart.
    assert_eq!(samples(&mut next, "a", &[Sample::Good]), []);
    // Another target starts anew.
    let mut other = Reachability::new(all.keep());
    other.configure(&config(&[("a", network("eth0", None, Some("192.0.2.9")))]));
    assert_eq!(other.verdict(&name("a")), Some(Verdict::Unknown));
}

#[test]
fn a_verdict_goes_with_its_probe() {
    let mut all = Reachability::default();
    all.configure(&config(&[("a", network("eth0", None, Some("192.0.2.1")))]));
    samples(&mut all, "a", &[BAD; 2]);
    let (asked, _, withdrawn) = all.configure(&config(&[("a", network("eth0", None, None))]));
    assert!(asked.is_empty() && shown(&all).is_empty());
    assert!(matches!(withdrawn.as_slice(), [it] if it.is_event() && !it.is_bad()));
}

/// Three tries of which each is lost with 30 %, as the loop makes its samples: 100,000 of them, a week at five seconds.
#[test]
fn a_third_of_all_packets_lost_is_no_reason() {
    let mut all = Reachability::default();
    let mut plain = network("eth0", None, None);
    plain
        .custom
        .insert("ping_target".to_owned(), "192.0.2.1".to_owned());
    all.configure(&config(&[("a", plain)]));
    // Numbers that are the same in each run (MMIX's generator).
    let mut state: u64 = 20_261_122;
    let mut lost = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % 100 < 30
    };
    let (mut bad, mut notices) = (0, Vec::new());
    for _ in 0..100_000 {
        let answered = (0..net_model::probe::ATTEMPTS).any(|_| !lost());
        bad += u32::from(!answered);
        let sample = if answered { Sample::Good } else { BAD };
        notices.extend(all.observe(&name("a"), sample));
    }
    assert!((2_000..3_500).contains(&bad), "{bad} bad samples");
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert_eq!(notices[0].to, Verdict::Up);
}

#[test]
fn nonsense_is_told_and_not_asked() {
    let mut all = Reachability::default();
    let (asked, problems, _) = all.configure(&config(&[
        ("a", network("eth0", None, Some("router.example"))),
        ("b", network("eth1", None, Some("192.0.2.1"))),
    ]));
    assert_eq!((asked.len(), problems.len()), (1, 1));
    assert!(
        all.unable(&name("b")) && !all.unable(&name("b")),
        "told once"
    );
}
