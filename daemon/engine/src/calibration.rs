//! Calibration: the thresholds behind a promise, one for each sort of answer, and whether they still hold.
//!
//! The mathematics is in `fitment_ranking`: fixed-sequence testing of the one-sided Clopper-Pearson bound on the error among
//! answered intents; an out-of-scope intent that is answered counts as an error.

use fitment_ranking::{Fingerprints, Observation, RankingError, Seen, Threshold, intents_needed, threshold};
use serde::{Deserialize, Serialize};

use crate::drift::Reference;
use crate::error::EngineError;
use crate::rank::{Ranking, SecondStageSettings};
use crate::store::Revision;

/// Fitted thresholds and everything that they depend on.
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
    /// Versions that had changed since the fit when it came here in a bundle; they count on.
    #[serde(default, skip_serializing_if = "nothing")]
    pub changed_before: u64,
    /// Versions that could answer when it was fitted.
    pub fitted_versions: u64,
    /// sha256 over the labelled intents.
    pub dataset_digest: String,
    /// The data set, in words.
    pub dataset: String,
    /// Where the intents came from.
    pub evidence: Evidence,
    /// Settings of the searches.
    pub ranking: Ranking,
    /// Digest of the second stage's model; empty: it was off.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub second_stage_digest: String,
    /// The ranker whose confidences were looked at.
    pub ranker_id: String,
    /// Error rate among answered intents that the operator accepts, 0..1.
    pub max_error: f64,
    /// Confidence of the bound, 0..1.
    pub confidence_level: f64,
    /// For answers that need nothing generated; absent where no promise could be made.
    pub zero: Option<Threshold>,
    /// For answers that need a configuration; absent where no promise could be made.
    pub minimal: Option<Threshold>,
    /// Whether no version that could answer needed a configuration, so that no promise is missing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nothing_to_configure: bool,
    /// Intents with a right answer.
    pub in_scope: u64,
    /// Intents with none.
    pub out_of_scope: u64,
    /// What the confidences looked like, so that drift can be seen.
    pub reference: Option<Reference>,
    /// The labelled intents that it was fitted on; none in one from before they were kept, and in a synthetic one.
    #[serde(default, skip_serializing_if = "Fingerprints::is_empty")]
    pub intents: Fingerprints,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands in a reference to the field")]
fn nothing(count: &u64) -> bool {
    *count == 0
}

/// Where the intents of a calibration came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// Labelled intents that ranking did not learn from.
    Labelled,
    /// Labelled intents that the ranker learnt from, each judged by a part of the fit that had not seen it.
    CrossFitted,
    /// The catalogue's own example intents, each taken out in turn: a stand-in until there are labels.
    Synthetic,
}

/// Thresholds for both sorts of answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds {
    /// For answers that need nothing generated.
    pub zero: Option<Threshold>,
    /// For answers that need a configuration.
    pub minimal: Option<Threshold>,
    /// Why a sort has none, and what the labels lack.
    pub warnings: Vec<String>,
}

