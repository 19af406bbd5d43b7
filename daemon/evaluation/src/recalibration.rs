//! Is a promise kept as often as it says? Promises fitted on random halves of labelled intents, each tried on the other half.

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use crate::bootstrap::generator;
use crate::ratio;
use crate::report::{SIGNIFICANCE, at_least};

/// What one recalibration did on the half that it had not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trial {
    /// Intents that were answered.
    pub answered: u64,
    /// Of those, wrong ones.
    pub errors: u64,
}

/// How often promises were broken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recalibration {
    /// Random halves that a promise was asked for on.
    pub repeats: u64,
    /// Of those, the ones on which nothing could be promised; they break nothing.
    pub refused: u64,
    /// Promises whose share of errors on the other half was above the promised one.
    pub broken: u64,
    /// Of those, the ones that are above by more than chance explains at 5 % (one-sided binomial test).
    pub broken_beyond_chance: u64,
    /// `broken` of `repeats`, 0..=1.
    pub broken_share: f64,
    /// 95 % interval of it (Wilson): the repeats are few, and the halves overlap.
    pub broken_interval: [f64; 2],
    /// Share that may break the bound, 1 - the promise's confidence, 0..=1.
    pub allowed_share: f64,
    /// Error rate that was promised, 0..=1.
    pub max_error: f64,
    /// Mean share of in-scope intents that were answered on the other half, 0..=1; 0 where nothing was promised.
    pub coverage: f64,
    /// Share of errors among all that was answered on the other halves, 0..=1.
    pub error_rate: f64,
}

impl Recalibration {
    /// trials: one a repeat and the share of in-scope intents that it answered, `None` where nothing could be promised.
    /// `max_error`, `confidence_level`: what was promised, between 0 and 1.
    pub fn of(trials: &[Option<(Trial, f64)>], max_error: f64, confidence_level: f64) -> Self {
        let repeats = trials.len() as u64;
        let made: Vec<&(Trial, f64)> = trials.iter().flatten().collect();
        let above = |trial: &Trial| ratio(trial.errors, trial.answered) > max_error;
        let broken: Vec<&Trial> = made.iter().map(|(trial, _)| trial).filter(|trial| above(trial)).collect();
        let beyond = broken.iter().filter(|trial| at_least(trial.errors, trial.answered, max_error) < SIGNIFICANCE);
        let sum = |count: fn(&Trial) -> u64| made.iter().map(|(trial, _)| count(trial)).sum();
        let coverage: f64 = made.iter().map(|(_, coverage)| coverage).sum();
        Self {
            repeats,
            refused: repeats - made.len() as u64,
            broken: broken.len() as u64,
            broken_beyond_chance: beyond.count() as u64,
            broken_share: ratio(broken.len() as u64, repeats),
            broken_interval: wilson(broken.len() as u64, repeats),
            allowed_share: 1.0 - confidence_level,
            max_error,
            coverage: coverage * ratio(1, repeats) + 0.0,
            error_rate: ratio(sum(|trial| trial.errors), sum(|trial| trial.answered)),
        }
    }
}

/// Random halves of the places of `n` intents, seeded: to fit on, and to try on.
pub fn halves(n: usize, repeats: u32) -> impl Iterator<Item = (Vec<usize>, Vec<usize>)> {
    let mut random = generator();
    (0..repeats).map(move |_| {
        let mut places: Vec<usize> = (0..n).collect();
        places.shuffle(&mut random);
        let other = places.split_off(n / 2);
        (places, other)
    })
}

/// 95 % interval of a share (Wilson, JASA 1927); the whole range of none.
fn wilson(part: u64, whole: u64) -> [f64; 2] {
    if whole == 0 {
        return [0.0, 1.0];
    }
    let z = Normal::standard().inverse_cdf(0.975);
    let (n, share) = (ratio(whole, 1), ratio(part, whole));
    let middle = (share + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    // Exact at the ends, where rounding would leave a trace.
    let low = if part == 0 { 0.0 } else { (middle - half).max(0.0) };
    let high = if part == whole { 1.0 } else { (middle + half).min(1.0) };
    [low, high]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_random_and_whole() {
        let drawn: Vec<(Vec<usize>, Vec<usize>)> = halves(9, 3).collect();
        for (fit, other) in &drawn {
            let mut all = [&fit[..], other].concat();
            all.sort_unstable();
            assert_eq!((all, fit.len()), ((0..9).collect(), 4));
        }
        assert!(drawn[0] != drawn[1] && drawn == halves(9, 3).collect::<Vec<_>>());
    }

    #[test]
    fn broken_promises_are_counted_with_their_uncertainty() {
        let trial = |answered, errors| Some((Trial { answered, errors }, 0.5));
        let found = Recalibration::of(&[trial(100, 5), trial(100, 6), trial(100, 20), None], 0.05, 0.9);
        assert_eq!((found.repeats, found.refused, found.broken, found.broken_beyond_chance), (4, 1, 2, 1));
        assert!((found.broken_share - 0.5).abs() < 1e-12 && (found.allowed_share - 0.1).abs() < 1e-12);
        assert!((found.coverage - 0.375).abs() < 1e-12 && (found.error_rate - 31.0 / 300.0).abs() < 1e-12);
        let [low, high] = found.broken_interval;
        // Wilson's of 2 of 4.
        assert!((low - 0.1500).abs() < 1e-3 && (high - 0.8500).abs() < 1e-3, "{low} to {high}");
        assert_eq!(wilson(0, 30)[0].to_bits(), 0f64.to_bits());
        assert_eq!(Recalibration::of(&[], 0.05, 0.9).broken_interval.map(f64::to_bits), [0f64, 1.0].map(f64::to_bits));
    }
}
