//! Configuration schemas: which are accepted, and what is open after binding.

use fitment_catalog::{ConfigSchema, OpenProperty, Tier};
use serde_json::{Value, json};

use crate::support::manifest;

fn check_faults(schema: &Value, expected: &[&str]) {
    let found: Vec<String> = match ConfigSchema::new(schema.clone()) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.into_iter().map(|fault| fault.pointer).collect(),
    };
    assert_eq!(found, expected, "{schema}");
}

fn closed(properties: &Value) -> Value {
    json!({ "type": "object", "additionalProperties": false, "properties": properties })
}

#[test]
fn objects_are_closed_wherever_a_value_may_stand() {
    let open = json!({ "type": "object", "properties": { "a": { "type": "string" } } });
    check_faults(&open, &[""]);
    check_faults(&closed(&json!({ "a": open })), &["/properties/a"]);
    check_faults(&closed(&json!({ "a/b": { "type": "array", "items": open } })), &["/properties/a~1b/items"]);
    check_faults(
        &closed(&json!({ "a": { "type": "array", "prefixItems": [open], "items": false } })),
        &["/properties/a/prefixItems/0"],
    );
    check_faults(&closed(&json!({ "a": { "anyOf": [{ "type": "string" }, open] } })), &["/properties/a"]);
    check_faults(&closed(&json!({ "a": { "type": ["object", "null"] } })), &["/properties/a"]);
    check_faults(&closed(&json!({ "a": true })), &["/properties/a"]);
    check_faults(&closed(&json!({ "a": {} })), &["/properties/a"]);
    check_faults(&closed(&json!({ "a": { "type": "array" } })), &["/properties/a"]);
    check_faults(&closed(&json!({ "a": { "additionalProperties": false } })), &["/properties/a"]);
    check_faults(
        &closed(&json!({ "a": { "type": "string", "allOf": [{ "properties": { "b": {} } }] } })),
        &["/properties/a/allOf/0/properties/b"],
    );
    let mut referring = closed(&json!({ "a": { "$ref": "#/$defs/open" } }));
    referring["$defs"] = json!({ "open": open });
    check_faults(&referring, &["/properties/a"]);
}

#[test]
fn closed_schemas_of_many_shapes_are_accepted() {
    check_faults(&closed(&json!({})), &[]);
    check_faults(&closed(&json!({ "a": { "enum": [1, { "b": 2 }] }, "c": { "const": {} }, "never": false })), &[]);
    check_faults(
        &closed(&json!({ "a": { "oneOf": [{ "type": "string" }, closed(&json!({ "b": { "type": "integer" } }))] } })),
        &[],
    );
    check_faults(
        &json!({
            "type": "object", "additionalProperties": false, "patternProperties": { "^x_": { "type": "string" } },
            "propertyNames": { "maxLength": 9 }, "if": { "properties": { "a": { "const": 1 } } }, "then": { "required": ["b"] },
            "properties": { "a": { "type": "integer" }, "b": { "type": "array", "items": { "type": "number" }, "contains": { "minimum": 3 } } },
        }),
        &[],
    );
    // A tree: a circle that passes through items.
    let mut tree = closed(&json!({ "root": { "$ref": "#/$defs/node" } }));
    tree["$defs"] =
        json!({ "node": closed(&json!({ "children": { "type": "array", "items": { "$ref": "#/$defs/node" } } })) });
    check_faults(&tree, &[]);
    // Members are open, their combination is closed.
    check_faults(
        &json!({
            "type": "object", "unevaluatedProperties": false, "allOf": [{ "$ref": "#/$defs/base" }],
            "$defs": { "base": { "type": "object", "properties": { "a": { "type": "string" } } } },
        }),
        &[],
    );
}

