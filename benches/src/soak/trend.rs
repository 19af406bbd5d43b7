//! How a figure changes with time, whatever single readings do: the Theil-Sen slope.
//!
//! The slope is the median of the slopes between all pairs of readings, so that up to 29 % of them may be anything. Its 95 %
//! interval is Sen's: the pairs' slopes whose ranks are as far from the median's as Kendall's statistic may be by chance (P. K. Sen,
//! Journal of the American Statistical Association 63, 1968). Readings that follow one another are alike, so the true interval is
//! wider than that.

#![expect(clippy::cast_precision_loss, reason = "figures for people")]

/// Two-sided 95 % of the normal distribution.
const Z: f64 = 1.959_964;

/// A fitted slope.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Trend {
    /// Median of the readings.
    pub(crate) median: f64,
    /// Change for each unit of time.
    pub(crate) slope: f64,
    /// Its 95 % interval.
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Trend {
    /// Fits `(time, reading)` pairs; `None` where there are fewer than three different times.
    pub(crate) fn of(readings: &[(f64, f64)]) -> Option<Self> {
        let mut slopes: Vec<f64> = Vec::new();
        for (at, &(earlier, from)) in readings.iter().enumerate() {
            let later = readings.get(at + 1..)?;
            let pairs = later.iter().filter(|(time, _)| *time > earlier);
            slopes.extend(pairs.map(|&(time, to)| (to - from) / (time - earlier)));
        }
        if slopes.len() < 3 {
            return None;
        }
        slopes.sort_unstable_by(f64::total_cmp);
        let count = readings.len() as f64;
        let spread = Z * (count * (count - 1.0) * (2.0 * count + 5.0) / 18.0).sqrt();
        let rank = |rank: f64| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a list, cut to it")]
            let place = (rank.max(0.0) as usize).min(slopes.len() - 1);
            slopes.get(place).copied().unwrap_or(f64::NAN)
        };
        let mut values: Vec<f64> = readings.iter().map(|&(_, value)| value).collect();
        values.sort_unstable_by(f64::total_cmp);
        Some(Self {
            median: middle(&values),
            slope: middle(&slopes),
            low: rank((slopes.len() as f64 - spread) / 2.0 - 1.0),
            high: rank(f64::midpoint(slopes.len() as f64, spread)),
        })
    }

    /// Whether it grows by less than a share of its median in so much time, or cannot be told from not growing at all.
    pub(crate) fn is_flat(&self, time: f64, share: f64) -> bool {
        self.low <= 0.0 || self.slope * time < self.median * share
    }
}

/// The median of a sorted list.
fn middle(sorted: &[f64]) -> f64 {
    let at = |place: usize| sorted.get(place).copied().unwrap_or(f64::NAN);
    let half = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) { f64::midpoint(at(half.saturating_sub(1)), at(half)) } else { at(half) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fitment_tests::Dice;

    fn noisy(slope: f64, noise: u64) -> Vec<(f64, f64)> {
        let mut dice = Dice(1);
        (0..180).map(|n| (f64::from(n), 1000.0 + slope * f64::from(n) + dice.below(noise) as f64)).collect()
    }

    #[test]
    fn a_line_has_its_slope_and_no_interval() {
        let readings: Vec<(f64, f64)> = (0..20).map(|n| (f64::from(n), 5.0 - 2.0 * f64::from(n))).collect();
        let trend = Trend::of(&readings).expect("a trend");
        assert_eq!((trend.slope, trend.low, trend.high), (-2.0, -2.0, -2.0));
        assert!((trend.median + 14.0).abs() < 1e-9);
    }

    #[test]
    fn noise_is_no_growth_and_growth_is_found_under_noise() {
        let flat = Trend::of(&noisy(0.0, 50)).expect("a trend");
        assert!(flat.low < 0.0 && flat.high > 0.0, "{flat:?}");
        assert!(flat.is_flat(180.0, 0.0));
        let growing = Trend::of(&noisy(0.5, 50)).expect("a trend");
        assert!(growing.low > 0.4 && growing.high < 0.6 && (growing.slope - 0.5).abs() < 0.05, "{growing:?}");
        assert!(!growing.is_flat(180.0, 0.05) && growing.is_flat(180.0, 0.1));
    }

    #[test]
    fn wild_readings_do_not_move_it() {
        let mut readings = noisy(0.5, 10);
        for reading in readings.iter_mut().step_by(5) {
            reading.1 = 1e9;
        }
        let trend = Trend::of(&readings).expect("a trend");
        assert!((trend.slope - 0.5).abs() < 0.2, "{trend:?}");
    }

    #[test]
    fn too_little_is_no_trend() {
        assert_eq!(Trend::of(&[]), None);
        assert_eq!(Trend::of(&[(1.0, 2.0), (2.0, 3.0)]), None);
        assert_eq!(Trend::of(&[(1.0, 2.0), (1.0, 3.0), (1.0, 4.0)]), None);
    }
}
