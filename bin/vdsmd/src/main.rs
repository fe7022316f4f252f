//! The host agent.
//!
//! States of the process: *listening* (the port answers code 99 to every verb) → *serving* (storage, tasks and VMs
//! were found again, see [`startup`]) → *draining* (SIGTERM or SIGINT: what runs is finished) → gone. VMs outlive it.
//!
//! ```text
//! settings ── logging ── rpc::Server ── service::Front ── agent::Agent ── handlers/* ── domain/*
//!                                                            │
//!              ports joined here: volumes (vm→storage), journal (storage→tasks), events (vm→rpc)
//! ```
//!
//! Look next: [`startup`] for the order in which the agent is put together, [`service`] for the way of a call,
//! `handlers/` for the verbs, [`errors`] for the codes.
#![forbid(unsafe_code)]

mod accelerator;
mod agent;
mod certificates;
mod checks;
mod duties;
mod errors;
mod handlers;
mod host;
mod listen;
mod logging;
mod network_events;
mod panics;
mod ports;
mod reachability;
mod service;
mod settings;
mod startup;
mod storage_events;

use std::{net::TcpListener, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use clap::Parser;
use config::{Config, Loaded};
use rpc::{Limits, Security, ServerConfig};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    certificates::Guardian,
    listen::Port,
    service::{Front, LaneLimits},
};

/// How long calls that run may go on after SIGTERM.
const DRAIN: Duration = Duration::from_secs(20);

/// The host agent of oVirt. Runs in the foreground.
#[derive(Parser)]
#[command(name = "vdsmd", version)]
struct Arguments {
    /// Read this file alone; without it /etc/vdsm/vdsm.conf and its drop-ins are read.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Read the configuration, tell what is wrong with it, and end.
    #[arg(long)]
    check: bool,
    /// Tell until when the port's certificates hold, and end; exit code 1 if one has ended, ends within 7 days, or
    /// cannot be used.
    #[arg(long)]
    certificates: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("vdsmd ends: {error:#}");
            #[expect(
                clippy::print_stderr,
                reason = "logging may not stand yet, and somebody waits"
            )]
            {
                eprintln!("vdsmd: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let Loaded { config, warnings } = settings::load(arguments.config.as_deref())?;
    if arguments.check {
        return check(&warnings);
    }
    if arguments.certificates {
        return certificates::print(&config);
    }
    // Before any thread: it takes variables out of the environment.
    let sockets = systemd::tcp_listeners()?;
    logging::start(&config.vars)?;
    panics::tell_in_the_log();
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(blocking_threads(&config))
        .thread_keep_alive(Duration::from_secs(10))
        .thread_name("rpc")
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(serve(config, sockets))?;
    // A call that hangs in the kernel must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(())
}

/// A descriptor a connection: takes as many as the process may have.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of descriptors stays as it is");
    }
}

fn check(warnings: &[config::Warning]) -> Result<()> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    for warning in warnings {
        writeln!(out, "{warning}")?;
    }
    writeln!(out, "the configuration can be used")?;
    Ok(())
}

/// Threads for the five lanes, and some for the runtime itself.
fn blocking_threads(config: &Config) -> usize {
    5 * config.rpc.worker_threads as usize + 4
}

async fn serve(config: Config, sockets: Vec<TcpListener>) -> Result<()> {
    let running = config.rpc.worker_threads as usize;
    let front = Front::new(LaneLimits {
        running,
        waiting: running * config.rpc.tasks_per_worker as usize,
        stuck_after: config.rpc.worker_timeout,
    });
    let (guardian, security) = Guardian::new(&config)?;
    let port = Port::open(server_config(&config, security), front.clone(), sockets).await?;
    let (server, held) = port.parts();
    let hold = config.rpc.start_hold;
    let config = Arc::new(config);
    let startup = startup::begin(&config, front.clone(), server.publisher())?;
    tokio::select! {
        end = wait_for_end() => end?,
        failed = guardian.watch(&server) => failed?,
        failed = Port::attend(held, hold, &server, &front) => failed?,
    }
    systemd::stopping();
    tracing::info!("stopping");
    let how = server.shutdown(DRAIN).await;
    startup.stop();
    tracing::info!(?how, "stopped");
    Ok(())
}

fn server_config(config: &Config, security: Security) -> ServerConfig {
    let addresses = &config.addresses;
    let listen = (addresses.management_ip, addresses.management_port).into();
    let mut server = ServerConfig::new(listen, security);
    server.verify_names = config.vars.verify_client_cert;
    server.request_queues.clone_from(&addresses.request_queues);
    server.event_queue.clone_from(&addresses.event_queue);
    let mut limits = Limits {
        outgoing_bytes: config.rpc.max_outgoing_bytes,
        first_frame: config.rpc.handshake_timeout,
        connections: config.rpc.max_connections,
        connections_per_peer: per_peer(&config.rpc),
        idle: Some(config.rpc.idle_timeout).filter(|time| !time.is_zero()),
        ..Limits::default()
    };
    limits.frame.body = config.rpc.max_frame_bytes;
    server.limits = limits;
    server
}

/// Unless told otherwise one address never takes all of them.
fn per_peer(options: &config::Rpc) -> usize {
    match options.max_connections_per_peer {
        0 => (options.max_connections * 3 / 4).max(1),
        some => some,
    }
}

async fn wait_for_end() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
