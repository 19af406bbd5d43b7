//! The trust root's file: forms, refusals, succession, digest.

use fitment_catalog::Format;
use fitment_trust::{TrustError, TrustErrorKind, TrustRoot};
use serde_json::{Value, json};

use crate::support::{parse_root, root, root_value};

const YAML: &str = "\
# The root of the other tests, as a person would write it.
version: 3
keys:
  - id: alice
    public_key: |
      -----BEGIN PUBLIC KEY-----
      MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
      -----END PUBLIC KEY-----
    not_before: 2025-01-01T00:00:00Z
    not_after: 2028-01-01T00:00:00Z
roles:
  - { id: assessors, keys: [alice], components: [payments/*], standards: [pci-*] }
policies:
  - id: payments
    components: [payments/*]
    require:
      - { standard: pci-dss-4.0, requirements: ['6.4.3', '8.3.1'] }
";

fn parse(text: &str) -> Result<TrustRoot, TrustError> {
    TrustRoot::parse("root.yaml", text.as_bytes(), Format::Auto)
}

#[test]
fn yaml_and_json_give_one_root_and_one_digest() {
    let yaml = parse(YAML).unwrap_or_else(|error| panic!("{error}"));
    let again = parse_root(&yaml.to_value());
    assert_eq!(again, yaml);
    assert_eq!(again.digest(), yaml.digest());
    assert_eq!(yaml.policies()[0].require.len(), 2);
    assert_eq!(yaml.policies()[0].threshold, 1);
    assert_eq!(yaml.limits().signatures, 16);
    let mut changed = yaml.to_value();
    changed["policies"][0]["max_age_days"] = 400.into();
    assert_ne!(parse_root(&changed).digest(), yaml.digest());
    let full = root();
    assert_eq!(parse_root(&full.to_value()), full);
}

#[test]
fn versions_only_rise() {
    let at = |version: u64, threshold: u64| {
        let mut value = root_value(threshold);
        value["version"] = version.into();
        parse_root(&value)
    };
    let installed = at(3, 1);
    assert_eq!(at(4, 2).succeeds(&installed), Ok(()));
    assert_eq!(at(3, 1).succeeds(&installed), Ok(()), "the same root again");
    for (offered, said) in [(at(3, 2), "contents differ"), (at(2, 1), "only rise"), (at(1, 3), "only rise")] {
        let error = offered.succeeds(&installed).expect_err(said);
        assert_eq!(error.kind(), TrustErrorKind::Precondition);
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[test]
fn mistakes_are_refused_with_a_path_and_a_way_out() {
    let weak = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    for (pointer, value, said) in [
        ("/version", json!(0), "trust root: version: the number `0` is no whole number from 1"),
        ("/version", json!(1.5), "version"),
        ("/vresion", json!(1), "unknown key; known keys are version, keys"),
        ("/keys", json!([]), "keys: has 0 items"),
        ("/keys/0/id", json!("Alice"), "keys[0].id: `Alice`"),
        ("/keys/1/id", json!("alice"), "keys[1].id: `alice` is taken"),
        ("/keys/0/public_key", json!("abc"), "keys[0].public_key"),
        ("/keys/0/public_key", json!(weak), "anybody can sign"),
        ("/keys/0/not_after", json!("2025-01-01T00:00:00Z"), "keys[0].not_after: 2025-01-01T00:00:00Z is not after"),
        ("/keys/0/not_before", json!("2025-01-01"), "write it in UTC"),
        ("/keys/0/private_key", json!("x"), "keys[0].private_key: unknown key"),
        ("/roles/0/keys", json!(["dave"]), "roles[0].keys[0]: there is no key `dave`"),
        ("/roles/0/components", json!(["payments"]), "roles[0].components[0]: `payments` is no pattern"),
        ("/roles/0/components", json!(["*/card"]), "is no pattern"),
        ("/roles/0/components", json!([]), "roles[0].components: has 0 items"),
        ("/roles/0/standards", json!(["pci*4"]), "a * may follow"),
        ("/roles/1/may_revoke", json!(false), "roles[1]: may do nothing"),
        ("/roles/1/may_revoke", json!("yes"), "true or false"),
        ("/policies/0/threshold", json!(0), "policies[0].threshold"),
        ("/policies/0/threshold", json!(4), "policies[0]: asks 4 keys for `pci-dss-4.0/6.4.3`, and roles let 3"),
        ("/policies/0/components", json!(["ui/*"]), "roles let 0 certify it"),
        ("/policies/0/require", json!([]), "policies[0].require: has 0 items"),
        ("/policies/0/require", json!([{ "standard": "gdpr" }]), "`gdpr`, and roles let 0"),
        ("/policies/0/require", json!([{ "property": "SLSA_1" }]), "give the policy max_age_days"),
        ("/policies/0/require", json!([{ "property": "SLSA_1", "standard": "x" }]), "max_age_days"),
        ("/policies/0/require", json!([{ "requirements": ["1"] }]), "standard: is missing"),
        ("/policies/0/max_age_days", json!(0), "max_age_days"),
        ("/policies/0/max_age_day", json!(1), "unknown key"),
        ("/limits", json!({ "signatures": 65 }), "limits.signatures"),
        ("/limits", json!({ "envelopes": 1 }), "limits.envelopes: unknown key"),
    ] {
        let mut root = root_value(1);
        let (parent, key) = pointer.rsplit_once('/').expect("pointer");
        root.pointer_mut(parent).expect("parent")[key] = value;
        let error = parse(&root.to_string()).expect_err(said);
        assert!(error.to_string().contains(said), "{said}: {error}");
    }
    assert!(parse("").is_err());
    assert!(parse("[]").expect_err("no mapping").to_string().contains("object"));
    let twice = format!("{YAML}version: 4\n");
    assert!(parse(&twice).expect_err("twice").to_string().contains("duplicate key `version`"));
    let merged = YAML.replace("  - id: alice\n", "  - &a\n    <<: {}\n    id: alice\n");
    assert!(parse(&merged).is_err());
    assert!(matches!(parse(&format!("{YAML}#{}", "x".repeat(300_000))), Err(TrustError::Document(_))));
}

#[test]
fn a_value_is_an_object_or_refused() {
    let as_list: Value = json!([3, [], [], []]);
    assert!(parse(&as_list.to_string()).is_err());
}
