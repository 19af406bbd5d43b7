//! Tokens: signatures, times, and everything that must not pass.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fitment_access::{Access, MAX_TOKEN_BYTES, Presented, PrincipalKind, Role};
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::crypto::sign;
use jsonwebtoken::{Algorithm, EncodingKey};
use rcgen::{KeyPair, RsaKeySize, SigningKey as _};
use serde_json::{Value, json};

use crate::support::{bearer, facts, faults, load_with, now};

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A key of an issuer.
struct Key {
    pair: KeyPair,
    algorithm: &'static str,
}

impl Key {
    fn new(algorithm: &'static str) -> Self {
        let pair = match algorithm {
            "EdDSA" => KeyPair::generate_for(&rcgen::PKCS_ED25519),
            "ES256" => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            _ => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048),
        };
        Self { pair: pair.expect("a key"), algorithm }
    }

    fn jwk(&self, kid: &str) -> Value {
        let public = self.pair.public_key_raw();
        let mut jwk = match self.algorithm {
            "EdDSA" => json!({"kty": "OKP", "crv": "Ed25519", "x": encoded(public)}),
            "ES256" => {
                json!({"kty": "EC", "crv": "P-256", "x": encoded(&public[1..33]), "y": encoded(&public[33..])})
            }
            _ => {
                let components = (DEFAULT_PROVIDER.key_utils.rsa_pub_components_from_public_key)(public);
                let (n, e) = components.expect("a public key");
                json!({"kty": "RSA", "n": encoded(n), "e": encoded(e)})
            }
        };
        jwk["kid"] = kid.into();
        jwk
    }

    fn sign(&self, header: &Value, claims: &str) -> String {
        let message = format!("{}.{}", encoded(header.to_string()), encoded(claims));
        let signature = if self.algorithm == "ES256" {
            let key = EncodingKey::from_ec_der(self.pair.serialized_der());
            sign(message.as_bytes(), &key, Algorithm::ES256).expect("a signature")
        } else {
            encoded(self.pair.sign(message.as_bytes()).expect("a signature"))
        };
        format!("{message}.{signature}")
    }

    fn token(&self, kid: &str, claims: &Value) -> String {
        self.sign(&json!({"alg": self.algorithm, "kid": kid}), &claims.to_string())
    }
}

fn jwks(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

const DOCUMENT: &str = r#"
version: 1
tenants: [retail]
principals:
  - {id: deploy-bot, tenant: retail, grants: [{role: publisher}]}
jwt_issuers:
  - id: corp
    issuer: https://login.example.org/
    audiences: [fitment, fitment-test]
    algorithms: [EdDSA, ES256, RS256]
    jwks: corp.json
    max_age_seconds: 86400
    subjects: {"repo:acme/shop": deploy-bot}
    tenant: {claim: org, allow: [default, retail]}
    roles:
      claim: /realm/roles
      grants:
        fitment-readers: [{role: reader}]
        fitment-no-secrets: [{role: reader, effect: deny, namespaces: [secret]}]
    groups_claim: groups
    claims: [department]
    limits: {concurrent: 3}
"#;

fn access(keys: &[Value]) -> Access {
    load_with(DOCUMENT, &[("corp.json", &jwks(keys))]).expect("a valid document")
}

/// Claims that are accepted at [`now`].
fn claims() -> Value {
    let at = now().as_second();
    json!({
        "iss": "https://login.example.org/", "aud": "fitment", "sub": "alice", "org": "retail",
        "iat": at - 10, "exp": at + 300, "department": "risk", "groups": ["team:payments", "auditor", "Not A Name"],
        "realm": {"roles": ["fitment-readers", "fitment-no-secrets", "other"]}
    })
}

fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    claims[name] = value.into();
    claims
}

#[test]
fn a_token_of_each_algorithm_names_a_principal() {
    let keys = ["EdDSA", "ES256", "RS256"].map(Key::new);
    let jwks: Vec<Value> = keys.iter().map(|key| key.jwk(key.algorithm)).collect();
    let access = access(&jwks);
    for key in &keys {
        let token = key.token(key.algorithm, &claims());
        assert_eq!(bearer(&access, &token, now()), Ok("corp:alice@retail".to_owned()), "{}", key.algorithm);
        let (message, signature) = token.rsplit_once('.').expect("three parts");
        let mut bytes = URL_SAFE_NO_PAD.decode(signature).expect("base64");
        bytes[7] ^= 1;
        let forged = format!("{message}.{}", encoded(bytes));
        assert_eq!(bearer(&access, &forged, now()), Err("token_signature"), "{}", key.algorithm);
        // With one key an algorithm, the name of the key may be left out.
        let unnamed = key.sign(&json!({"alg": key.algorithm, "typ": "at+jwt"}), &claims().to_string());
        assert!(bearer(&access, &unnamed, now()).is_ok());
        for other in keys.iter().filter(|other| other.algorithm != key.algorithm) {
            let token = key.sign(&json!({"alg": key.algorithm, "kid": other.algorithm}), &claims().to_string());
            assert_eq!(bearer(&access, &token, now()), Err("token_key"), "a key of another algorithm");
        }
    }
}

