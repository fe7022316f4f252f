//! The answers of the host as they go over the wire: names, types and values that Engine's parser takes.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test's helpers fail the test"
)]

use std::{collections::BTreeMap, time::Duration};

use ::network::NetworkInfo;
use host::{Capabilities, Features, HardwareInfo, Hypervisor, Inputs, Sampler, Settings, Version};
use host_model::{
    Cpu, CpuTimes, Dmi, Facts, FcHost, HugePages, Kdump, Memory, NumaNode, PackageVersion,
    Packages, PageCount, Sample,
};
use serde_json::{Value, json};

use super::{capabilities, stats};

const CAPS: &str = r"<capabilities>
  <host><cpu><arch>x86_64</arch><counter name='tsc' frequency='2599998000' scaling='no'/></cpu></host>
  <guest><os_type>hvm</os_type><arch name='i686'><machine>old</machine></arch></guest>
  <guest><os_type>hvm</os_type><arch name='x86_64'>
    <machine maxCpus='255'>pc-i440fx-7.2</machine><machine canonical='pc-i440fx-7.2'>pc</machine>
    <domain type='qemu'/><domain type='kvm'><machine canonical='pc-q35-7.2'>q35</machine></domain>
  </arch></guest>
</capabilities>";

const DOMCAPS: &str = r"<domainCapabilities><cpu>
  <mode name='host-model' supported='yes'><model fallback='forbid'>Skylake</model>
    <feature policy='require' name='vmx'/><feature policy='disable' name='hle'/><feature policy='require' name='fpu'/></mode>
  <mode name='custom' supported='yes'><model usable='yes'>Nehalem-IBRS</model><model usable='no'>EPYC</model>
    <model usable='yes'>qemu64</model></mode>
</cpu></domainCapabilities>";

fn hypervisor(kvm: bool) -> Hypervisor {
    let versions = (Some(9_000_000), Some(7_002_000));
    Hypervisor::parse(kvm, "x86_64", CAPS, DOMCAPS, versions).expect("XML")
}

fn facts() -> Facts {
    let mut facts = Facts {
        cpus: vec![
            Cpu::default(),
            Cpu {
                id: 1,
                core: 1,
                ..Cpu::default()
            },
            Cpu {
                id: 2,
                core: 1,
                ..Cpu::default()
            },
        ],
        numa: vec![node()],
        memory: memory(),
        vulnerabilities: BTreeMap::from([("mds".into(), "Not affected".into())]),
        iscsi_initiator: Some("iqn.x".into()),
        fc_hosts: vec![FcHost {
            wwnn: "20".into(),
            wwpn: "10".into(),
            model: "LPe".into(),
        }],
        hugepages: BTreeMap::from([(2048, HugePages::default())]),
        kdump: Kdump::Disabled,
        ..Facts::default()
    };
    facts.cpu.flags = vec!["fpu".into(), "vme".into()];
    facts.cpu.mhz = Some("2599.998".into());
    facts.cpu.model = Some("Intel(R) Xeon(R) Processor".into());
    facts.kernel.release = "6.18.44-fc-v669".into();
    facts.os.name = "Debian".into();
    let libvirt = PackageVersion {
        version: "9.0.0".into(),
        release: "4+deb12u2".into(),
    };
    facts.packages = Packages::Known(BTreeMap::from([("libvirt".into(), libvirt)]));
    facts
}

fn memory() -> Memory {
    Memory {
        total: 24_684_000,
        free: 19_582_000,
        cached: 1_100_000,
        anon_huge: 3_256_320,
        swap_total: 2_097_152,
        swap_free: 1_048_576,
        ..Memory::default()
    }
}

fn node() -> NumaNode {
    let pages = |total, free| PageCount { total, free };
    NumaNode {
        id: 0,
        cpus: vec![0, 1, 2],
        total_kib: 24_684_000,
        free_kib: 19_582_000,
        pages: BTreeMap::from([(4, pages(2_939_443, 1_664_122)), (2048, pages(0, 0))]),
        distances: vec![10],
    }
}

fn capabilities_of(facts: &Facts, hypervisor: Option<&Hypervisor>, settings: &Settings) -> Value {
    let features = Features {
        domain_versions: vec![5],
        live_merge: true,
        ..Features::default()
    };
    let inputs = Inputs {
        facts,
        hypervisor,
        settings,
        features: &features,
        version: &Version::default(),
    };
    let answer = capabilities::capabilities(
        Capabilities::of(&inputs),
        NetworkInfo::default(),
        Some("lo".into()),
    );
    serde_json::to_value(answer).expect("JSON")
}

fn settings() -> Settings {
    Settings {
        reserved_mib: 321,
        guest_overhead_mib: 65,
        ..Settings::default()
    }
}

/// Expected parts of an answer, each compared whole.
fn has(answer: &Value, expected: &Value) {
    for (key, value) in expected.as_object().expect("an object") {
        assert_eq!(answer.get(key), Some(value), "{key}");
    }
}

