//! Learning from use: verdicts on answers become labelled intents, and watch over the promise.
//!
//! Reading order: [`FeedbackPolicy`] says what is kept and who approves; `outcome` takes a verdict; `labels` is the gate;
//! `export` gives approved labels back as a data set and as example intents; `watch` says what verdicts and decisions
//! show. The decision log lies in `decisions`, the arithmetic of drift in `drift`.

mod export;
mod labels;
mod outcome;
mod watch;

use std::sync::Arc;

use fitment_catalog::ComponentName;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

pub use self::export::{ExampleProposal, ExportCursor};
pub use self::labels::{Label, LabelListing, LabelPage, LabelState};
pub use self::outcome::{Disposition, OutcomeReport, RecordedOutcome};
pub use self::watch::{DriftReport, FeedbackCounts, FeedbackSummary, PromiseWatch};
use crate::decisions::DecisionLog;
use crate::drift::{Reference, Sample, Windows};
use crate::error::EngineError;
use crate::pipeline::MatchAnswer;
use crate::store::Store;

/// What is remembered of answers, and how verdicts become labelled intents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedbackPolicy {
    /// Decisions that are remembered, 0..=10,000,000; the oldest go. 0: none, and no outcome can be recorded.
    pub decisions: u64,
    /// What is kept of an intent.
    pub intent_text: IntentText,
    /// Who lets a verdict become a labelled intent.
    pub gate: Gate,
    /// Equal verdicts on the same intent that the gate `agreement` asks for, 1..=1,000.
    pub agreement: u64,
    /// Whether each decision is recorded in the audit trail too, which forgets nothing.
    pub audit: bool,
}

/// What is kept of an intent in the decision log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IntentText {
    /// The normalised text.
    Kept,
    /// Its sha256; no labelled intent can come of it.
    Hashed,
    /// Nothing; no labelled intent can come of it.
    Dropped,
}

/// Who lets a verdict become a labelled intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gate {
    /// An operator.
    Review,
    /// Enough distinct decisions that say the same, and more than say anything else.
    Agreement,
    /// Nobody: every verdict counts at once.
    Open,
}

impl Default for FeedbackPolicy {
    fn default() -> Self {
        Self { decisions: 100_000, intent_text: IntentText::Kept, gate: Gate::Review, agreement: 2, audit: false }
    }
}

impl FeedbackPolicy {
    /// Says what is out of range, or `None`.
    pub fn fault(&self) -> Option<String> {
        let ranges = [("decisions", self.decisions, 0..=10_000_000), ("agreement", self.agreement, 1..=1000)];
        ranges.into_iter().find(|(_, value, range)| !range.contains(value)).map(|(key, value, range)| {
            format!("feedback.{key} is {value}; it must lie in {}..={}", range.start(), range.end())
        })
    }

    /// Whether the gate lets a label through that `count` decisions support, when another label of the same intent has
    /// `rival` at most.
    fn admits(&self, count: u64, rival: u64) -> bool {
        match self.gate {
            Gate::Review => false,
            Gate::Agreement => count >= self.agreement && count > rival,
            Gate::Open => count > 0,
        }
    }
}

/// What was found out about an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The first candidate meets the intent.
    Accepted,
    /// It does not, and what does is not known.
    Rejected,
    /// This component meets the intent.
    Chosen(#[serde(with = "crate::store::text")] ComponentName),
    /// Nothing in the catalogue does.
    NoneFits,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Accepted => f.write_str("accepted"),
            Self::Rejected => f.write_str("rejected"),
            Self::Chosen(name) => write!(f, "chosen {name}"),
            Self::NoneFits => f.write_str("none fits"),
        }
    }
}

/// What the engine keeps to learn from use.
pub(crate) struct Feedback {
    policy: FeedbackPolicy,
    pub(crate) log: DecisionLog,
    windows: Mutex<Windows>,
}

impl Feedback {
    pub(crate) fn start(store: &Arc<Store>, policy: FeedbackPolicy) -> Result<Self, EngineError> {
        let log = DecisionLog::start(Arc::clone(store), policy)?;
        Ok(Self { policy, log, windows: Mutex::default() })
    }

    /// Remembers an answer. Takes microseconds and no disk.
    pub(crate) fn remember(
        &self,
        now: jiff::Timestamp,
        model: &str,
        intent: &str,
        vector: &[f32],
        answer: &MatchAnswer,
    ) {
        self.log.remember(now, model, intent, answer);
        // An answer without candidates says something about its filter, not about its intent.
        if let Some(best) = answer.candidates.first() {
            let sample =
                Sample { confidence: answer.confidence, top_cosine: best.scored.top_cosine(), vector: vector.into() };
            self.windows.lock().push(sample);
        }
    }

    /// Forgets what was seen lately: by another model it looks otherwise.
    pub(crate) fn forget_windows(&self) {
        *self.windows.lock() = Windows::default();
    }

    /// Compares intents with this from now on, or, without one, with the first decisions since the start.
    pub(crate) fn set_reference(&self, reference: Option<&Reference>) {
        self.windows.lock().set_reference(reference);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_checked() {
        let policy = FeedbackPolicy::default();
        assert_eq!(policy.fault(), None);
        for (policy, expect) in [
            (FeedbackPolicy { decisions: 10_000_001, ..policy }, "feedback.decisions"),
            (FeedbackPolicy { agreement: 0, ..policy }, "feedback.agreement"),
        ] {
            assert!(policy.fault().is_some_and(|fault| fault.contains(expect)), "{policy:?}");
        }
    }

    #[test]
    fn each_gate_admits_what_it_says() {
        let gate = |gate, count, rival| FeedbackPolicy { gate, ..FeedbackPolicy::default() }.admits(count, rival);
        assert!(!gate(Gate::Review, 100, 0));
        assert!(gate(Gate::Open, 1, 5) && !gate(Gate::Open, 0, 0));
        assert!(!gate(Gate::Agreement, 1, 0) && gate(Gate::Agreement, 2, 0) && gate(Gate::Agreement, 3, 2));
        assert!(!gate(Gate::Agreement, 3, 3), "as many say otherwise");
    }

    #[test]
    fn verdicts_keep_their_form_on_disk() {
        for (verdict, expect) in [
            (Verdict::Accepted, r#""accepted""#),
            (Verdict::NoneFits, r#""none_fits""#),
            (Verdict::Chosen("ui/table".parse().expect("a name")), r#"{"chosen":"ui/table"}"#),
        ] {
            let text = serde_json::to_string(&verdict).expect("writable");
            assert_eq!(text, expect);
            assert_eq!(serde_json::from_str::<Verdict>(&text).expect("readable"), verdict);
        }
    }
}
