//! One forward pass by kernel, length and batch: `cargo bench -p fitment-benches --bench encoder`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fitment_models::{
    DEFAULT_MODEL, Embedder, EncoderChoice, Kernel, LoadOptions, ModelCache, Silent, TextRole, Tokens, load,
};

fn forward(criterion: &mut Criterion) {
    let root = ModelCache::default_root(|name| std::env::var_os(name)).expect("a cache folder");
    let model = ModelCache::new(root).pull(DEFAULT_MODEL, &Silent).expect("the default model");
    let kernels = Kernel::available().iter().map(|&kernel| EncoderChoice::Kernel(kernel));
    for encoder in kernels.chain([EncoderChoice::Candle]) {
        let embedder =
            load(&model, &LoadOptions { encoder, ..LoadOptions::default() }).expect("a kernel of this processor");
        let mut group = criterion.benchmark_group(format!("forward/{}", embedder.info().compute.kernel));
        group.sample_size(20);
        for batch in [1_usize, 8, 32] {
            for tokens in [8_usize, 16, 32, 64, 128, 256] {
                let texts = texts(&*embedder, batch, tokens);
                let texts: Vec<&Tokens> = texts.iter().collect();
                group.throughput(Throughput::Elements(batch as u64));
                group.bench_with_input(BenchmarkId::new(format!("batch {batch}"), tokens), &texts, |bencher, texts| {
                    bencher.iter(|| embedder.embed_tokens(black_box(texts)).expect("vectors"));
                });
            }
        }
    }
}

/// Different texts of exactly `tokens` tokens.
fn texts(embedder: &dyn Embedder, batch: usize, tokens: usize) -> Vec<Tokens> {
    const WORDS: [&str; 8] = ["pay", "show", "find", "read", "send", "book", "list", "plan"];
    let text = |text: usize| -> String {
        (0..tokens - 2).map(|n| WORDS[(n + text) % WORDS.len()]).collect::<Vec<_>>().join(" ")
    };
    (0..batch).map(|number| embedder.read(&text(number), TextRole::Query).expect("tokens")).collect()
}

criterion_group!(benches, forward);
criterion_main!(benches);
