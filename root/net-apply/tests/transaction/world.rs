//! A host in a folder: the kernel's state in a file, both sets of files, journal, marker.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use net_apply::{
    ApplyError, Asked, Change, ChangeError, Halted, Machine, Places, Point, Transactions, Watcher,
    managers::Held,
};
use net_model::{
    Base, Bond, BridgeConfig, Cidr, Config, Current, Desired, IfName, Kernel, Link, LinkKind, Mac,
    NetName, Network, Planned, Scope, Step, Tables, plan,
};
use observe::netconf::Netconfs;
use privileged::NetworkSet;

pub(crate) fn ifname(text: &str) -> IfName {
    IfName::new(text).unwrap()
}

pub(crate) fn net(text: &str) -> NetName {
    NetName::new(text).unwrap()
}

/// In memory where there is such a folder: what a killed process has written is there, synced or not, and thousands of syncs
/// take minutes on a disk. What needs a disk is in `disk.rs`.
pub(crate) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_mins(2)
}

/// Six cards.
pub(crate) fn bare() -> Current {
    let mut links = BTreeMap::new();
    links.insert(ifname("lo"), Link::new(LinkKind::Loopback, Mac::default()));
    for number in 0..6 {
        let link = Link::new(LinkKind::Nic, Mac::new([2, 0, 0, 0, 0, number]));
        links.insert(ifname(&format!("eth{number}")), link);
    }
    Current {
        links,
        ipv6: true,
        ..Current::default()
    }
}

pub(crate) fn vlan_network(base: Base, id: i64, address: &str) -> Network {
    let mut network = Network {
        base: Some(base),
        vlan: Some(net_model::VlanId::new(id).unwrap()),
        bridge: Some(BridgeConfig::default()),
        ..Network::default()
    };
    network.ipv4.addresses.push(address.parse().unwrap());
    network
}

/// A network to go, and one that stays.
pub(crate) fn before() -> Config {
    let mut config = Config::default();
    let stays = vlan_network(Base::Nic(ifname("eth1")), 5, "10.5.0.2/24");
    let goes = vlan_network(Base::Nic(ifname("eth1")), 6, "10.6.0.2/24");
    config.networks.insert(net("stays"), stays);
    config.networks.insert(net("goes"), goes);
    config
}

/// The one that stays, a management network, one on a bond.
pub(crate) fn after() -> Config {
    let mut config = before();
    config.networks.remove("goes");
    let mut management = Network {
        base: Some(Base::Nic(ifname("eth0"))),
        bridge: Some(BridgeConfig::default()),
        default_route: true,
        mtu: 9000,
        ..Network::default()
    };
    management.ipv4.addresses = vec!["192.0.2.2/24".parse().unwrap()];
    management.ipv4.gateway = Some("192.0.2.1".parse().unwrap());
    config.networks.insert(net("ovirtmgmt"), management);
    let bond = Bond {
        slaves: BTreeSet::from([ifname("eth2"), ifname("eth3")]),
        ..Bond::default()
    };
    config.bonds.insert(ifname("bond0"), bond);
    let mut upon = vlan_network(Base::Bond(ifname("bond0")), 7, "10.7.0.2/24");
    upon.ipv4.gateway = Some("10.7.0.1".parse().unwrap());
    config.networks.insert(net("upon"), upon);
    config
}

pub(crate) fn change(before: &Config, after: &Config) -> Desired {
    Desired {
        before: before.clone(),
        after: after.clone(),
        scope: Scope::All,
    }
}

/// What a machine does wrong.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    /// Steps that run before one fails.
    pub(crate) fail_at: Option<usize>,
    /// Steps with these words fail.
    pub(crate) fail_words: Vec<String>,
    /// This step is not done, and nobody is told.
    pub(crate) skip_at: Option<usize>,
    /// Nothing can be undone, nor done.
    pub(crate) broken: bool,
    /// What is there is not told.
    pub(crate) blind: bool,
    /// Another host has this address,
    pub(crate) duplicate: Option<Cidr>,
    /// and the kernel asks for so many looks, before it knows that.
    pub(crate) undecided: usize,
}

/// Ends the process at its n-th point.
#[derive(Debug)]
pub(crate) struct Fuse {
    left: AtomicUsize,
}

impl Fuse {
    pub(crate) fn new(points: usize) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicUsize::new(points),
        })
    }

    pub(crate) fn burn(&self) {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            let me = rustix::process::getpid();
            let _ = rustix::process::kill_process(me, rustix::process::Signal::KILL);
            std::thread::sleep(Duration::from_mins(1));
        }
    }
}

impl Watcher for Fuse {
    fn at(&self, _point: &Point) {
        self.burn();
    }
}

/// The model of the kernel; its state is in a file after every step.
pub(crate) struct Model {
    file: PathBuf,
    kernel: Mutex<Kernel>,
    pub(crate) faults: Mutex<Faults>,
    pub(crate) steps: AtomicUsize,
    /// The state is not written any more.
    pub(crate) unsaved: AtomicBool,
    fuse: Option<Arc<Fuse>>,
}

