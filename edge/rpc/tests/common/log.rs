//! The log of a test binary, to look for reasons in.

use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, Once};

static TEXT: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static INIT: Once = Once::new();

/// Bytes that are kept; beyond them the older half goes.
const MOST: usize = 32 << 20;

struct Writer;

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut text = TEXT.lock().unwrap();
        text.extend_from_slice(bytes);
        if text.len() > MOST {
            text.drain(..MOST / 2);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Collects what is logged from now on, once per process.
pub(crate) fn init() {
    INIT.call_once(|| {
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .with_writer(|| Writer)
            .init();
    });
}

/// Waits for a line about the client with this port that holds `text`.
pub(crate) async fn reason(port: u16, text: &str) {
    reason_of(&SocketAddr::from(([127, 0, 0, 1], port)), text).await;
}

/// Waits for a line about this client that holds `text`.
pub(crate) async fn reason_of(peer: &SocketAddr, text: &str) {
    let peer = format!("peer={peer} ");
    super::until(&format!("a log line for {peer} with {text}"), || {
        let log = String::from_utf8_lossy(&TEXT.lock().unwrap()).into_owned();
        log.lines()
            .any(|line| line.contains(&peer) && line.contains(text))
    })
    .await;
}

/// Whether anything logged until now holds `text`.
pub(crate) fn has(text: &str) -> bool {
    String::from_utf8_lossy(&TEXT.lock().unwrap()).contains(text)
}
