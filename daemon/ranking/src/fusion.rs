//! One score from many signals: a weighted sum, read through a logistic function.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::RankingError;
use crate::signal::{SIGNALS, Signal, Signals, counted};

/// The largest weight and offset.
const MOST: f64 = 1e6;

/// Weights of the signals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Fusion {
    weights: [f64; SIGNALS],
    offset: f64,
}

/// As artefacts hold it: weights by name, those that are 0 left out.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    weights: BTreeMap<Signal, f64>,
    offset: f64,
}

impl From<Fusion> for Written {
    fn from(fusion: Fusion) -> Self {
        let weights = Signal::ALL.into_iter().zip(fusion.weights).filter(|(_, weight)| *weight != 0.0);
        Self { weights: weights.collect(), offset: fusion.offset }
    }
}

impl TryFrom<Written> for Fusion {
    type Error = RankingError;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        Self::new(written.weights, written.offset)
    }
}

impl Fusion {
    /// weights: of the signals that count; the others have 0. offset: the sum whose score is one half.
    ///
    /// Errors: a number that is not finite or beyond ±1e6.
    pub fn new(weights: impl IntoIterator<Item = (Signal, f64)>, offset: f64) -> Result<Self, RankingError> {
        let mut fusion = Self { weights: [0.0; SIGNALS], offset };
        for (signal, weight) in weights {
            fusion.weights[signal.index()] = weight;
        }
        let strange = fusion
            .weights
            .iter()
            .chain([&fusion.offset])
            .copied()
            .find(|number| number.is_nan() || number.abs() > MOST);
        match strange {
            Some(number) => {
                Err(RankingError::Range { name: "a weight", value: number.to_string(), range: "within ±1e6" })
            }
            None => Ok(fusion),
        }
    }

    /// The weight of a signal.
    pub fn weight(&self, signal: Signal) -> f64 {
        self.weights[signal.index()]
    }

    /// The same weights with another one for `signal`.
    #[must_use]
    pub fn with(mut self, signal: Signal, weight: f64) -> Self {
        self.weights[signal.index()] = weight;
        self
    }

    /// The same weights with half of the first model's taken over by the second stage, where it has none of its own: what
    /// was fitted without it stays on its scale, since both are cosines.
    #[must_use]
    pub fn with_second_stage(mut self) -> Self {
        if self.weight(Signal::SecondStage) == 0.0 {
            for signal in [Signal::Centroid, Signal::Prototype] {
                let half = self.weight(signal) / 2.0;
                self.weights[signal.index()] = half;
                self.weights[Signal::SecondStage.index()] += half;
            }
        }
        self
    }

    /// The sum whose score is one half.
    pub fn offset(&self) -> f64 {
        self.offset
    }

    /// Whether a signal of labelled intents counts.
    pub fn is_learnt(&self) -> bool {
        Signal::ALL.into_iter().any(|signal| signal.is_learnt() && self.weight(signal) != 0.0)
    }

    /// The weighted sum: any number, higher is better; a difference of 1 is a factor of e in the odds. A signal that
    /// is not finite adds nothing.
    pub fn sum(&self, signals: &Signals) -> f64 {
        self.weights.iter().zip(signals).map(|(weight, &signal)| weight * counted(signal)).sum()
    }

    /// A sum as a score, 0..1; keeps the order.
    pub fn score(&self, sum: f64) -> f64 {
        1.0 / (1.0 + (self.offset - sum).exp())
    }

    /// What each signal that counts adds to the sum.
    pub fn shares(&self, signals: &Signals) -> Vec<(Signal, f64)> {
        let share = |signal: Signal| (signal, self.weight(signal) * counted(signals[signal.index()]));
        Signal::ALL.into_iter().filter(|&signal| self.weight(signal) != 0.0).map(share).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_stage_takes_half_of_what_it_stands_beside() {
        let fusion = Fusion::new([(Signal::Centroid, 8.0), (Signal::Prototype, 3.0), (Signal::Words, 1.0)], 2.0);
        let shared = fusion.expect("finite").with_second_stage();
        let weights =
            [Signal::Centroid, Signal::Prototype, Signal::SecondStage, Signal::Words].map(|of| shared.weight(of));
        for (weight, expect) in weights.into_iter().zip([4.0, 1.5, 5.5, 1.0]) {
            assert!((weight - expect).abs() < 1e-12, "{weight} is not {expect}");
        }
        assert_eq!(shared.clone().with_second_stage(), shared, "a weight of its own stays");
    }
}
