//! Networks through the port: the agent as an ordinary user, the root helper, cards with somebody on their other end, and
//! `ip` of iproute2 as the witness. Each test has a network of its own. Needs root.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test's helpers fail the test"
)]

mod common;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use common::{
    PATIENCE, Serving as _, in_network,
    networks::{Twins, address_of, bridged, ip, link, setup, unchecked, witnessed},
    wait_for,
};
use serde_json::{Value, json};

/// Confirms as Engine does, again and again, while `what` runs.
fn confirming<T>(twins: &Twins, what: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let client = twins.client();
            while !done.load(Ordering::Relaxed) {
                client.call("Host.confirmConnectivity", json!({})).unwrap();
                thread::sleep(Duration::from_millis(200));
            }
        });
        let answer = what();
        done.store(true, Ordering::Relaxed);
        answer
    })
}

#[test]
fn netns_a_bridged_network_comes_and_goes() {
    in_network!(|| {
        let Some(twins) = Twins::start() else { return };
        let before = witnessed();
        let answer = twins.ok(
            "Host.setupNetworks",
            setup(json!({"green": bridged()}), unchecked()),
        );
        assert_eq!(answer, json!({"code": 0, "message": "Done"}));

        let caps = twins.ok("Host.getCapabilities", json!({}));
        let green = &caps["networks"]["green"];
        for (key, value) in [
            ("iface", json!("green")),
            ("bridged", json!(true)),
            ("southbound", json!("veth_a")),
            ("ports", json!(["veth_a"])),
            ("addr", json!("192.0.2.2")),
            ("netmask", json!("255.255.255.0")),
            ("mtu", json!("1400")),
            ("switch", json!("legacy")),
            ("stp", json!("off")),
            ("dhcpv4", json!(false)),
            ("ipv6autoconf", json!(false)),
        ] {
            assert_eq!(green[key], value, "{key} of {green}");
        }
        assert_eq!(caps["bridges"]["green"]["addr"], "192.0.2.2");
        assert_eq!(caps["nics"]["veth_a"]["mtu"], "1400");
        assert_eq!(caps["netConfigDirty"], "False", "it was committed");
        assert_eq!(caps["lastClientIface"], "lo");
        let alone = twins.ok("Host.getNetworkCapabilities", json!({}));
        for key in [
            "networks",
            "bridges",
            "nics",
            "bondings",
            "vlans",
            "supportsIPv6",
        ] {
            assert_eq!(alone[key], caps[key], "{key}");
        }

        let heard = twins.ok("Host.getLldp", json!({"filter": {"devices": ["veth_a"]}}));
        let nobody = json!({"veth_a": {"enabled": false, "tlvs": []}});
        assert_eq!(heard, nobody, "nobody listens on a pair");

        let seen = link("green").expect("ip sees it");
        assert_eq!(address_of(&seen), ["192.0.2.2/24"]);
        assert_eq!(seen["mtu"], 1400);
        assert_eq!(link("veth_a").unwrap()["master"], "green");
        twins.at_peers(&["ip", "addr", "add", "192.0.2.9/24", "dev", "pveth_a"]);
        assert!(
            twins.is_answered("192.0.2.2", PATIENCE),
            "it answers its peer"
        );
        assert!(twins.reaches_agent("192.0.2.2"), "and so does the agent");
        let stats = twins.ok("Host.getNetworkStatistics", json!({}));
        let moved = |card: &str| -> u64 {
            let text = stats["network"][card]["rx"].as_str().unwrap();
            text.parse().unwrap()
        };
        assert!(moved("veth_a") > 0 && moved("green") > 0, "{stats}");
        assert_eq!(stats["network"]["veth_a"]["state"], "up");

        let removal = setup(json!({"green": {"remove": "true"}}), unchecked());
        twins.ok("Host.setupNetworks", removal);
        assert!(link("green").is_none());
        let caps = twins.ok("Host.getCapabilities", json!({}));
        assert_eq!(
            (&caps["networks"], &caps["bridges"]),
            (&json!({}), &json!({}))
        );
        // The card keeps its MTU, as with upstream: nobody asked for another.
        let strip = |mut all: Value| {
            for link in all["links"].as_array_mut().unwrap() {
                link[1] = Value::Null;
            }
            all
        };
        assert_eq!(strip(witnessed()), strip(before));
    });
}

