//! Between wire types and the engine's. Every conversion names every field, so that a new one stops the build.

use fitment_catalog::{
    Compatibility, ComponentName, Filter, Format, Kind, Lifecycle, MAX_FILTER_DEPTH, MAX_FILTER_NODES, Manifest,
};
use fitment_engine::{
    Candidate, Certified, Deletion, Engine, EngineError, Explanation, ImportMark, MatchAnswer, MatchQuery, Move,
    NearDuplicate, Outcome, RecordedDecision, SecondStageUse, Signal, StoredVersion, Timings,
};
use fitment_proto::v1;
use semver::Version;
use serde_json::{Map, Number, Value};

use super::count;

/// Longest filter expression, in bytes.
const MAX_EXPRESSION_BYTES: usize = 8 * 1024;
/// Deepest nesting of a bound configuration.
const MAX_BOUND_DEPTH: usize = 32;

/// A match request as the engine takes it.
pub(super) fn match_query(request: v1::MatchRequest) -> Result<MatchQuery, EngineError> {
    let v1::MatchRequest {
        intent,
        top_k,
        filter,
        bound_configuration,
        min_revision,
        vector,
        set_size,
        team,
        generated_lines,
    } = request;
    Ok(MatchQuery {
        intent,
        top_k: top_k as usize,
        filter: filter_input(filter)?,
        bound: match bound_configuration {
            None => Value::Null,
            Some(bound) => object(bound, 0)?,
        },
        min_revision,
        vector,
        set_size: set_size as usize,
        team,
        generated_lines,
        ..MatchQuery::default()
    })
}

fn object(bound: prost_types::Struct, depth: usize) -> Result<Value, EngineError> {
    let entries = bound.fields.into_iter().map(|(key, value)| Ok((key, json(value, depth + 1)?)));
    Ok(Value::Object(entries.collect::<Result<Map<_, _>, EngineError>>()?))
}

fn json(value: prost_types::Value, depth: usize) -> Result<Value, EngineError> {
    use prost_types::value::Kind as Form;
    let fault = |what: &str| EngineError::field("bound_configuration", what.to_owned());
    if depth > MAX_BOUND_DEPTH {
        return Err(fault("is nested more than 32 levels deep"));
    }
    Ok(match value.kind {
        None | Some(Form::NullValue(_)) => Value::Null,
        Some(Form::BoolValue(value)) => Value::Bool(value),
        Some(Form::StringValue(value)) => Value::String(value),
        Some(Form::NumberValue(value)) => {
            Value::Number(number(value).ok_or_else(|| fault("holds a number that is not finite"))?)
        }
        Some(Form::StructValue(value)) => object(value, depth)?,
        Some(Form::ListValue(list)) => {
            Value::Array(list.values.into_iter().map(|value| json(value, depth + 1)).collect::<Result<_, _>>()?)
        }
    })
}

/// A protobuf number as the JSON number that it was written as: 3, not 3.0.
fn number(value: f64) -> Option<Number> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
    if value.fract() == 0.0 && value.abs() <= EXACT {
        return Some(Number::from(value as i64));
    }
    Number::from_f64(value)
}

/// The filter of a request, whichever form it has.
pub(super) fn filter_input(input: Option<v1::FilterInput>) -> Result<Option<Filter>, EngineError> {
    use v1::filter_input::Form;
    match input.and_then(|v1::FilterInput { form }| form) {
        None => Ok(None),
        Some(Form::Expression(text)) => {
            short("filter.expression", &text, MAX_EXPRESSION_BYTES)?;
            Ok(Some(Filter::parse(&text)?))
        }
        Some(Form::Tree(tree)) => {
            let mut nodes = 0;
            Ok(filter(tree, 1, &mut nodes)?.map(Filter::simplified))
        }
    }
}

