//! Fencing's ports: agents over `exec`, leases over the domains' cluster lock.

use std::{path::PathBuf, sync::Arc, time::Duration};

use config::Config;
use exec::{
    Cancel, ExecError,
    fence::{AgentName, Lines, NotOneLine},
};
use host::fence::{AgentError, AgentExit, FenceAgents, HostLeases, Lease, Order, Sealed};
use storage::StorageManager;
use storage_model::ports::HostLease;
use uuid::Uuid;

/// The fence agents that are installed in one folder.
pub(crate) struct InstalledAgents {
    folder: PathBuf,
    timeout: Duration,
}

impl InstalledAgents {
    /// As configured.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            folder: config.fencing.agent_dir.clone(),
            timeout: config.fencing.agent_timeout,
        }
    }
}

impl FenceAgents for InstalledAgents {
    fn run(&self, order: &Order) -> Result<AgentExit, AgentError> {
        let agent = AgentName::new(order.agent()).ok_or(AgentError::NotInstalled)?;
        let lines = lines(order).map_err(|error| AgentError::Broken(error.to_string()))?;
        let ended = exec::fence::run(&self.folder, &agent, lines, self.timeout, &Cancel::new());
        let output = ended.map_err(|error| match error {
            ExecError::NotFound { .. } => AgentError::NotInstalled,
            ExecError::TimedOut { after, .. } => AgentError::TimedOut(after),
            ExecError::Start { step, source, .. } => {
                AgentError::Broken(format!("{step}: {source}"))
            }
            other => AgentError::Broken(other.to_string()),
        })?;
        Ok(AgentExit {
            code: output.exit.code(),
            stdout: output.stdout,
            stderr: output.stderr,
        })
    }
}

fn lines(order: &Order) -> Result<Lines, NotOneLine> {
    let mut lines = Lines::new();
    for line in order.lines() {
        match &line.value {
            Some(value) => lines.push(&line.key, Sealed::expose(value))?,
            None => lines.push_flag(&line.key)?,
        }
    }
    Ok(lines)
}

/// Leases as the cluster lock of monitored domains sees them.
pub(crate) struct StorageLeases(pub(crate) Arc<StorageManager>);

impl HostLeases for StorageLeases {
    fn lease(&self, domain: Uuid, host_id: i32) -> Lease {
        match self.0.host_lease(domain, host_id) {
            HostLease::Unavailable => Lease::Unavailable,
            HostLease::Unknown => Lease::Unknown,
            HostLease::Free => Lease::Free,
            HostLease::Live => Lease::Live,
            HostLease::Fail => Lease::Fail,
            HostLease::Dead => Lease::Dead,
        }
    }
}
