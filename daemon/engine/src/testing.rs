//! An engine for tests: a model that needs no weights, a clock that is set by hand.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fitment_catalog::Format;
use fitment_models::{
    Architecture, Compute, Embedder, ModelDigest, ModelError, ModelInfo, Pooling, Tokens, UnitVector,
};

use crate::audit::Author;
use crate::encoder::EncoderLimits;
use crate::engine::{Engine, EngineOptions};
use crate::error::EngineError;
use crate::feedback::FeedbackPolicy;
use crate::gaps::GapPolicy;
use crate::near::CatalogPolicy;
use crate::rank::Ranking;
use crate::writes::Import;

/// Puts a text on the axis of its first letter.
pub(crate) struct FirstLetter(ModelInfo);

impl FirstLetter {
    pub(crate) fn boxed(name: &str, dimension: usize) -> Box<Self> {
        Box::new(Self(ModelInfo {
            name: name.into(),
            digest: ModelDigest::of(name.as_bytes()),
            architecture: Architecture::Bert,
            dimension,
            max_tokens: 64,
            pooling: Pooling::Mean,
            query_prefix: String::new(),
            document_prefix: String::new(),
            weight_bytes: 0,
            compute: Compute::default(),
        }))
    }
}

impl Embedder for FirstLetter {
    fn info(&self) -> &ModelInfo {
        &self.0
    }

    fn tokenize(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        Ok(text.chars().map(u32::from).collect())
    }

    fn embed_tokens(&self, texts: &[&Tokens]) -> Result<Vec<UnitVector>, ModelError> {
        let axis = |text: &&Tokens| {
            let mut vector = vec![0.0; self.0.dimension];
            let letter = text.ids().first().map_or(0, |&id| id as usize);
            vector[letter % self.0.dimension] = 1.0;
            UnitVector::new(vector)
        };
        texts.iter().map(axis).collect()
    }
}

/// An engine whose clock shows `now`, in seconds.
pub(crate) fn open(folder: &Path, model: (&str, usize), policy: GapPolicy, now: &Arc<AtomicI64>) -> Engine {
    // A thread of the engine that was dropped just now may hold the store a moment longer.
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let clock = Arc::clone(now);
        let options = EngineOptions {
            data_dir: folder.to_path_buf(),
            store: None,
            store_cache_bytes: crate::store::DEFAULT_CACHE_BYTES,
            ranking: Ranking::default(),
            second_embedder: None,
            encoder: EncoderLimits { queue_capacity: 8, cache_bytes: 0, ..EncoderLimits::default() },
            clock: Arc::new(move || jiff::Timestamp::from_second(clock.load(Ordering::SeqCst)).expect("in range")),
            feedback: FeedbackPolicy::default(),
            catalog: CatalogPolicy::default(),
            gaps: policy,
        };
        // Opening blocks, and a runtime's own thread may not.
        let opened = thread::scope(|scope| {
            let open = || Engine::open(options, FirstLetter::boxed(model.0, model.1), &|_, _, _| {});
            scope.spawn(open).join().expect("no panic")
        });
        match opened {
            Err(EngineError::StoreInUse { .. }) if Instant::now() < deadline => thread::yield_now(),
            opened => return opened.expect("an engine"),
        }
    }
}

/// Writes a certified version of a component with some more fields of its manifest.
pub(crate) async fn import(engine: &Engine, name: &str, version: &str, more: &str) {
    let manifest = format!(
        "name: {name}\nversion: {version}\ntitle: Thing\nsummary: Does {name} things.\nkind: service\nlifecycle: certified\n\
         license: MIT\nowner: team-{name}\n{more}"
    );
    create(engine, manifest).await;
}

/// Writes a manifest, YAML.
pub(crate) async fn create(engine: &Engine, manifest: String) {
    let import = Import {
        manifest: manifest.into_bytes(),
        format: Format::Yaml,
        source: String::new(),
        expected_digest: String::new(),
        request_id: String::new(),
        author: Author::default(),
        allow_near_duplicate: false,
        standing: Vec::new(),
    };
    engine.create(import).await.expect("written");
}

/// An engine in 1970.
pub(crate) fn engine_in(folder: &Path) -> Engine {
    open(folder, ("letters", 32), GapPolicy::default(), &Arc::new(AtomicI64::new(0)))
}
