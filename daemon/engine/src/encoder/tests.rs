//! The encoder against a model that waits at a gate.

use std::sync::mpsc;

use parking_lot::Mutex;

use super::*;
use crate::admission::WorkClass;

/// Notes every batch, and waits at a gate before it answers.
struct Gated {
    info: ModelInfo,
    gate: Mutex<mpsc::Receiver<()>>,
    batches: mpsc::Sender<Vec<String>>,
}

impl Embedder for Gated {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn tokenize(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        Ok(text.bytes().map(u32::from).collect())
    }

    fn embed_tokens(&self, texts: &[&Tokens]) -> Result<Vec<UnitVector>, ModelError> {
        let text = |tokens: &&Tokens| tokens.ids().iter().filter_map(|&id| char::from_u32(id)).collect();
        self.batches.send(texts.iter().map(text).collect()).expect("the test listens");
        self.gate.lock().recv().expect("the test opens the gate");
        texts.iter().map(|_| UnitVector::new(vec![1.0, 0.0])).collect()
    }
}

fn gated(capacity: usize) -> (Arc<Encoder>, mpsc::Sender<()>, mpsc::Receiver<Vec<String>>) {
    gated_within(capacity, 4096)
}

fn gated_within(capacity: usize, batch_tokens: usize) -> (Arc<Encoder>, mpsc::Sender<()>, mpsc::Receiver<Vec<String>>) {
    let (open, gate) = mpsc::channel();
    let (batches, seen) = mpsc::channel();
    let info = ModelInfo {
        name: "gated".into(),
        digest: fitment_models::ModelDigest::of(b"gated"),
        architecture: fitment_models::Architecture::Bert,
        dimension: 2,
        max_tokens: 8,
        pooling: fitment_models::Pooling::Mean,
        query_prefix: String::new(),
        document_prefix: String::new(),
        weight_bytes: 0,
        compute: fitment_models::Compute::default(),
    };
    let limits =
        EncoderLimits { queue_capacity: capacity, cache_bytes: 1 << 20, batch_tokens, ..EncoderLimits::default() };
    let embedder = Gated { info, gate: Mutex::new(gate), batches };
    (Arc::new(Encoder::start(Box::new(embedder), "first", limits).expect("a thread")), open, seen)
}

fn ask(encoder: &Arc<Encoder>, text: &str) -> tokio::task::JoinHandle<Result<Encoded, EngineError>> {
    let (encoder, text) = (Arc::clone(encoder), text.to_owned());
    tokio::spawn(async move { encoder.encode(vec![text], TextRole::Query, &CallContext::default()).await })
}

