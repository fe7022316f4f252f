//! Each kind of link with its options, and shaping.

use std::collections::BTreeMap;

use net_apply::ApplyError;
use net_model::{Curve, HostQos, LinkKind, QosClass, Step, VlanId};
use netlink::Channel;
use netns::{LONG, can_make, run};

use crate::{
    bridge, cards,
    common::{Host, ifname, kernel_defaults, shapes},
    master, up, words,
};

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
        // What requests may not ask for: the kernel makes a multiple of miimon of it, as the model does.
        for (name, asked, kept) in [("updelay", "250", "200"), ("downdelay", "99", "0")] {
            host.steps(&[option(name, asked)])
                .unwrap_or_else(|it| panic!("{}", words(&it)));
            let LinkKind::Bond(state) = host.current().links["bond0"].kind.clone() else {
                panic!("no bond");
            };
            assert_eq!(state.options[name], kept, "{name}");
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
        let left = run("tc qdisc show dev eth0");
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
