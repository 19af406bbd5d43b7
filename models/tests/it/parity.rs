//! The default model against reference vectors made by the original implementation.

use std::sync::OnceLock;

use fitment_models::{DEFAULT_MODEL, Embedder, LoadOptions, ModelCache, TerminalBar, TextRole, UnitVector, load};
use proptest::prelude::*;

use crate::support::reference::{self, Reference};

/// The default model from the default cache, fetched when absent. Loaded once.
fn model() -> &'static dyn Embedder {
    static MODEL: OnceLock<Box<dyn Embedder>> = OnceLock::new();
    &**MODEL.get_or_init(|| {
        let cache = ModelCache::new(ModelCache::default_root(|name| std::env::var_os(name)).unwrap());
        let model = cache.pull(DEFAULT_MODEL, &TerminalBar::new()).unwrap();
        let embedder = load(&model, &LoadOptions::default()).unwrap();
        assert_eq!(embedder.info().digest, model.digest());
        embedder
    })
}

fn reference() -> Vec<Reference> {
    reference::read("all-MiniLM-L6-v2.jsonl")
}

#[test]
fn token_ids_and_vectors_are_those_of_the_original() {
    reference::check_singles(model(), &reference());
}

#[test]
fn a_batch_equals_single_texts() {
    reference::check_batch(model(), &reference());
}

#[test]
fn order_and_company_change_nothing() {
    reference::check_orders(model(), &reference());
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
