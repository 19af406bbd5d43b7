//! Models loaded by folder, with pooling, prefixes and limits from their own files.

use std::fs;
use std::path::Path;

use candle_core::DType;
use fitment_models::{
    Architecture, Embedder, EncoderChoice, LoadOptions, ModelError, Pooling, Precision, TextRole, UnitVector,
    load_folder,
};

use crate::support::tiny::{self, Family};

const TEXTS: [&str; 7] = [
    "pay with a saved card",
    "",
    "show a chart of orders",
    "pay",
    "orders orders orders orders orders orders orders orders orders of a card",
    "show a chart of saved orders",
    "something unknown : here",
];

fn loaded(folder: &Path) -> Box<dyn Embedder> {
    load_folder(folder, &LoadOptions::default()).unwrap()
}

fn close(a: &UnitVector, b: &UnitVector) -> bool {
    a.cosine(b) >= 0.99999
}

#[test]
fn each_family_loads_and_batches_like_single_texts() {
    for (family, prefix, architecture) in [
        (Family::Bert, "", Architecture::Bert),
        (Family::Bert, "bert.", Architecture::Bert),
        (Family::XlmRoberta, "", Architecture::XlmRoberta),
        (Family::XlmRoberta, "roberta.", Architecture::XlmRoberta),
        (Family::Mpnet, "", Architecture::Mpnet),
        (Family::Mpnet, "mpnet.", Architecture::Mpnet),
    ] {
        let home = tempfile::tempdir().unwrap();
        tiny::write(home.path(), family, prefix);
        let model = loaded(home.path());
        assert_eq!((model.info().architecture, model.info().dimension), (architecture, tiny::HIDDEN));
        assert_eq!(model.info().pooling, Pooling::Mean, "the default");
        // Equal lengths, padded ones (11 and 12 tokens go together), and a bound that splits them.
        let long = "a card of a card of a card of";
        let longer = "a card of a card of a card of a";
        let texts: Vec<&str> = TEXTS.into_iter().chain([longer, long, longer]).collect();
        let batch = model.embed(&texts, TextRole::Query).unwrap();
        for (text, vector) in texts.iter().zip(&batch) {
            let single = &model.embed(&[text], TextRole::Query).unwrap()[0];
            assert!(close(single, vector), "{family:?} {text:?}: {}", single.cosine(vector));
        }
        let candle = LoadOptions { max_batch_tokens: 1, encoder: EncoderChoice::Candle, ..LoadOptions::default() };
        let split = load_folder(home.path(), &candle).unwrap();
        for (a, b) in batch.iter().zip(&split.embed(&texts, TextRole::Query).unwrap()) {
            assert!(close(a, b));
        }
        assert!(!close(&batch[0], &batch[2]), "different texts differ");
    }
}

#[test]
fn padding_and_truncation_of_the_tokenizer_are_off() {
    let home = tempfile::tempdir().unwrap();
    tiny::write(home.path(), Family::Bert, "");
    let model = loaded(home.path());
    assert_eq!(model.tokenize("pay with a saved card show orders").unwrap(), [0, 4, 5, 6, 7, 8, 12, 15, 2]);
    assert_eq!(model.tokenize("").unwrap(), [0, 2]);
    // 40 places, special tokens counted and kept.
    let ids = model.tokenize(&"pay ".repeat(1000)).unwrap();
    assert_eq!((ids.len(), ids[0], ids[39]), (40, 0, 2));
}

