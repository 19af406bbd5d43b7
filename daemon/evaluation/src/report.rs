//! Everything that a run showed, as one value that views draw and JSON keeps.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use statrs::distribution::{Binomial, DiscreteCDF};

use crate::abstention::{Confidences, Observation, OperatingPoint};
use crate::calibration::{Calibration, calibration};
use crate::confusion::{ConfusedPair, Tiers, confused_pairs};
use crate::error::EvaluationError;
use crate::metrics::Sheet;
use crate::ratio;
use crate::recalibration::Recalibration;
use crate::run::{Answer, InSample, Promise, Run};
use crate::slices::{Slice, slices};
use crate::timing::Timing;

/// Precision that an oracle's threshold has to keep.
const TARGET_PRECISION: [f64; 4] = [0.80, 0.90, 0.95, 0.99];
/// A promise is called broken where chance would show as many errors less often than this.
pub(crate) const SIGNIFICANCE: f64 = 0.05;
/// Kind of an out-of-scope query that names none.
const NO_KIND: &str = "unspecified";

/// What an evaluation found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The data set's name.
    pub dataset: String,
    /// Digest of the labelled intents.
    pub dataset_digest: String,
    /// The split that was measured.
    pub split: String,
    /// The system that answered.
    pub system: String,
    /// Name of its encoding model.
    pub model: String,
    /// Digest of its encoding model.
    pub model_digest: String,
    /// Components that could be answered.
    pub n_components: usize,
    /// Data that anything in the system was fitted on; empty for a baseline.
    pub fitted_on: Vec<String>,
    /// How many of these very intents the system had seen before: figures on them flatter it.
    #[serde(default)]
    pub in_sample: InSample,
    /// Queries with a right component.
    pub n_in_scope: u64,
    /// Queries without.
    pub n_out_of_scope: u64,
    /// The promise in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promise: Option<Promise>,
    /// Whether it held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promise_check: Option<PromiseCheck>,
    /// Every figure by its name; one without queries to speak of is left out.
    pub metrics: BTreeMap<String, f64>,
    /// 95 % bootstrap intervals of the figures, `[low, high]`; 1,000 resamples of the queries.
    pub intervals: BTreeMap<String, [f64; 2]>,
    /// Out-of-scope queries by kind.
    pub out_of_scope: BTreeMap<String, OutOfScope>,
    /// Thresholds that an oracle would set to keep a precision on these queries.
    pub oracle: Vec<Oracle>,
    /// In-scope queries by property; see [`slices`](crate::slices::slices).
    pub slices: BTreeMap<String, Vec<Slice>>,
    /// Expected against answered tiers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiers: Option<Tiers>,
    /// Confidence read as a probability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
    /// How often promises on halves of the labelled intents were broken by the other halves; only where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recalibration: Option<Recalibration>,
    /// Components that are taken for each other.
    pub confused_pairs: Vec<ConfusedPair>,
    /// How long answers took.
    pub timing: Timing,
}

/// Out-of-scope queries of one kind, against all in-scope ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutOfScope {
    /// Queries of this kind.
    pub n: u64,
    /// Probability that an in-scope query is surer, 0..=1; absent without in-scope queries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auroc: Option<f64>,
    /// Share that passes where 95 % of in-scope queries do, 0..=1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fpr95: Option<f64>,
    /// Area under the risk-coverage curve, 0..=1, lower is better; absent without in-scope queries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aurc: Option<f64>,
    /// Share of in-scope queries that an oracle's threshold answers at a precision of 95 %, 0..=1.
    #[serde(rename = "coverage@95", default, skip_serializing_if = "Option::is_none")]
    pub coverage_at_95: Option<f64>,
    /// Share of in-scope queries that were answered under the promise, 0..=1, the same for every kind; 0 without a promise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<f64>,
    /// Share of the answers that were right if the only out-of-scope queries were of this kind, 0..=1; absent where nothing was
    /// answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<f64>,
    /// Share that was answered, 0..=1; 0 without a promise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub false_match_rate: Option<f64>,
}

/// The threshold of largest coverage that keeps a precision, chosen on the very queries that it is measured on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Oracle {
    /// Precision to keep, 0..=1.
    pub target_precision: f64,
    /// The threshold and what it does; absent where none keeps the precision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point: Option<OperatingPoint>,
}

/// A promise against what was really answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PromiseCheck {
    /// Queries answered.
    pub answered: u64,
    /// Of those, the ones whose first candidate was wrong.
    pub errors: u64,
    /// Probability of at least as many errors were the error rate exactly the promised one (one-sided binomial test), 0..=1.
    pub p_value: f64,
    /// What follows.
    pub verdict: Verdict,
}

/// Whether a promise held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing was answered, so nothing was tested.
    Untested,
    /// The error rate is at most the promised one.
    Kept,
    /// It is above, but no more than chance explains at 5 %.
    WithinChance,
    /// It is above by more than chance explains.
    Broken,
}

