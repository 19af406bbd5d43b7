//! Who may sign a bundle.

use fitment_catalog::Digest;
use fitment_trust::{BUNDLE_TYPE, Envelope, TrustError};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::{
    certificate, certification, envelope, now, parse_root, root, root_value, time, verified, version,
};

fn refused(root: &Value, envelope: &Envelope, manifest: &Digest, at: Timestamp) {
    let root = parse_root(root);
    let error = root.admit_bundle(&verified(&root, envelope), manifest, at);
    assert!(matches!(error, Err(TrustError::BundleNotAdmitted { .. })), "{error:?}");
}

#[test]
fn only_a_role_that_may_bundle_and_a_key_inside_its_window_admit_one() {
    let mut value = root_value(1);
    value["roles"][1]["may_bundle"] = json!(true);
    let may = parse_root(&value);
    let signed = |by: &str| envelope(&[version()], BUNDLE_TYPE, &json!({}), &[by]);
    let admitted = may.admit_bundle(&verified(&may, &signed("sam")), &version(), now());
    assert_eq!(admitted.expect("admitted"), ["sam"]);
    refused(&value, &signed("alice"), &version(), now());
    refused(&root_value(1), &signed("sam"), &version(), now());
    refused(&value, &signed("sam"), &Digest::of(b"another"), now());
    refused(&value, &signed("sam"), &version(), time("2028-01-01T00:00:00Z"));
    // A certificate is no bundle's signature, whoever signed it.
    refused(&value, &certificate(&certification(), &["sam"]), &version(), now());
}

#[test]
fn a_root_keeps_its_digest_where_nobody_may_bundle() {
    let mut value = root_value(1);
    value["roles"][0]["may_bundle"] = json!(false);
    assert_eq!(parse_root(&value).digest(), root().digest());
    value["roles"][0]["may_bundle"] = json!(true);
    assert_ne!(parse_root(&value).digest(), root().digest());
    assert_eq!(parse_root(&parse_root(&value).to_value()), parse_root(&value));
}
