//! DSSE: the encoding that is signed, what is read, and what is refused.

use fitment_trust::{Envelope, MAX_ENVELOPE_BYTES, PAYLOAD_TYPE, PublicKey, TrustError, pae};
use serde_json::{Value, json};

use crate::support::{certificate, certification, key, parse_root, root, root_value, standing, verified, version};

/// The example of the DSSE protocol.
#[test]
fn the_signed_encoding_is_that_of_the_specification() {
    let encoded = pae("http://example.com/HelloWorld", b"hello world");
    assert_eq!(encoded, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    // Lengths are those of bytes, and an empty payload leaves the space before it.
    assert_eq!(pae("ä", b""), "DSSEv1 2 ä 0 ".as_bytes());
}

/// DSSE's vectors for Ed25519, whose keys are those of RFC 8032.
#[test]
fn published_signatures_verify() {
    let (alice, bob) = (key("alice").public(), key("bob").public());
    let by_alice = "2WAfaHm5jluo0w+0rk8uVkluELJYWjSmU9x7EUzx+AyteDGJ4/nqyJXfmAUVFIAoQafWm7AxBZNw5M9ixNHiCA==";
    let by_bob = "c1+67/aT0yqEpwx8PsVY3MLHsj9D0CZ014/Fv/QlG59P+9CobUZ7xECJ/V3USG0Ob9CiE5LjReEZUzNF2l7eBw==";
    let payload = "eyJfdHlwZSI6Imh0dHBzOi8vaW4tdG90by5pby9TdGF0ZW1lbnQvdjEifQ==";
    let url_safe = "P-_KHICeR7tI6S_YyejJTRtrXhcQyQ2LYPaL8h90KjC9qN8HU_svOQ6TuDOT1HIrsGW886DbWNWcCmX5twLrAw==";
    for (payload, signatures, expected) in [
        (payload, vec![by_alice], vec![alice]),
        (payload, vec![by_bob, by_alice], vec![alice, bob]),
        (payload, vec![by_alice, by_alice], vec![alice]),
        ("-_-_Pj8=", vec![url_safe], vec![alice]),
        ("-_-_Pj8=", vec![by_alice, by_bob], vec![]),
    ] {
        let signatures: Vec<Value> = signatures.iter().map(|sig| json!({ "sig": sig })).collect();
        let text = json!({ "payload": payload, "payloadType": PAYLOAD_TYPE, "signatures": signatures }).to_string();
        let envelope = Envelope::parse(text.as_bytes()).expect("an envelope");
        let signers: Vec<PublicKey> = envelope.signers(&[alice, bob]).into_iter().collect();
        let mut expected = expected;
        expected.sort();
        assert_eq!(signers, expected, "{text}");
    }
}

#[test]
fn a_certificate_made_by_other_tools_counts() {
    let bytes = include_bytes!("../fixtures/signed-with-openssl.dsse.json");
    let verified = root().verify(bytes).unwrap_or_else(|error| panic!("{error}"));
    assert!(verified.statement().is_about(&version()));
    let standing = fitment_trust::assess(
        &version(),
        &crate::support::component(),
        &[verified],
        &[],
        &root(),
        crate::support::now(),
    );
    assert!(standing.certified, "{standing:?}");
}

/// Changes the JSON of a good envelope.
fn changed(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let good = certificate(&certification(), &["alice"]);
    let mut value: Value = serde_json::from_slice(&good.to_json()).expect("JSON");
    change(&mut value);
    value.to_string().into_bytes()
}

fn refusal(bytes: &[u8]) -> TrustError {
    root().verify(bytes).expect_err("refused")
}

#[test]
fn both_alphabets_are_read_with_and_without_padding() {
    // A name makes sure that the payload's base64 has characters that the alphabets write differently.
    let mut name = String::new();
    let good = loop {
        name.push('?');
        let subject = fitment_trust::Subject { name: Some(format!("~~{name}~~")), digest: Some(version()) };
        let payload =
            fitment_trust::Statement::compose(&[subject], fitment_trust::CERTIFICATION_TYPE, &certification())
                .expect("statement");
        let envelope = Envelope::sign(payload, &key("alice")).expect("signed");
        let text = String::from_utf8(envelope.to_json()).expect("text");
        let value: Value = serde_json::from_str(&text).expect("JSON");
        let payload = value["payload"].as_str().expect("text").to_owned();
        if payload.contains('/') && payload.contains('+') && payload.ends_with('=') {
            break value;
        }
        assert!(name.len() < 64, "no such payload");
    };
    let rewritten = |rewrite: fn(&str) -> String| {
        let mut value = good.clone();
        value["payload"] = rewrite(value["payload"].as_str().expect("text")).into();
        let sig = value["signatures"][0]["sig"].as_str().expect("text").to_owned();
        value["signatures"][0]["sig"] = rewrite(&sig).into();
        value.to_string().into_bytes()
    };
    let digest = root().verify(good.to_string().as_bytes()).expect("good").digest();
    for rewrite in [
        |text: &str| text.replace('+', "-").replace('/', "_"),
        |text: &str| text.trim_end_matches('=').to_owned(),
        |text: &str| text.replace('+', "-").replace('/', "_").trim_end_matches('=').to_owned(),
    ] {
        let verified = root().verify(&rewritten(rewrite)).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(verified.digest(), digest, "the choice of base64 does not change the address");
    }
    let mixed = refusal(&rewritten(|text| text.replacen('+', "-", 1)));
    assert!(mixed.to_string().contains("mixes"), "{mixed}");
    for broken in [|text: &str| format!("{text}\n"), |text: &str| format!(" {text}"), |text: &str| format!("{text}=")] {
        let error = refusal(&rewritten(broken));
        assert!(matches!(error, TrustError::Invalid { .. }), "{error}");
    }
}

#[test]
fn the_keyid_decides_nothing() {
    let bob = key("bob").public().id();
    for keyid in [json!(bob), json!(""), json!("anything"), json!(key("mallory").public().id())] {
        let bytes = changed(|value| value["signatures"][0]["keyid"] = keyid.clone());
        let verified = root().verify(&bytes).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(verified.signers().iter().collect::<Vec<_>>(), [&key("alice").public()], "{keyid}");
    }
    let without = changed(|value| drop(value["signatures"][0].as_object_mut().expect("object").remove("keyid")));
    assert!(root().verify(&without).is_ok());
    // The other way round: a known keyid over an unknown key's signature.
    let alice = key("alice").public().id();
    let foreign = certificate(&certification(), &["mallory"]);
    let mut value: Value = serde_json::from_slice(&foreign.to_json()).expect("JSON");
    value["signatures"][0]["keyid"] = alice.into();
    let error = refusal(value.to_string().as_bytes());
    assert!(matches!(error, TrustError::UnknownSigner { signatures: 1, .. }), "{error}");
}

#[test]
fn a_signature_is_over_the_bytes_and_not_over_their_meaning() {
    let good = certificate(&certification(), &["alice"]);
    let value: Value = serde_json::from_slice(good.payload()).expect("JSON");
    let pretty = serde_json::to_vec_pretty(&value).expect("JSON");
    let bytes = changed(|value| {
        value["payload"] = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &pretty).into();
    });
    let error = refusal(&bytes);
    assert!(matches!(error, TrustError::UnknownSigner { .. }), "{error}");
    assert!(error.to_string().contains("unaltered"), "{error}");
}

