//! The client against the server, and against servers that misbehave.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test's helpers fail the test"
)]

mod common;

use std::sync::atomic::Ordering;
use std::time::Duration;

use common::{PATIENCE, TestService, Wire, plain, until};
use futures_util::StreamExt;
use host_model::HostPort;
use rpc::{
    Client, ClientConfig, ClientError, EVENT_QUEUE, HeartBeat, Security, Server, ServerConfig,
};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn config(port: u16) -> ClientConfig {
    let mut config = ClientConfig::new(HostPort::parse("127.0.0.1", port).unwrap(), None);
    config.timeout = PATIENCE;
    config
}

async fn connect(server: &Server) -> Client {
    Client::connect(config(server.local_addr().port()))
        .await
        .unwrap()
}

fn json(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

async fn value(call: impl Future<Output = Result<Box<RawValue>, ClientError>>) -> Value {
    serde_json::from_str(call.await.unwrap().get()).unwrap()
}

#[tokio::test]
async fn calls_are_answered_with_result_or_error() {
    let (server, _) = plain().await;
    let client = connect(&server).await;
    assert_eq!(
        value(client.call("Host.ping2", None, None, PATIENCE)).await,
        true
    );
    let params = json(r#"{"a": ["é", 1]}"#);
    let echo = client
        .call("echo", Some(&params), None, PATIENCE)
        .await
        .unwrap();
    assert_eq!(echo.get(), params.get());
    let who = value(client.call("who", None, Some("flow-1"), PATIENCE)).await;
    assert_eq!(who["flow_id"], "flow-1");
    match client.call("fail", None, None, PATIENCE).await {
        Err(ClientError::Rpc(error)) => assert_eq!(error.code, 1),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_are_in_flight_and_each_gets_its_own_answer() {
    let (server, _) = plain().await;
    let client = connect(&server).await;
    let tasks: Vec<_> = (0..500)
        .map(|index| {
            let client = client.clone();
            tokio::spawn(async move {
                let params = json(&format!("[{index}]"));
                if index % 5 == 0 {
                    let sleep = json(r#"{"ms": 100}"#);
                    client
                        .call("sleep", Some(&sleep), None, PATIENCE)
                        .await
                        .unwrap();
                }
                let echo = client
                    .call("echo", Some(&params), None, PATIENCE)
                    .await
                    .unwrap();
                assert_eq!(echo.get(), params.get());
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_call_times_out_and_its_late_answer_is_ignored() {
    let (server, service) = plain().await;
    let client = connect(&server).await;
    let sleep = json(r#"{"ms": 2000}"#);
    let late = client
        .call("sleep", Some(&sleep), None, Duration::from_millis(50))
        .await;
    assert!(
        matches!(&late, Err(ClientError::Timeout { what, .. }) if what == "sleep"),
        "{late:?}"
    );
    assert_eq!(
        service.slept.load(Ordering::SeqCst),
        0,
        "the verb still runs"
    );
    until("the verb ends", || {
        service.slept.load(Ordering::SeqCst) == 1
    })
    .await;
    assert_eq!(
        value(client.call("Host.ping2", None, None, PATIENCE)).await,
        true
    );
}

#[tokio::test]
async fn events_come_as_a_stream_until_unsubscribed() {
    let (server, _) = plain().await;
    let client = connect(&server).await;
    let mut events = client.subscribe(EVENT_QUEUE).unwrap();
    // Frames are acted on in order: once this is answered, the subscription stands.
    client
        .call("Host.ping2", None, None, PATIENCE)
        .await
        .unwrap();
    let params = json(r#"{"notify_time": 1}"#);
    for index in 0..10 {
        server
            .publisher()
            .publish_event(&format!("|virt|{index}"), &params);
    }
    for index in 0..10 {
        let event = events.next().await.unwrap();
        assert_eq!(event.method, format!("|virt|{index}"));
        assert_eq!(event.params.unwrap().get(), params.get());
    }
    drop(events);
    client
        .call("Host.ping2", None, None, PATIENCE)
        .await
        .unwrap();
    assert_eq!(server.publisher().publish_event("|virt|x", &params), 0);
}

#[tokio::test]
async fn clients_notify_one_another() {
    let (server, _) = plain().await;
    let (teller, listener) = (connect(&server).await, connect(&server).await);
    let mut events = listener.subscribe("custom.topic").unwrap();
    listener
        .call("Host.ping2", None, None, PATIENCE)
        .await
        .unwrap();
    teller
        .notify(
            "custom.topic",
            "vdsm.event",
            Some(&json(r#"{"content": true}"#)),
        )
        .unwrap();
    let event = events.next_event().await.unwrap();
    assert_eq!(
        (event.method.as_str(), event.params.unwrap().get()),
        ("vdsm.event", r#"{"content": true}"#)
    );
}

#[tokio::test]
async fn a_lost_connection_fails_all_in_flight_and_all_to_come() {
    let (server, service) = plain().await;
    let client = connect(&server).await;
    let mut events = client.subscribe(EVENT_QUEUE).unwrap();
    let calls: Vec<_> = (0..10)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                let sleep = json(r#"{"ms": 60000}"#);
                client
                    .call("sleep", Some(&sleep), None, Duration::from_mins(1))
                    .await
            })
        })
        .collect();
    until("they run", || service.calls.load(Ordering::SeqCst) == 10).await;
    drop(server);
    for call in calls {
        let lost = tokio::time::timeout(PATIENCE, call).await.unwrap().unwrap();
        assert!(matches!(lost, Err(ClientError::Closed { .. })), "{lost:?}");
    }
    assert!(events.next_event().await.is_none());
    assert!(client.is_closed());
    let call = client.call("Host.ping2", None, None, PATIENCE).await;
    assert!(matches!(call, Err(ClientError::Closed { .. })), "{call:?}");
    assert!(client.subscribe("x").is_err());
}

#[tokio::test]
async fn a_dropped_client_leaves_the_server() {
    let (server, _) = plain().await;
    let client = connect(&server).await;
    let events = client.subscribe(EVENT_QUEUE).unwrap();
    drop(client);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(
        server.connections(),
        1,
        "a subscription keeps the connection"
    );
    drop(events);
    until("it is gone", || server.connections() == 0).await;
}

#[tokio::test]
async fn heart_beats_keep_both_sides_alive_and_tell_of_death() {
    let (server, _) = plain().await;
    let mut with_beats = config(server.local_addr().port());
    let second = Some(Duration::from_secs(1));
    with_beats.heart_beat = HeartBeat {
        send: second,
        expect: second,
    };
    let client = Client::connect(with_beats.clone()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(3500)).await;
    assert_eq!(
        value(client.call("Host.ping2", None, None, PATIENCE)).await,
        true
    );

    // A server that promises beats and falls silent.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    with_beats.address = listener.local_addr().unwrap().try_into().unwrap();
    let connecting = tokio::spawn(Client::connect(with_beats));
    let (mut stream, _) = listener.accept().await.unwrap();
    stream
        .write_all(b"CONNECTED\nversion:1.2\nheart-beat:1000,0\n\n\0")
        .await
        .unwrap();
    let client = connecting.await.unwrap().unwrap();
    let call = client.call("x", None, None, PATIENCE).await;
    assert!(
        matches!(&call, Err(ClientError::Closed { reason }) if reason.contains("heart-beat")),
        "{call:?}"
    );
}

#[tokio::test]
async fn connecting_fails_in_words() {
    let free = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let refused = Client::connect(config(free)).await;
    assert!(
        matches!(refused, Err(ClientError::Connect { .. })),
        "{refused:?}"
    );

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut impatient = config(listener.local_addr().unwrap().port());
    impatient.timeout = Duration::from_millis(200);
    let late = Client::connect(impatient).await;
    assert!(matches!(late, Err(ClientError::Timeout { .. })), "{late:?}");
}

async fn fake_server(answer: &'static [u8]) -> (Result<Client, ClientError>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connecting = tokio::spawn(Client::connect(config(port)));
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = [0; 512];
    assert!(stream.read(&mut request).await.unwrap() > 0);
    stream.write_all(answer).await.unwrap();
    (connecting.await.unwrap(), stream)
}

#[tokio::test]
async fn a_server_that_refuses_or_babbles_is_an_error() {
    let (refused, _stream) =
        fake_server(b"ERROR\ncontent-length:19\n\nVersion unsupported\0").await;
    match refused {
        Err(ClientError::Connect { source, .. }) => {
            assert!(source.to_string().contains("Version unsupported"));
        }
        other => panic!("{other:?}"),
    }
    let (babble, _stream) = fake_server(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    assert!(
        matches!(babble, Err(ClientError::Connect { .. })),
        "{babble:?}"
    );
}

#[tokio::test]
async fn strange_messages_are_survived() {
    let (client, mut stream) = fake_server(
        b"CONNECTED\nversion:1.2\n\n\0MESSAGE\n\n\0MESSAGE\nsubscription:replies\n\n[1,{},null]\0\
          MESSAGE\nsubscription:replies\n\n{\"id\":\"unknown\",\"result\":1}\0\
          MESSAGE\nsubscription:replies\n\n{\"id\":null,\"error\":{\"code\":-32700}}\0\
          RECEIPT\nreceipt-id:1\n\n\0SEND\n\n\0ERROR\nmessage:odd\n\n\0",
    )
    .await;
    let client = client.unwrap();
    let calling = tokio::spawn(async move { client.call("x", None, None, PATIENCE).await });
    let mut text = String::new();
    let id = loop {
        let mut bytes = [0; 1024];
        let count = stream.read(&mut bytes).await.unwrap();
        assert!(count > 0);
        text.push_str(&String::from_utf8_lossy(&bytes[..count]));
        if let Some((_, rest)) = text.split_once("\"id\": ")
            && let Some((id, _)) = rest.split_once('}')
        {
            break id.to_owned();
        }
    };
    let body = format!("[{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":\"fine\"}}]");
    stream
        .write_all(format!("MESSAGE\nsubscription:replies\n\n{body}\0").as_bytes())
        .await
        .unwrap();
    assert_eq!(calling.await.unwrap().unwrap().get(), "\"fine\"");
}

#[tokio::test]
async fn raw_and_real_clients_get_along() {
    let (server, _) = plain().await;
    let client = connect(&server).await;
    let mut wire = Wire::ready(&server).await;
    wire.works().await;
    assert_eq!(
        value(client.call("Host.ping2", None, None, PATIENCE)).await,
        true
    );
}

/// Binds on an address of IPv6, or says why that cannot be.
async fn listen_v6(address: &str) -> Option<Server> {
    let config = ServerConfig::new(address.parse().unwrap(), Security::Plain);
    match Server::bind(config, TestService::default()).await {
        Ok(server) => Some(server),
        Err(error) => {
            println!("skipped: {address}: {error}");
            None
        }
    }
}

async fn who_through(address: &str, port: u16) -> Value {
    let address = HostPort::parse(address, port).unwrap();
    let mut config = ClientConfig::new(address, None);
    config.timeout = PATIENCE;
    let client = Client::connect(config).await.unwrap();
    value(client.call("who", None, None, PATIENCE)).await
}

#[tokio::test]
async fn ipv6_is_reached_bare_in_brackets_and_by_name() {
    let Some(server) = listen_v6("[::1]:0").await else {
        return;
    };
    let port = server.local_addr().port();
    for text in [
        "::1".to_owned(),
        "[::1]".to_owned(),
        format!("[::1]:{port}"),
    ] {
        let who = who_through(&text, port).await;
        assert!(
            who["address"].as_str().unwrap().starts_with("[::1]:"),
            "{who}"
        );
    }
    // By name: an IPv4 address refuses, ::1 answers, in whichever order the resolver tells them.
    let v6_has_a_name = tokio::net::lookup_host(("localhost", port))
        .await
        .is_ok_and(|mut found| found.any(|it| it.is_ipv6()));
    if v6_has_a_name {
        who_through("localhost", port).await;
    }
}

/// A link-local address of this machine, with its interface: from the kernel's list.
fn link_local() -> Option<String> {
    let list = std::fs::read_to_string("/proc/net/if_inet6").ok()?;
    list.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let bits = u128::from_str_radix(fields[0], 16).ok()?;
        let address = std::net::Ipv6Addr::from(bits);
        let usable = address.is_unicast_link_local() && fields[4] == "80";
        usable.then(|| format!("{address}%{}", fields[5]))
    })
}

#[tokio::test]
async fn a_link_local_address_is_reached_by_its_zone() {
    let Some(address) = link_local() else {
        println!("skipped: no interface has a link-local IPv6 address");
        return;
    };
    let Some(server) = listen_v6("[::]:0").await else {
        return;
    };
    let port = server.local_addr().port();
    let who = who_through(&format!("[{address}]:{port}"), 1).await;
    assert!(
        who["address"].as_str().unwrap().starts_with("[fe80:"),
        "{who}"
    );
    who_through(&address, port).await;
}
