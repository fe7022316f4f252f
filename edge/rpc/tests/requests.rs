//! JSON-RPC over real sockets: answers, errors, batches, notifications, concurrency, panics.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test's helpers fail the test"
)]

mod common;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use common::{PATIENCE, REPLIES, Wire, plain, plain_with, request_frame, until};
use rpc::IRS_REQUEST_QUEUE;
use rpc::frame::{Command, Frame};
use serde_json::json;
use tokio::io::AsyncReadExt;

#[tokio::test]
async fn ping_is_upstreams_to_the_byte() {
    let (server, _) = plain().await;
    let mut wire = Wire::ready(&server).await;
    wire.text(
        "SEND\ndestination:jms.topic.vdsm_requests\ncontent-type:application/json\n\
         reply-to:00000000-0000-0000-0000-000000001000\novirtCorrelationId:flow-123\n\
         content-length:102\n\n\
         {\"jsonrpc\": \"2.0\", \"method\": \"Host.ping2\", \"params\": {}, \
         \"id\": \"00000000-0000-0000-0000-000000002003\"}\0",
    )
    .await;
    let answer = "MESSAGE\ndestination:00000000-0000-0000-0000-000000001000\n\
         content-type:application/json\nsubscription:sub-1\ncontent-length:80\n\n\
         {\"jsonrpc\": \"2.0\", \"id\": \"00000000-0000-0000-0000-000000002003\", \"result\": true}\0";
    let mut got = vec![0; answer.len()];
    wire.stream.read_exact(&mut got).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&got), answer);
}

#[tokio::test]
async fn an_unknown_method_is_upstreams_to_the_byte() {
    let (server, _) = plain().await;
    let mut wire = Wire::ready(&server).await;
    for method in ["Host.noSuch", "nodot", "", "Host."] {
        wire.request(format!(
            r#"{{"jsonrpc": "2.0", "method": "{method}", "params": {{}}, "id": "i"}}"#
        ))
        .await;
        let text = format!(
            "{{\"jsonrpc\": \"2.0\", \"id\": \"i\", \"error\": {{\"code\": -32601, \"message\": \
             \"The method does not exist or is not available: {{'method': '{method}'}}\"}}}}"
        );
        assert_eq!(String::from_utf8_lossy(&wire.frame().await.body), text);
    }
}

#[tokio::test]
async fn request_queues_have_children_and_only_those() {
    let (server, _) = plain().await;
    let mut wire = Wire::ready(&server).await;
    let ping = r#"{"jsonrpc":"2.0","method":"Host.ping2","id":1}"#;
    let to = |destination: &str| {
        Frame::new(Command::Send)
            .with_header("destination", destination)
            .with_header("reply-to", REPLIES)
            .with_body(ping)
    };
    for destination in ["jms.topic.vdsm_requests.sub.queue", IRS_REQUEST_QUEUE] {
        wire.send(&to(destination)).await;
        assert_eq!(wire.json().await["result"], true);
    }
    wire.send(&to("jms.topic.vdsm_requests2")).await;
    wire.error("Subscription not available").await;
}

