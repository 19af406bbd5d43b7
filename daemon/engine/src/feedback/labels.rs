//! Labelled intents and the gate that lets them through.

use std::collections::BTreeMap;

use fitment_catalog::Digest;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{FeedbackPolicy, Gate};
use crate::audit::Act;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::limits::page_size;
use crate::store::FeedbackWrite;

/// Decisions that a label names.
const MAX_DECISION_IDS: usize = 16;
/// Labels that are kept.
pub(super) const MAX_LABELS: u64 = 100_000;
/// Labels of a page or a review at most.
const MAX_PAGE_SIZE: usize = 1000;
/// Labels of a page when the caller does not say.
const DEFAULT_PAGE_SIZE: usize = 50;
/// Hexadecimal digits of the intent's digest in a label's id.
const INTENT_DIGITS: usize = 24;
/// Hexadecimal digits of the component's digest in a label's id.
const COMPONENT_DIGITS: usize = 12;

/// Where a labelled intent stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LabelState {
    /// Not through the gate yet.
    Waiting,
    /// Through the gate.
    Approved,
    /// Refused by an operator.
    Refused,
}

/// An intent and what verdicts say that meets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// The normalised intent.
    pub intent: String,
    /// `namespace/name`; `None`: nothing meets it.
    pub component: Option<String>,
    /// Where it stands.
    pub state: LabelState,
    /// Distinct decisions whose verdict says so now.
    pub count: u64,
    /// The latest of them, oldest first, at most 16.
    pub decision_ids: Vec<String>,
    /// Whether an operator decided its state.
    pub reviewed: bool,
    /// The latest note that came with a verdict.
    pub note: String,
    /// First verdict.
    pub create_time: jiff::Timestamp,
    /// Last change.
    pub update_time: jiff::Timestamp,
}

/// Asks for a page of labels.
#[derive(Clone, Debug, Default)]
pub struct LabelPage {
    /// 1..=1000; 0: 50.
    pub size: usize,
    /// Token of the page before; empty: the first page.
    pub token: String,
    /// Only those in this state.
    pub state: Option<LabelState>,
}

/// A page of labels.
#[derive(Debug)]
pub struct LabelListing {
    /// Ids and labels, by id.
    pub labels: Vec<(String, Label)>,
    /// Token of the next page; empty on the last.
    pub next_token: String,
    /// Labels on all pages.
    pub total: u64,
}

/// What every label id of an intent begins with.
fn id_prefix(intent: &str) -> String {
    format!("{}-", digits(intent, INTENT_DIGITS))
}

fn label_id(intent: &str, component: Option<&str>) -> String {
    id_prefix(intent) + &digits(component.unwrap_or_default(), COMPONENT_DIGITS)
}

fn digits(text: &str, count: usize) -> String {
    let digest = Digest::of(text.as_bytes()).to_string();
    digest.rsplit(':').next().unwrap_or_default().chars().take(count).collect()
}

/// Every label of one intent, as they were and as they become.
pub(super) struct Siblings {
    before: BTreeMap<String, Label>,
    labels: BTreeMap<String, Label>,
}

impl Siblings {
    pub(super) fn read(write: &FeedbackWrite, intent: &str) -> Result<Self, EngineError> {
        let before: BTreeMap<String, Label> = write.labels_with(&id_prefix(intent))?.into_iter().collect();
        if before.values().any(|label| label.intent != intent) {
            return Err(EngineError::Internal("two intents share the beginning of their digests".into()));
        }
        Ok(Self { labels: before.clone(), before })
    }

    /// Takes back what a decision's earlier verdict gave.
    pub(super) fn withdraw(&mut self, id: &str, decision: Uuid, now: jiff::Timestamp) {
        if let Some(label) = self.labels.get_mut(id) {
            let decision = decision.to_string();
            label.count = label.count.saturating_sub(1);
            label.decision_ids.retain(|other| *other != decision);
            label.update_time = now;
        }
    }

    /// A decision's verdict speaks for a component, or for none. Returns the label's id.
    pub(super) fn support(
        &mut self,
        intent: &str,
        component: Option<&str>,
        decision: Uuid,
        note: &str,
        now: jiff::Timestamp,
    ) -> String {
        let id = label_id(intent, component);
        let label = self.labels.entry(id.clone()).or_insert_with(|| Label {
            intent: intent.to_owned(),
            component: component.map(str::to_owned),
            state: LabelState::Waiting,
            count: 0,
            decision_ids: Vec::new(),
            reviewed: false,
            note: String::new(),
            create_time: now,
            update_time: now,
        });
        label.count += 1;
        label.update_time = now;
        if label.decision_ids.len() == MAX_DECISION_IDS {
            label.decision_ids.remove(0);
        }
        label.decision_ids.push(decision.to_string());
        if !note.is_empty() {
            note.clone_into(&mut label.note);
        }
        id
    }

