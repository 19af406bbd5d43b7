//! Drift: whether today's intents look like those that were fitted on, and whether a promise is kept.
//!
//! Intents: the population stability index (PSI, the symmetrised Kullback-Leibler divergence between two binned
//! distributions) of the confidence and of the best dense score, over bins of equal mass in the reference, and the cosine
//! distance between mean intent vectors. Promise: a one-sided Clopper-Pearson lower bound on the error rate among promised
//! answers that got a verdict, looked at a few times only, so that looking often finds nothing by chance.
//!
//! Pure arithmetic and small states; no clock, no store.

use std::collections::VecDeque;

use fitment_ranking::clopper_pearson_lower;
use serde::{Deserialize, Serialize};

use crate::error::EngineError;

/// Bins of a histogram.
const BINS: usize = 10;
/// Decisions of a window, and of a reference that is gathered from decisions.
const WINDOW: usize = 1000;
/// Decisions that a window needs before anything is said.
const MIN_WINDOW: usize = 200;
/// Verdicts at the first look; each further look comes at twice as many.
const FIRST_LOOK: u64 = 20;

/// A distribution over bins that held equal mass when it was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Histogram {
    /// Rising inner edges; a value on an edge belongs to the bin above it.
    edges: Vec<f64>,
    /// One count a bin: one more than there are edges.
    counts: Vec<u64>,
}

impl Histogram {
    /// Ten bins of equal mass, fewer where values are tied. `None` without values, or when one is not finite.
    pub fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let mut edges: Vec<f64> = (1..BINS).map(|bin| sorted[bin * sorted.len() / BINS]).collect();
        edges.dedup();
        let counts = counts(&edges, sorted.iter().copied());
        Some(Self { edges, counts })
    }

    /// Values that it was made from.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Population stability index of values against this distribution, 0 or more. Half a value is added to each bin, so
    /// that an empty one is no infinity.
    pub fn psi(&self, values: impl Iterator<Item = f64>) -> f64 {
        let now = counts(&self.edges, values);
        let shares = |counts: &[u64]| -> Vec<f64> {
            #[expect(clippy::cast_precision_loss, reason = "counts of decisions are far below 2^52")]
            let smoothed: Vec<f64> = counts.iter().map(|&count| count as f64 + 0.5).collect();
            let total: f64 = smoothed.iter().sum();
            smoothed.into_iter().map(|count| count / total).collect()
        };
        let (then, now) = (shares(&self.counts), shares(&now));
        then.iter().zip(&now).map(|(then, now)| (now - then) * (now / then).ln()).sum()
    }
}

fn counts(edges: &[f64], values: impl Iterator<Item = f64>) -> Vec<u64> {
    let mut counts = vec![0; edges.len() + 1];
    for value in values {
        counts[edges.partition_point(|&edge| edge <= value)] += 1;
    }
    counts
}

/// What intents looked like when something was fitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Of the confidence.
    pub confidence: Histogram,
    /// Of the best candidate's dense score.
    pub top_cosine: Histogram,
    /// Mean of the intents' vectors, as long as the model's dimension.
    pub mean_vector: Vec<f32>,
}

impl Reference {
    /// From one confidence, best dense score and vector an intent, all in the same order. `None` for no intents.
    pub fn of(confidences: &[f64], top_cosines: &[f64], vectors: &[&[f32]]) -> Option<Self> {
        let mut gathering = Gathering::default();
        for ((&confidence, &top_cosine), &vector) in confidences.iter().zip(top_cosines).zip(vectors) {
            gathering.push(&Sample { confidence, top_cosine, vector: vector.into() });
        }
        gathering.finish()
    }
}

/// What drift needs of one answered intent.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) confidence: f64,
    pub(crate) top_cosine: f64,
    pub(crate) vector: Box<[f32]>,
}

/// A reference in the making.
#[derive(Debug, Default)]
struct Gathering {
    confidences: Vec<f64>,
    top_cosines: Vec<f64>,
    sum: Vec<f64>,
}

impl Gathering {
    fn push(&mut self, sample: &Sample) {
        self.confidences.push(sample.confidence);
        self.top_cosines.push(sample.top_cosine);
        add(&mut self.sum, &sample.vector, 1.0);
    }

    fn finish(&self) -> Option<Reference> {
        #[expect(clippy::cast_precision_loss, reason = "counts of intents are far below 2^52")]
        let count = self.confidences.len() as f64;
        #[expect(clippy::cast_possible_truncation, reason = "a mean of unit vectors needs no more than f32")]
        let mean_vector = self.sum.iter().map(|total| (total / count) as f32).collect();
        Some(Reference {
            confidence: Histogram::of(&self.confidences)?,
            top_cosine: Histogram::of(&self.top_cosines)?,
            mean_vector,
        })
    }
}

