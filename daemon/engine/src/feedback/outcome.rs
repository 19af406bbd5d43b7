//! Taking a verdict on an answer.

use uuid::Uuid;

use super::labels::{MAX_LABELS, Siblings};
use super::{Gate, LabelState, Verdict};
use crate::audit::Act;
use crate::decisions::{DecidedIntent, Decision, GivenVerdict};
use crate::engine::{Engine, Shared};
use crate::error::EngineError;
use crate::normalize::normalize_text;
use crate::pipeline::Outcome;
use crate::store::FeedbackWrite;

/// Longest note, in bytes.
const MAX_NOTE_BYTES: usize = 2000;
/// Longest idempotency key, in bytes.
const MAX_REQUEST_ID_BYTES: usize = 128;

/// A verdict on an answer.
#[derive(Clone, Debug)]
pub struct OutcomeReport {
    /// The answer's decision.
    pub decision_id: Uuid,
    /// What was found out.
    pub verdict: Verdict,
    /// Why; at most 2,000 bytes.
    pub note: String,
    /// Idempotency key; empty: none.
    pub request_id: String,
}

/// What follows from a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// No labelled intent.
    Recorded,
    /// A labelled intent that waits for the gate.
    Waiting,
    /// An approved labelled intent.
    Approved,
    /// A labelled intent that an operator has refused.
    Refused,
}

/// A recorded verdict.
#[derive(Clone, Debug)]
pub struct RecordedOutcome {
    /// What follows from it.
    pub disposition: Disposition,
    /// The labelled intent that it supports.
    pub label_id: Option<String>,
    /// The same in words.
    pub detail: String,
}

impl Engine {
    /// Records what became of an answer. Durable when it returns; a later verdict on the same decision replaces this one.
    ///
    /// Errors: a note or id over its limit, a verdict that does not fit the answer, a decision that is not remembered, a
    /// component that is not in the catalogue.
    pub async fn record_outcome(&self, report: OutcomeReport) -> Result<RecordedOutcome, EngineError> {
        for (field, text, limit) in
            [("note", &report.note, MAX_NOTE_BYTES), ("request_id", &report.request_id, MAX_REQUEST_ID_BYTES)]
        {
            if text.len() > limit {
                let fault = format!("is {} bytes long, at most {limit} are taken", text.len());
                return Err(EngineError::field(field, fault));
            }
        }
        if let Verdict::Chosen(name) = &report.verdict
            && self.shared().index.searchable().view.versions(name).next().is_none()
        {
            return Err(EngineError::NotFound { what: name.to_string() });
        }
        self.write_learnt(move |shared| shared.record_outcome(&report)).await
    }

    /// Runs a durable change off the asynchronous threads. One that has begun is finished even when its caller leaves.
    pub(super) async fn write_learnt<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let engine = self.clone();
        self.write_out(move || work(&engine.current())).await
    }
}

impl Shared {
    fn record_outcome(&self, report: &OutcomeReport) -> Result<RecordedOutcome, EngineError> {
        let OutcomeReport { decision_id: id, verdict, note, request_id } = report;
        let unwritten = self.feedback.log.unwritten(*id);
        let write = self.store.write_feedback()?;
        let mut decision = match (write.decision(*id)?, unwritten) {
            (Some(written), _) => written,
            (None, Some(unwritten)) => Decision::clone(&unwritten),
            (None, None) => return Err(self.unknown(*id)),
        };
        fits(&decision, verdict)?;
        let subject = format!("{id} {verdict}");
        if write.was_requested(request_id, &subject)? {
            return self.describe(&write, &decision, verdict);
        }
        let earlier = decision.verdict.take();
        let mut given = GivenVerdict {
            verdict: verdict.clone(),
            note: normalize_text(note),
            time: (self.clock)(),
            label: None,
            watched: false,
        };
        let (label, broken) = match &earlier {
            Some(earlier) if earlier.verdict == *verdict => {
                renew_note(&write, earlier, &mut given)?;
                (earlier.label.clone(), None)
            }
            _ => {
                let label = self.move_support(&write, *id, &decision, earlier.as_ref(), &given)?;
                (label, self.watch_promise(&write, &decision, earlier.as_ref(), &given)?)
            }
        };
        let watched = earlier.as_ref().is_some_and(|earlier| earlier.watched) || broken.is_some();
        decision.verdict = Some(GivenVerdict { label, watched, ..given });
        write.put_decision(*id, &decision)?;
        write.remember(request_id, &subject)?;
        let recorded = self.describe(&write, &decision, verdict)?;
        let detail = serde_json::json!({"verdict": verdict.to_string(), "note": normalize_text(note)});
        let act = Act { action: "outcome.record", subject: id.to_string(), detail };
        write.commit((self.clock)(), vec![act])?;
        if broken == Some(true) {
            let _writing = self.writing.lock();
            self.refresh_calibration()?;
            tracing::warn!(reason = self.calibration.in_force().1, "a promise was broken: answers promise nothing now");
        }
        Ok(recorded)
    }

    pub(crate) fn unknown(&self, id: Uuid) -> EngineError {
        EngineError::DecisionUnknown { id: id.to_string(), kept: self.feedback.policy.decisions }
    }

