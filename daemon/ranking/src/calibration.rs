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
    let in_scope = observations.iter().filter(|seen| seen.in_scope).count();
    check_promisable(in_scope, observations.len() - in_scope, max_error, confidence_level)?;
    if let Some(strange) = observations.iter().find(|seen| !seen.confidence.is_finite()) {
        return Err(RankingError::Range {
            name: "a confidence",
            value: strange.confidence.to_string(),
            range: "within the finite",
        });
    }
    let level = |share: f64| 1.0 - share * (1.0 - confidence_level);
    let needed = intents_needed(max_error, level(MOST_AT_A_START));
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
        let way_out = match shortfall(&ordered, max_error, confidence_level) {
            Some(Shortfall { rate, share, total }) => {
                let more = total.saturating_sub(ordered.len()).max(1);
                format!(
                    "at the error seen, {:.1} % of the surest {:.0} %, about {total} labelled intents would do: add {}; or fit \
                     the ranking, or accept a larger max_error",
                    rate * 100.0,
                    share * 100.0,
                    more_of_each(more, in_scope, ordered.len() - in_scope)
                )
            }
            None => format!(
                "at the error seen, {}, no number of labelled intents would do: fit the ranking, or accept a larger max_error",
                STARTS
                    .iter()
                    .filter(|(start, _)| *start > 0.0)
                    .map(|(start, _)| {
                        format!("{:.1} % of the surest {:.0} %", seen_error(&ordered, *start).0 * 100.0, start * 100.0)
                    })
                    .collect::<Vec<_>>()
                    .join(" and ")
            ),
        };
        RankingError::NoPromise(format!(
            "no threshold keeps the error bound under {max_error} at confidence {confidence_level} on {} intents ({in_scope} in \
             scope, {} out of scope); the lowest bound is {lowest_bound:.3}; {way_out}",
            ordered.len(),
            ordered.len() - in_scope
        ))
    })
}

/// Whether so many labelled intents could promise anything at all, which can be said before any of them is asked.
///
/// `max_error` and `confidence_level` lie strictly between 0 and 1. Errors: out-of-range arguments; no out-of-scope intents; too
/// few intents; says how many more of each are needed.
pub fn check_promisable(
    in_scope: usize,
    out_of_scope: usize,
    max_error: f64,
    confidence_level: f64,
) -> Result<(), RankingError> {
    for (name, value) in [("max_error", max_error), ("confidence", confidence_level)] {
        if !(value > 0.0 && value < 1.0) {
            return Err(RankingError::Range { name, value: value.to_string(), range: "strictly between 0 and 1" });
        }
    }
    let needed = intents_needed(max_error, 1.0 - MOST_AT_A_START * (1.0 - confidence_level));
    let first = first_step(needed);
    let missing = first.saturating_sub(in_scope);
    if out_of_scope == 0 {
        let besides = if missing > 0 { format!(", and {missing} more in scope") } else { String::new() };
        return Err(RankingError::NoPromise(format!(
            "the labelled intents hold no out-of-scope ones, so nothing bounds answers to intents that have none; add at least \
             {needed} out of scope, the fewest that can bound such a rate by {max_error}{besides}"
        )));
    }
    if in_scope + out_of_scope < needed {
        return Err(RankingError::NoPromise(format!(
            "{} labelled intents cannot promise an error of at most {max_error} with confidence {confidence_level}: even \
             without a single error {needed} answered ones are needed, and {first} in-scope ones to choose a threshold; add \
             {missing} more in scope and {} out of scope",
            in_scope + out_of_scope,
            proportional(missing, out_of_scope, in_scope)
        )));
    }
    Ok(())
}

/// In-scope intents to choose a threshold from where so many answered ones are needed.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and saturating is right")]
#[expect(clippy::cast_precision_loss, reason = "counts of labelled intents")]
fn first_step(needed: usize) -> usize {
    (needed as f64 * FIRST_STEP).ceil() as usize
}

/// `count * part / whole`, rounded up.
fn proportional(count: usize, part: usize, whole: usize) -> usize {
    let found = (count as u128 * part as u128).div_ceil(whole.max(1) as u128);
    usize::try_from(found).unwrap_or(usize::MAX)
}

/// So many more intents, dealt out as those that are there.
fn more_of_each(more: usize, in_scope: usize, out_of_scope: usize) -> String {
    let inside = proportional(more, in_scope, in_scope + out_of_scope);
    let outside = proportional(more, out_of_scope, in_scope + out_of_scope);
    format!("{inside} more in scope and {outside} out of scope")
}

/// What a promise lacks.
struct Shortfall {
    /// Error rate among the surest intents.
    rate: f64,
    /// Which share of them was looked at.
    share: f64,
    /// Labelled intents that would suffice were it the same among more of them.
    total: usize,
}

/// Error rate among the surest share of the intents and how many these are; equal confidences stand or fall together.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most the number of intents")]
#[expect(clippy::cast_precision_loss, reason = "counts of labelled intents")]
fn seen_error(ordered: &[Observation], start: f64) -> (f64, usize) {
    let mut end = ((ordered.len() as f64 * start).ceil() as usize).clamp(1, ordered.len());
    while end < ordered.len() && ordered[end].confidence.total_cmp(&ordered[end - 1].confidence).is_eq() {
        end += 1;
    }
    let errors = ordered[..end].iter().filter(|seen| !seen.correct).count();
    (share(errors, end), end)
}

/// How many labelled intents would suffice if the error among the surest stayed as it is: of the starts that move with the
/// number of intents, the one that needs the fewest, with the risk of its own alone. `None` where none would do.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "far below 2^52")]
#[expect(clippy::cast_precision_loss, reason = "counts of labelled intents")]
fn shortfall(ordered: &[Observation], max_error: f64, confidence_level: f64) -> Option<Shortfall> {
    /// More is no advice.
    const MOST: u64 = 10_000_000;
    let least = first_step(intents_needed(max_error, 1.0 - MOST_AT_A_START * (1.0 - confidence_level)));
    let needs = |&(start, risk): &(f64, f64)| {
        let (rate, end) = seen_error(ordered, start);
        let level = 1.0 - risk * (1.0 - confidence_level);
        let holds = |answered: u64| {
            let errors = (rate * answered as f64 - 1e-9).ceil().max(0.0) as u64;
            clopper_pearson_upper(errors, answered, level).is_ok_and(|bound| bound <= max_error)
        };
        if rate >= max_error {
            return None;
        }
        let (mut low, mut high) = (end as u64, end as u64);
        while !holds(high) {
            low = high;
            high = high.checked_mul(2).filter(|&next| next <= MOST)?;
        }
        while low + 1 < high {
            let middle = u64::midpoint(low, high);
            if holds(middle) { high = middle } else { low = middle }
        }
        let answered = (high as f64).max(least as f64);
        let share = share(end, ordered.len());
        Some(Shortfall { rate, share, total: (answered / share).ceil() as usize })
    };
    STARTS.iter().filter(|(start, _)| *start > 0.0).filter_map(needs).min_by_key(|found| found.total)
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