/// Adds a vector times `factor`; an empty sum takes the vector's length, another length is left out.
fn add(sum: &mut Vec<f64>, vector: &[f32], factor: f64) {
    if sum.is_empty() {
        sum.resize(vector.len(), 0.0);
    }
    if sum.len() == vector.len() {
        for (total, &value) in sum.iter_mut().zip(vector) {
            *total += f64::from(value) * factor;
        }
    }
}

/// How far a distribution has moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriftLevel {
    /// PSI under 0.1.
    Stable,
    /// PSI of 0.1 to 0.25.
    Moderate,
    /// PSI of 0.25 and over.
    Strong,
}

impl DriftLevel {
    fn of(psi: f64) -> Self {
        match psi {
            psi if psi < 0.1 => Self::Stable,
            psi if psi < 0.25 => Self::Moderate,
            _ => Self::Strong,
        }
    }
}

/// The latest decisions against the reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IntentDrift {
    /// The figures, once both sides are large enough.
    pub measured: Option<MeasuredDrift>,
    /// Intents in the reference so far.
    pub reference_size: u64,
    /// Decisions in the window.
    pub window_size: u64,
    /// Whether the reference came with the calibration.
    pub from_calibration: bool,
}

/// Figures of drift.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeasuredDrift {
    /// Of the larger index.
    pub level: DriftLevel,
    /// PSI of the confidence.
    pub confidence_psi: f64,
    /// PSI of the best dense score.
    pub top_cosine_psi: f64,
    /// 1 - cosine between the mean vectors, 0..=2; `None` when one of them is zero.
    pub mean_distance: Option<f64>,
}

/// The reference and the latest decisions.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    given: Option<Reference>,
    gathering: Gathering,
    gathered: Option<Reference>,
    recent: VecDeque<Sample>,
    sum: Vec<f64>,
}

impl Windows {
    /// Compares with this from now on, or, without one, with the first decisions since the start.
    pub(crate) fn set_reference(&mut self, reference: Option<&Reference>) {
        if self.given.as_ref() != reference {
            self.given = reference.cloned();
        }
    }

    /// One more answered intent. The first ones make a reference, whether another was given or not.
    pub(crate) fn push(&mut self, sample: Sample) {
        if self.gathered.is_none() {
            self.gathering.push(&sample);
            if self.gathering.confidences.len() == WINDOW {
                self.gathered = std::mem::take(&mut self.gathering).finish();
            }
            if self.given.is_none() {
                return;
            }
        }
        add(&mut self.sum, &sample.vector, 1.0);
        self.recent.push_back(sample);
        if self.recent.len() > WINDOW
            && let Some(oldest) = self.recent.pop_front()
        {
            add(&mut self.sum, &oldest.vector, -1.0);
        }
    }

    /// What the window says.
    pub(crate) fn drift(&self) -> IntentDrift {
        let reference = self.given.as_ref().or(self.gathered.as_ref());
        let measured = reference.filter(|_| self.recent.len() >= MIN_WINDOW).map(|reference| {
            let confidence_psi = reference.confidence.psi(self.recent.iter().map(|sample| sample.confidence));
            let top_cosine_psi = reference.top_cosine.psi(self.recent.iter().map(|sample| sample.top_cosine));
            MeasuredDrift {
                level: DriftLevel::of(confidence_psi.max(top_cosine_psi)),
                confidence_psi,
                top_cosine_psi,
                mean_distance: cosine_distance(&reference.mean_vector, &self.sum),
            }
        });
        IntentDrift {
            measured,
            reference_size: reference
                .map_or(self.gathering.confidences.len() as u64, |reference| reference.confidence.total()),
            window_size: self.recent.len() as u64,
            from_calibration: self.given.is_some(),
        }
    }
}

/// 1 - cosine, 0..=2. `None` for different lengths or a zero vector.
fn cosine_distance(a: &[f32], b: &[f64]) -> Option<f64> {
    if a.len() != b.len() {
        return None;
    }
    let dot: f64 = a.iter().zip(b).map(|(&a, b)| f64::from(a) * b).sum();
    let norms =
        a.iter().map(|&a| f64::from(a).powi(2)).sum::<f64>().sqrt() * b.iter().map(|b| b.powi(2)).sum::<f64>().sqrt();
    (norms > 1e-9).then(|| (1.0 - dot / norms).clamp(0.0, 2.0))
}

/// What verdicts on the promised answers of one calibration have shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PromiseRecord {
    /// Verdicts.
    pub verdicts: u64,
    /// Of those, ones that say the answer was wrong.
    pub errors: u64,
    /// Looks taken.
    pub looks: u32,
    /// Lower bound on the error rate at the latest look.
    pub lower_bound: Option<f64>,
    /// Set for good once a look finds the bound over what was promised.
    pub broken: Option<BrokenPromise>,
}

