//! The second stage: a more accurate model that re-scores the candidates, within a budget of time.
//!
//! It proposes nobody: candidates come from the first model, the words and the labels; their cosines by this model are one
//! signal more. Its encoder has a thread of its own. Vectors of the versions are made behind every intent, kept in the store,
//! and what lacks one counts with its cosine by the first model.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use fitment_index::DocId;
use fitment_models::{Embedder, ModelInfo, TextRole, UnitVector};
use fitment_ranking::Stop;
use parking_lot::Mutex;

use crate::admission::CallContext;
use crate::encoder::{Encoder, EncoderLimits};
use crate::engine::{Engine, Shared};
use crate::error::EngineError;
use crate::live::OnProgress;
use crate::normalize::normalize_text;

/// Versions that are encoded and written in one go.
const VERSIONS_AT_ONCE: usize = 16;
/// Texts of one forward pass in the background: few, since an intent waits for it and its budget runs meanwhile.
const TEXTS_BEHIND: usize = 4;
/// Texts of one forward pass when somebody waits for the whole.
const TEXTS_AWAITED: usize = 8;
/// How long work that waits for the background's does not look whether it is still wanted.
const LOOK: Duration = Duration::from_millis(50);

/// The second model and its thread.
pub(crate) struct SecondStage {
    pub(crate) encoder: Arc<Encoder>,
    budget: Duration,
    /// Sent to when versions were written; holds one wake-up at most.
    wake: Sender<()>,
    /// One goes on at a time, so that nothing is encoded twice.
    advancing: Arc<Mutex<()>>,
}

/// What the second stage had to say in an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecondStageUse {
    /// It is off, or the method does not ask it.
    #[default]
    Off,
    /// Every candidate has its cosine by the second model.
    Used,
    /// Some candidates have no vector of the second model yet and count with their cosine by the first.
    Incomplete,
    /// The intent's vector was not there in time: every candidate counts with its cosine by the first model.
    OverBudget,
}

/// What is known of the second stage.
#[derive(Clone, Debug)]
pub struct SecondStageInfo {
    /// Its model.
    pub model: ModelInfo,
    /// How long an answer waits for it.
    pub budget: Duration,
    /// Versions that may answer and have no vector of it yet.
    pub missing: usize,
}

/// An intent by the second model.
#[derive(Debug, Default)]
pub(crate) struct SecondView {
    /// Its vector, where it was there in time.
    pub(crate) vector: Option<UnitVector>,
    pub(crate) state: SecondStageUse,
    /// From the start of the match.
    pub(crate) waited: Duration,
}

impl SecondStageUse {
    /// Its name, as answers and logs write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Used => "used",
            Self::Incomplete => "incomplete",
            Self::OverBudget => "over budget",
        }
    }

    /// Why no promise is made: a calibration was fitted on answers that the second stage had its whole say in.
    pub(crate) fn no_promise(self) -> Option<&'static str> {
        match self {
            Self::Off | Self::Used => None,
            Self::Incomplete => Some(
                "some candidates have no vector of the second stage's model yet, and the calibration was fitted with them: \
                 candidates, and no promise",
            ),
            Self::OverBudget => Some(
                "the second stage was over its budget, and the calibration was fitted with it: candidates, and no promise",
            ),
        }
    }
}

impl SecondStage {
    /// Starts the encoder. Returns what the background thread listens to.
    pub(crate) fn start(
        embedder: Box<dyn Embedder>,
        limits: EncoderLimits,
        budget: Duration,
    ) -> Result<(Self, Receiver<()>), EngineError> {
        let (wake, woken) = bounded(1);
        let encoder = Arc::new(Encoder::start(embedder, "second", limits)?);
        Ok((Self { encoder, budget, wake, advancing: Arc::default() }, woken))
    }