/// `None` for a filter without a condition, which holds always.
fn filter(tree: v1::Filter, depth: usize, nodes: &mut usize) -> Result<Option<Filter>, EngineError> {
    use v1::filter::Condition;
    *nodes += 1;
    if depth > MAX_FILTER_DEPTH || *nodes > MAX_FILTER_NODES {
        let fault = format!("is deeper than {MAX_FILTER_DEPTH} levels or larger than {MAX_FILTER_NODES} conditions");
        return Err(EngineError::field("filter", fault));
    }
    let always = || Filter::And(Vec::new());
    let mut list = |list: v1::FilterList| {
        let filters = list.filters.into_iter().map(|tree| Ok(filter(tree, depth + 1, nodes)?.unwrap_or_else(always)));
        filters.collect::<Result<Vec<_>, EngineError>>()
    };
    let Some(condition) = tree.condition else { return Ok(None) };
    Ok(Some(match condition {
        Condition::AllOf(all) => Filter::And(list(all)?),
        Condition::AnyOf(any) => Filter::Or(list(any)?),
        Condition::Not(tree) => Filter::Not(Box::new(filter(*tree, depth + 1, nodes)?.unwrap_or_else(always))),
        Condition::Tag(tag) => Filter::Tag(tag.parse().map_err(in_field("filter.tag"))?),
        Condition::Kind(value) => Filter::Kind(kind_from(value)?),
        Condition::Lifecycle(value) => Filter::Lifecycle(lifecycle_of(value, "filter.lifecycle")?),
        Condition::Compliance(v1::ComplianceCondition { standard, requirement }) => {
            let both = if requirement.is_empty() { standard } else { format!("{standard}/{requirement}") };
            Filter::compliance(&both).map_err(in_field("filter.compliance"))?
        }
        Condition::License(license) => Filter::license(&license).map_err(in_field("filter.license"))?,
        Condition::Namespace(namespace) => Filter::namespace(&namespace).map_err(in_field("filter.namespace"))?,
        Condition::Name(name) => Filter::Name(name.parse().map_err(in_field("filter.name"))?),
        Condition::MinVersion(text) => Filter::MinimumVersion(version_in("filter.min_version", &text)?),
        Condition::VersionRange(text) => Filter::version_range(&text).map_err(in_field("filter.version_range"))?,
    }))
}

/// Refuses a text that is longer than its limit.
pub(super) fn short(field: &str, text: &str, limit: usize) -> Result<(), EngineError> {
    if text.len() <= limit {
        return Ok(());
    }
    Err(EngineError::field(field, format!("is {} bytes long, at most {limit} are taken", text.len())))
}

/// A component's name.
pub(super) fn component_name(name: &str) -> Result<ComponentName, EngineError> {
    name.parse().map_err(in_field("name"))
}

/// A faulty value as the fault of a field.
fn in_field(field: &'static str) -> impl Fn(fitment_catalog::CatalogError) -> EngineError {
    move |error| EngineError::field(field, error.to_string())
}

/// A semantic version.
pub(super) fn version(version: &str) -> Result<Version, EngineError> {
    version_in("version", version)
}

fn version_in(field: &str, version: &str) -> Result<Version, EngineError> {
    Version::parse(version).map_err(|error| {
        let shown: String = version.chars().take(80).collect();
        EngineError::field(field, format!("`{shown}` is no semantic version ({error}); write it like 1.4.0"))
    })
}

/// How a manifest's bytes are to be read.
pub(super) fn format(value: i32) -> Result<Format, EngineError> {
    match v1::ManifestFormat::try_from(value) {
        Ok(v1::ManifestFormat::Unspecified) => Ok(Format::Auto),
        Ok(v1::ManifestFormat::Yaml) => Ok(Format::Yaml),
        Ok(v1::ManifestFormat::Json) => Ok(Format::Json),
        Err(_) => Err(unknown("format", value)),
    }
}

/// A number that none of an enumeration's values has.
pub(super) fn unknown(field: &str, value: i32) -> EngineError {
    EngineError::field(field, format!("{value} is none of the values that this daemon knows"))
}

fn kind_from(value: i32) -> Result<Kind, EngineError> {
    match v1::Kind::try_from(value) {
        Ok(v1::Kind::Ui) => Ok(Kind::Ui),
        Ok(v1::Kind::Service) => Ok(Kind::Service),
        Ok(v1::Kind::Library) => Ok(Kind::Library),
        Ok(v1::Kind::Data) => Ok(Kind::Data),
        Ok(v1::Kind::Workflow) => Ok(Kind::Workflow),
        Ok(v1::Kind::Model) => Ok(Kind::Model),
        Ok(v1::Kind::Infrastructure) => Ok(Kind::Infrastructure),
        Ok(v1::Kind::Integration) => Ok(Kind::Integration),
        Ok(v1::Kind::Mobile) => Ok(Kind::Mobile),
        Ok(v1::Kind::Unspecified) | Err(_) => Err(EngineError::field("filter.kind", format!("{value} is no kind"))),
    }
}

