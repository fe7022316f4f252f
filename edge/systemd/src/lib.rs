//! The service manager: sockets that it holds for a daemon, and what the daemon tells it.
//!
//! Owns the protocols of `sd_listen_fds(3)` and `sd_notify(3)`, spoken through the crates `listenfd` and `sd-notify`.
//! Without systemd (no `LISTEN_FDS`, no `NOTIFY_SOCKET`) there are no sockets and nobody to tell, and that is no
//! error: the daemon opens its own. What was given but cannot be used is one: a daemon that listened elsewhere
//! would leave the port that the service manager holds without anybody behind it.
//!
//! Look next: the front of `vdsmd` (`listen.rs`) and of `supervdsmd` (`server.rs`), which use it.
#![forbid(unsafe_code)]

use std::{
    io,
    net::TcpListener,
    os::{fd::AsFd, unix::net::UnixListener},
    time::Duration,
};

use listenfd::ListenFd;
use rustix::net::sockopt;
use sd_notify::NotifyState;

/// Sockets that were given and cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SystemdError {
    /// Not of the kind that this daemon serves.
    #[error("socket {number} of {count} given by the service manager (LISTEN_FDS) is not {wanted}")]
    Kind {
        /// Its number, from 1.
        number: usize,
        /// How many were given.
        count: usize,
        /// What it must be.
        wanted: &'static str,
        /// Why it is not.
        source: io::Error,
    },
    /// A socket of the right kind that nobody can connect to.
    #[error("socket {number} of {count} given by the service manager (LISTEN_FDS) does not listen")]
    NotListening {
        /// Its number, from 1.
        number: usize,
        /// How many were given.
        count: usize,
    },
    /// More sockets than the daemon can serve.
    #[error("the service manager gives {count} sockets (LISTEN_FDS), at most {most} can be served")]
    TooMany {
        /// How many were given.
        count: usize,
        /// How many can be served.
        most: usize,
    },
}

/// Most TCP sockets that are served: an address of each family, and some to spare.
const MOST_TCP: usize = 16;

/// The TCP sockets that the service manager holds for this process; empty without them. They do not block, and no
/// child inherits them. To be called once, before any thread is started: it takes the variables out of the environment.
///
/// Errors: any of [`SystemdError`].
pub fn tcp_listeners() -> Result<Vec<TcpListener>, SystemdError> {
    take(MOST_TCP, "a TCP socket", |given, index| {
        let taken = given.take_tcp_listener(index)?;
        taken
            .map(|it| it.set_nonblocking(true).map(|()| it))
            .transpose()
    })
}

/// The stream socket with a path that the service manager holds for this process, if it does. It does not block, and no
/// child inherits it. To be called once, before any thread is started.
///
/// Errors: any of [`SystemdError`]; more than one is too many.
pub fn unix_listener() -> Result<Option<UnixListener>, SystemdError> {
    let mut taken = take(1, "a Unix stream socket", |given, index| {
        let taken = given.take_unix_listener(index)?;
        taken
            .map(|it| it.set_nonblocking(true).map(|()| it))
            .transpose()
    })?;
    Ok(taken.pop())
}

fn take<T: AsFd>(
    most: usize,
    wanted: &'static str,
    mut one: impl FnMut(&mut ListenFd, usize) -> io::Result<Option<T>>,
) -> Result<Vec<T>, SystemdError> {
    let mut given = ListenFd::from_env();
    let count = given.len();
    if count > most {
        return Err(SystemdError::TooMany { count, most });
    }
    let mut taken = Vec::with_capacity(count);
    for index in 0..count {
        let number = index + 1;
        let kind = |source| SystemdError::Kind {
            number,
            count,
            wanted,
            source,
        };
        let socket = one(&mut given, index).map_err(kind)?;
        let socket = socket.ok_or_else(|| kind(io::ErrorKind::NotFound.into()))?;
        if !sockopt::socket_acceptconn(&socket).unwrap_or(false) {
            return Err(SystemdError::NotListening { number, count });
        }
        taken.push(socket);
    }
    Ok(taken)
}

/// Tells that connections are served from now on, and in one line what goes on.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Tells in one line what goes on.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// Tells that the daemon is on its way out.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// How often [`alive`] must be called, if the service manager waits for it: a third of its patience.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|patience| patience / 3)
}

/// Tells that the daemon still does its work.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// Nothing the daemon could do better if the service manager does not listen.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager was not told");
    }
}
