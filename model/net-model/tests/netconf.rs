//! Upstream's files: read, written byte for byte, kept where nothing changed; generations that no crash breaks.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on ends"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use net_model::{
    BondMode, NetName, VlanId,
    netconf::{
        Kind, Netconf, Record,
        generations::{Act, KEEP, Listing, MANIFEST, manifest, store, verify},
    },
};
use proptest::prelude::*;

fn corpus() -> Netconf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/netconf");
    let mut set = Netconf::default();
    for kind in Kind::ALL {
        for entry in fs::read_dir(root.join(kind.folder())).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            set.add(kind, &name, &fs::read(entry.path()).unwrap())
                .unwrap();
        }
    }
    set
}

fn net(name: &str) -> NetName {
    NetName::new(name).unwrap()
}

#[test]
fn the_corpus_means_what_upstream_meant() {
    let (config, problems) = corpus().config();
    assert_eq!(problems, vec![]);
    let storage = &config.networks[&net("storage")];
    assert_eq!(storage.vlan, Some(VlanId::new(100).unwrap()));
    assert_eq!(storage.ipv4.addresses[0].to_string(), "198.51.100.7/24");
    assert_eq!(storage.ipv6.gateway, None, "'::' is none");
    assert!(storage.bridge.is_none());
    let management = &config.networks[&net("ovirtmgmt")];
    assert!(management.ipv4.dhcp && management.ipv6.autoconf && management.default_route);
    assert_eq!(management.nameservers.len(), 2);
    let old = &config.networks[&net("old")];
    assert!(old.bridge.is_some() && old.ipv4.dhcp);
    assert!(old.extra.contains_key("bondingOptions"));
    let qos = config.networks[&net("qos")].qos.unwrap();
    assert_eq!(qos.rt.unwrap().d, 100_000);
    let bridge = config.networks[&net("qos")].bridge.clone().unwrap();
    assert_eq!(bridge.options["multicast_snooping"], "0");
    let bonds: Vec<BondMode> = config.bonds.values().map(|it| it.options.mode()).collect();
    assert_eq!(bonds, [BondMode::Lacp, BondMode::ActiveBackup]);
    assert!(config.devices.contains_key("eth0"));
}

#[test]
fn python_s_json_is_written_byte_for_byte() {
    let set = corpus();
    for (path, bytes) in set.files() {
        let record = Record::decode(bytes).unwrap();
        let again = Record::new(record.attributes().clone());
        assert_eq!(again.encode(), bytes, "{path}");
    }
}

#[test]
fn what_does_not_change_keeps_its_bytes_and_what_does_its_strangers() {
    let set = corpus();
    let (mut config, _) = set.config();
    assert_eq!(set.updated(&config), set);
    let nicless = config.networks.get_mut(&net("nicless")).unwrap();
    nicless.mtu = 9000;
    let updated = set.updated(&config);
    let record = updated.get(Kind::Nets, "nicless").unwrap();
    assert_eq!(record.attributes()["mtu"], 9000);
    assert_eq!(
        record.attributes()["future"],
        set.get(Kind::Nets, "nicless").unwrap().attributes()["future"]
    );
    let keys: Vec<&String> = record.attributes().keys().collect();
    assert_eq!(
        keys[..3],
        ["bridged", "mtu", "stp"],
        "keys keep their places"
    );
    assert_eq!(
        updated.get(Kind::Nets, "storage"),
        set.get(Kind::Nets, "storage")
    );
    assert_eq!(updated.config().0, config);
    config.networks.remove(&net("qos"));
    assert!(set.updated(&config).get(Kind::Nets, "qos").is_none());
}

/// Agents of old let the kernel round the delays of bonds: their records are read as it keeps them, and keep their bytes.
#[test]
fn delays_of_bonds_in_files_are_as_the_kernel_keeps_them() {
    let mut set = Netconf::default();
    let record = br#"{"nics": ["eth0"], "options": "mode=1 miimon=100 updelay=250 downdelay=99", "switch": "legacy"}"#;
    set.add(Kind::Bonds, "bond0", record).unwrap();
    let (config, problems) = set.config();
    assert_eq!(problems, vec![]);
    let bond = config.bonds.values().next().unwrap();
    let options = bond.options.to_string();
    assert_eq!(options, "mode=1 downdelay=0 miimon=100 updelay=200");
    assert_eq!(bond.options.why_not_kept(), None);
    assert_eq!(set.updated(&config), set);
}

