//! The helper's side: which clients there shall be, started, found again, started anew when they died, stopped.
//!
//! A client is a process of its own (`vdsm-dhcp`) that outlives the helper. States of one: not wanted; wanted and
//! not there (it is being started, or died: [`Clients::heal`] starts it, at growing distances); wanted and there;
//! not wanted and still there or not cleaned up (a stop that was cut off: `heal` goes on with it).

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use exec::{Command, Daemon};
use net_model::{Cidr, DhcpClient, Family, IfName};

use super::{
    DhcpClients, Interface, dhcp_error,
    folder::{Folder, Key, Wanted},
    kernel::{Kernel, advertised},
};
use crate::{ApplyError, ResolvConf};

/// Set by systemd (systemd.exec(5)).
const JOURNAL: &str = "JOURNAL_STREAM";
/// Between SIGTERM and SIGKILL: a client needs no time to end.
const GRACE: Duration = Duration::from_secs(2);
/// How often dead clients are looked for.
const LOOK: Duration = Duration::from_secs(2);
/// A client that died again and again is started at most so seldom.
const SELDOM: Duration = Duration::from_mins(1);

/// Where clients and helper meet, and what is started.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// Root's own folder, gone with the boot: `/run/supervdsm/dhcp`.
    pub folder: PathBuf,
    /// The client: `/usr/libexec/vdsm/vdsm-dhcp`.
    pub program: PathBuf,
    /// Its standard error; it logs to the journal if there is one.
    pub log: PathBuf,
    /// Where name servers go.
    pub resolv: ResolvConf,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            folder: "/run/supervdsm/dhcp".into(),
            program: "/usr/libexec/vdsm/vdsm-dhcp".into(),
            log: "/dev/null".into(),
            resolv: ResolvConf::system(),
        }
    }
}

/// The DHCP clients of this host.
#[derive(Debug)]
pub struct Clients {
    settings: ClientSettings,
    folder: Folder,
    /// When each was started last, and how long to wait before the next time.
    starts: Mutex<BTreeMap<Key, (Instant, Duration)>>,
}

impl Clients {
    /// Opens the folder, made if missing. Nothing is started: see [`Clients::heal`] and [`Clients::watch`].
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(settings: ClientSettings) -> Result<Self, ApplyError> {
        let folder = Folder::open(&settings.folder).map_err(|error| ApplyError::Dhcp {
            link: "all interfaces".to_owned(),
            why: format!("{}: {error}", settings.folder.display()),
        })?;
        Ok(Self {
            settings,
            folder,
            starts: Mutex::default(),
        })
    }

    /// Starts clients that are wanted and not there, and cleans up after those that are not wanted. What fails is
    /// told in the log and tried again by the next call.
    pub fn heal(&self) {
        let wanted = self.folder.all_wanted().unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read which DHCP clients there shall be");
            Vec::new()
        });
        for it in wanted {
            let due = self.folder.process(&it.key).is_none() && self.is_due(&it.key);
            if due && Interface::find(&it.key.link).is_ok() {
                tracing::warn!(link = %it.key.link, family = %it.key.family, "its DHCP client is gone: started again");
                if let Err(error) = self.launch(&it.key) {
                    tracing::error!(%error, "a DHCP client cannot be started");
                }
            }
        }
        for key in self.folder.orphans().unwrap_or_default() {
            if let Err(error) = self.clear(&key, Instant::now() + GRACE * 4) {
                tracing::error!(%error, "what a DHCP client left cannot be removed");
            }
        }
    }

    /// Heals now and every two seconds, on a thread of its own, in this thread's network namespace, until the
    /// answer is dropped.
    ///
    /// # Errors
    /// No thread can be had.
    pub fn watch(self: &Arc<Self>) -> std::io::Result<ClientWatch> {
        let clients = Arc::clone(self);
        let shared = Arc::new(Stop::default());
        let stop = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("dhcp-watch".to_owned())
            .spawn(move || while !stop.wait(LOOK, || clients.heal()) {})?;
        Ok(ClientWatch {
            stop: shared,
            thread: Some(thread),
        })
    }

    fn is_due(&self, key: &Key) -> bool {
        let starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        starts
            .get(key)
            .is_none_or(|(when, wait)| when.elapsed() >= *wait)
    }

    /// Starts the process; that it works is its own affair.
    fn launch(&self, key: &Key) -> Result<(), ApplyError> {
        self.note_start(key);
        let family = match key.family {
            Family::V4 => "v4",
            Family::V6 => "v6",
        };
        let command = Command::new(&self.settings.program)
            .arg("--folder")
            .arg(self.folder.path())
            .args(["--link", key.link.as_str(), "--family", family])
            .arg("--resolv-conf")
            .arg(self.settings.resolv.path());
        // By this a client knows that there is a journal; programs get no environment by themselves.
        let command = match std::env::var_os(JOURNAL) {
            Some(journal) => command.env(JOURNAL, journal),
            None => command,
        };
        let log = self.settings.log.clone();
        let started = command.spawn_daemon(&Daemon { log });
        started
            .map(|_| ())
            .map_err(|error| dhcp_error(&key.link, &error))
    }

    fn note_start(&self, key: &Key) {
        let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let entry = starts.entry(key.clone()).or_insert((now, LOOK));
        // One that lived for long may come back at once.
        let lived = entry.0.elapsed() > SELDOM * 2;
        let wait = if lived {
            LOOK
        } else {
            (entry.1 * 2).min(SELDOM)
        };
        *entry = (now, wait);
    }

    /// Ends the process, and waits until none holds the lock. One that has just been started says who it is a
    /// moment after it took the lock.
    fn end(&self, key: &Key, until: Instant) -> Result<(), ApplyError> {
        const MOMENT: Duration = Duration::from_millis(100);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if let Some(process) = self.folder.process(key) {
                process.terminate(left.min(GRACE));
            }
            match self.folder.lock(key, left.min(MOMENT)) {
                Ok(Some(_)) => return Ok(()),
                Ok(None) if left.is_zero() => {
                    return Err(ApplyError::Dhcp {
                        link: key.link.to_string(),
                        why: "its client does not end".to_owned(),
                    });
                }
                Ok(None) => {}
                Err(error) => return Err(dhcp_error(&key.link, &error)),
            }
        }
    }

    /// Ends the process and takes away what it brought.
    fn clear(&self, key: &Key, until: Instant) -> Result<(), ApplyError> {
        let failed = |error: &dyn std::error::Error| dhcp_error(&key.link, error);
        self.end(key, until)?;
        let mut brought = match self.folder.remembered(key) {
            Ok(remembered) => remembered.brought,
            Err(error) => {
                tracing::error!(?key, %error, "what a DHCP client brought is not known");
                super::lease::Brought::default()
            }
        };
        let left = until.saturating_duration_since(Instant::now());
        match Kernel::of(&key.link, left.max(Duration::from_millis(1))) {
            Ok(mut kernel) => {
                let (now, _) = observe::network::network(left, &[]).map_err(|it| failed(&it))?;
                let advertised = now
                    .links
                    .get(&key.link)
                    .map(|it| advertised(it, key.family));
                brought.addresses.extend(advertised.unwrap_or_default());
                kernel.take_away(&brought).map_err(|it| failed(&it))?;
            }
            Err(super::kernel::BringError::NoLink) => {}
            Err(error) => return Err(failed(&error)),
        }
        if !brought.nameservers.is_empty() {
            let resolv = &self.settings.resolv;
            resolv
                .forget(&brought.nameservers)
                .map_err(|it| failed(&it))?;
        }
        self.folder.forget(key).map_err(|it| failed(&it))
    }
}

