//! Calibration: the threshold behind a promise, and whether it still holds.
//!
//! A calibration is fitted on labelled intents. Its threshold is the loosest one at which the one-sided Clopper-Pearson
//! bound (Clopper and Pearson, Biometrika 26, 1934) on the error among answered intents stays under what the operator
//! accepts; an out-of-scope intent that is answered counts as an error.

use serde::{Deserialize, Serialize};
use statrs::distribution::{Beta, ContinuousCDF};

use crate::error::EngineError;
use crate::rank::Ranking;
use crate::store::Revision;

/// A fitted threshold and everything that it depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Names the calibration: its first 16 digest digits.
    pub id: String,
    /// Digest of the model.
    pub model_digest: String,
    /// sha256 over the digests of the versions that could answer, in order.
    pub catalog_digest: String,
    /// Revision of the catalogue that the fit saw.
    pub fitted_revision: Revision,
    /// Versions that could answer when it was fitted.
    pub fitted_versions: u64,
    /// sha256 over the labelled intents.
    pub dataset_digest: String,
    /// The data set, in words.
    pub dataset: String,
    /// How scores were made.
    pub ranking: Ranking,
    /// Error rate among answered intents that the operator accepts, 0..1.
    pub max_error: f64,
    /// Confidence of the bound, 0..1.
    pub confidence_level: f64,
    /// An intent is answered when its confidence reaches this.
    pub threshold: f64,
    /// Labelled intents with a right answer.
    pub in_scope: u64,
    /// Labelled intents with none.
    pub out_of_scope: u64,
    /// Labelled intents of either sort that reached the threshold.
    pub answered: u64,
    /// Of those, answered wrongly.
    pub errors: u64,
    /// Upper bound on the error rate at `confidence_level`.
    pub error_bound: f64,
    /// Share of the in-scope intents that were answered rightly.
    pub coverage: f64,
}

/// One labelled intent as the matcher saw it.
#[derive(Clone, Copy, Debug)]
pub struct Observation {
    /// The matcher's confidence, higher is surer.
    pub confidence: f64,
    /// Whether the first candidate was right; false for an out-of-scope intent.
    pub correct: bool,
    /// Whether a right answer exists.
    pub in_scope: bool,
}

/// The threshold that a fit found and what it does on the data that it saw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// The confidence to reach.
    pub threshold: f64,
    /// Intents that reach it.
    pub answered: u64,
    /// Of those, wrong ones.
    pub errors: u64,
    /// Upper bound on their rate.
    pub error_bound: f64,
    /// Share of in-scope intents answered rightly.
    pub coverage: f64,
}

/// Finds the loosest threshold whose bound stays at or under `max_error`.
///
/// `max_error` and `confidence_level` lie strictly between 0 and 1. Errors: out-of-range arguments; no out-of-scope
/// intents; no threshold keeps the bound, which is said together with what could be kept.
pub fn fit(observations: &[Observation], max_error: f64, confidence_level: f64) -> Result<Threshold, EngineError> {
    for (name, value) in [("max-error", max_error), ("confidence", confidence_level)] {
        if !(value > 0.0 && value < 1.0) {
            return Err(EngineError::Calibration(format!("{name} is {value}; it must lie strictly between 0 and 1")));
        }
    }
    if observations.iter().all(|seen| seen.in_scope) {
        return Err(EngineError::Calibration(
            "the labelled intents hold no out-of-scope ones, so nothing bounds answers to intents that have none; add some"
                .into(),
        ));
    }
    let in_scope = observations.iter().filter(|seen| seen.in_scope).count();
    let mut ordered = observations.to_vec();
    ordered.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    let mut best: Option<Threshold> = None;
    let mut lowest_bound = 1.0f64;
    let (mut answered, mut errors, mut correct) = (0u64, 0u64, 0u64);
    for (position, seen) in ordered.iter().enumerate() {
        answered += 1;
        errors += u64::from(!seen.correct);
        correct += u64::from(seen.correct);
        // Equal confidences are answered together or not at all.
        if ordered.get(position + 1).is_some_and(|next| next.confidence.total_cmp(&seen.confidence).is_eq()) {
            continue;
        }
        let error_bound = clopper_pearson_upper(errors, answered, confidence_level)?;
        lowest_bound = lowest_bound.min(error_bound);
        if error_bound <= max_error {
            let coverage = ratio(correct, in_scope as u64);
            best = Some(Threshold { threshold: seen.confidence, answered, errors, error_bound, coverage });
        }
    }
    best.ok_or_else(|| {
        EngineError::Calibration(format!(
            "no threshold keeps the error bound under {max_error} at confidence {confidence_level} on {} intents; the lowest \
             bound is {lowest_bound:.3}: accept a larger --max-error or add labelled intents",
            observations.len()
        ))
    })
}

