//! What goes wrong with a change of networks, through the port: the management link that is lost, a card that is pulled out,
//! a full disk, somebody else with our address, requests that make no sense. After each the networks are as they were or as
//! asked, and the answer says which. Agent, root helper and witness as in `network.rs`. Needs root.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test's helpers fail the test"
)]

mod common;

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use common::{
    Caller, Serving as _, in_network,
    networks::{Twins, address_of, bridged, ip, link, run, setup, unchecked, witnessed},
    wait_for,
};
use netns::eventually;
use rustix::{
    mount::{MountFlags, UnmountFlags, mount, unmount},
    process::{Signal, kill_process},
};
use serde_json::{Value, json};

/// The management network, which Engine comes in by.
fn management(mtu: u32) -> Value {
    let mut it = bridged();
    it["mtu"] = json!(mtu);
    it["defaultRoute"] = json!(true);
    it["gateway"] = json!("192.0.2.9");
    it
}

/// Engine, at the other end of the management network: when the change is made and `first` is done, it says again and
/// again that it can reach the agent, as long as it can.
fn confirming_from_afar(twins: &Twins, first: impl FnOnce() + Send, done: &AtomicBool) {
    eventually("the change to be made", || {
        let made = link("blue").is_some_and(|it| address_of(&it) == ["198.51.100.2/24"]);
        made || done.load(Ordering::Relaxed)
    });
    first();
    let port = twins.port();
    twins.peers.within(|| {
        while !done.load(Ordering::Relaxed) {
            if let Ok(engine) = Caller::connect_to("192.0.2.2", port) {
                let _ = engine.call("Host.confirmConnectivity", json!({}));
            }
            thread::sleep(std::time::Duration::from_millis(200));
        }
    });
}

#[test]
fn netns_the_management_link_is_lost_after_the_change() {
    in_network!(|| {
        let Some(twins) = Twins::start() else { return };
        twins.at_peers(&["ip", "addr", "add", "192.0.2.9/24", "dev", "pveth_a"]);
        let request = setup(json!({"green": management(1400)}), unchecked());
        twins.ok("Host.setupNetworks", request);
        assert!(twins.reaches_agent("192.0.2.2"));
        let before = witnessed();
        let blue =
            json!({"nic": "veth_b", "ipaddr": "198.51.100.2", "prefix": "24", "switch": "legacy"});
        let change = |timeout: u32, first: fn(&Twins)| {
            let checked = json!({"connectivityCheck": "true", "connectivityTimeout": timeout});
            let wish = json!({"green": management(1300), "blue": blue});
            let (twins, over) = (&twins, AtomicBool::new(false));
            thread::scope(|scope| {
                scope.spawn(|| confirming_from_afar(twins, || first(twins), &over));
                let answer = twins.call("Host.setupNetworks", setup(wish, checked));
                over.store(true, Ordering::Relaxed);
                answer
            })
        };
        // The cable is pulled as soon as the change is made: nobody can confirm it.
        let pull = |twins: &Twins| twins.at_peers(&["ip", "link", "set", "pveth_a", "down"]);
        let (code, text) = change(20, pull).unwrap_err();
        assert_eq!((code, text.as_str()), (10, "connectivity check failed"));
        assert_eq!(link("green").unwrap()["operstate"], "DOWN", "still pulled");
        twins.at_peers(&["ip", "link", "set", "pveth_a", "up"]);
        eventually("all to be as it was", || witnessed() == before);
        assert!(twins.reaches_agent("192.0.2.2"));
        for log in [
            twins.log(),
            fs::read_to_string(twins.path("helper.log")).unwrap(),
        ] {
            assert!(log.contains("undone"), "it is told: {log}");
        }
        let caps = twins.ok("Host.getCapabilities", json!({}));
        assert_eq!(caps["networks"]["green"]["mtu"], "1400");
        assert_eq!(caps["networks"]["blue"], Value::Null);
        // With the cable in its place the same request lasts.
        let answer = change(600, |_| ()).unwrap();
        assert_eq!(answer["code"], 0);
        assert_eq!(link("green").unwrap()["mtu"], 1300);
    });
}