#[test]
fn a_bad_record_is_told_and_the_others_are_good() {
    let mut set = corpus();
    set.add(Kind::Nets, "bad", br#"{"nic": "eth0", "vlan": 4095}"#)
        .unwrap();
    set.add(Kind::Nets, "shape", br#"{"nic": ["eth0"]}"#)
        .unwrap();
    assert!(set.add(Kind::Nets, "text", b"[1]").is_err());
    assert!(set.add(Kind::Nets, "../etc", b"{}").is_err());
    let (config, problems) = set.config();
    assert_eq!(config.networks.len(), 5);
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].starts_with("nets/bad: VLAN id out of range"),
        "{told:?}"
    );
}

/// A folder as the acts make it, on which each of them is all or nothing.
#[derive(Debug, Clone, Default)]
struct Disk {
    files: BTreeMap<String, Vec<u8>>,
    folders: BTreeSet<String>,
    links: BTreeMap<String, String>,
}

impl Disk {
    fn run(&mut self, act: &Act) {
        match act {
            Act::MakeFolder(path) => drop(self.folders.insert(path.clone())),
            Act::WriteFile { path, bytes } => drop(self.files.insert(path.clone(), bytes.clone())),
            Act::SyncFolder(_) => {}
            Act::Link { path, target } => drop(self.links.insert(path.clone(), target.clone())),
            Act::Rename { from, to } => self.rename(from, to),
            Act::Exchange { a, b } => {
                self.rename(a, "between");
                self.rename(b, a);
                self.rename("between", b);
            }
            Act::Remove(name) => {
                let inside = format!("{name}/");
                self.files.retain(|it, _| !it.starts_with(&inside));
                self.folders
                    .retain(|it| it != name && !it.starts_with(&inside));
                self.links.remove(name);
            }
        }
    }

    fn rename(&mut self, from: &str, to: &str) {
        if let Some(target) = self.links.remove(from) {
            assert!(
                !self.folders.contains(to),
                "a link does not replace a folder"
            );
            self.links.insert(to.to_owned(), target);
            return;
        }
        let moved = |path: &String| {
            let rest = path
                .strip_prefix(from)
                .filter(|it| it.is_empty() || it.starts_with('/'));
            rest.map_or_else(|| path.clone(), |rest| format!("{to}{rest}"))
        };
        self.folders = self.folders.iter().map(moved).collect();
        self.files = self
            .files
            .iter()
            .map(|(path, it)| (moved(path), it.clone()))
            .collect();
    }

    fn listing(&self) -> Listing {
        let top = |path: &String| path.split('/').next().unwrap().to_owned();
        let names = self.folders.iter().chain(self.links.keys()).map(top);
        Listing {
            names: names.collect(),
            target: self.links.get("netconf").cloned(),
            link: "netconf".to_owned(),
        }
    }

    fn load(&self, folder: &str) -> (Netconf, Option<Vec<u8>>) {
        let mut set = Netconf::default();
        for kind in Kind::ALL {
            let prefix = format!("{folder}/{}/", kind.folder());
            for (path, bytes) in &self.files {
                if let Some(name) = path.strip_prefix(&prefix) {
                    set.add(kind, name, bytes).unwrap();
                }
            }
        }
        (
            set,
            self.files.get(&format!("{folder}/{MANIFEST}")).cloned(),
        )
    }

    /// What is in force: by the link, or in the plain folder.
    fn in_force(&self) -> Netconf {
        let target = self.links.get("netconf").map_or("netconf", String::as_str);
        let (set, manifest) = self.load(target);
        verify(&set, manifest.as_deref()).unwrap();
        set
    }
}

fn stored(disk: &mut Disk, set: &Netconf) {
    for act in store(&disk.listing(), set, KEEP) {
        disk.run(&act);
    }
}

/// Killed after any act, the set in force is the old or the new one, and the next store ends well and leaves nothing over.
fn check_crashes(start: &Disk, new: &Netconf) {
    let old = start.in_force();
    let acts = store(&start.listing(), new, KEEP);
    for killed in 0..=acts.len() {
        let mut disk = start.clone();
        acts[..killed].iter().for_each(|it| disk.run(it));
        let now = disk.in_force();
        assert!(
            now == old || now == *new,
            "killed after {killed} of {acts:?}"
        );
        stored(&mut disk, new);
        assert_eq!(disk.in_force(), *new, "killed after {killed} of {acts:?}");
        assert_eq!(disk.listing().leftovers(), Vec::<String>::new());
    }
}

fn smaller() -> Netconf {
    let (mut config, _) = corpus().config();
    config.networks.remove(&net("qos"));
    corpus().updated(&config)
}

#[test]
fn a_crash_leaves_the_old_or_the_new_set() {
    let mut disk = Disk::default();
    check_crashes(&disk, &corpus());
    stored(&mut disk, &corpus());
    check_crashes(&disk, &smaller());
}

