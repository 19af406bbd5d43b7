//! What several test modules share: keys, a trust root, certificates.

use fitment_catalog::{ComponentName, Digest, Format};
use fitment_trust::{
    CERTIFICATION_TYPE, Envelope, PrivateKey, REVOCATION_TYPE, Revocation, Standing, Statement, Subject, TrustRoot,
    VERIFICATION_RESULT_TYPE, VerifiedCertificate, assess,
};
use jiff::Timestamp;
use serde_json::{Value, json};

/// The version that tests are about.
pub(crate) fn version() -> Digest {
    format!("sha256:{}", "11".repeat(32)).parse().expect("digest")
}

pub(crate) fn component() -> ComponentName {
    "payments/card-checkout".parse().expect("name")
}

/// Keys by name: `alice` and `bob` are the first two keys of RFC 8032, section 7.1, the others made up.
pub(crate) fn key(name: &str) -> PrivateKey {
    let seed = match name {
        "alice" => "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60".to_owned(),
        "bob" => "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb".to_owned(),
        "carol" => "03".repeat(32),
        "sam" => "04".repeat(32),
        "mallory" => "05".repeat(32),
        other => panic!("no key for {other}"),
    };
    let bytes: [u8; 32] = std::array::from_fn(|i| u8::from_str_radix(&seed[2 * i..2 * i + 2], 16).expect("hex"));
    PrivateKey::from_seed(&bytes)
}

pub(crate) fn time(text: &str) -> Timestamp {
    fitment_trust::parse_time(text).expect("time")
}

/// Noon on a day in the middle of the certificates' validity.
pub(crate) fn now() -> Timestamp {
    time("2026-06-15T12:00:00Z")
}

/// A trust root: alice, bob and carol certify PCI and SLSA properties for payments, sam revokes there. Two of three must
/// stand behind a requirement only where `threshold` says so.
pub(crate) fn root_value(threshold: u64) -> Value {
    let entry = |name: &str| {
        json!({ "id": name, "public_key": key(name).public().to_base64(),
            "not_before": "2025-01-01T00:00:00Z", "not_after": "2028-01-01T00:00:00Z" })
    };
    json!({
        "version": 3,
        "keys": [entry("alice"), entry("bob"), entry("carol"), entry("sam")],
        "roles": [
            { "id": "assessors", "keys": ["alice", "bob", "carol"], "components": ["payments/*"],
              "standards": ["pci-*"], "properties": ["SLSA_*"], "verifiers": ["https://verify.example/v1"] },
            { "id": "incident-response", "keys": ["sam"], "components": ["payments/*"], "may_revoke": true },
        ],
        "policies": [
            { "id": "payments", "components": ["payments/*"], "threshold": threshold,
              "require": [{ "standard": "pci-dss-4.0", "requirements": ["6.4.3"] }] },
        ],
    })
}

pub(crate) fn parse_root(value: &Value) -> TrustRoot {
    TrustRoot::parse("root.json", value.to_string().as_bytes(), Format::Auto).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn root() -> TrustRoot {
    parse_root(&root_value(1))
}

/// A certification of requirement 6.4.3 for the year 2026.
pub(crate) fn certification() -> Value {
    json!({
        "standards": [{ "standard": "pci-dss-4.0", "requirements": ["6.4.3"] }],
        "valid_from": "2026-01-01T00:00:00Z",
        "valid_until": "2027-01-01T00:00:00Z",
    })
}

/// A verification result of the middle of 2026.
pub(crate) fn verification_result() -> Value {
    json!({
        "verifier": { "id": "https://verify.example/v1", "policies": [] },
        "timeCreated": "2026-06-01T00:00:00Z",
        "properties": ["SLSA_BUILD_LEVEL_3", "OTHER"],
    })
}

pub(crate) fn subjects(digests: &[Digest]) -> Vec<Subject> {
    digests.iter().map(|digest| Subject { name: None, digest: Some(*digest) }).collect()
}

/// An envelope about some digests, signed by some keys.
pub(crate) fn envelope(about: &[Digest], predicate_type: &str, predicate: &Value, signers: &[&str]) -> Envelope {
    let payload = Statement::compose(&subjects(about), predicate_type, predicate).unwrap_or_else(|e| panic!("{e}"));
    let mut envelope = Envelope::sign(payload, &key(signers[0])).expect("signed");
    for signer in &signers[1..] {
        envelope.add_signature(&key(signer)).expect("room");
    }
    envelope
}

/// A certification of the version, signed by some keys.
pub(crate) fn certificate(predicate: &Value, signers: &[&str]) -> Envelope {
    envelope(&[version()], CERTIFICATION_TYPE, predicate, signers)
}

pub(crate) fn result(predicate: &Value, signers: &[&str]) -> Envelope {
    envelope(&[version()], VERIFICATION_RESULT_TYPE, predicate, signers)
}

pub(crate) fn revocation_of(target: &Value, about: Digest, signer: &str) -> Envelope {
    let predicate = json!({ "target": target, "justification": "issued in error" });
    envelope(&[about], REVOCATION_TYPE, &predicate, &[signer])
}

pub(crate) fn verified(root: &TrustRoot, envelope: &Envelope) -> VerifiedCertificate {
    root.verify(&envelope.to_json()).unwrap_or_else(|error| panic!("{error}"))
}

/// The standing of the version under a root, at an instant.
pub(crate) fn standing_at(
    root: &TrustRoot,
    envelopes: &[Envelope],
    revocations: &[Revocation],
    at: Timestamp,
) -> Standing {
    let certificates: Vec<_> = envelopes.iter().map(|envelope| verified(root, envelope)).collect();
    assess(&version(), &component(), &certificates, revocations, root, at)
}

pub(crate) fn standing(root: &TrustRoot, envelopes: &[Envelope]) -> Standing {
    standing_at(root, envelopes, &[], now())
}