#[test]
fn netns_the_helper_dies_before_a_change_is_confirmed() {
    in_network!(|| {
        let Some(twins) = Twins::start() else { return };
        let before = witnessed();
        let wish = json!({"green": bridged()});
        // A client that would wait for long.
        let options = json!({"connectivityCheck": true, "connectivityTimeout": 86_400});
        let made = || {
            let log = fs::read_to_string(twins.path("log/vdsmd.log"));
            log.is_ok_and(|it| it.contains("+ bridge green"))
                .then_some(())
        };
        let (answer, mut next) = thread::scope(|scope| {
            let asker = scope.spawn(|| twins.call("Host.setupNetworks", setup(wish, options)));
            wait_for("the change", made);
            kill_process(twins.helper(), Signal::KILL).unwrap();
            let next = twins.next_helper();
            (asker.join().unwrap(), next)
        });
        let (code, text) = answer.unwrap_err();
        assert_eq!(code, 10, "{text}");
        assert!(
            text.contains("the root helper ended") && !text.contains("undone"),
            "{text}"
        );
        assert_eq!(witnessed(), before);
        // Whatever comes next is done.
        twins.ok(
            "Host.setupNetworks",
            setup(json!({"green": bridged()}), unchecked()),
        );
        next.kill().unwrap();
        next.wait().unwrap();
    });
}

#[test]
fn netns_a_card_that_is_pulled_out_midway() {
    /// So many that there is a middle.
    const MANY: usize = 150;
    /// The middle may be missed on a machine that stands still for a while.
    const TRIES: usize = 20;
    in_network!(|| {
        let Some(twins) = Twins::start() else { return };
        let mut wish = json!({"zlast": {"nic": "veth_b", "bridged": "true", "switch": "legacy"}});
        let mut gone = json!({"zlast": {"remove": true}});
        for n in 0..MANY {
            wish[format!("n{n}")] = json!({"bridged": "true", "switch": "legacy"});
            gone[format!("n{n}")] = json!({"remove": true});
        }
        let is_there = |name: &str| Path::new("/sys/class/net").join(name).exists();
        let helper = twins.helper();
        let text = (0..TRIES).find_map(|_| {
            ip(&["link", "set", "veth_b", "up"]);
            let before = witnessed();
            let answer = thread::scope(|scope| {
                let request = setup(wish.clone(), unchecked());
                let asker = scope.spawn(|| twins.call("Host.setupNetworks", request));
                while !is_there("n0") && !asker.is_finished() {
                    thread::yield_now();
                }
                // It stands still while the card goes.
                kill_process(helper, Signal::STOP).unwrap();
                let midway = is_there("n0") && !is_there("zlast");
                if midway {
                    ip(&["link", "del", "veth_b"]);
                }
                kill_process(helper, Signal::CONT).unwrap();
                let answer = asker.join().unwrap();
                midway.then_some(answer)
            });
            let Some(answer) = answer else {
                twins.ok("Host.setupNetworks", setup(gone.clone(), unchecked()));
                assert_eq!(witnessed(), before);
                return None;
            };
            let (code, text) = answer.unwrap_err();
            assert!(code != 0 && text.contains("veth_b"), "{code} {text}");
            let mut without = before;
            let links = without["links"].as_array_mut().unwrap();
            links.retain(|it| it[0] != "veth_b");
            assert_eq!(witnessed(), without, "{text}");
            Some(text)
        });
        println!("answered: {}", text.expect("midway, once at least"));
        let caps = twins.ok("Host.getCapabilities", json!({}));
        assert_eq!(caps["networks"], json!({}));
        // The agent goes on, and so does the card when it is back.
        twins.cable("veth_b");
        let request = setup(json!({"blue": {"nic": "veth_b"}}), unchecked());
        twins.ok("Host.setupNetworks", request);
        assert_eq!(link("veth_b").unwrap()["master"], "blue");
    });
}

/// Puts a file system of a few pages, full, in the place of a folder; what is in force stays readable in it. Answers where the folder
/// is meanwhile.
fn fill(folder: &Path) -> PathBuf {
    let aside = folder.with_file_name("aside");
    fs::rename(folder, &aside).unwrap();
    fs::create_dir(folder).unwrap();
    let options = Some(c"size=64k,mode=755");
    mount("tmpfs", folder, "tmpfs", MountFlags::empty(), options).unwrap();
    let all = format!("{}/.", aside.display());
    run("cp", &["-a", &all, &folder.display().to_string()]);
    let mut filler = fs::File::create(folder.join("filler")).unwrap();
    while filler.write_all(&[7; 4096]).is_ok() {}
    aside
}

