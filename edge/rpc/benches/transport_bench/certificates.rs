//! A certificate authority and one certificate for both ends.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rpc::TlsFiles;
use tempfile::TempDir;

/// The folder, and the files in it.
pub(crate) fn certificates() -> (TempDir, TlsFiles) {
    let dir = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let write = |name: &str, text: String| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let ca = write("ca.pem", params.self_signed(&key).unwrap().pem());
    let issuer = Issuer::new(params, key);
    let end_key = KeyPair::generate().unwrap();
    let end = CertificateParams::default()
        .signed_by(&end_key, &issuer)
        .unwrap();
    let files = TlsFiles {
        cert: write("cert.pem", end.pem()),
        key: write("key.pem", end_key.serialize_pem()),
        ca,
    };
    (dir, files)
}