/// Finds both thresholds. A sort of answers that its intents do not suffice for is not promised.
///
/// Each sort bears its own bound at `confidence_level`. Coverage of each is its share of all in-scope intents. Errors: when
/// nothing at all can be promised, with the reason of the sort that more intents ended in.
pub fn fit(seen: &[Seen], max_error: f64, confidence_level: f64) -> Result<Thresholds, EngineError> {
    let in_scope = seen.iter().filter(|seen| seen.observation.in_scope).count();
    let of_sort = |minimal: bool| -> Vec<Observation> {
        seen.iter().filter(|seen| seen.minimal == minimal).map(|seen| seen.observation).collect()
    };
    let all: Vec<Observation> = seen.iter().map(|seen| seen.observation).collect();
    if in_scope == all.len() {
        // Said of the whole, not of one sort.
        threshold(&all, max_error, confidence_level).map_err(|error: RankingError| refused(error.to_string()))?;
    }
    let mut warnings = Vec::new();
    let mut fitted = |minimal: bool, name: &str| -> Result<Option<Threshold>, String> {
        let observations = of_sort(minimal);
        if observations.is_empty() {
            return Ok(None);
        }
        if observations.iter().all(|seen| seen.in_scope) {
            warnings.push(format!(
                "no out-of-scope intent ended in a {name} candidate, so none of these is promised; add out-of-scope intents that \
                 come near to such components, {} at least",
                intents_needed(max_error, confidence_level)
            ));
            return Ok(None);
        }
        let of_all = if observations.len() < all.len() {
            format!(
                " (counted over the {} of {} intents that ended in a {name} candidate)",
                observations.len(),
                all.len()
            )
        } else {
            String::new()
        };
        let found =
            threshold(&observations, max_error, confidence_level).map_err(|error| format!("{error}{of_all}"))?;
        let of_these = observations.iter().filter(|seen| seen.in_scope).count();
        #[expect(clippy::cast_precision_loss, reason = "counts of intents")]
        let share = of_these as f64 / in_scope.max(1) as f64;
        Ok(Some(Threshold { coverage: found.coverage * share, ..found }))
    };
    let (zero, minimal) = (fitted(false, "zero-generation"), fitted(true, "minimal-generation"));
    let most_are_minimal = seen.iter().filter(|seen| seen.minimal).count() * 2 > seen.len();
    match (zero, minimal) {
        (Err(error), Err(other)) => Err(refused(if most_are_minimal { other } else { error })),
        (Err(error), Ok(None)) | (Ok(None), Err(error)) => Err(refused(error)),
        (Ok(None), Ok(None)) => Err(EngineError::Calibration(warnings.pop().unwrap_or_else(|| {
            format!("no labelled intents; at least {} are needed", intents_needed(max_error, confidence_level))
        }))),
        (zero, minimal) => {
            let mut kept = |found: Result<Option<Threshold>, String>, name: &str| {
                found.unwrap_or_else(|error| {
                    warnings.push(format!("{name} answers are not promised: {error}"));
                    None
                })
            };
            let (zero, minimal) = (kept(zero, "zero-generation"), kept(minimal, "minimal-generation"));
            Ok(Thresholds { zero, minimal, warnings })
        }
    }
}