#[test]
fn claims_become_what_a_principal_may() {
    let key = Key::new("EdDSA");
    let access = access(&[key.jwk("k")]);
    let authenticate = |claims: &Value| {
        let value = format!("bearer  {}", key.token("k", claims));
        let authorization = [value.as_bytes()];
        access.authenticate(&Presented { authorization: &authorization, ..Presented::default() }, now())
    };
    let alice = authenticate(&claims()).expect("a good token");
    assert_eq!((alice.id(), alice.tenant(), alice.kind()), ("corp:alice", "retail", PrincipalKind::Token));
    assert_eq!(alice.roles(), [Role::Reader].into());
    assert_eq!(alice.claims()["department"], "risk");
    assert_eq!(alice.limits().concurrent, Some(3));
    assert!(alice.groups().contains("team:payments") && !alice.groups().contains("auditor"), "roles are no groups");
    let permit = access.authorise(&alice, "/fitment.v1.MatcherService/Match").expect("a reader");
    assert!(permit.permits(&facts("open", &[])) && !permit.permits(&facts("secret", &[])));
    let nobody = authenticate(&with("realm", json!({}))).expect("a good token");
    assert!(access.authorise(&nobody, "/fitment.v1.MatcherService/Match").is_err(), "known, and granted nothing");
    let words = authenticate(&with("realm", json!({"roles": "fitment-readers x"}))).expect("a good token");
    assert_eq!(words.roles(), [Role::Reader].into());
    let listed = authenticate(&with("sub", "repo:acme/shop")).expect("a good token");
    assert_eq!((listed.id(), listed.tenant(), listed.roles()), ("deploy-bot", "retail", [Role::Publisher].into()));
}

#[test]
fn times_and_audiences_are_kept_to_with_leeway() {
    let key = Key::new("EdDSA");
    let access = access(&[key.jwk("k")]);
    let at = now().as_second();
    let ok = Ok("corp:alice@retail");
    for (claims, expected) in [
        (with("exp", at - 59), ok),
        (with("exp", at - 60), Err("token_expired")),
        (with("exp", json!(1_780_315_200.0 - 59.5)), ok),
        (with("exp", Value::Null), Err("token_claims")),
        (with("exp", "soon"), Err("token_claims")),
        (with("exp", -1), Err("token_claims")),
        (with("exp", 1e300), Err("token_claims")),
        (with("nbf", at + 60), ok),
        (with("nbf", at + 61), Err("token_not_yet_valid")),
        (with("iat", at + 61), Err("token_not_yet_valid")),
        (with("iat", at - 86_460), ok),
        (with("iat", at - 86_461), Err("token_too_old")),
        (with("iat", Value::Null), Err("token_claims")),
        (with("aud", json!(["other", "fitment-test"])), ok),
        (with("aud", json!(["other"])), Err("token_audience")),
        (with("aud", json!({"fitment": true})), Err("token_audience")),
        (with("aud", Value::Null), Err("token_audience")),
        (with("iss", "https://login.example.org"), Err("token_issuer")),
        (with("iss", json!(["https://login.example.org/"])), Err("token_issuer")),
        (with("org", "bank"), Err("token_tenant")),
        (with("org", Value::Null), Err("token_tenant")),
        (with("sub", ""), Err("token_claims")),
        (with("sub", 7), Err("token_claims")),
        (with("sub", "a\u{202e}b"), Err("token_claims")),
        (with("sub", "a".repeat(129)), Err("token_claims")),
    ] {
        let said = bearer(&access, &key.token("k", &claims), now());
        assert_eq!(said.as_deref(), expected.as_ref().map(|id| *id), "{claims}");
    }
}

