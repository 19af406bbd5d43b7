//! The accurate model against its reference vectors. Fetches 400 MB, hence behind the feature `mpnet`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall fail where it stands")]

use fitment_models::{Embedder, EncoderChoice, Kernel, LoadOptions, ModelCache, TerminalBar, load};

#[path = "it/support/reference.rs"]
mod reference;

use reference::Bound;

fn loaded(encoder: EncoderChoice) -> Box<dyn Embedder> {
    let cache = ModelCache::new(ModelCache::default_root(|name| std::env::var_os(name)).unwrap());
    let model = cache.pull("all-mpnet-base-v2", &TerminalBar::new()).unwrap();
    load(&model, &LoadOptions { encoder, ..LoadOptions::default() }).unwrap()
}

#[test]
fn every_encoder_gives_the_ids_and_vectors_of_the_original() {
    let lines = reference::read("all-mpnet-base-v2.jsonl");
    let kernels = Kernel::available().iter().map(|&kernel| EncoderChoice::Kernel(kernel));
    for encoder in std::iter::once(EncoderChoice::Candle).chain(kernels) {
        let model = loaded(encoder);
        let bound = Bound::of(model.info());
        bound.check_singles(&*model, &lines);
        bound.check_batch(&*model, &lines);
        if encoder == EncoderChoice::Candle {
            bound.check_orders(&*model, &lines);
        }
    }
}
