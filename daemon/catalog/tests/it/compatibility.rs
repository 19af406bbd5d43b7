//! Whether a newer configuration schema accepts what an older one accepted.

use fitment_catalog::{Compatibility, ConfigSchema, Format, Manifest, compatibility, sample};
use jsonschema::Validator;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Compatible,
    Incompatible,
    Unknown,
}
use Verdict::{Compatible, Incompatible, Unknown};

/// The schema as the crate takes it, or without one.
fn checked(value: &Value) -> ConfigSchema {
    ConfigSchema::new(value.clone()).unwrap_or_else(|faults| panic!("{faults:?}"))
}

/// A validator built beside the crate's own.
fn validator(schema: &Value) -> Validator {
    jsonschema::draft202012::options().offline().should_validate_formats(true).build(schema).expect("a valid schema")
}

/// The verdict, after its counter-example was held against validators of the test's own.
fn judged(old: &Value, new: &Value) -> (Verdict, Compatibility) {
    let found = compatibility(Some(&checked(old)), Some(&checked(new)));
    let verdict = match &found {
        Compatibility::Compatible => Compatible,
        Compatibility::Incompatible { counter_example, pointer, explanation } => {
            assert!(validator(old).is_valid(counter_example), "the older refuses {counter_example}: {old}");
            assert!(!validator(new).is_valid(counter_example), "the newer accepts {counter_example}: {new}");
            assert!(counter_example.pointer(pointer).is_some(), "{pointer} is not in {counter_example}");
            assert!(!explanation.is_empty() && !explanation.contains('\n'));
            Incompatible
        }
        Compatibility::Unknown { pointer, explanation } => {
            assert!(new.pointer(pointer).is_some(), "{pointer} is not in {new}");
            assert!(!explanation.is_empty());
            Unknown
        }
    };
    (verdict, found)
}

fn closed(more: &Value) -> Value {
    let mut schema = json!({ "type": "object", "additionalProperties": false });
    let (Value::Object(schema_entries), Value::Object(more)) = (&mut schema, more) else { panic!("not objects") };
    schema_entries.extend(more.clone());
    schema
}

/// A closed object whose one property `a` has this schema.
fn holding(property: &Value) -> Value {
    closed(&json!({ "properties": { "a": property } }))
}

fn check(old: &Value, new: &Value, expected: Verdict) {
    let (verdict, found) = judged(&holding(old), &holding(new));
    assert_eq!(verdict, expected, "{old} -> {new}: {found:?}");
}

/// Both directions of a change that only widens.
fn check_widening(old: &Value, new: &Value) {
    check(old, new, Compatible);
    check(new, old, Incompatible);
}

