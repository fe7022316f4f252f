//! Until when the files of a server's TLS hold. No clock is read here: whoever asks knows what time it is.

use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _};

use super::{ServerTls, read_certificates, read_revocations};
use crate::Error;

/// One certificate or revocation list of a file, and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validity {
    /// `certificate`, `CA certificate` or `revocation list`.
    pub what: &'static str,
    /// Its file.
    pub path: PathBuf,
    /// Name of the subject; of a revocation list that of the issuer.
    pub subject: String,
    /// It holds from here, seconds since 1970.
    pub not_before: i64,
    /// It holds until here (a revocation list: the next one is due), seconds since 1970; `None`: for ever.
    pub not_after: Option<i64>,
}

impl ServerTls {
    /// Everything in the files that has an end, in the order certificate, CA certificates, revocation lists.
    ///
    /// # Errors
    /// [`Error::Pem`] for files that cannot be read, [`Error::NotX509`] for contents that are none.
    pub fn validity(&self) -> Result<Vec<Validity>, Error> {
        let mut all = certificates("certificate", &self.files.cert)?;
        all.extend(certificates("CA certificate", &self.files.ca)?);
        if let Some(path) = &self.revoked {
            for list in read_revocations(path)? {
                let parsed = CertificateRevocationList::from_der(&list);
                let (_, list) = parsed.map_err(|_| not_x509("revocation list", path))?;
                all.push(Validity {
                    what: "revocation list",
                    path: path.clone(),
                    subject: list.issuer().to_string(),
                    not_before: list.last_update().timestamp(),
                    not_after: list.next_update().map(|time| time.timestamp()),
                });
            }
        }
        Ok(all)
    }
}

fn certificates(what: &'static str, path: &PathBuf) -> Result<Vec<Validity>, Error> {
    let one = |der: CertificateDer<'static>| {
        let parsed = X509Certificate::from_der(&der);
        let (_, parsed) = parsed.map_err(|_| not_x509(what, path))?;
        Ok(Validity {
            what,
            path: path.clone(),
            subject: parsed.subject().to_string(),
            not_before: parsed.validity().not_before.timestamp(),
            not_after: Some(parsed.validity().not_after.timestamp()),
        })
    };
    read_certificates(what, path)?
        .into_iter()
        .map(one)
        .collect()
}

fn not_x509(what: &'static str, path: &Path) -> Error {
    Error::NotX509 {
        what,
        path: path.to_owned(),
    }
}
