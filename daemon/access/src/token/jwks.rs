//! The public keys of an issuer (RFC 7517): those that sign in a way that is accepted here. Others are passed over, as the
//! RFC asks for; keys that cannot be what they say are refused.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm as JwtAlgorithm, DecodingKey};
use serde_json::Value;

use super::Algorithm;
use crate::error::{Fault, shorten};

const MAX_KEYS: usize = 64;
/// Bytes of an RSA modulus: 2,048 to 8,192 bits.
const MODULUS: std::ops::RangeInclusive<usize> = 256..=1_024;

/// A public key of an issuer.
#[derive(Clone)]
pub(crate) struct IssuerKey {
    pub(crate) kid: Option<String>,
    pub(crate) algorithm: Algorithm,
    key: DecodingKey,
}

impl std::fmt::Debug for IssuerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuerKey").field("kid", &self.kid).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl IssuerKey {
    /// Whether the key's owner signed a message. The provider is named, so that no feature of another crate and no
    /// process-wide setting chooses another.
    pub(super) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithm = match self.algorithm {
            Algorithm::EdDsa => JwtAlgorithm::EdDSA,
            Algorithm::Es256 => JwtAlgorithm::ES256,
            Algorithm::Rs256 => JwtAlgorithm::RS256,
        };
        (DEFAULT_PROVIDER.verifier_factory)(&algorithm, &self.key)
            .is_ok_and(|verifier| verifier.verify(message, &signature.to_vec()).is_ok())
    }
}

/// Reads a set of keys; notes what is wrong with it.
pub(crate) fn read_jwks(file: &str, document: &Value, faults: &mut Vec<Fault>) -> Vec<IssuerKey> {
    let mut note = |path: String, description: &str| {
        faults.push(Fault { file: file.to_owned(), path, description: description.to_owned() });
    };
    let Some(items) = document["keys"].as_array() else {
        note("keys".to_owned(), "is no list; give the JWKS as the issuer publishes it");
        return Vec::new();
    };
    if items.len() > MAX_KEYS {
        note("keys".to_owned(), &format!("has {} keys, at most {MAX_KEYS} are read; remove old ones", items.len()));
        return Vec::new();
    }
    let mut kids = BTreeSet::new();
    let mut keys = Vec::new();
    for (i, item) in items.iter().enumerate() {
        match key(item) {
            Ok(Some(key)) => {
                if key.kid.as_ref().is_some_and(|kid| !kids.insert(kid.clone())) {
                    note(format!("keys[{i}].kid"), "a second key has this kid; remove one");
                }
                keys.push(key);
            }
            Ok(None) => {}
            Err((field, why)) => {
                let path = if field.is_empty() { format!("keys[{i}]") } else { format!("keys[{i}].{field}") };
                note(path, &why);
            }
        }
    }
    keys
}

type Wrong = (&'static str, String);

/// One key; `None` where it is for another purpose.
fn key(item: &Value) -> Result<Option<IssuerKey>, Wrong> {
    let wrong = |field, why: &str| Err((field, why.to_owned()));
    if !item.is_object() {
        return wrong("", "is no object; give the JWKS as the issuer publishes it");
    }
    let Some(kty) = item["kty"].as_str() else { return wrong("kty", "is missing; it is required") };
    if kty == "oct" || item.get("k").is_some() {
        return wrong("kty", "is a shared secret: who can check tokens with it could make them; use a key pair");
    }
    if ["d", "p", "q"].iter().any(|private| item.get(private).is_some()) {
        return wrong("d", "is a private key: it must not lie here; publish its public part alone, and replace it");
    }
    let for_signatures = match (item.get("use").and_then(Value::as_str), item.get("key_ops").and_then(Value::as_array))
    {
        (Some(used), _) if used != "sig" => false,
        (_, Some(operations)) => operations.iter().any(|operation| operation == "verify"),
        _ => true,
    };
    if !for_signatures {
        return Ok(None);
    }
    let stated = item.get("alg").and_then(Value::as_str);
    let suits = match (kty, item["crv"].as_str()) {
        ("RSA", _) => Some(Algorithm::Rs256),
        ("EC", Some("P-256")) => Some(Algorithm::Es256),
        ("OKP", Some("Ed25519")) => Some(Algorithm::EdDsa),
        _ => None,
    };
    let algorithm = match (suits, stated) {
        // Ed25519 is the name that RFC 9864 gives to what EdDSA means with this curve.
        (Some(Algorithm::EdDsa), Some("Ed25519")) => Algorithm::EdDsa,
        (Some(suits), None) => suits,
        (Some(suits), Some(stated)) if stated == suits.as_str() => suits,
        (_, Some(stated)) if Algorithm::of(stated).is_some() => {
            return wrong("alg", &format!("`{}` does not suit the kind of the key", shorten(stated)));
        }
        // PS256, RSA-OAEP, P-384 and others: fine, and not for here.
        _ => return Ok(None),
    };
    let kid = match item.get("kid") {
        None => None,
        Some(Value::String(kid)) if !kid.is_empty() && kid.len() <= 256 => Some(kid.clone()),
        Some(_) => return wrong("kid", "is no text of 1 to 256 bytes"),
    };
    let key = match algorithm {
        Algorithm::Rs256 => {
            let (n, e) = (number(item, "n")?, number(item, "e")?);
            if !MODULUS.contains(&n.len()) {
                return wrong("n", "has not 2048 to 8192 bits; ask the issuer for a stronger key");
            }
            if e.is_empty() || e.len() > 4 {
                return wrong("e", "has not 1 to 4 bytes");
            }
            DecodingKey::from_rsa_raw_components(&n, &e)
        }
        Algorithm::Es256 => {
            let (x, y) = (number(item, "x")?, number(item, "y")?);
            if x.len() != 32 || y.len() != 32 {
                return wrong("x", "x and y have not 32 bytes each, as a point of P-256 has");
            }
            // An uncompressed point (SEC 1, section 2.3.3).
            DecodingKey::from_ec_der(&[&[4][..], &x, &y].concat())
        }
        Algorithm::EdDsa => {
            let x = number(item, "x")?;
            if x.len() != 32 {
                return wrong("x", "has not 32 bytes, as a key of Ed25519 has");
            }
            DecodingKey::from_ed_der(&x)
        }
    };
    Ok(Some(IssuerKey { kid, algorithm, key }))
}

/// Bytes of a number, in base64url without padding.
fn number(item: &Value, field: &'static str) -> Result<Vec<u8>, Wrong> {
    let text = item[field].as_str().ok_or((field, "is missing; it is required".to_owned()))?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_not_base64| (field, "is not base64url without padding".to_owned()))
}