#[test]
fn netns_what_nobody_confirms_is_undone() {
    in_network!(|| {
        let Some(twins) = Twins::start() else { return };
        let (before, start) = (witnessed(), Instant::now());
        let checked = json!({"connectivityCheck": "true", "connectivityTimeout": 2});
        let request = setup(json!({"green": bridged()}), checked);
        let (code, text) = twins.call("Host.setupNetworks", request).unwrap_err();
        assert_eq!((code, text.as_str()), (10, "connectivity check failed"));
        assert!(start.elapsed() >= Duration::from_secs(2), "it waited");
        assert_eq!(witnessed(), before);
        let caps = twins.ok("Host.getCapabilities", json!({}));
        assert_eq!(caps["networks"], json!({}));
        assert_eq!(caps["netConfigDirty"], "False");
        // It is not in the way of the next one.
        let request = setup(json!({"green": bridged()}), unchecked());
        twins.ok("Host.setupNetworks", request);
    });
}

#[test]
fn netns_what_is_confirmed_stays_and_is_made_safe() {
    in_network!(|| {
        let Some(mut twins) = Twins::start() else {
            return;
        };
        let checked = json!({"connectivityCheck": "true", "connectivityTimeout": 120});
        let request = setup(json!({"green": bridged()}), checked);
        let answer = confirming(&twins, || twins.ok("Host.setupNetworks", request));
        assert_eq!(answer["code"], 0);
        assert_eq!(address_of(&link("green").unwrap()), ["192.0.2.2/24"]);
        let dirty = || {
            let caps = twins.ok("Host.getCapabilities", json!({}));
            let stats = twins.ok("Host.getStats", json!({}));
            assert_eq!(caps["netConfigDirty"], stats["netConfigDirty"]);
            caps["netConfigDirty"].clone()
        };
        assert_eq!(dirty(), "True");
        assert!(!twins.path("persistence/netconf").exists());
        assert_eq!(
            twins.ok("Host.setSafeNetworkConfig", json!({})),
            json!(true)
        );
        assert_eq!(dirty(), "False");
        let kept = std::fs::read_to_string(twins.path("persistence/netconf/nets/green")).unwrap();
        let kept: Value = serde_json::from_str(&kept).unwrap();
        assert_eq!(
            (&kept["nic"], &kept["ipaddr"]),
            (&json!("veth_a"), &json!("192.0.2.2"))
        );
        // All of it is told by an agent that knows nothing but what it sees.
        twins.kill_agent();
        twins.start_agent();
        let caps = twins.ok("Host.getCapabilities", json!({}));
        assert_eq!(caps["networks"]["green"]["addr"], "192.0.2.2");
    });
}

#[test]
fn netns_a_dry_run_changes_nothing() {
    in_network!(|| {
        let Some(twins) = Twins::start() else { return };
        let before = witnessed();
        let request = setup(
            json!({"green": bridged()}),
            json!({"dryRun": true, "connectivityCheck": "true"}),
        );
        let start = Instant::now();
        let answer = twins.ok("Host.setupNetworks", request);
        assert!(start.elapsed() < PATIENCE, "nobody has to confirm it");
        assert_eq!(witnessed(), before);
        let steps = answer["steps"].as_array().unwrap();
        let is = |it: &&Value, step: &str| it["sign"] == "+" && it["step"] == step;
        for step in [
            "bridge green",
            "veth_a in green",
            "green: address 192.0.2.2/24",
        ] {
            assert!(steps.iter().any(|it| is(&it, step)), "{step}: {steps:?}");
        }
        let plan = answer["plan"].as_str().unwrap();
        assert!(plan.contains("  ~ veth_a: mtu 1400 (was 1500)\n"), "{plan}");
        assert_eq!(answer["result"]["networks"]["green"]["addr"], "192.0.2.2");
        assert_eq!(
            twins.ok("Host.getCapabilities", json!({}))["networks"],
            json!({})
        );

        // What was told is what is done: then there is nothing left to do.
        twins.ok(
            "Host.setupNetworks",
            setup(json!({"green": bridged()}), unchecked()),
        );
        let after = twins.ok("Host.getNetworkCapabilities", json!({}));
        for key in ["addr", "ports", "mtu", "stp", "southbound", "iface"] {
            let foreseen = &answer["result"]["networks"]["green"][key];
            assert_eq!(&after["networks"]["green"][key], foreseen, "{key}");
        }
        let request = setup(json!({"green": bridged()}), json!({"dryRun": true}));
        let answer = twins.ok("Host.setupNetworks", request);
        assert_eq!(
            (&answer["steps"], &answer["plan"]),
            (&json!([]), &json!("nothing to do\n"))
        );
    });
}