#[test]
fn the_payload_type_is_signed_and_must_be_that_of_statements() {
    for other in ["application/json", "application/vnd.in-toto+JSON", "", "application/vnd.in-toto+json "] {
        let error = refusal(&changed(|value| value["payloadType"] = other.into()));
        assert!(matches!(&error, TrustError::PayloadType { .. }), "{error}");
    }
    // Signed under another type and relabelled.
    let good = certificate(&certification(), &["alice"]);
    let foreign = ed25519_signature(&pae("application/json", good.payload()));
    let error = refusal(&changed(|value| value["signatures"][0]["sig"] = foreign.into()));
    assert!(matches!(error, TrustError::UnknownSigner { .. }), "{error}");
}

fn ed25519_signature(message: &[u8]) -> String {
    use ed25519_dalek::Signer;
    use ed25519_dalek::pkcs8::DecodePrivateKey;
    let key = ed25519_dalek::SigningKey::from_pkcs8_pem(&key("alice").to_pem()).expect("a key");
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, key.sign(message).to_bytes())
}

#[test]
fn damaged_and_ambiguous_envelopes_are_refused() {
    let good = String::from_utf8(certificate(&certification(), &["alice"]).to_json()).expect("text");
    let mut bytes = good.clone().into_bytes();
    bytes.truncate(bytes.len() - 2);
    assert!(matches!(refusal(&bytes), TrustError::Json { .. }));
    for (text, said) in [
        (format!("{good}{good}"), "trailing"),
        (format!("{good} x"), "trailing"),
        (good.replacen('{', "{\"payload\":\"AA==\",", 1), "duplicate key `payload`"),
        (good.replacen("{\"keyid\"", "{\"sig\":\"AA==\",\"keyid\"", 1), "duplicate key `sig`"),
        (format!("{}{}{}", "[".repeat(40), good, "]".repeat(40)), "nested deeper than 32"),
        (good.replacen('{', &format!("{{\"x\":{}{},", "[".repeat(40), "]".repeat(40)), 1), "nested deeper than 32"),
        (format!("\u{feff}{good}"), "expected value"),
        (format!("[{good}]"), "stands where an object"),
        (String::new(), "EOF"),
    ] {
        let error = refusal(text.as_bytes());
        assert!(error.to_string().contains(said), "{said}: {error}");
    }
    for (key, value, said) in [
        ("signatures", json!([]), "1 to 64"),
        ("signatures", json!({}), "list"),
        ("signatures", json!(["AA=="]), "object"),
        ("signatures", json!([{ "keyid": 7, "sig": "AA==" }]), "signatures[0].keyid"),
        ("signatures", json!([{ "keyid": "a" }]), "signatures[0].sig: is missing"),
        ("signatures", Value::Array(vec![json!({ "sig": "AA==" }); 65]), "1 to 64"),
        ("signatures", Value::Array(vec![json!({ "sig": "AA==" }); 17]), "limits.signatures"),
        ("payload", json!(null), "text"),
        ("payload", json!("AB=="), "base64"),
    ] {
        let error = refusal(&changed(|envelope| envelope[key] = value));
        assert!(error.to_string().contains(said), "{said}: {error}");
    }
    for key in ["payload", "payloadType", "signatures"] {
        let error = refusal(&changed(|value| drop(value.as_object_mut().expect("object").remove(key))));
        assert!(error.to_string().contains("is missing"), "{error}");
    }
}

