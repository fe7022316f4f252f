//! Nothing is left behind: descriptors, threads and memory stay flat over many lives of domains and connections.
//!
//! Alone in its process, since it counts what the process holds.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::time::{Duration, Instant};

use libvirt::{Libvirt, LibvirtConfig};
use uuid::Uuid;
use vm_model::ports::{Hypervisor, XmlKind};

fn entries(path: &str) -> usize {
    std::fs::read_dir(path).unwrap().count()
}

/// Descriptors and threads.
fn held() -> (usize, usize) {
    (entries("/proc/self/fd"), entries("/proc/self/task"))
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn connect() -> Libvirt {
    Libvirt::connect(LibvirtConfig::new("test:///default")).unwrap()
}

fn one_life(libvirt: &Libvirt) {
    let id = Uuid::new_v4();
    let xml = format!(
        "<domain type='test'><name>{id}</name><uuid>{id}</uuid><memory>65536</memory><os><type>hvm</type></os></domain>"
    );
    libvirt.define(&xml).unwrap();
    libvirt.start(id, false).unwrap();
    libvirt
        .set_metadata(id, "x", "http://example.org/x", Some("<x/>"))
        .unwrap();
    libvirt.metadata(id, "http://example.org/x").unwrap();
    libvirt.all_stats().unwrap();
    libvirt.resume(id).unwrap_err();
    libvirt.xml(id, XmlKind::Live).unwrap();
    libvirt.destroy(id, true).unwrap();
    libvirt.undefine(id).unwrap();
}

#[test]
fn nothing_is_left_after_many_lives() {
    drop(connect());
    let before = held();
    let libvirt = connect();
    for _ in 0..100 {
        one_life(&libvirt);
    }
    let (warm, memory) = (held(), resident_kib());
    for _ in 0..1_000 {
        let events = libvirt.events();
        one_life(&libvirt);
        drop(events);
    }
    assert_eq!(
        held(),
        warm,
        "(descriptors, threads) after 1,000 lives of a domain"
    );
    let grown = resident_kib().saturating_sub(memory);
    assert!(
        grown < 4_096,
        "{grown} KiB more memory after 1,000 lives of a domain"
    );
    drop(libvirt);
    for _ in 0..50 {
        connect().list().unwrap();
    }
    // A thread is gone from /proc a moment after it was joined.
    let end = Instant::now() + Duration::from_mins(1);
    while held() != before && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(
        held(),
        before,
        "(descriptors, threads) after 50 connections"
    );
}
