//! What the tests of the crate share: a service with verbs of every temper, a server around it, a
//! client that speaks raw frames, certificates as oVirt makes them, and the log.
#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod certs;
pub(crate) mod log;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use rpc::frame::{Codec, Command, Frame};
use rpc::{Call, Reply, RpcError, Security, Server, ServerConfig, Service};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::codec::Decoder;

/// Time after which a test gives up waiting for something that must come.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
/// Queue of the raw client's replies.
pub(crate) const REPLIES: &str = "00000000-0000-0000-0000-000000001000";

/// Verbs to test with; counts what it was asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct TestService {
    pub(crate) calls: Arc<AtomicUsize>,
    /// Calls of `sleep` that came to their end.
    pub(crate) slept: Arc<AtomicUsize>,
    /// Calls of `untilGone` whose client went.
    pub(crate) stopped: Arc<AtomicUsize>,
}

impl Service for TestService {
    async fn call(&self, call: Call) -> Reply {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let params: Value = call
            .params
            .as_ref()
            .map_or(Value::Null, |it| serde_json::from_str(it.get()).unwrap());
        match call.method.as_str() {
            "Host.ping2" => Ok(raw("true")),
            "echo" => Ok(call.params.unwrap_or_else(|| RawValue::NULL.to_owned())),
            "fail" => Err(RpcError::new(
                1,
                "Virtual machine does not exist: {'vmId': 'x'}",
            )),
            "panic" => panic!("on purpose, at once"),
            "panicLater" => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                panic!("on purpose, later")
            }
            "sleep" => {
                tokio::time::sleep(Duration::from_millis(params["ms"].as_u64().unwrap())).await;
                self.slept.fetch_add(1, Ordering::SeqCst);
                Ok(raw("\"slept\""))
            }
            "untilGone" => {
                call.context.gone.wait().await;
                self.stopped.fetch_add(1, Ordering::SeqCst);
                Err(RpcError::internal("gone"))
            }
            "big" => {
                let text = "x".repeat(params["bytes"].as_u64().unwrap().try_into().unwrap());
                Ok(to_raw_value(&text).unwrap())
            }
            "who" => Ok(to_raw_value(&serde_json::json!({
                "flow_id": call.context.flow_id,
                "address": call.context.peer.address.to_string(),
                "local_address": call.context.peer.local_address.to_string(),
                "common_name": call.context.peer.common_name,
                "notification": call.context.notification,
            }))
            .unwrap()),
            other => Err(RpcError::method_not_found(other)),
        }
    }
}

pub(crate) fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap()
}

pub(crate) fn local() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// A plain server with the default limits.
pub(crate) async fn plain() -> (Server, TestService) {
    plain_with(|_| {}).await
}

/// A plain server whose configuration is changed first.
pub(crate) async fn plain_with(change: impl FnOnce(&mut ServerConfig)) -> (Server, TestService) {
    log::init();
    let service = TestService::default();
    let mut config = ServerConfig::new(local(), Security::Plain);
    change(&mut config);
    (
        Server::bind(config, service.clone()).await.unwrap(),
        service,
    )
}

/// A client that speaks raw frames.
pub(crate) struct Wire<S = TcpStream> {
    pub(crate) stream: S,
    codec: Codec,
    input: BytesMut,
}

impl Wire {
    pub(crate) async fn connect(server: &Server) -> Self {
        Self::over(TcpStream::connect(server.local_addr()).await.unwrap())
    }

    /// Connected and subscribed to its replies.
    pub(crate) async fn ready(server: &Server) -> Self {
        let mut wire = Self::connect(server).await;
        wire.handshake().await;
        wire
    }

    pub(crate) fn port(&self) -> u16 {
        self.stream.local_addr().unwrap().port()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) fn over(stream: S) -> Self {
        Self {
            stream,
            codec: Codec::default(),
            input: BytesMut::new(),
        }
    }

    pub(crate) async fn handshake(&mut self) {
        self.text("CONNECT\naccept-version:1.2\nheart-beat:0,0\n\n\0")
            .await;
        assert_eq!(self.frame().await.command, Command::Connected);
        self.subscribe(REPLIES, "sub-1").await;
    }

    pub(crate) async fn subscribe(&mut self, destination: &str, id: &str) {
        let frame = Frame::new(Command::Subscribe)
            .with_header("destination", destination)
            .with_header("ack", "auto")
            .with_header("id", id)
            .with_header("receipt", "subscribed");
        self.send(&frame).await;
        assert_eq!(self.frame().await.header("receipt-id"), Some("subscribed"));
    }

    pub(crate) async fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes()).await;
    }

    pub(crate) async fn bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    pub(crate) async fn send(&mut self, frame: &Frame) {
        self.bytes(&frame.to_bytes().unwrap()).await;
    }

    /// Sends a body to the request queue, replies wanted.
    pub(crate) async fn request(&mut self, body: impl Into<String>) {
        self.send(&request_frame(body)).await;
    }

    /// The next frame; panics if the connection ends first.
    pub(crate) async fn frame(&mut self) -> Frame {
        self.next().await.expect("a frame, not the end")
    }

    /// The next frame, or `None` at the end of the connection.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.codec.decode(&mut self.input).unwrap() {
                return Some(frame);
            }
            let read = self.stream.read_buf(&mut self.input);
            match timeout(PATIENCE, read).await.expect("something in time") {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The body of the next MESSAGE as JSON.
    pub(crate) async fn json(&mut self) -> Value {
        let frame = self.frame().await;
        assert_eq!(frame.command, Command::Message, "{frame:?}");
        serde_json::from_slice(&frame.body).unwrap()
    }

    /// The next frame must be an ERROR with this body.
    pub(crate) async fn error(&mut self, text: &str) {
        let frame = self.frame().await;
        assert_eq!(frame.command, Command::Error, "{frame:?}");
        assert_eq!(String::from_utf8_lossy(&frame.body), text);
        assert_eq!(frame.header("message"), Some(text));
    }

    /// Asks for an echo and expects its answer as the next message: the connection works.
    pub(crate) async fn works(&mut self) {
        self.request(r#"{"jsonrpc":"2.0","method":"echo","params":["works"],"id":"works"}"#)
            .await;
        let answer = self.json().await;
        assert_eq!(answer["id"], "works", "{answer}");
        assert_eq!(answer["result"][0], "works");
    }

    /// Nothing comes for a while.
    pub(crate) async fn silent(&mut self) {
        let next = timeout(Duration::from_millis(300), self.next()).await;
        assert!(next.is_err(), "{next:?}");
    }

    /// All raw bytes until the end.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = self.input.split().to_vec();
        let _ = timeout(PATIENCE, self.stream.read_to_end(&mut rest))
            .await
            .expect("an end in time");
        rest
    }
}

pub(crate) fn request_frame(body: impl Into<String>) -> Frame {
    Frame::new(Command::Send)
        .with_header("destination", "jms.topic.vdsm_requests")
        .with_header("content-type", "application/json")
        .with_header("reply-to", REPLIES)
        .with_body(body.into())
}

/// Waits for something that must become true.
pub(crate) async fn until(what: &str, mut true_now: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if true_now() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}
