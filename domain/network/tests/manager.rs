//! The policy of changes over a host that is a model: what is refused before root is asked, what is undone, what lasts,
//! and what is news.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests: what fails here is a failed test"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, channel},
    },
    thread,
    time::{Duration, Instant},
};

use net_model::{
    Address, Config, Current, Desired, IfName, Link, LinkKind, Mac, NetError, Plan, Tables, plan,
    request::{CallOptions, NetworkAttributes, SetupRequest},
};
use network::{
    Change, LinkFigures, LldpState, NetworkError, NetworkManager, News, Observer, Pending, Root,
    RootError, RootState, Shown,
};

/// The host: a model of its kernel, and its files.
#[derive(Default)]
struct World {
    current: Current,
    running: Config,
    persistent: Config,
    /// What root was asked, in order.
    asked: Vec<String>,
    /// What root is to answer to the next change, instead of making it.
    refusal: Option<RootError>,
    /// What root is to answer when a change is undone.
    undoing: Option<RootError>,
    /// Did root die while a change was not confirmed?
    dead: bool,
    /// What root is to answer when one is confirmed, which is undone then.
    confirming: Option<RootError>,
}

/// The world behind both ports.
#[derive(Clone, Default)]
struct Host(Arc<Mutex<World>>);

impl Host {
    fn new() -> Self {
        let host = Self::default();
        for card in ["eth0", "eth1"] {
            let link = Link::new(LinkKind::Nic, Mac::default());
            host.0
                .lock()
                .unwrap()
                .current
                .links
                .insert(name(card), link);
        }
        host
    }

    fn manager(&self) -> NetworkManager {
        NetworkManager::new(
            Arc::new(self.clone()),
            Arc::new(self.clone()),
            Shown::default(),
        )
    }

    fn asked(&self) -> Vec<String> {
        self.0.lock().unwrap().asked.clone()
    }

    fn note(&self, what: &str) {
        self.0.lock().unwrap().asked.push(what.to_owned());
    }
}

impl Observer for Host {
    fn current(&self) -> Result<Current, NetworkError> {
        Ok(self.0.lock().unwrap().current.clone())
    }

    fn running(&self) -> Result<(Config, Vec<NetError>), NetworkError> {
        Ok((self.0.lock().unwrap().running.clone(), Vec::new()))
    }

    fn persistent(&self) -> Result<(Config, Vec<NetError>), NetworkError> {
        Ok((self.0.lock().unwrap().persistent.clone(), Vec::new()))
    }

    fn figures(&self) -> Result<BTreeMap<IfName, LinkFigures>, NetworkError> {
        Ok(BTreeMap::new())
    }
}

impl Root for Host {
    fn change(&self, change: Change) -> Result<Box<dyn Pending>, RootError> {
        self.note("change");
        let mut world = self.0.lock().unwrap();
        if let Some(refusal) = world.refusal.take() {
            return Err(refusal);
        }
        let before = world.current.clone();
        let plan = plan_of(&before, &change.desired);
        world.current = plan.result;
        drop(world);
        Ok(Box::new(Made {
            host: self.clone(),
            before,
            change,
        }))
    }

    fn plan(&self, desired: Desired) -> Result<Plan, RootError> {
        self.note("plan");
        let world = self.0.lock().unwrap();
        Ok(plan_of(&world.current, &desired))
    }

    fn persist(&self) -> Result<(), RootError> {
        self.note("persist");
        let mut world = self.0.lock().unwrap();
        world.persistent = world.running.clone();
        Ok(())
    }

    fn state(&self) -> Result<RootState, RootError> {
        Err(RootError::Absent("nobody".to_owned()))
    }

    fn lldp(&self, nics: BTreeSet<IfName>) -> Result<BTreeMap<IfName, LldpState>, RootError> {
        let heard = |nic| (nic, LldpState::default());
        Ok(nics.into_iter().map(heard).collect())
    }
}

fn plan_of(current: &Current, desired: &Desired) -> Plan {
    let mut tables = Tables::default();
    tables.allot(&desired.after, &BTreeSet::new()).unwrap();
    plan(current, desired, &tables).unwrap()
}

