//! A filter's text: what is accepted is written so that it reads back to the same, and means the same once simplified.
#![no_main]

use std::sync::LazyLock;

use fitment_catalog::{Filter, Format, Manifest, sample};
use fitment_fuzz::refused;
use libfuzzer_sys::fuzz_target;

static SAMPLE: LazyLock<Vec<Manifest>> = LazyLock::new(|| {
    let few = sample().step_by(6);
    few.map(|file| Manifest::parse(file.path, file.bytes, Format::Yaml).expect("a sample manifest")).collect()
});

fuzz_target!(|text: &str| {
    match Filter::parse(text) {
        Err(error) => refused(&error, text.len()),
        Ok(filter) => {
            let written = filter.to_string();
            assert_eq!(Filter::parse(&written).as_ref(), Ok(&filter.clone().simplified()), "{written}");
            let simple = filter.clone().simplified();
            for manifest in SAMPLE.iter() {
                assert_eq!(simple.matches(manifest), filter.matches(manifest), "{written}");
            }
        }
    }
});
