//! What is not ours stays as it is, and what is so already is success.

use net_apply::{ApplyError, Machine as _};
use net_model::{Family, Ipv6Setting, MAIN_TABLE, Route, RouteKind, Rule, Step};
use netns::{ip, run};

use crate::{
    address, bridge, cards, cidr,
    common::{Host, compare::differences, ifname, soon},
    master, up, words,
};

#[test]
fn netns_what_is_foreign_is_in_the_way() {
    guard::in_network!(|| {
        cards(2);
        ip("link add other type bridge\nlink set eth1 master other\n");
        let host = Host::new();
        let before = host.current();
        for (step, why) in [
            (bridge("eth0"), "eth0 is another one, a veth"),
            (
                Step::DeleteLink {
                    name: ifname("eth0"),
                },
                "eth0 is another one, a veth",
            ),
            (master("eth1", "mine"), "eth1 belongs to interface"),
            (
                Step::SetIpv6 {
                    link: ifname("all"),
                    setting: Ipv6Setting::Disable,
                    value: 1,
                },
                "means every interface",
            ),
        ] {
            host.steps(&[bridge("mine")]).unwrap();
            let halted = host.steps(std::slice::from_ref(&step)).unwrap_err();
            assert!(
                matches!(halted.source, ApplyError::InTheWay { .. }),
                "{halted:?}"
            );
            assert!(words(&halted).contains(why), "{step}: {}", words(&halted));
        }
        host.steps(&[Step::DeleteLink {
            name: ifname("mine"),
        }])
        .unwrap();
        assert_eq!(differences(&before, &host.current()), [""; 0]);
    });
}

#[test]
fn netns_what_is_so_already_is_success() {
    guard::in_network!(|| {
        cards(1);
        let host = Host::new();
        let eth0 = ifname("eth0");
        let rule = Rule {
            table: 100_001,
            priority: 3200,
            family: Family::V6,
            from: Some(cidr("fd00::/64")),
            to: None,
            protocol: 118,
            more: false,
        };
        let hole = Route {
            kind: RouteKind::Unreachable,
            ..Route::ours(None, 7, cidr("fd01::/64"), None)
        };
        let far = Route {
            mtu: Some(1400),
            onlink: true,
            ..Route::ours(
                Some(eth0.clone()),
                MAIN_TABLE,
                cidr("198.51.100.0/24"),
                Some("203.0.113.9".parse().unwrap()),
            )
        };
        let make = [
            address("eth0", "192.0.2.5/24"),
            address("eth0", "fd00::5/64"),
            Step::AddRoute {
                route: hole.clone(),
            },
            Step::AddRoute { route: far.clone() },
            Step::AddRule { rule: rule.clone() },
        ];
        let empty = host.current();
        for _ in 0..2 {
            host.steps(&make).unwrap();
            let now = host.current();
            assert!(
                now.routes.contains(&hole) && now.routes.contains(&far),
                "{now:?}"
            );
            assert_eq!(now.rules, [rule.clone()].into());
        }
        let unmake = [
            Step::RemoveRule { rule },
            Step::RemoveRoute { route: far },
            Step::RemoveRoute { route: hole },
            Step::RemoveAddress {
                link: eth0.clone(),
                address: cidr("fd00::5/64"),
            },
            Step::RemoveAddress {
                link: eth0,
                address: cidr("192.0.2.5/24"),
            },
            Step::DeleteLink {
                name: ifname("none"),
            },
            Step::ClearMaster {
                link: ifname("none"),
            },
        ];
        for _ in 0..2 {
            host.steps(&unmake).unwrap();
        }
        assert_eq!(differences(&empty, &host.current()), [""; 0]);
    });
}

#[test]
fn netns_our_rules_and_routes_stand_beside_foreign_ones() {
    guard::in_network!(|| {
        cards(1);
        ip("addr add 192.0.2.5/24 dev eth0\n\
            route add 198.51.100.0/24 via 192.0.2.1 proto static\n\
            rule add from 192.0.2.0/24 lookup 77 priority 3200 protocol 4\n");
        let host = Host::new();
        let before = host.current();
        let rule = Rule {
            table: 77,
            priority: 3200,
            family: Family::V4,
            from: Some(cidr("192.0.2.0/24")),
            to: None,
            protocol: 118,
            more: false,
        };
        let route = Route::ours(
            Some(ifname("eth0")),
            MAIN_TABLE,
            cidr("198.51.100.0/24"),
            Some("192.0.2.2".parse().unwrap()),
        );
        let make = [
            Step::AddRule { rule: rule.clone() },
            Step::AddRoute {
                route: route.clone(),
            },
        ];
        host.steps(&make).unwrap();
        let both = host.current();
        assert_eq!((both.rules.len(), both.routes.len()), (2, 2), "{both:?}");
        // Ours of the same metric comes first.
        let way = run("ip route get 198.51.100.1");
        assert!(way.contains("via 192.0.2.2"), "{way}");
        host.steps(&[Step::RemoveRule { rule }, Step::RemoveRoute { route }])
            .unwrap();
        assert_eq!(differences(&before, &host.current()), [""; 0]);
    });
}

#[test]
fn netns_links_that_go_together_leave_others_alone() {
    guard::in_network!(|| {
        cards(1);
        // Somebody has the number that ours get before they go.
        ip("link add other type bridge\nlink set other group 1986294637\n");
        let host = Host::new();
        let before = host.current();
        let names = ["b0", "b1", "b2", "b3"];
        let make: Vec<Step> = names.iter().flat_map(|it| [bridge(it), up(it)]).collect();
        let unmake: Vec<Step> = names
            .iter()
            .flat_map(|name| {
                let link = ifname(name);
                let down = Step::SetDown { link: link.clone() };
                [down, Step::DeleteLink { name: link }]
            })
            .collect();
        for alone in [false, true] {
            if !alone {
                host.steps(&make).unwrap();
                host.steps(&unmake).unwrap();
                assert_eq!(differences(&before, &host.current()), [""; 0]);
            }
            host.steps(&make).unwrap();
            host.steps(&[master("eth0", "b2")]).unwrap();
            let failed = host.machine.undo(&unmake, soon());
            assert!(failed.is_empty(), "{failed:?}");
            assert_eq!(differences(&before, &host.current()), [""; 0]);
            ip("link set other group default\n");
        }
    });
}
