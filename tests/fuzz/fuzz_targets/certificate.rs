//! A certificate: the envelope's bytes, and a statement made from bytes under a signature that the root believes, so that
//! what stands behind the signature is reached.
#![no_main]

use std::sync::LazyLock;

use arbitrary::Unstructured;
use fitment_fuzz::{choice, component, edit, key, now, refused, root, version};
use fitment_trust::{
    CERTIFICATION_TYPE, Envelope, PAYLOAD_TYPE, PrivateKey, REVOCATION_TYPE, Revocation, Statement, Subject, TrustRoot,
    VERIFICATION_RESULT_TYPE, assess, pae,
};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

static ROOT: LazyLock<TrustRoot> = LazyLock::new(root);
static KEY: LazyLock<PrivateKey> = LazyLock::new(key);

fn statement(kind: u8) -> Value {
    let (predicate_type, predicate) = match kind % 3 {
        0 => (
            CERTIFICATION_TYPE,
            json!({ "standards": [{ "standard": "pci" }, { "standard": "gdpr", "requirements": ["1", "6.4"] }],
                "valid_from": "2026-01-01T00:00:00Z", "valid_until": "2027-01-01T00:00:00Z" }),
        ),
        1 => (REVOCATION_TYPE, json!({ "target": { "version": version().to_string() }, "justification": "withdrawn" })),
        _ => (
            VERIFICATION_RESULT_TYPE,
            json!({ "verifier": { "id": "https://v.example/1", "policies": [] }, "timeCreated": "2026-06-01T00:00:00Z",
                "properties": ["SLSA_BUILD_LEVEL_3"] }),
        ),
    };
    let subject = Subject { name: Some("x".into()), digest: Some(version()) };
    let made = Statement::compose(&[subject], predicate_type, &predicate);
    let fallback = || {
        json!({ "_type": "https://in-toto.io/Statement/v1", "subject": [{ "digest": { "sha256": version().to_hex() } }],
            "predicateType": predicate_type, "predicate": predicate })
    };
    made.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_else(fallback)
}

/// An envelope about a payload, signed with the key that the root believes; nothing for what is no statement.
fn signed(payload: &[u8]) -> Vec<u8> {
    match Envelope::sign(payload.to_vec(), &KEY) {
        Ok(envelope) => envelope.to_json(),
        Err(error) => {
            refused(&error, payload.len());
            Vec::new()
        }
    }
}

fn judge(bytes: &[u8]) {
    match Envelope::parse(bytes) {
        Err(error) => refused(&error, bytes.len()),
        Ok(envelope) => {
            assert_eq!(Envelope::parse(&envelope.to_json()).as_ref(), Ok(&envelope));
            assert!(pae(PAYLOAD_TYPE, envelope.payload()).ends_with(envelope.payload()));
            if let Err(error) = Statement::parse(envelope.payload()) {
                refused(&error, envelope.payload().len());
            }
        }
    }
    let Ok(certificate) = ROOT.verify(bytes) else { return };
    assert!(!certificate.signers().is_empty(), "believed and signed by nobody");
    let mut revocations = Vec::new();
    if let Ok(revocation) = ROOT.admit(&certificate, now()) {
        assert_eq!(Revocation::from_value(&revocation.to_value()).as_ref(), Ok(&revocation));
        revocations.push(revocation);
    }
    let standing = assess(&version(), &component(), std::slice::from_ref(&certificate), &revocations, &ROOT, now());
    if standing.certified {
        assert!(certificate.statement().is_about(&version()), "certified by a statement about something else");
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, rest)) = choice(bytes) else { return };
    match kind % 4 {
        0 => judge(rest),
        1 => judge(&signed(rest)),
        kind => {
            let mut u = Unstructured::new(rest);
            let mut document = statement(kind.wrapping_add(kind >> 2));
            let edits = u.int_in_range(0..=3).unwrap_or(0);
            for _ in 0..edits {
                if edit(&mut u, &mut document).is_err() {
                    break;
                }
            }
            judge(&signed(document.to_string().as_bytes()));
        }
    }
});
