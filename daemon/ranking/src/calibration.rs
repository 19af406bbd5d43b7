//! The threshold behind a promise.
//!
//! Sequential testing from several starts (Angelopoulos, Bates, Candès, Jordan and Lei, "Learn then Test", 2021, sec. 4) with
//! the risk handed on, which is the fallback procedure of Wiens (Pharmaceutical Statistics 2, 2003): thresholds lie on a grid
//! that does not look at the labels, strictest first. Each is tested by the one-sided Clopper-Pearson bound (Biometrika 26,
//! 1934) on the error among answered intents, at the risk that the one before handed on, and more where a start brings its
//! own; one that holds hands all of it on, one that fails loses it. The loosest that held is taken. The risks of the starts
//! sum to 1 - confidence, so the chance that the promise is broken stays under that although many thresholds were looked at.

use serde::{Deserialize, Serialize};
use statrs::distribution::{Beta, ContinuousCDF};

use crate::error::RankingError;

/// Answered intents at the first threshold of the walk are at least the fewest that could keep the bound without an
/// error, times this.
const FIRST_STEP: f64 = 1.6;
/// Where risk is brought in, as shares of the intents answered, and which share of it: most where useful promises begin, some
/// at the strictest threshold. Ascending; the shares of the risk sum to 1.
const STARTS: [(f64, f64); 3] = [(0.0, 0.2), (0.15, 0.4), (0.4, 0.4)];
/// The largest share of the risk at one start.
const MOST_AT_A_START: f64 = 0.4;
/// Thresholds of the walk: each lets in this share more of the intents than the one before.
const STEP: f64 = 1.06;

/// One labelled intent as the matcher saw it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// The matcher's confidence, higher is surer.
    pub confidence: f64,
    /// Whether the first candidate was right; false for an out-of-scope intent.
    pub correct: bool,
    /// Whether a right answer exists.
    pub in_scope: bool,
}

/// An observation and the sort of its first candidate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// The observation.
    #[serde(flatten)]
    pub observation: Observation,
    /// Whether the first candidate needs a configuration.
    pub minimal: bool,
}

/// A threshold and what it does on the observations that it was fitted on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// The confidence to reach.
    pub threshold: f64,
    /// Intents that reach it.
    pub answered: u64,
    /// Of those, wrong ones.
    pub errors: u64,
    /// Upper bound on their rate, at a confidence level that allows for all thresholds that were looked at.
    pub error_bound: f64,
    /// Share of in-scope intents that are answered.
    pub coverage: f64,
}

/// The loosest threshold that the walk reaches; see the module.
///
/// `max_error` and `confidence_level` lie strictly between 0 and 1. Errors: out-of-range arguments; a confidence that
/// is not finite; no out-of-scope intents; too few intents (says how many more are needed); a bound that already the
/// strictest threshold breaks.
pub fn threshold(
    observations: &[Observation],
    max_error: f64,
    confidence_level: f64,
) -> Result<Threshold, RankingError> {
    for (name, value) in [("max_error", max_error), ("confidence", confidence_level)] {
        if !(value > 0.0 && value < 1.0) {
            return Err(RankingError::Range { name, value: value.to_string(), range: "strictly between 0 and 1" });
        }
    }
    if let Some(strange) = observations.iter().find(|seen| !seen.confidence.is_finite()) {
        return Err(RankingError::Range {
            name: "a confidence",
            value: strange.confidence.to_string(),
            range: "within the finite",
        });
    }
    let in_scope = observations.iter().filter(|seen| seen.in_scope).count();
    if in_scope == observations.len() {
        return Err(RankingError::NoPromise(
            "the labelled intents hold no out-of-scope ones, so nothing bounds answers to intents that have none; add some"
                .into(),
        ));
    }
    let level = |share: f64| 1.0 - share * (1.0 - confidence_level);
    let needed = intents_needed(max_error, level(MOST_AT_A_START));
    if observations.len() < needed {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive, and saturating is right"
        )]
        #[expect(clippy::cast_precision_loss, reason = "counts of labelled intents")]
        let first = (needed as f64 * FIRST_STEP).ceil() as usize;
        return Err(RankingError::NoPromise(format!(
            "{} labelled intents cannot promise an error of at most {max_error} with confidence {confidence_level}: even \
             without a single error {needed} answered ones are needed, and {first} in-scope ones to choose a threshold; add {} more",
            observations.len(),
            first.saturating_sub(in_scope)
        )));
    }
    let mut ordered = observations.to_vec();
    ordered.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    let mut kept: Option<Threshold> = None;
    let mut lowest_bound = 1.0f64;
    let mut risk = 0.0;
    let mut errors_until = 0;
    let mut counted = 0;
    for Step { end, brings } in walk(&ordered, needed) {
        errors_until += ordered[counted..end].iter().filter(|seen| !seen.correct).count() as u64;
        counted = end;
        risk += brings;
        if risk == 0.0 {
            continue;
        }
        let error_bound = clopper_pearson_upper(errors_until, end as u64, level(risk))?;
        lowest_bound = lowest_bound.min(error_bound);
        if error_bound > max_error {
            risk = 0.0;
            continue;
        }
        let covered = ordered[..end].iter().filter(|seen| seen.in_scope).count();
        kept = Some(Threshold {
            threshold: ordered[end - 1].confidence,
            answered: end as u64,
            errors: errors_until,
            error_bound,
            coverage: share(covered, in_scope),
        });
    }
    kept.ok_or_else(|| {
        RankingError::NoPromise(format!(
            "no threshold keeps the error bound under {max_error} at confidence {confidence_level} on {} intents; the lowest \
             bound is {lowest_bound:.3}: accept a larger max_error, or add labelled intents and fit the ranking",
            observations.len()
        ))
    })
}