#[test]
fn wider_values_are_compatible_and_narrower_ones_are_not() {
    let text = json!({ "type": "string" });
    for (old, new) in [
        (json!({ "type": "string" }), json!({ "type": ["string", "null"] })),
        (json!({ "type": "integer" }), json!({ "type": "number" })),
        (json!({ "type": "integer", "minimum": 1 }), json!({ "type": "integer", "minimum": 0 })),
        (json!({ "type": "integer", "maximum": 65_535 }), json!({ "type": "integer", "maximum": 65_536 })),
        (json!({ "type": "number", "exclusiveMinimum": 0 }), json!({ "type": "number", "minimum": 0 })),
        (json!({ "type": "number", "exclusiveMaximum": 0.5 }), json!({ "type": "number", "maximum": 0.5 })),
        (json!({ "type": "integer", "multipleOf": 4 }), json!({ "type": "integer", "multipleOf": 2 })),
        (json!({ "type": "number", "multipleOf": 0.5 }), json!({ "type": "number", "multipleOf": 0.25 })),
        (json!({ "type": "string", "minLength": 2 }), json!({ "type": "string", "minLength": 1 })),
        (json!({ "type": "string", "maxLength": 63 }), json!({ "type": "string", "maxLength": 64 })),
        (json!({ "type": "string", "maxLength": 500 }), text.clone()),
        (json!({ "type": "string", "pattern": "^[a-z]+$" }), text.clone()),
        (json!({ "type": "string", "format": "uri" }), text.clone()),
        (json!({ "type": "string", "format": "date" }), text.clone()),
        (json!({ "enum": ["a", "b"] }), json!({ "enum": ["b", "c", "a"] })),
        (json!({ "const": "a" }), json!({ "enum": ["b", "a"] })),
        (json!({ "enum": ["a", "b"] }), text.clone()),
        (json!({ "type": "boolean" }), json!({ "enum": [true, false, null] })),
        (json!({ "type": "array", "items": text, "minItems": 1 }), json!({ "type": "array", "items": text })),
        (
            json!({ "type": "array", "items": text, "maxItems": 3 }),
            json!({ "type": "array", "items": text, "maxItems": 4 }),
        ),
        (json!({ "type": "array", "items": text, "uniqueItems": true }), json!({ "type": "array", "items": text })),
        (
            json!({ "type": "array", "items": { "type": "integer" } }),
            json!({ "type": "array", "items": { "type": "number" } }),
        ),
        (
            json!({ "type": "array", "items": text, "contains": { "const": "x" } }),
            json!({ "type": "array", "items": text }),
        ),
        (
            json!({ "type": "array", "prefixItems": [{ "const": 1 }], "items": text }),
            json!({ "type": "array", "prefixItems": [{ "enum": [1, 2] }], "items": text }),
        ),
        (
            json!({ "type": "array", "items": text, "uniqueItems": true, "maxItems": 8 }),
            json!({ "type": "array", "items": text, "uniqueItems": true, "maxItems": 9 }),
        ),
        (json!({ "anyOf": [{ "type": "string" }, { "type": "integer" }] }), json!({ "type": ["string", "number"] })),
        (
            json!({ "oneOf": [{ "type": "string" }, { "type": "integer" }] }),
            json!({ "oneOf": [{ "type": "string" }, { "type": "integer" }, { "type": "boolean" }] }),
        ),
        (json!({ "type": "string", "not": { "const": "a" } }), text.clone()),
        (json!({ "allOf": [{ "type": "integer" }, { "minimum": 3 }] }), json!({ "type": "integer", "minimum": 2 })),
    ] {
        check_widening(&old, &new);
    }
}

#[test]
fn properties_may_be_added_and_may_not_be_taken_or_required() {
    let text = json!({ "type": "string" });
    let (one, two) = (closed(&json!({ "properties": { "b": text } })), json!({ "b": text, "c": text }));
    let both = |more: Value| {
        let mut schema = closed(&json!({ "properties": two }));
        schema.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        schema
    };
    check_widening(&one, &both(json!({})));
    check_widening(&both(json!({ "required": ["b"] })), &both(json!({})));
    check_widening(&both(json!({ "required": ["b", "c"] })), &both(json!({ "required": ["c"] })));
    check_widening(&both(json!({ "dependentRequired": { "b": ["c"] } })), &both(json!({})));
    check_widening(&both(json!({ "required": ["c"] })), &both(json!({ "dependentRequired": { "b": ["c"] } })));
    check_widening(&both(json!({ "minProperties": 1 })), &both(json!({})));
    check_widening(&both(json!({ "maxProperties": 1 })), &both(json!({})));
    // A default does not help a configuration that is validated as it stands.
    let required = json!({ "required": ["b"], "properties": { "b": { "type": "string", "default": "x" } } });
    check(&one, &closed(&required), Incompatible);
    // That a pattern is wider than another is not shown, that it is narrower is found.
    let by_pattern = |pattern: &str| closed(&json!({ "patternProperties": { pattern: text } }));
    check(&by_pattern("^x-[a-z]"), &by_pattern("^x-"), Unknown);
    check(&by_pattern("^x-"), &by_pattern("^x-[a-z]"), Incompatible);
    check_widening(
        &by_pattern("^x-"),
        &closed(&json!({ "patternProperties": { "^x-": {"type": ["string", "null"] } } })),
    );
}