/// Upper end of the one-sided Clopper-Pearson interval for `errors` among `trials` at `confidence_level`, 0..=1.
pub fn clopper_pearson_upper(errors: u64, trials: u64, confidence_level: f64) -> Result<f64, EngineError> {
    if errors >= trials {
        return Ok(1.0);
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of labelled intents are far below 2^52")]
    let beta = Beta::new(errors as f64 + 1.0, (trials - errors) as f64)
        .map_err(|error| EngineError::Internal(format!("beta distribution: {error}")))?;
    Ok(beta.inverse_cdf(confidence_level))
}

/// `part / whole`, 0 for an empty whole.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(crate) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl Calibration {
    /// Share of the catalogue that may change before a promise is withdrawn.
    pub const MAX_CHANGED_SHARE: f64 = 0.05;

    /// Why this calibration does not hold for a catalogue and model, or `None` when it does.
    ///
    /// `changed`: versions written or deleted since the fit.
    pub fn staleness(&self, model_digest: &str, ranking: &Ranking, changed: u64) -> Option<String> {
        if self.model_digest != model_digest {
            return Some(format!("calibration {} was fitted with another model", self.id));
        }
        if self.ranking != *ranking {
            return Some(format!("calibration {} was fitted with other ranking weights", self.id));
        }
        if ratio(changed, self.fitted_versions) > Self::MAX_CHANGED_SHARE {
            return Some(format!(
                "calibration {} is stale: {changed} versions changed since it was fitted on {}",
                self.id, self.fitted_versions
            ));
        }
        None
    }

    /// The first 16 hexadecimal digits of the sha256 of everything but the id.
    pub fn fingerprint(&self) -> Result<String, EngineError> {
        let anonymous = Self { id: String::new(), ..self.clone() };
        let bytes = serde_json::to_vec(&anonymous).map_err(|error| EngineError::Calibration(error.to_string()))?;
        let digest = fitment_catalog::Digest::of(&bytes).to_string();
        Ok(digest.rsplit(':').next().unwrap_or_default().chars().take(16).collect())
    }

    /// What it promises, in words.
    pub fn promise(&self) -> String {
        format!(
            "at most {:.0} % of answers wrong with {:.0} % confidence, fitted on {} ({} in scope, {} out of scope); \
             {:.0} % of in-scope intents answered",
            self.max_error * 100.0,
            self.confidence_level * 100.0,
            self.dataset,
            self.in_scope,
            self.out_of_scope,
            self.coverage * 100.0
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bound_agrees_with_closed_forms() {
        // No errors among n: 1 - (1 - confidence)^(1/n).
        for trials in [1u32, 10, 45, 300] {
            let exact = 1.0 - 0.1f64.powf(1.0 / f64::from(trials));
            let bound = clopper_pearson_upper(0, trials.into(), 0.9).expect("valid");
            assert!((bound - exact).abs() < 1e-6, "{trials}: {bound} against {exact}");
        }
        assert!((clopper_pearson_upper(5, 5, 0.9).expect("valid") - 1.0).abs() < f64::EPSILON);
    }

    fn observations(correct: u32, wrong: u32, outside: u32) -> Vec<Observation> {
        let mut seen = Vec::new();
        let mut push = |count: u32, base: f64, correct, in_scope| {
            for step in 0..count {
                seen.push(Observation { confidence: base - f64::from(step) * 1e-4, correct, in_scope });
            }
        };
        push(correct, 0.9, true, true);
        push(wrong, 0.5, false, true);
        push(outside, 0.4, false, false);
        seen
    }

    #[test]
    fn the_loosest_threshold_that_keeps_the_bound_is_found() {
        let found = fit(&observations(200, 50, 50), 0.05, 0.9).expect("fits");
        assert!(found.error_bound <= 0.05, "{found:?}");
        assert!(found.errors > 0 && found.answered == 200 + found.errors, "{found:?}");
        let one_more = clopper_pearson_upper(found.errors + 1, found.answered + 1, 0.9).expect("valid");
        assert!(one_more > 0.05, "{found:?} is not the loosest");
    }

    #[test]
    fn equal_confidences_stand_or_fall_together() {
        let mut seen = observations(100, 0, 1);
        seen.extend([true, false].map(|correct| Observation { confidence: 0.8, correct, in_scope: true }));
        let found = fit(&seen, 0.03, 0.9).expect("fits");
        assert_eq!((found.answered, found.errors), (100, 0));
    }

    #[test]
    fn what_cannot_be_promised_is_refused() {
        assert!(fit(&observations(10, 0, 5), 0.05, 0.9).is_err(), "too few intents");
        assert!(fit(&observations(300, 0, 0), 0.05, 0.9).is_err(), "no out-of-scope intents");
        assert!(fit(&observations(300, 0, 9), 0.0, 0.9).is_err());
        assert!(fit(&observations(300, 0, 9), 0.05, f64::NAN).is_err());
    }
}
