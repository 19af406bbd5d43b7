//! The decision log: what was answered, so that it can be given an outcome later.
//!
//! A match only takes a lock and leaves a record in memory, where an outcome finds it at once; a thread of its own writes
//! what has gathered. What comes faster than the disk takes it is dropped, oldest first, and counted. Commits of this log
//! raise no revision and appear in no change log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::audit::Act;
use crate::error::EngineError;
use crate::feedback::{FeedbackPolicy, IntentText, Verdict};
use crate::gather::{Gathering, gather};
use crate::pipeline::{MatchAnswer, Outcome};
use crate::store::{Revision, Store};

/// Decisions that may wait for the disk.
const CAPACITY: usize = 4096;
/// How long a decision waits for others to be written with.
const GATHER: Duration = Duration::from_millis(200);
/// First candidates that are remembered.
const CANDIDATES: usize = 5;

/// One answer, as it is remembered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Decision {
    /// When it was made.
    pub(crate) time: jiff::Timestamp,
    /// The normalised intent, as far as the policy keeps it.
    pub(crate) intent: DecidedIntent,
    /// The first candidates, best first.
    pub(crate) candidates: Vec<DecidedCandidate>,
    /// What was answered.
    pub(crate) outcome: Outcome,
    /// Confidence in the first candidate.
    pub(crate) confidence: f64,
    /// Id of the calibration that was applied.
    pub(crate) calibration: Option<String>,
    /// Revision that was searched.
    pub(crate) revision: Revision,
    /// Digest of the model that encoded the intent; empty for one from before it was kept.
    #[serde(default)]
    pub(crate) model: String,
    /// Id of the ranker that ordered the candidates; empty for one from before it was kept.
    #[serde(default)]
    pub(crate) ranker: String,
    /// What was said about it since.
    #[serde(default)]
    pub(crate) verdict: Option<GivenVerdict>,
}

/// An intent as far as the policy keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DecidedIntent {
    /// Its text.
    Kept(String),
    /// sha256 of its text: the same intent can be told again, and a guess can be checked.
    Hashed(String),
    /// Nothing.
    Dropped,
}

/// A candidate as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DecidedCandidate {
    /// `namespace/name`.
    pub(crate) name: String,
    /// Digest of the version.
    pub(crate) digest: String,
}

/// A remembered answer, for whoever has to account for it.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedDecision {
    /// When it was made.
    pub time: jiff::Timestamp,
    /// The normalised intent, its sha256, or nothing, as the policy keeps it.
    pub intent: Option<String>,
    /// Name and version digest of the first candidates, best first.
    pub candidates: Vec<(String, String)>,
    /// What was answered.
    pub outcome: Outcome,
    /// Confidence in the first candidate, 0..=1.
    pub confidence: f64,
    /// Id of the calibration that was applied.
    pub calibration: Option<String>,
    /// Revision that was searched.
    pub revision: Revision,
    /// Digest of the model; empty for one from before it was kept.
    pub model: String,
    /// Id of the ranker; empty for one from before it was kept.
    pub ranker: String,
    /// What was said about it since, and when.
    pub verdict: Option<(Verdict, jiff::Timestamp)>,
}

impl From<Decision> for RecordedDecision {
    fn from(decision: Decision) -> Self {
        let Decision { time, intent, candidates, outcome, confidence, calibration, revision, model, ranker, verdict } =
            decision;
        Self {
            time,
            intent: match intent {
                DecidedIntent::Kept(text) | DecidedIntent::Hashed(text) => Some(text),
                DecidedIntent::Dropped => None,
            },
            candidates: candidates.into_iter().map(|DecidedCandidate { name, digest }| (name, digest)).collect(),
            outcome,
            confidence,
            calibration,
            revision,
            model,
            ranker,
            verdict: verdict.map(|given| (given.verdict, given.time)),
        }
    }
}

/// A verdict as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GivenVerdict {
    /// What was said.
    pub(crate) verdict: Verdict,
    /// Why.
    pub(crate) note: String,
    /// When.
    pub(crate) time: jiff::Timestamp,
    /// The labelled intent that it supports.
    pub(crate) label: Option<String>,
    /// Whether it counts for the promise of the decision's calibration.
    pub(crate) watched: bool,
}

impl Decision {
    fn new(policy: &FeedbackPolicy, now: jiff::Timestamp, model: &str, intent: &str, answer: &MatchAnswer) -> Self {
        Self {
            time: now,
            intent: match policy.intent_text {
                IntentText::Kept => DecidedIntent::Kept(intent.to_owned()),
                IntentText::Hashed => DecidedIntent::Hashed(fitment_catalog::Digest::of(intent.as_bytes()).to_string()),
                IntentText::Dropped => DecidedIntent::Dropped,
            },
            candidates: answer
                .candidates
                .iter()
                .take(CANDIDATES)
                .map(|candidate| DecidedCandidate {
                    name: candidate.version.card.name.to_string(),
                    digest: candidate.version.card.digest.to_string(),
                })
                .collect(),
            outcome: answer.outcome,
            confidence: answer.confidence,
            calibration: answer.calibration.as_ref().map(|calibration| calibration.id.clone()),
            revision: answer.revision,
            model: model.to_owned(),
            ranker: answer.ranker_id.clone(),
            verdict: None,
        }
    }

