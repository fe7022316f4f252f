//! Who waits for whom: slow clients for nobody, sources of routes for their addresses; and in which network a thread works.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use net_apply::{ApplyError, DhcpClients, Machine as _};
use net_model::{
    DhcpClient, Family, IfName, Ipv6Setting, MAIN_TABLE, NetName, Planned, Route, Stage, Step,
};
use netns::{LONG, Peer};

use crate::{
    address, bridge, cards, cidr,
    common::{Host, compare::differences, ifname, plain, soon},
    master, mtu,
};

/// A client whose start lasts until the address of another network is there.
struct SlowDhcp;

impl DhcpClients for SlowDhcp {
    fn running(&self) -> BTreeMap<IfName, Vec<DhcpClient>> {
        BTreeMap::new()
    }

    fn start(&self, link: &IfName, _: &DhcpClient, _: Instant) -> Result<(), ApplyError> {
        let until = soon();
        while Instant::now() < until {
            let (current, _) = observe::network::network(LONG, &["veth"]).unwrap();
            if current.links["eth1"].has(cidr("192.0.2.5/24")) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(ApplyError::Dhcp {
            link: link.to_string(),
            why: "the others wait for it".to_owned(),
        })
    }

    fn stop(&self, _: &IfName, _: Family, _: Instant) -> Result<(), ApplyError> {
        Ok(())
    }
}

fn lane(network: &str, step: Step) -> Planned {
    Planned {
        stage: Stage::Addresses,
        network: Some(NetName::new(network).unwrap()),
        ..plain(step)
    }
}

#[test]
fn netns_nobody_waits_for_a_client_that_starts() {
    guard::in_network!(|| {
        cards(2);
        let host = Host::with(Arc::new(SlowDhcp));
        let client = DhcpClient {
            family: Family::V4,
            table: MAIN_TABLE,
            dns: false,
            stateless: false,
        };
        let start = Step::StartDhcp {
            link: ifname("eth0"),
            client,
        };
        let steps = [
            lane("a", start),
            lane("a", address("eth0", "198.51.100.5/24")),
            lane("b", mtu("eth1", 100_000)),
            lane("b", mtu("eth1", 1400)),
            lane("c", address("eth1", "192.0.2.5/24")),
        ];
        // And the lane that fails stops alone.
        let halted = host.machine.run(&steps, soon()).unwrap_err();
        assert_eq!((halted.done.as_slice(), halted.failed), (&[0, 1, 4][..], 2));
        let now = host.current();
        assert_eq!(now.links["eth1"].mtu, 1500);
        assert!(now.links["eth0"].has(cidr("198.51.100.5/24")));
    });
}

#[test]
fn netns_a_source_of_ipv6_is_waited_for() {
    guard::in_network!(|| {
        cards(1);
        let host = Host::new();
        let route = Route {
            source: Some("fd00::5".parse().unwrap()),
            ..Route::ours(
                Some(ifname("eth0")),
                MAIN_TABLE,
                cidr("fd99::/64"),
                Some("fd00::1".parse().unwrap()),
            )
        };
        let steps = [
            address("eth0", "fd00::5/64"),
            Step::AddRoute {
                route: route.clone(),
            },
        ];
        host.steps(&steps).unwrap();
        assert!(host.current().routes.contains(&route));
    });
}

#[test]
fn netns_a_thread_works_in_its_own_namespace() {
    guard::in_network!(|| {
        cards(1);
        let other = Peer::new();
        other.ip("link add eth0 type veth peer name p0\nlink set eth0 up\n");
        let host = Host::new();
        let before = host.current();
        let quiet = Step::SetIpv6 {
            link: ifname("eth0"),
            setting: Ipv6Setting::Disable,
            value: 1,
        };
        other.within(|| {
            let host = Host::new();
            host.steps(&[bridge("inside"), quiet, master("eth0", "inside")])
                .unwrap();
            let now = host.current();
            assert!(now.links["eth0"].ipv6.unwrap().disabled);
            assert_eq!(now.links["eth0"].master, Some(ifname("inside")));
        });
        assert_eq!(differences(&before, &host.current()), [""; 0]);
    });
}
