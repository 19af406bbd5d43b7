//! Certification: what a certificate, a trust root and a policy are, and when a version is certified.
//!
//! A certificate is an in-toto Statement v1 in a DSSE envelope, signed with Ed25519, about the digest of a manifest. A
//! [`TrustRoot`] says which keys are believed about what, and what a component needs. [`assess`] puts both together.
//!
//! Everything here is a pure function of its arguments: the crate opens no file, reads no clock and makes no random
//! numbers. It decides; storing certificates, and leaving out of a search what is not certified, is done elsewhere.
//!
//! Reading order: [`Envelope`] carries signed bytes; [`Statement`] is what they say, its [`Predicate`] the claim;
//! [`TrustRoot`] is the operator's file, [`TrustRoot::verify`] the way from bytes to a [`VerifiedCertificate`];
//! [`assess`] gives a [`Standing`].

mod assess;
mod encoding;
mod envelope;
mod error;
mod json;
mod key;
mod pattern;
mod place;
mod predicate;
mod root;
mod statement;
mod verify;

pub use assess::{Coverage, Covered, Finding, Reason, Standing, Support, assess, coverage};
pub use envelope::{Envelope, MAX_ENVELOPE_BYTES, MAX_SIGNATURES, PAYLOAD_TYPE, Signature, pae};
pub use error::{TrustError, TrustErrorKind};
pub use json::MAX_JSON_DEPTH;
pub use key::{PrivateKey, PublicKey};
pub use pattern::{NamePattern, WordPattern};
pub use place::parse_time;
pub use predicate::{
    BUNDLE_TYPE, CERTIFICATION_SCHEMA, CERTIFICATION_TYPE, Certification, Evidence, EvidenceKind, Predicate,
    REVOCATION_SCHEMA, REVOCATION_TYPE, RevocationClaim, StandardClaim, VERIFICATION_RESULT_TYPE, VerificationResult,
};
pub use root::{Limits, Policy, Requirement, Role, RootKey, TRUST_ROOT_SCHEMA, TrustRoot};
pub use statement::{STATEMENT_TYPE, Statement, Subject};
pub use verify::{Revocation, VerifiedCertificate};
