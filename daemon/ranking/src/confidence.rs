//! How likely the first candidate is right, and how likely anything fits: two logistic models over what the ranked list
//! looks like, not over its margin alone.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::RankingError;
use crate::optimize::minimize;
use crate::signal::{SIGNALS, Signal, Signals, counted};

/// Candidates at the head of the list that are looked at.
const HEAD: usize = 10;
/// A lead beyond this says no more; a single candidate has it.
const MOST_LEAD: f64 = 6.0;
/// Signals whose own first choice is compared with the list's.
const VOICES: [Signal; 8] = [
    Signal::Centroid,
    Signal::Words,
    Signal::Trigrams,
    Signal::Prototype,
    Signal::Head,
    Signal::WordHead,
    Signal::NearestLabel,
    Signal::Adapted,
];
/// Sum, lead, lead over the next four, log share, entropy, number of words, number of candidates.
const SHAPE: usize = 7;
const FEATURES: usize = SHAPE + SIGNALS + 2 * VOICES.len();
/// The largest number of a model: far beyond any that is learnt, and sums of products with it stay finite.
const MOST: f64 = 1e9;
/// `RIDGE / n * |w|^2` is added to the mean loss.
const RIDGE: f64 = 10.0;

/// The candidates of one intent, best first.
#[derive(Clone, Debug, Default)]
pub struct RankedSignals {
    /// Weighted sum and signals of each.
    pub candidates: Vec<(f64, Signals)>,
    /// Words of the intent.
    pub words: usize,
}

/// What a confidence model says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Confidence {
    /// Probability that the first candidate is right, 0..1.
    pub correct: f64,
    /// Probability that any component meets the intent, 0..1.
    pub in_scope: f64,
}

/// Two logistic models over the same features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfidenceModel {
    mean: Vec<f64>,
    scale: Vec<f64>,
    /// One more than features: the last is the intercept.
    correct: Vec<f64>,
    in_scope: Vec<f64>,
}

impl RankedSignals {
    fn features(&self) -> [f64; FEATURES] {
        let mut features = [0.0; FEATURES];
        let Some((first, signals)) = self.candidates.first() else { return features };
        let head: Vec<f64> = self.candidates.iter().take(HEAD).map(|(sum, _)| sum - first).collect();
        let total: f64 = head.iter().map(|sum| sum.exp()).sum();
        let entropy = |sum: &f64| -(sum.exp() / total) * (sum - total.ln());
        let next: Vec<f64> = head.iter().skip(1).take(4).copied().collect();
        #[expect(clippy::cast_precision_loss, reason = "counts of words and candidates")]
        let (mean_next, words, candidates) = (
            next.iter().sum::<f64>() / next.len().max(1) as f64,
            self.words as f64,
            self.candidates.len().min(50) as f64,
        );
        let lead = |sum: Option<f64>| sum.map_or(MOST_LEAD, |sum| (-sum).min(MOST_LEAD));
        features[..SHAPE].copy_from_slice(&[
            *first,
            lead(next.first().copied()),
            lead((!next.is_empty()).then_some(mean_next)),
            -total.ln(),
            head.iter().map(entropy).sum(),
            words.ln_1p(),
            candidates.ln(),
        ]);
        for (feature, &signal) in features[SHAPE..].iter_mut().zip(signals) {
            *feature = counted(signal);
        }
        for (pair, voice) in features[SHAPE + SIGNALS..].chunks_exact_mut(2).zip(VOICES) {
            let value = |(_, signals): &(f64, Signals)| signals[voice.index()];
            let own = signals[voice.index()];
            let best_other = self.candidates.iter().skip(1).map(value).fold(f32::NEG_INFINITY, f32::max);
            if own >= best_other {
                pair[0] = 1.0;
                pair[1] = f64::from((own - best_other).min(1.0));
            }
        }
        // Sums far apart or out of order overflow: such a feature says nothing.
        features.map(|feature| if feature.is_finite() { feature } else { 0.0 })
    }
}

/// A ranked list with its label.
#[derive(Clone, Debug)]
pub(crate) struct Labelled {
    pub(crate) ranked: RankedSignals,
    pub(crate) correct: bool,
    pub(crate) in_scope: bool,
    /// How much it counts, > 0.
    pub(crate) weight: f64,
}