impl DhcpClients for Clients {
    fn running(&self) -> BTreeMap<IfName, Vec<DhcpClient>> {
        let mut all: BTreeMap<IfName, Vec<DhcpClient>> = BTreeMap::new();
        let wanted = self.folder.all_wanted().unwrap_or_default();
        for it in wanted {
            all.entry(it.key.link).or_default().push(it.client);
        }
        for clients in all.values_mut() {
            clients.sort_by_key(|it| it.family);
        }
        all
    }

    fn leased(&self) -> BTreeMap<IfName, Vec<Cidr>> {
        let mut all: BTreeMap<IfName, Vec<Cidr>> = BTreeMap::new();
        for it in self.folder.all_wanted().unwrap_or_default() {
            let brought = self.folder.remembered(&it.key).unwrap_or_default().brought;
            let addresses = all.entry(it.key.link).or_default();
            addresses.extend(brought.addresses);
        }
        all.retain(|_, addresses| !addresses.is_empty());
        all
    }

    fn start(&self, link: &IfName, client: &DhcpClient, until: Instant) -> Result<(), ApplyError> {
        let key = Key {
            link: link.clone(),
            family: client.family,
        };
        let wanted = Wanted {
            key: key.clone(),
            client: client.clone(),
        };
        let failed = |error: std::io::Error| dhcp_error(link, &error);
        // One that cannot be read is none.
        let before = self.folder.wanted(&key).unwrap_or_default();
        if before.as_ref() == Some(&wanted) && self.folder.process(&key).is_some() {
            return Ok(());
        }
        self.folder.want(&wanted).map_err(failed)?;
        // What it brought stays: the next one goes on from there.
        self.end(&key, until)?;
        self.launch(&key)
    }

    fn stop(&self, link: &IfName, family: Family, until: Instant) -> Result<(), ApplyError> {
        let key = Key {
            link: link.clone(),
            family,
        };
        let removed = self.folder.unwant(&key);
        removed.map_err(|error| dhcp_error(link, &error))?;
        let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        starts.remove(&key);
        drop(starts);
        self.clear(&key, until)
    }
}

/// As long as it is there, dead clients are started again.
#[derive(Debug)]
pub struct ClientWatch {
    stop: Arc<Stop>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Stop {
    asked: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// Does it, waits, and says whether to stop.
    fn wait(&self, how_long: Duration, what: impl FnOnce()) -> bool {
        what();
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .changed
            .wait_timeout_while(asked, how_long, |asked| !*asked);
        let (asked, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *asked
    }
}

impl Drop for ClientWatch {
    fn drop(&mut self) {
        *self
            .stop
            .asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
