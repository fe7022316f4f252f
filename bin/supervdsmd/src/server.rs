//! The socket and its connections.
//!
//! States: bound, serving, ending. A connection is served on a thread of its own; beyond the most allowed at one
//! time it is answered `busy` and closed. A stuck client costs one place until its deadline, never the others.

use std::{
    io,
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use config::Supervdsm;
use privileged::network::UNDO_WITHIN;
use rustix::event::{PollFd, PollFlags, poll};
use signal_hook::consts::{SIGINT, SIGTERM};
use tracing::warn;

use crate::serve::{self, Service};

/// Pause after an accept that failed for want of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(50);

/// A socket that is listened on.
pub(crate) struct Server {
    /// To be taken away at the end; `None` if it is the service manager's.
    path: Option<PathBuf>,
    listener: UnixListener,
    /// Readable once a signal asked to end.
    ended: UnixStream,
    places: Arc<Places>,
}

impl Server {
    /// Opens the socket, for `client` (and root) only. One that a dead helper left behind is replaced; one that a
    /// living helper listens on is an error.
    pub(crate) fn bind(path: &Path, client: u32, options: &Supervdsm) -> Result<Self> {
        remove_stale(path)?;
        // Nobody else may connect between bind and chown.
        let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
        let bound = UnixListener::bind(path);
        rustix::process::umask(before);
        let listener = bound.with_context(|| format!("cannot listen on {}", path.display()))?;
        std::os::unix::fs::lchown(path, Some(client), None)
            .with_context(|| format!("cannot give {} to user {client}", path.display()))?;
        listener
            .set_nonblocking(true)
            .context("cannot set the socket up")?;
        Self::of(listener, Some(path.to_owned()), options)
    }

    /// Serves a socket that the service manager holds: owner, mode and end of it are its affair.
    pub(crate) fn held(listener: UnixListener, options: &Supervdsm) -> Result<Self> {
        Self::of(listener, None, options)
    }

    fn of(listener: UnixListener, path: Option<PathBuf>, options: &Supervdsm) -> Result<Self> {
        Ok(Self {
            path,
            listener,
            ended: signals()?,
            places: Arc::new(Places::new(options.max_clients)),
        })
    }

    /// Readable once a signal asked to end.
    pub(crate) fn ended(&self) -> Result<UnixStream> {
        self.ended.try_clone().context("cannot copy a descriptor")
    }

    /// Serves until a signal; then takes the socket away and lets running requests end. A change of networks that nobody
    /// has confirmed is undone.
    pub(crate) fn run(self, service: &Arc<Service>) -> Result<()> {
        while self.wait()? {
            match self.listener.accept() {
                Ok((stream, _)) => self.take(stream, service),
                Err(error) if is_passing(&error) => {}
                Err(error) => {
                    warn!(%error, "cannot accept");
                    std::thread::sleep(PAUSE);
                }
            }
        }
        if let Some(path) = &self.path {
            let _ = std::fs::remove_file(path);
        }
        let longest = if service.networks.is_pending() {
            service.policy.deadline + UNDO_WITHIN
        } else {
            service.policy.deadline
        };
        let left = self.places.wait_empty(longest);
        if left > 0 {
            warn!(left, "requests are stuck and are abandoned");
        }
        Ok(())
    }

    /// True if someone connects, false if a signal asked to end.
    fn wait(&self) -> Result<bool> {
        let mut fds = [
            PollFd::new(&self.listener, PollFlags::IN),
            PollFd::new(&self.ended, PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait for clients"),
        }
        let [_, ended] = &fds;
        Ok(ended.revents().is_empty())
    }

    fn take(&self, stream: UnixStream, service: &Arc<Service>) {
        let Some(place) = Place::take(&self.places) else {
            return serve::busy(&stream);
        };
        let service = Arc::clone(service);
        let thread = std::thread::Builder::new().name("request".to_owned());
        let started = thread.spawn(move || serve::connection(&stream, &service, place));
        if let Err(error) = started {
            warn!(%error, "cannot start a thread: the client is turned away");
        }
    }
}

/// Readable once a signal asks to end.
fn signals() -> Result<UnixStream> {
    let (ended, signalled) = UnixStream::pair().context("cannot make a pair of sockets")?;
    for signal in [SIGTERM, SIGINT] {
        let writer = signalled.try_clone().context("cannot copy a descriptor")?;
        signal_hook::low_level::pipe::register(signal, writer).context("cannot take signals")?;
    }
    Ok(ended)
}

fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, Interrupted, WouldBlock};
    matches!(error.kind(), WouldBlock | Interrupted | ConnectionAborted)
}

fn remove_stale(path: &Path) -> Result<()> {
    let found = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.with_context(|| format!("cannot look at {}", path.display()))?,
    };
    if !found.file_type().is_socket() {
        let mode = found.permissions().mode();
        bail!(
            "{} is there and is no socket (mode {mode:o})",
            path.display()
        );
    }
    match UnixStream::connect(path) {
        Ok(_) => bail!("another helper listens on {}", path.display()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
                .with_context(|| format!("cannot remove the stale socket {}", path.display()))
        }
        Err(error) => Err(error).with_context(|| format!("cannot try {}", path.display())),
    }
}

/// How many connections there are, and may be.
struct Places {
    most: usize,
    taken: Mutex<usize>,
    freed: Condvar,
}

impl Places {
    fn new(most: usize) -> Self {
        Self {
            most,
            taken: Mutex::new(0),
            freed: Condvar::new(),
        }
    }

    /// Waits until all are free; answers how many are not.
    fn wait_empty(&self, longest: Duration) -> usize {
        let until = Instant::now() + longest;
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while *taken > 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.freed.wait_timeout(taken, left);
            taken = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *taken
    }
}

/// One place; given back when dropped, whatever happened on the thread.
struct Place(Arc<Places>);

impl Place {
    fn take(places: &Arc<Places>) -> Option<Self> {
        let mut taken = places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if *taken >= places.most {
            return None;
        }
        *taken += 1;
        Some(Self(Arc::clone(places)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        *taken = taken.saturating_sub(1);
        self.0.freed.notify_all();
    }
}
