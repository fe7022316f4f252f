//! Requests about networks: whether this helper changes them at all, and how a change that waits for its asker's word ends.
//!
//! States of a change's connection: asked, made (the asker is told), waiting; its end is a word, the end of the connection, the end
//! of the time for confirming, or the end of this helper: all but "confirm" undo.

use std::{
    os::unix::net::UnixStream,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use config::{Supervdsm, Vars};
use net_apply::{
    Asked, Change, ChangeError, ClientSettings, Clients, KernelMachine, Logged, Machine, Places,
    ResolvConf, Transactions,
    dhcp::ClientWatch,
    managers::{Managed, Managers},
};
use observe::netconf::Netconfs;
use privileged::{
    Millis, NetworkRestore, Refusal, Reply, Request, Timed, Word, decode, read_frame,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    thread::{CapabilitySet, capabilities},
};
use tracing::{error, info, warn};

/// For answers that need the kernel only.
const LOOK: Duration = Duration::from_secs(20);

/// For a word, from its first byte on.
const WORD: Duration = Duration::from_secs(5);

/// For ending, at the start, what a death has left.
const RECOVER: Duration = Duration::from_mins(2);

/// For the kernel to show what it was told.
const SETTLE: Duration = Duration::from_secs(5);

/// Tells one start of the host from another.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Networks of this host, if they are changed here.
pub(crate) struct Networks {
    transactions: Result<Transactions, String>,
    /// Starts dead clients again as long as it is there.
    _clients: Option<ClientWatch>,
}

/// How a change that waits has ended.
pub(crate) enum End {
    Word(Word),
    /// Of the connection.
    Closed,
    /// Of the time for confirming.
    Late,
    /// Of this helper.
    Ended,
}

impl Networks {
    /// Ends what a death in the middle of a change has left.
    pub(crate) fn start(options: &Supervdsm, vars: &Vars) -> Self {
        let refused = |why: String| {
            info!(why, "networks are not changed by this helper");
            Self {
                transactions: Err(why),
                _clients: None,
            }
        };
        if let Some(why) = why_not(options) {
            return refused(why);
        }
        match open(options, vars) {
            Ok((transactions, clients)) => {
                recover(&transactions);
                Self {
                    transactions: Ok(transactions),
                    _clients: Some(clients),
                }
            }
            Err(error) => {
                error!("networks cannot be changed: {error:#}");
                refused(format!("{error:#}"))
            }
        }
    }

    /// Is a change under way, whose end is to be waited for?
    pub(crate) fn is_pending(&self) -> bool {
        self.transactions
            .as_ref()
            .is_ok_and(Transactions::is_pending)
    }

    /// Requests of one answer.
    pub(crate) fn answer(&self, request: &Request, what: &str) -> Result<Reply, Refusal> {
        let all = self.all(what)?;
        let soon = || Instant::now() + LOOK;
        let done = match request {
            Request::NetworkPlan(it) => all
                .plan(&it.desired, Instant::now() + it.deadline_ms.get())
                .map(|plan| Reply::NetworkPlan(Box::new(plan))),
            Request::NetworkState {} => all
                .state(soon())
                .map(|state| Reply::NetworkState(Box::new(state))),
            Request::NetworkPersist {} => all.persist().map(Reply::NetworkStored),
            Request::NetworkRestore(NetworkRestore { force, deadline_ms }) => all
                .restore(*force, Instant::now() + deadline_ms.get())
                .map(Reply::NetworkRestored),
            _ => {
                return Err(Refusal::NotHere {
                    what: what.to_owned(),
                    why: "this helper does not do it".to_owned(),
                });
            }
        };
        done.map_err(|error| error.refusal())
    }

    /// Makes a change; it is pending then.
    pub(crate) fn begin(
        &self,
        request: &Request,
        what: &str,
        pid: Option<u32>,
    ) -> Result<(Change<'_>, Option<Millis>), Refusal> {
        let all = self.all(what)?;
        let begun = |desired, persist, deadline: Millis| {
            all.begin(Asked {
                desired,
                persist,
                until: Instant::now() + deadline.get(),
                pid,
            })
        };
        let (change, within) = match request {
            Request::NetworkChange(it) => (
                begun(it.desired.clone(), it.persist, it.deadline_ms),
                it.confirm_within_ms,
            ),
            Request::NetworkRollback(it) => {
                let persist = it.set == privileged::NetworkSet::Persistent;
                let older = all.older(it.set, it.back);
                let change = older.and_then(|desired| begun(desired, persist, it.deadline_ms));
                (change, it.confirm_within_ms)
            }
            _ => {
                return Err(Refusal::Request {
                    why: "no change".to_owned(),
                });
            }
        };
        let change = change.map_err(|error| error.refusal())?;
        Ok((change, within))
    }

    fn all(&self, what: &str) -> Result<&Transactions, Refusal> {
        self.transactions.as_ref().map_err(|why| Refusal::NotHere {
            what: what.to_owned(),
            why: why.clone(),
        })
    }
}

/// Does what the end of the waiting says.
pub(crate) fn end(change: Change<'_>, end: &End) -> Reply {
    let undone = |change: Change<'_>| change.undo().err();
    let refusal = |error: &ChangeError| Reply::Refused(error.refusal());
    match end {
        End::Word(Word::Confirm {}) => match change.confirm() {
            Ok(stored) => Reply::NetworkStored(stored),
            Err(error) => refusal(&error),
        },
        End::Word(Word::Undo {}) => undone(change)
            .as_ref()
            .map_or(Reply::NetworkUndone {}, refusal),
        End::Closed | End::Late | End::Ended => {
            let why = match end {
                End::Late => "the time for confirming has passed",
                End::Ended => "the root helper ends",
                _ => "the asker is gone",
            };
            warn!(why, "an unconfirmed change of networks is undone");
            let error = undone(change).unwrap_or(ChangeError::Unconfirmed);
            refusal(&error)
        }
    }
}

/// Waits for the word of whoever asked.
pub(crate) fn wait(stream: &UnixStream, ended: &UnixStream, within: Option<Millis>) -> End {
    let until = within.map(|it| Instant::now() + it.get());
    loop {
        let left = until.map(|it| it.saturating_duration_since(Instant::now()));
        if left.is_some_and(|it| it.is_zero()) {
            return End::Late;
        }
        let timeout = left.and_then(|it| Timespec::try_from(it).ok());
        let mut fds = [
            PollFd::new(stream, PollFlags::IN),
            PollFd::new(ended, PollFlags::IN),
        ];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(_) => {}
            Err(error) => {
                error!(%error, "cannot wait for the word of a change");
                return End::Closed;
            }
        }
        let [asker, ending] = &fds;
        if !asker.revents().is_empty() {
            return word(stream);
        }
        if !ending.revents().is_empty() {
            return End::Ended;
        }
    }
}

