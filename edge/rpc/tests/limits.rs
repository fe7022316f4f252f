//! Clients that mean harm or do harm: garbage, floods, silence, announcements, too many.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test's helpers fail the test"
)]

mod common;

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{REPLIES, TestService, Wire, log, plain, plain_with, request_frame, until};
use rpc::frame::FrameLimits;
use rpc::{EVENT_QUEUE, Server};
use serde_json::value::RawValue;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;

#[tokio::test]
async fn garbage_is_closed_at_once() {
    let (server, _) = plain().await;
    for bytes in [
        &b"hello world, this is no STOMP"[..],
        b"\0\0\0\0",
        b"{\"jsonrpc\"",
        b"POST / HTTP/1.1\r\n",
    ] {
        let mut wire = Wire::connect(&server).await;
        let start = Instant::now();
        wire.bytes(bytes).await;
        assert!(wire.rest().await.is_empty());
        assert!(start.elapsed() < Duration::from_secs(8));
        log::reason(wire.port(), "unknown protocol").await;
    }
}

#[tokio::test]
async fn http_gets_400() {
    let (server, _) = plain().await;
    for verb in ["GET", "PUT"] {
        let mut wire = Wire::connect(&server).await;
        wire.text(&format!("{verb} /image HTTP/1.1\r\nHost: x\r\n\r\n"))
            .await;
        let answer = String::from_utf8(wire.rest().await).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
            "{answer}"
        );
        assert!(answer.ends_with("\r\n\r\n"), "{answer}");
        log::reason(wire.port(), "HTTP is not served").await;
    }
}

#[tokio::test]
async fn silence_from_the_start_is_closed() {
    let (server, _) =
        plain_with(|config| config.limits.first_frame = Duration::from_millis(500)).await;
    for start in [
        "",
        "CONN",
        "SUBSCRIBE\ndestination:d",
        "SEND\ncontent-length:10\n\nabc",
        "\n\n",
    ] {
        let mut wire = Wire::connect(&server).await;
        let since = Instant::now();
        wire.text(start).await;
        assert!(wire.rest().await.is_empty());
        let after = since.elapsed();
        assert!(
            after > Duration::from_millis(400) && after < Duration::from_secs(9),
            "{after:?}"
        );
        log::reason(wire.port(), "no complete frame within").await;
    }
    let mut wire = Wire::ready(&server).await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    wire.works().await;
}

#[tokio::test]
async fn a_client_that_waits_for_nothing_is_closed_when_it_falls_silent() {
    let (server, _) =
        plain_with(|config| config.limits.idle = Some(Duration::from_millis(500))).await;
    let mut idle = Wire::connect(&server).await;
    idle.text("CONNECT\naccept-version:1.2\nheart-beat:0,0\n\n\0")
        .await;
    assert!(idle.next().await.is_some(), "CONNECTED");
    // One that has subscribed waits for answers or events.
    let mut waiting = Wire::ready(&server).await;
    assert!(idle.next().await.is_none());
    log::reason(idle.port(), "nothing was said for").await;
    waiting.works().await;
}

#[tokio::test]
async fn default_limits_are_the_ones_observed() {
    let (server, _) = plain_with(|config| {
        assert_eq!(config.limits.first_frame, Duration::from_secs(10));
    })
    .await;
    let mut wire = Wire::connect(&server).await;
    let since = Instant::now();
    assert!(wire.next().await.is_none());
    let after = since.elapsed();
    assert!(
        after > Duration::from_secs(9) && after < Duration::from_secs(20),
        "{after:?}"
    );
}

#[tokio::test]
async fn a_gigabyte_announced_is_refused_by_its_head() {
    let (server, _) = plain().await;
    for length in [
        "1073741824",
        "18446744073709551616",
        "99999999999999999999999999",
    ] {
        let mut wire = Wire::ready(&server).await;
        wire.text(&format!("SEND\ndestination:d\ncontent-length:{length}\n\n"))
            .await;
        wire.error("Frame body exceeds 33554432 bytes").await;
        assert!(wire.next().await.is_none());
        log::reason(wire.port(), "Frame body exceeds 33554432 bytes").await;
    }
}