fn kind_to(kind: Kind) -> v1::Kind {
    match kind {
        Kind::Ui => v1::Kind::Ui,
        Kind::Service => v1::Kind::Service,
        Kind::Library => v1::Kind::Library,
        Kind::Data => v1::Kind::Data,
        Kind::Workflow => v1::Kind::Workflow,
        Kind::Model => v1::Kind::Model,
        Kind::Infrastructure => v1::Kind::Infrastructure,
        Kind::Integration => v1::Kind::Integration,
        Kind::Mobile => v1::Kind::Mobile,
    }
}

/// Where a version is to go.
pub(super) fn lifecycle(value: i32) -> Result<Lifecycle, EngineError> {
    lifecycle_of(value, "lifecycle")
}

fn lifecycle_of(value: i32, field: &str) -> Result<Lifecycle, EngineError> {
    match v1::Lifecycle::try_from(value) {
        Ok(v1::Lifecycle::Draft) => Ok(Lifecycle::Draft),
        Ok(v1::Lifecycle::Candidate) => Ok(Lifecycle::Candidate),
        Ok(v1::Lifecycle::Certified) => Ok(Lifecycle::Certified),
        Ok(v1::Lifecycle::Deprecated) => Ok(Lifecycle::Deprecated),
        Ok(v1::Lifecycle::Revoked) => Ok(Lifecycle::Revoked),
        Ok(v1::Lifecycle::Unspecified) | Err(_) => Err(EngineError::field(field, format!("{value} is no lifecycle"))),
    }
}

pub(super) fn lifecycle_to(lifecycle: Lifecycle) -> v1::Lifecycle {
    match lifecycle {
        Lifecycle::Draft => v1::Lifecycle::Draft,
        Lifecycle::Candidate => v1::Lifecycle::Candidate,
        Lifecycle::Certified => v1::Lifecycle::Certified,
        Lifecycle::Deprecated => v1::Lifecycle::Deprecated,
        Lifecycle::Revoked => v1::Lifecycle::Revoked,
    }
}

pub(super) fn outcome_to(outcome: Outcome) -> v1::Outcome {
    match outcome {
        Outcome::ZeroGeneration => v1::Outcome::ZeroGeneration,
        Outcome::MinimalGeneration => v1::Outcome::MinimalGeneration,
        Outcome::RawGeneration => v1::Outcome::RawGeneration,
        Outcome::Candidates => v1::Outcome::Candidates,
    }
}

/// A stored version and, where it was asked for, its manifest.
pub(super) fn component(version: StoredVersion, manifest_json: Vec<u8>) -> v1::Component {
    let etag = version.etag();
    let StoredVersion {
        card,
        summary,
        owner,
        facets: _,
        config_schema: _,
        open_properties: _,
        create_time,
        history,
        deleted,
        state_revision: _,
    } = version;
    let (delete_time, deleted_by, delete_reason, delete_imported) = match deleted {
        Some(Deletion { time, actor, reason, imported }) => {
            (Some(timestamp(time)), actor, reason, imported.map(import_mark))
        }
        None => (None, String::new(), String::new(), None),
    };
    v1::Component {
        name: card.name.to_string(),
        version: card.version.to_string(),
        digest: card.digest.to_string(),
        title: card.title,
        summary,
        kind: kind_to(card.kind) as i32,
        lifecycle: lifecycle_to(card.lifecycle) as i32,
        tags: card.tags,
        license: card.license,
        owner,
        manifest_json,
        revision: card.revision,
        create_time: Some(timestamp(create_time)),
        etag,
        history: history.into_iter().map(move_to).collect(),
        delete_time,
        deleted_by,
        delete_reason,
        near_duplicates: Vec::new(),
        delete_imported,
    }
}

fn import_mark(mark: ImportMark) -> v1::ImportMark {
    let ImportMark { time, actor, reason } = mark;
    v1::ImportMark { time: Some(timestamp(time)), actor, reason }
}

/// Components that a written one is nearly the same as, on the wire.
pub(super) fn near_duplicates(found: Vec<NearDuplicate>) -> Vec<v1::NearDuplicate> {
    let to = |NearDuplicate { name, version, similarity }: NearDuplicate| v1::NearDuplicate {
        name: name.to_string(),
        version: version.to_string(),
        similarity,
    };
    found.into_iter().map(to).collect()
}

