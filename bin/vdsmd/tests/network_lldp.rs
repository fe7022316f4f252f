//! What neighbours tell by LLDP, asked for through the port: agent, root helper and a real lldpad, which hears the frames of
//! `model/net-model/tests/lldp` and those of another lldpad at the other end of a card. Needs root and lldpad (installed, not running).
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
    path::{Path, PathBuf},
};

use common::{Serving as _, in_network, networks::Twins};
use exec::{Child, Command};
use netns::{eventually, wait_or};
use serde_json::{Value, json};

/// Agent and cards, without the root helper.
fn twins() -> Option<Twins> {
    if ["lldpad", "lldptool"]
        .iter()
        .any(|it| exec::command::find(it).is_none())
    {
        println!("skipped: lldpad is not installed");
        return None;
    }
    Twins::start_agent_alone()
}

/// lldpad with files of its own. It looks at a process's number in `/dev/shm`, and writes into `/run`.
fn lldpad(shell: Command, settings: &Path) -> Child {
    let script =
        "mount -t tmpfs none /run && mount -t tmpfs none /dev/shm && exec \"$0\" -f \"$1\"";
    let program = exec::command::find("lldpad").unwrap();
    let lldpad = shell.args(["-c", script]).arg(program).arg(settings);
    lldpad.private_mounts().die_with_parent().spawn().unwrap()
}

/// Does lldpad answer here?
fn is_there() -> bool {
    let ping = Command::new("lldptool").arg("-ping").run();
    ping.is_ok_and(|it| it.exit.success())
}

/// What lldpad does on a card of ours.
fn status(card: &str) -> String {
    let args = ["get-lldp", "-i", card, "adminStatus"];
    let told = Command::new("lldptool").args(args).run().unwrap();
    String::from_utf8(told.stdout).unwrap().trim().to_owned()
}

fn heard(twins: &Twins, card: &str) -> Value {
    let all = twins.ok("Host.getLldp", json!({"filter": {"devices": [card]}}));
    all[card].clone()
}

/// Frames and what is told of them.
fn frames() -> Vec<(String, Vec<u8>, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../model/net-model/tests/lldp");
    let files = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    let mut files: Vec<PathBuf> = files
        .filter(|it| it.extension().is_some_and(|it| it == "frame"))
        .collect();
    files.sort();
    let read = files.iter().map(|path| {
        let digits = fs::read_to_string(path).unwrap();
        let digits = digits.trim().as_bytes().chunks(2);
        let bytes = digits.map(|it| u8::from_str_radix(str::from_utf8(it).unwrap(), 16).unwrap());
        let told = fs::read_to_string(path.with_extension("json")).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, bytes.collect(), serde_json::from_str(&told).unwrap())
    });
    read.collect()
}

/// The frame by which the sender of this one says goodbye: its chassis and port, and no time to live.
fn goodbye(frame: &[u8]) -> Vec<u8> {
    let mut end = 14;
    for _ in 0..2 {
        let head = u16::from_be_bytes([frame[end], frame[end + 1]]);
        end += 2 + usize::from(head & 0x1ff);
    }
    let mut bye = frame[..end].to_vec();
    bye.extend([0x06, 2, 0, 0, 0, 0]);
    bye.resize(bye.len().max(60), 0);
    bye
}

#[test]
fn netns_what_a_real_lldpad_hears_is_told() {
    in_network!(|| {
        let Some(mut twins) = twins() else { return };
        let mut here = lldpad(Command::new("sh"), &twins.path("lldpad.conf"));
        eventually("lldpad", is_there);
        eventually("it does nothing by itself", || {
            status("veth_a") == "adminStatus=disabled"
        });
        twins.start_helper();
        for card in ["veth_a", "veth_b"] {
            eventually("it listens", || status(card) == "adminStatus=rx");
        }
        let silence = json!({"enabled": true, "tlvs": []});
        assert_eq!(heard(&twins, "veth_a"), silence);

        for (name, frame, told) in frames() {
            let seen = || heard(&twins, "veth_a")["tlvs"].clone();
            let more = || format!("{name}: {} instead of {told}", seen());
            wait_or("what a frame tells", more, || {
                twins.peers.send_frame("pveth_a", &frame);
                (seen() == told).then_some(())
            });
            wait_or("its end", more, || {
                twins.peers.send_frame("pveth_a", &goodbye(&frame));
                (seen() == json!([])).then_some(())
            });
        }

        let there = lldpad(twins.peers.command("sh"), &twins.path("lldpad-there.conf"));
        a_neighbour_speaks(&twins);
        drop(there);

        // Whoever turns it off is obeyed.
        netns::run("lldptool set-lldp -i veth_a adminStatus=disabled");
        let nobody = json!({"enabled": false, "tlvs": []});
        for _ in 0..2 {
            assert_eq!(heard(&twins, "veth_a"), nobody);
        }
        // A card that comes later is listened on when it is asked for.
        twins.cable("veth_c");
        eventually("a later card", || heard(&twins, "veth_c") == silence);
        let all = twins.ok("Host.getLldp", json!({"filter": {}}));
        let on = ["veth_a", "veth_b", "veth_c"].map(|it| all[it]["enabled"].clone());
        assert_eq!(on, [json!(false), json!(true), json!(true)], "{all}");

        here.end(netns::LONG);
        assert_eq!(heard(&twins, "veth_b"), nobody);
    });
}

/// Another lldpad, which sends what it knows of its host.
fn a_neighbour_speaks(twins: &Twins) {
    let tell = |words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        let done = twins.peers.command("lldptool").args(words).run();
        done.is_ok_and(|it| it.exit.success())
    };
    eventually("the neighbour's lldpad", || {
        tell("set-lldp -i pveth_b adminStatus=rxtx")
    });
    for element in ["portDesc", "sysCap", "MTU"] {
        let words = format!("set-tlv -i pveth_b -V {element} enableTx=yes");
        assert!(tell(&words), "{words}");
    }
    let find = |name: &str| {
        let all = heard(twins, "veth_b")["tlvs"].clone();
        let all = all.as_array().unwrap().clone();
        all.into_iter().find(|it| it["name"] == name)
    };
    // It says more as soon as it has been told to.
    let mtu = wait_or("a neighbour", || twins.log_tail(), || find("MTU"));
    assert_eq!(
        mtu,
        json!({"type": 127, "oui": 0x120f, "subtype": 4, "name": "MTU", "properties": {"mtu": "1518"}})
    );
    let link: Value = serde_json::from_str(&twins.peers.run("ip -j link show pveth_b")).unwrap();
    let chassis = find("Chassis ID").unwrap();
    assert_eq!(
        chassis["properties"],
        json!({"chassis ID subtype": "MAC", "chassis ID": link[0]["address"]})
    );
    let port = find("Port Description").unwrap();
    let port = port["properties"]["port description"].as_str().unwrap();
    assert!(port.ends_with("as pveth_b"), "{port}");
    let what = find("System Capabilities").unwrap();
    assert!(
        what["properties"]["enabled capabilities"].is_string(),
        "{what}"
    );
}
