//! What stands behind the verbs once everything was found again: the domains and what joins them.

use std::sync::Arc;

use config::Config;
use host::fence::Fencer;
use network::NetworkManager;
use schema::{CallContext, VdsmError, VerbDecl};
use storage::StorageManager;
use storage_model::ports::Journal;
use tasks::{TaskManager, TaskOutput, TaskSpec};
use uuid::Uuid;
use vm::VmManager;

use crate::{
    checks::Teller,
    errors,
    host::HostView,
    ports::{TaskJournal, failure},
    reachability::Reachable,
};

/// The agent. The verbs are in `handlers/`.
pub(crate) struct Agent {
    /// Configuration of this start.
    pub(crate) config: Arc<Config>,
    /// Virtual machines.
    pub(crate) vms: Arc<VmManager>,
    /// Storage.
    pub(crate) storage: Arc<StorageManager>,
    /// Long jobs.
    pub(crate) tasks: TaskManager,
    /// The host.
    pub(crate) host: HostView,
    /// Networks of the host.
    pub(crate) networks: Arc<NetworkManager>,
    /// Do they answer?
    pub(crate) reachable: Arc<Reachable>,
    /// Switches the power of other hosts.
    pub(crate) fencer: Fencer,
    /// Tells what is not as declared.
    pub(crate) mismatches: Arc<Teller>,
}

impl Agent {
    /// Are VMs still being found?
    pub(crate) fn recovering(&self) -> bool {
        self.vms.is_recovering()
    }

    /// The error of what needs iSCSI, on a host that has none.
    pub(crate) fn needs_iscsi(&self) -> Result<(), VdsmError> {
        let iscsi = self.host.iscsi();
        if iscsi.available {
            Ok(())
        } else {
            Err(errors::no_iscsi(&iscsi.reason))
        }
    }

    /// Answers a verb that is declared only: if its subject cannot be on this host, that is the reason.
    pub(crate) fn not_implemented(&self, verb: &VerbDecl) -> VdsmError {
        match verb.namespace {
            "ISCSIConnection" => self.needs_iscsi(),
            _ => Ok(()),
        }
        .err()
        .unwrap_or_else(|| VdsmError::not_implemented(verb.method))
    }

    /// Is what is not as declared an error, even if it can be understood?
    pub(crate) fn strict_api(&self) -> bool {
        self.config.devel.api_strict_mode
    }

    /// Makes a task of storage and answers its id.
    pub(crate) fn submit(
        &self,
        verb: &str,
        cx: &CallContext,
        job: impl FnOnce(&dyn Journal) -> storage::Result<()> + Send + 'static,
    ) -> Result<Uuid, VdsmError> {
        let spec = TaskSpec {
            verb: verb.to_owned(),
            tag: "spm".to_owned(),
            flow_id: cx.flow_id.clone(),
        };
        let id = self.tasks.submit(spec, move |context| {
            job(&TaskJournal(context))
                .map(|()| TaskOutput::default())
                .map_err(failure)
        });
        id.map(|id| id.0).map_err(|error| errors::task(&error))
    }
}
