//! The published schemas and the readers agree about good and bad documents.

use fitment_catalog::Format;
use fitment_trust::{
    CERTIFICATION_SCHEMA, CERTIFICATION_TYPE, REVOCATION_SCHEMA, REVOCATION_TYPE, Statement, TRUST_ROOT_SCHEMA,
    TrustRoot,
};
use jsonschema::Validator;
use serde_json::{Value, json};

use crate::support::{certification, root_value, subjects, version};

fn compiled(schema: &str) -> Validator {
    let schema: Value = serde_json::from_str(schema).expect("JSON");
    jsonschema::draft202012::options().offline().should_validate_formats(true).build(&schema).expect("a schema")
}

/// Values to put at a JSON pointer; `Null` stands for taking the key out.
fn variants(base: &Value, changes: &[(&str, Value)]) -> Vec<Value> {
    let mut all = vec![base.clone()];
    for (pointer, value) in changes {
        let mut changed = base.clone();
        let (parent, key) = pointer.rsplit_once('/').expect("pointer");
        let parent = changed.pointer_mut(parent).expect("parent");
        match (parent, value) {
            (Value::Object(entries), Value::Null) => drop(entries.remove(key)),
            (Value::Array(items), value) => items[key.parse::<usize>().expect("index")] = value.clone(),
            (parent, value) => parent[key] = value.clone(),
        }
        all.push(changed);
    }
    all
}

/// Times, texts and digests that are nearly right, for any place that takes one.
fn odd_values() -> Vec<Value> {
    let mut values: Vec<Value> = vec![json!(1), json!(true), json!([]), json!({}), json!(["x"]), json!("")];
    for text in [
        " x",
        "x ",
        "x\ny",
        "x\u{0}",
        "\u{202e}x",
        "é",
        "é ü",
        "2026-02-29T00:00:00Z",
        "2024-02-29T23:59:59.5Z",
        "2026-13-01T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:00:60Z",
        "2026-01-01t00:00:00z",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00.1234567890Z",
        "2026-01-01T00:00:00",
        "0999-01-01T00:00:00Z",
        "2999-12-31T23:59:59.999999998Z",
        "3000-01-01T00:00:00Z",
        "+002026-01-01T00:00:00Z",
        "2026-01-01 00:00:00Z",
        "sha256:",
        "*",
        "a*",
        "*a",
        "a/b",
        "a/*",
        "*/b",
        "-a/b",
        "A",
        "a b",
        "a.b_c-1",
        "x-*",
    ] {
        values.push(text.into());
    }
    values.push("x".repeat(65).into());
    values.push("x".repeat(3_000).into());
    values.push(format!("sha256:{}", "AB".repeat(32)).into());
    values.push(format!("sha256:{}", "ab".repeat(32)).into());
    values
}

fn agree(schema: &str, documents: &[Value], reads: impl Fn(&Value) -> Result<(), String>) {
    let schema = compiled(schema);
    for document in documents {
        let (by_schema, by_reader) = (schema.is_valid(document), reads(document));
        let faults: Vec<String> = schema.iter_errors(document).map(|error| error.to_string()).collect();
        assert_eq!(by_schema, by_reader.is_ok(), "{document}\nschema: {faults:?}\nreader: {by_reader:?}");
    }
}

fn everywhere(base: &Value, pointers: &[&str]) -> Vec<Value> {
    let odd = odd_values();
    let changes: Vec<(&str, Value)> = pointers
        .iter()
        .flat_map(|pointer| odd.iter().cloned().chain([Value::Null]).map(move |value| (*pointer, value)))
        .collect();
    variants(base, &changes)
}

#[test]
fn certifications() {
    let mut base = certification();
    base["standards"][0]["level"] = "full".into();
    base["conditions"] = json!(["rotate keys yearly"]);
    base["evidence"] = json!([{ "kind": "sarif", "digest": version().to_string(),
        "media_type": "application/sarif+json", "uri": "https://ci.example/1" }]);
    // Far apart, so that no odd instant makes an end before its beginning.
    base["valid_from"] = "1000-01-01T00:00:00Z".into();
    base["valid_until"] = "2999-12-31T23:59:59.999999999Z".into();
    base["unknown"] = json!({ "is": "ignored" });
    let mut documents = everywhere(
        &base,
        &[
            "/standards",
            "/standards/0",
            "/standards/0/standard",
            "/standards/0/requirements",
            "/standards/0/level",
            "/valid_from",
            "/valid_until",
            "/conditions",
            "/conditions/0",
            "/evidence",
            "/evidence/0",
            "/evidence/0/kind",
            "/evidence/0/digest",
            "/evidence/0/media_type",
            "/evidence/0/uri",
        ],
    );
    // A condition cannot be taken out of its list by key.
    documents.retain(|document| document["conditions"][0] != Value::Null || document.get("conditions").is_none());
    documents.extend([json!([]), json!("x"), json!({})]);
    agree(CERTIFICATION_SCHEMA, &documents, |document| {
        Statement::compose(&subjects(&[version()]), CERTIFICATION_TYPE, document)
            .map(drop)
            .map_err(|error| error.to_string())
    });
}