#[test]
fn conditions_and_references_are_followed() {
    let mode = json!({ "mode": { "enum": ["file", "net"] }, "url": { "type": "string" } });
    let free = closed(&json!({ "properties": mode }));
    let bound = closed(&json!({
        "properties": mode, "if": { "required": ["mode"], "properties": { "mode": { "const": "net" } } },
        "then": { "required": ["url"] },
    }));
    check_widening(&bound, &free);
    // A branch more can make one that was enough ambiguous.
    check(
        &json!({ "oneOf": [{ "type": "string" }, { "type": "integer" }] }),
        &json!({ "oneOf": [{ "type": "string" }, { "type": "integer" }, { "type": "number" }] }),
        Incompatible,
    );
    let tree = |least: i64| {
        let node = closed(&json!({
            "required": ["size"],
            "properties": { "size": { "type": "integer", "minimum": least }, "parts": { "type": "array", "items": { "$ref": "#/$defs/node" } } },
        }));
        let mut schema = closed(&json!({ "properties": { "root": { "$ref": "#/$defs/node" } } }));
        schema["$defs"] = json!({ "node": node });
        schema
    };
    assert_eq!(judged(&tree(1), &tree(0)).0, Compatible);
    // Under a keyword that turns acceptance round the same is not shown.
    let barred = |least: i64| {
        let mut schema = tree(least);
        schema["properties"]["other"] =
            json!({ "type": "object", "additionalProperties": false, "not": { "$ref": "#/$defs/node" } });
        schema
    };
    assert_ne!(judged(&barred(1), &barred(0)).0, Compatible);
    assert_eq!(judged(&tree(0), &tree(1)).0, Incompatible);
    let composed = |names: &[&str]| {
        let properties: Map<String, Value> =
            names.iter().map(|&name| (name.to_owned(), json!({ "type": "string" }))).collect();
        json!({
            "type": "object", "unevaluatedProperties": false, "allOf": [{ "$ref": "#/$defs/base" }],
            "$defs": { "base": { "type": "object", "properties": properties } },
        })
    };
    assert_eq!(judged(&composed(&["a"]), &composed(&["a", "b"])).0, Compatible);
    assert_eq!(judged(&composed(&["a", "b"]), &composed(&["a"])).0, Incompatible);
    assert_eq!(judged(&composed(&["a"]), &holding(&json!({ "type": "string" }))).0, Compatible);
}

#[test]
fn what_cannot_be_shown_is_unknown_and_has_a_place() {
    let old = closed(&json!({ "properties": { "s": closed(&json!({ "properties": {
        "known": { "type": "integer" }, "a/b": { "type": "string", "pattern": "^[a-z]{1,5}$" },
    } })) } }));
    let mut new = old.clone();
    new["properties"]["s"]["properties"]["a/b"]["pattern"] = json!("^[a-z]{1,6}$");
    let (verdict, found) = judged(&old, &new);
    assert_eq!(verdict, Unknown, "{found:?}");
    let Compatibility::Unknown { pointer, .. } = found else { panic!("{found:?}") };
    assert_eq!(pointer, "/properties/s/properties/a~1b");
}

#[test]
fn annotations_and_order_do_not_matter() {
    let old = closed(&json!({ "required": ["a", "b"], "properties": {
        "a": { "type": ["string", "null"], "title": "A", "default": "x" }, "b": { "enum": [1, 2] }, "title": { "type": "string" },
    } }));
    let new = closed(&json!({ "description": "d", "required": ["b", "a"], "properties": {
        "title": { "type": "string", "x-order": 1 }, "b": { "enum": [2, 1], "examples": [1] }, "a": { "type": ["null", "string"] },
    } }));
    assert_eq!(judged(&old, &new).0, Compatible);
    assert_eq!(judged(&new, &old).0, Compatible);
}

