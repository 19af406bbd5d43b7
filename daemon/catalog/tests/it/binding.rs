//! Binding a configuration: what is refused and why, what is filled in, what a port may stand for.

use std::collections::BTreeMap;

use fitment_catalog::{BindingFault, Bound, Configuration, Format, Manifest, Port, bind};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{component, manifest};

fn sign_in() -> Manifest {
    component(&json!({
        "type": "object", "additionalProperties": false, "required": ["issuer", "secret", "store"],
        "properties": {
            "issuer": { "type": "string", "format": "uri", "description": "Who signs people in" },
            "secret": { "type": "string", "pattern": "^secret://", "x-secret": true, "description": "Reference to the client secret" },
            "remember": { "type": "boolean", "default": true },
            "mode": { "type": "string", "enum": ["code", "hybrid"], "default": "code" },
            "port": { "type": "integer", "minimum": 1, "maximum": 65535 },
            "country": { "type": "string", "pattern": "^[A-Z]{2}$", "description": "ISO 3166 code" },
            "scopes": { "type": "array", "items": { "type": "string", "maxLength": 8 }, "uniqueItems": true, "maxItems": 3 },
            "store": {
                "type": "object", "additionalProperties": false, "required": ["url"],
                "properties": { "url": { "type": "string" }, "size": { "type": "integer", "default": 5 } },
            },
        },
    }))
}

fn bound(manifest: &Manifest, configuration: &Value, parts: &[(&str, &Manifest)]) -> Result<Bound, Vec<BindingFault>> {
    let configuration = Configuration::from_value("test", configuration).expect("within the limits");
    let parts: BTreeMap<String, &[Port]> =
        parts.iter().map(|(name, part)| ((*name).to_owned(), part.provides())).collect();
    bind(manifest, &configuration, &parts)
}

/// Each expected fault is `POINTER RULE` and, after a bar, parts of its words.
fn check_faults(manifest: &Manifest, configuration: &Value, parts: &[(&str, &Manifest)], expected: &[(&str, &str)]) {
    let faults = bound(manifest, configuration, parts).expect_err("faults");
    let found: Vec<String> = faults.iter().map(|fault| format!("{} {}", fault.pointer, fault.rule)).collect();
    let heads: Vec<&str> = expected.iter().map(|(head, _)| *head).collect();
    assert_eq!(found, heads, "{configuration}: {faults:#?}");
    for (fault, (_, words)) in faults.iter().zip(expected) {
        let text = fault.to_string();
        for word in words.split('|') {
            assert!(text.contains(word), "`{word}` is not in `{text}`");
        }
    }
}

#[test]
fn defaults_are_filled_in_and_the_result_has_an_address() {
    let written =
        json!({ "store": { "url": "redis://cache" }, "secret": "secret://vault/oidc", "issuer": "https://id.example" });
    let found = bound(&sign_in(), &written, &[]).expect("valid");
    let expected = json!({
        "issuer": "https://id.example", "secret": "secret://vault/oidc", "remember": true, "mode": "code",
        "store": { "url": "redis://cache", "size": 5 },
    });
    assert_eq!(found.configuration, expected);
    assert_eq!(
        String::from_utf8(found.canonical.clone()).expect("text"),
        r#"{"issuer":"https://id.example","mode":"code","remember":true,"secret":"secret://vault/oidc","store":{"size":5,"url":"redis://cache"}}"#
    );
    assert_eq!(found.digest, fitment_catalog::Digest::of(&found.canonical));
    assert_eq!(found.secrets, ["/secret"]);
    assert_eq!(bound(&sign_in(), &found.configuration, &[]).expect("again"), found);
}

#[test]
fn yaml_and_json_give_the_same() {
    let yaml = "issuer: https://id.example\nsecret: secret://vault/oidc\nport: 8443.0\nstore: { url: a }\n";
    let json = r#"{"store":{"url":"a"},"port":8443,"secret":"secret://vault/oidc","issuer":"https://id.example"}"#;
    let read = |text: &str| {
        let configuration = Configuration::parse("c", text.as_bytes(), Format::Auto).expect("read");
        bind(&sign_in(), &configuration, &BTreeMap::new()).expect("valid").digest
    };
    assert_eq!(read(yaml), read(json));
}