    /// As the audit trail records it.
    pub(crate) fn act(&self, id: Uuid) -> Act {
        let Self { time: _, intent, candidates, outcome, confidence, calibration, revision, model, ranker, verdict: _ } =
            self;
        let detail = serde_json::json!({
            "intent": intent,
            "candidates": candidates,
            "outcome": outcome,
            "confidence": confidence,
            "calibration": calibration,
            "revision": revision,
            "model": model,
            "ranker": ranker,
        });
        Act { action: "decision.match", subject: id.to_string(), detail }
    }

    /// Whether a component was promised.
    pub(crate) fn promised(&self) -> bool {
        matches!(self.outcome, Outcome::ZeroGeneration | Outcome::MinimalGeneration)
    }

    /// Whether a verdict says that the first candidate was wrong.
    pub(crate) fn was_wrong(&self, verdict: &Verdict) -> bool {
        match verdict {
            Verdict::Accepted => false,
            Verdict::Rejected | Verdict::NoneFits => true,
            Verdict::Chosen(name) => self.candidates.first().is_none_or(|first| first.name != name.to_string()),
        }
    }
}

/// Remembers decisions.
pub(crate) struct DecisionLog {
    queue: Arc<Queue>,
    policy: FeedbackPolicy,
    writer: Option<JoinHandle<()>>,
}

/// What the writer and everybody else share.
#[derive(Default)]
struct Queue {
    state: Mutex<QueueState>,
    wake: Condvar,
}

/// Decisions by id, which is their order in time.
type Batch = BTreeMap<Uuid, Arc<Decision>>;

#[derive(Default)]
struct QueueState {
    waiting: Batch,
    /// Being written; still found until it is.
    writing: Arc<Batch>,
    lost: u64,
    stopping: bool,
}

impl Gathering for QueueState {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn is_stopping(&self) -> bool {
        self.stopping
    }
}

impl DecisionLog {
    /// Starts the writer. It ends, and what waits is written, when the log is dropped.
    pub(crate) fn start(store: Arc<Store>, policy: FeedbackPolicy) -> Result<Self, EngineError> {
        let queue = Arc::new(Queue::default());
        let writer = match policy.decisions {
            0 => None,
            keep => {
                let queue = Arc::clone(&queue);
                let spawned = thread::Builder::new()
                    .name("decisions".into())
                    .spawn(move || queue.write_to(&store, keep, policy.audit))
                    .map_err(|source| EngineError::Io { path: "decision thread".into(), source })?;
                Some(spawned)
            }
        };
        Ok(Self { queue, policy, writer })
    }

    /// Remembers an answer.
    pub(crate) fn remember(&self, now: jiff::Timestamp, model: &str, intent: &str, answer: &MatchAnswer) {
        if self.writer.is_some() {
            let decision = Decision::new(&self.policy, now, model, intent, answer);
            self.queue.push(answer.decision_id, decision);
        }
    }

    /// A decision that is not written yet, or was only now.
    pub(crate) fn unwritten(&self, id: Uuid) -> Option<Arc<Decision>> {
        let state = self.queue.state.lock();
        state.waiting.get(&id).or_else(|| state.writing.get(&id)).cloned()
    }

    /// Decisions that are not written yet.
    pub(crate) fn waiting(&self) -> u64 {
        let state = self.queue.state.lock();
        (state.waiting.len() + state.writing.len()) as u64
    }

    /// Decisions that were dropped unwritten.
    pub(crate) fn lost(&self) -> u64 {
        self.queue.state.lock().lost
    }
}

impl Drop for DecisionLog {
    fn drop(&mut self) {
        self.queue.state.lock().stopping = true;
        self.queue.wake.notify_all();
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has nothing left to write.
            drop(writer.join());
        }
    }
}

impl QueueState {
    /// Puts back what could not be written, as far as there is room.
    fn take_back(&mut self, batch: &Batch) {
        for (id, decision) in batch {
            self.waiting.entry(*id).or_insert_with(|| Arc::clone(decision));
        }
        while self.waiting.len() > CAPACITY {
            self.waiting.pop_first();
            self.lost += 1;
        }
    }
}

impl Queue {
    fn push(&self, id: Uuid, decision: Decision) {
        let mut state = self.state.lock();
        if state.waiting.len() >= CAPACITY {
            state.waiting.pop_first();
            state.lost += 1;
        }
        let first = state.waiting.is_empty();
        state.waiting.insert(id, Arc::new(decision));
        drop(state);
        if first {
            self.wake.notify_one();
        }
    }

