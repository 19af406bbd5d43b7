//! The match pipeline: from an intent to an answer, each step named once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fitment_catalog::Filter;
use fitment_index::{DenseResult, DocSet, Effort, LexicalResult, Plan};
use fitment_models::{TextRole, UnitVector};
use fitment_ranking::{Confidence, RankedSignals, Ranker, Signal, term_ids};
use serde_json::Value;

use crate::admission::CallContext;
use crate::calibration::Calibration;
use crate::certification::Certified;
use crate::economics::{checked_lines, checked_team};
use crate::engine::{Engine, Shared};
use crate::error::EngineError;
use crate::language::foreign_language;
use crate::live::Searchable;
use crate::normalize::normalize_intent;
use crate::rank::{Method, Scored, order};
use crate::second_stage::{SecondStageUse, SecondView};
use crate::signals::{self, Context};
use crate::store::{Revision, StoredVersion};
use crate::view::FilterStage;

/// Candidates of one answer at most.
pub const MAX_TOP_K: usize = 100;
/// Candidates of an answer when the caller does not say.
pub const DEFAULT_TOP_K: usize = 5;

/// Components of a set at most.
pub const MAX_SET_SIZE: usize = 10;

/// From this many vectors on a walk must keep more rows to miss as few: measured at 100,000, 640,000 and a million.
const LARGE_INDEX: usize = 250_000;

/// Rows that a walk through the graph of so many vectors keeps, for a recall@10 of 0.99. Its deep list feeds the fusion: the
/// index's default is for ten hits.
pub(crate) fn effort(rows: usize) -> Effort {
    Effort::Rows(if rows < LARGE_INDEX { 256 } else { 384 })
}

/// An intent and what is asked about it.
#[derive(Clone, Debug, Default)]
pub struct MatchQuery {
    /// The intent as it came.
    pub intent: String,
    /// Candidates wanted, 1..=100; 0: [`DEFAULT_TOP_K`].
    pub top_k: usize,
    /// Which versions may answer.
    pub filter: Option<Filter>,
    /// Configuration that the caller has settled; an object or null.
    pub bound: Value,
    /// The revision that the answer must have seen.
    pub min_revision: Revision,
    /// The intent's vector, where the caller has it; empty: to be encoded.
    pub vector: Vec<f32>,
    /// The same by the second stage's model; such an answer is never over budget.
    pub second_vector: Vec<f32>,
    /// Whether to say how the answer came about.
    pub explain: bool,
    /// Components wanted together, 0..=10: more than one asks for a set that covers the intent between them.
    pub set_size: usize,
    /// How candidates are ordered.
    pub method: Method,
    /// Whether to remember the answer, so that it can be given an outcome.
    pub remember: bool,
    /// The team that asks, for the economics; empty: none.
    pub team: String,
    /// Lines of code that the caller would generate without an answer, for the economics; 0: not stated.
    pub generated_lines: u32,
    /// Who asks and until when.
    pub context: CallContext,
}

/// How little must be generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing.
    ZeroGeneration,
    /// A configuration inside a closed schema.
    MinimalGeneration,
    /// Everything: nothing certified fits.
    RawGeneration,
    /// No promise.
    Candidates,
}

/// The answer to an intent.
#[derive(Debug)]
pub struct MatchAnswer {
    /// Unique, ordered by time.
    pub decision_id: uuid::Uuid,
    /// How little must be generated.
    pub outcome: Outcome,
    /// Best first.
    pub candidates: Vec<Candidate>,
    /// Why the answer abstains or promises nothing; empty otherwise.
    pub reason: String,
    /// Probability that the best candidate meets the intent, 0..=1: what thresholds are compared with.
    pub confidence: f64,
    /// Probability that any component meets the intent, 0..=1.
    pub in_scope: f64,
    /// The components that the intent needs together, where a set was asked for.
    pub set: Option<ComponentSet>,
    /// The language that the intent seems to be in, where the model does not speak it.
    pub foreign_language: Option<&'static str>,
    /// The ranker that ordered the candidates.
    pub ranker_id: String,
    /// What the second stage had to say.
    pub second_stage: SecondStageUse,
    /// Revision that was searched.
    pub revision: Revision,
    /// The calibration that was applied.
    pub calibration: Option<Arc<Calibration>>,
    /// Where the time went.
    pub timings: Timings,
    /// How the answer came about.
    pub explanation: Option<Explanation>,
}

/// Components that meet an intent between them.
#[derive(Clone, Debug, PartialEq)]
pub struct ComponentSet {
    /// Names of its members, best first.
    pub components: Vec<String>,
    /// Share of the intent's words, by inverse document frequency, that its members have between them, 0..=1.
    pub completeness: f64,
}

