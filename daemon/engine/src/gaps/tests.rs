//! Gaps of an engine over an empty catalogue, where nothing is met, with a clock and a model of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fitment_models::{
    Architecture, Compute, Embedder, ModelDigest, ModelError, ModelInfo, Pooling, Tokens, UnitVector,
};

use super::{GapPage, GapPolicy, GapText};
use crate::encoder::EncoderLimits;
use crate::engine::{Engine, EngineOptions};
use crate::error::EngineError;
use crate::feedback::FeedbackPolicy;
use crate::near::CatalogPolicy;
use crate::pipeline::MatchQuery;
use crate::rank::Ranking;

const DAY: i64 = 86_400;

/// Puts a text on the axis of its first letter.
struct FirstLetter(ModelInfo);

impl FirstLetter {
    fn boxed(name: &str, dimension: usize) -> Box<Self> {
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
fn open(folder: &std::path::Path, model: (&str, usize), policy: GapPolicy, now: &Arc<AtomicI64>) -> Engine {
    // A thread of the engine that was dropped just now may hold the store a moment longer.
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let clock = Arc::clone(now);
        let options = EngineOptions {
            data_dir: folder.to_path_buf(),
            store: None,
            ranking: Ranking::default(),
            second_embedder: None,
            encoder: EncoderLimits { queue_capacity: 8, cache_bytes: 0, batch_tokens: 4096 },
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

async fn ask(engine: &Engine, texts: &[&str]) {
    for text in texts {
        let query = MatchQuery { intent: (*text).to_owned(), remember: true, ..MatchQuery::default() };
        engine.match_intent(query).await.expect("an answer");
    }
}

/// How often each gap was asked: in all, in this window and in the one before.
async fn demand(engine: &Engine) -> Vec<(u64, u64, u64)> {
    let listing = engine.gaps(GapPage::default()).await.expect("a list");
    listing.gaps.iter().map(|gap| (gap.asked, gap.asked_in_window, gap.asked_in_window_before)).collect()
}

#[tokio::test]
async fn windows_move_with_the_clock_and_what_is_old_is_forgotten() {
    let folder = tempfile::tempdir().expect("a folder");
    let now = Arc::new(AtomicI64::new(1000 * DAY));
    let policy = GapPolicy { days: 20, ..GapPolicy::default() };
    let engine = open(folder.path(), ("a", 8), policy, &now);
    ask(&engine, &["brew", "brew", "walk"]).await;
    now.fetch_add(8 * DAY, Ordering::SeqCst);
    ask(&engine, &["brew", "brew", "brew"]).await;
    assert_eq!(demand(&engine).await, [(5, 3, 2), (1, 0, 1)]);
    now.fetch_add(13 * DAY, Ordering::SeqCst);
    ask(&engine, &["brew"]).await;
    assert_eq!(demand(&engine).await, [(4, 1, 3)], "the first day is over 20 days ago");
    drop(engine);
    now.fetch_add(30 * DAY, Ordering::SeqCst);
    let engine = open(folder.path(), ("a", 8), policy, &now);
    assert!(demand(&engine).await.is_empty());
}

#[tokio::test]
async fn another_model_makes_vectors_again_from_texts_and_drops_what_has_none() {
    for (text, expect, dropped) in [(GapText::Keep, vec![(2, 2, 0), (1, 1, 0)], 0), (GapText::Hash, vec![], 2)] {
        let folder = tempfile::tempdir().expect("a folder");
        let now = Arc::new(AtomicI64::new(1000 * DAY));
        let policy = GapPolicy { text, ..GapPolicy::default() };
        let engine = open(folder.path(), ("a", 8), policy, &now);
        ask(&engine, &["brew", "walk", "brew"]).await;
        let ids: Vec<String> =
            engine.gaps(GapPage::default()).await.expect("a list").gaps.into_iter().map(|gap| gap.id).collect();
        drop(engine);
        let engine = open(folder.path(), ("b", 16), policy, &now);
        assert_eq!(demand(&engine).await, expect);
        let listing = engine.gaps(GapPage::default()).await.expect("a list");
        assert_eq!(listing.counts.dropped, dropped);
        assert!(listing.gaps.iter().all(|gap| ids.contains(&gap.id)));
        drop(engine);
        let engine = open(folder.path(), ("b", 16), policy, &now);
        let counts = engine.gaps(GapPage::default()).await.expect("a list").counts;
        assert_eq!(counts.dropped, 0, "once");
    }
}

#[tokio::test]
async fn what_is_not_remembered_or_switched_off_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let now = Arc::new(AtomicI64::new(1000 * DAY));
    let engine = open(folder.path(), ("a", 8), GapPolicy::default(), &now);
    let query = MatchQuery { intent: "brew".into(), ..MatchQuery::default() };
    engine.match_intent(query).await.expect("an answer");
    assert!(demand(&engine).await.is_empty(), "nobody asked");
    drop(engine);
    let policy = GapPolicy { intents: 0, ..GapPolicy::default() };
    let engine = open(folder.path(), ("a", 8), policy, &now);
    ask(&engine, &["brew"]).await;
    assert!(demand(&engine).await.is_empty());
}