#[test]
fn size_is_limited_before_anything_is_read() {
    let large = changed(|value| value["x"] = "x".repeat(MAX_ENVELOPE_BYTES).into());
    assert!(matches!(refusal(&large), TrustError::TooLarge { limit: MAX_ENVELOPE_BYTES, .. }));
    assert!(matches!(Envelope::parse(&large), Err(TrustError::TooLarge { .. })));
    let mut value = root_value(1);
    value["limits"] = json!({ "envelope_bytes": 1024, "signatures": 1 });
    let strict = parse_root(&value);
    let padded = changed(|value| value["x"] = "x".repeat(1_024).into());
    assert!(root().verify(&padded).is_ok(), "unknown fields are ignored");
    assert!(matches!(strict.verify(&padded), Err(TrustError::TooLarge { limit: 1_024, .. })));
    let two = certificate(&certification(), &["alice", "bob"]);
    assert!(strict.verify(&two.to_json()).is_err());
}

#[test]
fn signatures_of_other_sorts_are_passed_over() {
    let bytes = changed(|value| {
        let good = value["signatures"][0].clone();
        value["signatures"] = json!([{ "sig": "" }, { "sig": "AAAA" }, good]);
    });
    let verified = root().verify(&bytes).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(verified.signers().len(), 1);
}

#[test]
fn an_envelope_goes_out_and_in_unchanged() {
    let mut envelope = certificate(&certification(), &["alice", "bob"]);
    assert_eq!(Envelope::parse(&envelope.to_json()).as_ref(), Ok(&envelope));
    let before = envelope.clone();
    envelope.add_signature(&key("alice")).expect("room");
    assert_eq!(envelope.signatures().len(), 2, "a key's signature takes the place of its earlier one");
    assert_eq!(envelope.digest(), before.digest());
    assert_eq!(verified(&root(), &envelope).signers().len(), 2);
    assert!(standing(&root(), &[envelope]).certified);
}
