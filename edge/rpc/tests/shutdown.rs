//! Shutting down: what runs is finished and answered, or cut at the deadline.
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

use common::{Wire, plain, until};
use rpc::Shutdown;
use tokio::net::TcpStream;

#[tokio::test]
async fn shutdown_finishes_and_answers_what_runs() {
    let (server, service) = plain().await;
    let address = server.local_addr();
    let mut wire = Wire::ready(&server).await;
    let mut idle = Wire::ready(&server).await;
    let silent = Wire::connect(&server).await;
    wire.request(r#"{"jsonrpc":"2.0","method":"sleep","params":{"ms":500},"id":1}"#)
        .await;
    until("it runs", || service.calls.load(Ordering::SeqCst) == 1).await;
    let stopping = tokio::spawn(server.shutdown(Duration::from_secs(10)));
    assert_eq!(wire.json().await["result"], "slept");
    assert!(wire.next().await.is_none());
    assert!(idle.next().await.is_none());
    drop((wire, idle));
    let start = Instant::now();
    assert_eq!(stopping.await.unwrap(), Shutdown::Finished);
    assert!(
        start.elapsed() < Duration::from_secs(9),
        "{:?}",
        start.elapsed()
    );
    assert!(TcpStream::connect(address).await.is_err());
    drop(silent);
}

#[tokio::test]
async fn the_deadline_cuts_what_still_runs() {
    let (server, service) = plain().await;
    let mut wire = Wire::ready(&server).await;
    wire.request(r#"{"jsonrpc":"2.0","method":"sleep","params":{"ms":60000},"id":1}"#)
        .await;
    wire.request(r#"[{"jsonrpc":"2.0","method":"sleep","params":{"ms":60000},"id":2}]"#)
        .await;
    until("they run", || service.calls.load(Ordering::SeqCst) == 2).await;
    let start = Instant::now();
    assert_eq!(
        server.shutdown(Duration::from_millis(300)).await,
        Shutdown::Cut
    );
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "{:?}",
        start.elapsed()
    );
    assert!(wire.next().await.is_none());
    assert_eq!(service.slept.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_dropped_server_closes_everything() {
    let (server, _) = plain().await;
    let address = server.local_addr();
    let mut wire = Wire::ready(&server).await;
    drop(server);
    assert!(wire.next().await.is_none());
    for _ in 0..100 {
        if TcpStream::connect(address).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("still listening");
}
