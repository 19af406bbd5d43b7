//! When a version is certified, until when, and what is said when it is not.

use fitment_catalog::{ComponentName, Digest};
use fitment_trust::{CERTIFICATION_TYPE, Envelope, Finding, Reason, TrustRoot, assess, coverage};
use serde_json::{Value, json};

use crate::support::{
    certificate, certification, component, envelope, key, now, parse_root, result, root, root_value, standing,
    standing_at, time, verification_result, verified, version,
};

fn reasons(root: &TrustRoot, envelopes: &[Envelope]) -> Vec<Reason> {
    let standing = standing(root, envelopes);
    assert!(!standing.certified, "{standing:?}");
    standing.findings.into_iter().map(|Finding { reason, .. }| reason).collect()
}

/// The certification with some fields replaced.
fn with(fields: &Value) -> Value {
    let mut value = certification();
    for (key, field) in fields.as_object().expect("object") {
        value[key] = field.clone();
    }
    value
}

/// The root with a value replaced, by JSON pointer.
fn root_with(threshold: u64, pointer: &str, value: Value) -> TrustRoot {
    let mut root = root_value(threshold);
    let (parent, key) = pointer.rsplit_once('/').expect("pointer");
    root.pointer_mut(parent).expect("parent")[key] = value;
    parse_root(&root)
}

#[test]
fn a_certificate_by_the_right_key_certifies() {
    let certificate = certificate(&with(&json!({ "conditions": ["b", "a"] })), &["alice"]);
    let standing = standing(&root(), std::slice::from_ref(&certificate));
    assert!(standing.certified);
    assert_eq!(standing.certified_until(), Some(time("2027-01-01T00:00:00Z")));
    assert_eq!(standing.conditions, ["a", "b"]);
    assert_eq!(standing.findings, []);
    assert_eq!((standing.root_version, standing.root_digest), (3, root().digest()));
    let [coverage] = &standing.requirements[..] else { panic!("one requirement") };
    assert_eq!((coverage.policy.as_str(), coverage.requirement.as_str()), ("payments", "pci-dss-4.0/6.4.3"));
    assert_eq!((coverage.threshold, coverage.covered, coverage.until), (1, true, standing.changes_at));
    assert_eq!(coverage.support[0].certificate, certificate.digest());
    assert_eq!(coverage.support[0].key, "alice");
    let shown = serde_json::to_value(&standing).expect("JSON");
    assert_eq!(shown["requirements"][0]["until"], "2027-01-01T00:00:00Z");
}

#[test]
fn nothing_certifies_nothing() {
    let standing = standing(&root(), &[]);
    assert!(!standing.certified && standing.changes_at.is_none());
    assert!(!standing.requirements[0].covered);
}

#[test]
fn a_component_without_a_policy_is_not_certified() {
    let everywhere = root_with(1, "/roles/0/components", json!(["*"]));
    let certificates = [verified(&everywhere, &certificate(&certification(), &["alice"]))];
    let elsewhere: ComponentName = "ui/grid".parse().expect("name");
    let standing = assess(&version(), &elsewhere, &certificates, &[], &everywhere, now());
    assert!(!standing.certified && standing.requirements.is_empty(), "{standing:?}");
}

#[test]
fn a_certificate_about_another_version_does_not_count() {
    let other = envelope(&[Digest::of(b"other")], CERTIFICATION_TYPE, &certification(), &["alice"]);
    assert_eq!(reasons(&root(), &[other]), [Reason::OtherVersion]);
    let both = envelope(&[Digest::of(b"other"), version()], CERTIFICATION_TYPE, &certification(), &["alice"]);
    assert!(standing(&root(), &[both]).certified, "any subject suffices");
}

#[test]
fn a_type_that_is_not_known_does_not_count() {
    let uri = "https://fitment.dev/certification/v2";
    let unknown = envelope(&[version()], uri, &certification(), &["alice"]);
    assert_eq!(reasons(&root(), &[unknown]), [Reason::UncountedType { type_uri: uri.to_owned() }]);
    let revocation = crate::support::revocation_of(&json!({ "version": version().to_string() }), version(), "alice");
    assert!(matches!(reasons(&root(), &[revocation])[..], [Reason::UncountedType { .. }]));
}

