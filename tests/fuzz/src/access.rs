//! A document that says who may what, with everything in it that one may have, and what is shown to it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use fitment_access::{Access, ApiKey, KEY_RANDOMNESS};
use jiff::Timestamp;
use serde_json::{Value, json};

/// A client's certificate (DER): common name `build box`, a URI, a DNS name, an address.
pub const CLIENT: &[u8] = include_bytes!("../fixtures/client.der");

/// A policy in force.
pub const POLICIES: &str = r#"@id("no-secrets") forbid (principal, action, resource is Fitment::Component)
  when { resource.tags.contains("secret") };"#;

/// An instant at which everything is valid.
pub fn instant() -> Timestamp {
    fitment_trust::parse_time("2027-06-15T12:00:00Z").expect("an instant")
}

/// The key of the issuer of tokens.
pub fn issuer() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
}

/// The issuer's public keys.
pub fn keys() -> Value {
    let public = URL_SAFE_NO_PAD.encode(issuer().verifying_key().as_bytes());
    json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": public, "kid": "k" }] })
}

/// Claims that are accepted.
pub fn claims() -> Value {
    let at = instant().as_second();
    json!({
        "iss": "https://login.example.org/", "aud": "fitment", "sub": "someone", "org": "retail",
        "iat": at - 10, "exp": at + 300, "nbf": at - 10, "department": "risk", "groups": ["team:payments"],
        "realm": { "roles": ["fitment-readers"] },
    })
}

/// The document.
pub fn document() -> Value {
    let key = ApiKey::generate(&[3; KEY_RANDOMNESS]);
    json!({
        "version": 1,
        "tenants": ["retail"],
        "principals": [
            { "id": "deploy-bot", "tenant": "retail", "grants": [{ "role": "publisher", "namespaces": ["payments"] }] },
            { "id": "build-box", "groups": ["team:risk"], "grants": [
                { "role": "auditor" }, { "role": "reader", "effect": "deny", "labels": { "any_of": ["pci"] } },
            ], "limits": { "concurrent": 3, "requests_per_second": 10.5 } },
        ],
        "api_keys": [{ "prefix": key.prefix(), "sha256": key.sha256(), "principal": "deploy-bot",
            "created": "2026-01-01T00:00:00Z", "expires": "2028-01-01T00:00:00Z" }],
        "jwt_issuers": [{
            "id": "corp", "issuer": "https://login.example.org/", "audiences": ["fitment"],
            "algorithms": ["EdDSA", "ES256", "RS256"], "jwks": "corp.json", "max_age_seconds": 86400,
            "subjects": { "repo:acme/shop": "deploy-bot" }, "tenant": { "claim": "org", "allow": ["default", "retail"] },
            "roles": { "claim": "/realm/roles", "grants": { "fitment-readers": [{ "role": "reader" }] } },
            "groups_claim": "groups", "claims": ["department"], "limits": { "concurrent": 3 },
        }],
        "certificates": [
            { "principal": "build-box", "subject_cn": "build box" }, { "principal": "build-box", "san_uri": "spiffe://acme/shop" },
        ],
        "unix": [{ "uid": 1000, "principal": "build-box" }, { "gid": 50, "principal": "deploy-bot" }],
        "anonymous": { "grants": [{ "role": "reader", "namespaces": ["open"] }] },
        "policies": ["extra.cedar"],
    })
}

/// The files that the document names.
pub fn attached(name: &str, keys: &[u8], policies: &[u8]) -> Result<Vec<u8>, String> {
    match name {
        "corp.json" => Ok(keys.to_vec()),
        "extra.cedar" => Ok(policies.to_vec()),
        _ => Err("there is no such file".to_owned()),
    }
}

/// What the document says, ready to be asked; without `anonymous`, so that whoever is known has shown something.
pub fn access() -> Access {
    let mut document = document();
    document.as_object_mut().expect("an object").shift_remove("anonymous");
    let keys = keys().to_string();
    let files = |name: &str| attached(name, keys.as_bytes(), POLICIES.as_bytes());
    let access = Access::load("access.json", document.to_string().as_bytes(), &files);
    access.unwrap_or_else(|error| panic!("{error}"))
}