/// Measures a run.
///
/// Errors: a run whose numbers are not finite or whose ids are not distinct; see [`Run::check`].
pub fn evaluate(run: &Run) -> Result<Report, EvaluationError> {
    run.check()?;
    let sheet = Sheet::of(run);
    let calibration = calibration(run.answers.iter().map(Observation::of));
    let n_in_scope = run.answers.iter().filter(|answer| answer.in_scope()).count() as u64;
    Ok(Report {
        dataset: run.dataset.clone(),
        dataset_digest: run.dataset_digest.clone(),
        split: run.split.clone(),
        system: run.system.clone(),
        model: run.model.clone(),
        model_digest: run.model_digest.clone(),
        n_components: run.n_components,
        fitted_on: run.fitted_on.clone(),
        in_sample: run.in_sample,
        n_in_scope,
        n_out_of_scope: run.answers.len() as u64 - n_in_scope,
        promise: run.promise.clone(),
        promise_check: run.promise.as_ref().map(|promise| check_promise(promise, &run.answers)),
        metrics: owned(sheet.figures()),
        intervals: owned(sheet.intervals()),
        out_of_scope: by_kind(run),
        oracle: oracles(run),
        slices: slices(run),
        tiers: Tiers::of(run),
        calibration,
        recalibration: None,
        confused_pairs: confused_pairs(run),
        timing: Timing::of(run),
    })
}

fn owned<V>(figures: BTreeMap<&'static str, V>) -> BTreeMap<String, V> {
    figures.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn by_kind(run: &Run) -> BTreeMap<String, OutOfScope> {
    let (inside, outside): (Vec<&Answer>, Vec<&Answer>) = run.answers.iter().partition(|answer| answer.in_scope());
    let mut kinds: BTreeMap<&str, Vec<&Answer>> = BTreeMap::new();
    for answer in outside {
        kinds.entry(answer.kind.as_deref().unwrap_or(NO_KIND)).or_default().push(answer);
    }
    let promised = run.promise.is_some();
    let answered_of = |answers: &[&Answer]| answers.iter().filter(|one| promised && one.answered()).count() as u64;
    let answered_inside = answered_of(&inside);
    let right = inside.iter().filter(|one| promised && one.answered() && one.first_is_right()).count() as u64;
    let measured = |(kind, answers): (&str, Vec<&Answer>)| {
        let both = || inside.iter().chain(&answers).copied();
        let scope = Confidences::of(both().map(Observation::of_scope));
        let confidences = Confidences::of(both().map(Observation::of));
        let answered = answered_of(&answers);
        // Without a promise nothing is answered: no intent is covered, and none matched falsely.
        let counted = promised || !inside.is_empty();
        let found = OutOfScope {
            n: answers.len() as u64,
            auroc: scope.auroc(),
            fpr95: scope.false_positive_rate(95),
            aurc: confidences.area_under_risk_coverage(),
            coverage_at_95: (!inside.is_empty())
                .then(|| confidences.oracle(1.0 - 0.95).map_or(0.0, |point| point.coverage)),
            coverage: (!inside.is_empty()).then(|| ratio(answered_inside, inside.len() as u64)),
            precision: (answered + answered_inside > 0).then(|| ratio(right, answered + answered_inside)),
            false_match_rate: counted.then(|| ratio(answered, answers.len() as u64)),
        };
        (kind.to_owned(), found)
    };
    kinds.into_iter().map(measured).collect()
}

fn oracles(run: &Run) -> Vec<Oracle> {
    let confidences = Confidences::of(run.answers.iter().map(Observation::of));
    let oracle = |target| Oracle { target_precision: target, point: confidences.oracle(1.0 - target) };
    if confidences.n_in_scope() == 0 { Vec::new() } else { TARGET_PRECISION.map(oracle).into() }
}

fn check_promise(promise: &Promise, answers: &[Answer]) -> PromiseCheck {
    let answered = answers.iter().filter(|answer| answer.answered()).count() as u64;
    let errors = answers.iter().filter(|answer| answer.answered() && !answer.first_is_right()).count() as u64;
    let p_value = at_least(errors, answered, promise.max_error);
    let verdict = if answered == 0 {
        Verdict::Untested
    } else if ratio(errors, answered) <= promise.max_error {
        Verdict::Kept
    } else if p_value >= SIGNIFICANCE {
        Verdict::WithinChance
    } else {
        Verdict::Broken
    };
    PromiseCheck { answered, errors, p_value, verdict }
}

/// Probability of at least `errors` among `trials` at an error rate; 1 for a rate that is none.
pub(crate) fn at_least(errors: u64, trials: u64, rate: f64) -> f64 {
    match (errors.checked_sub(1), Binomial::new(rate, trials)) {
        (Some(fewer), Ok(binomial)) => binomial.sf(fewer),
        _ => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_of_errors_by_hand() {
        assert!((at_least(1, 2, 0.5) - 0.75).abs() < 1e-9);
        assert!((at_least(2, 2, 0.1) - 0.01).abs() < 1e-9);
        assert!((at_least(0, 5, 0.1) - 1.0).abs() < 1e-12);
        assert!((at_least(3, 5, 7.0) - 1.0).abs() < 1e-12);
    }
}
