//! Cost of the layer itself, on libvirt's test driver: connecting, one small call, bulk statistics.
#![expect(clippy::unwrap_used, missing_docs, reason = "a bench")]

use criterion::{Criterion, criterion_group, criterion_main};
use libvirt::{Libvirt, LibvirtConfig};
use uuid::Uuid;
use vm_model::ports::Hypervisor;

fn connect() -> Libvirt {
    Libvirt::connect(LibvirtConfig::new("test:///default")).unwrap()
}

fn add_domain(libvirt: &Libvirt) -> Uuid {
    let id = Uuid::new_v4();
    let xml = format!(
        "<domain type='test'><name>{id}</name><uuid>{id}</uuid><memory>65536</memory><os><type>hvm</type></os></domain>"
    );
    libvirt.define(&xml).unwrap();
    libvirt.start(id, false).unwrap();
    id
}

fn benches(criterion: &mut Criterion) {
    let libvirt = connect();
    // The driver brings one domain of its own.
    for domain in libvirt.list().unwrap() {
        let _ = libvirt.destroy(domain.id, false);
    }
    let first = add_domain(&libvirt);
    criterion.bench_function("state", |bench| {
        bench.iter(|| libvirt.state(first).unwrap());
    });
    criterion.bench_function("all_stats/1", |bench| {
        bench.iter(|| libvirt.all_stats().unwrap());
    });
    for _ in 1..10 {
        add_domain(&libvirt);
    }
    criterion.bench_function("all_stats/10", |bench| {
        bench.iter(|| libvirt.all_stats().unwrap());
    });
    criterion.bench_function("connect", |bench| bench.iter(connect));
}

criterion_group!(all, benches);
criterion_main!(all);
