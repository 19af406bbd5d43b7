//! The parts of a match on one machine: encoding an intent of 16 tokens, and exact search over 10,000 vectors.
//!
//! `cargo bench -p fitment-benches`

use criterion::{Criterion, criterion_group, criterion_main};
use fitment_index::{DenseIndex, DenseOptions, DocId, Effort};
use fitment_models::{DEFAULT_MODEL, LoadOptions, ModelCache, Silent, TextRole, load};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

fn encode(criterion: &mut Criterion) {
    let root = ModelCache::default_root(|name| std::env::var_os(name)).expect("a cache folder");
    let model = ModelCache::new(root).pull(DEFAULT_MODEL, &Silent).expect("the default model");
    let embedder = load(&model, &LoadOptions::default()).expect("a loadable model");
    let intent = "show all monthly invoices for the support team in a web page";
    criterion.bench_function("encode/16-tokens", |bencher| {
        bencher.iter(|| embedder.embed(&[intent], TextRole::Query).expect("a vector"));
    });
}

fn search(criterion: &mut Criterion) {
    const DIMENSION: usize = 384;
    let mut random = SmallRng::seed_from_u64(7);
    let mut vector = || -> Vec<f32> {
        let raw: Vec<f32> = (0..DIMENSION).map(|_| random.random_range(-1.0..1.0)).collect();
        let norm = raw.iter().map(|x| x * x).sum::<f32>().sqrt();
        raw.into_iter().map(|x| x / norm).collect()
    };
    let mut index = DenseIndex::new(DIMENSION, DenseOptions::default()).expect("a valid dimension");
    for doc in 0..10_000 {
        index.upsert(DocId(doc), &[vector().as_slice()]).expect("a unit vector");
    }
    let query = vector();
    criterion.bench_function("search/exact-10000", |bencher| {
        bencher.iter(|| index.search(&query, 100, None, Effort::Default).expect("hits"));
    });
}

criterion_group!(benches, encode, search);
criterion_main!(benches);
