//! Certificates as oVirt's engine makes them: one CA, end certificates without any alternative
//! name, usable for server and client; and the wrong ones.

use std::fs;
use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, date_time_ymd,
};
use rpc::TlsFiles;
use tempfile::TempDir;

pub(crate) struct Ca {
    dir: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

/// How an end certificate is made.
#[derive(Clone, Copy, Default)]
pub(crate) struct Shape {
    pub(crate) expired: bool,
    pub(crate) not_yet: bool,
}

fn name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "Test");
    name.push(DnType::CommonName, common_name);
    name
}

impl Ca {
    pub(crate) fn new(common_name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = name(common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap();
        fs::write(dir.path().join("ca.pem"), cert.pem()).unwrap();
        Self {
            dir,
            issuer: Issuer::new(params, key),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// The list of revoked serial numbers, as PEM; overdue since 2020 or due in 2090.
    pub(crate) fn revocations(&self, serials: &[u64], overdue: bool) -> String {
        let due = if overdue { 2020 } else { 2090 };
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: date_time_ymd(2019, 6, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2019, 1, 1),
            next_update: date_time_ymd(due, 1, 1),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    /// Key and certificate of an end, trusting this CA.
    pub(crate) fn end(&self, common_name: &str) -> TlsFiles {
        self.shaped(common_name, Shape::default())
    }

    pub(crate) fn shaped(&self, common_name: &str, shape: Shape) -> TlsFiles {
        self.changed(common_name, |params| {
            if shape.expired {
                params.not_before = date_time_ymd(2019, 1, 1);
                params.not_after = date_time_ymd(2020, 1, 1);
            }
            if shape.not_yet {
                params.not_before = date_time_ymd(2090, 1, 1);
                params.not_after = date_time_ymd(2091, 1, 1);
            }
            assert!(params.subject_alt_names.is_empty());
        })
    }

    /// As [`Ca::end`], changed before it is signed.
    pub(crate) fn changed(
        &self,
        common_name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> TlsFiles {
        let mut params = CertificateParams::default();
        params.distinguished_name = name(common_name);
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
        ];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let stem = uuid::Uuid::new_v4().to_string();
        let file = |end: &str, text: String| {
            let path = self.dir.path().join(format!("{stem}.{end}"));
            fs::write(&path, text).unwrap();
            path
        };
        // The engine writes the certificate's description before its PEM block.
        let cert = format!(
            "Certificate:\n    Data:\n        Version: 3\n{}",
            cert.pem()
        );
        TlsFiles {
            cert: file("cert.pem", cert),
            key: file("key.pem", key.serialize_pem()),
            ca: self.path(),
        }
    }
}