impl ConfidenceModel {
    /// Errors: no example of one of the sides.
    pub(crate) fn fit(examples: &[&Labelled]) -> Result<Self, RankingError> {
        let rows: Vec<[f64; FEATURES]> = examples.iter().map(|example| example.ranked.features()).collect();
        #[expect(clippy::cast_precision_loss, reason = "counts of intents")]
        let n = rows.len().max(1) as f64;
        let mut mean = vec![0.0; FEATURES];
        let mut scale = vec![0.0; FEATURES];
        for row in &rows {
            mean.iter_mut().zip(row).for_each(|(sum, value)| *sum += value / n);
        }
        for row in &rows {
            for ((sum, value), mean) in scale.iter_mut().zip(row).zip(&mean) {
                *sum += (value - mean).powi(2) / n;
            }
        }
        // A feature that never changes says nothing and must not be blown up when it once does.
        for variance in &mut scale {
            *variance = if *variance > 1e-8 { variance.sqrt().recip() } else { 0.0 };
        }
        let standard: Vec<Vec<f64>> = rows
            .iter()
            .map(|row| row.iter().zip(&mean).zip(&scale).map(|((value, mean), scale)| (value - mean) * scale).collect())
            .collect();
        let side = |truth: fn(&Labelled) -> bool| {
            let labels: Vec<(f64, f64)> =
                examples.iter().map(|example| (f64::from(u8::from(truth(example))), example.weight)).collect();
            logistic(&standard, &labels)
        };
        Ok(Self { correct: side(|example| example.correct)?, in_scope: side(|example| example.in_scope)?, mean, scale })
    }

    /// Errors: numbers that do not fit each other.
    pub(crate) fn check(&self) -> Result<(), RankingError> {
        let fits = self.mean.len() == FEATURES
            && self.scale.len() == FEATURES
            && self.correct.len() == FEATURES + 1
            && self.in_scope.len() == FEATURES + 1;
        let mut numbers = self.mean.iter().chain(&self.scale).chain(&self.correct).chain(&self.in_scope);
        if fits && numbers.all(|number| number.abs() <= MOST) {
            Ok(())
        } else {
            Err(RankingError::Damaged("the confidence model has the wrong shape or numbers beyond all bounds".into()))
        }
    }

    /// What a ranked list looks like to it; an empty one is worth nothing.
    pub fn confidence(&self, ranked: &RankedSignals) -> Confidence {
        if ranked.candidates.is_empty() {
            return Confidence { correct: 0.0, in_scope: 0.0 };
        }
        let features = ranked.features();
        let of = |weights: &[f64]| {
            let mut logit = weights[FEATURES];
            for (at, value) in features.iter().enumerate() {
                // Beyond four standard deviations a feature is outside of what was seen.
                logit += weights[at] * ((value - self.mean[at]) * self.scale[at]).clamp(-4.0, 4.0);
            }
            1.0 / (1.0 + (-logit).exp())
        };
        Confidence { correct: of(&self.correct), in_scope: of(&self.in_scope) }
    }
}

