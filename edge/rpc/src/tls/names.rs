//! Names in a client's certificate, and whether they belong to the address that it comes from.
//!
//! The comparison is optional and off by default, as upstream's `verify_client_cert`. Upstream compares the
//! common name with the address and with the names that a reverse look-up of the address gives; a client of
//! this host passes always. Here the names of the certificate are looked up instead and must give the address:
//! whoever owns an address chooses the name that a reverse look-up gives, but not the address of a name.
//! Besides the common name, alternative names count.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;

/// Names of one certificate that are looked at; more are ignored.
const MOST_NAMES: usize = 16;

/// Common name of a certificate's subject, if it has one that is text.
pub(crate) fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let name = parsed.subject().iter_common_name().next()?;
    name.as_str().ok().map(ToOwned::to_owned)
}

/// Whether a certificate may be used from an address: one of its names is that address or is looked up to it,
/// or the address is of this host.
pub(crate) async fn belongs_to(certificate: &CertificateDer<'_>, address: IpAddr) -> bool {
    let address = address.to_canonical();
    if [
        IpAddr::from(Ipv4Addr::LOCALHOST),
        Ipv6Addr::LOCALHOST.into(),
    ]
    .contains(&address)
    {
        return true;
    }
    let (addresses, names) = names(certificate);
    if addresses.contains(&address) {
        return true;
    }
    for name in names {
        // A name that nobody knows is not the peer's.
        if let Ok(mut found) = tokio::net::lookup_host((name.as_str(), 0)).await
            && found.any(|found| found.ip().to_canonical() == address)
        {
            return true;
        }
    }
    false
}

/// Addresses and other names, canonical.
fn names(certificate: &CertificateDer<'_>) -> (Vec<IpAddr>, Vec<String>) {
    let (mut addresses, mut names) = (Vec::new(), Vec::new());
    let texts = common_name(certificate).into_iter();
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else {
        return (addresses, names);
    };
    let alternatives = parsed.subject_alternative_name().ok().flatten();
    let alternatives = alternatives.map(|it| it.value.general_names.as_slice());
    for name in alternatives.unwrap_or_default() {
        match name {
            GeneralName::DNSName(name) => names.push((*name).to_owned()),
            GeneralName::IPAddress(bytes) => addresses.extend(ip_of(bytes)),
            _ => {}
        }
    }
    names.splice(0..0, texts);
    names.truncate(MOST_NAMES);
    names.retain(|name| match name.parse::<IpAddr>() {
        Ok(address) => {
            addresses.push(address.to_canonical());
            false
        }
        Err(_) => true,
    });
    (addresses, names)
}

fn ip_of(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| v6()).ok().map(|it| it.to_canonical())
}