    /// Whether a label would be a new one.
    pub(super) fn is_new(&self, intent: &str, component: Option<&str>) -> bool {
        !self.labels.contains_key(&label_id(intent, component))
    }

    /// Lets the gate decide again, where no operator has. A label that nothing supports any more goes.
    pub(super) fn settle(&mut self, policy: &FeedbackPolicy) {
        self.labels.retain(|_, label| label.count > 0 || label.reviewed);
        if policy.gate == Gate::Review {
            return;
        }
        let supported: Vec<(String, u64)> = self
            .labels
            .iter()
            .filter(|(_, label)| label.state != LabelState::Refused)
            .map(|(id, label)| (id.clone(), label.count))
            .collect();
        for (id, label) in self.labels.iter_mut().filter(|(_, label)| !label.reviewed) {
            let rival = supported.iter().filter(|(other, _)| other != id).map(|&(_, count)| count).max();
            let admitted = policy.admits(label.count, rival.unwrap_or(0));
            label.state = if admitted { LabelState::Approved } else { LabelState::Waiting };
        }
    }

    /// Writes what has changed.
    pub(super) fn write_back(self, write: &FeedbackWrite) -> Result<(), EngineError> {
        for (id, label) in &self.labels {
            if self.before.get(id) != Some(label) {
                write.put_label(id, label)?;
            }
        }
        for id in self.before.keys().filter(|id| !self.labels.contains_key(*id)) {
            write.remove_label(id)?;
        }
        Ok(())
    }
}

impl Engine {
    /// Lists labelled intents by id.
    ///
    /// Errors: a page size over 1,000, a token that is not one or was made with another state.
    pub async fn labels(&self, page: LabelPage) -> Result<LabelListing, EngineError> {
        let size = page_size(page.size, DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)?;
        let after = read_token(&page)?;
        self.compute(move |shared| {
            let mut listing = LabelListing { labels: Vec::new(), next_token: String::new(), total: 0 };
            shared.store.read()?.labels_after("", |id, label| {
                if page.state.is_none_or(|state| state == label.state) {
                    listing.total += 1;
                    if id > after.as_str() {
                        if listing.labels.len() < size {
                            listing.labels.push((id.to_owned(), label));
                        } else if let (true, Some((last, _))) = (listing.next_token.is_empty(), listing.labels.last()) {
                            listing.next_token = write_token(last, page.state);
                        }
                    }
                }
                Ok(true)
            })?;
            Ok(listing)
        })
        .await
    }

    /// Approves or refuses labelled intents, all of them or none. Durable when it returns.
    ///
    /// Errors: no ids or more than 1,000, an id that is not there.
    pub async fn review_labels(&self, ids: Vec<String>, approve: bool) -> Result<Vec<(String, Label)>, EngineError> {
        if !(1..=MAX_PAGE_SIZE).contains(&ids.len()) {
            let fault = format!("holds {} ids; send 1 to {MAX_PAGE_SIZE}", ids.len());
            return Err(EngineError::field("label_ids", fault));
        }
        self.write_learnt(move |shared| {
            let write = shared.store.write_feedback()?;
            let mut reviewed = Vec::with_capacity(ids.len());
            for id in ids {
                let Some(mut label) = write.label(&id)? else {
                    return Err(EngineError::LabelUnknown { id: id.chars().take(80).collect() });
                };
                label.state = if approve { LabelState::Approved } else { LabelState::Refused };
                label.reviewed = true;
                label.update_time = (shared.clock)();
                write.put_label(&id, &label)?;
                reviewed.push((id, label));
            }
            let action = if approve { "label.approve" } else { "label.refuse" };
            let acts = reviewed.iter().map(|(id, label)| {
                let component = label.component.as_ref().map(ToString::to_string);
                Act { action, subject: id.clone(), detail: serde_json::json!({"component": component}) }
            });
            write.commit((shared.clock)(), acts.collect())?;
            Ok(reviewed)
        })
        .await
    }
}

fn state_name(state: Option<LabelState>) -> &'static str {
    match state {
        None => "all",
        Some(LabelState::Waiting) => "waiting",
        Some(LabelState::Approved) => "approved",
        Some(LabelState::Refused) => "refused",
    }
}

/// A page token names the state that it was made with and the last label of its page.
fn write_token(last: &str, state: Option<LabelState>) -> String {
    hex::encode(format!("{}\n{last}", state_name(state)))
}

