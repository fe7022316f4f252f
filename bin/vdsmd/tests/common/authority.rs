//! A certificate authority for one test, and what it issues.

use std::{fs, path::Path};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, date_time_ymd,
};
use rpc::TlsFiles;

/// A certificate authority in a folder.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// A new one.
    pub fn new(name: &str) -> Self {
        let mut params = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self {
            issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap(),
        }
    }

    /// The list of revoked serial numbers, as PEM.
    pub fn revoke(&self, serials: &[u64]) -> String {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2090, 1, 1),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    /// Writes `<name>.pem`, `<name>.key` and `ca.pem`.
    pub fn issue(
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
pub fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Test");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// Issues the agent's own files beneath its `trust_store_path`, or puts new ones in their place.
pub fn renew(authority: &Authority, dir: &Path, params: CertificateParams) {
    let (cert, key) = ("certs/vdsmcert.pem", "keys/vdsmkey.pem");
    authority.issue(dir, params, cert, key, "certs/cacert.pem");
}
