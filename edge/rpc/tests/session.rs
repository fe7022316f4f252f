//! STOMP over real sockets: handshake, heart-beats, subscriptions, forwarding, receipts, and what
//! is wrong.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test's helpers fail the test"
)]

mod common;

use std::time::{Duration, Instant};

use common::{REPLIES, Wire, log, plain, plain_with};
use rpc::frame::{Command, Frame};
use rpc::{EVENT_QUEUE, REQUEST_QUEUE};
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

fn send(destination: &str, body: &str) -> Frame {
    Frame::new(Command::Send)
        .with_header("destination", destination)
        .with_body(body.to_owned())
}

#[tokio::test]
async fn handshake_is_upstreams_to_the_byte() {
    let (server, _) = plain().await;
    let cases = [
        ("0,0", "CONNECTED\nversion:1.2\nheart-beat:0,0\n\n\0"),
        (
            "5000,3000",
            "CONNECTED\nversion:1.2\nheart-beat:3000,5000\n\n\0",
        ),
        ("0,500", "CONNECTED\nversion:1.2\nheart-beat:1000,0\n\n\0"),
        ("nonsense", "CONNECTED\nversion:1.2\nheart-beat:0,0\n\n\0"),
    ];
    for (offer, answer) in cases {
        let mut wire = Wire::connect(&server).await;
        wire.text(&format!(
            "CONNECT\naccept-version:1.2\nheart-beat:{offer}\n\n\0"
        ))
        .await;
        let mut got = vec![0; answer.len()];
        wire.stream.read_exact(&mut got).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&got), answer);
        wire.stream.shutdown().await.unwrap();
        assert!(wire.rest().await.is_empty());
    }
}

#[tokio::test]
async fn stomp_frame_and_several_versions_are_accepted() {
    let (server, _) = plain().await;
    for start in [
        "STOMP\naccept-version:1.2\nhost:h\n\n\0",
        "CONNECT\naccept-version:1.0,1.1,1.2\n\n\0",
        "CONNECT\r\naccept-version:1.2\r\n\r\n\0",
        "\n\n\r\nCONNECT\naccept-version:1.2\n\n\0",
    ] {
        let mut wire = Wire::connect(&server).await;
        wire.text(start).await;
        let frame = wire.frame().await;
        assert_eq!(
            (frame.command, frame.header("version")),
            (Command::Connected, Some("1.2"))
        );
        assert_eq!(frame.header("heart-beat"), Some("0,0"));
    }
}

#[tokio::test]
async fn other_versions_are_refused_and_the_connection_stays() {
    let (server, _) = plain().await;
    let mut wire = Wire::connect(&server).await;
    for start in [
        "CONNECT\naccept-version:1.0,1.1\n\n\0",
        "CONNECT\n\n\0",
        "STOMP\naccept-version:1.20\n\n\0",
    ] {
        wire.text(start).await;
        wire.error("Version unsupported").await;
    }
    wire.handshake().await;
    wire.works().await;
}

#[tokio::test]
async fn connect_is_not_needed_before_subscribing() {
    let (server, _) = plain().await;
    let mut wire = Wire::connect(&server).await;
    wire.subscribe(REPLIES, "early").await;
    wire.works().await;
    wire.text("CONNECT\naccept-version:1.2\n\n\0").await;
    assert_eq!(wire.frame().await.command, Command::Connected);
    wire.works().await;
}

#[tokio::test]
async fn beats_come_in_time_and_only_in_silence() {
    let (server, _) = plain().await;
    let mut wire = Wire::connect(&server).await;
    wire.text("CONNECT\naccept-version:1.2\nheart-beat:0,1000\n\n\0")
        .await;
    assert_eq!(wire.frame().await.header("heart-beat"), Some("1000,0"));
    for _ in 0..2 {
        let start = Instant::now();
        let mut beat = [0];
        wire.stream.read_exact(&mut beat).await.unwrap();
        assert_eq!(beat, *b"\n");
        let after = start.elapsed();
        assert!(
            after > Duration::from_millis(700) && after <= Duration::from_secs(5),
            "{after:?}"
        );
    }
}

