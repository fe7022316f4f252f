//! One DHCP client: of one interface, for one family, in a process of its own.
//!
//! supervdsmd starts it, finds it again after its own restart, and starts it anew if it dies. It keeps three
//! capabilities (raw sockets, the network's configuration, ports below 1024) and stays root only by number, to write
//! what root reads. It ends by any signal, at any moment: what it brought is remembered before it is done (see
//! `net_apply::dhcp`). It ends by itself when its interface goes or becomes another one.
//!
//! Look next: `v4.rs`, `v6.rs` (the library `mozim` and what is done with its leases), `routers.rs` (advertisements).
#![forbid(unsafe_code)]

mod confine;
mod refusals;
mod routers;
mod v4;
mod v6;

use std::{path::PathBuf, process::ExitCode, sync::Arc, thread, time::Duration};

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};
use net_apply::{ResolvConf, dhcp::Session};
use net_model::{Family, IfName};
use tracing::{error, info};
use tracing_subscriber::{
    filter::LevelFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

/// One DHCP client of an interface. Started by supervdsmd, not by hand.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where supervdsmd says what is wanted, and this program what it did.
    #[arg(long)]
    folder: PathBuf,
    /// The interface.
    #[arg(long)]
    link: IfName,
    /// The address family.
    #[arg(long)]
    family: Version,
    /// Where name servers go.
    #[arg(long, default_value = "/etc/resolv.conf")]
    resolv_conf: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Version {
    V4,
    V6,
}

/// How often it is looked whether the interface still is the same.
const LOOK: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    log();
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// To the journal; without one to standard error, which supervdsmd leads somewhere.
fn log() {
    let registry = tracing_subscriber::registry().with(LevelFilter::INFO);
    let journal = tracing_journald::layer()
        .ok()
        .filter(|_| std::env::var_os("JOURNAL_STREAM").is_some());
    match journal {
        Some(layer) => registry
            .with(layer.with_syslog_identifier("vdsm-dhcp".to_owned()))
            .init(),
        None => registry
            .with(fmt::layer().with_ansi(false).with_writer(std::io::stderr))
            .init(),
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    confine::confine()?;
    let family = match arguments.family {
        Version::V4 => Family::V4,
        Version::V6 => Family::V6,
    };
    let resolv = ResolvConf::at(&arguments.resolv_conf);
    let Some(session) = Session::begin(&arguments.folder, &arguments.link, family, resolv)? else {
        info!(link = %arguments.link, %family, "no client is wanted here, or one is there already");
        return Ok(());
    };
    let session = Arc::new(session);
    info!(link = %arguments.link, %family, client = ?session.client(), "the client starts");
    watch(&session)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime")?;
    match family {
        Family::V4 => runtime.block_on(v4::run(&session)),
        Family::V6 => {
            routers::listen(&session)?;
            if session.client().stateless {
                loop {
                    thread::park();
                }
            }
            runtime.block_on(v6::run(&session))
        }
    }
}

/// Ends the process when the interface goes or becomes another one: sockets are bound to the old one. supervdsmd
/// starts a client for the new one.
fn watch(session: &Arc<Session>) -> Result<()> {
    let session = Arc::clone(session);
    let look = move || {
        while session.interface().is_there() {
            thread::sleep(LOOK);
        }
        info!("the interface is gone, or another one");
        std::process::exit(0)
    };
    let thread = thread::Builder::new().name("link".to_owned()).spawn(look);
    thread.map(|_| ()).context("no thread")
}