#[tokio::test]
async fn endless_heads_headers_and_bodies_are_refused() {
    let limits = FrameLimits {
        head: 1000,
        headers: 10,
        body: 1000,
    };
    let (server, _) = plain_with(|config| config.limits.frame = limits).await;
    let cases = [
        (
            format!("SEND\n{}", "x".repeat(2000)),
            "Frame header exceeds 1000 bytes",
        ),
        (
            format!("SEND\n{}\n\0", "a:b\n".repeat(11)),
            "Frame has more than 10 headers",
        ),
        (
            format!("SEND\n\n{}", "x".repeat(2000)),
            "Frame body exceeds 1000 bytes",
        ),
        (
            "SEND\ncontent-length:1001\n\n".to_owned(),
            "Frame body exceeds 1000 bytes",
        ),
    ];
    for (text, error) in cases {
        let mut wire = Wire::ready(&server).await;
        wire.text(&text).await;
        wire.error(error).await;
        assert!(wire.next().await.is_none());
    }
    let mut wire = Wire::ready(&server).await;
    wire.text(&format!(
        "SEND\ndestination:{REPLIES}\ncontent-length:1000\n\n{}\0",
        "x".repeat(1000)
    ))
    .await;
    assert_eq!(wire.frame().await.body.len(), 1000);
}

/// A client whose kernel takes little, so that the server's queue fills.
async fn small_window(server: &Server) -> Wire {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut wire = Wire::over(socket.connect(server.local_addr()).await.unwrap());
    wire.handshake().await;
    wire
}

