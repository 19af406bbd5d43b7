//! `revocation/v1`: a version, a certificate or both are no longer to be relied on.

use fitment_catalog::Digest;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::insert_some;
use crate::TrustError;
use crate::place::{Place, URI};

/// The predicate's type.
pub const REVOCATION_TYPE: &str = "https://fitment.dev/revocation/v1";

/// The published JSON Schema (2020-12) of the predicate.
pub const REVOCATION_SCHEMA: &str = include_str!("../../schema/revocation.schema.json");

/// What is revoked and why. Whether its signer may say so is another question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationClaim {
    /// Digest of a version: no certificate certifies it any more.
    pub version: Option<Digest>,
    /// Digest of a certificate (sha256 of its payload): it counts no more. At least one of the two is there.
    pub certificate: Option<Digest>,
    /// Why, 1 to 2,000 characters.
    pub justification: String,
    /// Since when the reason has been known. It is reported; what was decided before stays as it was.
    pub known_since: Option<Timestamp>,
    /// Where it became known, such as an advisory's URI.
    pub origin: Option<String>,
    /// sha256 of a document that tells more.
    pub document: Option<Digest>,
}

impl RevocationClaim {
    pub(crate) fn read(place: &Place<'_>) -> Result<Self, TrustError> {
        let target = place.required("target")?;
        let digest = |place: &Place<'_>, key| place.optional(key)?.map(|digest| digest.parsed()).transpose();
        let (version, certificate) = (digest(&target, "version")?, digest(&target, "certificate")?);
        if version.is_none() && certificate.is_none() {
            return Err(target.error("names nothing; give `version`, `certificate` or both"));
        }
        Ok(Self {
            version,
            certificate,
            justification: place.required("justification")?.prose(2_000)?,
            known_since: place.optional("known_since")?.map(|time| time.time()).transpose()?,
            origin: place.optional("origin")?.map(|origin| origin.word(URI)).transpose()?,
            document: digest(place, "document")?,
        })
    }

    /// The predicate as JSON.
    pub fn to_value(&self) -> Value {
        let mut target = Map::new();
        insert_some(&mut target, "version", self.version.map(|digest| digest.to_string()));
        insert_some(&mut target, "certificate", self.certificate.map(|digest| digest.to_string()));
        let mut fields = Map::new();
        fields.insert("target".to_owned(), json!(target));
        fields.insert("justification".to_owned(), self.justification.clone().into());
        insert_some(&mut fields, "known_since", self.known_since.map(|time| time.to_string()));
        insert_some(&mut fields, "origin", self.origin.clone());
        insert_some(&mut fields, "document", self.document.map(|digest| digest.to_string()));
        Value::Object(fields)
    }
}
