//! SVR v0.2, in-toto's simple verification result: a verifier found properties to hold at an instant.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::TrustError;
use crate::place::{PROPERTY, Place, URI};

/// The predicate's type.
pub const VERIFICATION_RESULT_TYPE: &str = "https://in-toto.io/attestation/svr/v0.2";

/// What passed. It says nothing about how long that may be relied on: a policy's `max_age_days` does.
///
/// `verifier.policies` and fields that a verifier adds are not read; they stay in the signed bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerificationResult {
    /// URI of who verified.
    pub verifier: String,
    /// When it was verified.
    pub time_created: Timestamp,
    /// What passed, at most 1,024 properties such as `SLSA_BUILD_LEVEL_3`.
    pub properties: Vec<String>,
}

impl VerificationResult {
    pub(super) fn read(place: &Place<'_>) -> Result<Self, TrustError> {
        let properties = place.required("properties")?.items(0..=1_024)?;
        Ok(Self {
            verifier: place.required("verifier")?.required("id")?.word(URI)?,
            time_created: place.required("timeCreated")?.time()?,
            properties: properties.iter().map(|property| property.word(PROPERTY)).collect::<Result<_, _>>()?,
        })
    }

    /// The predicate as JSON. The list of policies is empty: none is known here.
    pub fn to_value(&self) -> Value {
        json!({
            "verifier": { "id": self.verifier, "policies": [] },
            "timeCreated": self.time_created.to_string(),
            "properties": self.properties,
        })
    }
}
