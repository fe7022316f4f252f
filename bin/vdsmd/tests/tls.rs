//! Who may talk to the agent: only holders of a certificate of its CA that is within its time.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test's helpers fail the test"
)]

mod common;

use std::{fs, path::Path, time::Duration};

use common::{Agent, guarded, wait_for};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rpc::{Client, ClientConfig, ClientError, TlsFiles};
use serde_json::value::RawValue;

/// A certificate authority in a folder.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self {
            issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap(),
        }
    }

    /// Writes `<name>.pem`, `<name>.key` and `ca.pem`.
    fn issue(
        &self,
        dir: &Path,
        params: CertificateParams,
        cert: &str,
        key: &str,
        ca: &str,
    ) -> TlsFiles {
        let pair = KeyPair::generate().unwrap();
        let signed = params.signed_by(&pair, &self.issuer).unwrap();
        let files = TlsFiles {
            cert: dir.join(cert),
            key: dir.join(key),
            ca: dir.join(ca),
        };
        for path in [&files.cert, &files.key, &files.ca] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
        }
        fs::write(&files.cert, signed.pem()).unwrap();
        fs::write(&files.key, pair.serialize_pem()).unwrap();
        fs::write(&files.ca, self.issuer.pem()).unwrap();
        files
    }
}

/// As oVirt's: a common name and an organisation, no other name.
fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Test");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn protected() -> (Authority, tempfile::TempDir, Agent) {
    let authority = Authority::new("the CA");
    let dir = tempfile::tempdir().unwrap();
    authority.issue(
        dir.path(),
        named("host"),
        "certs/vdsmcert.pem",
        "keys/vdsmkey.pem",
        "certs/cacert.pem",
    );
    let store = dir.path().display().to_string();
    let agent = Agent::boot_only(&[
        ("vars", "ssl", "true"),
        ("vars", "trust_store_path", &store),
    ]);
    (authority, dir, agent)
}

async fn ping(port: u16, tls: Option<TlsFiles>) -> Result<Box<RawValue>, ClientError> {
    let mut config = ClientConfig::new("127.0.0.1", tls);
    config.port = port;
    config.timeout = Duration::from_secs(5);
    Client::connect(config)
        .await?
        .call("Host.ping2", None, None, Duration::from_secs(5))
        .await
}

#[test]
fn only_certificates_of_the_ca_are_let_in() {
    guarded!(|| {
        let (authority, dir, agent) = protected();
        let port = agent.address().port();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let good = authority.issue(dir.path(), named("engine"), "c.pem", "c.key", "ca.pem");
        wait_for("the agent to serve", || {
            match runtime.block_on(ping(port, Some(good.clone()))) {
                Err(ClientError::Rpc(error)) if error.code == 99 => None,
                other => Some(other.unwrap()),
            }
        });

        let foreign = Authority::new("another CA");
        let mut stranger = foreign.issue(dir.path(), named("engine"), "f.pem", "f.key", "f-ca.pem");
        stranger.ca.clone_from(&good.ca);
        let mut old = named("engine");
        old.not_before = date_time_ymd(2001, 1, 1);
        old.not_after = date_time_ymd(2002, 1, 1);
        let expired = authority.issue(dir.path(), old, "o.pem", "o.key", "o-ca.pem");
        for (who, files) in [
            ("another CA", Some(stranger)),
            ("expired", Some(expired)),
            ("plain", None),
        ] {
            let refused = runtime.block_on(ping(port, files));
            assert!(
                !matches!(refused, Ok(_) | Err(ClientError::Rpc(_))),
                "{who}: {refused:?}"
            );
        }
        let answer = runtime.block_on(ping(port, Some(good))).unwrap();
        assert_eq!(answer.get(), "true", "the agent is still there for others");
    });
}

#[test]
fn without_certificates_it_says_which_file_is_missing() {
    guarded!(|| {
        let told = Agent::refused(&[
            ("vars", "ssl", "true"),
            ("vars", "trust_store_path", "/nonexistent"),
        ]);
        assert!(told.contains("/nonexistent/certs/cacert.pem"), "{told}");
    });
}
