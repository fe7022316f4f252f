//! Verbs of the host through the port: pings, capabilities, hardware, statistics, log level.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test's helpers fail the test"
)]

mod common;

use common::{Agent, Serving as _, guarded};
use serde_json::{Value, json};

#[test]
fn pings_are_answered() {
    guarded!(|| {
        let mut agent = Agent::start();
        assert_eq!(agent.ok("Host.ping", json!({})), json!(true));
        assert_eq!(agent.ok("Host.ping2", json!({})), json!(true));
        assert_eq!(
            agent.ok("Host.echo", json!({"message": "a\nb ü"})),
            json!("a\nb ü")
        );
        agent.stop();
    });
}

#[test]
fn what_is_not_there_is_said_so() {
    guarded!(|| {
        let agent = Agent::start();
        for method in [
            "Host.noSuch",
            "NoSuch.method",
            "nodot",
            "Host.",
            "",
            "VM.fly",
        ] {
            let (code, text) = agent.call(method, json!({})).unwrap_err();
            assert_eq!(code, -32601);
            assert!(
                text.ends_with(&format!("{{'method': '{method}'}}")),
                "{text}"
            );
        }
        for (method, params, path) in [
            ("Host.echo", json!({}), "message"),
            ("VM.getStats", json!({"vmID": "no-uuid"}), "vmID"),
            ("VM.getStats", json!({"vmID": {"x": 1}}), "vmID"),
            ("Host.getVMList", json!({"vmList": [1]}), "vmList"),
        ] {
            let (code, text) = agent.call(method, params).unwrap_err();
            assert_eq!(code, -32602);
            assert!(text.contains(path), "{text}");
        }
    });
}

#[test]
fn extra_parameters_are_passed_over_and_lenient_types_are_understood() {
    guarded!(|| {
        let agent = Agent::start();
        assert_eq!(
            agent.ok("Host.ping2", json!({"extra": {"a": [1]}})),
            json!(true)
        );
        assert_eq!(
            agent.ok(
                "Host.getVMList",
                json!({"onlyUUID": "true", "vmList": null})
            ),
            json!([])
        );
        assert_eq!(agent.ok("Host.echo", json!({"message": 5})), json!("5"));
        assert!(
            agent.log().contains("vdsm.schema"),
            "the mismatch is logged"
        );
    });
}

/// Engine would forget the host's cards, and what is attached to them.
#[test]
fn there_are_no_capabilities_without_networks() {
    guarded!(|| {
        let agent = Agent::start_with(&[("supervdsm", "netconf_running", "/dev/null/netconf")]);
        for verb in ["Host.getCapabilities", "Host.getNetworkCapabilities"] {
            let (_, text) = agent.call(verb, json!({})).unwrap_err();
            assert!(text.contains("/dev/null/netconf"), "{verb}: {text}");
        }
        assert!(agent.ok("Host.getStats", json!({}))["network"].is_object());
    });
}

#[test]
fn capabilities_have_what_engine_needs() {
    guarded!(|| {
        let agent = Agent::start();
        let caps = agent.ok("Host.getCapabilities", json!({}));
        for key in [
            "HBAInventory",
            "cpuSpeed",
            "cpuTopology",
            "numaNodes",
            "nics",
            "bondings",
            "vlans",
        ] {
            assert!(!caps[key].is_null(), "{key}");
        }
        strings(
            &caps,
            &[
                "kvmEnabled",
                "cpuCores",
                "cpuThreads",
                "cpuSockets",
                "memSize",
                "cpuSpeed",
                "reservedMem",
                "guestOverhead",
                "netConfigDirty",
                "liveSnapshot",
                "cpuFlags",
            ],
        );
        assert!(caps["HBAInventory"]["iSCSI"].is_array() && caps["HBAInventory"]["FC"].is_array());
        for cpu in caps["cpuTopology"].as_array().unwrap() {
            for id in ["cpu_id", "numa_cell_id", "socket_id", "die_id", "core_id"] {
                assert!(cpu[id].is_i64(), "{id}");
            }
        }
        for node in caps["numaNodes"].as_object().unwrap().values() {
            strings(node, &["totalMemory"]);
        }
        let threads: usize = caps["cpuThreads"].as_str().unwrap().parse().unwrap();
        assert_eq!(
            threads,
            std::fs::read_to_string("/proc/cpuinfo")
                .unwrap()
                .matches("processor\t")
                .count()
        );
        let levels = caps["clusterLevels"].as_array().unwrap();
        assert!(levels.contains(&json!("4.7")), "{levels:?}");
        let os = std::fs::read_to_string("/etc/os-release").unwrap();
        assert!(os.contains(caps["operatingSystem"]["pretty_name"].as_str().unwrap()));
        never_null(&caps, "getCapabilities");
    });
}

