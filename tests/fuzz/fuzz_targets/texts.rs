//! Small texts that stand for something: names, versions' ranges, licences, digests, paths, globs, secrets, and an
//! application's description cut into intents.
#![no_main]

use fitment_assembly::split;
use fitment_catalog::{ComponentName, Digest, License, PortReference, RelativePath, Tag, detect_secret};
use fitment_fuzz::{choice, refused};
use fitment_index::{analyze_all_text, analyze_text};
use fitment_trust::NamePattern;
use libfuzzer_sys::fuzz_target;

/// What is accepted is written as it was read.
macro_rules! reads_back {
    ($type:ty, $text:expr) => {
        match $text.parse::<$type>() {
            Ok(read) => assert_eq!(read.to_string().parse::<$type>().as_ref(), Ok(&read)),
            Err(error) => refused(&error, $text.len()),
        }
    };
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, rest)) = choice(bytes) else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    match kind % 8 {
        0 => reads_back!(ComponentName, text),
        1 => reads_back!(Tag, text),
        2 => reads_back!(Digest, text),
        3 => reads_back!(License, text),
        4 => reads_back!(RelativePath, text),
        5 => {
            let _ = (text.parse::<NamePattern>(), text.parse::<PortReference>());
            let (field, text) = text.split_once('\n').unwrap_or(("token", text));
            if let Some(found) = detect_secret(field, text) {
                assert!(!format!("{found:?}").is_empty());
            }
        }
        6 => {
            if let Ok(intents) = split(text) {
                assert!(intents.len() <= fitment_assembly::MAX_INTENTS);
            }
        }
        _ => {
            assert!(analyze_text(text).len() <= analyze_all_text(text).len().max(fitment_index::MAX_QUERY_TERMS));
        }
    }
});
