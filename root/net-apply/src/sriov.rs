//! Virtual functions of network cards (SR-IOV): as many as the files say, before anybody looks at what interfaces there are.
//!
//! `devices/NAME` of a set of files holds `{"sriov": {"numvfs": N}}`, as upstream writes it. The kernel's only interface to the
//! number is sysfs (`/sys/class/net/NAME/device/sriov_numvfs`), the one place where this crate uses it. A number that is not
//! zero has to become zero before it can become another. Writing it takes as long as the card's driver needs: each card is
//! written to on a thread of its own, and one that hangs or refuses fails itself alone.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use net_model::{Config, IfName};
use serde_json::{Map, Value};

/// For all cards together.
const CARDS: Duration = Duration::from_mins(1);
/// For the interfaces of new functions to appear, if networks are on them.
const FUNCTIONS: Duration = Duration::from_secs(15);
/// Between two looks at whether they have.
const PAUSE: Duration = Duration::from_millis(100);
/// No card has more (SR-IOV capability, `TotalVFs` of 16 bits).
const MOST: u64 = u16::MAX as u64;

/// Why a card has not the functions that it should have.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum SriovError {
    /// The record makes no sense.
    #[error("no number of virtual functions: {0}")]
    Record(String),
    /// There is no such card, or it can have none.
    #[error("there is no such card, or it has no virtual functions")]
    NoCard,
    /// It can have fewer.
    #[error("{wanted} virtual functions are asked for, it can have {most}")]
    TooMany {
        /// Asked for.
        wanted: u64,
        /// Possible.
        most: u64,
    },
    /// The kernel refuses.
    #[error("{act}: {why}")]
    Refused {
        /// What was done.
        act: String,
        /// Why not.
        why: String,
    },
    /// Its driver is still at work.
    #[error("its driver needs longer than {} s", .0.as_secs())]
    Late(Duration),
}

