//! Random recalibrations: how often a promise that is fitted on one half of the labelled intents is broken by the other.

use fitment_evaluation::Recalibration;
use fitment_evaluation::recalibration::{Trial, halves};
use fitment_ranking::Seen;

use crate::calibration::{Thresholds, fit, ratio};

/// Fits a promise on one half of the observations and counts the errors on the other, `repeats` times. Both sorts of answers
/// are counted together. A half on which nothing can be promised breaks nothing.
pub fn recalibrate(seen: &[Seen], max_error: f64, confidence_level: f64, repeats: u32) -> Recalibration {
    let trials: Vec<Option<(Trial, f64)>> = halves(seen.len(), repeats)
        .map(|(fitted, tried)| {
            let of = |places: &[usize]| -> Vec<Seen> { places.iter().map(|&place| seen[place]).collect() };
            let thresholds = fit(&of(&fitted), max_error, confidence_level).ok()?;
            Some(tried_on(&of(&tried), &thresholds))
        })
        .collect();
    Recalibration::of(&trials, max_error, confidence_level)
}

/// What thresholds do on observations: answers and errors, and the share of in-scope intents answered.
fn tried_on(seen: &[Seen], thresholds: &Thresholds) -> (Trial, f64) {
    let answered = |seen: &&Seen| {
        let threshold = if seen.minimal { thresholds.minimal } else { thresholds.zero };
        threshold.is_some_and(|found| seen.observation.confidence >= found.threshold)
    };
    let count = |counts: fn(&Seen) -> bool| seen.iter().filter(|one| counts(one)).count() as u64;
    let of_answered = |counts: fn(&Seen) -> bool| seen.iter().filter(answered).filter(|one| counts(one)).count() as u64;
    let trial = Trial { answered: of_answered(|_| true), errors: of_answered(|one| !one.observation.correct) };
    let covered = of_answered(|one| one.observation.in_scope);
    (trial, ratio(covered, count(|one| one.observation.in_scope)))
}

#[cfg(test)]
mod tests {
    use fitment_ranking::Observation;

    use super::*;

    /// 1,200 intents of which those under a confidence of 0.4 are wrong, and `noise` in a hundred of the others.
    fn seen(noise: usize) -> Vec<Seen> {
        let at = |place: usize| {
            let correct = place >= 480 && place * 37 % 100 >= noise;
            #[expect(clippy::cast_precision_loss, reason = "a few")]
            let confidence = place as f64 / 1200.0;
            Seen {
                observation: Observation { confidence, correct, in_scope: correct || place.is_multiple_of(2) },
                minimal: place.is_multiple_of(3),
            }
        };
        (0..1200).map(at).collect()
    }

    #[test]
    fn a_promise_that_can_be_kept_is_broken_seldom() {
        let found = recalibrate(&seen(1), 0.1, 0.9, 30);
        assert_eq!((found.repeats, found.refused), (30, 0), "{found:?}");
        assert!(found.broken_share <= found.allowed_share && found.coverage > 0.7, "{found:?}");
        assert_eq!(found, recalibrate(&seen(1), 0.1, 0.9, 30));
    }

    #[test]
    fn what_cannot_be_promised_is_refused_and_breaks_nothing() {
        let found = recalibrate(&seen(30), 0.05, 0.9, 10);
        assert_eq!((found.refused, found.broken), (10, 0), "{found:?}");
        assert!(found.coverage.to_bits() == 0, "{found:?}");
    }
}
