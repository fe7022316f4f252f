//! The agent's side: one connection a request, each within one deadline.
//!
//! Nothing is kept between requests, so that a restart of the helper is seen by nobody but the request that it
//! hits; all requests are idempotent and may be sent again.

use std::{
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt,
};

use crate::{
    Call, FrameError, Outcome, PROTOCOL, Refusal, Reply, Request, SetOwnership, Timed, decode,
    encode, read_frame, write_frame,
};

/// Reaches the root helper.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
    deadline: Duration,
}

/// Why a request was not done, or is not known to be done.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The helper is not there.
    #[error("cannot reach the root helper at {socket}")]
    Connect {
        /// Its socket.
        socket: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The helper said no; nothing was done.
    #[error("the root helper refuses {request}")]
    Refused {
        /// What was asked.
        request: &'static str,
        /// Why.
        source: Refusal,
    },
    /// The connection failed or took too long; it may have been done or not. Ask again.
    #[error("no answer of the root helper to {request}")]
    Lost {
        /// What was asked.
        request: &'static str,
        /// Why.
        source: FrameError,
    },
    /// The answer is none to the question.
    #[error("the root helper's answer to {request} makes no sense: {why}")]
    Nonsense {
        /// What was asked.
        request: &'static str,
        /// What is wrong.
        why: String,
    },
}

impl Client {
    /// A client of the helper at that socket; each request ends within `deadline`.
    pub fn new(socket: impl Into<PathBuf>, deadline: Duration) -> Self {
        Self {
            socket: socket.into(),
            deadline,
        }
    }

    /// Is the helper there?
    pub fn ping(&self) -> Result<(), ClientError> {
        match self.call("ping", Request::Ping {})? {
            Reply::Pong {} => Ok(()),
            other => Err(nonsense("ping", &other)),
        }
    }

    /// Version of the helper.
    pub fn version(&self) -> Result<String, ClientError> {
        match self.call("version", Request::Version {})? {
            Reply::Version { version } => Ok(version),
            other => Err(nonsense("version", &other)),
        }
    }

    /// Sets owner and mode of a path. Idempotent.
    pub fn set_ownership(&self, request: SetOwnership) -> Result<Outcome, ClientError> {
        const NAME: &str = "set_ownership";
        match self.call(NAME, Request::SetOwnership(request))? {
            Reply::Ownership { outcome } => Ok(outcome),
            other => Err(nonsense(NAME, &other)),
        }
    }

    fn call(&self, name: &'static str, request: Request) -> Result<Reply, ClientError> {
        let until = Instant::now() + self.deadline;
        call_on(&self.connect()?, name, request, until)
    }

    /// For a request that names no time of its own.
    pub(crate) fn deadline(&self) -> Duration {
        self.deadline
    }

    pub(crate) fn connect(&self) -> Result<UnixStream, ClientError> {
        self.stream().map_err(|source| ClientError::Connect {
            socket: self.socket.clone(),
            source,
        })
    }

    fn stream(&self) -> std::io::Result<UnixStream> {
        let fd = socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )?;
        // The send timeout also bounds connect, which waits where the helper's queue is full.
        sockopt::set_socket_timeout(&fd, sockopt::Timeout::Send, Some(self.deadline))?;
        connect(&fd, &SocketAddrUnix::new(Path::new(&self.socket))?)?;
        Ok(UnixStream::from(fd))
    }
}

/// One request and its answer.
pub(crate) fn call_on(
    stream: &UnixStream,
    name: &'static str,
    request: Request,
    until: Instant,
) -> Result<Reply, ClientError> {
    let mut timed = Timed::new(stream, until);
    let protocol = PROTOCOL;
    // A helper that refuses at once (too many clients) may close before it reads: its answer still counts.
    let sent = write_frame(&mut timed, &encode(&Call { protocol, request }));
    read_reply(&mut timed, name).map_err(|error| match (error, sent) {
        (ClientError::Lost { .. }, Err(source)) => lost(name, source),
        (error, _) => error,
    })
}

