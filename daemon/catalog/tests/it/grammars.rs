//! Grammars: what they write is JSON that the schema accepts as far as they say so, and what the schema accepts they
//! can write.

use std::collections::{BTreeMap, BTreeSet};

use fitment_catalog::{ConfigSchema, Configuration, Manifest, bind};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};

use crate::gbnf::Gbnf;
use crate::support::{closed, component, configurable};

fn grammar_of(schema: &Value) -> (Gbnf, Vec<String>, String) {
    let schema = ConfigSchema::new(schema.clone()).unwrap_or_else(|faults| panic!("{faults:?}"));
    let grammar = schema.grammar().unwrap_or_else(|fault| panic!("{fault:?}"));
    let uncovered = grammar.uncovered.iter().map(|one| format!("{} {}", one.pointer, one.keyword)).collect();
    (Gbnf::read(&grammar.text), uncovered, grammar.text)
}

/// Texts that the grammar holds and texts that it does not.
fn check(schema: &Value, held: &[&str], not_held: &[&str], uncovered: &[&str]) {
    let (grammar, found, text) = grammar_of(schema);
    for (texts, expected) in [(held, true), (not_held, false)] {
        for one in texts {
            assert_eq!(grammar.holds(one), expected, "{one}\n{text}");
        }
    }
    assert_eq!(found, uncovered, "{schema}");
}