#[tokio::test]
async fn a_silent_client_gets_grace_then_is_closed() {
    let (server, _) = plain().await;
    let mut wire = Wire::connect(&server).await;
    wire.text("CONNECT\naccept-version:1.2\nheart-beat:1000,0\n\n\0")
        .await;
    wire.frame().await;
    let start = Instant::now();
    assert!(wire.next().await.is_none());
    let after = start.elapsed();
    assert!(
        after > Duration::from_millis(1900) && after < Duration::from_secs(4),
        "{after:?}"
    );
    log::reason(wire.port(), "no heart-beat within 2000 ms").await;
}

#[tokio::test]
async fn a_beating_client_stays() {
    let (server, _) = plain().await;
    let mut wire = Wire::connect(&server).await;
    wire.text("CONNECT\naccept-version:1.2\nheart-beat:1000,0\n\n\0")
        .await;
    wire.frame().await;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(900)).await;
        wire.text("\n").await;
    }
    wire.subscribe(REPLIES, "s").await;
    wire.works().await;
}

#[tokio::test]
async fn subscription_errors_are_upstreams() {
    let (server, _) = plain().await;
    let mut wire = Wire::connect(&server).await;
    wire.text("CONNECT\naccept-version:1.2\nheart-beat:0,0\n\n\0")
        .await;
    wire.frame().await;
    wire.text("SUBSCRIBE\ndestination:d1\n\n\0").await;
    wire.error("Missing destination or subscription id header")
        .await;
    wire.text("SUBSCRIBE\nid:1\n\n\0").await;
    wire.error("Missing destination or subscription id header")
        .await;
    wire.text("SUBSCRIBE\ndestination:d1\nid:1\n\n\0SUBSCRIBE\ndestination:d2\nid:1\n\n\0")
        .await;
    wire.error("Subscription id already exists").await;
    wire.text("UNSUBSCRIBE\n\n\0").await;
    wire.error("Missing id header").await;
    wire.text("UNSUBSCRIBE\nid:nope\n\n\0SEND\ndestination:nobody.here\ncontent-length:2\n\n{}\0")
        .await;
    wire.error("Subscription not available").await;
    wire.subscribe(REPLIES, "r").await;
    wire.works().await;
}

#[tokio::test]
async fn an_id_is_free_again_after_unsubscribe() {
    let (server, _) = plain().await;
    let mut wire = Wire::ready(&server).await;
    wire.subscribe("topic", "a").await;
    wire.send(&send("topic", "1")).await;
    assert_eq!(wire.frame().await.body, "1");
    wire.text("UNSUBSCRIBE\nid:a\n\n\0").await;
    wire.send(&send("topic", "2")).await;
    wire.error("Subscription not available").await;
    wire.subscribe("topic", "a").await;
    wire.send(&send("topic", "3")).await;
    assert_eq!(wire.frame().await.body, "3");
}

#[tokio::test]
async fn subscriptions_are_bounded() {
    let (server, _) = plain_with(|config| config.limits.subscriptions = 3).await;
    let mut wire = Wire::ready(&server).await;
    wire.subscribe("a", "a").await;
    wire.subscribe("b", "b").await;
    wire.text("SUBSCRIBE\ndestination:c\nid:c\n\n\0").await;
    wire.error("Too many subscriptions").await;
    wire.works().await;
}

