//! What holds for all inputs.

use fitment_catalog::{Filter, Format, Manifest};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::support::{MINIMAL, fixtures};

/// Texts with the characters that formats trip over, never blank.
fn text() -> impl Strategy<Value = String> {
    let odd = prop_oneof![
        Just("yes".to_owned()),
        Just("~".to_owned()),
        Just("1.0".to_owned()),
        Just("- a".to_owned()),
        Just("a: b # c".to_owned()),
        Just("'\"\\".to_owned()),
        Just("tab\tin".to_owned()),
        Just("a\n\n  b\nc".to_owned()),
        Just("{x}".to_owned()),
        Just("0x1F".to_owned()),
        Just("ünïcödé \u{1f600} \u{2028} \u{85}x \u{feff}y".to_owned()),
        Just("---".to_owned()),
        Just("!tag &anchor *alias".to_owned()),
        Just("x".repeat(200)),
        Just(format!("{} {}", "word ".repeat(40), "\u{a0}end")),
    ];
    prop_oneof![odd, "[ -~]{0,60}[a-z]", "[\\PC\n\t]{1,40}x"]
}

/// A manifest as a value, with texts of any sort in every place that takes text.
fn manifest_value() -> impl Strategy<Value = Value> {
    let texts = || {
        vec(text(), 0..4).prop_map(|mut texts| {
            let mut seen = std::collections::HashSet::new();
            texts.retain(|text| seen.insert(text.clone()));
            texts
        })
    };
    (text(), texts(), texts(), text(), any::<i32>(), -1e9..1e9_f64, vec("[a-z0-9][a-z0-9._-]{0,8}", 0..4), any::<bool>()).prop_map(
        |(summary, examples, limits, description, integer, float, mut tags, required)| {
            tags.sort();
            tags.dedup();
            json!({
                "name": "forms/address", "version": "1.2.0", "title": "Address form", "summary": summary, "kind": "ui",
                "lifecycle": "draft", "license": "MIT OR Apache-2.0", "owner": "team", "example_intents": examples,
                "limitations": limits, "tags": tags,
                "config_schema": {
                    "type": "object", "additionalProperties": false, "required": if required { json!(["n"]) } else { json!([]) },
                    "properties": {
                        "n": { "type": "integer", "description": description, "examples": [integer, float, null, true] },
                        "f": { "type": "number", "default": float },
                        "yes": { "type": "string", "default": summary },
                    },
                },
                "compliance": { "gdpr": ["1.0", "art-25"] },
            })
        },
    )
}

/// The same value with the keys of every object in reverse order.
fn reversed(value: &Value) -> Value {
    match value {
        Value::Object(entries) => {
            entries.iter().rev().map(|(key, value)| (key.clone(), reversed(value))).collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items.iter().map(reversed).collect(),
        other => other.clone(),
    }
}

fn filter() -> impl Strategy<Value = Filter> {
    let leaf = prop_oneof![
        "[a-z0-9][a-z0-9._-]{0,8}".prop_map(|tag| Filter::Tag(tag.parse().expect("tag"))),
        (0..9_usize).prop_map(|i| Filter::Kind(fitment_catalog::Kind::ALL[i])),
        (0..5_usize).prop_map(|i| Filter::Lifecycle(fitment_catalog::Lifecycle::ALL[i])),
        ("[a-z][a-z0-9.-]{0,6}", proptest::option::of("[!-~]{1,8}")).prop_map(|(standard, requirement)| {
            Filter::compliance(&requirement.map_or(standard.clone(), |id| format!("{standard}/{id}")))
                .expect("standard")
        }),
        Just(Filter::license("GPL-3.0-only").expect("licence")),
        "[a-z]{1,6}".prop_map(|namespace| Filter::namespace(&namespace).expect("namespace")),
        "[a-z]{1,4}/[a-z]{1,4}".prop_map(|name| Filter::Name(name.parse().expect("name"))),
        (0..9_u64, 0..9_u64).prop_map(|(major, minor)| Filter::MinimumVersion(
            format!("{major}.{minor}.0-rc.1+b.2").parse().expect("version")
        )),
        version_range().prop_map(|range| Filter::version_range(&range).expect("range")),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Filter::And),
            vec(inner.clone(), 0..4).prop_map(Filter::Or),
            inner.prop_map(|filter| Filter::Not(Box::new(filter))),
        ]
    })
}

