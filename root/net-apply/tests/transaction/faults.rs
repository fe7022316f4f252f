//! What goes wrong while everybody lives: steps that fail, steps that lie, askers that do not answer, two at once.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use net_apply::{Asked, ChangeError};
use net_model::{Base, Cidr, Config};
use privileged::{NetworkSet, PendingStage, Recovered, Refusal};

use crate::world::{Faults, Host, after, before, change, ifname, net, soon, vlan_network};

fn fresh() -> (tempfile::TempDir, Host) {
    let dir = crate::world::scratch();
    let host = Host::with(&dir.path().join("host"), &before());
    (dir, host)
}

#[test]
fn a_change_is_pending_until_it_is_confirmed() {
    let (_dir, host) = fresh();
    let pending = host.begin(&after(), true).unwrap();
    assert!(host.is(&after(), &before()));
    assert!(!pending.applied().steps.is_empty());
    assert_eq!(host.stored(NetworkSet::Running), before());
    let state = host.all.state(soon()).unwrap();
    assert_eq!(state.pending.unwrap().stage, PendingStage::Unconfirmed);
    assert_eq!((state.running.len(), state.persistent.len()), (1, 1));
    let stored = pending.confirm().unwrap();
    assert_eq!((stored.running, stored.persistent), (Some(2), Some(2)));
    assert!(host.assert_whole(&before(), &after(), "confirmed"));
    let tables = host.tables();
    assert!(tables.get(&net("upon")).is_some() && tables.get(&net("goes")).is_none());
    assert_eq!(host.all.state(soon()).unwrap().pending, None);
}

#[test]
fn without_commit_the_persistent_set_stays() {
    let (_dir, host) = fresh();
    let stored = host.begin(&after(), false).unwrap().confirm().unwrap();
    assert_eq!((stored.running, stored.persistent), (Some(2), Some(1)));
    assert_eq!(host.stored(NetworkSet::Persistent), before());
    let stored = host.all.persist().unwrap();
    assert_eq!((stored.running, stored.persistent), (Some(2), Some(2)));
    assert_eq!(host.stored(NetworkSet::Persistent), after());
    assert_eq!(host.all.persist().unwrap(), stored, "nothing to store");
}

#[test]
fn a_change_that_is_dropped_or_given_up_is_undone() {
    let (_dir, host) = fresh();
    drop(host.begin(&after(), true).unwrap());
    assert!(!host.assert_whole(&before(), &after(), "dropped"));
    host.begin(&after(), true).unwrap().undo().unwrap();
    assert!(!host.assert_whole(&before(), &after(), "undone"));
}

#[test]
fn whichever_step_fails_all_is_as_before() {
    let (_dir, host) = fresh();
    let steps = host.all.plan(&change(&before(), &after()), soon()).unwrap();
    for number in 0..steps.steps.len() {
        host.model.steps.store(0, Ordering::SeqCst);
        host.model.faults.lock().unwrap().fail_at = Some(number);
        let error = host.begin(&after(), true).unwrap_err();
        assert!(matches!(error, ChangeError::Halted(_)), "{number}: {error}");
        assert_eq!(error.code(), 29);
        let Refusal::Network { code: 29, message } = error.refusal() else {
            panic!("{error:?}");
        };
        assert!(message.contains("told to fail"), "{message}");
        let words = steps.steps[number].step.to_string();
        assert!(message.contains(&words), "{message}: {words}");
        host.model.faults.lock().unwrap().fail_at = None;
        assert!(!host.assert_whole(&before(), &after(), &format!("step {number}")));
    }
}

#[test]
fn a_step_that_was_not_done_is_seen() {
    let (_dir, host) = fresh();
    host.model.faults.lock().unwrap().fail_words.clear();
    let plan = host.all.plan(&change(&before(), &after()), soon()).unwrap();
    let address = plan
        .steps
        .iter()
        .position(|it| it.step.to_string().contains("address 192.0.2.2/24"));
    host.model.steps.store(0, Ordering::SeqCst);
    // The routes over that address would be refused: leave out the last step of all instead if it comes before them.
    host.model.faults.lock().unwrap().skip_at = Some(plan.steps.len() - 1);
    let error = host.begin(&after(), true).unwrap_err();
    assert!(matches!(error, ChangeError::Unverified { .. }), "{error:?}");
    assert!(address.is_some());
    host.model.faults.lock().unwrap().skip_at = None;
    assert!(!host.assert_whole(&before(), &after(), "unverified"));
}

