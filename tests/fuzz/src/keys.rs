//! A trust root with one key that may do everything, and what it is asked about.

use fitment_catalog::{ComponentName, Digest, Format};
use fitment_trust::{PrivateKey, TrustRoot};
use jiff::Timestamp;
use serde_json::json;

/// The key that the root believes.
pub fn key() -> PrivateKey {
    PrivateKey::from_seed(&[7; 32])
}

/// The version that certificates are about.
pub fn version() -> Digest {
    Digest::from_bytes([0x11; 32])
}

/// The component that certificates are about.
pub fn component() -> ComponentName {
    "payments/card".parse().expect("a name")
}

/// An instant at which the key is valid.
pub fn now() -> Timestamp {
    fitment_trust::parse_time("2026-06-15T12:00:00Z").expect("an instant")
}

/// A trust root that believes [`key`] about everything and asks for one standard.
pub fn root() -> TrustRoot {
    let value = json!({
        "version": 3,
        "keys": [{ "id": "k", "public_key": key().public().to_base64(),
            "not_before": "2025-01-01T00:00:00Z", "not_after": "2028-01-01T00:00:00Z" }],
        "roles": [{ "id": "r", "keys": ["k"], "components": ["*"], "standards": ["*"], "properties": ["*"],
            "verifiers": ["https://v.example/1"], "may_revoke": true, "may_bundle": true }],
        "policies": [{ "id": "p", "components": ["*"], "threshold": 1, "require": [{ "standard": "pci" }] }],
    });
    TrustRoot::parse("root", value.to_string().as_bytes(), Format::Json).unwrap_or_else(|error| panic!("{error}"))
}
