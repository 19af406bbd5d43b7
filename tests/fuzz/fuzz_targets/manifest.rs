//! A manifest, YAML or JSON: what is accepted reads back from each form that it can be written in.
#![no_main]

use fitment_catalog::{Format, Manifest, context_pack, facets, lexical_fields};
use fitment_fuzz::{choice, format, refused};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = choice(bytes) else { return };
    match Manifest::parse("m.yaml", bytes, format(kind)) {
        Err(error) => refused(&error, bytes.len()),
        Ok(manifest) => {
            assert_eq!(Manifest::parse("w.yaml", manifest.to_yaml().as_bytes(), Format::Yaml).as_ref(), Ok(&manifest));
            let canonical = manifest.canonical_json();
            let stored = Manifest::from_canonical_json("stored", &canonical).expect("the canonical form");
            assert_eq!(stored, manifest);
            assert_eq!(stored.canonical_json(), canonical);
            assert!(!facets(&manifest).is_empty());
            let words: usize = lexical_fields(&manifest).iter().map(|(_, text)| text.len()).sum();
            assert!(words <= 64 * 1024 + 16 * bytes.len());
            let _ = context_pack(&[], 100, &|text: &str| text.len());
        }
    }
});