/// The look that found a promise broken.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BrokenPromise {
    /// Verdicts at that look.
    pub verdicts: u64,
    /// Of those, wrong answers.
    pub errors: u64,
    /// Lower bound on the error rate.
    pub lower_bound: f64,
    /// What was promised.
    pub max_error: f64,
    /// Confidence of the promise and of this finding.
    pub confidence_level: f64,
    /// When.
    pub time: jiff::Timestamp,
}

impl PromiseRecord {
    /// Counts a verdict in place of the same decision's earlier one.
    pub(crate) fn count(&mut self, wrong: bool, earlier: Option<bool>) {
        if let Some(earlier) = earlier {
            self.verdicts = self.verdicts.saturating_sub(1);
            self.errors = self.errors.saturating_sub(u64::from(earlier));
        }
        self.verdicts += 1;
        self.errors += u64::from(wrong);
    }

    /// Verdicts at which the next look is due: 20, 40, 80, ...
    pub fn next_look(&self) -> u64 {
        FIRST_LOOK.saturating_mul(1u64.checked_shl(self.looks).unwrap_or(u64::MAX))
    }

    /// Looks when a look is due. Returns whether the promise was found broken by this look.
    ///
    /// With alpha = 1 - `confidence_level`, look i (from 1) takes its bound at confidence 1 - alpha / 2^i: all looks
    /// together find a kept promise broken with probability alpha at most, whatever their number (union bound).
    pub(crate) fn look(
        &mut self,
        max_error: f64,
        confidence_level: f64,
        time: jiff::Timestamp,
    ) -> Result<bool, EngineError> {
        if self.broken.is_some() || self.verdicts < self.next_look() {
            return Ok(false);
        }
        self.looks += 1;
        let spent = (1.0 - confidence_level) / 2f64.powi(i32::try_from(self.looks).unwrap_or(i32::MAX));
        let lower_bound = clopper_pearson_lower(self.errors, self.verdicts, 1.0 - spent)
            .map_err(|error| EngineError::Internal(error.to_string()))?;
        self.lower_bound = Some(lower_bound);
        if lower_bound <= max_error {
            return Ok(false);
        }
        let (verdicts, errors) = (self.verdicts, self.errors);
        self.broken = Some(BrokenPromise { verdicts, errors, lower_bound, max_error, confidence_level, time });
        Ok(true)
    }
}