fn move_to(step: Move) -> v1::LifecycleMove {
    let Move { from, to, time, actor, reason, revision, imported } = step;
    v1::LifecycleMove {
        from: lifecycle_to(from) as i32,
        to: lifecycle_to(to) as i32,
        time: Some(timestamp(time)),
        actor,
        reason,
        revision,
        imported: imported.map(import_mark),
    }
}

/// What a comparison of schemas found, on the wire.
pub(super) fn compatibility(found: Compatibility) -> v1::CheckSchemaCompatibilityResponse {
    let response = |verdict: v1::SchemaVerdict, counter_example_json, pointer, explanation| {
        v1::CheckSchemaCompatibilityResponse { verdict: verdict as i32, counter_example_json, pointer, explanation }
    };
    match found {
        Compatibility::Compatible => {
            response(v1::SchemaVerdict::Compatible, String::new(), String::new(), String::new())
        }
        Compatibility::Incompatible { counter_example, pointer, explanation } => {
            response(v1::SchemaVerdict::Incompatible, counter_example.to_string(), pointer, explanation)
        }
        Compatibility::Unknown { pointer, explanation } => {
            response(v1::SchemaVerdict::Unknown, String::new(), pointer, explanation)
        }
    }
}

/// A remembered answer on the wire.
pub(super) fn decision(decision_id: String, decision: RecordedDecision) -> v1::RecordedDecision {
    let RecordedDecision {
        time,
        intent,
        candidates,
        outcome,
        confidence,
        calibration,
        revision,
        model,
        ranker,
        verdict,
    } = decision;
    let (verdict, verdict_time) = verdict.map(|(verdict, time)| (verdict.to_string(), timestamp(time))).unzip();
    v1::RecordedDecision {
        decision_id,
        time: Some(timestamp(time)),
        intent: intent.unwrap_or_default(),
        candidates: candidates.into_iter().map(|(name, digest)| v1::DecidedCandidate { name, digest }).collect(),
        outcome: outcome_to(outcome) as i32,
        confidence,
        calibration_id: calibration.unwrap_or_default(),
        revision,
        model_digest: model,
        ranker_id: ranker,
        verdict: verdict.unwrap_or_default(),
        verdict_time,
    }
}

/// A time on the wire.
pub(super) fn timestamp(time: jiff::Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() }
}

/// A manifest that was checked and not written.
pub(super) fn checked_component(manifest: &Manifest) -> v1::Component {
    v1::Component {
        name: manifest.name().to_string(),
        version: manifest.version().to_string(),
        digest: manifest.digest().to_string(),
        title: manifest.title().to_owned(),
        summary: manifest.summary().to_owned(),
        kind: kind_to(manifest.kind()) as i32,
        lifecycle: lifecycle_to(manifest.lifecycle()) as i32,
        tags: manifest.tags().iter().map(ToString::to_string).collect(),
        license: manifest.license().as_str().to_owned(),
        owner: manifest.owner().to_owned(),
        manifest_json: manifest.canonical_json(),
        ..Default::default()
    }
}

/// An answer on the wire.
pub(super) fn match_response(answer: MatchAnswer, engine: &Engine) -> v1::MatchResponse {
    let MatchAnswer {
        decision_id,
        outcome,
        candidates,
        reason,
        confidence,
        in_scope,
        set,
        foreign_language,
        ranker_id,
        second_stage,
        revision,
        calibration,
        timings,
        explanation: _,
    } = answer;
    let set = set.map(|set| v1::ComponentSet { components: set.components, completeness: set.completeness });
    v1::MatchResponse {
        decision_id: decision_id.to_string(),
        outcome: outcome_to(outcome) as i32,
        candidates: candidates.into_iter().enumerate().map(|(rank, candidate)| candidate_to(rank, candidate)).collect(),
        reason,
        provenance: Some(v1::Provenance {
            model_digest: engine.model().digest.to_string(),
            model: engine.model().name.clone(),
            revision,
            calibration_id: calibration.map(|calibration| calibration.id.clone()).unwrap_or_default(),
            server_version: env!("CARGO_PKG_VERSION").to_owned(),
            ranker_id,
            second_stage: second_stage.as_str().to_owned(),
            second_stage_model_digest: engine
                .second_stage_digest()
                .filter(|_| matches!(second_stage, SecondStageUse::Used | SecondStageUse::Incomplete))
                .unwrap_or_default(),
        }),
        timings: Some(timings_to(timings)),
        confidence,
        in_scope,
        set,
        foreign_language: foreign_language.unwrap_or_default().to_owned(),
    }
}

