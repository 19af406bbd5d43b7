//! Damaged and foreign files: a clear error each, and never a panic.

use std::fs;
use std::path::Path;

use candle_core::DType;
use fitment_models::{LoadOptions, ModelError, TextRole, load, load_folder};
use proptest::prelude::*;
use serde_json::json;

use crate::cache::{cache, good_pip};
use crate::support::tiny::{self, FILES, Family, Published};

fn error(folder: &Path) -> ModelError {
    load_folder(folder, &LoadOptions::default()).err().expect("a damaged model does not load")
}

#[test]
fn an_installed_model_is_checked_when_it_is_loaded() {
    let published = Published::new();
    let model = cache(&published, good_pip(&published)).pull("tiny", &fitment_models::Silent).unwrap();
    for file in FILES {
        let path = model.folder.join(file);
        let good = fs::read(&path).unwrap();
        // In the header, in the middle, at the end.
        for at in [0, i64::try_from(good.len() / 2).unwrap(), -1] {
            tiny::flip(&path, at);
            let error = load(&model, &LoadOptions::default()).err().unwrap();
            assert!(
                matches!(&error, ModelError::WrongDigest { path, .. } if path.ends_with(file)),
                "{file} at {at}: {error}"
            );
            fs::write(&path, &good).unwrap();
        }
        tiny::truncate(&path, 1);
        let error = load(&model, &LoadOptions::default()).err().unwrap();
        assert!(matches!(error, ModelError::WrongSize { .. }), "{file}: {error}");
        fs::remove_file(&path).unwrap();
        let error = load(&model, &LoadOptions::default()).err().unwrap();
        assert!(matches!(&error, ModelError::MissingFile { file: named, .. } if named == file), "{file}: {error}");
        fs::write(&path, &good).unwrap();
    }
    assert!(load(&model, &LoadOptions::default()).is_ok());
}

#[test]
fn damaged_weights_are_said_to_be() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    tiny::write(folder, Family::Bert, "");
    let path = folder.join("model.safetensors");
    let good = fs::read(&path).unwrap();
    let check = |bytes: &[u8], expect: &str| {
        fs::write(&path, bytes).unwrap();
        let error = error(folder);
        assert!(matches!(error, ModelError::BadWeights { .. }), "{error}");
        assert!(error.to_string().contains(expect), "{error}");
    };
    check(&good[..good.len() - 1], "truncated or damaged");
    check(&good[..100], "is truncated: its header claims");
    check(&good[..7], "hold no safetensors header");
    check(b"", "hold no safetensors header");
    check(&[u64::MAX.to_le_bytes().as_slice(), &good[8..]].concat(), "its header claims");
    check(&[&good[..8], b"#", &good[9..]].concat(), "bad safetensors header");
    check(&[good.as_slice(), b"x"].concat(), "truncated or damaged");

    tiny::write(folder, Family::Bert, "");
    tiny::convert(folder, DType::I64);
    let error_of_type = error(folder);
    assert!(error_of_type.to_string().contains("do not fit config.json"), "{error_of_type}");
    // Weights of one family, configuration of another; and a layer too many.
    tiny::write(folder, Family::Mpnet, "");
    let mut config = tiny::config(Family::Bert);
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    assert!(matches!(error(folder), ModelError::BadWeights { .. }));
    tiny::write(folder, Family::Bert, "");
    for (key, value) in [("num_hidden_layers", 3), ("intermediate_size", 8), ("max_position_embeddings", 41)] {
        config = tiny::config(Family::Bert);
        config[key] = json!(value);
        fs::write(folder.join("config.json"), config.to_string()).unwrap();
        assert!(matches!(error(folder), ModelError::BadWeights { .. }), "{key}");
    }
}

#[test]
fn missing_and_foreign_files_are_named() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    for file in FILES {
        tiny::write(folder, Family::Bert, "");
        fs::remove_file(folder.join(file)).unwrap();
        let error = error(folder);
        assert!(matches!(&error, ModelError::MissingFile { file: named, .. } if named == file), "{error}");
    }
    tiny::write(folder, Family::Bert, "");
    fs::rename(folder.join("model.safetensors"), folder.join("pytorch_model.bin")).unwrap();
    let unsafe_weights = error(folder);
    assert!(unsafe_weights.to_string().contains("convert the weights to safetensors"), "{unsafe_weights}");

    tiny::write(folder, Family::Bert, "");
    fs::write(folder.join("config.json"), r#"{"model_type": "distilbert", "dim": 768}"#).unwrap();
    let foreign = error(folder);
    assert!(
        matches!(&foreign, ModelError::UnsupportedArchitecture { found, .. } if found == "distilbert"),
        "{foreign}"
    );
    fs::write(folder.join("config.json"), "{").unwrap();
    assert!(matches!(error(folder), ModelError::BadConfig { .. }));
}

#[test]
fn a_tokenizer_must_parse_and_fit() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    let check = |tokenizer: &str, expect: &str| {
        tiny::write(folder, Family::Bert, "");
        fs::write(folder.join("tokenizer.json"), tokenizer).unwrap();
        let error = error(folder);
        assert!(matches!(error, ModelError::BadTokenizer { .. }), "{error}");
        assert!(error.to_string().contains(expect), "{error}");
    };
    check("{}", "tokenizer.json");
    check("no json", "expected");
    let mut large = tiny::tokenizer();
    large["model"]["vocab"]["one-too-many"] = json!(16);
    check(&large.to_string(), "its highest token id is 16, the model embeds 16 tokens");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn no_damage_panics(
        file in 0..FILES.len(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        keep in prop::option::of(any::<prop::sample::Index>()),
        family in 0..Family::ALL.len(),
    ) {
        let home = tempfile::tempdir().unwrap();
        tiny::write(home.path(), Family::ALL[family], "");
        let path = home.path().join(FILES[file]);
        let mut bytes = fs::read(&path).unwrap();
        for (at, byte) in damage {
            // The first bytes of the weights are the ones that steer the reading.
            let reach = if FILES[file] == "model.safetensors" { bytes.len().min(2000) } else { bytes.len() };
            bytes[at.index(reach)] = byte;
        }
        if let Some(keep) = keep {
            bytes.truncate(keep.index(bytes.len()));
        }
        fs::write(&path, &bytes).unwrap();
        // Some damage leaves a model that loads: then it must embed or say why not.
        if let Ok(model) = load_folder(home.path(), &LoadOptions::default()) {
            let _ = model.embed(&["pay with a saved card", ""], TextRole::Query);
        }
    }
}
