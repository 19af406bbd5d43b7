//! Client certificates: which of the names in one stands for a principal. That the chain leads to a trusted root, and that
//! the client has the key, TLS has verified before.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::error::{Unauthenticated, shorten};
use crate::principal::Principal;

/// Largest certificate that is read, in bytes.
const MAX_CERTIFICATE_BYTES: usize = 64 * 1024;

/// One name in a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum CertificateName {
    Uri(String),
    /// In lower case.
    Dns(String),
    Email(String),
    CommonName(String),
    Sha256([u8; 32]),
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri(name) => write!(f, "san_uri `{}`", shorten(name)),
            Self::Dns(name) => write!(f, "san_dns `{}`", shorten(name)),
            Self::Email(name) => write!(f, "san_email `{}`", shorten(name)),
            Self::CommonName(name) => write!(f, "subject_cn `{}`", shorten(name)),
            Self::Sha256(digest) => write!(f, "sha256 `{}`", hex::encode(digest)),
        }
    }
}

/// A name and whom it stands for.
#[derive(Debug, Clone)]
pub(crate) struct CertificateIdentity {
    pub(crate) name: CertificateName,
    pub(crate) principal: Arc<Principal>,
}

/// All names that stand for somebody.
#[derive(Debug, Clone, Default)]
pub(crate) struct Certificates(HashMap<CertificateName, Arc<Principal>>);

impl Certificates {
    /// Gives back a name that stands there twice.
    pub(crate) fn new(identities: Vec<CertificateIdentity>) -> Result<Self, CertificateName> {
        let mut names = HashMap::new();
        for CertificateIdentity { name, principal } in identities {
            if names.insert(name.clone(), principal).is_some() {
                return Err(name);
            }
        }
        Ok(Self(names))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whom a certificate stands for; `None` where none of its names is listed.
    pub(crate) fn principal(&self, der: &[u8], now: Timestamp) -> Result<Option<Arc<Principal>>, Unauthenticated> {
        if self.0.is_empty() {
            return Ok(None);
        }
        if der.len() > MAX_CERTIFICATE_BYTES {
            return Err(Unauthenticated::CertificateMalformed);
        }
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|_unreadable| Unauthenticated::CertificateMalformed)?;
        if !rest.is_empty() {
            return Err(Unauthenticated::CertificateMalformed);
        }
        let names = names(&certificate, der)?;
        let mut listed = names.iter().filter_map(|name| self.0.get(name));
        let Some(first) = listed.next() else { return Ok(None) };
        if listed.any(|other| other.id != first.id) {
            return Err(Unauthenticated::Disagreeing);
        }
        // A connection may outlive the certificate that it began with.
        let validity = certificate.validity();
        let now = now.as_second();
        if now < validity.not_before.timestamp() || now > validity.not_after.timestamp() {
            return Err(Unauthenticated::CertificateExpired);
        }
        Ok(Some(first.clone()))
    }
}

fn names(certificate: &X509Certificate<'_>, der: &[u8]) -> Result<Vec<CertificateName>, Unauthenticated> {
    let mut names = vec![CertificateName::Sha256(Sha256::digest(der).into())];
    let alternative = certificate.subject_alternative_name().map_err(|_twice| Unauthenticated::CertificateMalformed)?;
    for name in alternative.iter().flat_map(|extension| &extension.value.general_names) {
        match name {
            GeneralName::URI(uri) => names.push(CertificateName::Uri((*uri).to_owned())),
            GeneralName::DNSName(name) => names.push(CertificateName::Dns(name.to_ascii_lowercase())),
            GeneralName::RFC822Name(email) => names.push(CertificateName::Email((*email).to_owned())),
            _ => {}
        }
    }
    // Of several common names nobody knows which one is meant.
    let mut common = certificate.subject().iter_common_name();
    if let (Some(only), None) = (common.next(), common.next())
        && let Ok(name) = only.as_str()
    {
        names.push(CertificateName::CommonName(name.to_owned()));
    }
    Ok(names)
}
