//! in-toto statements: what counts as a subject, what is ignored, what is refused.

use fitment_catalog::Digest;
use fitment_trust::{
    CERTIFICATION_TYPE, Envelope, Predicate, REVOCATION_TYPE, STATEMENT_TYPE, Statement, Subject, TrustError,
};
use serde_json::{Value, json};

use crate::support::{certification, key, revocation_of, subjects, verification_result, version};

fn statement() -> Value {
    json!({
        "_type": STATEMENT_TYPE,
        "subject": [{ "name": "payments/card-checkout@1.2.0", "digest": { "sha256": "11".repeat(32) } }],
        "predicateType": CERTIFICATION_TYPE,
        "predicate": certification(),
    })
}

fn parse(value: &Value) -> Result<Statement, TrustError> {
    Statement::parse(value.to_string().as_bytes())
}

#[test]
fn subjects_are_matched_by_sha256_alone() {
    let other = Digest::of(b"other");
    let mut value = statement();
    value["subject"] = json!([
        { "name": other.to_string(), "digest": { "sha256": "22".repeat(32) } },
        { "digest": { "sha512": "11".repeat(64) } },
        { "name": "the one", "uri": "pkg:x", "digest": { "sha1": "00", "sha256": "11".repeat(32) } },
        { "digest": { "sha256": "AA".repeat(32) } },
        { "digest": { "sha256": "11".repeat(31) } },
    ]);
    let statement = parse(&value).unwrap_or_else(|error| panic!("{error}"));
    assert!(statement.is_about(&version()));
    assert!(!statement.is_about(&other), "a name is no digest");
    let upper: Digest = format!("sha256:{}", "aa".repeat(32)).parse().expect("digest");
    assert!(!statement.is_about(&upper), "only lower case is the digest's form");
    assert_eq!(statement.subjects().iter().filter(|subject| subject.digest.is_some()).count(), 2);
}

#[test]
fn unknown_fields_are_ignored_and_unknown_types_are_kept_apart() {
    let mut value = statement();
    value["later"] = json!({ "x": 1 });
    value["subject"][0]["annotations"] = json!({});
    value["predicate"]["later"] = json!([1]);
    value["predicate"]["standards"][0]["later"] = json!(null);
    assert!(matches!(parse(&value).expect("read").predicate(), Predicate::Certification(_)));
    for uri in ["https://fitment.dev/certification/v2", "https://in-toto.io/attestation/svr/v0.1", ""] {
        value["predicateType"] = uri.into();
        assert_eq!(parse(&value).expect("read").predicate(), &Predicate::Other(uri.to_owned()));
    }
    value["predicate"].take();
    value.as_object_mut().expect("object").remove("predicate");
    assert!(parse(&value).is_ok(), "in-toto lets a predicate be absent");
}

#[test]
fn verification_results_are_read_in_intotos_form() {
    let mut value = statement();
    value["predicateType"] = fitment_trust::VERIFICATION_RESULT_TYPE.into();
    value["predicate"] = verification_result();
    value["predicate"]["timeCreated"] = "1985-04-12T23:20:50.52Z".into();
    value["predicate"]["verifier"]["policies"] = json!([{ "uri": "https://example.com/policy" }]);
    let statement = parse(&value).unwrap_or_else(|error| panic!("{error}"));
    let Predicate::VerificationResult(result) = statement.predicate() else { panic!("a verification result") };
    assert_eq!(result.verifier, "https://verify.example/v1");
    assert_eq!(result.time_created.to_string(), "1985-04-12T23:20:50.52Z");
    assert_eq!(result.properties, ["SLSA_BUILD_LEVEL_3", "OTHER"]);
}