#[tokio::test]
async fn the_service_learns_flow_peer_and_kind() {
    let (server, _) = plain().await;
    let mut wire = Wire::ready(&server).await;
    let frame = request_frame(r#"{"jsonrpc":"2.0","method":"who","id":1}"#)
        .with_header("ovirtCorrelationId", "flow:1");
    wire.send(&frame).await;
    let answer = wire.json().await;
    assert_eq!(
        answer["result"],
        json!({
            "flow_id": "flow:1",
            "address": wire.stream.local_addr().unwrap().to_string(),
            "local_address": server.local_addr().to_string(),
            "common_name": null,
            "notification": false,
        })
    );
}

#[tokio::test]
async fn ids_are_echoed_as_they_came() {
    let (server, _) = plain().await;
    let mut wire = Wire::ready(&server).await;
    for id in [
        "1",
        "-1.5e3",
        "123456789012345678901234567890",
        r#""""#,
        r#""\u00e9 \"x""#,
    ] {
        wire.request(format!(
            r#"{{"id":{id},"jsonrpc":"2.0","method":"Host.ping2"}}"#
        ))
        .await;
        let body = wire.frame().await.body;
        let text = format!("{{\"jsonrpc\": \"2.0\", \"id\": {id}, \"result\": true}}");
        assert_eq!(String::from_utf8_lossy(&body), text);
    }
}

#[tokio::test]
async fn wrong_requests_are_answered_once_and_harm_nothing() {
    let (server, service) = plain().await;
    let mut wire = Wire::ready(&server).await;
    let cases = [
        ("", -32700, json!(null)),
        ("{", -32700, json!(null)),
        ("\u{1}", -32700, json!(null)),
        (r#"{"jsonrpc":"2.0","method":"x"#, -32700, json!(null)),
        ("5", -32600, json!(null)),
        (r#""text""#, -32600, json!(null)),
        ("null", -32600, json!(null)),
        ("{}", -32600, json!(null)),
        ("[]", -32600, json!(null)),
        (r#"{"jsonrpc":"1.0","method":"x","id":7}"#, -32600, json!(7)),
        (r#"{"jsonrpc":2.0,"method":"x","id":7}"#, -32600, json!(7)),
        (r#"{"jsonrpc":"2.0","id":7}"#, -32600, json!(7)),
        (
            r#"{"jsonrpc":"2.0","method":null,"id":7}"#,
            -32600,
            json!(7),
        ),
        (r#"{"jsonrpc":"2.0","method":7,"id":7}"#, -32600, json!(7)),
        (
            r#"{"jsonrpc":"2.0","method":"x","params":5,"id":7}"#,
            -32600,
            json!(7),
        ),
        (
            r#"{"jsonrpc":"2.0","method":"x","params":null,"id":"s"}"#,
            -32600,
            json!("s"),
        ),
        (
            r#"{"jsonrpc":"2.0","method":"x","id":{}}"#,
            -32600,
            json!(null),
        ),
        (
            r#"{"jsonrpc":"2.0","method":"x","id":[1]}"#,
            -32600,
            json!(null),
        ),
        (
            r#"{"jsonrpc":"2.0","method":"x","id":true}"#,
            -32600,
            json!(null),
        ),
    ];
    for (body, code, id) in cases {
        wire.request(body).await;
        let answer = wire.json().await;
        assert_eq!(answer["error"]["code"], code, "{body}: {answer}");
        assert_eq!(answer["id"], id, "{body}: {answer}");
        assert!(answer.get("result").is_none());
    }
    wire.send(&request_frame("").with_body(&b"{\"jsonrpc\":\"2.0\",\"method\":\"\xff\"}"[..]))
        .await;
    assert_eq!(wire.json().await["error"]["code"], -32700);
    assert_eq!(service.calls.load(Ordering::SeqCst), 0);
    wire.works().await;
}

#[tokio::test]
async fn deep_nesting_is_no_danger() {
    let (server, _) = plain().await;
    let mut wire = Wire::ready(&server).await;
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    wire.request(deep.clone()).await;
    assert_eq!(wire.json().await[0]["error"]["code"], -32600);
    wire.request(format!(r#"{{"jsonrpc":"2.0","method":"x","id":{deep}}}"#))
        .await;
    assert_eq!(wire.json().await["error"]["code"], -32600);
    wire.works().await;
}

#[tokio::test]
async fn errors_of_the_service_pass_with_code_and_text() {
    let (server, _) = plain().await;
    let mut wire = Wire::ready(&server).await;
    wire.request(r#"{"jsonrpc":"2.0","method":"fail","params":{},"id":1}"#)
        .await;
    let answer = wire.json().await;
    assert_eq!(
        answer["error"],
        json!({"code": 1, "message": "Virtual machine does not exist: {'vmId': 'x'}"})
    );
}

#[tokio::test]
async fn a_batch_is_answered_by_one_array() {
    let (server, service) = plain().await;
    let mut wire = Wire::ready(&server).await;
    wire.request(
        r#"[{"jsonrpc":"2.0","method":"Host.ping2","id":1},
            {"jsonrpc":"2.0","method":"sleep","params":{"ms":50},"id":2},
            {"jsonrpc":"2.0","method":"echo","params":[1]},
            5,
            {"jsonrpc":"2.0","method":"sleep","params":{"ms":1},"id":"s"},
            {"jsonrpc":"2.0","method":"nothing","id":1}]"#,
    )
    .await;
    let answer = wire.json().await;
    let ids: Vec<_> = answer
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["id"].clone())
        .collect();
    assert_eq!(ids, [json!(1), json!(2), json!(null), json!("s"), json!(1)]);
    assert_eq!(answer[1]["result"], "slept");
    assert_eq!(answer[2]["error"]["code"], -32600);
    assert_eq!(answer[4]["error"]["code"], -32601);
    assert_eq!(service.calls.load(Ordering::SeqCst), 5);
    // Also one element, and none that waits.
    wire.request(r#"[{"jsonrpc":"2.0","method":"Host.ping2","id":1}]"#)
        .await;
    assert_eq!(
        wire.json().await,
        json!([{"jsonrpc":"2.0","id":1,"result":true}])
    );
    wire.request("[1,2]").await;
    assert_eq!(wire.json().await.as_array().unwrap().len(), 2);
    wire.works().await;
}

#[tokio::test]
async fn a_batch_runs_at_once_and_is_bounded() {
    let (server, _) = plain_with(|config| config.limits.batch = 100).await;
    let mut wire = Wire::ready(&server).await;
    let batch = |count: usize| {
        let one = r#"{"jsonrpc":"2.0","method":"sleep","params":{"ms":500},"id":1}"#;
        format!("[{}]", vec![one; count].join(","))
    };
    let start = Instant::now();
    wire.request(batch(100)).await;
    assert_eq!(wire.json().await.as_array().unwrap().len(), 100);
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "{:?}",
        start.elapsed()
    );
    wire.request(batch(101)).await;
    assert_eq!(wire.json().await["error"]["code"], -32600);
    wire.request(format!("[{}1]", "1,".repeat(1_000_000))).await;
    assert_eq!(wire.json().await["error"]["code"], -32600);
}

#[tokio::test]
async fn notifications_run_and_are_never_answered() {
    let (server, service) = plain().await;
    let mut wire = Wire::ready(&server).await;
    for body in [
        r#"{"jsonrpc":"2.0","method":"Host.ping2"}"#,
        // As upstream's own client writes them.
        r#"{"jsonrpc":"2.0","method":"Host.ping2","params":{},"id":null}"#,
        r#"{"jsonrpc":"2.0","method":"noSuch"}"#,
        r#"{"jsonrpc":"2.0","method":"panic"}"#,
        r#"{"jsonrpc":"2.0","method":"panicLater"}"#,
        r#"{"jsonrpc":"2.0","method":"sleep","params":{"ms":10}}"#,
        r#"[{"jsonrpc":"2.0","method":"Host.ping2"},{"jsonrpc":"2.0","method":"sleep","params":{"ms":5}}]"#,
    ] {
        wire.request(body).await;
    }
    until("the sleeps end", || {
        service.slept.load(Ordering::SeqCst) == 2
    })
    .await;
    wire.works().await;
    wire.silent().await;
    assert_eq!(service.calls.load(Ordering::SeqCst), 9);
}

#[tokio::test]
async fn the_same_id_on_two_connections_and_twice_on_one() {
    let (server, _) = plain().await;
    let mut first = Wire::connect(&server).await;
    let mut second = Wire::connect(&server).await;
    first.subscribe("queue-1", "s").await;
    second.subscribe("queue-2", "s").await;
    let sleep = |queue: &str| {
        Frame::new(Command::Send)
            .with_header("destination", "jms.topic.vdsm_requests")
            .with_header("reply-to", queue)
            .with_body(r#"{"jsonrpc":"2.0","method":"sleep","params":{"ms":100},"id":"same"}"#)
    };
    first.send(&sleep("queue-1")).await;
    second.send(&sleep("queue-2")).await;
    first.send(&sleep("queue-1")).await;
    for wire in [&mut first, &mut second] {
        assert_eq!(wire.json().await["id"], "same");
    }
    assert_eq!(first.json().await["id"], "same");
    second.silent().await;
}

#[tokio::test]
async fn a_reply_reaches_all_subscribers_of_its_queue() {
    let (server, _) = plain().await;
    let mut asker = Wire::ready(&server).await;
    asker.subscribe(REPLIES, "again").await;
    let mut listener = Wire::ready(&server).await;
    asker
        .request(r#"{"jsonrpc":"2.0","method":"Host.ping2","id":1}"#)
        .await;
    assert_eq!(asker.frame().await.header("subscription"), Some("sub-1"));
    assert_eq!(asker.frame().await.header("subscription"), Some("again"));
    assert_eq!(listener.json().await["id"], 1);
    // An answer that comes later takes the same ways.
    asker
        .request(r#"{"jsonrpc":"2.0","method":"sleep","params":{"ms":50},"id":2}"#)
        .await;
    for wire in [&mut asker, &mut listener] {
        assert_eq!(wire.json().await["id"], 2);
    }
}

#[tokio::test]
async fn without_reply_to_or_subscriber_nothing_comes() {
    let (server, service) = plain().await;
    let mut wire = Wire::ready(&server).await;
    let ping = r#"{"jsonrpc":"2.0","method":"Host.ping2","id":1}"#;
    wire.text(&format!(
        "SEND\ndestination:jms.topic.vdsm_requests\n\n{ping}\0"
    ))
    .await;
    wire.text(&format!(
        "SEND\ndestination:jms.topic.vdsm_requests\nreply-to:nobody\nreceipt:r\n\n{ping}\0"
    ))
    .await;
    assert_eq!(wire.frame().await.command, Command::Receipt);
    wire.silent().await;
    assert_eq!(service.calls.load(Ordering::SeqCst), 2);
    wire.works().await;
}

#[tokio::test]
async fn a_slow_verb_delays_no_quick_one() {
    let (server, _) = plain().await;
    let mut wire = Wire::ready(&server).await;
    for id in 0..5 {
        wire.request(format!(
            r#"{{"jsonrpc":"2.0","method":"sleep","params":{{"ms":3000}},"id":{id}}}"#
        ))
        .await;
    }
    let start = Instant::now();
    // The next frame is the answer of this one.
    wire.works().await;
    let mut ids: Vec<_> = Vec::new();
    for _ in 0..5 {
        ids.push(wire.json().await["id"].as_u64().unwrap());
    }
    ids.sort_unstable();
    assert_eq!(ids, [0, 1, 2, 3, 4]);
    assert!(
        start.elapsed() < Duration::from_secs(12),
        "they ran beside one another"
    );
}

#[tokio::test]
async fn a_panic_is_an_internal_error_and_the_connection_lives() {
    let (server, _) = plain().await;
    let mut wire = Wire::ready(&server).await;
    for method in ["panic", "panicLater"] {
        wire.request(format!(r#"{{"jsonrpc":"2.0","method":"{method}","id":3}}"#))
            .await;
        let answer = wire.json().await;
        assert_eq!(
            (&answer["id"], &answer["error"]["code"]),
            (&json!(3), &json!(-32603))
        );
    }
    wire.request(
        r#"[{"jsonrpc":"2.0","method":"panicLater","id":1},{"jsonrpc":"2.0","method":"panic","id":2},
            {"jsonrpc":"2.0","method":"Host.ping2","id":3}]"#,
    )
    .await;
    let answer = wire.json().await;
    assert_eq!(answer[0]["error"]["code"], -32603);
    assert_eq!(answer[1]["error"]["code"], -32603);
    assert_eq!(answer[2]["result"], true);
    wire.works().await;
}

#[tokio::test]
async fn too_many_requests_at_once_are_refused_and_the_others_run() {
    let (server, _) = plain_with(|config| config.limits.in_flight = 4).await;
    let mut wire = Wire::ready(&server).await;
    for id in 0..6 {
        wire.request(format!(
            r#"{{"jsonrpc":"2.0","method":"sleep","params":{{"ms":300}},"id":{id}}}"#
        ))
        .await;
    }
    for id in [4, 5] {
        let answer = wire.json().await;
        assert_eq!(
            (&answer["id"], &answer["error"]["code"]),
            (&json!(id), &json!(1100))
        );
    }
    for _ in 0..4 {
        assert_eq!(wire.json().await["result"], "slept");
    }
    wire.works().await;
}

#[tokio::test]
async fn a_call_is_finished_though_its_connection_is_gone() {
    let (server, service) = plain().await;
    let mut wire = Wire::ready(&server).await;
    wire.request(r#"{"jsonrpc":"2.0","method":"sleep","params":{"ms":300},"id":1}"#)
        .await;
    until("it runs", || service.calls.load(Ordering::SeqCst) == 1).await;
    drop(wire);
    until("it is finished", || {
        service.slept.load(Ordering::SeqCst) == 1
    })
    .await;
    until("the connection is forgotten", || server.connections() == 0).await;
}

#[tokio::test]
async fn a_call_learns_that_its_client_is_gone() {
    let (server, service) = plain().await;
    // One that vanishes with a reset, one that closes as a process that ends does, one that disconnects.
    for way in 0..3 {
        let mut wire = Wire::ready(&server).await;
        wire.request(r#"{"jsonrpc":"2.0","method":"untilGone","id":1}"#)
            .await;
        until("it runs", || {
            service.calls.load(Ordering::SeqCst) == way + 1
        })
        .await;
        assert_eq!(service.stopped.load(Ordering::SeqCst), way);
        match way {
            0 => wire.stream.set_zero_linger().unwrap(),
            1 => {}
            _ => wire.text("DISCONNECT\n\n\0").await,
        }
        drop(wire);
        until("it was stopped", || {
            service.stopped.load(Ordering::SeqCst) == way + 1
        })
        .await;
    }
    until("the connections are forgotten", || {
        server.connections() == 0
    })
    .await;
}

#[tokio::test]
async fn large_requests_and_answers_pass() {
    let (server, _) = plain().await;
    let mut wire = Wire::ready(&server).await;
    let text = "\u{e9}".repeat(2_000_000);
    wire.request(format!(
        r#"{{"jsonrpc":"2.0","method":"echo","params":["{text}"],"id":1}}"#
    ))
    .await;
    let answer = tokio::time::timeout(PATIENCE, wire.json()).await.unwrap();
    assert_eq!(answer["result"][0].as_str().unwrap(), text);
}

#[tokio::test]
async fn an_ipv4_client_of_an_ipv6_port_has_its_ipv4_address() {
    common::log::init();
    let any = "[::]:0".parse().unwrap();
    let config = rpc::ServerConfig::new(any, rpc::Security::Plain);
    let service = common::TestService::default();
    let Ok(server) = rpc::Server::bind(config, service).await else {
        println!("skipped: no IPv6 here");
        return;
    };
    let address = ("127.0.0.1", server.local_addr().port());
    let mut wire = Wire::over(tokio::net::TcpStream::connect(address).await.unwrap());
    wire.handshake().await;
    wire.request(r#"{"jsonrpc":"2.0","method":"who","id":1}"#)
        .await;
    let answer = wire.json().await;
    let own = wire.stream.local_addr().unwrap().to_string();
    assert_eq!(answer["result"]["address"], own);
    assert!(
        answer["result"]["local_address"]
            .as_str()
            .unwrap()
            .starts_with("127.0.0.1:")
    );
}