#[test]
fn capabilities_as_engine_reads_them() {
    let answer = capabilities_of(&facts(), Some(&hypervisor(true)), &settings());
    let expected = json!({
        "kvmEnabled": "true", "cpuCores": "2", "cpuThreads": "3", "cpuSockets": "1",
        "onlineCpus": "0,1,2", "cpuSpeed": "2599.998", "cpuModel": "Intel(R) Xeon(R) Processor",
        "cpuFlags": "fpu,spec_ctrl,vme,vmx,model_Nehalem-IBRS,model_qemu64",
        "software_version": "4.50.7", "supportedENGINEs": ["4.2", "4.3", "4.4", "4.5"],
        "clusterLevels": ["4.2", "4.3", "4.4", "4.5", "4.6", "4.7"],
        "networks": {}, "bondings": {}, "bridges": {}, "vlans": {}, "hooks": {},
        "emulatedMachines": ["pc-q35-7.2", "q35"], "tscFrequency": "2599998000", "tscScaling": false,
        "HBAInventory": {"iSCSI": [{"InitiatorName": "iqn.x"}], "FC": [{"wwpn": "10", "wwnn": "20", "model": "LPe"}]},
        "memSize": "24105", "reservedMem": "321", "guestOverhead": "65", "vmTypes": ["kvm"],
        "numaNodes": {"0": {"totalMemory": "24105", "cpus": [0, 1, 2],
            "hugepages": {"4": {"totalPages": "2939443"}, "2048": {"totalPages": "0"}}}},
        "numaNodeDistance": {"0": [10]}, "autoNumaBalancing": 2, "selinux": {"mode": "-1"},
        "liveMerge": "true", "liveSnapshot": "false", "kdumpStatus": 0, "hugepages": [2048],
        "kernelFeatures": {"MDS": "(Not affected)"}, "boot_uuid": "", "domain_versions": [5],
        "hostdevPassthrough": "false", "netConfigDirty": "False", "lastClientIface": "lo",
    });
    has(&answer, &expected);
    has(
        &answer["packages2"],
        &json!({
            "kernel": {"version": "6.18.44", "release": "fc-v669"},
            "libvirt": {"version": "9.0.0", "release": "4+deb12u2"},
        }),
    );
    let first = json!({"cpu_id": 0, "numa_cell_id": 0, "socket_id": 0, "die_id": 0, "core_id": 0});
    assert_eq!(answer["cpuTopology"][0], first);
}

/// A null is worse to Engine than an absent key, whatever is unknown.
#[test]
fn unknown_is_absent_and_what_engine_needs_is_there() {
    let answer = capabilities_of(&Facts::default(), None, &Settings::default());
    no_nulls(&answer, "capabilities");
    has(
        &answer,
        &json!({
            "cpuSpeed": "0", "HBAInventory": {"iSCSI": [], "FC": []}, "kvmEnabled": "false",
            "kdumpStatus": -1, "emulatedMachines": [], "nics": {},
        }),
    );
    assert_eq!(answer.get("uuid"), None);
    assert_eq!(
        answer["ISCSIInitiatorName"], "",
        "no iSCSI is told as upstream tells it"
    );
    no_nulls(&stats_of(vec![Sample::default()]), "stats");
}

fn no_nulls(value: &Value, at: &str) {
    match value {
        Value::Null => unreachable!("{at} is null"),
        Value::Object(map) => map
            .iter()
            .for_each(|(k, v)| no_nulls(v, &format!("{at}.{k}"))),
        Value::Array(list) => list.iter().for_each(|v| no_nulls(v, at)),
        _ => {}
    }
}

#[test]
fn hardware_is_what_the_firmware_tells() {
    let mut facts = Facts::default();
    let told = |facts: &Facts| {
        let answer = capabilities::hardware(HardwareInfo::of(facts));
        serde_json::to_value(answer).expect("JSON")
    };
    assert_eq!(told(&facts), json!({}));
    facts.dmi = Dmi {
        manufacturer: Some("Maker".into()),
        product: Some("P".into()),
        version: Some("1".into()),
        serial: Some("S".into()),
        uuid: Some("ab-1".into()),
        family: Some("F".into()),
    };
    let expected = json!({
        "systemManufacturer": "Maker", "systemProductName": "P", "systemVersion": "1",
        "systemSerialNumber": "S", "systemUUID": "AB-1", "systemFamily": "F",
    });
    assert_eq!(told(&facts), expected);
}