/// A threshold of the walk.
struct Step {
    /// How many of the surest intents it answers.
    end: usize,
    /// The share of the risk that it brings in.
    brings: f64,
}

/// The thresholds, strictest first; equal confidences stand or fall together.
#[expect(clippy::cast_precision_loss, reason = "counts of labelled intents")]
fn walk(ordered: &[Observation], needed: usize) -> Vec<Step> {
    let intents = ordered.len() as f64;
    let least = (needed as f64 * FIRST_STEP).min(intents);
    let mut starts = STARTS.iter().map(|(start, share)| ((intents * start).max(least), share)).peekable();
    let mut steps: Vec<Step> = Vec::new();
    let mut wanted = least;
    loop {
        // The grid goes through every start.
        let start = starts.peek().map_or(f64::INFINITY, |(start, _)| *start);
        let mut brings = 0.0;
        if start <= wanted {
            wanted = start;
            while let Some((_, share)) = starts.next_if(|(start, _)| *start <= wanted) {
                brings += share;
            }
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most the number of intents")]
        let mut end = (wanted.ceil() as usize).clamp(1, ordered.len());
        while end < ordered.len() && ordered[end].confidence.total_cmp(&ordered[end - 1].confidence).is_eq() {
            end += 1;
        }
        match steps.last_mut().filter(|last| last.end >= end) {
            Some(last) => last.brings += brings,
            None => steps.push(Step { end, brings }),
        }
        if end == ordered.len() {
            // What would begin here or later begins here.
            let rest: f64 = starts.map(|(_, share)| share).sum();
            if let Some(last) = steps.last_mut() {
                last.brings += rest;
            }
            return steps;
        }
        wanted = (end as f64 * STEP).max(end as f64 + 1.0);
    }
}

/// The fewest answered intents with which an error rate can be bounded at all: none of them wrong.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and saturating is right")]
pub fn intents_needed(max_error: f64, confidence_level: f64) -> usize {
    ((-confidence_level).ln_1p() / (-max_error).ln_1p()).ceil() as usize
}

/// Upper end of the one-sided Clopper-Pearson interval for `errors` among `trials` at `confidence_level`, 0..=1.
pub fn clopper_pearson_upper(errors: u64, trials: u64, confidence_level: f64) -> Result<f64, RankingError> {
    if errors >= trials {
        return Ok(1.0);
    }
    quantile(errors + 1, trials - errors, confidence_level)
}

/// Lower end of the one-sided Clopper-Pearson interval, 0..=1.
pub fn clopper_pearson_lower(errors: u64, trials: u64, confidence_level: f64) -> Result<f64, RankingError> {
    if errors == 0 || errors > trials {
        return Ok(0.0);
    }
    quantile(errors, trials - errors + 1, 1.0 - confidence_level)
}

#[expect(clippy::cast_precision_loss, reason = "counts of labelled intents are far below 2^52")]
fn quantile(a: u64, b: u64, level: f64) -> Result<f64, RankingError> {
    let failed = |error: &dyn std::fmt::Display| RankingError::Numeric(format!("beta distribution: {error}"));
    let beta = Beta::new(a as f64, b as f64).map_err(|error| failed(&error))?;
    beta.try_inverse_cdf(level).map_err(|error| failed(&error))
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
