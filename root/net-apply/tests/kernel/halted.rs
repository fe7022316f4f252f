//! Steps that fail: what was done and why it ended is told, and the rest can be undone.

use std::time::{Duration, Instant};

use net_apply::{ApplyError, Halted, Machine as _};
use net_model::{Planned, Step};
use netns::ip;

use crate::{
    address, bridge, cards,
    common::{Host, compare::differences, ifname, plain, soon},
    master, mtu, up, with_undo, words,
};

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