#[test]
fn without_a_schema_only_the_empty_configuration_is_accepted() {
    let (optional, empty) = (checked(&holding(&json!({ "type": "string" }))), checked(&closed(&json!({}))));
    let required = checked(&closed(&json!({ "required": ["a"], "properties": { "a": { "type": "string" } } })));
    let impossible = checked(&holding(&json!(false)));
    assert_eq!(compatibility(None, None), Compatibility::Compatible);
    assert_eq!(compatibility(None, Some(&optional)), Compatibility::Compatible);
    assert_eq!(compatibility(Some(&empty), None), Compatibility::Compatible);
    assert_eq!(compatibility(Some(&impossible), None), Compatibility::Compatible);
    let found = compatibility(None, Some(&required));
    assert!(
        matches!(&found, Compatibility::Incompatible { counter_example, .. } if counter_example == &json!({})),
        "{found:?}"
    );
    let found = compatibility(Some(&optional), None);
    assert!(matches!(&found, Compatibility::Incompatible { .. }), "{found:?}");
}

/// The configuration schemas of the sample catalogue.
fn sample_schemas() -> Vec<(String, ConfigSchema)> {
    let read = |file: fitment_catalog::SampleFile| {
        let manifest = Manifest::parse(file.path, file.bytes, Format::Yaml).expect(file.path);
        manifest.config_schema().map(|schema| (file.path.to_owned(), schema.clone()))
    };
    sample().filter_map(read).collect()
}

#[test]
fn the_samples_schemas_are_compatible_with_themselves_and_one_property_more() {
    for (file, schema) in sample_schemas() {
        assert_eq!(compatibility(Some(&schema), Some(&schema)), Compatibility::Compatible, "{file}");
        let mut more = schema.as_value().clone();
        more["properties"]["one_more"] = json!({ "type": "string", "maxLength": 9 });
        assert_eq!(judged(schema.as_value(), &more).0, Compatible, "{file}");
        assert_eq!(judged(&more, schema.as_value()).0, Incompatible, "{file}");
        let Some(name) = schema.as_value()["properties"].as_object().and_then(|all| all.keys().next()) else {
            continue;
        };
        let mut without = schema.as_value().clone();
        without["properties"].as_object_mut().expect(&file).remove(name);
        if let Some(required) = without.get_mut("required").and_then(Value::as_array_mut) {
            required.retain(|other| other != &json!(name));
        }
        assert_eq!(judged(schema.as_value(), &without).0, Incompatible, "{file}: {name}");
    }
}

#[test]
fn large_and_circular_schemas_end() {
    let wide = |name: &str, most: u64| {
        let property = |i: u64| (format!("{name}{i}"), json!({ "type": "string", "maxLength": most }));
        closed(&json!({ "properties": (0..1_500).map(property).collect::<Map<_, _>>() }))
    };
    assert_eq!(judged(&wide("p", 9), &wide("p", 10)).0, Compatible);
    assert_eq!(judged(&wide("p", 10), &wide("p", 9)).0, Incompatible);
    assert_eq!(judged(&wide("p", 9), &wide("q", 9)).0, Incompatible);
    let twice = |most: u64| {
        let node = closed(&json!({ "required": ["left", "right"], "properties": {
            "left": { "anyOf": [{ "$ref": "#/$defs/node" }, { "type": "null" }] },
            "right": { "anyOf": [{ "$ref": "#/$defs/node" }, { "type": "string", "maxLength": most }] },
        } }));
        let mut schema = closed(&json!({ "properties": { "root": { "$ref": "#/$defs/node" } } }));
        schema["$defs"] = json!({ "node": node });
        schema
    };
    assert_ne!(judged(&twice(4), &twice(5)).0, Incompatible);
    assert_ne!(judged(&twice(5), &twice(4)).0, Compatible);
    let branches = |count: u64| {
        let branch = |i: u64| json!({ "required": [format!("p{i}")], "not": { "required": [format!("p{}", i + 1)] } });
        let names = (0..=count).map(|i| (format!("p{i}"), json!({ "type": "integer", "minimum": i })));
        closed(&json!({
            "properties": names.collect::<Map<_, _>>(), "oneOf": (0..count).map(branch).collect::<Vec<_>>(),
            "allOf": (0..count).map(|i| json!({ "anyOf": [branch(i), { "maxProperties": 2 }] })).collect::<Vec<_>>(),
        }))
    };
    assert_ne!(judged(&branches(20), &branches(21)).0, Unknown);
}