#[test]
fn a_key_that_was_taken_out_counts_no_more() {
    let certificates = [verified(&root(), &certificate(&certification(), &["alice"]))];
    let mut value = root_value(1);
    value["version"] = 4.into();
    value["keys"].as_array_mut().expect("keys").remove(0);
    value["roles"][0]["keys"] = json!(["bob", "carol"]);
    let later = parse_root(&value);
    later.succeeds(&root()).expect("a later root");
    let standing = assess(&version(), &component(), &certificates, &[], &later, now());
    assert!(!standing.certified);
    assert_eq!(standing.findings[0].reason, Reason::KeyNotInRoot { key: key("alice").public().id() });
    assert!(later.verify(&certificate(&certification(), &["alice"]).to_json()).is_err());
}

#[test]
fn a_key_counts_for_what_was_issued_inside_its_window() {
    let issued = time("2026-01-01T00:00:00Z");
    let outside = Reason::KeyOutsideWindow { key: "alice".to_owned(), issued };
    let good = || [certificate(&certification(), &["alice"])];
    for (field, instant, counts) in [
        ("not_before", "2026-01-01T00:00:00Z", true),
        ("not_before", "2026-01-01T00:00:00.000000001Z", false),
        // The window may have ended since.
        ("not_after", "2026-01-01T00:00:00.000000001Z", true),
        ("not_after", "2026-01-01T00:00:00Z", false),
    ] {
        let root = root_with(1, &format!("/keys/0/{field}"), json!(instant));
        if counts {
            assert!(standing(&root, &good()).certified, "{field} {instant}");
        } else {
            assert_eq!(reasons(&root, &good()), std::slice::from_ref(&outside), "{field} {instant}");
        }
    }
    // The same key listed again with a later window.
    let mut value = root_value(1);
    value["keys"][0]["not_after"] = "2025-06-01T00:00:00Z".into();
    let mut again = value["keys"][0].clone();
    again["id"] = "alice-2026".into();
    again["not_after"] = "2026-06-01T00:00:00Z".into();
    value["keys"].as_array_mut().expect("keys").push(again);
    value["roles"][0]["keys"] = json!(["alice", "alice-2026"]);
    let standing = standing(&parse_root(&value), &good());
    assert_eq!(standing.requirements[0].support[0].key, "alice-2026");
}

#[test]
fn a_key_counts_only_inside_its_role() {
    let good = || [certificate(&certification(), &["alice"])];
    let outside = Reason::OutsideRole { key: "alice".to_owned(), requirement: "pci-dss-4.0/6.4.3".to_owned() };
    let split = |roles: Value| {
        let mut value = root_value(1);
        value["roles"] = roles;
        parse_root(&value)
    };
    let rest = json!({ "id": "rest", "keys": ["bob"], "components": ["*"], "standards": ["*"] });
    for (role, counts) in [
        (json!({ "components": ["payments/*"], "standards": ["pci-dss-4.0"] }), true),
        (json!({ "components": ["payments/card-checkout"], "standards": ["*"] }), true),
        (json!({ "components": ["payments/card"], "standards": ["*"] }), false),
        (json!({ "components": ["pay/*", "ui/*"], "standards": ["*"] }), false),
        (json!({ "components": ["*"], "standards": ["pci-dss-3*", "gdpr"] }), false),
        (json!({ "components": ["*"], "properties": ["*"], "may_revoke": true }), false),
    ] {
        let mut role = role;
        role["id"] = "of-alice".into();
        role["keys"] = json!(["alice"]);
        let root = split(json!([role, rest]));
        if counts {
            assert!(standing(&root, &good()).certified, "{role}");
        } else {
            assert_eq!(reasons(&root, &good()), std::slice::from_ref(&outside), "{role}");
        }
    }
}

#[test]
fn validity_begins_and_ends_by_the_clock() {
    let certificates = [certificate(&certification(), &["alice"])];
    let at = |instant: &str| standing_at(&root(), &certificates, &[], time(instant));
    let before = at("2025-12-31T23:59:59.999999999Z");
    assert!(!before.certified);
    assert_eq!(before.changes_at, Some(time("2026-01-01T00:00:00Z")));
    assert_eq!(before.certified_until(), None);
    assert_eq!(before.findings[0].reason, Reason::NotYetValid { from: time("2026-01-01T00:00:00Z") });
    assert!(at("2026-01-01T00:00:00Z").certified);
    assert!(at("2026-12-31T23:59:59.999999999Z").certified);
    let after = at("2027-01-01T00:00:00Z");
    assert!(!after.certified && after.changes_at.is_none());
    assert_eq!(after.findings[0].reason, Reason::Expired { at: time("2027-01-01T00:00:00Z") });
}