/// One to three bounds, each with an operator, some with a pre-release.
fn version_range() -> impl Strategy<Value = String> {
    let bound = prop_oneof![
        ("(=|>|>=|<|<=|~|\\^)", "[ ]?[0-3](\\.[0-3](\\.[0-3](-rc\\.[0-9])?)?)?")
            .prop_map(|(operator, version)| operator + &version),
        "[0-3]\\.(\\*|[0-3]\\.[*x])",
    ];
    prop_oneof![vec(bound, 1..4).prop_map(|bounds| bounds.join(", ")), Just("*".to_owned())]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(192) })]

    #[test]
    fn any_bytes_are_judged(bytes in vec(any::<u8>(), 0..300)) {
        for format in [Format::Yaml, Format::Json, Format::Auto] {
            let _ = Manifest::parse("any", &bytes, format);
        }
    }

    #[test]
    fn any_yaml_like_text_is_judged(text in "[-a-c:,{}\\[\\]&*!|>'\"#%@?~ \n\t]{0,120}") {
        let _ = Manifest::parse("any.yaml", text.as_bytes(), Format::Yaml);
        let _ = Manifest::parse("any.yaml", format!("{MINIMAL}{text}").as_bytes(), Format::Yaml);
    }

    #[test]
    fn a_damaged_manifest_is_judged(edits in vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..6)) {
        for (file, mut bytes) in fixtures("good") {
            for (at, byte, how) in &edits {
                let at = at.index(bytes.len());
                match how {
                    0 => bytes[at] = *byte,
                    1 => bytes.insert(at, *byte),
                    _ => { bytes.remove(at); }
                }
            }
            if let Ok(manifest) = Manifest::parse(&file, &bytes, Format::Auto) {
                prop_assert_eq!(Manifest::parse("again.yaml", manifest.to_yaml().as_bytes(), Format::Yaml), Ok(manifest));
            }
        }
    }

    #[test]
    fn format_and_key_order_do_not_change_the_manifest(value in manifest_value()) {
        let manifest = match Manifest::from_value("value", &value) {
            Ok(manifest) => manifest,
            Err(error) => return Err(TestCaseError::reject(error.to_string())),
        };
        let json = Manifest::parse("a.json", reversed(&value).to_string().as_bytes(), Format::Json).expect("json");
        prop_assert_eq!(&json, &manifest);
        prop_assert_eq!(json.digest(), manifest.digest());
        let yaml = manifest.to_yaml();
        let again = Manifest::parse("a.yaml", yaml.as_bytes(), Format::Yaml);
        prop_assert_eq!(again.as_ref(), Ok(&manifest), "{}", yaml);
        prop_assert_eq!(again.map(|again| again.digest()), Ok(manifest.digest()));
        let stored = Manifest::from_canonical_json("stored", &manifest.canonical_json()).expect("canonical");
        prop_assert_eq!(stored, manifest);
    }

    #[test]
    fn a_filter_reads_back(filter in filter()) {
        let text = filter.to_string();
        prop_assert_eq!(Filter::parse(&text).map(|read| read.to_string()), Ok(filter.clone().simplified().to_string()), "{}", text);
        let read = Filter::parse(&text).expect("read");
        for (_, bytes) in fixtures("good") {
            let manifest = Manifest::parse("good", &bytes, Format::Auto).expect("good");
            prop_assert_eq!(read.matches(&manifest), filter.matches(&manifest), "{}", text);
        }
    }

    #[test]
    fn a_version_range_means_the_same_in_and_out_of_a_filter(range in version_range(), major in 0..4_u64, minor in 0..4_u64) {
        let text = MINIMAL.replace("1.2.0", &format!("{major}.{minor}.1"));
        let manifest = Manifest::parse("m.yaml", text.as_bytes(), Format::Yaml).expect("valid");
        let read = Filter::parse(&format!("version:\"{range}\"")).expect("read");
        let oracle: semver::VersionReq = range.parse().expect("range");
        prop_assert_eq!(read.matches(&manifest), oracle.matches(manifest.version()), "{}", range);
        prop_assert_eq!(Filter::parse(&read.to_string()), Ok(read), "{}", range);
    }

    #[test]
    fn any_version_range_is_judged(text in "[0-9.,<>=^~*x a-]{0,24}") {
        if let Ok(filter) = Filter::parse(&format!("version:\"{text}\"")) {
            prop_assert_eq!(Filter::parse(&filter.to_string()), Ok(filter), "{}", text);
        }
    }

    #[test]
    fn any_filter_text_is_judged(text in "[a-z:>=<^~,()\"\\\\*. ]{0,60}") {
        let _ = Filter::parse(&text);
    }
}