    /// Takes a decision's support from the label of its earlier verdict to that of the new one. Returns the new one's id.
    fn move_support(
        &self,
        write: &FeedbackWrite,
        id: Uuid,
        decision: &Decision,
        earlier: Option<&GivenVerdict>,
        given: &GivenVerdict,
    ) -> Result<Option<String>, EngineError> {
        let DecidedIntent::Kept(intent) = &decision.intent else { return Ok(None) };
        let mut siblings = Siblings::read(write, intent)?;
        if let Some(label) = earlier.and_then(|earlier| earlier.label.as_deref()) {
            siblings.withdraw(label, id, given.time);
        }
        let chosen;
        let target = match &given.verdict {
            Verdict::Rejected => None,
            Verdict::NoneFits => Some(None),
            Verdict::Accepted => decision.candidates.first().map(|first| Some(first.name.as_str())),
            Verdict::Chosen(name) => {
                chosen = name.to_string();
                Some(Some(chosen.as_str()))
            }
        };
        let label = match target {
            Some(component) if !siblings.is_new(intent, component) || write.labels()? < MAX_LABELS => {
                Some(siblings.support(intent, component, id, &given.note, given.time))
            }
            _ => None,
        };
        siblings.settle(&self.feedback.policy);
        siblings.write_back(write)?;
        Ok(label)
    }

    /// Counts a verdict on a promised answer. `None`: it counts for no promise; otherwise whether it broke one.
    fn watch_promise(
        &self,
        write: &FeedbackWrite,
        decision: &Decision,
        earlier: Option<&GivenVerdict>,
        given: &GivenVerdict,
    ) -> Result<Option<bool>, EngineError> {
        let Some(calibration) = decision.calibration.as_deref().filter(|_| decision.promised()) else {
            return Ok(None);
        };
        let in_force =
            write.calibration(&self.encoder.info().digest.to_string())?.filter(|in_force| in_force.id == calibration);
        let earlier = earlier.filter(|earlier| earlier.watched).map(|earlier| decision.was_wrong(&earlier.verdict));
        if in_force.is_none() && earlier.is_none() {
            return Ok(None);
        }
        let mut record = write.promise(calibration)?;
        record.count(decision.was_wrong(&given.verdict), earlier);
        let broken = match in_force {
            Some(in_force) => record.look(in_force.max_error, in_force.confidence_level, given.time)?,
            None => false,
        };
        write.put_promise(calibration, &record)?;
        Ok(Some(broken))
    }

    /// Says what a decision's verdict has led to.
    fn describe(
        &self,
        write: &FeedbackWrite,
        decision: &Decision,
        verdict: &Verdict,
    ) -> Result<RecordedOutcome, EngineError> {
        let recorded = |detail: &str| RecordedOutcome {
            disposition: Disposition::Recorded,
            label_id: None,
            detail: detail.to_owned(),
        };
        let Some(given) = decision.verdict.as_ref().filter(|given| given.verdict == *verdict) else {
            return Ok(recorded("recorded before, and replaced by another verdict since"));
        };
        let label = match &given.label {
            None => None,
            Some(id) => write.label(id)?.map(|label| (id, label)),
        };
        let Some((id, label)) = label else {
            return Ok(match (&decision.intent, verdict) {
                (DecidedIntent::Hashed(_) | DecidedIntent::Dropped, _) => recorded(
                    "recorded; the text of the intent was not kept (feedback.intent_text), so no labelled intent can come of it",
                ),
                (DecidedIntent::Kept(_), Verdict::Rejected) => {
                    recorded("recorded; what meets the intent is not known, so no labelled intent comes of it")
                }
                (DecidedIntent::Kept(_), _) => recorded(
                    "recorded; no labelled intent was made of it, because as many as are kept are there already",
                ),
            });
        };
        let (disposition, detail) = match (label.state, self.feedback.policy.gate) {
            (LabelState::Approved, _) => (Disposition::Approved, "the labelled intent is approved".to_owned()),
            (LabelState::Refused, _) => {
                (Disposition::Refused, "an operator has refused this labelled intent".to_owned())
            }
            (LabelState::Waiting, Gate::Agreement) => (
                Disposition::Waiting,
                format!(
                    "the labelled intent waits: {} decisions say so, {} that agree are asked for, more than say otherwise",
                    label.count, self.feedback.policy.agreement
                ),
            ),
            (LabelState::Waiting, Gate::Review | Gate::Open) => {
                (Disposition::Waiting, format!("the labelled intent waits for review: `fitment feedback approve {id}`"))
            }
        };
        Ok(RecordedOutcome { disposition, label_id: Some(id.clone()), detail })
    }
}

/// The same was said before: only the note may be new, and an empty one takes nothing back.
fn renew_note(write: &FeedbackWrite, earlier: &GivenVerdict, given: &mut GivenVerdict) -> Result<(), EngineError> {
    if given.note.is_empty() {
        earlier.note.clone_into(&mut given.note);
    } else if let Some(id) = &earlier.label
        && let Some(mut label) = write.label(id)?
    {
        given.note.clone_into(&mut label.note);
        label.update_time = given.time;
        write.put_label(id, &label)?;
    }
    Ok(())
}

/// Refuses a verdict that says nothing about the answer that it is on.
fn fits(decision: &Decision, verdict: &Verdict) -> Result<(), EngineError> {
    let about_first = matches!(verdict, Verdict::Accepted | Verdict::Rejected);
    if about_first && (decision.outcome == Outcome::RawGeneration || decision.candidates.is_empty()) {
        return Err(EngineError::field(
            "verdict",
            "speaks of the first candidate, and the answer offered none; send none_fits where abstaining was right, \
             chosen_component where a component meets the intent",
        ));
    }
    Ok(())
}
