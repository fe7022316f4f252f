//! TLS over real sockets: who is let in, who is not, and what both sides learn.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test's helpers fail the test"
)]

mod common;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use common::certs::{Ca, Shape};
use common::{PATIENCE, TestService, Wire, local, log, plain};
use rpc::{Client, ClientConfig, ClientError, Error, Security, Server, ServerConfig, TlsFiles};
use rustls::version::{TLS12, TLS13};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

async fn serve(files: &TlsFiles) -> Server {
    log::init();
    let security = Security::Tls(files.server_config().unwrap());
    Server::bind(ServerConfig::new(local(), security), TestService::default())
        .await
        .unwrap()
}

fn client(server: &Server, tls: Option<TlsFiles>) -> ClientConfig {
    let mut config = ClientConfig::new(server.local_addr().try_into().unwrap(), tls);
    config.timeout = PATIENCE;
    config
}

async fn who(client: &Client) -> Value {
    let answer = client.call("who", None, None, PATIENCE).await.unwrap();
    serde_json::from_str(answer.get()).unwrap()
}

/// A raw connection with chosen versions, with or without a certificate.
async fn raw(
    server: &Server,
    versions: &[&'static rustls::SupportedProtocolVersion],
    trust: &TlsFiles,
    own: Option<&TlsFiles>,
) -> std::io::Result<(u16, TlsStream<TcpStream>)> {
    #[derive(Debug)]
    struct Anyone(Arc<dyn rustls::client::danger::ServerCertVerifier>);
    impl rustls::client::danger::ServerCertVerifier for Anyone {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: rustls_pki_types::UnixTime,
        ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
            Ok(rustls::client::danger::ServerCertVerified::assertion())
        }
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            self.0.verify_tls12_signature(message, cert, dss)
        }
        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            self.0.verify_tls13_signature(message, cert, dss)
        }
        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            self.0.supported_verify_schemes()
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    for cert in CertificateDer::pem_file_iter(&trust.ca).unwrap() {
        roots.add(cert.unwrap()).unwrap();
    }
    let inner = rustls::client::WebPkiServerVerifier::builder_with_provider(
        Arc::new(roots),
        provider.clone(),
    )
    .build()
    .unwrap();
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(inner)));
    let config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let chain = CertificateDer::pem_file_iter(&own.cert)
                .unwrap()
                .map(Result::unwrap);
            let key = PrivateKeyDer::from_pem_file(&own.key).unwrap();
            builder.with_client_auth_cert(chain.collect(), key).unwrap()
        }
    };
    let stream = TcpStream::connect(server.local_addr()).await?;
    let port = stream.local_addr()?.port();
    let name = ServerName::try_from("host").unwrap();
    Ok((
        port,
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await?,
    ))
}

#[tokio::test]
async fn ovirt_shaped_certificates_are_accepted_over_both_versions() {
    let ca = Ca::new("engine CA");
    let (host, engine) = (ca.end("host.example"), ca.end("engine.example"));
    let server = serve(&host).await;
    for version in [&TLS12, &TLS13] {
        let (_, stream) = raw(&server, &[version], &host, Some(&engine))
            .await
            .unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
        let mut wire = Wire::over(stream);
        wire.handshake().await;
        wire.works().await;
    }
    let client = Client::connect(client(&server, Some(engine)))
        .await
        .unwrap();
    assert_eq!(who(&client).await["common_name"], "engine.example");
}