struct Made {
    host: Host,
    before: Current,
    change: Change,
}

impl Pending for Made {
    fn steps(&self) -> &[String] {
        &[]
    }

    fn is_held(&self) -> bool {
        !self.host.0.lock().unwrap().dead
    }

    fn confirm(self: Box<Self>) -> Result<(), RootError> {
        self.host.note("confirm");
        let mut world = self.host.0.lock().unwrap();
        if let Some(error) = world.confirming.take() {
            let carriers: Vec<_> = world
                .current
                .links
                .iter()
                .map(|(name, it)| (name.clone(), it.carrier))
                .collect();
            world.current = self.before.clone();
            for (name, carrier) in carriers {
                if let Some(link) = world.current.links.get_mut(&name) {
                    link.carrier = carrier;
                }
            }
            return Err(error);
        }
        world.running = self.change.desired.after.clone();
        if self.change.persist {
            world.persistent = world.running.clone();
        }
        Ok(())
    }

    fn undo(self: Box<Self>) -> Result<(), RootError> {
        self.host.note("undo");
        let mut world = self.host.0.lock().unwrap();
        world.current = self.before.clone();
        world.undoing.take().map_or(Ok(()), Err)
    }
}

fn name(text: &str) -> IfName {
    IfName::new(text).unwrap()
}

fn options(check: bool, seconds: u32) -> CallOptions {
    CallOptions {
        connectivity_check: check,
        connectivity_timeout: seconds,
        ..CallOptions::default()
    }
}

fn on(nic: &str, options: CallOptions) -> SetupRequest {
    let green = NetworkAttributes {
        nic: Some(nic.to_owned()),
        ipaddr: Some("192.0.2.2".to_owned()),
        prefix: Some(24.into()),
        ..NetworkAttributes::default()
    };
    SetupRequest {
        networks: [("green".to_owned(), green)].into(),
        options,
        ..SetupRequest::default()
    }
}

