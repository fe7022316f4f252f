//! A server with three verbs, to try clients on:
//!
//! ```text
//! ping_server ADDRESS                    plain TCP
//! ping_server ADDRESS CERT KEY CA        TLS, client certificates demanded
//! ```
//!
//! `Host.ping2` answers true, `Host.echo` its parameters, `Host.event` publishes
//! `|test|event|<n>` with its parameters. Ends on SIGINT, finishing what runs.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "it tells where it listens")]

use std::error::Error;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rpc::{Call, Publisher, Reply, RpcError, Security, Server, ServerConfig, Service, TlsFiles};
use serde_json::value::RawValue;

static PUBLISHER: OnceLock<Publisher> = OnceLock::new();
static EVENTS: AtomicU64 = AtomicU64::new(0);

struct Verbs;

impl Service for Verbs {
    async fn call(&self, call: Call) -> Reply {
        match call.method.as_str() {
            "Host.ping2" => Ok(RawValue::TRUE.to_owned()),
            "Host.echo" => Ok(call.params.unwrap_or_else(|| RawValue::NULL.to_owned())),
            "Host.event" => {
                let number = EVENTS.fetch_add(1, Ordering::Relaxed);
                let publisher = PUBLISHER
                    .get()
                    .ok_or_else(|| RpcError::internal("too early"))?;
                let params = call.params.as_deref().unwrap_or(RawValue::NULL);
                publisher.publish_event(&format!("|test|event|{number}"), params);
                Ok(RawValue::TRUE.to_owned())
            }
            other => Err(RpcError::method_not_found(other)),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (address, security) = match arguments.as_slice() {
        [address] => (address, Security::Plain),
        [address, cert, key, ca] => {
            let files = TlsFiles {
                cert: cert.into(),
                key: key.into(),
                ca: ca.into(),
            };
            (address, Security::Tls(files.server_config()?))
        }
        _ => return Err("ping_server ADDRESS [CERT KEY CA]".into()),
    };
    let server = Server::bind(ServerConfig::new(address.parse()?, security), Verbs).await?;
    PUBLISHER.get_or_init(|| server.publisher());
    println!("listening at {}", server.local_addr());
    tokio::signal::ctrl_c().await?;
    println!("{:?}", server.shutdown(Duration::from_secs(5)).await);
    Ok(())
}
