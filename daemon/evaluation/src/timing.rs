//! How long answers took.

use serde::{Deserialize, Serialize};

use crate::ratio;
use crate::run::Run;

/// Times of a run; a part that was not measured is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// From intent to answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole_ms: Option<Latency>,
    /// Spent encoding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encode_ms: Option<Latency>,
}

/// A distribution of times, milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Median.
    pub p50: f64,
    /// 90th percentile, nearest rank.
    pub p90: f64,
    /// 99th percentile, nearest rank.
    pub p99: f64,
    /// Mean.
    pub mean: f64,
}

impl Timing {
    /// Times of a run.
    pub fn of(run: &Run) -> Self {
        Self {
            whole_ms: latency(run.answers.iter().map(|answer| answer.latency_us)),
            encode_ms: latency(run.answers.iter().map(|answer| answer.encode_us)),
        }
    }
}

/// `micros`: microseconds; 0 is not measured.
fn latency(micros: impl Iterator<Item = u64>) -> Option<Latency> {
    let mut micros: Vec<u64> = micros.filter(|&time| time > 0).collect();
    if micros.is_empty() {
        return None;
    }
    micros.sort_unstable();
    let n = micros.len();
    let percentile = |percent: usize| ratio(micros[(n * percent).div_ceil(100).max(1) - 1], 1_000);
    let total = micros.iter().fold(0u64, |sum, &time| sum.saturating_add(time));
    Some(Latency {
        p50: percentile(50),
        p90: percentile(90),
        p99: percentile(99),
        mean: ratio(total, n as u64) / 1_000.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_by_nearest_rank() {
        let found = latency((1..=100).map(|i| i * 1_000)).expect("times");
        assert_eq!((found.p50, found.p90, found.p99, found.mean), (50.0, 90.0, 99.0, 50.5));
        let one = latency([2_500, 0].into_iter()).expect("one time");
        assert_eq!((one.p50, one.p99, one.mean), (2.5, 2.5, 2.5));
        assert_eq!(latency([0, 0].into_iter()), None);
    }
}
