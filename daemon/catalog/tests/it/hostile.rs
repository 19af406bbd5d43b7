//! Schemas and configurations made to exhaust whoever reads them. Each is answered in bounded time and space: a test here
//! that fails does so by never ending.

use std::collections::BTreeMap;

use fitment_catalog::{BindingFault, ConfigSchema, Configuration, Format, bind};
use serde_json::{Map, Value, json};

use crate::support::{closed, component};

fn accepted(schema: &Value) -> ConfigSchema {
    ConfigSchema::new(schema.clone()).unwrap_or_else(|faults| panic!("{faults:?}"))
}

fn refused(schema: &Value, words: &str) {
    let faults = ConfigSchema::new(schema.clone()).expect_err("refused");
    assert!(faults[0].description.contains(words), "{faults:?}");
}

/// What both forms of a schema say of it: the sizes of what they write, or why they write nothing.
fn forms(schema: &Value) -> [Result<usize, String>; 2] {
    let schema = accepted(schema);
    [
        schema.grammar().map(|grammar| grammar.text.len()).map_err(|fault| fault.description),
        schema.structured_output().map(|output| output.schema.to_string().len()).map_err(|fault| fault.description),
    ]
}

fn faults(schema: &Value, configuration: &Value) -> Vec<BindingFault> {
    let configuration = Configuration::from_value("hostile", configuration).expect("within the limits");
    bind(&component(schema), &configuration, &BTreeMap::new()).expect_err("faults")
}

/// A schema whose root is the definition `n`.
fn recursive(definition: &Value) -> Value {
    let mut schema = closed(&json!({ "a": { "$ref": "#/$defs/n" } }), &[]);
    schema["$defs"] = json!({ "n": definition });
    schema
}

#[test]
fn schemas_that_judge_twice_as_often_with_each_level_are_refused() {
    let again = json!({ "$ref": "#/$defs/n" });
    let both = json!([{ "properties": { "a": again } }, { "properties": { "a": again } }]);
    let words = "more and more often";
    refused(&recursive(&json!({ "type": "object", "allOf": both, "unevaluatedProperties": false })), words);
    refused(
        &recursive(&json!({ "type": "object", "allOf": both, "required": ["a"], "unevaluatedProperties": false })),
        words,
    );
    let list = json!({ "type": "array", "items": again });
    refused(&recursive(&json!({ "anyOf": [list, list, { "type": "boolean" }] })), words);
    refused(&recursive(&json!({ "type": "array", "prefixItems": [again], "items": again, "contains": again })), words);
    let one = json!([{ "properties": { "a": again } }, { "type": "null" }]);
    refused(&recursive(&json!({ "type": ["object", "null"], "anyOf": one, "unevaluatedProperties": false })), words);
    refused(
        &recursive(
            &json!({ "type": "object", "patternProperties": { "a": again, "b": again }, "additionalProperties": false }),
        ),
        words,
    );
}

#[test]
fn schemas_that_repeat_themselves_once_are_accepted() {
    let again = json!({ "$ref": "#/$defs/n" });
    let of = |name: &str| closed(&json!({ name: { "type": "array", "items": again } }), &[name]);
    accepted(&recursive(&closed(&json!({ "left": again, "right": again }), &[])));
    accepted(&recursive(
        &json!({ "anyOf": [of("all"), of("any"), closed(&json!({ "not": again }), &["not"]), { "type": "string" }] }),
    ));
    accepted(&recursive(
        &json!({ "anyOf": [{ "type": "array", "items": again }, closed(&json!({ "a": again }), &[]), { "type": "null" }] }),
    ));
    let chain: Map<String, Value> = (0..500)
        .map(|i| {
            (format!("d{i}"), json!({ "type": "array", "items": { "$ref": format!("#/$defs/d{}", (i + 1) % 500) } }))
        })
        .collect();
    let mut schema = closed(&json!({ "a": { "$ref": "#/$defs/d0" } }), &[]);
    schema["$defs"] = Value::Object(chain);
    let [grammar, structured] = forms(&schema);
    assert!(grammar.is_ok() && structured.is_err_and(|why| why.contains("deeper") || why.contains("itself")));
}

