//! The restricted schema: what it keeps, what it tells, and that what it accepts can be bound.

use std::collections::BTreeMap;

use fitment_catalog::{ConfigSchema, Configuration, Manifest, bind};
use serde_json::{Map, Value, json};

use crate::support::{closed, component, configurable};

fn structured(schema: &Value) -> Value {
    ConfigSchema::new(schema.clone())
        .expect("valid")
        .structured_output()
        .unwrap_or_else(|fault| panic!("{fault:?}"))
        .schema
}

fn check_refused(schema: Value, pointer: &str, words: &str) {
    let fault = ConfigSchema::new(schema).expect("valid").structured_output().expect_err("refused");
    assert_eq!(fault.pointer, pointer, "{fault:?}");
    assert!(fault.description.contains(words), "{fault:?}");
}

#[test]
fn every_property_is_required_and_optional_ones_may_be_null() {
    let schema = closed(
        &json!({
            "issuer": { "type": "string", "format": "uri", "description": "Who signs people in" },
            "mode": { "type": "string", "enum": ["code", "hybrid"], "default": "code" },
            "tries": { "type": "integer", "minimum": 0, "exclusiveMaximum": 9 },
            "names": { "type": "array", "items": { "type": "string", "minLength": 1 }, "minItems": 1, "uniqueItems": true },
            "store": closed(&json!({ "url": { "type": "string" }, "on": { "type": "boolean" } }), &["url"]),
            "key": { "type": "string", "pattern": "^secret://", "x-secret": true },
        }),
        &["issuer", "mode", "store", "key"],
    );
    assert_eq!(
        structured(&schema),
        json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["issuer", "mode", "tries", "names", "store", "key"],
            "properties": {
                "issuer": { "type": "string", "description": "Who signs people in. Of the format uri." },
                "mode": { "type": ["string", "null"], "enum": ["code", "hybrid", null], "description": "null means \"code\"." },
                "tries": { "type": ["integer", "null"], "description": "At least 0. Less than 9." },
                "names": {
                    "anyOf": [
                        { "type": "array", "items": { "type": "string", "description": "At least 1 character." } },
                        { "type": "null" },
                    ],
                    "description": "At least 1 item. uniqueItems: true",
                },
                "store": {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["url", "on"],
                    "properties": { "url": { "type": "string" }, "on": { "type": ["boolean", "null"] } },
                },
                "key": {
                    "type": "string",
                    "description": "A reference secret://STORE/NAME to a secret, never the secret itself. Matches the pattern ^secret://",
                },
            },
        })
    );
}

#[test]
fn references_are_inlined_and_alternatives_kept() {
    let mut schema = closed(
        &json!({ "a": { "$ref": "#/$defs/size" }, "b": { "oneOf": [{ "const": 1 }, { "$ref": "#/$defs/size" }] } }),
        &["a", "b"],
    );
    schema["$defs"] = json!({ "size": closed(&json!({ "n": { "type": "number" } }), &["n"]) });
    let size = json!({ "type": "object", "additionalProperties": false, "required": ["n"], "properties": { "n": { "type": "number" } } });
    let found = structured(&schema);
    assert_eq!(found["properties"]["a"], size);
    assert_eq!(found["properties"]["b"]["anyOf"], json!([{ "type": "integer", "enum": [1] }, size]));
    let root = structured(&json!({
        "type": "object", "additionalProperties": false,
        "properties": { "path": { "type": "string" }, "url": { "type": "string" } },
        "oneOf": [{ "required": ["path"] }, { "required": ["url"] }],
    }));
    assert_eq!(root["required"], json!(["path", "url"]));
    assert!(root.get("anyOf").is_none() && root["properties"]["path"]["type"] == json!(["string", "null"]), "{root}");
}

#[test]
fn what_the_form_cannot_hold_is_refused() {
    let mut tree = closed(&json!({ "root": { "$ref": "#/$defs/node" } }), &[]);
    tree["$defs"] = json!({ "node": closed(&json!({ "children": { "type": "array", "items": { "$ref": "#/$defs/node" } } }), &[]) });
    check_refused(tree, "/$defs/node/properties/children", "refers to itself");
    check_refused(closed(&json!({ "a": { "enum": [[1]] } }), &[]), "/properties/a", "lists a list");
    let mut deep = json!({ "type": "string" });
    for _ in 0..12 {
        deep = closed(&json!({ "a": deep }), &[]);
    }
    check_refused(deep, &"/properties/a".repeat(10), "10 levels");
    let values: Vec<String> = (0..1_001).map(|i| i.to_string()).collect();
    check_refused(closed(&json!({ "a": { "enum": values } }), &[]), "", "1000 listed values");
    let mut wide = closed(&json!({}), &[]);
    let mut properties = Map::new();
    for name in 0..60 {
        properties.insert(format!("p{name}"), json!({ "$ref": "#/$defs/many" }));
    }
    let many: Map<String, Value> = (0..100).map(|i| (format!("q{i}"), json!({ "type": "null" }))).collect();
    wide["properties"] = Value::Object(properties);
    wide["$defs"] = json!({ "many": closed(&Value::Object(many), &[]) });
    check_refused(wide, "", "5000 properties");
}