#[test]
fn headers_that_change_what_is_checked_are_refused() {
    let key = Key::new("EdDSA");
    let access = access(&[key.jwk("k"), Key::new("EdDSA").jwk("other")]);
    let claims = claims().to_string();
    for (header, expected) in [
        (json!({"alg": "none"}), "token_algorithm"),
        (json!({"alg": "HS256", "kid": "k"}), "token_algorithm"),
        (json!({"alg": "eddsa", "kid": "k"}), "token_algorithm"),
        (json!({"alg": ["EdDSA"], "kid": "k"}), "token_algorithm"),
        (json!({"kid": "k"}), "token_algorithm"),
        (json!({"alg": "EdDSA", "kid": "k", "crit": ["exp"]}), "token_header"),
        (json!({"alg": "EdDSA", "kid": "k", "crit": []}), "token_header"),
        (json!({"alg": "EdDSA", "kid": "k", "b64": false}), "token_header"),
        (json!({"alg": "EdDSA", "kid": "k", "zip": "DEF"}), "token_header"),
        (json!({"alg": "EdDSA", "kid": "k", "typ": "logout+jwt"}), "token_header"),
        (json!({"alg": "EdDSA", "kid": "k", "typ": 7}), "token_header"),
        (json!({"alg": "EdDSA", "kid": "absent"}), "token_key"),
        (json!({"alg": "EdDSA", "kid": 7}), "token_key"),
        (json!({"alg": "EdDSA"}), "token_key"),
        (json!({"alg": "EdDSA", "kid": "other"}), "token_signature"),
        (json!({"alg": "ES256", "kid": "k"}), "token_key"),
    ] {
        assert_eq!(bearer(&access, &key.sign(&header, &claims), now()), Err(expected), "{header}");
    }
    // Keys that a token brings along are not looked at.
    let thief = Key::new("EdDSA");
    let header = json!({"alg": "EdDSA", "kid": "k", "jwk": thief.jwk("k"), "jku": "https://thief.example/"});
    assert_eq!(bearer(&access, &thief.sign(&header, &claims), now()), Err("token_signature"));
    let unsigned = format!("{}.{}.", encoded(r#"{"alg":"none"}"#), encoded(&claims));
    assert_eq!(bearer(&access, &unsigned, now()), Err("token_algorithm"));
}

#[test]
fn tokens_that_two_readers_could_read_differently_are_refused() {
    let key = Key::new("EdDSA");
    let access = access(&[key.jwk("k")]);
    let header = json!({"alg": "EdDSA", "kid": "k"});
    let doubled = claims().to_string().replacen("\"sub\":", "\"sub\":\"root\",\"sub\":", 1);
    for claims in [&doubled, "[]", "", "7", "{", "{\"a\":1}{}"] {
        assert_eq!(bearer(&access, &key.sign(&header, claims), now()), Err("token_malformed"), "{claims}");
    }
    let good = key.token("k", &claims());
    for bad in
        [&good[1..], &good[..good.len() - 1], &format!("{good}="), &format!("{good}.x"), "a.b", "a..b", "..", "."]
    {
        assert!(bearer(&access, bad, now()).is_err(), "{bad}");
    }
    let long = key.token("k", &with("padding", "x".repeat(MAX_TOKEN_BYTES)));
    assert_eq!(bearer(&access, &long, now()), Err("token_too_large"));
}

#[test]
fn a_set_of_keys_is_held_to_what_it_says() {
    let (ed, ec) = (Key::new("EdDSA"), Key::new("ES256"));
    let changed = |key: &Key, name: &str, value: Value| {
        let mut jwk = key.jwk("k");
        jwk[name] = value;
        jwk
    };
    for (keys, expected) in [
        (vec![ed.jwk("a"), ec.jwk("a")], "corp.json: keys[1].kid: a second key has this kid"),
        (vec![changed(&ed, "alg", "ES256".into())], "keys[0].alg: `ES256` does not suit"),
        (vec![changed(&ec, "alg", "RS256".into())], "does not suit"),
        (vec![changed(&ec, "crv", "P-384".into()), changed(&ec, "alg", "ES256".into())][..1].to_vec(), "holds no key"),
        (vec![changed(&ed, "d", "AAAA".into())], "is a private key"),
        (vec![json!({"kty": "oct", "k": "AAAA", "kid": "k"})], "is a shared secret"),
        (vec![changed(&ed, "x", "AAAA".into())], "32 bytes"),
        (vec![changed(&ed, "x", "=".into())], "base64url"),
        (vec![json!({"kty": "RSA", "n": encoded([1; 128]), "e": "AQAB"})], "2048 to 8192 bits"),
        (vec![changed(&ed, "use", "enc".into())], "holds no key for the algorithms"),
        (vec![json!(7)], "keys[0]: is no object"),
        (vec![], "holds no key"),
    ] {
        let said = faults(DOCUMENT, &[("corp.json", &jwks(&keys))]);
        assert!(said.contains(expected), "{said}");
    }
    assert!(faults(DOCUMENT, &[("corp.json", "{}")]).contains("keys: is no list"));
    assert!(faults(DOCUMENT, &[("corp.json", "{")]).contains("jwt_issuers[0].jwks"));
    // What is for others is passed over.
    let more =
        [ed.jwk("k"), changed(&ec, "use", "enc".into()), json!({"kty": "RSA", "alg": "PS256"}), json!({"kty": "new"})];
    assert!(load_with(DOCUMENT, &[("corp.json", &jwks(&more))]).is_ok());
}

#[test]
fn an_issuer_signs_only_as_its_document_says() {
    let (ed, ec) = (Key::new("EdDSA"), Key::new("ES256"));
    let document = DOCUMENT.replace("[EdDSA, ES256, RS256]", "[ES256]");
    let access = load_with(&document, &[("corp.json", &jwks(&[ed.jwk("a"), ec.jwk("b")]))]).expect("valid");
    assert_eq!(bearer(&access, &ed.token("a", &claims()), now()), Err("token_algorithm"));
    assert!(bearer(&access, &ec.token("b", &claims()), now()).is_ok());
    let said =
        faults(&DOCUMENT.replace("[EdDSA, ES256, RS256]", "[HS256, none]"), &[("corp.json", &jwks(&[ed.jwk("a")]))]);
    assert!(said.contains("algorithms[0]: `HS256` is no algorithm") && said.contains("algorithms[1]"), "{said}");
}