impl Model {
    fn step(&self, step: &Step) -> Result<(), ApplyError> {
        let number = self.steps.fetch_add(1, Ordering::SeqCst);
        let faults = self.faults.lock().unwrap().clone();
        let failed = |why: String| ApplyError::File {
            step: Box::new(step.clone()),
            path: "model".to_owned(),
            source: std::io::Error::other(why),
        };
        let words = step.to_string();
        let bad = faults.fail_words.iter().any(|it| words.contains(it));
        if faults.broken || bad || faults.fail_at == Some(number) {
            return Err(failed("it was told to fail".to_owned()));
        }
        if faults.skip_at == Some(number) {
            return Ok(());
        }
        let mut kernel = self.kernel.lock().unwrap();
        kernel.apply(step).map_err(|it| failed(it.to_string()))?;
        if !self.unsaved.load(Ordering::SeqCst) {
            self.save(kernel.state());
        }
        if let Some(fuse) = &self.fuse {
            fuse.burn();
        }
        Ok(())
    }

    fn save(&self, state: &Current) {
        let new = self.file.with_extension("new");
        fs::write(&new, serde_json::to_vec(state).unwrap()).unwrap();
        fs::rename(new, &self.file).unwrap();
    }
}

impl Machine for Model {
    fn current(&self, _until: Instant) -> Result<Current, ApplyError> {
        if self.faults.lock().unwrap().blind {
            return Err(ApplyError::Manager {
                manager: "the kernel",
                why: "it does not answer".to_owned(),
            });
        }
        let mut state = self.kernel.lock().unwrap().state().clone();
        let mut faults = self.faults.lock().unwrap();
        let duplicate = faults.duplicate;
        let all = state.links.values_mut().flat_map(|it| &mut it.addresses);
        for address in all.filter(|it| Some(it.cidr) == duplicate) {
            address.tentative = true;
            address.dad_failed = faults.undecided == 0;
            faults.undecided = faults.undecided.saturating_sub(1);
        }
        Ok(state)
    }

    fn run(&self, steps: &[Planned], _until: Instant) -> Result<(), Halted> {
        for (number, planned) in steps.iter().enumerate() {
            self.step(&planned.step).map_err(|source| Halted {
                done: (0..number).collect(),
                failed: number,
                source,
                others: Vec::new(),
            })?;
        }
        Ok(())
    }

    fn own(&self, held: &Held, _until: Instant) -> Result<bool, ApplyError> {
        if !self.unsaved.load(Ordering::SeqCst) {
            fs::write(self.file.with_file_name("held"), format!("{held:?}")).unwrap();
        }
        if let Some(fuse) = &self.fuse {
            fuse.burn();
        }
        Ok(false)
    }

    fn undo(&self, steps: &[Step], _until: Instant) -> Vec<ApplyError> {
        steps.iter().filter_map(|it| self.step(it).err()).collect()
    }
}

/// A host in a folder.
pub(crate) struct Host {
    pub(crate) dir: PathBuf,
    pub(crate) model: Arc<Model>,
    pub(crate) all: Transactions,
}

impl Host {
    /// A fresh one: this configuration is in the kernel and in both sets.
    pub(crate) fn with(dir: &Path, config: &Config) -> Self {
        fs::create_dir_all(dir).unwrap();
        let mut kernel = Kernel::new(bare());
        let desired = change(&Config::default(), config);
        let plan = plan(kernel.state(), &desired, &tables(config)).unwrap();
        for it in &plan.steps {
            kernel.apply(&it.step).unwrap();
        }
        let state = serde_json::to_vec(kernel.state()).unwrap();
        fs::write(dir.join("kernel"), state).unwrap();
        fs::create_dir_all(dir.join("state")).unwrap();
        fs::write(dir.join("state/tables.json"), tables(config).encode()).unwrap();
        let host = Self::open(dir, None);
        for set in [&host.places().running, &host.places().persistent] {
            let set = net_apply::store::Set::open(set).unwrap();
            let new = net_model::netconf::Netconf::default().updated(config);
            let prepared = set.prepare(&new, &|_| ()).unwrap();
            set.commit(&prepared, &|_| ()).unwrap();
        }
        host
    }

    /// The one that is there, as a new process finds it.
    pub(crate) fn open(dir: &Path, fuse: Option<Arc<Fuse>>) -> Self {
        // The model shows everything at once.
        Self::settling(dir, fuse, Duration::ZERO)
    }

    /// The same, where the kernel gets that much time to show what it was told.
    pub(crate) fn settling(dir: &Path, fuse: Option<Arc<Fuse>>, settle: Duration) -> Self {
        let file = dir.join("kernel");
        let state: Current = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let model = Arc::new(Model {
            file,
            kernel: Mutex::new(Kernel::new(state)),
            faults: Mutex::default(),
            steps: AtomicUsize::new(0),
            unsaved: AtomicBool::new(false),
            fuse: fuse.clone(),
        });
        let places = Places {
            netconfs: Netconfs::at(dir),
            state: dir.join("state"),
            sysfs: dir.join("sys"),
            restored: dir.join("nets_restored"),
            boot: "this".to_owned(),
            settle,
        };
        let watcher: Arc<dyn Watcher> = match fuse {
            Some(fuse) => fuse,
            None => Arc::new(net_apply::Logged),
        };
        let machine: Arc<dyn Machine> = Arc::clone(&model) as Arc<dyn Machine>;
        let all = Transactions::new(machine, places, watcher);
        Self {
            dir: dir.to_owned(),
            model,
            all,
        }
    }