#[test]
fn what_the_host_lacks_is_told_and_iscsi_has_an_error_of_its_own() {
    guarded!(|| {
        let agent = Agent::start();
        let features = agent.ok("Host.getCapabilities", json!({}))["features"].clone();
        let features = features.as_object().unwrap();
        for (name, feature) in features {
            let (available, reason) = (&feature["available"], feature["reason"].as_str().unwrap());
            assert!(
                available.as_bool().unwrap() || !reason.is_empty(),
                "{name}: {feature}"
            );
        }
        let there = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]
            .iter()
            .any(|folder| std::path::Path::new(folder).join("iscsiadm").exists());
        assert_eq!(features["iscsi"]["available"], json!(there));
        if there {
            println!("skipped: open-iscsi is installed");
            return;
        }
        let portal = json!({"host": "127.0.0.1", "port": "3260"});
        let (code, text) = agent
            .call("ISCSIConnection.discoverSendTargets", portal)
            .unwrap_err();
        assert_eq!(code, 465);
        assert!(
            text.contains("iSCSI is not available on this host"),
            "{text}"
        );
        let none = "00000000-0000-0000-0000-000000000000";
        let connection = json!({"id": none, "connection": "127.0.0.1", "user": "", "iqn": "iqn.2026-01.org.lab:t", "port": "3260"});
        let server =
            json!({"domainType": 3, "storagepoolID": none, "connectionParams": [connection]});
        let told = agent.ok("StoragePool.connectStorageServer", server);
        assert_eq!(told, json!([{"id": none, "status": 465}]));
    });
}

#[test]
fn statistics_have_what_engine_needs() {
    guarded!(|| {
        let agent = Agent::start();
        let stats = agent.ok("Host.getStats", json!({}));
        strings(
            &stats,
            &[
                "cpuLoad",
                "cpuUser",
                "cpuSys",
                "cpuIdle",
                "elapsedTime",
                "memUsed",
                "rxDropped",
                "txDropped",
                "anonHugePages",
                "bootTime",
                "dateTime",
                "netConfigDirty",
            ],
        );
        for cpu in stats["cpuStatistics"].as_object().unwrap().values() {
            strings(cpu, &["cpuUser", "cpuSys", "cpuIdle"]);
            assert!(cpu["nodeIndex"].is_u64());
        }
        for key in [
            "memFree",
            "swapTotal",
            "swapFree",
            "vmCount",
            "vmActive",
            "vmMigrating",
        ] {
            assert!(stats[key].is_u64(), "{key}");
        }
        let lo = &stats["network"]["lo"];
        strings(
            lo,
            &[
                "name",
                "rx",
                "tx",
                "rxDropped",
                "txDropped",
                "rxErrors",
                "txErrors",
                "speed",
            ],
        );
        assert!(lo["sampleTime"].is_f64());
        for sizes in stats["hugepages"].as_object().unwrap().values() {
            assert!(sizes["vm.free_hugepages"].is_u64());
        }
        never_null(&stats, "getStats");
    });
}

#[test]
fn hardware_is_what_the_firmware_says() {
    guarded!(|| {
        let agent = Agent::start();
        let hardware = agent.ok("Host.getHardwareInfo", json!({}));
        never_null(&hardware, "getHardwareInfo");
        let product = std::fs::read_to_string("/sys/class/dmi/id/product_name").ok();
        let told = hardware["systemProductName"].as_str();
        assert_eq!(
            told,
            product
                .as_deref()
                .map(str::trim)
                .filter(|name| !name.is_empty())
        );
    });
}

#[test]
fn the_log_level_can_be_changed() {
    guarded!(|| {
        let agent = Agent::start();
        let calls = || agent.log().matches("Host.getVMList").count();
        agent.ok("Host.setLogLevel", json!({"level": "ERROR"}));
        agent.ok("Host.getVMList", json!({}));
        agent.ok("Host.setLogLevel", json!({"level": "DEBUG"}));
        assert_eq!(calls(), 0);
        agent.ok("Host.getVMList", json!({}));
        common::wait_for("a line of the call", || (calls() > 0).then_some(()));
        assert_eq!(
            agent.code("Host.setLogLevel", json!({"level": "LOUD"})),
            -32602
        );
    });
}

#[test]
fn each_call_is_one_line() {
    guarded!(|| {
        let agent = Agent::start();
        agent.ok("Host.getAllVmStats", json!({}));
        let line = common::wait_for("the line", || {
            let log = agent.log();
            log.lines()
                .find(|it| it.contains("verb=\"Host.getAllVmStats\""))
                .map(str::to_owned)
        });
        for part in [
            "flow_id=\"test-flow\"",
            "client=127.0.0.1",
            "seconds=",
            "outcome=\"ok\"",
        ] {
            assert!(line.contains(part), "{part}: {line}");
        }
    });
}

#[test]
fn nothing_runs_and_nothing_is_stored_at_first() {
    guarded!(|| {
        let agent = Agent::start();
        for verb in [
            "getVMList",
            "getVMFullList",
            "getAllVmStats",
            "getConnectedStoragePools",
            "getStorageDomains",
        ] {
            assert_eq!(
                agent.ok(&format!("Host.{verb}"), json!({})),
                json!([]),
                "{verb}"
            );
        }
        for verb in [
            "dumpxmls",
            "getAllTasks",
            "getAllTasksInfo",
            "getAllTasksStatuses",
            "getStorageRepoStats",
        ] {
            assert_eq!(
                agent.ok(&format!("Host.{verb}"), json!({})),
                json!({}),
                "{verb}"
            );
        }
    });
}

fn strings(object: &Value, keys: &[&str]) {
    for key in keys {
        assert!(object[key].is_string(), "{key} is {}", object[key]);
    }
}

/// Engine takes a null for worse than an absent key.
fn never_null(value: &Value, path: &str) {
    match value {
        Value::Null => panic!("{path} is null"),
        Value::Object(map) => map
            .iter()
            .for_each(|(key, value)| never_null(value, &format!("{path}.{key}"))),
        Value::Array(items) => items
            .iter()
            .for_each(|item| never_null(item, &format!("{path}[]"))),
        _ => {}
    }
}