/// Waits for a condition that another thread brings about.
fn wait_for(what: &str, mut is: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_mins(1);
    while !is() {
        assert!(Instant::now() < until, "{what} does not come");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn what_cannot_be_is_refused_before_root_is_asked() {
    let host = Host::new();
    let manager = host.manager();
    for (nic, code) in [("eth9", 23), ("a/b", 23)] {
        let error = manager.setup(&on(nic, options(false, 4))).unwrap_err();
        let NetworkError::Refused(refused) = error else {
            panic!("{error:?}")
        };
        assert_eq!(refused.code(), code, "{nic}");
        assert!(manager.foresee(&on(nic, options(false, 4))).is_err());
    }
    assert!(host.asked().is_empty());
}

#[test]
fn without_a_check_nobody_is_waited_for() {
    let host = Host::new();
    let manager = host.manager();
    manager.setup(&on("eth0", options(false, 600))).unwrap();
    assert_eq!(host.asked(), ["change", "confirm"]);
    assert!(manager.is_dirty(), "it is not safe yet");
    manager.set_safe().unwrap();
    assert!(!manager.is_dirty());
    assert_eq!(host.asked(), ["change", "confirm", "persist"]);
    let info = manager.info().unwrap();
    assert_eq!(info.networks["green"].southbound.as_deref(), Some("eth0"));
    assert!(!info.dirty);
}

#[test]
fn commit_on_success_makes_it_safe_at_once() {
    let host = Host::new();
    let manager = host.manager();
    let committed = CallOptions {
        commit_on_success: true,
        ..options(false, 4)
    };
    manager.setup(&on("eth0", committed)).unwrap();
    assert!(!manager.is_dirty());
    // A new agent sees the same.
    assert!(!host.manager().is_dirty());
}

#[test]
fn what_nobody_confirms_is_undone() {
    let host = Host::new();
    let manager = host.manager();
    let before = host.current().unwrap();
    // Too early: it does not count.
    manager.confirm();
    let error = manager.setup(&on("eth0", options(true, 0))).unwrap_err();
    assert_eq!(error, NetworkError::NotConfirmed { left: None });
    assert_eq!(error.to_string(), "connectivity check failed");
    assert_eq!(host.asked(), ["change", "undo"]);
    assert_eq!(host.current().unwrap(), before);
    assert!(!manager.is_dirty());
    // What could not be undone is said.
    host.0.lock().unwrap().undoing = Some(RootError::Failed("half of it".to_owned()));
    let error = manager.setup(&on("eth0", options(true, 0))).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("not known to be undone: half of it")
    );
}

#[test]
fn the_death_of_root_ends_the_wait() {
    let host = Host::new();
    let manager = host.manager();
    let before = host.current().unwrap();
    host.0.lock().unwrap().dead = true;
    let error = manager.setup(&on("eth0", options(true, 600))).unwrap_err();
    assert_eq!(error, NetworkError::Orphaned { left: None });
    assert_eq!(host.asked(), ["change", "undo"]);
    assert_eq!(host.current().unwrap(), before);
    host.0.lock().unwrap().undoing = Some(RootError::Failed("nobody came back".to_owned()));
    let error = manager.setup(&on("eth0", options(true, 600))).unwrap_err();
    let told = error.to_string();
    assert!(
        told.contains("root helper") && told.ends_with("not known to be undone: nobody came back")
    );
}

/// A setup under way on a thread of its own, made by root and not confirmed yet.
fn under_way(host: &Host, manager: &Arc<NetworkManager>) -> Receiver<Result<(), NetworkError>> {
    let (told, answer) = channel();
    let other = Arc::clone(manager);
    thread::spawn(move || {
        let _ = told.send(other.setup(&on("eth0", options(true, 600))));
    });
    wait_for("the change", || host.asked().contains(&"change".to_owned()));
    answer
}

#[test]
fn one_change_at_a_time_and_all_can_be_seen_meanwhile() {
    let host = Host::new();
    let manager = Arc::new(host.manager());
    let answer = under_way(&host, &manager);
    let request = on("eth1", options(false, 4));
    assert_eq!(manager.setup(&request), Err(NetworkError::Busy));
    assert_eq!(manager.foresee(&request).unwrap_err(), NetworkError::Busy);
    assert_eq!(manager.set_safe(), Err(NetworkError::Busy));
    assert!(manager.info().is_ok());
    assert!(manager.look().is_none(), "no picture of what may go again");
    assert!(answer.try_recv().is_err(), "it waits");
    wait_for("its end", || {
        manager.confirm();
        host.asked().contains(&"confirm".to_owned())
    });
    answer
        .recv_timeout(Duration::from_mins(1))
        .unwrap()
        .unwrap();
    wait_for("the turn", || manager.look().is_some());
}

#[test]
fn a_dry_run_asks_root_and_changes_nothing() {
    let host = Host::new();
    let manager = host.manager();
    let before = host.current().unwrap();
    let foreseen = manager.foresee(&on("eth0", options(true, 4))).unwrap();
    assert_eq!(host.asked(), ["plan"]);
    assert_eq!(host.current().unwrap(), before);
    assert!(!foreseen.plan.is_empty());
    let green = &foreseen.info.networks["green"];
    assert_eq!(green.ip.ipv4, ["192.0.2.2/24".parse().unwrap()]);
    assert!(foreseen.info.dirty, "it would not be safe");
    assert!(!manager.is_dirty());
}

#[test]
fn what_root_says_is_said() {
    let host = Host::new();
    let manager = host.manager();
    let refused = RootError::Refused {
        code: 29,
        message: "eth0 does not come up".to_owned(),
    };
    for refusal in [refused, RootError::Busy, RootError::Stale] {
        host.0.lock().unwrap().refusal = Some(refusal.clone());
        let error = manager.setup(&on("eth0", options(false, 4))).unwrap_err();
        assert_eq!(error, NetworkError::Root(refusal));
    }
    // None of them is in the way of the next.
    manager.setup(&on("eth0", options(false, 4))).unwrap();
}

fn change_link(host: &Host, nic: &str, how: impl FnOnce(&mut Link)) {
    let mut world = host.0.lock().unwrap();
    how(world.current.links.get_mut(&name(nic)).unwrap());
}

#[test]
fn news_are_what_happens_by_itself() {
    let host = Host::new();
    let manager = host.manager();
    let mut before = manager.look().unwrap();
    let mut is_news = || {
        let now = manager.look().unwrap();
        let news = now.is_news_after(&before);
        before = now;
        news
    };
    assert!(!is_news());
    change_link(&host, "eth1", |it| it.carrier = false);
    assert!(is_news() && !is_news());
    let address = |text: &str| Address::lasting(text.parse().unwrap());
    change_link(&host, "eth1", |it| it.addresses.push(address("fe80::1/64")));
    assert!(!is_news(), "a link-local address");
    // An address is another host's, too; it is none any more.
    for (text, dad_failed) in [
        ("2001:db8::2/64", false),
        ("2001:db8::2/64", true),
        ("2001:db8::2/64", false),
        ("fe80::1/64", true),
    ] {
        let it = Address {
            dad_failed,
            ..address(text)
        };
        change_link(&host, "eth1", |link| {
            link.addresses.retain(|old| old.cidr != it.cidr);
            link.addresses.push(it);
        });
        assert!(is_news() && !is_news(), "{text} {dad_failed}");
    }
    // Whether the kernel still asks is none.
    change_link(&host, "eth1", |it| it.addresses[1].tentative = true);
    assert!(!is_news());
    // A change of ours is none, but what happens right after it is.
    manager.setup(&on("eth0", options(false, 4))).unwrap();
    assert!(!is_news());
    manager.setup(&on("eth1", options(false, 4))).unwrap();
    change_link(&host, "green", |it| {
        it.addresses.push(address("10.0.0.5/8"));
    });
    assert!(is_news() && !is_news());
    // A guest's tap comes and goes.
    let tap = Link {
        master: Some(name("green")),
        ..Link::new(LinkKind::Other("tun".to_owned()), Mac::default())
    };
    let mut world = host.0.lock().unwrap();
    world.current.links.insert(name("vnet0"), tap);
    drop(world);
    assert!(!is_news());
}

#[test]
fn what_is_heard_while_nothing_can_be_seen_is_told_later() {
    let host = Host::new();
    let manager = Arc::new(host.manager());
    let mut news = News::since(manager.look());
    assert!(!news.is_look_needed(false));
    let answer = under_way(&host, &manager);
    change_link(&host, "eth1", |it| it.carrier = false);
    assert!(news.is_look_needed(true));
    assert!(!news.take(manager.look()), "the change may be undone");
    assert!(news.is_look_needed(false), "it is not forgotten");
    // The change fails: who asked for it knows of that alone.
    host.0.lock().unwrap().confirming =
        Some(RootError::Failed("the files cannot be written".to_owned()));
    wait_for("its end", || {
        manager.confirm();
        manager.look().is_some()
    });
    assert!(
        answer
            .recv_timeout(Duration::from_mins(1))
            .unwrap()
            .is_err()
    );
    assert!(news.take(manager.look()));
    assert!(!news.is_look_needed(false));
    // Nothing is owed where nothing was seen at first.
    let mut first = News::since(None);
    assert!(first.is_look_needed(true) && !first.take(manager.look()));
    assert!(!first.is_look_needed(false));
}

#[test]
fn lldp_is_asked_of_all_cards_or_of_those_named() {
    let manager = Host::new().manager();
    let asked = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|it| (*it).to_owned()).collect();
        manager.lldp(&names).map(|it| it.into_keys().collect())
    };
    let all: Vec<String> = asked(&[]).unwrap();
    assert_eq!(all, ["eth0", "eth1"]);
    assert_eq!(asked(&["eth1"]).unwrap(), ["eth1"]);
    let error: Result<Vec<String>, _> = asked(&["no/such"]);
    assert!(matches!(error, Err(NetworkError::Refused(_))));
}