#[tokio::test]
async fn send_goes_to_subscribers_of_destination_and_parents() {
    let (server, _) = plain().await;
    let mut wire = Wire::ready(&server).await;
    let mut others = Vec::new();
    for destination in [
        "jms.topic.x.y",
        "jms.topic.x",
        "jms",
        "jms.top",
        "jms.topic.x.y.z",
    ] {
        let mut other = Wire::ready(&server).await;
        other.subscribe(destination, destination).await;
        others.push(other);
    }
    let frame = send("jms.topic.x.y", "hello\0world")
        .with_header("content-type", "text/plain")
        .with_header("odd:name", "a\nb\\c")
        .with_header("receipt", "done");
    wire.send(&frame).await;
    assert_eq!(wire.frame().await.header("receipt-id"), Some("done"));
    for (index, other) in others.iter_mut().enumerate() {
        if index > 2 {
            other.silent().await;
            continue;
        }
        let got = other.frame().await;
        assert_eq!(got.command, Command::Message);
        assert_eq!(got.header("destination"), Some("jms.topic.x.y"));
        assert_eq!(got.header("content-type"), Some("text/plain"));
        assert_eq!(got.header("odd:name"), Some("a\nb\\c"));
        assert_eq!(got.header("receipt"), None);
        assert!(got.header("subscription").is_some());
        assert_eq!(got.body, "hello\0world");
    }
}

#[tokio::test]
async fn a_request_is_forwarded_and_answered() {
    let (server, _) = plain().await;
    let mut wire = Wire::ready(&server).await;
    let mut spy = Wire::ready(&server).await;
    spy.subscribe(REQUEST_QUEUE, "spy").await;
    wire.works().await;
    assert_eq!(spy.json().await["method"], "echo");
}

#[tokio::test]
async fn events_reach_every_subscriber_and_nobody_else() {
    let (server, _) = plain().await;
    let mut first = Wire::ready(&server).await;
    let mut second = Wire::ready(&server).await;
    let mut other = Wire::ready(&server).await;
    first.subscribe(EVENT_QUEUE, "ev-1").await;
    second.subscribe(EVENT_QUEUE, "ev-2").await;
    let params = RawValue::from_string(r#"{"notify_time": 2150362498}"#.to_owned()).unwrap();
    assert_eq!(
        server
            .publisher()
            .publish_event("|virt|VM_status|id", &params),
        2
    );
    let body = r#"{"jsonrpc": "2.0", "method": "|virt|VM_status|id", "params": {"notify_time": 2150362498}}"#;
    let whole = format!(
        "MESSAGE\ndestination:jms.queue.events\ncontent-type:application/json\n\
         subscription:ev-1\ncontent-length:{}\n\n{body}\0",
        body.len()
    );
    let mut got = vec![0; whole.len()];
    first.stream.read_exact(&mut got).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&got), whole);
    assert_eq!(second.frame().await.header("subscription"), Some("ev-2"));
    other.silent().await;
    drop((first, second));
    common::until("both unsubscribed", || {
        server
            .publisher()
            .publish_event("|virt|VM_status|id", &params)
            == 0
    })
    .await;
}

#[tokio::test]
async fn receipts_for_every_command_that_asks() {
    let (server, _) = plain().await;
    let mut wire = Wire::ready(&server).await;
    wire.text("SUBSCRIBE\ndestination:d\nid:d\nreceipt:one\n\n\0")
        .await;
    assert_eq!(wire.frame().await.header("receipt-id"), Some("one"));
    wire.text("UNSUBSCRIBE\nid:d\nreceipt:t\\cwo\n\n\0").await;
    assert_eq!(wire.frame().await.header("receipt-id"), Some("t:wo"));
    wire.text("SEND\ndestination:nobody\nreceipt:three\n\nx\0")
        .await;
    let frame = wire.frame().await;
    assert_eq!(
        (frame.command, frame.header("receipt-id")),
        (Command::Error, Some("three"))
    );
    wire.text("DISCONNECT\nreceipt:77\n\n\0").await;
    let frame = wire.frame().await;
    assert_eq!(
        (frame.command, frame.header("receipt-id")),
        (Command::Receipt, Some("77"))
    );
    assert!(wire.next().await.is_none());
}

