//! Good and bad manifests, and that the published schema and the reader agree about them.

use std::fmt::Write as _;

use fitment_catalog::{CatalogError, Digest, Format, MAX_ARTIFACT_FILES, MAX_MANIFEST_BYTES, Manifest};
use serde_json::{Value, json};

use crate::support::{MINIMAL, fixtures, manifest, published_schema};

#[test]
fn good_fixtures_are_read_and_round_trip() {
    for (file, bytes) in fixtures("good") {
        let manifest = Manifest::parse(&file, &bytes, Format::Auto).unwrap_or_else(|error| panic!("{error}"));
        let again = Manifest::parse("again.yaml", manifest.to_yaml().as_bytes(), Format::Yaml);
        assert_eq!(again.as_ref(), Ok(&manifest), "{file}: {}", manifest.to_yaml());
        let stored = Manifest::from_canonical_json("stored", &manifest.canonical_json());
        assert_eq!(stored.as_ref(), Ok(&manifest), "{file}");
        assert_eq!(stored.map(|stored| stored.digest()), Ok(manifest.digest()), "{file}");
    }
}

#[test]
fn bad_fixtures_are_refused_with_place_and_way_out() {
    let mut report = String::new();
    for (file, bytes) in fixtures("bad") {
        let error = Manifest::parse(&file, &bytes, Format::Auto).expect_err(&file);
        writeln!(report, "== {file}\n{error}").expect("text");
    }
    insta::assert_snapshot!("bad_manifests", report);
}

#[test]
fn the_published_schema_agrees_with_the_reader() {
    let schema = published_schema();
    for (file, bytes) in fixtures("good") {
        let value: Value = serde_saphyr::from_slice(&bytes).expect(&file);
        let faults: Vec<String> = schema.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(faults.is_empty(), "{file}: {faults:?}");
    }
    for (file, bytes) in fixtures("bad") {
        let refused = match bytes.strip_prefix(b"# The published schema ") {
            Some(rest) => rest.starts_with(b"refuses"),
            // Not a document at all.
            None => continue,
        };
        let value: Value = serde_saphyr::from_slice(&bytes).unwrap_or(Value::Null);
        assert_eq!(!schema.is_valid(&value), refused, "{file}: the first line says what the schema does");
    }
}

