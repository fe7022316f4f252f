//! What the transport costs, without an agent behind it: a server on a runtime of two threads in this process,
//! asked for `Host.ping2` and for a large answer. Figures are printed, never judged.
//!
//! - calls: 1, 8 and 64 connections, plain and TLS, raw (a thread a connection, a blocking socket, the least code
//!   there can be, so that the server is what is measured) and by this crate's client; one request in flight on
//!   each. The baseline beside each row is an echo of as many bytes over plain TCP; both sides take turns.
//! - allocations of a call, counted by the allocator while raw connections ask (which allocate nothing);
//! - an answer of 2 MB; connecting with and without TLS;
//! - memory of an idle connection, and the processor time of a thousand with heart-beats: their clients are this
//!   program again, in a process of its own ([`holding`]).
//!
//! Compare only within one run.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench may fail where it stands"
)]

#[path = "transport_bench/asking.rs"]
mod asking;
#[path = "transport_bench/certificates.rs"]
mod certificates;
#[path = "transport_bench/holding.rs"]
mod holding;

use std::alloc::System;
use std::time::Duration;

use asking::{Row, Target};
use certificates::certificates;
use rpc::{Call, Reply, RpcError, Security, Server, ServerConfig, Service};
use serde_json::value::RawValue;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How long a side of a row is asked at a time, and how often.
const SLICE: Duration = Duration::from_millis(500);
const TURNS: u32 = 3;
/// Bytes of the large answer.
const LARGE: usize = 2_000_000;

struct Bench {
    large: Box<RawValue>,
}

impl Service for Bench {
    async fn call(&self, call: Call) -> Reply {
        match call.method.as_str() {
            "Host.ping2" => Ok(RawValue::TRUE.to_owned()),
            "large" => Ok(self.large.clone()),
            other => Err(RpcError::method_not_found(other)),
        }
    }
}

fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|it| it == holding::HOLD) {
        return holding::hold(&arguments[at + 1..]);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let (_dir, files) = certificates();
    let serve = |security| serve(&runtime, security);
    let plain = serve(Security::Plain);
    let tls = serve(Security::Tls(files.server_config().unwrap()));
    let sides = [
        ("plain", Target::plain(plain.local_addr())),
        ("TLS", Target::tls(tls.local_addr(), &files)),
    ];
    calls(&runtime, &sides);
    allocations(&sides);
    asking::connecting(&sides);
    for ((name, target), server) in sides.iter().zip([&plain, &tls]) {
        holding::idle(name, target, server);
    }
    holding::beats(&sides[0].1);
}

fn serve(runtime: &Runtime, security: Security) -> Server {
    let mut config = ServerConfig::new("127.0.0.1:0".parse().unwrap(), security);
    config.limits.connections = 10_000;
    config.limits.connections_per_peer = 10_000;
    let large = RawValue::from_string(format!("\"{}\"", "x".repeat(LARGE))).unwrap();
    runtime
        .block_on(Server::bind(config, Bench { large }))
        .unwrap()
}

fn calls(runtime: &Runtime, sides: &[(&str, Target)]) {
    let echo = asking::start_echo();
    println!(
        "\ncalls (ratio: of medians, to an echo of as many bytes over plain TCP in turns;\n\
        \x20 per core: calls a second of the processor time of the server's threads)"
    );
    Row::print_head();
    for (name, target) in sides {
        for connections in [1, 8, 64] {
            let (row, baseline) = asking::raw(target, "Host.ping2", connections, &echo);
            row.print(&format!("Host.ping2, {name}, raw"), connections, &baseline);
            let (row, baseline) = asking::by_client(runtime, target, connections, &echo);
            row.print(
                &format!("Host.ping2, {name}, Client"),
                connections,
                &baseline,
            );
        }
        let (row, baseline) = asking::raw(target, "large", 1, &echo);
        row.print(&format!("2 MB, {name}, raw"), 1, &baseline);
    }
}

fn allocations(sides: &[(&str, Target)]) {
    const CALLS: usize = 10_000;
    println!("\na call of Host.ping2 (server's side)");
    for (name, target) in sides {
        let mut asker = asking::Asker::connect(target, "allocations");
        let request = asker.request("Host.ping2");
        let answer = asker.exchange(&request);
        let region = Region::new(ALLOCATOR);
        for _ in 0..CALLS {
            asker.exchange(&request);
        }
        let change = region.change();
        println!(
            "  {name:<28} {:>6.1} allocations, {:>6.0} bytes allocated; {} bytes asked, {answer} answered",
            change.allocations as f64 / CALLS as f64,
            change.bytes_allocated as f64 / CALLS as f64,
            request.len(),
        );
    }
}

/// Bytes that are allocated now.
fn allocated() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}