/// What does not come whole, or is no word, ends it as if the connection had ended.
fn word(stream: &UnixStream) -> End {
    let mut timed = Timed::new(stream, Instant::now() + WORD);
    let body = read_frame(&mut timed).map_err(|it| it.to_string());
    match body.and_then(|it| decode(&it)) {
        Ok(word) => End::Word(word),
        Err(why) => {
            info!(why, "no word about a change");
            End::Closed
        }
    }
}

fn why_not(options: &Supervdsm) -> Option<String> {
    if !options.networks {
        return Some("[supervdsm] networks is false".to_owned());
    }
    let has = capabilities(None).map(|it| it.effective);
    let may = has.is_ok_and(|it| it.contains(CapabilitySet::NET_ADMIN));
    (!may).then(|| "it was started without CAP_NET_ADMIN".to_owned())
}

fn open(options: &Supervdsm, vars: &Vars) -> Result<(Transactions, ClientWatch)> {
    let resolv = ResolvConf::at(&options.resolv_conf);
    let clients = Arc::new(Clients::open(ClientSettings {
        folder: options.dhcp_dir.clone(),
        program: options.dhcp_client.clone(),
        resolv: resolv.clone(),
        ..ClientSettings::default()
    })?);
    let watch = clients.watch().context("cannot watch DHCP clients")?;
    let nics = vars.fake_nics.clone();
    let machine = KernelMachine::new(nics, clients, Arc::new(resolv));
    let machine: Arc<dyn Machine> = if options.network_managers {
        Arc::new(Managed::new(machine, Managers::default()))
    } else {
        Arc::new(machine)
    };
    let boot =
        std::fs::read_to_string(BOOT_ID).with_context(|| format!("cannot read {BOOT_ID}"))?;
    let places = Places {
        netconfs: Netconfs {
            running: options.netconf_running.clone(),
            persistent: options.netconf_persistent.clone(),
        },
        state: options.network_state.clone(),
        sysfs: "/sys".into(),
        restored: options.networks_restored.clone(),
        boot: boot.trim().to_owned(),
        settle: SETTLE,
    };
    let all = Transactions::new(machine, places, Arc::new(Logged));
    Ok((all, watch))
}

fn recover(all: &Transactions) {
    match all.recover(Instant::now() + RECOVER) {
        Ok(_) => {}
        Err(error) => {
            // The next change tries again, and is refused as long as it fails.
            error!(
                "what a cut-off change has left cannot be ended: {:#}",
                anyhow::Error::from(error)
            );
        }
    }
}