/// A component that was considered.
#[derive(Debug)]
pub struct Candidate {
    /// Its record.
    pub version: StoredVersion,
    /// Its score and the parts of it.
    pub scored: Scored,
    /// True for the one that the outcome promises.
    pub is_match: bool,
    /// What would have to be generated to use it.
    pub generation: Outcome,
    /// JSON pointers of required properties that are still open.
    pub open_properties: Vec<String>,
    /// What certifies it now; `None` without a trust root.
    pub certified: Option<Certified>,
    /// `namespace/name@version` of a version that may answer and says that it supersedes this one.
    pub superseded_by: Option<String>,
}

/// Where the time of one answer went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    /// Waiting for the encoder.
    pub queue: Duration,
    /// The encoder.
    pub encode: Duration,
    /// The dense search.
    pub dense: Duration,
    /// The lexical search.
    pub lexical: Duration,
    /// Filter, fusion, outcome.
    pub rank: Duration,
    /// From the start until the second stage's vector was there or was given up; 0 when it is off.
    pub second_stage: Duration,
    /// Everything.
    pub total: Duration,
}

/// How an answer came about.
#[derive(Debug)]
pub struct Explanation {
    /// The intent as it was searched.
    pub normalized_intent: String,
    /// Its tokens, after truncation.
    pub tokens: usize,
    /// Whether it was longer than the model's window.
    pub truncated: bool,
    /// What narrowed the catalogue.
    pub stages: Vec<FilterStage>,
    /// How the dense search went.
    pub plan: Plan,
    /// Vectors that it looked at.
    pub rows_visited: usize,
    /// Terms that hit, a list a candidate, heaviest first.
    pub terms: Vec<Vec<fitment_index::TermContribution>>,
    /// What the calibration says of itself.
    pub calibration: String,
    /// What each signal adds to a candidate's sum, a list a candidate.
    pub shares: Vec<Vec<(Signal, f64)>>,
    /// The sum at which a score is one half.
    pub offset: f64,
}

impl Engine {
    /// Answers an intent.
    ///
    /// Errors: an intent, vector or bound that breaks its limits; `min_revision` ahead of the catalogue; more load than
    /// can be answered in time.
    pub async fn match_intent(&self, query: MatchQuery) -> Result<MatchAnswer, EngineError> {
        let started = Instant::now();
        let intent = normalize_intent(&query.intent)?;
        checked_set_size(query.set_size)?;
        let query = MatchQuery { top_k: checked_top_k(query.top_k)?, bound: checked_bound(query.bound)?, ..query };
        let team = checked_team(&query.team)?;
        let generated_lines = checked_lines("generated_lines", query.generated_lines)?;
        let query = MatchQuery { team, generated_lines, ..query };
        // One model from the first step to the last.
        let engine = self.pinned();
        engine.answer(intent, query, started).await
    }

    async fn answer(&self, intent: String, query: MatchQuery, started: Instant) -> Result<MatchAnswer, EngineError> {
        let shared = self.shared();
        self.reached(query.min_revision)?;
        // In this order: what is known from the words alone is worked out while the encoder is at work.
        let (encoded, second, words) =
            tokio::join!(self.vector_of(&intent, &query), self.second_view_of(&intent, &query, started), async {
                (stems_of(&intent), foreign_language(&intent, &shared.encoder.info().name))
            });
        let ((vector, mut timings), second, (stems, foreign_language)) = (encoded?, second?, words);
        let viewer = self.viewer().clone();
        let context = query.context.clone();
        self.search(&context, move |shared| {
            shared.keep_time()?;
            shared.index.note_intent(vector.as_slice());
            let index = shared.index.searchable();
            let seen = index.view.seen_by(&viewer);
            let (allowed, stages) = timed(&mut timings.rank, || allowed_set(&index, &query, seen.as_deref()));
            let dense = timed(&mut timings.dense, || dense_search(shared, &index, &vector, &allowed))?;
            let words = timed(&mut timings.lexical, || lexical_search(shared, &index, &intent, &allowed))?;
            let ranker = Arc::clone(index.view.ranker());
            let context = Context {
                index: &index,
                ranker: &ranker,
                intent: &intent,
                stems: &stems,
                vector: &vector,
                second: second.vector.as_ref(),
                allowed: &allowed,
                dense: &dense,
                words: &words,
            };
            let ranked = timed(&mut timings.rank, || rank(&context, query.method))?;
            let revision = shared.index.revision();
            let decision = Instant::now();
            let judgement = Judgement {
                second_stage: second_stage_use(&context, &ranked, second.state),
                ..judge(&context, &ranked, query.method, foreign_language)
            };
            let set = (query.set_size > 0).then(|| component_set(&context, &ranked, query.set_size));
            drop(index);
            let candidates = read_candidates(shared, ranked, &query, seen.as_deref())?;
            let mut answer = decide(shared, candidates, &judgement, revision);
            answer.set = set;
            answer.ranker_id.clone_from(&ranker.id);
            answer.explanation =
                query.explain.then(|| explain(shared, &ranker, &intent, stages, &dense, &answer)).transpose()?;
            timings.rank += decision.elapsed();
            if query.remember {
                let model = shared.encoder.info().digest.to_string();
                let now = (shared.clock)();
                shared.feedback.remember(now, &model, &intent, vector.as_slice(), &answer);
                shared.economics.answered(now, &query.team, query.generated_lines, &answer);
                shared.gaps.remember(now, &model, &intent, vector.as_slice(), &answer, query.filter.is_some());
            }
            answer.timings = Timings { second_stage: second.waited, total: started.elapsed(), ..timings };
            Ok(answer)
        })
        .await
    }

