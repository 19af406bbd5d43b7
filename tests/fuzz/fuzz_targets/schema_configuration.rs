//! A configuration schema made from bytes, and configurations bound to it. Two judges must agree: what `bind` accepts
//! leaves nothing open and binds to the same again, and each form of the schema is written or refused in bounded space.
#![no_main]

use std::collections::BTreeMap;

use arbitrary::Unstructured;
use fitment_catalog::{Compatibility, ConfigSchema, Configuration, Manifest, bind, compatibility};
use fitment_fuzz::{configuration, refused, schema};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

fn of(schema: &Value) -> Option<Manifest> {
    let value = json!({ "name": "a/b", "version": "1.0.0", "title": "T", "summary": "S", "kind": "service",
        "lifecycle": "certified", "license": "MIT", "owner": "o", "config_schema": schema });
    Manifest::from_value("m", &value).ok()
}

fuzz_target!(|bytes: &[u8]| {
    let mut u = Unstructured::new(bytes);
    let Ok(mut written) = schema(&mut u, 0) else { return };
    // The root is an object that is closed: anything else is refused at once.
    written["type"] = json!("object");
    written["additionalProperties"] = json!(false);
    let size = written.to_string().len();
    let accepted = match ConfigSchema::new(written.clone()) {
        Err(faults) => {
            assert!(!faults.is_empty());
            let text: Vec<String> =
                faults.iter().map(|fault| format!("{}: {}", fault.pointer, fault.description)).collect();
            return refused(&text.join("\n"), size);
        }
        Ok(accepted) => accepted,
    };
    if let Ok(grammar) = accepted.grammar() {
        assert!(grammar.text.len() <= 4 << 20, "a grammar of {} bytes", grammar.text.len());
    }
    let structured = accepted.structured_output();
    let itself = compatibility(Some(&accepted), Some(&accepted));
    assert!(!matches!(itself, Compatibility::Incompatible { .. }), "a schema breaks itself: {itself:?}");
    let Some(manifest) = of(&written) else { return };
    let Ok(value) = configuration(&mut u, &written, 0) else { return };
    if structured.is_ok() {
        let _ = accepted.from_structured(&value);
    }
    let _ = accepted.open_configuration(&value);
    let Ok(configuration) = Configuration::from_value("c", &value) else { return };
    match bind(&manifest, &configuration, &BTreeMap::new()) {
        Err(faults) => assert!(!faults.is_empty() && faults.len() <= fitment_catalog::MAX_FAULTS),
        Ok(bound) => {
            let again = Configuration::from_value("c", &bound.configuration).expect("what was bound");
            let again = bind(&manifest, &again, &BTreeMap::new()).expect("what was bound binds");
            assert_eq!(again.configuration, bound.configuration);
            assert_eq!(again.digest, bound.digest);
        }
    }
});