#[tokio::test]
async fn disconnect_without_receipt_closes_quietly() {
    let (server, _) = plain().await;
    let mut wire = Wire::ready(&server).await;
    wire.text("DISCONNECT\n\n\0").await;
    assert!(wire.next().await.is_none());
    log::reason(wire.port(), "disconnected by request").await;
}

#[tokio::test]
async fn commands_out_of_place_get_an_error_and_no_harm() {
    let (server, _) = plain().await;
    let mut wire = Wire::ready(&server).await;
    for command in ["ACK", "NACK"] {
        wire.text(&format!("{command}\nid:1\n\n\0")).await;
        wire.error("No acknowledgement is expected").await;
    }
    for command in ["BEGIN", "COMMIT", "ABORT"] {
        wire.text(&format!("{command}\ntransaction:1\n\n\0")).await;
        wire.error("Transactions are not supported").await;
    }
    wire.text("SEND\ndestination:jms.topic.vdsm_requests\ntransaction:1\n\n{}\0")
        .await;
    wire.error("Transactions are not supported").await;
    wire.text("MESSAGE\n\n\0").await;
    wire.error("Not a command of clients").await;
    wire.text("SEND\n\nx\0").await;
    wire.error("Missing destination header").await;
    wire.works().await;
}

#[tokio::test]
async fn an_unreadable_frame_gets_an_error_then_the_end() {
    let (server, _) = plain().await;
    let cases = [
        ("HELLO\n\n\0", "Unknown command 'HELLO'"),
        ("SEND\nno colon\n\n\0", "Header without name or colon"),
        (
            "SEND\ndestination:a\\tb\n\n\0",
            "Undefined escape sequence in a header",
        ),
        ("SEND\ndestination:a\0", "Frame ends within its header"),
        (
            "SEND\ncontent-length:x\n\n\0",
            "Invalid content-length header",
        ),
        (
            "SEND\ncontent-length:-1\n\n\0",
            "Invalid content-length header",
        ),
        (
            "SEND\ncontent-length:1\n\nab\0",
            "Frame body is not terminated by NUL",
        ),
    ];
    for (text, error) in cases {
        let mut wire = Wire::ready(&server).await;
        wire.text(text).await;
        wire.error(error).await;
        assert!(wire.next().await.is_none(), "{text:?}");
        log::reason(wire.port(), "malformed frame").await;
    }
}

#[tokio::test]
async fn split_and_joined_frames_are_the_same_frames() {
    let (server, _) = plain().await;
    let mut wire = Wire::ready(&server).await;
    let frame = common::request_frame(r#"{"jsonrpc":"2.0","method":"Host.ping2","id":1}"#);
    let bytes = frame.to_bytes().unwrap();
    for byte in &bytes {
        wire.bytes(&[*byte]).await;
    }
    assert_eq!(wire.json().await["result"], true);
    wire.bytes(&bytes.repeat(50)).await;
    for _ in 0..50 {
        assert_eq!(wire.json().await["result"], true);
    }
    // Without content-length, as a body without NUL may come.
    wire.text(&format!(
        "SEND\ndestination:{REQUEST_QUEUE}\nreply-to:{REPLIES}\n\n{{\"jsonrpc\":\"2.0\",\"method\":\"Host.ping2\",\"id\":2}}\0\n\n"
    ))
    .await;
    assert_eq!(wire.json().await["id"], 2);
}

#[tokio::test]
async fn a_half_closed_client_still_gets_its_answers() {
    let (server, _) = plain().await;
    let mut wire = Wire::ready(&server).await;
    wire.request(r#"{"jsonrpc":"2.0","method":"sleep","params":{"ms":200},"id":5}"#)
        .await;
    wire.stream.shutdown().await.unwrap();
    assert_eq!(wire.json().await["result"], "slept");
    assert!(
        timeout(common::PATIENCE, wire.next())
            .await
            .unwrap()
            .is_none()
    );
}