    async fn vector_of(&self, intent: &str, query: &MatchQuery) -> Result<(UnitVector, Timings), EngineError> {
        if !query.vector.is_empty() {
            return Ok((checked_vector(&query.vector, self.shared().encoder.info().dimension)?, Timings::default()));
        }
        let mut encoded =
            self.shared().encoder.encode(vec![intent.to_owned()], TextRole::Query, &query.context).await?;
        let vector = encoded.vectors.pop().ok_or_else(|| EngineError::Internal("the encoder gave no vector".into()))?;
        Ok((vector, Timings { queue: encoded.queued, encode: encoded.encoding, ..Timings::default() }))
    }

    /// The intent by the second model, where the stage is on and the method asks it.
    async fn second_view_of(
        &self,
        intent: &str,
        query: &MatchQuery,
        started: Instant,
    ) -> Result<SecondView, EngineError> {
        let shared = self.shared();
        let Some(second) = shared.second.as_ref().filter(|_| query.method == Method::Fused) else {
            return Ok(SecondView::default());
        };
        if query.second_vector.is_empty() {
            return Ok(second.view(intent, started, &query.context).await);
        }
        let vector = checked_vector(&query.second_vector, second.encoder.info().dimension)?;
        Ok(SecondView { vector: Some(vector), state: SecondStageUse::Used, waited: Duration::ZERO })
    }
}

fn checked_top_k(top_k: usize) -> Result<usize, EngineError> {
    match top_k {
        0 => Ok(DEFAULT_TOP_K),
        1..=MAX_TOP_K => Ok(top_k),
        _ => Err(EngineError::field("top_k", format!("is {top_k}; ask for 1 to {MAX_TOP_K} candidates"))),
    }
}

fn checked_set_size(set_size: usize) -> Result<(), EngineError> {
    match set_size {
        0..=MAX_SET_SIZE => Ok(()),
        _ => Err(EngineError::field("set_size", format!("is {set_size}; ask for 0 to {MAX_SET_SIZE} components"))),
    }
}

fn checked_bound(bound: Value) -> Result<Value, EngineError> {
    match bound {
        Value::Null => Ok(Value::Object(serde_json::Map::new())),
        Value::Object(_) => Ok(bound),
        _ => Err(EngineError::field("bound_configuration", "is not an object of property names and values")),
    }
}

fn checked_vector(given: &[f32], dimension: usize) -> Result<UnitVector, EngineError> {
    if given.len() != dimension {
        return Err(EngineError::field(
            "vector",
            format!("has {} values, the model's dimension is {dimension}", given.len()),
        ));
    }
    if let Some(position) = given.iter().position(|value| !value.is_finite()) {
        return Err(EngineError::field(
            "vector",
            format!("value {position} is {}; send finite numbers", given[position]),
        ));
    }
    let norm = given.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    if (norm - 1.0).abs() > 1e-3 {
        return Err(EngineError::field(
            "vector",
            format!("has length {norm:.6}; send the unit vector that Embed gave"),
        ));
    }
    UnitVector::new(given.to_vec()).map_err(|error| EngineError::field("vector", error.to_string()))
}

fn timed<T>(spent: &mut Duration, step: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = step();
    *spent += started.elapsed();
    result
}

fn allowed_set(index: &Searchable, query: &MatchQuery, seen: Option<&DocSet>) -> (DocSet, Vec<FilterStage>) {
    let mut stages = Vec::new();
    let allowed = index.view.allowed(query.filter.as_ref(), seen, query.explain.then_some(&mut stages));
    (allowed, stages)
}

