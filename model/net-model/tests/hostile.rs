//! Changes that no request makes, but whoever speaks to the root helper himself could: refused by [`validate`], which the
//! helper calls before anything else.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

use net_model::{
    Base, Bond, Config, Current, Desired, IfName, Link, LinkKind, Mac, NetError, NetName, Network,
    RouteKind, Scope, StaticRoute, validate,
};
use serde_json::Map;

fn host() -> Current {
    let eth0 = IfName::new("eth0").unwrap();
    Current {
        links: [(eth0, Link::new(LinkKind::Nic, Mac::default()))].into(),
        ..Current::default()
    }
}

fn to(after: Config) -> Desired {
    Desired {
        before: Config::default(),
        after,
        scope: Scope::All,
    }
}

/// The name of a record is that of its file.
#[test]
fn records_of_devices_lie_where_records_lie() {
    let with = |name: &str| {
        to(Config {
            devices: [(name.to_owned(), Map::new())].into(),
            ..Config::default()
        })
    };
    for name in ["0000:05:00.1", "ens1f0"] {
        assert_eq!(validate(&host(), &with(name)), Ok(()), "{name}");
    }
    for name in ["../nets/evil", "../../evil", "a/b", "/x", "..", "", "a\nb"] {
        let refused = validate(&host(), &with(name));
        assert!(matches!(refused, Err(NetError::BadParams(_))), "{name:?}");
    }
}

#[test]
fn the_kernels_own_tables_are_nobodys() {
    for table in [0, 253, 255] {
        let route = StaticRoute {
            destination: "198.51.100.0/24".parse().unwrap(),
            via: Some("192.0.2.1".parse().unwrap()),
            metric: None,
            table: Some(table),
            source: None,
            mtu: None,
            onlink: true,
            kind: RouteKind::Unicast,
        };
        let network = Network {
            base: Some(Base::Nic(IfName::new("eth0").unwrap())),
            routes: vec![route],
            ..Network::default()
        };
        let config = Config {
            networks: [(NetName::new("a").unwrap(), network)].into(),
            ..Config::default()
        };
        let refused = validate(&host(), &to(config));
        assert!(matches!(refused, Err(NetError::BadParams(_))), "{table}");
    }
}

/// What the kernel would round cannot be verified afterwards.
#[test]
fn delays_of_bonds_that_the_kernel_would_round_are_refused() {
    let with = |options: &str| {
        let bond = Bond {
            slaves: [IfName::new("eth0").unwrap()].into(),
            options: options.parse().unwrap(),
            ..Bond::default()
        };
        to(Config {
            bonds: [(IfName::new("bond0").unwrap(), bond)].into(),
            ..Config::default()
        })
    };
    let refused = validate(&host(), &with("mode=1 miimon=100 updelay=150"));
    assert!(
        matches!(refused, Err(NetError::BadBonding(_))),
        "{refused:?}"
    );
    let good = validate(&host(), &with("mode=1 miimon=100 updelay=200"));
    assert_eq!(good, Ok(()));
}
