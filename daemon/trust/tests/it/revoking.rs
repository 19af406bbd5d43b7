//! Who may revoke, and that what is revoked stays so.

use fitment_catalog::{ComponentName, Digest};
use fitment_trust::{Reason, Revocation, TrustError, assess};
use serde_json::json;

use crate::support::{
    certificate, certification, component, now, parse_root, revocation_of, root, root_value, standing_at, time,
    verified, version,
};

fn of_version(signer: &str) -> fitment_trust::Envelope {
    revocation_of(&json!({ "version": version().to_string() }), version(), signer)
}

fn admitted(envelope: &fitment_trust::Envelope) -> Revocation {
    root().admit(&verified(&root(), envelope), now()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_revoked_version_is_not_certified_whatever_it_has() {
    let certificates = [certificate(&certification(), &["alice", "bob", "carol"])];
    let revocation = admitted(&of_version("sam"));
    assert_eq!(revocation.keys(), ["sam"]);
    assert_eq!(revocation.root(), root().digest());
    let standing = standing_at(&root(), &certificates, std::slice::from_ref(&revocation), now());
    assert!(!standing.certified && standing.changes_at.is_none());
    assert_eq!(standing.revoked_by, [revocation.digest()]);
    assert!(standing.requirements[0].covered, "what it would have had is still told");
}

#[test]
fn a_revoked_certificate_never_counts_and_another_one_does() {
    let first = certificate(&certification(), &["alice"]);
    let mut renewed = certification();
    renewed["valid_until"] = "2026-09-01T00:00:00Z".into();
    let second = certificate(&renewed, &["alice"]);
    let revocation =
        admitted(&revocation_of(&json!({ "certificate": first.digest().to_string() }), first.digest(), "sam"));
    let revocations = [revocation];
    let standing = standing_at(&root(), std::slice::from_ref(&first), &revocations, now());
    assert!(!standing.certified);
    assert_eq!(standing.findings[0].reason, Reason::Revoked { by: revocations[0].digest() });
    // More signatures on the same statement do not bring it back.
    let signed_again = certificate(&certification(), &["bob", "carol"]);
    assert!(!standing_at(&root(), &[signed_again], &revocations, now()).certified);
    let with_second = standing_at(&root(), &[first, second], &revocations, now());
    assert_eq!(with_second.certified_until(), Some(time("2026-09-01T00:00:00Z")));
}

#[test]
fn only_a_role_that_may_revoke_revokes() {
    let certificate_of_alice = verified(&root(), &of_version("alice"));
    let error = root().admit(&certificate_of_alice, now()).expect_err("refused");
    assert!(matches!(error, TrustError::NotAdmitted { .. }), "{error}");
    assert!(matches!(root().verify(&of_version("mallory").to_json()), Err(TrustError::UnknownSigner { .. })));
    let no_revocation = verified(&root(), &certificate(&certification(), &["alice"]));
    let error = root().admit(&no_revocation, now()).expect_err("refused");
    assert!(error.to_string().contains("certification/v1"), "{error}");
}

#[test]
fn the_revokers_key_must_be_valid_when_it_is_recorded() {
    let signed = verified(&root(), &of_version("sam"));
    for (at, accepted) in [
        ("2024-12-31T23:59:59Z", false),
        ("2025-01-01T00:00:00Z", true),
        ("2027-12-31T23:59:59Z", true),
        ("2028-01-01T00:00:00Z", false),
    ] {
        assert_eq!(root().admit(&signed, time(at)).is_ok(), accepted, "{at}");
    }
}

#[test]
fn a_revocation_reaches_as_far_as_its_signers_role() {
    let mut value = root_value(1);
    value["roles"][1]["components"] = json!(["ui/*"]);
    let root = parse_root(&value);
    let revocation = root.admit(&verified(&root, &of_version("sam")), now()).expect("accepted");
    let elsewhere: ComponentName = "ui/grid".parse().expect("name");
    assert!(revocation.is_for(&elsewhere) && !revocation.is_for(&component()));
    let standing = standing_at(&root, &[certificate(&certification(), &["alice"])], &[revocation], now());
    assert!(standing.certified);
    assert_eq!(standing.findings[0].reason, Reason::RevokerOutsideRole { key: "sam".to_owned() });
}

#[test]
fn a_later_root_does_not_bring_back_what_was_revoked() {
    let revocation = admitted(&of_version("sam"));
    let mut value = root_value(1);
    value["version"] = 4.into();
    value["keys"].as_array_mut().expect("keys").pop();
    value["roles"].as_array_mut().expect("roles").pop();
    let later = parse_root(&value);
    later.succeeds(&root()).expect("a later root");
    let certificates = [verified(&later, &certificate(&certification(), &["alice"]))];
    assert!(assess(&version(), &component(), &certificates, &[], &later, now()).certified);
    assert!(!assess(&version(), &component(), &certificates, &[revocation], &later, now()).certified);
}

#[test]
fn a_recorded_revocation_is_read_back() {
    let revocation = admitted(&of_version("sam"));
    assert_eq!(Revocation::from_value(&revocation.to_value()), Ok(revocation.clone()));
    let mut damaged = revocation.to_value();
    damaged["components"] = json!(["payments"]);
    assert!(Revocation::from_value(&damaged).is_err());
    assert_eq!(revocation.claim().version, Some(version()));
    assert_ne!(revocation.digest(), Digest::of(b""));
}
