//! Reading documents: all faults at once, with their places, and no secret in any of them.

use fitment_access::{AccessError, ApiKey, KEY_RANDOMNESS};

use crate::support::{at, faults, good, load, load_with};

#[test]
fn all_faults_are_listed_with_their_places() {
    let said = faults(
        r#"
version: 2
tenants: [retail, Retail]
principal: []
principals:
  - {id: alice, tenant: bank, grants: [{role: king}, {role: reader, effect: maybe}, {namespace: [a]}]}
  - {id: alice, limits: {requests_per_second: 0, burst: 0, concurrent: 1.5}}
  - {id: reader, groups: [auditor]}
  - {grants: [{role: reader, namespaces: []}, {role: reader, namespaces: ["*", a]}, {role: reader, labels: {}}]}
certificates:
  - {principal: nobody, san_uri: a, subject_cn: b}
unix:
  - {principal: alice}
  - {principal: alice, uid: 1, gid: 2}
  - {principal: alice, uid: -1}
anonymous: {tenant: default}
policies: [absent.cedar]
"#,
        &[],
    );
    for expected in [
        "access.yaml: version: the number `2` is no whole number from 1 to 1",
        "tenants[1]: `Retail`: use 1 to 63",
        "principal: unknown key; known keys are version, tenants, principals",
        "principals[0].tenant: there is no tenant `bank`",
        "principals[0].grants[0].role: `king` is no role; use one of reader, publisher",
        "principals[0].grants[1].effect: `maybe` is no effect",
        "principals[0].grants[2].namespace: unknown key",
        "principals[0].grants[2].role: is missing",
        "principals[1].id: a second principal has the id `alice`",
        "principals[1].limits.requests_per_second: the number `0` is no number above 0",
        "principals[1].limits.burst: the number `0` is no whole number",
        "principals[1].limits.concurrent: the number `1.5`",
        "principals[2].id: `reader` has a meaning of its own",
        "`auditor` is a role and no group",
        "principals[3].id: is missing",
        "principals[3].grants[0].namespaces: has 0 items",
        "principals[3].grants[1].namespaces: `*` means all of them",
        "principals[3].grants[2].labels: names no labels",
        "certificates[0].principal: there is no principal `nobody`",
        "certificates[0]: has 2 of san_uri",
        "unix[0]: give one of uid and gid",
        "unix[1]: give one of uid and gid",
        "unix[2].uid: the number `-1`",
        "anonymous.grants: is missing",
        "policies[0]: `absent.cedar` cannot be read",
    ] {
        assert!(said.contains(expected), "{expected}\n\n{said}");
    }
}

#[test]
fn at_most_two_keys_of_a_principal_are_in_force_at_once() {
    let key = |seed: u8| ApiKey::generate(&[seed; KEY_RANDOMNESS]);
    let document = |windows: &[(&str, Option<&str>)]| {
        let mut text = "version: 1\nprincipals: [{id: alice}]\napi_keys:\n".to_owned();
        for (i, (created, expires)) in (1..).zip(windows) {
            let entry = key(i).entry("alice", at(created), expires.map(at));
            text.extend(entry.lines().map(|line| format!("  {line}\n")));
        }
        text
    };
    let (jan, feb, mar) = ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z");
    assert!(load(&document(&[(jan, None), (feb, None)])).is_ok());
    assert!(load(&document(&[(jan, Some(mar)), (feb, None), (mar, None)])).is_ok(), "one ends as another begins");
    let said = faults(&document(&[(jan, None), (mar, None), (feb, None)]), &[]);
    assert!(said.contains("principal `alice` has more than 2 keys at the same time"), "{said}");
    assert!(faults(&document(&[(feb, Some(jan))]), &[]).contains("expires before it is created"));
    let twice = document(&[(jan, None)]) + document(&[(jan, None)]).split_once("api_keys:\n").expect("keys").1;
    assert!(faults(&twice, &[]).contains("api_keys[1]: a second key has this prefix"));
}

#[test]
fn a_key_in_the_wrong_place_is_not_repeated() {
    let key = ApiKey::generate(&[7; KEY_RANDOMNESS]);
    let secret = key.reveal();
    let said = faults(
        &format!(
            "version: 1\nprincipals: [{{id: alice}}]\napi_keys:\n  \
             - {{prefix: {secret}, sha256: {secret}, principal: alice, created: \"2026-01-01T00:00:00Z\"}}\n"
        ),
        &[],
    );
    assert!(said.contains("api_keys[0].prefix: is no prefix") && said.contains("sha256: is no sha256"), "{said}");
    assert!(!said.contains(&secret[21..40]), "{said}");
}

#[test]
fn a_summary_counts_what_there_is() {
    let access = good(
        "{\"version\": 1, \"tenants\": [\"retail\"], \"principals\": [{\"id\": \"alice\", \"tenant\": \"retail\"}], \
          \"unix\": [{\"uid\": 1, \"principal\": \"alice\"}]}",
    );
    let summary = access.summary();
    assert_eq!(summary.tenants, ["default", "retail"]);
    assert_eq!((summary.principals, summary.unix, summary.anonymous), (1, 1, false));
    assert_eq!(access.principal("alice").expect("listed").tenant(), "retail");
    assert!(access.principal("bob").is_none());
}

#[test]
fn files_that_are_named_are_bounded() {
    let long = "x".repeat(fitment_access::MAX_DOCUMENT_BYTES + 1);
    let said = load_with("version: 1\npolicies: [a.cedar]\n", &[("a.cedar", &long)]).expect_err("too long");
    assert!(said.to_string().contains("bytes, at most"), "{said}");
    assert!(matches!(load(&long), Err(AccessError::Document(_))));
}

#[test]
fn the_manuals_example_is_a_document() {
    let manual = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/authorization.md");
    let manual = std::fs::read_to_string(manual).expect("the manual");
    let block = |mark: &str| {
        let (_, rest) = manual.split_once(mark).expect("a marker");
        let (_, rest) = rest.split_once("```").expect("a block");
        let (_, rest) = rest.split_once('\n').expect("a language");
        rest.split_once("```").expect("an end").0.to_owned()
    };
    let files = [("corp.jwks.json", block("<!-- example: jwks -->")), ("org.cedar", block("<!-- example: cedar -->"))];
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    let access = load_with(&block("<!-- example: access -->"), &files).expect("the manual's example");
    assert!(!access.summary().policies.is_empty() && access.summary().api_keys > 0);
}
