//! `host:port` as tables, as properties, and with whatever a peer may send.

use host_model::{Host, HostError, HostPort, HostPortError, Zone};
use proptest::prelude::*;

const DEFAULT: u16 = 54321;

fn host(text: &str) -> Result<HostPort, HostPortError> {
    HostPort::parse(text, DEFAULT)
}

/// The first rows are those of upstream's `tests/virt/vmmigration_test.py`; the IPv6 ones its code gets wrong.
#[test]
fn what_is_read_and_how_it_is_written() {
    for (text, written) in [
        ("127.0.0.1", "127.0.0.1:54321"),
        ("127.0.0.1:65432", "127.0.0.1:65432"),
        ("example.com", "example.com:54321"),
        ("example.com:65432", "example.com:65432"),
        ("[::1]", "[::1]:54321"),
        ("[::1]:65432", "[::1]:65432"),
        ("::1", "[::1]:54321"),
        ("::", "[::]:54321"),
        ("fe80::1:80", "[fe80::1:80]:54321"),
        ("2001:db8:1:2:3:4:5:6", "[2001:db8:1:2:3:4:5:6]:54321"),
        ("::ffff:192.0.2.1", "[::ffff:192.0.2.1]:54321"),
        ("[::ffff:192.0.2.1]:1", "[::ffff:192.0.2.1]:1"),
        ("fe80::1%eth0", "[fe80::1%eth0]:54321"),
        ("[fe80::1%ovirtmgmt]:65535", "[fe80::1%ovirtmgmt]:65535"),
        ("[FE80::1%7]:22", "[fe80::1%7]:22"),
        ("[fe80::1%bond0.100]:22", "[fe80::1%bond0.100]:22"),
        ("localhost:080", "localhost:80"),
        ("localhost", "localhost:54321"),
        ("host.example.", "host.example.:54321"),
        ("node_1:1", "node_1:1"),
        ("4host:1", "4host:1"),
        ("xn--bcher-kva.example:1", "xn--bcher-kva.example:1"),
        ("EXAMPLE.com:1", "EXAMPLE.com:1"),
    ] {
        let read = host(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(read.to_string(), written);
        assert_eq!(written.parse(), Ok(read), "{written} reads back");
    }
}

#[test]
fn what_is_refused_and_why() {
    use HostError::{Blank, Control, Empty, Label, NotV4, NotV6, Zone};
    use HostPortError::{AfterBracket, Brackets, EmptyPort, Host, PortNotNumber, PortRange};
    for (text, why) in [
        ("", Host(Empty)),
        (":54321", Host(Empty)),
        ("[]:54321", Host(Empty)),
        (" ", Host(Blank)),
        ("a b", Host(Blank)),
        (" host", Host(Blank)),
        ("host :1", Host(Blank)),
        ("\u{a0}", Host(Blank)),
        ("host\n", Host(Control)),
        ("ho\0st:1", Host(Control)),
        ("host\u{85}:1", Host(Control)),
        ("[::1\n]:1", Host(Control)),
        ("host:", EmptyPort),
        ("[::1]:", EmptyPort),
        ("127.0.0.1:", EmptyPort),
        ("host:0", PortRange),
        ("host:65536", PortRange),
        ("host:99999999999999999999", PortRange),
        ("[::1]:0", PortRange),
        ("host:http", PortNotNumber),
        ("host:+80", PortNotNumber),
        ("host:-1", PortNotNumber),
        ("host: 80", PortNotNumber),
        ("host:80\n", PortNotNumber),
        ("host:8\u{660}", PortNotNumber),
        ("[::1", Brackets),
        ("::1]", Brackets),
        ("host]:1", Brackets),
        ("[::1]80", AfterBracket),
        ("[::1]]", AfterBracket),
        ("[::1]x:80", AfterBracket),
        ("[[::1]]:1", Host(NotV6)),
        ("[127.0.0.1]:1", Host(NotV6)),
        ("[host]:1", Host(NotV6)),
        ("host:1:2", Host(NotV6)),
        (":::1", Host(NotV6)),
        ("1:2:3:4:5:6:7:8:9", Host(NotV6)),
        ("fe80::1%", Host(Zone)),
        ("[fe80::1%]:1", Host(Zone)),
        ("[fe80::1%a%b]:1", Host(Zone)),
        ("[fe80::1%a/b]:1", Host(Zone)),
        ("[fe80::1%interface-too-long]:1", Host(Zone)),
        ("a%b", Host(NotV6)),
        ("10.0.0.256", Host(NotV4)),
        ("1.2.3:1", Host(NotV4)),
        ("1.2.3.4.5:1", Host(NotV4)),
        ("01.2.3.4", Host(NotV4)),
        ("12345:1", Host(NotV4)),
        ("0x7f000001:1", Host(NotV4)),
        ("0X7f.0x1", Host(NotV4)),
        (".", Host(Label)),
        ("a..b", Host(Label)),
        (".a", Host(Label)),
        ("a..", Host(Label)),
        ("-a.example", Host(Label)),
        ("a-.example", Host(Label)),
        ("a/b", Host(Label)),
        ("user@host", Host(Label)),
        ("http//host:1", Host(Label)),
        ("b\u{fc}cher.example", Host(Label)),
        ("host;rm", Host(Label)),
        ("$(x)", Host(Label)),
    ] {
        assert_eq!(host(text), Err(why), "{text:?}");
    }
}

#[test]
fn bounds_of_names() {
    let label = "a".repeat(63);
    assert!(host(&label).is_ok());
    assert_eq!(host(&"a".repeat(64)), Err(HostError::Label.into()));
    let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
    assert_eq!(longest.len(), 253);
    assert!(host(&format!("{longest}.:65535")).is_ok());
    assert_eq!(
        host(&format!("{longest}a")),
        Err(HostError::NameTooLong.into())
    );
    assert_eq!(host(&"a".repeat(301)), Err(HostPortError::TooLong));
}

#[test]
fn a_default_is_asked_for_only_where_no_port_stands() {
    assert_eq!("host".parse::<HostPort>(), Err(HostPortError::NoPort));
    assert_eq!("::1".parse::<HostPort>(), Err(HostPortError::NoPort));
    assert_eq!(HostPort::parse("host", 0), Err(HostPortError::PortRange));
    assert_eq!(HostPort::parse("host:7", 0).unwrap().port(), 7);
    assert_eq!(HostPort::split("[::1]").unwrap().1, None);
}

#[test]
fn socket_addresses_keep_their_zone() {
    let mut address: core::net::SocketAddrV6 = "[fe80::1]:5".parse().unwrap();
    address.set_scope_id(3);
    let read = HostPort::try_from(core::net::SocketAddr::V6(address)).unwrap();
    assert_eq!(read.to_string(), "[fe80::1%3]:5");
    let none: core::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    assert_eq!(HostPort::try_from(none), Err(HostPortError::PortRange));
}

#[test]
fn hosts_alone_are_read_with_and_without_brackets() {
    for text in ["::1", "[::1]"] {
        assert_eq!(text.parse::<Host>().unwrap().to_string(), "::1");
    }
    for text in ["[::1", "::1]", "host:1", "1.2.3.4:5", "[a]"] {
        assert!(text.parse::<Host>().is_err(), "{text}");
    }
}

fn any_host() -> impl Strategy<Value = Host> {
    let zone = proptest::option::of("[a-z][a-z0-9._-]{0,13}[a-z0-9]".prop_map(|zone| {
        zone.parse::<Zone>()
            .expect("a zone as interfaces are called")
    }));
    let name = "([a-z0-9]([a-z0-9_-]{0,20}[a-z0-9])?\\.){0,4}[a-z]([a-z0-9-]{0,20}[a-z0-9])?\\.?";
    prop_oneof![
        any::<[u8; 4]>().prop_map(|bytes| Host::V4(bytes.into())),
        (any::<[u8; 16]>(), zone).prop_map(|(bytes, zone)| Host::V6 {
            address: bytes.into(),
            zone
        }),
        name.prop_map(Host::Name),
    ]
}

proptest! {
    #[test]
    fn what_is_written_reads_back(host in any_host(), port in any::<core::num::NonZeroU16>()) {
        let whole = HostPort::new(host.clone(), port);
        prop_assert_eq!(whole.to_string().parse(), Ok(whole));
        prop_assert_eq!(host.to_string().parse(), Ok(host.clone()));
        // Without a port: an IPv6 address without brackets is whole, and the default applies.
        let bare = HostPort::parse(&host.to_string(), DEFAULT).unwrap();
        prop_assert_eq!((bare.host(), bare.port()), (&host, DEFAULT));
    }

    #[test]
    fn anything_is_read_or_refused_and_what_is_read_is_stable(text in "\\PC*|[\\[\\]:%.a-f0-9 \\n\\t-]{0,40}") {
        if let Ok(read) = HostPort::parse(&text, DEFAULT) {
            let written = read.to_string();
            prop_assert!(!written.contains(char::is_whitespace) && !written.contains(char::is_control));
            prop_assert_eq!(written.parse(), Ok(read));
        }
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = HostPort::parse(&String::from_utf8_lossy(&bytes), DEFAULT);
    }
}
