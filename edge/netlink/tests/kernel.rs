//! The kernel of this machine, asked for what anyone may know, and for what it must refuse.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: what fails here is a failed test"
)]

use std::time::Duration;

use netlink::{
    Act, Channel,
    packet::{
        RouteNetlinkMessage,
        address::AddressMessage,
        link::{LinkAttribute, LinkMessage},
        route::RouteMessage,
        rule::RuleMessage,
    },
};
use rustix::io::Errno;

fn channel() -> Channel {
    Channel::open(Duration::from_secs(20)).unwrap()
}

fn names(links: &[RouteNetlinkMessage]) -> Vec<String> {
    let names = links.iter().filter_map(|it| match it {
        RouteNetlinkMessage::NewLink(link) => link.attributes.iter().find_map(|it| match it {
            LinkAttribute::IfName(name) => Some(name.clone()),
            _ => None,
        }),
        other => panic!("{other:?}"),
    });
    names.collect()
}

#[test]
fn everything_is_dumped_over_one_socket() {
    let mut channel = channel();
    for _ in 0..20 {
        let links = channel
            .dump(&RouteNetlinkMessage::GetLink(LinkMessage::default()))
            .unwrap();
        assert!(names(&links).contains(&"lo".to_owned()));
        for request in [
            RouteNetlinkMessage::GetAddress(AddressMessage::default()),
            RouteNetlinkMessage::GetRoute(RouteMessage::default()),
            RouteNetlinkMessage::GetRule(RuleMessage::default()),
        ] {
            channel.dump(&request).unwrap();
        }
    }
}

#[test]
fn what_is_not_wanted_is_not_read() {
    let mut channel = channel();
    let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
    let all = names(&channel.dump(&request).unwrap());
    // `struct ifinfomsg`: the interface's number is its second word; the loopback's is 1.
    let is_first = |body: &[u8]| body.get(4..8) == Some(&1_i32.to_ne_bytes()[..]);
    let first: Vec<_> = channel.gather(&request, is_first, Vec::push).unwrap();
    assert_eq!(names(&first), ["lo"]);
    let others = |body: &[u8]| !is_first(body);
    let others: Vec<_> = channel.gather(&request, others, Vec::push).unwrap();
    let has_first = |names: &[String]| names.iter().any(|it| it == "lo");
    assert!(has_first(&all) && !has_first(&names(&others)));
}

#[test]
fn one_is_asked_for_by_its_name() {
    let mut channel = channel();
    let mut ask = |name: &str| {
        let mut link = LinkMessage::default();
        link.attributes.push(LinkAttribute::IfName(name.into()));
        channel.get(&RouteNetlinkMessage::GetLink(link)).unwrap()
    };
    assert_eq!(names(&[ask("lo").unwrap()]), ["lo"]);
    assert!(ask("vt-no-such-link").unwrap_err().is(Errno::NODEV));
    assert_eq!(channel.index_of("lo"), Some(1));
    assert_eq!(channel.index_of("vt-no-such-link"), None);
}

/// No interface has this number.
const NOBODY: u32 = i32::MAX as u32;

#[test]
fn refusals_come_in_order_and_many_fit() {
    let mut channel = channel();
    let mut nobody = LinkMessage::default();
    nobody.header.index = NOBODY;
    let mut named = LinkMessage::default();
    named
        .attributes
        .push(LinkAttribute::IfName("vt-no-such-link".into()));
    let acts: Vec<_> = (0..500)
        .map(|n| match n % 3 {
            0 => Act::change(RouteNetlinkMessage::DelLink(nobody.clone())),
            1 => Act::change(RouteNetlinkMessage::DelLink(named.clone())),
            _ => Act::change(RouteNetlinkMessage::DelLink(LinkMessage::default())),
        })
        .collect();
    let answers = channel.act(&acts).unwrap();
    assert_eq!(answers.len(), 500);
    // As root the kernel looks for the link; for others it refuses at once.
    let root = rustix::process::geteuid().is_root();
    for (n, answer) in answers.iter().enumerate() {
        let refusal = answer.as_ref().unwrap_err();
        let expected = match (root, n % 3) {
            (false, _) => Errno::PERM,
            (true, 0 | 1) => Errno::NODEV,
            (true, _) => Errno::INVAL,
        };
        assert!(refusal.is(expected), "{n}: {refusal}");
    }
    // The socket is as good as new.
    channel
        .dump(&RouteNetlinkMessage::GetLink(LinkMessage::default()))
        .unwrap();
}
