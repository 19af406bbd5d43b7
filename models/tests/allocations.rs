//! A forward pass allocates the vectors that it gives back and nothing else, once its memory is there.
//!
//! In a binary of its own, with one test: the allocator counts what the whole process does.

use std::alloc::System;

use fitment_models::{
    DEFAULT_MODEL, Embedder, EncoderChoice, Kernel, LoadOptions, ModelCache, Precision, TerminalBar, TextRole, Tokens,
    load,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Passes that are counted.
const PASSES: usize = 20;
/// A helper that lets go of a pass a moment after its caller has gone on leaves the next one to take other memory, which is
/// made once.
const LATE: usize = 2;

/// Different texts of some words each.
fn texts(embedder: &dyn Embedder, count: usize, words: usize) -> Vec<Tokens> {
    const WORDS: [&str; 8] = ["pay", "show", "find", "read", "send", "book", "list", "plan"];
    let text = |text: usize| (0..words).map(|word| WORDS[(word + text) % WORDS.len()]).collect::<Vec<_>>().join(" ");
    (0..count).map(|n| embedder.read(&text(n), TextRole::Query).expect("a text")).collect()
}

#[test]
fn a_forward_pass_allocates_its_answer_and_nothing_else() {
    let cache = ModelCache::new(ModelCache::default_root(|name| std::env::var_os(name)).expect("a folder"));
    let model = cache.pull(DEFAULT_MODEL, &TerminalBar::new()).expect("the model");
    // What a pass keeps in memory depends on the precision; the instructions do not matter.
    let kernels = [Precision::F32, Precision::Bf16, Precision::Int8]
        .map(|precision| Kernel::available().iter().copied().find(|kernel| kernel.precision() == precision));
    for kernel in kernels.into_iter().flatten() {
        for threads in [1, 2] {
            let options = LoadOptions { encoder: EncoderChoice::Kernel(kernel), threads, ..LoadOptions::default() };
            let embedder = load(&model, &options).expect("a kernel of this processor");
            // One pass that threads share, a long one, and groups of texts that threads take for themselves.
            for (count, words) in [(1, 14), (1, 200), (12, 40)] {
                let texts = texts(&*embedder, count, words);
                let texts: Vec<&Tokens> = texts.iter().collect();
                let pass = || drop(embedder.embed_tokens(&texts).expect("vectors"));
                (0..3).for_each(|_| pass());
                let other = (0..PASSES).filter(|_| {
                    let region = Region::new(ALLOCATOR);
                    pass();
                    let Stats { allocations, reallocations, .. } = region.change();
                    (allocations, reallocations) != (count + 1, 0)
                });
                let (other, allowed) = (other.count(), if threads == 1 { 0 } else { LATE });
                assert!(
                    other <= allowed,
                    "{kernel}, {threads} threads, {count} texts of {words} words: {other} of {PASSES} passes allocated more \
                     than {count} vectors and their list"
                );
            }
        }
    }
}
