//! Real clients and servers that change their mind; and a disk that takes nothing more.

mod common;

use common::{Host, TABLE, client, give, link, passing, rules};
use net_model::Family;
use netns::{Peer, wait_for, wait_or};

const V4: Family = Family::V4;

/// An hour: what is not refused stays for longer than any test waits. Renewed every four seconds.
const HOUR: [&str; 3] = [
    "--dhcp-range=192.0.2.100,192.0.2.150,1h",
    "--dhcp-option=option:T1,4",
    "--dhcp-option=option:T2,3000",
];

fn leased(host: &Host, start: &str) {
    let lease = || passing("c0", V4).first().cloned();
    let is_it = || lease().filter(|it| it.starts_with(start));
    let log = || format!("the client's log:\n{}", host.log());
    wait_or(&format!("a lease of {start}"), log, is_it);
}

/// A client that has a lease, and the server that gave it, with its number.
fn renting() -> (Host, Peer, usize) {
    let host = Host::new();
    let mut peer = Peer::new();
    peer.link("c0", "s0");
    give(&peer, "s0", "192.0.2.1/24");
    let server = peer.dnsmasq(host.folder.path(), "s0", &HOUR);
    host.start("c0", &client(V4, TABLE, false));
    leased(&host, "192.0.2.1");
    wait_for("rules", || (rules().len() == 2).then_some(()));
    (host, peer, server)
}

#[test]
fn netns_a_refused_renewal_ends_the_lease_at_once() {
    guard::in_network!(|| {
        need!();
        let (host, mut peer, first) = renting();
        let folder = host.folder.path();
        // Another server in its place, which knows nothing of the lease and gives other addresses.
        peer.end_server(first);
        std::fs::remove_file(folder.join("leases-s0")).expect("leases");
        let range = "--dhcp-range=192.0.2.200,192.0.2.250,1h";
        peer.dnsmasq(folder, "s0", &[range, "--dhcp-authoritative"]);
        leased(&host, "192.0.2.2");
        assert_eq!(passing("c0", V4).len(), 1, "the refused one is gone");
        assert!(host.log().contains("refused"), "{}", host.log());
        host.end();
        drop(peer);
    });
}

#[test]
fn netns_a_lease_is_renewed_though_nothing_can_be_remembered() {
    guard::in_network!(|| {
        need!();
        let (host, peer, _) = renting();
        // As on a full disk: no new file can come into its place. The client may be about to write it.
        let brought = host.folder.path().join("dhcp/c0.v4.brought");
        wait_for("a folder in its place", || {
            let _ = std::fs::remove_file(&brought);
            std::fs::create_dir(&brought).ok()
        });
        let end = || {
            let all = link("c0").addresses;
            all.iter().find_map(|it| it.expiry.filter(|_| it.dynamic))
        };
        let before = end().expect("an address for a time").valid;
        wait_or(
            "more time",
            || host.log(),
            || end().filter(|it| it.valid > before + 3),
        );
        std::fs::remove_dir(&brought).expect("removed");
        host.end();
        drop(peer);
    });
}