    /// The same stage behind another first model: one encoder serves both.
    pub(crate) fn beside(&self) -> (Self, Receiver<()>) {
        let (wake, woken) = bounded(1);
        let (encoder, advancing) = (Arc::clone(&self.encoder), Arc::clone(&self.advancing));
        (Self { encoder, budget: self.budget, wake, advancing }, woken)
    }

    /// Lets the background thread look for versions without a vector.
    pub(crate) fn wake(&self) {
        // One that waits already will see these versions too.
        if let Err(TrySendError::Disconnected(())) = self.wake.try_send(()) {
            tracing::debug!("the second stage's thread has ended");
        }
    }

    /// Encodes an intent, unless that takes longer than the budget. What goes wrong costs the answer its second stage only.
    pub(crate) async fn view(&self, intent: &str, started: Instant, context: &CallContext) -> SecondView {
        // Its tokens were counted by the first encoder, and nobody waits for it longer than this.
        let context = CallContext { deadline: Some(started + self.budget), budget: None, ..context.clone() };
        let encoding = self.encoder.encode(vec![intent.to_owned()], TextRole::Query, &context);
        let encoded = tokio::time::timeout_at((started + self.budget).into(), encoding).await;
        let vector = match encoded {
            Ok(Ok(mut encoded)) => encoded.vectors.pop(),
            Ok(Err(EngineError::Overloaded { .. } | EngineError::Stopping)) | Err(_) => None,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the second stage could not encode an intent");
                None
            }
        };
        let state = if vector.is_some() { SecondStageUse::Used } else { SecondStageUse::OverBudget };
        SecondView { vector, state, waited: started.elapsed() }
    }

    pub(crate) fn digest(&self) -> String {
        self.encoder.info().digest.to_string()
    }
}

/// Tells work that it is not wanted any more, when it is dropped.
#[derive(Default)]
struct Wanted(Stop);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Engine {
    /// What the second stage is; `None`: off.
    pub fn second_stage(&self) -> Option<SecondStageInfo> {
        let shared = self.shared();
        let second = shared.second.as_ref()?;
        let missing = shared.index.searchable().view.without_second_stage().len();
        Some(SecondStageInfo { model: second.encoder.info().clone(), budget: second.budget, missing })
    }

    /// Digest of its model; `None`: off.
    pub fn second_stage_digest(&self) -> Option<String> {
        self.shared().second.as_ref().map(SecondStage::digest)
    }

    /// Whether every version that may answer has its vector of the second model; true when the stage is off.
    pub fn second_stage_ready(&self) -> bool {
        self.second_stage().is_none_or(|info| info.missing == 0)
    }

    /// Makes all vectors of the second model that are missing. Off, or none missing: returns at once.
    pub async fn complete_second_stage(&self, on_progress: OnProgress<'_>) -> Result<(), EngineError> {
        // Dropped with this call: what it had begun ends before its next forward pass.
        let wanted = Wanted::default();
        let mut total = 0;
        while let Some(info) = self.second_stage().filter(|info| info.missing > 0) {
            total = total.max(info.missing);
            on_progress("encoding for the second stage", (total - info.missing) as u64, total as u64);
            let stop = wanted.0.clone();
            self.compute(move |shared| shared.advance_second_stage(TEXTS_AWAITED, &stop)).await?;
        }
        if total > 0 {
            on_progress("encoding for the second stage", total as u64, total as u64);
        }
        Ok(())
    }

    /// Vectors of intents by the second model; empty when it is off.
    pub(crate) async fn second_vectors(&self, intents: &[String]) -> Result<Vec<UnitVector>, EngineError> {
        match &self.shared().second {
            Some(second) => second.encoder.encode_bulk(intents, TextRole::Query).await,
            None => Ok(Vec::new()),
        }
    }
}