#[tokio::test]
async fn clients_without_a_good_certificate_are_refused() {
    let (ca, other) = (Ca::new("engine CA"), Ca::new("other CA"));
    let host = ca.end("host.example");
    let server = serve(&host).await;
    let wrong = [
        (Some(other.end("engine.example")), "UnknownIssuer"),
        (
            Some(ca.shaped(
                "old",
                Shape {
                    expired: true,
                    ..Shape::default()
                },
            )),
            "xpired",
        ),
        (
            Some(ca.shaped(
                "new",
                Shape {
                    not_yet: true,
                    ..Shape::default()
                },
            )),
            "alid",
        ),
        (None, "peer sent no certificates"),
    ];
    for (own, reason) in wrong {
        for version in [&TLS12, &TLS13] {
            let connected = raw(&server, &[version], &host, own.as_ref()).await;
            // With TLS 1.3 the client learns of it with its first read.
            if let Ok((port, mut stream)) = connected {
                let _ = stream.write_all(b"CONNECT\naccept-version:1.2\n\n\0").await;
                let mut answer = Vec::new();
                assert!(stream.read_to_end(&mut answer).await.is_err(), "{reason}");
                assert!(answer.is_empty());
                log::reason(port, "TLS handshake").await;
                log::reason(port, reason).await;
            }
        }
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn the_client_refuses_servers_of_another_ca_and_expired_ones() {
    let (ca, other) = (Ca::new("engine CA"), Ca::new("other CA"));
    let engine = ca.end("engine.example");
    let foreign = TlsFiles {
        ca: ca.path(),
        ..other.end("host.example")
    };
    let expired = ca.shaped(
        "host.example",
        Shape {
            expired: true,
            ..Shape::default()
        },
    );
    for files in [foreign, expired] {
        let server = serve(&files).await;
        let refused = Client::connect(client(&server, Some(engine.clone()))).await;
        assert!(
            matches!(refused, Err(ClientError::Tls { .. })),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn the_client_learns_that_its_certificate_was_refused() {
    let (ca, other) = (Ca::new("engine CA"), Ca::new("other CA"));
    let server = serve(&ca.end("host.example")).await;
    let stranger = TlsFiles {
        ca: ca.path(),
        ..other.end("stranger")
    };
    let refused = Client::connect(client(&server, Some(stranger))).await;
    assert!(
        matches!(refused, Err(ClientError::Tls { .. })),
        "{refused:?}"
    );
}

/// A ClientHello of TLS 1.1 (minor 2) or 1.2 (minor 3), alike but for the version.
fn client_hello(minor: u8) -> Vec<u8> {
    let extensions: &[u8] = &[
        0, 10, 0, 6, 0, 4, 0, 0x1d, 0, 0x17, // groups: x25519, P-256
        0, 11, 0, 2, 1, 0, // uncompressed points
        0, 13, 0, 6, 0, 4, 4, 3, 8, 4, // signatures: ECDSA P-256, RSA-PSS
    ];
    let mut hello = vec![3, minor];
    hello.extend_from_slice(&[7; 32]);
    // No session; ECDHE-ECDSA with AES-128 in GCM and in CBC; no compression.
    hello.extend_from_slice(&[0, 0, 4, 0xc0, 0x2b, 0xc0, 0x09, 1, 0]);
    hello.extend_from_slice(&[0, u8::try_from(extensions.len()).unwrap()]);
    hello.extend_from_slice(extensions);
    let length = u8::try_from(hello.len()).unwrap();
    let mut record = vec![0x16, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend_from_slice(&hello);
    record
}

#[tokio::test]
async fn tls_1_1_is_refused() {
    let ca = Ca::new("engine CA");
    let server = serve(&ca.end("host.example")).await;
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    let port = stream.local_addr().unwrap().port();
    stream.write_all(&client_hello(2)).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(
        answer,
        [0x15, 3, 3, 0, 2, 2, 70],
        "a fatal alert: protocol version"
    );
    log::reason(port, "TLS handshake").await;
    // The same with version 1.2 is answered by a ServerHello.
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    stream.write_all(&client_hello(3)).await.unwrap();
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(
        (answer[0], answer[5]),
        (0x16, 2),
        "a handshake message: server hello"
    );
}

#[tokio::test]
async fn a_plain_client_on_a_tls_port_is_closed_with_a_reason() {
    let ca = Ca::new("engine CA");
    let server = serve(&ca.end("host.example")).await;
    let mut wire = Wire::connect(&server).await;
    wire.text("CONNECT\naccept-version:1.2\n\n\0").await;
    let rest = wire.rest().await;
    assert!(!rest.starts_with(b"CONNECTED"), "{rest:?}");
    log::reason(wire.port(), "the peer does not speak TLS").await;
    let refused = Client::connect(client(&server, None)).await;
    assert!(
        matches!(refused, Err(ClientError::Connect { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_tls_client_on_a_plain_port_is_closed_with_a_reason() {
    let ca = Ca::new("engine CA");
    let engine = ca.end("engine.example");
    let (server, _) = plain().await;
    let (hello, refused) = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = client(&server, Some(engine.clone()));
        config.address = listener.local_addr().unwrap().try_into().unwrap();
        config.timeout = Duration::from_millis(300);
        let connect = tokio::spawn(Client::connect(config));
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut hello = vec![0; 5];
        stream.read_exact(&mut hello).await.unwrap();
        (hello, connect.await.unwrap())
    };
    assert!(
        matches!(refused, Err(ClientError::Timeout { .. })),
        "{refused:?}"
    );
    let mut wire = Wire::connect(&server).await;
    wire.bytes(&hello).await;
    assert!(wire.rest().await.is_empty());
    log::reason(wire.port(), "TLS on a plain port").await;
    let refused = Client::connect(client(&server, Some(engine))).await;
    assert!(
        matches!(refused, Err(ClientError::Tls { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_silent_handshake_is_closed() {
    let ca = Ca::new("engine CA");
    log::init();
    let security = Security::Tls(ca.end("host").server_config().unwrap());
    let mut config = ServerConfig::new(local(), security);
    config.limits.first_frame = Duration::from_millis(300);
    let server = Server::bind(config, TestService::default()).await.unwrap();
    let mut wire = Wire::connect(&server).await;
    assert!(wire.rest().await.is_empty());
    log::reason(wire.port(), "no TLS handshake within").await;
}

#[tokio::test]
async fn renewed_certificates_serve_without_a_restart() {
    let (old, new) = (Ca::new("old CA"), Ca::new("new CA"));
    let server = serve(&old.end("host")).await;
    let before = Client::connect(client(&server, Some(old.end("engine"))))
        .await
        .unwrap();
    server.set_security(Security::Tls(new.end("host").server_config().unwrap()));
    assert!(
        Client::connect(client(&server, Some(old.end("engine"))))
            .await
            .is_err()
    );
    let after = Client::connect(client(&server, Some(new.end("engine2"))))
        .await
        .unwrap();
    assert_eq!(who(&before).await["common_name"], "engine");
    assert_eq!(who(&after).await["common_name"], "engine2");
}

#[tokio::test]
async fn each_frame_is_one_tls_record() {
    // Engine's Java client leaves a second frame of a record lying until more data comes.
    let ca = Ca::new("engine CA");
    let (host, engine) = (ca.end("host"), ca.end("engine"));
    let server = serve(&host).await;
    let (_, stream) = raw(&server, &[&TLS13], &host, Some(&engine)).await.unwrap();
    let mut wire = Wire::over(stream);
    wire.handshake().await;
    let ping = r#"{"jsonrpc":"2.0","method":"Host.ping2","id":1}"#;
    let frames = common::request_frame(ping).to_bytes().unwrap().repeat(5);
    wire.bytes(&frames).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    // All five answers lie in the socket; count the records there: 5 bytes of head, then length.
    let mut records = vec![0; 64 * 1024];
    let count = wire.stream.get_ref().0.peek(&mut records).await.unwrap();
    let (mut at, mut seen) = (0, 0);
    while at < count {
        assert_eq!(records[at], 0x17, "application data");
        at += 5 + usize::from(u16::from_be_bytes([records[at + 3], records[at + 4]]));
        seen += 1;
    }
    assert_eq!((at, seen), (count, 5));
}

#[tokio::test]
async fn unusable_files_are_errors_that_name_them() {
    let (ca, other) = (Ca::new("engine CA"), Ca::new("other CA"));
    let good = ca.end("host");
    let dir = tempfile::tempdir().unwrap();
    let (missing, empty) = (dir.path().join("missing.pem"), dir.path().join("empty.pem"));
    fs::write(&empty, "nothing here").unwrap();
    for path in [&missing, &empty] {
        for files in [
            TlsFiles {
                cert: path.clone(),
                ..good.clone()
            },
            TlsFiles {
                key: path.clone(),
                ..good.clone()
            },
            TlsFiles {
                ca: path.clone(),
                ..good.clone()
            },
        ] {
            let name = path.display().to_string();
            let error = files.server_config().unwrap_err();
            assert!(matches!(&error, Error::Pem { .. }) && error.to_string().contains(&name));
            let error = files.client_config().unwrap_err();
            assert!(matches!(&error, Error::Pem { .. }) && error.to_string().contains(&name));
        }
    }
    let mismatched = TlsFiles {
        key: other.end("x").key,
        ..good
    };
    assert!(matches!(
        mismatched.server_config().unwrap_err(),
        Error::Tls { .. }
    ));
    assert!(matches!(
        mismatched.client_config().unwrap_err(),
        Error::Tls { .. }
    ));
}
