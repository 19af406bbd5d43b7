//! Certificates of the harness's own: one key, a trust root that believes it, and what it signs.

use anyhow::Context;
use fitment_catalog::Digest;
use fitment_trust::{CERTIFICATION_TYPE, Envelope, PrivateKey, REVOCATION_TYPE, Statement, Subject};
use jiff::Timestamp;
use serde_json::{Value, json};

/// The one standard, and the requirement that its policy asks for.
const STANDARD: (&str, &str) = ("load-1.0", "1.1");

/// A key that certifies and revokes whatever is in a namespace.
pub(crate) struct Signer(PrivateKey);

impl Signer {
    /// The same key for the same seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut bytes = [7; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self(PrivateKey::from_seed(&bytes))
    }

    /// A trust root under which every component needs a certificate of this key.
    pub(crate) fn root(&self) -> Vec<u8> {
        let (standard, requirement) = STANDARD;
        json!({
            "version": 1,
            "keys": [{ "id": "load", "public_key": self.0.public().to_base64(),
                "not_before": "2000-01-01T00:00:00Z", "not_after": "2100-01-01T00:00:00Z" }],
            "roles": [{ "id": "all", "keys": ["load"], "components": ["*"], "standards": [standard], "may_revoke": true }],
            "policies": [{ "id": "all", "components": ["*"],
                "require": [{ "standard": standard, "requirements": [requirement] }] }],
        })
        .to_string()
        .into_bytes()
    }

    /// A certificate of a version, and its address.
    pub(crate) fn certificate(
        &self,
        digest: &str,
        from: Timestamp,
        until: Timestamp,
    ) -> anyhow::Result<(String, Vec<u8>)> {
        let (standard, requirement) = STANDARD;
        let predicate = json!({
            "standards": [{ "standard": standard, "requirements": [requirement] }],
            "valid_from": from.to_string(), "valid_until": until.to_string(),
        });
        self.sign(&[digest], CERTIFICATION_TYPE, &predicate)
    }

    /// A revocation of one certificate.
    pub(crate) fn revocation(&self, certificate: &str) -> anyhow::Result<Vec<u8>> {
        let predicate = json!({ "target": { "certificate": certificate }, "justification": "a test of revocations" });
        Ok(self.sign(&[certificate], REVOCATION_TYPE, &predicate)?.1)
    }

    fn sign(&self, subjects: &[&str], kind: &str, predicate: &Value) -> anyhow::Result<(String, Vec<u8>)> {
        let subject = |digest: &&str| -> anyhow::Result<Subject> {
            let read: Digest = digest.parse().ok().with_context(|| format!("`{digest}` is no digest"))?;
            Ok(Subject { name: None, digest: Some(read) })
        };
        let subjects: Vec<Subject> = subjects.iter().map(subject).collect::<Result<_, _>>()?;
        let envelope = Envelope::sign(Statement::compose(&subjects, kind, predicate)?, &self.0)?;
        Ok((envelope.digest().to_string(), envelope.to_json()))
    }
}