fn empty(folder: &Path, aside: &Path) {
    unmount(folder, UnmountFlags::DETACH).unwrap();
    fs::remove_dir(folder).unwrap();
    fs::rename(aside, folder).unwrap();
}

#[test]
fn netns_a_disk_that_is_full_while_a_change_is_stored() {
    in_network!(|| {
        let Some(twins) = Twins::start() else { return };
        let request = setup(json!({"green": bridged()}), unchecked());
        twins.ok("Host.setupNetworks", request);
        let (before, other) = (witnessed(), json!({"blue": {"nic": "veth_b", "mtu": 1450}}));
        let kept = |set: &str| twins.path(set).join("netconf/nets/blue").exists();
        for set in ["staging", "persistence"] {
            let folder = twins.path(set);
            let aside = fill(&folder);
            let request = setup(other.clone(), unchecked());
            let (code, text) = twins.call("Host.setupNetworks", request).unwrap_err();
            assert!(text.contains("No space left"), "{set}: {code} {text}");
            assert_eq!(witnessed(), before, "{set}: undone");
            let caps = twins.ok("Host.getCapabilities", json!({}));
            assert_eq!(caps["networks"]["blue"], Value::Null, "{set}");
            assert_eq!(caps["networks"]["green"]["addr"], "192.0.2.2", "{set}");
            assert!(!kept("staging") && !kept("persistence"), "{set}");
            if set == "persistence" {
                // Not safe yet, and so it can be made; only safe it cannot be made.
                let unsafe_yet = json!({"connectivityCheck": "false", "commitOnSuccess": false});
                let request = setup(other.clone(), unsafe_yet);
                twins.ok("Host.setupNetworks", request);
                let (_, text) = twins
                    .call("Host.setSafeNetworkConfig", json!({}))
                    .unwrap_err();
                assert!(text.contains("No space left"), "{text}");
                assert!(kept("staging") && !kept("persistence"));
            }
            empty(&folder, &aside);
        }
        // With room it is made, and safe.
        twins.ok("Host.setupNetworks", setup(other, unchecked()));
        twins.ok("Host.setSafeNetworkConfig", json!({}));
        assert!(kept("staging") && kept("persistence"));
    });
}

#[test]
fn netns_requests_at_the_edge() {
    in_network!(|| {
        let Some(twins) = Twins::start() else { return };
        // Fifteen characters are a name, in the kernel too.
        let name = "a23456789012345";
        let request = setup(json!({name: management(1500)}), unchecked());
        twins.ok("Host.setupNetworks", request);
        assert_eq!(link("veth_a").unwrap()["master"], name);
        let caps = twins.ok("Host.getCapabilities", json!({}));
        assert_eq!(caps["networks"][name]["iface"], name);
        let before = witnessed();
        let bond = |it: Value| json!({"networks": {}, "bondings": {"bond1": it}, "options": {}});
        let blue = |more: &str, value: Value| {
            let mut it = json!({"nic": "veth_b", "bridged": "true", "switch": "legacy"});
            it[more] = value;
            setup(json!({"blue": it}), json!({}))
        };
        for (code, what, request) in [
            (
                21,
                "no ports",
                bond(json!({"nics": [], "options": "mode=1"})),
            ),
            (21, "ports not told", bond(json!({"options": "mode=1"}))),
            (
                22,
                "the address of another network",
                blue("ipv4addrs", json!(["192.0.2.2/24"])),
            ),
            (
                22,
                "one address twice",
                blue("ipv4addrs", json!(["10.1.0.1/24", "10.1.0.1/24"])),
            ),
        ] {
            let (got, text) = twins.call("Host.setupNetworks", request).unwrap_err();
            assert_eq!(got, code, "{what}: {text}");
            println!("{what}: {text}");
        }
        assert_eq!(witnessed(), before, "nothing was done");
    });
}
