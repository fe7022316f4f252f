//! TLS of a server over time: files that change, revocation lists, ends of certificates; and names of clients.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test's helpers fail the test"
)]

mod common;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use common::certs::Ca;
use common::{PATIENCE, TestService, Wire, local, log};
use rcgen::SanType;
use rpc::{
    Client, ClientConfig, ClientError, Error, Keeper, Refresh, Security, Server, ServerConfig,
    ServerTls, TlsFiles,
};
use rustls_pki_types::ServerName;
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

async fn serve(tls: Arc<rustls::ServerConfig>, verify_names: bool) -> Server {
    log::init();
    let mut config = ServerConfig::new(local(), Security::Tls(tls));
    config.verify_names = verify_names;
    Server::bind(config, TestService::default()).await.unwrap()
}

async fn connect(server: &Server, files: &TlsFiles) -> Result<Client, ClientError> {
    let mut config =
        ClientConfig::new(server.local_addr().try_into().unwrap(), Some(files.clone()));
    config.timeout = PATIENCE;
    Client::connect(config).await
}

fn with_serial(ca: &Ca, name: &str, serial: u64) -> TlsFiles {
    ca.changed(name, |params| params.serial_number = Some(serial.into()))
}

#[tokio::test]
async fn a_revoked_client_is_refused_and_others_are_not() {
    let (ca, other) = (Ca::new("engine CA"), Ca::new("second CA"));
    let dir = tempfile::tempdir().unwrap();
    let (lists, roots) = (dir.path().join("lists.pem"), dir.path().join("roots.pem"));
    let both = [ca.path(), other.path()].map(|path| fs::read_to_string(path).unwrap());
    fs::write(&roots, both.concat()).unwrap();
    let (good, bad) = (with_serial(&ca, "good", 77), with_serial(&ca, "bad", 78));
    let (unlisted, host) = (other.end("unlisted"), ca.end("host"));
    let files = TlsFiles { ca: roots, ..host };
    let tls = ServerTls {
        files,
        revoked: Some(lists.clone()),
    };
    // A list that is overdue still refuses, and does not keep everybody out.
    for overdue in [false, true] {
        fs::write(&lists, ca.revocations(&[1, 78], overdue)).unwrap();
        let server = serve(tls.load().unwrap(), false).await;
        let client = connect(&server, &good).await.unwrap();
        assert!(client.call("who", None, None, PATIENCE).await.is_ok());
        for refused in [&bad, &unlisted] {
            // The refused end trusts the server, so that it is the server that refuses.
            let refused = TlsFiles {
                ca: ca.path(),
                ..refused.clone()
            };
            let error = connect(&server, &refused).await.unwrap_err();
            assert!(matches!(error, ClientError::Tls { .. }), "{error:?}");
        }
    }
    // With the list of the second authority its client is let in.
    let lists_of_both = ca.revocations(&[78], false) + &other.revocations(&[], false);
    fs::write(&lists, lists_of_both).unwrap();
    let server = serve(tls.load().unwrap(), false).await;
    let unlisted = TlsFiles {
        ca: ca.path(),
        ..unlisted
    };
    assert!(connect(&server, &unlisted).await.is_ok());
}

