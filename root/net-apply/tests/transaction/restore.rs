//! Restoration: what fails of one network is no other's affair.

use std::fs;

use net_model::{Base, Config, Network};
use privileged::{NetworkOutcome, NetworkSet};

use crate::world::{Host, after, before, ifname, net, soon, vlan_network};

/// The files say `persistent`; the kernel has `there`, which is what was set up last.
fn booted(persistent: &Config, there: &Config) -> (tempfile::TempDir, Host) {
    let dir = crate::world::scratch();
    let host = Host::with(&dir.path().join("host"), there);
    let link = host.places().persistent;
    let set = net_apply::store::Set::open(&link).unwrap();
    let new = net_model::netconf::Netconf::default().updated(persistent);
    let prepared = set.prepare(&new, &|_| ()).unwrap();
    set.commit(&prepared, &|_| ()).unwrap();
    (dir, host)
}

fn failed(outcome: &NetworkOutcome) -> Option<&str> {
    match outcome {
        NetworkOutcome::Failed(trouble) => Some(&trouble.why),
        _ => None,
    }
}

#[test]
fn virtual_functions_come_first_and_a_bad_card_fails_alone() {
    let mut config = after();
    for (card, number) in [("eth2", 4), ("eth9", 1)] {
        let record = serde_json::json!({"sriov": {"numvfs": number}});
        let record = record.as_object().unwrap().clone();
        config.devices.insert(card.to_owned(), record);
    }
    let (_dir, host) = booted(&config, &Config::default());
    let card = host.dir.join("sys/class/net/eth2/device");
    std::fs::create_dir_all(&card).unwrap();
    std::fs::write(card.join("sriov_numvfs"), "0\n").unwrap();
    std::fs::write(card.join("sriov_totalvfs"), "8\n").unwrap();
    // The interfaces that networks are on: nobody waits for them.
    for name in ["eth0", "eth1", "eth3"] {
        std::fs::create_dir_all(host.dir.join("sys/class/net").join(name)).unwrap();
    }
    let restored = host.all.restore(false, soon()).unwrap();
    let others: Vec<&str> = restored
        .others
        .iter()
        .map(|it| it.subject.as_str())
        .collect();
    assert_eq!(others, ["eth9"], "{restored:?}");
    assert!(restored.networks.values().all(|it| failed(it).is_none()));
    let number = std::fs::read_to_string(card.join("sriov_numvfs")).unwrap();
    assert_eq!(number.trim(), "4");
    assert_eq!(host.stored(NetworkSet::Running), config);
}

#[test]
fn from_nothing_to_all_once_and_again_only_by_force() {
    let (_dir, host) = booted(&after(), &Config::default());
    let restored = host.all.restore(false, soon()).unwrap();
    assert!(restored.is_whole() && !restored.already, "{restored:?}");
    assert_eq!(restored.networks.len(), 3);
    assert!(host.is(&after(), &Config::default()));
    assert_eq!(host.stored(NetworkSet::Running), after());
    assert!(host.dir.join("nets_restored").exists());
    assert!(host.all.restore(false, soon()).unwrap().already);
    let again = host.all.restore(true, soon()).unwrap();
    let unchanged = |it: &NetworkOutcome| matches!(it, NetworkOutcome::Unchanged {});
    assert!(
        !again.already && again.networks.values().all(unchanged),
        "{again:?}"
    );
    assert_eq!(host.all.state(soon()).unwrap().restored, Some(again));
    assert_eq!(
        host.all.state(soon()).unwrap().running,
        [2, 1],
        "stored once"
    );
}

/// Its bridge, its VLAN, its other addresses work; the host comes back with them.
#[test]
fn a_duplicate_address_is_told_and_its_network_restored() {
    let six = "2001:db8::2/64".parse().unwrap();
    let mut config = after();
    let management = config.networks.get_mut("ovirtmgmt").unwrap();
    management.ipv6.addresses.push(six);
    let (_dir, host) = booted(&config, &Config::default());
    host.model.faults.lock().unwrap().duplicate = Some(six);
    let restored = host.all.restore(false, soon()).unwrap();
    assert!(restored.networks.values().all(|it| failed(it).is_none()));
    let [told] = restored.others.as_slice() else {
        panic!("{restored:?}");
    };
    assert_eq!((told.subject.as_str(), told.code), ("ovirtmgmt", 22));
    assert!(told.why.contains("2001:db8::2/64"), "{told}");
    assert_eq!(host.stored(NetworkSet::Running), config);
    // The next one makes the kernel ask again.
    host.model.faults.lock().unwrap().duplicate = None;
    assert!(host.all.restore(true, soon()).unwrap().is_whole());
}

#[test]
fn what_is_not_safe_goes_and_what_is_the_same_is_not_touched() {
    let (_dir, host) = booted(&after(), &before());
    let restored = host.all.restore(true, soon()).unwrap();
    assert!(restored.is_whole(), "{restored:?}");
    assert_eq!(restored.networks[&net("goes")], NetworkOutcome::Removed {});
    assert_eq!(
        restored.networks[&net("stays")],
        NetworkOutcome::Unchanged {}
    );
    assert!(host.is(&after(), &before()));
}

