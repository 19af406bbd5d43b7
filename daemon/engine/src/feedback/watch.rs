//! What decisions and verdicts show: drift, the promise, counts.

use super::LabelState;
use crate::drift::{DriftLevel, IntentDrift, PromiseRecord, Reference};
use crate::engine::{Engine, Shared};
use crate::error::EngineError;
use crate::store::StoreReader;

/// How far today is from what was fitted on.
#[derive(Clone, Debug)]
pub struct DriftReport {
    /// Whether intents look like earlier ones.
    pub intents: IntentDrift,
    /// Whether the promise is kept; `None` without a calibration.
    pub promise: Option<PromiseWatch>,
    /// What is remembered.
    pub counts: FeedbackCounts,
}

/// What verdicts say about the calibration that was last put into force.
#[derive(Clone, Debug)]
pub struct PromiseWatch {
    /// Its id.
    pub calibration_id: String,
    /// Error rate that it promises not to exceed.
    pub max_error: f64,
    /// Confidence of the promise.
    pub confidence_level: f64,
    /// Verdicts, looks and whether it is broken.
    pub record: PromiseRecord,
}

/// What is remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeedbackCounts {
    /// Decisions that can be given an outcome.
    pub decisions: u64,
    /// Decisions since the start that were lost before they were written.
    pub decisions_lost: u64,
    /// Labels that wait for the gate.
    pub labels_waiting: u64,
    /// Labels that are approved.
    pub labels_approved: u64,
    /// Labels that were refused.
    pub labels_refused: u64,
}

/// The same in a few words.
#[derive(Clone, Debug)]
pub struct FeedbackSummary {
    /// Decisions that can be given an outcome.
    pub decisions: u64,
    /// `None`: too few decisions to say.
    pub level: Option<DriftLevel>,
    /// What verdicts have shown about the calibration that was last put into force.
    pub promise: Option<PromiseRecord>,
}

impl PromiseWatch {
    /// In words.
    pub fn detail(&self) -> String {
        let PromiseRecord { verdicts, errors, looks: _, lower_bound, broken } = &self.record;
        match (broken, lower_bound) {
            (Some(broken), _) => broken.reason(&self.calibration_id),
            (None, None) => format!(
                "{errors} of {verdicts} promised answers were reported wrong; nothing is said before {} verdicts",
                self.record.next_look()
            ),
            (None, Some(bound)) => format!(
                "{errors} of {verdicts} promised answers were reported wrong; at the latest look the error rate was at least \
                 {bound:.3}, within the promised {:.3}",
                self.max_error
            ),
        }
    }
}

impl Engine {
    /// How far today is from what was fitted on.
    pub async fn drift(&self) -> Result<DriftReport, EngineError> {
        self.compute(|shared| {
            // In this order a batch that is written in between counts twice for a moment, never not at all.
            let waiting = shared.feedback.log.waiting();
            let reader = shared.store.read()?;
            let mut counts = FeedbackCounts {
                decisions: reader.decisions()? + waiting,
                decisions_lost: shared.feedback.log.lost(),
                ..FeedbackCounts::default()
            };
            reader.labels_after("", |_, label| {
                match label.state {
                    LabelState::Waiting => counts.labels_waiting += 1,
                    LabelState::Approved => counts.labels_approved += 1,
                    LabelState::Refused => counts.labels_refused += 1,
                }
                Ok(true)
            })?;
            let intents = shared.feedback.windows.lock().drift();
            Ok(DriftReport { intents, promise: shared.promise(&reader)?, counts })
        })
        .await
    }

    /// Compares intents with this from now on, or, without one, with the first decisions since the start.
    pub fn set_drift_reference(&self, reference: Option<&Reference>) {
        self.shared().feedback.set_reference(reference);
    }

    /// The same in a few words; reads a few records, no more.
    pub fn feedback_summary(&self) -> Result<FeedbackSummary, EngineError> {
        let Watched { intents, promise, decisions, decisions_lost: _ } = self.shared().watched()?;
        Ok(FeedbackSummary {
            decisions,
            level: intents.measured.map(|measured| measured.level),
            promise: promise.map(|promise| promise.record),
        })
    }
}

/// What can be watched without reading every label.
pub(crate) struct Watched {
    pub(crate) intents: IntentDrift,
    pub(crate) promise: Option<PromiseWatch>,
    pub(crate) decisions: u64,
    pub(crate) decisions_lost: u64,
}

impl Shared {
    /// Reads a few records, no more.
    pub(crate) fn watched(&self) -> Result<Watched, EngineError> {
        // In this order a batch that is written in between counts twice for a moment, never not at all.
        let waiting = self.feedback.log.waiting();
        let reader = self.store.read()?;
        let intents = self.feedback.windows.lock().drift();
        Ok(Watched {
            intents,
            promise: self.promise(&reader)?,
            decisions: reader.decisions()? + waiting,
            decisions_lost: self.feedback.log.lost(),
        })
    }

    fn promise(&self, reader: &StoreReader) -> Result<Option<PromiseWatch>, EngineError> {
        let Some(calibration) = reader.calibration(&self.encoder.info().digest.to_string())? else { return Ok(None) };
        Ok(Some(PromiseWatch {
            record: reader.promise(&calibration.id)?,
            calibration_id: calibration.id,
            max_error: calibration.max_error,
            confidence_level: calibration.confidence_level,
        }))
    }
}