/// As [`after`], and the management network has this address, too.
fn with_six() -> (Config, Cidr) {
    let six: Cidr = "2001:db8::2/64".parse().unwrap();
    let mut config = after();
    let management = config.networks.get_mut("ovirtmgmt").unwrap();
    management.ipv6.addresses.push(six);
    (config, six)
}

fn named(error: &ChangeError) -> String {
    assert!(matches!(error, ChangeError::Duplicates { .. }), "{error:?}");
    let Refusal::Network { code: 22, message } = error.refusal() else {
        panic!("{error:?}");
    };
    let words = "ovirtmgmt: 2001:db8::2/64 on ovirtmgmt is a duplicate";
    assert!(message.contains(words), "{message}");
    message
}

#[test]
fn an_address_that_another_host_has_is_not_verified() {
    let (_dir, host) = fresh();
    let (wanted, six) = with_six();
    host.model.faults.lock().unwrap().duplicate = Some(six);
    named(&host.begin(&wanted, true).unwrap_err());
    assert!(!host.assert_whole(&before(), &wanted, "a duplicate"));
    // A step that fails for this very reason does not hide it.
    host.model.faults.lock().unwrap().fail_words =
        vec!["nameservers".to_owned(), "rule".to_owned()];
    named(&host.begin(&wanted, true).unwrap_err());
    assert!(!host.assert_whole(&before(), &wanted, "and a step that fails"));
    // The change is as good as any other when the address is free.
    *host.model.faults.lock().unwrap() = Faults::default();
    host.begin(&wanted, true).unwrap().confirm().unwrap();
    assert!(host.assert_whole(&before(), &wanted, "free"));
    // It was a duplicate before: the kernel is made to ask again, and as long as it is one nothing is changed.
    host.model.faults.lock().unwrap().duplicate = Some(six);
    let mut more = wanted.clone();
    more.networks.get_mut("ovirtmgmt").unwrap().mtu = 1500;
    named(&host.begin(&more, true).unwrap_err());
    *host.model.faults.lock().unwrap() = Faults::default();
    assert!(host.is(&wanted, &before()));
    assert_eq!(host.stored(NetworkSet::Running), wanted);
    host.assert_no_journal();
}

#[test]
fn the_kernel_is_waited_for_until_it_knows_who_has_an_address() {
    let (dir, host) = fresh();
    let (wanted, six) = with_six();
    let asking = Faults {
        duplicate: Some(six),
        undecided: 6,
        ..Faults::default()
    };
    drop(host);
    let host = Host::settling(&dir.path().join("host"), None, Duration::from_mins(1));
    *host.model.faults.lock().unwrap() = asking.clone();
    named(&host.begin(&wanted, true).unwrap_err());
    assert_eq!(host.model.faults.lock().unwrap().undecided, 0, "it waited");
    // But not for ever.
    drop(host);
    let host = Host::open(&dir.path().join("host"), None);
    *host.model.faults.lock().unwrap() = Faults {
        undecided: usize::MAX,
        ..asking
    };
    host.begin(&wanted, true).unwrap().confirm().unwrap();
    assert!(host.is(&wanted, &before()));
}

#[test]
fn what_cannot_be_undone_is_told_and_tried_again() {
    let (_dir, host) = fresh();
    let pending = host.begin(&after(), true).unwrap();
    *host.model.faults.lock().unwrap() = Faults {
        broken: true,
        ..Faults::default()
    };
    let error = pending.undo().unwrap_err();
    let Refusal::NetworkLeft { code: 10, left, .. } = error.refusal() else {
        panic!("{error:?}");
    };
    assert!(left.iter().any(|it| it.contains("goes")), "{left:?}");
    let again = Host::open(&host.dir, None);
    let recovered = again.all.recover(soon()).unwrap();
    assert!(
        matches!(recovered, Some(Recovered::Undone { .. })),
        "{recovered:?}"
    );
    assert_eq!(again.all.state(soon()).unwrap().recovered, recovered);
    assert!(!again.assert_whole(&before(), &after(), "tried again"));
    assert_eq!(again.all.recover(soon()).unwrap(), None);
}

