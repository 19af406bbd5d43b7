//! All of a match but the encoder, through the engine: filter, both searches, signals, confidence, records, decision.
//!
//! `cargo bench -p fitment-benches --bench ranking`. Components, texts and vectors are generated: a word is a fixed random
//! direction and a text the sum of its words', so that searches find neighbourhoods as those of real texts are.

use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use fitment_catalog::Format;
use fitment_engine::{
    Author, CatalogPolicy, EncoderLimits, Engine, EngineOptions, FeedbackPolicy, GapPolicy, Import, MatchQuery,
    Ranking, system_clock,
};
use fitment_models::{
    Architecture, Compute, Embedder, ModelDigest, ModelError, ModelInfo, Pooling, TextRole, Tokens, UnitVector,
};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

const DIMENSION: usize = 384;
/// Words there are; the lower its number the more often a word is used.
const WORDS: u64 = 20_000;
/// Words that are about the same thing.
const TOPIC: u64 = 40;
const SYLLABLES: [&str; 16] =
    ["ra", "ten", "mo", "vil", "sor", "ka", "lin", "per", "du", "gan", "ti", "fo", "bel", "nus", "qui", "zar"];
/// Manifests written in one commit.
const AT_ONCE: usize = 5000;

fn word(number: u64) -> String {
    let mut rest = number + 17;
    let mut word = String::new();
    while rest > 0 {
        word.push_str(SYLLABLES[usize::try_from(rest % 16).unwrap_or(0)]);
        rest /= 16;
    }
    word
}

/// A few words of one topic among words of any.
fn text(random: &mut SmallRng, words: usize) -> String {
    let topic = random.random_range(0..WORDS / TOPIC);
    let mut pick = |_| {
        if random.random_bool(0.6) {
            return word(topic * TOPIC + random.random_range(0..TOPIC));
        }
        let low: f64 = random.random_range(0.0..1.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "0..WORDS"
        )]
        word((low.powi(3) * WORDS as f64) as u64)
    };
    (0..words).map(&mut pick).collect::<Vec<_>>().join(" ")
}

/// Adds words up.
struct Sums(ModelInfo);

impl Sums {
    fn new() -> Self {
        Self(ModelInfo {
            name: "sums".into(),
            digest: ModelDigest::of(b"sums"),
            architecture: Architecture::Bert,
            dimension: DIMENSION,
            max_tokens: 512,
            pooling: Pooling::Mean,
            query_prefix: String::new(),
            document_prefix: String::new(),
            weight_bytes: 0,
            compute: Compute::default(),
        })
    }
}

impl Embedder for Sums {
    fn info(&self) -> &ModelInfo {
        &self.0
    }

    fn tokenize(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        Ok(text.chars().map(u32::from).collect())
    }

    fn embed_tokens(&self, texts: &[&Tokens]) -> Result<Vec<UnitVector>, ModelError> {
        let sum = |text: &&Tokens| {
            let text: String = text.ids().iter().filter_map(|&id| char::from_u32(id)).collect();
            let mut sum = vec![1e-3f32; DIMENSION];
            for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
                let seed =
                    word.bytes().fold(7u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
                let mut random = SmallRng::seed_from_u64(seed);
                for value in &mut sum {
                    *value += random.random_range(-1.0f32..1.0);
                }
            }
            UnitVector::new(sum)
        };
        texts.iter().map(sum).collect()
    }
}

fn manifest(number: usize, random: &mut SmallRng) -> Import {
    let (title, summary) = (text(random, 2), text(random, 12));
    let manifest = format!(
        r#"{{"name": "bench/c{number}", "version": "1.0.0", "title": "{title}", "summary": "{summary}", "kind": "library",
            "lifecycle": "certified", "license": "MIT", "owner": "bench"}}"#
    );
    Import {
        manifest: manifest.into_bytes(),
        format: Format::Json,
        source: String::new(),
        expected_digest: String::new(),
        request_id: String::new(),
        author: Author::default(),
        allow_near_duplicate: true,
        standing: Vec::new(),
    }
}

async fn filled(folder: &std::path::Path, components: usize) -> Engine {
    let options = EngineOptions {
        data_dir: folder.to_path_buf(),
        store: None,
        store_cache_bytes: fitment_engine::DEFAULT_STORE_CACHE_BYTES,
        ranking: Ranking::default(),
        second_embedder: None,
        encoder: EncoderLimits { queue_capacity: 64, cache_bytes: 0, ..EncoderLimits::default() },
        clock: Arc::new(system_clock),
        feedback: FeedbackPolicy::default(),
        catalog: CatalogPolicy::default(),
        gaps: GapPolicy::default(),
    };
    let engine = Engine::open(options, Box::new(Sums::new()), &|_, _, _| {}).expect("an engine");
    let mut random = SmallRng::seed_from_u64(11);
    for from in (0..components).step_by(AT_ONCE) {
        let numbers = from..components.min(from + AT_ONCE);
        let written = engine.import(numbers.map(|number| manifest(number, &mut random)).collect()).await;
        assert!(written.expect("a commit").iter().all(Result::is_ok));
    }
    // A small catalogue has no graph to build.
    if engine.info().vectors >= 25_000 {
        engine.seal_now(&|_, _, _| {}).expect("a graph");
    }
    engine
}

fn ranking(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
    let mut random = SmallRng::seed_from_u64(5);
    let intents: Vec<String> = (0..256).map(|_| text(&mut random, 10)).collect();
    let texts: Vec<&str> = intents.iter().map(String::as_str).collect();
    let vectors = Sums::new().embed(&texts, TextRole::Query).expect("vectors");
    for components in [1_000, 100_000] {
        let folder = tempfile::tempdir().expect("a folder");
        // Made when it is needed: a filter may leave this one out.
        let mut made = None;
        let mut next = 0;
        criterion.bench_function(&format!("ranking/{components}"), |bencher| {
            let engine = made.get_or_insert_with(|| runtime.block_on(filled(folder.path(), components)));
            bencher.iter(|| {
                next = (next + 1) % intents.len();
                let query = MatchQuery {
                    intent: intents[next].clone(),
                    vector: vectors[next].as_slice().to_vec(),
                    ..MatchQuery::default()
                };
                runtime.block_on(engine.match_intent(query)).expect("an answer")
            });
        });
    }
}

criterion_group!(benches, ranking);
criterion_main!(benches);
