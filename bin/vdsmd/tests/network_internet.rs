//! A host with two networks, each behind a router of its own, and the internet behind both. The routers are strict: what comes in
//! by a side that its sender is not on goes no further. So an address answers only if its answers leave by its own network.
//!
//! ```text
//! host: green (bridge on veth_a) 192.0.2.2  2001:db8:1::2 ── router one ┐
//!                                                                       internet
//!       blue  (veth_c)           10.7.0.2   2001:db8:7::2 ── router two ┘
//! ```
//!
//! Networks are set up through the port. Needs root; dnsmasq for addresses that come by themselves.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test's helpers fail the test"
)]

mod common;

use std::{
    collections::BTreeSet,
    io::ErrorKind,
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use common::{
    Serving as _, in_network,
    networks::{Twins, beside, ip, ip_json, link, setup, unchecked, witnessed},
};
use netns::{Peer, eventually, wait_or};
use serde_json::{Map, Value, json};

/// One of the two ways out: the prefixes of its side, and those of its link to the internet.
struct Way {
    card: &'static str,
    side: (&'static str, &'static str),
    up: (&'static str, &'static str),
}

const ONE: Way = Way {
    card: "veth_a",
    side: ("192.0.2", "2001:db8:1:"),
    up: ("10.1.0", "fd01:"),
};
const TWO: Way = Way {
    card: "veth_c",
    side: ("10.7.0", "2001:db8:7:"),
    up: ("10.2.0", "fd02:"),
};

impl Way {
    /// Makes a router of a network, with the internet at its other end.
    fn open(&self, router: &Peer, internet: &Peer, other: &Self) {
        let ((v4, v6), (up4, up6), far) = (self.side, self.up, internet.pid());
        let (card, wan) = (self.card, format!("w{}", self.card));
        for (name, value) in [
            ("ipv4/ip_forward", "1"),
            ("ipv4/conf/all/rp_filter", "1"),
            ("ipv6/conf/all/forwarding", "1"),
        ] {
            router.sysctl(name, value);
        }
        router.ip(&format!(
            "link add {wan} type veth peer name i{card} netns {far}
             link set {wan} up
             addr add {v4}.1/24 dev p{card}
             addr add {v6}:1/64 dev p{card} nodad
             addr add {up4}.1/24 dev {wan}
             addr add {up6}:1/64 dev {wan} nodad
             route add default via {up4}.2\n"
        ));
        // The kernel has a strict filter of reverse paths for IPv4 alone.
        router.ip6(&format!(
            "route add default via {up6}:2
             rule add iif p{card} from {}:/64 prohibit\n",
            other.side.1
        ));
        internet.ip(&format!(
            "link set i{card} up
             addr add {up4}.2/24 dev i{card}
             addr add {up6}:2/64 dev i{card} nodad
             route add {v4}.0/24 via {up4}.1
             route add {v6}:/64 via {up6}:1\n"
        ));
    }
}

/// Nobody listens there: a refusal is an answer, and has come all the way back.
fn answers(internet: &Peer, address: &str) -> bool {
    let to = SocketAddr::new(address.parse().unwrap(), 7);
    internet.within(
        || match TcpStream::connect_timeout(&to, Duration::from_secs(2)) {
            Ok(_) => true,
            Err(error) => error.kind() == ErrorKind::ConnectionRefused,
        },
    )
}

fn green() -> Value {
    json!({
        "nic": "veth_a", "bridged": "true", "switch": "legacy", "defaultRoute": true,
        "ipaddr": "192.0.2.2", "prefix": "24", "gateway": "192.0.2.1",
        "ipv6addr": "2001:db8:1::2/64", "ipv6gateway": "2001:db8:1::1",
    })
}

fn blue(more: &Value) -> Value {
    let mut it = json!({"nic": "veth_c", "bridged": "false", "switch": "legacy"});
    for (key, value) in more.as_object().unwrap() {
        it[key] = value.clone();
    }
    it
}

/// Our rules of a family, as many as there are.
fn rules(family: &str) -> Vec<Value> {
    let all = ip_json(&[family, "rule"]);
    let ours = all.as_array().unwrap().iter();
    ours.filter(|it| it["priority"] == 3200).cloned().collect()
}

fn reachable(internet: &Peer, addresses: &[&str]) {
    for address in addresses {
        eventually(&format!("{address} answers the internet"), || {
            answers(internet, address)
        });
    }
}

/// The global addresses of a family on a card.
fn global(card: &str, family: &str) -> Vec<(String, u64)> {
    let link = link(card).unwrap();
    let all = link["addr_info"].as_array().unwrap().iter();
    all.filter(|it| it["family"] == family && it["scope"] == "global" && it["tentative"] != true)
        .map(|it| {
            let local = it["local"].as_str().unwrap().to_owned();
            (local, it["prefixlen"].as_u64().unwrap())
        })
        .collect()
}

#[test]
fn netns_every_address_answers_the_internet_by_its_own_network() {
    in_network!(|| {
        let Some(mut twins) = Twins::start() else {
            return;
        };
        let (mut two, internet) = (Peer::new(), Peer::new());
        two.link("veth_c", "pveth_c");
        ONE.open(&twins.peers, &internet, &TWO);
        TWO.open(&two, &internet, &ONE);
        let fixed = json!({
            "ipaddr": "10.7.0.2", "prefix": "24", "gateway": "10.7.0.1",
            "ipv6addr": "2001:db8:7::2/64", "ipv6gateway": "2001:db8:7::1",
        });
        let request = setup(json!({"green": green(), "blue": blue(&fixed)}), unchecked());
        twins.ok("Host.setupNetworks", request);
        let all = ["192.0.2.2", "2001:db8:1::2", "10.7.0.2", "2001:db8:7::2"];
        reachable(&internet, &all);
        // With blue's rules away its answers leave by the other router, which does not let them pass.
        for (family, of) in [("-4", "10.7.0.0/24"), ("-6", "2001:db8:7::/64")] {
            ip(&[family, "rule", "del", "priority", "3200", "from", of]);
        }
        assert!(!answers(&internet, "10.7.0.2") && !answers(&internet, "2001:db8:7::2"));
        assert!(answers(&internet, "192.0.2.2"));
        // The same request again brings them back.
        let request = setup(json!({"blue": blue(&fixed)}), unchecked());
        twins.ok("Host.setupNetworks", request);
        reachable(&internet, &all);

        let by_themselves = has_servers();
        if by_themselves {
            learned(&mut twins, &mut two, &internet);
        }
        let removal = setup(json!({"blue": {"remove": "true"}}), unchecked());
        twins.ok("Host.setupNetworks", removal);
        let of_blue = |it: &Value| {
            let words = it.to_string();
            words.contains("10.7.0.0") || words.contains("2001:db8:7::")
        };
        assert!(!rules("-4").iter().chain(&rules("-6")).any(of_blue));
        assert!(!rules("-6").is_empty(), "those of green stay");
        reachable(&internet, &all[..2]);
        if !by_themselves {
            println!("skipped: leases and advertisements: dnsmasq or vdsm-dhcp is not here");
        }
    });
}

fn has_servers() -> bool {
    exec::command::find("dnsmasq").is_some() && beside("vdsm-dhcp").exists()
}

/// The same by DHCP, `DHCPv6` and router advertisements.
fn learned(twins: &mut Twins, two: &mut Peer, internet: &Peer) {
    let folder = twins.path("");
    two.dnsmasq(
        &folder,
        "pveth_c",
        &[
            "--dhcp-range=10.7.0.100,10.7.0.150,10m",
            "--dhcp-range=2001:db8:7::100,2001:db8:7::1ff,slaac,64,10m",
            "--enable-ra",
            "--ra-param=pveth_c,4,600",
        ],
    );
    let wish = json!({"bootproto": "dhcp", "dhcpv6": true, "ipv6autoconf": true});
    let request = setup(json!({"blue": blue(&wish)}), unchecked());
    twins.ok("Host.setupNetworks", request);
    let tail = || twins.log_tail();
    // One of each kind: by DHCP, by DHCPv6 (a single address), from the prefix.
    let v4 = wait_or("a lease", tail, || {
        let all = global("veth_c", "inet");
        all.into_iter().find(|(it, _)| it.starts_with("10.7.0.1"))
    });
    let v6 = |bits: u64| {
        wait_or(&format!("an address of /{bits}"), tail, || {
            let all = global("veth_c", "inet6");
            all.into_iter().find(|it| it.1 == bits)
        })
    };
    let (single, own) = (v6(128), v6(64));
    for address in [v4.0, single.0, own.0] {
        println!("learned: {address}");
        reachable(internet, &[&address]);
    }
    reachable(internet, &["192.0.2.2", "2001:db8:1::2"]);
}

/// The default route of ours in the main table, of each family: by which gateway, on which interface. There is but one.
fn default_routes() -> [(String, String); 2] {
    ["-4", "-6"].map(|family| {
        let all = ip_json(&[family, "route", "show", "default"]);
        let [only] = all.as_array().unwrap().as_slice() else {
            panic!("one default route, not {all}");
        };
        let protocol = only["protocol"].as_str().unwrap();
        assert!(protocol == "118" || protocol == "vdsm", "ours: {only}");
        let word = |key: &str| only[key].as_str().unwrap().to_owned();
        (word("gateway"), word("dev"))
    })
}

/// In the kernel, as it is told, and in both sets of files: this one of the two networks has the default route, and the other has not.
fn has_the_default_route(twins: &Twins, which: &str) {
    let (green, blue) = (("green", "green", ONE), ("blue", "veth_c", TWO));
    let (it, other) = if which == "green" {
        (green, blue)
    } else {
        (blue, green)
    };
    let gateways = |way: &Way| (format!("{}.1", way.side.0), format!("{}:1", way.side.1));
    let (v4, v6) = gateways(&it.2);
    let device = it.1.to_owned();
    assert_eq!(default_routes(), [(v4, device.clone()), (v6, device)]);
    let caps = twins.ok("Host.getCapabilities", json!({}));
    for ((name, device, way), has) in [(&it, true), (&other, false)] {
        let (v4, v6) = gateways(way);
        let kind = if *name == "green" { "bridges" } else { "nics" };
        for told in [&caps["networks"][name], &caps[kind][device]] {
            assert_eq!(told["ipv4defaultroute"], has, "{name}: {told}");
            assert_eq!(told["gateway"], v4, "{name}: {told}");
            // Engine takes a gateway of IPv6 for the host's default route.
            assert_eq!(told["ipv6gateway"], if has { v6.as_str() } else { "::" });
        }
        for set in ["staging", "persistence"] {
            let file = twins.path(&format!("{set}/netconf/nets/{name}"));
            let kept: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
            assert_eq!(kept["defaultRoute"], has, "{set} {name}: {kept}");
            let servers = if has {
                json!(["192.0.2.53"])
            } else {
                json!([])
            };
            assert_eq!(kept["nameservers"], servers, "{set} {name}: {kept}");
            assert_eq!(kept["gateway"], v4, "{set} {name}: {kept}");
        }
    }
    assert_eq!(caps["netConfigDirty"], "False");
    let servers = std::fs::read_to_string(twins.path("resolv.conf")).unwrap();
    assert!(servers.contains("nameserver 192.0.2.53"), "{servers}");
}

/// From the host to the internet and back, by the network that has the default route: with its address as the sender.
fn goes_out_from(source: &str) {
    let target = "203.0.113.9";
    let way = ip_json(&["route", "get", target]);
    assert_eq!(way[0]["prefsrc"], source, "{way}");
    let to = SocketAddr::new(target.parse().unwrap(), 7);
    eventually("the internet to answer", || {
        let tried = TcpStream::connect_timeout(&to, Duration::from_secs(2));
        tried.is_err_and(|it| it.kind() == ErrorKind::ConnectionRefused)
    });
}

#[test]
fn netns_the_default_route_is_handed_over_and_back() {
    in_network!(|| {
        let Some(mut twins) = Twins::start() else {
            return;
        };
        let (two, internet) = (Peer::new(), Peer::new());
        two.link("veth_c", "pveth_c");
        ONE.open(&twins.peers, &internet, &TWO);
        TWO.open(&two, &internet, &ONE);
        internet.ip("addr add 203.0.113.9/32 dev lo\n");
        let fixed = |default: bool| {
            blue(&json!({
                "ipaddr": "10.7.0.2", "prefix": "24", "gateway": "10.7.0.1", "defaultRoute": default,
                "ipv6addr": "2001:db8:7::2/64", "ipv6gateway": "2001:db8:7::1",
            }))
        };
        let all = ["192.0.2.2", "2001:db8:1::2", "10.7.0.2", "2001:db8:7::2"];
        let both = json!({"green": green(), "blue": fixed(false)});
        twins.ok("Host.setupNetworks", setup(both.clone(), unchecked()));
        has_the_default_route(&twins, "green");
        goes_out_from("192.0.2.2");
        let with_green = witnessed();

        // Who is not in the request loses it to who is.
        let forth = json!({"blue": fixed(true)});
        twins.ok("Host.setupNetworks", setup(forth.clone(), unchecked()));
        has_the_default_route(&twins, "blue");
        goes_out_from("10.7.0.2");
        reachable(&internet, &all);

        // Back, both in one request.
        twins.ok("Host.setupNetworks", setup(both, unchecked()));
        has_the_default_route(&twins, "green");
        goes_out_from("192.0.2.2");
        reachable(&internet, &all);
        assert_eq!(witnessed(), with_green);

        // Nobody confirms it: it is as it was.
        let checked =
            |seconds: u32| json!({"connectivityCheck": "true", "connectivityTimeout": seconds});
        let answer = twins.call("Host.setupNetworks", setup(forth.clone(), checked(1)));
        let (code, text) = answer.unwrap_err();
        assert_eq!((code, text.as_str()), (10, "connectivity check failed"));
        assert_eq!(witnessed(), with_green);
        has_the_default_route(&twins, "green");

        // The agent dies while the other network has it, not confirmed yet.
        let (port, request) = (twins.port(), setup(forth, checked(600)));
        let asker = thread::spawn(move || {
            // Its connection ends without an answer.
            let _ = std::panic::catch_unwind(|| {
                common::Caller::connect(port).call("Host.setupNetworks", request)
            });
        });
        eventually("the other default route", || {
            let all = ip_json(&["-4", "route", "show", "default"]);
            let [only] = all.as_array().unwrap().as_slice() else {
                return false;
            };
            only["gateway"] == "10.7.0.1"
        });
        twins.kill_agent();
        asker.join().unwrap();
        eventually("it to be undone", || witnessed() == with_green);
        twins.start_agent();
        has_the_default_route(&twins, "green");
        goes_out_from("192.0.2.2");
    });
}

/// What Python VDSM leaves: its file, a table that is a hash of the interface's name, rules of nobody's protocol.
fn as_python_left_it(twins: &Twins) {
    let nets = twins.path("staging/netconf/nets");
    std::fs::create_dir_all(&nets).unwrap();
    let file = json!({
        "nic": "veth_a", "bridged": true, "bootproto": "none", "defaultRoute": false, "dhcpv6": false,
        "gateway": "192.0.2.1", "ipaddr": "192.0.2.2", "ipv6autoconf": false, "mtu": 1500,
        "nameservers": [], "netmask": "255.255.255.0", "stp": false, "switch": "legacy",
    });
    std::fs::write(nets.join("green"), file.to_string()).unwrap();
    for words in [
        "link add green type bridge",
        "link set veth_a master green",
        "link set green up",
        "addr add 192.0.2.2/24 dev green",
        "route add default via 192.0.2.1 dev green table 104268306 proto static",
        "route add 192.0.2.0/24 dev green scope link table 104268306 proto static",
        "rule add from 192.0.2.0/24 priority 3200 table 104268306",
        "rule add to 192.0.2.0/24 priority 3200 table 104268306",
        // Somebody else's.
        "route add default via 192.0.2.77 dev green table 777 proto static",
        "rule add from 203.0.113.0/24 priority 3200 table 777",
        "route add 198.51.100.0/24 via 192.0.2.78 proto static",
    ] {
        ip(&words.split(' ').collect::<Vec<_>>());
    }
}

#[test]
fn netns_what_python_vdsm_left_is_taken_over() {
    in_network!(|| {
        let Some(twins) = Twins::start() else {
            return;
        };
        as_python_left_it(&twins);
        let routes = |table: &str| ip_json(&["route", "show", "table", table]);
        let words = |it: &Value| (it["dst"].clone(), it["protocol"].clone());
        let foreign = (routes("777"), routes("main"));
        let caps = twins.ok("Host.getNetworkCapabilities", json!({}));
        assert_eq!(caps["networks"]["green"]["addr"], "192.0.2.2");
        let request = json!({
            "nic": "veth_a", "bridged": "true", "switch": "legacy", "ipaddr": "192.0.2.2", "prefix": "24",
            "gateway": "192.0.2.1", "mtu": 1400,
        });
        let request = setup(json!({"green": request}), unchecked());
        twins.ok("Host.setupNetworks", request);
        assert_eq!(routes("104268306"), json!([]), "their table");
        let tables: Vec<Value> = rules("-4").iter().map(|it| it["table"].clone()).collect();
        let count = |table: &str| tables.iter().filter(|it| **it == table).count();
        assert_eq!((count("104268306"), count("777")), (0, 1), "{tables:?}");
        let ours = tables.iter().find(|it| **it != "777").unwrap();
        let ours = routes(ours.as_str().unwrap());
        let ours: Vec<_> = ours.as_array().unwrap().iter().map(words).collect();
        assert_eq!(ours.len(), 2, "{ours:?}");
        assert!(ours.iter().all(|it| it.1 == "118" || it.1 == "vdsm"));
        // Nobody else's has moved.
        assert_eq!((routes("777"), routes("main")), foreign);
        let removal = setup(json!({"green": {"remove": "true"}}), unchecked());
        twins.ok("Host.setupNetworks", removal);
        assert_eq!(rules("-4").len(), 1, "the foreign one");
    });
}

#[test]
fn netns_names_that_share_a_table_with_upstream_do_not_here() {
    in_network!(|| {
        let Some(twins) = Twins::start() else {
            return;
        };
        let of = |nic: &str, side: &str| {
            json!({
                "nic": nic, "bridged": "true", "switch": "legacy", "ipaddr": format!("{side}.2"),
                "prefix": "24", "gateway": format!("{side}.1"),
            })
        };
        // The same hash of both names.
        let both = json!({"net121": of("veth_a", "10.21.0"), "net202": of("veth_b", "10.22.0")});
        twins.ok("Host.setupNetworks", setup(both, unchecked()));
        let out = |from: &str| {
            let way = ip_json(&["route", "get", "172.31.9.9", "from", from]);
            way[0]["gateway"].clone()
        };
        assert_eq!(
            (out("10.21.0.2"), out("10.22.0.2")),
            (json!("10.21.0.1"), json!("10.22.0.1"))
        );
        let removal = setup(json!({"net121": {"remove": "true"}}), unchecked());
        twins.ok("Host.setupNetworks", removal);
        assert_eq!(out("10.22.0.2"), json!("10.22.0.1"), "the other is intact");
        assert_eq!(rules("-4").len(), 2);
    });
}

/// By upstream's hash `net121` and `net202` would share a table, and many more of these.
#[test]
fn netns_a_thousand_networks_have_a_routing_table_each() {
    const MANY: usize = 1000;
    const RESERVED: [&str; 4] = ["0", "default", "main", "local"];
    in_network!(|| {
        let Some(twins) = Twins::start() else {
            return;
        };
        let side = |it: usize| format!("10.{}.{}", 100 + it / 250, it % 250);
        let network = |it: usize| {
            json!({
                "bridged": "true", "switch": "legacy", "ipaddr": format!("{}.2", side(it)), "prefix": "24",
                "gateway": format!("{}.1", side(it)),
            })
        };
        let all: Map<String, Value> = (0..MANY)
            .map(|it| (format!("net{it}"), network(it)))
            .collect();
        twins.ok("Host.setupNetworks", setup(all.into(), unchecked()));
        // Each has two rules: what comes from its addresses, and what comes in by it for them.
        let tables = || {
            let rules = rules("-4");
            let tables = rules.iter().filter_map(|it| it["table"].as_str());
            let tables: BTreeSet<String> = tables.map(str::to_owned).collect();
            (rules.len(), tables)
        };
        let (count, before) = tables();
        assert_eq!((count, before.len()), (2 * MANY, MANY));
        assert!(RESERVED.iter().all(|it| !before.contains(*it)));
        let out = |it: usize| {
            let way = ip_json(&[
                "route",
                "get",
                "172.31.9.9",
                "from",
                &format!("{}.2", side(it)),
            ]);
            way[0]["gateway"].clone()
        };
        for it in (0..MANY).step_by(37).chain([121, 202]) {
            assert_eq!(out(it), format!("{}.1", side(it)), "net{it}");
        }
        let table = before.first().unwrap();
        let routes = ip_json(&["route", "show", "table", table]);
        let of_link = |it: &&Value| it["scope"] == "link" && it.get("gateway").is_none();
        assert_eq!(
            routes.as_array().unwrap().iter().filter(of_link).count(),
            1,
            "{routes}"
        );

        let gone: Map<String, Value> = (0..MANY)
            .step_by(2)
            .map(|it| (format!("net{it}"), json!({"remove": "true"})))
            .collect();
        twins.ok("Host.setupNetworks", setup(gone.into(), unchecked()));
        let (count, after) = tables();
        assert_eq!((count, after.len()), (MANY, MANY / 2));
        assert!(after.is_subset(&before), "tables stay as they were");
        for it in (1..MANY).step_by(2).step_by(37).chain([121]) {
            assert_eq!(out(it), format!("{}.1", side(it)), "net{it}");
        }
    });
}

#[test]
fn netns_ten_thousand_foreign_routes_are_read_and_stay() {
    const MANY: usize = 10_000;
    in_network!(|| {
        let Some(twins) = Twins::start() else {
            return;
        };
        let routes = (0..MANY).map(|it| {
            let (high, low) = (it / 250, it % 250);
            format!("route add 10.{high}.{low}.0/24 dev veth_b table 9999\n")
        });
        netns::ip(&routes.collect::<String>());
        let count = || {
            let all = ip_json(&["route", "show", "table", "9999"]);
            all.as_array().unwrap().len()
        };
        assert_eq!(count(), MANY);
        let request = setup(json!({"green": green()}), unchecked());
        twins.ok("Host.setupNetworks", request);
        let began = std::time::Instant::now();
        let (current, _) = observe::network::network(netns::LONG, &["veth"]).unwrap();
        println!("figure: read in {:?}", began.elapsed());
        assert!(current.routes.len() > MANY);
        let removal = setup(json!({"green": {"remove": "true"}}), unchecked());
        twins.ok("Host.setupNetworks", removal);
        assert_eq!(count(), MANY, "nobody else's routes are touched");
        assert!(rules("-4").is_empty() && rules("-6").is_empty());
    });
}

#[test]
fn netns_a_gateway_of_the_link_and_a_host_without_ipv6() {
    in_network!(|| {
        let Some(twins) = Twins::start() else {
            return;
        };
        let of_the_link = json!({"ipv6addr": "2001:db8:7::2/64", "ipv6gateway": "fe80::1"});
        let mut wish = blue(&of_the_link);
        wish["nic"] = json!("veth_b");
        let request = setup(json!({"green": green(), "blue": wish}), unchecked());
        twins.ok("Host.setupNetworks", request);
        let way = ip_json(&["-6", "route", "get", "fd99::9", "from", "2001:db8:7::2"]);
        assert_eq!(
            (&way[0]["gateway"], &way[0]["dev"]),
            (&json!("fe80::1"), &json!("veth_b"))
        );
        let removal = json!({"green": {"remove": "true"}, "blue": {"remove": "true"}});
        twins.ok("Host.setupNetworks", setup(removal, unchecked()));
        assert!(rules("-4").is_empty() && rules("-6").is_empty());
        // Nothing of IPv6 is in the way where there is none.
        for of in ["all", "default"] {
            let path = format!("/proc/sys/net/ipv6/conf/{of}/disable_ipv6");
            std::fs::write(path, "1").unwrap();
        }
        let mut wish = green();
        for key in ["ipv6addr", "ipv6gateway"] {
            wish.as_object_mut().unwrap().remove(key);
        }
        twins.ok(
            "Host.setupNetworks",
            setup(json!({"green": wish}), unchecked()),
        );
        assert_eq!((rules("-4").len(), rules("-6").len()), (2, 0));
    });
}