impl BrokenPromise {
    /// Why a calibration is stale, in words.
    pub(crate) fn reason(&self, calibration: &str) -> String {
        format!(
            "calibration {calibration} is stale: its promise was broken: {} of {} promised answers were reported wrong, \
             so the error rate is at least {:.3} with {:.0} % confidence, over the promised {:.3}; fit another one with \
             `fitment calibrate`",
            self.errors,
            self.verdicts,
            self.lower_bound,
            self.confidence_level * 100.0,
            self.max_error
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(count: u32, from: f64, step: f64) -> Vec<f64> {
        (0..count).map(|n| from + f64::from(n) * step).collect()
    }

    fn sample(confidence: f64, direction: f32) -> Sample {
        let length = (1.0 + direction * direction).sqrt();
        let vector = [1.0 / length, direction / length];
        Sample { confidence, top_cosine: confidence, vector: vector.into() }
    }

    #[test]
    fn bins_have_equal_mass_and_ties_share_one() {
        let histogram = Histogram::of(&ramp(1000, 0.0, 0.001)).expect("values");
        assert_eq!(histogram.counts, [100; 10]);
        let tied = Histogram::of(&[0.5; 40]).expect("values");
        assert_eq!((tied.edges.as_slice(), tied.counts.as_slice()), ([0.5].as_slice(), [0, 40].as_slice()));
        assert!(Histogram::of(&[]).is_none() && Histogram::of(&[0.1, f64::NAN]).is_none());
    }

    #[test]
    fn psi_is_zero_for_the_same_and_agrees_with_its_formula() {
        let values = ramp(1000, 0.0, 0.001);
        let histogram = Histogram::of(&values).expect("values");
        assert!(histogram.psi(values.iter().copied()).abs() < 1e-12);
        // Two bins of 50 and 50 against 20 and 80, smoothed by a half.
        let two = Histogram { edges: vec![0.5], counts: vec![50, 50] };
        let (low, high) = (20.5 / 101.0, 80.5 / 101.0);
        let expect = (low - 0.5) * (low / 0.5f64).ln() + (high - 0.5) * (high / 0.5f64).ln();
        let moved = [vec![0.1; 20], vec![0.9; 80]].concat();
        assert!((two.psi(moved.into_iter()) - expect).abs() < 1e-12);
        assert_eq!(DriftLevel::of(histogram.psi(ramp(500, 0.5, 0.001).into_iter())), DriftLevel::Strong);
    }

    #[test]
    fn levels_have_the_documented_edges() {
        for (psi, level) in [
            (0.0, DriftLevel::Stable),
            (0.0999, DriftLevel::Stable),
            (0.1, DriftLevel::Moderate),
            (0.25, DriftLevel::Strong),
        ] {
            assert_eq!(DriftLevel::of(psi), level, "{psi}");
        }
    }

    #[test]
    fn a_window_speaks_from_200_on_and_forgets_beyond_1000() {
        let mut windows = Windows::default();
        for n in 0..1000 {
            windows.push(sample(f64::from(n) * 0.001, 0.0));
        }
        for n in 0..199 {
            windows.push(sample(f64::from(n * 5) * 0.001, 0.0));
        }
        let early = windows.drift();
        assert_eq!((early.measured, early.reference_size, early.window_size), (None, 1000, 199));
        windows.push(sample(0.999, 0.0));
        let alike = windows.drift().measured.expect("200 decisions");
        assert_eq!(alike.level, DriftLevel::Stable, "{alike:?}");
        assert!(alike.mean_distance.expect("vectors") < 1e-9);
        for _ in 0..1500 {
            windows.push(sample(0.95, 1.0));
        }
        let moved = windows.drift();
        assert_eq!(moved.window_size, 1000);
        let moved = moved.measured.expect("enough");
        assert_eq!(moved.level, DriftLevel::Strong);
        // All of the window lies at 45 degrees to the reference by now.
        assert!((moved.mean_distance.expect("vectors") - (1.0 - 0.5f64.sqrt())).abs() < 1e-6, "{moved:?}");
    }

    #[test]
    fn a_reference_from_the_fit_speaks_at_once() {
        let values = ramp(500, 0.0, 0.002);
        let vectors: Vec<Vec<f32>> = vec![vec![1.0, 0.0]; 500];
        let vectors: Vec<&[f32]> = vectors.iter().map(Vec::as_slice).collect();
        let reference = Reference::of(&values, &values, &vectors).expect("intents");
        let mut windows = Windows::default();
        windows.set_reference(Some(&reference));
        for n in 0..200 {
            windows.push(sample(f64::from(n) * 0.005, 0.0));
        }
        let drift = windows.drift();
        assert!(drift.from_calibration && drift.reference_size == 500);
        assert_eq!(drift.measured.expect("enough").level, DriftLevel::Stable);
        let text = serde_json::to_string(&reference).expect("writable");
        assert_eq!(serde_json::from_str::<Reference>(&text).expect("readable"), reference);
    }

    fn watched(outcomes: impl Iterator<Item = bool>, max_error: f64) -> PromiseRecord {
        let mut record = PromiseRecord::default();
        for wrong in outcomes {
            record.count(wrong, None);
            record.look(max_error, 0.9, jiff::Timestamp::UNIX_EPOCH).expect("valid");
        }
        record
    }

    #[test]
    fn a_promise_is_looked_at_at_20_40_80_verdicts() {
        let record = watched((0..79).map(|n| n % 25 == 24), 0.05);
        assert_eq!((record.looks, record.next_look(), record.broken), (2, 80, None));
        let record = watched(std::iter::repeat_n(true, 19), 0.05);
        assert_eq!((record.looks, record.broken), (0, None), "nothing is said before the first look");
        let record = watched(std::iter::repeat_n(true, 25), 0.05);
        let broken = record.broken.expect("all of 20 are wrong");
        assert_eq!((broken.verdicts, broken.errors, record.verdicts), (20, 20, 25));
        let reason = broken.reason("abc");
        assert!(reason.contains("20 of 20") && reason.contains("0.050") && reason.contains("calibrate"), "{reason}");
    }

    #[test]
    fn a_verdict_that_changes_its_mind_counts_once() {
        let mut record = PromiseRecord::default();
        record.count(true, None);
        record.count(false, Some(true));
        assert_eq!((record.verdicts, record.errors), (1, 0));
    }

    #[test]
    fn kept_promises_are_rarely_found_broken() {
        // A fixed sequence of pseudo-random verdicts (xorshift), each promise kept exactly: error = max_error.
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut wrong = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % 1000 < 100
        };
        let broken = (0..500).filter(|_| watched((0..700).map(|_| wrong()), 0.1).broken.is_some()).count();
        assert!(broken <= 50, "{broken} of 500 kept promises were found broken at 90 % confidence");
    }
}
