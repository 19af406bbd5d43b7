//! What one call allocates, part by part of a match.
//!
//! The allocator counts what the whole process does, the second thread of a pass and the engine's own included; a part is
//! run many times and divided. Nothing else is measured while it counts.

#![expect(clippy::cast_precision_loss, reason = "figures for people")]

use std::alloc::System;
use std::io::Write;
use std::sync::Arc;

use fitment_engine::{
    CatalogPolicy, EncoderLimits, Engine, EngineOptions, FeedbackPolicy, GapPolicy, MatchQuery, Ranking, evaluate,
    system_clock,
};
use fitment_models::{DEFAULT_MODEL, Embedder, LoadOptions, ModelCache, Silent, TextRole, Tokens, load};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Calls before a count begins: buffers grow, caches fill.
const WARM: usize = 20;
/// Calls that are counted.
const CALLS: usize = 200;

fn print(line: &str) {
    // A closed standard output is nobody's loss.
    drop(writeln!(std::io::stdout(), "{line}"));
}

/// Allocations and bytes of one call, over many.
fn count(what: &str, mut call: impl FnMut(usize)) {
    (0..WARM).for_each(&mut call);
    let region = Region::new(ALLOCATOR);
    (WARM..WARM + CALLS).for_each(&mut call);
    let stats = region.change();
    let each = |total: usize| total as f64 / CALLS as f64;
    print(&format!(
        "{what:44} {:12.1} {:12.1} {:12.0}",
        each(stats.allocations),
        each(stats.reallocations),
        each(stats.bytes_allocated)
    ));
}

/// A text of `tokens` tokens, special ones counted: each word is one of this model's.
fn text_of(tokens: usize, number: usize) -> String {
    const WORDS: [&str; 8] = ["pay", "show", "find", "read", "send", "book", "list", "plan"];
    (0..tokens - 2).map(|word| WORDS[(word + number) % WORDS.len()]).collect::<Vec<_>>().join(" ")
}

fn allocations(embedder: Box<dyn Embedder>) {
    print(&format!("{:44} {:>12} {:>12} {:>12}", "one call", "allocations", "regrown", "bytes"));
    for (batch, tokens) in [(1, 16), (1, 128), (32, 16)] {
        let read = |number| embedder.read(&text_of(tokens, number), TextRole::Query).expect("a text");
        let texts: Vec<Tokens> = (0..batch).map(read).collect();
        let texts: Vec<&Tokens> = texts.iter().collect();
        count(&format!("forward, {batch} x {tokens} tokens, with its vectors"), |_| {
            drop(embedder.embed_tokens(&texts).expect("vectors"));
        });
    }
    for tokens in [16, 128] {
        let text = text_of(tokens, 0);
        count(&format!("text into {tokens} tokens"), |_| drop(embedder.read(&text, TextRole::Query).expect("a text")));
    }
    let intents: Vec<String> = (0..WARM + CALLS).map(|n| format!("{n} {}", text_of(14, n))).collect();
    let vectors: Vec<Vec<f32>> = intents
        .iter()
        .map(|intent| embedder.embed(&[intent], TextRole::Query).expect("a vector")[0].as_slice().to_vec())
        .collect();

    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
    let options = EngineOptions {
        data_dir: folder.path().to_path_buf(),
        store: None,
        store_cache_bytes: fitment_engine::DEFAULT_STORE_CACHE_BYTES,
        ranking: Ranking::default(),
        second_embedder: None,
        encoder: EncoderLimits { queue_capacity: 64, cache_bytes: 64 << 20, ..EncoderLimits::default() },
        clock: Arc::new(system_clock),
        feedback: FeedbackPolicy::default(),
        catalog: CatalogPolicy::default(),
        gaps: GapPolicy::default(),
    };
    let engine = Engine::open(options, embedder, &|_, _, _| {}).expect("an engine");
    let manifests = fitment_catalog::sample().map(|file| (file.path.to_owned(), file.bytes.to_vec()).into()).collect();
    runtime.block_on(evaluate::load(&engine, manifests, &|_, _, _| {})).expect("the sample");
    let ask = |query: MatchQuery| drop(runtime.block_on(engine.match_intent(query)).expect("an answer"));
    count("match, vector given: ranking and records", |n| {
        ask(MatchQuery { intent: intents[n].clone(), vector: vectors[n].clone(), ..MatchQuery::default() });
    });
    count("match, intent never seen", |n| ask(MatchQuery { intent: intents[n].clone(), ..MatchQuery::default() }));
    count("match, intent remembered", |n| ask(MatchQuery { intent: intents[n].clone(), ..MatchQuery::default() }));
}

fn main() {
    let cache = ModelCache::new(ModelCache::default_root(|name| std::env::var_os(name)).expect("a folder"));
    let model = cache.pull(DEFAULT_MODEL, &Silent).expect("the model");
    let embedder = load(&model, &LoadOptions::default()).expect("a loadable model");
    allocations(embedder);
}