fn timings_to(timings: Timings) -> v1::Timings {
    let Timings { queue, encode, dense, lexical, rank, second_stage, total } = timings;
    let micros = |duration: std::time::Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    v1::Timings {
        queue_us: micros(queue),
        encode_us: micros(encode),
        dense_us: micros(dense),
        lexical_us: micros(lexical),
        rank_us: micros(rank),
        total_us: micros(total),
        second_stage_us: micros(second_stage),
    }
}

fn candidate_to(rank: usize, candidate: Candidate) -> v1::Candidate {
    let Candidate { version, scored, is_match, generation, open_properties, certified, superseded_by } = candidate;
    let (certificates, certified_until) = certified
        .map(|Certified { certified: _, changes_at, certificates }| (certificates, changes_at))
        .unwrap_or_default();
    let matched_facet = matched_facets(&version, &scored.facets).into_iter().nth(scored.best_facet);
    let StoredVersion {
        card,
        summary,
        owner: _,
        facets: _,
        config_schema,
        open_properties: _,
        create_time: _,
        history: _,
        deleted: _,
        state_revision: _,
    } = version;
    v1::Candidate {
        rank: count(rank + 1),
        name: card.name.to_string(),
        version: card.version.to_string(),
        digest: card.digest.to_string(),
        title: card.title,
        summary,
        is_match,
        score: scored.score,
        dense_score: scored.dense(),
        lexical_score: scored.signal(Signal::Words),
        matched_facet,
        generation: outcome_to(generation) as i32,
        config_schema_json: config_schema.unwrap_or_default(),
        open_properties,
        lifecycle: lifecycle_to(card.lifecycle) as i32,
        certificates: certificates.iter().map(ToString::to_string).collect(),
        certified_until: certified_until.map(timestamp),
        superseded_by: superseded_by.unwrap_or_default(),
    }
}

fn matched_facets(version: &StoredVersion, cosines: &[f32]) -> Vec<v1::MatchedFacet> {
    version
        .facets
        .iter()
        .zip(cosines)
        .map(|(facet, &cosine)| v1::MatchedFacet {
            kind: facet.kind.clone(),
            text: facet.text.clone(),
            cosine: f64::from(cosine),
        })
        .collect()
}

/// How an answer came about, on the wire.
pub(super) fn explanation(explanation: Explanation, answer: &MatchAnswer) -> v1::Explanation {
    let Explanation {
        normalized_intent,
        tokens,
        truncated,
        stages,
        plan,
        rows_visited,
        terms,
        calibration,
        shares,
        offset,
    } = explanation;
    let first_is_minimal =
        answer.candidates.first().is_some_and(|first| first.generation == Outcome::MinimalGeneration);
    v1::Explanation {
        normalized_intent,
        tokens: count(tokens),
        truncated,
        filter_stages: stages
            .into_iter()
            .map(|stage| v1::FilterStage {
                name: stage.name,
                excluded: stage.excluded as u64,
                remaining: stage.remaining as u64,
            })
            .collect(),
        dense_plan: plan_to(plan).to_owned(),
        dense_rows_visited: rows_visited as u64,
        threshold: answer.calibration.as_ref().and_then(|calibration| calibration.threshold(first_is_minimal)),
        calibration,
        candidates: answer
            .candidates
            .iter()
            .zip(terms)
            .zip(shares)
            .map(|((candidate, terms), shares)| v1::CandidateExplanation {
                name: candidate.version.card.name.to_string(),
                facets: matched_facets(&candidate.version, &candidate.scored.facets),
                centroid_cosine: candidate.scored.signal(Signal::Centroid),
                signals: shares
                    .into_iter()
                    .map(|(signal, share)| v1::SignalShare {
                        name: signal.as_str().to_owned(),
                        value: candidate.scored.signal(signal),
                        share,
                    })
                    .collect(),
                terms: terms
                    .into_iter()
                    .map(|term| v1::TermHit { term: term.term, field: term.field, score: f64::from(term.score) })
                    .collect(),
            })
            .collect(),
        offset,
        second_stage: answer.second_stage.as_str().to_owned(),
    }
}

fn plan_to(plan: fitment_engine::Plan) -> &'static str {
    match plan {
        fitment_engine::Plan::Empty => "empty",
        fitment_engine::Plan::Exact => "exact",
        fitment_engine::Plan::ExactSubset => "exact-subset",
        fitment_engine::Plan::Graph => "graph",
        fitment_engine::Plan::GraphThenExact => "graph-then-exact",
    }
}