#[test]
fn netns_refusals_have_upstreams_codes() {
    in_network!(|| {
        let Some(twins) = Twins::start() else { return };
        ip(&["link", "add", "foreign", "type", "bridge"]);
        let before = witnessed();
        let on = |more: Value| {
            let mut it = json!({"nic": "veth_a", "bridged": "false"});
            for (key, value) in more.as_object().unwrap() {
                it[key] = value.clone();
            }
            it
        };
        let addressed = |ip: &str| on(json!({"ipaddr": ip, "prefix": "24"}));
        let bond = |it: Value| json!({"networks": {}, "bondings": {"bond1": it}, "options": {}});
        let nets = |it: Value| setup(it, json!({}));
        for (code, what, request) in [
            (
                21,
                "two defaults",
                nets(json!({
                    "a": on(json!({"defaultRoute": true, "vlan": "2"})), "b": on(json!({"defaultRoute": true})),
                })),
            ),
            (
                21,
                "mixed removal",
                nets(json!({"a": {"remove": true, "mtu": 1500}})),
            ),
            (21, "small MTU", nets(json!({"a": on(json!({"mtu": 60}))}))),
            (
                21,
                "one base twice",
                nets(json!({"a": on(json!({})), "b": on(json!({}))})),
            ),
            (22, "no address", nets(json!({"a": addressed("192.0.2.x")}))),
            (
                22,
                "one address twice",
                nets(json!({
                    "a": addressed("192.0.2.2"), "b": {"nic": "veth_b", "ipaddr": "192.0.2.2", "prefix": "24"},
                })),
            ),
            (23, "no such card", nets(json!({"a": {"nic": "eth99"}}))),
            (
                24,
                "a card used twice",
                json!({
                    "networks": {"a": on(json!({}))}, "bondings": {"bond1": {"nics": ["veth_a"]}}, "options": {},
                }),
            ),
            (
                25,
                "foreign option",
                bond(json!({"nics": ["veth_a"], "options": "mode=4 foo=1"})),
            ),
            (26, "VLAN 0", nets(json!({"a": on(json!({"vlan": "0"}))}))),
            (
                26,
                "VLAN 4095",
                nets(json!({"a": on(json!({"vlan": "4095"}))})),
            ),
            (
                27,
                "a long name",
                nets(json!({"a234567890123456": {"nic": "veth_a"}})),
            ),
            (
                27,
                "nothing to remove",
                nets(json!({"a": {"remove": "true"}})),
            ),
            (
                28,
                "foreign bridge",
                nets(json!({"foreign": {"nic": "veth_a"}})),
            ),
            (32, "ovs", nets(json!({"a": on(json!({"switch": "ovs"}))}))),
        ] {
            let (got, text) = twins.call("Host.setupNetworks", request).unwrap_err();
            assert_eq!(got, code, "{what}: {text}");
            assert!(!text.is_empty(), "{what}");
        }
        assert_eq!(witnessed(), before, "nothing was done");
        let asked = std::fs::read_to_string(twins.path("helper.log")).unwrap_or_default();
        assert!(
            !asked.contains("network_change"),
            "root was not asked: {asked}"
        );
    });
}

