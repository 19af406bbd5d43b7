//! From bytes to something that a key of the trust root stands behind.

use std::collections::BTreeSet;

use fitment_catalog::{ComponentName, Digest};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::TrustError;
use crate::envelope::Envelope;
use crate::key::PublicKey;
use crate::pattern::NamePattern;
use crate::place::{ID, Place};
use crate::predicate::{Predicate, RevocationClaim};
use crate::root::TrustRoot;
use crate::statement::Statement;

/// A statement that at least one key of a trust root signed. It is the proof of that and of no more: whether the key may
/// say so, and whether it holds now, is for [`crate::assess`] to judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedCertificate {
    digest: Digest,
    statement: Statement,
    signers: BTreeSet<PublicKey>,
}

impl VerifiedCertificate {
    /// The certificate's address: sha256 of the signed payload.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What was signed.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// Who signed it, of the keys that were in the trust root; at least one.
    pub fn signers(&self) -> &BTreeSet<PublicKey> {
        &self.signers
    }
}

/// A revocation that was accepted. It was judged when it was recorded and stays in force: a later trust root that no
/// longer holds its signer's key does not bring back what was revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    digest: Digest,
    claim: RevocationClaim,
    keys: Vec<String>,
    components: Vec<NamePattern>,
    root: Digest,
}

impl TrustRoot {
    /// Reads an envelope and verifies its signatures. What is returned was read from the very bytes that were verified.
    ///
    /// Keys that this root does not have leave no trace: verify again when a root with more keys is installed.
    ///
    /// # Errors
    /// [`TrustError::UnknownSigner`] when no key of this root signed these bytes; otherwise as [`Envelope::parse`] and
    /// [`Statement::parse`], and [`TrustError::TooLarge`] or [`TrustError::Invalid`] beyond this root's limits.
    pub fn verify(&self, envelope: &[u8]) -> Result<VerifiedCertificate, TrustError> {
        let limits = self.limits();
        if envelope.len() > limits.envelope_bytes {
            return Err(TrustError::TooLarge {
                what: "envelope",
                bytes: envelope.len(),
                limit: limits.envelope_bytes,
                way_out: "name large evidence by its digest, or raise `limits.envelope_bytes` of the trust root",
            });
        }
        let envelope = Envelope::parse(envelope)?;
        let signatures = envelope.signatures().len();
        if signatures > limits.signatures {
            return Err(TrustError::Invalid {
                what: "envelope",
                path: "signatures".to_owned(),
                description: format!(
                    "has {signatures} items; the trust root allows {}; raise its `limits.signatures`",
                    limits.signatures
                ),
            });
        }
        let signers = envelope.signers(self.keys().iter().map(|key| &key.public));
        let digest = envelope.digest();
        if signers.is_empty() {
            return Err(TrustError::UnknownSigner { certificate: digest, signatures });
        }
        Ok(VerifiedCertificate { digest, statement: Statement::parse(envelope.payload())?, signers })
    }

    /// Accepts a revocation, to be recorded and applied from then on. One key suffices; it must be inside its window at
    /// `now`, the moment of recording, since a revocation states no time of issue that could be believed.
    ///
    /// # Errors
    /// [`TrustError::NotAdmitted`] when it is no revocation or none of its signers may revoke anything.
    pub fn admit(&self, certificate: &VerifiedCertificate, now: Timestamp) -> Result<Revocation, TrustError> {
        let refused = |description: String| TrustError::NotAdmitted { certificate: certificate.digest, description };
        let Predicate::Revocation(claim) = certificate.statement.predicate() else {
            let found = crate::error::shorten(certificate.statement.predicate().type_uri());
            return Err(refused(format!("its predicate type is `{found}`; sign a `{}`", crate::REVOCATION_TYPE)));
        };
        let mut keys = BTreeSet::new();
        let mut components = BTreeSet::new();
        for key in self.keys().iter().filter(|key| certificate.signers.contains(&key.public) && key.is_valid_at(now)) {
            for role in self.roles().iter().filter(|role| role.may_revoke && role.keys.contains(&key.id)) {
                keys.insert(key.id.clone());
                components.extend(role.components.iter().cloned());
            }
        }
        if keys.is_empty() {
            return Err(refused(
                "none of its signers has a role that may revoke and a key that is valid now; sign it with such a key"
                    .to_owned(),
            ));
        }
        Ok(Revocation {
            digest: certificate.digest,
            claim: claim.clone(),
            keys: keys.into_iter().collect(),
            components: components.into_iter().collect(),
            root: self.digest(),
        })
    }
}

impl TrustRoot {
    /// Whether keys that may say so signed the bundle whose manifest has this digest. Gives their ids. They must be inside
    /// their windows at `now`, the moment of the import: a bundle's own time is no witness.
    ///
    /// # Errors
    /// [`TrustError::NotAdmitted`] when it is about something else or none of its signers may sign bundles.
    pub fn admit_bundle(
        &self,
        certificate: &VerifiedCertificate,
        manifest: &Digest,
        now: Timestamp,
    ) -> Result<Vec<String>, TrustError> {
        let refused = |description: String| TrustError::BundleNotAdmitted { description };
        let statement = certificate.statement();
        if statement.predicate().type_uri() != crate::BUNDLE_TYPE || !statement.is_about(manifest) {
            return Err(refused(format!("its signature is not one over a bundle with the manifest {manifest}")));
        }
        let may = |key: &&crate::root::RootKey| {
            certificate.signers.contains(&key.public)
                && key.is_valid_at(now)
                && self.roles().iter().any(|role| role.may_bundle && role.keys.contains(&key.id))
        };
        let keys: Vec<String> = self.keys().iter().filter(may).map(|key| key.id.clone()).collect();
        if keys.is_empty() {
            return Err(refused(
                "none of its signers has a role that `may_bundle` and a key that is valid now; sign it with such a key, or \
                 name the signer's public key with --key"
                    .to_owned(),
            ));
        }
        Ok(keys)
    }
}

impl Revocation {
    /// The revocation's address: sha256 of the signed payload.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What is revoked and why.
    pub fn claim(&self) -> &RevocationClaim {
        &self.claim
    }

    /// Ids of the keys that had the right to revoke.
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// Digest of the trust root that it was accepted under.
    pub fn root(&self) -> Digest {
        self.root
    }

    /// Whether its signers could revoke for a component.
    pub fn is_for(&self, component: &ComponentName) -> bool {
        self.components.iter().any(|pattern| pattern.matches(component))
    }

    /// The revocation as JSON, to be kept by whoever recorded it.
    pub fn to_value(&self) -> Value {
        json!({
            "digest": self.digest.to_string(),
            "claim": self.claim.to_value(),
            "keys": self.keys,
            "components": self.components.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "root": self.root.to_string(),
        })
    }

    /// Reads what [`Revocation::to_value`] wrote and nobody could change since, such as a row of the store: nothing is
    /// verified again.
    ///
    /// # Errors
    /// [`TrustError::Invalid`].
    pub fn from_value(value: &Value) -> Result<Self, TrustError> {
        let place = Place::root("recorded revocation", value);
        Ok(Self {
            digest: place.required("digest")?.parsed()?,
            claim: RevocationClaim::read(&place.required("claim")?)?,
            keys: place.list("keys", usize::MAX, |key| key.word(ID))?,
            components: place.list("components", usize::MAX, Place::parsed)?,
            root: place.required("root")?.parsed()?,
        })
    }
}