fn refused(error: String) -> EngineError {
    EngineError::Calibration(error)
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
    /// `second_stage_digest`: empty where it is off. `changed`: versions written or deleted since the fit.
    pub fn staleness(
        &self,
        model_digest: &str,
        second_stage_digest: &str,
        ranking: &Ranking,
        ranker_id: &str,
        changed: u64,
    ) -> Option<String> {
        if self.model_digest != model_digest {
            return Some(format!("calibration {} was fitted with another model", self.id));
        }
        // The budget is no part of it: an answer that the second stage had no say in promises nothing.
        let budget_ms = self.ranking.second_stage.budget_ms;
        let second_stage = SecondStageSettings { budget_ms, ..ranking.second_stage.clone() };
        if self.ranking.second_stage != second_stage {
            let with = |settings: &SecondStageSettings| match settings.model.as_str() {
                "" => "without a second stage".to_owned(),
                model => format!("with the second stage {model}"),
            };
            return Some(format!(
                "calibration {} was fitted {}, and answers are made {}; calibrate again",
                self.id,
                with(&self.ranking.second_stage),
                with(&second_stage)
            ));
        }
        if self.second_stage_digest != second_stage_digest {
            return Some(format!(
                "calibration {} was fitted with another second stage of the name {}; calibrate again",
                self.id, second_stage.model
            ));
        }
        let ranking = Ranking { second_stage, ..ranking.clone() };
        if self.ranking != ranking || self.ranker_id != ranker_id {
            return Some(format!(
                "calibration {} was fitted with ranker {}, and {ranker_id} is in force; calibrate again",
                self.id, self.ranker_id
            ));
        }
        if ratio(changed, self.fitted_versions) > Self::MAX_CHANGED_SHARE {
            return Some(format!(
                "calibration {} is stale: {changed} versions changed since it was fitted on {}",
                self.id, self.fitted_versions
            ));
        }
        None
    }

    /// The threshold for one sort of answers.
    pub fn threshold(&self, minimal: bool) -> Option<f64> {
        if minimal { self.minimal } else { self.zero }.map(|found| found.threshold)
    }

    /// Both thresholds that there are.
    pub fn thresholds(&self) -> impl Iterator<Item = Threshold> {
        [self.zero, self.minimal].into_iter().flatten()
    }

    /// Share of in-scope intents answered, on the intents that it was fitted on.
    pub fn coverage(&self) -> f64 {
        self.thresholds().map(|found| found.coverage).sum()
    }

    /// Answered intents and wrong ones among them, on the intents that it was fitted on.
    pub fn answered(&self) -> (u64, u64) {
        self.thresholds().fold((0, 0), |(answered, errors), found| (answered + found.answered, errors + found.errors))
    }

    /// The larger of the two bounds.
    pub fn error_bound(&self) -> f64 {
        self.thresholds().map(|found| found.error_bound).fold(0.0, f64::max)
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
        let (answered, errors) = self.answered();
        let evidence = match self.evidence {
            Evidence::Labelled => "",
            Evidence::CrossFitted => ", cross-fitted",
            Evidence::Synthetic => ", SYNTHETIC: the catalogue's own examples, no labelled intent",
        };
        let sorts = match (self.zero, self.minimal) {
            (Some(_), Some(_)) => "",
            (Some(_), None) if self.nothing_to_configure => "",
            (Some(_), None) => "; minimal-generation answers are not promised",
            (None, Some(_)) => "; zero-generation answers are not promised",
            (None, None) => "; nothing is promised",
        };
        format!(
            "at most {:.0} % of answers wrong with {:.0} % confidence, fitted on {} ({} in scope, {} out of scope{evidence}): \
             {answered} answered, {errors} wrong, {:.0} % of in-scope intents covered{sorts}",
            self.max_error * 100.0,
            self.confidence_level * 100.0,
            self.dataset,
            self.in_scope,
            self.out_of_scope,
            self.coverage() * 100.0
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(minimal: bool, correct: u32, wrong: u32, outside: u32) -> Vec<Seen> {
        let mut seen = Vec::new();
        let mut push = |count: u32, base: f64, correct, in_scope| {
            for step in 0..count {
                let confidence = base - f64::from(step) * 1e-4;
                seen.push(Seen { observation: Observation { confidence, correct, in_scope }, minimal });
            }
        };
        push(correct, 0.9, true, true);
        push(wrong, 0.5, false, true);
        push(outside, 0.4, false, false);
        seen
    }

    #[test]
    fn what_is_said_fits_the_catalogue_and_the_second_stage() {
        let text = include_str!("../../catalog/sample/calibration.json");
        let shipped: Calibration = serde_json::from_str(text).expect("the sample's");
        let again = serde_json::to_string(&shipped).expect("written");
        assert!(
            !again.contains("second_stage_digest") && !again.contains("nothing_to_configure"),
            "ids stay as they were"
        );
        let zero_only = Calibration { zero: shipped.zero.or(shipped.minimal), minimal: None, ..shipped };
        assert!(zero_only.promise().ends_with("minimal-generation answers are not promised"));
        let nothing_to_configure = Calibration { nothing_to_configure: true, ..zero_only.clone() };
        assert!(nothing_to_configure.promise().ends_with("covered"), "{}", nothing_to_configure.promise());

        let mut ranking = zero_only.ranking.clone();
        ranking.second_stage.model = "second".into();
        let fitted = Calibration { ranking: ranking.clone(), second_stage_digest: "sha256:a".into(), ..zero_only };
        let stale = |digest: &str| fitted.staleness(&fitted.model_digest, digest, &ranking, &fitted.ranker_id, 0);
        assert_eq!(stale("sha256:a"), None);
        assert!(stale("sha256:b").expect("stale").contains("another second stage"));
    }

    #[test]
    fn each_sort_of_answers_has_its_own_threshold() {
        let mut both = seen(false, 300, 50, 50);
        both.extend(seen(true, 20, 200, 50));
        let found = fit(&both, 0.05, 0.9).expect("zero can be promised");
        assert!(found.zero.expect("promised").error_bound <= 0.05);
        assert_eq!(found.minimal, None);
        let warning = &found.warnings[0];
        assert!(warning.contains("minimal-generation answers are not promised"), "{warning}");
        assert!(warning.contains("no number of labelled intents would do"), "{warning}");
        assert!(
            warning.contains("over the 270 of 670 intents that ended in a minimal-generation candidate"),
            "{warning}"
        );
    }

    #[test]
    fn what_cannot_be_promised_is_refused_with_the_way_out() {
        let error = fit(&seen(false, 10, 0, 5), 0.05, 0.9).expect_err("too few").to_string();
        assert!(error.contains("add 91 more in scope and 46 out of scope"), "{error}");
        let error = fit(&seen(false, 300, 0, 0), 0.05, 0.9).expect_err("nothing out of scope").to_string();
        assert!(error.contains("out-of-scope"), "{error}");
        assert!(fit(&seen(false, 300, 0, 9), 0.0, 0.9).is_err());
        assert!(fit(&seen(false, 300, 0, 9), 0.05, f64::NAN).is_err());
        assert!(fit(&[], 0.05, 0.9).is_err());
    }
}
