//! Figures computed from samples, against values worked out by hand from upstream's rules.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use vm_model::{
    domain::{DomainXml, Nic},
    drive::Drive,
    ports::{BalloonStats, BlockStats, DomainStats, NetStats, VolumeSize},
    stats::compute::{self, BalloonFacts, Window},
};

fn drives() -> Vec<Drive> {
    DomainXml::parse(include_str!("data/engine.xml"))
        .unwrap()
        .drives()
        .unwrap()
}

fn nic(name: &str, model: &str) -> Nic {
    Nic {
        name: Some(name.to_owned()),
        mac: "m".to_owned(),
        model: model.to_owned(),
    }
}

fn window<'a>(first: &'a DomainStats, last: &'a DomainStats, seconds: f64) -> Window<'a> {
    Window {
        first: Some(first),
        last: Some(last),
        seconds,
    }
}

#[test]
fn cpu_in_percent_of_one_cpu() {
    let first = DomainStats {
        cpu_time_ns: Some(1_000_000_000),
        cpu_user_ns: Some(100_000_000),
        cpu_system_ns: Some(200_000_000),
        ..DomainStats::default()
    };
    let last = DomainStats {
        cpu_time_ns: Some(9_000_000_000),
        cpu_user_ns: Some(600_000_000),
        cpu_system_ns: Some(700_000_000),
        ..DomainStats::default()
    };
    let cpu = compute::cpu(&window(&first, &last, 10.0));
    assert_eq!((cpu.sys.as_str(), cpu.user.as_str()), ("10.00", "70.00"));
    assert_eq!((cpu.usage.as_str(), cpu.actual), ("1300000000", true));
    // As before the first two samples, or where libvirt tells less.
    let none = compute::cpu(&Window {
        first: None,
        last: Some(&last),
        seconds: 0.0,
    });
    assert_eq!(
        (none.user.as_str(), none.usage.as_str(), none.actual),
        ("0.00", "0.00", false)
    );
    assert!(!compute::cpu(&window(&first, &last, 0.0)).actual);
    let timeless = DomainStats {
        cpu_time_ns: None,
        ..last.clone()
    };
    let cpu = compute::cpu(&window(&first, &timeless, 10.0));
    assert_eq!(
        (cpu.sys.as_str(), cpu.user.as_str(), cpu.actual),
        ("10.00", "0.00", false)
    );
    // Less time than its parts: no negative figure.
    let short = DomainStats {
        cpu_time_ns: Some(1_000_000_001),
        ..last
    };
    assert_eq!(compute::cpu(&window(&first, &short, 10.0)).user, "0.00");
}

#[test]
fn disks_of_both_samples_are_measured() {
    let block = |reqs, bytes, times| BlockStats {
        name: "vda".to_owned(),
        rd_reqs: Some(reqs),
        rd_bytes: Some(bytes),
        rd_times: Some(times),
        allocation: Some(7),
        physical: Some(8),
        ..BlockStats::default()
    };
    let sample = |block| DomainStats {
        blocks: vec![block],
        ..DomainStats::default()
    };
    let (first, last) = (
        sample(block(10, 1_000, 500)),
        sample(block(14, 4_000, 1_500)),
    );
    let disks = compute::disks(&window(&first, &last, 2.0), &drives(), &BTreeMap::new());
    let names: Vec<_> = disks.iter().map(|disk| disk.name.as_str()).collect();
    assert_eq!(names, ["sdc", "vda"]);
    let vda = &disks[1];
    assert_eq!(
        (vda.read_latency.as_str(), vda.read_rate.as_str()),
        ("250.0", "1500.0")
    );
    assert_eq!(
        (vda.write_latency.as_str(), vda.write_rate.as_str()),
        ("0", "0.0")
    );
    assert_eq!(
        (vda.read_ops, vda.read_bytes, vda.write_ops),
        (14, 4_000, 0)
    );
    assert_eq!((vda.truesize, vda.apparentsize), (7, 8));
    assert!(vda.image_id.is_some());
    assert_eq!((disks[0].read_ops, disks[0].image_id), (0, None));
    assert!(compute::disks(&window(&first, &last, 0.0), &drives(), &BTreeMap::new()).is_empty());
    // No operation since: no latency.
    let disks = compute::disks(&window(&first, &first, 2.0), &drives(), &BTreeMap::new());
    assert_eq!(
        (disks[1].read_latency.as_str(), disks[1].read_rate.as_str()),
        ("0", "0.0")
    );
}