/// A schema of one value; the small stock makes equal and nearly equal ones frequent.
fn value_schema() -> impl Strategy<Value = Value> {
    let bound = || -2..5_i64;
    let leaf = prop_oneof![
        (0..3_u64, 1..5_u64)
            .prop_map(|(least, most)| json!({ "type": "string", "minLength": least, "maxLength": most })),
        select(&["^a", "a$", "^[a-b]+$", "^[0-9]{1,2}$", "^(a|b1)$"][..])
            .prop_map(|pattern| json!({ "type": "string", "pattern": pattern })),
        select(&["date", "uri", "email", "ipv4"][..]).prop_map(|format| json!({ "type": "string", "format": format })),
        select(&["integer", "number"][..]).prop_flat_map(move |kind| {
            (
                select(&["minimum", "exclusiveMinimum"][..]),
                bound(),
                select(&["maximum", "exclusiveMaximum"][..]),
                bound(),
            )
                .prop_map(move |(low, least, high, most)| json!({ "type": kind, low: least, high: most }))
        }),
        (select(&["integer", "number"][..]), select(&[0.5, 1.0, 2.0, 3.0, 0.1, 0.05, 0.01][..]))
            .prop_map(|(kind, step)| json!({ "type": kind, "multipleOf": step })),
        vec(scalar(), 1..4).prop_map(|values| {
            let mut listed: Vec<Value> = Vec::new();
            for value in values {
                if !listed.contains(&value) {
                    listed.push(value);
                }
            }
            json!({ "enum": listed })
        }),
        scalar().prop_map(|value| json!({ "const": value })),
        Just(json!({ "type": "boolean" })),
        Just(json!({ "type": ["string", "null"] })),
        Just(json!({ "$ref": "#/$defs/shared" })),
        Just(json!(false)),
    ];
    leaf.prop_recursive(2, 12, 3, |inner| {
        prop_oneof![
            (inner.clone(), 0..3_u64, 1..4_u64, any::<bool>()).prop_map(|(items, least, most, unique)| json!({
                "type": "array", "items": items, "minItems": least, "maxItems": most, "uniqueItems": unique,
            })),
            (inner.clone(), inner.clone()).prop_map(|(first, items)| json!({
                "type": "array", "prefixItems": [first], "items": items,
            })),
            (inner.clone(), scalar(), 0..2_u64).prop_map(|(items, wanted, least)| json!({
                "type": "array", "items": items, "contains": { "const": wanted }, "minContains": least, "maxContains": 2,
            })),
            (select(&["anyOf", "oneOf", "allOf"][..]), vec(inner.clone(), 1..3))
                .prop_map(|(keyword, members)| json!({ keyword: members })),
            (inner.clone(), inner.clone())
                .prop_map(|(value, not)| json!({ "allOf": [value], "not": not })),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(value, condition, then)| json!({ "allOf": [value], "if": condition, "then": then })),
            object_schema(inner),
        ]
    })
}

fn scalar() -> impl Strategy<Value = Value> {
    select(vec![
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(1),
        json!(2),
        json!(-1),
        json!(0.5),
        json!(1.5),
        json!(3),
        json!(4.0),
        json!(0.3),
        json!(0.35),
        json!(1.15),
        json!(1e30),
        json!(9_007_199_254_740_993_i64),
        json!(""),
        json!("a"),
        json!("b1"),
        json!("ab"),
        json!("aab"),
        json!("12"),
        json!("abcde"),
        json!("2024-02-29"),
        json!("a:b"),
        json!("a@b.example"),
        json!("192.0.2.1"),
    ])
}

const NAMES: [&str; 4] = ["a", "b", "c", "x1"];