impl Shared {
    /// Takes the second model's vectors from the store into the view, and starts the thread that makes those that are missing.
    pub(crate) fn bring_up_second_stage(self: &Arc<Self>, woken: Receiver<()>) -> Result<(), EngineError> {
        let Some(second) = &self.second else { return Ok(()) };
        let (digest, dimension) = (second.digest(), second.encoder.info().dimension);
        let missing = {
            let mut index = self.index.searchable_mut();
            self.store.read()?.second_stage(&digest, dimension, |doc, centroid| {
                index.view.set_second_stage(doc, centroid);
            })?;
            index.view.without_second_stage().len()
        };
        tracing::info!(model = second.encoder.info().name, missing, "second stage");
        let shared = Arc::downgrade(self);
        let work = move || {
            for () in woken {
                loop {
                    let Some(shared) = shared.upgrade() else { return };
                    match shared.advance_second_stage(TEXTS_BEHIND, &Stop::default()) {
                        Ok(0) => break,
                        Ok(_left) => {}
                        Err(EngineError::Stopping) => return,
                        Err(error) => {
                            tracing::error!(%error, "encoding for the second stage failed; tried again after the next write");
                            break;
                        }
                    }
                }
            }
        };
        thread::Builder::new()
            .name("second-stage".into())
            .spawn(work)
            .map_err(|source| EngineError::Io { path: "second-stage thread".into(), source })?;
        second.wake();
        Ok(())
    }

    /// Makes vectors of some of the versions that lack one. Returns how many lack one afterwards. Blocks.
    ///
    /// Errors: [`EngineError::Stopping`] once `stop` was told that nobody waits any more.
    fn advance_second_stage(&self, texts_at_once: usize, stop: &Stop) -> Result<usize, EngineError> {
        let Some(second) = &self.second else { return Ok(0) };
        let wanted = || stop.check().map_err(|_stopped| EngineError::Stopping);
        let _one = loop {
            wanted()?;
            if let Some(one) = second.advancing.try_lock_for(LOOK) {
                break one;
            }
        };
        let docs: Vec<DocId> =
            self.index.searchable().view.without_second_stage().iter().take(VERSIONS_AT_ONCE).collect();
        if docs.is_empty() {
            // Somebody else made them meanwhile: nothing to commit.
            return Ok(0);
        }
        let (mut texts, mut counts) = (Vec::new(), Vec::with_capacity(docs.len()));
        {
            let reader = self.store.read()?;
            for doc in docs {
                // Deleted since: the view will know in a moment.
                let Some(version) = reader.version(doc)? else { continue };
                counts.push((doc, version.facets.len()));
                texts.extend(version.facets.iter().map(|facet| normalize_text(&facet.text)));
            }
        }
        let mut vectors = Vec::with_capacity(texts.len());
        for texts in texts.chunks(texts_at_once) {
            wanted()?;
            vectors.extend(second.encoder.encode_behind(texts, TextRole::Document, texts_at_once)?);
        }
        let mut vectors = vectors.iter().map(UnitVector::as_slice);
        let dimension = second.encoder.info().dimension;
        let centroids: Vec<(DocId, Box<[f32]>)> = counts
            .into_iter()
            .map(|(doc, count)| (doc, centroid(vectors.by_ref().take(count), dimension).into()))
            .collect();
        self.store.put_second_stage(&second.digest(), &centroids)?;
        let mut index = self.index.searchable_mut();
        for (doc, centroid) in centroids {
            index.view.set_second_stage(doc, centroid);
        }
        Ok(index.view.without_second_stage().len())
    }
}