#[test]
fn all_faults_come_at_once_with_their_ways_out() {
    let written = json!({
        "issuer": "id.example", "isuer": "https://id.example", "port": "8443", "mode": "cod", "country": "Germany",
        "scopes": ["openid", "openid", "a-very-long-scope", "x"], "store": { "size": 2.5, "nothing_like_it": 1 }, "remember": 1,
    });
    check_faults(
        &sign_in(),
        &written,
        &[],
        &[
            ("/country pattern", "`^[A-Z]{2}$`|ISO 3166"),
            ("/issuer format", "absolute URI"),
            ("/isuer additionalProperties", "did you mean `issuer`?"),
            ("/mode enum", "\"code\", \"hybrid\"|did you mean `code`?"),
            ("/port type", "a text stands where an integer is wanted|without quotes"),
            ("/remember type", "true or false"),
            ("/scopes maxItems", "at most 3"),
            ("/scopes uniqueItems", "once"),
            ("/scopes/2 maxLength", "at most 8 characters"),
            ("/secret required", "Reference to the client secret"),
            ("/store/nothing_like_it additionalProperties", "use one of url, size"),
            ("/store/size type", "a number with a fraction stands where an integer"),
            ("/store/url required", "add it"),
        ],
    );
}

#[test]
fn alternatives_are_explained() {
    let one_of = component(&json!({
        "type": "object", "additionalProperties": false,
        "properties": { "path": { "type": "string" }, "url": { "type": "string" }, "never": false },
        "oneOf": [{ "required": ["path"] }, { "required": ["url"] }],
    }));
    check_faults(&one_of, &json!({}), &[], &[(" oneOf", "(1) add `path`|(2) add `url`")]);
    check_faults(&one_of, &json!({ "path": "a", "url": "b" }), &[], &[(" oneOf", "exactly one")]);
    check_faults(&one_of, &json!({ "path": "a", "never": 1 }), &[], &[("/never falseSchema", "remove it")]);
    assert!(bound(&one_of, &json!({ "path": "a" }), &[]).is_ok());
}

#[test]
fn without_a_schema_nothing_can_be_set() {
    assert_eq!(bound(&manifest(""), &json!({}), &[]).expect("valid").canonical, b"{}");
    check_faults(&manifest(""), &json!({ "a": 1 }), &[], &[("/a additionalProperties", "nothing can be set")]);
}

#[test]
fn size_depth_and_numbers_are_limited() {
    let refused = |bytes: &[u8]| Configuration::parse("c.json", bytes, Format::Json).expect_err("refused").to_string();
    assert!(refused(format!("{{\"a\": \"{}\"}}", "x".repeat(70_000)).as_bytes()).contains("65536"));
    assert!(refused(format!("{}1{}", "{\"a\":".repeat(40), "}".repeat(40)).as_bytes()).contains("32 levels"));
    assert!(refused(b"[1]").contains("mapping"));
    let mut deep = json!(1);
    for _ in 0..40 {
        deep = json!([deep]);
    }
    assert!(Configuration::from_value("c", &json!({ "a": deep })).is_err());
    let numbers = component(&json!({
        "type": "object", "additionalProperties": false, "properties": { "n": { "type": "integer" } },
    }));
    check_faults(&numbers, &json!({ "n": 9_007_199_254_740_993_i64 }), &[], &[("/n number", "lose digits")]);
    assert!(bound(&numbers, &json!({ "n": -9_007_199_254_740_991_i64 }), &[]).is_ok());
}

#[test]
fn defaults_that_would_flood_the_memory_are_refused() {
    let schema = json!({
        "type": "object", "additionalProperties": false,
        "properties": { "list": { "type": "array", "items": {
            "type": "object", "additionalProperties": false,
            "properties": { "text": { "type": "string", "default": "x".repeat(10_000) } },
        } } },
    });
    let many = json!({ "list": vec![json!({}); 5_000] });
    check_faults(&component(&schema), &many, &[], &[(" size", "1048576 bytes")]);
    assert!(!component(&schema).open_configuration(&many).is_satisfied());
}

#[test]
fn items_after_a_prefix_are_filled_and_the_prefix_is_not() {
    let item = json!({ "type": "object", "additionalProperties": false, "properties": { "n": { "type": "integer", "default": 1 } } });
    let first =
        json!({ "type": "object", "additionalProperties": false, "properties": { "m": { "type": "integer" } } });
    let schema = component(&json!({
        "type": "object", "additionalProperties": false,
        "properties": { "list": { "type": "array", "prefixItems": [first], "items": item } },
    }));
    let found = bound(&schema, &json!({ "list": [{}, {}] }), &[]).expect("valid");
    assert_eq!(found.configuration, json!({ "list": [{}, { "n": 1 }] }));
}