#[test]
fn dialect_references_and_sizes_are_limited() {
    let mut other = closed(&json!({}));
    other["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    check_faults(&other, &["/$schema"]);
    check_faults(&closed(&json!({ "a": { "$ref": "#" } })), &["/properties/a/$ref"]);
    check_faults(&closed(&json!({ "a": { "$ref": "file:///etc/passwd" } })), &["/properties/a/$ref"]);
    check_faults(&closed(&json!({ "a": { "type": "string", "description": "x".repeat(66_000) } })), &[""]);
    let mut deep = json!({ "type": "string" });
    for _ in 0..40 {
        deep = closed(&json!({ "a": deep }));
    }
    check_faults(&deep, &[""]);
    check_faults(
        &closed(&json!({ "a": { "type": "string", "pattern": "(a{1000}){1000}" } })),
        &["/properties/a/pattern"],
    );
}

fn schema() -> ConfigSchema {
    ConfigSchema::new(json!({
        "type": "object", "additionalProperties": false, "required": ["issuer", "store"],
        "properties": {
            "issuer": { "type": "string", "format": "uri", "description": "Who signs people in" },
            "remember": { "type": "boolean", "default": true },
            "store": {
                "type": "object", "additionalProperties": false, "required": ["url"],
                "properties": { "url": { "type": "string", "description": "Where sessions are kept" }, "size": { "type": "integer", "default": 5, "maximum": 9 } },
            },
            "theme": {
                "type": "object", "additionalProperties": false, "required": ["colour"],
                "properties": { "colour": { "type": "string" }, "dark": { "type": "boolean", "default": false } },
            },
            "hooks": {
                "type": "array",
                "items": { "type": "object", "additionalProperties": false, "required": ["to"], "properties": { "to": { "type": "string" }, "tries": { "type": "integer", "default": 1 } } },
            },
        },
    }))
    .expect("a valid schema")
}

fn pointers(properties: &[OpenProperty]) -> Vec<&str> {
    properties.iter().map(|property| property.pointer.as_str()).collect()
}

fn check_open(bound: &Value, resolved: &Value, open: &[&str], violations: &[&str], ignored: &[&str]) {
    let configured = schema().open_configuration(bound);
    assert_eq!(&configured.resolved, resolved, "{bound}");
    assert_eq!(pointers(&configured.open), open, "{bound}: {configured:?}");
    assert_eq!(pointers(&configured.violations), violations, "{bound}: {configured:?}");
    assert_eq!(configured.ignored, ignored, "{bound}: {configured:?}");
    assert_eq!(configured.is_satisfied(), open.is_empty() && violations.is_empty());
}

#[test]
fn what_is_required_and_has_no_default_is_open() {
    let nothing = json!({ "remember": true, "store": { "size": 5 } });
    for bound in [Value::Null, json!({})] {
        check_open(&bound, &nothing, &["/issuer", "/store/url"], &[], &[]);
    }
    assert_eq!(schema().unbound().open[0].description, "Who signs people in");
    check_open(
        &json!({ "issuer": "https://id.example", "store": { "url": "redis://a" } }),
        &json!({ "issuer": "https://id.example", "remember": true, "store": { "url": "redis://a", "size": 5 } }),
        &[],
        &[],
        &[],
    );
}

#[test]
fn bound_values_win_and_are_checked() {
    check_open(
        &json!({ "remember": "no", "store": { "url": "a", "size": 10 }, "issuer": "not a uri" }),
        &json!({ "issuer": "not a uri", "remember": "no", "store": { "url": "a", "size": 10 } }),
        &[],
        &["/issuer", "/remember", "/store/size"],
        &[],
    );
    check_open(
        &json!([1]),
        &json!({ "remember": true, "store": { "size": 5 } }),
        &["/issuer", "/store/url"],
        &[""],
        &[],
    );
}

#[test]
fn an_optional_object_counts_once_it_is_there() {
    check_open(
        &json!({ "issuer": "https://id.example", "store": { "url": "a" }, "theme": {}, "hooks": [{}, { "to": "b" }] }),
        &json!({ "issuer": "https://id.example", "remember": true, "store": { "url": "a", "size": 5 }, "theme": { "dark": false }, "hooks": [{ "tries": 1 }, { "to": "b", "tries": 1 }] }),
        &["/theme/colour", "/hooks/0/to"],
        &[],
        &[],
    );
}

#[test]
fn what_the_schema_does_not_know_is_left_out() {
    check_open(
        &json!({ "issuer": "https://id.example", "colour": 1, "store": { "url": "a", "x/y": 2 } }),
        &json!({ "issuer": "https://id.example", "remember": true, "store": { "url": "a", "size": 5 } }),
        &[],
        &[],
        &["/store/x~1y", "/colour"],
    );
}

#[test]
fn conditions_are_judged_on_the_result() {
    let schema = ConfigSchema::new(json!({
        "type": "object", "additionalProperties": false,
        "properties": { "mode": { "enum": ["file", "net"], "default": "file" }, "path": { "type": "string" }, "url": { "type": "string" } },
        "if": { "properties": { "mode": { "const": "net" } } }, "then": { "required": ["url"] },
        "oneOf": [{ "required": ["path"] }, { "required": ["url"] }],
    }))
    .expect("valid");
    let open = |bound: Value| {
        schema.open_configuration(&bound).open.into_iter().map(|property| property.pointer).collect::<Vec<_>>()
    };
    assert_eq!(open(json!({})), [""]);
    assert_eq!(open(json!({ "path": "a" })), [""; 0]);
    assert_eq!(open(json!({ "mode": "net" })), ["/url"]);
    assert!(schema.open_configuration(&json!({ "mode": "net", "url": "a" })).is_satisfied());
}

#[test]
fn a_schema_that_requires_itself_ends() {
    let mut endless = closed(&json!({ "root": { "$ref": "#/$defs/node" } }));
    let mut node = closed(&json!({ "left": { "$ref": "#/$defs/node" }, "right": { "$ref": "#/$defs/node" } }));
    node["required"] = json!(["left", "right"]);
    endless["required"] = json!(["root"]);
    endless["$defs"] = json!({ "node": node });
    let schema = ConfigSchema::new(endless).expect("valid");
    assert!(!schema.unbound().is_satisfied());
}

#[test]
fn the_tier_follows_from_the_defaults() {
    assert_eq!(manifest("").tier(), Tier::Zero);
    let with = |required: &str, default: &str| {
        manifest(&format!("config_schema: {{ type: object, additionalProperties: false, required: [{required}], properties: {{ a: {{ type: string{default} }} }} }}\n")).tier()
    };
    assert_eq!(with("", ""), Tier::Zero);
    assert_eq!(with("a", ", default: x"), Tier::Zero);
    assert_eq!(with("a", ""), Tier::Minimal);
    let ignored = manifest("").open_configuration(&json!({ "a/b": 1 }));
    assert!(ignored.is_satisfied() && ignored.ignored == ["/a~1b"]);
}