fn object_schema(value: impl Strategy<Value = Value> + Clone) -> impl Strategy<Value = Value> {
    let names = || {
        vec(select(&NAMES[..]), 0..3).prop_map(|mut names| {
            names.sort_unstable();
            names.dedup();
            names
        })
    };
    (btree_map(select(&NAMES[..]), value.clone(), 0..4), names(), 0..12_u8, select(&NAMES[..]), names(), value)
        .prop_map(|(properties, required, more, trigger, names, value)| {
            let mut schema = closed(&json!({ "properties": properties, "required": required }));
            match more {
                0 => schema["dependentRequired"] = json!({ trigger: names }),
                1 => schema["minProperties"] = json!(names.len()),
                2 => schema["maxProperties"] = json!(names.len() + 1),
                3 => schema["patternProperties"] = json!({ "^x": value }),
                4 => schema["propertyNames"] = json!({ "maxLength": 1 }),
                5 => schema["oneOf"] = json!([{ "required": [trigger] }, { "required": names }]),
                6 => {
                    schema["if"] = json!({ "required": [trigger] });
                    schema["then"] = json!({ "required": names });
                }
                7 => schema["dependentSchemas"] = json!({ trigger: { "properties": { "a": value } } }),
                8 => {
                    schema.as_object_mut().expect("an object").remove("additionalProperties");
                    schema["unevaluatedProperties"] = json!(false);
                    schema["anyOf"] = json!([{ "properties": { "c": value } }, { "required": names }]);
                }
                _ => {}
            }
            schema
        })
}

/// Two schemas of which the second is the first with a few properties changed, and what both share.
fn versions() -> impl Strategy<Value = (Value, Value)> {
    let changed = btree_map(select(&NAMES[..]), value_schema(), 1..3);
    let shared = || {
        // Definitions that refer to themselves, the later ones wider.
        let circular = |least: i64, more: Value| {
            let mut properties =
                json!({ "a": { "$ref": "#/$defs/shared" }, "b": { "type": "integer", "minimum": least } });
            properties["c"] = more;
            closed(&json!({ "properties": properties }))
        };
        select(vec![
            json!({ "type": "string" }),
            json!({ "enum": ["a", "b1", 1] }),
            json!({ "type": "number", "minimum": 0 }),
            circular(1, json!(false)),
            circular(0, json!({ "type": "array", "items": { "$ref": "#/$defs/shared" }, "maxItems": 1 })),
            circular(0, json!({ "type": ["array", "null"], "items": { "$ref": "#/$defs/shared" }, "maxItems": 2 })),
        ])
    };
    let whole = || object_schema(value_schema().boxed());
    (whole(), changed, whole(), any::<bool>(), shared(), shared()).prop_map(
        |(old, changed, other, near, first, second)| {
            let mut old = old;
            let mut new = if near { old.clone() } else { other };
            for (name, schema) in changed {
                new["properties"][name] = schema;
            }
            old["$defs"] = json!({ "shared": first });
            new["$defs"] = json!({ "shared": second });
            (old, new)
        },
    )
}

/// Configurations that the schemas above have a chance of accepting.
fn instances() -> impl Strategy<Value = Vec<Value>> {
    let value = scalar().prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::Array),
            btree_map(select(&NAMES[..]), inner, 0..3).prop_map(|object| json!(object)),
        ]
    });
    vec(btree_map(select(&["a", "b", "c", "x1", "x2"][..]), value, 0..4).prop_map(|object| json!(object)), 40)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(192) })]

    #[test]
    fn verdicts_hold_for_random_configurations((old, new) in versions(), instances in instances()) {
        let (Ok(_), Ok(_)) = (ConfigSchema::new(old.clone()), ConfigSchema::new(new.clone())) else {
            return Err(TestCaseError::reject("not a configuration schema"));
        };
        let (older, newer) = (validator(&old), validator(&new));
        // A counter-example is confirmed by `judged`.
        let (verdict, _) = judged(&old, &new);
        for instance in instances {
            if verdict == Compatible && older.is_valid(&instance) {
                prop_assert!(newer.is_valid(&instance), "{instance} is refused\n{old}\n{new}");
            }
        }
        prop_assert_eq!(judged(&old, &old).0, Compatible);
        // The same schema in other words needs the proof.
        let reworded = json!({ "type": "object", "unevaluatedProperties": false, "allOf": [old], "$defs": old["$defs"] });
        if ConfigSchema::new(reworded.clone()).is_ok() {
            prop_assert_ne!(judged(&old, &reworded).0, Incompatible);
            prop_assert_ne!(judged(&reworded, &old).0, Incompatible);
        }
    }
}
