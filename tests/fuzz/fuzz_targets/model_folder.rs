//! A model's folder with one of its files changed or made of bytes: it is refused in words, or it loads and encodes.
#![no_main]

use std::sync::LazyLock;

use arbitrary::Unstructured;
use fitment_fuzz::model::Files;
use fitment_fuzz::{choice, edit, refused, scratch};
use fitment_models::{LoadOptions, TextRole, load_folder};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(scratch);
static GOOD: LazyLock<Files> = LazyLock::new(Files::sound);

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, rest)) = choice(bytes) else { return };
    let mut files = GOOD.clone();
    let mut u = Unstructured::new(rest);
    match kind % 8 {
        0 => files.config = rest.to_vec(),
        1 => files.tokenizer = rest.to_vec(),
        2 => files.weights = rest.to_vec(),
        3 => files.sentence = Some(rest.to_vec()),
        4 => files.edit_weights(&mut u),
        _ => {
            let file = match kind % 8 {
                5 => &mut files.config,
                6 => &mut files.tokenizer,
                _ => files.pooling.get_or_insert_with(|| br#"{"pooling_mode_mean_tokens": true}"#.to_vec()),
            };
            let mut value = serde_json::from_slice(file).unwrap_or_default();
            for _ in 0..u.int_in_range(1..=3).unwrap_or(1) {
                if edit(&mut u, &mut value).is_err() {
                    break;
                }
            }
            *file = value.to_string().into_bytes();
        }
    }
    files.write(FOLDER.path());
    match load_folder(FOLDER.path(), &LoadOptions { threads: 1, ..LoadOptions::default() }) {
        Err(error) => refused(&error, bytes.len()),
        Ok(model) => {
            assert!(!model.tokenize("pay").is_ok_and(|ids| ids.is_empty()));
            if let Ok(vectors) = model.embed(&["pay with a card", ""], TextRole::Query) {
                assert!(vectors.iter().all(|vector| vector.as_slice().len() == model.info().dimension));
                assert!(vectors.iter().flat_map(|vector| vector.as_slice()).all(|number| number.is_finite()));
            }
        }
    }
});
