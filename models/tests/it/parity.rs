//! The default model against reference vectors made by the original implementation.

use std::sync::OnceLock;

use fitment_models::{
    DEFAULT_MODEL, Embedder, EncoderChoice, Kernel, LoadOptions, ModelCache, Precision, TerminalBar, TextRole,
    UnitVector, load,
};
use proptest::prelude::*;

use crate::support::reference::{self, Bound, Reference};

/// The default model from the default cache, fetched when absent.
fn loaded(options: &LoadOptions) -> Box<dyn Embedder> {
    let cache = ModelCache::new(ModelCache::default_root(|name| std::env::var_os(name)).unwrap());
    let model = cache.pull(DEFAULT_MODEL, &TerminalBar::new()).unwrap();
    let embedder = load(&model, options).unwrap();
    assert_eq!(embedder.info().digest == model.digest(), embedder.info().compute.precision != Precision::Int8);
    embedder
}

/// The default model as it comes. Loaded once.
fn model() -> &'static dyn Embedder {
    static MODEL: OnceLock<Box<dyn Embedder>> = OnceLock::new();
    &**MODEL.get_or_init(|| loaded(&LoadOptions::default()))
}

fn reference() -> Vec<Reference> {
    reference::read("all-MiniLM-L6-v2.jsonl")
}

/// candle, and every kernel that this processor has, alone and in company.
#[test]
fn every_encoder_gives_the_ids_and_vectors_of_the_original() {
    let lines = reference();
    let kernels = Kernel::available().iter().map(|&kernel| EncoderChoice::Kernel(kernel));
    for encoder in std::iter::once(EncoderChoice::Candle).chain(kernels) {
        for threads in [1, 3] {
            let model = loaded(&LoadOptions { encoder, threads, ..LoadOptions::default() });
            let bound = Bound::of(model.info());
            bound.check_singles(&*model, &lines);
            bound.check_batch(&*model, &lines);
        }
    }
}

/// What a CUDA device computes by default, on this processor.
#[test]
fn half_precision_is_near_enough() {
    let lines = reference();
    let options =
        LoadOptions { encoder: EncoderChoice::Candle, precision: Some(Precision::F16), ..LoadOptions::default() };
    let model = loaded(&options);
    assert_eq!(model.info().compute.kernel, "candle-f16");
    let bound = Bound::of(model.info());
    bound.check_singles(&*model, &lines);
    bound.check_batch(&*model, &lines);
    bound.check_orders(&*model, &lines);
}

#[test]
fn order_and_company_change_nothing() {
    let lines = reference();
    let candle = loaded(&LoadOptions { encoder: EncoderChoice::Candle, ..LoadOptions::default() });
    Bound::of(candle.info()).check_orders(&*candle, &lines);
    Bound::of(model().info()).check_orders(model(), &lines);
}

/// Each value is summed in one order: not a bit changes with threads or company.
#[test]
fn threads_and_company_change_not_a_bit() {
    let lines = reference();
    let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
    for &kernel in Kernel::available() {
        let of = |threads| {
            loaded(&LoadOptions { encoder: EncoderChoice::Kernel(kernel), threads, ..LoadOptions::default() })
        };
        let (alone, three) = (of(1), of(3));
        let batch = three.embed(&texts, TextRole::Query).unwrap();
        for (text, in_batch) in texts.iter().zip(&batch) {
            assert_eq!(&alone.embed(&[text], TextRole::Query).unwrap()[0], in_batch, "{kernel}: {text:?}");
            assert_eq!(&three.embed(&[text], TextRole::Query).unwrap()[0], in_batch, "{kernel}: {text:?}");
        }
    }
}

#[test]
fn an_empty_batch_is_empty() {
    assert!(model().embed(&[], TextRole::Query).unwrap().is_empty());
}

#[test]
fn a_megabyte_costs_no_more_than_a_page() {
    let words = "pay with a saved card ".repeat(48_000);
    let page = words[..22 * 300].to_owned();
    let (long, short) = (model().tokenize(&words).unwrap(), model().tokenize(&page).unwrap());
    assert_eq!(long.len(), 256);
    assert_eq!(long, short);
    // One endless word, blanks, and letters without blanks: a vector each, no panic.
    let endless = ["x".repeat(1 << 20), " ".repeat(1 << 20), "日本".repeat(1 << 18), "\u{301}".repeat(1 << 19)];
    let texts: Vec<&str> = endless.iter().map(String::as_str).collect();
    assert_eq!(model().embed(&texts, TextRole::Document).unwrap().len(), 4);
}

#[test]
fn reading_in_pieces_gives_the_ids_of_the_whole() {
    // Each text is read in pieces when it is long; its first page is read whole and holds all tokens that are kept.
    for line in ["pay with a card\n", "déjà-vu 😀 naïve\t ", "日本語のカード", "x.y/z ", "e\u{301}a\u{300} "]
    {
        let page = line.repeat(3900 / line.chars().count());
        let ids = model().tokenize(&page).unwrap();
        assert_eq!(ids.len(), 256, "{line:?}");
        for copies in [2, 5, 100] {
            assert_eq!(model().tokenize(&page.repeat(copies)).unwrap(), ids, "{line:?} x {copies}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_text_has_a_vector(text in any::<String>()) {
        let ids = model().tokenize(&text).unwrap();
        prop_assert!((2..=256).contains(&ids.len()));
        let vectors: Vec<UnitVector> = model().embed(&[&text, ""], TextRole::Query).unwrap();
        prop_assert_eq!(vectors[0].dimension(), 384);
    }
}