/// labels: truth (0 or 1) and weight of each row. Weights of the features and, last, the intercept.
fn logistic(rows: &[Vec<f64>], labels: &[(f64, f64)]) -> Result<Vec<f64>, RankingError> {
    let total: f64 = labels.iter().map(|(_, weight)| weight).sum();
    let right: f64 = labels.iter().map(|(truth, weight)| truth * weight).sum();
    if right <= 0.0 || right >= total {
        return Err(RankingError::TooFew(
            "a confidence needs both: intents that are answered rightly, and intents that are not or that are out of scope"
                .into(),
        ));
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of intents")]
    let ridge = RIDGE / rows.len() as f64;
    let evaluate = |place: &[f64]| {
        let parts: Vec<(f64, Vec<f64>)> = rows
            .par_chunks(512)
            .zip(labels.par_chunks(512))
            .map(|(rows, labels)| {
                let (mut loss, mut gradient) = (0.0, vec![0.0; FEATURES + 1]);
                for (row, (truth, weight)) in rows.iter().zip(labels) {
                    let logit = place[FEATURES] + row.iter().zip(place).map(|(value, w)| value * w).sum::<f64>();
                    // ln(1 + e^x) without overflow.
                    loss += weight / total * (logit.max(0.0) + (-logit.abs()).exp().ln_1p() - truth * logit);
                    let error = weight / total * (1.0 / (1.0 + (-logit).exp()) - truth);
                    gradient.iter_mut().zip(row).for_each(|(sum, value)| *sum += error * value);
                    gradient[FEATURES] += error;
                }
                (loss, gradient)
            })
            .collect();
        let mut loss = ridge * place[..FEATURES].iter().map(|w| w * w).sum::<f64>();
        let mut gradient: Vec<f64> = place.iter().map(|w| 2.0 * ridge * w).collect();
        gradient[FEATURES] = 0.0;
        for (part, by_place) in parts {
            loss += part;
            gradient.iter_mut().zip(by_place).for_each(|(sum, value)| *sum += value);
        }
        (loss, gradient)
    };
    minimize(vec![0.0; FEATURES + 1], 200, evaluate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranked(first: f64, lead: f64) -> RankedSignals {
        RankedSignals { candidates: vec![(first, [0.0; SIGNALS]), (first - lead, [0.0; SIGNALS])], words: 5 }
    }

    /// Right when the lead is above 1, in scope when the first sum is above 0.
    fn separable() -> Vec<Labelled> {
        (0..400)
            .map(|at| {
                let (first, lead) = (f64::from(at % 20) / 5.0 - 1.9, f64::from(at / 20) / 10.0 + 0.05);
                Labelled { ranked: ranked(first, lead), correct: lead > 1.0, in_scope: first > 0.0, weight: 1.0 }
            })
            .collect()
    }

    fn fitted() -> ConfidenceModel {
        let examples = separable();
        ConfidenceModel::fit(&examples.iter().collect::<Vec<_>>()).expect("both sides are there")
    }

    #[test]
    fn a_separable_case_is_learnt_and_a_longer_lead_is_surer() {
        let model = fitted();
        let right = separable()
            .iter()
            .filter(|one| {
                let found = model.confidence(&one.ranked);
                (found.correct > 0.5) == one.correct && (found.in_scope > 0.5) == one.in_scope
            })
            .count();
        assert!(right >= 370, "{right} of 400");
        let by_lead: Vec<f64> =
            (1..20).map(|at| model.confidence(&ranked(0.5, f64::from(at) / 10.0)).correct).collect();
        assert!(by_lead.is_sorted_by(|a, b| a < b), "{by_lead:?}");
        let by_sum: Vec<f64> =
            (-9..10).map(|at| model.confidence(&ranked(f64::from(at) / 5.0, 1.0)).in_scope).collect();
        assert!(by_sum.is_sorted_by(|a, b| a < b), "{by_sum:?}");
        assert_eq!(model.check(), Ok(()));
    }

    #[test]
    fn a_list_of_none_of_one_or_of_strange_numbers_has_a_confidence() {
        let model = fitted();
        let none = model.confidence(&RankedSignals::default());
        assert_eq!(none, Confidence { correct: 0.0, in_scope: 0.0 });
        let mut lists = vec![RankedSignals { candidates: vec![(2.0, [0.0; SIGNALS])], words: 0 }];
        for strange in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
            lists.extend([ranked(strange, 1.0), ranked(1.0, strange), ranked(1.0, -strange)]);
        }
        for strange in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            lists.push(RankedSignals {
                candidates: vec![(1.0, [strange; SIGNALS]), (0.0, [strange; SIGNALS])],
                words: 3,
            });
        }
        for list in lists {
            let found = model.confidence(&list);
            assert!(
                (0.0..=1.0).contains(&found.correct) && (0.0..=1.0).contains(&found.in_scope),
                "{list:?} {found:?}"
            );
        }
    }

    #[test]
    fn one_side_alone_teaches_nothing() {
        let mut examples = separable();
        examples.retain(|one| one.correct);
        let found = ConfidenceModel::fit(&examples.iter().collect::<Vec<_>>());
        assert!(matches!(found, Err(RankingError::TooFew(_))));
        assert!(ConfidenceModel::fit(&[]).is_err());
    }
}
