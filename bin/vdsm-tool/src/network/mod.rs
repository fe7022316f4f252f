//! `vdsm-tool net-plan`, `net-rollback`, `restore-nets`, `net-state`: the host's networks from a shell.
//!
//! What changes something is done by the root helper, as one transaction; this process only asks, and shows. Its death
//! before the end has the helper undo what was done.
//!
//! Look next: `cli.rs` (what can be asked for), `request.rs` (a request from a file), `plan.rs`, `rollback.rs`,
//! `restore.rs`, `state.rs`; `docs/networking.md`.

mod cli;
mod plan;
mod request;
mod restore;
mod rollback;
mod show;
mod state;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use net_model::{Config, Current, Desired, Plan, Tables, netconf::Netconf};
use observe::netconf::{Found, Netconfs};
use privileged::{Client, ClientError, NetworkState};

pub(crate) use cli::{PlanArgs, RestoreArgs, RollbackArgs, StateArgs};
pub(crate) use plan::plan;
pub(crate) use restore::restore;
pub(crate) use rollback::rollback;
pub(crate) use state::state;

use self::cli::Reach;
use crate::{configure, output};

/// For reading the kernel's state.
const READ_WITHIN: Duration = Duration::from_secs(30);

impl Reach {
    fn config(&self) -> Result<config::Config> {
        configure::configuration(&self.root)
    }

    /// The two sets of files, where the configuration has them.
    fn files(&self) -> Result<Netconfs> {
        let options = self.config()?.supervdsm;
        Ok(Netconfs {
            running: self.beneath(&options.netconf_running),
            persistent: self.beneath(&options.netconf_persistent),
        })
    }

    fn beneath(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn client(&self) -> Result<Client> {
        if let Some(socket) = &self.socket {
            return Ok(Client::new(socket, self.timeout));
        }
        let options = self.config()?.supervdsm;
        if !options.enable || !options.networks {
            bail!(
                "[supervdsm] enable or networks is off: nothing on this host may change networks"
            );
        }
        Ok(Client::new(options.socket, self.timeout))
    }

    /// What the kernel has, as far as one sees it without the helper.
    fn current(&self) -> Result<Current> {
        let config = self.config()?;
        let nics = config.vars.fake_nics;
        let kinds: Vec<&str> = nics.iter().map(String::as_str).collect();
        let (mut current, _) = observe::network::network(READ_WITHIN, &kinds)
            .context("cannot read the state of the network")?;
        current.count_as_nics(&nics);
        let resolver = self.beneath(&config.supervdsm.resolv_conf);
        current.nameservers = observe::network::nameservers(&resolver);
        Ok(current)
    }

    /// What the kernel has, with what only the helper knows of it.
    fn current_with(&self, state: &NetworkState) -> Result<Current> {
        let mut current = self.current()?;
        current.dhcp.clone_from(&state.clients);
        current.qos.clone_from(&state.qos);
        Ok(current)
    }
}

/// Adds what to do about an error of the helper's.
fn explained(error: ClientError) -> anyhow::Error {
    let advice = match &error {
        ClientError::Connect { source, .. } => match source.kind() {
            std::io::ErrorKind::PermissionDenied => "only root and the agent's user may ask it",
            _ => "does supervdsmd run? systemctl start supervdsmd.socket",
        },
        _ => return error.into(),
    };
    anyhow::Error::from(error).context(advice)
}

/// A set of files; what of it makes no sense is told.
fn set_at(link: &Path) -> Result<Config> {
    Ok(meaning(observe::netconf::read(link)?))
}

/// What files say; what of them makes no sense is told.
fn meaning(found: Found) -> Config {
    let (config, wrong) = Netconf::config(&found.netconf);
    for problem in found.problems.iter().chain(&wrong) {
        output::note(&format!("left out: {problem}"));
    }
    config
}

/// Plans in this process: what the helper would do with the same state.
fn planned_here(current: &Current, desired: &Desired, mut tables: Tables) -> Result<Plan> {
    net_model::validate(current, desired).map_err(refused)?;
    let taken: BTreeSet<u32> = current.tables();
    for config in [&desired.before, &desired.after] {
        tables.allot(config, &taken).map_err(refused)?;
    }
    net_model::plan(current, desired, &tables).map_err(refused)
}

/// A refusal of the model with VDSM's name and number for it.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn refused(error: net_model::NetError) -> anyhow::Error {
    anyhow!("refused: {error} ({} {})", error.code(), error.name())
}