#[test]
fn a_text_of_invisible_characters_is_blank_for_the_reader_and_the_schema() {
    let schema = published_schema();
    // Unicode's own classes are the oracle of the listed ranges.
    let class = r"^[\s\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}\u2800]$";
    let invisible = jsonschema::draft202012::new(&json!({ "pattern": class })).expect("a pattern");
    let base: Value = serde_saphyr::from_str(MINIMAL).expect("YAML");
    let title = |text: &str| {
        let mut value = base.clone();
        value["title"] = json!(text);
        value
    };
    let all: Vec<char> = ('\0'..=char::MAX).collect();
    // Reading a whole manifest for each of a million characters takes minutes: those that no class could be wrong about
    // are left to samples.
    let looked_at = all.iter().enumerate().filter(|(i, c)| {
        let end = matches!(u32::from(**c), 0..=0x3400 | 0xa000..=0xac00 | 0xd7a0..=0x1_0fff | 0xe_0000..=0xe_1000);
        end || i % 97 == 0 || invisible.is_valid(&json!(c.to_string()))
    });
    for (_, &c) in looked_at {
        let odd = matches!(c, '\0'..='\u{8}' | '\u{a}'..='\u{1f}' | '\u{7f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let alone = title(&c.to_string());
        let blank = invisible.is_valid(&json!(c.to_string())) || c.is_whitespace();
        let read = Manifest::from_value("alone", &alone).is_ok();
        assert_eq!(read, !blank, "U+{:04X} alone", u32::from(c));
        assert_eq!(schema.is_valid(&alone), read, "U+{:04X} alone, schema", u32::from(c));
        // Within other text the rule is that of control characters alone.
        if blank {
            let within = title(&format!("a{c}b"));
            let read = Manifest::from_value("within", &within).is_ok();
            assert_eq!(read, !odd, "U+{:04X} within", u32::from(c));
            assert_eq!(schema.is_valid(&within), read, "U+{:04X} within, schema", u32::from(c));
        }
    }
    for text in ["\u{200b}\u{2060}\u{feff}", "\u{ad} \u{ad}", "\u{3164}\u{115f}\u{ffa0}", "\u{e0041}\u{200d}"] {
        assert!(Manifest::from_value("blank", &title(text)).is_err() && !schema.is_valid(&title(text)), "{text:?}");
    }
    for text in ["a\u{200b}", "\u{feff}ä", "\u{1f469}\u{200d}\u{1f52c}"] {
        assert!(Manifest::from_value("text", &title(text)).is_ok() && schema.is_valid(&title(text)), "{text:?}");
    }
}

#[test]
fn every_property_of_the_published_schema_is_described() {
    fn walk(schema: &Value, at: &str) {
        if let Some(Value::Object(properties)) = schema.get("properties") {
            for (name, property) in properties {
                let at = format!("{at}.{name}");
                let branch = at.contains("anyOf");
                assert!(branch || property.get("description").is_some(), "{at} has no description");
                walk(property, &at);
                if let Some(items) = property.get("items") {
                    walk(items, &format!("{at}[]"));
                }
            }
        }
    }
    let schema: Value = serde_json::from_str(fitment_catalog::MANIFEST_SCHEMA).expect("JSON");
    walk(&schema, "");
}

#[test]
fn the_digest_depends_on_the_content_alone() {
    let yaml = manifest("tags: [form, address]\nrequires: [{ name: a, protocol: https }]\n");
    let json = json!({
        "requires": [{ "optional": false, "scopes": [], "protocol": "https", "authentication": "none", "name": "a" }],
        "tags": ["form", "address"], "limitations": [], "owner": "team-forms", "license": "Apache-2.0",
        "lifecycle": "certified", "kind": "ui", "summary": " Asks for a postal address and checks it.\n",
        "title": "Address form", "version": "1.2.0", "name": "forms/address",
    });
    let json = Manifest::parse("a.json", json.to_string().as_bytes(), Format::Auto).expect("valid");
    assert_eq!(yaml.digest(), json.digest());
    assert_eq!(yaml.digest(), Digest::of(&yaml.canonical_json()));
    assert_ne!(yaml.digest(), manifest("tags: [address, form]\n").digest());
}

#[test]
fn the_canonical_form_is_fixed() {
    // Digests address stored versions: a change here is a change of the storage format.
    let canonical = String::from_utf8(manifest("tags: [form]\n").canonical_json()).expect("text");
    assert_eq!(
        canonical,
        r#"{"kind":"ui","license":"Apache-2.0","lifecycle":"certified","name":"forms/address","owner":"team-forms","summary":"Asks for a postal address and checks it.","tags":["form"],"title":"Address form","version":"1.2.0"}"#
    );
}

#[test]
fn integers_stay_integers() {
    let schema = "config_schema: { type: object, additionalProperties: false, properties: { n: { type: number, default: 3, maximum: 7.0, minimum: -0.5 } } }\n";
    let canonical = String::from_utf8(manifest(schema).canonical_json()).expect("text");
    assert!(canonical.contains(r#""n":{"default":3,"maximum":7,"minimum":-0.5,"type":"number"}"#), "{canonical}");
    assert!(manifest(schema).to_yaml().contains("maximum: 7\n"), "{}", manifest(schema).to_yaml());
}

#[test]
fn the_format_follows_the_name_then_the_first_character() {
    let json = fixtures("good").into_iter().find(|(file, _)| file == "minimal.json").expect("fixture").1;
    for (file, format, bytes) in [
        ("a.yaml", Format::Auto, MINIMAL.as_bytes()),
        ("a", Format::Auto, MINIMAL.as_bytes()),
        ("a.JSON", Format::Auto, &json),
        ("ä", Format::Auto, &json),
        ("a.yaml", Format::Json, &json),
        // JSON is YAML as well.
        ("a.yml", Format::Auto, &json),
    ] {
        assert!(Manifest::parse(file, bytes, format).is_ok(), "{file}");
    }
    let with_mark = [b"\xef\xbb\xbf", MINIMAL.as_bytes()].concat();
    assert!(Manifest::parse("mark.yaml", &with_mark, Format::Auto).is_ok());
}

#[test]
fn size_is_capped_before_anything_is_read() {
    let bytes = vec![b'#'; MAX_MANIFEST_BYTES + 1];
    let error = Manifest::parse("big.yaml", &bytes, Format::Auto).expect_err("too large");
    assert!(matches!(error, CatalogError::TooLarge { .. }), "{error}");
}

#[test]
fn an_alias_cannot_multiply_a_large_text() {
    let text = format!("a: &a \"{}\"\nb: [{}]\n", "x".repeat(200_000), vec!["*a"; 60].join(", "));
    let error = Manifest::parse("laughs.yaml", text.as_bytes(), Format::Auto).expect_err("refused");
    assert!(matches!(error, CatalogError::Syntax { .. }), "{error}");
}

#[test]
fn an_artifact_lists_a_bounded_number_of_files() {
    let schema = published_schema();
    for (files, read) in [(MAX_ARTIFACT_FILES, true), (MAX_ARTIFACT_FILES + 1, false)] {
        let mut value: Value = serde_saphyr::from_str(MINIMAL).expect("YAML");
        let listed = (0..files).map(|i| (format!("dist/{i}.js"), json!(Digest::of(b""))));
        value["artifact"] = json!({ "purl": "pkg:npm/a", "files": listed.collect::<serde_json::Map<_, _>>() });
        let manifest = Manifest::from_value("files", &value);
        assert_eq!((manifest.is_ok(), schema.is_valid(&value)), (read, read), "{files}");
        if let Ok(manifest) = manifest {
            assert_eq!(manifest.artifact().expect("an artifact").files().len(), files);
        }
    }
}
