//! How long planning takes: 100 and 1,000 VLAN networks with an address, a gateway and source routing, set up from nothing, checked
//! when they are there, one of them changed, all removed.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on ends")]
#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::{collections::BTreeMap, hint::black_box};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use net_model::{
    Base, BridgeConfig, Config, Current, Desired, IfName, Ip, Link, LinkKind, Mac, NetName,
    Network, Scope, Tables, VlanId, plan,
};

fn network(number: u32) -> Network {
    let (high, low) = (number / 250, number % 250);
    Network {
        base: Some(Base::Nic(IfName::new("eth0").unwrap())),
        vlan: Some(VlanId::new(i64::from(number) + 1).unwrap()),
        bridge: Some(BridgeConfig::default()),
        ipv4: Ip {
            addresses: vec![format!("10.{high}.{low}.2/24").parse().unwrap()],
            gateway: Some(format!("10.{high}.{low}.1").parse().unwrap()),
            ..Ip::default()
        },
        ..Network::default()
    }
}

fn world() -> Current {
    let card = Link::new(LinkKind::Nic, Mac::new([2, 0, 0, 0, 0, 1]));
    Current {
        links: BTreeMap::from([(IfName::new("eth0").unwrap(), card)]),
        ipv6: true,
        ..Current::default()
    }
}

fn name(number: u32) -> NetName {
    NetName::new(&format!("net{number}")).unwrap()
}

fn change(before: &Config, after: &Config, scope: Scope) -> Desired {
    Desired {
        before: before.clone(),
        after: after.clone(),
        scope,
    }
}

fn plans(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan");
    group.sample_size(10);
    for number in [100, 1000] {
        let none = Config::default();
        let all = Config {
            networks: (0..number).map(|it| (name(it), network(it))).collect(),
            ..Config::default()
        };
        let mut tables = Tables::default();
        tables.allot(&all, &world().tables()).unwrap();
        let add = change(&none, &all, Scope::All);
        let there = plan(&world(), &add, &tables).unwrap().result;
        let mut other = all.clone();
        other.networks.get_mut(&name(7)).unwrap().mtu = 1400;
        let one = Scope::Named {
            networks: [name(7)].into(),
            bonds: [].into(),
        };
        for (what, current, desired) in [
            ("set up", &world(), &add),
            ("nothing to do", &there, &change(&all, &all, Scope::All)),
            ("change one", &there, &change(&all, &other, one)),
            ("remove", &there, &change(&all, &none, Scope::All)),
        ] {
            group.bench_with_input(BenchmarkId::new(what, number), &number, |bencher, _| {
                bencher.iter(|| black_box(plan(current, desired, &tables).unwrap()));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, plans);
criterion_main!(benches);