#[test]
fn who_cannot_see_what_is_there_keeps_the_journal() {
    let (_dir, host) = fresh();
    std::mem::forget(host.begin(&after(), true).unwrap());
    let next = Host::open(&host.dir, None);
    next.model.faults.lock().unwrap().blind = true;
    let blind = next.all.recover(soon()).unwrap_err();
    assert!(matches!(blind, ChangeError::Unknown(_)), "{blind:?}");
    next.begin(&before(), true).unwrap_err();
    next.model.faults.lock().unwrap().blind = false;
    let recovered = next.all.recover(soon()).unwrap();
    assert!(
        matches!(recovered, Some(Recovered::Undone { .. })),
        "{recovered:?}"
    );
    assert!(!next.assert_whole(&before(), &after(), "seen at last"));
}

#[test]
fn a_change_that_cannot_be_written_down_takes_nothing_from_others() {
    let (_dir, host) = fresh();
    // Where the journal would be.
    std::fs::write(host.dir.join("state/change"), "").unwrap();
    host.begin(&after(), true).unwrap_err();
    assert!(host.holds(&before()), "others let go of what is not ours");
    std::fs::remove_file(host.dir.join("state/change")).unwrap();
    host.begin(&after(), true).unwrap().confirm().unwrap();
    assert!(host.holds(&after()));
}

#[test]
fn a_change_of_another_boot_has_nothing_to_undo() {
    let (_dir, host) = fresh();
    std::mem::forget(host.begin(&after(), true).unwrap());
    let journal = host.dir.join("state/change/change.json");
    let text = std::fs::read_to_string(&journal).unwrap();
    assert!(text.contains("\"boot\":\"this\""));
    std::fs::write(
        &journal,
        text.replace("\"boot\":\"this\"", "\"boot\":\"other\""),
    )
    .unwrap();
    let host = Host::open(&host.dir, None);
    assert_eq!(
        host.all.recover(soon()).unwrap(),
        Some(Recovered::Undone { steps: 0 })
    );
    assert!(host.is(&after(), &before()), "the kernel is not touched");
    host.assert_no_journal();
}

#[test]
fn a_damaged_journal_is_set_aside_and_told() {
    let (_dir, host) = fresh();
    let journal = host.dir.join("state/change");
    std::fs::create_dir_all(&journal).unwrap();
    std::fs::write(journal.join("change.json"), "{\"version\":1,").unwrap();
    let recovered = host.all.recover(soon()).unwrap();
    assert!(
        matches!(recovered, Some(Recovered::Left { .. })),
        "{recovered:?}"
    );
    host.begin(&after(), true).unwrap().confirm().unwrap();
    assert!(host.is(&after(), &before()));
}

#[test]
fn one_at_a_time() {
    let (_dir, host) = fresh();
    let pending = host.begin(&after(), true).unwrap();
    let busy = |error: ChangeError| matches!(error.refusal(), Refusal::NetworkBusy { .. });
    assert!(busy(host.begin(&after(), true).unwrap_err()));
    assert!(busy(host.all.persist().unwrap_err()));
    assert!(busy(host.all.restore(true, soon()).unwrap_err()));
    assert!(busy(host.all.recover(soon()).unwrap_err()));
    // What only looks is not held up.
    let nothing = change(&after(), &after());
    assert!(host.all.plan(&nothing, soon()).unwrap().is_empty());
    pending.undo().unwrap();
    host.begin(&after(), true).unwrap().confirm().unwrap();
}

#[test]
fn many_at_once_are_one_and_refusals() {
    let (_dir, host) = fresh();
    let host = Arc::new(host);
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let host = Arc::clone(&host);
            std::thread::spawn(move || {
                let asked = Asked {
                    desired: change(&before(), &after()),
                    persist: true,
                    until: soon(),
                    pid: None,
                };
                match host.all.begin(asked) {
                    Ok(change) => change.confirm().map(|_| true).unwrap(),
                    Err(ChangeError::Busy { .. } | ChangeError::Stale) => false,
                    Err(error) => panic!("{error:?}"),
                }
            })
        })
        .collect();
    let made = threads
        .into_iter()
        .filter(|_| true)
        .map(|it| it.join().unwrap());
    assert_eq!(made.filter(|it| *it).count(), 1);
    assert!(host.assert_whole(&before(), &after(), "many at once"));
}