#[test]
fn alternatives_that_multiply_are_refused_by_the_forms() {
    let two = |i: usize| json!({ "anyOf": [{ "title": format!("{i}") }, { "title": "b" }] });
    let mut all: Vec<Value> = (0..40).map(two).collect();
    all.push(json!({ "anyOf": [false] }));
    for form in forms(&closed(&json!({ "a": { "type": "string", "allOf": all } }), &[])) {
        assert!(form.is_err_and(|why| why.contains("combines too many alternatives")));
    }
    let four = json!({ "anyOf": [{ "title": "a" }, { "title": "b" }, { "title": "c" }, { "title": "d" }] });
    let properties: Map<String, Value> = (0..2_400).map(|i| (format!("p{i}"), json!({ "type": "null" }))).collect();
    let mut schema = closed(&Value::Object(properties), &[]);
    assert!(forms(&schema).iter().all(Result::is_ok));
    schema["allOf"] = json!([four, four, four]);
    for form in forms(&schema) {
        assert!(form.is_err_and(|why| why.contains("20000 properties")));
    }
}

#[test]
fn long_descriptions_that_are_used_often_are_refused() {
    let mut definitions = json!({ "d0": { "type": "string", "description": "x".repeat(40_000) } });
    for i in 1..8 {
        let below = json!({ "$ref": format!("#/$defs/d{}", i - 1) });
        definitions[format!("d{i}")] = closed(&json!({ "a": below, "b": below, "c": below }), &[]);
    }
    let mut schema = closed(&json!({ "r": { "$ref": "#/$defs/d7" } }), &[]);
    schema["$defs"] = definitions;
    let [grammar, structured] = forms(&schema);
    assert!(grammar.is_ok() && structured.is_err_and(|why| why.contains("characters of descriptions")));
}

#[test]
fn faults_without_number_are_not_all_listed() {
    let names: Vec<String> = (0..1_500).map(|i| format!("p{i}")).collect();
    let properties: Map<String, Value> = names.iter().map(|name| (name.clone(), json!({ "type": "null" }))).collect();
    let mut item = closed(&Value::Object(properties), &[]);
    item["required"] = json!(names);
    let schema = closed(&json!({ "a": { "type": "array", "items": item } }), &[]);
    assert_eq!(faults(&schema, &json!({ "a": vec![json!({}); 200] })).len(), 256);
    assert_eq!(faults(&schema, &json!({ "a": vec![json!({}); 20_000] }))[0].rule.to_string(), "size");
    let unknown: Map<String, Value> = (0..5_000).map(|i| (format!("q{i}"), json!(1))).collect();
    assert_eq!(faults(&schema["properties"]["a"]["items"], &Value::Object(unknown)).len(), 256);

    // Every fault would hold the whole list of values, or one fault for each alternative.
    let values: Vec<String> = (0..5_000).map(|i| format!("v{i}")).collect();
    let ways: Vec<Value> = (0..400).map(|i| json!({ "type": "integer", "minimum": i })).collect();
    for item in [json!({ "enum": values }), json!({ "anyOf": ways })] {
        let schema = closed(&json!({ "a": { "type": "array", "items": item } }), &[]);
        assert_eq!(faults(&schema, &json!({ "a": vec![json!("x"); 15_000] })).len(), 1);
        assert_eq!(faults(&schema, &json!({ "a": vec![json!("x"); 20] })).len(), 20);
    }
}

#[test]
fn patterns_take_linear_time_or_are_refused() {
    let long = json!({ "a": "a".repeat(60_000) });
    for (pattern, matches) in [("^(a+)+$", true), ("^(a|a)*b$", false), ("^(a|aa)+$", true), ("^(.*)*x", false)] {
        let schema = closed(&json!({ "a": { "type": "string", "pattern": pattern } }), &[]);
        assert!(forms(&schema).iter().all(Result::is_ok), "{pattern}");
        let configuration = Configuration::from_value("long", &long).expect("within the limits");
        assert_eq!(bind(&component(&schema), &configuration, &BTreeMap::new()).is_ok(), matches, "{pattern}");
    }
    let deep = format!("{}a{}", "(".repeat(20_000), ")".repeat(20_000));
    for pattern in [
        "^((((a{1,30}){1,30}){1,30}){1,30})$",
        "(?:x{0,900}){0,900}",
        "^\\p{L}{1,1000}$",
        &deep,
        &"[^a]".repeat(15_000),
    ] {
        let schema = closed(&json!({ "a": { "type": "string", "pattern": pattern } }), &[]);
        refused(&schema, "patterns have no look-around");
    }
}

