//! The agent's side of requests about networks. A change is pending as long as its [`PendingChange`] lives.

use std::{
    collections::BTreeMap,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use net_model::{Desired, IfName, Plan};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{
    Client, ClientError, Reply, Request, Timed,
    client::{call_on, lost, nonsense, read_reply},
    encode,
    network::{
        Applied, ArpAnswer, ArpProbe, Lldp, LldpState, Millis, NetworkChange, NetworkPlan,
        NetworkRestore, NetworkRollback, NetworkState, Restored, Stored, UNDO_WITHIN, Word,
    },
    write_frame,
};

/// For storing a confirmed change: a slow disk is waited for.
const STORE_WITHIN: Duration = Duration::from_mins(1);

/// A change that was made and verified, and does not last yet. Dropping it has the root helper undo the change, and so has
/// the death of this process.
#[derive(Debug)]
#[must_use = "dropping it undoes the change"]
pub struct PendingChange {
    stream: UnixStream,
    applied: Applied,
}

impl PendingChange {
    /// The steps that were run, each on a line; none: all was as desired.
    pub fn steps(&self) -> &[String] {
        &self.applied.steps
    }

    /// How long making the change took.
    pub fn took(&self) -> Duration {
        Duration::from_millis(self.applied.took_ms)
    }

    /// Does the helper still wait for a word? Not after its death, nor when it has said its last word by itself.
    pub fn is_held(&self) -> bool {
        let mut polled = [PollFd::new(&self.stream, PollFlags::IN)];
        // If there cannot be a look, a word will find out.
        !matches!(poll(&mut polled, Some(&Timespec::default())), Ok(1..))
    }

    /// Makes it last: the running set is stored, the persistent one if that was asked for.
    ///
    /// # Errors
    /// Refused: it is undone (too late, or the files could not be stored). Lost: it is not known; the running set on disk
    /// tells.
    pub fn confirm(self) -> Result<Stored, ClientError> {
        const NAME: &str = "network_confirm";
        match self.say(NAME, Word::Confirm {}, STORE_WITHIN + UNDO_WITHIN)? {
            Reply::NetworkStored(stored) => Ok(stored),
            other => Err(nonsense(NAME, &other)),
        }
    }

    /// Undoes it now, and waits until it is undone.
    pub fn undo(self) -> Result<(), ClientError> {
        const NAME: &str = "network_undo";
        match self.say(NAME, Word::Undo {}, UNDO_WITHIN)? {
            Reply::NetworkUndone {} => Ok(()),
            other => Err(nonsense(NAME, &other)),
        }
    }

    fn say(&self, name: &'static str, word: Word, within: Duration) -> Result<Reply, ClientError> {
        let mut timed = Timed::new(&self.stream, Instant::now() + within);
        // Who was too late finds the helper's refusal, though it does not listen any more.
        let sent = write_frame(&mut timed, &encode(&word));
        read_reply(&mut timed, name).map_err(|error| match (error, sent) {
            (ClientError::Lost { .. }, Err(source)) => lost(name, source),
            (error, _) => error,
        })
    }
}

impl Client {
    /// Makes a change of networks; answers when it is made and verified. It lasts when it is confirmed.
    pub fn network_change(&self, change: NetworkChange) -> Result<PendingChange, ClientError> {
        let within = change.deadline_ms.get() + UNDO_WITHIN;
        let request = Request::NetworkChange(Box::new(change));
        self.pending("network_change", request, within)
    }

    /// Makes the change back to an older generation of a set of files; pending as any change.
    pub fn network_rollback(
        &self,
        rollback: NetworkRollback,
    ) -> Result<PendingChange, ClientError> {
        let within = rollback.deadline_ms.get() + UNDO_WITHIN;
        let request = Request::NetworkRollback(rollback);
        self.pending("network_rollback", request, within)
    }

    /// What would a change do? Nothing changes.
    pub fn network_plan(&self, desired: Desired) -> Result<Plan, ClientError> {
        const NAME: &str = "network_plan";
        let within = self.deadline();
        let request = NetworkPlan {
            desired,
            deadline_ms: Millis::of(within),
        };
        match self.ask(NAME, Request::NetworkPlan(Box::new(request)), within)? {
            Reply::NetworkPlan(plan) => Ok(*plan),
            other => Err(nonsense(NAME, &other)),
        }
    }

    /// What does the helper know about networks?
    pub fn network_state(&self) -> Result<NetworkState, ClientError> {
        const NAME: &str = "network_state";
        match self.ask(NAME, Request::NetworkState {}, self.deadline())? {
            Reply::NetworkState(state) => Ok(*state),
            other => Err(nonsense(NAME, &other)),
        }
    }

    /// Stores the running set as the persistent one.
    pub fn network_persist(&self) -> Result<Stored, ClientError> {
        const NAME: &str = "network_persist";
        match self.ask(NAME, Request::NetworkPersist {}, STORE_WITHIN)? {
            Reply::NetworkStored(stored) => Ok(stored),
            other => Err(nonsense(NAME, &other)),
        }
    }

    /// Brings the persistent set back; what fails of it is in the answer.
    pub fn network_restore(&self, restore: NetworkRestore) -> Result<Restored, ClientError> {
        const NAME: &str = "network_restore";
        let within = restore.deadline_ms.get() + UNDO_WITHIN;
        match self.ask(NAME, Request::NetworkRestore(restore), within)? {
            Reply::NetworkRestored(restored) => Ok(restored),
            other => Err(nonsense(NAME, &other)),
        }
    }

    /// Who on an interface has these addresses? Those who answer in time.
    pub fn arp_probe(&self, probe: ArpProbe) -> Result<Vec<ArpAnswer>, ClientError> {
        const NAME: &str = "arp_probe";
        let within = probe.wait_ms.get() + self.deadline();
        match self.ask(NAME, Request::ArpProbe(probe), within)? {
            Reply::Arp { answers } => Ok(answers),
            other => Err(nonsense(NAME, &other)),
        }
    }

    /// What do the neighbours of these cards tell by LLDP?
    pub fn lldp(&self, lldp: Lldp) -> Result<BTreeMap<IfName, LldpState>, ClientError> {
        const NAME: &str = "lldp";
        let within = lldp.deadline_ms.get() + self.deadline();
        match self.ask(NAME, Request::Lldp(lldp), within)? {
            Reply::Lldp { nics } => Ok(nics),
            other => Err(nonsense(NAME, &other)),
        }
    }

    fn pending(
        &self,
        name: &'static str,
        request: Request,
        within: Duration,
    ) -> Result<PendingChange, ClientError> {
        let stream = self.connect()?;
        match call_on(&stream, name, request, Instant::now() + within)? {
            Reply::NetworkApplied(applied) => Ok(PendingChange { stream, applied }),
            other => Err(nonsense(name, &other)),
        }
    }

    fn ask(
        &self,
        name: &'static str,
        request: Request,
        within: Duration,
    ) -> Result<Reply, ClientError> {
        let stream = self.connect()?;
        call_on(&stream, name, request, Instant::now() + within)
    }
}
