//! Addresses for a time, and IPv6 routes beside foreign ones, on the real kernel.

use net_apply::Machine as _;
use net_model::{
    Address, Base, Config, Current, Desired, Expiry, Network, RouteKind, Scope, StaticRoute, Step,
    Tables, plan,
};
use netns::ip;

use super::{
    address, cards, cidr,
    common::{Host, ifname, soon},
};

fn on_eth0(current: &Current, text: &str) -> Option<Address> {
    let all = current.links[&ifname("eth0")].addresses.iter();
    all.copied().find(|it| it.cidr == cidr(text))
}

fn back(text: &str, expiry: Expiry) -> Step {
    Step::ReturnAddress {
        link: ifname("eth0"),
        address: cidr(text),
        expiry,
    }
}

#[test]
fn netns_an_address_comes_back_for_what_is_left_of_its_time() {
    guard::in_network!(|| {
        cards(1);
        let host = Host::new();
        for text in ["192.0.2.77/24", "2001:db8:5::7/64"] {
            ip(&format!(
                "addr add {text} dev eth0 valid_lft 5000 preferred_lft 4000"
            ));
            let was = on_eth0(&host.current(), text).unwrap();
            let expiry = was.expiry.unwrap();
            // As much as before, but for the time that the machine takes between looking and acting.
            let is_back = |when: &str| {
                let now = on_eth0(&host.current(), text).unwrap();
                let end = now.expiry.unwrap();
                assert!(now.dynamic, "{when}: {now:?}");
                for (was, is) in [(expiry.valid, end.valid), (expiry.preferred, end.preferred)] {
                    assert!(is + 2 >= was && is < was + 500, "{when}: {now:?} {was:?}");
                }
            };
            host.steps(&[address("eth0", text)]).unwrap();
            assert!(!on_eth0(&host.current(), text).unwrap().dynamic, "lasting");
            host.steps(&[back(text, expiry)]).unwrap();
            is_back("made to last");
            let gone = Step::RemoveAddress {
                link: ifname("eth0"),
                address: cidr(text),
            };
            host.steps(&[gone.clone(), back(text, expiry)]).unwrap();
            is_back("removed");
            // Its owner has renewed it meanwhile.
            let soon = Expiry {
                valid: expiry.valid - 4000,
                preferred: expiry.valid - 4000,
            };
            host.steps(&[back(text, soon)]).unwrap();
            is_back("renewed");
            let over = Expiry {
                valid: 1,
                preferred: 1,
            };
            host.steps(&[gone, back(text, over)]).unwrap();
            assert!(on_eth0(&host.current(), text).is_none(), "over");
        }
    });
}

#[test]
fn netns_an_ipv6_route_of_ours_is_no_way_of_a_foreign_one() {
    guard::in_network!(|| {
        cards(2);
        ip("route add 2001:db8:9::/64 via fe80::9 dev eth1 proto static");
        let host = Host::new();
        let ways = |host: &Host| -> Vec<(u32, u8, String)> {
            let current = host.current();
            let all = current.routes.iter();
            let all = all.filter(|it| it.destination == cidr("2001:db8:9::/64"));
            let device = |it: &net_model::Route| it.device.as_ref().unwrap().to_string();
            let mut all: Vec<_> = all.map(|it| (it.metric, it.protocol, device(it))).collect();
            all.sort();
            all
        };
        let foreign = (1024, 4, "eth1".to_owned());
        assert_eq!(ways(&host), std::slice::from_ref(&foreign));
        let mut network = Network {
            base: Some(Base::Nic(ifname("eth0"))),
            routes: vec![StaticRoute {
                destination: cidr("2001:db8:9::/64"),
                via: Some("2001:db8:5::1".parse().unwrap()),
                metric: None,
                table: None,
                source: None,
                mtu: None,
                onlink: false,
                kind: RouteKind::Unicast,
            }],
            ..Network::default()
        };
        network.ipv6.addresses.push(cidr("2001:db8:5::7/64"));
        let mut config = Config::default();
        config
            .networks
            .insert(net_model::NetName::new("n").unwrap(), network);
        let go = |before: &Config, after: &Config| {
            let desired = Desired {
                before: before.clone(),
                after: after.clone(),
                scope: Scope::All,
            };
            let plan = plan(&host.current(), &desired, &Tables::default()).unwrap();
            host.machine.run(&plan.steps, soon()).unwrap();
            plan
        };
        go(&Config::default(), &config);
        let ours = (1023, 118, "eth0".to_owned());
        assert_eq!(ways(&host), [ours, foreign.clone()]);
        let again = go(&config, &config);
        assert!(again.is_empty(), "{again}");
        go(&config, &Config::default());
        assert_eq!(ways(&host), [foreign]);
    });
}
