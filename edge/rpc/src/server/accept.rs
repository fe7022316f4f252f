//! From the listening socket to a running session: limits, socket options, TLS, protocol.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use rustix::net::sockopt;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::detect::{self, Protocol};
use super::session::Session;
use super::{ConnectionId, PeerInfo, Security, Shared};
use crate::link::{CloseReason, Link, LinkTimes, linger};
use crate::outbox::Outbox;
use crate::tls::names;

/// Wait after a failed accept: it fails for want of descriptors or memory, which others may return.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Accepts until the server stops.
pub(super) async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        let accepted = tokio::select! {
            () = shared.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => start(&shared, stream, canonical(address)),
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// A connection's place among the open ones; gives it back when dropped.
struct Place {
    shared: Arc<Shared>,
    id: ConnectionId,
    peer: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.hub.dismiss(self.id, self.peer);
    }
}

fn start(shared: &Arc<Shared>, stream: TcpStream, address: SocketAddr) {
    let limits = &shared.config.limits;
    let outbox = Arc::new(Outbox::new(limits.outgoing_bytes));
    let bounds = (limits.connections, limits.connections_per_peer);
    let id = match shared.hub.admit(address.ip(), &outbox, bounds) {
        Ok(id) => id,
        Err(reason) => {
            tracing::warn!(peer = %address, %reason, "connection refused");
            return;
        }
    };
    let place = Place {
        shared: shared.clone(),
        id,
        peer: address.ip(),
    };
    let shared = shared.clone();
    shared.clone().connections.spawn(async move {
        let kill = shared.kill.clone();
        let connection = Connection {
            shared,
            id,
            address,
            outbox,
        };
        tokio::select! {
            () = connection.run(stream) => {}
            () = kill.cancelled() => {}
        }
        drop(place);
    });
}

struct Connection {
    shared: Arc<Shared>,
    id: ConnectionId,
    address: SocketAddr,
    outbox: Arc<Outbox>,
}

impl Connection {
    async fn run(self, stream: TcpStream) {
        tracing::debug!(peer = %self.address, connection = %self.id, "accepted");
        match self.greet(stream).await {
            Ok(reason @ (CloseReason::PeerClosed | CloseReason::Disconnected)) => {
                tracing::debug!(peer = %self.address, connection = %self.id, %reason, "closed");
            }
            Ok(reason) => {
                tracing::warn!(peer = %self.address, connection = %self.id, %reason, "closed");
            }
            Err(error) => {
                tracing::warn!(peer = %self.address, connection = %self.id, %error, "closed");
            }
        }
    }

    async fn greet(&self, stream: TcpStream) -> io::Result<CloseReason> {
        // Answers are small and awaited.
        stream.set_nodelay(true)?;
        keep_alive(&stream)?;
        let local_address = canonical(stream.local_addr()?);
        let peer = |common_name| PeerInfo {
            address: self.address,
            local_address,
            common_name,
        };
        let security = self
            .shared
            .security
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        match security {
            Security::Plain => self.speak(stream, peer(None)).await,
            Security::Tls(config) => {
                let stream = self.handshake(config, stream).await?;
                let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
                let certificate = certificates.first();
                let common_name = certificate.and_then(names::common_name);
                self.compare_names(certificate).await?;
                self.speak(stream, peer(common_name)).await
            }
        }
    }

    async fn handshake(
        &self,
        config: Arc<rustls::ServerConfig>,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let limit = self.shared.config.limits.first_frame;
        let accept = timeout(limit, TlsAcceptor::from(config).accept(stream));
        match self.unless_stopped(accept).await? {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(io::Error::other(format!(
                "TLS handshake: {}",
                explain(&error)
            ))),
            Err(_) => Err(io::Error::other(format!(
                "no TLS handshake within {} s",
                limit.as_secs()
            ))),
        }
    }

    async fn compare_names(&self, certificate: Option<&CertificateDer<'_>>) -> io::Result<()> {
        let Some(certificate) = certificate.filter(|_| self.shared.config.verify_names) else {
            return Ok(());
        };
        let limit = self.shared.config.limits.first_frame;
        let compare = async {
            // Names are looked up on threads that block: few at once, so that calls find threads too.
            let _turn = self.shared.lookups.acquire().await;
            names::belongs_to(certificate, self.address.ip()).await
        };
        match self.unless_stopped(timeout(limit, compare)).await? {
            Ok(true) => Ok(()),
            Ok(false) => Err(io::Error::other(format!(
                "no name of the certificate ({}) belongs to {}",
                names::common_name(certificate).unwrap_or_default(),
                self.address.ip()
            ))),
            Err(_) => Err(io::Error::other(format!(
                "the certificate's names were not looked up within {} s",
                limit.as_secs()
            ))),
        }
    }

    /// A server that stops waits for nobody who has not said a word yet.
    async fn unless_stopped<T>(&self, step: impl Future<Output = T>) -> io::Result<T> {
        tokio::select! {
            output = step => Ok(output),
            () = self.shared.stop.cancelled() => Err(io::Error::other("the server stops")),
        }
    }

    async fn speak<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut stream: S,
        peer: PeerInfo,
    ) -> io::Result<CloseReason> {
        let limits = &self.shared.config.limits;
        let since = Instant::now();
        let mut input = BytesMut::new();
        let detect = timeout(limits.first_frame, detect::detect(&mut stream, &mut input));
        let Ok(protocol) = self.unless_stopped(detect).await? else {
            return Ok(CloseReason::NoFirstFrame(limits.first_frame));
        };
        match protocol? {
            Protocol::Stomp => {}
            Protocol::Closed => return Ok(CloseReason::PeerClosed),
            Protocol::Garbage(what) => return Err(io::Error::other(what)),
            Protocol::Http => {
                stream.write_all(detect::HTTP_BAD_REQUEST).await?;
                stream.flush().await?;
                linger(&mut stream).await;
                return Err(io::Error::other("HTTP is not served"));
            }
        }
        let times = LinkTimes {
            first_frame: Some((since, limits.first_frame)),
            stall: limits.stall,
            idle: limits.idle,
        };
        let link = Link::new(stream, input, limits.frame, self.outbox.clone(), times);
        let mut session = Session::new(
            self.shared.clone(),
            self.id,
            Arc::new(peer),
            self.outbox.clone(),
        );
        Ok(link.run(&mut session).await)
    }
}

/// An IPv4 peer of an IPv6 socket as the IPv4 address that it is.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Lets the kernel find out about peers that vanished without heart-beats: after 60 s of silence
/// it asks, and gives up after 6 questions, 10 s apart.
fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_mins(1))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(10))?;
    sockopt::set_tcp_keepcnt(stream, 6)?;
    Ok(())
}

/// The reason in words that name the usual mistakes.
fn explain(error: &io::Error) -> String {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
            "the peer does not speak TLS".to_owned()
        }
        _ => error.to_string(),
    }
}