fn sample(seconds: u64, user: u64, system: u64) -> Sample {
    let times = |user, system| CpuTimes {
        user,
        system,
        idle: 0,
    };
    Sample {
        monotonic: Duration::from_secs(seconds),
        unix: 1_795_329_582.474,
        ticks_per_second: 100,
        total: times(user * 2, system * 2),
        cpus: BTreeMap::from([(0, times(user, system)), (1, times(user, system))]),
        own: times(seconds, seconds.saturating_mul(2)),
        load: Some("2.65".into()),
        boot_time: Some(1_795_326_755),
        memory: memory(),
        hugepages: BTreeMap::from([(
            2048,
            HugePages {
                free: 7,
                total: 9,
                ..HugePages::default()
            },
        )]),
        numa: vec![node()],
        thp: Some("madvise".into()),
        disks: vec![("/tmp".into(), Some(70_256 << 20)), ("/gone".into(), None)],
        ..Sample::default()
    }
}

fn live() -> stats::Live {
    let id = "bc1145b0-0a0b-4c0d-8e0f-000000000001"
        .parse()
        .expect("an id");
    let vitals = schema::domain::DomainVitals {
        code: 0,
        last_check: schema::Str(5.2),
        delay: schema::Str(0.000_699_842),
        valid: true,
        version: 5,
        acquired: true,
        actual: true,
    };
    stats::Live {
        elapsed: Duration::from_millis(21_500),
        unix: 1_795_329_582,
        domains: BTreeMap::from([(id, vitals)]),
        vms: 3,
        active_vms: 1,
        network: super::network_tests::counted(),
        down: BTreeMap::new(),
        dirty: true,
    }
}

fn stats_of(samples: Vec<Sample>) -> Value {
    let mut sampler = Sampler::default();
    for mut sample in samples {
        // A sampler drops what is not newer.
        sample.monotonic += Duration::from_secs(1);
        sampler.push(sample);
    }
    let answer = stats::stats(sampler.stats().expect("a sample"), live());
    serde_json::to_value(answer).expect("JSON")
}

#[test]
fn stats_as_engine_reads_them() {
    let answer = stats_of(vec![sample(1000, 0, 0), sample(1010, 250, 500)]);
    has(
        &answer,
        &json!({
            "cpuLoad": "2.65", "cpuUser": "25.00", "cpuSys": "50.00", "cpuIdle": "25.00",
            "cpuUserVdsmd": "1.00", "cpuSysVdsmd": "2.00", "elapsedTime": "21.50", "memUsed": "17",
            "anonHugePages": "3180", "rxDropped": "3", "txDropped": "5", "thpState": "madvise",
            "bootTime": "1795326755", "diskStats": {"/tmp": {"free": "70256"}}, "v2vJobs": {},
            "multipathHealth": {}, "memFree": 20197, "swapTotal": 2048, "swapFree": 1024, "vmCount": 3,
            "vmActive": 1, "vmMigrating": 0, "incomingVmMigrations": 0, "outgoingVmMigrations": 0,
            "dateTime": "2026-11-22T06:39:42 GMT", "momStatus": "inactive", "netConfigDirty": "True",
            "numaNodeMemFree": {"0": {"memFree": "19123", "memPercent": 21,
                "hugepages": {"4": {"freePages": 1_664_122}, "2048": {"freePages": 0}}}},
            "haStats": {"configured": false, "active": false, "score": 0, "globalMaintenance": false, "localMaintenance": false},
            "storageDomains": {"bc1145b0-0a0b-4c0d-8e0f-000000000001": {"code": 0, "lastCheck": "5.2", "delay": "0.000699842",
                "valid": true, "version": 5, "acquired": true, "actual": true}},
        }),
    );
    let core = json!({"nodeIndex": 0, "cpuUser": "25.00", "cpuSys": "50.00", "cpuIdle": "25.00"});
    assert_eq!(answer["cpuStatistics"], json!({"0": core, "1": core}));
    assert_eq!(
        answer["hugepages"]["2048"],
        json!({
            "free_hugepages": 7, "vm.free_hugepages": 7, "nr_hugepages": 9, "nr_hugepages_mempolicy": 0,
            "nr_overcommit_hugepages": 0, "resv_hugepages": 0, "surplus_hugepages": 0,
        })
    );
    assert_eq!(
        answer["network"]["eth0"],
        json!({
            "name": "eth0", "rx": "861066207", "tx": "2062074", "state": "up", "rxDropped": "3",
            "txDropped": "5", "rxErrors": "1", "txErrors": "2", "speed": "1000", "duplex": "unknown",
            "sampleTime": 1_795_329_582.474,
        })
    );
}

#[test]
fn one_sample_tells_all_but_rates() {
    let answer = stats_of(vec![sample(1000, 250, 500)]);
    has(
        &answer,
        &json!({
            "cpuUser": "0.00", "cpuSys": "0.00", "cpuIdle": "100.00", "cpuStatistics": {}, "memUsed": "17",
        }),
    );
}

#[test]
fn a_node_without_memory_is_full() {
    let mut empty = sample(1000, 0, 0);
    empty.numa[0].total_kib = 0;
    empty.numa[0].free_kib = 0;
    assert_eq!(
        stats_of(vec![empty])["numaNodeMemFree"]["0"]["memPercent"],
        100
    );
}
