//! Texts through a tokenizer: of an installed model where `FITMENT_MODELS_DIR` has one, else of a small one made here. Every id
//! is within the vocabulary, no more of them than the model takes, and what comes of a text hangs on nothing else.
#![no_main]

use std::sync::LazyLock;

use fitment_fuzz::model::{Files, VOCABULARY};
use fitment_fuzz::scratch;
use fitment_models::{Embedder, LoadOptions, ModelCache, TextRole, load, load_folder};
use libfuzzer_sys::fuzz_target;

struct Model {
    embedder: Box<dyn Embedder>,
    /// A small one also encodes what it has read.
    encodes: bool,
    vocabulary: u32,
}

static MODEL: LazyLock<Model> = LazyLock::new(|| {
    let options = LoadOptions { threads: 1, ..LoadOptions::default() };
    if let Some(folder) = std::env::var_os("FITMENT_MODELS_DIR") {
        let model = ModelCache::new(folder).get(fitment_models::DEFAULT_MODEL).expect("an installed model");
        let embedder = load(&model, &options).expect("a sound model");
        return Model { embedder, encodes: false, vocabulary: 30_522 };
    }
    let folder = scratch();
    Files::sound().write(folder.path());
    let embedder = load_folder(folder.path(), &options).expect("a sound model");
    Model { embedder, encodes: true, vocabulary: VOCABULARY }
});

fuzz_target!(|text: &str| {
    let ids = MODEL.embedder.tokenize(text).expect("any text");
    assert!(!ids.is_empty() && ids.len() <= MODEL.embedder.info().max_tokens);
    assert!(ids.iter().all(|id| *id < MODEL.vocabulary));
    assert_eq!(MODEL.embedder.tokenize(text).expect("any text"), ids);
    if MODEL.encodes {
        let alone = MODEL.embedder.embed(&[text], TextRole::Query).expect("any text").remove(0);
        let batch = MODEL.embedder.embed(&["pay", text], TextRole::Query).expect("any text");
        assert!(alone.cosine(&batch[1]) > 0.999, "a text's vector hangs on its company");
    }
});