/// The allowed set, or nothing where it leaves nothing out: then no search has to ask it.
fn narrowed<'a>(index: &Searchable, allowed: &'a DocSet) -> Option<&'a DocSet> {
    (allowed.len() < index.view.all().len()).then_some(allowed)
}

pub(crate) fn dense_search(
    shared: &Shared,
    index: &Searchable,
    vector: &UnitVector,
    allowed: &DocSet,
) -> Result<DenseResult, EngineError> {
    let effort = effort(index.dense.len_rows());
    Ok(index.dense.search(vector.as_slice(), shared.ranking.depth, narrowed(index, allowed), effort)?)
}

pub(crate) fn lexical_search(
    shared: &Shared,
    index: &Searchable,
    intent: &str,
    allowed: &DocSet,
) -> Result<LexicalResult, EngineError> {
    Ok(shared.index.words().search(intent, shared.ranking.depth, narrowed(index, allowed), None)?)
}

fn rank(context: &Context<'_>, method: Method) -> Result<Vec<Scored>, EngineError> {
    Ok(order(method, &context.ranker.fusion, context.intent, signals::candidates(context)?))
}

/// Hashed stems of a text, stop words included, in order.
pub(crate) fn stems_of(text: &str) -> Vec<u32> {
    term_ids(&fitment_index::analyze_all_text(text))
}

/// How sure the answer is.
struct Judgement {
    confidence: Confidence,
    foreign_language: Option<&'static str>,
    second_stage: SecondStageUse,
}

/// Whether every candidate had its vector, where the intent has one.
fn second_stage_use(context: &Context<'_>, ranked: &[Scored], state: SecondStageUse) -> SecondStageUse {
    let lacks = |one: &Scored| context.index.view.clues(one.doc).is_none_or(|clues| clues.second_stage.is_none());
    if state == SecondStageUse::Used && ranked.iter().any(lacks) { SecondStageUse::Incomplete } else { state }
}

fn judge(
    context: &Context<'_>,
    ranked: &[Scored],
    method: Method,
    foreign_language: Option<&'static str>,
) -> Judgement {
    /// What is left of a confidence when the model does not speak the intent's language.
    const FOREIGN: f64 = 0.5;
    let mut confidence = match method {
        Method::Fused => context.ranker.confidence.confidence(&RankedSignals {
            candidates: ranked.iter().map(|one| (one.sum, one.signals)).collect(),
            words: context.stems.len(),
        }),
        Method::Dense | Method::Words | Method::ReciprocalRank | Method::Random => {
            let best = ranked.first().map_or(0.0, |best| best.score);
            Confidence { correct: best, in_scope: best }
        }
    };
    if foreign_language.is_some() {
        confidence = Confidence { correct: confidence.correct * FOREIGN, in_scope: confidence.in_scope * FOREIGN };
    }
    Judgement { confidence, foreign_language, second_stage: SecondStageUse::default() }
}

/// The first candidates that are about as good as the very first, at most `size` of them: an intent with several right
/// components has them side by side.
fn component_set(context: &Context<'_>, ranked: &[Scored], size: usize) -> ComponentSet {
    /// A member's odds are at least this share of the first one's, as a logarithm.
    const MARGIN: f64 = 1.5;
    let best = ranked.first().map_or(0.0, |best| best.sum);
    let members: Vec<&Scored> = ranked.iter().take(size).filter(|one| best - one.sum <= MARGIN).collect();
    let view = &context.index.view;
    let query = view.statistics().query(&term_ids(&context.words.terms), "");
    let texts: Vec<_> = members.iter().filter_map(|one| Some(&view.clues(one.doc)?.text)).collect();
    let components = members.iter().filter_map(|one| Some(view.card(one.doc)?.name.to_string())).collect();
    ComponentSet { components, completeness: f64::from(query.coverage_together(&texts)) }
}

fn read_candidates(
    shared: &Shared,
    ranked: Vec<Scored>,
    query: &MatchQuery,
    seen: Option<&DocSet>,
) -> Result<Vec<Candidate>, EngineError> {
    let reader = shared.store.read()?;
    let mut candidates = Vec::with_capacity(query.top_k);
    for scored in ranked {
        if candidates.len() == query.top_k {
            break;
        }
        // Deleted between the search and now: as absent as if it had been deleted before.
        let Some(version) = reader.version(scored.doc)? else { continue };
        let open_properties = open_properties(&version, &query.bound)?;
        let generation = if open_properties.is_empty() { Outcome::ZeroGeneration } else { Outcome::MinimalGeneration };
        let (certified, superseded_by) = {
            let index = shared.index.searchable();
            let certified = index.view.known(scored.doc).and_then(|known| known.certified.clone());
            (certified, index.view.superseded_by(scored.doc, seen))
        };
        let is_match = false;
        candidates.push(Candidate { version, scored, is_match, generation, open_properties, certified, superseded_by });
    }
    Ok(candidates)
}