#[test]
fn sizes_are_those_of_storage_where_it_told() {
    let block = BlockStats {
        name: "vda".to_owned(),
        allocation: Some(7),
        physical: Some(8),
        ..BlockStats::default()
    };
    let sampled = DomainStats {
        blocks: vec![block],
        ..DomainStats::default()
    };
    let drives = drives();
    let size = VolumeSize {
        apparent: 64,
        allocated: 32,
    };
    let sizes = BTreeMap::from([(drives[1].pdiv().unwrap(), size)]);
    // Also of a drive that libvirt tells nothing of.
    for sample in [&sampled, &DomainStats::default()] {
        let disks = compute::disks(&window(sample, sample, 2.0), &drives, &sizes);
        assert_eq!((disks[1].apparentsize, disks[1].truesize), (64, 32));
        assert_eq!((disks[0].apparentsize, disks[0].truesize), (0, 0));
    }
}

#[test]
fn nics_of_both_samples_are_told() {
    let net = |name: &str, rx| NetStats {
        name: name.to_owned(),
        rx_bytes: Some(rx),
        tx_errs: Some(2),
        ..NetStats::default()
    };
    let first = DomainStats {
        nets: vec![net("vnet0", 5)],
        ..DomainStats::default()
    };
    let last = DomainStats {
        nets: vec![net("vnet1", 1), net("vnet0", 9)],
        ..DomainStats::default()
    };
    let nics = [
        nic("vnet0", "virtio"),
        nic("vnet1", "virtio"),
        nic("vnet2", "rtl8139"),
    ];
    let told = compute::networks(&window(&first, &last, 1.0), &nics, 12.5);
    assert_eq!(told.len(), 1);
    assert_eq!(
        (told[0].name.as_str(), told[0].rx, told[0].tx),
        ("vnet0", Some(9), None)
    );
    assert_eq!(
        (told[0].speed, told[0].state, told[0].tx_errors),
        (1000, "unknown", Some(2))
    );
    assert!((told[0].sample_time - 12.5).abs() < f64::EPSILON);
    let slow = compute::networks(&window(&first, &last, 1.0), &[nic("vnet0", "rtl8139")], 0.0);
    assert_eq!(slow[0].speed, 100);
}

#[test]
fn balloons_and_memory() {
    let balloon = BalloonStats {
        current: Some(100),
        available: Some(1_000),
        unused: Some(300),
        disk_caches: Some(200),
        swap_in: Some(30),
        major_fault: Some(25),
        ..BalloonStats::default()
    };
    let last = DomainStats {
        balloon,
        ..DomainStats::default()
    };
    let first = DomainStats::default();
    let window = window(&first, &last, 10.0);
    let facts = BalloonFacts {
        memory_kib: 1_024,
        minimum_kib: 512,
        target_kib: 800,
        enabled: true,
    };
    let told = compute::balloon(&window, Some(facts)).unwrap();
    assert_eq!(
        (told.max, told.min, told.cur, told.target),
        (1_024, 512, 100, 800)
    );
    assert_eq!(compute::balloon(&window, None), None);
    let memory = compute::memory(&window).unwrap();
    assert_eq!(
        (memory.total, memory.unused, memory.free),
        (1_000, 300, 500)
    );
    let rates = memory.rates.unwrap();
    assert_eq!(
        (rates.swap_in, rates.major_faults, rates.minor_faults),
        (3, 2, 0)
    );
    assert_eq!(compute::memory_usage(Some(&memory), 1_000), 50);
    assert_eq!(compute::memory_usage(Some(&memory), 0), 0);
    assert_eq!(compute::memory_usage(None, 1_000), 0);
    assert_eq!(
        compute::memory(&Window {
            last: Some(&first),
            ..window
        }),
        None
    );
}

proptest! {
    /// Engine parses these texts; whatever libvirt's counters do, they must be numbers.
    #[test]
    fn every_text_is_a_number(a in any::<[u64; 6]>(), b in any::<[u64; 6]>(), seconds in 1e-3..1e6) {
        let sample = |n: [u64; 6]| DomainStats {
            cpu_time_ns: Some(n[0]),
            cpu_user_ns: Some(n[1]),
            cpu_system_ns: Some(n[2]),
            blocks: vec![BlockStats {
                name: "vda".to_owned(),
                rd_reqs: Some(n[3]),
                rd_bytes: Some(n[4]),
                rd_times: Some(n[5]),
                ..BlockStats::default()
            }],
            ..DomainStats::default()
        };
        let (first, last) = (sample(a), sample(b));
        let window = window(&first, &last, seconds);
        let cpu = compute::cpu(&window);
        let disk = compute::disks(&window, &drives(), &BTreeMap::new()).remove(1);
        for text in [cpu.user, cpu.sys, cpu.usage, disk.read_latency, disk.read_rate] {
            let number: f64 = text.parse().unwrap();
            prop_assert!(number.is_finite() && number >= 0.0, "{}", text);
        }
    }
}
