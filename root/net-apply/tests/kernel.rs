//! The executor against the real kernel: what is foreign stays, what fails is told, nothing waits for anything else.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that cannot go on ends"
)]

mod common;

use std::{
    collections::BTreeMap,
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use common::{
    Host, LONG, Other, can_make, compare::differences, ifname, ip, kernel_defaults, plain, shapes,
    soon,
};
use net_apply::{ApplyError, DhcpClients, Halted, Machine as _};
use net_model::{
    Cidr, Curve, DhcpClient, Family, HostQos, IfName, Ipv6Setting, LinkKind, MAIN_TABLE, NetName,
    Planned, QosClass, Route, RouteKind, Rule, Stage, Step, VlanId,
};
use netlink::Channel;

fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

fn up(name: &str) -> Step {
    Step::SetUp { link: ifname(name) }
}

fn bridge(name: &str) -> Step {
    Step::CreateBridge {
        name: ifname(name),
        mac: None,
    }
}

fn mtu(name: &str, mtu: u32) -> Step {
    Step::SetMtu {
        link: ifname(name),
        mtu,
    }
}

fn address(name: &str, text: &str) -> Step {
    Step::AddAddress {
        link: ifname(name),
        address: cidr(text),
    }
}

fn master(name: &str, above: &str) -> Step {
    Step::SetMaster {
        link: ifname(name),
        master: ifname(above),
    }
}

fn with_undo(step: Step, undo: Step) -> Planned {
    Planned {
        undo: vec![undo],
        ..plain(step)
    }
}

/// The whole of an error, the kernel's words too.
fn words(error: &dyn Error) -> String {
    let mut all = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        all = format!("{all}: {source}");
        next = source.source();
    }
    all
}

fn cards(number: u8) {
    kernel_defaults();
    for it in 0..number {
        ip(&format!(
            "link add eth{it} type veth peer name p{it}\nlink set eth{it} up\nlink set p{it} up\n"
        ));
    }
}

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
        let way = exec::Command::new("ip")
            .args(["route", "get", "198.51.100.1"])
            .run()
            .unwrap();
        let way = String::from_utf8_lossy(&way.stdout).into_owned();
        assert!(way.contains("via 192.0.2.2"), "{way}");
        host.steps(&[Step::RemoveRule { rule }, Step::RemoveRoute { route }])
            .unwrap();
        assert_eq!(differences(&before, &host.current()), [""; 0]);
    });
}

#[test]
fn netns_a_refusal_says_what_was_done_and_why() {
    guard::in_network!(|| {
        cards(1);
        let host = Host::new();
        let before = host.current();
        let steps = [
            with_undo(
                bridge("one"),
                Step::DeleteLink {
                    name: ifname("one"),
                },
            ),
            with_undo(mtu("eth0", 1400), mtu("eth0", 1500)),
            with_undo(mtu("eth0", 100_000), mtu("eth0", 1400)),
            with_undo(
                bridge("two"),
                Step::DeleteLink {
                    name: ifname("two"),
                },
            ),
        ];
        let halted = host.machine.run(&steps, soon()).unwrap_err();
        assert_eq!((halted.done.as_slice(), halted.failed), (&[0, 1][..], 2));
        assert!(
            matches!(halted.source, ApplyError::Refused { .. }),
            "{halted:?}"
        );
        let words = words(&halted);
        assert!(
            words.contains("eth0: mtu 100000") && words.contains("maximum"),
            "{words}"
        );
        let done: Vec<Planned> = halted.done.iter().map(|it| steps[*it].clone()).collect();
        let failed = host.machine.undo(&net_model::undo(&done), soon());
        assert!(failed.is_empty(), "{failed:?}");
        assert_eq!(differences(&before, &host.current()), [""; 0]);
    });
}

