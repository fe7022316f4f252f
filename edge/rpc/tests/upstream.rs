//! The cases of upstream's own tests of its protocol that no other test here has, over the same bytes.
//!
//! docs/upstream-tests.md lists every case of upstream and the test that stands for it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test's helpers fail the test"
)]

mod common;

use bytes::BytesMut;
use common::certs::Ca;
use common::{PATIENCE, REPLIES, TestService, Wire, local, plain, plain_with, raw};
use rpc::frame::{Codec, Command, Frame, FrameError};
use rpc::{
    Client, ClientConfig, ClientError, EVENT_QUEUE, REQUEST_QUEUE, Security, Server, ServerConfig,
    TlsFiles,
};
use serde_json::{Value, json};
use tokio_util::codec::Decoder;

fn text(frame: &Frame) -> String {
    String::from_utf8(frame.to_bytes().unwrap().to_vec()).unwrap()
}

fn decode(bytes: &[u8]) -> Result<Option<Frame>, FrameError> {
    Codec::default().decode(&mut BytesMut::from(bytes))
}

// frame_test.py

#[test]
fn frames_of_a_command_alone() {
    for command in [Command::Connect, Command::Send, Command::Subscribe] {
        let expected = format!("{}\n\n\0", command.as_str());
        assert_eq!(text(&Frame::new(command)), expected);
        assert_eq!(
            decode(expected.as_bytes()).unwrap(),
            Some(Frame::new(command))
        );
    }
}

#[test]
fn frames_with_headers() {
    let connect = || Frame::new(Command::Connect);
    assert_eq!(
        text(
            &connect()
                .with_header("abc", "def")
                .with_header("xyz", "meh")
        ),
        "CONNECT\nabc:def\nxyz:meh\n\n\0"
    );
    // Upstream escapes in CONNECT too; the specification knows no escapes there, so what needs one is refused.
    let broken = connect().with_header("abc", "with\nnewline").to_bytes();
    assert!(matches!(broken, Err(FrameError::Unencodable { .. })));
    let send = Frame::new(Command::Send).with_header("abc", "with\nnewline");
    assert_eq!(text(&send), "SEND\nabc:with\\nnewline\n\n\0");
}

#[test]
fn frames_with_a_body() {
    let send = |body: &'static [u8]| Frame::new(Command::Send).with_body(body);
    // Upstream writes a length of 0; without it the body is as empty.
    assert_eq!(text(&send(b"")), "SEND\n\n\0");
    assert_eq!(text(&send(b"zorro")), "SEND\ncontent-length:5\n\nzorro\0");
    assert_eq!(
        text(&send("\u{105}b\u{107}".as_bytes())),
        "SEND\ncontent-length:5\n\n\u{105}b\u{107}\0"
    );
    assert_eq!(
        text(&send(b"with\0null").with_header("abc", "def")),
        "SEND\nabc:def\ncontent-length:9\n\nwith\0null\0"
    );
    assert_eq!(
        text(&send(b"6chars").with_header("content-length", "3")),
        "SEND\ncontent-length:6\n\n6chars\0"
    );
}

// parser_test.py, encoding_test.py

#[test]
fn nothing_comes_of_nothing() {
    assert_eq!(decode(b"").unwrap(), None);
    assert_eq!(decode(b"\n\n\n\n\n").unwrap(), None);
}

#[test]
fn headers_come_back_as_they_were() {
    for (name, value) in [
        ("abc", "def"),
        ("\u{105}b\u{107}", "def"),
        ("abc", "with\nescaped:chars"),
        ("abc", "\r\r\n:\\\n"),
        ("accept-version", "1.2:"),
        ("id", "98c592f4\\-e2e2-46ea-b7b6-aa4f57f924b9\n\r"),
    ] {
        for body in [&b""[..], b"zorro", "\u{105}b\u{107}".as_bytes()] {
            let frame = Frame::new(Command::Send)
                .with_header(name, value)
                .with_body(body);
            let back = decode(&frame.to_bytes().unwrap()).unwrap();
            assert_eq!(back, Some(frame));
        }
    }
}

#[test]
fn each_escape_stands_for_its_character() {
    for (escaped, plain) in [
        ("\\r", "\r"),
        ("\\n", "\n"),
        ("\\c", ":"),
        ("\\\\", "\\"),
        ("\\\\\\r\\r\\n\\r\\\\", "\\\r\r\n\r\\"),
    ] {
        let bytes = format!("SEND\na:{escaped}\n\n\0");
        let frame = decode(bytes.as_bytes()).unwrap().unwrap();
        assert_eq!(frame.header("a"), Some(plain));
        assert_eq!(text(&frame), bytes);
    }
    let evil = decode(b"SEND\na:Evil sequence \\m\n\n\0");
    assert!(matches!(evil, Err(FrameError::BadEscape)));
    // Upstream refuses a raw colon in a value; Engine's client writes some, and they do no harm.
    let raw = decode(b"SEND\na:abc:def\n\n\0").unwrap().unwrap();
    assert_eq!(raw.header("a"), Some("abc:def"));
}