/// Gives every card of the configuration its functions, and waits a while for the interfaces of those that networks need.
/// Answers what went wrong, by the card's name.
pub(crate) fn restore(
    sysfs: &Path,
    config: &Config,
    until: Instant,
) -> BTreeMap<String, SriovError> {
    let (wanted, mut failed) = wanted(&config.devices);
    let cards = wanted.len();
    let began = Instant::now();
    let end = until.min(began + CARDS);
    let (sender, answers) = channel();
    let mut open: BTreeMap<IfName, u64> = BTreeMap::new();
    for (name, number) in wanted {
        let (sender, folder, card) = (sender.clone(), device(sysfs, &name), name.clone());
        let thread = thread::Builder::new().name("sriov".to_owned());
        let started = thread.spawn(move || {
            let _ = sender.send((card, set(&folder, number)));
        });
        match started {
            Ok(_) => drop(open.insert(name, number)),
            Err(error) => drop(failed.insert(name.to_string(), refused("a thread", &error))),
        }
    }
    drop(sender);
    let mut changed = false;
    while !open.is_empty() {
        let left = end.saturating_duration_since(Instant::now());
        match answers.recv_timeout(left) {
            Ok((card, done)) => {
                open.remove(&card);
                match done {
                    Ok(it) => changed |= it,
                    Err(error) => drop(failed.insert(card.to_string(), error)),
                }
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    let late = open.into_keys();
    failed.extend(late.map(|it| (it.to_string(), SriovError::Late(began.elapsed()))));
    if changed {
        tracing::info!(cards, "virtual functions are restored");
        wait_for(
            sysfs,
            &needed(config),
            until.min(Instant::now() + FUNCTIONS),
        );
    }
    failed
}

/// What the records ask for; other settings of devices are not ours.
fn wanted(
    devices: &BTreeMap<String, Map<String, Value>>,
) -> (BTreeMap<IfName, u64>, BTreeMap<String, SriovError>) {
    let (mut wanted, mut failed) = (BTreeMap::new(), BTreeMap::new());
    for (name, attributes) in devices {
        let Some(sriov) = attributes.get("sriov") else {
            continue;
        };
        let number = sriov.get("numvfs").and_then(Value::as_u64);
        if let (Ok(name), Some(number)) = (IfName::new(name), number.filter(|it| *it <= MOST)) {
            wanted.insert(name, number);
        } else {
            let error = SriovError::Record(sriov.to_string().chars().take(200).collect());
            failed.insert(name.clone(), error);
        }
    }
    (wanted, failed)
}

fn device(sysfs: &Path, card: &IfName) -> PathBuf {
    sysfs.join("class/net").join(card.as_str()).join("device")
}

/// Says whether it changed something.
fn set(folder: &Path, wanted: u64) -> Result<bool, SriovError> {
    let read = |file: &str| -> Option<u64> {
        let text = fs::read_to_string(folder.join(file)).ok()?;
        text.trim().parse().ok()
    };
    let now = read("sriov_numvfs").ok_or(SriovError::NoCard)?;
    if now == wanted {
        return Ok(false);
    }
    let most = read("sriov_totalvfs").unwrap_or(MOST);
    if wanted > most {
        return Err(SriovError::TooMany { wanted, most });
    }
    let write = |number: u64| {
        // Not created: a card that is gone has no such file.
        let file = fs::File::options()
            .write(true)
            .open(folder.join("sriov_numvfs"));
        let done =
            file.and_then(|mut it| io::Write::write_all(&mut it, number.to_string().as_bytes()));
        done.map_err(|error| refused(&format!("{number} virtual functions"), &error))
    };
    writes(now, wanted).into_iter().try_for_each(write)?;
    Ok(true)
}

/// A number that is not zero can only become zero (the kernel answers `EBUSY` to others).
fn writes(now: u64, wanted: u64) -> Vec<u64> {
    let steps = [(now != 0).then_some(0), (wanted != 0).then_some(wanted)];
    let steps = steps.into_iter().flatten().filter(|_| now != wanted);
    steps.collect()
}

fn refused(act: &str, error: &io::Error) -> SriovError {
    SriovError::Refused {
        act: act.to_owned(),
        why: error.to_string(),
    }
}

/// Cards that networks and bonds are on.
fn needed(config: &Config) -> Vec<IfName> {
    let slaves = config
        .bonds
        .values()
        .flat_map(|it| it.slaves.iter().cloned());
    let bases = config.networks.values().filter_map(|it| it.base.as_ref());
    let nics = bases.filter_map(|it| match it {
        net_model::Base::Nic(name) => Some(name.clone()),
        net_model::Base::Bond(_) => None,
    });
    nics.chain(slaves).collect()
}

/// Drivers make the interfaces of functions by and by. One that does not come is told by who misses it.
fn wait_for(sysfs: &Path, names: &[IfName], until: Instant) {
    let there = |it: &IfName| sysfs.join("class/net").join(it.as_str()).exists();
    while !names.iter().all(there) && Instant::now() < until {
        thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A card as sysfs shows it.
    fn card(sysfs: &Path, name: &str, now: u64, most: u64) -> PathBuf {
        let folder = sysfs.join("class/net").join(name).join("device");
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("sriov_numvfs"), format!("{now}\n")).expect("written");
        fs::write(folder.join("sriov_totalvfs"), format!("{most}\n")).expect("written");
        folder.join("sriov_numvfs")
    }

    fn config(records: &[(&str, Value)]) -> Config {
        let mut config = Config::default();
        for (name, value) in records {
            let map = value.as_object().expect("an object").clone();
            config.devices.insert((*name).to_owned(), map);
        }
        config
    }

    fn vfs(number: i64) -> Value {
        serde_json::json!({"sriov": {"numvfs": number}})
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_mins(1)
    }

    #[test]
    fn cards_get_their_functions_and_a_bad_one_fails_alone() {
        let sysfs = tempfile::tempdir().expect("a folder");
        let good = card(sysfs.path(), "eth0", 0, 8);
        let small = card(sysfs.path(), "eth1", 0, 2);
        let same = card(sysfs.path(), "eth2", 3, 8);
        let none = card(sysfs.path(), "eth3", 4, 8);
        let odd = card(sysfs.path(), "eth4", 1, 8);
        let config = config(&[
            ("eth0", vfs(5)),
            ("eth1", vfs(3)),
            ("eth2", vfs(3)),
            ("eth3", vfs(0)),
            ("eth4", vfs(-1)),
            ("eth5", serde_json::json!({"other": 1})),
            ("eth9", vfs(1)),
            ("../../eth0", vfs(1)),
        ]);
        let failed = restore(sysfs.path(), &config, soon());
        let failed: Vec<&str> = failed.keys().map(String::as_str).collect();
        assert_eq!(failed, ["../../eth0", "eth1", "eth4", "eth9"]);
        let read = |path: &Path| fs::read_to_string(path).expect("a number");
        // A file keeps what stood behind what was written; sysfs does not.
        assert_eq!(read(&good).trim(), "5");
        assert_eq!(read(&small).trim(), "0");
        assert_eq!(read(&same).trim(), "3");
        assert_eq!(read(&none).trim(), "0");
        assert_eq!(read(&odd).trim(), "1");
    }

    #[test]
    fn another_number_goes_by_zero() {
        assert_eq!(writes(2, 4), [0, 4]);
        assert_eq!(writes(0, 4), [4]);
        assert_eq!(writes(2, 0), [0]);
        assert!(writes(3, 3).is_empty() && writes(0, 0).is_empty());
    }

    #[test]
    fn a_card_that_hangs_keeps_nobody_for_long() {
        let sysfs = tempfile::tempdir().expect("a folder");
        let good = card(sysfs.path(), "eth0", 0, 8);
        let path = card(sysfs.path(), "eth1", 0, 8);
        fs::remove_file(&path).expect("removed");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        let kind = rustix::fs::FileType::Fifo;
        if rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).is_err() {
            println!("skipped: no pipes with names here");
            return;
        }
        let config = config(&[("eth0", vfs(5)), ("eth1", vfs(5))]);
        let failed = restore(
            sysfs.path(),
            &config,
            Instant::now() + Duration::from_secs(5),
        );
        assert!(
            matches!(failed.get("eth1"), Some(SriovError::Late(_))),
            "{failed:?}"
        );
        assert_eq!(failed.len(), 1);
        assert_eq!(fs::read_to_string(good).expect("it").trim(), "5");
        // Lets go of who still waits.
        drop(fs::File::options().read(true).write(true).open(&path));
    }

    proptest! {
        #[test]
        fn any_record_is_survived(name in "\\PC{0,20}", number in any::<Option<f64>>()) {
            let number = number.map_or(Value::Null, Value::from);
            let record = serde_json::json!({"sriov": {"numvfs": number}});
            let (wanted, failed) = wanted(&config(&[(&name, record)]).devices);
            prop_assert_eq!(wanted.len() + failed.len(), 1);
        }
    }
}
