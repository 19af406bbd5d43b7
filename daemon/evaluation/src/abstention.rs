//! How well the confidence tells when to answer.
//!
//! Queries of equal confidence are answered together or not at all, so every figure is independent of their order.
//! *Coverage* is the share of in-scope queries that are answered; *risk* the share of all answered queries, out-of-scope
//! ones included, whose first candidate is wrong; *precision* is `1 - risk`.

use serde::{Deserialize, Serialize};

use crate::calibration::Alike;
use crate::ratio;
use crate::run::Answer;

/// One query as a threshold sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observation {
    /// Confidence, higher is surer.
    pub confidence: f64,
    /// Whether a right component exists.
    pub in_scope: bool,
    /// Whether the first candidate is right; false for an out-of-scope query.
    pub correct: bool,
}

impl Observation {
    /// Observes an answer.
    pub fn of(answer: &Answer) -> Self {
        Self { confidence: answer.confidence, in_scope: answer.in_scope(), correct: answer.first_is_right() }
    }

    /// Observes how sure an answer is that anything fits.
    pub fn of_scope(answer: &Answer) -> Self {
        Self { confidence: answer.in_scope_confidence.unwrap_or(answer.confidence), ..Self::of(answer) }
    }
}

/// What a threshold on the confidence does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperatingPoint {
    /// Queries of at least this confidence are answered.
    pub threshold: f64,
    /// Share of in-scope queries answered, 0..=1.
    pub coverage: f64,
    /// Share of answered queries whose first candidate is wrong, 0..=1.
    pub risk: f64,
}

/// Queries that share a confidence.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    confidence: f64,
    inside: u64,
    outside: u64,
    correct: u64,
}

/// Queries by falling confidence.
#[derive(Clone, Debug, Default)]
pub struct Confidences(Vec<Group>);

impl Confidences {
    /// Sorts observations by their confidence.
    pub fn of(observations: impl IntoIterator<Item = Observation>) -> Self {
        let observations: Vec<Observation> = observations.into_iter().collect();
        Order::of(&observations).weighted(&vec![1; observations.len()])
    }

    /// Queries by rising confidence.
    pub(crate) fn rising(&self) -> impl Iterator<Item = Alike> {
        let alike = |group: &Group| Alike {
            confidence: group.confidence,
            n: group.inside + group.outside,
            correct: group.correct,
        };
        self.0.iter().rev().map(alike)
    }

    /// Number of in-scope queries.
    pub fn n_in_scope(&self) -> u64 {
        self.0.iter().map(|group| group.inside).sum()
    }

    /// Number of out-of-scope queries.
    pub fn n_out_of_scope(&self) -> u64 {
        self.0.iter().map(|group| group.outside).sum()
    }

    /// Probability that an in-scope query is surer than an out-of-scope one, ties counted half (Mann-Whitney U), 0..=1.
    /// `None` when one of the sides is empty.
    pub fn auroc(&self) -> Option<f64> {
        let (inside, outside) = self.sides()?;
        let (mut twice_wins, mut below) = (0, outside);
        for group in &self.0 {
            below -= group.outside;
            twice_wins += group.inside * (2 * below + group.outside);
        }
        Some(ratio(twice_wins, 2 * inside * outside))
    }

    /// Share of out-of-scope queries answered by the strictest threshold that answers `percent` of the in-scope ones.
    /// `None` when one of the sides is empty.
    pub fn false_positive_rate(&self, percent: u64) -> Option<f64> {
        let (inside, outside) = self.sides()?;
        let needed = (inside * percent).div_ceil(100);
        let (mut passed_inside, mut passed_outside) = (0, 0);
        for group in &self.0 {
            if passed_inside >= needed {
                break;
            }
            passed_inside += group.inside;
            passed_outside += group.outside;
        }
        Some(ratio(passed_outside, outside))
    }

    /// Area under the risk-coverage curve (Geifman and El-Yaniv, `NeurIPS` 2017), a step function that takes the risk at the
    /// upper end of each step; 0..=1, lower is better. `None` without in-scope queries.
    pub fn area_under_risk_coverage(&self) -> Option<f64> {
        let points = self.points();
        let before = std::iter::once(0.0).chain(points.iter().map(|point| point.coverage));
        let area: f64 = points.iter().zip(before).map(|(point, before)| (point.coverage - before) * point.risk).sum();
        // The sum of nothing is -0.
        (!points.is_empty()).then_some(area + 0.0)
    }