#[test]
fn netns_one_change_at_a_time_and_nobody_else_waits() {
    in_network!(|| {
        let Some(twins) = Twins::start() else { return };
        let checked = json!({"connectivityCheck": "true", "connectivityTimeout": 600});
        let request = setup(json!({"green": bridged()}), checked);
        thread::scope(|scope| {
            let first = scope.spawn(|| twins.call("Host.setupNetworks", request));
            // Made, and waiting for a confirmation.
            wait_for("the bridge", || {
                let seen = link("green")?;
                (!address_of(&seen).is_empty()).then_some(())
            });
            for (verb, params) in [
                ("Host.setupNetworks", setup(json!({}), unchecked())),
                (
                    "Host.setupNetworks",
                    setup(json!({}), json!({"dryRun": true})),
                ),
                ("Host.setSafeNetworkConfig", json!({})),
            ] {
                let (code, text) = twins.call(verb, params).unwrap_err();
                assert_eq!(code, 40, "{verb}: {text}");
                assert!(text.contains("another change of networks"), "{text}");
            }
            for verb in [
                "Host.getCapabilities",
                "Host.getStats",
                "Host.getNetworkCapabilities",
                "Host.getStorageDomains",
                "Host.getAllVmStats",
                "Host.dumpxmls",
            ] {
                twins.ok(verb, json!({}));
            }
            assert!(!first.is_finished(), "it still waits");
            wait_for("its end", || {
                twins.ok("Host.confirmConnectivity", json!({}));
                thread::sleep(Duration::from_millis(100));
                first.is_finished().then_some(())
            });
            assert_eq!(first.join().unwrap().unwrap()["code"], 0);
        });
        assert_eq!(address_of(&link("green").unwrap()), ["192.0.2.2/24"]);
    });
}

#[test]
fn netns_an_agent_that_dies_in_the_middle_changes_nothing() {
    in_network!(|| {
        let Some(mut twins) = Twins::start() else {
            return;
        };
        let before = witnessed();
        let checked = json!({"connectivityCheck": "true", "connectivityTimeout": 600});
        let request = setup(json!({"green": bridged()}), checked);
        let port = twins.port();
        let asker = thread::spawn(move || {
            // Its connection ends without an answer.
            let _ = std::panic::catch_unwind(|| {
                common::Caller::connect(port).call("Host.setupNetworks", request)
            });
        });
        wait_for("the bridge", || {
            let seen = link("green")?;
            (!address_of(&seen).is_empty()).then_some(())
        });
        twins.kill_agent();
        asker.join().unwrap();
        wait_for("all to be as it was", || {
            (witnessed() == before).then_some(())
        });
        twins.start_agent();
        let caps = twins.ok("Host.getCapabilities", json!({}));
        assert_eq!(caps["networks"], json!({}));
        wait_for("the next change", || {
            let request = setup(json!({"green": bridged()}), unchecked());
            match twins.call("Host.setupNetworks", request) {
                Err((40, _)) => None,
                other => Some(other.unwrap()),
            }
        });
    });
}

#[test]
fn netns_without_the_root_helper_networks_are_told_and_stay() {
    in_network!(|| {
        let Some(mut twins) = Twins::start_agent_alone() else {
            return;
        };
        ip(&["addr", "add", "192.0.2.7/24", "dev", "veth_a"]);
        let caps = twins.ok("Host.getCapabilities", json!({}));
        assert_eq!(caps["nics"]["veth_a"]["addr"], "192.0.2.7");
        assert!(twins.ok("Host.getStats", json!({}))["network"]["veth_a"].is_object());
        for (verb, params) in [
            (
                "Host.setupNetworks",
                setup(json!({"a": bridged()}), unchecked()),
            ),
            (
                "Host.setupNetworks",
                setup(json!({}), json!({"dryRun": true})),
            ),
            ("Host.setSafeNetworkConfig", json!({})),
            ("Host.getLldp", json!({"filter": {}})),
        ] {
            let (code, text) = twins.call(verb, params).unwrap_err();
            assert_eq!(code, 16, "{verb}: {text}");
            assert!(
                text.contains("cannot reach the root helper"),
                "{verb}: {text}"
            );
        }
        // The same agent, once the helper is there.
        twins.start_helper();
        let request = setup(json!({"green": {"nic": "veth_b"}}), unchecked());
        twins.ok("Host.setupNetworks", request);
        assert!(link("green").is_some());
    });
}
