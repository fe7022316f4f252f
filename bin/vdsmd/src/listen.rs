//! The port: the agent's own, or sockets that systemd holds for it; and what systemd is told.
//!
//! States: *held* (systemd's sockets only: whoever connects waits in their queue while the agent finds everything
//! again, so that the request that started it is answered rather than refused with code 99) → *open*. A queue is held
//! for `[rpc] start_hold` at most: an agent that waits for libvirt says so by code 99. Systemd is told `READY` when the port is
//! open and the agent serves, or after the same time.

use std::{
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use anyhow::{Context as _, Result};
use rpc::{Server, ServerConfig};
use tokio::time::{Instant, sleep};

use crate::service::Front;

/// Pause between looks at whether the agent serves.
const LOOK: Duration = Duration::from_millis(20);

/// A server with its port open, or with systemd's sockets still unheard.
pub(crate) struct Port {
    pub(crate) server: Server,
    held: Vec<TcpListener>,
}

impl Port {
    /// Opens the configured port; with sockets of systemd's, holds those instead.
    pub(crate) async fn open(
        config: ServerConfig,
        front: Front,
        sockets: Vec<TcpListener>,
    ) -> Result<Self> {
        if sockets.is_empty() {
            let server = Server::bind(config, front).await?;
            return Ok(Self {
                server,
                held: sockets,
            });
        }
        tell_of_another_port(config.listen, &sockets);
        Ok(Self {
            server: Server::closed(config, front),
            held: sockets,
        })
    }

    /// Opens what is held once the agent serves, or after `hold`, and keeps systemd informed; never ends but with an
    /// error.
    pub(crate) async fn attend(
        held: Vec<TcpListener>,
        hold: Duration,
        server: &Server,
        front: &Front,
    ) -> Result<()> {
        let opening = async {
            let serves = wait_until_serving(front, Some(hold)).await;
            for socket in held {
                server.open(socket).context("a socket of systemd's")?;
            }
            if !serves {
                systemd::ready("waits for libvirt; verbs answer code 99");
                wait_until_serving(front, None).await;
            }
            systemd::ready("serving");
            std::future::pending().await
        };
        tokio::select! {
            failed = opening => failed,
            () = watchdog() => Ok(()),
        }
    }

    /// Both halves.
    pub(crate) fn parts(self) -> (Server, Vec<TcpListener>) {
        (self.server, self.held)
    }
}

async fn wait_until_serving(front: &Front, at_most: Option<Duration>) -> bool {
    let start = Instant::now();
    while !front.serves() {
        if at_most.is_some_and(|longest| start.elapsed() >= longest) {
            return false;
        }
        sleep(LOOK).await;
    }
    true
}

/// Proves by each message that the runtime which serves the port still runs what is due. Silent without a watchdog;
/// never ends.
async fn watchdog() {
    let Some(interval) = systemd::watchdog() else {
        return std::future::pending().await;
    };
    loop {
        systemd::alive();
        sleep(interval).await;
    }
}

fn tell_of_another_port(configured: SocketAddr, sockets: &[TcpListener]) {
    for socket in sockets {
        match socket.local_addr() {
            Ok(address) if address.port() == configured.port() => {
                tracing::info!(%address, "systemd holds the port");
            }
            Ok(address) => tracing::warn!(
                %address, %configured,
                "systemd holds another port than [addresses] names: systemd's is served (see vdsmd.socket)"
            ),
            Err(error) => tracing::warn!(%error, "a socket of systemd's has no address"),
        }
    }
}