pub(crate) fn read_reply(timed: &mut Timed<'_>, name: &'static str) -> Result<Reply, ClientError> {
    let body = read_frame(timed).map_err(|source| lost(name, source))?;
    match decode(&body) {
        Ok(Reply::Refused(source)) => Err(ClientError::Refused {
            request: name,
            source,
        }),
        Ok(reply) => Ok(reply),
        Err(why) => Err(ClientError::Nonsense { request: name, why }),
    }
}

pub(crate) fn lost(request: &'static str, source: FrameError) -> ClientError {
    ClientError::Lost { request, source }
}

pub(crate) fn nonsense(request: &'static str, reply: &Reply) -> ClientError {
    let why = format!("{reply:?}").chars().take(100).collect();
    ClientError::Nonsense { request, why }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    const DEADLINE: Duration = Duration::from_millis(300);

    /// A helper that answers one connection with these bytes, or keeps silent.
    fn with_helper(answer: Option<Vec<u8>>, ask: impl FnOnce(Client)) {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("sock");
        let listener = UnixListener::bind(&path).expect("a socket");
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let helper = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let _ = read_frame(&mut stream);
            if let Some(answer) = answer {
                let _ = std::io::Write::write_all(&mut stream, &answer);
                return;
            }
            let _ = wait.recv();
        });
        ask(Client::new(path, DEADLINE));
        drop(done);
        helper.join().expect("ends");
    }

    fn frame(body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write_frame(&mut out, body).expect("fits");
        out
    }

    #[test]
    fn answers_are_taken() {
        let reply = Reply::Version {
            version: "1".into(),
        };
        with_helper(Some(frame(&encode(&reply))), |client| {
            assert_eq!(client.version().expect("answered"), "1");
        });
    }

    #[test]
    fn refusals_are_typed() {
        let reply = Reply::Refused(Refusal::Peer { uid: 7 });
        with_helper(Some(frame(&encode(&reply))), |client| {
            let error = client.ping().expect_err("refused");
            assert!(matches!(
                error,
                ClientError::Refused {
                    source: Refusal::Peer { uid: 7 },
                    ..
                }
            ));
        });
    }

    #[test]
    fn a_silent_helper_is_given_up() {
        with_helper(None, |client| {
            let start = Instant::now();
            let error = client.ping().expect_err("silent");
            assert!(
                matches!(
                    error,
                    ClientError::Lost {
                        source: FrameError::TimedOut,
                        ..
                    }
                ),
                "{error:?}"
            );
            assert!(start.elapsed() < Duration::from_secs(30));
        });
    }

    #[test]
    fn a_dead_or_confused_helper_is_told() {
        with_helper(Some(Vec::new()), |client| {
            let error = client.ping().expect_err("closed");
            assert!(
                matches!(
                    error,
                    ClientError::Lost {
                        source: FrameError::Closed,
                        ..
                    }
                ),
                "{error:?}"
            );
        });
        let wrong = Reply::Version {
            version: "1".into(),
        };
        for body in [b"{".to_vec(), encode(&wrong)] {
            with_helper(Some(frame(&body)), |client| {
                let error = client.ping().expect_err("confused");
                assert!(matches!(error, ClientError::Nonsense { .. }), "{error:?}");
            });
        }
    }

    #[test]
    fn no_helper_is_an_error_at_once() {
        let error = Client::new("/nowhere/sock", DEADLINE)
            .ping()
            .expect_err("nobody");
        assert!(matches!(error, ClientError::Connect { .. }));
    }

    #[test]
    fn a_helper_that_does_not_accept_is_given_up() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("sock");
        let _listener = UnixListener::bind(&path).expect("a socket");
        let start = Instant::now();
        let error = Client::new(path, DEADLINE)
            .ping()
            .expect_err("nobody accepts");
        assert!(
            matches!(
                error,
                ClientError::Lost {
                    source: FrameError::TimedOut,
                    ..
                }
            ),
            "{error:?}"
        );
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}