    /// The risk-coverage curve, one point a threshold, strictest first. Empty without in-scope queries.
    pub fn points(&self) -> Vec<OperatingPoint> {
        let inside = self.n_in_scope();
        if inside == 0 {
            return Vec::new();
        }
        let (mut covered, mut answered, mut correct) = (0, 0, 0);
        let point = |group: &Group| {
            covered += group.inside;
            answered += group.inside + group.outside;
            correct += group.correct;
            OperatingPoint {
                threshold: group.confidence,
                coverage: ratio(covered, inside),
                risk: ratio(answered - correct, answered),
            }
        };
        self.0.iter().map(point).collect()
    }

    /// The point of largest coverage whose risk is at most `max_risk`, chosen with the labels of these very queries: what
    /// an oracle would set. `None` when no threshold keeps it or nothing is in scope.
    pub fn oracle(&self, max_risk: f64) -> Option<OperatingPoint> {
        self.points().into_iter().rfind(|point| point.risk <= max_risk + RISK_SLACK)
    }

    fn sides(&self) -> Option<(u64, u64)> {
        let (inside, outside) = (self.n_in_scope(), self.n_out_of_scope());
        (inside > 0 && outside > 0).then_some((inside, outside))
    }
}

/// A target such as `1 - 0.95` is not exact in binary; a risk this little above it still meets it.
const RISK_SLACK: f64 = 1e-9;

/// Queries sorted once, to be counted under many weights.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    /// By falling confidence: the observation and its place among all queries.
    sorted: Vec<(Observation, usize)>,
}

impl Order {
    pub(crate) fn of(observations: &[Observation]) -> Self {
        // Adding 0 turns -0 into 0, so that equal numbers are equal in the total order.
        let normal = |seen: &Observation| Observation { confidence: seen.confidence + 0.0, ..*seen };
        let mut sorted: Vec<_> = observations.iter().map(normal).zip(0..).collect();
        sorted.sort_by(|(a, _), (b, _)| b.confidence.total_cmp(&a.confidence));
        Self { sorted }
    }