/// The mean's direction, unit length; all zero for a version without facets.
pub(crate) fn centroid<'v>(facets: impl Iterator<Item = &'v [f32]>, dimension: usize) -> Vec<f32> {
    let mut sum = vec![0f32; dimension];
    for facet in facets {
        sum.iter_mut().zip(facet).for_each(|(sum, value)| *sum += value);
    }
    let norm = sum.iter().map(|value| value * value).sum::<f32>().sqrt();
    if norm > 0.0 {
        for value in &mut sum {
            *value /= norm;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use fitment_models::{Architecture, ModelDigest, ModelError, Pooling, Tokens};
    use fitment_ranking::Signal;

    use super::*;
    use crate::audit::Author;
    use crate::engine::EngineOptions;
    use crate::feedback::FeedbackPolicy;
    use crate::gaps::GapPolicy;
    use crate::near::CatalogPolicy;
    use crate::pipeline::{MatchAnswer, MatchQuery};
    use crate::rank::{Ranking, SecondStageSettings};
    use crate::testing::create;

    /// Before a query, so that the encoder sees the role.
    const QUERY: &str = "query: ";

    /// Knows one word: what has it lies on one axis, what has not on another.
    struct OneWord {
        info: ModelInfo,
        word: &'static str,
        delay: Duration,
        documents: Arc<AtomicUsize>,
    }

    impl OneWord {
        fn boxed(word: &'static str, dimension: usize, delay: Duration, documents: &Arc<AtomicUsize>) -> Box<Self> {
            let info = ModelInfo {
                name: word.into(),
                digest: ModelDigest::of(word.as_bytes()),
                architecture: Architecture::Bert,
                dimension,
                max_tokens: 64,
                pooling: Pooling::Mean,
                query_prefix: QUERY.into(),
                document_prefix: String::new(),
                weight_bytes: 0,
                compute: fitment_models::Compute::default(),
            };
            Box::new(Self { info, word, delay, documents: Arc::clone(documents) })
        }
    }

    impl Embedder for OneWord {
        fn info(&self) -> &ModelInfo {
            &self.info
        }

        fn tokenize(&self, text: &str) -> Result<Vec<u32>, ModelError> {
            Ok(text.chars().map(u32::from).collect())
        }

        fn embed_tokens(&self, texts: &[&Tokens]) -> Result<Vec<UnitVector>, ModelError> {
            let texts: Vec<String> =
                texts.iter().map(|text| text.ids().iter().filter_map(|&id| char::from_u32(id)).collect()).collect();
            if texts.iter().any(|text| text.starts_with(QUERY)) {
                thread::sleep(self.delay);
            } else {
                self.documents.fetch_add(texts.len(), Ordering::SeqCst);
            }
            let axis = |text: &String| {
                let mut vector = vec![0.0; self.info.dimension];
                vector[usize::from(text.to_lowercase().contains(self.word))] = 1.0;
                UnitVector::new(vector)
            };
            texts.iter().map(axis).collect()
        }
    }

    /// The first model cannot tell the components apart, the second one can.
    fn open(folder: &std::path::Path, second: Option<(Duration, u64)>, documents: &Arc<AtomicUsize>) -> Engine {
        // A thread of the engine that was dropped just now may hold the store a moment longer.
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match try_open(folder, second, documents) {
                Err(EngineError::StoreInUse { .. }) if Instant::now() < deadline => thread::yield_now(),
                opened => return opened.expect("an engine"),
            }
        }
    }

    fn try_open(
        folder: &std::path::Path,
        second: Option<(Duration, u64)>,
        documents: &Arc<AtomicUsize>,
    ) -> Result<Engine, EngineError> {
        let settings = second.map(|(_, budget_ms)| SecondStageSettings { model: "blue".into(), budget_ms });
        let none = Arc::new(AtomicUsize::new(0));
        let options = EngineOptions {
            data_dir: folder.to_path_buf(),
            store: None,
            store_cache_bytes: crate::store::DEFAULT_CACHE_BYTES,
            ranking: Ranking { second_stage: settings.unwrap_or_default(), ..Ranking::default() },
            second_embedder: second.map(|(delay, _)| OneWord::boxed("blue", 3, delay, documents) as Box<dyn Embedder>),
            encoder: EncoderLimits { queue_capacity: 8, cache_bytes: 0, ..EncoderLimits::default() },
            clock: Arc::new(crate::system_clock),
            feedback: FeedbackPolicy::default(),
            catalog: CatalogPolicy::default(),
            gaps: GapPolicy::default(),
        };
        Engine::open(options, OneWord::boxed("nothing", 2, Duration::ZERO, &none), &|_, _, _| {})
    }

    async fn import(engine: &Engine, name: &str, summary: &str) {
        let manifest = format!(
            "name: test/{name}\nversion: 1.0.0\ntitle: Thing\nsummary: {summary}\nkind: service\nlifecycle: certified\n\
             license: MIT\nowner: o\n"
        );
        create(engine, manifest).await;
    }

    async fn ask(engine: &Engine) -> MatchAnswer {
        let query = MatchQuery { intent: "turn it BLUE".into(), ..MatchQuery::default() };
        engine.match_intent(query).await.expect("an answer")
    }

    fn cosines(answer: &MatchAnswer) -> Vec<f64> {
        answer.candidates.iter().map(|one| one.scored.signal(Signal::SecondStage)).collect()
    }

    const PATIENT: Option<(Duration, u64)> = Some((Duration::ZERO, 10_000));

    #[tokio::test]
    async fn it_orders_what_the_first_model_cannot_and_survives_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let documents = Arc::new(AtomicUsize::new(0));
        {
            let engine = open(folder.path(), None, &documents);
            import(&engine, "red", "Paints things red").await;
            import(&engine, "blues", "Plays theblues").await;
            let answer = ask(&engine).await;
            assert_eq!(answer.second_stage, SecondStageUse::Off);
            assert_eq!(cosines(&answer), [0.0, 0.0]);
            assert!(engine.second_stage().is_none() && engine.second_stage_ready());
        }
        {
            let engine = open(folder.path(), PATIENT, &documents);
            engine.complete_second_stage(&|_, _, _| {}).await.expect("complete");
            assert!(engine.second_stage_ready());
            let answer = ask(&engine).await;
            assert_eq!(answer.second_stage, SecondStageUse::Used);
            assert_eq!(answer.candidates[0].version.card.name.to_string(), "test/blues");
            assert_eq!(cosines(&answer), [1.0, 0.0]);
        }
        let made = documents.load(Ordering::SeqCst);
        assert!(made > 0);
        let engine = open(folder.path(), PATIENT, &documents);
        assert!(engine.second_stage_ready(), "read from the store");
        assert_eq!(cosines(&ask(&engine).await), [1.0, 0.0]);
        assert_eq!(documents.load(Ordering::SeqCst), made);

        let digest = engine.second_stage_digest().expect("on");
        let blues = crate::store::Standing {
            name: "test/blues".parse().expect("a name"),
            version: semver::Version::new(1, 0, 0),
            etag: String::new(),
            request_id: String::new(),
            author: Author::default(),
        };
        engine.delete(blues).await.expect("deleted");
        let mut kept = 0;
        let reader = engine.shared().store.read().expect("a reader");
        reader.second_stage(&digest, 3, |_, _| kept += 1).expect("read");
        assert_eq!(kept, 1, "a vector goes with its version");
    }

    #[tokio::test]
    async fn without_its_word_the_first_model_stands_in_and_nothing_is_promised() {
        let folder = tempfile::tempdir().expect("a folder");
        let documents = Arc::new(AtomicUsize::new(0));
        let engine = open(folder.path(), Some((Duration::from_secs(2), 20)), &documents);
        import(&engine, "red", "Paints things red").await;
        let started = Instant::now();
        let answer = ask(&engine).await;
        assert!(started.elapsed() < Duration::from_secs(2), "the answer did not wait");
        assert_eq!(answer.second_stage, SecondStageUse::OverBudget);
        let first = answer.candidates[0].scored.signal(Signal::Centroid);
        assert_eq!(cosines(&answer), [first]);
        assert!(answer.timings.second_stage >= Duration::from_millis(20));
        for state in [SecondStageUse::OverBudget, SecondStageUse::Incomplete] {
            assert!(state.no_promise().is_some());
        }
    }
}