#[tokio::test]
async fn a_missing_or_empty_list_is_an_error_that_names_it() {
    let ca = Ca::new("engine CA");
    let dir = tempfile::tempdir().unwrap();
    let (missing, wrong) = (dir.path().join("missing.pem"), ca.path());
    for path in [missing, wrong] {
        let tls = ServerTls {
            files: ca.end("host"),
            revoked: Some(path.clone()),
        };
        let error = tls.load().unwrap_err();
        assert!(matches!(&error, Error::Pem { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("revocation list") && text.contains(path.to_str().unwrap()));
    }
}

/// Puts the files of one set in the place of another's, as a renewal does.
fn renew(place: &TlsFiles, with: &TlsFiles, how: impl Fn(&Path, &Path)) {
    how(&with.cert, &place.cert);
    how(&with.key, &place.key);
}

fn copy(from: &Path, to: &Path) {
    fs::write(to, fs::read(from).unwrap()).unwrap();
}

fn rename_over(from: &Path, to: &Path) {
    let beside = to.with_extension("new");
    fs::copy(from, &beside).unwrap();
    fs::rename(&beside, to).unwrap();
}

fn keeper(files: &TlsFiles) -> Keeper {
    let source = ServerTls {
        files: files.clone(),
        revoked: None,
    };
    Keeper::new(source).unwrap().0
}

#[test]
fn changed_files_are_found_once_however_they_were_replaced() {
    let ca = Ca::new("engine CA");
    let files = ca.end("host");
    let mut keeper = keeper(&files);
    assert!(matches!(keeper.look(), Refresh::Unchanged));
    for how in [copy, rename_over] {
        renew(&files, &ca.end("host"), how);
        assert!(matches!(keeper.look(), Refresh::Renewed(_)));
        assert!(matches!(keeper.look(), Refresh::Unchanged));
    }
    // By order they are loaded whether they have changed or not.
    assert!(matches!(keeper.reload(), Refresh::Renewed(_)));
    assert!(matches!(keeper.look(), Refresh::Unchanged));
}

#[test]
fn half_a_renewal_is_waited_for_and_a_broken_one_told_once() {
    let ca = Ca::new("engine CA");
    let (files, new) = (ca.end("host"), ca.end("host"));
    let mut keeper = keeper(&files);
    copy(&new.cert, &files.cert);
    assert!(
        matches!(keeper.look(), Refresh::Unchanged),
        "the key is awaited"
    );
    copy(&new.key, &files.key);
    assert!(matches!(keeper.look(), Refresh::Renewed(_)));

    fs::write(&files.key, "no key").unwrap();
    assert!(matches!(keeper.look(), Refresh::Unchanged));
    let Refresh::Broken(error) = keeper.look() else {
        panic!("not told");
    };
    assert!(error.to_string().contains("private key"), "{error}");
    for _ in 0..3 {
        assert!(matches!(keeper.look(), Refresh::Unchanged));
    }
    // Broken in another way: told again. By order it is told each time.
    fs::remove_file(&files.key).unwrap();
    assert!(matches!(keeper.look(), Refresh::Unchanged));
    assert!(matches!(keeper.look(), Refresh::Broken(_)));
    assert!(matches!(keeper.reload(), Refresh::Broken(_)));
    copy(&new.key, &files.key);
    assert!(matches!(keeper.look(), Refresh::Renewed(_)));
}

#[test]
fn everything_with_an_end_is_told() {
    let ca = Ca::new("engine CA");
    let dir = tempfile::tempdir().unwrap();
    let lists = dir.path().join("lists.pem");
    fs::write(&lists, ca.revocations(&[], true)).unwrap();
    let files = ca.changed("host.example", |params| {
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
    });
    let tls = ServerTls {
        files: files.clone(),
        revoked: Some(lists),
    };
    let all = tls.validity().unwrap();
    let kinds: Vec<_> = all.iter().map(|one| one.what).collect();
    assert_eq!(kinds, ["certificate", "CA certificate", "revocation list"]);
    assert_eq!(all[0].not_after, Some(1_893_456_000), "2030-01-01");
    assert!(all[0].subject.contains("host.example"), "{:?}", all[0]);
    assert_eq!(all[0].path, files.cert);
    assert!(all[1].subject.contains("engine CA"), "{:?}", all[1]);
    assert_eq!(all[2].not_after, Some(1_577_836_800), "2020-01-01");
    fs::write(
        &files.cert,
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    let error = tls.validity().unwrap_err();
    assert!(matches!(error, Error::NotX509 { .. }), "{error:?}");
}

/// Connects from an address of this host.
async fn from(
    server: &Server,
    own: Ipv4Addr,
    files: &TlsFiles,
) -> std::io::Result<(SocketAddr, TlsStream<tokio::net::TcpStream>)> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((own, 0).into())?;
    let stream = socket.connect(server.local_addr()).await?;
    let address = stream.local_addr()?;
    let connector = TlsConnector::from(files.client_config().unwrap());
    let name = ServerName::try_from("host").unwrap();
    Ok((address, connector.connect(name, stream).await?))
}

#[tokio::test]
async fn with_the_check_a_name_must_belong_to_the_address() {
    let ca = Ca::new("engine CA");
    let there = Ipv4Addr::new(127, 0, 0, 2);
    let server = serve(ca.end("host").server_config().unwrap(), true).await;
    let alternative = ca.changed("engine.invalid", |params| {
        params.subject_alt_names = vec![SanType::IpAddress(IpAddr::from(there))];
    });
    // The last is a name for the resolver: numbers with fewer dots are looked up to 127.0.0.2.
    let named = ["127.0.0.2", "::ffff:127.0.0.2", "127.2"].map(|name| ca.end(name));
    for files in named.iter().chain([&alternative]) {
        let (_, stream) = from(&server, there, files).await.unwrap();
        let mut wire = Wire::over(stream);
        wire.handshake().await;
        wire.works().await;
    }
    for name in ["127.0.0.3", "engine.invalid", "localhost", ""] {
        let (address, stream) = from(&server, there, &ca.end(name)).await.unwrap();
        let mut wire = Wire::over(stream);
        assert!(wire.rest().await.is_empty(), "{name}");
        log::reason_of(&address, "no name of the certificate").await;
    }
    // From the host itself any name will do, as upstream has it.
    let (_, stream) = from(&server, Ipv4Addr::LOCALHOST, &ca.end("engine.invalid"))
        .await
        .unwrap();
    let mut wire = Wire::over(stream);
    wire.handshake().await;
    wire.works().await;
}

#[tokio::test]
async fn without_the_check_no_name_counts() {
    let ca = Ca::new("engine CA");
    let server = serve(ca.end("host").server_config().unwrap(), false).await;
    let there = Ipv4Addr::new(127, 0, 0, 2);
    let (_, stream) = from(&server, there, &ca.end("engine.invalid"))
        .await
        .unwrap();
    let mut wire = Wire::over(stream);
    wire.handshake().await;
    wire.works().await;
}

#[tokio::test]
async fn tls_over_ipv6_works_and_its_limits_count_per_address() {
    log::init();
    let ca = Ca::new("engine CA");
    let tls = ca.end("host").server_config().unwrap();
    let mut config = ServerConfig::new("[::1]:0".parse().unwrap(), Security::Tls(tls));
    config.limits.connections_per_peer = 1;
    let Ok(server) = Server::bind(config, TestService::default()).await else {
        println!("skipped: no IPv6 here");
        return;
    };
    let mut config = ClientConfig::new(
        server.local_addr().try_into().unwrap(),
        Some(ca.end("engine")),
    );
    config.timeout = PATIENCE;
    let client = Client::connect(config.clone()).await.unwrap();
    let who = client.call("who", None, None, PATIENCE).await.unwrap();
    let who: serde_json::Value = serde_json::from_str(who.get()).unwrap();
    assert!(
        who["address"].as_str().unwrap().starts_with("[::1]:"),
        "{who}"
    );
    assert_eq!(who["common_name"], "engine");
    assert!(
        Client::connect(config).await.is_err(),
        "one from each address"
    );
}