#[test]
fn secrets_are_references_and_are_never_repeated() {
    // In two pieces, so that scanners of source code have nothing to find.
    let token = ["ghp_", "016C7f8a9bCdEfGhIjKlMnOpQrStUvWxYz01"].concat();
    let written = json!({
        "issuer": "https://user:hunter2-hunter2@id.example", "secret": token, "store": { "url": token },
        token.as_str(): "x", "scopes": ["short"], "country": "DE", "unknown": { "deep": [token] },
    });
    let faults = bound(&sign_in(), &written, &[]).expect_err("faults");
    let found: Vec<String> = faults.iter().map(|fault| format!("{} {}", fault.pointer, fault.rule)).collect();
    assert_eq!(
        found,
        [
            "/ghp_… additionalProperties",
            "/ghp_… inline-secret/github-token",
            "/issuer inline-secret/url-password",
            "/secret secret-reference",
            "/store/url inline-secret/github-token",
            "/unknown additionalProperties",
            "/unknown/deep/0 inline-secret/github-token",
        ],
        "{faults:#?}"
    );
    let all = format!("{faults:?}");
    assert!(!all.contains(&token[4..9]) && !all.contains("hunter"), "{all}");
    for bad in ["secret://", "secret://a b", "SECRET://a", "plain", "secret://vault/ä", "secret://user:pass@vault"] {
        let written = json!({ "issuer": "https://id.example", "store": { "url": "a" }, "secret": bad });
        let faults = bound(&sign_in(), &written, &[]).expect_err(bad);
        assert_eq!(faults[0].rule.to_string(), "secret-reference", "{faults:?}");
        assert_eq!(faults.len(), 1, "{faults:?}");
    }
}

#[test]
fn what_the_schema_publishes_is_no_secret() {
    let digest = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b";
    let schema = json!({
        "type": "object", "additionalProperties": false,
        "properties": {
            "seed": { "type": "string", "default": digest },
            "key": { "anyOf": [{ "enum": ["none"] }, { "type": "string", "pattern": "^secret://", "x-secret": true }] },
        },
    });
    let found = bound(&component(&schema), &json!({ "key": "none" }), &[]).expect("valid");
    assert_eq!((found.configuration["seed"].as_str(), found.secrets.len()), (Some(digest), 0));
    assert!(bound(&component(&schema), &found.configuration, &[]).is_ok());
    check_faults(&component(&schema), &json!({ "key": "some" }), &[], &[("/key secret-reference", "secret://")]);
}

/// A part that offers one port with a value.
fn offering(schema: &Value, classes: &str) -> Manifest {
    manifest(&format!(
        "provides:\n  - {{ name: out, protocol: https, data_classes: [{classes}], value_schema: {schema} }}\n  - {{ name: slot, protocol: ui-slot }}\n"
    ))
}

#[test]
fn a_property_takes_its_value_from_a_port() {
    let issuer = offering(&json!({ "type": "string", "format": "uri" }), "internal");
    let vault = offering(&json!({ "type": "string", "pattern": "^secret://", "x-secret": true }), "secret");
    let number = offering(
        &json!({ "$ref": "#/$defs/n", "$defs": { "n": { "type": "integer", "minimum": 8000, "maximum": 9000 } } }),
        "",
    );
    let parts = [("identity", &issuer), ("vault", &vault), ("network", &number)];
    let written = json!({
        "issuer": { "$from": "identity.out" }, "secret": { "$from": "vault.out" }, "port": { "$from": "network.out" },
        "store": { "url": { "$from": "identity.out" } }, "scopes": ["a", { "$from": "vault.none" }],
    });
    check_faults(&sign_in(), &written, &parts, &[("/scopes/1 port-reference", "its ports are out, slot")]);
    let mut written = written;
    written["scopes"] = json!(["a"]);
    let found = bound(&sign_in(), &written, &parts).expect("valid");
    assert_eq!(found.configuration["issuer"], json!({ "$from": "identity.out" }));
    assert_eq!(found.configuration["store"], json!({ "url": { "$from": "identity.out" }, "size": 5 }));
    let bindings: Vec<String> = found.ports.iter().map(|port| format!("{} {}", port.pointer, port.from)).collect();
    assert_eq!(bindings, ["/issuer identity.out", "/secret vault.out", "/port network.out", "/store/url identity.out"]);
    assert_eq!(bound(&sign_in(), &found.configuration, &parts).expect("again"), found);
}

