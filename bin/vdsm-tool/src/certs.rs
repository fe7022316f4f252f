//! Certificates as oVirt hosts have them: one authority, one certificate for the server, one for a client.
//!
//! The layout beneath the folder is vdsmd's `trust_store_path`; the client's files stand beside it. The
//! authority's key is thrown away: nothing can be added to a set, a new one is made in an instant.
//! States of a folder: whole (kept as it is), anything else (written anew).

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};

use crate::{cli::CertsArgs, output};

/// Paths of one set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Certificates {
    /// The authority's certificate.
    pub(crate) ca: PathBuf,
    /// The server's certificate.
    pub(crate) server_cert: PathBuf,
    /// The server's key.
    pub(crate) server_key: PathBuf,
    /// The client's certificate.
    pub(crate) client_cert: PathBuf,
    /// The client's key.
    pub(crate) client_key: PathBuf,
}

/// What a call did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A whole set was there.
    Identity,
    /// It was made.
    Created,
}

impl Certificates {
    /// The paths beneath a trust store.
    pub(crate) fn beneath(dir: &Path) -> Self {
        Self {
            ca: dir.join("certs/cacert.pem"),
            server_cert: dir.join("certs/vdsmcert.pem"),
            server_key: dir.join("keys/vdsmkey.pem"),
            client_cert: dir.join("client/cert.pem"),
            client_key: dir.join("client/key.pem"),
        }
    }

    fn all(&self) -> [&Path; 5] {
        [
            &self.ca,
            &self.server_cert,
            &self.server_key,
            &self.client_cert,
            &self.client_key,
        ]
    }
}

/// `vdsm-tool certs`.
pub(crate) fn command(args: &CertsArgs) -> Result<()> {
    let (set, outcome) = ensure(&args.dir, &args.name, &args.organization)?;
    let did = match outcome {
        Outcome::Identity => "kept",
        Outcome::Created => "made",
    };
    for path in set.all() {
        output::line(&format!("{did} {}", path.display()));
    }
    Ok(())
}

/// Makes a set beneath `dir` unless a whole one is there. Keys have mode 0600 and belong to the caller.
pub(crate) fn ensure(
    dir: &Path,
    name: &str,
    organization: &str,
) -> Result<(Certificates, Outcome)> {
    let set = Certificates::beneath(dir);
    if set.all().iter().all(|path| path.is_file()) {
        return Ok((set, Outcome::Identity));
    }
    let made = generate(name, organization).context("cannot make certificates")?;
    write(&set.ca, &made.ca, 0o644)?;
    write(&set.server_cert, &made.server.0, 0o644)?;
    write(&set.server_key, &made.server.1, 0o600)?;
    write(&set.client_cert, &made.client.0, 0o644)?;
    write(&set.client_key, &made.client.1, 0o600)?;
    Ok((set, Outcome::Created))
}

/// What a host needs, as PEM texts. One certificate is both ends, as with oVirt's own.
pub(crate) struct HostSet {
    /// The authority's certificate.
    pub(crate) ca: String,
    /// The host's certificate.
    pub(crate) cert: String,
    /// The host's key.
    pub(crate) key: String,
}

/// Makes a set for a host.
pub(crate) fn host_set(name: &str, organization: &str) -> Result<HostSet> {
    let made = generate(name, organization)?;
    let (cert, key) = made.server;
    Ok(HostSet {
        ca: made.ca,
        cert,
        key,
    })
}

/// A set as PEM texts: certificates and, for server and client, keys.
struct Generated {
    ca: String,
    server: (String, String),
    client: (String, String),
}

fn generate(name: &str, organization: &str) -> Result<Generated> {
    let ca_key = KeyPair::generate()?;
    let mut ca = params(&format!("{name}.authority"), organization);
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca_cert = ca.self_signed(&ca_key)?;
    let issuer = Issuer::new(ca, ca_key);
    let mut names = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ];
    if !names.iter().any(|known| known == name) {
        names.push(name.to_owned());
    }
    Ok(Generated {
        ca: ca_cert.pem(),
        server: leaf(name, organization, names, &issuer)?,
        client: leaf("vdsm-client", organization, Vec::new(), &issuer)?,
    })
}

/// A certificate that may be either end, as oVirt's hosts need it for migration, and its key.
fn leaf(
    name: &str,
    organization: &str,
    names: Vec<String>,
    issuer: &Issuer<'_, KeyPair>,
) -> Result<(String, String)> {
    let key = KeyPair::generate()?;
    let mut cert = CertificateParams::new(names)?;
    let common = params(name, organization);
    cert.distinguished_name = common.distinguished_name;
    cert.not_before = common.not_before;
    cert.not_after = common.not_after;
    cert.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
    ];
    cert.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    cert.use_authority_key_identifier_extension = true;
    let signed = cert.signed_by(&key, issuer)?;
    Ok((signed.pem(), key.serialize_pem()))
}

/// Subject (`O=…, CN=…`) and validity. The dates are fixed: certificates of private agents need no clock.
fn params(name: &str, organization: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, organization);
    subject.push(DnType::CommonName, name);
    params.distinguished_name = subject;
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2049, 12, 31);
    params
}

fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    let folder = path.parent().context("a path without a folder")?;
    let write = || -> std::io::Result<()> {
        fs::create_dir_all(folder)?;
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(path)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(text.as_bytes())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_made_once_and_keys_are_private() {
        let dir = tempfile::tempdir().unwrap();
        let (set, outcome) = ensure(dir.path(), "host.example", "example").unwrap();
        assert_eq!(outcome, Outcome::Created);
        for key in [&set.server_key, &set.client_key] {
            assert_eq!(
                fs::metadata(key).unwrap().permissions().mode() & 0o777,
                0o600
            );
        }
        let before = fs::read(&set.server_cert).unwrap();
        assert_eq!(
            ensure(dir.path(), "other", "other").unwrap().1,
            Outcome::Identity
        );
        assert_eq!(fs::read(&set.server_cert).unwrap(), before);
        fs::remove_file(&set.client_key).unwrap();
        assert_eq!(
            ensure(dir.path(), "host.example", "example").unwrap().1,
            Outcome::Created
        );
        assert_ne!(
            fs::read(&set.server_cert).unwrap(),
            before,
            "half a set is replaced whole"
        );
    }

    #[test]
    fn a_name_that_is_an_address_or_localhost_works() {
        for name in ["localhost", "127.0.0.1", "fd00::1", "host with blank"] {
            assert!(generate(name, "O").is_ok() || name.contains(' '), "{name}");
        }
    }
}
