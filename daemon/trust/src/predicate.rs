//! What a statement says of its subjects.

mod certification;
mod revocation;
mod verification_result;

use jiff::Timestamp;
use serde_json::Value;

pub use certification::{
    CERTIFICATION_SCHEMA, CERTIFICATION_TYPE, Certification, Evidence, EvidenceKind, StandardClaim,
};
pub use revocation::{REVOCATION_SCHEMA, REVOCATION_TYPE, RevocationClaim};
pub use verification_result::{VERIFICATION_RESULT_TYPE, VerificationResult};

use crate::TrustError;
use crate::place::Place;

/// The predicate type of a bundle's signature. Its subject is the bundle's manifest; it certifies nothing.
pub const BUNDLE_TYPE: &str = "https://fitment.dev/bundle/v1";

/// The predicates that are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Predicate {
    /// `certification/v1`: requirements of standards are met.
    Certification(Certification),
    /// SVR v0.2: properties were verified.
    VerificationResult(VerificationResult),
    /// `revocation/v1`: a version or a certificate is no longer to be relied on.
    Revocation(RevocationClaim),
    /// A type that is not known, by its URI. It is never counted.
    Other(String),
}

impl Predicate {
    pub(crate) fn read(predicate_type: &str, place: &Place<'_>) -> Result<Self, TrustError> {
        // Whatever its type, in-toto has an object here.
        place.object()?;
        Ok(match predicate_type {
            CERTIFICATION_TYPE => Self::Certification(Certification::read(place)?),
            VERIFICATION_RESULT_TYPE => Self::VerificationResult(VerificationResult::read(place)?),
            REVOCATION_TYPE => Self::Revocation(RevocationClaim::read(place)?),
            other => Self::Other(other.to_owned()),
        })
    }

    /// The URI of its type.
    pub fn type_uri(&self) -> &str {
        match self {
            Self::Certification(_) => CERTIFICATION_TYPE,
            Self::VerificationResult(_) => VERIFICATION_RESULT_TYPE,
            Self::Revocation(_) => REVOCATION_TYPE,
            Self::Other(uri) => uri,
        }
    }

    /// When it says it was issued: from when on a certification holds, or when properties were verified. `None` for what
    /// does not certify.
    pub fn issued(&self) -> Option<Timestamp> {
        match self {
            Self::Certification(certification) => Some(certification.valid_from),
            Self::VerificationResult(result) => Some(result.time_created),
            Self::Revocation(_) | Self::Other(_) => None,
        }
    }
}

/// Puts in what is there.
fn insert_some(object: &mut serde_json::Map<String, Value>, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        object.insert(key.to_owned(), value.into());
    }
}