fn read_token(page: &LabelPage) -> Result<String, EngineError> {
    if page.token.is_empty() {
        return Ok(String::new());
    }
    let malformed = || EngineError::field("page_token", "is not a token of this list; start again without one");
    let text = hex::decode(&page.token).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(malformed)?;
    let (state, last) = text.split_once('\n').ok_or_else(malformed)?;
    if state != state_name(page.state) {
        return Err(EngineError::field("page_token", "was made with another state; start again without a token"));
    }
    Ok(last.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: jiff::Timestamp = jiff::Timestamp::UNIX_EPOCH;

    fn none() -> Siblings {
        Siblings { before: BTreeMap::new(), labels: BTreeMap::new() }
    }

    fn policy(gate: Gate) -> FeedbackPolicy {
        FeedbackPolicy { gate, ..FeedbackPolicy::default() }
    }

    fn state(siblings: &Siblings, id: &str) -> (LabelState, u64) {
        let label = siblings.labels.get(id).expect("a label");
        (label.state, label.count)
    }

    #[test]
    fn an_operator_decides_under_review() {
        let mut siblings = none();
        let id = siblings.support("pay", Some("a/pay"), Uuid::now_v7(), "", NOW);
        for _ in 0..5 {
            siblings.support("pay", Some("a/pay"), Uuid::now_v7(), "", NOW);
        }
        siblings.settle(&policy(Gate::Review));
        assert_eq!(state(&siblings, &id), (LabelState::Waiting, 6));
    }

    #[test]
    fn agreement_needs_distinct_decisions_and_a_majority() {
        let (gate, decisions) = (policy(Gate::Agreement), [(); 4].map(|()| Uuid::now_v7()));
        let mut siblings = none();
        let card = siblings.support("pay", Some("a/card"), decisions[0], "", NOW);
        siblings.settle(&gate);
        assert_eq!(state(&siblings, &card), (LabelState::Waiting, 1));
        siblings.support("pay", Some("a/card"), decisions[1], "", NOW);
        siblings.settle(&gate);
        assert_eq!(state(&siblings, &card), (LabelState::Approved, 2));
        // As many say that nothing fits: neither is agreed upon.
        let nothing = siblings.support("pay", None, decisions[2], "", NOW);
        siblings.support("pay", None, decisions[3], "", NOW);
        siblings.settle(&gate);
        assert_eq!(state(&siblings, &card).0, LabelState::Waiting);
        assert_eq!(state(&siblings, &nothing).0, LabelState::Waiting);
        // One of them changes its mind.
        siblings.withdraw(&card, decisions[1], NOW);
        siblings.support("pay", None, decisions[1], "", NOW);
        siblings.settle(&gate);
        assert_eq!(state(&siblings, &card), (LabelState::Waiting, 1));
        assert_eq!(state(&siblings, &nothing), (LabelState::Approved, 3));
    }

    #[test]
    fn what_nothing_supports_goes_unless_an_operator_spoke() {
        for (reviewed, kept) in [(false, false), (true, true)] {
            let (mut siblings, decision) = (none(), Uuid::now_v7());
            let id = siblings.support("pay", Some("a/card"), decision, "", NOW);
            siblings.labels.get_mut(&id).expect("a label").reviewed = reviewed;
            siblings.withdraw(&id, decision, NOW);
            siblings.settle(&policy(Gate::Open));
            assert_eq!(siblings.labels.contains_key(&id), kept);
        }
    }

    #[test]
    fn a_refusal_outlasts_every_verdict() {
        let mut siblings = none();
        let id = siblings.support("pay", Some("a/card"), Uuid::now_v7(), "", NOW);
        let label = siblings.labels.get_mut(&id).expect("a label");
        (label.state, label.reviewed) = (LabelState::Refused, true);
        siblings.support("pay", Some("a/card"), Uuid::now_v7(), "", NOW);
        siblings.settle(&policy(Gate::Open));
        assert_eq!(state(&siblings, &id), (LabelState::Refused, 2));
    }

    #[test]
    fn a_label_names_its_latest_decisions_and_note() {
        let mut siblings = none();
        let decisions: Vec<Uuid> = (0..20).map(|_| Uuid::now_v7()).collect();
        let mut id = String::new();
        for (n, decision) in decisions.iter().enumerate() {
            let note = if n == 3 { "the clerk said so" } else { "" };
            id = siblings.support("pay", None, *decision, note, NOW);
        }
        let label = siblings.labels.get(&id).expect("a label");
        assert_eq!((label.count, label.decision_ids.len(), label.note.as_str()), (20, 16, "the clerk said so"));
        assert_eq!(label.decision_ids[15], decisions[19].to_string());
    }

    #[test]
    fn tokens_are_bound_to_their_state() {
        let token = write_token("abc-1", Some(LabelState::Waiting));
        let page = |token: &str, state| LabelPage { size: 0, token: token.to_owned(), state };
        assert_eq!(read_token(&page(&token, Some(LabelState::Waiting))).expect("its own"), "abc-1");
        assert!(read_token(&page(&token, None)).is_err());
        assert!(read_token(&page("zz", None)).is_err());
        assert!(read_token(&page("6162", None)).is_err());
    }
}