/// Lets spawned tasks run until they wait.
async fn settle() {
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_waits_is_one_batch_and_work_whose_caller_left_is_never_encoded() {
    let (encoder, open, seen) = gated(8);
    let first = ask(&encoder, "first");
    settle().await;
    assert_eq!(seen.recv().expect("a batch"), ["first"]);
    let (second, left, third) = (ask(&encoder, "second"), ask(&encoder, "left"), ask(&encoder, "third"));
    settle().await;
    left.abort();
    settle().await;
    open.send(()).expect("open");
    assert_eq!(seen.recv().expect("a batch"), ["second", "third"]);
    open.send(()).expect("open");
    for answer in [first, second, third] {
        assert_eq!(answer.await.expect("joined").expect("encoded").vectors.len(), 1);
    }
}

#[tokio::test]
async fn a_pass_holds_no_more_tokens_than_it_may() {
    // A token is a letter here.
    let (encoder, open, seen) = gated_within(8, 12);
    let mut answers = vec![ask(&encoder, "first")];
    settle().await;
    assert_eq!(seen.recv().expect("a batch"), ["first"]);
    for text in ["second", "third", "fourth", "a longer text than that", "fifth"] {
        answers.push(ask(&encoder, text));
    }
    let together = {
        let encoder = Arc::clone(&encoder);
        let texts = ["one", "two", "three", "four", "five"].map(str::to_owned).to_vec();
        tokio::spawn(async move { encoder.encode(texts, TextRole::Query, &CallContext::default()).await })
    };
    settle().await;
    for _ in 0..7 {
        open.send(()).expect("open");
    }
    for answer in answers {
        assert_eq!(answer.await.expect("joined").expect("encoded").vectors.len(), 1);
    }
    assert_eq!(together.await.expect("joined").expect("encoded").vectors.len(), 5);
    let batches: Vec<Vec<String>> = seen.try_iter().collect();
    let expect: [&[&str]; 6] = [
        &["second", "third"],
        &["fourth"],
        &["a longer text than that"],
        &["fifth"],
        &["one", "two", "three"],
        &["four", "five"],
    ];
    assert_eq!(batches, expect);
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let (encoder, open, seen) = gated(1);
    let running = ask(&encoder, "running");
    settle().await;
    assert_eq!(seen.recv().expect("a batch"), ["running"]);
    let waiting = ask(&encoder, "waiting");
    settle().await;
    let refused = ask(&encoder, "refused").await.expect("joined");
    assert!(
        matches!(refused, Err(EngineError::Overloaded { cause: OverloadCause::Full { jobs: 1, .. }, .. })),
        "{refused:?}"
    );
    open.send(()).expect("open");
    open.send(()).expect("open");
    running.await.expect("joined").expect("encoded");
    waiting.await.expect("joined").expect("encoded");
}

#[tokio::test]
async fn intents_go_before_bulk_work() {
    let (encoder, open, seen) = gated(8);
    let texts: Vec<String> = (0..BULK_CHUNK * 3).map(|n| format!("text {n:02}")).collect();
    let bulk = {
        let encoder = Arc::clone(&encoder);
        tokio::spawn(async move { encoder.encode_bulk(&texts, TextRole::Document).await })
    };
    settle().await;
    assert_eq!(seen.recv().expect("a batch").len(), BULK_CHUNK);
    let intent = ask(&encoder, "intent");
    settle().await;
    for _ in 0..4 {
        open.send(()).expect("open");
    }
    assert_eq!(seen.recv().expect("a batch"), ["intent"], "before the second bulk job");
    intent.await.expect("joined").expect("encoded");
    assert_eq!(bulk.await.expect("joined").expect("encoded").len(), BULK_CHUNK * 3);
}

#[tokio::test]
async fn what_was_encoded_is_remembered_by_role() {
    let (encoder, open, seen) = gated(8);
    for _ in 0..3 {
        open.send(()).expect("open");
    }
    ask(&encoder, "again").await.expect("joined").expect("encoded");
    let context = CallContext::default();
    let both = encoder.encode(vec!["again".into(), "new".into()], TextRole::Query, &context).await.expect("encoded");
    assert_eq!(both.vectors.len(), 2);
    encoder.encode(vec!["again".into()], TextRole::Document, &context).await.expect("encoded");
    let batches: Vec<Vec<String>> = seen.try_iter().collect();
    assert_eq!(batches, [["again"], ["new"], ["again"]]);
    let CacheUse { hits, misses, .. } = encoder.cache_use();
    assert_eq!((hits, misses), (1, 3));
}

#[tokio::test]
async fn one_caller_cannot_fill_the_queue_for_another() {
    let (encoder, open, seen) = gated(4);
    let running = ask(&encoder, "running");
    settle().await;
    assert_eq!(seen.recv().expect("a batch"), ["running"]);
    let greedy: Vec<_> = ["one", "two", "three", "four"].map(|text| ask(&encoder, text)).into_iter().collect();
    settle().await;
    let modest = {
        let encoder = Arc::clone(&encoder);
        let context = CallContext { principal: "modest".into(), ..CallContext::default() };
        tokio::spawn(async move { encoder.encode(vec!["modest".into()], TextRole::Query, &context).await })
    };
    settle().await;
    for _ in 0..2 {
        open.send(()).expect("open");
    }
    modest.await.expect("joined").expect("encoded");
    let mut refused = 0;
    for answer in greedy {
        match answer.await.expect("joined") {
            Ok(encoded) => assert_eq!(encoded.vectors.len(), 1),
            Err(error) => {
                assert!(matches!(error, EngineError::Overloaded { cause: OverloadCause::Displaced, .. }), "{error}");
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 1, "the newest made room");
    running.await.expect("joined").expect("encoded");
}

#[tokio::test]
async fn what_would_be_late_is_refused_before_it_waits() {
    let (encoder, open, seen) = gated(64);
    // A pass of 8 tokens takes a second.
    for _ in 0..20 {
        let now = Instant::now();
        encoder.core.queue.began(8, now);
        encoder.core.queue.ended(8, Some(Duration::from_secs(1)));
    }
    let running = ask(&encoder, "running");
    settle().await;
    assert_eq!(seen.recv().expect("a batch"), ["running"]);
    let refused = ask(&encoder, "patient").await.expect("joined").expect_err("refused");
    let EngineError::Overloaded { cause: OverloadCause::Wait { wait, allowed }, retry_after, .. } = refused else {
        panic!("{refused}");
    };
    assert!(wait > allowed && retry_after >= wait.saturating_sub(allowed).saturating_sub(Duration::from_millis(1)));
    let several = |deadline| CallContext { work: WorkClass::Several, deadline, ..CallContext::default() };
    let hasty = several(Some(Instant::now() + Duration::from_millis(100)));
    let refused = encoder.encode(vec!["hasty".into()], TextRole::Query, &hasty).await.expect_err("refused");
    assert!(matches!(refused, EngineError::Overloaded { cause: OverloadCause::Deadline { .. }, .. }), "{refused}");
    let waiting = {
        let encoder = Arc::clone(&encoder);
        tokio::spawn(async move { encoder.encode(vec!["waiting".into()], TextRole::Query, &several(None)).await })
    };
    settle().await;
    assert_eq!(encoder.figures().tokens_waiting, 7);
    open.send(()).expect("open");
    open.send(()).expect("open");
    running.await.expect("joined").expect("encoded");
    waiting.await.expect("joined").expect("encoded");
}

#[tokio::test]
async fn more_tokens_than_may_wait_are_refused_and_a_large_call_is_taken_alone() {
    let (open, gate) = mpsc::channel();
    let (batches, seen) = mpsc::channel();
    let (template, ..) = gated(1);
    let info = template.info().clone();
    let limits = EncoderLimits { queue_tokens: 10, cache_bytes: 0, ..EncoderLimits::default() };
    let embedder = Gated { info, gate: Mutex::new(gate), batches };
    let encoder = Arc::new(Encoder::start(Box::new(embedder), "first", limits).expect("a thread"));
    let running = ask(&encoder, "running");
    settle().await;
    assert_eq!(seen.recv().expect("a batch"), ["running"]);
    let large = ask(&encoder, "larger than the queue");
    settle().await;
    let refused = ask(&encoder, "small").await.expect("joined").expect_err("refused");
    let full = OverloadCause::Full { jobs: 1, tokens: "larger than the queue".len() };
    assert!(matches!(refused, EngineError::Overloaded { cause, .. } if cause == full), "{refused}");
    open.send(()).expect("open");
    open.send(()).expect("open");
    running.await.expect("joined").expect("encoded");
    large.await.expect("joined").expect("encoded");
}

/// Has room for so many tokens and no more.
struct Allowance(Mutex<usize>);

impl crate::admission::TokenBudget for Allowance {
    fn take(&self, tokens: usize) -> Result<(), Duration> {
        let mut left = self.0.lock();
        *left = left.checked_sub(tokens).ok_or(Duration::from_secs(1))?;
        Ok(())
    }
}

#[tokio::test]
async fn tokens_are_paid_for_unless_they_are_remembered() {
    let (encoder, open, _seen) = gated(8);
    open.send(()).expect("open");
    let budget: Arc<dyn crate::admission::TokenBudget> = Arc::new(Allowance(Mutex::new(5)));
    let context = CallContext { budget: Some(budget), ..CallContext::default() };
    for _ in 0..2 {
        encoder.encode(vec!["words".into()], TextRole::Query, &context).await.expect("paid, then remembered");
    }
    let refused = encoder.encode(vec!["more".into()], TextRole::Query, &context).await.expect_err("nothing left");
    assert!(matches!(refused, EngineError::RateLimited { what: "tokens", .. }), "{refused}");
}
