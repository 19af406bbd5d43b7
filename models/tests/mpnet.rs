//! The accurate model against its reference vectors. Fetches 400 MB, hence behind the feature `mpnet`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall fail where it stands")]

use std::sync::OnceLock;

use fitment_models::{Embedder, LoadOptions, ModelCache, TerminalBar, load};

#[path = "it/support/reference.rs"]
mod reference;

use reference::Reference;

fn model() -> &'static dyn Embedder {
    static MODEL: OnceLock<Box<dyn Embedder>> = OnceLock::new();
    &**MODEL.get_or_init(|| {
        let cache = ModelCache::new(ModelCache::default_root(|name| std::env::var_os(name)).unwrap());
        let model = cache.pull("all-mpnet-base-v2", &TerminalBar::new()).unwrap();
        load(&model, &LoadOptions::default()).unwrap()
    })
}

fn reference() -> Vec<Reference> {
    reference::read("all-mpnet-base-v2.jsonl")
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
