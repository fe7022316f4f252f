//! Who has an address, asked on real links.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: what fails here is a failed test"
)]

use std::{
    collections::BTreeSet,
    net::IpAddr,
    path::Path,
    time::{Duration, Instant},
};

use net_apply::arp::{self, ArpError, Owner};
use net_model::IfName;
use netns::{LONG, Peer, ip};

fn ask(device: &str, targets: &[&str], wait: Duration) -> Result<Vec<Owner>, ArpError> {
    let targets: Vec<IpAddr> = targets.iter().map(|it| it.parse().unwrap()).collect();
    arp::probe(&IfName::new(device).unwrap(), &targets, wait)
}

fn who(owners: &[Owner]) -> BTreeSet<String> {
    owners.iter().map(|it| it.target.to_string()).collect()
}

#[test]
fn netns_who_has_an_address_answers_one_who_has_none() {
    guard::in_network!(|| {
        let peer = Peer::new();
        let pid = peer.pid();
        // We have no address at all, as a bridge of guests has none.
        ip(&format!(
            "link add vtbr type bridge\nlink add vt0 type veth peer name vt1 netns {pid}\n\
             link set vt0 master vtbr\nlink set vt0 up\nlink set vtbr up"
        ));
        let mut targets = vec!["192.0.2.2"];
        peer.ip("link set vt1 address 02:00:00:00:00:77\nlink set vt1 up\naddress add 192.0.2.2/24 dev vt1");
        if Path::new("/proc/sys/net/ipv6").exists() {
            peer.sysctl("ipv6/conf/vt1/disable_ipv6", "0");
            peer.ip(
                "address add 2001:db8::2/64 dev vt1 nodad\naddress add fe80::2/64 dev vt1 nodad",
            );
            targets.extend(["2001:db8::2", "fe80::2"]);
        } else {
            println!("skipped: IPv6: this kernel has none");
        }
        // The bridge forwards as soon as its port does.
        let start = Instant::now();
        let owners = ask("vtbr", &targets, LONG).unwrap();
        assert_eq!(
            who(&owners),
            targets.iter().map(ToString::to_string).collect()
        );
        assert!(start.elapsed() < LONG, "it does not wait for more");
        for owner in &owners {
            assert_eq!(owner.mac.to_string(), "02:00:00:00:00:77", "{owner:?}");
        }
        // Nobody learned an address from us.
        let learned = peer.run("ip -4 neigh show");
        assert!(learned.trim().is_empty(), "{learned}");
        // One who is not there, among others.
        let some = ask("vtbr", &["192.0.2.2", "192.0.2.9"], Duration::from_secs(3)).unwrap();
        assert_eq!(who(&some), BTreeSet::from(["192.0.2.2".to_owned()]));
        // The kernel's own table stays empty, too.
        assert!(
            ask("vtbr", &["192.0.2.9"], Duration::from_millis(300))
                .unwrap()
                .is_empty()
        );
    });
}

#[test]
fn netns_where_nobody_can_be_asked_it_says_so() {
    guard::in_network!(|| {
        let short = Duration::from_millis(300);
        let gone = ask("vt-gone", &["192.0.2.1"], short);
        assert!(matches!(gone, Err(ArpError::NoEthernet { .. })), "{gone:?}");
        let lo = ask("lo", &["192.0.2.1"], short);
        assert!(matches!(lo, Err(ArpError::NoEthernet { .. })), "{lo:?}");
        ip("link add vt0 type veth peer name vt1");
        let down = ask("vt0", &["192.0.2.1"], short);
        assert!(matches!(down, Err(ArpError::System { .. })), "{down:?}");
        assert!(ask("vt0", &[], short).unwrap().is_empty());
    });
}
