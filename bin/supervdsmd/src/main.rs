//! The root helper: a closed list of privileged requests.
//!
//! Owns the socket of the configuration's `[supervdsm]` section. It reads its configuration, opens the socket (or takes
//! the one that systemd holds for it), gives up all capabilities but those that its requests need, and then serves one
//! request a connection, each on a thread of its own, bounded in number and time. It ends at SIGTERM or SIGINT and
//! takes away the socket that it opened.
//! It keeps no state but that of a change of networks, whose journal outlives it: a request that was cut off is asked again.
//!
//! Look next: `server.rs` (connections), `serve.rs` (one request: who asks, what, the audit line), `ownership.rs`,
//! `networks.rs` (what is served), `confine.rs` (capabilities), `accounts.rs` (names to numbers).
#![forbid(unsafe_code)]

mod accounts;
mod confine;
mod logging;
mod neighbours;
mod networks;
mod ownership;
mod serve;
mod server;

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Parser;
use config::{Config, Loaded, Source, Supervdsm};
use tracing::{error, info, warn};

/// The root helper of vdsmd.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Configuration file; without it the installed one and its drop-ins, which may be missing.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Socket, instead of the configuration's.
    #[arg(long)]
    socket: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Logging may not have started: say it where it is seen in any case.
            error!("{error:#}");
            let _ = std::io::Write::write_all(
                &mut std::io::stderr(),
                format!("supervdsmd: {error:#}\n").as_bytes(),
            );
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let Loaded { config, warnings } = load(arguments.config.as_deref())?;
    // Before any thread: it takes variables out of the environment.
    let held = systemd::unix_listener()?;
    logging::start(&config.vars)?;
    for warning in warnings {
        warn!("{warning}");
    }
    let options = &config.supervdsm;
    let socket = arguments.socket.as_ref().unwrap_or(&options.socket);
    let policy = policy(options)?;
    let server = match held {
        Some(listener) => server::Server::held(listener, options)?,
        None => server::Server::bind(socket, policy.client, options)?,
    };
    confine::confine(options.networks)?;
    info!(
        socket = %socket.display(),
        client = policy.client,
        roots = ?policy.roots,
        "supervdsmd {} serves",
        env!("CARGO_PKG_VERSION")
    );
    // What a death has left of a change of networks is ended before anybody is served.
    let service = Arc::new(serve::Service {
        networks: networks::Networks::start(options, &config.vars),
        neighbours: neighbours::Neighbours::new(options, &config.vars),
        policy,
        ended: server.ended()?,
    });
    neighbours::Neighbours::start(&service);
    systemd::ready("serving");
    server.run(&service)?;
    info!("supervdsmd ends");
    Ok(())
}

/// Reads one named file, which must be there, or the installed ones, which may be missing.
fn load(file: Option<&std::path::Path>) -> Result<Loaded> {
    let sources = match file {
        Some(path) => vec![read(path)?.ok_or_else(|| anyhow!("{}: not there", path.display()))?],
        None => installed()?,
    };
    Config::load(&sources).context("the configuration is wrong")
}

fn installed() -> Result<Vec<Source>> {
    let mut dropins = Vec::new();
    for dir in config::DROPIN_DIRS {
        let Ok(entries) = std::fs::read_dir(dir) else {
            continue;
        };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        dropins.extend(paths.filter(|path| path.extension().is_some_and(|e| e == "conf")));
    }
    config::dropin_order(&mut dropins);
    dropins.insert(0, PathBuf::from(config::DEFAULT_FILE));
    let read = dropins.iter().map(|path| read(path));
    Ok(read
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .flatten()
        .collect())
}

fn read(path: &std::path::Path) -> Result<Option<Source>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(Source::new(path.display().to_string(), text))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Names to numbers. The client must exist; an owner that does not is refused when asked for.
fn policy(options: &Supervdsm) -> Result<serve::Policy> {
    let accounts = accounts::Accounts::read()?;
    let Some(client) = accounts.user(&options.client_user) else {
        bail!(
            "[supervdsm] client_user: there is no user {}",
            options.client_user
        );
    };
    let owner = |name: &str, names: &config::OwnerNames| {
        let found = accounts.owner(names);
        if found.is_none() {
            let (user, group) = (&names.user, &names.group);
            warn!(
                "[supervdsm] owner_{name}: there is no {user}:{group}; requests for it are refused"
            );
        }
        found
    };
    Ok(serve::Policy {
        client,
        roots: options.allowed_roots.clone(),
        vdsm: owner("vdsm", &options.owner_vdsm),
        qemu: owner("qemu", &options.owner_qemu),
        deadline: options.request_timeout,
    })
}