#[test]
fn ports_are_checked_against_what_they_may_give() {
    let text = offering(&json!({ "type": "string" }), "internal");
    let wide = offering(&json!({ "type": "integer", "minimum": 0, "maximum": 70000 }), "");
    let secret = offering(&json!({ "type": "string", "pattern": "^secret://" }), "secret");
    let parts = [("text", &text), ("wide", &wide), ("vault", &secret)];
    let with = |property: &str, port: &str| {
        let mut written = json!({ "issuer": "https://id.example", "secret": "secret://a", "store": { "url": "a" } });
        written[property] = json!({ "$from": port });
        written
    };
    check_faults(&sign_in(), &with("port", "wide.out"), &parts, &[("/port port-type", "`wide.out`")]);
    check_faults(&sign_in(), &with("issuer", "text.out"), &parts, &[("/issuer port-type", "`text.out`")]);
    check_faults(&sign_in(), &with("remember", "text.out"), &parts, &[("/remember port-type", "`type`|true or false")]);
    check_faults(
        &sign_in(),
        &with("secret", "text.out"),
        &parts,
        &[("/secret port-data-class", "takes a secret"), ("/secret port-type", "`text.out`")],
    );
    check_faults(
        &sign_in(),
        &with("country", "vault.out"),
        &parts,
        &[("/country port-data-class", "x-secret"), ("/country port-type", "")],
    );
    check_faults(
        &sign_in(),
        &with("port", "text.slot"),
        &parts,
        &[("/port port-type", "no value_schema|with a value are out")],
    );
    check_faults(&sign_in(), &with("port", "texd.out"), &parts, &[("/port port-reference", "did you mean `text`?")]);
    check_faults(&sign_in(), &with("port", "text"), &parts, &[("/port port-reference", "part.port")]);
    let mut twice = with("port", "wide.out");
    twice["port"]["more"] = json!(1);
    check_faults(&sign_in(), &twice, &parts, &[("/port port-reference", "other keys")]);
    // A configuration at whose root a reference stands binds nothing.
    check_faults(&manifest(""), &json!({ "$from": "text.out" }), &parts, &[("/$from additionalProperties", "")]);
}

#[test]
fn conditions_hold_for_whatever_a_port_gives() {
    let conditional = component(&json!({
        "type": "object", "additionalProperties": false,
        "properties": { "mode": { "enum": ["file", "net"] }, "url": { "type": "string" } },
        "if": { "properties": { "mode": { "const": "net" } }, "required": ["mode"] }, "then": { "required": ["url"] },
    }));
    let mode = offering(&json!({ "enum": ["file", "net"] }), "");
    let parts = [("part", &mode)];
    let written = json!({ "mode": { "$from": "part.out" } });
    let faults = bound(&conditional, &written, &parts).expect_err("net needs a url");
    assert!(
        faults.iter().all(|fault| ["port-type", "required"].contains(&fault.rule.to_string().as_str())),
        "{faults:?}"
    );
    assert!(bound(&conditional, &json!({ "mode": { "$from": "part.out" }, "url": "a" }), &parts).is_ok());
}

#[test]
fn a_manifest_says_what_a_port_gives() {
    let with = offering(
        &json!({ "type": "object", "additionalProperties": false, "properties": { "a": { "type": "string" } } }),
        "",
    );
    let again = Manifest::parse("m.yaml", with.to_yaml().as_bytes(), Format::Yaml).expect("again");
    assert_eq!((again.digest(), &again), (with.digest(), &with));
    let stored = Manifest::from_canonical_json("stored", &with.canonical_json()).expect("stored");
    assert_eq!(stored, with);
    assert!(with.provides()[0].value_schema().is_some() && with.provides()[1].value_schema().is_none());
    crate::support::published_schema().validate(&with.to_value()).expect("fits the published schema");
    let refused = |field: &str| {
        let text = format!("{}{field}", crate::support::MINIMAL);
        Manifest::parse("m.yaml", text.as_bytes(), Format::Yaml).expect_err(field).to_string()
    };
    assert!(
        refused("provides: [{ name: a, protocol: https, value_schema: { type: object } }]\n")
            .contains("additionalProperties")
    );
    assert!(refused("provides: [{ name: a, protocol: https, value_schema: {} }]\n").contains("state its `type`"));
    assert!(refused("provides: [{ name: a, protocol: https, value_schema: text }]\n").contains("mapping"));
    assert!(
        refused("requires: [{ name: a, protocol: https, value_schema: { type: string } }]\n").contains("unknown key")
    );
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        Just(json!({ "$from": "part.out" })),
        Just(json!("secret://a/b")),
    ];
    let name = prop_oneof![
        "[a-z]{1,3}",
        Just("issuer".to_owned()),
        Just("store".to_owned()),
        Just("$from".to_owned()),
        Just("scopes".to_owned())
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(name.clone(), inner, 0..5)
                .prop_map(|entries| entries.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(192) })]

    #[test]
    fn any_configuration_is_judged(value in value()) {
        let part = offering(&json!({ "type": "string", "maxLength": 4 }), "");
        let Ok(configuration) = Configuration::from_value("any", &value) else { return Ok(()) };
        match bind(&sign_in(), &configuration, &BTreeMap::from([("part".to_owned(), part.provides())])) {
            Ok(bound) => {
                let again = Configuration::from_value("again", &bound.configuration).expect("within the limits");
                let parts = BTreeMap::from([("part".to_owned(), part.provides())]);
                prop_assert_eq!(bind(&sign_in(), &again, &parts), Ok(bound));
            }
            Err(faults) => prop_assert!(!faults.is_empty() && faults.iter().all(|fault| !fault.way_out.is_empty())),
        }
    }
}