#[test]
fn who_stores_at_the_same_time_stores_one_after_the_other() {
    let (_dir, host) = fresh();
    host.begin(&after(), false).unwrap().confirm().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| host.all.persist().unwrap());
        }
    });
    assert_eq!(host.stored(NetworkSet::Persistent), after());
    let state = host.all.state(soon()).unwrap();
    assert_eq!(
        state.persistent,
        [2, 1],
        "one of them had something to store"
    );
}

#[test]
fn a_change_from_what_is_not_there_any_more_is_refused() {
    let (_dir, host) = fresh();
    let asked = Asked {
        desired: change(&Config::default(), &after()),
        persist: true,
        until: soon(),
        pid: None,
    };
    let error = host.all.begin(asked).unwrap_err();
    assert!(matches!(error, ChangeError::Stale), "{error:?}");
    assert!(!host.assert_whole(&before(), &after(), "stale"));
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_written() {
    let (_dir, host) = fresh();
    let mut config = after();
    let base = Base::Nic(ifname("eth17"));
    config
        .networks
        .insert(net("none"), vlan_network(base, 9, "10.9.0.1/24"));
    let error = host.begin(&config, true).unwrap_err();
    assert_eq!(error.code(), 23, "{error:?}");
    assert!(!host.assert_whole(&before(), &config, "refused"));
    assert!(!host.dir.join("state/progress").exists());
}

#[test]
fn a_rollback_brings_an_older_generation_back() {
    let (_dir, host) = fresh();
    host.begin(&after(), true).unwrap().confirm().unwrap();
    let desired = host.all.older(NetworkSet::Persistent, 1).unwrap();
    assert_eq!(desired.after, before());
    let asked = |desired| Asked {
        desired,
        persist: true,
        until: soon(),
        pid: None,
    };
    let stored = host.all.begin(asked(desired)).unwrap().confirm().unwrap();
    assert_eq!((stored.running, stored.persistent), (Some(3), Some(3)));
    // Cards of a bond that is gone stay down: it is a change like any other, not its undoing.
    assert!(host.is(&before(), &after()));
    assert_eq!(host.stored(NetworkSet::Persistent), before());
    let none = host.all.older(NetworkSet::Running, 9).unwrap_err();
    assert!(matches!(none, ChangeError::NoGeneration { back: 9, .. }));
}

#[test]
fn a_thousand_networks_are_one_change() {
    let (_dir, host) = fresh();
    let mut config = before();
    for number in 0..1000 {
        let address = format!("10.{}.{}.1/24", 100 + number / 250, number % 250);
        let mut network = vlan_network(Base::Nic(ifname("eth4")), number + 100, &address);
        network.ipv4.gateway = Some(address.replace(".1/24", ".2").parse().unwrap());
        config.networks.insert(net(&format!("n{number}")), network);
    }
    // The model writes its whole state after every step: that is not what is looked at here.
    let began = Instant::now();
    let plan = host.all.plan(&change(&before(), &config), soon()).unwrap();
    println!(
        "planned {} steps in {:?}",
        plan.steps.len(),
        began.elapsed()
    );
    assert!(plan.steps.len() > 8_000);
    host.model.unsaved.store(true, Ordering::SeqCst);
    let began = Instant::now();
    let pending = host.begin(&config, true).unwrap();
    println!("begun in {:?}", began.elapsed());
    let journal = host.dir.join("state/change/change.json");
    println!("journal of {} bytes", journal.metadata().unwrap().len());
    pending.confirm().unwrap();
    println!("confirmed after {:?}", began.elapsed());
    assert!(host.is(&config, &before()));
    assert_eq!(host.stored(NetworkSet::Persistent), config);
    let began = Instant::now();
    drop(host.begin(&before(), true).unwrap());
    println!("removed and undone in {:?}", began.elapsed());
    assert!(host.is(&config, &before()));
}
