//! Intervals by resampling queries (Efron's percentile bootstrap), seeded.

use std::collections::BTreeMap;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use crate::ratio;

/// Resamples behind every interval.
const RESAMPLES: usize = 1_000;
/// Every interval starts from the same seed, so a figure's interval depends on its queries alone.
const SEED: u64 = 0x0F17_3A9C;
/// Share of resamples below the interval, and above it.
const TAIL: f64 = 0.025;

/// The generator behind every random draw; its output is fixed by its definition.
pub(crate) fn generator() -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(SEED)
}

/// 95 % intervals of figures that depend on how often each of `n` queries counts. A resample in which a figure is not
/// defined is left out of its interval.
pub(crate) fn intervals(
    n: usize,
    figures: impl Fn(&[u32]) -> BTreeMap<&'static str, f64>,
) -> BTreeMap<&'static str, [f64; 2]> {
    let mut samples: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    let mut random = generator();
    for _ in 0..if n == 0 { 0 } else { RESAMPLES } {
        let mut weights = vec![0; n];
        for _ in 0..n {
            weights[random.random_range(0..n)] += 1;
        }
        for (name, value) in figures(&weights) {
            samples.entry(name).or_default().push(value);
        }
    }
    samples.into_iter().map(|(name, values)| (name, percentile_interval(values))).collect()
}

/// 95 % interval of a mean; `[0, 0]` for no values.
pub(crate) fn mean_interval(values: &[f64]) -> [f64; 2] {
    if values.is_empty() {
        return [0.0; 2];
    }
    let mut random = generator();
    let mut resample = || values.iter().map(|_| values[random.random_range(0..values.len())]).sum::<f64>();
    let scale = ratio(1, values.len() as u64);
    percentile_interval((0..RESAMPLES).map(|_| resample() * scale).collect())
}

/// The middle 95 % of at least one value.
fn percentile_interval(mut values: Vec<f64>) -> [f64; 2] {
    values.sort_by(f64::total_cmp);
    [quantile(&values, TAIL), quantile(&values, 1.0 - TAIL)]
}

/// Quantile of sorted values, linear between neighbours.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place among some thousand values"
)]
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = (sorted.len() - 1) as f64 * share;
    let below = sorted[place.floor() as usize];
    let above = sorted[place.ceil() as usize];
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_by_hand() {
        let values = [0.0, 1.0, 2.0, 3.0, 4.0];
        assert!((quantile(&values, 0.5) - 2.0).abs() < 1e-12);
        assert!((quantile(&values, 0.125) - 0.5).abs() < 1e-12);
        assert!((quantile(&[7.0], 0.975) - 7.0).abs() < 1e-12);
    }

    /// For a share p of n the standard error is sqrt(p (1 - p) / n), and the interval about 1.96 of them each way.
    #[test]
    fn the_interval_of_a_share_is_as_wide_as_theory_says() {
        let values: Vec<f64> = (0..400).map(|i| f64::from(u8::from(i % 4 == 0))).collect();
        let [low, high] = mean_interval(&values);
        let expect = 2.0 * 1.96 * (0.25f64 * 0.75 / 400.0).sqrt();
        assert!(low < 0.25 && 0.25 < high && (high - low - expect).abs() < 0.01, "{low}..{high}");
    }

    #[test]
    fn same_values_same_interval() {
        let values: Vec<f64> = (0..50).map(|i| f64::from(i).sin()).collect();
        assert_eq!(mean_interval(&values).map(f64::to_bits), mean_interval(&values).map(f64::to_bits));
        assert_eq!(mean_interval(&[0.5]).map(f64::to_bits), [0.5f64.to_bits(); 2]);
    }

    #[test]
    fn a_mean_by_weights_has_the_interval_of_the_mean() {
        let values: Vec<f64> = (0..100).map(|i| f64::from(i % 7)).collect();
        let mean = |weights: &[u32]| {
            let sum: f64 = values.iter().zip(weights).map(|(value, &weight)| value * f64::from(weight)).sum();
            BTreeMap::from([("mean", sum / 100.0)])
        };
        let [low, high] = intervals(values.len(), mean)["mean"];
        let [plain_low, plain_high] = mean_interval(&values);
        assert!((low - plain_low).abs() < 1e-9 && (high - plain_high).abs() < 1e-9);
    }
}
