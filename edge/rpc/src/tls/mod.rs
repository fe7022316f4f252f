//! TLS of both ends: PEM files in, rustls configurations out, and the name of a peer.
//!
//! oVirt's certificates carry no DNS name, so neither end compares names: a server accepts every
//! client, and a client every server, whose certificate chains to the CA given, is within its time
//! and may be used for that end. TLS 1.2 and 1.3. Sessions are not resumed, so that each connection
//! is verified anew, and no tickets are sent.
//!
//! A server may have a file of revocation lists ([`ServerTls::revoked`]); with one, every client's certificate
//! must be covered by a list of its issuer and not stand in it. A list that is overdue still counts.
//!
//! Look next: `keeper.rs` (files that change while the server runs), `validity.rs` (until when certificates hold),
//! `names.rs` (the optional comparison of a client's name with its address).

pub(crate) mod keeper;
pub(crate) mod names;
pub(crate) mod validity;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName, UnixTime,
};

use crate::Error;

/// The three PEM files of an end, as the agent keeps them below its pki directory.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Certificate of this end; further certificates in the file are sent as intermediates.
    pub cert: PathBuf,
    /// Private key of this end (PKCS#8, PKCS#1 or SEC1), unencrypted.
    pub key: PathBuf,
    /// CA certificates that the other end must chain to, one or more.
    pub ca: PathBuf,
}

/// What the TLS of a server is made of.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// Certificate, key, and the CA of clients.
    pub files: TlsFiles,
    /// Revocation lists (PEM, one or more): with this file every issuer of client certificates must have its
    /// list in it, and a client whose certificate stands there is refused.
    pub revoked: Option<PathBuf>,
}

impl ServerTls {
    /// Configuration of a server that demands a client certificate.
    ///
    /// # Errors
    /// [`Error::Pem`], [`Error::Tls`], [`Error::Verifier`].
    pub fn load(&self) -> Result<Arc<rustls::ServerConfig>, Error> {
        let (files, provider) = (&self.files, provider());
        let roots = Arc::new(files.roots()?);
        let mut verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
        if let Some(path) = &self.revoked {
            verifier = verifier
                .with_crls(read_revocations(path)?)
                .only_check_end_entity_revocation();
        }
        let verifier = verifier
            .build()
            .map_err(|source| Error::Verifier { source })?;
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|source| Error::Tls { source })?
            .with_client_cert_verifier(verifier)
            .with_single_cert(files.chain()?, files.private_key()?)
            .map_err(|source| Error::Tls { source })?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }
}

impl TlsFiles {
    /// Configuration of a server that demands a client certificate, without revocation lists.
    ///
    /// # Errors
    /// [`Error::Pem`], [`Error::Tls`], [`Error::Verifier`].
    pub fn server_config(&self) -> Result<Arc<rustls::ServerConfig>, Error> {
        let tls = ServerTls {
            files: self.clone(),
            revoked: None,
        };
        tls.load()
    }

    /// Configuration of a client that shows its certificate and verifies the server's chain, not
    /// its name.
    ///
    /// # Errors
    /// [`Error::Pem`], [`Error::Tls`].
    pub fn client_config(&self) -> Result<Arc<rustls::ClientConfig>, Error> {
        let provider = provider();
        let verifier = ChainOnly {
            roots: self.roots()?,
            provider: provider.clone(),
        };
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|source| Error::Tls { source })?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_auth_cert(self.chain()?, self.private_key()?)
            .map_err(|source| Error::Tls { source })?;
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Arc::new(config))
    }

    fn chain(&self) -> Result<Vec<CertificateDer<'static>>, Error> {
        read_certificates("certificate", &self.cert)
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, Error> {
        PrivateKeyDer::from_pem_file(&self.key).map_err(|source| Error::Pem {
            what: "private key",
            path: self.key.clone(),
            source,
        })
    }

    fn roots(&self) -> Result<RootCertStore, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in read_certificates("CA certificate", &self.ca)? {
            roots
                .add(certificate)
                .map_err(|source| Error::Tls { source })?;
        }
        Ok(roots)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn read_certificates(
    what: &'static str,
    path: &PathBuf,
) -> Result<Vec<CertificateDer<'static>>, Error> {
    read_all(what, path)
}

fn read_revocations(path: &PathBuf) -> Result<Vec<CertificateRevocationListDer<'static>>, Error> {
    read_all("revocation list", path)
}

/// All of a kind in a PEM file; none is an error.
fn read_all<T: PemObject>(what: &'static str, path: &PathBuf) -> Result<Vec<T>, Error> {
    let fail = |source| Error::Pem {
        what,
        path: path.clone(),
        source,
    };
    let all = T::pem_file_iter(path)
        .map_err(fail)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(fail)?;
    if all.is_empty() {
        return Err(fail(rustls_pki_types::pem::Error::NoItemsFound));
    }
    Ok(all)
}

/// Verifies that a server's certificate chains to the roots and is valid now; compares no name.
#[derive(Debug)]
struct ChainOnly {
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ChainOnly {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        rustls::client::verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &self.roots,
            intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