#[test]
fn whatever_fails_of_one_network_the_others_come() {
    let steps = {
        let (_dir, host) = booted(&after(), &before());
        host.begin(&after(), true).unwrap().applied().steps.len()
    };
    let mut fallen = 0;
    for number in 0..steps {
        let (_dir, host) = booted(&after(), &before());
        host.model.faults.lock().unwrap().fail_at = Some(number);
        let restored = host.all.restore(true, soon()).unwrap();
        assert!(!restored.is_whole(), "{number}: {restored:?}");
        let bad: Vec<_> = restored
            .networks
            .iter()
            .filter(|(_, it)| failed(it).is_some())
            .map(|(name, _)| name.clone())
            .collect();
        assert!(bad.len() <= 1, "{number}: {restored:?}");
        fallen += bad.len();
        let mut rest = after();
        rest.networks.retain(|name, _| !bad.contains(name));
        let mut stored = rest.networks.clone();
        // What should have gone and did not is still ours.
        let goes = bad.iter().find(|it| **it == net("goes"));
        stored.extend(goes.map(|name| (name.clone(), before().networks[name].clone())));
        assert_eq!(host.stored(NetworkSet::Running).networks, stored);
        if !bad.is_empty() {
            for (name, network) in &rest.networks {
                let top = network.top(name).unwrap();
                let current = host.current();
                let link = current.links.get(&top);
                let link = link.unwrap_or_else(|| panic!("{number}: {name} is missing"));
                for address in &network.ipv4.addresses {
                    assert!(link.has(*address), "{number}: {name} {address}");
                }
            }
        }
        // The second time nothing fails, and all is there.
        host.model.faults.lock().unwrap().fail_at = None;
        let again = host.all.restore(true, soon()).unwrap();
        assert!(again.is_whole(), "{number}: {again:?}");
        assert!(host.is(&after(), &before()), "{number}");
    }
    assert!(fallen > 8, "{fallen}");
}

#[test]
fn many_fail_and_the_rest_comes() {
    let mut config = after();
    for number in 0..30 {
        let address = format!("10.50.{number}.1/24");
        let network = vlan_network(Base::Nic(ifname("eth5")), 100 + number, &address);
        config.networks.insert(net(&format!("n{number}")), network);
    }
    let (_dir, host) = booted(&config, &Config::default());
    let words = (0..30).filter(|it| it % 3 == 0);
    let words = words.map(|it| format!("address 10.50.{it}.1/"));
    host.model.faults.lock().unwrap().fail_words = words.collect();
    let restored = host.all.restore(true, soon()).unwrap();
    let bad = restored.networks.values().filter(|it| failed(it).is_some());
    assert_eq!(bad.count(), 10, "{restored:?}");
    assert_eq!(restored.networks.len(), 33);
    assert!(restored.others.is_empty(), "{restored:?}");
    for number in 0..30 {
        let there = host
            .current()
            .links
            .contains_key(format!("n{number}").as_str());
        assert_eq!(there, number % 3 != 0, "n{number}");
    }
}

#[test]
fn records_and_cards_that_are_bad_are_left_out_and_told() {
    let mut config = after();
    let lost = vlan_network(Base::Nic(ifname("eth17")), 9, "10.9.0.1/24");
    config.networks.insert(net("lost"), lost);
    let (_dir, host) = booted(&config, &before());
    let nets = host.places().persistent.join("nets");
    fs::write(nets.join("stays"), "{\"nic\": ").unwrap();
    let restored = host.all.restore(false, soon()).unwrap();
    let why = |name: &str| failed(&restored.networks[&net(name)]).unwrap_or_default();
    assert!(why("lost").contains("eth17"), "{restored:?}");
    assert!(why("stays").contains("nets/stays"), "{restored:?}");
    assert!(failed(&restored.networks[&net("ovirtmgmt")]).is_none());
    let current = host.current();
    assert!(
        current.links.contains_key("stays"),
        "a bad record removes nothing"
    );
    assert!(current.links.contains_key("ovirtmgmt") && !current.links.contains_key("goes"));
    assert!(host.dir.join("nets_restored").exists());
}

#[test]
fn the_management_network_is_first_up_and_only_touched_if_it_differs() {
    let mut config = after();
    config.networks.insert(
        net("a-first"),
        vlan_network(Base::Nic(ifname("eth5")), 8, "10.8.0.1/24"),
    );
    let (_dir, host) = booted(&config, &Config::default());
    host.model.faults.lock().unwrap().fail_words = vec!["address 10.".to_owned()];
    let restored = host.all.restore(true, soon()).unwrap();
    let management: &Network = &config.networks[&net("ovirtmgmt")];
    assert!(
        failed(&restored.networks[&net("ovirtmgmt")]).is_none(),
        "{restored:?}"
    );
    let current = host.current();
    assert!(current.links["ovirtmgmt"].has(management.ipv4.addresses[0]));
    let failures = restored.networks.values().filter(|it| failed(it).is_some());
    assert_eq!(failures.count(), 3);
}

#[test]
fn no_persistent_set_is_an_empty_one() {
    let dir = crate::world::scratch();
    let host = Host::with(&dir.path().join("host"), &Config::default());
    fs::remove_file(host.places().persistent).unwrap();
    let restored = host.all.restore(false, soon()).unwrap();
    assert!(
        restored.is_whole() && restored.networks.is_empty(),
        "{restored:?}"
    );
}

#[test]
fn no_time_left_is_told_of_each_and_the_next_goes_on() {
    let (_dir, host) = booted(&after(), &before());
    let restored = host.all.restore(true, std::time::Instant::now()).unwrap();
    assert!(
        failed(&restored.networks[&net("ovirtmgmt")])
            .unwrap()
            .contains("no time")
    );
    assert!(host.is(&before(), &after()), "nothing was begun");
    assert_eq!(
        host.stored(NetworkSet::Running).networks.len(),
        2,
        "goes is still ours"
    );
    assert!(host.all.restore(true, soon()).unwrap().is_whole());
    assert!(host.is(&after(), &before()));
}
