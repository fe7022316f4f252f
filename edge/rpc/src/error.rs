//! Errors of setting up an end: listening and certificates.
//!
//! What goes wrong on a live connection is a logged reason (server) or a
//! [`ClientError`](crate::ClientError) (client); what goes wrong in a frame is a
//! [`FrameError`](crate::frame::FrameError); what a verb answers is an
//! [`RpcError`](crate::RpcError).

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a server or the TLS of either end could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The listening socket could not be opened.
    #[error("listen at {address}")]
    Listen {
        /// Address of the configuration.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A PEM file is missing, unreadable, or holds nothing of the kind wanted.
    #[error("read {what} from {}", path.display())]
    Pem {
        /// `certificate`, `private key`, `CA certificate` or `revocation list`.
        what: &'static str,
        /// File of the configuration.
        path: PathBuf,
        /// What the parser said.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// A PEM file holds something of the kind wanted that is no X.509.
    #[error("{what} in {} is not X.509", path.display())]
    NotX509 {
        /// `certificate`, `CA certificate` or `revocation list`.
        what: &'static str,
        /// File of the configuration.
        path: PathBuf,
    },
    /// The files are readable, but TLS refuses them: key and certificate that do not belong
    /// together, an unsupported key, a CA certificate that is none.
    #[error("set up TLS")]
    Tls {
        /// What rustls said.
        #[source]
        source: rustls::Error,
    },
    /// The client verifier refuses the CA.
    #[error("set up the verification of clients")]
    Verifier {
        /// What rustls said.
        #[source]
        source: rustls::server::VerifierBuilderError,
    },
}