#[test]
fn broken_statements_are_refused_with_a_path() {
    for (path, replaced, said) in [
        ("_type", json!("https://in-toto.io/Statement/v0.1"), "_type: is not"),
        ("_type", json!(1), "_type: the number `1` stands where text"),
        ("subject", json!([]), "subject: has 0 items"),
        ("subject", json!({}), "subject: an object of 0 stands where a list"),
        ("subject", json!([{ "name": "x" }]), "subject[0].digest: is missing"),
        ("subject", json!([{ "digest": { "sha256": 1 } }]), "subject[0].digest.sha256"),
        ("predicateType", json!(null), "predicateType"),
        ("predicate", json!([]), "predicate: a list of 0 stands where an object"),
    ] {
        let mut value = statement();
        value[path] = replaced;
        let error = parse(&value).expect_err(said).to_string();
        assert!(error.contains(said), "{said}: {error}");
    }
    for (field, replaced, said) in [
        ("standards", json!([]), "predicate.standards: has 0 items"),
        ("standards", json!([{ "standard": "PCI" }]), "predicate.standards[0].standard: `PCI`"),
        ("standards", json!([{ "standard": "pci", "requirements": [] }]), "requirements: has 0 items"),
        ("standards", json!([["pci", ["1"]]]), "standards[0]: a list of 2 stands where an object"),
        ("valid_until", json!("2026-01-01T00:00:00Z"), "predicate.valid_until: 2026-01-01T00:00:00Z is not after"),
        ("valid_until", json!("2027-02-30T00:00:00Z"), "no instant"),
        ("valid_from", json!("2026-01-01T00:00:00+01:00"), "write it in UTC"),
        ("valid_from", json!("2026-01-01"), "write it in UTC"),
        ("conditions", json!(["a\u{202e}b"]), "control character U+202E"),
        (
            "evidence",
            json!([{ "kind": "hearsay", "digest": version().to_string(), "media_type": "a/b" }]),
            "use one of",
        ),
        ("evidence", json!([{ "kind": "audit", "digest": "11", "media_type": "a/b" }]), "sha256:"),
        ("evidence", json!([{ "kind": "audit", "digest": version().to_string(), "media_type": "pdf" }]), "media type"),
    ] {
        let mut value = statement();
        value["predicate"][field] = replaced;
        let error = parse(&value).expect_err(said).to_string();
        assert!(error.contains(said), "{said}: {error}");
    }
}

#[test]
fn a_revocation_names_its_targets_as_subjects() {
    let target = json!({ "version": version().to_string() });
    assert_eq!(revocation_of(&target, version(), "sam").signatures().len(), 1);
    let predicate = json!({ "target": target, "justification": "x" });
    let error =
        Statement::compose(&subjects(&[Digest::of(b"other")]), REVOCATION_TYPE, &predicate).expect_err("refused");
    assert!(error.to_string().contains("is no subject"), "{error}");
    let empty = json!({ "target": {}, "justification": "x" });
    let error = Statement::compose(&subjects(&[version()]), REVOCATION_TYPE, &empty).expect_err("refused");
    assert!(error.to_string().contains("target: names nothing"), "{error}");
}

#[test]
fn only_statements_are_signed() {
    assert!(Envelope::sign(b"{}".to_vec(), &key("alice")).is_err());
    assert!(Statement::compose(&[], CERTIFICATION_TYPE, &certification()).is_err());
    let unnamed = [Subject { name: None, digest: None }];
    assert!(Statement::compose(&unnamed, CERTIFICATION_TYPE, &certification()).is_ok());
    let large = json!({ "x": "x".repeat(800 * 1024) });
    assert!(matches!(
        Statement::compose(&subjects(&[version()]), "https://example.com/other", &large),
        Err(TrustError::TooLarge { .. })
    ));
}

#[test]
fn predicates_are_written_as_they_are_read() {
    let mut full = certification();
    full["standards"][0]["level"] = "full".into();
    full["conditions"] = json!(["rotate keys yearly"]);
    full["evidence"] = json!([{ "kind": "sarif", "digest": version().to_string(),
        "media_type": "application/sarif+json", "uri": "https://ci.example/1" }]);
    let mut value = statement();
    value["predicate"] = full.clone();
    let read = parse(&value).expect("read");
    let Predicate::Certification(certification) = read.predicate() else { panic!("a certification") };
    assert_eq!(certification.to_value(), full);
    let whole = json!({ "target": { "version": version().to_string(), "certificate": version().to_string() },
        "justification": "x", "known_since": "2026-01-01T00:00:00Z", "origin": "CVE-2026-1",
        "document": version().to_string() });
    value["predicateType"] = REVOCATION_TYPE.into();
    value["predicate"] = whole.clone();
    let read = parse(&value).expect("read");
    let Predicate::Revocation(claim) = read.predicate() else { panic!("a revocation") };
    assert_eq!(claim.to_value(), whole);
    value["predicateType"] = fitment_trust::VERIFICATION_RESULT_TYPE.into();
    value["predicate"] = verification_result();
    let read = parse(&value).expect("read");
    let Predicate::VerificationResult(result) = read.predicate() else { panic!("a result") };
    assert_eq!(result.to_value(), verification_result());
}