#[test]
fn upstream_s_link_and_a_plain_folder_are_taken_over() {
    for plain in [false, true] {
        let mut disk = Disk::default();
        let folder = if plain { "netconf" } else { "netconf.AbCdEfGh" };
        disk.folders.insert(folder.to_owned());
        for (path, bytes) in corpus().files() {
            disk.files
                .insert(format!("{folder}/{path}"), bytes.to_vec());
        }
        if !plain {
            disk.links.insert("netconf".to_owned(), folder.to_owned());
            disk.folders.insert("netconf.left0ver".to_owned());
        }
        assert_eq!(disk.in_force(), corpus());
        check_crashes(&disk, &smaller());
        stored(&mut disk, &smaller());
        assert_eq!(
            disk.listing().before(1).is_some(),
            plain,
            "a plain folder becomes a generation"
        );
    }
}

#[test]
fn generations_stay_and_come_back() {
    let mut disk = Disk::default();
    for round in 0..KEEP + 5 {
        let set = if round % 2 == 0 { corpus() } else { smaller() };
        stored(&mut disk, &set);
    }
    let listing = disk.listing();
    assert_eq!(listing.generations().len(), KEEP + 1);
    let back = listing.before(1).unwrap();
    let (older, manifest) = disk.load(&back);
    verify(&older, manifest.as_deref()).unwrap();
    assert_eq!(older, smaller());
    stored(&mut disk, &older);
    assert_eq!(disk.in_force(), smaller());
    assert_eq!(listing.before(KEEP + 1), None);
}

#[test]
fn damage_is_seen() {
    let set = corpus();
    let told = manifest(&set);
    verify(&set, Some(told.as_bytes())).unwrap();
    verify(&set, None).unwrap();
    let error = verify(&smaller(), Some(told.as_bytes())).unwrap_err();
    assert_eq!(error.to_string(), "nets/qos: it is missing");
    let mut other = corpus();
    other.add(Kind::Nets, "qos", b"{}").unwrap();
    let error = verify(&other, Some(told.as_bytes())).unwrap_err();
    assert_eq!(error.to_string(), "nets/qos: it is damaged");
    assert!(verify(&set, Some(b"{")).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hostile_records_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut set = Netconf::default();
        let _ = set.add(Kind::Nets, "x", &bytes);
        let _ = set.add(Kind::Bonds, "bond0", &bytes);
        let _ = set.config();
    }

    #[test]
    fn hostile_attributes_are_refused_or_read(
        pairs in prop::collection::vec((
            prop::sample::select(vec![
                "nic", "bonding", "vlan", "mtu", "ipaddr", "netmask", "prefix", "gateway", "ipv6addr",
                "routes", "custom", "hostQos", "nameservers", "bridged", "stp", "nics", "options",
                "hwaddr", "switch", "ipv4addrs", "defaultRoute", "other",
            ]),
            prop::sample::select(vec![
                "null", "1", "-1", "1e99", "true", "\"\"", "\"eth0\"", "\"10.0.0.1\"", "\"/\"", "[]",
                "[\"10.0.0.1/24\"]", "[{}]", "{}", "{\"out\":{\"ls\":{\"m2\":-5}}}", "\"4294967296\"",
                "{\"bridge_opts\":\"a\"}", "\"mode=9\"", "\"\\u0000\"", "[{\"destination\":\"default\"}]",
            ]),
        ), 0..8)
    ) {
        let text: Vec<String> = pairs.iter().map(|(k, v)| format!("\"{k}\":{v}")).collect();
        let text = format!("{{{}}}", text.join(","));
        let mut set = Netconf::default();
        let _ = set.add(Kind::Nets, "x", text.as_bytes());
        let _ = set.add(Kind::Bonds, "bond0", text.as_bytes());
        let (config, _) = set.config();
        let empty = Netconf::default().updated(&config);
        prop_assert_eq!(empty.config().0, config);
    }
}

#[path = "common/mod.rs"]
mod common;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_again(config in common::config()) {
        let set = Netconf::default().updated(&config);
        let mut again = Netconf::default();
        for (path, bytes) in set.files() {
            let (folder, name) = path.split_once('/').unwrap();
            let kind = Kind::ALL.into_iter().find(|it| it.folder() == folder).unwrap();
            again.add(kind, name, bytes).unwrap();
        }
        let (read, problems) = again.config();
        prop_assert_eq!(problems, vec![]);
        prop_assert_eq!(&read, &config);
        prop_assert_eq!(again.updated(&read), again);
    }
}