#[test]
fn a_policy_can_ask_for_a_recent_certificate() {
    let root = root_with(1, "/policies/0/max_age_days", json!(30));
    let certificates = [certificate(&certification(), &["alice"])];
    let fresh = standing_at(&root, &certificates, &[], time("2026-01-30T23:59:59Z"));
    assert_eq!(fresh.certified_until(), Some(time("2026-01-31T00:00:00Z")));
    let too_old = Reason::TooOld { at: time("2026-01-31T00:00:00Z"), policy: "payments".to_owned() };
    assert_eq!(reasons(&root, &certificates), [too_old]);
}

#[test]
fn renewal_carries_on_without_a_gap() {
    let renewed = with(&json!({ "valid_from": "2026-12-01T00:00:00Z", "valid_until": "2027-12-01T00:00:00Z" }));
    let late = with(&json!({ "valid_from": "2028-01-01T00:00:00Z", "valid_until": "2028-12-01T00:00:00Z" }));
    let certificates =
        [certificate(&certification(), &["alice"]), certificate(&renewed, &["alice"]), certificate(&late, &["bob"])];
    // The window of the late one's key ends with 2027: it never counts.
    assert_eq!(standing(&root(), &certificates).certified_until(), Some(time("2027-12-01T00:00:00Z")));
    let root = root_with(1, "/keys/1/not_after", json!("2030-01-01T00:00:00Z"));
    let gap = standing_at(&root, &certificates, &[], time("2027-12-24T00:00:00Z"));
    assert!(!gap.certified);
    assert_eq!(gap.changes_at, Some(time("2028-01-01T00:00:00Z")));
}

#[test]
fn a_threshold_counts_different_keys() {
    let root = parse_root(&root_value(2));
    let other = with(&json!({ "valid_until": "2026-08-01T00:00:00Z" }));
    let twice = [certificate(&certification(), &["alice"]), certificate(&other, &["alice"])];
    let standing_twice = standing(&root, &twice);
    assert!(!standing_twice.certified, "two certificates by one key");
    assert_eq!(standing_twice.requirements[0].support.len(), 2);
    // One signature copied into another slot.
    let mut copied: Value = serde_json::from_slice(&twice[0].to_json()).expect("JSON");
    let signature = copied["signatures"][0].clone();
    copied["signatures"].as_array_mut().expect("list").push(signature.clone());
    copied["signatures"][1]["keyid"] = key("bob").public().id().into();
    let copied = Envelope::parse(copied.to_string().as_bytes()).expect("envelope");
    assert!(!standing(&root, &[copied]).certified, "one signature twice");
    let together = [certificate(&certification(), &["alice", "bob"])];
    assert!(standing(&root, &together).certified, "two keys on one certificate");
    let apart = [certificate(&certification(), &["alice"]), certificate(&other, &["carol"])];
    let standing_apart = standing(&root, &apart);
    assert_eq!(standing_apart.certified_until(), Some(time("2026-08-01T00:00:00Z")), "the first to end ends it");
    let foreign = [certificate(&certification(), &["alice", "mallory", "sam"])];
    assert!(!standing(&root, &foreign).certified, "an unknown key, and one of another role");
}

#[test]
fn one_key_under_two_ids_is_one_key() {
    let mut value = root_value(2);
    value["keys"][1]["public_key"] = value["keys"][0]["public_key"].clone();
    let root = parse_root(&value);
    let standing = standing(&root, &[certificate(&certification(), &["alice"])]);
    assert!(!standing.certified);
    // Two of the three ids are one key: with the third that makes two.
    value["policies"][0]["threshold"] = 3.into();
    let error = TrustRoot::parse("root.json", value.to_string().as_bytes(), fitment_catalog::Format::Json);
    assert!(error.expect_err("refused").to_string().contains("roles let 2 certify it"));
}