/// Required properties that neither defaults nor the caller's binding settles, as JSON pointers.
fn open_properties(version: &StoredVersion, bound: &Value) -> Result<Vec<String>, EngineError> {
    let Some(schema) = &version.config_schema else { return Ok(Vec::new()) };
    if bound.as_object().is_none_or(serde_json::Map::is_empty) {
        return Ok(version.open_properties.clone());
    }
    let schema = serde_json::from_str(schema)
        .map_err(|error| EngineError::Internal(format!("a stored schema cannot be read: {error}")))?;
    let schema = fitment_catalog::ConfigSchema::new(schema)
        .map_err(|faults| EngineError::Internal(format!("a stored schema is not valid: {faults:?}")))?;
    let configured = schema.open_configuration(bound);
    let mut open: Vec<String> = configured.open.into_iter().map(|open| open.pointer).collect();
    // A value that the schema refuses settles nothing.
    open.extend(configured.violations.into_iter().map(|violation| violation.pointer));
    open.sort();
    open.dedup();
    Ok(open)
}

fn decide(shared: &Shared, mut candidates: Vec<Candidate>, judgement: &Judgement, revision: Revision) -> MatchAnswer {
    let (calibration, fault) = shared.calibration.in_force();
    let confidence = judgement.confidence.correct;
    let (outcome, reason) = match (&calibration, judgement.foreign_language, candidates.first_mut()) {
        (_, _, None) => (
            Outcome::RawGeneration,
            "no certified component may answer: the catalogue is empty for this request, or the filter leaves nothing"
                .to_owned(),
        ),
        (None, _, Some(_)) => (Outcome::Candidates, fault),
        (Some(_), Some(language), Some(_)) => (
            Outcome::Candidates,
            format!("the intent seems to be {language}, which the model does not speak: candidates, and no promise"),
        ),
        (Some(_), None, Some(_)) if judgement.second_stage.no_promise().is_some() => {
            (Outcome::Candidates, judgement.second_stage.no_promise().unwrap_or_default().to_owned())
        }
        (Some(calibration), None, Some(best)) => {
            match calibration.threshold(best.generation == Outcome::MinimalGeneration) {
                Some(threshold) if confidence >= threshold => {
                    best.is_match = true;
                    (best.generation, String::new())
                }
                Some(threshold) => (
                    Outcome::RawGeneration,
                    format!(
                        "nothing certified meets the intent: the best confidence is {confidence:.3}, under the \
                         calibrated {threshold:.3}"
                    ),
                ),
                None => (
                    Outcome::RawGeneration,
                    "nothing certified meets the intent surely enough: the calibration makes no promise for this sort of \
                     component"
                        .to_owned(),
                ),
            }
        }
    };
    MatchAnswer {
        decision_id: uuid::Uuid::now_v7(),
        outcome,
        candidates,
        reason,
        confidence,
        in_scope: judgement.confidence.in_scope,
        set: None,
        foreign_language: judgement.foreign_language,
        ranker_id: String::new(),
        second_stage: judgement.second_stage,
        revision,
        calibration,
        timings: Timings::default(),
        explanation: None,
    }
}

fn explain(
    shared: &Shared,
    ranker: &Ranker,
    intent: &str,
    stages: Vec<FilterStage>,
    dense: &DenseResult,
    answer: &MatchAnswer,
) -> Result<Explanation, EngineError> {
    let (tokens, truncated) = shared.encoder.count_tokens(intent)?;
    let terms = answer
        .candidates
        .iter()
        .map(|candidate| shared.index.words().explain(intent, candidate.scored.doc, None))
        .collect::<Result<_, _>>()?;
    Ok(Explanation {
        normalized_intent: intent.to_owned(),
        tokens,
        truncated,
        stages,
        plan: dense.stats.plan,
        rows_visited: dense.stats.rows_scored,
        terms,
        calibration: answer.calibration.as_ref().map_or_else(|| answer.reason.clone(), |held| held.promise()),
        shares: answer.candidates.iter().map(|candidate| ranker.fusion.shares(&candidate.scored.signals)).collect(),
        offset: ranker.fusion.offset(),
    })
}