#[test]
fn nulls_for_absent_properties_are_taken_out() {
    let schema = closed(
        &json!({
            "a": { "type": "string" },
            "b": { "type": ["string", "null"] },
            "c": { "type": "array", "items": closed(&json!({ "d": { "type": "integer" } }), &[]) },
            "e": { "enum": [null, 1] },
        }),
        &[],
    );
    let schema = ConfigSchema::new(schema).expect("valid");
    let taken = |value: Value| schema.from_structured(&value).expect("a restricted form");
    assert_eq!(
        taken(json!({ "a": null, "b": null, "c": [{ "d": null }, { "d": 1 }], "e": null, "x": null })),
        json!({ "b": null, "c": [{}, { "d": 1 }], "e": null, "x": null })
    );
    assert_eq!(taken(json!({ "c": null })), json!({}));
}

/// Only the keywords of the restricted form, everything required, everything closed.
fn check_form(schema: &Value) {
    const KEYWORDS: [&str; 8] =
        ["type", "properties", "required", "additionalProperties", "items", "enum", "anyOf", "description"];
    for (keyword, value) in schema.as_object().expect("a schema") {
        assert!(KEYWORDS.contains(&keyword.as_str()), "{keyword} in {schema}");
        match keyword.as_str() {
            "properties" => value.as_object().expect("properties").values().for_each(check_form),
            "items" => check_form(value),
            "anyOf" => value.as_array().expect("alternatives").iter().for_each(check_form),
            _ => {}
        }
    }
    if schema["type"] == "object" {
        assert_eq!(schema["additionalProperties"], false);
        let names: Vec<&String> = schema["properties"].as_object().expect("properties").keys().collect();
        assert_eq!(schema["required"], json!(names));
    }
    assert!(schema.get("type").is_some() || schema.get("anyOf").is_some(), "{schema}");
}

/// The configuration with every property that it leaves out null.
fn sparse(restricted: &Value, bound: &Value) -> Value {
    let holding = |keyword: &str| {
        let alternatives = restricted.get("anyOf").and_then(Value::as_array).into_iter().flatten();
        alternatives.chain([restricted]).find_map(|schema| schema.get(keyword))
    };
    match bound {
        Value::Object(entries) => {
            let properties = holding("properties").and_then(Value::as_object).expect("properties");
            let value = |(name, schema): (&String, &Value)| {
                (name.clone(), entries.get(name).map_or(Value::Null, |value| sparse(schema, value)))
            };
            properties.iter().map(value).collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items.iter().map(|item| sparse(holding("items").expect("items"), item)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => bound.clone(),
    }
}

#[test]
fn the_sample_can_be_written_in_the_form_and_bound() {
    let mut bound = 0;
    for manifest in configurable() {
        let schema = manifest.config_schema().expect("a schema");
        let restricted = schema.structured_output().unwrap_or_else(|fault| panic!("{manifest}: {fault:?}")).schema;
        check_form(&restricted);
        let judge = jsonschema::draft202012::options().offline().build(&restricted).expect("a valid schema");
        // What defaults satisfy, every property left out.
        if schema.unbound().is_satisfied() {
            let generated = sparse(&restricted, &json!({}));
            assert!(judge.is_valid(&generated), "{manifest}: {generated}");
            check_bound(&manifest, &generated);
            // And every default written out.
            let generated = sparse(&restricted, &schema.unbound().resolved);
            assert!(judge.is_valid(&generated), "{manifest}: {generated}");
            check_bound(&manifest, &generated);
            bound += 1;
        }
    }
    assert!(bound > 20, "{bound}");
}

fn check_bound(manifest: &Manifest, generated: &Value) {
    let schema = manifest.config_schema().expect("a schema");
    let configuration = schema.from_structured(generated).expect("a restricted form");
    let configuration = Configuration::from_value("generated", &configuration).expect("within the limits");
    bind(manifest, &configuration, &BTreeMap::new()).unwrap_or_else(|faults| panic!("{manifest}: {faults:?}"));
}

#[test]
fn what_is_only_told_is_named() {
    let component =
        component(&closed(&json!({ "a": { "type": "integer", "minimum": 1 }, "b": { "type": "null" } }), &[]));
    let form = component.config_schema().expect("a schema").structured_output().expect("a form");
    let uncovered: Vec<String> = form.uncovered.iter().map(|one| format!("{} {}", one.pointer, one.keyword)).collect();
    assert_eq!(uncovered, ["/properties/a minimum"]);
}