#[test]
fn what_is_covered_is_what_was_named() {
    let asks = |require: Value| root_with(1, "/policies/0/require", require);
    let says = |standards: Value| [certificate(&with(&json!({ "standards": standards })), &["alice"])];
    let whole = json!([{ "standard": "pci-dss-4.0" }]);
    let one = json!([{ "standard": "pci-dss-4.0", "requirements": ["6.4.3"] }]);
    let two = json!([{ "standard": "pci-dss-4.0", "requirements": ["6.4.3", "8.3"] }]);
    let full = json!([{ "standard": "pci-dss-4.0", "requirements": ["6.4.3"], "level": "full" }]);
    let needs_full = json!([{ "standard": "pci-dss-4.0", "requirements": ["6.4.3"], "levels": ["full", "more"] }]);
    let other = json!([{ "standard": "pci-dss-3.2", "requirements": ["6.4.3"] }]);
    for (asked, said, certified) in [
        (&whole, &whole, true),
        (&one, &whole, true),
        (&two, &whole, true),
        (&whole, &two, false),
        (&one, &two, true),
        (&two, &one, false),
        (&one, &other, false),
        (&one, &full, true),
        (&needs_full, &full, true),
        (&needs_full, &one, false),
    ] {
        assert_eq!(standing(&asks(asked.clone()), &says(said.clone())).certified, certified, "{asked} by {said}");
    }
    assert_eq!(reasons(&asks(one), &says(other)), [Reason::NotAskedFor]);
}

#[test]
fn all_that_is_covered_can_be_listed() {
    let standards = json!([{ "standard": "pci-dss-4.0", "requirements": ["6.4.3", "8.3"] }, { "standard": "pci-pin" }]);
    let said = certificate(&with(&json!({ "standards": standards })), &["alice"]);
    let certificates = [verified(&root(), &said)];
    let listed = |root: &TrustRoot, now| -> Vec<String> {
        let covered = coverage(&version(), &component(), &certificates, &[], root, now);
        assert!(covered.iter().all(|covered| covered.support[0].key == "alice" && covered.until > now));
        covered.into_iter().map(|covered| covered.what.to_string()).collect()
    };
    // Asked for or not; nothing outside the signer's role, and nothing that has ended.
    assert_eq!(listed(&root(), now()), ["pci-dss-4.0/6.4.3", "pci-dss-4.0/8.3", "pci-pin"]);
    let narrow = root_with(1, "/roles/0/standards", json!(["pci-dss-*"]));
    assert_eq!(listed(&narrow, now()), ["pci-dss-4.0/6.4.3", "pci-dss-4.0/8.3"]);
    assert_eq!(listed(&root(), time("2027-01-01T00:00:00Z")), [""; 0]);
}

#[test]
fn all_policies_that_match_must_be_satisfied() {
    let mut value = root_value(1);
    let baseline = json!({ "id": "baseline", "components": ["*"], "max_age_days": 90,
        "require": [{ "property": "SLSA_BUILD_LEVEL_3" }] });
    value["policies"].as_array_mut().expect("policies").push(baseline);
    let root = parse_root(&value);
    let pci = certificate(&certification(), &["alice"]);
    let slsa = result(&verification_result(), &["bob"]);
    assert!(!standing(&root, std::slice::from_ref(&pci)).certified);
    assert!(!standing(&root, std::slice::from_ref(&slsa)).certified);
    let both = standing(&root, &[pci, slsa]);
    assert_eq!(both.certified_until(), Some(time("2026-08-30T00:00:00Z")), "90 days after the verification");
    let mut foreign = verification_result();
    foreign["verifier"]["id"] = "https://other.example".into();
    let outside = standing(&root, &[result(&foreign, &["bob"])]);
    assert!(
        matches!(&outside.findings[0].reason, Reason::OutsideRole { key, requirement }
            if key == "bob" && requirement == "SLSA_BUILD_LEVEL_3"),
        "{outside:?}"
    );
}

/// The instants that `changes_at` names are those at which stepping through time finds a change.
#[test]
fn the_next_change_is_where_the_answer_changes() {
    let spans = [
        ("2026-01", "2026-04", "alice"),
        ("2026-03", "2026-06", "bob"),
        ("2026-05", "2026-09", "carol"),
        ("2026-08", "2026-10", "alice"),
    ];
    let certificates: Vec<Envelope> = spans
        .iter()
        .map(|(from, until, signer)| {
            let month = |month: &str| format!("{month}-01T00:00:00Z");
            certificate(&with(&json!({ "valid_from": month(from), "valid_until": month(until) })), &[signer])
        })
        .collect();
    let root = parse_root(&root_value(2));
    let at = |month: usize| standing_at(&root, &certificates, &[], time(&format!("2026-{month:02}-01T00:00:00Z")));
    let certified: Vec<usize> = (1..=12).filter(|month| at(*month).certified).collect();
    assert_eq!(certified, [3, 5, 8]);
    for month in 1..=12 {
        let standing = at(month);
        let next = (month + 1..=12).find(|later| at(*later).certified != standing.certified);
        assert_eq!(standing.changes_at, next.map(|next| time(&format!("2026-{next:02}-01T00:00:00Z"))), "{month}");
    }
}