#[test]
fn carriage_returns_end_lines_too() {
    let frame = decode(b"CONNECT\r\nabc:def\r\ncontent-length:5\r\n\r\nzorro\0");
    let frame = frame.unwrap().unwrap();
    assert_eq!(
        (frame.header("abc"), &frame.body[..]),
        (Some("def"), &b"zorro"[..])
    );
}

#[test]
fn the_length_decides_where_there_is_one() {
    let without = decode(b"CONNECT\nabc:def\n\nzorro\0").unwrap().unwrap();
    assert_eq!(without.body, "zorro");
    let wrong = decode(b"CONNECT\nabc:def\ncontent-length:3\n\n6chars\0");
    assert!(matches!(wrong, Err(FrameError::MissingNul)));
}

#[test]
fn a_frame_is_there_with_its_last_byte() {
    for whole in [
        &b"CONNECT\nabc:def\ncontent-length:5\n\nzorro\0"[..],
        b"CONNECT\nabc:def\n\nzorro\0",
    ] {
        let (mut codec, mut src) = (Codec::default(), BytesMut::new());
        for (at, byte) in whole.iter().enumerate() {
            src.extend_from_slice(&[*byte]);
            let frame = codec.decode(&mut src).unwrap();
            assert_eq!(frame.is_some(), at + 1 == whole.len(), "{at}");
        }
    }
    let both = [
        &b"\n\n\n\n\n"[..],
        &b"CONNECT\nabc:def\n\nzorro\0".repeat(2),
    ]
    .concat();
    let (mut codec, mut src) = (Codec::default(), BytesMut::from(&both[..]));
    for _ in 0..2 {
        assert_eq!(codec.decode(&mut src).unwrap().unwrap().body, "zorro");
    }
    assert_eq!(codec.decode(&mut src).unwrap(), None);
}

// stompadapter_test.py

#[tokio::test]
async fn a_connection_that_ends_leaves_no_subscription() {
    let (server, _) = plain().await;
    let mut wire = Wire::ready(&server).await;
    wire.subscribe(EVENT_QUEUE, "1").await;
    wire.subscribe(EVENT_QUEUE, "2").await;
    let publish = || server.publisher().publish_event("x", &raw("{}"));
    assert_eq!(publish(), 2);
    wire.text("UNSUBSCRIBE\nid:1\n\n\0").await;
    common::until("one is left", || publish() == 1).await;
    drop(wire);
    common::until("none is left", || publish() == 0).await;
}

#[tokio::test]
async fn a_request_to_a_child_reaches_subscribers_of_each_parent_and_is_answered() {
    let (server, _) = plain().await;
    let mut wire = Wire::ready(&server).await;
    let child = format!("{REQUEST_QUEUE}.getAllVmStats");
    for parent in ["jms", "jms.topic", REQUEST_QUEUE, "jms.other", "jms.top"] {
        wire.subscribe(parent, parent).await;
    }
    let body = r#"{"jsonrpc":"2.0","method":"Host.ping2","params":{},"id":"e8a936a6"}"#;
    let frame = Frame::new(Command::Send)
        .with_header("destination", child)
        .with_header("reply-to", REPLIES)
        .with_body(body);
    wire.send(&frame).await;
    for parent in ["jms", "jms.topic", REQUEST_QUEUE] {
        let copy = wire.frame().await;
        assert_eq!(
            (copy.command, copy.header("subscription")),
            (Command::Message, Some(parent))
        );
        assert_eq!(copy.body, body);
    }
    assert_eq!(wire.json().await["result"], true);
    wire.silent().await;
}

// jsonrpcserver_test.py, stomp_test.py, jsonRpcClient_test.py: by the client, plain and TLS

async fn ends(tls: Option<&TlsFiles>) -> (Server, ClientConfig) {
    let security = tls.map_or(Security::Plain, |files| {
        Security::Tls(files.server_config().unwrap())
    });
    let config = ServerConfig::new(local(), security);
    let server = Server::bind(config, TestService::default()).await.unwrap();
    let mut config = ClientConfig::new(server.local_addr().try_into().unwrap(), tls.cloned());
    config.timeout = PATIENCE;
    (server, config)
}

async fn call(client: &Client, method: &str, params: Value) -> Result<Value, ClientError> {
    let params = raw(&params.to_string());
    let answer = client.call(method, Some(&params), None, PATIENCE).await?;
    Ok(serde_json::from_str(answer.get()).unwrap())
}