#[tokio::test]
async fn a_client_that_never_reads_its_answers_is_dropped() {
    let (server, _) = plain_with(|config| config.limits.outgoing_bytes = 1_000_000).await;
    let mut wire = small_window(&server).await;
    let port = wire.port();
    let frame =
        request_frame(r#"{"jsonrpc":"2.0","method":"big","params":{"bytes":100000},"id":1}"#);
    let frame = frame.to_bytes().unwrap();
    for _ in 0..10_000 {
        if wire.stream.write_all(&frame).await.is_err() {
            break;
        }
    }
    log::reason(port, "the peer does not read").await;
    until("it is forgotten", || server.connections() == 0).await;
}

#[tokio::test]
async fn a_subscriber_that_never_reads_delays_nobody() {
    let (server, _) = plain_with(|config| config.limits.outgoing_bytes = 1_000_000).await;
    let mut lazy = small_window(&server).await;
    lazy.subscribe(EVENT_QUEUE, "events").await;
    let mut reader = Wire::ready(&server).await;
    reader.subscribe(EVENT_QUEUE, "events").await;
    let params = RawValue::from_string(format!("{{\"x\": \"{}\"}}", "x".repeat(10_000))).unwrap();
    let publisher = server.publisher();
    let reading = tokio::spawn(async move {
        for _ in 0..2000 {
            assert_eq!(reader.json().await["method"], "|virt|test");
        }
        reader.works().await;
    });
    for _ in 0..2000 {
        publisher.publish_event("|virt|test", &params);
        tokio::task::yield_now().await;
    }
    reading.await.unwrap();
    log::reason(lazy.port(), "the peer does not read").await;
    until("only the reader is left", || {
        publisher.publish_event("|virt|test", &params) <= 1
    })
    .await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_dropped_in_time() {
    let (server, _) = plain_with(|config| config.limits.stall = Duration::from_millis(500)).await;
    let mut wire = small_window(&server).await;
    wire.request(r#"{"jsonrpc":"2.0","method":"big","params":{"bytes":20000000},"id":1}"#)
        .await;
    log::reason(wire.port(), "accepted no data for").await;
}

#[tokio::test]
async fn one_answer_may_exceed_the_queue() {
    let (server, _) = plain_with(|config| config.limits.outgoing_bytes = 1000).await;
    let mut wire = Wire::ready(&server).await;
    wire.request(r#"{"jsonrpc":"2.0","method":"big","params":{"bytes":3000000},"id":1}"#)
        .await;
    assert_eq!(
        wire.json().await["result"].as_str().unwrap().len(),
        3_000_000
    );
    wire.works().await;
}

#[tokio::test]
async fn connections_are_bounded_in_all_and_per_peer() {
    let (server, _) = plain_with(|config| {
        config.limits.connections = 5;
        config.limits.connections_per_peer = 3;
    })
    .await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(Wire::ready(&server).await);
    }
    let mut fourth = Wire::connect(&server).await;
    assert!(fourth.next().await.is_none());
    log::reason(fourth.port(), "too many connections from this address").await;
    open.pop();
    until("its place is free", || server.connections() == 2).await;
    open.push(Wire::ready(&server).await);
    for wire in &mut open {
        wire.works().await;
    }
    drop(open);
    let (server, _) = plain_with(|config| config.limits.connections = 1).await;
    let mut first = Wire::ready(&server).await;
    let mut second = Wire::connect(&server).await;
    assert!(second.next().await.is_none());
    log::reason(second.port(), "reason=too many connections").await;
    first.works().await;
}

fn raise_descriptors() -> u64 {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

async fn thousand_calls(wire: &mut Wire) -> Duration {
    let start = Instant::now();
    for _ in 0..1000 {
        wire.works().await;
    }
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_idle_connections_cost_nothing_to_the_one_that_works() {
    if raise_descriptors() < 3000 {
        println!("skipped: fewer than 3000 descriptors may be open");
        return;
    }
    let (server, _) = plain().await;
    let alone = thousand_calls(&mut Wire::ready(&server).await).await;
    until("that one is gone", || server.connections() == 0).await;
    let mut idle = Vec::new();
    for index in 0..1000 {
        let mut wire = Wire::connect(&server).await;
        wire.text("CONNECT\naccept-version:1.2\nheart-beat:0,5000\n\n\0")
            .await;
        wire.frame().await;
        if index % 2 == 0 {
            wire.subscribe(EVENT_QUEUE, "events").await;
        }
        idle.push(wire);
    }
    assert_eq!(server.connections(), 1000);
    let mut wire = Wire::ready(&server).await;
    let beside = thousand_calls(&mut wire).await;
    // Room for a machine that is busy for a moment; what each call had to pay for each of them would be far more.
    assert!(
        beside < 10 * alone + Duration::from_secs(4),
        "{beside:?} beside them, {alone:?} alone"
    );
    let params = RawValue::from_string("{}".to_owned()).unwrap();
    assert_eq!(server.publisher().publish_event("|host|test", &params), 500);
    for wire in idle.iter_mut().step_by(2) {
        assert_eq!(wire.json().await["method"], "|host|test");
    }
    drop(idle);
    until("they are forgotten", || server.connections() == 1).await;
    wire.works().await;
}

#[tokio::test]
async fn a_flood_of_garbage_hurts_nobody() {
    let (server, TestService { .. }) = plain().await;
    let mut wire = Wire::ready(&server).await;
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..200 {
        let noise: Vec<u8> = (0..512)
            .map(|_| {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                seed.to_le_bytes()[0]
            })
            .collect();
        let mut bad = Wire::connect(&server).await;
        let mut bytes = b"SEND\ndestination:d\n\n".to_vec();
        bytes.extend_from_slice(&noise);
        let _ = bad.stream.write_all(&Bytes::from(bytes)).await;
    }
    wire.works().await;
    until("they are forgotten", || server.connections() == 1).await;
}
