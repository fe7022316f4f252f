//! libvirt's networks as one picture: against the driver inside the client library, and against a daemon.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests: what fails here is a failed test"
)]

#[expect(dead_code, reason = "tests of domains use the rest")]
mod common;

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use libvirt::{Libvirt, LibvirtConfig, NetworkDevice, NetworkOutcome, NetworkSnapshot};
use uuid::Uuid;

use common::Daemon;

fn bridge(name: &str) -> NetworkDevice {
    NetworkDevice::Bridge(name.to_owned())
}

/// The picture once it is as wanted: events take their time.
fn seen(libvirt: &Libvirt, wanted: impl Fn(&NetworkSnapshot) -> bool) -> Arc<NetworkSnapshot> {
    let end = Instant::now() + Duration::from_mins(1);
    loop {
        if let Ok(networks) = libvirt.networks()
            && wanted(&networks)
        {
            return networks;
        }
        assert!(
            Instant::now() < end,
            "the picture stays wrong: {:?}",
            libvirt.networks()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn networks_come_and_go_and_are_made_anew() {
    let libvirt = Libvirt::connect(LibvirtConfig::new("test:///default")).unwrap();
    // The driver's state is shared by all tests of this process.
    let name = format!("n-{}", Uuid::new_v4().simple());
    let ensure = |device: &NetworkDevice| libvirt.ensure_network(&name, device).unwrap();
    assert_eq!(ensure(&bridge("red")), NetworkOutcome::Changed);
    assert_eq!(ensure(&bridge("red")), NetworkOutcome::Identity);
    let networks = libvirt.networks().unwrap();
    let network = &networks[&name];
    assert_eq!(network.device, Some(bridge("red")));
    assert!(network.active && network.persistent && network.autostart);
    assert!(!networks.contains_key("default"), "not ours");
    let again = libvirt.networks().unwrap();
    assert_eq!(again[&name], networks[&name]);
    // Another device: made anew.
    let interface = NetworkDevice::Interface("eth7".to_owned());
    assert_eq!(ensure(&interface), NetworkOutcome::Changed);
    assert_eq!(libvirt.networks().unwrap()[&name].device, Some(interface));
    assert_eq!(libvirt.remove_network(&name), Ok(NetworkOutcome::Changed));
    assert_eq!(libvirt.remove_network(&name), Ok(NetworkOutcome::Identity));
    assert!(!libvirt.networks().unwrap().contains_key(&name));
}

#[test]
fn a_name_that_cannot_be_one_makes_nothing() {
    let libvirt = Libvirt::connect(LibvirtConfig::new("test:///default")).unwrap();
    for name in ["", "a/b", "a\nb"] {
        assert!(
            libvirt.ensure_network(name, &bridge("red")).is_err(),
            "{name:?}"
        );
        assert!(libvirt.remove_network(name).is_err(), "{name:?}");
    }
}

/// Two hundred networks in one picture; what others do shows; a daemon that comes again is looked at anew.
#[test]
fn session_two_hundred_networks_are_one_picture() {
    let Some(mut daemon) = Daemon::start() else {
        return;
    };
    let libvirt = Libvirt::connect(daemon.config()).unwrap();
    let strange = ["a&b<c>\"'", "\u{e4}\u{f6}", "with space", "-dash", "100%s"];
    let names: BTreeSet<String> = (0..195)
        .map(|it| format!("net{it}"))
        .chain(strange.map(str::to_owned))
        .collect();
    for name in &names {
        let made = libvirt.ensure_network(name, &bridge("vt-no-such-br"));
        match made {
            Ok(outcome) => assert_eq!(outcome, NetworkOutcome::Changed, "{name}"),
            Err(error) => panic!("{name}: {error}"),
        }
    }
    let networks = seen(&libvirt, |it| it.len() == names.len());
    assert_eq!(networks.keys().cloned().collect::<BTreeSet<_>>(), names);
    let all_up = networks
        .values()
        .all(|it| it.active && it.autostart && it.persistent);
    assert!(all_up);
    // Once the last event of the making has come nobody is asked any more.
    let end = Instant::now() + Duration::from_mins(1);
    while !Arc::ptr_eq(&libvirt.networks().unwrap(), &libvirt.networks().unwrap()) {
        assert!(Instant::now() < end, "each question makes a picture");
        std::thread::sleep(Duration::from_millis(20));
    }

    // Somebody else.
    let other = Libvirt::connect(daemon.config()).unwrap();
    other
        .ensure_network("theirs", &bridge("vt-other-br"))
        .unwrap();
    let networks = seen(&libvirt, |it| it.contains_key("theirs"));
    assert_eq!(networks["theirs"].device, Some(bridge("vt-other-br")));
    let theirs = seen(&other, |it| it.contains_key("theirs"));
    assert_eq!(theirs, networks, "whoever asks sees the same");
    other.remove_network("theirs").unwrap();
    seen(&libvirt, |it| !it.contains_key("theirs"));

    // A daemon that was killed.
    daemon.kill();
    daemon.restart();
    let networks = seen(&libvirt, |it| it.len() == names.len());
    assert!(networks.values().all(|it| it.persistent));
    // Networks that go away while others look.
    let looking = Arc::new(libvirt);
    let looker = {
        let libvirt = Arc::clone(&looking);
        std::thread::spawn(move || {
            let end = Instant::now() + Duration::from_mins(2);
            while libvirt.networks().unwrap().len() > 150 {
                assert!(Instant::now() < end, "they do not go away");
            }
        })
    };
    for name in names.iter().take(60) {
        let removed = other_or(&looking, &other, name);
        assert_eq!(removed, NetworkOutcome::Changed, "{name}");
    }
    looker.join().unwrap();
    let left = seen(&looking, |it| it.len() == names.len() - 60);
    assert!(names.iter().take(60).all(|it| !left.contains_key(it)));
}

/// Removes by the other connection, once that has come again.
fn other_or(libvirt: &Libvirt, other: &Libvirt, name: &str) -> NetworkOutcome {
    match other.remove_network(name) {
        Ok(outcome) => outcome,
        Err(_) => libvirt.remove_network(name).unwrap(),
    }
}