#[test]
fn objects_have_one_order_and_optional_properties() {
    let schema = closed(
        &json!({ "a": { "type": "boolean" }, "b": { "type": "null" }, "c": { "const": 1 }, "d": { "type": "boolean", "default": true } }),
        &["b", "d"],
    );
    check(
        &schema,
        &[
            r#"{"b":null}"#,
            r#"{"b": null, "a": true}"#,
            r#"{"b":null,"c":1}"#,
            r#"{"b":null,"a":false,"c":1,"d":true}"#,
            r#"{"b":null,"d":false}"#,
        ],
        &["{}", r#"{"a":true,"b":null}"#, r#"{"b":null,}"#, r#"{"b":null,"e":1}"#, r#"{"b":null "a":true}"#],
        &[],
    );
    let optional =
        closed(&json!({ "a": { "const": 1 }, "b\"\\": { "const": 2 }, "c": { "const": 3 }, "never": false }), &[]);
    check(
        &optional,
        &["{}", r#"{"a":1}"#, r#"{"b\"\\":2}"#, r#"{"c":3}"#, r#"{"a":1,"c":3}"#, r#"{"a":1,"b\"\\":2,"c":3}"#],
        &["{,}", r#"{"c":3,"a":1}"#, r#"{"a":1"c":3}"#, r#"{"never":1}"#],
        &[],
    );
    check(&closed(&json!({}), &[]), &["{}"], &["{ }", ""], &[]);
}

#[test]
fn values_have_their_types_and_bounds() {
    let one = |schema: Value| closed(&json!({ "a": schema }), &["a"]);
    check(
        &one(json!({ "type": "integer", "minimum": -12, "maximum": 105 })),
        &[r#"{"a":-12}"#, r#"{"a":-1}"#, r#"{"a":0}"#, r#"{"a":99}"#, r#"{"a":105}"#],
        &[r#"{"a":-13}"#, r#"{"a":106}"#, r#"{"a":-0}"#, r#"{"a":01}"#, r#"{"a":1.0}"#, r#"{"a":"1"}"#],
        &[],
    );
    check(
        &one(json!({ "type": "integer", "exclusiveMinimum": 0 })),
        &[r#"{"a":1}"#, r#"{"a":9007199254740991}"#],
        &[r#"{"a":0}"#, r#"{"a":9007199254740992}"#, r#"{"a":-1}"#],
        &[],
    );
    check(
        &one(json!({ "type": "number", "minimum": 0, "maximum": 1 })),
        &[r#"{"a":0}"#, r#"{"a":0.25}"#, r#"{"a":1}"#, r#"{"a":1.0}"#],
        &[r#"{"a":1.5}"#, r#"{"a":-0.5}"#, r#"{"a":2}"#, r#"{"a":.5}"#, r#"{"a":1e3}"#],
        &[],
    );
    check(
        &one(json!({ "type": "number", "minimum": 0.5, "multipleOf": 0.5 })),
        &[r#"{"a":0.5}"#, r#"{"a":0.25}"#, r#"{"a":-1}"#],
        &[],
        &["/properties/a minimum", "/properties/a multipleOf"],
    );
    check(
        &one(json!({ "enum": ["a  b", "\"", 1, null, { "x": [true] }] })),
        &[r#"{"a":"a  b"}"#, r#"{"a":"\""}"#, r#"{"a":1}"#, r#"{"a":null}"#, r#"{"a":{"x":[true]}}"#],
        &[r#"{"a":"a b"}"#, r#"{"a":2}"#],
        &[],
    );
    check(
        &one(json!({ "type": ["string", "null"], "minLength": 2, "maxLength": 3, "format": "email" })),
        &[r#"{"a":"äb"}"#, r#"{"a":"\n\"c"}"#, r#"{"a":null}"#],
        &[r#"{"a":"a"}"#, r#"{"a":"abcd"}"#, r#"{"a":"\u0041b"}"#],
        &["/properties/a format"],
    );
    check(
        &one(json!({ "type": "string", "pattern": "^secret://", "x-secret": true })),
        &[r#"{"a":"secret://vault/a-b_c.d~1#e"}"#],
        &[r#"{"a":"secret://"}"#, r#"{"a":"plain"}"#, r#"{"a":"secret://a b"}"#],
        &[],
    );
}

#[test]
fn lists_have_their_counts() {
    let list = |more: Value| {
        let mut schema = json!({ "type": "array", "items": { "const": 1 } });
        schema.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        closed(&json!({ "a": schema }), &["a"])
    };
    check(
        &list(json!({})),
        &[r#"{"a":[]}"#, r#"{"a":[1]}"#, r#"{"a":[1,1, 1]}"#],
        &[r#"{"a":[1,]}"#, r#"{"a":[2]}"#],
        &[],
    );
    check(
        &list(json!({ "minItems": 2, "maxItems": 3, "uniqueItems": true })),
        &[r#"{"a":[1,1]}"#, r#"{"a":[1,1,1]}"#],
        &[r#"{"a":[]}"#, r#"{"a":[1]}"#, r#"{"a":[1,1,1,1]}"#],
        &["/properties/a uniqueItems"],
    );
    check(&list(json!({ "maxItems": 1 })), &[r#"{"a":[]}"#, r#"{"a":[1]}"#], &[r#"{"a":[1,1]}"#], &[]);
    check(&list(json!({ "maxItems": 0 })), &[r#"{"a":[]}"#], &[r#"{"a":[1]}"#], &[]);
    check(
        &list(json!({ "prefixItems": [{ "const": 2 }, { "const": 3 }], "minItems": 1, "maxItems": 3 })),
        &[r#"{"a":[2]}"#, r#"{"a":[2,3]}"#, r#"{"a":[2,3,1]}"#],
        &[r#"{"a":[]}"#, r#"{"a":[3]}"#, r#"{"a":[2,1]}"#, r#"{"a":[2,3,1,1]}"#],
        &[],
    );
    check(&list(json!({ "maxItems": 5000 })), &[r#"{"a":[]}"#, r#"{"a":[1,1,1,1]}"#], &[], &["/properties/a maxItems"]);
}

#[test]
fn combinations_and_references_are_followed() {
    let base = json!({ "type": "object", "properties": { "kind": { "enum": ["a", "b"] } }, "required": ["kind"] });
    check(
        &json!({
            "type": "object", "unevaluatedProperties": false,
            "allOf": [{ "$ref": "#/$defs/base" }],
            "anyOf": [
                { "properties": { "kind": { "const": "a" }, "path": { "type": "boolean" } }, "required": ["path"] },
                { "properties": { "kind": { "const": "b" }, "size": { "type": "null" } } },
            ],
            "$defs": { "base": base },
        }),
        &[r#"{"kind":"a","path":true}"#, r#"{"kind":"b","size":null}"#, r#"{"kind":"b"}"#],
        &[r#"{"kind":"a"}"#, r#"{"kind":"b","path":true}"#, r#"{"kind":"c"}"#],
        &[],
    );
    let node = closed(
        &json!({ "name": { "type": "boolean" }, "children": { "type": "array", "items": { "$ref": "#/$defs/node" } } }),
        &["name"],
    );
    let mut tree = closed(&json!({ "root": { "$ref": "#/$defs/node" } }), &[]);
    tree["$defs"] = json!({ "node": node });
    check(
        &tree,
        &["{}", r#"{"root":{"name":true,"children":[{"name":false},{"name":true,"children":[]}]}}"#],
        &[r#"{"root":{}}"#, r#"{"root":{"name":true,"children":[{}]}}"#],
        &[],
    );
    check(
        &json!({
            "type": "object", "additionalProperties": false,
            "properties": { "a": { "type": "boolean" }, "b": { "type": "null" } },
            "oneOf": [{ "required": ["a"] }, { "required": ["b"] }],
            "not": { "required": ["a", "b"] },
        }),
        &[r#"{"a":true}"#, r#"{"b":null}"#],
        &["{}"],
        &[" not", " oneOf"],
    );
}

#[test]
fn what_has_no_finite_configuration_is_refused() {
    let mut endless = closed(&json!({ "root": { "$ref": "#/$defs/node" } }), &["root"]);
    endless["$defs"] = json!({ "node": closed(&json!({ "next": { "$ref": "#/$defs/node" } }), &["next"]) });
    let schema = ConfigSchema::new(endless).expect("valid");
    assert!(schema.grammar().expect_err("endless").description.contains("no finite configuration"));
    assert!(schema.structured_output().is_err());
}

/// Whether a pattern accepts what the grammar of a property with it holds, and which texts that are.
fn check_pattern(pattern: &str, held: &[&str], not_held: &[&str], uncovered: &[&str]) {
    let schema = closed(&json!({ "a": { "type": "string", "pattern": pattern } }), &["a"]);
    let quoted =
        |texts: &[&str]| -> Vec<String> { texts.iter().map(|text| json!({ "a": text }).to_string()).collect() };
    let (held, not_held) = (quoted(held), quoted(not_held));
    let held: Vec<&str> = held.iter().map(String::as_str).collect();
    let not_held: Vec<&str> = not_held.iter().map(String::as_str).collect();
    check(&schema, &held, &not_held, uncovered);
}

#[test]
fn patterns_are_translated() {
    check_pattern("^[a-z][a-z0-9-]{1,3}$", &["ab", "a-0z"], &["a", "abcde", "0b", "aB"], &[]);
    check_pattern("^/", &["/", "/a b"], &["a/", ""], &[]);
    check_pattern("x$", &["x", "yx", "\"x"], &["xy"], &[]);
    check_pattern("ab", &["ab", "zabz"], &["a b"], &[]);
    check_pattern("^(a|bc)+(-[0-9]{2})?$", &["a", "bca", "a-01"], &["", "a-1", "b"], &[]);
    check_pattern("^a|b$", &["ax", "xb"], &["x", "xa"], &[]);
    check_pattern(r"^\d+\.\w*$", &["1.", "12.a_"], &["1", "١.a", "1.ä"], &[]);
    check_pattern(r#"^["\\\n/]{2}$"#, &["\"\\", "\n/"], &["a/", "\""], &[]);
    check_pattern("^[^a]$", &["b", "\"", "\\", "ä", "\u{1f600}"], &["a", "bb"], &[]);
    check_pattern("^$", &[""], &["a"], &[]);
    check_pattern("^(a*)*$", &["", "x"], &[], &["/properties/a pattern"]);
    check_pattern("^(a{40}){40}$", &["x"], &[], &["/properties/a pattern"]);
    check_pattern(r"\bword\b", &["anything"], &[], &["/properties/a pattern"]);
    let length = |pattern: &str, min: u64, max: u64| {
        closed(&json!({ "a": { "type": "string", "pattern": pattern, "minLength": min, "maxLength": max } }), &["a"])
    };
    check(&length("^/", 2, 4), &[r#"{"a":"/b"}"#, r#"{"a":"/bcd"}"#], &[r#"{"a":"/"}"#, r#"{"a":"/bcde"}"#], &[]);
    check(&length("^[a-z]{2,4}$", 2, 4), &[r#"{"a":"ab"}"#], &[r#"{"a":"a"}"#], &[]);
    check(
        &length("^[a-z]+$", 2, 4),
        &[r#"{"a":"a"}"#, r#"{"a":"abcdef"}"#],
        &[],
        &["/properties/a maxLength", "/properties/a minLength"],
    );
}

/// Numbers by chance, the same each time (`SplitMix64`).
fn chance(mut state: u64) -> impl FnMut() -> usize {
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) >> 8).unwrap_or_default()
    }
}

/// Texts of the grammar are JSON, and binding has nothing against them but what the grammar says it leaves out.
fn check_samples(manifest: &Manifest, seed: u64, texts: usize) {
    let schema = manifest.config_schema().expect("a schema");
    let grammar = schema.grammar().unwrap_or_else(|fault| panic!("{manifest}: {fault:?}"));
    let uncovered: BTreeSet<&str> = grammar.uncovered.iter().map(|one| one.keyword.as_str()).collect();
    // What an alternative leaves out is reported as none of the alternatives being met.
    let alternatives = schema.as_value().to_string().contains("\"anyOf\"");
    let open_alternatives = grammar.uncovered.iter().any(|one| one.pointer.contains("/anyOf/"));
    let reader = Gbnf::read(&grammar.text);
    let mut next = chance(seed);
    for _ in 0..texts {
        let text = reader.sample(&mut next);
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{manifest}: {error}: {text}"));
        let configuration = Configuration::from_value("sampled", &value).expect("within the limits");
        if let Err(faults) = bind(manifest, &configuration, &BTreeMap::new()) {
            for fault in faults {
                let rule = fault.rule.to_string();
                // A text by chance can look like a secret.
                let excused = uncovered.contains(rule.as_str())
                    || rule.starts_with("inline-secret")
                    || (rule == "anyOf" && open_alternatives)
                    // One alternative's property is a secret's and another's of the same name is not.
                    || (rule == "secret-reference" && alternatives);
                assert!(excused, "{manifest}: {fault}\n{text}\n{}", grammar.text);
            }
        }
    }
}

#[test]
fn grammars_of_the_sample_write_valid_configurations() {
    let manifests = configurable();
    assert!(manifests.len() > 80, "{}", manifests.len());
    for (seed, manifest) in (0..).zip(&manifests) {
        check_samples(manifest, seed, 20);
    }
}

/// Values that a schema as plain as those of the sample accepts.
fn valid(schema: &Value) -> BoxedStrategy<Value> {
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return proptest::sample::select(values.clone()).boxed();
    }
    let bound = |keyword: &str| schema.get(keyword).and_then(Value::as_i64);
    let count = |keyword: &str, or: usize| bound(keyword).map_or(or, |n| usize::try_from(n).expect("a count"));
    match schema["type"].as_str().expect("one type") {
        "boolean" => any::<bool>().prop_map(Value::from).boxed(),
        "integer" => {
            let (from, to) = (bound("minimum").unwrap_or(-5), bound("maximum").unwrap_or(100_000));
            (from..=to).prop_map(Value::from).boxed()
        }
        "number" => {
            let (from, to) = (bound("minimum").unwrap_or(0), bound("maximum").unwrap_or(50).min(100_000));
            (from * 4..=to * 4)
                .prop_map(|quarters| json!(f64::from(i32::try_from(quarters).expect("small")) / 4.0))
                .boxed()
        }
        "string" => {
            let (from, to) = (count("minLength", 0), count("maxLength", usize::MAX));
            match (schema.get("pattern").and_then(Value::as_str), schema.get("format").and_then(Value::as_str)) {
                (Some("^secret://"), _) => "secret://[a-z]{1,8}/[a-z0-9_-]{1,8}".prop_map(Value::from).boxed(),
                (Some(pattern), _) => {
                    let inside = pattern.trim_start_matches('^').trim_end_matches('$');
                    let open = if pattern.ends_with('$') { "" } else { "[ -~]{0,6}" };
                    proptest::string::string_regex(&format!("{inside}{open}"))
                        .expect(pattern)
                        .prop_map(Value::from)
                        .boxed()
                }
                (None, Some("uri")) => "https://[a-z]{1,8}[.]example/[a-z/]{0,8}".prop_map(Value::from).boxed(),
                (None, Some("email")) => "[a-z]{1,8}@[a-z]{1,8}[.]example".prop_map(Value::from).boxed(),
                (None, Some("hostname")) => "[a-z]{1,8}[.]example".prop_map(Value::from).boxed(),
                (None, _) => proptest::collection::vec(
                    any::<char>().prop_filter("no escape", |c| !c.is_control()),
                    from..=to.min(from + 12),
                )
                .prop_map(|text| text.into_iter().collect::<String>().into())
                .boxed(),
            }
        }
        "array" => {
            let (from, to) = (count("minItems", 0), count("maxItems", usize::MAX));
            proptest::collection::vec(valid(&schema["items"]), from..=to.min(from.max(2) + 2))
                .prop_map(Value::from)
                .boxed()
        }
        "object" => {
            let required: Vec<&str> = schema
                .get("required")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let members: Vec<_> = schema["properties"]
                .as_object()
                .expect("properties")
                .iter()
                .map(|(name, schema)| {
                    let must = required.contains(&name.as_str()) && schema.get("default").is_none();
                    let value = valid(schema);
                    let name = name.clone();
                    let member = if must { value.prop_map(Some).boxed() } else { proptest::option::of(value).boxed() };
                    member.prop_map(move |value| (must, name.clone(), value)).boxed()
                })
                .collect();
            members
                .prop_map(|mut members| {
                    // As the grammar orders them.
                    members.sort_by_key(|(must, _, _)| !must);
                    let present = members.into_iter().filter_map(|(_, name, value)| Some((name, value?)));
                    Value::Object(present.collect::<Map<_, _>>())
                })
                .boxed()
        }
        other => panic!("no values of type {other}"),
    }
}

#[test]
fn grammars_of_the_sample_hold_valid_configurations() {
    let mut runner = TestRunner::deterministic();
    let mut judged = 0;
    for manifest in configurable() {
        let schema = manifest.config_schema().expect("a schema");
        let grammar = Gbnf::read(&schema.grammar().expect("a grammar").text);
        let values = valid(schema.as_value());
        for _ in 0..12 {
            let value = values.new_tree(&mut runner).expect("a value").current();
            // Items that must differ, and the few patterns that say more than a class, are left to the validator.
            if !schema.open_configuration(&value).is_satisfied() {
                continue;
            }
            judged += 1;
            assert!(grammar.holds(&value.to_string()), "{manifest}: {value}");
        }
    }
    assert!(judged > 800, "{judged}");
}

/// Schemas of many shapes.
fn schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        (-50..50_i64, 0..200_i64, any::<bool>()).prop_map(|(from, width, integer)| {
            json!({ "type": if integer { "integer" } else { "number" }, "minimum": from, "maximum": from + width })
        }),
        (0..4_u64, 0..9_u64)
            .prop_map(|(from, width)| json!({ "type": "string", "minLength": from, "maxLength": from + width })),
        "\\^[a-c]{1,3}(\\[x-z\\]\\{1,3\\})?\\$".prop_map(|pattern| json!({ "type": "string", "pattern": pattern })),
        proptest::collection::btree_set("\\PC{0,5}", 1..4).prop_map(|values| json!({ "enum": values })),
        Just(json!({ "type": ["boolean", "null"] })),
        Just(json!({ "type": "string", "pattern": "^secret://", "x-secret": true })),
        Just(json!({ "type": "integer", "default": 3 })),
    ];
    let tree = leaf.prop_recursive(3, 24, 4, |inner| {
        let members = proptest::collection::btree_map("[a-d \"\\\\ä]{1,3}", inner.clone(), 0..4);
        prop_oneof![
            (members, any::<u8>()).prop_map(|(members, bits)| {
                let required: Vec<String> =
                    members.keys().enumerate().filter(|(i, _)| bits & (1 << i) != 0).map(|(_, name)| name.clone()).collect();
                json!({ "type": "object", "additionalProperties": false, "required": required, "properties": members })
            }),
            (inner.clone(), 0..3_u64, 0..3_u64)
                .prop_map(|(items, from, width)| json!({ "type": "array", "items": items, "minItems": from, "maxItems": from + width })),
            proptest::collection::vec(inner, 1..4).prop_map(|ways| json!({ "anyOf": ways })),
        ]
    });
    proptest::collection::btree_map("[a-z]{1,3}", tree, 0..4).prop_map(|members| {
        let required: Vec<String> = members.keys().take(2).cloned().collect();
        json!({ "type": "object", "additionalProperties": false, "required": required, "properties": members })
    })
}

#[test]
fn a_default_within_an_alternative_is_not_filled_in_and_must_be_written() {
    let with_default = json!({
        "type": "object", "additionalProperties": false, "required": ["a"],
        "properties": { "a": { "type": "integer", "default": 3 } },
    });
    let list = json!({ "type": "array", "items": with_default, "maxItems": 1 });
    for alternative in [with_default, list] {
        let schema = json!({
            "type": "object", "additionalProperties": false, "required": ["a"],
            "properties": { "a": { "anyOf": [alternative] } },
        });
        for seed in 0..16 {
            check_samples(&component(&schema), seed, 8);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn grammars_of_any_schema_write_valid_configurations(schema in schema(), seed in any::<u64>()) {
        check_samples(&component(&schema), seed, 8);
    }
}