    /// The writer's thread.
    fn write_to(&self, store: &Store, keep: u64, audited: bool) {
        let mut failing = false;
        while let Some(batch) = self.next_batch() {
            let written =
                store.append_decisions(batch.iter().map(|(id, decision)| (*id, decision.as_ref())), keep, audited);
            let mut state = self.state.lock();
            state.writing = Arc::default();
            match written {
                Ok(()) => failing = false,
                Err(error) if state.stopping => {
                    state.lost += batch.len() as u64;
                    tracing::error!(%error, decisions = batch.len(), "decisions could not be written and are lost");
                }
                Err(error) => {
                    if !failing {
                        tracing::error!(%error, "decisions cannot be written; the last ones are kept in memory and tried again");
                    }
                    failing = true;
                    state.take_back(&batch);
                }
            }
        }
    }

    /// What has gathered; `None` once all is written and nobody is left to add.
    fn next_batch(&self) -> Option<Arc<Batch>> {
        let mut state = gather(&self.state, &self.wake, GATHER);
        if state.waiting.is_empty() {
            return None;
        }
        state.writing = Arc::new(std::mem::take(&mut state.waiting));
        Some(Arc::clone(&state.writing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(intent: &str) -> Decision {
        Decision {
            time: jiff::Timestamp::UNIX_EPOCH,
            intent: DecidedIntent::Kept(intent.to_owned()),
            candidates: vec![DecidedCandidate { name: "a/b".into(), digest: "sha256:0".into() }],
            outcome: Outcome::ZeroGeneration,
            confidence: 0.5,
            calibration: None,
            revision: 3,
            model: String::new(),
            ranker: String::new(),
            verdict: None,
        }
    }

    #[test]
    fn a_full_queue_drops_the_oldest_and_counts_it() {
        let queue = Queue::default();
        let ids: Vec<Uuid> = (0..CAPACITY + 3).map(|_| Uuid::now_v7()).collect();
        for id in &ids {
            queue.push(*id, decision("pay"));
        }
        let state = queue.state.lock();
        assert_eq!((state.waiting.len(), state.lost), (CAPACITY, 3));
        assert!(!state.waiting.contains_key(&ids[2]) && state.waiting.contains_key(&ids[3]));
    }

    #[test]
    fn what_could_not_be_written_waits_again_as_far_as_there_is_room() {
        let queue = Queue::default();
        let older = Uuid::now_v7();
        let batch: Batch = [(older, Arc::new(decision("pay")))].into();
        for _ in 0..CAPACITY {
            queue.push(Uuid::now_v7(), decision("pay"));
        }
        let mut state = queue.state.lock();
        state.take_back(&batch);
        assert_eq!((state.waiting.len(), state.lost, state.waiting.contains_key(&older)), (CAPACITY, 1, false));
        state.waiting.pop_first();
        state.take_back(&batch);
        assert_eq!((state.waiting.len(), state.lost, state.waiting.contains_key(&older)), (CAPACITY, 1, true));
    }

    #[test]
    fn what_waits_is_found_and_written_at_the_end_and_the_oldest_go() -> Result<(), Box<dyn std::error::Error>> {
        let folder = std::env::temp_dir().join(format!("fitment-decisions-{}", Uuid::now_v7()));
        let store = Arc::new(Store::open(&folder.join("catalog.redb"))?);
        let policy = FeedbackPolicy { decisions: 10, ..FeedbackPolicy::default() };
        let log = DecisionLog::start(Arc::clone(&store), policy)?;
        let ids: Vec<Uuid> = (0..15).map(|_| Uuid::now_v7()).collect();
        for id in &ids {
            log.queue.push(*id, decision("pay"));
            assert!(log.unwritten(*id).is_some());
        }
        drop(log);
        let reader = store.read()?;
        assert_eq!((reader.decisions()?, reader.revision()?), (10, 0), "written, cut to size, no revision raised");
        assert!(reader.changes_since(0)?.is_empty());
        assert!(reader.decision(ids[4])?.is_none());
        assert_eq!(reader.decision(ids[5])?, Some(decision("pay")));
        drop((reader, store));
        std::fs::remove_dir_all(folder)?;
        Ok(())
    }

    #[test]
    fn a_written_verdict_is_not_overwritten_by_the_late_writer() -> Result<(), Box<dyn std::error::Error>> {
        let folder = std::env::temp_dir().join(format!("fitment-decisions-{}", Uuid::now_v7()));
        let store = Store::open(&folder.join("catalog.redb"))?;
        let id = Uuid::now_v7();
        let verdict = GivenVerdict {
            verdict: Verdict::NoneFits,
            note: String::new(),
            time: jiff::Timestamp::UNIX_EPOCH,
            label: None,
            watched: false,
        };
        let judged = Decision { verdict: Some(verdict), ..decision("pay") };
        let write = store.write_feedback()?;
        write.put_decision(id, &judged)?;
        write.commit(jiff::Timestamp::UNIX_EPOCH, Vec::new())?;
        store.append_decisions([(id, &decision("pay"))].into_iter(), 10, false)?;
        assert_eq!(store.read()?.decision(id)?, Some(judged));
        drop(store);
        std::fs::remove_dir_all(folder)?;
        Ok(())
    }
}