#[test]
fn revocations() {
    let base = json!({ "target": { "version": version().to_string(), "certificate": version().to_string() },
        "justification": "leaked", "known_since": "2026-01-01T00:00:00Z", "origin": "https://advisories.example/7",
        "document": version().to_string(), "unknown": 1 });
    let mut documents = everywhere(
        &base,
        &[
            "/target",
            "/target/version",
            "/target/certificate",
            "/justification",
            "/known_since",
            "/origin",
            "/document",
        ],
    );
    documents.push(json!({ "target": {}, "justification": "x" }));
    let other = format!("sha256:{}", "ab".repeat(32)).parse().expect("digest");
    agree(REVOCATION_SCHEMA, &documents, |document| {
        Statement::compose(&subjects(&[version(), other]), REVOCATION_TYPE, document)
            .map(drop)
            .map_err(|error| error.to_string())
    });
}

#[test]
fn trust_roots() {
    let mut base = root_value(1);
    base["roles"][0]["components"] = json!(["*"]);
    base["roles"][0]["standards"] = json!(["*"]);
    base["roles"][0]["properties"] = json!(["*"]);
    base["roles"][0]["may_revoke"] = json!(true);
    base["policies"][0]["max_age_days"] = 30.into();
    base["policies"][0]["require"][0]["levels"] = json!(["full"]);
    base["policies"][0]["require"].as_array_mut().expect("list").push(json!({ "property": "SLSA_1" }));
    base["keys"][0]["not_before"] = "1000-01-01T00:00:00Z".into();
    base["keys"][0]["not_after"] = "2999-12-31T23:59:59.999999999Z".into();
    base["limits"] = json!({ "envelope_bytes": 4096, "signatures": 4 });
    let mut documents = everywhere(
        &base,
        &[
            "/version",
            "/keys",
            "/roles",
            "/policies",
            "/limits",
            "/unknown",
            "/keys/0/id",
            "/keys/0/not_before",
            "/keys/0/not_after",
            "/keys/0/unknown",
            "/roles/0/components",
            "/roles/0/components/0",
            "/roles/0/standards",
            "/roles/0/standards/0",
            "/roles/0/properties",
            "/roles/0/properties/0",
            "/roles/0/verifiers",
            "/roles/0/verifiers/0",
            "/roles/0/may_revoke",
            "/roles/0/may_bundle",
            "/roles/0/unknown",
            "/roles/1/may_revoke",
            "/roles/1/may_bundle",
            "/policies/0/id",
            "/policies/0/components/0",
            "/policies/0/require",
            "/policies/0/require/0",
            "/policies/0/require/0/standard",
            "/policies/0/require/0/requirements",
            "/policies/0/require/0/requirements/0",
            "/policies/0/require/0/levels",
            "/policies/0/require/1/property",
            "/policies/0/threshold",
            "/policies/0/unknown",
            "/limits/envelope_bytes",
            "/limits/signatures",
            "/limits/unknown",
        ],
    );
    for (pointer, numbers) in [
        ("/version", [0_u64, 1, (1 << 53) - 1, 1 << 53]),
        ("/policies/0/threshold", [0, 1, 3, 17]),
        ("/policies/0/max_age_days", [0, 1, 3_650, 3_651]),
        ("/limits/envelope_bytes", [1_023, 1_024, 1_048_576, 1_048_577]),
        ("/limits/signatures", [0, 1, 64, 65]),
    ] {
        documents.extend(variants(&base, &numbers.map(|number| (pointer, json!(number)))));
    }
    // What the schema says that it cannot state.
    let beyond = ["there is no key", "is taken", "lower `threshold`"];
    documents.retain(|document| match parse(document) {
        Err(error) => !beyond.iter().any(|said| error.contains(said)),
        Ok(()) => true,
    });
    agree(TRUST_ROOT_SCHEMA, &documents, parse);
}

fn parse(document: &Value) -> Result<(), String> {
    TrustRoot::parse("root.json", document.to_string().as_bytes(), Format::Json)
        .map(drop)
        .map_err(|error| error.to_string())
}

#[test]
fn every_property_is_described() {
    fn walk(schema: &Value, at: &str) {
        if let Some(Value::Object(properties)) = schema.get("properties") {
            for (name, property) in properties {
                let at = format!("{at}.{name}");
                assert!(at.contains("anyOf") || property.get("description").is_some(), "{at} has no description");
                walk(property, &at);
                walk(property.get("items").unwrap_or(&Value::Null), &format!("{at}[]"));
            }
        }
        for branch in schema.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
            walk(branch, at);
        }
    }
    for schema in [CERTIFICATION_SCHEMA, REVOCATION_SCHEMA, TRUST_ROOT_SCHEMA] {
        walk(&serde_json::from_str(schema).expect("JSON"), "");
    }
}