#[test]
fn pooling_prefixes_and_limits_come_from_the_folder() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    tiny::write(folder, Family::Bert, "");
    let plain = loaded(folder);
    fs::create_dir(folder.join("2_Pool")).unwrap();
    fs::write(
        folder.join("modules.json"),
        r#"[{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "2_Pool", "type": "sentence_transformers.models.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}]"#,
    )
    .unwrap();
    let pooling = folder.join("2_Pool/config.json");
    fs::write(
        &pooling,
        r#"{"word_embedding_dimension": 16, "pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}"#,
    )
    .unwrap();
    let cls = loaded(folder);
    assert_eq!(cls.info().pooling, Pooling::Cls);
    assert_ne!(cls.info().digest, plain.info().digest);
    let of = |model: &dyn Embedder, text: &str, role| model.embed(&[text], role).unwrap().remove(0);
    assert!(!close(&of(&*cls, "pay", TextRole::Query), &of(&*plain, "pay", TextRole::Query)));

    fs::write(
        folder.join("config_sentence_transformers.json"),
        r#"{"prompts": {"query": "query : ", "passage": "passage : "}, "default_prompt_name": null}"#,
    )
    .unwrap();
    fs::write(folder.join("sentence_bert_config.json"), r#"{"max_seq_length": 6, "do_lower_case": true}"#).unwrap();
    let model = loaded(folder);
    assert_eq!((model.info().query_prefix.as_str(), model.info().document_prefix.as_str()), ("query : ", "passage : "));
    assert_eq!(model.tokenize("PAY with a saved card").unwrap(), [0, 4, 5, 6, 7, 2], "lower-cased, six tokens");
    assert!(close(&of(&*model, "pay", TextRole::Query), &of(&*cls, "query : pay", TextRole::Query)));
    assert!(close(&of(&*model, "pay", TextRole::Document), &of(&*cls, "passage : pay", TextRole::Document)));
    assert_ne!(model.info().digest, cls.info().digest);

    for (config, expect) in [
        (r#"{"pooling_mode": "max"}"#, Some(Pooling::Max)),
        (r#"{"pooling_mode_mean_sqrt_len_tokens": true}"#, Some(Pooling::Mean)),
        (r#"{"pooling_mode_lasttoken": true}"#, None),
        (r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true}"#, None),
        (r#"{"pooling_mode_mean_tokens": true, "include_prompt": false}"#, None),
    ] {
        fs::write(&pooling, config).unwrap();
        match (load_folder(folder, &LoadOptions::default()), expect) {
            (Ok(model), Some(expect)) => assert_eq!(model.info().pooling, expect),
            (Err(ModelError::UnsupportedFeature { .. }), None) => {}
            (Ok(_), None) => panic!("{config} loads"),
            (Err(error), _) => panic!("{config}: {error}"),
        }
    }
    fs::write(folder.join("modules.json"), r#"[{"path": "3_Dense", "type": "sentence_transformers.models.Dense"}]"#)
        .unwrap();
    let error = load_folder(folder, &LoadOptions::default()).err().unwrap().to_string();
    assert!(error.contains("the module `sentence_transformers.models.Dense` is not supported"), "{error}");
    fs::write(folder.join("modules.json"), r#"[{"path": "../x", "type": "sentence_transformers.models.Pooling"}]"#)
        .unwrap();
    assert!(matches!(load_folder(folder, &LoadOptions::default()), Err(ModelError::UnsupportedFeature { .. })));
}

#[test]
fn half_precision_weights_load() {
    let home = tempfile::tempdir().unwrap();
    tiny::write(home.path(), Family::Bert, "");
    let exact = loaded(home.path()).embed(&TEXTS, TextRole::Query).unwrap();
    for dtype in [DType::F16, DType::BF16, DType::F64] {
        tiny::write(home.path(), Family::Bert, "");
        tiny::convert(home.path(), dtype);
        for (a, b) in exact.iter().zip(&loaded(home.path()).embed(&TEXTS, TextRole::Query).unwrap()) {
            assert!(a.cosine(b) > 0.999, "{dtype:?}: {}", a.cosine(b));
        }
    }
}

/// The same weights in f32 and in f16, by candle; texts of several lengths, so that some are padded.
#[test]
fn every_family_computes_in_half_precision() {
    for family in Family::ALL {
        let home = tempfile::tempdir().unwrap();
        tiny::write(home.path(), family, "");
        let of = |precision| {
            let encoder = EncoderChoice::Candle;
            let options = LoadOptions { encoder, precision: Some(precision), ..LoadOptions::default() };
            load_folder(home.path(), &options).unwrap().embed(&TEXTS, TextRole::Query).unwrap()
        };
        for (exact, half) in of(Precision::F32).iter().zip(&of(Precision::F16)) {
            assert!(exact.cosine(half) > 0.9999, "{family:?}: {}", exact.cosine(half));
        }
        let options = LoadOptions { precision: Some(Precision::F16), ..LoadOptions::default() };
        let error = load_folder(home.path(), &options).err().unwrap().to_string();
        assert!(error.contains("no encoder kernel for `f16`"), "{error}");
    }
}