    pub(crate) fn places(&self) -> Netconfs {
        Netconfs::at(&self.dir)
    }

    pub(crate) fn begin(&self, after: &Config, persist: bool) -> Result<Change<'_>, ChangeError> {
        let before = self.stored(NetworkSet::Running);
        self.all.begin(Asked {
            desired: change(&before, after),
            persist,
            until: soon(),
            pid: None,
        })
    }

    /// Do other managers leave alone what this configuration has, and nothing else? Also if they were never told.
    pub(crate) fn holds(&self, config: &Config) -> bool {
        let told = fs::read_to_string(self.dir.join("held"));
        told.map_or(true, |it| it == format!("{:?}", Held::of(&[config])))
    }

    pub(crate) fn current(&self) -> Current {
        self.model.kernel.lock().unwrap().state().clone()
    }

    /// What a set of files says; it must be whole.
    pub(crate) fn stored(&self, set: NetworkSet) -> Config {
        let places = self.places();
        let link = match set {
            NetworkSet::Running => places.running,
            NetworkSet::Persistent => places.persistent,
        };
        let found = observe::netconf::read(&link).unwrap();
        assert!(found.problems.is_empty(), "{:?}", found.problems);
        let (config, problems) = found.netconf.config();
        assert!(problems.is_empty(), "{problems:?}");
        config
    }

    /// Is the kernel as this configuration has it, and nothing more?
    pub(crate) fn is(&self, config: &Config, others: &Config) -> bool {
        let mut desired = change(others, config);
        for (name, network) in &config.networks {
            desired
                .before
                .networks
                .insert(name.clone(), network.clone());
        }
        for (name, bond) in &config.bonds {
            desired.before.bonds.insert(name.clone(), bond.clone());
        }
        let mut tables = self.tables();
        tables.allot(config, &BTreeSet::new()).unwrap();
        tables.allot(others, &BTreeSet::new()).unwrap();
        plan(&self.current(), &desired, &tables).unwrap().is_empty()
    }

    pub(crate) fn tables(&self) -> Tables {
        let bytes = fs::read(self.dir.join("state/tables.json")).unwrap_or_default();
        Tables::decode(&bytes).unwrap_or_default()
    }

    /// Nothing is left of a change.
    pub(crate) fn assert_no_journal(&self) {
        for folder in ["change", "word"] {
            let path = self.dir.join("state").join(folder);
            let names: Vec<_> = fs::read_dir(path)
                .map(|all| all.map(|it| it.unwrap().file_name()).collect())
                .unwrap_or_default();
            assert!(names.is_empty(), "{folder}: {names:?}");
        }
    }

    /// Before or after, in the kernel and in the files, and nothing of the other.
    pub(crate) fn assert_whole(&self, before: &Config, after: &Config, what: &str) -> bool {
        let running = self.stored(NetworkSet::Running);
        let persistent = self.stored(NetworkSet::Persistent);
        assert_eq!(running, persistent, "{what}");
        let made = running == *after;
        assert!(made || running == *before, "{what}: files between");
        let (now, other) = if made {
            (after, before)
        } else {
            (before, after)
        };
        assert!(
            self.is(now, other),
            "{what}: the kernel is not as the files"
        );
        let (got, wanted) = (self.current(), reached(now));
        assert_eq!(got.routes, wanted.routes, "{what}");
        assert_eq!(got.rules, wanted.rules, "{what}");
        for (name, link) in &wanted.links {
            let found = got.links.get(name);
            let found = found.unwrap_or_else(|| panic!("{what}: {name} is missing"));
            assert_eq!(
                (found.mtu, found.up, &found.master, &found.addresses),
                (link.mtu, link.up, &link.master, &link.addresses),
                "{what}: {name}"
            );
        }
        assert_eq!(got.links.len(), wanted.links.len(), "{what}");
        self.assert_no_journal();
        made
    }
}

fn tables(config: &Config) -> Tables {
    let mut tables = Tables::default();
    tables.allot(config, &BTreeSet::new()).unwrap();
    tables
}

/// The state that a configuration leads to, by way of the one before as tests go.
fn reached(config: &Config) -> Current {
    let mut kernel = Kernel::new(bare());
    let first = change(&Config::default(), &before());
    for (desired, tables) in [
        (first, tables(&before())),
        (change(&before(), config), tables(config)),
    ] {
        let plan = plan(kernel.state(), &desired, &tables).unwrap();
        for it in &plan.steps {
            kernel.apply(&it.step).unwrap();
        }
    }
    kernel.into_state()
}