#[tokio::test]
async fn what_the_client_does_works_plain_and_over_tls() {
    let ca = Ca::new("CA");
    let files = ca.end("localhost");
    for tls in [None, Some(&files)] {
        let (server, config) = ends(tls).await;
        let client = Client::connect(config).await.unwrap();
        for size in [1024, 4096, 16_384] {
            let data = "x".repeat(size);
            for params in [json!([data]), json!({"text": data})] {
                let echo = call(&client, "echo", params.clone()).await.unwrap();
                assert_eq!(echo, params);
            }
        }
        let missing = call(&client, "I_DO_NOT_EXIST :(", json!([])).await;
        match missing {
            Err(ClientError::Rpc(error)) => {
                assert_eq!(error.code, -32601);
                assert!(error.message.contains("I_DO_NOT_EXIST :("), "{error}");
            }
            other => panic!("{other:?}"),
        }
        // Two that listen to one queue, events of the server and of clients, and the end of it.
        let mut first = client.subscribe("jms.topic.test").unwrap();
        let mut second = client.subscribe("jms.topic.test").unwrap();
        call(&client, "Host.ping2", json!({})).await.unwrap();
        let content = raw(r#"{"content":true}"#);
        let publisher = server.publisher();
        assert_eq!(
            publisher.publish("jms.topic.test", "|vdsm|test_event|", &content),
            2
        );
        client
            .notify("jms.topic.test", "vdsm.event", Some(&content))
            .unwrap();
        for events in [&mut first, &mut second] {
            for method in ["|vdsm|test_event|", "vdsm.event"] {
                let event = events.next_event().await.unwrap();
                assert_eq!(event.method, method);
                assert_eq!(event.params.unwrap().get(), content.get());
            }
        }
        drop((first, second));
        call(&client, "Host.ping2", json!({})).await.unwrap();
        assert_eq!(publisher.publish("jms.topic.test", "x", &content), 0);
    }
}

// jsonrpc_test.py, jsonrpcserver_test.py: what a full executor answers

#[tokio::test]
async fn a_full_executor_is_told_with_its_code() {
    let (server, _) = plain_with(|config| config.limits.in_flight = 0).await;
    let mut wire = Wire::ready(&server).await;
    wire.request(r#"{"jsonrpc":"2.0","method":"Host.stats","params":{},"id":"943"}"#)
        .await;
    let answer = wire.json().await;
    assert_eq!(answer["error"]["code"], 1100);
    let text = answer["error"]["message"].as_str().unwrap();
    assert!(
        text.starts_with("Not enough resources: {'reason': "),
        "{text}"
    );
}

// protocoldetector_test.py

#[tokio::test]
async fn detection_holds_with_many_slow_and_wrong_clients_at_once() {
    let (server, _) = plain_with(|config| {
        config.limits.first_frame = std::time::Duration::from_secs(3);
    })
    .await;
    let slow = async {
        let mut wire = Wire::connect(&server).await;
        wire.text("CONN").await;
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        wire.text("ECT\naccept-version:1.2\n\n\0").await;
        assert_eq!(wire.frame().await.command, Command::Connected);
    };
    let wrong = || async {
        let mut wire = Wire::connect(&server).await;
        wire.text("no such protocol\n").await;
        assert!(wire.rest().await.is_empty());
    };
    let silent = || async {
        let mut wire = Wire::connect(&server).await;
        assert!(wire.rest().await.is_empty());
    };
    tokio::join!(
        slow,
        wrong(),
        wrong(),
        wrong(),
        wrong(),
        wrong(),
        silent(),
        silent()
    );
}

// docs/upstream-tests.md

#[test]
fn the_page_names_tests_that_exist() {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(here.join("../../docs/upstream-tests.md")).unwrap();
    let files = [
        "client",
        "codec",
        "limits",
        "requests",
        "session",
        "tls",
        "tls_files",
    ];
    let mut seen = 0;
    for word in page.split(|char: char| char.is_whitespace() || ",;|".contains(char)) {
        let Some((file, name)) = word.trim_end_matches('.').split_once("::") else {
            continue;
        };
        let file = match file {
            "up" => "upstream",
            file if files.contains(&file) => file,
            _ => continue,
        };
        if name.starts_with(|char: char| char.is_ascii_lowercase()) {
            let agents = here.join(format!("../../bin/vdsmd/tests/{file}.rs"));
            let ours = here.join(format!("tests/{file}.rs"));
            let text = [ours, agents].map(|path| std::fs::read_to_string(path).unwrap_or_default());
            assert!(text.concat().contains(&format!("fn {name}(")), "{word}");
            seen += 1;
        }
    }
    assert!(seen >= 50, "{seen}");
}