    /// Counts each query `weights[place]` times.
    pub(crate) fn weighted(&self, weights: &[u32]) -> Confidences {
        let mut groups: Vec<Group> = Vec::new();
        for (seen, place) in &self.sorted {
            let weight = u64::from(weights[*place]);
            if weight == 0 {
                continue;
            }
            let same = groups.last().is_some_and(|group| group.confidence.total_cmp(&seen.confidence).is_eq());
            if !same {
                groups.push(Group { confidence: seen.confidence, ..Group::default() });
            }
            if let Some(group) = groups.last_mut() {
                group.inside += if seen.in_scope { weight } else { 0 };
                group.outside += if seen.in_scope { 0 } else { weight };
                group.correct += if seen.correct { weight } else { 0 };
            }
        }
        Confidences(groups)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// In-scope right, in-scope wrong, out of scope.
    fn right(confidence: f64) -> Observation {
        Observation { confidence, in_scope: true, correct: true }
    }

    fn wrong(confidence: f64) -> Observation {
        Observation { confidence, in_scope: true, correct: false }
    }

    fn outside(confidence: f64) -> Observation {
        Observation { confidence, in_scope: false, correct: false }
    }

    #[track_caller]
    fn check(found: Option<f64>, expect: f64) {
        let found = found.expect("defined");
        assert!((found - expect).abs() < 1e-12, "{found}, expected {expect}");
    }

    #[test]
    fn auroc_counts_ties_half() {
        let seen = Confidences::of([right(0.9), right(0.5), outside(0.5), outside(0.1)]);
        check(seen.auroc(), (1.0 + 1.0 + 0.5 + 1.0) / 4.0);
        check(seen.false_positive_rate(95), 0.5);
        check(seen.false_positive_rate(50), 0.0);
    }

    #[test]
    fn negative_zero_ties_with_zero() {
        check(Confidences::of([right(0.0), outside(-0.0)]).auroc(), 0.5);
    }

    #[test]
    fn a_missing_side_has_no_figure() {
        let inside = Confidences::of([right(0.9), wrong(0.1)]);
        assert_eq!((inside.auroc(), inside.false_positive_rate(95)), (None, None));
        let outside = Confidences::of([outside(0.9)]);
        assert_eq!((outside.auroc(), outside.area_under_risk_coverage(), outside.oracle(0.5)), (None, None, None));
        assert!(Confidences::of([]).points().is_empty());
    }

    #[test]
    fn risk_coverage_by_hand() {
        let seen = Confidences::of([right(0.9), outside(0.8), right(0.7), wrong(0.7), right(0.2)]);
        let points: Vec<(f64, f64)> = seen.points().iter().map(|point| (point.coverage, point.risk)).collect();
        assert_eq!(points, [(0.25, 0.0), (0.25, 0.5), (0.75, 0.5), (1.0, 0.4)]);
        check(seen.area_under_risk_coverage(), 0.5 * 0.5 + 0.25 * 0.4);
    }

    #[test]
    fn the_oracle_takes_the_loosest_threshold_that_keeps_the_risk() {
        let seen = Confidences::of([right(0.9), wrong(0.8), right(0.7), right(0.6), outside(0.5)]);
        assert_eq!(seen.oracle(0.3), Some(OperatingPoint { threshold: 0.6, coverage: 1.0, risk: 0.25 }));
        assert_eq!(seen.oracle(0.1), Some(OperatingPoint { threshold: 0.9, coverage: 0.25, risk: 0.0 }));
        assert_eq!(Confidences::of([wrong(0.9), right(0.8)]).oracle(0.1), None);
    }

    fn observations() -> impl Strategy<Value = Vec<Observation>> {
        let one = (0u8..20, any::<bool>(), any::<bool>()).prop_map(|(confidence, in_scope, correct)| Observation {
            confidence: f64::from(confidence) / 20.0,
            in_scope,
            correct: correct && in_scope,
        });
        prop::collection::vec(one, 1..60)
    }

    proptest! {
        #[test]
        fn swapped_sides_mirror_auroc(seen in observations()) {
            let swapped = seen.iter().map(|one| Observation { in_scope: !one.in_scope, ..*one });
            match (Confidences::of(seen.clone()).auroc(), Confidences::of(swapped).auroc()) {
                (Some(auroc), Some(mirrored)) => prop_assert!((auroc + mirrored - 1.0).abs() < 1e-12),
                (auroc, mirrored) => prop_assert_eq!(auroc, mirrored),
            }
        }

        #[test]
        fn only_the_order_of_confidences_counts(seen in observations()) {
            let squashed = seen.iter().map(|one| Observation { confidence: one.confidence.powi(3) - 7.0, ..*one });
            let (plain, squashed) = (Confidences::of(seen.clone()), Confidences::of(squashed));
            prop_assert_eq!(plain.auroc(), squashed.auroc());
            prop_assert_eq!(plain.area_under_risk_coverage(), squashed.area_under_risk_coverage());
        }

        #[test]
        fn auroc_agrees_with_all_pairs(seen in observations()) {
            let pairs = seen.iter().filter(|one| one.in_scope).flat_map(|inside| {
                seen.iter().filter(|one| !one.in_scope).map(|outside| match inside.confidence.total_cmp(&outside.confidence) {
                    std::cmp::Ordering::Greater => 1.0,
                    std::cmp::Ordering::Equal => 0.5,
                    std::cmp::Ordering::Less => 0.0,
                })
            });
            let pairs: Vec<f64> = pairs.collect();
            if let Some(auroc) = Confidences::of(seen.clone()).auroc() {
                let mean = pairs.iter().sum::<f64>() * ratio(1, pairs.len() as u64);
                prop_assert!((auroc - mean).abs() < 1e-9);
            }
        }

        #[test]
        fn coverage_grows_to_one(seen in observations()) {
            let points = Confidences::of(seen).points();
            prop_assert!(points.windows(2).all(|two| two[0].coverage <= two[1].coverage));
            prop_assert!(points.last().is_none_or(|last| (last.coverage - 1.0).abs() < 1e-12));
        }
    }
}