#[test]
fn netns_a_card_that_vanishes_midway() {
    guard::in_network!(|| {
        cards(2);
        let host = Host::new();
        let first = [
            with_undo(
                bridge("one"),
                Step::DeleteLink {
                    name: ifname("one"),
                },
            ),
            with_undo(
                master("eth1", "one"),
                Step::ClearMaster {
                    link: ifname("eth1"),
                },
            ),
            with_undo(mtu("eth1", 1400), mtu("eth1", 1500)),
            with_undo(mtu("eth0", 1400), mtu("eth0", 1500)),
        ];
        host.machine.run(&first, soon()).unwrap();
        ip("link del eth1");
        let before = host.current();
        let then = [
            plain(up("one")),
            plain(address("eth1", "192.0.2.5/24")),
            plain(up("eth0")),
        ];
        let halted = host.machine.run(&then, soon()).unwrap_err();
        assert_eq!((halted.done.as_slice(), halted.failed), (&[0][..], 1));
        assert!(
            words(&halted).contains("there is no eth1"),
            "{}",
            words(&halted)
        );
        // What can be undone is, what cannot is told.
        let failed = host.machine.undo(&net_model::undo(&first), soon());
        let told: Vec<String> = failed.iter().map(|it| words(it)).collect();
        assert!(
            told.len() == 1 && told[0].contains("eth1: mtu 1500"),
            "{told:?}"
        );
        let after = host.current();
        assert!(!after.links.contains_key("one"));
        assert_eq!(after.links["eth0"].mtu, 1500);
        assert_eq!(
            before.links["eth0"].mtu, 1400,
            "the comparison means something"
        );
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

#[test]
fn netns_no_time_left() {
    guard::in_network!(|| {
        let host = Host::new();
        let past = Instant::now()
            .checked_sub(Duration::from_millis(1))
            .unwrap();
        let Halted {
            done,
            failed,
            source,
            ..
        } = host
            .machine
            .run(&[plain(bridge("late"))], past)
            .unwrap_err();
        assert_eq!((done.len(), failed), (0, 0));
        assert!(matches!(source, ApplyError::Late { .. }), "{source:?}");
        assert!(!host.current().links.contains_key("late"));
    });
}

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
        let other = Other::new();
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

/// Every option of bridges that can be set takes a value and gives it back.
#[test]
fn netns_options_of_bridges() {
    guard::in_network!(|| {
        kernel_defaults();
        let host = Host::new();
        host.steps(&[bridge("b")]).unwrap();
        for (option, value) in [
            ("ageing_time", "20000"),
            ("default_pvid", "7"),
            ("forward_delay", "400"),
            ("group_fwd_mask", "0x8"),
            ("hello_time", "300"),
            ("max_age", "1800"),
            ("mcast_stats_enabled", "1"),
            ("multicast_igmp_version", "3"),
            ("multicast_last_member_count", "3"),
            ("multicast_last_member_interval", "200"),
            ("multicast_membership_interval", "20000"),
            ("multicast_mld_version", "2"),
            ("multicast_querier", "1"),
            ("multicast_querier_interval", "20000"),
            ("multicast_query_interval", "10000"),
            ("multicast_query_response_interval", "900"),
            ("multicast_query_use_ifaddr", "1"),
            ("multicast_router", "2"),
            ("multicast_snooping", "0"),
            ("multicast_startup_query_count", "3"),
            ("multicast_startup_query_interval", "3000"),
            ("no_linklocal_learn", "1"),
            ("priority", "16384"),
            ("stp_state", "1"),
        ] {
            let step = Step::SetBridgeOption {
                bridge: ifname("b"),
                option: option.to_owned(),
                value: value.to_owned(),
            };
            host.steps(&[step])
                .unwrap_or_else(|it| panic!("{option}: {}", words(&it)));
            let LinkKind::Bridge(state) = host.current().links["b"].kind.clone() else {
                panic!("no bridge");
            };
            let stp = u8::from(state.stp).to_string();
            let now = match option {
                "stp_state" => Some(&stp),
                _ => state.options.get(option),
            };
            let Some(now) = now else {
                println!("skipped: {option}: bridges of this kernel have none");
                continue;
            };
            assert!(
                net_model::bridge::same_value(now, value),
                "{option}: {now}, not {value}"
            );
        }
    });
}

#[test]
fn netns_bonds_take_options_and_ports() {
    guard::in_network!(|| {
        if !can_make("bond") {
            println!("skipped: this kernel has no bonds");
            return;
        }
        cards(2);
        let host = Host::new();
        let bond = ifname("bond0");
        let option = |option: &str, value: &str| Step::SetBondOption {
            bond: bond.clone(),
            option: option.to_owned(),
            value: value.to_owned(),
        };
        let create = Step::CreateBond {
            name: bond.clone(),
            mode: 1,
            mac: None,
        };
        let enter = |name: &str| {
            let down = Step::SetDown { link: ifname(name) };
            [down, master(name, "bond0"), up(name)]
        };
        let steps = [
            vec![
                create,
                option("miimon", "100"),
                option("updelay", "200"),
                option("primary_reselect", "1"),
            ],
            enter("eth0").into(),
            enter("eth1").into(),
            vec![option("primary", "eth1"), up("bond0")],
        ];
        for _ in 0..2 {
            let steps: Vec<Step> = steps.concat();
            host.steps(&steps)
                .unwrap_or_else(|it| panic!("{}", words(&it)));
            let now = host.current();
            let LinkKind::Bond(state) = &now.links["bond0"].kind else {
                panic!("no bond");
            };
            for (name, value) in [
                ("mode", "1"),
                ("miimon", "100"),
                ("updelay", "200"),
                ("primary", "eth1"),
            ] {
                assert_eq!(state.options[name], value, "{name}");
            }
            assert_eq!(now.links["eth0"].master, Some(bond.clone()));
        }
        let to_targets = [
            option("miimon", "0"),
            option("arp_ip_target", "192.0.2.1,192.0.2.2"),
            option("arp_interval", "100"),
        ];
        host.steps(&to_targets)
            .unwrap_or_else(|it| panic!("{}", words(&it)));
        let LinkKind::Bond(state) = host.current().links["bond0"].kind.clone() else {
            panic!("no bond");
        };
        assert_eq!(state.options["arp_ip_target"], "192.0.2.1,192.0.2.2");
        host.steps(&[Step::DeleteLink { name: bond }]).unwrap();
        assert_eq!(host.current().links["eth0"].master, None);
    });
}

fn share(m2: u64) -> HostQos {
    HostQos {
        ls: Some(Curve {
            m2,
            ..Curve::default()
        }),
        ..HostQos::default()
    }
}

#[test]
fn netns_shaping() {
    guard::in_network!(|| {
        cards(1);
        let host = Host::new();
        let device = ifname("eth0");
        let set = |class, qos| Step::SetQos {
            device: ifname("eth0"),
            class,
            qos,
        };
        let gone = |class| Step::RemoveQos {
            device: ifname("eth0"),
            class,
        };
        let vlan = |id| QosClass(Some(VlanId::new(id).unwrap()));
        let untagged = QosClass(None);
        host.steps(&[gone(untagged)]).unwrap();
        if !shapes() {
            // What the kernel lacks it says itself.
            let halted = host.steps(&[set(vlan(7), share(20))]).unwrap_err();
            assert!(
                matches!(halted.source, ApplyError::Refused { .. }),
                "{halted:?}"
            );
            println!("skipped: this kernel does not shape: {}", words(&halted));
            return;
        }
        let limited = HostQos {
            ul: Some(Curve {
                m1: 0,
                d: 0,
                m2: 8_000_000,
            }),
            ..share(50)
        };
        let mut wanted = BTreeMap::new();
        for (class, qos) in [
            (vlan(7), share(20)),
            (vlan(18), limited),
            (untagged, share(50)),
            (vlan(7), limited),
            (vlan(18), share(1)),
        ] {
            wanted.insert(class, qos);
            for _ in 0..2 {
                let done = host.steps(&[set(class, qos)]);
                done.unwrap_or_else(|it| panic!("{}", words(&it)));
                assert_eq!(host.current().qos.get(&device), Some(&wanted));
            }
        }
        for class in [untagged, vlan(18), vlan(7)] {
            wanted.remove(&class);
            for _ in 0..2 {
                let done = host.steps(&[gone(class)]);
                done.unwrap_or_else(|it| panic!("{}", words(&it)));
                let now = host.current().qos.get(&device).cloned().unwrap_or_default();
                assert_eq!(now, wanted);
            }
        }
        let left = exec::Command::new("tc")
            .args(["qdisc", "show", "dev", "eth0"])
            .run()
            .unwrap();
        let left = String::from_utf8_lossy(&left.stdout).into_owned();
        assert!(
            !left.contains("hfsc") && !left.contains("ingress"),
            "{left}"
        );
    });
}

#[test]
fn netns_vlans() {
    guard::in_network!(|| {
        if !can_make("vlan") {
            println!("skipped: this kernel has no VLANs");
            return;
        }
        cards(1);
        let host = Host::new();
        let vlan = |name: &str, id| Step::CreateVlan {
            name: ifname(name),
            parent: ifname("eth0"),
            id: VlanId::new(id).unwrap(),
        };
        for _ in 0..2 {
            host.steps(&[vlan("eth0.7", 7)]).unwrap();
        }
        let kind = LinkKind::Vlan {
            parent: ifname("eth0"),
            id: 7,
        };
        assert_eq!(host.current().links["eth0.7"].kind, kind);
        let halted = host.steps(&[vlan("eth0.7", 8)]).unwrap_err();
        assert!(words(&halted).contains("vlan 7"), "{}", words(&halted));
        // The id is taken by one of another name.
        let halted = host.steps(&[vlan("eth0.8", 7)]).unwrap_err();
        assert!(
            matches!(halted.source, ApplyError::Refused { .. }),
            "{halted:?}"
        );
        let channel = Channel::open(LONG).unwrap();
        assert_eq!(channel.index_of("eth0.8"), None);
    });
}