#[test]
fn large_and_deep_configurations_are_refused() {
    let huge = format!("{{\"a\": \"{}\"}}", "x".repeat(10_000_000));
    assert!(Configuration::parse("huge.json", huge.as_bytes(), Format::Auto).is_err());
    assert!(Configuration::from_value("huge", &json!({ "a": huge })).is_err());
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{}1{}", open.repeat(10_000), close.repeat(10_000));
        for format in [Format::Json, Format::Yaml] {
            assert!(Configuration::parse("deep", deep.as_bytes(), format).is_err());
        }
    }
    let block: Vec<String> = (0..300).map(|i| format!("{}a:", " ".repeat(i))).collect();
    let block = block.join("\n");
    assert!(Configuration::parse("block.yaml", block.as_bytes(), Format::Yaml).is_err());
    let mut aliases = vec!["a0: &a0 [1,1,1,1,1,1,1,1,1]".to_owned()];
    for i in 1..12 {
        aliases.push(format!("a{i}: &a{i} [{}]", vec![format!("*a{}", i - 1); 9].join(",")));
    }
    assert!(Configuration::parse("aliases.yaml", aliases.join("\n").as_bytes(), Format::Yaml).is_err());

    let deep = (0..1_000).fold(json!(1), |inner, _| Value::Array(vec![inner]));
    let deep = Value::Object(Map::from_iter([("a".to_owned(), deep)]));
    assert!(Configuration::from_value("deep", &deep).is_err());
    let schema = recursive(&json!({ "type": "array", "items": { "$ref": "#/$defs/n" } }));
    assert!(accepted(&schema).from_structured(&deep).is_err());
    let levels = (0..30).fold(json!([]), |inner, _| json!([inner]));
    assert_eq!(accepted(&schema).from_structured(&json!({ "a": levels })), Ok(json!({ "a": levels })));
}

#[test]
fn ports_that_may_give_much_are_compared_in_bounded_time() {
    let given = json!({ "type": "array", "items": { "enum": (0..500).collect::<Vec<_>>() }, "maxItems": 64 });
    let mut giver = serde_json::to_value(BTreeMap::<String, String>::new()).expect("a value");
    for (key, value) in [
        ("name", json!("forms/giver")),
        ("version", json!("1.0.0")),
        ("title", json!("Giver")),
        ("summary", json!("Gives much.")),
        ("kind", json!("ui")),
        ("lifecycle", json!("certified")),
        ("license", json!("Apache-2.0")),
        ("owner", json!("team-forms")),
        ("provides", json!([{ "name": "much", "protocol": "value", "value_schema": given }])),
    ] {
        giver[key] = value;
    }
    let giver = fitment_catalog::Manifest::from_value("giver", &giver).unwrap_or_else(|error| panic!("{error}"));
    let item = json!({ "type": "array", "items": { "type": "integer", "minimum": 0 }, "uniqueItems": true });
    let properties: Map<String, Value> = (0..64).map(|i| (format!("p{i}"), item.clone())).collect();
    let configuration: Map<String, Value> =
        (0..64).map(|i| (format!("p{i}"), json!({ "$from": "giver.much" }))).collect();
    let configuration = Configuration::from_value("ports", &Value::Object(configuration)).expect("within the limits");
    let parts = BTreeMap::from([("giver".to_owned(), giver.provides())]);
    let faults =
        bind(&component(&closed(&Value::Object(properties), &[])), &configuration, &parts).expect_err("refused");
    assert_eq!(faults[0].rule.to_string(), "port-type");
}
